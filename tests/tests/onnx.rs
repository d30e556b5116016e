//! The exported file in a runtime we did not write: the reference checker and onnxruntime.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Instant;

use burn::tensor::{Device, Tensor, TensorData};
use counterweight_core::classifier::Classifier;
use counterweight_core::export::{ExportSource, JoinedSource, Onnx, export};
use counterweight_core::images::{DEFAULT_MAX_PIXELS, read_image, to_input};
use counterweight_core::infer::OnnxClassifier;
use counterweight_core::job::{Control, Job, Silent};
use counterweight_core::model::{
    Mode, NamedTensor, Network, NetworkConfig, Normaliser, OnnxFile, OnnxFound, load_weights,
    weights,
};
use counterweight_core::settings::{Backbone, ImageFit, ModelSettings, Preset, Settings, Stem};
use counterweight_core::source::unpack_sample;
use counterweight_tests::python::python;
use counterweight_tests::{binary, counterweight, counterweight_json};

const MEAN: [f32; 3] = [0.4914, 0.4822, 0.4465];
const STD: [f32; 3] = [0.2023, 0.1994, 0.2010];
const IMAGES: usize = 12;

/// Values without a pattern, in 0..1, the same on every machine.
struct Noise(u64);

impl Noise {
    fn next(&mut self) -> f32 {
        self.0 =
            self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 40) as f32 / (1u64 << 24) as f32
    }
}

/// A network as untidy as a trained one: scales, shifts and running statistics that are not 1 and
/// 0.
fn network(config: &NetworkConfig) -> Network {
    let mut noise = Noise(config.input_size as u64);
    let mut between = |low: f32, high: f32| low + (high - low) * noise.next();
    let unsettle = |mut tensor: NamedTensor| {
        let norm = tensor.name.contains("bn") || tensor.name.contains("downsample.1");
        let (low, high) = match tensor.name.rsplit('.').next() {
            Some("running_mean") => (-0.2, 0.2),
            Some("running_var") => (0.6, 1.6),
            Some("weight") if norm => (0.7, 1.1),
            Some("bias") => (-0.2, 0.2),
            _ => return tensor,
        };
        tensor.values.iter_mut().for_each(|value| *value = between(low, high));
        tensor
    };
    let fresh = Network::new(config, 7, &Device::flex());
    let tensors = weights(&fresh).into_iter().map(unsettle).collect();
    load_weights(fresh, tensors).expect("the names are the network's own")
}

/// Handwritten digits of the built-in sample, as the network's input.
fn images(side: usize, folder: &Path) -> Vec<Vec<u8>> {
    let sample = unpack_sample(folder).expect("the sample unpacks");
    let mut classes: Vec<PathBuf> = sample
        .read_dir()
        .expect("a folder")
        .map(|entry| entry.expect("an entry").path())
        .filter(|path| path.is_dir())
        .collect();
    classes.sort();
    let image = |index: usize| {
        let path = classes[index % classes.len()].join(format!("{:04}.png", index / classes.len()));
        to_input(&read_image(&path, DEFAULT_MAX_PIXELS).expect("a digit"), side)
    };
    (0..IMAGES).map(image).collect()
}

fn logits(network: &Network, side: usize, images: &[Vec<u8>]) -> Vec<f32> {
    let device = Device::flex();
    let values: Vec<f32> = images
        .iter()
        .flat_map(|image| image.iter().enumerate())
        .map(|(place, &byte)| {
            let channel = place / (side * side);
            (f32::from(byte) / 255.0 - MEAN[channel]) / STD[channel]
        })
        .collect();
    let input =
        Tensor::<4>::from_data(TensorData::new(values, [images.len(), 3, side, side]), &device);
    network
        .forward(input, Mode::Evaluate)
        .into_data()
        .try_into_vec::<f32>()
        .expect("logits are f32")
}

fn write_all(path: &Path, bytes: impl IntoIterator<Item = u8>) -> PathBuf {
    std::fs::write(path, bytes.into_iter().collect::<Vec<u8>>())
        .expect("the scratch folder takes files");
    path.to_path_buf()
}

#[test]
#[expect(clippy::print_stdout, reason = "the differences are worth reading")]
fn onnxruntime_and_the_reference_checker_agree() {
    let Some(python) = python(&["numpy", "onnx", "onnxruntime"]) else { return };
    let scratch = tempfile::tempdir().expect("a scratch folder");
    for (backbone, stem, side, classes) in [
        (Backbone::ResNet20, Stem::Small, 32, 100),
        (Backbone::ResNet34, Stem::Small, 32, 10),
        (Backbone::ResNet50, Stem::Small, 16, 7),
        (Backbone::ResNet18, Stem::Imagenet, 65, 3),
        (Backbone::ResNet50, Stem::Imagenet, 96, 2),
        (Backbone::ResNeXt50, Stem::Imagenet, 65, 4),
        (Backbone::EfficientNetLite0, Stem::Imagenet, 75, 6),
    ] {
        let config = NetworkConfig { backbone, stem, input_size: side, classes };
        let network = network(&config);
        let images = images(side, scratch.path());
        let mut names: Vec<String> = (0..classes).map(|class| format!("class {class}")).collect();
        names[0] = "l'été \"1\" \\ ёлка\n".into();
        let expected = logits(&network, side, &images);
        let source = ExportSource {
            network,
            config,
            mean: MEAN,
            std: STD,
            fit: ImageFit::Crop,
            temperature: Some(0.35),
            classes: names,
            says: vec![("summary", serde_json::json!({ "epochs": 1 }))],
        };
        let model = scratch.path().join(format!("{}-{side}.onnx", backbone.name()));
        let started = Instant::now();
        let report =
            export(&source, &Onnx::BOTH, &model, &images, Job::new(&Control::new(), &Silent))
                .expect("the export passes its own check");
        let seconds = started.elapsed().as_secs_f64();
        assert_eq!(report.top1_agreement, 1.0);

        let raw_images =
            write_all(&scratch.path().join("images.bin"), images.iter().flatten().copied());
        let raw_logits = write_all(
            &scratch.path().join("logits.bin"),
            expected.iter().flat_map(|value| value.to_le_bytes()),
        );
        let output = Command::new(&python)
            .arg(concat!(env!("CARGO_MANIFEST_DIR"), "/python/check_onnx.py"))
            .args([&model, &raw_images, &raw_logits])
            .args([side.to_string(), classes.to_string()])
            .output()
            .expect("Python starts");
        let (stdout, stderr) =
            (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
        assert!(output.status.success(), "{} {stem:?}: {stdout}\n{stderr}", backbone.name());
        let found: serde_json::Value =
            serde_json::from_str(stdout.trim()).unwrap_or_else(|e| panic!("{e}: {stdout}"));
        println!(
            "{} {stem:?} {side}: {} bytes, {seconds:.2} s, tract {:.1e}, onnxruntime {:.1e}",
            backbone.name(),
            report.bytes,
            report.max_abs_diff,
            found["logits"].as_f64().unwrap_or(f64::NAN),
        );
        assert_eq!(found["opset"], report.opset);
    }
}

#[test]
fn onnxruntime_agrees_with_a_file_joined_with_a_classifier() {
    let Some(python) = python(&["numpy", "onnx", "onnxruntime"]) else { return };
    let scratch = tempfile::tempdir().expect("a scratch folder");
    // Our own exports are files like any other: features are a value inside, and they normalise
    // images themselves.
    let path = small_export(scratch.path());
    let file = OnnxFile::read(&path).expect("our own file is read");
    for output in ["", "logits"] {
        let settings =
            ModelSettings { output: output.into(), ..Settings::preset(Preset::Auto).model };
        let OnnxFound { graph, mean, std, .. } =
            file.choose(settings.feature_choice()).expect("it has features");
        assert_eq!(
            (graph.output(), mean, std),
            (if output.is_empty() { "features" } else { output }, [0.0; 3], [1.0; 3])
        );
        let (side, features, classes) = (graph.side(), graph.backbone().features as usize, 5);
        let mut noise = Noise(3);
        let weight = (0..classes * features).map(|_| noise.next() - 0.5).collect();
        let classifier =
            Classifier::new(classes, features, weight, vec![0.1; classes]).expect("a classifier");
        let images = images(side, scratch.path());
        let normaliser = Normaliser::new(mean, std);
        let expected = images.iter().flat_map(|image| {
            let mut values = vec![0.0; image.len()];
            normaliser.fill(image, side, graph.layout(), &mut values);
            classifier.logits(&graph.features(&values).expect("features")).expect("logits")
        });
        let raw_logits =
            write_all(&scratch.path().join("logits.bin"), expected.flat_map(f32::to_le_bytes));
        let raw_images =
            write_all(&scratch.path().join("images.bin"), images.iter().flatten().copied());
        let config = NetworkConfig {
            backbone: Backbone::Onnx(graph.backbone()),
            stem: Stem::Small,
            input_size: side,
            classes,
        };
        let classes_named = (0..classes).map(|class| format!("class {class}")).collect();
        let source = JoinedSource {
            file: &file,
            graph,
            classifier,
            name: "model.onnx".into(),
            config,
            mean,
            std,
            fit: ImageFit::Crop,
            temperature: Some(2.5),
            classes: classes_named,
            says: vec![("summary", serde_json::json!({}))],
        };
        let joined = scratch.path().join("joined.onnx");
        let report =
            export(&source, &Onnx::BOTH, &joined, &images, Job::new(&Control::new(), &Silent))
                .expect("the export passes its own check");
        assert_eq!(report.top1_agreement, 1.0);
        let output = Command::new(&python)
            .arg(concat!(env!("CARGO_MANIFEST_DIR"), "/python/check_onnx.py"))
            .args([&joined, &raw_images, &raw_logits])
            .args([side.to_string(), classes.to_string()])
            .output()
            .expect("Python starts");
        let (stdout, stderr) =
            (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
        assert!(output.status.success(), "{stdout}\n{stderr}");
    }
}

/// The library that a Python's onnxruntime comes with.
fn onnxruntime_library() -> Option<PathBuf> {
    let python = python(&["onnxruntime"])?;
    let folder = Command::new(python)
        .args(["-c", "import onnxruntime; print(onnxruntime.__path__[0])"])
        .output()
        .expect("Python starts");
    let folder = PathBuf::from(String::from_utf8_lossy(&folder.stdout).trim()).join("capi");
    let files = folder.read_dir().ok()?.filter_map(|entry| Some(entry.ok()?.path()));
    let is_library = |path: &PathBuf| {
        let name = path.file_name().unwrap_or_default().to_string_lossy();
        name == "onnxruntime.dll" || name.starts_with("libonnxruntime.")
    };
    files.into_iter().find(is_library)
}

#[test]
#[expect(clippy::print_stdout, reason = "a skipped part must say so")]
fn a_graph_runs_in_the_library_that_the_environment_names() {
    let scratch = tempfile::tempdir().expect("a scratch folder");
    let model = format!("onnx:{}", small_export(scratch.path()).display());
    let bench = |library: &Path| {
        let arguments =
            ["bench", "infer", "--model", &model, "--batch", "2", "--steps", "1", "--json"];
        Command::new(binary())
            .args(arguments)
            .env("ORT_DYLIB_PATH", library)
            .output()
            .expect("the binary starts")
    };
    let text = scratch.path().join("text.so");
    std::fs::write(&text, "no library").expect("the scratch folder takes files");
    for (library, reason) in
        [(text.as_path(), "failed to load"), (Path::new("nowhere.so"), "there is no such file")]
    {
        let output = bench(library);
        let stderr = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(1), "{stderr}");
        assert!(
            stderr.contains("ORT_DYLIB_PATH")
                && stderr.contains(&library.display().to_string())
                && stderr.contains(reason),
            "{stderr}"
        );
    }
    let engine = |library: &Path| {
        let output = bench(library);
        let last =
            String::from_utf8_lossy(&output.stdout).lines().last().unwrap_or_default().to_string();
        let report: serde_json::Value = serde_json::from_str(&last)
            .unwrap_or_else(|_| panic!("{}", String::from_utf8_lossy(&output.stderr)));
        report["engine"].clone()
    };
    assert_eq!(engine(Path::new("")), "tract");
    match onnxruntime_library() {
        Some(library) => assert_eq!(engine(&library), "onnxruntime"),
        None => println!("skipped: no onnxruntime library was found"),
    }
}

/// Exports a small network and returns the file, with class names that need care.
fn small_export(folder: &Path) -> PathBuf {
    let config = NetworkConfig {
        backbone: Backbone::ResNet20,
        stem: Stem::Small,
        input_size: 16,
        classes: 4,
    };
    let classes = ["ёлка", "l'été", "plain", "last"].map(String::from).to_vec();
    let source = ExportSource {
        network: network(&config),
        config,
        mean: MEAN,
        std: STD,
        fit: ImageFit::Crop,
        temperature: None,
        classes,
        says: Vec::new(),
    };
    let path = folder.join("модель.onnx");
    export(&source, &Onnx::BOTH, &path, &images(16, folder), Job::new(&Control::new(), &Silent))
        .expect("the export passes its own check");
    path
}

#[test]
fn predict_prints_a_line_an_image_and_goes_on_after_a_broken_one() {
    let scratch = tempfile::tempdir().expect("a scratch folder");
    let model = small_export(scratch.path());
    let (good, broken, missing) = (
        scratch.path().join("лист 1.png"),
        scratch.path().join("text.png"),
        scratch.path().join("no.png"),
    );
    image::RgbImage::from_fn(40, 24, |x, y| image::Rgb([x as u8 * 6, y as u8 * 10, 90]))
        .save(&good)
        .expect("a PNG is written");
    std::fs::write(&broken, "no image").expect("the scratch folder takes files");

    let predict = |more: &[&std::ffi::OsStr]| {
        let mut arguments = vec!["predict".as_ref(), model.as_os_str()];
        arguments.extend(more);
        counterweight(&arguments)
    };
    let output = predict(&[
        good.as_ref(),
        broken.as_ref(),
        missing.as_ref(),
        good.as_ref(),
        "--top".as_ref(),
        "2".as_ref(),
        "--json".as_ref(),
    ]);
    assert_eq!(output.status.code(), Some(3));
    let lines: Vec<serde_json::Value> = String::from_utf8_lossy(&output.stdout)
        .lines()
        .map(|line| serde_json::from_str(line).expect("a line is JSON"))
        .collect();
    assert_eq!(lines.len(), 4);
    assert_eq!(lines[0]["path"], good.to_string_lossy().as_ref());
    assert_eq!(lines[0], lines[3]);
    let top = lines[0]["top"].as_array().expect("classes");
    let probability = |index: usize| top[index]["probability"].as_f64().expect("a number");
    assert!(
        top.len() == 2
            && probability(0) >= probability(1)
            && probability(0) + probability(1) <= 1.0 + 1e-6
    );
    assert!(
        lines[1]["error"].as_str().is_some_and(|error| error.contains("not an image")),
        "{}",
        lines[1]
    );
    assert!(
        lines[2]["path"] == missing.to_string_lossy().as_ref()
            && lines[2]["error"].is_string()
            && lines[2].get("top").is_none()
    );

    let output = predict(&[good.as_ref()]);
    let text = String::from_utf8_lossy(&output.stdout);
    assert!(
        output.status.success()
            && text.contains("лист 1.png")
            && text.contains("ёлка")
            && text.contains(" %"),
        "{text}"
    );
    assert_eq!(text.lines().count(), 1 + 4);
}

#[test]
fn predict_refuses_files_that_are_no_models_and_wrong_usage() {
    let scratch = tempfile::tempdir().expect("a scratch folder");
    let not_a_model = scratch.path().join("model.onnx");
    std::fs::write(&not_a_model, "not a model").expect("the scratch folder takes files");
    let output = counterweight(&["predict".as_ref(), not_a_model.as_os_str(), "a.png".as_ref()]);
    let stderr = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(1));
    assert!(
        stderr.contains("model.onnx")
            && stderr.contains("not an ONNX file")
            && !stderr.contains("panicked"),
        "{stderr}"
    );
    assert_eq!(counterweight(&["predict", "model.onnx"]).status.code(), Some(2));
    assert_eq!(
        counterweight(&["predict", "model.onnx", "a.png", "--top", "0"]).status.code(),
        Some(2)
    );
}

/// `BatchNormalization` of something with one axis: tract would read past its shape, and the process
/// that does end with a segmentation fault.
const CRASHES: &str = concat!(
    "080e3a85010a2b0a01740a01740a01740a01740a017412066c6f67697473221242617463684e6f726d616c697a617469",
    "6f6e1201672a15080310014201744a0c0000803f0000803f0000803f5a210a06696d6167657312170a15080112110a03",
    "1201620a0208030a0208080a02080862190a066c6f67697473120f0a0d080112090a031201620a02080342040a001012"
);

#[test]
fn a_model_that_would_bring_the_runtime_down_is_refused() {
    let scratch = tempfile::tempdir().expect("a scratch folder");
    let bytes = (0..CRASHES.len())
        .step_by(2)
        .map(|at| u8::from_str_radix(&CRASHES[at..at + 2], 16).expect("two digits make a byte"));
    let model = write_all(&scratch.path().join("crash.onnx"), bytes);
    let image = scratch.path().join("image.png");
    image::RgbImage::new(9, 9).save(&image).expect("a PNG is written");
    let output = counterweight(&["predict".as_ref(), model.as_os_str(), image.as_os_str()]);
    let stderr = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(1), "{stderr}");
    assert!(
        stderr.contains("crash.onnx") && stderr.contains("asks for the channels of a value"),
        "{stderr}"
    );
}

#[test]
fn a_model_in_a_process_of_its_own_says_what_it_says_in_this_one() {
    let scratch = tempfile::tempdir().expect("a scratch folder");
    let model = small_export(scratch.path());
    let image = scratch.path().join("image.png");
    image::RgbImage::from_fn(40, 24, |x, y| image::Rgb([x as u8 * 6, y as u8 * 10, 90]))
        .save(&image)
        .expect("a PNG is written");
    let here = OnnxClassifier::load(&model).expect("it is our own");
    let pixels = to_input(&read_image(&image, DEFAULT_MAX_PIXELS).expect("an image"), 16);
    let expected = here.classify(&[pixels]).expect("it runs");
    let expected = here.top_k(&expected[0], 4);
    let found = counterweight_json(&["predict".as_ref(), model.as_os_str(), image.as_os_str()]);
    for (found, expected) in found["top"].as_array().expect("classes").iter().zip(&expected) {
        assert_eq!(found["class"], expected.class.as_str());
        let probability = found["probability"].as_f64().expect("a number");
        assert!((probability - f64::from(expected.probability)).abs() < 1e-7, "{found}");
    }
}
