//! When and by which camera a photo was taken, as its EXIF data say.

use std::fmt;
use std::io::Cursor;

use exif::{DateTime, Exif, In, Tag, Value};

use crate::panics::caught;

/// When a photo was taken, and by which camera.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Taken {
    /// Seconds since 1970 by the camera's own clock, which knows of no time zone: to be compared
    /// with other photos of the same camera.
    pub seconds: i64,
    /// Stands for the camera: the start of the BLAKE3 of its make, model and serial number, as far
    /// as they are there.
    pub camera: u32,
}

/// The time by the camera's clock, `2024-05-01 10:20:30`.
impl fmt::Display for Taken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // The inverse of what `seconds` does, by the same source.
        let (days, second) = (self.seconds.div_euclid(86_400), self.seconds.rem_euclid(86_400));
        let (era, day_of_era) =
            ((days + 719_468).div_euclid(146_097), (days + 719_468).rem_euclid(146_097));
        let leap_days = day_of_era / 1_460 - day_of_era / 36_524 + day_of_era / 146_096;
        let year_of_era = (day_of_era - leap_days) / 365;
        let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
        let from_march = (5 * day_of_year + 2) / 153;
        let day = day_of_year - (153 * from_march + 2) / 5 + 1;
        let month = if from_march < 10 { from_march + 3 } else { from_march - 9 };
        let year = year_of_era + era * 400 + i64::from(month <= 2);
        let (hour, minute, second) = (second / 3600, second / 60 % 60, second % 60);
        write!(f, "{year:04}-{month:02}-{day:02} {hour:02}:{minute:02}:{second:02}")
    }
}

/// What a file says of when it was taken; `None` if nothing, or nothing that can be read.
pub(crate) fn taken(bytes: &[u8]) -> Option<Taken> {
    // Other people's code on arbitrary bytes.
    caught(|| Ok(read(bytes))).ok().flatten()
}

fn read(bytes: &[u8]) -> Option<Taken> {
    let is_possible = bytes.starts_with(&[0xff, 0xd8])
        || bytes.starts_with(b"\x89PNG")
        || bytes.starts_with(b"RIFF")
        || bytes.starts_with(b"II*\0")
        || bytes.starts_with(b"MM\0*");
    if !is_possible {
        return None;
    }
    let exif = exif::Reader::new().read_from_container(&mut Cursor::new(bytes)).ok()?;
    // Not `DateTime`, which programs set when they change a file.
    let seconds = [Tag::DateTimeOriginal, Tag::DateTimeDigitized]
        .into_iter()
        .find_map(|tag| seconds(text(&exif, tag)?))?;
    let mut hasher = blake3::Hasher::new();
    for tag in [Tag::Make, Tag::Model, Tag::BodySerialNumber] {
        let text = text(&exif, tag).unwrap_or_default();
        hasher.update(&(text.len() as u64).to_le_bytes());
        hasher.update(text);
    }
    let camera = hasher.finalize().as_bytes().first_chunk().map_or(0, |b| u32::from_le_bytes(*b));
    Some(Taken { seconds, camera })
}

fn text(exif: &Exif, tag: Tag) -> Option<&[u8]> {
    match &exif.get_field(tag, In::PRIMARY)?.value {
        Value::Ascii(texts) => texts.first().map(Vec::as_slice),
        _ => None,
    }
}

/// `2024:05:01 10:20:30` in seconds since 1970. A camera whose clock was never set is left out, as
/// is a date that no calendar has.
fn seconds(text: &[u8]) -> Option<i64> {
    let date = DateTime::from_ascii(text).ok()?;
    let in_range = (1980..=9999).contains(&date.year)
        && (1..=12).contains(&date.month)
        && (1..=31).contains(&date.day)
        && date.hour < 24
        && date.minute < 60
        && date.second <= 60;
    if !in_range {
        return None;
    }
    // Days since 1970 (H. Hinnant, "chrono-compatible low-level date algorithms"): years begin in
    // March, so that the leap day is the last of its year.
    let (month, day) = (i64::from(date.month), i64::from(date.day));
    let year = i64::from(date.year) - i64::from(month <= 2);
    let (era, year_of_era) = (year.div_euclid(400), year.rem_euclid(400));
    let day_of_year = (153 * (month + if month > 2 { -3 } else { 9 }) + 2) / 5 + day - 1;
    let day_of_era = year_of_era * 365 + year_of_era / 4 - year_of_era / 100 + day_of_year;
    let days = era * 146_097 + day_of_era - 719_468;
    let (hour, minute) = (i64::from(date.hour), i64::from(date.minute));
    Some(days * 86_400 + hour * 3600 + minute * 60 + i64::from(date.second))
}

#[cfg(test)]
mod tests {
    use exif::Field;
    use exif::experimental::Writer;
    use image::ImageEncoder;

    use super::*;

    fn field(tag: Tag, text: &str) -> Field {
        Field { tag, ifd_num: In::PRIMARY, value: Value::Ascii(vec![text.as_bytes().to_vec()]) }
    }

    /// A JPEG of one pixel with these fields.
    fn photo(fields: &[(Tag, &str)]) -> Vec<u8> {
        let fields: Vec<Field> = fields.iter().map(|(tag, text)| field(*tag, text)).collect();
        let mut writer = Writer::new();
        fields.iter().for_each(|field| writer.push_field(field));
        let mut block = Cursor::new(Vec::new());
        writer.write(&mut block, false).unwrap();
        let mut bytes = Vec::new();
        let mut encoder = image::codecs::jpeg::JpegEncoder::new(&mut bytes);
        encoder.set_exif_metadata(block.into_inner()).unwrap();
        encoder.write_image(&[1, 2, 3], 1, 1, image::ExtendedColorType::Rgb8).unwrap();
        bytes
    }

    #[test]
    fn time_and_camera_are_read() {
        let of = |model: &str, time: &str| {
            taken(&photo(&[(Tag::Model, model), (Tag::DateTimeOriginal, time)]))
        };
        let one = of("trap 1", "2024:02:29 23:59:58").unwrap();
        // `date -ud "2024-02-29 23:59:58" +%s`
        assert_eq!(one.seconds, 1_709_251_198);
        for time in [
            "2024-02-29 23:59:58",
            "2024-03-01 00:00:00",
            "1999-12-31 23:59:59",
            "2000-01-01 12:30:00",
            "2100-02-28 07:08:09",
            "9999-12-31 00:00:00",
        ] {
            assert_eq!(of("trap 1", &time.replace('-', ":")).unwrap().to_string(), time);
        }
        let next = of("trap 1", "2024:03:01 00:00:01").unwrap();
        assert_eq!((next.seconds - one.seconds, next.camera), (3, one.camera));
        assert_ne!(of("trap 2", "2024:02:29 23:59:58").unwrap().camera, one.camera);
        assert_eq!(of("trap 1", "0000:00:00 00:00:00"), None);
        assert_eq!(of("trap 1", "1970:01:01 00:00:00"), None);
        assert_eq!(of("trap 1", "yesterday"), None);
        assert_eq!(taken(&photo(&[(Tag::DateTime, "2024:02:29 23:59:58")])), None);
    }

    #[test]
    fn what_has_no_exif_data_or_broken_ones_says_nothing() {
        let whole = photo(&[(Tag::DateTimeOriginal, "2024:02:29 23:59:58")]);
        assert!(taken(&whole).is_some());
        for bytes in [&b""[..], b"P6 1 1 255 abc", b"II*\0\xff\xff\xff\xff", b"RIFF", b"\x89PNG"] {
            assert_eq!(taken(bytes), None);
        }
        for end in 0..whole.len() {
            taken(&whole[..end]);
        }
        for at in 0..whole.len() {
            let mut broken = whole.clone();
            broken[at] ^= 0xff;
            taken(&broken);
        }
    }
}
