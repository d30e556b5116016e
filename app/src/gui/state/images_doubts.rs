//! Labels of the open dataset that are probably wrong, as images to be looked at.

use std::collections::HashMap;

use counterweight_core::Result;
use counterweight_core::device::{self, DeviceChoice};
use counterweight_core::job::Job;
use counterweight_core::pipeline::{self, LabelCheck, LabelDoubt, NEIGHBOURS};

use super::images_list::{ReviewItem, ReviewOrder};
use super::images_session::ImagesView;

/// Doubtful labels, and what was found in a sentence.
pub(super) struct Doubts {
    pub dataset_revision: u64,
    pub order: ReviewOrder,
    pub sentence: String,
}

/// Looks for them among the images as they are edited now; those that were found right and the test
/// images are left out.
pub(super) fn find(view: &ImagesView, choice: DeviceChoice, job: Job<'_>) -> Result<Doubts> {
    let dataset = view.edited.dataset(&view.base)?;
    let checked = view.edited.checked(&view.base);
    let (device, _) = device::open(choice)?;
    let LabelCheck { doubts, sentence, .. } =
        pipeline::label_check(&dataset, &checked, false, 0, &device, job)?;
    let places: HashMap<_, usize> = view
        .base
        .samples
        .iter()
        .enumerate()
        .map(|(place, sample)| (&sample.location, place))
        .collect();
    let class = |name: &String| view.base.classes.iter().position(|class| class == name);
    let item = |doubt: &LabelDoubt| {
        Some(ReviewItem {
            sample: *places.get(&doubt.location)?,
            score: doubt.suggested_probability as f32,
            reason: in_short(doubt),
            proposed: class(&doubt.suggested),
        })
    };
    let order = ReviewOrder {
        title: "Doubtful labels".into(),
        items: doubts.iter().filter_map(item).collect(),
    };
    Ok(Doubts { dataset_revision: view.dataset_revision, order, sentence })
}

/// Why a label is doubted, what matters most first: there is little room below a picture.
fn in_short(doubt: &LabelDoubt) -> String {
    let [suggested, own] = doubt.neighbours;
    format!(
        "{:.0} % sure; of the {NEIGHBOURS} images most like it {suggested} are {}, {own} are {}",
        100.0 * doubt.suggested_probability,
        doubt.suggested,
        doubt.class
    )
}
