//! Reads pickles as data.
//!
//! A pickle is a program for a stack machine, and Python's own reader will call any function it
//! names. This one knows the opcodes of protocols 0 to 4 that build numbers, text, bytes, lists,
//! tuples and dictionaries. Nothing is executed. Of what a pickle may ask to call, it accepts NumPy
//! arrays, NumPy types and `_codecs.encode`, whose results it works out itself, and any other call
//! is an error ([`Dialect::Numpy`]); or it notes what was to be called with which arguments and
//! leaves it at that ([`Dialect::Torch`]).

mod machine;
#[cfg(test)]
mod tests;

use std::borrow::Cow;

use machine::Machine;

/// The most names a list of names may hold, and the most bytes of one. CIFAR-100 has 100 short
/// ones.
const MAX_NAMES: usize = 1000;

/// A value's place in [`Pickle::nodes`]. Values refer to each other by place, so that a value on
/// the stack and in the memo are one, and so that deeply nested values are dropped without
/// recursion.
pub(crate) type Id = usize;

/// A value.
#[derive(Debug)]
pub(crate) enum Node<'a> {
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
    /// A call that the pickle asks for, which is only noted and never made. Only in
    /// [`Dialect::Torch`].
    Call {
        module: &'a str,
        name: &'a str,
        /// A tuple, usually.
        arguments: Id,
    },
    /// What stands for something that lies outside the pickle. Only in [`Dialect::Torch`].
    Outside(Id),
}

/// What a pickle may ask for besides plain data.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Dialect {
    /// NumPy arrays.
    Numpy,
    /// Anything, of which nothing is done: files of PyTorch hold all kinds of things beside the
    /// tensors.
    Torch,
}

/// A pickle's values.
#[derive(Debug)]
pub(crate) struct Pickle<'a> {
    nodes: Vec<Node<'a>>,
    root: Id,
}

impl<'a> Pickle<'a> {
    /// Reads a whole pickle of plain data and NumPy arrays. An error is a sentence saying what is
    /// wrong with it.
    pub fn read(bytes: &'a [u8]) -> Result<Self, String> {
        Self::read_first(bytes, Dialect::Numpy).map(|(pickle, _)| pickle)
    }

    /// Reads the pickle that these bytes begin with, and how many bytes it takes.
    pub fn read_first(bytes: &'a [u8], dialect: Dialect) -> Result<(Self, usize), String> {
        let mut machine = Machine::new(bytes, dialect);
        let root = machine.run().map_err(|reason| {
            format!("its pickle cannot be read at byte {}: {reason}", machine.at())
        })?;
        let length = machine.at();
        Ok((Self { nodes: machine.into_nodes(), root }, length))
    }

    /// The outermost value.
    pub fn root(&self) -> Id {
        self.root
    }

    /// The value at a place. A value may hold itself, at any depth.
    pub fn node(&self, id: Id) -> &Node<'a> {
        &self.nodes[id]
    }

    /// What was to be called, module and name, each as often as it was.
    pub fn calls(&self) -> impl Iterator<Item = (&'a str, &'a str)> {
        self.nodes.iter().filter_map(|node| {
            if let Node::Call { module, name, .. } = node { Some((*module, *name)) } else { None }
        })
    }

    /// The value under `key` of the outermost dictionary.
    fn get(&self, key: &str) -> Result<&Node<'a>, String> {
        let Node::Dict(items) = &self.nodes[self.root] else {
            return Err("its pickle is not a dictionary".into());
        };
        let found = items.iter().find(|(k, _)| text(&self.nodes[*k]) == Some(key.as_bytes()));
        found
            .map(|(_, value)| &self.nodes[*value])
            .ok_or_else(|| format!("its dictionary has no `{key}`"))
    }

    /// A list of integers, or an array of them.
    pub fn integers(&self, key: &str) -> Result<Vec<i64>, String> {
        let wrong = || format!("`{key}` is not a list of integers");
        match self.get(key)? {
            Node::List(items) | Node::Tuple(items) => {
                items
                    .iter()
                    .map(|id| {
                        if let Node::Int(value) = self.nodes[*id] {
                            Ok(value)
                        } else {
                            Err(wrong())
                        }
                    })
                    .collect()
            }
            Node::Array { shape, element: Some(element), data: Some(data) } if shape.len() == 1 => {
                let (Node::Type { code, big_endian }, Some(bytes)) =
                    (&self.nodes[*element], text(&self.nodes[*data]))
                else {
                    return Err(wrong());
                };
                let (signed, size) = match code.as_slice() {
                    [kind @ (b'i' | b'u'), size @ (b'1' | b'2' | b'4' | b'8')] => {
                        (*kind == b'i', usize::from(size - b'0'))
                    }
                    _ => return Err(wrong()),
                };
                if shape[0].checked_mul(size) != Some(bytes.len()) {
                    return Err(format!("`{key}` has not the size it states"));
                }
                Ok(bytes
                    .chunks_exact(size)
                    .map(|chunk| integer(chunk, *big_endian, signed))
                    .collect())
            }
            _ => Err(wrong()),
        }
    }

    /// A short list of short text. A long text can be named many times in few bytes, so lengths are
    /// looked at before anything is copied.
    pub fn texts(&self, key: &str) -> Result<Vec<String>, String> {
        let wrong = || format!("`{key}` is not a list of text");
        let Node::List(items) = self.get(key)? else { return Err(wrong()) };
        if items.len() > MAX_NAMES
            || items
                .iter()
                .filter_map(|id| text(&self.nodes[*id]))
                .any(|name| name.len() > MAX_NAMES)
        {
            return Err(format!(
                "`{key}` holds more than {MAX_NAMES} names or one of more than {MAX_NAMES} bytes"
            ));
        }
        items
            .iter()
            .map(|id| {
                text(&self.nodes[*id])
                    .map(|t| String::from_utf8_lossy(t).into_owned())
                    .ok_or_else(wrong)
            })
            .collect()
    }

    /// An array of bytes of two dimensions, in row order: its shape and its values.
    pub fn byte_matrix(&self, key: &str) -> Result<([usize; 2], &[u8]), String> {
        let wrong = || format!("`{key}` is not a two-dimensional array of bytes");
        let Node::Array { shape, element: Some(element), data: Some(data) } = self.get(key)? else {
            return Err(wrong());
        };
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
pub(crate) fn text<'n>(node: &'n Node<'_>) -> Option<&'n [u8]> {
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
