//! Finding a Python that can run foreign ONNX tools.

use std::path::PathBuf;
use std::process::Command;

/// A Python interpreter that can import `modules`: the one `COUNTERWEIGHT_PYTHON` names, else the
/// one in `target/python`, else `python3`.
///
/// Without one it prints why the calling test is skipped and returns `None`.
///
/// # Panics
/// Instead of skipping, where `CI` is `true` or `COUNTERWEIGHT_PYTHON` is set: there the test is
/// meant to run.
#[expect(clippy::print_stdout, reason = "a skipped test must say so")]
pub fn python(modules: &[&str]) -> Option<PathBuf> {
    let named = std::env::var_os("COUNTERWEIGHT_PYTHON").map(PathBuf::from);
    let required = named.is_some() || std::env::var_os("CI").is_some_and(|ci| ci == "true");
    let interpreter = named.unwrap_or_else(|| {
        let local = crate::target_folder().join("python").join(if cfg!(windows) {
            "Scripts/python.exe"
        } else {
            "bin/python3"
        });
        if local.is_file() { local } else { PathBuf::from("python3") }
    });
    let reason = match Command::new(&interpreter)
        .args(["-c", &format!("import {}", modules.join(", "))])
        .output()
    {
        Ok(output) if output.status.success() => return Some(interpreter),
        Ok(output) => String::from_utf8_lossy(&output.stderr)
            .trim()
            .lines()
            .last()
            .unwrap_or_default()
            .to_string(),
        Err(error) => error.to_string(),
    };
    let message = format!(
        "{} cannot import {}: {reason}. Set COUNTERWEIGHT_PYTHON to a Python that can, or run .ci/run, which makes one",
        interpreter.display(),
        modules.join(", ")
    );
    assert!(!required, "{message}");
    println!("skipped: {message}");
    None
}
