//! How a batch's images are described to a device that holds them: packed numbers that
//! [`crate::batches`] writes and a kernel of `crate::gpu` reads.

#![cfg_attr(not(feature = "gpu"), expect(dead_code, reason = "only GPUs read these numbers"))]

/// Before the images' own numbers: 0, as a number that compilers do not know.
pub(crate) const ZERO: usize = 0;
/// Colour of hidden parts, red in the lowest eight bits.
pub(crate) const FILL: usize = 1;
/// Share that mixup leaves of each image, float32.
pub(crate) const LAMBDA: usize = 2;
/// Columns that CutMix pastes: the first in the lower sixteen bits, the one after the last in the
/// higher. So are all ranges.
pub(crate) const PASTED_COLUMNS: usize = 3;
/// Rows that CutMix pastes.
pub(crate) const PASTED_ROWS: usize = 4;
/// Numbers before the first image's own.
pub(crate) const HEADER: usize = 5;

/// Of each image: which of the images that the device holds it is.
pub(crate) const INDEX: usize = 0;
/// Pixels that the crop lies to the right of the image, signed.
pub(crate) const RIGHT: usize = 1;
/// Pixels that the crop lies below the image, signed.
pub(crate) const DOWN: usize = 2;
/// Lowest bit: mirrored. From the ninth bit on, two bits for each operation of colour jitter, in
/// the order they act.
pub(crate) const FLAGS: usize = 3;
/// Factor of brightness, float32.
pub(crate) const BRIGHTNESS: usize = 4;
/// Factor of contrast, float32.
pub(crate) const CONTRAST: usize = 5;
/// Factor of saturation, float32.
pub(crate) const SATURATION: usize = 6;
/// Turn of the hue in sixths, float32.
pub(crate) const HUE: usize = 7;
/// Columns that random erasing replaces.
pub(crate) const ERASED_COLUMNS: usize = 8;
/// Rows that random erasing replaces.
pub(crate) const ERASED_ROWS: usize = 9;
/// Where among all numbers the values begin that random erasing puts there, `[3, rows, columns]`,
/// four to a number.
pub(crate) const NOISE: usize = 10;
/// Columns that Cutout hides.
pub(crate) const HIDDEN_COLUMNS: usize = 11;
/// Rows that Cutout hides.
pub(crate) const HIDDEN_ROWS: usize = 12;
/// Which of the batch it is mixed with.
pub(crate) const OTHER: usize = 13;
/// Numbers an image.
pub(crate) const RECIPE: usize = 14;

/// How the samples of a batch are mixed in pairs.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub(crate) enum Pairs {
    /// They are not.
    #[default]
    Alone,
    /// By mixup.
    Blended,
    /// By CutMix.
    Pasted,
}

/// What to draw for each image of a batch, as numbers that a device reads: the header, each image's
/// own, random values.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Recipes {
    pub(crate) words: Vec<u32>,
    images: usize,
    jittered: bool,
    pub(crate) pairs: Pairs,
}

impl Recipes {
    /// The first `count` images as they are.
    pub(crate) fn plain(count: usize) -> Self {
        let mut recipes = Self::default();
        recipes.start(count, [0; 3], false);
        for at in 0..count {
            recipes.words[HEADER + at * RECIPE + INDEX] = at as u32;
        }
        recipes
    }

    /// Number of images.
    pub fn len(&self) -> usize {
        self.images
    }

    /// Whether there are none: then the batch holds its images itself.
    pub fn is_empty(&self) -> bool {
        self.images == 0
    }

    /// All numbers.
    pub(crate) fn words(&self) -> &[u32] {
        &self.words
    }

    /// Whether colours are jittered.
    pub(crate) fn jittered(&self) -> bool {
        self.jittered
    }

    /// How the images are mixed.
    pub(crate) fn pairs(&self) -> Pairs {
        self.pairs
    }

    pub(crate) fn clear(&mut self) {
        self.images = 0;
    }

    /// Makes room for `count` images, with the memory there is.
    pub(crate) fn start(&mut self, count: usize, fill: [u8; 3], jittered: bool) {
        self.words.clear();
        self.words.resize(HEADER + count * RECIPE, 0);
        self.words[FILL] = u32::from_le_bytes([fill[0], fill[1], fill[2], 0]);
        (self.images, self.jittered, self.pairs) = (count, jittered, Pairs::Alone);
    }
}

/// Bytes in the order they lie in memory; the last number is filled up with zeros.
pub(crate) fn pack_bytes(bytes: &[u8]) -> impl Iterator<Item = u32> {
    let (numbers, rest) = bytes.as_chunks();
    let last = (!rest.is_empty())
        .then(|| rest.iter().rev().fold(0, |number, &byte| number << 8 | u32::from(byte)));
    numbers.iter().map(|bytes| u32::from_le_bytes(*bytes)).chain(last)
}
