//! Classifiers out of ONNX files, with their metadata, and one image through them.
//!
//! The program itself does this in a process of its own, for the sake of what is wrong in the runtime and has not been found.
#![no_main]

use counterweight_core::infer::{InputOptions, OnnxClassifier};
use counterweight_fuzz::{file, start};
use libfuzzer_sys::fuzz_target;

fuzz_target!(init: start(), |data: &[u8]| {
    let path = file("model.onnx", data);
    let options = InputOptions { side: Some(8), ..InputOptions::default() };
    let Ok(classifier) = OnnxClassifier::load_with(&path, &options) else { return };
    let side = classifier.input_size();
    if side <= 64 {
        let _ = classifier.classify(&[vec![128; side * side * 3]]);
    }
});
