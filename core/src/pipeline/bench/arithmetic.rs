//! How much a network computes.

use crate::model::{NamedTensor, Network, NetworkConfig, weights};
use crate::settings::Stem;

/// Multiply-adds of one image's forward pass through the convolutions and the classifier of a network of `config`; everything else (batch
/// norm, ReLU, pooling) is too little to count.
///
/// A convolution with a weight of shape [out, in, k, k] and an output of h × h takes out · in · k² · h² of them. A stride of 2 makes h half
/// of what it was, rounded up: in the stem of ImageNet's networks twice, and in the first block of every stage after the first.
pub fn multiply_adds(network: &Network, config: &NetworkConfig) -> u64 {
    let half = |side: usize| side.div_ceil(2);
    let stem = if config.stem == Stem::Imagenet { half(config.input_size) } else { config.input_size };
    let first = if config.stem == Stem::Imagenet { half(stem) } else { stem };
    // Sides of the output of each stage.
    let sides = [first, half(first), half(half(first)), half(half(half(first)))];
    let tensors = weights(network);
    let bottleneck = tensors.iter().any(|tensor| tensor.name == "layer1.0.conv3.weight");
    let side = |tensor: &NamedTensor| -> usize {
        let Some(rest) = tensor.name.strip_prefix("layer") else { return if tensor.shape.len() == 4 { stem } else { 1 } };
        let stage = rest.bytes().next().map_or(1, |digit| usize::from(digit.wrapping_sub(b'0')));
        // The stride of a bottleneck is its second convolution's, so the first still works at the side before.
        let before = bottleneck && rest.get(1..) == Some(".0.conv1.weight");
        sides[stage.clamp(1, 4) - if before && stage > 1 { 2 } else { 1 }]
    };
    let layers = tensors.iter().filter(|tensor| tensor.shape.len() == 4 || tensor.name == "fc.weight");
    layers.map(|tensor| (tensor.shape.iter().product::<usize>() * side(tensor).pow(2)) as u64).sum()
}

/// Floating-point operations, two a multiply-add, of a training step's forward and backward pass for one image: the forward pass, as many for the
/// gradient of every layer's input, and as many for that of its weight. The first convolution's input needs no gradient.
pub fn training_operations(network: &Network, config: &NetworkConfig) -> u64 {
    let first = weights(network).into_iter().find(|tensor| tensor.name == "conv1.weight");
    let side = if config.stem == Stem::Imagenet { config.input_size.div_ceil(2) } else { config.input_size };
    let first = first.map_or(0, |tensor| (tensor.shape.iter().product::<usize>() * side * side) as u64);
    2 * (3 * multiply_adds(network, config) - first)
}

#[cfg(test)]
mod tests {
    use burn::tensor::Device;

    use super::*;
    use crate::settings::Backbone;

    #[test]
    fn networks_take_what_is_published_of_them() {
        // Torchvision's GFLOPs (which count multiply-adds) for ImageNet, and those of the CIFAR networks of He et al.
        let published = [
            (Backbone::ResNet18, Stem::Imagenet, 224, 1000, 1.814e9),
            (Backbone::ResNet34, Stem::Imagenet, 224, 1000, 3.664e9),
            (Backbone::ResNet50, Stem::Imagenet, 224, 1000, 4.089e9),
            (Backbone::ResNet20, Stem::Small, 32, 10, 40.8e6),
            (Backbone::ResNet56, Stem::Small, 32, 10, 125.5e6),
        ];
        for (backbone, stem, input_size, classes, expected) in published {
            let config = NetworkConfig { backbone, stem, input_size, classes };
            let network = Network::new(&config, 0, &Device::flex());
            let found = multiply_adds(&network, &config);
            assert!((found as f64 / expected - 1.0).abs() < 0.02, "{backbone}: {found} {expected}");
            let training = training_operations(&network, &config);
            assert!(training < 6 * found && training > 5 * found, "{backbone}: {training} {found}");
        }
    }
}
