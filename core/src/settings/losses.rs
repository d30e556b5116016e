//! The losses of stage 2, in one table: what each is called, what it does, and which parameters it
//! takes. Settings, the window and tuning read it; [`crate::balance::Loss`] computes them.

use serde::{Deserialize, Serialize};

/// The loss the classifier is trained with in stage 2.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum ClassifierLoss {
    /// Plain cross-entropy.
    CrossEntropy,
    /// Cross-entropy weighted by the class-balanced w_y (Cui et al., 2019).
    ClassBalanced,
    /// The authors' "class-balanced softmax": w_y · binary cross-entropy between softmax
    /// probabilities and the one-hot label, averaged over batch × classes.
    ClassBalancedBce,
    /// Balanced softmax (Ren et al., 2020): cross-entropy of logits + log n_k.
    BalancedSoftmax,
    /// Logit-adjusted cross-entropy (Menon et al., 2021): cross-entropy of logits + τ log π_k.
    LogitAdjusted,
}

/// What is known of a loss.
#[derive(Clone, Copy, Debug)]
pub struct LossInfo {
    /// The loss.
    pub loss: ClassifierLoss,
    /// Its name in settings.
    pub name: &'static str,
    /// Its name in the window.
    pub label: &'static str,
    /// What it does, in one plain sentence.
    pub explanation: &'static str,
    /// Whether β weighs its classes, by the effective number of samples.
    pub takes_beta: bool,
    /// Whether the strength of logit adjustment acts in it; tuning then draws that, too.
    pub takes_strength: bool,
    /// Whether it already raises rare classes by the class priors, so that logit adjustment on top
    /// corrects for them a second time.
    pub adjusts_priors: bool,
}

/// Every loss, in the order in which they are offered.
pub static LOSSES: [LossInfo; 5] = [
    LossInfo {
        loss: ClassifierLoss::ClassBalanced,
        name: "class-balanced",
        label: "class-balanced",
        explanation: "Weighs each image by how rare its class is.",
        takes_beta: true,
        takes_strength: false,
        adjusts_priors: false,
    },
    LossInfo {
        loss: ClassifierLoss::ClassBalancedBce,
        name: "class-balanced-bce",
        label: "class-balanced, as in the authors' code",
        explanation: "Weighs each image by how rare its class is, and asks of every class whether it is the one.",
        takes_beta: true,
        takes_strength: false,
        adjusts_priors: false,
    },
    LossInfo {
        loss: ClassifierLoss::BalancedSoftmax,
        name: "balanced-softmax",
        label: "balanced softmax",
        explanation: "Trains as if every class were equally frequent.",
        takes_beta: false,
        takes_strength: false,
        adjusts_priors: true,
    },
    LossInfo {
        loss: ClassifierLoss::LogitAdjusted,
        name: "logit-adjusted",
        label: "logit-adjusted",
        explanation: "Trains as if frequent classes were less frequent, by a strength that can be chosen.",
        takes_beta: false,
        takes_strength: true,
        adjusts_priors: true,
    },
    LossInfo {
        loss: ClassifierLoss::CrossEntropy,
        name: "cross-entropy",
        label: "cross-entropy",
        explanation: "Counts every image the same, so frequent classes count for more.",
        takes_beta: false,
        takes_strength: false,
        adjusts_priors: false,
    },
];

impl ClassifierLoss {
    /// What is known of it.
    pub fn info(self) -> &'static LossInfo {
        // A test has every loss found.
        LOSSES.iter().find(|entry| entry.loss == self).unwrap_or(&LOSSES[0])
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_loss_has_its_entry_and_is_called_what_settings_call_it() {
        for entry in &LOSSES {
            assert_eq!(entry.loss.info().loss, entry.loss);
            let text = serde_json::to_string(&entry.loss).unwrap();
            assert_eq!(text.trim_matches('"'), entry.name);
            assert!(!entry.label.is_empty() && entry.explanation.ends_with('.'), "{}", entry.name);
        }
        // What serde knows and the table does not.
        let unknown = serde_json::from_str::<ClassifierLoss>("\"?\"").unwrap_err().to_string();
        for entry in &LOSSES {
            assert!(unknown.contains(&format!("`{}`", entry.name)), "{unknown}");
        }
        assert_eq!(unknown.matches('`').count(), 2 * (LOSSES.len() + 1), "{unknown}");
    }
}
