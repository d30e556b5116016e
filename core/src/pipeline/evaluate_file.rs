//! Evaluating an ONNX classifier from anywhere, and beside a run.

use std::collections::HashMap;
use std::path::{Path, PathBuf};

use burn::tensor::Device;
use rayon::prelude::*;
use serde::{Deserialize, Serialize};

use super::features::Features;
use crate::batches::{DEFAULT_BUDGET, Images};
use crate::dataset::{Dataset, DatasetSample, Provenance};
use crate::error::{ModelError, Result, TrainError};
use crate::eval::{
    Answer, Evaluation, Evidence, GroupThresholds, PairedDifference, Verdict, paired_differences,
    verdict,
};
use crate::export::Refit;
use crate::files;
use crate::infer::{InputOptions, OnnxClassifier, UNKNOWN_NORMALISATION};
use crate::job::Job;
use crate::run::{Checkpoint, Run};
use crate::source::Split;
use crate::train::classifier_of;

/// Images that one thread has classified together.
const TOGETHER: usize = 8;

/// What of a dataset a file is evaluated on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum EvaluatedOn {
    /// A split; without one test, or validation where there is no test split.
    Split(Option<Split>),
    /// A source that was opened for this: every image where it came without a test split and is not
    /// what the file learned from; otherwise as without a split.
    Source,
    /// Every image, whatever its split: for folders that were never trained on.
    All,
}

/// An ONNX file's numbers on a dataset.
#[derive(Clone, Debug, Serialize)]
pub struct FileEvaluation {
    /// The file.
    pub file: PathBuf,
    /// The split; `None` for all images.
    pub split: Option<Split>,
    /// What it was compared with: a run's folder and checkpoint.
    pub beside: Option<String>,
    /// What it loses or gains to that, the file being the first: over all classes, then by group.
    pub differences: Vec<PairedDifference>,
    /// The numbers.
    #[serde(flatten)]
    pub evaluation: Evaluation,
    /// What they are worth.
    pub verdict: Verdict,
    /// The other's numbers on the same images.
    pub other: Option<Evaluation>,
}

/// Evaluates an ONNX classifier on a dataset, and with `beside` compares it with the checkpoint of a
/// run on the same images; that of its final one without a name. `input` says what the file does not
/// say itself. Its classes are found by their names, in whatever order they are; one without names
/// must have as many as the dataset.
///
/// Groups are those of the run it is compared with; else by the training images that the file says it
/// had; else by those of the dataset.
///
/// # Errors
/// [`ModelError::File`] for a file that is no image classifier or lacks a class of the dataset, and
/// what reading images meets. With `beside` the run must be of the same
/// classes, and its dataset the one evaluated on.
pub fn evaluate_file(
    file: &Path,
    input: &InputOptions,
    dataset: &Dataset,
    on: EvaluatedOn,
    beside: Option<(&Run, Option<&str>)>,
    thresholds: GroupThresholds,
    job: Job<'_>,
) -> Result<FileEvaluation> {
    let classifier = OnnxClassifier::open(file, input)?;
    if !classifier.is_normalisation_known() {
        job.warn(UNKNOWN_NORMALISATION);
    }
    let places = places(&classifier, &dataset.classes, file, job)?;
    let on = match on {
        EvaluatedOn::Source => {
            let came_with_test = !dataset.split(Split::Test).is_empty()
                && !dataset.provenance.drawn.contains(&Split::Test);
            match came_with_test || beside.is_some() || is_its_own(&classifier, dataset) {
                true => EvaluatedOn::Split(None),
                false if names_no_images(&classifier) => {
                    job.warn("every image is taken; the file does not name the images that it has learned from, as after `grow`: if some of these are among them, it is judged by what it knows of them");
                    EvaluatedOn::All
                }
                false => {
                    job.info("every image is taken, as one that the file did not learn from; if it was made of an earlier state of these images, --split test takes those that are held out");
                    EvaluatedOn::All
                }
            }
        }
        on => on,
    };
    let has_all = has_learned(&classifier, dataset, on);
    let has_some = is_its_own(&classifier, dataset)
        && matches!(on, EvaluatedOn::All | EvaluatedOn::Split(Some(Split::Train)));
    if has_some && !has_all {
        job.warn("the file has learned from most of these images, and is judged by what it knows of them; without --all it is judged on those that were held out");
    }
    if has_all {
        job.warn("the file has learned from these images, those that were held out before included, and is judged by what it knows: what it was worth without them is in its metadata");
    }
    let split = match on {
        EvaluatedOn::All | EvaluatedOn::Source => None,
        EvaluatedOn::Split(Some(split)) => Some(split),
        EvaluatedOn::Split(None) => Some(
            [Split::Test, Split::Validation]
                .into_iter()
                .find(|split| !dataset.split(*split).is_empty())
                .ok_or_else(|| {
                    TrainError::Request(
                        "the dataset has neither a test nor a validation split; --all evaluates every image".into(),
                    )
                })?,
        ),
    };
    let samples: Vec<DatasetSample> = dataset
        .samples
        .iter()
        .filter(|sample| split.is_none_or(|split| sample.split == split))
        .map(|sample| DatasetSample { split: Split::Test, ..sample.clone() })
        .collect();
    if samples.is_empty() {
        return Err(TrainError::Request("the dataset has no image there".into()).into());
    }
    if on == EvaluatedOn::Split(None)
        && !has_all
        && beside.is_none()
        && let Some(split) = split
        && dataset.provenance.drawn.contains(&split)
    {
        job.info(format!(
            "judged on the {} {split} images of {}, which were held out from training on this dataset; --all takes every image",
            samples.len(),
            dataset.samples.len()
        ));
    }
    let copies = match split {
        Some(Split::Test | Split::Validation) => {
            dataset.copies_in_training(&samples.iter().collect::<Vec<_>>())
        }
        _ => vec![false; samples.len()],
    };
    // They stand as test samples, of which no class needs any.
    let chosen = Dataset { samples, ..dataset.clone() };
    let images = Images::open(&chosen, Split::Test, classifier.input_shape(), DEFAULT_BUDGET, job)?;
    let train_counts = match beside {
        Some(_) => dataset.counts(Split::Train),
        None => train_counts(&classifier, &places, dataset, on, job),
    };
    // Beside the run it was made in, the file itself is in question.
    let natively = beside.is_none();
    let (answers, positions) = answers(&classifier, &images, &places, natively, job)?;
    images.warn_of_problems(job);
    // What training has copies of is no test of what was learned from that, here or in the run beside.
    let all = answers.len();
    let (kept, kept_positions): (Vec<Answer>, Vec<usize>) =
        answers.iter().zip(&positions).filter(|(_, position)| !copies[**position]).unzip();
    let all_copies = kept.is_empty();
    let (answers, positions) =
        if all_copies { (answers, positions) } else { (kept, kept_positions) };
    let evaluation = Evaluation::of(&answers, &dataset.classes, &train_counts, thresholds)?;
    // What it learned from is no test, and what others call training images may well be one.
    let judged_as = match split {
        _ if has_all || has_some => Split::Train,
        None | Some(Split::Train) => Split::Test,
        Some(split) => split,
    };
    let verdict = verdict(&Evidence {
        copies: all - answers.len(),
        all_copies,
        ..Evidence::of(&evaluation, judged_as)
    });
    let mut found = FileEvaluation {
        file: file.to_path_buf(),
        split,
        beside: None,
        differences: Vec::new(),
        evaluation,
        verdict,
        other: None,
    };
    if let Some((run, checkpoint)) = beside {
        let Some(split) = split else {
            let reason = "a run is compared on a split of its dataset, not on all images";
            return Err(TrainError::Request(reason.into()).into());
        };
        let name = checkpoint.unwrap_or_else(|| run.final_checkpoint());
        let others = answers_of_run(run, &run.checkpoint(name)?, split, dataset, job)?;
        // Both may have left out images that they could not read.
        let pairs: Vec<(Answer, Answer)> = answers
            .iter()
            .zip(&positions)
            .filter_map(|(answer, position)| Some((*answer, *others.get(position)?)))
            .collect();
        let (first, second): (Vec<Answer>, Vec<Answer>) = pairs.into_iter().unzip();
        found.differences = paired_differences(&first, &second, &train_counts, thresholds)?;
        found.other = Some(Evaluation::of(&second, &dataset.classes, &train_counts, thresholds)?);
        found.beside = Some(format!("{} ({name})", run.folder().display()));
    }
    Ok(found)
}

/// Which of the file's outputs stands for each class of the dataset.
fn places(
    classifier: &OnnxClassifier,
    classes: &[String],
    file: &Path,
    job: Job<'_>,
) -> Result<Vec<usize>> {
    let theirs = classifier.classes();
    if !classifier.has_names() {
        if theirs.len() != classes.len() {
            let reason = format!(
                "it has {} classes without names, and the dataset {}",
                theirs.len(),
                classes.len()
            );
            return Err(ModelError::file(file, reason).into());
        }
        job.warn("the file does not name its classes; they are taken to be the dataset's, in their order");
        return Ok((0..classes.len()).collect());
    }
    let missing: Vec<&str> =
        classes.iter().filter(|class| !theirs.contains(class)).map(String::as_str).collect();
    if let Some(first) = missing.first() {
        let reason = match missing.len() {
            1 => format!("it has no class “{first}”, which the dataset has"),
            n => format!("it lacks {n} of the dataset's classes, “{first}” first of all"),
        };
        return Err(ModelError::file(file, reason).into());
    }
    let others: Vec<&str> =
        theirs.iter().filter(|class| !classes.contains(class)).map(String::as_str).collect();
    if let Some(first) = others.first() {
        let which = match others.len() {
            1 => format!("“{first}”, a class of the file that the dataset has not,"),
            n => {
                format!("{n} classes of the file that the dataset has not, “{first}” first of all,")
            }
        };
        job.warn(format!(
            "{which} cannot be chosen here: among all of its classes the file is right less often"
        ));
    }
    Ok(classes.iter().filter_map(|class| classifier.class_index(class)).collect())
}

/// Whether a file learned once more from what it is evaluated on, by what it says itself.
fn has_learned(classifier: &OnnxClassifier, dataset: &Dataset, on: EvaluatedOn) -> bool {
    let said = classifier.metadata();
    let refit = said.get("refit").and_then(|text| serde_json::from_str::<Refit>(text).ok());
    let learned = |refit: Refit| match on {
        EvaluatedOn::All | EvaluatedOn::Source => true,
        EvaluatedOn::Split(Some(split)) => refit.includes(split),
        EvaluatedOn::Split(None) => match dataset.split(Split::Test).is_empty() {
            true => refit.validation,
            false => refit.test,
        },
    };
    is_its_own(classifier, dataset) && refit.is_some_and(learned)
}

/// Whether a file of this program's does not name the images that it has learned from, as after others
/// were added to those of a run.
fn names_no_images(classifier: &OnnxClassifier) -> bool {
    classifier.metadata().contains_key("summary") && hash_of(classifier, "dataset_blake3").is_none()
}

/// Whether a file was trained on these images, or on these and others, by what it says itself.
fn is_its_own(classifier: &OnnxClassifier, dataset: &Dataset) -> bool {
    let Provenance { source_hash, grown_of, .. } = &dataset.provenance;
    ["dataset_blake3", "dataset_grown_of_blake3"]
        .into_iter()
        .filter_map(|key| hash_of(classifier, key))
        .any(|hash| hash == source_hash || hash == grown_of)
}

/// A hash that a file names, if it does.
fn hash_of<'a>(classifier: &'a OnnxClassifier, key: &str) -> Option<&'a str> {
    let hash = classifier.metadata().get(key)?.trim_matches('"');
    (!hash.is_empty()).then_some(hash)
}

/// Images of each class that the file was trained on, as it says itself or else as the dataset has
/// it: where all images are evaluated, its splits are none that the file knows of.
fn train_counts(
    classifier: &OnnxClassifier,
    places: &[usize],
    dataset: &Dataset,
    on: EvaluatedOn,
    job: Job<'_>,
) -> Vec<usize> {
    let said = classifier.metadata().get("summary");
    let summary = said.and_then(|text| serde_json::from_str::<Summary>(text).ok());
    let counts = summary.map(|summary| summary.train_counts);
    if let Some(counts) = counts.filter(|counts| counts.len() == classifier.classes().len()) {
        return places.iter().map(|place| counts[*place]).collect();
    }
    if on != EvaluatedOn::All {
        return dataset.counts(Split::Train);
    }
    job.info("the file does not say how many images of each class it was trained on; groups are by how many there are here");
    let mut counts = vec![0; dataset.classes.len()];
    dataset.samples.iter().for_each(|sample| counts[sample.class] += 1);
    counts
}

/// What a file that was exported by this program says of its training, as far as it is needed.
#[derive(Deserialize)]
struct Summary {
    train_counts: Vec<usize>,
}

/// What the file says about each readable image, and which of the images that is: its classes that
/// the dataset has not are left out of the choice.
pub(super) fn answers(
    classifier: &OnnxClassifier,
    images: &Images,
    places: &[usize],
    natively: bool,
    job: Job<'_>,
) -> Result<(Vec<Answer>, Vec<usize>)> {
    let size = 3 * classifier.input_size().pow(2);
    let (mut answers, mut positions) = (Vec::new(), Vec::new());
    job.phase("evaluating", Some(images.len() as u64), "images");
    for batch in images.eval_batches(TOGETHER * 4 * rayon::current_num_threads(), false) {
        job.check()?;
        let batch = batch?;
        let inputs: Vec<Vec<u8>> = batch.images.chunks_exact(size).map(<[u8]>::to_vec).collect();
        let outputs = classifier.run_many(&inputs, natively)?;
        // What has the probabilities for its softmax, be it logits or not.
        let temperature = classifier.temperature();
        let rows: Vec<Vec<f32>> = match outputs.logits {
            Some(rows) if temperature == 1.0 => rows,
            Some(rows) => {
                let divided =
                    |row: &Vec<f32>| row.iter().map(|logit| logit / temperature).collect();
                rows.par_iter().map(divided).collect()
            }
            None => {
                let logs =
                    |row: &Vec<f32>| row.iter().map(|p| p.max(f32::MIN_POSITIVE).ln()).collect();
                outputs.probabilities.par_iter().map(logs).collect()
            }
        };
        let answer = |(row, label): (&Vec<f32>, &u32)| {
            let chosen: Vec<f32> = places.iter().map(|place| row[*place]).collect();
            Answer::of(&chosen, *label)
        };
        answers.par_extend(rows.par_iter().zip(&batch.labels).map(answer));
        positions.extend_from_slice(&batch.indices);
        job.progress(answers.len() as u64);
    }
    Ok((answers, positions))
}

/// Whether samples that two datasets name alike are the same pictures: files below the same folder, or
/// of the same content as far as both know.
fn same_pictures(one: &Dataset, other: &Dataset, samples: &[&DatasetSample]) -> bool {
    let digests = [&one.provenance.digests, &other.provenance.digests];
    files::real(&one.root) == files::real(&other.root)
        || samples.iter().all(|sample| {
            let [one, other] = digests.map(|digests| digests.of(&sample.location));
            one.is_some() && one == other
        })
}

/// What a checkpoint says about the images of a split, by their place in it.
pub(super) fn answers_of_run(
    run: &Run,
    checkpoint: &Checkpoint,
    split: Split,
    dataset: &Dataset,
    job: Job<'_>,
) -> Result<HashMap<usize, Answer>> {
    let own = run.dataset();
    let (ours, theirs) = (own.split(split), dataset.split(split));
    let same = own.classes == dataset.classes
        && ours
            .iter()
            .map(|sample| &sample.location)
            .eq(theirs.iter().map(|sample| &sample.location));
    let refuse = |reason: &str| {
        TrainError::Request(format!("{} was trained on {reason}", run.folder().display()))
    };
    if !same || !same_pictures(own, dataset, &ours) {
        let reason = "another dataset; a comparison needs the same images in the same split";
        return Err(refuse(reason).into());
    }
    if !ours.iter().map(|sample| sample.class).eq(theirs.iter().map(|sample| sample.class)) {
        let reason = "these images when some had other labels; train a run on them as they are now";
        return Err(refuse(reason).into());
    }
    let device = Device::flex();
    let found = Features::new(run, checkpoint, &device).with_positions(split, false, job)?;
    let answers = classifier_of(checkpoint)?.answers(&found.set)?;
    Ok(found.positions.iter().map(|position| *position as usize).zip(answers).collect())
}
