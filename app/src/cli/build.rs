//! `counterweight build`: from a source to a long-tailed dataset.

use std::path::PathBuf;

use anyhow::Result;
use clap::{Args, ValueEnum};
use counterweight_core::dataset;
use counterweight_core::dataset::{BuildOptions, ClassChoice, ClassOrder, Dataset, Pick, Profile};
use counterweight_core::error::{DataError, Reason, SettingsError};
use counterweight_core::eval::{FEW_BELOW, GroupSummary, MANY_ABOVE};
use counterweight_core::files;
use counterweight_core::job::Job;
use counterweight_core::source;
use counterweight_core::source::{Catalog, Split};
use serde::Serialize;

use super::options::{GroupByOption, RenameOption};
use super::plain::plain;
use super::source::SourceOption;
use super::{Context, tables};

#[derive(Debug, Args)]
pub struct Arguments {
    /// An image folder, CIFAR-10 or CIFAR-100 (folder or .tar.gz), or an image list (CSV and the
    /// like, JSON such as COCO, or lines of a path and a label)
    source: PathBuf,
    /// The dataset file to write, a new .toml file
    #[arg(long, value_name = "DATASET.toml", value_parser = dataset_file)]
    out: PathBuf,
    /// How training images fall from the first class to the last: exponential, step, pareto, as-is,
    /// or custom:FILE with a CSV of class (name or index) and count [default: exponential if
    /// --factor is given, else as-is]
    #[arg(long, value_name = "PROFILE", value_parser = profile)]
    profile: Option<ProfileKind>,
    /// Imbalance factor: largest class over smallest [default: 100 where the profile needs one]
    #[arg(long, value_name = "F", value_parser = factor)]
    factor: Option<f64>,
    /// Training images of the largest class [default: what it has]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..=u64::from(u32::MAX)))]
    max_per_class: Option<u64>,
    /// Keep only the first N classes, or the named ones [default: all]
    #[arg(long, value_name = "N|NAME,NAME...")]
    classes: Option<ClassChoice>,
    #[command(flatten)]
    rename: RenameOption,
    /// Which of a class's images are kept
    #[arg(long, value_enum, default_value_t = PickKind::First)]
    pick: PickKind,
    /// The order of classes from head to tail; labels do not change [default: name where classes are
    /// of one size, else size]
    #[arg(long, value_enum)]
    order: Option<OrderKind>,
    /// Seed of shuffled order, random picks and held-out images
    #[arg(long, value_name = "S", default_value_t = 0, value_parser = clap::value_parser!(u64).range(..=i64::MAX.unsigned_abs()))]
    seed: u64,
    /// Share of images to hold out for validation; 0 for none [default: 0.1 if the source has no
    /// splits, else what it has]
    #[arg(long, value_name = "FRACTION", value_parser = fraction)]
    validation: Option<f64>,
    /// Share of images to hold out for testing; 0 for none [default: 0.2 if the source has no
    /// splits, else what it has]
    #[arg(long, value_name = "FRACTION", value_parser = fraction)]
    test: Option<f64>,
    /// Replace another dataset file that is there
    #[arg(long)]
    force: bool,
    #[command(flatten)]
    group: GroupByOption,
    /// Also write the images into this new folder, as split/class/image
    #[arg(long, value_name = "DIR")]
    write_images: Option<PathBuf>,
    #[command(flatten)]
    reading: SourceOption,
}

#[derive(Clone, Debug)]
enum ProfileKind {
    Exponential,
    Step,
    Pareto,
    AsIs,
    Custom(PathBuf),
}

#[derive(Clone, Copy, Debug, ValueEnum)]
enum PickKind {
    /// The first in the source's order
    First,
    /// At random, by the seed
    Random,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
enum OrderKind {
    /// As the source numbers them, which is by name in an image folder
    Name,
    /// The largest class first
    Size,
    /// Shuffled by the seed
    Shuffle,
}

#[derive(Serialize)]
struct Outcome {
    path: String,
    /// Where the images were written, if they were.
    images: Option<String>,
    counts: Counts,
    groups: GroupSummary,
    imbalance_factor: Option<f64>,
    classes: Vec<ClassCounts>,
    source_hash: String,
    notes: Vec<String>,
}

#[derive(Clone, Copy, Serialize)]
struct Counts {
    train: usize,
    validation: usize,
    test: usize,
}

#[derive(Serialize)]
struct ClassCounts {
    name: String,
    #[serde(flatten)]
    counts: Counts,
}

pub fn run(arguments: &Arguments, context: &Context) -> Result<()> {
    let job = Job::new(&context.control, context.console);
    if let (Some(_), Some(ProfileKind::AsIs | ProfileKind::Custom(_))) =
        (arguments.factor, &arguments.profile)
    {
        let reason =
            "only the profiles exponential, step and pareto have an imbalance factor".to_string();
        return Err(counterweight_core::Error::from(SettingsError::Value {
            key: "--factor".to_string(),
            reason: reason.into(),
        })
        .into());
    }
    if arguments.out.exists() && Dataset::load(&arguments.out).is_err() {
        return Err(refused(
            arguments,
            "is there already and is not a dataset file, so it is not overwritten; choose another name",
        ));
    }
    let rename = arguments.rename.names()?;
    let catalog = source::scan(&arguments.source, &arguments.reading.scan_options(), job)?;
    for twins in &catalog.twins {
        job.warn(twins.to_string());
    }
    if !catalog.problems.is_empty() {
        let number = catalog.problems.len();
        job.warn(format!("{number} of the source's files or folders cannot be used and are left out; `counterweight inspect` lists them"));
    }
    let mut named = BuildOptions { rename, ..BuildOptions::default() };
    named.keep_together(arguments.group.group_by.clone(), &catalog.classes);
    let BuildOptions { rename, group_by, .. } = named;
    if let Some(question) =
        group_by.is_none().then(|| dataset::crossed_subfolders(&catalog.classes)).flatten()
    {
        job.warn(question);
    }
    if group_by.is_none()
        && let Some(series) = dataset::notice_series(&catalog)
    {
        job.warn(series.sentences());
    }
    let classes = dataset::renamed_classes(&catalog.classes, &rename)?;
    let mut asked = BuildOptions { rename, group_by, ..options(arguments, &classes)? };
    if arguments.order.is_none() {
        asked.order = usual_order(&catalog, &asked)?;
    }
    if asked.order == ClassOrder::Size && arguments.order.is_none() {
        job.info("the largest class is the head of the tail, since classes differ in size; --order name takes them by name");
    }
    let built = dataset::build(&catalog, &asked)?;
    let built = dataset::edited(built.dataset, &arguments.source, Some(&catalog), job)?;
    built.warnings().for_each(|warning| job.warn(warning));
    let out = destination(arguments, &built)?;
    // The dataset file is written last: where it exists, everything else that was asked for does.
    if let Some(folder) = &arguments.write_images {
        dataset::write_images(&built, folder, job)?;
    }
    built.save(&out)?;
    let outcome = outcome(arguments, &built);
    context.console.result(&outcome, || human(&outcome))
}

/// Where the dataset file goes. What somebody chose before is not lost by the same command with
/// other options.
fn destination(arguments: &Arguments, dataset: &Dataset) -> Result<PathBuf> {
    let out = files::destination(&arguments.out).map_err(|error| refused(arguments, error))?;
    if !arguments.force
        && Dataset::load(&arguments.out).is_ok_and(|found| !found.same_samples(dataset))
    {
        return Err(refused(
            arguments,
            "holds another dataset; choose another name, or replace it with --force",
        ));
    }
    Ok(out)
}

fn refused(arguments: &Arguments, reason: impl Into<Reason>) -> anyhow::Error {
    counterweight_core::Error::from(DataError::file(&arguments.out, reason)).into()
}

fn options(arguments: &Arguments, classes: &[String]) -> Result<BuildOptions> {
    let factor = arguments.factor.unwrap_or(Profile::DEFAULT_FACTOR);
    let profile = match (&arguments.profile, arguments.factor) {
        (Some(ProfileKind::Exponential), _) | (None, Some(_)) => Profile::Exponential { factor },
        (Some(ProfileKind::Step), _) => Profile::Step { factor },
        (Some(ProfileKind::Pareto), _) => Profile::Pareto { factor, alpha: Profile::DEFAULT_ALPHA },
        (Some(ProfileKind::AsIs), _) | (None, None) => Profile::AsIs,
        (Some(ProfileKind::Custom(file)), _) => Profile::read_custom(file, classes)?,
    };
    Ok(BuildOptions {
        seed: arguments.seed,
        max_per_class: arguments.max_per_class.map(|n| usize::try_from(n).unwrap_or(usize::MAX)),
        classes: arguments.classes.clone(),
        order: match arguments.order {
            Some(OrderKind::Name) => ClassOrder::Name,
            Some(OrderKind::Size) => ClassOrder::Size,
            Some(OrderKind::Shuffle) => ClassOrder::Shuffle,
            None => ClassOrder::Name,
        },
        pick: match arguments.pick {
            PickKind::First => Pick::First,
            PickKind::Random => Pick::Random,
        },
        validation: arguments.validation,
        test: arguments.test,
        profile,
        ..BuildOptions::default()
    })
}

/// The order of classes where none is asked for: by name if they are of one size, but for a few images
/// that could not be read; otherwise by size, since by name the largest may be cut to a handful.
fn usual_order(catalog: &Catalog, asked: &BuildOptions) -> Result<ClassOrder> {
    if matches!(asked.profile, Profile::AsIs | Profile::Custom { .. }) {
        return Ok(ClassOrder::Name);
    }
    let as_is = BuildOptions { profile: Profile::AsIs, ..asked.clone() };
    let counts = dataset::counts_preview_with(catalog, &as_is, None)?.kept;
    let [least, most] = [counts.iter().min(), counts.iter().max()].map(|n| n.copied().unwrap_or(0));
    Ok(if 9 * most <= 10 * least { ClassOrder::Name } else { ClassOrder::Size })
}

fn outcome(arguments: &Arguments, dataset: &Dataset) -> Outcome {
    let [train, validation, test] = Split::ALL.map(|split| dataset.counts(split));
    let of = |k: usize| Counts { train: train[k], validation: validation[k], test: test[k] };
    let classes = dataset
        .classes
        .iter()
        .enumerate()
        .map(|(k, name)| ClassCounts { name: name.clone(), counts: of(k) })
        .collect();
    Outcome {
        path: arguments.out.to_string_lossy().into_owned(),
        images: arguments.write_images.as_ref().map(|folder| folder.to_string_lossy().into_owned()),
        counts: Counts {
            train: train.iter().sum(),
            validation: validation.iter().sum(),
            test: test.iter().sum(),
        },
        groups: dataset.group_sizes(),
        imbalance_factor: dataset.imbalance_factor(),
        classes,
        source_hash: dataset.provenance.source_hash.clone(),
        notes: dataset.provenance.notes.clone(),
    }
}

fn human(outcome: &Outcome) -> String {
    let Counts { train, validation, test } = outcome.counts;
    let groups = outcome.groups.sizes;
    let mut text = format!("{}\n", class_table(&outcome.classes));
    text += &format!(
        "\n{} classes · images: {train} train, {validation} validation, {test} test\n",
        outcome.classes.len()
    );
    let factor =
        outcome.imbalance_factor.map_or("n/a".to_string(), |factor| format!("{factor:.1}"));
    text += &format!(
        "imbalance factor {factor} · classes: {} many (> {MANY_ABOVE}), {} medium, {} few (< {FEW_BELOW} training images)\n",
        groups.many, groups.medium, groups.few
    );
    for note in &outcome.notes {
        text += &format!("note: {note}\n");
    }
    text += &format!("wrote {}\n", outcome.path);
    if let Some(images) = &outcome.images {
        text += &format!("wrote {images}\n");
    }
    text
}

/// The classes from head to tail; of many only the ends.
fn class_table(classes: &[ClassCounts]) -> String {
    const SHOWN: usize = 30;
    const END: usize = 10;
    let mut order: Vec<&ClassCounts> = classes.iter().collect();
    order.sort_by_key(|class| std::cmp::Reverse(class.counts.train));
    let hidden = if order.len() <= SHOWN { 0..0 } else { END..order.len() - END };
    let mut table = tables::table(&["class", "train", "validation", "test"]);
    for (row, class) in order.into_iter().enumerate() {
        if hidden.contains(&row) {
            if row == hidden.start {
                table.add_row([format!("… {} more", hidden.len())]);
            }
            continue;
        }
        let Counts { train, validation, test } = class.counts;
        table.add_row([
            class.name.clone(),
            train.to_string(),
            validation.to_string(),
            test.to_string(),
        ]);
    }
    table.lines().map(|line| plain(line.trim_end()).into_owned()).collect::<Vec<_>>().join("\n")
}

fn profile(text: &str) -> Result<ProfileKind, String> {
    match text {
        "exponential" => Ok(ProfileKind::Exponential),
        "step" => Ok(ProfileKind::Step),
        "pareto" => Ok(ProfileKind::Pareto),
        "as-is" => Ok(ProfileKind::AsIs),
        _ => match text.strip_prefix("custom:") {
            Some(file) if !file.is_empty() => Ok(ProfileKind::Custom(PathBuf::from(file))),
            _ => Err("expected exponential, step, pareto, as-is or custom:FILE".to_string()),
        },
    }
}

fn factor(text: &str) -> Result<f64, String> {
    text.parse()
        .ok()
        .filter(|factor: &f64| factor.is_finite() && *factor >= 1.0)
        .ok_or_else(|| "expected a number of at least 1".to_string())
}

fn fraction(text: &str) -> Result<f64, String> {
    let fraction = text.parse().ok().filter(|fraction| (0.0..1.0).contains(fraction));
    fraction.ok_or_else(|| "expected a share from 0 to below 1, such as 0.1".to_string())
}

fn dataset_file(text: &str) -> Result<PathBuf, String> {
    let path = PathBuf::from(text);
    if path.extension().is_some_and(|extension| extension.eq_ignore_ascii_case("toml")) {
        Ok(path)
    } else {
        Err("a dataset file ends in .toml; `train` recognises it by that".to_string())
    }
}
