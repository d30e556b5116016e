//! Feature extractors out of ONNX files, with what lies beside them.
#![no_main]

use counterweight_core::model::{FeatureChoice, OnnxFile};
use counterweight_core::settings::{Normalisation, Tokens};
use counterweight_fuzz::{start, unpack};
use libfuzzer_sys::fuzz_target;

fuzz_target!(init: start(), |data: &[u8]| {
    let folder = unpack(data, &["model.onnx", "preprocessor_config.json"]);
    let Ok(file) = OnnxFile::read(&folder.join("model.onnx")) else { return };
    let _ = file.choose(FeatureChoice { output: "", tokens: Tokens::default(), side: Some(32), normalisation: Normalisation::PRETRAINED });
});
