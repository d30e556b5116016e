//! Reduced decoding beside decoding in full, on files of every kind
//! (`tests/reference/make_jpegs.py`).

use sha2::{Digest, Sha256};

use super::*;
use crate::images::decode::{DecodeError, decode as decode_file, decode_for};
use crate::images::to_input;

macro_rules! file {
    ($name:literal) => {
        include_bytes!(concat!("../../../tests/reference/jpeg/", $name, ".jpg")).as_slice()
    };
}

/// 96 × 80 pixels each, in colours that can be reduced.
const FILES: [(&str, &[u8]); 7] = [
    ("baseline", file!("baseline")),
    ("sharp_colours", file!("sharp_colours")),
    ("half_colours", file!("half_colours")),
    ("progressive", file!("progressive")),
    ("restarts", file!("restarts")),
    ("grey", file!("grey")),
    ("turned", file!("turned")),
];

/// Sides of which each needs a smaller part of 80 pixels: all, a half, a quarter, an eighth.
const SIDES: [(u32, u32); 4] = [(27, 1), (26, 2), (13, 4), (6, 8)];

fn small(bytes: &[u8], side: u32) -> Decoded {
    decode_for(bytes, 1_000_000, Detail::Side(side)).unwrap()
}

#[test]
fn the_part_that_is_decoded_follows_from_the_side() {
    for (name, bytes) in FILES {
        let whole = decode_file(bytes, 10_000).unwrap();
        let size = if name == "turned" { (80, 96) } else { (96, 80) };
        assert_eq!((whole.pixels.width, whole.pixels.height), size, "{name}");
        for (side, reduction) in SIDES {
            let decoded = small(bytes, side);
            let (width, height) = (size.0.div_ceil(reduction), size.1.div_ceil(reduction));
            assert_eq!(
                (decoded.pixels.width, decoded.pixels.height),
                (width, height),
                "{name}, {side}"
            );
            assert_eq!((decoded.size, decoded.mode), (whole.size, whole.mode), "{name}, {side}");
            assert_eq!(decoded.pixels.data.len(), (3 * width * height) as usize);
        }
    }
}

/// Mean difference in levels between the input of `side` pixels made of the whole image and that
/// made of a part of it.
fn apart(bytes: &[u8], side: u32) -> f64 {
    let whole = to_input(&decode_file(bytes, 1_000_000).unwrap().pixels, side as usize);
    let part =
        to_input(&decode_for(bytes, 1_000_000, Detail::Side(side)).unwrap().pixels, side as usize);
    let sum: u32 = whole.iter().zip(&part).map(|(&a, &b)| u32::from(a.abs_diff(b))).sum();
    f64::from(sum) / whole.len() as f64
}

#[test]
fn a_reduced_image_looks_like_the_whole_resized() {
    for (name, bytes) in FILES {
        for (side, reduction) in SIDES {
            // Colours stored at half the width are a block of the whole picture's sixth here.
            let apart = apart(bytes, side);
            assert!(apart <= 3.0, "{name}, {side} pixels from 1/{reduction}: {apart} levels apart");
        }
    }
    // Of a size that blocks of eight do not fill: the last column stands for fewer pixels than it
    // is taken for, so the centre is up to 1.5 of 901 pixels off. This wave changes by up to 2.5
    // levels a pixel.
    let image = image::RgbImage::from_fn(901, 701, |x, y| {
        let wave = |value: f64| (128.0 + 100.0 * value.sin()) as u8;
        image::Rgb([
            wave(f64::from(x) / 40.0),
            wave(f64::from(x + y) / 55.0),
            wave(f64::from(y) / 30.0),
        ])
    });
    let mut bytes = Cursor::new(Vec::new());
    image.write_to(&mut bytes, ImageFormat::Jpeg).unwrap();
    for (side, reduction) in [(224, 2), (112, 4), (56, 8)] {
        assert_eq!(small(bytes.get_ref(), side).pixels.height, 701_u32.div_ceil(reduction));
        let apart = apart(bytes.get_ref(), side);
        assert!(apart <= 1.5 * 2.5, "{side} pixels from 1/{reduction}: {apart} levels apart");
    }
}

#[test]
fn small_images_are_decoded_whole() {
    for (name, bytes) in FILES {
        let whole = decode_file(bytes, 10_000).unwrap();
        for detail in [Detail::Full, Detail::Side(27), Detail::Side(224), Detail::SMALL] {
            assert_eq!(decode_for(bytes, 10_000, detail).unwrap(), whole, "{name}");
        }
    }
}

/// SHA-256 of the pixels that Pillow 12 decodes, upright.
#[test]
fn the_pixels_are_those_that_pillow_sees() {
    let progressive = "6e90bbd2cc0e8bd6802759e553befb14f55c5a6c7eb76d174447920e1e5c0168";
    for (name, expected) in [
        ("baseline", progressive),
        ("sharp_colours", "0661f4e990fbac597de45db4f119f4110d4176dd5385c5e64fbac56e62d42514"),
        ("half_colours", "ab2000972f432ced55f55c404e9925506dcd95288b0e270e5e1222288594e4fc"),
        ("progressive", progressive),
        ("restarts", progressive),
        ("grey", "f9d60305840640f22b23fb84abb1f3443a7387ffc01c93394a9684052cf8d35c"),
        ("turned", "75e0126c49b50e08246b193f5393a958ff202d24cde0636dead66e2af6052f43"),
    ] {
        let (_, bytes) = FILES.iter().find(|(file, _)| *file == name).unwrap();
        let pixels = decode(bytes, 10_000, Detail::Full).unwrap().pixels;
        let found: String =
            Sha256::digest(&pixels.data).iter().map(|byte| format!("{byte:02x}")).collect();
        assert_eq!(found, expected, "{name}");
    }
}

#[test]
fn colours_that_decoders_disagree_on_are_decoded_in_full() {
    for bytes in [file!("cmyk"), file!("rgb")] {
        assert!(decode(bytes, 10_000, Detail::Side(6)).is_none());
        assert_eq!(decode_for(bytes, 10_000, Detail::Side(6)), decode_file(bytes, 10_000));
    }
    assert_eq!(decode_file(file!("cmyk"), 10_000).unwrap().mode, "CMYK");
}

/// Whatever is done to a file, its reduced image is refused or given as its full one is, with the
/// same words.
#[test]
fn what_is_refused_in_full_is_refused_in_part() {
    for (name, bytes) in FILES {
        for length in (0..bytes.len()).step_by(5) {
            let cut = &bytes[..length];
            assert_eq!(
                decode_for(cut, 10_000, Detail::Side(6)).err(),
                decode_file(cut, 10_000).err(),
                "{name}, {length} bytes"
            );
            assert!(decode_for(cut, 10_000, Detail::Side(6)).is_err(), "{name}, {length} bytes");
            // The end is there, and part of the image is not.
            let ended = [cut, &[0xff, 0xd9]].concat();
            let (part, whole) =
                (decode_for(&ended, 10_000, Detail::Side(6)), decode_file(&ended, 10_000));
            assert_eq!(
                part.as_ref().err(),
                whole.as_ref().err(),
                "{name}, {length} bytes and an end"
            );
        }
        let too_large = decode_for(bytes, 7679, Detail::Side(6));
        assert!(matches!(too_large, Err(DecodeError::TooLarge { .. })), "{name}: {too_large:?}");
    }
}

#[test]
fn damage_never_panics_and_what_is_noticed_is_decoded_in_full() {
    for (name, bytes) in FILES {
        let start = Header::read(bytes).unwrap().end;
        for at in 2..bytes.len() {
            let mut damaged = bytes.to_vec();
            damaged[at] ^= 0x5a;
            let (part, whole) =
                (decode_for(&damaged, 10_000, Detail::Side(6)), decode_file(&damaged, 10_000));
            if let (Ok(part), Ok(whole)) = (&part, &whole) {
                assert_eq!(part.size, whole.size, "{name}, byte {at}");
            }
            // Before the pixels begin, both see the same; after, either may be the one that
            // notices.
            let refused = |detail| decode(&damaged, 10_000, detail).is_none();
            if at < start && refused(Detail::Side(6)) && refused(Detail::Full) {
                assert_eq!(part, whole, "{name}, byte {at}");
            }
        }
    }
}

/// What the decoder makes of a file at an eighth.
fn eighth(bytes: &[u8]) -> Option<RgbImage> {
    caught(|| reduced(bytes, 8)).ok()
}

#[test]
fn a_thinned_file_has_the_pixels_of_the_whole_at_an_eighth() {
    for (name, bytes) in FILES {
        let thin = thin::thinned(bytes);
        assert_eq!(thin.is_some(), name != "progressive", "{name}");
        let Some(thin) = thin else { continue };
        assert!(thin.len() < bytes.len(), "{name}");
        assert_eq!(eighth(&thin).unwrap(), eighth(bytes).unwrap(), "{name}");
    }
}

/// Noise has the long words of the code, zeros in long rows, and blocks that are full.
#[test]
fn noise_of_any_size_is_thinned_to_the_same_pixels() {
    let mut state = 7_u32;
    let mut noise = |_, _| {
        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        state.to_be_bytes()
    };
    for (width, height, strength) in [(200, 131, 255), (67, 64, 60), (9, 300, 9), (1, 1, 255)] {
        let image = RgbImage::from_fn(width, height, |x, y| {
            let [a, b, c, _] = noise(x, y);
            image::Rgb([a, b, c].map(|value| (u32::from(value) * strength / 255) as u8))
        });
        let grey = DynamicImage::ImageRgb8(image.clone()).into_luma8();
        for quality in [5, 50, 90, 100] {
            for is_grey in [false, true] {
                let mut bytes = Vec::new();
                let encoder =
                    image::codecs::jpeg::JpegEncoder::new_with_quality(&mut bytes, quality);
                let written = match is_grey {
                    false => image.write_with_encoder(encoder),
                    true => grey.write_with_encoder(encoder),
                };
                written.unwrap();
                let thin = thin::thinned(&bytes).unwrap();
                assert!(thin.len() <= bytes.len());
                let what = format!("{width} × {height}, quality {quality}, grey: {is_grey}");
                assert_eq!(eighth(&thin).unwrap(), eighth(&bytes).unwrap(), "{what}");
            }
        }
    }
}

/// Whatever is wrong with a file, thinning it hides nothing from the decoder.
#[test]
fn damage_is_seen_in_a_thinned_file_as_in_the_whole() {
    let mut thinned = 0;
    for (name, bytes) in FILES {
        for at in 2..bytes.len() {
            for flipped in [0x01, 0x5a, 0x80, 0xff] {
                let mut damaged = bytes.to_vec();
                damaged[at] ^= flipped;
                let Some(thin) = thin::thinned(&damaged) else { continue };
                let Some(found) = eighth(&thin) else { continue };
                assert_eq!(Some(found), eighth(&damaged), "{name}, byte {at} ^ {flipped}");
                thinned += 1;
            }
        }
        for length in 0..bytes.len() {
            let cut = [&bytes[..length], &[0xff, 0xd9]].concat();
            if let Some(thin) = thin::thinned(&cut) {
                assert_eq!(eighth(&thin), eighth(&cut), "{name}, {length} bytes");
            }
        }
    }
    // Most changes make other pixels and a file that is in order.
    assert!(thinned > 1000, "{thinned}");
}

#[test]
fn a_file_of_thousands_of_scans_is_not_gone_through() {
    let progressive = file!("progressive");
    let start = Header::read(progressive).unwrap().end;
    assert!(!scans_exceed(&progressive[start..], MOST_SCANS));
    assert!(decode(progressive, 10_000, Detail::Side(6)).is_some());
    // A last scan that adds nothing, again and again.
    let place = memchr::memmem::rfind(progressive, &[0xff, 0xda]).unwrap();
    let (before, last) = (&progressive[..place], &progressive[place..progressive.len() - 2]);
    let bomb = [before, &last.repeat(MOST_SCANS + 1), &[0xff, 0xd9]].concat();
    assert!(decode(&bomb, 10_000, Detail::Side(6)).is_none());
}

#[test]
fn the_end_is_found_behind_what_cameras_add() {
    let bytes = file!("baseline");
    assert!(has_end(bytes));
    assert!(has_end(&[bytes, &[0; 64]].concat()));
    assert!(has_end(&[bytes, b"a second, smaller picture and its address"].concat()));
    assert!(!has_end(&bytes[..bytes.len() - 1]));
    assert!(!has_end(&[0xff, 0xd8]) && !has_end(&[]));
    let trailed = [bytes, b"trailer"].concat();
    assert_eq!(small(&trailed, 6), small(bytes, 6));
}
