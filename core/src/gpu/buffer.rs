//! Values on the GPU.

#![expect(unsafe_code, reason = "CubeCL relies on the length that it is told of a buffer")]

use cubecl::client::Client;
use cubecl::features::TypeUsage;
use cubecl::ir::ElemType;
use cubecl::prelude::*;
use cubecl::server::Handle;

/// Values that lie next to each other in the GPU's memory.
#[derive(Clone)]
pub struct Buffer {
    pub handle: Handle,
    /// How many there are.
    pub length: usize,
    /// What they are.
    pub elem: ElemType,
}

impl Buffer {
    /// Room for so many values, which hold anything.
    pub fn new(client: &Client, length: usize, elem: ElemType) -> Self {
        Self { handle: client.empty(length.max(1) * elem.size()), length, elem }
    }

    /// Room for buffers of so many values each in few pieces of memory, each of which is free again
    /// when none of its buffers is left. Finding a piece costs the host about as much as a launch,
    /// so this is for what lives equally long.
    pub fn together(client: &Client, lengths: &[usize], elem: ElemType) -> Vec<Self> {
        /// Bytes of a piece, unless one buffer alone is longer: not all GPUs have larger ones.
        const MOST: usize = 1 << 26;
        let alignment = client.properties().memory.alignment as usize;
        let bytes = |length: usize| (length.max(1) * elem.size()).next_multiple_of(alignment);
        let mut buffers = Vec::with_capacity(lengths.len());
        let mut rest = lengths;
        while !rest.is_empty() {
            let mut total = 0;
            let fitting = rest.iter().take_while(|length| {
                total += bytes(**length);
                total <= MOST
            });
            let (piece, later) = rest.split_at(fitting.count().max(1));
            rest = later;
            let total: usize = piece.iter().map(|length| bytes(*length)).sum();
            let whole = client.empty(total);
            let mut offset = 0;
            for &length in piece {
                let behind = total - offset - length.max(1) * elem.size();
                buffers.push(Self {
                    handle: whole.clone().offset_start(offset as u64).offset_end(behind as u64),
                    length,
                    elem,
                });
                offset += bytes(length);
            }
        }
        buffers
    }

    /// [`Buffer::together`] for float32 vectors.
    pub fn vectors<const N: usize>(client: &Client, lengths: [usize; N]) -> [Self; N] {
        let buffers = Self::together(client, &lengths, f32::elem_type_native());
        buffers.try_into().unwrap_or_else(|_| unreachable!("there are as many as lengths"))
    }

    /// Room for so many float32 values.
    pub fn floats(client: &Client, length: usize) -> Self {
        Self::new(client, length, f32::elem_type_native())
    }

    /// Room for as many values of the same sort.
    pub fn like(client: &Client, other: &Buffer) -> Self {
        Self::new(client, other.length, other.elem)
    }

    /// Values that a kernel that only streams takes at a time from rows of this length: 16 bytes if
    /// the GPU can.
    pub fn width(&self, client: &Client, row: usize) -> usize {
        let most = client.properties().hardware.max_vector_size.min(16 / self.elem.size());
        [most, 4].into_iter().find(|&width| width <= most && row.is_multiple_of(width)).unwrap_or(1)
    }

    /// For a kernel that reads or writes it `width` values at a time.
    pub fn arg(&self, width: usize) -> BufferArg {
        // SAFETY: every constructor of a buffer gives it the length of its handle.
        unsafe { BufferArg::from_raw_parts(self.handle.clone(), self.length / width) }
    }
}

/// Whether the GPU's kernels can read and write such values in its memory, and convert them. Not
/// all can where a value has 16 bits.
pub fn holds(client: &Client, elem: ElemType) -> bool {
    let usage = client.properties().type_usage(elem);
    usage.contains(TypeUsage::Buffer) && usage.contains(TypeUsage::Conversion)
}

/// Values a kernel takes at a time from rows of this length.
pub fn width(length: usize) -> usize {
    if length.is_multiple_of(4) { 4 } else { 1 }
}

/// Units of a cube whose kernel needs no number of its own.
pub const UNITS: usize = 256;

/// As many cubes of such units as have one for each of `work`.
pub fn cubes(work: usize) -> CubeCount {
    spread(work.div_ceil(UNITS))
}

/// At least so many cubes, spread over two axes so that none gets longer than GPUs allow.
pub fn spread(cubes: usize) -> CubeCount {
    const LONGEST: usize = 1 << 15;
    let cubes = cubes.max(1);
    let y = cubes.div_ceil(LONGEST);
    CubeCount::new_2d(cubes.div_ceil(y) as u32, y as u32)
}

/// The units of such a cube.
pub fn units() -> CubeDim {
    CubeDim::new_1d(UNITS as u32)
}
