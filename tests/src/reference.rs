//! Weights and images that PyTorch's side makes by the same formula.

use counterweight_core::model::NamedTensor;

/// Numbers in −0.5..0.5 that look random and need no generator: the same formula stands in
/// `reference/make_logits.py`.
pub fn unit(name: &str, count: usize) -> Vec<f64> {
    let seed: u64 = name.bytes().zip(1u64..).map(|(byte, place)| place * u64::from(byte)).sum();
    let number = |index: u64| {
        let mut word = ((index + 1) * 2_654_435_761 + seed * 40_503) % (1 << 32);
        word ^= word >> 15;
        word = word * 2_246_822_519 % (1 << 32);
        word ^= word >> 13;
        word as f64 / 4_294_967_296.0 - 0.5
    };
    (0..count as u64).map(number).collect()
}

/// Asserts that numbers are those of the reference, up to `tolerance` of the largest of these.
///
/// # Panics
/// If they are not, with `what`.
#[expect(clippy::print_stdout, reason = "the differences are worth reading")]
pub fn assert_near(what: &str, ours: &[f32], theirs: &[f64], tolerance: f64) {
    assert_eq!(ours.len(), theirs.len(), "{what}");
    let scale = theirs.iter().fold(0.0_f64, |most, value| most.max(value.abs()));
    let worst =
        ours.iter().zip(theirs).fold(0.0_f64, |most, (a, b)| most.max((f64::from(*a) - b).abs()));
    println!("{what}: {worst:.2e} at a scale of {scale:.3}");
    assert!(worst <= tolerance * scale, "{what}: {worst} at a scale of {scale}");
}

/// Weights of a tensor by that formula, of a size that its kind usually has.
pub fn values(tensor: &NamedTensor) -> NamedTensor {
    let NamedTensor { name, shape, .. } = tensor.clone();
    let scale = |u: f64| match shape.len() {
        4 => u * 2.0 * (3.0 * 2.0 / (shape[0] * shape[2] * shape[3]) as f64).sqrt(),
        2 => u * 2.0 / (shape[1] as f64).sqrt(),
        _ if name.ends_with("running_var") || name.ends_with("weight") => 1.0 + 0.4 * u,
        _ => 0.2 * u,
    };
    let values = unit(&name, shape.iter().product()).into_iter().map(|u| scale(u) as f32).collect();
    NamedTensor { name, shape, values }
}
