//! Trying several values of a setting of stage 1, weight decay above all: the paper's first lesson
//! is that it has to be tuned.

use std::path::Path;
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};

use burn::tensor::Device;

use super::auto::{choose, with_validation};
use super::halving::{Rung, best, rungs};
use super::train::{CHOICES, advance, agree, finish};
use crate::dataset::{Dataset, edited};
use crate::error::{Error, Result, RunError, SettingsError, TrainError};
use crate::job::{Event, Job, Silent};
use crate::run::{Run, Sweep, SweepReport};
use crate::settings::{Auto, Settings};
use crate::source::Split;

/// Values of one setting that can be tried.
const MOST_VALUES: usize = 64;
/// The setting that is swept most.
const DECAY: &str = "stage1.weight_decay";
const FIT: &str = "model.fit";
/// Factors of a number that are tried where no values are given.
const FACTORS: [f64; 5] = [0.1, 0.3, 1.0, 3.0, 10.0];

/// What to try, and where.
#[derive(Clone, Debug)]
pub struct SweepRequest<'a> {
    /// What to train on; needed unless the sweep exists.
    pub dataset: Option<Dataset>,
    /// What that was opened from, if it is to be seen that a sweep that goes on is one on the same
    /// images with the same settings.
    pub source: Option<&'a Path>,
    /// The folder of the sweep, with a run folder for each value in it. A sweep that was
    /// interrupted there goes on.
    pub folder: &'a Path,
    /// The settings that all runs share.
    pub settings: Settings,
    /// The setting, dotted.
    pub key: &'a str,
    /// Its values, as [`Settings::set`] reads them; empty for a tenth of the setting's own value to
    /// ten times as much.
    pub values: Vec<String>,
}

/// Trains a run for each value, the better half of them on after each rung of successive halving,
/// and says which is the best on validation. The runs are ordinary ones: those that came to their
/// end can be balanced and exported, the others resumed. Events of single runs are passed on, and
/// after each training [`Event::Sweep`] says how it stands. With several devices as many runs are
/// trained at a time.
///
/// # Errors
/// A setting that is not one of stage 1, values that do not fit; a folder that holds something
/// else; whatever training meets, but for a loss that diverges: that value is left behind.
/// [`Error::Stopped`], after which the same call goes on.
pub fn sweep(request: &SweepRequest<'_>, devices: &[Device], job: Job<'_>) -> Result<SweepReport> {
    let first = devices
        .first()
        .ok_or_else(|| TrainError::Request("there is no device to train on".into()))?;
    let sweep = open(request, first, job)?;
    let mut reached = 0;
    for rung in rungs_of(&sweep)? {
        climb(&sweep, rung, reached, devices, job)?;
        reached = rung.epochs;
    }
    // Those that came to their end are evaluated as training one alone does.
    for index in 0..sweep.values().len() {
        let mut run = sweep.run(index)?;
        if sweep.record(index)?.is_finished() && run.verdict(run.stage1_checkpoint()).is_none() {
            // Of training, which is done, nothing is to be said.
            finish(&mut run, first, Job::new(job.control, &Silent))?;
        }
    }
    sweep.report()
}

/// The sweep of a request, which may have begun.
fn open(request: &SweepRequest<'_>, device: &Device, job: Job<'_>) -> Result<Sweep> {
    let refuse = |reason: String| RunError::Folder {
        path: request.folder.to_path_buf(),
        reason: reason.into(),
    };
    let values = values(request)?;
    if Sweep::is_sweep(request.folder) {
        let found = Sweep::open(request.folder)?;
        if found.key() != request.key || found.values() != values {
            let holds = format!(
                "holds a sweep of {} = {}; choose another folder",
                found.key(),
                found.values().join(",")
            );
            return Err(refuse(holds).into());
        }
        if let Some(source) = request.source {
            // Without one it is gone on with, whatever it was begun with.
            let run = found.run(0)?;
            let asked = request.settings.with(request.key, &values[0])?;
            let is_same = match Dataset::is_file(source) {
                true => is_on(&run, source, job)?,
                false => run.is_made_of(source),
            };
            let reason = if !is_same {
                "holds a sweep on other images; choose another folder"
            } else if !agree(&asked, run.settings(), run.dataset().split(Split::Train).len()) {
                "holds a sweep with other settings; choose another folder"
            } else {
                ""
            };
            if !reason.is_empty() {
                return Err(refuse(reason.into()).into());
            }
        }
        job.info("going on with the sweep");
        return Ok(found);
    }
    let Some(whole) = &request.dataset else {
        return Err(
            refuse("holds no sweep, and no dataset was given to make one from".into()).into()
        );
    };
    let held_out = whole.split(Split::Validation).is_empty();
    let dataset = with_validation(whole);
    if dataset.split(Split::Validation).is_empty() {
        let reason = "values are compared on validation images, and no class has enough images to hold any out";
        return Err(TrainError::Request(reason.into()).into());
    }
    if held_out {
        job.info("there are no validation images to compare by; every tenth training image of each class, and one of each small class, is held out");
    }
    // What is decided on the data is decided once.
    let mut asked = request.settings.clone();
    if request.key == FIT {
        // What is swept need not be asked.
        asked.model.fit = Auto::Value(asked.model.fit());
    }
    let chosen = choose(&asked, &dataset, device, job)?;
    let settings_of = |value: &str| -> Result<Settings> {
        let settings = chosen.settings.with(request.key, value)?;
        if settings.model.fit == Auto::AUTO {
            let reason = "what of an image is seen can be compared as crop and stretch";
            return Err(TrainError::Request(reason.into()).into());
        }
        settings.validate()?;
        Ok(settings)
    };
    values.iter().try_for_each(|value| settings_of(value).map(drop))?;
    // What `auto` would begin with.
    let usual = (request.key == DECAY).then(|| chosen.settings.stage1.weight_decay().to_string());
    let same =
        |value: &String| settings_of(value).is_ok_and(|settings| settings == chosen.settings);
    let own = values
        .iter()
        .find(|value| same(value))
        .or_else(|| values.iter().find(|value| usual.as_ref() == Some(*value)))
        .cloned();
    Sweep::create(request.folder, request.key, (&values, own), held_out, |value, folder| {
        let run = Run::create(folder, settings_of(value)?, dataset.clone())?;
        if !chosen.choices.is_empty() {
            run.write_result(CHOICES, &chosen)?;
        }
        Ok(())
    })
}

/// Whether a sweep's runs are on the images of a dataset file, whatever edits there were then and are
/// now, with those held out that were.
fn is_on(run: &Run, source: &Path, job: Job<'_>) -> Result<bool> {
    let dataset = Dataset::load(source)?;
    let is_it = |dataset: &Dataset| with_validation(dataset).same_samples(run.dataset());
    Ok(is_it(&dataset)
        || is_it(&edited(dataset, source, None, Job::new(job.control, &Silent))?)
        || (run.origin().is_edited_since() && run.is_made_of(source)))
}

/// All are trained to their own end where that takes seconds, and where epochs are what is swept.
fn rungs_of(sweep: &Sweep) -> Result<Vec<Rung>> {
    let members = sweep.values().len();
    let of_run = |index| {
        sweep
            .run(index)
            .map(|run| (run.settings().stage1.epochs(), run.settings().stage1.is_frozen()))
    };
    let all = (0..members).map(of_run).collect::<Result<Vec<_>>>()?;
    let first = all[0].0;
    Ok(match all.iter().all(|&(epochs, frozen)| epochs == first && !frozen) {
        true => rungs(members, first),
        false => vec![Rung { epochs: usize::MAX, members }],
    })
}

/// Trains those who are among the best so far to the end of a rung, out of those that have `reached`
/// the epoch where the rung before ended: one that diverged on the way, or was left behind before,
/// keeps a score of earlier epochs and is not compared by it.
fn climb(
    sweep: &Sweep,
    rung: Rung,
    reached: usize,
    devices: &[Device],
    job: Job<'_>,
) -> Result<()> {
    let records =
        (0..sweep.values().len()).map(|index| sweep.record(index)).collect::<Result<Vec<_>>>()?;
    let is_there: Vec<bool> =
        records.iter().map(|record| record.finished_epochs >= reached.min(record.epochs)).collect();
    let scores: Vec<Option<f64>> = records
        .iter()
        .zip(&is_there)
        .map(|(record, there)| record.score.filter(|_| *there))
        .collect();
    // In their own order, so that a sweep that goes on does so where it was.
    let mut chosen = best(&scores, rung.members);
    chosen.retain(|&index| is_there[index]);
    chosen.sort_unstable();
    let next = AtomicUsize::new(0);
    let failed = Mutex::new(None);
    // Events of several at once could not be told apart, and those of a training that takes seconds
    // are not looked at.
    let alone = devices.len() == 1 && rung.epochs < usize::MAX;
    let of_run = if alone { job } else { Job::new(job.control, &Silent) };
    let work = |device: &Device| {
        while let Some(&index) = chosen.get(next.fetch_add(1, Ordering::Relaxed)) {
            if let Err(error) = train(sweep, index, rung.epochs, device, job, of_run) {
                next.store(chosen.len(), Ordering::Relaxed);
                failed.lock().unwrap_or_else(|poisoned| poisoned.into_inner()).get_or_insert(error);
                return;
            }
        }
    };
    match devices {
        [device] => work(device),
        _ => std::thread::scope(|scope| {
            let work = &work;
            devices.iter().for_each(|device| drop(scope.spawn(move || work(device))));
        }),
    }
    failed.into_inner().unwrap_or_else(|poisoned| poisoned.into_inner()).map_or(Ok(()), Err)
}

/// Trains one run until so many epochs are finished, and says how it stands then.
fn train(
    sweep: &Sweep,
    index: usize,
    epochs: usize,
    device: &Device,
    job: Job<'_>,
    of_run: Job<'_>,
) -> Result<()> {
    let (before, value) = (sweep.record(index)?, sweep.values()[index]);
    let until = epochs.min(before.epochs);
    if before.finished_epochs >= until {
        return Ok(());
    }
    job.info(format!(
        "{} = {value}: epochs {} to {until} of {}",
        sweep.key(),
        before.finished_epochs + 1,
        before.epochs
    ));
    match advance(&mut sweep.run(index)?, epochs, device, of_run) {
        // That says enough about the value.
        Err(Error::Train(error @ TrainError::Diverged { .. })) => {
            job.warn(format!("{} = {value}: {error}", sweep.key()))
        }
        other => other?,
    }
    job.sink.event(Event::Sweep(sweep.record(index)?));
    Ok(())
}

/// The values of a request, checked for what can be checked without data.
fn values(request: &SweepRequest<'_>) -> Result<Vec<String>> {
    let refuse = |reason: String| {
        Error::from(SettingsError::Value { key: request.key.to_string(), reason: reason.into() })
    };
    // An unknown key, and the nearest that is known.
    let own = request.settings.text(request.key);
    if own.is_none() {
        request.settings.with(request.key, "0")?;
    }
    let section = request.key.split('.').next().unwrap_or_default();
    if !["model", "stage1", "augmentation", "seed"].contains(&section) {
        return Err(refuse(
            "is no setting of stage 1; balancers are tried out by `counterweight tune`".into(),
        ));
    }
    let values = match request.values.is_empty() {
        false => request.values.clone(),
        true => {
            let usual = (request.key == DECAY).then(|| request.settings.stage1.weight_decay());
            let own = usual.or_else(|| own?.parse::<f64>().ok()).filter(|own| *own > 0.0);
            let own =
                own.ok_or_else(|| refuse("needs the values to try: KEY=VALUE,VALUE,…".into()))?;
            FACTORS.map(|factor| rounded(own * factor)).to_vec()
        }
    };
    if values.len() > MOST_VALUES {
        return Err(refuse(format!(
            "has {} values; at most {MOST_VALUES} can be tried at once",
            values.len()
        )));
    }
    for (index, value) in values.iter().enumerate() {
        request.settings.with(request.key, value)?;
        if values[..index].contains(value) {
            return Err(refuse(format!("has the value {value} twice")));
        }
    }
    Ok(values)
}

/// A number in two digits, as short as can be.
fn rounded(value: f64) -> String {
    format!("{value:.1e}").parse::<f64>().unwrap_or(value).to_string()
}

#[cfg(test)]
#[path = "sweep_tests.rs"]
mod tests;
