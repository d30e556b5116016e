//! Results before and after balancing, side by side.

use super::evaluation::Evaluation;
use super::groups::Group;

/// One row of a before/after table.
#[derive(Clone, Debug, PartialEq)]
pub struct ComparisonRow {
    /// What is compared.
    pub metric: String,
    /// Its value before.
    pub before: Option<f64>,
    /// Its value after.
    pub after: Option<f64>,
    /// Whether the values are shares in 0..1, to be shown in percent.
    pub percent: bool,
}

impl ComparisonRow {
    /// The row as text: metric, before, after, change. Shares are in percent with one decimal,
    /// other numbers have three; what does not exist is `n/a`, and has no change.
    pub fn cells(&self) -> [String; 4] {
        let show = |value: Option<f64>| match value {
            None => "n/a".to_string(),
            Some(value) if self.percent => format!("{:.1}", 100.0 * value),
            Some(value) => format!("{value:.3}"),
        };
        let change = match (self.before, self.after) {
            (Some(before), Some(after)) if self.percent => {
                format!("{:+.1}", 100.0 * (after - before))
            }
            (Some(before), Some(after)) => format!("{:+.3}", after - before),
            _ => String::new(),
        };
        [self.metric.clone(), show(self.before), show(self.after), change]
    }
}

/// A group with its number of classes, as tables head it: `many (1 class)`.
pub fn group_heading(group: Group, classes: usize) -> String {
    format!("{} ({classes} {})", group.name(), if classes == 1 { "class" } else { "classes" })
}

/// How tables head [`Evaluation::accuracy_as_trained`].
pub const AS_TRAINED: &str = "top-1 at training frequencies";

const TOP5: &str = "top-5";

/// The rows of a table of results before and after balancing: accuracies in the groups first, then
/// the rest.
///
/// ```
/// use counterweight_core::eval::{GroupThresholds, comparison, evaluate};
/// let names = ["cat".to_string(), "lynx".to_string()];
/// let before = evaluate(&[1.0, 0.0, 1.0, 0.0], &[0, 1], &names, &[500, 8], GroupThresholds::default()).unwrap();
/// let after = evaluate(&[1.0, 0.0, 0.0, 1.0], &[0, 1], &names, &[500, 8], GroupThresholds::default()).unwrap();
/// let rows = comparison(&before, &after);
/// let few = rows.iter().find(|row| row.metric.starts_with("few")).unwrap();
/// assert_eq!(few.cells(), ["few (1 class)", "0.0", "100.0", "+100.0"]);
/// ```
pub fn comparison(before: &Evaluation, after: &Evaluation) -> Vec<ComparisonRow> {
    let row = |metric: String, of: &dyn Fn(&Evaluation) -> Option<f64>, percent| ComparisonRow {
        metric,
        before: of(before),
        after: of(after),
        percent,
    };
    let sizes = after.group_sizes;
    let rows = vec![
        row(group_heading(Group::Many, sizes.many), &|e| e.groups.many, true),
        row(group_heading(Group::Medium, sizes.medium), &|e| e.groups.medium, true),
        row(group_heading(Group::Few, sizes.few), &|e| e.groups.few, true),
        row("balanced accuracy".into(), &|e| Some(e.balanced_accuracy), true),
        row("top-1".into(), &|e| Some(e.top1), true),
        row(AS_TRAINED.into(), &|e| Some(e.accuracy_as_trained()), true),
        row(TOP5.into(), &|e| Some(e.top5), true),
        row("macro-F1".into(), &|e| Some(e.macro_f1), true),
        row("worst class".into(), &|e| Some(e.worst_class.accuracy), true),
        row("calibration error".into(), &|e| Some(e.ece), true),
        row("cross-entropy".into(), &|e| Some(e.loss), false),
    ];
    // Of five classes every one is among the first five.
    let tells = |row: &ComparisonRow| row.metric != TOP5 || after.per_class.len() > 5;
    rows.into_iter().filter(tells).collect()
}
