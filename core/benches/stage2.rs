//! Stage 2 and the scoring of a classifier, at the size of CIFAR-100-LT with factor 100: 10,847
//! samples of 512 features, 100 classes.
//!
//! `cargo bench --bench stage2` from the repository root.

use counterweight_core::balance::{CachedBatches, Effort, Fold, balance, tune};
use counterweight_core::bench::{FeatureExample, FeatureShape};
use counterweight_core::eval::{GroupThresholds, scores};
use counterweight_core::job::{Control, Job, Silent};
use counterweight_core::settings::{Balancer, ClassifierLoss, Preset, Settings};

fn main() {
    divan::main();
}

fn example() -> FeatureExample {
    FeatureExample::new(FeatureShape::default()).expect("the shape is a sensible one")
}

/// All ten epochs, batch 64.
#[divan::bench(args = [ClassifierLoss::ClassBalanced, ClassifierLoss::ClassBalancedBce], sample_count = 5)]
fn ten_epochs(bencher: divan::Bencher<'_, '_>, loss: ClassifierLoss) {
    let FeatureExample { classifier, train, train_counts, .. } = example();
    assert_eq!(train.len(), 10_847);
    let mut settings = Settings::preset(Preset::Paper).balance;
    settings.loss = loss;
    settings.balancers = vec![Balancer::WeightDecay, Balancer::MaxNorm];
    let control = Control::new();
    bencher.bench_local(|| {
        let mut batches = CachedBatches::new(&train, 64, 1).expect("there are samples");
        let job = Job::new(&control, &Silent);
        balance(
            &classifier,
            &mut batches,
            &train_counts,
            None,
            &settings,
            GroupThresholds::default(),
            job,
        )
        .expect("it trains")
    });
}

/// Logits of every sample, and their scores.
#[divan::bench(sample_count = 20)]
fn scoring(bencher: divan::Bencher<'_, '_>) {
    let FeatureExample { classifier, train, train_counts, .. } = example();
    bencher.bench_local(|| {
        let logits = classifier.logits(&train.features).expect("the lengths fit");
        scores(&logits, &train.labels, &train_counts, GroupThresholds::default())
            .expect("the logits are finite")
    });
}

/// Two hundred candidates, with 2,000 validation samples.
#[divan::bench(sample_count = 1)]
fn tuning(bencher: divan::Bencher<'_, '_>) {
    let FeatureExample { classifier, train, train_counts, validation } = example();
    let settings = Settings::preset(Preset::Paper).balance;
    let control = Control::new();
    bencher.bench_local(|| {
        let job = Job::new(&control, &Silent);
        let fold = Fold {
            start: &classifier,
            train: &train,
            train_counts: &train_counts,
            held_out: &validation,
            counted_as: &validation.labels,
        };
        tune(
            &[fold],
            &train_counts,
            &settings,
            GroupThresholds::default(),
            1,
            Effort::all_of(200),
            job,
        )
        .expect("it tunes")
    });
}
