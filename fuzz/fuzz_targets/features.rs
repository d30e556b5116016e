//! The files of the feature cache.
#![no_main]

use counterweight_core::features::{FeatureCache, Space};
use counterweight_fuzz::{folder, start};
use libfuzzer_sys::fuzz_target;
use std::path::PathBuf;

const KEYS: [[u8; 32]; 2] = [[1; 32], [2; 32]];

fn segment(folder: &PathBuf) -> Option<PathBuf> {
    let space = std::fs::read_dir(folder)
        .ok()?
        .flatten()
        .map(|entry| entry.path())
        .find(|path| path.is_dir())?;
    std::fs::read_dir(space).ok()?.flatten().map(|entry| entry.path()).find(|path| path.is_file())
}

fuzz_target!(init: start(), |data: &[u8]| {
    let folder = folder();
    let cache = FeatureCache::in_folder(&folder).with_limit(1 << 20);
    let space = Space { backbone: [7; 32], label: "fuzzed".into(), side: 32, view: "plain".into(), features: 2 };
    cache.open(&space).insert(&KEYS, &[0.5, 1.0, 1.5, 2.0]).unwrap();
    let path = segment(&folder).expect("a file of features");
    // What the input says is put over the whole file or, where it begins with a number, over a part of it.
    let mut bytes = std::fs::read(&path).unwrap();
    match data {
        [0, low, high, rest @ ..] => {
            let at = usize::from(u16::from_le_bytes([*low, *high])) % bytes.len();
            bytes.splice(at..bytes.len().min(at + rest.len()), rest.iter().copied());
        }
        _ => bytes = data.to_vec(),
    }
    std::fs::write(&path, bytes).unwrap();
    let mut again = cache.open(&space);
    let missing = again.missing(&KEYS);
    for (at, key) in KEYS.iter().enumerate() {
        let row = again.get(key);
        assert!(row.is_some() != missing.contains(&at) || row.is_none());
        // Damaged numbers are not used.
        assert!(row.is_none_or(|row| row == [0.5 + at as f32, 1.0 + at as f32]));
    }
    let _ = again.insert(&KEYS, &[0.5, 1.0, 1.5, 2.0]);
    let _ = cache.usage();
});
