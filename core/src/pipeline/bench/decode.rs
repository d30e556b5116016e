//! Timing the reading of a source.

use std::path::Path;
use std::time::Instant;

use serde::Serialize;

use super::peak_memory;
use crate::data::{Catalog, Dataset, DatasetSample, ImageReader, Images, Provenance, ScanOptions, Split, choose_input_size, scan};
use crate::error::Result;
use crate::job::Job;

/// Images decoded together.
const BATCH: usize = 64;

/// How fast the images of a source are checked, and decoded for a network.
#[derive(Clone, Debug, Serialize)]
pub struct DecodeReport {
    /// Images that could be read.
    pub images: usize,
    /// Files that could not.
    pub unreadable: usize,
    /// Side of the network's input in pixels.
    pub side: usize,
    /// Threads that worked.
    pub threads: usize,
    /// Seconds to list the source, and to read, decode and hash every image in it.
    pub scan_s: f64,
    /// Images over that time.
    pub scan_images_per_s: f64,
    /// Seconds to read, decode and resize every image once, batch by batch.
    pub decode_s: f64,
    /// Images over that time.
    pub decode_images_per_s: f64,
    /// See [`peak_memory`].
    pub peak_memory_bytes: Option<u64>,
}

/// Times the scan of `source`, and then the making of batches of all its images, each decoded when its turn comes and brought to `side` pixels
/// (the side that training would choose, if not given). The scan finds the files in whatever memory the operating system keeps them in, so a
/// second run tells more than the first.
///
/// # Errors
/// As [`scan`] and [`Images::open`]; [`crate::Error::Stopped`].
pub fn decode(source: &Path, side: Option<usize>, job: Job<'_>) -> Result<DecodeReport> {
    let started = Instant::now();
    let catalog = scan(source, &ScanOptions::default(), job)?;
    let scan_s = started.elapsed().as_secs_f64();
    let side = side.unwrap_or_else(|| choose_input_size(catalog.facts.iter().map(|facts| (facts.width, facts.height))));
    let unreadable = catalog.problems.len();
    let dataset = everything(catalog);
    let count = dataset.samples.len();

    let reader = ImageReader::open(&dataset.root, dataset.kind, job)?;
    // With no room to keep them, images are decoded batch by batch.
    let images = Images::open_with(Box::new(reader), &dataset, Split::Train, side, 0, job)?;
    job.phase("decoding images", Some(count as u64), "images");
    let started = Instant::now();
    let mut batches = images.eval_batches(BATCH, false);
    let mut done = 0;
    while let Some(batch) = batches.next().transpose()? {
        job.check()?;
        done += batch.len();
        job.progress(done as u64);
        batches.reuse(batch);
    }
    let decode_s = started.elapsed().as_secs_f64();
    Ok(DecodeReport {
        images: done,
        unreadable,
        side,
        threads: rayon::current_num_threads(),
        scan_s,
        scan_images_per_s: count as f64 / scan_s,
        decode_s,
        decode_images_per_s: done as f64 / decode_s,
        peak_memory_bytes: peak_memory(),
    })
}

/// All samples of a catalog, as if they were to be trained on.
fn everything(catalog: Catalog) -> Dataset {
    let samples = catalog.samples.into_iter();
    let samples = samples.map(|sample| DatasetSample { location: sample.location, class: sample.class, split: Split::Train });
    Dataset {
        root: catalog.root,
        kind: catalog.kind,
        classes: catalog.classes,
        samples: samples.collect(),
        provenance: Provenance::default(),
    }
}
