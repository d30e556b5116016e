//! Pooling of images `[batch, height, width, channels]`.

#![expect(unsafe_code, reason = "CubeCL does not check that a kernel stays inside its buffers")]

use cubecl::client::Client;
use cubecl::ir::ElemType;
use cubecl::prelude::*;

use super::buffer::{Buffer, cubes, units};
use crate::kernels::PoolShape;

fn windows(shape: &PoolShape) -> WindowsLaunch {
    WindowsLaunch::new(
        shape.batch as u32,
        shape.height as u32,
        shape.width as u32,
        shape.channels as u32,
        shape.out_height() as u32,
        shape.out_width() as u32,
        shape.kernel as u32,
        shape.stride as u32,
        shape.padding as u32,
    )
}

#[derive(CubeType, CubeLaunch)]
struct Windows {
    batch: u32,
    height: u32,
    width: u32,
    channels: u32,
    out_height: u32,
    out_width: u32,
    kernel: u32,
    stride: u32,
    padding: u32,
}

/// The largest value of each window, not a number if there is such a one, and its position in the
/// window.
pub fn max_pool(client: &Client, shape: &PoolShape, x: &Buffer) -> (Buffer, Buffer) {
    let length = shape.batch * shape.out_height() * shape.out_width() * shape.channels;
    let (y, chosen) =
        (Buffer::new(client, length, x.elem), Buffer::new(client, length, u32::elem_type_native()));
    // SAFETY: units past the windows stop, and places outside of an image are passed over.
    unsafe {
        max_pool_kernel::launch_unchecked(
            client,
            cubes(length),
            units(),
            x.arg(1),
            y.arg(1),
            chosen.arg(1),
            windows(shape),
            x.elem,
        );
    }
    (y, chosen)
}

/// The gradient of the input from that of the output and the chosen positions.
pub fn max_pool_gradient(
    client: &Client,
    shape: &PoolShape,
    dy: &Buffer,
    chosen: &Buffer,
) -> Buffer {
    let dx =
        Buffer::new(client, shape.batch * shape.height * shape.width * shape.channels, dy.elem);
    // SAFETY: units past the pixels stop, and windows outside of the image are passed over.
    unsafe {
        max_pool_gradient_kernel::launch_unchecked(
            client,
            cubes(dx.length),
            units(),
            dy.arg(1),
            chosen.arg(1),
            dx.arg(1),
            windows(shape),
            dy.elem,
        );
    }
    dx
}

/// The mean of the pixels of every channel: `[batch, pixels, channels]` to `[batch, channels]` of
/// float32.
pub fn average_pool(client: &Client, x: &Buffer, pixels: usize, channels: usize) -> Buffer {
    let y = Buffer::floats(client, x.length / pixels);
    // SAFETY: units past the means stop.
    unsafe {
        average_pool_kernel::launch_unchecked(
            client,
            cubes(y.length),
            units(),
            x.arg(1),
            y.arg(1),
            y.length as u32,
            pixels as u32,
            channels as u32,
            x.elem,
        );
    }
    y
}

/// The gradient of the input, whose values are of this sort, from that of the means.
pub fn average_pool_gradient(
    client: &Client,
    dy: &Buffer,
    pixels: usize,
    channels: usize,
    elem: ElemType,
) -> Buffer {
    let dx = Buffer::new(client, dy.length * pixels, elem);
    // SAFETY: units past the pixels stop.
    unsafe {
        average_pool_gradient_kernel::launch_unchecked(
            client,
            cubes(dx.length),
            units(),
            dy.arg(1),
            dx.arg(1),
            dx.length as u32,
            pixels as u32,
            channels as u32,
            elem,
        );
    }
    dx
}

#[cube(launch_unchecked)]
fn max_pool_kernel<E: Float>(
    x: &[E],
    y: &mut [E],
    chosen: &mut [u32],
    shape: Windows,
    #[define(E)] _elem: ElemType,
) {
    let index = ABSOLUTE_POS as u32;
    let channel = index % shape.channels;
    let out_x = index / shape.channels % shape.out_width;
    let out_y = index / (shape.channels * shape.out_width) % shape.out_height;
    let image = index / (shape.channels * shape.out_width * shape.out_height);
    if image >= shape.batch {
        terminate!();
    }
    let mut best = 0.0f32;
    let mut at = 0u32;
    let mut found = false;
    for i in 0..shape.kernel {
        for j in 0..shape.kernel {
            // A place before the first row or column wraps round to a very large number.
            let row = out_y * shape.stride + i - shape.padding;
            let column = out_x * shape.stride + j - shape.padding;
            if row < shape.height && column < shape.width {
                let value = f32::cast_from(
                    x[(((image * shape.height + row) * shape.width + column) * shape.channels
                        + channel) as usize],
                );
                if !found || value > best || value.is_nan() {
                    best = value;
                    at = i * shape.kernel + j;
                    found = true;
                }
            }
        }
    }
    y[index as usize] = E::cast_from(best);
    chosen[index as usize] = at;
}

#[cube(launch_unchecked)]
fn max_pool_gradient_kernel<E: Float>(
    dy: &[E],
    chosen: &[u32],
    dx: &mut [E],
    shape: Windows,
    #[define(E)] _elem: ElemType,
) {
    let index = ABSOLUTE_POS as u32;
    let channel = index % shape.channels;
    let column = index / shape.channels % shape.width;
    let row = index / (shape.channels * shape.width) % shape.height;
    let image = index / (shape.channels * shape.width * shape.height);
    if image >= shape.batch {
        terminate!();
    }
    let mut sum = 0.0f32;
    for i in 0..shape.kernel {
        for j in 0..shape.kernel {
            // The window in which this pixel has position (i, j), if there is one.
            let top = row + shape.padding - i;
            let left = column + shape.padding - j;
            let out_y = top / shape.stride;
            let out_x = left / shape.stride;
            if top % shape.stride == 0
                && left % shape.stride == 0
                && out_y < shape.out_height
                && out_x < shape.out_width
            {
                let window = (((image * shape.out_height + out_y) * shape.out_width + out_x)
                    * shape.channels
                    + channel) as usize;
                if chosen[window] == i * shape.kernel + j {
                    sum += f32::cast_from(dy[window]);
                }
            }
        }
    }
    dx[index as usize] = E::cast_from(sum);
}

#[cube(launch_unchecked)]
fn average_pool_kernel<E: Float>(
    x: &[E],
    y: &mut [f32],
    length: u32,
    pixels: u32,
    channels: u32,
    #[define(E)] _elem: ElemType,
) {
    let index = ABSOLUTE_POS as u32;
    if index >= length {
        terminate!();
    }
    let first = index / channels * pixels * channels + index % channels;
    let mut sum = 0.0f32;
    for pixel in 0..pixels {
        sum += f32::cast_from(x[(first + pixel * channels) as usize]);
    }
    y[index as usize] = sum / f32::cast_from(pixels);
}

#[cube(launch_unchecked)]
fn average_pool_gradient_kernel<E: Float>(
    dy: &[f32],
    dx: &mut [E],
    length: u32,
    pixels: u32,
    channels: u32,
    #[define(E)] _elem: ElemType,
) {
    let index = ABSOLUTE_POS as u32;
    if index >= length {
        terminate!();
    }
    let image = index / (channels * pixels);
    dx[index as usize] =
        E::cast_from(dy[(image * channels + index % channels) as usize] / f32::cast_from(pixels));
}
