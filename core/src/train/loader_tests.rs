//! Images drawn on a GPU against those made on the host.

use burn::tensor::Tensor;
use rand::Rng;

use super::*;
use crate::device::host_all;
use crate::gpu::test_device::device as gpu;
use crate::model::InputLayout;
use crate::random::stream;
use crate::settings::{AugmentationSettings, Preset, Settings};

const MEAN: [f32; 3] = [0.41, 0.5, 0.62];
const STD: [f32; 3] = [0.2, 0.25, 0.3];

fn images(count: usize, side: usize) -> Images {
    let mut bytes = vec![0; count * 3 * side * side];
    stream(7, "test", &[side as u64]).fill_bytes(&mut bytes);
    // Plain areas too: greys, and colours on a border between two hues.
    for (pixel, byte) in bytes.iter_mut().enumerate() {
        match pixel / 5 % 7 {
            0 => *byte = 200,
            1 => *byte &= 0xc0,
            _ => {}
        }
    }
    Images::from_bytes(side, 10, (0..count).map(|i| (i % 10) as u32).collect(), bytes).unwrap()
}

fn loader(images: &Images, device: &Device) -> Loader {
    Loader::new(images.clone(), Normaliser::new(MEAN, STD), device)
}

fn values(tensor: Tensor<4>) -> Vec<f32> {
    tensor.into_data().try_into_vec::<f32>().unwrap()
}

/// What the host makes of a batch of bytes.
fn expected(batch: &Batch, side: usize) -> Vec<f32> {
    let mut values = vec![0.0; batch.images.len()];
    Normaliser::new(MEAN, STD).fill(&batch.images, side, InputLayout::ChannelsFirst, &mut values);
    values
}

/// Has the device draw batches, and compares all of them with the host's.
fn compare(what: &str, loader: &Loader, drawn: Batches, made: Batches, from_recipes: bool) {
    let side = loader.images().side();
    let (drawn, made): (Vec<Batch>, Vec<Batch>) =
        (drawn.map(Result::unwrap).collect(), made.map(Result::unwrap).collect());
    assert_eq!(drawn.len(), made.len(), "{what}");
    for (step, (drawn, made)) in drawn.iter().zip(&made).enumerate() {
        assert_eq!(drawn.recipes.is_empty(), !from_recipes, "{what}");
        assert_eq!(
            (&drawn.labels, &drawn.indices, &drawn.mixed),
            (&made.labels, &made.indices, &made.mixed),
            "{what}"
        );
        let input = loader.input(drawn);
        assert_eq!(input.dims(), [made.len(), 3, side, side], "{what}");
        let (got, want) = (values(input), expected(made, side));
        let wrong = got.iter().zip(&want).filter(|(got, want)| got != want).count();
        assert_eq!(
            wrong,
            0,
            "{what}, side {side}, step {step}: {wrong} of {} numbers differ",
            want.len()
        );
    }
}

fn nothing() -> AugmentationSettings {
    let mut s = Settings::preset(Preset::Quick).augmentation;
    (s.pad_crop, s.flip, s.mixup, s.cutmix, s.cutout, s.randaugment_ops) =
        (0, crate::settings::Auto::Value(false), 0.0, 0.0, 0, 0);
    (s.resized_crop, s.color_jitter, s.random_erasing) = (false, 0.0, 0.0);
    s
}

fn augmentations() -> Vec<(&'static str, AugmentationSettings)> {
    let n = nothing();
    vec![
        ("nothing", n.clone()),
        ("flip", AugmentationSettings { flip: crate::settings::Auto::Value(true), ..n.clone() }),
        ("crop", AugmentationSettings { pad_crop: 4, ..n.clone() }),
        (
            "crop by more than the side",
            AugmentationSettings {
                pad_crop: 20,
                flip: crate::settings::Auto::Value(true),
                ..n.clone()
            },
        ),
        ("cutout", AugmentationSettings { cutout: 5, ..n.clone() }),
        ("erasing", AugmentationSettings { random_erasing: 0.8, ..n.clone() }),
        ("jitter", AugmentationSettings { color_jitter: 0.4, ..n.clone() }),
        ("strong jitter", AugmentationSettings { color_jitter: 1.0, ..n.clone() }),
        ("mixup", AugmentationSettings { mixup: 0.4, ..n.clone() }),
        (
            "cutmix",
            AugmentationSettings {
                cutmix: 1.0,
                flip: crate::settings::Auto::Value(true),
                ..n.clone()
            },
        ),
        (
            "everything",
            AugmentationSettings {
                pad_crop: 3,
                flip: crate::settings::Auto::Value(true),
                cutout: 4,
                random_erasing: 0.5,
                color_jitter: 0.5,
                mixup: 0.4,
                cutmix: 1.0,
                ..n
            },
        ),
    ]
}

#[test]
fn a_gpu_draws_what_the_host_makes() {
    let Some(device) = gpu() else { return };
    // Sides whose images do not begin at whole numbers, and with a last batch of another size.
    for (side, count) in [(7, 23), (13, 12), (16, 10)] {
        let images = images(count, side);
        let loader = loader(&images, &device);
        assert!(loader.is_resident());
        for (what, settings) in augmentations() {
            let augmentation = Augmentation::new(&settings, MEAN);
            let plan = EpochPlan { batch_size: 5, seed: 3, epoch: 2, from_step: 1 };
            compare(
                what,
                &loader,
                loader.train_batches(&augmentation, plan),
                images.train_batches(&augmentation, plan),
                true,
            );
            let view = |of: &dyn Fn(&Augmentation) -> Batches| of(&augmentation);
            let drawn = view(&|a| loader.augmented_view(a, 9, 4, 1));
            compare(what, &loader, drawn, view(&|a| images.augmented_view(a, 9, 4, 1)), true);
        }
        for mirrored in [false, true] {
            compare(
                "evaluation",
                &loader,
                loader.eval_batches(6, mirrored),
                images.eval_batches(6, mirrored),
                true,
            );
        }
    }
}

#[test]
fn what_a_gpu_cannot_draw_it_is_given_as_bytes() {
    let Some(device) = gpu() else { return };
    let images = images(11, 9);
    let loader = loader(&images, &device.autodiff());
    let plan = EpochPlan { batch_size: 3, seed: 1, epoch: 0, from_step: 0 };
    for settings in [
        AugmentationSettings { resized_crop: true, mixup: 0.3, ..nothing() },
        AugmentationSettings { randaugment_ops: 2, randaugment_magnitude: 9.0, ..nothing() },
    ] {
        let augmentation = Augmentation::new(&settings, MEAN);
        let (drawn, made) =
            (loader.train_batches(&augmentation, plan), images.train_batches(&augmentation, plan));
        compare("bytes", &loader, drawn, made, false);
    }
    assert!(loader.input(&loader.eval_batches(4, false).next().unwrap().unwrap()).is_autodiff());
}

#[test]
fn many_tensors_are_read_from_a_gpu_at_once_in_their_order() {
    let Some(device) = gpu() else { return };
    let images = images(12, 6);
    let loader = loader(&images, &device);
    let inputs = loader.eval_batches(5, false).map(|batch| loader.input(&batch.unwrap())).collect();
    let wanted: Vec<Vec<f32>> =
        images.eval_batches(5, false).map(|batch| expected(&batch.unwrap(), 6)).collect();
    assert_eq!(host_all(inputs).unwrap(), wanted);
    assert_eq!(host_all(Vec::<Tensor<4>>::new()).unwrap(), Vec::<Vec<f32>>::new());
}

#[test]
fn batches_given_back_are_filled_anew_on_the_way_to_a_gpu() {
    let images = images(60, 6);
    let settings = AugmentationSettings { random_erasing: 1.0, ..nothing() };
    let augmentation = Augmentation::new(&settings, MEAN);
    let plan = EpochPlan { batch_size: 7, seed: 1, epoch: 0, from_step: 0 };
    let fresh: Vec<Batch> = images.train_recipes(&augmentation, plan).map(Result::unwrap).collect();
    let mut batches = images.train_recipes(&augmentation, plan);
    let mut step = 0;
    while let Some(batch) = batches.next().transpose().unwrap() {
        assert_eq!(batch, fresh[step]);
        assert!(batch.images.is_empty() && batch.recipes.len() == batch.len());
        batches.reuse(batch);
        step += 1;
    }
    assert_eq!(step, 9);
}

#[test]
fn the_cpu_is_given_what_it_always_was() {
    let images = images(10, 8);
    let loader = loader(&images, &Device::flex());
    assert!(!loader.is_resident());
    let augmentation = Augmentation::new(&augmentations().pop().unwrap().1, MEAN);
    let plan = EpochPlan { batch_size: 4, seed: 3, epoch: 0, from_step: 0 };
    compare(
        "cpu",
        &loader,
        loader.train_batches(&augmentation, plan),
        images.train_batches(&augmentation, plan),
        false,
    );
}
