//! Residual blocks (He et al., 2016).

use burn::module::Module;
use burn::tensor::Tensor;

use crate::kernels::PackedBlock;
use crate::model::initial::Initial;
use crate::model::layers::{BatchNorm, Conv2d, Pass};
use crate::ops::{Activation, Fork, Residual};

/// Channels of a bottleneck block's output over its width.
pub(super) const EXPANSION: usize = 4;

/// A residual block: two 3×3 convolutions, or (with a third convolution) the bottleneck 1×1, 3×3,
/// 1×1.
#[derive(Module, Debug)]
pub(in crate::model) struct Block {
    conv1: Conv2d,
    bn1: BatchNorm,
    conv2: Conv2d,
    bn2: BatchNorm,
    conv3: Option<Conv2d>,
    bn3: Option<BatchNorm>,
    downsample: Option<(Conv2d, BatchNorm)>,
}

impl Block {
    pub fn basic(
        initial: &Initial<'_>,
        name: &str,
        input: usize,
        width: usize,
        stride: usize,
    ) -> Self {
        Self {
            conv1: Conv2d::kaiming(
                initial,
                &format!("{name}.conv1.weight"),
                [input, width],
                3,
                stride,
            ),
            bn1: BatchNorm::new(initial, width),
            conv2: Conv2d::kaiming(initial, &format!("{name}.conv2.weight"), [width, width], 3, 1),
            bn2: BatchNorm::new(initial, width),
            conv3: None,
            bn3: None,
            downsample: downsample(initial, name, input, width, stride),
        }
    }

    /// The stride sits on the 3×3 convolution, as in torchvision, and so do the groups.
    pub fn bottleneck(
        initial: &Initial<'_>,
        name: &str,
        [input, middle, output]: [usize; 3],
        groups: usize,
        stride: usize,
    ) -> Self {
        Self {
            conv1: Conv2d::kaiming(initial, &format!("{name}.conv1.weight"), [input, middle], 1, 1),
            bn1: BatchNorm::new(initial, middle),
            conv2: Conv2d::grouped(
                initial,
                &format!("{name}.conv2.weight"),
                [middle; 2],
                groups,
                3,
                stride,
            ),
            bn2: BatchNorm::new(initial, middle),
            conv3: Some(Conv2d::kaiming(
                initial,
                &format!("{name}.conv3.weight"),
                [middle, output],
                1,
                1,
            )),
            bn3: Some(BatchNorm::new(initial, output)),
            downsample: downsample(initial, name, input, output, stride),
        }
    }

    /// `[batch, in, h, w]` to `[batch, out, h / stride, w / stride]`.
    pub fn forward(&self, x: Tensor<4>, pass: Pass<'_>) -> Tensor<4> {
        let (fork, skip) = match &self.downsample {
            Some((conv, bn)) => {
                let fork = Fork::downsampling();
                let tensor =
                    conv.with_norm(bn, x.clone(), Some(fork.clone()), None, Activation::None, pass);
                (fork, Residual { tensor, fork: None })
            }
            None => {
                let fork = Fork::around();
                (fork.clone(), Residual { tensor: x.clone(), fork: Some(fork) })
            }
        };
        let y = self.conv1.with_norm(&self.bn1, x, Some(fork), None, Activation::Relu, pass);
        match (&self.conv3, &self.bn3) {
            (Some(conv3), Some(bn3)) => {
                let y = self.conv2.with_norm(&self.bn2, y, None, None, Activation::Relu, pass);
                conv3.with_norm(bn3, y, None, Some(skip), Activation::Relu, pass)
            }
            _ => self.conv2.with_norm(&self.bn2, y, None, Some(skip), Activation::Relu, pass),
        }
    }

    /// The weights for the CPU's kernels.
    pub fn packed(&self) -> PackedBlock {
        let mut convs = vec![self.conv1.packed(&self.bn1), self.conv2.packed(&self.bn2)];
        convs.extend(
            self.conv3.as_ref().zip(self.bn3.as_ref()).map(|(conv, norm)| conv.packed(norm)),
        );
        PackedBlock {
            convs,
            shortcut: self.downsample.as_ref().map(|(conv, norm)| conv.packed(norm)),
        }
    }

    /// Adds the multiply-adds of its convolutions for one image of this side; returns the side of
    /// its output.
    pub fn count(&self, side: usize, counted: &mut Vec<u64>) -> usize {
        if let Some((conv, _)) = &self.downsample {
            conv.count(side, counted);
        }
        let convs = [Some(&self.conv1), Some(&self.conv2), self.conv3.as_ref()];
        convs.into_iter().flatten().fold(side, |side, conv| conv.count(side, counted))
    }
}

fn downsample(
    initial: &Initial<'_>,
    name: &str,
    input: usize,
    output: usize,
    stride: usize,
) -> Option<(Conv2d, BatchNorm)> {
    (stride != 1 || input != output).then(|| {
        let conv = Conv2d::kaiming(
            initial,
            &format!("{name}.downsample.0.weight"),
            [input, output],
            1,
            stride,
        );
        (conv, BatchNorm::new(initial, output))
    })
}
