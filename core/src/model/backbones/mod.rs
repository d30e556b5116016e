//! The backbones there are: one file a family, and the registry that settings, help, window,
//! benchmarks, export and inference read.
//!
//! `docs/extending.md` says how to add one.

mod block;
mod efficientnet_lite;
mod resnet;
mod torchvision;

use std::fmt;
use std::ops::RangeInclusive;
use std::str::FromStr;

use burn::module::Module;
use burn::tensor::Tensor;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use super::initial::Initial;
use super::layers::Pass;
use super::network::NetworkConfig;
use super::onnx::{self, OnnxBackbone};
use super::pretrained::{BuiltIn, Facts, Published};
use crate::kernels::PackedNetwork;
use crate::ops;
use efficientnet_lite::EfficientNetLite;
use resnet::ResNet;

/// What the program has to know of a backbone.
#[derive(Clone, Debug)]
pub struct BackboneInfo {
    /// The name used in settings: `resnet32` and so on.
    pub name: &'static str,
    /// What it is, in a few words.
    pub summary: &'static str,
    /// Length F of its feature vector.
    pub features: usize,
    /// Sides of the square input that it takes, in pixels.
    pub sides: RangeInclusive<usize>,
    /// Whether it leaves a choice of the layers before its first stage.
    pub has_stems: bool,
    /// Whether all of it can be trained from initial weights.
    pub trains: bool,
    /// Its pretrained weights that come with the program, where there are any.
    /// [`Backbone::pretrained`] knows of others, too.
    pub built_in: Option<&'static BuiltIn>,
    /// Its pretrained weights that can be downloaded, the recommended ones first.
    pub published: &'static [Published],
    /// ONNX operations that its exported graph is made of.
    pub operations: &'static [&'static str],
}

/// A backbone.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Backbone {
    /// 3 × 3 basic blocks of widths 16-32-64, 0.27 M parameters.
    ResNet20,
    /// 3 × 5 basic blocks, 0.46 M parameters.
    ResNet32,
    /// 3 × 7 basic blocks, 0.66 M parameters.
    ResNet44,
    /// 3 × 9 basic blocks, 0.85 M parameters.
    ResNet56,
    /// 2-2-2-2 basic blocks, 11 M parameters.
    ResNet18,
    /// 3-4-6-3 basic blocks, 21 M parameters.
    ResNet34,
    /// 3-4-6-3 bottleneck blocks, 24 M parameters.
    ResNet50,
    /// 3-4-6-3 bottleneck blocks with 3×3 convolutions in 32 groups of 4 channels and more (32x4d),
    /// 23 M parameters.
    ResNeXt50,
    /// Inverted residual blocks, 3.4 M parameters before the classifier; comes with ImageNet
    /// weights.
    EfficientNetLite0,
    /// The same a little deeper, 4.1 M parameters.
    EfficientNetLite1,
    /// The same a little deeper and wider, 4.8 M parameters.
    EfficientNetLite2,
    /// A feature extractor out of an ONNX file. It has no layers here;
    /// [`FeatureGraph`](super::FeatureGraph) runs it.
    Onnx(OnnxBackbone),
}

impl Backbone {
    /// Side, mean and standard deviation of the input that its published weights usually have been
    /// trained with: ImageNet's for most.
    pub fn usual_input(self) -> (usize, [f32; 3], [f32; 3]) {
        match self {
            Backbone::EfficientNetLite0
            | Backbone::EfficientNetLite1
            | Backbone::EfficientNetLite2 => efficientnet_lite::usual_input(self),
            _ => {
                let Facts { side, mean, std, .. } = Facts::imagenet("");
                (side, mean, std)
            }
        }
    }

    /// Every backbone of the program's own, those of a family together, smallest first.
    pub const ALL: [Backbone; 11] = [
        Backbone::ResNet20,
        Backbone::ResNet32,
        Backbone::ResNet44,
        Backbone::ResNet56,
        Backbone::ResNet18,
        Backbone::ResNet34,
        Backbone::ResNet50,
        Backbone::ResNeXt50,
        Backbone::EfficientNetLite0,
        Backbone::EfficientNetLite1,
        Backbone::EfficientNetLite2,
    ];

    /// The pretrained backbone that comes with the program.
    pub const BUILT_IN: Backbone = Backbone::EfficientNetLite0;

    /// Facts about it.
    pub fn info(self) -> BackboneInfo {
        match self {
            Backbone::ResNet20
            | Backbone::ResNet32
            | Backbone::ResNet44
            | Backbone::ResNet56
            | Backbone::ResNet18
            | Backbone::ResNet34
            | Backbone::ResNet50
            | Backbone::ResNeXt50 => resnet::info(self),
            Backbone::EfficientNetLite0
            | Backbone::EfficientNetLite1
            | Backbone::EfficientNetLite2 => efficientnet_lite::info(self),
            Backbone::Onnx(backbone) => BackboneInfo {
                name: "onnx",
                summary: "a feature extractor out of an ONNX file",
                features: backbone.features as usize,
                sides: onnx::SIDES,
                has_stems: false,
                trains: false,
                built_in: None,
                published: &[],
                operations: &[],
            },
        }
    }

    /// The feature extractor, if it comes out of an ONNX file.
    pub fn onnx(self) -> Option<OnnxBackbone> {
        match self {
            Backbone::Onnx(backbone) => Some(backbone),
            _ => None,
        }
    }

    /// The name used in settings: `resnet32` and so on; `onnx` for all that come out of files.
    pub fn name(self) -> &'static str {
        self.info().name
    }
}

impl fmt::Display for Backbone {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            // With all that tells it from others: texts are compared and kept.
            Backbone::Onnx(backbone) => backbone.fmt(f),
            _ => f.write_str(self.name()),
        }
    }
}

/// By the name of one of the program's own.
impl FromStr for Backbone {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let names = || Backbone::ALL.map(Backbone::name).join(", ");
        Backbone::ALL
            .into_iter()
            .find(|backbone| backbone.name() == text)
            .ok_or_else(|| format!("`{text}` is no backbone; there are {}", names()))
    }
}

impl Serialize for Backbone {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Backbone {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        let backbone =
            if text.starts_with("onnx:") { text.parse().map(Backbone::Onnx) } else { text.parse() };
        backbone.map_err(serde::de::Error::custom)
    }
}

/// The layers of a backbone of any family.
#[derive(Module, Debug)]
#[expect(clippy::large_enum_variant, reason = "there is one of them a network")]
pub(super) enum Layers {
    /// Residual networks.
    ResNet(ResNet),
    /// EfficientNet-Lite.
    EfficientNetLite(EfficientNetLite),
}

impl Layers {
    /// With initial weights.
    ///
    /// # Panics
    /// For a feature extractor out of an ONNX file.
    pub fn new(config: &NetworkConfig, initial: &Initial<'_>) -> Self {
        match config.backbone {
            Backbone::EfficientNetLite0
            | Backbone::EfficientNetLite1
            | Backbone::EfficientNetLite2 => {
                Layers::EfficientNetLite(EfficientNetLite::new(config, initial))
            }
            Backbone::Onnx(_) => {
                panic!("a feature extractor out of an ONNX file has no layers to make")
            }
            _ => Layers::ResNet(ResNet::new(config, initial)),
        }
    }

    /// `[batch, 3, side, side]` to `[batch, features]`: every family's features are the mean of its
    /// last feature map.
    pub fn features(&self, images: Tensor<4>, pass: Pass<'_>) -> Tensor<2> {
        ops::average_pool(self.last_map(images, pass), pass.computing.kernels)
    }

    /// The last feature map: `[batch, 3, side, side]` to `[batch, features, h, w]`.
    pub fn last_map(&self, images: Tensor<4>, pass: Pass<'_>) -> Tensor<4> {
        match self {
            Layers::ResNet(layers) => layers.last_map(images, pass),
            Layers::EfficientNetLite(layers) => layers.last_map(images, pass),
        }
    }

    /// Its weights for the CPU's kernels of whole networks, where there are such for the family.
    #[expect(clippy::unnecessary_wraps, reason = "a family need not have such kernels")]
    pub fn packed(&self) -> Option<Box<dyn PackedNetwork>> {
        match self {
            Layers::ResNet(layers) => Some(Box::new(layers.packed())),
            Layers::EfficientNetLite(layers) => Some(Box::new(layers.packed())),
        }
    }

    /// Multiply-adds of each convolution for one image of this side, in the order in which they are
    /// computed.
    pub fn convolutions(&self, side: usize) -> Vec<u64> {
        let mut counted = Vec::new();
        match self {
            Layers::ResNet(layers) => layers.count(side, &mut counted),
            Layers::EfficientNetLite(layers) => layers.count(side, &mut counted),
        }
        counted
    }
}

#[cfg(test)]
mod tests {
    use burn::tensor::Device;

    use super::*;
    use crate::model::{Mode, Network};
    use crate::settings::{Preset, Settings, Stem};

    /// A place that was forgotten for a backbone fails here.
    #[test]
    fn the_registry_is_true_of_every_backbone() {
        let device = Device::flex();
        for backbone in Backbone::ALL {
            let info = backbone.info();
            assert_eq!(info.name.parse(), Ok(backbone));
            assert_eq!(
                Backbone::ALL.iter().filter(|other| other.name() == info.name).count(),
                1,
                "{backbone}"
            );
            let settings =
                Settings::preset(Preset::Quick).with("model.backbone", info.name).unwrap();
            assert_eq!(settings.model.backbone, backbone);
            let side = *info.sides.start();
            let config = NetworkConfig {
                backbone,
                stem: NetworkConfig::stem_for(side),
                input_size: side,
                classes: 3,
            };
            let network = Network::new(&config, 0, &device);
            let features =
                network.features(Tensor::<4>::ones([2, 3, side, side], &device), Mode::Evaluate);
            assert_eq!(features.dims(), [2, info.features], "{backbone}");
            assert!(
                network.convolutions(side).iter().all(|&multiply_adds| multiply_adds > 0),
                "{backbone}"
            );
            if info.built_in.is_some() {
                let pretrained = backbone.pretrained_in(None).unwrap();
                let facts = &pretrained.facts;
                assert!(
                    info.sides.contains(&facts.side)
                        && facts.licence.is_some()
                        && facts.source.starts_with("https://")
                );
                Network::with_weights(&config, &pretrained, 0, &device).unwrap();
            }
            for published in info.published {
                assert!(
                    published.address().starts_with("https://") && !published.licence.is_empty()
                );
                assert!(info.sides.contains(&224) && published.stem.is_some() == info.has_stems);
            }
            if info.has_stems {
                let [small, large] = [Stem::Small, Stem::Imagenet].map(|stem| {
                    Network::new(&NetworkConfig { stem, ..config }, 0, &device).convolutions(64)
                });
                assert_ne!(small, large, "{backbone}");
            }
        }
        assert!(Backbone::BUILT_IN.info().built_in.is_some());
        assert!("resnet".parse::<Backbone>().unwrap_err().contains("resnet20"));
    }
}
