//! Holding whole groups of samples out of training, so that nothing in validation or test has a
//! sibling among what is learned from.
//!
//! Groups can hold samples of several classes. As in Sechidis, Tsoumakas, Vlahavas, *On the
//! Stratification of Multi-Label Data* (ECML PKDD 2011), the class with the fewest groups chooses
//! first, since it has the least choice.

use std::collections::{HashMap, HashSet};

use rand::seq::SliceRandom;

use super::grouping::Grouping;
use super::options::{BuildOptions, Pick};
use crate::random::stream;
use crate::source::Split;

/// From this many groups on, a class gives a split at least one, unless it is too large.
const SMALLEST_WITH_ONE: usize = 3;

/// The samples of a build as they are handed from split to split. All vectors have one entry for
/// each class, whose samples are places in the catalog in order.
pub(super) struct WholeGroups<'a> {
    grouping: &'a Grouping,
    seed: u64,
    /// Training samples.
    pub train: Vec<Vec<usize>>,
    /// Validation samples that were held out.
    pub validation: Vec<Vec<usize>>,
    /// Test samples that were held out.
    pub test: Vec<Vec<usize>>,
}

impl<'a> WholeGroups<'a> {
    /// All training samples of each class, of which nothing is held out yet.
    pub fn new(grouping: &'a Grouping, train: Vec<Vec<usize>>, seed: u64) -> Self {
        let none = vec![Vec::new(); train.len()];
        Self { grouping, seed, train, validation: none.clone(), test: none }
    }

    /// Moves whole groups of training samples to validation or test, so that each class gives about
    /// as many as are `wanted` of it, and returns how many each gives.
    ///
    /// Of a class's groups, in a random order, those are taken that fit into what is still wanted;
    /// then one that is larger, if that brings the classes nearer to their numbers. A class of three
    /// groups or more that would give none gives its smallest, if that is at most half of what it
    /// has. Every class keeps a training sample.
    pub fn hold_out(&mut self, split: Split, wanted: &[usize]) -> Vec<usize> {
        let mut draft = Draft::of(&self.train, self.grouping, wanted);
        let mut order: Vec<usize> = (0..wanted.len()).filter(|&class| wanted[class] > 0).collect();
        order.sort_by_key(|&class| (draft.of_class[class].len(), draft.left[class], class));
        for class in order {
            let mut units = std::mem::take(&mut draft.of_class[class]);
            let place = [split as u64, class as u64];
            units.shuffle(&mut stream(self.seed, "hold out groups", &place));
            draft.choose(class, &units);
            draft.of_class[class] = units;
        }
        let Draft { units, taken, held, .. } = draft;
        let taken: HashSet<u32> = units
            .iter()
            .zip(&taken)
            .filter(|(_, taken)| **taken)
            .map(|(unit, _)| unit.group)
            .collect();
        let to = match split {
            Split::Validation => &mut self.validation,
            Split::Test | Split::Train => &mut self.test,
        };
        for (samples, to) in self.train.iter_mut().zip(to) {
            let is_taken = |sample: &usize| taken.contains(&self.grouping.group(*sample));
            to.extend(samples.extract_if(.., |sample| is_taken(sample)));
        }
        held
    }

    /// Leaves each class no more training samples than given.
    pub fn keep(&mut self, sizes: &[usize], options: &BuildOptions, places: &[usize]) {
        for ((samples, &size), &place) in self.train.iter_mut().zip(sizes).zip(places) {
            if options.pick == Pick::Random && size < samples.len() {
                samples.shuffle(&mut stream(options.seed, "pick", &[place as u64]));
            }
            samples.truncate(size);
            samples.sort_unstable();
        }
    }
}

/// A group that can be held out: its classes, and how many training samples it has of each.
struct Unit {
    group: u32,
    members: Vec<(usize, usize)>,
}

/// What is taken so far.
struct Draft<'a> {
    units: Vec<Unit>,
    /// The units that have samples of each class.
    of_class: Vec<Vec<usize>>,
    wanted: &'a [usize],
    /// Training samples each class has left.
    left: Vec<usize>,
    /// Samples of each class that are taken.
    held: Vec<usize>,
    taken: Vec<bool>,
}

impl<'a> Draft<'a> {
    fn of(train: &[Vec<usize>], grouping: &Grouping, wanted: &'a [usize]) -> Self {
        let mut units: Vec<Unit> = Vec::new();
        let mut places: HashMap<u32, usize> = HashMap::new();
        for (class, samples) in train.iter().enumerate() {
            for &sample in samples {
                let group = grouping.group(sample);
                let place = *places.entry(group).or_insert_with(|| {
                    units.push(Unit { group, members: Vec::new() });
                    units.len() - 1
                });
                match units[place].members.last_mut() {
                    Some((last, number)) if *last == class => *number += 1,
                    _ => units[place].members.push((class, 1)),
                }
            }
        }
        let mut of_class = vec![Vec::new(); train.len()];
        for (place, unit) in units.iter().enumerate() {
            unit.members.iter().for_each(|(class, _)| of_class[*class].push(place));
        }
        Self {
            of_class,
            wanted,
            left: train.iter().map(Vec::len).collect(),
            held: vec![0; train.len()],
            taken: vec![false; units.len()],
            units,
        }
    }

    /// Takes what a class gives out of its units.
    fn choose(&mut self, class: usize, units: &[usize]) {
        for &place in units {
            let fits = self.held[class] + self.size(place, class) <= self.wanted[class];
            if fits && self.gain(place) > 0 {
                self.take(place);
            }
        }
        if self.held[class] >= self.wanted[class] {
            return;
        }
        // The first of equals: `max_by_key` takes the last.
        let best = units.iter().rev().copied().max_by_key(|&place| self.gain(place));
        if let Some(best) = best.filter(|&best| self.gain(best) > 0) {
            self.take(best);
        }
        let left: usize = units.iter().filter(|&&place| !self.taken[place]).count();
        if self.held[class] == 0 && left >= SMALLEST_WITH_ONE {
            let smallest = units
                .iter()
                .copied()
                .filter(|&place| {
                    self.can_take(place) && 2 * self.size(place, class) <= self.left[class]
                })
                .min_by_key(|&place| self.size(place, class));
            if let Some(smallest) = smallest {
                self.take(smallest);
            }
        }
    }

    fn size(&self, place: usize, class: usize) -> usize {
        let members = &self.units[place].members;
        members.iter().find(|(other, _)| *other == class).map_or(0, |(_, number)| *number)
    }

    /// Whether a unit is there to be taken, and each of its classes keeps a training sample.
    fn can_take(&self, place: usize) -> bool {
        !self.taken[place]
            && self.units[place].members.iter().all(|&(class, n)| n < self.left[class])
    }

    /// How much nearer the classes come to their numbers with a unit, in samples; less than nothing
    /// if they move away from them, and for one that cannot be taken.
    fn gain(&self, place: usize) -> i64 {
        if !self.can_take(place) {
            return i64::MIN;
        }
        let off = |class: usize, more: usize| {
            (self.wanted[class] as i64 - (self.held[class] + more) as i64).abs()
        };
        let members = &self.units[place].members;
        members.iter().map(|&(class, n)| off(class, 0) - off(class, n)).sum()
    }

    fn take(&mut self, place: usize) {
        self.taken[place] = true;
        for &(class, number) in &self.units[place].members {
            self.left[class] -= number;
            self.held[class] += number;
        }
    }
}
