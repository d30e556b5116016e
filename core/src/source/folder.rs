//! Image folders: one folder a class, optionally below folders for the splits.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::io::Read;
use std::path::{Component, Path, PathBuf};

use walkdir::{DirEntry, WalkDir};

use super::class_in_name::class_in_name;
use super::filter::FileFilter;
use super::names::composed;
use super::no_classes::no_class_folders;
use super::scan::Candidate;
use crate::error::{DataError, Result};
use crate::files;
use crate::job::Job;
use crate::source::{Problem, Skipped, Split};

/// Names that claim to be images. Those of formats that cannot be read are listed too, so that
/// their files are reported rather than passed over.
pub(super) const EXTENSIONS: [&str; 40] = [
    "jpg", "jpeg", "jpe", "jfif", "png", "apng", "webp", "bmp", "dib", "gif", "tif", "tiff", "pnm",
    "pbm", "pgm", "ppm", "pam", "avif", "heic", "heif", "jxl", "jp2", "j2k", "tga", "psd", "ico",
    "dng", "cr2", "cr3", "nef", "nrw", "arw", "orf", "rw2", "raf", "pef", "srw", "hif", "exr",
    "hdr",
];

/// What other programs leave beside images.
const CLUTTER: [&str; 7] = [
    "thumbs.db",
    "ehthumbs.db",
    "desktop.ini",
    "__macosx",
    "@eadir",
    "$recycle.bin",
    "system volume information",
];

/// Files that lie where a class folder's images lie.
pub(super) struct Found {
    pub classes: Vec<String>,
    pub candidates: Vec<Candidate>,
    pub problems: Vec<Problem>,
    pub skipped: Skipped,
    /// Folders of classes that hold nothing at all.
    pub empty: Vec<PathBuf>,
}

/// The images below a folder, and what cannot be read there. Reads no image.
///
/// # Errors
/// [`DataError`] if the folder cannot be read, [`crate::Error::Stopped`].
pub fn images_below(root: &Path, job: Job<'_>) -> Result<(Vec<PathBuf>, Vec<Problem>)> {
    let mut walk = Walk::default();
    walk.run(root, &FileFilter::default(), job)?;
    let Walk { mut files, problems, .. } = walk;
    files.sort_by_cached_key(|file| components(file));
    Ok((files.into_iter().map(|file| root.join(file)).collect(), problems))
}

/// Lists the images below `root` with their classes and splits. Reads no image.
///
/// # Errors
/// [`DataError`] if the folder cannot be read or nothing in it is an image.
pub(super) fn list(root: &Path, filter: &FileFilter, by_name: bool, job: Job<'_>) -> Result<Found> {
    let mut walk = Walk::default();
    walk.run(root, filter, job)?;
    let Walk { mut files, folders, mut problems, skipped } = walk;
    if files.is_empty() && problems.is_empty() {
        let reason = match skipped.left_out {
            0 => "no image lies in this folder or below it",
            _ => "all images in this folder and below it are left out",
        };
        return Err(DataError::source(root, reason).into());
    }
    files.sort_by_cached_key(|file| components(file));
    let layout = SplitLayout::of(&files);
    let mut by_class: BTreeMap<String, Vec<(PathBuf, Option<Split>)>> = BTreeMap::new();
    let place = |file: &PathBuf| {
        let mut folder = components(file);
        folder.pop();
        match by_name {
            true => {
                let class = class_in_name(file).ok_or("its name begins with no class");
                class.map(|class| (class, split_above(&folder)))
            }
            false => layout.place(&folder),
        }
    };
    if !by_name && let Some([one, other]) = layout.splits_for_classes(&files) {
        let reason = format!(
            "`{one}` and `{other}` are named like parts for training and test, not like classes, and images lie right in them"
        );
        return Err(no_class_folders(root, reason, &files).into());
    }
    for file in files {
        match place(&file) {
            Ok((class, split)) => by_class.entry(class).or_default().push((file, split)),
            Err(reason) => problems.push(Problem { path: root.join(&file), reason: reason.into() }),
        }
    }
    if by_class.is_empty() {
        return Err(match by_name {
            true => DataError::source(root, "no file's name begins with a class"),
            false => flat(root, &problems),
        }
        .into());
    }
    let empty: Vec<PathBuf> = folders
        .into_iter()
        .filter(|folder| {
            let placed = layout.place(&components(folder));
            !by_name && placed.is_ok_and(|(class, _)| !by_class.contains_key(&class))
        })
        .collect();
    let classes: Vec<String> = by_class.keys().cloned().collect();
    let candidates = by_class.into_values().enumerate().flat_map(|(class, files)| {
        files.into_iter().map(move |(path, split)| Candidate { path, class, split, group: None })
    });
    Ok(Found { classes, candidates: candidates.collect(), problems, skipped, empty })
}

/// What is said of a folder without class folders: why, once, and how it should look.
fn flat(root: &Path, problems: &[Problem]) -> DataError {
    let loose = problems.iter().filter(|problem| problem.reason == NO_CLASS_FOLDER).count();
    let name = root
        .file_name()
        .map_or_else(|| root.display().to_string(), |name| name.to_string_lossy().into_owned());
    let example = problems.iter().find_map(|problem| problem.path.file_name());
    let example =
        example.map_or_else(|| "1.jpg".into(), |name| name.to_string_lossy().into_owned());
    let images = match loose {
        0 => "no image lies in a class folder".to_string(),
        1 => "its one image lies in no class folder".to_string(),
        _ => format!("its {loose} images lie in no class folder"),
    };
    let reason = format!(
        "{images}; each class needs a folder of its own, whose name is the class:\n\
             {name}/\n\
             ├── first class/\n\
             │   ├── {example}\n\
             │   └── …\n\
             └── second class/\n    \
                 └── …\n\
             A list that names the class of each image (CSV, JSON) will do as well"
    );
    let loose: Vec<&PathBuf> = problems.iter().map(|problem| &problem.path).collect();
    no_class_folders(root, reason, &loose)
}

/// Why an image right below the source belongs to no class.
const NO_CLASS_FOLDER: &str = "lies in no class folder";
/// How often a folder is entered by links.
const ENTERED: u32 = 16;

/// The names a relative path is made of, [`composed`]. The walk only lets valid Unicode through.
fn components(path: &Path) -> Vec<String> {
    let name = |part: Component<'_>| composed(&part.as_os_str().to_string_lossy()).into_owned();
    path.components().map(name).collect()
}

/// How classes and splits are laid out in folders.
pub(super) struct SplitLayout {
    /// The folders that every image lies below and that say nothing, as an unpacked archive brings
    /// them along.
    wrapper: Vec<String>,
    /// The split that each folder below them stands for, if these are no classes, and the folder
    /// that everything in it lies below, if one is repeated there (`seg_train/seg_train`).
    splits: BTreeMap<String, (Split, Option<String>)>,
}

impl SplitLayout {
    /// Splits, where every folder that holds images is named like one, or where at least two are
    /// and none of those holds images directly. A class may be called "train"; so a single such
    /// folder among others is one.
    pub fn of(files: &[PathBuf]) -> Self {
        let folders: Vec<Vec<String>> = files
            .iter()
            .map(|file| components(file))
            .filter(|parts| parts.len() > 1)
            .map(|mut parts| {
                parts.pop();
                parts
            })
            .collect();
        let wrapper = wrapper(&folders);
        // For each folder below it, whether images lie directly in it.
        let mut tops: BTreeMap<&str, bool> = BTreeMap::new();
        for below in folders.iter().map(|parts| &parts[wrapper.len()..]) {
            *tops.entry(&below[0]).or_default() |= below.len() == 1;
        }
        let named: BTreeMap<&str, Split> =
            tops.keys().filter_map(|name| Some((*name, name.parse().ok()?))).collect();
        let all = !named.is_empty() && named.len() == tops.len();
        let most = named.len() >= 2 && !named.keys().any(|name| tops[name]);
        let splits = match all || most {
            true => named,
            false => in_words(&tops),
        };
        // Whether everything in a folder lies in another of the same name.
        let mut repeated: HashMap<&str, bool> = HashMap::new();
        for below in folders.iter().map(|parts| &parts[wrapper.len()..]) {
            *repeated.entry(&below[0]).or_insert(true) &= below.len() > 2 && below[1] == below[0];
        }
        let again = |name: &str| repeated[name].then(|| name.to_string());
        let splits = splits
            .into_iter()
            .map(|(name, split)| (name.to_string(), (split, again(name))))
            .collect();
        Self { wrapper, splits }
    }

    /// Two folders that images lie in as if they were classes, and all of which are named like splits
    /// and otherwise alike: `train_images` and `test_images`, to which a list belongs.
    fn splits_for_classes(&self, files: &[PathBuf]) -> Option<[String; 2]> {
        if !self.splits.is_empty() {
            return None;
        }
        let mut names = BTreeSet::new();
        for file in files {
            let parts = components(file);
            let below = parts[..parts.len() - 1].strip_prefix(self.wrapper.as_slice())?;
            let [name] = below else { return None };
            names.insert(name.clone());
        }
        let found: Vec<(Split, Vec<String>)> =
            names.iter().map(|name| split_in_words(name)).collect::<Option<_>>()?;
        let splits: BTreeSet<usize> = found.iter().map(|(split, _)| *split as usize).collect();
        let is_alike = found.windows(2).all(|pair| pair[0].1 == pair[1].1);
        let mut names = names.into_iter();
        let two = [names.next()?, names.next()?];
        (is_alike && splits.len() == found.len()).then_some(two)
    }

    /// The class and split of what lies in `folder`, or why it belongs to none.
    pub fn place(
        &self,
        folder: &[String],
    ) -> std::result::Result<(String, Option<Split>), &'static str> {
        // Only folders without any image lie outside.
        let below = folder.strip_prefix(self.wrapper.as_slice()).unwrap_or_default();
        match below {
            [] => Err(NO_CLASS_FOLDER),
            class if self.splits.is_empty() => Ok((class.join("/"), None)),
            [top, class @ ..] => {
                let (split, repeated) = self
                    .splits
                    .get(top)
                    .ok_or("lies outside the folders for train, validation and test")?;
                let class = match class {
                    [first, rest @ ..] if Some(first) == repeated.as_ref() => rest,
                    class => class,
                };
                if class.is_empty() {
                    Err(NO_CLASS_FOLDER)
                } else {
                    Ok((class.join("/"), Some(*split)))
                }
            }
        }
    }
}

/// The folders that all of these lie below. One named like a split says something, and of the last
/// one of each path the class is made.
fn wrapper(folders: &[Vec<String>]) -> Vec<String> {
    let Some(first) = folders.first() else { return Vec::new() };
    let shortest = folders.iter().map(Vec::len).min().unwrap_or_default().saturating_sub(1);
    let common = folders.iter().fold(shortest, |common, parts| {
        parts.iter().zip(first).take(common).take_while(|(a, b)| a == b).count()
    });
    first[..common].iter().take_while(|name| split_in_words(name).is_none()).cloned().collect()
}

/// The split that a folder is named after, in one word or several.
pub(super) fn split_of_folder(name: &str) -> Option<Split> {
    name.parse().ok().or_else(|| Some(split_in_words(name)?.0))
}

/// The split that a folder on the way to an image is named after, the nearest one.
fn split_above(folders: &[String]) -> Option<Split> {
    folders.iter().rev().find_map(|name| split_of_folder(name))
}

/// Folders that are named like splits in more than one word, as `training_set` and `test_set`: at
/// least two are, for different splits, none of these holds images directly, and what else they are
/// called is the same.
fn in_words<'a>(tops: &BTreeMap<&'a str, bool>) -> BTreeMap<&'a str, Split> {
    let found: Vec<(&str, Split, Vec<String>)> = tops
        .keys()
        .filter_map(|name| split_in_words(name).map(|(split, rest)| (*name, split, rest)))
        .collect();
    let is_direct = found.iter().any(|(name, ..)| tops[name]);
    let splits: BTreeSet<usize> = found.iter().map(|(_, split, _)| *split as usize).collect();
    let alike = found.windows(2).all(|pair| pair[0].2 == pair[1].2);
    if is_direct || found.len() < 2 || splits.len() < found.len() || !alike {
        return BTreeMap::new();
    }
    found.into_iter().map(|(name, split, _)| (name, split)).collect()
}

/// The split that one word of a name stands for, and its other words in lower case.
fn split_in_words(name: &str) -> Option<(Split, Vec<String>)> {
    let words: Vec<&str> =
        name.split(|c: char| !c.is_alphanumeric()).filter(|word| !word.is_empty()).collect();
    let is_split = |word: &&str| word.parse::<Split>().is_ok();
    let [split] = words.iter().copied().filter(is_split).collect::<Vec<_>>()[..] else {
        return None;
    };
    let rest = words.into_iter().filter(|word| !is_split(word)).map(str::to_lowercase);
    Some((split.parse().ok()?, rest.collect()))
}

#[derive(Default)]
struct Walk {
    /// Files that claim to be images, relative to the root.
    files: Vec<PathBuf>,
    /// Folders that hold nothing, relative to the root.
    folders: Vec<PathBuf>,
    problems: Vec<Problem>,
    skipped: Skipped,
}

impl Walk {
    fn run(&mut self, root: &Path, filter: &FileFilter, job: Job<'_>) -> Result<()> {
        job.phase("looking for images", None, "files");
        let mut seen = 0u64;
        // Folders with anything in them, hidden files apart.
        let mut filled: BTreeSet<PathBuf> = BTreeSet::new();
        // How often each folder was entered by a link.
        let mut linked: HashMap<PathBuf, u32> = HashMap::new();
        let mut entries = WalkDir::new(root).follow_links(true).into_iter();
        while let Some(entry) = entries.next() {
            seen += 1;
            if seen.is_multiple_of(256) {
                job.check()?;
                job.progress(seen);
            }
            let entry = match entry {
                Ok(entry) => entry,
                Err(error) if error.loop_ancestor().is_some() => {
                    self.skipped.link_loops += 1;
                    continue;
                }
                Err(error) if error.depth() == 0 => {
                    return Err(DataError::source(root, io_reason(&error)).into());
                }
                Err(error) => {
                    self.unreadable(root, &error);
                    continue;
                }
            };
            if entry.depth() == 0 {
                continue;
            }
            if entry.path_is_symlink() && entry.file_type().is_dir() {
                let times = linked.entry(files::real(entry.path())).or_default();
                *times += 1;
                // A few links in each of a few folders lead to any number of paths.
                if *times > ENTERED {
                    self.skipped.link_loops += 1;
                    entries.skip_current_dir();
                    continue;
                }
            }
            if is_hidden(&entry) {
                self.skipped.hidden += 1;
                if entry.file_type().is_dir() {
                    entries.skip_current_dir();
                }
                continue;
            }
            let Ok(relative) = entry.path().strip_prefix(root) else { continue };
            if let Some(parent) = relative.parent() {
                filled.insert(parent.to_path_buf());
            }
            if entry.file_name().to_str().is_none() {
                self.problems.push(Problem {
                    path: entry.path().to_path_buf(),
                    reason: "its name is not valid Unicode; rename it".into(),
                });
                if entry.file_type().is_dir() {
                    entries.skip_current_dir();
                }
            } else if entry.file_type().is_dir() {
                self.folders.push(relative.to_path_buf());
            } else if entry.file_type().is_file() && claims_image(entry.path()) {
                if !filter.takes(relative) {
                    self.skipped.left_out += 1;
                    continue;
                }
                self.files.push(relative.to_path_buf());
            } else {
                self.skipped.not_images += 1;
            }
        }
        self.folders.retain(|folder| !filled.contains(folder));
        Ok(())
    }

    fn unreadable(&mut self, root: &Path, error: &walkdir::Error) {
        let path = error.path().unwrap_or(root);
        let link = path.symlink_metadata().is_ok_and(|metadata| metadata.is_symlink());
        // The system stops following a chain of links after some forty.
        if error.io_error().is_some_and(is_link_loop) {
            self.skipped.link_loops += 1;
        } else if link && !has_image_extension(path) {
            self.skipped.not_images += 1;
        } else {
            let reason = if link {
                "a link to a file that does not exist".to_string()
            } else {
                io_reason(error)
            };
            self.problems.push(Problem { path: path.to_path_buf(), reason });
        }
    }
}

/// ELOOP, for which the standard library has no stable name.
fn is_link_loop(error: &std::io::Error) -> bool {
    error.raw_os_error() == Some(if cfg!(target_os = "linux") { 40 } else { 62 })
}

fn io_reason(error: &walkdir::Error) -> String {
    error.io_error().map_or_else(|| error.to_string(), |e| e.to_string())
}

fn is_hidden(entry: &DirEntry) -> bool {
    let name = entry.file_name().to_string_lossy();
    name.starts_with('.') || CLUTTER.contains(&name.to_lowercase().as_str())
}

pub(super) fn has_image_extension(path: &Path) -> bool {
    let extension = path.extension().map(|extension| extension.to_string_lossy().to_lowercase());
    extension.is_some_and(|extension| EXTENSIONS.contains(&extension.as_str()))
}

/// Whether a file is meant as an image: by its extension, or where it has none by its first bytes.
fn claims_image(path: &Path) -> bool {
    if path.extension().is_some() {
        return has_image_extension(path);
    }
    let mut start = Vec::new();
    let read = files::open(path, u64::MAX).and_then(|file| file.take(16).read_to_end(&mut start));
    // Text may begin with the two letters of PNM by chance.
    read.is_ok()
        && !matches!(
            image::guess_format(&start),
            Err(_) | Ok(image::ImageFormat::Pnm | image::ImageFormat::Bmp)
        )
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Where files in these folders are placed, as `class` or `class split`.
    fn placed(folders: &[&str]) -> Vec<String> {
        let files: Vec<PathBuf> =
            folders.iter().map(|folder| Path::new(folder).join("1.png")).collect();
        let layout = SplitLayout::of(&files);
        let word = |folder: &&str| match layout.place(&components(Path::new(folder))) {
            Ok((class, None)) => class,
            Ok((class, Some(split))) => format!("{class} {split}"),
            Err(reason) => reason.to_string(),
        };
        folders.iter().map(word).collect()
    }

    #[test]
    fn folders_around_all_the_others_say_nothing() {
        assert_eq!(placed(&["data/cat", "data/dog"]), ["cat", "dog"]);
        assert_eq!(placed(&["a/b/big/cat", "a/b/small/cat"]), ["big/cat", "small/cat"]);
        assert_eq!(
            placed(&["wrap/set/train/cat", "wrap/set/train/dog", "wrap/set/test/cat"]),
            ["cat train", "dog train", "cat test"]
        );
        // One class is left its name, and one split is a split.
        assert_eq!(placed(&["data/cat"]), ["cat"]);
        assert_eq!(placed(&["train/cat", "train/dog"]), ["cat train", "dog train"]);
        assert_eq!(placed(&["cat", "cat/old"]), ["cat", "cat/old"]);
    }

    #[test]
    fn splits_are_known_by_one_word_of_their_names() {
        assert_eq!(
            placed(&["training_set/cat", "training_set/dog", "test_set/cat"]),
            ["cat train", "dog train", "cat test"]
        );
        assert_eq!(
            placed(&["seg_train/seg_train/sea", "seg_test/seg_test/sea", "seg_pred/seg_pred"]),
            ["sea train", "sea test", "lies outside the folders for train, validation and test"]
        );
        assert_eq!(placed(&["train/cat", "eval/cat"]), ["cat train", "cat validation"]);
        // Classes of which no two are splits of one thing.
        for classes in [
            &["train station/a", "test tube/a"][..],
            &["crash test/a", "road test/b"],
            &["train_set/a", "dog/b"],
            &["old_train", "old_test"],
        ] {
            assert_eq!(placed(classes), classes);
        }
    }
}
