//! Successive halving (Jamieson and Talwalkar, *Non-stochastic Best Arm Identification and
//! Hyperparameter Optimization*, AISTATS 2016): all begin, and after each rung the better half goes
//! on.

/// How far everybody is trained before some are left behind.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Rung {
    /// Epochs that are finished at its end.
    pub epochs: usize,
    /// How many are trained so far.
    pub members: usize,
}

/// The rungs for so many members that would train for so many epochs. The last is all epochs, for
/// two members at least, so that the best of them is chosen among such as are finished.
pub(super) fn rungs(members: usize, epochs: usize) -> Vec<Rung> {
    let mut rungs = vec![Rung { epochs, members: members.min(2) }];
    let (mut of_rung, mut so_far) = (members.min(2), epochs);
    while of_rung < members && so_far > 1 {
        of_rung = (2 * of_rung).min(members);
        so_far = (so_far / 2).max(1);
        rungs.push(Rung { epochs: so_far, members: of_rung });
    }
    // With too few epochs to halve, everybody takes part in the first.
    if let Some(first) = rungs.last_mut() {
        first.members = members;
    }
    rungs.reverse();
    rungs
}

/// The indices of the `keep` best scores, best first. Those without a score come last, and equal
/// ones in their order.
pub(super) fn best(scores: &[Option<f64>], keep: usize) -> Vec<usize> {
    let mut order: Vec<usize> = (0..scores.len()).collect();
    let score = |index: &usize| scores[*index].unwrap_or(f64::NEG_INFINITY);
    order.sort_by(|a, b| score(b).total_cmp(&score(a)));
    order.truncate(keep);
    order
}

#[cfg(test)]
mod tests {
    use super::*;

    fn numbers(members: usize, epochs: usize) -> Vec<(usize, usize)> {
        rungs(members, epochs).into_iter().map(|rung| (rung.members, rung.epochs)).collect()
    }

    #[test]
    fn half_of_them_go_on_for_twice_as_long() {
        assert_eq!(numbers(5, 60), [(5, 15), (4, 30), (2, 60)]);
        assert_eq!(numbers(8, 100), [(8, 25), (4, 50), (2, 100)]);
        assert_eq!(numbers(3, 20), [(3, 10), (2, 20)]);
        assert_eq!((numbers(2, 20), numbers(1, 20)), (vec![(2, 20)], vec![(1, 20)]));
        assert_eq!((numbers(9, 1), numbers(9, 2)), (vec![(9, 1)], vec![(9, 1), (2, 2)]));
    }

    #[test]
    fn the_best_are_those_of_the_highest_scores() {
        assert_eq!(best(&[Some(0.2), None, Some(0.5), Some(0.5), Some(0.1)], 3), [2, 3, 0]);
        assert_eq!(best(&[None, None], 2), [0, 1]);
    }
}
