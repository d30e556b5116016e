//! What is said of a model that does not say it itself.

use std::path::PathBuf;

use anyhow::{Context as _, Result};
use counterweight_core::files;
use counterweight_core::infer::InputOptions;
use counterweight_core::settings::ImageFit;

/// What goes into a file from elsewhere, and what comes out of it.
#[derive(Clone, Debug, Default, clap::Args)]
pub struct ForeignOption {
    /// For a file that does not say it: what is subtracted from red, green and blue in 0..1
    #[arg(long, value_name = "R,G,B", value_parser = channels)]
    mean: Option<[f32; 3]>,
    /// For a file that does not say it: what they are divided by afterwards
    #[arg(long, value_name = "R,G,B", value_parser = channels, requires = "mean")]
    std: Option<[f32; 3]>,
    /// For a file that does not say it: the side of its input in pixels
    #[arg(long, value_name = "PIXELS", value_parser = clap::value_parser!(u32).range(1..=4096))]
    size: Option<u32>,
    /// What of an image that is not square goes in, its middle square or all of it, squeezed [default:
    /// as the file says, else crop] [possible values: crop, stretch]
    #[arg(long, value_name = "FIT", value_parser = fit)]
    fit: Option<ImageFit>,
    /// For a file that does not name its classes: a text file with a name in each line
    #[arg(long, value_name = "FILE")]
    labels: Option<PathBuf>,
}

impl ForeignOption {
    /// Whether nothing is said.
    pub fn is_empty(&self) -> bool {
        let Self { mean, std, size, fit, labels } = self;
        let is_plain = mean.is_none() && std.is_none() && labels.is_none();
        is_plain && size.is_none() && fit.is_none()
    }

    /// What a file is opened with.
    ///
    /// # Errors
    /// Labels that cannot be read.
    pub fn input(&self) -> Result<InputOptions> {
        let labels = match &self.labels {
            None => None,
            Some(path) => {
                let text = files::read_text(path, files::LARGEST_TEXT)
                    .with_context(|| format!("{} cannot be read", path.display()))?;
                Some(text.trim_end().lines().map(str::to_string).collect())
            }
        };
        Ok(InputOptions {
            mean: self.mean,
            std: self.std,
            side: self.size.map(|side| side as usize),
            fit: self.fit,
            labels,
        })
    }
}

/// What of an image goes in, by its name.
fn fit(text: &str) -> Result<ImageFit, String> {
    let named = ImageFit::ALL.into_iter().find(|fit| fit.name() == text);
    named.ok_or_else(|| format!("it is one of {}", ImageFit::ALL.map(ImageFit::name).join(", ")))
}

/// A number for each of red, green and blue.
fn channels(text: &str) -> Result<[f32; 3], String> {
    let numbers: Result<Vec<f32>, _> = text.split(',').map(|part| part.trim().parse()).collect();
    match numbers.as_deref() {
        Ok([red, green, blue]) => Ok([*red, *green, *blue]),
        _ => Err("three numbers with commas between them are wanted".into()),
    }
}
