//! What is given as a source and is none: what it is instead, and what to do with it.

use std::path::Path;

use crate::data::Dataset;

/// What a file's name says, where a file of that name is never a source.
pub(super) fn of_name(file: &Path) -> Option<&'static str> {
    if !file.extension().is_some_and(|extension| extension.eq_ignore_ascii_case("toml")) {
        return None;
    }
    Some(match Dataset::load(file) {
        Ok(_) => "is a dataset made by `build`; give it to `train`",
        Err(_) => {
            "is no source; a .toml file holds settings or a dataset made by `build`, and those go to `train`"
        }
    })
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
