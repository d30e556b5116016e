//! Rows of an expanded image between zeros, as the depthwise convolution walks them.

/// Planes of rows: one plane for each vector of channels, in which the vectors of a row lie side by
/// side, with zeros to the left and right.
///
/// There may be fewer rows than the image has: row r takes the place of row r − `rows`. One more
/// row of zeros follows in each plane; it stands for all rows above and below the image.
#[derive(Clone, Copy, Debug)]
pub(super) struct Planes {
    /// Rows in a plane, without that of zeros.
    pub rows: usize,
    /// Pixels in a row, with the zeros.
    pub columns: usize,
    /// Zeros to the left.
    pub left: usize,
    /// Pixels of the image in a row.
    pub width: usize,
    /// Floats in a vector.
    pub lanes: usize,
}

impl Planes {
    /// Floats in a row.
    pub fn row(&self) -> usize {
        self.columns * self.lanes
    }

    /// Floats in a plane.
    pub fn plane(&self) -> usize {
        (self.rows + 1) * self.row()
    }

    /// Where row `row` of the image starts in a plane; all outside of `height` are the row of
    /// zeros.
    pub fn start(&self, row: isize, height: usize, image: usize) -> usize {
        match usize::try_from(row) {
            Ok(row) if row < height => (image * height + row) % self.rows * self.row(),
            _ => self.rows * self.row(),
        }
    }

    /// Writes the zeros around the images.
    pub fn clear_borders(&self, planes: &mut [f32]) {
        for plane in planes.chunks_exact_mut(self.plane()) {
            let (rows, zeros) = plane.split_at_mut(self.rows * self.row());
            for row in rows.chunks_exact_mut(self.row()) {
                row[..self.left * self.lanes].fill(0.0);
                row[(self.left + self.width) * self.lanes..].fill(0.0);
            }
            zeros.fill(0.0);
        }
    }
}
