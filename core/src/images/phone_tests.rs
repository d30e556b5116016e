//! HEIC and AVIF beside what Pillow makes of them (`tests/reference/make_phone_images.py`).

use crate::images::{DecodeError, decode};

macro_rules! file {
    ($name:literal, $ending:literal) => {
        (
            $name,
            include_bytes!(concat!("../../../tests/reference/phones/", $name, $ending)).as_slice(),
            include_bytes!(concat!("../../../tests/reference/phones/", $name, ".png")).as_slice(),
        )
    };
}

type File = (&'static str, &'static [u8], &'static [u8]);

const AVIF: [File; 8] = [
    file!("avif_420", ".avif"),
    file!("avif_422", ".avif"),
    file!("avif_444", ".avif"),
    file!("avif_grey", ".avif"),
    file!("avif_narrow", ".avif"),
    file!("avif_turned", ".avif"),
    file!("avif_mirrored", ".avif"),
    file!("avif_grid", ".avif"),
];

const HEIC: [File; 7] = [
    file!("heic_420", ".heic"),
    file!("heic_422", ".heic"),
    file!("heic_444", ".heic"),
    file!("heic_turned", ".heic"),
    file!("heic_alpha", ".heic"),
    file!("heic_deep", ".heic"),
    file!("heic_grid", ".heic"),
];

/// Mean and largest difference in levels from what Pillow sees.
fn apart((name, bytes, seen): File) -> (f64, u8) {
    let seen = decode(seen, 1_000_000).unwrap();
    let own = decode(bytes, 1_000_000).unwrap_or_else(|reason| panic!("{name}: {reason}"));
    assert_eq!(own.size, seen.size, "{name}");
    let levels = || own.pixels.data.iter().zip(&seen.pixels.data).map(|(a, b)| a.abs_diff(*b));
    let sum: u32 = levels().map(u32::from).sum();
    (f64::from(sum) / own.pixels.data.len() as f64, levels().max().unwrap())
}

#[test]
fn avif_has_the_pixels_that_pillow_sees() {
    for file in AVIF {
        let (mean, most) = apart(file);
        assert!(mean < 0.5 && most <= 2, "{}: {mean} on average, at most {most}", file.0);
    }
    assert_eq!(decode(AVIF[3].1, 1_000_000).unwrap().mode, "L");
}

#[test]
fn heic_has_the_pixels_that_pillow_sees() {
    for file in HEIC {
        let (mean, most) = apart(file);
        // Ten bits are rounded to eight where libheif cuts them off.
        let (usual, largest) = if file.0 == "heic_deep" { (0.7, 2) } else { (0.1, 1) };
        assert!(mean < usual && most <= largest, "{}: {mean} on average, at most {most}", file.0);
    }
    assert_eq!(decode(HEIC[5].1, 1_000_000).unwrap().mode, "RGB16");
}

#[test]
fn no_part_of_a_file_passes_for_the_whole_and_nothing_hostile_does_harm() {
    for (name, bytes, _) in AVIF.into_iter().chain(HEIC) {
        assert!(matches!(decode(bytes, 96 * 80 - 1), Err(DecodeError::TooLarge { .. })), "{name}");
        // What a phone says of the photo may be the last of a file.
        for length in (1..bytes.len() - 40).step_by(5) {
            assert!(decode(&bytes[..length], 1_000_000).is_err(), "{name}: {length} bytes");
        }
        let mut random = 1u32;
        for _ in 0..200 {
            let mut broken = bytes.to_vec();
            random = random.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            let at = (random >> 8) as usize % bytes.len();
            broken[at] = random as u8;
            drop(decode(&broken, 1_000_000));
        }
    }
}
