//! The losses, balancers, optimiser, schedule and metrics against what PyTorch computed; see
//! `reference/make_values.py`.

use counterweight_core::balance::{
    CachedBatches, ClassifierSgd, Loss, balance, class_balanced_weights, l2_normalise, max_norm,
    radius_from_delta, tau_normalise,
};
use counterweight_core::classifier::{Classifier, FeatureSet};
use counterweight_core::eval::{GroupThresholds, evaluate};
use counterweight_core::job::{Control, Job, Silent};
use counterweight_core::schedule::learning_rate;
use counterweight_core::settings::{
    Balancer, ClassifierLoss, FeatureSource, Preset, Schedule, Settings,
};
use serde_json::Value;

/// Largest difference allowed, relative to the largest expected number.
const TOLERANCE: f64 = 1e-4;

fn values() -> Value {
    serde_json::from_str(include_str!("../reference/values.json")).expect("values.json is JSON")
}

/// All numbers of nested arrays, in order.
fn numbers(value: &Value) -> Vec<f64> {
    match value {
        Value::Array(items) => items.iter().flat_map(numbers).collect(),
        _ => vec![number(value)],
    }
}

fn number(value: &Value) -> f64 {
    value.as_f64().unwrap_or_else(|| panic!("{value} is no number"))
}

fn floats(value: &Value) -> Vec<f32> {
    numbers(value).into_iter().map(|x| x as f32).collect()
}

fn labels(value: &Value) -> Vec<u32> {
    numbers(value).into_iter().map(|x| x as u32).collect()
}

fn integers(value: &Value) -> Vec<usize> {
    numbers(value).into_iter().map(|x| x as usize).collect()
}

fn integer(value: &Value) -> usize {
    number(value) as usize
}

fn assert_close(what: &str, ours: &[f32], theirs: &Value) {
    let theirs = numbers(theirs);
    assert_eq!(ours.len(), theirs.len(), "{what}");
    let scale = theirs.iter().fold(0.0_f64, |max, x| max.max(x.abs()));
    assert!(scale > 0.0, "{what}: nothing to compare with");
    let worst =
        ours.iter().zip(&theirs).map(|(a, b)| (f64::from(*a) - b).abs()).fold(0.0, f64::max);
    assert!(worst <= TOLERANCE * scale, "{what}: off by {worst:.2e} of {scale:.2e}");
}

fn assert_near(what: &str, ours: f64, theirs: &Value) {
    let theirs = number(theirs);
    assert!(
        (ours - theirs).abs() <= TOLERANCE * theirs.abs().max(1e-12),
        "{what}: {ours} instead of {theirs}"
    );
}

#[test]
fn losses_and_their_gradients() {
    let values = values();
    for set in ["ordinary", "saturated_float64"] {
        let set = &values["losses"][set];
        let counts = integers(&set["counts"]);
        let beta = number(&set["beta"]);
        let weights: Vec<f32> =
            class_balanced_weights(&counts, beta).unwrap().into_iter().map(|w| w as f32).collect();
        assert_close("class-balanced weights", &weights, &set["class_weights"]);
        let (logits, labels) = (floats(&set["logits"]), labels(&set["labels"]));
        let cases = set["cases"].as_array().unwrap();
        assert_eq!(cases.len(), 10);
        for case in cases {
            let kind: ClassifierLoss = serde_json::from_value(case["loss"].clone()).unwrap();
            let smoothing = number(&case["label_smoothing"]);
            let loss =
                Loss::new(kind, &counts, beta, number(&set["logit_adjustment"]) as f32, smoothing)
                    .unwrap();
            let (batch, gradient) = loss.value_and_gradient(&logits, &labels).unwrap();
            let what = format!("{kind:?} with label smoothing {smoothing}");
            assert_near(&what, batch.loss, &case["value"]);
            assert_close(&what, &gradient, &case["gradient"]);
        }
    }
}

#[test]
fn normalisers() {
    let values = &values()["normalisers"];
    let (classes, features) = (integer(&values["classes"]), integer(&values["features"]));
    let start =
        Classifier::new(classes, features, floats(&values["weight"]), vec![0.25; classes]).unwrap();
    assert_close("norms", &start.norms(), &values["norms"]);
    let radius = radius_from_delta(&start.norms(), number(&values["delta"]) as f32);
    assert_near("radius", f64::from(radius), &values["radius"]);

    let mut projected = start.clone();
    max_norm(&mut projected, radius, &mut vec![false; classes]).unwrap();
    assert_close("MaxNorm", &projected.weight, &values["max_norm"]);
    let mut normalised = start.clone();
    l2_normalise(&mut normalised);
    assert_close("L2", &normalised.weight, &values["l2"]);
    let mut normalised = start.clone();
    tau_normalise(&mut normalised, number(&values["tau"]) as f32);
    assert_close("τ", &normalised.weight, &values["tau_normalised"]);
    assert_eq!(normalised.bias, start.bias);
}

#[test]
fn sgd_with_momentum_and_weight_decay() {
    let values = &values()["sgd"];
    let mut parameters = floats(&values["start"]);
    let mut sgd = ClassifierSgd::new(
        parameters.len(),
        number(&values["momentum"]),
        number(&values["weight_decay"]),
    );
    let steps = values["steps"].as_array().unwrap();
    assert_eq!(steps.len(), 5);
    for step in steps {
        sgd.step(&mut parameters, &floats(&step["gradient"]), number(&values["learning_rate"]));
        assert_close("parameters", &parameters, &step["after"]);
    }
}

#[test]
fn schedules() {
    let values = &values()["schedules"];
    let base = number(&values["base"]);
    for epochs in [10, 320] {
        let ours: Vec<f32> = (0..epochs)
            .map(|e| learning_rate(Schedule::Cosine, base, e, epochs, 0, &[]) as f32)
            .collect();
        assert_close("cosine", &ours, &values[format!("cosine_{epochs}")]);
    }
    let milestones = integers(&values["milestones"]);
    let ours: Vec<f32> = (0..10)
        .map(|e| learning_rate(Schedule::Step, base, e, 10, 0, &milestones) as f32)
        .collect();
    assert_close("step", &ours, &values["step_10"]);
}

#[test]
fn the_whole_of_stage_2() {
    let values = &values()["stage2"];
    let (classes, dim) = (integer(&values["classes"]), integer(&values["dim"]));
    let counts = integers(&values["counts"]);
    let set = FeatureSet::new(dim, floats(&values["features"]), labels(&values["labels"])).unwrap();
    let start = Classifier::new(
        classes,
        dim,
        floats(&values["start"]["weight"]),
        floats(&values["start"]["bias"]),
    )
    .unwrap();
    let mut settings = Settings::preset(Preset::Paper).balance;
    settings.balancers = vec![Balancer::WeightDecay, Balancer::MaxNorm];
    settings.loss = ClassifierLoss::ClassBalancedBce;
    settings.features = FeatureSource::Cached;
    settings.schedule = Schedule::Cosine;
    settings.beta = number(&values["beta"]);
    settings.learning_rate = number(&values["learning_rate"]);
    settings.momentum = number(&values["momentum"]);
    settings.weight_decay = number(&values["weight_decay"]);
    settings.max_norm_delta = number(&values["delta"]) as f32;
    settings.epochs = integer(&values["epochs"]);
    settings.batch_size = set.len();
    let mut batches = CachedBatches::new(&set, settings.batch_size, 0).unwrap();
    let control = Control::new();
    let job = Job::new(&control, &Silent);
    let balanced =
        balance(&start, &mut batches, &counts, None, &settings, GroupThresholds::default(), job)
            .unwrap();
    assert_near("radius", f64::from(balanced.radius.unwrap().radius), &values["radius"]);
    let history = values["history"].as_array().unwrap();
    assert_eq!(balanced.epochs.len(), history.len());
    for (ours, theirs) in balanced.epochs.iter().zip(history) {
        assert_near("loss", ours.train_loss, &theirs["loss"]);
        assert_close("norms", &ours.norms, &theirs["norms"]);
    }
    assert_close("weight", &balanced.classifier.weight, &values["end"]["weight"]);
    assert_close("bias", &balanced.classifier.bias, &values["end"]["bias"]);
}

#[test]
fn metrics() {
    let values = &values()["evaluation"];
    let classes = integer(&values["classes"]);
    let names: Vec<String> = (0..classes).map(|k| k.to_string()).collect();
    let counts = integers(&values["train_counts"]);
    let (logits, labels) = (floats(&values["logits"]), labels(&values["labels"]));
    let ours = evaluate(&logits, &labels, &names, &counts, GroupThresholds::default()).unwrap();
    let cells = (0..classes).flat_map(|truth| (0..classes).map(move |guess| (truth, guess)));
    let confusion: Vec<usize> =
        cells.map(|(truth, guess)| ours.confusion.get(truth, guess) as usize).collect();
    assert_eq!(confusion, integers(&values["confusion"]));
    for (what, value) in [
        ("top1", ours.top1),
        ("top5", ours.top5),
        ("balanced_accuracy", ours.balanced_accuracy),
        ("many", ours.groups.many.unwrap()),
        ("medium", ours.groups.medium.unwrap()),
        ("few", ours.groups.few.unwrap()),
        ("macro_f1", ours.macro_f1),
        ("ece", ours.ece),
        ("loss", ours.loss),
    ] {
        assert_near(what, value, &values[what]);
    }
}
