//! The system's dialogs for files and folders, asked without making the window wait.

use std::path::PathBuf;
use std::time::{Duration, Instant};

use crossbeam_channel::{Receiver, bounded};
use egui::Context;
use rfd::AsyncFileDialog;

use super::command::Command;

/// What is asked for.
#[derive(Clone, Debug)]
pub enum Question {
    /// A folder that exists.
    Folder,
    /// A file that exists, with what it is called and its extensions.
    File(&'static str, &'static [&'static str]),
    /// A file to write, with the name that is offered.
    Save(String, &'static str, &'static [&'static str]),
}

/// A dialog that is closed sooner than a person could read it was never shown.
const UNSEEN: Duration = Duration::from_millis(400);

/// What came of a dialog.
pub enum Answer {
    /// Something was chosen, and this follows from it.
    Chosen(Command),
    /// Nothing was chosen.
    Nothing,
    /// The system has shown no dialog.
    NotShown,
}

/// A dialog that is open, and what is to be done with the answer.
pub struct Asked {
    since: Instant,
    answer: Receiver<Option<PathBuf>>,
    then: Box<dyn FnOnce(PathBuf) -> Command>,
}

impl Asked {
    /// Opens a dialog.
    pub fn new(
        ctx: &Context,
        title: &str,
        start: Option<PathBuf>,
        question: Question,
        then: impl FnOnce(PathBuf) -> Command + 'static,
    ) -> Self {
        let mut dialog = AsyncFileDialog::new().set_title(title);
        if let Some(folder) = start.filter(|folder| folder.is_dir()) {
            dialog = dialog.set_directory(folder);
        }
        // The dialog has to be made on this thread, for macOS; it is waited for on another.
        type Choice = std::pin::Pin<Box<dyn Future<Output = Option<rfd::FileHandle>> + Send>>;
        let choice: Choice = match question {
            Question::Folder => Box::pin(dialog.pick_folder()),
            // macOS knows no filter that takes all files, and greys out what the others do not take.
            Question::File(..) if cfg!(target_os = "macos") => Box::pin(dialog.pick_file()),
            Question::File(name, extensions) => Box::pin(
                dialog.add_filter(name, extensions).add_filter("All files", &["*"]).pick_file(),
            ),
            Question::Save(file, name, extensions) => {
                Box::pin(dialog.set_file_name(file).add_filter(name, extensions).save_file())
            }
        };
        let (sender, answer) = bounded(1);
        let ctx = ctx.clone();
        let waiting = std::thread::Builder::new().name("dialog".into()).spawn(move || {
            let path = pollster::block_on(choice).map(|handle| handle.path().to_path_buf());
            drop(sender.send(path));
            ctx.request_repaint();
        });
        // Without the thread the sender is gone, and the answer is that nothing was chosen.
        drop(waiting);
        Self { since: Instant::now(), answer, then: Box::new(then) }
    }

    /// What came of it.
    ///
    /// # Errors
    /// The dialog itself, while it is still open.
    pub fn poll(self) -> Result<Answer, Self> {
        match self.answer.try_recv() {
            Ok(Some(path)) => Ok(Answer::Chosen((self.then)(path))),
            Err(crossbeam_channel::TryRecvError::Empty) => Err(self),
            Ok(None) | Err(crossbeam_channel::TryRecvError::Disconnected) => {
                match self.since.elapsed() {
                    elapsed if elapsed < UNSEEN => Ok(Answer::NotShown),
                    _ => Ok(Answer::Nothing),
                }
            }
        }
    }
}
