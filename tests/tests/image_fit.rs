//! Images that are not square, of which the middle square does not show what they are: it is noticed,
//! and everything that sees images from then on sees all of them.

use std::path::Path;
use std::process::Command;

use counterweight_tests::fixtures::banners;
use counterweight_tests::python::python;
use counterweight_tests::{counterweight, counterweight_json};
use serde_json::Value;

fn text(path: &Path) -> &str {
    path.to_str().unwrap()
}

fn choice<'a>(made: &'a Value, setting: &str) -> Option<&'a Value> {
    made["choices"].as_array().unwrap().iter().find(|choice| choice["setting"] == setting)
}

#[test]
fn what_lies_beside_the_middle_is_seen_where_it_matters() {
    let folder = tempfile::tempdir().unwrap();
    let place = |name: &str| folder.path().join(name);
    let images = place("banners");
    banners(&images);
    let make = |name: &str, more: &[&str]| {
        let out = place(name);
        let own = ["make", text(&images), "--out", text(&out), "--device", "cpu"];
        counterweight_json(&[&own, more].concat())
    };
    let accuracy = |made: &Value| made["balance"]["balanced_accuracy"].as_f64().unwrap();
    let made = make("model.onnx", &[]);
    let fit = choice(&made, "model.fit").unwrap();
    assert_eq!((fit["value"].as_str(), accuracy(&made) > 0.8), (Some("stretch"), true), "{made}");
    let why = fit["reason"].as_str().unwrap();
    assert!(why.starts_with("the middle square leaves out 67 % of an image"), "{why}");

    // Made again, it is not asked again.
    let again = make("model.onnx", &[]);
    assert_eq!(choice(&again, "model.fit"), Some(fit), "{again}");
    assert_eq!(accuracy(&again), accuracy(&made));

    // Nobody who has said it is asked; and it was right.
    let cropped = make("cropped.onnx", &["--set", "model.fit=crop"]);
    assert!(choice(&cropped, "model.fit").is_none());
    assert!(accuracy(&cropped) < 0.6, "the middles say nothing: {cropped}");

    // Whoever runs the file sees all of an image, too.
    let model = place("model.onnx");
    let output = counterweight(&["predict", text(&model), text(&images), "--json"]);
    let lines = String::from_utf8_lossy(&output.stdout).into_owned();
    let right = lines
        .lines()
        .map(|line| serde_json::from_str::<Value>(line).unwrap())
        .filter(|row| {
            let class = row["top"][0]["class"].as_str().unwrap();
            row["path"].as_str().unwrap().replace('\\', "/").contains(&format!("/{class}/"))
        })
        .count();
    assert!(right >= 78, "{right} of 80: {lines}");
    let as_crop =
        counterweight(&["predict", text(&model), text(&images), "--fit", "crop", "--json"]);
    assert_ne!(String::from_utf8_lossy(&as_crop.stdout), lines);

    let (run, bundle) = (place("model-run"), place("bundle"));
    let maps = place("maps");
    let image = images.join("dots/3.png");
    let shown = counterweight(&["explain", text(&run), text(&image), "--out", text(&maps)]);
    assert!(shown.status.success(), "{}", String::from_utf8_lossy(&shown.stderr));
    let export =
        ["export", text(&run), "--bundle", text(&bundle), "--variant", "any-size,uint8-nhwc"];
    counterweight_json(&[&export[..], &["--max-loss", "100"]].concat());
    let said = |name: &str| std::fs::read_to_string(bundle.join(name)).unwrap();
    let config: Value = serde_json::from_str(&said("preprocessor_config.json")).unwrap();
    assert_eq!((&config["do_center_crop"], &config["size"]["width"]), (&false.into(), &224.into()));
    assert!(said("README.md").contains("take all of it"), "{}", said("README.md"));
    assert!(said("examples/python/classify.py").contains("CROP = False"));

    let Some(python) = python(&["numpy", "onnxruntime", "PIL"]) else { return };
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("python/variants.py");
    for arguments in [vec![bundle.join("check.py")], vec![script, bundle.clone(), images.clone()]] {
        let output = Command::new(&python).args(&arguments).output().unwrap();
        let said = String::from_utf8_lossy(&output.stdout).into_owned();
        assert!(output.status.success(), "{said}{}", String::from_utf8_lossy(&output.stderr));
        let forms = said.lines().filter(|line| line.contains(" of 80 the same"));
        let expected = if arguments.len() > 1 { 3 } else { 0 };
        assert_eq!(forms.clone().count(), expected, "{said}");
        for line in forms {
            let same = line.split(", ").find_map(|part| part.strip_suffix(" of 80 the same"));
            assert!(same.unwrap().parse::<usize>().unwrap() >= 78, "{line}");
        }
    }
}
