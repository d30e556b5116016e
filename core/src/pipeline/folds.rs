//! Features cut into parts, each held out in turn while classifiers learn from the others.
//!
//! Where features stay and a classifier takes a second, nothing need be judged by a validation
//! split alone, of which rare classes have next to nothing.

use std::collections::HashMap;

use crate::classifier::{Classifier, FeatureSet};

/// Parts that samples are cut into.
pub(super) const FOLDS: usize = 3;

/// Held-out samples that are enough to judge by.
const ENOUGH: usize = 20_000;

/// How many of the parts have to be held out for what is judged by so many samples in all: more
/// than [`ENOUGH`] of them tell no more, and every part is one more classifier to train.
pub(super) fn needed(samples: usize) -> usize {
    (ENOUGH * FOLDS).div_ceil(samples.max(1)).clamp(1, FOLDS)
}

/// Samples to learn from, and those that are held out.
pub(super) struct Part {
    pub train: FeatureSet,
    /// Samples of each class in it, n_k; at least 1.
    pub train_counts: Vec<usize>,
    /// Which classes it has samples of.
    pub learned: Vec<bool>,
    pub held_out: FeatureSet,
}

/// What no logit of anything comes near to.
const NEVER: f32 = -1e9;

/// Keeps a classifier from taking anything for a class that it has not `learned`: corrected for how
/// rare it is, a class of which it has seen nothing would be taken for many.
pub(super) fn rule_out(classifier: &mut Classifier, learned: &[bool]) {
    let unlearned = classifier.bias.iter_mut().zip(learned).filter(|(_, learned)| !**learned);
    unlearned.for_each(|(bias, _)| *bias = NEVER);
}

/// Every so many-th row, of each class by itself, so that none is lost: of a small class [`FOLDS`]
/// stay.
pub(super) fn thinned(labels: &[u32], classes: usize, every: usize) -> Vec<usize> {
    let mut counts = vec![0_usize; classes];
    labels.iter().for_each(|&label| counts[label as usize] += 1);
    let mut met = vec![0_usize; classes];
    let is_kept = |row: &usize| {
        let class = labels[*row] as usize;
        let (count, at) = (counts[class], met[class]);
        met[class] += 1;
        let kept = count.div_ceil(every).max(FOLDS.min(count));
        // The i-th of n is kept where i · kept / n steps on.
        at * kept / count != (at + 1) * kept / count
    };
    (0..labels.len()).filter(is_kept).collect()
}

/// The part that each sample is held out in. The i-th sample of a class is held out in part i mod
/// [`FOLDS`], so that each has its share of every class. Where a class begins moves on from class
/// to class, or the first part would get all that is left over.
pub(super) fn places(labels: &[u32], classes: usize) -> Vec<usize> {
    let mut met: Vec<usize> = (0..classes).collect();
    let place = |&label: &u32| {
        let met = &mut met[label as usize];
        *met += 1;
        *met % FOLDS
    };
    labels.iter().map(place).collect()
}

/// [`places`] where samples of one group are held out together; every sample has a group, or none is
/// looked at. A group goes to the part that has the fewest samples of its classes so far. Where all
/// are one group, nothing would be left to learn from, and they are held out one by one.
pub(super) fn places_of(labels: &[u32], groups: &[Option<u32>], classes: usize) -> Vec<usize> {
    let known: Option<Vec<u32>> = groups.iter().copied().collect();
    let Some(groups) = known.filter(|known| known.len() == labels.len() && !known.is_empty())
    else {
        return places(labels, classes);
    };
    let mut members: Vec<Vec<usize>> = Vec::new();
    let mut numbers: HashMap<u32, usize> = HashMap::new();
    for (row, group) in groups.into_iter().enumerate() {
        let number = *numbers.entry(group).or_insert(members.len());
        match members.get_mut(number) {
            Some(rows) => rows.push(row),
            None => members.push(vec![row]),
        }
    }
    // Nothing belongs together, or everything does.
    if members.len() < 2 || members.len() == labels.len() {
        return self::places(labels, classes);
    }
    let mut held = vec![[0usize; FOLDS]; classes];
    let mut places = vec![0; labels.len()];
    for rows in members {
        let first = labels[rows[0]] as usize;
        let sum = |fold: usize| -> usize {
            rows.iter().map(|&row| held[labels[row] as usize][fold]).sum()
        };
        // Where a class begins moves on from class to class.
        let fold = (0..FOLDS).map(|fold| (fold + first) % FOLDS).min_by_key(|&fold| sum(fold));
        let fold = fold.unwrap_or_default();
        for row in rows {
            held[labels[row] as usize][fold] += 1;
            places[row] = fold;
        }
    }
    places
}

/// The samples with those of one part held out.
pub(super) fn part(all: &FeatureSet, places: &[usize], held_out: usize, classes: usize) -> Part {
    let (others, own): (Vec<usize>, Vec<usize>) =
        (0..all.len()).partition(|&row| places[row] != held_out);
    let (train, held_out) = (all.part(&others), all.part(&own));
    let mut train_counts = vec![0; classes];
    train.labels.iter().for_each(|&label| train_counts[label as usize] += 1);
    // A class of one image is missing where that is held out; it can be learned nowhere else
    // either.
    let learned = train_counts.iter().map(|count| *count > 0).collect();
    train_counts.iter_mut().for_each(|count| *count = (*count).max(1));
    Part { train, train_counts, learned, held_out }
}

impl Part {
    /// Without held-out samples of classes that no sample was learned from: whether these are
    /// recognised is luck. With all of them where nothing else is held out.
    pub fn of_known_classes(mut self) -> Self {
        let rows: Vec<usize> = (0..self.held_out.len())
            .filter(|&row| self.learned[self.held_out.labels[row] as usize])
            .collect();
        if !rows.is_empty() && rows.len() < self.held_out.len() {
            self.held_out = self.held_out.part(&rows);
        }
        self
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn samples_of_one_group_are_held_out_together() {
        let mut labels = Vec::new();
        let mut groups = Vec::new();
        // Nine groups of four of class 0, three of two of class 1, a group of both, a lone one.
        for (group, (label, size)) in
            [(0, 4); 9].into_iter().chain([(1, 2); 3]).chain([(2, 1)]).enumerate()
        {
            labels.extend([label].repeat(size));
            groups.extend([Some(group as u32)].repeat(size));
        }
        labels.extend([0, 1]);
        groups.extend([Some(100), Some(100)]);
        let places = places_of(&labels, &groups, 3);
        let held = |label: u32| {
            let mut held = [0; FOLDS];
            let rows = (0..labels.len()).filter(|&row| labels[row] == label);
            rows.for_each(|row| held[places[row]] += 1);
            held.sort_unstable();
            held
        };
        assert_eq!((held(0), held(1), held(2)), ([12, 12, 13], [2, 2, 3], [0, 0, 1]));
        for row in 1..labels.len() {
            assert!(groups[row] != groups[row - 1] || places[row] == places[row - 1]);
        }
        // Without groups, or without all of them, it is as ever.
        groups[3] = None;
        assert_eq!(places_of(&labels, &groups, 3), super::places(&labels, 3));
        assert_eq!(places_of(&labels, &[], 3), super::places(&labels, 3));
    }

    #[test]
    fn large_sets_are_judged_by_fewer_parts() {
        assert_eq!([10, 29_999, 30_000, 59_999, 60_000, 437_513].map(needed), [3, 3, 2, 2, 1, 1]);
        assert_eq!(needed(0), FOLDS);
    }

    #[test]
    fn rows_are_thinned_without_losing_a_class() {
        let labels = [vec![0; 12], vec![1; 2], vec![2; 1], vec![3; 5]].concat();
        let kept = thinned(&labels, 5, 3);
        let of = |class: u32| kept.iter().filter(|row| labels[**row] == class).count();
        assert_eq!([0, 1, 2, 3].map(of), [4, 2, 1, 3]);
        assert!(kept.is_sorted());
        assert_eq!(thinned(&labels, 5, 1), (0..20).collect::<Vec<_>>());
    }

    #[test]
    fn nothing_is_taken_for_a_class_that_was_not_learned() {
        let weight = vec![1.0, 0.0, 0.0, 1.0, 9.0, 9.0];
        let mut classifier = Classifier::new(3, 2, weight, vec![0.0, 0.0, 5.0]).unwrap();
        rule_out(&mut classifier, &[true, true, false]);
        let set =
            FeatureSet { dim: 2, features: vec![1.0, 0.5, 0.1, 2.0].into(), labels: vec![0, 2] };
        let answers = classifier.answers(&set).unwrap();
        assert_eq!([answers[0].predicted, answers[1].predicted], [0, 1]);
        assert_eq!(answers[1].label_probability(), 0.0);
    }

    #[test]
    fn every_sample_is_held_out_once_and_every_part_has_its_share() {
        let labels = [vec![0; 7], vec![1; 2], vec![2; 1]].concat();
        let all =
            FeatureSet { dim: 1, features: (0..10).map(|value| value as f32).collect(), labels };
        let places = places(&all.labels, 3);
        let mut held: Vec<f32> = Vec::new();
        for fold in 0..FOLDS {
            let Part { train, train_counts, learned, held_out } = part(&all, &places, fold, 3);
            assert_eq!(learned, [true, true, !held_out.labels.contains(&2)]);
            assert_eq!(train.len() + held_out.len(), 10);
            assert!((3..=4).contains(&held_out.len()), "{}", held_out.len());
            assert_eq!(
                train_counts[0] + held_out.labels.iter().filter(|label| **label == 0).count(),
                7
            );
            assert!(train_counts.iter().all(|count| *count > 0));
            held.extend_from_slice(&held_out.features);
        }
        held.sort_by(f32::total_cmp);
        assert_eq!(all.features, held);
    }
}
