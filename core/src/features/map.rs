//! Mapping a file into memory.
//!
//! This file contains unsafe code: the call that maps a file, whose content another program could
//! change while it is looked at.
#![expect(unsafe_code, reason = "mapping a file is unsafe, since another program could change it")]

use std::fs::File;
use std::io;

use memmap2::Mmap;

/// The file's content, read by the system when it is looked at. It stays what it is when the file
/// is deleted or another one gets its name.
///
/// # Errors
/// What the operating system says.
pub(crate) fn map(file: &File) -> io::Result<Mmap> {
    // SAFETY: Segments are written under a temporary name and never changed once they have their
    // own; they are replaced and deleted, which does not change what is mapped. The folder is this
    // program's own. Nothing that is found in a mapped file is taken for granted: numbers are checked
    // against its length, and every bit pattern is a valid byte and a valid float32.
    unsafe { Mmap::map(file) }
}
