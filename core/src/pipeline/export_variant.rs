//! Exporting a checkpoint in another form than the usual, and what that costs each class.

use std::collections::HashMap;
use std::path::Path;

use serde::Serialize;

use super::evaluate_file::{answers, answers_of_run};
use super::export::{Exported, Subject, inputs, only};
use super::spread::spread;
use crate::batches::{DEFAULT_BUDGET, Images};
use crate::dataset::DatasetSample;
use crate::error::{ModelError, Result};
use crate::eval::{
    Answer, Evaluation, Group, GroupThresholds, PairedDifference, paired_differences,
};
use crate::export::{ExportReport, Onnx, OnnxOutputs, Variant};
use crate::files;
use crate::infer::OnnxClassifier;
use crate::job::Job;
use crate::run::Run;
use crate::source::Split;

/// Images that ranges of values are measured on, as many of each class as can be.
const CALIBRATED_ON: usize = 256;
/// Images that a form is measured on, at most, as many of each class as can be.
const MEASURED_ON: usize = 1000;
/// Fewer images lost are an accident, whatever share of a small class they are.
const LEAST_LOST: usize = 2;
/// What a form may lose of any group or class if nothing is said.
pub const DEFAULT_MAX_LOSS: f64 = 0.05;

/// How a checkpoint is to be exported.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct VariantRequest {
    /// The form.
    pub variant: Variant,
    /// What the file gives.
    pub outputs: OnnxOutputs,
    /// Share of the images of any group or class, in 0..1, that the form may get wrong more than the
    /// network does.
    pub max_loss: f64,
}

impl VariantRequest {
    /// With both outputs and [`DEFAULT_MAX_LOSS`].
    pub fn new(variant: Variant) -> Self {
        Self { variant, outputs: OnnxOutputs::Both, max_loss: DEFAULT_MAX_LOSS }
    }
}

/// A form that was made, and what it costs.
#[derive(Clone, Debug, Serialize)]
pub struct VariantReport {
    /// The form.
    pub variant: Variant,
    /// The file and its check.
    pub export: ExportReport,
    /// The split it was measured on: validation, or where there is none test, or training.
    pub split: Split,
    /// Mean of the per-class accuracies of the network and of the file, in 0..1.
    pub balanced_accuracy: [f64; 2],
    /// What the file (the second) loses or gains to the network (the first): over all classes, then
    /// by group.
    pub differences: Vec<PairedDifference>,
    /// Classes that lost or won images, the largest loss first.
    pub classes: Vec<ClassChange>,
    /// Images that the file takes for another class than the network, rightly or not.
    pub changed: usize,
    /// Why the file was not kept: which group or class loses too much, or that it is another model.
    pub refused: Option<String>,
}

impl VariantReport {
    /// Images that it was measured on.
    pub fn images(&self) -> usize {
        self.differences.first().map_or(0, |all| all.samples)
    }

    /// Images that the file takes for the class that the network takes them for.
    pub fn same(&self) -> usize {
        self.images().saturating_sub(self.changed)
    }

    /// Whether the classifier has learned from the images that it was measured on: they say what the
    /// form changes then, and not how good it is.
    pub fn has_learned(&self) -> bool {
        self.split == Split::Train
            || self.export.refit.is_some_and(|refit| refit.includes(self.split))
    }

    /// The class that loses most, if any does.
    pub fn worst(&self) -> Option<&ClassChange> {
        self.classes.first().filter(|change| change.lost() > 0)
    }
}

/// What a form does to a class.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct ClassChange {
    /// The class.
    pub class: String,
    /// Its group.
    pub group: Group,
    /// Images of it.
    pub images: usize,
    /// How many of them the network gets right, and how many the file.
    pub correct: [usize; 2],
}

impl ClassChange {
    /// Images that the file gets wrong more than the network, negative where it is the other way
    /// round.
    fn lost(&self) -> i64 {
        self.correct[0] as i64 - self.correct[1] as i64
    }
}

/// Exports a checkpoint of a run (its final one without a name) in another form, runs the file
/// beside the network, and keeps it if no group and no class loses more than the request allows;
/// otherwise [`VariantReport::refused`] says which does, and `path` is what it was.
///
/// # Errors
/// As [`super::export()`], and [`ModelError::Export`] if the form cannot be written.
pub fn export_variant(
    run: &Run,
    what: Exported<'_>,
    request: &VariantRequest,
    path: &Path,
    job: Job<'_>,
) -> Result<VariantReport> {
    let subject = Subject::of(run, what, job)?;
    let report = Measuring::new(&subject).export(request, path, job)?;
    if report.refused.is_none() {
        run.keep_result("export", &report.export, job);
    }
    Ok(report)
}

/// Exports the forms of one checkpoint, reading its images once.
pub(super) struct Measuring<'a> {
    subject: &'a Subject<'a>,
    /// The network's answers to the images of the split, by their place in it.
    known: Option<HashMap<usize, Answer>>,
    calibration: Option<Vec<Vec<u8>>>,
}

impl<'a> Measuring<'a> {
    pub fn new(subject: &'a Subject<'a>) -> Self {
        Self { subject, known: None, calibration: None }
    }

    /// As [`export_variant`], but that the run remembers nothing of it.
    ///
    /// # Errors
    /// As there.
    pub fn export(
        &mut self,
        request: &VariantRequest,
        path: &Path,
        job: Job<'_>,
    ) -> Result<VariantReport> {
        let variant = request.variant;
        let calibrated;
        let subject = match variant {
            Variant::Calibrated => {
                calibrated = self.subject.calibrated()?;
                &calibrated
            }
            _ => self.subject,
        };
        if variant == Variant::Int8 && self.calibration.is_none() {
            self.calibration = Some(self.calibration_images(job)?);
        }
        let calibration = self.calibration.as_deref().unwrap_or_default();
        let target = Onnx { outputs: request.outputs, variant, calibration };
        let failed = |error: std::io::Error| ModelError::file(path, error);
        let absolute =
            std::path::absolute(files::destination(path).map_err(failed)?).map_err(failed)?;
        let parent = absolute.parent().unwrap_or(&absolute);
        std::fs::create_dir_all(parent).map_err(failed)?;
        // A file that loses too much never has the name.
        let folder = files::temporary_folder(parent).map_err(failed)?;
        let temporary = folder.path().join("model.onnx");
        let mut export = subject.write(&target, &temporary, job)?;
        export.path = path.to_path_buf();
        let mut report = self.measure(&temporary, variant, export, job)?;
        report.refused = refusal(&report, request.max_loss);
        if report.refused.is_none() {
            std::fs::rename(&temporary, &absolute).map_err(failed)?;
        }
        Ok(report)
    }

    /// Images of every class from validation, or where there is none from training.
    fn calibration_images(&self, job: Job<'_>) -> Result<Vec<Vec<u8>>> {
        let dataset = self.subject.run.dataset();
        let split = match dataset.split(Split::Validation).is_empty() {
            true => Split::Train,
            false => Split::Validation,
        };
        let samples = dataset.split(split);
        let chosen = balanced(&samples, dataset.classes.len(), CALIBRATED_ON);
        let chosen: Vec<&DatasetSample> = chosen.into_iter().map(|place| samples[place]).collect();
        inputs(dataset, &chosen, self.subject.checkpoint.input_shape(), job)
    }

    fn measure(
        &mut self,
        file: &Path,
        variant: Variant,
        export: ExportReport,
        job: Job<'_>,
    ) -> Result<VariantReport> {
        let run = self.subject.run;
        let dataset = run.dataset();
        let split = [Split::Validation, Split::Test]
            .into_iter()
            .find(|split| !dataset.split(*split).is_empty())
            .unwrap_or(Split::Train);
        if self.known.is_none() {
            self.known = Some(answers_of_run(run, &self.subject.checkpoint, split, dataset, job)?);
        }
        let known = self.known.as_ref().expect("was computed above");
        let classifier = OnnxClassifier::load(file)?;
        let samples = dataset.split(split);
        let places = balanced(&samples, dataset.classes.len(), MEASURED_ON);
        let chosen: Vec<&DatasetSample> = places.iter().map(|place| samples[*place]).collect();
        let chosen = only(dataset, &chosen);
        let images =
            Images::open(&chosen, Split::Test, classifier.input_shape(), DEFAULT_BUDGET, job)?;
        let as_they_are: Vec<usize> = (0..dataset.classes.len()).collect();
        let (found, positions) = answers(&classifier, &images, &as_they_are, false, job)?;
        let (network, file): (Vec<Answer>, Vec<Answer>) = found
            .into_iter()
            .zip(positions)
            .filter_map(|(answer, position)| Some((*known.get(&places[position])?, answer)))
            .unzip();
        let thresholds = GroupThresholds::from(&run.settings().evaluation);
        let counts = &self.subject.checkpoint.train_counts;
        let of = |answers: &[Answer]| Evaluation::of(answers, &dataset.classes, counts, thresholds);
        let (before, after) = (of(&network)?, of(&file)?);
        let mut classes: Vec<ClassChange> = before
            .per_class
            .iter()
            .zip(&after.per_class)
            .filter(|(before, after)| before.correct != after.correct)
            .map(|(before, after)| ClassChange {
                class: before.name.clone(),
                group: before.group,
                images: before.samples,
                correct: [before.correct, after.correct],
            })
            .collect();
        let share = |change: &ClassChange| change.lost() as f64 / change.images as f64;
        classes.sort_by(|one, other| share(other).total_cmp(&share(one)));
        let changed =
            network.iter().zip(&file).filter(|(network, file)| network.predicted != file.predicted);
        Ok(VariantReport {
            variant,
            export,
            split,
            changed: changed.count(),
            balanced_accuracy: [before.balanced_accuracy, after.balanced_accuracy],
            differences: paired_differences(&network, &file, counts, thresholds)?,
            classes,
            refused: None,
        })
    }
}

/// Places of samples, as many of each class as can be without there being more than `most`, evenly
/// spread among those of their class; one of each at least.
fn balanced(samples: &[&DatasetSample], classes: usize, most: usize) -> Vec<usize> {
    let mut of_class: Vec<Vec<usize>> = vec![Vec::new(); classes];
    samples.iter().enumerate().for_each(|(place, sample)| of_class[sample.class].push(place));
    let taken = |each: usize| of_class.iter().map(|places| places.len().min(each)).sum::<usize>();
    let mut each = 1;
    while each < most && taken(each + 1) <= most && taken(each + 1) > taken(each) {
        each += 1;
    }
    let mut places: Vec<usize> = of_class
        .iter()
        .flat_map(|places| spread(places.len(), each).map(|index| places[index]))
        .collect();
    places.sort_unstable();
    places
}

/// Which group or class loses too much, in a sentence.
fn refusal(report: &VariantReport, max_loss: f64) -> Option<String> {
    let percent = |share: f64| format!("{:.1} %", 100.0 * share);
    let group = report.differences.iter().find(|found| {
        -found.difference > max_loss && found.only_first >= found.only_second + LEAST_LOST
    });
    let of_group = group.map(|found| {
        let whom = found.group.map_or("all classes".to_string(), |group| {
            format!("the classes with {} images", group.name())
        });
        format!("{whom} lose {} of their accuracy", percent(-found.difference))
    });
    let class = report.classes.iter().find(|change| {
        change.lost() >= LEAST_LOST as i64 && change.lost() as f64 > max_loss * change.images as f64
    });
    let of_class = class.map(|change| {
        let [before, after] = change.correct;
        format!(
            "class “{}” loses {} ({before} and then {after} of {} images right)",
            change.class,
            percent(change.lost() as f64 / change.images as f64),
            change.images
        )
    });
    // Where a model is often wrong, another one may be as often right.
    let allowed = 2.0 * max_loss;
    let images = report.differences.first().map_or(0, |all| all.samples);
    let changed = report.changed as f64 / images.max(1) as f64;
    let is_another = changed > allowed && report.changed >= LEAST_LOST;
    let of_all = is_another.then(|| {
        let (changed, allowed) = (percent(changed), percent(allowed));
        format!(
            "it takes {changed} of the images for another class than the network does, and {allowed} may be"
        )
    });
    let what = [of_group, of_class].into_iter().flatten().collect::<Vec<_>>().join(", and ");
    match what.is_empty() {
        true => of_all,
        false => Some(format!("{what}; {} are allowed", percent(max_loss))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::settings::ImageFit;
    use crate::source::Location;

    #[test]
    fn what_loses_too_much_of_a_class_or_group_is_refused_and_an_accident_is_not() {
        let report = |lost: &[(usize, [usize; 2])], few: (usize, usize, usize)| {
            let (samples, only_first, only_second) = few;
            VariantReport {
                variant: Variant::Int8,
                export: ExportReport {
                    path: "x.onnx".into(),
                    top1_agreement: 1.0,
                    max_abs_diff: 0.0,
                    max_abs_diff_probabilities: 0.0,
                    images: 1,
                    bytes: 1,
                    opset: 17,
                    input_size: 8,
                    fit: ImageFit::Crop,
                    classes: 3,
                    checkpoint: "last".into(),
                    refit: None,
                    calibration: None,
                    verdict: None,
                },
                split: Split::Validation,
                balanced_accuracy: [0.5, 0.5],
                differences: vec![PairedDifference {
                    group: Some(Group::Few),
                    samples,
                    right: [samples - only_second, samples - only_first],
                    only_first,
                    only_second,
                    difference: (only_second as f64 - only_first as f64) / samples as f64,
                    interval: [0.0, 0.0],
                    p_value: 1.0,
                }],
                classes: lost
                    .iter()
                    .map(|&(images, correct)| ClassChange {
                        class: "lynx".into(),
                        group: Group::Few,
                        images,
                        correct,
                    })
                    .collect(),
                changed: 0,
                refused: None,
            }
        };
        let none = (100, 2, 2);
        assert_eq!(refusal(&report(&[(30, [20, 19])], none), 0.05), None);
        assert_eq!(refusal(&report(&[(3, [2, 1])], none), 0.05), None);
        assert_eq!(refusal(&report(&[(100, [80, 76])], none), 0.05), None);
        let class = refusal(&report(&[(30, [20, 18])], none), 0.05).unwrap();
        assert!(class.contains("“lynx” loses 6.7 % (20 and then 18 of 30"), "{class}");
        let group = refusal(&report(&[], (50, 5, 1)), 0.05).unwrap();
        assert!(group.contains("few") && group.contains("8.0 %"), "{group}");
        assert_eq!(refusal(&report(&[(30, [20, 18])], (50, 5, 1)), 0.1), None);
        // As often right, but not where the network is.
        let another = VariantReport { changed: 11, ..report(&[], none) };
        let all = refusal(&another, 0.05).unwrap();
        assert!(all.contains("11.0 % of the images") && all.contains("10.0 % may be"), "{all}");
        assert_eq!(refusal(&another, 0.06), None);
    }

    #[test]
    fn classes_are_taken_alike_and_rare_ones_whole() {
        let sample = |class| DatasetSample {
            location: Location::File("x".into()),
            class,
            split: Split::Validation,
            group: None,
        };
        let samples: Vec<DatasetSample> =
            [vec![0; 90], vec![1; 5], vec![3; 20]].concat().into_iter().map(sample).collect();
        let samples: Vec<&DatasetSample> = samples.iter().collect();
        let counts = |places: &[usize]| {
            [0, 1, 2, 3].map(|class| places.iter().filter(|p| samples[**p].class == class).count())
        };
        assert_eq!(counts(&balanced(&samples, 4, 25)), [10, 5, 0, 10]);
        assert_eq!(counts(&balanced(&samples, 4, 1000)), [90, 5, 0, 20]);
        // Never without a class.
        assert_eq!(counts(&balanced(&samples, 4, 1)), [1, 1, 0, 1]);
    }
}
