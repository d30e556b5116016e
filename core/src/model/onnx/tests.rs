use std::path::{Path, PathBuf};

use super::test_files::{
    Axis, CHANNELS_FIRST, Draft, FEATURES, ONE_IMAGE, OPEN_SIDES, SIDE, of_every_kind, vector,
};
use super::*;
use crate::error::{Error, ModelError};
use crate::model::InputLayout;
use crate::settings::{
    Auto, ModelSettings, NamedNormalisation, Normalisation, Preset, Settings, Tokens,
};

fn settings() -> ModelSettings {
    Settings::preset(Preset::Auto).model
}

fn write(folder: &Path, draft: &Draft) -> PathBuf {
    let path = folder.join("model.onnx");
    std::fs::write(&path, draft.bytes()).unwrap();
    path
}

/// What is found in a file, or what is said of it.
fn found(folder: &Path, draft: &Draft, settings: &ModelSettings) -> Result<OnnxFound, String> {
    let path = write(folder, draft);
    OnnxFile::read(&path).and_then(|file| file.choose(settings.feature_choice())).map_err(|error| {
        assert!(matches!(error, Error::Model(ModelError::File { .. })), "{error:?}");
        let error = error.to_string();
        assert!(error.contains("model.onnx"), "{error}");
        error
    })
}

/// Pixels of an image in both layouts.
fn image() -> [Vec<f32>; 2] {
    let first: Vec<f32> =
        (0..3 * SIDE * SIDE).map(|i| ((i * 37 % 101) as f32 / 50.0) - 1.0).collect();
    let last = (0..first.len()).map(|i| first[i % 3 * SIDE * SIDE + i / 3]).collect();
    [first, last]
}

/// The same convolution and ReLU, by hand: `[FEATURES, side, side]`.
fn map(draft: &mut Draft, image: &[f32]) -> Vec<f32> {
    let weight =
        draft.graph().initializer.iter().find(|tensor| tensor.name == "conv.weight").unwrap();
    let weight: Vec<f32> =
        weight.raw_data.as_chunks().0.iter().map(|bytes| f32::from_le_bytes(*bytes)).collect();
    let mut map = vec![0.0; FEATURES * SIDE * SIDE];
    for (at, value) in map.iter_mut().enumerate() {
        let (feature, y, x) = (at / (SIDE * SIDE), at / SIDE % SIDE, at % SIDE);
        for tap in 0..27 {
            let (channel, dy, dx) = (tap / 9, tap / 3 % 3, tap % 3);
            if (1..=SIDE).contains(&(y + dy)) && (1..=SIDE).contains(&(x + dx)) {
                *value += weight[feature * 27 + tap]
                    * image[channel * SIDE * SIDE + (y + dy - 1) * SIDE + x + dx - 1];
            }
        }
        *value = value.max(0.0);
    }
    map
}

#[test]
fn features_are_taken_of_every_kind_of_output() {
    let folder = tempfile::tempdir().unwrap();
    let [first, last] = image();
    for (kind, words, mut draft) in of_every_kind() {
        let settings = ModelSettings { input_size: Auto::Value(SIDE), ..settings() };
        let OnnxFound { graph, mean, std, .. } = found(folder.path(), &draft, &settings).unwrap();
        assert!(graph.words().contains(words), "{kind}: {}", graph.words());
        assert_eq!((mean, std), ([0.5, 0.4, 0.3], [0.2, 0.25, 0.3]));
        assert_eq!(
            (graph.backbone().features as usize, graph.side(), graph.takes_one()),
            (FEATURES, SIDE, kind == "one image")
        );
        let features = graph
            .features(if graph.layout() == InputLayout::ChannelsFirst { &first } else { &last })
            .unwrap();
        let expected: Vec<f32> = if kind == "channels last" {
            assert_eq!(graph.layout(), InputLayout::ChannelsLast);
            let mix: Vec<f32> = draft.graph().initializer[0]
                .raw_data
                .as_chunks()
                .0
                .iter()
                .map(|bytes| f32::from_le_bytes(*bytes))
                .collect();
            let pixel = |pixel: &[f32], feature: usize| {
                (0..3).map(|c| pixel[c] * mix[c * FEATURES + feature]).sum::<f32>().tanh()
            };
            (0..FEATURES)
                .map(|feature| {
                    last.chunks(3).map(|p| pixel(p, feature)).sum::<f32>() / (SIDE * SIDE) as f32
                })
                .collect()
        } else {
            let map = map(&mut draft, &first);
            let of_plane = |plane: &[f32]| match kind {
                "class token" => plane.iter().copied().fold(f32::MIN, f32::max),
                _ => plane.iter().sum::<f32>() / plane.len() as f32,
            };
            map.chunks(SIDE * SIDE).map(of_plane).collect()
        };
        let apart = features.iter().zip(&expected).map(|(a, b)| (a - b).abs()).fold(0.0, f32::max);
        assert!(features.len() == FEATURES && apart < 1e-5, "{kind}: {features:?} {expected:?}");
        // What a checkpoint says gives the same graph.
        let again = OnnxFile::read(&folder.path().join("model.onnx"))
            .unwrap()
            .graph(graph.backbone(), SIDE)
            .unwrap();
        assert_eq!(
            again
                .features(if again.layout() == InputLayout::ChannelsFirst { &first } else { &last })
                .unwrap(),
            features
        );
        assert_eq!(graph.backbone().to_string().parse(), Ok(graph.backbone()));
    }
}

#[test]
fn outputs_and_tokens_are_chosen_by_name_and_by_setting() {
    let folder = tempfile::tempdir().unwrap();
    let two =
        || Draft::new(&CHANNELS_FIRST).tokens().output("cls_token").output("tokens").normalised();
    let output = |draft: &Draft, asked: &str| {
        found(folder.path(), draft, &ModelSettings { output: asked.into(), ..settings() })
            .map(|found| found.graph.output().to_string())
    };
    assert_eq!(output(&two(), "").unwrap(), "cls_token");
    assert_eq!(output(&two(), "tokens").unwrap(), "tokens");
    // Any value of the graph will do, as that before somebody else's classifier.
    assert_eq!(output(&two(), "map").unwrap(), "map");
    let mut named = two();
    named.graph().output[1].name = "Last_Hidden_State".into();
    let renamed = |name: &mut String| {
        if name == "tokens" {
            *name = "Last_Hidden_State".into();
        }
    };
    named.graph().node.iter_mut().flat_map(|node| &mut node.output).for_each(renamed);
    assert_eq!(output(&named, "").unwrap(), "Last_Hidden_State");
    let error = output(&two(), "nowhere").unwrap_err();
    assert!(error.contains("`nowhere`") && error.contains("`cls_token`, `tokens`"), "{error}");
    assert!(output(&two(), "conv.weight").is_err() && output(&two(), "pixel_values").is_err());

    let taken = |tokens| {
        found(
            folder.path(),
            &two(),
            &ModelSettings { output: "tokens".into(), tokens, ..settings() },
        )
        .unwrap()
        .graph
        .backbone()
        .taken
    };
    assert_eq!(
        [Tokens::Auto, Tokens::Class, Tokens::Mean].map(taken),
        [Taken::ClassToken, Taken::ClassToken, Taken::TokenMean]
    );
    let kind = |name: &str, count: usize| {
        output::taken(name, &[1, count, 6], InputLayout::ChannelsFirst, Tokens::Auto).unwrap().0
    };
    // The patches of 7 × 7, those of 16 × 16 behind a class token, and behind one with four
    // registers.
    assert_eq!(
        [49, 257, 261].map(|count| kind("out", count)),
        [Taken::TokenMean, Taken::ClassToken, Taken::ClassToken]
    );
    assert_eq!(kind("with_cls", 49), Taken::ClassToken);
}

#[test]
fn only_the_image_tower_of_a_larger_network_is_asked_for_images() {
    let folder = tempfile::tempdir().unwrap();
    let mut both =
        vector().node("Add", &["input_ids", "input_ids"], "text_embeds", &[]).output("text_embeds");
    let ids = vector().graph().input[0].clone();
    both.graph().input.insert(0, ids);
    both.graph().input[0].name = "input_ids".into();
    assert_eq!(found(folder.path(), &both, &settings()).unwrap().graph.input(), "pixel_values");
    let mixed = both.node("Add", &["input_ids", "pixel_values"], "mixed", &[]).output("mixed");
    let error =
        found(folder.path(), &mixed, &ModelSettings { output: "mixed".into(), ..settings() })
            .unwrap_err();
    assert!(error.contains("2 inputs"), "{error}");
}

#[test]
fn the_side_is_the_files_or_the_settings() {
    let folder = tempfile::tempdir().unwrap();
    let side = |draft: &Draft, input_size| {
        found(folder.path(), draft, &ModelSettings { input_size, ..settings() })
            .map(|found| found.graph.side())
    };
    let open = || Draft::new(&OPEN_SIDES).map().output("map").normalised();
    assert_eq!(
        (side(&open(), Auto::AUTO).unwrap(), side(&open(), Auto::Value(40)).unwrap()),
        (224, 40)
    );
    assert_eq!(side(&open().metadata("imgsz", "[96, 96]"), Auto::AUTO).unwrap(), 96);
    assert_eq!(side(&vector(), Auto::AUTO).unwrap(), 8);
    let error = side(&vector(), Auto::Value(40)).unwrap_err();
    assert!(error.contains("8 pixels wide and cannot be 40"), "{error}");
}

#[test]
fn the_normalisation_comes_from_settings_the_file_or_a_file_beside_it() {
    let folder = tempfile::tempdir().unwrap();
    let bare = || {
        let mut draft = Draft::new(&OPEN_SIDES).map().output("map");
        draft.model.producer_name = "pytorch".into();
        draft
    };
    let of = |draft: &Draft, settings: &ModelSettings| {
        found(folder.path(), draft, settings).map(|found| (found.mean, found.std))
    };
    let error = of(&bare(), &settings()).unwrap_err();
    assert!(
        error.contains("--set model.normalisation=imagenet") && error.contains("mean = ["),
        "{error}"
    );
    let imagenet = ModelSettings {
        normalisation: Normalisation::Named(NamedNormalisation::Imagenet),
        ..settings()
    };
    assert_eq!(of(&bare(), &imagenet).unwrap().0, [0.485, 0.456, 0.406]);
    let given = ModelSettings {
        normalisation: Normalisation::Fixed { mean: [0.1; 3], std: [0.7; 3] },
        ..settings()
    };
    assert_eq!(
        of(&bare().normalised(), &given).unwrap(),
        ([0.1; 3], [0.7; 3]),
        "the settings come first"
    );
    assert_eq!(
        of(&bare().metadata("author", "Ultralytics"), &settings()).unwrap(),
        ([0.0; 3], [1.0; 3])
    );
    let bytes = bare().metadata("mean", "[127.5, 127.5, 127.5]").metadata("std", "[51, 51, 51]");
    assert_eq!(of(&bytes, &settings()).unwrap(), ([0.5; 3], [0.2; 3]));

    let config = folder.path().join("preprocessor_config.json");
    let beside = |text: &str| {
        std::fs::write(&config, text).unwrap();
        found(folder.path(), &bare(), &settings())
            .map(|found| (found.mean, found.std, found.graph.side()))
    };
    let numbers = r#""image_mean": [0.5, 0.25, 0.125], "image_std": [0.5, 0.5, 0.25]"#;
    let (mean, std) = ([0.5, 0.25, 0.125], [0.5, 0.5, 0.25]);
    assert_eq!(
        beside(&format!(r#"{{{numbers}, "rescale_factor": 0.00392156862745098, "crop_size": {{"height": 48, "width": 48}}}}"#)).unwrap(),
        (mean, std, 48)
    );
    assert_eq!(
        beside(&format!(
            r#"{{{numbers}, "size": {{"shortest_edge": 32}}, "do_center_crop": false}}"#
        ))
        .unwrap(),
        (mean, std, 32)
    );
    // Numbers from −1 to 1 without a mean: 2 x / 255 − 1 = (x / 255 − 0.5) / 0.5.
    let twice = r#"{"image_mean": [1, 1, 1], "image_std": [1, 1, 1], "rescale_factor": 0.00784313725490196, "size": 16}"#;
    assert_eq!(beside(twice).unwrap(), ([0.5; 3], [0.5; 3], 16));
    assert_eq!(
        beside(r#"{"do_normalize": false, "size": {"longest_edge": 5}}"#).unwrap(),
        ([0.0; 3], [1.0; 3], 224)
    );
    for broken in [
        "{",
        r#"{"image_mean": [0.5]}"#,
        &format!(r#"{{{numbers}, "rescale_factor": 0}}"#),
        r#"{"image_mean": [0,0,0], "image_std": [0,1,1]}"#,
    ] {
        let error = beside(broken).unwrap_err();
        assert!(error.contains("preprocessor_config.json"), "{broken}: {error}");
    }
}

/// A chain in front of the features that makes a tensor of sizes out of the file alone.
fn with_constant(build: impl FnOnce(Draft) -> Draft) -> Draft {
    build(Draft::new(&CHANNELS_FIRST))
        .map()
        .node("ReduceMax", &["huge"], "one", &[("keepdims", &[0])])
        .node("Mul", &["map", "one"], "features", &[])
        .output("features")
        .normalised()
}

#[test]
fn hostile_files_are_refused_with_a_reason() {
    let folder = tempfile::tempdir().unwrap();
    assert!(found(folder.path(), &vector(), &settings()).is_ok());
    let edited = |edit: &dyn Fn(&mut Draft)| {
        let mut draft = vector();
        edit(&mut draft);
        draft
    };
    let input = |axes: &[Axis]| Draft::new(axes).map().output("map").normalised();
    let shape = |dims: &'static [i64]| {
        move |draft: Draft| {
            draft.ints("shape", &[dims.len() as i64], dims).node(
                "ConstantOfShape",
                &["shape"],
                "huge",
                &[],
            )
        }
    };
    let cases: Vec<(&str, Draft, &str)> = vec![
        ("loop", edited(&|d| d.graph().node[1].op_type = "Loop".into()), "`Loop`"),
        ("scan", edited(&|d| d.graph().node[1].op_type = "Scan".into()), "`Scan`"),
        ("if", edited(&|d| d.graph().node[1].op_type = "If".into()), "`If`"),
        (
            "random numbers",
            edited(&|d| d.graph().node[1].op_type = "RandomNormalLike".into()),
            "`RandomNormalLike`",
        ),
        (
            "vendor's operation",
            edited(&|d| d.graph().node[1].domain = "com.microsoft".into()),
            "com.microsoft",
        ),
        (
            "graph in a node",
            edited(&|d| {
                d.graph().node[0].attribute[0].g.mut_or_insert_default();
            }),
            "graph of its own",
        ),
        (
            "local function",
            edited(&|d| d.model.functions.push(Default::default())),
            "local functions",
        ),
        (
            "another file's data",
            edited(&|d| d.graph().initializer[0].external_data.push(Default::default())),
            "another file",
        ),
        ("cut short", edited(&|d| d.graph().initializer[0].dims[0] = 1 << 40), "damaged"),
        (
            "no number",
            edited(&|d| {
                d.graph().initializer[0].raw_data =
                    [f32::NAN.to_le_bytes(); FEATURES * 27].concat().into()
            }),
            "no numbers",
        ),
        (
            "axes named twice",
            Draft::new(&CHANNELS_FIRST)
                .map()
                .node("Transpose", &["map"], "output", &[("perm", &[1, 2, 1, 0])])
                .output("output"),
            "every axis once",
        ),
        ("computed twice", edited(&|d| d.graph().node[2].output[0] = "map".into()), "twice"),
        ("before it is there", edited(&|d| d.graph().node.reverse()), "before it is computed"),
        (
            "padding beyond memory",
            edited(&|d| d.graph().node[0].attribute[0].ints[0] = 1 << 40),
            "out of range",
        ),
        (
            "padding that fits no memory",
            edited(&|d| d.graph().node[0].attribute[0].ints = vec![1 << 20; 4]),
            "a tensor of",
        ),
        (
            "too wide",
            input(&[Axis::Is(1), Axis::Is(3), Axis::Is(100_000), Axis::Is(100_000)]),
            "100000 pixels wide",
        ),
        ("not square", input(&[Axis::Is(1), Axis::Is(3), Axis::Is(16), Axis::Is(8)]), "16 × 8"),
        ("grey", input(&[Axis::Is(1), Axis::Is(1), Axis::Is(8), Axis::Is(8)]), "three channels"),
        (
            "eight at once",
            input(&[Axis::Is(8), Axis::Is(3), Axis::Is(8), Axis::Is(8)]),
            "8 images at once",
        ),
        ("three axes", input(&[Axis::Is(3), Axis::Is(8), Axis::Is(8)]), "3 axes"),
        (
            "bytes",
            edited(&|d| {
                d.graph().input[0].type_.mut_or_insert_default().mut_tensor_type().elem_type = 2
            }),
            "not float32",
        ),
        (
            "five axes",
            vector()
                .ints("five", &[5], &[-1, 1, 1, 1, 6])
                .node("Reshape", &["features", "five"], "output", &[])
                .output("output"),
            "model.output",
        ),
        (
            "whole numbers",
            vector().node("Cast", &["features"], "output", &[("to", &[7])]).output("output"),
            "not float32",
        ),
        (
            "channels of a flat value",
            vector()
                .ints("flat", &[1], &[-1])
                .weights("scale", &[1])
                .node("Reshape", &["features", "flat"], "row", &[])
                .node(
                    "BatchNormalization",
                    &["row", "scale", "scale", "scale", "scale"],
                    "output",
                    &[],
                )
                .output("output"),
            "channels",
        ),
        ("huge constant", with_constant(shape(&[100_000, 100_000])), "10000000000 values"),
        ("overflowing constant", with_constant(shape(&[1 << 40, 1 << 40])), ""),
        (
            "sizes by arithmetic",
            with_constant(|draft| {
                draft.ints("a", &[2], &[256, 256]).node("Mul", &["a", "a"], "shape", &[]).node(
                    "ConstantOfShape",
                    &["shape"],
                    "huge",
                    &[],
                )
            }),
            "values",
        ),
        (
            "sizes of the input",
            with_constant(|draft| {
                draft
                    .node("Shape", &["pixel_values"], "sizes", &[])
                    .node("Mul", &["sizes", "sizes"], "squares", &[])
                    .node("Mul", &["squares", "squares"], "shape", &[])
                    .node("ConstantOfShape", &["shape"], "huge", &[])
            }),
            "values",
        ),
        (
            "outer sum",
            with_constant(|draft| {
                draft.weights("tall", &[30_000, 1]).weights("wide", &[1, 30_000]).node(
                    "Add",
                    &["tall", "wide"],
                    "huge",
                    &[],
                )
            }),
            "900000000 values",
        ),
        (
            "repeated",
            with_constant(|draft| {
                draft.weights("some", &[1000]).ints("times", &[1], &[1 << 30]).node(
                    "Tile",
                    &["some", "times"],
                    "huge",
                    &[],
                )
            }),
            "values",
        ),
        (
            "counting far",
            with_constant(|draft| {
                draft
                    .ints("from", &[], &[0])
                    .ints("to", &[], &[1 << 40])
                    .ints("step", &[], &[1])
                    .node("Range", &["from", "to", "step"], "count", &[])
                    .node("Cast", &["count"], "huge", &[("to", &[1])])
            }),
            "values",
        ),
        (
            "endless work",
            (0..3)
                .fold(
                    vector()
                        .node("ReduceMean", &["map"], "flat", &[("axes", &[1]), ("keepdims", &[1])])
                        .ints("times", &[4], &[1, 1, 2048, 2048])
                        .node("Tile", &["flat", "times"], "product0", &[]),
                    |draft, at| {
                        let [from, to] = [at, at + 1].map(|at| format!("product{at}"));
                        draft.node("MatMul", &[&from, "product0"], &to, &[])
                    },
                )
                .node("GlobalAveragePool", &["product3"], "output", &[])
                .output("output"),
            "multiplications",
        ),
        (
            "counting without a step",
            with_constant(|draft| {
                draft
                    .ints("from", &[], &[0])
                    .ints("to", &[], &[8])
                    .ints("step", &[], &[0])
                    .node("Range", &["from", "to", "step"], "count", &[])
                    .node("Cast", &["count"], "huge", &[("to", &[1])])
            }),
            "",
        ),
        (
            "enlarged",
            vector()
                .floats("none", &[0], vec![])
                .floats("scales", &[4], vec![1.0, 1.0, 1e5, 1e5])
                .node("Resize", &["map", "none", "scales"], "output", &[])
                .output("output"),
            "",
        ),
    ];
    for (name, mut draft, reason) in cases {
        // What is appended to the usual graph is what is to be looked at.
        if draft.graph().output.len() > 1 {
            draft.graph().output.remove(0);
        }
        let error = found(folder.path(), &draft, &settings())
            .err()
            .unwrap_or_else(|| panic!("{name} is taken"));
        assert!(error.contains(reason), "{name}: {error}");
    }
    for (bytes, reason) in [
        (Vec::new(), "empty"),
        (b"this is no model".to_vec(), "not an ONNX file"),
        (vector().bytes()[..200].to_vec(), ""),
    ] {
        let path = folder.path().join("model.onnx");
        std::fs::write(&path, bytes).unwrap();
        let error = OnnxFile::read(&path).unwrap_err().to_string();
        assert!(error.contains(reason) && error.contains("model.onnx"), "{error}");
    }
    assert!(OnnxFile::read(folder.path()).unwrap_err().to_string().contains("folder"));
    assert!(
        OnnxFile::read(&folder.path().join("none.onnx"))
            .unwrap_err()
            .to_string()
            .contains("none.onnx")
    );
}

#[test]
fn damage_anywhere_never_panics() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("model.onnx");
    let good = Draft::new(&ONE_IMAGE).tokens().output("tokens").normalised().bytes();
    for place in 0..good.len() {
        for flip in [0x01, 0x80] {
            let mut bytes = good.clone();
            bytes[place] ^= flip;
            std::fs::write(&path, bytes).unwrap();
            if let Ok(found) =
                OnnxFile::read(&path).and_then(|file| file.choose(settings().feature_choice()))
            {
                let side = found.graph.side();
                drop(found.graph.features(&vec![0.5; 3 * side * side]));
            }
        }
    }
}

#[test]
fn another_file_than_the_checkpoints_is_refused_by_both_hashes() {
    let folder = tempfile::tempdir().unwrap();
    let backbone = found(folder.path(), &vector(), &settings()).unwrap().graph.backbone();
    let other = vector().metadata("note", "another");
    let path = write(folder.path(), &other);
    let file = OnnxFile::read(&path).unwrap();
    let error = file.graph(backbone, SIDE).unwrap_err().to_string();
    let [asked, own] =
        [vector(), other].map(|draft| blake3::hash(&draft.bytes()).to_hex().to_string());
    assert!(
        error.contains(&asked) && error.contains(&own) && error.contains("model.onnx"),
        "{error}"
    );
    let own = OnnxBackbone { blake3: *blake3::hash(file.bytes()).as_bytes(), ..backbone };
    assert!(file.graph(own, SIDE).is_ok());
    for wrong in [
        OnnxBackbone { node: 99, ..own },
        OnnxBackbone { slot: 3, ..own },
        OnnxBackbone { features: 5, ..own },
        OnnxBackbone { features: 3, ..own },
        OnnxBackbone { taken: Taken::TokenMean, ..own },
    ] {
        assert!(file.graph(wrong, SIDE).is_err(), "{wrong}");
    }
    assert!(file.graph(own, 16).is_err() && file.graph(own, 0).is_err());
    for text in [
        "onnx",
        "onnx:6:2.0:vector",
        "onnx:0:2.0:vector:00",
        "onnx:6:2:vector:00",
        "onnx:6:2.0:other:00",
        "resnet20",
    ] {
        assert!(text.parse::<OnnxBackbone>().is_err(), "{text}");
    }
}
