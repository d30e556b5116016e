//! What is given as a source but is not a source: what it is instead, and what to do with it.

use std::io::Read;
use std::path::Path;

use crate::files;

/// What a file's name says, where a file of that name is never a source.
pub(super) fn of_name(file: &Path) -> Option<&'static str> {
    let is_one_of = |kinds: &[&str]| {
        file.extension().is_some_and(|own| kinds.iter().any(|kind| own.eq_ignore_ascii_case(kind)))
    };
    if is_one_of(&["xlsx", "xls", "ods", "numbers"]) {
        return Some("is a spreadsheet; save it as CSV (`CSV UTF-8`) and open that");
    }
    if !is_one_of(&["toml"]) {
        return None;
    }
    Some(match is_dataset_file(file) {
        true => "is a dataset made by `build`; give it to `train`",
        false => {
            "is not a source; a .toml file holds settings or a dataset made by `build`, and those go to `train`"
        }
    })
}

/// Whether a file begins as [`Dataset::save`](crate::dataset::Dataset::save) begins one: its own
/// keys come before its classes.
fn is_dataset_file(file: &Path) -> bool {
    let mut start = Vec::new();
    let read =
        files::open(file, u64::MAX).and_then(|file| file.take(1 << 12).read_to_end(&mut start));
    let text = String::from_utf8_lossy(&start);
    let mut own = text.lines().take_while(|line| !line.starts_with('['));
    read.is_ok() && own.any(|line| line.starts_with("kind = "))
}

/// What the first bytes of a file say, once it is known to be no text.
pub(super) fn of_content(bytes: &[u8]) -> Option<&'static str> {
    const ARCHIVES: [&[u8]; 7] = [
        b"PK\x03\x04",
        b"PK\x05\x06",
        b"\xfd7zXZ\0",
        b"7z\xbc\xaf\x27\x1c",
        b"BZh",
        b"\x28\xb5\x2f\xfd",
        b"Rar!\x1a\x07",
    ];
    if ARCHIVES.iter().any(|start| bytes.starts_with(start)) {
        return Some("is an archive of a kind that is not read; unpack it and name its folder");
    }
    image::guess_format(bytes)
        .is_ok()
        .then_some("is one image, not a source; name its folder's parent")
}

/// Whether a folder is one that `train` made.
pub(super) fn is_run(folder: &Path) -> bool {
    ["settings.toml", "dataset.toml"].iter().all(|file| folder.join(file).is_file())
}
