//! Which column of an image list holds what: as a person says, or by the rule below.
//!
//! 1. The separator is the first of tab, semicolon, comma and bar by which the first lines have the
//!    same number of fields, two at least, and can be understood; otherwise blanks.
//! 2. The first line names the columns if none of its fields is an image's file name, and one of them
//!    is a usual name of a column, or is unlike those below it.
//! 3. Paths are in the column with the usual name that holds image file names, or else in one that
//!    holds image file names, or else in one with a usual name.
//! 4. Splits and groups are in the columns with the usual names; without a header, splits are where
//!    nothing but names of splits stands.
//! 5. Labels are in the column with the usual name; or in the columns of zeros and ones of which each
//!    line has a single one; or in the only column that is left, or the only one of these in which
//!    the same words or numbers come again and again; or, where none is left, the class folder in
//!    the path is the label.

use std::collections::{HashMap, HashSet};

use csv::StringRecord;

use super::format::{FOLDER, ListFormat, NONE, Separator};
use super::table::{Fields, each_record};
use super::usual_names::{
    GROUP_COLUMNS, LABEL_COLUMNS, PATH_COLUMNS, SPLIT_COLUMNS, ends_as_label, knows, normalised,
};
use crate::source::Split;
use crate::source::folder::has_image_extension;

/// Records that are looked at before the columns are told apart.
const HEAD: usize = 500;
/// Lines from which on a column of labels says something again.
const MANY: usize = 20;
/// Columns of a list, at most.
const MOST_COLUMNS: usize = 10_000;

/// Where the label of a line is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Label {
    /// In a column.
    Column(usize),
    /// Each of these columns is a class, and the one that holds a 1 is the label.
    OneHot(Vec<usize>),
    /// It is the class folder in the path.
    Folder,
}

/// Which column is what.
#[derive(Clone, Debug)]
pub(super) struct Columns {
    pub path: usize,
    pub label: Label,
    pub split: Option<usize>,
    pub group: Option<usize>,
}

/// The beginning of a list, and what is known of its columns.
pub(super) struct Head {
    pub fields: Fields,
    pub header: bool,
    /// The columns' names, or `column 1` and so on.
    pub names: Vec<String>,
    /// Which of them no other column is called, either.
    is_unique: Vec<bool>,
    /// The first records, without the header.
    pub rows: Vec<StringRecord>,
    /// Which column is what, or why that cannot be told.
    pub columns: Result<Columns, String>,
}

impl Head {
    /// Looks at the beginning of a list.
    pub fn of(text: &str, format: &ListFormat) -> Self {
        let mut first: Option<Self> = None;
        for fields in candidates(text, format) {
            let head = Self::with(text, fields, format);
            if head.columns.is_ok() {
                return head;
            }
            first.get_or_insert(head);
        }
        first.unwrap_or_else(|| Self::with(text, Fields::Whole, format))
    }

    fn with(text: &str, fields: Fields, format: &ListFormat) -> Self {
        let mut rows = head_records(text, fields);
        let header = format.header.unwrap_or_else(|| is_header(&rows, format));
        let width = rows.iter().map(StringRecord::len).max().unwrap_or(0);
        let mut names: Vec<String> = (1..=width).map(|number| format!("column {number}")).collect();
        if header && !rows.is_empty() {
            for (name, own) in names.iter_mut().zip(&rows.remove(0)) {
                if !own.is_empty() {
                    *name = own.to_string();
                }
            }
        }
        let known: Vec<String> = names.iter().map(|name| normalised(name)).collect();
        let mut times: HashMap<&str, usize> = HashMap::new();
        known.iter().for_each(|name| *times.entry(name).or_default() += 1);
        let is_unique = known.iter().map(|name| times[name.as_str()] == 1).collect();
        let columns = match names.len() {
            0..=MOST_COLUMNS => Finder::new(&names, &known, &rows, header, fields).columns(format),
            many => Err(format!("it has {many} columns, and {MOST_COLUMNS} are the most")),
        };
        Self { fields, header, names, is_unique, rows, columns }
    }

    /// How a column is named in a [`ListFormat`]: by its name, or by its number where that is none of
    /// its own.
    pub fn key(&self, column: usize) -> String {
        let name = &self.names[column];
        let reserved = name.contains(',') || name == FOLDER || name == NONE;
        match self.header && !reserved && self.is_unique[column] {
            true => name.clone(),
            false => (column + 1).to_string(),
        }
    }

    /// Other columns that labels may be in, by their names.
    pub fn other_labels(&self, columns: &Columns) -> Vec<String> {
        let others = (0..self.names.len()).filter(|column| {
            let is_taken = *column == columns.path
                || Some(*column) == columns.split
                || Some(*column) == columns.group
                || holds(&columns.label, *column);
            let name = normalised(&self.names[*column]);
            let is_called_so = LABEL_COLUMNS.contains(&name.as_str()) || ends_as_label(&name);
            self.header && !is_taken && is_called_so
        });
        others.map(|column| self.names[column].clone()).collect()
    }

    /// What has been found out, as a person would have said it.
    pub fn format(&self, columns: &Columns, given: &ListFormat) -> ListFormat {
        let name = |column: usize| self.key(column);
        let optional = |column: Option<usize>| Some(column.map_or_else(|| NONE.to_string(), name));
        ListFormat {
            separator: Some(self.fields.separator()),
            header: Some(self.header),
            path: Some(name(columns.path)),
            label: Some(match &columns.label {
                Label::Column(column) => name(*column),
                Label::OneHot(columns) => {
                    columns.iter().map(|column| name(*column)).collect::<Vec<_>>().join(",")
                }
                Label::Folder => FOLDER.to_string(),
            }),
            split: optional(columns.split),
            group: optional(columns.group),
            class_names: given.class_names.clone(),
        }
    }
}

fn head_records(text: &str, fields: Fields) -> Vec<StringRecord> {
    let mut rows = Vec::new();
    let read = each_record(text, fields, |_, record| {
        rows.push(record);
        rows.len() < HEAD
    });
    // A list that breaks off in the middle says so when it is read as a whole.
    drop(read);
    rows
}

/// The ways to split lines that come into question, the likeliest first.
fn candidates(text: &str, format: &ListFormat) -> Vec<Fields> {
    let separators: Vec<Separator> = match format.separator {
        Some(separator) => vec![separator],
        None => Separator::ALL.to_vec(),
    };
    let mut found = Vec::new();
    for separator in separators {
        match separator.byte() {
            Some(byte) => {
                let fields = Fields::Byte(byte);
                if format.separator.is_some() || is_regular(&head_records(text, fields)) {
                    found.push(fields);
                }
            }
            None => found.extend(blanks(text)),
        }
    }
    found
}

fn blanks(text: &str) -> Vec<Fields> {
    let mut found = Vec::new();
    let lines = head_records(text, Fields::Whole);
    // A single column may have a name, too.
    let named = lines.first().is_some_and(|line| line.get(0).is_some_and(knows));
    let paths = &lines[usize::from(named && lines.len() > 1)..];
    let whole = paths.iter().filter_map(|line| line.get(0)).all(|line| {
        let blank = line.find(char::is_whitespace).unwrap_or(line.len());
        looks_like_image(line) && (blank == line.len() || line[..blank].contains(['/', '\\']))
    });
    if whole {
        found.push(Fields::Whole);
    }
    if is_regular(&head_records(text, Fields::WideBlanks)) {
        found.push(Fields::WideBlanks);
    }
    let words = head_records(text, Fields::Blanks);
    // More than two words a line may be a path with blanks in it.
    let apart = words.first().is_some_and(|first| {
        first.len() == 2 || first.get(0).is_some_and(|word| looks_like_image(word) || knows(word))
    });
    if is_regular(&words) && apart {
        found.push(Fields::Blanks);
    }
    found.push(Fields::LastBlank);
    found
}

/// Whether nearly all records have as many fields as the first, and more than one.
fn is_regular(records: &[StringRecord]) -> bool {
    let Some(width) = records.first().map(StringRecord::len).filter(|width| *width > 1) else {
        return false;
    };
    let same = records.iter().filter(|record| record.len() == width).count();
    same * 10 >= records.len() * 9
}

/// Whether a field is the file name of an image: it has the extension of one, or lies in a folder
/// and has some short extension.
fn looks_like_image(text: &str) -> bool {
    let text = text.trim();
    let name = text.rsplit(['/', '\\']).next().unwrap_or(text);
    let path = std::path::Path::new(name);
    has_image_extension(path)
        || name.len() < text.len()
            && path.extension().is_some_and(|extension| {
                let extension = extension.to_string_lossy();
                extension.len() <= 5
                    && extension.chars().any(char::is_alphabetic)
                    && extension.chars().all(char::is_alphanumeric)
            })
}

fn is_header(rows: &[StringRecord], format: &ListFormat) -> bool {
    let Some((first, rest)) = rows.split_first() else { return false };
    if first.iter().any(looks_like_image) {
        return false;
    }
    let asked = [&format.path, &format.label, &format.split, &format.group];
    let asked: HashSet<String> = asked
        .iter()
        .filter_map(|name| name.as_deref())
        .flat_map(|name| name.split(','))
        .map(normalised)
        .filter(|name| name.parse::<usize>().is_err() && !name.is_empty())
        .collect();
    let is_asked = |field: &str| asked.contains(&normalised(field));
    if first.iter().any(|field| knows(field) || is_asked(field)) {
        return true;
    }
    (0..first.len()).any(|column| {
        let of = |test: fn(&str) -> bool| {
            !rest.is_empty() && rest.iter().filter_map(|row| row.get(column)).all(test)
        };
        let is_number = |text: &str| text.parse::<f64>().is_ok();
        of(looks_like_image) || of(is_number) && !first.get(column).is_some_and(is_number)
    })
}

/// What a field of a column of zeros and ones says.
pub(super) fn flag(field: &str) -> Option<bool> {
    match field.to_lowercase().as_str() {
        "0" | "0.0" | "false" | "" => Some(false),
        "1" | "1.0" | "true" => Some(true),
        _ => None,
    }
}

struct Finder<'a> {
    names: &'a [String],
    /// The names as they are compared, and the first column of each.
    known: &'a [String],
    first: HashMap<&'a str, usize>,
    /// The first column of each name as it is.
    exactly: HashMap<&'a str, usize>,
    rows: &'a [StringRecord],
    header: bool,
    fields: Fields,
}

impl<'a> Finder<'a> {
    fn new(
        names: &'a [String],
        known: &'a [String],
        rows: &'a [StringRecord],
        header: bool,
        fields: Fields,
    ) -> Self {
        let places = |names: &'a [String]| -> HashMap<&'a str, usize> {
            // The first of equal names comes last.
            names.iter().enumerate().rev().map(|(at, name)| (name.as_str(), at)).collect()
        };
        let (first, exactly) = (places(known), places(names));
        Self { names, known, first, exactly, rows, header, fields }
    }

    fn columns(&self, format: &ListFormat) -> Result<Columns, String> {
        let path = match &format.path {
            Some(name) => self.named(name)?,
            None => {
                self.path().ok_or("it cannot be told which column holds the paths of images")?
            }
        };
        let optional = |choice: &Option<String>, found: Option<usize>| match choice.as_deref() {
            Some(name) if name == NONE && self.named(name).is_err() => Ok(None),
            Some(name) => self.named(name).map(Some),
            None => Ok(found),
        };
        let label_given = match format.label.as_deref() {
            Some(name) => Some(self.labels_named(name)?),
            None => None,
        };
        let taken = |column: usize| {
            column == path || label_given.as_ref().is_some_and(|label| holds(label, column))
        };
        let split = optional(&format.split, self.split(&taken))?;
        let group = optional(&format.group, self.usual(&GROUP_COLUMNS, &taken))?;
        let label = match label_given {
            Some(label) => label,
            None => self
                .label(path, |column| {
                    column == path || Some(column) == split || Some(column) == group
                })
                .ok_or("it cannot be told which column holds the labels")?,
        };
        Ok(Columns { path, label, split, group })
    }

    /// The column that a person names.
    fn named(&self, name: &str) -> Result<usize, String> {
        let name = name.trim();
        let named = |places: &HashMap<&str, usize>, name: &str| {
            places.get(name).copied().filter(|_| self.header)
        };
        let number = || name.parse::<usize>().ok().filter(|n| (1..=self.names.len()).contains(n));
        named(&self.exactly, name)
            .or_else(|| named(&self.first, &normalised(name)))
            .or_else(|| number().map(|number| number - 1))
            .ok_or_else(|| format!("there is no column `{name}`"))
    }

    fn labels_named(&self, names: &str) -> Result<Label, String> {
        match self.named(names) {
            Ok(column) => Ok(Label::Column(column)),
            Err(_) if names == FOLDER => Ok(Label::Folder),
            Err(_) if names.contains(',') => names
                .split(',')
                .map(|name| self.named(name))
                .collect::<Result<_, _>>()
                .map(Label::OneHot),
            Err(reason) => Err(reason),
        }
    }

    fn usual(&self, known: &[&str], taken: &dyn Fn(usize) -> bool) -> Option<usize> {
        let find = |name: &&str| {
            (0..self.known.len()).find(|column| self.known[*column] == **name && !taken(*column))
        };
        known.iter().filter(|_| self.header).find_map(find)
    }

    /// Fields of a column that are not empty.
    fn values(&self, column: usize) -> impl Iterator<Item = &str> {
        self.rows.iter().filter_map(move |row| row.get(column)).filter(|field| !field.is_empty())
    }

    /// Whether most of a column's fields are so.
    fn mostly(&self, column: usize, so: impl Fn(&str) -> bool) -> bool {
        let (all, those) = self
            .values(column)
            .fold((0, 0), |(all, those), field| (all + 1, those + usize::from(so(field))));
        those * 2 > all
    }

    fn path(&self) -> Option<usize> {
        let images: Vec<usize> =
            (0..self.names.len()).filter(|column| self.mostly(*column, looks_like_image)).collect();
        self.usual(&PATH_COLUMNS, &|column| !images.contains(&column))
            .or_else(|| images.first().copied())
            // Blanks alone do not make a table.
            .or_else(|| match self.fields {
                Fields::LastBlank | Fields::Whole => None,
                _ => self.usual(&PATH_COLUMNS, &|column| self.values(column).next().is_none()),
            })
    }

    fn split(&self, taken: &dyn Fn(usize) -> bool) -> Option<usize> {
        let is_split = |field: &str| field.parse::<Split>().is_ok();
        if self.header {
            // A column that is called so and holds something else is a mistake to be told of.
            let other =
                |column: usize| self.known[column] != "split" && !self.mostly(column, is_split);
            return self.usual(&SPLIT_COLUMNS, &|column| taken(column) || other(column));
        }
        (0..self.names.len()).find(|column| {
            !taken(*column)
                && self.values(*column).next().is_some()
                && self.values(*column).all(is_split)
        })
    }

    /// The column `class` of a table of biological ranks, which are no labels where species are
    /// named.
    fn taxonomy_class(&self) -> Option<usize> {
        let at = |name: &str| self.first.get(name).copied();
        let is_ranks = ["order", "family"].iter().all(|rank| at(rank).is_some());
        let has_species =
            ["species", "scientific_name", "common_name"].iter().any(|name| at(name).is_some());
        at("class").filter(|_| is_ranks && has_species)
    }

    fn label(&self, path: usize, taken: impl Fn(usize) -> bool) -> Option<Label> {
        // Beside `order` and `family` a column `class` says that a lynx is a mammal.
        let rank = self.taxonomy_class();
        let is_no_label =
            |column| taken(column) || Some(column) == rank || self.values(column).next().is_none();
        if let Some(column) = self.usual(&LABEL_COLUMNS, &is_no_label) {
            return Some(Label::Column(column));
        }
        let left: Vec<usize> = (0..self.names.len()).filter(|column| !taken(*column)).collect();
        let flags: Vec<usize> = left
            .iter()
            .copied()
            .filter(|column| {
                self.rows.iter().all(|row| row.get(*column).is_some_and(|f| flag(f).is_some()))
            })
            .collect();
        let single = |row: &StringRecord| {
            flags.iter().filter(|column| row.get(**column).and_then(flag) == Some(true)).count()
                == 1
        };
        let singles = self.rows.iter().filter(|row| single(row)).count();
        if self.header && flags.len() >= 2 && singles * 10 >= self.rows.len() * 9 && singles > 0 {
            return Some(Label::OneHot(flags));
        }
        match left.as_slice() {
            [] => {
                let in_folder =
                    |field: &str| field.trim_start_matches(['.', '/', '\\']).contains(['/', '\\']);
                self.mostly(path, in_folder).then_some(Label::Folder)
            }
            [only] => {
                let is_measure =
                    |field: &str| field.parse::<i64>().is_err() && field.parse::<f64>().is_ok();
                let values: Vec<&str> = self.values(*only).collect();
                // What is another word in each of many lines names images, not classes.
                let distinct: HashSet<&&str> = values.iter().collect();
                let is_name = values.len() >= MANY && distinct.len() == values.len();
                let could_be = !values.is_empty() && !is_name;
                (could_be && !self.mostly(*only, is_measure)).then_some(Label::Column(*only))
            }
            // A number and the name that stands for it.
            [a, b] => {
                let numbers =
                    |column: usize| self.values(column).all(|field| field.parse::<i64>().is_ok());
                match (numbers(*a), numbers(*b)) {
                    (true, false) if self.same_classes(*a, *b) => Some(Label::Column(*b)),
                    (false, true) if self.same_classes(*a, *b) => Some(Label::Column(*a)),
                    _ => self.sorting(&left),
                }
            }
            _ => self.sorting(&left),
        }
    }

    /// The only one of these columns that sorts the rows into classes; where several do, the only one
    /// of them whose name ends as those of labels do.
    fn sorting(&self, columns: &[usize]) -> Option<Label> {
        let (numbers, words): (Vec<usize>, Vec<usize>) = columns
            .iter()
            .copied()
            .filter(|column| self.sorts(*column))
            .partition(|column| self.values(*column).all(|field| field.parse::<i64>().is_ok()));
        // A number that stands for a word says nothing else.
        let says_else =
            |number: &usize| !words.iter().any(|word| self.same_classes(*number, *word));
        let all: Vec<usize> =
            words.iter().copied().chain(numbers.into_iter().filter(says_else)).collect();
        let is_called_so = |column: &usize| self.header && ends_as_label(&self.known[*column]);
        let called_so: Vec<usize> = all.iter().copied().filter(is_called_so).collect();
        match (all.as_slice(), called_so.as_slice()) {
            ([only], _) | (_, [only]) => Some(Label::Column(*only)),
            _ => None,
        }
    }

    /// Whether nearly every row has a word or whole number there, and most not for the first time:
    /// file names and times hardly come again, and measures have decimals.
    fn sorts(&self, column: usize) -> bool {
        let could_be_label = |field: &str| {
            let letters = field.chars().filter(|c| c.is_alphabetic()).count();
            field.parse::<i64>().is_ok() || 2 * letters >= field.chars().count()
        };
        let (mut values, mut fields) = (HashSet::new(), 0);
        for field in self.values(column) {
            values.insert(field);
            fields += usize::from(could_be_label(field));
        }
        values.len() > 1 && 2 * values.len() <= fields && 10 * fields >= 9 * self.rows.len()
    }

    /// Whether two columns sort the rows into the same classes.
    fn same_classes(&self, a: usize, b: usize) -> bool {
        let (mut there, mut back) = (HashMap::new(), HashMap::new());
        self.rows.iter().all(|row| match (row.get(a), row.get(b)) {
            (Some(a), Some(b)) => {
                *there.entry(a).or_insert(b) == b && *back.entry(b).or_insert(a) == a
            }
            _ => false,
        })
    }
}

fn holds(label: &Label, column: usize) -> bool {
    match label {
        Label::Column(own) => *own == column,
        Label::OneHot(own) => own.contains(&column),
        Label::Folder => false,
    }
}
