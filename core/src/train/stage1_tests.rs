use std::path::Path;

use super::*;
use crate::augment::Mixed;
use crate::dataset::DatasetSample;
use crate::device::host;
use crate::job::Control;
use crate::random;
use crate::settings::Preset;
use crate::source::{Location, SourceKind};

const SIDE: usize = 8;

/// A run on four images of two classes, which are there only so that there is a run.
fn run(folder: &Path) -> Run {
    let sample = |index: usize| {
        let name = format!("{index}.png");
        image::RgbImage::from_pixel(SIDE as u32, SIDE as u32, image::Rgb([60 * index as u8; 3]))
            .save(folder.join(&name))
            .unwrap();
        DatasetSample {
            location: Location::File(name.into()),
            class: index % 2,
            split: Split::Train,
            group: None,
        }
    };
    let dataset = Dataset {
        root: folder.to_path_buf(),
        kind: SourceKind::Folder,
        classes: vec!["even".into(), "odd".into()],
        samples: (0..4).map(sample).collect(),
        provenance: Default::default(),
    };
    Run::create(&folder.join("run"), Settings::preset(Preset::Quick), dataset).unwrap()
}

struct Stepped {
    loss: f32,
    correct: f32,
    weights: Vec<NamedTensor>,
}

/// One step on a batch that is computed in so many parts.
fn step(batch: &Batch, parts: usize) -> Stepped {
    let folder = tempfile::tempdir().unwrap();
    let run = run(folder.path());
    let mut settings = run.settings().clone();
    (settings.stage1.accumulation, settings.stage1.label_smoothing) = (parts, 0.1);
    let control = Control::new();
    let mut trainer = Trainer::new(
        &run,
        &settings,
        None,
        settings.stage1.epochs(),
        &Device::flex(),
        Job::new(&control, &Silent),
    )
    .unwrap();
    trainer.step(0, batch, 0.1).unwrap();
    let pending = trainer.pending.pop().unwrap();
    Stepped {
        loss: host(pending.loss).unwrap()[0],
        correct: host(pending.correct).unwrap()[0],
        weights: trainer.weights().unwrap(),
    }
}

fn noise(images: usize) -> Vec<u8> {
    let mut bytes = vec![0; images * 3 * SIDE * SIDE];
    rand::Rng::fill_bytes(&mut random::stream(7, "test", &[]), &mut bytes);
    bytes
}

fn compare(whole: &Stepped, parts: &Stepped, of: impl Fn(&str) -> bool) {
    assert!((whole.loss - parts.loss).abs() < 1e-5, "{} and {}", whole.loss, parts.loss);
    assert_eq!(whole.correct, parts.correct);
    for (a, b) in whole.weights.iter().zip(&parts.weights).filter(|(a, _)| of(&a.name)) {
        let largest = a.values.iter().fold(0.0_f32, |largest, value| largest.max(value.abs()));
        for (x, y) in a.values.iter().zip(&b.values) {
            assert!((x - y).abs() <= 1e-4 * largest.max(1e-3), "{}: {x} and {y}", a.name);
        }
    }
}

#[test]
fn parts_that_are_alike_give_the_step_of_the_whole_batch() {
    // Twice the same four images: batch norm sees the same means and variances in each half as in
    // both.
    let twice = |labels: [u32; 4]| [labels, labels].concat();
    let four = noise(4);
    let batch = Batch {
        images: [four.clone(), four].concat(),
        labels: twice([0, 1, 1, 0]),
        mixed: Some(Mixed { other_labels: twice([1, 1, 0, 0]), lambda: 0.3 }),
        indices: (0..8).collect(),
        ..Batch::default()
    };
    let whole = step(&batch, 1);
    // Running statistics move once for each part.
    compare(&whole, &step(&batch, 2), |name| !name.contains("running"));
    // Four parts of two have other means and variances, so this comparison can fail.
    let other = step(&batch, 4);
    assert!((whole.loss - other.loss).abs() > 1e-4, "{} and {}", whole.loss, other.loss);
}

#[test]
fn parts_count_by_their_size() {
    // One image five times: batch norm makes the same of it whatever the part, and only the labels
    // differ.
    let batch = Batch {
        images: noise(1).repeat(5),
        labels: vec![0, 0, 1, 1, 1],
        indices: (0..5).collect(),
        ..Batch::default()
    };
    let (whole, parts) = (step(&batch, 1), step(&batch, 2));
    compare(&whole, &parts, |name| name == "fc.bias");
    let bias = |stepped: &Stepped| {
        stepped.weights.iter().find(|tensor| tensor.name == "fc.bias").unwrap().values.clone()
    };
    assert_ne!(bias(&whole), bias(&step(&Batch { labels: vec![0, 0, 0, 1, 1], ..batch }, 2)));
}

#[test]
fn parts_are_nearly_equal_and_have_two_samples() {
    assert_eq!(parts(7, 3), [0..2, 2..4, 4..7]);
    assert_eq!(parts(5, 4), [0..2, 2..5]);
    assert_eq!((parts(7, 1).len(), parts(7, 1)[0].clone()), (1, 0..7));
    assert_eq!((parts(1, 4).len(), parts(1, 4)[0].clone()), (1, 0..1));
    for samples in 2..40 {
        for wanted in 1..40 {
            let found = parts(samples, wanted);
            assert!(
                found.len() <= wanted && found.iter().all(|part| part.len() >= 2),
                "{samples} in {wanted}: {found:?}"
            );
            assert_eq!((found[0].start, found[found.len() - 1].end), (0, samples));
            assert!(found.windows(2).all(|two| two[0].end == two[1].start));
        }
    }
}

#[test]
fn running_out_of_memory_offers_the_next_power_of_two() {
    let folder = tempfile::tempdir().unwrap();
    let run = run(folder.path());
    let message = |batch_size: usize, parts: usize| {
        let mut settings = run.settings().clone();
        (settings.stage1.batch_size, settings.stage1.accumulation) = (batch_size, parts);
        let control = Control::new();
        let trainer = Trainer::new(
            &run,
            &settings,
            None,
            settings.stage1.epochs(),
            &Device::flex(),
            Job::new(&control, &Silent),
        )
        .unwrap();
        trainer.failed(Failure::OutOfMemory).to_string()
    };
    let first = message(256, 1);
    assert!(
        first.contains("batch size 256;")
            && first.contains("stage1.accumulation = 2 ")
            && first.contains("parts of 128:"),
        "{first}"
    );
    let second = message(256, 2);
    assert!(
        second.contains("batch size 256, computed in 2 parts;")
            && second.contains("stage1.accumulation = 4 "),
        "{second}"
    );
    assert!(message(256, 3).contains("stage1.accumulation = 4 "));
    assert!(message(4, 2).contains("cannot be smaller"));
}

#[test]
fn the_parts_of_a_run_can_be_changed_and_nothing_else() {
    let folder = tempfile::tempdir().unwrap();
    let mut changed = run(folder.path());
    let before = changed.settings().clone();
    changed.compute_in_parts(2).unwrap();
    let reopened = Run::open(changed.folder()).unwrap();
    assert_eq!(reopened.settings().stage1.accumulation, 2);
    assert_eq!(Settings { stage1: before.stage1.clone(), ..reopened.settings().clone() }, before);
    assert!(changed.compute_in_parts(33).unwrap_err().to_string().contains("stage1.accumulation"));
    let _lock = changed.lock().unwrap();
    assert!(changed.compute_in_parts(4).unwrap_err().to_string().contains("another program"));
    assert_eq!(Run::open(changed.folder()).unwrap().settings().stage1.accumulation, 2);
}
