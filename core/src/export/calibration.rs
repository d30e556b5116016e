//! How far the probabilities of an exported file can be believed, and how that is said.

use serde::{Deserialize, Serialize};

use crate::eval::Threshold;
use crate::source::{Split, grouped};

/// How far the probabilities of an exported file can be believed.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Calibration {
    /// What logits are divided by in the file before the softmax; 1 for their own softmax.
    pub temperature: f64,
    /// Share of the answers that are right.
    pub accuracy: f64,
    /// Mean probability of the answers by the logits' own softmax, and in the file: what `accuracy`
    /// should be.
    pub mean: [f64; 2],
    /// Expected calibration error of the logits' own softmax, and of the file's probabilities.
    pub error: [f64; 2],
    /// The file's probability below which it is better to say "not sure", where there is one.
    pub threshold: Option<Threshold>,
    /// The split that this was found on; nothing where training and validation images were held out
    /// in turn for it.
    pub split: Option<Split>,
    /// The images that it was found on.
    pub images: usize,
}

impl Calibration {
    /// What probabilities are worth, as a sentence.
    ///
    /// ```
    /// use counterweight_core::export::Calibration;
    /// let found = Calibration {
    ///     temperature: 0.5,
    ///     accuracy: 0.9,
    ///     mean: [0.7, 0.88],
    ///     error: [0.2, 0.03],
    ///     threshold: None,
    ///     split: None,
    ///     images: 800,
    /// };
    /// assert_eq!(
    ///     found.sentence(),
    ///     "Its probabilities are 88.0 % on average where 90.0 % of its answers are right, on 800 images held out in turn \
    ///      (70.0 % without the temperature of 0.50 that is in the file)."
    /// );
    /// ```
    pub fn sentence(&self) -> String {
        let [without, with] = self.mean.map(percent);
        let made = match self.temperature {
            1.0 => String::new(),
            by => format!(" ({without} without the temperature of {by:.2} that is in the file)"),
        };
        format!(
            "Its probabilities are {with} on average where {} of its answers are right, on {}{made}.",
            percent(self.accuracy),
            self.judged_on()
        )
    }

    /// The images that it was found on, in words.
    pub fn judged_on(&self) -> String {
        match self.split {
            Some(split) => format!("{} {split} images", grouped(self.images as u64)),
            None => format!("{} images held out in turn", grouped(self.images as u64)),
        }
    }
}

fn percent(share: f64) -> String {
    format!("{:.1} %", 100.0 * share)
}
