//! The stack machine.

use std::borrow::Cow;
use std::collections::HashMap;

use super::{Dialect, Id, Node, integer, text};

/// The most steps a pickle may take, each of which makes or moves at most one value or mark: so
/// this bounds the values, the stack and everything on it. CIFAR's files take under a million.
pub(super) const MAX_STEPS: usize = 20_000_000;

/// The same of a file of PyTorch: a network of a thousand tensors with the state of its optimiser
/// takes a hundred thousand.
const MAX_TORCH_STEPS: usize = 4_000_000;

/// The longest code of an element type, such as `u1` or `<f16`; NumPy's are no longer.
const MAX_CODE: usize = 16;

/// The most dimensions an array may have; NumPy's own limit.
const MAX_DIMENSIONS: usize = 64;

/// Takes the steps of one pickle.
pub(super) struct Machine<'a> {
    bytes: &'a [u8],
    dialect: Dialect,
    at: usize,
    nodes: Vec<Node<'a>>,
    stack: Vec<Id>,
    /// Heights of the stack.
    marks: Vec<usize>,
    memo: HashMap<u64, Id>,
    /// Bytes made by `_codecs.encode` so far.
    encoded: usize,
    /// Opcodes so far.
    steps: usize,
}

type Step<T = ()> = Result<T, String>;

impl<'a> Machine<'a> {
    pub fn new(bytes: &'a [u8], dialect: Dialect) -> Self {
        Self {
            bytes,
            dialect,
            at: 0,
            nodes: Vec::new(),
            stack: Vec::new(),
            marks: Vec::new(),
            memo: HashMap::new(),
            encoded: 0,
            steps: 0,
        }
    }

    /// Bytes that were read.
    pub fn at(&self) -> usize {
        self.at
    }

    pub fn into_nodes(self) -> Vec<Node<'a>> {
        self.nodes
    }

    /// Takes every step, and gives the place of the outermost value.
    pub fn run(&mut self) -> Step<Id> {
        loop {
            let code = self.take(1)?[0];
            if code == b'.' {
                return self.pop();
            }
            self.step(code)?;
        }
    }

    fn step(&mut self, code: u8) -> Step {
        self.steps += 1;
        let most = if self.dialect == Dialect::Torch { MAX_TORCH_STEPS } else { MAX_STEPS };
        if self.steps > most {
            return Err(format!("it holds more than {most} values"));
        }
        match code {
            0x80 => match self.take(1)?[0] {
                0..=4 => Ok(()),
                version => Err(format!("protocol {version} is not read, only 0 to 4")),
            },
            // A frame's length, of no use to a reader that has the whole file.
            0x95 => self.take(8).map(drop),
            b'(' => {
                self.marks.push(self.stack.len());
                Ok(())
            }
            b'0' => self.pop().map(drop),
            b'1' => self.take_marked().map(drop),
            b'2' => {
                let top = *self.stack.last().ok_or("the stack is empty")?;
                self.stack.push(top);
                Ok(())
            }
            b'N' => self.push(Node::None),
            0x88 | 0x89 => self.push(Node::Bool(code == 0x88)),
            b'K' => self.little_endian(1).and_then(|value| self.push_int(value)),
            b'M' => self.little_endian(2).and_then(|value| self.push_int(value)),
            b'J' => {
                self.take(4).and_then(|bytes| self.push(Node::Int(integer(bytes, false, true))))
            }
            0x8a => self.little_endian(1).and_then(|length| self.long(length)),
            0x8b => self.little_endian(4).and_then(|length| self.long(length)),
            b'I' | b'L' => self.integer_line(code),
            b'F' => self.line().and_then(|_| self.push(Node::Float)),
            b'G' => self.take(8).and_then(|_| self.push(Node::Float)),
            b'U' | b'C' => self.bytes_of(1),
            b'T' | b'B' => self.bytes_of(4),
            0x8e => self.bytes_of(8),
            b'S' => self.quoted_line(),
            0x8c => self.text_of(1),
            b'X' => self.text_of(4),
            0x8d => self.text_of(8),
            b'V' => self.escaped_line(),
            b']' => self.push(Node::List(Vec::new())),
            b'l' => self.take_marked().and_then(|items| self.push(Node::List(items))),
            b'a' => self.pop().and_then(|item| self.extend_list(vec![item])),
            b'e' => self.take_marked().and_then(|items| self.extend_list(items)),
            b')' => self.push(Node::Tuple(Vec::new())),
            0x85..=0x87 => {
                let height = self
                    .stack
                    .len()
                    .checked_sub(usize::from(code - 0x84))
                    .ok_or("the stack is empty")?;
                let items = self.stack.split_off(height);
                self.push(Node::Tuple(items))
            }
            b't' => self.take_marked().and_then(|items| self.push(Node::Tuple(items))),
            b'}' => self.push(Node::Dict(Vec::new())),
            b'd' => {
                let items = self.take_marked()?;
                self.push(Node::Dict(Vec::new()))?;
                self.extend_dict(&items)
            }
            b's' => {
                let (value, key) = (self.pop()?, self.pop()?);
                self.extend_dict(&[key, value])
            }
            b'u' => self.take_marked().and_then(|items| self.extend_dict(&items)),
            0x8f => self.push(Node::Set),
            0x90 => self.take_marked().map(drop),
            0x91 => self.take_marked().and_then(|_| self.push(Node::Set)),
            b'p' => self.line_number().and_then(|key| self.remember(key)),
            b'q' => self.little_endian(1).and_then(|key| self.remember(key)),
            b'r' => self.little_endian(4).and_then(|key| self.remember(key)),
            0x94 => self.remember(self.memo.len() as u64),
            b'g' => self.line_number().and_then(|key| self.recall(key)),
            b'h' => self.little_endian(1).and_then(|key| self.recall(key)),
            b'j' => self.little_endian(4).and_then(|key| self.recall(key)),
            b'c' => {
                let (module, name) = (self.text_line()?, self.text_line()?);
                self.push(Node::Name { module, name })
            }
            0x93 => self.stack_name(),
            b'R' => self.reduce(),
            b'b' => self.build(),
            b'Q' if self.dialect == Dialect::Torch => {
                self.pop().and_then(|id| self.push(Node::Outside(id)))
            }
            0x81 if self.dialect == Dialect::Torch => self.call(),
            0x92 if self.dialect == Dialect::Torch => self.pop().and_then(|_keywords| self.call()),
            _ => Err(format!("opcode 0x{code:02x} is not one that plain data needs")),
        }
    }

    fn take(&mut self, count: usize) -> Step<&'a [u8]> {
        let end = self
            .at
            .checked_add(count)
            .filter(|end| *end <= self.bytes.len())
            .ok_or("the file ends early")?;
        let bytes = &self.bytes[self.at..end];
        self.at = end;
        Ok(bytes)
    }

    /// Bytes up to the next line feed, which is passed over.
    fn line(&mut self) -> Step<&'a [u8]> {
        let rest = &self.bytes[self.at..];
        let length = rest.iter().position(|&byte| byte == b'\n').ok_or("the file ends early")?;
        self.at += length + 1;
        Ok(&rest[..length])
    }

    fn text_line(&mut self) -> Step<&'a str> {
        std::str::from_utf8(self.line()?).map_err(|_| "a name is not text".into())
    }

    fn line_number(&mut self) -> Step<u64> {
        self.text_line()?.trim().parse().map_err(|_| "a memo key is no number".into())
    }

    fn little_endian(&mut self, size: usize) -> Step<u64> {
        Ok(self.take(size)?.iter().rev().fold(0, |value, &byte| value << 8 | u64::from(byte)))
    }

    fn push(&mut self, node: Node<'a>) -> Step {
        self.stack.push(self.nodes.len());
        self.nodes.push(node);
        Ok(())
    }

    fn push_int(&mut self, value: u64) -> Step {
        self.push(Node::Int(value as i64))
    }

    fn pop(&mut self) -> Step<Id> {
        if self.marks.last().is_some_and(|mark| *mark >= self.stack.len()) {
            return Err("a value is missing before a mark".into());
        }
        self.stack.pop().ok_or_else(|| "the stack is empty".into())
    }

    fn take_marked(&mut self) -> Step<Vec<Id>> {
        let mark = self.marks.pop().ok_or("a mark is missing")?;
        Ok(self.stack.split_off(mark.min(self.stack.len())))
    }

    fn bytes_of(&mut self, size: usize) -> Step {
        let length = self.little_endian(size)?;
        let bytes = self.take(usize::try_from(length).map_err(|_| "the file ends early")?)?;
        self.push(Node::Bytes(Cow::Borrowed(bytes)))
    }

    fn text_of(&mut self, size: usize) -> Step {
        let length = self.little_endian(size)?;
        let bytes = self.take(usize::try_from(length).map_err(|_| "the file ends early")?)?;
        let text = std::str::from_utf8(bytes).map_err(|_| "text is not UTF-8")?;
        self.push(Node::Text(Cow::Borrowed(text)))
    }

    fn long(&mut self, length: u64) -> Step {
        let bytes = self.take(usize::try_from(length).map_err(|_| "the file ends early")?)?;
        match bytes.len() {
            0 => self.push(Node::Int(0)),
            1..=8 => self.push(Node::Int(integer(bytes, false, true))),
            // A seed, say, which is not needed.
            _ if self.dialect == Dialect::Torch => self.push(Node::None),
            _ => Err("a number has more than 64 bits".into()),
        }
    }

    fn integer_line(&mut self, code: u8) -> Step {
        let line = self.text_line()?.trim();
        if code == b'I' && (line == "00" || line == "01") {
            return self.push(Node::Bool(line == "01"));
        }
        let value =
            line.trim_end_matches('L').parse().map_err(|_| format!("`{line}` is no integer"))?;
        self.push(Node::Int(value))
    }

    /// A Python string literal, as protocol 0 writes bytes.
    fn quoted_line(&mut self) -> Step {
        let line = self.line()?.trim_ascii();
        let inner = match line {
            [first @ (b'\'' | b'"'), inner @ .., last] if first == last => inner,
            _ => return Err("a string has no quotes".into()),
        };
        let mut bytes = Vec::with_capacity(inner.len());
        let mut rest = inner.iter();
        while let Some(&byte) = rest.next() {
            if byte != b'\\' {
                bytes.push(byte);
                continue;
            }
            bytes.push(match rest.next() {
                Some(b'n') => b'\n',
                Some(b'r') => b'\r',
                Some(b't') => b'\t',
                Some(b'x') => {
                    let digits = [rest.next(), rest.next()]
                        .map(|digit| digit.and_then(|d| char::from(*d).to_digit(16)));
                    let [Some(high), Some(low)] = digits else {
                        return Err("a string has a broken escape".into());
                    };
                    (high * 16 + low) as u8
                }
                Some(&quoted @ (b'\\' | b'\'' | b'"')) => quoted,
                _ => return Err("a string has a broken escape".into()),
            });
        }
        self.push(Node::Bytes(Cow::Owned(bytes)))
    }

    /// Text as protocol 0 writes it: Latin-1 with `\uXXXX` and `\UXXXXXXXX`.
    fn escaped_line(&mut self) -> Step {
        let line = self.line()?;
        let mut text = String::with_capacity(line.len());
        let mut at = 0;
        while let Some(&byte) = line.get(at) {
            let digits = match (byte, line.get(at + 1)) {
                (b'\\', Some(b'u')) => 4,
                (b'\\', Some(b'U')) => 8,
                _ => {
                    text.push(char::from(byte));
                    at += 1;
                    continue;
                }
            };
            let code =
                line.get(at + 2..at + 2 + digits).and_then(|hex| std::str::from_utf8(hex).ok());
            let code =
                code.and_then(|hex| u32::from_str_radix(hex, 16).ok()).and_then(char::from_u32);
            text.push(code.ok_or("text has a broken escape")?);
            at += 2 + digits;
        }
        self.push(Node::Text(Cow::Owned(text)))
    }

    fn extend_list(&mut self, items: Vec<Id>) -> Step {
        let top = *self.stack.last().ok_or("the stack is empty")?;
        let Node::List(list) = &mut self.nodes[top] else {
            return self.lost("items are added to what is not a list");
        };
        list.extend(items);
        Ok(())
    }

    fn extend_dict(&mut self, items: &[Id]) -> Step {
        let top = *self.stack.last().ok_or("the stack is empty")?;
        let Node::Dict(dict) = &mut self.nodes[top] else {
            return self.lost("entries are added to what is not a dictionary");
        };
        let pairs = items.chunks_exact(2);
        if !pairs.remainder().is_empty() {
            return Err("a dictionary key has no value".into());
        }
        dict.extend(pairs.map(|pair| (pair[0], pair[1])));
        Ok(())
    }

    /// What is done to something that was not called has no effect.
    fn lost(&self, reason: &str) -> Step {
        if self.dialect == Dialect::Torch { Ok(()) } else { Err(reason.into()) }
    }

    fn remember(&mut self, key: u64) -> Step {
        let top = *self.stack.last().ok_or("the stack is empty")?;
        self.memo.insert(key, top);
        Ok(())
    }

    fn recall(&mut self, key: u64) -> Step {
        let id = *self.memo.get(&key).ok_or("a memo entry is missing")?;
        self.stack.push(id);
        Ok(())
    }

    fn stack_name(&mut self) -> Step {
        let (name, module) = (self.pop()?, self.pop()?);
        match (&self.nodes[module], &self.nodes[name]) {
            (Node::Text(Cow::Borrowed(module)), Node::Text(Cow::Borrowed(name))) => {
                let (module, name) = (*module, *name);
                self.push(Node::Name { module, name })
            }
            _ => Err("a name is not text".into()),
        }
    }

    /// Notes what was to be called. An ordered dictionary is a dictionary, whose entries come after
    /// it or are its argument.
    fn call(&mut self) -> Step {
        let (arguments, callable) = (self.pop()?, self.pop()?);
        let Node::Name { module, name } = self.nodes[callable] else {
            return self.push(Node::None);
        };
        if (module, name) != ("collections", "OrderedDict") {
            return self.push(Node::Call { module, name, arguments });
        }
        let pair = |id: &Id| match &self.nodes[*id] {
            Node::List(pair) | Node::Tuple(pair) if pair.len() == 2 => Some((pair[0], pair[1])),
            _ => None,
        };
        let pairs: &[Id] = match &self.nodes[arguments] {
            Node::Tuple(arguments) => match arguments.first().map(|id| &self.nodes[*id]) {
                Some(Node::List(pairs)) => pairs,
                _ => &[],
            },
            _ => &[],
        };
        let entries: Vec<(Id, Id)> = pairs.iter().filter_map(pair).collect();
        // One long list, of pairs or not, can be named many times in few bytes.
        self.steps += pairs.len();
        self.push(Node::Dict(entries))
    }

    /// Works out the three calls that NumPy's arrays are made of.
    fn reduce(&mut self) -> Step {
        if self.dialect == Dialect::Torch {
            return self.call();
        }
        let (arguments, callable) = (self.pop()?, self.pop()?);
        let Node::Name { module, name } = self.nodes[callable] else {
            return Err("something that has no name is called".into());
        };
        let Node::Tuple(arguments) = &self.nodes[arguments] else {
            return Err("a call has no arguments".into());
        };
        match (module, name) {
            ("numpy.core.multiarray" | "numpy._core.multiarray", "_reconstruct") => {
                self.push(Node::Array { shape: Vec::new(), element: None, data: None })
            }
            ("numpy", "dtype") => {
                let code = arguments
                    .first()
                    .and_then(|id| text(&self.nodes[*id]))
                    .ok_or("an element type has no name")?;
                if code.len() > MAX_CODE {
                    return Err("an element type is of no known kind".into());
                }
                let code =
                    code.strip_prefix(b"|").or(code.strip_prefix(b"<")).unwrap_or(code).to_vec();
                self.push(Node::Type { code, big_endian: false })
            }
            ("_codecs", "encode") => {
                let [content, encoding] = arguments.as_slice() else {
                    return Err("bytes are encoded wrongly".into());
                };
                let (Node::Text(content), Some(b"latin1" | b"latin-1")) =
                    (&self.nodes[*content], text(&self.nodes[*encoding]))
                else {
                    return Err("bytes are encoded wrongly".into());
                };
                let bytes: Result<Vec<u8>, _> = content.chars().map(u8::try_from).collect();
                let bytes = bytes.map_err(|_| "bytes are encoded wrongly")?;
                // One long text can be named many times in few bytes.
                self.encoded = self.encoded.saturating_add(bytes.len());
                if self.encoded > self.bytes.len() {
                    return Err("it encodes more bytes than the file holds".into());
                }
                self.push(Node::Bytes(Cow::Owned(bytes)))
            }
            _ => Err(format!("it asks to call `{module}.{name}`, which is not plain data")),
        }
    }

    /// Gives an array or an element type its state.
    fn build(&mut self) -> Step {
        let state = self.pop()?;
        if self.dialect == Dialect::Torch {
            return Ok(());
        }
        let target = *self.stack.last().ok_or("the stack is empty")?;
        let Node::Tuple(state) = &self.nodes[state] else {
            return Err("a state is not a tuple".into());
        };
        let built = match &self.nodes[target] {
            Node::Type { code, .. } => {
                let order = state.get(1).and_then(|id| text(&self.nodes[*id]));
                Node::Type { code: code.clone(), big_endian: order == Some(b">") }
            }
            Node::Array { .. } => {
                let &[_version, shape, element, fortran, data] = state.as_slice() else {
                    return Err("an array's state has not five parts".into());
                };
                let Node::Tuple(shape) = &self.nodes[shape] else {
                    return Err("an array has no shape".into());
                };
                let shape: Option<Vec<usize>> = shape
                    .iter()
                    .map(|id| {
                        if let Node::Int(n) = self.nodes[*id] {
                            usize::try_from(n).ok()
                        } else {
                            None
                        }
                    })
                    .collect();
                let shape = shape.ok_or("an array has no shape")?;
                if shape.len() > MAX_DIMENSIONS {
                    return Err("an array has too many dimensions".into());
                }
                if shape.len() > 1 && matches!(self.nodes[fortran], Node::Bool(true) | Node::Int(1))
                {
                    return Err("an array is stored column by column".into());
                }
                Node::Array { shape, element: Some(element), data: Some(data) }
            }
            _ => return Err("a state is given to what has none".into()),
        };
        self.nodes[target] = built;
        Ok(())
    }
}
