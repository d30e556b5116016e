//! The files that `torch.save` writes: a pickle that says which tensors there are, and the bytes of
//! their storages beside it.
//!
//! Since PyTorch 1.6 they are a zip archive with the pickle in `data.pkl` and each storage in an
//! entry of its own. Before, and with `_use_new_zipfile_serialization=False`, they are five pickles
//! one after the other and then the storages. The pickle is data: what it asks to call is looked
//! at, and nothing is called.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::ops::Range;

use super::archive::{Entry, entries};
use super::file::{Element, Stored};
use crate::pickle::{Dialect, Id, Node, Pickle, text};

/// The first two pickles of a file of the older kind: a magic number, and the version 1001.
const OLDER: &[u8] = b"\x80\x02\x8a\x0a\x6c\xfc\x9c\x46\xf9\x20\x6a\xa8\x50\x19.\x80\x02M\xe9\x03.";
/// Tensors that a file may have, and dictionaries within dictionaries.
const MOST_TENSORS: usize = 100_000;
const DEEPEST: usize = 8;
/// Values that are looked at for tensors. A dictionary can be named many times in few bytes.
const MOST_VALUES: usize = 1_000_000;
/// Calls that are told of.
const MOST_CALLS: usize = 1000;
/// The longest name of a tensor.
const LONGEST_NAME: usize = 1000;
/// Axes of a tensor, at most.
const MOST_AXES: usize = 8;

/// What a file holds.
pub(super) struct TorchFile {
    /// Tensors by the path of keys that leads to them, joined by dots.
    pub tensors: BTreeMap<String, Stored>,
    /// What the pickle asked to call besides what tensors are made of, which was not called.
    pub calls: BTreeSet<String>,
}

/// Whether the bytes are a file of the older kind.
pub(super) fn is_older(bytes: &[u8]) -> bool {
    bytes.starts_with(OLDER)
}

/// Reads a file of the newer kind. An error is a sentence saying what is wrong with it.
pub(super) fn read_archive(bytes: &[u8]) -> Result<TorchFile, String> {
    let entries = entries(bytes)?;
    let root = entries
        .keys()
        .filter_map(|name| name.strip_suffix("data.pkl"))
        .filter(|root| root.is_empty() || root.ends_with('/'));
    let root = root
        .min_by_key(|root| root.len())
        .ok_or("it is a zip archive, but not one of PyTorch's: there is no data.pkl in it")?;
    if let Some(order) = entries.get(&format!("{root}byteorder"))
        && bytes[order.place.clone()] != *b"little"
    {
        return Err("its numbers are big-endian".into());
    }
    let pickle = &bytes[entries[&format!("{root}data.pkl")].place.clone()];
    let (pickle, _) = Pickle::read_first(pickle, Dialect::Torch)?;
    let storage = |key: &str, bytes: usize| {
        let entry = entries
            .get(&format!("{root}data/{key}"))
            .ok_or_else(|| format!("the storage {key} is missing"))?;
        if entry.place.len() < bytes {
            return Err(format!(
                "the storage {key} has {} bytes and should have {bytes}",
                entry.place.len()
            ));
        }
        Ok(entry.clone())
    };
    let found = Walk::new(&pickle).all(storage)?;
    check_sums(bytes, &found.tensors)?;
    Ok(found)
}

/// Reads a file of the older kind. An error is a sentence saying what is wrong with it.
pub(super) fn read_older(bytes: &[u8]) -> Result<TorchFile, String> {
    let mut at = OLDER.len();
    let mut next = || {
        let (pickle, length) = Pickle::read_first(&bytes[at..], Dialect::Torch)?;
        at += length;
        Ok::<_, String>(pickle)
    };
    let system = next()?;
    let little = match system.node(system.root()) {
        Node::Dict(entries) => entries
            .iter()
            .find(|(key, _)| text(system.node(*key)) == Some(b"little_endian"))
            .map(|(_, value)| *value),
        _ => None,
    };
    if !matches!(little.map(|id| system.node(id)), Some(Node::Bool(true))) {
        return Err("it does not say that its numbers are little-endian".into());
    }
    let (pickle, keys) = (next()?, next()?);
    // Storages follow each other in the order of the keys; how long each is stands where a tensor
    // names it.
    let mut walk = Walk::new(&pickle);
    walk.visit(pickle.root(), String::new(), 0)?;
    let sizes: HashMap<&str, (usize, usize)> = walk
        .declared
        .iter()
        .map(|storage| (storage.key.as_str(), (storage.count, storage.size)))
        .collect();
    let Node::List(keys_listed) = keys.node(keys.root()) else {
        return Err("the list of its storages is missing".into());
    };
    let mut places: HashMap<String, Range<usize>> = HashMap::new();
    for id in keys_listed {
        let key = key_of(keys.node(*id)).ok_or("a storage has no name")?;
        let &(count, size) =
            sizes.get(key.as_str()).ok_or_else(|| format!("the storage {key} is of no tensor"))?;
        let start = at + 8;
        let end = count
            .checked_mul(size)
            .and_then(|length| start.checked_add(length))
            .filter(|&end| end <= bytes.len());
        let end = end.ok_or_else(|| {
            format!("the storage {key} does not lie in the file: it is truncated or damaged")
        })?;
        if bytes[at..start] != (count as u64).to_le_bytes() {
            return Err(format!("the storage {key} has another length than its tensors say"));
        }
        at = end;
        places.insert(key, start..end);
    }
    walk.finish(|key, _| {
        let place = places.get(key).ok_or_else(|| format!("the storage {key} is missing"))?;
        Ok(Entry { place: place.clone(), crc: 0 })
    })
}

/// A storage as a tensor names it.
struct Declared {
    key: String,
    element: Element,
    /// Elements, and bytes of one.
    count: usize,
    size: usize,
}

/// A tensor as the pickle describes it.
struct Described {
    storage: usize,
    offset: usize,
    shape: Vec<usize>,
    strides: Vec<usize>,
}

/// Looks for tensors in the dictionaries of a pickle.
struct Walk<'p> {
    pickle: &'p Pickle<'p>,
    visited: usize,
    tensors: BTreeMap<String, Described>,
    declared: Vec<Declared>,
    /// Places among those by their keys.
    known: HashMap<String, usize>,
}

impl<'p> Walk<'p> {
    fn new(pickle: &'p Pickle<'p>) -> Self {
        Self {
            pickle,
            visited: 0,
            tensors: BTreeMap::new(),
            declared: Vec::new(),
            known: HashMap::new(),
        }
    }

    /// Every tensor, with its storage looked up by key and length in bytes.
    fn all(
        mut self,
        storage: impl Fn(&str, usize) -> Result<Entry, String>,
    ) -> Result<TorchFile, String> {
        self.visit(self.pickle.root(), String::new(), 0)?;
        self.finish(storage)
    }

    fn count(&mut self) -> Result<(), String> {
        self.visited += 1;
        match self.visited > MOST_VALUES {
            true => Err(format!("it holds more than {MOST_VALUES} values")),
            false => Ok(()),
        }
    }

    fn visit(&mut self, id: Id, path: String, depth: usize) -> Result<(), String> {
        self.count()?;
        match self.pickle.node(id) {
            Node::Dict(entries) if depth < DEEPEST => {
                for (key, value) in entries {
                    // Those that are no use, too: one dictionary can be named many times.
                    self.count()?;
                    let Some(key) = key_of(self.pickle.node(*key)) else { continue };
                    if path.len() + key.len() < LONGEST_NAME {
                        let path = if path.is_empty() { key } else { format!("{path}.{key}") };
                        self.visit(*value, path, depth + 1)?;
                    }
                }
                Ok(())
            }
            Node::Call { module, name, arguments } => {
                self.visit_call(module, name, *arguments, path, depth)
            }
            _ => Ok(()),
        }
    }

    fn visit_call(
        &mut self,
        module: &str,
        name: &str,
        arguments: Id,
        path: String,
        depth: usize,
    ) -> Result<(), String> {
        let Node::Tuple(arguments) = self.pickle.node(arguments) else { return Ok(()) };
        match (module, name) {
            ("torch._utils", "_rebuild_tensor" | "_rebuild_tensor_v2") => {
                let tensor =
                    self.tensor(arguments).map_err(|reason| format!("`{path}` {reason}"))?;
                if self.tensors.len() >= MOST_TENSORS {
                    return Err(format!("it holds more than {MOST_TENSORS} tensors"));
                }
                if self.tensors.insert(path.clone(), tensor).is_some() {
                    return Err(format!("it holds `{path}` twice"));
                }
                Ok(())
            }
            ("torch._utils", "_rebuild_parameter") if depth < DEEPEST => match arguments.first() {
                Some(tensor) => self.visit(*tensor, path, depth + 1),
                None => Ok(()),
            },
            _ => Ok(()),
        }
    }

    /// A tensor of what it is to be made of: a storage, where it begins in it, its shape and its
    /// strides.
    fn tensor(&mut self, arguments: &[Id]) -> Result<Described, String> {
        let &[storage, offset, shape, strides, ..] = arguments else {
            return Err("is no whole tensor".into());
        };
        let storage = self.storage(storage)?;
        let offset = self.length(offset).ok_or("begins nowhere")?;
        let [shape, strides] = [shape, strides].map(|id| match self.pickle.node(id) {
            Node::Tuple(items) | Node::List(items) if items.len() <= MOST_AXES => {
                items.iter().map(|id| self.length(*id)).collect::<Option<Vec<usize>>>()
            }
            _ => None,
        });
        let (shape, strides) = shape
            .zip(strides)
            .filter(|(shape, strides)| shape.len() == strides.len())
            .ok_or("has no shape")?;
        let last = shape.iter().zip(&strides).try_fold(offset, |last, (&length, stride)| {
            last.checked_add(length.saturating_sub(1).checked_mul(*stride)?)
        });
        let is_empty = shape.contains(&0);
        let fits = last.is_some_and(|last| is_empty || last < self.declared[storage].count);
        let counted = shape.iter().try_fold(1_usize, |count, &length| count.checked_mul(length));
        if !fits || counted.is_none() {
            return Err(format!("has the shape {shape:?}, which is more than its storage holds"));
        }
        Ok(Described { storage, offset, shape, strides })
    }

    /// `('storage', type, key, device, elements, …)`.
    fn storage(&mut self, id: Id) -> Result<usize, String> {
        let parts = match self.pickle.node(id) {
            Node::Outside(id) => self.pickle.node(*id),
            _ => return Err("has no storage".into()),
        };
        let Node::Tuple(parts) = parts else { return Err("has a storage of no known kind".into()) };
        let &[_storage, kind, key, _device, count, ref view @ ..] = parts.as_slice() else {
            return Err("has a storage of no known kind".into());
        };
        let name = match self.pickle.node(kind) {
            Node::Name { name, .. } => *name,
            _ => return Err("has a storage of no known kind".into()),
        };
        let (element, size) = Element::of_storage(name)
            .ok_or_else(|| format!("is of the type `{name}`, which no weight is"))?;
        let key = key_of(self.pickle.node(key)).ok_or("has a storage without a name")?;
        let count = self.length(count).ok_or("has a storage without a length")?;
        if view.first().is_some_and(|id| !matches!(self.pickle.node(*id), Node::None)) {
            return Err("is a view into another storage, as only the oldest files have".into());
        }
        if let Some(&known) = self.known.get(&key) {
            let found = &self.declared[known];
            return match (found.element, found.count) == (element, count) {
                true => Ok(known),
                false => Err(format!("says of the storage {key} what another tensor does not")),
            };
        }
        self.known.insert(key.clone(), self.declared.len());
        self.declared.push(Declared { key, element, count, size });
        Ok(self.declared.len() - 1)
    }

    fn length(&self, id: Id) -> Option<usize> {
        if let Node::Int(value) = self.pickle.node(id) {
            usize::try_from(*value).ok()
        } else {
            None
        }
    }

    fn finish(
        self,
        storage: impl Fn(&str, usize) -> Result<Entry, String>,
    ) -> Result<TorchFile, String> {
        let places: Vec<Entry> = self
            .declared
            .iter()
            .map(|declared| {
                let length = declared
                    .count
                    .checked_mul(declared.size)
                    .ok_or("a storage is longer than any file")?;
                let Entry { place, crc } = storage(&declared.key, length)?;
                // A checksum is of all of it.
                let whole = place.len() == length;
                Ok(Entry {
                    place: place.start..place.start + length,
                    crc: if whole { crc } else { 0 },
                })
            })
            .collect::<Result<_, String>>()?;
        let stored = |(name, tensor): (String, Described)| {
            let Described { storage, offset, shape, strides } = tensor;
            let Entry { place, crc } = places[storage].clone();
            (
                name,
                Stored {
                    element: self.declared[storage].element,
                    shape,
                    strides,
                    offset,
                    place,
                    crc,
                },
            )
        };
        let of_tensors =
            |module: &str, name: &str| module == "torch._utils" && name.starts_with("_rebuild_");
        let calls = self
            .pickle
            .calls()
            .filter(|(module, name)| !of_tensors(module, name))
            // A long text can be named again and again in few bytes.
            .map(|(module, name)| format!("{}.{}", beginning(module), beginning(name)));
        Ok(TorchFile {
            calls: calls.take(MOST_CALLS).collect(),
            tensors: self.tensors.into_iter().map(stored).collect(),
        })
    }
}

/// As much of a name as is shown.
fn beginning(name: &str) -> String {
    name.chars().take(100).collect()
}

/// Short text, or a number as text: PyTorch has used both as keys.
fn key_of(node: &Node<'_>) -> Option<String> {
    match node {
        Node::Int(number) => Some(number.to_string()),
        other => Some(
            std::str::from_utf8(text(other).filter(|text| text.len() < LONGEST_NAME)?)
                .ok()?
                .to_string(),
        ),
    }
}

/// Compares the storages of tensors with their checksums, where they have one.
fn check_sums(bytes: &[u8], tensors: &BTreeMap<String, Stored>) -> Result<(), String> {
    let storages: BTreeMap<usize, (&String, &Stored)> =
        tensors.iter().map(|(name, tensor)| (tensor.place.start, (name, tensor))).collect();
    let total =
        storages.values().fold(0_usize, |sum, (_, tensor)| sum.saturating_add(tensor.place.len()));
    if total > bytes.len() {
        return Err("its storages lie over each other".into());
    }
    for (name, tensor) in storages.values().filter(|(_, tensor)| tensor.crc != 0) {
        let mut sum = flate2::Crc::new();
        sum.update(&bytes[tensor.place.clone()]);
        if sum.sum() != tensor.crc {
            return Err(format!("`{name}` is damaged: its checksum is another"));
        }
    }
    Ok(())
}
