//! The map as it is kept in the run's folder: checked for all that it says before it is used, and
//! made again otherwise.

use std::collections::HashMap;
use std::io::Write;
use std::path::PathBuf;

use safetensors::tensor::{Dtype, TensorView};
use safetensors::{SafeTensors, serialize};

use super::MOST;
use crate::files::{self, write_atomically};
use crate::run::Run;

/// The most bytes that such a file may have: those of the most images, and the rest of the file.
const LARGEST: u64 = 32 * MOST as u64 + (1 << 16);

/// What is kept of an image.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Placed {
    pub sample: u32,
    pub predicted: u32,
    pub probability: f32,
    pub place: [f32; 2],
}

fn path(run: &Run, checkpoint: &str) -> PathBuf {
    run.folder().join("features").join(format!("map-{checkpoint}.safetensors"))
}

/// The stored map, unless there is none, it is damaged or another one's.
pub(super) fn read(run: &Run, checkpoint: &str, key: &str) -> Option<Vec<Placed>> {
    let bytes = files::read(&path(run, checkpoint), LARGEST).ok()?;
    let (_, header) = SafeTensors::read_metadata(&bytes).ok()?;
    if header.metadata().as_ref()?.get("key")? != key {
        return None;
    }
    let tensors = SafeTensors::deserialize(&bytes).ok()?;
    let words = |name: &str, dtype: Dtype, width: usize| -> Option<Vec<[u8; 4]>> {
        let tensor = tensors.tensor(name).ok()?;
        let rows = tensor.shape().first()?;
        let expected: &[usize] = if width == 1 { &[*rows] } else { &[*rows, width] };
        let fits = tensor.dtype() == dtype && tensor.shape() == expected;
        fits.then(|| tensor.data().as_chunks::<4>().0.to_vec())
    };
    let samples = words("samples", Dtype::U32, 1)?;
    let predicted = words("predicted", Dtype::U32, 1)?;
    let probabilities = words("probabilities", Dtype::F32, 1)?;
    let places = words("places", Dtype::F32, 2)?;
    let n = samples.len();
    if n == 0 || [predicted.len(), probabilities.len(), places.len() / 2] != [n; 3] {
        return None;
    }
    let dataset = run.dataset();
    let mut met = vec![false; dataset.samples.len()];
    (0..n)
        .map(|at| {
            let placed = Placed {
                sample: u32::from_le_bytes(samples[at]),
                predicted: u32::from_le_bytes(predicted[at]),
                probability: f32::from_le_bytes(probabilities[at]),
                place: [2 * at, 2 * at + 1].map(|at| f32::from_le_bytes(places[at])),
            };
            let met = met.get_mut(placed.sample as usize)?;
            let usable = !std::mem::replace(met, true)
                && (placed.predicted as usize) < dataset.classes.len()
                && (0.0..=1.0).contains(&placed.probability)
                && placed.place.iter().all(|value| value.is_finite());
            usable.then_some(placed)
        })
        .collect()
}

pub(super) fn write(
    run: &Run,
    checkpoint: &str,
    key: &str,
    placed: &[Placed],
) -> std::io::Result<()> {
    let bytes =
        |of: &dyn Fn(&Placed) -> [u8; 4]| -> Vec<u8> { placed.iter().flat_map(of).collect() };
    let samples = bytes(&|placed| placed.sample.to_le_bytes());
    let predicted = bytes(&|placed| placed.predicted.to_le_bytes());
    let probabilities = bytes(&|placed| placed.probability.to_le_bytes());
    let places: Vec<u8> =
        placed.iter().flat_map(|placed| placed.place).flat_map(f32::to_le_bytes).collect();
    let n = placed.len();
    let views = || {
        Ok([
            ("samples", TensorView::new(Dtype::U32, vec![n], &samples)?),
            ("predicted", TensorView::new(Dtype::U32, vec![n], &predicted)?),
            ("probabilities", TensorView::new(Dtype::F32, vec![n], &probabilities)?),
            ("places", TensorView::new(Dtype::F32, vec![n, 2], &places)?),
        ])
    };
    let file = views()
        .and_then(|views| serialize(views, Some(HashMap::from([("key".into(), key.to_string())]))))
        .map_err(|error: safetensors::SafeTensorError| std::io::Error::other(error))?;
    write_atomically(&path(run, checkpoint), |out| out.write_all(&file))
}
