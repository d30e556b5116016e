//! Sizes as people write them.

/// Bytes a feature cache may take if nothing else is said: 4 GiB, some 800,000 images at 1,280
/// features.
pub(super) const DEFAULT: u64 = 4 << 30;

/// The bytes that `10GB`, `1.5 GiB`, `500m` or `1000000` are.
///
/// # Errors
/// What is wrong with the text.
pub(super) fn parse(text: &str) -> Result<u64, String> {
    let wrong = || format!("`{text}` is no size; write one such as 10GB or 500MB");
    let trimmed = text.trim();
    let (number, unit) = trimmed
        .split_at(trimmed.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(trimmed.len()));
    let number: f64 = number.parse().map_err(|_| wrong())?;
    let factor: u64 = match unit.trim().to_ascii_lowercase().as_str() {
        "" | "b" => 1,
        "k" | "kb" => 1_000,
        "m" | "mb" => 1_000_000,
        "g" | "gb" => 1_000_000_000,
        "t" | "tb" => 1_000_000_000_000,
        "kib" => 1 << 10,
        "mib" => 1 << 20,
        "gib" => 1 << 30,
        "tib" => 1 << 40,
        _ => return Err(wrong()),
    };
    // More than there are bytes is as much as there can be: the conversion stops there.
    Ok((number * factor as f64).round() as u64)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_are_read_in_the_usual_units() {
        let good = [
            ("10GB", 10_000_000_000),
            (" 1.5 GiB ", 3 << 29),
            ("500m", 500_000_000),
            ("0", 0),
            ("123", 123),
            ("2kB", 2000),
        ];
        for (text, bytes) in good {
            assert_eq!(parse(text), Ok(bytes), "{text}");
        }
        assert_eq!(parse("99999999999999999999999TB"), Ok(u64::MAX));
        for text in
            ["", "GB", "ten GB", "-1GB", "1e3", "1..2GB", "10 GB or so", "1 X", "NaN", "inf"]
        {
            assert!(parse(text).unwrap_err().contains("is no size"), "{text}");
        }
    }
}
