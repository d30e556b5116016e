//! Names of files and folders that every system takes.

use std::collections::{HashMap, HashSet};

/// Longest name of a folder or file in bytes; most file systems allow 255, and a number may be
/// added.
const LONGEST_NAME: usize = 200;

/// Names given so far in one folder. Two that differ in case alone are the same on many file
/// systems.
#[derive(Debug, Default)]
pub(crate) struct Names {
    taken: HashSet<String>,
    /// The number to try next for a name that is taken, so that many equal names do not each try
    /// all numbers.
    next: HashMap<String, usize>,
}

impl Names {
    /// `name` with its extension, or with a number between them if that is taken.
    pub(crate) fn unique(&mut self, extension: &str, name: &str) -> String {
        let mut candidate = format!("{name}{extension}");
        let lower = candidate.to_lowercase();
        if self.taken.insert(lower.clone()) {
            return candidate;
        }
        let number = self.next.entry(lower).or_insert(2);
        loop {
            candidate = format!("{name}_{number}{extension}");
            *number += 1;
            if self.taken.insert(candidate.to_lowercase()) {
                return candidate;
            }
        }
    }
}

fn safe_character(c: char) -> char {
    if c.is_control() || r#"/\:*?"<>|"#.contains(c) { '_' } else { c }
}

/// An extension with its dot, of safe characters, or nothing if none is left. What a file holds
/// follows from its content, so one that is far too long may be cut.
pub(crate) fn safe_extension(extension: &str) -> String {
    const LONGEST: usize = 16;
    let safe: String = extension.chars().take(LONGEST).map(safe_character).collect();
    match safe.trim_end_matches(['.', ' ']) {
        "" => String::new(),
        safe => format!(".{safe}"),
    }
}

/// `name` as a file name that every system takes: no separators or control characters, not hidden,
/// not reserved by Windows, not too long, and not empty. Letters of all scripts stay.
pub fn safe_name(name: &str, extension: &str) -> String {
    let mut safe: String = name.chars().map(safe_character).collect();
    while safe.len() + extension.len() > LONGEST_NAME && safe.pop().is_some() {}
    // Windows drops spaces and dots at the end, and a dot in front hides the folder from a scan.
    let mut safe = safe.trim().trim_end_matches(['.', ' ']).to_string();
    if safe.starts_with('.') {
        safe.replace_range(..1, "_");
    }
    if safe.is_empty() || is_device(&safe) {
        safe.insert(0, '_');
    }
    safe
}

/// Whether Windows takes a name for a device, whatever comes after a dot.
fn is_device(name: &str) -> bool {
    let name = name.split('.').next().unwrap_or_default().trim_end().to_ascii_uppercase();
    let number = name.strip_prefix("COM").or_else(|| name.strip_prefix("LPT"));
    let is_numbered = number.is_some_and(|number| {
        let mut letters = number.chars();
        let first = letters.next().is_some_and(|c| c.is_ascii_digit() || "¹²³".contains(c));
        first && letters.next().is_none()
    });
    is_numbered || ["CON", "PRN", "AUX", "NUL", "CONIN$", "CONOUT$"].contains(&name.as_str())
}

/// Whether a name can be that of a file or folder on every system.
///
/// ```
/// use counterweight_core::dataset::is_safe_name;
/// assert!(is_safe_name("Vögel, zweiter Versuch"));
/// for name in ["a/b", "d:x", "what?", "run.", ".run", "aux", "CON .txt", "com¹", ""] {
///     assert!(!is_safe_name(name), "{name}");
/// }
/// ```
pub fn is_safe_name(name: &str) -> bool {
    safe_name(name, "") == name
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_safe_everywhere() {
        let cases = [
            ("../../etc", "_._.._etc"),
            ("a/b\\c:d", "a_b_c_d"),
            ("nul", "_nul"),
            ("com1.x", "_com1.x"),
            ("dots. .", "dots"),
            ("", "_"),
            ("  ", "_"),
            ("Тигр амурский", "Тигр амурский"),
            ("line\nbreak", "line_break"),
        ];
        for (name, safe) in cases {
            assert_eq!(safe_name(name, ""), safe, "{name:?}");
        }
        for (extension, safe) in [("png", ".png"), ("a:b\n", ".a_b_"), ("png ", ".png"), (" ", "")]
        {
            assert_eq!(safe_extension(extension), safe, "{extension:?}");
        }
        assert_eq!(safe_extension(&"x".repeat(200)).len(), 17);
        let long = safe_name(&"ж".repeat(500), ".png");
        assert!(long.len() <= LONGEST_NAME && long.starts_with('ж'));
    }

    #[test]
    fn many_equal_names_are_numbered_one_after_the_other() {
        let mut names = Names::default();
        // The third number is taken by a name of its own.
        assert_eq!(names.unique(".png", "1_3"), "1_3.png");
        let given: Vec<String> = (0..100_000).map(|_| names.unique(".png", "1")).collect();
        assert_eq!(given[..4], ["1.png", "1_2.png", "1_4.png", "1_5.png"]);
        assert_eq!(given.iter().collect::<HashSet<_>>().len(), 100_000);
        assert_eq!(names.unique(".PNG", "1"), "1_100002.PNG");
    }
}
