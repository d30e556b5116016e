//! Names of classes that make one doubt whether they are classes of their own.

use std::collections::{BTreeSet, HashMap};

use serde::Serialize;

use crate::source::composed;

/// Letters of names that may well differ by their case alone.
const SHORT: usize = 2;
/// Names that are listed.
const LISTED: usize = 4;
/// Letters of names that hardly differ by a single one unless one is misspelled; of longer ones than
/// any word, it is not looked for.
const WORDS: std::ops::RangeInclusive<usize> = 6..=60;

/// What is doubtful about the names of classes, in a sentence each: names that are the same but for
/// how they are written, or differ in a single letter, and folders that come below several others,
/// which then may be places or days.
///
/// ```
/// use counterweight_core::dataset::doubtful_names;
/// let doubts = |names: &[&str]| doubtful_names(&names.iter().map(|name| name.to_string()).collect::<Vec<_>>());
/// assert!(doubts(&["Rain", "rain", "snow"])[0].sentence.starts_with("the classes “Rain”, “rain” differ"));
/// assert!(doubts(&["Forest", "Forrest"])[0].sentence.starts_with("the classes “Forest”, “Forrest” differ in a single letter"));
/// assert!(doubts(&["2024/fox", "2025/fox", "2025/hare"])[0].sentence.contains("“2024/fox”, “2025/fox”"));
/// assert!(doubts(&["fox", "hare"]).is_empty());
/// ```
pub fn doubtful_names(classes: &[String]) -> Vec<NameDoubt> {
    let doubt = |remedy| move |sentence| NameDoubt { sentence, remedy };
    let alike = [alike_names(classes), misspelled(classes)].into_iter().flatten();
    let scattered = scattered(classes).map(doubt(NameRemedy::FolderAbove));
    alike.map(doubt(NameRemedy::Rename)).chain(scattered).collect()
}

/// What is doubtful about the names of some classes.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct NameDoubt {
    /// That, in a sentence without a capital letter and a full stop.
    pub sentence: String,
    /// What to do if it is as it seems.
    pub remedy: NameRemedy,
}

/// What to do about names of classes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum NameRemedy {
    /// To give classes one name.
    Rename,
    /// To keep images together by [`GroupBy::FolderAbove`](super::GroupBy::FolderAbove).
    FolderAbove,
}

impl NameRemedy {
    /// The option of the command line for it.
    pub fn option(self) -> &'static str {
        match self {
            NameRemedy::Rename => "--rename OLD=NEW",
            NameRemedy::FolderAbove => "--group-by folder-above",
        }
    }
}

/// The class that a name which is none was most likely meant to be.
///
/// ```
/// use counterweight_core::dataset::nearest_class;
/// let classes = ["dress", "t-shirt"].map(String::from);
/// assert_eq!(nearest_class("tshirt", &classes), Some(&classes[1]));
/// assert_eq!(nearest_class("x-ray", &classes), None);
/// ```
pub fn nearest_class<'a>(name: &str, classes: &'a [String]) -> Option<&'a String> {
    let similarity =
        |class: &String| strsim::jaro_winkler(&name.to_lowercase(), &class.to_lowercase());
    classes
        .iter()
        .map(|class| (similarity(class), class))
        .filter(|(s, _)| *s > 0.75)
        .max_by(|a, b| a.0.total_cmp(&b.0))
        .map(|(_, c)| c)
}

/// A sentence about the first classes whose names are the same but for how they are written: most are
/// one. `None` where there are none; of letters and other short names nothing is said.
pub(super) fn alike_names(classes: &[String]) -> Option<String> {
    let long = classes.iter().filter(|name| name.chars().count() > SHORT);
    let same = first_of_several(long, plain)?;
    Some(format!(
        "the classes {} differ only in how they are written; if they are one, put their images into one folder, or give them one name",
        quoted(&same)
    ))
}

/// A sentence about the first two classes whose names differ in a single letter, which is not the first:
/// added, left out, another one, or in the wrong place.
fn misspelled(classes: &[String]) -> Option<String> {
    // What is left of two such names without one letter of each, or none, is the same for some letter.
    let mut met: HashMap<String, Vec<usize>> = HashMap::new();
    for (at, name) in classes.iter().enumerate() {
        let name = plain(name);
        let letters: Vec<char> = name.chars().collect();
        if !WORDS.contains(&letters.len()) || !letters.iter().all(|c| c.is_alphabetic()) {
            continue;
        }
        let without = |left_out: usize| {
            let others = letters.iter().enumerate().filter(|(at, _)| *at != left_out);
            others.map(|(_, letter)| letter).collect::<String>()
        };
        let keys: BTreeSet<String> =
            (1..letters.len()).map(without).chain([name.clone()]).collect();
        for key in keys {
            let others = met.entry(key).or_default();
            let one_letter =
                |other: &&usize| strsim::osa_distance(&plain(&classes[**other]), &name) == 1;
            if let Some(&other) = others.iter().find(one_letter) {
                return Some(format!(
                    "the classes {} differ in a single letter; if one is misspelled, put their images into one folder, or give them one name",
                    quoted(&[&classes[other], &classes[at]])
                ));
            }
            others.push(at);
        }
    }
    None
}

/// A sentence about classes that are folders of the same name below several others, where most are.
fn scattered(classes: &[String]) -> Option<String> {
    let leaf = |name: &str| name.rsplit('/').next().map(plain).unwrap_or_default();
    let nested = classes.iter().filter(|name| name.contains('/'));
    let mut counts: HashMap<String, usize> = HashMap::new();
    nested.clone().for_each(|name| *counts.entry(leaf(name)).or_default() += 1);
    let repeated: usize = counts.values().filter(|count| **count > 1).sum();
    if 2 * repeated <= classes.len() {
        return None;
    }
    let same = first_of_several(nested, leaf)?;
    Some(format!(
        "{} are folders of one name and taken for classes of their own; if what lies above them are places or days and no classes, let the last folder alone name the class",
        quoted(&same)
    ))
}

/// The first names that have a key in common with others.
fn first_of_several<'a>(
    names: impl Iterator<Item = &'a String> + Clone,
    key: impl Fn(&str) -> String,
) -> Option<Vec<&'a String>> {
    let mut met: HashMap<String, usize> = HashMap::new();
    names.clone().for_each(|name| *met.entry(key(name)).or_default() += 1);
    let first = names.clone().map(|name| key(name)).find(|key| met[key] > 1)?;
    Some(names.filter(|name| key(name) == first).collect())
}

fn quoted(names: &[&String]) -> String {
    let listed: Vec<String> = names.iter().take(LISTED).map(|name| format!("“{name}”")).collect();
    let more = if names.len() > LISTED { ", …" } else { "" };
    format!("{}{more}", listed.join(", "))
}

/// A class's name without what is written in one way or another. Beside digits, what stands between
/// them means something.
fn plain(name: &str) -> String {
    let has_digits = name.contains(|c: char| c.is_ascii_digit());
    let is_between = |c: &char| !has_digits && matches!(c, ' ' | '_' | '-');
    let letters = composed(name);
    let letters = letters.chars().filter(|c| !is_between(c));
    letters.flat_map(char::to_lowercase).collect()
}

/// Whether two names of classes are the same but for how they are written: most are misspelled.
pub(super) fn alike(a: &str, b: &str) -> bool {
    plain(a) == plain(b)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(names: &[&str]) -> Vec<String> {
        names.iter().map(ToString::to_string).collect()
    }

    #[test]
    fn names_that_differ_in_how_they_are_written_alone_are_found() {
        let found = |of: &[&str]| {
            let sentence = alike_names(&names(of))?;
            Some(sentence.split(" differ").next()?.replace("the classes ", ""))
        };
        assert_eq!(found(&["Rain", "snow", "rain", "rain "]).unwrap(), "“Rain”, “rain”, “rain ”");
        assert_eq!(found(&["fire_truck", "Fire truck"]).unwrap(), "“fire_truck”, “Fire truck”");
        assert_eq!(found(&["rain", "train"]), None);
        // Between digits a sign means something, and letters are classes of their own.
        assert_eq!(found(&["type 1 1", "type 11"]), None);
        assert_eq!(found(&["a", "A", "mm", "MM"]), None);
    }

    #[test]
    fn names_that_differ_in_a_single_letter_are_found() {
        let found = |of: &[&str]| {
            misspelled(&names(of))
                .map(|s| s.split(" differ").next().unwrap().replace("the classes ", ""))
        };
        for pair in [
            ["Forest", "Forrest"],
            ["dandelion", "dandelions"],
            ["Nontoxic", "Nontoxid"],
            ["receipt", "reciept"],
        ] {
            let expected = format!("“{}”, “{}”", pair[0], pair[1]);
            assert_eq!(found(&["meadow", pair[0], "highway", pair[1]]), Some(expected));
        }
        // Other words, short ones, numbers, and what differs by how it is written alone.
        assert_eq!(
            found(&["parrot", "carrot", "cat", "car", "type 11", "type 12", "Highway", "high way"]),
            None
        );
        assert_eq!(found(&["western", "eastern", "abcdefgh", "abxdefyh"]), None);
    }

    #[test]
    fn folders_of_one_name_below_several_are_asked_about_where_most_are() {
        let sites = ["2024/a/fox", "2025/b/fox", "2024/a/hare", "2025/b/hare", "2025/b/owl"];
        let sentence = scattered(&names(&sites)).unwrap();
        assert!(sentence.starts_with("“2024/a/fox”, “2025/b/fox” are folders"), "{sentence}");
        // Kinds of several things, of which two happen to share a name.
        let kinds = ["cat/young", "cat/old", "dog/puppy", "dog/old", "owl", "fox"];
        assert_eq!(scattered(&names(&kinds)), None);
    }
}
