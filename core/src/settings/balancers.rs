//! The balancers, in one table: what each is called, what it does, its parameters with their
//! ranges, when it acts, and what tuning tries of it. Settings, their help and their checks, the
//! command line, the window, tuning and README's table read it.
//!
//! What a balancer does to a classifier is in [`crate::balance`]: `normalise.rs` for those that act
//! on a finished one, `stage2.rs` for those that act while it is trained.

use std::fmt;

use serde::{Deserialize, Serialize};

use super::BalanceSettings;
use crate::words::Auto;

/// A way of balancing the classifier. Listed together they act in this order.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Balancer {
    /// Train the classifier with the class-balanced loss, without weight decay unless
    /// `weight-decay` is listed too.
    Stage2,
    /// Weight decay λ while training the classifier; implies stage 2.
    WeightDecay,
    /// Project every class weight onto the ball of radius η: W_k ← W_k · min(1, η / ‖W_k‖).
    MaxNorm,
    /// W_k ← W_k / ‖W_k‖.
    L2,
    /// τ-normalisation (Kang et al., 2020): W_k ← W_k / ‖W_k‖^τ.
    Tau,
    /// Multiplicative logit adjustment (Kim and Kim, 2020): W_k ← (n_max / n_k)^γ · W_k / ‖W_k‖,
    /// without bias.
    MultiplicativeAdjustment,
    /// Logit adjustment (Menon et al., 2021): logits − τ log π_k.
    LogitAdjustment,
}

/// When a balancer acts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum When {
    /// It is the training of the classifier, or part of it.
    Training,
    /// Once the classifier is trained.
    After,
    /// During training if the classifier is trained again, and otherwise after it.
    Both,
}

/// What is known of a balancer.
#[derive(Clone, Copy, Debug)]
pub struct BalancerInfo {
    /// The balancer.
    pub balancer: Balancer,
    /// Its name in settings and on the command line.
    pub name: &'static str,
    /// Its name in the window.
    pub label: &'static str,
    /// What it does, in one plain sentence or two.
    pub explanation: &'static str,
    /// What it does, as README's table says it.
    pub formula: &'static str,
    /// When it acts.
    pub when: When,
    /// Its parameters. Where there are several, one is in use at a time: the others stand for the
    /// same thing given otherwise.
    pub parameters: &'static [Parameter],
    /// Its name in a sentence about what was applied, with the parameter in use.
    pub phrase: &'static str,
    /// Its name where there is little room.
    pub short: &'static str,
    /// What tuning tries of it.
    pub tuning: Tuned,
}

/// A parameter of a balancer.
#[derive(Clone, Copy, Debug)]
pub struct Parameter {
    /// The setting's key.
    pub key: &'static str,
    /// Its symbol or name where it stands behind its balancer's: τ, λ, strength.
    pub symbol: &'static str,
    /// What the symbol stands for, in a word, for whoever does not read Greek.
    pub word: &'static str,
    /// The setting's name.
    pub label: &'static str,
    /// What it does and which way to turn it.
    pub explanation: &'static str,
    /// The range of its slider.
    pub range: (f64, f64),
    /// How its slider runs.
    pub scale: Scale,
    /// Its usual value, within the range.
    pub usual: f64,
    /// The values that settings may have.
    pub allowed: Allowed,
    /// Reads it.
    pub get: fn(&BalanceSettings) -> f64,
    /// Writes it, and has it be the one in use.
    pub set: fn(&mut BalanceSettings, f64),
    /// Which of several parameters it is; `None` if it is the only one.
    pub choice: Option<Choice>,
}

/// One of several parameters that stand for the same thing.
#[derive(Clone, Copy, Debug)]
pub struct Choice {
    /// What it is called.
    pub label: &'static str,
    /// What is chosen by it.
    pub hint: &'static str,
    /// Whether it is the one in use.
    pub is_chosen: fn(&BalanceSettings) -> bool,
}

/// How a slider runs over its range.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Scale {
    /// Evenly, with so many decimals.
    Linear(usize),
    /// By powers of ten, with so many decimals.
    Logarithmic(usize),
    /// By powers of ten down to this value and then to zero.
    LogarithmicToZero(f64, usize),
}

/// The values that a parameter may have, besides being finite.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Allowed {
    /// All.
    Finite,
    /// 0 and above.
    NotNegative,
    /// Above 0.
    Positive,
    /// 0 to 1.
    UnitInterval,
}

impl Allowed {
    /// Whether a value is among them.
    pub fn holds(self, value: f64) -> bool {
        value.is_finite()
            && match self {
                Allowed::Finite => true,
                Allowed::NotNegative => value >= 0.0,
                Allowed::Positive => value > 0.0,
                Allowed::UnitInterval => (0.0..=1.0).contains(&value),
            }
    }

    /// What is said of a value that is not.
    pub fn demand(self) -> &'static str {
        match self {
            Allowed::Finite => "must be finite",
            Allowed::NotNegative => "must be 0 or above",
            Allowed::Positive => "must be auto or above 0",
            Allowed::UnitInterval => "must be in 0..=1",
        }
    }
}

/// What tuning tries of a balancer.
#[derive(Clone, Copy, Debug)]
pub enum Tuned {
    /// Values of its parameter, on the classifier as trained.
    Grid {
        /// Place in the order in which balancers are tried.
        turn: usize,
        /// Values that are tried alone, most likely first; one, of no meaning, where there is no
        /// parameter.
        alone: &'static [f64],
        /// Values that are tried together with each strength of logit adjustment.
        paired: &'static [f64],
        /// How far from the best value further ones are drawn; 0 if that is done otherwise or there
        /// is no parameter.
        step: f32,
        /// The value's effect where the parameter in use is not the first.
        set: fn(&mut BalanceSettings, f64),
    },
    /// Nothing on a grid, for this reason.
    Otherwise(&'static str),
}

/// Every balancer, in the order in which they act.
pub static BALANCERS: [BalancerInfo; 7] = [
    BalancerInfo {
        balancer: Balancer::Stage2,
        name: "stage2",
        label: "Stage 2",
        explanation: "Trains the classifier again on the same features, with a loss that gives rare classes more say.",
        formula: "train the classifier with a class-balanced loss (`balance.loss`)",
        when: When::Training,
        parameters: &[],
        phrase: "stage 2",
        short: "stage 2",
        tuning: Tuned::Otherwise("a training without weight decay is the second one that is drawn"),
    },
    BalancerInfo {
        balancer: Balancer::WeightDecay,
        name: "weight-decay",
        label: "Weight decay",
        explanation: "Pulls the classifier's weights towards zero while stage 2 trains it.",
        formula: "weight decay during that",
        when: When::Training,
        parameters: &[Parameter {
            key: "balance.weight_decay",
            symbol: "λ",
            word: "Decay",
            label: "Weight decay of stage 2",
            explanation: "Pulls the classifier's weights towards zero while it is balanced, which holds frequent classes back. Larger is stronger.",
            range: (0.0, 1.0),
            scale: Scale::LogarithmicToZero(1e-4, 5),
            usual: 5e-3,
            allowed: Allowed::NotNegative,
            get: |s| s.weight_decay,
            set: |s, value| s.weight_decay = value,
            choice: None,
        }],
        phrase: "stage 2 with weight decay",
        short: "λ",
        tuning: Tuned::Otherwise("trainings are drawn over the whole range and around the best"),
    },
    BalancerInfo {
        balancer: Balancer::MaxNorm,
        name: "max-norm",
        label: "MaxNorm",
        explanation: "Shortens every class weight that is longer than a radius.",
        formula: "W_k ← W_k · min(1, η / ‖W_k‖), during that or by itself",
        when: When::Both,
        parameters: &[
            Parameter {
                key: "balance.max_norm_delta",
                symbol: "δ",
                word: "Bound",
                label: "MaxNorm δ",
                explanation: "Where the automatic radius lies between the shortest class weight (0) and the longest (1). Smaller is stricter.",
                range: (0.0, 1.0),
                scale: Scale::Linear(3),
                usual: 0.1,
                allowed: Allowed::UnitInterval,
                get: |s| f64::from(s.max_norm_delta),
                set: |s, value| {
                    s.max_norm_radius = Auto::AUTO;
                    s.max_norm_delta = value as f32;
                },
                choice: Some(Choice {
                    label: "by δ",
                    hint: "η = min + δ (max − min) of the norms at the start",
                    is_chosen: |s| s.max_norm_radius.value().is_none(),
                }),
            },
            Parameter {
                key: "balance.max_norm_radius",
                symbol: "η",
                word: "Radius",
                label: "MaxNorm radius",
                explanation: "The longest that a class's weight may be. Auto takes it from the weights at the start and δ.",
                range: (0.001, 10.0),
                scale: Scale::Logarithmic(3),
                usual: 1.0,
                allowed: Allowed::Positive,
                get: |s| s.max_norm_radius.value().map_or(1.0, f64::from),
                set: |s, value| s.max_norm_radius = Auto::Value(value as f32),
                choice: Some(Choice {
                    label: "given",
                    hint: "The radius η itself",
                    is_chosen: |s| s.max_norm_radius.value().is_some(),
                }),
            },
        ],
        phrase: "MaxNorm",
        short: "MaxNorm",
        tuning: Tuned::Grid {
            turn: 4,
            alone: &[0.1, 0.3, 0.5, 0.0, 0.75],
            paired: &[0.1, 0.4, 0.7],
            step: 0.0,
            set: |s, delta| match s.max_norm_radius {
                Auto::Auto(_) => s.max_norm_delta = delta as f32,
                // From a quarter of the given radius to four times it.
                Auto::Value(radius) => {
                    let radius = radius * 16_f32.powf(delta as f32 - 0.5);
                    s.max_norm_radius = Auto::Value(((radius * 100.0).round() / 100.0).max(0.01));
                }
            },
        },
    },
    BalancerInfo {
        balancer: Balancer::L2,
        name: "l2",
        label: "L2-normalisation",
        explanation: "Makes all class weights equally long. Needs no training.",
        formula: "W_k ← W_k / ‖W_k‖",
        when: When::After,
        parameters: &[],
        phrase: "L2-normalisation",
        short: "L2",
        tuning: Tuned::Grid { turn: 0, alone: &[1.0], paired: &[1.0], step: 0.0, set: |_, _| () },
    },
    BalancerInfo {
        balancer: Balancer::Tau,
        name: "tau",
        label: "τ-normalisation",
        explanation: "Divides each class weight by its norm to the power τ. Needs no training.",
        formula: "W_k ← W_k / ‖W_k‖^τ",
        when: When::After,
        parameters: &[Parameter {
            key: "balance.tau",
            symbol: "τ",
            word: "Power",
            label: "τ",
            explanation: "How far τ-normalisation evens out the classes' weights: 0 leaves them, 1 makes them equal, more favours rare classes.",
            range: (0.0, 3.0),
            scale: Scale::Linear(2),
            usual: 1.9,
            allowed: Allowed::Finite,
            get: |s| f64::from(s.tau),
            set: |s, value| s.tau = value as f32,
            choice: None,
        }],
        phrase: "τ-normalisation",
        short: "τ",
        tuning: Tuned::Grid {
            turn: 1,
            alone: &[1.0, 0.5, 1.5, 2.0, 0.25, 0.75, 1.25, 2.5, 3.0],
            paired: &[1.0, 0.5, 1.5, 0.25, 2.0],
            step: 0.25,
            set: |s, value| s.tau = value as f32,
        },
    },
    BalancerInfo {
        balancer: Balancer::MultiplicativeAdjustment,
        name: "multiplicative-adjustment",
        label: "Multiplicative adjustment",
        explanation: "Makes each class weight as long as the class is rare: a power γ of how many times rarer than the largest. Needs no training.",
        formula: "W_k ← (n_max / n_k)^γ · W_k / ‖W_k‖, without bias",
        when: When::After,
        parameters: &[Parameter {
            key: "balance.gamma",
            symbol: "γ",
            word: "Power",
            label: "γ",
            explanation: "How much longer than a frequent class's weight multiplicative logit adjustment makes a rare one's: 0 makes all equal, more favours rare classes.",
            range: (0.0, 1.0),
            scale: Scale::Linear(2),
            usual: 0.2,
            allowed: Allowed::Finite,
            get: |s| f64::from(s.gamma),
            set: |s, value| s.gamma = value as f32,
            choice: None,
        }],
        phrase: "multiplicative logit adjustment",
        short: "γ",
        tuning: Tuned::Grid {
            turn: 3,
            alone: &[0.2, 0.1, 0.3, 0.05, 0.4, 0.5],
            paired: &[],
            step: 0.1,
            set: |s, value| s.gamma = value as f32,
        },
    },
    BalancerInfo {
        balancer: Balancer::LogitAdjustment,
        name: "logit-adjustment",
        label: "Logit adjustment",
        explanation: "Lowers the score of a class by how frequent it is. Needs no training.",
        formula: "logits − τ log π_k, π being the class prior",
        when: When::After,
        parameters: &[Parameter {
            key: "balance.logit_adjustment",
            symbol: "Strength",
            word: "Strength",
            label: "Logit adjustment",
            explanation: "How much frequent classes are held back by how frequent they are. 1 corrects for it fully, 0 not at all.",
            range: (0.0, 3.0),
            scale: Scale::Linear(2),
            usual: 1.0,
            allowed: Allowed::Finite,
            get: |s| f64::from(s.logit_adjustment),
            set: |s, value| s.logit_adjustment = value as f32,
            choice: None,
        }],
        phrase: "logit adjustment",
        short: "logit adj.",
        tuning: Tuned::Grid {
            turn: 2,
            alone: &[1.0, 0.5, 0.75, 1.5, 0.25, 1.25, 2.0],
            // What others are paired with; see [`PAIRED_STRENGTHS`].
            paired: &[],
            step: 0.25,
            set: |s, value| s.logit_adjustment = value as f32,
        },
    },
];

/// The strengths of logit adjustment that other balancers are tuned together with.
pub const PAIRED_STRENGTHS: [f64; 5] = [0.5, 1.0, 0.25, 0.75, 1.5];

impl BalancerInfo {
    /// The parameter in use, if it has any.
    pub fn parameter(&self, settings: &BalanceSettings) -> Option<&'static Parameter> {
        let is_chosen = |parameter: &&Parameter| {
            parameter.choice.is_none_or(|choice| (choice.is_chosen)(settings))
        };
        self.parameters.iter().find(is_chosen)
    }

    fn with_parameter(&self, words: &str, settings: &BalanceSettings) -> String {
        let Some(parameter) = self.parameter(settings) else { return words.to_string() };
        // As the settings have it: a float32 has more digits as a float64.
        let value = match self.balancer {
            Balancer::WeightDecay => settings.weight_decay.to_string(),
            _ => ((parameter.get)(settings) as f32).to_string(),
        };
        match parameter.choice {
            Some(_) => format!("{words} {} {value}", parameter.symbol),
            None => format!("{words} {value}"),
        }
    }

    /// It in a sentence, with the parameter in use: `stage 2 with weight decay 0.005`.
    pub fn in_words(&self, settings: &BalanceSettings) -> String {
        self.with_parameter(self.phrase, settings)
    }

    /// The same in as few letters as tell balancers apart: `λ 0.005`.
    pub fn in_short(&self, settings: &BalanceSettings) -> String {
        self.with_parameter(self.short, settings)
    }
}

impl Balancer {
    /// Every balancer, in the order in which they act.
    pub const ALL: [Balancer; 7] = [
        Balancer::Stage2,
        Balancer::WeightDecay,
        Balancer::MaxNorm,
        Balancer::L2,
        Balancer::Tau,
        Balancer::MultiplicativeAdjustment,
        Balancer::LogitAdjustment,
    ];

    /// What is known of it.
    pub fn info(self) -> &'static BalancerInfo {
        // The table has them in the order of the enum; a test holds it to that.
        &BALANCERS[self as usize]
    }

    /// The name used in settings and on the command line.
    pub fn name(self) -> &'static str {
        self.info().name
    }
}

impl fmt::Display for Balancer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl BalanceSettings {
    /// Whether they train the classifier again, rather than change the one that is there.
    pub fn trains(&self) -> bool {
        Balancer::any_trains(&self.balancers)
    }
}

impl Balancer {
    /// Whether one of these trains the classifier again.
    pub fn any_trains(balancers: &[Balancer]) -> bool {
        balancers.iter().any(|balancer| balancer.info().when == When::Training)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::settings::{Preset, Settings, info};

    #[test]
    fn the_table_has_every_balancer_in_its_place_with_all_that_is_asked_of_it() {
        for (balancer, entry) in Balancer::ALL.into_iter().zip(&BALANCERS) {
            let BalancerInfo { name, label, explanation, formula, phrase, short, .. } = *entry;
            assert_eq!(entry.balancer, balancer);
            assert_eq!(
                balancer as usize,
                Balancer::ALL.iter().position(|b| *b == balancer).unwrap()
            );
            let text = serde_json::to_string(&balancer).unwrap();
            assert_eq!(text.trim_matches('"'), name, "settings call it otherwise");
            assert!(!label.is_empty() && !phrase.is_empty() && !short.is_empty(), "{name}");
            assert!(explanation.ends_with('.') && explanation.len() <= 150, "{name}");
            assert!(!formula.contains('|') && !formula.is_empty(), "{name}");
            match entry.tuning {
                Tuned::Grid { alone, step, .. } => {
                    assert!(!alone.is_empty(), "{name}: an empty grid");
                    assert!(step >= 0.0 && (step == 0.0 || entry.parameters.len() == 1), "{name}");
                }
                Tuned::Otherwise(reason) => assert!(!reason.is_empty(), "{name}"),
            }
            // One parameter is in use, or none where there is none.
            for preset in Preset::ALL {
                let settings = Settings::preset(preset).balance;
                assert_eq!(entry.parameter(&settings).is_none(), entry.parameters.is_empty());
            }
        }
        let mut turns: Vec<usize> = BALANCERS
            .iter()
            .filter_map(|entry| match entry.tuning {
                Tuned::Grid { turn, .. } => Some(turn),
                Tuned::Otherwise(_) => None,
            })
            .collect();
        turns.sort_unstable();
        assert!(turns.iter().enumerate().all(|(at, turn)| at == *turn), "{turns:?}");
    }

    #[test]
    fn every_parameter_is_a_setting_with_help_a_range_and_a_check() {
        for parameter in BALANCERS.iter().flat_map(|entry| entry.parameters) {
            let Parameter { key, range: (least, most), usual, allowed, .. } = *parameter;
            assert_eq!(
                info(key).map(|info| info.explanation),
                Some(parameter.explanation),
                "{key}"
            );
            assert!(least < most && (least..=most).contains(&usual), "{key}");
            assert!(
                allowed.holds(least) && allowed.holds(most),
                "{key}: its slider leaves what is allowed"
            );
            let mut settings = Settings::preset(Preset::Quick);
            for value in [least, usual, most] {
                (parameter.set)(&mut settings.balance, value);
                assert!(((parameter.get)(&settings.balance) - value).abs() < 1e-6, "{key}");
                assert!(parameter.choice.is_none_or(|c| (c.is_chosen)(&settings.balance)), "{key}");
                assert_eq!(settings.problems(), [], "{key} = {value}");
                // The key names what the functions change.
                let text = settings.text(key).unwrap();
                assert!((text.parse::<f64>().unwrap() - value).abs() < 1e-6, "{key}: {text}");
            }
            (parameter.set)(&mut settings.balance, f64::NAN);
            assert_eq!(settings.problems()[0].key, key);
        }
    }

    #[test]
    fn what_tuning_tries_is_allowed() {
        for entry in &BALANCERS {
            let Tuned::Grid { alone, paired, set, .. } = entry.tuning else { continue };
            for value in alone.iter().chain(paired) {
                for radius in [Auto::AUTO, Auto::Value(0.5)] {
                    let mut settings = Settings::preset(Preset::Quick);
                    settings.balance.max_norm_radius = radius;
                    set(&mut settings.balance, *value);
                    assert_eq!(settings.problems(), [], "{} {value}", entry.name);
                }
            }
        }
    }

    #[test]
    fn readme_has_the_table() {
        let readme = include_str!("../../../README.md");
        let rows: String = BALANCERS
            .iter()
            .map(|entry| format!("| `{}` | {} |\n", entry.name, entry.formula))
            .collect();
        let table = format!("| name | what it does |\n| --- | --- |\n{rows}");
        assert!(readme.contains(&table), "README.md should have:\n{table}");
    }
}
