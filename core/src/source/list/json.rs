//! Image lists in JSON, as a table in CSV that is read like any other.
//!
//! | text | gives the columns |
//! | --- | --- |
//! | COCO: `images`, `annotations` and `categories`, as iNaturalist and camera traps have it | those of the images, and the name of each one's category |
//! | records: `[{…}, …]`, one a line, or all under one name | theirs |
//! | records by split: `{"train": [{…}, …], "test": […]}` | theirs, and the split |
//! | `{"1.jpg": {…}, …}` | the path, and theirs |
//! | `{"1.jpg": "owl", …}` | path and label |
//! | `{"owl": ["1.jpg", …], …}`, `{"train": ["owl/1.jpg", …], …}` | path and label; path and split |
//!
//! Only text, numbers and truth values are fields, also those in objects (`data.image`) and an array's
//! only one.

use std::collections::{BTreeSet, HashMap, HashSet};
use std::fmt;

use serde::de::{DeserializeSeed, Deserializer, Error, IgnoredAny, MapAccess, SeqAccess, Visitor};

use crate::source::Split;

/// Objects and arrays within each other whose fields are taken.
const DEPTH: u32 = 8;
/// Columns of the table, at most.
const MOST_COLUMNS: usize = 256;

/// Names of COCO's columns.
const COCO: [&str; 2] = ["file_name", "category_name"];

/// Whether a text begins as JSON that holds more than one value does.
pub(super) fn begins_as_json(text: &str) -> bool {
    text.trim_start().starts_with(['{', '['])
}

/// A text in JSON as a table with a header, of at most `most` bytes.
///
/// # Errors
/// Why it cannot be read, or no images are found in it.
pub(super) fn table(text: &str, most: usize) -> Result<String, String> {
    let mut survey = Survey::default();
    each_part(text, &mut survey)?;
    let mut table = Table { csv: csv::Writer::from_writer(Vec::new()), most };
    if survey.is_coco() {
        if survey.records.contains_key(LINES) {
            return Err(
                "its `images` and `annotations` are followed by more; is it two files in one?"
                    .into(),
            );
        }
        coco(text, survey, &mut table)?;
    } else {
        let shape = survey.shape().ok_or(
            "no images are found in this JSON: it has neither records of them, nor COCO's `images` and `annotations`, nor paths with labels",
        )?;
        plain(text, &shape, &mut table)?;
    }
    let bytes = table.csv.into_inner().map_err(|reason| reason.to_string())?;
    String::from_utf8(bytes).map_err(|reason| reason.to_string())
}

/// Takes what a text is made of, as it is met.
trait Parts {
    /// Whether records under a name are looked at.
    fn wants(&self, _under: &str) -> bool {
        true
    }

    /// A record, and the name it stands under, if any.
    fn record(&mut self, under: &str, record: Record) -> Result<(), String>;

    /// Fields under a name that is a record's own.
    fn named(&mut self, _name: &str, _record: Record) -> Result<(), String> {
        Ok(())
    }

    /// A single value under a name.
    fn pair(&mut self, _name: &str, _value: String) -> Result<(), String> {
        Ok(())
    }

    /// One of several values under a name.
    fn member(&mut self, _name: &str, _value: String) -> Result<(), String> {
        Ok(())
    }
}

/// Hands over the parts of one value, or of one value a line.
fn each_part(text: &str, parts: &mut dyn Parts) -> Result<(), String> {
    let say = |reason: serde_json::Error| format!("this JSON cannot be read: {reason}");
    let mut reader = serde_json::Deserializer::from_str(text);
    Whole(&mut *parts).deserialize(&mut reader).map_err(say)?;
    if reader.end().is_ok() {
        return Ok(());
    }
    // More than one value: each is a record, and the first was none of anything else.
    for record in serde_json::Deserializer::from_str(text).into_iter::<Record>() {
        parts.record(LINES, record.map_err(say)?)?;
    }
    Ok(())
}

/// What records are under that stand one a line, which no key is called.
const LINES: &str = "\n";

/// The whole value.
struct Whole<'a>(&'a mut dyn Parts);

impl<'de> DeserializeSeed<'de> for Whole<'_> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Whole<'_> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object or an array")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<(), A::Error> {
        while let Some(name) = map.next_key::<String>()? {
            map.next_value_seed(Under { name: &name, parts: &mut *self.0, is_member: false })?;
        }
        Ok(())
    }

    fn visit_seq<A: SeqAccess<'de>>(self, seq: A) -> Result<(), A::Error> {
        all_under("", self.0, seq)
    }
}

/// Hands over what stands in an array under a name.
fn all_under<'de, A: SeqAccess<'de>>(
    name: &str,
    parts: &mut dyn Parts,
    mut seq: A,
) -> Result<(), A::Error> {
    while seq.next_element_seed(Under { name, parts: &mut *parts, is_member: true })?.is_some() {}
    Ok(())
}

/// What stands under a name, or in an array under it.
struct Under<'a> {
    name: &'a str,
    parts: &'a mut dyn Parts,
    is_member: bool,
}

impl Under<'_> {
    fn take<E: Error>(self, value: String) -> Result<(), E> {
        match self.is_member {
            true => self.parts.member(self.name, value),
            false => self.parts.pair(self.name, value),
        }
        .map_err(E::custom)
    }
}

impl<'de> DeserializeSeed<'de> for Under<'_> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Under<'_> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a value")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<(), A::Error> {
        if self.is_member && !self.parts.wants(self.name) {
            while map.next_entry::<IgnoredAny, IgnoredAny>()?.is_some() {}
            return Ok(());
        }
        let record = Record::of_map(map)?;
        match self.is_member {
            true => self.parts.record(self.name, record),
            false => self.parts.named(self.name, record),
        }
        .map_err(A::Error::custom)
    }

    fn visit_seq<A: SeqAccess<'de>>(self, seq: A) -> Result<(), A::Error> {
        if self.is_member {
            let record = Record::of_seq(seq)?;
            return self.parts.record(self.name, record).map_err(A::Error::custom);
        }
        all_under(self.name, self.parts, seq)
    }

    fn visit_str<E: Error>(self, value: &str) -> Result<(), E> {
        self.take(value.to_string())
    }

    fn visit_i64<E: Error>(self, value: i64) -> Result<(), E> {
        self.take(value.to_string())
    }

    fn visit_u64<E: Error>(self, value: u64) -> Result<(), E> {
        self.take(value.to_string())
    }

    fn visit_f64<E: Error>(self, value: f64) -> Result<(), E> {
        self.take(value.to_string())
    }

    fn visit_bool<E: Error>(self, value: bool) -> Result<(), E> {
        self.take(value.to_string())
    }

    fn visit_unit<E: Error>(self) -> Result<(), E> {
        Ok(())
    }
}

/// The fields of a record with their names; those of an array are numbered.
#[derive(Default)]
struct Record(Vec<(String, String)>);

impl Record {
    fn field(&self, name: &str) -> Option<&str> {
        self.0.iter().find(|(own, _)| own == name).map(|(_, value)| value.as_str())
    }

    fn add(&mut self, name: String, value: Field) {
        match value {
            Field::Nothing => {}
            Field::One(value) => self.0.push((name, value)),
            Field::Several(fields) => {
                let deeper = |(inner, value)| (format!("{name}.{inner}"), value);
                self.0.extend(fields.into_iter().map(deeper));
            }
        }
    }

    fn of_map<'de, A: MapAccess<'de>>(mut map: A) -> Result<Self, A::Error> {
        let mut record = Self::default();
        while let Some(name) = map.next_key::<String>()? {
            let value = map.next_value_seed(Depth(DEPTH))?;
            record.add(name, value);
        }
        Ok(record)
    }

    fn of_seq<'de, A: SeqAccess<'de>>(mut seq: A) -> Result<Self, A::Error> {
        let mut record = Self::default();
        for number in 1.. {
            let Some(value) = seq.next_element_seed(Depth(DEPTH))? else { break };
            record.add(format!("column {number}"), value);
        }
        Ok(record)
    }
}

impl<'de> serde::Deserialize<'de> for Record {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Fields;
        impl<'de> Visitor<'de> for Fields {
            type Value = Record;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an object or an array")
            }

            fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<Record, A::Error> {
                Record::of_map(map)
            }

            fn visit_seq<A: SeqAccess<'de>>(self, seq: A) -> Result<Record, A::Error> {
                Record::of_seq(seq)
            }
        }
        deserializer.deserialize_any(Fields)
    }
}

/// What a field of a record holds.
enum Field {
    Nothing,
    One(String),
    /// The fields of an object.
    Several(Vec<(String, String)>),
}

/// Reads a field: objects down to this depth, and of an array its only value.
#[derive(Clone, Copy)]
struct Depth(u32);

impl<'de> DeserializeSeed<'de> for Depth {
    type Value = Field;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Field, D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Depth {
    type Value = Field;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a value")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Field, A::Error> {
        let mut fields = Vec::new();
        while let Some(name) = map.next_key::<String>()? {
            let Some(depth) = self.0.checked_sub(1) else {
                map.next_value::<IgnoredAny>()?;
                continue;
            };
            match map.next_value_seed(Depth(depth))? {
                Field::Nothing => {}
                Field::One(value) => fields.push((name, value)),
                Field::Several(inner) => fields.extend(
                    inner.into_iter().map(|(deeper, value)| (format!("{name}.{deeper}"), value)),
                ),
            }
        }
        Ok(if fields.is_empty() { Field::Nothing } else { Field::Several(fields) })
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Field, A::Error> {
        let Some(depth) = self.0.checked_sub(1) else {
            while seq.next_element::<IgnoredAny>()?.is_some() {}
            return Ok(Field::Nothing);
        };
        let Some(first) = seq.next_element_seed(Depth(depth))? else { return Ok(Field::Nothing) };
        let is_only = seq.next_element::<IgnoredAny>()?.is_none();
        if !is_only {
            while seq.next_element::<IgnoredAny>()?.is_some() {}
        }
        Ok(if is_only { first } else { Field::Nothing })
    }

    fn visit_str<E: Error>(self, value: &str) -> Result<Field, E> {
        Ok(Field::One(value.to_string()))
    }

    fn visit_i64<E: Error>(self, value: i64) -> Result<Field, E> {
        Ok(Field::One(value.to_string()))
    }

    fn visit_u64<E: Error>(self, value: u64) -> Result<Field, E> {
        Ok(Field::One(value.to_string()))
    }

    fn visit_f64<E: Error>(self, value: f64) -> Result<Field, E> {
        Ok(Field::One(value.to_string()))
    }

    fn visit_bool<E: Error>(self, value: bool) -> Result<Field, E> {
        Ok(Field::One(value.to_string()))
    }

    fn visit_unit<E: Error>(self) -> Result<Field, E> {
        Ok(Field::Nothing)
    }
}

/// Columns in the order in which they are met.
#[derive(Default)]
struct ColumnNames {
    names: Vec<String>,
    place: HashMap<String, usize>,
}

impl ColumnNames {
    fn meet(&mut self, record: &Record) -> Result<(), String> {
        for (name, _) in &record.0 {
            if !self.place.contains_key(name) {
                if self.names.len() == MOST_COLUMNS {
                    return Err(format!("its records have more than {MOST_COLUMNS} fields"));
                }
                self.place.insert(name.clone(), self.names.len());
                self.names.push(name.clone());
            }
        }
        Ok(())
    }
}

/// What a text is made of.
#[derive(Default)]
struct Survey {
    /// The columns of the records under each name.
    records: HashMap<String, ColumnNames>,
    /// The columns of what has names of its own, and how many these are.
    named: ColumnNames,
    names: usize,
    pairs: usize,
    /// Under which names single values stand, up to the number of columns.
    members: BTreeSet<String>,
    has_members: bool,
    /// COCO's categories, and where the image of each number stands.
    categories: HashMap<String, String>,
    images: HashMap<Box<str>, u32>,
}

impl Parts for Survey {
    fn record(&mut self, under: &str, record: Record) -> Result<(), String> {
        if !self.records.contains_key(under) {
            if self.records.len() == MOST_COLUMNS {
                return Err(format!("it has records under more than {MOST_COLUMNS} names"));
            }
            self.records.insert(under.to_string(), ColumnNames::default());
        }
        if let Some(columns) = self.records.get_mut(under) {
            columns.meet(&record)?;
        }
        match (under, record.field("id")) {
            ("images", Some(id)) => {
                let place =
                    u32::try_from(self.images.len()).map_err(|reason| reason.to_string())?;
                if self.images.insert(id.into(), place).is_some() {
                    return Err(format!("it has two images of the number {id}"));
                }
            }
            ("images", None) if record.field("file_name").is_some() => {
                return Err("one of its images has no `id`".into());
            }
            ("categories", Some(id)) => {
                let name = record.field("name").filter(|name| !name.trim().is_empty());
                self.categories.insert(id.into(), name.unwrap_or(id).to_string());
            }
            _ => {}
        }
        Ok(())
    }

    fn named(&mut self, _: &str, record: Record) -> Result<(), String> {
        self.names += 1;
        self.named.meet(&record)
    }

    fn pair(&mut self, _: &str, _: String) -> Result<(), String> {
        self.pairs += 1;
        Ok(())
    }

    fn member(&mut self, name: &str, _: String) -> Result<(), String> {
        self.has_members = true;
        // Classes may be any number; whether all are splits shows by the first few.
        if self.members.len() < MOST_COLUMNS && !self.members.contains(name) {
            self.members.insert(name.to_string());
        }
        Ok(())
    }
}

/// Which parts of a text are rows of the table, and their columns.
enum Shape {
    /// Records under a name.
    Records(String, Vec<String>),
    /// Records under names of splits.
    BySplit(Vec<String>),
    /// What has names of its own, which are paths.
    Named(Vec<String>),
    /// Paths with labels.
    Pairs,
    /// Classes, or splits, with paths.
    Members { are_splits: bool },
}

fn is_split(name: &str) -> bool {
    name.parse::<Split>().is_ok()
}

impl Survey {
    fn is_coco(&self) -> bool {
        ["images", "annotations"].iter().all(|name| self.records.contains_key(*name))
    }

    fn shape(&mut self) -> Option<Shape> {
        let mut records = std::mem::take(&mut self.records);
        if let Some(lines) = records.remove(LINES) {
            let names = Some(lines.names).filter(|names| !names.is_empty())?;
            return Some(Shape::Records(LINES.into(), names));
        }
        if !records.is_empty() && records.keys().all(|name| is_split(name)) {
            let mut all: Vec<String> = Vec::new();
            let mut by_name: Vec<_> = records.into_iter().collect();
            by_name.sort_by(|(one, _), (other, _)| one.cmp(other));
            for name in by_name.into_iter().flat_map(|(_, columns)| columns.names) {
                if !all.contains(&name) {
                    all.push(name);
                }
            }
            return Some(Shape::BySplit(all));
        }
        if records.len() == 1 {
            return records.into_iter().next().map(|(name, own)| Shape::Records(name, own.names));
        }
        if self.has_members && records.is_empty() {
            // An array of nothing but paths has no labels; they may be the folders'.
            let are_splits = self.members.iter().all(|name| name.is_empty() || is_split(name));
            return Some(Shape::Members { are_splits });
        }
        if !records.is_empty() || self.names + self.pairs == 0 {
            return None;
        }
        Some(match self.names >= self.pairs {
            true => Shape::Named(std::mem::take(&mut self.named.names)),
            false => Shape::Pairs,
        })
    }
}

/// The table as it is written.
struct Table {
    csv: csv::Writer<Vec<u8>>,
    most: usize,
}

impl Table {
    fn row<'a>(&mut self, fields: impl IntoIterator<Item = &'a str>) -> Result<(), String> {
        self.csv.write_record(fields).map_err(|reason| reason.to_string())?;
        match self.csv.get_ref().len() > self.most {
            true => Err(format!("as a table it has more than {} MiB", self.most >> 20)),
            false => Ok(()),
        }
    }

    /// A row of a record, after fields of other columns.
    fn record(
        &mut self,
        first: &[&str],
        record: &Record,
        columns: &[String],
    ) -> Result<(), String> {
        let fields: HashMap<&str, &str> =
            record.0.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect();
        let field = |name: &String| fields.get(name.as_str()).copied().unwrap_or_default();
        self.row(first.iter().copied().chain(columns.iter().map(field)))
    }
}

fn header<'a>(first: &'a [&'a str], columns: &'a [String]) -> impl Iterator<Item = &'a str> {
    first.iter().copied().chain(columns.iter().map(String::as_str))
}

/// Writes what is not COCO.
fn plain(text: &str, shape: &Shape, table: &mut Table) -> Result<(), String> {
    struct Rows<'a> {
        shape: &'a Shape,
        table: &'a mut Table,
    }
    impl Parts for Rows<'_> {
        fn record(&mut self, under: &str, record: Record) -> Result<(), String> {
            match self.shape {
                Shape::Records(name, columns) if name == under => {
                    self.table.record(&[], &record, columns)
                }
                Shape::BySplit(columns) => self.table.record(&[under], &record, columns),
                _ => Ok(()),
            }
        }

        fn named(&mut self, name: &str, record: Record) -> Result<(), String> {
            match self.shape {
                Shape::Named(columns) => self.table.record(&[name], &record, columns),
                _ => Ok(()),
            }
        }

        fn pair(&mut self, name: &str, value: String) -> Result<(), String> {
            match self.shape {
                Shape::Pairs => self.table.row([name, &value]),
                _ => Ok(()),
            }
        }

        fn member(&mut self, name: &str, value: String) -> Result<(), String> {
            match self.shape {
                Shape::Members { .. } => self.table.row([&value, name]),
                _ => Ok(()),
            }
        }
    }
    match shape {
        // The arrays of a record without names have no header; their own rule tells what they hold.
        Shape::Records(_, columns) => table.row(header(&[], columns))?,
        Shape::BySplit(columns) => table.row(header(&["split"], columns))?,
        Shape::Named(columns) => table.row(header(&["path"], columns))?,
        Shape::Pairs | Shape::Members { are_splits: false } => table.row(["path", "label"])?,
        Shape::Members { are_splits: true } => table.row(["path", "split"])?,
    }
    each_part(text, &mut Rows { shape, table })
}

/// Writes COCO: a row for each image and each category that it shows.
fn coco(text: &str, mut survey: Survey, table: &mut Table) -> Result<(), String> {
    /// The category of each image, and others of those that have several.
    #[derive(Default)]
    struct Shown {
        images: HashMap<Box<str>, u32>,
        numbers: HashMap<String, u32>,
        first: Vec<Option<u32>>,
        further: HashSet<(u32, u32)>,
    }
    impl Parts for Shown {
        fn wants(&self, under: &str) -> bool {
            under == "annotations"
        }

        fn record(&mut self, _: &str, record: Record) -> Result<(), String> {
            // Captions are of no category.
            let (Some(image), Some(category)) =
                (record.field("image_id"), record.field("category_id"))
            else {
                return Ok(());
            };
            // A part of a set often comes with the annotations of all of it.
            let Some(&place) = self.images.get(image) else { return Ok(()) };
            let Some(&number) = self.numbers.get(category) else {
                return Err(format!("an annotation is of category {category}, which is not there"));
            };
            match &mut self.first[place as usize] {
                Some(first) if *first != number => drop(self.further.insert((place, number))),
                first => *first = Some(number),
            }
            Ok(())
        }
    }
    struct Rows<'a> {
        table: &'a mut Table,
        columns: &'a [String],
        /// The names of the categories of each image, in their order.
        categories: Vec<Vec<&'a str>>,
        place: usize,
    }
    impl Parts for Rows<'_> {
        fn wants(&self, under: &str) -> bool {
            under == "images"
        }

        fn record(&mut self, _: &str, record: Record) -> Result<(), String> {
            let path = record.field("file_name").ok_or("one of its images has no `file_name`")?;
            let categories = self.categories.get(self.place).map_or(&[][..], Vec::as_slice);
            self.place += 1;
            if categories.is_empty() {
                return self.table.record(&[path, ""], &record, self.columns);
            }
            for category in categories {
                self.table.record(&[path, category], &record, self.columns)?;
            }
            Ok(())
        }
    }

    // Two categories of one name are told apart by their numbers.
    let mut times: HashMap<&str, u32> = HashMap::new();
    survey.categories.values().for_each(|name| *times.entry(name).or_default() += 1);
    let mut names: Vec<(&String, String)> = survey
        .categories
        .iter()
        .map(|(id, name)| match times[name.as_str()] {
            1 => (id, name.clone()),
            _ => (id, format!("{name} ({id})")),
        })
        .collect();
    names.sort();
    let numbers = (0u32..).zip(&names).map(|(number, (id, _))| ((*id).clone(), number)).collect();
    let images = std::mem::take(&mut survey.images);
    let mut shown = Shown { first: vec![None; images.len()], images, numbers, ..Shown::default() };
    each_part(text, &mut shown)?;
    if shown.first.iter().all(Option::is_none) {
        return Err("none of its annotations names an image and a category".into());
    }
    let name = |number: u32| names[number as usize].1.as_str();
    let mut categories: Vec<Vec<&str>> =
        shown.first.iter().map(|first| first.map(name).into_iter().collect()).collect();
    let mut further: Vec<(u32, u32)> = shown.further.into_iter().collect();
    further.sort_unstable();
    for (place, number) in further {
        categories[place as usize].push(name(number));
    }
    let is_other = |name: &&String| !COCO.contains(&name.as_str());
    let own = survey.records.remove("images").unwrap_or_default().names;
    let columns: Vec<String> = own.iter().filter(is_other).cloned().collect();
    table.row(header(&COCO, &columns))?;
    each_part(text, &mut Rows { table, columns: &columns, categories, place: 0 })
}
