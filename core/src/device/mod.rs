//! Where tensors live and are computed: which devices there are, which one is taken, and opening
//! it.

#[cfg(feature = "gpu")]
mod driver;
mod failure;
mod host;
mod list;
mod open;
mod preparing;

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

pub(crate) use failure::{Failure, attempt, release_memory};
pub(crate) use host::{finish_work, host, host_all};
pub use list::devices;
pub use open::{open, use_threads};
pub use preparing::{note_log, while_preparing};

use crate::error::Result;

/// The device a person asks for: `auto`, `cpu`, `cuda`, `cuda:1`, `wgpu`, `wgpu:1`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum DeviceChoice {
    /// The device that [`preferred`] takes.
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
        let (kind, index) =
            text.split_once(':').map_or((text, None), |(kind, index)| (kind, Some(index)));
        let number = || match index {
            None => Ok(0),
            Some(index) => {
                index.parse().map_err(|_| format!("`{index}` in `{text}` is no device number"))
            }
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

/// What sort of device it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum DeviceKind {
    /// The processor.
    Cpu,
    /// A GPU with memory of its own.
    Discrete,
    /// The GPU of Apple silicon. It shares the machine's memory and is the GPU that the machine was
    /// built around.
    Apple,
    /// Another GPU that is part of the processor and shares the machine's memory.
    Integrated,
    /// A part of a GPU, lent to a virtual machine.
    Virtual,
    /// A program that pretends to be a GPU.
    Software,
    /// The driver does not say, or there is none to ask.
    Other,
}

/// A device of this machine, usable or not.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct DeviceInfo {
    /// What to pass as `--device`.
    pub name: String,
    /// What it is, as it names itself.
    pub description: String,
    /// What sort of device it is.
    pub kind: DeviceKind,
    /// Whether it can be used.
    pub usable: bool,
    /// Why it cannot be used.
    pub reason: Option<String>,
    /// The memory it computes in, in bytes: its own, or this machine's where it shares that; `None`
    /// where it is not known.
    pub memory_bytes: Option<u64>,
}

impl DeviceInfo {
    fn unusable(name: &str, description: &str, reason: &str) -> Self {
        Self {
            name: name.into(),
            description: description.into(),
            kind: DeviceKind::Other,
            usable: false,
            reason: Some(reason.into()),
            memory_bytes: None,
        }
    }

    fn is_cuda(&self) -> bool {
        self.name.starts_with("cuda:")
    }
}

/// The device that `auto` takes of these, which are in the order of [`devices`]: an NVIDIA GPU
/// through CUDA, otherwise a GPU with memory of its own or that of Apple silicon through wgpu,
/// otherwise the CPU. Other integrated GPUs are slower than this program's kernels for the CPU as
/// often as not, and what a virtual one can do is not known, so these are only taken by name.
/// `None` if nothing can be used.
pub fn preferred(devices: &[DeviceInfo]) -> Option<&DeviceInfo> {
    ranked(devices).into_iter().next()
}

/// What `auto` tries one after another; see [`preferred`].
fn ranked(devices: &[DeviceInfo]) -> Vec<&DeviceInfo> {
    let rank = |device: &DeviceInfo| match device.kind {
        _ if !device.usable => None,
        _ if device.is_cuda() => Some(0),
        DeviceKind::Discrete | DeviceKind::Apple => Some(1),
        DeviceKind::Cpu => Some(2),
        DeviceKind::Integrated | DeviceKind::Virtual | DeviceKind::Software | DeviceKind::Other => {
            None
        }
    };
    let mut ranked: Vec<_> =
        devices.iter().filter_map(|device| Some((rank(device)?, device))).collect();
    // Drivers list cards in no order that means anything, but for CUDA's; the one of most memory is
    // the fastest as a rule. Stable, so that CUDA's own order, the fastest first, stays.
    ranked.sort_by_key(|(rank, device)| {
        (*rank, std::cmp::Reverse(device.memory_bytes.filter(|_| !device.is_cuda())))
    });
    ranked.into_iter().map(|(_, device)| device).collect()
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

    fn device(name: &str, kind: DeviceKind) -> DeviceInfo {
        DeviceInfo { kind, usable: true, reason: None, ..DeviceInfo::unusable(name, name, "") }
    }

    /// The names in the order in which `auto` tries them.
    fn order(devices: &[DeviceInfo]) -> Vec<&str> {
        assert_eq!(preferred(devices), ranked(devices).first().copied());
        ranked(devices).into_iter().map(|device| device.name.as_str()).collect()
    }

    #[test]
    fn auto_takes_cuda_then_a_real_gpu_then_the_cpu() {
        let cpu = device("cpu", DeviceKind::Cpu);
        let cuda = [device("cuda:0", DeviceKind::Discrete), device("cuda:1", DeviceKind::Discrete)];
        let integrated = device("wgpu:0", DeviceKind::Integrated);
        let discrete = device("wgpu:1", DeviceKind::Discrete);
        let [first, second] = cuda;
        assert_eq!(
            order(&[cpu.clone(), first.clone(), second, integrated.clone(), discrete.clone()]),
            ["cuda:0", "cuda:1", "wgpu:1", "cpu"]
        );
        assert_eq!(order(&[cpu.clone(), integrated.clone(), discrete]), ["wgpu:1", "cpu"]);
        assert_eq!(order(&[cpu.clone(), device("wgpu:0", DeviceKind::Apple)]), ["wgpu:0", "cpu"]);
        let broken =
            DeviceInfo { usable: false, reason: Some("its driver is too old".into()), ..first };
        assert_eq!(order(&[cpu, broken, integrated]), ["cpu"]);
        assert_eq!(preferred(&[]), None);
    }

    #[test]
    fn what_is_no_gpu_of_its_own_is_only_taken_by_name() {
        use DeviceKind::{Integrated, Other, Software, Virtual};
        for kind in [Integrated, Virtual, Software, Other] {
            assert_eq!(
                order(&[device("cpu", DeviceKind::Cpu), device("wgpu:0", kind)]),
                ["cpu"],
                "{kind:?}"
            );
            assert_eq!(preferred(&[device("wgpu:0", kind)]), None);
        }
    }

    #[test]
    fn a_list_of_devices_survives_json() {
        let devices = devices();
        let text = serde_json::to_string(&devices).unwrap();
        assert!(text.contains(r#""kind":"cpu""#), "{text}");
        assert_eq!(serde_json::from_str::<Vec<DeviceInfo>>(&text).unwrap(), devices);
    }
}
