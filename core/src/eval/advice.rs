//! What to try after a result, and how a usable one is told.

use super::evaluation::ClassResult;
use super::findings::{Case, NAMED, TELLING, WIDE};
use super::verdict::{Finding, FindingKind, Grade, images_of, percent, plural, quoted};
use crate::source::Split;

/// Training images below which a network learns nothing from initial weights that a pretrained one
/// does not know better.
pub(crate) const ENOUGH_FROM_SCRATCH: usize = 2000;

/// What to try, and how that is said on the command line, where it has words for it.
pub(super) struct Advice {
    pub text: String,
    pub command: String,
}

impl Advice {
    fn new(text: impl Into<String>, command: impl Into<String>) -> Self {
        Self { text: text.into(), command: command.into() }
    }
}

impl From<String> for Advice {
    fn from(text: String) -> Self {
        Self { text, command: String::new() }
    }
}

/// Balanced accuracy below which features of a pretrained network may be what is in the way.
const FITTING: f64 = 0.75;

impl Case<'_> {
    /// What to try: what the most telling of the findings asks for that the grade rests on.
    pub fn advice(&self, findings: &[Finding], grade: Grade) -> Advice {
        let Some(kind) = self.most_telling(findings, grade) else { return self.next() };
        self.advice_on(kind)
    }

    fn most_telling(&self, findings: &[Finding], grade: Grade) -> Option<FindingKind> {
        // An explanation asks for more than what it explains.
        let order = [
            FindingKind::BalancingLost,
            FindingKind::Memorised,
            FindingKind::NeverLearned,
            FindingKind::JudgedOnTraining,
            FindingKind::NoBetterThanGuessing,
            FindingKind::NoBetterThanLargestClass,
            FindingKind::SplitTooSmall,
            FindingKind::Unmeasured,
            FindingKind::BarelyBetterThanGuessing,
            FindingKind::MostlyWrong,
            FindingKind::NearlyOneClass,
            FindingKind::NeverPredicted,
        ];
        let has = |kind: FindingKind| {
            findings.iter().any(|finding| finding.kind == kind && finding.grade == grade)
        };
        order.into_iter().find(|kind| has(*kind))
    }

    fn advice_on(&self, kind: FindingKind) -> Advice {
        let (other, preset) = self.other_features();
        match kind {
            FindingKind::BalancingLost => Advice::new(
                "Keep the classifier as trained.",
                "export RUN --checkpoint last, or best where there is one",
            ),
            FindingKind::Memorised if self.is_weak() => {
                let check = "Check the labels: images that can be learned by heart and teach nothing about others often have shuffled or wrong ones.";
                Advice::new(format!("{check} If they are right, {other}."), preset)
            }
            FindingKind::Memorised => {
                Advice::new(format!("Add images of the classes it fails at, or {other}."), preset)
            }
            FindingKind::NeverLearned if !self.evidence.pretrained => Advice::new(
                "Start from what a pretrained network has seen before, or train for more epochs: few images make few steps an epoch.",
                "--preset auto",
            ),
            FindingKind::JudgedOnTraining => Advice::new(
                "Judge it by images that it has not seen: new ones, or those that its run held out. Where none were, hold some out when the dataset is built.",
                "evaluate RUN, or build --validation SHARE --test SHARE",
            ),
            FindingKind::NoBetterThanGuessing if !self.is_at_chance() => self.hold_out_more(),
            _ if self.evidence.pretrained
                && kind != FindingKind::SplitTooSmall
                && self.guessing.is_low(self.found()) =>
            {
                Advice::new(
                    format!("Check that the labels fit what the images show, or {other}."),
                    preset,
                )
            }
            FindingKind::NoBetterThanGuessing
            | FindingKind::NoBetterThanLargestClass
            | FindingKind::BarelyBetterThanGuessing
            | FindingKind::MostlyWrong
                if self.evidence.history.is_empty() =>
            {
                Advice::new(
                    "Check that these are the classes it was trained on, in the same order, and that its normalisation is what it was trained with.",
                    "--mean M --std S for a model file, --set model.normalisation=… for a checkpoint",
                )
            }
            FindingKind::NeverLearned
            | FindingKind::NoBetterThanGuessing
            | FindingKind::NoBetterThanLargestClass
            | FindingKind::BarelyBetterThanGuessing
            | FindingKind::MostlyWrong => Advice::new(
                "Start from what a pretrained network has seen before, train for more epochs, or add images of the rarest classes.",
                "--preset auto",
            ),
            FindingKind::SplitTooSmall | FindingKind::Unmeasured => self.hold_out_more(),
            FindingKind::UnlikeTraining
            | FindingKind::CostsFrequentClasses
            | FindingKind::FalseAlarms
            | FindingKind::CopiesLeftOut => self.next(),
            FindingKind::NearlyOneClass | FindingKind::NeverPredicted => {
                let rarest =
                    self.evaluation().per_class.iter().min_by_key(|class| class.train_count);
                let name = rarest.map(|class| quoted(&class.name)).unwrap_or_default();
                let text = format!(
                    "Balance the classifier, or add images of the rarest classes, such as {name}."
                );
                Advice::new(text, "balance RUN")
            }
        }
    }

    /// Where else features could come from, and the option for it.
    fn other_features(&self) -> (&'static str, &'static str) {
        let images: usize = self.evaluation().per_class.iter().map(|class| class.train_count).sum();
        match self.evidence.pretrained {
            true if images < ENOUGH_FROM_SCRATCH => {
                ("let the whole network learn on, which takes long", "--preset fine-tune")
            }
            true => ("train from scratch", "--preset quick"),
            false => ("start from what a pretrained network has seen before", "--preset auto"),
        }
    }

    /// That features may be in the way, where they stay what they were learned to be from other images and
    /// tell these hardly apart.
    fn features_that_do_not_fit(&self) -> Option<&'static str> {
        let found = self.known_from_more().unwrap_or(self.found());
        (self.evidence.pretrained && !self.evidence.history.is_empty() && found < FITTING).then_some(
            " Where images are unlike photos, letting the whole network learn on brings far more than that: try it beside this.",
        )
    }

    /// The rarest classes, if so many images of each cannot be held out because there are not as many.
    fn too_rare_for(&self, enough: usize) -> Vec<String> {
        let images = |class: &&ClassResult| class.train_count + class.samples;
        let classes = &self.evaluation().per_class;
        let mut rare: Vec<&ClassResult> =
            classes.iter().filter(|class| images(class) < 2 * enough).collect();
        rare.sort_by_key(images);
        rare.into_iter().take(NAMED).map(|class| quoted(&class.name)).collect()
    }

    fn hold_out_more(&self) -> Advice {
        let rare = self.too_rare_for(self.guessing.enough(WIDE));
        // Of what was drawn here it is known how many there are.
        if (self.evidence.is_drawn || self.evidence.is_grown) && !rare.is_empty() {
            let text = format!(
                "Collect more images of the rarest classes, such as {}: there are too few of them to hold out as many as would tell.",
                rare.join(", ")
            );
            return match self.features_that_do_not_fit() {
                Some(other) => Advice::new(text + other, "--preset fine-tune"),
                None => text.into(),
            };
        }
        let (what, option) = match self.evidence.split {
            Split::Test => ("testing", "test"),
            _ => ("validation", "validation"),
        };
        let enough = match self.guessing.enough(WIDE) {
            few if few <= self.guessing.least => String::new(),
            enough => format!(" (some {enough} of each class would do)"),
        };
        let text = format!(
            "Hold out more images for {what} when the dataset is built{enough}, or collect more of the rarest classes."
        );
        Advice::new(text, format!("build --{option} SHARE"))
    }

    pub fn usable(&self) -> String {
        let [low, high] = self.guessing.interval;
        let worst = self.worst().filter(|class| class.accuracy.is_some_and(|of| of < 1.0));
        let few = worst
            .filter(|class| class.samples < 10)
            .map(|class| format!(" (of {} {})", class.samples, plural(class.samples, "image")));
        let weakest = worst.map(|class| {
            let accuracy = format!("{:.0} %", 100.0 * class.accuracy.unwrap_or_default());
            // Of those with fewer images one may have been missed altogether, by chance or not.
            let accuracy_of = |class: &ClassResult| class.accuracy.unwrap_or(1.0);
            let mut others = self.evaluation().per_class.iter();
            let of = match others.any(|other| accuracy_of(other) < accuracy_of(class)) {
                true => format!(" of those with {TELLING} images or more"),
                false => String::new(),
            };
            format!(
                "; the weakest class{of}, {}, {accuracy}{}",
                quoted(&class.name),
                few.unwrap_or_default()
            )
        });
        let range = format!("{:.0} to {:.0} %", 100.0 * low, 100.0 * high);
        let found = match self.known_from_more() {
            Some(expected) => format!(
                "{} balanced accuracy on images held out in turn, {} ({range}) on the few {} images,",
                percent(expected),
                percent(self.found()),
                images_of(self.evidence.split)
            ),
            None => format!("{} balanced accuracy ({range})", percent(self.found())),
        };
        format!(
            "Usable: {found} where guessing gives {}{}.",
            percent(self.guessing.chance),
            weakest.unwrap_or_default()
        )
    }

    /// What to do with a usable result.
    pub fn next(&self) -> Advice {
        let classes = &self.evaluation().per_class;
        let counts = || classes.iter().map(|class| class.train_count);
        let (most, all) = (counts().max().unwrap_or(0), counts().sum::<usize>());
        // One that has more images than most is weak for another reason, such as balancing.
        let lacks = |class: &&ClassResult| {
            let are_equal = most * classes.len() == all;
            are_equal
                || (class.train_count < most && 2 * class.train_count * classes.len() <= 3 * all)
        };
        match self
            .worst()
            .filter(|class| class.accuracy.is_some_and(|accuracy| accuracy < self.found() - 0.2))
            .filter(lacks)
        {
            Some(class) => {
                let text = format!("More images of {} would help most.", quoted(&class.name));
                match self.features_that_do_not_fit() {
                    Some(other) => Advice::new(text + other, "--preset fine-tune"),
                    None => text.into(),
                }
            }
            None if self.features_that_do_not_fit().is_some() => Advice::new(
                "Where images are unlike photos, letting the whole network learn on often brings more: try it beside this.",
                "--preset fine-tune",
            ),
            None => "Try it on images of your own before you rely on it.".to_string().into(),
        }
    }

    /// The class that is recognised least, of those with enough images to tell.
    fn worst(&self) -> Option<&ClassResult> {
        let told = |class: &&ClassResult| class.samples >= TELLING;
        let classes = self.evaluation().per_class.iter().filter(told);
        let accuracy = |class: &ClassResult| class.accuracy.unwrap_or_default();
        classes.min_by(|a, b| accuracy(a).total_cmp(&accuracy(b)))
    }
}
