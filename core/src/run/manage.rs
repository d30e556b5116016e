//! Renaming and deleting runs.

use std::io::ErrorKind;
use std::path::{Path, PathBuf};

use super::{
    BACKBONE, CHECKPOINTS, DATASET, FEATURES, IN_TURN, LOCK, LOG, METRICS, METRICS_CSV, NORMS,
    OLD_LOG, RESULTS, Run, RunLock, SETTINGS, lock,
};
use crate::error::{Result, RunError};
use crate::files::{self, is_temporary};
use crate::source::Split;

/// Gives a run's folder another name beside where it is, and returns its new path.
///
/// # Errors
/// [`RunError::Folder`] if it is no run, another program is working on it, the name is empty or no
/// plain name, or something of that name is there already; [`RunError::File`] if the system does
/// not rename it.
pub fn rename(folder: &Path, new_name: &str) -> Result<PathBuf> {
    let refuse = |reason: String| {
        Err(RunError::Folder { path: folder.to_path_buf(), reason: reason.into() }.into())
    };
    refuse_no_run(folder)?;
    let name = new_name.trim();
    if name.is_empty() {
        return refuse("a run needs a name".into());
    }
    let mut parts = Path::new(name).components();
    let plain =
        matches!((parts.next(), parts.next()), (Some(std::path::Component::Normal(_)), None));
    if !plain || name.contains(['/', '\\', '\0']) {
        return refuse(format!(
            "`{name}` cannot be a run's name; use a plain name without slashes"
        ));
    }
    let absolute = std::path::absolute(folder).map_err(|e| RunError::file(folder, e))?;
    let Some(parent) = absolute.parent() else {
        return refuse("this folder cannot be renamed".into());
    };
    let target = parent.join(name);
    if target == absolute {
        return Ok(target);
    }
    // Where case does not matter, a name that differs in case alone is there already and still is
    // free.
    let same = || {
        target.canonicalize().ok().zip(absolute.canonicalize().ok()).is_some_and(|(a, b)| a == b)
    };
    if target.symlink_metadata().is_ok() && !same() {
        return refuse(format!(
            "there already is something named `{name}` beside it; choose another name"
        ));
    }
    // The lock is given back at once: some systems do not rename a folder with an open file in it.
    drop(lock(folder)?);
    std::fs::rename(&absolute, &target).map_err(|e| RunError::file(folder, e))?;
    Ok(target)
}

/// Deletes a run: the files that this program writes into a run's folder, and then the folder. What
/// else somebody has put there is kept.
///
/// # Errors
/// [`RunError::Folder`] if it is no run or another program is working on it, in which case nothing
/// is deleted, and if the folder is kept because of what else it holds, which the error names;
/// [`RunError::File`] for a file that cannot be deleted.
pub fn delete(folder: &Path) -> Result<()> {
    refuse_no_run(folder)?;
    let held = lock(folder)?;
    for (part, names) in owned() {
        for name in names {
            remove_file(&folder.join(part).join(name))?;
        }
        if !part.is_empty() {
            // One that holds anything else is not empty, stays, and is named below.
            drop(files::remove_empty_folder(&folder.join(part)));
        }
    }
    drop(held);
    remove_file(&folder.join(LOCK))?;
    let Err(error) = files::remove_empty_folder(folder) else { return Ok(()) };
    let kept = rest(folder);
    let reason = match kept.is_empty() {
        true => format!("the run was deleted, its empty folder could not be: {error}"),
        false => format!("the run was deleted; kept was what is not its own: {}", kept.join(", ")),
    };
    Err(RunError::Folder { path: folder.to_path_buf(), reason: reason.into() }.into())
}

/// The folder that a finished run is going to be put in. It is held, so that no other program puts
/// or makes one there in the meantime.
#[derive(Debug)]
pub struct Place {
    folder: PathBuf,
    lock: Option<RunLock>,
}

impl Place {
    /// Holds a folder, which is made if it is not there.
    ///
    /// # Errors
    /// [`RunError::Folder`] if another program holds it or it holds something else than a run,
    /// [`RunError::File`] if it cannot be made.
    pub fn hold(folder: &Path) -> Result<Self> {
        // Another program may make a run between the first two looks.
        let refuse_taken = || match Run::is_run(folder) || only_lock(folder) || Run::is_run(folder)
        {
            true => Ok(()),
            false => {
                let reason = "is not empty and holds no run; choose another folder".into();
                Err(RunError::Folder { path: folder.to_path_buf(), reason })
            }
        };
        refuse_taken()?;
        std::fs::create_dir_all(folder).map_err(|e| RunError::file(folder, e))?;
        let place = Self { folder: folder.to_path_buf(), lock: Some(lock(folder)?) };
        refuse_taken()?;
        Ok(place)
    }

    /// [`Place::hold`] of a folder that holds no run.
    ///
    /// # Errors
    /// As there, and [`RunError::Folder`] if it holds one.
    pub fn hold_free(folder: &Path) -> Result<Self> {
        let place = Self::hold(folder)?;
        if Run::is_run(folder) {
            let reason = "already holds a run; choose another folder".into();
            return Err(RunError::Folder { path: folder.to_path_buf(), reason }.into());
        }
        Ok(place)
    }

    /// Puts the run that was made elsewhere on the same disk here, in place of the one that may be
    /// here.
    ///
    /// # Errors
    /// As [`delete`], and [`RunError::File`] if the system does not move it.
    pub fn put(mut self, made: &Path) -> Result<()> {
        self.lock = None;
        match Run::is_run(&self.folder) {
            true => delete(&self.folder)?,
            false => self.clear(),
        }
        Ok(std::fs::rename(made, &self.folder).map_err(|e| RunError::file(&self.folder, e))?)
    }

    /// Removes the folder if nothing was put in it.
    fn clear(&mut self) {
        self.lock = None;
        if only_lock(&self.folder) {
            drop(std::fs::remove_file(self.folder.join(LOCK)));
            // One that is not empty stays.
            drop(files::remove_empty_folder(&self.folder));
        }
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.clear();
    }
}

/// Whether there is no folder, or nothing in it but what a killed program leaves.
fn only_lock(folder: &Path) -> bool {
    match std::fs::read_dir(folder) {
        Ok(entries) => entries
            .flatten()
            .map(|entry| entry.file_name())
            .all(|name| name == LOCK || is_temporary(&name) || files::is_clutter(&name)),
        Err(error) => error.kind() == ErrorKind::NotFound,
    }
}

fn refuse_no_run(folder: &Path) -> Result<()> {
    if Run::is_run(folder) {
        return Ok(());
    }
    let reason = "holds no run (there is no settings.toml)".into();
    Err(RunError::Folder { path: folder.to_path_buf(), reason }.into())
}

/// Every file a run may have, by part of its folder. The settings come last: as long as they are
/// there the folder is a run, which can be deleted again if this is interrupted.
fn owned() -> Vec<(&'static str, Vec<String>)> {
    let named = |names: &[&str]| names.iter().map(ToString::to_string).collect::<Vec<_>>();
    let checkpoints = ["last", "best", "balanced"];
    let splits =
        Split::ALL.into_iter().flat_map(|split| [split.to_string(), format!("{split}-flip")]);
    let evaluations = splits
        .clone()
        .flat_map(|split| checkpoints.map(|checkpoint| format!("{checkpoint}-{split}.json")));
    // The number of views has a bound in the settings.
    let views = (1..=100).map(|view| format!("train-view-{view}.safetensors"));
    vec![
        (CHECKPOINTS, checkpoints.map(|name| format!("{name}.safetensors")).to_vec()),
        (
            FEATURES,
            splits
                .clone()
                .map(|split| format!("{split}.safetensors"))
                .chain(views)
                .chain(checkpoints.map(|checkpoint| format!("map-{checkpoint}.safetensors")))
                .collect(),
        ),
        (
            RESULTS,
            named(&[
                "balance.json",
                "tune.json",
                "tuned.json",
                "export.json",
                "choices.json",
                "make.json",
                "origin.json",
                "weights.json",
                "refit.json",
            ])
            .into_iter()
            .chain([format!("{IN_TURN}.json")])
            .chain(evaluations)
            .collect(),
        ),
        ("", named(&[NORMS, METRICS_CSV, METRICS, LOG, OLD_LOG, BACKBONE, DATASET, SETTINGS])),
    ]
}

fn remove_file(path: &Path) -> Result<()> {
    match std::fs::remove_file(path) {
        Err(error) if !matches!(error.kind(), ErrorKind::NotFound | ErrorKind::NotADirectory) => {
            Err(RunError::file(path, error).into())
        }
        _ => Ok(()),
    }
}

/// The first few files and links in `folder`, by their paths in it.
fn rest(folder: &Path) -> Vec<String> {
    const SHOWN: usize = 5;
    let entries =
        walkdir::WalkDir::new(folder).min_depth(1).sort_by_file_name().into_iter().flatten();
    let mut files = entries
        .filter(|entry| !files::is_clutter(entry.file_name()))
        .filter(|entry| {
            !entry.file_type().is_dir()
                || std::fs::read_dir(entry.path()).is_ok_and(|mut inside| inside.next().is_none())
        })
        .map(|entry| {
            entry.path().strip_prefix(folder).unwrap_or(entry.path()).display().to_string()
        });
    let mut shown: Vec<String> = files.by_ref().take(SHOWN).collect();
    if files.next().is_some() {
        shown.push("…".into());
    }
    shown
}

#[cfg(test)]
mod tests {
    use super::super::tests::new_run;
    use super::*;

    #[test]
    fn a_run_is_renamed_beside_itself() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("run");
        let run = new_run(&path);
        std::fs::create_dir(folder.path().join("taken")).unwrap();
        let refused = |name: &str| rename(&path, name).unwrap_err().to_string();
        assert!(refused("taken").contains("already"));
        assert!(refused("  ").contains("needs a name"));
        for name in ["a/b", "a\\b", "..", ".", "/", "a\0b"] {
            assert!(refused(name).contains("plain name"), "{name:?}");
        }
        assert!(rename(folder.path(), "other").unwrap_err().to_string().contains("no run"));
        let held = run.lock().unwrap();
        assert!(refused("other").contains("another program"));
        drop(held);
        assert!(path.is_dir());

        assert_eq!(rename(&path, "run").unwrap(), path);
        let renamed = rename(&path, " Größe 12 ").unwrap();
        assert_eq!(renamed, folder.path().join("Größe 12"));
        assert!(!path.exists());
        assert!(Run::open(&renamed).unwrap().dataset().same_samples(run.dataset()));
    }

    #[test]
    fn deleting_takes_what_is_the_runs_and_nothing_else() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("run");
        let fill = || {
            new_run(&path);
            for file in [
                "checkpoints/last.safetensors",
                "features/train-view-3.safetensors",
                "results/best-test-flip.json",
                "norms.csv",
            ] {
                std::fs::create_dir_all(path.join(file).parent().unwrap()).unwrap();
                std::fs::write(path.join(file), "something").unwrap();
            }
            std::fs::write(path.join(".counterweight-x.tmp"), "half").unwrap();
            // What the managers of files leave where somebody has looked.
            std::fs::write(path.join(".DS_Store"), "where the icons are").unwrap();
            std::fs::write(path.join("results/Thumbs.db"), "small pictures").unwrap();
        };
        fill();
        let held = lock(&path).unwrap();
        assert!(delete(&path).unwrap_err().to_string().contains("another program"));
        assert!(path.join("checkpoints/last.safetensors").is_file());
        drop(held);
        delete(&path).unwrap();
        assert!(!path.exists());

        fill();
        std::fs::write(path.join("results/thesis.doc"), "years of work").unwrap();
        std::fs::write(path.join("checkpoints/mine.safetensors"), "years of work").unwrap();
        let error = delete(&path).unwrap_err().to_string();
        assert!(
            error.contains("thesis.doc")
                && error.contains("mine.safetensors")
                && error.contains("kept"),
            "{error}"
        );
        let left: Vec<_> = walkdir::WalkDir::new(&path)
            .into_iter()
            .map(|e| e.unwrap())
            .filter(|e| e.file_type().is_file())
            .collect();
        assert_eq!(left.len(), 4, "{left:?}");
        assert!(delete(&path).unwrap_err().to_string().contains("no run"));

        // A folder that is no run is left alone, whatever it holds.
        std::fs::write(path.join("dataset.toml"), "mine").unwrap();
        assert!(delete(&path).is_err());
        assert!(path.join("dataset.toml").is_file());
    }

    #[test]
    fn a_place_is_held_and_left_as_it_was() {
        let folder = tempfile::tempdir().unwrap();
        let at = |name: &str| folder.path().join(name);
        let said = |held: Result<Place>| held.unwrap_err().to_string();
        let place = Place::hold(&at("run")).unwrap();
        assert!(said(Place::hold(&at("run"))).contains("another program"));
        drop(place);
        assert!(!at("run").exists());
        // What a killed program has left is no hindrance.
        std::fs::create_dir(at("run")).unwrap();
        std::fs::write(at("run").join(LOCK), "").unwrap();
        drop(new_run(&at("made")));
        Place::hold(&at("run")).unwrap().put(&at("made")).unwrap();
        assert!(Run::is_run(&at("run")) && !at("made").exists());
        // One takes the place of another.
        drop(new_run(&at("made")));
        std::fs::write(at("made/log.txt"), "new").unwrap();
        Place::hold(&at("run")).unwrap().put(&at("made")).unwrap();
        assert!(at("run/log.txt").is_file() && !at("made").exists());
        std::fs::create_dir(at("mine")).unwrap();
        std::fs::write(at("mine/thesis.doc"), "years of work").unwrap();
        assert!(said(Place::hold(&at("mine"))).contains("not empty"));
        assert_eq!(std::fs::read_dir(at("mine")).unwrap().count(), 1);
    }

    #[test]
    fn a_damaged_run_can_be_renamed_and_deleted() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("run");
        new_run(&path);
        std::fs::write(path.join(DATASET), "not toml").unwrap();
        let path = rename(&path, "broken").unwrap();
        delete(&path).unwrap();
        assert!(!path.exists());
    }
}
