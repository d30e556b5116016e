use super::super::{GroupThresholds, evaluate};
use super::*;

const NAMES: [&str; 6] = ["deer", "fox", "lynx", "wolf", "otter", "hare"];

/// The evaluation with this confusion matrix, of classes that have 100, 90, 80 … training images.
pub fn of_confusion(confusion: &[Vec<u32>]) -> Evaluation {
    let classes = confusion.len();
    let (mut logits, mut labels) = (Vec::new(), Vec::new());
    for (truth, row) in confusion.iter().enumerate() {
        for (predicted, count) in row.iter().enumerate() {
            for _ in 0..*count {
                logits.extend((0..classes).map(|class| f32::from(u8::from(class == predicted))));
                labels.push(truth as u32);
            }
        }
    }
    let names: Vec<String> = (0..classes)
        .map(|class| NAMES.get(class).map_or_else(|| format!("class {class}"), ToString::to_string))
        .collect();
    let counts: Vec<usize> = (0..classes).map(|class| 100 - 10 * class.min(9)).collect();
    evaluate(&logits, &labels, &names, &counts, GroupThresholds::default()).unwrap()
}

/// `right` images of each class are taken for it, and `wrong` for the one after it.
fn mostly_right(classes: usize, right: u32, wrong: u32) -> Vec<Vec<u32>> {
    let row = |class: usize| {
        let count = |other: usize| match other {
            other if other == class => right,
            other if other == (class + 1) % classes => wrong,
            _ => 0,
        };
        (0..classes).map(count).collect()
    };
    (0..classes).map(row).collect()
}

/// All images are taken for the first class.
fn always_the_first(samples: &[u32]) -> Vec<Vec<u32>> {
    let row = |count: u32| {
        std::iter::once(count).chain(std::iter::repeat_n(0, samples.len() - 1)).collect()
    };
    samples.iter().copied().map(row).collect()
}

fn epoch(number: usize, train_loss: f64, train_accuracy: f64) -> EpochRecord {
    EpochRecord {
        stage: 1,
        epoch: number,
        train_loss,
        train_accuracy,
        ..crate::run::tests::record(1, number)
    }
}

/// What older versions stored of images held out in turn.
fn held(balanced_accuracy: f64, error: f64) -> HeldInTurn {
    HeldInTurn { balanced_accuracy, error, right: Vec::new() }
}

fn judge(confusion: &[Vec<u32>], history: &[EpochRecord]) -> Verdict {
    judge_on(Split::Validation, confusion, history)
}

fn judge_on(split: Split, confusion: &[Vec<u32>], history: &[EpochRecord]) -> Verdict {
    verdict(&Evidence { history, ..Evidence::of(&of_confusion(confusion), split) })
}

fn kinds(verdict: &Verdict) -> Vec<FindingKind> {
    verdict.findings.iter().map(|finding| finding.kind).collect()
}

#[test]
fn a_good_result_is_usable_and_names_its_weakest_class() {
    let mut confusion = mostly_right(6, 45, 5);
    confusion[2] = vec![0, 0, 30, 20, 0, 0];
    let good = judge(&confusion, &[epoch(1, 1.7, 0.3), epoch(2, 0.4, 0.95)]);
    // (5 · 0.9 + 0.6) / 6
    let sentence = "Usable: 85.0 % balanced accuracy (81 to 89 %) where guessing gives 16.7 %; the weakest class, “lynx”, 60 %.";
    assert_eq!(
        (good.grade, good.sentence.as_str(), good.findings.len()),
        (Grade::Usable, sentence, 0)
    );
    assert_eq!(good.advice, "More images of “lynx” would help most.");
    assert_eq!(
        good.against_guessing(),
        "85.0 % balanced accuracy on the validation images, guessing gives 16.7 %"
    );
    assert_eq!(good, judge(&confusion, &[epoch(1, 1.7, 0.3), epoch(2, 0.4, 0.95)]));
    let json = serde_json::to_value(&good).unwrap();
    assert_eq!(json["grade"], "usable");
    assert_eq!(serde_json::from_value::<Verdict>(json).unwrap(), good);
}

#[test]
fn always_saying_one_class_is_worthless_in_every_way() {
    let found = judge(&always_the_first(&[20; 6]), &[epoch(1, 1.7, 0.3), epoch(2, 0.4, 0.6)]);
    assert_eq!(
        (found.grade, found.sentence.as_str()),
        (Grade::Worthless, "No better than guessing: 16.7 % where guessing gives 16.7 %.")
    );
    assert_eq!(
        kinds(&found),
        [
            FindingKind::NoBetterThanGuessing,
            FindingKind::NearlyOneClass,
            FindingKind::NeverPredicted
        ]
    );
    assert_eq!(
        found.findings[1].sentence,
        "Calls nearly everything “deer”: 100.0 % of the images, where 16.7 % are."
    );
    assert_eq!(found.findings[2].sentence, "Never says “fox”, “lynx”, “wolf” and 2 other classes.");
    assert!(found.advice.contains("pretrained network"), "{}", found.advice);
    assert_eq!(found.others().count(), 2);
}

#[test]
fn a_network_that_somebody_else_trained_is_not_to_be_trained_for_longer() {
    let found = judge(&always_the_first(&[20; 6]), &[]);
    assert!(
        found.advice.contains("the classes it was trained on") && !found.advice.contains("epochs"),
        "{}",
        found.advice
    );
}

#[test]
fn a_high_top_1_on_an_uneven_split_is_no_merit() {
    let found = judge_on(Split::Test, &always_the_first(&[90, 10, 10]), &[]);
    // 90 of 110, the share of deer.
    let largest = "Right on 81.8 % of the images, where always saying “deer” is right on 81.8 %.";
    assert_eq!((found.grade, found.findings[1].sentence.as_str()), (Grade::Worthless, largest));
    assert_eq!(found.findings[1].kind, FindingKind::NoBetterThanLargestClass);

    // Two rare classes told apart, at the price of some of the large one: less often right, and
    // worth more.
    let balanced = judge_on(Split::Test, &[vec![63, 14, 13], vec![1, 9, 0], vec![1, 0, 9]], &[]);
    assert!(
        balanced.balanced_accuracy > 0.8
            && !kinds(&balanced).contains(&FindingKind::NoBetterThanLargestClass),
        "{balanced:?}"
    );
}

#[test]
fn barely_above_guessing_is_doubtful_however_sure_it_is() {
    // 22 % of 6 × 1,000: beyond luck, and of no use.
    let mut confusion = mostly_right(6, 220, 0);
    for (class, row) in confusion.iter_mut().enumerate() {
        (0..6).filter(|other| *other != class).for_each(|other| row[other] = 156);
    }
    let found = judge(&confusion, &[]);
    assert_eq!(
        (found.grade, kinds(&found)),
        (Grade::Doubtful, vec![FindingKind::BarelyBetterThanGuessing])
    );
    assert_eq!(found.sentence, "Barely better than guessing: 22.0 % where guessing gives 16.7 %.");
    // Five times guessing is not barely better, and wrong nineteen times of twenty.
    let mut many = vec![vec![0; 100]; 100];
    for (class, row) in many.iter_mut().enumerate() {
        row[class] = 5;
        (0..95).for_each(|step| row[(class + 1 + step) % 100] += 1);
    }
    let wrong = judge(&many, &[]);
    assert_eq!((wrong.grade, kinds(&wrong)), (Grade::Doubtful, vec![FindingKind::MostlyWrong]));
    assert_eq!(
        wrong.sentence,
        "Better than guessing, and still mostly wrong: 5.0 % where guessing gives 1.0 %."
    );
}

#[test]
fn few_images_cannot_tell_how_good_it_is() {
    let found = judge(&mostly_right(6, 2, 1), &[]);
    assert_eq!((found.grade, kinds(&found)), (Grade::Doubtful, vec![FindingKind::SplitTooSmall]));
    // 2 of 3, smoothed to 3 / 5: an error of √(6 · 0.24 / 3) / 6 = 11.5 %, twice which is 22.6 on
    // either side of 66.7.
    let sentence = "Better than guessing, but 3 validation images a class cannot tell how much: anything from 44 to 89 %.";
    assert_eq!(found.sentence, sentence);
    // (22.6 / 10)² = 5.1 times as many.
    for said in ["Hold out more images for validation", "some 16 of each class"] {
        assert!(found.advice.contains(said), "{}", found.advice);
    }

    // The same at 20 %, which guessing reaches as well.
    let mut confusion = mostly_right(6, 0, 3);
    confusion[0] = vec![3, 0, 0, 0, 0, 0];
    let worthless = judge_on(Split::Test, &confusion, &[]);
    assert_eq!(
        (worthless.grade, worthless.findings[0].kind),
        (Grade::Worthless, FindingKind::NoBetterThanGuessing)
    );
    let small = worthless
        .findings
        .iter()
        .find(|finding| finding.kind == FindingKind::SplitTooSmall)
        .unwrap();
    assert!(
        small.sentence.starts_with("3 test images a class cannot tell how good it is"),
        "{}",
        small.sentence
    );

    // Half of one image a class looks well and may be luck.
    let mut one = mostly_right(6, 0, 1);
    (0..3).for_each(|class| one[class] = (0..6).map(|other| u32::from(other == class)).collect());
    let unclear = judge(&one, &[]);
    assert_eq!(
        (unclear.grade, unclear.findings[0].kind),
        (Grade::Doubtful, FindingKind::NoBetterThanGuessing)
    );
    assert_eq!(
        unclear.sentence,
        "Cannot be told from guessing: 50.0 % where guessing gives 16.7 %, on 6 images."
    );

    let uneven = judge(&[vec![40, 0, 0], vec![0, 20, 0], vec![0, 1, 1]], &[]);
    assert!(
        uneven.sentence.contains("62 validation images with as few as 2 of a class"),
        "{}",
        uneven.sentence
    );
    let single = judge(&[vec![9, 1], vec![0, 0]], &[]);
    assert_eq!(
        (single.grade, single.sentence.as_str()),
        (Grade::Doubtful, "The validation images are all of one class, which tells nothing.")
    );
}

#[test]
fn a_class_that_is_never_said_is_named() {
    let mut confusion = mostly_right(6, 45, 0);
    confusion[2] = vec![20, 25, 0, 0, 0, 0];
    let found = judge(&confusion, &[]);
    assert_eq!((found.grade, found.sentence.as_str()), (Grade::Doubtful, "Never says “lynx”."));
    assert!(found.advice.contains("Balance the classifier"), "{}", found.advice);
    confusion[5] = vec![45, 0, 0, 0, 0, 0];
    assert_eq!(judge(&confusion, &[]).sentence, "Never says “lynx” or “hare”.");

    // One of thirty, or one with a single image, may be luck: it is told, and does not make the
    // rest doubtful.
    let mut many = mostly_right(30, 18, 2);
    many[7] = vec![0; 30];
    many[7][6] = 20;
    many[6] = vec![0; 30];
    many[6][6] = 20;
    let told = judge(&many, &[]);
    assert_eq!((told.grade, kinds(&told)), (Grade::Usable, vec![FindingKind::NeverPredicted]));
    assert!(told.sentence.starts_with("Usable") && told.others().count() == 1);
}

#[test]
fn nearly_one_class_is_said_unless_nearly_all_images_are_of_it() {
    // 97 of 100 taken for deer, of which there are half; the three foxes among them are right.
    let found = judge(&[vec![50, 0], vec![47, 3]], &[]);
    let one =
        found.findings.iter().find(|finding| finding.kind == FindingKind::NearlyOneClass).unwrap();
    assert_eq!(
        one.sentence,
        "Calls nearly everything “deer”: 97.0 % of the images, where 50.0 % are."
    );
    let right = judge(&[vec![950, 5], vec![5, 40]], &[]);
    assert_eq!((right.grade, right.findings.len()), (Grade::Usable, 0), "{right:?}");
}

#[test]
fn a_loss_that_never_fell_explains_a_result_at_chance() {
    // Six classes of 100, 90 … 50 images have an entropy of 1.76, against ln 6 = 1.79.
    let flat: Vec<EpochRecord> = (1..=20).map(|number| epoch(number, 1.80, 0.20)).collect();
    let at_chance = always_the_first(&[20; 6]);
    let found = judge(&at_chance, &flat);
    let learned =
        found.findings.iter().find(|finding| finding.kind == FindingKind::NeverLearned).unwrap();
    assert_eq!(
        learned.sentence,
        "It has learned next to nothing: the training loss went from 1.80 to 1.80 in 20 epochs."
    );
    assert_eq!(learned.grade, Grade::Worthless);
    assert!(found.advice.contains("train for more epochs"), "{}", found.advice);
    // Training that never was right more often than always saying deer: 100 of 450.
    let still: Vec<EpochRecord> =
        (1..=20).map(|number| epoch(number, 1.80 - 0.02 * number as f64, 0.21)).collect();
    let found = judge(&at_chance, &still);
    let learned =
        found.findings.iter().find(|finding| finding.kind == FindingKind::NeverLearned).unwrap();
    assert!(
        learned.sentence.contains("never right on more than 21.0 %")
            && learned.sentence.contains("22.2 %"),
        "{}",
        learned.sentence
    );
    // A loss that fell, or a result that is good whatever the loss was (mixing images keeps it
    // high).
    let fell: Vec<EpochRecord> =
        (1..=20).map(|number| epoch(number, 1.80 - 0.05 * number as f64, 0.5)).collect();
    assert!(!kinds(&judge(&at_chance, &fell)).contains(&FindingKind::NeverLearned));
    assert_eq!(judge(&mostly_right(6, 45, 5), &flat).findings, []);
    // Epochs of stage 2 are not looked at.
    let other: Vec<EpochRecord> =
        flat.iter().map(|record| EpochRecord { stage: 2, ..record.clone() }).collect();
    assert!(!kinds(&judge(&at_chance, &other)).contains(&FindingKind::NeverLearned));
}

#[test]
fn labels_learned_by_heart_are_to_be_checked() {
    let history = [epoch(1, 1.8, 0.2), epoch(30, 0.05, 0.99)];
    let found = judge(&always_the_first(&[20; 6]), &history);
    let memorised =
        found.findings.iter().find(|finding| finding.kind == FindingKind::Memorised).unwrap();
    assert_eq!(
        memorised.sentence,
        "Has learned its training images by heart (99.0 % right), and that helps with no others."
    );
    assert!(
        found.grade == Grade::Worthless && found.advice.starts_with("Check the labels"),
        "{}",
        found.advice
    );
    // 45 % of other images is something, and more than 50 points less.
    let gap = judge(&mostly_right(6, 45, 55), &history);
    assert_eq!((gap.grade, kinds(&gap)), (Grade::Doubtful, vec![FindingKind::Memorised]));
    assert_eq!(
        gap.sentence,
        "Right on 99.0 % of its training images and on 45.0 % of others: many are only learned by heart."
    );
    assert_eq!(judge(&mostly_right(6, 60, 40), &history).grade, Grade::Usable);
}

#[test]
fn advice_is_never_to_do_what_was_done() {
    let on_features = |confusion: &[Vec<u32>], history: &[EpochRecord]| {
        let found = of_confusion(confusion);
        let evidence = Evidence::of(&found, Split::Validation);
        verdict(&Evidence { history, pretrained: true, ..evidence }).advice
    };
    let flat: Vec<EpochRecord> = (1..=20).map(|number| epoch(number, 1.80, 0.20)).collect();
    let by_heart = [epoch(1, 1.8, 0.2), epoch(30, 0.05, 0.99)];
    for history in [[].as_slice(), &flat, &by_heart] {
        let advice = on_features(&always_the_first(&[20; 6]), history);
        assert!(
            advice.contains("labels")
                && advice.contains("whole network learn on")
                && !advice.contains("pretrained"),
            "{advice}"
        );
    }
    assert!(!on_features(&mostly_right(6, 45, 55), &by_heart).contains("pretrained"));
}

#[test]
fn results_on_training_images_say_nothing() {
    let found = judge_on(Split::Train, &mostly_right(6, 50, 0), &[epoch(30, 0.05, 0.99)]);
    assert_eq!(
        (found.grade, kinds(&found)),
        (Grade::Doubtful, vec![FindingKind::JudgedOnTraining])
    );
    assert!(found.advice.contains("images that it has not seen"), "{}", found.advice);
}

#[test]
fn balancing_that_lost_accuracy_is_to_be_left_out() {
    let compare = |before: &[Vec<u32>], after: &[Vec<u32>]| {
        let (before, after) = (of_confusion(before), of_confusion(after));
        verdict(&Evidence { before: Some(&before), ..Evidence::of(&after, Split::Validation) })
    };
    let lost = compare(&mostly_right(6, 45, 5), &mostly_right(6, 35, 15));
    assert_eq!((lost.grade, kinds(&lost)), (Grade::Doubtful, vec![FindingKind::BalancingLost]));
    assert_eq!(lost.sentence, "Balancing made it worse: 90.0 % before, 70.0 % after.");
    assert!(lost.advice.starts_with("Keep the classifier as trained"), "{}", lost.advice);
    // 45 and 44 of 50: an error of about 1.8 % each, and a difference of 2 points within √2 times
    // that.
    assert_eq!(compare(&mostly_right(6, 45, 5), &mostly_right(6, 44, 6)).grade, Grade::Usable);
    assert_eq!(compare(&mostly_right(6, 35, 15), &mostly_right(6, 45, 5)).grade, Grade::Usable);
    // What was something and is nothing any more is the balancer's doing; what was nothing before
    // is not.
    let ruined = compare(&mostly_right(6, 45, 5), &always_the_first(&[50; 6]));
    assert_eq!(
        (ruined.grade, ruined.findings[0].kind),
        (Grade::Worthless, FindingKind::BalancingLost)
    );
    assert_eq!(ruined.sentence, "Balancing made it worse: 90.0 % before, 16.7 % after.");
    let mut worse = mostly_right(6, 0, 50);
    worse[0] = vec![25, 25, 0, 0, 0, 0];
    let nothing = compare(&always_the_first(&[50; 6]), &worse);
    assert_eq!(nothing.sentence, "No better than guessing: 8.3 % where guessing gives 16.7 %.");
    assert!(
        nothing.grade == Grade::Worthless && kinds(&nothing).contains(&FindingKind::BalancingLost),
        "{nothing:?}"
    );
}

#[test]
fn a_split_too_small_to_tell_by_says_nothing_of_what_was_learned() {
    let verdict = judge(&mostly_right(2, 1, 0), &[epoch(1, 0.1, 1.0)]);
    assert!(verdict.findings.iter().all(|found| found.kind != FindingKind::Memorised));
    assert_eq!(verdict.grade, Grade::Doubtful);
    let verdict = judge(&mostly_right(2, 50, 50), &[epoch(1, 0.1, 1.0)]);
    assert!(verdict.findings.iter().any(|found| found.kind == FindingKind::Memorised));
}

#[test]
fn who_knows_the_large_classes_alone_has_learned_nothing_by_heart() {
    let is_memorised = |verdict: &Verdict| {
        verdict.findings.iter().any(|found| found.kind == FindingKind::Memorised)
    };
    // All are taken for the class that 92 % of the training images are of.
    let (mut evaluation, history) =
        (of_confusion(&always_the_first(&[40; 6])), [epoch(1, 0.4, 0.923)]);
    let counts = [600, 10, 10, 10, 10, 10];
    evaluation
        .per_class
        .iter_mut()
        .zip(counts)
        .for_each(|(class, count)| class.train_count = count);
    let judged = |evaluation: &Evaluation| {
        let evidence = Evidence::of(evaluation, Split::Test);
        verdict(&Evidence { history: &history, pretrained: true, ..evidence })
    };
    let found = judged(&evaluation);
    assert!(!is_memorised(&found) && found.grade == Grade::Worthless, "{found:?}");
    // As right on others as on training images, of the large class and of the small ones.
    let mut confusion = vec![vec![0; 6]; 6];
    for (class, row) in confusion.iter_mut().enumerate() {
        row[class] = if class == 0 { 99 } else { 30 };
        row[(class + 1) % 6] += 100 - row[class];
    }
    let mut evaluation = of_confusion(&confusion);
    evaluation
        .per_class
        .iter_mut()
        .zip(counts)
        .for_each(|(class, count)| class.train_count = count);
    assert!(!is_memorised(&judged(&evaluation)));
}

#[test]
fn little_is_said_of_classes_with_an_image_or_none() {
    // 40 classes of one image, of which ten are taken for the class after them: five are never said.
    let confusion: Vec<Vec<u32>> = (0..40_usize)
        .map(|class| {
            let said = if class % 4 == 0 { class + 1 } else { class };
            (0..40).map(|other| u32::from(other == said)).collect()
        })
        .collect();
    let found = judge(&confusion, &[]);
    let never = found.findings.iter().find(|f| f.kind == FindingKind::NeverPredicted).unwrap();
    assert_eq!(never.grade, Grade::Usable);
    assert!(
        never.sentence.contains(" and 7 other classes: of each there are fewer than 5 images here"),
        "{}",
        never.sentence
    );
    assert!(!found.advice.contains("would help most"), "{}", found.advice);

    let mut confusion = mostly_right(4, 20, 1);
    confusion[2] = vec![0; 4];
    let found = judge_on(Split::Test, &confusion, &[]);
    assert_eq!(found.grade, Grade::Usable);
    let unmeasured = found.others().find(|f| f.kind == FindingKind::Unmeasured).unwrap();
    assert_eq!(
        unmeasured.sentence,
        "Nothing is known of “lynx”: there is no such image among the test images."
    );
}

#[test]
fn what_balancing_costs_the_frequent_classes_is_said() {
    // Deer become fewer, and all others are right.
    let with_deer = |confusion: &[Vec<u32>], deer: usize| {
        let mut found = of_confusion(confusion);
        for class in &mut found.per_class {
            class.train_count = if class.name == "deer" { deer } else { 20 };
        }
        found
    };
    let mut confusion = mostly_right(6, 50, 0);
    confusion[0] = vec![20, 0, 0, 0, 30, 0];
    let [before, after] =
        [mostly_right(6, 40, 10), confusion.clone()].map(|found| with_deer(&found, 100));
    // (100 · 0.4 + 5 · 20) / 200
    assert!((after.accuracy_as_trained() - 0.7).abs() < 1e-12);
    let told = |before: &Evaluation, after: &Evaluation| {
        let evidence = Evidence::of(after, Split::Test);
        let found = verdict(&Evidence { before: Some(before), ..evidence });
        let costs = |finding: &Finding| finding.kind == FindingKind::CostsFrequentClasses;
        (found.grade, found.findings.into_iter().find(costs).map(|finding| finding.sentence))
    };
    let expected = "Balancing has its price: of images with classes as frequent as in training 70.0 % are right instead of 80.0 %.";
    assert_eq!(told(&before, &after), (Grade::Usable, Some(expected.into())));
    assert_eq!(told(&after, &before).1, None);
    // Nearly all images are deer, which few are taken for any more.
    let [before, after] = [mostly_right(6, 40, 10), confusion].map(|found| with_deer(&found, 900));
    let (grade, sentence) = told(&before, &after);
    assert_eq!(grade, Grade::Usable);
    let sentence = sentence.unwrap();
    assert!(sentence.ends_with("less than always saying “deer” (90.0 %)."), "{sentence}");
    // That is so whether balancing did it or not.
    let (grade, sentence) = told(&after, &after);
    assert_eq!(grade, Grade::Usable);
    let sentence = sentence.unwrap();
    assert!(
        sentence.starts_with("Of images with classes as frequent as in training 46.0 % are right, less than always saying “deer” (90.0 %):"),
        "{sentence}"
    );
    // Of the images taken for otter most are deer then.
    let precision = after.precision_as_trained()[4].unwrap();
    assert!((precision - 20.0 / (20.0 + 0.6 * 900.0)).abs() < 1e-12, "{precision}");
}

#[test]
fn what_was_held_out_in_turn_speaks_for_a_split_of_a_few_series() {
    // Right about as often as by guessing, on few images.
    let mut confusion = vec![vec![1; 6]; 6];
    confusion[0][0] = 2;
    let evaluation = of_confusion(&confusion);
    let evidence = Evidence::of(&evaluation, Split::Test);
    assert_eq!(verdict(&evidence).grade, Grade::Worthless);
    let known = held(0.52, 0.04);
    let told = verdict(&Evidence { expected: Some(&known), is_drawn: true, ..evidence });
    assert_eq!((told.grade, kinds(&told)), (Grade::Doubtful, vec![FindingKind::SplitTooSmall]));
    assert!(
        told.sentence.starts_with(
            "Better than guessing on images that were held out in turn, which are more (52.0 %)"
        ),
        "{}",
        told.sentence
    );
    assert!(!told.advice.contains("labels"), "{}", told.advice);
    // Of other images they say nothing, and neither do those that may be guessing, too.
    let other = verdict(&Evidence { expected: Some(&known), ..evidence });
    assert_eq!(other.grade, Grade::Worthless);
    let low = held(0.2, 0.04);
    let told = verdict(&Evidence { expected: Some(&low), is_drawn: true, ..evidence });
    assert_eq!(told.grade, Grade::Worthless);
}

#[test]
fn copies_and_images_unlike_those_it_learned_from_are_said() {
    let evaluation = of_confusion(&mostly_right(6, 35, 15));
    let evidence = Evidence::of(&evaluation, Split::Test);
    let found = verdict(&Evidence { copies: 88, expected: Some(&held(0.9, 0.02)), ..evidence });
    assert_eq!(
        (found.grade, kinds(&found)),
        (Grade::Usable, vec![FindingKind::UnlikeTraining, FindingKind::CopiesLeftOut])
    );
    let said = &found.findings[0].sentence;
    assert!(
        said.starts_with(
            "Images that were held out from training are recognised with 90.0 %, these with 70.0 %"
        ),
        "{said}"
    );
    assert_eq!(
        found.findings[1].sentence,
        "88 of the 388 test images have an exact copy in training and are left out of this verdict."
    );
    // A small difference, and one that is within what so few images can tell.
    assert_eq!(verdict(&Evidence { expected: Some(&held(0.74, 0.02)), ..evidence }).findings, []);
    let few = of_confusion(&mostly_right(6, 14, 6));
    let evidence = Evidence::of(&few, Split::Test);
    assert_eq!(verdict(&Evidence { expected: Some(&held(0.81, 0.05)), ..evidence }).findings, []);
    assert_ne!(verdict(&Evidence { expected: Some(&held(0.95, 0.05)), ..evidence }).findings, []);
    // Where there is no other image, nothing is known.
    let found = verdict(&Evidence { all_copies: true, ..Evidence::of(&evaluation, Split::Test) });
    assert_eq!(
        (found.grade, kinds(&found)),
        (Grade::Doubtful, vec![FindingKind::JudgedOnTraining])
    );
    assert!(found.sentence.starts_with("Every one of these images has an exact copy"));
}

#[test]
fn few_images_drawn_by_chance_are_told_with_those_that_were_held_out_in_turn() {
    let few = of_confusion(&mostly_right(6, 2, 1));
    let drawn = Evidence { is_drawn: true, ..Evidence::of(&few, Split::Test) };
    // 24 points better, by chance: both are of the same images.
    let found = verdict(&Evidence { expected: Some(&held(0.91, 0.02)), ..drawn });
    assert_eq!((found.grade, kinds(&found)), (Grade::Usable, vec![]));
    assert!(
        found.sentence.starts_with(
            "Usable: 91.0 % balanced accuracy on images held out in turn, 66.7 % (44 to 89 %) on the few test images, where guessing gives 16.7 %"
        ),
        "{}",
        found.sentence
    );
    assert_eq!(
        found.against_guessing(),
        "91.0 % balanced accuracy on images held out in turn (66.7 % on the few test images), guessing gives 16.7 %"
    );
    // A class that was never held out is missing in that mean, and it is the rarest.
    let mut right = vec![[91, 100]; 6];
    let all = HeldInTurn::of(right.clone());
    assert_eq!(verdict(&Evidence { expected: Some(&all), ..drawn }).sentence, found.sentence);
    right[4] = [0, 0];
    let others = HeldInTurn::of(right);
    assert!((others.balanced_accuracy - 0.91).abs() < 1e-12 && others.error < all.error * 1.2);
    let found = verdict(&Evidence { expected: Some(&others), ..drawn });
    assert_eq!((found.grade, found.held_in_turn), (Grade::Doubtful, None));
    assert!(
        found
            .sentence
            .ends_with("it is 91.0 %, of 5 of 6 classes: of the other there are too few."),
        "{}",
        found.sentence
    );
    // Which may be too few as well.
    let found = verdict(&Evidence { expected: Some(&held(0.91, 0.06)), ..drawn });
    assert_eq!(found.grade, Grade::Doubtful);
    assert!(found.sentence.contains("91.0 %"), "{}", found.sentence);
    // Whoever brought a test split of their own learns that it is another one.
    let brought = Evidence { is_drawn: false, ..drawn };
    let found = verdict(&Evidence { expected: Some(&held(0.95, 0.01)), ..brought });
    assert!(kinds(&found).contains(&FindingKind::UnlikeTraining));
    assert_eq!(found.grade, Grade::Doubtful);
    // A run that has grown has others in training, which may be alike or not.
    let grown = Evidence { is_drawn: false, is_grown: true, ..drawn };
    let told = |accuracy| verdict(&Evidence { expected: Some(&held(accuracy, 0.02)), ..grown });
    assert_eq!((told(0.8).grade, told(0.8).held_in_turn), (Grade::Usable, Some(0.8)));
    assert_eq!((told(0.95).grade, told(0.95).held_in_turn), (Grade::Doubtful, None));
    // The classes that both know are compared: here the gap is one that only the test has.
    let mut confusion = mostly_right(6, 95, 5);
    confusion[4] = vec![50, 50, 0, 0, 0, 0];
    let test = of_confusion(&confusion);
    let known = verdict(&Evidence { expected: Some(&others), ..Evidence::of(&test, Split::Test) });
    assert!(test.balanced_accuracy < 0.8 && !kinds(&known).contains(&FindingKind::UnlikeTraining));
    let known = verdict(&Evidence { expected: Some(&all), ..Evidence::of(&test, Split::Test) });
    assert!(kinds(&known).contains(&FindingKind::UnlikeTraining), "{:?}", known.findings);
}

#[test]
fn nobody_is_told_to_hold_out_more_images_than_there_are() {
    let mut few = of_confusion(&mostly_right(6, 2, 1));
    few.per_class[4].train_count = 5;
    few.per_class[1].train_count = 9;
    let drawn = Evidence { is_drawn: true, ..Evidence::of(&few, Split::Test) };
    let found = verdict(&drawn);
    assert_eq!(
        found.advice,
        format!(
            "Collect more images of the rarest classes, such as “{}”, “{}”: there are too few of them to hold out as many as would tell.",
            few.per_class[4].name, few.per_class[1].name
        )
    );
    assert_eq!(found.command, "");
    // How many there are of a split that was brought, nobody knows.
    let brought = verdict(&Evidence { is_drawn: false, ..drawn });
    assert!(brought.advice.starts_with("Hold out more images"), "{}", brought.advice);
}

#[test]
fn rare_classes_that_much_else_is_taken_for_are_named() {
    // Ten classes with 100, 90 … 10 training images. Half of the first is taken for the last.
    let mut confusion = mostly_right(10, 10, 0);
    confusion[0] = vec![50, 0, 0, 0, 0, 0, 0, 0, 0, 50];
    confusion[9] = vec![0, 0, 0, 0, 0, 0, 0, 0, 0, 5];
    let found = judge(&confusion, &[]);
    let alarms = found.findings.iter().find(|f| f.kind == FindingKind::FalseAlarms).unwrap();
    // 10 right ones beside 100 · 50 / 100 wrong ones.
    assert!(alarms.sentence.contains("about 1 in 6 of “class 9” would be right"), "{alarms:?}");
    assert_eq!(alarms.grade, Grade::Usable);
    // A frequent class is not named for it, nor one that a few are taken for.
    confusion.swap(0, 9);
    confusion.iter_mut().for_each(|row| row.swap(0, 9));
    assert!(!kinds(&judge(&confusion, &[])).contains(&FindingKind::FalseAlarms));
    let few = judge(&mostly_right(10, 10, 1), &[]);
    assert!(!kinds(&few).contains(&FindingKind::FalseAlarms));
}

#[test]
fn a_result_that_says_nothing_of_many_classes_is_doubtful_unless_others_do() {
    let mut confusion = mostly_right(6, 20, 1);
    confusion[2] = vec![0; 6];
    confusion[3] = vec![0; 6];
    let of = |verdict: &Verdict| {
        verdict.findings.iter().find(|f| f.kind == FindingKind::Unmeasured).unwrap().clone()
    };
    let alone = judge_on(Split::Test, &confusion, &[]);
    assert_eq!((alone.grade, of(&alone).grade), (Grade::Doubtful, Grade::Doubtful));
    assert!(of(&alone).sentence.starts_with("Nothing is known of "), "{alone:?}");
    let held = HeldInTurn::of(vec![[19, 20]; 6]);
    let evaluation = of_confusion(&confusion);
    let told =
        verdict(&Evidence { expected: Some(&held), ..Evidence::of(&evaluation, Split::Test) });
    assert_eq!(of(&told).grade, Grade::Usable);
    assert!(of(&told).sentence.starts_with("There is no image of "), "{told:?}");
}
