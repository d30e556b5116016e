//! Between which numbers the values inside a graph lie, measured on images.

use onnx_ir::{ModelProto, ValueInfoProto};
use protobuf::Message;
use rayon::prelude::*;
use tract_onnx::prelude::*;

use crate::onnx;

/// Bins of a histogram.
const BINS: usize = 2048;
/// Steps of 8 bits.
const STEPS: f32 = 255.0;
/// How much of the range is kept at least: what is cut off is rounded to its end.
const LEAST_KEPT: f32 = 0.3;
/// Shares of the range that are tried.
const SHARES: usize = 36;

/// How the values of a tensor become bytes: `round(value / scale) + zero`.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Scale {
    pub scale: f32,
    pub zero: u8,
}

impl Scale {
    /// Steps between two numbers; zero is one of them, which padding and ReLU need.
    fn between(low: f32, high: f32) -> Self {
        let (low, high) = (low.min(0.0), high.max(0.0));
        let scale = ((high - low) / STEPS).max(f32::MIN_POSITIVE * 1e6);
        Self { scale, zero: (-low / scale).round().clamp(0.0, STEPS) as u8 }
    }

    /// What a value becomes on the way there and back.
    fn there_and_back(self, value: f32) -> f32 {
        let zero = f32::from(self.zero);
        (((value / self.scale).round() + zero).clamp(0.0, STEPS) - zero) * self.scale
    }
}

/// The scales with the least squared error for values of a graph that takes float32 images
/// `[batch, 3, side, side]` in 0..1, on these images, `[3, side, side]` bytes each; `None` for a value
/// that is no float32.
///
/// # Errors
/// A sentence, if the graph cannot be run.
pub(super) fn scales(
    model: &ModelProto,
    values: &[String],
    images: &[Vec<u8>],
    side: usize,
) -> Result<Vec<Option<Scale>>, String> {
    if images.is_empty() {
        return Err("there are no images to measure the ranges of its values on".into());
    }
    let mut watched = model.clone();
    let graph = watched.graph.mut_or_insert_default();
    graph.output = values
        .iter()
        .map(|name| {
            let mut info = ValueInfoProto::new();
            info.name.clone_from(name);
            info
        })
        .collect();
    let bytes = watched.write_to_bytes().map_err(|error| error.to_string())?;
    let graph = onnx::graph(&onnx::parse(&bytes)?)?;
    drop((watched, bytes));
    let plan = onnx::runnable(onnx::typed(graph, f32::datum_type(), &[1, 3, side, side])?)?;
    let run = |image: &Vec<u8>| {
        let numbers: Vec<f32> = image.iter().map(|&byte| f32::from(byte) / 255.0).collect();
        let input = Tensor::from_shape(&[1, 3, side, side], &numbers).map_err(onnx::reason)?;
        plan.run(tvec![input.into()]).map_err(onnx::reason)
    };
    let each = |watch: &(dyn Fn(usize, &[f32], &mut Watched) + Sync), begin: &Watched| {
        let of_image = |mut seen: Watched, image: &Vec<u8>| -> Result<Watched, String> {
            for (index, found) in run(image)?.iter().enumerate() {
                if found.datum_type() != f32::datum_type() {
                    continue;
                }
                let view = found.to_plain_array_view::<f32>().map_err(onnx::reason)?;
                let values = view.as_slice().ok_or("a value does not lie in one piece")?;
                watch(index, values, &mut seen);
            }
            Ok(seen)
        };
        images
            .par_iter()
            .try_fold(|| begin.clone(), of_image)
            .try_reduce(|| begin.clone(), |one, other| Ok(one.and(&other)))
    };
    let ends = each(
        &|index, values, seen| {
            let (low, high) = &mut seen.ends[index];
            for &value in values {
                *low = low.min(value);
                *high = high.max(value);
            }
            // Neither keeps what is no number.
            if values.iter().any(|value| value.is_nan()) {
                *low = f32::NEG_INFINITY;
            }
        },
        &Watched { ends: vec![(f32::MAX, f32::MIN); values.len()], counts: Vec::new() },
    )?;
    let is_float = |ends: &(f32, f32)| *ends != (f32::MAX, f32::MIN);
    if ends.ends.iter().any(|ends| is_float(ends) && !(ends.1 - ends.0).is_finite()) {
        return Err("some of its values are no finite numbers".into());
    }
    let begin = Watched { counts: vec![vec![0; BINS]; values.len()], ..ends };
    let histograms = each(
        &|index, values, seen| {
            let (low, high) = seen.ends[index];
            let bins = BINS as f32 / (high - low).max(f32::MIN_POSITIVE);
            for &value in values {
                seen.counts[index][(((value - low) * bins) as usize).min(BINS - 1)] += 1;
            }
        },
        &begin,
    )?;
    Ok(histograms
        .ends
        .iter()
        .zip(&histograms.counts)
        .map(|(&ends, counts)| is_float(&ends).then(|| best(ends, counts)))
        .collect())
}

/// What was seen of every value: its smallest and largest number, and how many lie in each bin
/// between them.
#[derive(Clone)]
struct Watched {
    ends: Vec<(f32, f32)>,
    counts: Vec<Vec<u64>>,
}

impl Watched {
    fn and(mut self, other: &Self) -> Self {
        for ((low, high), (other_low, other_high)) in self.ends.iter_mut().zip(&other.ends) {
            (*low, *high) = (low.min(*other_low), high.max(*other_high));
        }
        let counts = self.counts.iter_mut().flatten().zip(other.counts.iter().flatten());
        counts.for_each(|(count, more)| *count += more);
        self
    }
}

/// The share of the range that loses least: less of it has finer steps.
fn best((low, high): (f32, f32), counts: &[u64]) -> Scale {
    let width = (high - low) / counts.len() as f32;
    let error = |scale: Scale| -> f64 {
        counts
            .iter()
            .enumerate()
            .filter(|(_, count)| **count > 0)
            .map(|(bin, &count)| {
                let value = low + (bin as f32 + 0.5) * width;
                f64::from(scale.there_and_back(value) - value).powi(2) * count as f64
            })
            .sum()
    };
    (0..SHARES)
        .map(|step| {
            let share = 1.0 - (1.0 - LEAST_KEPT) * step as f32 / SHARES as f32;
            let scale = Scale::between(low * share, high * share);
            (error(scale), scale)
        })
        .min_by(|(one, _), (other, _)| one.total_cmp(other))
        .map_or(Scale::between(low, high), |(_, scale)| scale)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn zero_stays_zero_and_steps_cover_the_range() {
        for (low, high) in [(0.0, 6.0), (-1.5, 3.0), (-2.0, -1.0), (0.5, 0.7), (0.0, 0.0)] {
            let scale = Scale::between(low, high);
            assert_eq!(scale.there_and_back(0.0), 0.0, "{low} {high}");
            for share in 0..=10 {
                let value = low + (high - low) * share as f32 / 10.0;
                let error = (scale.there_and_back(value) - value).abs();
                assert!(error <= 0.51 * scale.scale, "{value} of {low} {high}: {error}");
            }
        }
    }

    #[test]
    fn what_hardly_occurs_does_not_coarsen_the_rest() {
        // A bell around 1 and one value at 100.
        let mut counts = vec![0; BINS];
        counts[0] = 1000;
        (0..40).for_each(|bin| counts[bin] += 100_000 / (1 + bin as u64));
        counts[BINS - 1] = 1;
        let cut = best((0.0, 100.0), &counts);
        assert!(cut.scale < 0.9 * 100.0 / 255.0, "{cut:?}");
        // Equally frequent values all count.
        let whole = best((0.0, 100.0), &vec![10; BINS]);
        assert!(whole.scale > 0.95 * 100.0 / 255.0, "{whole:?}");
    }
}
