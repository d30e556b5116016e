//! Sweeps on a few digits.

use std::collections::BTreeSet;

use burn::tensor::Device;

use super::super::auto::part;
use super::*;
use crate::dataset::{DatasetSample, Provenance};
use crate::job::{Control, SweepRecord};
use crate::pipeline::test_run::digits;
use crate::source::{Location, SourceKind};

const VALUES: [&str; 3] = ["0.0001", "0.001", "30"];

fn request<'a>(dataset: &Path, folder: &'a Path, settings: &Settings) -> SweepRequest<'a> {
    let values = VALUES.map(String::from).to_vec();
    SweepRequest {
        dataset: Some(Dataset::load(dataset).unwrap()),
        source: None,
        folder,
        settings: settings.clone(),
        key: "stage1.weight_decay",
        values,
    }
}

/// What does not depend on where the sweep lies.
fn numbers(report: &SweepReport) -> Vec<(usize, Option<f64>, Option<[f32; 3]>)> {
    report
        .members
        .iter()
        .map(|member| (member.finished_epochs, member.score, member.norms))
        .collect()
}

#[test]
fn the_worse_are_left_behind_and_an_interrupted_sweep_goes_on() {
    let folder = tempfile::tempdir().unwrap();
    let (dataset_file, settings) = digits(folder.path());
    let devices = [Device::flex()];
    let whole = folder.path().join("whole");
    let control = Control::new();
    let report =
        sweep(&request(&dataset_file, &whole, &settings), &devices, Job::new(&control, &Silent))
            .unwrap();
    // All for one epoch, two of them for both. With such weight decay nothing is learned.
    let epochs: Vec<usize> = report.members.iter().map(|member| member.finished_epochs).collect();
    assert_eq!(epochs, [2, 2, 1], "{report:?}");
    assert!(
        report
            .members
            .iter()
            .all(|member| member.norms.is_some_and(|[min, mean, max]| min <= mean && mean <= max))
    );
    let best = report.best().expect("two were trained to their end");
    assert_eq!(best.value, "0.001", "what the preset has is as good as the other");
    assert!(Run::open(&best.run).unwrap().verdict("best").is_some(), "the runs are evaluated");

    // Stopped after its first run, and once more after its third, it ends with the same numbers.
    let broken = folder.path().join("broken");
    let once = |runs: usize| {
        let control = Control::new();
        let seen = Mutex::new(Vec::<SweepRecord>::new());
        let sink = |event: Event| {
            if let Event::Sweep(record) = event {
                let mut seen = seen.lock().unwrap();
                seen.push(record);
                if seen.len() == runs {
                    control.stop();
                }
            }
        };
        let outcome =
            sweep(&request(&dataset_file, &broken, &settings), &devices, Job::new(&control, &sink));
        (outcome, seen.into_inner().unwrap())
    };
    assert!(matches!(once(1).0, Err(Error::Stopped)));
    assert_eq!(Sweep::open(&broken).unwrap().report().unwrap().best, None);
    assert!(matches!(once(2).0, Err(Error::Stopped)));
    let (outcome, seen) = once(usize::MAX);
    assert_eq!(numbers(&outcome.unwrap()), numbers(&report));
    assert!(!seen.is_empty() && seen.len() < 5, "what was done is not done again: {seen:?}");

    // Other values belong elsewhere.
    let other =
        SweepRequest { values: vec!["0.5".into()], ..request(&dataset_file, &broken, &settings) };
    let error =
        sweep(&other, &devices, Job::new(&Control::new(), &Silent)).unwrap_err().to_string();
    assert!(error.contains("stage1.weight_decay = 0.0001,0.001,30"), "{error}");
    assert_eq!(Sweep::list(folder.path()), [broken.clone(), whole]);
    Sweep::open(&broken).unwrap().delete().unwrap();
    assert!(!broken.exists());
}

#[test]
fn what_cannot_be_swept_is_said_before_anything_is_made() {
    let folder = tempfile::tempdir().unwrap();
    let settings = Settings::preset(crate::settings::Preset::Quick);
    let place = folder.path().join("sweep");
    let refused = |key: &str, values: &[&str]| {
        let values = values.iter().map(|value| value.to_string()).collect();
        let request = SweepRequest {
            dataset: None,
            source: None,
            folder: &place,
            settings: settings.clone(),
            key,
            values,
        };
        let error = sweep(&request, &[Device::flex()], Job::new(&Control::new(), &Silent))
            .unwrap_err()
            .to_string();
        assert!(!place.exists());
        error
    };
    assert!(refused("stage1.weight_deca", &[]).contains("did you mean `stage1.weight_decay`"));
    assert!(refused("balance.tau", &["1"]).contains("tune"));
    assert!(refused("stage1.schedule", &[]).contains("VALUE"));
    assert!(refused("stage1.weight_decay", &["1e-3", "much"]).contains("much"));
    assert!(refused("stage1.weight_decay", &["1e-3", "1e-3"]).contains("twice"));
    assert_eq!(
        FACTORS.map(|factor| rounded(5e-4 * factor)),
        ["0.00005", "0.00015", "0.0005", "0.0015", "0.005"]
    );
}

#[test]
fn a_damaged_sweep_is_no_way_out_of_its_folder() {
    let folder = tempfile::tempdir().unwrap();
    let plan = |text: &str| {
        std::fs::write(folder.path().join("sweep.json"), text).unwrap();
        Sweep::open(folder.path()).unwrap_err().to_string()
    };
    let member = r#"{"key":"seed","own":null,"held_out":false,"members":[{"value":"1","folder":"../../elsewhere"}]}"#;
    assert!(plan(member).contains("elsewhere"));
    assert!(plan(r#"{"key":"seed","own":null,"held_out":false,"members":[]}"#).contains("no runs"));
    assert!(plan("not JSON").contains("damaged"));
}

#[test]
fn of_series_whole_ones_are_held_out_to_compare_by() {
    let sample = |class: usize, number: usize, group: Option<u32>| DatasetSample {
        location: Location::File(format!("{class}/{number:02}.png").into()),
        class,
        split: Split::Train,
        group,
    };
    let dataset = |group: fn(usize, usize) -> Option<u32>| Dataset {
        root: "photos".into(),
        kind: SourceKind::Folder,
        classes: vec!["cat".into(), "dog".into(), "newt".into()],
        samples: [30, 20, 9]
            .into_iter()
            .enumerate()
            .flat_map(|(class, n)| (0..n).map(move |i| sample(class, i, group(class, i))))
            .collect(),
        provenance: Provenance::default(),
    };
    let alone = with_validation(&dataset(|_, _| None));
    assert_eq!(alone.counts(Split::Validation), [3, 2, 1]);
    // Series of five.
    let together = with_validation(&dataset(|class, i| Some((class * 10 + i / 5) as u32)));
    assert_eq!(together.counts(Split::Validation), [5, 5, 0]);
    let groups = |split| -> BTreeSet<Option<u32>> {
        together.split(split).iter().map(|sample| sample.group).collect()
    };
    assert!(groups(Split::Train).is_disjoint(&groups(Split::Validation)));
    // A part of the training images leaves every class one, and validation as it is.
    let few = part(&alone, 12);
    assert_eq!(few.counts(Split::Validation), [3, 2, 1]);
    let counts = few.counts(Split::Train);
    assert!(
        counts.iter().all(|count| *count > 0) && counts.iter().sum::<usize>() <= 15,
        "{counts:?}"
    );
    // One series of everything cannot be held out.
    let one = with_validation(&dataset(|_, _| Some(0)));
    assert_eq!(one.counts(Split::Validation), [0, 0, 0]);
}
