//! What turning an image, cutting it or changing its colours does to the classes of the open source.

use std::path::PathBuf;

use counterweight_core::augment::Transform;
use counterweight_core::dataset::Dataset;
use counterweight_core::device::{self, DeviceChoice};
use counterweight_core::images::{Detail, to_input};
use counterweight_core::job::Job;
use counterweight_core::pipeline::{self, TransformCheck, TransformPair};
use counterweight_core::source::ImageReader;
use egui::{ColorImage, TextureHandle, TextureOptions};

use super::previews::planar_image;
use super::shell::Shell;
use super::source::Source;
use crate::gui::command::TransformsCommand;
use crate::gui::worker::{Failure, Progress, Worker};

/// Side of the pictures of a pair, in pixels.
const SIDE: usize = 128;
/// Pairs of a transformation that are shown with pictures.
const PAIRS: usize = 4;
/// What comes in from outside an image that is tilted.
const FILL: [u8; 3] = [128; 3];

/// An image of a class, the same image changed, and one of the class that it then looks like.
pub type PairPictures = [TextureHandle; 3];

/// What was found, with pictures of the pairs.
pub struct FoundTransforms {
    /// What was found.
    pub check: TransformCheck,
    /// Pictures of the first pairs of each transformation, in their order; nothing where an image
    /// cannot be read.
    pub pictures: Vec<Vec<Option<PairPictures>>>,
}

type Drawn = Vec<Vec<Option<[ColorImage; 3]>>>;

/// The question what changes of images do to their classes.
#[derive(Default)]
pub struct TransformsState {
    /// What was found.
    pub found: Option<FoundTransforms>,
    /// Why nothing was.
    pub failure: Option<String>,
    /// The source it was asked of, and the state of what is built of it.
    of: Option<(PathBuf, u64)>,
    worker: Option<Worker<(TransformCheck, Drawn)>>,
}

impl TransformsState {
    /// Whether it is being asked.
    pub fn is_busy(&self) -> bool {
        self.worker.is_some()
    }

    /// How far asking is.
    pub fn progress(&self) -> Option<&Progress> {
        self.worker.as_ref().map(|worker| &worker.progress)
    }

    /// Does what was asked.
    pub fn apply(
        &mut self,
        command: TransformsCommand,
        source: Option<&Source>,
        device: DeviceChoice,
        shell: &Shell,
    ) {
        match command {
            TransformsCommand::Start => {
                let Some(source) = source.filter(|source| source.problem().is_none()) else {
                    return;
                };
                if self.is_busy() {
                    return;
                }
                let recipe = source.recipe();
                let of = Some((source.path.clone(), source.view.revision));
                *self = Self { of, ..Self::default() };
                self.worker = Some(Worker::spawn("transforms", &shell.ctx, move |job| {
                    let (dataset, _) = recipe.make(job)?;
                    let (device, _) = device::open(device)?;
                    let check = pipeline::transform_check(&dataset, 0, &device, job)?;
                    let drawn = draw(&dataset, &check, job)?;
                    Ok((check, drawn))
                }));
            }
            TransformsCommand::Stop => {
                if let Some(worker) = &self.worker {
                    worker.stop();
                }
            }
        }
    }

    /// Takes what was found. What was found of another source is forgotten.
    pub fn poll(&mut self, source: Option<&Source>, shell: &mut Shell) {
        let now = source.map(|source| (source.path.clone(), source.view.revision));
        if self.of.is_some() && self.of != now {
            *self = Self::default();
        }
        let Some(worker) = &mut self.worker else { return };
        let news = worker.poll();
        shell.messages(news.messages);
        let Some(done) = news.done else { return };
        self.worker = None;
        match done {
            Ok((check, drawn)) => {
                let texture = |image| {
                    shell.ctx.load_texture("picture of a pair", image, TextureOptions::LINEAR)
                };
                let pictures = drawn
                    .into_iter()
                    .map(|pairs| pairs.into_iter().map(|pair| pair.map(|pair| pair.map(texture))))
                    .map(Iterator::collect)
                    .collect();
                self.found = Some(FoundTransforms { check, pictures });
            }
            Err(Failure::Stopped) => {
                shell.notice("Asking was stopped; what is known by then is kept")
            }
            Err(Failure::Failed(error)) => self.failure = Some(error.to_string()),
        }
    }
}

fn draw(
    dataset: &Dataset,
    check: &TransformCheck,
    job: Job<'_>,
) -> counterweight_core::Result<Drawn> {
    let reader = ImageReader::open(&dataset.root, dataset.kind, job)?;
    let drawn = check.transforms.iter().map(|report| {
        let some = report.pairs.iter().take(PAIRS);
        some.map(|pair| pictures(&reader, report.transform, pair)).collect()
    });
    Ok(drawn.collect())
}

fn pictures(
    reader: &ImageReader,
    transform: Transform,
    pair: &TransformPair,
) -> Option<[ColorImage; 3]> {
    let [first, second] = pair.locations.as_slice() else { return None };
    let [first, second] = [first, second].map(|location| {
        reader
            .read_for(location, Detail::Side(SIDE as u32))
            .ok()
            .map(|image| to_input(&image, SIDE))
    });
    let (first, second) = (first?, second?);
    let changed = transform.apply(&first, SIDE, FILL);
    Some([first, changed, second].map(|planes| planar_image(SIDE, &planes)))
}
