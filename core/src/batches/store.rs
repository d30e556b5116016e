//! The images of a split, ready to be made into batches: kept in memory as bytes where they fit,
//! otherwise decoded when asked for.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, OnceLock};

use rand::seq::SliceRandom;
use rayon::prelude::*;

use crate::augment::View;
use crate::dataset::Dataset;
use crate::error::{DataError, Error, Result, TrainError};
use crate::images::{Detail, InputShape, write_input};
use crate::job::Job;
use crate::random::stream;
use crate::source::{ImageReader, Location, PixelSource, Problem, Split};

/// Bytes that decoded images may take by default: 4 GiB.
pub const DEFAULT_BUDGET: u64 = 4 << 30;

/// Samples tried in place of an unreadable one before the source itself is taken to be gone.
const SUBSTITUTES: usize = 16;

/// Warnings about single files before the rest are only counted.
const WARNINGS: usize = 20;

/// The images of one split at the network's input size, with their labels. Cloning is cheap: clones
/// share the images.
///
/// If all images fit the budget they are decoded once and kept as bytes, `[n, 3, side, side]`,
/// resized as [`to_input`](crate::images::to_input) does. Otherwise every batch is decoded when its
/// turn comes; then a resized crop is taken from the original, not from the resized image. Either
/// way no more is decoded than the input's side needs; see [`Detail`].
#[derive(Clone)]
pub struct Images {
    inner: Arc<Inner>,
}

struct Inner {
    shape: InputShape,
    labels: Vec<u32>,
    /// Places of the images among the split's samples.
    positions: Vec<usize>,
    /// Indices of each class's samples, ascending.
    by_class: Vec<Vec<usize>>,
    pixels: Pixels,
    /// Unreadable samples met while streaming, and whether each has been told of.
    broken: Mutex<BTreeMap<usize, (Problem, bool)>>,
}

enum Pixels {
    Memory(Vec<u8>),
    Streaming { source: Box<dyn PixelSource>, locations: Vec<Location> },
}

impl Images {
    /// The images of one split of `dataset` as inputs of a shape; a side alone stands for their
    /// largest centred squares. They are decoded once and kept if they take at most `budget` bytes;
    /// see [`DEFAULT_BUDGET`]. An unreadable image is left out with a warning that names it.
    ///
    /// # Errors
    /// The dataset's root is missing, the split is empty, or a class has no readable training
    /// image; [`Error::Stopped`].
    pub fn open(
        dataset: &Dataset,
        split: Split,
        shape: impl Into<InputShape>,
        budget: u64,
        job: Job<'_>,
    ) -> Result<Self> {
        let reader = ImageReader::open(&dataset.root, dataset.kind, job)?;
        Self::open_with(Box::new(reader), dataset, split, shape, budget, job)
    }

    /// [`Images::open`] with pixels from `source`.
    ///
    /// # Errors
    /// As [`Images::open`].
    pub fn open_with(
        source: Box<dyn PixelSource>,
        dataset: &Dataset,
        split: Split,
        shape: impl Into<InputShape>,
        budget: u64,
        job: Job<'_>,
    ) -> Result<Self> {
        let shape = shape.into();
        let samples = dataset.split(split);
        if samples.is_empty() {
            return Err(DataError::Source {
                path: dataset.root.clone(),
                reason: format!("there are no {split} images").into(),
            }
            .into());
        }
        let mut labels: Vec<u32> = samples.iter().map(|sample| sample.class as u32).collect();
        let locations: Vec<Location> =
            samples.iter().map(|sample| sample.location.clone()).collect();
        let mut positions: Vec<usize> = (0..samples.len()).collect();
        let size = 3 * shape.side * shape.side;
        let mut bytes = Vec::new();
        let fits = (samples.len() as u64).saturating_mul(size as u64) <= budget
            && bytes.try_reserve_exact(samples.len() * size).is_ok();
        if !fits {
            return Ok(Self::new(
                shape,
                dataset.classes.len(),
                labels,
                positions,
                Pixels::Streaming { source, locations },
            ));
        }
        bytes.resize(samples.len() * size, 0);
        let problems = decode_all(source.as_ref(), &locations, shape, &mut bytes, split, job)?;
        if !problems.is_empty() {
            warn_of(&problems, job);
            leave_out(&mut labels, &problems, 1);
            leave_out(&mut positions, &problems, 1);
            leave_out(&mut bytes, &problems, size);
        }
        if let Some((_, first)) = problems.first_key_value()
            && labels.is_empty()
        {
            let reason = format!(
                "no {split} image can be read; the first is {}: {}",
                first.path.display(),
                first.reason
            );
            return Err(
                DataError::Source { path: dataset.root.clone(), reason: reason.into() }.into()
            );
        }
        let images =
            Self::new(shape, dataset.classes.len(), labels, positions, Pixels::Memory(bytes));
        if split == Split::Train {
            images.refuse_emptied_classes(dataset)?;
        }
        Ok(images)
    }

    /// Images already decoded: `bytes` is `[n, 3, side, side]` and `labels`, each below `classes`,
    /// `[n]`.
    ///
    /// # Errors
    /// [`TrainError::Request`] if the lengths or labels do not agree.
    pub fn from_bytes(
        side: usize,
        classes: usize,
        labels: Vec<u32>,
        bytes: Vec<u8>,
    ) -> Result<Self> {
        if bytes.len() != labels.len() * 3 * side * side {
            let text = format!(
                "{} bytes are not {} images of 3 × {side} × {side}",
                bytes.len(),
                labels.len()
            );
            return Err(TrainError::Request(text).into());
        }
        if let Some(label) = labels.iter().find(|&&label| label as usize >= classes) {
            return Err(TrainError::Request(format!(
                "label {label} is not below the number of classes, {classes}"
            ))
            .into());
        }
        let positions = (0..labels.len()).collect();
        Ok(Self::new(side.into(), classes, labels, positions, Pixels::Memory(bytes)))
    }

    fn new(
        shape: InputShape,
        classes: usize,
        labels: Vec<u32>,
        positions: Vec<usize>,
        pixels: Pixels,
    ) -> Self {
        let mut by_class = vec![vec![]; classes];
        for (index, &label) in labels.iter().enumerate() {
            by_class[label as usize].push(index);
        }
        Self {
            inner: Arc::new(Inner {
                shape,
                labels,
                positions,
                by_class,
                pixels,
                broken: Mutex::default(),
            }),
        }
    }

    fn refuse_emptied_classes(&self, dataset: &Dataset) -> Result<()> {
        let wanted = dataset.counts(Split::Train);
        let emptied: Vec<String> = (0..wanted.len())
            .filter(|&class| wanted[class] > 0 && self.inner.by_class[class].is_empty())
            .map(|class| dataset.classes[class].clone())
            .collect();
        if emptied.is_empty() {
            return Ok(());
        }
        Err(DataError::Many {
            summary: "classes of which no training image can be read".into(),
            items: emptied,
        }
        .into())
    }

    /// Number of images.
    pub fn len(&self) -> usize {
        self.inner.labels.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.inner.labels.is_empty()
    }

    /// Side of the square images in pixels.
    pub fn side(&self) -> usize {
        self.inner.shape.side
    }

    /// The label of each image, `[n]`.
    pub fn labels(&self) -> &[u32] {
        &self.inner.labels
    }

    /// Where each image stands in [`Dataset::split`] of its split, `[n]`, ascending: images left
    /// out when they were decoded leave gaps.
    pub fn positions(&self) -> &[usize] {
        &self.inner.positions
    }

    /// Images of each class, `[classes]`: n_k as trained on, unreadable images not counted.
    pub fn counts(&self) -> Vec<usize> {
        self.inner.by_class.iter().map(Vec::len).collect()
    }

    /// Whether the images are kept in memory, rather than decoded each time.
    pub fn is_in_memory(&self) -> bool {
        matches!(self.inner.pixels, Pixels::Memory(_))
    }

    /// All images' bytes, `[n, 3, side, side]`, if they are kept in memory.
    pub(crate) fn bytes(&self) -> Option<&[u8]> {
        match &self.inner.pixels {
            Pixels::Memory(bytes) => Some(bytes),
            Pixels::Streaming { .. } => None,
        }
    }

    /// Unreadable images met since this was last asked, each once. Only streamed images can become
    /// unreadable; while training another image of the same class took their place, elsewhere they
    /// were left out.
    pub fn take_problems(&self) -> Vec<Problem> {
        let mut broken = self.inner.broken.lock().unwrap_or_else(|e| e.into_inner());
        let untold = broken.values_mut().filter(|(_, told)| !told);
        untold.map(|(problem, told)| (std::mem::replace(told, true), problem.clone()).1).collect()
    }

    /// Warns of what [`Images::take_problems`] returns.
    pub(crate) fn warn_of_problems(&self, job: Job<'_>) {
        for problem in self.take_problems() {
            job.warn(format!("left out {}: {}", problem.path.display(), problem.reason));
        }
    }

    /// Mean and standard deviation of each channel (0..1) over all pixels of the images, or, if
    /// they are streamed, of 2,048 drawn by `seed`. A channel without any variation gets the
    /// deviation 1/255, since it is divided by.
    ///
    /// # Errors
    /// If none of the images can be read.
    pub fn measure_normalisation(&self, seed: u64, job: Job<'_>) -> Result<([f32; 3], [f32; 3])> {
        let mut chosen: Vec<usize> = (0..self.len()).collect();
        if !self.is_in_memory() && self.len() > 2048 {
            chosen.shuffle(&mut stream(seed, "normalisation", &[]));
            chosen.truncate(2048);
        }
        let size = 3 * self.side() * self.side();
        // Sums of bytes and of their squares, exact and so independent of the order they are added
        // in.
        let mut total = [[0u64; 2]; 3];
        let mut images = 0u64;
        job.phase("measuring colours", Some(chosen.len() as u64), "images");
        for (part, indices) in chosen.chunks(256).enumerate() {
            job.check()?;
            let sums = |&index: &usize| {
                let view = self.view(index, self.detail()).ok()?;
                let mut planes = vec![0; size];
                view.write(self.side(), &mut planes);
                let mut sums = [[0u64; 2]; 3];
                for (plane, [sum, squares]) in planes.chunks_exact(size / 3).zip(&mut sums) {
                    *sum = plane.iter().map(|&v| u64::from(v)).sum();
                    *squares = plane.iter().map(|&v| u64::from(v) * u64::from(v)).sum();
                }
                Some(sums)
            };
            for sums in in_pool(|| indices.par_iter().filter_map(sums).collect::<Vec<_>>()) {
                images += 1;
                total
                    .iter_mut()
                    .flatten()
                    .zip(sums.iter().flatten())
                    .for_each(|(total, sum)| *total += sum);
            }
            job.progress((part * 256 + indices.len()) as u64);
        }
        if images == 0 {
            return Err(self.nothing_readable());
        }
        let pixels = (images * (size / 3) as u64) as f64;
        let mean = total.map(|[sum, _]| sum as f64 / pixels);
        let std: [f64; 3] = std::array::from_fn(|c| {
            (total[c][1] as f64 / pixels - mean[c] * mean[c]).max(1.0).sqrt()
        });
        Ok((mean.map(|m| (m / 255.0) as f32), std.map(|s| (s / 255.0) as f32)))
    }

    #[cfg(test)]
    pub(crate) fn owners(&self) -> usize {
        Arc::strong_count(&self.inner)
    }

    /// The detail that an un-augmented input needs.
    pub(crate) fn detail(&self) -> Detail {
        Detail::Side(self.side() as u32)
    }

    /// The pixels of one image, with at least the detail asked for; of one that is kept in memory,
    /// those of the input.
    pub(crate) fn view(&self, index: usize, detail: Detail) -> Result<View<'_>> {
        let inner = &*self.inner;
        match &inner.pixels {
            Pixels::Memory(bytes) => {
                let size = 3 * inner.shape.side * inner.shape.side;
                Ok(View::Planes(&bytes[index * size..][..size]))
            }
            Pixels::Streaming { source, locations } => {
                let original = |image| View::Original(image, inner.shape.fit);
                source.read(&locations[index], detail).map(original).inspect_err(|error| {
                    let mut broken = inner.broken.lock().unwrap_or_else(|e| e.into_inner());
                    broken
                        .entry(index)
                        .or_insert_with(|| (problem(&locations[index], error), false));
                })
            }
        }
    }

    /// The pixels of one image or, if it cannot be read, of the next of its class that can, failing
    /// that of the next at all. Says which.
    ///
    /// # Errors
    /// After 17 unreadable images in a row: the source is then gone rather than broken.
    pub(crate) fn view_or_substitute(
        &self,
        index: usize,
        detail: Detail,
    ) -> Result<(usize, View<'_>)> {
        let first = match self.view(index, detail) {
            Ok(view) => return Ok((index, view)),
            Err(error) => error,
        };
        let own_class = &self.inner.by_class[self.inner.labels[index] as usize];
        let place = own_class.partition_point(|&other| other <= index);
        let siblings = own_class[place..]
            .iter()
            .chain(&own_class[..place])
            .copied()
            .filter(|&other| other != index);
        let strangers = (index + 1..self.len()).chain(0..index);
        for other in siblings.take(SUBSTITUTES / 2).chain(strangers.take(SUBSTITUTES / 2)) {
            if let Ok(view) = self.view(other, detail) {
                return Ok((other, view));
            }
        }
        Err(first)
    }

    /// The error for a split of which nothing can be read.
    pub(crate) fn nothing_readable(&self) -> Error {
        let broken = self.inner.broken.lock().unwrap_or_else(|e| e.into_inner());
        match broken.first_key_value() {
            Some((_, (first, _))) => {
                DataError::File { path: first.path.clone(), reason: first.reason.clone().into() }
                    .into()
            }
            None => TrainError::Request("there are no images".into()).into(),
        }
    }
}

/// Decodes every image into `bytes`; returns the unreadable ones by index.
fn decode_all(
    source: &dyn PixelSource,
    locations: &[Location],
    shape: InputShape,
    bytes: &mut [u8],
    split: Split,
    job: Job<'_>,
) -> Result<BTreeMap<usize, Problem>> {
    const PART: usize = 128;
    let size = 3 * shape.side * shape.side;
    let mut problems = BTreeMap::new();
    job.phase(format!("decoding {split} images"), Some(locations.len() as u64), "images");
    for (part, (locations, bytes)) in
        locations.chunks(PART).zip(bytes.chunks_mut(PART * size)).enumerate()
    {
        job.check()?;
        let detail = Detail::Side(shape.side as u32);
        let decode = |(location, planes): (&Location, &mut [u8])| {
            source
                .read(location, detail)
                .map(|image| write_input(&image, shape, planes))
                .map_err(|error| problem(location, &error))
                .err()
        };
        let failed: Vec<Option<Problem>> = in_pool(|| {
            locations.par_iter().zip(bytes.par_chunks_exact_mut(size)).map(decode).collect()
        });
        problems.extend(
            failed
                .into_iter()
                .enumerate()
                .filter_map(|(i, failed)| Some((part * PART + i, failed?))),
        );
        job.progress((part * PART + locations.len()) as u64);
    }
    Ok(problems)
}

fn problem(location: &Location, error: &Error) -> Problem {
    match error {
        Error::Data(DataError::File { path, reason }) => {
            Problem { path: path.clone(), reason: reason.to_string() }
        }
        other => Problem { path: PathBuf::from(location.to_text()), reason: other.to_string() },
    }
}

fn warn_of(problems: &BTreeMap<usize, Problem>, job: Job<'_>) {
    for problem in problems.values().take(WARNINGS) {
        job.warn(format!("left out {}: {}", problem.path.display(), problem.reason));
    }
    if problems.len() > WARNINGS {
        job.warn(format!("left out {} more unreadable images", problems.len() - WARNINGS));
    }
}

/// Removes the items at the problems' indices, each `size` long.
fn leave_out<T: Clone>(items: &mut Vec<T>, problems: &BTreeMap<usize, Problem>, size: usize) {
    let mut index = 0;
    items.retain(|_| {
        index += 1;
        !problems.contains_key(&((index - 1) / size))
    });
}

/// Runs on threads of its own, so that decoding and augmenting neither wait for the device's work
/// on the CPU nor hold it up.
pub(crate) fn in_pool<R: Send>(work: impl FnOnce() -> R + Send) -> R {
    static POOL: OnceLock<Option<rayon::ThreadPool>> = OnceLock::new();
    let build = || {
        rayon::ThreadPoolBuilder::new()
            .num_threads(rayon::current_num_threads())
            .thread_name(|i| format!("images-{i}"))
            .build()
            .ok()
    };
    match POOL.get_or_init(build) {
        Some(pool) => pool.install(work),
        None => work(),
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;
    use crate::dataset::DatasetSample;
    use crate::images::RgbPixels;
    use crate::job::{Control, Event};
    use crate::source::SourceKind;

    /// Gives an image whose red is the number its file is named by; refuses numbers in `broken`.
    struct Numbers {
        broken: Vec<u8>,
        side: u32,
    }

    impl PixelSource for Numbers {
        fn read(&self, location: &Location, _: Detail) -> Result<RgbPixels> {
            let text = location.to_text();
            let number: u8 = text.parse().unwrap();
            if self.broken.contains(&number) {
                return Err(DataError::File {
                    path: PathBuf::from(text),
                    reason: "the file ends early".into(),
                }
                .into());
            }
            let data = (0..self.side * self.side).flat_map(|i| [number, i as u8, 100]).collect();
            Ok(RgbPixels { width: self.side, height: self.side, data })
        }
    }

    /// Training samples 0, 1, 2, … of the given classes.
    fn dataset(classes: &[usize]) -> Dataset {
        let sample = |(number, &class): (usize, &usize)| DatasetSample {
            location: Location::File(Path::new(&number.to_string()).to_path_buf()),
            class,
            split: Split::Train,
            group: None,
        };
        Dataset {
            root: PathBuf::from("set"),
            kind: SourceKind::Folder,
            classes: vec!["a".into(), "b".into(), "c".into()],
            samples: classes.iter().enumerate().map(sample).collect(),
            provenance: Default::default(),
        }
    }

    fn open(broken: &[u8], classes: &[usize], budget: u64) -> (Result<Images>, Vec<String>) {
        let warnings = Mutex::new(vec![]);
        let sink = |event: Event| {
            if let Event::Message { text, .. } = event {
                warnings.lock().unwrap().push(text);
            }
        };
        let control = Control::new();
        let source = Box::new(Numbers { broken: broken.to_vec(), side: 4 });
        let images = Images::open_with(
            source,
            &dataset(classes),
            Split::Train,
            4,
            budget,
            Job::new(&control, &sink),
        );
        (images, warnings.into_inner().unwrap())
    }

    fn measure(images: &Images) -> Result<([f32; 3], [f32; 3])> {
        let control = Control::new();
        images.measure_normalisation(0, Job::new(&control, &|_: Event| {}))
    }

    #[test]
    fn a_broken_image_is_left_out_and_named() {
        let (images, warnings) = open(&[1, 4], &[0, 0, 0, 1, 1, 2], u64::MAX);
        let images = images.unwrap();
        assert!(images.is_in_memory());
        assert_eq!(images.labels(), [0, 0, 1, 2]);
        assert_eq!(images.positions(), [0, 2, 3, 5]);
        assert_eq!(images.counts(), [2, 1, 1]);
        assert_eq!(
            warnings,
            ["left out 1: the file ends early", "left out 4: the file ends early"]
        );
        let reds: Vec<u8> = images
            .eval_batches(3, false)
            .flat_map(|b| b.unwrap().images.chunks(48).map(|i| i[0]).collect::<Vec<_>>())
            .collect();
        assert_eq!(reds, [0, 2, 3, 5]);
    }

    #[test]
    fn a_class_without_a_readable_image_is_an_error() {
        let error = open(&[3, 4, 5], &[0, 0, 0, 1, 1, 2], u64::MAX).0.err().unwrap().to_string();
        assert!(
            error.contains("b") && error.contains("c") && error.contains("no training image"),
            "{error}"
        );
        let error = open(&[0, 1], &[0, 0], u64::MAX).0.err().unwrap().to_string();
        assert!(error.contains("the file ends early"), "{error}");
        let error = open(&[], &[], u64::MAX).0.err().unwrap().to_string();
        assert!(error.contains("no train images"), "{error}");
    }

    #[test]
    fn the_budget_decides_where_images_are() {
        assert!(open(&[], &[0; 10], 480).0.unwrap().is_in_memory());
        assert!(!open(&[], &[0; 10], 479).0.unwrap().is_in_memory());
    }

    #[test]
    fn a_broken_streamed_image_is_replaced_by_its_class() {
        let images = open(&[1, 4, 5], &[0, 0, 0, 1, 1, 2], 0).0.unwrap();
        let found =
            |index| images.view_or_substitute(index, Detail::Full).map(|(found, _)| found).unwrap();
        assert_eq!([0, 1, 2, 3, 4].map(found), [0, 2, 2, 3, 3]);
        // Class c has no other image: the next of all, from the start, takes its place.
        assert_eq!(found(5), 0);
        let problems = images.take_problems();
        assert_eq!(
            problems.iter().map(|p| p.path.to_str().unwrap()).collect::<Vec<_>>(),
            ["1", "4", "5"]
        );
        assert_eq!(problems[0].reason, "the file ends early");
        found(1);
        assert!(images.take_problems().is_empty());
    }

    #[test]
    fn a_vanished_source_is_an_error() {
        let images = open(&(0..40).collect::<Vec<_>>(), &[0; 40], 0).0.unwrap();
        assert!(
            images
                .view_or_substitute(7, Detail::Full)
                .err()
                .unwrap()
                .to_string()
                .contains("7: the file ends early")
        );
        assert!(images.eval_batches(8, false).next().unwrap().is_err());
        assert!(measure(&images).is_err());
    }

    #[test]
    fn colours_are_measured_over_all_pixels() {
        let bytes = [
            vec![0; 4],
            vec![51; 4],
            vec![10, 20, 30, 40],
            vec![255; 4],
            vec![51; 4],
            vec![10, 20, 30, 40],
        ]
        .concat();
        let (mean, std) = measure(&Images::from_bytes(2, 1, vec![0, 0], bytes).unwrap()).unwrap();
        let close =
            |got: [f32; 3], want: [f32; 3]| got.iter().zip(want).all(|(g, w)| (g - w).abs() < 1e-6);
        assert!(close(mean, [0.5, 0.2, 25.0 / 255.0]), "{mean:?}");
        assert!(close(std, [0.5, 1.0 / 255.0, 125f32.sqrt() / 255.0]), "{std:?}");
        let memory = open(&[], &[0; 100], u64::MAX).0.unwrap();
        let streamed = open(&[], &[0; 100], 0).0.unwrap();
        assert_eq!(measure(&memory).unwrap(), measure(&streamed).unwrap());
    }

    #[test]
    fn wrong_lengths_and_labels_are_refused() {
        assert!(Images::from_bytes(2, 1, vec![0, 0], vec![0; 23]).is_err());
        assert!(Images::from_bytes(2, 1, vec![0, 1], vec![0; 24]).is_err());
    }

    #[test]
    fn a_stopped_job_stops_decoding() {
        let control = Control::new();
        control.stop();
        let source = Box::new(Numbers { broken: vec![], side: 4 });
        let outcome = Images::open_with(
            source,
            &dataset(&[0, 1]),
            Split::Train,
            4,
            u64::MAX,
            Job::new(&control, &|_: Event| {}),
        );
        assert!(matches!(outcome, Err(Error::Stopped)));
    }
}
