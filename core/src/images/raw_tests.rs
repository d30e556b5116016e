//! Raw files made by hand: the directories that cameras write, around JPEGs of the size of a photo.

use super::*;
use crate::images::{DecodeError, Detail, decode, decode_for};

/// A JPEG of a size, brighter to the right.
fn jpeg(width: u32, height: u32) -> Vec<u8> {
    let image =
        image::RgbImage::from_fn(width, height, |x, _| image::Rgb([(x * 255 / width) as u8; 3]));
    let mut bytes = Cursor::new(Vec::new());
    image.write_to(&mut bytes, ImageFormat::Jpeg).unwrap();
    bytes.into_inner()
}

/// A TIFF of directories, each its entries (tag, type, value), the first of those of all others in
/// tag 330. `MARK + n` as a value is where the n-th blob lies, and each blob lies behind all of them.
struct Draft {
    start: [u8; 4],
    directories: Vec<Vec<(u16, u16, u32)>>,
    blobs: Vec<Vec<u8>>,
}

const MARK: u32 = 0xf000_0000;

impl Draft {
    fn bytes(&self) -> Vec<u8> {
        let big = self.start[0] == b'M';
        let two = |value: u16| if big { value.to_be_bytes() } else { value.to_le_bytes() };
        let four = |value: u32| if big { value.to_be_bytes() } else { value.to_le_bytes() };
        let head = 16;
        let lengths: Vec<usize> =
            self.directories.iter().map(|own| 2 + 12 * own.len() + 4).collect();
        let places: Vec<usize> =
            (0..lengths.len()).map(|n| head + lengths[..n].iter().sum::<usize>()).collect();
        let mut blob = head + lengths.iter().sum::<usize>();
        let blobs: Vec<usize> = self
            .blobs
            .iter()
            .map(|bytes| {
                blob += bytes.len();
                blob - bytes.len()
            })
            .collect();
        let mut out = [self.start.as_slice(), &four(head as u32)].concat();
        out.resize(head, 0);
        for entries in &self.directories {
            out.extend(two(entries.len() as u16));
            for (tag, kind, value) in entries {
                let value = match (*tag, *value) {
                    (330, number) => places[number as usize] as u32,
                    (_, value) if value >= MARK => blobs[(value - MARK) as usize] as u32,
                    (_, value) => value,
                };
                // The count of an untyped value is the length of its blob.
                let count = if *kind == 7 { self.blobs[0].len() as u32 } else { 1 };
                out.extend([two(*tag).as_slice(), &two(*kind), &four(count)].concat());
                match kind {
                    3 => out.extend([two(value as u16).as_slice(), &[0, 0]].concat()),
                    _ => out.extend(four(value)),
                }
            }
            out.extend(four(0));
        }
        out.extend(self.blobs.concat());
        out
    }
}

/// As Nikon's and Sony's: a thumbnail in the first directory, below it the sensor's data and the
/// preview.
fn nef(start: [u8; 4], orientation: u32) -> Vec<u8> {
    let (preview, thumbnail) = (jpeg(640, 400), jpeg(160, 120));
    let lengths = (preview.len() as u32, thumbnail.len() as u32);
    Draft {
        start,
        directories: vec![
            vec![(274, 3, orientation), (330, 4, 1), (513, 4, MARK + 1), (514, 4, lengths.1)],
            vec![(256, 4, 4000), (262, 3, 32803), (273, 4, MARK + 2), (279, 4, 64), (330, 4, 2)],
            vec![(259, 3, 6), (513, 4, MARK), (514, 4, lengths.0)],
        ],
        blobs: vec![preview, thumbnail, vec![0xaa; 64]],
    }
    .bytes()
}

#[test]
fn the_largest_picture_of_a_raw_file_is_read_upright() {
    for start in [*b"II*\0", *b"MM\0*"] {
        let upright = decode(&nef(start, 1), 1_000_000).unwrap();
        assert_eq!((upright.size, upright.mode), ((640, 400), "RGB"));
        let turned = decode(&nef(start, 6), 1_000_000).unwrap();
        assert_eq!(turned.size, (400, 640));
        // Held upright, what was on the right is below.
        let value = |x: u32, y: u32| turned.pixels.data[3 * (y * 400 + x) as usize];
        assert!(value(200, 10) < 10 && value(200, 630) > 245);
        let small = decode_for(&nef(start, 6), 1_000_000, Detail::Side(32)).unwrap();
        assert_eq!((small.size, small.pixels.width), ((400, 640), 50));
    }
}

#[test]
fn every_makers_way_is_known() {
    let picture = jpeg(640, 400);
    let length = picture.len() as u32;
    let strip = vec![(259, 3, 6), (273, 4, MARK), (279, 4, length)];
    let one = |start: [u8; 4], entries: Vec<(u16, u16, u32)>| {
        Draft { start, directories: vec![entries], blobs: vec![picture.clone()] }.bytes()
    };
    // Canon's CR2, whose sign stands behind the place of the first directory.
    let mut cr2 = one(*b"II*\0", strip.clone());
    cr2[8..10].copy_from_slice(b"CR");
    // Adobe's DNG, by its version.
    let dng = one(*b"MM\0*", [strip.clone(), vec![(50706, 1, 0x0104_0000)]].concat());
    let rw2 = one(*b"IIU\0", vec![(0x2e, 7, MARK)]);
    // Olympus' in the maker's notes, where no directory names it.
    let orf = one(*b"IIRO", vec![(256, 4, 4000)]);
    let mut raf = b"FUJIFILMCCD-RAW 0201".to_vec();
    raf.resize(84, 0);
    raf.extend(100u32.to_be_bytes());
    raf.extend(length.to_be_bytes());
    raf.resize(100, 0);
    raf.extend(&picture);
    for (name, bytes) in [("cr2", cr2), ("dng", dng), ("rw2", rw2), ("orf", orf), ("raf", raf)] {
        let decoded = decode(&bytes, 1_000_000).unwrap_or_else(|reason| panic!("{name}: {reason}"));
        assert_eq!(decoded.size, (640, 400), "{name}");
        assert!(matches!(decode(&bytes, 1000), Err(DecodeError::TooLarge { .. })), "{name}");
    }
}

fn iso(kind: &[u8; 4], content: &[u8]) -> Vec<u8> {
    [&(content.len() as u32 + 8).to_be_bytes(), kind.as_slice(), content].concat()
}

#[test]
fn canons_newer_files_are_read_by_their_tracks_and_previews() {
    let (preview, whole) = (jpeg(400, 300), jpeg(640, 400));
    let held =
        Draft { start: *b"II*\0", directories: vec![vec![(274, 3, 8)]], blobs: vec![] }.bytes();
    let start = iso(b"ftyp", b"crx \0\0\0\x01crx isom");
    let file = |place: u64, with_track: bool| {
        let sizes = [[0; 4], (whole.len() as u32).to_be_bytes(), 1u32.to_be_bytes()].concat();
        let places = [[0; 4].as_slice(), &1u32.to_be_bytes(), &place.to_be_bytes()].concat();
        let table = [iso(b"stsz", &sizes), iso(b"co64", &places)].concat();
        let track = iso(b"trak", &iso(b"mdia", &iso(b"minf", &iso(b"stbl", &table))));
        let notes = iso(b"uuid", &[[7; 16].as_slice(), &iso(b"CMT1", &held)].concat());
        let moov = iso(b"moov", &[notes, if with_track { track } else { Vec::new() }].concat());
        let head = [[9; 16].as_slice(), &[0; 8], &[0, 0, 0, 0], b"PRVW", &[0; 16]].concat();
        let shown = iso(b"uuid", &[head.as_slice(), &preview].concat());
        [start.clone(), moov, shown, iso(b"mdat", &whole)].concat()
    };
    let place = file(0, true).len() - whole.len();
    assert_eq!(decode(&file(place as u64, true), 1_000_000).unwrap().size, (400, 640));
    // Without the track, the picture itself is found where it lies; cut off, the preview is left.
    let cut = file(0, false);
    assert_eq!(decode(&cut[..cut.len() - whole.len()], 1_000_000).unwrap().size, (300, 400));
}

#[test]
fn what_holds_no_picture_says_so() {
    let reason = |bytes: &[u8]| decode(bytes, 1_000_000).unwrap_err().to_string();
    let thumbnail = jpeg(160, 120);
    let length = thumbnail.len() as u32;
    let entries = vec![(262, 3, 32803), (513, 4, MARK), (514, 4, length)];
    let small =
        Draft { start: *b"II*\0", directories: vec![entries], blobs: vec![thumbnail] }.bytes();
    assert!(reason(&small).contains("only a thumbnail of 160 × 120"), "{}", reason(&small));
    let none = Draft { start: *b"II*\0", directories: vec![vec![(262, 3, 32803)]], blobs: vec![] };
    assert!(reason(&none.bytes()).contains("without a picture in it; develop it to JPEG"));
    let whole = nef(*b"II*\0", 1);
    assert_eq!(decode(&whole[..200], 1_000_000), Err(DecodeError::Truncated));
    // An ordinary TIFF is none.
    assert!(preview(b"II*\0\x08\0\0\0\0\0\0\0\0\0").is_none());
}

#[test]
fn nothing_hostile_in_a_raw_file_does_harm() {
    let whole = nef(*b"MM\0*", 6);
    let mut random = 1u32;
    for length in (0..whole.len()).step_by(97) {
        drop(decode(&whole[..length], 1_000_000));
        let mut bytes = whole.clone();
        for _ in 0..8 {
            random = random.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            bytes[(random >> 16) as usize % 160] = random as u8;
        }
        drop(decode(&bytes, 1_000_000));
    }
    // Directories that lead to each other, and more entries than there are bytes.
    let circle = Draft {
        start: *b"II*\0",
        directories: vec![vec![(330, 4, 1)], vec![(330, 4, 0), (262, 3, 32803)]],
        blobs: vec![],
    };
    assert!(decode(&circle.bytes(), 1000).is_err());
    let mut many = circle.bytes();
    many[16..18].copy_from_slice(&[0xff, 0xff]);
    assert!(decode(&many, 1000).is_err());
}
