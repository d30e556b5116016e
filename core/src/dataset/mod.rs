//! A catalog becomes a [`Dataset`]: which classes and images, how long a tail, which splits; the
//! dataset file that holds it; and edits of single images, which are kept beside it.

mod build;
mod class_names;
mod digests;
mod edits;
mod file;
mod grouping;
mod grow;
mod holdout;
mod open;
mod options;
mod profile;
mod rename;
mod report;
mod safe_names;
mod samples;
mod whole_groups;
mod write_images;

pub use build::{
    BuiltDataset, CountsPreview, build, counts_preview, counts_preview_with, source_hash,
};
pub use class_names::{NameDoubt, NameRemedy, doubtful_names, nearest_class};
pub use digests::Digests;
pub use edits::{
    EditAction, EditCounts, EditEntry, EditMark, EditMarks, EditSession, Edited, EditedImage,
    Edits, Origin, SampleEdits, edited, edited_catalog,
};
pub use grouping::{
    DEFAULT_DISTANCE, DEFAULT_SECONDS, GroupBy, Grouped, Grouping, GroupingSizes, Leak, LeakCount,
    Series, Sign, SplitLeak, crossed_subfolders, grouped, last_folder_names, notice_series,
    subfolder_names,
};
pub use grow::Grown;
pub use options::{BuildOptions, ClassChoice, ClassOrder, Pick};
pub use profile::Profile;
pub use rename::renamed_classes;
pub use report::{
    ClassReport, DuplicateGroup, DuplicateReport, ReportedProblem, ScanReport, SizeRange,
    SizeReport, SplitCounts, report,
};
pub(crate) use safe_names::{Names, safe_extension};
pub use safe_names::{is_safe_name, safe_name};
pub use samples::{Dataset, DatasetSample, Provenance};
pub use write_images::{ImageFiles, write_images, write_images_as};
