//! Images of one class that are nearly the same.

use std::collections::HashMap;

use rayon::prelude::*;

use super::union::Sets;
use crate::error::Result;
use crate::images::look_distance;
use crate::job::Job;

/// Neighbours in the order of names may differ in so many times the bits.
const NEIGHBOURS: u32 = 2;

/// Parts of 16 bits that a look is cut into. Of two looks that differ in at most d bits, one part
/// differs in at most d / 4 of them (Norouzi, Punjani, Fleet, *Fast Search in Hamming Space with
/// Multi-Index Hashing*, CVPR 2012).
const PARTS: u32 = 4;

/// Up to here every two are simply compared.
const FEW: usize = 3000;

/// Looks between which the job is asked whether to go on.
const STRIDE: usize = 4096;

/// Joins neighbours of a class, given in the order of their names, whose looks differ in at most
/// twice `distance` bits.
pub(super) fn join_neighbours(
    class: &[usize],
    look: impl Fn(usize) -> u64,
    distance: u32,
    sets: &mut Sets,
) {
    for pair in class.windows(2) {
        if look_distance(look(pair[0]), look(pair[1])) <= NEIGHBOURS * distance {
            sets.join(pair[0], pair[1]);
        }
    }
}

/// Joins samples of a class whose looks differ in at most `distance` bits.
pub(super) fn join(
    class: &[usize],
    look: impl Fn(usize) -> u64 + Sync,
    distance: u32,
    sets: &mut Sets,
    job: Job<'_>,
) -> Result<()> {
    // Of images that look the same only the first is compared with others.
    let mut first: HashMap<u64, usize> = HashMap::with_capacity(class.len());
    let mut looks = Vec::with_capacity(class.len());
    for &sample in class {
        let look = look(sample);
        let first = *first.entry(look).or_insert_with(|| {
            looks.push((look, sample));
            sample
        });
        sets.join(first, sample);
    }
    let index = (looks.len() > FEW).then(|| Index::of(&looks, distance / PARTS));
    let places: Vec<usize> = (0..looks.len()).collect();
    for some in places.chunks(STRIDE) {
        job.check()?;
        let pairs: Vec<(usize, usize)> = some
            .par_iter()
            .flat_map_iter(|&place| {
                let (look, sample) = looks[place];
                let near = match &index {
                    Some(index) => index.before(place, &looks, distance),
                    None => looks[..place]
                        .iter()
                        .filter(|(other, _)| look_distance(look, *other) <= distance)
                        .map(|(_, sample)| *sample)
                        .collect(),
                };
                near.into_iter().map(move |other| (sample, other))
            })
            .collect();
        pairs.into_iter().for_each(|(one, other)| sets.join(one, other));
    }
    Ok(())
}

/// Looks by the values of their parts.
struct Index {
    /// For each part and value, the places of the looks that have it, in order.
    places: Vec<HashMap<u16, Vec<u32>>>,
    /// What a part is changed by to meet those that differ in few enough bits.
    changes: Vec<u16>,
}

impl Index {
    fn of(looks: &[(u64, usize)], bits: u32) -> Self {
        let mut places = vec![HashMap::<u16, Vec<u32>>::new(); PARTS as usize];
        for (place, (look, _)) in looks.iter().enumerate() {
            for (part, places) in places.iter_mut().enumerate() {
                places.entry(value(*look, part)).or_default().push(place as u32);
            }
        }
        let changes = (0..=u16::MAX).filter(|change| change.count_ones() <= bits).collect();
        Self { places, changes }
    }

    /// The samples of looks before a place that differ from its look in at most `distance` bits.
    fn before(&self, place: usize, looks: &[(u64, usize)], distance: u32) -> Vec<usize> {
        let look = looks[place].0;
        let mut near = Vec::new();
        for (part, places) in self.places.iter().enumerate() {
            for change in &self.changes {
                let Some(others) = places.get(&(value(look, part) ^ change)) else { continue };
                let others = others.iter().map(|&other| other as usize);
                for other in others.take_while(|&other| other < place) {
                    let (other, sample) = looks[other];
                    if look_distance(look, other) <= distance {
                        near.push(sample);
                    }
                }
            }
        }
        near
    }
}

fn value(look: u64, part: usize) -> u16 {
    (look >> (16 * part)) as u16
}

#[cfg(test)]
mod tests {
    use rand::Rng;

    use super::*;
    use crate::job::{Control, Silent};
    use crate::random::stream;

    fn sets_of(looks: &[u64], distance: u32) -> (Vec<u32>, usize) {
        let mut sets = Sets::new(looks.len());
        let class: Vec<usize> = (0..looks.len()).collect();
        let control = Control::new();
        join(&class, |i| looks[i], distance, &mut sets, Job::new(&control, &Silent)).unwrap();
        sets.numbered()
    }

    #[test]
    fn the_index_finds_what_comparing_all_finds() {
        for distance in [0, 3, 4, 8, 11] {
            let mut random = stream(u64::from(distance), "looks", &[]);
            let mut looks: Vec<u64> = Vec::new();
            for _ in 0..FEW + 200 {
                // Now and then something near to one that is there.
                let look = match looks.len() {
                    0 => random.next_u64(),
                    n if random.next_u32().is_multiple_of(3) => {
                        let mut look = looks[random.next_u32() as usize % n];
                        for _ in 0..random.next_u32() % (distance + 3) {
                            look ^= 1 << (random.next_u32() % 64);
                        }
                        look
                    }
                    _ => random.next_u64(),
                };
                looks.push(look);
            }
            let found = sets_of(&looks, distance);
            let mut all = Sets::new(looks.len());
            for a in 0..looks.len() {
                for b in 0..a {
                    if look_distance(looks[a], looks[b]) <= distance {
                        all.join(a, b);
                    }
                }
            }
            assert_eq!(found, all.numbered(), "{distance}");
            assert!(found.1 < looks.len());
        }
    }

    #[test]
    fn a_hundred_thousand_images_take_seconds_at_most() {
        let mut random = stream(0, "looks", &[]);
        // A third of them all but blank.
        let looks: Vec<u64> = (0..100_000)
            .map(|i| match i % 3 {
                0 => 1 << (random.next_u32() % 64) & 0xff,
                _ => random.next_u64(),
            })
            .collect();
        let started = std::time::Instant::now();
        let (_, number) = sets_of(&looks, 8);
        assert!(started.elapsed().as_secs() < 300, "{:?}", started.elapsed());
        assert!((60_000..70_000).contains(&number), "{number}");
    }
}
