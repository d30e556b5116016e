//! What the tests share: the built binary, running it, files to run it on, and finding a Python.

pub mod fixtures;
pub mod onnx_file;
pub mod python;
pub mod reference;
pub mod window;

use std::path::PathBuf;
use std::process::{Command, Output};

/// The path of the `counterweight` binary of the profile the tests were built with. Cargo builds it
/// because the package `counterweight` has an integration test of its own; `cargo test` builds
/// everything before it runs anything.
///
/// # Panics
/// If it has not been built, which happens when only single tests were asked for in a fresh target
/// folder.
pub fn binary() -> PathBuf {
    let path = profile_folder().join(format!("counterweight{}", std::env::consts::EXE_SUFFIX));
    assert!(path.is_file(), "{} is not built; run `cargo build --release` first", path.display());
    path
}

/// Cargo's target folder.
pub fn target_folder() -> PathBuf {
    profile_folder().parent().expect("tests lie in <target>/<profile>/deps").to_path_buf()
}

/// Tests lie in <target>/<profile>/deps; the binary lies one folder above them.
fn profile_folder() -> PathBuf {
    let test = std::env::current_exe().expect("a test has a path");
    test.parent()
        .and_then(|deps| deps.parent())
        .expect("tests lie in <target>/<profile>/deps")
        .to_path_buf()
}

/// Runs the binary with `arguments` and waits for it.
pub fn counterweight<S: AsRef<std::ffi::OsStr>>(arguments: &[S]) -> Output {
    Command::new(binary()).args(arguments).output().expect("the binary starts")
}

/// Runs the binary with `arguments` and `--json`, requires success and returns the last line it
/// printed, parsed.
pub fn counterweight_json<S: AsRef<std::ffi::OsStr>>(arguments: &[S]) -> serde_json::Value {
    let output =
        Command::new(binary()).args(arguments).arg("--json").output().expect("the binary starts");
    let stdout = String::from_utf8_lossy(&output.stdout);
    let stderr = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "exit {:?}\n{stdout}\n{stderr}", output.status.code());
    let last = stdout.lines().last().unwrap_or_default();
    serde_json::from_str(last).unwrap_or_else(|e| panic!("{e}: {last}\n{stderr}"))
}
