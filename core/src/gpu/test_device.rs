//! The GPU that tests compute on; a software renderer will do.

use std::sync::OnceLock;

use burn::backend::DispatchDevice;
use burn::tensor::{Device, DeviceType};
use cubecl::client::Client;

/// The first GPU that CUDA finds if the environment's COUNTERWEIGHT_TEST_GPU is `cuda`, otherwise wgpu's first. Where there is none, tests pass without
/// a word, unless that variable says that there must be one.
pub fn device() -> Option<Device> {
    static FOUND: OnceLock<Option<Device>> = OnceLock::new();
    let wanted = std::env::var_os("COUNTERWEIGHT_TEST_GPU");
    let found = FOUND.get_or_init(|| Device::enumerate(kind(&wanted)).into_iter().next());
    assert!(found.is_some() || wanted.is_none(), "there is no GPU to test with");
    found.clone()
}

#[cfg(feature = "cuda")]
fn kind(wanted: &Option<std::ffi::OsString>) -> DeviceType {
    if wanted.as_ref().is_some_and(|wanted| wanted == "cuda") { DeviceType::Cuda } else { DeviceType::Wgpu }
}

#[cfg(not(feature = "cuda"))]
fn kind(_wanted: &Option<std::ffi::OsString>) -> DeviceType {
    DeviceType::Wgpu
}

/// Its queue.
pub fn client() -> Option<Client> {
    match device()?.as_dispatch().clone().inner() {
        DispatchDevice::Cube(device) => Some(device.client()),
        _ => None,
    }
}
