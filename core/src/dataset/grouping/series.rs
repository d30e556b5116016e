//! Noticing that images come in series, where nobody has said so.
//!
//! File names alone hardly tell: unrelated photos are numbered, too. Pixels do. If what stands next
//! to each other in the order of names is far more often alike than two random images of the same
//! class, the order is that of a track, a burst or a stack of slices. Cameras tell by the time that
//! they note. Where neither does and names hold two numbers, of which the first comes many times, as
//! of things that were cut out of one photo, it is asked.

use std::collections::HashMap;

use rand::Rng;
use serde::Serialize;

use super::names::{by_numbered_prefix, in_order_of_names};
use super::{GroupBy, Grouped, Grouping, LeakCount, grouped};
use crate::dataset::{BuildOptions, subfolder_names};
use crate::images::look_distance;
use crate::job::{Control, Job, Silent};
use crate::random::stream;
use crate::source::Catalog;

/// Two images are alike if at most this share of random pairs of their class are as near.
const BY_CHANCE: f64 = 0.05;

/// Images come in series if at least this share of neighbours are alike: five times what chance
/// gives. Of frames of a track, every fifth taken, it is 40 %; of unrelated photos 7 to 10 %.
const NOTICED: f64 = 0.25;

/// Neighbours that are looked at, at least: of fewer, a quarter may be alike by chance.
const LEAST: usize = 40;

/// Classes of fewer images have too few pairs to know what is near.
const SMALLEST_CLASS: usize = 8;

/// Pairs of a class that are looked at, at most.
const PAIRS: usize = 4000;

/// A way of grouping explains the series if it keeps at least this share of alike neighbours
/// together.
const EXPLAINED: f64 = 0.5;

/// Images come in series if at least this share of them was taken shortly before or after another of
/// their class.
const TAKEN_TOGETHER: f64 = 0.5;

/// It is asked whether images come in series if at least this share of them is named like others.
const NAMED_ALIKE: f64 = 0.5;

/// What tells that images come in series.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(tag = "by", rename_all = "snake_case")]
pub enum Sign {
    /// Neighbours in the order of names look alike.
    Looks,
    /// One camera took them shortly after each other.
    Times {
        /// At most so many seconds.
        seconds: u64,
    },
    /// Names are the same up to the last number and hold another before it.
    Names,
}

/// That images come in series.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Series {
    /// What tells.
    pub sign: Sign,
    /// Pairs of neighbours in the order of names that were looked at; by times and names, images.
    pub neighbours: usize,
    /// Those of them that are nearer to each other than 95 % of random pairs of their class; by
    /// times, those that have another of their class shortly before or after them; by names, those
    /// that are named like others.
    pub alike: usize,
    /// What keeping them together would do, in the way that explains them best; none if none does.
    pub offer: Option<Grouped>,
    /// That way.
    #[serde(skip)]
    pub by: Option<GroupBy>,
}

impl Series {
    /// The share of neighbours that are alike, where chance gives at most 0.05.
    pub fn share(&self) -> f64 {
        self.alike as f64 / self.neighbours as f64
    }

    /// What was found, in a sentence.
    pub fn sentence(&self) -> String {
        let share = format!("{:.0} %", 100.0 * self.share());
        match self.sign {
            Sign::Looks => format!(
                "the images come in series, such as frames of a track or photos of a burst: {share} of those next to each other by name look more alike than 95 % of random pairs of their class"
            ),
            Sign::Times { seconds } => format!(
                "the images come in series: {share} of them were taken by one camera within {seconds} seconds of another of their class"
            ),
            Sign::Names => format!(
                "the images may come in series, as parts of one photo do: the names of {share} of them are those of others of their class but for the last of several numbers"
            ),
        }
    }

    /// What follows from it, in a sentence; empty where no way of grouping explains it.
    pub fn consequence(&self) -> String {
        let Some(Grouped { by, before, after, .. }) = &self.offer else { return String::new() };
        let percent =
            |split: LeakCount| split.share().map(|share| format!("{:.0} %", 100.0 * share));
        let (split, before, after) =
            match (percent(before.validation.all), percent(after.validation.all)) {
                (Some(before), Some(after)) => ("validation", before, after),
                _ => {
                    return format!(
                        "kept together by {by}, none of them is on both sides of a split"
                    );
                }
            };
        let flatters = match self.sign {
            Sign::Names => "which flatters every result if they belong together",
            _ => "which flatters every result",
        };
        format!(
            "held out one by one, {before} of {split} images have a sibling in training, {flatters}; kept together by {by}, {after} have"
        )
    }

    /// Everything, and the option of the command line that keeps them together.
    pub fn sentences(&self) -> String {
        match &self.by {
            Some(by) => {
                format!("{}; {} (--group-by {by})", self.sentence(), self.consequence())
            }
            None => {
                let of_one = "; of classes that are one series, only photos of another occasion can tell how well they are recognised";
                let (how, instead) = match self.sign {
                    Sign::Looks => ("--group-by", ""),
                    Sign::Names => ("--group-by name", of_one),
                    Sign::Times { .. } => ("--group-by time", of_one),
                };
                let flatter = match self.sign {
                    Sign::Names => "flatter every result if they belong together",
                    _ => "flatter every result",
                };
                format!(
                    "{}; held out one by one they {flatter}, and {how} can keep them together{instead}",
                    self.sentence()
                )
            }
        }
    }
}

/// Neighbours in the order of names, and whether they are alike.
struct Neighbours {
    pairs: Vec<(usize, usize, bool)>,
}

/// Finds out whether a catalog's images come in series, and how they are best kept together. The
/// answer depends on the catalog alone.
pub fn notice_series(catalog: &Catalog) -> Option<Series> {
    if catalog.facts.len() != catalog.samples.len() {
        return None;
    }
    let neighbours = Neighbours::of(catalog);
    let number = neighbours.pairs.len();
    let alike = neighbours.pairs.iter().filter(|(.., alike)| *alike).count();
    if number < LEAST || (alike as f64) < NOTICED * number as f64 {
        return taken_together(catalog).or_else(|| named_alike(catalog));
    }
    let control = Control::new();
    let job = Job::new(&control, &Silent);
    let ways = std::iter::once(GroupBy::List).chain(GroupBy::USUAL);
    let found = ways.filter_map(|by| Some((Grouping::of(catalog, &by, job).ok()?, by))).find(
        |(grouping, _)| neighbours.are_explained_by(grouping) && leaves_choice(catalog, grouping),
    );
    let (by, offer) = match found {
        Some((grouping, by)) => {
            let mut options = BuildOptions::default();
            if by == GroupBy::Subfolder {
                options.rename = subfolder_names(&catalog.classes);
            }
            (Some(by.clone()), grouped(catalog, &options, &by, &grouping).ok())
        }
        None => (None, None),
    };
    let by = by.filter(|_| offer.is_some());
    Some(Series { sign: Sign::Looks, neighbours: number, alike, by, offer })
}

/// The same by the times that cameras have noted.
fn taken_together(catalog: &Catalog) -> Option<Series> {
    let by = GroupBy::USUAL.into_iter().find(|by| matches!(by, GroupBy::Time { .. }))?;
    let GroupBy::Time { seconds } = by else { return None };
    let number = catalog.samples.len();
    let mut taken: Vec<(usize, u32, i64, [u8; 32])> = catalog
        .samples
        .iter()
        .zip(&catalog.facts)
        .filter_map(|(sample, facts)| {
            facts.taken.map(|taken| (sample.class, taken.camera, taken.seconds, facts.hash))
        })
        .collect();
    taken.sort_unstable();
    // A copy of a photo is no other photo.
    taken.dedup();
    let is_near = |pair: &[(usize, u32, i64, [u8; 32])]| {
        let [(class, camera, before, _), (other, same, after, _)] = [pair[0], pair[1]];
        (class, camera) == (other, same) && after.abs_diff(before) <= seconds
    };
    let near: Vec<bool> = taken.windows(2).map(is_near).collect();
    let has_near = |at: usize| {
        at.checked_sub(1).is_some_and(|before| near[before])
            || near.get(at).is_some_and(|near| *near)
    };
    let alike = (0..taken.len()).filter(|&at| has_near(at)).count();
    if number < LEAST || (alike as f64) < TAKEN_TOGETHER * number as f64 {
        return None;
    }
    let control = Control::new();
    let grouping = Grouping::of(catalog, &by, Job::new(&control, &Silent)).ok()?;
    let offer = match leaves_choice(catalog, &grouping) {
        true => grouped(catalog, &BuildOptions::default(), &by, &grouping).ok(),
        false => None,
    };
    let by = offer.is_some().then_some(by);
    Some(Series { sign: Sign::Times { seconds }, neighbours: number, alike, by, offer })
}

/// That names hold two numbers, of which the first comes several times: at least two such series a class
/// on average.
fn named_alike(catalog: &Catalog) -> Option<Series> {
    let number = catalog.samples.len();
    let mut sizes = HashMap::new();
    for key in by_numbered_prefix(catalog).into_iter().flatten() {
        *sizes.entry(key).or_insert(0_usize) += 1;
    }
    let several = || sizes.values().filter(|size| **size > 1);
    let alike = several().sum::<usize>();
    if number < LEAST
        || (alike as f64) < NAMED_ALIKE * number as f64
        || several().count() < 2 * catalog.classes.len()
    {
        return None;
    }
    let by = GroupBy::Name { pattern: None };
    let control = Control::new();
    let grouping = Grouping::of(catalog, &by, Job::new(&control, &Silent)).ok()?;
    // With half of the classes in one piece each it is still worth it for the others.
    let [classes, divisible] = divisible(catalog, &grouping);
    let offer = (2 * divisible >= classes && divisible > 0)
        .then(|| grouped(catalog, &BuildOptions::default(), &by, &grouping).ok())
        .flatten();
    let by = offer.is_some().then_some(by);
    Some(Series { sign: Sign::Names, neighbours: number, alike, by, offer })
}

impl Neighbours {
    fn of(catalog: &Catalog) -> Self {
        let mut pairs = Vec::new();
        for (number, class) in in_order_of_names(catalog).into_iter().enumerate() {
            let distance =
                |a: usize, b: usize| look_distance(catalog.facts[a].look, catalog.facts[b].look);
            let Some(near) = near(number, &class, distance) else { continue };
            pairs.extend(class.windows(2).map(|p| (p[0], p[1], distance(p[0], p[1]) <= near)));
        }
        Self { pairs }
    }

    /// Whether groups hold most of the neighbours that are alike, and hold neighbours because they
    /// are alike: twice as often at least as those that they part.
    fn are_explained_by(&self, grouping: &Grouping) -> bool {
        // Pairs and alike pairs, apart and together.
        let mut counts = [[0usize; 2]; 2];
        for &(one, other, alike) in &self.pairs {
            let together = grouping.group(one) == grouping.group(other);
            counts[usize::from(together)][0] += 1;
            counts[usize::from(together)][1] += usize::from(alike);
        }
        let [[apart, alike_apart], [together, alike_together]] = counts;
        let share = |alike: usize, all: usize| alike as f64 / all.max(1) as f64;
        together > 0
            && alike_together as f64 >= EXPLAINED * (alike_together + alike_apart) as f64
            && share(alike_together, together) >= 2.0 * share(alike_apart, apart)
    }
}

/// The distance up to which images of a class are alike; none where too many are.
fn near(number: usize, class: &[usize], distance: impl Fn(usize, usize) -> u32) -> Option<u32> {
    let n = class.len();
    if n < SMALLEST_CLASS {
        return None;
    }
    let mut histogram = [0usize; 65];
    let mut count = |a: usize, b: usize| {
        if a.abs_diff(b) > 1 {
            histogram[distance(class[a], class[b]) as usize] += 1;
        }
    };
    if n * (n - 1) / 2 <= PAIRS {
        (0..n).for_each(|a| (0..a).for_each(|b| count(a, b)));
    } else {
        let mut random = stream(0, "series", &[number as u64]);
        let mut draw = || (random.next_u64() % n as u64) as usize;
        (0..PAIRS).for_each(|_| count(draw(), draw()));
    }
    let most = BY_CHANCE * histogram.iter().sum::<usize>() as f64;
    let mut sum = 0;
    let beyond = histogram.iter().position(|pairs| {
        sum += pairs;
        sum as f64 > most
    });
    (beyond.unwrap_or(0) as u32).checked_sub(1)
}

/// Whether groups are small enough for classes to be divided: in most classes of some size, none
/// has more than half of the images.
fn leaves_choice(catalog: &Catalog, grouping: &Grouping) -> bool {
    let [classes, divisible] = divisible(catalog, grouping);
    2 * divisible > classes
}

/// How many classes of some size there are, and in how many of them no group has more than half of the
/// images.
fn divisible(catalog: &Catalog, grouping: &Grouping) -> [usize; 2] {
    let mut sizes: Vec<HashMap<u32, usize>> = vec![HashMap::new(); catalog.classes.len()];
    for (i, sample) in catalog.samples.iter().enumerate() {
        *sizes[sample.class].entry(grouping.group(i)).or_default() += 1;
    }
    let (mut classes, mut divisible) = (0, 0);
    for sizes in sizes {
        let all: usize = sizes.values().sum();
        if all >= SMALLEST_CLASS {
            classes += 1;
            divisible += usize::from(sizes.values().all(|&size| 2 * size <= all));
        }
    }
    [classes, divisible]
}
