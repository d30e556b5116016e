//! Files that PyTorch and safetensors wrote, with values that a formula gives;
//! `reference/make_weights.py` makes them.

use std::path::{Path, PathBuf};
use std::process::Command;

use burn::tensor::{Device, Tensor, TensorData};
use counterweight_core::batches::Batch;
use counterweight_core::model::{
    Fit, Mode, Network, NetworkConfig, WeightsFile, load_weights, weights,
};
use counterweight_core::settings::{Backbone, Stem};
use counterweight_core::train::{Sgd, cross_entropy};
use counterweight_tests::reference::assert_near;
use safetensors::tensor::{Dtype, TensorView};
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
        (
            "turned.weight",
            vec![4, 3],
            (0..12).map(|index| value(index % 3 * 4 + index / 3)).collect(),
        ),
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
        assert_eq!(
            file.names().count(),
            expected().len() + others,
            "{name}: {:?}",
            file.names().collect::<Vec<_>>()
        );
        for (tensor, shape, values) in expected() {
            let read = file.read(&format!("{prefix}{tensor}"), "ours").unwrap();
            assert_eq!(
                (read.name.as_str(), &read.shape, &read.values),
                ("ours", &shape, &values),
                "{name}: {tensor}"
            );
        }
        let error = file
            .read(&format!("{prefix}norm.num_batches_tracked"), "ours")
            .unwrap_err()
            .to_string();
        assert!(error.contains(name) && error.contains("does not hold weights"), "{error}");
        assert!(file.read("absent", "ours").unwrap_err().to_string().contains("absent"));
        // What a checkpoint holds beside the tensors is not made.
        let calls: Vec<&str> = file.calls().collect();
        assert_eq!(
            calls,
            if prefix.is_empty() { vec![] } else { vec!["argparse.Namespace"] },
            "{name}"
        );
    }
}

/// torchvision's own networks, saved by torchvision. Only where `COUNTERWEIGHT_TORCH` names a
/// Python that has torch, torchvision and safetensors, which are gigabytes.
#[test]
#[expect(
    clippy::print_stdout,
    reason = "a skipped test must say so, and the differences are worth reading"
)]
fn torchvisions_networks_give_what_they_give_there() {
    let Some(python) = std::env::var_os("COUNTERWEIGHT_TORCH") else {
        println!("skipped: COUNTERWEIGHT_TORCH names no Python with torch and torchvision");
        return;
    };
    let folder = tempfile::tempdir().unwrap();
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("python/torchvision_weights.py");
    assert!(Command::new(&python).arg(&script).arg(folder.path()).status().unwrap().success());
    let expected: Value =
        serde_json::from_slice(&std::fs::read(folder.path().join("expected.json")).unwrap())
            .unwrap();
    let [side, classes] = ["side", "classes"].map(|key| expected[key].as_u64().unwrap() as usize);
    let pixels: Vec<f32> =
        (0..2 * 3 * side * side).map(|index| (index as f64 * 0.7).sin() as f32).collect();
    let device = Device::flex();
    let images =
        Tensor::<4>::from_data(TensorData::new(pixels.clone(), [2, 3, side, side]), &device);
    let networks = expected["networks"].as_array().unwrap();
    assert_eq!(networks.len(), 4);
    for network in networks {
        let name: Backbone = network["name"].as_str().unwrap().parse().unwrap();
        let config =
            NetworkConfig { backbone: name, stem: Stem::Imagenet, input_size: side, classes };
        for path in network["files"].as_array().unwrap() {
            let path = path.as_str().unwrap();
            let file = WeightsFile::open(&folder.path().join(path)).unwrap();
            // Which network it is has to be recognised.
            let fit = Fit::of(&file, None).unwrap();
            assert_eq!((fit.backbone, fit.stem), (name, Some(Stem::Imagenet)), "{path}");
            let mut tensors = fit.read(&file).unwrap();
            tensors.extend(fit.read_classifier(&file, classes).unwrap());
            let ours = load_weights(Network::new(&config, 0, &device), tensors).unwrap();
            let features = ours.features(images.clone(), Mode::Evaluate);
            let logits = ours.classify(features.clone()).into_data().try_into_vec::<f32>().unwrap();
            let features = features.into_data().try_into_vec::<f32>().unwrap();
            for (what, ours) in [("features", features), ("logits", logits)] {
                let theirs: Vec<f64> = network[what]
                    .as_array()
                    .unwrap()
                    .iter()
                    .map(|value| value.as_f64().unwrap())
                    .collect();
                assert_near(&format!("{path}: {what}"), &ours, &theirs, 1e-4);
            }
            let gradients =
                WeightsFile::open(&folder.path().join(format!("{name}-gradients.safetensors")))
                    .unwrap();
            compare_gradients(&ours, &pixels, &gradients, path);
            save(&ours, &folder.path().join(format!("{name}-ours.safetensors")));
        }
    }
    assert!(
        Command::new(&python)
            .arg(&script)
            .arg(folder.path())
            .arg("--strict")
            .status()
            .unwrap()
            .success()
    );
}

/// The gradients of every tensor, of cross-entropy with the labels 0, 1, …, batch norm's statistics
/// being the running ones.
#[expect(clippy::print_stdout, reason = "the differences are worth reading")]
fn compare_gradients(network: &Network, pixels: &[f32], theirs: &WeightsFile, path: &str) {
    let device = Device::flex().autodiff();
    let batch = 2;
    let side = ((pixels.len() / batch / 3) as f64).sqrt() as usize;
    let tensors = weights(network);
    let classes = tensors.iter().find(|tensor| tensor.name == "fc.bias").unwrap().shape[0];
    let config = NetworkConfig {
        backbone: path.split('-').next().unwrap().parse().unwrap(),
        stem: Stem::Imagenet,
        input_size: side,
        classes,
    };
    let network = load_weights(Network::new(&config, 0, &device), tensors).unwrap();
    let images =
        Tensor::<4>::from_data(TensorData::new(pixels.to_vec(), [batch, 3, side, side]), &device);
    let labels = Batch {
        indices: (0..batch).collect(),
        labels: (0..batch as u32).collect(),
        ..Batch::default()
    };
    let mut optimizer = Sgd::new(0.9, 0.0);
    let loss = cross_entropy(network.forward(images, Mode::TrainFrozenNorm), &labels, 0.0);
    let network = optimizer.step(network, loss.backward(), 0.0);
    let mut worst = (0.0_f64, String::new());
    // The first velocities are the gradients.
    for ours in optimizer.velocities(&network) {
        let theirs = theirs.read(&ours.name, "").unwrap().values;
        let squares = |values: &mut dyn Iterator<Item = f64>| {
            values.map(|value| value * value).sum::<f64>().sqrt()
        };
        let length = squares(&mut theirs.iter().map(|value| f64::from(*value)));
        let apart =
            squares(&mut ours.values.iter().zip(&theirs).map(|(a, b)| f64::from(a - b))) / length;
        if apart >= worst.0 {
            worst = (apart, ours.name);
        }
    }
    println!(
        "{path}: gradients differ by {:.2e} of their length at most, that of {}",
        worst.0, worst.1
    );
    assert!(worst.0 <= 1e-4, "{path}: {worst:?}");
}

/// As safetensors, under torchvision's names.
fn save(network: &Network, path: &Path) {
    let tensors = weights(network);
    let bytes: Vec<Vec<u8>> = tensors
        .iter()
        .map(|tensor| tensor.values.iter().flat_map(|value| value.to_le_bytes()).collect())
        .collect();
    let views = tensors.iter().zip(&bytes).map(|(tensor, bytes)| {
        (&tensor.name, TensorView::new(Dtype::F32, tensor.shape.clone(), bytes).unwrap())
    });
    safetensors::serialize_to_file(views, None, path).unwrap();
}
