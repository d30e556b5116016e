//! Stage 1: learning features with cross-entropy and tuned weight decay.

use std::ops::Range;
use std::time::{Duration, Instant};

use burn::optim::{GradientsAccumulator, GradientsParams};
use burn::tensor::{Device, Tensor};

use super::extract::{Extractor, network_of};
use super::loader::Loader;
use super::loss::Targets;
use super::optimizer::Sgd;
use crate::augment::Augmentation;
use crate::batches::{Batch, DEFAULT_BUDGET, EpochPlan, Images};
use crate::classifier::Classifier;
use crate::dataset::Dataset;
use crate::device::host_all;
use crate::device::{Failure, attempt, finish_work, release_memory, while_preparing};
use crate::error::{Error, Result, TrainError};
use crate::eval::{GroupThresholds, Scores, class_accuracies};
use crate::images::{InputShape, choose_input_size, give_back_kept_pictures};
use crate::job::{Event, Job, Silent};
use crate::model::{Mode, NamedTensor, Network, NetworkConfig, Normaliser, weights};
use crate::ops;
use crate::record::EpochRecord;
use crate::run::{Best, Checkpoint, Run, StageProgress};
use crate::schedule::learning_rate;
use crate::settings::{Auto, NormStatistics, Settings};
use crate::source::{ImageReader, Location, Split};

/// Losses are read from the device once in so many steps, since reading waits for it.
const READ_EVERY: usize = 16;
/// Inside long epochs a checkpoint is written at least this often.
const CHECKPOINT_EVERY: Duration = Duration::from_secs(300);
/// Images looked at to choose the input size.
const SIZES_LOOKED_AT: usize = 512;

/// Trains stage 1 of a run, from the start or from its last checkpoint, and returns the checkpoint
/// it ends with: the best on validation where there is a validation split, otherwise the last.
///
/// The result does not depend on whether the run was interrupted: with the same seed and device, it
/// ends with the same weights.
///
/// # Errors
/// [`Error::Stopped`] after writing a checkpoint; [`TrainError::Diverged`] when the loss is no
/// number and [`TrainError::OutOfMemory`] when the device's memory does not hold a step, the last
/// checkpoint being kept; unreadable images, a full disk, a device that fails.
pub fn train(run: &mut Run, device: &Device, job: Job<'_>) -> Result<Checkpoint> {
    train_until(run, usize::MAX, device, job)?;
    run.checkpoint(run.stage1_checkpoint())
}

/// [`train`] until so many epochs are finished, of which the last is evaluated on validation. A
/// later call goes on from there.
///
/// # Errors
/// As [`train`].
pub fn train_until(run: &mut Run, epochs: usize, device: &Device, job: Job<'_>) -> Result<()> {
    let _lock = run.lock()?;
    let settings = run.settings().clone();
    if settings.stage1.is_frozen() {
        return Err(TrainError::Request(
            "the classifier alone is trained on features, not by this".into(),
        )
        .into());
    }
    let resumed = match run.checkpoint_path("last").is_file() {
        true => Some(run.checkpoint("last")?),
        false => None,
    };
    let until = epochs.min(settings.stage1.epochs());
    if let Some(last) = &resumed
        && last.progress.epoch >= until
    {
        if until == settings.stage1.epochs() {
            job.info("training was already finished");
        }
        return Ok(());
    }
    run.forget_balancing(true)?;
    let mut trainer = Trainer::new(run, &settings, resumed, until, device, job)?;
    let outcome = trainer.run(run);
    drop(trainer);
    ops::release_memory();
    release_memory(device);
    outcome
}

struct Trainer<'a> {
    settings: &'a Settings,
    job: Job<'a>,
    device: Device,
    images: Loader,
    validation: Option<Loader>,
    /// Finished epochs to stop after.
    until: usize,
    /// Away only while the optimiser changes it in place.
    network: Option<Network>,
    optimizer: Sgd,
    /// Everything a checkpoint holds besides tensors.
    state: Checkpoint,
    pending: Vec<Pending>,
    thresholds: GroupThresholds,
    saved: Instant,
    /// Steps that were left when this program began, and those since.
    steps: u64,
    done: u64,
    /// Whether this program has evaluated on validation yet.
    validated: bool,
    /// Whether the best epoch is chosen on validation; otherwise the last is taken.
    chooses: bool,
}

/// A step whose numbers have not been read from the device yet.
struct Pending {
    step: usize,
    learning_rate: f64,
    samples: usize,
    loss: Tensor<1>,
    correct: Tensor<1>,
}

impl<'a> Trainer<'a> {
    fn new(
        run: &Run,
        settings: &'a Settings,
        resumed: Option<Checkpoint>,
        until: usize,
        device: &Device,
        job: Job<'a>,
    ) -> Result<Self> {
        let device = device.clone().autodiff();
        let dataset = run.dataset();
        let shape = match &resumed {
            Some(checkpoint) => checkpoint.input_shape(),
            None => InputShape {
                side: choose_input(settings, dataset, job)?,
                fit: settings.model.fit(),
            },
        };
        let images = Images::open(dataset, Split::Train, shape, DEFAULT_BUDGET, job)?;
        if images.len() < 2 {
            return Err(TrainError::Request(
                "there are fewer than two readable training images".into(),
            )
            .into());
        }
        let validation = match dataset.split(Split::Validation).is_empty() {
            true => None,
            false => Some(Images::open(dataset, Split::Validation, shape, DEFAULT_BUDGET, job)?),
        };
        // Images that fit are in memory now, at the network's size; those that do not are decoded
        // whenever their turn comes.
        give_back_kept_pictures();
        let state = match resumed {
            Some(checkpoint) => checkpoint,
            None => fresh(settings, dataset, shape.side, &images, job)?,
        };
        let s = &settings.stage1;
        let mut network =
            attempt(&device, || Ok(Network::new(&state.config, state.seed, &device)))?;
        let mut optimizer = Sgd::new(s.momentum, s.weight_decay());
        let mut state = state;
        state.train_counts = images.counts();
        if !state.weights.is_empty() {
            network = network_of(&state, &device)?;
            optimizer =
                Sgd::restore(s.momentum, s.weight_decay(), std::mem::take(&mut state.velocities));
            state.weights.clear();
        }
        let optimizer = optimizer
            .with_backbone_rate(s.backbone_rate)
            .with_clipping((s.clip_gradients > 0.0).then_some(s.clip_gradients));
        let network = network.with_precision(s.precision);
        if network.precision() != s.precision {
            job.info(format!(
                "this device has no units that compute in {}; it computes in float32",
                s.precision
            ));
        }
        let normaliser = Normaliser::new(state.mean, state.std);
        let loader = |images| Loader::new(images, normaliser.clone(), &device);
        let images = loader(images);
        let batch = settings.stage1.batch_size.min(images.images().len());
        let most = images.most_at_once();
        if let Some(most) = most.filter(|most| batch > *most) {
            return Err(TrainError::Request(format!(
                "a batch of {batch} images of this size is more than a GPU's kernels can address; stage1.batch_size may be {most} at most"
            ))
            .into());
        }
        let mut trainer = Self {
            settings,
            job,
            images,
            validation: validation.map(loader),
            device: device.clone(),
            until,
            network: Some(network),
            optimizer,
            state,
            pending: Vec::new(),
            thresholds: GroupThresholds::from(&settings.evaluation),
            saved: Instant::now(),
            steps: 0,
            done: 0,
            validated: false,
            chooses: validation_can_choose(dataset),
        };
        if trainer.validation.is_some() && !trainer.chooses {
            job.info(format!(
                "there are too few validation images (fewer than {ENOUGH_TO_CHOOSE} in half of the classes) to choose an epoch by; the last one is taken"
            ));
        }
        trainer.steps = trainer.steps_left();
        Ok(trainer)
    }

    fn phase(&self) {
        self.job.phase("stage 1", Some(self.steps), "steps");
    }

    fn network(&self) -> &Network {
        self.network.as_ref().expect("a network comes back from its step")
    }

    /// Every epoch that is left.
    fn run(&mut self, run: &mut Run) -> Result<()> {
        self.phase();
        while self.state.progress.epoch < self.until {
            match self.epoch(run) {
                Err(Error::Stopped) => {
                    self.flush()?;
                    self.check_weights()?;
                    self.save(run, "last")?;
                    return Err(Error::Stopped);
                }
                other => other?,
            }
        }
        Ok(())
    }

    /// Steps from here to where it stops.
    fn steps_left(&self) -> u64 {
        let s = &self.settings.stage1;
        let progress = &self.state.progress;
        (self.images.images().steps(s.batch_size) * (self.until - progress.epoch))
            .saturating_sub(progress.step) as u64
    }

    /// One epoch, or what is left of it, with its validation, log lines and checkpoints.
    fn epoch(&mut self, run: &mut Run) -> Result<()> {
        let s = &self.settings.stage1;
        let epoch = self.state.progress.epoch;
        run.rewind(1, epoch)?;
        let rate = learning_rate(
            s.schedule,
            s.learning_rate(),
            epoch,
            s.epochs(),
            s.warmup_epochs,
            &s.milestones,
        );
        let started = Instant::now();
        let seen_before = self.state.progress.seen;
        let first = self.state.progress.step;
        let plan =
            EpochPlan { batch_size: s.batch_size, seed: self.state.seed, epoch, from_step: first };
        let mut batches = self
            .images
            .train_batches(&Augmentation::new(&self.settings.augmentation, self.state.mean), plan);
        let mut step = first;
        while let Some(batch) = batches.next() {
            self.job.check()?;
            let batch = batch?;
            match self.done {
                0 => self.first(|trainer| {
                    trainer.step(step, &batch, rate).and_then(|()| trainer.flush())
                })?,
                _ => self.step(step, &batch, rate)?,
            }
            batches.reuse(batch);
            step += 1;
            if self.pending.len() >= READ_EVERY {
                self.flush()?;
            }
            self.done += 1;
            self.job.progress(self.done);
            if self.saved.elapsed() > CHECKPOINT_EVERY {
                self.flush()?;
                self.check_weights()?;
                self.save(run, "last")?;
            }
        }
        self.flush()?;
        self.check_weights()?;
        self.images.images().warn_of_problems(self.job);
        let trained_s = started.elapsed().as_secs_f64();
        let is_last = epoch + 1 == self.until;
        let is_validated =
            self.validation.is_some() && (is_last || (epoch + 1).is_multiple_of(s.validate_every));
        let validation = match (is_validated, self.validated) {
            (false, _) => None,
            (true, true) => self.validate()?,
            (true, false) => self.first(|trainer| trainer.validate())?,
        };
        self.validated |= is_validated;
        let progress = std::mem::take(&mut self.state.progress);
        let seen = progress.seen.max(1) as f64;
        self.state.progress =
            StageProgress { epoch: epoch + 1, best: progress.best, ..StageProgress::default() };
        let scores = validation.as_ref().map(|(scores, _)| *scores);
        if let Some(Scores { balanced_accuracy: score, loss, .. }) = scores
            && self.chooses
            && progress.best.is_none_or(|best| best.gives_way_to(score, loss))
        {
            self.state.progress.best =
                Some(Best { balanced_accuracy: score, epoch: epoch + 1, loss: Some(loss) });
            self.save(run, "best")?;
        }
        let record = EpochRecord {
            stage: 1,
            epoch: epoch + 1,
            epochs: s.epochs(),
            learning_rate: rate,
            train_loss: progress.loss_sum / seen,
            train_accuracy: progress.correct / seen,
            validation_loss: scores.map(|v| v.loss),
            validation_top1: scores.map(|v| v.top1),
            validation_balanced: scores.map(|v| v.balanced_accuracy),
            validation_many: scores.and_then(|v| v.groups.many),
            validation_medium: scores.and_then(|v| v.groups.medium),
            validation_few: scores.and_then(|v| v.groups.few),
            norms: self.classifier()?.norms(),
            images_per_s: (progress.seen - seen_before) as f64 / trained_s.max(1e-9),
            seconds: started.elapsed().as_secs_f64(),
        };
        run.record(record.clone())?;
        self.save(run, "last")?;
        self.job.sink.event(Event::Epoch(record));
        if let Some((_, accuracy)) = validation {
            self.job.sink.event(Event::Classes { epoch: epoch + 1, accuracy });
        }
        Ok(())
    }

    /// Does what a GPU is asked for the first time by this program. That takes a while, which is
    /// spent on compiling kernels, so it is waited for under a phase of its own.
    fn first<T>(&mut self, work: impl FnOnce(&mut Self) -> Result<T>) -> Result<T> {
        let (device, job) = (self.device.clone(), self.job);
        if ops::is_cpu(&device) {
            return work(self);
        }
        let outcome = while_preparing(&device, job, || {
            let outcome = work(self)?;
            // Work is only queued until its result is waited for.
            let done = attempt(&device, || finish_work(&device));
            done.map_err(|failure| self.failed(failure))?;
            Ok(outcome)
        });
        self.phase();
        job.progress(self.done);
        outcome
    }

    /// One step of SGD; its loss is read later.
    fn step(&mut self, step: usize, batch: &Batch, rate: f64) -> Result<()> {
        let device = self.device.clone();
        attempt(&device, || {
            self.queue_step(step, batch, rate);
            Ok(())
        })
        .map_err(|failure| self.failed(failure))
    }

    fn queue_step(&mut self, step: usize, batch: &Batch, rate: f64) {
        let input = self.images.input(batch);
        let targets = Targets::new(
            batch,
            self.state.config.classes,
            self.settings.stage1.label_smoothing,
            &self.device,
        );
        let samples = targets.len();
        let mut parts = parts(samples, self.settings.stage1.accumulation).into_iter();
        let (gradients, loss, correct) = match parts.len() {
            1 => self.gradients(input, &targets, samples),
            _ => {
                let mut sum = GradientsAccumulator::new();
                let mut part = |part: Range<usize>| {
                    let input = input.clone().narrow(0, part.start, part.len());
                    let (gradients, loss, correct) =
                        self.gradients(input, &targets.slice(part), samples);
                    sum.accumulate(self.network(), gradients);
                    (loss, correct)
                };
                let first = part(parts.next().unwrap_or_default());
                let (loss, correct) = parts
                    .map(part)
                    .fold(first, |(loss, correct), (more, right)| (loss + more, correct + right));
                (sum.grads(), loss, correct)
            }
        };
        self.pending.push(Pending { step, learning_rate: rate, samples, loss, correct });
        self.network =
            self.network.take().map(|network| self.optimizer.step_along(network, gradients, rate));
    }

    /// The gradients, the loss and the number of samples classified correctly of a part of a batch
    /// of so many samples. Gradients and loss are the part's share, so that those of all parts add
    /// up to the batch's.
    fn gradients(
        &self,
        input: Tensor<4>,
        targets: &Targets,
        of: usize,
    ) -> (GradientsParams, Tensor<1>, Tensor<1>) {
        let mode = match self.settings.stage1.norm_statistics {
            NormStatistics::Moving => Mode::Train,
            NormStatistics::Frozen => Mode::TrainFrozenNorm,
        };
        let logits = self.network().forward(input, mode);
        let (mut loss, correct) = targets.loss_and_hits(logits);
        if targets.len() < of {
            loss = loss * (targets.len() as f64 / of as f64);
        }
        let gradients = GradientsParams::from_grads(loss.backward(), self.network());
        (gradients, loss.inner(), correct)
    }

    /// What a failure of the device means to somebody who trains.
    fn failed(&self, failure: Failure) -> Error {
        let s = &self.settings.stage1;
        match failure {
            Failure::OutOfMemory => {
                let more = (s.accumulation + 1).next_power_of_two();
                let suggested = (s.batch_size / more >= 2).then_some(more);
                TrainError::OutOfMemory {
                    batch_size: s.batch_size,
                    parts: s.accumulation,
                    suggested,
                }
                .into()
            }
            other => other.into(),
        }
    }

    /// Reads the numbers of the steps since the last reading, all at once.
    fn flush(&mut self) -> Result<()> {
        let pending = std::mem::take(&mut self.pending);
        let numbers =
            pending.iter().flat_map(|step| [step.loss.clone(), step.correct.clone()]).collect();
        let numbers =
            attempt(&self.device, || host_all(numbers)).map_err(|failure| self.failed(failure))?;
        let progress = &mut self.state.progress;
        for (pending, numbers) in pending.into_iter().zip(numbers.chunks_exact(2)) {
            let (loss, correct) = (numbers[0][0], numbers[1][0]);
            if !loss.is_finite() {
                return Err(TrainError::Diverged {
                    loss,
                    epoch: progress.epoch + 1,
                    step: pending.step + 1,
                    learning_rate: pending.learning_rate,
                }
                .into());
            }
            progress.loss_sum += f64::from(loss) * pending.samples as f64;
            progress.correct += f64::from(correct);
            progress.seen += pending.samples;
            progress.step = pending.step + 1;
        }
        Ok(())
    }

    /// The last step's update comes after its loss, so a finite loss is no proof of finite weights.
    fn check_weights(&self) -> Result<()> {
        let wrong = self
            .weights()?
            .into_iter()
            .flat_map(|tensor| tensor.values)
            .find(|weight| !weight.is_finite());
        let Some(loss) = wrong else { return Ok(()) };
        let s = &self.settings.stage1;
        let StageProgress { epoch, step, .. } = self.state.progress;
        let learning_rate = learning_rate(
            s.schedule,
            s.learning_rate(),
            epoch,
            s.epochs(),
            s.warmup_epochs,
            &s.milestones,
        );
        Err(TrainError::Diverged { loss, epoch: epoch + 1, step, learning_rate }.into())
    }

    fn weights(&self) -> Result<Vec<NamedTensor>> {
        attempt(&self.device, || Ok(weights(self.network())))
            .map_err(|failure| self.failed(failure))
    }

    /// Scores on the validation split, if there is one, and the accuracy of each class.
    fn validate(&self) -> Result<Option<(Scores, Vec<Option<f64>>)>> {
        let Some(images) = &self.validation else { return Ok(None) };
        // Its progress is part of the epoch's.
        let quiet = Job::new(self.job.control, &Silent);
        let features = Extractor::new(self.network())
            .features(images, self.settings.evaluation.flip, quiet)?
            .set;
        let answers = self.classifier()?.answers(&features)?;
        let counts = &self.state.train_counts;
        let scores = Scores::of(&answers, counts, self.thresholds)?;
        Ok(Some((scores, class_accuracies(&answers, counts.len()))))
    }

    fn classifier(&self) -> Result<Classifier> {
        let [weight, bias] = attempt(&self.device, || Ok(self.network().classifier()))
            .map_err(|failure| self.failed(failure))?;
        let config = &self.state.config;
        Classifier::new(config.classes, config.features(), weight.values, bias.values)
    }

    fn save(&mut self, run: &Run, name: &str) -> Result<()> {
        self.state.weights = self.weights()?;
        if name == "last" {
            let velocities =
                attempt(&self.device, || Ok(self.optimizer.velocities(self.network())));
            self.state.velocities = velocities.map_err(|failure| self.failed(failure))?;
            self.saved = Instant::now();
        }
        let outcome = self.state.save(&run.checkpoint_path(name));
        self.state.weights.clear();
        self.state.velocities.clear();
        outcome
    }
}

/// Validation images of a class that tell epochs apart better than chance does.
const ENOUGH_TO_CHOOSE: usize = 5;

/// Whether the validation split is large enough to choose an epoch by: at least half of the classes
/// have [`ENOUGH_TO_CHOOSE`] images in it. The best of many epochs on a few images is the luckiest.
fn validation_can_choose(dataset: &Dataset) -> bool {
    let counts = dataset.counts(Split::Validation);
    2 * counts.iter().filter(|&&count| count >= ENOUGH_TO_CHOOSE).count() >= counts.len()
}

/// The samples of a batch in so many nearly equal parts, or in fewer: batch norm needs two samples
/// in each.
fn parts(samples: usize, parts: usize) -> Vec<Range<usize>> {
    let parts = parts.min(samples / 2).max(1);
    (0..parts).map(|part| part * samples / parts..(part + 1) * samples / parts).collect()
}

/// The state before the first step.
fn fresh(
    settings: &Settings,
    dataset: &Dataset,
    side: usize,
    images: &Images,
    job: Job<'_>,
) -> Result<Checkpoint> {
    let (mean, std) = match settings.model.normalisation.numbers() {
        Some(numbers) => numbers,
        None => images.measure_normalisation(settings.seed, job)?,
    };
    let Some(backbone) = settings.model.backbone.named() else {
        return Err(TrainError::Request(
            "a network out of a file cannot be trained; take stage1.train = classifier".into(),
        )
        .into());
    };
    let config = NetworkConfig {
        backbone,
        stem: settings.model.stem.or_else(|| NetworkConfig::stem_for(side)),
        input_size: side,
        classes: dataset.classes.len(),
    };
    Ok(Checkpoint {
        source: Default::default(),
        config,
        mean,
        std,
        fit: settings.model.fit(),
        classes: dataset.classes.clone(),
        train_counts: images.counts(),
        seed: settings.seed,
        progress: StageProgress::default(),
        balancers: Vec::new(),
        weights: Vec::new(),
        velocities: Vec::new(),
        standardiser: None,
    })
}

/// The side images are brought to: as set, or chosen from the sizes of images spread over the
/// training split.
///
/// # Errors
/// A source that cannot be opened.
pub fn choose_input(settings: &Settings, dataset: &Dataset, job: Job<'_>) -> Result<usize> {
    if let Auto::Value(side) = settings.model.input_size {
        return Ok(side);
    }
    let reader = ImageReader::open(&dataset.root, dataset.kind, job)?;
    let samples = dataset.split(Split::Train);
    let apart = samples.len().div_ceil(SIZES_LOOKED_AT).max(1);
    // Broken images are reported where they are left out, not here.
    let looked_at: Vec<Location> =
        samples.into_iter().step_by(apart).map(|sample| sample.location.clone()).collect();
    Ok(choose_input_size(reader.sizes(&looked_at).into_iter().flatten()))
}

#[cfg(test)]
#[path = "stage1_tests.rs"]
mod tests;
