//! What GPU drivers say when they are asked without opening the GPU.
//!
//! This file contains unsafe code: calls of driver functions that write a number and keep nothing,
//! with arguments that the same driver gave.
#![cfg_attr(
    any(feature = "cuda", all(feature = "wgpu", not(target_vendor = "apple"))),
    expect(unsafe_code, reason = "functions of a driver are called")
)]

/// An NVIDIA GPU as its driver sees it.
#[cfg(feature = "cuda")]
pub struct CudaGpu {
    /// The name it gives itself.
    pub name: String,
    /// Its memory, if the driver says.
    pub memory_bytes: Option<u64>,
}

/// The CUDA version that a driver must know, as the driver writes it: 12.0.
#[cfg(feature = "cuda")]
const NEEDED_CUDA: i32 = 12_000;

/// The NVIDIA GPUs, in the driver's order.
///
/// # Errors
/// Why there are none that can be used.
#[cfg(feature = "cuda")]
pub fn cuda_gpus() -> Result<Vec<CudaGpu>, String> {
    use cudarc::driver::{result, sys};

    // SAFETY: This only tries to load the library, and without it no other function may be called.
    if !unsafe { sys::is_culib_present() } {
        return Err("no NVIDIA driver was found".into());
    }
    let mut version = 0;
    // SAFETY: The function writes one number to where `version` lies, and may be called before any
    // other.
    unsafe { sys::cuDriverGetVersion(&mut version) }
        .result()
        .map_err(|error| cuda_reason(&error))?;
    if version < NEEDED_CUDA {
        return Err(format!(
            "the NVIDIA driver is too old: it is made for CUDA {}, and {} is needed",
            release(version),
            release(NEEDED_CUDA)
        ));
    }
    result::init().map_err(|error| cuda_reason(&error))?;
    let count = result::device::get_count().map_err(|error| cuda_reason(&error))?;
    if count == 0 {
        return Err("the NVIDIA driver finds no GPU".into());
    }
    let gpu = |index| {
        let device = result::device::get(index).map_err(|error| cuda_reason(&error))?;
        let name = result::device::get_name(device).map_err(|error| cuda_reason(&error))?;
        // SAFETY: The driver gave this device two lines above.
        let memory = unsafe { result::device::total_mem(device) };
        Ok(CudaGpu { name, memory_bytes: memory.ok().map(|bytes| bytes as u64) })
    };
    (0..count).map(gpu).collect()
}

/// `12.4` for 12040.
#[cfg(feature = "cuda")]
fn release(version: i32) -> String {
    format!("{}.{}", version / 1000, version % 1000 / 10)
}

/// The driver's reason in words that say what to do, where there is something to do.
#[cfg(feature = "cuda")]
fn cuda_reason(error: &cudarc::driver::DriverError) -> String {
    use cudarc::driver::sys::CUresult;

    match error.0 {
        CUresult::CUDA_ERROR_NO_DEVICE => "the NVIDIA driver finds no GPU".into(),
        CUresult::CUDA_ERROR_SYSTEM_DRIVER_MISMATCH => {
            "the two parts of the NVIDIA driver have different versions, as after an update; restart the machine".into()
        }
        CUresult::CUDA_ERROR_STUB_LIBRARY => "a library that only stands in for the NVIDIA driver was found, and not the driver".into(),
        CUresult::CUDA_ERROR_OPERATING_SYSTEM => "the operating system does not let this program use the NVIDIA driver".into(),
        _ => match error.error_string() {
            Ok(text) => format!("the NVIDIA driver says: {}", text.to_string_lossy()),
            Err(_) => format!("the NVIDIA driver fails with {:?}", error.0),
        },
    }
}

/// The largest memory of a GPU that is seen through Vulkan, in bytes: its own, or the machine's
/// where it has none.
#[cfg(all(feature = "wgpu", not(target_vendor = "apple")))]
pub fn vulkan_memory(adapter: &wgpu::Adapter) -> Option<u64> {
    /// `VK_MEMORY_HEAP_DEVICE_LOCAL_BIT`.
    const DEVICE_LOCAL: u32 = 1;
    // SAFETY: The driver's handle is only read, and outlives this function in `adapter`.
    let vulkan = unsafe { adapter.as_hal::<wgpu::hal::api::Vulkan>() }?;
    let instance = vulkan.shared_instance().raw_instance();
    // SAFETY: Instance and GPU belong together, and both live as long as `vulkan`.
    let memory =
        unsafe { instance.get_physical_device_memory_properties(vulkan.raw_physical_device()) };
    let heaps =
        &memory.memory_heaps[..(memory.memory_heap_count as usize).min(memory.memory_heaps.len())];
    heaps
        .iter()
        .filter(|heap| heap.flags.as_raw() & DEVICE_LOCAL != 0)
        .map(|heap| heap.size)
        .max()
        .filter(|bytes| *bytes > 0)
}

/// On Apple's systems GPUs are seen through Metal.
#[cfg(all(feature = "wgpu", target_vendor = "apple"))]
pub fn vulkan_memory(_adapter: &wgpu::Adapter) -> Option<u64> {
    None
}

#[cfg(all(test, feature = "cuda"))]
mod tests {
    use super::*;

    #[test]
    fn versions_are_written_as_nvidia_writes_them() {
        assert_eq!(
            [release(12_040), release(11_080), release(NEEDED_CUDA)],
            ["12.4", "11.8", "12.0"]
        );
    }
}
