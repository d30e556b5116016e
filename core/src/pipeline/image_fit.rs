//! Whether images that are not square are recognised better whole or by their middle square: asked of
//! the data, before features are computed or a network is trained.

use burn::tensor::Device;

use super::frozen::FrozenBackbone;
use super::halves::{Asked, teaching};
use super::mirror::{KNOWS, chosen};
use super::spread::spread;
use super::train_classifier::untrained;
use crate::classifier::FeatureSet;
use crate::dataset::Dataset;
use crate::error::Result;
use crate::job::Job;
use crate::run::Checkpoint;
use crate::settings::{ImageFit, Settings};
use crate::source::{ImageReader, Location, Split};

/// Training images whose sizes are looked at, at most.
const SIZES: usize = 512;
/// The part of an image that its middle square leaves out, on average, from which on it is asked.
const NEARLY_SQUARE: f64 = 0.1;
/// Training images that are recognised to find out, at most, and those of a class, at least, where it
/// has as many.
const IMAGES: usize = 1000;
const OF_A_CLASS: usize = 20;
/// Standard errors by which one has to be the better. On most folders of photos there is little between
/// them, so that little is lost by what luck decides; where something lies beside the middle, much is
/// won, and rare classes make the error large.
const BETTER: f64 = 1.0;
/// Where the middle square leaves out more than this part, it has to be the better one.
const MOST_OF_IT: f64 = 0.5;

/// What was found.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct FitCheck {
    pub fit: ImageFit,
    /// What was found, in a sentence; nothing where images are nearly square.
    pub sentence: Option<String>,
}

/// Recognises training images by a classifier on the built-in backbone's features, cut to their middle
/// square and stretched, half of the images by what the other half taught.
///
/// # Errors
/// Images that cannot be read; a device that fails; [`crate::Error::Stopped`].
pub(super) fn fit_check(
    dataset: &Dataset,
    seed: u64,
    device: &Device,
    job: Job<'_>,
) -> Result<FitCheck> {
    let left_out = left_out(dataset, job)?;
    if left_out < NEARLY_SQUARE {
        return Ok(FitCheck { fit: ImageFit::Crop, sentence: None });
    }
    let settings = teaching(seed, ImageFit::Crop);
    let cropped = untrained(&settings, dataset)?;
    let stretched = Checkpoint { fit: ImageFit::Stretch, ..cropped.clone() };
    let of = |checkpoint: &Checkpoint| -> Result<_> {
        let backbone = FrozenBackbone::new(checkpoint, device);
        let asked = Asked::new(dataset, [IMAGES, OF_A_CLASS], &settings, backbone, job)?;
        let places: Vec<usize> = (0..asked.plain.set.len()).collect();
        let found = asked.teach(job)?.predict(&asked.plain.set, &places)?;
        Ok((asked.plain, found))
    };
    let (as_cropped, by_crop) = of(&cropped)?;
    let (as_stretched, by_stretch) = of(&stretched)?;
    // An image that became unreadable between the two makes pairs of different images.
    if as_cropped.positions != as_stretched.positions {
        let sentence = Some("some images changed while it was asked".into());
        return Ok(FitCheck { fit: unless_better(left_out), sentence });
    }
    Ok(judge(&as_cropped.set, [&by_crop, &by_stretch], left_out))
}

/// The settings that classifiers are taught with to ask something of a dataset, on images that are seen
/// as they are recognised best.
///
/// # Errors
/// As [`fit_check`].
pub(super) fn teaching_on(
    dataset: &Dataset,
    seed: u64,
    device: &Device,
    job: Job<'_>,
) -> Result<Settings> {
    Ok(teaching(seed, fit_check(dataset, seed, device, job)?.fit))
}

/// Training images that are recognised twice where it is left to the data how they are seen.
///
/// # Errors
/// A source that cannot be opened.
pub(super) fn asked(dataset: &Dataset, job: Job<'_>) -> Result<usize> {
    Ok(match left_out(dataset, job)? < NEARLY_SQUARE {
        true => 0,
        false => chosen(dataset, IMAGES, OF_A_CLASS).len(),
    })
}

/// The part of an image that its middle square leaves out, on average over the training images.
fn left_out(dataset: &Dataset, job: Job<'_>) -> Result<f64> {
    let samples = dataset.split(Split::Train);
    let looked_at: Vec<Location> =
        spread(samples.len(), SIZES).map(|at| samples[at].location.clone()).collect();
    let reader = ImageReader::open(&dataset.root, dataset.kind, job)?;
    // Broken images are reported where they are left out, not here.
    let parts: Vec<f64> = reader
        .sizes(&looked_at)
        .into_iter()
        .flatten()
        .map(|(width, height)| 1.0 - f64::from(width.min(height)) / f64::from(width.max(height)))
        .collect();
    Ok(parts.iter().sum::<f64>() / parts.len().max(1) as f64)
}

/// The fit where neither is better.
fn unless_better(left_out: f64) -> ImageFit {
    if left_out > MOST_OF_IT { ImageFit::Stretch } else { ImageFit::Crop }
}

/// The fit that follows from what images are taken for, cropped and stretched. Every class counts the
/// same, and images are compared with themselves: those that only one of them recognises say how sure
/// the difference is.
fn judge(set: &FeatureSet, found: [&[Option<usize>]; 2], left_out: f64) -> FitCheck {
    let classes = set.labels.iter().max().map_or(0, |most| *most as usize + 1);
    let mut images = vec![0.0_f64; classes];
    let pairs: Vec<(usize, [bool; 2])> = set
        .labels
        .iter()
        .zip(found[0].iter().zip(found[1]))
        .filter_map(|(&label, (crop, stretch))| {
            let label = label as usize;
            Some((label, [(*crop)? == label, (*stretch)? == label]))
        })
        .collect();
    pairs.iter().for_each(|(label, _)| images[*label] += 1.0);
    let present = images.iter().filter(|images| **images > 0.0).count().max(1) as f64;
    let mut accuracy = [0.0; 2];
    let (mut gain, mut variance) = (0.0_f64, 0.0_f64);
    for (label, right) in pairs {
        let weight = 1.0 / (images[label] * present);
        for (accuracy, right) in accuracy.iter_mut().zip(right) {
            *accuracy += weight * f64::from(u8::from(right));
        }
        if right[0] != right[1] {
            gain += if right[1] { weight } else { -weight };
            variance += weight * weight;
        }
    }
    let [crop, stretch] = accuracy;
    let percent = |share: f64| format!("{:.1} %", 100.0 * share);
    let (fit, then) = if accuracy.into_iter().fold(0.0, f64::max) < KNOWS {
        let then = "images are recognised too badly to say whether the rest matters";
        (unless_better(left_out), then.into())
    } else if gain > 0.0 && gain > BETTER * variance.sqrt() {
        let better = "whole, squeezed to a square, images are recognised better";
        (ImageFit::Stretch, format!("{better} ({} instead of {})", percent(stretch), percent(crop)))
    } else {
        let better = gain < 0.0 && -gain > BETTER * variance.sqrt();
        let than = if better { "better than" } else { "as well as" };
        let numbers = format!("({}; whole: {})", percent(crop), percent(stretch));
        let then = format!("it is recognised {than} the whole {numbers}");
        match unless_better(left_out) {
            ImageFit::Stretch if !better => {
                (ImageFit::Stretch, format!("{then}, and what matters may lie outside of it"))
            }
            _ => (ImageFit::Crop, then),
        }
    };
    let sentence =
        format!("the middle square leaves out {:.0} % of an image; {then}", 100.0 * left_out);
    FitCheck { fit, sentence: Some(sentence) }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn found(labels: &[u32], crop: &[usize], stretch: &[usize]) -> FitCheck {
        found_where(0.25, labels, crop, stretch)
    }

    fn found_where(left_out: f64, labels: &[u32], crop: &[usize], stretch: &[usize]) -> FitCheck {
        let set = FeatureSet { labels: labels.to_vec(), ..FeatureSet::default() };
        let some = |found: &[usize]| found.iter().map(|class| Some(*class)).collect::<Vec<_>>();
        judge(&set, [&some(crop), &some(stretch)], left_out)
    }

    #[test]
    fn where_most_of_an_image_would_be_left_out_it_has_to_be_better_so() {
        let labels = [0, 0, 0, 0, 1, 1, 1, 1];
        let right = [0, 0, 0, 0, 1, 1, 1, 1];
        let one_wrong = [1, 0, 0, 0, 1, 1, 1, 1];
        let two_wrong = [1, 0, 0, 0, 0, 1, 1, 1];
        let strip = |crop: &[usize], stretch: &[usize]| found_where(0.9, &labels, crop, stretch);
        assert_eq!(strip(&right, &right).fit, ImageFit::Stretch);
        // By chance alone.
        let check = strip(&right, &one_wrong);
        assert!(check.fit == ImageFit::Stretch && check.sentence.unwrap().contains("90 %"));
        assert_eq!(strip(&right, &two_wrong).fit, ImageFit::Crop);
        assert_eq!(found_where(0.4, &labels, &right, &right).fit, ImageFit::Crop);
        // Where nothing is recognised, all of it is kept as well.
        let wrong = [1, 1, 1, 1, 0, 0, 0, 0];
        assert_eq!(strip(&wrong, &wrong).fit, ImageFit::Stretch);
    }

    #[test]
    fn every_class_counts_the_same() {
        // Nine of a common class, of which stretching loses one, and six of a rare one, which it wins:
        // 8 / 9 + 1 against 1 + 0, halved.
        let labels = [0, 0, 0, 0, 0, 0, 0, 0, 0, 1, 1, 1, 1, 1, 1];
        let crop = [0; 15];
        let stretch = [1, 0, 0, 0, 0, 0, 0, 0, 0, 1, 1, 1, 1, 1, 1];
        let check = found(&labels, &crop, &stretch);
        assert_eq!(check.fit, ImageFit::Stretch);
        let sentence = check.sentence.unwrap();
        assert!(sentence.contains("25 %") && sentence.contains("94.4 % instead of 50.0 %"));
        let check = found(&labels, &stretch, &crop);
        assert!(
            check.fit == ImageFit::Crop
                && check.sentence.unwrap().contains("better than the whole")
        );
    }

    #[test]
    fn what_may_be_chance_changes_no_shape() {
        // Two won and one lost: 1 / 4 of a class, with a standard error of √3 / 4.
        let labels = [0, 0, 0, 0, 1, 1, 1, 1];
        let crop = [0, 0, 0, 1, 0, 1, 1, 1];
        let stretch = [0, 0, 1, 0, 1, 1, 1, 1];
        assert_eq!(found(&labels, &crop, &stretch).fit, ImageFit::Crop);
        // One won and nothing lost is its standard error, and two are more.
        let right = [0, 0, 0, 0, 1, 1, 1, 1];
        let one = found(&labels, &[1, 0, 0, 0, 1, 1, 1, 1], &right);
        assert!(
            one.fit == ImageFit::Crop && one.sentence.unwrap().contains("as well as the whole")
        );
        assert_eq!(found(&labels, &[1, 0, 0, 0, 0, 1, 1, 1], &right).fit, ImageFit::Stretch);
        // Where nothing is recognised, nothing follows.
        let wrong = [1, 1, 1, 1, 0, 0, 0, 0];
        let check = found(&labels, &wrong, &[0, 1, 1, 1, 0, 0, 0, 1]);
        assert_eq!(check.fit, ImageFit::Crop);
        assert!(check.sentence.unwrap().contains("too badly"));
    }
}
