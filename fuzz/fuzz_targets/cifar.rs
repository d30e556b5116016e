//! CIFAR in each of its forms, as a folder of files.
#![no_main]

use counterweight_core::source::{ImageReader, ListFormat};
use counterweight_fuzz::{scanned, start, unpack, with_job};
use libfuzzer_sys::fuzz_target;

const FILES: [&str; 12] = [
    "data_batch_1.bin",
    "data_batch_2.bin",
    "test_batch.bin",
    "batches.meta.txt",
    "data_batch_1",
    "data_batch_2",
    "test_batch",
    "batches.meta",
    "train",
    "test",
    "meta",
    "fine_label_names.txt",
];

fuzz_target!(init: start(), |data: &[u8]| {
    let folder = unpack(data, &FILES);
    let Some(catalog) = scanned(&folder, ListFormat::default()) else { return };
    let reader = with_job(|job| ImageReader::open(&catalog.root, catalog.kind, job));
    let Ok(reader) = reader else { return };
    for sample in catalog.samples.iter().take(3) {
        let _ = reader.read(&sample.location);
    }
});
