//! Trying a file out in a process of its own before this one makes anything of it: what brings the
//! parser or the runtime down, takes too much memory or never ends does so there.
//!
//! What passed is remembered by the file's hash, in this process and in the person's cache folder.

use std::collections::HashSet;
use std::fs::OpenOptions;
use std::io::Write;
use std::path::Path;
use std::sync::{Mutex, PoisonError};

use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::backbone::OnnxBackbone;
use super::file::{FeatureChoice, OnnxFile};
use super::normalisation::Preparation;
use crate::isolated::{self, Answered, Process};
use crate::panics;
use crate::words::{Normalisation, Tokens};
use crate::{files, onnx};

/// What the process is asked to be.
const BACKBONE: &str = "backbone";
/// What passed before, in the cache folder, a line each.
const FILE: &str = "tried-onnx";
/// The most bytes of that; beyond, it is begun anew.
const LARGEST: u64 = 1 << 20;

/// What a file is tried out for.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) enum Trial {
    /// Reading it.
    Read,
    /// Choosing how features are taken of it, as [`OnnxFile::choose`] does, and taking those of one
    /// image.
    Choose {
        output: String,
        tokens: Tokens,
        side: Option<usize>,
        /// The side where neither the file nor the settings say any.
        usual: Option<usize>,
    },
    /// Taking features as a checkpoint says, of one image.
    Graph { backbone: String, side: usize },
}

/// The question to the process.
#[derive(Serialize, Deserialize)]
struct Question {
    trial: Trial,
    blake3: String,
}

impl Trial {
    /// What [`OnnxFile::choose`] is about to do.
    pub fn choose(asked: &FeatureChoice<'_>, usual: Option<usize>) -> Self {
        let FeatureChoice { output, tokens, side, .. } = *asked;
        Self::Choose { output: output.into(), tokens, side, usual }
    }

    /// What [`OnnxFile::graph`] is about to do.
    pub fn graph(backbone: OnnxBackbone, side: usize) -> Self {
        Self::Graph { backbone: backbone.to_string(), side }
    }

    /// Whether the file does no harm when this is done with it. Where it is not known how to start
    /// a process, it is taken as it is.
    ///
    /// # Errors
    /// A sentence, if the file is refused, or the process ends or takes too long.
    pub fn pass(self, path: &Path, hash: [u8; 32]) -> Result<(), String> {
        static PASSED: Mutex<Option<HashSet<String>>> = Mutex::new(None);
        if !isolated::is_possible() {
            return Ok(());
        }
        let blake3 = blake3::Hash::from_bytes(hash).to_hex().to_string();
        let question = Question { trial: self, blake3 };
        let known = blake3::hash(&serde_json::to_vec(&question).map_err(|e| e.to_string())?);
        // Another version may do more with it.
        let line = format!("{} {}", env!("CARGO_PKG_VERSION"), known.to_hex());
        let passed = || PASSED.lock().unwrap_or_else(PoisonError::into_inner);
        if passed().get_or_insert_with(remembered).contains(&line) {
            return Ok(());
        }
        let (process, ()) = Process::open(BACKBONE, path, &question)?;
        drop(process);
        remember(&line);
        passed().get_or_insert_default().insert(line);
        Ok(())
    }

    /// Does it, in the process that was started for it.
    fn run(self, file: &OnnxFile) -> Result<(), String> {
        let graph = match self {
            Self::Read => return Ok(()),
            Self::Choose { output, tokens, side, usual } => {
                let normalisation = Normalisation::Fixed { mean: [0.0; 3], std: [1.0; 3] };
                let asked = FeatureChoice { output: &output, tokens, side, normalisation };
                let (mean, std) = ([0.0; 3], [1.0; 3]);
                let prepared = Preparation { mean, std, source: String::new(), side: usual };
                file.chosen(asked, Ok(prepared))?.graph
            }
            Self::Graph { backbone, side } => file.opened(backbone.parse()?, side)?,
        };
        graph.run_once()
    }
}

/// Tries a file out for the process that started this one.
///
/// # Errors
/// A sentence that says what is wrong with the file.
pub(crate) fn try_backbone(
    kind: &str,
    bytes: &[u8],
    question: Value,
) -> Result<(Value, Answered), String> {
    if kind != BACKBONE {
        return Err(format!("no file is run as `{}`", onnx::shown(kind)));
    }
    let Question { trial, blake3 } =
        serde_json::from_value(question).map_err(|error| error.to_string())?;
    if blake3::hash(bytes).to_hex().as_str() != blake3 {
        return Err("it was changed while it was read".into());
    }
    panics::caught(|| trial.run(&OnnxFile::of_bytes(Path::new(""), bytes.to_vec())?))?;
    Ok((Value::Null, Box::new(|_| Vec::new())))
}

fn remembered() -> HashSet<String> {
    let text =
        files::cache_folder().and_then(|folder| files::read_text(&folder.join(FILE), LARGEST).ok());
    text.unwrap_or_default().lines().map(str::to_string).collect()
}

/// It spares work and no more, so it may fail.
fn remember(line: &str) {
    let Some(folder) = files::cache_folder() else { return };
    let path = folder.join(FILE);
    if path.metadata().is_ok_and(|facts| facts.len() > LARGEST) {
        drop(std::fs::remove_file(&path));
    }
    drop(std::fs::create_dir_all(&folder));
    let file = OpenOptions::new().create(true).append(true).open(path);
    drop(file.and_then(|mut file| file.write_all(format!("{line}\n").as_bytes())));
}
