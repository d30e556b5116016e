//! Where tensors live and are computed.

use std::fmt;
use std::str::FromStr;

use burn::tensor::{Device, Tensor};
use serde::{Deserialize, Serialize};
use sysinfo::{MemoryRefreshKind, RefreshKind, System};

use crate::error::{Error, Result};
use crate::panics::caught;

/// The device a person asks for: `auto`, `cpu`, `cuda`, `cuda:1`, `wgpu`, `wgpu:1`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum DeviceChoice {
    /// CUDA where there is one, otherwise a GPU through wgpu, otherwise the CPU.
    #[default]
    Auto,
    /// All cores of the processor.
    Cpu,
    /// An NVIDIA GPU, by number.
    Cuda(usize),
    /// A GPU with a Vulkan, Metal or DirectX 12 driver, by its number among those `devices` lists.
    Wgpu(usize),
}

impl fmt::Display for DeviceChoice {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            DeviceChoice::Auto => f.write_str("auto"),
            DeviceChoice::Cpu => f.write_str("cpu"),
            DeviceChoice::Cuda(index) => write!(f, "cuda:{index}"),
            DeviceChoice::Wgpu(index) => write!(f, "wgpu:{index}"),
        }
    }
}

impl FromStr for DeviceChoice {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let (kind, index) = text.split_once(':').map_or((text, None), |(kind, index)| (kind, Some(index)));
        let number = || match index {
            None => Ok(0),
            Some(index) => index.parse().map_err(|_| format!("`{index}` in `{text}` is no device number")),
        };
        match kind {
            "auto" if index.is_none() => Ok(DeviceChoice::Auto),
            "cpu" if index.is_none() => Ok(DeviceChoice::Cpu),
            "cuda" => Ok(DeviceChoice::Cuda(number()?)),
            "wgpu" => Ok(DeviceChoice::Wgpu(number()?)),
            _ => Err(format!("`{text}` is no device; use auto, cpu, cuda, cuda:1, wgpu or wgpu:1")),
        }
    }
}

/// A device of this machine, usable or not.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct DeviceInfo {
    /// What to pass as `--device`.
    pub name: String,
    /// What it is, as it names itself.
    pub description: String,
    /// Whether it can be used.
    pub usable: bool,
    /// Why it cannot be used.
    pub reason: Option<String>,
    /// Its memory in bytes, for the CPU this machine's; `None` where it is not known.
    pub memory_bytes: Option<u64>,
}

/// Every device this build knows of, with the reason where one cannot be used.
pub fn devices() -> Vec<DeviceInfo> {
    let mut found = vec![DeviceInfo {
        name: "cpu".into(),
        description: cpu_description(),
        usable: true,
        reason: None,
        memory_bytes: physical_memory(),
    }];
    found.extend(cuda_devices());
    found.extend(wgpu_devices());
    found
}

/// Opens a device for training or inference and tries one addition on it. Returns it with its name.
///
/// # Errors
/// [`Error::Device`] with the driver's reason. Never panics.
pub fn open(choice: DeviceChoice) -> Result<(Device, String)> {
    match choice {
        DeviceChoice::Cpu => Ok((Device::flex(), "cpu".into())),
        DeviceChoice::Auto => {
            // A GPU that is listed may still fail when it is tried; the next one, and at last the CPU, takes its place.
            let gpus = devices().into_iter().filter(|device| device.usable && device.name != "cpu");
            let opened = gpus.filter_map(|device| device.name.parse().ok()).find_map(|choice| open(choice).ok());
            opened.map_or_else(|| open(DeviceChoice::Cpu), Ok)
        }
        DeviceChoice::Cuda(_) | DeviceChoice::Wgpu(_) => {
            let name = choice.to_string();
            let fail = |reason: String| Error::Device { name: name.clone(), reason };
            let info = devices().into_iter().find(|device| device.name == name);
            let info = info.ok_or_else(|| fail("there is no such device on this machine; `counterweight devices` lists them".into()))?;
            if let Some(reason) = info.reason {
                return Err(fail(reason));
            }
            let device = caught(|| {
                let device = gpu(choice)?;
                let sum = Tensor::<1>::from_floats([1.0, 2.0], &device) + 1.0;
                let values = sum.into_data().try_to_vec::<f32>().map_err(|e| format!("{e:?}"))?;
                if values == [2.0, 3.0] { Ok(device) } else { Err("it computes 1 + 1 wrongly".to_string()) }
            })
            .map_err(fail)?;
            Ok((device, name))
        }
    }
}

/// Has the CPU device, and everything else that works on all cores, use this many threads. To be called before any of them has worked.
///
/// # Errors
/// [`Error::Device`] if there are threads already, or they cannot be started.
pub fn use_threads(threads: usize) -> Result<()> {
    let pool = rayon::ThreadPoolBuilder::new().num_threads(threads);
    pool.build_global().map_err(|e| Error::Device { name: "cpu".into(), reason: format!("{threads} threads cannot be used: {e}") })
}

fn cpu_description() -> String {
    let cores = std::thread::available_parallelism().map_or(1, |n| n.get());
    format!("CPU, {cores} {}", if cores == 1 { "core" } else { "cores" })
}

fn physical_memory() -> Option<u64> {
    let ram = MemoryRefreshKind::nothing().with_ram();
    let system = System::new_with_specifics(RefreshKind::nothing().with_memory(ram));
    // A system it does not know has no memory.
    Some(system.total_memory()).filter(|bytes| *bytes > 0)
}

#[cfg(feature = "cuda")]
fn cuda_devices() -> Vec<DeviceInfo> {
    match caught(|| Ok(Device::enumerate(burn::tensor::DeviceType::Cuda).into_iter().collect::<Vec<_>>())) {
        Ok(devices) if devices.is_empty() => vec![unusable("cuda:0", "NVIDIA GPU", "no NVIDIA GPU or driver was found")],
        Ok(devices) => describe("cuda", devices),
        Err(reason) => vec![unusable("cuda:0", "NVIDIA GPU", &reason)],
    }
}

#[cfg(not(feature = "cuda"))]
fn cuda_devices() -> Vec<DeviceInfo> {
    vec![unusable("cuda:0", "NVIDIA GPU", "this build has no CUDA; build with --features cuda, or use wgpu")]
}

#[cfg(feature = "wgpu")]
fn wgpu_devices() -> Vec<DeviceInfo> {
    match caught(|| Ok(wgpu_adapters())) {
        Ok(devices) if devices.is_empty() => {
            vec![unusable("wgpu:0", "GPU through wgpu", "no GPU with a Vulkan, Metal or DirectX 12 driver was found")]
        }
        Ok(devices) => describe("wgpu", devices),
        Err(reason) => vec![unusable("wgpu:0", "GPU through wgpu", &reason)],
    }
}

#[cfg(not(feature = "wgpu"))]
fn wgpu_devices() -> Vec<DeviceInfo> {
    vec![unusable("wgpu:0", "GPU through wgpu", "this build has no wgpu; build with --features wgpu")]
}

#[cfg(feature = "wgpu")]
fn wgpu_adapters() -> Vec<Device> {
    Device::enumerate(burn::tensor::DeviceType::Wgpu).into_iter().collect()
}

#[cfg(any(feature = "wgpu", feature = "cuda"))]
fn describe(kind: &str, devices: Vec<Device>) -> Vec<DeviceInfo> {
    let one = |(index, device): (usize, Device)| {
        let identity = caught(|| Ok(device.identity())).ok().flatten();
        let software = identity.as_ref().is_some_and(|identity| identity.physical.is_none()) && kind == "wgpu";
        DeviceInfo {
            name: format!("{kind}:{index}"),
            description: identity.map_or_else(|| "GPU".to_string(), |identity| identity.name),
            usable: !software,
            reason: software.then(|| "it is a software renderer; the CPU device is faster".to_string()),
            memory_bytes: None,
        }
    };
    devices.into_iter().enumerate().map(one).collect()
}

fn unusable(name: &str, description: &str, reason: &str) -> DeviceInfo {
    DeviceInfo { name: name.into(), description: description.into(), usable: false, reason: Some(reason.into()), memory_bytes: None }
}

fn gpu(choice: DeviceChoice) -> Result<Device, String> {
    match choice {
        #[cfg(feature = "cuda")]
        DeviceChoice::Cuda(index) => Ok(Device::cuda(index)),
        #[cfg(feature = "wgpu")]
        DeviceChoice::Wgpu(index) => {
            wgpu_adapters().into_iter().nth(index).ok_or_else(|| "there is no such device on this machine".to_string())
        }
        _ => Err("this build does not have it".into()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_round_trip_and_wrong_ones_are_refused() {
        for name in ["auto", "cpu", "cuda:0", "wgpu:3"] {
            assert_eq!(name.parse::<DeviceChoice>().unwrap().to_string(), name);
        }
        assert_eq!("cuda".parse(), Ok(DeviceChoice::Cuda(0)));
        for wrong in ["gpu", "cpu:1", "cuda:x", ""] {
            assert!(wrong.parse::<DeviceChoice>().is_err());
        }
    }

    #[test]
    fn the_memory_of_this_machine_is_known() {
        let cpu = devices().remove(0);
        assert_eq!((cpu.name.as_str(), cpu.usable), ("cpu", true));
        assert!(cpu.memory_bytes.unwrap() > 64 << 20);
    }

    #[test]
    fn a_device_that_is_not_there_is_an_error() {
        let error = open(DeviceChoice::Cuda(63)).unwrap_err().to_string();
        assert!(error.contains("cuda:63"), "{error}");
    }
}
