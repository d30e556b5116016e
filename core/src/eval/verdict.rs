//! What a result is worth, in a sentence for people who never trained a model.

use serde::{Deserialize, Serialize};

use super::evaluation::Evaluation;
use super::findings::Case;
use super::guessing::HeldInTurn;
use crate::record::EpochRecord;
use crate::source::Split;

/// What a result is worth.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Grade {
    /// As good as guessing: nothing should be done with it.
    Worthless,
    /// There is something in it, and a reason not to rely on it yet.
    Doubtful,
    /// Nothing speaks against using it.
    Usable,
}

impl Grade {
    /// The grade in a word: `worthless`, `doubtful` or `usable`.
    pub fn name(self) -> &'static str {
        match self {
            Grade::Worthless => "worthless",
            Grade::Doubtful => "doubtful",
            Grade::Usable => "usable",
        }
    }
}

/// What a verdict rests on.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum FindingKind {
    /// Balancing took accuracy away.
    BalancingLost,
    /// It was judged on images it was trained on.
    JudgedOnTraining,
    /// The balanced accuracy is not above 1 / classes, or not so far that luck does not explain it.
    NoBetterThanGuessing,
    /// Always naming the largest class of the split is right as often.
    NoBetterThanLargestClass,
    /// The balanced accuracy is above 1 / classes, by little.
    BarelyBetterThanGuessing,
    /// It is many times better than guessing among many classes, and wrong most of the time.
    MostlyWrong,
    /// Training images are known by heart and others are not.
    Memorised,
    /// The training loss never fell.
    NeverLearned,
    /// The split has too few images to judge by.
    SplitTooSmall,
    /// Nearly every image is taken for one class.
    NearlyOneClass,
    /// Classes that no image is ever taken for.
    NeverPredicted,
    /// Classes that the split has no image of.
    Unmeasured,
    /// Balancing costs many of the images of frequent classes, or always naming the largest is right
    /// more often, with classes as frequent as in training.
    CostsFrequentClasses,
    /// With classes as frequent as in training, little of what is taken for a class is of it.
    FalseAlarms,
    /// Images of the split that training has, too, were left out.
    CopiesLeftOut,
    /// Images that were held out from training are recognised far better than those of the split.
    UnlikeTraining,
}

/// One thing that was found.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Finding {
    /// What it is.
    pub kind: FindingKind,
    /// The best grade that a result with this finding can have.
    pub grade: Grade,
    /// It in a plain sentence.
    pub sentence: String,
}

/// What a result is worth, and why.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Verdict {
    /// The grade: the worst of the findings'.
    pub grade: Grade,
    /// What it is worth, in one plain sentence.
    pub sentence: String,
    /// What to try, in one sentence.
    pub advice: String,
    /// The command or option for that; empty where there is none.
    #[serde(default)]
    pub command: String,
    /// The split it was judged on.
    pub split: Split,
    /// The balanced accuracy there, in 0..1.
    pub balanced_accuracy: f64,
    /// The same on images that were held out in turn, where these tell it and the split, which chance
    /// drew from the same images, is too small to.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub held_in_turn: Option<f64>,
    /// The balanced accuracy of guessing: 1 / classes that have samples.
    pub chance: f64,
    /// The 95 % interval of the balanced accuracy.
    pub interval: [f64; 2],
    /// Everything that was found, what matters most first. None of a usable result needs to be
    /// acted on.
    pub findings: Vec<Finding>,
}

impl Verdict {
    /// The findings that [`Verdict::sentence`] does not say already.
    pub fn others(&self) -> impl Iterator<Item = &Finding> {
        self.findings.iter().filter(|finding| finding.sentence != self.sentence)
    }

    /// The accuracy beside that of guessing:
    /// `22.6 % balanced accuracy on the validation images, guessing gives 16.7 %`.
    pub fn against_guessing(&self) -> String {
        let images = images_of(self.split);
        let found = match self.held_in_turn {
            None => {
                format!(
                    "{} balanced accuracy on the {images} images",
                    percent(self.balanced_accuracy)
                )
            }
            Some(held) => format!(
                "{} balanced accuracy on images held out in turn ({} on the few {images} images)",
                percent(held),
                percent(self.balanced_accuracy)
            ),
        };
        format!("{found}, guessing gives {}", percent(self.chance))
    }

    /// [`Verdict::against_guessing`] with what speaks against relying on it, if anything does.
    pub fn worth(&self) -> String {
        match self.grade {
            Grade::Usable => self.against_guessing(),
            grade => format!("{} ({}: {})", self.against_guessing(), grade.name(), self.sentence),
        }
    }
}

/// What a verdict is made of.
#[derive(Clone, Copy, Debug)]
pub struct Evidence<'a> {
    /// The result.
    pub evaluation: &'a Evaluation,
    /// The split it is of.
    pub split: Split,
    /// Finished epochs of the run; those of stage 1 are looked at. Without any, it was trained
    /// elsewhere, and nothing is said of that.
    pub history: &'a [EpochRecord],
    /// Whether the classifier stands on features that were learned before, from other images: then
    /// starting from such features is not advised.
    pub pretrained: bool,
    /// For a balanced classifier: the classifier as trained, on the same split.
    pub before: Option<&'a Evaluation>,
    /// Images of the split that are no part of the result, since training has exact copies of them.
    pub copies: usize,
    /// Whether training has copies of all images of the result, so that nothing better is known.
    pub all_copies: bool,
    /// What such a classifier was right about on images that were held out in turn.
    pub expected: Option<&'a HeldInTurn>,
    /// Whether chance drew these images from the same ones as those: then they are not unlike them.
    pub is_drawn: bool,
    /// Whether chance drew them before other images were added to those.
    pub is_grown: bool,
}

impl<'a> Evidence<'a> {
    /// A result of which nothing else is known.
    pub fn of(evaluation: &'a Evaluation, split: Split) -> Self {
        Self {
            evaluation,
            split,
            history: &[],
            pretrained: false,
            before: None,
            copies: 0,
            all_copies: false,
            expected: None,
            is_drawn: false,
            is_grown: false,
        }
    }
}

/// Says what a result is worth. The same evidence gives the same verdict.
///
/// ```
/// use counterweight_core::source::Split;
/// use counterweight_core::eval::{Evidence, Grade, GroupThresholds, evaluate, verdict};
/// let names = ["deer".to_string(), "lynx".to_string()];
/// // Forty images of each, all taken for deer.
/// let (logits, labels) = ([1.0, 0.0].repeat(80), [[0_u32; 40], [1; 40]].concat());
/// let thresholds = GroupThresholds::default();
/// let evaluation = evaluate(&logits, &labels, &names, &[500, 8], thresholds).unwrap();
/// let verdict = verdict(&Evidence::of(&evaluation, Split::Test));
/// assert_eq!(verdict.grade, Grade::Worthless);
/// assert_eq!(verdict.sentence, "No better than guessing: 50.0 % where guessing gives 50.0 %.");
/// let finding = &verdict.findings[1].sentence;
/// assert!(finding.starts_with("Calls nearly everything “deer”: 100.0 % of the images"));
/// ```
pub fn verdict(evidence: &Evidence<'_>) -> Verdict {
    let Evidence { evaluation, split, .. } = *evidence;
    let case = Case::of(evidence);
    let findings = case.findings();
    let grade = findings.iter().map(|finding| finding.grade).min().unwrap_or(Grade::Usable);
    let (sentence, advice) = match findings.iter().find(|finding| finding.grade == grade) {
        Some(lead) if grade != Grade::Usable => {
            (lead.sentence.clone(), case.advice(&findings, grade))
        }
        _ => (case.usable(), case.next()),
    };
    Verdict {
        grade,
        sentence,
        advice: advice.text,
        command: advice.command,
        split,
        balanced_accuracy: evaluation.balanced_accuracy,
        held_in_turn: case.known_from_more(),
        chance: case.guessing.chance,
        interval: case.guessing.interval,
        findings,
    }
}

/// The word for the images of a split: `training`, `validation` or `test`.
pub(super) fn images_of(split: Split) -> &'static str {
    match split {
        Split::Train => "training",
        Split::Validation => "validation",
        Split::Test => "test",
    }
}

pub(super) fn percent(share: f64) -> String {
    format!("{:.1} %", 100.0 * share)
}

/// A class's name as it stands in a sentence: names can be words, too.
pub(super) fn quoted(name: &str) -> String {
    format!("“{name}”")
}

pub(super) fn plural(count: usize, word: &str) -> String {
    if count == 1 { word.to_string() } else { format!("{word}s") }
}

#[cfg(test)]
#[path = "verdict_tests.rs"]
pub(super) mod tests;
