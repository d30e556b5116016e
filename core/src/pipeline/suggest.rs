//! Which images to label next, out of many without a label.
//!
//! An image is worth a label where the run is unsure (the margin between its two best classes is
//! small: Scheffer et al., *Active Hidden Markov Models for Information Extraction*, 2001), where it
//! may be of a class of which there are few, and where it is unlike those that are to be labelled
//! anyway. So the next one is always that of the largest product of the three.

use std::collections::HashSet;
use std::path::{Path, PathBuf};

use burn::tensor::Device;
use rayon::prelude::*;
use serde::Serialize;

use super::calibration::temperature_of;
use super::frozen::{FrozenBackbone, View};
use crate::classifier::{FeatureSet, unit_rows};
use crate::dataset::{Dataset, DatasetSample};
use crate::error::{Error, ModelError, Result, TrainError};
use crate::files::{self, write_table};
use crate::job::Job;
use crate::run::{Checkpoint, Run};
use crate::source::{ImageReader, Location, SourceKind, Split};
use crate::train::classifier_of;

/// What an image is worth that the run is wholly sure of, beside one that it is wholly unsure of:
/// being unlike all others counts then, too.
const SURE: f32 = 0.05;

/// An image to label next.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Suggestion {
    /// Its file.
    pub path: PathBuf,
    /// The class that the run proposes for it.
    pub class: String,
    /// Probability of that class, in 0..1.
    pub probability: f64,
    /// The class that comes second.
    pub second: String,
    /// Probability of that one.
    pub second_probability: f64,
    /// Training images of the class that it is proposed for, n_k.
    pub train_count: usize,
}

/// Images to label next, the first first.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Suggestions {
    /// The checkpoint that was asked: `last`, `best` or `balanced`.
    pub checkpoint: String,
    /// Images that were looked at.
    pub images: usize,
    /// Images that were left out because the run's dataset has them, or because others are the same.
    pub known: usize,
    /// The suggestions.
    pub suggestions: Vec<Suggestion>,
}

/// Chooses up to `count` of these image files to be labelled next, by a checkpoint of a run, its
/// final one without a name. What the run's dataset holds already is left out, whatever its name.
/// Features are kept, so that asking again takes seconds.
///
/// # Errors
/// No such checkpoint, no image that can be read and is new, a device that fails,
/// [`crate::Error::Stopped`].
pub fn suggest(
    run: &Run,
    files: &[PathBuf],
    checkpoint: Option<&str>,
    count: usize,
    device: &Device,
    job: Job<'_>,
) -> Result<Suggestions> {
    let name = checkpoint.unwrap_or_else(|| run.final_checkpoint());
    let checkpoint = run.checkpoint(name)?;
    let unlabelled = unlabelled(run.dataset(), files)?;
    let NewOnes { samples, known, unread } = new_ones(run.dataset(), &unlabelled, job)?;
    let refused = |reason: &str| Error::from(TrainError::Request(reason.to_string()));
    const UNREADABLE: &str = "no image can be read";
    if samples.is_empty() && known > 0 {
        return Err(refused("the run's dataset has all images already"));
    } else if samples.is_empty() {
        let why = unread.map(|reason| format!(": {reason}")).unwrap_or_default();
        return Err(refused(&format!("{UNREADABLE}{why}")));
    }
    let backbone = FrozenBackbone::new(&checkpoint, device).out_of(run.backbone_file());
    let mut found = backbone.features(&unlabelled, &samples, View::Plain, job)?;
    if found.set.is_empty() {
        return Err(refused(UNREADABLE));
    }
    if let Some(standardiser) = &checkpoint.standardiser {
        standardiser.apply(&mut found.set.features);
    }
    let temperature = temperature_of(run, (name, &checkpoint), job)?;
    let answers = two_best(&checkpoint, &found.set, temperature)?;
    let rarity = rarity(&checkpoint.train_counts);
    let worth: Vec<f32> = answers.iter().map(|answer| answer.worth(&rarity)).collect();
    job.phase("choosing images", None, "");
    let chosen = unlike_each_other(&found.set, &worth, count, job)?;
    let suggestions = chosen
        .into_iter()
        .map(|row| {
            let TwoBest { classes: [first, second], probabilities } = answers[row];
            let sample = samples[found.positions[row] as usize];
            Suggestion {
                path: path_of(&sample.location),
                class: checkpoint.classes[first].clone(),
                probability: f64::from(probabilities[0]),
                second: checkpoint.classes[second].clone(),
                second_probability: f64::from(probabilities[1]),
                train_count: checkpoint.train_counts[first],
            }
        })
        .collect();
    Ok(Suggestions { checkpoint: name.to_string(), images: found.set.len(), known, suggestions })
}

/// Writes suggestions as an image list of path and label, the proposed class as the label, which a
/// person corrects: such a list is a source like any other.
///
/// # Errors
/// A file that cannot be written.
pub fn write_suggestions(found: &Suggestions, path: &Path) -> Result<()> {
    write_table(path, |table| {
        table.write_record([
            "path",
            "label",
            PROPOSED,
            "probability",
            "second",
            "second_probability",
        ])?;
        for suggestion in &found.suggestions {
            table.write_record([
                &*suggestion.path.to_string_lossy(),
                &suggestion.class,
                // Stays when the label is corrected.
                &suggestion.class,
                &format!("{:.4}", suggestion.probability),
                &suggestion.second,
                &format!("{:.4}", suggestion.second_probability),
            ])?;
        }
        Ok(())
    })
    .map_err(|error| ModelError::file(path, error).into())
}

/// The column of an image list that keeps what was proposed.
const PROPOSED: &str = "proposed";

/// The number of labels of an image list that [`write_suggestions`] wrote, if all of them are still what
/// was proposed: nobody has corrected one. `None` for any other list, and for what cannot be read as
/// one.
pub fn untouched_proposals(path: &Path) -> Option<usize> {
    let read = || files::read_text(path, files::LARGEST_TEXT).ok();
    let text = path.is_file().then(read).flatten()?;
    // Programs for tables write them again with separators of their own.
    [b',', b';', b'\t'].into_iter().find_map(|separator| untouched(&text, separator))
}

fn untouched(text: &str, separator: u8) -> Option<usize> {
    let mut table =
        csv::ReaderBuilder::new().delimiter(separator).flexible(true).from_reader(text.as_bytes());
    let columns = table.headers().ok()?.clone();
    let place = |name: &str| columns.iter().position(|column| column == name);
    let (label, proposed) = (place("label")?, place(PROPOSED)?);
    let mut rows = 0;
    for row in table.records() {
        let row = row.ok()?;
        if row.get(label)?.trim() != row.get(proposed)?.trim() {
            return None;
        }
        rows += 1;
    }
    (rows > 0).then_some(rows)
}

fn path_of(location: &Location) -> PathBuf {
    match location {
        Location::File(path) => path.clone(),
        Location::Record { file, .. } => file.clone(),
    }
}

/// Files as a dataset of images whose class is not known; all have the first.
fn unlabelled(dataset: &Dataset, files: &[PathBuf]) -> Result<Dataset> {
    let samples = files
        .iter()
        .map(|file| {
            let file = std::path::absolute(file).map_err(|error| ModelError::file(file, error))?;
            Ok(DatasetSample {
                location: Location::File(file),
                class: 0,
                split: Split::Test,
                group: None,
            })
        })
        .collect::<Result<Vec<_>>>()?;
    Ok(Dataset {
        samples,
        kind: SourceKind::Folder,
        root: std::env::current_dir().unwrap_or_else(|_| "/".into()),
        ..dataset.clone()
    })
}

/// What there is to choose from.
#[derive(Default)]
struct NewOnes<'a> {
    samples: Vec<&'a DatasetSample>,
    /// How many are left out because the dataset or the folder has the same image already.
    known: usize,
    /// Why the first one cannot be read that cannot.
    unread: Option<String>,
}

/// The samples whose content neither the dataset has nor another one before. What cannot be read is
/// told of and left out.
fn new_ones<'a>(dataset: &Dataset, unlabelled: &'a Dataset, job: Job<'_>) -> Result<NewOnes<'a>> {
    let hashes = |dataset: &Dataset| {
        let locations: Vec<Location> =
            dataset.samples.iter().map(|sample| sample.location.clone()).collect();
        ImageReader::open(&dataset.root, dataset.kind, job)?.content_hashes(&locations, job)
    };
    let mut met: HashSet<_> = hashes(dataset)?.into_iter().flatten().collect();
    let mut found = NewOnes::default();
    for (sample, hash) in unlabelled.samples.iter().zip(hashes(unlabelled)?) {
        match hash {
            Ok(hash) if met.insert(hash) => found.samples.push(sample),
            Ok(_) => found.known += 1,
            Err(error) => {
                job.warn(format!("left out: {error}"));
                found.unread.get_or_insert_with(|| error.to_string());
            }
        }
    }
    Ok(found)
}

/// The two classes of the largest logits with their probabilities.
#[derive(Clone, Copy, Debug, PartialEq)]
struct TwoBest {
    classes: [usize; 2],
    probabilities: [f32; 2],
}

impl TwoBest {
    /// By logits that are divided by `temperature` for the probabilities.
    fn of(logits: &[f32], temperature: f32) -> Self {
        let mut classes = [0, 0];
        let mut best = [f32::NEG_INFINITY; 2];
        for (class, &logit) in logits.iter().enumerate() {
            if logit > best[0] {
                (best, classes) = ([logit, best[0]], [class, classes[0]]);
            } else if logit > best[1] {
                (best[1], classes[1]) = (logit, class);
            }
        }
        let likely = |logit: f32| ((logit - best[0]) / temperature).exp();
        let sum: f32 = logits.iter().copied().map(likely).sum();
        Self { classes, probabilities: best.map(|logit| likely(logit) / sum) }
    }

    /// How unsure the two make, times how rare they are.
    fn worth(&self, rarity: &[f32]) -> f32 {
        let [first, second] = self.probabilities;
        let unsure = SURE + (1.0 - SURE) * (1.0 - (first - second));
        let rare = first * rarity[self.classes[0]] + second * rarity[self.classes[1]];
        unsure * rare / (first + second).max(f32::MIN_POSITIVE)
    }
}

fn two_best(checkpoint: &Checkpoint, set: &FeatureSet, temperature: f32) -> Result<Vec<TwoBest>> {
    let of = |_, logits: &[f32]| TwoBest::of(logits, temperature);
    classifier_of(checkpoint)?.map_logits(&set.features, of)
}

/// How much an image of each class is worth for its being rare, in 0..1: as 1/√n_k, so that of a
/// class with a hundredth of the images one is worth ten.
fn rarity(counts: &[usize]) -> Vec<f32> {
    let of = |&count: &usize| 1.0 / (count.max(1) as f32).sqrt();
    let most = counts.iter().map(of).fold(f32::MIN_POSITIVE, f32::max);
    counts.iter().map(|count| of(count) / most).collect()
}

/// Rows, each the one of the largest product of its worth and its distance, as 1 less the cosine of
/// the angle, from the nearest of those before.
fn unlike_each_other(
    set: &FeatureSet,
    worth: &[f32],
    count: usize,
    job: Job<'_>,
) -> Result<Vec<usize>> {
    let mut features = set.features.clone();
    unit_rows(&mut features, set.dim);
    let of = |row: usize| &features[row * set.dim..(row + 1) * set.dim];
    let mut distances = vec![1.0_f32; set.len()];
    let mut chosen: Vec<usize> = Vec::new();
    while chosen.len() < count.min(set.len()) {
        job.check()?;
        let value = |row: usize| worth[row] * distances[row];
        let best = (0..set.len())
            .filter(|&row| distances[row] >= 0.0)
            .max_by(|&a, &b| value(a).total_cmp(&value(b)).then(b.cmp(&a)));
        let Some(best) = best else { break };
        chosen.push(best);
        let last = of(best);
        distances.par_iter_mut().enumerate().for_each(|(row, distance)| {
            let alike: f32 = of(row).iter().zip(last).map(|(a, b)| a * b).sum();
            *distance = distance.min((1.0 - alike).max(0.0));
        });
        // It is not chosen again, however little the others are worth.
        distances[best] = -1.0;
    }
    Ok(chosen)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::job::{Control, Silent};

    #[test]
    fn the_two_best_are_those_of_the_largest_logits() {
        let found = TwoBest::of(&[1.0, 3.0, 2.0, -5.0], 1.0);
        assert_eq!(found.classes, [1, 2]);
        let sum = 1.0 + (-1.0_f32).exp() + (-2.0_f32).exp() + (-8.0_f32).exp();
        assert!((found.probabilities[0] - 1.0 / sum).abs() < 1e-6);
        assert!((found.probabilities[1] - (-1.0_f32).exp() / sum).abs() < 1e-6);
        assert_eq!(TwoBest::of(&[0.5], 1.0).classes[0], 0);
        // Twice as sure.
        assert_eq!(
            TwoBest::of(&[1.0, 3.0, 2.0, -5.0], 0.5),
            TwoBest::of(&[2.0, 6.0, 4.0, -10.0], 1.0)
        );
    }

    #[test]
    fn unsure_and_rare_ones_are_worth_more() {
        let rarity = rarity(&[400, 4]);
        assert_eq!(rarity, [0.1, 1.0]);
        let of = |classes, first: f32| {
            TwoBest { classes, probabilities: [first, 1.0 - first] }.worth(&rarity)
        };
        assert!(of([0, 1], 0.6) > of([0, 1], 0.9));
        assert!(of([1, 0], 0.9) > of([0, 1], 0.9));
        assert!(of([0, 1], 1.0) > 0.0);
    }

    #[test]
    fn what_is_like_the_first_waits_for_what_is_not() {
        let set = FeatureSet {
            dim: 2,
            features: vec![1.0, 0.0, 2.0, 0.0, 0.0, 1.0, 1.0, 0.0].into(),
            labels: vec![0; 4],
        };
        let control = Control::new();
        let job = Job::new(&control, &Silent);
        let chosen = unlike_each_other(&set, &[1.0, 0.9, 0.2, 0.8], 3, job).unwrap();
        assert_eq!(chosen[..2], [0, 2]);
        let all = unlike_each_other(&set, &[1.0, 0.9, 0.2, 0.8], 9, job).unwrap();
        let distinct: HashSet<usize> = all.iter().copied().collect();
        assert_eq!((all.len(), distinct.len()), (4, 4));
    }
}
