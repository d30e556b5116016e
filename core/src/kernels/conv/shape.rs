//! The geometry of a convolution.

/// A square two-dimensional convolution over tensors stored channels-last: input `[batch, height, width, input]`, weight
/// `[output, input, kernel, kernel]` (PyTorch's order), output `[batch, out_height, out_width, output]`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct ConvShape {
    /// Images.
    pub batch: usize,
    /// Rows of the input.
    pub height: usize,
    /// Columns of the input.
    pub width: usize,
    /// Channels of the input.
    pub input: usize,
    /// Channels of the output.
    pub output: usize,
    /// Side of the kernel.
    pub kernel: usize,
    /// Pixels between neighbouring windows.
    pub stride: usize,
    /// Zeros around the input.
    pub padding: usize,
}

impl ConvShape {
    /// Rows of the output.
    pub fn out_height(&self) -> usize {
        (self.height + 2 * self.padding - self.kernel) / self.stride + 1
    }

    /// Columns of the output.
    pub fn out_width(&self) -> usize {
        (self.width + 2 * self.padding - self.kernel) / self.stride + 1
    }

    /// Values of the input.
    pub fn input_len(&self) -> usize {
        self.batch * self.height * self.width * self.input
    }

    /// Values of the output.
    pub fn output_len(&self) -> usize {
        self.batch * self.out_height() * self.out_width() * self.output
    }

    /// Values of the weight.
    pub fn weight_len(&self) -> usize {
        self.output * self.input * self.kernel * self.kernel
    }

    /// Multiply-adds of one pass.
    pub fn multiply_adds(&self) -> usize {
        self.output_len() * self.input * self.kernel * self.kernel
    }

    pub(super) fn check(&self, x: &[f32], weight: &[f32], y: &[f32]) {
        assert!(
            self.kernel > 0
                && self.stride > 0
                && self.height + 2 * self.padding >= self.kernel
                && self.width + 2 * self.padding >= self.kernel
        );
        assert_eq!([x.len(), weight.len(), y.len()], [self.input_len(), self.weight_len(), self.output_len()]);
    }
}
