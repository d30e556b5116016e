//! Balancing a classifier: stage 2 and the post-hoc balancers, as the settings list them.

use std::time::Instant;

use serde::{Deserialize, Serialize};

use super::batches::FeatureBatches;
use super::linear_sgd::LinearSgd;
use super::loss::Loss;
use super::normalise::{RadiusReport, act_after_training, max_norm, radius_from_delta};
use super::tune_report::describe;
use crate::classifier::{Classifier, FeatureSet, check_labels};
use crate::error::{Result, TrainError};
use crate::eval::GroupThresholds;
use crate::job::{Event, Job};
use crate::record::EpochRecord;
use crate::schedule::learning_rate;
use crate::settings::{BalanceSettings, Balancer, ClassifierLoss, Schedule, Stage1Settings};

/// A balanced classifier, and how it came about.
#[derive(Clone, Debug)]
pub struct Balanced {
    /// The classifier.
    pub classifier: Classifier,
    /// Class weight norms at the start.
    pub norms_before: Vec<f32>,
    /// Class weight norms at the end.
    pub norms_after: Vec<f32>,
    /// What MaxNorm did, if it was asked for.
    pub radius: Option<RadiusReport>,
    /// The epochs of stage 2; empty if the classifier was not trained.
    pub epochs: Vec<EpochRecord>,
    /// The balancers in the order they were applied.
    pub applied: Vec<Balancer>,
    /// What the person should know about the result, one sentence each. All were also sent as
    /// warnings.
    pub notes: Vec<String>,
}

/// The smallest, largest and mean class weight norm, and their coefficient of variation.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct NormSpread {
    /// Smallest norm.
    pub min: f32,
    /// Largest norm.
    pub max: f32,
    /// Mean norm.
    pub mean: f32,
    /// Standard deviation (of all classes, not a sample of them) over the mean; 0 if all norms are
    /// equal.
    pub variation: f32,
}

impl NormSpread {
    /// The spread of class weight norms; all zero if there are none.
    pub fn of(norms: &[f32]) -> Self {
        let n = norms.len().max(1) as f64;
        let mean = norms.iter().map(|norm| f64::from(*norm)).sum::<f64>() / n;
        let variance = norms.iter().map(|norm| (f64::from(*norm) - mean).powi(2)).sum::<f64>() / n;
        Self {
            min: norms.iter().copied().reduce(f32::min).unwrap_or(0.0),
            max: norms.iter().copied().reduce(f32::max).unwrap_or(0.0),
            mean: mean as f32,
            variation: if mean > 0.0 { (variance.sqrt() / mean) as f32 } else { 0.0 },
        }
    }
}

/// Balances a classifier by the balancers that `settings` lists.
///
/// With `stage2` or `weight-decay` among them the classifier is trained: SGD on weight and bias
/// with `settings.loss`, weight decay λ only if `weight-decay` is listed, and with `max-norm` the
/// weights (not the biases) projected once an epoch, after its last step. Otherwise `max-norm`
/// projects once. Then follow `l2`, `tau`, `multiplicative-adjustment` and `logit-adjustment`, in
/// this order. The automatic MaxNorm radius is taken from the norms at the start.
///
/// `batches` deliver the training samples; `train_counts` are the samples of each class, n_k;
/// `validation` is scored after every epoch. Batches in one order (`seed` belongs to the source of
/// the batches) give one result, whatever the number of threads.
///
/// # Errors
/// [`TrainError::Diverged`] if the loss or a weight turns NaN or infinite, [`TrainError::Request`]
/// if shapes, labels or settings do not fit,
/// [`crate::Error::Stopped`] on request, and whatever `batches` fail with.
pub fn balance(
    start: &Classifier,
    batches: &mut dyn FeatureBatches,
    train_counts: &[usize],
    validation: Option<&FeatureSet>,
    settings: &BalanceSettings,
    thresholds: GroupThresholds,
    job: Job<'_>,
) -> Result<Balanced> {
    start.check_counts(train_counts)?;
    if let Some(set) = validation {
        set.check(start)?;
    }
    let listed = |balancer| settings.balancers.contains(&balancer);
    let norms_before = start.norms();
    let mut result = Balanced {
        classifier: start.clone(),
        norms_after: norms_before.clone(),
        norms_before,
        radius: None,
        epochs: Vec::new(),
        applied: Balancer::ALL.into_iter().filter(|balancer| listed(*balancer)).collect(),
        notes: warnings(settings, train_counts),
    };
    let trained = settings.trains();
    let mut projection = match listed(Balancer::MaxNorm) {
        true => Some(Projection::new(settings, &result.norms_before)?),
        false => None,
    };
    if trained {
        let loss = Loss::new(
            settings.loss,
            train_counts,
            settings.beta,
            settings.logit_adjustment,
            settings.label_smoothing,
        )?;
        let course = Course {
            stage: 2,
            epochs: settings.epochs,
            learning_rate: settings.learning_rate,
            momentum: settings.momentum,
            weight_decay: if listed(Balancer::WeightDecay) { settings.weight_decay } else { 0.0 },
            schedule: settings.schedule,
            warmup_epochs: 0,
            milestones: &[],
        };
        let context = Context { train_counts, validation, loss, course, thresholds, job };
        result.epochs = train(&mut result.classifier, batches, projection.as_mut(), context)?;
    } else if let Some(projection) = &mut projection {
        projection.apply(&mut result.classifier)?;
    }
    if let Some(projection) = projection {
        let report = projection.report();
        if report.touched == 0 {
            result.notes.push(untouched(report.radius, &result.norms_before, trained));
        }
        result.radius = Some(report);
    }
    let zeros = post_hoc(&mut result.classifier, settings, train_counts)?;
    if zeros > 0 {
        result.notes.push(format!(
            "{zeros} of {} class weights are zero and could not be normalised",
            start.classes
        ));
    }
    result.norms_after = result.classifier.norms();
    result.notes.iter().for_each(|note| job.warn(note));
    Ok(result)
}

/// Applies the balancers that act once a classifier is trained, those of them that are listed.
/// Returns how many class weights are zero and could not be normalised.
pub(super) fn post_hoc(
    classifier: &mut Classifier,
    settings: &BalanceSettings,
    train_counts: &[usize],
) -> Result<usize> {
    let mut zeros = 0;
    for balancer in Balancer::ALL {
        if settings.balancers.contains(&balancer) {
            zeros = zeros.max(act_after_training(balancer, classifier, train_counts, settings)?);
        }
    }
    if !classifier.weight.iter().chain(&classifier.bias).all(|value| value.is_finite()) {
        let reason = format!(
            "balancing by {} makes the classifier overflow; choose smaller values",
            describe(settings)
        );
        return Err(TrainError::Request(reason).into());
    }
    Ok(zeros)
}

/// MaxNorm with its radius, and what it has touched.
struct Projection {
    radius: f32,
    touched: Vec<bool>,
}

impl Projection {
    fn new(settings: &BalanceSettings, norms: &[f32]) -> Result<Self> {
        let radius =
            settings.max_norm_radius.or_else(|| radius_from_delta(norms, settings.max_norm_delta));
        if !(radius.is_finite() && radius > 0.0) {
            let reason = format!(
                "the MaxNorm radius comes out as {radius}; it must be above 0: set balance.max_norm_radius or a larger δ"
            );
            return Err(TrainError::Request(reason).into());
        }
        Ok(Self { radius, touched: vec![false; norms.len()] })
    }

    fn apply(&mut self, classifier: &mut Classifier) -> Result<()> {
        max_norm(classifier, self.radius, &mut self.touched)
    }

    fn report(&self) -> RadiusReport {
        RadiusReport {
            radius: self.radius,
            touched: self.touched.iter().filter(|touched| **touched).count(),
        }
    }
}

/// Trains a classifier by stage 1's settings on features that stay as they are: cross-entropy by
/// SGD with momentum and weight decay on weight and bias. Returns it with its epochs, which count
/// as stage 1's. Batches in one order give one result, whatever the number of threads.
///
/// # Errors
/// As [`balance`].
pub fn learn(
    start: &Classifier,
    batches: &mut dyn FeatureBatches,
    train_counts: &[usize],
    validation: Option<&FeatureSet>,
    settings: &Stage1Settings,
    thresholds: GroupThresholds,
    job: Job<'_>,
) -> Result<(Classifier, Vec<EpochRecord>)> {
    start.check_counts(train_counts)?;
    if let Some(set) = validation {
        set.check(start)?;
    }
    let loss =
        Loss::new(ClassifierLoss::CrossEntropy, train_counts, 0.0, 0.0, settings.label_smoothing)?;
    let course = Course {
        stage: 1,
        epochs: settings.epochs(),
        learning_rate: settings.learning_rate(),
        momentum: settings.momentum,
        weight_decay: settings.weight_decay(),
        schedule: settings.schedule,
        warmup_epochs: settings.warmup_epochs,
        milestones: &settings.milestones,
    };
    let mut classifier = start.clone();
    let epochs = train(
        &mut classifier,
        batches,
        None,
        Context { train_counts, validation, loss, course, thresholds, job },
    )?;
    Ok((classifier, epochs))
}

/// How a classifier is trained.
struct Course<'a> {
    /// The stage its epochs belong to.
    stage: u8,
    epochs: usize,
    learning_rate: f64,
    momentum: f64,
    weight_decay: f64,
    schedule: Schedule,
    warmup_epochs: usize,
    milestones: &'a [usize],
}

/// What training a classifier is told besides the classifier and its samples.
struct Context<'a> {
    train_counts: &'a [usize],
    validation: Option<&'a FeatureSet>,
    loss: Loss,
    course: Course<'a>,
    thresholds: GroupThresholds,
    job: Job<'a>,
}

fn train(
    classifier: &mut Classifier,
    batches: &mut dyn FeatureBatches,
    mut projection: Option<&mut Projection>,
    context: Context<'_>,
) -> Result<Vec<EpochRecord>> {
    let Context { train_counts, validation, mut loss, course, thresholds, job } = context;
    let (classes, dim) = (classifier.classes, classifier.features);
    if batches.dim() != dim {
        let reason = format!(
            "the classifier takes {dim} features, the training samples have {}",
            batches.dim()
        );
        return Err(TrainError::Request(reason).into());
    }
    let mut sgd = LinearSgd::new(classifier, course.momentum, course.weight_decay);

    let total = (batches.samples() * course.epochs) as u64;
    job.phase(format!("stage {}", course.stage), Some(total), "samples");
    let (mut done, mut reported) = (0_u64, 0_u64);
    let mut records = Vec::new();
    for epoch in 0..course.epochs {
        let started = Instant::now();
        let rate = learning_rate(
            course.schedule,
            course.learning_rate,
            epoch,
            course.epochs,
            course.warmup_epochs,
            course.milestones,
        );
        let (mut step, mut samples, mut correct, mut loss_sum) = (0, 0, 0, 0.0);
        batches.epoch(epoch, &mut |features, labels| {
            job.check()?;
            step += 1;
            if labels.len() * dim != features.len() {
                let reason = format!(
                    "{} labels do not fit {} numbers in rows of {dim} features",
                    labels.len(),
                    features.len()
                );
                return Err(TrainError::Request(reason).into());
            }
            check_labels(labels, classes)?;
            let logits = sgd.logits(classifier, features);
            let batch = loss.gradient_in_place(logits, labels)?;
            if !batch.loss.is_finite() {
                return Err(TrainError::Diverged {
                    loss: batch.loss as f32,
                    epoch: epoch + 1,
                    step,
                    learning_rate: rate,
                }
                .into());
            }
            sgd.step(classifier, features, rate);
            samples += labels.len();
            correct += batch.correct;
            loss_sum += batch.loss * labels.len() as f64;
            done += labels.len() as u64;
            if done - reported >= (total / 100).max(64) || done == total {
                reported = done;
                job.progress(done);
            }
            Ok(())
        })?;
        sgd.finish(classifier);
        let train_seconds = started.elapsed().as_secs_f64();
        if samples == 0 {
            return Err(TrainError::Request("there is no training sample".into()).into());
        }
        if let Some(projection) = projection.as_deref_mut() {
            projection.apply(classifier)?;
        }
        let norms = classifier.norms();
        if let Some(bad) = norms.iter().chain(&classifier.bias).find(|value| !value.is_finite()) {
            return Err(TrainError::Diverged {
                loss: *bad,
                epoch: epoch + 1,
                step,
                learning_rate: rate,
            }
            .into());
        }
        let validated = match validation {
            Some(set) if !set.is_empty() => {
                Some(classifier.scores(set, train_counts, thresholds)?)
            }
            _ => None,
        };
        let record = EpochRecord {
            stage: course.stage,
            epoch: epoch + 1,
            epochs: course.epochs,
            learning_rate: rate,
            train_loss: loss_sum / samples as f64,
            train_accuracy: correct as f64 / samples as f64,
            validation_loss: validated.map(|v| v.loss),
            validation_top1: validated.map(|v| v.top1),
            validation_balanced: validated.map(|v| v.balanced_accuracy),
            validation_many: validated.and_then(|v| v.groups.many),
            validation_medium: validated.and_then(|v| v.groups.medium),
            validation_few: validated.and_then(|v| v.groups.few),
            norms,
            images_per_s: samples as f64 / train_seconds.max(1e-9),
            seconds: started.elapsed().as_secs_f64(),
        };
        job.sink.event(Event::Epoch(record.clone()));
        records.push(record);
    }
    Ok(records)
}

/// What about these settings will probably surprise.
fn warnings(settings: &BalanceSettings, train_counts: &[usize]) -> Vec<String> {
    let listed = |balancer| settings.balancers.contains(&balancer);
    let mut notes = Vec::new();
    if listed(Balancer::L2) && listed(Balancer::Tau) {
        notes.push(
            "`tau` has no effect after `l2`, which makes every class weight norm 1".to_string(),
        );
    }
    if listed(Balancer::L2) && listed(Balancer::MaxNorm) && !settings.trains() {
        notes.push(
            "`max-norm` has no effect before `l2`, which makes every class weight norm 1"
                .to_string(),
        );
    }
    if listed(Balancer::MultiplicativeAdjustment) {
        let overruled = |other: &Balancer| {
            listed(*other) && (*other != Balancer::MaxNorm || !settings.trains())
        };
        for other in
            [Balancer::MaxNorm, Balancer::L2, Balancer::Tau].iter().filter(|other| overruled(other))
        {
            notes.push(format!("`{other}` has no effect before `multiplicative-adjustment`, which sets every class weight norm"));
        }
    }
    // By a part it may well be what tuning found to be best.
    let twice = settings.logit_adjustment >= 1.0 && settings.loss.info().adjusts_priors;
    if listed(Balancer::LogitAdjustment) && settings.trains() && twice {
        notes.push("the loss of stage 2 already adjusts for the class priors, and `logit-adjustment` does so once more".to_string());
    }
    let empty = train_counts.iter().filter(|n| **n == 0).count();
    if empty > 0 {
        notes.push(format!(
            "{empty} of {} classes have no training sample; balancing cannot bring them out",
            train_counts.len()
        ));
    }
    notes
}

fn untouched(radius: f32, norms: &[f32], trained: bool) -> String {
    let spread = NormSpread::of(norms);
    let when = if trained { " at the start, and none grew past the radius" } else { "" };
    format!(
        "the MaxNorm radius {radius:.4} touched no class: the class weight norms lie between {:.4} and {:.4}{when}; choose a smaller radius or δ",
        spread.min, spread.max
    )
}

#[cfg(test)]
mod tests {
    use super::super::{CachedBatches, adjust_logits, tau_normalise};
    use super::*;
    use crate::Error;
    use crate::job::{Control, Silent};
    use crate::settings::{Auto, Preset, Settings};

    /// Three classes on orthogonal axes with noise, 60, 12 and 3 samples, and a classifier that
    /// leans to the first.
    fn example() -> (Classifier, FeatureSet, Vec<usize>) {
        let counts = vec![60, 12, 3];
        let (mut features, mut labels) = (Vec::new(), Vec::new());
        for (class, &count) in counts.iter().enumerate() {
            for i in 0..count {
                features.extend((0..4).map(|d| {
                    f32::from(u8::from(d == class)) + 0.4 * ((i * 4 + d) as f32 * 1.7).sin()
                }));
                labels.push(class as u32);
            }
        }
        let weight = vec![3.0, 1.0, 1.0, 0.5, 0.0, 1.0, 0.0, 0.1, 0.0, 0.0, 0.5, 0.1];
        (
            Classifier::new(3, 4, weight, vec![1.0, 0.0, -1.0]).unwrap(),
            FeatureSet::new(4, features, labels).unwrap(),
            counts,
        )
    }

    fn settings(balancers: &[Balancer]) -> BalanceSettings {
        BalanceSettings {
            balancers: balancers.to_vec(),
            loss: ClassifierLoss::ClassBalanced,
            ..Settings::preset(Preset::Quick).balance
        }
    }

    fn run(settings: &BalanceSettings, validation: bool) -> Result<Balanced> {
        let (start, set, counts) = example();
        let mut batches = CachedBatches::new(&set, settings.batch_size, 3)?;
        let validation = validation.then_some(&set);
        balance(
            &start,
            &mut batches,
            &counts,
            validation,
            settings,
            GroupThresholds::default(),
            Job::new(&Control::new(), &Silent),
        )
    }

    #[test]
    fn stage_two_lifts_the_rare_classes_and_records_every_epoch() {
        let (start, set, counts) = example();
        let before = start.scores(&set, &counts, GroupThresholds::default()).unwrap();
        let balanced = run(&settings(&[Balancer::WeightDecay, Balancer::MaxNorm]), true).unwrap();
        let last = balanced.epochs.last().unwrap();
        assert_eq!(balanced.epochs.len(), 20);
        assert!(last.validation_few.unwrap() > before.groups.few.unwrap(), "{before:?} {last:?}");
        assert!(last.train_loss < balanced.epochs[0].train_loss);
        assert_eq!(last.norms, balanced.norms_after);
        let radius = balanced.radius.unwrap();
        assert!(
            radius.touched >= 1
                && balanced.norms_after.iter().all(|norm| *norm <= radius.radius * 1.00001)
        );
    }

    #[test]
    fn weight_decay_acts_only_where_it_is_listed() {
        let shrunk = run(&settings(&[Balancer::WeightDecay]), false).unwrap();
        let free = run(&settings(&[Balancer::Stage2]), false).unwrap();
        let zero = BalanceSettings { weight_decay: 0.0, ..settings(&[Balancer::WeightDecay]) };
        assert_eq!(run(&zero, false).unwrap().classifier, free.classifier);
        assert_ne!(shrunk.classifier, free.classifier);
    }

    #[test]
    fn post_hoc_balancers_follow_their_order_and_need_no_batches() {
        let balanced =
            run(&settings(&[Balancer::LogitAdjustment, Balancer::MaxNorm, Balancer::Tau]), false)
                .unwrap();
        assert_eq!(balanced.applied, [Balancer::MaxNorm, Balancer::Tau, Balancer::LogitAdjustment]);
        assert!(balanced.epochs.is_empty());
        let (mut expected, _, counts) = example();
        let radius = radius_from_delta(&expected.norms(), 0.1);
        max_norm(&mut expected, radius, &mut [false; 3]).unwrap();
        tau_normalise(&mut expected, 1.0);
        adjust_logits(&mut expected, &counts, 1.0).unwrap();
        assert_eq!(balanced.classifier, expected);
    }

    #[test]
    fn what_multiplicative_adjustment_overrules_is_said() {
        let told = |balancers: &[Balancer]| {
            let notes = run(&settings(balancers), false).unwrap().notes;
            notes.iter().filter(|note| note.contains("before `multiplicative-adjustment`")).count()
        };
        assert_eq!(
            told(&[Balancer::MultiplicativeAdjustment, Balancer::Tau, Balancer::MaxNorm]),
            2
        );
        assert_eq!(
            told(&[Balancer::MultiplicativeAdjustment, Balancer::MaxNorm, Balancer::Stage2]),
            0
        );
    }

    #[test]
    fn a_radius_that_touches_no_class_is_reported() {
        let wide = BalanceSettings {
            max_norm_radius: Auto::Value(1000.0),
            ..settings(&[Balancer::MaxNorm])
        };
        let told = std::sync::Mutex::new(Vec::new());
        let sink = |event: Event| told.lock().unwrap().push(event);
        let (start, set, counts) = example();
        let mut batches = CachedBatches::new(&set, 8, 3).unwrap();
        let job_control = Control::new();
        let job = Job::new(&job_control, &sink);
        let balanced =
            balance(&start, &mut batches, &counts, None, &wide, GroupThresholds::default(), job)
                .unwrap();
        assert_eq!(balanced.radius, Some(RadiusReport { radius: 1000.0, touched: 0 }));
        assert_eq!(balanced.classifier, start);
        assert!(
            balanced.notes.iter().any(|note| note.contains("touched no class")),
            "{:?}",
            balanced.notes
        );
        assert!(told.lock().unwrap().iter().any(|event| matches!(event, Event::Message { text, .. } if text.contains("touched no class"))));
        assert!(
            run(
                &BalanceSettings { balancers: vec![Balancer::Stage2, Balancer::MaxNorm], ..wide },
                false
            )
            .unwrap()
            .radius
            .unwrap()
            .touched
                == 0
        );
    }

    #[test]
    fn a_loss_that_diverges_names_its_step() {
        let wild = BalanceSettings {
            learning_rate: 1e20,
            batch_size: 16,
            ..settings(&[Balancer::WeightDecay])
        };
        match run(&wild, false) {
            Err(Error::Train(TrainError::Diverged { epoch: 1, step, learning_rate, .. })) => {
                assert!((2..=5).contains(&step) && learning_rate > 9e19);
            }
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn a_stop_ends_it_and_what_does_not_fit_is_refused() {
        let (start, set, counts) = example();
        let settings = settings(&[Balancer::Stage2]);
        let control = Control::new();
        let mut batches = CachedBatches::new(&set, 8, 3).unwrap();
        let thresholds = GroupThresholds::default();
        let job = Job::new(&control, &Silent);
        assert!(
            balance(&start, &mut batches, &counts[..2], None, &settings, thresholds, job).is_err()
        );
        let narrow = Classifier::new(3, 2, vec![0.1; 6], vec![0.0; 3]).unwrap();
        assert!(balance(&narrow, &mut batches, &counts, None, &settings, thresholds, job).is_err());
        assert!(
            balance(
                &start,
                &mut batches,
                &counts,
                Some(&FeatureSet::new(1, vec![1.0], vec![0]).unwrap()),
                &settings,
                thresholds,
                job
            )
            .is_err()
        );
        control.stop();
        assert!(matches!(
            balance(&start, &mut batches, &counts, None, &settings, thresholds, job),
            Err(Error::Stopped)
        ));
    }
}
