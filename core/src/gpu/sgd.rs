//! Stochastic gradient descent in one pass over a parameter.

#![allow(unsafe_code)] // Launching a kernel is unsafe: CubeCL does not check that it stays inside its buffers.

use cubecl::client::Client;
use cubecl::prelude::*;

use super::buffer::{Buffer, cubes, units, width};

/// One step: g ← g + λ w, v ← μ v + g (v = g where there is none), w ← w − lr · v. Gives the weight and the velocity.
pub fn sgd(
    client: &Client,
    weight: &Buffer,
    gradient: &Buffer,
    velocity: Option<&Buffer>,
    [learning_rate, momentum, weight_decay]: [f32; 3],
) -> (Buffer, Buffer) {
    let wide = width(weight.length);
    let (next, next_velocity) = (Buffer::floats(client, weight.length), Buffer::floats(client, weight.length));
    // SAFETY: units past the parameter stop.
    unsafe {
        sgd_kernel::launch_unchecked(
            client,
            cubes(weight.length / wide),
            units(),
            wide,
            weight.arg(wide),
            gradient.arg(wide),
            velocity.map_or(ComptimeOptionArgs::None, |velocity| ComptimeOptionArgs::Some(velocity.arg(wide))),
            next.arg(wide),
            next_velocity.arg(wide),
            (weight.length / wide) as u32,
            learning_rate,
            momentum,
            weight_decay,
        );
    }
    (next, next_velocity)
}

#[cube(launch_unchecked)]
#[allow(clippy::too_many_arguments)]
fn sgd_kernel<W: Size>(
    weight: &[Vector<f32, W>],
    gradient: &[Vector<f32, W>],
    velocity: ComptimeOption<&[Vector<f32, W>]>,
    next: &mut [Vector<f32, W>],
    next_velocity: &mut [Vector<f32, W>],
    length: u32,
    learning_rate: f32,
    momentum: f32,
    weight_decay: f32,
) {
    let index = ABSOLUTE_POS;
    if index >= length as usize {
        terminate!();
    }
    let mut step = gradient[index] + weight[index] * Vector::new(weight_decay);
    #[comptime]
    match velocity {
        ComptimeOption::Some(velocity) => step += velocity[index] * Vector::new(momentum),
        ComptimeOption::None => {}
    }
    next_velocity[index] = step;
    next[index] = weight[index] - step * Vector::new(learning_rate);
}
