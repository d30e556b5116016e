//! Labels that a person gives to images which a run's dataset does not have.

use std::collections::HashMap;
use std::path::{Path, PathBuf};

use crate::error::{ModelError, Result};
use crate::files;

/// The file in a run's folder that holds them: an image list, so that `grow` takes it as it is.
pub const LABELLED: &str = "labelled.csv";
/// Bytes of such a file at most: some millions of images.
const MOST: u64 = 1 << 30;

/// Labels of images that a run may grow by, in the order in which they were given. They are kept in
/// the run's folder, under the name [`LABELLED`], and stay there when the run is deleted.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Labelled {
    file: PathBuf,
    labels: Vec<(PathBuf, String)>,
    places: HashMap<PathBuf, usize>,
}

impl Labelled {
    /// The labels that lie in a run's folder; none if there is no such file.
    ///
    /// # Errors
    /// [`ModelError::File`] if the file cannot be read or is no list of paths and labels.
    pub fn open(run: &Path) -> Result<Self> {
        let file = run.join(LABELLED);
        let mut found = Self { file, ..Self::default() };
        if found.file.symlink_metadata().is_err() {
            return Ok(found);
        }
        let fail = |reason: String| ModelError::file(&found.file, reason);
        let text = files::read_text(&found.file, MOST).map_err(|error| fail(error.to_string()))?;
        let mut labels = Vec::new();
        for row in csv::Reader::from_reader(text.as_bytes()).records() {
            let row = row.map_err(|error| fail(error.to_string()))?;
            match (row.get(0), row.get(1)) {
                (Some(path), Some(label)) if !path.is_empty() && !label.is_empty() => {
                    labels.push((PathBuf::from(path), label.to_string()));
                }
                _ => return Err(fail("has a row without a path or a label".into()).into()),
            }
        }
        labels.into_iter().for_each(|(path, label)| found.set(&path, &label));
        Ok(found)
    }

    /// Gives an image a label, in place of the one it may have.
    pub fn set(&mut self, image: &Path, label: &str) {
        match self.places.get(image) {
            Some(&place) => self.labels[place].1 = label.to_string(),
            None => {
                self.places.insert(image.to_path_buf(), self.labels.len());
                self.labels.push((image.to_path_buf(), label.to_string()));
            }
        }
    }

    /// Takes the label of an image back.
    pub fn take_back(&mut self, image: &Path) {
        let Some(place) = self.places.remove(image) else { return };
        self.labels.remove(place);
        self.places.values_mut().filter(|later| **later > place).for_each(|later| *later -= 1);
    }

    /// The label of an image, if it has one.
    pub fn get(&self, image: &Path) -> Option<&str> {
        self.places.get(image).map(|&place| self.labels[place].1.as_str())
    }

    /// All images with their labels.
    pub fn all(&self) -> &[(PathBuf, String)] {
        &self.labels
    }

    /// How many images have a label.
    pub fn len(&self) -> usize {
        self.labels.len()
    }

    /// Whether none has.
    pub fn is_empty(&self) -> bool {
        self.labels.is_empty()
    }

    /// The file that holds them.
    pub fn file(&self) -> &Path {
        &self.file
    }

    /// Writes them down, or removes the file where there are none.
    ///
    /// # Errors
    /// [`ModelError::File`] if that cannot be done.
    pub fn save(&self) -> Result<()> {
        if self.is_empty() {
            return match std::fs::remove_file(&self.file) {
                Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
                    Err(ModelError::file(&self.file, error).into())
                }
                _ => Ok(()),
            };
        }
        files::write_table(&self.file, |table| {
            table.write_record(["path", "label"])?;
            for (path, label) in &self.labels {
                table.write_record([&*path.to_string_lossy(), label])?;
            }
            Ok(())
        })
        .map_err(|error| ModelError::file(&self.file, error).into())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn labels_are_changed_taken_back_and_kept() {
        let folder = tempfile::tempdir().unwrap();
        let mut labels = Labelled::open(folder.path()).unwrap();
        assert!(labels.is_empty());
        for (image, label) in [("a.png", "lynx"), ("b.png", "deer, red"), ("c.png", "lynx")] {
            labels.set(Path::new(image), label);
        }
        labels.set(Path::new("a.png"), "deer, red");
        labels.take_back(Path::new("b.png"));
        labels.take_back(Path::new("never.png"));
        assert_eq!(labels.get(Path::new("c.png")), Some("lynx"));
        assert_eq!(labels.get(Path::new("b.png")), None);
        labels.save().unwrap();
        let again = Labelled::open(folder.path()).unwrap();
        assert_eq!(again, labels);
        assert_eq!(again.all()[0], (PathBuf::from("a.png"), "deer, red".to_string()));
        labels.take_back(Path::new("a.png"));
        labels.take_back(Path::new("c.png"));
        labels.save().unwrap();
        labels.save().unwrap();
        assert!(!folder.path().join(LABELLED).exists());
    }

    #[test]
    fn a_file_that_is_no_such_list_is_refused_by_name() {
        let folder = tempfile::tempdir().unwrap();
        for text in ["path,label\n,lynx\n", "path\na.png\n", "path,label\na.png,x\na,b,c\n"] {
            std::fs::write(folder.path().join(LABELLED), text).unwrap();
            let error = Labelled::open(folder.path()).unwrap_err().to_string();
            assert!(error.contains(LABELLED), "{error}");
        }
        std::fs::remove_file(folder.path().join(LABELLED)).unwrap();
        std::fs::create_dir(folder.path().join(LABELLED)).unwrap();
        assert!(Labelled::open(folder.path()).is_err());
    }
}
