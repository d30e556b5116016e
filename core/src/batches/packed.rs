//! Batches that say what to draw instead of holding images: for a device that holds the images
//! itself.

use rand::seq::SliceRandom;

use super::batch::{Batch, Batches, EpochPlan};
use super::store::Images;
use crate::augment::{Augmentation, Mixing, Recipe, Rectangle};
use crate::random::stream;
use crate::recipes::{
    BRIGHTNESS, DOWN, ERASED_COLUMNS, ERASED_ROWS, FLAGS, HEADER, HIDDEN_COLUMNS, HIDDEN_ROWS, HUE,
    INDEX, LAMBDA, NOISE, OTHER, PASTED_COLUMNS, PASTED_ROWS, Pairs, RECIPE, RIGHT, Recipes,
    SATURATION, pack_bytes,
};

/// Largest side of images whose recipes fit the numbers: places have sixteen bits, and the luma of
/// all pixels is summed in 32.
const LARGEST_SIDE: usize = 2048;

impl Recipes {
    /// What is done to the image at a place of the batch.
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
            self.words.extend(pack_bytes(&erased.noise));
        }
    }

    /// How the images of the batch are mixed.
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
