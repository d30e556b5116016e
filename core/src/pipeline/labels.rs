//! Labels that are probably wrong, found fairly: rare classes are not accused for being rare.
//!
//! A label is doubted where two judges agree on the same other class. The first is a classifier that
//! has not seen the image, on features of the built-in backbone, with logits corrected for how
//! frequent classes are: without that, images of rare classes are taken for frequent ones, and most
//! of the labels that there are few of would be doubted. The second are the images most like it
//! (Zhu et al., *Detecting Corrupted Labels Without Training a Model to Predict*, 2022). docs/labels.md
//! compares what they find with confident learning.

use std::collections::{BTreeMap, HashSet};
use std::fmt::Write as _;
use std::path::Path;

use burn::tensor::Device;
use serde::Serialize;

use super::folds::{FOLDS, Part, part, places_of, rule_out};
use super::frozen::{FrozenBackbone, View};
use super::image_fit::teaching_on;
use super::train_classifier::{fit_on, untrained};
use super::weight_decay::choose_weight_decay;
use crate::balance::adjust_logits;
use crate::classifier::{Classifier, FeatureSet, Standardiser, unit_rows};
use crate::dataset::{Dataset, DatasetSample};
use crate::error::{ModelError, Result, TrainError};
use crate::eval::{Answer, check};
use crate::files::write_table;
use crate::job::{Job, Silent};
use crate::settings::{Auto, Settings};
use crate::source::{Location, Split};

/// Nearest images that are asked for their class.
pub const NEIGHBOURS: usize = 10;
/// Images whose neighbours are looked for, at most: those that the classifier doubts most.
const MOST: usize = 5000;
/// Doubted images of a class from which on they may all be doubted for nothing.
const SEVERAL: usize = 3;
/// Below this mean accuracy of the classes nothing is known well enough to doubt a label.
const KNOWS: f64 = 0.3;

/// A label that is probably wrong.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct LabelDoubt {
    /// Where the image is.
    #[serde(skip)]
    pub location: Location,
    /// The same, as dataset files and edits name it.
    pub path: String,
    /// What it is used for.
    pub split: Split,
    /// The class that it has.
    pub class: String,
    /// Probability of that class, in 0..1, all classes taken to be equally frequent.
    pub probability: f64,
    /// The class that it is taken for.
    pub suggested: String,
    /// Probability of that one.
    pub suggested_probability: f64,
    /// Of the [`NEIGHBOURS`] nearest images outside its own group, how many are of the suggested
    /// class and how many of its own.
    pub neighbours: [usize; 2],
    /// Why it is doubted, in a sentence.
    pub reason: String,
}

/// What was found of the labels of a dataset.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct LabelCheck {
    /// Images that were classified by a classifier that had not seen them.
    pub images: usize,
    /// Mean over the classes of the share that is taken for what it is labelled, in 0..1.
    pub accuracy: f64,
    /// Labels that are probably wrong, the most doubtful first.
    pub doubts: Vec<LabelDoubt>,
    /// What was found, in a sentence.
    pub sentence: String,
}

/// Looks for labels that are probably wrong in the training and validation images of a dataset, and
/// in the test images only if asked to: who relabels those that a model gets wrong makes its result
/// look better than it is. Images are left alone whose paths are `checked` (see [`EditSession::checked`](crate::dataset::EditSession::checked)). Images of
/// one group are held out together. Features are kept, so that asking again takes seconds.
///
/// # Errors
/// Images that cannot be read; fewer than two classes; a device that fails;
/// [`crate::Error::Stopped`].
pub fn label_check(
    dataset: &Dataset,
    checked: &HashSet<String>,
    with_test: bool,
    seed: u64,
    device: &Device,
    job: Job<'_>,
) -> Result<LabelCheck> {
    let settings = teaching_on(dataset, seed, device, job)?;
    let checkpoint = untrained(&settings, dataset)?;
    let is_looked_at = |sample: &&DatasetSample| with_test || sample.split != Split::Test;
    let samples: Vec<&DatasetSample> = dataset.samples.iter().filter(is_looked_at).collect();
    let backbone = FrozenBackbone::new(&checkpoint, device);
    let found = backbone.features(dataset, &samples, View::Plain, job)?;
    let all = found.set;
    let rows: Vec<&DatasetSample> =
        found.positions.iter().map(|&position| samples[position as usize]).collect();
    let groups = dataset.series_of(&rows);
    let (answers, known) = held_out_answers(&settings, &all, &groups, dataset.classes.len(), job)?;
    check(&answers, dataset.classes.len())?;
    let seen = Seen { names: &dataset.classes, samples: &rows, known: &known, checked };
    let nearest = |rows: &[usize]| nearest(&all, &groups, rows);
    let mut found = judge(&seen, &answers, nearest)?;
    let left_out = dataset.samples.len() - samples.len();
    if left_out > 0 {
        let images = if left_out == 1 { "test image was" } else { "test images were" };
        let _ = write!(found.sentence, " {left_out} {images} not looked at.");
    }
    Ok(found)
}

/// Writes the doubts as a table of edits, which `counterweight edit DATASET apply` carries out: a line
/// for each image that moves it to the class it is taken for, with the reason behind. Lines that a
/// person does not agree with are for that person to take out.
///
/// # Errors
/// A file that cannot be written.
pub fn write_label_table(check: &LabelCheck, path: &Path) -> Result<()> {
    write_table(path, |table| {
        table.write_record([
            "path",
            "action",
            "class",
            "labelled",
            "split",
            "probability",
            "labelled_probability",
            "reason",
        ])?;
        for doubt in &check.doubts {
            table.write_record([
                doubt.path.as_str(),
                "move",
                &doubt.suggested,
                &doubt.class,
                doubt.split.name(),
                &format!("{:.4}", doubt.suggested_probability),
                &format!("{:.4}", doubt.probability),
                &doubt.reason,
            ])?;
        }
        Ok(())
    })
    .map_err(|error| ModelError::file(path, error).into())
}

/// What each row is taken for by a classifier that learned from others, logits corrected for how
/// frequent classes are among those, and whether those others had any of its class. In the rows'
/// order.
fn held_out_answers(
    settings: &Settings,
    all: &FeatureSet,
    groups: &[Option<u32>],
    classes: usize,
    job: Job<'_>,
) -> Result<(Vec<Answer>, Vec<bool>)> {
    let mut settings = settings.clone();
    let chosen = choose_weight_decay(&settings, all, groups, classes, job)?;
    settings.stage1.weight_decay = Auto::Value(chosen.weight_decay);
    let places = places_of(&all.labels, groups, classes);
    job.phase("looking at labels", None, "");
    let answers_of = |held: usize| -> Result<Vec<(Answer, bool)>> {
        job.check()?;
        let Part { train, train_counts, learned, mut held_out } = part(all, &places, held, classes);
        let quiet = Job::new(job.control, &Silent);
        let (mut classifier, standardiser, _) =
            fit_on(&settings, train, classes, &train_counts, None, quiet)?;
        adjust_logits(&mut classifier, &train_counts, 1.0)?;
        rule_out(&mut classifier, &learned);
        standardiser.apply(&mut held_out.features);
        let answers = classifier.answers(&held_out)?;
        let known = held_out.labels.iter().map(|&label| learned[label as usize]);
        Ok(answers.into_iter().zip(known).collect())
    };
    let mut parts = Vec::with_capacity(FOLDS);
    for held in 0..FOLDS {
        parts.push(answers_of(held)?.into_iter());
    }
    let mut answers = Vec::with_capacity(all.len());
    for place in places {
        answers.extend(parts[place].next());
    }
    Ok(answers.into_iter().unzip())
}

/// The labels of the rows that are nearest to some rows by the angle between standardised features,
/// those of the same group left out: [`NEIGHBOURS`] of each, or fewer where there are no more.
fn nearest(all: &FeatureSet, groups: &[Option<u32>], rows: &[usize]) -> Result<Vec<Vec<u32>>> {
    let mut features = all.features.to_vec();
    Standardiser::of(all).apply(&mut features);
    unit_rows(&mut features, all.dim);
    let asked: Vec<f32> = rows
        .iter()
        .flat_map(|row| &features[row * all.dim..(row + 1) * all.dim])
        .copied()
        .collect();
    // The cosines between rows are the logits of a classifier whose weights are all rows.
    let cosines = Classifier::new(all.len(), all.dim, features, vec![0.0; all.len()])?;
    cosines.map_logits(&asked, |at, cosines| {
        let row = rows[at];
        let is_other = |&other: &usize| {
            other != row && (groups[row].is_none() || groups[other] != groups[row])
        };
        let mut near: Vec<usize> = (0..all.len()).filter(is_other).collect();
        let by_nearness = |a: &usize, b: &usize| cosines[*b].total_cmp(&cosines[*a]).then(a.cmp(b));
        if near.len() > NEIGHBOURS {
            near.select_nth_unstable_by(NEIGHBOURS, by_nearness);
            near.truncate(NEIGHBOURS);
        }
        near.into_iter().map(|other| all.labels[other]).collect()
    })
}

/// The images that were looked at.
struct Seen<'a> {
    names: &'a [String],
    samples: &'a [&'a DatasetSample],
    /// Whether each was looked at by a classifier that had learned its class. Where all images of a
    /// class are held out together, they cannot be recognised, and nothing follows from it.
    known: &'a [bool],
    /// Paths of those that a person has found right.
    checked: &'a HashSet<String>,
}

/// What follows from what each image is taken for, with the labels nearest to the doubtful ones.
fn judge(
    seen: &Seen<'_>,
    answers: &[Answer],
    nearest: impl FnOnce(&[usize]) -> Result<Vec<Vec<u32>>>,
) -> Result<LabelCheck> {
    let classes = seen.names.len();
    let mut tally = vec![[0.0_f64; 2]; classes];
    for (answer, _) in answers.iter().zip(seen.known).filter(|(_, known)| **known) {
        let [images, right] = &mut tally[answer.label as usize];
        *images += 1.0;
        *right += f64::from(u8::from(answer.is_right()));
    }
    let there: Vec<&[f64; 2]> = tally.iter().filter(|[images, _]| *images > 0.0).collect();
    if there.len() < 2 {
        let reason = "labels can be doubted where there are two classes or more with images that do not all belong together";
        return Err(TrainError::Request(reason.into()).into());
    }
    let accuracy =
        there.iter().map(|[images, right]| right / images).sum::<f64>() / there.len() as f64;
    let is_doubted = |row: &usize| {
        let is_checked = || seen.checked.contains(&seen.samples[*row].location.to_text());
        accuracy >= KNOWS && seen.known[*row] && !answers[*row].is_right() && !is_checked()
    };
    let by_classifier = |row: usize| {
        let smallest = f64::MIN_POSITIVE;
        let answer = &answers[row];
        answer.probability().ln() - answer.label_probability().max(smallest).ln()
    };
    let mut rows: Vec<usize> = (0..answers.len()).filter(is_doubted).collect();
    rows.sort_by(|&a, &b| by_classifier(b).total_cmp(&by_classifier(a)).then(a.cmp(&b)));
    rows.truncate(MOST);
    let mut doubted: Vec<(f64, usize, Vec<u32>)> = Vec::new();
    for (&row, near) in rows.iter().zip(nearest(&rows)?) {
        let of = |class: u32| near.iter().filter(|label| **label == class).count();
        let (other, own) = (of(answers[row].predicted), of(answers[row].label));
        if other > own {
            let by_neighbours = ((other + 1) as f64 / (own + 1) as f64).ln();
            doubted.push((by_classifier(row) + by_neighbours, row, near));
        }
    }
    let untold = untold(seen, &tally, doubted.iter().map(|(_, row, _)| answers[*row].label));
    doubted.retain(|(_, row, _)| !untold.contains_key(&answers[*row].label));
    doubted.sort_by(|a, b| b.0.total_cmp(&a.0).then(a.1.cmp(&b.1)));
    let doubts: Vec<LabelDoubt> = doubted
        .into_iter()
        .map(|(_, row, near)| {
            let (answer, sample) = (&answers[row], seen.samples[row]);
            let of = |class: u32| near.iter().filter(|label| **label == class).count();
            let name = |class: u32| seen.names[class as usize].clone();
            let mut doubt = LabelDoubt {
                location: sample.location.clone(),
                path: sample.location.to_text(),
                split: sample.split,
                class: name(answer.label),
                probability: answer.label_probability(),
                suggested: name(answer.predicted),
                suggested_probability: answer.probability(),
                neighbours: [of(answer.predicted), of(answer.label)],
                reason: String::new(),
            };
            doubt.reason = reason(&doubt, near.len());
            doubt
        })
        .collect();
    let mut sentence = sentence(answers.len(), accuracy, doubts.len());
    if !untold.is_empty() {
        let classes: Vec<String> = untold.into_values().collect();
        sentence += &format!(
            " Nothing is said of labels where half of a class or more is taken for others, which is a class that is not told apart: {}.",
            classes.join(", ")
        );
    }
    Ok(LabelCheck { images: answers.len(), accuracy, doubts, sentence })
}

/// Classes of which half of the images or more are doubted, and [`SEVERAL`] at least, with that in
/// words: nobody mislabels so many. `tally` holds the images of each class.
fn untold(
    seen: &Seen<'_>,
    tally: &[[f64; 2]],
    doubted: impl Iterator<Item = u32>,
) -> BTreeMap<u32, String> {
    let mut counts = BTreeMap::new();
    doubted.for_each(|label| *counts.entry(label).or_insert(0_usize) += 1);
    let in_words = |(label, count): (u32, usize)| {
        let images = tally[label as usize][0];
        let name = &seen.names[label as usize];
        (count >= SEVERAL && 2.0 * count as f64 >= images)
            .then(|| (label, format!("{name} ({count} of {images})")))
    };
    counts.into_iter().filter_map(in_words).collect()
}

fn reason(doubt: &LabelDoubt, near: usize) -> String {
    let [suggested, own] = doubt.neighbours;
    let percent = |share: f64| match 100.0 * share {
        small if small < 1.0 => "below 1 %".to_string(),
        large if large > 99.0 => "above 99 %".to_string(),
        other => format!("{other:.0} %"),
    };
    format!(
        "looks like {} ({}), labelled {} ({}); of the {near} images most like it {suggested} are {} and {own} {}",
        doubt.suggested,
        percent(doubt.suggested_probability),
        doubt.class,
        percent(doubt.probability),
        doubt.suggested,
        doubt.class,
    )
}

fn sentence(images: usize, accuracy: f64, doubts: usize) -> String {
    let percent = |share: f64| format!("{:.1} %", 100.0 * share);
    if accuracy < KNOWS {
        return format!(
            "Classes are told apart too badly ({}, mean of the classes) to doubt single labels.",
            percent(accuracy)
        );
    }
    let share = percent(doubts as f64 / images.max(1) as f64);
    match doubts {
        0 => format!("No label of {images} images is doubtful."),
        1 => format!("1 label of {images} images is doubtful. Look at it before you change it."),
        _ => format!(
            "{doubts} labels of {images} images ({share}) are doubtful, the most doubtful first. Look at each before you change it: images that are hard to tell apart are among them."
        ),
    }
}

#[cfg(test)]
mod tests {
    use super::super::halves::teaching;
    use super::*;
    use crate::job::Control;
    use crate::settings::ImageFit;

    /// Three classes of 60, 20 and 6 images around places of their own, with some labels changed;
    /// returns the dataset's rows and the labels that are wrong.
    fn noisy() -> (FeatureSet, Vec<usize>) {
        let dim = 12;
        let mut state = 11_u64;
        let mut random = move || {
            state = state
                .wrapping_mul(6_364_136_223_846_793_005)
                .wrapping_add(1_442_695_040_888_963_407);
            (state >> 40) as f32 / (1_u64 << 23) as f32 - 1.0
        };
        let mut set = FeatureSet { dim, ..FeatureSet::default() };
        for (class, images) in [60, 20, 6].into_iter().enumerate() {
            for _ in 0..images {
                set.features
                    .extend((0..dim).map(|at| random() + 3.0 * f32::from(u8::from(at == class))));
                set.labels.push(class as u32);
            }
        }
        let wrong = vec![5, 17, 41, 66];
        for &row in &wrong {
            set.labels[row] = (set.labels[row] + 1) % 3;
        }
        (set, wrong)
    }

    fn samples(labels: &[u32]) -> Vec<DatasetSample> {
        let sample = |(row, &label): (usize, &u32)| DatasetSample {
            location: Location::File(format!("{row}.png").into()),
            class: label as usize,
            split: Split::Train,
            group: None,
        };
        labels.iter().enumerate().map(sample).collect()
    }

    fn check(set: &FeatureSet, checked: &HashSet<String>) -> LabelCheck {
        let control = Control::new();
        let job = Job::new(&control, &Silent);
        let names = ["many", "medium", "few"].map(String::from);
        let groups = vec![None; set.len()];
        let samples = samples(&set.labels);
        let samples: Vec<&DatasetSample> = samples.iter().collect();
        let (answers, known) =
            held_out_answers(&teaching(0, ImageFit::Crop), set, &groups, 3, job).unwrap();
        let seen = Seen { names: &names, samples: &samples, known: &known, checked };
        judge(&seen, &answers, |rows| nearest(set, &groups, rows)).unwrap()
    }

    #[test]
    fn wrong_labels_come_first_and_rare_classes_are_not_accused() {
        let (set, wrong) = noisy();
        let found = check(&set, &HashSet::new());
        assert_eq!(found.images, 86);
        let mut first: Vec<String> =
            found.doubts.iter().take(wrong.len()).map(|doubt| doubt.path.clone()).collect();
        first.sort_by_key(|path| path.trim_end_matches(".png").parse::<usize>().unwrap());
        let expected: Vec<String> = wrong.iter().map(|row| format!("{row}.png")).collect();
        assert_eq!(first, expected, "{:#?}", found.doubts);
        // Of the six of the smallest class none is doubted.
        assert!(found.doubts.iter().all(|doubt| doubt.path != "80.png" && doubt.path != "85.png"));
        let doubt = &found.doubts[0];
        assert!(doubt.suggested_probability > 0.9 && doubt.probability < 0.1);
        assert!(doubt.neighbours[0] > doubt.neighbours[1], "{doubt:?}");
        for part in ["looks like", "labelled", "of the 10 images most like it"] {
            assert!(doubt.reason.contains(part), "{}", doubt.reason);
        }
    }

    /// Eight classes of one image each beside three that are easily told apart.
    #[test]
    fn a_class_that_nobody_could_learn_is_not_accused_and_does_not_silence_the_others() {
        let (mut set, wrong) = noisy();
        let classes = 11;
        for class in 3..classes {
            set.features.extend((0..set.dim).map(|at| 3.0 * f32::from(u8::from(at == class))));
            set.labels.push(class as u32);
        }
        let control = Control::new();
        let job = Job::new(&control, &Silent);
        let groups = vec![None; set.len()];
        let (answers, known) =
            held_out_answers(&teaching(0, ImageFit::Crop), &set, &groups, classes, job).unwrap();
        assert!(known[..86].iter().all(|known| *known) && !known[86..].contains(&true));
        // Nothing is taken for one of them where it was held out.
        let samples = samples(&set.labels);
        let samples: Vec<&DatasetSample> = samples.iter().collect();
        let names: Vec<String> = (0..classes).map(|class| class.to_string()).collect();
        let seen =
            Seen { names: &names, samples: &samples, known: &known, checked: &HashSet::new() };
        let found = judge(&seen, &answers, |rows| nearest(&set, &groups, rows)).unwrap();
        assert!(found.accuracy > 0.6, "{}", found.accuracy);
        let accused: Vec<usize> = found
            .doubts
            .iter()
            .map(|doubt| doubt.path.trim_end_matches(".png").parse().unwrap())
            .collect();
        assert!(accused.iter().all(|row| *row < 86), "{accused:?}");
        assert!(wrong.iter().all(|row| accused.contains(row)), "{accused:?}");
    }

    #[test]
    fn a_class_of_which_half_is_doubted_is_named_and_not_accused() {
        let names = ["many", "medium", "few"].map(String::from);
        let checked = HashSet::new();
        let seen = Seen { names: &names, samples: &[], known: &[], checked: &checked };
        let tally = [[60.0, 50.0], [3.0, 1.0], [6.0, 2.0]];
        let untold = |doubted: &[u32]| untold(&seen, &tally, doubted.iter().copied());
        assert_eq!(untold(&[0, 2, 1, 2, 0, 1, 2]), [(2, "few (3 of 6)".to_string())].into());
        // Two of three may be mistakes, and two of six are no half.
        assert!(untold(&[1, 1, 2, 2]).is_empty());
    }

    #[test]
    fn what_a_person_found_right_is_not_doubted_again() {
        let (set, wrong) = noisy();
        let checked: HashSet<String> = wrong.iter().map(|row| format!("{row}.png")).collect();
        let found = check(&set, &checked);
        assert!(found.doubts.iter().all(|doubt| !checked.contains(&doubt.path)));
    }

    #[test]
    fn who_cannot_tell_classes_apart_doubts_nothing() {
        let (mut set, _) = noisy();
        // Features that have nothing to do with the class.
        set.features.iter_mut().enumerate().for_each(|(at, value)| *value = (at % 7) as f32);
        let found = check(&set, &HashSet::new());
        assert!(found.doubts.is_empty());
        assert!(found.sentence.contains("too badly"), "{}", found.sentence);
    }

    #[test]
    fn neighbours_of_the_same_group_do_not_count() {
        let set = FeatureSet {
            dim: 2,
            features: vec![1.0, 0.1, 1.0, 0.0, 0.9, 0.1, -1.0, 0.0, -1.0, -0.1].into(),
            labels: vec![0, 0, 1, 2, 2],
        };
        let groups = [Some(1), Some(1), Some(2), Some(3), Some(3)];
        let near = nearest(&set, &groups, &[0]).unwrap();
        assert_eq!(near[0].iter().filter(|label| **label == 0).count(), 0);
        assert_eq!(near[0].len(), 3);
        let near = nearest(&set, &[None; 5], &[0]).unwrap();
        assert_eq!(near[0].len(), 4);
    }
}
