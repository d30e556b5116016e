//! The devices of this machine, and why some of them cannot be used.

use sysinfo::{MemoryRefreshKind, RefreshKind, System};

use super::{DeviceInfo, DeviceKind};
#[cfg(feature = "gpu")]
use crate::panics::caught;

/// Every device this build knows of, with the reason where one cannot be used. Drivers are asked,
/// and no device is opened.
///
/// With `COUNTERWEIGHT_SOFTWARE_GPU=1` in the environment, a software renderer such as Mesa's
/// llvmpipe can be used when it is asked for by name: slowly, but by the code that GPUs run. Tests
/// need that.
pub fn devices() -> Vec<DeviceInfo> {
    let mut found = vec![cpu()];
    found.extend(cuda_devices());
    found.extend(wgpu_devices());
    found
}

fn cpu() -> DeviceInfo {
    let cores = std::thread::available_parallelism().map_or(1, |n| n.get());
    DeviceInfo {
        name: "cpu".into(),
        description: format!("CPU, {cores} {}", if cores == 1 { "core" } else { "cores" }),
        kind: DeviceKind::Cpu,
        usable: true,
        reason: None,
        memory_bytes: physical_memory(),
    }
}

fn physical_memory() -> Option<u64> {
    let ram = MemoryRefreshKind::nothing().with_ram();
    let system = System::new_with_specifics(RefreshKind::nothing().with_memory(ram));
    // A system it does not know has no memory.
    Some(system.total_memory()).filter(|bytes| *bytes > 0)
}

#[cfg(feature = "cuda")]
fn cuda_devices() -> Vec<DeviceInfo> {
    match caught(super::driver::cuda_gpus) {
        Ok(gpus) => {
            let one = |(index, gpu): (usize, super::driver::CudaGpu)| DeviceInfo {
                name: format!("cuda:{index}"),
                description: gpu.name,
                kind: DeviceKind::Discrete,
                usable: true,
                reason: None,
                memory_bytes: gpu.memory_bytes,
            };
            gpus.into_iter().enumerate().map(one).collect()
        }
        Err(reason) => vec![DeviceInfo::unusable("cuda:0", "NVIDIA GPU", &reason)],
    }
}

#[cfg(not(feature = "cuda"))]
fn cuda_devices() -> Vec<DeviceInfo> {
    vec![DeviceInfo::unusable(
        "cuda:0",
        "NVIDIA GPU",
        "this build has no CUDA; build with --features cuda, or use wgpu",
    )]
}

#[cfg(feature = "wgpu")]
fn wgpu_devices() -> Vec<DeviceInfo> {
    match caught(|| Ok(wgpu_list::adapters())) {
        Ok(adapters) if adapters.is_empty() => {
            let reason = "no GPU with a Vulkan, Metal or DirectX 12 driver was found";
            vec![DeviceInfo::unusable("wgpu:0", "GPU through wgpu", reason)]
        }
        Ok(adapters) => adapters
            .iter()
            .enumerate()
            .map(|(index, adapter)| wgpu_list::describe(index, adapter))
            .collect(),
        Err(reason) => vec![DeviceInfo::unusable("wgpu:0", "GPU through wgpu", &reason)],
    }
}

#[cfg(not(feature = "wgpu"))]
fn wgpu_devices() -> Vec<DeviceInfo> {
    vec![DeviceInfo::unusable(
        "wgpu:0",
        "GPU through wgpu",
        "this build has no wgpu; build with --features wgpu",
    )]
}

/// Adapters of wgpu, which is what it calls a GPU seen through a driver.
#[cfg(feature = "wgpu")]
mod wgpu_list {
    use wgpu::{Adapter, AdapterInfo, Backend, DeviceType, Instance, InstanceDescriptor};

    use super::{DeviceInfo, DeviceKind, physical_memory};
    use crate::device::driver;

    /// Buffers that a kernel must be able to work on at once: those of batch norm's gradient, and
    /// one for sizes.
    const NEEDED_BUFFERS: u32 = 9;

    /// In the order in which the tensor library numbers them: those of the first graphics interface
    /// that has a GPU, or else of the first that has anything.
    pub fn adapters() -> Vec<Adapter> {
        let interfaces: &[Backend] = match cfg!(target_os = "macos") {
            true => &[Backend::Metal],
            false => &[Backend::Vulkan, Backend::Dx12, Backend::Gl],
        };
        let mut software = Vec::new();
        for interface in interfaces {
            let backends = (*interface).into();
            let instance = Instance::new(InstanceDescriptor {
                backends,
                ..InstanceDescriptor::new_without_display_handle()
            });
            let found = pollster::block_on(instance.enumerate_adapters(backends));
            if found.iter().any(|adapter| adapter.get_info().device_type != DeviceType::Cpu) {
                return found;
            }
            if software.is_empty() {
                software = found;
            }
        }
        software
    }

    pub fn describe(index: usize, adapter: &Adapter) -> DeviceInfo {
        let info = adapter.get_info();
        let kind = kind(&info);
        let reason = reason(kind, &info, &adapter.limits());
        DeviceInfo {
            name: format!("wgpu:{index}"),
            description: info.name,
            kind,
            usable: reason.is_none(),
            reason,
            memory_bytes: match kind {
                DeviceKind::Apple => physical_memory(),
                _ => driver::vulkan_memory(adapter),
            },
        }
    }

    fn kind(info: &AdapterInfo) -> DeviceKind {
        match info.device_type {
            _ if info.backend == Backend::Metal && info.name.starts_with("Apple") => {
                DeviceKind::Apple
            }
            DeviceType::DiscreteGpu => DeviceKind::Discrete,
            DeviceType::IntegratedGpu => DeviceKind::Integrated,
            DeviceType::VirtualGpu => DeviceKind::Virtual,
            DeviceType::Cpu => DeviceKind::Software,
            DeviceType::Other => DeviceKind::Other,
        }
    }

    /// Why it cannot be used.
    fn reason(kind: DeviceKind, info: &AdapterInfo, limits: &wgpu::Limits) -> Option<String> {
        let driver = match format!("{} {}", info.driver, info.driver_info).trim() {
            "" => "its driver".to_string(),
            named => format!("its driver ({named})"),
        };
        if limits.max_compute_invocations_per_workgroup == 0 {
            return Some(format!(
                "{driver} cannot compute, only draw; install the driver of the GPU's maker"
            ));
        }
        let buffers = limits.max_storage_buffers_per_shader_stage;
        if buffers < NEEDED_BUFFERS {
            return Some(format!(
                "{driver} lets a computation use {buffers} buffers, and {NEEDED_BUFFERS} are needed"
            ));
        }
        let software_allowed =
            std::env::var_os("COUNTERWEIGHT_SOFTWARE_GPU").is_some_and(|value| value == "1");
        let software = kind == DeviceKind::Software && !software_allowed;
        software.then(|| "it is a software renderer; the CPU device is faster".to_string())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_memory_of_this_machine_is_known() {
        let cpu = devices().remove(0);
        assert_eq!((cpu.name.as_str(), cpu.usable, cpu.kind), ("cpu", true, DeviceKind::Cpu));
        assert!(cpu.memory_bytes.unwrap() > 64 << 20);
    }

    #[test]
    fn every_device_is_usable_or_says_why_not() {
        for device in devices() {
            assert_eq!(device.usable, device.reason.is_none(), "{device:?}");
            assert!(!device.description.is_empty(), "{device:?}");
            assert!(device.memory_bytes != Some(0), "{device:?}");
        }
    }
}
