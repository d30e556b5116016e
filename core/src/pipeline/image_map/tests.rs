use super::super::test_run::trained;
use super::*;
use crate::Error;
use crate::job::{Control, Event, Silent};

#[test]
fn images_have_places_which_are_kept_and_checked() {
    let folder = tempfile::tempdir().unwrap();
    let run = trained(folder.path());
    let control = Control::new();
    let job = Job::new(&control, &Silent);
    let device = Device::flex();
    assert_eq!(stored_image_map(&run, None, 0).unwrap(), None);
    let map = image_map(&run, None, 0, &device, job).unwrap();
    let samples = &run.dataset().samples;
    assert_eq!((map.points.len(), map.left_out), (samples.len(), 0));
    for (at, point) in map.points.iter().enumerate() {
        let sample = &samples[at];
        assert_eq!(point.sample, at);
        assert_eq!(
            (&point.location, point.label, point.split),
            (&sample.location, sample.class, sample.split)
        );
        assert!(point.place.iter().all(|value| value.is_finite()));
    }
    // What is predicted is what evaluation says.
    let said =
        super::super::predictions(&run, None, Split::Validation, false, &device, job).unwrap();
    let of_map: Vec<usize> = map
        .points
        .iter()
        .filter(|point| point.split == Split::Validation)
        .map(|point| point.predicted)
        .collect();
    assert_eq!(of_map, said.samples.iter().map(|sample| sample.predicted).collect::<Vec<_>>());
    // Digits that are alike lie together, far more than by chance.
    let near = |from: &MapPoint| {
        let far = |to: &MapPoint| {
            (from.place[0] - to.place[0]).powi(2) + (from.place[1] - to.place[1]).powi(2)
        };
        let others = map.points.iter().filter(|to| to.sample != from.sample);
        others.min_by(|a, b| far(a).total_cmp(&far(b))).map(|to| to.label)
    };
    let alike = map.points.iter().filter(|point| near(point) == Some(point.label)).count();
    assert!(alike * 2 > map.points.len(), "{alike} of {}", map.points.len());

    assert_eq!(stored_image_map(&run, None, 0).unwrap().as_ref(), Some(&map));
    assert_eq!(stored_image_map(&run, None, 1).unwrap(), None);
    let file = run.folder().join(format!("features/map-{}.safetensors", map.checkpoint));
    let whole = std::fs::read(&file).unwrap();
    // Another map, half of one, and one whose numbers cannot be.
    let mut wrong = whole.clone();
    let end = wrong.len();
    wrong[end - 4..].copy_from_slice(&f32::NAN.to_le_bytes());
    let mut beyond = whole.clone();
    beyond[end - 8 * samples.len()..].fill(0xff);
    for bytes in [&whole[..end / 2], &wrong, &beyond, b"no map"] {
        std::fs::write(&file, bytes).unwrap();
        assert_eq!(stored_image_map(&run, None, 0).unwrap(), None);
    }
    assert_eq!(image_map(&run, None, 0, &device, job).unwrap(), map);
    assert_eq!(std::fs::read(&file).unwrap(), whole);

    let table = folder.path().join("map.csv");
    write_map_table(&map, &table).unwrap();
    let text = std::fs::read_to_string(&table).unwrap();
    assert!(text.starts_with("path,split,class,group,predicted,probability,x,y\n"), "{text}");
    assert_eq!(text.lines().count(), samples.len() + 1);
    for colours in MapColours::ALL {
        let drawn =
            image::load_from_memory(&map_picture(&map, colours).unwrap()).unwrap().to_rgb8();
        let inked = drawn.pixels().filter(|pixel| pixel.0 != [255; 3]).count();
        assert!(inked > 10 * samples.len().min(1000), "{colours:?}: {inked}");
    }
    assert!(write_map_table(&map, folder.path()).is_err());
}

#[test]
fn laying_out_stops_when_asked_and_nothing_is_kept() {
    let folder = tempfile::tempdir().unwrap();
    let run = trained(folder.path());
    let control = Control::new();
    let stopper = control.clone();
    let sink = move |event: Event| {
        if matches!(event, Event::Phase { name, .. } if name == "laying out the map") {
            stopper.stop();
        }
    };
    let stopped = image_map(&run, None, 0, &Device::flex(), Job::new(&control, &sink));
    assert!(matches!(stopped, Err(Error::Stopped)));
    assert_eq!(stored_image_map(&run, None, 0).unwrap(), None);
    assert!(
        image_map(&run, Some("balanced"), 0, &Device::flex(), Job::new(&Control::new(), &Silent))
            .is_err()
    );
}
