//! What `auto` stands for, where only the data can say it.
//!
//! Features of a backbone that has seen a million photos are hard to beat where images are photos
//! and there are few of them. Where images are something else, or there are hundreds of each class,
//! a network that learns them from the start does better. So both are tried: the classifier on
//! features, which takes seconds, and a minute or so of training from initial weights, or a few
//! where that comes near.

use std::collections::BTreeMap;

use burn::tensor::Device;
use serde::{Deserialize, Serialize};

use super::estimate::{Estimate, estimate, estimate_by, in_words};
use super::features::Features;
use super::frozen::{FrozenBackbone, View};
use super::image_fit::fit_check;
use super::measured_times::TODAY;
use super::mirror::{MirrorCheck, mirror_check};
use super::train::CHOICES;
use super::train_classifier::{fit_classifier, untrained};
use crate::dataset::{Dataset, DatasetSample};
use crate::error::{Error, Result, RunError, TrainError};
use crate::eval::{ENOUGH_FROM_SCRATCH, GroupThresholds};
use crate::job::{Job, Silent};
use crate::run::Run;
use crate::settings::{
    Auto, Backbone, INFO, ImageFit, Normalisation, Preset, Schedule, Settings, Training,
};
use crate::source::Split;
use crate::train;

/// Training images of the median class below which a network learns nothing from initial weights that
/// a pretrained one does not know better.
const ENOUGH_OF_A_CLASS: usize = 40;
/// Steps from initial weights that are tried: as many as take a minute, within these bounds.
const PROBE_STEPS: [usize; 2] = [300, 1000];
const PROBE_SECONDS: f64 = 60.0;
/// Where that comes near, half of the steps are tried, if they take no longer than this.
const SECOND_PROBE_SECONDS: f64 = 240.0;
/// Epochs of a trial from which on the learning rate follows the cosine.
const FEWEST_FOR_COSINE: usize = 4;
/// Side of the input that training from scratch is tried and offered with, at most: larger ones
/// take hours without a GPU.
const PROBE_SIDE: usize = 64;
/// Less than this part of a training says little about its end.
const EARLY: usize = 4;
/// Training that takes longer than this is offered, not begun.
const MOST_SECONDS: f64 = 1800.0;
/// One in so many training samples is held out to compare by, where there is no validation split.
const HELD_OUT: usize = 10;
/// Images of a class of which one is held out, at least, as when a dataset is built.
const SMALLEST_HELD_OUT: usize = 3;
/// Balanced accuracy on features above which training from scratch has little to win.
const GOOD_ENOUGH: f64 = 0.97;

/// A choice that was made in place of the person.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Choice {
    /// The setting.
    pub setting: String,
    /// What was chosen.
    pub value: String,
    /// Why, in a sentence.
    pub reason: String,
    /// The option that would change it.
    pub option: String,
}

impl Choice {
    fn tell(&self, job: Job<'_>) {
        job.info(format!(
            "{}: {} ({}; to change it: {})",
            self.setting, self.value, self.reason, self.option
        ));
    }
}

/// Tells of a choice that was made while a run was trained, and keeps it with those that were made
/// before.
pub(super) fn note(run: &Run, choice: Choice, job: Job<'_>) -> Result<()> {
    choice.tell(job);
    let settings = run.settings().clone();
    let none = |settings| Chosen {
        settings,
        choices: Vec::new(),
        offer: None,
        mirror: None,
        estimate: None,
    };
    let mut chosen = run.read_result::<Chosen>(CHOICES).unwrap_or_else(|_| none(settings.clone()));
    chosen.settings = settings;
    chosen.choices.retain(|known| known.setting != choice.setting);
    chosen.choices.push(choice);
    run.write_result(CHOICES, &chosen).map(drop)
}

/// Another way of training, which was not taken.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Offer {
    /// What it would bring and how long it would take, in a sentence.
    pub sentence: String,
    /// Its settings.
    pub settings: Settings,
    /// How long it would take.
    pub estimate: Estimate,
}

impl Offer {
    /// The option of the command line for it.
    pub fn option(&self) -> &'static str {
        match self.settings.stage1.train.value() {
            Some(Training::Scratch) => "--set stage1.train=scratch",
            _ => "--preset fine-tune",
        }
    }
}

/// Settings with every `auto` that the data had to say, and how that came about. Kept with a run as
/// the result `choices`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Chosen {
    /// The settings.
    pub settings: Settings,
    /// Every choice.
    pub choices: Vec<Choice>,
    /// Another way of training that may be better and was not chosen: from scratch, or with the
    /// whole network learning on.
    pub offer: Option<Offer>,
    /// What mirroring does to the classes, where it was asked.
    pub mirror: Option<MirrorCheck>,
    /// How long training with these settings will take, where that was measured to choose them.
    #[serde(default)]
    pub estimate: Option<Estimate>,
}

/// Decides `model.fit`, `stage1.train` and `augmentation.flip` where they are `auto`, by measuring on
/// the data; what is decided is also told to the job. Settings without any come back as they are, at
/// once.
///
/// # Errors
/// Images that cannot be read; a device that fails; [`Error::Stopped`].
pub fn choose(
    settings: &Settings,
    dataset: &Dataset,
    device: &Device,
    job: Job<'_>,
) -> Result<Chosen> {
    let mut chosen = Chosen {
        settings: settings.clone(),
        choices: Vec::new(),
        offer: None,
        mirror: None,
        estimate: None,
    };
    if settings.model.fit == Auto::AUTO {
        chosen.choose_fit(dataset, device, job)?;
    }
    if settings.stage1.train == Auto::AUTO && chosen.choose_training(dataset, device, job)? {
        chosen.offer_fine_tuning(dataset, device, job)?;
    }
    let s = &mut chosen.settings;
    if s.augmentation.flip == Auto::AUTO {
        if s.stage1.is_frozen() {
            // Nothing is augmented.
            s.augmentation.flip = Auto::Value(
                s.balance.augmented_views > 0
                    && chosen.mirror.as_ref().is_some_and(|check| check.is_harmless),
            );
        } else {
            chosen.choose_mirroring(dataset, device, job)?;
        }
    }
    chosen.choices.iter().for_each(|choice| choice.tell(job));
    if let Some(offer) = &chosen.offer {
        job.info(format!("{} On the command line: {}", offer.sentence, offer.option()));
    }
    Ok(chosen)
}

impl Chosen {
    fn choice(
        &mut self,
        setting: &str,
        value: impl ToString,
        reason: impl Into<String>,
        option: impl Into<String>,
    ) {
        self.choices.push(Choice {
            setting: setting.into(),
            value: value.to_string(),
            reason: reason.into(),
            option: option.into(),
        });
    }

    /// Decides what learns. Returns whether it is pretrained features while another way than training
    /// from scratch may be better.
    fn choose_training(
        &mut self,
        dataset: &Dataset,
        device: &Device,
        job: Job<'_>,
    ) -> Result<bool> {
        let mut frozen = self.settings.clone();
        frozen.stage1.train = Auto::Value(Training::Classifier);
        if frozen.model.backbone.file().is_some() {
            let reason = "a network out of a file can only be used without training it";
            self.settings = frozen;
            self.choice("stage1.train", Training::Classifier, reason, "--preset quick");
            return Ok(false);
        }
        let counts = dataset.counts(Split::Train);
        let training: usize = counts.iter().sum();
        let take_frozen = |chosen: &mut Self, reason: String| {
            chosen.settings = frozen.clone();
            chosen.choice("stage1.train", Training::Classifier, reason, "--preset quick");
        };
        let middle = median(&counts);
        if training < ENOUGH_FROM_SCRATCH || middle < ENOUGH_OF_A_CLASS {
            let few = match training < ENOUGH_FROM_SCRATCH {
                true => format!("{training} training images are few"),
                false => format!("half of the classes have no more than {middle} training images"),
            };
            take_frozen(
                self,
                format!(
                    "{few}; a network that has seen a million photos is hard to beat with so many"
                ),
            );
            return Ok(true);
        }
        let dataset = &with_validation(dataset);
        let of_features = score_of_features(&frozen, dataset, device, job)?;
        let percent = |share: f64| format!("{:.1} %", 100.0 * share);
        if of_features >= GOOD_ENOUGH {
            take_frozen(
                self,
                format!("balanced accuracy on validation is {} so", percent(of_features)),
            );
            return Ok(false);
        }
        let mut scratch = from_scratch(&frozen, dataset, job)?;
        if scratch.augmentation.flip == Auto::AUTO {
            let check = mirror_check(dataset, scratch.model.fit(), scratch.seed, device, job)?;
            scratch.augmentation.flip = Auto::Value(check.is_harmless);
            self.mirror = Some(check);
        }
        let estimate = match estimate(&scratch, dataset, device, job) {
            // It does not hold a batch of it; whoever wants that all the same can take smaller ones.
            Err(Error::Device { reason, .. }) => {
                take_frozen(
                    self,
                    format!("training from scratch could not be tried here: {reason}"),
                );
                return Ok(false);
            }
            estimate => estimate?,
        };
        let within = |seconds: f64| (1e3 * seconds / estimate.ms_per_step.max(1e-3)) as usize;
        let [fewest, most] = PROBE_STEPS;
        let mut steps = within(PROBE_SECONDS).clamp(fewest, most);
        job.info(format!(
            "trying whether training from scratch would be better: {steps} steps of it, {}",
            in_words(1e-3 * steps as f64 * estimate.ms_per_step)
        ));
        let mut tried = score_of_probe(&scratch, steps, dataset, device, job)?;
        let in_time = estimate.seconds <= MOST_SECONDS;
        // A minute's training is far from what training ends at. Half of it is not.
        let half = estimate.steps / 2;
        if in_time
            && tried <= of_features
            && is_near(tried, of_features)
            && (2 * steps..=within(SECOND_PROBE_SECONDS)).contains(&half)
        {
            steps = half;
            job.info(format!(
                "it comes near: trying {steps} steps, {}",
                in_words(1e-3 * steps as f64 * estimate.ms_per_step)
            ));
            tried = score_of_probe(&scratch, steps, dataset, device, job)?;
        }
        let compared = format!(
            "balanced accuracy on validation is {} with pretrained features and {} after {steps} steps from scratch",
            percent(of_features),
            percent(tried)
        );
        if tried > of_features && in_time {
            self.settings = scratch;
            self.estimate = Some(estimate);
            self.choice(
                "stage1.train",
                Training::Scratch,
                compared,
                "--set stage1.train=classifier",
            );
            self.tell_mirroring();
            return Ok(false);
        }
        let sentence = match tried > of_features {
            true => format!(
                "Training from scratch is better here ({compared}) and would take {}.",
                estimate.words()
            ),
            false => format!(
                "Training from scratch would take {}. After {steps} of {} steps it reached {}, against {} with pretrained features; {}.",
                estimate.words(),
                estimate.steps,
                percent(tried),
                percent(of_features),
                match is_near(tried, of_features) {
                    true => "it may well end above that",
                    false if EARLY * steps < estimate.steps =>
                        "so early that does not say which ends higher",
                    false => "it will hardly end above that",
                }
            ),
        };
        take_frozen(self, compared);
        self.offer = Some(Offer { sentence, settings: scratch, estimate });
        Ok(tried <= of_features && !is_near(tried, of_features))
    }

    /// Offers the other way that may be better than pretrained features: letting the whole network
    /// learn on, with the time it takes.
    fn offer_fine_tuning(
        &mut self,
        dataset: &Dataset,
        device: &Device,
        job: Job<'_>,
    ) -> Result<()> {
        let settings = &self.settings;
        if !settings.model.backbone.trains() {
            return Ok(());
        }
        let mut fine_tuning = Settings {
            seed: settings.seed,
            evaluation: settings.evaluation.clone(),
            ..Settings::preset(Preset::FineTune)
        };
        fine_tuning.model.backbone = settings.model.backbone.clone();
        fine_tuning.model.fit = settings.model.fit;
        let estimate = match estimate_by(TODAY, &fine_tuning, dataset, device, job) {
            // What cannot be done here is not offered.
            Err(Error::Device { reason, .. }) => {
                job.info(format!(
                    "fine-tuning is not offered: it could not be tried here: {reason}"
                ));
                return Ok(());
            }
            estimate => estimate?,
        };
        let sentence = format!(
            "Fine-tuning the whole network would take {} and may do better or worse: on folders of photos it was up to ten points better where images were many, and two to three points worse where they were few; where images were unlike photos, crops of circuit boards in black and white, twenty points better. Keep this run to compare with.",
            estimate.words()
        );
        self.offer = Some(Offer { sentence, settings: fine_tuning, estimate });
        Ok(())
    }

    /// Decides what of images that are not square the network sees.
    fn choose_fit(&mut self, dataset: &Dataset, device: &Device, job: Job<'_>) -> Result<()> {
        let check = fit_check(dataset, self.settings.seed, device, job)?;
        self.settings.model.fit = Auto::Value(check.fit);
        // Of images that are square there is nothing to say.
        let Some(sentence) = check.sentence else { return Ok(()) };
        let other = match check.fit {
            ImageFit::Crop => ImageFit::Stretch,
            ImageFit::Stretch => ImageFit::Crop,
        };
        self.choice("model.fit", check.fit, sentence, format!("--set model.fit={other}"));
        Ok(())
    }

    fn choose_mirroring(&mut self, dataset: &Dataset, device: &Device, job: Job<'_>) -> Result<()> {
        let check = {
            let fit = self.settings.model.fit();
            mirror_check(dataset, fit, self.settings.seed, device, job)?
        };
        self.settings.augmentation.flip = Auto::Value(check.is_harmless);
        self.mirror = Some(check);
        self.tell_mirroring();
        Ok(())
    }

    /// Adds what the mirror check decided, if it was asked.
    fn tell_mirroring(&mut self) {
        let Some(check) = self.mirror.clone() else { return };
        let option = format!("--set augmentation.flip={}", !check.is_harmless);
        self.choice("augmentation.flip", check.is_harmless, check.sentence, option);
    }
}

/// Whether a network that has only begun to learn may still overtake pretrained features.
fn is_near(tried: f64, of_features: f64) -> bool {
    tried > of_features / 2.0
}

fn median(counts: &[usize]) -> usize {
    let mut counts = counts.to_vec();
    counts.sort_unstable();
    counts.get(counts.len() / 2).copied().unwrap_or_default()
}

/// Training from scratch as `auto` would have it.
fn from_scratch(frozen: &Settings, dataset: &Dataset, job: Job<'_>) -> Result<Settings> {
    let quick = Settings::preset(Preset::Quick);
    let mut settings = Settings {
        preset: frozen.preset,
        seed: frozen.seed,
        augmentation: frozen.augmentation.clone(),
        evaluation: frozen.evaluation.clone(),
        balance: frozen.balance.clone(),
        ..quick.clone()
    };
    settings.balance.learning_rate = quick.balance.learning_rate;
    let side = train::choose_input(&settings, dataset, job)?;
    settings.model.backbone = Backbone::ResNet20.into();
    settings.model.normalisation = Normalisation::MEASURED;
    settings.model.input_size = Auto::Value(side.min(PROBE_SIDE));
    settings.model.fit = frozen.model.fit;
    // What the person has set stays set.
    let usual = Settings::preset(frozen.preset);
    let is_of_training = |key: &str| {
        key == "balance.learning_rate" || key.starts_with("stage1.") || key == "model.input_size"
    };
    for key in
        INFO.iter().map(|info| info.key).filter(|key| is_of_training(key) && *key != "stage1.train")
    {
        let Some(asked) = frozen.text(key).filter(|asked| usual.text(key).as_ref() != Some(asked))
        else {
            continue;
        };
        match settings.with(key, &asked) {
            Ok(kept) => settings = kept,
            Err(error) => job.warn(format!("not kept for training from scratch: {error}")),
        }
    }
    Ok(settings)
}

/// Balanced accuracy on validation of a classifier on pretrained features, corrected for how
/// frequent classes are.
fn score_of_features(
    settings: &Settings,
    dataset: &Dataset,
    device: &Device,
    job: Job<'_>,
) -> Result<f64> {
    let checkpoint = untrained(settings, dataset)?;
    let backbone = FrozenBackbone::new(&checkpoint, device);
    let train = backbone.features(dataset, &dataset.split(Split::Train), View::Plain, job)?.set;
    let validation =
        backbone.features(dataset, &dataset.split(Split::Validation), View::Plain, job)?.set;
    let quiet = Job::new(job.control, &Silent);
    let fitted = fit_classifier(settings, train, dataset, None, quiet)?;
    let mut classifier = fitted.classifier;
    crate::balance::adjust_logits(&mut classifier, &fitted.counts, 1.0)?;
    let mut validation = validation;
    fitted.standardiser.apply(&mut validation.features);
    let scores = classifier.scores(&validation, &fitted.counts, GroupThresholds::default())?;
    Ok(scores.balanced_accuracy)
}

/// Balanced accuracy on validation after so many steps from initial weights, in a run that is
/// thrown away; corrected for how frequent classes are, as that of pretrained features is. 0 where
/// the loss diverges.
fn score_of_probe(
    settings: &Settings,
    steps: usize,
    dataset: &Dataset,
    device: &Device,
    job: Job<'_>,
) -> Result<f64> {
    let mut settings = settings.clone();
    let an_epoch = dataset.split(Split::Train).len().div_ceil(settings.stage1.batch_size).max(1);
    let epochs = steps.div_ceil(an_epoch).max(1);
    settings.stage1.epochs = Auto::Value(epochs);
    settings.stage1.warmup_epochs = 0;
    if epochs < FEWEST_FOR_COSINE {
        // It comes down once an epoch, and the last one learns nothing.
        settings.stage1.schedule = Schedule::Constant;
    }
    let folder =
        tempfile::tempdir().map_err(|error| RunError::file(std::env::temp_dir(), error))?;
    job.phase("trying training from scratch", None, "steps");
    let quiet = Job::new(job.control, &Silent);
    // Where an epoch has more steps than are to be tried, a part of the images stands for all.
    let dataset = part(dataset, steps * settings.stage1.batch_size);
    let mut run = Run::create(&folder.path().join("probe"), settings, dataset)?;
    match train::train(&mut run, device, quiet) {
        Err(Error::Train(TrainError::Diverged { .. })) => return Ok(0.0),
        other => drop(other?),
    }
    let checkpoint = run.checkpoint("last")?;
    let mut classifier = train::classifier_of(&checkpoint)?;
    let validation =
        Features::new(&run, &checkpoint, device).of(Split::Validation, false, quiet)?;
    let counts = &checkpoint.train_counts;
    crate::balance::adjust_logits(&mut classifier, counts, 1.0)?;
    Ok(classifier.scores(&validation, counts, GroupThresholds::default())?.balanced_accuracy)
}

/// The dataset itself or, if it has no validation split, with every tenth training sample of each
/// class held out to compare by, and one where a class has at least three: without it the rarest
/// classes, which it is about, would not be compared. Of images that belong together whole series are, the next one as
/// soon as less than a tenth of those met so far is held out, and no class loses its last image by
/// it.
pub(super) fn with_validation(dataset: &Dataset) -> Dataset {
    let mut dataset = dataset.clone();
    if !dataset.split(Split::Validation).is_empty() {
        return dataset;
    }
    let counts = dataset.counts(Split::Train);
    let mut left = counts.clone();
    let (mut met, mut held) =
        (vec![0_usize; dataset.classes.len()], vec![0_usize; dataset.classes.len()]);
    // Samples that are held out or stay together: those of a series, or one alone.
    let mut together: BTreeMap<(Option<u32>, usize), Vec<usize>> = BTreeMap::new();
    let all: Vec<&DatasetSample> = dataset.samples.iter().collect();
    for (at, (sample, series)) in all.iter().zip(dataset.series_of(&all)).enumerate() {
        if sample.split == Split::Train {
            let key = series.map_or((None, at), |series| (Some(series), 0));
            together.entry(key).or_default().push(at);
        }
    }
    let mut in_order: Vec<Vec<usize>> = together.into_values().collect();
    in_order.sort_unstable();
    for members in in_order {
        let mut own: BTreeMap<usize, usize> = BTreeMap::new();
        for class in members.iter().map(|at| dataset.samples[*at].class) {
            met[class] += 1;
            *own.entry(class).or_default() += 1;
        }
        let is_due = own.iter().any(|(class, count)| {
            // Of a small class no more than a third, where its images come in series.
            let is_small = counts[*class] < HELD_OUT && met[*class] >= SMALLEST_HELD_OUT;
            let is_first = held[*class] == 0 && count * SMALLEST_HELD_OUT <= counts[*class];
            met[*class] / HELD_OUT > held[*class] || (is_small && is_first)
        });
        if is_due && own.iter().all(|(class, count)| left[*class] > *count) {
            own.iter().for_each(|(class, count)| {
                left[*class] -= count;
                held[*class] += count;
            });
            members.iter().for_each(|at| dataset.samples[*at].split = Split::Validation);
        }
    }
    dataset
}

/// The dataset with about so many training samples, spread over its order and so over its classes,
/// of which each keeps one at least.
pub(super) fn part(dataset: &Dataset, most: usize) -> Dataset {
    let training = dataset.split(Split::Train).len();
    if training <= most {
        return dataset.clone();
    }
    let mut at = 0;
    let mut has_one = vec![false; dataset.classes.len()];
    let taken = |sample: &&crate::dataset::DatasetSample| {
        if sample.split != Split::Train {
            return true;
        }
        at += 1;
        let is_first = !std::mem::replace(&mut has_one[sample.class], true);
        is_first || (at - 1) * most / training != at * most / training
    };
    Dataset { samples: dataset.samples.iter().filter(taken).cloned().collect(), ..dataset.clone() }
}
