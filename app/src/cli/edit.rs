//! `counterweight edit`: decisions about single images, kept beside the dataset.

use std::collections::HashSet;
use std::path::PathBuf;

use anyhow::Result;
use counterweight_core::Error;
use counterweight_core::dataset::{self, EditAction, EditCounts, EditSession, Edits, ImageFiles};
use counterweight_core::error::DataError;
use counterweight_core::job::Job;
use serde::Serialize;

use super::options::GroupByOption;
use super::source::SourceOption;
use super::{Context, edit_rows, tables};

/// Edited images that are listed, unless all are asked for.
const LISTED: usize = 50;

#[derive(Debug, clap::Args)]
pub struct Arguments {
    /// A dataset file made by `build`, or any source: an image folder, CIFAR, an image list
    dataset: PathBuf,
    #[command(flatten)]
    reading: SourceOption,
    #[command(flatten)]
    group_by: GroupByOption,
    #[command(subcommand)]
    action: Action,
    /// Say what would be done, and write nothing
    #[arg(long, global = true)]
    dry_run: bool,
}

#[derive(Debug, clap::Subcommand)]
enum Action {
    /// List the edited images, and what can be undone
    List {
        /// List every image, however many there are
        #[arg(long)]
        all: bool,
    },
    /// Give images another class
    Move {
        /// Images: paths as `list` and the dataset file have them, or as the system has them; - for
        /// lines of standard input
        #[arg(required = true)]
        images: Vec<String>,
        /// The class they belong to
        #[arg(long, value_name = "CLASS")]
        to: String,
        /// Make the class if the dataset does not have it
        #[arg(long)]
        new: bool,
    },
    /// Leave images out of the dataset
    Exclude {
        /// Images, as with `move`
        #[arg(required = true)]
        images: Vec<String>,
    },
    /// Mark images as looked at and right
    Check {
        /// Images, as with `move`
        #[arg(required = true)]
        images: Vec<String>,
    },
    /// Forget everything that was decided about images
    Restore {
        /// Images, as with `move`
        #[arg(required = true)]
        images: Vec<String>,
    },
    /// Take back the last edits
    Undo {
        /// How many
        #[arg(default_value_t = 1)]
        edits: usize,
    },
    /// Do again what was undone
    Redo {
        /// How many
        #[arg(default_value_t = 1)]
        edits: usize,
    },
    /// Do what a table says: rows of path, action (move, exclude, check, restore) and class
    Apply {
        /// A CSV file; - for standard input
        file: PathBuf,
        /// Make classes that the dataset does not have
        #[arg(long)]
        new: bool,
    },
    /// Write the images with the edits carried out into a new folder, as split/class/image
    Write {
        /// The folder
        folder: PathBuf,
        /// Link the files instead of copying them, where the file system can
        #[arg(long)]
        hard_link: bool,
    },
}

#[derive(Serialize)]
struct Outcome {
    dataset: String,
    /// The file that holds the edits.
    edits_file: String,
    /// What was done, in words; nothing if edits were only listed.
    done: Vec<String>,
    dry_run: bool,
    counts: EditCounts,
    /// How many edits were added.
    applied: usize,
    /// How many edits can be undone, and done again.
    undo: usize,
    redo: usize,
    /// Where the images were written, and how many, if they were.
    #[serde(skip_serializing_if = "Option::is_none")]
    written: Option<(String, usize)>,
    /// Every edited image, where edits are listed.
    #[serde(skip_serializing_if = "Option::is_none")]
    images: Option<Vec<Image>>,
    /// Why the dataset cannot be trained on with these edits, if it cannot.
    #[serde(skip_serializing_if = "Option::is_none")]
    problem: Option<String>,
}

/// An edited image.
#[derive(Serialize)]
struct Image {
    path: String,
    /// The class it has in the dataset; unknown where the dataset does not have it.
    class: Option<String>,
    moved_to: Option<String>,
    excluded: bool,
    checked: bool,
    /// `applied`, `vanished` or `replaced`.
    state: &'static str,
}

pub fn run(arguments: &Arguments, context: &Context) -> Result<()> {
    let job = Job::new(&context.control, context.console);
    let (scan, build) = (arguments.reading.scan_options(), arguments.group_by.options());
    let mut session = EditSession::open_with(&arguments.dataset, &scan, &build, job)?;
    let before = session.edits().done().len();
    let mut written = None;
    let done = match &arguments.action {
        Action::List { .. } => Vec::new(),
        Action::Move { images, to, new } => {
            let action = EditAction::Move { to: to.trim().to_string() };
            known_class(&session, &action, *new)?;
            vec![add(&mut session, action, images, arguments.dry_run, job)?]
        }
        Action::Exclude { images } => {
            vec![add(&mut session, EditAction::Exclude, images, arguments.dry_run, job)?]
        }
        Action::Check { images } => {
            vec![add(&mut session, EditAction::Check, images, arguments.dry_run, job)?]
        }
        Action::Restore { images } => {
            vec![add(&mut session, EditAction::Restore, images, arguments.dry_run, job)?]
        }
        Action::Undo { edits } => undo(&mut session, *edits, arguments.dry_run, job)?,
        Action::Redo { edits } => redo(&mut session, *edits, arguments.dry_run, job)?,
        Action::Apply { file, new } => {
            apply(&mut session, &edit_rows::read(file)?, *new, arguments.dry_run, job)?
        }
        Action::Write { folder, hard_link } => {
            let by = if *hard_link { ImageFiles::HardLink } else { ImageFiles::Copy };
            let dataset = session.dataset()?;
            let images = match arguments.dry_run {
                true => dataset.samples.len(),
                false => dataset::write_images_as(&dataset, folder, by, job)?,
            };
            written = Some((folder.display().to_string(), images));
            Vec::new()
        }
    };
    let lists = matches!(arguments.action, Action::List { .. });
    let outcome = Outcome {
        dataset: arguments.dataset.display().to_string(),
        edits_file: session.edits().path().display().to_string(),
        done,
        dry_run: arguments.dry_run,
        counts: session.edited().counts,
        applied: session.edits().done().len().saturating_sub(before),
        undo: session.edits().done().len(),
        redo: session.edits().undone().len(),
        written,
        images: lists.then(|| edited_images(&session)),
        problem: session.dataset().err().map(|error| error.to_string()),
    };
    let all = matches!(arguments.action, Action::List { all: true });
    context.console.result(&outcome, || human(&outcome, session.edits(), all))
}

fn add(
    session: &mut EditSession,
    action: EditAction,
    images: &[String],
    dry_run: bool,
    job: Job<'_>,
) -> Result<String> {
    let samples = session.find(&edit_rows::images(images)?)?;
    let words = action.words(samples.len());
    if samples.is_empty() {
        return Err(Error::from(DataError::Edit("no image is named".into())).into());
    }
    if !dry_run {
        session.add(action, &samples, job)?;
    }
    Ok(words)
}

/// Carries out rows. Those that do the same are one edit; where an image is named twice and the order
/// matters, those that follow each other.
fn apply(
    session: &mut EditSession,
    rows: &[edit_rows::Row],
    new: bool,
    dry_run: bool,
    job: Job<'_>,
) -> Result<Vec<String>> {
    // Nothing is done unless everything can be.
    let paths: Vec<String> = rows.iter().map(|row| row.path.clone()).collect();
    session.find(&paths)?;
    for row in rows {
        known_class(session, &row.action, new)?;
    }
    let in_any_order = paths.iter().collect::<HashSet<_>>().len() == paths.len();
    let mut edits: Vec<(EditAction, Vec<String>)> = Vec::new();
    for row in rows {
        let same = match in_any_order {
            true => edits.iter_mut().find(|(action, _)| *action == row.action),
            false => edits.last_mut().filter(|(action, _)| *action == row.action),
        };
        match same {
            Some((_, paths)) => paths.push(row.path.clone()),
            None => edits.push((row.action.clone(), vec![row.path.clone()])),
        }
    }
    let mut done = Vec::new();
    for (action, paths) in edits {
        let samples = session.find(&paths)?;
        done.push(action.words(samples.len()));
        if !dry_run {
            session.add(action, &samples, job)?;
        }
    }
    Ok(done)
}

fn undo(
    session: &mut EditSession,
    edits: usize,
    dry_run: bool,
    job: Job<'_>,
) -> Result<Vec<String>> {
    let there = session.edits().done();
    let entries = match dry_run {
        true => there.iter().rev().take(edits).cloned().collect(),
        false => session.undo(edits, job)?,
    };
    Ok(entries.iter().map(|entry| format!("undone: {}", entry.words())).collect())
}

fn redo(
    session: &mut EditSession,
    edits: usize,
    dry_run: bool,
    job: Job<'_>,
) -> Result<Vec<String>> {
    let there = session.edits().undone();
    let entries = match dry_run {
        true => there.iter().take(edits).cloned().collect(),
        false => session.redo(edits, job)?,
    };
    Ok(entries.iter().map(|entry| format!("done again: {}", entry.words())).collect())
}

/// Refuses a class that the dataset does not have, unless it is to be made: most are misspelled.
fn known_class(session: &EditSession, action: &EditAction, new: bool) -> Result<()> {
    let EditAction::Move { to } = action else { return Ok(()) };
    let classes = &session.edited().classes;
    if new || classes.contains(to) {
        return Ok(());
    }
    let lower = to.to_lowercase();
    let similar: Vec<&str> = classes
        .iter()
        .filter(|name| {
            let name = name.to_lowercase();
            name.contains(&lower) || lower.contains(&name)
        })
        .take(3)
        .map(String::as_str)
        .collect();
    let hint = match (similar.as_slice(), dataset::nearest_class(to, classes)) {
        ([], Some(nearest)) => format!("did you mean `{nearest}`?"),
        ([], None) => {
            let named: Vec<&str> = classes.iter().take(LISTED).map(String::as_str).collect();
            let more = if classes.len() > LISTED { ", …" } else { "" };
            format!("it has {} classes: {}{more}", classes.len(), named.join(", "))
        }
        (some, _) => format!("it has {}", some.join(", ")),
    };
    let stop = if hint.ends_with('?') { "" } else { "." };
    let reason =
        format!("the dataset has no class `{to}`; {hint}{stop} With --new the class is made");
    Err(Error::from(DataError::Edit(reason)).into())
}

fn edited_images(session: &EditSession) -> Vec<Image> {
    let (base, edited) = (session.base(), session.edited());
    let mut marks = session.edits().marks();
    let replaced: HashSet<&String> = edited.replaced.iter().collect();
    let vanished: HashSet<&String> = edited.vanished.iter().collect();
    let mut images = Vec::new();
    for (sample, own) in base.samples.iter().zip(&edited.samples) {
        let path = sample.location.to_text();
        let Some(mark) = marks.remove(&path) else {
            // An edit that has followed its image to another name.
            if own.moved || own.excluded || own.checked {
                let moved_to = own.moved.then(|| edited.classes[own.class].clone());
                images.push(Image {
                    path,
                    class: Some(base.classes[sample.class].clone()),
                    moved_to,
                    excluded: own.excluded,
                    checked: own.checked,
                    state: "applied",
                });
            }
            continue;
        };
        let state = if replaced.contains(&path) { "replaced" } else { "applied" };
        images.push(Image {
            path,
            class: Some(base.classes[sample.class].clone()),
            moved_to: mark.to.filter(|to| *to != base.classes[sample.class]),
            excluded: mark.excluded,
            checked: mark.checked,
            state,
        });
    }
    images.extend(marks.into_iter().filter(|(path, _)| vanished.contains(path)).map(
        |(path, mark)| Image {
            path,
            class: None,
            moved_to: mark.to,
            excluded: mark.excluded,
            checked: mark.checked,
            state: "vanished",
        },
    ));
    images
}

fn human(outcome: &Outcome, edits: &Edits, all: bool) -> String {
    let mut text = String::new();
    for line in &outcome.done {
        text += &match outcome.dry_run {
            true => format!("would have: {line}\n"),
            false => format!("{line}\n"),
        };
    }
    if let Some((folder, images)) = &outcome.written {
        text += &match outcome.dry_run {
            true => format!("would write {images} images to {folder}\n"),
            false => format!("wrote {images} images to {folder}\n"),
        };
    }
    if let Some(images) = outcome.images.as_ref().filter(|images| !images.is_empty()) {
        let mut table = tables::table(&["image", "class", "edited to"]);
        for column in 1..3 {
            if let Some(column) = table.column_mut(column) {
                column.set_cell_alignment(comfy_table::CellAlignment::Left);
            }
        }
        let shown = if all { images.len() } else { LISTED };
        for image in images.iter().take(shown) {
            let mut what = Vec::new();
            what.extend(image.moved_to.clone());
            what.extend(image.excluded.then(|| "excluded".to_string()));
            what.extend(image.checked.then(|| "checked".to_string()));
            what.extend((image.state != "applied").then(|| format!("({})", image.state)));
            let class = image.class.clone().unwrap_or_default();
            table.add_row([image.path.clone(), class, what.join(", ")]);
        }
        text += &table.lines().map(|line| line.trim_end().to_string() + "\n").collect::<String>();
        if let more @ 1.. = images.len().saturating_sub(shown) {
            text += &format!("… and {more} more (--all lists them)\n");
        }
        text += "\n";
    }
    let EditCounts { moved, excluded, checked, vanished, replaced } = outcome.counts;
    text +=
        &format!("{}: {moved} moved, {excluded} excluded, {checked} checked", outcome.edits_file);
    if vanished > 0 {
        text += &format!(", {vanished} of images that are not there");
    }
    if replaced > 0 {
        text += &format!(", {replaced} of images that have been replaced");
    }
    text += "\n";
    if let Some(last) = edits.done().last() {
        text += &format!("undo takes back: {} ({} in all)\n", last.words(), outcome.undo);
        if outcome.applied > 1 {
            text += &format!("undo {} takes back all of this\n", outcome.applied);
        }
    }
    if let Some(next) = edits.undone().first() {
        text += &format!("redo does again: {} ({} in all)\n", next.words(), outcome.redo);
    }
    if let Some(problem) = &outcome.problem {
        text += &format!("cannot be trained on like this: {problem}\n");
    }
    text
}
