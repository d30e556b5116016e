//! Photos that one camera took shortly after each other.

use super::union::Sets;
use crate::images::ImageFacts;

/// Joins samples that one camera took at most `seconds` apart.
pub(super) fn join(facts: &[ImageFacts], seconds: u64, sets: &mut Sets) {
    let mut taken: Vec<(u32, i64, usize)> = facts
        .iter()
        .enumerate()
        .filter_map(|(sample, facts)| facts.taken.map(|t| (t.camera, t.seconds, sample)))
        .collect();
    taken.sort_unstable();
    for pair in taken.windows(2) {
        let ((camera, before, one), (same, after, other)) = (pair[0], pair[1]);
        if camera == same && after.abs_diff(before) <= seconds {
            sets.join(one, other);
        }
    }
}
