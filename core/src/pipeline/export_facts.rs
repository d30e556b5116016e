//! What an exported file says of the run it comes out of.

use std::time::{SystemTime, UNIX_EPOCH};

use serde_json::{Value, json};

use super::evaluate::RunEvaluation;
use super::train::WEIGHTS;
use crate::eval::{ClassResult, Verdict};
use crate::export::Calibration;
use crate::model::Facts;
use crate::run::{Checkpoint, Run};
use crate::settings::Training;

/// What the file says, by key of its metadata.
pub(super) fn says(
    run: &Run,
    checkpoint: &Checkpoint,
    name: &str,
    evaluation: Option<&RunEvaluation>,
    verdict: Option<&Verdict>,
) -> Vec<(&'static str, Value)> {
    vec![
        ("summary", summary(run, checkpoint, name, evaluation, verdict)),
        ("evaluation", evaluation.map_or(Value::Null, evaluated)),
        ("date", trained_on(run, name).map_or(Value::Null, Value::from)),
        ("version", concat!("counterweight ", env!("CARGO_PKG_VERSION")).into()),
        ("dataset_blake3", hash(&run.dataset().provenance.source_hash)),
        ("dataset_grown_of_blake3", hash(&run.dataset().provenance.grown_of)),
        ("backbone_licence", backbone_licence(run)),
    ]
}

/// How it was trained, in short.
fn summary(
    run: &Run,
    checkpoint: &Checkpoint,
    name: &str,
    evaluation: Option<&RunEvaluation>,
    verdict: Option<&Verdict>,
) -> Value {
    let settings = run.settings();
    json!({
        "program": concat!("counterweight ", env!("CARGO_PKG_VERSION")),
        "method": "weight balancing (Alshammari et al., CVPR 2022)",
        "backbone": settings.model.backbone.name(),
        "preset": settings.preset.name(),
        "seed": checkpoint.seed,
        "checkpoint": name,
        "epochs": checkpoint.progress.epoch,
        "balancers": checkpoint.balancers,
        "train_counts": checkpoint.train_counts,
        "flip": evaluation.map(|e| e.flip),
        "evaluated_on": evaluation.map(|e| e.split.name()),
        "balanced_accuracy": evaluation.map(|e| e.judged().balanced_accuracy),
        "groups": evaluation.map(|e| &e.judged().groups),
        "verdict": verdict.map(|v| json!({ "grade": v.grade, "sentence": v.sentence, "judged_on": v.split.name() })),
    })
}

/// Adds to what is said of how good it is how far to believe its probabilities.
pub(super) fn calibrated(says: &mut [(&'static str, Value)], found: &Calibration) {
    let evaluation = says.iter_mut().find(|(key, _)| *key == "evaluation");
    let Some((_, said)) = evaluation else { return };
    if said.is_null() {
        *said = json!({});
    }
    // What logits are divided by is inside already: nobody is to do it a second time.
    said["temperature"] = 1.0.into();
    said["calibration_error"] = found.error[1].into();
    said["calibration_error_without_temperature"] = found.error[0].into();
    said["threshold"] = json!(found.threshold);
    said["confidence_split"] = found.split.map_or("held out in turn", |split| split.name()).into();
}

/// How good it is: in all, by group and by class.
fn evaluated(found: &RunEvaluation) -> Value {
    let evaluation = found.judged();
    let class = |class: &ClassResult| {
        json!({
            "name": class.name,
            "train_images": class.train_count,
            "group": class.group,
            "images": class.samples,
            "correct": class.correct,
            "accuracy": class.accuracy,
            "interval_95": class.interval,
        })
    };
    json!({
        "split": found.split.name(),
        "images": evaluation.samples,
        "balanced_accuracy": evaluation.balanced_accuracy,
        "accuracy": evaluation.top1,
        "groups": evaluation.groups,
        "classes": evaluation.per_class.iter().map(class).collect::<Vec<_>>(),
    })
}

/// The day on which the checkpoint was written.
fn trained_on(run: &Run, checkpoint: &str) -> Option<String> {
    let written: SystemTime =
        std::fs::metadata(run.checkpoint_path(checkpoint)).ok()?.modified().ok()?;
    Some(date(written))
}

fn hash(known: &str) -> Value {
    if known.is_empty() { Value::Null } else { known.into() }
}

/// The licence of pretrained weights, where the run started from some of a built-in backbone.
fn backbone_licence(run: &Run) -> Value {
    // What they were when the run was made; runs of earlier versions have what is here now.
    if let Ok(facts) = run.read_result::<Facts>(WEIGHTS) {
        return facts.licence_words().into();
    }
    let settings = run.settings();
    let backbone = match settings.stage1.train.value() {
        Some(Training::Scratch) => None,
        _ => settings.model.backbone.named(),
    };
    match backbone.map(|backbone| backbone.pretrained()) {
        Some(Ok(weights)) => weights.facts.licence_words().into(),
        _ => Value::Null,
    }
}

/// The day of a moment in the calendar, in coordinated universal time: `2026-11-28`.
fn date(moment: SystemTime) -> String {
    const DAY: u64 = 24 * 60 * 60;
    let days = moment.duration_since(UNIX_EPOCH).unwrap_or_default().as_secs() / DAY;
    // Counted from 1 March of the year 0 the leap day ends a year, and 400 years repeat.
    let days = days + 719_468;
    let (era, day) = (days / 146_097, days % 146_097);
    let year = (day - day / 1460 + day / 36_524 - day / 146_096) / 365;
    let day = day - (365 * year + year / 4 - year / 100);
    let month = (5 * day + 2) / 153;
    let day = day - (153 * month + 2) / 5 + 1;
    let month = if month < 10 { month + 3 } else { month - 9 };
    format!("{:04}-{month:02}-{day:02}", 400 * era + year + u64::from(month <= 2))
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn a_moment_is_on_its_day() {
        for (seconds, day) in [
            (0, "1970-01-01"),
            (86_399, "1970-01-01"),
            (951_782_400, "2000-02-29"),
            (951_868_800, "2000-03-01"),
            (1_735_689_599, "2024-12-31"),
            (4_107_542_400, "2100-03-01"),
        ] {
            assert_eq!(date(UNIX_EPOCH + Duration::from_secs(seconds)), day);
        }
    }
}
