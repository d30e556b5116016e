//! What `counterweight inspect --groups` says: series of images, and what holding them out one by
//! one gives away.

use anyhow::Result;
use counterweight_core::Error;
use counterweight_core::dataset::{
    self, BuildOptions, GroupBy, Grouped, Grouping, LeakCount, SplitLeak,
};
use counterweight_core::error::DataError;
use counterweight_core::eval::Group;
use counterweight_core::job::Job;
use counterweight_core::source::Catalog;

use super::tables::{render, table};

/// What keeping images together in one way does to the usual splits of a source.
///
/// # Errors
/// As [`Grouping::of`].
pub fn of(catalog: &Catalog, by: &GroupBy, job: Job<'_>) -> Result<Grouped> {
    Ok(found(catalog, by, job)?)
}

fn found(catalog: &Catalog, by: &GroupBy, job: Job<'_>) -> Result<Grouped, Error> {
    let grouping = Grouping::of(catalog, by, job)?;
    let mut options = BuildOptions::default();
    options.keep_together(Some(by.clone()), &catalog.classes);
    dataset::grouped(catalog, &options, by, &grouping)
}

/// The ways that the source knows something of.
///
/// # Errors
/// If the job was stopped.
pub fn compare(catalog: &Catalog, job: Job<'_>) -> Result<Vec<Grouped>> {
    let mut all = Vec::new();
    for by in std::iter::once(GroupBy::List).chain(GroupBy::USUAL) {
        match found(catalog, &by, job) {
            Ok(found) if found.sizes.several > 0 => all.push(found),
            // It has no times, lists no groups, or its subfolders are all there is.
            Ok(_) | Err(Error::Data(DataError::Build(_))) => {}
            Err(error) => return Err(error.into()),
        }
    }
    Ok(all)
}

/// The ways beside each other.
pub fn side_by_side(ways: &[Grouped]) -> String {
    if ways.is_empty() {
        return "kept together: no way of grouping finds images that belong together".into();
    }
    let header =
        ["--group-by", "series", "largest", "validation before", "after", "test before", "after"];
    let mut table = table(&header);
    for way in ways {
        let splits =
            [&way.before.validation, &way.after.validation, &way.before.test, &way.after.test];
        let cells = splits.map(|split| share(split.all));
        let sizes = [way.sizes.series.to_string(), way.sizes.largest.to_string()];
        table.add_row([way.by.clone()].into_iter().chain(sizes).chain(cells));
    }
    format!(
        "images with a sibling in training, held out one by one (before) and in whole series (after):\n{}{}",
        render(&table),
        assumed(&ways[0])
    )
}

/// Each way with what it does for rare classes and others.
pub fn in_full(ways: &[Grouped]) -> String {
    ways.iter().map(one).collect::<Vec<_>>().join("\n\n")
}

fn one(way: &Grouped) -> String {
    let sizes = &way.sizes;
    let example = sizes.example.as_ref().map_or_else(String::new, |path| {
        format!(
            ", that of {}",
            path.chars().map(|c| if c.is_control() { '\u{fffd}' } else { c }).collect::<String>()
        )
    });
    let mut text = format!(
        "kept together by {}: {} series, the largest of {} images{example}; {} images belong to others\n",
        way.by, sizes.series, sizes.largest, sizes.together
    );
    let mut table = table(&["with a sibling in training", "few", "medium", "many", "all"]);
    let rows = [
        ("validation, one by one", &way.before.validation),
        ("validation, whole series", &way.after.validation),
        ("test, one by one", &way.before.test),
        ("test, whole series", &way.after.test),
    ];
    for (name, leak) in rows {
        if leak.all.images > 0 {
            table.add_row([name.to_string()].into_iter().chain(cells(leak)));
        }
    }
    text += &render(&table);
    text += &assumed(way);
    if !way.without_validation.is_empty() {
        text += &format!(
            "\nclasses in too few or too large series to give a validation image: {}",
            way.without_validation.join(", ")
        );
    }
    text
}

fn cells(leak: &SplitLeak) -> impl Iterator<Item = String> + '_ {
    [Group::Few, Group::Medium, Group::Many]
        .into_iter()
        .map(|group| of_images(leak.of(group)))
        .chain([of_images(leak.all)])
}

fn of_images(count: LeakCount) -> String {
    match count.share() {
        Some(_) => format!("{} of {} ({})", count.with_sibling, count.images, share(count)),
        None => "–".into(),
    }
}

fn share(count: LeakCount) -> String {
    count.share().map_or_else(|| "–".into(), |share| format!("{:.1} %", 100.0 * share))
}

fn assumed(way: &Grouped) -> String {
    way.assumed_validation.map_or_else(String::new, |share| {
        format!("\nthe source has no validation split: this is with --validation {share}")
    })
}
