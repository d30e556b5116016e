//! Asking for memory before it is needed.

use super::super::simd::prefetch;

/// Floats of a cache line.
const LINE: usize = 16;

/// Some channels of a rectangle of pixels.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Region {
    /// Where the first pixel's channels start.
    pub start: usize,
    /// Channels, at least one.
    pub channels: usize,
    /// Pixels of a row, at least one.
    pub columns: usize,
    pub rows: usize,
    /// Floats from one pixel to the next.
    pub step: usize,
    /// Floats from one row to the next.
    pub row_step: usize,
}

impl Region {
    /// Floats that follow each other.
    pub fn row(start: usize, len: usize) -> Self {
        Self { start, channels: len, columns: 1, rows: usize::from(len > 0), step: 0, row_step: 0 }
    }

    fn lines(&self) -> usize {
        self.rows * self.columns * self.channels.div_ceil(LINE)
    }
}

/// A walk over the cache lines of a region.
struct Walk {
    base: *const f32,
    region: Region,
    row: usize,
    column: usize,
    channel: usize,
}

impl Walk {
    /// Asks for the next line; says whether there was one.
    #[inline(always)]
    fn step(&mut self) -> bool {
        let Region { start, channels, columns, rows, step, row_step } = self.region;
        if self.row >= rows {
            return false;
        }
        prefetch(
            self.base.wrapping_add(start + self.row * row_step + self.column * step + self.channel),
        );
        self.channel += LINE;
        if self.channel >= channels {
            (self.channel, self.column) = (0, self.column + 1);
        }
        if self.column >= columns {
            (self.column, self.row) = (0, self.row + 1);
        }
        true
    }
}

/// What comes next, brought into the second-level cache a few lines at a time, so that it arrives
/// while something else is computed. Without it, processors look ahead for themselves only along a
/// page of memory, and the channels of neighbouring pixels soon lie pages apart.
pub(super) struct Ahead {
    walks: [Walk; 2],
    each: usize,
}

impl Ahead {
    /// These regions, counted from these places, spread over so many calls of [`Ahead::fetch`].
    pub fn new(regions: [(*const f32, Region); 2], calls: usize) -> Self {
        let lines: usize = regions.iter().map(|(_, region)| region.lines()).sum();
        let walks =
            regions.map(|(base, region)| Walk { base, region, row: 0, column: 0, channel: 0 });
        Self { walks, each: lines.div_ceil(calls.max(1)) }
    }

    /// Nothing.
    pub fn nothing() -> Self {
        Self::new([(std::ptr::null(), Region::default()); 2], 1)
    }

    /// Asks for the next lines.
    #[inline(always)]
    pub fn fetch(&mut self) {
        let [first, second] = &mut self.walks;
        for _ in 0..self.each {
            if !first.step() && !second.step() {
                self.each = 0;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_line_is_asked_for_once() {
        let region =
            Region { start: 5, channels: 40, columns: 3, rows: 2, step: 100, row_step: 1000 };
        let values = [0.0; 2000];
        let mut walk = Walk { base: values.as_ptr(), region, row: 0, column: 0, channel: 0 };
        let mut steps = 0;
        while walk.step() {
            steps += 1;
        }
        assert_eq!((steps, walk.row, walk.column, walk.channel), (region.lines(), 2, 0, 0));
        let mut ahead = Ahead::new(
            [(values.as_ptr(), region), (values.as_ptr(), Region { rows: 1, ..region })],
            4,
        );
        assert_eq!(ahead.each, 7);
        (0..4).for_each(|_| ahead.fetch());
        assert!(ahead.walks.iter_mut().all(|walk| !walk.step()));
        Ahead::nothing().fetch();
        assert_eq!([0, 1, 16, 17].map(|len| Region::row(3, len).lines()), [0, 1, 1, 2]);
    }
}
