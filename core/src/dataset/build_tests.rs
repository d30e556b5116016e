use std::collections::{BTreeMap, HashSet};

use super::*;
use crate::images::ImageFacts;
use crate::source::{Location, Sample, Skipped, SourceKind};

/// How many samples a class has in each split.
type Parts<'a> = &'a [(Option<Split>, usize)];

/// A catalog of image files with so many samples a class and split; content is different
/// everywhere.
fn catalog(classes: &[(&str, Parts)]) -> Catalog {
    let mut samples = Vec::new();
    for (class, (name, parts)) in classes.iter().enumerate() {
        for (split, count) in *parts {
            let folder = split.map_or("all", Split::name);
            samples.extend((0..*count).map(|i| Sample {
                location: Location::File(format!("{folder}/{name}/{i:05}.png").into()),
                class,
                split: *split,
                group: None,
            }));
        }
    }
    let fact = |i: usize| ImageFacts {
        width: 8,
        height: 8,
        mode: "RGB",
        hash: *blake3::hash(&i.to_le_bytes()).as_bytes(),
        ..ImageFacts::default()
    };
    Catalog {
        root: "images".into(),
        source: "images".into(),
        kind: SourceKind::Folder,
        classes: classes.iter().map(|(name, _)| (*name).to_string()).collect(),
        facts: (0..samples.len()).map(fact).collect(),
        samples,
        problems: Vec::new(),
        skipped: Skipped::default(),
        twins: Vec::new(),
        reading: Default::default(),
    }
}

pub(super) fn named(counts: &[usize], test: Option<usize>) -> Catalog {
    let names: Vec<String> = (0..counts.len()).map(|i| format!("class {i:03}")).collect();
    let parts: Vec<Vec<(Option<Split>, usize)>> = counts
        .iter()
        .map(|n| match test {
            Some(test) => vec![(Some(Split::Train), *n), (Some(Split::Test), test)],
            None => vec![(None, *n)],
        })
        .collect();
    catalog(
        &names.iter().map(String::as_str).zip(parts.iter().map(Vec::as_slice)).collect::<Vec<_>>(),
    )
}

fn exponential(factor: f64) -> BuildOptions {
    BuildOptions { profile: Profile::Exponential { factor }, ..BuildOptions::default() }
}

pub(super) fn check_invariants(catalog: &Catalog, options: &BuildOptions) -> BuiltDataset {
    let built = build(catalog, options).unwrap();
    let dataset = &built.dataset;
    assert!(dataset.counts(Split::Train).iter().all(|n| *n >= 1), "{options:?}");
    let distinct: HashSet<&Location> =
        dataset.samples.iter().map(|sample| &sample.location).collect();
    assert_eq!(distinct.len(), dataset.samples.len(), "a sample is in two places: {options:?}");
    let labels: BTreeMap<&Location, &String> =
        catalog.samples.iter().map(|s| (&s.location, &catalog.classes[s.class])).collect();
    assert!(
        dataset.samples.iter().all(|s| labels[&s.location] == &dataset.classes[s.class]),
        "a label changed: {options:?}"
    );
    let order: Vec<(Split, usize)> = dataset.samples.iter().map(|s| (s.split, s.class)).collect();
    assert!(order.is_sorted());
    assert_eq!(built, build(catalog, options).unwrap());
    let preview = counts_preview(catalog, options).unwrap();
    assert_eq!(preview.classes, dataset.classes);
    assert_eq!(preview.train, dataset.counts(Split::Train), "{options:?}");
    assert_eq!(preview.validation, dataset.counts(Split::Validation), "{options:?}");
    assert_eq!(preview.test, dataset.counts(Split::Test), "{options:?}");
    assert_eq!(preview.notes, built.notes);
    built
}

#[test]
fn cifar_100_lt_has_the_published_numbers() {
    // The source is itself long-tailed at factor 10: what the other two ask for lies within it.
    let tail: Vec<usize> = (0..100)
        .map(|rank| Profile::Exponential { factor: 10.0 }.size(rank, 100, 500).unwrap())
        .collect();
    for source in [named(&[500; 100], Some(100)), named(&tail, Some(100))] {
        for (factor, images, groups) in [
            (100.0, 10_847, (35, 35, 30)),
            (50.0, 12_608, (41, 41, 18)),
            (10.0, 19_573, (69, 31, 0)),
        ] {
            let built = check_invariants(&source, &exponential(factor));
            let counts = built.dataset.counts(Split::Train);
            assert_eq!(counts.iter().sum::<usize>(), images);
            let sizes = built.dataset.group_sizes().sizes;
            assert_eq!((sizes.many, sizes.medium, sizes.few), groups);
            assert_eq!(built.dataset.imbalance_factor(), Some(factor));
            assert_eq!(built.dataset.split(Split::Validation).len(), 0);
            assert_eq!(built.dataset.counts(Split::Test), [100; 100]);
            assert_eq!(built.notes, Vec::<String>::new());
        }
    }
}

#[test]
fn validation_of_a_source_with_splits_comes_out_of_the_chosen_images() {
    let source = named(&[500; 100], Some(100));
    let built =
        check_invariants(&source, &BuildOptions { validation: Some(0.1), ..exponential(100.0) });
    let train = built.dataset.counts(Split::Train);
    let validation = built.dataset.counts(Split::Validation);
    assert_eq!(train.iter().chain(&validation).sum::<usize>(), 10_847);
    assert_eq!((train[0], validation[0]), (450, 50));
    assert_eq!((train[99], validation[99]), (4, 1));
    let first: HashSet<Location> = build(&source, &exponential(100.0))
        .unwrap()
        .dataset
        .samples
        .into_iter()
        .map(|s| s.location)
        .collect();
    assert!(built.dataset.samples.iter().all(|sample| first.contains(&sample.location)));
}

#[test]
fn a_balanced_source_without_splits_gives_a_long_tail_and_balanced_held_out_parts() {
    let source = named(&[178, 182, 177, 183, 181, 182, 181, 179, 174, 180], None);
    let built = check_invariants(&source, &exponential(20.0));
    assert_eq!(built.dataset.counts(Split::Test), [35; 10]);
    assert!(built.dataset.counts(Split::Validation).iter().all(|n| (17..=18).contains(n)));
    let train = built.dataset.counts(Split::Train);
    // 183 − 35 − 18 is the largest class.
    assert_eq!((train[0], train[9]), (125, 6), "{train:?}");
    assert_eq!(built.notes.len(), 1, "{:?}", built.notes);
    assert!(built.notes[0].contains("class 000 (125 of 130)"), "{:?}", built.notes);
}

#[test]
fn a_long_tail_as_it_is_holds_out_what_each_class_can_give_and_says_so() {
    let source = named(&[1000, 100, 10, 3, 2, 1], None);
    let built = check_invariants(&source, &BuildOptions::default());
    assert_eq!(built.dataset.counts(Split::Test), [37, 33, 3, 1, 1, 0]);
    assert_eq!(built.dataset.counts(Split::Validation), [100, 10, 1, 1, 0, 0]);
    assert_eq!(built.dataset.counts(Split::Train), [863, 57, 6, 1, 1, 1]);
    let notes = built.notes.join("\n");
    assert!(
        notes.contains("class 005 (0)")
            && notes.contains("too small to give a validation image: class 004, class 005"),
        "{notes}"
    );

    let whole = check_invariants(
        &source,
        &BuildOptions { test: Some(0.0), validation: Some(0.0), ..BuildOptions::default() },
    );
    assert_eq!(whole.dataset.counts(Split::Train), [1000, 100, 10, 3, 2, 1]);
    assert_eq!(whole.dataset.samples.len(), 1116);
}

#[test]
fn the_sources_own_splits_are_kept_or_left_out() {
    let parts: Parts = &[
        (Some(Split::Train), 20),
        (Some(Split::Validation), 4),
        (Some(Split::Test), 5),
        (None, 2),
    ];
    let source = catalog(&[("cat", parts), ("dog", parts)]);
    let built = check_invariants(
        &source,
        &BuildOptions { validation: Some(0.5), ..BuildOptions::default() },
    );
    assert_eq!(built.dataset.counts(Split::Train), [22, 22]);
    assert_eq!(built.dataset.counts(Split::Validation), [4, 4]);
    assert_eq!(built.dataset.counts(Split::Test), [5, 5]);
    assert!(
        built.notes[0].contains("own validation split of 8 images is used"),
        "{:?}",
        built.notes
    );
    let built = check_invariants(
        &source,
        &BuildOptions { validation: Some(0.0), test: Some(0.0), ..BuildOptions::default() },
    );
    assert_eq!(built.dataset.samples.len(), 44);

    let source = catalog(&[
        ("cat", &[(Some(Split::Train), 30), (Some(Split::Validation), 4)]),
        ("dog", &[(Some(Split::Train), 50)]),
    ]);
    assert_eq!(
        check_invariants(&source, &BuildOptions::default()).dataset.counts(Split::Test),
        [0, 0]
    );
    let built =
        check_invariants(&source, &BuildOptions { test: Some(0.1), ..BuildOptions::default() });
    assert_eq!(built.dataset.counts(Split::Test), [4, 4]);
}

#[test]
fn a_source_of_training_images_alone_has_some_of_them_held_out() {
    let source =
        catalog(&[("cat", &[(Some(Split::Train), 30)]), ("dog", &[(Some(Split::Train), 50)])]);
    let noted = |options: &BuildOptions| {
        check_invariants(&source, options)
            .notes
            .iter()
            .any(|note| note.contains("nothing to validate or test"))
    };
    // As one without splits: a download may bring its folder `train` alone.
    let built = check_invariants(&source, &BuildOptions::default());
    assert_eq!(built.dataset.counts(Split::Validation), [3, 5]);
    assert_eq!(built.dataset.counts(Split::Test), [8, 8]);
    let none = BuildOptions { validation: Some(0.0), test: Some(0.0), ..BuildOptions::default() };
    assert_eq!(check_invariants(&source, &none).dataset.counts(Split::Train), [30, 50]);
    assert!(!noted(&BuildOptions { test: Some(0.1), ..none }));
    assert!(!noted(&BuildOptions { validation: Some(0.1), ..BuildOptions::default() }));
    let parts: Parts = &[(Some(Split::Train), 20), (Some(Split::Test), 5)];
    let own = catalog(&[("cat", parts), ("dog", parts)]);
    assert_eq!(check_invariants(&own, &BuildOptions::default()).notes, Vec::<String>::new());
    let left_out =
        check_invariants(&own, &BuildOptions { test: Some(0.0), ..BuildOptions::default() });
    assert!(left_out.notes[1].contains("nothing to validate or test"), "{:?}", left_out.notes);
}

#[test]
fn the_profile_runs_over_the_classes_in_the_order_asked_for() {
    let source = named(&[10, 400, 50, 200], Some(5));
    let by_size =
        check_invariants(&source, &BuildOptions { order: ClassOrder::Size, ..exponential(8.0) });
    assert_eq!(by_size.dataset.counts(Split::Train), [10, 400, 50, 200]);
    assert_eq!(by_size.notes.len(), 1, "{:?}", by_size.notes);
    let same = named(&[100; 30], Some(5));
    let shuffled = |seed| {
        let options = BuildOptions { order: ClassOrder::Shuffle, seed, ..exponential(10.0) };
        check_invariants(&same, &options).dataset.counts(Split::Train)
    };
    let mut sorted = shuffled(1);
    assert_ne!(sorted, shuffled(2));
    sorted.sort_unstable_by_key(|n| Reverse(*n));
    assert_eq!(sorted, build(&same, &exponential(10.0)).unwrap().dataset.counts(Split::Train));
}

#[test]
fn picks_are_the_first_or_random_and_nested() {
    let source = named(&[100; 10], Some(5));
    let picked = |factor, pick, seed| -> HashSet<Location> {
        let built = check_invariants(&source, &BuildOptions { pick, seed, ..exponential(factor) });
        built
            .dataset
            .split(Split::Train)
            .into_iter()
            .map(|sample| sample.location.clone())
            .collect()
    };
    let first = picked(10.0, Pick::First, 3);
    assert!(first.contains(&Location::File("train/class 009/00009.png".into())));
    assert!(!first.contains(&Location::File("train/class 009/00010.png".into())));
    assert_eq!(first, picked(10.0, Pick::First, 4));
    let random = picked(10.0, Pick::Random, 3);
    assert_ne!(random, picked(10.0, Pick::Random, 4));
    assert_ne!(random, first);
    assert!(picked(50.0, Pick::Random, 3).is_subset(&random));
}

#[test]
fn classes_are_chosen_by_number_or_name() {
    let source = named(&[50, 40, 30, 20], Some(5));
    let two = check_invariants(
        &source,
        &BuildOptions { classes: Some(ClassChoice::First(2)), ..BuildOptions::default() },
    );
    assert_eq!(two.dataset.classes, ["class 000", "class 001"]);
    let choice = |names: &[&str]| BuildOptions {
        classes: Some(ClassChoice::Named(names.iter().map(|name| (*name).to_string()).collect())),
        ..BuildOptions::default()
    };
    let named = check_invariants(&source, &choice(&["class 003", "class 001", "class 003"]));
    assert_eq!(named.dataset.classes, ["class 001", "class 003"]);
    assert_eq!(named.dataset.counts(Split::Train), [40, 20]);
    let error = build(&source, &choice(&["class 001", "Class 0O3"])).unwrap_err().to_string();
    assert!(error.contains("`Class 0O3`; did you mean `class 003`?"), "{error}");
    assert!(build(&source, &choice(&["class 001"])).is_err());
    assert!(
        build(
            &source,
            &BuildOptions { classes: Some(ClassChoice::First(5)), ..BuildOptions::default() }
        )
        .is_err()
    );
}

#[test]
fn custom_counts_and_the_largest_class_size_cap_what_is_kept() {
    let source = named(&[50, 40, 30], Some(5));
    let counts = BTreeMap::from([("class 000".to_string(), 7), ("class 001".to_string(), 45)]);
    let options = BuildOptions {
        profile: Profile::Custom { counts },
        max_per_class: Some(25),
        ..BuildOptions::default()
    };
    assert_eq!(check_invariants(&source, &options).dataset.counts(Split::Train), [7, 25, 25]);
    let options = BuildOptions { max_per_class: Some(35), ..BuildOptions::default() };
    assert_eq!(check_invariants(&source, &options).dataset.counts(Split::Train), [35, 35, 30]);
    let options = BuildOptions { max_per_class: Some(100), ..exponential(10.0) };
    let built = check_invariants(&source, &options);
    assert_eq!(built.dataset.counts(Split::Train), [50, 31, 10]);
    assert!(built.notes[0].contains("class 000 (50 of 100)"), "{:?}", built.notes);
    let counts = BTreeMap::from([("newt".to_string(), 7)]);
    let options = BuildOptions { profile: Profile::Custom { counts }, ..BuildOptions::default() };
    assert!(build(&source, &options).unwrap_err().to_string().contains("newt"));
}

#[test]
fn every_mixture_of_options_keeps_the_invariants() {
    let sources = [
        named(&[300, 120, 40, 9, 3, 2, 1], None),
        named(&[300, 120, 40, 9, 3, 2, 1], Some(4)),
        named(&[60; 12], None),
    ];
    let profiles = [
        Profile::AsIs,
        Profile::Exponential { factor: 500.0 },
        Profile::Step { factor: 7.0 },
        Profile::Pareto { factor: 30.0, alpha: 6.0 },
    ];
    for source in &sources {
        for profile in &profiles {
            for order in [ClassOrder::Name, ClassOrder::Size, ClassOrder::Shuffle] {
                for pick in [Pick::First, Pick::Random] {
                    for (validation, test) in
                        [(None, None), (Some(0.0), Some(0.4)), (Some(0.6), Some(0.3))]
                    {
                        for max_per_class in [None, Some(1), Some(1000)] {
                            let profile = profile.clone();
                            check_invariants(
                                source,
                                &BuildOptions {
                                    seed: 9,
                                    max_per_class,
                                    order,
                                    pick,
                                    validation,
                                    test,
                                    profile,
                                    ..BuildOptions::default()
                                },
                            );
                        }
                    }
                }
            }
        }
    }
}

#[test]
fn a_class_without_a_training_image_is_named() {
    let source = catalog(&[
        ("cat", &[(Some(Split::Train), 5)]),
        ("dog", &[(Some(Split::Test), 5)]),
        ("newt", &[(Some(Split::Train), 5)]),
    ]);
    let error = build(&source, &BuildOptions::default()).unwrap_err().to_string();
    assert!(error.contains("dog") && !error.contains("cat"), "{error}");
}

#[test]
fn the_source_hash_depends_on_content_and_labels_and_not_on_order() {
    let source = named(&[5, 4], None);
    let hash = source_hash(&source);
    let mut reversed = source.clone();
    reversed.samples.reverse();
    reversed.facts.reverse();
    assert_eq!(hash, source_hash(&reversed));
    let mut changed = source.clone();
    changed.facts[3].hash[0] ^= 1;
    assert_ne!(hash, source_hash(&changed));
    let mut relabelled = source;
    relabelled.classes.reverse();
    assert_ne!(hash, source_hash(&relabelled));
}

#[test]
fn a_preview_of_a_large_source_is_quick_enough_for_a_slider() {
    let source = named(&[4000; 100], None);
    let seconds = (1..=10).map(|factor| {
        let started = std::time::Instant::now();
        counts_preview(&source, &exponential(f64::from(factor))).unwrap();
        started.elapsed().as_secs_f64()
    });
    // Milliseconds; a machine that does much else has a quiet moment at one of them.
    let least = seconds.fold(f64::INFINITY, f64::min);
    assert!(least < 0.1, "{least} s");
}

#[test]
fn classes_with_one_new_name_become_one_class() {
    let source = catalog(&[
        ("cat", &[(None, 30)]),
        ("dog", &[(None, 20)]),
        ("kitten", &[(None, 50)]),
        ("puppy", &[(None, 10)]),
    ]);
    let options = |pairs: &[(&str, &str)]| BuildOptions {
        rename: pairs.iter().map(|(old, new)| (old.to_string(), new.to_string())).collect(),
        validation: Some(0.0),
        test: Some(0.0),
        ..BuildOptions::default()
    };
    let preview = |options: &BuildOptions| {
        counts_preview(&source, options).map(|preview| (preview.classes, preview.train))
    };
    let merged = options(&[("kitten", "cat"), ("dog", "hound"), ("puppy", "hound")]);
    assert_eq!(
        preview(&merged).unwrap(),
        (vec!["cat".to_string(), "hound".to_string()], vec![80, 30])
    );
    let built = build(&source, &merged).unwrap().dataset;
    assert_eq!(
        (built.classes.as_slice(), built.counts(Split::Train)),
        (["cat".to_string(), "hound".to_string()].as_slice(), vec![80, 30])
    );
    let text: Vec<String> =
        built.samples.iter().filter(|s| s.class == 1).map(|s| s.location.to_text()).collect();
    assert!(text.iter().all(|text| text.contains("/dog/") || text.contains("/puppy/")), "{text:?}");
    assert_eq!(built.provenance.source_hash, source_hash(&source));

    // All at once: names can be swapped. A profile and a choice go by the new names.
    let mut swapped = options(&[("cat", "dog"), ("dog", "cat")]);
    swapped.profile = Profile::Custom { counts: [("cat".to_string(), 7)].into() };
    swapped.classes = Some(ClassChoice::Named(vec!["cat".into(), "dog".into()]));
    assert_eq!(
        preview(&swapped).unwrap(),
        (vec!["dog".to_string(), "cat".to_string()], vec![30, 7])
    );
    check_held_out(&source, &merged);

    let refused = |options: &BuildOptions| preview(options).unwrap_err().to_string();
    assert!(refused(&options(&[("bird", "cat")])).contains("`bird`"));
    assert!(
        refused(&options(&[("cat", "pet"), ("dog", "pet"), ("kitten", "pet"), ("puppy", "pet")]))
            .contains("only the class `pet`")
    );
    assert!(refused(&options(&[("cat", "")])).contains("empty"));
    let mut gone = merged.clone();
    gone.classes = Some(ClassChoice::Named(vec!["cat".into(), "puppy".into()]));
    assert!(refused(&gone).contains("puppy"));
}

/// A merged class is split as one of its size is.
fn check_held_out(source: &Catalog, merged: &BuildOptions) {
    let options = BuildOptions { validation: None, test: None, ..merged.clone() };
    let plain = named(&[80, 30], None);
    let (renamed, expected) = (
        counts_preview(source, &options).unwrap(),
        counts_preview(&plain, &BuildOptions::default()).unwrap(),
    );
    assert_eq!(
        (renamed.train, renamed.validation, renamed.test),
        (expected.train, expected.validation, expected.test)
    );
}
