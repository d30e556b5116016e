//! Cross-entropy of softmax probabilities, its gradient and the number of hits in one pass over the
//! logits.

#![expect(unsafe_code, reason = "CubeCL does not check that a kernel stays inside its buffers")]

use cubecl::client::Client;
use cubecl::prelude::*;

use super::buffer::Buffer;
use super::elementary::{exp, ln};

const UNITS: usize = 64;

/// What the labels say: the share `lambda` of every sample is its first label's, the rest its
/// second's, and `smoothing` is taken from both and spread over all classes.
#[derive(Clone, Copy)]
pub struct Targets<'a> {
    /// `[samples]`, int32.
    pub first: &'a Buffer,
    /// `[samples]`, int32.
    pub second: &'a Buffer,
    pub lambda: f32,
    pub smoothing: f32,
}

/// What comes of it.
pub struct Outcome {
    /// The mean loss, one value.
    pub loss: Buffer,
    /// Its gradient with respect to the logits.
    pub gradient: Buffer,
    /// Samples whose largest logit is the first label's, one value.
    pub correct: Buffer,
}

/// The mean cross-entropy of `logits`, `[samples, classes]`.
pub fn cross_entropy(
    client: &Client,
    logits: &Buffer,
    classes: usize,
    targets: Targets<'_>,
) -> Outcome {
    let samples = logits.length / classes;
    let each = Buffer::floats(client, samples * 2);
    let gradient = Buffer::floats(client, logits.length);
    let [loss, correct] = Buffer::vectors(client, [1; 2]);
    // SAFETY: a cube looks at one row of logits, whose number is below that of the samples.
    unsafe {
        sample_kernel::launch_unchecked(
            client,
            CubeCount::new_1d(samples as u32),
            CubeDim::new_1d(UNITS as u32),
            logits.arg(1),
            targets.first.arg(1),
            targets.second.arg(1),
            gradient.arg(1),
            each.arg(1),
            classes as u32,
            samples as u32,
            targets.lambda,
            targets.smoothing,
        );
        total_kernel::launch_unchecked(
            client,
            CubeCount::new_single(),
            CubeDim::new_1d(UNITS as u32),
            each.arg(1),
            loss.arg(1),
            correct.arg(1),
            samples as u32,
        );
    }
    Outcome { loss, gradient, correct }
}

/// The sum over the units of the cube, in a fixed order.
#[cube]
fn add_all(value: f32, shared: &mut Shared<[f32]>) -> f32 {
    sync_cube();
    shared[UNIT_POS as usize] = value;
    sync_cube();
    let mut sum = 0.0f32;
    for unit in 0..UNITS {
        sum += shared[unit];
    }
    sum
}

#[cube(launch_unchecked)]
#[expect(clippy::too_many_arguments, reason = "a kernel takes its buffers and sizes one by one")]
fn sample_kernel(
    logits: &[f32],
    first: &[i32],
    second: &[i32],
    gradient: &mut [f32],
    each: &mut [f32],
    classes: u32,
    samples: u32,
    lambda: f32,
    smoothing: f32,
) {
    let mut shared = Shared::<[f32]>::new_slice(UNITS);
    let mut places = Shared::<[u32]>::new_slice(UNITS);
    let row = CUBE_POS_X * classes;
    let step = comptime!(UNITS as u32);

    let mut best = f32::min_value();
    let mut place = classes;
    let mut class = UNIT_POS;
    while class < classes {
        let value = logits[(row + class) as usize];
        if value > best || place == classes {
            best = value;
            place = class;
        }
        class += step;
    }
    shared[UNIT_POS as usize] = best;
    places[UNIT_POS as usize] = place;
    sync_cube();
    let mut largest = shared[0];
    let mut guess = places[0];
    for unit in 1..UNITS {
        let value = shared[unit];
        // Of equals, the first counts.
        if places[unit] < classes && (value > largest || (value == largest && places[unit] < guess))
        {
            largest = value;
            guess = places[unit];
        }
    }

    let mut sum = 0.0f32;
    let mut class = UNIT_POS;
    while class < classes {
        sum += exp(logits[(row + class) as usize] - largest);
        class += step;
    }
    let whole = add_all(sum, &mut shared);
    let log_whole = ln(whole);
    let label = first[CUBE_POS_X as usize] as u32;
    let other = second[CUBE_POS_X as usize] as u32;
    let mut loss = 0.0f32;
    let mut class = UNIT_POS;
    while class < classes {
        let shifted = logits[(row + class) as usize] - largest;
        let mut target = smoothing / f32::cast_from(classes);
        if class == label {
            target += (1.0f32 - smoothing) * lambda;
        }
        if class == other {
            target += (1.0f32 - smoothing) * (1.0f32 - lambda);
        }
        // A probability of 0 costs nothing where nothing is wanted.
        if target != 0.0f32 {
            loss -= target * (shifted - log_whole);
        }
        gradient[(row + class) as usize] =
            (exp(shifted) / whole - target) / f32::cast_from(samples);
        class += step;
    }
    let loss = add_all(loss, &mut shared);
    if UNIT_POS == 0 {
        each[CUBE_POS_X as usize] = loss;
        each[(samples + CUBE_POS_X) as usize] = if guess == label { 1.0f32 } else { 0.0f32 };
    }
}

#[cube(launch_unchecked)]
fn total_kernel(each: &[f32], loss: &mut [f32], correct: &mut [f32], samples: u32) {
    let mut shared = Shared::<[f32]>::new_slice(UNITS);
    let mut losses = 0.0f32;
    let mut hits = 0.0f32;
    let mut sample = UNIT_POS;
    while sample < samples {
        losses += each[sample as usize];
        hits += each[(samples + sample) as usize];
        sample += comptime!(UNITS as u32);
    }
    let losses = add_all(losses, &mut shared);
    let hits = add_all(hits, &mut shared);
    if UNIT_POS == 0 {
        loss[0] = losses / f32::cast_from(samples);
        correct[0] = hits;
    }
}
