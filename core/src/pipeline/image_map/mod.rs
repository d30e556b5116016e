//! The map of images: all images of a run in a plane, those that the network finds alike beside each
//! other.

mod file;
mod picture;
mod table;
#[cfg(test)]
mod tests;

use burn::tensor::Device;

use super::features::{Features, backbone_key};
use super::spread::spread;
use crate::error::{Result, TrainError};
use crate::eval::{Answer, Group, GroupThresholds, check};
use crate::job::Job;
use crate::model::is_of_classifier;
use crate::projection::in_two_dimensions;
use crate::run::{Checkpoint, Run};
use crate::source::{Location, Split};
use crate::train::classifier_of;

pub use picture::{MapColours, map_picture};
pub use table::write_map_table;

/// Images that are laid out, at most: neighbours are looked for among all of them, which takes four
/// times as long for twice as many.
const MOST: usize = 60_000;

/// All images of a run in a plane.
#[derive(Clone, Debug, PartialEq)]
pub struct ImageMap {
    /// Name of the checkpoint: `last`, `best` or `balanced`.
    pub checkpoint: String,
    /// Class names, in label order.
    pub classes: Vec<String>,
    /// Training samples of each class, n_k.
    pub train_counts: Vec<usize>,
    /// Where the groups begin and end.
    pub thresholds: GroupThresholds,
    /// Images of the dataset that are not on the map: more than can be laid out, evenly taken out of
    /// every class, or unreadable.
    pub left_out: usize,
    /// The images, in the dataset's order.
    pub points: Vec<MapPoint>,
}

/// An image on the map.
#[derive(Clone, Debug, PartialEq)]
pub struct MapPoint {
    /// Its place in the dataset's samples.
    pub sample: usize,
    /// Where it is, relative to the dataset's root.
    pub location: Location,
    /// What it is used for.
    pub split: Split,
    /// Its class.
    pub label: usize,
    /// The class predicted.
    pub predicted: usize,
    /// The predicted class's probability, in 0..1.
    pub probability: f32,
    /// Its place in the plane.
    pub place: [f32; 2],
}

impl MapPoint {
    /// Whether it is taken for another class than its own.
    pub fn is_mistake(&self) -> bool {
        self.label != self.predicted
    }
}

impl ImageMap {
    /// The group of a class.
    pub fn group(&self, class: usize) -> Group {
        self.thresholds.group(self.train_counts[class])
    }
}

/// Lays out the images of a run by the features of a checkpoint, its final one without a name: the
/// first principal components of the features, and of these a plane by UMAP (see
/// [`crate::projection`]). What was laid out before is read from the run's folder; otherwise it is
/// kept there. Features are computed on `device` unless they are kept.
///
/// # Errors
/// No such checkpoint, no images that can be read, features that are no numbers, a device that
/// fails, [`crate::Error::Stopped`].
pub fn image_map(
    run: &Run,
    checkpoint: Option<&str>,
    seed: u64,
    device: &Device,
    job: Job<'_>,
) -> Result<ImageMap> {
    let name = checkpoint.unwrap_or_else(|| run.final_checkpoint());
    let checkpoint = run.checkpoint(name)?;
    let key = key(run, &checkpoint, seed);
    if let Some(places) = file::read(run, name, &key) {
        return Ok(assemble(run, name, &checkpoint, places));
    }
    let classifier = classifier_of(&checkpoint)?;
    let samples = &run.dataset().samples;
    let features = Features::new(run, &checkpoint, device);
    features_are_kept(run, &features, job)?;
    let (mut rows, mut placed, mut dim) = (Vec::new(), Vec::new(), 0);
    for split in Split::ALL {
        let of_split: Vec<usize> =
            (0..samples.len()).filter(|&sample| samples[sample].split == split).collect();
        if of_split.is_empty() {
            continue;
        }
        let found = features.with_positions(split, false, job)?;
        dim = found.set.dim;
        let answers = classifier.answers(&found.set)?;
        check(&answers, checkpoint.classes.len())?;
        // Samples are ordered by class, so those taken are spread over the classes.
        let most = (MOST * of_split.len()).div_ceil(samples.len());
        for row in spread(found.positions.len(), most) {
            let sample = *of_split.get(found.positions[row] as usize).ok_or_else(|| {
                TrainError::Request("the stored features fit another dataset".into())
            })?;
            let answer: &Answer = &answers[row];
            rows.extend_from_slice(&found.set.features[row * dim..(row + 1) * dim]);
            placed.push(file::Placed {
                sample: sample as u32,
                predicted: answer.predicted as u32,
                probability: answer.probability() as f32,
                place: [0.0; 2],
            });
        }
    }
    if placed.is_empty() {
        return Err(TrainError::Request("no image of the dataset can be read".into()).into());
    }
    if !rows.iter().all(|value| value.is_finite()) {
        let reason = "the network gives features that are not finite numbers";
        return Err(TrainError::Request(reason.into()).into());
    }
    let places = in_two_dimensions(&rows, dim, seed, job)?;
    placed.iter_mut().zip(places).for_each(|(placed, place)| placed.place = place);
    if let Err(error) = file::write(run, name, &key, &placed) {
        job.warn(format!("the map could not be kept for the next time: {error}"));
    }
    Ok(assemble(run, name, &checkpoint, placed))
}

/// The map that was laid out before, if it was and still belongs to the checkpoint.
///
/// # Errors
/// No such checkpoint.
pub fn stored_image_map(
    run: &Run,
    checkpoint: Option<&str>,
    seed: u64,
) -> Result<Option<ImageMap>> {
    let name = checkpoint.unwrap_or_else(|| run.final_checkpoint());
    let checkpoint = run.checkpoint(name)?;
    let places = file::read(run, name, &key(run, &checkpoint, seed));
    Ok(places.map(|places| assemble(run, name, &checkpoint, places)))
}

/// Features of a backbone that stays as it is are computed for all splits at once.
fn features_are_kept(run: &Run, features: &Features<'_>, job: Job<'_>) -> Result<()> {
    if run.settings().stage1.is_frozen() { features.remember(job) } else { Ok(()) }
}

fn assemble(run: &Run, name: &str, checkpoint: &Checkpoint, places: Vec<file::Placed>) -> ImageMap {
    let samples = &run.dataset().samples;
    let mut points: Vec<MapPoint> = places
        .into_iter()
        .map(|placed| {
            let sample = &samples[placed.sample as usize];
            MapPoint {
                sample: placed.sample as usize,
                location: sample.location.clone(),
                split: sample.split,
                label: sample.class,
                predicted: placed.predicted as usize,
                probability: placed.probability,
                place: placed.place,
            }
        })
        .collect();
    points.sort_by_key(|point| point.sample);
    ImageMap {
        checkpoint: name.to_string(),
        classes: checkpoint.classes.clone(),
        train_counts: checkpoint.train_counts.clone(),
        thresholds: GroupThresholds::from(&run.settings().evaluation),
        left_out: samples.len() - points.len(),
        points,
    }
}

/// Equal for maps that are equal: of the same weights, images and seed.
fn key(run: &Run, checkpoint: &Checkpoint, seed: u64) -> String {
    /// Another way of laying out is another map.
    const VERSION: u64 = 1;
    let mut hasher = blake3::Hasher::new();
    for number in [VERSION, seed, MOST as u64] {
        hasher.update(&number.to_le_bytes());
    }
    hasher.update(backbone_key(checkpoint).as_bytes());
    for tensor in checkpoint.weights.iter().filter(|tensor| is_of_classifier(&tensor.name)) {
        hasher.update(tensor.name.as_bytes());
        tensor.values.iter().for_each(|value| _ = hasher.update(&value.to_le_bytes()));
    }
    for sample in &run.dataset().samples {
        hasher.update(sample.location.to_text().as_bytes());
        hasher.update(&[0, sample.split as u8]);
        hasher.update(&(sample.class as u64).to_le_bytes());
    }
    hasher.finalize().to_hex().to_string()
}
