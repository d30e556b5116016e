//! Images drawn on a GPU, as an extension of burn's backend: from bytes that lie there to a
//! network's normalised input.

use burn::backend::tensor::{FloatTensor, IntTensor};
use burn::backend::{Backend, DispatchDevice, backend_extension};
use burn::tensor::{DType, Device, Int, Shape, Tensor, TensorData};
use burn_cubecl::CubeBackend;
use burn_cubecl::tensor::CubeTensor;
use burn_std::{Metadata, strides};
use cubecl::calculate_cube_count_elemwise;
use cubecl::prelude::{CubeCount, CubeDim};

use crate::gpu::images::{MEAN_UNITS, contrast_means, draw_images};
use crate::recipes::{Pairs, Recipes, pack_bytes};

/// Bytes of images of a split that may stay on a device whose memory is not known: 512 MiB. Two
/// splits may, and small cards have 2 GiB.
const BUDGET: u64 = 1 << 29;

/// Bytes that kernels can address.
const ADDRESSED: u64 = u32::MAX as u64;

/// Operations on images that lie on the device.
#[backend_extension(Cube)]
pub(super) trait ImageOps: Backend {
    /// The normalised images `[batch, 3, side, side]`, channels last in memory, that `recipes`
    /// describe (see [`Recipes`]); `bytes` holds images `[n, 3, side, side]`, four bytes to a
    /// number, and `values` the number for each byte of each channel, `[3 · 256]`.
    fn draw_images(
        bytes: IntTensor<Self>,
        recipes: IntTensor<Self>,
        values: FloatTensor<Self>,
        batch: usize,
        side: usize,
        jitter: bool,
        pairs: Pairs,
    ) -> FloatTensor<Self>;
}

impl ImageOps for CubeBackend {
    fn draw_images(
        bytes: CubeTensor,
        recipes: CubeTensor,
        values: CubeTensor,
        batch: usize,
        side: usize,
        jitter: bool,
        pairs: Pairs,
    ) -> CubeTensor {
        let (client, device) = (values.client.clone(), values.device.clone());
        let pixels = batch * side * side;
        let means = client.empty(batch * size_of::<u32>());
        let means = CubeTensor::new_contiguous(
            client.clone(),
            device.clone(),
            Shape::new([batch]),
            means,
            DType::U32,
        );
        if jitter {
            let count = CubeCount::Static(batch as u32, 1, 1);
            let [bytes, recipes, means] =
                [&bytes, &recipes, &means].map(|tensor| tensor.clone().into_buffer_arg());
            contrast_means::launch(
                &client,
                count,
                CubeDim::new_1d(MEAN_UNITS),
                bytes,
                recipes,
                means,
                side as u32,
            );
        }
        let channels_last = Metadata::new(
            Shape::new([batch, 3, side, side]),
            strides![3 * side * side, 1, 3 * side, 3],
        );
        let output = client.empty(pixels * 3 * size_of::<f32>());
        let output = CubeTensor::new(client.clone(), output, channels_last, device, DType::F32);
        let dim = CubeDim::new(&client, pixels);
        draw_images::launch(
            &client,
            calculate_cube_count_elemwise(&client, pixels, dim),
            dim,
            bytes.into_buffer_arg(),
            recipes.into_buffer_arg(),
            values.into_buffer_arg(),
            means.into_buffer_arg(),
            output.clone().into_buffer_arg(),
            batch as u32,
            side as u32,
            jitter,
            pairs,
        );
        output
    }
}

/// What draws a network's input on a GPU.
#[derive(Clone, Debug)]
pub(crate) struct DeviceImages {
    values: Tensor<1>,
    device: Device,
    side: usize,
}

impl DeviceImages {
    /// For images of `side` pixels whose bytes become `values`, by channel; `None` if the device is
    /// no GPU.
    pub fn new(values: &[[f32; 256]; 3], side: usize, device: &Device) -> Option<Self> {
        let inner = device.clone().without_autodiff();
        super::is_gpu(device).then(|| {
            let values = TensorData::new(values.as_flattened().to_vec(), [3 * 256]);
            Self {
                values: Tensor::from_data(values, (&inner, DType::F32)),
                device: device.clone(),
                side,
            }
        })
    }

    /// Whether so many bytes may stay on the device: a quarter of its memory, or 512 MiB where that
    /// is not known.
    pub fn fits(&self, bytes: usize) -> bool {
        let inner = self.device.clone().without_autodiff();
        let DispatchDevice::Cube(device) = inner.as_dispatch() else { return false };
        let client = device.client();
        let memory = &client.properties().memory;
        let budget = memory.max_memory().map_or(BUDGET, |bytes| bytes / 4);
        bytes as u64 <= budget.min(memory.max_page_size).min(ADDRESSED)
    }

    /// Brings bytes of images, `[n, 3, side, side]`, to the device.
    pub fn upload(&self, bytes: &[u8]) -> Tensor<1, Int> {
        self.numbers(pack_bytes(bytes).collect())
    }

    /// [`DeviceImages::upload`] of what stays: it has memory of its own, of just that size. Otherwise
    /// every later piece of memory would be as large, most of it in vain.
    pub fn upload_to_stay(&self, bytes: &[u8]) -> Tensor<1, Int> {
        let device = self.device.clone().without_autodiff();
        device.memory_persistent_allocations(bytes, |bytes| self.upload(bytes))
    }

    /// How many images can be drawn at once: kernels address so many numbers, and are started for so
    /// many images.
    pub fn at_once(&self) -> usize {
        const STARTED: usize = 65_535;
        (ADDRESSED as usize / (3 * self.side * self.side).max(1)).min(STARTED)
    }

    /// The images that `recipes` describe, `[batch, 3, side, side]`, from uploaded bytes.
    pub fn draw(&self, bytes: Tensor<1, Int>, recipes: &Recipes) -> Tensor<4> {
        let numbers = self.numbers(recipes.words().to_vec());
        let (bytes, numbers, values) =
            (bytes.into_dispatch(), numbers.into_dispatch(), self.values.clone().into_dispatch());
        let (batch, jitter, pairs) = (recipes.len(), recipes.jittered(), recipes.pairs());
        let images = Tensor::from_dispatch(burn::backend::Dispatch::draw_images(
            bytes, numbers, values, batch, self.side, jitter, pairs,
        ));
        if self.device.is_autodiff() { images.autodiff() } else { images }
    }

    fn numbers(&self, numbers: Vec<u32>) -> Tensor<1, Int> {
        let shape = [numbers.len()];
        Tensor::from_data(
            TensorData::new(numbers, shape),
            (&self.device.clone().without_autodiff(), DType::U32),
        )
    }
}
