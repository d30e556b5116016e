//! Class activation maps beside PyTorch's, with the same weights and images.
//!
//! `reference/activation.json` holds PyTorch's values and `reference/make_activation.py` makes them.

use burn::tensor::Device;
use counterweight_core::images::RgbPixels;
use counterweight_core::model::{NamedTensor, Network, NetworkConfig, is_of_classifier, weights};
use counterweight_core::pipeline::ActivationMaps;
use counterweight_core::run::{Checkpoint, StageProgress};
use counterweight_core::settings::{Backbone, ImageFit, Stem};
use counterweight_tests::reference::{assert_near, unit, values};
use serde_json::Value;

/// The image of `make_activation.py`, whose colours lie in planes there.
fn image(side: usize) -> RgbPixels {
    let bytes: Vec<u8> = unit("photo", 3 * side * side)
        .into_iter()
        .map(|u| ((u + 0.5) * 256.0).floor().clamp(0.0, 255.0) as u8)
        .collect();
    let area = side * side;
    let data = (0..area).flat_map(|i| [bytes[i], bytes[area + i], bytes[2 * area + i]]).collect();
    RgbPixels { width: side as u32, height: side as u32, data }
}

#[test]
fn maps_are_pytorchs() {
    let reference: Value =
        serde_json::from_str(include_str!("../reference/activation.json")).unwrap();
    let cases = reference["cases"].as_array().unwrap();
    assert_eq!(cases.len(), 5);
    for case in cases {
        let name = case["network"].as_str().unwrap();
        let number = |key: &str| case[key].as_u64().unwrap() as usize;
        let (backbone, stem) = match name {
            "resnet34-imagenet" => (Backbone::ResNet34, Stem::Imagenet),
            "resnet50" => (Backbone::ResNet50, Stem::Small),
            "resnext50" => (Backbone::ResNeXt50, Stem::Small),
            "efficientnet-lite0" => (Backbone::EfficientNetLite0, Stem::Imagenet),
            other => panic!("{other} is not known to this test"),
        };
        let (side, classes) = (number("input_size"), number("classes"));
        let config = NetworkConfig { backbone, stem, input_size: side, classes };
        let device = Device::flex();
        let pretrained = backbone == Backbone::EfficientNetLite0;
        let network = match pretrained {
            true => Network::pretrained(&config, 0, &device).unwrap(),
            false => Network::new(&config, 0, &device),
        };
        let weight = |tensor: NamedTensor| match pretrained && !is_of_classifier(&tensor.name) {
            true => tensor,
            false => values(&tensor),
        };
        let checkpoint = Checkpoint {
            source: "checkpoint".into(),
            config,
            mean: [0.5; 3],
            std: [0.25; 3],
            fit: ImageFit::Crop,
            classes: (0..classes).map(|class| class.to_string()).collect(),
            train_counts: vec![1; classes],
            seed: 0,
            progress: StageProgress::default(),
            balancers: Vec::new(),
            weights: weights(&network).into_iter().map(weight).collect(),
            velocities: Vec::new(),
            standardiser: None,
        };
        let maps = ActivationMaps::of(&checkpoint).unwrap();
        let looked = maps.look(&image(side)).unwrap();
        let numbers = |key: &str| -> Vec<f64> {
            case[key].as_array().unwrap().iter().map(|value| value.as_f64().unwrap()).collect()
        };
        let ours: Vec<f32> = (0..classes)
            .flat_map(|class| {
                let map = maps.map(&looked, class);
                assert_eq!([map.height, map.width], [number("height"), number("width")]);
                map.values
            })
            .collect();
        for (what, ours, theirs) in
            [("maps", &ours, numbers("maps")), ("logits", &looked.logits, numbers("logits"))]
        {
            assert_near(&format!("{name} at {side}, {what}"), ours, &theirs, 1e-4);
        }
    }
}
