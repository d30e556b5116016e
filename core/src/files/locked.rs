//! Locks that end when they should.

use std::fs::File;
use std::ops::{Deref, DerefMut};

/// A file whose lock is given back when this is dropped. Closing it would not be enough: a process
/// that this program is just starting on another thread has it open, too, until it becomes another
/// program, and whoever asks for the lock in that moment is refused.
#[derive(Debug)]
pub(crate) struct LockedFile(pub(crate) File);

impl Drop for LockedFile {
    fn drop(&mut self) {
        // Where it was never locked or there are no locks, there is nothing to give back.
        drop(self.0.unlock());
    }
}

impl Deref for LockedFile {
    type Target = File;

    fn deref(&self) -> &File {
        &self.0
    }
}

impl DerefMut for LockedFile {
    fn deref_mut(&mut self) -> &mut File {
        &mut self.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_lock_is_given_back_though_a_process_that_is_starting_has_the_file() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("lock");
        let open = || File::options().create(true).append(true).open(&path).unwrap();
        let held = LockedFile(open());
        held.try_lock().unwrap();
        // What a fork does to every open file of ours.
        let inherited = held.try_clone().unwrap();
        assert!(open().try_lock().is_err());
        drop(held);
        open().try_lock().unwrap();
        drop(inherited);
    }
}
