//! How long each way of training would take here, measured before Train is pressed.

use std::path::PathBuf;

use counterweight_core::device::{self, DeviceChoice};
use counterweight_core::pipeline::{self, Estimate};
use counterweight_core::settings::{Auto, Preset, Settings, Training};

use super::source::Source;
use crate::gui::worker::Worker;

/// What was measured.
#[derive(Clone, Copy, Debug, Default)]
pub struct Found {
    /// The classifier on features of the pretrained backbone.
    pub features: Option<Estimate>,
    /// Everything, from pretrained weights.
    pub fine_tuning: Option<Estimate>,
    /// Everything, from initial weights.
    pub scratch: Option<Estimate>,
}

impl Found {
    /// What was measured of training with a preset.
    pub fn of(self, preset: Preset) -> Option<Estimate> {
        match preset {
            Preset::Auto => self.features,
            Preset::FineTune => self.fine_tuning,
            _ => self.scratch,
        }
    }
}

#[derive(Clone, PartialEq)]
struct Key {
    source: PathBuf,
    revision: u64,
    device: DeviceChoice,
    fine_tuning: Settings,
    scratch: Settings,
}

/// Estimates, made again whenever the source, the device or the settings of training everything
/// change.
#[derive(Default)]
pub struct Estimates {
    made_for: Option<Key>,
    measuring: Option<Worker<Found>>,
    found: Found,
}

impl Estimates {
    /// Takes what was measured, and measures what has changed. `is_wanted` says whether they are to
    /// be shown: measuring takes a second of all cores. While something is trained (`is_busy`) nothing
    /// is measured: both would be slow, and need a GPU's memory twice.
    pub fn poll(
        &mut self,
        settings: &Settings,
        source: Option<&Source>,
        device: DeviceChoice,
        [is_wanted, is_busy]: [bool; 2],
        ctx: &egui::Context,
    ) {
        if let Some(worker) = &mut self.measuring {
            if is_busy {
                worker.stop();
                self.made_for = None;
            }
            if let Some(done) = worker.poll().done {
                self.measuring = None;
                // What cannot be measured has no time; training says why it fails.
                self.found = done.unwrap_or_default();
            }
            return;
        }
        let Some(source) = source.filter(|source| is_wanted && source.problem().is_none()) else {
            return;
        };
        let settings_of = |train, preset| {
            if settings.stage1.train == Auto::Value(train) {
                settings.clone()
            } else {
                Settings::preset(preset)
            }
        };
        let fine_tuning = settings_of(Training::All, Preset::FineTune);
        let scratch = settings_of(Training::Scratch, Preset::Quick);
        let key = Key {
            source: source.path.clone(),
            revision: source.view.revision,
            device,
            fine_tuning,
            scratch,
        };
        if self.made_for.as_ref() == Some(&key)
            || [&key.fine_tuning, &key.scratch]
                .iter()
                .any(|settings| !settings.problems().is_empty())
        {
            return;
        }
        let (recipe, fine_tuning, scratch) =
            (source.recipe(), key.fine_tuning.clone(), key.scratch.clone());
        self.made_for = Some(key);
        self.found = Found::default();
        self.measuring = Some(Worker::spawn("estimate", ctx, move |job| {
            let (dataset, _) = recipe.make(job)?;
            let (device, _) = device::open(device)?;
            let features =
                pipeline::estimate(&Settings::preset(Preset::Auto), &dataset, &device, job)?;
            let fine_tuning = pipeline::estimate(&fine_tuning, &dataset, &device, job)?;
            let scratch = pipeline::estimate(&scratch, &dataset, &device, job)?;
            Ok(Found {
                features: Some(features),
                fine_tuning: Some(fine_tuning),
                scratch: Some(scratch),
            })
        }));
    }

    /// What is known.
    pub fn found(&self) -> Found {
        self.found
    }

    /// Whether it is being measured.
    pub fn is_measuring(&self) -> bool {
        self.measuring.is_some()
    }
}
