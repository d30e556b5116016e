//! One image in full, read by a thread of its own.

use std::sync::Arc;

use counterweight_core::dataset::Dataset;
use counterweight_core::images::{Detail, thumbnail};
use counterweight_core::source::{ImageReader, Location};
use egui::{ColorImage, Context, TextureHandle, TextureOptions};

use crate::gui::worker::{Failure, Worker};

/// The longest side that is shown, in pixels: every graphics card takes it.
const LONGEST: u32 = 4096;

/// What is known of an image that is shown large.
#[derive(Clone)]
pub struct LargeImage {
    /// The picture, or why there is none.
    pub picture: Result<TextureHandle, String>,
    /// Width and height as stored, upright.
    pub size: Option<(u32, u32)>,
    /// Bytes of its file.
    pub bytes: Option<u64>,
}

type Read = (Result<(ColorImage, (u32, u32)), String>, Option<u64>);

/// Reads the image that is shown large.
#[derive(Default)]
pub struct LargeImages {
    wanted: Option<(u64, u32)>,
    shown: Option<((u64, u32), LargeImage)>,
    reading: Option<((u64, u32), Worker<Read>)>,
}

impl LargeImages {
    /// The image of a sample if it was read; it is read otherwise. `revision` is the dataset's.
    pub fn get(
        &mut self,
        revision: u64,
        sample: u32,
        base: &Arc<Dataset>,
        reader: Option<&Arc<ImageReader>>,
        ctx: &Context,
    ) -> Option<LargeImage> {
        let key = (revision, sample);
        self.wanted = Some(key);
        if let Some((_, image)) = self.shown.as_ref().filter(|(of, _)| *of == key) {
            return Some(image.clone());
        }
        if let (None, Some(reader)) = (&self.reading, reader) {
            let (reader, base) = (Arc::clone(reader), Arc::clone(base));
            let work = move |_: counterweight_core::job::Job<'_>| {
                let Some(sample) = base.samples.get(sample as usize) else {
                    return Ok((Err("it is not part of the dataset".into()), None));
                };
                let read = reader.read_for(&sample.location, Detail::Full);
                let picture = read.map_err(|error| error.to_string()).map(|pixels| {
                    let size = (pixels.width, pixels.height);
                    let shown = thumbnail(&pixels, LONGEST);
                    let of = [shown.width as usize, shown.height as usize];
                    (ColorImage::from_rgb(of, &shown.data), size)
                });
                let bytes = match &sample.location {
                    Location::File(path) => {
                        std::fs::metadata(base.root.join(path)).ok().map(|facts| facts.len())
                    }
                    Location::Record { .. } => None,
                };
                Ok((picture, bytes))
            };
            self.reading = Some((key, Worker::spawn("image", ctx, work)));
        }
        None
    }

    /// Whether an image is being read.
    pub fn is_reading(&self) -> bool {
        self.reading.is_some()
    }

    /// Takes what was read.
    pub fn poll(&mut self, ctx: &Context) {
        let Some((key, worker)) = &mut self.reading else { return };
        let Some(done) = worker.poll().done else { return };
        let key = *key;
        self.reading = None;
        let (picture, bytes) = match done {
            Ok(read) => read,
            Err(Failure::Failed(error)) => (Err(error.to_string()), None),
            Err(Failure::Stopped) => return,
        };
        if self.wanted != Some(key) {
            // Another one is to be seen by now.
            ctx.request_repaint();
            return;
        }
        let size = picture.as_ref().ok().map(|(_, size)| *size);
        let picture = picture.map(|(image, _)| {
            let smooth = TextureOptions {
                magnification: egui::TextureFilter::Nearest,
                ..TextureOptions::LINEAR
            };
            ctx.load_texture("large image", image, smooth)
        });
        self.shown = Some((key, LargeImage { picture, size, bytes }));
    }

    /// Forgets the picture: it takes up to 64 MB.
    pub fn forget(&mut self) {
        (self.wanted, self.shown) = (None, None);
    }
}
