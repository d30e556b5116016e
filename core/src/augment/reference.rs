//! The operations against Pillow; `tests/reference/make_augment_values.py` made the values.

use serde::Deserialize;

use super::geometry::{Affine, warp};
use super::{color, tone};
use crate::images::{RgbPixels, split_planes, to_input};

#[derive(Deserialize)]
struct Values {
    side: usize,
    fill: [u8; 3],
    image: String,
    cases: Vec<Case>,
    resized: Vec<Resized>,
}

#[derive(Deserialize)]
struct Case {
    operation: String,
    value: f32,
    pixels: String,
}

#[derive(Deserialize)]
struct Resized {
    width: u32,
    height: u32,
    side: usize,
    from: String,
    pixels: String,
}

fn values() -> Values {
    serde_json::from_str(include_str!("../../../tests/reference/augment_values.json")).unwrap()
}

fn bytes(hex: &str) -> Vec<u8> {
    (0..hex.len()).step_by(2).map(|i| u8::from_str_radix(&hex[i..i + 2], 16).unwrap()).collect()
}

fn planes(hex: &str) -> Vec<u8> {
    let pixels = bytes(hex);
    let mut planes = vec![0; pixels.len()];
    split_planes(&pixels, &mut planes);
    planes
}

fn largest_difference(got: &[u8], want: &[u8]) -> u8 {
    assert_eq!(got.len(), want.len());
    got.iter().zip(want).map(|(got, want)| got.abs_diff(*want)).max().unwrap()
}

#[test]
fn operations_give_what_pillow_gives() {
    let Values { side, fill, image, cases, .. } = values();
    assert!(cases.len() > 30);
    for Case { operation, value, pixels } in cases {
        let mut p = planes(&image);
        match operation.as_str() {
            "brightness" => color::brightness(&mut p, value),
            "contrast" => color::contrast(&mut p, value),
            "saturation" => color::saturation(&mut p, value),
            "sharpness" => color::sharpness(&mut p, side, value),
            "hue" => color::hue(&mut p, value),
            "posterize" => tone::posterize(&mut p, value as u32),
            "solarize" => tone::solarize(&mut p, value),
            "autocontrast" => tone::autocontrast(&mut p),
            "equalize" => tone::equalize(&mut p),
            "shear_x" => warp(&mut p, side, Affine::shear_x(value), fill),
            "shear_y" => warp(&mut p, side, Affine::shear_y(value), fill),
            "translate_x" => warp(&mut p, side, Affine::translate(value, 0.0), fill),
            "rotate" => warp(&mut p, side, Affine::rotate(value, side), fill),
            other => panic!("no operation {other}"),
        }
        // Pillow cuts interpolated values off where they are rounded here; hues pass through
        // different arithmetic.
        let allowed =
            u8::from(["hue", "shear_x", "shear_y", "rotate"].contains(&operation.as_str()));
        let difference = largest_difference(&p, &planes(&pixels));
        assert!(difference <= allowed, "{operation} {value}: {difference}");
    }
}

#[test]
fn resizing_gives_what_pillow_gives() {
    for Resized { width, height, side, from, pixels } in values().resized {
        let got = to_input(&RgbPixels { width, height, data: bytes(&from) }, side);
        let difference = largest_difference(&got, &planes(&pixels));
        assert!(difference <= 1, "{width}×{height} to {side}: {difference}");
    }
}
