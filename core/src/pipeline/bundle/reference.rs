//! Reference images, and the answers expected for them.

use std::path::{Path, PathBuf};

use serde_json::json;

use super::super::spread::spread;
use crate::dataset::DatasetSample;
use crate::error::{ModelError, Reason, Result};
use crate::images;
use crate::infer::OnnxClassifier;
use crate::job::Job;
use crate::run::Run;
use crate::source::{ImageReader, Location, Split};

/// Images, at most.
const IMAGES: usize = 10;
/// How many times the side of the input an image is large, at most.
const SIDES: usize = 3;
/// Classes that are said for each.
const TOP: usize = 5;

/// Samples of as many classes as can be, as many of each: rare ones are what the model is for.
fn of_all_classes<'a>(samples: &[&'a DatasetSample], classes: usize) -> Vec<&'a DatasetSample> {
    let mut of_class: Vec<Vec<&DatasetSample>> = vec![Vec::new(); classes];
    samples.iter().for_each(|sample| of_class[sample.class].push(sample));
    of_class.retain(|own| !own.is_empty());
    let chosen: Vec<Vec<&DatasetSample>> =
        spread(of_class.len(), IMAGES).map(|class| of_class[class].clone()).collect();
    let turns = 0..chosen.iter().map(Vec::len).max().unwrap_or(0);
    let in_turn = turns.flat_map(|turn| chosen.iter().filter_map(move |own| own.get(turn)));
    in_turn.copied().take(IMAGES).collect()
}

/// Writes small copies of some of the run's images, and the answers that the exported model gives for
/// them. Returns how many.
///
/// # Errors
/// [`ModelError::File`] if they cannot be written, and what reading the dataset meets.
pub(super) fn write(
    run: &Run,
    classifier: &OnnxClassifier,
    bundle: &Path,
    job: Job<'_>,
) -> Result<usize> {
    let folder = bundle.join("reference");
    let failed = |error: std::io::Error| ModelError::file(&folder, error);
    std::fs::create_dir_all(&folder).map_err(failed)?;
    let dataset = run.dataset();
    let split = [Split::Test, Split::Validation, Split::Train]
        .into_iter()
        .find(|split| !dataset.split(*split).is_empty())
        .unwrap_or(Split::Train);
    let samples = dataset.split(split);
    let reader = match dataset.kind.has_records() {
        true => Some(ImageReader::open(&dataset.root, dataset.kind, job)?),
        false => None,
    };
    let mut files: Vec<(PathBuf, &DatasetSample)> = Vec::new();
    for sample in of_all_classes(&samples, dataset.classes.len()) {
        let pixels = match (&reader, &sample.location) {
            (Some(reader), location) => reader.read(location),
            (None, Location::File(from) | Location::Record { file: from, .. }) => {
                images::read_image(&dataset.root.join(from), images::DEFAULT_MAX_PIXELS)
            }
        };
        // What cannot be read is no reference.
        let Ok(pixels) = pixels else { continue };
        // Nothing of the camera, the place or the time goes along.
        let pixels = images::thumbnail(&pixels, (SIDES * classifier.input_size()) as u32);
        let path = folder.join(format!("{:02}.png", files.len() + 1));
        image::save_buffer_with_format(
            &path,
            &pixels.data,
            pixels.width,
            pixels.height,
            image::ColorType::Rgb8,
            image::ImageFormat::Png,
        )
        .map_err(|error| ModelError::file(&path, Reason::of(error)))?;
        files.push((path, sample));
    }
    let paths: Vec<PathBuf> = files.iter().map(|(path, _)| path.clone()).collect();
    let mut answers = Vec::new();
    classifier.classify_all(
        &paths,
        &mut |_, found| {
            answers.push(found);
            Ok(())
        },
        job,
    )?;
    let mut entries = Vec::new();
    for ((path, sample), probabilities) in files.iter().zip(answers) {
        entries.push(json!({
            "file": path.file_name().unwrap_or_default().to_string_lossy(),
            "class": dataset.classes[sample.class],
            "top": classifier.top_k(&probabilities?, TOP),
        }));
    }
    let count = entries.len();
    let text = serde_json::to_string_pretty(&json!({ "images": entries })).unwrap_or_default();
    std::fs::write(folder.join("expected.json"), text + "\n").map_err(failed)?;
    Ok(count)
}
