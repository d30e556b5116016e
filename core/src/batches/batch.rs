//! Batches, prepared ahead of the device by threads of their own.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;

use crossbeam_channel::{Receiver, Sender};
use rayon::prelude::*;

use super::store::{Images, in_pool};
use crate::augment::{Augmentation, Mixed, mirror};
use crate::error::{Error, Result};
use crate::random::stream;
use crate::recipes::Recipes;

/// Batches kept ready ahead of the device.
const AHEAD: usize = 3;

/// Batches there can be at a time: those ready, the one being prepared, and the one in use.
const IN_FLIGHT: usize = AHEAD + 2;

/// Some images with their labels.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Batch {
    /// The images as bytes, `[batch, 3, side, side]`, red, green, blue; to be divided by 255 and
    /// normalised. Empty if there are recipes.
    pub images: Vec<u8>,
    /// What to draw, `[batch]`, for a device that holds the images itself; otherwise empty.
    pub recipes: Recipes,
    /// The label of each image, `[batch]`.
    pub labels: Vec<u32>,
    /// What was mixed into the images, if mixup or CutMix was.
    pub mixed: Option<Mixed>,
    /// Which of [`Images`] each is, `[batch]`.
    pub indices: Vec<usize>,
}

impl Batch {
    /// Number of images.
    pub fn len(&self) -> usize {
        self.labels.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.labels.is_empty()
    }
}

/// Which batches of training to make.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct EpochPlan {
    /// Samples a batch.
    pub batch_size: usize,
    /// The run's seed.
    pub seed: u64,
    /// Epoch, from 0.
    pub epoch: usize,
    /// First step to make; the ones before were made before a checkpoint.
    pub from_step: usize,
}

impl Images {
    /// Steps of one epoch: a last batch of a single sample is left out, since batch norm needs two.
    pub fn steps(&self, batch_size: usize) -> usize {
        let batch_size = batch_size.max(1);
        self.len() / batch_size + usize::from(self.len() % batch_size >= 2)
    }

    /// The augmented batches of one epoch, in an order shuffled anew each epoch. What they hold
    /// depends on the images, the augmentation and the plan alone, not on threads or on where the
    /// epoch was begun.
    ///
    /// An image that turns out unreadable is replaced by another of its class; see
    /// [`Images::take_problems`].
    ///
    /// # Errors
    /// Each item can be the error that ends the iteration: the source can no longer be read.
    pub fn train_batches(&self, augmentation: &Augmentation, plan: EpochPlan) -> Batches {
        let (images, augmentation) = (self.clone(), augmentation.clone());
        let batch_size = plan.batch_size.max(1);
        let order = self.order(&plan);
        let mut scratch = Vec::new();
        Batches::prepare(plan.from_step..self.steps(batch_size), move |step, spare, stop| {
            let chosen = &order[step * batch_size..((step + 1) * batch_size).min(order.len())];
            let draw = Draw {
                augmentation: &augmentation,
                seed: plan.seed,
                purpose: "augment",
                pass: plan.epoch as u64,
            };
            let mut batch = images.augmented(chosen, &draw, spare, stop)?;
            let mut rng = stream(plan.seed, "mix", &[plan.epoch as u64, step as u64]);
            if let Some(mixing) = augmentation.draw_mixing(batch.len(), images.side(), &mut rng) {
                mixing.apply(&mut batch.images, images.side(), &mut scratch);
                batch.mixed = Some(mixing.mixed(&batch.labels));
            }
            Ok(Some(batch))
        })
    }

    /// All images once, augmented but neither shuffled nor mixed: the `view`th further view of the
    /// data, for features computed once.
    ///
    /// # Errors
    /// As [`Images::train_batches`].
    pub fn augmented_view(
        &self,
        augmentation: &Augmentation,
        batch_size: usize,
        seed: u64,
        view: usize,
    ) -> Batches {
        let (images, augmentation) = (self.clone(), augmentation.clone());
        let (batch_size, count) = (batch_size.max(1), self.len());
        Batches::prepare(0..count.div_ceil(batch_size), move |step, spare, stop| {
            let chosen: Vec<usize> =
                (step * batch_size..((step + 1) * batch_size).min(count)).collect();
            let draw =
                Draw { augmentation: &augmentation, seed, purpose: "view", pass: view as u64 };
            images.augmented(&chosen, &draw, spare, stop).map(Some)
        })
    }

    /// All images once, in order and un-augmented; `mirrored` turns each left to right. Unreadable
    /// images are left out, so batches can be smaller than asked for: go by their indices.
    ///
    /// # Errors
    /// An item is an error if not one of the images can be read.
    pub fn eval_batches(&self, batch_size: usize, mirrored: bool) -> Batches {
        let images = self.clone();
        let (batch_size, count) = (batch_size.max(1), self.len());
        let steps = count.div_ceil(batch_size);
        let mut any = false;
        Batches::prepare(0..steps, move |step, spare, stop| {
            let batch = images.plain(
                step * batch_size..((step + 1) * batch_size).min(count),
                mirrored,
                spare,
                stop,
            );
            any |= !batch.is_empty();
            if step + 1 == steps && !any {
                return Err(images.nothing_readable());
            }
            Ok((!batch.is_empty()).then_some(batch))
        })
    }

    /// One augmented image for each of `chosen`, in the room that `batch` has.
    fn augmented(
        &self,
        chosen: &[usize],
        draw: &Draw<'_>,
        mut batch: Batch,
        stop: &AtomicBool,
    ) -> Result<Batch> {
        let side = self.side();
        let size = 3 * side * side;
        batch.recipes.clear();
        batch.images.resize(chosen.len() * size, 0);
        batch.indices.clear();
        batch.indices.extend_from_slice(chosen);
        let one = |(index, planes): (&mut usize, &mut [u8])| -> Result<()> {
            if stop.load(Ordering::Relaxed) {
                return Ok(());
            }
            let (found, view) = self.view_or_substitute(*index, draw.augmentation.detail(side))?;
            *index = found;
            let mut rng = stream(draw.seed, draw.purpose, &[draw.pass, found as u64]);
            draw.augmentation.write(&view, side, planes, &mut rng);
            Ok(())
        };
        // Handing tiny images out one by one would cost more than the work.
        let part =
            if draw.augmentation.is_heavy() || !self.is_in_memory() { 1 } else { 1 + 65536 / size };
        batch
            .indices
            .par_iter_mut()
            .zip(batch.images.par_chunks_exact_mut(size))
            .with_min_len(part)
            .try_for_each(one)?;
        batch.labels.clear();
        batch.labels.extend(batch.indices.iter().map(|&index| self.labels()[index]));
        batch.mixed = None;
        Ok(batch)
    }

    /// The readable ones of a range of images, in the room that `batch` has.
    fn plain(
        &self,
        range: std::ops::Range<usize>,
        mirrored: bool,
        mut batch: Batch,
        stop: &AtomicBool,
    ) -> Batch {
        /// Stands for an image that cannot be read.
        const NONE: usize = usize::MAX;
        let side = self.side();
        let size = 3 * side * side;
        batch.recipes.clear();
        batch.images.resize(range.len() * size, 0);
        batch.indices.clear();
        batch.indices.extend(range);
        let one = |(index, planes): (&mut usize, &mut [u8])| {
            if stop.load(Ordering::Relaxed) {
                return;
            }
            match self.view(*index, self.detail()) {
                Ok(view) => view.write(side, planes),
                Err(_) => return *index = NONE,
            }
            if mirrored {
                mirror(planes, side);
            }
        };
        let part = if self.is_in_memory() { 1 + 65536 / size } else { 1 };
        batch
            .indices
            .par_iter_mut()
            .zip(batch.images.par_chunks_exact_mut(size))
            .with_min_len(part)
            .for_each(one);
        let mut kept = 0;
        for at in 0..batch.indices.len() {
            if batch.indices[at] != NONE {
                if kept != at {
                    batch.indices[kept] = batch.indices[at];
                    batch.images.copy_within(at * size..(at + 1) * size, kept * size);
                }
                kept += 1;
            }
        }
        batch.indices.truncate(kept);
        batch.images.truncate(kept * size);
        batch.labels.clear();
        batch.labels.extend(batch.indices.iter().map(|&index| self.labels()[index]));
        batch.mixed = None;
        batch
    }
}

/// Where augmentation draws from: one stream a sample, so that threads do not matter.
struct Draw<'a> {
    augmentation: &'a Augmentation,
    seed: u64,
    purpose: &'static str,
    pass: u64,
}

/// Batches as a thread prepares them, a few ahead of the caller that takes them. Dropping this
/// stops the thread.
///
/// A batch that is given back with [`Batches::reuse`] is filled anew, so that nothing the size of
/// images is allocated once a few batches have gone round.
pub struct Batches {
    /// `None` once the last batch, or an error, was given.
    receiver: Option<Receiver<Result<Batch>>>,
    spares: Sender<Batch>,
    stop: Arc<AtomicBool>,
    worker: Option<JoinHandle<()>>,
}

impl Batches {
    /// Starts making the batch of each of `steps` in the room of an earlier one, or of none; a step
    /// can give none.
    pub(super) fn prepare(
        steps: std::ops::Range<usize>,
        mut make: impl FnMut(usize, Batch, &AtomicBool) -> Result<Option<Batch>> + Send + 'static,
    ) -> Self {
        let (sender, receiver) = crossbeam_channel::bounded(AHEAD);
        let (spares, returned) = crossbeam_channel::bounded::<Batch>(IN_FLIGHT);
        let stop = Arc::new(AtomicBool::new(false));
        let worker = {
            let (sender, stop) = (sender.clone(), stop.clone());
            std::thread::Builder::new().name("batches".into()).spawn(move || {
                for step in steps {
                    let spare = returned.try_recv().unwrap_or_default();
                    let Some(batch) = in_pool(|| make(step, spare, &stop)).transpose() else {
                        continue;
                    };
                    let failed = batch.is_err();
                    if stop.load(Ordering::Relaxed) || sender.send(batch).is_err() || failed {
                        return;
                    }
                }
            })
        };
        let worker = worker.map_err(|error| {
            // The channel is empty, so there is room.
            let _ = sender.send(Err(Error::Internal(format!(
                "a thread to prepare batches cannot be started: {error}"
            ))));
        });
        Self { receiver: Some(receiver), spares, stop, worker: worker.ok() }
    }

    /// Gives back a batch that is no longer needed, for its memory.
    pub fn reuse(&self, batch: Batch) {
        // With no room or no worker left, the memory is freed instead.
        let _ = self.spares.try_send(batch);
    }

    /// Ends the worker; says whether it panicked.
    fn finish(&mut self) -> bool {
        self.stop.store(true, Ordering::Relaxed);
        // A worker waiting to hand over a batch wakes when the receiver is gone.
        self.receiver = None;
        self.worker.take().is_some_and(|worker| worker.join().is_err())
    }
}

impl Iterator for Batches {
    type Item = Result<Batch>;

    fn next(&mut self) -> Option<Self::Item> {
        match self.receiver.as_ref()?.recv() {
            Ok(Ok(batch)) => Some(Ok(batch)),
            Ok(Err(error)) => {
                self.finish();
                Some(Err(error))
            }
            Err(_) => {
                let panicked = self.finish();
                panicked
                    .then(|| Err(Error::Internal("preparing a batch failed unexpectedly".into())))
            }
        }
    }
}

impl Drop for Batches {
    fn drop(&mut self) {
        self.finish();
    }
}

#[cfg(test)]
mod tests {
    use crate::error::DataError;
    use std::collections::HashSet;

    use super::*;
    use crate::dataset::{Dataset, DatasetSample};
    use crate::images::{Detail, RgbPixels};
    use crate::job::{Control, Event, Job};
    use crate::settings::{Preset, Settings};
    use crate::source::{Location, PixelSource, SourceKind, Split};

    /// Images of 8 × 8 with every pixel different, ten classes.
    fn images(count: usize) -> Images {
        let bytes = (0..count * 192).map(|i| (i as u64 * 2_654_435_761 % 253) as u8).collect();
        Images::from_bytes(8, 10, (0..count).map(|i| (i % 10) as u32).collect(), bytes).unwrap()
    }

    fn everything() -> Augmentation {
        let mut s = Settings::preset(Preset::Strong).augmentation;
        (s.resized_crop, s.color_jitter, s.random_erasing, s.cutout, s.mixup, s.cutmix) =
            (true, 0.4, 0.5, 3, 0.4, 1.0);
        Augmentation::new(&s, [0.5; 3])
    }

    fn nothing() -> Augmentation {
        let mut s = Settings::preset(Preset::Quick).augmentation;
        (s.pad_crop, s.flip) = (0, crate::settings::Auto::Value(false));
        Augmentation::new(&s, [0.5; 3])
    }

    fn plan(epoch: usize, from_step: usize) -> EpochPlan {
        EpochPlan { batch_size: 16, seed: 5, epoch, from_step }
    }

    fn all(batches: Batches) -> Vec<Batch> {
        batches.map(|batch| batch.unwrap()).collect()
    }

    #[test]
    fn an_epoch_holds_every_image_once_in_a_new_order() {
        let images = images(50);
        assert_eq!(images.steps(16), 4);
        let indices = |epoch| {
            all(images.train_batches(&nothing(), plan(epoch, 0)))
                .into_iter()
                .flat_map(|b| b.indices)
                .collect::<Vec<_>>()
        };
        let (first, second) = (indices(0), indices(1));
        assert_ne!(first, second);
        for mut order in [first, second] {
            assert_ne!(order, (0..50).collect::<Vec<_>>());
            order.sort_unstable();
            assert_eq!(order, (0..50).collect::<Vec<_>>());
        }
        let plain: Vec<Batch> = all(images.eval_batches(50, false));
        for batch in all(images.train_batches(&nothing(), plan(0, 0))) {
            for (at, &index) in batch.indices.iter().enumerate() {
                assert_eq!(batch.images[at * 192..][..192], plain[0].images[index * 192..][..192]);
                assert_eq!(batch.labels[at], images.labels()[index]);
            }
        }
    }

    #[test]
    fn a_last_batch_of_one_is_left_out_of_training_only() {
        let images = images(33);
        assert_eq!(images.steps(16), 2);
        assert_eq!(all(images.train_batches(&nothing(), plan(0, 0))).len(), 2);
        assert_eq!(all(images.eval_batches(16, false)).len(), 3);
        assert_eq!(all(images.augmented_view(&nothing(), 16, 0, 0)).len(), 3);
        assert!(all(images.train_batches(&nothing(), plan(0, 9))).is_empty());
    }

    #[test]
    fn resuming_gives_the_rest_of_the_epoch() {
        let images = images(90);
        let whole = all(images.train_batches(&everything(), plan(3, 0)));
        assert!(whole.iter().all(|batch| batch.mixed.is_some()));
        for step in [1, 3, 5] {
            assert_eq!(all(images.train_batches(&everything(), plan(3, step))), whole[step..]);
        }
    }

    #[test]
    fn threads_do_not_change_a_byte() {
        let images = images(64);
        let augmentation = everything();
        let draw = Draw { augmentation: &augmentation, seed: 1, purpose: "augment", pass: 2 };
        let chosen: Vec<usize> = (0..64).rev().collect();
        let with = |threads| {
            let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
            pool.install(|| {
                images.augmented(&chosen, &draw, Batch::default(), &AtomicBool::new(false)).unwrap()
            })
        };
        let one = with(1);
        assert_eq!(one, with(2));
        assert_eq!(one, with(7));
        assert_eq!(one.indices, chosen);
    }

    /// Goes through all batches, giving each back; returns copies, and where in memory the images
    /// lay.
    fn all_reused(mut batches: Batches) -> (Vec<Batch>, HashSet<*const u8>) {
        let (mut copies, mut places) = (Vec::new(), HashSet::new());
        while let Some(batch) = batches.next().transpose().unwrap() {
            copies.push(batch.clone());
            places.insert(batch.images.as_ptr());
            batches.reuse(batch);
        }
        (copies, places)
    }

    #[test]
    fn batches_given_back_are_filled_anew_with_the_same_bytes() {
        // The last batch is smaller than the others, and the ones after a smaller one are larger
        // again.
        let images = images(16 * 40 + 5);
        for augmentation in [everything(), nothing()] {
            let (reused, places) = all_reused(images.train_batches(&augmentation, plan(1, 0)));
            assert_eq!(reused, all(images.train_batches(&augmentation, plan(1, 0))));
            assert!(reused.len() == 41 && places.len() <= IN_FLIGHT, "{} places", places.len());
        }
        let images = streamed(3..6, false);
        for mirrored in [false, true] {
            let (reused, places) = all_reused(images.eval_batches(4, mirrored));
            assert_eq!(reused, all(images.eval_batches(4, mirrored)));
            assert!(reused.len() == 10 && places.len() <= IN_FLIGHT + 1, "{} places", places.len());
        }
        assert_eq!(
            all_reused(images.train_batches(&everything(), plan(0, 0))).0,
            all(images.train_batches(&everything(), plan(0, 0)))
        );
    }

    #[test]
    fn views_differ_from_each_other_and_keep_the_order() {
        let images = images(20);
        let view = |view| all(images.augmented_view(&everything(), 20, 1, view)).remove(0);
        let (first, second) = (view(0), view(1));
        assert_eq!(first.indices, (0..20).collect::<Vec<_>>());
        assert_eq!(first.labels, images.labels());
        assert_eq!(first.mixed, None);
        assert_ne!(first.images, second.images);
        assert_eq!(first, view(0));
    }

    #[test]
    fn mirrored_evaluation_reverses_rows() {
        let images = images(5);
        let (plain, mirrored) =
            (all(images.eval_batches(2, false)), all(images.eval_batches(2, true)));
        assert_eq!(plain.len(), 3);
        for (plain, mirrored) in plain.iter().zip(&mirrored) {
            assert_eq!(plain.indices, mirrored.indices);
            for (row, reversed) in plain.images.chunks(8).zip(mirrored.images.chunks(8)) {
                assert!(row.iter().eq(reversed.iter().rev()));
            }
        }
    }

    #[test]
    fn dropping_early_ends_the_thread() {
        let images = images(2000);
        let mut batches = images.train_batches(
            &everything(),
            EpochPlan { batch_size: 2, seed: 0, epoch: 0, from_step: 0 },
        );
        assert!(batches.next().unwrap().is_ok());
        // Dropping joins the thread; the images then have no other owner.
        drop(batches);
        assert_eq!(images.owners(), 1);
    }

    /// A source of 12 × 10 images that loses some, or panics.
    struct Failing {
        broken: std::ops::Range<usize>,
        panics: bool,
    }

    impl PixelSource for Failing {
        fn read(&self, location: &Location, _: Detail) -> Result<RgbPixels> {
            let Location::Record { file, index } = location else {
                unreachable!("all are records")
            };
            assert!(!self.panics, "a decoder's bug");
            if self.broken.contains(&(*index as usize)) {
                return Err(DataError::File {
                    path: file.clone(),
                    reason: format!("record {index} is damaged").into(),
                }
                .into());
            }
            Ok(RgbPixels {
                width: 12,
                height: 10,
                data: (0..360).map(|i| (i * index % 256) as u8).collect(),
            })
        }
    }

    fn streamed(broken: std::ops::Range<usize>, panics: bool) -> Images {
        let sample = |index| DatasetSample {
            location: Location::Record { file: "records".into(), index },
            class: index as usize / 20,
            split: Split::Train,
            group: None,
        };
        let dataset = Dataset {
            root: "set".into(),
            kind: SourceKind::Cifar10,
            classes: vec!["a".into(), "b".into()],
            samples: (0..40).map(sample).collect(),
            provenance: Default::default(),
        };
        let control = Control::new();
        Images::open_with(
            Box::new(Failing { broken, panics }),
            &dataset,
            Split::Train,
            8,
            0,
            Job::new(&control, &|_: Event| {}),
        )
        .unwrap()
    }

    #[test]
    fn streamed_batches_replace_what_is_broken_and_evaluation_leaves_it_out() {
        let images = streamed(3..6, false);
        let trained = all(images.train_batches(&everything(), plan(0, 0)));
        assert_eq!(trained.iter().map(Batch::len).sum::<usize>(), 40);
        assert_eq!(trained.iter().flat_map(|b| &b.labels).filter(|&&label| label == 0).count(), 20);
        assert_eq!(trained, all(images.train_batches(&everything(), plan(0, 0))));
        assert_eq!(images.take_problems().len(), 3);
        let evaluated: Vec<usize> =
            all(images.eval_batches(4, false)).into_iter().flat_map(|b| b.indices).collect();
        assert_eq!(evaluated, (0..3).chain(6..40).collect::<Vec<_>>());
        let batch = all(images.eval_batches(4, false)).remove(1);
        assert_eq!((batch.len(), batch.images.len()), (2, 2 * 192));
    }

    #[test]
    fn a_lost_source_and_a_panic_come_through_once() {
        for (images, word) in [
            (streamed(0..40, false), "is damaged"),
            (streamed(0..0, true), "an error in the program"),
        ] {
            let mut batches = images.train_batches(&everything(), plan(0, 0));
            let error = batches.next().unwrap().unwrap_err().to_string();
            assert!(error.contains(word), "{error}");
            assert!(batches.next().is_none());
        }
        let error = streamed(0..40, false).eval_batches(16, false).next().unwrap().unwrap_err();
        assert!(error.to_string().contains("record 0 is damaged"), "{error}");
    }
}
