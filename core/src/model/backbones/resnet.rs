//! Residual networks (He et al., *Deep Residual Learning for Image Recognition*, 2016), and ResNeXt
//! (Xie et al., *Aggregated Residual Transformations for Deep Neural Networks*, 2017), whose 3×3
//! convolutions are in groups.
//!
//! Parameters are named as torchvision names them.

use burn::module::Module;
use burn::tensor::Tensor;

use super::block::{Block, EXPANSION};
use super::{Backbone, BackboneInfo, torchvision};
use crate::kernels::PackedResiduals;
use crate::model::initial::Initial;
use crate::model::layers::{BatchNorm, Conv2d, Pass};
use crate::model::network::NetworkConfig;
use crate::ops::{self, Activation};
use crate::words::Stem;

/// Facts about a residual network.
pub(super) fn info(backbone: Backbone) -> BackboneInfo {
    let (name, summary) = match backbone {
        Backbone::ResNet20 => ("resnet20", "for small images, 0.27 M parameters"),
        Backbone::ResNet32 => ("resnet32", "for small images, 0.46 M parameters"),
        Backbone::ResNet44 => ("resnet44", "for small images, 0.66 M parameters"),
        Backbone::ResNet56 => ("resnet56", "for small images, 0.85 M parameters"),
        Backbone::ResNet18 => ("resnet18", "11 M parameters"),
        Backbone::ResNet34 => ("resnet34", "21 M parameters, the paper's"),
        Backbone::ResNet50 => ("resnet50", "24 M parameters"),
        _ => ("resnext50", "23 M parameters, convolutions in 32 groups"),
    };
    let plan = plan(backbone);
    BackboneInfo {
        name,
        summary,
        features: plan.widths[plan.widths.len() - 1] * if plan.bottleneck { EXPANSION } else { 1 },
        sides: 8..=512,
        has_stems: true,
        trains: true,
        built_in: None,
        published: torchvision::weights(backbone),
        operations: &["Add", "Conv", "GlobalAveragePool", "MaxPool", "Relu"],
    }
}

struct Plan {
    /// Of blocks' outputs; a bottleneck block multiplies them.
    widths: &'static [usize],
    blocks: &'static [usize],
    bottleneck: bool,
    /// Channels of the middle of a bottleneck block over its width.
    middle: usize,
    /// Groups of the 3×3 convolution there.
    groups: usize,
}

fn plan(backbone: Backbone) -> Plan {
    const NARROW: &[usize] = &[16, 32, 64];
    const WIDE: &[usize] = &[64, 128, 256, 512];
    let (widths, blocks, bottleneck): (_, &[usize], _) = match backbone {
        Backbone::ResNet20 => (NARROW, &[3, 3, 3], false),
        Backbone::ResNet32 => (NARROW, &[5, 5, 5], false),
        Backbone::ResNet44 => (NARROW, &[7, 7, 7], false),
        Backbone::ResNet56 => (NARROW, &[9, 9, 9], false),
        Backbone::ResNet18 => (WIDE, &[2, 2, 2, 2], false),
        Backbone::ResNet34 => (WIDE, &[3, 4, 6, 3], false),
        _ => (WIDE, &[3, 4, 6, 3], true),
    };
    // 32 groups of 4 channels for every 64 of the width.
    let (middle, groups) = if backbone == Backbone::ResNeXt50 { (2, 32) } else { (1, 1) };
    Plan { widths, blocks, bottleneck, middle, groups }
}

/// The layers of a residual network. Those of three stages have no `layer4`.
#[derive(Module, Debug)]
pub(in crate::model) struct ResNet {
    conv1: Conv2d,
    bn1: BatchNorm,
    layer1: Vec<Block>,
    layer2: Vec<Block>,
    layer3: Vec<Block>,
    layer4: Vec<Block>,
    #[module(skip)]
    max_pool: bool,
}

impl ResNet {
    /// With initial weights as PyTorch's for the paper's networks: convolutions Kaiming normal with
    /// fan-out, batch norm 1 and 0, the replaced small stem PyTorch's layer default.
    pub fn new(config: &NetworkConfig, initial: &Initial<'_>) -> Self {
        let plan = plan(config.backbone);
        let first = plan.widths[0];
        let conv1 = match config.stem {
            Stem::Small => {
                Conv2d::new(initial.layer_default("conv1.weight", [first, 3, 3, 3], 3 * 9), 1)
            }
            Stem::Imagenet => Conv2d::kaiming(initial, "conv1.weight", [3, first], 7, 2),
        };
        let mut channels = first;
        let mut layer = |stage: usize| -> Vec<Block> {
            let (Some(&width), Some(&count)) = (plan.widths.get(stage), plan.blocks.get(stage))
            else {
                return Vec::new();
            };
            (0..count)
                .map(|index| {
                    let name = format!("layer{}.{index}", stage + 1);
                    let stride = if stage > 0 && index == 0 { 2 } else { 1 };
                    let input = channels;
                    channels = if plan.bottleneck { width * EXPANSION } else { width };
                    match plan.bottleneck {
                        true => Block::bottleneck(
                            initial,
                            &name,
                            [input, width * plan.middle, channels],
                            plan.groups,
                            stride,
                        ),
                        false => Block::basic(initial, &name, input, width, stride),
                    }
                })
                .collect()
        };
        let (layer1, layer2, layer3, layer4) = (layer(0), layer(1), layer(2), layer(3));
        Self {
            conv1,
            bn1: BatchNorm::new(initial, first),
            layer1,
            layer2,
            layer3,
            layer4,
            max_pool: config.stem == Stem::Imagenet,
        }
    }

    /// The last feature map: `[batch, 3, side, side]` to `[batch, features, h, w]`.
    pub fn last_map(&self, images: Tensor<4>, pass: Pass<'_>) -> Tensor<4> {
        let mut x = self.conv1.with_norm(&self.bn1, images, None, None, Activation::Relu, pass);
        if self.max_pool {
            x = ops::max_pool(x, pass.computing.kernels);
        }
        for block in self.layer1.iter().chain(&self.layer2).chain(&self.layer3).chain(&self.layer4)
        {
            x = block.forward(x, pass);
        }
        x
    }

    /// The weights for the CPU's kernels.
    pub fn packed(&self) -> PackedResiduals {
        let blocks = self.layer1.iter().chain(&self.layer2).chain(&self.layer3).chain(&self.layer4);
        PackedResiduals::new(
            self.conv1.packed(&self.bn1),
            self.max_pool,
            blocks.map(Block::packed).collect(),
        )
    }

    /// Adds the multiply-adds of every convolution for one image of this side.
    pub fn count(&self, side: usize, counted: &mut Vec<u64>) {
        let mut side = self.conv1.count(side, counted);
        if self.max_pool {
            side = side.div_ceil(2);
        }
        for block in self.layer1.iter().chain(&self.layer2).chain(&self.layer3).chain(&self.layer4)
        {
            side = block.count(side, counted);
        }
    }
}
