//! Telling a log that this program wrote for this person from one that came from elsewhere.

use std::fs;
use std::io::{self, Write};
use std::path::Path;
use std::sync::OnceLock;

use rand::TryRng;
use rand::rngs::SysRng;

use crate::files;

/// The file of the key, in the person's cache folder.
const FILE: &str = "sorting-key";
const BYTES: usize = 32;

/// What only who knows this person's key can say of a text. Where nothing is kept from one start to
/// the next, the key lasts as long as this process.
///
/// # Errors
/// If there is no key and none can be made.
pub(super) fn sign(text: &[u8]) -> io::Result<String> {
    static KEY: OnceLock<[u8; BYTES]> = OnceLock::new();
    let key = match KEY.get() {
        Some(key) => key,
        None => {
            let found = match files::cache_folder() {
                // Another process's key is as good, but one that cannot be kept is good for now.
                Some(folder) => kept(&folder).or_else(|_| fresh())?,
                None => fresh()?,
            };
            KEY.get_or_init(|| found)
        }
    };
    Ok(blake3::keyed_hash(key, text).to_hex().to_string())
}

/// Whether a text has this signature. It takes as long however much of it is right.
pub(super) fn is_signed(text: &[u8], signature: &str) -> bool {
    let (Ok(own), Ok(given)) = (sign(text), blake3::Hash::from_hex(signature)) else {
        return false;
    };
    blake3::Hash::from_hex(own).is_ok_and(|own| own == given)
}

fn fresh() -> io::Result<[u8; BYTES]> {
    let mut key = [0; BYTES];
    SysRng.try_fill_bytes(&mut key).map_err(|error| io::Error::other(error.to_string()))?;
    Ok(key)
}

/// The key in a folder, made if need be. Whoever is first makes it for all.
fn kept(folder: &Path) -> io::Result<[u8; BYTES]> {
    let path = folder.join(FILE);
    let read = || -> io::Result<[u8; BYTES]> {
        let bytes = files::read(&path, BYTES as u64)?;
        bytes.try_into().map_err(|_| io::Error::from(io::ErrorKind::InvalidData))
    };
    match read() {
        Err(error) if error.kind() == io::ErrorKind::NotFound => {}
        found => return found,
    }
    fs::create_dir_all(folder)?;
    // Nobody else may read it, which temporary files are made for.
    let mut file = tempfile::NamedTempFile::new_in(folder)?;
    file.write_all(&fresh()?)?;
    file.as_file().sync_all()?;
    match file.persist_noclobber(&path) {
        Err(failed) if failed.error.kind() != io::ErrorKind::AlreadyExists => Err(failed.error),
        _ => read(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_is_made_once_and_is_nobody_elses() {
        let folder = tempfile::tempdir().unwrap();
        let cache = folder.path().join("cache");
        let keys: Vec<_> = std::thread::scope(|scope| {
            let made: Vec<_> = (0..8).map(|_| scope.spawn(|| kept(&cache).unwrap())).collect();
            made.into_iter().map(|key| key.join().unwrap()).collect()
        });
        assert!(keys.iter().all(|key| *key == keys[0] && *key != [0; BYTES]));
        assert_eq!(fs::read_dir(&cache).unwrap().count(), 1);
        #[cfg(unix)]
        {
            use std::os::unix::fs::PermissionsExt;
            let mode = fs::metadata(cache.join(FILE)).unwrap().permissions().mode();
            assert_eq!(mode & 0o077, 0);
        }
        let signature = sign(b"a").unwrap();
        assert!(is_signed(b"a", &signature) && !is_signed(b"b", &signature));
        assert!(!is_signed(b"a", "") && !is_signed(b"a", &"0".repeat(64)));
    }
}
