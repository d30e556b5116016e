//! Building a long-tailed dataset of a source: the options, what comes of them, undo and redo.

use std::collections::{BTreeMap, HashSet};
use std::sync::Arc;

use counterweight_core::dataset::{
    BuildOptions, ClassChoice, CountsPreview, GroupBy, Grouping, Profile, counts_preview,
    counts_preview_with,
};
use counterweight_core::source::Catalog;

/// Changes that can be taken back, at most.
const MOST_UNDO: usize = 500;
/// Names of classes in the changes that can be taken back, about: each change holds all of them.
const MOST_NAMES: usize = 1_000_000;

/// Ways to keep images together whose groups are remembered: four bytes an image each.
const MOST_GROUPINGS: usize = 16;

/// The options of a build with their past.
#[derive(Clone, Debug)]
pub struct Builder {
    options: BuildOptions,
    past: Vec<BuildOptions>,
    future: Vec<BuildOptions>,
    /// The movement that the newest change is part of, so that dragging a slider is one step.
    moving: Option<&'static str>,
    /// The groups of ways to keep images together that were asked for last.
    groupings: Vec<(GroupBy, Arc<Grouping>)>,
    /// Whether the source itself names groups of images.
    pub has_listed_groups: bool,
    /// Whether classes are named by folders below others.
    pub has_folders_above: bool,
    /// What comes of the options, or why nothing does.
    pub preview: Result<CountsPreview, String>,
}

impl Builder {
    /// The options as they are where nothing was asked for.
    pub fn new(catalog: &Catalog, options: BuildOptions) -> Self {
        let preview = preview(catalog, &options, None);
        Self {
            options,
            past: Vec::new(),
            future: Vec::new(),
            moving: None,
            groupings: Vec::new(),
            has_folders_above: catalog.classes.iter().any(|class| class.contains('/')),
            has_listed_groups: catalog.samples.iter().any(|sample| sample.group.is_some()),
            preview,
        }
    }

    /// The groups of a way to keep images together, if they are known.
    pub fn grouping(&self, by: &GroupBy) -> Option<Arc<Grouping>> {
        self.groupings.iter().find(|(known, _)| known == by).map(|(_, grouping)| grouping.clone())
    }

    /// Takes the groups of a way to keep images together, for what is asked for with it later.
    pub fn learn(&mut self, by: GroupBy, grouping: Arc<Grouping>) {
        self.groupings.retain(|(known, _)| *known != by);
        if self.groupings.len() >= MOST_GROUPINGS {
            self.groupings.remove(0);
        }
        self.groupings.push((by, grouping));
    }

    /// What is asked for.
    pub fn options(&self) -> &BuildOptions {
        &self.options
    }

    /// Asks for something else. Changes with the same `movement` in a row count as one.
    pub fn set(
        &mut self,
        catalog: &Catalog,
        options: BuildOptions,
        movement: Option<&'static str>,
    ) {
        if options == self.options {
            return;
        }
        if movement.is_none() || movement != self.moving {
            self.past.push(self.options.clone());
            let most = (MOST_NAMES / names_in(&options).max(1)).clamp(20, MOST_UNDO);
            let beyond = self.past.len().saturating_sub(most);
            self.past.drain(..beyond);
        }
        self.moving = movement;
        self.future.clear();
        self.replace(catalog, options);
    }

    /// Ends a movement: the next change is a step of its own.
    pub fn settle(&mut self) {
        self.moving = None;
    }

    /// Takes back the last change. Returns whether there was one.
    pub fn undo(&mut self, catalog: &Catalog) -> bool {
        let Some(before) = self.past.pop() else { return false };
        self.future.push(self.options.clone());
        self.moving = None;
        self.replace(catalog, before);
        true
    }

    /// Makes the change again that was taken back last. Returns whether there was one.
    pub fn redo(&mut self, catalog: &Catalog) -> bool {
        let Some(after) = self.future.pop() else { return false };
        self.past.push(self.options.clone());
        self.moving = None;
        self.replace(catalog, after);
        true
    }

    /// Whether there is something to take back.
    pub fn can_undo(&self) -> bool {
        !self.past.is_empty()
    }

    /// Whether there is something to make again.
    pub fn can_redo(&self) -> bool {
        !self.future.is_empty()
    }

    fn replace(&mut self, catalog: &Catalog, options: BuildOptions) {
        let grouping = options.group_by.as_ref().and_then(|by| self.grouping(by));
        self.preview = preview(catalog, &options, grouping.as_deref());
        self.options = options;
    }

    /// The options with one class asked for `count` training samples, and every other one for what
    /// it is kept at now.
    pub fn with_count(&self, class: &str, count: usize) -> BuildOptions {
        let mut options = self.options.clone();
        let mut counts = match (&self.options.profile, &self.preview) {
            (Profile::Custom { counts }, _) => counts.clone(),
            (_, Ok(preview)) => {
                preview.classes.iter().cloned().zip(preview.kept.iter().copied()).collect()
            }
            (_, Err(_)) => BTreeMap::new(),
        };
        counts.insert(class.to_string(), count.max(1));
        options.profile = Profile::Custom { counts };
        options
    }

    /// The options with one class left out, or taken in again. `all` are the classes by their
    /// present names.
    pub fn with_included(&self, all: &[String], class: &str, included: bool) -> BuildOptions {
        let mut options = self.options.clone();
        let present = self.included(all);
        let chosen: Vec<String> = all
            .iter()
            .filter(|name| match *name == class {
                true => included,
                false => present.as_ref().is_none_or(|present| present.contains(name.as_str())),
            })
            .cloned()
            .collect();
        options.classes =
            if chosen.len() == all.len() { None } else { Some(ClassChoice::Named(chosen)) };
        options
    }

    /// The classes that are part of the dataset; `None` if all are. `all` are the classes by their
    /// present names.
    pub fn included<'a>(&'a self, all: &'a [String]) -> Option<HashSet<&'a str>> {
        match &self.options.classes {
            None => None,
            Some(ClassChoice::First(first)) => {
                Some(all.iter().take(*first).map(String::as_str).collect())
            }
            Some(ClassChoice::Named(names)) => Some(names.iter().map(String::as_str).collect()),
        }
    }

    /// The options with a class under another name. Naming it like another class merges the two.
    /// `source` are the source's own classes.
    pub fn with_name(&self, source: &[String], class: &str, name: &str) -> BuildOptions {
        let mut options = self.options.clone();
        for original in source {
            if self.present_name(original) == class {
                if original == name {
                    options.rename.remove(original);
                } else {
                    options.rename.insert(original.clone(), name.to_string());
                }
            }
        }
        let renamed =
            |known: &String| if known == class { name.to_string() } else { known.clone() };
        if let Some(ClassChoice::Named(names)) = &mut options.classes {
            *names = names.iter().map(renamed).collect();
            names.dedup();
        }
        if let Profile::Custom { counts } = &mut options.profile
            && let Some(count) = counts.remove(class)
        {
            *counts.entry(name.to_string()).or_insert(0) += count;
        }
        options
    }

    /// The name that a class of the source has in the dataset.
    pub fn present_name<'a>(&'a self, original: &'a str) -> &'a str {
        self.options.rename.get(original).map_or(original, String::as_str)
    }
}

/// Names of classes that options hold.
fn names_in(options: &BuildOptions) -> usize {
    let chosen = match &options.classes {
        Some(ClassChoice::Named(names)) => names.len(),
        _ => 0,
    };
    let counted = match &options.profile {
        Profile::Custom { counts } => counts.len(),
        _ => 0,
    };
    chosen + counted + options.rename.len()
}

fn preview(
    catalog: &Catalog,
    options: &BuildOptions,
    grouping: Option<&Grouping>,
) -> Result<CountsPreview, String> {
    let preview = match grouping {
        Some(grouping) => counts_preview_with(catalog, options, Some(grouping)),
        // What was taken back may be long forgotten.
        None => counts_preview(catalog, options),
    };
    preview.map_err(|error| error.to_string())
}

#[cfg(test)]
mod tests {
    use counterweight_core::source::{Location, Sample, SourceKind};

    use super::*;

    fn catalog() -> Catalog {
        let counts = [("ant", 60), ("bee", 30), ("cat", 12)];
        let samples = counts.iter().enumerate().flat_map(|(class, (name, n))| {
            (0..*n).map(move |i| Sample {
                location: Location::File(format!("{name}/{i}.png").into()),
                class,
                split: None,
                group: None,
            })
        });
        Catalog {
            root: "/nowhere".into(),
            source: "/nowhere".into(),
            kind: SourceKind::Folder,
            classes: counts.iter().map(|(name, _)| (*name).to_string()).collect(),
            samples: samples.collect(),
            facts: Vec::new(),
            problems: Vec::new(),
            skipped: Default::default(),
            twins: Vec::new(),
            reading: Default::default(),
        }
    }

    fn with_factor(factor: f64) -> BuildOptions {
        BuildOptions {
            profile: Profile::Exponential { factor },
            test: Some(0.0),
            validation: Some(0.0),
            ..Default::default()
        }
    }

    #[test]
    fn a_drag_is_one_step_and_can_be_taken_back_and_made_again() {
        let catalog = catalog();
        let mut builder = Builder::new(&catalog, with_factor(1.0));
        for factor in [2.0, 3.0, 4.0] {
            builder.set(&catalog, with_factor(factor), Some("factor"));
        }
        builder.settle();
        builder.set(&catalog, with_factor(9.0), Some("factor"));
        assert!(builder.undo(&catalog));
        assert_eq!(builder.options(), &with_factor(4.0));
        assert!(builder.undo(&catalog));
        assert_eq!(builder.options(), &with_factor(1.0));
        assert!(!builder.undo(&catalog) && !builder.can_undo());
        assert!(builder.redo(&catalog) && builder.redo(&catalog) && !builder.redo(&catalog));
        assert_eq!(builder.options(), &with_factor(9.0));
        builder.undo(&catalog);
        builder.set(&catalog, with_factor(5.0), None);
        assert!(!builder.can_redo());
    }

    #[test]
    fn a_change_of_thousands_of_classes_takes_no_second() {
        let one = catalog();
        let classes: Vec<String> = (0..20_000).map(|class| format!("class {class}")).collect();
        let sample = |class| Sample { class, ..one.samples[0].clone() };
        let catalog = Catalog {
            samples: (0..classes.len()).flat_map(|class| [sample(class), sample(class)]).collect(),
            classes,
            ..one
        };
        let as_is = BuildOptions { profile: Profile::AsIs, ..with_factor(1.0) };
        let mut builder = Builder::new(&catalog, as_is);
        let started = std::time::Instant::now();
        builder.set(&catalog, builder.with_count("class 7", 1), None);
        builder.set(&catalog, builder.with_included(&catalog.classes, "class 9", false), None);
        builder.set(&catalog, builder.with_name(&catalog.classes, "class 8", "first"), None);
        for count in 1..100 {
            builder.set(&catalog, builder.with_count("class 7", count), None);
        }
        // Comparing every name with every other takes minutes for so many changes.
        assert!(started.elapsed().as_secs() < 60, "{:?}", started.elapsed());
        assert_eq!(builder.preview.as_ref().unwrap().classes.len(), 19_999);
        assert_eq!(builder.past.len(), 25);
    }

    #[test]
    fn a_typed_count_leaves_the_others_where_they_are() {
        let catalog = catalog();
        let mut builder = Builder::new(&catalog, with_factor(10.0));
        let before = builder.preview.clone().unwrap().train;
        builder.set(&catalog, builder.with_count("bee", 3), None);
        let after = builder.preview.clone().unwrap().train;
        assert_eq!(after, [before[0], 3, before[2]]);
    }

    #[test]
    fn classes_are_left_out_renamed_and_merged() {
        let catalog = catalog();
        let mut builder = Builder::new(&catalog, with_factor(1.0));
        builder.set(&catalog, BuildOptions { profile: Profile::AsIs, ..with_factor(1.0) }, None);
        builder.set(&catalog, builder.with_included(&catalog.classes, "bee", false), None);
        assert_eq!(builder.preview.as_ref().unwrap().classes, ["ant", "cat"]);
        assert_eq!(builder.included(&catalog.classes), Some(["ant", "cat"].into()));
        builder.set(&catalog, builder.with_included(&catalog.classes, "bee", true), None);
        assert_eq!(builder.options().classes, None);
        assert_eq!(builder.included(&catalog.classes), None);
        builder.set(&catalog, builder.with_name(&catalog.classes, "bee", "ant"), None);
        let preview = builder.preview.clone().unwrap();
        assert_eq!(
            (preview.classes, preview.train),
            (vec!["ant".to_string(), "cat".to_string()], vec![90, 12])
        );
        builder.set(&catalog, builder.with_name(&catalog.classes, "cat", "ant"), None);
        assert!(builder.preview.is_err(), "one class is no classifier");
    }
}
