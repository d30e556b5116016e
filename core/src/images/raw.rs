//! Raw files of cameras, by the picture that the camera has put into them.
//!
//! What a sensor has seen is no picture yet: every program develops it differently. But nearly all
//! raw files hold the JPEG that the camera itself made of it, mostly in full size, and that is what is
//! read: of the JPEGs that are found the largest. Most raw files are TIFF whose directories say where
//! they are (CR2, NEF, ARW, DNG, PEF, SRW, ORF, RW2); CR3 is an ISO media file, RAF has a header.

use std::io::Cursor;

use image::metadata::Orientation;
use image::{ImageDecoder, ImageFormat, ImageReader};

use super::boxes::boxes;
use super::decode::DecodeError;
use super::jpeg;

/// A side that a preview has at least; less is a thumbnail for the camera's own display.
const LEAST_SIDE: u32 = 320;
/// Directories of a TIFF that are looked at. A small file can link them in circles.
const DIRECTORIES: usize = 64;
/// Directories below each other.
const DEPTH: usize = 4;

/// The picture inside a raw file.
#[derive(Debug)]
pub(super) struct Preview<'a> {
    pub jpeg: &'a [u8],
    /// How the camera was held, where only the file around the JPEG says it.
    pub orientation: Orientation,
}

/// The preview inside a raw file, or why there is none worth reading; `None` if this is no raw file.
pub(super) fn preview(bytes: &[u8]) -> Option<Result<Preview<'_>, DecodeError>> {
    let mut found = Found::default();
    if bytes.starts_with(b"FUJIFILMCCD-RAW") {
        let number = |at: usize| Some(u32::from_be_bytes(bytes.get(at..at + 4)?.try_into().ok()?));
        if let (Some(start), Some(length)) = (number(84), number(88)) {
            found.take(bytes, start, length);
        }
    } else if bytes.get(4..12) == Some(b"ftypcrx ") {
        iso_media(bytes, &mut found);
    } else {
        let tiff = Tiff::of(bytes)?;
        tiff.walk(&mut found);
        if !found.is_raw {
            return None;
        }
    }
    if found.largest() < LEAST_SIDE {
        found.search(bytes);
    }
    Some(found.preview())
}

/// JPEGs that were found in a file.
#[derive(Default)]
struct Found<'a> {
    jpegs: Vec<(&'a [u8], (u32, u32))>,
    orientation: Option<u16>,
    is_raw: bool,
    /// Whether a JPEG is named that lies behind the end of the file.
    is_cut: bool,
}

impl<'a> Found<'a> {
    fn take(&mut self, bytes: &'a [u8], start: u32, length: u32) {
        let (start, length) = (start as usize, length as usize);
        self.is_cut |= start.saturating_add(length) > bytes.len();
        if let Some(jpeg) = bytes.get(start..start.saturating_add(length))
            && let Some(size) = jpeg::size(jpeg)
        {
            self.jpegs.push((jpeg, size));
        }
    }

    fn largest(&self) -> u32 {
        self.jpegs.iter().map(|(_, (width, height))| *width.max(height)).max().unwrap_or(0)
    }

    /// Looks for JPEGs that no directory names, such as those in a maker's notes.
    fn search(&mut self, bytes: &'a [u8]) {
        /// More than a file has that is in order.
        const MOST: usize = 1000;
        /// How often all of it is gone through. Pictures that end lie beside each other.
        const TIMES: usize = 8;
        let mut left = TIMES * bytes.len();
        for at in memchr::memmem::find_iter(bytes, b"\xff\xd8\xff").take(MOST) {
            let rest = &bytes[at..];
            let Some(size) = jpeg::size(rest) else { continue };
            if size.0.max(size.1) <= self.largest() {
                continue;
            }
            let end = jpeg::end(rest);
            if let Some(end) = end {
                self.jpegs.push((&rest[..end], size));
            }
            let Some(still) = left.checked_sub(end.unwrap_or(rest.len())) else { break };
            left = still;
        }
    }

    fn preview(self) -> Result<Preview<'a>, DecodeError> {
        let pixels = |(width, height): (u32, u32)| u64::from(width) * u64::from(height);
        let advice = "develop it to JPEG with the camera's program";
        match self.jpegs.iter().max_by_key(|(_, size)| pixels(*size)) {
            None if self.is_cut => Err(DecodeError::Truncated),
            None => Err(DecodeError::Unsupported(format!(
                "a camera's raw file without a picture in it; {advice}"
            ))),
            Some((_, (width, height))) if *width.max(height) < LEAST_SIDE => {
                Err(DecodeError::Unsupported(format!(
                    "a camera's raw file that holds only a thumbnail of {width} × {height} pixels; {advice}"
                )))
            }
            Some((jpeg, _)) => {
                let around =
                    self.orientation.and_then(|o| Orientation::from_exif(u8::try_from(o).ok()?));
                let orientation = match says_orientation(jpeg) {
                    true => Orientation::NoTransforms,
                    false => around.unwrap_or(Orientation::NoTransforms),
                };
                Ok(Preview { jpeg, orientation })
            }
        }
    }
}

/// Whether a JPEG says itself how the camera was held.
fn says_orientation(jpeg: &[u8]) -> bool {
    let decoder = ImageReader::with_format(Cursor::new(jpeg), ImageFormat::Jpeg).into_decoder();
    decoder
        .ok()
        .and_then(|mut decoder| decoder.exif_metadata().ok().flatten())
        .is_some_and(|exif| Orientation::from_exif_chunk(&exif).is_some())
}

/// A TIFF, or one of the formats that are TIFF with another number at their beginning.
struct Tiff<'a> {
    bytes: &'a [u8],
    little: bool,
    /// Whether the beginning alone says that it is a raw file.
    is_raw: bool,
}

impl<'a> Tiff<'a> {
    fn of(bytes: &'a [u8]) -> Option<Self> {
        let (little, is_raw) = match bytes.get(..4)? {
            b"II*\0" => (true, bytes.get(8..10) == Some(b"CR")),
            b"MM\0*" => (false, false),
            b"IIRO" | b"IIRS" | b"IIU\0" => (true, true),
            b"MMOR" => (false, true),
            _ => return None,
        };
        Some(Self { bytes, little, is_raw })
    }

    fn short(&self, at: usize) -> Option<u16> {
        let two = self.bytes.get(at..at.checked_add(2)?)?.try_into().ok()?;
        Some(if self.little { u16::from_le_bytes(two) } else { u16::from_be_bytes(two) })
    }

    fn long(&self, at: usize) -> Option<u32> {
        let four = self.bytes.get(at..at.checked_add(4)?)?.try_into().ok()?;
        Some(if self.little { u32::from_le_bytes(four) } else { u32::from_be_bytes(four) })
    }

    fn walk(&self, found: &mut Found<'a>) {
        found.is_raw = self.is_raw;
        let mut waiting = vec![(self.long(4), 0)];
        let mut seen = Vec::new();
        while let Some((at, depth)) = waiting.pop() {
            let Some(at) = at.map(|at| at as usize).filter(|at| *at > 0) else { continue };
            if seen.contains(&at) || seen.len() >= DIRECTORIES || depth > DEPTH {
                continue;
            }
            seen.push(at);
            let Some(directory) = Directory::read(self, at) else { continue };
            if seen.len() == 1 {
                found.orientation = directory.number(274).and_then(|o| u16::try_from(o).ok());
            }
            found.is_raw |= directory.is_of_a_sensor();
            directory.jpegs(found);
            let below = directory.values(330).into_iter().chain(directory.values(34665));
            waiting.extend(below.map(|below| (Some(below), depth + 1)));
            waiting.push((directory.next, depth));
        }
    }
}

/// A directory of a TIFF: its entries, each a tag with its type, its count and where its value is.
struct Directory<'t, 'a> {
    tiff: &'t Tiff<'a>,
    entries: Vec<(u16, u16, u32, usize)>,
    next: Option<u32>,
}

impl<'t, 'a> Directory<'t, 'a> {
    fn read(tiff: &'t Tiff<'a>, at: usize) -> Option<Self> {
        let count = usize::from(tiff.short(at)?);
        let mut entries = Vec::new();
        for entry in (0..count).map(|number| at + 2 + 12 * number) {
            let Some(length) = tiff.long(entry + 4) else { break };
            entries.push((tiff.short(entry)?, tiff.short(entry + 2)?, length, entry + 8));
        }
        Some(Self { tiff, entries, next: tiff.long(at + 2 + 12 * count) })
    }

    /// The numbers of a tag, of which a few are enough.
    fn values(&self, tag: u16) -> Vec<u32> {
        const MOST: u32 = 32;
        let Some(&(_, kind, count, at)) = self.entries.iter().find(|entry| entry.0 == tag) else {
            return Vec::new();
        };
        let size = match kind {
            3 => 2,
            4 | 13 => 4,
            _ => return Vec::new(),
        };
        let outside = u64::from(count) * size as u64 > 4;
        let start = if outside { self.tiff.long(at).map(|at| at as usize) } else { Some(at) };
        let value = |number: u32| {
            let at = start?.checked_add(number as usize * size)?;
            if size == 2 { self.tiff.short(at).map(u32::from) } else { self.tiff.long(at) }
        };
        (0..count.min(MOST)).map_while(value).collect()
    }

    fn number(&self, tag: u16) -> Option<u32> {
        self.values(tag).first().copied()
    }

    fn has(&self, tag: u16) -> bool {
        self.entries.iter().any(|entry| entry.0 == tag)
    }

    /// Whether it describes what a sensor has seen: a colour filter array or the numbers as they
    /// are, a compression of cameras, or the version of DNG.
    fn is_of_a_sensor(&self) -> bool {
        matches!(self.number(262), Some(32803 | 34892))
            || matches!(self.number(259), Some(32767 | 32769 | 32770 | 34713 | 65535))
            || self.has(50706)
    }

    fn jpegs(&self, found: &mut Found<'a>) {
        if let (Some(start), Some(length)) = (self.number(513), self.number(514)) {
            found.take(self.tiff.bytes, start, length);
        }
        if let ([start], [length]) = (self.values(273).as_slice(), self.values(279).as_slice()) {
            found.take(self.tiff.bytes, *start, *length);
        }
        // Panasonic's, as bytes of no type.
        if let Some(&(_, 7, length, at)) = self.entries.iter().find(|entry| entry.0 == 0x2e)
            && let Some(start) = self.tiff.long(at)
        {
            found.take(self.tiff.bytes, start, length);
        }
    }
}

/// CR3: the samples of its tracks, one of which is the JPEG, and the preview in a box of Canon's.
fn iso_media<'a>(bytes: &'a [u8], found: &mut Found<'a>) {
    found.is_raw = true;
    for outer in boxes(bytes) {
        match &outer.kind {
            b"moov" => {
                for inner in boxes(outer.content) {
                    match &inner.kind {
                        b"trak" => track(bytes, inner.content, found),
                        b"uuid" => {
                            let directories = boxes(inner.content.get(16..).unwrap_or_default());
                            let first = directories.into_iter().find(|own| &own.kind == b"CMT1");
                            if let Some(tiff) = first.and_then(|first| Tiff::of(first.content)) {
                                let start =
                                    tiff.long(4).and_then(|at| Directory::read(&tiff, at as usize));
                                let held = start.and_then(|directory| directory.number(274));
                                found.orientation = held.and_then(|o| u16::try_from(o).ok());
                            }
                        }
                        _ => {}
                    }
                }
            }
            // After the box's name and eight bytes: a box with size and kind, its version, an unknown
            // number, width, height, another number, and the length of the JPEG that follows.
            b"uuid" if outer.content.get(28..32) == Some(b"PRVW") => {
                if let Some(jpeg) = outer.content.get(48..)
                    && let Some(size) = jpeg::size(jpeg)
                {
                    found.jpegs.push((jpeg, size));
                }
            }
            _ => {}
        }
    }
}

/// The first sample of a track.
fn track<'a>(bytes: &'a [u8], track: &[u8], found: &mut Found<'a>) {
    let Some(table) = [b"mdia", b"minf", b"stbl"].iter().try_fold(track, |content, kind| {
        boxes(content).into_iter().find(|own| &own.kind == *kind).map(|own| own.content)
    }) else {
        return;
    };
    let tables = boxes(table);
    let of = |kind: &[u8; 4]| tables.iter().find(|own| own.kind == *kind).map(|own| own.content);
    let number = |content: &[u8], at: usize| {
        Some(u32::from_be_bytes(content.get(at..at + 4)?.try_into().ok()?))
    };
    let length = of(b"stsz").and_then(|sizes| match number(sizes, 4)? {
        0 => number(sizes, 12),
        all => Some(all),
    });
    let start =
        of(b"co64").and_then(|places| (number(places, 8)? == 0).then(|| number(places, 12))?);
    let start = start.or_else(|| number(of(b"stco")?, 8));
    if let (Some(start), Some(length)) = (start, length) {
        found.take(bytes, start, length);
    }
}

#[cfg(test)]
#[path = "raw_tests.rs"]
mod tests;
