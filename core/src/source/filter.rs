//! Which files of a source are read, by patterns of their paths.

use std::path::Path;

use glob::{MatchOptions, Pattern};

use crate::error::{Result, SettingsError};

/// Patterns of files to read and of files to leave out.
#[derive(Debug, Default)]
pub(super) struct FileFilter {
    only: Vec<Pattern>,
    skip: Vec<Pattern>,
}

impl FileFilter {
    /// Reads patterns. Each is an ending (`png`) or a glob over the path below the source, in which
    /// `*` stands for anything, folders included (`*.png`, `masks/*`, `*_mask.*`).
    ///
    /// # Errors
    /// [`SettingsError::Value`] for what is no pattern.
    pub fn of(only: &[String], skip: &[String]) -> Result<Self> {
        Ok(Self { only: patterns("only", only)?, skip: patterns("skip", skip)? })
    }

    /// Whether a file is to be read, by its path below the source.
    pub fn takes(&self, path: &Path) -> bool {
        let options = MatchOptions {
            case_sensitive: false,
            require_literal_separator: false,
            require_literal_leading_dot: false,
        };
        let text = path.to_string_lossy();
        let fits = |patterns: &[Pattern]| {
            patterns.iter().any(|pattern| pattern.matches_with(&text, options))
        };
        (self.only.is_empty() || fits(&self.only)) && !fits(&self.skip)
    }
}

fn patterns(key: &str, texts: &[String]) -> Result<Vec<Pattern>> {
    let one = |text: &String| {
        let text = text.trim();
        let is_ending = text.chars().all(char::is_alphanumeric) && !text.is_empty();
        let glob = match text.strip_prefix('.') {
            _ if is_ending => format!("*.{text}"),
            Some(ending) if !ending.is_empty() && ending.chars().all(char::is_alphanumeric) => {
                format!("*.{ending}")
            }
            _ => text.replace('\\', "/"),
        };
        let fail = |reason: String| SettingsError::Value {
            key: format!("--{key}"),
            reason: format!("`{text}` is no ending and no pattern of files: {reason}").into(),
        };
        match glob.is_empty() {
            true => Err(fail("it is empty".into()).into()),
            false => Pattern::new(&glob).map_err(|reason| fail(reason.msg.into()).into()),
        }
    };
    texts.iter().map(one).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn filter(only: &[&str], skip: &[&str]) -> Result<FileFilter> {
        let owned = |texts: &[&str]| texts.iter().map(ToString::to_string).collect::<Vec<_>>();
        FileFilter::of(&owned(only), &owned(skip))
    }

    #[test]
    fn endings_and_patterns_are_told_apart() {
        let takes = |only: &[&str], skip: &[&str], path: &str| {
            filter(only, skip).unwrap().takes(Path::new(path))
        };
        assert!(takes(&[], &[], "cat/1.png"));
        assert!(takes(&["jpg", ".png"], &[], "cat/1.PNG"));
        assert!(!takes(&["jpg"], &[], "cat/1.png") && !takes(&["jpg"], &[], "cat/jpg"));
        assert!(!takes(&[], &["*.png"], "cat/deep/1.png") && takes(&[], &["*.png"], "a.png/1.jpg"));
        assert!(!takes(&[], &["*_mask.*"], "cat/1_mask.jpg"));
        assert!(
            !takes(&[], &["masks/*"], "masks/cat/1.jpg")
                && takes(&[], &["masks/*"], "cat/masks.jpg")
        );
        assert!(!takes(&["jpg"], &["cat/*"], "cat/1.jpg"));
    }

    #[test]
    fn what_is_no_pattern_is_refused() {
        for wrong in ["", " ", "[a", "a**b"] {
            let error = filter(&[], &[wrong]).unwrap_err().to_string();
            assert!(error.contains("--skip"), "{error}");
        }
    }
}
