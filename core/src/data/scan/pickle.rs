//! Reads pickles as data.
//!
//! A pickle is a program for a stack machine, and Python's own reader will call any function it names. This one knows the opcodes of
//! protocols 0 to 4 that build numbers, text, bytes, lists, tuples and dictionaries, and of everything a pickle may name it accepts
//! NumPy arrays, NumPy types and `_codecs.encode`, whose results it works out itself. Nothing is executed; any other name is an error.

use std::borrow::Cow;
use std::collections::HashMap;

/// The most steps a pickle may take, each of which makes or moves at most one value or mark: so this bounds the values, the stack and
/// everything on it. CIFAR's files take under a million.
const MAX_STEPS: usize = 20_000_000;

/// The most names a list of names may hold, and the most bytes of one. CIFAR-100 has 100 short ones.
const MAX_NAMES: usize = 1000;

/// The longest code of an element type, such as `u1` or `<f16`; NumPy's are no longer.
const MAX_CODE: usize = 16;

/// The most dimensions an array may have; NumPy's own limit.
const MAX_DIMENSIONS: usize = 64;

/// A value's place in [`Pickle::nodes`]. Values refer to each other by place, so that a value on the stack and in the memo are one, and
/// so that deeply nested values are dropped without recursion.
type Id = usize;

#[derive(Debug)]
enum Node<'a> {
    None,
    Bool(bool),
    Int(i64),
    Float,
    Bytes(Cow<'a, [u8]>),
    Text(Cow<'a, str>),
    List(Vec<Id>),
    Tuple(Vec<Id>),
    Dict(Vec<(Id, Id)>),
    Set,
    Name {
        module: &'a str,
        name: &'a str,
    },
    /// A NumPy element type, such as `u1` or `i8`, and whether it is big-endian.
    Type {
        code: Vec<u8>,
        big_endian: bool,
    },
    /// A NumPy array; its state comes after it.
    Array {
        shape: Vec<usize>,
        element: Option<Id>,
        data: Option<Id>,
    },
}

/// A pickle's values.
#[derive(Debug)]
pub(super) struct Pickle<'a> {
    nodes: Vec<Node<'a>>,
    root: Id,
}

impl<'a> Pickle<'a> {
    /// Reads a whole pickle. An error is a sentence saying what is wrong with it.
    pub fn read(bytes: &'a [u8]) -> Result<Self, String> {
        let mut machine =
            Machine { bytes, at: 0, nodes: Vec::new(), stack: Vec::new(), marks: Vec::new(), memo: HashMap::new(), encoded: 0, steps: 0 };
        let root = machine.run().map_err(|reason| format!("its pickle cannot be read at byte {}: {reason}", machine.at))?;
        Ok(Self { nodes: machine.nodes, root })
    }

    /// The value under `key` of the outermost dictionary.
    fn get(&self, key: &str) -> Result<&Node<'a>, String> {
        let Node::Dict(items) = &self.nodes[self.root] else { return Err("its pickle is not a dictionary".into()) };
        let found = items.iter().find(|(k, _)| text(&self.nodes[*k]) == Some(key.as_bytes()));
        found.map(|(_, value)| &self.nodes[*value]).ok_or_else(|| format!("its dictionary has no `{key}`"))
    }

    /// A list of integers, or an array of them.
    pub fn integers(&self, key: &str) -> Result<Vec<i64>, String> {
        let wrong = || format!("`{key}` is not a list of integers");
        match self.get(key)? {
            Node::List(items) | Node::Tuple(items) => {
                items.iter().map(|id| if let Node::Int(value) = self.nodes[*id] { Ok(value) } else { Err(wrong()) }).collect()
            }
            Node::Array { shape, element: Some(element), data: Some(data) } if shape.len() == 1 => {
                let (Node::Type { code, big_endian }, Some(bytes)) = (&self.nodes[*element], text(&self.nodes[*data])) else {
                    return Err(wrong());
                };
                let (signed, size) = match code.as_slice() {
                    [kind @ (b'i' | b'u'), size @ (b'1' | b'2' | b'4' | b'8')] => (*kind == b'i', usize::from(size - b'0')),
                    _ => return Err(wrong()),
                };
                if shape[0].checked_mul(size) != Some(bytes.len()) {
                    return Err(format!("`{key}` has not the size it states"));
                }
                Ok(bytes.chunks_exact(size).map(|chunk| integer(chunk, *big_endian, signed)).collect())
            }
            _ => Err(wrong()),
        }
    }

    /// A short list of short text. A long text can be named many times in few bytes, so lengths are looked at before anything is copied.
    pub fn texts(&self, key: &str) -> Result<Vec<String>, String> {
        let wrong = || format!("`{key}` is not a list of text");
        let Node::List(items) = self.get(key)? else { return Err(wrong()) };
        if items.len() > MAX_NAMES || items.iter().filter_map(|id| text(&self.nodes[*id])).any(|name| name.len() > MAX_NAMES) {
            return Err(format!("`{key}` holds more than {MAX_NAMES} names or one of more than {MAX_NAMES} bytes"));
        }
        items.iter().map(|id| text(&self.nodes[*id]).map(|t| String::from_utf8_lossy(t).into_owned()).ok_or_else(wrong)).collect()
    }

    /// An array of bytes of two dimensions, in row order: its shape and its values.
    pub fn byte_matrix(&self, key: &str) -> Result<([usize; 2], &[u8]), String> {
        let wrong = || format!("`{key}` is not a two-dimensional array of bytes");
        let Node::Array { shape, element: Some(element), data: Some(data) } = self.get(key)? else { return Err(wrong()) };
        let Node::Type { code, .. } = &self.nodes[*element] else { return Err(wrong()) };
        let &[rows, columns] = shape.as_slice() else { return Err(wrong()) };
        let bytes = text(&self.nodes[*data]).ok_or_else(wrong)?;
        if code.as_slice() != b"u1" || rows.checked_mul(columns) != Some(bytes.len()) {
            return Err(wrong());
        }
        Ok(([rows, columns], bytes))
    }
}

/// Text or bytes; Python 2 did not tell them apart.
fn text<'n>(node: &'n Node<'_>) -> Option<&'n [u8]> {
    match node {
        Node::Text(text) => Some(text.as_bytes()),
        Node::Bytes(bytes) => Some(bytes),
        _ => None,
    }
}

fn integer(bytes: &[u8], big_endian: bool, signed: bool) -> i64 {
    let mut value = [0u8; 8];
    for (i, byte) in bytes.iter().take(8).enumerate() {
        value[if big_endian { bytes.len() - 1 - i } else { i }] = *byte;
    }
    let value = i64::from_le_bytes(value);
    let unused = 64 - 8 * bytes.len().min(8) as u32;
    if signed && unused > 0 && unused < 64 { value << unused >> unused } else { value }
}

struct Machine<'a> {
    bytes: &'a [u8],
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
    fn run(&mut self) -> Step<Id> {
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
        if self.steps > MAX_STEPS {
            return Err(format!("it holds more than {MAX_STEPS} values"));
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
            b'J' => self.take(4).and_then(|bytes| self.push(Node::Int(integer(bytes, false, true)))),
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
                let height = self.stack.len().checked_sub(usize::from(code - 0x84)).ok_or("the stack is empty")?;
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
            _ => Err(format!("opcode 0x{code:02x} is not one that plain data needs")),
        }
    }

    fn take(&mut self, count: usize) -> Step<&'a [u8]> {
        let end = self.at.checked_add(count).filter(|end| *end <= self.bytes.len()).ok_or("the file ends early")?;
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
            _ => Err("a number has more than 64 bits".into()),
        }
    }

    fn integer_line(&mut self, code: u8) -> Step {
        let line = self.text_line()?.trim();
        if code == b'I' && (line == "00" || line == "01") {
            return self.push(Node::Bool(line == "01"));
        }
        let value = line.trim_end_matches('L').parse().map_err(|_| format!("`{line}` is no integer"))?;
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
                    let digits = [rest.next(), rest.next()].map(|digit| digit.and_then(|d| char::from(*d).to_digit(16)));
                    let [Some(high), Some(low)] = digits else { return Err("a string has a broken escape".into()) };
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
            let code = line.get(at + 2..at + 2 + digits).and_then(|hex| std::str::from_utf8(hex).ok());
            let code = code.and_then(|hex| u32::from_str_radix(hex, 16).ok()).and_then(char::from_u32);
            text.push(code.ok_or("text has a broken escape")?);
            at += 2 + digits;
        }
        self.push(Node::Text(Cow::Owned(text)))
    }

    fn extend_list(&mut self, items: Vec<Id>) -> Step {
        let top = *self.stack.last().ok_or("the stack is empty")?;
        let Node::List(list) = &mut self.nodes[top] else { return Err("items are added to what is not a list".into()) };
        list.extend(items);
        Ok(())
    }

    fn extend_dict(&mut self, items: &[Id]) -> Step {
        let top = *self.stack.last().ok_or("the stack is empty")?;
        let Node::Dict(dict) = &mut self.nodes[top] else { return Err("entries are added to what is not a dictionary".into()) };
        let pairs = items.chunks_exact(2);
        if !pairs.remainder().is_empty() {
            return Err("a dictionary key has no value".into());
        }
        dict.extend(pairs.map(|pair| (pair[0], pair[1])));
        Ok(())
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

    /// Works out the three calls that NumPy's arrays are made of.
    fn reduce(&mut self) -> Step {
        let (arguments, callable) = (self.pop()?, self.pop()?);
        let Node::Name { module, name } = self.nodes[callable] else { return Err("something that has no name is called".into()) };
        let Node::Tuple(arguments) = &self.nodes[arguments] else { return Err("a call has no arguments".into()) };
        match (module, name) {
            ("numpy.core.multiarray" | "numpy._core.multiarray", "_reconstruct") => {
                self.push(Node::Array { shape: Vec::new(), element: None, data: None })
            }
            ("numpy", "dtype") => {
                let code = arguments.first().and_then(|id| text(&self.nodes[*id])).ok_or("an element type has no name")?;
                if code.len() > MAX_CODE {
                    return Err("an element type is of no known kind".into());
                }
                let code = code.strip_prefix(b"|").or(code.strip_prefix(b"<")).unwrap_or(code).to_vec();
                self.push(Node::Type { code, big_endian: false })
            }
            ("_codecs", "encode") => {
                let [content, encoding] = arguments.as_slice() else { return Err("bytes are encoded wrongly".into()) };
                let (Node::Text(content), Some(b"latin1" | b"latin-1")) = (&self.nodes[*content], text(&self.nodes[*encoding])) else {
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
        let target = *self.stack.last().ok_or("the stack is empty")?;
        let Node::Tuple(state) = &self.nodes[state] else { return Err("a state is not a tuple".into()) };
        let built = match &self.nodes[target] {
            Node::Type { code, .. } => {
                let order = state.get(1).and_then(|id| text(&self.nodes[*id]));
                Node::Type { code: code.clone(), big_endian: order == Some(b">") }
            }
            Node::Array { .. } => {
                let &[_version, shape, element, fortran, data] = state.as_slice() else {
                    return Err("an array's state has not five parts".into());
                };
                let Node::Tuple(shape) = &self.nodes[shape] else { return Err("an array has no shape".into()) };
                let shape: Option<Vec<usize>> =
                    shape.iter().map(|id| if let Node::Int(n) = self.nodes[*id] { usize::try_from(n).ok() } else { None }).collect();
                let shape = shape.ok_or("an array has no shape")?;
                if shape.len() > MAX_DIMENSIONS {
                    return Err("an array has too many dimensions".into());
                }
                if shape.len() > 1 && matches!(self.nodes[fortran], Node::Bool(true) | Node::Int(1)) {
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

#[cfg(test)]
mod tests {
    use super::*;

    // pickle.dumps({"data": np.arange(6, dtype=np.uint8).reshape(2, 3), "labels": [3, 250],
    // "fine": np.array([1, -2], dtype=">i4"), "names": ["dog", "собака"]}, protocol=N)
    const PROTOCOL_0: &[u8] =
        b"(dp0\nVdata\np1\ncnumpy._core.multiarray\n_reconstruct\np2\n(cnumpy\nndarray\np3\n(I0\ntp4\nc_codecs\nencode\np5\n(Vb\
        \np6\nVlatin1\np7\ntp8\nRp9\ntp10\nRp11\n(I1\n(I2\nI3\ntp12\ncnumpy\ndtype\np13\n(Vu1\np14\nI00\nI01\ntp15\nRp16\n(I3\
        \nV|\np17\nNNNI-1\nI-1\nI0\ntp18\nbI00\ng5\n(V\x5cu0000\x01\x02\x03\x04\x05\np19\ng7\ntp20\nRp21\ntp22\nbsVlabels\np23\
        \n(lp24\nI3\naI250\nasVfine\np25\ng2\n(g3\n(I0\ntp26\ng9\ntp27\nRp28\n(I1\n(I2\ntp29\ng13\n(Vi4\np30\nI00\nI01\ntp31\n\
        Rp32\n(I3\nV>\np33\nNNNI-1\nI-1\nI0\ntp34\nbI00\ng5\n(V\x5cu0000\x5cu0000\x5cu0000\x01\xff\xff\xff\xfe\np35\ng7\ntp36\
        \nRp37\ntp38\nbsVnames\np39\n(lp40\nVdog\np41\naV\x5cu0441\x5cu043e\x5cu0431\x5cu0430\x5cu043a\x5cu0430\np42\nas.";
    const PROTOCOL_2: &[u8] =
        b"\x80\x02}q\x00(X\x04\x00\x00\x00dataq\x01cnumpy._core.multiarray\n_reconstruct\nq\x02cnumpy\nndarray\nq\x03K\x00\x85q\
        \x04c_codecs\nencode\nq\x05X\x01\x00\x00\x00bq\x06X\x06\x00\x00\x00latin1q\x07\x86q\x08Rq\x09\x87q\nRq\x0b(K\x01K\x02K\
        \x03\x86q\x0ccnumpy\ndtype\nq\x0dX\x02\x00\x00\x00u1q\x0e\x89\x88\x87q\x0fRq\x10(K\x03X\x01\x00\x00\x00|q\x11NNNJ\xff\
        \xff\xff\xffJ\xff\xff\xff\xffK\x00tq\x12b\x89h\x05X\x06\x00\x00\x00\x00\x01\x02\x03\x04\x05q\x13h\x07\x86q\x14Rq\x15tq\
        \x16bX\x06\x00\x00\x00labelsq\x17]q\x18(K\x03K\xfaeX\x04\x00\x00\x00fineq\x19h\x02h\x03K\x00\x85q\x1ah\x09\x87q\x1bRq\
        \x1c(K\x01K\x02\x85q\x1dh\x0dX\x02\x00\x00\x00i4q\x1e\x89\x88\x87q\x1fRq (K\x03X\x01\x00\x00\x00>q!NNNJ\xff\xff\xff\
        \xffJ\xff\xff\xff\xffK\x00tq\x22b\x89h\x05X\x0c\x00\x00\x00\x00\x00\x00\x01\xc3\xbf\xc3\xbf\xc3\xbf\xc3\xbeq#h\x07\x86\
        q$Rq%tq&bX\x05\x00\x00\x00namesq']q((X\x03\x00\x00\x00dogq)X\x0c\x00\x00\x00\xd1\x81\xd0\xbe\xd0\xb1\xd0\xb0\xd0\xba\
        \xd0\xb0q*eu.";
    const PROTOCOL_3: &[u8] =
        b"\x80\x03}q\x00(X\x04\x00\x00\x00dataq\x01cnumpy._core.multiarray\n_reconstruct\nq\x02cnumpy\nndarray\nq\x03K\x00\x85q\
        \x04C\x01bq\x05\x87q\x06Rq\x07(K\x01K\x02K\x03\x86q\x08cnumpy\ndtype\nq\x09X\x02\x00\x00\x00u1q\n\x89\x88\x87q\x0bRq\
        \x0c(K\x03X\x01\x00\x00\x00|q\x0dNNNJ\xff\xff\xff\xffJ\xff\xff\xff\xffK\x00tq\x0eb\x89C\x06\x00\x01\x02\x03\x04\x05q\
        \x0ftq\x10bX\x06\x00\x00\x00labelsq\x11]q\x12(K\x03K\xfaeX\x04\x00\x00\x00fineq\x13h\x02h\x03K\x00\x85q\x14h\x05\x87q\
        \x15Rq\x16(K\x01K\x02\x85q\x17h\x09X\x02\x00\x00\x00i4q\x18\x89\x88\x87q\x19Rq\x1a(K\x03X\x01\x00\x00\x00>q\x1bNNNJ\
        \xff\xff\xff\xffJ\xff\xff\xff\xffK\x00tq\x1cb\x89C\x08\x00\x00\x00\x01\xff\xff\xff\xfeq\x1dtq\x1ebX\x05\x00\x00\x00nam\
        esq\x1f]q (X\x03\x00\x00\x00dogq!X\x0c\x00\x00\x00\xd1\x81\xd0\xbe\xd0\xb1\xd0\xb0\xd0\xba\xd0\xb0q\x22eu.";
    const PROTOCOL_4: &[u8] =
        b"\x80\x04\x95\x1f\x01\x00\x00\x00\x00\x00\x00}\x94(\x8c\x04data\x94\x8c\x16numpy._core.multiarray\x94\x8c\x0c_reconstru\
        ct\x94\x93\x94\x8c\x05numpy\x94\x8c\x07ndarray\x94\x93\x94K\x00\x85\x94C\x01b\x94\x87\x94R\x94(K\x01K\x02K\x03\x86\x94\
        h\x05\x8c\x05dtype\x94\x93\x94\x8c\x02u1\x94\x89\x88\x87\x94R\x94(K\x03\x8c\x01|\x94NNNJ\xff\xff\xff\xffJ\xff\xff\xff\
        \xffK\x00t\x94b\x89C\x06\x00\x01\x02\x03\x04\x05\x94t\x94b\x8c\x06labels\x94]\x94(K\x03K\xfae\x8c\x04fine\x94h\x04h\
        \x07K\x00\x85\x94h\x09\x87\x94R\x94(K\x01K\x02\x85\x94h\x0e\x8c\x02i4\x94\x89\x88\x87\x94R\x94(K\x03\x8c\x01>\x94NNNJ\
        \xff\xff\xff\xffJ\xff\xff\xff\xffK\x00t\x94b\x89C\x08\x00\x00\x00\x01\xff\xff\xff\xfe\x94t\x94b\x8c\x05names\x94]\x94(\
        \x8c\x03dog\x94\x8c\x0c\xd1\x81\xd0\xbe\xd0\xb1\xd0\xb0\xd0\xba\xd0\xb0\x94eu.";

    #[test]
    fn what_numpy_writes_is_read_in_every_protocol() {
        for bytes in [PROTOCOL_0, PROTOCOL_2, PROTOCOL_3, PROTOCOL_4] {
            let pickle = Pickle::read(bytes).unwrap();
            assert_eq!(pickle.byte_matrix("data").unwrap(), ([2, 3], [0, 1, 2, 3, 4, 5].as_slice()));
            assert_eq!(pickle.integers("labels").unwrap(), [3, 250]);
            assert_eq!(pickle.integers("fine").unwrap(), [1, -2]);
            assert_eq!(pickle.texts("names").unwrap(), ["dog", "собака"]);
            assert!(pickle.integers("data").is_err());
            assert!(pickle.integers("absent").unwrap_err().contains("absent"));
        }
    }

    #[test]
    fn strings_of_python_2_are_bytes() {
        let pickle = Pickle::read(b"(dp1\nS'names'\np2\n(lp3\nS'a\\x41\\'\\\\\\n'\np4\naS\"b\"\nas.").unwrap();
        assert_eq!(pickle.texts("names").unwrap(), ["aA'\\\n", "b"]);
    }

    #[test]
    fn nothing_that_could_run_is_accepted() {
        // An object whose __reduce__ returns (os.system, ("echo",)), and one made by instantiating a class.
        let error =
            Pickle::read(b"\x80\x02}q\x00X\x04\x00\x00\x00dataq\x01cposix\nsystem\nq\x02X\x04\x00\x00\x00echoq\x03\x85q\x04Rq\x05s.");
        assert!(error.unwrap_err().contains("`posix.system`"));
        let error = Pickle::read(b"(S'echo'\nios\nsystem\n.").unwrap_err();
        assert!(error.contains("opcode 0x69"), "{error}");
        assert!(Pickle::read(b"\x80\x05N.").unwrap_err().contains("protocol 5"));
    }

    #[test]
    fn every_beginning_of_a_pickle_is_an_error_and_no_flipped_byte_panics() {
        for bytes in [PROTOCOL_0, PROTOCOL_2, PROTOCOL_4] {
            for length in 0..bytes.len() {
                assert!(Pickle::read(&bytes[..length]).is_err(), "the first {length} bytes");
            }
            for at in 0..bytes.len() {
                for change in [0x01, 0x10, 0x80, 0xff] {
                    let mut bytes = bytes.to_vec();
                    bytes[at] ^= change;
                    if let Ok(pickle) = Pickle::read(&bytes) {
                        let _either = (pickle.byte_matrix("data").is_ok(), pickle.integers("fine").is_ok());
                    }
                }
            }
        }
    }

    #[test]
    fn a_few_bytes_do_not_become_many() {
        // A long text, encoded again and again.
        let mut bytes = b"\x80\x02c_codecs\nencode\nq\x00X".to_vec();
        bytes.extend(1_000_000u32.to_le_bytes());
        bytes.extend([b'a'; 1_000_000]);
        bytes.extend(b"X\x06\x00\x00\x00latin1\x86q\x01");
        bytes.extend(b"h\x00h\x01R0".repeat(100));
        bytes.extend(b"N.");
        assert!(Pickle::read(&bytes).unwrap_err().contains("more bytes than the file"));

        // A long text in a list again and again, and too many short ones.
        let list = |length: usize, times: usize| {
            let mut bytes = b"\x80\x02}X\x05\x00\x00\x00namesX".to_vec();
            bytes.extend((length as u32).to_le_bytes());
            bytes.extend(vec![b'a'; length]);
            bytes.extend(b"q\x000](");
            bytes.extend(b"h\x00".repeat(times));
            bytes.extend(b"es.");
            Pickle::read(&bytes).unwrap().texts("names").map(|names| names.len())
        };
        assert_eq!(list(1000, 1000), Ok(1000));
        assert!(list(1001, 1).unwrap_err().contains("more than 1000 bytes"));
        assert!(list(1, 1001).unwrap_err().contains("more than 1000 names"));

        // A long name of an element type.
        let mut bytes = b"\x80\x02cnumpy\ndtype\nX".to_vec();
        bytes.extend(1000u32.to_le_bytes());
        bytes.extend([b'a'; 1000]);
        bytes.extend(b"\x85R.");
        assert!(Pickle::read(&bytes).unwrap_err().contains("no known kind"));
    }

    #[test]
    fn the_stack_does_not_grow_without_end() {
        for code in [b'(', b'2'] {
            let mut bytes = b"\x80\x02N".to_vec();
            bytes.resize(MAX_STEPS + 10, code);
            bytes.push(b'.');
            assert!(Pickle::read(&bytes).unwrap_err().contains("more than"));
        }
    }
}
