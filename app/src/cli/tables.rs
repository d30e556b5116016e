//! Results as tables for people.

use anstyle::{AnsiColor, Style};
use comfy_table::{CellAlignment, LineStyle, Table, presets};
use counterweight_core::balance::{NormSpread, Tuning};
use counterweight_core::eval::{
    AS_TRAINED, Confidence, Evaluation, Grade, Group, PairedDifference, Threshold, Verdict,
    comparison, group_heading,
};
use counterweight_core::export::Calibration;
use counterweight_core::features::Usage;
use counterweight_core::pipeline::{BalanceReport, BundleReport, RunEvaluation, VariantReport};
use counterweight_core::run::SweepReport;

use super::plain::plain;
use crate::gui::widgets::{numbers, words};

/// The files of a bundle, and what each is for.
pub fn bundle(report: &BundleReport) -> String {
    let mut table = table(&["file", "size", "what it is for"]);
    if let Some(column) = table.column_mut(2) {
        column.set_cell_alignment(CellAlignment::Left);
    }
    for file in &report.files {
        table.add_row([file.name.clone(), numbers::bytes(file.bytes), file.purpose.to_string()]);
    }
    format!("{}\n{}", report.folder.display(), render(&table))
}

/// What other forms of a model cost; nothing if there are none.
pub fn variants(reports: &[VariantReport]) -> String {
    let Some(first) = reports.first() else { return String::new() };
    let mut table =
        table(&["form", "size", "same class", "many", "medium", "few", "class that loses most"]);
    if let Some(column) = table.column_mut(6) {
        column.set_cell_alignment(CellAlignment::Left);
    }
    for form in reports {
        let same = format!("{} of {}", form.same(), form.images());
        let of_group = |group| {
            let found = form.differences.iter().find(|found| found.group == Some(group));
            found.map_or(String::new(), |found| format!("{:+.1}", 100.0 * found.difference))
        };
        let [many, medium, few] = Group::ALL.map(of_group);
        let lost = form.worst();
        let lost = lost.map_or("none".into(), |change| {
            let [before, after] = change.correct;
            format!("{}: {before} → {after} of {}", change.class, change.images)
        });
        let (name, size) = (form.variant.name().to_string(), numbers::bytes(form.export.bytes));
        let name = if form.refused.is_some() { format!("{name} (refused)") } else { name };
        table.add_row([name, size, same, many, medium, few, lost]);
    }
    let learned = match first.has_learned() {
        true => {
            " (the classifier has learned from them: they say what a form changes, and not how good it is)"
        }
        false => "",
    };
    format!(
        "each beside the network, on {} {} images{learned}:\n{}\n",
        first.images(),
        first.split,
        render(&table)
    )
}

/// What the feature cache holds, one line a backbone, input and view.
pub fn cache(usage: &Usage) -> String {
    let mut table =
        table(&["backbone", "input", "view", "features", "images", "size", "last used"]);
    for space in &usage.spaces {
        table.add_row([
            space.label.clone(),
            format!("{side}×{side}", side = space.side),
            space.view.clone(),
            numbers::grouped(space.features as u64),
            numbers::grouped(space.rows),
            numbers::bytes(space.bytes),
            numbers::ago(space.last_used),
        ]);
    }
    render(&table)
}

/// Every value of a sweep with how its run did on validation, and which is the best.
pub fn sweep(report: &SweepReport) -> String {
    let leaf = report.key.rsplit('.').next().unwrap_or(&report.key);
    let mut table = table(&[leaf, "epochs", "balanced %", "many", "medium", "few", "norms"]);
    for (index, member) in report.members.iter().enumerate() {
        let mark = if report.best == Some(index) { " *" } else { "" };
        table.add_row([
            format!("{}{mark}", member.value),
            format!("{} of {}", member.finished_epochs, member.epochs),
            percent(member.score),
            percent(member.many),
            percent(member.medium),
            percent(member.few),
            member.norms.map_or_else(
                || "n/a".into(),
                |[min, mean, max]| format!("{mean:.2} ({min:.2} to {max:.2})"),
            ),
        ]);
    }
    let best = match report.best() {
        Some(best) => format!(
            "best: {} = {} (*), balanced accuracy {} % on {} validation images{}",
            report.key,
            best.value,
            percent(best.score),
            report.validation_images,
            if report.is_alike() {
                "; all did equally well, so these images do not tell them apart"
            } else if report.is_tied() {
                "; what it was is as good as the highest within the standard error"
            } else {
                ""
            }
        ),
        None => "none of them could be trained to its end".into(),
    };
    let held_out = match report.held_out {
        true => {
            "\nEvery tenth training image of each class, and one of each small class, was held out to compare by, since there were no validation images."
        }
        false => "",
    };
    format!("{}\n\n{best}{held_out}", render(&table))
}

/// Accuracies with one decimal, as every table of the field has them.
pub fn percent(value: Option<f64>) -> String {
    value.map_or_else(|| "n/a".into(), |value| format!("{:.1}", 100.0 * value))
}

/// An empty table under a ruled header: names to the left, numbers to the right.
pub fn table(header: &[&str]) -> Table {
    let mut table = Table::new();
    table
        .load_style(presets::NOTHING.header_separator(LineStyle::none().fill('─').junction('─')))
        .set_header(header);
    for column in table.column_iter_mut().skip(1) {
        column.set_cell_alignment(CellAlignment::Right);
    }
    table
}

/// The table as text, without the blanks comfy-table puts before and after every line.
pub fn render(table: &Table) -> String {
    let trimmed = |line: String| {
        plain(line.strip_prefix([' ', '─']).unwrap_or(&line).trim_end()).into_owned()
    };
    table.lines().map(trimmed).collect::<Vec<_>>().join("\n")
}

/// What was evaluated, and its numbers; with what is said of the probabilities of its file, if that is
/// known.
pub fn evaluation(result: &RunEvaluation, calibration: Option<&Calibration>) -> String {
    let e = result.judged();
    let probabilities = match calibration {
        Some(calibration) => format!("once exported, {}\n", calibrated(calibration)),
        None => result.confidence.as_ref().map(believed).unwrap_or_default(),
    };
    format!(
        "{}\n\n{}\n{}{}{}",
        what(result),
        numbers_of(e),
        thirds(e).map(|thirds| format!("{thirds}\n")).unwrap_or_default(),
        probabilities,
        and_verdict(result.verdict.as_ref())
    )
}

/// The numbers of an evaluation, and its worst class.
pub fn numbers_of(e: &Evaluation) -> String {
    let sizes = &e.group_sizes;
    let mut table = table(&["accuracy", "%"]);
    // Of five classes every one is among the first five.
    let top5 = (e.per_class.len() > 5).then(|| ("top-5".to_string(), Some(e.top5)));
    let first = [
        ("balanced accuracy".to_string(), Some(e.balanced_accuracy)),
        ("top-1".to_string(), Some(e.top1)),
        (AS_TRAINED.to_string(), Some(e.accuracy_as_trained())),
    ];
    let rest = [
        (group_heading(Group::Many, sizes.many), e.groups.many),
        (group_heading(Group::Medium, sizes.medium), e.groups.medium),
        (group_heading(Group::Few, sizes.few), e.groups.few),
        ("macro-F1".to_string(), Some(e.macro_f1)),
        ("expected calibration error".to_string(), Some(e.ece)),
    ];
    for (name, value) in first.into_iter().chain(top5).chain(rest) {
        table.add_row([name, percent(value)]);
    }
    let worst = &e.worst_class;
    format!(
        "{}\n\nworst class: {} ({} %)",
        render(&table),
        worst.name,
        percent(Some(worst.accuracy))
    )
}

/// How far a file's probabilities can be believed.
pub fn calibrated(found: &Calibration) -> String {
    let unsure =
        found.threshold.map_or_else(String::new, |threshold| format!("\n{}", unsure(&threshold)));
    format!("{}{unsure}", words::uncapitalised(found.sentence().trim_end_matches('.')))
}

/// From which probability on to believe an answer.
fn believed(confidence: &Confidence) -> String {
    let threshold = match confidence.reliable() {
        // As an exported file has them.
        Some(calibrated) => calibrated.threshold,
        None => confidence.threshold,
    };
    threshold.map_or_else(String::new, |threshold| format!("{}\n", unsure(&threshold)))
}

/// From which probability of an exported file on to believe an answer.
pub fn unsure(threshold: &Threshold) -> String {
    format!(
        "answers below {} are better called unsure (predict --threshold): {} % of these images keep an answer, and {} % of those are right instead of {} %, of rare classes perhaps fewer",
        threshold.shown(),
        percent(Some(threshold.answered)),
        percent(Some(threshold.accuracy)),
        percent(Some(threshold.accuracy_of_all))
    )
}

/// What the first of two classifiers loses or gains to the second on the same images.
pub fn differences(differences: &[PairedDifference]) -> String {
    let mut table = table(&[
        "",
        "images",
        "file",
        "run",
        "difference",
        "95 %",
        "only file right",
        "only run right",
        "p",
    ]);
    for difference in differences {
        let points = |value: f64| format!("{:+.1}", 100.0 * value);
        let [file, run] = difference.accuracies().map(|accuracy| percent(Some(accuracy)));
        table.add_row([
            difference
                .group
                .map_or("all images".to_string(), |group| format!("of {} classes", group.name())),
            numbers::grouped(difference.samples as u64),
            file,
            run,
            points(difference.difference),
            difference.interval.map(points).join(" to "),
            numbers::grouped(difference.only_first as u64),
            numbers::grouped(difference.only_second as u64),
            match difference.p_value {
                p if p < 0.001 => "< 0.001".into(),
                p => format!("{p:.3}"),
            },
        ]);
    }
    format!(
        "shares of images that are right, each image counted alike: the run's less the file's, in points (McNemar's test)\n{}",
        render(&table)
    )
}

fn what(result: &RunEvaluation) -> String {
    let flips = if result.flip { ", averaged with the mirror images" } else { "" };
    let balancers = if result.balancers.is_empty() {
        String::new()
    } else {
        format!(", balanced by {}", result.balancers.join(" + "))
    };
    format!(
        "checkpoint {} (epoch {}, chosen by {}{balancers}) on {} {} images{flips}",
        result.checkpoint,
        result.epoch,
        result.chosen_by,
        result.judged().samples,
        result.split
    )
}

/// Where all classes are in one group, the thresholds that would make three.
fn thirds(evaluation: &Evaluation) -> Option<String> {
    let offered = evaluation.suggested_thresholds?;
    Some(format!(
        "every class is in one group; for thirds by count use --set evaluation.many_above={} --set evaluation.few_below={}",
        offered.many_above, offered.few_below
    ))
}

/// What a result is worth, what else was found, and what to try.
pub fn verdict(verdict: &Verdict) -> String {
    let color = match verdict.grade {
        Grade::Worthless => AnsiColor::Red,
        Grade::Doubtful => AnsiColor::Yellow,
        Grade::Usable => AnsiColor::Green,
    };
    let style = Style::new().bold().fg_color(Some(color.into()));
    let mut text =
        format!("{style}verdict: {}{style:#}\n{}\n", verdict.grade.name(), verdict.sentence);
    for finding in verdict.others() {
        text += &format!("- {}\n", finding.sentence);
    }
    text += &format!("what to try: {}\n", verdict.advice);
    if !verdict.command.is_empty() {
        text += &format!("on the command line: {}\n", verdict.command);
    }
    text
}

/// The same after a table, where there is one: results of older versions have none.
pub fn and_verdict(found: Option<&Verdict>) -> String {
    found.map(|found| format!("\n{}", verdict(found))).unwrap_or_default()
}

/// Per-class accuracy with counts, the 95 % interval and how often a class is right where it is said,
/// largest class first.
pub fn per_class(evaluation: &Evaluation) -> String {
    let mut table = table(&[
        "class",
        "training images",
        "group",
        "accuracy %",
        "95 % interval",
        "images",
        "precision %",
    ]);
    let mut classes: Vec<_> =
        evaluation.per_class.iter().zip(evaluation.precision_as_trained()).collect();
    classes.sort_by_key(|(class, _)| std::cmp::Reverse(class.train_count));
    for (class, precision) in classes {
        let interval = class.interval.map_or_else(
            || "n/a".into(),
            |[low, high]| format!("{:.1} to {:.1}", 100.0 * low, 100.0 * high),
        );
        table.add_row([
            class.name.clone(),
            class.train_count.to_string(),
            class.group.name().to_string(),
            percent(class.accuracy),
            interval,
            class.samples.to_string(),
            percent(precision),
        ]);
    }
    let note = "precision: of the images that are taken for a class, those that are of it, with classes as frequent as in training";
    format!("{}\n\n{note}", render(&table))
}

/// Before and after balancing, side by side.
pub fn balance(report: &BalanceReport) -> String {
    let mut table = table(&["", "before", "after", "change"]);
    for row in comparison(report.before.judged(), report.after.judged()) {
        table.add_row(row.cells());
    }
    let (before, after) =
        (NormSpread::of(&report.norms_before), NormSpread::of(&report.norms_after));
    let spread = |norms: NormSpread| format!("{:.3} to {:.3}", norms.min, norms.max);
    table.add_row(["class weight norms".into(), spread(before), spread(after), String::new()]);
    let largest_over_smallest = |norms: NormSpread| format!("{:.2}", norms.max / norms.min);
    table.add_row([
        "largest norm over smallest".into(),
        largest_over_smallest(before),
        largest_over_smallest(after),
        String::new(),
    ]);
    let mut text = format!("{}\n\n{}\n\n", what(&report.after), render(&table));
    if let Some(radius) = &report.radius {
        text += &format!(
            "MaxNorm radius {:.4}: {} of {} class weights were projected onto it\n",
            radius.radius,
            radius.touched,
            report.norms_after.len()
        );
    }
    text += &thirds(report.after.judged()).map(|thirds| format!("{thirds}\n")).unwrap_or_default();
    format!("{}\n{}", text.trim_end(), and_verdict(report.after.verdict.as_ref()))
}

/// What was chosen and why, and the best of what was tried.
pub fn tuning(tuning: &Tuning) -> String {
    const SHOWN: usize = 10;
    let mut table = table(&["validation, %", "balanced", "many", "medium", "few"]);
    for candidate in tuning.candidates.iter().take(SHOWN) {
        let groups = &candidate.groups;
        let scores = [Some(candidate.balanced_accuracy), groups.many, groups.medium, groups.few]
            .map(percent);
        table.add_row(std::iter::once(candidate.summary.clone()).chain(scores));
    }
    let hidden = tuning.candidates.len().saturating_sub(SHOWN);
    let more = if hidden > 0 {
        format!("… and {hidden} more in results/tune.json\n")
    } else {
        String::new()
    };
    format!(
        "{}\n{more}\n{}\n{}",
        render(&table),
        tuning.reason,
        and_verdict(tuning.verdict.as_ref())
    )
}
