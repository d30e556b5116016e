//! The page of images: which are listed, which are chosen, and what is done to them.

use std::collections::HashMap;
use std::path::Path;
use std::sync::Arc;

use counterweight_core::dataset::EditAction;
use counterweight_core::device::DeviceChoice;
use egui::Context;

pub use super::images_large::{FileFacts, LargeImages};
pub use super::images_list::{Decided, ImageFilter, ImageSort, ReviewItem, ReviewOrder};
pub use super::images_predictions::ImagePredictions;
pub use super::images_session::ImagesView;

use super::data::{DataState, reveal};
use super::images_doubts::{self, Doubts};
use super::images_list::listed;
use super::images_predictions::predict;
use super::images_session::{Answer, Ask, Change, Session};
use super::run::OpenRun;
use super::shell::{ErrorReport, Shell};
use super::{Page, Thumbnails};
use crate::gui::command::ImagesCommand;
use crate::gui::widgets::{GridSelection, words};
use crate::gui::worker::{Failure, Progress, Worker};

/// Classes that images were moved to lately, which are offered first.
const RECENT: usize = 6;
/// The smallest and the largest side of pictures, in points.
pub const SIDES: std::ops::RangeInclusive<f32> = 64.0..=240.0;

/// Choosing the class that images are moved to.
#[derive(Clone, Debug, Default)]
pub struct ClassChooser {
    /// What is typed.
    pub text: String,
    /// The entry that Enter takes.
    pub chosen: usize,
    /// Whether it was drawn before.
    pub is_open: bool,
}

/// The page of images.
pub struct ImagesState {
    /// The dataset with its edits, once the page was looked at or where there are edits.
    pub view: Option<Arc<ImagesView>>,
    /// Why there is none.
    pub failure: Option<String>,
    /// Which images are listed.
    pub filter: ImageFilter,
    /// In which order.
    pub sort: ImageSort,
    /// Side of the pictures, in points.
    pub side: f32,
    /// The listed images, by their numbers in the dataset without edits.
    pub order: Vec<u32>,
    /// The chosen ones.
    pub selection: GridSelection,
    /// The place to bring into sight.
    pub scroll_to: Option<usize>,
    /// What was done last, or why it was not.
    pub said: Option<(bool, String)>,
    /// Whether the image at the keyboard's place is shown large.
    pub zoomed: bool,
    /// Whether it is shown pixel by pixel, not fitted into the room there is.
    pub actual_size: bool,
    /// Reads it.
    pub large: LargeImages,
    /// The class being chosen for the selection, if one is.
    pub chooser: Option<ClassChooser>,
    /// Classes that images were moved to lately, newest first.
    pub recent: Vec<String>,
    /// Images that something else has found, which are listed in its order.
    pub review: Option<Arc<ReviewOrder>>,
    /// The places of samples in it.
    reviewed: HashMap<usize, usize>,
    /// What the open run takes the images for.
    pub predictions: Option<Arc<ImagePredictions>>,
    /// Small pictures.
    pub thumbnails: Thumbnails,
    session: Session,
    /// The dataset that was asked for, and whether only for its edits.
    asked: Option<(u64, bool)>,
    predicting: Option<Worker<ImagePredictions>>,
    doubting: Option<Worker<Doubts>>,
    listed_for: Option<ListKey>,
    /// The dataset whose pictures are shown.
    pictured: u64,
}

/// What a list was made from.
type ListKey = (u64, ImageFilter, ImageSort, Option<usize>, Option<usize>);

impl ImagesState {
    /// A page with nothing to show.
    pub fn new(ctx: &Context) -> Self {
        Self {
            view: None,
            failure: None,
            filter: ImageFilter::default(),
            sort: ImageSort::default(),
            side: 112.0,
            order: Vec::new(),
            selection: GridSelection::default(),
            scroll_to: None,
            said: None,
            zoomed: false,
            actual_size: false,
            large: LargeImages::default(),
            chooser: None,
            recent: Vec::new(),
            review: None,
            reviewed: HashMap::new(),
            predictions: None,
            thumbnails: Thumbnails::new(ctx),
            session: Session::new(ctx),
            asked: None,
            predicting: None,
            doubting: None,
            listed_for: None,
            pictured: 0,
        }
    }

    /// Whether something is being edited or predicted.
    pub fn is_busy(&self) -> bool {
        self.session.is_busy()
            || self.predicting.is_some()
            || self.doubting.is_some()
            || self.large.is_reading()
    }

    /// Whether the dataset is being opened.
    pub fn is_opening(&self) -> bool {
        self.view.is_none() && self.session.is_busy()
    }

    /// How far predicting is.
    pub fn predicting(&self) -> Option<&Progress> {
        self.predicting.as_ref().map(|worker| &worker.progress)
    }

    /// How far looking for doubtful labels is.
    pub fn doubting(&self) -> Option<&Progress> {
        self.doubting.as_ref().map(|worker| &worker.progress)
    }

    /// What was found about a sample by the review that is shown.
    pub fn review_item(&self, sample: u32) -> Option<&ReviewItem> {
        let place = *self.reviewed.get(&(sample as usize))?;
        self.review.as_ref()?.items.get(place)
    }

    /// The class that is proposed for a sample: by the review, or by the run where it takes the
    /// image for another class.
    pub fn proposed(&self, sample: u32) -> Option<&str> {
        let view = self.view.as_ref()?;
        if self.review.is_some() {
            return view.base.classes.get(self.review_item(sample)?.proposed?).map(String::as_str);
        }
        let predictions = self.predictions.as_ref()?;
        predictions.class(sample).filter(|class| *class != view.class(sample))
    }

    /// The samples that an action is about: the one that is shown large, or the chosen ones.
    pub fn targets(&self) -> Vec<u32> {
        match self.zoomed {
            true => self.selection.current(&self.order).into_iter().collect(),
            false => self.selection.keys(&self.order),
        }
    }

    /// Does what was asked.
    pub fn apply(
        &mut self,
        command: ImagesCommand,
        run: Option<&OpenRun>,
        device: DeviceChoice,
        shell: &mut Shell,
    ) {
        match command {
            ImagesCommand::Edit(action) => {
                let targets = self.targets();
                self.edit(action, &targets);
            }
            ImagesCommand::Agree => self.agree(),
            ImagesCommand::Undo => self.change(Change::Undo),
            ImagesCommand::Redo => self.change(Change::Redo),
            ImagesCommand::ChooseClass => {
                self.chooser = (!self.targets().is_empty()).then(ClassChooser::default);
            }
            ImagesCommand::ShowClass(class) => {
                self.filter = ImageFilter { class: Some(class), ..ImageFilter::default() };
                self.zoomed = false;
                self.review = None;
            }
            ImagesCommand::Review(order) => self.review(order),
            ImagesCommand::CloseReview => self.review = None,
            ImagesCommand::Predict => {
                let (Some(run), Some(view)) = (run, &self.view) else { return };
                let (folder, base) = (run.folder.clone(), Arc::clone(&view.base));
                let revision = view.dataset_revision;
                let work = move |job: counterweight_core::job::Job<'_>| {
                    predict(&folder, &base, revision, device, job)
                };
                self.predicting = Some(Worker::spawn("predict images", &shell.ctx, work));
            }
            ImagesCommand::StopPredicting => {
                if let Some(worker) = &self.predicting {
                    worker.stop();
                }
            }
            ImagesCommand::FindDoubts => {
                let Some(view) = self.view.as_ref().filter(|view| view.problem.is_none()) else {
                    return;
                };
                if self.doubting.is_none() {
                    let view = Arc::clone(view);
                    let work = move |job: counterweight_core::job::Job<'_>| {
                        images_doubts::find(&view, device, job)
                    };
                    self.doubting = Some(Worker::spawn("doubtful labels", &shell.ctx, work));
                }
            }
            ImagesCommand::StopFindingDoubts => {
                if let Some(worker) = &self.doubting {
                    worker.stop();
                }
            }
            ImagesCommand::ShowFile(path) => reveal(path, shell),
            ImagesCommand::OpenAgain => (self.asked, self.failure) = (None, None),
        }
    }

    /// Lists images that something else has found.
    fn review(&mut self, order: Arc<ReviewOrder>) {
        self.filter = ImageFilter::default();
        let items = order.items.iter().enumerate();
        self.reviewed = items.map(|(place, item)| (item.sample, place)).collect();
        (self.review, self.zoomed) = (Some(order), false);
        self.selection = GridSelection::default();
    }

    /// Changes the dataset that is shown, and no other.
    fn change(&mut self, change: Change) {
        if let Some(view) = &self.view {
            self.session.ask(Ask::Change(view.dataset_revision, change));
        }
    }

    fn edit(&mut self, action: EditAction, targets: &[u32]) {
        if targets.is_empty() {
            return;
        }
        if let EditAction::Move { to } = &action {
            self.recent.retain(|class| class != to);
            self.recent.insert(0, to.clone());
            self.recent.truncate(RECENT);
        }
        let samples = targets.iter().map(|sample| *sample as usize).collect();
        self.change(Change::Edit(action, samples));
        // One who looks at one image after the other goes on to the next.
        if self.zoomed || (self.review.is_some() && targets.len() == 1) {
            let next = self.selection.cursor() + 1;
            self.selection.go(next, &self.order, egui::Modifiers::NONE);
            self.scroll_to = Some(self.selection.cursor());
        }
    }

    /// Moves each of the images to the class that is proposed for it.
    fn agree(&mut self) {
        let mut by_class: Vec<(String, Vec<u32>)> = Vec::new();
        let targets = self.targets();
        for &sample in &targets {
            let Some(class) = self.proposed(sample).map(str::to_string) else { continue };
            match by_class.iter_mut().find(|(known, _)| *known == class) {
                Some((_, samples)) => samples.push(sample),
                None => by_class.push((class, vec![sample])),
            }
        }
        if by_class.is_empty() && !targets.is_empty() {
            self.said = Some((false, "No other class is proposed for these images".into()));
        }
        for (to, samples) in by_class {
            self.edit(EditAction::Move { to }, &samples);
        }
    }

    /// Follows the dataset that is open, and takes what was done. Returns whether the edits are
    /// others than before.
    pub fn poll(&mut self, data: &DataState, page: Page, shell: &mut Shell) -> bool {
        self.follow(data, page);
        let mut changed = false;
        for answer in self.session.poll() {
            changed |= self.take(answer, shell);
        }
        self.poll_predictions(shell);
        self.poll_doubts(shell);
        self.thumbnails.poll(&shell.ctx);
        self.large.poll(&shell.ctx);
        if page != Page::Images || !self.zoomed {
            self.large.forget();
        }
        if page != Page::Images {
            self.chooser = None;
        }
        changed
    }

    fn follow(&mut self, data: &DataState, page: Page) {
        let Some(source) = &data.source else {
            if self.asked.take().is_some() || self.view.is_some() {
                self.close();
            }
            return;
        };
        let quietly = page != Page::Images && self.view.is_none();
        // While a slider moves, the next dataset comes with the next frame.
        let is_asked = self
            .asked
            .is_some_and(|(key, was_quiet)| key == source.edition && (!was_quiet || quietly));
        if is_asked || self.session.is_busy() || source.problem().is_some() {
            return;
        }
        self.asked = Some((source.edition, quietly));
        let (key, source) = (source.edition, source.recipe());
        self.session.ask(Ask::Open { source, key, quietly });
    }

    /// Forgets what a run took the images for: it is another now, or has changed.
    pub fn forget_predictions(&mut self) {
        (self.predictions, self.predicting) = (None, None);
    }

    /// Forgets the dataset.
    fn close(&mut self) {
        (self.view, self.failure, self.review) = (None, None, None);
        self.forget_predictions();
        (self.zoomed, self.said, self.listed_for) = (false, None, None);
        self.filter = ImageFilter::default();
        self.order.clear();
        self.selection = GridSelection::default();
        self.thumbnails.reset(None);
        self.pictured = 0;
    }

    fn take(&mut self, answer: Answer, shell: &mut Shell) -> bool {
        let wanted = self.asked.map(|(key, _)| key);
        match answer {
            Answer::View { key, view, said } if Some(key) == wanted => {
                if self.view.as_ref().is_none_or(|old| old.base.root != view.base.root) {
                    self.close();
                }
                if self.pictured != view.dataset_revision {
                    self.thumbnails.reset(view.reader.clone());
                    self.pictured = view.dataset_revision;
                    self.forget_predictions();
                    self.review = None;
                    // Their numbers mean other images now.
                    self.selection = GridSelection::default();
                    (self.zoomed, self.chooser) = (false, None);
                }
                self.failure = None;
                self.asked = Some((key, false));
                if let Some(said) = said {
                    shell.info(words::capitalised(&said));
                    self.said = Some((true, words::capitalised(&said)));
                }
                self.view = Some(view);
                true
            }
            Answer::Nothing { key } if Some(key) == wanted => {
                self.close();
                false
            }
            Answer::Unopened { key, reason } if Some(key) == wanted => {
                self.close();
                shell.messages(vec![(counterweight_core::job::Level::Warning, reason.clone())]);
                self.failure = Some(reason);
                false
            }
            Answer::Refused(reason) => {
                shell.info(format!("Images could not be edited: {reason}"));
                self.said = Some((false, words::capitalised(&reason)));
                false
            }
            // Of a dataset that is not open any more.
            Answer::View { .. } | Answer::Nothing { .. } | Answer::Unopened { .. } => false,
        }
    }

    fn poll_predictions(&mut self, shell: &mut Shell) {
        let Some(worker) = &mut self.predicting else { return };
        let news = worker.poll();
        shell.messages(news.messages);
        let Some(done) = news.done else { return };
        self.predicting = None;
        let current = self.view.as_ref().map(|view| view.dataset_revision);
        match done {
            Ok(found) if Some(found.dataset_revision) != current => {}
            Ok(found) => self.predictions = Some(Arc::new(found)),
            Err(Failure::Stopped) => shell.notice("Predicting was stopped"),
            Err(Failure::Failed(error)) => shell.failed(ErrorReport {
                title: "The images could not be predicted".into(),
                reason: error.to_string(),
                kept: "The edits and the run are as they were.".into(),
                advice: "Mend what the reason names, or look at the images without predictions."
                    .into(),
            }),
        }
    }

    fn poll_doubts(&mut self, shell: &mut Shell) {
        let Some(worker) = &mut self.doubting else { return };
        let news = worker.poll();
        shell.messages(news.messages);
        let Some(done) = news.done else { return };
        self.doubting = None;
        let current = self.view.as_ref().map(|view| view.dataset_revision);
        match done {
            Ok(found) if Some(found.dataset_revision) != current => {}
            Ok(found) if found.order.items.is_empty() => shell.notice(found.sentence),
            Ok(found) => {
                shell.info(found.sentence);
                self.review(Arc::new(found.order));
            }
            Err(Failure::Stopped) => shell.notice("Looking for doubtful labels was stopped"),
            Err(Failure::Failed(error)) => shell.failed(ErrorReport {
                title: "The labels could not be looked at".into(),
                reason: error.to_string(),
                kept: "Images, dataset and edits are as they were.".into(),
                advice: "Mend what the reason names, and ask again.".into(),
            }),
        }
    }

    /// Lists the images anew if they or what is asked of them have changed.
    pub fn list(&mut self) {
        let Some(view) = &self.view else { return };
        if self.predictions.is_none() {
            self.filter.wrong = false;
            if self.sort.needs_predictions() {
                self.sort = ImageSort::default();
            }
        }
        let gone = |class: &String| !view.edited.classes.contains(class);
        if self.filter.class.as_ref().is_some_and(gone) {
            self.filter.class = None;
        }
        let key = (
            view.revision,
            self.filter.clone(),
            self.sort,
            self.predictions.as_ref().map(|found| Arc::as_ptr(found) as usize),
            self.review.as_ref().map(|order| Arc::as_ptr(order) as usize),
        );
        if self.listed_for.as_ref() == Some(&key) {
            return;
        }
        let order = listed(
            view,
            &self.filter,
            self.sort,
            self.predictions.as_deref(),
            self.review.as_deref(),
        );
        let same_question =
            self.listed_for.as_ref().is_some_and(|old| (&old.1, old.2) == (&key.1, key.2));
        self.selection.follow(&self.order, &order);
        self.order = order;
        if !same_question {
            // Another question is looked at from its start.
            self.selection = GridSelection::default();
            self.scroll_to = Some(0);
        }
        if self.order.is_empty() {
            self.zoomed = false;
        }
        self.listed_for = Some(key);
    }

    /// Why the open run cannot say what it takes these images for, if it cannot.
    pub fn no_predictions(&self, run: Option<&OpenRun>) -> Option<&'static str> {
        let Some(run) = run else { return Some("Open or train a run first") };
        let same = |a: &Path, b: &Path| a == b || a.ends_with(b) || b.ends_with(a);
        match &self.view {
            _ if !run.has_checkpoint() => Some("The open run has no checkpoint yet"),
            Some(view) if same(&view.base.root, &run.root) => None,
            Some(_) => Some("The open run was made of other images"),
            None => Some("There are no images"),
        }
    }
}
