//! Tensors of the CPU backend as slices, and slices as tensors.

use burn::backend::flex::{FlexTensor, Layout};
use burn::tensor::{DType, Shape, TensorData};

use crate::kernels::{Buffer, to_channels_last};

/// From `[batch, channels, height, width]` to the order in memory.
const TO_CHANNELS_LAST: [usize; 4] = [0, 2, 3, 1];
/// And back.
const TO_CHANNELS_FIRST: [usize; 4] = [0, 3, 1, 2];

/// `[batch, channels, height, width]`.
pub(super) fn dims(tensor: &FlexTensor) -> [usize; 4] {
    let shape = tensor.layout().shape();
    [shape[0], shape[1], shape[2], shape[3]]
}

/// Where the values of a tensor without gaps lie in its storage.
fn range(tensor: &FlexTensor) -> std::ops::Range<usize> {
    let start = tensor.layout().start_offset();
    start..start + tensor.layout().num_elements()
}

/// ImageTensor whose values lie in memory as `[batch, height, width, channels]`; those that do
/// already are not copied.
#[derive(Clone, Debug)]
pub(super) struct ImageTensor(FlexTensor);

impl ImageTensor {
    /// From a float32 tensor `[batch, channels, height, width]` with any strides.
    pub fn new(tensor: FlexTensor) -> Self {
        if tensor.layout().permute(&TO_CHANNELS_LAST).is_contiguous() {
            return Self(tensor);
        }
        let dims = dims(&tensor);
        let layout = tensor.layout();
        let strides =
            [layout.strides()[0], layout.strides()[1], layout.strides()[2], layout.strides()[3]];
        let mut out = Buffer::take(dims.iter().product());
        to_channels_last(tensor.storage(), layout.start_offset(), dims, strides, &mut out);
        Self::from_buffer(out, dims)
    }

    /// From values in the order `[batch, height, width, channels]`, `dims` being
    /// `[batch, channels, height, width]`.
    pub fn from_buffer(values: Buffer, dims: [usize; 4]) -> Self {
        let [batch, channels, height, width] = dims;
        let layout = Layout::contiguous(Shape::from([batch, height, width, channels]))
            .permute(&TO_CHANNELS_FIRST);
        Self(FlexTensor::new(values.into_bytes(), layout, DType::F32))
    }

    /// `[batch, channels, height, width]`.
    pub fn dims(&self) -> [usize; 4] {
        dims(&self.0)
    }

    /// The values in the order in which they lie.
    pub fn values(&self) -> &[f32] {
        &self.0.storage()[range(&self.0)]
    }

    /// Whether no other tensor shares the values.
    pub fn is_own(&self) -> bool {
        self.0.is_unique()
    }

    /// The values to be changed; they are copied first if another tensor shares them.
    pub fn values_mut(&mut self) -> &mut [f32] {
        if !self.is_own() {
            *self = Self::from_buffer(Buffer::copy_of(self.values()), self.dims());
        }
        let range = range(&self.0);
        &mut self.0.storage_mut()[range]
    }

    pub fn tensor(self) -> FlexTensor {
        self.0
    }
}

/// A row-major float32 tensor; one that is so already is not copied.
#[derive(Clone, Debug)]
pub(super) struct Dense(FlexTensor);

impl Dense {
    pub fn new(tensor: FlexTensor) -> Self {
        match tensor.is_contiguous() {
            true => Self(tensor),
            false => Self(tensor.to_contiguous()),
        }
    }

    pub fn from_buffer(values: Buffer, shape: impl Into<Shape>) -> Self {
        Self(FlexTensor::new(values.into_bytes(), Layout::contiguous(shape.into()), DType::F32))
    }

    pub fn from_vec(values: Vec<f32>) -> Self {
        let length = values.len();
        Self(FlexTensor::from_data(TensorData::new(values, [length])))
    }

    pub fn shape(&self) -> Shape {
        self.0.layout().shape().clone()
    }

    pub fn values(&self) -> &[f32] {
        &self.0.storage()[range(&self.0)]
    }

    /// The values to be changed; they are copied first if another tensor shares them.
    pub fn values_mut(&mut self) -> &mut [f32] {
        if !self.0.is_unique() {
            *self = Self::from_buffer(Buffer::copy_of(self.values()), self.shape());
        }
        let range = range(&self.0);
        &mut self.0.storage_mut()[range]
    }

    pub fn tensor(self) -> FlexTensor {
        self.0
    }
}

/// Bytes of `[batch, channels, height, width]` in the order of [`ImageTensor`].
pub(super) struct Bytes(FlexTensor);

impl Bytes {
    pub fn from_vec(values: Vec<u8>, dims: [usize; 4]) -> Self {
        Self(FlexTensor::from_data(TensorData::new(values, dims)))
    }

    /// What `from_vec` made.
    pub fn new(tensor: FlexTensor) -> Self {
        Self(tensor)
    }

    pub fn values(&self) -> &[u8] {
        &self.0.storage()[range(&self.0)]
    }

    pub fn tensor(self) -> FlexTensor {
        self.0
    }
}
