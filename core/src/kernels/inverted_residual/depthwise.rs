//! The depthwise convolution of planes.
#![expect(
    unsafe_code,
    reason = "vector instructions, and addresses checked before a loop instead of in it"
)]
#![expect(
    clippy::needless_range_loop,
    reason = "loops with constant bounds over small arrays become registers"
)]

use super::super::simd::{Kernel, Simd};
use super::pack::PackedDepthwise;
use super::planes::Planes;
use super::pointwise::relu6;

/// ReLU6 of a depthwise convolution of some rows of pixels.
pub(super) struct Depthwise<'a> {
    pub weights: &'a PackedDepthwise,
    /// The vectors of channels to compute; the first of them is the first plane.
    pub vectors: std::ops::Range<usize>,
    pub layout: Planes,
    pub planes: &'a [f32],
    /// For every output row, where its rows of the kernel start in a plane.
    pub rows: &'a [[usize; 5]],
    pub stride: usize,
    /// Pixels in an output row.
    pub width: usize,
    /// `[rows, width, vectors, lanes]`, overwritten.
    pub to: &'a mut [f32],
}

impl Kernel for Depthwise<'_> {
    type Output = ();

    #[inline(always)]
    unsafe fn run<S: Simd>(mut self) {
        // SAFETY: `dispatch` entered a function for S.
        unsafe {
            match (self.weights.kernel, self.stride) {
                (3, 1) => planes::<S, 3, 1>(&mut self),
                (3, 2) => planes::<S, 3, 2>(&mut self),
                (5, 1) => planes::<S, 5, 1>(&mut self),
                (5, 2) => planes::<S, 5, 2>(&mut self),
                _ => unreachable!("kernels are 3 or 5, strides 1 or 2"),
            }
        }
    }
}

#[inline(always)]
unsafe fn planes<S: Simd, const K: usize, const STRIDE: usize>(task: &mut Depthwise<'_>) {
    let (width, plane, row) = (task.width, task.layout.plane(), task.layout.row());
    let step = task.vectors.len() * S::LANES;
    assert!(task.layout.lanes == S::LANES && row >= ((width - 1) * STRIDE + K) * S::LANES);
    assert!(task.rows.iter().all(|rows| rows[..K].iter().all(|start| start + row <= plane)));
    assert!(
        task.to.len() >= task.rows.len() * width * step
            && task.planes.len() >= task.vectors.len() * plane
    );
    for (index, vector) in task.vectors.clone().enumerate() {
        let weight = &task.weights.weight[vector * K * K * S::LANES..][..K * K * S::LANES];
        let bias = &task.weights.bias[vector * S::LANES..][..S::LANES];
        for (out_row, starts) in task.rows.iter().enumerate() {
            // SAFETY: rows are as long as the last window reaches and lie in the planes; `to` has a
            // vector for each pixel.
            unsafe {
                let mut rows = [task.planes.as_ptr().add(index * plane); K];
                for k in 0..K {
                    rows[k] = rows[k].add(starts[k]);
                }
                let to = task.to.as_mut_ptr().add(out_row * width * step + index * S::LANES);
                let (weight, bias) = (weight.as_ptr(), S::load(bias.as_ptr()));
                match width {
                    width if width >= 8 && width % 7 != 0 => {
                        walk::<S, K, STRIDE, 8>(rows, weight, bias, width, to, step)
                    }
                    width if width >= 7 => {
                        walk::<S, K, STRIDE, 7>(rows, weight, bias, width, to, step)
                    }
                    width if width >= 4 => {
                        walk::<S, K, STRIDE, 4>(rows, weight, bias, width, to, step)
                    }
                    width => walk::<S, K, STRIDE, 1>(rows, weight, bias, width, to, step),
                }
            }
        }
    }
}

/// A row of pixels, P at a time. The last group ends with the row: what it shares with the one
/// before it is computed twice.
#[inline(always)]
unsafe fn walk<S: Simd, const K: usize, const STRIDE: usize, const P: usize>(
    rows: [*const f32; K],
    weight: *const f32,
    bias: S::V,
    width: usize,
    to: *mut f32,
    step: usize,
) {
    for group in 0..width.div_ceil(P) {
        let pixel = (group * P).min(width - P);
        // SAFETY: the caller's; a group ends with the row at the latest.
        unsafe {
            let mut sums = [bias; P];
            for ky in 0..K {
                let row = rows[ky].add(pixel * STRIDE * S::LANES);
                for kx in 0..K {
                    let w = S::load(weight.add((ky * K + kx) * S::LANES));
                    for p in 0..P {
                        sums[p] =
                            S::fma(S::load(row.add((p * STRIDE + kx) * S::LANES)), w, sums[p]);
                    }
                }
            }
            for p in 0..P {
                S::store(to.add((pixel + p) * step), relu6::<S>(sums[p]));
            }
        }
    }
}
