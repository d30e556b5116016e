//! Stage 1 where the classifier alone learns: a pretrained backbone computes features once, and
//! cross-entropy trains the classifier on them in seconds.

use burn::tensor::Device;

use super::auto::{Choice, note};
use super::features::Features;
use super::onnx_backbone::{found, tell_of_file, untrained_on_file, with_own_file};
use super::weight_decay::{ChosenDecay, choose_weight_decay};
use crate::balance::{CachedBatches, learn};
use crate::classifier::{Classifier, FeatureSet, Standardiser};
use crate::dataset::Dataset;
use crate::device::attempt;
use crate::error::{DataError, Result, TrainError};
use crate::eval::GroupThresholds;
use crate::images::give_back_kept_pictures;
use crate::job::Job;
use crate::model::{Facts, Network, NetworkConfig, Origin, Pretrained, weights};
use crate::record::EpochRecord;
use crate::run::{Checkpoint, Run, StageProgress};
use crate::settings::{Auto, ModelSettings, Settings};
use crate::source::Split;
use crate::train::put_classifier;

/// Trains the classifier of a run whose settings leave the backbone unchanged, and writes the
/// checkpoint `last`: training is over in seconds and loses nothing by going on, so no epoch is
/// chosen. A run that has it already is left alone.
///
/// # Errors
/// Fewer than two readable training images, or classes without one; [`TrainError::Diverged`];
/// damaged weights; [`crate::Error::Stopped`].
pub(super) fn train_classifier(run: &mut Run, device: &Device, job: Job<'_>) -> Result<()> {
    let _lock = run.lock()?;
    if run.checkpoint_path("last").is_file() {
        job.info("training was already finished");
        return Ok(());
    }
    run.forget_balancing(true)?;
    run.rewind(1, 0)?;
    let mut settings = run.settings().clone();
    let mut checkpoint = untrained(&with_own_file(run), run.dataset())?;
    let features = Features::new(run, &checkpoint, device);
    features.remember(job)?;
    let train = features.with_positions(Split::Train, false, job)?;
    let groups = run.dataset().series_of(&train.samples(run.dataset(), Split::Train));
    let train = train.set;
    let validation = match run.dataset().split(Split::Validation).is_empty() {
        true => None,
        false => Some(features.of(Split::Validation, settings.evaluation.flip, job)?),
    };
    // Features are what is needed of images from here on.
    give_back_kept_pictures();
    if settings.stage1.weight_decay == Auto::AUTO {
        let ChosenDecay { weight_decay, reason } =
            choose_weight_decay(&settings, &train, &groups, run.dataset().classes.len(), job)?;
        settings.stage1.weight_decay = Auto::Value(weight_decay);
        run.replace_settings(settings.clone())?;
        let option = "--set stage1.weight_decay=…".to_string();
        note(
            run,
            Choice {
                setting: "stage1.weight_decay".into(),
                value: weight_decay.to_string(),
                reason,
                option,
            },
            job,
        )?;
    }
    let Fitted { classifier, standardiser, counts, epochs } =
        fit_classifier(&settings, train, run.dataset(), validation, job)?;
    checkpoint.standardiser = Some(standardiser);
    checkpoint.progress.epoch = epochs.len();
    checkpoint.train_counts = counts;
    put_classifier(&mut checkpoint, &classifier);
    for epoch in epochs {
        run.record(epoch)?;
    }
    checkpoint.save(&run.checkpoint_path("last"))
}

/// A classifier on features that stay.
pub(super) struct Fitted {
    /// The classifier of standardised features.
    pub classifier: Classifier,
    /// What they are standardised with.
    pub standardiser: Standardiser,
    /// Training samples of each class that could be read, n_k.
    pub counts: Vec<usize>,
    /// The epochs of its training.
    pub epochs: Vec<EpochRecord>,
}

/// Trains a classifier on features of a dataset's training samples; those of validation, if there
/// are any, are scored after every epoch.
///
/// # Errors
/// Fewer than two samples, classes without one; [`TrainError::Diverged`];
/// [`crate::Error::Stopped`].
pub(super) fn fit_classifier(
    settings: &Settings,
    train: FeatureSet,
    dataset: &Dataset,
    validation: Option<FeatureSet>,
    job: Job<'_>,
) -> Result<Fitted> {
    let counts = counted(&train.labels, dataset)?;
    let (classifier, standardiser, epochs) =
        fit_on(settings, train, dataset.classes.len(), &counts, validation, job)?;
    Ok(Fitted { classifier, standardiser, counts, epochs })
}

/// [`fit_classifier`] on features with so many samples of each class.
pub(super) fn fit_on(
    settings: &Settings,
    mut train: FeatureSet,
    classes: usize,
    counts: &[usize],
    mut validation: Option<FeatureSet>,
    job: Job<'_>,
) -> Result<(Classifier, Standardiser, Vec<EpochRecord>)> {
    let standardiser = Standardiser::of(&train);
    standardiser.apply(&mut train.features);
    if let Some(set) = &mut validation {
        standardiser.apply(&mut set.features);
    }
    // The problem is convex: where it starts from does not matter, and zero is no class's
    // advantage.
    let zero =
        Classifier::new(classes, train.dim, vec![0.0; classes * train.dim], vec![0.0; classes])?;
    let stage1 = settings.clone().for_samples(train.len()).stage1;
    let mut batches = CachedBatches::new(&train, stage1.batch_size, settings.seed)?;
    let thresholds = GroupThresholds::from(&settings.evaluation);
    let (classifier, epochs) =
        learn(&zero, &mut batches, counts, validation.as_ref(), &stage1, thresholds, job)?;
    Ok((classifier, standardiser, epochs))
}

/// A pretrained backbone with a classifier that has not learned anything.
///
/// # Errors
/// A backbone without pretrained weights, or damaged ones.
pub(super) fn untrained(settings: &Settings, dataset: &Dataset) -> Result<Checkpoint> {
    let request = |reason: String| TrainError::Request(reason);
    let Some(backbone) = settings.model.backbone.named() else {
        let found = found(&settings.model)?;
        return Ok(untrained_on_file(settings, dataset, &found));
    };
    let pretrained = backbone.pretrained().map_err(request)?;
    let facts = &pretrained.facts;
    let side = settings.model.input_size.or_else(|| facts.side);
    let stem = facts.stem.unwrap_or_else(|| NetworkConfig::stem_for(side));
    if facts.stem.is_some() && settings.model.stem.value().is_some_and(|asked| asked != stem) {
        let reason = format!(
            "model.stem is another than that of the weights for {backbone} from {}",
            facts.source
        );
        return Err(request(reason).into());
    }
    let config = NetworkConfig { backbone, stem, input_size: side, classes: dataset.classes.len() };
    let device = Device::flex();
    let network = attempt(&device, || {
        Ok(Network::with_weights(&config, &pretrained, settings.seed, &device))
    })?
    .map_err(request)?;
    Ok(Checkpoint {
        source: Default::default(),
        config,
        mean: facts.mean,
        std: facts.std,
        fit: settings.model.fit(),
        classes: dataset.classes.clone(),
        train_counts: dataset.counts(Split::Train),
        seed: settings.seed,
        progress: StageProgress::default(),
        balancers: Vec::new(),
        weights: weights(&network),
        velocities: Vec::new(),
        standardiser: None,
    })
}

/// Says whose weights a backbone has and under which licence, unless they come with the program,
/// and what is taken of a file. Returns what is known of such weights.
///
/// # Errors
/// A backbone without pretrained weights, or damaged ones; a file that features cannot be taken of.
pub(super) fn tell_of_weights(model: &ModelSettings, job: Job<'_>) -> Result<Option<Facts>> {
    let Some(backbone) = model.backbone.named() else {
        return tell_of_file(model, job).map(|()| None);
    };
    let Pretrained { origin, facts, .. } = backbone.pretrained().map_err(TrainError::Request)?;
    if origin != Origin::BuiltIn {
        job.info(format!(
            "{backbone} has weights from {}; licence: {}",
            facts.source,
            facts.licence_words()
        ));
    }
    Ok(Some(facts.clone()))
}

/// Training samples of each class that could be read, n_k.
fn counted(labels: &[u32], dataset: &Dataset) -> Result<Vec<usize>> {
    let mut counts = vec![0; dataset.classes.len()];
    labels.iter().for_each(|&label| counts[label as usize] += 1);
    let wanted = dataset.counts(Split::Train);
    let emptied: Vec<String> = (0..counts.len())
        .filter(|&class| wanted[class] > 0 && counts[class] == 0)
        .map(|class| dataset.classes[class].clone())
        .collect();
    if !emptied.is_empty() {
        return Err(DataError::Many {
            summary: "classes of which no training image can be read".into(),
            items: emptied,
        }
        .into());
    }
    Ok(counts)
}
