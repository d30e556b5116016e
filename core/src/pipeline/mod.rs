//! The jobs both fronts offer, each over a run folder: train, balance, tune, evaluate, export, and
//! the whole of it on the sample.

mod activation;
mod auto;
mod balance;
mod bundle;
mod calibration;
mod demo;
mod estimate;
mod estimate_classifier;
mod evaluate;
mod evaluate_file;
mod export;
mod export_facts;
mod export_variant;
mod export_weights;
#[cfg(test)]
mod fault_tests;
mod features;
mod fine_tune;
mod folds;
mod font;
mod frozen;
mod grow;
mod halves;
mod halving;
mod image_fit;
mod image_map;
mod import;
mod in_turn;
mod kept_features;
mod labelled;
mod labels;
mod layouts;
mod make;
mod measured_times;
mod mirror;
mod more_images;
mod onnx_backbone;
mod predictions;
mod refit;
mod spread;
mod stand_ins;
mod suggest;
mod sweep;
#[cfg(test)]
pub(crate) mod test_run;
mod train;
mod train_classifier;
mod transforms;
mod tune;
mod weight_decay;
mod workbench;
mod workbench_part;
mod workshop;

pub use activation::{
    ActivationMap, ActivationMaps, ActivationScale, Looked, activation_overlay, activation_sheet,
    colour_ramp,
};
pub use auto::{Choice, Chosen, Offer, choose};
pub use balance::{BalanceReport, balance};
pub use bundle::{BundleFile, BundleReport, CHECKSUMS, MODEL, PURPOSES, bundle};
pub use calibration::known_calibration;
pub use demo::{DemoReport, SAMPLE_FACTOR, demo, sample_settings};
pub use estimate::{Estimate, estimate};
pub use evaluate::{RunEvaluation, evaluate};
pub use evaluate_file::{EvaluatedOn, FileEvaluation, evaluate_file};
pub use export::{Exported, export, export_as};
pub use export_variant::{
    ClassChange, DEFAULT_MAX_LOSS, VariantReport, VariantRequest, export_variant,
};
pub use export_weights::{WeightsReport, export_weights};
pub use grow::{GrowReport, GrownClass, grow};
pub use image_map::{
    ImageMap, MapColours, MapPoint, image_map, map_picture, stored_image_map, write_map_table,
};
pub use import::{IMPORTED, ImportReport, ImportRequest, Imported, import};
pub use in_turn::held_in_turn;
pub use labelled::{LABELLED, Labelled};
pub use labels::{LabelCheck, LabelDoubt, NEIGHBOURS, label_check, write_label_table};
pub use make::{MakeReport, MakeRequest, make};
pub use mirror::{MirrorCheck, Turned, mirror_check};
pub use more_images::{FACTORS, MoreImages, MoreOfClass, Outlook, more_images};
pub use predictions::{Predictions, SamplePrediction, predictions};
pub use refit::{REFIT, no_refit};
pub use suggest::{Suggestion, Suggestions, suggest, untouched_proposals, write_suggestions};
pub use sweep::{SweepRequest, sweep};
pub use train::{CHOICES, TrainReport, TrainRequest, new_run, train};
pub use transforms::{
    TransformCheck, TransformPair, TransformReport, TransformVerdict, transform_check,
};
pub use tune::tune;
pub use workbench::{Attempt, Trial, Workbench};
