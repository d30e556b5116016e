//! The two matrix products of a linear layer, in place on row-major slices.

use ndarray::linalg::general_mat_mul;
use ndarray::{ArrayView2, ArrayViewMut2};

/// `out += a · bᵀ` with `a` of shape [n, k], `b` [m, k] and `out` [n, m].
pub(super) fn add_product_transposed(a: &[f32], b: &[f32], out: &mut [f32], k: usize, m: usize) {
    let a = view(a, k);
    let b = view(b, k);
    general_mat_mul(1.0, &a, &b.t(), 1.0, &mut view_mut(out, m));
}

/// `out = aᵀ · b` with `a` of shape [n, m], `b` [n, k] and `out` [m, k].
pub(super) fn transposed_product(a: &[f32], b: &[f32], out: &mut [f32], m: usize, k: usize) {
    let a = view(a, m);
    let b = view(b, k);
    general_mat_mul(1.0, &a.t(), &b, 0.0, &mut view_mut(out, k));
}

fn view(values: &[f32], columns: usize) -> ArrayView2<'_, f32> {
    ArrayView2::from_shape((values.len() / columns, columns), values).expect("callers pass whole rows")
}

fn view_mut(values: &mut [f32], columns: usize) -> ArrayViewMut2<'_, f32> {
    ArrayViewMut2::from_shape((values.len() / columns, columns), values).expect("callers pass whole rows")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_products_equal_the_sums_written_out() {
        let (n, m, k) = (5, 3, 9);
        let a: Vec<f32> = (0..n * m).map(|i| (i as f32 * 0.7).sin()).collect();
        let b: Vec<f32> = (0..n * k).map(|i| (i as f32 * 0.3).cos()).collect();
        let mut out = vec![f32::NAN; m * k];
        transposed_product(&a, &b, &mut out, m, k);
        for i in 0..m {
            for j in 0..k {
                let sum: f32 = (0..n).map(|r| a[r * m + i] * b[r * k + j]).sum();
                assert!((sum - out[i * k + j]).abs() < 1e-5);
            }
        }
        let w = &out.clone();
        let mut back = vec![1.0; n * m];
        add_product_transposed(&b, w, &mut back, k, m);
        for r in 0..n {
            for i in 0..m {
                let sum: f32 = (0..k).map(|j| b[r * k + j] * w[i * k + j]).sum();
                assert!((1.0 + sum - back[r * m + i]).abs() < 1e-4);
            }
        }
    }
}
