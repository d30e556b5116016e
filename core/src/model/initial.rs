//! Initial weights, as PyTorch draws them for the paper's networks.
//!
//! They are drawn on the host from a stream named by the parameter, so they are the same on every
//! device.

use burn::module::Param;
use burn::tensor::{Device, Tensor, TensorData};
use rand::distr::{Distribution, Uniform};
use rand_distr::Normal;

use crate::random;

/// Where initial weights come from.
pub(super) struct Initial<'a> {
    /// What they are drawn by; without it they are zeros, for others to take their place: drawing
    /// millions takes longer than reading them.
    pub seed: Option<u64>,
    pub device: &'a Device,
}

impl Initial<'_> {
    /// Kaiming normal, fan-out, for a convolution `[out, in, k, k]` followed by ReLU (He et al.,
    /// 2015): std = √(2 / fan-out), which is out · k² as PyTorch counts it.
    pub fn kaiming_normal(
        &self,
        name: &str,
        shape: [usize; 4],
        fan_out: usize,
    ) -> Param<Tensor<4>> {
        let normal = Normal::new(0.0f32, (2.0 / fan_out as f32).sqrt())
            .expect("the deviation is finite and positive");
        self.draw(name, shape, normal)
    }

    /// PyTorch's default for convolutions and linear layers: uniform in ±1/√fan-in, fan-in counted
    /// over every axis but the first.
    pub fn layer_default<const D: usize>(
        &self,
        name: &str,
        shape: [usize; D],
        fan_in: usize,
    ) -> Param<Tensor<D>> {
        let bound = 1.0 / (fan_in as f32).sqrt();
        self.draw(
            name,
            shape,
            Uniform::new(-bound, bound).expect("the bound is finite and positive"),
        )
    }

    pub fn constant(&self, length: usize, value: f32) -> Param<Tensor<1>> {
        Param::from_data(TensorData::new(vec![value; length], [length]), self.device)
    }

    fn draw<const D: usize>(
        &self,
        name: &str,
        shape: [usize; D],
        distribution: impl Distribution<f32>,
    ) -> Param<Tensor<D>> {
        let count = shape.iter().product();
        let values: Vec<f32> = match self.seed {
            Some(seed) => {
                let rng = random::stream(seed, &format!("weights {name}"), &[]);
                distribution.sample_iter(rng).take(count).collect()
            }
            None => vec![0.0; count],
        };
        Param::from_data(TensorData::new(values, shape), self.device)
    }
}
