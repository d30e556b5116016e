//! The sizes of a graph's values, known before any of them is made.
//!
//! Where all that an operation takes is known, tract computes it while it analyses the graph,
//! however large the result. An allocation that fails ends the process, so here the sizes are asked
//! for first.

use std::collections::BTreeSet;
use std::sync::Arc;

use tract_onnx::prelude::*;
use tract_onnx::tract_hir::infer::{Factoid, InferenceOp};
use tract_onnx::tract_hir::internal::{Cost, DimLike};

use super::reason;

/// Values a tensor of the graph may have.
pub(crate) const MAX_VALUES: usize = 1 << 28;
/// Values that what follows from the file alone may have.
const MAX_CONSTANT: usize = 1 << 26;
/// Multiplications that an image may take: some minutes on one thread, as the largest vision
/// transformers do with large images.
const MAX_WORK: u64 = 1 << 43;
/// What is said where a size is not known.
const OPEN: &str = "its graph does not fix the size of its values";
/// How often each node is looked at, at most. What is known only grows, so this ends by itself; it
/// is for graphs made to have it take long.
const MAX_VISITS: usize = 50;

/// The graph with its one input of this type and shape, every value of a known and bearable size.
///
/// # Errors
/// A sentence, if it cannot take such an input.
pub(crate) fn typed(
    model: InferenceModel,
    kind: DatumType,
    shape: &[usize],
) -> Result<TypedModel, String> {
    // What the outputs do not depend on is not looked at.
    let model = model.into_compact().map_err(reason)?;
    if model.inputs.len() != 1 {
        return Err(format!("it has {} inputs and not one", model.inputs.len()));
    }
    let mut model =
        model.with_input_fact(0, InferenceFact::dt_shape(kind, shape)).map_err(reason)?;
    analyse(&mut model)?;
    // What is still open would be found out by computing it.
    if !model.missing_type_shape().map_err(reason)?.is_empty() {
        return Err(OPEN.into());
    }
    let model = model.into_typed().map_err(reason)?;
    bearable(largest(&model)?)?;
    let work = work(&model)?;
    match work > MAX_WORK.saturating_mul(shape[0].max(1) as u64) {
        true => Err(format!("it takes {work} multiplications for one image")),
        false => Ok(model),
    }
}

/// Number of values of the largest tensor of a graph.
///
/// # Errors
/// A sentence, if the graph leaves a size open.
pub(crate) fn largest(model: &TypedModel) -> Result<usize, String> {
    let facts = model.nodes().iter().flat_map(|node| &node.outputs).map(|output| &output.fact);
    facts.map(|fact| fact.shape.as_concrete().map(product)).try_fold(0, |largest, volume| {
        volume.map(|volume| largest.max(volume)).ok_or_else(|| OPEN.to_string())
    })
}

/// Multiplications of a graph, and one for every value besides, roughly.
fn work(model: &TypedModel) -> Result<u64, String> {
    let mut work = 0u64;
    for node in model.nodes() {
        let inputs = model.node_input_facts(node.id).map_err(reason)?;
        let costs = node.op.cost(&inputs).map_err(reason)?;
        for (cost, count) in costs {
            if matches!(cost, Cost::FMA(_) | Cost::Div(_)) {
                work = work
                    .saturating_add(count.to_i64().map_or(u64::MAX, |count| count.unsigned_abs()));
            }
        }
        for output in &node.outputs {
            work = work.saturating_add(
                output.fact.shape.volume().to_i64().map_or(u64::MAX, |count| count.unsigned_abs()),
            );
        }
    }
    Ok(work)
}

/// A graph ready to run.
///
/// # Errors
/// A sentence, if it cannot be.
pub(crate) fn runnable(model: TypedModel) -> Result<Arc<TypedRunnableModel>, String> {
    model.into_optimized().and_then(IntoRunnable::into_runnable).map_err(reason)
}

fn bearable(volume: usize) -> Result<(), String> {
    if volume > MAX_VALUES {
        Err(format!("it needs a tensor of {volume} values for one image"))
    } else {
        Ok(())
    }
}

/// What tract's own analysis does, asking for sizes before anything is computed.
fn analyse(model: &mut InferenceModel) -> Result<(), String> {
    let mut waiting: BTreeSet<usize> = (0..model.nodes().len()).collect();
    let mut visits = MAX_VISITS * model.nodes().len();
    while let Some(node) = waiting.pop_first() {
        visits = visits.checked_sub(1).ok_or("the sizes of its values cannot be told")?;
        for changed in visit(model, node)? {
            waiting.extend(
                model
                    .outlet_successors(changed)
                    .iter()
                    .map(|inlet| inlet.node)
                    .filter(|&next| next != node),
            );
            if changed.node != node {
                waiting.insert(changed.node);
            }
        }
    }
    Ok(())
}

/// Says all that one operation tells of the values around it, and which of them are known better
/// now.
fn visit(model: &mut InferenceModel, id: usize) -> Result<Vec<OutletId>, String> {
    let node = model.node(id);
    let mut op: Box<dyn InferenceOp> = node.op.clone();
    let seen = op.observe_outlets(model, node).map_err(reason)?;
    let places: [Vec<OutletId>; 3] = [
        node.inputs.to_vec(),
        (0..node.outputs.len()).map(|slot| OutletId::new(id, slot)).collect(),
        seen,
    ];
    let known = |places: &[OutletId]| -> Result<Vec<InferenceFact>, String> {
        places.iter().map(|&place| model.outlet_fact(place).cloned().map_err(reason)).collect()
    };
    let [inputs, outputs, observed] = [known(&places[0])?, known(&places[1])?, known(&places[2])?];
    if op.name() == "Range" {
        count(&inputs)?;
    }
    if OF_CHANNELS.iter().any(|word| op.name().contains(word)) {
        has_channels(inputs.first().into_iter().chain(&outputs))?;
    }
    let (told_inputs, told_outputs, _) = op
        .infer_facts(inputs.iter().collect(), outputs.iter().collect(), observed.iter().collect())
        .map_err(reason)?;
    let is_constant = !told_inputs.is_empty()
        && told_inputs.iter().all(|input| input.value.concretize().is_some());
    for output in &told_outputs {
        match volume(output) {
            Some(volume) if is_constant && volume > MAX_CONSTANT => {
                return Err(format!("it makes a constant of {volume} values"));
            }
            Some(volume) => bearable(volume)?,
            None if is_constant => {
                return Err(format!(
                    "it does not say how large a constant is that it makes (`{}`)",
                    op.name()
                ));
            }
            None => {}
        }
    }
    let (told_inputs, told_outputs, told_observed) = op
        .infer(inputs.iter().collect(), outputs.iter().collect(), observed.iter().collect())
        .map_err(reason)?;
    model.node_mut(id).op = op;
    let mut changed = Vec::new();
    for (places, told) in places.iter().zip([told_inputs, told_outputs, told_observed]) {
        for (&place, told) in places.iter().zip(told) {
            let known = model.outlet_fact(place).map_err(reason)?;
            let both = told.unify(known).map_err(reason)?;
            if both != *known {
                model.set_outlet_fact(place, both).map_err(reason)?;
                changed.push(place);
            }
        }
    }
    Ok(changed)
}

/// Words in the names of operations that take the second axis for channels, without looking whether
/// there is one: tract would read past a shape.
const OF_CHANNELS: [&str; 3] = ["Norm", "Conv", "Pool"];

/// Refuses values that are known to have no second axis.
fn has_channels<'a>(mut values: impl Iterator<Item = &'a InferenceFact>) -> Result<(), String> {
    let is_flat = |value: &InferenceFact| value.shape.rank().concretize().is_some_and(|n| n < 2);
    match values.any(is_flat) {
        true => Err("it asks for the channels of a value that has none".into()),
        false => Ok(()),
    }
}

/// How far a `Range` counts, where its start, end and step are known.
fn count(inputs: &[InferenceFact]) -> Result<(), String> {
    let known: Option<Vec<Arc<Tensor>>> =
        inputs.iter().map(|input| input.value.concretize()).collect();
    let Some(known) = known else { return Ok(()) };
    let number = |tensor: &Arc<Tensor>| match tensor.cast_to_scalar::<i64>() {
        Ok(number) if !tensor.datum_type().is_float() => Ok(number as f64),
        _ => tensor.cast_to_scalar::<f64>().map_err(reason),
    };
    let [start, end, step] = known.iter().map(number).collect::<Result<Vec<f64>, _>>()?[..] else {
        return Err("it counts with other than three numbers".into());
    };
    match (end - start) / step {
        steps if steps <= MAX_CONSTANT as f64 => Ok(()),
        steps => Err(format!("it makes a constant of {steps} values")),
    }
}

/// Number of values, where the sizes of all axes are known.
fn volume(fact: &InferenceFact) -> Option<usize> {
    let dims = fact.shape.concretize()?;
    Some(product(&dims.iter().map(|dim| dim.to_usize().ok()).collect::<Option<Vec<_>>>()?))
}

/// Number of values of a tensor of these sizes; a size that none can have counts for itself,
/// whatever it is multiplied with.
fn product(dims: &[usize]) -> usize {
    match dims.iter().find(|&&dim| dim > MAX_VALUES) {
        Some(dim) => *dim,
        // What does not fit into a number does not fit into memory either.
        None => dims.iter().copied().fold(1, usize::saturating_mul),
    }
}
