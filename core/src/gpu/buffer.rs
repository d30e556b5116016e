//! Values on the GPU.

#![allow(unsafe_code)] // Telling CubeCL how long a buffer is, is unsafe: kernels rely on it.

use cubecl::client::Client;
use cubecl::prelude::*;
use cubecl::server::Handle;

/// Values of four bytes that lie next to each other in the GPU's memory.
#[derive(Clone)]
pub struct Buffer {
    pub handle: Handle,
    /// How many there are.
    pub length: usize,
}

impl Buffer {
    /// Room for so many values, which hold anything.
    pub fn new(client: &Client, length: usize) -> Self {
        Self { handle: client.empty(length.max(1) * size_of::<f32>()), length }
    }

    /// For a kernel that reads or writes it `width` values at a time.
    pub fn arg(&self, width: usize) -> BufferArg {
        // SAFETY: whoever makes a buffer gives it the length of its handle.
        unsafe { BufferArg::from_raw_parts(self.handle.clone(), self.length / width) }
    }
}

/// Values a kernel takes at a time from rows of this length.
pub fn width(length: usize) -> usize {
    if length.is_multiple_of(4) { 4 } else { 1 }
}

/// Cubes of `units` units, one unit for each of `work`, spread over two axes so that none gets longer than GPUs allow.
pub fn cubes(work: usize, units: usize) -> CubeCount {
    const LONGEST: usize = 1 << 15;
    let cubes = work.div_ceil(units).max(1);
    let y = cubes.div_ceil(LONGEST);
    CubeCount::new_2d(cubes.div_ceil(y) as u32, y as u32)
}
