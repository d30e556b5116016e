//! A backbone that brings down the process it is tried out in: an error, and no more.

#![cfg(unix)]

use std::path::Path;

use counterweight_core::infer;
use counterweight_core::model::OnnxFile;
use counterweight_tests::onnx_file::small_backbone;

#[test]
fn a_backbone_that_ends_its_process_is_an_error_that_names_the_signal() {
    // In place of a runtime that a file has found a fault of.
    let arguments = ["-c".into(), "kill -SEGV $$".into()];
    infer::isolate_by("/bin/sh".into(), arguments.to_vec());
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("evil.onnx");
    // What passed before is not tried out again, so it is another file each time.
    let graph = small_backbone(32, 8).says("made in", folder.path().to_str().unwrap());
    std::fs::write(&file, graph.file("features")).unwrap();
    let error = OnnxFile::read(&file).unwrap_err().to_string();
    assert!(error.contains("evil.onnx") && error.contains("signal: 11"), "{error}");
    // What is no file at all is said as ever.
    let error = OnnxFile::read(Path::new("/no/such.onnx")).unwrap_err().to_string();
    assert!(error.contains("/no/such.onnx"), "{error}");
}
