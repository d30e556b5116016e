//! Ways of finding out which images belong together.

use std::fmt;
use std::str::FromStr;

use regex::{Regex, RegexBuilder};
use serde::{Deserialize, Serialize};

use crate::error::{DataError, Result};

/// Seconds between two photos of one camera that belong together, unless told otherwise.
pub const DEFAULT_SECONDS: u64 = 60;

/// Bits of 64 in which the looks of two images that belong together differ, unless told otherwise.
pub const DEFAULT_DISTANCE: u32 = 8;

/// Beyond this, images that have nothing to do with each other look alike.
const LARGEST_DISTANCE: u32 = 16;

/// Bytes that a regular expression may take once it is compiled.
const LARGEST_EXPRESSION: usize = 1 << 20;

/// What makes images belong together, so that they are kept in one split: frames of a track, photos
/// of one animal, slices of one patient.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(tag = "by", rename_all = "kebab-case", deny_unknown_fields)]
pub enum GroupBy {
    /// The folder they lie in below their class.
    Subfolder,
    /// The folder above that of their class, whatever that is: photos of a place or day that lie in a
    /// folder for each species, which alone names the class.
    FolderAbove,
    /// Their file names.
    Name {
        /// A regular expression, looked for in the path below the source with `/` between its
        /// parts, without the folder of its split: images for which its groups in parentheses
        /// match the same text belong together, of whatever class; those it does not match are
        /// alone. Without one, images of a class and folder belong together whose names are the
        /// same up to the last number in them.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        pattern: Option<String>,
    },
    /// The time and camera in their EXIF data.
    Time {
        /// Two photos of a camera at most so many seconds apart belong together.
        seconds: u64,
    },
    /// Their pixels: images of one class that are nearly the same.
    LookAlikes {
        /// Two images belong together that differ in at most so many of 64 bits; neighbours in the
        /// order of names in twice as many.
        distance: u32,
    },
    /// The name that an image list gives their group.
    List,
}

impl GroupBy {
    /// The ways that need nothing to be said, in the order they are offered.
    pub const USUAL: [GroupBy; 4] = [
        GroupBy::Subfolder,
        GroupBy::Name { pattern: None },
        GroupBy::Time { seconds: DEFAULT_SECONDS },
        GroupBy::LookAlikes { distance: DEFAULT_DISTANCE },
    ];

    /// What is the same for images that belong together, in a few words.
    pub fn words(&self) -> String {
        match self {
            GroupBy::Subfolder => "the same subfolder".into(),
            GroupBy::FolderAbove => "the same folder above that of the class".into(),
            GroupBy::Name { pattern: None } => "the same name up to the last number".into(),
            GroupBy::Name { pattern: Some(pattern) } => {
                format!("the same part of the name, {pattern}")
            }
            GroupBy::Time { seconds } => format!("one camera within {seconds} seconds"),
            GroupBy::LookAlikes { .. } => "nearly the same picture".into(),
            GroupBy::List => "the same group in the image list".into(),
        }
    }

    /// Checks the parameters.
    ///
    /// # Errors
    /// [`DataError::Build`] for a regular expression that is none or has no group in parentheses,
    /// and for numbers out of range.
    pub fn validate(&self) -> Result<()> {
        let reason = match self {
            GroupBy::Name { pattern: Some(pattern) } => return expression(pattern).map(drop),
            GroupBy::LookAlikes { distance } if *distance > LARGEST_DISTANCE => {
                format!(
                    "look-alikes differ in at most {LARGEST_DISTANCE} of 64 bits, not {distance}"
                )
            }
            GroupBy::Time { seconds } if i64::try_from(*seconds).is_err() => {
                "the seconds between photos must be below 2^63".into()
            }
            _ => return Ok(()),
        };
        Err(DataError::Build(reason).into())
    }
}

/// A pattern as a regular expression.
pub(super) fn expression(pattern: &str) -> Result<Regex> {
    let wrong = |reason: String| DataError::Build(format!("the pattern `{pattern}` {reason}"));
    let expression =
        RegexBuilder::new(pattern).size_limit(LARGEST_EXPRESSION).build().map_err(|error| {
            let text = error.to_string();
            // The first lines draw the pattern.
            let last = text.lines().last().unwrap_or_default().trim_start_matches("error: ");
            wrong(format!("is no regular expression: {last}"))
        })?;
    if expression.captures_len() < 2 {
        return Err(wrong(
            "has no group in parentheses; put those around the part that is the same for images that belong together".into(),
        )
        .into());
    }
    Ok(expression)
}

impl fmt::Display for GroupBy {
    /// As [`GroupBy::from_str`] reads it.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            GroupBy::Subfolder => f.write_str("subfolder"),
            GroupBy::FolderAbove => f.write_str("folder-above"),
            GroupBy::Name { pattern: None } => f.write_str("name"),
            GroupBy::Name { pattern: Some(pattern) } => write!(f, "name:{pattern}"),
            GroupBy::Time { seconds: DEFAULT_SECONDS } => f.write_str("time"),
            GroupBy::Time { seconds } => write!(f, "time:{seconds}"),
            GroupBy::LookAlikes { distance: DEFAULT_DISTANCE } => f.write_str("look-alikes"),
            GroupBy::LookAlikes { distance } => write!(f, "look-alikes:{distance}"),
            GroupBy::List => f.write_str("list"),
        }
    }
}

impl FromStr for GroupBy {
    type Err = String;

    /// Reads `subfolder`, `folder-above`, `name`, `name:REGEX`, `time`, `time:SECONDS`, `look-alikes`,
    /// `look-alikes:BITS` and `list`.
    fn from_str(text: &str) -> Result<Self, String> {
        let (way, value) = match text.split_once(':') {
            Some((way, value)) => (way, Some(value)),
            None => (text, None),
        };
        let by = match (way, value) {
            ("subfolder", None) => GroupBy::Subfolder,
            ("folder-above", None) => GroupBy::FolderAbove,
            ("list", None) => GroupBy::List,
            ("name", pattern) => GroupBy::Name { pattern: pattern.map(String::from) },
            ("time", None) => GroupBy::Time { seconds: DEFAULT_SECONDS },
            ("time", Some(seconds)) => GroupBy::Time {
                seconds: seconds
                    .parse()
                    .map_err(|_| format!("`{seconds}` is no number of seconds"))?,
            },
            ("look-alikes", None) => GroupBy::LookAlikes { distance: DEFAULT_DISTANCE },
            ("look-alikes", Some(bits)) => GroupBy::LookAlikes {
                distance: bits.parse().map_err(|_| format!("`{bits}` is no number of bits"))?,
            },
            _ => {
                return Err(
                    "expected subfolder, folder-above, name, name:REGEX, time, time:SECONDS, look-alikes, look-alikes:BITS or list"
                        .into(),
                );
            }
        };
        by.validate().map_err(|error| error.to_string())?;
        Ok(by)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ways_are_read_as_they_are_written() {
        let ways = [
            "subfolder",
            "folder-above",
            "name",
            r"name:^(\d+)_a:b",
            "time",
            "time:0",
            "look-alikes",
            "look-alikes:3",
            "list",
        ];
        for text in ways {
            let way: GroupBy = text.parse().unwrap();
            assert_eq!(way.to_string(), text);
            let toml = toml::to_string(&way).unwrap();
            assert_eq!(toml::from_str::<GroupBy>(&toml).unwrap(), way, "{toml}");
        }
        for usual in GroupBy::USUAL {
            assert_eq!(usual.to_string().parse::<GroupBy>().unwrap(), usual);
        }
    }

    #[test]
    fn what_makes_no_sense_is_refused_with_the_reason() {
        for (text, reason) in [
            ("folder", "expected subfolder"),
            ("name:", "no group in parentheses"),
            (r"name:\d+", "no group in parentheses"),
            ("name:(a", "unclosed group"),
            (r"name:((((((\w{100}){100}){100}){100}){100}){100})", "no regular expression"),
            ("time:soon", "`soon` is no number of seconds"),
            ("time:18446744073709551615", "below 2^63"),
            ("look-alikes:-1", "`-1` is no number of bits"),
            ("look-alikes:33", "at most 16 of 64 bits"),
            ("list:track", "expected subfolder"),
        ] {
            let error = text.parse::<GroupBy>().unwrap_err();
            assert!(error.contains(reason), "{text}: {error}");
        }
    }
}
