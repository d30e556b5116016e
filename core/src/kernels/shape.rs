//! The shape of a convolution.

/// A square convolution with square strides and padding, without groups or dilation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ConvShape {
    /// Images.
    pub batch: usize,
    /// Height of the input in pixels.
    pub height: usize,
    /// Width of the input in pixels.
    pub width: usize,
    /// Channels of the input.
    pub input: usize,
    /// Channels of the output.
    pub output: usize,
    /// Side of the kernel in pixels.
    pub kernel: usize,
    /// Pixels between the places where the kernel is applied.
    pub stride: usize,
    /// Pixels of zeros around the input.
    pub padding: usize,
}

impl ConvShape {
    /// Height of the output in pixels. The padded input must be at least as high as the kernel.
    pub fn out_height(&self) -> usize {
        (self.height + 2 * self.padding - self.kernel) / self.stride + 1
    }

    /// Width of the output in pixels. The padded input must be at least as wide as the kernel.
    pub fn out_width(&self) -> usize {
        (self.width + 2 * self.padding - self.kernel) / self.stride + 1
    }

    /// Values of the input of one image.
    pub fn input_len(&self) -> usize {
        self.height * self.width * self.input
    }

    /// Values of the output of one image.
    pub fn output_len(&self) -> usize {
        self.out_height() * self.out_width() * self.output
    }

    /// Values of the weight.
    pub fn weight_len(&self) -> usize {
        self.output * self.input * self.kernel * self.kernel
    }
}
