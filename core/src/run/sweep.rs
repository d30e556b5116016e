//! Sweeps: folders of runs that differ in one setting.

use std::io::Write;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use super::{Run, delete};
use crate::error::{Result, RunError};
use crate::files::write_atomically;
use crate::job::SweepRecord;

/// The file that makes a folder of runs a sweep.
const SWEEP: &str = "sweep.json";
/// Evaluations that a score is the mean of.
const AVERAGED: usize = 3;

/// A folder of runs that differ in one setting.
#[derive(Debug)]
pub struct Sweep {
    folder: PathBuf,
    plan: Plan,
}

/// What is kept of a sweep besides its runs.
#[derive(Debug, Serialize, Deserialize)]
struct Plan {
    /// The setting, dotted.
    key: String,
    /// Every value and the name of its run's folder.
    members: Vec<Member>,
    /// Whether validation images were held out of the training split, since there were none.
    held_out: bool,
}

#[derive(Debug, Serialize, Deserialize)]
struct Member {
    value: String,
    folder: String,
}

/// A sweep as it stands.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct SweepReport {
    /// Its folder.
    pub folder: PathBuf,
    /// The setting, dotted.
    pub key: String,
    /// Every value, in the order in which they were given.
    pub members: Vec<SweepRecord>,
    /// The place of the best value on validation among those that were trained to their end.
    pub best: Option<usize>,
    /// Whether validation images were held out of the training split, since there were none.
    pub held_out: bool,
}

impl SweepReport {
    /// The best value and its run, once one was trained to its end.
    pub fn best(&self) -> Option<&SweepRecord> {
        self.members.get(self.best?)
    }
}

impl Sweep {
    /// Whether the folder holds a sweep.
    pub fn is_sweep(folder: &Path) -> bool {
        folder.join(SWEEP).is_file()
    }

    /// Has a folder, in which `make` makes a run in the folder it is given for each value, be a sweep. The folder may exist if it is empty.
    ///
    /// # Errors
    /// [`RunError::Folder`] if something is there already, [`RunError::File`] if a file cannot be written, and what `make` fails with.
    pub fn create(folder: &Path, key: &str, values: &[String], held_out: bool, make: impl Fn(&str, &Path) -> Result<()>) -> Result<Self> {
        if std::fs::read_dir(folder).is_ok_and(|mut entries| entries.next().is_some()) {
            let reason = "is not empty and holds no sweep; choose another folder".into();
            return Err(RunError::Folder { path: folder.to_path_buf(), reason }.into());
        }
        let members = values.iter().map(|value| Member { value: value.clone(), folder: folder_name(key, value) });
        let plan = Plan { key: key.to_string(), members: members.collect(), held_out };
        std::fs::create_dir_all(folder).map_err(|error| RunError::file(folder, error))?;
        for member in &plan.members {
            make(&member.value, &folder.join(&member.folder))?;
        }
        // It comes last: a folder with it is a whole sweep.
        let path = folder.join(SWEEP);
        let text = serde_json::to_string_pretty(&plan).expect("a plan holds only text");
        write_atomically(&path, |out| out.write_all(text.as_bytes())).map_err(|error| RunError::file(&path, error))?;
        Ok(Self { folder: folder.to_path_buf(), plan })
    }

    /// Opens the sweep in a folder.
    ///
    /// # Errors
    /// [`RunError`] if the folder holds none or a damaged one.
    pub fn open(folder: &Path) -> Result<Self> {
        let path = folder.join(SWEEP);
        let wrong = |reason: String| RunError::Folder { path: path.clone(), reason: format!("is damaged: {reason}") };
        let text = std::fs::read_to_string(&path).map_err(|error| RunError::file(&path, error))?;
        let plan: Plan = serde_json::from_str(&text).map_err(|error| wrong(error.to_string()))?;
        match plan.members.iter().find(|member| member.folder != folder_name(&plan.key, &member.value)) {
            Some(member) => Err(wrong(format!("`{}` is not the run of `{}`", member.folder, member.value)).into()),
            None if plan.members.is_empty() => Err(wrong("it has no runs".into()).into()),
            None => Ok(Self { folder: folder.to_path_buf(), plan }),
        }
    }

    /// The setting, dotted.
    pub fn key(&self) -> &str {
        &self.plan.key
    }

    /// Every value, in the order in which they were given.
    pub fn values(&self) -> Vec<&str> {
        self.plan.members.iter().map(|member| member.value.as_str()).collect()
    }

    /// The run of the value at this place.
    ///
    /// # Errors
    /// As [`Run::open`].
    pub fn run(&self, index: usize) -> Result<Run> {
        Run::open(&self.member_folder(index))
    }

    fn member_folder(&self, index: usize) -> PathBuf {
        self.folder.join(&self.plan.members[index].folder)
    }

    /// How far the run of the value at this place is.
    ///
    /// # Errors
    /// As [`Run::open`].
    pub fn record(&self, index: usize) -> Result<SweepRecord> {
        let run = self.run(index)?;
        let history = run.history().iter().filter(|record| record.stage == 1);
        let evaluated = history.clone().rfind(|record| record.validation_balanced.is_some());
        let norms = run.norms_history()?.into_iter().rfind(|record| record.stage == 1).map(|record| record.norms);
        let scores: Vec<f64> = history.clone().rev().filter_map(|record| record.validation_balanced).take(AVERAGED).collect();
        Ok(SweepRecord {
            value: self.plan.members[index].value.clone(),
            run: self.member_folder(index),
            finished_epochs: history.map(|record| record.epoch).max().unwrap_or(0),
            epochs: run.settings().stage1.epochs(),
            score: (!scores.is_empty()).then(|| scores.iter().sum::<f64>() / scores.len() as f64),
            many: evaluated.and_then(|record| record.validation_many),
            medium: evaluated.and_then(|record| record.validation_medium),
            few: evaluated.and_then(|record| record.validation_few),
            norms: norms.filter(|norms| !norms.is_empty()).map(|norms| {
                let [min, max] = [f32::min, f32::max].map(|choose| norms.iter().copied().reduce(choose).unwrap_or_default());
                [min, norms.iter().sum::<f32>() / norms.len() as f32, max]
            }),
        })
    }

    /// How all of it stands.
    ///
    /// # Errors
    /// As [`Run::open`] for any of its runs.
    pub fn report(&self) -> Result<SweepReport> {
        let members = (0..self.plan.members.len()).map(|index| self.record(index)).collect::<Result<Vec<_>>>()?;
        let finished = |index: &usize| members[*index].score.filter(|_| members[*index].is_finished());
        // Of equal ones the first.
        let best = (0..members.len())
            .rev()
            .filter(|index| finished(index).is_some())
            .max_by(|a, b| finished(a).partial_cmp(&finished(b)).unwrap());
        Ok(SweepReport { folder: self.folder.clone(), key: self.plan.key.clone(), best, held_out: self.plan.held_out, members })
    }

    /// Every sweep directly in the folder `parent`, by name.
    pub fn list(parent: &Path) -> Vec<PathBuf> {
        let entries = std::fs::read_dir(parent).into_iter().flatten().flatten();
        let mut folders: Vec<PathBuf> = entries.map(|entry| entry.path()).filter(|path| Self::is_sweep(path)).collect();
        folders.sort();
        folders
    }

    /// Deletes a sweep: its runs as [`delete`] does, and what is kept of it besides.
    ///
    /// # Errors
    /// As [`delete`]; what could not be deleted is still there then.
    pub fn delete(self) -> Result<()> {
        for index in 0..self.plan.members.len() {
            let folder = self.member_folder(index);
            if Run::is_run(&folder) {
                delete(&folder)?;
            }
        }
        let path = self.folder.join(SWEEP);
        std::fs::remove_file(&path).map_err(|error| RunError::file(&path, error))?;
        std::fs::remove_dir(&self.folder).map_err(|error| RunError::file(&self.folder, error).into())
    }
}

/// `weight_decay 0.001`; what not every system takes in a name becomes a dash.
fn folder_name(key: &str, value: &str) -> String {
    const LONGEST: usize = 80;
    let leaf = key.rsplit('.').next().unwrap_or(key);
    let plain = |c: char| if c.is_alphanumeric() || ".-+_ ".contains(c) { c } else { '-' };
    format!("{leaf} {value}").chars().map(plain).take(LONGEST).collect()
}
