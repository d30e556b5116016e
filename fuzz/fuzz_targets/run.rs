//! The folder of a run that somebody sent.
#![no_main]

use counterweight_core::run::{Run, Sweep, summary};
use counterweight_fuzz::{start, unpack};
use libfuzzer_sys::fuzz_target;

const FILES: [&str; 10] = [
    "settings.toml",
    "dataset.toml",
    "metrics.jsonl",
    "norms.csv",
    "results/last-validation.json",
    "results/balanced-test.json",
    "results/balance.json",
    "results/origin.json",
    "results/choices.json",
    "sweep.json",
];

fuzz_target!(init: start(), |data: &[u8]| {
    let folder = unpack(data, &FILES);
    let _ = summary(&folder);
    let _ = Sweep::open(&folder);
    let Ok(run) = Run::open(&folder) else { return };
    let _ = run.norms_history();
    let _ = run.verdict("last");
    let _ = run.origin();
    let _ = run.edited_since();
});
