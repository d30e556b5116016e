use rand::RngExt;

use super::*;
use crate::job::Control;
use crate::random::stream;
use crate::settings::ClassifierLoss;
use crate::settings::{Preset, Settings};

const CLASSES: usize = 5;
const DIM: usize = 8;
const COUNTS: [usize; CLASSES] = [200, 80, 30, 12, 4];

/// Overlapping classes about axes of their own, `counts` samples each.
fn set(counts: &[usize], purpose: &str) -> FeatureSet {
    let mut random = stream(5, purpose, &[]);
    let (mut features, mut labels) = (Vec::new(), Vec::new());
    for (class, &count) in counts.iter().enumerate() {
        for _ in 0..count {
            features.extend((0..DIM).map(|d| {
                0.9 * f32::from(u8::from(d == class)) + random.random_range(-1.0..1.0_f32)
            }));
            labels.push(class as u32);
        }
    }
    FeatureSet::new(DIM, features, labels).unwrap()
}

/// A classifier trained without any balancing, so that it leans to the many.
fn start(train: &FeatureSet) -> Classifier {
    let zero =
        Classifier::new(CLASSES, DIM, vec![0.01; CLASSES * DIM], vec![0.0; CLASSES]).unwrap();
    let mut settings = Settings::preset(Preset::Quick).balance;
    settings.balancers = vec![Balancer::Stage2];
    settings.loss = ClassifierLoss::CrossEntropy;
    let mut batches = CachedBatches::new(train, 16, 1).unwrap();
    let control = Control::new();
    let job = Job::new(&control, &Silent);
    balance(&zero, &mut batches, &COUNTS, None, &settings, GroupThresholds::default(), job)
        .unwrap()
        .classifier
}

fn fold<'a>(start: &'a Classifier, train: &'a FeatureSet, held_out: &'a FeatureSet) -> Fold<'a> {
    Fold { start, train, train_counts: &COUNTS, held_out, counted_as: &held_out.labels }
}

fn search(
    start: &Classifier,
    train: &FeatureSet,
    validation: &FeatureSet,
    settings: &BalanceSettings,
    budget: usize,
) -> Result<Tuning> {
    let control = Control::new();
    let job = Job::new(&control, &Silent);
    let fold = fold(start, train, validation);
    let effort = Effort::within_reason(budget);
    tune(&[fold], &COUNTS, settings, GroupThresholds::default(), 9, effort, job)
}

/// A trial that gets so many of ten samples of each class right.
fn tried(right: [usize; 3], balancers: Vec<Balancer>) -> Tried {
    let base = Settings::preset(Preset::Quick).balance;
    let hits: Vec<bool> =
        right.iter().flat_map(|&right| (0..10).map(move |at| at < right)).collect();
    let scores = Scores {
        balanced_accuracy: right.iter().sum::<usize>() as f64 / 30.0,
        top1: 0.0,
        loss: 0.0,
        groups: GroupAccuracies::default(),
    };
    Tried { settings: BalanceSettings { balancers, ..base }, scores, hits }
}

#[test]
fn of_candidates_that_are_as_good_the_one_is_taken_that_costs_the_many_least() {
    let labels: Vec<u32> = (0..3).flat_map(|class| [class; 10]).collect();
    let counts = [900, 90, 10];
    let given = BalanceSettings::clone(&tried([0; 3], vec![]).settings);
    let conclude = |others: &[([usize; 3], Balancer)]| {
        let start = tried([10, 5, 0], vec![]);
        let others = others.iter().map(|(right, balancer)| tried(*right, vec![*balancer]));
        let trials = std::iter::once(start).chain(others).collect();
        super::conclude(trials, &given, &labels, &counts, false)
    };
    // As many right in all, of the many class eight of ten instead of five.
    let found = conclude(&[([5, 8, 9], Balancer::Tau), ([8, 7, 7], Balancer::MaxNorm)]);
    assert_eq!(found.best.balancers, [Balancer::MaxNorm]);
    // (900 · 0.8 + 90 · 0.7 + 10 · 0.7) / 1000 and (900 · 0.5 + 90 · 0.8 + 10 · 0.9) / 1000
    // Without balancing it is (900 · 1 + 90 · 0.5) / 1000.
    let words = "it costs frequent classes least: with classes as frequent as in training 79.0 % of images are right, 53.1 % with the one that is best by a little, 94.5 % without balancing";
    assert!(found.reason.contains(words), "{}", found.reason);
    assert!(!found.reason.contains("runner-up"), "{}", found.reason);
    // One image in thirty is more than is given for it.
    let found = conclude(&[([5, 8, 9], Balancer::Tau), ([8, 7, 6], Balancer::MaxNorm)]);
    assert_eq!(found.best.balancers, [Balancer::Tau]);
    // And no balancing is no candidate for that: it is taken where nothing is better.
    let found = conclude(&[([4, 5, 6], Balancer::Tau)]);
    assert_eq!(found.best.balancers, [] as [Balancer; 0]);
}

#[test]
fn what_is_held_out_does_not_decide_over_many_classes_that_it_has_nothing_of() {
    let counts = [900, 90, 10, 1, 1];
    let labels: Vec<u32> = (0..3).flat_map(|class| [class; 10]).collect();
    let asked = tried([5, 5, 5], vec![Balancer::Tau]);
    let trials = || {
        vec![
            tried([10, 5, 0], vec![]),
            tried([5, 5, 5], vec![Balancer::Tau]),
            tried([9, 9, 9], vec![Balancer::MaxNorm]),
        ]
    };
    let conclude = |counts: &[usize]| {
        super::conclude(trials(), &asked.settings, &labels, counts, false).best.balancers
    };
    assert_eq!(conclude(&counts), [Balancer::Tau]);
    // What takes more than a fifth of what there was is not taken.
    let far_below = |right: [usize; 3]| {
        let trials = vec![tried([10, 10, 0], vec![]), tried(right, vec![Balancer::Tau])];
        super::conclude(trials, &asked.settings, &labels, &counts, false).best.balancers
    };
    assert_eq!(far_below([9, 8, 0]), [Balancer::Tau]);
    assert_eq!(far_below([8, 7, 0]), [] as [Balancer; 0]);
    assert_eq!(conclude(&counts[..3]), [Balancer::MaxNorm]);
}

#[test]
fn one_or_two_images_of_rare_classes_in_a_split_are_no_reason_against_balancing() {
    let counts = [900, 90, 10];
    let asked = tried([9, 9, 1], vec![Balancer::Tau]);
    // Ten images of the first two classes, and one or two of the third.
    let found = |rare: usize, is_split: bool| {
        let labels: Vec<u32> = [vec![0; 10], vec![1; 10], vec![2; rare]].concat();
        let mut trials = vec![
            tried([10, 10, 1], vec![]),
            tried([9, 9, 1], vec![Balancer::Tau]),
            tried([10, 10, 1], vec![Balancer::MaxNorm]),
        ];
        trials.iter_mut().for_each(|trial| trial.hits.truncate(labels.len()));
        super::conclude(trials, &asked.settings, &labels, &counts, is_split)
    };
    let taken = found(2, true);
    assert_eq!(taken.best.balancers, [Balancer::Tau]);
    assert!(!taken.conclusive);
    assert!(
        taken.reason.contains("of 1 of 3 classes no more than 2 images are held out"),
        "{}",
        taken.reason
    );
    // Held out in turn that is all there are, and three tell something.
    assert_eq!(found(2, false).best.balancers, [] as [Balancer; 0]);
    assert_eq!(found(3, true).best.balancers, [] as [Balancer; 0]);
}

#[test]
fn the_best_is_reproducible_better_than_nothing_and_explained() {
    let (train, validation) = (set(&COUNTS, "train"), set(&[40; CLASSES], "validation"));
    let start = start(&train);
    let settings = Settings::preset(Preset::Quick).balance;
    let tuning = search(&start, &train, &validation, &settings, 200).unwrap();
    assert!(
        tuning.conclusive && tuning.best_score > tuning.start_score + 0.03,
        "{}",
        tuning.reason
    );
    assert!((150..=200).contains(&tuning.candidates.len()), "{}", tuning.candidates.len());
    assert!(tuning.candidates.is_sorted_by(|a, b| a.balanced_accuracy >= b.balanced_accuracy));
    assert!(
        tuning.reason.contains("runner-up")
            && tuning.reason.contains(&tuning.candidates[0].summary)
    );
    let trained = tuning.candidates.iter().filter(|c| c.weight_decay.is_some()).count();
    assert!(
        trained > 80 && tuning.candidates.iter().filter(|c| c.weight_decay.is_none()).count() > 50
    );

    // The settings found give the classifier that was scored, and a second search finds the
    // same.
    for tuning in [tuning.clone(), search(&start, &train, &validation, &settings, 200).unwrap()] {
        let mut batches = CachedBatches::new(&train, tuning.best.batch_size, 9).unwrap();
        let control = Control::new();
        let job = Job::new(&control, &Silent);
        let again = balance(
            &start,
            &mut batches,
            &COUNTS,
            None,
            &tuning.best,
            GroupThresholds::default(),
            job,
        )
        .unwrap();
        let scores =
            again.classifier.scores(&validation, &COUNTS, GroupThresholds::default()).unwrap();
        assert_eq!(scores.balanced_accuracy, tuning.best_score);
    }
    assert_eq!(
        search(&start, &train, &validation, &settings, 200).unwrap().candidates,
        tuning.candidates
    );
}

#[test]
fn a_stored_result_is_read_back() {
    let (train, validation) = (set(&COUNTS, "train"), set(&[10; CLASSES], "validation"));
    let tuning =
        search(&start(&train), &train, &validation, &Settings::preset(Preset::Quick).balance, 40)
            .unwrap();
    let text = serde_json::to_string_pretty(&tuning).unwrap();
    let read: Tuning = serde_json::from_str(&text).unwrap();
    // A JSON reader may be off by the last bit of a decimal.
    assert_eq!(
        (&read.best, &read.reason, read.conclusive),
        (&tuning.best, &tuning.reason, tuning.conclusive)
    );
    assert_eq!(read.candidates.len(), tuning.candidates.len());
    for (read, tried) in read.candidates.iter().zip(&tuning.candidates) {
        assert_eq!((&read.summary, &read.balancers), (&tried.summary, &tried.balancers));
        assert!((read.balanced_accuracy - tried.balanced_accuracy).abs() < 1e-12);
        let (few, expected) = (read.groups.few.unwrap(), tried.groups.few.unwrap());
        assert!((few - expected).abs() < 1e-12);
    }
}

#[test]
fn every_candidate_is_tried_once_and_reproducible_alone() {
    let (train, validation) = (set(&COUNTS, "train"), set(&[10; CLASSES], "validation"));
    let start = start(&train);
    let settings = BalanceSettings {
        loss: ClassifierLoss::LogitAdjusted,
        ..Settings::preset(Preset::Quick).balance
    };
    let tuning = search(&start, &train, &validation, &settings, 60).unwrap();
    let strengths: HashSet<String> = tuning
        .candidates
        .iter()
        .filter(|c| c.weight_decay.is_some())
        .map(|c| format!("{:?}", c.logit_adjustment))
        .collect();
    assert!(strengths.len() > 3, "{strengths:?}");
    assert!(
        tuning
            .candidates
            .iter()
            .all(|c| c.weight_decay.is_none() || !c.balancers.contains(&Balancer::LogitAdjustment))
    );
}

#[test]
fn a_validation_split_too_small_is_said_to_be() {
    let (train, validation) = (set(&COUNTS, "train"), set(&[1; CLASSES], "small validation"));
    let tuning =
        search(&start(&train), &train, &validation, &Settings::preset(Preset::Quick).balance, 40)
            .unwrap();
    assert!(
        tuning.best_score == tuning.start_score || tuning.reason.contains("too small"),
        "{}",
        tuning.reason
    );
}

#[test]
fn nothing_to_gain_leaves_the_classifier_as_it_is() {
    let (train, validation) =
        (set(&COUNTS, "train"), FeatureSet::new(DIM, [1.0; DIM].to_vec(), vec![0]).unwrap());
    let tuning =
        search(&start(&train), &train, &validation, &Settings::preset(Preset::Quick).balance, 30)
            .unwrap();
    assert_eq!(tuning.best.balancers, []);
    assert!(tuning.reason.contains("none does better"), "{}", tuning.reason);
    let one =
        search(&start(&train), &train, &validation, &Settings::preset(Preset::Quick).balance, 0)
            .unwrap();
    assert_eq!(one.candidates.len(), 1);
}

#[test]
fn no_validation_and_a_stop_end_it() {
    let train = set(&COUNTS, "train");
    let (start, settings) = (start(&train), Settings::preset(Preset::Quick).balance);
    let empty = FeatureSet::new(DIM, vec![], vec![]).unwrap();
    assert!(
        search(&start, &train, &empty, &settings, 30)
            .unwrap_err()
            .to_string()
            .contains("validation")
    );
    let control = Control::new();
    control.stop();
    let job = Job::new(&control, &Silent);
    let fold = fold(&start, &train, &train);
    let effort = Effort::within_reason(30);
    let stopped = tune(&[fold], &COUNTS, &settings, GroupThresholds::default(), 9, effort, job);
    assert!(matches!(stopped, Err(Error::Stopped)));
}
