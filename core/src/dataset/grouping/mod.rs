//! Which images of a source belong together. Frames of one track that stand on both sides of a
//! split make validation easier than what the model will meet; whole groups in one split do not.

mod by;
mod leak;
mod look_alikes;
mod names;
mod series;
mod time;
mod union;

use std::collections::{BTreeMap, BTreeSet, HashMap};

use serde::Serialize;

pub use by::{DEFAULT_DISTANCE, DEFAULT_SECONDS, GroupBy};
pub use leak::{Grouped, Leak, LeakCount, SplitLeak, grouped};
pub use series::{Series, Sign, notice_series};

use self::names::Keys;
use self::union::Sets;
use crate::error::{DataError, Result};
use crate::job::Job;
use crate::source::Catalog;

/// The groups of a catalog's samples. A sample that belongs to no other is a group of one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Grouping {
    groups: Vec<u32>,
    sizes: Vec<usize>,
}

/// How large the groups of a [`Grouping`] are.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct GroupingSizes {
    /// Groups, those of one image included; people read of series.
    pub series: usize,
    /// Groups of several images.
    pub several: usize,
    /// Images that belong to others.
    pub together: usize,
    /// Images of the largest group.
    pub largest: usize,
    /// The first image of the largest group.
    pub example: Option<String>,
}

impl Grouping {
    /// Finds out which samples belong together. Exact copies of one class always do.
    ///
    /// # Errors
    /// [`DataError::Build`] for parameters out of range, and where the source knows nothing of what
    /// it is asked for (no file has a time, no list names a group); [`crate::Error::Stopped`] if the
    /// job was stopped.
    pub fn of(catalog: &Catalog, by: &GroupBy, job: Job<'_>) -> Result<Self> {
        by.validate()?;
        job.phase("looking for what belongs together", None, "images");
        let number = catalog.samples.len();
        let mut sets = Sets::new(number);
        let join = |sets: &mut Sets, keys: &Keys| {
            let mut first = HashMap::new();
            for (sample, key) in keys.iter().enumerate() {
                if let Some(key) = key {
                    sets.join(*first.entry(key).or_insert(sample), sample);
                }
            }
        };
        let unknown = |reason: String| Err(DataError::Build(reason).into());
        match by {
            GroupBy::List => {
                let keys = names::by_list(catalog);
                if keys.iter().all(Option::is_none) {
                    return unknown(
                        "the source names no groups; only an image list with a column of them does"
                            .into(),
                    );
                }
                join(&mut sets, &keys);
            }
            GroupBy::Subfolder => join(&mut sets, &names::by_subfolder(catalog)),
            GroupBy::FolderAbove => {
                let keys = names::by_folder_above(catalog);
                if keys.iter().all(Option::is_none) {
                    return unknown(
                        "no image lies in a folder that lies in another one below the source"
                            .into(),
                    );
                }
                join(&mut sets, &keys);
            }
            GroupBy::Name { pattern: None } => join(&mut sets, &names::by_prefix(catalog)),
            GroupBy::Name { pattern: Some(pattern) } => {
                let keys = names::by_pattern(catalog, pattern)?;
                if keys.iter().all(Option::is_none) {
                    return unknown(format!("the pattern `{pattern}` matches no image's path"));
                }
                join(&mut sets, &keys);
            }
            GroupBy::Time { seconds } => {
                if catalog.facts.iter().all(|facts| facts.taken.is_none()) {
                    return unknown("no image's file says when it was taken, so that images cannot be kept together by time".into());
                }
                time::join(&catalog.facts, *seconds, &mut sets);
            }
            GroupBy::LookAlikes { distance } => {
                let look = |sample: usize| catalog.facts.get(sample).map_or(0, |facts| facts.look);
                for class in names::in_order_of_names(catalog) {
                    look_alikes::join_neighbours(&class, look, *distance, &mut sets);
                }
                for class in by_class(catalog) {
                    look_alikes::join(&class, look, *distance, &mut sets, job)?;
                }
            }
        }
        job.check()?;
        let mut copies: HashMap<(usize, [u8; 32]), usize> = HashMap::with_capacity(number);
        for (i, (sample, facts)) in catalog.samples.iter().zip(&catalog.facts).enumerate() {
            sets.join(*copies.entry((sample.class, facts.hash)).or_insert(i), i);
        }
        let (groups, count) = sets.numbered();
        let mut sizes = vec![0; count];
        groups.iter().for_each(|&group| sizes[group as usize] += 1);
        Ok(Self { groups, sizes })
    }

    /// The group of a sample of the catalog, from 0; groups are numbered in the order of their first
    /// samples.
    pub fn group(&self, sample: usize) -> u32 {
        self.groups[sample]
    }

    /// How many groups there are, and how large.
    pub fn sizes(&self, catalog: &Catalog) -> GroupingSizes {
        let largest = self.sizes.iter().copied().max().unwrap_or(0);
        let place = self.sizes.iter().position(|&size| size == largest);
        let example = place
            .and_then(|group| self.groups.iter().position(|&other| other as usize == group))
            .map(|sample| catalog.samples[sample].location.to_text());
        let several = self.sizes.iter().filter(|&&size| size > 1);
        GroupingSizes {
            series: self.sizes.len(),
            several: several.clone().count(),
            together: several.sum(),
            largest,
            example,
        }
    }

    /// Groups, those of one image included.
    pub fn len(&self) -> usize {
        self.sizes.len()
    }

    /// Whether there is no group, as of a catalog without samples.
    pub fn is_empty(&self) -> bool {
        self.sizes.is_empty()
    }
}

/// The samples of each class.
fn by_class(catalog: &Catalog) -> Vec<Vec<usize>> {
    let mut classes = vec![Vec::new(); catalog.classes.len()];
    for (i, sample) in catalog.samples.iter().enumerate() {
        classes[sample.class].push(i);
    }
    classes
}

/// A question where every class folder has the same subfolders, so that each of them was read as a
/// class: years or places, more often than classes.
pub fn crossed_subfolders(classes: &[String]) -> Option<String> {
    let parts: Option<Vec<(&str, &str)>> =
        classes.iter().map(|class| class.split_once('/')).collect();
    let mut tops: BTreeMap<&str, BTreeSet<&str>> = BTreeMap::new();
    let mut subs: BTreeMap<&str, BTreeSet<&str>> = BTreeMap::new();
    for (top, sub) in parts? {
        tops.entry(top).or_default().insert(sub);
        subs.entry(sub).or_default().insert(top);
    }
    let is_crossed = tops.len() > 1
        && subs.len() > 1
        && subs.values().all(|tops| tops.len() > 1)
        && 10 * classes.len() >= 8 * tops.len() * subs.len();
    is_crossed.then(|| {
        let named: Vec<&str> = subs.keys().copied().take(3).collect();
        let more = if subs.len() > named.len() { ", …" } else { "" };
        format!(
            "{} folders have the same subfolders ({}{more}), and each of these is read as a class of its own; if they are none, --group-by subfolder takes the folders above for the {} classes, and --group-by folder-above those below for the {}",
            tops.len(),
            named.join(", "),
            tops.len(),
            subs.len()
        )
    })
}

/// New names for classes that are folders below a class, for [`GroupBy::Subfolder`]: of
/// `deer/site 1` and `deer/site 2` that both are `deer`. Empty where there are none.
///
/// ```
/// use counterweight_core::dataset::subfolder_names;
/// let names = subfolder_names(&["deer/1", "deer/2", "fox"].map(String::from));
/// assert_eq!(names, [("deer/1".into(), "deer".into()), ("deer/2".into(), "deer".into())].into());
/// ```
pub fn subfolder_names(classes: &[String]) -> BTreeMap<String, String> {
    let tops = names::top_classes(classes);
    classes
        .iter()
        .zip(tops)
        .filter(|(_, (_, is_below))| *is_below)
        .map(|(class, (top, _))| (class.clone(), top.to_string()))
        .collect()
}

/// New names for classes that are folders below others, for [`GroupBy::FolderAbove`]: of
/// `site 1/deer` and `site 2/deer` that both are `deer`. Empty where there are none.
///
/// ```
/// use counterweight_core::dataset::last_folder_names;
/// let names = last_folder_names(&["1/deer", "2/deer", "fox"].map(String::from));
/// assert_eq!(names, [("1/deer".into(), "deer".into()), ("2/deer".into(), "deer".into())].into());
/// ```
pub fn last_folder_names(classes: &[String]) -> BTreeMap<String, String> {
    let last = |class: &String| Some((class.clone(), class.rsplit_once('/')?.1.to_string()));
    classes.iter().filter_map(last).collect()
}

#[cfg(test)]
mod tests;
