//! Small pictures of samples, read by threads of their own and kept while there is room.

use std::collections::HashMap;
use std::sync::Arc;

use counterweight_core::images::{Detail, RgbPixels, thumbnail};
use counterweight_core::source::{ImageReader, Location};
use crossbeam_channel::{Receiver, Sender, TrySendError, bounded, unbounded};
use egui::{ColorImage, Context, TextureFilter, TextureHandle, TextureOptions};

/// Longest side, in pixels, unless another is asked for.
const SIDE: u32 = 128;
/// Pictures that are kept, at most.
const KEPT: usize = 1500;
/// Bytes that the pictures may take which are kept.
const KEPT_BYTES: usize = 100 << 20;
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
    side: u32,
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
    side: u32,
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
                            .map(|pixels| thumbnail(&pixels, request.side))
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
        Self {
            entries: HashMap::new(),
            requests,
            answers,
            reader: None,
            generation: 0,
            frame: 0,
            side: SIDE,
        }
    }

    /// Gives pictures whose longest side is so many pixels from now on.
    pub fn set_side(&mut self, side: u32) {
        if side != self.side {
            self.side = side;
            self.entries.clear();
            self.generation += 1;
        }
    }

    /// How many pictures are kept, and at most how many bytes they take.
    pub fn kept(&self) -> (usize, usize) {
        let picture = 4 * self.side as usize * self.side as usize;
        (self.entries.len(), self.entries.len() * picture)
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
        let most = (KEPT_BYTES / (4 * self.side as usize * self.side as usize)).clamp(64, KEPT);
        if self.entries.len() > most {
            let mut seen: Vec<u64> = self.entries.values().map(|entry| entry.seen).collect();
            seen.sort_unstable();
            let oldest = seen[seen.len() - most * 3 / 4];
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
                side: self.side,
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
