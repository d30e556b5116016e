//! Which of a graph's values features are taken of, and how.

use tract_onnx::pb::GraphProto;

use super::backbone::Taken;
use crate::model::InputLayout;
use crate::onnx::shown;
use crate::words::Tokens;

/// Outputs that hold features, by the names that those who export networks give them, the best
/// first.
const PREFERRED: [&str; 5] =
    ["image_embeds", "pooler_output", "last_hidden_state", "features", "output"];
/// Most features of an image.
const MAX_FEATURES: usize = 1 << 16;

/// A value of a graph.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Value {
    pub name: String,
    /// The operation that computes it, by its place in the graph.
    pub node: u32,
    /// Which of its results it is.
    pub slot: u16,
}

/// The value of that name, or without one the output that features are usually taken of.
///
/// # Errors
/// A sentence, if there is no such value.
pub(super) fn choose(graph: &GraphProto, asked: &str, ours: Option<&str>) -> Result<Value, String> {
    let names: Vec<&str> = graph.output.iter().map(|output| output.name.as_str()).collect();
    let name = if !asked.is_empty() {
        asked
    } else if let Some(inner) = ours.filter(|inner| place(graph, inner).is_some()) {
        inner
    } else {
        let preferred = PREFERRED
            .iter()
            .find_map(|name| names.iter().find(|output| output.eq_ignore_ascii_case(name)));
        preferred.or(names.first()).copied().ok_or("it has no output")?
    };
    place(graph, name).ok_or_else(|| {
        let known: Vec<String> =
            names.iter().take(10).map(|name| format!("`{}`", shown(name))).collect();
        // What is in front of somebody else's classifier is what is mostly wanted.
        let last = graph
            .node
            .iter()
            .filter(|node| node.output.iter().any(|output| names.contains(&output.as_str())));
        let before: Vec<String> = last
            .filter_map(|node| Some(format!("`{}`", shown(node.input.first()?))))
            .take(10)
            .collect();
        let before = format!("the values that they are computed of are {}", before.join(", "));
        format!(
            "it computes no value called `{}`; its outputs are {}, {before}",
            shown(name),
            known.join(", ")
        )
    })
}

fn place(graph: &GraphProto, name: &str) -> Option<Value> {
    let found =
        graph.node.iter().enumerate().find_map(|(node, of)| {
            Some((node, of.output.iter().position(|output| output == name)?))
        });
    let (node, slot) = found?;
    Some(Value {
        name: name.to_string(),
        node: u32::try_from(node).ok()?,
        slot: u16::try_from(slot).ok()?,
    })
}

/// How features are taken of a value of this shape, one image's, and how many they are.
///
/// A value `[1, T, F]` has a class token if its name says so, or if all tokens but one fill a
/// square, as the patches of an image do; where all of them fill one there is none. Other numbers
/// come with registers behind the class token.
///
/// # Errors
/// A sentence, if they cannot be taken of it.
pub(super) fn taken(
    name: &str,
    shape: &[usize],
    layout: InputLayout,
    tokens: Tokens,
) -> Result<(Taken, u32), String> {
    let (taken, features) = match (shape, layout) {
        (&[1, features], _) => (Taken::Vector, features),
        (&[1, features, _, _], InputLayout::ChannelsFirst) => (Taken::Pixels, features),
        (&[1, _, _, features], InputLayout::ChannelsLast) => (Taken::PixelsLast, features),
        (&[1, count, features], _) => {
            let name = name.to_lowercase();
            let is_named = name.contains("cls") || name.contains("pooler");
            let taken = match tokens {
                Tokens::Class => Taken::ClassToken,
                Tokens::Mean => Taken::TokenMean,
                Tokens::Auto if !is_named && is_square(count) => Taken::TokenMean,
                Tokens::Auto => Taken::ClassToken,
            };
            (taken, features)
        }
        _ => {
            return Err(format!(
                "`{}` has the shape {shape:?} for one image; features are taken of [1, F], [1, F, h, w] or [1, T, F]; name another value of the graph: \
                 --set model.output=NAME",
                shown(name)
            ));
        }
    };
    match shape.contains(&0) || features > MAX_FEATURES {
        true => Err(format!(
            "`{}` has the shape {shape:?} for one image, which are no features",
            shown(name)
        )),
        false => Ok((taken, features as u32)),
    }
}

fn is_square(number: usize) -> bool {
    number.isqrt().pow(2) == number
}

/// The features of one image, out of the value that they are taken of.
pub(super) fn take(taken: Taken, features: usize, values: &[f32]) -> Vec<f32> {
    let others = (values.len() / features).max(1);
    // What belongs to one feature lies together or one feature count apart.
    let mean =
        |of: &mut dyn Iterator<Item = f32>| (of.map(f64::from).sum::<f64>() / others as f64) as f32;
    match taken {
        Taken::Vector | Taken::ClassToken => values[..features].to_vec(),
        Taken::Pixels => {
            values.chunks_exact(others).map(|values| mean(&mut values.iter().copied())).collect()
        }
        Taken::PixelsLast | Taken::TokenMean => (0..features)
            .map(|feature| mean(&mut values.iter().copied().skip(feature).step_by(features)))
            .collect(),
    }
}
