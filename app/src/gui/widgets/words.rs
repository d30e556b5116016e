//! Words at the beginning of a sentence, and within one.

/// A text with a capital letter at its start.
pub fn capitalised(text: &str) -> String {
    with_first(text, |first| first.to_uppercase().collect())
}

/// A text with a small letter at its start.
pub fn uncapitalised(text: &str) -> String {
    with_first(text, |first| first.to_lowercase().collect())
}

fn with_first(text: &str, made: impl Fn(char) -> String) -> String {
    let mut letters = text.chars();
    letters.next().map_or_else(String::new, |first| made(first) + letters.as_str())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_letter_alone_is_changed() {
        assert_eq!(["stage 1", "über", ""].map(capitalised), ["Stage 1", "Über", ""]);
        assert_eq!(["Its ONNX", "its", ""].map(uncapitalised), ["its ONNX", "its", ""]);
    }
}
