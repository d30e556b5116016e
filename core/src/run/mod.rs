//! The run folder: settings, dataset, log, checkpoints and results of one training.
//!
//! ```text
//! settings.toml          every setting, reloadable
//! dataset.toml           which images, with which labels and splits
//! metrics.jsonl, .csv    one line an epoch, both stages
//! norms.csv              class weight norms, one line an epoch
//! checkpoints/           last, best (on validation) and balanced, as .safetensors
//! features/              features computed once, remade when missing
//! results/               evaluations, as JSON
//! backbone.onnx          the feature extractor, where the settings name a file
//! ```
//!
//! A sweep is a folder with several of them and `sweep.json`, which names the setting they differ
//! in.

mod backbone;
mod checkpoint;
mod judged;
mod log;
mod manage;
mod norms;
mod summary;
mod sweep;

use std::fs::File;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};

use serde::Serialize;
use serde::de::DeserializeOwned;

pub use checkpoint::{Best, Checkpoint, StageProgress};
pub use manage::{Place, delete, rename};
pub use norms::NormsRecord;
pub use summary::{EvaluationBrief, RunState, RunSummary, list, summary};
pub use sweep::{Sweep, SweepReport};

use crate::dataset::{Dataset, Origin};
use crate::error::{Result, RunError};
use crate::files::{self, LockedFile, is_temporary, write_atomically};
use crate::job::Job;
use crate::record::EpochRecord;
use crate::settings::Settings;
use crate::source::Split;

const SETTINGS: &str = "settings.toml";
const DATASET: &str = "dataset.toml";
const BACKBONE: &str = "backbone.onnx";
const METRICS: &str = "metrics.jsonl";
const METRICS_CSV: &str = "metrics.csv";
const NORMS: &str = "norms.csv";
const LOCK: &str = ".lock";
/// The most bytes that a run's logs and results may have, each.
const LARGEST_LOG: u64 = 1 << 30;
const LOG: &str = "log.txt";
/// What a log that has grown too large is called.
const OLD_LOG: &str = "log.1.txt";
const CHECKPOINTS: &str = "checkpoints";
const FEATURES: &str = "features";
const RESULTS: &str = "results";
/// The result that says what the dataset was opened from.
const ORIGIN: &str = "origin";
/// Results of more bytes than this are written without spaces: about a thousand classes of them.
const READABLE: usize = 1 << 18;

/// A run folder.
#[derive(Debug)]
pub struct Run {
    folder: PathBuf,
    settings: Settings,
    dataset: Dataset,
    history: Vec<EpochRecord>,
    /// Lines of the log that this version cannot read.
    unread: Vec<String>,
    /// Whether `metrics.csv` lacks epochs, since another program kept it from being written.
    table_is_behind: bool,
    /// The lock from when the run was made or claimed, for the first who asks for it.
    claim: Mutex<Option<RunLock>>,
}

/// The log target of the record that a run is worked on from here, whose field `folder` is the
/// run's. A program may write its log beside the run then, to the file that [`log_file`] names.
pub const LOG_TARGET: &str = "counterweight::run";

/// The result of a run that says what classifiers are worth on images that are held out in turn.
pub(crate) const IN_TURN: &str = "held-out-in-turn";

/// The file of a run's folder that a log belongs into.
pub fn log_file(folder: &Path) -> PathBuf {
    folder.join(LOG)
}

/// Held while a job changes a run, so that two programs cannot train into one folder.
#[derive(Debug)]
pub struct RunLock {
    _file: LockedFile,
}

impl Drop for RunLock {
    fn drop(&mut self) {
        tracing::info!(target: LOG_TARGET, "no longer working on this run");
    }
}

impl Run {
    /// Makes a run folder with its settings, where the number of training samples says what `auto`
    /// stands for, and its dataset. The folder may exist if it is empty. Where the settings name an
    /// ONNX file, the run gets a copy of it and its settings what the file says. The run is locked
    /// until the first lock that is asked of it is given back, or until it is dropped.
    ///
    /// # Errors
    /// [`RunError::Folder`] if something is there already, [`RunError::File`] if a file cannot be
    /// written, [`crate::error::ModelError::File`] if features cannot be taken of the ONNX file.
    pub fn create(folder: &Path, settings: Settings, dataset: Dataset) -> Result<Self> {
        // Before anything is written there. It is looked at again once nobody else can change it.
        Self::refuse_taken(folder, &dataset)?;
        let mut settings = settings.for_samples(dataset.split(Split::Train).len());
        let backbone = backbone::settle(&mut settings)?;
        std::fs::create_dir_all(folder).map_err(|e| RunError::file(folder, e))?;
        let claim = lock(folder)?;
        Self::refuse_taken(folder, &dataset)?;
        // The settings come last: a folder with settings is a whole run, so what cannot be opened
        // again must fail before them.
        dataset.save(&folder.join(DATASET))?;
        Dataset::load(&folder.join(DATASET))?;
        if let Some(file) = backbone {
            backbone::keep(&file, &folder.join(BACKBONE))?;
        }
        if let Some(origin) = &dataset.provenance.origin {
            write_result(folder, ORIGIN, origin)?;
        }
        write_settings(folder, &settings)?;
        Ok(Self { claim: Mutex::new(Some(claim)), ..Self::open(folder)? })
    }

    /// Refuses a folder in which a run of this dataset cannot be made.
    fn refuse_taken(folder: &Path, dataset: &Dataset) -> Result<()> {
        const TAKEN: &str = "already holds a run; resume it, or choose another folder";
        let taken =
            |reason: &str| RunError::Folder { path: folder.to_path_buf(), reason: reason.into() };
        if Self::is_run(folder) {
            return Err(taken(TAKEN).into());
        }
        match std::fs::read_dir(folder) {
            // A run that was killed while it was being made has left its dataset and nothing of
            // worth.
            Ok(entries) => {
                let ours = |name: &std::ffi::OsStr| {
                    name == DATASET
                        || name == BACKBONE
                        || name == LOCK
                        || is_temporary(name)
                        || files::is_clutter(name)
                };
                let is_of_a_beginning = |entry: &std::fs::DirEntry| {
                    ours(&entry.file_name())
                        || (entry.file_name() == RESULTS && holds_origin_alone(&entry.path()))
                };
                if entries.flatten().any(|entry| !is_of_a_beginning(&entry)) {
                    // Another program may have made one since it was looked for above.
                    return Err(match Self::is_run(folder) {
                        true => taken(TAKEN),
                        false => taken("is not empty and holds no run; choose another folder"),
                    }
                    .into());
                }
                let dataset_file = folder.join(DATASET);
                if dataset_file.exists()
                    && Dataset::load(&dataset_file).is_ok_and(|found| !found.same_samples(dataset))
                {
                    return Err(
                        taken("holds the file of another dataset; choose another folder").into()
                    );
                }
            }
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => {}
            Err(error) => return Err(RunError::file(folder, error).into()),
        }
        Ok(())
    }

    /// Opens a run folder to work on it: it is locked before anything of it is read, as by
    /// [`Run::create`], so that nothing that was read is out of date.
    ///
    /// # Errors
    /// As [`Run::open`], and [`RunError::Folder`] if another program holds it.
    pub fn claim(folder: &Path) -> Result<Self> {
        // Nothing is written into a folder that is no run.
        if !Self::is_run(folder) {
            return Self::open(folder);
        }
        let claim = lock(folder)?;
        Ok(Self { claim: Mutex::new(Some(claim)), ..Self::open(folder)? })
    }

    /// Opens a run folder.
    ///
    /// # Errors
    /// [`RunError::Folder`] if it is not a run; the settings' and the dataset's own errors.
    pub fn open(folder: &Path) -> Result<Self> {
        if !Self::is_run(folder) {
            let reason = match folder.metadata() {
                Ok(facts) if facts.is_dir() => "holds no run (there is no settings.toml)",
                Ok(_) => {
                    "is a file, and not the folder of a run; `make` puts that beside the model, under its name with -run behind it"
                }
                Err(_) => "there is no such run folder",
            };
            return Err(
                RunError::Folder { path: folder.to_path_buf(), reason: reason.into() }.into()
            );
        }
        let settings = Settings::load(&folder.join(SETTINGS))?;
        let dataset = Dataset::load(&folder.join(DATASET))?;
        let (history, unread) = log::read_history(&folder.join(METRICS))?;
        let folder = folder.to_path_buf();
        let claim = Mutex::new(None);
        Ok(Self { folder, settings, dataset, history, unread, table_is_behind: false, claim })
    }

    /// Whether the folder holds a run.
    pub fn is_run(folder: &Path) -> bool {
        folder.join(SETTINGS).is_file()
    }

    /// Takes the run for writing until the lock is dropped.
    ///
    /// # Errors
    /// [`RunError::Folder`] if another program holds it.
    pub fn lock(&self) -> Result<RunLock> {
        let claim = self.claim.lock().unwrap_or_else(PoisonError::into_inner).take();
        let lock = match claim {
            Some(claim) => claim,
            None => lock(&self.folder)?,
        };
        tracing::info!(target: LOG_TARGET, folder = %self.folder.display(), "working on this run");
        Ok(lock)
    }

    /// The run's folder.
    pub fn folder(&self) -> &Path {
        &self.folder
    }

    /// The settings the run was made with.
    pub fn settings(&self) -> &Settings {
        &self.settings
    }

    /// Has batches of stage 1 computed in this many parts from here on. It is the one setting of a
    /// run that can be changed, since it is about the device and not about what is learned.
    ///
    /// # Errors
    /// A number of parts that the batch size does not allow; [`RunError`] if another program works
    /// on the run or the file cannot be written.
    pub fn compute_in_parts(&mut self, parts: usize) -> Result<()> {
        let mut settings = self.settings.clone();
        settings.stage1.accumulation = parts;
        settings.validate()?;
        let lock = self.lock()?;
        self.replace_settings(settings)?;
        // What was claimed stays so.
        self.claim = Mutex::new(Some(lock));
        Ok(())
    }

    /// Puts other settings in the place of the run's, for who holds its lock.
    pub(crate) fn replace_settings(&mut self, settings: Settings) -> Result<()> {
        write_settings(&self.folder, &settings)?;
        self.settings = settings;
        Ok(())
    }

    /// The dataset the run was made with.
    pub fn dataset(&self) -> &Dataset {
        &self.dataset
    }

    /// What the run's dataset was opened from. Of runs of earlier versions only the folder of the
    /// images is known, which is what most were opened from.
    pub fn origin(&self) -> Origin {
        self.read_result(ORIGIN)
            .unwrap_or_else(|_| Origin { path: self.dataset.root.clone(), edits: String::new() })
    }

    /// Whether the run's images come from there: a folder, an archive, an image list or a dataset
    /// file.
    pub fn is_made_of(&self, source: &Path) -> bool {
        let source = files::real(source);
        [&self.origin().path, &self.dataset.root].iter().any(|path| files::real(path) == source)
    }

    /// A sentence for a run whose dataset was edited after the run was made; nothing otherwise.
    pub fn edited_since(&self) -> Option<String> {
        let origin = self.origin();
        origin.is_edited_since().then(|| {
            format!(
                "{} has been edited since this run's images were taken from it, which stay as they were; a run that is made of it anew takes the edits",
                origin.path.display()
            )
        })
    }

    /// Every finished epoch, stage 1 first. Norms are in `norms.csv`, not here.
    pub fn history(&self) -> &[EpochRecord] {
        &self.history
    }

    /// The run's copy of the ONNX file that its features come out of, if they do.
    pub fn backbone_file(&self) -> Option<PathBuf> {
        self.settings.model.backbone.file().map(|_| self.folder.join(BACKBONE))
    }

    /// The file of the checkpoint of that name: `last`, `best` or `balanced`.
    pub fn checkpoint_path(&self, name: &str) -> PathBuf {
        self.folder.join(CHECKPOINTS).join(format!("{name}.safetensors"))
    }

    /// The names of the checkpoints there are.
    pub fn checkpoints(&self) -> Vec<String> {
        let Ok(entries) = std::fs::read_dir(self.folder.join(CHECKPOINTS)) else {
            return Vec::new();
        };
        let mut names: Vec<String> = entries
            .flatten()
            .filter_map(|entry| {
                Some(entry.file_name().to_str()?.strip_suffix(".safetensors")?.to_string())
            })
            .filter(|name| !name.starts_with('.'))
            .collect();
        names.sort();
        names
    }

    /// Reads a checkpoint of this run.
    ///
    /// # Errors
    /// [`RunError::Folder`] naming those there are, if this one is missing; [`RunError::File`] if
    /// it is damaged.
    pub fn checkpoint(&self, name: &str) -> Result<Checkpoint> {
        let names = self.checkpoints();
        if !names.iter().any(|n| n == name) {
            let reason = match names.is_empty() {
                true => "has no checkpoint yet; train it first".to_string(),
                false => format!("has no checkpoint `{name}`; there is {}", names.join(", ")),
            };
            return Err(
                RunError::Folder { path: self.folder.clone(), reason: reason.into() }.into()
            );
        }
        let checkpoint = Checkpoint::load(&self.checkpoint_path(name))?;
        self.refuse_other_classes(&checkpoint)?;
        Ok(checkpoint)
    }

    /// A checkpoint whose classes are not the dataset's would call everything by a wrong name.
    fn refuse_other_classes(&self, checkpoint: &Checkpoint) -> Result<()> {
        let own = &self.dataset.classes;
        let reason = match own.iter().zip(&checkpoint.classes).find(|(own, other)| own != other) {
            Some((own, other)) => format!("its class `{other}` is `{own}` in the run's {DATASET}"),
            None if own.len() != checkpoint.classes.len() => format!(
                "it has {} classes and the run's {DATASET} {}",
                checkpoint.classes.len(),
                own.len()
            ),
            None => return Ok(()),
        };
        let path = checkpoint.source.clone();
        Err(RunError::Mismatch { path, reason: reason.into() }.into())
    }

    /// The name of stage 1's result: `best` where validation chose one, otherwise `last`.
    pub fn stage1_checkpoint(&self) -> &'static str {
        if self.checkpoint_path("best").is_file() { "best" } else { "last" }
    }

    /// The name of the run's result: `balanced` after balancing, otherwise stage 1's.
    pub fn final_checkpoint(&self) -> &'static str {
        if self.checkpoint_path("balanced").is_file() {
            "balanced"
        } else {
            self.stage1_checkpoint()
        }
    }

    /// Removes the balanced checkpoint and its results, which another is about to replace; with
    /// `tuning` also what was tuned, since stage 1 is about to give other features.
    ///
    /// # Errors
    /// [`RunError::File`].
    pub fn forget_balancing(&self, tuning: bool) -> Result<()> {
        let mut stale = vec![self.checkpoint_path("balanced")];
        if let Ok(entries) = std::fs::read_dir(self.folder.join(RESULTS)) {
            let of_balancing = |name: &str| {
                let of_tuning = name.starts_with("tune") || name.starts_with(IN_TURN);
                name.starts_with("balance") || (tuning && of_tuning)
            };
            stale.extend(
                entries
                    .flatten()
                    .filter(|e| e.file_name().to_str().is_some_and(of_balancing))
                    .map(|e| e.path()),
            );
        }
        for path in stale {
            match std::fs::remove_file(&path) {
                Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
                    return Err(RunError::file(&path, error).into());
                }
                _ => {}
            }
        }
        Ok(())
    }

    /// Writes a result as JSON under `results/`: in lines that people can read, or without any
    /// spaces where it is too large to be read.
    ///
    /// # Errors
    /// [`RunError::File`].
    pub fn write_result(&self, name: &str, result: &impl Serialize) -> Result<PathBuf> {
        write_result(&self.folder, name, result)
    }

    /// [`Run::write_result`] of what is worth having even where it cannot be kept: then that is
    /// said, and what was computed goes on to whoever asked for it.
    pub(crate) fn keep_result(&self, name: &str, result: &impl Serialize, job: Job<'_>) {
        if let Err(error) = self.write_result(name, result) {
            job.warn(format!("the result could not be kept in the run: {error}"));
        }
    }

    /// Reads a result written by [`Run::write_result`].
    ///
    /// # Errors
    /// [`RunError::File`] if it is missing or damaged.
    pub fn read_result<T: DeserializeOwned>(&self, name: &str) -> Result<T> {
        let path = self.folder.join(RESULTS).join(format!("{name}.json"));
        let text = files::read_text(&path, LARGEST_LOG).map_err(|e| RunError::file(&path, e))?;
        Ok(serde_json::from_str(&text).map_err(|e| RunError::file(&path, e))?)
    }
}

fn write_result(folder: &Path, name: &str, result: &impl Serialize) -> Result<PathBuf> {
    let path = folder.join(RESULTS).join(format!("{name}.json"));
    let mut text = serde_json::to_vec(result).map_err(|e| RunError::file(&path, e))?;
    if text.len() <= READABLE {
        text = serde_json::to_vec_pretty(result).map_err(|e| RunError::file(&path, e))?;
    }
    write_atomically(&path, |out| out.write_all(&text)).map_err(|e| RunError::file(&path, e))?;
    Ok(path)
}

/// Whether a folder of results has nothing in it but what the dataset was opened from, which is
/// written before there is a run.
fn holds_origin_alone(results: &Path) -> bool {
    let is_origin = |entry: std::fs::DirEntry| {
        let name = entry.file_name();
        is_temporary(&name) || files::is_clutter(&name) || name == format!("{ORIGIN}.json").as_str()
    };
    std::fs::read_dir(results).is_ok_and(|entries| entries.flatten().all(is_origin))
}

fn write_settings(folder: &Path, settings: &Settings) -> Result<()> {
    let path = folder.join(SETTINGS);
    Ok(write_atomically(&path, |out| out.write_all(settings.to_file().as_bytes()))
        .map_err(|e| RunError::file(&path, e))?)
}

/// Takes the run in `folder`, which may be damaged.
fn lock(folder: &Path) -> Result<RunLock> {
    refuse_links(folder)?;
    let path = folder.join(LOCK);
    loop {
        // What is in it is of no use to us, and may be of use to somebody.
        let file = File::options().create(true).write(true).truncate(false).open(&path);
        let file = file.map_err(|e| RunError::file(&path, e))?;
        match file.try_lock() {
            // Whoever deletes a run takes this file away at last: it is not the one that others
            // see then.
            Ok(()) if !is_at(&file, &path) => {}
            Ok(()) => {
                remove_leftovers(folder);
                return Ok(RunLock { _file: LockedFile(file) });
            }
            Err(std::fs::TryLockError::WouldBlock) => {
                let reason = "another program is working on this run".into();
                return Err(RunError::Folder { path: folder.to_path_buf(), reason }.into());
            }
            // Some network file systems have no locks; training there is still better than not
            // training.
            Err(std::fs::TryLockError::Error(error)) => {
                tracing::warn!(
                    "{}: cannot be locked ({error}); do not let two programs work on this run",
                    path.display()
                );
                return Ok(RunLock { _file: LockedFile(file) });
            }
        }
    }
}

/// Whether the file is the one that the path names.
fn is_at(file: &File, path: &Path) -> bool {
    #[cfg(unix)]
    {
        use std::os::unix::fs::MetadataExt;
        let place = |facts: std::fs::Metadata| (facts.dev(), facts.ino());
        file.metadata().map(place).ok() == path.metadata().map(place).ok()
    }
    // Elsewhere an open file keeps its name.
    #[cfg(not(unix))]
    {
        let _ = (file, path);
        true
    }
}

/// Refuses a folder in which the name of something that is written is a link: it may have been sent
/// by somebody, and we would write elsewhere.
fn refuse_links(folder: &Path) -> Result<()> {
    for name in
        [LOCK, SETTINGS, DATASET, METRICS, METRICS_CSV, NORMS, LOG, CHECKPOINTS, RESULTS, FEATURES]
    {
        let path = folder.join(name);
        let Ok(facts) = path.symlink_metadata() else { continue };
        let reason = match () {
            () if facts.is_symlink() => {
                "is a link; nothing is written through links in a run's folder"
            }
            () if facts.is_file() || facts.is_dir() => continue,
            () => "is neither a file nor a folder",
        };
        return Err(RunError::file(&path, reason).into());
    }
    Ok(())
}

/// Removes what a killed program had not finished writing. Only the holder of the lock may.
fn remove_leftovers(folder: &Path) {
    for part in ["", CHECKPOINTS, FEATURES, RESULTS] {
        match part {
            // A person may have something written there that has nothing to do with the run.
            "" => files::sweep(folder),
            part => files::sweep_own(&folder.join(part)),
        }
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;
    use crate::dataset::DatasetSample;
    use crate::settings::Preset;
    use crate::source::{Location, SourceKind, Split};

    /// A run that nothing was done in yet.
    pub fn new_run(folder: &Path) -> Run {
        Run::create(folder, Settings::preset(Preset::Quick), dataset()).unwrap()
    }

    fn dataset() -> Dataset {
        let sample = |name: &str, class| DatasetSample {
            location: Location::File(name.into()),
            class,
            split: Split::Train,
            group: None,
        };
        Dataset {
            root: std::env::temp_dir(),
            kind: SourceKind::Folder,
            classes: vec!["a,b".into(), "line\nbreak".into()],
            samples: vec![sample("0.png", 0), sample("1.png", 1)],
            provenance: Default::default(),
        }
    }

    pub fn record(stage: u8, epoch: usize) -> EpochRecord {
        EpochRecord {
            stage,
            epoch,
            epochs: 3,
            learning_rate: 0.1,
            train_loss: 1.5,
            train_accuracy: 0.5,
            validation_loss: None,
            validation_top1: None,
            validation_balanced: Some(0.25),
            validation_many: None,
            validation_medium: None,
            validation_few: None,
            norms: vec![epoch as f32, 2.5],
            images_per_s: 10.0,
            seconds: 1.0,
        }
    }

    #[cfg(unix)]
    #[test]
    fn nothing_is_written_through_links_that_a_folder_came_with() {
        use std::os::unix::fs::symlink;

        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("run");
        drop(new_run(&path));
        let (precious, others) = (folder.path().join("precious"), folder.path().join("others"));
        std::fs::write(&precious, "years of work").unwrap();
        std::fs::create_dir(&others).unwrap();
        for (name, target) in
            [(LOCK, &precious), (METRICS, &precious), (LOG, &precious), (CHECKPOINTS, &others)]
        {
            let link = path.join(name);
            let kept = folder.path().join("kept");
            if link.exists() {
                std::fs::rename(&link, &kept).unwrap();
            }
            symlink(target, &link).unwrap();
            let error = lock(&path).unwrap_err().to_string();
            assert!(error.contains(name) && error.contains("is a link"), "{error}");
            std::fs::remove_file(&link).unwrap();
            if kept.exists() {
                std::fs::rename(&kept, &link).unwrap();
            }
        }
        assert_eq!(std::fs::read_to_string(&precious).unwrap(), "years of work");
        assert_eq!(std::fs::read_dir(&others).unwrap().count(), 0);
        // What is in the file of the lock is left alone, too.
        std::fs::write(path.join(LOCK), "a note").unwrap();
        drop(lock(&path).unwrap());
        assert_eq!(std::fs::read_to_string(path.join(LOCK)).unwrap(), "a note");
    }

    #[test]
    fn folders_in_use_are_refused_and_named() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("run");
        let create = || Run::create(&path, Settings::preset(Preset::Quick), dataset());
        assert!(Run::open(&path).unwrap_err().to_string().contains("no such run"));
        std::fs::create_dir(&path).unwrap();
        std::fs::write(path.join("thesis.doc"), "years of work").unwrap();
        let error = create().unwrap_err().to_string();
        assert!(error.contains("run") && error.contains("not empty"), "{error}");
        std::fs::remove_file(path.join("thesis.doc")).unwrap();
        let run = create().unwrap();
        drop(run.lock().unwrap());
        assert!(create().unwrap_err().to_string().contains("already holds a run"));
        let error = run.checkpoint("best").unwrap_err().to_string();
        assert!(error.contains("train it first"), "{error}");

        let held = run.lock().unwrap();
        assert!(run.lock().unwrap_err().to_string().contains("another program"));
        drop(held);
        std::fs::write(path.join(".counterweight-x.tmp"), "half").unwrap();
        let _held = run.lock().unwrap();
        assert!(!path.join(".counterweight-x.tmp").exists());
    }
}
