//! The model card: what a model is, how good it is, and how to run it.

use std::fmt::Write;

use crate::eval::{ClassResult, Evaluation, Group, TELLING, group_heading};
use crate::export::{Calibration, ExportReport, Variant};
use crate::images::InputShape;
use crate::infer::OnnxClassifier;
use crate::run::Run;
use crate::settings::{ImageFit, Training};
use crate::source::Split;

use super::super::balance::BalanceReport;
use super::super::evaluate::RunEvaluation;
use super::super::export_variant::VariantReport;
use super::{MODEL, PURPOSES};

/// Classes that are listed one by one; of more only the worst are.
const LISTED: usize = 200;
/// Images from which on a calibration error is told.
const ENOUGH_FOR_BINS: usize = 500;
/// The worst classes that are listed where not all are.
const WORST: usize = 50;

/// What the card is written from.
pub(super) struct Facts<'a> {
    pub run: &'a Run,
    pub checkpoint: &'a str,
    pub evaluation: Option<&'a RunEvaluation>,
    pub export: &'a ExportReport,
    pub variants: &'a [VariantReport],
    pub classifier: &'a OnnxClassifier,
    /// How many reference images there are.
    pub references: usize,
}

/// The card, in Markdown.
pub(super) fn write(facts: &Facts<'_>) -> String {
    let mut text = String::new();
    // Writing to a string does not fail.
    let _ = head(&mut text, facts)
        .and_then(|()| worth(&mut text, facts))
        .and_then(|()| how_to_run(&mut text, facts))
        .and_then(|()| other_forms(&mut text, facts))
        .and_then(|()| how_it_was_made(&mut text, facts));
    text
}

fn head(text: &mut String, facts: &Facts<'_>) -> std::fmt::Result {
    let Facts { run, classifier, .. } = facts;
    let said = classifier.metadata();
    let classes = classifier.classes();
    writeln!(text, "# Image classifier of {} classes\n", classes.len())?;
    writeln!(
        text,
        "`model.onnx` takes images of {side} × {side} pixels and gives a probability for each of {} classes. It was made by {} \
         on {}, for data in which some classes are much rarer than others.\n",
        classes.len(),
        said.get("version").map_or("Counterweight", String::as_str),
        said.get("date").map_or("a day that is not known", String::as_str),
        side = classifier.input_size(),
    )?;
    let names: Vec<String> = classes.iter().take(LISTED).map(|class| plain(class)).collect();
    let more = match classes.len() - names.len() {
        0 => String::new(),
        more => format!(", and {more} more in `labels.txt`"),
    };
    writeln!(text, "Classes: {}{more}.\n", names.join(", "))?;
    let licence = said.get("backbone_licence").map(String::as_str);
    if let Some(licence) = licence {
        writeln!(
            text,
            "The backbone, {}, began from pretrained weights (licence: {licence}). What else applies to the model follows from the images it was trained on.\n",
            run.settings().model.backbone.name()
        )?;
    }
    Ok(())
}

fn worth(text: &mut String, facts: &Facts<'_>) -> std::fmt::Result {
    writeln!(text, "## How good it is\n")?;
    if let Some(verdict) = &facts.export.verdict {
        writeln!(text, "{} {}\n", plain(&verdict.sentence), plain(&verdict.advice))?;
        for finding in verdict.others() {
            writeln!(text, "- {}", plain(&finding.sentence))?;
        }
        writeln!(text)?;
    }
    let Some(found) = facts.evaluation else {
        return writeln!(text, "This checkpoint was never evaluated.\n");
    };
    // As the verdict: what training has, too, is no test.
    let evaluation = found.judged();
    writeln!(
        text,
        "On {} {} images that it was not trained on:\n\n| | accuracy |\n| --- | ---: |",
        evaluation.samples, found.split
    )?;
    let sizes = &evaluation.group_sizes;
    let thresholds = evaluation.thresholds;
    for (name, accuracy) in [
        ("mean over classes (balanced)".to_string(), Some(evaluation.balanced_accuracy)),
        ("of all images".to_string(), Some(evaluation.top1)),
        (
            "of all, with classes as frequent as in training".to_string(),
            Some(evaluation.accuracy_as_trained()),
        ),
        (group_heading(Group::Many, sizes.many), evaluation.groups.many),
        (group_heading(Group::Medium, sizes.medium), evaluation.groups.medium),
        (group_heading(Group::Few, sizes.few), evaluation.groups.few),
    ] {
        if let Some(accuracy) = accuracy {
            writeln!(text, "| {name} | {} |", percent(accuracy))?;
        }
    }
    writeln!(
        text,
        "\nMany: more than {} training images; few: fewer than {}.\n",
        thresholds.many_above, thresholds.few_below
    )?;
    if let Some(refit) = facts.export.refit {
        let unseen = match refit.includes(found.split) {
            true => "; no image is left to measure that on",
            false => ", but not from these",
        };
        writeln!(
            text,
            "These are the numbers of a classifier that had not seen these images. The one in this folder then learned in the same way from {} images, \
             {} that had been held out among them{unseen}.\n",
            refit.images, refit.held_out
        )?;
    }
    if let Some(calibration) = &facts.export.calibration {
        believed(text, calibration, found.split)?;
    }
    limits(text, evaluation)?;
    classes(text, evaluation)
}

/// How far its probabilities can be believed.
fn believed(text: &mut String, found: &Calibration, reported_on: Split) -> std::fmt::Result {
    let flattered = match found.split == Some(reported_on) {
        true => " They are the images of the table above, and flatter it.",
        false => "",
    };
    // Of few images it is mostly chance.
    let error = match found.images >= ENOUGH_FOR_BINS {
        true => format!(" Calibration error there: {}.", percent(found.error[1])),
        false => String::new(),
    };
    writeln!(text, "{} Of rare classes fewer may be.{error}{flattered}\n", found.sentence())?;
    if let Some(threshold) = found.threshold {
        writeln!(
            text,
            "Where its best probability is below {}, it is better to say \"not sure\": {} of those images then keep an answer, \
             and {} of the answers are right, instead of {}.\n",
            threshold.shown(),
            percent(threshold.answered),
            percent(threshold.accuracy),
            percent(threshold.accuracy_of_all)
        )?;
    }
    Ok(())
}

fn limits(text: &mut String, evaluation: &Evaluation) -> std::fmt::Result {
    let never: Vec<String> = evaluation
        .per_class
        .iter()
        .filter(|class| class.samples >= TELLING && class.correct == 0)
        .map(|class| plain(&class.name))
        .collect();
    let few: Vec<String> = evaluation
        .per_class
        .iter()
        .filter(|class| (1..TELLING).contains(&class.samples))
        .map(|class| plain(&class.name))
        .collect();
    let unseen = evaluation.per_class.iter().filter(|class| class.samples == 0).count();
    writeln!(text, "### Known limits\n")?;
    if !never.is_empty() {
        let listed: Vec<&str> = never.iter().take(WORST).map(String::as_str).collect();
        writeln!(text, "- Not one image was recognised of: {}.", listed.join(", "))?;
    }
    if !few.is_empty() {
        let listed: Vec<&str> = few.iter().take(WORST).map(String::as_str).collect();
        let more = if few.len() > WORST { ", …" } else { "" };
        writeln!(
            text,
            "- Too few images to tell whether they are recognised: fewer than {TELLING} of each of {}{more}.",
            listed.join(", ")
        )?;
    }
    if unseen > 0 {
        writeln!(text, "- {unseen} classes had no image to evaluate on.")?;
    }
    writeln!(
        text,
        "- It gives one of its classes for every image, also for what is none of them.\n\
         - Images unlike those it was trained on (another camera, season, place) may be recognised less well than the table says.\n"
    )
}

fn classes(text: &mut String, evaluation: &Evaluation) -> std::fmt::Result {
    let mut rows: Vec<(&ClassResult, Option<f64>)> =
        evaluation.per_class.iter().zip(evaluation.precision_as_trained()).collect();
    writeln!(text, "### By class\n")?;
    if rows.len() > LISTED {
        rows.retain(|(class, _)| class.accuracy.is_some());
        rows.sort_by(|(a, _), (b, _)| {
            a.accuracy.unwrap_or_default().total_cmp(&b.accuracy.unwrap_or_default())
        });
        rows.truncate(WORST);
        writeln!(
            text,
            "The {} least well recognised of {}; all are in the model's metadata (`evaluation`).\n",
            rows.len(),
            evaluation.per_class.len()
        )?;
    }
    writeln!(
        text,
        "Precision is of the images that are taken for a class, with classes as frequent as in training.\n\n\
         | class | training images | group | accuracy | 95 % interval | images | precision |\n| --- | ---: | --- | ---: | --- | ---: | ---: |"
    )?;
    for (class, precision) in rows {
        let interval = class
            .interval
            .map_or(String::new(), |[low, high]| format!("{} to {}", percent(low), percent(high)));
        writeln!(
            text,
            "| {} | {} | {} | {} | {interval} | {} | {} |",
            plain(&class.name),
            class.train_count,
            class.group,
            class.accuracy.map_or("–".into(), percent),
            class.samples,
            precision.map_or("–".into(), percent)
        )?;
    }
    writeln!(text)
}

fn how_to_run(text: &mut String, facts: &Facts<'_>) -> std::fmt::Result {
    let InputShape { side, fit } = facts.classifier.input_shape();
    let cut = match fit {
        ImageFit::Crop => "cut out the largest centred square;",
        ImageFit::Stretch => "take all of it, whatever its shape, and",
    };
    writeln!(
        text,
        "## How to run it\n\n\
         Input `images`: float32 `[batch, 3, {side}, {side}]`, RGB in 0..1. **Mean and standard deviation are applied inside the model: do not normalise a second time.** \
         Outputs: `probabilities` and `logits`, `[batch, {}]`.\n\n\
         To prepare an image: apply its EXIF orientation; convert to RGB, dropping alpha and scaling 16-bit values by round(v / 257); {cut} \
         resize it to {side} × {side} by an antialiased triangle filter (Pillow's `BILINEAR`), first vertically, then horizontally, rounding to bytes after each; divide by 255. The metadata key `preprocess` says the same to programs.\n\n\
         `python check.py` runs the {} images in `reference/` and compares the answers with those expected. They are small copies that hold nothing of camera, place or time.\n",
        facts.classifier.classes().len(),
        facts.references,
    )?;
    writeln!(text, "| file | what it is for |\n| --- | --- |")?;
    writeln!(text, "| `{MODEL}` | {} |", Variant::Float32.purpose())?;
    for (name, purpose) in &PURPOSES {
        writeln!(text, "| `{name}` | {purpose} |")?;
    }
    writeln!(text)
}

/// The other forms that are there, and those that lost too much.
fn other_forms(text: &mut String, facts: &Facts<'_>) -> std::fmt::Result {
    let (kept, refused): (Vec<_>, Vec<_>) =
        facts.variants.iter().partition(|form| form.refused.is_none());
    let Some(first) = facts.variants.first() else { return Ok(()) };
    let learned = match first.has_learned() {
        true => {
            ", from which the classifier has learned: they say what a form changes, and not how good it is"
        }
        false => "",
    };
    writeln!(
        text,
        "### Other forms\n\nEach was run beside the network on {} {} images{learned}. `preprocess` in a file's metadata says what it takes.\n\n\
         | file | what it is for | size | same class as the network | class that loses most |\n| --- | --- | ---: | ---: | --- |",
        first.images(),
        first.split
    )?;
    for form in kept {
        let lost = form.worst();
        let lost = lost.map_or("none".into(), |change| {
            let [before, after] = change.correct;
            format!("{}: {before} and then {after} of {}", plain(&change.class), change.images)
        });
        writeln!(
            text,
            "| `{}` | {} | {:.1} MB | {} of {} | {lost} |",
            form.variant.file_name(),
            form.variant.purpose(),
            form.export.bytes as f64 / 1e6,
            form.same(),
            form.images(),
        )?;
    }
    writeln!(text)?;
    for form in refused {
        let reason = form.refused.as_deref().unwrap_or_default();
        writeln!(text, "- There is no {}: {}.", form.variant.name(), plain(reason))?;
    }
    writeln!(text)
}

fn how_it_was_made(text: &mut String, facts: &Facts<'_>) -> std::fmt::Result {
    let run = facts.run;
    let settings = run.settings();
    let dataset = run.dataset();
    let counts = dataset.counts(Split::Train);
    let total: usize = counts.iter().sum();
    writeln!(text, "## How it was made\n")?;
    writeln!(
        text,
        "- {total} training images, {} validation, {} test; {} in the largest class and {} in the smallest{}.",
        dataset.split(Split::Validation).len(),
        dataset.split(Split::Test).len(),
        counts.iter().max().unwrap_or(&0),
        counts.iter().min().unwrap_or(&0),
        dataset
            .imbalance_factor()
            .map_or(String::new(), |factor| format!(" (imbalance factor {factor:.0})")),
    )?;
    if let Some(hash) = facts.classifier.metadata().get("dataset_blake3") {
        writeln!(text, "- Dataset (BLAKE3): `{hash}`.")?;
    }
    let how = match settings.stage1.train.value() {
        Some(Training::Classifier) => {
            "stays as it was pretrained; the classifier was trained on its features"
        }
        Some(Training::All) => "was fine-tuned, all of it",
        _ => "was trained",
    };
    writeln!(
        text,
        "- Stage 1: the backbone, {}, {how}, by cross-entropy with weight decay; preset `{}`, seed {}.",
        settings.model.backbone.name(),
        settings.preset.name(),
        settings.seed
    )?;
    writeln!(
        text,
        "\n![How many training images each class has](class-distribution.svg)\n\n![Norms of the class weights](class-weight-norms.svg)\n"
    )?;
    if facts.checkpoint == "balanced"
        && let Ok(report) = run.read_result::<BalanceReport>("balance")
    {
        let spread = |norms: &[f32]| {
            let low = norms.iter().copied().fold(f32::INFINITY, f32::min);
            let high = norms.iter().copied().fold(0.0, f32::max);
            format!("{low:.3} to {high:.3}")
        };
        writeln!(
            text,
            "- Stage 2: balanced by {}. Norms of the class weights {} before, {} after. Balanced accuracy {} before, {} after.",
            report.after.balancers.join(" + "),
            spread(&report.norms_before),
            spread(&report.norms_after),
            percent(report.before.judged().balanced_accuracy),
            percent(report.after.judged().balanced_accuracy),
        )?;
    } else {
        writeln!(text, "- Not balanced (checkpoint `{}`).", facts.checkpoint)?;
    }
    writeln!(
        text,
        "- The file was checked against the network it was made of on {} images: largest difference of logits {:.1e}.\n\
         - Method: weight balancing (Alshammari et al., *Long-Tailed Recognition via Weight Balancing*, CVPR 2022).",
        facts.export.images, facts.export.max_abs_diff
    )
}

fn percent(value: f64) -> String {
    format!("{:.1} %", 100.0 * value)
}

/// Text that Markdown shows as it is.
fn plain(text: &str) -> String {
    let mut plain = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '\\' | '`' | '*' | '_' | '[' | ']' | '<' | '>' | '|' | '#' => {
                plain.push('\\');
                plain.push(c);
            }
            c if c.is_control() => plain.push(' '),
            c => plain.push(c),
        }
    }
    plain
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_cannot_break_the_table() {
        assert_eq!(plain("a|b\n*c*<d>"), "a\\|b \\*c\\*\\<d\\>");
    }
}
