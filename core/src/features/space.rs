//! What features have in common that can stand side by side.

/// The BLAKE3 hash of an image's content, by which its features are kept.
pub type Key = [u8; 32];

/// Longest label or view that is written into a segment, in bytes; both are for people to read
/// there.
const LONGEST_TEXT: usize = 200;

/// One way of making features of an image: the same image has the same features in it, whichever
/// program or device computes them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Space {
    /// The BLAKE3 hash of the backbone's weights and of everything that changes what it computes of
    /// pixels.
    pub backbone: [u8; 32],
    /// The backbone as people know it, `efficientnet-lite0` for example. Features are looked for
    /// under the label they were kept under.
    pub label: String,
    /// Height and width of the input, in pixels.
    pub side: usize,
    /// How the image is shown: `plain`, `mirrored`.
    pub view: String,
    /// Number of features of an image.
    pub features: usize,
}

impl Space {
    /// Equal for spaces whose features are equal. The label is not in it, but the format of
    /// segments is: programs of two formats leave each other's alone.
    pub(super) fn hash(&self) -> Key {
        let mut hasher =
            blake3::Hasher::new_derive_key("counterweight feature space, segments of format 1");
        hasher.update(&self.backbone);
        hasher.update(&(self.side as u64).to_le_bytes());
        hasher.update(&(self.features as u64).to_le_bytes());
        hasher.update(self.view.as_bytes());
        *hasher.finalize().as_bytes()
    }

    /// The name of its folder: something to read, and enough of the hash to be the only one of that
    /// name.
    pub(super) fn folder_name(&self) -> String {
        let hash = blake3::Hash::from_bytes(self.hash()).to_hex();
        format!(
            "{}-{}-{}-{}",
            plain(&self.label),
            self.side,
            plain(&self.view),
            &hash[..HASH_DIGITS]
        )
    }

    /// Label and view as they are written into a segment.
    pub(super) fn texts(&self) -> [&str; 2] {
        [&self.label, &self.view].map(|text| &text[..text.floor_char_boundary(LONGEST_TEXT)])
    }
}

/// Digits of the hash at the end of a folder's name.
const HASH_DIGITS: usize = 16;

/// Whether a folder of that name can be a space's.
pub(super) fn is_folder_name(name: &str) -> bool {
    name.rsplit_once('-').is_some_and(|(_, hash)| is_hex(hash, HASH_DIGITS))
}

/// Whether the text is so many digits of a hash.
pub(super) fn is_hex(text: &str, digits: usize) -> bool {
    text.len() == digits && text.bytes().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f'))
}

/// What of a text can be in a file name everywhere.
fn plain(text: &str) -> String {
    text.chars()
        .take(40)
        .map(|c| if c.is_ascii_alphanumeric() { c.to_ascii_lowercase() } else { '-' })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn whatever_changes_features_makes_another_space() {
        let space = Space {
            backbone: [1; 32],
            label: "Lite 0/../é".into(),
            side: 224,
            view: "plain".into(),
            features: 1280,
        };
        let name = space.folder_name();
        assert!(name.starts_with("lite-0------224-plain-") && is_folder_name(&name), "{name}");
        let others = [
            Space { backbone: [2; 32], ..space.clone() },
            Space { side: 192, ..space.clone() },
            Space { view: "mirrored".into(), ..space.clone() },
            Space { features: 1281, ..space.clone() },
        ];
        for other in others {
            assert_ne!(other.hash(), space.hash(), "{other:?}");
        }
        assert_eq!(Space { label: "another".into(), ..space.clone() }.hash(), space.hash());
        let long = Space { label: "é".repeat(150), ..space };
        assert_eq!((long.texts()[0].len(), long.folder_name().len() < 120), (200, true));
        for name in ["photos", "-0123", "x-0123456789abcdeF", "x-0123456789abcdef0"] {
            assert!(!is_folder_name(name), "{name}");
        }
    }
}
