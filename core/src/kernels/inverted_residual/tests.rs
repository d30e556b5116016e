//! Against plain loops, on small networks.

use super::*;

/// Numbers between −1 and 1 that look random.
struct Numbers(u64);

impl Numbers {
    fn next(&mut self) -> f32 {
        self.0 = self.0.wrapping_mul(6364136223846793005).wrapping_add(1442695040888963407);
        (self.0 >> 40) as f32 / (1 << 23) as f32 - 1.0
    }

    fn many(&mut self, len: usize, scale: f32) -> Vec<f32> {
        (0..len).map(|_| scale * self.next()).collect()
    }

    /// Weights large enough that some outputs pass 6.
    fn conv(&mut self, output: usize, input: usize, kernel: usize) -> FoldedConv {
        let depth = input * kernel * kernel;
        FoldedConv {
            weight: self.many(output * depth, 4.0 / (depth as f32).sqrt()),
            bias: self.many(output, 1.0),
        }
    }
}

struct Network {
    stem: FoldedConv,
    blocks: Vec<FoldedBlock>,
    head: FoldedConv,
}

impl Network {
    /// Of the stem's channels and the blocks' (expanded channels, output channels, kernel, stride);
    /// the first expands nothing.
    fn new(stem: usize, blocks: &[(usize, usize, usize, usize)], head: usize) -> Self {
        let mut numbers = Numbers(1);
        let mut input = stem;
        let stem = numbers.conv(stem, 3, 3);
        let block = |(index, &(expanded, output, kernel, stride)): (
            usize,
            &(usize, usize, usize, usize),
        )| {
            let expand = (index > 0).then(|| numbers.conv(expanded, input, 1));
            input = output;
            let (depthwise, project) =
                (numbers.conv(expanded, 1, kernel), numbers.conv(output, expanded, 1));
            FoldedBlock { expand, depthwise, project, kernel, stride }
        };
        let blocks = blocks.iter().enumerate().map(block).collect();
        Self { stem, blocks, head: numbers.conv(head, input, 1) }
    }

    fn packed(&self, set: InstructionSet) -> PackedInvertedResiduals {
        PackedInvertedResiduals::new(set, &self.stem, &self.blocks, &self.head)
    }

    /// The features of one image.
    fn naive(&self, image: &[f32], side: usize) -> Vec<f32> {
        let (mut x, mut side) = convolve(image, side, 3, &self.stem, 3, 2, false);
        relu6(&mut x);
        let mut channels = self.stem.bias.len();
        for block in &self.blocks {
            let (mut y, mut inner) = (x.clone(), channels);
            if let Some(expand) = &block.expand {
                y = convolve(&y, side, channels, expand, 1, 1, false).0;
                relu6(&mut y);
                inner = expand.bias.len();
            }
            let (mut y, out_side) =
                convolve(&y, side, inner, &block.depthwise, block.kernel, block.stride, true);
            relu6(&mut y);
            let (mut y, _) = convolve(&y, out_side, inner, &block.project, 1, 1, false);
            if block.stride == 1 && block.project.bias.len() == channels {
                y.iter_mut().zip(&x).for_each(|(y, x)| *y += x);
            }
            (x, side, channels) = (y, out_side, block.project.bias.len());
        }
        let (mut x, _) = convolve(&x, side, channels, &self.head, 1, 1, false);
        relu6(&mut x);
        let features = self.head.bias.len();
        (0..features)
            .map(|feature| {
                x[feature..].iter().step_by(features).sum::<f32>() / (side * side) as f32
            })
            .collect()
    }
}

fn relu6(x: &mut [f32]) {
    x.iter_mut().for_each(|x| *x = if x.is_nan() { *x } else { x.clamp(0.0, 6.0) });
}

/// A convolution with SAME padding of an image `[side, side, channels]`, and its side.
fn convolve(
    x: &[f32],
    side: usize,
    channels: usize,
    conv: &FoldedConv,
    kernel: usize,
    stride: usize,
    depthwise: bool,
) -> (Vec<f32>, usize) {
    let (out_side, output) = (side.div_ceil(stride), conv.bias.len());
    let before = ((out_side - 1) * stride + kernel).saturating_sub(side) / 2;
    let depth = if depthwise { 1 } else { channels };
    let mut y = Vec::new();
    for (row, column) in
        (0..out_side).flat_map(|row| (0..out_side).map(move |column| (row, column)))
    {
        for out in 0..output {
            let mut sum = f64::from(conv.bias[out]);
            for (ky, kx) in (0..kernel).flat_map(|ky| (0..kernel).map(move |kx| (ky, kx))) {
                let (r, c) = (
                    (row * stride + ky).wrapping_sub(before),
                    (column * stride + kx).wrapping_sub(before),
                );
                if r < side && c < side {
                    let pixel = &x[(r * side + c) * channels..][..channels];
                    for d in 0..depth {
                        let x = pixel[if depthwise { out } else { d }];
                        sum += f64::from(
                            x * conv.weight[(out * depth + d) * kernel * kernel + ky * kernel + kx],
                        );
                    }
                }
            }
            y.push(sum as f32);
        }
    }
    (y, out_side)
}

/// Both kernels with both strides, with and without skips, and channels that do and do not fill
/// vectors.
fn small() -> Network {
    let blocks = [
        (32, 16, 3, 1),
        (96, 24, 3, 2),
        (144, 24, 3, 1),
        (50, 40, 5, 2),
        (200, 40, 5, 1),
        (75, 37, 3, 1),
        (100, 37, 5, 1),
    ];
    Network::new(32, &blocks, 67)
}

#[test]
fn features_are_those_of_plain_loops() {
    let network = small();
    for side in [1, 2, 5, 32, 33, 47, 64, 75] {
        let image = Numbers(side as u64).many(side * side * 3, 2.0);
        let naive = network.naive(&image, side);
        for set in InstructionSet::available() {
            let packed = network.packed(set);
            let mut features = vec![f32::NAN; packed.features_len()];
            packed.features(&image, side, &mut features);
            for (feature, (found, expected)) in features.iter().zip(&naive).enumerate() {
                assert!(
                    (found - expected).abs() < 2e-4,
                    "{set:?}, side {side}, feature {feature}: {found}, not {expected}"
                );
            }
        }
    }
}

#[test]
fn wide_images_go_through_in_strips() {
    let network = Network::new(7, &[(7, 5, 5, 1), (9, 5, 5, 1), (11, 8, 5, 2), (20, 8, 3, 1)], 5);
    for side in [150, 163] {
        let image = Numbers(side as u64).many(side * side * 3, 2.0);
        let naive = network.naive(&image, side);
        for set in InstructionSet::available() {
            let mut features = vec![f32::NAN; 5];
            network.packed(set).features(&image, side, &mut features);
            let error = features
                .iter()
                .zip(&naive)
                .map(|(found, expected)| (found - expected).abs())
                .fold(0.0, f32::max);
            assert!(error < 2e-4, "{set:?}, side {side}: {error}");
        }
    }
}

#[test]
fn neither_threads_nor_other_images_change_a_bit() {
    let network = small();
    let side = 45;
    let images = Numbers(5).many(5 * side * side * 3, 2.0);
    for set in InstructionSet::available() {
        let packed = network.packed(set);
        let of = |images: &[f32], threads: usize| {
            let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
            let mut features = vec![0.0; images.len() / (side * side * 3) * packed.features_len()];
            pool.install(|| packed.features(images, side, &mut features));
            features.into_iter().map(f32::to_bits).collect::<Vec<u32>>()
        };
        let alone: Vec<u32> =
            images.chunks(side * side * 3).flat_map(|image| of(image, 1)).collect();
        for threads in 1..=3 {
            assert_eq!(of(&images, threads), alone, "{set:?} on {threads} threads");
        }
    }
}

#[test]
fn what_is_no_number_is_not_hidden() {
    let network = small();
    let mut image = vec![0.5; 32 * 32 * 3];
    image[1000] = f32::NAN;
    for set in InstructionSet::available() {
        let packed = network.packed(set);
        let mut features = vec![0.0; packed.features_len()];
        packed.features(&image, 32, &mut features);
        assert!(features.iter().all(|feature| feature.is_nan()), "{set:?}");
    }
}

#[test]
#[should_panic(expected = "takes what the one before gives")]
fn blocks_that_do_not_fit_are_refused() {
    let mut network = small();
    network.blocks.remove(1);
    network.packed(InstructionSet::best());
}
