//! What a run is and how far it has come, without loading its checkpoints.

use std::path::{Path, PathBuf};
use std::time::SystemTime;

use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use super::{CHECKPOINTS, METRICS, RESULTS, Run, SETTINGS};
use crate::error::Result;
use crate::eval::{GroupAccuracies, Verdict};
use crate::files::is_temporary;
use crate::settings::{BackboneChoice, Preset};
use crate::source::Split;

/// A run in a few words and numbers.
#[derive(Clone, Debug)]
pub struct RunSummary {
    /// The run's folder.
    pub folder: PathBuf,
    /// The folder's name.
    pub name: String,
    /// The preset its settings started from.
    pub preset: Preset,
    /// The network, or the file that it comes out of.
    pub backbone: BackboneChoice,
    /// Epochs of stage 1 that were asked for.
    pub epochs: usize,
    /// Epochs of stage 1 that are finished.
    pub finished_epochs: usize,
    /// How far it has come.
    pub state: RunState,
    /// Number of classes.
    pub classes: usize,
    /// Number of training samples.
    pub train_samples: usize,
    /// Largest training class over smallest.
    pub imbalance_factor: Option<f64>,
    /// Results of stage 1's classifier.
    pub before: Option<EvaluationBrief>,
    /// Results of the balanced classifier.
    pub after: Option<EvaluationBrief>,
    /// The split that `before` and `after` are of.
    pub split: Option<Split>,
    /// What the checkpoint is worth that the run ends with, by validation where there is any.
    pub verdict: Option<Verdict>,
    /// When something in it last changed.
    pub modified: SystemTime,
}

/// How far a run has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum RunState {
    /// Not trained yet.
    New,
    /// Training began and has not reached its last epoch.
    Interrupted,
    /// Stage 1 is finished.
    Trained,
    /// The classifier is balanced.
    Balanced,
    /// Its latest result is exported.
    Exported,
}

/// The accuracies that matter most, in 0..1.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct EvaluationBrief {
    /// Mean of the per-class accuracies.
    pub balanced: f64,
    /// Accuracy of the many group, where it has samples.
    pub many: Option<f64>,
    /// Accuracy of the medium group, where it has samples.
    pub medium: Option<f64>,
    /// Accuracy of the few group, where it has samples.
    pub few: Option<f64>,
}

/// Summarises the run in `folder`. Reads its settings, dataset and log, and of its results a few
/// numbers.
///
/// # Errors
/// As [`Run::open`].
pub fn summary(folder: &Path) -> Result<RunSummary> {
    let run = Run::open(folder)?;
    let settings = run.settings();
    let epochs = settings.stage1.epochs();
    let finished_epochs = run
        .history()
        .iter()
        .filter(|record| record.stage == 1)
        .map(|record| record.epoch)
        .max()
        .unwrap_or(0);
    let began = finished_epochs > 0 || run.checkpoint_path("last").is_file();
    let stored = Stored::of(&run);
    let counts = run.dataset().counts(Split::Train);
    Ok(RunSummary {
        folder: folder.to_path_buf(),
        name: name(folder),
        preset: settings.preset,
        backbone: settings.model.backbone.clone(),
        epochs,
        finished_epochs,
        state: match began {
            false => RunState::New,
            true if finished_epochs < epochs => RunState::Interrupted,
            true => finished_state(&run),
        },
        classes: counts.len(),
        train_samples: counts.iter().sum(),
        imbalance_factor: run.dataset().imbalance_factor(),
        before: stored.before,
        after: stored.after,
        split: stored.split,
        verdict: run.verdict(run.final_checkpoint()),
        modified: modified(folder),
    })
}

/// Every run directly in the folder `parent`, the one that changed last first; runs that cannot be
/// opened with the reason. None if there is no such folder.
pub fn list(parent: &Path) -> Vec<(PathBuf, Result<RunSummary>)> {
    let Ok(entries) = std::fs::read_dir(parent) else { return Vec::new() };
    let runs = entries
        .flatten()
        .filter(|entry| !is_temporary(&entry.file_name()))
        .map(|entry| entry.path());
    let mut runs: Vec<(SystemTime, PathBuf)> =
        runs.filter(|path| Run::is_run(path)).map(|path| (modified(&path), path)).collect();
    runs.sort_by(|a, b| b.0.cmp(&a.0).then_with(|| a.1.cmp(&b.1)));
    runs.into_iter().map(|(_, path)| (path.clone(), summary(&path))).collect()
}

fn finished_state(run: &Run) -> RunState {
    let time = |path: PathBuf| std::fs::metadata(path).and_then(|found| found.modified()).ok();
    let result = time(run.checkpoint_path(run.final_checkpoint()));
    let export = time(run.folder().join(RESULTS).join("export.json"));
    if export.is_some_and(|export| result.is_none_or(|result| export >= result)) {
        RunState::Exported
    } else if run.checkpoint_path("balanced").is_file() {
        RunState::Balanced
    } else {
        RunState::Trained
    }
}

/// The folder's name, also of `.` and the like.
fn name(folder: &Path) -> String {
    let own = folder.file_name().map(ToOwned::to_owned);
    let own = own.or_else(|| folder.canonicalize().ok()?.file_name().map(ToOwned::to_owned));
    own.unwrap_or_default().to_string_lossy().into_owned()
}

/// The latest time at which a file of the run changed.
fn modified(folder: &Path) -> SystemTime {
    let inside = |part: &str| {
        let entries = std::fs::read_dir(folder.join(part)).into_iter().flatten().flatten();
        entries.map(|entry| entry.path()).collect::<Vec<_>>()
    };
    let files = [folder.join(SETTINGS), folder.join(METRICS)]
        .into_iter()
        .chain(inside(CHECKPOINTS))
        .chain(inside(RESULTS));
    let times = files.filter_map(|path| std::fs::metadata(path).ok()?.modified().ok());
    times.max().unwrap_or(SystemTime::UNIX_EPOCH)
}

/// What the stored results say.
#[derive(Default)]
struct Stored {
    before: Option<EvaluationBrief>,
    after: Option<EvaluationBrief>,
    split: Option<Split>,
}

/// The few numbers wanted of a stored evaluation; the rest of the document is passed over.
#[derive(Deserialize)]
struct StoredEvaluation {
    split: Split,
    balanced_accuracy: f64,
    groups: GroupAccuracies,
    /// Without copies of training images, where there are such: what the verdict is by.
    without_copies: Option<Numbers>,
}

#[derive(Deserialize)]
struct Numbers {
    balanced_accuracy: f64,
    groups: GroupAccuracies,
}

impl StoredEvaluation {
    fn brief(&self) -> EvaluationBrief {
        match &self.without_copies {
            Some(found) => brief(found.balanced_accuracy, found.groups),
            None => brief(self.balanced_accuracy, self.groups),
        }
    }
}

/// The same of a stored balancing, at whose top the evaluation after it stands.
#[derive(Deserialize)]
struct StoredBalance {
    split: Split,
    balanced_accuracy: f64,
    groups: GroupAccuracies,
    without_copies: Option<Numbers>,
    before: StoredEvaluation,
}

impl Stored {
    /// Before and after from the last balancing; without one, what stage 1's checkpoint reached.
    fn of(run: &Run) -> Self {
        if let Some(found) = read(run, "balance") {
            let StoredBalance { split, balanced_accuracy, groups, without_copies, before } = found;
            let after = StoredEvaluation { split, balanced_accuracy, groups, without_copies };
            return Self {
                before: Some(before.brief()),
                after: Some(after.brief()),
                split: Some(after.split),
            };
        }
        let checkpoint = run.stage1_checkpoint();
        let mut names =
            [Split::Test, Split::Validation, Split::Train].into_iter().flat_map(|split| {
                // First as the run's settings ask for it.
                let suffixes =
                    if run.settings().evaluation.flip { ["-flip", ""] } else { ["", "-flip"] };
                suffixes.map(|suffix| format!("{checkpoint}-{split}{suffix}"))
            });
        let found: Option<StoredEvaluation> = names.find_map(|name| read(run, &name));
        match found {
            Some(found) => {
                Self { before: Some(found.brief()), after: None, split: Some(found.split) }
            }
            None => Self::default(),
        }
    }
}

fn brief(balanced: f64, groups: GroupAccuracies) -> EvaluationBrief {
    EvaluationBrief { balanced, many: groups.many, medium: groups.medium, few: groups.few }
}

/// A stored result that is there and not damaged; a summary is no place to complain of one that is.
fn read<T: DeserializeOwned>(run: &Run, name: &str) -> Option<T> {
    run.read_result(name).ok()
}

#[cfg(test)]
mod tests {
    use burn::tensor::Device;

    use super::super::tests::{new_run, record};
    use super::*;
    use crate::job::{Control, Job, Silent};
    use crate::pipeline::{self, BalanceReport, test_run::trained};
    use crate::settings::Balancer;

    #[test]
    fn a_run_is_summarised_at_every_stage_of_its_life() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("new");
        let mut run = new_run(&path);
        let fresh = summary(&path).unwrap();
        assert_eq!((fresh.state, fresh.epochs, fresh.finished_epochs), (RunState::New, 200, 0));
        assert_eq!((fresh.name.as_str(), fresh.classes, fresh.train_samples), ("new", 2, 2));
        assert_eq!((fresh.before, fresh.after, fresh.split), (None, None, None));
        run.record(record(1, 1)).unwrap();
        run.record(record(1, 2)).unwrap();
        let interrupted = summary(&path).unwrap();
        assert_eq!((interrupted.state, interrupted.finished_epochs), (RunState::Interrupted, 2));

        let mut run = trained(folder.path());
        let control = Control::new();
        let job = Job::new(&control, &Silent);
        let of_run = |run: &Run| summary(run.folder()).unwrap();
        let found = of_run(&run);
        assert_eq!(
            (found.state, found.finished_epochs, found.split),
            (RunState::Trained, 2, Some(Split::Test))
        );
        assert_eq!((found.classes, found.train_samples, found.preset), (10, 433, Preset::Quick));
        assert!(
            found.imbalance_factor.unwrap() > 20.0
                && found.before.is_some()
                && found.after.is_none()
        );

        let mut settings = run.settings().clone();
        settings.balance.balancers = vec![Balancer::Tau];
        let report: BalanceReport =
            pipeline::balance(&mut run, &settings, &Device::flex(), job).unwrap();
        let balanced = of_run(&run);
        assert_eq!(balanced.state, RunState::Balanced);
        let near = |brief: Option<EvaluationBrief>, exact: f64| {
            (brief.unwrap().balanced - exact).abs() < 1e-12
        };
        assert!(near(balanced.before, report.before.evaluation.balanced_accuracy));
        assert!(near(balanced.after, report.after.evaluation.balanced_accuracy));
        assert_eq!(
            balanced.after.unwrap().few.is_some(),
            report.after.evaluation.groups.few.is_some()
        );
        assert!(balanced.modified >= found.modified);
        let of_balanced = run.verdict("balanced").unwrap();
        assert_eq!(
            (of_balanced.split, Some(&of_balanced)),
            (Split::Validation, balanced.verdict.as_ref())
        );
        assert_eq!(found.verdict, run.verdict(run.stage1_checkpoint()));

        run.write_result("export", &"done").unwrap();
        assert_eq!(of_run(&run).state, RunState::Exported);
        // What was exported is not what the run ends with any more.
        let earlier = SystemTime::now() - std::time::Duration::from_secs(60);
        std::fs::File::options()
            .write(true)
            .open(run.folder().join("results/export.json"))
            .unwrap()
            .set_modified(earlier)
            .unwrap();
        assert_eq!(of_run(&run).state, RunState::Balanced);
    }

    #[test]
    fn runs_are_listed_newest_first_and_broken_ones_with_their_reason() {
        let folder = tempfile::tempdir().unwrap();
        for (age, name) in [(30, "old"), (10, "new"), (20, "broken")] {
            let path = folder.path().join(name);
            new_run(&path);
            let time = SystemTime::now() - std::time::Duration::from_secs(age);
            std::fs::File::options()
                .write(true)
                .open(path.join(SETTINGS))
                .unwrap()
                .set_modified(time)
                .unwrap();
        }
        std::fs::write(folder.path().join("broken/dataset.toml"), "nonsense").unwrap();
        std::fs::create_dir(folder.path().join("photos")).unwrap();
        std::fs::write(folder.path().join("notes.txt"), "").unwrap();
        let listed = list(folder.path());
        let names: Vec<_> =
            listed.iter().map(|(path, _)| path.file_name().unwrap().to_str().unwrap()).collect();
        assert_eq!(names, ["new", "broken", "old"]);
        assert!(listed[0].1.is_ok() && listed[2].1.is_ok());
        assert!(listed[1].1.as_ref().unwrap_err().to_string().contains("dataset.toml"));
        assert!(list(&folder.path().join("nowhere")).is_empty());
    }
}
