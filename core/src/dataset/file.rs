//! The dataset file: a dataset as a small TOML file that can be trained on directly.
//!
//! ```toml
//! version = 1
//! source = "photos"     # relative to this file where it lies in the same folder or below, otherwise absolute
//! kind = "folder"
//! source_hash = "…"
//! notes = []
//!
//! [options]             # what the build was asked for
//! seed = 0
//!
//! [reading]             # only where more was to be said of the source than its name
//! skip = ["*.png"]
//!
//! [[class]]             # in label order
//! name = "newt"
//! train = ["newt/0001.jpg", "newt/0002.jpg"]
//! validation = []
//! test = ["newt/0003.jpg"]
//! train_digests = "…"   # sixteen digits an image: the start of the BLAKE3 of its bytes
//! [class.series]        # where images that belong together are kept together: a number each
//! train = [0, 0]
//! test = [1]
//! ```
//! A location is a path relative to the source, with `/` between its parts; a record of a CIFAR
//! file has `#number` after it.

use std::collections::{BTreeSet, HashSet};
use std::io::Write;
use std::path::{Path, PathBuf};

use rayon::prelude::*;
use serde::{Deserialize, Serialize};

use super::digests::Digests;
use super::options::BuildOptions;
use super::samples::{Dataset, DatasetSample, Provenance};
use crate::error::{DataError, Error, Result};
use crate::files::{self, write_atomically};
use crate::source::{Location, Reading, SourceKind, Split};

/// The version written, and the only one read.
const VERSION: i64 = 1;

/// The file of a dataset of five million images has some 200 MB; anything larger is refused, since
/// reading it takes several times as much memory.
const LARGEST: u64 = 256 << 20;

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct DatasetFile {
    version: i64,
    source: String,
    kind: SourceKind,
    #[serde(default)]
    source_hash: String,
    #[serde(default, skip_serializing_if = "String::is_empty")]
    grown_of: String,
    #[serde(default)]
    notes: Vec<String>,
    #[serde(default)]
    options: BuildOptions,
    #[serde(default, skip_serializing_if = "Reading::is_plain")]
    reading: Reading,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    drawn: Vec<Split>,
    #[serde(default)]
    class: Vec<Class>,
}

#[derive(Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Class {
    name: String,
    #[serde(default)]
    train: Vec<String>,
    #[serde(default)]
    validation: Vec<String>,
    #[serde(default)]
    test: Vec<String>,
    /// [`Digests`] of the images above, in their order.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    train_digests: String,
    #[serde(default, skip_serializing_if = "String::is_empty")]
    validation_digests: String,
    #[serde(default, skip_serializing_if = "String::is_empty")]
    test_digests: String,
    /// Numbers of the series that the images above belong to, where those were kept together.
    #[serde(default, skip_serializing_if = "Series::is_empty")]
    series: Series,
}

#[derive(Default, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
struct Series {
    #[serde(skip_serializing_if = "Vec::is_empty")]
    train: Vec<u32>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    validation: Vec<u32>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    test: Vec<u32>,
}

impl Series {
    fn is_empty(&self) -> bool {
        *self == Self::default()
    }

    fn part(&mut self, split: Split) -> &mut Vec<u32> {
        match split {
            Split::Train => &mut self.train,
            Split::Validation => &mut self.validation,
            Split::Test => &mut self.test,
        }
    }
}

impl Class {
    fn part(&mut self, split: Split) -> &mut Vec<String> {
        match split {
            Split::Train => &mut self.train,
            Split::Validation => &mut self.validation,
            Split::Test => &mut self.test,
        }
    }
}

impl Dataset {
    /// Writes the dataset file, atomically.
    ///
    /// # Errors
    /// [`DataError::File`] if it cannot be written, or if a path is not Unicode and so cannot stand
    /// in it.
    pub fn save(&self, path: &Path) -> Result<()> {
        let mut classes: Vec<Class> = self
            .classes
            .iter()
            .map(|name| Class { name: name.clone(), ..Class::default() })
            .collect();
        let mut places = vec![[const { Vec::new() }; 3]; classes.len()];
        for sample in &self.samples {
            let text = sample.location.to_text();
            if Location::from_text(&text, self.kind.has_records()).as_ref() != Ok(&sample.location)
            {
                return Err(DataError::file(
                    path,
                    format!(
                        "the name `{text}` is not Unicode and cannot be written; rename the file"
                    ),
                )
                .into());
            }
            let class = &mut classes[sample.class];
            class.part(sample.split).push(text);
            class.series.part(sample.split).extend(sample.group);
            places[sample.class][sample.split as usize].push(&sample.location);
        }
        for (class, places) in classes.iter_mut().zip(&places) {
            let digests = places.each_ref().map(|of| self.provenance.digests.to_text(of));
            [class.train_digests, class.validation_digests, class.test_digests] = digests;
        }
        let file = DatasetFile {
            version: VERSION,
            source: source_text(&self.root, path)
                .map_err(|reason| DataError::file(path, reason))?,
            kind: self.kind,
            source_hash: self.provenance.source_hash.clone(),
            grown_of: self.provenance.grown_of.clone(),
            notes: self.provenance.notes.clone(),
            options: self.provenance.options.clone(),
            reading: self.provenance.reading.clone(),
            drawn: self.provenance.drawn.clone(),
            class: classes,
        };
        let text = toml::to_string_pretty(&file).map_err(|e| DataError::file(path, e))?;
        write_atomically(path, |out| out.write_all(text.as_bytes()))
            .map_err(|e| DataError::file(path, e).into())
    }

    /// Reads a dataset file. Whether the images exist is checked by [`Dataset::verify_files`].
    ///
    /// # Errors
    /// [`DataError::File`] naming the file and the reason: unreadable, not a dataset file, of
    /// another version, or describing no dataset that could be trained on. [`DataError::Many`]
    /// where several classes or samples are wrong.
    pub fn load(path: &Path) -> Result<Self> {
        let wrong = |reason: String| Error::from(DataError::file(path, reason));
        let bytes = files::read(path, LARGEST).map_err(|e| DataError::file(path, e))?;
        let text = String::from_utf8(bytes)
            .map_err(|_| wrong("is not UTF-8 text, so it cannot be a dataset file".to_string()))?;
        let file: DatasetFile =
            toml::from_str(&text).map_err(|e| wrong(parse_failure(&text, &e)))?;
        if file.version != VERSION {
            return Err(wrong(other_version(file.version)));
        }
        file.options.validate().map_err(|e| wrong(e.to_string()))?;
        into_dataset(file, path)
    }

    /// Checks that every file the dataset names is there.
    ///
    /// # Errors
    /// [`DataError::Source`] if the whole source is missing, [`DataError::Many`] listing missing
    /// files.
    pub fn verify_files(&self) -> Result<()> {
        if !self.root.exists() {
            return Err(DataError::source(
                &self.root,
                "the images' folder or archive is not there",
            )
            .into());
        }
        if !self.root.is_dir() {
            // An archive; its members are checked when it is read.
            return Ok(());
        }
        // Many records share a file.
        let files: BTreeSet<&Path> = self
            .samples
            .iter()
            .map(|sample| match &sample.location {
                Location::File(path) => path.as_path(),
                Location::Record { file, .. } => file.as_path(),
            })
            .collect();
        let files: Vec<&Path> = files.into_iter().collect();
        let missing: Vec<String> = files
            .par_iter()
            .map(|file| self.root.join(file))
            .filter(|file| !file.is_file())
            .map(|file| file.display().to_string())
            .collect();
        if missing.is_empty() {
            return Ok(());
        }
        let summary =
            format!("{} of {} files of the dataset are missing", missing.len(), files.len());
        Err(DataError::Many { summary, items: missing }.into())
    }
}

/// The source as a dataset file at `path` names it.
fn source_text(root: &Path, path: &Path) -> Result<String, String> {
    let absolute = |path: &Path| {
        path.canonicalize().or_else(|_| std::path::absolute(path)).map_err(|e| e.to_string())
    };
    let root = absolute(root)?;
    // The dataset file itself need not exist yet; its folder is resolved as far as it exists.
    let file = std::path::absolute(path).map_err(|e| e.to_string())?;
    let folder = absolute(file.parent().unwrap_or(Path::new("/")))?;
    let shown = match root.strip_prefix(&folder) {
        Ok(below) if below.as_os_str().is_empty() => Path::new("."),
        Ok(below) => below,
        Err(_) => &root,
    };
    let text = shown.to_str().ok_or_else(|| {
        format!("the source's name {} is not Unicode and cannot be written", shown.display())
    })?;
    // An absolute path stays as the system writes it; a relative one should open on any.
    Ok(if shown.is_absolute() {
        without_verbatim_prefix(text).to_string()
    } else {
        text.replace(std::path::MAIN_SEPARATOR, "/")
    })
}

/// `C:\…` for `\\?\C:\…`, the form in which Windows resolves a path and which few other programs
/// open.
fn without_verbatim_prefix(text: &str) -> &str {
    match text.strip_prefix(r"\\?\") {
        Some(rest) if matches!(rest.as_bytes(), [letter, b':', ..] if letter.is_ascii_alphabetic()) => {
            rest
        }
        _ => text,
    }
}

fn into_dataset(file: DatasetFile, path: &Path) -> Result<Dataset> {
    let list = |summary: &str, items: Vec<String>| match items.is_empty() {
        true => Ok(()),
        false => Err(Error::from(DataError::Many {
            summary: format!("{}: {summary}", path.display()),
            items,
        })),
    };
    if file.class.len() < 2 {
        return Err(DataError::file(path, "holds fewer than two classes").into());
    }
    let mut names = HashSet::new();
    let twice =
        file.class.iter().filter(|class| class.name.is_empty() || !names.insert(&class.name));
    list(
        "class names that are empty or come twice",
        twice.map(|class| format!("`{}`", class.name)).collect(),
    )?;
    let empty = file.class.iter().filter(|class| class.train.is_empty());
    list("classes without a training image", empty.map(|class| class.name.clone()).collect())?;

    let records = file.kind.has_records();
    let total = file
        .class
        .iter()
        .map(|class| class.train.len() + class.validation.len() + class.test.len())
        .sum();
    let mut seen: HashSet<&str> = HashSet::with_capacity(total);
    let all = file
        .class
        .iter()
        .flat_map(|class| class.train.iter().chain(&class.validation).chain(&class.test));
    let twice: Vec<String> = all
        .filter(|text| text.is_empty() || !seen.insert(text.as_str()))
        .map(|text| format!("`{text}`"))
        .collect();
    list("images that have no name or come twice", twice)?;
    drop(seen);

    let mut classes = Vec::with_capacity(file.class.len());
    let mut parts: [Vec<DatasetSample>; 3] = Default::default();
    let mut digests = Digests::default();
    let mut wrong = Vec::new();
    for (label, class) in file.class.into_iter().enumerate() {
        let mut series = class.series;
        let noted = [class.train_digests, class.validation_digests, class.test_digests];
        let texts = [class.train, class.validation, class.test];
        for (split, (texts, noted)) in Split::ALL.into_iter().zip(texts.into_iter().zip(noted)) {
            let part = &mut parts[split as usize];
            let (before, named) = (part.len(), texts.len());
            let series = std::mem::take(series.part(split));
            if !series.is_empty() && series.len() != named {
                wrong.push(format!(
                    "{}: {named} {split} images with numbers of series for {}",
                    class.name,
                    series.len()
                ));
            }
            let mut series = series.into_iter();
            for text in texts {
                let group = series.next();
                match Location::from_text(&text, records) {
                    Ok(location) => {
                        part.push(DatasetSample { location, class: label, split, group })
                    }
                    Err(reason) => wrong.push(reason),
                }
            }
            let added = part[before..].iter().map(|sample| &sample.location);
            if added.len() == named
                && let Err(reason) = digests.read(&noted, added)
            {
                wrong.push(format!("class `{}`, {split}: {reason}", class.name));
            }
        }
        classes.push(class.name);
    }
    list("images that cannot be located", wrong)?;
    let root = match path.parent() {
        Some(folder) if file.source == "." && !folder.as_os_str().is_empty() => {
            folder.to_path_buf()
        }
        Some(folder) => folder.join(&file.source),
        None => PathBuf::from(&file.source),
    };
    // One that was written through a link speaks of what lies beside where it is.
    let root = match path.symlink_metadata().is_ok_and(|facts| facts.is_symlink()) && !root.exists()
    {
        true => match path.canonicalize().ok().as_deref().and_then(Path::parent) {
            Some(folder) => folder.join(&file.source),
            None => root,
        },
        false => root,
    };
    Ok(Dataset {
        root,
        kind: file.kind,
        classes,
        samples: parts.into_iter().flatten().collect(),
        provenance: Provenance {
            options: file.options,
            reading: file.reading,
            source_hash: file.source_hash,
            grown_of: file.grown_of,
            notes: file.notes,
            drawn: file.drawn,
            digests,
            origin: None,
        },
    })
}

/// Why a text is not a dataset file. A file of a later version may well hold keys that this one
/// does not know.
fn parse_failure(text: &str, error: &toml::de::Error) -> String {
    #[derive(Deserialize)]
    struct Any {
        version: i64,
    }
    match toml::from_str::<Any>(text) {
        Ok(any) if any.version != VERSION => other_version(any.version),
        _ => {
            let line = error.span().map(|span| {
                text.as_bytes()[..span.start.min(text.len())]
                    .iter()
                    .filter(|b| **b == b'\n')
                    .count()
                    + 1
            });
            let place = line.map(|line| format!(", line {line}")).unwrap_or_default();
            format!("is not a dataset file{place}: {}", error.message().trim())
        }
    }
}

fn other_version(version: i64) -> String {
    format!("is a dataset file of version {version}; this program reads version {VERSION}")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::dataset::Profile;

    fn dataset(root: &Path) -> Dataset {
        let place = |text: &str| Location::File(text.into());
        let sample = |text: &str, class, split| DatasetSample {
            location: place(text),
            class,
            split,
            group: (split == Split::Train).then_some(u32::MAX),
        };
        Dataset {
            root: root.to_path_buf(),
            kind: SourceKind::Folder,
            classes: vec!["Аист".into(), "new\"t\n".into()],
            samples: vec![
                sample("Аист/1.png", 0, Split::Train),
                sample("new'\"t/a\nb\\c #7 .png", 1, Split::Train),
                sample("new'\"t/2.png", 1, Split::Validation),
                sample("Аист/2.png", 0, Split::Test),
            ],
            provenance: Provenance {
                options: BuildOptions {
                    seed: i64::MAX as u64,
                    profile: Profile::Custom { counts: [("Аист".to_string(), 1)].into() },
                    test: Some(0.25),
                    classes: Some(crate::dataset::ClassChoice::First(2)),
                    ..BuildOptions::default()
                },
                reading: Reading {
                    lists: vec!["list \"1\".csv".into()],
                    skip: vec!["*_mask.*".into()],
                    ..Reading::default()
                },
                drawn: vec![Split::Test],
                source_hash: "00ff".into(),
                grown_of: "ff00".into(),
                notes: vec!["a note".into()],
                digests: Digests::default(),
                origin: None,
            },
        }
    }

    #[test]
    fn a_drive_is_named_as_people_name_it() {
        for (resolved, shown) in [
            (r"\\?\C:\photos", r"C:\photos"),
            (r"\\?\UNC\server\photos", r"\\?\UNC\server\photos"),
            (r"D:\photos", r"D:\photos"),
            ("/photos", "/photos"),
        ] {
            assert_eq!(without_verbatim_prefix(resolved), shown);
        }
    }

    #[test]
    fn what_is_saved_is_what_is_loaded() {
        let folder = tempfile::tempdir().unwrap();
        let folder = folder.path().canonicalize().unwrap();
        std::fs::create_dir(folder.join("photos")).unwrap();
        let saved = dataset(&folder.join("photos"));
        for place in ["set.toml", "new/folder/set.toml"] {
            saved.save(&folder.join(place)).unwrap();
            assert_eq!(Dataset::load(&folder.join(place)).unwrap(), saved);
        }
        let text = std::fs::read_to_string(folder.join("set.toml")).unwrap();
        assert!(text.contains("source = \"photos\"\n"), "{text}");
        let beside = dataset(&folder);
        beside.save(&folder.join("set.toml")).unwrap();
        assert_eq!(Dataset::load(&folder.join("set.toml")).unwrap(), beside);
    }

    #[test]
    fn a_dataset_file_moves_with_its_source() {
        let old = tempfile::tempdir().unwrap();
        std::fs::create_dir_all(old.path().join("a/photos")).unwrap();
        dataset(&old.path().join("a/photos")).save(&old.path().join("a/set.toml")).unwrap();
        std::fs::rename(old.path().join("a"), old.path().join("b")).unwrap();
        let moved = Dataset::load(&old.path().join("b/set.toml")).unwrap();
        assert_eq!(moved.root, old.path().join("b/photos"));
    }

    #[test]
    fn an_image_list_keeps_the_name_it_had_in_files() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("set.toml");
        let mut saved = dataset(&folder.path().canonicalize().unwrap());
        saved.kind = SourceKind::List;
        saved.save(&path).unwrap();
        let text = std::fs::read_to_string(&path).unwrap();
        assert!(text.contains("kind = \"manifest\"\n"), "{text}");
        assert_eq!(Dataset::load(&path).unwrap(), saved);
        std::fs::write(&path, text.replace("\"manifest\"", "\"list\"")).unwrap();
        assert_eq!(Dataset::load(&path).unwrap(), saved);
    }

    #[test]
    fn records_are_read_back() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("set.toml");
        let mut saved = dataset(&folder.path().canonicalize().unwrap().join("missing.tar.gz"));
        saved.kind = SourceKind::Cifar100;
        for (i, sample) in saved.samples.iter_mut().enumerate() {
            sample.location =
                Location::Record { file: "cifar-100-binary/train.bin".into(), index: i as u32 };
        }
        saved.save(&path).unwrap();
        let loaded = Dataset::load(&path).unwrap();
        assert_eq!(loaded.samples, saved.samples);
        assert!(loaded.verify_files().unwrap_err().to_string().contains("missing.tar.gz"));
    }

    #[test]
    fn missing_files_are_listed() {
        let folder = tempfile::tempdir().unwrap();
        let set = dataset(folder.path());
        std::fs::create_dir(folder.path().join("Аист")).unwrap();
        std::fs::write(folder.path().join("Аист/1.png"), "").unwrap();
        let error = set.verify_files().unwrap_err().to_string();
        assert!(
            error.contains("3 of 4") && error.contains("2.png") && !error.contains("1.png"),
            "{error}"
        );
    }

    #[test]
    fn broken_and_hostile_files_are_refused_with_a_reason() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("set.toml");
        let head = "version = 1\nsource = \"photos\"\nkind = \"folder\"\n";
        let class =
            |name: &str, train: &str| format!("[[class]]\nname = {name:?}\ntrain = {train}\n");
        let good = format!("{head}{}{}", class("a", "['a/1.png']"), class("b", "['b/1.png']"));
        std::fs::write(&path, &good).unwrap();
        assert_eq!(Dataset::load(&path).unwrap().counts(Split::Train), [1, 1]);
        let cases = [
            ("".to_string(), "version"),
            ("not toml at all".to_string(), "line 1"),
            (good.replace("version = 1", "version = 2\nnew = 1"), "version 2"),
            (good.replace("folder", "zip"), "zip"),
            (good.replace("train", "trian"), "trian"),
            (good.replace("'b/1.png'", "7"), "line 9"),
            (head.to_string(), "two classes"),
            (format!("{head}{}{}", class("a", "['1.png']"), class("a", "['2.png']")), "`a`"),
            (format!("{head}{}{}", class("a", "['1.png']"), class("", "['2.png']")), "``"),
            (
                format!("{head}{}{}", class("a", "['1.png']"), class("b", "[]")),
                "without a training image",
            ),
            (
                format!("{head}{}{}", class("a", "['1.png', '1.png']"), class("b", "['2.png']")),
                "`1.png`",
            ),
            (format!("{head}{}{}", class("a", "['1.png']"), class("b", "['1.png']")), "`1.png`"),
            (good.replace("folder", "cifar10"), "names no record"),
            (
                format!("{head}{}{}", class("a", "['x#1']"), class("b", "['x#99999999999']"))
                    .replace("folder", "cifar10"),
                "99999999999",
            ),
            (format!("{head}[options]\nvalidation = 7.0\n{}", class("a", "['1']")), "fraction"),
            (format!("{head}[options]\nseed = -1\n{}", class("a", "['1']")), "line"),
            (format!("{head}notes = {}\n", "[".repeat(100_000)), "line 4"),
        ];
        for (text, part) in cases {
            std::fs::write(&path, &text).unwrap();
            let error = Dataset::load(&path).unwrap_err().to_string();
            let start: String = text.chars().take(300).collect();
            assert!(error.contains(part) && error.contains("set.toml"), "{error}\n{start}");
        }
        std::fs::write(&path, [0xff, 0x00]).unwrap();
        assert!(Dataset::load(&path).unwrap_err().to_string().contains("UTF-8"));
        assert!(
            Dataset::load(folder.path())
                .unwrap_err()
                .to_string()
                .contains(&folder.path().display().to_string())
        );
        let huge = std::fs::File::create(&path).unwrap();
        huge.set_len(LARGEST + 1).unwrap();
        assert!(Dataset::load(&path).unwrap_err().to_string().contains("256 MB are the most"));
    }

    #[test]
    fn four_hundred_thousand_images_load_in_seconds() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("set.toml");
        let samples = (0..400_000)
            .map(|i| DatasetSample {
                location: Location::File(
                    format!("train/class {:04}/a fairly long name of a photo {i:08}.jpg", i / 400)
                        .into(),
                ),
                class: i / 400,
                split: Split::Train,
                group: None,
            })
            .collect();
        let classes = (0..1000).map(|i| format!("class {i:04}")).collect();
        let root = folder.path().canonicalize().unwrap();
        let saved = Dataset {
            root,
            kind: SourceKind::Folder,
            classes,
            samples,
            provenance: Provenance::default(),
        };
        let started = std::time::Instant::now();
        saved.save(&path).unwrap();
        let saving = started.elapsed();
        let loaded = Dataset::load(&path).unwrap();
        let both = started.elapsed();
        assert!(loaded == saved);
        assert!(both.as_secs() < 120, "saved in {saving:?}, both in {both:?}");
    }
}
