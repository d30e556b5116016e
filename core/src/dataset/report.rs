//! What is worth knowing about a source before anything is trained on it.

use std::collections::{BTreeMap, HashMap, HashSet};

use serde::Serialize;

use super::class_names::{NameDoubt, doubtful_names};
use super::grouping::{Series, notice_series};
use crate::eval::{GroupSummary, GroupThresholds};
use crate::source::{Catalog, Problem, Skipped, SourceKind, Split, Twins};

/// The report on a scanned source. Its field names are what `inspect --json` prints.
#[derive(Clone, Debug, Serialize)]
pub struct ScanReport {
    /// What the person pointed at.
    pub source: String,
    /// The kind of source.
    pub kind: SourceKind,
    /// Number of readable samples.
    pub samples: usize,
    /// Number of readable samples per split; those without one are training samples.
    pub splits: SplitCounts,
    /// Every class, in label order.
    pub classes: Vec<ClassReport>,
    /// Largest over smallest class count n_k of the training samples, over classes that have any;
    /// none if there are no training samples.
    pub imbalance_factor: Option<f64>,
    /// Number of classes per group.
    pub groups: GroupSummary,
    /// Image sizes; none if there are no samples.
    pub sizes: Option<SizeReport>,
    /// Number of samples per stored colour mode.
    pub modes: BTreeMap<&'static str, usize>,
    /// What is doubtful about the classes' names.
    pub doubtful_names: Vec<NameDoubt>,
    /// Every file that cannot be used.
    pub problems: Vec<ReportedProblem>,
    /// Samples whose stored bytes are the same.
    pub duplicates: DuplicateReport,
    /// Whether images come in series, by their pixels; none if they do not.
    pub series: Option<Series>,
    /// What was passed over.
    pub skipped: Skipped,
    /// Kinds of files that lie beside others of the same name, and may be masks or previews of them.
    pub twins: Vec<Twins>,
    /// Number of groups that the source names; samples of a group belong together.
    pub source_groups: usize,
}

/// Numbers of samples.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct SplitCounts {
    /// Training samples.
    pub train: usize,
    /// Validation samples.
    pub validation: usize,
    /// Test samples.
    pub test: usize,
}

/// One class.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct ClassReport {
    /// Its name.
    pub name: String,
    /// n_k and its kin.
    #[serde(flatten)]
    pub counts: SplitCounts,
    /// Samples of all splits.
    pub total: usize,
    /// `many`, `medium` or `few`, by the number of training samples.
    pub group: &'static str,
}

/// The spread of one dimension, in pixels.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct SizeRange {
    /// Smallest.
    pub min: u32,
    /// Median; the lower one of two.
    pub median: u32,
    /// Largest.
    pub max: u32,
}

/// The sizes of the images, after EXIF orientation.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct SizeReport {
    /// Widths.
    pub width: SizeRange,
    /// Heights.
    pub height: SizeRange,
    /// Number of distinct pairs of width and height.
    pub distinct: usize,
}

/// A file that cannot be used.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct ReportedProblem {
    /// The file.
    pub path: String,
    /// Why it cannot be used.
    pub reason: String,
}

/// Exact duplicates, found by hash.
#[derive(Clone, Debug, Default, Serialize)]
pub struct DuplicateReport {
    /// Samples that repeat one listed before them.
    pub redundant: usize,
    /// Groups whose samples lie in more than one split: what is tested was learned.
    pub across_splits: usize,
    /// Groups whose samples have different labels.
    pub labels_differ: usize,
    /// Every group.
    pub groups: Vec<DuplicateGroup>,
}

/// Samples with the same stored bytes.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct DuplicateGroup {
    /// Where they are, in the catalog's order.
    pub paths: Vec<String>,
    /// The classes they are labelled with, each once.
    pub classes: Vec<String>,
    /// Whether they lie in more than one split.
    pub across_splits: bool,
    /// Whether they are labelled with more than one class.
    pub labels_differ: bool,
}

/// Sums up a catalog. Classes with more than `many_above` training samples are in the many group,
/// those with fewer than `few_below` in the few group.
pub fn report(catalog: &Catalog, many_above: usize, few_below: usize) -> ScanReport {
    let [train, validation, test] = Split::ALL.map(|split| catalog.counts(Some(split)));
    let mut splits = SplitCounts::default();
    let mut classes = Vec::with_capacity(catalog.classes.len());
    for (k, name) in catalog.classes.iter().enumerate() {
        let counts = SplitCounts { train: train[k], validation: validation[k], test: test[k] };
        let group = GroupThresholds { many_above, few_below }.group(counts.train).name();
        splits.train += counts.train;
        splits.validation += counts.validation;
        splits.test += counts.test;
        let total = counts.train + counts.validation + counts.test;
        classes.push(ClassReport { name: name.clone(), counts, total, group });
    }
    let largest = train.iter().copied().max().unwrap_or(0);
    let smallest = train.iter().copied().filter(|&count| count > 0).min();
    let mut modes = BTreeMap::new();
    for facts in &catalog.facts {
        *modes.entry(facts.mode).or_default() += 1;
    }
    let problem = |problem: &Problem| ReportedProblem {
        path: problem.path.to_string_lossy().into_owned(),
        reason: problem.reason.clone(),
    };
    ScanReport {
        source: catalog.source.to_string_lossy().into_owned(),
        kind: catalog.kind,
        samples: catalog.samples.len(),
        splits,
        classes,
        imbalance_factor: smallest.map(|smallest| largest as f64 / smallest as f64),
        groups: GroupThresholds { many_above, few_below }.summary(&train),
        sizes: sizes(catalog),
        modes,
        doubtful_names: doubtful_names(&catalog.classes),
        problems: catalog.problems.iter().map(problem).collect(),
        duplicates: duplicates(catalog),
        series: notice_series(catalog),
        skipped: catalog.skipped,
        twins: catalog.twins.clone(),
        source_groups: source_groups(catalog),
    }
}

fn source_groups(catalog: &Catalog) -> usize {
    let names: HashSet<&str> =
        catalog.samples.iter().filter_map(|sample| sample.group.as_deref()).collect();
    names.len()
}

fn sizes(catalog: &Catalog) -> Option<SizeReport> {
    let range = |mut values: Vec<u32>| {
        values.sort_unstable();
        let (min, max) = (*values.first()?, *values.last()?);
        Some(SizeRange { min, median: values[(values.len() - 1) / 2], max })
    };
    let mut pairs: Vec<(u32, u32)> =
        catalog.facts.iter().map(|facts| (facts.width, facts.height)).collect();
    let width = range(pairs.iter().map(|pair| pair.0).collect())?;
    let height = range(pairs.iter().map(|pair| pair.1).collect())?;
    pairs.sort_unstable();
    pairs.dedup();
    Some(SizeReport { width, height, distinct: pairs.len() })
}

fn duplicates(catalog: &Catalog) -> DuplicateReport {
    let mut by_hash: HashMap<[u8; 32], Vec<usize>> = HashMap::with_capacity(catalog.facts.len());
    for (index, facts) in catalog.facts.iter().enumerate() {
        by_hash.entry(facts.hash).or_default().push(index);
    }
    let mut same: Vec<Vec<usize>> =
        by_hash.into_values().filter(|indices| indices.len() > 1).collect();
    same.sort_unstable();
    let mut found = DuplicateReport::default();
    for indices in same {
        let samples = || indices.iter().map(|&index| &catalog.samples[index]);
        let mut classes: Vec<usize> = samples().map(|sample| sample.class).collect();
        classes.sort_unstable();
        classes.dedup();
        let first = catalog.samples[indices[0]].split;
        let group = DuplicateGroup {
            paths: samples().map(|sample| sample.location.to_text()).collect(),
            across_splits: samples().any(|sample| sample.split != first),
            labels_differ: classes.len() > 1,
            classes: classes.into_iter().map(|class| catalog.classes[class].clone()).collect(),
        };
        found.redundant += indices.len() - 1;
        found.across_splits += usize::from(group.across_splits);
        found.labels_differ += usize::from(group.labels_differ);
        found.groups.push(group);
    }
    found
}
