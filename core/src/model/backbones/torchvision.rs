//! torchvision's ImageNet weights of residual networks.

use super::Backbone;
use crate::model::Published;
use crate::words::Stem;

/// What its publisher says of the weights' licence.
const LICENCE: &str = "not stated: torchvision's code is BSD-3-Clause, and nothing is said of its weights, which were trained on ImageNet's images";

/// `v1` is trained as the networks' authors did it, `v2` for longer and with stronger
/// regularisation. Such training gives better classifiers of ImageNet, and features that are worse
/// for other classes (Kornblith, Chen, Lee and Norouzi, *Why Do Better Loss Functions Lead to Less
/// Transferable Features?*, 2021), so `v1` comes first.
const RESNET18: &[Published] = &[published(
    "v1",
    "resnet18-f37072fd.pth",
    46_830_571,
    "f37072fd47e89c5e827621c5baffa7500819f7896bbacec160b1a16c560e07ec",
    0.698,
)];
const RESNET34: &[Published] = &[published(
    "v1",
    "resnet34-b627a593.pth",
    87_319_819,
    "b627a593bcbe140c234610266fe4f8ae95ea42fc881d091c9b6052e6b1d0590f",
    0.733,
)];
const RESNET50: &[Published] = &[
    published(
        "v1",
        "resnet50-0676ba61.pth",
        102_530_333,
        "0676ba61b6795bbe1773cffd859882e5e297624d384b6993f7c9e683e722fb8a",
        0.761,
    ),
    published(
        "v2",
        "resnet50-11ad3fa6.pth",
        102_540_417,
        "11ad3fa62ca79e40addfd354a8ec4b7c75143b3038b8d2a807fbc68deab379ca",
        0.809,
    ),
];
/// Of these no more is known of the SHA-256 than the file's name says; the whole of it is noted when
/// they are first fetched. The SHA-512 is that of MLPerf's benchmark of training detectors, which
/// begins from these weights.
const RESNEXT50: &[Published] = &[
    Published {
        sha512: Some(
            "15c9f0bc1c8d64750712f86ffaded3b0bc6a87e77a395dcda3013d8af65b7ebf3ca1c24dd3aae60c0d83e510b4d27731f0526b6f9392c0a85ffc18e5fecd8a13",
        ),
        ..published("v1", "resnext50_32x4d-7cdf4587.pth", 100_441_675, "7cdf4587", 0.776)
    },
    Published {
        bytes: None,
        ..published("v2", "resnext50_32x4d-1a0047aa.pth", 0, "1a0047aa", 0.812)
    },
];

/// The weights that there are of a backbone.
pub(super) fn weights(backbone: Backbone) -> &'static [Published] {
    match backbone {
        Backbone::ResNet18 => RESNET18,
        Backbone::ResNet34 => RESNET34,
        Backbone::ResNet50 => RESNET50,
        Backbone::ResNeXt50 => RESNEXT50,
        _ => &[],
    }
}

const fn published(
    version: &'static str,
    file: &'static str,
    bytes: u64,
    sha256: &'static str,
    top1: f64,
) -> Published {
    Published {
        version,
        publisher: "torchvision",
        folder: "https://download.pytorch.org/models/",
        file,
        bytes: Some(bytes),
        sha256,
        sha512: None,
        top1,
        licence: LICENCE,
        stem: Some(Stem::Imagenet),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_begin_the_hashes_of_their_files() {
        for backbone in Backbone::ALL {
            for published in weights(backbone) {
                let digits = published.file.rsplit(['-', '.']).nth(1).unwrap();
                assert_eq!(digits, &published.sha256[..8], "{}", published.file);
                assert!(
                    [8, 64].contains(&published.sha256.len())
                        && published.sha256.bytes().all(|digit| digit.is_ascii_hexdigit())
                );
                assert!(published.sha512.is_none_or(|long| {
                    long.len() == 128 && long.bytes().all(|digit| digit.is_ascii_hexdigit())
                }));
                assert!(published.file.starts_with(backbone.name()));
            }
        }
    }
}
