//! Numbers as people read them.

use std::time::SystemTime;

/// An integer with a comma between thousands: `12,345`.
pub fn grouped(value: u64) -> String {
    let digits = value.to_string();
    let mut text = String::with_capacity(digits.len() + digits.len() / 3);
    for (i, digit) in digits.chars().enumerate() {
        if i > 0 && (digits.len() - i).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

/// A count that may be fractional, such as an expected one: grouped, with one decimal only where
/// there is a fraction below 100.
pub fn count(value: f64) -> String {
    if !value.is_finite() || value < 0.0 {
        "–".into()
    } else if value < 100.0 && (value - value.round()).abs() > 0.05 {
        format!("{value:.1}")
    } else {
        grouped(value.round() as u64)
    }
}

/// A share of one, as a percentage with one decimal: `52.3 %`, or `–` where there is none.
pub fn percent(share: Option<f64>) -> String {
    match share {
        Some(share) if share.is_finite() => format!("{:.1} %", 100.0 * share),
        _ => "–".into(),
    }
}

/// A difference of two shares in percentage points, with its sign: `+3.2`.
pub fn points(difference: f64) -> String {
    let points = 100.0 * difference;
    // Without this, a difference that rounds to nothing would read `-0.0`.
    if points.abs() < 0.05 {
        "0.0".into()
    } else {
        format!("{}{:.1}", if points < 0.0 { '−' } else { '+' }, points.abs())
    }
}

/// A span of time in its two largest units: `45 s`, `2 min 5 s`, `3 h 12 min`, `2 d 4 h`.
pub fn duration(seconds: f64) -> String {
    if !seconds.is_finite() || seconds < 0.0 {
        return "–".into();
    }
    if seconds < 1.0 {
        return "under 1 s".into();
    }
    let seconds = seconds.round() as u64;
    let two = |large: u64, large_unit: &str, small: u64, small_unit: &str| {
        if small == 0 {
            format!("{} {large_unit}", grouped(large))
        } else {
            format!("{} {large_unit} {small} {small_unit}", grouped(large))
        }
    };
    match seconds {
        0..60 => format!("{seconds} s"),
        60..3600 => two(seconds / 60, "min", seconds % 60, "s"),
        3600..86400 => two(seconds / 3600, "h", seconds % 3600 / 60, "min"),
        _ => two(seconds / 86400, "d", seconds % 86400 / 3600, "h"),
    }
}

/// How long ago something was, in its largest unit: `just now`, `3 h ago`.
pub fn ago(time: SystemTime) -> String {
    // A clock that was set back makes times of the future; those are as good as now.
    let seconds = SystemTime::now().duration_since(time).map_or(0.0, |age| age.as_secs_f64());
    if seconds < 60.0 {
        return "just now".into();
    }
    let text = duration(seconds);
    let largest: Vec<&str> = text.split(' ').take(2).collect();
    format!("{} ago", largest.join(" "))
}

/// A size in bytes, in units of 1024: `512 B`, `1.5 MiB`.
pub fn bytes(size: u64) -> String {
    const UNITS: [&str; 5] = ["KiB", "MiB", "GiB", "TiB", "PiB"];
    if size < 1024 {
        return format!("{size} B");
    }
    let mut value = size as f64 / 1024.0;
    let mut unit = 0;
    // What would be printed as 1024.0 belongs to the next unit.
    while value >= 1023.95 && unit + 1 < UNITS.len() {
        value /= 1024.0;
        unit += 1;
    }
    format!("{value:.1} {}", UNITS[unit])
}

/// A value with up to four significant digits, or scientific where that is shorter.
pub fn value(number: f64) -> String {
    let size = number.abs();
    if !number.is_finite() {
        "–".into()
    } else if size == 0.0 {
        "0".into()
    } else if !(1e-4..1e6).contains(&size) {
        format!("{number:.2e}")
    } else {
        let decimals = (3 - size.log10().floor() as i32).clamp(0, 7) as usize;
        let text = format!("{number:.decimals$}");
        if decimals > 0 {
            text.trim_end_matches('0').trim_end_matches('.').to_string()
        } else {
            text
        }
    }
}

/// The label of a tick on an axis whose ticks are `step` apart: no more decimals than tell ticks
/// apart, and `k` and `M` for long numbers.
pub fn tick(value: f64, step: f64) -> String {
    let size = value.abs();
    if size == 0.0 {
        return "0".into();
    }
    if size < 1e-4 {
        return format!("{value:.0e}");
    }
    // As many decimals as make the step a whole number.
    let decimals = |unit: f64| {
        let scaled = |decimals: usize| step / unit * 10f64.powi(decimals as i32);
        (0..6)
            .find(|&decimals| {
                (scaled(decimals) - scaled(decimals).round()).abs() < 1e-6 * scaled(decimals)
            })
            .unwrap_or(6)
    };
    let sign = if value < 0.0 { "−" } else { "" };
    match size {
        size if size >= 1e6 => format!("{sign}{:.*}M", decimals(1e6), size / 1e6),
        size if size >= 1e5 => format!("{sign}{:.*}k", decimals(1e3), size / 1e3),
        size if size >= 1e3 && step >= 1.0 => format!("{sign}{}", grouped(size.round() as u64)),
        size => format!("{sign}{size:.*}", decimals(1.0)),
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn thousands_are_grouped() {
        assert_eq!(
            [0, 999, 1000, 12_345, 1_234_567].map(grouped),
            ["0", "999", "1,000", "12,345", "1,234,567"]
        );
        assert_eq!([0.0, 3.5, 12.0, 1234.5, f64::NAN].map(count), ["0", "3.5", "12", "1,235", "–"]);
    }

    #[test]
    fn shares_and_their_differences_have_one_decimal() {
        assert_eq!(percent(Some(0.5234)), "52.3 %");
        assert_eq!(percent(None), "–");
        assert_eq!(percent(Some(f64::NAN)), "–");
        assert_eq!([0.0321, -0.0321, -0.0001].map(points), ["+3.2", "−3.2", "0.0"]);
    }

    #[test]
    fn durations_have_at_most_two_units() {
        assert_eq!(
            [0.2, 45.4, 125.0, 120.0].map(duration),
            ["under 1 s", "45 s", "2 min 5 s", "2 min"]
        );
        assert_eq!(
            [11_520.0, 187_200.0, f64::INFINITY, -1.0].map(duration),
            ["3 h 12 min", "2 d 4 h", "–", "–"]
        );
        assert_eq!(duration(59.7), "1 min");
    }

    #[test]
    fn ages_are_told_in_one_unit() {
        let ages = [5, 130, 3 * 3600 + 700, 49 * 3600]
            .map(|seconds| ago(SystemTime::now() - Duration::from_secs(seconds)));
        assert_eq!(ages, ["just now", "2 min ago", "3 h ago", "2 d ago"]);
        assert_eq!(ago(SystemTime::now() + Duration::from_secs(60)), "just now");
    }

    #[test]
    fn sizes_use_the_unit_that_keeps_them_short() {
        assert_eq!(
            [0, 512, 1024, 1536 * 1024, 1024 * 1024 - 1].map(bytes),
            ["0 B", "512 B", "1.0 KiB", "1.5 MiB", "1.0 MiB"]
        );
    }

    #[test]
    fn values_keep_four_digits() {
        assert_eq!(
            [0.0, 1.23456, 123.456, 0.00123456].map(value),
            ["0", "1.235", "123.5", "0.001235"]
        );
        assert_eq!([0.72, 5.0, 1200.0].map(value), ["0.72", "5", "1200"]);
        assert_eq!(value(1.5e-7), "1.50e-7");
    }

    #[test]
    fn ticks_are_told_apart_and_no_longer_than_that() {
        assert_eq!(tick(0.0, 1.0), "0");
        assert_eq!(tick(0.25, 0.25), "0.25");
        assert_eq!(tick(1.0, 0.5), "1.0");
        assert_eq!(tick(5000.0, 1000.0), "5,000");
        assert_eq!(tick(150_000.0, 50_000.0), "150k");
        assert_eq!(tick(1_500_000.0, 500_000.0), "1.5M");
        assert_eq!(tick(0.2, 0.1), "0.2");
    }
}
