//! What more images of a class would bring.
//!
//! A classifier learns again and again from fewer images: of all classes the same share in some
//! rounds, and in others of every class a share of its own. So what a class gains by its own images
//! is told from what it loses to those of others. Accuracy by count is then fitted: the log-odds of
//! being right grow by a slope for every doubling of the class's own images and fall by another, the
//! same for all classes, for every doubling of the others'; each class has its level, and its slope
//! is drawn to that of all classes as far as its own images say little. Accuracy that grows with the
//! logarithm of the count is what Sun et al. found (*Revisiting Unreasonable Effectiveness of Data in
//! Deep Learning Era*, ICCV 2017).

use burn::tensor::Device;
use rand::RngExt;
use rand::seq::SliceRandom;
use rayon::prelude::*;
use serde::Serialize;

use super::folds::{FOLDS, Part, part, places_of, rule_out, thinned};
use super::frozen::{FrozenBackbone, View};
use super::image_fit::teaching_on;
use super::train_classifier::{fit_on, untrained};
use super::weight_decay::choose_weight_decay;
use crate::balance::adjust_logits;
use crate::classifier::FeatureSet;
use crate::dataset::{Dataset, DatasetSample};
use crate::error::{Result, TrainError};
use crate::job::{Job, Silent};
use crate::random::stream;
use crate::settings::Auto;
use crate::source::Split;

/// Shares of a class that are learned from. In as many rounds all classes have the same one, and in
/// as many again every class has each once in an order of its own.
const SHARES: [f64; 4] = [0.125, 0.25, 0.5, 1.0];
/// How many rounds each image is looked at in with each share.
const TURNS: usize = 2;
/// Samples that are looked at, at most: an eighth of them is then enough for the frequent classes.
const MOST_SAMPLES: usize = 20_000;
/// How far slopes of classes lie apart, as a standard deviation of log-odds a doubling.
const SPREAD: f64 = 0.25;
/// The slope that counts as if one more class had it.
const USUAL: f64 = 0.5;
/// Standard deviation of what a doubling of the others takes away, in log-odds.
const OTHERS: f64 = 0.5;
/// Standard deviation of the level of a class, in log-odds: next to no assumption.
const LEVELS: f64 = 3.0;
/// Draws of images with replacement, by which the uncertainty is told.
const DRAWS: usize = 200;
/// Turns of fitting what is common to all classes, at most.
const ROUNDS: usize = 200;
/// How many times as many images are looked ahead to. Further out the fit is a guess.
pub const FACTORS: [usize; 2] = [2, 4];

/// What a class would come to with more images.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct MoreOfClass {
    /// The class.
    pub class: String,
    /// Images of it that there are to learn from.
    pub images: usize,
    /// Share of its images that is recognised by a classifier that learned from two thirds of all,
    /// in 0..1; nothing where none was held out.
    pub measured: Option<f64>,
    /// What the fit says of as many images as there are.
    pub now: Option<Outlook>,
    /// What it says of [`FACTORS`] times as many.
    pub with_more: [Option<Outlook>; 2],
}

/// An accuracy, in 0..1, with the range that eight of ten draws of images lie in.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct Outlook {
    /// What is to be expected.
    pub accuracy: f64,
    /// The lower end.
    pub low: f64,
    /// The upper end.
    pub high: f64,
}

/// What more images would bring.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct MoreImages {
    /// Images that were classified by what others taught.
    pub images: usize,
    /// Every class, the rarest first.
    pub classes: Vec<MoreOfClass>,
    /// What was found, in a sentence.
    pub sentence: String,
}

/// Fits accuracy by count for every class of a dataset, on its training and validation images and
/// features of the built-in backbone. Features are kept, so that asking again takes seconds. Images
/// of one group are held out together.
///
/// # Errors
/// Images that cannot be read; fewer than two classes with images; a device that fails;
/// [`crate::Error::Stopped`].
pub fn more_images(
    dataset: &Dataset,
    seed: u64,
    device: &Device,
    job: Job<'_>,
) -> Result<MoreImages> {
    let mut settings = teaching_on(dataset, seed, device, job)?;
    let classes = dataset.classes.len();
    let checkpoint = untrained(&settings, dataset)?;
    let samples: Vec<&DatasetSample> =
        dataset.samples.iter().filter(|sample| sample.split != Split::Test).collect();
    let every = samples.len().div_ceil(MOST_SAMPLES).max(1);
    let mut images = vec![0_usize; classes];
    samples.iter().for_each(|sample| images[sample.class] += 1);
    let labels: Vec<u32> = samples.iter().map(|sample| sample.class as u32).collect();
    let kept = thinned(&labels, classes, every);
    let samples: Vec<&DatasetSample> = kept.into_iter().map(|at| samples[at]).collect();
    let mut looked_at = vec![0_usize; classes];
    samples.iter().for_each(|sample| looked_at[sample.class] += 1);
    if images.iter().filter(|count| **count > 0).count() < 2 {
        let reason = "what more images bring can be told where there are two classes or more";
        return Err(TrainError::Request(reason.into()).into());
    }
    let found =
        FrozenBackbone::new(&checkpoint, device).features(dataset, &samples, View::Plain, job)?;
    let all = found.set;
    let rows: Vec<&DatasetSample> =
        found.positions.iter().map(|&position| samples[position as usize]).collect();
    let groups = dataset.series_of(&rows);
    let chosen = choose_weight_decay(&settings, &all, &groups, classes, job)?;
    settings.stage1.weight_decay = Auto::Value(chosen.weight_decay);
    let places = places_of(&all.labels, &groups, classes);
    let rounds = SHARES.len() * TURNS;
    job.phase("learning from fewer images", Some((FOLDS * rounds) as u64), "classifiers");
    let mut tried: Vec<Vec<Tried>> = vec![Vec::new(); all.len()];
    for held in 0..FOLDS {
        let rows: Vec<usize> = (0..all.len()).filter(|&row| places[row] == held).collect();
        let Part { train, held_out, .. } = part(&all, &places, held, classes);
        let learned = |round: usize| -> Result<(Vec<usize>, f64, Vec<bool>)> {
            job.check()?;
            let kept = fewer(&train, classes, round, seed, held);
            let few = train.part(&kept);
            let mut counts = vec![0; classes];
            few.labels.iter().for_each(|&label| counts[label as usize] += 1);
            let at_least_one: Vec<usize> = counts.iter().map(|count| *count.max(&1)).collect();
            let learned: Vec<bool> = counts.iter().map(|count| *count > 0).collect();
            let quiet = Job::new(job.control, &Silent);
            let (mut classifier, standardiser, _) =
                fit_on(&settings, few, classes, &at_least_one, None, quiet)?;
            adjust_logits(&mut classifier, &at_least_one, 1.0)?;
            rule_out(&mut classifier, &learned);
            let mut judged = held_out.clone();
            standardiser.apply(&mut judged.features);
            let answers = classifier.answers(&judged)?;
            let others = doublings(&counts, &looked_at);
            Ok((counts, others, answers.iter().map(|answer| answer.is_right()).collect()))
        };
        let learned: Vec<_> =
            (0..rounds).into_par_iter().map(learned).collect::<Result<Vec<_>>>()?;
        for (counts, others, right) in learned {
            for (&row, right) in rows.iter().zip(right) {
                let count = counts[all.labels[row] as usize];
                if count > 0 {
                    tried[row].push(Tried { own: (count as f64).log2(), others, right });
                }
            }
        }
        job.progress(((held + 1) * rounds) as u64);
    }
    job.phase("fitting", None, "");
    let mut by_class: Vec<Vec<Vec<Tried>>> = vec![Vec::new(); classes];
    for (row, tried) in tried.into_iter().enumerate() {
        by_class[all.labels[row] as usize].push(tried);
    }
    // Of the other classes there are so many doublings more images than were looked at.
    let others = -doublings(&looked_at, &images);
    Ok(told(&dataset.classes, &images, &by_class, (all.len(), others), seed))
}

/// Whether an image was recognised by a classifier.
#[derive(Clone, Copy, Debug)]
struct Tried {
    /// The images of its class that were learned from, in doublings.
    own: f64,
    /// How many doublings all classes had in mean, counted from all of their images.
    others: f64,
    right: bool,
}

/// How many doublings the classes have in mean, counted from all of their images.
fn doublings(counts: &[usize], images: &[usize]) -> f64 {
    let there = counts.iter().zip(images).filter(|(count, _)| **count > 0);
    let (sum, of) = there.fold((0.0, 0), |(sum, of), (count, images)| {
        (sum + (*count as f64 / (*images).max(1) as f64).log2(), of + 1)
    });
    sum / f64::from(of.max(1))
}

/// The rows that are learned from in a round: the same share of all classes in the first rounds, and
/// then of each class the share that is its turn; at least one.
fn fewer(train: &FeatureSet, classes: usize, round: usize, seed: u64, held: usize) -> Vec<usize> {
    let mut of_class: Vec<Vec<usize>> = vec![Vec::new(); classes];
    for (row, &label) in train.labels.iter().enumerate() {
        of_class[label as usize].push(row);
    }
    let mut kept = Vec::new();
    for (class, mut rows) in of_class.into_iter().enumerate() {
        let mut order: Vec<usize> = (0..SHARES.len()).collect();
        if round >= SHARES.len() {
            order.shuffle(&mut stream(seed, "shares of a class", &[class as u64]));
        }
        let share = SHARES[order[round % SHARES.len()]];
        let counters = [class as u64, round as u64, held as u64];
        rows.shuffle(&mut stream(seed, "fewer images", &counters));
        rows.truncate(((rows.len() as f64 * share).round() as usize).max(1));
        kept.extend(rows);
    }
    // In the order in which they were: batches are drawn from it.
    kept.sort_unstable();
    kept
}

/// The fit of every class, and what follows from it.
fn told(
    names: &[String],
    images: &[usize],
    by_class: &[Vec<Vec<Tried>>],
    (looked_at, others): (usize, f64),
    seed: u64,
) -> MoreImages {
    let every: Vec<Vec<Tried>> = by_class.iter().map(|images| images.concat()).collect();
    let common = Common::of(&every);
    let one = |class: usize| -> MoreOfClass {
        let own = &by_class[class];
        let count = images[class] as f64;
        let tried = &every[class];
        // Of the classifiers that learned from all but a third.
        let most = tried.iter().map(|tried| tried.others).fold(f64::NEG_INFINITY, f64::max);
        let whole = tried.iter().filter(|tried| tried.others > most - 0.25);
        let (right, of) =
            whole.fold((0, 0), |(right, of), tried| (right + usize::from(tried.right), of + 1));
        let mut outlooks = [None; 3];
        if !own.is_empty() && !tried.is_empty() {
            let places =
                [1.0, FACTORS[0] as f64, FACTORS[1] as f64].map(|factor| (factor * count).log2());
            let of_all = |line: Line, common: Common| Line {
                level: line.level + common.others * others,
                ..line
            };
            let expected = of_all(fit(tried, common), common).at(places);
            let mut draws: [Vec<f64>; 3] = Default::default();
            let mut random = stream(seed, "draws of images", &[class as u64]);
            for _ in 0..DRAWS {
                // One more that was right or wrong throughout: of a class of two images nobody
                // knows much, even if both are always right.
                let right = random.random::<bool>();
                let made_up: Vec<Tried> =
                    own[0].iter().map(|tried| Tried { right, ..*tried }).collect();
                let drawn: Vec<Tried> = (0..=own.len())
                    .flat_map(|_| own.get(random.random_range(0..=own.len())).unwrap_or(&made_up))
                    .copied()
                    .collect();
                // The slope of a class is not that of all. A sum of two has √(1/6) as its standard
                // deviation.
                let apart =
                    SPREAD * 6_f64.sqrt() * (random.random::<f64>() + random.random::<f64>() - 1.0);
                let around = Common { slope: common.slope + apart, ..common };
                let found = of_all(fit(&drawn, around), around).at(places);
                draws.iter_mut().zip(found).for_each(|(draws, found)| draws.push(found));
            }
            for ((outlook, expected), mut draws) in outlooks.iter_mut().zip(expected).zip(draws) {
                draws.sort_by(f64::total_cmp);
                let low = draws[DRAWS / 10].min(expected);
                let high = draws[DRAWS - 1 - DRAWS / 10].max(expected);
                *outlook = Some(Outlook { accuracy: expected, low, high });
            }
        }
        let [now, twice, four] = outlooks;
        MoreOfClass {
            class: names[class].clone(),
            images: images[class],
            measured: (of > 0).then(|| right as f64 / of as f64),
            now,
            with_more: [twice, four],
        }
    };
    let mut classes: Vec<MoreOfClass> = (0..names.len()).into_par_iter().map(one).collect();
    let sentence = sentence(&classes);
    classes.sort_by_key(|class| class.images);
    MoreImages { images: looked_at, classes, sentence }
}

/// Log-odds of being right as a line over doublings of the class's own images, with all images of
/// the others there.
#[derive(Clone, Copy, Debug)]
struct Line {
    level: f64,
    slope: f64,
}

impl Line {
    fn at<const N: usize>(self, doublings: [f64; N]) -> [f64; N] {
        doublings.map(|doublings| logistic(self.level + self.slope * doublings))
    }
}

fn logistic(odds: f64) -> f64 {
    1.0 / (1.0 + (-odds).exp())
}

/// What is the same for all classes, more or less.
#[derive(Clone, Copy, Debug)]
struct Common {
    /// Log-odds for every doubling of a class's own images.
    slope: f64,
    /// Log-odds for every doubling of all classes' images, beside that.
    others: f64,
}

impl Common {
    /// What fits all classes best, each with a level and a slope of its own: by going to the mean of
    /// the slopes, and by a step of Newton's method for the others, in turns until both stay. The
    /// slope is never below 0: more images do no harm on average.
    fn of(classes: &[Vec<Tried>]) -> Self {
        let told: Vec<&Vec<Tried>> = classes
            .iter()
            .filter(|tried| tried.iter().any(|one| one.own != tried[0].own))
            .collect();
        let mut common = Self { slope: USUAL, others: 0.0 };
        // Where everything is right, nothing else keeps it from growing without end.
        let rein = OTHERS.powi(-2);
        for _ in 0..ROUNDS {
            if told.is_empty() {
                break;
            }
            let of_class = |tried: &&Vec<Tried>| {
                let line = fit(tried, common);
                let (mut miss, mut flat) = (0.0, 0.0);
                for tried in *tried {
                    let p = logistic(common.odds(line, tried));
                    miss += (f64::from(u8::from(tried.right)) - p) * tried.others;
                    flat += p * (1.0 - p) * tried.others * tried.others;
                }
                [line.slope, miss, flat]
            };
            // In the order of the classes, whatever the threads did.
            let parts: Vec<[f64; 3]> = told.par_iter().map(of_class).collect();
            let sum = |part: usize| parts.iter().map(|parts| parts[part]).sum::<f64>();
            let next = Self {
                slope: ((sum(0) + USUAL) / (told.len() + 1) as f64).max(0.0),
                others: common.others
                    + ((sum(1) - rein * common.others) / (sum(2) + rein)).clamp(-0.5, 0.5),
            };
            let moved = (next.slope - common.slope).abs().max((next.others - common.others).abs());
            common = next;
            if moved < 1e-6 {
                break;
            }
        }
        common
    }

    fn odds(self, line: Line, tried: &Tried) -> f64 {
        line.level + line.slope * tried.own + self.others * tried.others
    }
}

/// The most probable line of a class whose slope is that of all, more or less [`SPREAD`], by
/// Newton's method. Meanwhile the level is at the middle of what was tried.
fn fit(tried: &[Tried], common: Common) -> Line {
    let middle = tried.iter().map(|tried| tried.own).sum::<f64>() / tried.len().max(1) as f64;
    let mut line = Line { level: 0.0, slope: common.slope };
    let (level_weight, slope_weight) = (LEVELS.powi(-2), SPREAD.powi(-2));
    // Rounds are of the same images; together they tell about as much of a level as one does.
    let weight = 1.0 / TURNS as f64;
    for _ in 0..30 {
        let mut gradient =
            [-level_weight * line.level, -slope_weight * (line.slope - common.slope)];
        let mut curvature = [level_weight, 0.0, slope_weight];
        for tried in tried {
            let from_middle = Tried { own: tried.own - middle, ..*tried };
            let x = from_middle.own;
            let p = logistic(common.odds(line, &from_middle));
            let miss = weight * (f64::from(u8::from(tried.right)) - p);
            let flat = weight * p * (1.0 - p);
            gradient[0] += miss;
            gradient[1] += miss * x;
            curvature[0] += flat;
            curvature[1] += flat * x;
            curvature[2] += flat * x * x;
        }
        let [a, b, c] = curvature;
        let area = a * c - b * b;
        let step = [
            (c * gradient[0] - b * gradient[1]) / area,
            (a * gradient[1] - b * gradient[0]) / area,
        ];
        // Far from the answer a whole step may leave it behind.
        line.level += step[0].clamp(-2.0, 2.0);
        line.slope += step[1].clamp(-1.0, 1.0);
        if step.iter().all(|step| step.abs() < 1e-9) {
            break;
        }
    }
    Line { level: line.level - line.slope * middle, slope: line.slope }
}

/// What was found, in a sentence: the class of which twice as many images bring most.
fn sentence(classes: &[MoreOfClass]) -> String {
    let gain = |class: &MoreOfClass| {
        let (now, twice) = (class.now?, class.with_more[0]?);
        Some(twice.accuracy - now.accuracy)
    };
    let best = classes
        .iter()
        .filter_map(|class| Some((gain(class)?, class)))
        .max_by(|(a, _), (b, _)| a.total_cmp(b));
    let Some((gain, MoreOfClass { class, images, now, with_more, .. })) = best else {
        return "no class has images enough to tell".into();
    };
    let percent =
        |outlook: &Option<Outlook>| outlook.map_or(0.0, |outlook| 100.0 * outlook.accuracy);
    if gain < 0.02 {
        return "more images like these would bring little: of no class twice as many bring more than 2 points".into();
    }
    format!(
        "most is to be gained by more images of {class}: {images} more are expected to bring it from {:.0} to {:.0} %",
        percent(now),
        percent(&with_more[0])
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What the others' images bring a doubling: they take away.
    const BY_OTHERS: f64 = -0.3;

    /// Images of a class whose log-odds of being right are a line, tried with the same share as all
    /// classes and with shares of its own.
    fn images(count: usize, level: f64, slope: f64, seed: u64) -> Vec<Vec<Tried>> {
        let mut random = stream(seed, "test", &[count as u64]);
        let one = |_| {
            let rounds = SHARES.iter().flat_map(|share| [(share, share.log2()), (share, -1.5)]);
            rounds
                .map(|(share, others)| {
                    let own = (count as f64 * share).max(1.0).log2();
                    let p = logistic(level + slope * own + BY_OTHERS * others);
                    Tried { own, others, right: random.random::<f64>() < p }
                })
                .collect()
        };
        (0..count).map(one).collect()
    }

    #[test]
    fn a_line_that_is_there_is_found() {
        let by_class: Vec<_> = (0..12).map(|class| images(400, -3.0, 0.5, class)).collect();
        let every: Vec<Vec<Tried>> = by_class.iter().map(|images| images.concat()).collect();
        let common = Common::of(&every);
        assert!((common.slope - 0.5).abs() < 0.08, "{common:?}");
        assert!((common.others - BY_OTHERS).abs() < 0.08, "{common:?}");
        let names: Vec<String> = (0..12).map(|class| class.to_string()).collect();
        let found = told(&names, &[400; 12], &by_class, (4800, 0.0), 0);
        let truth = |doublings: f64| logistic(-3.0 + 0.5 * doublings);
        for class in &found.classes {
            let twice = class.with_more[0].unwrap();
            let expected = truth(800_f64.log2());
            assert!((twice.accuracy - expected).abs() < 0.08, "{twice:?} {expected}");
            assert!(twice.low < twice.accuracy && twice.accuracy < twice.high);
        }
        let inside = found.classes.iter().filter(|class| {
            let twice = class.with_more[0].unwrap();
            (twice.low..=twice.high).contains(&truth(800_f64.log2()))
        });
        assert!(inside.count() >= 8);
    }

    #[test]
    fn a_class_of_two_images_follows_the_others_and_says_how_unsure_that_is() {
        let mut by_class: Vec<_> = (0..6).map(|class| images(200, -2.0, 0.6, class)).collect();
        by_class.push(images(2, -2.0, 0.6, 9));
        by_class.push(Vec::new());
        let names: Vec<String> = (0..8).map(|class| format!("class {class}")).collect();
        let counts = [200, 200, 200, 200, 200, 200, 2, 0];
        let found = told(&names, &counts, &by_class, (1202, 0.0), 0);
        assert_eq!((found.classes[0].images, found.classes[0].now), (0, None));
        assert_eq!(found.classes[0].measured, None);
        let small = &found.classes[1];
        let (now, four) = (small.now.unwrap(), small.with_more[1].unwrap());
        assert!(four.accuracy > now.accuracy);
        let width = |outlook: Outlook| outlook.high - outlook.low;
        assert!(width(four) > width(found.classes[2].with_more[1].unwrap()));
        assert!(found.sentence.contains("images of class"), "{}", found.sentence);
    }

    #[test]
    fn few_images_that_are_always_right_are_expected_to_be_right() {
        let by_class = [images(8, 20.0, 0.0, 1), images(30, 20.0, 0.0, 2)];
        let names = ["few", "more"].map(String::from);
        let found = told(&names, &[8, 30], &by_class, (38, 0.0), 0);
        for class in &found.classes {
            let now = class.now.unwrap();
            assert!(now.accuracy > 0.9 && now.low > 0.5, "{now:?}");
        }
    }

    #[test]
    fn every_class_has_every_share_once_a_turn_and_keeps_an_image() {
        let labels: Vec<u32> = (0..64).map(|_| 0).chain([1; 16]).chain([2]).collect();
        let set = FeatureSet { dim: 1, features: vec![0.0; labels.len()].into(), labels };
        let counts: Vec<[usize; 3]> = (0..SHARES.len() * TURNS)
            .map(|round| {
                let mut counts = [0; 3];
                for row in fewer(&set, 3, round, 5, 0) {
                    counts[set.labels[row] as usize] += 1;
                }
                counts
            })
            .collect();
        let (same, own) = counts.split_at(SHARES.len());
        assert_eq!(same, [[8, 2, 1], [16, 4, 1], [32, 8, 1], [64, 16, 1]]);
        for (class, expected) in [[8, 16, 32, 64], [2, 4, 8, 16], [1, 1, 1, 1]].iter().enumerate() {
            let mut of_class: Vec<usize> = own.iter().map(|counts| counts[class]).collect();
            of_class.sort_unstable();
            assert_eq!(of_class, expected);
        }
        assert!((doublings(&[8, 4, 0], &[16, 16, 3]) + 1.5).abs() < 1e-12);
    }

    #[test]
    fn where_nothing_is_to_be_gained_it_says_so() {
        let by_class: Vec<_> = (0..3).map(|class| images(300, 6.0, 0.0, class)).collect();
        let names: Vec<String> = (0..3).map(|class| class.to_string()).collect();
        let found = told(&names, &[300; 3], &by_class, (900, 0.0), 0);
        assert!(found.sentence.contains("would bring little"), "{}", found.sentence);
    }
}
