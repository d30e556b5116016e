//! Small pictures of samples, read by threads of their own and kept while there is room.

use std::collections::HashMap;
use std::sync::Arc;

use counterweight_core::images::{Detail, RgbPixels, thumbnail};
use counterweight_core::source::{ImageReader, Location};
use crossbeam_channel::{Receiver, Sender, TrySendError, bounded, unbounded};
use egui::{ColorImage, Context, TextureFilter, TextureHandle, TextureOptions};

/// Longest side, in pixels.
const SIDE: u32 = 128;
/// Pictures that are kept.
const KEPT: usize = 1500;
/// Pictures that may be asked for and not yet read. What does not fit is asked for again if it is
/// still in sight.
const WAITING: usize = 96;
/// Pictures handed to the graphics card in one frame.
const PER_FRAME: usize = 24;

/// Pictures that are smaller than they are drawn show their pixels, as they are; larger ones are
/// smoothed.
const SMOOTH: TextureOptions =
    TextureOptions { magnification: TextureFilter::Nearest, ..TextureOptions::LINEAR };

/// A small picture of a sample, as far as it is known.
#[derive(Clone)]
pub enum Thumbnail {
    /// It is being read.
    Loading,
    /// Here it is.
    Ready(TextureHandle),
    /// It cannot be read, for this reason.
    Broken(Arc<str>),
}

struct Entry {
    thumbnail: Thumbnail,
    seen: u64,
}

struct Request {
    generation: u64,
    key: usize,
    location: Location,
    reader: Arc<ImageReader>,
}

type Answer = (u64, usize, Result<RgbPixels, String>);

/// Small pictures of one source's samples, by their number.
pub struct Thumbnails {
    entries: HashMap<usize, Entry>,
    requests: Sender<Request>,
    answers: Receiver<Answer>,
    reader: Option<Arc<ImageReader>>,
    /// Answers to what an earlier source was asked are dropped.
    generation: u64,
    frame: u64,
}

impl Thumbnails {
    /// Starts the threads that read.
    pub fn new(ctx: &Context) -> Self {
        let (requests, queue) = bounded::<Request>(WAITING);
        let (sender, answers) = unbounded();
        for index in 0..2 {
            let (queue, sender, ctx) = (queue.clone(), sender.clone(), ctx.clone());
            let thread =
                std::thread::Builder::new().name(format!("thumbnails {index}")).spawn(move || {
                    while let Ok(request) = queue.recv() {
                        // What a scan has kept does for this, and for every sharper screen.
                        let pixels = request.reader.read_for(&request.location, Detail::SMALL);
                        let small = pixels
                            .map(|pixels| thumbnail(&pixels, SIDE))
                            .map_err(|error| error.to_string());
                        if sender.send((request.generation, request.key, small)).is_err() {
                            return;
                        }
                        ctx.request_repaint();
                    }
                });
            // Without threads there are no pictures, and everything else works.
            drop(thread);
        }
        Self { entries: HashMap::new(), requests, answers, reader: None, generation: 0, frame: 0 }
    }

    /// Forgets everything, and reads from another source from now on.
    pub fn reset(&mut self, reader: Option<Arc<ImageReader>>) {
        self.entries.clear();
        self.reader = reader;
        self.generation += 1;
    }

    /// Takes what was read.
    pub fn poll(&mut self, ctx: &Context) {
        self.frame += 1;
        for (generation, key, pixels) in self.answers.try_iter().take(PER_FRAME) {
            if generation != self.generation {
                continue;
            }
            let thumbnail = match pixels {
                Ok(pixels) => {
                    let image = ColorImage::from_rgb(
                        [pixels.width as usize, pixels.height as usize],
                        &pixels.data,
                    );
                    Thumbnail::Ready(ctx.load_texture(format!("sample {key}"), image, SMOOTH))
                }
                Err(reason) => Thumbnail::Broken(reason.into()),
            };
            self.entries.insert(key, Entry { thumbnail, seen: self.frame });
        }
        if !self.answers.is_empty() {
            ctx.request_repaint();
        }
        if self.entries.len() > KEPT {
            let mut seen: Vec<u64> = self.entries.values().map(|entry| entry.seen).collect();
            seen.sort_unstable();
            let oldest = seen[seen.len() - KEPT * 3 / 4];
            self.entries.retain(|_, entry| entry.seen >= oldest);
        }
    }

    /// The picture of a sample; it is read if it is not there yet.
    pub fn get(&mut self, key: usize, location: &Location) -> Thumbnail {
        if let Some(entry) = self.entries.get_mut(&key) {
            entry.seen = self.frame;
            return entry.thumbnail.clone();
        }
        if let Some(reader) = &self.reader {
            let request = Request {
                generation: self.generation,
                key,
                location: location.clone(),
                reader: Arc::clone(reader),
            };
            match self.requests.try_send(request) {
                Ok(()) => {
                    self.entries
                        .insert(key, Entry { thumbnail: Thumbnail::Loading, seen: self.frame });
                }
                Err(TrySendError::Full(_) | TrySendError::Disconnected(_)) => {}
            }
        }
        Thumbnail::Loading
    }
}
