//! Dataset files. What can be read is written as it was.
#![no_main]

use counterweight_core::dataset::Dataset;
use counterweight_fuzz::{file, start};
use libfuzzer_sys::fuzz_target;

fuzz_target!(init: start(), |data: &[u8]| {
    let path = file("dataset.toml", data);
    let Ok(dataset) = Dataset::load(&path) else { return };
    let _ = dataset.verify_files();
    let saved = |dataset: &Dataset| {
        dataset.save(&path).ok()?;
        std::fs::read(&path).ok()
    };
    let Some(first) = saved(&dataset) else { return };
    let again = Dataset::load(&path).expect("what was written can be read");
    assert_eq!(Some(first), saved(&again));
});
