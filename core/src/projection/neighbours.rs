//! The nearest neighbours of every row, exactly.

use rayon::prelude::*;

use crate::error::Result;
use crate::job::Job;

/// Rows that are compared with a row at a time, side by side in memory.
const LANES: usize = 16;
/// Rows whose neighbours a task looks for, and tasks between two looks at whether to stop.
const TASK: usize = 64;
const TASKS: usize = 64;

/// The neighbours of some rows, nearest first.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Neighbours {
    /// Neighbours of each row.
    pub each: usize,
    /// Which rows they are, `[n, each]`.
    pub indices: Vec<u32>,
    /// How far they are, `[n, each]`.
    pub distances: Vec<f32>,
}

/// The nearest neighbours of each row, the row itself left out, by Euclidean distance; of those
/// equally far the first. There are fewer where there are not as many rows.
///
/// # Shapes
/// - `rows`: `[n, dim]`, finite
///
/// # Errors
/// [`Error::Stopped`](crate::Error::Stopped).
pub fn nearest(rows: &[f32], dim: usize, each: usize, job: Job<'_>) -> Result<Neighbours> {
    let n = rows.len().checked_div(dim).unwrap_or(0);
    let each = each.min(n.saturating_sub(1));
    if each == 0 {
        return Ok(Neighbours::default());
    }
    job.phase("finding neighbours", Some(n as u64), "images");
    // Lanes beside the last row are so far that nothing is farther.
    let blocks: Vec<f32> = (0..n.div_ceil(LANES))
        .flat_map(|block| (0..dim).map(move |d| (block, d)))
        .flat_map(|(block, d)| {
            (0..LANES).map(move |lane| {
                let row = block * LANES + lane;
                if row < n { rows[row * dim + d] } else { f32::MAX.sqrt() / 1e4 }
            })
        })
        .collect();
    let mut found = Neighbours { each, indices: vec![0; n * each], distances: vec![0.0; n * each] };
    let at_once = TASK * TASKS;
    let parts = found
        .indices
        .chunks_mut(at_once * each)
        .zip(found.distances.chunks_mut(at_once * each))
        .enumerate();
    for (part, (indices, distances)) in parts {
        job.check()?;
        let tasks = indices.par_chunks_mut(TASK * each).zip(distances.par_chunks_mut(TASK * each));
        tasks.enumerate().for_each(|(task, (indices, distances))| {
            let first = part * at_once + task * TASK;
            let mut best = Vec::with_capacity(each + 1);
            let to = indices.chunks_exact_mut(each).zip(distances.chunks_exact_mut(each));
            for (row, (indices, distances)) in (first..).zip(to) {
                look(&rows[row * dim..][..dim], row, &blocks, [n, each], &mut best);
                for ((index, distance), (to, far)) in best
                    .drain(..)
                    .zip(indices.iter_mut().zip(distances))
                    .map(|((far, index), to): ((f32, u32), _)| ((index, far.max(0.0).sqrt()), to))
                {
                    (*to, *far) = (index, distance);
                }
            }
        });
        job.progress(((part + 1) * at_once).min(n) as u64);
    }
    Ok(found)
}

/// The nearest of all rows to one, in `best`: the square of the distance and the row.
fn look(
    row: &[f32],
    own: usize,
    blocks: &[f32],
    [n, each]: [usize; 2],
    best: &mut Vec<(f32, u32)>,
) {
    best.clear();
    let mut farthest = f32::INFINITY;
    for (block, values) in blocks.chunks_exact(row.len() * LANES).enumerate() {
        let mut sums = [0.0_f32; LANES];
        for (value, lanes) in row.iter().zip(values.as_chunks::<LANES>().0) {
            for (sum, lane) in sums.iter_mut().zip(lanes) {
                let apart = value - lane;
                *sum += apart * apart;
            }
        }
        if !sums.iter().any(|sum| *sum < farthest) {
            continue;
        }
        for (lane, &sum) in sums.iter().enumerate() {
            let other = block * LANES + lane;
            if other == own || other >= n || sum >= farthest {
                continue;
            }
            let at = best.partition_point(|(known, _)| *known <= sum);
            best.insert(at, (sum, other as u32));
            best.truncate(each);
            if best.len() == each {
                farthest = best[each - 1].0;
            }
        }
    }
}
