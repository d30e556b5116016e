//! What the tests share: the built binary, running it, files to run it on, and finding a Python.

pub mod fixtures;
pub mod python;

use std::path::PathBuf;
use std::process::{Command, Output};
use std::sync::OnceLock;

/// The path of the `counterweight` binary, built on first use with the profile the tests were built with.
pub fn binary() -> PathBuf {
    static BINARY: OnceLock<PathBuf> = OnceLock::new();
    BINARY
        .get_or_init(|| {
            let profile = profile_folder();
            let name = format!("counterweight{}", std::env::consts::EXE_SUFFIX);
            let status = Command::new(env!("CARGO"))
                .args(["build", "--package", "counterweight", "--bin", "counterweight"])
                .args(if profile.ends_with("debug") { None } else { Some("--release") })
                .current_dir(concat!(env!("CARGO_MANIFEST_DIR"), "/.."))
                .status()
                .expect("cargo runs");
            assert!(status.success(), "the binary does not build");
            profile.join(name)
        })
        .clone()
}

/// Cargo's target folder.
pub fn target_folder() -> PathBuf {
    profile_folder().parent().expect("tests lie in <target>/<profile>/deps").to_path_buf()
}

/// Tests lie in <target>/<profile>/deps; the binary lies one folder above them.
fn profile_folder() -> PathBuf {
    let test = std::env::current_exe().expect("a test has a path");
    test.parent().and_then(|deps| deps.parent()).expect("tests lie in <target>/<profile>/deps").to_path_buf()
}

/// Runs the binary with `arguments` and waits for it.
pub fn counterweight<S: AsRef<std::ffi::OsStr>>(arguments: &[S]) -> Output {
    Command::new(binary()).args(arguments).output().expect("the binary starts")
}

/// Runs the binary with `arguments` and `--json`, requires success and returns the last line it printed, parsed.
pub fn counterweight_json<S: AsRef<std::ffi::OsStr>>(arguments: &[S]) -> serde_json::Value {
    let output = Command::new(binary()).args(arguments).arg("--json").output().expect("the binary starts");
    let stdout = String::from_utf8_lossy(&output.stdout);
    let stderr = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "exit {:?}\n{stdout}\n{stderr}", output.status.code());
    let last = stdout.lines().last().unwrap_or_default();
    serde_json::from_str(last).unwrap_or_else(|e| panic!("{e}: {last}\n{stderr}"))
}
