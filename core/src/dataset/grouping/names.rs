//! What names and folders of images say of what belongs together.

use std::cmp::Ordering;
use std::collections::HashMap;

use super::by::expression;
use crate::error::Result;
use crate::source::{Catalog, Location, Sample, SourceKind, Split};

/// The path of a sample below its source, with `/` between its parts and without the folder of its
/// split; none of a record, which has no name of its own.
pub(super) fn place(sample: &Sample) -> Option<String> {
    let Location::File(_) = &sample.location else { return None };
    let path = sample.location.to_text();
    match path.split_once('/') {
        Some((first, rest)) if sample.split.is_some() && first.parse::<Split>().is_ok() => {
            Some(rest.to_string())
        }
        _ => Some(path),
    }
}

/// The folder and the file's name of a place.
fn parts(place: &str) -> (&str, &str) {
    place.rsplit_once('/').unwrap_or(("", place))
}

/// Something that samples have in common, as a number; `None` of a sample that is alone.
pub(super) type Keys = Vec<Option<usize>>;

/// Numbers texts in the order they come.
#[derive(Default)]
struct Numbered<K> {
    known: HashMap<K, usize>,
}

impl<K: std::hash::Hash + Eq> Numbered<K> {
    fn of(&mut self, key: K) -> usize {
        let next = self.known.len();
        *self.known.entry(key).or_insert(next)
    }
}

/// Samples whose image list names one group.
pub(super) fn by_list(catalog: &Catalog) -> Keys {
    let mut numbered = Numbered::default();
    catalog
        .samples
        .iter()
        .map(|sample| sample.group.as_deref().map(|group| numbered.of(group)))
        .collect()
}

/// Samples in one folder below that of their class. Classes of an image folder are named by their
/// folders, so that what lies below is told by how many parts of their names all classes share;
/// see [`top_classes`]. Of an image list, any folder counts that is not called like the class.
pub(super) fn by_subfolder(catalog: &Catalog) -> Keys {
    let tops = top_classes(&catalog.classes);
    let mut numbered = Numbered::default();
    let key = |sample: &Sample| {
        let place = place(sample)?;
        let (folder, _) = parts(&place);
        let class = &catalog.classes[sample.class];
        let is_below = match catalog.kind {
            SourceKind::Folder => tops[sample.class].1,
            _ => !folder.is_empty() && last(folder) != class,
        };
        is_below.then(|| numbered.of(folder.to_string()))
    };
    catalog.samples.iter().map(key).collect()
}

/// Samples in folders that lie in one folder below the source. Files tell of it, not classes, which may
/// have got other names since.
pub(super) fn by_folder_above(catalog: &Catalog) -> Keys {
    let mut numbered = Numbered::default();
    let key = |sample: &Sample| {
        let place = place(sample)?;
        let (above, _) = parts(parts(&place).0);
        (!above.is_empty()).then(|| numbered.of(above.to_string()))
    };
    catalog.samples.iter().map(key).collect()
}

fn last(path: &str) -> &str {
    parts(path).1
}

/// What each class would be called if folders below a class were no classes of their own, and
/// whether it is one: the first part of its name in which not all are the same. Of `deer/site 1`,
/// `deer/site 2` and `fox`, that is `deer`, `deer` and `fox`.
pub(super) fn top_classes(classes: &[String]) -> Vec<(&str, bool)> {
    let split: Vec<Vec<&str>> = classes.iter().map(|class| class.split('/').collect()).collect();
    let common = |depth: usize| {
        let first = split.first().filter(|parts| parts.len() > depth + 1).map(|parts| parts[depth]);
        first.is_some()
            && split.iter().all(|parts| parts.len() > depth + 1 && Some(parts[depth]) == first)
    };
    let depth = (0..).find(|&depth| !common(depth)).unwrap_or(0);
    split
        .iter()
        .map(|parts| (parts.get(depth).copied().unwrap_or_default(), parts.len() > depth + 1))
        .collect()
}

/// Samples of a class and folder whose file names are the same up to the last number.
///
/// Where all files of a class and folder have one name and nothing but a number after it
/// (`cat1.jpg`, `cat2.jpg`), they are merely counted, and say nothing; but if that name holds a
/// number itself (`track 7 frame 1.jpg`), a class may well have a single series.
pub(super) fn by_prefix(catalog: &Catalog) -> Keys {
    let mut numbered = Numbered::default();
    // For each class and folder, the first prefix and whether there is another.
    let mut several: HashMap<(usize, String), (String, bool)> = HashMap::new();
    let found: Vec<Option<Prefixed>> = catalog.samples.iter().map(Prefixed::of).collect();
    for Prefixed { class, folder, prefix } in found.iter().flatten() {
        several
            .entry((*class, folder.clone()))
            .and_modify(|(first, others)| *others |= first != prefix)
            .or_insert_with(|| (prefix.clone(), false));
    }
    found
        .into_iter()
        .map(|found| {
            let found = found?;
            let says = found.has_number()
                || several
                    .get(&(found.class, found.folder.clone()))
                    .is_some_and(|(_, others)| *others);
            says.then(|| numbered.of(found))
        })
        .collect()
}

/// Samples of a class and folder whose file names are the same up to the last number, where they hold
/// another before it.
pub(super) fn by_numbered_prefix(catalog: &Catalog) -> Keys {
    let mut numbered = Numbered::default();
    let found =
        catalog.samples.iter().map(|sample| Prefixed::of(sample).filter(Prefixed::has_number));
    found.map(|found| Some(numbered.of(found?))).collect()
}

/// What the names of samples have in common that are the same up to the last number.
#[derive(Default, PartialEq, Eq, Hash)]
struct Prefixed {
    class: usize,
    folder: String,
    prefix: String,
}

impl Prefixed {
    fn of(sample: &Sample) -> Option<Self> {
        let place = place(sample)?;
        let (folder, name) = parts(&place);
        let prefix = prefix(name)?.to_string();
        Some(Self { class: sample.class, folder: folder.to_string(), prefix })
    }

    fn has_number(&self) -> bool {
        self.prefix.contains(|c: char| c.is_ascii_digit())
    }
}

/// What stands before the last number of a file's name, if there are both.
fn prefix(name: &str) -> Option<&str> {
    let stem = name.rsplit_once('.').map_or(name, |(stem, _)| stem);
    let is_digit = |c: char| c.is_ascii_digit();
    let end = stem.rfind(is_digit)? + 1;
    let prefix = stem[..end].trim_end_matches(is_digit);
    (!prefix.is_empty()).then_some(prefix)
}

/// Samples for whose place the groups of a regular expression match the same texts.
pub(super) fn by_pattern(catalog: &Catalog, pattern: &str) -> Result<Keys> {
    let expression = expression(pattern)?;
    let mut numbered = Numbered::default();
    let key = |sample: &Sample| {
        let place = place(sample)?;
        let found = expression.captures(&place)?;
        let texts: Vec<Option<String>> =
            found.iter().skip(1).map(|text| text.map(|text| text.as_str().to_string())).collect();
        // An expression can match without any of its groups.
        texts.iter().any(Option::is_some).then(|| numbered.of(texts))
    };
    Ok(catalog.samples.iter().map(key).collect())
}

/// The samples of each class in the order of their names, numbers by their value: `2` before `10`.
/// Folders of splits make no difference. Samples without a name are left out.
pub(super) fn in_order_of_names(catalog: &Catalog) -> Vec<Vec<usize>> {
    let mut classes: Vec<Vec<(String, usize)>> = vec![Vec::new(); catalog.classes.len()];
    for (i, sample) in catalog.samples.iter().enumerate() {
        if let Some(place) = place(sample) {
            classes[sample.class].push((place, i));
        }
    }
    let in_order = |mut class: Vec<(String, usize)>| {
        class.sort_by(|a, b| natural(&a.0, &b.0).then(a.1.cmp(&b.1)));
        class.into_iter().map(|(_, i)| i).collect()
    };
    classes.into_iter().map(in_order).collect()
}

/// Compares texts with the numbers in them by their value.
fn natural(a: &str, b: &str) -> Ordering {
    let (mut a, mut b) = (a.as_bytes(), b.as_bytes());
    loop {
        match (a.first(), b.first()) {
            (Some(x), Some(y)) if x.is_ascii_digit() && y.is_ascii_digit() => {
                let (x, rest_of_a) = number(a);
                let (y, rest_of_b) = number(b);
                let order = x.len().cmp(&y.len()).then_with(|| x.cmp(y));
                if order != Ordering::Equal {
                    return order;
                }
                (a, b) = (rest_of_a, rest_of_b);
            }
            (Some(x), Some(y)) if x == y => (a, b) = (&a[1..], &b[1..]),
            (x, y) => return x.cmp(&y),
        }
    }
}

/// The digits that a text begins with, without zeros in front, and the rest.
fn number(text: &[u8]) -> (&[u8], &[u8]) {
    let end = text.iter().position(|c| !c.is_ascii_digit()).unwrap_or(text.len());
    let zeros = text[..end].iter().take_while(|&&c| c == b'0').count();
    (&text[zeros..end], &text[end..])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_in_names_are_compared_by_value() {
        let mut names = ["b2", "a10", "a2", "a02b", "a", "a2b", "a100000000000000000000000", "A1"];
        names.sort_by(|a, b| natural(a, b));
        assert_eq!(
            names,
            ["A1", "a", "a2", "a02b", "a2b", "a10", "a100000000000000000000000", "b2"]
        );
    }

    #[test]
    fn the_prefix_ends_before_the_last_number() {
        for (name, expected) in [
            ("00012_00003.ppm", Some("00012_")),
            ("track7-frame12b.png", Some("track7-frame")),
            ("cat12.jpg", Some("cat")),
            ("12.jpg", None),
            ("cat.jpg", None),
            ("c2.v3", Some("c")),
            ("é5ö6ü.jpg", Some("é5ö")),
            ("", None),
        ] {
            assert_eq!(prefix(name), expected, "{name}");
        }
    }

    #[test]
    fn classes_are_told_from_the_folders_below_them() {
        let of = |names: &[&str]| {
            let names: Vec<String> = names.iter().map(|name| (*name).to_string()).collect();
            let tops = top_classes(&names);
            tops.into_iter().map(|(top, below)| (top.to_string(), below)).collect::<Vec<_>>()
        };
        let expect = |tops: &[(&str, bool)]| {
            tops.iter().map(|(top, below)| (top.to_string(), *below)).collect::<Vec<_>>()
        };
        assert_eq!(
            of(&["deer/1", "deer/deer", "fox", "hare/a/b"]),
            expect(&[("deer", true), ("deer", true), ("fox", false), ("hare", true)])
        );
        assert_eq!(of(&["all/deer/1", "all/fox/2"]), expect(&[("deer", true), ("fox", true)]));
        assert_eq!(of(&["all/deer", "all/fox"]), expect(&[("deer", false), ("fox", false)]));
        assert_eq!(of(&["deer", "fox"]), expect(&[("deer", false), ("fox", false)]));
        assert_eq!(of(&[]), expect(&[]));
    }
}
