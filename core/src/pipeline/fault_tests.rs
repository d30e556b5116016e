//! Every step with a disk that is full from some moment on: each of these moments in turn. What was
//! there before is there still, and the same step ends, with room again, where an undisturbed one
//! does.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use burn::tensor::Device;
use serde_json::Value;

use super::{Exported, TrainRequest, balance, export, grow, train, tune};
use crate::balance::Effort;
use crate::dataset::{self, BuildOptions, Dataset};
use crate::error::Result;
use crate::files::Faults;
use crate::job::{Control, Job, Silent};
use crate::run::{self, Run};
use crate::settings::{Auto, Balancer, Preset, Settings};
use crate::source::{ScanOptions, scan};

/// A dataset of two classes of small images.
fn dataset_file(folder: &Path) -> PathBuf {
    for (class, name) in ["a", "b"].into_iter().enumerate() {
        for image in 0..12_u8 {
            let path = folder.join("photos").join(name).join(format!("{image:02}.png"));
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            let pixel = |x: u32, y: u32| {
                let lit = if class == 0 { x } else { y } % 4 < 2;
                image::Rgb([if lit { 250 - image } else { 20 + image }, image * 9, 90])
            };
            image::RgbImage::from_fn(8, 8, pixel).save(path).unwrap();
        }
    }
    for image in 0..4_u8 {
        let path = folder.join("more").join(["a", "b"][usize::from(image % 2)]);
        std::fs::create_dir_all(&path).unwrap();
        let lit = |y: u32| image::Rgb([if y % 4 < 2 { 200 } else { 60 }, image * 50, 10]);
        let picture = image::RgbImage::from_fn(8, 8, |_, y| lit(y));
        picture.save(path.join(format!("{image:02}.png"))).unwrap();
    }
    let path = folder.join("set.toml");
    built(folder).save(&path).unwrap();
    path
}

fn built(folder: &Path) -> Dataset {
    let control = Control::new();
    let job = Job::new(&control, &Silent);
    let catalog = scan(&folder.join("photos"), &ScanOptions::default(), job).unwrap();
    dataset::build(&catalog, &BuildOptions::default()).unwrap().dataset
}

fn settings() -> Settings {
    let mut settings = Settings::preset(Preset::Quick);
    settings.stage1.epochs = Auto::Value(2);
    settings.stage1.batch_size = 8;
    settings.model.input_size = Auto::Value(8);
    settings.augmentation.flip = Auto::Value(false);
    settings.balance.balancers = vec![Balancer::Tau];
    settings.balance.tune_candidates = 0;
    settings
}

/// A step of the work in a folder: it trains, balances and so on, whatever was done before.
type Step = fn(&Path, Job<'_>) -> Result<()>;

fn build_step(folder: &Path, _job: Job<'_>) -> Result<()> {
    built(folder).save(&folder.join("second.toml"))
}

fn train_step(folder: &Path, job: Job<'_>) -> Result<()> {
    let request = TrainRequest {
        dataset: Some(&folder.join("set.toml")),
        scan: Default::default(),
        build: BuildOptions::default(),
        run: &folder.join("run"),
        settings: Some(settings()),
        resume: true,
    };
    train(&request, &Device::flex(), "cpu", job).map(drop)
}

fn tune_step(folder: &Path, job: Job<'_>) -> Result<()> {
    let run = Run::claim(&folder.join("run"))?;
    tune(&run, run.settings(), Effort::all_of(10), &Device::flex(), job).map(drop)
}

fn balance_step(folder: &Path, job: Job<'_>) -> Result<()> {
    let mut run = Run::claim(&folder.join("run"))?;
    let settings = run.settings().clone();
    balance(&mut run, &settings, &Device::flex(), job).map(drop)
}

fn export_step(folder: &Path, job: Job<'_>) -> Result<()> {
    let run = Run::open(&folder.join("run"))?;
    export(&run, Exported::default(), &folder.join("model.onnx"), job).map(drop)
}

/// Somebody who was told that a result could not be kept has the grown run made anew.
fn grow_step(folder: &Path, job: Job<'_>) -> Result<()> {
    let (old, grown) = (Run::open(&folder.join("run"))?, folder.join("grown"));
    if Run::is_run(&grown) {
        run::delete(&grown)?;
    }
    let more = scan(&folder.join("more"), &ScanOptions::default(), job)?;
    grow(&old, &[more], &grown, &Device::flex(), job).map(drop)
}

fn without_times(value: Value) -> Value {
    match value {
        Value::Object(fields) => fields
            .into_iter()
            .filter(|(name, _)| {
                !["seconds", "images_per_s", "path", "run"].contains(&name.as_str())
            })
            .map(|(name, value)| (name, without_times(value)))
            .collect(),
        Value::Array(values) => values.into_iter().map(without_times).collect(),
        value => value,
    }
}

/// What the steps have left in a folder, without what says when or how fast or where.
fn left(folder: &Path) -> BTreeMap<String, Vec<u8>> {
    let mut found = BTreeMap::new();
    for entry in walkdir::WalkDir::new(folder).into_iter().flatten() {
        let name = entry.path().strip_prefix(folder).unwrap().to_string_lossy().into_owned();
        let is_of_interest = entry.file_type().is_file()
            && !name.ends_with(".lock")
            && !name.ends_with("metrics.csv");
        if !is_of_interest {
            continue;
        }
        let bytes = std::fs::read(entry.path()).unwrap();
        let lines = |bytes: &[u8]| -> Vec<u8> {
            let lines = bytes.split(|byte| *byte == b'\n').filter(|line| !line.is_empty());
            // A torn line is none.
            let whole = lines.filter_map(|line| serde_json::from_slice(line).ok());
            whole.map(|line| format!("{}\n", without_times(line))).collect::<String>().into_bytes()
        };
        let bytes = match () {
            () if name.ends_with(".jsonl") => lines(&bytes),
            () if name.ends_with(".json") => {
                without_times(serde_json::from_slice(&bytes).unwrap()).to_string().into_bytes()
            }
            () => bytes,
        };
        found.insert(name, bytes);
    }
    found
}

fn copy(from: &Path, to: &Path) {
    for entry in walkdir::WalkDir::new(from) {
        let entry = entry.unwrap();
        let target = to.join(entry.path().strip_prefix(from).unwrap());
        match entry.file_type().is_dir() {
            true => std::fs::create_dir_all(target).unwrap(),
            false => drop(std::fs::copy(entry.path(), target).unwrap()),
        }
    }
}

/// Does a step after others, with every fault in turn, and says how many there were.
fn with_every_fault(before: &[Step], step: Step) -> usize {
    let control = Control::new();
    let job = Job::new(&control, &Silent);
    let base = tempfile::tempdir().unwrap();
    // Always at the same place, which files speak of.
    let (work, saved) = (base.path().join("work"), base.path().join("saved"));
    std::fs::create_dir(&work).unwrap();
    dataset_file(&work);
    before.iter().for_each(|step| step(&work, job).unwrap());
    copy(&work, &saved);
    let start = left(&work);
    step(&work, job).unwrap();
    let end = left(&work);
    assert_ne!(start.keys().collect::<Vec<_>>(), end.keys().collect::<Vec<_>>());
    for calls in 0.. {
        std::fs::remove_dir_all(&work).unwrap();
        copy(&saved, &work);
        let faults = Faults::after(&work, calls);
        let outcome = step(&work, job);
        let happened = faults.happened();
        drop(faults);
        if !happened {
            outcome.unwrap();
            assert_eq!(left(&work), end);
            return calls;
        }
        // Results may be told even where they cannot be kept, but what there was is there, whole.
        let after = left(&work);
        for (name, bytes) in &after {
            let known = [&start, &end].into_iter().filter_map(|state| state.get(name));
            let is_log = name.ends_with("metrics.jsonl") || name.ends_with("norms.csv");
            let is_checkpoint = name.contains("checkpoints/");
            assert!(
                is_log || is_checkpoint || known.clone().any(|known| known == bytes),
                "{name} after {calls} calls"
            );
        }
        if let Err(error) = outcome {
            assert!(!error.to_string().is_empty());
        }
        step(&work, job).unwrap_or_else(|error| panic!("after {calls} calls: {error}"));
        let again = left(&work);
        assert_eq!(again.keys().collect::<Vec<_>>(), end.keys().collect::<Vec<_>>());
        for (name, bytes) in &end {
            assert!(again[name] == *bytes, "{name} differs after {calls} calls");
        }
    }
    unreachable!("a step ends")
}

#[test]
fn building_on_a_full_disk_loses_nothing() {
    assert!(with_every_fault(&[], build_step) >= 3);
}

#[test]
fn training_on_a_full_disk_loses_nothing() {
    assert!(with_every_fault(&[], train_step) >= 10);
}

#[test]
fn tuning_and_balancing_on_a_full_disk_lose_nothing() {
    assert!(with_every_fault(&[train_step], tune_step) >= 6);
    assert!(with_every_fault(&[train_step], balance_step) >= 6);
}

#[test]
fn growing_on_a_full_disk_loses_nothing() {
    assert!(with_every_fault(&[train_step, balance_step], grow_step) >= 10);
}

#[test]
fn exporting_on_a_full_disk_loses_nothing() {
    assert!(with_every_fault(&[train_step], export_step) >= 3);
}
