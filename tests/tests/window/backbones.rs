//! Choosing a backbone, and giving it weights.

use std::fs;
use std::path::Path;

use burn::tensor::Device;
use counterweight_app::gui::{BackbonesCommand, Command};
use counterweight_core::model::{Network, NetworkConfig, weights};
use counterweight_core::settings::{Auto, Backbone, Preset, Stem, Training};
use counterweight_tests::window::Window;
use safetensors::serialize_to_file;
use safetensors::tensor::{Dtype, TensorView};

use crate::{train, with_sample};

/// A network's weights as somebody else would have saved them, behind a prefix and with a
/// classifier of their own.
fn saved_weights(path: &Path) {
    let config = NetworkConfig {
        backbone: Backbone::ResNet20,
        stem: Stem::Small,
        input_size: 32,
        classes: 7,
    };
    let tensors = weights(&Network::new(&config, 3, &Device::flex()));
    let bytes: Vec<Vec<u8>> = tensors
        .iter()
        .map(|tensor| tensor.values.iter().flat_map(|value| value.to_le_bytes()).collect())
        .collect();
    let views = tensors.iter().zip(&bytes);
    let views = views.map(|(tensor, bytes)| {
        (
            format!("module.{}", tensor.name),
            TensorView::new(Dtype::F32, tensor.shape.clone(), bytes).unwrap(),
        )
    });
    serialize_to_file(views, None, path).unwrap();
}

fn take(window: &mut Window, path: &Path) {
    window.app().send(Command::Backbones(BackbonesCommand::TakeFile(path.into())));
    window.settle();
}

#[test]
fn a_backbone_is_chosen_among_all_and_given_weights() {
    let mut window = with_sample();
    window.go("Train");
    window.click("Start from what it has seen before");
    window.settle();
    window.press("Choose…");
    window.settle();
    // The dialog comes to rest.
    window.frames(30);
    assert!(
        window.shows("resnext50")
            && window.shows("Weights: built in")
            && window.shows("Apache-2.0"),
        "{}",
        window.names()
    );
    assert!(
        window.can_press("Download resnet50") && !window.can_press("Use resnet50"),
        "{}",
        window.names()
    );

    window.press("Train resnet32 from scratch");
    let settings = window.state().train.settings.clone();
    assert_eq!(
        (settings.model.backbone.named(), settings.stage1.train),
        (Some(Backbone::ResNet32), Auto::Value(Training::Scratch))
    );
    assert!(window.can_press("Train"), "{}", window.names());

    // A name without weights cannot be started from.
    window.click("Start from what it has seen before");
    window.app().state.train.set_text("model.backbone", "resnet20".into());
    window.settle();
    assert!(
        !window.can_press("Train") && window.shows("has no pretrained weights here"),
        "{}",
        window.names()
    );

    window.press("Choose…");
    let file = window.folder.path().join("theirs.safetensors");
    saved_weights(&file);
    take(&mut window, &file);
    assert!(
        window.shows("resnet20 has weights now") && window.shows("fc.weight"),
        "{}",
        window.names()
    );
    let settings = window.state().train.settings.clone();
    assert_eq!(
        (settings.preset, settings.model.backbone.named()),
        (Preset::Auto, Some(Backbone::ResNet20))
    );
    window.press("Close");
    assert!(window.can_press("Train"), "{}", window.names());

    window.press("Choose…");
    window.press("Use efficientnet-lite0");
    assert_eq!(
        window.state().train.settings,
        counterweight_core::settings::Settings::preset(Preset::Auto)
    );
}

#[test]
fn what_cannot_be_used_says_why() {
    let mut window = with_sample();
    window.go("Train");
    window.press("Choose…");
    let before = window.state().train.settings.clone();
    for (name, bytes) in [
        ("broken.pth", &b"PK\x03\x04 and no more"[..]),
        ("broken.onnx", b"\x08\x07"),
        ("huge.safetensors", &[0xff; 64]),
    ] {
        let file = window.folder.path().join(name);
        fs::write(&file, bytes).unwrap();
        take(&mut window, &file);
        assert!(window.shows(name), "{name}: {}", window.names());
        assert_eq!(window.state().train.settings, before);
    }
    // There is no server at that address.
    window.app().state.shell.place.downloads = Some("http://127.0.0.1:9".into());
    window.press("Download resnet18");
    window.settle();
    assert!(window.shows("http://127.0.0.1:9/resnet18-f37072fd.pth"), "{}", window.names());
    assert!(window.can_press("Download resnet18") && window.can_press("Close"));
}

#[test]
fn a_network_out_of_a_file_is_a_backbone() {
    let mut window = with_sample();
    train(&mut window, 1);
    window.go("Export");
    window.export();
    window.settle();
    let file = window.state().run.as_ref().unwrap().exported.clone().expect("it is exported").path;

    window.go("Train");
    window.click("New run");
    window.press("Choose…");
    take(&mut window, &file);
    assert!(window.shows("is in use: features are"), "{}", window.names());
    // Trained from scratch it cannot be.
    let settings = window.state().train.settings.clone();
    assert_eq!(
        (settings.preset, settings.model.backbone.file()),
        (Preset::Auto, Some(file.as_path()))
    );
    window.press("Close");
    window.enter("Run name", "on a file");
    window.press("Train");
    window.settle();
    let run = window.state().run.clone().expect("the run is open");
    assert!(run.is_trained() && run.name() == "on a file", "{}", window.log());
}
