//! What holds of every profile, every split and every renaming, whatever the numbers.

use std::collections::{BTreeMap, HashSet};

use proptest::prelude::*;

use super::super::rename::renamed_classes;
use super::super::{Names, safe_name};
use super::tests::{check_invariants, named};
use super::*;
use crate::dataset::{ClassOrder, Pick, Profile};

fn profiles() -> impl Strategy<Value = Profile> {
    let factor = prop_oneof![Just(1.0), 1.0..500.0, Just(1e300)];
    let alpha = prop_oneof![1e-6..20.0, Just(1e6)];
    prop_oneof![
        Just(Profile::AsIs),
        factor.clone().prop_map(|factor| Profile::Exponential { factor }),
        factor.clone().prop_map(|factor| Profile::Step { factor }),
        (factor, alpha).prop_map(|(factor, alpha)| Profile::Pareto { factor, alpha }),
    ]
}

fn fractions() -> impl Strategy<Value = Option<f64>> {
    prop_oneof![Just(None), Just(Some(0.0)), (0.0..0.49).prop_map(Some)]
}

fn options() -> impl Strategy<Value = BuildOptions> {
    let order =
        prop_oneof![Just(ClassOrder::Name), Just(ClassOrder::Size), Just(ClassOrder::Shuffle)];
    let pick = prop_oneof![Just(Pick::First), Just(Pick::Random)];
    (profiles(), fractions(), fractions(), 0..i64::MAX as u64, order, pick).prop_map(
        |(profile, validation, test, seed, order, pick)| BuildOptions {
            profile,
            validation,
            test,
            seed,
            order,
            pick,
            ..BuildOptions::default()
        },
    )
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 200, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn profiles_fall_from_head_to_tail(profile in profiles(), classes in 1_usize..300, largest in 1_usize..100_000) {
        prop_assume!(profile != Profile::AsIs);
        let sizes: Vec<usize> =
            (0..classes).map(|rank| profile.size(rank, classes, largest).unwrap()).collect();
        prop_assert!(sizes.iter().all(|size| (1..=largest).contains(size)), "{sizes:?}");
        prop_assert!(sizes.is_sorted_by(|before, after| before >= after), "{sizes:?}");
        prop_assert_eq!(sizes[0], largest);
    }

    #[test]
    fn splits_part_the_samples_and_leave_every_class_one_to_train_on(
        counts in prop::collection::vec(1_usize..60, 2..12),
        own_test in prop_oneof![Just(None), (0_usize..8).prop_map(Some)],
        options in options(),
    ) {
        // Also: the same twice, labels stay, the preview says the same numbers.
        check_invariants(&named(&counts, own_test), &options);
    }

    #[test]
    fn renaming_merges_what_gets_one_name(
        choices in prop::collection::vec((0_usize..6, any::<bool>()), 2..10),
    ) {
        let classes: Vec<String> = (0..choices.len()).map(|class| format!("class {class}")).collect();
        let rename: BTreeMap<String, String> = classes
            .iter()
            .zip(&choices)
            .filter(|(_, (_, renamed))| *renamed)
            .map(|(class, (to, _))| (class.clone(), format!("new {to}")))
            .collect();
        let expected: HashSet<&String> =
            classes.iter().map(|class| rename.get(class).unwrap_or(class)).collect();
        match renamed_classes(&classes, &rename) {
            Ok(names) => {
                prop_assert_eq!(names.len(), expected.len());
                prop_assert!(names.iter().all(|name| expected.contains(name)));
            }
            Err(_) => prop_assert!(expected.len() < 2),
        }
    }

    #[test]
    fn names_are_files_of_their_own_everywhere(texts in prop::collection::vec(any::<String>(), 1..20)) {
        let mut taken = Names::default();
        let mut lower = HashSet::new();
        for text in &texts {
            let name = taken.unique(".png", &safe_name(text, ".png"));
            prop_assert!(name.len() <= 255 && !name.starts_with('.'), "{name:?}");
            let bad = |c: char| c.is_control() || r#"/\:*?"<>|"#.contains(c);
            prop_assert!(!name.contains(bad), "{name:?}");
            prop_assert!(lower.insert(name.to_lowercase()), "{name:?}");
        }
    }
}
