//! Principal components by subspace iteration from a random start (Halko, Martinsson and Tropp,
//! *Finding Structure with Randomness*, SIAM Review 2011): the covariance is never formed.

use rand_distr::{Distribution, StandardNormal};
use rayon::prelude::*;

use crate::error::Result;
use crate::job::Job;
use crate::random::stream;

/// Directions beside those wanted, which make those wanted exact sooner.
const MORE: usize = 10;
/// Passes over the rows. Spectra of features fall steeply, so few are enough.
const PASSES: usize = 5;
/// Rows whose products a task adds up.
const ROWS: usize = 512;

/// Rows in their principal components.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Components {
    /// Components that there are: those wanted, or as many as the rows have.
    pub kept: usize,
    /// The rows, centred, along each component: `[n, kept]`.
    pub scores: Vec<f32>,
    /// The variance along each component, the largest first: `[kept]`.
    pub variances: Vec<f64>,
    /// The directions, `[kept, dim]`, each of length 1.
    pub directions: Vec<f32>,
}

/// The first principal components of some rows.
///
/// # Shapes
/// - `rows`: `[n, dim]`, finite
///
/// # Errors
/// [`Error::Stopped`](crate::Error::Stopped).
///
/// # Panics
/// If `rows` is no whole number of rows.
pub fn principal_components(
    rows: &[f32],
    dim: usize,
    wanted: usize,
    seed: u64,
    job: Job<'_>,
) -> Result<Components> {
    assert!(dim > 0 && rows.len().is_multiple_of(dim), "rows are whole");
    let n = rows.len() / dim;
    let kept = wanted.min(dim).min(n.saturating_sub(1));
    if kept == 0 {
        return Ok(Components::default());
    }
    let width = (kept + MORE).min(dim);
    job.phase("finding principal components", Some(PASSES as u64 + 1), "passes");
    let mean = mean(rows, dim);
    let mut rng = stream(seed, "principal components", &[]);
    let mut basis: Vec<f32> = (0..dim * width).map(|_| StandardNormal.sample(&mut rng)).collect();
    orthonormalise(&mut basis, dim, width);
    for pass in 0..PASSES {
        job.check()?;
        basis = product_with_transpose(rows, dim, &mean, &basis, width);
        orthonormalise(&mut basis, dim, width);
        job.progress(pass as u64 + 1);
    }
    job.check()?;
    // Within the subspace the components are those of a small matrix.
    let along = project(rows, dim, &mean, &basis, width);
    let mut small = vec![0.0_f64; width * width];
    for row in along.chunks_exact(width) {
        for (i, a) in row.iter().enumerate() {
            for (j, b) in row[..=i].iter().enumerate() {
                small[i * width + j] += f64::from(*a) * f64::from(*b);
            }
        }
    }
    for i in 0..width {
        for j in 0..i {
            small[j * width + i] = small[i * width + j];
        }
    }
    let (values, vectors) = eigen(small, width);
    let turn = |row: &[f32], component: usize| -> f32 {
        let parts = row.iter().enumerate();
        parts.map(|(i, value)| f64::from(*value) * vectors[i * width + component]).sum::<f64>()
            as f32
    };
    let mut scores = vec![0.0; n * kept];
    scores.par_chunks_exact_mut(kept).zip(along.par_chunks_exact(width)).for_each(|(to, row)| {
        to.iter_mut().enumerate().for_each(|(component, to)| *to = turn(row, component));
    });
    let directions = (0..kept)
        .flat_map(|component| basis.chunks_exact(width).map(move |row| (row, component)))
        .map(|(row, component)| turn(row, component))
        .collect();
    let variances = values[..kept].iter().map(|value| value.max(0.0) / (n as f64 - 1.0)).collect();
    job.progress(PASSES as u64 + 1);
    Ok(Components { kept, scores, variances, directions })
}

fn mean(rows: &[f32], dim: usize) -> Vec<f32> {
    let mut sums = vec![0.0_f64; dim];
    for row in rows.chunks_exact(dim) {
        sums.iter_mut().zip(row).for_each(|(sum, value)| *sum += f64::from(*value));
    }
    let n = (rows.len() / dim).max(1) as f64;
    sums.into_iter().map(|sum| (sum / n) as f32).collect()
}

/// Centred rows times a basis, `[dim, width]`: `[n, width]`.
fn project(rows: &[f32], dim: usize, mean: &[f32], basis: &[f32], width: usize) -> Vec<f32> {
    let mut along = vec![0.0; rows.len() / dim * width];
    along.par_chunks_exact_mut(width).zip(rows.par_chunks_exact(dim)).for_each(|(to, row)| {
        for ((value, mean), direction) in row.iter().zip(mean).zip(basis.chunks_exact(width)) {
            let value = value - mean;
            to.iter_mut().zip(direction).for_each(|(to, part)| *to += value * part);
        }
    });
    along
}

/// The transpose of the centred rows times (the centred rows times the basis): `[dim, width]`.
fn product_with_transpose(
    rows: &[f32],
    dim: usize,
    mean: &[f32],
    basis: &[f32],
    width: usize,
) -> Vec<f32> {
    // Parts are cut by shape alone and added in order. Some at a time, for memory.
    const AT_ONCE: usize = 16;
    let mut sums = vec![0.0_f64; dim * width];
    for group in rows.chunks(ROWS * dim * AT_ONCE) {
        let parts: Vec<Vec<f32>> = group
            .par_chunks(ROWS * dim)
            .map(|rows| {
                let along = project(rows, dim, mean, basis, width);
                let mut part = vec![0.0_f32; dim * width];
                for (row, along) in rows.chunks_exact(dim).zip(along.chunks_exact(width)) {
                    for ((value, mean), to) in
                        row.iter().zip(mean).zip(part.chunks_exact_mut(width))
                    {
                        let value = value - mean;
                        to.iter_mut().zip(along).for_each(|(to, along)| *to += value * along);
                    }
                }
                part
            })
            .collect();
        for part in parts {
            sums.iter_mut().zip(part).for_each(|(sum, part)| *sum += f64::from(part));
        }
    }
    // Directions are all that matters; lengths would grow beyond what float32 holds.
    let largest = sums.iter().fold(0.0_f64, |most, value| most.max(value.abs())).max(1e-300);
    sums.into_iter().map(|sum| (sum / largest) as f32).collect()
}

/// Makes the columns of a matrix `[dim, width]` orthogonal and of length 1 (Gram and Schmidt, twice,
/// so that rounding leaves nothing). A column that lies in those before it becomes zero.
fn orthonormalise(matrix: &mut [f32], dim: usize, width: usize) {
    let mut columns: Vec<Vec<f64>> = (0..width)
        .map(|column| (0..dim).map(|row| f64::from(matrix[row * width + column])).collect())
        .collect();
    let dot = |a: &[f64], b: &[f64]| a.iter().zip(b).map(|(a, b)| a * b).sum::<f64>();
    for column in 0..width {
        let (before, rest) = columns.split_at_mut(column);
        let this = &mut rest[0];
        let length = dot(this, this).sqrt();
        for _ in 0..2 {
            for other in before.iter() {
                let share = dot(this, other);
                this.iter_mut().zip(other).for_each(|(value, other)| *value -= share * other);
            }
        }
        let left = dot(this, this).sqrt();
        let scale = if left > 1e-10 * length && left > 0.0 { 1.0 / left } else { 0.0 };
        this.iter_mut().for_each(|value| *value *= scale);
    }
    for (column, values) in columns.iter().enumerate() {
        for (row, value) in values.iter().enumerate() {
            matrix[row * width + column] = *value as f32;
        }
    }
}

/// Eigenvalues of a symmetric matrix, the largest first, and its eigenvectors in columns, by
/// Jacobi's rotations.
fn eigen(mut a: Vec<f64>, size: usize) -> (Vec<f64>, Vec<f64>) {
    let mut vectors = vec![0.0; size * size];
    (0..size).for_each(|i| vectors[i * size + i] = 1.0);
    for _ in 0..60 {
        let off: f64 = (0..size)
            .flat_map(|i| (0..i).map(move |j| (i, j)))
            .map(|(i, j)| a[i * size + j].powi(2))
            .sum();
        let all: f64 = a.iter().map(|value| value.powi(2)).sum();
        if off <= 1e-24 * all {
            break;
        }
        for p in 0..size {
            for q in p + 1..size {
                let apq = a[p * size + q];
                if apq == 0.0 {
                    continue;
                }
                let theta = (a[q * size + q] - a[p * size + p]) / (2.0 * apq);
                let t = theta.signum() / (theta.abs() + (theta * theta + 1.0).sqrt());
                let t = if theta == 0.0 { 1.0 } else { t };
                let cos = 1.0 / (t * t + 1.0).sqrt();
                let sin = t * cos;
                for k in 0..size {
                    let (x, y) = (a[k * size + p], a[k * size + q]);
                    a[k * size + p] = cos * x - sin * y;
                    a[k * size + q] = sin * x + cos * y;
                }
                for k in 0..size {
                    let (x, y) = (a[p * size + k], a[q * size + k]);
                    a[p * size + k] = cos * x - sin * y;
                    a[q * size + k] = sin * x + cos * y;
                }
                for k in 0..size {
                    let (x, y) = (vectors[k * size + p], vectors[k * size + q]);
                    vectors[k * size + p] = cos * x - sin * y;
                    vectors[k * size + q] = sin * x + cos * y;
                }
            }
        }
    }
    let mut order: Vec<usize> = (0..size).collect();
    order.sort_by(|&i, &j| a[j * size + j].total_cmp(&a[i * size + i]));
    let values = order.iter().map(|&i| a[i * size + i]).collect();
    let mut sorted = vec![0.0; size * size];
    for (to, &from) in order.iter().enumerate() {
        // Of the two signs, the one whose largest part is positive: the same on every machine.
        let column = (0..size).map(|row| vectors[row * size + from]);
        let largest = column.fold(0.0_f64, |most, v| if v.abs() > most.abs() { v } else { most });
        let sign = if largest < 0.0 { -1.0 } else { 1.0 };
        for row in 0..size {
            sorted[row * size + to] = sign * vectors[row * size + from];
        }
    }
    (values, sorted)
}
