//! The archives that PyTorch's files are: zip files whose entries lie in them as they are.

use std::collections::BTreeMap;
use std::ops::Range;

/// Entries that an archive may have. A network has one for each tensor.
const MOST_ENTRIES: u64 = 100_000;
/// The longest comment at the end of an archive.
const LONGEST_COMMENT: usize = 65_535;
/// What stands in place of a length or an offset that is written elsewhere.
const ELSEWHERE: u64 = 0xffff_ffff;

/// Where an entry lies in the archive, and the checksum of it; 0 where none was computed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Entry {
    pub place: Range<usize>,
    pub crc: u32,
}

/// Whether the bytes begin as a zip file does.
pub(super) fn is_archive(bytes: &[u8]) -> bool {
    bytes.starts_with(b"PK\x03\x04") || bytes.starts_with(b"PK\x05\x06")
}

/// The entries of an archive by their names. An error is a sentence saying what is wrong with it;
/// compressed entries are, since PyTorch writes none.
pub(super) fn entries(bytes: &[u8]) -> Result<BTreeMap<String, Entry>, String> {
    let end =
        end_of(bytes).ok_or("the end of its zip archive is missing: it is truncated or damaged")?;
    let (count, mut at) =
        directory(bytes, end).ok_or("the directory of its zip archive is damaged")?;
    if count > MOST_ENTRIES {
        return Err(format!("its zip archive has {count} entries, which no network needs"));
    }
    let mut found = BTreeMap::new();
    for _ in 0..count {
        let (name, entry, next) = entry(bytes, at)?;
        at = next;
        if found.insert(name.clone(), entry).is_some() {
            return Err(format!("its zip archive has two entries `{name}`"));
        }
    }
    Ok(found)
}

/// Where the record lies that ends an archive.
fn end_of(bytes: &[u8]) -> Option<usize> {
    let last = bytes.len().checked_sub(22)?;
    let first = last.saturating_sub(LONGEST_COMMENT);
    (first..=last).rev().find(|&at| {
        bytes[at..].starts_with(b"PK\x05\x06")
            && number(bytes, at + 20, 2)
                .is_some_and(|comment| at + 22 + comment as usize == bytes.len())
    })
}

/// The number of entries and where they are listed.
fn directory(bytes: &[u8], end: usize) -> Option<(u64, usize)> {
    if let Some(locator) = end.checked_sub(20).filter(|&at| bytes[at..].starts_with(b"PK\x06\x07"))
    {
        let at = usize::try_from(number(bytes, locator + 8, 8)?).ok()?;
        if !bytes.get(at..)?.starts_with(b"PK\x06\x06") {
            return None;
        }
        return Some((
            number(bytes, at.checked_add(32)?, 8)?,
            usize::try_from(number(bytes, at + 48, 8)?).ok()?,
        ));
    }
    Some((number(bytes, end + 10, 2)?, number(bytes, end + 16, 4)? as usize))
}

/// An entry of the list, and where the next one is.
fn entry(bytes: &[u8], at: usize) -> Result<(String, Entry, usize), String> {
    const DAMAGED: &str = "the directory of its zip archive is damaged";
    let header = bytes
        .get(at..)
        .filter(|rest| rest.starts_with(b"PK\x01\x02") && rest.len() >= 46)
        .ok_or(DAMAGED)?;
    let of = |place, size| number(header, place, size).unwrap_or_default();
    let (name_length, extra_length) = (of(28, 2) as usize, of(30, 2) as usize);
    let extra_at = 46 + name_length;
    let name = header.get(46..extra_at).ok_or(DAMAGED)?;
    let name =
        std::str::from_utf8(name).map_err(|_| "a name in its zip archive is not text")?.to_string();
    let extra = header.get(extra_at..extra_at + extra_length).ok_or(DAMAGED)?;
    let next = at + extra_at + extra_length + of(32, 2) as usize;
    let [length, packed, offset] =
        large([of(24, 4), of(20, 4), of(42, 4)], extra).ok_or(DAMAGED)?;
    if of(8, 2) & 1 != 0 {
        return Err(format!("`{name}` in its zip archive is encrypted"));
    }
    if of(10, 2) != 0 || length != packed {
        return Err(format!(
            "`{name}` in its zip archive is compressed, which PyTorch does not do"
        ));
    }
    // The entry itself begins with a header of its own, whose lengths may be others.
    let outside = || {
        format!("`{name}` in its zip archive does not lie in the file: it is truncated or damaged")
    };
    let local = usize::try_from(offset).ok().and_then(|at| Some((at, bytes.get(at..)?)));
    let (local_at, local) =
        local.filter(|(_, rest)| rest.starts_with(b"PK\x03\x04")).ok_or_else(outside)?;
    let lengths = number(local, 26, 2).zip(number(local, 28, 2)).ok_or_else(outside)?;
    let start = local_at + 30 + lengths.0 as usize + lengths.1 as usize;
    let end = usize::try_from(length)
        .ok()
        .and_then(|length| start.checked_add(length))
        .filter(|&end| end <= bytes.len());
    let end = end.ok_or_else(outside)?;
    Ok((name, Entry { place: start..end, crc: of(16, 4) as u32 }, next))
}

/// Length, packed length and offset, with those that did not fit in four bytes read from the extra
/// field that has them.
fn large(mut numbers: [u64; 3], mut extra: &[u8]) -> Option<[u64; 3]> {
    while numbers.contains(&ELSEWHERE) {
        let (kind, size) = (number(extra, 0, 2)?, number(extra, 2, 2)? as usize);
        let field = extra.get(4..4 + size)?;
        if kind == 1 {
            let mut at = 0;
            for value in numbers.iter_mut().filter(|value| **value == ELSEWHERE) {
                *value = number(field, at, 8)?;
                at += 8;
            }
            return Some(numbers);
        }
        extra = &extra[4 + size..];
    }
    Some(numbers)
}

/// The number that so many bytes are, the lowest first.
fn number(bytes: &[u8], at: usize, size: usize) -> Option<u64> {
    let bytes = bytes.get(at..at.checked_add(size)?)?;
    Some(bytes.iter().rev().fold(0, |value, &byte| value << 8 | u64::from(byte)))
}
