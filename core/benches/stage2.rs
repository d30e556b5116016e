//! Stage 2 and the scoring of a classifier, at the size of CIFAR-100-LT with factor 100: 10,847 samples of 512 features, 100 classes.
//!
//! `cargo bench --bench stage2` from the repository root.

use counterweight_core::balance::{CachedBatches, Classifier, FeatureSet, balance, tune};
use counterweight_core::eval::{GroupThresholds, scores};
use counterweight_core::job::{Control, Job, Silent};
use counterweight_core::settings::{Balancer, ClassifierLoss, Preset, Settings};

fn main() {
    divan::main();
}

/// A long-tailed set of features about class centers, and a classifier to start from.
fn example() -> (Classifier, FeatureSet, Vec<usize>) {
    const CLASSES: usize = 100;
    const DIM: usize = 512;
    // The counts of CIFAR-100-LT: 500 falling exponentially to 5.
    let counts: Vec<usize> = (0..CLASSES).map(|i| (500.0 * 0.01_f64.powf(i as f64 / 99.0) + 1e-9) as usize).collect();
    let mut state = 1_u32;
    let mut noise = || {
        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        (state >> 8) as f32 / (1 << 24) as f32 - 0.5
    };
    let centers: Vec<f32> = (0..CLASSES * DIM).map(|_| noise()).collect();
    let (mut features, mut labels) = (Vec::new(), Vec::new());
    for (class, &count) in counts.iter().enumerate() {
        for _ in 0..count {
            features.extend(centers[class * DIM..(class + 1) * DIM].iter().map(|center| (center + 2.0 * noise()).max(0.0)));
            labels.push(class as u32);
        }
    }
    let weight = (0..CLASSES * DIM).map(|_| 0.1 * noise()).collect();
    let start = Classifier::new(CLASSES, DIM, weight, vec![0.0; CLASSES]).expect("the lengths fit");
    (start, FeatureSet::new(DIM, features, labels).expect("the lengths fit"), counts)
}

/// All ten epochs, batch 64.
#[divan::bench(args = [ClassifierLoss::ClassBalanced, ClassifierLoss::ClassBalancedBce], sample_count = 5)]
fn ten_epochs(bencher: divan::Bencher<'_, '_>, loss: ClassifierLoss) {
    let (start, set, counts) = example();
    assert_eq!(set.len(), 10_847);
    let mut settings = Settings::preset(Preset::Paper).balance;
    settings.loss = loss;
    settings.balancers = vec![Balancer::WeightDecay, Balancer::MaxNorm];
    let control = Control::new();
    bencher.bench_local(|| {
        let mut batches = CachedBatches::new(&set, 64, 1).expect("there are samples");
        balance(&start, &mut batches, &counts, None, &settings, GroupThresholds::default(), Job::new(&control, &Silent)).expect("it trains")
    });
}

/// Logits of every sample, and their scores.
#[divan::bench(sample_count = 20)]
fn scoring(bencher: divan::Bencher<'_, '_>) {
    let (classifier, set, counts) = example();
    bencher.bench_local(|| {
        let logits = classifier.logits(&set.features).expect("the lengths fit");
        scores(&logits, &set.labels, &counts, GroupThresholds::default()).expect("the logits are finite")
    });
}

/// Two hundred candidates, 2,000 of the samples serving as validation.
#[divan::bench(sample_count = 1)]
fn tuning(bencher: divan::Bencher<'_, '_>) {
    let (start, set, counts) = example();
    let step = set.len() / 2000;
    let rows = (0..2000).map(|i| i * step);
    let features = rows.clone().flat_map(|row| set.features[row * set.dim..(row + 1) * set.dim].iter().copied()).collect();
    let validation = FeatureSet::new(set.dim, features, rows.map(|row| set.labels[row]).collect()).expect("the lengths fit");
    let settings = Settings::preset(Preset::Paper).balance;
    let control = Control::new();
    bencher.bench_local(|| {
        let job = Job::new(&control, &Silent);
        tune(&start, &set, &validation, &counts, &settings, GroupThresholds::default(), 1, 200, job).expect("it tunes")
    });
}
