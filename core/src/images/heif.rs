//! What an AVIF file says of its image before the image itself is decoded: which item it is, where its
//! bytes lie, the tiles it is made of, and how it is to be turned.

use std::collections::HashMap;

use super::boxes::{IsoBox, boxes};

/// Tiles that an image is made of, at most.
const TILES: usize = 4096;
/// Parts that an item of a file is in, at most.
const PARTS: u64 = 4096;
/// Bytes of the tiles of an image together that may be more than its file has.
const REPEATED: usize = 1 << 26;
/// Turns of an image, at most: each makes a new image of it.
const TURNS: usize = 8;

/// How colours are stored, as the container says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Nclx {
    pub matrix: u16,
    pub full_range: bool,
}

/// A turn or a reflection, to be done in the order of the file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Turn {
    /// By so many quarters against the clock.
    Quarters(u8),
    /// Top to bottom.
    UpsideDown,
    /// Left to right.
    LeftToRight,
}

/// The image of a file.
#[derive(Debug)]
pub(super) struct Image<'a> {
    /// The coded tiles, row by row; one for an image without any.
    pub tiles: Vec<Vec<&'a [u8]>>,
    /// Columns of tiles, and width and height that the tiles are cut to.
    pub grid: Option<(usize, u32, u32)>,
    /// Width and height as the container says.
    pub size: Option<(u32, u32)>,
    pub nclx: Option<Nclx>,
    pub turns: Vec<Turn>,
}

/// Whether these are the first bytes of an AVIF: an image or a sequence of them.
pub(super) fn is_avif(bytes: &[u8]) -> bool {
    let Some(first) =
        boxes(bytes.get(..bytes.len().min(256)).unwrap_or_default()).into_iter().next()
    else {
        return false;
    };
    let brands = first
        .content
        .get(..4)
        .into_iter()
        .chain(first.content.get(8..).unwrap_or_default().chunks_exact(4));
    &first.kind == b"ftyp" && brands.into_iter().any(|brand| brand == b"avif" || brand == b"avis")
}

impl<'a> Image<'a> {
    /// Reads the boxes of a file.
    ///
    /// # Errors
    /// What is missing or contradicts itself.
    pub fn read(bytes: &'a [u8]) -> Result<Self, &'static str> {
        let meta =
            boxes(bytes).into_iter().find(|own| &own.kind == b"meta").ok_or("has no index")?;
        let index = boxes(meta.content.get(4..).ok_or(CUT)?);
        let of = |kind: &[u8; 4]| index.iter().find(|own| own.kind == *kind).map(|own| own.content);
        let items = Items {
            bytes,
            idat: of(b"idat").unwrap_or_default(),
            places: places(of(b"iloc").ok_or("does not say where its image is")?).ok_or(CUT)?,
            properties: Properties::read(of(b"iprp").unwrap_or_default()).ok_or(CUT)?,
        };
        let primary = primary(of(b"pitm").ok_or("has no main image")?).ok_or(CUT)?;
        let kinds = kinds(of(b"iinf").ok_or("has no list of images")?);
        let properties: Vec<&IsoBox<'a>> = items.properties.of(primary).collect();
        let mut tiles = vec![primary];
        let mut grid = None;
        match kinds.get(&primary) {
            Some(b"av01") => {}
            Some(b"grid") => {
                let content = items.content(primary)?.concat();
                let (columns, rows, width, height) = grid_of(&content).ok_or(CUT)?;
                tiles = references(of(b"iref").unwrap_or_default(), *b"dimg", primary);
                if tiles.len() != columns * rows || tiles.len() > TILES {
                    return Err("has not the tiles it names");
                }
                if tiles.iter().any(|tile| kinds.get(tile) != Some(b"av01")) {
                    return Err("is made of tiles of another kind");
                }
                grid = Some((columns, width, height));
            }
            _ => return Err("has a main image of another kind"),
        }
        if properties.iter().filter(|own| turn(own).is_some()).count() > TURNS {
            return Err(TURNED);
        }
        let number = |own: &IsoBox<'_>, at: usize| {
            Some(u32::from_be_bytes(own.content.get(at..at + 4)?.try_into().ok()?))
        };
        let size = properties.iter().find(|own| &own.kind == b"ispe");
        let of_tile = tiles.first().map(|tile| items.properties.of(*tile).collect::<Vec<_>>());
        let colours = properties.iter().chain(of_tile.iter().flatten()).copied();
        Ok(Self {
            tiles: items.contents(&tiles)?,
            grid,
            size: size.and_then(|own| Some((number(own, 4)?, number(own, 8)?))),
            nclx: colours.filter_map(nclx).next(),
            turns: properties.iter().filter_map(|own| turn(own)).collect(),
        })
    }
}

const CUT: &str = "breaks off in its index";
const TURNED: &str = "is turned more often than an image can be";

fn nclx(own: &IsoBox<'_>) -> Option<Nclx> {
    let content =
        (&own.kind == b"colr" && own.content.starts_with(b"nclx")).then_some(own.content)?;
    let matrix = u16::from_be_bytes([*content.get(8)?, *content.get(9)?]);
    Some(Nclx { matrix, full_range: content.get(10)? & 0x80 != 0 })
}

fn turn(own: &IsoBox<'_>) -> Option<Turn> {
    let first = *own.content.first()?;
    match &own.kind {
        b"irot" => Some(Turn::Quarters(first & 3)),
        b"imir" if first & 1 == 0 => Some(Turn::UpsideDown),
        b"imir" => Some(Turn::LeftToRight),
        _ => None,
    }
}

/// Reads numbers one behind the other.
struct Numbers<'a>(&'a [u8]);

impl Numbers<'_> {
    /// A number of 0 to 8 bytes.
    fn next(&mut self, bytes: usize) -> Option<u64> {
        let (number, rest) = self.0.split_at_checked(bytes)?;
        self.0 = rest;
        Some(number.iter().fold(0, |number, byte| number << 8 | u64::from(*byte)))
    }

    fn id(&mut self, long: bool) -> Option<u32> {
        self.next(if long { 4 } else { 2 }).and_then(|id| u32::try_from(id).ok())
    }
}

fn primary(content: &[u8]) -> Option<u32> {
    let mut numbers = Numbers(content);
    let version = numbers.next(4)? >> 24;
    numbers.id(version > 0)
}

/// The kind of each item.
fn kinds(content: &[u8]) -> HashMap<u32, [u8; 4]> {
    let long = content.first().is_some_and(|version| *version > 0);
    let entries = boxes(content.get(if long { 8 } else { 6 }..).unwrap_or_default());
    let one = |entry: &IsoBox<'_>| {
        let mut numbers = Numbers(entry.content);
        let version = numbers.next(4)? >> 24;
        let id = numbers.id(version > 2)?;
        numbers.next(2)?;
        Some((id, numbers.0.get(..4)?.try_into().ok()?))
    };
    entries.iter().filter(|entry| &entry.kind == b"infe").filter_map(one).collect()
}

/// Where an item is: in the file or in the index itself, and its parts with start and length.
struct Place {
    in_index: bool,
    parts: Vec<(u64, u64)>,
}

fn places(content: &[u8]) -> Option<HashMap<u32, Place>> {
    let mut numbers = Numbers(content);
    let version = numbers.next(4)? >> 24;
    let sizes = numbers.next(2)? as usize;
    let [start, length, base, index] = [12, 8, 4, 0].map(|shift| sizes >> shift & 15);
    if [start, length, base, index].iter().any(|size| *size > 8) {
        return None;
    }
    let count = numbers.next(if version < 2 { 2 } else { 4 })?;
    let mut found = HashMap::new();
    for _ in 0..count {
        let id = numbers.id(version > 1)?;
        let method = if version > 0 { numbers.next(2)? & 15 } else { 0 };
        numbers.next(2)?;
        let base = numbers.next(base)?;
        let parts = numbers.next(2)?;
        // Parts that take no bytes here are as many as the file says, and each is all there is.
        if parts > PARTS || parts > 1 && length == 0 {
            return None;
        }
        let mut place = Place { in_index: method == 1, parts: Vec::new() };
        for _ in 0..parts {
            if version > 0 {
                numbers.next(index)?;
            }
            let start = base.checked_add(numbers.next(start)?)?;
            place.parts.push((start, numbers.next(length)?));
        }
        found.insert(id, place);
    }
    Some(found)
}

struct Items<'a> {
    bytes: &'a [u8],
    idat: &'a [u8],
    places: HashMap<u32, Place>,
    properties: Properties<'a>,
}

impl<'a> Items<'a> {
    /// The contents of tiles. Several may have the same, but a small file is not to become a large one.
    fn contents(&self, tiles: &[u32]) -> Result<Vec<Vec<&'a [u8]>>, &'static str> {
        let mut left = self.bytes.len().max(REPEATED);
        let content = |tile: &u32| {
            let parts = self.content(*tile)?;
            let length = parts.iter().map(|part| part.len()).sum();
            left = left.checked_sub(length).ok_or(OVERLAPS)?;
            Ok(parts)
        };
        tiles.iter().map(content).collect()
    }

    fn content(&self, item: u32) -> Result<Vec<&'a [u8]>, &'static str> {
        let place = self.places.get(&item).ok_or("does not say where its image is")?;
        let from = if place.in_index { self.idat } else { self.bytes };
        let part = |(start, length): &(u64, u64)| {
            let start = usize::try_from(*start).ok()?;
            match length {
                0 => from.get(start..),
                length => from.get(start..start.checked_add(usize::try_from(*length).ok()?)?),
            }
        };
        let parts: Vec<&'a [u8]> =
            place.parts.iter().map(part).collect::<Option<_>>().ok_or(TRUNCATED)?;
        match parts.iter().map(|part| part.len()).sum::<usize>() <= from.len() {
            true => Ok(parts),
            false => Err(OVERLAPS),
        }
    }
}

/// Refuses a file that a decoder would make much more of than it is, since parts of an item, or tiles of
/// one image, lie one over the other. Decoders copy them before anything else is looked at. Nothing is
/// said of a file without an index of items.
///
/// # Errors
/// What contradicts itself.
pub(super) fn refuse_overlapping(bytes: &[u8]) -> Result<(), &'static str> {
    let all = boxes(bytes);
    let mut indices = all.iter().filter(|own| &own.kind == b"meta");
    let Some(meta) = indices.next() else { return Ok(()) };
    let index = boxes(meta.content.get(4..).ok_or(CUT)?);
    let mut twice = indices.next().is_some();
    let mut of = |kind: &[u8; 4]| {
        let mut own = index.iter().filter(|own| own.kind == *kind);
        let first = own.next().map(|own| own.content);
        twice |= own.next().is_some();
        first
    };
    let (places_of, idat, references_of) = (of(b"iloc"), of(b"idat"), of(b"iref"));
    let of_properties = of(b"iprp");
    if twice {
        return Err("has two indices");
    }
    let Some(places_of) = places_of else { return Ok(()) };
    let items = Items {
        bytes,
        idat: idat.unwrap_or_default(),
        places: places(places_of).ok_or(CUT)?,
        properties: Properties::read(of_properties.unwrap_or_default()).ok_or(CUT)?,
    };
    let turns = |item: &u32| items.properties.of(*item).filter(|own| turn(own).is_some()).count();
    if items.properties.of_item.keys().any(|item| turns(item) > TURNS) {
        return Err(TURNED);
    }
    // What is not there is said by those who need it.
    let is_there = |item: &u32| !matches!(items.content(*item), Err(TRUNCATED));
    let all: Vec<u32> = items.places.keys().copied().filter(is_there).collect();
    items.contents(&all)?;
    for reference in boxes(references_of.unwrap_or_default().get(4..).unwrap_or_default()) {
        let long = references_of.and_then(<[u8]>::first).is_some_and(|version| *version > 0);
        let tiles = referred(&reference, long).ok_or(CUT)?.1;
        if tiles.len() > TILES {
            return Err("has more tiles than an image is made of");
        }
        let there: Vec<u32> =
            tiles.into_iter().filter(|tile| items.content(*tile).is_ok()).collect();
        items.contents(&there)?;
    }
    Ok(())
}

const OVERLAPS: &str = "has parts that lie one over the other";

/// The file is shorter than it says.
pub(super) const TRUNCATED: &str = "ends before its image does";

struct Properties<'a> {
    all: Vec<IsoBox<'a>>,
    of_item: HashMap<u32, Vec<usize>>,
}

impl<'a> Properties<'a> {
    fn read(content: &'a [u8]) -> Option<Self> {
        let mut all = Vec::new();
        let mut of_item: HashMap<u32, Vec<usize>> = HashMap::new();
        for own in boxes(content) {
            match &own.kind {
                b"ipco" => all = boxes(own.content),
                b"ipma" => {
                    let mut numbers = Numbers(own.content);
                    let head = numbers.next(4)?;
                    let (version, wide) = (head >> 24, head & 1 == 1);
                    for _ in 0..numbers.next(4)? {
                        let places = of_item.entry(numbers.id(version > 0)?).or_default();
                        for _ in 0..numbers.next(1)? {
                            let place = numbers.next(if wide { 2 } else { 1 })?;
                            places.push((place & if wide { 0x7fff } else { 0x7f }) as usize);
                        }
                    }
                }
                _ => {}
            }
        }
        Some(Self { all, of_item })
    }

    /// The properties of an item, in its order.
    fn of(&self, item: u32) -> impl Iterator<Item = &IsoBox<'a>> {
        let places = self.of_item.get(&item).into_iter().flatten();
        places.filter_map(|place| self.all.get(place.checked_sub(1)?))
    }
}

/// Columns, rows, width and height.
fn grid_of(content: &[u8]) -> Option<(usize, usize, u32, u32)> {
    let mut numbers = Numbers(content);
    numbers.next(1)?;
    let bytes = if numbers.next(1)? & 1 == 1 { 4 } else { 2 };
    let (rows, columns) = (numbers.next(1)? as usize + 1, numbers.next(1)? as usize + 1);
    let (width, height) = (numbers.next(bytes)?, numbers.next(bytes)?);
    Some((columns, rows, u32::try_from(width).ok()?, u32::try_from(height).ok()?))
}

/// What an item refers to by references of a kind.
fn references(content: &[u8], kind: [u8; 4], from: u32) -> Vec<u32> {
    let long = content.first().is_some_and(|version| *version > 0);
    let one = |own: &IsoBox<'_>| referred(own, long).filter(|(item, _)| *item == from);
    let all = boxes(content.get(4..).unwrap_or_default());
    let found = all.iter().filter(|own| own.kind == kind).find_map(one);
    found.map_or_else(Vec::new, |(_, items)| items)
}

/// The item that a reference is of, and the items it refers to.
fn referred(reference: &IsoBox<'_>, long: bool) -> Option<(u32, Vec<u32>)> {
    let mut numbers = Numbers(reference.content);
    let from = numbers.id(long)?;
    let count = numbers.next(2)?;
    let items = (0..count).map(|_| numbers.id(long)).collect::<Option<_>>()?;
    Some((from, items))
}
