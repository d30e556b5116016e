//! Class names in Ultralytics' form: the text of a Python dict, `{0: 'apple', 1: 'bear'}`, as tools
//! around YOLO read them.

/// Writes class names as a Python dict literal that `ast.literal_eval` reads back exactly.
pub(crate) fn to_python(classes: &[String]) -> String {
    let items: Vec<String> = classes
        .iter()
        .enumerate()
        .map(|(index, name)| format!("{index}: {}", quoted(name)))
        .collect();
    format!("{{{}}}", items.join(", "))
}

fn quoted(name: &str) -> String {
    let mut text = String::with_capacity(name.len() + 2);
    text.push('\'');
    for c in name.chars() {
        match c {
            '\\' => text += "\\\\",
            '\'' => text += "\\'",
            '\n' => text += "\\n",
            '\r' => text += "\\r",
            '\t' => text += "\\t",
            c if (c as u32) < 0x20 || (0x7f..0xa0).contains(&(c as u32)) => {
                text += &format!("\\x{:02x}", c as u32)
            }
            c => text.push(c),
        }
    }
    text.push('\'');
    text
}

/// Reads a Python dict literal from numbers to strings. `None` unless its keys are 0, 1, 2 … in any
/// order.
pub(crate) fn from_python(text: &str) -> Option<Vec<String>> {
    let mut reader = Reader { rest: text.trim().chars().peekable() };
    let mut found = std::collections::BTreeMap::new();
    reader.take('{')?;
    while !reader.peek('}') {
        let key = reader.number()?;
        reader.take(':')?;
        found.insert(key, reader.string()?);
        if !reader.peek('}') {
            reader.take(',')?;
        }
    }
    reader.take('}')?;
    reader.space();
    let complete = reader.rest.peek().is_none() && found.keys().copied().eq(0..found.len());
    complete.then(|| found.into_values().collect())
}

struct Reader<'a> {
    rest: std::iter::Peekable<std::str::Chars<'a>>,
}

impl Reader<'_> {
    fn space(&mut self) {
        while self.rest.next_if(|c| c.is_whitespace()).is_some() {}
    }

    fn peek(&mut self, wanted: char) -> bool {
        self.space();
        self.rest.peek() == Some(&wanted)
    }

    fn take(&mut self, wanted: char) -> Option<()> {
        self.space();
        self.rest.next_if_eq(&wanted).map(|_| ())
    }

    fn number(&mut self) -> Option<usize> {
        self.space();
        let mut digits = String::new();
        while let Some(digit) = self.rest.next_if(char::is_ascii_digit) {
            digits.push(digit);
        }
        digits.parse().ok()
    }

    fn string(&mut self) -> Option<String> {
        self.space();
        let quote = self.rest.next_if(|&c| c == '\'' || c == '"')?;
        let mut text = String::new();
        loop {
            match self.rest.next()? {
                c if c == quote => return Some(text),
                '\\' => text.push(match self.rest.next()? {
                    'n' => '\n',
                    'r' => '\r',
                    't' => '\t',
                    'x' => self.code(2)?,
                    'u' => self.code(4)?,
                    'U' => self.code(8)?,
                    c @ ('\\' | '\'' | '"') => c,
                    _ => return None,
                }),
                c => text.push(c),
            }
        }
    }

    fn code(&mut self, digits: usize) -> Option<char> {
        let mut code = 0u32;
        for _ in 0..digits {
            code = code.checked_mul(16)?.checked_add(self.rest.next()?.to_digit(16)?)?;
        }
        char::from_u32(code)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn awkward_names_round_trip() {
        let names = [
            "apple",
            "l'été",
            "C:\\new",
            "line\nbreak",
            "\"both\" 'quotes'",
            "ёлка",
            "\u{7f}\u{1}",
            "",
            "{0: 'x'}",
        ];
        let names: Vec<String> = names.into_iter().map(String::from).collect();
        let text = to_python(&names);
        assert!(text.starts_with("{0: 'apple', 1: 'l\\'été', 2: 'C:\\\\new', "), "{text}");
        assert_eq!(from_python(&text), Some(names));
    }

    #[test]
    fn other_ways_of_writing_are_read_and_damage_is_refused() {
        let two = Some(vec!["a".to_string(), "b\u{e9}".to_string()]);
        assert_eq!(from_python(" { 1 : \"b\\u00e9\" ,0:'a', } "), two);
        assert_eq!(from_python("{}"), Some(Vec::new()));
        for wrong in [
            "",
            "{",
            "{0: 'a'",
            "{1: 'a'}",
            "{0: a}",
            "{0: 'a'} x",
            "{0: 'a\\q'}",
            "['a']",
            "{99999999999999999999: 'a'}",
        ] {
            assert_eq!(from_python(wrong), None, "{wrong}");
        }
    }
}
