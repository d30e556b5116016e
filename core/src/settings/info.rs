//! What each setting is called and what it does, for a person who has never trained a model.

use std::sync::LazyLock;

use super::augmentations::AUGMENTATIONS;
use super::balancers::BALANCERS;

/// A setting in plain words.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SettingInfo {
    /// The key, dotted.
    pub key: &'static str,
    /// A short name.
    pub label: &'static str,
    /// What it does and which way to turn it, in one line.
    pub explanation: &'static str,
}

const fn setting(key: &'static str, label: &'static str, explanation: &'static str) -> SettingInfo {
    SettingInfo { key, label, explanation }
}

/// Every setting, in the order in which they are shown: those of augmentation and of balancers come
/// out of their tables.
pub static INFO: LazyLock<Vec<SettingInfo>> = LazyLock::new(|| {
    let parameters = BALANCERS.iter().flat_map(|entry| entry.parameters);
    let parameters =
        parameters.map(|parameter| setting(parameter.key, parameter.label, parameter.explanation));
    let augmentations = AUGMENTATIONS.iter().map(|entry| entry.setting);
    let mut all = Vec::new();
    for own in OTHERS {
        if own.key == FIRST_OF_BALANCING {
            all.extend(augmentations.clone());
        }
        all.push(*own);
        if own.key == FIRST_OF_BALANCING {
            all.extend(parameters.clone());
        }
    }
    all
});

/// The first setting of balancing.
const FIRST_OF_BALANCING: &str = "balance.balancers";

/// The settings that no table has.
const OTHERS: &[SettingInfo] = &[
    setting(
        "preset",
        "Preset",
        "The ready-made settings that these started from. Changing it afterwards changes nothing else.",
    ),
    setting(
        "seed",
        "Seed",
        "Number that everything random follows from. The same seed on the same device gives the same result.",
    ),
    setting(
        "model.backbone",
        "Backbone",
        "The network that turns an image into features: one of the program's, or onnx:FILE. Larger ones learn more and take longer.",
    ),
    setting(
        "model.stem",
        "Stem",
        "The network's first layers. Small keeps the detail of small images; imagenet shrinks large ones quickly.",
    ),
    setting(
        "model.input_size",
        "Input size",
        "Side in pixels that every image is brought to. Larger shows more detail and takes longer.",
    ),
    setting(
        "model.fit",
        "Images that are not square",
        "Crop: their middle square, without what lies beside it. Stretch: all of it, squeezed. Auto measures which is recognised better.",
    ),
    setting(
        "model.normalisation",
        "Normalisation",
        "How colours are brought to a common scale before the network sees them. Measured takes it from your own images.",
    ),
    setting(
        "model.output",
        "Output",
        "Name of the value of an ONNX file's graph that features are taken of. Empty takes the output that features are usually in.",
    ),
    setting(
        "model.tokens",
        "Tokens",
        "What is taken of a transformer in an ONNX file: its class token, or the mean of all tokens. Auto takes the first if there is one.",
    ),
    setting(
        "stage1.train",
        "What learns",
        "Classifier: a network that has seen a million photos stays unchanged. All: it learns on. Scratch: learned anew. Auto measures.",
    ),
    setting(
        "stage1.epochs",
        "Epochs",
        "How often training goes through all images. More learns better up to a point and takes longer.",
    ),
    setting(
        "stage1.batch_size",
        "Batch size",
        "Images the network looks at before each correction. Larger batches need more memory and fewer steps.",
    ),
    setting(
        "stage1.accumulation",
        "Accumulation",
        "Parts a batch is computed in, whose gradients are added. More need less memory; batch norm then looks at each part alone.",
    ),
    setting(
        "stage1.precision",
        "Precision",
        "What convolutions compute with: float32, or tf32 or bfloat16, which are faster on NVIDIA GPUs and round more. Others use float32.",
    ),
    setting(
        "stage1.learning_rate",
        "Learning rate",
        "Size of each correction. Too large and training breaks down, too small and it hardly moves.",
    ),
    setting(
        "stage1.backbone_rate",
        "Backbone's rate",
        "Factor of the learning rate for all layers but the last where they have learned before. Smaller keeps more of what they know.",
    ),
    setting(
        "stage1.clip_gradients",
        "Gradient clipping",
        "Longest gradient that a step follows; longer ones are shortened, so that a few odd images cannot throw a network off. 0 is never.",
    ),
    setting(
        "stage1.norm_statistics",
        "Batch norm",
        "Moving: normalises with each batch. Frozen: with what the pretrained network knows, which suits few images and small batches.",
    ),
    setting(
        "stage1.momentum",
        "Momentum",
        "How much of the last correction carries over into the next, which smooths the way. 0.9 is usual.",
    ),
    setting(
        "stage1.weight_decay",
        "Weight decay",
        "Pulls all weights towards zero, which keeps frequent classes from dominating. Larger is stronger; auto tries several where that takes seconds.",
    ),
    setting(
        "stage1.schedule",
        "Schedule",
        "How the learning rate falls: smoothly to zero (cosine; cosine-nonzero ends just above it), in steps at the milestones, or not at all.",
    ),
    setting(
        "stage1.warmup_epochs",
        "Warm-up epochs",
        "Epochs at the start during which the learning rate rises slowly, so that training begins gently.",
    ),
    setting(
        "stage1.milestones",
        "Milestones",
        "Epochs after which the step schedule divides the learning rate by ten.",
    ),
    setting(
        "stage1.label_smoothing",
        "Label smoothing",
        "Share of doubt added to every label, so that the network is less sure of itself. 0 is off.",
    ),
    setting(
        "stage1.validate_every",
        "Validate every",
        "Check on the validation images after every so many epochs. Rarer checks save time.",
    ),
    setting(
        "balance.balancers",
        "Balancers",
        "What is done to the trained classifier so that rare classes get a fair chance. Several act together.",
    ),
    setting(
        "balance.loss",
        "Loss",
        "How mistakes are counted in stage 2. All but plain cross-entropy count those on rare classes for more.",
    ),
    setting(
        "balance.beta",
        "β",
        "How much more mistakes on rare classes count: 0 counts all the same, close to 1 counts by how rare a class is.",
    ),
    setting(
        "balance.label_smoothing",
        "Label smoothing of stage 2",
        "Share of doubt added to every label while the classifier is balanced. 0 is off.",
    ),
    setting(
        "balance.epochs",
        "Epochs of stage 2",
        "How often stage 2 goes through all training images. It is quick, since only the classifier learns.",
    ),
    setting(
        "balance.batch_size",
        "Batch size of stage 2",
        "Images that the classifier looks at before each correction in stage 2.",
    ),
    setting(
        "balance.learning_rate",
        "Learning rate of stage 2",
        "Size of each correction in stage 2. Too large and it breaks down, too small and little changes.",
    ),
    setting(
        "balance.momentum",
        "Momentum of stage 2",
        "How much of the last correction carries over into the next in stage 2. 0.9 is usual.",
    ),
    setting(
        "balance.schedule",
        "Schedule of stage 2",
        "How the learning rate of stage 2 falls: smoothly to zero (cosine; cosine-nonzero ends just above it) or not at all (constant).",
    ),
    setting(
        "balance.features",
        "Features",
        "Cached computes what the network sees once, which is fast. Network computes it anew at every step, as the method's authors do.",
    ),
    setting(
        "balance.tune_candidates",
        "Candidates to try",
        "Ways of balancing that are tried on the validation images before the best is taken. 0 takes the settings as they are.",
    ),
    setting(
        "balance.augmented_views",
        "Augmented views",
        "Changed copies of the training images that stage 2 learns from as well. More can help rare classes and takes longer.",
    ),
    setting(
        "evaluation.many_above",
        "Many above",
        "Classes with more training images than this count as having many.",
    ),
    setting(
        "evaluation.few_below",
        "Few below",
        "Classes with fewer training images than this count as having few.",
    ),
    setting(
        "evaluation.flip",
        "Average with mirror image",
        "Judges each image together with its mirror image. Slower, and often a little better.",
    ),
];

/// What is known of the setting of that dotted key.
///
/// ```
/// use counterweight_core::settings::info;
/// assert_eq!(info("stage1.weight_decay").unwrap().label, "Weight decay");
/// assert!(info("weight_decay").is_none());
/// ```
pub fn info(key: &str) -> Option<&'static SettingInfo> {
    INFO.iter().find(|info| info.key == key)
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;
    use crate::settings::Settings;

    #[test]
    fn every_setting_is_explained_and_nothing_else() {
        let mut known: Vec<&str> = INFO.iter().map(|info| info.key).collect();
        known.sort_unstable();
        let mut keys = Settings::keys();
        keys.sort_unstable();
        assert_eq!(known, keys);
        let labels: HashSet<&str> = INFO.iter().map(|info| info.label).collect();
        assert_eq!(labels.len(), INFO.len(), "two settings have one label");
        for SettingInfo { key, label, explanation } in INFO.iter() {
            assert!(label.len() <= 30 && !label.ends_with('.'), "{key}: {label}");
            assert!(
                label.chars().next().is_some_and(|first| !first.is_ascii_lowercase()),
                "{key}: {label}"
            );
            assert!(
                explanation.ends_with('.')
                    && explanation.len() <= 150
                    && !explanation.contains('\n'),
                "{key}: {explanation}"
            );
        }
    }
}
