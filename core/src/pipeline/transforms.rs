//! What turning an image, cutting it or taking its colours away does to its class: asked of the data
//! before training images are changed at random. It widens what [`mirror_check`](super::mirror_check)
//! asks of mirroring.

use burn::tensor::Device;
use serde::{Deserialize, Serialize};

use super::frozen::{FrozenBackbone, View};
use super::halves::Asked;
use super::image_fit::teaching_on;
use super::layouts::pairs_in_few_pixels;
use super::mirror::{CLEARLY, KNOWS, OF_CLASS_TURNED, Turned};
use super::train_classifier::untrained;
use crate::augment::Transform;
use crate::dataset::{Dataset, DatasetSample};
use crate::error::Result;
use crate::job::Job;
use crate::source::Location;

/// Training images that are looked at, about, and those of a class, at least, where it has as many:
/// enough to tell a class that is turned from an accident, in seconds.
const IMAGES: usize = 800;
const OF_A_CLASS: usize = 14;
/// Of the images of a class that a change takes from it, the share that one other class must get for
/// the class to have turned into that one.
const INTO_ONE: f64 = 0.5;
/// Loss of accuracy that is no matter.
const SLIGHT: f64 = 0.03;

/// Accuracy of images as they are from which on it says something that no classes were seen to turn
/// into each other.
const SURE: f64 = 0.6;

/// What a transformation does to the classes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum TransformVerdict {
    /// Every class stays what it is.
    Keeps,
    /// Classes turn into each other.
    Changes,
    /// Classes are recognised worse, without turning into each other.
    Harder,
    /// Classes are told apart too badly to say.
    Unknown,
}

/// Two classes that a transformation turns into each other.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct TransformPair {
    /// A class.
    pub first: String,
    /// What it becomes.
    pub second: String,
    /// Share of the first's images that are taken for the second afterwards, in 0..1.
    pub share: f64,
    /// The same the other way round, where what was done is undone.
    pub back: f64,
    /// An image of each that shows it, relative to the dataset's root.
    pub examples: [String; 2],
    /// Where those are.
    #[serde(skip)]
    pub locations: Vec<Location>,
}

/// What was found of one transformation.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct TransformReport {
    /// The transformation.
    pub transform: Transform,
    /// What it does to the classes.
    pub verdict: TransformVerdict,
    /// Mean of the per-class accuracies on the transformed images, in 0..1.
    pub accuracy: f64,
    /// Classes that it turns into each other.
    pub pairs: Vec<TransformPair>,
    /// Classes that it takes from themselves without the other way round, the worst first.
    pub turned: Vec<Turned>,
    /// What was found, in a sentence.
    pub sentence: String,
    /// The setting that does it in training, if there is one.
    pub setting: Option<String>,
    /// The value that follows from what was found.
    pub value: Option<String>,
}

/// What was found of all transformations.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct TransformCheck {
    /// Training images that were looked at.
    pub images: usize,
    /// Mean of the per-class accuracies on them as they are, in 0..1.
    pub accuracy: f64,
    /// One a transformation, in the order of [`Transform::ALL`].
    pub transforms: Vec<TransformReport>,
}

/// Classifies training images as they are and after each transformation, by a classifier on the
/// built-in backbone's features that has seen neither them nor any transformed image, half of the
/// images by what the other half taught. Features are kept, so that asking again is quick.
///
/// Such features hardly tell left from right, so pairs of classes are looked for in the images
/// themselves as well, in few pixels.
///
/// # Errors
/// Images that cannot be read; a device that fails; [`crate::Error::Stopped`].
pub fn transform_check(
    dataset: &Dataset,
    seed: u64,
    device: &Device,
    job: Job<'_>,
) -> Result<TransformCheck> {
    let settings = teaching_on(dataset, seed, device, job)?;
    let checkpoint = untrained(&settings, dataset)?;
    let backbone = FrozenBackbone::new(&checkpoint, device);
    let asked = Asked::new(dataset, [IMAGES, OF_A_CLASS], &settings, backbone, job)?;
    let halves = asked.teach(job)?;
    let Asked { plain, samples, .. } = &asked;
    let before = halves.predict(&plain.set, &(0..plain.set.len()).collect::<Vec<_>>())?;
    let mut after = Vec::new();
    for transform in Transform::ALL {
        let changed = asked.view(View::of(transform), job)?;
        // An image that became unreadable meanwhile is left out; both are in the order of samples.
        let mut rows = Vec::with_capacity(changed.positions.len());
        let mut places = Vec::with_capacity(changed.positions.len());
        for (row, position) in changed.positions.iter().enumerate() {
            if let Ok(place) = plain.positions.binary_search(position) {
                rows.push(row);
                places.push(place);
            }
        }
        let mut found = vec![None; plain.set.len()];
        let predicted = halves.predict(&changed.set.part(&rows), &places)?;
        for (place, predicted) in places.into_iter().zip(predicted) {
            found[place] = predicted;
        }
        after.push(found);
    }
    let labels: Vec<usize> = plain.set.labels.iter().map(|&label| label as usize).collect();
    let shown: Vec<&DatasetSample> =
        plain.positions.iter().map(|&position| samples[position as usize]).collect();
    let seen = Seen {
        names: &dataset.classes,
        transforms: &Transform::ALL,
        labels: &labels,
        before: &before,
        samples: &shown,
    };
    let mut check = seen.judge(&after);
    if check.accuracy >= KNOWS {
        add_pairs(&mut check, pairs_in_few_pixels(dataset, &Transform::ALL, &settings, job)?);
    }
    Ok(check)
}

/// Adds the pairs that are seen in few pixels to what was found.
fn add_pairs(check: &mut TransformCheck, found: Vec<Vec<TransformPair>>) {
    let plain = check.accuracy;
    for (report, found) in check.transforms.iter_mut().zip(found) {
        let is_known = |pair: &TransformPair| {
            report.pairs.iter().any(|known| {
                known.first == pair.first && known.second == pair.second
                    || known.first == pair.second && known.second == pair.first
            })
        };
        let new: Vec<TransformPair> = found.into_iter().filter(|pair| !is_known(pair)).collect();
        if new.is_empty() {
            continue;
        }
        report.pairs.extend(new);
        report.verdict = TransformVerdict::Changes;
        let accuracies = [plain, report.accuracy];
        report.sentence =
            sentence(report.transform, report.verdict, accuracies, &report.pairs, &report.turned);
        report.value = report.transform.setting().map(|(_, [_, off])| off.to_string());
    }
}

/// What was seen of the images as they are.
pub(super) struct Seen<'a> {
    pub names: &'a [String],
    /// What was done to them.
    pub transforms: &'a [Transform],
    pub labels: &'a [usize],
    /// What each image is taken for.
    pub before: &'a [Option<usize>],
    pub samples: &'a [&'a DatasetSample],
}

/// What a transformation does to the images of a class.
#[derive(Clone, Default)]
struct OfClass {
    images: f64,
    right: [f64; 2],
    lost: f64,
    won: f64,
    /// What the images that are lost are taken for, with how many of them.
    into: Option<(usize, f64)>,
}

impl OfClass {
    /// Whether so much is lost that it is no accident (McNemar's test).
    fn is_turned(&self) -> bool {
        let net = self.lost - self.won;
        net > 0.0
            && net >= CLEARLY * (self.lost + self.won).sqrt()
            && net >= OF_CLASS_TURNED * self.images
    }

    /// The class that it has turned into.
    fn becomes(&self) -> Option<usize> {
        self.into
            .filter(|(_, images)| self.is_turned() && *images >= INTO_ONE * self.lost)
            .map(|(class, _)| class)
    }

    fn share(&self) -> f64 {
        self.into.map_or(0.0, |(_, images)| images / self.images.max(1.0))
    }
}

impl Seen<'_> {
    /// What follows from what each image is taken for after each transformation.
    pub fn judge(&self, after: &[Vec<Option<usize>>]) -> TransformCheck {
        let of_all: Vec<Vec<OfClass>> = after.iter().map(|after| self.of_classes(after)).collect();
        let accuracy = |of: &[OfClass], view: usize| {
            let there: Vec<f64> = of
                .iter()
                .filter(|class| class.images > 0.0)
                .map(|class| class.right[view] / class.images)
                .collect();
            there.iter().sum::<f64>() / there.len().max(1) as f64
        };
        let plain = of_all.first().map_or(0.0, |of| accuracy(of, 0));
        let place =
            |transform: Transform| self.transforms.iter().position(|known| *known == transform);
        let seen = self.transforms.iter().zip(&of_all).zip(after);
        let reports = seen.map(|((&transform, of), changed)| {
            let back = transform.inverse().and_then(place).map(|inverse| &of_all[inverse]);
            let mut pairs = self.pairs(transform, of, back.map(Vec::as_slice), changed);
            pairs.sort_by(|a, b| (b.share + b.back).total_cmp(&(a.share + a.back)));
            let paired = |name: &String| {
                pairs.iter().any(|pair| pair.first == *name || pair.second == *name)
            };
            let mut turned: Vec<Turned> = of
                .iter()
                .zip(self.names)
                .filter(|(class, name)| class.is_turned() && !paired(name))
                .map(|(class, name)| Turned {
                    class: name.clone(),
                    into: class.into.map_or_else(String::new, |(into, _)| self.names[into].clone()),
                    share: (class.lost - class.won) / class.images,
                })
                .collect();
            turned.sort_by(|a, b| b.share.total_cmp(&a.share));
            let accuracy = accuracy(of, 1);
            let verdict = match () {
                () if plain < KNOWS => TransformVerdict::Unknown,
                () if !pairs.is_empty() => TransformVerdict::Changes,
                () if !turned.is_empty() || plain - accuracy > SLIGHT => TransformVerdict::Harder,
                // What is mixed up anyway cannot be seen to turn into each other.
                () if plain < SURE => TransformVerdict::Unknown,
                () => TransformVerdict::Keeps,
            };
            let sentence = sentence(transform, verdict, [plain, accuracy], &pairs, &turned);
            let (setting, value) = match transform.setting() {
                Some((key, [on, off])) => {
                    let value = match verdict {
                        TransformVerdict::Keeps => Some(on),
                        TransformVerdict::Changes => Some(off),
                        // What is harder can still teach; that is for the person to say.
                        TransformVerdict::Harder | TransformVerdict::Unknown => None,
                    };
                    (Some(key.to_string()), value.map(str::to_string))
                }
                None => (None, None),
            };
            TransformReport {
                transform,
                verdict,
                accuracy,
                pairs,
                turned,
                sentence,
                setting,
                value,
            }
        });
        TransformCheck { images: self.labels.len(), accuracy: plain, transforms: reports.collect() }
    }

    fn of_classes(&self, after: &[Option<usize>]) -> Vec<OfClass> {
        let mut of = vec![OfClass::default(); self.names.len()];
        let mut into: Vec<Vec<usize>> = vec![Vec::new(); self.names.len()];
        for ((&label, before), after) in self.labels.iter().zip(self.before).zip(after) {
            let (Some(before), Some(after)) = (*before, *after) else { continue };
            let class = &mut of[label];
            class.images += 1.0;
            class.right[0] += f64::from(u8::from(before == label));
            class.right[1] += f64::from(u8::from(after == label));
            match (before == label, after == label) {
                (true, false) => {
                    class.lost += 1.0;
                    into[label].push(after);
                }
                (false, true) => class.won += 1.0,
                _ => {}
            }
        }
        for (class, mut into) in of.iter_mut().zip(into) {
            into.sort_unstable();
            class.into = into
                .chunk_by(|a, b| a == b)
                .map(|same| (same[0], same.len() as f64))
                .max_by(|a, b| a.1.total_cmp(&b.1).then(b.0.cmp(&a.0)));
        }
        of
    }

    /// Classes that turn into each other: one into the other, and that one back where what was done
    /// is undone. What cannot be undone has none.
    fn pairs(
        &self,
        transform: Transform,
        of: &[OfClass],
        back: Option<&[OfClass]>,
        after: &[Option<usize>],
    ) -> Vec<TransformPair> {
        let Some(back) = back else { return Vec::new() };
        let is_own = transform.inverse() == Some(transform);
        let mut pairs = Vec::new();
        for (first, class) in of.iter().enumerate() {
            let Some(second) = class.becomes() else { continue };
            if back[second].becomes() != Some(first) || (is_own && second < first) {
                continue;
            }
            // An image of the first that shows it, and one of the second that is recognised.
            let example = |class: usize, taken: Option<usize>| {
                let of_class =
                    || (0..self.labels.len()).filter(move |&at| self.labels[at] == class);
                of_class()
                    .find(|&at| {
                        self.before[at] == Some(class) && (taken.is_none() || after[at] == taken)
                    })
                    .or_else(|| of_class().next())
                    .map(|at| self.samples[at].location.clone())
            };
            let locations: Vec<Location> = [example(first, Some(second)), example(second, None)]
                .into_iter()
                .flatten()
                .collect();
            let text = |at: usize| locations.get(at).map(Location::to_text).unwrap_or_default();
            pairs.push(TransformPair {
                first: self.names[first].clone(),
                second: self.names[second].clone(),
                share: class.share(),
                back: back[second].share(),
                examples: [text(0), text(1)],
                locations,
            });
        }
        pairs
    }
}

fn sentence(
    transform: Transform,
    verdict: TransformVerdict,
    [plain, accuracy]: [f64; 2],
    pairs: &[TransformPair],
    turned: &[Turned],
) -> String {
    let percent = |share: f64| format!("{:.1} %", 100.0 * share);
    let words = transform.words();
    match verdict {
        TransformVerdict::Unknown => format!(
            "Classes are told apart too badly ({}) to say what becomes of images {words}.",
            percent(plain)
        ),
        TransformVerdict::Changes => {
            let pair = &pairs[0];
            let (first, second) = (&pair.first, &pair.second);
            let said = match transform {
                Transform::Mirrored => {
                    format!("“{first}” and “{second}” are mirror images of each other")
                }
                Transform::UpsideDown => {
                    format!("“{first}” and “{second}” are each other upside down")
                }
                _ => format!("“{first}” {words} is “{second}”"),
            };
            match pairs.len() - 1 {
                0 => format!("{said}."),
                1 => format!("{said}; so is another pair of classes."),
                more => format!("{said}; so are {more} more pairs of classes."),
            }
        }
        TransformVerdict::Harder => match turned.first() {
            Some(first) if !first.into.is_empty() => format!(
                "Images {words} are recognised worse: {} instead of {}; “{}” suffers most, and is taken for “{}” most often.",
                percent(accuracy),
                percent(plain),
                first.class,
                first.into
            ),
            _ => format!(
                "Images {words} are recognised worse: {} instead of {}.",
                percent(accuracy),
                percent(plain)
            ),
        },
        TransformVerdict::Keeps => format!(
            "Images {words} keep their classes: {} are recognised, {} as they are.",
            percent(accuracy),
            percent(plain)
        ),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::source::Split;

    /// 20 images of each of four classes, all of which are recognised; `after` says what those of a
    /// class are taken for after a transformation, and how many of them are.
    fn judged(after: &dyn Fn(Transform, usize) -> (usize, usize)) -> TransformCheck {
        let names = ["left", "right", "ahead", "stop"].map(String::from);
        let labels: Vec<usize> = (0..80).map(|at| at / 20).collect();
        let before: Vec<Option<usize>> = labels.iter().copied().map(Some).collect();
        let samples: Vec<DatasetSample> = labels
            .iter()
            .enumerate()
            .map(|(at, &class)| DatasetSample {
                location: Location::File(format!("{class}/{at}.png").into()),
                class,
                split: Split::Train,
                group: None,
            })
            .collect();
        let samples: Vec<&DatasetSample> = samples.iter().collect();
        let transforms = &Transform::ALL;
        let seen =
            Seen { names: &names, transforms, labels: &labels, before: &before, samples: &samples };
        let after: Vec<Vec<Option<usize>>> = Transform::ALL
            .into_iter()
            .map(|transform| {
                let taken = |at: usize| {
                    let (into, images) = after(transform, at / 20);
                    Some(if at % 20 < images { into } else { at / 20 })
                };
                (0..80).map(taken).collect()
            })
            .collect();
        seen.judge(&after)
    }

    fn of(check: &TransformCheck, transform: Transform) -> &TransformReport {
        check.transforms.iter().find(|report| report.transform == transform).unwrap()
    }

    #[test]
    fn pairs_are_named_and_set_the_setting() {
        let check = judged(&|transform, class| match (transform, class) {
            (Transform::Mirrored, 0) => (1, 18),
            (Transform::Mirrored, 1) => (0, 15),
            // Turned to the left, what points ahead points left, and back.
            (Transform::TurnedLeft, 2) => (0, 20),
            (Transform::TurnedRight, 0) => (2, 20),
            (_, class) => (class, 0),
        });
        assert_eq!((check.accuracy, check.images), (1.0, 80));
        let mirrored = of(&check, Transform::Mirrored);
        assert_eq!(mirrored.verdict, TransformVerdict::Changes);
        assert_eq!(mirrored.pairs.len(), 1);
        let pair = &mirrored.pairs[0];
        assert_eq!((pair.first.as_str(), pair.second.as_str()), ("left", "right"));
        assert_eq!((pair.share, pair.back), (0.9, 0.75));
        assert_eq!(pair.examples, ["0/0.png", "1/20.png"]);
        assert!(mirrored.sentence.contains("mirror images of each other"));
        assert_eq!(mirrored.setting.as_deref(), Some("augmentation.flip"));
        assert_eq!(mirrored.value.as_deref(), Some("false"));
        let left = of(&check, Transform::TurnedLeft);
        assert_eq!(left.sentence, "“ahead” turned left by 90° is “left”.");
        assert_eq!(
            of(&check, Transform::TurnedRight).sentence,
            "“left” turned right by 90° is “ahead”."
        );
        let upside_down = of(&check, Transform::UpsideDown);
        assert_eq!(upside_down.verdict, TransformVerdict::Keeps);
        assert_eq!(of(&check, Transform::Cropped).value.as_deref(), Some("true"));
    }

    #[test]
    fn what_goes_one_way_only_is_no_pair_and_few_images_are_an_accident() {
        let check = judged(&|transform, class| match (transform, class) {
            // What is turned is taken for something else, which stays what it is.
            (Transform::UpsideDown, 0) => (3, 20),
            (Transform::Grey, 0) => (1, 20),
            (Transform::Grey, 1) => (0, 20),
            (Transform::Mirrored, 0) => (1, 8),
            (Transform::Mirrored, 1) => (0, 8),
            (_, class) => (class, 0),
        });
        let upside_down = of(&check, Transform::UpsideDown);
        assert_eq!((upside_down.verdict, upside_down.pairs.len()), (TransformVerdict::Harder, 0));
        assert_eq!(
            (upside_down.turned[0].class.as_str(), upside_down.turned[0].share),
            ("left", 1.0)
        );
        assert!(upside_down.sentence.contains("“left” suffers most, and is taken for “stop”"));
        // Colours that are taken away cannot be given back.
        let grey = of(&check, Transform::Grey);
        assert_eq!((grey.pairs.len(), grey.turned.len(), grey.value.clone()), (0, 2, None));
        let mirrored = of(&check, Transform::Mirrored);
        assert_eq!((mirrored.pairs.len(), mirrored.turned.len()), (0, 0));
        assert_eq!((mirrored.verdict, mirrored.value.clone()), (TransformVerdict::Harder, None));
    }

    #[test]
    fn who_cannot_tell_classes_apart_says_nothing() {
        let names = ["a", "b"].map(String::from);
        let labels = [0, 0, 1, 1];
        let (before, transforms) = (&[Some(1); 4], &Transform::ALL);
        let seen = Seen { names: &names, transforms, labels: &labels, before, samples: &[] };
        let after = vec![vec![Some(0); 4]; Transform::ALL.len()];
        let labels = [0; 4];
        let seen = Seen { labels: &labels, ..seen };
        let check = seen.judge(&after);
        assert!(check.transforms.iter().all(|report| {
            report.verdict == TransformVerdict::Unknown && report.value.is_none()
        }));
    }
}
