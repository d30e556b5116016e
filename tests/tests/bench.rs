//! `counterweight bench`: every subcommand runs at a small size and says what it measured.

use counterweight_tests::fixtures::broken_folder;
use counterweight_tests::{counterweight, counterweight_json};
use serde_json::{Value, json};

fn bench(arguments: &[&str]) -> Value {
    let report = counterweight_json(&[&["bench"], arguments].concat());
    let memory = &report["peak_memory_bytes"];
    if cfg!(target_os = "linux") {
        assert!(memory.as_u64().unwrap() > 1 << 20, "{report}");
    } else {
        assert!(memory.is_null(), "{report}");
    }
    report
}

/// Checks that the named numbers are there and above zero.
fn positive(report: &Value, names: &[&str]) {
    for name in names {
        assert!(report[name].as_f64().unwrap_or_default() > 0.0, "{name}: {report}");
    }
}

const SMALL: [&str; 10] =
    ["--model", "resnet20", "--batch", "4", "--size", "16", "--steps", "3", "--device", "cpu"];

#[test]
fn training_is_timed_with_and_without_a_loader_and_needs_no_name() {
    for (named, flags, loader) in
        [(&[][..], &[][..], false), (&["train"], &["--loader", "--threads", "1"], true)]
    {
        let report = bench(&[named, &SMALL, flags].concat());
        assert_eq!((&report["device"], &report["backbone"]), (&json!("cpu"), &json!("resnet20")));
        assert_eq!(
            (&report["batch_size"], &report["input_size"], &report["steps"]),
            (&json!(4), &json!(16), &json!(3))
        );
        assert_eq!(report["loader"], loader);
        positive(
            &report,
            &["ms_per_step", "images_per_s", "gflop_per_s", "peak_gflop_per_s", "threads"],
        );
        assert!(report["gflop_per_s"].as_f64() < report["peak_gflop_per_s"].as_f64(), "{report}");
        assert!(!loader || report["threads"] == 1);
    }
}

#[test]
fn inference_is_timed() {
    let report = bench(&[&["infer"][..], &SMALL].concat());
    positive(&report, &["ms_per_step", "images_per_s", "gflop_per_s"]);
}

#[test]
fn stage_two_and_tuning_are_timed() {
    let small = ["--classes", "5", "--features", "12", "--largest", "40"];
    let report = bench(
        &[&["stage2"][..], &small, &["--epochs", "2", "--repeats", "2", "--batch", "8"]].concat(),
    );
    assert_eq!(
        (&report["classes"], &report["features"], &report["epochs"]),
        (&json!(5), &json!(12), &json!(2))
    );
    let losses = report["losses"].as_array().unwrap();
    assert_eq!(
        losses.iter().map(|l| l["loss"].as_str().unwrap()).collect::<Vec<_>>(),
        ["class-balanced", "class-balanced-bce"]
    );
    losses.iter().for_each(|loss| positive(loss, &["seconds", "samples_per_s"]));

    let report =
        bench(&[&["tune"][..], &small, &["--candidates", "30", "--threads", "2"]].concat());
    assert_eq!((&report["threads"], &report["validation_samples"]), (&json!(2), &json!(100)));
    let (candidates, trained) =
        (report["candidates"].as_u64().unwrap(), report["trained_candidates"].as_u64().unwrap());
    assert!(trained > 5 && trained < candidates && candidates <= 30, "{report}");
    positive(&report, &["seconds"]);
}

#[test]
fn decoding_is_timed_on_what_can_be_read() {
    let folder = tempfile::tempdir().unwrap();
    let broken = broken_folder(folder.path());
    let root = broken.root.to_str().unwrap();
    let report = bench(&["decode", root, "--size", "16"]);
    assert_eq!(
        (&report["images"], &report["unreadable"], &report["side"]),
        (&json!(28), &json!(4), &json!(16))
    );
    positive(
        &report,
        &[
            "scan_s",
            "scan_images_per_s",
            "after_scan_s",
            "first_images_per_s",
            "known_scan_s",
            "known_scan_images_per_s",
            "decode_s",
            "decode_images_per_s",
            "known_images_per_s",
            "threads",
        ],
    );
    // Images of about 40 × 32.
    assert_eq!(bench(&["decode", root])["side"], 32);
}

#[test]
fn people_get_one_line_and_wrong_usage_is_refused() {
    let output = counterweight(&[
        "bench",
        "stage2",
        "--classes",
        "3",
        "--features",
        "4",
        "--largest",
        "9",
        "--epochs",
        "1",
    ]);
    let text = String::from_utf8(output.stdout).unwrap();
    assert!(
        text.lines().count() == 1
            && text.contains("stage 2")
            && text.contains("as in the authors' code"),
        "{text}"
    );
    for wrong in [
        &["bench", "everything"][..],
        &["bench", "--batch", "8", "infer"],
        &["bench", "decode"],
        &["bench", "--threads", "0"],
    ] {
        assert_eq!(counterweight(wrong).status.code(), Some(2), "{wrong:?}");
    }
    assert_eq!(counterweight(&["bench", "decode", "no/such/folder"]).status.code(), Some(1));
}
