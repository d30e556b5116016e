//! How a source is read: options that every subcommand takes that reads one.

use std::fmt::Write as _;
use std::path::{Path, PathBuf};

use counterweight_core::source::{ListFormat, ScanOptions, Separator};

use super::train::quoted;

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
    /// A file with the names of classes that are numbers in the list: one name a line, a number and a
    /// name, or JSON
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
    /// Take the class of each image in a folder from what its file name begins with
    /// (Abyssinian_12.jpg, cat.0.jpg), whatever folder it lies in
    #[arg(long)]
    class_in_name: bool,
}

impl SourceOption {
    /// These options as they can be pasted into a shell behind the source, each with a blank before
    /// it.
    pub fn typed(&self) -> String {
        let mut text = String::new();
        let mut add = |name: &str, value: &Path| {
            let _ = write!(text, " --{name} {}", quoted(value));
        };
        let columns = [
            ("path-column", &self.path_column),
            ("label-column", &self.label_column),
            ("split-column", &self.split_column),
            ("group-column", &self.group_column),
        ];
        self.root.iter().for_each(|root| add("root", root));
        self.also.iter().for_each(|list| add("also", list));
        self.separator.iter().for_each(|by| add("separator", Path::new(by.name())));
        for (name, column) in columns {
            column.iter().for_each(|column| add(name, Path::new(column)));
        }
        self.class_names.iter().for_each(|file| add("class-names", file));
        for (name, patterns) in [("only", &self.only), ("skip", &self.skip)] {
            if !patterns.is_empty() {
                add(name, Path::new(&patterns.join(",")));
            }
        }
        if self.class_in_name {
            text.push_str(" --class-in-name");
        }
        text
    }

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
            class_in_name: self.class_in_name,
            ..ScanOptions::default()
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::Parser;

    #[derive(clap::Parser)]
    struct Reading {
        #[command(flatten)]
        reading: SourceOption,
    }

    #[test]
    fn options_are_typed_as_they_were_given() {
        let typed = " --root 'my photos' --also val.csv --separator semicolon --path-column file --label-column 'common name' --split-column none --group-column 3 --class-names names.txt --only 'jpg,png' --skip '*_mask.*' --class-in-name";
        let words = [
            "",
            "--root",
            "my photos",
            "--also",
            "val.csv",
            "--separator",
            "semicolon",
            "--path-column",
            "file",
            "--label-column",
            "common name",
            "--split-column",
            "none",
            "--group-column",
            "3",
            "--class-names",
            "names.txt",
            "--only",
            "jpg",
            "--only",
            "png",
            "--skip",
            "*_mask.*",
            "--class-in-name",
        ];
        assert_eq!(Reading::parse_from(words).reading.typed(), typed);
        assert_eq!(SourceOption::default().typed(), "");
    }
}
