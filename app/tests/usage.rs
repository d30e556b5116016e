//! What the binary says about itself. That this test exists also makes Cargo build the binary for
//! every other test.

use std::process::{Command, Output};

fn counterweight(arguments: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_counterweight"))
        .args(arguments)
        .output()
        .expect("the binary starts")
}

#[test]
fn every_subcommand_has_help_with_an_example() {
    let help = counterweight(&["--help"]);
    assert!(help.status.success());
    let help = String::from_utf8(help.stdout).unwrap();
    for name in [
        "demo", "inspect", "build", "train", "balance", "tune", "evaluate", "export", "predict",
        "devices", "cache", "bench",
    ] {
        assert!(help.contains(&format!("\n  {name} ")), "{name} is missing from:\n{help}");
        let text = String::from_utf8(counterweight(&[name, "--help"]).stdout).unwrap();
        assert!(text.contains("Example"), "{name} has no example:\n{text}");
        assert!(
            text.contains(&format!("counterweight {name}")),
            "{name}'s example does not use it:\n{text}"
        );
    }
}

#[test]
fn devices_lists_the_cpu_as_usable() {
    let output = counterweight(&["devices", "--json"]);
    assert!(output.status.success());
    let text = String::from_utf8(output.stdout).unwrap();
    assert!(text.contains(r#""name":"cpu""#) && text.contains(r#""usable":true"#), "{text}");
}

#[test]
fn wrong_usage_exits_with_2() {
    assert_eq!(counterweight(&["frobnicate"]).status.code(), Some(2));
    assert_eq!(counterweight(&["bench", "--batch", "0"]).status.code(), Some(2));
}
