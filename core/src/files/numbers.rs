//! Many numbers, which lie in memory, or in a file that is mapped into it where they are too many.
//!
//! Features of half a million images are gigabytes. In memory that nothing stands behind, they end a
//! program on a machine that has no more; in a file, the system keeps near what is used and writes
//! back the rest. The file has no name: it is gone when the numbers are, however the program ends.
//!
//! This file contains unsafe code: the call that maps a file, whose content another program could
//! change while it is looked at.
#![expect(unsafe_code, reason = "mapping a file is unsafe, since another program could change it")]

use std::fmt;
use std::fs::File;
use std::io;
use std::ops::{Deref, DerefMut};
use std::path::Path;

use memmap2::MmapMut;

use super::cache_folder;

/// Bytes from which on numbers lie in a file.
const LARGE: usize = 1 << 30;
/// Bytes that are left on a disk at least: what else is written is worth more.
#[cfg(target_os = "linux")]
const LEFT: u64 = 2 << 30;

/// Float32 numbers one after the other, as in a `Vec<f32>`. From a gigabyte on they lie in a file in
/// the folder for caches, if the disk has room for them; in memory otherwise.
///
/// ```
/// use counterweight_core::files::Numbers;
/// let mut numbers = Numbers::from(vec![1.0, 2.0]);
/// numbers.extend_from_slice(&[3.0]);
/// assert_eq!(numbers, [1.0, 2.0, 3.0]);
/// assert_eq!(numbers[1..].iter().sum::<f32>(), 5.0);
/// ```
#[derive(Default)]
pub struct Numbers(Store);

enum Store {
    Memory(Vec<f32>),
    /// With how many of the numbers that have room are there.
    File(MmapMut, usize),
}

impl Default for Store {
    fn default() -> Self {
        Self::Memory(Vec::new())
    }
}

impl Numbers {
    /// None, with room for so many.
    pub fn with_capacity(numbers: usize) -> Self {
        let mut made = Self::default();
        made.reserve_exact(numbers);
        made
    }

    /// Makes room for so many more.
    pub fn reserve_exact(&mut self, more: usize) {
        self.reserve_from(more, LARGE);
    }

    /// Makes room for so many more, and for as many as there are if there is none, so that adding a few
    /// again and again moves them seldom.
    fn reserve(&mut self, more: usize) {
        if self.len() + more > self.capacity() {
            self.reserve_exact(more.max(self.len()));
        }
    }

    /// [`Numbers::reserve_exact`], in a file from so many bytes on.
    fn reserve_from(&mut self, more: usize, large: usize) {
        let wanted = self.len() + more;
        if wanted <= self.capacity() {
            return;
        }
        let bytes = wanted.saturating_mul(size_of::<f32>());
        let mapped = match bytes >= large {
            true => cache_folder().and_then(|folder| match mapped(&folder, bytes) {
                Ok(map) => Some(map),
                Err(error) => {
                    tracing::warn!("{}: {bytes} bytes stay in memory: {error}", folder.display());
                    None
                }
            }),
            false => None,
        };
        match (mapped, &mut self.0) {
            (Some(mut map), _) => {
                let held = self.len();
                floats_mut(&mut map)[..held].copy_from_slice(self);
                self.0 = Store::File(map, held);
            }
            (None, Store::Memory(numbers)) => numbers.reserve_exact(more),
            (None, Store::File(..)) => {
                let mut numbers = Vec::with_capacity(wanted);
                numbers.extend_from_slice(self);
                self.0 = Store::Memory(numbers);
            }
        }
    }

    /// Adds numbers at the end.
    pub fn extend_from_slice(&mut self, more: &[f32]) {
        self.reserve(more.len());
        match &mut self.0 {
            Store::Memory(numbers) => numbers.extend_from_slice(more),
            Store::File(map, held) => {
                floats_mut(map)[*held..*held + more.len()].copy_from_slice(more);
                *held += more.len();
            }
        }
    }

    fn capacity(&self) -> usize {
        match &self.0 {
            Store::Memory(numbers) => numbers.capacity(),
            Store::File(map, _) => map.len() / size_of::<f32>(),
        }
    }
}

/// A file without a name in `folder` with room for so many bytes, mapped.
///
/// # Errors
/// Whatever the operating system says; a disk that has not much more room.
fn mapped(folder: &Path, bytes: usize) -> io::Result<MmapMut> {
    std::fs::create_dir_all(folder)?;
    let file = tempfile::tempfile_in(folder)?;
    take_room(&file, bytes as u64)?;
    // SAFETY: The file has no name by which another program could reach it, and every bit pattern is a
    // float32. It was given all its room, so that writing does not end the program for want of it; where
    // a file system takes new room for what is written again, that much is left besides.
    unsafe { MmapMut::map_mut(&file) }
}

/// Has the disk set aside all that the file will take: what is written into mapped memory and finds
/// no room ends the program.
#[cfg(target_os = "linux")]
fn take_room(file: &File, bytes: u64) -> io::Result<()> {
    let disk = rustix::fs::fstatvfs(file)?;
    if disk.f_bavail.saturating_mul(disk.f_frsize) < bytes.saturating_add(LEFT) {
        return Err(io::ErrorKind::StorageFull.into());
    }
    Ok(rustix::fs::fallocate(file, rustix::fs::FallocateFlags::empty(), 0, bytes)?)
}

/// As on Linux: what a file is long, it has on Windows.
#[cfg(windows)]
fn take_room(file: &File, bytes: u64) -> io::Result<()> {
    file.set_len(bytes)
}

/// Elsewhere files have holes, and nothing says so in time.
#[cfg(not(any(target_os = "linux", windows)))]
fn take_room(_: &File, _: u64) -> io::Result<()> {
    Err(io::ErrorKind::Unsupported.into())
}

fn floats_mut(map: &mut MmapMut) -> &mut [f32] {
    // Pages begin where any number may.
    bytemuck::cast_slice_mut(&mut map[..])
}

impl Deref for Numbers {
    type Target = [f32];

    fn deref(&self) -> &[f32] {
        match &self.0 {
            Store::Memory(numbers) => numbers,
            Store::File(map, held) => &bytemuck::cast_slice(&map[..])[..*held],
        }
    }
}

impl DerefMut for Numbers {
    fn deref_mut(&mut self) -> &mut [f32] {
        match &mut self.0 {
            Store::Memory(numbers) => numbers,
            Store::File(map, held) => &mut floats_mut(map)[..*held],
        }
    }
}

impl Clone for Numbers {
    fn clone(&self) -> Self {
        let mut copy = Self::with_capacity(self.len());
        copy.extend_from_slice(self);
        copy
    }
}

impl fmt::Debug for Numbers {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        (**self).fmt(f)
    }
}

impl<T: AsRef<[f32]> + ?Sized> PartialEq<T> for Numbers {
    fn eq(&self, other: &T) -> bool {
        **self == *other.as_ref()
    }
}

impl AsRef<[f32]> for Numbers {
    fn as_ref(&self) -> &[f32] {
        self
    }
}

impl From<Vec<f32>> for Numbers {
    fn from(numbers: Vec<f32>) -> Self {
        Self(Store::Memory(numbers))
    }
}

impl Extend<f32> for Numbers {
    fn extend<I: IntoIterator<Item = f32>>(&mut self, more: I) {
        let more = more.into_iter();
        self.reserve(more.size_hint().0);
        let mut few = [0.0; 1024];
        let mut held = 0;
        for number in more {
            if held == few.len() {
                self.extend_from_slice(&few);
                held = 0;
            }
            few[held] = number;
            held += 1;
        }
        self.extend_from_slice(&few[..held]);
    }
}

impl FromIterator<f32> for Numbers {
    fn from_iter<I: IntoIterator<Item = f32>>(numbers: I) -> Self {
        let mut found = Self::default();
        found.extend(numbers);
        found
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn counted(count: usize) -> impl Iterator<Item = f32> {
        (0..count).map(|number| number as f32)
    }

    #[test]
    fn numbers_are_what_a_vector_of_them_would_be() {
        let mut numbers: Numbers = counted(3000).collect();
        let mut vector: Vec<f32> = counted(3000).collect();
        assert_eq!(numbers, vector);
        numbers.extend(counted(5000));
        vector.extend(counted(5000));
        numbers.extend_from_slice(&[-1.0; 7]);
        vector.extend_from_slice(&[-1.0; 7]);
        numbers[4] = 9.0;
        vector[4] = 9.0;
        assert_eq!(numbers.clone(), vector);
        assert_eq!(format!("{:?}", Numbers::from(vec![1.0, 2.5])), "[1.0, 2.5]");
        assert!(Numbers::default().is_empty() && numbers != [0.0]);
    }

    #[cfg(target_os = "linux")]
    #[test]
    fn numbers_in_a_file_are_the_same_and_leave_nothing_behind() {
        let folder = tempfile::tempdir().unwrap();
        let map = mapped(folder.path(), 4000 * size_of::<f32>()).unwrap();
        let mut numbers = Numbers(Store::File(map, 0));
        numbers.extend(counted(3000));
        numbers.iter_mut().for_each(|number| *number += 1.0);
        let expected: Vec<f32> = counted(3000).map(|number| number + 1.0).collect();
        assert_eq!(numbers, expected);
        assert!(matches!(numbers.0, Store::File(_, 3000)) && numbers.capacity() == 4000);
        assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 0);
        // Beyond the room there is, they move.
        numbers.extend(counted(2000));
        assert_eq!((numbers.len(), numbers[2999], numbers[4999]), (5000, 3000.0, 1999.0));
    }

    #[cfg(target_os = "linux")]
    #[test]
    fn a_disk_without_room_is_refused_in_time() {
        let folder = tempfile::tempdir().unwrap();
        let error = mapped(folder.path(), 1 << 60).unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::StorageFull);
    }
}
