//! The numbers of an epoch: one schema for events, `metrics.jsonl`, `metrics.csv` and charts.

use serde::{Deserialize, Serialize};

/// The numbers of one finished epoch; one line of a run's `metrics.jsonl`. Accuracies are in 0..1.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct EpochRecord {
    /// 1 for learning features, 2 for balancing the classifier.
    pub stage: u8,
    /// Epoch, from 1.
    pub epoch: usize,
    /// Epochs of this stage in all.
    pub epochs: usize,
    /// Learning rate of the epoch's last step.
    pub learning_rate: f64,
    /// Mean training loss over the epoch's samples.
    pub train_loss: f64,
    /// Share of training samples (as augmented) classified correctly during the epoch.
    pub train_accuracy: f64,
    /// Mean validation cross-entropy, if there is a validation split and it was evaluated this
    /// epoch.
    pub validation_loss: Option<f64>,
    /// Top-1 accuracy on validation.
    pub validation_top1: Option<f64>,
    /// Mean of per-class accuracies on validation.
    pub validation_balanced: Option<f64>,
    /// Accuracy of the many group on validation.
    pub validation_many: Option<f64>,
    /// Accuracy of the medium group on validation.
    pub validation_medium: Option<f64>,
    /// Accuracy of the few group on validation.
    pub validation_few: Option<f64>,
    /// Class weight norms ‖W_k‖₂ after the epoch, one a class.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub norms: Vec<f32>,
    /// Training throughput, without evaluation.
    pub images_per_s: f64,
    /// Wall time of the epoch in seconds, evaluation included.
    pub seconds: f64,
}

impl EpochRecord {
    /// Names and values as text, an empty one for what was not measured. The norms are left out: a
    /// cell of a table cannot hold a list.
    ///
    /// # Errors
    /// None in practice: numbers always become text.
    pub(crate) fn cells(&self) -> serde_json::Result<Vec<(String, String)>> {
        let serde_json::Value::Object(fields) = serde_json::to_value(self)? else {
            return Ok(Vec::new());
        };
        let text = |value: serde_json::Value| match value {
            serde_json::Value::Null => String::new(),
            value => value.to_string(),
        };
        let cells = fields.into_iter().filter(|(_, value)| !value.is_array());
        Ok(cells.map(|(name, value)| (name, text(value))).collect())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cells_hold_every_number_but_the_norms() {
        let record: EpochRecord = serde_json::from_str(
            r#"{"stage": 1, "epoch": 2, "epochs": 3, "learning_rate": 0.05, "train_loss": 1.25,
                "train_accuracy": 0.5, "validation_loss": null, "validation_top1": null,
                "validation_balanced": 0.25, "validation_many": null, "validation_medium": null,
                "validation_few": null, "norms": [1.0, 2.0], "images_per_s": 10.0, "seconds": 1.5}"#,
        )
        .unwrap();
        let cells = record.cells().unwrap();
        let names: Vec<&str> = cells.iter().map(|(name, _)| name.as_str()).collect();
        assert_eq!(
            names.join(","),
            "stage,epoch,epochs,learning_rate,train_loss,train_accuracy,validation_loss,\
             validation_top1,validation_balanced,validation_many,validation_medium,validation_few,\
             images_per_s,seconds"
        );
        let values: Vec<&str> = cells.iter().map(|(_, value)| value.as_str()).collect();
        assert_eq!(values.join(","), "1,2,3,0.05,1.25,0.5,,,0.25,,,,10.0,1.5");
    }
}
