//! `counterweight predict`: what an exported model sees in images.

use std::borrow::Cow;
use std::io::{self, IsTerminal, Read};
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result, bail};
use clap::ValueEnum;
use counterweight_core::files;
use counterweight_core::infer::{
    self, Inputs, OnnxClassifier, Placing, Prediction, PredictionRow, PredictionTable, Sorter,
};
use counterweight_core::job::Job;
use counterweight_core::run::Run;
use serde::Serialize;

use super::foreign::ForeignOption;
use super::options::ThreadOption;
use super::plain::Plain;
use super::train::quoted;
use super::{Context, PartialFailure};
use crate::gui::widgets::numbers;

/// The most bytes of a list of images: some five million paths.
const LARGEST_LIST: u64 = 256 << 20;

#[derive(Debug, clap::Args)]
pub struct Arguments {
    /// The exported model; with --undo, nothing
    #[arg(required_unless_present = "undo", conflicts_with = "undo")]
    file: Option<PathBuf>,
    /// Images: files, folders and all below them, or patterns such as 'new/**/*.jpg'
    #[arg(required_unless_present_any = ["list", "undo"], conflicts_with = "undo")]
    images: Vec<PathBuf>,
    /// A text file that names an image, folder or pattern in each line; - for standard input
    #[arg(long, value_name = "FILE", conflicts_with = "undo")]
    list: Option<PathBuf>,
    /// How many classes to show for each image
    #[arg(long, value_name = "N", default_value_t = 5, value_parser = clap::value_parser!(u32).range(1..))]
    top: u32,
    /// Probability of the best class below which an image is called unsure
    #[arg(long, value_name = "P", value_parser = probability)]
    threshold: Option<f32>,
    /// Write a table to this file; - for standard output
    #[arg(long, value_name = "FILE.csv")]
    csv: Option<PathBuf>,
    /// Put each image into a folder of its class below this one, and those below the threshold into
    /// `unsure`
    #[arg(long, value_name = "FOLDER")]
    sort_into: Option<PathBuf>,
    /// How an image comes into its folder
    #[arg(long, value_enum, default_value_t = How::Copy, requires = "sort_into")]
    by: How,
    /// Go on where an earlier call was broken off: leave out what is in the table or was sorted
    #[arg(long)]
    resume: bool,
    #[command(flatten)]
    foreign: ForeignOption,
    /// Undo what was sorted into this folder: copies and links are removed, moved images go back
    #[arg(long, value_name = "FOLDER", conflicts_with_all = ["sort_into", "csv", "resume"])]
    undo: Option<PathBuf>,
    /// With --undo, for images that were moved on another computer or by somebody else: the folder
    /// below which they may go back to where they were
    #[arg(long, value_name = "FOLDER", requires = "undo")]
    back_into: Option<PathBuf>,
    #[command(flatten)]
    threads: ThreadOption,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
enum How {
    Copy,
    Move,
    HardLink,
    Symlink,
}

impl From<How> for Placing {
    fn from(how: How) -> Self {
        match how {
            How::Copy => Placing::Copy,
            How::Move => Placing::Move,
            How::HardLink => Placing::HardLink,
            How::Symlink => Placing::Symlink,
        }
    }
}

/// What is known of one image.
#[derive(Serialize)]
struct Line<'a> {
    /// A name that is no Unicode still has a line, with what of it can be shown.
    path: Cow<'a, str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    top: Option<Vec<Prediction>>,
    /// Whether the best class is less probable than the threshold.
    #[serde(skip_serializing_if = "Option::is_none")]
    unsure: Option<bool>,
    /// Where it was put.
    #[serde(skip_serializing_if = "Option::is_none")]
    sorted: Option<PathBuf>,
    #[serde(skip_serializing_if = "Option::is_none")]
    error: Option<String>,
}

pub fn run(context: &Context, arguments: &Arguments) -> Result<()> {
    let job = Job::new(&context.control, context.console);
    if let Some(folder) = &arguments.undo {
        let undone = infer::undo(folder, arguments.back_into.as_deref(), job)?;
        return context.console.result(&undone, || {
            let mut text = format!(
                "{} files are undone: what was moved is back, copies and links are removed",
                undone.undone
            );
            let foreign = undone.foreign;
            if undone.left > foreign {
                text += &format!(
                    "; {} stay, because they were changed since or their old place is taken",
                    undone.left - foreign
                );
            }
            if foreign > 0 {
                text += &format!(
                    "; {foreign} stay, because they were moved on another computer or by somebody else: say with --back-into FOLDER where they may go"
                );
            }
            text
        });
    }
    let Some(file) = &arguments.file else { bail!("no model is named") };
    // Before anything is looked through or made.
    let csv_file = arguments.csv.as_deref().filter(|path| *path != Path::new("-"));
    if let Some(table) = csv_file.filter(|_| !arguments.resume) {
        PredictionTable::refuse_others(table)?;
    }
    arguments.threads.apply()?;
    if Run::is_run(file) {
        let run = quoted(file);
        bail!(
            "{run} is a run and not a model file; counterweight export {run} --out model.onnx makes one of it"
        );
    }
    let classifier = OnnxClassifier::open(file, &arguments.foreign.input()?)?;
    if !classifier.is_normalisation_known() {
        job.warn(infer::UNKNOWN_NORMALISATION);
    }
    let mut places = arguments.images.clone();
    if let Some(list) = &arguments.list {
        places.extend(lines(list)?);
    }
    let mut inputs = Inputs::find(&places, job)?;
    if let Some(target) = arguments.sort_into.as_ref().and_then(|to| std::path::absolute(to).ok()) {
        // What was sorted already is no input, unless that is what was named.
        let is_in_target =
            |path: &Path| std::path::absolute(path).is_ok_and(|path| path.starts_with(&target));
        if !places.iter().any(|place| is_in_target(place)) {
            inputs.files.retain(|file| !is_in_target(file));
        }
    }
    // Before anything is begun anew.
    if inputs.files.is_empty() && inputs.problems.is_empty() {
        bail!("there is no image among what is named");
    }
    let mut sorter = match &arguments.sort_into {
        Some(folder) => Some(Sorter::open(folder, classifier.classes(), arguments.by.into())?),
        None => None,
    };
    let mut table = match &arguments.csv {
        Some(path) if path == Path::new("-") => {
            // Programs get names as they are.
            let out: Box<dyn io::Write + Send> = match io::stdout().is_terminal() {
                true => Box::new(Plain(io::stdout())),
                false => Box::new(io::stdout()),
            };
            Some(PredictionTable::to(out, arguments.top as usize)?)
        }
        Some(path) => {
            Some(PredictionTable::create(path, arguments.top as usize, arguments.resume)?)
        }
        None => None,
    };
    let mut files = inputs.files;
    let named = files.len();
    if arguments.resume {
        // Done is what has its row and its place.
        let outputs = usize::from(table.is_some()) + usize::from(sorter.is_some());
        files.retain(|file| {
            let is_written = table.as_ref().is_some_and(|table| table.has(file));
            let is_placed = sorter.as_ref().is_some_and(|sorter| sorter.has_placed(file));
            outputs == 0 || usize::from(is_written) + usize::from(is_placed) < outputs
        });
    }
    let mut failed = inputs.problems.len();
    for problem in &inputs.problems {
        context.console.line(&format!("error: {}: {}", problem.path.display(), problem.reason));
    }
    let mut out = Output { context, table: table.as_mut() };
    let mut counts = vec![0_u64; classifier.classes().len()];
    let mut unsure = 0;
    // What went wrong with the output, which ends the work as a stop does.
    let mut closed = None;
    let outcome = classifier.classify_all(
        &files,
        &mut |file, found| {
            let mut line = line_of(&classifier, arguments, file, found);
            let best = || classifier.class_index(&line.top.as_ref()?.first()?.class);
            match line.unsure {
                Some(true) => unsure += 1,
                _ => best().into_iter().for_each(|class| counts[class] += 1),
            }
            if let (Some(sorter), Some(top)) = (&mut sorter, &line.top) {
                let class = match line.unsure {
                    Some(true) => None,
                    _ => top.first().and_then(|best| classifier.class_index(&best.class)),
                };
                match sorter.place(file, class) {
                    Ok(to) => line.sorted = Some(to),
                    Err(error) => line.error = Some(error.to_string()),
                }
            }
            failed += usize::from(line.error.is_some());
            out.print(file, &line).map_err(|error| {
                closed = Some(error);
                counterweight_core::Error::Stopped
            })
        },
        job,
    );
    context.console.finish();
    if let Some(error) = closed {
        return Err(error);
    }
    match outcome {
        Err(counterweight_core::Error::Stopped)
            if csv_file.is_some() || (arguments.sort_into.is_some() && arguments.csv.is_none()) =>
        {
            bail!("stopped, nothing is lost; the same command with --resume goes on")
        }
        outcome => outcome?,
    };
    if arguments.csv.is_some() || arguments.sort_into.is_some() {
        counted(&counts, unsure, classifier.classes())
            .iter()
            .for_each(|line| context.console.line(line));
    }
    if files.len() < named {
        context.console.line(&format!("{} images were done before", named - files.len()));
    }
    match failed {
        0 => Ok(()),
        _ if failed >= named + inputs.problems.len() => {
            bail!("none of {failed} images could be classified")
        }
        _ => Err(PartialFailure(format!(
            "{failed} of {} images could not be classified",
            named + inputs.problems.len()
        ))
        .into()),
    }
}

/// How many images were taken for each class, those of most first, and how many for none; nothing if
/// there was none.
fn counted(counts: &[u64], unsure: u64, classes: &[String]) -> Option<String> {
    const LISTED: usize = 10;
    let mut found: Vec<(&String, u64)> =
        classes.iter().zip(counts.iter().copied()).filter(|(_, count)| *count > 0).collect();
    found.sort_by_key(|(_, count)| std::cmp::Reverse(*count));
    let mut listed: Vec<String> = found
        .iter()
        .take(LISTED)
        .map(|(class, count)| format!("{class} {}", numbers::grouped(*count)))
        .collect();
    if found.len() > LISTED {
        listed
            .push(format!("other classes {}", found[LISTED..].iter().map(|of| of.1).sum::<u64>()));
    }
    if unsure > 0 {
        listed.push(format!("unsure {}", numbers::grouped(unsure)));
    }
    (!listed.is_empty()).then(|| format!("classified: {}", listed.join(", ")))
}

/// The lines of a file, or of standard input.
fn lines(list: &Path) -> Result<Vec<PathBuf>> {
    let unreadable = || format!("{} cannot be read", list.display());
    let text = match list == Path::new("-") {
        true => {
            let mut text = String::new();
            let most = io::stdin().lock().take(LARGEST_LIST + 1).read_to_string(&mut text);
            most.with_context(unreadable)?;
            if text.len() as u64 > LARGEST_LIST {
                bail!("the list on standard input has more than {} MB", LARGEST_LIST >> 20);
            }
            text
        }
        false => files::read_text(list, LARGEST_LIST).with_context(unreadable)?,
    };
    if let Some((number, length)) = files::too_long_line(&text) {
        bail!(
            "{}: line {number} has {length} bytes, and {} are the most a line may have",
            list.display(),
            files::LONGEST_LINE
        );
    }
    let text = text.strip_prefix(files::BYTE_ORDER_MARK).unwrap_or(&text);
    let named = text.lines().filter(|line| !line.trim().is_empty());
    Ok(named.map(|line| PathBuf::from(line.trim_end_matches('\r'))).collect())
}

fn line_of<'a>(
    classifier: &OnnxClassifier,
    arguments: &Arguments,
    file: &'a Path,
    found: counterweight_core::Result<Vec<f32>>,
) -> Line<'a> {
    let mut line =
        Line { path: file.to_string_lossy(), top: None, unsure: None, sorted: None, error: None };
    match found {
        Ok(probabilities) => {
            let top = classifier.top_k(&probabilities, arguments.top as usize);
            line.unsure = arguments
                .threshold
                .map(|threshold| top.first().is_none_or(|best| best.probability < threshold));
            line.top = Some(top);
        }
        Err(error) => line.error = Some(error.to_string()),
    }
    line
}

/// Where lines go.
struct Output<'a> {
    context: &'a Context,
    table: Option<&'a mut PredictionTable>,
}

impl Output<'_> {
    fn print(&mut self, file: &Path, line: &Line<'_>) -> Result<()> {
        let console = self.context.console;
        if let Some(error) = line.error.as_ref().filter(|_| !console.is_json()) {
            console.line(&format!("error: {error}"));
        }
        if let Some(table) = &mut self.table {
            let row = PredictionRow {
                file,
                top: line.top.as_deref().unwrap_or_default(),
                unsure: line.unsure,
                sorted: line.sorted.as_deref(),
                error: line.error.as_deref(),
            };
            return Ok(table.write(&row)?);
        }
        if console.is_json() {
            return console.row(&serde_json::to_string(line)?);
        }
        let Some(top) = &line.top else { return Ok(()) };
        let mut text = line.path.to_string();
        if line.unsure == Some(true) {
            text += "  unsure";
        }
        if let Some(to) = &line.sorted {
            text += &format!("\n  → {}", to.display());
        }
        for prediction in top {
            text += &format!("\n  {:5.1} %  {}", 100.0 * prediction.probability, prediction.class);
        }
        console.row(&text)
    }
}

fn probability(text: &str) -> Result<f32, String> {
    match text.parse() {
        Ok(value) if (0.0..=1.0).contains(&value) => Ok(value),
        _ => Err("a probability lies between 0 and 1".into()),
    }
}
