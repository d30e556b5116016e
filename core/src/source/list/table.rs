//! The lines of an image list as fields.

use std::cell::Cell;
use std::io::Read;
use std::path::Path;

use csv::StringRecord;

use super::super::hint;
use super::format::Separator;
use super::json;
use crate::error::DataError;
use crate::files;

/// A list of ten million images has a few hundred MB; anything larger is refused.
const LARGEST: u64 = 1 << 30;
/// Bytes of a record in quotes that goes on over several lines, and what is read ahead of it.
const LONGEST_RECORD: usize = 1 << 20;

/// How the fields of a line stand apart.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Fields {
    /// By a character, as in CSV: fields in quotes may hold it.
    Byte(u8),
    /// By two or more blanks or a tab: fields may hold single blanks.
    WideBlanks,
    /// By blanks: fields in quotes may hold some.
    Blanks,
    /// The last blank stands before the label; whatever is before it is the path.
    LastBlank,
    /// Each line is one field.
    Whole,
}

impl Fields {
    /// The separator this is one form of.
    pub fn separator(self) -> Separator {
        let same = |separator: &Separator| match self {
            Fields::Byte(byte) => separator.byte() == Some(byte),
            _ => separator.byte().is_none(),
        };
        Separator::ALL.into_iter().find(same).unwrap_or(Separator::Blanks)
    }
}

/// Hands over the records of a text with the numbers of their lines, from 1, until it is told that
/// these are enough. Lines without any content are left out.
///
/// # Errors
/// What the reader of CSV says.
pub(super) fn each_record(
    text: &str,
    fields: Fields,
    mut take: impl FnMut(u64, StringRecord) -> bool,
) -> Result<(), csv::Error> {
    let Fields::Byte(byte) = fields else {
        for (number, line) in text.lines().enumerate().filter(|(_, line)| !line.trim().is_empty()) {
            if !take(number as u64 + 1, split_blanks(line.trim(), fields)) {
                break;
            }
        }
        return Ok(());
    };
    let given = Cell::new(0);
    let mut reader = csv::ReaderBuilder::new()
        .delimiter(byte)
        .has_headers(false)
        .flexible(true)
        .trim(csv::Trim::All)
        .from_reader(Rationed { text: text.as_bytes(), given: &given });
    let mut record = StringRecord::new();
    while reader.read_record(&mut record)? {
        given.set(0);
        let line = record.position().map_or(0, csv::Position::line);
        if record.iter().all(str::is_empty) {
            continue;
        }
        let clean: StringRecord = record.iter().map(unquoted).collect();
        if !take(line, clean) {
            break;
        }
    }
    Ok(())
}

/// A text of which the reader of CSV gets only so much for one record: lines are bounded, but quotes go
/// on over the ends of lines.
struct Rationed<'a> {
    text: &'a [u8],
    /// Bytes since the last record.
    given: &'a Cell<usize>,
}

impl Read for Rationed<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> std::io::Result<usize> {
        if self.given.get() > LONGEST_RECORD {
            let reason = format!(
                "more than {LONGEST_RECORD} bytes in one row; is there a quote that is not closed?"
            );
            return Err(std::io::Error::other(reason));
        }
        let read = self.text.read(buffer)?;
        self.given.set(self.given.get() + read);
        Ok(read)
    }
}

/// A field without the quotes around it that the reader of CSV has left: single ones, and those
/// that stood behind a blank.
fn unquoted(field: &str) -> &str {
    let within = |quote: char| field.strip_prefix(quote)?.strip_suffix(quote);
    within('"').or_else(|| within('\'')).map_or(field, str::trim)
}

fn split_blanks(line: &str, fields: Fields) -> StringRecord {
    match fields {
        Fields::WideBlanks => {
            let parts = line.split("  ").flat_map(|part| part.split('\t')).map(str::trim);
            parts.filter(|part| !part.is_empty()).map(unquoted).collect()
        }
        Fields::Blanks => quoted_words(line),
        Fields::LastBlank => match line.rsplit_once(char::is_whitespace) {
            Some((path, label)) => [path.trim_end(), label].into_iter().map(unquoted).collect(),
            None => [unquoted(line)].into_iter().collect(),
        },
        Fields::Whole | Fields::Byte(_) => [unquoted(line)].into_iter().collect(),
    }
}

/// The words of a line; double quotes keep several together.
fn quoted_words(line: &str) -> StringRecord {
    let mut words = StringRecord::new();
    let mut rest = line.trim_start();
    while !rest.is_empty() {
        let (word, after) = match rest.strip_prefix('"').and_then(|inner| inner.split_once('"')) {
            Some(found) => found,
            None => rest.split_at(rest.find(char::is_whitespace).unwrap_or(rest.len())),
        };
        words.push_field(word);
        rest = after.trim_start();
    }
    words
}

/// The text of an image list.
pub(super) struct ListText {
    /// It, without a byte order mark; of JSON the table that it gives.
    pub text: String,
    pub origin: Origin,
}

/// What a list was, before it was a text in UTF-8.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Origin {
    /// That already, or in 16-bit units.
    Unicode,
    /// [`windows_text`].
    Windows,
    /// [`json::table`].
    Json,
}

impl Origin {
    /// What its lines are called when one is told of.
    pub fn line(self) -> &'static str {
        match self {
            Origin::Unicode | Origin::Windows => "line",
            Origin::Json => "record",
        }
    }
}

/// The text of a file that may be an image list. One that is no text is found out by its first bytes.
pub(super) fn read_text(list: &Path) -> Result<ListText, DataError> {
    const START: u64 = 4096;
    let fail = |reason: std::io::Error| DataError::file(list, reason);
    if let Some(reason) = hint::of_name(list) {
        return Err(DataError::source(list, reason));
    }
    let mut file = files::open(list, LARGEST).map_err(fail)?;
    let mut bytes = Vec::new();
    file.by_ref().take(START).read_to_end(&mut bytes).map_err(fail)?;
    let wide = Utf16::of(&bytes);
    if wide.is_some() || !bytes.contains(&0) {
        file.take(LARGEST + 1 - START).read_to_end(&mut bytes).map_err(fail)?;
    }
    if bytes.len() as u64 > LARGEST {
        return Err(DataError::file(
            list,
            "has more than 1 GiB, which is too much for an image list",
        ));
    }
    let no_text = |bytes: &[u8]| {
        let unknown = "is not an image folder, CIFAR archive or image list; an image list is UTF-8 text, \
                       which spreadsheets save as `CSV UTF-8`";
        DataError::source(list, hint::of_content(bytes).unwrap_or(unknown))
    };
    if let Some(wide) = wide {
        let text = wide.decode(&bytes[2..]).ok_or_else(|| no_text(&bytes))?;
        return of_text(list, text, Origin::Unicode);
    }
    if bytes.contains(&0) {
        return Err(no_text(&bytes));
    }
    match String::from_utf8(bytes) {
        Ok(text) => match text.strip_prefix('\u{feff}') {
            Some(rest) => of_text(list, rest.to_string(), Origin::Unicode),
            None => of_text(list, text, Origin::Unicode),
        },
        Err(error) => {
            let bytes = error.as_bytes();
            let text = hint::of_content(bytes).is_none().then(|| windows_text(bytes)).flatten();
            of_text(list, text.ok_or_else(|| no_text(bytes))?, Origin::Windows)
        }
    }
}

/// A text as a list: what is JSON becomes a table, and lines have bounds.
fn of_text(list: &Path, mut text: String, mut origin: Origin) -> Result<ListText, DataError> {
    if json::begins_as_json(&text) {
        match json::table(&text, LARGEST as usize) {
            Ok(table) => (text, origin) = (table, Origin::Json),
            // Of another name it may be a text that begins with a bracket.
            Err(reason) if is_named_json(list) => return Err(DataError::source(list, reason)),
            Err(_) => {}
        }
    }
    if let Some((number, length)) = files::too_long_line(&text) {
        let (most, line) = (files::LONGEST_LINE, origin.line());
        let reason =
            format!("{line} {number} has {length} bytes, and {most} are the most it may have");
        return Err(DataError::file(list, reason));
    }
    Ok(ListText { text, origin })
}

fn is_named_json(list: &Path) -> bool {
    let ending = list.extension().map(|ending| ending.to_string_lossy().to_lowercase());
    ending.is_some_and(|ending| ["json", "jsonl", "ndjson"].contains(&ending.as_str()))
}

/// Text as spreadsheets save it on Windows in western languages (code page 1252), unless it holds what
/// no such text does, or hardly any letters.
fn windows_text(bytes: &[u8]) -> Option<String> {
    /// What the page has from 0x80 to 0x9f, where Unicode has control characters; zeros are not in use.
    const ABOVE: [u16; 32] = [
        0x20ac, 0, 0x201a, 0x0192, 0x201e, 0x2026, 0x2020, 0x2021, 0x02c6, 0x2030, 0x0160, 0x2039,
        0x0152, 0, 0x017d, 0, 0, 0x2018, 0x2019, 0x201c, 0x201d, 0x2022, 0x2013, 0x2014, 0x02dc,
        0x2122, 0x0161, 0x203a, 0x0153, 0, 0x017e, 0x0178,
    ];
    let plain = bytes.iter().filter(|byte| byte.is_ascii()).count();
    if 2 * plain < bytes.len() {
        return None;
    }
    let letter = |&byte: &u8| match byte {
        b'\t' | b'\r' | b'\n' => Some(char::from(byte)),
        0..0x20 | 0x7f => None,
        0x80..0xa0 => {
            let letter = ABOVE[usize::from(byte - 0x80)];
            char::from_u32(letter.into()).filter(|_| letter != 0)
        }
        // The rest is where Unicode has it.
        byte => Some(char::from(byte)),
    };
    bytes.iter().map(letter).collect()
}

/// Text in 16-bit units, as spreadsheets save `Unicode text`.
#[derive(Clone, Copy)]
enum Utf16 {
    Little,
    Big,
}

impl Utf16 {
    fn of(bytes: &[u8]) -> Option<Self> {
        match bytes {
            [0xff, 0xfe, ..] => Some(Self::Little),
            [0xfe, 0xff, ..] => Some(Self::Big),
            _ => None,
        }
    }

    /// The text, unless it holds what no text does.
    fn decode(self, bytes: &[u8]) -> Option<String> {
        let units: Vec<u16> = bytes
            .chunks_exact(2)
            .map(|pair| match self {
                Self::Little => u16::from_le_bytes([pair[0], pair[1]]),
                Self::Big => u16::from_be_bytes([pair[0], pair[1]]),
            })
            .collect();
        let text = String::from_utf16(&units).ok()?;
        (bytes.len().is_multiple_of(2) && !text.contains('\0')).then_some(text)
    }
}
