//! Training a dataset into a run folder.

use std::path::Path;

use burn::tensor::Device;
use serde::Serialize;

use super::auto::choose;
use super::estimate::estimate;
use super::evaluate::{RunEvaluation, evaluate, reporting_split};
use super::fine_tune::fine_tune;
use super::train_classifier::{tell_of_weights, train_classifier};
use crate::dataset::{BuildOptions, Dataset, edited};
use crate::error::{Error, Result, RunError};
use crate::job::Job;
use crate::run::Run;
use crate::settings::{
    Auto, INFO, ModelSettings, Normalisation, Preset, Schedule, Settings, Tokens, Training,
};
use crate::source::{ScanOptions, Split};
use crate::train;

/// What to train, and where.
#[derive(Clone, Debug)]
pub struct TrainRequest<'a> {
    /// A dataset file or any source; needed unless the run exists.
    pub dataset: Option<&'a Path>,
    /// What a dataset is built of a source with: new names of its classes, and what makes images belong
    /// together, so that they are held out together.
    pub build: BuildOptions,
    /// How the source is read, where it is no dataset file.
    pub scan: ScanOptions,
    /// The run folder.
    pub run: &'a Path,
    /// The settings of a new run; for a run that exists they must be its own, apart from
    /// `stage1.accumulation`, or `None`.
    pub settings: Option<Settings>,
    /// Go on where the run was interrupted, or begin if there is nothing yet.
    pub resume: bool,
}

/// What training ended with.
#[derive(Clone, Debug, Serialize)]
pub struct TrainReport {
    /// The run folder.
    pub run: String,
    /// The device, as `--device` names it.
    pub device: String,
    /// The evaluation of the checkpoint stage 1 ends with, where there is a split to evaluate on.
    #[serde(flatten)]
    pub evaluation: Option<RunEvaluation>,
}

/// Trains stage 1 into a run folder, and evaluates the result.
///
/// # Errors
/// A run that exists without `resume`, other settings than the run's own, and whatever
/// [`train::train`] meets.
pub fn train(
    request: &TrainRequest<'_>,
    device: &Device,
    device_name: &str,
    job: Job<'_>,
) -> Result<TrainReport> {
    let mut run = open(request, device, job)?;
    let evaluation = finish(&mut run, device, job)?;
    Ok(TrainReport {
        run: request.run.display().to_string(),
        device: device_name.to_string(),
        evaluation,
    })
}

/// Trains stage 1 of a run, from where it is, until so many epochs are finished; a classifier on
/// features at once to its end.
pub(super) fn advance(run: &mut Run, epochs: usize, device: &Device, job: Job<'_>) -> Result<()> {
    match run.settings().stage1.train {
        Auto::Value(Training::Classifier) => train_classifier(run, device, job),
        Auto::Value(Training::All) => fine_tune(run, epochs, device, job),
        _ => train::train_until(run, epochs, device, job),
    }
}

/// Trains stage 1 of a run, from where it is, and evaluates the result, where there is a split to
/// evaluate on.
pub(super) fn finish(
    run: &mut Run,
    device: &Device,
    job: Job<'_>,
) -> Result<Option<RunEvaluation>> {
    advance(run, usize::MAX, device, job)?;
    evaluate_stage1(run, device, job)
}

/// Evaluates what stage 1 ended with, where there is a split to evaluate on.
pub(super) fn evaluate_stage1(
    run: &Run,
    device: &Device,
    job: Job<'_>,
) -> Result<Option<RunEvaluation>> {
    match reporting_split(run) {
        Ok(split) => {
            let settings = &run.settings().evaluation;
            let checkpoint = Some(run.stage1_checkpoint());
            // What is looked at while choosing is kept besides what is reported.
            if split != Split::Validation && !run.dataset().split(Split::Validation).is_empty() {
                evaluate(run, checkpoint, Some(Split::Validation), settings, device, job)?;
            }
            evaluate(run, checkpoint, Some(split), settings, device, job).map(Some)
        }
        Err(_) => {
            job.warn(
                "the dataset has neither a test nor a validation split, so nothing was evaluated",
            );
            Ok(None)
        }
    }
}

fn open(request: &TrainRequest<'_>, device: &Device, job: Job<'_>) -> Result<Run> {
    let folder_error =
        |reason: &str| RunError::Folder { path: request.run.to_path_buf(), reason: reason.into() };
    if Run::is_run(request.run) {
        if !request.resume {
            return Err(
                folder_error("already holds a run; resume it, or choose another folder").into()
            );
        }
        let mut run = Run::claim(request.run)?;
        run.dataset().verify_content(None, job)?;
        if let Some(settings) = &request.settings {
            if !agree(settings, run.settings(), run.dataset().split(Split::Train).len()) {
                return Err(folder_error("was made with other settings; resume without settings, or choose another folder").into());
            }
            if settings.stage1.accumulation != run.settings().stage1.accumulation {
                run.compute_in_parts(settings.stage1.accumulation)?;
            }
        }
        if let Some(source) = request.dataset {
            let is_same = match Dataset::is_file(source) {
                true => is_of(&run, source, job)?,
                false => run.is_made_of(source),
            };
            if !is_same {
                return Err(folder_error(
                    "was made with another dataset; resume without one, or choose another folder",
                )
                .into());
            }
        }
        if let Some(words) = run.edited_since() {
            job.warn(words);
        }
        return Ok(run);
    }
    let Some(source) = request.dataset else {
        return Err(folder_error("holds no run, and no dataset was given to make one from").into());
    };
    let dataset = Dataset::open_with(source, &request.scan, &request.build, job)?;
    let settings = request.settings.clone().unwrap_or_else(|| Settings::preset(Preset::Auto));
    new_run(request.run, settings, dataset, device, job)
}

/// Whether a run was made of this dataset file, whatever edits there were then and are now.
fn is_of(run: &Run, source: &Path, job: Job<'_>) -> Result<bool> {
    let dataset = Dataset::load(source)?;
    let origin = run.origin();
    Ok(dataset.same_samples(run.dataset())
        || edited(dataset, source, None, job)?.same_samples(run.dataset())
        // What it was made of with edits that have changed since cannot be made again.
        || (origin.is_edited_since() && std::path::absolute(source).is_ok_and(|path| path == origin.path)))
}

/// Makes a run of a dataset, with every `auto` of the settings decided on it; see [`choose`]. What
/// was chosen is kept as the result [`CHOICES`].
///
/// # Errors
/// Pretrained weights that are needed and not here; as [`choose`] and [`Run::create`].
pub fn new_run(
    folder: &Path,
    settings: Settings,
    dataset: Dataset,
    device: &Device,
    job: Job<'_>,
) -> Result<Run> {
    let weights = match settings.stage1.train {
        Auto::Value(Training::Scratch) => None,
        _ => tell_of_weights(&settings.model, job)?,
    };
    tell_time_of_many(&settings, &dataset, device, job)?;
    let chosen = choose(&settings, &dataset, device, job)?;
    if chosen.settings.stage1.is_frozen() {
        let idle = settings.without_effect_on_features();
        if !idle.is_empty() {
            job.warn(format!(
                "without effect, since the classifier alone learns: {}",
                idle.join(", ")
            ));
        }
    }
    let run = Run::create(folder, chosen.settings.clone(), dataset)?;
    if let Some(facts) =
        weights.filter(|_| run.settings().stage1.train != Auto::Value(Training::Scratch))
    {
        run.write_result(WEIGHTS, &facts)?;
    }
    if !run.settings().stage1.is_frozen() {
        let expected = match chosen.estimate {
            Some(estimate) => Ok(estimate),
            None => estimate(run.settings(), run.dataset(), device, job),
        };
        let how = if run.settings().stage1.is_fine_tuning() {
            "of the whole network"
        } else {
            "from scratch"
        };
        match expected {
            Ok(expected) => job.info(format!(
                "{} steps {how} will take {} here",
                expected.steps,
                expected.words()
            )),
            // Training itself says what to do about it.
            Err(Error::Device { reason, .. }) => {
                job.info(format!("how long training {how} takes could not be measured: {reason}"))
            }
            Err(error) => return Err(error),
        }
    }
    if !chosen.choices.is_empty() {
        run.write_result(CHOICES, &chosen)?;
    }
    Ok(run)
}

/// Says how long features of many images and the classifier on them will take, before they are
/// computed. For a folder that takes seconds it would be measured as long.
fn tell_time_of_many(
    settings: &Settings,
    dataset: &Dataset,
    device: &Device,
    job: Job<'_>,
) -> Result<()> {
    let images = dataset.samples.len();
    if images < MANY_IMAGES
        || matches!(settings.stage1.train, Auto::Value(train) if train != Training::Classifier)
    {
        return Ok(());
    }
    let expected = match estimate(settings, dataset, device, job) {
        // What computes features says what to do about it.
        Err(Error::Device { .. }) => return Ok(()),
        expected => expected?,
    };
    let then = match expected.balancing_words() {
        Some(words) => format!(", and looking for the best balance {words} more"),
        None => String::new(),
    };
    job.info(format!(
        "what the pretrained network sees in {images} images, and a classifier on that, will take {} here{then}",
        expected.words()
    ));
    Ok(())
}

/// Images from which on it is said how long their features take.
const MANY_IMAGES: usize = 5_000;

/// The result that holds what is known of the weights a run began from, as [`Facts`]: others may
/// have taken their place on this machine by the time that the run is exported.
pub const WEIGHTS: &str = "weights";

/// The result that holds what was chosen in place of the person; see [`Chosen`](super::Chosen).
pub const CHOICES: &str = "choices";

/// Whether a run's settings are what these were, or came to be when the run was made: `auto` agrees
/// with whatever was chosen.
pub(super) fn agree(asked: &Settings, known: &Settings, training: usize) -> bool {
    let mut asked = asked.clone();
    // Earlier versions tuned where balancers were named as well; training knows nothing of it.
    if asked.balance.tune_candidates == 0 {
        asked.balance.tune_candidates = known.balance.tune_candidates;
    }
    if asked.stage1.train == Auto::AUTO {
        // All else may follow from the choice, but what a person has set.
        let usual = Settings::preset(asked.preset);
        settle(&mut asked.model, &known.model);
        asked.stage1.accumulation = known.stage1.accumulation;
        // Training from scratch takes its own backbone, and little else of what was set for another.
        let is_scratch = known.stage1.train == Auto::Value(Training::Scratch);
        let is_kept = |key: &str| {
            let own = asked.text(key);
            (is_scratch && key != "model.fit")
                || own.as_deref() == Some("auto")
                || own == usual.text(key)
                || own == known.text(key)
        };
        return asked.preset == known.preset
            && asked.seed == known.seed
            && asked.evaluation == known.evaluation
            && INFO.iter().all(|info| is_kept(info.key));
    }
    if asked.model.fit == Auto::AUTO {
        asked.model.fit = known.model.fit;
    }
    if asked.augmentation.flip == Auto::AUTO {
        asked.augmentation.flip = known.augmentation.flip;
    }
    if asked.stage1.weight_decay == Auto::AUTO {
        asked.stage1.weight_decay = known.stage1.weight_decay;
    }
    // The preset of earlier versions spent its last epoch at a rate of 0.
    if asked.preset == Preset::FineTune
        && asked.stage1.schedule == Schedule::CosineNonzero
        && known.stage1.schedule == Schedule::Cosine
    {
        asked.stage1.schedule = Schedule::Cosine;
    }
    asked.stage1.accumulation = known.stage1.accumulation;
    settle(&mut asked.model, &known.model);
    asked.for_samples(training) == *known
}

/// What a file has said where these settings left it open; a run's settings hold it.
fn settle(asked: &mut ModelSettings, known: &ModelSettings) {
    if asked.backbone.file().is_none() {
        return;
    }
    if asked.normalisation == Normalisation::PRETRAINED {
        asked.normalisation = known.normalisation;
    }
    if asked.input_size == Auto::AUTO {
        asked.input_size = known.input_size;
    }
    if asked.output.is_empty() {
        asked.output.clone_from(&known.output);
    }
    if asked.tokens == Tokens::Auto {
        asked.tokens = known.tokens;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::settings::ImageFit;

    #[test]
    fn a_run_goes_on_with_the_images_as_it_saw_them() {
        let of = |preset, fit| {
            let mut settings = Settings::preset(preset);
            settings.model.fit = fit;
            settings
        };
        let [crop, stretch] = ImageFit::ALL.map(Auto::Value);
        for preset in [Preset::Auto, Preset::Quick] {
            for known in [crop, stretch] {
                let mut known = of(preset, known);
                if preset == Preset::Auto {
                    // As `auto` had it where training was the better.
                    known.stage1.train = Auto::Value(Training::Scratch);
                }
                let known = known.for_samples(100);
                assert!(agree(&of(preset, Auto::AUTO), &known, 100), "{preset}");
                for asked in [crop, stretch] {
                    let same = asked == known.model.fit;
                    assert_eq!(agree(&of(preset, asked), &known, 100), same, "{preset}");
                }
            }
        }
    }
}
