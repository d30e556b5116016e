//! The whole job on a GPU. A software renderer will do, so that every machine can be asked.

use std::io::{self, Write};
use std::path::Path;
use std::process::Command;

use counterweight_core::source::unpack_sample;
use counterweight_tests::binary;
use serde_json::Value;

/// The GPU to test: wgpu's first, be it a software renderer, or CUDA's if COUNTERWEIGHT_TEST_GPU is
/// `cuda`.
fn tested() -> &'static str {
    if std::env::var_os("COUNTERWEIGHT_TEST_GPU").is_some_and(|value| value == "cuda") {
        "cuda:0"
    } else {
        "wgpu:0"
    }
}

fn counterweight(arguments: &[&str]) -> Value {
    let mut command = Command::new(binary());
    command.env("COUNTERWEIGHT_SOFTWARE_GPU", "1").args(arguments).arg("--json");
    let output = command.output().expect("the binary starts");
    let (stdout, stderr) =
        (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert!(output.status.success(), "exit {:?}\n{stdout}\n{stderr}", output.status.code());
    serde_json::from_str(stdout.lines().last().unwrap_or_default())
        .unwrap_or_else(|e| panic!("{e}\n{stdout}\n{stderr}"))
}

fn has_gpu() -> bool {
    let devices = counterweight(&["devices"]);
    let found = devices
        .as_array()
        .unwrap()
        .iter()
        .any(|device| device["name"] == tested() && device["usable"] == true);
    assert!(
        found || std::env::var_os("COUNTERWEIGHT_TEST_GPU").is_none(),
        "there is nothing to test with: {devices}"
    );
    found
}

fn text(path: &Path) -> &str {
    path.to_str().unwrap()
}

/// The lines of a run's log.
fn log(run: &Path) -> Vec<Value> {
    let log = std::fs::read_to_string(run.join("metrics.jsonl")).unwrap();
    log.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

#[test]
fn a_gpu_learns_what_the_cpu_learns_and_twice_the_same() {
    if !has_gpu() {
        // Past the harness, which holds back what a test that passes prints; a closed standard
        // error is no failure.
        io::stderr()
            .write_all(b"skipped a_gpu_learns_what_the_cpu_learns_and_twice_the_same: there is no GPU, nor a software renderer\n")
            .ok();
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let sample = unpack_sample(folder.path()).unwrap();
    let dataset_file = folder.path().join("digits.toml");
    counterweight(&[
        "build",
        text(&sample),
        "--out",
        text(&dataset_file),
        "--factor",
        "8",
        "--max-per-class",
        "16",
    ]);
    let train = |run: &Path, device: &str, more: &[&str]| {
        let mut arguments = vec![
            "train",
            text(&dataset_file),
            "--run",
            text(run),
            "--device",
            device,
            "--preset",
            "quick",
        ];
        // So slow that rounding stays rounding.
        for setting in [
            "stage1.epochs=2",
            "stage1.warmup_epochs=0",
            "stage1.schedule=constant",
            "stage1.learning_rate=0.001",
        ] {
            arguments.extend(["--set", setting]);
        }
        arguments.extend([
            "--set",
            "augmentation.mixup=0.2",
            // Asking whether mirroring is harmless takes a large network minutes here.
            "--set",
            "augmentation.flip=true",
            "--set",
            "augmentation.color_jitter=0.2",
            "--set",
            "stage1.label_smoothing=0.1",
        ]);
        arguments.extend(more);
        counterweight(&arguments)
    };
    let [cpu, gpu, again] = ["cpu", "gpu", "again"].map(|name| folder.path().join(name));
    train(&cpu, "cpu", &[]);
    train(&gpu, tested(), &[]);
    train(&again, tested(), &[]);
    let near = |gpu: &Path, tolerance: f64| {
        for (cpu, gpu) in log(&cpu).iter().zip(&log(gpu)) {
            for key in ["train_loss", "validation_loss"] {
                let [cpu, gpu] = [cpu, gpu].map(|line| line[key].as_f64().unwrap());
                assert!(
                    (cpu - gpu).abs() < tolerance * cpu,
                    "{key}: {gpu} on the GPU, {cpu} on the CPU"
                );
            }
        }
    };
    near(&gpu, 2e-3);
    let weights = |run: &Path| std::fs::read(run.join("checkpoints/last.safetensors")).unwrap();
    assert!(weights(&gpu) == weights(&again), "the second run ends with other weights");
    assert!(weights(&gpu) != weights(&cpu), "the GPU did not compute");

    // Units for bfloat16 are an NVIDIA GPU's; elsewhere the setting changes nothing.
    let [rounded, rounded_again] =
        ["rounded", "rounded-again"].map(|name| folder.path().join(name));
    train(&rounded, tested(), &["--set", "stage1.precision=bfloat16"]);
    if tested() == "wgpu:0" {
        assert!(
            weights(&rounded) == weights(&gpu),
            "bfloat16 is not what a GPU without units for it computes with"
        );
    } else {
        train(&rounded_again, tested(), &["--set", "stage1.precision=bfloat16"]);
        assert!(
            weights(&rounded) == weights(&rounded_again),
            "rounding has the second run end with other weights"
        );
        assert!(weights(&rounded) != weights(&gpu), "nothing was rounded");
        near(&rounded, 2e-2);
    }

    let on_gpu = ["--device", tested()];
    let balanced = counterweight(
        &[
            &["balance", text(&gpu), "--balancer", "weight-decay", "--balancer", "max-norm"],
            on_gpu.as_slice(),
        ]
        .concat(),
    );
    assert!(balanced["balanced_accuracy"].as_f64().is_some(), "{balanced}");
    let model = folder.path().join("digits.onnx");
    let exported = counterweight(&["export", text(&gpu), "--out", text(&model)]);
    assert!(model.is_file(), "{exported}");
}
