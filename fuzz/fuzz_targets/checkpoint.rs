//! Checkpoints: whatever bytes, and a header of safetensors with its length and data behind it. What can be read is written as it was.
#![no_main]

use counterweight_core::run::Checkpoint;
use counterweight_fuzz::{file, parts, start};
use libfuzzer_sys::fuzz_target;

fuzz_target!(init: start(), |data: &[u8]| {
    let mut found = parts(data, &["header", "data"]);
    let whole = match found.next() {
        Some((_, header)) => {
            let numbers = found.next().map_or(&[][..], |(_, numbers)| numbers);
            [&(header.len() as u64).to_le_bytes(), header, numbers].concat()
        }
        None => data.to_vec(),
    };
    let path = file("checkpoint.safetensors", &whole);
    let Ok(checkpoint) = Checkpoint::load(&path) else { return };
    if checkpoint.save(&path).is_ok() {
        Checkpoint::load(&path).expect("what was written can be read");
    }
});
