//! Exporting to where nothing can be written.

use std::path::PathBuf;
use std::process::Command;

use counterweight_app::gui::Page;
use counterweight_core::files::is_temporary;

use crate::{train, with_sample};

#[test]
fn an_export_that_fails_says_what_was_kept_and_leaves_nothing_half_written() {
    let mut window = with_sample();
    train(&mut window, 1);
    let folder = window.folder.path().join("out");
    std::fs::create_dir_all(folder.join("taken.onnx/something")).unwrap();
    std::fs::write(folder.join("file"), "in the way").unwrap();
    let mut places: Vec<PathBuf> = vec![
        folder.join("file/model.onnx"),
        folder.join("taken.onnx"),
        folder.join("n".repeat(300)),
    ];
    if cfg!(target_os = "linux") {
        places.push("/proc/model.onnx".into());
    }
    window.go("Export");
    for place in places {
        window.enter("File", place.to_str().unwrap());
        window.export();
        window.settle();
        for text in [
            "The model could not be exported",
            "What was kept",
            "What to do",
            "Nothing half-written is left",
        ] {
            assert!(window.shows(text), "{text} for {}: {}", place.display(), window.names());
        }
        let reason = window.state().export.failure.clone().unwrap();
        assert!(
            reason.contains(place.to_str().unwrap()),
            "{reason} does not name {}",
            place.display()
        );
        window.press("Close");
        assert!(window.state().shell.dialog.is_none());
        assert!(window.state().run.as_ref().unwrap().exported.is_none());
        let left: Vec<_> =
            std::fs::read_dir(&folder).unwrap().map(|entry| entry.unwrap().file_name()).collect();
        assert_eq!(left.len(), 2, "{left:?}");
        assert!(!left.iter().any(|name| is_temporary(name)), "{left:?}");
    }
    let good = folder.join("good.onnx");
    window.enter("File", good.to_str().unwrap());
    window.export();
    window.settle();
    assert!(good.is_file() && window.state().export.failure.is_none());
    assert!(window.state().status(Page::Export).is_done());
}

/// A file system of a few kilobytes, until it is dropped.
struct Small(PathBuf);

impl Small {
    /// `None` where this user may not mount one.
    fn mounted(at: PathBuf) -> Option<Self> {
        std::fs::create_dir_all(&at).unwrap();
        let mut mount = Command::new("mount");
        let mounted = mount
            .args(["-t", "tmpfs", "-o", "size=64k", "tmpfs"])
            .arg(&at)
            .status()
            .is_ok_and(|status| status.success());
        mounted.then_some(Self(at))
    }
}

impl Drop for Small {
    fn drop(&mut self) {
        let _ = Command::new("umount").arg(&self.0).status();
    }
}

#[test]
#[expect(clippy::print_stderr, reason = "a skipped test says so")]
fn a_full_disk_is_named_and_the_file_on_it_is_not_lost() {
    let mut window = with_sample();
    train(&mut window, 1);
    let Some(disk) = Small::mounted(window.folder.path().join("disk")) else {
        eprintln!("skipped: only root can mount a small file system here");
        return;
    };
    let model = disk.0.join("model.onnx");
    std::fs::write(&model, "an older model").unwrap();
    window.go("Export");
    window.enter("File", model.to_str().unwrap());
    window.export();
    // The file is not this run's, so it is not replaced without asking.
    assert!(window.shows("Replace this file?"), "{}", window.names());
    window.press("Cancel");
    assert_eq!(std::fs::read_to_string(&model).unwrap(), "an older model");
    window.export();
    window.press("Replace");
    window.settle();
    assert!(window.shows("The model could not be exported"), "{}", window.names());
    let reason = window.state().export.failure.clone().unwrap();
    assert!(reason.contains(model.to_str().unwrap()) && reason.contains("space"), "{reason}");
    assert_eq!(std::fs::read_to_string(&model).unwrap(), "an older model");
    assert_eq!(std::fs::read_dir(&disk.0).unwrap().count(), 1);
    window.press("Close");
    let elsewhere = window.folder.path().join("elsewhere.onnx");
    window.enter("File", elsewhere.to_str().unwrap());
    window.export();
    window.settle();
    assert!(elsewhere.is_file() && window.state().run.as_ref().unwrap().exported.is_some());
}
