//! Files of weights that are whole, broken and hostile, and what becomes of them.

mod downloads;
mod files;

use std::path::{Path, PathBuf};

use burn::tensor::Device;

use crate::model::weights::NamedTensor;
use crate::model::{Backbone, Network, NetworkConfig, weights};
use crate::words::Stem;

/// The tensors of a network with random weights, classifier included.
fn state(backbone: Backbone, stem: Stem, seed: u64) -> Vec<NamedTensor> {
    weights(&Network::new(
        &NetworkConfig { backbone, stem, input_size: 32, classes: 3 },
        seed,
        &Device::flex(),
    ))
}

/// The same tensors under names that begin with something.
fn behind(prefix: &str, tensors: Vec<NamedTensor>) -> Vec<NamedTensor> {
    tensors
        .into_iter()
        .map(|tensor| NamedTensor { name: format!("{prefix}{}", tensor.name), ..tensor })
        .collect()
}

/// An archive as PyTorch writes it, of entries by name.
fn archive(entries: &[(&str, &[u8])]) -> Vec<u8> {
    let (mut file, mut directory) = (Vec::new(), Vec::new());
    for (name, bytes) in entries {
        let mut sum = flate2::Crc::new();
        sum.update(bytes);
        let size = (bytes.len() as u32).to_le_bytes();
        // What both headers have in common: versions, flags, no compression, no date, checksum,
        // sizes, lengths of name and extra field.
        let common = [
            &[20, 0, 0, 0, 0, 0, 0, 0, 0, 0][..],
            &sum.sum().to_le_bytes(),
            &size,
            &size,
            &[name.len() as u8, 0, 0, 0],
        ]
        .concat();
        let offset = (file.len() as u32).to_le_bytes();
        directory.extend(
            [b"PK\x01\x02\x14\x00", common.as_slice(), &[0; 10], &offset, name.as_bytes()].concat(),
        );
        file.extend([b"PK\x03\x04", common.as_slice(), name.as_bytes(), bytes].concat());
    }
    let (count, size, at) = (
        (entries.len() as u16).to_le_bytes(),
        (directory.len() as u32).to_le_bytes(),
        (file.len() as u32).to_le_bytes(),
    );
    file.extend(directory);
    file.extend([&b"PK\x05\x06\x00\x00\x00\x00"[..], &count, &count, &size, &at, &[0, 0]].concat());
    file
}

/// The pickle of a state dict with one storage for each tensor.
fn pickle(tensors: &[NamedTensor]) -> Vec<u8> {
    let text =
        |text: &str| [&b"X"[..], &(text.len() as u32).to_le_bytes(), text.as_bytes()].concat();
    let number = |number: usize| [&b"J"[..], &(number as u32).to_le_bytes()].concat();
    let tuple = |numbers: Vec<usize>| {
        [&b"("[..], &numbers.into_iter().flat_map(number).collect::<Vec<u8>>(), b"t"].concat()
    };
    let mut pickle = b"\x80\x02}(".to_vec();
    for (key, tensor) in tensors.iter().enumerate() {
        let mut strides = vec![1; tensor.shape.len()];
        for axis in (1..strides.len()).rev() {
            strides[axis - 1] = strides[axis] * tensor.shape[axis];
        }
        pickle.extend(text(&tensor.name));
        pickle.extend(b"ctorch._utils\n_rebuild_tensor_v2\n((");
        pickle.extend(
            [
                text("storage"),
                b"ctorch\nFloatStorage\n".to_vec(),
                text(&key.to_string()),
                text("cpu"),
                number(tensor.values.len()),
            ]
            .concat(),
        );
        pickle.extend(
            [
                b"tQ".to_vec(),
                number(0),
                tuple(tensor.shape.clone()),
                tuple(strides),
                b"\x89NtR".to_vec(),
            ]
            .concat(),
        );
    }
    pickle.extend(b"u.");
    pickle
}

/// A file of PyTorch.
fn torch(tensors: &[NamedTensor]) -> Vec<u8> {
    let bytes = |tensor: &NamedTensor| {
        tensor.values.iter().flat_map(|value| value.to_le_bytes()).collect::<Vec<u8>>()
    };
    let storages: Vec<(String, Vec<u8>)> = tensors
        .iter()
        .enumerate()
        .map(|(key, tensor)| (format!("a/data/{key}"), bytes(tensor)))
        .collect();
    let pickle = pickle(tensors);
    let mut entries: Vec<(&str, &[u8])> = vec![("a/data.pkl", &pickle), ("a/byteorder", b"little")];
    entries.extend(storages.iter().map(|(name, bytes)| (name.as_str(), bytes.as_slice())));
    archive(&entries)
}

fn written(folder: &Path, name: &str, bytes: &[u8]) -> PathBuf {
    let path = folder.join(name);
    std::fs::write(&path, bytes).unwrap();
    path
}
