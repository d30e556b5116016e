//! Packing all weights of a network at once, on a GPU.

use burn::backend::cubecl::dtype_to_elem_type;
use burn::backend::{Backend, Dispatch, backend_extension};
use burn::tensor::{DType, Shape, Tensor};
use burn_cubecl::CubeBackend;
use cubecl::client::Client;

use super::gpu::{Dense, Place};
use super::packed::Packed;
use super::rounded::rounding;
use super::tensors::Tensors;
use crate::gpu::buffer::Buffer;
use crate::gpu::conv::{Layout, Weight, pack_all, pack_one};
use crate::kernels::ConvShape;
use crate::words::Precision;

/// What no gradient flows through.
#[backend_extension(Cube)]
pub(super) trait PackOps: Backend {
    /// Weights `[out, in, k, k]` as the convolutions of a network of this precision read them: of
    /// each a tensor for the convolution and one for the gradient of its input.
    fn pack_weights(
        #[extension_type] weights: Tensors<Self>,
        precision: Precision,
    ) -> Tensors<Self>;
}

impl PackOps for CubeBackend {
    fn pack_weights(weights: Tensors<Self>, precision: Precision) -> Tensors<Self> {
        let Some(first) = weights.0.first() else { return weights };
        let place = Place::of(first);
        let images = if precision == Precision::BFloat16 { DType::BF16 } else { DType::F32 };
        let rounding =
            if precision == Precision::Float32 { None } else { rounding(images, &place.client) };
        // A GPU without units for products of matrices computes in float32 whatever images are.
        let (layout, dtype) =
            rounding.map_or((Layout::fours(), DType::F32), |rounding| (rounding.layout(), images));
        let weights = weights.0.into_iter().map(|weight| {
            let Dense { values, shape } = Dense::new(weight);
            Weight { values, output: shape[0], input: shape[1], kernel: shape[2] }
        });
        let packed = pack_all(&place.client, &weights.collect::<Vec<_>>(), layout);
        let tensor = |buffer: Buffer| {
            let shape = Shape::from([buffer.length]);
            place.tensor(buffer, shape, dtype)
        };
        Tensors(packed.into_iter().flatten().map(tensor).collect())
    }
}

/// See [`PackOps::pack_weights`]. For tensors on a GPU.
pub(super) fn pack(weights: Vec<Tensor<4>>, precision: Precision) -> Vec<Packed> {
    let weights = weights.into_iter().map(|weight| weight.without_autodiff().into_dispatch());
    let packed = Dispatch::pack_weights(Tensors(weights.collect()), precision).0;
    packed.chunks_exact(2).map(|two| Packed(two.to_vec())).collect()
}

/// The values of `packed` for the convolution, or `transposed` for the gradient of its input;
/// packed now if it is empty.
pub(super) fn packed_values(
    client: &Client,
    packed: Tensors<CubeBackend>,
    weight: &Buffer,
    shape: &ConvShape,
    transposed: bool,
    layout: Layout,
) -> Buffer {
    match packed.0.into_iter().nth(usize::from(transposed)) {
        Some(tensor) => {
            let held = dtype_to_elem_type(tensor.dtype);
            assert_eq!(
                held.size(),
                layout.elem.size(),
                "weights were packed for convolutions of another precision"
            );
            Buffer { elem: layout.elem, ..Dense::new(tensor).values }
        }
        None => pack_one(client, shape, weight, None, transposed, layout),
    }
}
