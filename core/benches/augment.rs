//! How long it takes to assemble batches: 64 images of 32 × 32, then 16 of 224 × 224. One epoch of
//! several batches a turn, so that the time is that of preparing batches one after the other, not
//! of the first one. And how long to turn their bytes into normalised floats.

use counterweight_core::augment::Augmentation;
use counterweight_core::batches::{EpochPlan, Images};
use counterweight_core::model::{InputLayout, Normaliser};
use counterweight_core::settings::{AugmentationSettings, Preset, Settings};
use divan::{Bencher, counter::ItemsCount};

fn main() {
    divan::main();
}

fn images(count: usize, side: usize) -> Images {
    let bytes = (0..count * 3 * side * side).map(|i| (i * 31 % 251) as u8).collect();
    Images::from_bytes(side, 10, (0..count).map(|i| (i % 10) as u32).collect(), bytes)
        .expect("the lengths agree")
}

fn settings(name: &str) -> AugmentationSettings {
    let mut s = Settings::preset(Preset::Paper).augmentation;
    match name {
        "none" => (s.pad_crop, s.flip) = (0, counterweight_core::settings::Auto::Value(false)),
        "pad-crop, flip" => {}
        "resized crop" => s.resized_crop = true,
        "color jitter" => s.color_jitter = 0.4,
        "randaugment" => s.randaugment_ops = 2,
        "strong" => s = Settings::preset(Preset::Strong).augmentation,
        _ => s.mixup = 0.8,
    }
    s
}

const KINDS: [&str; 7] =
    ["none", "pad-crop, flip", "resized crop", "color jitter", "randaugment", "strong", "mixup"];

fn epoch(bencher: Bencher, kind: &str, side: usize, batch_size: usize, steps: usize) {
    let images = images(batch_size * steps, side);
    let augmentation = Augmentation::new(&settings(kind), [0.5; 3]);
    let plan = EpochPlan { batch_size, seed: 0, epoch: 0, from_step: 0 };
    bencher.counter(ItemsCount::new(batch_size * steps)).bench_local(|| {
        let mut batches = images.train_batches(&augmentation, plan);
        while let Some(batch) = batches.next() {
            batches.reuse(batch.expect("images in memory are readable"));
        }
    });
}

#[divan::bench(args = KINDS)]
fn fifty_batches_of_64_at_32(bencher: Bencher, kind: &str) {
    epoch(bencher, kind, 32, 64, 50);
}

#[divan::bench(args = KINDS)]
fn four_batches_of_16_at_224(bencher: Bencher, kind: &str) {
    epoch(bencher, kind, 224, 16, 4);
}

fn normalise(bencher: Bencher, layout: InputLayout, side: usize, batch_size: usize) {
    let normaliser = Normaliser::new([0.5; 3], [0.25; 3]);
    let bytes: Vec<u8> = (0..batch_size * 3 * side * side).map(|i| (i * 31 % 251) as u8).collect();
    let mut values = vec![0.0; bytes.len()];
    bencher
        .counter(ItemsCount::new(batch_size))
        .bench_local(|| normaliser.fill(&bytes, side, layout, &mut values));
}

const LAYOUTS: [InputLayout; 2] = [InputLayout::ChannelsFirst, InputLayout::ChannelsLast];

#[divan::bench(args = LAYOUTS)]
fn normalising_64_at_32(bencher: Bencher, layout: InputLayout) {
    normalise(bencher, layout, 32, 64);
}

#[divan::bench(args = LAYOUTS)]
fn normalising_16_at_224(bencher: Bencher, layout: InputLayout) {
    normalise(bencher, layout, 224, 16);
}
