//! What can go wrong, one enum an area, and [`Error`] over all of them.
//!
//! Messages are written for the person in front of the window: they name the file and the reason,
//! and end without a full stop so that a front end can add what to do next.

use std::fmt;
use std::fmt::Write as _;
use std::path::{Path, PathBuf};

/// The result of everything in this crate that can fail.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// Any failure of this crate.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The person asked the job to stop. Nothing was lost: what the job says it keeps is on disk.
    #[error("stopped on request")]
    Stopped,
    /// Reading a source, building a dataset or decoding images failed.
    #[error(transparent)]
    Data(#[from] DataError),
    /// A settings file or a `key=value` override is wrong.
    #[error(transparent)]
    Settings(#[from] SettingsError),
    /// A checkpoint or run folder cannot be read or written.
    #[error(transparent)]
    Run(#[from] RunError),
    /// Training or balancing failed.
    #[error(transparent)]
    Train(#[from] TrainError),
    /// Exporting, or running an exported model, failed.
    #[error(transparent)]
    Model(#[from] ModelError),
    /// Keeping features failed.
    #[error(transparent)]
    Cache(#[from] CacheError),
    /// Reading, downloading or keeping pretrained weights failed.
    #[error(transparent)]
    Weights(#[from] WeightsError),
    /// The program itself is at fault: what it relies on does not hold. Nothing the person did is
    /// wrong.
    #[error("an error in the program: {0}")]
    Internal(String),
    /// The chosen device cannot be used.
    #[error("device {name}: {reason}")]
    Device {
        /// The device as the person named it.
        name: String,
        /// Why it cannot be used.
        #[source]
        reason: Reason,
    },
}

/// Why something failed, in words, with the error that it comes from where there is one.
#[derive(Debug)]
pub struct Reason {
    text: String,
    cause: Option<Box<dyn std::error::Error + Send + Sync>>,
}

impl Reason {
    /// The words of an error, which stays behind them.
    pub fn of(error: impl std::error::Error + Send + Sync + 'static) -> Self {
        Self { text: error.to_string(), cause: Some(Box::new(error)) }
    }
}

impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

impl std::error::Error for Reason {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        Some(&**self.cause.as_ref()?)
    }
}

impl From<String> for Reason {
    fn from(text: String) -> Self {
        Self { text, cause: None }
    }
}

impl From<&str> for Reason {
    fn from(text: &str) -> Self {
        text.to_string().into()
    }
}

macro_rules! reasons {
    ($($error:ty),*) => {$(
        impl From<$error> for Reason {
            fn from(error: $error) -> Self {
                Self::of(error)
            }
        }
    )*};
}

impl From<std::io::Error> for Reason {
    fn from(error: std::io::Error) -> Self {
        match error.kind() {
            // Of the system's own, whose words differ and say less.
            std::io::ErrorKind::NotFound if error.get_ref().is_none() => {
                "there is no such file or folder".into()
            }
            _ => Self::of(error),
        }
    }
}

reasons!(
    serde_json::Error,
    toml::de::Error,
    toml::ser::Error,
    csv::Error,
    safetensors::SafeTensorError
);

/// Failures of reading sources and images and of building datasets.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum DataError {
    /// A file or folder could not be read or written.
    #[error("{}: {reason}", path.display())]
    File {
        /// The file concerned.
        path: PathBuf,
        /// The operating system's or the parser's reason.
        #[source]
        reason: Reason,
    },
    /// The source as a whole is unusable (missing, empty, of no known kind, one class only).
    #[error("{}: {reason}", path.display())]
    Source {
        /// The folder, archive or image list.
        path: PathBuf,
        /// What is wrong with it.
        #[source]
        reason: Reason,
    },
    /// Several things are wrong at once; each is listed.
    #[error("{summary}:\n{}", list(items))]
    Many {
        /// What the items have in common, for example "classes without a readable image".
        summary: String,
        /// One line each; long lists are cut when shown.
        items: Vec<String>,
    },
    /// Classes of which no image can be read; each is listed.
    #[error("{summary}:\n{}", list(items))]
    EmptyClasses {
        /// What they have in common.
        summary: String,
        /// A line for each, with the first reason; long lists are cut when shown.
        items: Vec<String>,
        /// Patterns of [`ScanOptions::skip`](crate::source::ScanOptions::skip) that leave them out;
        /// none of a source that is no folder.
        skip: Vec<String>,
    },
    /// A folder whose folders are no classes.
    #[error("{}: {reason}{}", path.display(), instead(path, in_names.as_deref(), lists))]
    NoClassFolders {
        /// The folder.
        path: PathBuf,
        /// What it holds instead.
        reason: String,
        /// That file names look as if they began with the classes, if they do; see
        /// [`ScanOptions::class_in_name`](crate::source::ScanOptions::class_in_name).
        in_names: Option<String>,
        /// Files beside the images that may be lists of them, each with those of the same set.
        lists: Vec<Vec<PathBuf>>,
    },
    /// An image list of which it cannot be told which column holds what.
    #[error("{}: {reason}\n{}", path.display(), table(separator, columns, rows))]
    UnknownList {
        /// The image list.
        path: PathBuf,
        /// What cannot be told.
        reason: String,
        /// What separates its fields, as far as that can be told.
        separator: &'static str,
        /// Its columns' names.
        columns: Vec<String>,
        /// Its first rows.
        rows: Vec<Vec<String>>,
    },
    /// A dataset cannot be built as asked.
    #[error("cannot build the dataset: {0}")]
    Build(String),
    /// Images cannot be edited as asked.
    #[error("{0}")]
    Edit(String),
}

/// Failures of settings files and overrides.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum SettingsError {
    /// The file cannot be read or is not valid TOML, or holds a value of the wrong type.
    #[error("{}: {reason}", path.display())]
    File {
        /// The settings file.
        path: PathBuf,
        /// The parser's reason, with its line.
        #[source]
        reason: Reason,
    },
    /// No such key.
    #[error("unknown setting `{key}`{}", nearest.as_ref().map(|n| format!("; did you mean `{n}`?")).unwrap_or_default())]
    UnknownKey {
        /// The key as given.
        key: String,
        /// The closest key that exists.
        nearest: Option<String>,
    },
    /// A value has the wrong type or lies outside its range.
    #[error("setting `{key}`: {reason}")]
    Value {
        /// The key concerned.
        key: String,
        /// What is allowed.
        #[source]
        reason: Reason,
    },
}

/// Failures of run folders and checkpoints.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum RunError {
    /// A file of the run cannot be read or written, or is damaged.
    #[error("{}: {reason}", path.display())]
    File {
        /// The file concerned.
        path: PathBuf,
        /// The reason.
        #[source]
        reason: Reason,
    },
    /// The folder is not a run, or already is one.
    #[error("{}: {reason}", path.display())]
    Folder {
        /// The folder concerned.
        path: PathBuf,
        /// The reason.
        #[source]
        reason: Reason,
    },
    /// The checkpoint does not fit what it is loaded into.
    #[error("{}: {reason}", path.display())]
    Mismatch {
        /// The checkpoint file.
        path: PathBuf,
        /// Which tensor or setting differs.
        #[source]
        reason: Reason,
    },
}

/// Failures of training and balancing.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum TrainError {
    /// The loss or a weight turned NaN or infinite.
    #[error(
        "training diverged to {loss} in epoch {epoch}, step {step}, at learning rate {learning_rate:e}{}. Try a smaller learning rate",
        if *epoch > 1 { "; the last good checkpoint is kept" } else { "" }
    )]
    Diverged {
        /// The loss or weight, NaN or infinite.
        loss: f32,
        /// Epoch, from 1.
        epoch: usize,
        /// Step within the epoch, from 1.
        step: usize,
        /// The learning rate of that step.
        learning_rate: f64,
    },
    /// The device's memory does not hold what a step of stage 1 takes. The last checkpoint is kept.
    #[error("{}; {}", out_of_memory(*batch_size, *parts), smaller(*batch_size, *suggested))]
    OutOfMemory {
        /// Images a step, as set.
        batch_size: usize,
        /// The parts that each batch was computed in.
        parts: usize,
        /// A larger number of parts that may do; `None` if parts cannot be smaller.
        suggested: Option<usize>,
    },
    /// The request makes no sense for this dataset or these settings.
    #[error("{0}")]
    Request(String),
}

/// What [`TrainError::OutOfMemory`] says has happened, without what to do: for who offers that.
pub fn out_of_memory(batch_size: usize, parts: usize) -> String {
    let computed_in =
        if parts > 1 { format!(", computed in {parts} parts") } else { String::new() };
    format!("the device ran out of memory at batch size {batch_size}{computed_in}")
}

fn smaller(batch_size: usize, parts: Option<usize>) -> String {
    match parts {
        Some(parts) => format!(
            "resume the run with stage1.accumulation = {parts} to compute each batch in parts of {}: the result stays the same up to batch norm, \
             whose statistics are then of each part",
            batch_size.div_ceil(parts)
        ),
        None => "parts of a batch cannot be smaller; train a smaller network or with a smaller input size".into(),
    }
}

/// Failures of export and of running an exported model.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ModelError {
    /// The model file cannot be read, written or parsed.
    #[error("{}: {reason}", path.display())]
    File {
        /// The model file.
        path: PathBuf,
        /// The reason.
        #[source]
        reason: Reason,
    },
    /// The network could not be turned into ONNX.
    #[error("export failed: {0}")]
    Export(String),
    /// The exported file does not agree with the network it came from. The file has been removed.
    #[error("the exported model disagrees with the trained one and was removed: {0}")]
    Disagrees(String),
}

/// Failures of the feature cache.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum CacheError {
    /// A file or folder of the cache cannot be read or removed.
    #[error("{}: {reason}", path.display())]
    File {
        /// The file or folder concerned.
        path: PathBuf,
        /// The operating system's reason.
        #[source]
        reason: Reason,
    },
    /// What should be kept are not features.
    #[error("features cannot be kept: {0}")]
    Rows(String),
}

/// Failures of pretrained weights.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum WeightsError {
    /// A file of weights cannot be read or written, is damaged, or does not fit.
    #[error("{}: {reason}", path.display())]
    File {
        /// The file concerned.
        path: PathBuf,
        /// The reason.
        #[source]
        reason: Reason,
    },
    /// A file cannot be downloaded, or is not the one it should be.
    #[error("{address}: {reason}")]
    Download {
        /// The address.
        address: String,
        /// The reason.
        #[source]
        reason: Reason,
    },
}

impl DataError {
    /// A [`DataError::File`] from any displayable reason.
    pub fn file(path: impl AsRef<Path>, reason: impl Into<Reason>) -> Self {
        Self::File { path: path.as_ref().to_path_buf(), reason: reason.into() }
    }

    /// A [`DataError::Source`] from any displayable reason.
    pub fn source(path: impl AsRef<Path>, reason: impl Into<Reason>) -> Self {
        Self::Source { path: path.as_ref().to_path_buf(), reason: reason.into() }
    }
}

impl RunError {
    /// A [`RunError::File`] from any displayable reason.
    pub fn file(path: impl AsRef<Path>, reason: impl Into<Reason>) -> Self {
        Self::File { path: path.as_ref().to_path_buf(), reason: reason.into() }
    }
}

impl ModelError {
    /// A [`ModelError::File`] from any displayable reason.
    pub fn file(path: impl AsRef<Path>, reason: impl Into<Reason>) -> Self {
        Self::File { path: path.as_ref().to_path_buf(), reason: reason.into() }
    }
}

impl WeightsError {
    /// A [`WeightsError::File`] from any displayable reason.
    pub fn file(path: impl AsRef<Path>, reason: impl Into<Reason>) -> Self {
        Self::File { path: path.as_ref().to_path_buf(), reason: reason.into() }
    }
}

impl CacheError {
    /// A [`CacheError::File`] from any displayable reason.
    pub fn file(path: impl AsRef<Path>, reason: impl Into<Reason>) -> Self {
        Self::File { path: path.as_ref().to_path_buf(), reason: reason.into() }
    }
}

/// The first twenty items, one a line, and how many were left out.
fn list(items: &[String]) -> String {
    const SHOWN: usize = 20;
    let mut lines: Vec<String> = items.iter().take(SHOWN).map(|item| format!("  {item}")).collect();
    if items.len() > SHOWN {
        lines.push(format!("  … and {} more", items.len() - SHOWN));
    }
    lines.join("\n")
}

/// What can be given in place of a folder without classes, a line each.
fn instead(folder: &Path, in_names: Option<&str>, lists: &[Vec<PathBuf>]) -> String {
    let mut told = String::new();
    if let Some(found) = in_names {
        let _ = write!(told, "\n{found}; --class-in-name takes the classes from them");
    }
    let name = |list: &PathBuf| {
        let own = list.strip_prefix(folder).unwrap_or(list);
        format!("`{}`", own.to_string_lossy().replace('\\', "/"))
    };
    let names: Vec<String> = lists.iter().filter_map(|set| set.first()).map(name).collect();
    if !names.is_empty() {
        let _ = write!(
            told,
            "\nDoes {} say which image is of which class? Then give that file instead of the folder",
            names.join(" or ")
        );
    }
    if let Some(set) = lists.iter().find(|set| set.len() > 1) {
        let others: Vec<String> = set[1..].iter().map(name).collect();
        let _ = write!(told, ", and {} by --also", others.join(" and "));
    }
    told
}

/// The columns of an image list and its first rows, and how to say what they hold.
fn table(separator: &str, columns: &[String], rows: &[Vec<String>]) -> String {
    /// Columns and letters of each that are shown.
    const COLUMNS: usize = 12;
    const LETTERS: usize = 24;
    let cell = |text: &str| {
        let mut cell: String = text
            .chars()
            .take(LETTERS)
            .map(|c| if c.is_control() { char::REPLACEMENT_CHARACTER } else { c })
            .collect();
        if text.chars().count() > LETTERS {
            cell.push('…');
        }
        cell
    };
    let line = |cells: &mut dyn Iterator<Item = String>| {
        let mut cells: Vec<String> = cells.take(COLUMNS + 1).collect();
        if cells.len() > COLUMNS {
            cells[COLUMNS] = "…".into();
        }
        cells.join(" | ")
    };
    let numbered = columns.iter().enumerate().map(|(i, name)| format!("{} {}", i + 1, cell(name)));
    let mut text =
        format!("columns, separated by {separator}: {}\nfirst rows:\n", line(&mut { numbered }));
    for row in rows {
        text += &format!("  {}\n", line(&mut row.iter().map(|field| cell(field))));
    }
    text + "say which columns hold the path and the label, by name or number (--path-column, --label-column)"
}
