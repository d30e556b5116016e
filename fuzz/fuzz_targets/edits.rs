//! The edits beside a dataset: read, added to, undone.
#![no_main]

use counterweight_core::dataset::{EditAction, EditedImage, Edits};
use counterweight_fuzz::{folder, start};
use libfuzzer_sys::fuzz_target;

fuzz_target!(init: start(), |data: &[u8]| {
    let source = folder().join("photos");
    std::fs::write(Edits::path_of(&source), data).unwrap();
    let Ok(mut edits) = Edits::open(&source) else { return };
    let (marks, digest) = (edits.marks(), edits.digest());
    let image = EditedImage { path: "a/1.png".into(), hash: None, stays: false };
    if edits.add(EditAction::Exclude, vec![image]).is_ok() {
        // What was torn goes, and what was whole stays.
        edits.undo(1).expect("what was just done is undone");
        let again = Edits::open(&source).expect("what was written can be read");
        assert_eq!(again.digest(), digest);
        assert_eq!(again.marks().len(), marks.len());
    }
});
