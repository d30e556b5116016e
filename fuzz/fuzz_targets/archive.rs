//! Archives: whatever bytes, and those of tar with names, lengths and kinds of entries that no tool would write.
#![no_main]

use arbitrary::Arbitrary;
use counterweight_core::source::ListFormat;
use counterweight_fuzz::{file, scanned, start};
use flate2::Compression;
use flate2::write::GzEncoder;
use libfuzzer_sys::fuzz_target;
use std::io::Write;

#[derive(Arbitrary, Debug)]
struct Entry<'a> {
    name: Name<'a>,
    kind: u8,
    mode: u32,
    /// What it says that it holds, if that is not what it holds.
    length: Option<u64>,
    content: &'a [u8],
}

#[derive(Arbitrary, Debug)]
enum Name<'a> {
    Known(u8),
    Any(&'a [u8]),
}

#[derive(Arbitrary, Debug)]
enum Input<'a> {
    Bytes(&'a [u8]),
    Entries { packed: bool, entries: Vec<Entry<'a>>, rest: &'a [u8] },
}

const NAMES: [&str; 8] = [
    "data_batch_1.bin",
    "cifar/test_batch.bin",
    "cifar/batches.meta.txt",
    "train",
    "cifar-100/test",
    "cifar-100/meta",
    "../meta",
    "/train.bin",
];

fn tar(entries: &[Entry<'_>], rest: &[u8]) -> Vec<u8> {
    let mut bytes = Vec::new();
    for entry in entries {
        let mut header = tar::Header::new_gnu();
        let name = match entry.name {
            Name::Known(at) => NAMES[usize::from(at) % NAMES.len()].as_bytes(),
            Name::Any(name) => &name[..name.len().min(100)],
        };
        header.as_old_mut().name[..name.len()].copy_from_slice(name);
        header.set_entry_type(tar::EntryType::new(entry.kind));
        header.set_mode(entry.mode);
        header.set_size(entry.length.unwrap_or(entry.content.len() as u64));
        header.set_cksum();
        bytes.extend(header.as_bytes());
        bytes.extend(entry.content);
        bytes.resize(bytes.len().next_multiple_of(512), 0);
    }
    bytes.extend(rest);
    bytes
}

fuzz_target!(init: start(), |input: Input<'_>| {
    let bytes = match input {
        Input::Bytes(bytes) => bytes.to_vec(),
        Input::Entries { packed: false, entries, rest } => tar(&entries, rest),
        Input::Entries { packed: true, entries, rest } => {
            let mut packer = GzEncoder::new(Vec::new(), Compression::fast());
            packer.write_all(&tar(&entries, rest)).unwrap();
            packer.finish().unwrap()
        }
    };
    let _ = scanned(&file("archive.tar.gz", &bytes), ListFormat::default());
});
