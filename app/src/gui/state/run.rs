//! The run that is open: what its folder holds, read once and kept.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use counterweight_core::Result;
use counterweight_core::balance::Tuning;
use counterweight_core::dataset::DatasetSample;
use counterweight_core::eval::{Group, GroupThresholds, HeldInTurn, Verdict};
use counterweight_core::export::ExportReport;
use counterweight_core::pipeline::{
    BalanceReport, CHOICES, Chosen, RunEvaluation, held_in_turn, no_refit,
};
use counterweight_core::record::EpochRecord;
use counterweight_core::run::{NormsRecord, Run};
use counterweight_core::settings::Settings;
use counterweight_core::source::{SourceKind, Split};

use super::next_revision;

/// What a run's folder holds.
#[derive(Clone, Debug)]
pub struct OpenRun {
    /// The folder.
    pub folder: PathBuf,
    /// The settings it was made with.
    pub settings: Settings,
    /// Class names, in label order.
    pub classes: Vec<String>,
    /// Training samples of each class, n_k.
    pub train_counts: Vec<usize>,
    /// Samples of the splits, in the order of [`Split::ALL`].
    pub split_sizes: [usize; 3],
    /// Every finished epoch, stage 1 first.
    pub history: Vec<EpochRecord>,
    /// Class weight norms after every epoch.
    pub norms: Vec<NormsRecord>,
    /// The checkpoints there are.
    pub checkpoints: Vec<String>,
    /// The evaluation of stage 1's result on validation, if there is one.
    pub validated: Option<RunEvaluation>,
    /// What each checkpoint is worth that was ever evaluated, by validation where there is any.
    verdicts: BTreeMap<String, Verdict>,
    /// Before and after balancing, if it was balanced.
    pub balanced: Option<BalanceReport>,
    /// What the classifier was right about on images held out in turn, as trained and balanced.
    pub in_turn: [Option<HeldInTurn>; 2],
    /// What tuning tried, if it was tuned.
    pub tuned: Option<Tuning>,
    /// What was chosen in place of the person when it was made.
    pub choices: Option<Chosen>,
    /// The last export, if there was one.
    pub exported: Option<ExportReport>,
    /// That its dataset was edited after it was made, in a sentence.
    pub edited_since: Option<String>,
    /// Whether the classifier can learn from the held-out images, too, before it is exported.
    pub can_refit: bool,
    /// What samples are relative to.
    pub root: PathBuf,
    /// The kind of source they come from.
    pub kind: SourceKind,
    revision: u64,
    /// The test samples, or the validation samples where there are none.
    pub examples: Vec<DatasetSample>,
}

impl OpenRun {
    /// Whether another reading of the run found it balanced to the same.
    pub fn is_balanced_as(&self, other: &Self) -> bool {
        let balance = |run: &Self| {
            let report = run.balanced.as_ref()?;
            Some((report.settings.clone(), report.after.evaluation.clone()))
        };
        balance(self) == balance(other)
    }

    /// Reads a run's folder. Results that are missing or cannot be read count as not there: they
    /// can be made again.
    ///
    /// # Errors
    /// As [`Run::open`].
    pub fn read(folder: &Path) -> Result<Self> {
        let run = Run::open(folder)?;
        let dataset = run.dataset();
        let stage1 = run.stage1_checkpoint();
        let evaluated = |split: Split| {
            let stored = |name: String| run.read_result::<RunEvaluation>(&name).ok();
            stored(format!("{stage1}-{split}")).or_else(|| stored(format!("{stage1}-{split}-flip")))
        };
        let balanced: Option<BalanceReport> = run.read_result("balance").ok();
        let examples = [Split::Test, Split::Validation]
            .map(|split| dataset.split(split).into_iter().cloned().collect::<Vec<_>>());
        Ok(Self {
            folder: folder.to_path_buf(),
            settings: run.settings().clone(),
            classes: dataset.classes.clone(),
            train_counts: dataset.counts(Split::Train),
            split_sizes: Split::ALL.map(|split| dataset.split(split).len()),
            history: run.history().to_vec(),
            norms: run.norms_history()?,
            checkpoints: run.checkpoints(),
            validated: evaluated(Split::Validation),
            verdicts: run
                .checkpoints()
                .into_iter()
                .filter_map(|name| run.verdict(&name).map(|verdict| (name, verdict)))
                .collect(),
            in_turn: held_in_turn(&run, balanced.as_ref().map(|report| &report.settings)),
            balanced,
            tuned: run.read_result("tune").ok(),
            choices: run.read_result(CHOICES).ok(),
            exported: exported(&run),
            edited_since: run.edited_since(),
            can_refit: no_refit(&run).is_none(),
            root: dataset.root.clone(),
            kind: dataset.kind,
            revision: next_revision(),
            examples: examples.into_iter().find(|samples| !samples.is_empty()).unwrap_or_default(),
        })
    }

    /// The run's name: that of its folder.
    pub fn name(&self) -> String {
        folder_name(&self.folder)
    }

    /// Another number whenever the folder was read again.
    pub fn revision(&self) -> u64 {
        self.revision
    }

    /// Whether there is something to balance or export.
    pub fn has_checkpoint(&self) -> bool {
        !self.checkpoints.is_empty()
    }

    /// What a checkpoint is worth, if it was ever evaluated.
    pub fn verdict(&self, checkpoint: &str) -> Option<&Verdict> {
        self.verdicts.get(checkpoint)
    }

    /// What came of stage 1, if that has come to its end.
    pub fn trained_verdict(&self) -> Option<&Verdict> {
        ["best", "last"]
            .into_iter()
            .find_map(|name| self.verdict(name))
            .filter(|_| self.is_trained())
    }

    /// What the last exported file is worth.
    pub fn exported_verdict(&self) -> Option<&Verdict> {
        let report = self.exported.as_ref()?;
        self.verdict(&report.checkpoint).or(report.verdict.as_ref())
    }

    /// Finished epochs of stage 1.
    pub fn finished_epochs(&self) -> usize {
        self.history
            .iter()
            .filter(|record| record.stage == 1)
            .map(|record| record.epoch)
            .max()
            .unwrap_or(0)
    }

    /// Whether stage 1 has come to its end.
    pub fn is_trained(&self) -> bool {
        self.finished_epochs() >= self.settings.stage1.epochs()
    }

    /// Whether there is a split of which nothing was learned and nothing chosen.
    pub fn has_test(&self) -> bool {
        self.split_sizes[Split::Test as usize] > 0
    }

    /// Whether there are samples to choose by.
    pub fn has_validation(&self) -> bool {
        self.split_sizes[Split::Validation as usize] > 0
    }

    /// Whether there are samples to choose a balancer by. Of a classifier on features that stay,
    /// training samples are held out in turn.
    pub fn can_tune(&self) -> bool {
        self.has_validation() || self.settings.stage1.is_frozen()
    }

    /// The group of each class.
    pub fn groups(&self) -> Vec<Group> {
        let thresholds = GroupThresholds::from(&self.settings.evaluation);
        self.train_counts.iter().map(|count| thresholds.group(*count)).collect()
    }
}

/// The last part of a folder's path; all of it where there is no such part.
pub fn folder_name(folder: &Path) -> String {
    folder
        .file_name()
        .map_or_else(|| folder.display().to_string(), |name| name.to_string_lossy().into_owned())
}

/// The last export, unless its file is gone or was made of a checkpoint that has been replaced
/// since.
fn exported(run: &Run) -> Option<ExportReport> {
    let report: ExportReport = run.read_result("export").ok()?;
    let written =
        |path: &Path| std::fs::metadata(path).and_then(|metadata| metadata.modified()).ok();
    let model = written(&report.path)?;
    let checkpoint = written(&run.checkpoint_path(run.final_checkpoint()))?;
    (model >= checkpoint).then_some(report)
}
