//! The bundle: an exported model with everything that whoever deploys it needs.

mod card;
mod configs;
mod pictures;
mod reference;

use std::collections::HashSet;
use std::path::{Path, PathBuf};

use serde::Serialize;
use sha2::{Digest, Sha256};

use super::balance::BalanceReport;
use super::export::{Exported, Subject};
use super::export_variant::{Measuring, VariantReport, VariantRequest};
use crate::error::{Error, ModelError, Result};
use crate::eval::GroupThresholds;
use crate::export::{ExportReport, Onnx, Variant};
use crate::files;
use crate::images::InputShape;
use crate::infer::OnnxClassifier;
use crate::job::Job;
use crate::run::Run;
use crate::settings::ImageFit;
use crate::train::classifier_of;
use pictures::{Drawn, Picture, draw};

/// The model's name in a bundle.
pub const MODEL: &str = "model.onnx";
/// The list of checksums, by which a folder is known as a bundle.
pub const CHECKSUMS: &str = "SHA256SUMS";

/// What was written.
#[derive(Clone, Debug, Serialize)]
pub struct BundleReport {
    /// The folder.
    pub folder: PathBuf,
    /// Its files, in the order of their names.
    pub files: Vec<BundleFile>,
    /// The check of the model.
    pub export: ExportReport,
    /// Its other forms, and those that were refused.
    pub variants: Vec<VariantReport>,
    /// Forms that this model cannot have, and why.
    pub impossible: Vec<(Variant, String)>,
}

/// A file of a bundle.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct BundleFile {
    /// Its path in the bundle, with slashes.
    pub name: String,
    /// Its size.
    pub bytes: u64,
    /// SHA-256 of its content, in hexadecimal.
    pub sha256: String,
    /// What it is for, in a few words.
    pub purpose: &'static str,
}

/// What each file of a bundle is for, apart from the models, whose [`Variant`]s say it. Names that end
/// in a slash stand for all below.
pub static PURPOSES: [(&str, &str); 16] = [
    ("README.md", "what the model is, how good it is, and how to run it"),
    ("labels.txt", "class names, one a line"),
    ("config.json", "class names for Hugging Face's tools"),
    ("preprocessor_config.json", "how to prepare images, for Hugging Face's tools"),
    ("config.pbtxt", "for NVIDIA's Triton server"),
    ("class-distribution.svg", "how many training images each class has"),
    ("class-weight-norms.svg", "norms of the class weights, before and after balancing"),
    ("check.py", "checks that the model answers as expected on this machine"),
    ("reference/", "ten images and the answers expected for them"),
    ("examples/python/", "for Python, with onnxruntime"),
    ("examples/javascript/", "for browsers and node, with onnxruntime"),
    ("examples/rust/", "for Rust, with tract"),
    ("examples/cpp/", "for C++, with OpenCV"),
    ("examples/cpp-onnxruntime/", "for C++, with onnxruntime"),
    ("examples/csharp/", "for C#, with onnxruntime"),
    (CHECKSUMS, "checksums of all files"),
];

/// What a file of a bundle is for.
pub(super) fn purpose(name: &str) -> &'static str {
    if let Some(variant) = Variant::ALL.into_iter().find(|variant| variant.file_name() == name) {
        return variant.purpose();
    }
    let name = &name.replace(".png", ".svg");
    let fits = |known: &str| match known.strip_suffix('/') {
        Some(_) => name.starts_with(known),
        None => name == known,
    };
    PURPOSES.iter().find(|(known, _)| fits(known)).map_or("", |(_, purpose)| purpose)
}

/// Exports a checkpoint of a run (its final one without a name) with class names, settings for the
/// usual servers, a model card, reference images with the answers expected, and examples. The folder
/// appears when it is complete; an older bundle there is replaced. Other forms of the model are added
/// as `variants` ask for them; one that is refused is left out, and the report says why.
///
/// # Errors
/// [`ModelError::File`] if the folder holds something else than a bundle or cannot be written, and
/// whatever [`export`](super::export()) meets.
pub fn bundle(
    run: &Run,
    what: Exported<'_>,
    folder: &Path,
    variants: &[VariantRequest],
    job: Job<'_>,
) -> Result<BundleReport> {
    let failed = |error: std::io::Error| ModelError::file(folder, error);
    if let Some(what) = in_the_way(folder).map_err(failed)? {
        let reason = format!("is no bundle alone: {what} is in it; name a new folder");
        return Err(ModelError::file(folder, reason).into());
    }
    let target = std::path::absolute(folder).map_err(failed)?;
    let Some(parent) = target.parent() else {
        return Err(ModelError::file(folder, "is no place for a new folder").into());
    };
    std::fs::create_dir_all(parent).map_err(failed)?;
    let temporary = files::temporary_folder(parent).map_err(failed)?;
    let subject = Subject::of(run, what, job)?;
    let mut export = subject.write(&Onnx::BOTH, &temporary.path().join(MODEL), job)?;
    export.path = target.join(MODEL);
    let mut measuring = Measuring::new(&subject);
    let (mut forms, mut impossible) = (Vec::new(), Vec::new());
    for request in variants.iter().filter(|request| request.variant != Variant::Float32) {
        let name = request.variant.file_name();
        let found = measuring.export(request, &temporary.path().join(&name), job);
        let mut report = match found {
            Err(Error::Model(ModelError::Export(reason))) => {
                job.warn(format!("{name} is left out: {reason}"));
                impossible.push((request.variant, reason));
                continue;
            }
            found => found?,
        };
        report.export.path = target.join(&name);
        if let Some(reason) = &report.refused {
            job.warn(format!("{name} is left out: {reason}"));
        }
        forms.push(report);
    }
    let classifier = OnnxClassifier::load(&temporary.path().join(MODEL))?;
    let name = what.checkpoint.unwrap_or_else(|| run.final_checkpoint());
    let write = |name: &str, text: &[u8]| -> Result<()> {
        let path = temporary.path().join(name);
        if let Some(folder) = path.parent() {
            std::fs::create_dir_all(folder).map_err(failed)?;
        }
        Ok(std::fs::write(path, text).map_err(failed)?)
    };
    for picture in pictures(run, &subject).map_err(|reason| ModelError::file(folder, reason))? {
        write(&format!("{}.svg", picture.name), picture.svg.as_bytes())?;
        write(&format!("{}.png", picture.name), &picture.png)?;
    }
    let references = reference::write(run, &classifier, temporary.path(), job)?;
    let shape = classifier.input_shape();
    let side = shape.side;
    let classes = classifier.classes();
    for (name, text) in [
        ("labels.txt", configs::labels(classes)),
        ("config.json", configs::config(run, classes, side)),
        ("preprocessor_config.json", configs::preprocessor(shape)),
        ("config.pbtxt", configs::triton(run, classes.len(), side)),
        ("check.py", include_str!("examples/check.py").into()),
        (
            "examples/python/classify.py",
            example(include_str!("examples/python/classify.py"), shape),
        ),
        (
            "examples/javascript/classify.js",
            example(include_str!("examples/javascript/classify.js"), shape),
        ),
        ("examples/javascript/index.html", include_str!("examples/javascript/index.html").into()),
        (
            "examples/cpp-onnxruntime/classify.cpp",
            example(include_str!("examples/cpp-onnxruntime/classify.cpp"), shape),
        ),
        ("examples/csharp/classify.csproj", include_str!("examples/csharp/classify.csproj").into()),
        ("examples/csharp/Program.cs", example(include_str!("examples/csharp/Program.cs"), shape)),
        ("examples/rust/Cargo.toml", include_str!("examples/rust/Cargo.toml.txt").into()),
        (
            "examples/rust/src/main.rs",
            example(include_str!("examples/rust/src/main.rs.txt"), shape),
        ),
        ("examples/cpp/classify.cpp", example(include_str!("examples/cpp/classify.cpp"), shape)),
        (
            "README.md",
            card::write(&card::Facts {
                run,
                checkpoint: name,
                evaluation: subject.evaluation.as_ref(),
                export: &export,
                variants: &forms,
                classifier: &classifier,
                references,
            }),
        ),
    ] {
        write(name, text.as_bytes())?;
    }
    let mut files = listed(temporary.path()).map_err(failed)?;
    let sums: String =
        files.iter().map(|file| format!("{}  {}\n", file.sha256, file.name)).collect();
    write(CHECKSUMS, sums.as_bytes())?;
    files.extend(
        listed(temporary.path()).map_err(failed)?.into_iter().find(|f| f.name == CHECKSUMS),
    );
    job.check()?;
    // The older bundle is whole until the new one stands in its place.
    let older = match target.exists() {
        true => {
            let aside = files::temporary_folder(parent).map_err(failed)?;
            std::fs::rename(&target, aside.path().join("older")).map_err(failed)?;
            Some(aside)
        }
        false => None,
    };
    if let Err(error) = std::fs::rename(temporary.path(), &target) {
        if let Some(aside) = &older {
            std::fs::rename(aside.path().join("older"), &target).map_err(failed)?;
        }
        return Err(failed(error).into());
    }
    drop(temporary.keep());
    // The run remembers where the file is now, not where it was made.
    run.keep_result("export", &export, job);
    Ok(BundleReport { folder: folder.to_path_buf(), files, export, variants: forms, impossible })
}

/// The code of an example, for the side of the input and for what of an image goes into it.
fn example(code: &str, shape: InputShape) -> String {
    let code = code.replace("@SIDE@", &shape.side.to_string());
    match shape.fit {
        ImageFit::Crop => code,
        ImageFit::Stretch => CROPS.iter().fold(code, |code, [crops, does_not]| {
            // It stands where it is declared, and at the end of its line.
            code.replace(&format!("{crops}\n"), &format!("{does_not}\n"))
        }),
    }
}

/// Where examples say that they crop, in their languages, and how they say that they do not.
const CROPS: [[&str; 2]; 4] = [
    ["CROP = True", "CROP = False"],
    ["CROP = true;", "CROP = false;"],
    ["Crop = true;", "Crop = false;"],
    ["CROP: bool = true;", "CROP: bool = false;"],
];

/// The pictures of a checkpoint's classes and of its classifier.
fn pictures(run: &Run, subject: &Subject<'_>) -> Result<[Picture; 2], String> {
    let balanced =
        (subject.name == "balanced").then(|| run.read_result::<BalanceReport>("balance"));
    let before = balanced.and_then(std::result::Result::ok).map(|report| report.norms_before);
    let checkpoint = &subject.checkpoint;
    let norms = classifier_of(checkpoint).map_err(|error| error.to_string())?.norms();
    draw(&Drawn {
        classes: &checkpoint.classes,
        counts: &checkpoint.train_counts,
        norms_before: before.as_deref().filter(|before| before.len() == norms.len()),
        norms: &norms,
        thresholds: GroupThresholds::from(&run.settings().evaluation),
    })
}

/// What of a folder would be lost if a bundle took its place: nothing where there is none, in an
/// empty one, and of an older bundle, which lists all that it is made of.
fn in_the_way(folder: &Path) -> std::io::Result<Option<String>> {
    match std::fs::symlink_metadata(folder) {
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(error),
        Ok(found) if !found.is_dir() => return Ok(Some("a file".into())),
        Ok(_) => {}
    }
    let sums = files::read_text(&folder.join(CHECKSUMS), files::LARGEST_TEXT).unwrap_or_default();
    let own: HashSet<&str> =
        sums.lines().filter_map(|line| Some(line.split_once("  ")?.1)).collect();
    let is_bundle = [MODEL, "check.py"].iter().all(|name| own.contains(name));
    for entry in walkdir::WalkDir::new(folder).min_depth(1) {
        let entry = entry?;
        let relative = entry.path().strip_prefix(folder).unwrap_or(entry.path());
        let parts: Vec<_> = relative.iter().map(|part| part.to_string_lossy()).collect();
        let name = parts.join("/");
        // Folders of a bundle say nothing by themselves.
        let is_own = is_bundle
            && (entry.file_type().is_dir() || name == CHECKSUMS || own.contains(name.as_str()));
        if !is_own && !files::is_clutter(entry.file_name()) {
            return Ok(Some(name));
        }
    }
    Ok(None)
}

/// All files below a folder, with their checksums, sorted by name.
fn listed(folder: &Path) -> std::io::Result<Vec<BundleFile>> {
    let mut files = Vec::new();
    for entry in walkdir::WalkDir::new(folder) {
        let entry = entry?;
        if !entry.file_type().is_file() {
            continue;
        }
        let Ok(relative) = entry.path().strip_prefix(folder) else { continue };
        let parts: Vec<_> = relative.iter().map(|part| part.to_string_lossy()).collect();
        let name = parts.join("/");
        let mut hash = Sha256::new();
        std::io::copy(&mut std::fs::File::open(entry.path())?, &mut hash)?;
        let sha256 = hash.finalize().iter().map(|byte| format!("{byte:02x}")).collect();
        let (bytes, purpose) = (entry.metadata()?.len(), purpose(&name));
        files.push(BundleFile { name, bytes, sha256, purpose });
    }
    files.sort_by(|a, b| a.name.cmp(&b.name));
    Ok(files)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_example_prepares_images_as_the_model_wants_them() {
        let shape = |fit| InputShape { side: 96, fit };
        for code in [
            include_str!("examples/python/classify.py"),
            include_str!("examples/javascript/classify.js"),
            include_str!("examples/cpp-onnxruntime/classify.cpp"),
            include_str!("examples/csharp/Program.cs"),
            include_str!("examples/rust/src/main.rs.txt"),
            include_str!("examples/cpp/classify.cpp"),
        ] {
            let crops = example(code, shape(ImageFit::Crop));
            let stretches = example(code, shape(ImageFit::Stretch));
            let changed = crops.lines().zip(stretches.lines()).filter(|(a, b)| a != b);
            let changed: Vec<String> = changed.map(|(_, line)| line.to_lowercase()).collect();
            assert!(matches!(&changed[..], [line] if line.contains("false")), "{changed:?}");
        }
    }

    #[test]
    fn a_bundle_takes_the_place_of_a_bundle_and_of_nothing_else() {
        let folder = tempfile::tempdir().unwrap();
        let at = |name: &str| folder.path().join("place").join(name);
        let stands = || in_the_way(&folder.path().join("place")).unwrap();
        assert_eq!(stands(), None);
        std::fs::create_dir_all(at("")).unwrap();
        assert_eq!(stands(), None);
        std::fs::create_dir_all(at("reference")).unwrap();
        assert_eq!(stands().as_deref(), Some("reference"));
        for name in [MODEL, "check.py", "reference/1.png"] {
            std::fs::write(at(name), name).unwrap();
        }
        assert!(stands().is_some());
        let sums = format!("00  {MODEL}\n00  check.py\n00  reference/1.png\n");
        std::fs::write(at(CHECKSUMS), &sums).unwrap();
        assert_eq!(stands(), None);
        // What was put into it since would be lost.
        std::fs::write(at("reference/notes.txt"), "").unwrap();
        assert_eq!(stands().as_deref(), Some("reference/notes.txt"));
        std::fs::remove_file(at("reference/notes.txt")).unwrap();
        // Somebody else's folder of models has checksums, too.
        std::fs::write(at(CHECKSUMS), format!("00  {MODEL}\n00  reference/1.png\n")).unwrap();
        assert!(stands().is_some());
    }
}
