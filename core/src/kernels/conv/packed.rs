//! Convolutions whose weights do not change, so that these are brought into the order in which they
//! are read once and not for every batch.

use std::sync::OnceLock;

use super::super::activation::Activation;
use super::super::buffer::Buffer;
use super::super::simd::InstructionSet;
use super::epilogue::Epilogue;
use super::shape::{ConvShape, Zeros};
use super::{direct, grouped, winograd};

/// A weight as the kernels are given it.
#[derive(Clone, Copy)]
pub(super) enum Weight<'a> {
    /// `[output, input / groups, kernel, kernel]`.
    Plain(&'a [f32]),
    /// As the kernel reads it, on the way forward.
    Packed(&'a [f32]),
}

/// What gives a weight in the order that a kernel asks for.
pub(super) trait Orders {
    fn plain(&self) -> &[f32];
    fn direct(&self) -> Weight<'_>;
    fn winograd(&self) -> Weight<'_>;
}

/// A weight that may be another the next time: kernels pack it for themselves.
impl Orders for &[f32] {
    fn plain(&self) -> &[f32] {
        self
    }

    fn direct(&self) -> Weight<'_> {
        Weight::Plain(self)
    }

    fn winograd(&self) -> Weight<'_> {
        Weight::Plain(self)
    }
}

/// Cuts packed weights into the blocks' pieces.
pub(super) fn pieces<'a>(packed: &'a [f32], sizes: &[usize]) -> Vec<&'a [f32]> {
    let mut rest = packed;
    let mut pieces = Vec::with_capacity(sizes.len());
    for size in sizes {
        let (piece, left) = rest.split_at(*size);
        pieces.push(piece);
        rest = left;
    }
    assert!(rest.is_empty(), "weights were packed for another convolution");
    pieces
}

/// A convolution with batch norm folded into it.
#[derive(Clone, Debug)]
pub struct FoldedConv {
    /// `[output, input / groups, kernel, kernel]`, which is `[channels, 1, kernel, kernel]` of a
    /// depthwise convolution.
    pub weight: Vec<f32>,
    /// `[output]`.
    pub bias: Vec<f32>,
}

/// A square convolution, its bias, and its weight in the orders in which an instruction set reads
/// it. Not for channels by themselves.
pub struct PackedConv {
    set: InstructionSet,
    /// For images of no size.
    shape: ConvShape,
    bias: Vec<f32>,
    /// Nothing if no order but that of `direct` is ever asked for.
    weight: Option<Vec<f32>>,
    direct: OnceLock<Buffer>,
    winograd: OnceLock<Buffer>,
}

impl PackedConv {
    /// A convolution to as many channels as there are biases. `kernel` is the side of the kernel,
    /// which stands `stride` pixels apart in images with `kernel
    /// / 2` zeros around them.
    ///
    /// # Panics
    /// If the weight's length is not that of `input` channels in `groups`, or if every channel is
    /// by itself.
    pub fn new(
        set: InstructionSet,
        conv: FoldedConv,
        [input, groups]: [usize; 2],
        [kernel, stride]: [usize; 2],
    ) -> Self {
        let FoldedConv { weight, bias } = conv;
        let padding = Zeros::around(kernel / 2);
        let shape = ConvShape {
            batch: 0,
            height: kernel,
            width: kernel,
            input,
            output: bias.len(),
            kernel,
            stride,
            padding,
            groups,
        };
        shape.check();
        assert_eq!(weight.len(), shape.weight_len());
        assert!(!shape.is_depthwise(), "channels by themselves have kernels of their own");
        let packed = Self {
            set,
            shape,
            bias,
            weight: None,
            direct: OnceLock::new(),
            winograd: OnceLock::new(),
        };
        match grouped::fits_forward(set, &shape) || winograd::fits_some(set, &shape) {
            true => Self { weight: Some(weight), ..packed },
            false => {
                Self { direct: OnceLock::from(direct::packed(set, &shape, &weight)), ..packed }
            }
        }
    }

    /// Channels of the input.
    pub fn input(&self) -> usize {
        self.shape.input
    }

    /// Channels of the output.
    pub fn output(&self) -> usize {
        self.shape.output
    }

    /// Rows and columns of the output for an input of so many.
    pub fn out_size(&self, [height, width]: [usize; 2]) -> [usize; 2] {
        let shape = ConvShape { height, width, ..self.shape };
        [shape.out_height(), shape.out_width()]
    }

    /// Convolution, bias, residual sum and activation.
    ///
    /// # Shapes
    /// - `x`: `[batch, height, width, input]`, of which `size` is height and width
    /// - `residual` and the result: `[batch, height', width', output]`
    ///
    /// # Panics
    /// If a length does not fit.
    pub fn forward(
        &self,
        x: &[f32],
        [height, width]: [usize; 2],
        residual: Option<Buffer>,
        activation: Activation,
    ) -> Buffer {
        let image = height * width * self.shape.input;
        assert!(
            image > 0 && x.len().is_multiple_of(image),
            "images of {height}×{width} have {image} values"
        );
        let shape = ConvShape { batch: x.len() / image, height, width, ..self.shape };
        shape.check();
        assert!(
            residual.as_ref().is_none_or(|residual| residual.len() == shape.output_len()),
            "a residual has the shape of the output"
        );
        let adds = residual.is_some() && shape.adds(self.set);
        let (mut y, residual) = match residual {
            Some(residual) if adds => (residual, None),
            residual => (Buffer::take(shape.output_len()), residual),
        };
        super::forward(
            self.set,
            &shape,
            x,
            self,
            Epilogue { bias: Some(&self.bias), residual: residual.as_deref(), adds, activation },
            &mut y,
        );
        y
    }
}

impl Orders for PackedConv {
    fn plain(&self) -> &[f32] {
        self.weight.as_ref().expect("the weight is kept where it can be read in several orders")
    }

    fn direct(&self) -> Weight<'_> {
        Weight::Packed(
            self.direct.get_or_init(|| direct::packed(self.set, &self.shape, self.plain())),
        )
    }

    fn winograd(&self) -> Weight<'_> {
        Weight::Packed(
            self.winograd
                .get_or_init(|| winograd::transformed(self.set, &self.shape, self.plain())),
        )
    }
}
