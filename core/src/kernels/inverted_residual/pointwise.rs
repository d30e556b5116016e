//! The products of an inverted residual block: 1×1 convolutions and the stem, in blocks of pixels
//! by vectors of output channels.
//!
//! Every sum starts with its bias and goes through the depth in order, whatever the block that it
//! is in; so pixels can be grouped freely.
#![expect(
    unsafe_code,
    reason = "vector instructions, and addresses checked before a loop instead of in it"
)]
#![expect(
    clippy::needless_range_loop,
    reason = "loops with constant bounds over small arrays become registers"
)]

use super::super::conv::block::{Block, accumulate};
use super::super::simd::{Kernel, Simd};
use super::pack::{Columns, PackedMatrix};
use super::planes::Planes;

/// Divides pixels into groups of `most` or one less, as far as there are enough: first pixel and
/// number of each.
fn groups(pixels: usize, most: usize) -> impl Iterator<Item = (usize, usize)> {
    let groups = pixels.div_ceil(most);
    (0..groups).map(move |group| {
        let first = group * pixels / groups;
        (first, (group + 1) * pixels / groups - first)
    })
}

/// Calls a function for so many vectors of columns, with the most pixels M whose sums fit the
/// registers, and with L = M − 1.
macro_rules! for_vectors {
    ($set:ident, $vectors:expr, $function:ident$([$more:ident])?($($argument:expr),*)) => {
        match ($set::REGISTERS >= 32, $vectors) {
            (true, 1) => $function::<$set, 14, 13, 1$(, $more)?>($($argument),*),
            (true, 2) => $function::<$set, 12, 11, 2$(, $more)?>($($argument),*),
            (true, 3) => $function::<$set, 8, 7, 3$(, $more)?>($($argument),*),
            (true, 4) => $function::<$set, 6, 5, 4$(, $more)?>($($argument),*),
            (false, 1) => $function::<$set, 12, 11, 1$(, $more)?>($($argument),*),
            (false, 2) => $function::<$set, 6, 5, 2$(, $more)?>($($argument),*),
            (false, 3) => $function::<$set, 4, 3, 3$(, $more)?>($($argument),*),
            _ => unreachable!("no block of columns has more vectors"),
        }
    };
}

/// Loads N vectors of the bias for each pixel.
#[inline(always)]
unsafe fn biases<S: Simd, const M: usize, const N: usize>(bias: &[f32]) -> Block<S, M, N> {
    assert!(bias.len() >= N * S::LANES);
    // SAFETY: there are N vectors.
    unsafe {
        let mut sums = [[S::splat(0.0); N]; M];
        for n in 0..N {
            let bias = S::load(bias.as_ptr().add(n * S::LANES));
            for m in 0..M {
                sums[m][n] = bias;
            }
        }
        sums
    }
}

/// The value, at least 0 and at most 6; what is no number stays.
#[inline(always)]
pub(super) unsafe fn relu6<S: Simd>(value: S::V) -> S::V {
    // SAFETY: the caller runs on S.
    unsafe { S::min(S::splat(6.0), S::max(S::splat(0.0), value)) }
}

/// Pixels of an image in memory.
#[derive(Clone, Copy)]
pub(super) struct Pixels<'a> {
    pub values: &'a [f32],
    /// Floats from one pixel to the next; they may be fewer than a pixel is deep.
    pub width: usize,
}

impl Pixels<'_> {
    /// Addresses of a group's pixels; the last stands in for those that are missing.
    ///
    /// # Safety
    /// There must be `count` pixels from `first` on, one at least.
    #[inline(always)]
    unsafe fn addresses<const M: usize>(&self, first: usize, count: usize) -> [*const f32; M] {
        let mut addresses = [self.values.as_ptr(); M];
        for m in 0..M {
            // SAFETY: the caller's.
            addresses[m] =
                unsafe { self.values.as_ptr().add((first + m.min(count - 1)) * self.width) };
        }
        addresses
    }

    fn check(&self, pixels: usize, depth: usize) {
        assert!(pixels == 0 || self.values.len() >= (pixels - 1) * self.width + depth);
    }
}

/// The expansion: ReLU6 of a 1×1 convolution, written into planes. The stem is one, too, with a run
/// of depth for each row of its windows.
pub(super) struct Expand<'a, const RUNS: usize> {
    pub weights: &'a PackedMatrix,
    /// The blocks of columns to compute; the first of them begins with the first plane.
    pub columns: &'a [Columns],
    /// What each run takes its part of the depth from.
    pub sources: [Pixels<'a>; RUNS],
    /// Pixels to compute, whole rows.
    pub pixels: usize,
    /// The row of the image that the first pixel begins.
    pub row: usize,
    pub layout: Planes,
    pub planes: &'a mut [f32],
}

impl<const RUNS: usize> Kernel for Expand<'_, RUNS> {
    type Output = ();

    #[inline(always)]
    unsafe fn run<S: Simd>(mut self) {
        assert!(self.weights.input.is_multiple_of(RUNS));
        self.sources.iter().for_each(|source| source.check(self.pixels, self.weights.input / RUNS));
        for &block in self.columns {
            // SAFETY: `dispatch` entered a function for S.
            unsafe { for_vectors!(S, block.vectors, expand[RUNS](&mut self, block)) }
        }
    }
}

#[inline(always)]
unsafe fn expand<S: Simd, const M: usize, const L: usize, const N: usize, const RUNS: usize>(
    task: &mut Expand<'_, RUNS>,
    block: Columns,
) {
    let (plane, row, width) = (task.layout.plane(), task.layout.row(), task.layout.width);
    let first_plane = (block.first - task.columns[0].first) * plane;
    let planes = &mut task.planes[first_plane..][..N * plane];
    assert!(task.layout.left + width <= task.layout.columns && task.layout.lanes == S::LANES);
    let mut at = Walk {
        row: task.row % task.layout.rows,
        column: 0,
        rows: task.layout.rows,
        columns: width,
    };
    let (left, channel) = (task.layout.left * S::LANES, block.first * S::LANES);
    for (first, count) in groups(task.pixels, M) {
        // SAFETY: the pixels are there, as was checked; walks stay inside rows and columns, so
        // inside a plane.
        unsafe {
            if count == M {
                let sums =
                    sums::<S, M, N, RUNS>(task.weights, channel, &task.sources, first, count);
                store_planes::<S, M, N>(
                    &sums,
                    count,
                    at.steps(count, row, left, S::LANES),
                    planes,
                    plane,
                );
            } else {
                let sums =
                    sums::<S, L, N, RUNS>(task.weights, channel, &task.sources, first, count);
                store_planes::<S, L, N>(
                    &sums,
                    count,
                    at.steps(count, row, left, S::LANES),
                    planes,
                    plane,
                );
            }
        }
    }
}

/// Bias and products of a group of pixels with N vectors of channels.
///
/// # Safety
/// There must be `count` pixels from `first` on in the sources, each as deep as a run.
#[inline(always)]
unsafe fn sums<S: Simd, const M: usize, const N: usize, const RUNS: usize>(
    weights: &PackedMatrix,
    channel: usize,
    sources: &[Pixels<'_>; RUNS],
    first: usize,
    count: usize,
) -> Block<S, M, N> {
    let depth = weights.input / RUNS;
    let w = &weights.weight[channel * weights.input..][..N * S::LANES * weights.input];
    // SAFETY: the caller's, and the weights were just cut to their number.
    unsafe {
        let mut sums = biases::<S, M, N>(&weights.bias[channel..]);
        for (run, source) in sources.iter().enumerate() {
            let w = w.as_ptr().add(run * depth * N * S::LANES);
            accumulate::<S, M, N>(&mut sums, source.addresses(first, count), depth, w);
        }
        sums
    }
}

/// Writes ReLU6 of the sums into N planes.
///
/// # Safety
/// A vector at each of `to` must lie in a plane, and there must be N planes.
#[inline(always)]
unsafe fn store_planes<S: Simd, const M: usize, const N: usize>(
    sums: &Block<S, M, N>,
    count: usize,
    to: [usize; M],
    planes: &mut [f32],
    plane: usize,
) {
    let planes = planes.as_mut_ptr();
    for m in 0..M {
        if m < count {
            for n in 0..N {
                // SAFETY: the caller's.
                unsafe { S::store(planes.add(n * plane + to[m]), relu6::<S>(sums[m][n])) };
            }
        }
    }
}

/// A walk over the pixels of planes.
struct Walk {
    row: usize,
    column: usize,
    rows: usize,
    columns: usize,
}

impl Walk {
    /// The places of the next `count` pixels in a plane; those that are missing are at 0.
    #[inline(always)]
    fn steps<const M: usize>(
        &mut self,
        count: usize,
        row: usize,
        left: usize,
        lanes: usize,
    ) -> [usize; M] {
        let mut to = [0; M];
        for m in 0..M {
            if m < count {
                to[m] = self.row * row + left + self.column * lanes;
                self.column += 1;
                if self.column == self.columns {
                    self.column = 0;
                    self.row += 1;
                    if self.row == self.rows {
                        self.row = 0;
                    }
                }
            }
        }
        to
    }
}

/// The projection, or a part of its depth: a 1×1 convolution without activation.
pub(super) struct Project<'a> {
    pub weights: &'a PackedMatrix,
    /// The input channels to add.
    pub depth: std::ops::Range<usize>,
    /// Pixels of these channels.
    pub source: Pixels<'a>,
    pub pixels: usize,
    /// What the first part of the depth adds to, besides the bias: the block's input, laid out as
    /// its output.
    pub skip: Option<&'a [f32]>,
    /// `[pixels, width]`, overwritten by the first part of the depth.
    pub to: &'a mut [f32],
}

impl Kernel for Project<'_> {
    type Output = ();

    #[inline(always)]
    unsafe fn run<S: Simd>(mut self) {
        self.source.check(self.pixels, self.depth.len());
        assert!(
            self.to.len() >= self.pixels * self.weights.width
                && self.depth.end <= self.weights.input
        );
        assert!(self.skip.is_none_or(|skip| skip.len() >= self.pixels * self.weights.width));
        let weights = self.weights;
        for &block in &weights.columns {
            // SAFETY: `dispatch` entered a function for S.
            unsafe { for_vectors!(S, block.vectors, project(&mut self, block)) }
        }
    }
}

#[inline(always)]
unsafe fn project<S: Simd, const M: usize, const L: usize, const N: usize>(
    task: &mut Project<'_>,
    block: Columns,
) {
    for (first, count) in groups(task.pixels, M) {
        // SAFETY: the pixels are there, as was checked.
        unsafe {
            if count == M {
                project_group::<S, M, N>(task, block, first, count);
            } else {
                project_group::<S, L, N>(task, block, first, count);
            }
        }
    }
}

#[inline(always)]
unsafe fn project_group<S: Simd, const M: usize, const N: usize>(
    task: &mut Project<'_>,
    block: Columns,
    first: usize,
    count: usize,
) {
    let weights = task.weights;
    let channel = block.first * S::LANES;
    let across = N * S::LANES;
    let w = &weights.weight[channel * weights.input..]
        [task.depth.start * across..task.depth.end * across];
    let start = first * weights.width + channel;
    // SAFETY: `count` pixels from `first` on are in `to` and `skip`, as was checked; the weights
    // were just cut to their number.
    unsafe {
        let to = task.to.as_mut_ptr().add(start);
        let mut sums = biases::<S, M, N>(&weights.bias[channel..]);
        for m in 0..M {
            let pixel = m.min(count - 1) * weights.width;
            for n in 0..N {
                let at = pixel + n * S::LANES;
                if task.depth.start > 0 {
                    sums[m][n] = S::load(to.add(at));
                } else if let Some(skip) = task.skip {
                    sums[m][n] = S::add(sums[m][n], S::load(skip.as_ptr().add(start + at)));
                }
            }
        }
        accumulate::<S, M, N>(
            &mut sums,
            task.source.addresses(first, count),
            task.depth.len(),
            w.as_ptr(),
        );
        for m in 0..M {
            if m < count {
                for n in 0..N {
                    S::store(to.add(m * weights.width + n * S::LANES), sums[m][n]);
                }
            }
        }
    }
}

/// The head: the mean over the pixels of each image of ReLU6 of a 1×1 convolution.
pub(super) struct Head<'a> {
    pub weights: &'a PackedMatrix,
    /// All pixels of all images.
    pub source: Pixels<'a>,
    /// Pixels of an image.
    pub pixels: usize,
    /// `[images, output]`, overwritten.
    pub features: &'a mut [f32],
}

impl Kernel for Head<'_> {
    type Output = ();

    #[inline(always)]
    unsafe fn run<S: Simd>(mut self) {
        let images = self.features.len() / self.weights.output;
        self.source.check(images * self.pixels, self.weights.input);
        let weights = self.weights;
        for &block in &weights.columns {
            for image in 0..images {
                // SAFETY: `dispatch` entered a function for S.
                unsafe { for_vectors!(S, block.vectors, head(&mut self, block, image)) }
            }
        }
    }
}

#[inline(always)]
unsafe fn head<S: Simd, const M: usize, const L: usize, const N: usize>(
    task: &mut Head<'_>,
    block: Columns,
    image: usize,
) {
    let weights = task.weights;
    let channel = block.first * S::LANES;
    let features = &mut task.features[image * weights.output..][..weights.output];
    // SAFETY: the pixels are there, as was checked.
    unsafe {
        let mut total = [S::splat(0.0); N];
        for (first, count) in groups(task.pixels, M) {
            let first = image * task.pixels + first;
            if count == M {
                add_pixels::<S, M, N>(
                    &mut total,
                    &sums::<S, M, N, 1>(weights, channel, &[task.source], first, count),
                    count,
                );
            } else {
                add_pixels::<S, L, N>(
                    &mut total,
                    &sums::<S, L, N, 1>(weights, channel, &[task.source], first, count),
                    count,
                );
            }
        }
        let share = S::splat(1.0 / task.pixels as f32);
        for n in 0..N {
            let mut means = [0.0f32; 16];
            S::store(means.as_mut_ptr(), S::mul(total[n], share));
            let to = &mut features[channel + n * S::LANES..];
            to.iter_mut().zip(&means[..S::LANES]).for_each(|(to, mean)| *to = *mean);
        }
    }
}

/// Adds ReLU6 of the pixels' sums one by one, so that the order does not depend on the groups.
#[inline(always)]
unsafe fn add_pixels<S: Simd, const M: usize, const N: usize>(
    total: &mut [S::V; N],
    sums: &Block<S, M, N>,
    count: usize,
) {
    for m in 0..M {
        if m < count {
            for n in 0..N {
                // SAFETY: the caller runs on S.
                unsafe { total[n] = S::add(total[n], relu6::<S>(sums[m][n])) };
            }
        }
    }
}
