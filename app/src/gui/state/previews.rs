//! Augmented samples to look at, as the settings would have them.

use std::path::PathBuf;

use counterweight_core::augment::augmented_previews;
use counterweight_core::images::{Detail, InputShape, RgbPixels, choose_input_size};
use counterweight_core::settings::{AugmentationSettings, Auto, ImageFit, Settings};
use counterweight_core::source::{ImageReader, Location};
use egui::{ColorImage, TextureHandle, TextureOptions};

use super::source::{Origin, Source};
use crate::gui::worker::Worker;

/// Augmented samples that are shown.
const PREVIEWS: usize = 8;
/// Mean colour that hidden parts of previews take: the training split's own is only measured when
/// training begins.
const PREVIEW_MEAN: [f32; 3] = [0.5; 3];

/// The strip of augmented samples: made again whenever the settings or the source change.
#[derive(Default)]
pub(super) struct Previews {
    made_for: Option<PreviewKey>,
    textures: Vec<TextureHandle>,
    making: Option<Worker<Vec<Planes>>>,
}

/// The side of an image, and its planes `[3, side, side]`.
type Planes = (usize, Vec<u8>);

#[derive(Clone, PartialEq)]
struct PreviewKey {
    settings: AugmentationSettings,
    side: usize,
    fit: ImageFit,
    seed: u64,
    source: PathBuf,
    revision: u64,
}

impl Previews {
    /// The samples that are made so far.
    pub fn shown(&self) -> &[TextureHandle] {
        &self.textures
    }

    /// Takes what was made, and has what is out of date made again.
    pub fn poll(&mut self, settings: &Settings, source: Option<&Source>, ctx: &egui::Context) {
        if let Some(worker) = &mut self.making {
            if let Some(done) = worker.poll().done {
                self.making = None;
                let texture = |(index, (side, planes)): (usize, Planes)| {
                    let image = planar_image(side, &planes);
                    ctx.load_texture(format!("augmented {index}"), image, TextureOptions::NEAREST)
                };
                self.textures =
                    done.unwrap_or_default().into_iter().enumerate().map(texture).collect();
            }
            return;
        }
        let Some(source) = source else {
            self.made_for = None;
            self.textures.clear();
            return;
        };
        let side = match settings.model.input_size {
            Auto::Value(side) if (8..=512).contains(&side) => side,
            _ => 0,
        };
        let revision = source.view.revision;
        let key = PreviewKey {
            settings: settings.augmentation.clone(),
            side,
            fit: settings.model.fit(),
            seed: settings.seed,
            source: source.path.clone(),
            revision,
        };
        if self.made_for.as_ref() == Some(&key) || !settings.problems().is_empty() {
            return;
        }
        let kind = match &source.origin {
            Origin::Catalog { catalog, .. } => catalog.kind,
            Origin::DatasetFile { dataset } => dataset.kind,
        };
        // One sample of each of a few classes, from the head to the tail.
        let classes: Vec<&Vec<u32>> =
            source.view.samples.iter().filter(|samples| !samples.is_empty()).collect();
        let pick = |index: usize| {
            classes
                .get(index * classes.len() / PREVIEWS)
                .and_then(|samples| samples.get(index % samples.len()))
        };
        let locations: Vec<Location> = (0..PREVIEWS)
            .filter_map(pick)
            .filter_map(|&sample| source.location(sample).cloned())
            .collect();
        let root = source.root().to_path_buf();
        let (augmentation, fit, seed) = (key.settings.clone(), key.fit, key.seed);
        self.made_for = Some(key);
        self.making = Some(Worker::spawn("previews", ctx, move |job| {
            let reader = ImageReader::open(&root, kind, job)?;
            let side = if side > 0 {
                side
            } else {
                choose_input_size(reader.sizes(&locations).into_iter().flatten())
            };
            let detail = Detail::Side(side as u32);
            let images: Vec<RgbPixels> = locations
                .iter()
                .filter_map(|location| reader.read_for(location, detail).ok())
                .collect();
            let one = |(index, image): (usize, &RgbPixels)| {
                let mut made = augmented_previews(
                    image,
                    &augmentation,
                    InputShape { side, fit },
                    PREVIEW_MEAN,
                    seed + index as u64,
                    1,
                );
                made.pop().map(|planes| (side, planes))
            };
            Ok(images.iter().enumerate().filter_map(one).collect())
        }));
    }
}

/// An image to draw of planes `[3, side, side]`.
pub(super) fn planar_image(side: usize, planes: &[u8]) -> ColorImage {
    let plane = side * side;
    let pixels: Vec<u8> =
        (0..plane).flat_map(|i| [planes[i], planes[plane + i], planes[2 * plane + i]]).collect();
    ColorImage::from_rgb([side, side], &pixels)
}
