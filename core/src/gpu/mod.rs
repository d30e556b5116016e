//! Kernels for training on a GPU, written once in CubeCL for CUDA and wgpu (Vulkan, Metal, DirectX
//! 12): float32 or rounded where a GPU has units for it, channels last.
//!
//! Images are `[batch, height, width, channels]`, row-major. Sums are cut by shape alone and added
//! in a fixed order, so the same input gives the same result on the same device. Nothing here is
//! tuned on the device before it is used.

#![expect(
    clippy::manual_div_ceil,
    clippy::manual_is_multiple_of,
    reason = "in CubeCL's part of Rust integers have no methods for rounding up and for multiples"
)]

pub mod activation;
pub mod batch_norm;
pub mod buffer;
pub mod columns;
pub mod conv;
pub mod cross_entropy;
mod depthwise;
mod elementary;
pub mod grouped;
pub mod images;
pub mod pooling;
pub mod sgd;
#[cfg(test)]
pub mod test_device;
