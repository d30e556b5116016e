//! Files that are added by hand.

use std::collections::HashMap;
use std::io::Write;
use std::path::Path;

use burn::tensor::Device;
use safetensors::serialize;
use safetensors::tensor::{Dtype, TensorView};

use super::{archive, behind, pickle, state, torch, written};
use crate::model::weights::NamedTensor;
use crate::model::{
    Addition, Backbone, BuiltIn, Fit, Network, NetworkConfig, Origin, WeightsFile, WeightsFolder,
    is_of_classifier, weights,
};
use crate::words::Stem;

const RESNET20: (Backbone, Stem) = (Backbone::ResNet20, Stem::Imagenet);

fn safetensors(tensors: &[NamedTensor]) -> Vec<u8> {
    let bytes: Vec<Vec<u8>> = tensors
        .iter()
        .map(|tensor| tensor.values.iter().flat_map(|value| value.to_le_bytes()).collect())
        .collect();
    let view = |(tensor, bytes): (&NamedTensor, _)| {
        (tensor.name.clone(), TensorView::new(Dtype::F32, tensor.shape.clone(), bytes).unwrap())
    };
    serialize(
        tensors.iter().zip(bytes.iter().map(Vec::as_slice)).map(view),
        None::<HashMap<String, String>>,
    )
    .unwrap()
}

fn add(
    folder: &Path,
    backbone: Option<Backbone>,
    file: &Path,
) -> Result<crate::model::Kept, String> {
    WeightsFolder::in_folder(folder.join("backbones"))
        .add(backbone, file, &Addition::default())
        .map_err(|error| error.to_string())
}

#[test]
fn weights_are_found_behind_whatever_stands_before_and_after_them() {
    let folder = tempfile::tempdir().unwrap();
    let store = WeightsFolder::in_folder(folder.path().join("backbones"));
    let config =
        NetworkConfig { backbone: RESNET20.0, stem: RESNET20.1, input_size: 32, classes: 5 };
    assert!(store.find(Backbone::ResNet20).unwrap().is_none());
    assert!(
        Backbone::ResNet20
            .pretrained_in(Some(&store))
            .unwrap_err()
            .contains("backbones add resnet20")
    );
    assert!(
        Backbone::ResNet50
            .pretrained_in(Some(&store))
            .unwrap_err()
            .contains("backbones get resnet50")
    );

    let head = |mut tensors: Vec<NamedTensor>| {
        tensors.retain(|tensor| !is_of_classifier(&tensor.name));
        tensors.push(NamedTensor {
            name: "projector.0.weight".into(),
            shape: vec![2, 64],
            values: vec![1.0; 128],
        });
        tensors
    };
    let counters = |mut tensors: Vec<NamedTensor>| {
        tensors.push(NamedTensor {
            name: "module.bn1.num_batches_tracked".into(),
            shape: vec![],
            values: vec![3.0],
        });
        tensors
    };
    let before_seed_1 = state(RESNET20.0, RESNET20.1, 1);
    // The second encoder of two has other values, and stands behind the first.
    let two = [
        behind("encoder_k.", state(RESNET20.0, RESNET20.1, 9)),
        behind("a.", state(RESNET20.0, RESNET20.1, 5)),
    ]
    .concat();
    let files = [
        (torch(&before_seed_1), 1, ""),
        (torch(&counters(behind("module.", state(RESNET20.0, RESNET20.1, 2)))), 2, "module."),
        (
            safetensors(&behind("state_dict.backbone.", head(state(RESNET20.0, RESNET20.1, 3)))),
            3,
            "state_dict.backbone.",
        ),
        (safetensors(&behind("_", state(RESNET20.0, RESNET20.1, 4))), 4, "_"),
        (torch(&two), 5, "a."),
    ];
    for (index, (bytes, seed, prefix)) in files.into_iter().enumerate() {
        let file = written(folder.path(), &format!("{index}.bin"), &bytes);
        for backbone in [Some(Backbone::ResNet20), None] {
            let kept = add(folder.path(), backbone, &file).unwrap();
            assert_eq!(
                (kept.fit.backbone, kept.fit.stem, kept.fit.prefix.as_str()),
                (RESNET20.0, Some(RESNET20.1), prefix),
                "{index}"
            );
            assert_eq!(kept.fit.taken, before_seed_1.len() - 2);
            assert!(kept.fit.left.iter().all(|name| !name.contains("num_batches_tracked")));
        }
        let found = store.find(Backbone::ResNet20).unwrap().unwrap();
        assert_eq!(
            (found.origin, found.facts.licence_words(), found.facts.side),
            (Origin::Added, "unknown", 224)
        );
        let network = Network::with_weights(&config, &found, 7, &Device::flex()).unwrap();
        let expected = state(RESNET20.0, RESNET20.1, seed);
        for tensor in weights(&network).iter().filter(|tensor| !is_of_classifier(&tensor.name)) {
            assert_eq!(Some(tensor), expected.iter().find(|other| other.name == tensor.name));
        }
        // Another stem is another network.
        let small = NetworkConfig { stem: Stem::Small, ..config };
        assert!(
            Network::with_weights(&small, &found, 7, &Device::flex())
                .unwrap_err()
                .contains("conv1.weight")
        );
        // The old file is gone, the document and the new one are there.
        assert_eq!(std::fs::read_dir(store.folder()).unwrap().count(), 2);
    }
}

#[test]
fn what_is_said_of_weights_is_kept_with_them() {
    let folder = tempfile::tempdir().unwrap();
    let store = WeightsFolder::in_folder(folder.path().join("backbones"));
    let file = written(folder.path(), "own.pth", &torch(&state(RESNET20.0, Stem::Small, 1)));
    let addition = Addition {
        licence: Some("MIT".into()),
        side: Some(32),
        normalisation: Some(([0.1, 0.2, 0.3], [0.7, 0.8, 0.9])),
    };
    let kept = store.add(None, &file, &addition).unwrap();
    let found = store.find(Backbone::ResNet20).unwrap().unwrap();
    assert_eq!(found.facts, kept.facts);
    assert_eq!(
        (found.facts.licence_words(), found.facts.side, found.facts.stem),
        ("MIT", 32, Some(Stem::Small))
    );
    assert_eq!((found.facts.mean, found.facts.std), ([0.1, 0.2, 0.3], [0.7, 0.8, 0.9]));
    assert!(
        found.facts.source.ends_with("own.pth")
            && found.facts.sha256.is_some_and(|hash| hash.len() == 64)
    );
    for wrong in [
        Addition { side: Some(4), ..addition.clone() },
        Addition { normalisation: Some(([0.0; 3], [0.0; 3])), ..addition.clone() },
        Addition { normalisation: Some(([f32::NAN; 3], [1.0; 3])), ..addition },
    ] {
        assert!(store.add(None, &file, &wrong).is_err(), "{wrong:?}");
    }
    assert_eq!(
        store.find(Backbone::ResNet20).unwrap().unwrap().facts.licence_words(),
        "MIT",
        "what was there stays"
    );
}

#[test]
fn files_that_do_not_fit_say_what_does_not() {
    let folder = tempfile::tempdir().unwrap();
    let refused = |backbone, tensors: &[NamedTensor]| {
        let file = written(folder.path(), "file.pth", &torch(tensors));
        let error = add(folder.path(), backbone, &file).unwrap_err();
        assert!(error.contains("file.pth") && !folder.path().join("backbones").exists(), "{error}");
        error
    };
    let whole = || state(RESNET20.0, RESNET20.1, 1);
    let mut missing = whole();
    missing.retain(|tensor| tensor.name != "layer2.1.bn2.running_var");
    for backbone in [Some(Backbone::ResNet20), None] {
        let error = refused(backbone, &missing);
        assert!(
            error.contains("layer2.1.bn2.running_var") && error.contains("1 tensors are missing"),
            "{error}"
        );
    }
    let mut shape = whole();
    shape[0].shape = vec![16, 3, 49, 1];
    let error = refused(Some(Backbone::ResNet20), &shape);
    assert!(
        error.contains("conv1.weight is [16, 3, 49, 1] and should be [16, 3, 7, 7]"),
        "{error}"
    );
    // A deeper network has all that a shallower one needs.
    let error = refused(Some(Backbone::ResNet20), &state(Backbone::ResNet32, Stem::Small, 1));
    assert!(error.contains("too many") && error.contains("layer1.3"), "{error}");
    for value in [f32::NAN, f32::INFINITY] {
        let mut values = whole();
        values[3].values[1] = value;
        let error = refused(None, &values);
        assert!(error.contains(&values[3].name) && error.contains("NaN or infinite"), "{error}");
    }
    let mut variance = whole();
    variance.iter_mut().find(|tensor| tensor.name == "bn1.running_var").unwrap().values[2] = -0.5;
    assert!(refused(None, &variance).contains("variances below 0"));
    assert!(
        refused(None, &[NamedTensor { name: "a".into(), shape: vec![1], values: vec![1.0] }])
            .contains("no backbone")
    );
}

#[test]
fn hostile_files_are_refused_by_name() {
    let folder = tempfile::tempdir().unwrap();
    let tensors = state(RESNET20.0, RESNET20.1, 1);
    let good = torch(&tensors);
    let storage = vec![0; 16];
    let of = |pickle: &[u8]| archive(&[("a/data.pkl", pickle), ("a/data/0", &storage)]);
    let one = |shape: Vec<usize>, count: usize| {
        pickle(&[NamedTensor { name: "conv1.weight".into(), shape, values: vec![0.0; count] }])
    };
    let header = |length: u64, text: &[u8]| [&length.to_le_bytes()[..], text].concat();
    // Deflated, a gigabyte is a megabyte; what a zip bomb states is looked at before anything is
    // unpacked.
    let mut packed = flate2::write::DeflateEncoder::new(Vec::new(), flate2::Compression::fast());
    packed.write_all(&vec![0; 1 << 20]).unwrap();
    let packed = packed.finish().unwrap();
    let mut bomb = archive(&[("a/data.pkl", &packed)]);
    let directory = bomb.windows(4).position(|bytes| bytes == b"PK\x01\x02").unwrap();
    bomb[directory + 10] = 8;
    bomb[directory + 24..directory + 28].copy_from_slice(&(1_u32 << 30).to_le_bytes());
    let mut many = archive(&[("a/data.pkl", b"}.")]);
    let end = many.len() - 22;
    many[end + 10..end + 12].copy_from_slice(&60_000_u16.to_le_bytes());
    let mut elsewhere = good.clone();
    let end = elsewhere.len() - 22;
    elsewhere[end + 16..end + 20].copy_from_slice(&0xffff_fff0_u32.to_le_bytes());
    let mut flipped = good.clone();
    flipped[good.len() / 2] ^= 1;
    let nested = [&b"\x80\x02"[..], &b"(".repeat(5_000_000), b"."].concat();
    let own_child = b"\x80\x02}q\x00X\x01\x00\x00\x00ah\x00s.";
    // A dictionary of two that are the same dictionary of two, and so on: 2^30 paths in a few
    // bytes.
    let mut doubled = b"\x80\x02}q\x00".to_vec();
    for depth in 0_u8..30 {
        doubled.extend(
            [
                &b"}(X\x01\x00\x00\x00ah"[..],
                &[depth],
                b"X\x01\x00\x00\x00bh",
                &[depth],
                b"uq",
                &[depth + 1],
            ]
            .concat(),
        );
    }
    doubled.push(b'.');
    let cases: Vec<(&str, Vec<u8>, &str)> = vec![
        ("empty", Vec::new(), "empty"),
        ("text", b"Lorem ipsum dolor sit amet".to_vec(), "neither"),
        ("half", good[..good.len() / 2].to_vec(), "truncated"),
        ("flipped", flipped, "checksum"),
        ("foreign zip", archive(&[("photo.jpg", b"x")]), "not one of PyTorch's"),
        ("bomb", bomb, "compressed"),
        ("many entries", many, "damaged"),
        ("directory elsewhere", elsewhere, "damaged"),
        ("twice", archive(&[("a/data.pkl", b"}."), ("a/data.pkl", b"}.")]), "two entries"),
        ("call", of(b"\x80\x02cos\nsystem\nX\x0e\x00\x00\x00touch executed\x85R."), "no tensors"),
        ("call of an instance", of(b"(S'touch executed'\nios\nsystem\n."), "opcode 0x69"),
        (
            "storage missing",
            archive(&[("a/data.pkl", &one(vec![4], 4))]),
            "the storage 0 is missing",
        ),
        ("storage short", of(&one(vec![5], 5)), "should have 20"),
        ("shape beyond its storage", of(&one(vec![4, 2], 4)), "more than its storage holds"),
        (
            "shape beyond any memory",
            of(&one(vec![1 << 30, 1 << 30, 1 << 30], 4)),
            "more than its storage holds",
        ),
        ("marks", of(&nested), "more than"),
        ("its own child", of(own_child), "no tensors"),
        ("doubled", of(&doubled), "no tensors"),
        ("big endian", archive(&[("a/data.pkl", b"}."), ("a/byteorder", b"big")]), "big-endian"),
        ("safetensors header", header(1 << 60, b"{\"a\":"), "header"),
        ("safetensors header within the file", header(5, b"{\"a\":"), "safetensors"),
        (
            "safetensors offsets",
            header(
                64,
                b"{\"a\":{\"dtype\":\"F32\",\"shape\":[99999999],\"data_offsets\":[0,399999996]}}",
            ),
            "safetensors",
        ),
        (
            "older, nothing else",
            b"\x80\x02\x8a\x0a\x6c\xfc\x9c\x46\xf9\x20\x6a\xa8\x50\x19.\x80\x02M\xe9\x03.".to_vec(),
            "ends early",
        ),
    ];
    for (name, bytes, reason) in cases {
        let file = written(folder.path(), &format!("{name}.pth"), &bytes);
        let error = add(folder.path(), None, &file).expect_err(name);
        assert!(error.contains(reason) && error.contains(name), "{name}: {error}");
    }
    assert!(!folder.path().join("executed").exists() && !Path::new("executed").exists());
    let error = add(folder.path(), None, folder.path()).unwrap_err();
    assert!(error.contains("folder"), "{error}");
    assert!(
        add(folder.path(), None, &folder.path().join("none.pth")).unwrap_err().contains("none.pth")
    );
    #[cfg(unix)]
    for (link, target) in
        [("loop.pth", "loop.pth"), ("zero.pth", "/dev/zero"), ("away.pth", "nowhere")]
    {
        std::os::unix::fs::symlink(target, folder.path().join(link)).unwrap();
        assert!(add(folder.path(), None, &folder.path().join(link)).unwrap_err().contains(link));
    }
    let sparse = std::fs::File::create(folder.path().join("sparse.pth")).unwrap();
    sparse.set_len(1 << 40).unwrap();
    assert!(
        add(folder.path(), None, &folder.path().join("sparse.pth")).unwrap_err().contains("bytes")
    );
    assert!(!folder.path().join("backbones").exists(), "nothing is kept");
}

#[test]
fn a_call_beside_the_tensors_is_told_and_not_made() {
    let folder = tempfile::tempdir().unwrap();
    let tensors = state(RESNET20.0, RESNET20.1, 1);
    let mut calling = pickle(&tensors);
    calling.truncate(calling.len() - 2);
    calling.extend(b"X\x01\x00\x00\x00xcposix\nsystem\nX\x0e\x00\x00\x00touch executed\x85Ru.");
    let bytes: Vec<Vec<u8>> = tensors
        .iter()
        .map(|tensor| tensor.values.iter().flat_map(|value| value.to_le_bytes()).collect())
        .collect();
    let names: Vec<String> = (0..bytes.len()).map(|key| format!("data/{key}")).collect();
    let mut entries: Vec<(&str, &[u8])> = vec![("data.pkl", &calling)];
    entries.extend(names.iter().map(String::as_str).zip(bytes.iter().map(Vec::as_slice)));
    let file = written(folder.path(), "calling.pth", &archive(&entries));
    let kept = add(folder.path(), None, &file).unwrap();
    assert_eq!(kept.calls, ["posix.system"]);
    assert!(!Path::new("executed").exists());
}

#[test]
fn no_flipped_byte_panics() {
    let folder = tempfile::tempdir().unwrap();
    let small: Vec<NamedTensor> = ["a.weight", "b"]
        .map(|name| NamedTensor { name: name.into(), shape: vec![2, 2], values: vec![0.5; 4] })
        .into();
    for good in [torch(&small), safetensors(&small)] {
        for at in 0..good.len() {
            let mut bytes = good.clone();
            for change in [0x01, 0x10, 0x80, 0xff] {
                bytes[at] = good[at] ^ change;
                let file = written(folder.path(), "flipped", &bytes);
                if let Ok(file) = WeightsFile::open(&file) {
                    // Shapes are compared before anything is read.
                    drop(Fit::of(&file, Some(Backbone::ResNet20)));
                    let names: Vec<String> = file
                        .names()
                        .filter(|(_, shape)| shape.iter().product::<usize>() < 100)
                        .map(|(name, _)| name.into())
                        .collect();
                    names.iter().for_each(|name| drop(file.read(name, name)));
                }
            }
        }
        for length in 0..good.len() {
            let file = written(folder.path(), "short", &good[..length]);
            assert!(WeightsFile::open(&file).is_err(), "the first {length} bytes");
        }
    }
}

#[test]
fn a_classifier_is_found_by_its_shape() {
    let folder = tempfile::tempdir().unwrap();
    let renamed = |names: [&str; 2]| {
        let rename = |tensor: NamedTensor| match tensor.name.as_str() {
            "fc.weight" => NamedTensor { name: names[0].into(), ..tensor },
            "fc.bias" => NamedTensor { name: names[1].into(), ..tensor },
            _ => tensor,
        };
        state(RESNET20.0, RESNET20.1, 1).into_iter().map(rename).collect::<Vec<_>>()
    };
    let read = |tensors: &[NamedTensor], classes| {
        let file = WeightsFile::open(&written(folder.path(), "net.pth", &torch(tensors))).unwrap();
        Fit::of(&file, None)
            .unwrap()
            .read_classifier(&file, classes)
            .map_err(|error| error.to_string())
    };
    let expected =
        state(RESNET20.0, RESNET20.1, 1).split_off(state(RESNET20.0, RESNET20.1, 1).len() - 2);
    for names in [
        ["fc.weight", "fc.bias"],
        ["classifier.1.weight", "classifier.1.bias"],
        ["head.weight", "head.bias"],
    ] {
        assert_eq!(
            read(&behind("model.", renamed(names)), 3).unwrap().as_slice(),
            expected.as_slice()
        );
    }
    assert!(
        read(&renamed(["fc.weight", "fc.bias"]), 4)
            .unwrap_err()
            .contains("3 classes, and the dataset has 4")
    );
    let [_, bias] = read(&renamed(["fc.weight", "unrelated"]), 3).unwrap();
    assert_eq!((bias.shape.as_slice(), bias.values.as_slice()), (&[3][..], &[0.0; 3][..]));
    assert!(read(&renamed(["fc.bias.x", "fc.bias"]), 3).unwrap_err().contains("no classifier"));
    let mut two = renamed(["one.weight", "one.bias"]);
    two.push(NamedTensor { name: "two.weight".into(), shape: vec![3, 64], values: vec![0.0; 192] });
    assert!(read(&two, 3).unwrap_err().contains("several"));
}

#[test]
fn damaged_weights_are_refused_by_name() {
    for backbone in Backbone::ALL {
        let Some(built_in) = backbone.info().built_in else { continue };
        let pretrained = backbone.pretrained_in(None).unwrap();
        assert!(
            pretrained
                .weights()
                .unwrap()
                .iter()
                .flat_map(|tensor| &tensor.values)
                .all(|value| value.is_finite())
        );
        let middle = built_in.bytes.len() / 2;
        let mut flipped = built_in.bytes.to_vec();
        flipped[middle] ^= 1;
        for bytes in [flipped, built_in.bytes[..middle].to_vec(), Vec::new()] {
            let damaged =
                BuiltIn { bytes: bytes.leak(), facts: built_in.facts.clone(), ..*built_in };
            assert!(damaged.weights().unwrap_err().contains(built_in.file));
        }
    }
    // The same of weights that were added, and of what is written about them.
    let folder = tempfile::tempdir().unwrap();
    let file = written(folder.path(), "net.pth", &torch(&state(RESNET20.0, RESNET20.1, 1)));
    add(folder.path(), None, &file).unwrap();
    let store = WeightsFolder::in_folder(folder.path().join("backbones"));
    let document = store.folder().join("resnet20.json");
    let whole = std::fs::read(&document).unwrap();
    let found = store.find(Backbone::ResNet20).unwrap().unwrap();
    let kept = std::fs::read_dir(store.folder())
        .unwrap()
        .flatten()
        .map(|entry| entry.path())
        .find(|path| path != &document)
        .unwrap();
    let bytes = std::fs::read(&kept).unwrap();
    std::fs::write(&kept, &bytes[..bytes.len() - 4]).unwrap();
    assert!(found.weights().unwrap_err().contains(kept.file_name().unwrap().to_str().unwrap()));
    std::fs::remove_file(&kept).unwrap();
    assert!(found.weights().unwrap_err().contains("get or add"));
    for damaged in [
        &b"{"[..],
        b"",
        &vec![b' '; 1 << 17],
        &String::from_utf8(whole.clone()).unwrap().replace("resnet20", "resnet32").into_bytes(),
    ] {
        std::fs::write(&document, damaged).unwrap();
        assert!(store.find(Backbone::ResNet20).unwrap_err().to_string().contains("resnet20.json"));
    }
    let elsewhere = String::from_utf8(whole).unwrap().replace("resnet20-", "../../resnet20-");
    std::fs::write(&document, elsewhere).unwrap();
    assert!(Backbone::ResNet20.pretrained_in(Some(&store)).unwrap_err().contains("resnet20.json"));
}
