//! Building: from everything a scan found to the samples to train on, validate with and test on.

use std::borrow::Cow;
use std::cmp::Reverse;
use std::collections::{HashMap, HashSet};

use rand::seq::SliceRandom;

use super::class_names::nearest_class;
use super::digests::Digests;
use super::grouping::Grouping;
use super::holdout::{self, DEFAULT_TEST, DEFAULT_VALIDATION};
use super::options::{BuildOptions, ClassChoice, ClassOrder, Pick};
use super::profile::Profile;
use super::rename::Renamed;
use super::samples::{Dataset, DatasetSample, Provenance};
use super::whole_groups::WholeGroups;
use crate::error::{DataError, Result};
use crate::job::{Control, Job, Silent};
use crate::random::stream;
use crate::source::{Catalog, Split, composed};

/// Unknown classes that a similar name is looked for, at most.
const SUGGESTIONS: usize = 50;

/// What [`build`] makes.
#[derive(Clone, Debug, PartialEq)]
pub struct BuiltDataset {
    /// The dataset.
    pub dataset: Dataset,
    /// What the person should know, one sentence each: classes too small for what was asked,
    /// fractions that were not used. Also kept in the dataset's [`Provenance`].
    pub notes: Vec<String>,
}

/// What a build would give, in numbers. All vectors are parallel to `classes`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CountsPreview {
    /// Names of the kept classes, in label order.
    pub classes: Vec<String>,
    /// Training samples a class.
    pub train: Vec<usize>,
    /// Training samples of each class that the profile keeps; some of them are held out for
    /// validation where the source has splits.
    pub kept: Vec<usize>,
    /// Validation samples a class.
    pub validation: Vec<usize>,
    /// Test samples a class.
    pub test: Vec<usize>,
    /// What [`BuiltDataset::notes`] would say.
    pub notes: Vec<String>,
}

/// Builds a dataset of a catalog.
///
/// The steps, in order:
/// 1. Classes are renamed, which makes those with one name one class, and chosen; labels keep the
///    source's order, a class of several standing where the first of them does.
/// 2. Splits. Where the source has splits they are kept, and samples without one count as training
///    samples; a source that has no test split gives one only if [`BuildOptions::test`] asks for
///    it, and then as in the next sentence. Where the source has no splits, a test part is held
///    out, the same number of every class (default: 0.2 of the mean class; a class gives at most a
///    third of its own), then a stratified validation part (default: 0.1 of every class, at least
///    one of a class of three). Both are taken before the profile thins what is left, so a
///    long-tailed set made of a balanced source is tested on a balanced one.
/// 3. The profile says how many training samples each class keeps. Its head takes
///    [`BuildOptions::max_per_class`] or else what the largest class has left. A class with fewer
///    than the profile asks for keeps all it has, which a note says.
/// 4. Where the source has splits but no validation, and [`BuildOptions::validation`] asks for one,
///    it is held out of the samples kept in step 3, stratified: those are all the labels there are,
///    and a profile's numbers are training plus validation then.
///
/// Every class keeps at least one training sample throughout. Held-out samples are drawn at random,
/// exact copies together. With [`BuildOptions::group_by`] whole groups are, and the numbers above are
/// what comes nearest; splits of the source stay as they are all the same. The result depends on the
/// catalog and the options alone.
///
/// # Errors
/// [`DataError::Build`] for options out of range or classes the source does not have,
/// [`DataError::Many`] listing classes without a training sample; as [`Grouping::of`].
pub fn build(catalog: &Catalog, options: &BuildOptions) -> Result<BuiltDataset> {
    build_with(catalog, options, grouping(catalog, options)?.as_ref())
}

/// [`build`] where the groups that the options ask for are known.
pub(super) fn build_with(
    catalog: &Catalog,
    options: &BuildOptions,
    grouping: Option<&Grouping>,
) -> Result<BuiltDataset> {
    let have = Available::of(catalog, options)?;
    let mut groups = grouping.map(|grouping| have.whole_groups(catalog, grouping, options));
    let plan = Plan::of(&have, options, groups.as_mut())?;
    let mut pools = vec![[const { Vec::new() }; 3]; have.all.names.len()];
    for (i, sample) in catalog.samples.iter().enumerate() {
        pools[have.all.places[sample.class]][sample.split.unwrap_or(Split::Train) as usize].push(i);
    }
    let content = |sample: usize| catalog.facts.get(sample).map(|facts| facts.hash);
    let mut parts: [Vec<DatasetSample>; 3] = Default::default();
    let mut digests = Digests::default();
    for (label, &class) in have.classes.iter().enumerate() {
        let [mut train, mut validation, mut test] = std::mem::take(&mut pools[class]);
        if plan.drops(Split::Validation) {
            validation.clear();
        }
        if plan.drops(Split::Test) {
            test.clear();
        }
        let place = [class as u64];
        match &mut groups {
            Some(groups) => {
                train = std::mem::take(&mut groups.train[label]);
                validation.append(&mut groups.validation[label]);
                test.append(&mut groups.test[label]);
            }
            None => {
                if plan.test[label] + plan.validation_before[label] > 0 {
                    train.shuffle(&mut stream(options.seed, "hold out", &place));
                    test.extend(holdout::draw(&mut train, plan.test[label], content));
                    let validation_before = plan.validation_before[label];
                    validation.extend(holdout::draw(&mut train, validation_before, content));
                    train.sort_unstable();
                }
                if options.pick == Pick::Random && plan.keep[label] < train.len() {
                    train.shuffle(&mut stream(options.seed, "pick", &place));
                }
                train.truncate(plan.keep[label]);
                if plan.validation_after[label] > 0 {
                    train.shuffle(&mut stream(options.seed, "hold out", &place));
                    let validation_after = plan.validation_after[label];
                    validation.extend(holdout::draw(&mut train, validation_after, content));
                }
            }
        }
        for (split, mut indices) in Split::ALL.into_iter().zip([train, validation, test]) {
            indices.sort_unstable();
            for &i in &indices {
                if let Some(hash) = content(i) {
                    digests.add(&catalog.samples[i].location, hash);
                }
            }
            let part = &mut parts[split as usize];
            part.extend(indices.into_iter().map(|i| DatasetSample {
                location: catalog.samples[i].location.clone(),
                class: label,
                split,
                group: grouping.map(|grouping| grouping.group(i)),
            }));
        }
    }
    let drawn = plan.drawn();
    let mut notes = plan.notes;
    if let (Some(by), Some(grouping)) = (&options.group_by, grouping) {
        let sizes = grouping.sizes(catalog);
        let (series, largest) = (sizes.series, images(sizes.largest));
        let note = match torn(&parts) {
            0 => format!(
                "images with {} are kept in one split: {series} series, the largest of {largest}",
                by.words()
            ),
            torn => format!(
                "images with {} belong together: {series} series, the largest of {largest}; {torn} of them in more than one split of the source, whose splits stay as they are",
                by.words()
            ),
        };
        notes.insert(0, note);
    }
    let has_groups = || catalog.samples.iter().any(|sample| sample.group.is_some());
    let draws_all = || catalog.samples.iter().all(|sample| sample.split.is_none());
    if options.group_by.is_none() && draws_all() && has_groups() {
        notes.push(
            "the list says which images belong together, and they are held out one by one, so that what is held out may look like what was learned from; to keep them together: --group-by list".to_string(),
        );
    }
    let [train, held_out @ ..] = &parts;
    notes.extend(copies_note(&digests, train, held_out.iter().flatten()));
    let dataset = Dataset {
        root: catalog.root.clone(),
        kind: catalog.kind,
        classes: have.names,
        samples: parts.into_iter().flatten().collect(),
        provenance: Provenance {
            options: options.clone(),
            reading: catalog.reading.clone(),
            source_hash: source_hash(catalog),
            grown_of: String::new(),
            notes: notes.clone(),
            drawn,
            digests,
            origin: None,
        },
    };
    Ok(BuiltDataset { dataset, notes })
}

/// Groups that have samples in more than one split.
fn torn(parts: &[Vec<DatasetSample>]) -> usize {
    let mut splits: HashMap<u32, Split> = HashMap::new();
    let mut torn = HashSet::new();
    for sample in parts.iter().flatten() {
        let Some(group) = sample.group else { continue };
        if *splits.entry(group).or_insert(sample.split) != sample.split {
            torn.insert(group);
        }
    }
    torn.len()
}

/// What is to be said where images that are held out have an exact copy in training: then they say
/// less than they seem to.
fn copies_note<'a>(
    digests: &Digests,
    train: &[DatasetSample],
    held_out: impl Iterator<Item = &'a DatasetSample>,
) -> Option<String> {
    let of = |sample: &DatasetSample| digests.of(&sample.location);
    let known: HashSet<_> = train.iter().filter_map(of).collect();
    let copies = held_out.filter_map(of).filter(|hash| known.contains(hash)).count();
    let (verb, its) = if copies == 1 { ("has", "it is") } else { ("have", "they are") };
    (copies > 0).then(|| {
        format!(
            "{} for validation or test {verb} an exact copy in training, where {its} no test: `inspect` lists copies",
            images(copies)
        )
    })
}

/// What [`build`] would give, in numbers only: quick enough to be called for every step of a
/// slider.
///
/// # Errors
/// As [`build`].
pub fn counts_preview(catalog: &Catalog, options: &BuildOptions) -> Result<CountsPreview> {
    counts_preview_with(catalog, options, grouping(catalog, options)?.as_ref())
}

/// [`counts_preview`] where the groups that [`BuildOptions::group_by`] asks for are known. Without
/// them, every image is held out by itself.
///
/// # Errors
/// As [`build`].
pub fn counts_preview_with(
    catalog: &Catalog,
    options: &BuildOptions,
    grouping: Option<&Grouping>,
) -> Result<CountsPreview> {
    let have = Available::of(catalog, options)?;
    let mut groups = grouping.map(|grouping| have.whole_groups(catalog, grouping, options));
    let plan = Plan::of(&have, options, groups.as_mut())?;
    let add = |a: &[usize], b: &[usize]| a.iter().zip(b).map(|(a, b)| a + b).collect::<Vec<_>>();
    let kept = |split, counts: &[usize]| {
        if plan.drops(split) { vec![0; counts.len()] } else { counts.to_vec() }
    };
    Ok(CountsPreview {
        train: plan
            .keep
            .iter()
            .zip(&plan.validation_after)
            .map(|(keep, held)| keep - held)
            .collect(),
        validation: add(
            &add(&kept(Split::Validation, &have.validation), &plan.validation_before),
            &plan.validation_after,
        ),
        test: add(&kept(Split::Test, &have.test), &plan.test),
        classes: have.names,
        kept: plan.keep,
        notes: plan.notes,
    })
}

/// The groups that the options ask for.
fn grouping(catalog: &Catalog, options: &BuildOptions) -> Result<Option<Grouping>> {
    let control = Control::new();
    let of = |by| Grouping::of(catalog, by, Job::new(&control, &Silent));
    options.group_by.as_ref().map(of).transpose()
}

/// BLAKE3, in hexadecimal, over the sorted (location, class name, content hash) of every sample:
/// the same for the same source whatever order it was read in.
pub fn source_hash(catalog: &Catalog) -> String {
    let mut entries: Vec<(String, &str, [u8; 32])> = catalog
        .samples
        .iter()
        .enumerate()
        .map(|(i, sample)| {
            let content = catalog.facts.get(i).map_or([0; 32], |facts| facts.hash);
            (sample.location.to_text(), catalog.classes[sample.class].as_str(), content)
        })
        .collect();
    entries.sort_unstable();
    let mut hasher = blake3::Hasher::new();
    for (location, class, content) in entries {
        for text in [location.as_str(), class] {
            hasher.update(&(text.len() as u64).to_le_bytes());
            hasher.update(text.as_bytes());
        }
        hasher.update(&content);
    }
    hasher.finalize().to_hex().to_string()
}

/// The chosen classes and what the source has of them.
struct Available {
    /// Every class of the source, renamed.
    all: Renamed,
    /// The chosen ones of them, by their place.
    classes: Vec<usize>,
    names: Vec<String>,
    train: Vec<usize>,
    validation: Vec<usize>,
    test: Vec<usize>,
    has_splits: bool,
}

impl Available {
    fn of(catalog: &Catalog, options: &BuildOptions) -> Result<Self> {
        options.validate()?;
        let all = Renamed::of(&catalog.classes, &options.rename)?;
        let classes = choose(&all.names, options.classes.as_ref())?;
        if classes.len() < 2 {
            return Err(
                DataError::Build("a classifier needs at least two classes".to_string()).into()
            );
        }
        let mut counts = vec![[0usize; 3]; all.names.len()];
        let mut has_splits = false;
        for sample in &catalog.samples {
            // Of a download's folder `train` alone something has to be held out, too.
            has_splits |= sample.split.is_some_and(|split| split != Split::Train);
            counts[all.places[sample.class]][sample.split.unwrap_or(Split::Train) as usize] += 1;
        }
        let of = |split: Split| {
            classes.iter().map(|&class| counts[class][split as usize]).collect::<Vec<_>>()
        };
        let train = of(Split::Train);
        let names: Vec<String> = classes.iter().map(|&class| all.names[class].clone()).collect();
        let empty: Vec<String> = names
            .iter()
            .zip(&train)
            .filter(|(_, n)| **n == 0)
            .map(|(name, _)| name.clone())
            .collect();
        if !empty.is_empty() {
            return Err(DataError::Many {
                summary: "classes without a training image".to_string(),
                items: empty,
            }
            .into());
        }
        if let Profile::Custom { counts } = &options.profile {
            let there: HashSet<&String> = all.names.iter().collect();
            let unknown: Vec<String> =
                counts.keys().filter(|name| !there.contains(name)).cloned().collect();
            if !unknown.is_empty() {
                return Err(DataError::Many {
                    summary: "classes that the source does not have".to_string(),
                    items: unknown,
                }
                .into());
            }
        }
        Ok(Self {
            validation: of(Split::Validation),
            test: of(Split::Test),
            train,
            names,
            classes,
            all,
            has_splits,
        })
    }
}

impl Available {
    /// The training samples of each chosen class, to hold whole groups out of.
    fn whole_groups<'a>(
        &self,
        catalog: &Catalog,
        grouping: &'a Grouping,
        options: &BuildOptions,
    ) -> WholeGroups<'a> {
        let mut labels = vec![None; self.all.names.len()];
        self.classes.iter().enumerate().for_each(|(label, &class)| labels[class] = Some(label));
        let mut train = vec![Vec::new(); self.classes.len()];
        for (i, sample) in catalog.samples.iter().enumerate() {
            if let Some(label) = labels[self.all.places[sample.class]]
                && sample.split.unwrap_or(Split::Train) == Split::Train
            {
                train[label].push(i);
            }
        }
        WholeGroups::new(grouping, train, options.seed)
    }
}

fn choose(classes: &[String], choice: Option<&ClassChoice>) -> Result<Vec<usize>> {
    match choice {
        None => Ok((0..classes.len()).collect()),
        Some(ClassChoice::First(n)) if *n > classes.len() => Err(DataError::Build(format!(
            "{n} classes are asked for, and the source has {}",
            classes.len()
        ))
        .into()),
        Some(ClassChoice::First(n)) => Ok((0..*n).collect()),
        Some(ClassChoice::Named(names)) => {
            let indices: HashMap<Cow<'_, str>, usize> =
                classes.iter().enumerate().map(|(i, name)| (composed(name), i)).collect();
            let mut chosen = Vec::with_capacity(names.len());
            let mut unknown = Vec::new();
            for name in names {
                match indices.get(&composed(name)) {
                    Some(index) => chosen.push(*index),
                    // Each suggestion compares the name with all classes.
                    None if unknown.len() >= SUGGESTIONS => unknown.push(format!("`{name}`")),
                    None => unknown.push(match nearest_class(name, classes) {
                        Some(nearest) => format!("`{name}`; did you mean `{nearest}`?"),
                        None => format!("`{name}`"),
                    }),
                }
            }
            if !unknown.is_empty() {
                return Err(DataError::Many {
                    summary: "classes that the source does not have".to_string(),
                    items: unknown,
                }
                .into());
            }
            chosen.sort_unstable();
            chosen.dedup();
            Ok(chosen)
        }
    }
}

impl Plan {
    /// Splits that are held out of what the source has for training.
    fn drawn(&self) -> Vec<Split> {
        let draws = |sizes: &[usize]| sizes.iter().any(|size| *size > 0);
        let validation = draws(&self.validation_before) || draws(&self.validation_after);
        [(Split::Validation, validation), (Split::Test, draws(&self.test))]
            .into_iter()
            .filter_map(|(split, drawn)| drawn.then_some(split))
            .collect()
    }
}

/// How many samples of each chosen class go where.
struct Plan {
    /// Held out for testing before the profile.
    test: Vec<usize>,
    /// Held out for validation before the profile.
    validation_before: Vec<usize>,
    /// Kept by the profile.
    keep: Vec<usize>,
    /// Held out for validation of what the profile kept.
    validation_after: Vec<usize>,
    /// Splits of the source that are left out.
    dropped: Vec<Split>,
    notes: Vec<String>,
}

impl Plan {
    fn drops(&self, split: Split) -> bool {
        self.dropped.contains(&split)
    }

    /// Decides on the numbers; with `groups`, holds these out at once, since what whole groups give
    /// depends on which they are.
    fn of(
        have: &Available,
        options: &BuildOptions,
        mut groups: Option<&mut WholeGroups<'_>>,
    ) -> Result<Self> {
        let mut notes = Vec::new();
        let mut dropped = Vec::new();
        // The fraction to hold out, or none where the source's own split serves.
        let mut fraction = |split: Split, own: &[usize], asked: Option<f64>, default: f64| {
            let own: usize = own.iter().sum();
            match asked {
                Some(0.0) if own > 0 => {
                    dropped.push(split);
                    notes.push(format!(
                        "the source's own {split} split of {} is left out",
                        images(own)
                    ));
                    0.0
                }
                Some(fraction) if own > 0 => {
                    notes.push(format!("the source's own {split} split of {} is used; the fraction {fraction} is not", images(own)));
                    0.0
                }
                Some(fraction) => fraction,
                None if have.has_splits => 0.0,
                None => default,
            }
        };
        let test_fraction = fraction(Split::Test, &have.test, options.test, DEFAULT_TEST);
        let validation_fraction =
            fraction(Split::Validation, &have.validation, options.validation, DEFAULT_VALIDATION);

        let none = vec![0; have.classes.len()];
        let is_grouped = groups.is_some();
        let test = holdout::test_sizes(&have.train, test_fraction);
        let test = hold_out(&mut groups, Split::Test, test);
        let mut left: Vec<usize> = have.train.iter().zip(&test).map(|(n, held)| n - held).collect();
        let validation_before = if have.has_splits {
            none.clone()
        } else {
            let wanted = holdout::validation_sizes(&have.train, &left, validation_fraction);
            hold_out(&mut groups, Split::Validation, wanted)
        };
        left.iter_mut().zip(&validation_before).for_each(|(n, held)| *n -= held);
        if !is_grouped {
            note_small_test(&mut notes, have, &test);
        }

        let asked = profile_sizes(have, &left, options);
        let keep: Vec<usize> =
            asked.iter().zip(&left).map(|(asked, left)| *asked.min(left)).collect();
        note_short_classes(&mut notes, have, &left, &asked);

        if let Some(groups) = &mut groups {
            groups.keep(&keep, options, &have.classes);
        }
        let validation_after = if have.has_splits {
            let wanted = holdout::validation_sizes(&keep, &keep, validation_fraction);
            hold_out(&mut groups, Split::Validation, wanted)
        } else {
            none
        };
        let held = if have.has_splits { &validation_after } else { &validation_before };
        for (split, fraction, held) in
            [(Split::Test, test_fraction, &test), (Split::Validation, validation_fraction, held)]
        {
            if fraction > 0.0 && (is_grouped || split == Split::Validation) {
                note_classes_without(&mut notes, have, split, held, is_grouped);
            }
        }
        let own = |split: Split, counts: &[usize]| {
            if dropped.contains(&split) { 0 } else { counts.iter().sum::<usize>() }
        };
        let held_out = own(Split::Validation, &have.validation) + own(Split::Test, &have.test);
        if have.has_splits
            && held_out == 0
            && test.iter().chain(&validation_after).all(|held| *held == 0)
        {
            notes.push(
                "there is nothing to validate or test on; use --validation 0.1 --test 0.2"
                    .to_string(),
            );
        }
        Ok(Self { test, validation_before, keep, validation_after, dropped, notes })
    }
}

/// How many samples each class gives to a split: as many as are wanted, or what whole groups come to,
/// which are moved there.
fn hold_out(
    groups: &mut Option<&mut WholeGroups<'_>>,
    split: Split,
    wanted: Vec<usize>,
) -> Vec<usize> {
    match groups {
        Some(groups) => groups.hold_out(split, &wanted),
        None => wanted,
    }
}

/// What the profile asks of each class, at least one, given what is `left` to train on.
fn profile_sizes(have: &Available, left: &[usize], options: &BuildOptions) -> Vec<usize> {
    let classes = left.len();
    let most = options.max_per_class.unwrap_or(usize::MAX);
    let largest = options.max_per_class.unwrap_or_else(|| left.iter().copied().max().unwrap_or(0));
    let mut order: Vec<usize> = (0..classes).collect();
    match options.order {
        ClassOrder::Name => {}
        ClassOrder::Size => order.sort_by_key(|&label| Reverse(left[label])),
        ClassOrder::Shuffle => order.shuffle(&mut stream(options.seed, "class order", &[])),
    }
    let mut sizes = vec![0; classes];
    for (rank, label) in order.into_iter().enumerate() {
        let own = match &options.profile {
            Profile::Custom { counts } => {
                counts.get(&have.names[label]).copied().unwrap_or(left[label])
            }
            _ => left[label],
        };
        sizes[label] = options.profile.size(rank, classes, largest).unwrap_or(own.min(most)).max(1);
    }
    sizes
}

fn note_small_test(notes: &mut Vec<String>, have: &Available, test: &[usize]) {
    let equal = test.iter().copied().max().unwrap_or(0);
    let small: Vec<String> = have
        .names
        .iter()
        .zip(test)
        .filter(|(_, n)| **n < equal)
        .map(|(name, n)| format!("{name} ({n})"))
        .collect();
    if !small.is_empty() {
        notes.push(format!(
            "{} too small for {} in the test split: {}",
            are(small.len(), have),
            images(equal),
            some(&small)
        ));
    }
}

fn note_classes_without(
    notes: &mut Vec<String>,
    have: &Available,
    split: Split,
    held: &[usize],
    is_grouped: bool,
) {
    let classes = have.names.iter().zip(held).filter(|(_, held)| **held == 0);
    let without: Vec<String> = classes.map(|(name, _)| name.clone()).collect();
    if without.is_empty() {
        return;
    }
    let (which, why) = (are(without.len(), have), some(&without));
    notes.push(match is_grouped {
        true => format!("{which} in too few or too large series to give a {split} image: {why}"),
        false => format!("{which} too small to give a {split} image: {why}"),
    });
}

fn note_short_classes(notes: &mut Vec<String>, have: &Available, left: &[usize], asked: &[usize]) {
    let counts = left.iter().zip(asked).zip(&have.names);
    let short: Vec<String> = counts
        .filter(|((left, asked), _)| left < asked)
        .map(|((left, asked), name)| format!("{name} ({left} of {asked})"))
        .collect();
    if !short.is_empty() {
        let verb = if short.len() == 1 { "keeps" } else { "keep" };
        notes.push(format!(
            "{} of {} classes {verb} all there is, less than the profile asks for: {}",
            short.len(),
            have.classes.len(),
            some(&short)
        ));
    }
}

fn are(number: usize, have: &Available) -> String {
    format!("{number} of {} classes {}", have.classes.len(), if number == 1 { "is" } else { "are" })
}

fn images(number: usize) -> String {
    if number == 1 { "1 image".to_string() } else { format!("{number} images") }
}

/// The first few items in a row.
fn some(items: &[String]) -> String {
    const SHOWN: usize = 8;
    let mut text = items.iter().take(SHOWN).map(String::as_str).collect::<Vec<_>>().join(", ");
    if items.len() > SHOWN {
        text += &format!(" and {} more", items.len() - SHOWN);
    }
    text
}

#[cfg(test)]
#[path = "build_tests.rs"]
mod tests;

#[cfg(test)]
#[path = "property_tests.rs"]
mod property_tests;
