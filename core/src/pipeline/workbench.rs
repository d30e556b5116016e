//! Trying balancers on features computed once, without changing the run.

use std::time::Instant;

use burn::tensor::Device;

use super::balance::{BalanceReport, NoBatches, training_features};
use super::evaluate::drawn;
use super::features::Features;
use super::in_turn::{InTurn, all_in_turn};
use super::workbench_part::Part;
use crate::balance::{self, Balanced, CachedBatches, FeatureBatches, RadiusReport, describe};
use crate::classifier::{Classifier, FeatureSet};
use crate::error::Result;
use crate::eval::{self, Evaluation, Evidence, GroupThresholds, Verdict};
use crate::job::{Control, Job};
use crate::record::EpochRecord;
use crate::run::Run;
use crate::settings::{BalanceSettings, FeatureSource, Settings};
use crate::source::Split;
use crate::train::classifier_of;

/// Stage 1's classifier of a run with the features it is balanced and judged on. Nothing here is
/// computed again when other balancers are tried, and test data is never looked at.
#[derive(Clone, Debug)]
pub struct Workbench {
    /// Stage 1's classifier.
    pub classifier: Classifier,
    /// Its class weight norms, one a class.
    pub norms: Vec<f32>,
    /// Features of the training split, followed by those of its augmented views.
    pub train: FeatureSet,
    /// Augmented views in [`Workbench::train`].
    pub augmented_views: usize,
    /// Features of the split that trials are judged on.
    pub held_out: FeatureSet,
    /// That split: validation, or train where the dataset has no validation split.
    pub held_out_split: Split,
    /// Training samples of each class, n_k.
    pub train_counts: Vec<usize>,
    /// Class names, in label order.
    pub classes: Vec<String>,
    /// Where the groups begin and end.
    pub thresholds: GroupThresholds,
    /// The run's seed, which the order of stage 2's samples follows from.
    pub seed: u64,
    /// Stage 1's classifier on [`Workbench::held_out`].
    pub before: Evaluation,
    /// Finished epochs of the run, which verdicts look at.
    pub history: Vec<EpochRecord>,
    /// Whether its features are those of a pretrained backbone, which verdicts look at as well.
    pub pretrained: bool,
    /// What is known from images that were held out in turn, which verdicts look at, too.
    in_turn: Vec<InTurn>,
    /// Whether chance drew the held-out split, from the images as they are or as they once were.
    drawn: (bool, bool),
    /// What the run was balanced to already.
    kept: Option<Kept>,
    /// A part of the held-out samples, where judging by all of them takes long.
    part: Option<Part>,
}

/// A classifier that balancing has left in the run, with how it came about.
#[derive(Clone, Debug)]
struct Kept {
    classifier: Classifier,
    settings: BalanceSettings,
    radius: Option<RadiusReport>,
    notes: Vec<String>,
}

/// One way of balancing, tried.
#[derive(Clone, Debug)]
pub struct Trial {
    /// The settings as they were asked for.
    pub settings: BalanceSettings,
    /// The balancers and their parameters in words.
    pub summary: String,
    /// Class weight norms before, one a class.
    pub norms_before: Vec<f32>,
    /// Class weight norms after, one a class.
    pub norms_after: Vec<f32>,
    /// The MaxNorm radius and how many classes it touched, if MaxNorm was used.
    pub radius: Option<RadiusReport>,
    /// The balanced classifier on [`Workbench::held_out`].
    pub evaluation: Evaluation,
    /// What it is worth, also beside the classifier as trained.
    pub verdict: Verdict,
    /// What the person should know about the trial, one sentence each.
    pub notes: Vec<String>,
    /// Wall time in seconds.
    pub seconds: f64,
}

/// A balancer that was applied and has not been judged.
#[derive(Clone, Debug)]
pub struct Attempt {
    settings: BalanceSettings,
    balanced: Balanced,
    /// What was done instead of what was asked for.
    instead: Vec<String>,
    started: Instant,
}

impl Workbench {
    /// Loads stage 1's classifier of `run` and the features of its training and validation split.
    /// They are computed on `device` unless the run's folder holds them. `settings` say how many
    /// augmented views to add, whether to average flips, and where the groups begin.
    ///
    /// # Errors
    /// An untrained run, unreadable images, [`crate::Error::Stopped`].
    pub fn open(run: &Run, settings: &Settings, device: &Device, job: Job<'_>) -> Result<Self> {
        let start = run.checkpoint(run.stage1_checkpoint())?;
        let classifier = classifier_of(&start)?;
        let held_out_split = match run.dataset().split(Split::Validation).is_empty() {
            true => Split::Train,
            false => Split::Validation,
        };
        let features = Features::new(run, &start, device);
        let held_out = features.of(held_out_split, settings.evaluation.flip, job)?;
        let augmented_views = settings.balance.augmented_views;
        let train = training_features(&features, augmented_views, job)?;
        let thresholds = GroupThresholds::from(&settings.evaluation);
        let started = Instant::now();
        let before =
            classifier.evaluate(&held_out, &start.classes, &start.train_counts, thresholds)?;
        let part = Part::size(held_out.len(), started.elapsed().as_secs_f64());
        let all = Self {
            norms: classifier.norms(),
            kept: kept(run, &classifier),
            classifier,
            train,
            augmented_views,
            held_out,
            held_out_split,
            train_counts: start.train_counts,
            classes: start.classes,
            thresholds,
            seed: start.seed,
            before,
            history: run.history().to_vec(),
            pretrained: run.settings().stage1.is_frozen(),
            in_turn: all_in_turn(run),
            drawn: drawn(run, held_out_split),
            part: None,
        };
        match part {
            Some(samples) => all.with_part(samples),
            None => Ok(all),
        }
    }

    /// The same, with so many of the held-out samples for [`Workbench::judge_on_part`], drawn by the
    /// run's seed.
    ///
    /// # Errors
    /// A classifier that computes no numbers.
    pub fn with_part(mut self, samples: usize) -> Result<Self> {
        let evaluate = |set: &FeatureSet| {
            self.classifier.evaluate(set, &self.classes, &self.train_counts, self.thresholds)
        };
        self.part = Some(Part::of(&self.held_out, samples, self.seed, evaluate)?);
        Ok(self)
    }

    /// Balances stage 1's classifier and evaluates it on the held-out split, giving the classifier
    /// that [`super::balance`] would on cached features. Where the settings ask for something else
    /// (features of the network, another number of augmented views) a note says what was done
    /// instead. Settings for tuning are ignored. Post-hoc balancers take milliseconds, and so do the
    /// settings that the run was balanced with, however long that took: its classifier is there.
    ///
    /// # Errors
    /// A loss that diverges, settings that make no sense for this classifier,
    /// [`crate::Error::Stopped`].
    pub fn try_out(&self, settings: &BalanceSettings, job: Job<'_>) -> Result<Trial> {
        self.judge(&self.attempt(settings, job)?, job.control)
    }

    /// The first half of [`Workbench::try_out`]: the balanced classifier.
    ///
    /// # Errors
    /// As there.
    pub fn attempt(&self, settings: &BalanceSettings, job: Job<'_>) -> Result<Attempt> {
        let started = Instant::now();
        let same = |kept: &&Kept| {
            kept.settings == BalanceSettings { tune_candidates: 0, ..settings.clone() }
        };
        let (balanced, instead) = match self.kept.as_ref().filter(same) {
            Some(kept) => (kept.balanced(&self.norms), Vec::new()),
            None => (self.balance(settings, job)?, self.instead(settings)),
        };
        Ok(Attempt { settings: settings.clone(), balanced, instead, started })
    }

    /// The second half of [`Workbench::try_out`]: its results on the held-out split.
    ///
    /// # Errors
    /// A classifier that computes no numbers, [`crate::Error::Stopped`].
    pub fn judge(&self, attempt: &Attempt, control: &Control) -> Result<Trial> {
        self.judge_on(attempt, &self.held_out, &self.before, control)
    }

    /// Its results on a part of the held-out split, in a fraction of a second; `None` where all of
    /// it takes no longer. Nothing is to be chosen by them, and their verdict says so.
    ///
    /// # Errors
    /// A classifier that computes no numbers, [`crate::Error::Stopped`].
    pub fn judge_on_part(&self, attempt: &Attempt, control: &Control) -> Result<Option<Trial>> {
        let on = |part: &Part| {
            let mut trial = self.judge_on(attempt, &part.held_out, &part.before, control)?;
            trial.verdict = part.verdict(&trial.verdict, self.before.samples);
            Ok(trial)
        };
        self.part.as_ref().map(on).transpose()
    }

    /// Whether a trial is what [`Workbench::judge_on_part`] found.
    pub fn is_on_part(&self, trial: &Trial) -> bool {
        trial.evaluation.samples < self.before.samples
    }

    /// Stage 1's classifier on the samples that a trial was judged on.
    pub fn before(&self, trial: &Trial) -> &Evaluation {
        let part = self.part.as_ref().filter(|_| self.is_on_part(trial));
        part.map_or(&self.before, |part| &part.before)
    }

    /// Whether anything is known from images that were held out in turn, which are more than those that
    /// are shown.
    pub fn is_known_in_turn(&self) -> bool {
        !self.in_turn.is_empty()
    }

    /// What `run`, whose features these are, is balanced to by now, as a trial; `None` where it was
    /// not balanced. Takes as long as evaluating.
    ///
    /// # Errors
    /// A classifier that computes no numbers.
    pub fn trial_of(&self, run: &Run) -> Result<Option<Trial>> {
        let started = Instant::now();
        let trial = |kept: Kept| {
            let balanced = kept.balanced(&self.norms);
            let attempt =
                Attempt { settings: kept.settings, balanced, instead: Vec::new(), started };
            self.judge(&attempt, &Control::new())
        };
        kept(run, &self.classifier).map(trial).transpose()
    }

    fn judge_on(
        &self,
        attempt: &Attempt,
        held_out: &FeatureSet,
        before: &Evaluation,
        control: &Control,
    ) -> Result<Trial> {
        let Attempt { settings, balanced, instead, started } = attempt;
        let answers = balanced.classifier.answers_while(held_out, control)?;
        let evaluation =
            Evaluation::of(&answers, &self.classes, &self.train_counts, self.thresholds)?;
        let (history, pretrained) = (&self.history, self.pretrained);
        let known = self.in_turn.iter().find(|known| known.is_of(settings));
        let (is_drawn, is_grown) = self.drawn;
        let evidence = Evidence {
            history,
            pretrained,
            before: Some(before),
            expected: known.map(|known| &known.held),
            is_drawn,
            is_grown,
            ..Evidence::of(&evaluation, self.held_out_split)
        };
        let verdict = eval::verdict(&evidence);
        Ok(Trial {
            settings: settings.clone(),
            summary: describe(settings),
            norms_before: balanced.norms_before.clone(),
            norms_after: balanced.norms_after.clone(),
            radius: balanced.radius,
            evaluation,
            verdict,
            notes: instead.iter().chain(&balanced.notes).cloned().collect(),
            seconds: started.elapsed().as_secs_f64(),
        })
    }

    fn balance(&self, settings: &BalanceSettings, job: Job<'_>) -> Result<Balanced> {
        // Scores after every epoch of stage 2 mean something only on samples it does not learn
        // from.
        let validation = (self.held_out_split == Split::Validation).then_some(&self.held_out);
        let balance = |batches: &mut dyn FeatureBatches| {
            balance::balance(
                &self.classifier,
                batches,
                &self.train_counts,
                validation,
                settings,
                self.thresholds,
                job,
            )
        };
        match settings.trains() {
            true => balance(&mut CachedBatches::new(&self.train, settings.batch_size, self.seed)?),
            false => balance(&mut NoBatches),
        }
    }

    /// What is done instead of what the settings ask for.
    fn instead(&self, settings: &BalanceSettings) -> Vec<String> {
        if settings.trains() && settings.features == FeatureSource::Network {
            vec!["tried on features computed once; with features = network the result will differ a little".to_string()]
        } else if settings.trains() && settings.augmented_views != self.augmented_views {
            vec![format!(
                "tried on {} augmented views of the training images instead of {}",
                self.augmented_views, settings.augmented_views
            )]
        } else {
            Vec::new()
        }
    }
}

/// What balancing has left in a run whose stage 1 has this classifier, if it is there and whole.
fn kept(run: &Run, classifier: &Classifier) -> Option<Kept> {
    let report = run.read_result::<BalanceReport>("balance").ok()?;
    let balanced = classifier_of(&run.checkpoint("balanced").ok()?).ok()?;
    let fits = balanced.classes == classifier.classes && balanced.features == classifier.features;
    fits.then_some(Kept {
        classifier: balanced,
        settings: BalanceSettings { tune_candidates: 0, ..report.settings },
        radius: report.radius,
        notes: report.notes,
    })
}

impl Kept {
    fn balanced(&self, norms_before: &[f32]) -> Balanced {
        Balanced {
            classifier: self.classifier.clone(),
            norms_before: norms_before.to_vec(),
            norms_after: self.classifier.norms(),
            radius: self.radius,
            epochs: Vec::new(),
            applied: self.settings.balancers.clone(),
            notes: self.notes.clone(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::test_run::trained;
    use super::super::{balance, evaluate};
    use super::*;
    use crate::job::{Control, Silent};
    use crate::settings::Balancer;

    #[test]
    fn a_trial_gives_what_balancing_gives() {
        let folder = tempfile::tempdir().unwrap();
        let mut run = trained(folder.path());
        let control = Control::new();
        let job = Job::new(&control, &Silent);
        let device = Device::flex();
        let mut settings = run.settings().clone();
        settings.balance.epochs = 4;
        settings.balance.augmented_views = 1;
        let workbench = Workbench::open(&run, &settings, &device, job).unwrap();
        assert_eq!(workbench.held_out_split, Split::Validation);
        assert_eq!(workbench.train.len(), 2 * workbench.train_counts.iter().sum::<usize>());
        let on_validation = |run: &Run, checkpoint: &str| {
            evaluate(
                run,
                Some(checkpoint),
                Some(Split::Validation),
                &settings.evaluation,
                &device,
                job,
            )
            .unwrap()
            .evaluation
        };
        assert_eq!(workbench.before, on_validation(&run, run.stage1_checkpoint()));

        for balancers in [
            vec![Balancer::WeightDecay, Balancer::MaxNorm],
            vec![Balancer::Tau, Balancer::LogitAdjustment],
        ] {
            let mut settings = settings.clone();
            settings.balance.balancers = balancers;
            let trial = workbench.try_out(&settings.balance, job).unwrap();
            let report = balance(&mut run, &settings, &device, job).unwrap();
            assert_eq!(trial.norms_before, report.norms_before);
            assert_eq!(trial.norms_after, report.norms_after);
            assert_eq!(trial.radius, report.radius);
            assert_eq!(trial.notes, report.notes);
            assert_eq!(trial.evaluation, on_validation(&run, "balanced"));
            assert_ne!(trial.norms_after, trial.norms_before);
        }
    }

    #[test]
    fn what_the_run_was_balanced_to_is_not_computed_again() {
        let folder = tempfile::tempdir().unwrap();
        let mut run = trained(folder.path());
        let control = Control::new();
        let job = Job::new(&control, &Silent);
        let device = Device::flex();
        let mut settings = run.settings().clone();
        settings.balance.balancers = vec![Balancer::WeightDecay, Balancer::MaxNorm];
        let open = |run: &Run| Workbench::open(run, &settings, &device, job).unwrap();
        let computed = open(&run).try_out(&settings.balance, job).unwrap();
        let before = open(&run);
        assert!(before.trial_of(&run).unwrap().is_none());
        balance(&mut run, &settings, &device, job).unwrap();
        let kept = before.trial_of(&run).unwrap().unwrap();
        assert_eq!(
            (kept.settings, kept.evaluation),
            (computed.settings, computed.evaluation.clone())
        );
        let mut workbench = open(&run);
        // Nothing could be learned from these.
        workbench.train = FeatureSet { dim: workbench.train.dim, ..FeatureSet::default() };
        let asked = BalanceSettings { tune_candidates: 7, ..settings.balance.clone() };
        let known = workbench.try_out(&asked, job).unwrap();
        assert_eq!(known.evaluation, computed.evaluation);
        assert_eq!(known.norms_before, computed.norms_before);
        assert_eq!(known.norms_after, computed.norms_after);
        assert_eq!((known.radius, known.notes), (computed.radius, computed.notes));
        let other = BalanceSettings { epochs: asked.epochs + 1, ..asked };
        assert!(workbench.try_out(&other, job).is_err());

        // Without its checkpoint it is learned again.
        std::fs::remove_file(run.checkpoint_path("balanced")).unwrap();
        let again = open(&run).try_out(&settings.balance, job).unwrap();
        assert_eq!(again.evaluation, computed.evaluation);
    }

    #[test]
    fn a_part_is_judged_as_the_whole_is_and_both_can_be_stopped() {
        let folder = tempfile::tempdir().unwrap();
        let run = trained(folder.path());
        let control = Control::new();
        let job = Job::new(&control, &Silent);
        let workbench = Workbench::open(&run, run.settings(), &Device::flex(), job).unwrap();
        let settings =
            BalanceSettings { balancers: vec![Balancer::Tau], ..run.settings().balance.clone() };
        let attempt = workbench.attempt(&settings, job).unwrap();
        assert!(workbench.judge_on_part(&attempt, &control).unwrap().is_none());
        let whole = workbench.judge(&attempt, &control).unwrap();
        assert_eq!(whole.evaluation, workbench.try_out(&settings, job).unwrap().evaluation);
        assert!(!workbench.is_on_part(&whole));
        assert_eq!(workbench.before(&whole), &workbench.before);

        let samples = workbench.held_out.len();
        let workbench = workbench.with_part(samples / 2).unwrap();
        let part = workbench.judge_on_part(&attempt, &control).unwrap().unwrap();
        assert!(workbench.is_on_part(&part));
        assert_eq!(part.evaluation.samples, samples / 2);
        let so_far = format!("{} of {samples} images so far", samples / 2);
        assert!(part.verdict.sentence.contains(&so_far), "{}", part.verdict.sentence);
        assert_eq!(part.norms_after, whole.norms_after);
        assert_eq!(workbench.before(&part).samples, samples / 2);
        // A part of them all is them all.
        let everything = workbench.clone().with_part(samples).unwrap();
        let part = everything.judge_on_part(&attempt, &control).unwrap().unwrap();
        assert_eq!(part.evaluation, whole.evaluation);
        assert_eq!(everything.before(&part), &everything.before);

        control.stop();
        assert!(matches!(workbench.judge(&attempt, &control), Err(crate::Error::Stopped)));
        assert!(workbench.judge_on_part(&attempt, &control).is_err());
    }

    #[test]
    fn post_hoc_balancers_need_no_batches_and_notes_say_what_was_not_done() {
        let folder = tempfile::tempdir().unwrap();
        let run = trained(folder.path());
        let control = Control::new();
        let job = Job::new(&control, &Silent);
        let mut workbench = Workbench::open(&run, run.settings(), &Device::flex(), job).unwrap();
        let mut settings = run.settings().balance.clone();
        settings.balancers = vec![Balancer::Stage2];
        settings.epochs = 1;
        settings.features = FeatureSource::Network;
        let trial = workbench.try_out(&settings, job).unwrap();
        assert!(trial.notes[0].contains("network"), "{:?}", trial.notes);

        // Without a training sample batches cannot even be made.
        workbench.train = FeatureSet { dim: workbench.train.dim, ..FeatureSet::default() };
        assert!(workbench.try_out(&settings, job).is_err());
        settings.balancers = vec![Balancer::L2];
        let trial = workbench.try_out(&settings, job).unwrap();
        assert!(trial.notes.is_empty(), "{:?}", trial.notes);
        assert_eq!(trial.summary, "L2-normalisation");
        assert!(trial.norms_after.iter().all(|norm| (norm - 1.0).abs() < 1e-5));
        settings.balancers = vec![];
        assert_eq!(workbench.try_out(&settings, job).unwrap().evaluation, workbench.before);
    }
}
