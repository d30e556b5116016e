//! TIFF files whose pixels are palette indices, greys of 2 or 4 bits, or grey with alpha, which the
//! general decoder refuses.
//!
//! The pixels of such a file are packed exactly as those of a grey one; only the tag that says what
//! the numbers mean differs. So the tag is changed in a copy, the copy is decoded as grey, and the
//! numbers are looked up here.

use std::io::{Cursor, ErrorKind};

use image::metadata::Orientation;
use image::{DynamicImage, RgbImage};
use tiff::TiffError;
use tiff::decoder::{Decoder, DecodingResult, Limits};

use super::decode::{DecodeError, Decoded, check_size, max_file_bytes, turn};
use super::pixels::RgbPixels;

const BITS_PER_SAMPLE: u16 = 258;
const PHOTOMETRIC: u16 = 262;
const ORIENTATION: u16 = 274;
const SAMPLES_PER_PIXEL: u16 = 277;
const COLOR_MAP: u16 = 320;

const WHITE_IS_ZERO: u16 = 0;
const BLACK_IS_ZERO: u16 = 1;
const PALETTE: u16 = 3;

/// Decodes the file if it is one of those, and returns `None` if the general decoder should have
/// it.
pub(super) fn decode(bytes: &[u8], max_pixels: u64) -> Option<Result<Decoded, DecodeError>> {
    let directory = Directory::read(bytes)?;
    let photometric = directory.short(PHOTOMETRIC)?;
    let bits = directory.short(BITS_PER_SAMPLE).unwrap_or(1);
    let samples = usize::from(directory.short(SAMPLES_PER_PIXEL).unwrap_or(1));
    let palette = photometric == PALETTE && samples == 1 && matches!(bits, 1 | 2 | 4 | 8);
    let is_grey = matches!(photometric, WHITE_IS_ZERO | BLACK_IS_ZERO);
    let grey = is_grey && (samples == 1 && matches!(bits, 2 | 4) || samples == 2 && bits == 8);
    (palette || grey).then(|| {
        decode_packed(bytes, &directory, Packing { photometric, bits, samples }, max_pixels)
    })
}

/// How a file says that its pixels are stored.
struct Packing {
    photometric: u16,
    bits: u16,
    /// Numbers a pixel; only the first is used, so that alpha is dropped.
    samples: usize,
}

fn decode_packed(
    bytes: &[u8],
    directory: &Directory<'_>,
    packing: Packing,
    max_pixels: u64,
) -> Result<Decoded, DecodeError> {
    let Packing { photometric, bits, samples } = packing;
    let levels = 1usize << bits;
    let colors: Vec<[u8; 3]> = if photometric == PALETTE {
        let map = directory.shorts(COLOR_MAP).filter(|map| map.len() >= 3 * levels);
        let map =
            map.ok_or_else(|| DecodeError::Damaged("its palette is missing or too short".into()))?;
        // All reds, then all greens, then all blues, in 16 bits.
        (0..levels)
            .map(|i| [0, 1, 2].map(|channel| (map[channel * levels + i] >> 8) as u8))
            .collect()
    } else {
        let grey = |i: usize| (i * 255 / (levels - 1)) as u8;
        (0..levels)
            .map(|i| [if photometric == WHITE_IS_ZERO { 255 - grey(i) } else { grey(i) }; 3])
            .collect()
    };
    // A large file is copied before it is known how large its image is.
    let for_copy = turn(bytes.len() as u64);
    let mut copy = bytes.to_vec();
    directory.set_short(&mut copy, PHOTOMETRIC, BLACK_IS_ZERO);
    let mut limits = Limits::unlimited();
    limits.decoding_buffer_size = usize::try_from(max_file_bytes(max_pixels)).unwrap_or(usize::MAX);
    limits.intermediate_buffer_size = limits.decoding_buffer_size;
    let mut decoder = Decoder::new(Cursor::new(copy)).map_err(from_tiff)?.with_limits(limits);
    let (width, height) = decoder.dimensions().map_err(from_tiff)?;
    check_size(width, height, max_pixels)?;
    let _turn = for_copy.or_else(|| turn(u64::from(width) * u64::from(height)));
    let DecodingResult::U8(packed) = decoder.read_image().map_err(from_tiff)? else {
        return Err(DecodeError::Damaged("its samples are not of the size it states".into()));
    };
    let row_bytes = (width as usize * samples * usize::from(bits)).div_ceil(8);
    let per_byte = 8 / usize::from(bits);
    let mask = (levels - 1) as u8;
    let mut data = Vec::with_capacity(width as usize * height as usize * 3);
    for row in packed.chunks_exact(row_bytes).take(height as usize) {
        for x in (0..width as usize).map(|x| x * samples) {
            let shift = 8 - usize::from(bits) * (x % per_byte + 1);
            data.extend_from_slice(&colors[usize::from(row[x / per_byte] >> shift & mask)]);
        }
    }
    let image = RgbImage::from_raw(width, height, data).ok_or(DecodeError::Truncated)?;
    let mut image = DynamicImage::ImageRgb8(image);
    let orientation =
        directory.short(ORIENTATION).and_then(|o| Orientation::from_exif(u8::try_from(o).ok()?));
    image.apply_orientation(orientation.unwrap_or(Orientation::NoTransforms));
    let image = image.into_rgb8();
    let (width, height) = image.dimensions();
    let mode = match (photometric, bits) {
        (PALETTE, _) => "P",
        _ if samples == 2 => "LA",
        (_, 2) => "L2",
        _ => "L4",
    };
    Ok(Decoded {
        pixels: RgbPixels { width, height, data: image.into_raw() },
        size: (width, height),
        mode,
    })
}

fn from_tiff(error: TiffError) -> DecodeError {
    match error {
        TiffError::IoError(e) if e.kind() == ErrorKind::UnexpectedEof => DecodeError::Truncated,
        TiffError::UnsupportedError(e) => DecodeError::Unsupported(e.to_string()),
        other => DecodeError::Damaged(other.to_string()),
    }
}

/// The tags of the first image of a TIFF file, read where they lie.
struct Directory<'a> {
    bytes: &'a [u8],
    big_endian: bool,
    /// Where the first entry lies; each takes twelve bytes.
    start: usize,
    entries: usize,
}

impl<'a> Directory<'a> {
    /// `None` where there is no directory; the general decoder then says why.
    fn read(bytes: &'a [u8]) -> Option<Self> {
        let big_endian = match bytes.get(..4)? {
            b"II*\0" => false,
            b"MM\0*" => true,
            _ => return None,
        };
        let mut directory = Self { bytes, big_endian, start: 0, entries: 0 };
        let start = directory.long_at(4)? as usize;
        directory.entries = usize::from(directory.short_at(start)?);
        directory.start = start.checked_add(2)?;
        Some(directory)
    }

    fn short_at(&self, at: usize) -> Option<u16> {
        let bytes: [u8; 2] = self.bytes.get(at..at.checked_add(2)?)?.try_into().ok()?;
        Some(if self.big_endian { u16::from_be_bytes(bytes) } else { u16::from_le_bytes(bytes) })
    }

    fn long_at(&self, at: usize) -> Option<u32> {
        let bytes: [u8; 4] = self.bytes.get(at..at.checked_add(4)?)?.try_into().ok()?;
        Some(if self.big_endian { u32::from_be_bytes(bytes) } else { u32::from_le_bytes(bytes) })
    }

    /// Where the value of `tag`, of 16-bit numbers, lies and how many there are.
    fn find(&self, tag: u16) -> Option<(usize, usize)> {
        const SHORT: u16 = 3;
        let at = (0..self.entries)
            .map(|i| self.start + 12 * i)
            .find(|&at| self.short_at(at) == Some(tag))?;
        let count = self.long_at(at + 4)? as usize;
        if self.short_at(at + 2)? != SHORT {
            return None;
        }
        Some((if count <= 2 { at + 8 } else { self.long_at(at + 8)? as usize }, count))
    }

    fn short(&self, tag: u16) -> Option<u16> {
        self.short_at(self.find(tag)?.0)
    }

    fn shorts(&self, tag: u16) -> Option<Vec<u16>> {
        let (at, count) = self.find(tag)?;
        // The longest palette there is: three times 256 colours.
        (0..count.min(768)).map(|i| self.short_at(at + 2 * i)).collect()
    }

    fn set_short(&self, copy: &mut [u8], tag: u16, value: u16) {
        let place = self.find(tag).and_then(|(at, _)| copy.get_mut(at..at + 2));
        if let Some(place) = place {
            place.copy_from_slice(&if self.big_endian {
                value.to_be_bytes()
            } else {
                value.to_le_bytes()
            });
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// An uncompressed TIFF of one strip: the tags given, the pixels, and the palette if there is
    /// one.
    fn tiff(
        width: u16,
        height: u16,
        tags: &[(u16, u16)],
        pixels: &[u8],
        palette: &[u16],
    ) -> Vec<u8> {
        let strip = |at: u32| vec![(273u16, 4u16, 1u32, at), (279, 4, 1, pixels.len() as u32)];
        let mut entries: Vec<(u16, u16, u32, u32)> =
            vec![(256, 3, 1, width.into()), (257, 3, 1, height.into()), (259, 3, 1, 1)];
        entries.extend(tags.iter().map(|&(tag, value)| (tag, 3, 1, u32::from(value))));
        let count = entries.len() + 2 + usize::from(!palette.is_empty());
        let data = 8 + 2 + 12 * count as u32 + 4;
        entries.extend(strip(data));
        if !palette.is_empty() {
            entries.push((COLOR_MAP, 3, palette.len() as u32, data + pixels.len() as u32));
        }
        entries.sort_unstable();
        let mut out = b"II*\0\x08\0\0\0".to_vec();
        out.extend((count as u16).to_le_bytes());
        for (tag, kind, count, value) in entries {
            out.extend([tag.to_le_bytes(), kind.to_le_bytes()].concat());
            out.extend([count.to_le_bytes(), value.to_le_bytes()].concat());
        }
        out.extend([0; 4]);
        out.extend(pixels);
        out.extend(palette.iter().flat_map(|value| value.to_le_bytes()));
        out
    }

    fn decoded(bytes: &[u8]) -> Decoded {
        decode(bytes, 100).unwrap().unwrap()
    }

    #[test]
    fn indices_are_looked_up_in_the_palette() {
        let palette: Vec<u16> = [[0u16, 10, 20, 30], [100, 110, 120, 130], [200, 210, 220, 230]]
            .concat()
            .iter()
            .map(|v| v << 8)
            .collect();
        // Two rows of three pixels of two bits: 0 1 2 and 3 3 0.
        let bytes = tiff(
            3,
            2,
            &[(BITS_PER_SAMPLE, 2), (PHOTOMETRIC, PALETTE)],
            &[0b0001_1000, 0b1111_0000],
            &palette,
        );
        let image = decoded(&bytes);
        assert_eq!(image.mode, "P");
        let pixels: Vec<&[u8]> = image.pixels.data.chunks(3).collect();
        assert_eq!(
            pixels,
            [
                [0, 100, 200],
                [10, 110, 210],
                [20, 120, 220],
                [30, 130, 230],
                [30, 130, 230],
                [0, 100, 200]
            ]
        );
        // A palette that ends early names itself.
        assert!(
            decode(&bytes[..bytes.len() - 4], 100)
                .unwrap()
                .unwrap_err()
                .to_string()
                .contains("palette")
        );
        assert!(matches!(decode(&bytes, 5), Some(Err(DecodeError::TooLarge { .. }))));
    }

    #[test]
    fn greys_are_scaled_turned_and_freed_of_alpha() {
        let white = decoded(&tiff(
            2,
            1,
            &[(BITS_PER_SAMPLE, 4), (PHOTOMETRIC, WHITE_IS_ZERO)],
            &[0x0f],
            &[],
        ));
        assert_eq!((white.mode, white.pixels.data), ("L4", vec![255, 255, 255, 0, 0, 0]));
        let tags = [(BITS_PER_SAMPLE, 4), (PHOTOMETRIC, BLACK_IS_ZERO), (ORIENTATION, 6)];
        let turned = decoded(&tiff(2, 1, &tags, &[0x3c], &[]));
        assert_eq!(
            (turned.pixels.width, turned.pixels.height, turned.pixels.data),
            (1, 2, vec![51, 51, 51, 204, 204, 204])
        );
        let file = tiff(1, 1, &[(BITS_PER_SAMPLE, 8), (PHOTOMETRIC, PALETTE)], &[7], &[]);
        assert!(decode(&file, 100).unwrap().is_err());
        let rgb = tiff(
            1,
            1,
            &[(BITS_PER_SAMPLE, 8), (PHOTOMETRIC, 2), (SAMPLES_PER_PIXEL, 3)],
            &[1, 2, 3],
            &[],
        );
        assert!(decode(&rgb, 100).is_none());
    }
}
