//! Features of images by pretrained backbones, computed once.
//!
//! What a backbone makes of an image depends on the backbone, the image's content and how it is
//! shown, and on nothing else: not on its class, the split it is in or the dataset. So features are
//! kept by the hash of the image's content, in a folder that all datasets share. After fifty new
//! photos, relabelling, or with another split or imbalance factor, only what was never seen is
//! computed.
//!
//! A [`FeatureCache`] is that folder. It has a folder for each [`Space`], and in it segments: files
//! that never change once they have their name, so that programs can read them by mapping them into
//! memory while others write. [`FeatureCache::open`] gives a space's features. What is in the cache
//! can always be computed again: whatever is wrong with it is a warning, and what was damaged is as
//! good as missing.

mod cache;
mod limit;
mod map;
mod opened;
mod segment;
mod space;
#[cfg(test)]
mod tests;

pub use cache::{FeatureCache, SpaceUsage, Usage};
pub use opened::CachedFeatures;
pub use space::{Key, Space};
