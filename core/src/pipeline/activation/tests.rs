use super::super::test_run::trained;
use super::*;
use crate::classifier::Standardiser;
use crate::model::{NetworkConfig, weights};
use crate::random::stream;
use crate::run::StageProgress;
use crate::settings::Backbone;
use crate::train::classifier_of;
use rand::RngExt;

/// A checkpoint of random weights, as frozen features are learned from or not.
fn checkpoint(backbone: Backbone, side: usize, classes: usize, standardised: bool) -> Checkpoint {
    let config =
        NetworkConfig { backbone, stem: NetworkConfig::stem_for(side), input_size: side, classes };
    let network = Network::new(&config, 7, &Device::flex());
    let standardiser = standardised.then(|| {
        let mut rng = stream(1, "moments", &[]);
        let features = config.features();
        Standardiser::new(
            (0..features).map(|_| rng.random_range(-0.5..0.5)).collect(),
            (0..features).map(|_| rng.random_range(0.2..2.0)).collect(),
        )
        .unwrap()
    });
    let mut made = Checkpoint {
        source: "checkpoint".into(),
        config,
        mean: [0.4, 0.5, 0.6],
        std: [0.2, 0.25, 0.3],
        fit: ImageFit::Crop,
        classes: (0..classes).map(|class| format!("class {class}")).collect(),
        train_counts: vec![5; classes],
        seed: 7,
        progress: StageProgress::default(),
        balancers: Vec::new(),
        weights: weights(&network),
        velocities: Vec::new(),
        standardiser: None,
    };
    let classifier = classifier_in_file(&made).unwrap();
    made.standardiser = standardiser;
    crate::train::put_classifier(&mut made, &classifier);
    made
}

fn picture(width: u32, height: u32, seed: u64) -> RgbPixels {
    let mut rng = stream(seed, "picture", &[]);
    let data = (0..width * height * 3).map(|_| rng.random_range(0..=255)).collect();
    RgbPixels { width, height, data }
}

/// Whatever the network, the image and whether features are standardised.
#[test]
fn the_mean_of_a_map_and_the_bias_are_the_logit_of_evaluation() {
    for (backbone, side) in [
        (Backbone::ResNet20, 16),
        (Backbone::ResNet18, 33),
        (Backbone::ResNet18, 96),
        (Backbone::EfficientNetLite0, 64),
        (Backbone::EfficientNetLite1, 47),
    ] {
        for standardised in [false, true] {
            let checkpoint = checkpoint(backbone, side, 5, standardised);
            let maps = ActivationMaps::of(&checkpoint).unwrap();
            for (seed, (width, height)) in [(40, 40), (90, 31), (20, 77)].into_iter().enumerate() {
                let image = picture(width, height, seed as u64);
                let looked = maps.look(&image).unwrap();
                // What evaluation computes: features by the kernels for whole networks,
                // standardised, and the classifier that sees those.
                let input = Normaliser::new(checkpoint.mean, checkpoint.std).tensor(
                    &to_input(&image, side),
                    side,
                    &Device::flex(),
                );
                let network = network_of(&checkpoint, &Device::flex()).unwrap();
                let mut features = crate::model::Prepared::new(network)
                    .features(input)
                    .into_data()
                    .try_into_vec::<f32>()
                    .unwrap();
                if let Some(standardiser) = &checkpoint.standardiser {
                    standardiser.apply(&mut features);
                }
                let expected = classifier_of(&checkpoint).unwrap().logits(&features).unwrap();
                let scale = expected.iter().fold(1.0_f32, |most, logit| most.max(logit.abs()));
                for (class, expected) in expected.iter().enumerate() {
                    let map = maps.map(&looked, class);
                    assert_eq!(map.values.len(), map.height * map.width);
                    let apart = (map.logit() - expected).abs();
                    assert!(apart <= 1e-4 * scale, "{backbone} {standardised}: {apart} of {scale}");
                    assert!((looked.logits[class] - expected).abs() <= 1e-4 * scale);
                }
            }
        }
    }
}

#[test]
fn a_run_says_where_it_looked_and_one_out_of_a_file_says_why_not() {
    let folder = tempfile::tempdir().unwrap();
    let run = trained(folder.path());
    let maps = ActivationMaps::open(&run, None).unwrap();
    let looked = maps.look(&picture(8, 8, 3)).unwrap();
    assert_eq!(looked.logits.len(), maps.classes().len());
    assert_eq!(looked.ranked()[0], looked.predicted());
    assert!((looked.probabilities.iter().sum::<f32>() - 1.0).abs() < 1e-5);
    assert!(ActivationMaps::open(&run, Some("balanced")).is_err());

    let mut other = run.checkpoint("last").unwrap();
    let text = format!("onnx:64:0.0:vector:{}", "0".repeat(64));
    other.config.backbone = Backbone::Onnx(text.parse().unwrap());
    let said = ActivationMaps::of(&other).err().unwrap().to_string();
    assert!(said.contains("ONNX file") && said.contains("cannot be said"), "{said}");
}

#[test]
fn values_lie_between_those_of_the_places_around() {
    let map = ActivationMap {
        class: 0,
        fit: ImageFit::Crop,
        height: 2,
        width: 2,
        values: vec![0.0, 4.0, 8.0, 12.0],
        bias: 1.0,
    };
    assert_eq!(map.logit(), 7.0);
    assert_eq!([map.at(0.0, 0.0), map.at(0.25, 0.25), map.at(1.0, 0.0)], [0.0, 0.0, 4.0]);
    assert_eq!([map.at(0.5, 0.5), map.at(0.5, 0.25), map.at(0.25, 0.5)], [6.0, 2.0, 4.0]);
    let scale = ActivationScale::of([&map]);
    assert_eq!((scale.low, scale.high, scale.share(3.0)), (0.0, 12.0, 0.25));
    let flat = ActivationMap { values: vec![2.0; 4], ..map };
    assert_eq!(ActivationScale::of([&flat]).share(2.0), 0.5);
    assert_eq!(ActivationScale::of([]).share(f32::NAN), 0.5);
}

#[test]
fn a_picture_keeps_its_shape_and_is_coloured_where_the_network_sees_it() {
    let map = ActivationMap {
        class: 0,
        fit: ImageFit::Crop,
        height: 1,
        width: 2,
        values: vec![-1.0, 1.0],
        bias: 0.0,
    };
    let scale = ActivationScale::of([&map]);
    let picture = RgbPixels { width: 12, height: 6, data: vec![128; 12 * 6 * 3] };
    let drawn = activation_overlay(&picture, &map, scale);
    assert_eq!((drawn.width, drawn.height, drawn.data.len()), (12, 6, picture.data.len()));
    let pixel = |x: usize| [drawn.data[3 * x], drawn.data[3 * x + 1], drawn.data[3 * x + 2]];
    // Pale, the line, dark, bright, the line, pale.
    assert!(pixel(0).iter().all(|&value| value == pixel(0)[0] && value > 200));
    assert_eq!(pixel(2), [255; 3]);
    assert_eq!(
        pixel(3),
        colour_ramp(0.0).map(|c| (0.6 * f32::from(c) + 0.4 * 128.0).round() as u8)
    );
    assert_eq!(
        pixel(8),
        colour_ramp(1.0).map(|c| (0.6 * f32::from(c) + 0.4 * 128.0).round() as u8)
    );
    assert_eq!(pixel(9), [255; 3]);
    // All of it, where all of it is seen: twelve columns of two places.
    let stretched = ActivationMap { fit: ImageFit::Stretch, ..map.clone() };
    let all = activation_overlay(&picture, &stretched, scale);
    assert!(all.data.chunks(3).all(|pixel| pixel != [255; 3]));
    assert_eq!(
        [&all.data[..9], &all.data[27..36]],
        [[pixel(3); 3].concat(), [pixel(8); 3].concat()]
    );
    let lightness = |share: f32| {
        let [r, g, b] = colour_ramp(share).map(f32::from);
        0.2126 * r + 0.7152 * g + 0.0722 * b
    };
    assert!((0..100).all(|i| lightness(i as f32 / 100.0) < lightness((i + 1) as f32 / 100.0)));
}

#[test]
fn a_sheet_holds_pictures_of_any_shape() {
    let map = ActivationMap {
        class: 1,
        fit: ImageFit::Crop,
        height: 3,
        width: 3,
        values: (0..9).map(|i| i as f32 - 4.0).collect(),
        bias: 0.0,
    };
    for (width, height) in [(8, 8), (640, 360), (300, 700), (1, 90)] {
        let name =
            "a name that goes on and on and on, far longer than a picture is wide ".repeat(4);
        let maps = vec![(map.clone(), [name, "ab\ncd".into()]); 2];
        let png =
            activation_sheet(&picture(width, height, 1), ["an image", "40 × 30"], &maps).unwrap();
        let drawn = image::load_from_memory(&png).unwrap();
        assert!(drawn.width() > 3 * width.max(200) && drawn.height() > height);
    }
}
