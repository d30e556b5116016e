//! The arithmetic of our own operations on GPUs, as kernels that CubeCL compiles for the device: CUDA, Vulkan, Metal, DirectX 12.

pub(crate) mod images;
