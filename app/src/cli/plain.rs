//! Text of anybody's on a terminal: names of files and classes may hold codes that terminals obey.

use std::borrow::Cow;
use std::io::{self, Write};

/// A text with every code in it written out, as `\u{1b}` for the one that most begin with: it shows
/// what is there and does nothing. Ends of lines and tabulators stay.
pub fn plain(text: &str) -> Cow<'_, str> {
    written_out(text, |_| None)
}

/// The same of a text that may have the colours of a verdict in it.
pub fn painted(text: &str) -> Cow<'_, str> {
    written_out(text, our_style)
}

/// JSON whose strings hold no such codes: standard JSON lets some of them stand.
pub fn json(text: &str) -> Cow<'_, str> {
    if !text.contains(is_code) {
        return text.into();
    }
    let mut clean = String::with_capacity(text.len() + 16);
    for character in text.chars() {
        match is_code(character) {
            // None of them needs two.
            true => clean += &format!("\\u{:04x}", u32::from(character)),
            false => clean.push(character),
        }
    }
    clean.into()
}

/// What terminals obey: control characters, and those that turn the direction of what follows.
fn is_code(character: char) -> bool {
    let turns = matches!(character, '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}');
    turns || (character.is_control() && !matches!(character, '\n' | '\t'))
}

fn written_out(text: &str, own: impl Fn(&str) -> Option<&str>) -> Cow<'_, str> {
    if !text.contains(is_code) {
        return text.into();
    }
    let mut clean = String::with_capacity(text.len() + 16);
    let mut rest = text;
    while let Some(character) = rest.chars().next() {
        if let Some(kept) = own(rest) {
            clean += kept;
            rest = &rest[kept.len()..];
            continue;
        }
        match is_code(character) {
            true => clean.extend(character.escape_unicode()),
            false => clean.push(character),
        }
        rest = &rest[character.len_utf8()..];
    }
    clean.into()
}

/// The codes that a verdict is coloured with, and their end, if the text begins with them.
fn our_style(text: &str) -> Option<&str> {
    const END: &str = "\u{1b}[0m";
    if text.starts_with(END) {
        return Some(END);
    }
    let color = text.strip_prefix("\u{1b}[1m\u{1b}[3")?;
    let is_verdict = color.starts_with(['1', '2', '3']) && color[1..].starts_with("mverdict: ");
    is_verdict.then(|| &text[..text.len() - color.len() + 2])
}

/// Writes text plainly. What is no text passes as it is.
pub struct Plain<W>(pub W);

impl<W: Write> Write for Plain<W> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        match std::str::from_utf8(bytes) {
            Ok(text) => self.0.write_all(plain(text).as_bytes())?,
            Err(_) => self.0.write_all(bytes)?,
        }
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        self.0.flush()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn codes_are_written_out_and_text_stays() {
        let text = "Größe\t😀\nनमस्ते \u{200f}";
        assert_eq!(plain(text), text);
        assert_eq!(
            plain("a\u{1b}[2Jb\r\u{7}\u{9b}\u{7f}"),
            "a\\u{1b}[2Jb\\u{d}\\u{7}\\u{9b}\\u{7f}"
        );
        assert_eq!(plain("gpj.\u{202e}exe"), "gpj.\\u{202e}exe");
        let value = serde_json::json!({"class": "x\u{1b}\u{9b}\u{202e}\u{7f}é"});
        let text = serde_json::to_string(&value).unwrap();
        let clean = json(&text);
        assert!(!clean.contains(is_code), "{clean}");
        assert_eq!(serde_json::from_str::<serde_json::Value>(&clean).unwrap(), value);
    }

    #[test]
    fn only_verdicts_are_coloured() {
        let verdict = "\u{1b}[1m\u{1b}[32mverdict: usable\u{1b}[0m\nfine";
        assert_eq!(painted(verdict), verdict);
        for name in ["\u{1b}[1m\u{1b}[32mcat", "\u{1b}[31mcat", "\u{1b}[1m\u{1b}[38mverdict: "] {
            assert!(!painted(name).contains('\u{1b}'), "{name:?}");
        }
    }

    #[test]
    fn what_is_written_bit_by_bit_is_clean() {
        let mut out = Plain(Vec::new());
        out.write_all("a,\u{1b}]0;title\u{7}\n".as_bytes()).unwrap();
        out.write_all(&[0xff]).unwrap();
        assert_eq!(out.0, b"a,\\u{1b}]0;title\\u{7}\n\xff");
    }
}
