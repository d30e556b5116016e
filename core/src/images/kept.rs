//! Small pictures that a scan has decoded, kept for those who need them next: training, features,
//! the window.
//!
//! Those are kept that were made smaller while they were decoded, which cost the most to decode and
//! the least to keep: a photo of twelve megapixels half a megabyte. So are those that are about as
//! large to begin with.

use std::collections::{BTreeMap, HashMap};
use std::ops::RangeInclusive;
use std::sync::{LazyLock, Mutex, MutexGuard, PoisonError};

use super::decode::Decoded;
use super::image_file::ImageFile;
use super::pixels::{Detail, RgbPixels};

/// Bytes of a whole picture that is worth keeping, from 147 × 147 pixels to 590 × 590: less is
/// decoded in no time, more takes the room of several.
const WHOLE: RangeInclusive<u64> = 1 << 16..=1 << 20;
/// Bytes that kept pictures may take: 1 GiB, the pictures of some two thousand photos.
const CAPACITY: u64 = 1 << 30;

/// The pictures of this process.
pub(crate) static KEPT: LazyLock<Kept> = LazyLock::new(|| Kept::new(CAPACITY));

/// Gives back the memory of all pictures that scans have kept. To be called once whatever was to be
/// made of the images is made; what is read afterwards is decoded anew, to the same pixels.
pub fn give_back_kept_pictures() {
    #[cfg(test)]
    let _turn = UNDISTURBED.write().unwrap_or_else(PoisonError::into_inner);
    KEPT.clear();
}

/// Tests that look at what is kept hold this to read: others, which train beside them, then wait
/// with giving it back.
#[cfg(test)]
pub(crate) static UNDISTURBED: std::sync::RwLock<()> = std::sync::RwLock::new(());

/// Pictures, the least recently used of which make room for new ones.
pub(crate) struct Kept {
    capacity: u64,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    pictures: HashMap<ImageFile, Picture>,
    /// The files in the order they were last used.
    order: BTreeMap<u64, ImageFile>,
    uses: u64,
    bytes: u64,
}

struct Picture {
    pixels: RgbPixels,
    /// Width and height of what it was made from.
    size: (u32, u32),
    last_use: u64,
}

impl Kept {
    /// Room for `capacity` bytes.
    pub fn new(capacity: u64) -> Self {
        Self { capacity, state: Mutex::default() }
    }

    /// Takes a picture that was decoded from `file` with [`Detail::SMALL`], if it is one to keep.
    pub fn keep(&self, file: ImageFile, decoded: Decoded) {
        let Decoded { pixels, size, .. } = decoded;
        let bytes = pixels.data.len() as u64;
        let reduced = (pixels.width, pixels.height) != size;
        if !(reduced || WHOLE.contains(&bytes)) || bytes > self.capacity || file.modified.is_none()
        {
            return;
        }
        let mut state = self.lock();
        state.remove(&file);
        while state.bytes + bytes > self.capacity {
            let Some((_, oldest)) = state.order.pop_first() else { break };
            state.remove(&oldest);
        }
        state.uses += 1;
        let last_use = state.uses;
        state.bytes += bytes;
        state.order.insert(last_use, file.clone());
        state.pictures.insert(file, Picture { pixels, size, last_use });
    }

    /// The picture of `file`, if there is one and decoding the file with `detail` would give just
    /// that.
    pub fn get(&self, file: &ImageFile, detail: Detail) -> Option<RgbPixels> {
        let mut state = self.lock();
        let State { pictures, order, uses, .. } = &mut *state;
        let picture = pictures.get_mut(file)?;
        let (width, height) = picture.size;
        if detail.reduction(width, height) != Detail::SMALL.reduction(width, height) {
            return None;
        }
        order.remove(&picture.last_use);
        *uses += 1;
        picture.last_use = *uses;
        order.insert(*uses, file.clone());
        Some(picture.pixels.clone())
    }

    fn clear(&self) {
        *self.lock() = State::default();
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        // A panic in here could only be one of the allocator's.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    fn remove(&mut self, file: &ImageFile) {
        if let Some(picture) = self.pictures.remove(file) {
            self.order.remove(&picture.last_use);
            self.bytes -= picture.pixels.data.len() as u64;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn file(name: &str, modified: i64) -> ImageFile {
        ImageFile { path: name.into(), length: 9, modified: Some(modified) }
    }

    /// An eighth of a photo of 4000 × 3000, all of one colour.
    fn photo(value: u8) -> Decoded {
        let pixels = RgbPixels { width: 500, height: 375, data: vec![value; 562_500] };
        Decoded { pixels, size: (4000, 3000), mode: "RGB" }
    }

    #[test]
    fn the_least_recently_used_picture_makes_room() {
        let kept = Kept::new(2_000_000);
        for (name, value) in [("a", 1), ("b", 2), ("c", 3)] {
            kept.keep(file(name, 0), photo(value));
        }
        let has = |name: &str| kept.lock().pictures.contains_key(&file(name, 0));
        assert_eq!(kept.get(&file("a", 0), Detail::SMALL).unwrap().data[0], 1);
        kept.keep(file("d", 0), photo(4));
        assert_eq!(["a", "b", "c", "d"].map(has), [true, false, true, true]);
        kept.keep(file("e", 0), photo(5));
        assert_eq!(["a", "c", "d", "e"].map(has), [true, false, true, true]);
        // The same file again takes no more room.
        for value in 0..50 {
            kept.keep(file("e", 0), photo(value));
        }
        let state = kept.lock();
        assert_eq!((state.pictures.len(), state.order.len(), state.bytes), (3, 3, 3 * 562_500));
        drop(state);
        kept.clear();
        assert!(kept.lock().bytes == 0 && kept.get(&file("e", 0), Detail::SMALL).is_none());
        kept.keep(file("e", 0), photo(9));
        assert_eq!(kept.get(&file("e", 0), Detail::SMALL).unwrap().data[7], 9);
    }

    #[test]
    fn only_what_a_reading_would_give_is_given() {
        let kept = Kept::new(u64::MAX);
        kept.keep(file("a", 5), photo(1));
        assert!(kept.get(&file("a", 6), Detail::SMALL).is_none(), "the file has changed");
        assert!(kept.get(&file("a", 5), Detail::Full).is_none());
        assert!(kept.get(&file("a", 5), Detail::Side(448)).is_none());
        assert!(
            kept.get(&file("a", 5), Detail::Side(32)).is_some(),
            "an eighth is the smallest there is"
        );
        // What has no date may have changed.
        kept.keep(ImageFile { modified: None, ..file("c", 5) }, photo(1));
        assert_eq!(kept.lock().pictures.len(), 1);
    }

    #[test]
    fn whole_pictures_are_kept_where_that_pays() {
        let kept = Kept::new(u64::MAX);
        let whole = |width: u32, height: u32| {
            let pixels = RgbPixels { width, height, data: vec![1; (3 * width * height) as usize] };
            Decoded { pixels, size: (width, height), mode: "RGB" }
        };
        kept.keep(file("digit", 5), whole(28, 28));
        kept.keep(file("screen", 5), whole(1920, 1080));
        assert!(kept.lock().pictures.is_empty());
        kept.keep(file("small", 5), whole(500, 375));
        assert!(kept.get(&file("small", 5), Detail::Side(224)).is_some());
    }
}
