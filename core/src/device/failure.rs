//! Why a device did not do what it was asked.

use burn::tensor::Device;

use crate::error::Error;
use crate::ops;
use crate::panics::{caught, driver_said, ends_waiting};
use crate::waiting::{Lost, in_one_line};

/// Why a device did not do what it was asked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Failure {
    /// Its memory does not hold what it would take. It can be asked for less.
    OutOfMemory,
    /// Anything else, in the driver's words.
    Broken(String),
}

impl From<Lost> for Failure {
    fn from(lost: Lost) -> Self {
        Self::Broken(lost.to_string())
    }
}

impl From<String> for Failure {
    /// Libraries and drivers give a reason as text only.
    fn from(reason: String) -> Self {
        /// What cubecl, wgpu, Vulkan and CUDA write; a buffer that no memory could hold counts as
        /// well, since less of it would fit.
        const OUT_OF_MEMORY: [&str; 5] = [
            "out of memory",
            "out of device memory",
            "out_of_memory",
            "not enough memory left",
            "can't allocate",
        ];
        let lower = reason.to_lowercase();
        // It was asked for too much, or something else, at some time before; it does nothing more.
        if lower.contains(Lost::WORDS) {
            return Self::Broken(reason);
        }
        if lower.contains("poisoned") || ends_waiting(&reason) {
            return Lost(Some(reason)).into();
        }
        match OUT_OF_MEMORY.iter().any(|words| lower.contains(words)) {
            true => Self::OutOfMemory,
            false => Self::Broken(in_one_line(&reason)),
        }
    }
}

impl From<Failure> for Error {
    fn from(failure: Failure) -> Self {
        let reason = match failure {
            Failure::OutOfMemory => "it ran out of memory".to_string(),
            Failure::Broken(reason) => reason,
        };
        Self::Device { name: "GPU".into(), reason: reason.into() }
    }
}

/// Does something on a device. Drivers and what stands over them panic where they fail, which
/// becomes the reason; on the CPU a panic is an error in this program and stays one.
pub(crate) fn attempt<T>(
    device: &Device,
    work: impl FnOnce() -> Result<T, Failure>,
) -> Result<T, Failure> {
    if ops::is_cpu(device) {
        return work();
    }
    match caught(|| Ok(work())) {
        // Told apart already; only what the library itself said knows more.
        Ok(Err(Failure::Broken(reason))) => {
            Err(driver_said().map_or(Failure::Broken(reason), Failure::from))
        }
        Err(reason) => Err(driver_said().unwrap_or(reason).into()),
        Ok(outcome) => outcome,
    }
}

/// Has a GPU's library give back the memory that it keeps for later, which is in the way of what
/// needs other amounts.
pub(crate) fn release_memory(device: &Device) {
    let released = attempt(device, || {
        device.memory_cleanup();
        Ok(())
    });
    // A device that cannot do this any more says so when it is used next.
    drop(released);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reasons_that_ask_for_less_are_told_from_others() {
        for reason in [
            "out of device memory allocating 1073741824 bytes\n",
            "wgpu error: Out of Memory\n",
            "CUDA_ERROR_OUT_OF_MEMORY",
            "can't allocate buffer of size: 1099511627776\n",
            "An error happened during execution\nCaused by:\n  out of device memory allocating 5 bytes",
        ] {
            assert_eq!(Failure::from(reason.to_string()), Failure::OutOfMemory, "{reason}");
        }
        let lost = Failure::from(
            "The device is poisoned\nCaused by:\n  Unknown: it was unplugged\n".to_string(),
        );
        let said = "(The device is poisoned Caused by: Unknown: it was unplugged)";
        assert!(matches!(&lost, Failure::Broken(reason) if reason.contains(said)), "{lost:?}");
        assert!(Error::from(lost).to_string().contains("start the program again"));
        // Less of it would not help any more.
        for gone in [
            "The device is poisoned\nCaused by:\n  Unknown: Out of memory\n",
            "Error in Device::poll: Validation Error\n\nCaused by:\n  Not enough memory left.\n",
        ] {
            let failure = Failure::from(gone.to_string());
            assert!(
                matches!(&failure, Failure::Broken(reason) if reason.contains("start the program again")),
                "{failure:?}"
            );
        }
    }

    /// Runs where a GPU can be opened by that name: see `COUNTERWEIGHT_SOFTWARE_GPU`.
    #[cfg(feature = "gpu")]
    #[test]
    fn a_gpu_that_runs_out_of_memory_says_so_and_goes_on() {
        use burn::tensor::Tensor;

        use crate::device::{DeviceChoice, open};
        use crate::gpu::test_device::skipped;

        let device = match open(DeviceChoice::Wgpu(0)) {
            Ok((device, _)) => device,
            Err(error) => return skipped(&error.to_string()),
        };
        let sum = |side: usize| {
            attempt(&device, || {
                let much = Tensor::<2>::ones([side, side], &device) * 2.0;
                crate::device::host(much.sum())
            })
        };
        assert_eq!(sum(4), Ok(vec![32.0]));
        assert_eq!(sum(1 << 19), Err(Failure::OutOfMemory));
        assert_eq!(sum(8), Ok(vec![128.0]));
    }
}
