//! Sets that are joined, as disjoint-set forests (Tarjan, *Efficiency of a good but not linear set
//! union algorithm*, 1975).

/// Things 0..n, each in a set.
pub(super) struct Sets {
    parents: Vec<u32>,
}

impl Sets {
    /// `number` things, each in a set of its own.
    pub fn new(number: usize) -> Self {
        Self { parents: (0..number as u32).collect() }
    }

    /// Makes the sets of two things one.
    pub fn join(&mut self, one: usize, other: usize) {
        let (one, other) = (self.root(one), self.root(other));
        // The first of a set stands for it, whatever order it was joined in.
        self.parents[one.max(other) as usize] = one.min(other);
    }

    /// The set of each thing, numbered in the order of their first things; and how many there are.
    pub fn numbered(mut self) -> (Vec<u32>, usize) {
        let mut numbers = vec![0; self.parents.len()];
        let mut sets = 0;
        for thing in 0..self.parents.len() {
            let root = self.root(thing) as usize;
            if root == thing {
                numbers[thing] = sets;
                sets += 1;
            } else {
                numbers[thing] = numbers[root];
            }
        }
        (numbers, sets as usize)
    }

    fn root(&mut self, mut thing: usize) -> u32 {
        loop {
            let parent = self.parents[thing] as usize;
            if parent == thing {
                return thing as u32;
            }
            // Halves the way for the next who comes.
            self.parents[thing] = self.parents[parent];
            thing = parent;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn joined_sets_have_one_number() {
        let mut sets = Sets::new(7);
        for (one, other) in [(5, 3), (3, 6), (1, 1), (6, 5), (2, 4)] {
            sets.join(one, other);
        }
        assert_eq!(sets.numbered(), (vec![0, 1, 2, 3, 2, 3, 3], 4));
        let mut chain = Sets::new(100_000);
        (1..100_000).rev().for_each(|i| chain.join(i, i - 1));
        assert_eq!(chain.numbered().1, 1);
    }
}
