//! Many numbers of each sample in two, so that they can be looked at: principal components, the
//! nearest neighbours among them, and a plane in which neighbours stay neighbours (UMAP).
//!
//! Everything follows from the numbers and the seed, whatever the number of threads.

mod neighbours;
mod pca;
#[cfg(test)]
mod tests;
mod umap;

pub use neighbours::{Neighbours, nearest};
pub use pca::{Components, principal_components};
pub use umap::plane;

use crate::error::Result;
use crate::job::Job;

/// Principal components that neighbours are looked for in: what lies in the others is mostly noise,
/// and distances in few numbers are quick.
pub const COMPONENTS: usize = 50;
/// Neighbours of a sample that are to stay near.
pub const NEIGHBOURS: usize = 14;

/// Places of samples in a plane: samples that are alike lie together.
///
/// # Shapes
/// - `rows`: `[n, dim]`, finite
/// - returns `[n]`, x and y
///
/// # Errors
/// [`Error::Stopped`](crate::Error::Stopped).
///
/// # Panics
/// If `rows` is no whole number of rows.
pub fn in_two_dimensions(
    rows: &[f32],
    dim: usize,
    seed: u64,
    job: Job<'_>,
) -> Result<Vec<[f32; 2]>> {
    let Components { scores, kept, .. } = principal_components(rows, dim, COMPONENTS, seed, job)?;
    let neighbours = nearest(&scores, kept, NEIGHBOURS, job)?;
    let mut start: Vec<[f32; 2]> = scores
        .chunks_exact(kept.max(1))
        .map(|row| [row[0], row.get(1).copied().unwrap_or_default()])
        .collect();
    start.resize(rows.len() / dim.max(1), [0.0; 2]);
    plane(&neighbours, &start, seed, job)
}
