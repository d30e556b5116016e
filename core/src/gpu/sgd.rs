//! Stochastic gradient descent over many parameters at once.

#![expect(unsafe_code, reason = "CubeCL does not check that a kernel stays inside its buffers")]

use cubecl::client::Client;
use cubecl::prelude::*;

use super::buffer::{Buffer, UNITS, spread, units, width};

/// Values of one parameter, all of one length. The step changes weight and velocity in place.
pub struct Parameter {
    pub weight: Buffer,
    pub gradient: Buffer,
    pub velocity: Buffer,
}

/// One step: g ← g + λ w, v ← μ v + g, w ← w − lr · v.
pub fn sgd(
    client: &Client,
    parameters: &[Parameter],
    [learning_rate, momentum, weight_decay]: [f32; 3],
) {
    for wide in [4, 1] {
        let of_width: Vec<&Parameter> =
            parameters.iter().filter(|parameter| width(parameter.weight.length) == wide).collect();
        for together in of_width.chunks(at_once(client)) {
            let lengths: Vec<u32> =
                together.iter().map(|parameter| (parameter.weight.length / wide) as u32).collect();
            let mut cubes = 0;
            let starts = lengths.iter().map(|&length| {
                let start = cubes;
                cubes += length.div_ceil(UNITS as u32);
                start
            });
            let starts: Vec<u32> = starts.collect();
            let buffers = |which: fn(&Parameter) -> &Buffer| {
                together.iter().map(|parameter| which(parameter).arg(wide)).collect()
            };
            // SAFETY: units past a parameter do nothing.
            unsafe {
                sgd_kernel::launch_unchecked(
                    client,
                    spread(cubes as usize),
                    units(),
                    wide,
                    buffers(|parameter| &parameter.weight),
                    buffers(|parameter| &parameter.gradient),
                    buffers(|parameter| &parameter.velocity),
                    starts.into_iter().collect(),
                    lengths.into_iter().collect(),
                    learning_rate,
                    momentum,
                    weight_decay,
                    together.len(),
                );
            }
        }
    }
}

/// Parameters one launch can take: of three buffers each, and one buffer for numbers.
fn at_once(client: &Client) -> usize {
    /// Enough that launches cost nothing beside what they do.
    const MOST: usize = 32;
    let buffers = client.properties().hardware.max_bindings as usize;
    (buffers.saturating_sub(1) / 3).clamp(1, MOST)
}

#[cube(launch_unchecked)]
#[expect(clippy::too_many_arguments, reason = "a kernel takes its buffers and sizes one by one")]
fn sgd_kernel<W: Size>(
    weights: &mut Sequence<Box<[Vector<f32, W>]>>,
    gradients: &Sequence<Box<[Vector<f32, W>]>>,
    velocities: &mut Sequence<Box<[Vector<f32, W>]>>,
    starts: &Sequence<u32>,
    lengths: &Sequence<u32>,
    learning_rate: f32,
    momentum: f32,
    weight_decay: f32,
    #[comptime] count: usize,
) {
    #[unroll]
    for parameter in 0..count {
        let index = (CUBE_POS as u32 - starts[parameter]) * comptime!(UNITS as u32) + UNIT_POS;
        if CUBE_POS as u32 >= starts[parameter] && index < lengths[parameter] {
            let index = index as usize;
            let weights = weights.index_mut(parameter);
            let velocities = velocities.index_mut(parameter);
            let weight = weights[index];
            let step = gradients.index(parameter)[index]
                + weight * Vector::new(weight_decay)
                + velocities[index] * Vector::new(momentum);
            velocities[index] = step;
            weights[index] = weight - step * Vector::new(learning_rate);
        }
    }
}
