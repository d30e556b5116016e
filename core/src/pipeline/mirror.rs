//! Whether mirroring an image changes its class: asked of the data, before training images are
//! mirrored at random.

use burn::tensor::Device;
use serde::{Deserialize, Serialize};

use super::frozen::{FrozenBackbone, View};
use super::halves::{Asked, teaching};
use super::layouts::pairs_in_few_pixels;
use super::spread::spread;
use super::train_classifier::untrained;
use super::transforms::TransformPair;
use crate::augment::Transform;
use crate::dataset::{Dataset, DatasetSample};
use crate::error::Result;
use crate::job::Job;
use crate::settings::ImageFit;
use crate::source::Split;

/// Training images that are looked at, at most, and those of a class, at least, where it has as
/// many.
const IMAGES: usize = 2000;
const OF_A_CLASS: usize = 30;
/// Classes that are looked at, at most: of thousands some say enough, and in seconds.
const CLASSES: usize = 150;
/// Images that a class has at least that is looked at where there are more: some to learn from and
/// some to ask about.
const LEAST: usize = 4;
/// Standard errors that are no accident, with as many classes as there may be.
pub(super) const CLEARLY: f64 = 3.0;
/// Share of a class's images that must be taken for another class for it to be turned, and of all
/// images for mirroring to harm.
pub(super) const OF_CLASS_TURNED: f64 = 0.2;
const OF_ALL_TURNED: f64 = 0.02;
/// Below this the classifier knows too little to say anything.
pub(super) const KNOWS: f64 = 0.4;

/// What mirroring does to the classes.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct MirrorCheck {
    /// Whether training images may be mirrored.
    pub is_harmless: bool,
    /// Images that were classified.
    pub images: usize,
    /// Mean of the per-class accuracies on them as they are, in 0..1.
    pub accuracy: f64,
    /// The same on their mirror images.
    pub mirrored_accuracy: f64,
    /// Classes whose mirror images are taken for another, the worst first.
    pub turned: Vec<Turned>,
    /// What was found, in a sentence.
    pub sentence: String,
}

/// A class that mirroring turns into another.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Turned {
    /// The class.
    pub class: String,
    /// What its mirror images are taken for most often.
    pub into: String,
    /// Share of its images that are classified correctly as they are and not when mirrored, less
    /// those the other way round.
    pub share: f64,
}

/// Classifies training images and their mirror images by a classifier on the built-in backbone's
/// features that has seen neither them nor any mirror image, half of the images by what the other
/// half taught. They are seen as `fit` says, as training will.
///
/// # Errors
/// Images that cannot be read; a device that fails; [`crate::Error::Stopped`].
pub fn mirror_check(
    dataset: &Dataset,
    fit: ImageFit,
    seed: u64,
    device: &Device,
    job: Job<'_>,
) -> Result<MirrorCheck> {
    let settings = teaching(seed, fit);
    let checkpoint = untrained(&settings, dataset)?;
    let backbone = FrozenBackbone::new(&checkpoint, device);
    let asked = Asked::new(dataset, [IMAGES, OF_A_CLASS], &settings, backbone, job)?;
    let mirrored = asked.view(View::Mirrored, job)?;
    // An image that became unreadable between the two is left out of both.
    if asked.plain.positions != mirrored.positions {
        let sentence =
            "images are not mirrored: some of them changed while it was asked whether they may be"
                .into();
        return Ok(MirrorCheck {
            is_harmless: false,
            images: 0,
            accuracy: 0.0,
            mirrored_accuracy: 0.0,
            turned: Vec::new(),
            sentence,
        });
    }
    let halves = asked.teach(job)?;
    let plain = &asked.plain.set;
    let places: Vec<usize> = (0..plain.len()).collect();
    let before = halves.predict(plain, &places)?;
    let after = halves.predict(&mirrored.set, &places)?;
    let rows: Vec<[Option<usize>; 2]> =
        before.into_iter().zip(after).map(|(before, after)| [before, after]).collect();
    let check = judge(&plain.labels, &rows, &dataset.classes);
    if !check.is_harmless {
        return Ok(check);
    }
    // A network that saw every image of its training mirrored hardly tells left from right.
    let pairs = pairs_in_few_pixels(dataset, &[Transform::Mirrored], &settings, job)?;
    Ok(with_pairs(check, &pairs.concat()))
}

/// What is found where these classes turn into each other.
fn with_pairs(check: MirrorCheck, pairs: &[TransformPair]) -> MirrorCheck {
    let Some(TransformPair { first, second, .. }) = pairs.first() else { return check };
    let others = match pairs.len() - 1 {
        0 => String::new(),
        1 => ", and another pair of classes is".into(),
        more => format!(", and {more} more pairs of classes are"),
    };
    let turned = pairs.iter().flat_map(|pair| {
        let turned = |class: &String, into: &String, share| Turned {
            class: class.clone(),
            into: into.clone(),
            share,
        };
        [
            turned(&pair.first, &pair.second, pair.share),
            turned(&pair.second, &pair.first, pair.back),
        ]
    });
    MirrorCheck {
        is_harmless: false,
        turned: turned.collect(),
        sentence: format!(
            "images are not mirrored: “{first}” and “{second}” are mirror images of each other{others}"
        ),
        ..check
    }
}

/// Training samples spread over the classes, or over some of them where there are many; those of a
/// class in its order. So many in all, about, and so many of a class, where there are as many.
pub(super) fn chosen(dataset: &Dataset, images: usize, of_a_class: usize) -> Vec<&DatasetSample> {
    let counts = dataset.counts(Split::Train);
    let mut asked: Vec<usize> = (0..counts.len()).filter(|&class| counts[class] > 0).collect();
    if asked.len() > CLASSES {
        // Classes too small to learn from and ask about say nothing, unless all are.
        asked.sort_by_key(|&class| counts[class] < LEAST);
        let enough = asked.partition_point(|&class| counts[class] >= LEAST);
        asked.truncate(enough.max(CLASSES));
        asked = spread(asked.len(), CLASSES).map(|index| asked[index]).collect();
    }
    let most = (images / asked.len().max(1)).max(of_a_class);
    let mut is_asked = vec![false; counts.len()];
    asked.into_iter().for_each(|class| is_asked[class] = true);
    let mut met = vec![0; counts.len()];
    let is_taken = |sample: &&DatasetSample| {
        let (count, at) = (counts[sample.class], met[sample.class]);
        met[sample.class] += 1;
        // The i-th of n is taken where i · most / n steps on.
        is_asked[sample.class] && (count <= most || at * most / count != (at + 1) * most / count)
    };
    dataset.split(Split::Train).into_iter().filter(is_taken).collect()
}

/// What follows from the predictions for images unmirrored and mirrored. Differences are counted in
/// pairs: what is right unmirrored and wrong when mirrored, less what is the other way round
/// (McNemar's test).
fn judge(labels: &[u32], rows: &[[Option<usize>; 2]], names: &[String]) -> MirrorCheck {
    #[derive(Clone, Default)]
    struct OfClass {
        images: f64,
        right: [f64; 2],
        lost: f64,
        won: f64,
        into: Vec<usize>,
    }
    let mut classes = vec![OfClass::default(); names.len()];
    for (&label, row) in labels.iter().zip(rows) {
        let [Some(plain), Some(mirrored)] = *row else { continue };
        let label = label as usize;
        let class = &mut classes[label];
        class.images += 1.0;
        class.right[0] += f64::from(u8::from(plain == label));
        class.right[1] += f64::from(u8::from(mirrored == label));
        match (plain == label, mirrored == label) {
            (true, false) => {
                class.lost += 1.0;
                class.into.push(mirrored);
            }
            (false, true) => class.won += 1.0,
            _ => {}
        }
    }
    let present: Vec<&OfClass> = classes.iter().filter(|class| class.images > 0.0).collect();
    let mean = |view: usize| {
        present.iter().map(|class| class.right[view] / class.images).sum::<f64>()
            / present.len().max(1) as f64
    };
    let (accuracy, mirrored_accuracy) = (mean(0), mean(1));
    let images = present.iter().map(|class| class.images).sum::<f64>();
    let is_clear = |lost: f64, won: f64, images: f64, share: f64| {
        lost - won >= CLEARLY * (lost + won).sqrt() && lost - won >= share * images && lost > won
    };
    let mut turned: Vec<Turned> = Vec::new();
    for (class, name) in classes.iter().zip(names) {
        if is_clear(class.lost, class.won, class.images, OF_CLASS_TURNED) {
            let into = class
                .into
                .iter()
                .max_by_key(|&other| class.into.iter().filter(|into| *into == other).count());
            let into = into.map_or_else(String::new, |&into| names[into].clone());
            turned.push(Turned {
                class: name.clone(),
                into,
                share: (class.lost - class.won) / class.images,
            });
        }
    }
    turned.sort_by(|a, b| b.share.total_cmp(&a.share));
    let (lost, won) =
        present.iter().fold((0.0, 0.0), |(lost, won), class| (lost + class.lost, won + class.won));
    let harms = is_clear(lost, won, images, OF_ALL_TURNED) || !turned.is_empty();
    let percent = |share: f64| format!("{:.1} %", 100.0 * share);
    let (is_harmless, sentence) = if accuracy < KNOWS {
        (
            false,
            format!(
                "images are not mirrored: classes are told apart too badly ({}) to say what mirroring does to them",
                percent(accuracy)
            ),
        )
    } else if let Some(first) = turned.first() {
        let others = if turned.len() > 1 {
            format!(", and {} more classes change", turned.len() - 1)
        } else {
            String::new()
        };
        (
            false,
            format!(
                "images are not mirrored: mirrored, {} of “{}” looks like “{}”{others}",
                percent(first.share),
                first.class,
                first.into
            ),
        )
    } else if harms {
        (
            false,
            format!(
                "images are not mirrored: mirrored, they are classified worse ({} instead of {})",
                percent(mirrored_accuracy),
                percent(accuracy)
            ),
        )
    } else {
        (
            true,
            format!(
                "images may be mirrored: their classes are recognised as well then ({} and {})",
                percent(mirrored_accuracy),
                percent(accuracy)
            ),
        )
    };
    MirrorCheck {
        is_harmless,
        images: images as usize,
        accuracy,
        mirrored_accuracy,
        turned,
        sentence,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::dataset::Provenance;
    use crate::source::{Location, SourceKind};

    fn names() -> Vec<String> {
        ["left", "right", "ahead"].map(String::from).to_vec()
    }

    /// 30 images of each class, with these predictions for all of a class as they are and mirrored.
    fn found(predictions: [[usize; 2]; 3]) -> MirrorCheck {
        let labels: Vec<u32> = (0..90).map(|i| i / 30).collect();
        let rows: Vec<[Option<usize>; 2]> =
            labels.iter().map(|&label| predictions[label as usize].map(Some)).collect();
        judge(&labels, &rows, &names())
    }

    #[test]
    fn classes_that_turn_into_each_other_are_named() {
        let check = found([[0, 1], [1, 0], [2, 2]]);
        assert!(!check.is_harmless);
        assert_eq!((check.accuracy, check.images), (1.0, 90));
        let pairs: Vec<(&str, &str)> = check
            .turned
            .iter()
            .map(|turned| (turned.class.as_str(), turned.into.as_str()))
            .collect();
        assert_eq!(pairs, [("left", "right"), ("right", "left")]);
        assert!(check.sentence.contains("looks like"), "{}", check.sentence);
    }

    #[test]
    fn pairs_that_only_pixels_show_forbid_it_too() {
        let check = found([[0, 0], [1, 1], [2, 2]]);
        assert_eq!(with_pairs(check.clone(), &[]), check);
        let pair = TransformPair {
            first: "left".into(),
            second: "right".into(),
            share: 0.9,
            back: 0.7,
            examples: Default::default(),
            locations: Vec::new(),
        };
        let with = with_pairs(check, &[pair]);
        assert!(!with.is_harmless);
        let shares: Vec<f64> = with.turned.iter().map(|turned| turned.share).collect();
        assert_eq!(shares, [0.9, 0.7]);
        let expected =
            "images are not mirrored: “left” and “right” are mirror images of each other";
        assert_eq!(with.sentence, expected);
    }

    #[test]
    fn what_changes_nothing_is_harmless_and_what_is_unknown_is_not() {
        assert!(found([[0, 0], [1, 1], [2, 2]]).is_harmless);
        // A class that is wrong either way says nothing.
        assert!(found([[0, 0], [1, 1], [0, 1]]).is_harmless);
        assert!(!found([[2, 2], [2, 2], [0, 0]]).is_harmless);
    }

    #[test]
    fn of_thousands_of_classes_some_are_asked_about() {
        let dataset = |classes: usize, images: usize| {
            let sample = |index: usize| DatasetSample {
                location: Location::File(format!("{index}.png").into()),
                class: index % classes,
                split: Split::Train,
                group: None,
            };
            Dataset {
                samples: (0..classes * images).map(sample).collect(),
                classes: (0..classes).map(|class| class.to_string()).collect(),
                root: "images".into(),
                kind: SourceKind::Folder,
                provenance: Provenance::default(),
            }
        };
        // All of few, an equal part of more, and never more than seconds take.
        assert_eq!(chosen(&dataset(3, 10), IMAGES, OF_A_CLASS).len(), 30);
        assert_eq!(chosen(&dataset(10, 500), IMAGES, OF_A_CLASS).len(), IMAGES);
        assert_eq!(chosen(&dataset(100, 50), IMAGES, OF_A_CLASS).len(), 100 * OF_A_CLASS);
        assert_eq!(chosen(&dataset(4000, 5), IMAGES, OF_A_CLASS).len(), CLASSES * 5);
        assert_eq!(chosen(&dataset(4000, 3), IMAGES, OF_A_CLASS).len(), CLASSES * 3);
    }

    #[test]
    fn few_differences_are_accidents() {
        let labels = vec![0; 30];
        let rows: Vec<[Option<usize>; 2]> =
            (0..30).map(|i| [Some(0), Some(usize::from(i < 8))]).collect();
        assert!(judge(&labels, &rows, &names()).is_harmless);
        let rows: Vec<[Option<usize>; 2]> =
            (0..30).map(|i| [Some(0), Some(usize::from(i < 9))]).collect();
        assert!(!judge(&labels, &rows, &names()).is_harmless);
    }
}
