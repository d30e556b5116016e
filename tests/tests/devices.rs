//! What the program says of this machine's devices, by the real binary.

use std::process::Command;

use counterweight_core::device::{DeviceInfo, DeviceKind, preferred};
use counterweight_tests::binary;

/// The devices with this in the environment, and what was written to standard error.
fn devices(environment: &[(&str, &str)]) -> (Vec<DeviceInfo>, String) {
    let mut command = Command::new(binary());
    // As over ssh or in a container.
    command
        .args(["devices", "--json"])
        .env_remove("XDG_RUNTIME_DIR")
        .env_remove("COUNTERWEIGHT_SOFTWARE_GPU");
    let output = command.envs(environment.iter().copied()).output().unwrap();
    let stderr = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(output.status.success(), "{stderr}");
    assert!(!stderr.contains("XDG_RUNTIME_DIR"), "{stderr}");
    (serde_json::from_slice(&output.stdout).unwrap(), stderr)
}

#[test]
fn a_machine_without_any_driver_has_its_cpu_and_reasons() {
    let none = [
        ("VK_ICD_FILENAMES", "/nonexistent"),
        ("VK_DRIVER_FILES", "/nonexistent"),
        ("__EGL_VENDOR_LIBRARY_FILENAMES", "/nonexistent"),
    ];
    let (found, stderr) = devices(&none);
    assert_eq!(found[0].name, "cpu");
    assert!(!stderr.contains("panicked"), "{stderr}");
    for device in &found {
        assert_eq!(device.usable, device.reason.is_none(), "{device:?}");
    }
    if cfg!(target_os = "linux") {
        let wgpu = found.iter().find(|device| device.name == "wgpu:0").unwrap();
        assert!(
            wgpu.reason.as_ref().unwrap().contains("driver was found")
                && preferred(&found).unwrap().name != "wgpu:0",
            "{wgpu:?}"
        );
    }
}

#[test]
fn a_software_renderer_is_used_by_name_where_the_environment_allows_it() {
    let (usual, _) = devices(&[]);
    let Some(at) = usual.iter().position(|device| device.kind == DeviceKind::Software) else {
        return;
    };
    assert!(
        !usual[at].usable && usual[at].reason.as_ref().unwrap().contains("software renderer"),
        "{:?}",
        usual[at]
    );
    let (allowed, _) = devices(&[("COUNTERWEIGHT_SOFTWARE_GPU", "1")]);
    assert!(allowed[at].usable && allowed[at].name == usual[at].name, "{:?}", allowed[at]);
    assert_eq!(
        preferred(&allowed).map(|device| &device.name),
        preferred(&usual).map(|device| &device.name)
    );
}

#[test]
fn a_device_that_is_not_there_is_named_with_the_reason() {
    let arguments = ["train", "images", "--run", "run", "--device", "wgpu:41"];
    let output = Command::new(binary()).args(arguments).output().unwrap();
    let stderr = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(1), "{stderr}");
    assert!(
        stderr.contains("device wgpu:41: there is no such device") && !stderr.contains("panicked"),
        "{stderr}"
    );
}
