//! Files that come twice: beside an image lies another one of the same name with another ending or
//! with a word behind the name, such as a mask, a preview or the camera's raw file. Read as images
//! like any others they would double the data, and teach the wrong thing.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};
use std::fmt;
use std::path::{Path, PathBuf};

use serde::Serialize;

/// Twins below this number may well be chance.
const LEAST: usize = 3;

/// Files of one kind that lie beside others.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Twins {
    /// The pattern that these files have in common, to leave them out by: `*.png`, `*_mask.*`.
    pub pattern: String,
    /// How many files of the source have it.
    pub files: usize,
    /// How many of those lie beside a file of the same name otherwise.
    pub beside: usize,
    /// One of them, and the file that it lies beside; below the source.
    pub example: [String; 2],
}

impl fmt::Display for Twins {
    /// A sentence about them, with the example and how they are left out.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { pattern, files, beside, example: [one, other] } = self;
        let which = if beside == files { "all".to_string() } else { format!("{beside}") };
        write!(
            f,
            "{which} of the {files} files {pattern} lie beside an image of the same name ({one} beside {other}); \
             where they are masks or previews, leave them out with --skip \"{pattern}\""
        )
    }
}

/// The kinds of files of which at least nine tenths lie beside others: endings first, then words
/// behind names. `files` are paths below the source.
pub(super) fn find(files: &[PathBuf]) -> Vec<Twins> {
    let names: Vec<Name<'_>> = files.iter().filter_map(|file| Name::of(file)).collect();
    let mut found = by_ending(&names);
    let gone: HashSet<String> =
        found.iter().map(|twins| twins.pattern.trim_start_matches("*.").to_string()).collect();
    let left: Vec<Name<'_>> =
        names.into_iter().filter(|name| !gone.contains(&name.ending)).collect();
    found.extend(by_word(&left));
    found
}

struct Name<'a> {
    path: &'a Path,
    folder: &'a Path,
    stem: &'a str,
    ending: String,
}

impl<'a> Name<'a> {
    fn of(path: &'a Path) -> Option<Self> {
        Some(Self {
            path,
            folder: path.parent()?,
            stem: path.file_stem()?.to_str()?,
            ending: path.extension()?.to_str()?.to_lowercase(),
        })
    }

    fn text(&self) -> String {
        self.path.to_string_lossy().replace('\\', "/")
    }
}

/// Of two endings, the one that photos are likelier to have: the earlier.
fn rank(ending: &str) -> usize {
    const PHOTOS: [&str; 10] =
        ["jpg", "jpeg", "jpe", "jfif", "webp", "heic", "heif", "avif", "png", "bmp"];
    PHOTOS.iter().position(|photo| *photo == ending).unwrap_or(PHOTOS.len())
}

fn by_ending(names: &[Name<'_>]) -> Vec<Twins> {
    let mut places: HashMap<(&Path, &str), Vec<usize>> = HashMap::new();
    let mut files: BTreeMap<&str, usize> = BTreeMap::new();
    for (number, name) in names.iter().enumerate() {
        places.entry((name.folder, name.stem)).or_default().push(number);
        *files.entry(&name.ending).or_default() += 1;
    }
    // Of each ending, how many lie beside a likelier photo, and the first of them.
    let mut beside: BTreeMap<&str, (usize, usize, usize)> = BTreeMap::new();
    let mut order: Vec<&Vec<usize>> = places.values().filter(|place| place.len() > 1).collect();
    order.sort_unstable();
    for place in order {
        let key = |number: &usize| (rank(&names[*number].ending), *number);
        let Some(photo) = place.iter().copied().min_by_key(key) else { continue };
        for other in
            place.iter().copied().filter(|other| names[*other].ending != names[photo].ending)
        {
            beside.entry(&names[other].ending).or_insert((0, other, photo)).0 += 1;
        }
    }
    let twins = beside.into_iter().map(|(ending, (beside, one, photo))| Twins {
        pattern: format!("*.{ending}"),
        files: files[ending],
        beside,
        example: [names[one].text(), names[photo].text()],
    });
    twins.filter(is_worth_saying).collect()
}

fn by_word(names: &[Name<'_>]) -> Vec<Twins> {
    let stems: HashMap<(&Path, &str), usize> =
        names.iter().enumerate().map(|(number, name)| ((name.folder, name.stem), number)).collect();
    let mut files: BTreeMap<&str, usize> = BTreeMap::new();
    let mut beside: BTreeMap<&str, (usize, usize, usize)> = BTreeMap::new();
    let mut words: BTreeSet<&str> = BTreeSet::new();
    for (number, name) in names.iter().enumerate() {
        // The shortest beginning of the name that is another's whole name.
        let ends = name.stem.match_indices(['_', '-', '.', ' ']).map(|(at, _)| at);
        let found = ends
            .filter(|at| *at > 0 && is_word(&name.stem[*at..]))
            .find_map(|at| stems.get(&(name.folder, &name.stem[..at])).map(|photo| (at, *photo)));
        if let Some((at, photo)) = found {
            let word = &name.stem[at..];
            words.insert(word);
            beside.entry(word).or_insert((0, number, photo)).0 += 1;
        }
    }
    for name in names {
        let ends = name.stem.match_indices(['_', '-', '.', ' ']);
        for word in ends.map(|(at, _)| &name.stem[at..]).filter(|word| words.contains(word)) {
            *files.entry(word).or_default() += 1;
        }
    }
    let twins = beside.into_iter().map(|(word, (beside, one, photo))| Twins {
        pattern: format!("*{}.*", glob::Pattern::escape(word)),
        files: files.get(word).copied().unwrap_or(beside),
        beside,
        example: [names[one].text(), names[photo].text()],
    });
    twins.filter(is_worth_saying).collect()
}

/// Whether what follows a name is a word, and no number: `IMG_1` and `IMG_1_2` are two photos.
fn is_word(text: &str) -> bool {
    text.chars().nth(1).is_some_and(char::is_alphabetic)
}

fn is_worth_saying(twins: &Twins) -> bool {
    twins.beside >= LEAST && twins.beside * 10 >= twins.files * 9
}

#[cfg(test)]
mod tests {
    use super::*;

    fn found(names: &[String]) -> Vec<Twins> {
        find(&names.iter().map(PathBuf::from).collect::<Vec<_>>())
    }

    #[test]
    fn masks_previews_and_raw_files_are_noticed() {
        let mut names = Vec::new();
        for i in 0..20 {
            names.push(format!("cat/{i}.jpg"));
            names.push(format!("cat/{i}.PNG"));
            names.push(format!("cat/{i}_mask.jpg"));
        }
        names.push("cat/alone.png".into());
        let twins = found(&names);
        assert_eq!(
            twins[0],
            Twins {
                pattern: "*.png".into(),
                files: 21,
                beside: 20,
                example: ["cat/0.PNG".into(), "cat/0.jpg".into()]
            }
        );
        assert_eq!(
            (twins[1].pattern.as_str(), twins[1].files, twins[1].beside),
            ("*_mask.*", 20, 20)
        );
        assert_eq!(twins[1].example, ["cat/0_mask.jpg", "cat/0.jpg"]);
        assert_eq!(twins.len(), 2);
        let raw: Vec<String> =
            (0..5).flat_map(|i| [format!("a/DSC{i}.NEF"), format!("a/DSC{i}.JPG")]).collect();
        assert_eq!(found(&raw)[0].pattern, "*.nef");
    }

    #[test]
    fn other_folders_numbers_and_few_files_are_no_twins() {
        let mixed: Vec<String> =
            (0..20).flat_map(|i| [format!("a/{i}.jpg"), format!("b/{i}.png")]).collect();
        assert!(found(&mixed).is_empty());
        let bursts: Vec<String> =
            (0..20).flat_map(|i| [format!("a/IMG_{i}.jpg"), format!("a/IMG_{i}_2.jpg")]).collect();
        assert!(found(&bursts).is_empty());
        // Most of the PNG are photos of their own.
        let some: Vec<String> = (0..30)
            .map(|i| format!("a/{i}.png"))
            .chain((0..5).map(|i| format!("a/{i}.jpg")))
            .collect();
        assert!(found(&some).is_empty());
        assert!(found(&["a/1.jpg".into(), "a/1.png".into()]).is_empty());
    }
}
