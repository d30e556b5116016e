//! Which tensors of a file are a backbone's.
//!
//! Files name them as the family's authors do, and put something before the names: `module.`,
//! `backbone.`, `state_dict.model.encoder_q.`. What lies behind the backbone is called anything.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::OnceLock;

use burn::tensor::Device;
use serde::Serialize;

use super::file::WeightsFile;
use crate::error::{Result, WeightsError};
use crate::model::classifier::{CLASSIFIER_BIAS, CLASSIFIER_WEIGHT, is_of_classifier};
use crate::model::weights::NamedTensor;
use crate::model::{Backbone, Network, NetworkConfig, weights};
use crate::words::Stem;

/// What is before the names: places that are tried, the shortest first.
const MOST_PREFIXES: usize = 200;
/// Names that an error or a report lists.
const LISTED: usize = 5;
/// Kept of every batch norm by PyTorch, and of no use here.
const COUNTER: &str = "num_batches_tracked";
/// Names of a classifier's weight, the likeliest first.
const CLASSIFIERS: [&str; 5] =
    [CLASSIFIER_WEIGHT, "classifier.weight", "head.weight", "head.fc.weight", "linear.weight"];

/// Which tensors of a file a backbone takes.
#[derive(Clone, Debug, Serialize)]
pub struct Fit {
    /// The backbone.
    pub backbone: Backbone,
    /// The layers before its first stage, where it leaves a choice.
    pub stem: Option<Stem>,
    /// What stands before the names in the file.
    pub prefix: String,
    /// Number of tensors that are taken.
    pub taken: usize,
    /// Names of tensors that are not: a classifier, say, or an optimiser's.
    pub left: Vec<String>,
    /// The backbone's names and the file's.
    #[serde(skip)]
    names: Vec<(String, String)>,
}

/// Names and shapes of a backbone's tensors.
struct Expected {
    backbone: Backbone,
    stem: Option<Stem>,
    tensors: Vec<(String, Vec<usize>)>,
}

/// An attempt to fit a file to a backbone.
struct Attempt {
    fit: Fit,
    missing: Vec<String>,
    misshapen: Vec<String>,
    /// Tensors that belong to layers which the backbone does not have.
    surplus: Vec<String>,
}

impl Fit {
    /// Finds a backbone's tensors in a file; without a backbone, the one whose tensors the file
    /// has.
    ///
    /// # Errors
    /// [`WeightsError::File`] naming the file and what is missing, has another shape or is too
    /// much; files that fit none or several backbones, if none is named.
    pub fn of(file: &WeightsFile, backbone: Option<Backbone>) -> Result<Self> {
        let names: BTreeMap<String, (&str, &[usize])> =
            file.names().map(|(name, shape)| (plain(name), (name, shape))).collect();
        let backbones = backbone.map_or(Backbone::ALL.to_vec(), |backbone| vec![backbone]);
        let attempts: Vec<Attempt> = backbones
            .into_iter()
            .flat_map(expected)
            .map(|expected| Attempt::new(expected, &names))
            .collect();
        let fitting: Vec<&Attempt> =
            attempts.iter().filter(|attempt| attempt.problems() == 0).collect();
        let wrong = |reason: String| Err(WeightsError::file(file.path(), reason).into());
        match fitting.as_slice() {
            [one] => Ok(one.fit.clone()),
            [] => {
                let nearest = attempts.iter().rev().max_by_key(|attempt| {
                    (attempt.fit.taken, std::cmp::Reverse(attempt.problems()))
                });
                let nearest = nearest.expect("there are backbones");
                let name = nearest.fit.backbone;
                match backbone {
                    Some(_) => wrong(format!(
                        "it does not hold the weights of {name}: {}",
                        nearest.reason()
                    )),
                    None if nearest.fit.taken == 0 => {
                        wrong("it holds the weights of no backbone there is here".into())
                    }
                    None => wrong(format!(
                        "it fits no backbone there is here; the nearest is {name}: {}",
                        nearest.reason()
                    )),
                }
            }
            several => {
                let names: BTreeSet<&str> =
                    several.iter().map(|attempt| attempt.fit.backbone.name()).collect();
                wrong(format!(
                    "it fits {}; say which it is",
                    names.into_iter().collect::<Vec<_>>().join(" and ")
                ))
            }
        }
    }

    /// Reads the backbone's tensors, under its names.
    ///
    /// # Errors
    /// [`WeightsError::File`] naming the file and the tensor that holds something else than finite
    /// numbers, or variances below 0.
    pub fn read(&self, file: &WeightsFile) -> Result<Vec<NamedTensor>> {
        let read = |(ours, theirs): &(String, String)| {
            let tensor = file.read(theirs, ours)?;
            if ours.ends_with("running_var") && tensor.values.iter().any(|variance| *variance < 0.0)
            {
                return Err(WeightsError::file(
                    file.path(),
                    format!("`{theirs}` holds variances below 0"),
                )
                .into());
            }
            Ok(tensor)
        };
        self.names.iter().map(read).collect()
    }

    /// Reads the classifier behind the backbone, weight `[classes, features]` and bias `[classes]`,
    /// under our names; a classifier without a bias gets one of 0.
    ///
    /// # Errors
    /// [`WeightsError::File`]: there is none, there are several, it has another number of classes,
    /// or holds something else than finite numbers.
    pub fn read_classifier(&self, file: &WeightsFile, classes: usize) -> Result<[NamedTensor; 2]> {
        let wrong = |reason: String| WeightsError::file(file.path(), reason);
        let features = self.backbone.info().features;
        let shapes: BTreeMap<&str, &[usize]> = file.names().collect();
        let heads: Vec<&String> = self
            .left
            .iter()
            .filter(|name| name.starts_with(&self.prefix) && name.ends_with(".weight"))
            .collect();
        let is_head = |name: &&&String| matches!(shapes.get(name.as_str()), Some([_, inputs]) if *inputs == features);
        let heads: Vec<&String> = heads.iter().filter(is_head).copied().collect();
        let known = CLASSIFIERS
            .iter()
            .find_map(|known| heads.iter().find(|name| name[self.prefix.len()..] == **known));
        let head = match (known, heads.as_slice()) {
            (Some(head), _) | (None, [head]) => *head,
            (None, []) => {
                return Err(
                    wrong(format!("there is no classifier of {features} features in it")).into()
                );
            }
            (None, several) => {
                return Err(wrong(format!(
                    "there are several classifiers in it: {}",
                    listed(several)
                ))
                .into());
            }
        };
        let found = shapes[head.as_str()][0];
        if found != classes {
            return Err(wrong(format!(
                "its classifier `{head}` has {found} classes, and the dataset has {classes}"
            ))
            .into());
        }
        let weight = file.read(head, CLASSIFIER_WEIGHT)?;
        let name = format!("{}bias", head.trim_end_matches("weight"));
        let bias = match shapes.get(name.as_str()) {
            Some([length]) if *length == classes => file.read(&name, CLASSIFIER_BIAS)?,
            Some(other) => {
                return Err(wrong(format!(
                    "`{name}` has the shape {other:?} and should have {classes} numbers"
                ))
                .into());
            }
            None => NamedTensor {
                name: CLASSIFIER_BIAS.into(),
                shape: vec![classes],
                values: vec![0.0; classes],
            },
        };
        Ok([weight, bias])
    }

    /// What was taken and what was left, in a sentence.
    pub fn words(&self) -> String {
        match self.left.len() {
            0 => self.taken_words(),
            count => format!("{}; {count} were left: {}", self.taken_words(), listed(&self.left)),
        }
    }

    /// What was taken, as the beginning of a sentence.
    pub fn taken_words(&self) -> String {
        let stem = if self.stem == Some(Stem::Small) { " with the small stem" } else { "" };
        let before = if self.prefix.is_empty() {
            String::new()
        } else {
            format!(" (named behind `{}`)", self.prefix)
        };
        format!("{} tensors are taken for {}{stem}{before}", self.taken, self.backbone)
    }
}

impl Attempt {
    fn new(expected: &Expected, names: &BTreeMap<String, (&str, &[usize])>) -> Self {
        let prefix = prefix(expected, names);
        let (mut taken, mut missing, mut misshapen) = (Vec::new(), Vec::new(), Vec::new());
        for (name, shape) in &expected.tensors {
            match names.get(&format!("{prefix}{name}")) {
                None => missing.push(name.clone()),
                Some((_, found)) if *found != shape.as_slice() => {
                    misshapen.push(format!("{name} is {found:?} and should be {shape:?}"))
                }
                Some((theirs, _)) => taken.push((name.clone(), theirs.to_string())),
            }
        }
        let ours: BTreeSet<&str> = taken.iter().map(|(_, theirs)| theirs.as_str()).collect();
        let layers: BTreeSet<&str> = expected.tensors.iter().map(|(name, _)| first(name)).collect();
        let is_left = |(plain, (name, _)): &(&String, &(&str, &[usize]))| {
            !ours.contains(name) && !plain.ends_with(COUNTER)
        };
        let left: Vec<(&String, &str)> =
            names.iter().filter(is_left).map(|(plain, (name, _))| (plain, *name)).collect();
        let of_layers = |plain: &str| {
            plain.strip_prefix(&prefix).is_some_and(|name| layers.contains(first(name)))
        };
        let wrong_shape = |plain: &str| {
            plain
                .strip_prefix(&prefix)
                .is_some_and(|name| expected.tensors.iter().any(|(ours, _)| ours == name))
        };
        let surplus = left
            .iter()
            .filter(|(plain, _)| of_layers(plain) && !wrong_shape(plain))
            .map(|(_, name)| name.to_string())
            .collect();
        let original = taken
            .first()
            .and_then(|(ours, theirs)| theirs.get(..theirs.len().checked_sub(ours.len())?));
        let original = original.unwrap_or(&prefix).to_string();
        let fit = Fit {
            backbone: expected.backbone,
            stem: expected.stem,
            prefix: original,
            taken: taken.len(),
            left: left.into_iter().map(|(_, name)| name.to_string()).collect(),
            names: taken,
        };
        Self { fit, missing, misshapen, surplus }
    }

    fn problems(&self) -> usize {
        self.missing.len() + self.misshapen.len() + self.surplus.len()
    }

    fn reason(&self) -> String {
        let parts = [
            ("missing", &self.missing),
            ("of another shape", &self.misshapen),
            ("too many", &self.surplus),
        ];
        let told = parts.iter().filter(|(_, names)| !names.is_empty());
        let told: Vec<String> = told
            .map(|(what, names)| format!("{} tensors are {what} ({})", names.len(), listed(names)))
            .collect();
        format!("{}; {} fit", told.join(", "), self.fit.taken)
    }
}

/// What stands before the names of the backbone's tensors: what most of them have before them.
fn prefix(expected: &Expected, names: &BTreeMap<String, (&str, &[usize])>) -> String {
    let Some((anchor, _)) = expected.tensors.first() else { return String::new() };
    let before = |name: &String| {
        name.strip_suffix(anchor.as_str())
            .filter(|before| before.is_empty() || before.ends_with('.'))
            .map(str::to_string)
    };
    let mut candidates: Vec<String> = names.keys().filter_map(before).collect();
    candidates.sort_by_key(|prefix| (prefix.len(), prefix.clone()));
    candidates.truncate(MOST_PREFIXES);
    let found = |prefix: &String| {
        expected
            .tensors
            .iter()
            .filter(|(name, _)| names.contains_key(&format!("{prefix}{name}")))
            .count()
    };
    // Of several that have as much, the shortest: it stands first.
    candidates
        .into_iter()
        .map(|prefix| (found(&prefix), prefix))
        .rev()
        .max_by_key(|(found, _)| *found)
        .map_or(String::new(), |(_, prefix)| prefix)
}

/// A backbone's tensors, with each stem that it leaves a choice of.
fn expected(backbone: Backbone) -> &'static [Expected] {
    // A network is made to see what it has, which takes a while for large ones.
    static KNOWN: [OnceLock<Vec<Expected>>; Backbone::ALL.len()] =
        [const { OnceLock::new() }; Backbone::ALL.len()];
    let place = Backbone::ALL
        .iter()
        .position(|other| *other == backbone)
        .expect("every backbone is among all");
    KNOWN[place].get_or_init(|| tensors_of(backbone))
}

fn tensors_of(backbone: Backbone) -> Vec<Expected> {
    let info = backbone.info();
    let stems =
        if info.has_stems { vec![Some(Stem::Imagenet), Some(Stem::Small)] } else { vec![None] };
    let tensors = |stem: Option<Stem>| {
        let config = NetworkConfig {
            backbone,
            stem: stem.unwrap_or(Stem::Imagenet),
            input_size: *info.sides.start(),
            classes: 1,
        };
        let network = Network::blank(&config, &Device::flex());
        weights(&network)
            .into_iter()
            .filter(|tensor| !is_of_classifier(&tensor.name))
            .map(|tensor| (tensor.name, tensor.shape))
            .collect()
    };
    stems.into_iter().map(|stem| Expected { backbone, stem, tensors: tensors(stem) }).collect()
}

/// A name without the underscores that some authors begin its parts with.
fn plain(name: &str) -> String {
    name.split('.').map(|part| part.trim_start_matches('_')).collect::<Vec<_>>().join(".")
}

/// The first part of a name.
fn first(name: &str) -> &str {
    name.split('.').next().unwrap_or_default()
}

/// The first few of some names.
fn listed<S: AsRef<str>>(names: &[S]) -> String {
    let mut text = names.iter().take(LISTED).map(AsRef::as_ref).collect::<Vec<_>>().join(", ");
    if names.len() > LISTED {
        text += ", …";
    }
    text
}
