//! Files that PyTorch and safetensors wrote, with values that a formula gives; `reference/make_weights.py` makes them.

use std::path::{Path, PathBuf};
use std::process::Command;

use burn::tensor::{Device, Tensor, TensorData};
use counterweight_core::model::{Fit, Mode, Network, NetworkConfig, WeightsFile, load_weights};
use counterweight_core::settings::{Backbone, Stem};
use serde_json::Value;

fn file(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("reference/weights").join(name)
}

/// 0, 1/8, 2/8, …
fn value(index: usize) -> f32 {
    (index % 64) as f32 / 8.0
}

/// Name, shape and values of every tensor that holds weights.
fn expected() -> Vec<(&'static str, Vec<usize>, Vec<f32>)> {
    let first = |count: usize| (0..count).map(value).collect::<Vec<f32>>();
    vec![
        ("conv.weight", vec![2, 3, 2, 2], first(24)),
        ("half.weight", vec![5], first(5)),
        ("brain.weight", vec![5], first(5)),
        ("double.weight", vec![5], first(5)),
        ("scalar", vec![], vec![0.5]),
        // Three rows of four, turned.
        ("turned.weight", vec![4, 3], (0..12).map(|index| value(index % 3 * 4 + index / 3)).collect()),
        // Rows 1 and 2 and columns 2 to 4 of four rows of six, and the last row.
        ("part.weight", vec![2, 3], [8, 9, 10, 14, 15, 16].map(value).to_vec()),
        ("same.storage", vec![6], (18..24).map(value).collect()),
        ("learnt.weight", vec![2, 2], first(4)),
    ]
}

#[test]
fn every_form_of_file_holds_the_same_tensors() {
    for (name, prefix, others) in [
        ("zip.pth", "", 1),
        ("older.pth", "", 1),
        ("protocol4.pth", "", 1),
        ("plain.safetensors", "", 1),
        ("checkpoint.pth", "state_dict.", 2),
        ("older-checkpoint.pth", "state_dict.", 2),
    ] {
        let file = WeightsFile::open(&file(name)).unwrap();
        assert_eq!(file.names().count(), expected().len() + others, "{name}: {:?}", file.names().collect::<Vec<_>>());
        for (tensor, shape, values) in expected() {
            let read = file.read(&format!("{prefix}{tensor}"), "ours").unwrap();
            assert_eq!((read.name.as_str(), &read.shape, &read.values), ("ours", &shape, &values), "{name}: {tensor}");
        }
        let error = file.read(&format!("{prefix}norm.num_batches_tracked"), "ours").unwrap_err().to_string();
        assert!(error.contains(name) && error.contains("does not hold weights"), "{error}");
        assert!(file.read("absent", "ours").unwrap_err().to_string().contains("absent"));
        // What a checkpoint holds beside the tensors is not made.
        let calls: Vec<&str> = file.calls().collect();
        assert_eq!(calls, if prefix.is_empty() { vec![] } else { vec!["argparse.Namespace"] }, "{name}");
    }
}

/// torchvision's own networks, saved by torchvision. Only where `COUNTERWEIGHT_TORCH` names a Python that has torch, torchvision and safetensors, which
/// are gigabytes.
#[test]
#[expect(clippy::print_stdout, reason = "a skipped test must say so, and the differences are worth reading")]
fn torchvisions_networks_give_what_they_give_there() {
    let Some(python) = std::env::var_os("COUNTERWEIGHT_TORCH") else {
        println!("skipped: COUNTERWEIGHT_TORCH names no Python with torch and torchvision");
        return;
    };
    let folder = tempfile::tempdir().unwrap();
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("python/torchvision_weights.py");
    assert!(Command::new(python).arg(script).arg(folder.path()).status().unwrap().success());
    let expected: Value = serde_json::from_slice(&std::fs::read(folder.path().join("expected.json")).unwrap()).unwrap();
    let [side, classes] = ["side", "classes"].map(|key| expected[key].as_u64().unwrap() as usize);
    let pixels: Vec<f32> = (0..2 * 3 * side * side).map(|index| (index as f64 * 0.7).sin() as f32).collect();
    let device = Device::flex();
    let images = Tensor::<4>::from_data(TensorData::new(pixels, [2, 3, side, side]), &device);
    let networks = expected["networks"].as_array().unwrap();
    assert_eq!(networks.len(), 3);
    for network in networks {
        let name: Backbone = network["name"].as_str().unwrap().parse().unwrap();
        for path in network["files"].as_array().unwrap() {
            let path = path.as_str().unwrap();
            let file = WeightsFile::open(&folder.path().join(path)).unwrap();
            // Nobody says which network it is.
            let fit = Fit::of(&file, None).unwrap();
            assert_eq!((fit.backbone, fit.stem), (name, Some(Stem::Imagenet)), "{path}");
            let mut tensors = fit.read(&file).unwrap();
            tensors.extend(fit.read_classifier(&file, classes).unwrap());
            let config = NetworkConfig { backbone: name, stem: Stem::Imagenet, input_size: side, classes };
            let ours = load_weights(Network::new(&config, 0, &device), tensors).unwrap();
            let features = ours.features(images.clone(), Mode::Evaluate);
            let logits = ours.classify(features.clone()).into_data().try_into_vec::<f32>().unwrap();
            let features = features.into_data().try_into_vec::<f32>().unwrap();
            for (what, ours) in [("features", features), ("logits", logits)] {
                let theirs: Vec<f64> = network[what].as_array().unwrap().iter().map(|value| value.as_f64().unwrap()).collect();
                assert_eq!(ours.len(), theirs.len());
                let scale = theirs.iter().fold(0.0_f64, |most, value| most.max(value.abs()));
                let worst = ours.iter().zip(&theirs).fold(0.0_f64, |most, (a, b)| most.max((f64::from(*a) - b).abs()));
                println!("{path}: {what} differ by {worst:.2e} at most, at a scale of {scale:.3}");
                assert!(worst <= 1e-4 * scale, "{path}: {what}: {worst} at a scale of {scale}");
            }
        }
    }
}
