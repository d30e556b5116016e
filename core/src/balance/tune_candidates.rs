//! What tuning tries: candidates on a grid, drawn at random, and close to others.

use rand::RngExt;

use crate::random::stream;
use crate::settings::{
    Auto, BALANCERS, BalanceSettings, Balancer, BalancerInfo, PAIRED_STRENGTHS, Tuned, When,
};

/// Candidates each training gives: as trained, and with post-hoc balancers on top.
pub(super) const VARIANTS: usize = 5;

/// What the settings say themselves.
pub(super) fn asked(base: &BalanceSettings, settings: &BalanceSettings) -> BalanceSettings {
    match settings.trains() || settings.balancers.is_empty() {
        true => given(base, settings),
        false => BalanceSettings { balancers: settings.balancers.clone(), ..base.clone() },
    }
}

/// What the settings say themselves, as far as it can be trained.
pub(super) fn given(base: &BalanceSettings, settings: &BalanceSettings) -> BalanceSettings {
    let listed = settings
        .balancers
        .iter()
        .copied()
        .filter(|b| matches!(b, Balancer::WeightDecay | Balancer::MaxNorm));
    let mut given = BalanceSettings { balancers: listed.collect(), ..base.clone() };
    if !given.trains() {
        given.balancers.insert(0, Balancer::WeightDecay);
    }
    given
}

/// Candidates without training over the whole range: single balancers before pairs with logit
/// adjustment, all out of the balancers' table.
pub(super) fn post_hoc_grid(base: &BalanceSettings) -> Vec<BalanceSettings> {
    let mut tuned: Vec<(usize, &BalancerInfo)> = BALANCERS
        .iter()
        .filter_map(|entry| match entry.tuning {
            Tuned::Grid { turn, .. } => Some((turn, entry)),
            Tuned::Otherwise(_) => None,
        })
        .collect();
    tuned.sort_by_key(|(turn, _)| *turn);
    let mut grid = Vec::new();
    let mut push = |entry: &BalancerInfo, value: f64, strength: Option<f64>| {
        let mut settings = BalanceSettings { balancers: vec![entry.balancer], ..base.clone() };
        if let Tuned::Grid { set, .. } = entry.tuning {
            set(&mut settings, value);
        }
        if let Some(strength) = strength {
            settings.balancers.push(Balancer::LogitAdjustment);
            settings.logit_adjustment = strength as f32;
        }
        grid.push(settings);
    };
    for (_, entry) in &tuned {
        let Tuned::Grid { alone, .. } = entry.tuning else { continue };
        alone.iter().for_each(|value| push(entry, *value, None));
    }
    for strength in PAIRED_STRENGTHS {
        for (_, entry) in &tuned {
            let Tuned::Grid { paired, .. } = entry.tuning else { continue };
            paired.iter().for_each(|value| push(entry, *value, Some(strength)));
        }
    }
    grid
}

/// A candidate without training close to this one: the `index`-th that is drawn.
pub(super) fn near_post_hoc(best: &BalanceSettings, seed: u64, index: u64) -> BalanceSettings {
    let mut random = stream(seed, "tune around post-hoc", &[index]);
    let mut near = best.clone();
    for entry in BALANCERS.iter().filter(|entry| best.balancers.contains(&entry.balancer)) {
        let (Tuned::Grid { step, .. }, [parameter]) = (entry.tuning, entry.parameters) else {
            continue;
        };
        if step > 0.0 {
            let moved = (parameter.get)(&near) as f32 + random.random_range(-step..step);
            // Logit adjustment may go below zero; powers of norms and frequencies may not.
            let least = match entry.balancer {
                Balancer::LogitAdjustment => f32::NEG_INFINITY,
                _ => parameter.range.0 as f32,
            };
            (parameter.set)(&mut near, f64::from(hundredths(moved.max(least))));
        }
    }
    move_radius(&mut near, random.random_range(-1.0..1.0));
    near
}

/// The `index`-th of `n` trainings drawn over the whole range. The first is what the settings say,
/// the second has no weight decay.
pub(super) fn drawn_training(
    base: &BalanceSettings,
    settings: &BalanceSettings,
    seed: u64,
    index: usize,
    n: usize,
) -> BalanceSettings {
    const LEAST: f64 = 1e-5;
    const MOST: f64 = 0.5;
    let mut random = stream(seed, "tune", &[index as u64]);
    let mut candidate = base.clone();
    candidate.balancers = vec![Balancer::WeightDecay];
    // One λ from each of n equal parts of the logarithmic range, so that few draws still cover it.
    let part = (index as f64 + random.random::<f64>()) / n as f64;
    candidate.weight_decay = two_digits(LEAST * (MOST / LEAST).powf(part));
    if random.random_bool(0.6) {
        candidate.balancers.push(Balancer::MaxNorm);
        match candidate.max_norm_radius {
            Auto::Auto(_) => candidate.max_norm_delta = hundredths(random.random::<f32>()),
            Auto::Value(radius) => {
                candidate.max_norm_radius = Auto::Value(
                    hundredths(radius * 4_f32.powf(random.random_range(-1.0..1.0))).max(0.01),
                );
            }
        }
    }
    if settings.loss.info().takes_strength {
        candidate.logit_adjustment = hundredths(random.random_range(0.25..2.0));
    }
    match index {
        0 => given(base, settings),
        1 => BalanceSettings { balancers: vec![Balancer::Stage2], ..candidate },
        _ => candidate,
    }
}

/// A training close to this one: the `index`-th that is drawn.
pub(super) fn near_training(parent: &BalanceSettings, seed: u64, index: usize) -> BalanceSettings {
    let mut random = stream(seed, "tune around stage 2", &[index as u64]);
    let mut near = parent.clone();
    near.weight_decay = two_digits(near.weight_decay * 10_f64.powf(random.random_range(-0.4..0.4)));
    move_radius(&mut near, random.random_range(-1.0..1.0));
    if near.loss.info().takes_strength {
        near.logit_adjustment = hundredths(near.logit_adjustment + random.random_range(-0.2..0.2));
    }
    near
}

/// A trained candidate alone, and with post-hoc balancers on top: [`VARIANTS`] settings.
pub(super) fn variants(trained: &BalanceSettings) -> Vec<BalanceSettings> {
    let with = |balancer: Balancer, tau: f32, strength: f32| {
        let mut settings = trained.clone();
        settings.balancers.push(balancer);
        match balancer {
            Balancer::Tau => settings.tau = tau,
            _ => settings.logit_adjustment = strength,
        }
        settings
    };
    let mut variants = vec![trained.clone()];
    variants.extend([0.25, 0.5].map(|tau| with(Balancer::Tau, tau, 0.0)));
    if trained.loss.info().takes_strength {
        // The strength is one setting for the loss and the post-hoc change, so it cannot differ
        // between them.
        variants.extend([0.75, 1.0].map(|tau| with(Balancer::Tau, tau, 0.0)));
    } else {
        variants.extend([0.25, 0.5].map(|strength| with(Balancer::LogitAdjustment, 0.0, strength)));
    }
    variants
}

pub(super) fn without_post_hoc(settings: &BalanceSettings) -> BalanceSettings {
    let mut settings = settings.clone();
    settings.balancers.retain(|balancer| balancer.info().when != When::After);
    settings
}

/// Moves the δ of a listed MaxNorm by up to 0.15, or its given radius by up to a third, `by` in
/// −1..1.
fn move_radius(settings: &mut BalanceSettings, by: f32) {
    if !settings.balancers.contains(&Balancer::MaxNorm) {
        return;
    }
    match settings.max_norm_radius {
        Auto::Auto(_) => {
            settings.max_norm_delta =
                hundredths((settings.max_norm_delta + 0.15 * by).clamp(0.0, 1.0))
        }
        Auto::Value(radius) => {
            settings.max_norm_radius = Auto::Value(hundredths(radius * 1.33_f32.powf(by)).max(0.01))
        }
    }
}

fn hundredths(value: f32) -> f32 {
    (value * 100.0).round() / 100.0
}

/// Two significant digits: what is searched this coarsely should not look exact in a settings file.
fn two_digits(value: f64) -> f64 {
    format!("{value:.1e}").parse().unwrap_or(value)
}
