//! Which things of a grid are chosen, as file managers have it: a click, a click with Shift or with
//! the command key, and the same by keys.

use std::collections::HashSet;

use egui::Modifiers;

/// The chosen things, by the caller's keys, and the place of the keyboard. `order` is the keys in
/// the order they are shown.
#[derive(Clone, Debug, Default)]
pub struct GridSelection {
    chosen: HashSet<u32>,
    cursor: usize,
    anchor: usize,
}

impl GridSelection {
    /// The place that the keyboard is at.
    pub fn cursor(&self) -> usize {
        self.cursor
    }

    /// The key that the keyboard is at; none where nothing is shown.
    pub fn current(&self, order: &[u32]) -> Option<u32> {
        order.get(self.cursor).copied()
    }

    /// Whether something is chosen.
    pub fn has(&self, key: u32) -> bool {
        self.chosen.contains(&key)
    }

    /// How many are chosen.
    pub fn len(&self) -> usize {
        self.chosen.len()
    }

    /// Whether nothing is.
    pub fn is_empty(&self) -> bool {
        self.chosen.is_empty()
    }

    /// The chosen keys, in the order they are shown.
    pub fn keys(&self, order: &[u32]) -> Vec<u32> {
        order.iter().copied().filter(|key| self.has(*key)).collect()
    }

    /// Chooses the thing at a place alone; with Shift all from where the last one was chosen; with
    /// the command key it is added or taken away.
    pub fn click(&mut self, place: usize, order: &[u32], modifiers: Modifiers) {
        let Some(&key) = order.get(place) else { return };
        if modifiers.shift {
            self.extend(place, order, modifiers.command);
            return;
        }
        (self.cursor, self.anchor) = (place, place);
        if !modifiers.command {
            self.chosen.clear();
            self.chosen.insert(key);
        } else if !self.chosen.remove(&key) {
            self.chosen.insert(key);
        }
    }

    /// Goes to a place: what is there is chosen alone, with Shift everything from where the last
    /// was chosen, with the command key nothing else than before.
    pub fn go(&mut self, place: usize, order: &[u32], modifiers: Modifiers) {
        let Some(last) = order.len().checked_sub(1) else { return };
        let place = place.min(last);
        match modifiers {
            _ if modifiers.shift => self.extend(place, order, false),
            _ if modifiers.command => self.cursor = place,
            _ => self.click(place, order, Modifiers::NONE),
        }
    }

    /// Adds what the keyboard is at, or takes it away.
    pub fn toggle(&mut self, order: &[u32]) {
        self.click(self.cursor, order, Modifiers::COMMAND);
    }

    /// Chooses everything that is shown.
    pub fn all(&mut self, order: &[u32]) {
        self.chosen = order.iter().copied().collect();
    }

    /// Chooses nothing.
    pub fn clear(&mut self) {
        self.chosen.clear();
    }

    /// Other things are shown, or in another order: what is not shown any more is not chosen, and
    /// the keyboard stays at its thing, or else at its place.
    pub fn follow(&mut self, before: &[u32], order: &[u32]) {
        let current = self.current(before);
        if !self.chosen.is_empty() {
            let shown: HashSet<u32> = order.iter().copied().collect();
            self.chosen.retain(|key| shown.contains(key));
        }
        let place = current.and_then(|key| order.iter().position(|other| *other == key));
        self.cursor = place.unwrap_or(self.cursor).min(order.len().saturating_sub(1));
        self.anchor = self.cursor;
    }

    fn extend(&mut self, place: usize, order: &[u32], keep: bool) {
        let anchor = self.anchor.min(order.len().saturating_sub(1));
        if !keep {
            self.chosen.clear();
        }
        self.chosen.extend(&order[anchor.min(place)..=anchor.max(place)]);
        self.cursor = place;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ORDER: [u32; 6] = [50, 40, 30, 20, 10, 0];

    #[test]
    fn ranges_are_chosen_from_where_the_last_was() {
        let mut selection = GridSelection::default();
        selection.click(1, &ORDER, Modifiers::NONE);
        selection.click(3, &ORDER, Modifiers::SHIFT);
        assert_eq!(selection.keys(&ORDER), [40, 30, 20]);
        selection.click(0, &ORDER, Modifiers::SHIFT);
        assert_eq!(selection.keys(&ORDER), [50, 40]);
        selection.click(5, &ORDER, Modifiers::COMMAND);
        assert_eq!(selection.keys(&ORDER), [50, 40, 0]);
        selection.click(3, &ORDER, Modifiers::COMMAND | Modifiers::SHIFT);
        assert_eq!(selection.keys(&ORDER), [50, 40, 20, 10, 0]);
        selection.click(4, &ORDER, Modifiers::COMMAND);
        assert_eq!(selection.keys(&ORDER), [50, 40, 20, 0]);
        selection.click(9, &ORDER, Modifiers::NONE);
        assert_eq!((selection.len(), selection.cursor()), (4, 4));
    }

    #[test]
    fn keys_walk_and_stay_inside() {
        let mut selection = GridSelection::default();
        selection.go(2, &ORDER, Modifiers::NONE);
        assert_eq!(selection.keys(&ORDER), [30]);
        selection.go(99, &ORDER, Modifiers::SHIFT);
        assert_eq!(selection.keys(&ORDER), [30, 20, 10, 0]);
        selection.go(0, &ORDER, Modifiers::COMMAND);
        assert_eq!((selection.cursor(), selection.len()), (0, 4));
        selection.toggle(&ORDER);
        assert_eq!(selection.keys(&ORDER), [50, 30, 20, 10, 0]);
        selection.go(3, &[], Modifiers::NONE);
        selection.all(&ORDER[..2]);
        assert_eq!(selection.len(), 2);
        selection.clear();
        assert!(selection.is_empty());
    }

    #[test]
    fn what_is_hidden_is_not_chosen_and_the_keyboard_keeps_its_place() {
        let mut selection = GridSelection::default();
        selection.click(2, &ORDER, Modifiers::NONE);
        selection.click(3, &ORDER, Modifiers::SHIFT);
        let other = [0, 20, 40, 50];
        selection.follow(&ORDER, &other);
        assert_eq!((selection.keys(&other), selection.cursor()), (vec![20], 1));
        selection.follow(&other, &[50, 0]);
        assert_eq!((selection.len(), selection.cursor()), (0, 1));
        selection.follow(&[50, 0], &[]);
        assert_eq!((selection.current(&[]), selection.cursor()), (None, 0));
        selection.click(0, &[], Modifiers::SHIFT);
    }
}
