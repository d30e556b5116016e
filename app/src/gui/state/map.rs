//! The map of images: all images of the inspected checkpoint in a plane.

use std::path::PathBuf;
use std::sync::Arc;

use counterweight_core::device::{self, DeviceChoice};
use counterweight_core::eval::Group;
use counterweight_core::pipeline::{self, ImageMap, MapColours, MapPoint};
use counterweight_core::run::Run;
use counterweight_core::source::{ImageReader, Split};

use super::shell::Shell;
use super::{Thumbnails, next_revision};
use crate::gui::command::MapCommand;
use crate::gui::widgets::PointMapState;
use crate::gui::worker::{Failure, Progress, Worker};

/// The seed of the map: the same as the command line's.
const SEED: u64 = 0;

/// A map with what reads its images.
pub struct ShownMap {
    /// The map.
    pub map: ImageMap,
    /// Where each image lies.
    pub places: Vec<[f32; 2]>,
    reader: Arc<ImageReader>,
}

/// What the colours tell apart.
pub struct Category {
    /// Its name.
    pub name: String,
    /// Images of it.
    pub images: usize,
}

/// The map on the inspection page.
pub struct MapState {
    /// What is shown.
    pub shown: Option<ShownMap>,
    /// Why it could not be laid out.
    pub failure: Option<String>,
    /// What the colours say.
    pub colours: MapColours,
    /// What of it is looked at, the rest being pale.
    pub highlighted: Option<usize>,
    /// What is looked for in the legend.
    pub search: String,
    /// What of the plane is in sight.
    pub view: PointMapState,
    /// The images that were encircled: their places on the map.
    pub selected: Vec<usize>,
    /// Small pictures of the images, by their place in the dataset.
    pub thumbnails: Option<Thumbnails>,
    /// Changes with what is shown.
    pub revision: u64,
    of: Option<(PathBuf, String)>,
    worker: Option<Worker<Option<ShownMap>>>,
    /// Whether it is only looked for what was laid out before.
    looks: bool,
}

impl Default for MapState {
    fn default() -> Self {
        Self {
            shown: None,
            failure: None,
            colours: MapColours::Class,
            highlighted: None,
            search: String::new(),
            view: PointMapState::default(),
            selected: Vec::new(),
            thumbnails: None,
            revision: next_revision(),
            of: None,
            worker: None,
            looks: false,
        }
    }
}

impl MapState {
    /// Whether it is being laid out.
    pub fn is_busy(&self) -> bool {
        self.worker.is_some()
    }

    /// How far laying out is.
    pub fn progress(&self) -> Option<&Progress> {
        self.worker.as_ref().filter(|_| !self.looks).map(|worker| &worker.progress)
    }

    /// Another checkpoint is inspected: its map is shown if it was laid out before.
    pub fn open(&mut self, folder: PathBuf, checkpoint: String, shell: &Shell) {
        let of = Some((folder, checkpoint));
        if self.of == of && (self.shown.is_some() || self.is_busy()) {
            return;
        }
        *self = Self { colours: self.colours, of, ..Self::default() };
        self.start(DeviceChoice::Auto, true, shell);
    }

    /// Does what was asked.
    pub fn apply(&mut self, command: MapCommand, device: DeviceChoice, shell: &Shell) {
        match command {
            MapCommand::Start => self.start(device, false, shell),
            MapCommand::Stop => {
                if let Some(worker) = &self.worker {
                    worker.stop();
                }
            }
        }
    }

    fn start(&mut self, device: DeviceChoice, looks: bool, shell: &Shell) {
        let Some((folder, checkpoint)) = self.of.clone() else { return };
        (self.failure, self.looks) = (None, looks);
        self.worker = Some(Worker::spawn("map", &shell.ctx, move |job| {
            let run = Run::open(&folder)?;
            let name = Some(checkpoint.as_str());
            let map = match looks {
                true => pipeline::stored_image_map(&run, name, SEED)?,
                false => {
                    let (device, _) = device::open(device)?;
                    Some(pipeline::image_map(&run, name, SEED, &device, job)?)
                }
            };
            let Some(map) = map else { return Ok(None) };
            let dataset = run.dataset();
            let reader = Arc::new(ImageReader::open(&dataset.root, dataset.kind, job)?);
            let places = map.points.iter().map(|point| point.place).collect();
            Ok(Some(ShownMap { map, places, reader }))
        }));
    }

    /// Takes what was laid out.
    pub fn poll(&mut self, shell: &mut Shell) {
        if let Some(thumbnails) = &mut self.thumbnails {
            thumbnails.poll(&shell.ctx);
        }
        let Some(worker) = &mut self.worker else { return };
        let news = worker.poll();
        shell.messages(news.messages);
        let Some(done) = news.done else { return };
        self.worker = None;
        match done {
            Ok(Some(shown)) => {
                let thumbnails = self.thumbnails.get_or_insert_with(|| Thumbnails::new(&shell.ctx));
                thumbnails.reset(Some(Arc::clone(&shown.reader)));
                self.shown = Some(shown);
                (self.highlighted, self.selected) = (None, Vec::new());
                self.view.fit();
                self.revision = next_revision();
            }
            // There is none, or one that cannot be read: it can be laid out.
            Ok(None) => {}
            Err(_) if self.looks => {}
            Err(Failure::Stopped) => shell.notice("Laying out the map was stopped"),
            Err(Failure::Failed(error)) => self.failure = Some(error.to_string()),
        }
    }

    /// Shows other colours.
    pub fn colour_by(&mut self, colours: MapColours) {
        (self.colours, self.highlighted) = (colours, None);
        self.search.clear();
        self.revision = next_revision();
    }

    /// Looks at one of the things that the colours tell apart, or at all again.
    pub fn highlight(&mut self, category: Option<usize>) {
        self.highlighted = category.filter(|category| self.highlighted != Some(*category));
        self.revision = next_revision();
    }

    /// The images that were encircled, as places in the run's dataset: what is to be done with them
    /// is for others to say.
    pub fn selection(&self) -> Vec<usize> {
        let points = self.shown.as_ref().map_or(&[][..], |shown| &shown.map.points);
        self.selected.iter().filter_map(|&at| points.get(at)).map(|point| point.sample).collect()
    }
}

impl ShownMap {
    /// What these colours tell apart, in the order of the legend.
    pub fn categories(&self, colours: MapColours) -> Vec<Category> {
        let names: Vec<String> = match colours {
            MapColours::Class => self.map.classes.clone(),
            MapColours::Group => Group::ALL.map(|group| group.name().to_string()).to_vec(),
            MapColours::Mistake => ["right", "taken for another class"].map(String::from).to_vec(),
            MapColours::Split => Split::ALL.map(|split| split.name().to_string()).to_vec(),
        };
        let mut images = vec![0; names.len()];
        for point in &self.map.points {
            images[self.category(colours, point)] += 1;
        }
        let category = |(name, images)| Category { name, images };
        names.into_iter().zip(images).map(category).collect()
    }

    /// Which of these an image is of.
    pub fn category(&self, colours: MapColours, point: &MapPoint) -> usize {
        match colours {
            MapColours::Class => point.label,
            MapColours::Group => self.map.group(point.label) as usize,
            MapColours::Mistake => usize::from(point.is_mistake()),
            MapColours::Split => point.split as usize,
        }
    }
}
