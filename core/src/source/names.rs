//! Names that are written in two ways and mean the same.

use std::borrow::Cow;

use unicode_normalization::{UnicodeNormalization, is_nfc};

/// The name with every letter and its marks in one character where there is one (Unicode's
/// normalisation form C), as keyboards write it. macOS's file manager takes them apart in the names
/// of files, which look the same and are not.
pub(crate) fn composed(name: &str) -> Cow<'_, str> {
    match is_nfc(name) {
        true => Cow::Borrowed(name),
        false => Cow::Owned(name.nfc().collect()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_letter_and_its_mark_are_one() {
        assert_eq!(composed("Ka\u{308}fer"), "K\u{e4}fer");
        assert!(matches!(composed("K\u{e4}fer"), Cow::Borrowed(_)));
        // A mark for which there is no whole letter stays.
        assert_eq!(composed("q\u{308}"), "q\u{308}");
    }
}
