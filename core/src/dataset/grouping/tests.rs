use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use rand::{Rng, RngExt};

use super::*;
use crate::dataset::{BuildOptions, Dataset, Profile, build, counts_preview, source_hash};
use crate::images::{ImageFacts, Taken};
use crate::job::{Control, Silent};
use crate::random::stream;
use crate::source::{Location, Sample, Skipped, SourceKind, Split};

/// An image: path, class, look and when it was taken.
struct Image<'a>(&'a str, usize, u64, Option<(i64, u32)>);

fn catalog(classes: &[&str], images: &[Image<'_>]) -> Catalog {
    let sample = |Image(path, class, ..): &Image<'_>| Sample {
        location: Location::File((*path).into()),
        class: *class,
        split: path.split('/').next().and_then(|first| first.parse::<Split>().ok()),
        group: None,
    };
    let facts = |(i, Image(_, _, look, taken)): (usize, &Image<'_>)| ImageFacts {
        width: 8,
        height: 8,
        mode: "RGB",
        hash: *blake3::hash(&i.to_le_bytes()).as_bytes(),
        look: *look,
        taken: taken.map(|(seconds, camera)| Taken { seconds, camera }),
    };
    Catalog {
        root: "images".into(),
        source: "images".into(),
        kind: SourceKind::Folder,
        classes: classes.iter().map(|name| (*name).to_string()).collect(),
        samples: images.iter().map(sample).collect(),
        facts: images.iter().enumerate().map(facts).collect(),
        problems: Vec::new(),
        skipped: Skipped::default(),
        twins: Vec::new(),
        reading: Default::default(),
    }
}

fn grouping(catalog: &Catalog, by: &str) -> Result<Grouping> {
    let control = Control::new();
    Grouping::of(catalog, &by.parse().unwrap(), Job::new(&control, &Silent))
}

fn groups(catalog: &Catalog, by: &str) -> Vec<u32> {
    grouping(catalog, by).unwrap().groups
}

#[test]
fn names_belong_together_up_to_the_last_number() {
    let paths = [
        "train/a/00001_00000.png",
        "train/a/00001_00005.png",
        "test/a/00001_00010.png",
        "train/a/00002_00000.png",
        // Another class counts its tracks for itself.
        "train/b/00001_00000.png",
        "train/b/00001_00005.png",
        // Merely numbered, or not even that.
        "train/c/cat1.png",
        "train/c/cat2.png",
        "train/d/1.png",
        "train/d/2.png",
        "train/d/last.png",
        // Two names are two series.
        "train/e/north1.png",
        "train/e/north2.png",
        "train/e/south1.png",
    ];
    let class = |path: &str| {
        ["a", "b", "c", "d", "e"].iter().position(|c| path.contains(&format!("/{c}/")))
    };
    let images: Vec<Image<'_>> =
        paths.iter().map(|path| Image(path, class(path).unwrap(), 0, None)).collect();
    let catalog = catalog(&["a", "b", "c", "d", "e"], &images);
    assert_eq!(groups(&catalog, "name"), [0, 0, 0, 1, 2, 2, 3, 4, 5, 6, 7, 8, 8, 9]);
    let sizes = grouping(&catalog, "name").unwrap().sizes(&catalog);
    assert_eq!((sizes.series, sizes.several, sizes.together, sizes.largest), (10, 3, 7, 3));
    assert_eq!(sizes.example.as_deref(), Some("train/a/00001_00000.png"));
    // A pattern goes over all classes, and images that it does not match are alone.
    assert_eq!(groups(&catalog, r"name:/(\d+)_"), [0, 0, 0, 1, 0, 0, 2, 3, 4, 5, 6, 7, 8, 9]);
    let error = grouping(&catalog, "name:(tiger)").unwrap_err().to_string();
    assert!(error.contains("matches no image's path"), "{error}");
}

#[test]
fn folders_below_a_class_are_its_series() {
    let images = [
        Image("deer/1/a.png", 0, 0, None),
        Image("deer/1/b.png", 0, 0, None),
        Image("deer/2/a.png", 1, 0, None),
        Image("fox/a.png", 2, 0, None),
        Image("fox/b.png", 2, 0, None),
    ];
    let mut catalog = catalog(&["deer/1", "deer/2", "fox"], &images);
    assert_eq!(groups(&catalog, "subfolder"), [0, 0, 1, 2, 3]);
    let mut options = BuildOptions { test: Some(0.0), ..BuildOptions::default() };
    options.rename.insert("fox".into(), "vulpes".into());
    let before = options.clone();
    options.keep_together(Some(GroupBy::Subfolder), &catalog.classes);
    let dataset = build(&catalog, &options).unwrap().dataset;
    assert_eq!(dataset.classes, ["deer", "vulpes"]);
    options.keep_together(None, &catalog.classes);
    assert_eq!(options, before);
    // In a list the folders are what they are called, unless that is the class.
    catalog.kind = SourceKind::List;
    catalog.classes = ["deer", "hare", "fox"].map(String::from).into();
    assert_eq!(groups(&catalog, "subfolder"), [0, 0, 1, 2, 3]);
}

#[test]
fn folders_above_a_class_are_its_series_where_the_last_folder_names_it() {
    let mut images = Vec::new();
    let names: Vec<String> = (0..6)
        .flat_map(|site| ["deer", "fox"].map(|class| format!("site {site}/{class}")))
        .collect();
    let files: Vec<String> = names
        .iter()
        .flat_map(|folder| (0..4).map(move |number| format!("{folder}/{number}.png")))
        .collect();
    for (at, file) in files.iter().enumerate() {
        images.push(Image(file, at / 4, at as u64, None));
    }
    let classes: Vec<&str> = names.iter().map(String::as_str).collect();
    let catalog = catalog(&classes, &images);
    let sites: Vec<u32> = (0..48).map(|at| at / 8).collect();
    assert_eq!(groups(&catalog, "folder-above"), sites);
    let mut options = BuildOptions::default();
    options.rename.insert("site 0/fox".into(), "vulpes".into());
    let before = options.clone();
    options.keep_together(Some(GroupBy::FolderAbove), &catalog.classes);
    let dataset = check(&catalog, &options);
    assert_eq!(dataset.classes, ["deer", "vulpes", "fox"]);
    // Whole sites are held out, whatever lies in them.
    let mut splits: HashMap<u32, HashSet<Split>> = HashMap::new();
    for sample in &dataset.samples {
        splits.entry(sample.group.unwrap()).or_default().insert(sample.split);
    }
    assert!(splits.len() == 6 && splits.values().all(|splits| splits.len() == 1), "{splits:?}");
    // One way after the other leaves nothing behind of the first.
    options.keep_together(Some(GroupBy::Subfolder), &catalog.classes);
    assert_eq!(build(&catalog, &options).unwrap().dataset.classes.len(), 7);
    options.keep_together(None, &catalog.classes);
    assert_eq!(options, before);
    let flat = super::tests::catalog(&["a", "b"], &[Image("a/1.jpg", 0, 0, None)]);
    let error = grouping(&flat, "folder-above").unwrap_err().to_string();
    assert!(error.contains("no image lies in a folder that lies in another one"), "{error}");
}

#[test]
fn photos_of_one_camera_in_a_row_belong_together() {
    let images = [
        Image("a/1.jpg", 0, 0, Some((1000, 1))),
        Image("a/2.jpg", 0, 0, Some((1060, 1))),
        Image("b/1.jpg", 1, 0, Some((1120, 1))),
        Image("b/2.jpg", 1, 0, Some((1181, 1))),
        Image("b/3.jpg", 1, 0, Some((1000, 2))),
        Image("b/4.jpg", 1, 0, None),
        Image("b/5.jpg", 1, 0, None),
    ];
    let catalog = catalog(&["a", "b"], &images);
    assert_eq!(groups(&catalog, "time"), [0, 0, 0, 1, 2, 3, 4]);
    assert_eq!(groups(&catalog, "time:61"), [0, 0, 0, 0, 1, 2, 3]);
    assert_eq!(groups(&catalog, "time:59"), [0, 1, 2, 3, 4, 5, 6]);
    let undated = super::tests::catalog(&["a", "b"], &[Image("a/1.jpg", 0, 0, None)]);
    let error = grouping(&undated, "time").unwrap_err().to_string();
    assert!(error.contains("no image's file says when"), "{error}");
}

#[test]
fn look_alikes_of_a_class_belong_together_and_copies_always_do() {
    let far = 0x0f0f_0f0f_0f0f_0f0f;
    let images = [
        Image("a/1.jpg", 0, 0, None),
        Image("a/5.jpg", 0, 0xff, None),
        Image("a/9.jpg", 0, far, None),
        Image("b/1.jpg", 1, 0, None),
        // Next to the one before, twice the distance is near enough.
        Image("b/2.jpg", 1, 0xffff, None),
        Image("b/3.jpg", 1, 0x3_ffff_ffff, None),
    ];
    let mut catalog = catalog(&["a", "b"], &images);
    assert_eq!(groups(&catalog, "look-alikes"), [0, 0, 1, 2, 2, 3]);
    assert_eq!(groups(&catalog, "look-alikes:3"), [0, 1, 2, 3, 4, 5]);
    assert_eq!(groups(&catalog, "subfolder"), [0, 1, 2, 3, 4, 5]);
    catalog.facts[2].hash = catalog.facts[0].hash;
    catalog.facts[3].hash = catalog.facts[0].hash;
    assert_eq!(groups(&catalog, "subfolder"), [0, 1, 0, 2, 3, 4], "only within a class");
}

#[test]
fn a_list_names_its_series() {
    let images: Vec<Image<'_>> = ["a/1", "a/2", "b/1", "b/2"]
        .iter()
        .map(|path| Image(path, usize::from(path.starts_with('b')), 0, None))
        .collect();
    let mut catalog = catalog(&["a", "b"], &images);
    assert!(grouping(&catalog, "list").unwrap_err().to_string().contains("names no groups"));
    let patient: Arc<str> = "patient 1".into();
    catalog.samples[0].group = Some(patient.clone());
    catalog.samples[3].group = Some(patient);
    assert_eq!(groups(&catalog, "list"), [0, 1, 2, 0]);
}

/// Classes of tracks, each frame with its track's look and a little noise.
fn tracks(classes: &[usize], frames: usize, seed: u64) -> Catalog {
    let mut random = stream(seed, "tracks", &[]);
    let names: Vec<String> = (0..classes.len()).map(|class| format!("c{class}")).collect();
    let mut paths = Vec::new();
    for (class, tracks) in classes.iter().enumerate() {
        for track in 0..*tracks {
            let look = random.next_u64();
            let length = 1 + random.next_u32() as usize % (2 * frames - 1);
            for frame in 0..length {
                let noise = (0..4).fold(0u64, |noise, _| noise | 1 << (random.next_u32() % 64));
                paths.push((format!("c{class}/{track:03}_{frame:03}.png"), class, look ^ noise));
            }
        }
    }
    let images: Vec<Image<'_>> =
        paths.iter().map(|(path, class, look)| Image(path, *class, *look, None)).collect();
    catalog(&names.iter().map(String::as_str).collect::<Vec<_>>(), &images)
}

/// What has to hold of every grouped build.
fn check(catalog: &Catalog, options: &BuildOptions) -> Dataset {
    let built = build(catalog, options).unwrap();
    assert_eq!(built, build(catalog, options).unwrap(), "the same every time");
    let dataset = built.dataset;
    let of = grouping(catalog, &options.group_by.as_ref().unwrap().to_string()).unwrap();
    let leak = Leak::of(&dataset, catalog, &of);
    assert_eq!((leak.validation.all.with_sibling, leak.test.all.with_sibling), (0, 0));
    // Validation and test share no group either.
    let places: HashMap<&Location, usize> =
        catalog.samples.iter().enumerate().map(|(i, s)| (&s.location, i)).collect();
    let mut splits: HashMap<u32, HashSet<Split>> = HashMap::new();
    for sample in &dataset.samples {
        splits.entry(of.group(places[&sample.location])).or_default().insert(sample.split);
    }
    assert!(splits.values().all(|splits| splits.len() == 1));
    let [train, validation, test] = Split::ALL.map(|split| dataset.counts(split));
    assert!(train.iter().all(|n| *n > 0), "every class keeps a training image");
    let preview = counts_preview(catalog, options).unwrap();
    assert_eq!((preview.train, preview.validation, preview.test), (train, validation, test));
    assert_eq!(dataset.provenance.source_hash, source_hash(catalog));
    dataset
}

#[test]
fn whole_series_are_held_out_of_any_set() {
    for seed in 0..12 {
        let mut random = stream(seed, "sets", &[]);
        let classes: Vec<usize> =
            (0..2 + random.next_u32() % 6).map(|_| 1 + random.next_u32() as usize % 30).collect();
        let catalog = tracks(&classes, 12, seed);
        for (validation, test) in [(None, None), (Some(0.3), Some(0.0)), (Some(0.01), Some(0.6))] {
            let options = BuildOptions {
                seed,
                validation,
                test,
                group_by: Some(GroupBy::Name { pattern: None }),
                ..BuildOptions::default()
            };
            check(&catalog, &options);
            check(
                &catalog,
                &BuildOptions {
                    profile: Profile::Exponential { factor: 10.0 },
                    pick: crate::dataset::Pick::Random,
                    ..options
                },
            );
        }
    }
}

#[test]
fn the_numbers_come_near_to_what_was_asked_for_and_rare_classes_get_a_share() {
    let catalog = tracks(&[60, 30, 10, 4, 3, 2, 1], 8, 3);
    let options = BuildOptions {
        validation: Some(0.2),
        test: Some(0.0),
        group_by: Some(GroupBy::Name { pattern: None }),
        ..BuildOptions::default()
    };
    let dataset = check(&catalog, &options);
    let all = catalog.counts(None);
    let held = dataset.counts(Split::Validation);
    for (class, (all, held)) in all.iter().zip(&held).enumerate().take(3) {
        let asked = 0.2 * *all as f64;
        assert!((*held as f64 - asked).abs() <= 4.0, "class {class}: {held} of {asked}");
    }
    assert!(held[3] > 0 && held[4] > 0, "three series are enough: {held:?}");
    assert_eq!(held[6], 0, "the only series stays in training");
    let note = &dataset.provenance.notes[0];
    assert!(note.contains("the same name up to the last number are kept in one split"), "{note}");
    assert!(
        dataset.provenance.notes.iter().any(|note| note.contains("too few or too large series"))
    );
    // Another seed takes others.
    let other = check(&catalog, &BuildOptions { seed: 1, ..options });
    assert_ne!(other.samples, dataset.samples);
}

#[test]
fn a_series_of_several_classes_goes_as_one() {
    // Every burst has an image of each of two classes, and a rare class is in two bursts.
    let paths: Vec<(String, usize, i64)> = (0..60)
        .flat_map(|burst| {
            let time = 1000 * burst;
            let rare = (burst % 20 == 0).then(|| (format!("rare/{burst}.jpg"), 2, time));
            [(format!("deer/{burst}.jpg"), 0, time), (format!("fox/{burst}.jpg"), 1, time)]
                .into_iter()
                .chain(rare)
        })
        .collect();
    let images: Vec<Image<'_>> =
        paths.iter().map(|(path, class, time)| Image(path, *class, 0, Some((*time, 7)))).collect();
    let catalog = catalog(&["deer", "fox", "rare"], &images);
    let options =
        BuildOptions { group_by: Some(GroupBy::Time { seconds: 60 }), ..BuildOptions::default() };
    let dataset = check(&catalog, &options);
    let [validation, test] = [Split::Validation, Split::Test].map(|split| dataset.counts(split));
    assert!(validation[2] == 1 && test[2] == 1, "{validation:?} {test:?}");
    assert!(validation[0] == validation[1] && test[0] == test[1], "{validation:?} {test:?}");
}

#[test]
fn splits_of_the_source_stay_and_their_leak_is_told() {
    let images = [
        Image("train/a/1_1.png", 0, 0, None),
        Image("train/a/1_2.png", 0, 0, None),
        Image("train/a/2_1.png", 0, 0, None),
        Image("test/a/1_3.png", 0, 0, None),
        Image("test/a/3_1.png", 0, 0, None),
        Image("train/b/1_1.png", 1, 0, None),
        Image("test/b/2_1.png", 1, 0, None),
    ];
    let catalog = catalog(&["a", "b"], &images);
    let by = GroupBy::Name { pattern: None };
    let of = grouping(&catalog, "name").unwrap();
    let found = grouped(&catalog, &BuildOptions::default(), &by, &of).unwrap();
    assert_eq!(found.assumed_validation, Some(0.1));
    for leak in [found.before, found.after] {
        assert_eq!(leak.test.all, LeakCount { images: 3, with_sibling: 1 });
        assert_eq!(leak.test.few, leak.test.all);
        assert_eq!(leak.test.many, LeakCount::default());
    }
    let options = BuildOptions { group_by: Some(by), ..BuildOptions::default() };
    let notes = build(&catalog, &options).unwrap().notes;
    let told = notes[0].contains("1 of them in more than one split of the source");
    assert!(told && !notes[0].contains("are kept in one split"), "{}", notes[0]);
}

#[test]
fn names_of_two_numbers_are_asked_about_where_nothing_else_tells() {
    // Of each class six photos, of which eight coins were cut out; no two coins look alike.
    let coins = |named: &dyn Fn(&str, u64, u64) -> String| {
        let mut paths = Vec::new();
        for class in ["cent", "dime"] {
            for photo in 0..6 {
                paths.extend((0..8).map(|coin| (named(class, photo, coin), class == "dime")));
            }
        }
        let images: Vec<Image<'_>> = paths
            .iter()
            .enumerate()
            .map(|(i, (path, class))| {
                let look = stream(7, "coins", &[i as u64]).random();
                Image(path, usize::from(*class), look, None)
            })
            .collect();
        notice_series(&catalog(&["cent", "dime"], &images))
    };
    let series = coins(&|class, photo, coin| format!("{class}/train_{photo}_{coin}.jpg")).unwrap();
    assert_eq!((series.sign, series.alike), (Sign::Names, 96));
    let said = series.sentences();
    assert!(
        said.contains("may come in series")
            && said.contains("if they belong together")
            && said.contains("--group-by name"),
        "{said}"
    );
    // A name and a number, and a number of its own for each.
    assert_eq!(coins(&|class, photo, coin| format!("{class}/coin{}.jpg", 8 * photo + coin)), None);
    assert_eq!(coins(&|class, photo, coin| format!("{class}/2024_{}.jpg", 8 * photo + coin)), None);
    let alone = |class: &str, photo, coin| format!("{class}/{}_1.jpg", 8 * photo + coin);
    assert_eq!(coins(&alone), None);
}

#[test]
fn series_are_noticed_by_pixels_and_the_way_that_explains_them_is_offered() {
    let tracked = tracks(&[40, 20, 6], 10, 5);
    let series = notice_series(&tracked).unwrap();
    assert!(series.share() > 0.6, "{}", series.share());
    assert_eq!(series.by, Some(GroupBy::Name { pattern: None }));
    let offer = series.offer.as_ref().unwrap();
    assert!(offer.before.validation.all.share().unwrap() > 0.8, "{offer:?}");
    assert_eq!(offer.after.validation.all.with_sibling, 0);
    assert!(series.sentences().contains("--group-by name"), "{}", series.sentences());
    assert_eq!(notice_series(&tracked), Some(series), "the same every time");

    // The same pictures under names that only count.
    let counted = |order: &dyn Fn(usize) -> usize| {
        let mut catalog = tracked.clone();
        for (i, sample) in catalog.samples.iter_mut().enumerate() {
            let class = catalog.classes[sample.class].clone();
            sample.location = Location::File(format!("{class}/{}.png", order(i)).into());
        }
        catalog
    };
    let counted_in_order = notice_series(&counted(&|i| i)).unwrap();
    assert!(
        matches!(counted_in_order.by, Some(GroupBy::LookAlikes { .. })),
        "{counted_in_order:?}"
    );
    // Names that say nothing about the pictures, whatever they look like.
    let shuffled = counted(&|i| {
        *blake3::hash(&i.to_le_bytes())
            .as_bytes()
            .first_chunk::<4>()
            .map(|b| u32::from_le_bytes(*b))
            .as_ref()
            .unwrap() as usize
    });
    assert_eq!(notice_series(&shuffled), None);
}

#[test]
fn photos_of_a_few_minutes_are_noticed_by_the_time_they_were_taken() {
    let mut random = crate::random::stream(3, "bursts", &[]);
    let mut looks = || rand::Rng::next_u64(&mut random);
    // Of each class 30 photos, `burst` of them a second after each other, and an hour to the next.
    let mut taken = |burst: usize, camera: &dyn Fn(usize) -> u32| {
        let paths: Vec<String> =
            (0..60).map(|at| format!("c{}/{}.jpg", at / 30, 37 * at % 60)).collect();
        let image = |at: usize| {
            let seconds = 3600 * (at / burst) as i64 + (at % burst) as i64;
            Image(&paths[at], at / 30, looks(), Some((seconds, camera(at))))
        };
        let images: Vec<Image<'_>> = (0..60).map(image).collect();
        notice_series(&catalog(&["c0", "c1"], &images))
    };
    let series = taken(5, &|_| 7).unwrap();
    assert_eq!((series.sign, series.share()), (Sign::Times { seconds: 60 }, 1.0));
    assert_eq!(series.by, Some(GroupBy::Time { seconds: 60 }));
    let said = series.sentences();
    assert!(said.contains("100 % of them were taken by one camera within 60 seconds"), "{said}");
    assert!(said.contains("--group-by time"), "{said}");
    // A class that is one series cannot be divided, and that is said.
    let single = taken(30, &|_| 7).unwrap();
    assert_eq!((single.sign, single.by.clone()), (Sign::Times { seconds: 60 }, None));
    assert!(
        single.sentences().contains("only photos of another occasion"),
        "{}",
        single.sentences()
    );
    // Photos that lie apart, or that many cameras took.
    assert_eq!(taken(1, &|_| 7), None);
    // One walk past ever other things: what follows within a minute is of another class.
    let paths: Vec<String> = (0..60).map(|at| format!("c{}/{at}.jpg", at % 10)).collect();
    let walk: Vec<Image<'_>> = (0..60)
        .map(|at| Image(&paths[at], at % 10, at as u64 * 77, Some((40 * at as i64, 7))))
        .collect();
    let names: Vec<String> = (0..10).map(|class| format!("c{class}")).collect();
    let names: Vec<&str> = names.iter().map(String::as_str).collect();
    assert_eq!(notice_series(&catalog(&names, &walk)), None);
    assert_eq!(taken(5, &|at| at as u32), None);
}

#[test]
fn unrelated_photos_do_not_look_like_series_whatever_their_names() {
    for seed in 0..30 {
        let mut random = stream(seed, "photos", &[]);
        // A few are nearly the same by chance, all share a good deal of their background.
        let paths: Vec<(String, usize, u64)> = (0..200)
            .map(|i| {
                let look = random.next_u64() & !0xffff | u64::from(random.next_u32() % 3);
                (format!("c{}/track{}_{i:03}.jpg", i % 3, i / 30), i % 3, look)
            })
            .collect();
        let images: Vec<Image<'_>> =
            paths.iter().map(|(path, class, look)| Image(path, *class, *look, None)).collect();
        let found = notice_series(&catalog(&["c0", "c1", "c2"], &images)).unwrap();
        assert_eq!(found.sign, Sign::Names, "{seed}");
        // Names that count photos of each class say nothing.
        let counted: Vec<String> = paths.iter().map(|(path, ..)| path.replace('_', "")).collect();
        let images: Vec<Image<'_>> = paths
            .iter()
            .zip(&counted)
            .map(|((_, class, look), path)| Image(path, *class, *look, None))
            .collect();
        assert_eq!(notice_series(&catalog(&["c0", "c1", "c2"], &images)), None, "{seed}");
    }
    // All the same, or too few to say anything.
    let same: Vec<String> = (0..100).map(|i| format!("c/{i}.jpg")).collect();
    let images: Vec<Image<'_>> = same.iter().map(|path| Image(path, 0, 5, None)).collect();
    assert_eq!(notice_series(&catalog(&["c"], &images)), None);
    assert_eq!(notice_series(&catalog(&["c"], &images[..3])), None);
    assert_eq!(notice_series(&catalog(&["c"], &[])), None);
}

#[test]
fn a_dataset_file_of_before_opens_and_a_grouped_one_keeps_its_way() {
    let folder = tempfile::tempdir().unwrap();
    let catalog = tracks(&[6, 6], 5, 1);
    let options = BuildOptions {
        group_by: Some(GroupBy::Name { pattern: Some("(c)".into()) }),
        ..BuildOptions::default()
    };
    let path = folder.path().join("set.toml");
    let plain = build(&catalog, &BuildOptions::default()).unwrap().dataset;
    plain.save(&path).unwrap();
    let text = std::fs::read_to_string(&path).unwrap();
    assert!(!text.contains("group_by"), "{text}");
    assert_eq!(Dataset::load(&path).unwrap().provenance.options.group_by, None);
    let error = build(&catalog, &options).map(|built| {
        built.dataset.save(&path).unwrap();
        Dataset::load(&path).unwrap().provenance.options
    });
    assert_eq!(error.unwrap(), options);
    let broken = std::fs::read_to_string(&path).unwrap().replace("(c)", "(c");
    std::fs::write(&path, broken).unwrap();
    assert!(Dataset::load(&path).unwrap_err().to_string().contains("no regular expression"));
}
