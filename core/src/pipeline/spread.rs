//! A few of many.

/// At most `most` places of `len`, evenly spread: where samples are sorted by class, many classes are
/// among them.
pub(super) fn spread(len: usize, most: usize) -> impl Iterator<Item = usize> {
    let count = len.min(most);
    (0..count).map(move |index| index * len / count)
}
