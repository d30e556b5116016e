//! Where a checkpoint looked in the images in sight, computed by a thread of its own and kept while
//! there is room.

use std::collections::HashMap;
use std::path::PathBuf;
use std::sync::Arc;

use counterweight_core::images::{Detail, RgbPixels, thumbnail};
use counterweight_core::pipeline::{ActivationMaps, ActivationScale, activation_overlay};
use counterweight_core::run::Run;
use counterweight_core::source::{ImageReader, Location};
use crossbeam_channel::{Receiver, Sender, TrySendError, bounded, unbounded};
use egui::{ColorImage, Context, TextureFilter, TextureHandle, TextureOptions};

/// Longest side, in pixels.
const SIDE: u32 = 240;
/// Images whose maps are kept.
const KEPT: usize = 600;
/// Images that may be asked for and are not computed yet: few, so that what is in sight comes before
/// what has gone out of it.
const WAITING: usize = 24;

const SMOOTH: TextureOptions =
    TextureOptions { magnification: TextureFilter::Nearest, ..TextureOptions::LINEAR };

/// What is known of an image's maps.
#[derive(Clone)]
pub enum Overlay {
    /// They are being computed.
    Loading,
    /// Here they are: of the image's class and of the one predicted.
    Ready([TextureHandle; 2]),
    /// They cannot be computed, for this reason.
    Broken(Arc<str>),
}

/// Whose maps are shown.
#[derive(Clone)]
pub struct LookedAt {
    /// The run's folder.
    pub folder: PathBuf,
    /// The checkpoint.
    pub checkpoint: String,
    /// What reads the images.
    pub reader: Arc<ImageReader>,
}

struct Request {
    generation: u64,
    key: usize,
    location: Location,
    classes: [usize; 2],
    of: Arc<LookedAt>,
}

enum Answer {
    Maps(u64, usize, Result<[RgbPixels; 2], String>),
    /// The checkpoint has none.
    None(u64, String),
}

/// Maps of the images of one split, by their number.
#[derive(Default)]
pub struct Overlays {
    /// Whether they are shown.
    pub on: bool,
    /// Why the checkpoint has no maps.
    pub failure: Option<String>,
    entries: HashMap<usize, (Overlay, u64)>,
    thread: Option<(Sender<Request>, Receiver<Answer>)>,
    of: Option<Arc<LookedAt>>,
    /// Answers about what was shown earlier are dropped.
    generation: u64,
    frame: u64,
}

impl Overlays {
    /// Of nothing yet, shown or not.
    pub fn switched(on: bool) -> Self {
        Self { on, ..Self::default() }
    }

    /// Forgets everything, and looks at another checkpoint's images from now on.
    pub fn reset(&mut self, of: LookedAt) {
        self.entries.clear();
        self.failure = None;
        self.of = Some(Arc::new(of));
        self.generation += 1;
    }

    /// Takes what was computed.
    pub fn poll(&mut self, ctx: &Context) {
        self.frame += 1;
        let Some((_, answers)) = &self.thread else { return };
        for answer in answers.try_iter() {
            match answer {
                Answer::Maps(generation, key, maps) if generation == self.generation => {
                    let overlay = match maps {
                        Ok(maps) => Overlay::Ready(maps.map(|map| texture(ctx, key, &map))),
                        Err(reason) => Overlay::Broken(reason.into()),
                    };
                    self.entries.insert(key, (overlay, self.frame));
                }
                Answer::None(generation, reason) if generation == self.generation => {
                    self.failure = Some(reason);
                }
                _ => {}
            }
        }
        if self.entries.len() > KEPT {
            let mut seen: Vec<u64> = self.entries.values().map(|(_, seen)| *seen).collect();
            seen.sort_unstable();
            let oldest = seen[seen.len() - KEPT * 3 / 4];
            self.entries.retain(|_, (_, seen)| *seen >= oldest);
        }
    }

    /// The maps of an image, of its class and the one predicted; they are computed if they are not
    /// there yet.
    pub fn get(
        &mut self,
        ctx: &Context,
        key: usize,
        location: &Location,
        classes: [usize; 2],
    ) -> Overlay {
        if let Some((overlay, seen)) = self.entries.get_mut(&key) {
            *seen = self.frame;
            return overlay.clone();
        }
        let Some(of) = self.of.clone().filter(|_| self.failure.is_none()) else {
            return Overlay::Loading;
        };
        let (requests, _) = self.thread.get_or_insert_with(|| start(ctx));
        let (generation, location) = (self.generation, location.clone());
        match requests.try_send(Request { generation, key, location, classes, of }) {
            Ok(()) => {
                self.entries.insert(key, (Overlay::Loading, self.frame));
            }
            Err(TrySendError::Full(_) | TrySendError::Disconnected(_)) => {}
        }
        Overlay::Loading
    }

    /// Whether maps that were asked for are not there yet.
    pub fn is_busy(&self) -> bool {
        let waits = |(overlay, _): &(Overlay, u64)| matches!(overlay, Overlay::Loading);
        self.on && self.failure.is_none() && self.entries.values().any(waits)
    }
}

fn texture(ctx: &Context, key: usize, map: &RgbPixels) -> TextureHandle {
    let image = ColorImage::from_rgb([map.width as usize, map.height as usize], &map.data);
    ctx.load_texture(format!("map of sample {key}"), image, SMOOTH)
}

/// Starts the thread that computes.
fn start(ctx: &Context) -> (Sender<Request>, Receiver<Answer>) {
    let (requests, queue) = bounded::<Request>(WAITING);
    let (sender, answers) = unbounded();
    let ctx = ctx.clone();
    let work = move || {
        let mut open: Option<(u64, ActivationMaps)> = None;
        while let Ok(request) = queue.recv() {
            let generation = request.generation;
            if open.as_ref().is_none_or(|(of, _)| *of != generation) {
                let LookedAt { folder, checkpoint, .. } = &*request.of;
                let maps =
                    Run::open(folder).and_then(|run| ActivationMaps::open(&run, Some(checkpoint)));
                open = match maps {
                    Ok(maps) => Some((generation, maps)),
                    Err(error) => {
                        drop(sender.send(Answer::None(generation, error.to_string())));
                        ctx.request_repaint();
                        continue;
                    }
                };
            }
            let Some((_, maps)) = &open else { continue };
            let drawn = draw(maps, &request).map_err(|error| error.to_string());
            if sender.send(Answer::Maps(generation, request.key, drawn)).is_err() {
                return;
            }
            ctx.request_repaint();
        }
    };
    // Without a thread there are no maps, and everything else works.
    drop(std::thread::Builder::new().name("activation maps".into()).spawn(work));
    (requests, answers)
}

fn draw(maps: &ActivationMaps, request: &Request) -> counterweight_core::Result<[RgbPixels; 2]> {
    let reader = &request.of.reader;
    let looked = maps.look(&reader.read_for(&request.location, maps.detail())?)?;
    let picture = thumbnail(&reader.read_for(&request.location, Detail::Side(SIDE))?, SIDE);
    let both = request.classes.map(|class| maps.map(&looked, class));
    let scale = ActivationScale::of(&both);
    Ok(both.map(|map| activation_overlay(&picture, &map, scale)))
}
