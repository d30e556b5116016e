//! The thread that edits: it holds the dataset with its edits, does one thing after the other, and
//! says what came of each. Files of edits are read and written nowhere else in the window.

use std::path::PathBuf;
use std::sync::Arc;

use counterweight_core::Result;
use counterweight_core::dataset::{Dataset, EditAction, EditEntry, EditSession, Edited};
use counterweight_core::eval::{Group, GroupThresholds};
use counterweight_core::job::{Control, Job, Silent};
use counterweight_core::source::{ImageReader, Split};
use crossbeam_channel::{Receiver, Sender, unbounded};
use egui::Context;

use super::dataset_source::DatasetSource;
use super::next_revision;

/// What the page of images shows: a dataset with its edits.
pub struct ImagesView {
    /// The dataset without edits, whose samples everything here is about.
    pub base: Arc<Dataset>,
    /// What edits make of it.
    pub edited: Edited,
    /// Images of each class with the edits, in the order of [`Split::ALL`].
    pub counts: Vec<[usize; 3]>,
    /// The group of each class, by its training images with the edits.
    pub groups: Vec<Group>,
    /// The samples in the order of their paths.
    pub by_path: Arc<Vec<u32>>,
    /// What an undo would take back, in words.
    pub undo: Option<String>,
    /// What a redo would do again, in words.
    pub redo: Option<String>,
    /// The file that holds the edits.
    pub file: PathBuf,
    /// Why the dataset cannot be trained on with these edits, if it cannot.
    pub problem: Option<String>,
    /// Reads its images.
    pub reader: Option<Arc<ImageReader>>,
    /// Another number for every other dataset.
    pub dataset_revision: u64,
    /// Another number for every other state of the edits.
    pub revision: u64,
}

impl ImagesView {
    /// The class of a sample, with the edits.
    pub fn class(&self, sample: u32) -> &str {
        &self.edited.classes[self.edited.samples[sample as usize].class]
    }

    /// The class that the dataset itself gives a sample.
    pub fn own_class(&self, sample: u32) -> &str {
        &self.base.classes[self.base.samples[sample as usize].class]
    }
}

/// What the thread is asked.
pub(super) enum Ask {
    /// Open the edits of a dataset; `quietly` if nothing is to be shown unless there are any.
    Open { source: DatasetSource, key: u64, quietly: bool },
    /// Do something to the dataset of this [`ImagesView::dataset_revision`].
    Change(u64, Change),
}

/// What is done to a dataset.
pub(super) enum Change {
    /// Something to samples.
    Edit(EditAction, Vec<usize>),
    /// The last edit is taken back.
    Undo,
    /// It is done again.
    Redo,
}

/// What came of it.
pub(super) enum Answer {
    /// This is what there is now, and what was done.
    View { key: u64, view: Arc<ImagesView>, said: Option<String> },
    /// There are no edits, and nobody has asked for more.
    Nothing { key: u64 },
    /// The edits or the dataset could not be opened.
    Unopened { key: u64, reason: String },
    /// What was asked could not be done.
    Refused(String),
}

/// The thread, as the window sees it.
pub(super) struct Session {
    asks: Sender<Ask>,
    answers: Receiver<Answer>,
    /// What was asked and not answered.
    waiting: usize,
}

impl Session {
    /// Starts the thread.
    pub fn new(ctx: &Context) -> Self {
        let (asks, queue) = unbounded::<Ask>();
        let (sender, answers) = unbounded();
        let ctx = ctx.clone();
        let thread = std::thread::Builder::new().name("edits".into()).spawn(move || {
            let mut editor = Editor::default();
            while let Ok(ask) = queue.recv() {
                if sender.send(editor.answer(ask)).is_err() {
                    return;
                }
                ctx.request_repaint();
            }
        });
        // Without the thread there is no page of images, and everything else works.
        drop(thread);
        Self { asks, answers, waiting: 0 }
    }

    pub fn ask(&mut self, ask: Ask) {
        self.waiting += usize::from(self.asks.send(ask).is_ok());
    }

    pub fn poll(&mut self) -> Vec<Answer> {
        let answers: Vec<Answer> = self.answers.try_iter().collect();
        self.waiting = self.waiting.saturating_sub(answers.len());
        answers
    }

    pub fn is_busy(&self) -> bool {
        self.waiting > 0
    }
}

#[derive(Default)]
struct Editor {
    session: Option<Open>,
}

struct Open {
    key: u64,
    session: EditSession,
    by_path: Arc<Vec<u32>>,
    reader: Option<Arc<ImageReader>>,
    revision: u64,
}

impl Editor {
    fn answer(&mut self, ask: Ask) -> Answer {
        let control = Control::new();
        let job = Job::new(&control, &Silent);
        let said = match ask {
            Ask::Open { source, key, quietly } => {
                self.session = None;
                match open(&source, key, quietly, job) {
                    Ok(None) => return Answer::Nothing { key },
                    Ok(Some(open)) => self.session = Some(open),
                    Err(error) => return Answer::Unopened { key, reason: error.to_string() },
                }
                Ok(None)
            }
            Ask::Change(revision, change) => match &mut self.session {
                Some(open) if open.revision == revision => {
                    change.apply(&mut open.session, job).map(Some)
                }
                // Samples go by their numbers, which mean other images in another dataset.
                _ => {
                    let reason = "other images have been opened meanwhile; nothing was changed";
                    return Answer::Refused(reason.into());
                }
            },
        };
        match (said, &self.session) {
            (Ok(said), Some(open)) => {
                Answer::View { key: open.key, view: Arc::new(open.view()), said }
            }
            (Ok(_), None) => Answer::Refused("no dataset is open".into()),
            (Err(error), _) => Answer::Refused(error.to_string()),
        }
    }
}

impl Change {
    /// What was done, in words.
    fn apply(self, session: &mut EditSession, job: Job<'_>) -> Result<String> {
        let words =
            |entries: &[EditEntry]| entries.first().map(EditEntry::words).unwrap_or_default();
        match self {
            Self::Edit(action, samples) => {
                session.add(action.clone(), &samples, job)?;
                Ok(action.words(samples.len()))
            }
            Self::Undo => Ok(format!("undone: {}", words(&session.undo(1, job)?))),
            Self::Redo => Ok(format!("done again: {}", words(&session.redo(1, job)?))),
        }
    }
}

fn open(source: &DatasetSource, key: u64, quietly: bool, job: Job<'_>) -> Result<Option<Open>> {
    let place = source.place();
    if quietly && counterweight_core::dataset::Edits::open(place)?.is_empty() {
        return Ok(None);
    }
    let (base, catalog) = source.make_as_is()?;
    let mut keyed: Vec<(String, u32)> = base
        .samples
        .iter()
        .enumerate()
        .map(|(at, sample)| (sample.location.to_text(), at as u32))
        .collect();
    keyed.sort_unstable();
    let by_path = Arc::new(keyed.into_iter().map(|(_, at)| at).collect());
    // Images that cannot be read are no reason not to edit.
    let reader = ImageReader::open(&base.root, base.kind, job).ok().map(Arc::new);
    let session = EditSession::of(place, base, catalog, job)?;
    Ok(Some(Open { key, session, by_path, reader, revision: next_revision() }))
}

impl Open {
    fn view(&self) -> ImagesView {
        let (base, edited, edits) =
            (self.session.base(), self.session.edited(), self.session.edits());
        let mut counts = vec![[0; 3]; edited.classes.len()];
        for (sample, own) in
            base.samples.iter().zip(&edited.samples).filter(|(_, own)| !own.excluded)
        {
            counts[own.class][sample.split as usize] += 1;
        }
        let thresholds = GroupThresholds::default();
        let groups = counts.iter().map(|of| thresholds.group(of[Split::Train as usize])).collect();
        ImagesView {
            base: Arc::clone(base),
            edited: edited.clone(),
            counts,
            groups,
            by_path: Arc::clone(&self.by_path),
            undo: edits.done().last().map(|entry| entry.words()),
            redo: edits.undone().first().map(|entry| entry.words()),
            file: edits.path().to_path_buf(),
            problem: self.session.dataset().err().map(|error| error.to_string()),
            reader: self.reader.clone(),
            dataset_revision: self.revision,
            revision: next_revision(),
        }
    }
}
