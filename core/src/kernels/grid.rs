//! Where the kernel of a convolution is applied, with zeros on every side that need not be as many as on the opposite one.

use super::buffer::Buffer;
use super::conv::ConvShape;

/// The places where a square kernel is applied to images.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Grid {
    /// Images.
    pub batch: usize,
    /// Rows of the input.
    pub height: usize,
    /// Columns of the input.
    pub width: usize,
    /// Side of the kernel.
    pub kernel: usize,
    /// Pixels between neighbouring places.
    pub stride: usize,
    /// Zeros above and below the input.
    pub rows: (usize, usize),
    /// Zeros left and right of the input.
    pub columns: (usize, usize),
}

impl Grid {
    /// Rows of the output.
    pub fn out_height(&self) -> usize {
        (self.padded_height() - self.kernel) / self.stride + 1
    }

    /// Columns of the output.
    pub fn out_width(&self) -> usize {
        (self.padded_width() - self.kernel) / self.stride + 1
    }

    /// Rows of the input with the zeros.
    pub fn padded_height(&self) -> usize {
        self.height + self.rows.0 + self.rows.1
    }

    /// Columns of the input with the zeros.
    pub fn padded_width(&self) -> usize {
        self.width + self.columns.0 + self.columns.1
    }

    /// Whether all four sides have as many zeros.
    pub fn is_even(&self) -> bool {
        [self.rows.1, self.columns.0, self.columns.1] == [self.rows.0; 3]
    }

    /// The same places over images that hold their zeros, as [`Grid::pad`] makes them.
    pub fn padded(&self) -> Self {
        Self { height: self.padded_height(), width: self.padded_width(), rows: (0, 0), columns: (0, 0), ..*self }
    }

    /// The convolution of images that hold their zeros.
    pub fn padded_conv(&self, input: usize, output: usize) -> ConvShape {
        let Self { batch, height, width, kernel, stride, .. } = self.padded();
        ConvShape { batch, height, width, input, output, kernel, stride, padding: 0 }
    }

    /// Copies images `[batch, height, width, channels]` with the zeros around them.
    ///
    /// # Panics
    /// If there are more or fewer values than that.
    pub fn pad(&self, x: &[f32], channels: usize) -> Buffer {
        assert_eq!(x.len(), self.batch * self.height * self.width * channels, "images and the grid over them must have one size");
        let (height, width) = (self.padded_height(), self.padded_width());
        let mut padded = Buffer::take(self.batch * height * width * channels);
        padded.fill(0.0);
        for image in 0..self.batch {
            for row in 0..self.height {
                let from = (image * self.height + row) * self.width * channels;
                let to = ((image * height + self.rows.0 + row) * width + self.columns.0) * channels;
                padded[to..to + self.width * channels].copy_from_slice(&x[from..from + self.width * channels]);
            }
        }
        padded
    }
}

impl From<&ConvShape> for Grid {
    fn from(shape: &ConvShape) -> Self {
        let &ConvShape { batch, height, width, kernel, stride, padding, .. } = shape;
        Self { batch, height, width, kernel, stride, rows: (padding, padding), columns: (padding, padding) }
    }
}
