//! Sweeps: folders of runs that differ in one setting.

use std::collections::HashSet;
use std::ffi::OsStr;
use std::io::Write;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use super::{LOCK, Run, SETTINGS, delete, lock};
use crate::error::{Result, RunError};
use crate::files::{self, is_temporary, write_atomically};
use crate::job::SweepRecord;
use crate::source::Split;

/// The file that makes a folder of runs a sweep.
const SWEEP: &str = "sweep.json";
/// Evaluations that a score is the mean of.
const AVERAGED: usize = 3;
/// Runs of a sweep, at most.
const MOST: usize = 10_000;

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
    /// What it was before, if it was one of the values.
    own: Option<String>,
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
    /// The place of the best value among those that were trained to their end: the highest score,
    /// but the setting's own value where its score is no further off than the standard error.
    pub best: Option<usize>,
    /// Images that values are compared by.
    pub validation_images: usize,
    /// Whether validation images were held out of the training split, since there were none.
    pub held_out: bool,
}

impl SweepReport {
    /// The best value and its run, once one was trained to its end.
    pub fn best(&self) -> Option<&SweepRecord> {
        self.members.get(self.best?)
    }

    /// Whether several values were trained to their end and all have the same score.
    pub fn is_alike(&self) -> bool {
        let scores: Vec<f64> = self
            .members
            .iter()
            .filter(|member| member.is_finished())
            .filter_map(|member| member.score)
            .collect();
        scores.len() > 1 && scores.iter().all(|score| (score - scores[0]).abs() < 1e-9)
    }

    /// Whether another value has a higher score than the best, by less than the standard error.
    pub fn is_tied(&self) -> bool {
        let scores =
            self.members.iter().filter(|member| member.is_finished()).map(|member| member.score);
        self.best().is_some_and(|best| scores.into_iter().any(|score| score > best.score))
    }
}

impl Plan {
    /// Refuses a folder in which somebody has put something. A sweep that was killed while it was
    /// being made has left runs that nothing was done in.
    fn refuse_taken(&self, folder: &Path) -> Result<()> {
        let Ok(entries) = std::fs::read_dir(folder) else { return Ok(()) };
        let untouched = |path: &Path| {
            !path.join(SETTINGS).exists()
                || Run::open(path).is_ok_and(|run| run.checkpoints().is_empty())
        };
        let ours = |name: &OsStr| {
            name == LOCK
                || is_temporary(name)
                || files::is_clutter(name)
                || self.members.iter().any(|member| {
                    name == OsStr::new(&member.folder) && untouched(&folder.join(name))
                })
        };
        let free =
            !Sweep::is_sweep(folder) && entries.flatten().all(|entry| ours(&entry.file_name()));
        if free {
            return Ok(());
        }
        let reason = "is not empty and holds no sweep; choose another folder".into();
        Err(RunError::Folder { path: folder.to_path_buf(), reason }.into())
    }
}

/// Whether two values have one folder.
fn is_repeated(members: &[Member]) -> bool {
    let mut met = HashSet::new();
    !members.iter().all(|member| met.insert(&member.folder))
}

impl Sweep {
    /// Whether the folder holds a sweep.
    pub fn is_sweep(folder: &Path) -> bool {
        folder.join(SWEEP).is_file()
    }

    /// Has a folder, in which `make` makes a run in the folder it is given for each value, be a
    /// sweep. `own` is the value that the setting had before, if it is among them. The folder may
    /// exist if it is empty.
    ///
    /// # Errors
    /// [`RunError::Folder`] if something is there already, [`RunError::File`] if a file cannot be
    /// written, and what `make` fails with.
    pub fn create(
        folder: &Path,
        key: &str,
        (values, own): (&[String], Option<String>),
        held_out: bool,
        make: impl Fn(&str, &Path) -> Result<()>,
    ) -> Result<Self> {
        let members = values
            .iter()
            .map(|value| Member { value: value.clone(), folder: folder_name(key, value) });
        let plan = Plan { key: key.to_string(), own, members: members.collect(), held_out };
        // Before anything is written there. It is looked at again once nobody else can change it.
        plan.refuse_taken(folder)?;
        std::fs::create_dir_all(folder).map_err(|error| RunError::file(folder, error))?;
        let _lock = lock(folder)?;
        plan.refuse_taken(folder)?;
        for member in &plan.members {
            let begun = folder.join(&member.folder);
            if Run::is_run(&begun) {
                delete(&begun)?;
            }
            make(&member.value, &folder.join(&member.folder))?;
        }
        // It comes last: a folder with it is a whole sweep.
        let path = folder.join(SWEEP);
        let text = serde_json::to_string_pretty(&plan).expect("a plan holds only text");
        write_atomically(&path, |out| out.write_all(text.as_bytes()))
            .map_err(|error| RunError::file(&path, error))?;
        Ok(Self { folder: folder.to_path_buf(), plan })
    }

    /// Opens the sweep in a folder.
    ///
    /// # Errors
    /// [`RunError`] if the folder holds none or a damaged one.
    pub fn open(folder: &Path) -> Result<Self> {
        let path = folder.join(SWEEP);
        let wrong = |reason: String| RunError::Folder {
            path: path.clone(),
            reason: format!("is damaged: {reason}").into(),
        };
        let text = files::read_text(&path, files::LARGEST_TEXT)
            .map_err(|error| RunError::file(&path, error))?;
        let plan: Plan = serde_json::from_str(&text).map_err(|error| wrong(error.to_string()))?;
        match plan
            .members
            .iter()
            .find(|member| member.folder != folder_name(&plan.key, &member.value))
        {
            Some(member) => {
                Err(wrong(format!("`{}` is not the run of `{}`", member.folder, member.value))
                    .into())
            }
            None if plan.members.is_empty() => Err(wrong("it has no runs".into()).into()),
            None if plan.members.len() > MOST => {
                Err(wrong(format!("it has more than {MOST} runs")).into())
            }
            None if is_repeated(&plan.members) => Err(wrong("a run is in it twice".into()).into()),
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
        let norms = run
            .norms_history()?
            .into_iter()
            .rfind(|record| record.stage == 1)
            .map(|record| record.norms);
        let scores: Vec<f64> = history
            .clone()
            .rev()
            .filter_map(|record| record.validation_balanced)
            .take(AVERAGED)
            .collect();
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
                let [min, max] = [f32::min, f32::max]
                    .map(|choose| norms.iter().copied().reduce(choose).unwrap_or_default());
                [min, norms.iter().sum::<f32>() / norms.len() as f32, max]
            }),
        })
    }

    /// How all of it stands.
    ///
    /// # Errors
    /// As [`Run::open`] for any of its runs.
    pub fn report(&self) -> Result<SweepReport> {
        let members = (0..self.plan.members.len())
            .map(|index| self.record(index))
            .collect::<Result<Vec<_>>>()?;
        let run = self.run(0)?;
        let validation_images = run.dataset().split(Split::Validation).len();
        let counts = run.dataset().counts(Split::Validation);
        let own = members.iter().position(|member| Some(&member.value) == self.plan.own.as_ref());
        let best = best(&members, own, &counts);
        let Plan { key, held_out, .. } = &self.plan;
        Ok(SweepReport {
            folder: self.folder.clone(),
            key: key.clone(),
            best,
            validation_images,
            held_out: *held_out,
            members,
        })
    }

    /// Every sweep directly in the folder `parent`, by name.
    pub fn list(parent: &Path) -> Vec<PathBuf> {
        let entries = std::fs::read_dir(parent).into_iter().flatten().flatten();
        let mut folders: Vec<PathBuf> =
            entries.map(|entry| entry.path()).filter(|path| Self::is_sweep(path)).collect();
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
        // It is there if the sweep was worked on, and nobody needs it any more.
        drop(std::fs::remove_file(self.folder.join(LOCK)));
        files::remove_empty_folder(&self.folder)
            .map_err(|error| RunError::file(&self.folder, error).into())
    }
}

/// See [`SweepReport::best`], with validation images per class. Of equal ones the first.
fn best(members: &[SweepRecord], own: Option<usize>, counts: &[usize]) -> Option<usize> {
    let score = |index: usize| members[index].score.filter(|_| members[index].is_finished());
    let scored = (0..members.len()).filter_map(|index| Some((index, score(index)?)));
    let (best, highest) = scored.rev().max_by(|a, b| a.1.total_cmp(&b.1))?;
    let error = standard_error(highest, counts);
    Some(
        own.filter(|&own| score(own).is_some_and(|score| score + error >= highest)).unwrap_or(best),
    )
}

/// The standard error of a balanced accuracy of classes with so many images each, every one of them
/// taken to be as accurate as their mean: √(p (1 − p) Σ 1/n_k) / K. A few classes of few images make
/// it larger than that of a share of all images. One more that is right and one more that is wrong
/// are counted with them: that all are right is no certainty.
fn standard_error(accuracy: f64, counts: &[usize]) -> f64 {
    let seen = || counts.iter().filter(|&&count| count > 0);
    let inverse: f64 = seen().map(|&count| 1.0 / count as f64).sum();
    let images = counts.iter().sum::<usize>() as f64;
    let accuracy = (accuracy * images + 1.0) / (images + 2.0);
    (accuracy * (1.0 - accuracy) * inverse).sqrt() / seen().count().max(1) as f64
}

/// `weight_decay 0.001`; what not every system takes in a name becomes a dash.
fn folder_name(key: &str, value: &str) -> String {
    const LONGEST: usize = 80;
    let leaf = key.rsplit('.').next().unwrap_or(key);
    let plain = |c: char| if c.is_alphanumeric() || ".-+_ ".contains(c) { c } else { '-' };
    format!("{leaf} {value}").chars().map(plain).take(LONGEST).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn member(score: f64, finished_epochs: usize) -> SweepRecord {
        let (value, run) = (String::new(), PathBuf::new());
        SweepRecord {
            value,
            run,
            finished_epochs,
            epochs: 4,
            score: Some(score),
            many: None,
            medium: None,
            few: None,
            norms: None,
        }
    }

    #[test]
    fn the_own_value_stays_unless_another_is_better_by_more_than_chance() {
        let members = [member(0.75, 4), member(0.75, 4), member(0.70, 4), member(0.99, 2)];
        // The standard error of 0.75 is 0.043 for a hundred images and 0.061 for fifty.
        let (hundred, fifty) = ([25; 4], [25, 25, 0]);
        assert_eq!(best(&members, Some(2), &hundred), Some(0));
        assert_eq!(best(&members, Some(2), &fifty), Some(2));
        let chosen = [None, Some(3)].map(|own| best(&members, own, &fifty));
        assert_eq!(chosen, [Some(0), Some(0)]);
        assert_eq!((best(&members[3..], Some(0), &fifty), best(&[], None, &[])), (None, None));
        // A hundred images again, but of a class of three: √(0.1875 (1/97 + 1/3)) / 2 = 0.127.
        assert_eq!(best(&members, Some(2), &[97, 3]), Some(2));
        // That twelve of twelve are right is no certainty.
        let members = [member(1.0, 4), member(0.95, 4)];
        assert_eq!(best(&members, Some(1), &[3; 4]), Some(1));
    }

    #[test]
    fn values_that_all_do_equally_well_are_no_best_and_worst() {
        let report = |members: Vec<SweepRecord>| SweepReport {
            folder: PathBuf::new(),
            key: "stage1.weight_decay".into(),
            members,
            best: Some(0),
            validation_images: 38,
            held_out: false,
        };
        assert!(report(vec![member(0.82, 4), member(0.82, 4), member(0.9, 1)]).is_alike());
        assert!(!report(vec![member(0.82, 4), member(0.83, 4)]).is_alike());
        assert!(!report(vec![member(0.82, 4), member(0.82, 2)]).is_alike());
    }
}
