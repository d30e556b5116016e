//! Batches that say what to draw instead of holding images: for a device that holds the images
//! itself.

// In a build without GPUs nobody reads the numbers.
#![cfg_attr(not(feature = "gpu"), allow(dead_code))]

use rand::seq::SliceRandom;

use super::batch::{Batch, Batches, EpochPlan};
use super::store::Images;
use crate::augment::{Augmentation, Mixing, Recipe, Rectangle};
use crate::random::stream;

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

/// Largest side of images whose recipes fit the numbers: places have sixteen bits, and the luma of
/// all pixels is summed in 32.
const LARGEST_SIDE: usize = 2048;

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
    words: Vec<u32>,
    images: usize,
    jittered: bool,
    pairs: Pairs,
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

    pub(super) fn clear(&mut self) {
        self.images = 0;
    }

    /// Makes room for `count` images, with the memory there is.
    fn start(&mut self, count: usize, fill: [u8; 3], jittered: bool) {
        self.words.clear();
        self.words.resize(HEADER + count * RECIPE, 0);
        self.words[FILL] = u32::from_le_bytes([fill[0], fill[1], fill[2], 0]);
        (self.images, self.jittered, self.pairs) = (count, jittered, Pairs::Alone);
    }

    fn set(&mut self, at: usize, index: usize, recipe: &Recipe) {
        let noise = self.words.len();
        let own = &mut self.words[HEADER + at * RECIPE..][..RECIPE];
        own[INDEX] = index as u32;
        own[RIGHT] = recipe.offset.0 as i32 as u32;
        own[DOWN] = recipe.offset.1 as i32 as u32;
        own[FLAGS] = u32::from(recipe.mirrored);
        if let Some(jitter) = &recipe.jitter {
            let order = jitter
                .order
                .iter()
                .rev()
                .fold(0, |bits, &operation| bits << 2 | u32::from(operation));
            own[FLAGS] |= order << 8;
            own[BRIGHTNESS..=SATURATION].copy_from_slice(&jitter.factors.map(f32::to_bits));
            own[HUE] = (6.0 * jitter.turns).to_bits();
        }
        if let Some(place) = &recipe.cut_out {
            (own[HIDDEN_COLUMNS], own[HIDDEN_ROWS]) = ranges(place);
        }
        if let Some(erased) = &recipe.erased {
            (own[ERASED_COLUMNS], own[ERASED_ROWS]) = ranges(&erased.place);
            own[NOISE] = noise as u32;
            self.words.extend(four_to_a_number(&erased.noise));
        }
    }

    fn mix(&mut self, mixing: &Mixing) {
        self.words[LAMBDA] = mixing.lambda.to_bits();
        for (at, &other) in mixing.others.iter().enumerate() {
            self.words[HEADER + at * RECIPE + OTHER] = other as u32;
        }
        self.pairs = Pairs::Blended;
        if let Some(place) = &mixing.pasted {
            (self.words[PASTED_COLUMNS], self.words[PASTED_ROWS]) = ranges(place);
            self.pairs = Pairs::Pasted;
        }
    }
}

/// Bytes in the order they lie in memory; the last number is filled up with zeros.
pub(crate) fn four_to_a_number(bytes: &[u8]) -> impl Iterator<Item = u32> {
    let (numbers, rest) = bytes.as_chunks();
    let last = (!rest.is_empty())
        .then(|| rest.iter().rev().fold(0, |number, &byte| number << 8 | u32::from(byte)));
    numbers.iter().map(|bytes| u32::from_le_bytes(*bytes)).chain(last)
}

/// Columns and rows.
fn ranges(place: &Rectangle) -> (u32, u32) {
    let range = |range: &std::ops::Range<usize>| range.start as u32 | (range.end as u32) << 16;
    (range(&place.columns), range(&place.rows))
}

impl Images {
    /// Whether a device that holds the images can draw what `augmentation` asks for.
    pub(crate) fn can_be_drawn(&self, augmentation: &Augmentation) -> bool {
        self.is_in_memory() && self.side() <= LARGEST_SIDE && augmentation.is_pointwise()
    }

    /// [`Images::train_batches`] with recipes in place of images; to be asked for only what
    /// [`Images::can_be_drawn`].
    pub(crate) fn train_recipes(&self, augmentation: &Augmentation, plan: EpochPlan) -> Batches {
        let (images, augmentation) = (self.clone(), augmentation.clone());
        let batch_size = plan.batch_size.max(1);
        let order = self.order(&plan);
        Batches::prepare(plan.from_step..self.steps(batch_size), move |step, mut batch, _| {
            let chosen = &order[step * batch_size..((step + 1) * batch_size).min(order.len())];
            images.draw(
                chosen,
                &augmentation,
                plan.seed,
                ("augment", plan.epoch as u64),
                &mut batch,
            );
            let mut rng = stream(plan.seed, "mix", &[plan.epoch as u64, step as u64]);
            if let Some(mixing) = augmentation.draw_mixing(chosen.len(), images.side(), &mut rng) {
                batch.recipes.mix(&mixing);
                batch.mixed = Some(mixing.mixed(&batch.labels));
            }
            Ok(Some(batch))
        })
    }

    /// [`Images::augmented_view`] with recipes in place of images; to be asked for only what
    /// [`Images::can_be_drawn`].
    pub(crate) fn view_recipes(
        &self,
        augmentation: &Augmentation,
        batch_size: usize,
        seed: u64,
        view: usize,
    ) -> Batches {
        let (images, augmentation) = (self.clone(), augmentation.clone());
        let (batch_size, count) = (batch_size.max(1), self.len());
        Batches::prepare(0..count.div_ceil(batch_size), move |step, mut batch, _| {
            let chosen: Vec<usize> =
                (step * batch_size..((step + 1) * batch_size).min(count)).collect();
            images.draw(&chosen, &augmentation, seed, ("view", view as u64), &mut batch);
            Ok(Some(batch))
        })
    }

    /// [`Images::eval_batches`] with recipes in place of images, of images kept in memory.
    pub(crate) fn eval_recipes(&self, batch_size: usize, mirrored: bool) -> Batches {
        let images = self.clone();
        let (batch_size, count) = (batch_size.max(1), self.len());
        let recipe = Recipe::plain(mirrored);
        Batches::prepare(0..count.div_ceil(batch_size), move |step, mut batch, _| {
            let chosen: Vec<usize> =
                (step * batch_size..((step + 1) * batch_size).min(count)).collect();
            images.begin(&chosen, &mut batch);
            batch.recipes.start(chosen.len(), [0; 3], false);
            for (at, &index) in chosen.iter().enumerate() {
                batch.recipes.set(at, index, &recipe);
            }
            Ok(Some(batch))
        })
    }

    /// The order of an epoch's samples.
    pub(super) fn order(&self, plan: &EpochPlan) -> Vec<usize> {
        let mut order: Vec<usize> = (0..self.len()).collect();
        order.shuffle(&mut stream(plan.seed, "order", &[plan.epoch as u64]));
        order
    }

    /// Draws from the streams that [`Images::train_batches`] draws from: one a sample, of this
    /// purpose and pass.
    fn draw(
        &self,
        chosen: &[usize],
        augmentation: &Augmentation,
        seed: u64,
        (purpose, pass): (&str, u64),
        batch: &mut Batch,
    ) {
        let side = self.side();
        self.begin(chosen, batch);
        batch.recipes.start(chosen.len(), augmentation.fill(), augmentation.changes_colors());
        for (at, &index) in chosen.iter().enumerate() {
            let mut rng = stream(seed, purpose, &[pass, index as u64]);
            let recipe = augmentation.draw((side as u32, side as u32), side, &mut rng);
            batch.recipes.set(at, index, &recipe);
        }
    }

    fn begin(&self, chosen: &[usize], batch: &mut Batch) {
        batch.images.clear();
        batch.indices.clear();
        batch.indices.extend_from_slice(chosen);
        batch.labels.clear();
        batch.labels.extend(chosen.iter().map(|&index| self.labels()[index]));
        batch.mixed = None;
    }
}
