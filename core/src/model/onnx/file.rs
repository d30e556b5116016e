//! A file that a feature extractor is to be made of.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use tract_onnx::pb::ModelProto;
use tract_onnx::prelude::*;

use super::backbone::{OnnxBackbone, Taken};
use super::engine::Engine;
use super::graph::FeatureGraph;
use super::input::{Input, SIDES};
use super::normalisation::{PRODUCER, Preparation, preparation};
use super::output::{self, Value};
use super::trial::Trial;
use crate::error::{ModelError, Result};
use crate::onnx::{self, reason};
use crate::panics;
use crate::words::{Normalisation, Tokens};

/// Side of the square input where neither the file nor the settings say any.
const USUAL_SIDE: usize = 224;

/// A file from any source, after it was read and checked.
#[derive(Debug)]
pub struct OnnxFile {
    path: PathBuf,
    bytes: Vec<u8>,
    blake3: [u8; 32],
    file: ModelProto,
    metadata: BTreeMap<String, String>,
}

/// A feature extractor with all that its input needs.
#[derive(Debug)]
pub struct OnnxFound {
    /// The graph, ready to run.
    pub graph: FeatureGraph,
    /// Mean of the input's normalisation, of channels in 0..1.
    pub mean: [f32; 3],
    /// Standard deviation of the input's normalisation.
    pub std: [f32; 3],
    /// Who says so, in words.
    pub source: String,
}

/// How features are to be taken of a file: what the settings of a model say of it.
#[derive(Clone, Copy, Debug)]
pub struct FeatureChoice<'a> {
    /// Name of the value of the graph; if empty, the output that features are usually taken of.
    pub output: &'a str,
    /// Which tokens of a transformer.
    pub tokens: Tokens,
    /// Side of the square input in pixels, unless the file is to say.
    pub side: Option<usize>,
    /// How the input is normalised.
    pub normalisation: Normalisation,
}

impl OnnxFile {
    /// Reads a file.
    ///
    /// # Errors
    /// [`ModelError::File`] with the reason, if it cannot be read, is damaged, or is made of
    /// anything that is not run here. Never panics.
    pub fn read(path: &Path) -> Result<Self> {
        let read = || -> Result<Self, String> {
            let bytes = onnx::read_bytes(path)?;
            Trial::Read.pass(path, *blake3::hash(&bytes).as_bytes())?;
            Self::of_bytes(path, bytes)
        };
        panics::caught(read).map_err(|reason| ModelError::file(path, reason).into())
    }

    /// Makes it of a file's bytes. An error is a sentence.
    pub(super) fn of_bytes(path: &Path, bytes: Vec<u8>) -> Result<Self, String> {
        let file = onnx::parse(&bytes)?;
        let metadata = onnx::metadata(&file);
        let blake3 = *blake3::hash(&bytes).as_bytes();
        Ok(Self { path: path.to_path_buf(), bytes, blake3, file, metadata })
    }

    /// The file's bytes.
    pub fn bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// Chooses how features are taken of it, as asked, and where that leaves it open as the file
    /// says.
    ///
    /// # Errors
    /// [`ModelError::File`] with the reason, if features cannot be taken of it so, or nothing says
    /// how its input is normalised.
    pub fn choose(&self, asked: FeatureChoice<'_>) -> Result<OnnxFound> {
        let choose = || {
            let prepared = preparation(&self.path, &self.file, &self.metadata, asked.normalisation);
            let usual = prepared.as_ref().ok().and_then(|prepared| prepared.side);
            Trial::choose(&asked, usual).pass(&self.path, self.blake3)?;
            self.chosen(asked, prepared)
        };
        panics::caught(choose).map_err(|reason| ModelError::file(&self.path, reason).into())
    }

    /// [`OnnxFile::choose`] where it is known how the input is normalised, or why it is not. An error
    /// is a sentence. May panic where the runtime does.
    pub(super) fn chosen(
        &self,
        asked: FeatureChoice<'_>,
        prepared: Result<Preparation, String>,
    ) -> Result<OnnxFound, String> {
        let proto = self.file.graph.as_ref().ok_or("there is no graph in it")?;
        // Our own exports give scores; the features are a value inside.
        let ours = (self.file.producer_name == PRODUCER).then_some("features");
        let value = output::choose(proto, asked.output, ours)?;
        let model = self.cut(&value)?;
        let input = Input::of(&model)?;
        let input_name = input_name(&model);
        let prepared = prepared?;
        let side = match (asked.side, input.side) {
            (Some(side), Some(fixed)) if side != fixed => {
                return Err(format!(
                    "its input is {fixed} pixels wide and cannot be {side}; leave model.input_size at auto"
                ));
            }
            (Some(side), _) | (None, Some(side)) => side,
            (None, None) => prepared.side.filter(|side| SIDES.contains(side)).unwrap_or(USUAL_SIDE),
        };
        let (typed, shape) = sized(model, &input, side)?;
        let (taken, features) = output::taken(&value.name, &shape, input.layout, asked.tokens)?;
        let backbone = OnnxBackbone {
            features,
            node: value.node,
            slot: value.slot,
            taken,
            blake3: self.blake3,
        };
        let graph = self.ready(backbone, value.name, (input, input_name), side, (typed, shape))?;
        Ok(OnnxFound { graph, mean: prepared.mean, std: prepared.std, source: prepared.source })
    }

    /// The feature extractor that a checkpoint names, for an input of this side.
    ///
    /// # Errors
    /// [`ModelError::File`] with the reason, if this is another file than the checkpoint's, or it
    /// cannot be run.
    pub fn graph(&self, backbone: OnnxBackbone, side: usize) -> Result<FeatureGraph> {
        let open = || {
            Trial::graph(backbone, side).pass(&self.path, self.blake3)?;
            self.opened(backbone, side)
        };
        panics::caught(open).map_err(|reason| ModelError::file(&self.path, reason).into())
    }

    /// [`OnnxFile::graph`]. An error is a sentence. May panic where the runtime does.
    pub(super) fn opened(
        &self,
        backbone: OnnxBackbone,
        side: usize,
    ) -> Result<FeatureGraph, String> {
        if self.blake3 != backbone.blake3 {
            let [own, asked] =
                [self.blake3, backbone.blake3].map(|hash| blake3::Hash::from_bytes(hash).to_hex());
            return Err(format!(
                "it is not the file that the checkpoint was trained with: its BLAKE3 is {own} and should be {asked}"
            ));
        }
        let proto = self.file.graph.as_ref().ok_or("there is no graph in it")?;
        let name = proto
            .node
            .get(backbone.node as usize)
            .and_then(|node| node.output.get(usize::from(backbone.slot)));
        let name = name
            .filter(|name| !name.is_empty())
            .ok_or("it has no such value as the checkpoint names")?
            .clone();
        let value = Value { name, node: backbone.node, slot: backbone.slot };
        let model = self.cut(&value)?;
        let input = Input::of(&model)?;
        let input_name = input_name(&model);
        if !SIDES.contains(&side) || input.side.is_some_and(|fixed| fixed != side) {
            return Err(format!("its input cannot be {side} pixels wide, as the checkpoint says"));
        }
        let (typed, shape) = sized(model, &input, side)?;
        let tokens = match backbone.taken {
            Taken::TokenMean => Tokens::Mean,
            _ => Tokens::Class,
        };
        if output::taken(&value.name, &shape, input.layout, tokens)?
            != (backbone.taken, backbone.features)
        {
            return Err(format!(
                "`{}` has the shape {shape:?}, of which {} features cannot be taken so",
                onnx::shown(&value.name),
                backbone.features
            ));
        }
        self.ready(backbone, value.name, (input, input_name), side, (typed, shape))
    }

    /// The graph that ends in the value `output`, ready to run.
    fn ready(
        &self,
        backbone: OnnxBackbone,
        output: String,
        (input, input_name): (Input, String),
        side: usize,
        (typed, shape): (TypedModel, Vec<usize>),
    ) -> Result<FeatureGraph, String> {
        let engine = Engine::new(&self.bytes, &output, &input_name, typed)?;
        let path = self.path.clone();
        Ok(FeatureGraph { path, backbone, input, input_name, side, output, shape, engine })
    }

    /// The graph up to a value.
    fn cut(&self, value: &Value) -> Result<InferenceModel, String> {
        let model = onnx::graph(&self.file)?;
        let outlet = model
            .find_outlet_label(&value.name)
            .ok_or_else(|| format!("`{}` is computed nowhere", onnx::shown(&value.name)))?;
        let mut model = model.with_output_outlets(&[outlet]).map_err(reason)?;
        // The image tower of a larger network takes the image alone.
        let needed = model.eval_order().map_err(reason)?;
        let inputs: Vec<OutletId> =
            model.inputs.iter().copied().filter(|input| needed.contains(&input.node)).collect();
        model.set_input_outlets(&inputs).map_err(reason)?;
        model.into_compact().map_err(reason)
    }
}

/// The name of a graph's one input.
fn input_name(model: &InferenceModel) -> String {
    model.inputs.first().map(|input| model.node(input.node).name.clone()).unwrap_or_default()
}

/// The graph for one image of this side, and the shape of what it gives.
fn sized(
    model: InferenceModel,
    input: &Input,
    side: usize,
) -> Result<(TypedModel, Vec<usize>), String> {
    let typed = onnx::typed(model, f32::datum_type(), &input.shape(1, side))?;
    let fact = typed.output_fact(0).map_err(reason)?;
    if fact.datum_type != f32::datum_type() {
        return Err("its output is not float32".into());
    }
    let shape = fact.shape.as_concrete().ok_or("its output has no fixed shape")?.to_vec();
    Ok((typed, shape))
}
