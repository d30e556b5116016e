//! What is found of a result: a sentence each, with the best grade that a result can have with it.

use super::evaluation::{ClassResult, Evaluation};
use super::guessing::{Guessing, HeldInTurn, Z, predicted_shares};
use super::verdict::{Evidence, Finding, FindingKind, Grade, images_of, percent, plural, quoted};
use crate::record::EpochRecord;
use crate::source::Split;

/// Half-width of the interval of the balanced accuracy from which on a split cannot tell how good a
/// classifier is.
pub(super) const WIDE: f64 = 0.1;
/// Part of the images, with classes as frequent as in training, that balancing may cost unsaid.
const PRICE: f64 = 0.05;
/// The share of what is taken for a class that is of it, below which it is said.
const ALARMS: f64 = 0.2;
/// Part of the classes of which nothing may be known of a usable result.
const UNKNOWN: f64 = 0.25;
/// How much better other images may be recognised before it is said.
const UNLIKE: f64 = 0.1;
/// Share of the images from which on one class is nearly everything.
const NEARLY_ALL: f64 = 0.9;
/// Training accuracy from which on images are known by heart, if others are not.
const BY_HEART: f64 = 0.9;
/// How much lower accuracy on other images may be.
const GAP: f64 = 0.5;
/// Classes that are named in a sentence.
pub(super) const NAMED: usize = 3;
/// Samples of a class from which on it means something that none is taken for it, or how many are
/// right.
pub(crate) const TELLING: usize = 5;

/// The evidence with what follows from it.
pub(super) struct Case<'a> {
    pub evidence: &'a Evidence<'a>,
    pub guessing: Guessing,
    /// The share of all samples that is taken for each class.
    predicted: Vec<f64>,
}

impl<'a> Case<'a> {
    pub fn of(evidence: &'a Evidence<'a>) -> Self {
        let evaluation = evidence.evaluation;
        Self {
            evidence,
            guessing: Guessing::of(evaluation),
            predicted: predicted_shares(evaluation),
        }
    }

    pub fn findings(&self) -> Vec<Finding> {
        let lost = self.balancing_lost();
        let parts = [
            self.judged_on_training(),
            self.no_better_than_guessing(),
            self.no_better_than_the_largest_class(),
            self.barely_better(),
            self.memorised(),
            self.never_learned(),
            self.split_too_small(),
            self.nearly_one_class(),
            self.never_predicted(),
            self.unlike_training(),
            self.costs_frequent_classes(),
            self.false_alarms(),
            self.copies_left_out(),
            self.unmeasured(),
        ];
        lost.into_iter().chain(parts.into_iter().flatten()).collect()
    }

    pub fn evaluation(&self) -> &Evaluation {
        self.evidence.evaluation
    }

    pub fn found(&self) -> f64 {
        self.evaluation().balanced_accuracy
    }

    /// Whether there is more than one class to tell apart in the split.
    fn can_be_compared(&self) -> bool {
        self.guessing.classes > 1
    }

    /// No better than guessing, and not even looking better.
    pub fn is_at_chance(&self) -> bool {
        self.can_be_compared()
            && !self.guessing.better
            && !self.guessing.is_visible(self.found())
            && self.known_better().is_none()
    }

    pub fn is_weak(&self) -> bool {
        self.can_be_compared()
            && (!self.guessing.better || self.guessing.is_weak(self.found()))
            && self.known_better().is_none()
    }

    /// What was held out in turn, where it is surely better than guessing and the split, drawn from the
    /// same images, is not: of a few series a split tells less than its number of images looks like.
    fn known_better(&self) -> Option<&HeldInTurn> {
        let held = self.held_of_the_same().filter(|_| !self.guessing.better)?;
        let is_better = held.balanced_accuracy - Z * held.error > self.guessing.chance
            && !self.guessing.is_low(held.balanced_accuracy);
        is_better.then_some(held)
    }

    /// Worthless where the result is at chance anyway, else doubtful: what explains a bad result is
    /// no news of a better one.
    fn worthless_at_chance(&self) -> Grade {
        if self.is_at_chance() { Grade::Worthless } else { Grade::Doubtful }
    }

    fn judged_on_training(&self) -> Option<Finding> {
        let sentence = match (self.evidence.split, self.evidence.all_copies) {
            (Split::Train, _) => {
                "Judged on the images it was trained on, which says nothing about new ones."
            }
            (_, true) => {
                "Every one of these images has an exact copy in training, which says nothing about new ones."
            }
            _ => return None,
        };
        Some(finding(FindingKind::JudgedOnTraining, Grade::Doubtful, sentence))
    }

    fn no_better_than_guessing(&self) -> Option<Finding> {
        if !self.can_be_compared() || self.guessing.better {
            return None;
        }
        let numbers = format!(
            "{} where guessing gives {}",
            percent(self.found()),
            percent(self.guessing.chance)
        );
        if let Some(held) = self.known_better() {
            let sentence = format!(
                "Better than guessing on images that were held out in turn, which are more ({}), and not on the {} {} images ({numbers}): these are too few, or too few series, to tell by.",
                percent(held.balanced_accuracy),
                self.evaluation().samples,
                images_of(self.evidence.split)
            );
            return Some(finding(FindingKind::SplitTooSmall, Grade::Doubtful, sentence));
        }
        Some(match self.is_at_chance() {
            true => finding(
                FindingKind::NoBetterThanGuessing,
                Grade::Worthless,
                format!("No better than guessing: {numbers}."),
            ),
            // Of so few images that the difference means nothing, it does not mean either that
            // there is none.
            false => finding(
                FindingKind::NoBetterThanGuessing,
                Grade::Doubtful,
                format!(
                    "Cannot be told from guessing: {numbers}, on {} images.",
                    self.evaluation().samples
                ),
            ),
        })
    }

    /// On an uneven split a classifier can be right often by always saying the same. One that has
    /// learned rare classes may be right less often and still be worth more, so this counts only
    /// where the classes as such are not told apart.
    fn no_better_than_the_largest_class(&self) -> Option<Finding> {
        let evaluation = self.evaluation();
        let largest = evaluation.per_class.iter().max_by_key(|class| class.samples)?;
        let n = evaluation.samples as f64;
        let share = largest.samples as f64 / n;
        let beyond = Z * (share * (1.0 - share) / n).sqrt();
        if !self.is_weak() || share < 1.5 * self.guessing.chance || evaluation.top1 > share + beyond
        {
            return None;
        }
        // Barely better than guessing by class, and no better by image: neither way is it of use.
        let grade =
            if self.guessing.better { Grade::Worthless } else { self.worthless_at_chance() };
        Some(finding(
            FindingKind::NoBetterThanLargestClass,
            grade,
            format!(
                "Right on {} of the images, where always saying {} is right on {}.",
                percent(evaluation.top1),
                quoted(&largest.name),
                percent(share)
            ),
        ))
    }

    fn barely_better(&self) -> Option<Finding> {
        let numbers = format!(
            "{} where guessing gives {}.",
            percent(self.found()),
            percent(self.guessing.chance)
        );
        let (kind, words) = match self.is_weak() {
            _ if !self.can_be_compared() || !self.guessing.better => return None,
            true => (FindingKind::BarelyBetterThanGuessing, "Barely better than guessing"),
            false if self.guessing.is_low(self.found()) => {
                (FindingKind::MostlyWrong, "Better than guessing, and still mostly wrong")
            }
            false => return None,
        };
        Some(finding(kind, Grade::Doubtful, format!("{words}: {numbers}")))
    }

    fn memorised(&self) -> Option<Finding> {
        let trained = self.stage1().last()?.train_accuracy;
        if self.evidence.split == Split::Train || trained < BY_HEART || !self.can_be_compared() {
            return None;
        }
        let top1 = self.evaluation().top1;
        // A split too small to tell by says nothing of what was learned.
        let helps_not = self.is_at_chance() || self.guessing.is_weak(self.found());
        // Training images are mostly of the large classes: what is right on these alone is right on
        // most of them, and nothing was learned by heart.
        let of_class = |class: &ClassResult| Some((class.train_count as f64, class.accuracy?));
        let classes = || self.evaluation().per_class.iter().filter_map(of_class);
        let total: f64 = classes().map(|(count, _)| count).sum();
        let alike = classes().map(|(count, right)| count * right).sum::<f64>() / total.max(1.0);
        if alike >= trained - if helps_not { GAP / 2.0 } else { GAP } {
            return None;
        }
        let sentence = match helps_not {
            true => format!(
                "Has learned its training images by heart ({} right), and that helps with no others.",
                percent(trained)
            ),
            false if top1 < trained - GAP => {
                format!(
                    "Right on {} of its training images and on {} of others: many are only learned by heart.",
                    percent(trained),
                    percent(top1)
                )
            }
            false => return None,
        };
        Some(finding(FindingKind::Memorised, self.worthless_at_chance(), sentence))
    }

    /// A guess that uses only how frequent the classes are has a loss of their entropy H = −Σ π_k
    /// ln π_k, at most ln C.
    fn never_learned(&self) -> Option<Finding> {
        let history = self.stage1();
        let (first, last) = (history.first()?, history.last()?);
        if !self.is_weak() {
            return None;
        }
        let ends = &history[history.len() - history.len().min(3)..];
        let end = ends.iter().map(|record| record.train_loss).sum::<f64>() / ends.len() as f64;
        let counts: Vec<f64> =
            self.evaluation().per_class.iter().map(|class| class.train_count as f64).collect();
        let total = counts.iter().sum::<f64>().max(1.0);
        let shares = || counts.iter().map(|count| count / total).filter(|share| *share > 0.0);
        let ignorant: f64 = shares().map(|share| -share * share.ln()).sum();
        let largest = shares().fold(0.0, f64::max);
        let never_fell = end > 0.95 * ignorant
            || (history.len() > 1 && end > 0.97 * first.train_loss && end > 0.8 * ignorant);
        let most = history.iter().map(|record| record.train_accuracy).fold(0.0, f64::max);
        let sentence = if never_fell {
            format!(
                "It has learned next to nothing: the training loss went from {:.2} to {:.2} in {}.",
                first.train_loss,
                end,
                epochs(last.epoch)
            )
        } else if most < largest + 0.02 {
            format!(
                "It has learned next to nothing: never right on more than {} of its training images, where always saying the largest class is \
                 right on {}.",
                percent(most),
                percent(largest)
            )
        } else {
            return None;
        };
        Some(finding(FindingKind::NeverLearned, self.worthless_at_chance(), sentence))
    }

    fn split_too_small(&self) -> Option<Finding> {
        let Guessing { least, most, interval: [low, high], error, better, .. } = self.guessing;
        let images = match self.evidence.split {
            Split::Train => return None,
            Split::Validation => "validation",
            Split::Test => "test",
        };
        if !self.can_be_compared() {
            let sentence =
                format!("The {images} images are all of one class, which tells nothing.");
            return Some(finding(FindingKind::SplitTooSmall, Grade::Doubtful, sentence));
        }
        // What is told by more images is told with them, there or in the first sentence of all.
        let is_told =
            || self.known_better().is_some() || better && self.known_from_more().is_some();
        if Z * error <= WIDE || is_told() {
            return None;
        }
        let few = match least == most {
            true => format!("{least} {images} {} a class", plural(least, "image")),
            false => format!(
                "{} {images} images with as few as {least} of a class",
                self.evaluation().samples
            ),
        };
        let whole = |share: f64| format!("{:.0}", 100.0 * share);
        let sentence = match better {
            true => format!(
                "Better than guessing, but {few} cannot tell how much: anything from {} to {} %.",
                whole(low),
                whole(high)
            ),
            false => format!(
                "{few} cannot tell how good it is: anything from {} to {} %.",
                whole(low),
                whole(high)
            ),
        };
        let more = self.held_of_the_same().filter(|_| better);
        let Some(expected) = more else {
            return Some(finding(FindingKind::SplitTooSmall, Grade::Doubtful, sentence));
        };
        let held = expected.right.iter().filter(|[_, held]| *held > 0).count();
        let of_classes = match expected.knows_all(self.evaluation()) {
            true => String::new(),
            false => format!(
                ", of {held} of {} classes: of the {} there are too few",
                expected.right.len(),
                if held + 1 == expected.right.len() { "other" } else { "others" }
            ),
        };
        let sentence = format!(
            "{sentence} On the images that were held out in turn, which are more, it is {}{of_classes}.",
            percent(expected.balanced_accuracy)
        );
        Some(finding(FindingKind::SplitTooSmall, Grade::Doubtful, sentence))
    }

    /// What was held out in turn, if it is as good as the split: where that was drawn from the same images
    /// or, once others were added to these, nothing tells the two apart.
    fn held_of_the_same(&self) -> Option<&HeldInTurn> {
        let Evidence { expected, is_drawn, is_grown, .. } = *self.evidence;
        expected.filter(|held| {
            let [held, seen] = held.of_both(self.evaluation());
            let gap = held.balanced_accuracy - seen.balanced_accuracy;
            is_drawn || (is_grown && gap.abs() <= Z * held.error.hypot(seen.error))
        })
    }

    /// The balanced accuracy on images that were held out in turn, where they tell it and the split,
    /// which chance drew from the same images, is too small to. Where classes of the split are missing
    /// among them, which are the rarest, it is another mean.
    pub(super) fn known_from_more(&self) -> Option<f64> {
        let held = self.held_of_the_same()?;
        let tells = Z * self.guessing.error > WIDE
            && Z * held.error <= WIDE
            && held.knows_all(self.evaluation());
        tells.then_some(held.balanced_accuracy)
    }

    fn nearly_one_class(&self) -> Option<Finding> {
        let evaluation = self.evaluation();
        let (class, share) =
            evaluation.per_class.iter().zip(&self.predicted).max_by(|a, b| a.1.total_cmp(b.1))?;
        let true_share = class.samples as f64 / evaluation.samples.max(1) as f64;
        // What is nearly everything in the split may well be called so.
        if !self.can_be_compared() || *share < NEARLY_ALL || true_share > share - 0.1 {
            return None;
        }
        let sentence = format!(
            "Calls nearly everything {}: {} of the images, where {} are.",
            quoted(&class.name),
            percent(*share),
            percent(true_share)
        );
        Some(finding(FindingKind::NearlyOneClass, self.worthless_at_chance(), sentence))
    }

    fn never_predicted(&self) -> Option<Finding> {
        let never = || {
            let classes = self.evaluation().per_class.iter().zip(&self.predicted);
            classes
                .filter(|(class, share)| class.samples > 0 && **share == 0.0)
                .map(|(class, _)| class)
        };
        let all = never().count();
        if all == 0 || !self.can_be_compared() {
            return None;
        }
        // Of a class with few images none need be taken for it here.
        let told = || never().filter(|class| class.samples >= TELLING);
        let count = told().count();
        if count == 0 {
            let sentence = format!(
                "No image is taken for {}: of {} fewer than {TELLING} images here, too few to tell whether {} recognised.",
                some_of(never(), all),
                if all == 1 { "it there are" } else { "each there are" },
                if all == 1 { "it is" } else { "they are" },
            );
            return Some(finding(FindingKind::NeverPredicted, Grade::Usable, sentence));
        }
        let classes = some_of(told(), count);
        // A few of very many classes may go without a prediction by luck.
        let grade =
            if 10 * count >= self.guessing.classes { Grade::Doubtful } else { Grade::Usable };
        Some(finding(FindingKind::NeverPredicted, grade, format!("Never says {classes}.")))
    }

    /// What was chosen on other images suits these less, and what is said of those is not true of
    /// these.
    fn unlike_training(&self) -> Option<Finding> {
        let held = self.evidence.expected.filter(|_| !self.evidence.is_drawn)?;
        let [held, seen] = held.of_both(self.evaluation());
        let gap = held.balanced_accuracy - seen.balanced_accuracy;
        if gap < UNLIKE || gap <= Z * held.error.hypot(seen.error) {
            return None;
        }
        let sentence = format!(
            "Images that were held out from training are recognised with {}, these with {}: they are unlike those, so that balance and weight decay, which were chosen on those, may not suit them.",
            percent(held.balanced_accuracy),
            percent(seen.balanced_accuracy)
        );
        Some(finding(FindingKind::UnlikeTraining, Grade::Usable, sentence))
    }

    /// Where every class counts alike, frequent ones pay for rare ones. That is what balancing is
    /// for, and everybody should know how much it is.
    fn costs_frequent_classes(&self) -> Option<Finding> {
        // What took accuracy away altogether is no price.
        if self.balancing_lost().is_some() {
            return None;
        }
        let after = self.evaluation().accuracy_as_trained();
        let before = self.evidence.before.map(Evaluation::accuracy_as_trained);
        let paid = before.filter(|before| before - after >= PRICE);
        let largest = self.evaluation().largest_as_trained().filter(|(_, share)| after < *share);
        let less = largest.map_or_else(String::new, |(name, share)| {
            format!(", less than always saying {} ({})", quoted(name), percent(share))
        });
        let sentence = match paid {
            Some(before) => format!(
                "Balancing has its price: of images with classes as frequent as in training {} are right instead of {}{less}.",
                percent(after),
                percent(before)
            ),
            // Of who tells next to nothing apart other things are said.
            None if largest.is_some() && !self.guessing.is_low(self.found()) => format!(
                "Of images with classes as frequent as in training {} are right{less}: it is of use where every class counts alike.",
                percent(after)
            ),
            None => return None,
        };
        Some(finding(FindingKind::CostsFrequentClasses, Grade::Usable, sentence))
    }

    /// Classes of which next to nothing that is taken for them is, once frequent classes are as
    /// frequent as they are: a share of them that is hardly worth naming is more than all of a rare
    /// class.
    fn false_alarms(&self) -> Option<Finding> {
        // Who tells next to nothing apart is wrong about everything.
        if self.guessing.is_low(self.found()) {
            return None;
        }
        let classes = &self.evaluation().per_class;
        let taken = self.evaluation().confusion.predicted();
        let precision = self.evaluation().precision_as_trained();
        let trained: usize = classes.iter().map(|class| class.train_count).sum();
        let is_rare = |class: &ClassResult| class.train_count * classes.len() < trained;
        let mut found: Vec<(f64, &ClassResult)> = classes
            .iter()
            .zip(&taken)
            .zip(precision)
            .filter_map(|((class, &taken), precision)| {
                // A few wrong ones tell little of how many there would be.
                let enough = taken >= class.correct + TELLING && is_rare(class);
                let told = |share: &f64| enough && (f64::MIN_POSITIVE..ALARMS).contains(share);
                precision.filter(told).map(|share| (share, class))
            })
            .collect();
        found.sort_by(|a, b| a.0.total_cmp(&b.0));
        let named: Vec<String> = found
            .iter()
            .take(NAMED)
            .map(|(share, class)| format!("1 in {:.0} of {}", 1.0 / share, quoted(&class.name)))
            .collect();
        let more = match found.len() - named.len() {
            0 => String::new(),
            more => format!(", and few of {more} more"),
        };
        let sentence = format!(
            "With classes as frequent as in training, most of what is taken for rare classes is not of them: about {}{more} would be right.",
            named.join(", ")
        );
        (!found.is_empty()).then(|| finding(FindingKind::FalseAlarms, Grade::Usable, sentence))
    }

    fn copies_left_out(&self) -> Option<Finding> {
        let (copies, images) = (self.evidence.copies, images_of(self.evidence.split));
        let (have, are) = if copies == 1 { ("has", "is") } else { ("have", "are") };
        let sentence = format!(
            "{copies} of the {} {images} images {have} an exact copy in training and {are} left out of this verdict.",
            copies + self.evaluation().samples
        );
        (copies > 0).then(|| finding(FindingKind::CopiesLeftOut, Grade::Usable, sentence))
    }

    /// Classes of which there is no image to judge by.
    fn unmeasured(&self) -> Option<Finding> {
        let held = |class: usize| {
            let held = self.evidence.expected.and_then(|held| held.right.get(class));
            held.is_some_and(|[_, images]| *images > 0)
        };
        let per_class = &self.evaluation().per_class;
        let (known, unknown): (Vec<usize>, Vec<usize>) = (0..per_class.len())
            .filter(|&class| per_class[class].samples == 0)
            .partition(|&class| held(class));
        let named = |classes: &[usize]| match classes.len() {
            few if few <= NAMED => {
                let names = classes.iter().map(|&class| quoted(&per_class[class].name));
                names.collect::<Vec<_>>().join(", ")
            }
            many => format!("{many} of {} classes", per_class.len()),
        };
        let images = images_of(self.evidence.split);
        let but = if self.evidence.copies > 0 { " that training has not, too" } else { "" };
        let sentence = match (known.is_empty(), unknown.is_empty()) {
            (true, true) => return None,
            (false, true) => {
                format!("There is no image of {} among the {images} images{but}.", named(&known))
            }
            _ => format!(
                "Nothing is known of {}: there is no such image among the {images} images{but}.",
                named(&unknown)
            ),
        };
        let of_all = unknown.len() as f64 / per_class.len().max(1) as f64;
        let grade = if of_all > UNKNOWN { Grade::Doubtful } else { Grade::Usable };
        Some(finding(FindingKind::Unmeasured, grade, sentence))
    }

    /// The two are of the same images, so that their errors largely cancel: one standard error of
    /// the difference of independent ones is about two of theirs.
    fn balancing_lost(&self) -> Option<Finding> {
        let before = self.evidence.before?;
        let was = Guessing::of(before);
        let lost = before.balanced_accuracy - self.found();
        if lost < 0.005 || lost <= was.error.hypot(self.guessing.error) {
            return None;
        }
        let grade = if was.better { self.worthless_at_chance() } else { Grade::Doubtful };
        let sentence = format!(
            "Balancing made it worse: {} before, {} after.",
            percent(before.balanced_accuracy),
            percent(self.found())
        );
        Some(finding(FindingKind::BalancingLost, grade, sentence))
    }

    fn stage1(&self) -> Vec<&EpochRecord> {
        self.evidence.history.iter().filter(|record| record.stage == 1).collect()
    }
}

fn finding(kind: FindingKind, grade: Grade, sentence: impl Into<String>) -> Finding {
    Finding { kind, grade, sentence: sentence.into() }
}

fn epochs(count: usize) -> String {
    format!("{count} {}", plural(count, "epoch"))
}

/// The names of `count` classes, or of the first few of them.
fn some_of<'a>(classes: impl Iterator<Item = &'a ClassResult>, count: usize) -> String {
    let named: Vec<String> = classes.take(NAMED).map(|class| quoted(&class.name)).collect();
    match (count > NAMED, named.as_slice()) {
        (true, names) => {
            let others = if count == NAMED + 1 { "class" } else { "classes" };
            format!("{} and {} other {others}", names.join(", "), count - NAMED)
        }
        (false, [rest @ .., last]) if !rest.is_empty() => format!("{} or {last}", rest.join(", ")),
        (false, names) => names.join(", "),
    }
}
