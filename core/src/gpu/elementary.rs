//! Exponentials and logarithms of plain arithmetic. NVIDIA's compilers take theirs from a library
//! of the CUDA toolkit, which a machine with nothing but a driver does not have.

use std::f32::consts::{LOG2_E, SQRT_2};

use cubecl::prelude::*;

/// The bits of a float32's exponent begin here.
const MANTISSA: u32 = 23;
/// The natural logarithm of 2, in two pieces so that a multiple of the first is exact.
const LN_2: (f32, f32) = (0.693_359_4, -2.121_944_4e-4);
/// What numbers that are infinite, of either sign, have for bits without the sign.
const INFINITE: u32 = 0x7f80_0000;

/// `e` to the power of `x`, which is not above 0; 0 where a float32 could not hold all digits.
/// Within two units in the last place, or, from compilers that merge products, as near as `x` is to
/// its neighbours.
#[cube]
pub fn exp(x: f32) -> f32 {
    let log2_e = comptime!(LOG2_E);
    let high = comptime!(LN_2.0);
    let low = comptime!(LN_2.1);
    let floor = -87.0f32;
    // Below the floor, and where x is not a number, what is computed here is not used.
    let mut inside = 0.0f32;
    if x > floor {
        inside = x;
    }
    // The nearest whole number: `inside` is not above 0, so that cutting off what follows the point
    // rounds upwards.
    let whole = i32::cast_from(inside * log2_e - 0.5f32);
    let power = f32::cast_from(whole);
    let rest = fma(-power, low, fma(-power, high, inside));
    // The Taylor series as far as a seventh power, |rest| being at most ln 2 / 2.
    let sum = rest * (1.0f32 / 5040.0f32) + 1.0f32 / 720.0f32;
    let sum = sum * rest + 1.0f32 / 120.0f32;
    let sum = sum * rest + 1.0f32 / 24.0f32;
    let sum = sum * rest + 1.0f32 / 6.0f32;
    let sum = sum * rest + 0.5f32;
    let sum = sum * rest + 1.0f32;
    let sum = sum * rest + 1.0f32;
    let mut result = sum * f32::reinterpret(u32::cast_from(whole + 127) << MANTISSA);
    if x <= floor {
        result = 0.0f32;
    }
    if u32::reinterpret(x) & 0x7fff_ffffu32 > INFINITE {
        result = x;
    }
    result
}

/// The natural logarithm of `x`, which is 1 or more, within two units in the last place; what is
/// infinite or not a number stays so.
#[cube]
pub fn ln(x: f32) -> f32 {
    let bits = u32::reinterpret(x);
    let mut power = i32::cast_from((bits >> MANTISSA) & 255u32) - 127;
    // Between 1 and 2, or half of that where it is above the root of 2.
    let mut fraction = f32::reinterpret((bits & 0x007f_ffffu32) | 0x3f80_0000u32);
    if fraction > comptime!(SQRT_2) {
        fraction *= 0.5f32;
        power += 1;
    }
    // ln f = 2 artanh s with s = (f - 1) / (f + 1), whose series ends where s, at most 0.172,
    // leaves nothing.
    let over = fraction - 1.0f32;
    let s = over / (fraction + 1.0f32);
    let square = s * s;
    let series = square * (2.0f32 / 11.0f32) + 2.0f32 / 9.0f32;
    let series = series * square + 2.0f32 / 7.0f32;
    let series = series * square + 2.0f32 / 5.0f32;
    let series = series * square + 2.0f32 / 3.0f32;
    // 2s = over - s · over, which keeps the leading digits exact.
    let log = over - s * (over - square * series);
    let times = f32::cast_from(power);
    let high = comptime!(LN_2.0);
    let low = comptime!(LN_2.1);
    let mut result = fma(times, high, fma(times, low, log));
    if bits >= INFINITE {
        result = x;
    }
    result
}

#[cfg(test)]
mod tests {
    #![expect(unsafe_code, reason = "CubeCL does not check that a kernel stays inside its buffers")]

    use cubecl::prelude::*;

    use super::{exp, ln};
    use crate::gpu::buffer::{Buffer, cubes, units};
    use crate::gpu::test_device;

    #[cube(launch_unchecked)]
    fn both_kernel(x: &[f32], results: &mut [f32], length: u32) {
        let at = ABSOLUTE_POS as u32;
        if at < length {
            results[at as usize] = exp(x[at as usize]);
            results[(at + length) as usize] = ln(x[(at + length) as usize]);
        }
    }

    /// Exponentials of the one and logarithms of the other, as the first GPU computes them.
    fn both(below: &[f32], above: &[f32]) -> Option<(Vec<f32>, Vec<f32>)> {
        let client = test_device::client()?;
        let length = below.len();
        let handle = client.create_from_slice(f32::as_bytes(&[below, above].concat()));
        let x = Buffer { handle, length: 2 * length, elem: f32::elem_type_native() };
        let results = Buffer::floats(&client, 2 * length);
        // SAFETY: units past the values do nothing.
        unsafe {
            both_kernel::launch_unchecked(
                &client,
                cubes(length),
                units(),
                x.arg(1),
                results.arg(1),
                length as u32,
            )
        };
        let bytes = client.read_one(results.handle).expect("results can be read");
        let values = f32::from_bytes(&bytes);
        Some((values[..length].to_vec(), values[length..].to_vec()))
    }

    #[test]
    fn they_are_those_of_double_precision() {
        let below: Vec<f32> = (0..4096).map(|i| -86.9 * (i as f32 / 4095.0).powi(3)).collect();
        let above: Vec<f32> =
            (0..4096).map(|i| 1.0 + 4000.0 * (i as f32 / 4095.0).powi(4)).collect();
        let Some((exps, logs)) = both(&below, &above) else { return };
        for (x, found) in below.iter().zip(exps) {
            let right = f64::from(*x).exp();
            let apart = 1.2e-7 * (2.0 + f64::from(x.abs()));
            assert!(
                (f64::from(found) - right).abs() <= apart * right,
                "exp {x} is {right}, not {found}"
            );
        }
        for (x, found) in above.iter().zip(logs) {
            let right = f64::from(*x).ln();
            assert!(
                (f64::from(found) - right).abs() <= 2.4e-7 * right,
                "ln {x} is {right}, not {found}"
            );
        }
    }

    #[test]
    fn what_is_infinite_or_not_a_number_is_not_made_up() {
        let Some((exps, logs)) = both(
            &[0.0, -88.0, f32::NEG_INFINITY, f32::NAN],
            &[1.0, f32::MAX, f32::INFINITY, f32::NAN],
        ) else {
            return;
        };
        assert_eq!(exps[..3], [1.0, 0.0, 0.0]);
        assert!(exps[3].is_nan(), "{exps:?}");
        assert_eq!(logs[..3], [0.0, f32::MAX.ln(), f32::INFINITY]);
        assert!(logs[3].is_nan(), "{logs:?}");
    }
}
