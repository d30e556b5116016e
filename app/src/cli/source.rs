//! How a source is read: options that every subcommand takes that reads one.

use std::path::PathBuf;

use counterweight_core::source::{ListFormat, ScanOptions, Separator};

/// What is to be said of a source besides its name. For image folders nothing is needed, and for
/// image lists only what does not follow from their first lines.
#[derive(Clone, Debug, Default, clap::Args)]
#[command(next_help_heading = "How the source is read")]
pub struct SourceOption {
    /// What the paths of an image list are relative to [default: the list's folder]
    #[arg(long, value_name = "DIR")]
    root: Option<PathBuf>,
    /// A further image list of the same data set, such as its validation or test list; may be given
    /// several times
    #[arg(long, value_name = "FILE")]
    also: Vec<PathBuf>,
    /// What separates the columns of an image list: comma, semicolon, tab, bar or blanks [default:
    /// found out]
    #[arg(long, value_name = "SEPARATOR")]
    separator: Option<Separator>,
    /// The column of an image list that holds the paths, by its name or its number from 1 [default:
    /// found out, as the columns below]
    #[arg(long, value_name = "COLUMN")]
    path_column: Option<String>,
    /// The column that holds the labels; several with commas between them, each a class that holds
    /// a 1 for its images; or `folder` for the class folder in the path
    #[arg(long, value_name = "COLUMN")]
    label_column: Option<String>,
    /// The column that says train, validation or test; or `none`
    #[arg(long, value_name = "COLUMN")]
    split_column: Option<String>,
    /// The column that says which images belong together, such as those of one track or patient; or
    /// `none`
    #[arg(long, value_name = "COLUMN")]
    group_column: Option<String>,
    /// A text file with the names of classes that are numbers in the list: one name a line, or a
    /// number and a name
    #[arg(long, value_name = "FILE")]
    class_names: Option<PathBuf>,
    /// Read only files with these endings (jpg,png) or patterns of their paths ('photos/*'); may be
    /// given several times
    #[arg(long, value_name = "PATTERN,…", value_delimiter = ',')]
    only: Vec<String>,
    /// Leave out files with these endings or patterns, for example '*_mask.*'; may be given several
    /// times
    #[arg(long, value_name = "PATTERN,…", value_delimiter = ',')]
    skip: Vec<String>,
}

impl SourceOption {
    /// What a scan is asked for.
    pub fn scan_options(&self) -> ScanOptions {
        ScanOptions {
            root: self.root.clone(),
            lists: self.also.clone(),
            list: ListFormat {
                separator: self.separator,
                header: None,
                path: self.path_column.clone(),
                label: self.label_column.clone(),
                split: self.split_column.clone(),
                group: self.group_column.clone(),
                class_names: self.class_names.clone(),
            },
            only: self.only.clone(),
            skip: self.skip.clone(),
            ..ScanOptions::default()
        }
    }
}
