//! Image lists, with what is said of their columns.
#![no_main]

use counterweight_core::source::{ListFormat, ScanOptions, Separator, preview_list};
use counterweight_fuzz::{folder, scanned, start, with_job};
use libfuzzer_sys::fuzz_target;

/// Images that a list can name.
const IMAGES: [&str; 4] = ["a/1.ppm", "a/2.ppm", "b/1.ppm", "b/2.ppm"];

fuzz_target!(init: start(), |data: &[u8]| {
    // The first line says which columns and separator a person named, if any; the rest is the list.
    let end = data.iter().position(|&byte| byte == b'\n').unwrap_or(data.len());
    let (said, list) = data.split_at(end);
    let said = String::from_utf8_lossy(said);
    let mut said = said.split('|').map(|text| (!text.is_empty()).then(|| text.to_string()));
    let mut next = || said.next().flatten();
    let separator = match next().as_deref() {
        Some("comma") => Some(Separator::Comma),
        Some("tab") => Some(Separator::Tab),
        Some("blanks") => Some(Separator::Blanks),
        _ => None,
    };
    let format = ListFormat { separator, path: next(), label: next(), split: next(), group: next(), ..ListFormat::default() };
    let folder = folder();
    for (at, name) in IMAGES.into_iter().enumerate() {
        std::fs::create_dir_all(folder.join(name).parent().unwrap()).unwrap();
        std::fs::write(folder.join(name), [b"P6 1 1 255 ab", &[at as u8][..]].concat()).unwrap();
    }
    let path = folder.join("list.csv");
    std::fs::write(&path, list.get(1..).unwrap_or_default()).unwrap();
    let options = ScanOptions { list: format.clone(), ..ScanOptions::default() };
    let preview = with_job(|job| preview_list(&path, &options, job));
    if scanned(&path, format).is_some() {
        assert!(preview.is_ok());
    }
});
