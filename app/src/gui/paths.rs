//! Paths as people type and paste them.

use std::path::PathBuf;

/// The path that a person has typed or pasted: without blanks around it, without the quotes in which
/// Windows' *Copy as path* puts it, and with the home folder for a leading `~`.
pub fn typed_path(text: &str) -> PathBuf {
    let text = text.trim();
    let quoted =
        ['"', '\''].into_iter().find_map(|quote| text.strip_prefix(quote)?.strip_suffix(quote));
    let text = quoted.unwrap_or(text);
    let below_home = match text.strip_prefix('~') {
        Some("") => Some(""),
        Some(rest) => rest.strip_prefix(['/', std::path::MAIN_SEPARATOR]),
        None => None,
    };
    match (below_home, dirs::home_dir()) {
        (Some(rest), Some(home)) => home.join(rest),
        _ => PathBuf::from(text),
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;

    #[test]
    fn quotes_and_the_home_folder_are_understood() {
        assert_eq!(typed_path("  /photos/a b "), Path::new("/photos/a b"));
        assert_eq!(typed_path("\"C:\\photos\""), Path::new("C:\\photos"));
        assert_eq!(typed_path("'/it'"), Path::new("/it"));
        let home = dirs::home_dir().unwrap();
        assert_eq!((typed_path("~/photos"), typed_path("~")), (home.join("photos"), home));
        // A name like any other, and half a pair.
        assert_eq!(typed_path("~photos"), Path::new("~photos"));
        assert_eq!(typed_path("\"a"), Path::new("\"a"));
    }
}
