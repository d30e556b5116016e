//! Which images the page of images lists, and in which order.

use std::cmp::Ordering;

use counterweight_core::eval::Group;
use counterweight_core::source::Split;

use super::images_predictions::ImagePredictions;
use super::images_session::ImagesView;

/// What a person has decided about an image, as it can be filtered by.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Decided {
    /// Whatever it is.
    #[default]
    All,
    /// Moved or excluded.
    Edited,
    /// Found right.
    Checked,
    /// Neither edited nor found right.
    Open,
    /// Left out of the dataset.
    Excluded,
}

impl Decided {
    /// All of them with their words.
    pub const ALL: [(Decided, &'static str); 5] = [
        (Decided::All, "All images"),
        (Decided::Open, "Not looked at"),
        (Decided::Checked, "Checked"),
        (Decided::Edited, "Edited"),
        (Decided::Excluded, "Excluded"),
    ];
}

/// Which images are listed.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ImageFilter {
    /// Those of the class of this name, with the edits.
    pub class: Option<String>,
    /// Those of classes of this group.
    pub group: Option<Group>,
    /// Those of this split.
    pub split: Option<Split>,
    /// Those about which this was decided.
    pub decided: Decided,
    /// Those that the run takes for another class.
    pub wrong: bool,
}

/// How images are ordered.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum ImageSort {
    /// By class and split, as the dataset has them.
    #[default]
    Dataset,
    /// By path.
    Path,
    /// Those first of which the run is surest.
    MostConfident,
    /// Those first of which it is least sure.
    LeastConfident,
}

impl ImageSort {
    /// All of them with their words.
    pub const ALL: [(ImageSort, &'static str); 4] = [
        (ImageSort::Dataset, "By class"),
        (ImageSort::Path, "By file name"),
        (ImageSort::MostConfident, "Most confident first"),
        (ImageSort::LeastConfident, "Least confident first"),
    ];

    /// Whether it needs a run's predictions.
    pub fn needs_predictions(self) -> bool {
        matches!(self, ImageSort::MostConfident | ImageSort::LeastConfident)
    }
}

/// An image of an order that something else has found.
#[derive(Clone, Debug, PartialEq)]
pub struct ReviewItem {
    /// The number of the sample in the dataset without edits.
    pub sample: usize,
    /// How much it matters; the more, the earlier it stands.
    pub score: f32,
    /// Why it should be looked at, in a few words.
    pub reason: String,
    /// The class it may belong to: an index into the classes of the dataset without edits.
    pub proposed: Option<usize>,
}

/// Images to be looked at, one after the other.
#[derive(Clone, Debug, PartialEq)]
pub struct ReviewOrder {
    /// What they are, for example "Suspicious labels".
    pub title: String,
    /// The images, the first to be looked at first.
    pub items: Vec<ReviewItem>,
}

/// The samples that are listed, in their order.
pub(super) fn listed(
    view: &ImagesView,
    filter: &ImageFilter,
    sort: ImageSort,
    predictions: Option<&ImagePredictions>,
    review: Option<&ReviewOrder>,
) -> Vec<u32> {
    let class = filter
        .class
        .as_ref()
        .map(|name| view.edited.classes.iter().position(|class| class == name));
    let is_listed = |sample: u32| {
        let Some(own) = view.edited.samples.get(sample as usize) else { return false };
        let decided = match filter.decided {
            Decided::All => true,
            Decided::Edited => own.moved || own.excluded,
            Decided::Checked => own.checked,
            Decided::Open => !own.moved && !own.excluded && !own.checked,
            Decided::Excluded => own.excluded,
        };
        decided
            && class.is_none_or(|class| class == Some(own.class))
            && filter.group.is_none_or(|group| view.groups[own.class] == group)
            && filter.split.is_none_or(|split| view.base.samples[sample as usize].split == split)
            && (!filter.wrong
                || predictions.is_some_and(|found| found.is_wrong(sample, view.class(sample))))
    };
    if let Some(review) = review {
        let samples = review.items.iter().filter_map(|item| u32::try_from(item.sample).ok());
        return samples.filter(|sample| is_listed(*sample)).collect();
    }
    let confidence = |sample: &u32| {
        predictions.and_then(|found| found.of(*sample)).map(|found| found.probability)
    };
    match (sort, predictions) {
        (ImageSort::Path, _) => {
            view.by_path.iter().copied().filter(|sample| is_listed(*sample)).collect()
        }
        (ImageSort::MostConfident | ImageSort::LeastConfident, Some(_)) => {
            let mut found: Vec<(Option<f32>, u32)> = view
                .by_path
                .iter()
                .copied()
                .filter(|sample| is_listed(*sample))
                .map(|sample| (confidence(&sample), sample))
                .collect();
            let descending = sort == ImageSort::MostConfident;
            found.sort_by(|(a, _), (b, _)| match (a, b) {
                (Some(a), Some(b)) if descending => b.total_cmp(a),
                (Some(a), Some(b)) => a.total_cmp(b),
                // What has no prediction comes last either way.
                (Some(_), None) => Ordering::Less,
                (None, Some(_)) => Ordering::Greater,
                (None, None) => Ordering::Equal,
            });
            found.into_iter().map(|(_, sample)| sample).collect()
        }
        _ => {
            let mut found: Vec<u32> =
                view.by_path.iter().copied().filter(|sample| is_listed(*sample)).collect();
            found.sort_by_key(|sample| view.edited.samples[*sample as usize].class);
            found
        }
    }
}
