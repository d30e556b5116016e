//! Weights: safetensors, PyTorch's files of both kinds, and an archive of PyTorch's around any pickle.
#![no_main]

use counterweight_core::model::WeightsFile;
use counterweight_fuzz::{file, parts, start};
use libfuzzer_sys::fuzz_target;

/// A zip archive of these files, stored as they are. Its checksums are right.
fn archive(files: &[(&str, &[u8])]) -> Vec<u8> {
    let (mut bytes, mut index) = (Vec::new(), Vec::new());
    for (name, content) in files {
        let name = format!("model/{name}");
        let mut hasher = flate2::Crc::new();
        hasher.update(content);
        let length = (content.len() as u32).to_le_bytes();
        // Versions, flags, method and time are zero.
        let facts = [
            &hasher.sum().to_le_bytes()[..],
            &length,
            &length,
            &(name.len() as u16).to_le_bytes(),
            &[0; 2],
        ]
        .concat();
        let place = (bytes.len() as u32).to_le_bytes();
        bytes.extend([b"PK\x03\x04", &[0; 10][..], &facts, name.as_bytes(), content].concat());
        index.extend(
            [b"PK\x01\x02", &[0; 12][..], &facts, &[0; 10], &place, name.as_bytes()].concat(),
        );
    }
    let start = (bytes.len() as u32).to_le_bytes();
    let count = (files.len() as u16).to_le_bytes();
    let length = (index.len() as u32).to_le_bytes();
    bytes.extend(index);
    bytes.extend([b"PK\x05\x06", &[0; 4][..], &count, &count, &length, &start, &[0; 2]].concat());
    bytes
}

fuzz_target!(init: start(), |data: &[u8]| {
    let files: Vec<(&str, &[u8])> = parts(data, &["data.pkl", "data/0", "data/1", "byteorder", "version"]).collect();
    let (name, bytes) = match files.is_empty() {
        false => ("weights.pth", archive(&files)),
        true => (if data.first() == Some(&b'P') { "weights.pth" } else { "weights.safetensors" }, data.to_vec()),
    };
    let Ok(weights) = WeightsFile::open(&file(name, &bytes)) else { return };
    let names: Vec<String> = weights.names().map(|(name, _)| name.to_string()).collect();
    for name in names.iter().take(20) {
        if let Ok(tensor) = weights.read(name, name) {
            assert_eq!(tensor.values.len(), tensor.shape.iter().product::<usize>());
        }
    }
});
