//! Classes that file names begin with: `Abyssinian_12.jpg`, `cat.0.jpg`, `0007-healthy-left.png`.

use std::collections::HashMap;
use std::path::Path;

use super::names::composed;

/// The class that a file's name names: its words up to the first number, which may stand before them,
/// too. Without a number apart from the words, the name up to the digits at its end.
pub(super) fn class_in_name(file: &Path) -> Option<String> {
    let stem = composed(&file.file_stem()?.to_string_lossy()).into_owned();
    let is_break = |c: char| !c.is_alphanumeric();
    // Or one in hexadecimal, as programs give them out.
    let is_number = |word: &str| {
        let has_digit = word.bytes().any(|byte| byte.is_ascii_digit());
        let is_code = word.len() >= 6 && word.bytes().all(|byte| byte.is_ascii_hexdigit());
        has_digit && (is_code || word.bytes().all(|byte| byte.is_ascii_digit()))
    };
    // Where words begin, and whether they are numbers.
    let mut words = Vec::new();
    let mut at = 0;
    for word in stem.split(is_break) {
        if !word.is_empty() {
            words.push((at, is_number(word)));
        }
        at += word.len();
        at += stem[at..].chars().next().map_or(0, char::len_utf8);
    }
    let first = words.iter().position(|(_, number)| !number)?;
    let end = words[first..].iter().find(|(_, number)| *number).map_or(stem.len(), |(at, _)| *at);
    let mut class = stem[words[first].0..end].trim_end_matches(is_break);
    if end == stem.len() && first == 0 {
        let letters = class.trim_end_matches(|c: char| c.is_ascii_digit());
        class = letters.trim_end_matches(is_break);
    }
    (!class.is_empty()).then(|| class.to_string())
}

/// What is said of files whose names look as if they began with classes: there are several, and of
/// most files there are others of the same.
pub(super) fn offer(files: &[impl AsRef<Path>]) -> Option<String> {
    const NAMED: usize = 3;
    let mut counts: HashMap<String, usize> = HashMap::new();
    let mut named = 0;
    for class in files.iter().filter_map(|file| class_in_name(file.as_ref())) {
        *counts.entry(class).or_default() += 1;
        named += 1;
    }
    let alone = counts.values().filter(|&&count| count == 1).count();
    let is_likely = counts.len() >= 2
        && 10 * named >= 9 * files.len()
        && 4 * alone <= named
        && 2 * counts.len() <= named;
    if !is_likely {
        return None;
    }
    let mut names: Vec<&String> = counts.keys().collect();
    names.sort_by_key(|name| (std::cmp::Reverse(counts[*name]), *name));
    let names: Vec<String> = names.iter().take(NAMED).map(|name| format!("`{name}`")).collect();
    Some(format!(
        "File names look like {} classes with a number each ({}{})",
        counts.len(),
        names.join(", "),
        if counts.len() > NAMED { ", …" } else { "" }
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_class_is_what_stands_before_the_number() {
        for (name, class) in [
            ("Abyssinian_12.jpg", "Abyssinian"),
            ("american_pit_bull_terrier_101.jpg", "american_pit_bull_terrier"),
            ("cat.0.jpg", "cat"),
            ("cat (12).png", "cat"),
            ("cat12.jpg", "cat"),
            ("0007-healthy-left.png", "healthy-left"),
            ("0007_healthy_2.png", "healthy"),
            ("n01440764_10026.JPEG", "n01440764"),
            ("Schöne Äsche 3.jpg", "Schöne Äsche"),
            ("owl.jpg", "owl"),
            ("glass_08d6af19.jpg", "glass"),
            ("owl-.jpg", "owl"),
        ] {
            assert_eq!(class_in_name(Path::new(name)).as_deref(), Some(class), "{name}");
        }
        for name in ["0001.jpg", "12-13.jpg", "_.png"] {
            assert_eq!(class_in_name(Path::new(name)), None, "{name}");
        }
    }

    #[test]
    fn classes_are_offered_where_names_look_like_them() {
        let of = |names: &[&str]| offer(&names.iter().map(Path::new).collect::<Vec<_>>());
        let offered = of(&["a/cat.1.jpg", "a/cat.2.jpg", "dog.1.jpg", "dog.2.jpg", "dog.3.jpg"]);
        let text = offered.unwrap();
        assert!(
            text.starts_with("File names look like 2 classes") && text.contains("(`dog`, `cat`)")
        );
        assert_eq!(of(&["IMG_1.jpg", "IMG_2.jpg"]), None);
        assert_eq!(of(&["1.jpg", "2.jpg", "cat.1.jpg", "dog.1.jpg"]), None);
        assert_eq!(of(&["rose.jpg", "tulip.jpg", "daisy.jpg"]), None);
    }
}
