//! Features of images by a network of residual blocks: ResNet and ResNeXt, at inference.
//!
//! The weights are packed once, and the last convolution of a block adds to the memory that the
//! block's input or its shortcut lies in where it can: the widest images of a network would
//! otherwise pass through the caches three times.

use super::activation::Activation;
use super::buffer::Buffer;
use super::conv::PackedConv;
use super::network::PackedNetwork;
use super::pooling::{PoolShape, average_pool, max_pool};

/// Images that go through the network together. The late layers have more weights than pixels, and
/// read each weight for all of these; of the early layers more images would only fill the caches.
const TOGETHER: usize = 16;

/// A residual block (He et al., 2016): convolutions one after the other, with ReLU after each, and
/// what is added before the last ReLU.
pub struct PackedBlock {
    /// Two or three.
    pub convs: Vec<PackedConv>,
    /// The convolution of the block's input that is added; without one, the input itself is.
    pub shortcut: Option<PackedConv>,
}

/// A ResNet without its classifier.
pub struct PackedResiduals {
    stem: PackedConv,
    /// Whether max-pooling of 3×3 windows, two pixels apart, follows the stem.
    pools: bool,
    blocks: Vec<PackedBlock>,
}

impl PackedResiduals {
    /// A stem for three colours, after which the largest value of 3×3 windows may be taken, and
    /// blocks.
    ///
    /// # Panics
    /// If a convolution does not take the channels that the one before gives.
    pub fn new(stem: PackedConv, pools: bool, blocks: Vec<PackedBlock>) -> Self {
        assert_eq!(stem.input(), 3, "images have three colours");
        let mut channels = stem.output();
        for block in &blocks {
            let output = block.convs.iter().fold(channels, |channels, conv| {
                assert_eq!(conv.input(), channels, "the convolutions of a block fit each other");
                conv.output()
            });
            let added = block.shortcut.as_ref().map_or(channels, |shortcut| {
                assert_eq!(shortcut.input(), channels, "a shortcut takes what the block takes");
                shortcut.output()
            });
            assert_eq!(added, output, "what is added has the block's shape");
            channels = output;
        }
        Self { stem, pools, blocks }
    }

    /// The features of some images.
    fn together(&self, images: &[f32], side: usize, features: &mut [f32]) {
        let mut x = self.stem.forward(images, [side; 2], None, Activation::Relu);
        let mut size = self.stem.out_size([side; 2]);
        if self.pools {
            let [height, width] = size;
            let batch = images.len() / (side * side * 3);
            let shape = PoolShape {
                batch,
                height,
                width,
                channels: self.stem.output(),
                kernel: 3,
                stride: 2,
                padding: 1,
            };
            size = [shape.out_height(), shape.out_width()];
            let mut y = Buffer::take(batch * size[0] * size[1] * shape.channels);
            let mut chosen = vec![0; y.len()];
            max_pool(&shape, &x, &mut y, &mut chosen);
            x = y;
        }
        for block in &self.blocks {
            (x, size) = block.forward(x, size);
        }
        average_pool(&x, size[0] * size[1], self.features_len(), features);
    }
}

impl PackedBlock {
    /// `[batch, height, width, in]`, height and width being `size`, to the output and its height
    /// and width.
    fn forward(&self, x: Buffer, size: [usize; 2]) -> (Buffer, [usize; 2]) {
        let (last, convs) = self.convs.split_last().expect("a block has convolutions");
        let mut between: Option<Buffer> = None;
        let mut at = size;
        for conv in convs {
            between =
                Some(conv.forward(between.as_deref().unwrap_or(&x), at, None, Activation::Relu));
            at = conv.out_size(at);
        }
        let residual = match &self.shortcut {
            Some(shortcut) => shortcut.forward(&x, size, None, Activation::None),
            None => x,
        };
        let y = last.forward(
            &between.expect("a block has two convolutions or more"),
            at,
            Some(residual),
            Activation::Relu,
        );
        (y, last.out_size(at))
    }
}

impl PackedNetwork for PackedResiduals {
    fn features_len(&self) -> usize {
        self.blocks
            .last()
            .and_then(|block| block.convs.last())
            .map_or(self.stem.output(), PackedConv::output)
    }

    fn features(&self, images: &[f32], side: usize, features: &mut [f32]) {
        self.images(images, side, features);
        let some = images
            .chunks(TOGETHER * side * side * 3)
            .zip(features.chunks_mut(TOGETHER * self.features_len()));
        some.for_each(|(images, features)| self.together(images, side, features));
    }
}
