//! The file beside a run that features of its trained network are kept in. There can be gigabytes of
//! them: they are written and read a block at a time.

use std::collections::HashMap;
use std::fs::File;
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::path::Path;

use safetensors::Dtype;
use safetensors::tensor::{Metadata, TensorInfo};

use super::features::SampleFeatures;
use crate::classifier::FeatureSet;
use crate::files::{self, Numbers, write_atomically};

/// What stored features are made of, in the order of the file.
const TENSORS: [&str; 3] = ["features", "labels", "positions"];
/// Bytes that are read or written at a time.
const BLOCK: usize = 1 << 20;
/// The most bytes that the part of the file may have which says what is in it.
const LARGEST_HEADER: u64 = 1 << 20;

/// BLAKE3 of all parts of stored features.
#[derive(Default)]
struct Checksum(blake3::Hasher);

impl Checksum {
    /// A part of so many bytes begins.
    fn begin(&mut self, bytes: usize) {
        self.0.update(&(bytes as u64).to_le_bytes());
    }

    fn finish(&self) -> String {
        self.0.finalize().to_hex().to_string()
    }
}

/// What a file is made of after its header.
enum Piece<'a> {
    /// A tensor of so many bytes begins.
    Begins(usize),
    /// Some bytes of it.
    Block(&'a [u8]),
}

/// Hands all that is kept to `take`, in the order of the file.
fn pieces(
    found: &SampleFeatures,
    mut take: impl FnMut(Piece<'_>) -> io::Result<()>,
) -> io::Result<()> {
    let SampleFeatures { set, positions } = found;
    take(Piece::Begins(4 * set.features.len()))?;
    blocks(&set.features, f32::to_le_bytes, |block| take(Piece::Block(block)))?;
    for numbers in [&set.labels, positions] {
        take(Piece::Begins(4 * numbers.len()))?;
        blocks(numbers, u32::to_le_bytes, |block| take(Piece::Block(block)))?;
    }
    Ok(())
}

/// Hands numbers to `take` as files have them, a block at a time.
fn blocks<T: Copy>(
    numbers: &[T],
    bytes_of: impl Fn(T) -> [u8; 4],
    mut take: impl FnMut(&[u8]) -> io::Result<()>,
) -> io::Result<()> {
    let mut block = Vec::with_capacity(BLOCK);
    for part in numbers.chunks(BLOCK / 4) {
        block.clear();
        block.extend(part.iter().flat_map(|&number| bytes_of(number)));
        take(&block)?;
    }
    Ok(())
}

/// Keeps features under a key that says what they are of.
///
/// # Errors
/// Whatever the operating system says. The file is then what it was.
pub(super) fn write(path: &Path, key: &str, found: &SampleFeatures) -> io::Result<()> {
    let set = &found.set;
    let mut checksum = Checksum::default();
    pieces(found, |piece| {
        match piece {
            Piece::Begins(bytes) => checksum.begin(bytes),
            Piece::Block(block) => drop(checksum.0.update(block)),
        }
        Ok(())
    })?;
    let shapes = [vec![set.len(), set.dim], vec![set.len()], vec![set.len()]];
    let mut from = 0;
    let infos = TENSORS.iter().zip(shapes).zip([Dtype::F32, Dtype::U32, Dtype::U32]);
    let tensors = infos.map(|((name, shape), dtype)| {
        let bytes = 4 * shape.iter().product::<usize>();
        let data_offsets = (from, from + bytes);
        from += bytes;
        (name.to_string(), TensorInfo { dtype, shape, data_offsets })
    });
    // One entry: several would be written in another order each time.
    let entry = HashMap::from([("key".to_string(), format!("{key} {}", checksum.finish()))]);
    let header = Metadata::new(Some(entry), tensors.collect()).map_err(io::Error::other)?;
    let mut header = serde_json::to_vec(&header)?;
    // As the format asks, so that numbers begin where they can be read in place.
    header.resize(header.len().next_multiple_of(8), b' ');
    write_atomically(path, |out| {
        out.write_all(&(header.len() as u64).to_le_bytes())?;
        out.write_all(&header)?;
        pieces(found, |piece| match piece {
            Piece::Begins(_) => Ok(()),
            Piece::Block(block) => out.write_all(block),
        })
    })
}

/// The features kept under this key, unless there are none, they are damaged or belong to another
/// backbone or other samples: then they are computed again.
pub(super) fn read(path: &Path, key: &str) -> Option<SampleFeatures> {
    // Not mapped: the folder is the person's own, and what copies folders may write it anew while it
    // is read.
    let mut file = files::open(path, u64::MAX).ok()?;
    let (header, begins) = header(&mut file)?;
    let content = header.metadata().as_ref()?.get("key")?.strip_prefix(key)?.trim_start();
    // An earlier version kept none.
    if content.is_empty() {
        return None;
    }
    let mut parts = Parts { file, begins, header: &header, checksum: Checksum::default() };
    let numbers = header.info(TENSORS[0])?.shape.iter().product();
    let mut features = Numbers::with_capacity(numbers);
    let (mut labels, mut positions) = (Vec::new(), Vec::new());
    let shape = parts.read(TENSORS[0], Dtype::F32, &mut features, f32::from_le_bytes)?;
    let of_labels = parts.read(TENSORS[1], Dtype::U32, &mut labels, u32::from_le_bytes)?;
    let of_positions = parts.read(TENSORS[2], Dtype::U32, &mut positions, u32::from_le_bytes)?;
    if parts.checksum.finish() != content {
        tracing::warn!("{}: is damaged; its features are computed again", path.display());
        return None;
    }
    let &[rows, dim] = shape else { return None };
    if of_labels != [rows] || of_positions != [rows] {
        return None;
    }
    Some(SampleFeatures { set: FeatureSet { dim, features, labels }, positions })
}

/// What a file says is in it, and where that begins.
fn header(file: &mut File) -> Option<(Metadata, u64)> {
    let mut length = [0; 8];
    file.read_exact(&mut length).ok()?;
    let length = u64::from_le_bytes(length);
    if length > LARGEST_HEADER {
        return None;
    }
    let mut text = vec![0; length as usize];
    file.read_exact(&mut text).ok()?;
    let header: Metadata = serde_json::from_slice(&text).ok()?;
    let (begins, all) = (8 + length, file.metadata().ok()?.len());
    (begins + header.data_len() as u64 == all).then_some((header, begins))
}

/// The parts of a file, read one after the other.
struct Parts<'a> {
    file: File,
    begins: u64,
    header: &'a Metadata,
    checksum: Checksum,
}

impl<'a> Parts<'a> {
    /// Reads a tensor of this name and type into `to`; its shape.
    fn read<T>(
        &mut self,
        name: &str,
        dtype: Dtype,
        to: &mut impl Extend<T>,
        number: impl Fn([u8; 4]) -> T,
    ) -> Option<&'a [usize]> {
        let info = self.header.info(name).filter(|info| info.dtype == dtype)?;
        let (from, end) = info.data_offsets;
        let mut left = end.checked_sub(from)?;
        self.file.seek(SeekFrom::Start(self.begins + from as u64)).ok()?;
        self.checksum.begin(left);
        let mut block = vec![0; BLOCK.min(left)];
        while left > 0 {
            let part = &mut block[..BLOCK.min(left)];
            self.file.read_exact(part).ok()?;
            self.checksum.0.update(part);
            to.extend(part.chunks_exact(4).map(|b| number([b[0], b[1], b[2], b[3]])));
            left -= part.len();
        }
        Some(&info.shape)
    }
}

#[cfg(test)]
mod tests {
    use safetensors::SafeTensors;

    use super::*;

    fn found() -> SampleFeatures {
        // More than a block.
        let (rows, dim) = (700, 500);
        let features = (0..rows * dim).map(|at| (at as f32).sin()).collect();
        let labels = (0..rows as u32).map(|row| row % 7).collect();
        let positions = (0..rows as u32).rev().collect();
        SampleFeatures { set: FeatureSet { dim, features, labels }, positions }
    }

    #[test]
    fn what_is_kept_is_read_back_by_this_and_by_the_formats_own_library() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("train.safetensors");
        let kept = found();
        write(&path, "key of it", &kept).unwrap();
        let again = read(&path, "key of it").unwrap();
        assert_eq!((&again.set, &again.positions), (&kept.set, &kept.positions));
        assert!(read(&path, "another key").is_none());

        let bytes = std::fs::read(&path).unwrap();
        let tensors = SafeTensors::deserialize(&bytes).unwrap();
        let features = tensors.tensor("features").unwrap();
        assert_eq!((features.shape(), features.dtype()), (&[700, 500][..], Dtype::F32));
        let values: Vec<f32> = features
            .data()
            .chunks_exact(4)
            .map(|b| f32::from_le_bytes(b.try_into().unwrap()))
            .collect();
        assert_eq!(kept.set.features, values);
        assert_eq!(tensors.tensor("positions").unwrap().shape(), [700]);
    }

    #[test]
    fn what_the_formats_own_library_wrote_is_read() {
        use safetensors::serialize;
        use safetensors::tensor::TensorView;
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("train.safetensors");
        let features: Vec<u8> =
            [1.0_f32, 2.0, 3.0, 4.0].iter().flat_map(|v| v.to_le_bytes()).collect();
        let labels: Vec<u8> = [1_u32, 0].iter().flat_map(|v| v.to_le_bytes()).collect();
        let mut hasher = blake3::Hasher::new();
        for part in [&features, &labels, &labels] {
            hasher.update(&(part.len() as u64).to_le_bytes());
            hasher.update(part);
        }
        let key = format!("key {}", hasher.finalize().to_hex());
        let views = [
            ("features", TensorView::new(Dtype::F32, vec![2, 2], &features).unwrap()),
            ("labels", TensorView::new(Dtype::U32, vec![2], &labels).unwrap()),
            ("positions", TensorView::new(Dtype::U32, vec![2], &labels).unwrap()),
        ];
        let file = serialize(views, Some(HashMap::from([("key".to_string(), key)]))).unwrap();
        std::fs::write(&path, &file).unwrap();
        let read = read(&path, "key").unwrap();
        assert_eq!((read.set.dim, read.set.labels, read.positions), (2, vec![1, 0], vec![1, 0]));
        assert_eq!(read.set.features, [1.0, 2.0, 3.0, 4.0]);
    }

    #[test]
    fn what_is_damaged_cut_off_or_too_long_is_as_good_as_missing() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("train.safetensors");
        write(&path, "key", &found()).unwrap();
        let whole = std::fs::read(&path).unwrap();
        let mut flipped = whole.clone();
        flipped[whole.len() / 2] ^= 1;
        let mut endless = whole.clone();
        endless[..8].copy_from_slice(&u64::MAX.to_le_bytes());
        let longer = [&whole[..], &[0; 4]].concat();
        for broken in [
            &whole[..whole.len() - 1],
            &whole[..100],
            &whole[..3],
            &[],
            &flipped,
            &endless,
            &longer,
        ] {
            std::fs::write(&path, broken).unwrap();
            assert!(read(&path, "key").is_none());
        }
        std::fs::remove_file(&path).unwrap();
        assert!(read(&path, "key").is_none());
    }
}
