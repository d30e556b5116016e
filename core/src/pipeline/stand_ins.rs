//! Classes that stand in for those of one image while ways of learning are compared.
//!
//! A class of one image is never held out: nothing would be learned of it meanwhile. Whatever is
//! chosen by held-out images is then chosen without such classes, which are the ones that balancing
//! is for, and against them: to favour them costs the others, and no held-out image tells of the
//! gain. So in each part that is held out, some classes of more images are learned from one image
//! alone, and what is held out of them counts for the classes that have no more.

use rand::RngExt;

use super::folds::Part;
use crate::random::stream;

/// Images of a class that can stand in: two of them are held out in every part, or nearly.
const ENOUGH: usize = 6;
/// One in so many of these classes stands in at a time, or what is learned would be another task.
const SHARE: usize = 4;

/// Which classes stand in for those that are never held out, in each part.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct StandIns {
    /// The classes of which all samples are held out together.
    alone: Vec<u32>,
    /// The classes that stand in for them while a part is held out, for each part. None does so twice.
    of_parts: Vec<Vec<u32>>,
}

impl StandIns {
    /// Chooses classes among samples with these labels that are held out in these places, the first
    /// `parts` of which are held out at all. As many stand in as there are classes of one image, and
    /// no more than a quarter of those that have enough: the smallest ones, since most of what is
    /// learned then stays what it is.
    pub fn choose(labels: &[u32], places: &[usize], classes: usize, parts: usize) -> Self {
        let mut counts = vec![0_usize; classes];
        let mut first = vec![None; classes];
        let mut is_alone = vec![true; classes];
        for (&label, &place) in labels.iter().zip(places) {
            let class = label as usize;
            counts[class] += 1;
            is_alone[class] &= *first[class].get_or_insert(place) == place;
        }
        let of = |is_one: &dyn Fn(usize) -> bool| -> Vec<u32> {
            (0..classes).filter(|&class| is_one(class)).map(|class| class as u32).collect()
        };
        let alone = of(&|class| counts[class] > 0 && is_alone[class]);
        let mut enough = of(&|class| counts[class] >= ENOUGH && !is_alone[class]);
        let at_a_time = alone.len().min(enough.len() / SHARE);
        enough.sort_by_key(|&class| (counts[class as usize], class));
        enough.truncate(at_a_time * parts);
        let of_part = |part| enough.iter().skip(part).step_by(parts).copied().collect();
        Self { alone, of_parts: (0..parts).map(of_part).collect() }
    }

    /// How many classes are never held out.
    pub fn alone(&self) -> usize {
        self.alone.len()
    }

    /// How many classes stand in for them, in all parts together.
    pub fn chosen(&self) -> usize {
        self.of_parts.iter().map(Vec::len).sum()
    }

    /// Takes all samples but one of the classes that stand in while this part is held out from those
    /// that are learned from. Returns the class that each held-out sample counts for, shape [held
    /// out]: its own, or one that it stands in for. Samples of a class that stands in for several are
    /// divided among them.
    pub fn apply(&self, part: &mut Part, number: usize, seed: u64) -> Vec<u32> {
        let mut counted_as = part.held_out.labels.clone();
        let stand_ins = self.of_parts.get(number).map_or(&[][..], Vec::as_slice);
        let mut keeps = vec![true; part.train.len()];
        for (at, &class) in stand_ins.iter().enumerate() {
            let of = |labels: &[u32]| -> Vec<usize> {
                (0..labels.len()).filter(|&row| labels[row] == class).collect()
            };
            let (own, held) = (of(&part.train.labels), of(&part.held_out.labels));
            if own.is_empty() || held.is_empty() {
                continue;
            }
            let mut random = stream(seed, "stand-ins", &[number as u64, class.into()]);
            let kept = own[random.random_range(0..own.len())];
            own.into_iter().filter(|&row| row != kept).for_each(|row| keeps[row] = false);
            part.train_counts[class as usize] = 1;
            // The i-th that stands in does so for each of those whose number is i when counted to how
            // many there are of either; where these are many, in each part for others of them.
            let place = at % self.alone.len();
            let stands_for = self.alone[place..].iter().step_by(stand_ins.len()).cycle();
            let stands_for = stands_for.skip(number * held.len());
            held.into_iter().zip(stands_for).for_each(|(row, &alone)| counted_as[row] = alone);
        }
        if !keeps.iter().all(|kept| *kept) {
            let rows: Vec<usize> = (0..keeps.len()).filter(|&row| keeps[row]).collect();
            part.train = part.train.part(&rows);
        }
        counted_as
    }
}

#[cfg(test)]
mod tests {
    use super::super::folds::{part, places};
    use super::*;
    use crate::classifier::FeatureSet;

    /// Four classes of many images, one of two and two of one.
    fn samples() -> FeatureSet {
        let counts = [20, 9, 7, 12, 2, 1, 1];
        let labels: Vec<u32> =
            counts.iter().enumerate().flat_map(|(k, &n)| vec![k as u32; n]).collect();
        let features = (0..labels.len()).map(|row| row as f32).collect();
        FeatureSet { dim: 1, features, labels }
    }

    #[test]
    fn the_smallest_classes_that_have_enough_stand_in_once() {
        let all = samples();
        let places = places(&all.labels, 7);
        let chosen = StandIns::choose(&all.labels, &places, 7, 3);
        assert_eq!((chosen.alone(), chosen.chosen()), (2, 3));
        // A quarter of four at a time: 7, 9 and 12 images.
        assert_eq!(
            chosen,
            StandIns { alone: vec![5, 6], of_parts: vec![vec![2], vec![1], vec![3]] }
        );
    }

    #[test]
    fn one_image_is_learned_of_them_and_those_held_out_count_for_classes_of_one() {
        let all = samples();
        let places = places(&all.labels, 7);
        let chosen = StandIns::choose(&all.labels, &places, 7, 3);
        for (number, class) in [(0, 2), (1, 1), (2, 3)] {
            let before = part(&all, &places, number, 7).of_known_classes();
            let mut found = part(&all, &places, number, 7).of_known_classes();
            let counted_as = chosen.apply(&mut found, number, 3);
            let count = |labels: &[u32], of| labels.iter().filter(|label| **label == of).count();
            assert_eq!(
                (count(&found.train.labels, class), found.train_counts[class as usize]),
                (1, 1)
            );
            let others = before.train.len() - count(&before.train.labels, class);
            assert_eq!(found.train.len(), others + 1);
            // What is held out stays, under its own label.
            assert_eq!(found.held_out, before.held_out);
            let held = count(&before.held_out.labels, class);
            assert!(held >= 2 && count(&counted_as, class) == 0);
            assert_eq!(count(&counted_as, 5) + count(&counted_as, 6), held);
            assert!(count(&counted_as, 5).abs_diff(count(&counted_as, 6)) <= 1);
            // The same again, of the same seed.
            let mut again = part(&all, &places, number, 7).of_known_classes();
            chosen.apply(&mut again, number, 3);
            assert_eq!(again.train, found.train);
        }
    }

    #[test]
    fn few_stand_ins_reach_many_classes_of_one_image() {
        // Four classes of six and six of one: one stands in at a time, with two held out.
        let labels: Vec<u32> = (0..4).flat_map(|class| [class; 6]).chain(4..10).collect();
        let features = (0..labels.len()).map(|row| row as f32).collect();
        let all = FeatureSet { dim: 1, features, labels };
        let places = places(&all.labels, 10);
        let chosen = StandIns::choose(&all.labels, &places, 10, 3);
        assert_eq!((chosen.alone(), chosen.chosen()), (6, 3));
        let mut counted: Vec<u32> = (0..3)
            .flat_map(|number| {
                let mut part = part(&all, &places, number, 10).of_known_classes();
                chosen.apply(&mut part, number, 1)
            })
            .filter(|class| *class >= 4)
            .collect();
        counted.sort_unstable();
        assert_eq!(counted, [4, 5, 6, 7, 8, 9]);
    }

    #[test]
    fn more_stand_ins_than_classes_of_one_image_share_them_and_too_few_classes_have_none() {
        let labels = [0, 0, 0, 0, 0, 0, 1, 1, 1, 1, 1, 1, 2];
        let places = places(&labels, 3);
        let chosen = StandIns::choose(&labels, &places, 3, 3);
        assert_eq!((chosen.alone(), chosen.chosen()), (1, 0));
        let none = StandIns::choose(&labels[..12], &places[..12], 3, 3);
        assert_eq!((none.alone(), none.chosen()), (0, 0));
        let shared = StandIns { alone: vec![6], of_parts: vec![vec![0, 1]] };
        let all = samples();
        let mut found = part(&all, &super::super::folds::places(&all.labels, 7), 0, 7);
        let counted_as = shared.apply(&mut found, 0, 1);
        for (label, counted) in found.held_out.labels.iter().zip(counted_as) {
            assert_eq!(counted, if *label < 2 { 6 } else { *label });
        }
    }
}
