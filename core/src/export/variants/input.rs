//! What an exported graph takes.

use onnx_ir::GraphProto;
use serde_json::{Value, json};

use super::super::nodes::{FLOAT, Told, UINT8, float_tensor, node};
use super::resize::resize;
use crate::images::InputShape;
use crate::onnx::INPUT;
use crate::words::ImageFit;

/// Images in 0..1, as the rest of the graph takes them.
pub(super) const UNIT: &str = "images_in_0_to_1";
/// Bytes as float32, channels first.
pub(super) const PIXELS: &str = "pixels";

/// What an exported graph takes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::export) enum InputForm {
    /// Float32 in 0..1, `[batch, 3, side, side]`.
    Floats,
    /// The same, one image at a time.
    OneImage,
    /// Bytes, `[batch, 3, side, side]`.
    BytesFirst,
    /// Bytes, `[batch, side, side, 3]`.
    BytesLast,
    /// Bytes, `[batch, height, width, 3]`.
    AnySize,
}

/// The length of an axis: a number, or a name where any length will do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::export) enum Axis {
    Of(usize),
    Any(&'static str),
    /// That of the images. It has no name: where there is one, Ultralytics' programs do not believe the
    /// size that the metadata name.
    Batch,
}

impl InputForm {
    /// ONNX's number for the type of its values.
    pub fn kind(self) -> i32 {
        if self.takes_bytes() { UINT8 } else { FLOAT }
    }

    /// Whether it takes bytes.
    pub fn takes_bytes(self) -> bool {
        !matches!(self, Self::Floats | Self::OneImage)
    }

    /// The axes behind that of the images.
    pub fn axes(self, side: usize) -> [Axis; 3] {
        let side = Axis::Of(side);
        match self {
            Self::Floats | Self::OneImage | Self::BytesFirst => [Axis::Of(3), side, side],
            Self::BytesLast => [side, side, Axis::Of(3)],
            Self::AnySize => [Axis::Any("height"), Axis::Any("width"), Axis::Of(3)],
        }
    }

    /// What goes in, for people.
    pub fn in_words(self, images: &str, side: usize) -> String {
        match self {
            Self::Floats | Self::OneImage => {
                format!("float32 [{images}, 3, {side}, {side}], RGB in 0..1")
            }
            Self::BytesFirst => format!("uint8 [{images}, 3, {side}, {side}], RGB in 0..255"),
            Self::BytesLast => format!("uint8 [{images}, {side}, {side}, 3], RGB in 0..255"),
            Self::AnySize => {
                format!("uint8 [{images}, height, width, 3], RGB in 0..255, of any size")
            }
        }
    }

    /// How an image becomes an input, for people.
    pub fn steps(self, fit: ImageFit) -> String {
        let square = match fit {
            ImageFit::Crop => {
                "cut out the largest centred square, resize it to the input size (bilinear, antialiased)"
            }
            ImageFit::Stretch => {
                "resize all of it to the input size, whatever its shape (bilinear, antialiased)"
            }
        };
        let steps = match self {
            Self::Floats | Self::OneImage => format!("{square}, divide by 255"),
            Self::BytesFirst | Self::BytesLast => square.into(),
            Self::AnySize if fit == ImageFit::Stretch => "and no more: the graph resizes".into(),
            Self::AnySize => "and no more: the graph crops and resizes".into(),
        };
        format!("Apply the EXIF orientation, convert to RGB, {steps}")
    }

    /// What of [`crate::export`]'s `preprocess` is otherwise than for [`InputForm::Floats`], by key.
    pub fn changes(self) -> Vec<(&'static str, Value)> {
        let mut changes = Vec::new();
        if self.takes_bytes() {
            changes.extend([
                ("scale", json!(1)),
                ("range", json!([0, 255])),
                ("type", json!("uint8")),
            ]);
        }
        if matches!(self, Self::BytesLast | Self::AnySize) {
            changes.push(("layout", json!("NHWC")));
        }
        if self == Self::AnySize {
            let inside = json!("inside the graph");
            changes.extend([
                ("crop", inside.clone()),
                ("filter", inside.clone()),
                ("size", inside),
            ]);
        }
        changes
    }

    /// Puts in front of a graph that takes [`InputForm::Floats`] what this form needs.
    ///
    /// # Errors
    /// A sentence, if the graph's operator set cannot say it.
    pub fn put_in_front(
        self,
        graph: &mut GraphProto,
        shape: InputShape,
        opset: i64,
    ) -> Result<(), String> {
        if !self.takes_bytes() {
            return Ok(());
        }
        for input in graph.node.iter_mut().flat_map(|node| &mut node.input) {
            if input == INPUT {
                *input = UNIT.into();
            }
        }
        let mut front = match self {
            Self::AnySize => resize(graph, shape, opset)?,
            Self::BytesLast => vec![
                node("Cast", &[INPUT], "numbers", Told::Number("to", i64::from(FLOAT))),
                node("Transpose", &["numbers"], PIXELS, Told::List("perm", &[0, 3, 1, 2])),
            ],
            _ => vec![node("Cast", &[INPUT], PIXELS, Told::Number("to", i64::from(FLOAT)))],
        };
        graph.initializer.push(float_tensor("largest_byte", &[], &[255.0]));
        front.push(node("Div", &[PIXELS, "largest_byte"], UNIT, Told::Nothing));
        front.append(&mut graph.node);
        graph.node = front;
        Ok(())
    }
}
