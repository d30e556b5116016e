//! Other ways to open what could not be opened as it is.

use std::path::{Path, PathBuf};

use counterweight_core::Error;
use counterweight_core::error::DataError;
use counterweight_core::source::ScanOptions;

/// Another way in which something can be opened that could not be opened as it is.
pub struct OtherWay {
    /// Why it may be one, if that is not plain.
    pub why: Option<String>,
    /// What the button says.
    pub button: String,
    /// What to open.
    pub path: PathBuf,
    /// How.
    pub scan: ScanOptions,
}

/// Why something could not be opened, as the window says it: what is said of options there, buttons say
/// here.
pub fn reason_of(error: &Error) -> String {
    match error {
        Error::Data(DataError::NoClassFolders { path, reason, .. }) => {
            format!("{}: {reason}", path.display())
        }
        other => other.to_string(),
    }
}

impl OtherWay {
    /// All of them, by why `path` could not be opened with `scan`.
    pub fn all(error: &DataError, path: &Path, scan: &ScanOptions) -> Vec<Self> {
        let way = |why: Option<String>, button: &str, scan: ScanOptions| Self {
            why,
            button: button.into(),
            path: path.to_path_buf(),
            scan,
        };
        match error {
            DataError::EmptyClasses { skip, .. } if !skip.is_empty() => {
                let skip = [&scan.skip[..], skip].concat();
                vec![way(None, "Leave these classes out", ScanOptions { skip, ..scan.clone() })]
            }
            DataError::NoClassFolders { in_names, lists, .. } => {
                let by_names = in_names.as_ref().map(|found| {
                    let scan = ScanOptions { class_in_name: true, ..scan.clone() };
                    way(Some(format!("{found}.")), "Take classes from file names", scan)
                });
                let lists = lists.iter().filter_map(|set| {
                    let (list, others) = set.split_first()?;
                    let name = list.file_name()?.to_string_lossy();
                    let lists = others.to_vec();
                    Some(Self {
                        why: None,
                        button: match lists.len() {
                            0 => format!("Open {name}"),
                            others => format!("Open {name} and {others} more"),
                        },
                        path: list.clone(),
                        scan: ScanOptions { lists, ..ScanOptions::default() },
                    })
                });
                by_names.into_iter().chain(lists).collect()
            }
            _ => Vec::new(),
        }
    }
}
