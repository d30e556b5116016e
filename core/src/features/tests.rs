//! The cache as a whole: what comes back, and what does not.

use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use super::cache::segment_paths;
use super::segment::{Refusal, Segment, set_last_used};
use super::*;

const FEATURES: usize = 5;
const NONE: [usize; 0] = [];

fn space() -> Space {
    Space {
        backbone: [9; 32],
        label: "tiny".into(),
        side: 32,
        view: "plain".into(),
        features: FEATURES,
    }
}

fn key(image: usize) -> Key {
    *blake3::hash(&image.to_le_bytes()).as_bytes()
}

fn keys(images: impl IntoIterator<Item = usize>) -> Vec<Key> {
    images.into_iter().map(key).collect()
}

/// Features that tell their image.
fn row(image: usize) -> Vec<f32> {
    (0..FEATURES).map(|f| image as f32 + f as f32 / 8.0).collect()
}

fn insert(features: &mut CachedFeatures, images: impl IntoIterator<Item = usize>) {
    let images: Vec<usize> = images.into_iter().collect();
    let rows: Vec<f32> = images.iter().flat_map(|&image| row(image)).collect();
    features.insert(&keys(images), &rows).unwrap();
}

/// The images that are known, all of which have their own features.
fn known(features: &CachedFeatures, images: usize) -> Vec<usize> {
    let known: Vec<usize> =
        (0..images).filter(|&image| features.get(&key(image)).is_some()).collect();
    for &image in &known {
        assert_eq!(features.get(&key(image)).unwrap(), row(image), "image {image}");
    }
    let missing = features.missing(&keys(0..images));
    assert_eq!(missing, (0..images).filter(|image| !known.contains(image)).collect::<Vec<_>>());
    known
}

fn files(cache: &FeatureCache) -> Vec<PathBuf> {
    segment_paths(&cache.space_folder(&space())).unwrap()
}

fn cache_of(folder: &Path, images: std::ops::Range<usize>) -> FeatureCache {
    let cache = FeatureCache::in_folder(folder);
    insert(&mut cache.open(&space()), images);
    cache
}

#[test]
fn what_was_inserted_comes_back_in_any_order_and_the_first_stays() {
    let folder = tempfile::tempdir().unwrap();
    let cache = FeatureCache::in_folder(folder.path().join("not/yet/there"));
    let mut features = cache.open(&space());
    assert_eq!(features.missing(&keys([3, 1])), [0, 1]);
    assert!(
        !folder.path().join("not").exists(),
        "nothing is made before there is something to keep"
    );
    insert(&mut features, [7, 3, 5]);
    // One image twice, one that is there, and other numbers for both.
    features
        .insert(&keys([2, 3, 2]), &[row(2), vec![0.0; FEATURES], vec![1.0; FEATURES]].concat())
        .unwrap();
    assert_eq!(known(&features, 9), [2, 3, 5, 7]);
    assert_eq!(features.missing(&keys([9, 3, 1, 2, 9])), [0, 2, 4]);
    let mut again = cache.open(&space());
    assert_eq!(known(&again, 9), [2, 3, 5, 7]);
    insert(&mut again, [2, 3, 5, 7]);
    assert_eq!(files(&cache).len(), 2, "what is known is not written again");
    let start = again.get(&key(2)).unwrap().as_ptr() as usize;
    assert!(start.is_multiple_of(4));
    assert_eq!((features.warnings(), again.warnings()), (vec![], vec![]));
    assert_eq!(known(&cache.open(&Space { view: "mirrored".into(), ..space() }), 9), NONE);
}

#[test]
fn what_are_no_features_is_refused_and_nothing_kept() {
    let folder = tempfile::tempdir().unwrap();
    let cache = FeatureCache::in_folder(folder.path());
    let mut features = cache.open(&space());
    for value in [f32::NAN, f32::INFINITY, f32::NEG_INFINITY] {
        let mut rows = [row(0), row(1)].concat();
        rows[FEATURES + 2] = value;
        let error = features.insert(&keys([0, 1]), &rows).unwrap_err().to_string();
        assert!(error.contains("image 2 of 2") && error.contains("tiny"), "{error}");
    }
    assert!(features.insert(&keys([0, 1]), &row(0)).unwrap_err().to_string().contains("5 numbers"));
    assert!(features.insert(&[], &row(0)).is_err());
    assert!(cache.open(&Space { features: 0, ..space() }).insert(&keys([1]), &[]).is_err());
    features.insert(&[], &[]).unwrap();
    assert_eq!(known(&features, 2), NONE);
    assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 0);
}

#[test]
fn without_a_folder_features_are_held_and_not_kept() {
    let mut features = CachedFeatures::in_memory(&space());
    insert(&mut features, [1, 4]);
    insert(&mut features, [4, 2]);
    assert_eq!(known(&features, 5), [1, 2, 4]);
    assert!(features.warnings().is_empty());
    // A folder that cannot be made: what is in its way is a file.
    let file = tempfile::NamedTempFile::new().unwrap();
    let mut features = FeatureCache::in_folder(file.path().join("below")).open(&space());
    features.warnings();
    insert(&mut features, [1, 4]);
    let warnings = features.warnings();
    assert!(
        warnings.len() == 1 && warnings[0].contains(file.path().to_str().unwrap()),
        "{warnings:?}"
    );
    insert(&mut features, [2]);
    assert_eq!(
        (known(&features, 5), features.warnings()),
        (vec![1, 2, 4], vec![]),
        "it is said once"
    );
}

#[test]
fn several_write_at_once() {
    let folder = tempfile::tempdir().unwrap();
    let cache = FeatureCache::in_folder(folder.path());
    std::thread::scope(|scope| {
        for writer in 0..4 {
            let cache = &cache;
            scope.spawn(move || {
                let mut features = cache.open(&space());
                // Each two neighbours compute half of each other's, and all of them merge.
                for step in 0..40 {
                    let first = writer * 40 + step * 2;
                    insert(&mut features, first..first + 3);
                    assert_eq!(features.missing(&keys(first..first + 3)), Vec::<usize>::new());
                    assert_eq!(features.warnings(), Vec::<String>::new());
                    if step % 10 == 9 {
                        features = cache.open(&space());
                    }
                }
            });
        }
    });
    let mut features = cache.open(&space());
    assert_eq!(known(&features, 220), (0..201).collect::<Vec<_>>());
    assert_eq!(features.warnings(), Vec::<String>::new());
}

#[test]
fn no_damaged_byte_is_ever_used() {
    let folder = tempfile::tempdir().unwrap();
    let cache = cache_of(folder.path(), 0..12);
    let path = files(&cache)[0].clone();
    let whole = std::fs::read(&path).unwrap();
    for at in 0..whole.len() {
        let mut damaged = whole.clone();
        damaged[at] ^= 1 << (at % 8);
        std::fs::write(&path, &damaged).unwrap();
        let mut features = cache.open(&space());
        let left = known(&features, 12);
        // The rows begin at a multiple of 64; up to there all is checked at once, and then each row
        // by itself.
        let rows = whole.len() - 12 * FEATURES * 4;
        assert_eq!(left.len(), if at < rows { 0 } else { 11 }, "byte {at}");
        let newer = (8..12).contains(&at) && path.exists();
        assert!(newer || !path.exists(), "byte {at}");
        let warnings = features.warnings();
        assert!(
            warnings.len() == 1 && warnings[0].contains(path.to_str().unwrap()),
            "byte {at}: {warnings:?}"
        );
        // It is computed again, and kept with what was left.
        if at % 50 == 0 && !newer {
            let missing = features.missing(&keys(0..12));
            insert(&mut features, missing);
            assert_eq!(known(&features, 12).len(), 12);
            drop(features);
            let mut features = cache.open(&space());
            assert_eq!(
                (known(&features, 12).len(), files(&cache).len(), features.warnings()),
                (12, 1, vec![])
            );
        }
    }
    for length in 0..whole.len() {
        std::fs::write(&path, &whole[..length]).unwrap();
        let mut features = cache.open(&space());
        assert_eq!((known(&features, 12).len(), path.exists()), (0, false), "{length} bytes");
        assert_eq!(features.warnings().len(), 1);
    }
    std::fs::write(&path, [&whole[..], &[0]].concat()).unwrap();
    assert_eq!(known(&cache.open(&space()), 12), NONE);
}

#[test]
fn hostile_files_are_refused_before_their_numbers_are_believed() {
    let folder = tempfile::tempdir().unwrap();
    let cache = cache_of(folder.path(), 0..3);
    let path = files(&cache)[0].clone();
    let whole = std::fs::read(&path).unwrap();
    let open = |change: &dyn Fn(&mut Vec<u8>)| {
        let mut bytes = whole.clone();
        change(&mut bytes);
        std::fs::write(&path, bytes).unwrap();
        Segment::open(&path, &space()).err()
    };
    let worthless = |refusal: Option<Refusal>, word: &str| {
        assert!(
            matches!(&refusal, Some(Refusal::Worthless(reason)) if reason.contains(word)),
            "{word}: {refusal:?}"
        );
    };
    assert_eq!(open(&|_| {}), None);
    for at in [24, 32, 40] {
        for value in [0, 1, u64::from(u32::MAX), 1 << 61, u64::MAX / 48, u64::MAX] {
            assert!(
                open(&|bytes| bytes[at..at + 8].copy_from_slice(&value.to_ne_bytes())).is_some(),
                "{value} at {at}"
            );
        }
    }
    for at in [12, 16] {
        worthless(
            open(&|bytes| bytes[at..at + 4].copy_from_slice(&u32::MAX.to_ne_bytes())),
            "no sense",
        );
    }
    worthless(open(&|bytes| *bytes = b"Lorem ipsum ".repeat(100)), "no features");
    worthless(open(&|bytes| bytes.clear()), "cut short");
    worthless(open(&|bytes| bytes[8..12].copy_from_slice(&0u32.to_ne_bytes())), "format 0");
    let newer = open(&|bytes| bytes[8..12].copy_from_slice(&2u32.to_ne_bytes()));
    assert!(
        matches!(&newer, Some(Refusal::Ignored(reason)) if reason.contains("format 2")),
        "{newer:?}"
    );

    // With a hash that fits: rows that are not numbers, keys out of order.
    let rows = whole.len() - 3 * FEATURES * 4;
    let rehash = |bytes: &mut Vec<u8>| {
        let digest = blake3::hash(&bytes[..rows - 32]);
        bytes[rows - 32..rows].copy_from_slice(digest.as_bytes());
    };
    let keys = 128;
    worthless(
        open(&|bytes| {
            let (first, second) = bytes[keys..keys + 64].split_at_mut(32);
            first.swap_with_slice(second);
            rehash(bytes);
        }),
        "out of order",
    );
    assert_eq!(
        open(&|bytes| {
            bytes[rows..rows + 4].copy_from_slice(&f32::NAN.to_ne_bytes());
            let hash = blake3::hash(
                &[&bytes[keys..keys + 32], &bytes[rows..rows + FEATURES * 4]].concat(),
            );
            bytes[keys + 96..keys + 96 + 16].copy_from_slice(&hash.as_bytes()[..16]);
            rehash(bytes);
        }),
        None
    );
    let opened = Segment::open(&path, &space()).unwrap();
    assert!(opened.row(0).is_none() && opened.row(1).is_some());
}

#[test]
fn what_is_not_the_cache_s_own_is_left_alone() {
    let folder = tempfile::tempdir().unwrap();
    let cache = cache_of(folder.path(), 0..3);
    let inside = cache.space_folder(&space());
    std::fs::write(inside.join("notes.txt"), "mine").unwrap();
    std::fs::write(inside.join("mine.features"), "mine").unwrap();
    std::fs::create_dir(folder.path().join("photos")).unwrap();
    std::fs::write(folder.path().join("photos/0123456789abcdef0123456789abcdef.features"), "mine")
        .unwrap();
    // Not opened: this would wait for a program to write, and a link leads to what is somebody
    // else's.
    #[cfg(unix)]
    {
        let name = |digit: &str| inside.join(format!("{}.features", digit.repeat(32)));
        assert!(std::process::Command::new("mkfifo").arg(name("a")).status().unwrap().success());
        std::os::unix::fs::symlink(inside.join("notes.txt"), name("b")).unwrap();
    }
    let mut features = cache.open(&space());
    assert_eq!((known(&features, 3).len(), features.warnings()), (3, vec![]));
    let bytes = cache.usage().unwrap().bytes;
    assert_eq!(cache.clear().unwrap(), bytes);
    assert!(inside.join("notes.txt").exists() && inside.join("mine.features").exists());
    assert_eq!(std::fs::read_dir(folder.path().join("photos")).unwrap().count(), 1);
}

#[test]
fn features_of_another_space_are_not_used() {
    let folder = tempfile::tempdir().unwrap();
    let cache = cache_of(folder.path(), 0..3);
    let other = Space { backbone: [8; 32], ..space() };
    let wrong = cache.space_folder(&other);
    std::fs::create_dir(&wrong).unwrap();
    let moved = wrong.join(files(&cache)[0].file_name().unwrap());
    std::fs::copy(&files(&cache)[0], &moved).unwrap();
    let mut features = cache.open(&other);
    assert_eq!(known(&features, 3), NONE);
    let warnings = features.warnings();
    assert!(
        warnings.len() == 1
            && warnings[0].contains(moved.to_str().unwrap())
            && warnings[0].contains("another"),
        "{warnings:?}"
    );
    assert!(!moved.exists());
    assert_eq!(known(&cache.open(&space()), 3), [0, 1, 2]);
}

#[test]
fn many_files_become_few_and_nothing_is_lost() {
    let folder = tempfile::tempdir().unwrap();
    let cache = FeatureCache::in_folder(folder.path());
    let mut features = cache.open(&space());
    let early = cache.open(&space());
    for image in 0..200 {
        insert(&mut features, [image]);
        assert!(files(&cache).len() <= 16);
    }
    assert_eq!(known(&features, 200).len(), 200);
    assert_eq!(features.warnings(), Vec::<String>::new());
    assert_eq!(known(&cache.open(&space()), 200).len(), 200);
    assert_eq!(known(&early, 200), NONE);
    let usage = cache.usage().unwrap();
    assert_eq!(usage.spaces.iter().map(|space| space.rows).sum::<u64>(), 200);

    // What was open before goes on serving from files that are gone.
    let before = cache.open(&space());
    for image in 200..240 {
        insert(&mut features, [image]);
    }
    if cfg!(unix) {
        assert_eq!(known(&before, 240).len(), 200);
    }
}

#[test]
fn a_damaged_row_is_not_merged() {
    let folder = tempfile::tempdir().unwrap();
    let cache = FeatureCache::in_folder(folder.path());
    let mut features = cache.open(&space());
    insert(&mut features, [0, 1]);
    let path = files(&cache)[0].clone();
    let mut bytes = std::fs::read(&path).unwrap();
    *bytes.last_mut().unwrap() ^= 1;
    drop(features);
    std::fs::write(&path, bytes).unwrap();
    let mut features = cache.open(&space());
    (2..18).for_each(|image| insert(&mut features, [image]));
    let warnings = features.warnings();
    assert!(warnings.len() == 1 && warnings[0].contains(path.to_str().unwrap()), "{warnings:?}");
    let found = known(&cache.open(&space()), 18);
    assert!(found.len() == 17 && files(&cache).len() < 16, "{found:?}");
}

#[test]
fn the_least_recently_used_goes_first_and_what_is_in_use_stays() {
    let folder = tempfile::tempdir().unwrap();
    let cache = FeatureCache::in_folder(folder.path());
    let named = |view: &str| Space { view: view.into(), ..space() };
    let file = |view: &str| segment_paths(&cache.space_folder(&named(view))).unwrap().pop();
    for (hours, view) in [(3, "oldest"), (2, "in use"), (1, "newest")] {
        insert(&mut cache.open(&named(view)), 0..10);
        set_last_used(&file(view).unwrap(), SystemTime::now() - Duration::from_hours(hours));
    }
    let bytes = std::fs::metadata(file("oldest").unwrap()).unwrap().len();
    let in_use = cache.open(&named("in use"));
    assert_eq!(known(&in_use, 10).len(), 10);
    set_last_used(&file("in use").unwrap(), SystemTime::now() - Duration::from_hours(20));
    // Looking at features makes them the last used.
    set_last_used(&file("oldest").unwrap(), SystemTime::now() - Duration::from_hours(30));
    assert_eq!(known(&cache.open(&named("oldest")), 1).len(), 1);

    let small = cache.clone().with_limit(3 * bytes + bytes / 2);
    insert(&mut small.open(&named("one more")), 0..10);
    assert!(
        file("newest").is_none()
            && file("oldest").is_some()
            && file("in use").is_some()
            && file("one more").is_some()
    );
    assert!(small.usage().unwrap().bytes <= 3 * bytes + bytes / 2);

    // A lower limit holds as soon as anything is opened.
    let tiny = cache.clone().with_limit(bytes);
    let mut features = tiny.open(&named("and another"));
    assert!(file("oldest").is_none() && file("one more").is_none() && file("in use").is_some());
    insert(&mut features, 0..10);
    let warnings = features.warnings();
    assert!(
        warnings.len() == 1 && warnings[0].contains("COUNTERWEIGHT_CACHE_LIMIT"),
        "{warnings:?}"
    );
    assert_eq!((known(&features, 10).len(), file("and another")), (10, None));
    assert_eq!(known(&in_use, 10).len(), 10);
    drop(in_use);
    insert(&mut tiny.open(&named("plain")), 0..3);
    assert!(file("in use").is_none() && file("plain").is_some());
}

#[test]
fn usage_tells_what_there_is_and_clearing_frees_it() {
    let folder = tempfile::tempdir().unwrap();
    let cache = FeatureCache::in_folder(folder.path().join("features"));
    assert_eq!((cache.usage().unwrap().spaces.len(), cache.clear().unwrap()), (0, 0));
    let mirrored = Space { view: "mir\u{1b}[31mrored".into(), label: "tïny".into(), ..space() };
    insert(&mut cache.open(&mirrored), 0..4);
    set_last_used(
        &segment_paths(&cache.space_folder(&mirrored)).unwrap()[0],
        SystemTime::now() - Duration::from_hours(5),
    );
    insert(&mut cache.open(&space()), 0..3);
    insert(&mut cache.open(&space()), 3..5);
    let garbage = cache.space_folder(&space()).join("0123456789abcdef0123456789abcdef.features");
    std::fs::write(&garbage, "garbage").unwrap();
    let killed = cache.space_folder(&space()).join(".counterweight-a.tmp");
    std::fs::write(&killed, "half").unwrap();

    let usage = cache.usage().unwrap();
    let shown: Vec<_> = usage
        .spaces
        .iter()
        .map(|s| (s.label.as_str(), s.side, s.view.as_str(), s.features, s.rows))
        .collect();
    assert_eq!(shown, [("tiny", 32, "plain", 5, 5), ("tïny", 32, "mir[31mrored", 5, 4)]);
    assert_eq!(usage.unusable, [garbage.display().to_string()]);
    assert_eq!(usage.bytes, usage.spaces.iter().map(|space| space.bytes).sum::<u64>() + 7);
    let json = serde_json::to_value(&usage).unwrap();
    assert!(json["spaces"][0]["last_used"].as_u64().unwrap() > 1_700_000_000, "{json}");

    assert_eq!(cache.clear().unwrap(), usage.bytes);
    // A program may still be writing this one.
    assert!(killed.exists());
    set_last_used(&killed, SystemTime::now() - Duration::from_hours(30));
    cache.clear().unwrap();
    assert_eq!(std::fs::read_dir(cache.folder()).unwrap().count(), 0);
    assert_eq!(known(&cache.open(&space()), 5), NONE);
}
