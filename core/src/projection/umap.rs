//! A plane in which neighbours stay neighbours: UMAP (McInnes, Healy and Melville, *UMAP: Uniform
//! Manifold Approximation and Projection for Dimension Reduction*, 2018).
//!
//! It differs from the authors' program in two things that make it the same on any number of
//! threads. It starts from principal components, which are known already, and in an epoch each place
//! moves by itself, seeing where the others were when the epoch began.

use rand::RngExt;
use rayon::prelude::*;

use super::neighbours::Neighbours;
use crate::error::Result;
use crate::job::Job;
use crate::random::stream;

/// The curve that likeness in the plane follows, 1 / (1 + a · d^2b): what fits best for places that
/// may come as near as 0.1.
const A: f32 = 1.576_943_5;
const B: f32 = 0.895_060_9;
/// Places that a place is pushed away from for each that it is pulled to.
const PUSHES: usize = 5;
/// The longest part of a step.
const LONGEST: f32 = 4.0;
/// Half the width of the plane at the start.
const START: f32 = 10.0;
/// Places that a task moves, with random numbers of their own.
const TASK: usize = 256;

/// Places of samples in a plane, from their neighbours and where they start.
///
/// # Shapes
/// - `neighbours`: of n samples; `start` and what is returned: `[n]`, x and y
///
/// # Errors
/// [`Error::Stopped`](crate::Error::Stopped).
///
/// # Panics
/// If there are other neighbours than of `start`'s samples.
pub fn plane(
    neighbours: &Neighbours,
    start: &[[f32; 2]],
    seed: u64,
    job: Job<'_>,
) -> Result<Vec<[f32; 2]>> {
    assert_eq!(neighbours.indices.len(), neighbours.each * start.len(), "of the same samples");
    let mut places = scaled(start, seed);
    if neighbours.each == 0 {
        return Ok(places);
    }
    // As the authors' program: fewer for many, which have more neighbours to be moved by.
    let epochs: usize = if places.len() <= 10_000 { 500 } else { 200 };
    let graph = Graph::of(neighbours, epochs);
    job.phase("laying out the map", Some(epochs as u64), "epochs");
    let mut before = places.clone();
    for epoch in 0..epochs {
        job.check()?;
        let rate = 1.0 - epoch as f32 / epochs as f32;
        before.copy_from_slice(&places);
        places.par_chunks_mut(TASK).enumerate().for_each(|(task, places)| {
            let mut rng = stream(seed, "map", &[epoch as u64, task as u64]);
            for (place, sample) in places.iter_mut().zip(task * TASK..) {
                for edge in graph.edges(sample).filter(|edge| edge.acts(epoch)) {
                    // The edge pulls from either end.
                    for _ in 0..2 {
                        pull(place, before[edge.to as usize], rate);
                    }
                    for _ in 0..PUSHES {
                        let other = rng.random_range(0..before.len());
                        if other != sample {
                            push(place, before[other], rate);
                        }
                    }
                }
            }
        });
        job.progress(epoch as u64 + 1);
    }
    Ok(places)
}

/// The start in a square of a usual size, with a little noise: of samples that are the same, none
/// would ever leave the others.
fn scaled(start: &[[f32; 2]], seed: u64) -> Vec<[f32; 2]> {
    let largest = start.iter().flatten().fold(0.0_f32, |most, value| most.max(value.abs()));
    let scale = if largest > 0.0 && largest.is_finite() { START / largest } else { 0.0 };
    let mut rng = stream(seed, "start of the map", &[]);
    start
        .iter()
        .map(|place| place.map(|value| value * scale + rng.random_range(-1e-2..1e-2)))
        .collect()
}

fn squared(a: [f32; 2], b: [f32; 2]) -> f32 {
    (a[0] - b[0]).powi(2) + (a[1] - b[1]).powi(2)
}

fn pull(place: &mut [f32; 2], to: [f32; 2], rate: f32) {
    let squared = squared(*place, to);
    if squared > 0.0 {
        let power = squared.powf(B - 1.0);
        let share = -2.0 * A * B * power / (1.0 + A * power * squared);
        step(place, to, share, rate);
    }
}

fn push(place: &mut [f32; 2], from: [f32; 2], rate: f32) {
    let squared = squared(*place, from);
    if squared > 0.0 {
        let share = 2.0 * B / ((0.001 + squared) * (1.0 + A * squared.powf(B)));
        step(place, from, share, rate);
    }
}

fn step(place: &mut [f32; 2], other: [f32; 2], share: f32, rate: f32) {
    for (value, other) in place.iter_mut().zip(other) {
        *value += rate * (share * (*value - other)).clamp(-LONGEST, LONGEST);
    }
}

/// How alike neighbours are, from either side.
struct Graph {
    /// Where the edges of each sample begin, `[n + 1]`.
    starts: Vec<usize>,
    edges: Vec<Edge>,
}

#[derive(Clone, Copy)]
struct Edge {
    to: u32,
    /// Epochs from one pull to the next, at least 1.
    every: f32,
}

impl Edge {
    /// Whether a whole multiple of its epochs ends in this one.
    fn acts(&self, epoch: usize) -> bool {
        let times = |epochs: usize| (epochs as f32 / self.every).floor();
        times(epoch + 1) > times(epoch)
    }
}

impl Graph {
    fn of(neighbours: &Neighbours, epochs: usize) -> Self {
        let each = neighbours.each;
        let n = neighbours.indices.len() / each;
        let all = &neighbours.distances;
        let mean = all.iter().map(|far| f64::from(*far)).sum::<f64>() / all.len().max(1) as f64;
        let likeness: Vec<f32> = neighbours
            .distances
            .par_chunks_exact(each)
            .flat_map_iter(|distances| likeness(distances, mean))
            .collect();
        // Both directions of each pair beside each other, the likeness of each or nothing.
        let mut pairs: Vec<(u32, u32, f32, f32)> = Vec::with_capacity(2 * n * each);
        for (at, (&to, &alike)) in neighbours.indices.iter().zip(&likeness).enumerate() {
            let from = (at / each) as u32;
            pairs.push((from, to, alike, 0.0));
            pairs.push((to, from, 0.0, alike));
        }
        pairs.par_sort_unstable_by_key(|&(from, to, alike, _)| (from, to, alike.to_bits()));
        let mut found: Vec<(u32, u32, f32)> = Vec::with_capacity(pairs.len());
        for same in pairs.chunk_by(|a, b| (a.0, a.1) == (b.0, b.1)) {
            let there = same.iter().fold(0.0_f32, |most, pair| most.max(pair.2));
            let back = same.iter().fold(0.0_f32, |most, pair| most.max(pair.3));
            // One of the two is enough.
            found.push((same[0].0, same[0].1, there + back - there * back));
        }
        let largest = found.iter().fold(0.0_f32, |most, edge| most.max(edge.2));
        // What would not pull once is left out.
        found.retain(|edge| edge.2 > 0.0 && edge.2 >= largest / epochs as f32);
        let mut starts = vec![0; n + 1];
        found.iter().for_each(|edge| starts[edge.0 as usize + 1] += 1);
        (0..n).for_each(|sample| starts[sample + 1] += starts[sample]);
        let edges =
            found.into_iter().map(|(_, to, alike)| Edge { to, every: largest / alike }).collect();
        Self { starts, edges }
    }

    fn edges(&self, sample: usize) -> impl Iterator<Item = &Edge> {
        self.edges[self.starts[sample]..self.starts[sample + 1]].iter()
    }
}

/// How alike a sample's neighbours are to it, 1 for the nearest: what falls off with the distance so
/// that they add up to the logarithm of their number.
fn likeness(distances: &[f32], mean_of_all: f64) -> Vec<f32> {
    const LEAST: f64 = 1e-3;
    let nearest = distances.iter().copied().find(|far| *far > 0.0).unwrap_or_default();
    let beyond: Vec<f64> = distances.iter().map(|far| f64::from(far - nearest).max(0.0)).collect();
    let wanted = (distances.len() as f64 + 1.0).log2();
    let sum = |scale: f64| beyond.iter().map(|far| (-far / scale).exp()).sum::<f64>();
    let (mut low, mut high, mut scale) = (0.0_f64, f64::INFINITY, 1.0_f64);
    for _ in 0..64 {
        let found = sum(scale);
        if (found - wanted).abs() < 1e-5 {
            break;
        }
        if found > wanted {
            high = scale;
        } else {
            low = scale;
        }
        scale = if high.is_finite() { (low + high) / 2.0 } else { scale * 2.0 };
    }
    let mean = distances.iter().map(|far| f64::from(*far)).sum::<f64>() / distances.len() as f64;
    let least = LEAST * if nearest > 0.0 { mean } else { mean_of_all };
    let scale = scale.max(least).max(f64::MIN_POSITIVE);
    beyond.into_iter().map(|far| (-far / scale).exp() as f32).collect()
}
