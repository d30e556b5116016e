use std::sync::atomic::{AtomicUsize, Ordering};

use rand::RngExt;
use rand_distr::{Distribution, StandardNormal};

use super::*;
use crate::Error;
use crate::job::{Control, Event, Silent};
use crate::random::stream;

fn quietly<T>(work: impl FnOnce(Job<'_>) -> Result<T>) -> T {
    work(Job::new(&Control::new(), &Silent)).unwrap()
}

/// Clusters far apart in many dimensions, and which each row is of.
fn clusters(clusters: usize, each: usize, dim: usize) -> (Vec<f32>, Vec<usize>) {
    let mut rng = stream(5, "clusters", &[]);
    let centres: Vec<f32> = (0..clusters * dim).map(|_| rng.random_range(-4.0..4.0)).collect();
    let labels: Vec<usize> = (0..clusters * each).map(|row| row % clusters).collect();
    let rows = labels
        .iter()
        .flat_map(|label| &centres[label * dim..][..dim])
        .map(|centre| {
            let noise: f32 = StandardNormal.sample(&mut rng);
            centre + noise
        })
        .collect();
    (rows, labels)
}

/// How far places are from where their neighbours among the rows should be: 1 if every neighbour in
/// the plane is one among the rows (Venna and Kaski, 2001).
fn trustworthiness(rows: &[f32], dim: usize, places: &[[f32; 2]], k: usize) -> f64 {
    let n = places.len();
    let order = |far: &dyn Fn(usize, usize) -> f32, from: usize| {
        let mut others: Vec<usize> = (0..n).filter(|&to| to != from).collect();
        others.sort_by(|&a, &b| far(from, a).total_cmp(&far(from, b)));
        others
    };
    let among_rows = |a: usize, b: usize| {
        let (a, b) = (&rows[a * dim..][..dim], &rows[b * dim..][..dim]);
        a.iter().zip(b).map(|(a, b)| (a - b).powi(2)).sum::<f32>()
    };
    let in_plane = |a: usize, b: usize| {
        (places[a][0] - places[b][0]).powi(2) + (places[a][1] - places[b][1]).powi(2)
    };
    let mut wrong = 0.0;
    for from in 0..n {
        let mut rank = vec![0; n];
        order(&among_rows, from).into_iter().enumerate().for_each(|(at, to)| rank[to] = at + 1);
        let near = order(&in_plane, from).into_iter().take(k);
        wrong += near.map(|to| rank[to].saturating_sub(k) as f64).sum::<f64>();
    }
    let (n, k) = (n as f64, k as f64);
    1.0 - 2.0 / (n * k * (2.0 * n - 3.0 * k - 1.0)) * wrong
}

#[test]
fn components_are_those_of_the_covariance() {
    // Three directions of deviations 9, 4 and 1 in ten dimensions, and noise of 0.01.
    let (n, dim) = (700, 10);
    let mut rng = stream(1, "rows", &[]);
    let direction = |seed: u64| {
        let mut rng = stream(seed, "direction", &[]);
        (0..dim).map(|_| StandardNormal.sample(&mut rng)).collect::<Vec<f32>>()
    };
    let mut axes = [direction(1), direction(2), direction(3)];
    for at in 0..3 {
        for before in 0..at {
            let share: f32 = axes[at].iter().zip(&axes[before]).map(|(a, b)| a * b).sum();
            let other = axes[before].clone();
            axes[at].iter_mut().zip(other).for_each(|(a, b)| *a -= share * b);
        }
        let length = axes[at].iter().map(|a| a * a).sum::<f32>().sqrt();
        axes[at].iter_mut().for_each(|a| *a /= length);
    }
    let mut rows = Vec::new();
    for _ in 0..n {
        let along: [f32; 3] = [9.0, 4.0, 1.0].map(|deviation| {
            let z: f32 = StandardNormal.sample(&mut rng);
            deviation * z
        });
        for d in 0..dim {
            let noise: f32 = StandardNormal.sample(&mut rng);
            let signal: f32 = along.iter().zip(&axes).map(|(along, axis)| along * axis[d]).sum();
            rows.push(5.0 + 0.01 * noise + signal);
        }
    }
    let found = quietly(|job| principal_components(&rows, dim, 3, 0, job));
    assert_eq!((found.kept, found.scores.len(), found.directions.len()), (3, 3 * n, 3 * dim));
    for (component, (axis, deviation)) in axes.iter().zip([9.0, 4.0, 1.0]).enumerate() {
        let along: f32 =
            found.directions[component * dim..][..dim].iter().zip(axis).map(|(a, b)| a * b).sum();
        assert!(along.abs() > 0.99, "{component}: {along}");
        let spread = found.variances[component].sqrt();
        assert!((spread / deviation - 1.0).abs() < 0.1, "{component}: {spread}");
        // Scores have that variance, and no two are correlated.
        for other in 0..3 {
            let both: f64 = found
                .scores
                .chunks_exact(3)
                .map(|row| f64::from(row[component]) * f64::from(row[other]))
                .sum::<f64>()
                / (n as f64 - 1.0);
            let expected = if other == component { found.variances[component] } else { 0.0 };
            assert!((both - expected).abs() < 1e-3 * found.variances[0], "{component} {other}");
        }
    }
    assert_eq!(quietly(|job| principal_components(&[1.0, 2.0], 2, 5, 0, job)).kept, 0);
    let flat = quietly(|job| principal_components(&[1.0; 40], 4, 3, 0, job));
    assert!(flat.scores.iter().all(|score| score.abs() < 1e-6), "{flat:?}");
}

#[test]
fn neighbours_are_the_nearest_of_all() {
    let (rows, _) = clusters(3, 41, 7);
    let n = rows.len() / 7;
    let found = quietly(|job| nearest(&rows, 7, 5, job));
    assert_eq!((found.each, found.indices.len()), (5, 5 * n));
    for row in 0..n {
        let far = |other: usize| -> f32 {
            let (a, b) = (&rows[row * 7..][..7], &rows[other * 7..][..7]);
            a.iter().zip(b).map(|(a, b)| (a - b).powi(2)).sum::<f32>().sqrt()
        };
        let mut others: Vec<usize> = (0..n).filter(|&other| other != row).collect();
        others.sort_by(|&a, &b| far(a).total_cmp(&far(b)));
        for (place, &other) in others.iter().enumerate().take(5) {
            let distance = found.distances[row * 5 + place];
            assert!((distance - far(other)).abs() < 1e-4);
            assert!((far(found.indices[row * 5 + place] as usize) - distance).abs() < 1e-4);
        }
    }
    assert_eq!(quietly(|job| nearest(&rows[..21], 7, 5, job)).each, 2);
    assert_eq!(quietly(|job| nearest(&rows[..7], 7, 5, job)), Neighbours::default());
}

#[test]
fn clusters_stay_together_and_the_same_seed_gives_the_same_places() {
    let (rows, labels) = clusters(6, 50, 30);
    let places = quietly(|job| in_two_dimensions(&rows, 30, 3, job));
    assert!(places.iter().flatten().all(|value| value.is_finite()));
    let nearest_of = |from: usize| {
        let far = |to: usize| {
            (places[from][0] - places[to][0]).powi(2) + (places[from][1] - places[to][1]).powi(2)
        };
        (0..places.len()).filter(|&to| to != from).min_by(|&a, &b| far(a).total_cmp(&far(b)))
    };
    let right = (0..places.len())
        .filter(|&from| nearest_of(from).is_some_and(|to| labels[to] == labels[from]))
        .count();
    assert!(right as f64 > 0.98 * places.len() as f64, "{right} of {}", places.len());
    let trust = trustworthiness(&rows, 30, &places, 12);
    assert!(trust > 0.9, "{trust}");
    // On one thread, too.
    let alone = rayon::ThreadPoolBuilder::new().num_threads(1).build().unwrap();
    assert_eq!(alone.install(|| quietly(|job| in_two_dimensions(&rows, 30, 3, job))), places);
    assert_ne!(quietly(|job| in_two_dimensions(&rows, 30, 4, job)), places);
}

#[test]
fn few_and_equal_samples_have_places_and_a_stop_is_heard() {
    for n in 0..5 {
        let rows: Vec<f32> = (0..n * 3).map(|i| (i * i) as f32).collect();
        let places = quietly(|job| in_two_dimensions(&rows, 3, 0, job));
        assert_eq!(places.len(), n);
        assert!(places.iter().flatten().all(|value| value.is_finite()));
    }
    let same = quietly(|job| in_two_dimensions(&[2.0; 3 * 60], 3, 0, job));
    assert!(same.iter().flatten().all(|value| value.is_finite()));

    let (rows, _) = clusters(3, 40, 8);
    let control = Control::new();
    let epochs = AtomicUsize::new(0);
    let stopper = control.clone();
    let sink = move |event: Event| {
        if let Event::Phase { name, .. } = &event
            && name == "laying out the map"
        {
            epochs.store(1, Ordering::Relaxed);
        }
        if matches!(event, Event::Progress { done: 3 }) && epochs.load(Ordering::Relaxed) > 0 {
            stopper.stop();
        }
    };
    let stopped = in_two_dimensions(&rows, 8, 0, Job::new(&control, &sink));
    assert!(matches!(stopped, Err(Error::Stopped)));
}
