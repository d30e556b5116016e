//! Which images are to be classified.

use std::collections::HashSet;
use std::path::{Path, PathBuf};

use crate::error::{DataError, Result};
use crate::job::Job;
use crate::source::{Problem, images_below};

/// Image files to classify, and what among the places named is none.
#[derive(Clone, Debug, Default)]
pub struct Inputs {
    /// Files, in the order in which they were named; those of a folder sorted by name. What a folder
    /// or a pattern finds that is among them already is left out.
    pub files: Vec<PathBuf>,
    /// What cannot be read, with the reason.
    pub problems: Vec<Problem>,
}

impl Inputs {
    /// The images that `places` stand for: a file itself, whatever its name; a folder, the images
    /// below it; and a pattern (`new/**/*.jpg`) that is the name of nothing, what it fits.
    ///
    /// # Errors
    /// [`crate::Error::Stopped`], and [`DataError`] for a pattern that is none, or that nothing
    /// fits.
    pub fn find(places: &[PathBuf], job: Job<'_>) -> Result<Self> {
        let mut inputs = Self::default();
        let mut seen = HashSet::new();
        for place in places {
            let found = match (place.is_dir(), pattern(place)) {
                (true, _) => inputs.below(place, job)?,
                (false, Some(pattern)) => inputs.fitting(place, pattern, job)?,
                (false, None) => {
                    // Who names a file gets an answer for it, each time. One that is not there is
                    // told when it is to be read.
                    seen.insert(place.clone());
                    inputs.files.push(place.clone());
                    continue;
                }
            };
            inputs.files.extend(found.into_iter().filter(|file| seen.insert(file.clone())));
        }
        Ok(inputs)
    }

    fn below(&mut self, folder: &Path, job: Job<'_>) -> Result<Vec<PathBuf>> {
        let (files, problems) = images_below(folder, job)?;
        self.problems.extend(problems);
        Ok(files)
    }

    fn fitting(&mut self, place: &Path, pattern: &str, job: Job<'_>) -> Result<Vec<PathBuf>> {
        let paths = glob::glob(pattern)
            .map_err(|error| DataError::source(place, format!("is no pattern: {error}")))?;
        let mut found = Vec::new();
        for path in paths {
            job.check()?;
            match path {
                Ok(path) if path.is_dir() => found.extend(self.below(&path, job)?),
                Ok(path) => found.push(path),
                Err(error) => self.problems.push(Problem {
                    path: error.path().to_path_buf(),
                    reason: error.error().to_string(),
                }),
            }
        }
        match found.is_empty() {
            true => Err(DataError::source(place, "fits no file").into()),
            false => Ok(found),
        }
    }
}

/// The name as a pattern, if it may be one and is not that of a file.
fn pattern(place: &Path) -> Option<&str> {
    let text = place.to_str()?;
    (text.contains(['*', '?', '[']) && place.symlink_metadata().is_err()).then_some(text)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::job::{Control, Silent};

    #[test]
    fn files_folders_and_patterns_give_their_images() {
        let folder = tempfile::tempdir().unwrap();
        let root = folder.path();
        std::fs::create_dir_all(root.join("a/b")).unwrap();
        for name in ["a/2.png", "a/10.jpg", "a/b/1.png", "a/notes.txt", "odd[1].png", "plain"] {
            std::fs::write(root.join(name), b"").unwrap();
        }
        let control = Control::new();
        let find = |places: &[&str]| {
            let places: Vec<PathBuf> = places.iter().map(|place| root.join(place)).collect();
            Inputs::find(&places, Job::new(&control, &Silent)).map(|inputs| {
                let name = |file: &PathBuf| {
                    file.strip_prefix(root).unwrap().to_str().unwrap().replace('\\', "/")
                };
                inputs.files.iter().map(name).collect::<Vec<_>>()
            })
        };
        assert_eq!(find(&["a"]).unwrap(), ["a/10.jpg", "a/2.png", "a/b/1.png"]);
        assert_eq!(find(&["a/2.png", "a/**/*.png"]).unwrap(), ["a/2.png", "a/b/1.png"]);
        assert_eq!(find(&["a/2.png", "a/2.png"]).unwrap(), ["a/2.png"; 2]);
        // A file is one whatever its name looks like, and one that is missing is told later.
        let named = ["odd[1].png", "plain", "a/notes.txt", "gone.png"];
        assert_eq!(find(&named).unwrap(), named);
        assert!(find(&["a/*.gif"]).unwrap_err().to_string().contains("fits no file"));
        assert!(find(&["a/***"]).is_err());
        control.stop();
        assert!(matches!(find(&["a/*.png"]), Err(crate::Error::Stopped)));
    }
}
