//! Batch normalisation (Ioffe and Szegedy, 2015) in training, fused with the residual sum and the
//! activation around it.

use rayon::prelude::*;

use super::activation::{Activation, Bounds};
use super::lanes::{Lanes, add_rows};
use super::vectorised::vectorised;

/// A batch's statistics by channel.
#[derive(Clone, Debug, PartialEq)]
pub struct Statistics {
    /// Means, `[channels]`.
    pub mean: Vec<f32>,
    /// Biased variances, `[channels]`.
    pub variance: Vec<f32>,
}

impl Statistics {
    /// Means and biased variances of the channels of `x`, `[pixels, channels]`.
    ///
    /// Every piece takes its own mean away before it squares, and pieces are put together by Chan,
    /// Golub and LeVeque's formula, so a mean far from zero does not eat up the variance.
    pub fn of(x: &[f32], channels: usize) -> Self {
        let lanes = Lanes::new(channels);
        let parts: Vec<Moments> = x
            .par_chunks(lanes.part(x.len()))
            .map(|part| {
                let mut moments = Moments::none(channels);
                part.chunks(lanes.piece).for_each(|piece| moments.join(&Moments::of(piece, lanes)));
                moments
            })
            .collect();
        let mut whole = Moments::none(channels);
        parts.iter().for_each(|part| whole.join(part));
        let pixels = whole.pixels.max(1.0);
        Self {
            mean: whole.mean.iter().map(|mean| *mean as f32).collect(),
            variance: whole.squares.iter().map(|squares| (squares / pixels) as f32).collect(),
        }
    }
}

/// Means and sums of squared deviations from them.
struct Moments {
    pixels: f64,
    mean: Vec<f64>,
    squares: Vec<f64>,
}

impl Moments {
    fn none(channels: usize) -> Self {
        Self { pixels: 0.0, mean: vec![0.0; channels], squares: vec![0.0; channels] }
    }

    fn of(x: &[f32], lanes: Lanes) -> Self {
        let pixels = (x.len() / lanes.channels) as f64;
        let mut sums = vec![0.0; lanes.row];
        add_rows(x, &mut sums);
        let near: Vec<f32> = lanes.gather(&sums).iter().map(|sum| (sum / pixels) as f32).collect();
        let mut squares = vec![0.0; lanes.row];
        sums.fill(0.0);
        add_deviations(x, &lanes.spread(&near), &mut sums, &mut squares);
        // The mean was rounded; what is left of the deviations corrects it and the squares.
        let (left, mut squares) = (lanes.gather(&sums), lanes.gather(&squares));
        squares.iter_mut().zip(&left).for_each(|(squares, left)| *squares -= left * left / pixels);
        let mean =
            near.iter().zip(&left).map(|(near, left)| f64::from(*near) + left / pixels).collect();
        Self { pixels, mean, squares }
    }

    fn join(&mut self, other: &Self) {
        let pixels = self.pixels + other.pixels;
        let (share, weight) = (other.pixels / pixels, self.pixels * other.pixels / pixels);
        for (channel, mean) in self.mean.iter_mut().enumerate() {
            let apart = other.mean[channel] - *mean;
            *mean += apart * share;
            self.squares[channel] += other.squares[channel] + apart * apart * weight;
        }
        self.pixels = pixels;
    }
}

vectorised! {
    fn add_deviations(x: &[f32], mean: &[f32], sums: &mut [f32], squares: &mut [f32]) {
        for row in x.chunks(sums.len()) {
            for (((x, mean), sum), square) in row.iter().zip(mean).zip(sums.iter_mut()).zip(squares.iter_mut()) {
                let deviation = x - mean;
                *sum += deviation;
                *square += deviation * deviation;
            }
        }
    }
}

/// Batch normalisation with given statistics: γ (x − μ) / √(σ² + ε) + β.
#[derive(Clone, Copy, Debug)]
pub struct Normalisation<'a> {
    /// Means μ, `[channels]`.
    pub mean: &'a [f32],
    /// Biased variances σ², `[channels]`.
    pub variance: &'a [f32],
    /// Factors γ, `[channels]`.
    pub weight: &'a [f32],
    /// Summands β, `[channels]`.
    pub bias: &'a [f32],
    /// ε.
    pub epsilon: f64,
}

/// Where the statistics that batch norm normalises with come from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum StatisticsOf {
    /// The values that are normalised: gradients flow through the statistics, too.
    Batch,
    /// Values seen before: the statistics are constants.
    Past,
}

/// Gradients with respect to the parameters of batch norm.
#[derive(Clone, Debug, PartialEq)]
pub struct BatchNormGradients {
    /// With respect to γ, `[channels]`.
    pub weight: Vec<f32>,
    /// With respect to β, `[channels]`.
    pub bias: Vec<f32>,
}

/// What is needed in every pixel, repeated to a row.
struct Spread {
    mean: Vec<f32>,
    /// γ / √(σ² + ε).
    scale: Vec<f32>,
    bias: Vec<f32>,
}

impl Normalisation<'_> {
    fn deviation(&self, channel: usize) -> f64 {
        (f64::from(self.variance[channel]) + self.epsilon).sqrt()
    }

    /// γ / √(σ² + ε).
    pub(super) fn scale(&self, channel: usize) -> f32 {
        (f64::from(self.weight[channel]) / self.deviation(channel)) as f32
    }

    fn spread(&self, lanes: Lanes) -> Spread {
        let scale: Vec<f32> = (0..lanes.channels).map(|channel| self.scale(channel)).collect();
        Spread {
            mean: lanes.spread(self.mean),
            scale: lanes.spread(&scale),
            bias: lanes.spread(self.bias),
        }
    }

    /// Normalises `x`, adds `residual` and applies the activation. A value that is no number stays
    /// one.
    ///
    /// # Shapes
    /// `x`, `residual` and `y` are `[pixels, channels]`; `y` is overwritten.
    pub fn forward(
        &self,
        x: &[f32],
        residual: Option<&[f32]>,
        activation: Activation,
        y: &mut [f32],
    ) {
        let (lanes, bounds) = (Lanes::new(self.mean.len()), activation.bounds());
        let at = self.spread(lanes);
        let pieces = y.par_chunks_mut(lanes.piece).zip(x.par_chunks(lanes.piece));
        match residual {
            None => {
                pieces.for_each(|(y, x)| normalise(x, &at.mean, &at.scale, &at.bias, bounds, y))
            }
            Some(residual) => {
                pieces.zip(residual.par_chunks(lanes.piece)).for_each(|((y, x), residual)| {
                    normalise_and_add(x, residual, &at.mean, &at.scale, &at.bias, bounds, y)
                })
            }
        }
    }

    /// The backward pass of [`Normalisation::forward`] without residual. `gradient` holds the
    /// output's gradient and is turned into the input's. Where the activation let nothing through
    /// is computed again from `x`, bit for bit.
    ///
    /// # Shapes
    /// `x` and `gradient` are `[pixels, channels]`.
    pub fn backward(
        &self,
        x: &[f32],
        of: StatisticsOf,
        activation: Activation,
        gradient: &mut [f32],
    ) -> BatchNormGradients {
        let (lanes, bounds) = (Lanes::new(self.mean.len()), activation.bounds());
        let at = self.spread(lanes);
        let part = lanes.part(x.len());
        let parts = x.par_chunks(part).zip(gradient.par_chunks_mut(part)).map(|(x, gradient)| {
            let mut sums = Sums::none(lanes);
            for (x, gradient) in x.chunks(lanes.piece).zip(gradient.chunks_mut(lanes.piece)) {
                match of {
                    StatisticsOf::Batch => {
                        sums.add(|sums, products| {
                            add_gradients(
                                x, gradient, &at.mean, &at.scale, &at.bias, bounds, sums, products,
                            )
                        });
                    }
                    StatisticsOf::Past => {
                        sums.add(|sums, products| {
                            scale_and_add(
                                x, &at.mean, &at.scale, &at.bias, bounds, gradient, sums, products,
                            )
                        });
                    }
                }
            }
            sums
        });
        let sums = Sums::join(parts, lanes);
        if of == StatisticsOf::Batch {
            let (mean, factor) = self.corrections(&sums, x.len(), lanes);
            let pieces = gradient.par_chunks_mut(lanes.piece).zip(x.par_chunks(lanes.piece));
            pieces.for_each(|(gradient, x)| {
                to_input_gradient(
                    x, &at.mean, &at.scale, &at.bias, &mean, &factor, bounds, gradient,
                )
            });
        }
        self.parameter_gradients(&sums)
    }

    /// The backward pass of [`Normalisation::forward`] with a residual. `gradient` holds the
    /// output's gradient and is turned into the residual's; `y` is the output.
    ///
    /// # Shapes
    /// `x`, `y`, `gradient` and `dx` are `[pixels, channels]`; `dx`, the input's gradient, is
    /// overwritten.
    pub fn backward_residual(
        &self,
        x: &[f32],
        of: StatisticsOf,
        y: &[f32],
        activation: Activation,
        gradient: &mut [f32],
        dx: &mut [f32],
    ) -> BatchNormGradients {
        let (lanes, bounds) = (Lanes::new(self.mean.len()), activation.bounds());
        let at = self.spread(lanes);
        let part = lanes.part(x.len());
        let parts = gradient
            .par_chunks_mut(part)
            .zip(dx.par_chunks_mut(part))
            .zip(x.par_chunks(part).zip(y.par_chunks(part)));
        let parts = parts.map(|((gradient, dx), (x, y))| {
            let mut sums = Sums::none(lanes);
            let pieces = gradient.chunks_mut(lanes.piece).zip(dx.chunks_mut(lanes.piece));
            for ((gradient, dx), (x, y)) in
                pieces.zip(x.chunks(lanes.piece).zip(y.chunks(lanes.piece)))
            {
                sums.add(|sums, products| {
                    mask_and_add_gradients(x, y, &at.mean, bounds, gradient, sums, products)
                });
                if of == StatisticsOf::Past {
                    scale_gradient(gradient, &at.scale, dx);
                }
            }
            sums
        });
        let sums = Sums::join(parts, lanes);
        if of == StatisticsOf::Batch {
            let (mean, factor) = self.corrections(&sums, x.len(), lanes);
            let pieces = dx
                .par_chunks_mut(lanes.piece)
                .zip(x.par_chunks(lanes.piece).zip(gradient.par_chunks(lanes.piece)));
            pieces.for_each(|(dx, (x, gradient))| {
                input_gradient(x, gradient, &at.mean, &at.scale, &mean, &factor, dx)
            });
        }
        self.parameter_gradients(&sums)
    }

    /// The gradient's mean, and the factor of x − μ that is taken away from it, both repeated to a
    /// row.
    fn corrections(&self, sums: &Sums, values: usize, lanes: Lanes) -> (Vec<f32>, Vec<f32>) {
        let pixels = (values / lanes.channels).max(1) as f64;
        let mean: Vec<f32> = sums.gradient.iter().map(|sum| (sum / pixels) as f32).collect();
        let factor: Vec<f32> = (0..lanes.channels)
            .map(|channel| {
                (sums.products[channel] / pixels / self.deviation(channel).powi(2)) as f32
            })
            .collect();
        (lanes.spread(&mean), lanes.spread(&factor))
    }

    fn parameter_gradients(&self, sums: &Sums) -> BatchNormGradients {
        let weight = sums
            .products
            .iter()
            .enumerate()
            .map(|(channel, sum)| (sum / self.deviation(channel)) as f32)
            .collect();
        BatchNormGradients { weight, bias: sums.gradient.iter().map(|sum| *sum as f32).collect() }
    }
}

/// Sums over pixels by channel, of the gradient g and of g (x − μ).
struct Sums {
    lanes: Lanes,
    gradient: Vec<f64>,
    products: Vec<f64>,
}

impl Sums {
    fn none(lanes: Lanes) -> Self {
        Self { lanes, gradient: vec![0.0; lanes.channels], products: vec![0.0; lanes.channels] }
    }

    /// Adds the sums of a piece, which `sum` leaves in two rows of lanes.
    fn add(&mut self, sum: impl FnOnce(&mut [f32], &mut [f32])) {
        let (mut gradient, mut products) = (vec![0.0; self.lanes.row], vec![0.0; self.lanes.row]);
        sum(&mut gradient, &mut products);
        self.lanes.gather_into(&gradient, &mut self.gradient);
        self.lanes.gather_into(&products, &mut self.products);
    }

    fn join(parts: impl IndexedParallelIterator<Item = Self>, lanes: Lanes) -> Self {
        let parts: Vec<Self> = parts.collect();
        let mut all = Self::none(lanes);
        for part in parts {
            all.gradient.iter_mut().zip(part.gradient).for_each(|(sum, value)| *sum += value);
            all.products.iter_mut().zip(part.products).for_each(|(sum, value)| *sum += value);
        }
        all
    }
}

vectorised! {
    fn normalise(x: &[f32], mean: &[f32], scale: &[f32], bias: &[f32], bounds: Bounds, y: &mut [f32]) {
        for (y, x) in y.chunks_mut(mean.len()).zip(x.chunks(mean.len())) {
            for ((((y, x), mean), scale), bias) in y.iter_mut().zip(x).zip(mean).zip(scale).zip(bias) {
                let value = (x - mean) * scale + bias;
                *y = bounds.apply(value);
            }
        }
    }
}

vectorised! {
    fn normalise_and_add(x: &[f32], residual: &[f32], mean: &[f32], scale: &[f32], bias: &[f32], bounds: Bounds, y: &mut [f32]) {
        for ((y, x), residual) in y.chunks_mut(mean.len()).zip(x.chunks(mean.len())).zip(residual.chunks(mean.len())) {
            for (((((y, x), residual), mean), scale), bias) in y.iter_mut().zip(x).zip(residual).zip(mean).zip(scale).zip(bias) {
                let value = (x - mean) * scale + bias + residual;
                *y = bounds.apply(value);
            }
        }
    }
}

vectorised! {
    fn add_gradients(
        x: &[f32], gradient: &[f32], mean: &[f32], scale: &[f32], bias: &[f32], bounds: Bounds, sums: &mut [f32], products: &mut [f32],
    ) {
        for (x, gradient) in x.chunks(mean.len()).zip(gradient.chunks(mean.len())) {
            let channels = mean.iter().zip(scale).zip(bias).zip(sums.iter_mut().zip(products.iter_mut()));
            for ((x, gradient), (((mean, scale), bias), (sum, product))) in x.iter().zip(gradient).zip(channels) {
                let deviation = x - mean;
                let gradient = bounds.masked(*gradient, deviation * scale + bias);
                *sum += gradient;
                *product += gradient * deviation;
            }
        }
    }
}

vectorised! {
    fn to_input_gradient(
        x: &[f32], mean: &[f32], scale: &[f32], bias: &[f32], gradient_mean: &[f32], factor: &[f32], bounds: Bounds, gradient: &mut [f32],
    ) {
        for (x, gradient) in x.chunks(mean.len()).zip(gradient.chunks_mut(mean.len())) {
            let channels = mean.iter().zip(scale).zip(bias).zip(gradient_mean.iter().zip(factor));
            for ((x, gradient), (((mean, scale), bias), (gradient_mean, factor))) in x.iter().zip(gradient).zip(channels) {
                let deviation = x - mean;
                let through = bounds.masked(*gradient, deviation * scale + bias);
                *gradient = (through - gradient_mean - deviation * factor) * scale;
            }
        }
    }
}

vectorised! {
    fn scale_and_add(
        x: &[f32], mean: &[f32], scale: &[f32], bias: &[f32], bounds: Bounds, gradient: &mut [f32], sums: &mut [f32], products: &mut [f32],
    ) {
        for (x, gradient) in x.chunks(mean.len()).zip(gradient.chunks_mut(mean.len())) {
            let channels = mean.iter().zip(scale).zip(bias).zip(sums.iter_mut().zip(products.iter_mut()));
            for ((x, gradient), (((mean, scale), bias), (sum, product))) in x.iter().zip(gradient).zip(channels) {
                let deviation = x - mean;
                let through = bounds.masked(*gradient, deviation * scale + bias);
                *gradient = through * scale;
                *sum += through;
                *product += through * deviation;
            }
        }
    }
}

vectorised! {
    fn scale_gradient(gradient: &[f32], scale: &[f32], dx: &mut [f32]) {
        for (gradient, dx) in gradient.chunks(scale.len()).zip(dx.chunks_mut(scale.len())) {
            for ((gradient, dx), scale) in gradient.iter().zip(dx).zip(scale) {
                *dx = gradient * scale;
            }
        }
    }
}

vectorised! {
    fn mask_and_add_gradients(
        x: &[f32], y: &[f32], mean: &[f32], bounds: Bounds, gradient: &mut [f32], sums: &mut [f32], products: &mut [f32],
    ) {
        for ((x, y), gradient) in x.chunks(mean.len()).zip(y.chunks(mean.len())).zip(gradient.chunks_mut(mean.len())) {
            let channels = mean.iter().zip(sums.iter_mut().zip(products.iter_mut()));
            for (((x, y), gradient), (mean, (sum, product))) in x.iter().zip(y).zip(gradient).zip(channels) {
                let through = bounds.masked(*gradient, *y);
                *gradient = through;
                *sum += through;
                *product += through * (x - mean);
            }
        }
    }
}

vectorised! {
    fn input_gradient(
        x: &[f32], gradient: &[f32], mean: &[f32], scale: &[f32], gradient_mean: &[f32], factor: &[f32], dx: &mut [f32],
    ) {
        for ((x, gradient), dx) in x.chunks(mean.len()).zip(gradient.chunks(mean.len())).zip(dx.chunks_mut(mean.len())) {
            let channels = mean.iter().zip(scale).zip(gradient_mean.iter().zip(factor));
            for (((x, gradient), dx), ((mean, scale), (gradient_mean, factor))) in x.iter().zip(gradient).zip(dx).zip(channels) {
                *dx = (gradient - gradient_mean - (x - mean) * factor) * scale;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use rand::RngExt;

    use super::*;
    use crate::random;

    #[test]
    fn a_mean_far_from_zero_leaves_the_variance_right() {
        for channels in [1, 3, 16, 64, 130] {
            let mut rng = random::stream(0, "far", &[channels as u64]);
            let pixels = 3 * 16 * 1024 / channels + 5;
            let x: Vec<f32> = (0..pixels * channels)
                .map(|index| 3e4 * (index % channels + 1) as f32 + rng.random_range(-1.0..1.0))
                .collect();
            let found = Statistics::of(&x, channels);
            for channel in 0..channels {
                let values =
                    || x.iter().skip(channel).step_by(channels).map(|value| f64::from(*value));
                let mean = values().sum::<f64>() / pixels as f64;
                let variance =
                    values().map(|value| (value - mean).powi(2)).sum::<f64>() / pixels as f64;
                assert_eq!(found.mean[channel], mean as f32);
                assert!(
                    (f64::from(found.variance[channel]) / variance - 1.0).abs() < 1e-5,
                    "{} and not {variance}",
                    found.variance[channel]
                );
            }
        }
    }
}
