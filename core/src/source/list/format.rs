//! How an image list is to be read, as far as a person says so.

use std::path::PathBuf;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

/// What stands between the fields of a line.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Separator {
    /// `,`
    Comma,
    /// `;`, as spreadsheets write it where the comma stands in numbers.
    Semicolon,
    /// A tab.
    Tab,
    /// `|`
    Bar,
    /// Spaces, as many as there are.
    Blanks,
}

impl Separator {
    /// All of them, in the order in which they are tried.
    pub const ALL: [Separator; 5] =
        [Separator::Tab, Separator::Semicolon, Separator::Comma, Separator::Bar, Separator::Blanks];

    /// Its name: `comma`, `semicolon`, `tab`, `bar` or `blanks`.
    pub fn name(self) -> &'static str {
        match self {
            Separator::Comma => "comma",
            Separator::Semicolon => "semicolon",
            Separator::Tab => "tab",
            Separator::Bar => "bar",
            Separator::Blanks => "blanks",
        }
    }

    /// The byte it is; blanks are no single one.
    pub(super) fn byte(self) -> Option<u8> {
        match self {
            Separator::Comma => Some(b','),
            Separator::Semicolon => Some(b';'),
            Separator::Tab => Some(b'\t'),
            Separator::Bar => Some(b'|'),
            Separator::Blanks => None,
        }
    }
}

impl FromStr for Separator {
    type Err = String;

    /// Reads a name, or the character itself; `\t` is a tab, too.
    fn from_str(text: &str) -> Result<Self, String> {
        match text {
            "," => Ok(Separator::Comma),
            ";" => Ok(Separator::Semicolon),
            "\t" | "\\t" => Ok(Separator::Tab),
            "|" => Ok(Separator::Bar),
            " " | "space" | "blank" => Ok(Separator::Blanks),
            name => Separator::ALL
                .into_iter()
                .find(|separator| separator.name() == name)
                .ok_or_else(|| "expected comma, semicolon, tab, bar or blanks".to_string()),
        }
    }
}

/// What a person says of an image list's columns. Whatever is left out is found out.
///
/// A column is given by its name in the header, in any case, or by its number from 1.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct ListFormat {
    /// What separates the fields.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub separator: Option<Separator>,
    /// Whether the first line names the columns.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub header: Option<bool>,
    /// The column of paths.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub path: Option<String>,
    /// The column of labels; several with commas between them, which hold a 1 where an image is of
    /// the class that the column is named after; or `folder`, where the path's class folder is the
    /// label.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub label: Option<String>,
    /// The column of splits, or `none`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub split: Option<String>,
    /// The column of groups, images of which belong together; or `none`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub group: Option<String>,
    /// A text file with the names of classes whose labels are numbers: a name a line, the first
    /// that of class 0, or lines of a number and a name.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub class_names: Option<PathBuf>,
}

/// The label is the class folder that the path names.
pub(super) const FOLDER: &str = "folder";
/// There is no such column.
pub(super) const NONE: &str = "none";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_separator_is_named_or_given() {
        for separator in Separator::ALL {
            assert_eq!(separator.name().parse(), Ok(separator));
        }
        assert_eq!("\\t".parse(), Ok(Separator::Tab));
        assert_eq!(";".parse(), Ok(Separator::Semicolon));
        assert!("colon".parse::<Separator>().unwrap_err().contains("semicolon, tab"));
    }
}
