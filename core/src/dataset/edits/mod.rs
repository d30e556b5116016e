//! Edits: what a person has decided about single images, kept beside the dataset and never in it.
//!
//! The edits of `photos.toml` are in `photos.toml.edits.jsonl`, those of the folder `photos` in
//! `photos.edits.jsonl` beside it. The file is only ever added to: a line for everything that was
//! done, and a line for everything that was undone.
//!
//! ```text
//! {"counterweight_edits":1}
//! {"edit":"move","to":"newt","images":[{"path":"frog/0007.jpg","hash":"5e…"}],"time":1790000000}
//! {"edit":"exclude","images":[{"path":"frog/0009.jpg","hash":"81…"}],"time":1790000003}
//! {"edit":"undo","entries":1}
//! ```
//! A path is as the dataset file has it: relative to the source, with `/` between its parts. Edits
//! move no image from one split to another, whatever class they give it: what was never learned
//! stays so.

mod apply;
mod log;
mod session;
#[cfg(test)]
mod tests;

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

pub(super) use apply::catalog_edited_at;
pub use apply::{EditCounts, Edited, Origin, SampleEdits, edited, edited_catalog};
pub use log::Edits;
pub use session::EditSession;

use crate::source::Location;

/// What is done to images.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum EditAction {
    /// They belong to the class of this name, which is made where the dataset does not have it.
    /// Images that were excluded are part of the dataset again.
    Move {
        /// The class's name.
        to: String,
    },
    /// They are no part of the dataset.
    Exclude,
    /// A person has looked at them and found them right. Nothing in training depends on it.
    Check,
    /// Everything that was decided about them is forgotten: they are as the dataset has them.
    Restore,
}

impl EditAction {
    /// The action's name in files and on the command line.
    pub fn name(&self) -> &'static str {
        match self {
            EditAction::Move { .. } => "move",
            EditAction::Exclude => "exclude",
            EditAction::Check => "check",
            EditAction::Restore => "restore",
        }
    }

    /// What was done to so many images, in words: `moved 3 images to newt`.
    pub fn words(&self, images: usize) -> String {
        let images = match images {
            1 => "1 image".to_string(),
            many => format!("{many} images"),
        };
        match self {
            EditAction::Move { to } => format!("moved {images} to {to}"),
            EditAction::Exclude => format!("excluded {images}"),
            EditAction::Check => format!("marked {images} as checked"),
            EditAction::Restore => format!("restored {images}"),
        }
    }
}

/// An image that an edit is about.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct EditedImage {
    /// Its [`Location`] as text.
    pub path: String,
    /// BLAKE3 of what is stored there, in hexadecimal, if that could be read when it was edited. An
    /// edit is not applied to other content under the same name, and where a source is scanned it
    /// follows the content to another name.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub hash: Option<String>,
    /// Whether it was one of several copies when it was left out: that does not follow its content to
    /// another name, where the copy is that was kept.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub stays: bool,
}

impl EditedImage {
    /// The image at a location, with the BLAKE3 of its content if that is known.
    pub fn at(location: &Location, hash: Option<[u8; 32]>) -> Self {
        let hash = hash.map(|hash| blake3::Hash::from_bytes(hash).to_hex().to_string());
        Self { path: location.to_text(), hash, stays: false }
    }
}

/// One step that can be undone.
#[derive(Clone, Debug, PartialEq)]
pub struct EditEntry {
    /// What was done.
    pub action: EditAction,
    /// To which images; never none.
    pub images: Vec<EditedImage>,
    /// When, in seconds since 1970, if that is known.
    pub time: Option<u64>,
}

impl EditEntry {
    /// What was done, in words.
    pub fn words(&self) -> String {
        self.action.words(self.images.len())
    }
}

/// What all the edits of an image come to.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct EditMark {
    /// The class it was moved to.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub to: Option<String>,
    /// Whether it is excluded.
    pub excluded: bool,
    /// Whether it was found right.
    pub checked: bool,
    /// The content it had when it was last edited.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub hash: Option<String>,
    /// See [`EditedImage::stays`].
    #[serde(skip)]
    pub stays: bool,
}

impl EditMark {
    /// Whether it changes the dataset.
    pub fn changes(&self) -> bool {
        self.excluded || self.to.is_some()
    }
}

/// What edits come to, by the images' paths.
pub type EditMarks = BTreeMap<String, EditMark>;

/// What these entries come to, one after the other.
fn marks_of(entries: &[EditEntry]) -> EditMarks {
    let mut marks = EditMarks::new();
    for entry in entries {
        for image in &entry.images {
            if entry.action == EditAction::Restore {
                marks.remove(&image.path);
                continue;
            }
            let mark = marks.entry(image.path.clone()).or_default();
            if image.hash.is_some() {
                mark.hash.clone_from(&image.hash);
            }
            match &entry.action {
                EditAction::Move { to } => {
                    mark.to = Some(to.clone());
                    mark.excluded = false;
                    // What was found right was another class.
                    mark.checked = false;
                }
                EditAction::Exclude => {
                    mark.excluded = true;
                    mark.stays = image.stays;
                }
                EditAction::Check => mark.checked = true,
                EditAction::Restore => {}
            }
        }
    }
    marks
}
