use super::super::test_run::trained;
use super::*;
use crate::classifier::Classifier;
use crate::eval::Evaluation;
use crate::job::{Control, Silent};
use crate::settings::Balancer;

/// The report of a run with so many classes in the place of its own, three validation images each.
fn report(folder: &std::path::Path, classes: usize) -> (Run, BalanceReport) {
    let mut run = trained(folder);
    let mut settings = run.settings().clone();
    settings.balance.balancers = vec![Balancer::Tau];
    let control = Control::new();
    let job = Job::new(&control, &Silent);
    let mut report = balance(&mut run, &settings, &Device::flex(), job).unwrap();
    let name = |class: usize| format!("{class:05}_Plantae_Tracheophyta_Liliopsida_Poales_Poaceae");
    let names: Vec<String> = (0..classes).map(name).collect();
    let counts: Vec<usize> = (0..classes).map(|class| 1000 / (1 + class)).collect();
    let value = |i: usize| ((i * 7919) % 1013) as f32 / 500.0 - 1.0;
    let labels = (0..3 * classes as u32).map(|sample| sample / 3).collect();
    let set = FeatureSet::new(2, (0..6 * classes).map(value).collect(), labels).unwrap();
    let thresholds = GroupThresholds::default();
    for (evaluation, start) in [(&mut report.before, 5), (&mut report.after, 11)] {
        let weight = (start..start + 2 * classes).map(value).collect();
        let classifier = Classifier::new(classes, 2, weight, vec![0.0; classes]).unwrap();
        evaluation.evaluation = classifier.evaluate(&set, &names, &counts, thresholds).unwrap();
    }
    report.norms_before = (0..classes).map(value).collect();
    report.norms_after = (3..classes + 3).map(value).collect();
    (run, report)
}

/// Whether what was read is what was written. JSON is read to the last digit but one.
fn assert_same(read: &Evaluation, written: &Evaluation) {
    assert_eq!(read.confusion, written.confusion);
    assert_eq!(read.per_class.len(), written.per_class.len());
    for (read, written) in read.per_class.iter().zip(&written.per_class) {
        assert_eq!(
            (&read.name, read.train_count, read.samples, read.correct),
            (&written.name, written.train_count, written.samples, written.correct)
        );
    }
    assert!((read.macro_f1 - written.macro_f1).abs() < 1e-12);
}

#[test]
fn a_report_of_all_inaturalist_is_small_and_read_as_it_was() {
    let folder = tempfile::tempdir().unwrap();
    let (run, report) = report(folder.path(), 8142);
    let path = run.write_result("balance", &report).unwrap();
    let size = std::fs::metadata(&path).unwrap().len();
    assert!(size < 5_000_000, "{size} bytes");
    let read: BalanceReport = run.read_result("balance").unwrap();
    for (read, written) in [(&read.before, &report.before), (&read.after, &report.after)] {
        assert_same(&read.evaluation, &written.evaluation);
    }
    assert_eq!(read.norms_after, report.norms_after);
}

#[test]
fn a_report_of_few_classes_names_them_twice_and_old_ones_are_read() {
    let folder = tempfile::tempdir().unwrap();
    let (run, report) = report(folder.path(), 12);
    let mut json = serde_json::to_value(&report).unwrap();
    assert_eq!(json["before"]["per_class"][3]["name"], json["per_class"][3]["name"]);
    // Older versions wrote the whole confusion matrix.
    let confusion = &report.after.evaluation.confusion;
    let dense: Vec<Vec<u32>> =
        (0..12).map(|truth| (0..12).map(|guess| confusion.get(truth, guess)).collect()).collect();
    json["confusion"] = serde_json::to_value(dense).unwrap();
    let path = run.write_result("balance", &json).unwrap();
    assert!(std::fs::read_to_string(path).unwrap().lines().count() > 100, "people can read it");
    let read: BalanceReport = run.read_result("balance").unwrap();
    assert_same(&read.after.evaluation, &report.after.evaluation);
    assert_same(&read.before.evaluation, &report.before.evaluation);
}

#[test]
fn stage_2_on_the_network_learns_from_standardised_features() {
    let folder = tempfile::tempdir().unwrap();
    let run = trained(folder.path());
    let start = run.checkpoint(run.stage1_checkpoint()).unwrap();
    let control = Control::new();
    let job = Job::new(&control, &Silent);
    let dim = start.config.features();
    let epoch = |standardiser: Option<Standardiser>| {
        let device = Device::flex();
        let side = start.config.input_size;
        let images = Images::open(run.dataset(), Split::Train, side, DEFAULT_BUDGET, job).unwrap();
        let mut batches = NetworkBatches {
            network: network_of(&start, &device).unwrap(),
            images: Loader::new(images, Normaliser::new(start.mean, start.std), &device),
            augmentation: unmixed(run.settings(), start.mean),
            batch_size: 16,
            dim,
            standardiser,
            mode: Mode::Evaluate,
            seed: 3,
        };
        let mut all = Vec::new();
        let mut keep = |features: &[f32], _: &[u32]| {
            all.extend_from_slice(features);
            Ok(())
        };
        batches.epoch(1, &mut keep).unwrap();
        all
    };
    let plain = epoch(None);
    let standardised = epoch(Standardiser::new(vec![0.25; dim], vec![2.0; dim]));
    assert_eq!(plain.len(), standardised.len());
    for (plain, found) in plain.iter().zip(&standardised) {
        assert!(((plain - 0.25) / 2.0 - found).abs() < 1e-5, "{plain} {found}");
    }
}
