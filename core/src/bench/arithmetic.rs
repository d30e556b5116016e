//! How much a network computes.

use crate::model::{Network, NetworkConfig};

/// Multiply-adds of one image's forward pass through the convolutions and the classifier of a
/// network of `config`; everything else (batch norm, activations, pooling) is too little to count.
pub fn multiply_adds(network: &Network, config: &NetworkConfig) -> u64 {
    network.convolutions(config.input_size).iter().sum::<u64>()
        + (config.features() * config.classes) as u64
}

/// Floating-point operations, two a multiply-add, of a training step's forward and backward pass
/// for one image: the forward pass, as many for the gradient of every layer's input, and as many
/// for that of its weight. The first convolution's input needs no gradient.
pub fn training_operations(network: &Network, config: &NetworkConfig) -> u64 {
    let first = network.convolutions(config.input_size).first().copied().unwrap_or_default();
    2 * (3 * multiply_adds(network, config) - first)
}

#[cfg(test)]
mod tests {
    use burn::tensor::Device;

    use super::*;
    use crate::settings::{Backbone, Stem};

    #[test]
    fn networks_take_what_is_published_of_them() {
        // Torchvision's GFLOPs (which count multiply-adds) for ImageNet, and those of the CIFAR
        // networks of He et al.
        let published = [
            (Backbone::ResNet18, Stem::Imagenet, 224, 1000, 1.814e9),
            (Backbone::ResNet34, Stem::Imagenet, 224, 1000, 3.664e9),
            (Backbone::ResNet50, Stem::Imagenet, 224, 1000, 4.089e9),
            (Backbone::ResNeXt50, Stem::Imagenet, 224, 1000, 4.230e9),
            (Backbone::ResNet20, Stem::Small, 32, 10, 40.8e6),
            (Backbone::ResNet56, Stem::Small, 32, 10, 125.5e6),
            // The EfficientNet-Lite authors' millions of multiply-adds.
            (Backbone::EfficientNetLite0, Stem::Imagenet, 224, 1000, 407e6),
            (Backbone::EfficientNetLite1, Stem::Imagenet, 240, 1000, 631e6),
            (Backbone::EfficientNetLite2, Stem::Imagenet, 260, 1000, 899e6),
        ];
        for (backbone, stem, input_size, classes, expected) in published {
            let config = NetworkConfig { backbone, stem, input_size, classes };
            let network = Network::new(&config, 0, &Device::flex());
            let found = multiply_adds(&network, &config);
            assert!((found as f64 / expected - 1.0).abs() < 0.06, "{backbone}: {found} {expected}");
            let training = training_operations(&network, &config);
            assert!(training < 6 * found && training > 5 * found, "{backbone}: {training} {found}");
        }
    }
}
