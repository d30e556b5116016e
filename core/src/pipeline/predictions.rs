//! What a checkpoint says about every single image of a split.

use burn::tensor::Device;

use super::features::Features;
use crate::error::{Result, TrainError};
use crate::eval::{Answer, GroupThresholds, check};
use crate::job::Job;
use crate::run::Run;
use crate::source::{Location, Split};
use crate::train::classifier_of;

/// A checkpoint's predictions on a split.
#[derive(Clone, Debug)]
pub struct Predictions {
    /// Name of the checkpoint: `last`, `best` or `balanced`.
    pub checkpoint: String,
    /// The split.
    pub split: Split,
    /// Class names, in label order.
    pub classes: Vec<String>,
    /// Training samples of each class, n_k.
    pub train_counts: Vec<usize>,
    /// Where the groups begin and end.
    pub thresholds: GroupThresholds,
    /// Every readable image of the split, in the dataset's order.
    pub samples: Vec<SamplePrediction>,
}

/// What was predicted for one image. Probabilities are in 0..1, by softmax.
#[derive(Clone, Debug, PartialEq)]
pub struct SamplePrediction {
    /// Where the image is, relative to the dataset's root.
    pub location: Location,
    /// Its class.
    pub label: usize,
    /// The class predicted; of equally probable ones the lowest.
    pub predicted: usize,
    /// Probability of the predicted class.
    pub probability: f32,
    /// Probability of the image's own class.
    pub label_probability: f32,
}

/// Predicts every readable image of a split with a checkpoint of the run, its final one without a
/// name. With `flip` the logits of each image and its mirror image are averaged. Features are
/// computed on `device` unless the run's folder holds them.
///
/// # Errors
/// No such checkpoint, no images in that split, unreadable images, a classifier that overflows,
/// [`crate::Error::Stopped`].
pub fn predictions(
    run: &Run,
    checkpoint: Option<&str>,
    split: Split,
    flip: bool,
    device: &Device,
    job: Job<'_>,
) -> Result<Predictions> {
    let name = checkpoint.unwrap_or_else(|| run.final_checkpoint());
    let checkpoint = run.checkpoint(name)?;
    let samples = run.dataset().split(split);
    if samples.is_empty() {
        return Err(TrainError::Request(format!("the dataset has no {split} split")).into());
    }
    let found = Features::new(run, &checkpoint, device).with_positions(split, flip, job)?;
    let answers = classifier_of(&checkpoint)?.answers(&found.set)?;
    check(&answers, checkpoint.classes.len())?;
    let predict = |(answer, &position): (&Answer, &u32)| -> Result<SamplePrediction> {
        let sample = samples
            .get(position as usize)
            .ok_or_else(|| TrainError::Request("the stored features fit another dataset".into()))?;
        Ok(SamplePrediction {
            location: sample.location.clone(),
            label: answer.label as usize,
            predicted: answer.predicted as usize,
            probability: answer.probability() as f32,
            label_probability: answer.label_probability() as f32,
        })
    };
    let samples = answers.iter().zip(&found.positions).map(predict).collect::<Result<Vec<_>>>()?;
    Ok(Predictions {
        checkpoint: name.to_string(),
        split,
        train_counts: checkpoint.train_counts,
        classes: checkpoint.classes,
        thresholds: GroupThresholds::from(&run.settings().evaluation),
        samples,
    })
}

#[cfg(test)]
mod tests {
    use super::super::evaluate;
    use super::super::test_run::trained;
    use super::*;
    use crate::job::{Control, Silent};

    #[test]
    fn predictions_belong_to_their_images_even_where_some_cannot_be_read() {
        let folder = tempfile::tempdir().unwrap();
        let run = trained(folder.path());
        let control = Control::new();
        let job = Job::new(&control, &Silent);
        let device = Device::flex();
        let predict = |run: &Run, flip| {
            predictions(run, None, Split::Validation, flip, &device, job).unwrap()
        };
        let all = predict(&run, false);
        let evaluation =
            evaluate(&run, None, Some(Split::Validation), &run.settings().evaluation, &device, job)
                .unwrap()
                .evaluation;
        let right = all.samples.iter().filter(|sample| sample.predicted == sample.label).count();
        assert_eq!(right as f64 / all.samples.len() as f64, evaluation.top1);
        for sample in &all.samples {
            assert!(
                sample.label_probability <= sample.probability
                    && (0.0..=1.0).contains(&sample.probability)
            );
            let Location::File(file) = &sample.location else { panic!("{:?}", sample.location) };
            assert!(
                file.starts_with(&all.classes[sample.label]),
                "{file:?} is not of class {}",
                all.classes[sample.label]
            );
        }

        // What was computed while an image could not be read still names the right images, also
        // once it can be read again.
        let broken = all.samples[5].location.clone();
        let Location::File(file) = &broken else { panic!("{broken:?}") };
        let file = run.dataset().root.join(file);
        let whole = std::fs::read(&file).unwrap();
        std::fs::remove_file(&file).unwrap();
        let without = |samples: &[SamplePrediction]| -> Vec<SamplePrediction> {
            samples.iter().filter(|sample| sample.location != broken).cloned().collect()
        };
        let flipped = predict(&run, true);
        assert_eq!(flipped.samples.len(), all.samples.len() - 1);
        assert_eq!(predict(&run, false).samples, all.samples);
        std::fs::remove_dir_all(run.folder().join("features")).unwrap();
        let computed = predict(&run, false);
        std::fs::write(&file, whole).unwrap();
        for rest in [computed, predict(&run, false)] {
            assert_eq!(without(&all.samples).len(), rest.samples.len());
            for (rest, expected) in rest.samples.iter().zip(without(&all.samples)) {
                assert_eq!((&rest.location, rest.label), (&expected.location, expected.label));
                assert!(
                    (rest.label_probability - expected.label_probability).abs() < 1e-4,
                    "{rest:?} {expected:?}"
                );
            }
        }
        assert!(
            predictions(&run, Some("balanced"), Split::Validation, false, &device, job).is_err()
        );
    }
}
