//! One image in full, read by a thread of its own.

use std::path::Path;
use std::sync::Arc;

use counterweight_core::images::{Detail, Taken, photo_taken, thumbnail};
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
    /// What its file says of it, if it has one of its own.
    pub file: FileFacts,
}

/// What a file says of an image.
#[derive(Clone, Copy, Debug, Default)]
pub struct FileFacts {
    /// Its bytes.
    pub bytes: Option<u64>,
    /// When the photo was taken.
    pub taken: Option<Taken>,
}

type Read = (Result<(ColorImage, (u32, u32)), String>, FileFacts);

/// Reads the image that is shown large.
#[derive(Default)]
pub struct LargeImages {
    wanted: Option<(u64, u32)>,
    shown: Option<((u64, u32), LargeImage)>,
    reading: Option<((u64, u32), Worker<Read>)>,
}

impl LargeImages {
    /// The image at `location` below `root` if it was read; it is read otherwise. `key` is of this
    /// image alone: the number of what it is part of, and its place there.
    pub fn get(
        &mut self,
        key: (u64, u32),
        (root, location): (&Path, &Location),
        reader: Option<&Arc<ImageReader>>,
        ctx: &Context,
    ) -> Option<LargeImage> {
        self.wanted = Some(key);
        if let Some((_, image)) = self.shown.as_ref().filter(|(of, _)| *of == key) {
            return Some(image.clone());
        }
        if let (None, Some(reader)) = (&self.reading, reader) {
            let (reader, location) = (Arc::clone(reader), location.clone());
            let root = root.to_path_buf();
            let work = move |_: counterweight_core::job::Job<'_>| {
                let read = reader.read_for(&location, Detail::Full);
                let picture = read.map_err(|error| error.to_string()).map(|pixels| {
                    let size = (pixels.width, pixels.height);
                    let shown = thumbnail(&pixels, LONGEST);
                    let of = [shown.width as usize, shown.height as usize];
                    (ColorImage::from_rgb(of, &shown.data), size)
                });
                let file = match &location {
                    Location::File(path) => {
                        let path = root.join(path);
                        let bytes = std::fs::metadata(&path).ok().map(|facts| facts.len());
                        FileFacts { bytes, taken: photo_taken(&path) }
                    }
                    Location::Record { .. } => FileFacts::default(),
                };
                Ok((picture, file))
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
        let (picture, file) = match done {
            Ok(read) => read,
            Err(Failure::Failed(error)) => (Err(error.to_string()), FileFacts::default()),
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
        self.shown = Some((key, LargeImage { picture, size, file }));
    }

    /// Forgets the picture: it takes up to 64 MB.
    pub fn forget(&mut self) {
        (self.wanted, self.shown) = (None, None);
    }
}
