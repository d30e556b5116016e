//! Our networks beside PyTorch's, with the same weights and images: logits in both modes, the
//! running statistics that training moves, and gradients.
//!
//! `reference/*.json` hold PyTorch's values and `reference/make_*.py` make them.

use burn::tensor::{Device, Tensor, TensorData};
use counterweight_core::batches::Batch;
use counterweight_core::model::{
    Mode, NamedTensor, Network, NetworkConfig, Prepared, is_of_classifier, load_weights, weights,
};
use counterweight_core::settings::{Backbone, Stem};
use counterweight_core::train::{Sgd, cross_entropy};
use counterweight_tests::reference::{unit, values};
use serde_json::Value;

/// What may be lost of the logits where batch norm uses the batch's statistics, in the last stages
/// of a few pixels only.
const BATCH: f64 = 5e-4;

#[expect(clippy::print_stdout, reason = "the differences are worth reading")]
fn assert_close(what: &str, ours: &[f32], theirs: &Value, tolerance: f64) {
    let theirs: Vec<f64> = theirs.as_array().unwrap().iter().map(|v| v.as_f64().unwrap()).collect();
    assert_eq!(ours.len(), theirs.len(), "{what}");
    let scale = theirs.iter().fold(0.0f64, |most, v| most.max(v.abs()));
    let worst =
        ours.iter().zip(&theirs).fold(0.0f64, |most, (a, b)| most.max((f64::from(*a) - b).abs()));
    println!("{what}: largest difference {worst:.2e} at a scale of {scale:.3}");
    assert!(worst <= tolerance * scale, "{what}: {worst} at a scale of {scale}");
}

fn compare(case: &Value) {
    let name = case["network"].as_str().unwrap();
    let side = case["input_size"].as_u64().unwrap() as usize;
    let (backbone, stem) = match name {
        "resnet32" => (Backbone::ResNet32, Stem::Small),
        "resnet34" => (Backbone::ResNet34, Stem::Small),
        "resnet34-imagenet" => (Backbone::ResNet34, Stem::Imagenet),
        "resnet50" => (Backbone::ResNet50, Stem::Small),
        "resnext50" => (Backbone::ResNeXt50, Stem::Small),
        other => panic!("{other} is not known to this test"),
    };
    let config = NetworkConfig {
        backbone,
        stem,
        input_size: side,
        classes: case["classes"].as_u64().unwrap() as usize,
    };
    let device = Device::flex();
    let network = Network::new(&config, 0, &device);
    let network =
        load_weights(network.clone(), weights(&network).iter().map(values).collect()).unwrap();
    let pixels: Vec<f32> =
        unit("images", 3 * 3 * side * side).into_iter().map(|u| (4.0 * u) as f32).collect();
    let images = Tensor::<4>::from_data(TensorData::new(pixels, [3, 3, side, side]), &device);
    let logits =
        |mode| network.forward(images.clone(), mode).into_data().try_into_vec::<f32>().unwrap();
    assert_close(&format!("{name}, evaluation"), &logits(Mode::Evaluate), &case["evaluate"], 1e-4);
    assert_close(&format!("{name}, training"), &logits(Mode::Train), &case["train"], BATCH);
    let moved = weights(&network);
    let statistic = |name: &str| &moved.iter().find(|tensor| tensor.name == name).unwrap().values;
    assert_close(
        &format!("{name}, running mean"),
        statistic("bn1.running_mean"),
        &case["bn1_running_mean"],
        1e-4,
    );
    let last = &case["last_running_var"];
    assert_close(
        &format!("{name}, running variance"),
        &statistic(last["name"].as_str().unwrap())[..16],
        &last["values"],
        1e-4,
    );
}

#[test]
fn logits_and_running_statistics_are_pytorchs() {
    let reference: Value = serde_json::from_str(include_str!("../reference/logits.json")).unwrap();
    let cases = reference["cases"].as_array().unwrap();
    assert_eq!(cases.len(), 5);
    cases.iter().for_each(compare);
}

/// The PyTorch package's EfficientNet-Lite0 with the weights that come with the program, computed
/// layer by layer and by the kernels for whole networks.
#[test]
fn the_pretrained_backbone_is_pytorchs() {
    let reference: Value =
        serde_json::from_str(include_str!("../reference/lite_logits.json")).unwrap();
    let cases = reference["cases"].as_array().unwrap();
    assert_eq!(cases.len(), 3);
    let device = Device::flex();
    for case in cases {
        let side = case["input_size"].as_u64().unwrap() as usize;
        let config = NetworkConfig {
            backbone: Backbone::EfficientNetLite0,
            stem: Stem::Imagenet,
            input_size: side,
            classes: 7,
        };
        let network = Network::pretrained(&config, 0, &device).unwrap();
        let with_classifier = |tensor: NamedTensor| {
            if is_of_classifier(&tensor.name) { values(&tensor) } else { tensor }
        };
        let network = load_weights(
            network.clone(),
            weights(&network).into_iter().map(with_classifier).collect(),
        )
        .unwrap();
        let pixels: Vec<f32> =
            unit("images", 2 * 3 * side * side).into_iter().map(|u| (4.0 * u) as f32).collect();
        let images =
            || Tensor::<4>::from_data(TensorData::new(pixels.clone(), [2, 3, side, side]), &device);
        let prepared = Prepared::new(network.clone());
        for (how, features) in [
            ("layer by layer", network.features(images(), Mode::Evaluate)),
            ("by one kernel", prepared.features(images())),
        ] {
            let logits =
                network.classify(features.clone()).into_data().try_into_vec::<f32>().unwrap();
            assert_close(
                &format!("efficientnet-lite0 at {side}, {how}"),
                &logits,
                &case["logits"],
                1e-4,
            );
            let features = features.into_data().try_into_vec::<f32>().unwrap();
            let some: Vec<f32> =
                features.chunks(1280).flat_map(|row| row.iter().step_by(16)).copied().collect();
            assert_close(&format!("its features at {side}, {how}"), &some, &case["features"], 1e-4);
        }
    }
}

/// Gradients in float32 of networks as deep as these differ from PyTorch's in float64 where
/// rounding moves values across an activation's bounds.
#[test]
#[expect(clippy::print_stdout, reason = "the differences are worth reading")]
fn gradients_are_pytorchs() {
    let reference: Value =
        serde_json::from_str(include_str!("../reference/gradients.json")).unwrap();
    let (batch, classes) = (
        reference["batch"].as_u64().unwrap() as usize,
        reference["classes"].as_u64().unwrap() as usize,
    );
    let cases = reference["cases"].as_array().unwrap();
    assert_eq!(cases.len(), 4);
    let device = Device::flex().autodiff();
    for case in cases {
        let (name, side) =
            (case["network"].as_str().unwrap(), case["input_size"].as_u64().unwrap() as usize);
        let mode =
            if case["frozen"].as_bool().unwrap() { Mode::TrainFrozenNorm } else { Mode::Train };
        let config = NetworkConfig {
            backbone: name.parse().unwrap(),
            stem: Stem::Small,
            input_size: side,
            classes,
        };
        let network = Network::new(&config, 0, &device);
        let network =
            load_weights(network.clone(), weights(&network).iter().map(values).collect()).unwrap();
        let pixels: Vec<f32> =
            unit("images", batch * 3 * side * side).into_iter().map(|u| (4.0 * u) as f32).collect();
        let logits = network.forward(
            Tensor::<4>::from_data(TensorData::new(pixels, [batch, 3, side, side]), &device),
            mode,
        );
        assert_close(
            &format!("{name}, {mode:?}"),
            &logits.clone().inner().into_data().try_into_vec::<f32>().unwrap(),
            &case["logits"],
            BATCH,
        );
        let labels = (0..batch).map(|sample| (sample % classes) as u32).collect();
        let labels = Batch { indices: (0..batch).collect(), labels, ..Batch::default() };
        let mut optimizer = Sgd::new(0.9, 0.0);
        let network = optimizer.step(network, cross_entropy(logits, &labels, 0.0).backward(), 0.0);
        // The first velocities are the gradients.
        let gradients = optimizer.velocities(&network);
        let mut worst = 0.0f64;
        for (parameter, theirs) in case["gradients"].as_object().unwrap() {
            let theirs: Vec<f64> =
                theirs.as_array().unwrap().iter().map(|value| value.as_f64().unwrap()).collect();
            let ours = &gradients.iter().find(|tensor| tensor.name == *parameter).unwrap().values;
            let length = ours.iter().map(|value| f64::from(*value).powi(2)).sum::<f64>().sqrt();
            let few = theirs.len() - 1;
            let found = ours
                .iter()
                .step_by((ours.len() / few).max(1))
                .take(few)
                .map(|value| f64::from(*value));
            let apart = found
                .zip(&theirs[1..])
                .map(|(ours, theirs)| (ours - theirs).abs())
                .fold((length - theirs[0]).abs(), f64::max)
                / theirs[0];
            worst = worst.max(apart);
            assert!(
                apart < 3e-2,
                "{name}, {mode:?}: the gradient of {parameter} is {apart} of its length from PyTorch's"
            );
        }
        println!("{name}, {mode:?}: largest difference of gradients {worst:.2e} of their length");
    }
}
