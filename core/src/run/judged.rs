//! What a run's stored results are worth.

use serde::Deserialize;

use super::Run;
use crate::eval::{Evaluation, Evidence, Verdict, verdict};
use crate::source::Split;

/// The verdict of a stored evaluation, if it was stored with one.
#[derive(Deserialize)]
struct Stored {
    verdict: Option<Verdict>,
}

/// The numbers of one that was stored without.
#[derive(Deserialize)]
struct Numbers {
    #[serde(flatten)]
    evaluation: Evaluation,
}

impl Run {
    /// What a checkpoint is worth: by what is stored of it on validation, or on test or train where
    /// nothing is. Results of older versions, which hold no verdict, are judged now. `None` if the
    /// checkpoint was never evaluated.
    pub fn verdict(&self, checkpoint: &str) -> Option<Verdict> {
        [Split::Validation, Split::Test, Split::Train]
            .into_iter()
            .find_map(|split| self.verdict_on(checkpoint, split))
    }

    /// [`Run::verdict`] by one split.
    pub fn verdict_on(&self, checkpoint: &str, split: Split) -> Option<Verdict> {
        // First as the run's settings ask for it.
        let suffixes = if self.settings().evaluation.flip { ["-flip", ""] } else { ["", "-flip"] };
        suffixes.into_iter().find_map(|suffix| {
            let name = format!("{checkpoint}-{split}{suffix}");
            let Stored { verdict: stored } = self.read_result(&name).ok()?;
            stored.or_else(|| {
                let numbers = |name: &str| {
                    self.read_result::<Numbers>(name).ok().map(|found| found.evaluation)
                };
                let before = match checkpoint {
                    "balanced" => numbers(&format!("{}-{split}{suffix}", self.stage1_checkpoint())),
                    _ => None,
                };
                let evaluation = numbers(&name)?;
                let pretrained = self.settings().stage1.is_frozen();
                Some(verdict(&Evidence {
                    history: self.history(),
                    pretrained,
                    before: before.as_ref(),
                    ..Evidence::of(&evaluation, split)
                }))
            })
        })
    }
}

#[cfg(test)]
mod tests {
    use serde_json::Value;

    use super::*;
    use crate::eval::Grade;
    use crate::pipeline::test_run::trained;

    #[test]
    fn results_of_older_versions_are_judged_when_they_are_read() {
        let folder = tempfile::tempdir().unwrap();
        let run = trained(folder.path());
        let checkpoint = run.stage1_checkpoint();
        let stored = run.verdict(checkpoint).unwrap();
        assert_eq!(stored.split, Split::Validation);
        assert_eq!(run.verdict_on(checkpoint, Split::Test).unwrap().split, Split::Test);
        assert_eq!(run.verdict("balanced"), None);

        let name = format!("{checkpoint}-validation");
        let mut old: Value = run.read_result(&name).unwrap();
        old.as_object_mut().unwrap().remove("verdict").expect("new results hold one");
        run.write_result(&name, &old).unwrap();
        assert_eq!(run.verdict(checkpoint).unwrap(), stored);
        // One that is better than what it was made of, and one that is worse.
        old["balanced_accuracy"] = (stored.chance / 2.0).into();
        run.write_result("balanced-validation", &old).unwrap();
        assert_ne!(run.verdict("balanced").unwrap().grade, Grade::Usable);
    }
}
