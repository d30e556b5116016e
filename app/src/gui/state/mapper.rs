//! Saying which column of an image list holds what, with what that would give.

use std::path::{Path, PathBuf};

use counterweight_core::source::{ListFormat, ListPreview, ScanOptions, preview_list};

use super::shell::Shell;
use crate::gui::command::{Command, DataCommand, ListCommand};
use crate::gui::dialogs::{Asked, Question};
use crate::gui::worker::{Failure, Worker};

/// An image list that is about to be opened.
pub struct Mapper {
    /// The list.
    pub path: PathBuf,
    /// How it is to be read, as far as the person has said.
    pub scan: ScanOptions,
    /// What is known of it so far.
    pub preview: Option<ListPreview>,
    /// Why nothing is known of it.
    pub failure: Option<String>,
    counting: Option<Worker<ListPreview>>,
}

impl Mapper {
    /// Looks at a list.
    pub fn new(path: PathBuf, scan: ScanOptions, shell: &Shell) -> Self {
        let mut mapper = Self { path, scan, preview: None, failure: None, counting: None };
        mapper.count(shell);
        mapper
    }

    /// Whether images are being counted, and what is shown is about an earlier choice.
    pub fn is_counting(&self) -> bool {
        self.counting.is_some()
    }

    /// Whether it can be opened as it is read now.
    pub fn can_open(&self) -> bool {
        let ready = |preview: &ListPreview| preview.format.is_some() && preview.problem.is_none();
        !self.is_counting() && self.preview.as_ref().is_some_and(ready)
    }

    /// Where the images are looked for.
    pub fn images_folder(&self) -> PathBuf {
        self.scan
            .root
            .clone()
            .or_else(|| self.path.parent().map(Path::to_path_buf))
            .unwrap_or_default()
    }

    /// Reads the list in another way.
    pub fn set(&mut self, format: ListFormat, shell: &Shell) {
        self.scan.list = format;
        self.count(shell);
    }

    /// Looks for the images in another folder.
    pub fn set_root(&mut self, root: PathBuf, shell: &Shell) {
        self.scan.root = Some(root);
        self.count(shell);
    }

    fn count(&mut self, shell: &Shell) {
        let (path, scan) = (self.path.clone(), self.scan.clone());
        // An earlier count is dropped, which stops it.
        let work = move |job: counterweight_core::job::Job<'_>| preview_list(&path, &scan, job);
        self.counting = Some(Worker::spawn("count", &shell.ctx, work));
    }

    /// Takes what was counted.
    pub fn poll(&mut self) {
        let Some(done) = self.counting.as_mut().and_then(|worker| worker.poll().done) else {
            return;
        };
        self.counting = None;
        match done {
            Ok(preview) => {
                self.preview = Some(preview);
                self.failure = None;
            }
            Err(Failure::Stopped) => {}
            Err(Failure::Failed(error)) => self.failure = Some(error.to_string()),
        }
    }
}

/// Asks for the folder that a list's images are in.
pub(super) fn ask_for_root(mapper: &Mapper, shell: &mut Shell) {
    let then = |path| Command::Data(DataCommand::List(ListCommand::SetRoot(path)));
    let start = Some(mapper.images_folder());
    shell.asked = Some(Asked::new(
        &shell.ctx,
        "The folder that the paths begin in",
        start,
        Question::Folder,
        then,
    ));
}
