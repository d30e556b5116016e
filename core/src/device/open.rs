//! Opening a device, with a reason where that fails.

use std::sync::Mutex;

use burn::tensor::{Device, Tensor};

use super::list::devices;
use super::{DeviceChoice, DeviceInfo, preparing, ranked};
use crate::error::{Error, Result};
use crate::panics::{caught, driver_said};
use crate::waiting::wait_for;

/// Held while drivers are asked and GPUs are opened: Vulkan's loader crashes when programs come and
/// go on several threads at once.
static OPENING: Mutex<()> = Mutex::new(());

/// Opens a device for training or inference and tries one addition on it. Returns it with its name.
///
/// [`DeviceChoice::Auto`] goes by [`preferred`](super::preferred). A GPU that is listed may still
/// fail when it is tried; the next one, and at last the CPU, takes its place, and the log has a
/// warning with the reason.
///
/// # Errors
/// [`Error::Device`] with the driver's reason. Never panics, and prints nothing.
pub fn open(choice: DeviceChoice) -> Result<(Device, String)> {
    if choice == DeviceChoice::Cpu {
        return Ok((Device::flex(), "cpu".into()));
    }
    let _opening = OPENING.lock().unwrap_or_else(|poisoned| poisoned.into_inner());
    let found = devices();
    if choice == DeviceChoice::Auto {
        for info in ranked(&found) {
            match open_listed(info) {
                Ok(opened) => return Ok(opened),
                Err(error) => tracing::warn!("{error}; the next device is taken instead"),
            }
        }
        return Ok((Device::flex(), "cpu".into()));
    }
    let name = choice.to_string();
    match found.iter().find(|info| info.name == name) {
        Some(info) => open_listed(info),
        None => Err(Error::Device {
            name,
            reason: "there is no such device on this machine; `counterweight devices` lists them"
                .into(),
        }),
    }
}

/// Opens a device of the list.
fn open_listed(info: &DeviceInfo) -> Result<(Device, String)> {
    let fail = |reason: String| Error::Device { name: info.name.clone(), reason: reason.into() };
    if let Some(reason) = &info.reason {
        return Err(fail(reason.clone()));
    }
    let device = match info.name.parse().map_err(fail)? {
        DeviceChoice::Cpu | DeviceChoice::Auto => Device::flex(),
        choice => {
            // What an earlier device failed with says nothing about this one.
            driver_said();
            let opened = caught(|| {
                preparing::prepare();
                let device = gpu(choice)?;
                let sum = Tensor::<1>::from_floats([1.0, 2.0], &device) + 1.0;
                let values = wait_for(sum.into_data_async())
                    .map_err(|lost| lost.to_string())?
                    .map_err(|error| error.to_string())?;
                let values = values.try_to_vec::<f32>().map_err(|error| format!("{error:?}"))?;
                if values == [2.0, 3.0] {
                    Ok(device)
                } else {
                    Err("it computes 1 + 1 wrongly".to_string())
                }
            });
            opened.map_err(|reason| fail(driver_said().unwrap_or(reason)))?
        }
    };
    Ok((device, info.name.clone()))
}

fn gpu(choice: DeviceChoice) -> Result<Device, String> {
    match choice {
        #[cfg(feature = "cuda")]
        DeviceChoice::Cuda(index) => Ok(Device::cuda(index)),
        #[cfg(feature = "wgpu")]
        DeviceChoice::Wgpu(index) => {
            // The same list as in `list`, but of what the tensor library opens.
            let mut adapters = Device::enumerate(burn::tensor::DeviceType::Wgpu).into_iter();
            adapters
                .nth(index)
                .ok_or_else(|| "it was there a moment ago and is not any more".to_string())
        }
        _ => Err("this build does not have it".into()),
    }
}

/// Has the CPU device, and everything else that works on all cores, use this many threads. To be
/// called before any of them has worked.
///
/// # Errors
/// [`Error::Device`] if there are threads already, or they cannot be started.
pub fn use_threads(threads: usize) -> Result<()> {
    let pool = rayon::ThreadPoolBuilder::new().num_threads(threads);
    pool.build_global().map_err(|e| Error::Device {
        name: "cpu".into(),
        reason: format!("{threads} threads cannot be used: {e}").into(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_device_that_is_not_there_is_an_error() {
        for choice in [DeviceChoice::Cuda(63), DeviceChoice::Wgpu(63)] {
            let error = open(choice).unwrap_err().to_string();
            assert!(
                error.contains(&choice.to_string()) && error.contains("no such device"),
                "{error}"
            );
        }
    }

    #[test]
    fn a_listed_device_opens_or_fails_with_its_reason() {
        for info in devices() {
            match open(info.name.parse().unwrap()) {
                Ok((_, name)) => assert!(info.usable && name == info.name, "{info:?}"),
                Err(error) => {
                    let text = error.to_string();
                    assert!(text.contains(&info.name), "{text}");
                    assert!(info.reason.is_none_or(|reason| text.contains(&reason)), "{text}");
                }
            }
        }
        assert!(open(DeviceChoice::Auto).is_ok());
    }
}
