//! What charts need to know of a class.

use counterweight_core::eval::Group;

/// A class as charts name and colour it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ClassLabel<'a> {
    /// The class's name.
    pub name: &'a str,
    /// Its training samples.
    pub count: u64,
    /// Its group.
    pub group: Group,
}

/// Places of the classes, the one of most training samples first, equal ones as given.
pub(super) fn by_count(classes: &[ClassLabel]) -> Vec<usize> {
    let mut order: Vec<usize> = (0..classes.len()).collect();
    order.sort_by_key(|&class| std::cmp::Reverse(classes[class].count));
    order
}
