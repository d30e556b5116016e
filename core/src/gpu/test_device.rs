//! The GPU that tests compute on; a software renderer will do.

use std::collections::BTreeSet;
use std::io::{self, Write};
use std::sync::{Mutex, OnceLock, PoisonError};
use std::thread;

use burn::backend::DispatchDevice;
use burn::tensor::{Device, DeviceType};
use cubecl::client::Client;

/// The first GPU that CUDA finds if the environment's COUNTERWEIGHT_TEST_GPU is `cuda`, otherwise
/// wgpu's first. Where there is none, the calling test is to pass, which is said here, unless that
/// variable says that there must be one.
pub fn device() -> Option<Device> {
    static FOUND: OnceLock<Option<Device>> = OnceLock::new();
    let wanted = std::env::var_os("COUNTERWEIGHT_TEST_GPU");
    let found = FOUND.get_or_init(|| Device::enumerate(kind(&wanted)).into_iter().next());
    assert!(found.is_some() || wanted.is_none(), "there is no GPU to test with");
    if found.is_none() {
        skipped("there is no GPU, nor a software renderer");
    }
    found.clone()
}

/// Says once that the calling test leaves something out, and why: on standard error itself, since
/// the harness holds back what a test that passes prints.
pub fn skipped(why: &str) {
    static SAID: Mutex<BTreeSet<String>> = Mutex::new(BTreeSet::new());
    // The harness names threads after their tests.
    let thread = thread::current();
    let line = format!("skipped {}: {why}\n", thread.name().unwrap_or("a test"));
    let mut said = SAID.lock().unwrap_or_else(PoisonError::into_inner);
    if !said.contains(&line) {
        // A test does not fail because standard error is closed.
        io::stderr().write_all(line.as_bytes()).ok();
        said.insert(line);
    }
}

#[cfg(feature = "cuda")]
fn kind(wanted: &Option<std::ffi::OsString>) -> DeviceType {
    if wanted.as_ref().is_some_and(|wanted| wanted == "cuda") {
        DeviceType::Cuda
    } else {
        DeviceType::Wgpu
    }
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
