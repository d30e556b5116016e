//! Checking every value's range.

use super::{
    AUGMENTATIONS, Auto, BALANCERS, FeatureSource, NormStatistics, Normalisation, Schedule,
    Settings, Training,
};
use crate::error::{Result, SettingsError};

/// Bounds against slips of the finger: far above any real training, far below what overflows or
/// exhausts the memory.
const MOST_EPOCHS: usize = 1_000_000;
const LARGEST_BATCH: usize = 65_536;

/// A value outside its range.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SettingProblem {
    /// The key, dotted.
    pub key: &'static str,
    /// What is allowed, as it would follow the key.
    pub reason: String,
}

impl Settings {
    /// Checks every value's range.
    ///
    /// # Errors
    /// [`SettingsError::Value`] for the first value outside its range.
    pub fn validate(&self) -> Result<()> {
        match self.problems().into_iter().next() {
            Some(SettingProblem { key, reason }) => {
                Err(SettingsError::Value { key: key.to_string(), reason: reason.into() }.into())
            }
            None => Ok(()),
        }
    }

    /// Every value outside its range, in the order of the settings; none if they are valid.
    ///
    /// ```
    /// use counterweight_core::settings::{Auto, Preset, Settings};
    /// let mut settings = Settings::preset(Preset::Quick);
    /// assert!(settings.problems().is_empty());
    /// settings.stage1.epochs = Auto::Value(0);
    /// settings.balance.beta = 1.0;
    /// let keys: Vec<_> = settings.problems().iter().map(|problem| problem.key).collect();
    /// assert_eq!(keys, ["stage1.epochs", "stage1.warmup_epochs", "balance.beta"]);
    /// ```
    pub fn problems(&self) -> Vec<SettingProblem> {
        let mut problems = Vec::new();
        let mut check = |holds: bool, key: &'static str, reason: &str| {
            if !holds {
                problems.push(SettingProblem { key, reason: reason.to_string() });
            }
        };
        let rate = |value: f64| value.is_finite() && value > 0.0;
        let decay = |value: f64| value.is_finite() && value >= 0.0;
        check(
            i64::try_from(self.seed).is_ok(),
            "seed",
            "must be below 2^63, the largest integer TOML holds",
        );
        let backbone = &self.model.backbone;
        if let Auto::Value(side) = self.model.input_size {
            let sides = backbone.sides();
            let reason = format!(
                "must be auto or {}..={} for {}",
                sides.start(),
                sides.end(),
                backbone.name()
            );
            check(sides.contains(&side), "model.input_size", &reason);
        }
        let train = self.stage1.train.value();
        if train.is_some_and(|train| train != Training::Classifier) {
            let reason = format!(
                "cannot be {}, which cannot be trained; take stage1.train = classifier",
                backbone.name()
            );
            check(backbone.trains(), "model.backbone", &reason);
        }
        if train == Some(Training::Scratch) {
            let reason = "cannot be pretrained when everything is trained from scratch; take measured, or begin from the preset quick";
            check(
                self.model.normalisation != Normalisation::PRETRAINED,
                "model.normalisation",
                reason,
            );
            check(
                self.stage1.backbone_rate == 1.0,
                "stage1.backbone_rate",
                "must be 1 when everything is trained from scratch",
            );
            let reason = "must be moving when everything is trained from scratch: there are no statistics to keep";
            check(
                self.stage1.norm_statistics == NormStatistics::Moving,
                "stage1.norm_statistics",
                reason,
            );
        } else if backbone.file().is_some() {
            let reason = "must be what the file's network was trained with: pretrained, where the file or something beside it says so, imagenet, or numbers";
            check(
                self.model.normalisation != Normalisation::MEASURED,
                "model.normalisation",
                reason,
            );
        } else {
            let reason = "must be pretrained when the backbone begins with what it has learned: it knows no other";
            check(
                self.model.normalisation == Normalisation::PRETRAINED,
                "model.normalisation",
                reason,
            );
        }
        if train.is_none_or(|train| train == Training::Classifier) {
            let reason = "must be cached when the backbone is not trained";
            check(self.balance.features == FeatureSource::Cached, "balance.features", reason);
        }
        if let Normalisation::Fixed { mean, std } = &self.model.normalisation {
            check(
                mean.iter().all(|m| m.is_finite()),
                "model.normalisation",
                "the mean must be finite",
            );
            check(
                std.iter().all(|s| s.is_finite() && *s > 0.0),
                "model.normalisation",
                "the standard deviation must be above 0",
            );
        }
        let s = &self.stage1;
        let epochs = s.epochs.value();
        check(
            epochs.is_none_or(|epochs| (1..=MOST_EPOCHS).contains(&epochs)),
            "stage1.epochs",
            "must be auto, or at least 1 and at most a million",
        );
        check(
            (2..=LARGEST_BATCH).contains(&s.batch_size),
            "stage1.batch_size",
            "must be in 2..=65536: batch norm needs two samples",
        );
        let whole = s.accumulation >= 1 && s.batch_size / s.accumulation.max(1) >= 2;
        check(
            whole,
            "stage1.accumulation",
            "must be at least 1 and leave two samples or more in each part: batch norm needs two",
        );
        check(
            s.learning_rate.value().is_none_or(rate),
            "stage1.learning_rate",
            "must be auto or above 0",
        );
        check((0.0..=10.0).contains(&s.backbone_rate), "stage1.backbone_rate", "must be in 0..=10");
        check(
            s.clip_gradients.is_finite() && s.clip_gradients >= 0.0,
            "stage1.clip_gradients",
            "must be 0 or above",
        );
        check((0.0..1.0).contains(&s.momentum), "stage1.momentum", "must be in 0..1");
        check(
            s.weight_decay.value().is_none_or(decay),
            "stage1.weight_decay",
            "must be auto, or 0 or above",
        );
        check((0.0..1.0).contains(&s.label_smoothing), "stage1.label_smoothing", "must be in 0..1");
        let steps_down = s.schedule != Schedule::Step || !s.milestones.is_empty();
        check(
            steps_down,
            "stage1.milestones",
            "must list at least one epoch for the step schedule",
        );
        check(s.validate_every >= 1, "stage1.validate_every", "must be at least 1");
        check(
            epochs.is_none_or(|epochs| s.warmup_epochs <= epochs),
            "stage1.warmup_epochs",
            "must be at most stage1.epochs",
        );
        for entry in &AUGMENTATIONS {
            if let Some(reason) = entry.problem(&self.augmentation) {
                check(false, entry.setting.key, &reason);
            }
        }
        let b = &self.balance;
        for parameter in BALANCERS.iter().flat_map(|entry| entry.parameters) {
            // A value that stays unused while another stands for the same thing is checked, too:
            // it comes into use by one word.
            let holds = parameter.allowed.holds((parameter.get)(b));
            check(holds, parameter.key, parameter.allowed.demand());
        }
        check((0.0..1.0).contains(&b.beta), "balance.beta", "must be in 0..1");
        check(
            (0.0..1.0).contains(&b.label_smoothing),
            "balance.label_smoothing",
            "must be in 0..1",
        );
        check(
            (1..=MOST_EPOCHS).contains(&b.epochs),
            "balance.epochs",
            "must be at least 1 and at most a million",
        );
        check(
            (1..=LARGEST_BATCH).contains(&b.batch_size),
            "balance.batch_size",
            "must be in 1..=65536",
        );
        let alone = b.features == FeatureSource::Network && b.batch_size == 1;
        check(
            !alone,
            "balance.batch_size",
            "must be at least 2 with features = network: batch norm needs two samples",
        );
        check(
            b.schedule != Schedule::Step,
            "balance.schedule",
            "must be cosine, cosine-nonzero or constant: stage 2 has no milestones",
        );
        check(rate(b.learning_rate), "balance.learning_rate", "must be above 0");
        check((0.0..1.0).contains(&b.momentum), "balance.momentum", "must be in 0..1");
        check(b.tune_candidates <= 100_000, "balance.tune_candidates", "must be at most 100000");
        check(b.augmented_views <= 100, "balance.augmented_views", "must be at most 100");
        let e = &self.evaluation;
        check(
            e.few_below <= e.many_above.saturating_add(1),
            "evaluation.few_below",
            "must be at most evaluation.many_above + 1",
        );
        problems
    }
}

#[cfg(test)]
mod tests {
    use crate::settings::{Auto, FeatureSource, Preset, Settings};

    #[test]
    fn every_problem_is_listed_and_the_first_is_the_error() {
        let mut settings = Settings::preset(Preset::Paper);
        settings.model.input_size = Auto::Value(4);
        settings.stage1.learning_rate = Auto::Value(f64::NAN);
        settings.augmentation.pad_crop = 65;
        settings.balance.batch_size = 0;
        settings.evaluation.few_below = 102;
        let problems = settings.problems();
        let keys: Vec<_> = problems.iter().map(|problem| problem.key).collect();
        assert_eq!(
            keys,
            [
                "model.input_size",
                "stage1.learning_rate",
                "augmentation.pad_crop",
                "balance.batch_size",
                "evaluation.few_below"
            ]
        );
        let first = settings.validate().unwrap_err().to_string();
        assert!(first.contains(problems[0].key) && first.contains(&problems[0].reason), "{first}");

        for (batch_size, parts, right) in
            [(64, 1, true), (64, 32, true), (64, 33, false), (64, 0, false), (3, 2, false)]
        {
            let mut settings = Settings::preset(Preset::Quick);
            (settings.stage1.batch_size, settings.stage1.accumulation) = (batch_size, parts);
            assert_eq!(settings.validate().is_ok(), right, "{batch_size} in {parts}");
        }
        let mut settings = Settings::preset(Preset::Paper);
        settings.evaluation.many_above = usize::MAX;
        settings.balance.batch_size = 1;
        assert_eq!(settings.balance.features, FeatureSource::Network);
        let problems = settings.problems();
        assert_eq!(problems.len(), 1);
        assert!(problems[0].reason.contains("two samples"));
        assert!(
            problems.iter().all(|problem| Settings::keys().iter().any(|key| key == problem.key))
        );
    }
}
