//! The operations on the CPU backend.

use burn::backend::Flex;
use burn::backend::flex::FlexTensor;
use burn::tensor::{DType, Shape};

use super::extension::{
    BatchNormed, Folded, Norm, NormVectors, PlainOps, Pool, Rates, ResidualGradients, ResidualOps,
    Window,
};
use super::fork::Fork;
use super::storage::{Bytes, Dense, ImageTensor};
use super::tensors::Tensors;
use super::unbiased;
use crate::kernels::{
    self, BatchNormGradients, Buffer, ConvShape, Epilogue, InstructionSet, Normalisation, SgdStep,
    Statistics, StatisticsOf,
};
use crate::words::Precision;

impl ResidualOps for Flex {
    fn conv2d(
        x: FlexTensor,
        weight: FlexTensor,
        _packed: Tensors<Flex>,
        window: Window,
        _precision: Precision,
        _fork: Option<Fork>,
    ) -> FlexTensor {
        let (x, weight) = (ImageTensor::new(x), Dense::new(weight));
        let shape = conv_shape(&x, &weight, window);
        convolve(&shape, &x, weight.values(), None, Epilogue::default()).tensor()
    }

    fn batch_norm(
        x: FlexTensor,
        vectors: NormVectors<Flex>,
        momentum: f64,
        norm: Norm,
    ) -> BatchNormed<Flex> {
        batch_norm(&ImageTensor::new(x), None, vectors, momentum, norm)
    }

    fn batch_norm_residual(
        x: FlexTensor,
        residual: FlexTensor,
        vectors: NormVectors<Flex>,
        momentum: f64,
        norm: Norm,
        _fork: Option<Fork>,
    ) -> BatchNormed<Flex> {
        batch_norm(&ImageTensor::new(x), Some(&ImageTensor::new(residual)), vectors, momentum, norm)
    }

    fn max_pool(x: FlexTensor, pool: Pool) -> (FlexTensor, FlexTensor) {
        let x = ImageTensor::new(x);
        let shape = pool.shape(x.dims());
        let dims = [shape.batch, shape.channels, shape.out_height(), shape.out_width()];
        let mut y = Buffer::take(dims.iter().product());
        let mut chosen = vec![0; y.len()];
        kernels::max_pool(&shape, x.values(), &mut y, &mut chosen);
        (ImageTensor::from_buffer(y, dims).tensor(), Bytes::from_vec(chosen, dims).tensor())
    }

    fn average_pool(x: FlexTensor) -> FlexTensor {
        let x = ImageTensor::new(x);
        let [batch, channels, height, width] = x.dims();
        let mut y = Buffer::take(batch * channels);
        kernels::average_pool(x.values(), height * width, channels, &mut y);
        Dense::from_buffer(y, [batch, channels]).tensor()
    }
}

impl ResidualGradients for Flex {
    fn conv2d_input_gradient(
        dy: FlexTensor,
        weight: FlexTensor,
        _packed: Tensors<Flex>,
        size: [usize; 2],
        window: Window,
        _precision: Precision,
    ) -> FlexTensor {
        conv_input_gradient(dy, weight, size, None, window)
    }

    fn conv2d_input_gradient_and(
        dy: FlexTensor,
        weight: FlexTensor,
        _packed: Tensors<Flex>,
        around: FlexTensor,
        window: Window,
        _precision: Precision,
    ) -> FlexTensor {
        let around = ImageTensor::new(around);
        let [_, _, height, width] = around.dims();
        conv_input_gradient(dy, weight, [height, width], Some(around), window)
    }

    fn conv2d_weight_gradient(
        x: FlexTensor,
        dy: FlexTensor,
        window: Window,
        _precision: Precision,
    ) -> FlexTensor {
        let (x, dy) = (ImageTensor::new(x), ImageTensor::new(dy));
        let shape = window.conv(x.dims(), dy.dims()[1]);
        let mut dw = Buffer::take(shape.weight_len());
        kernels::conv_weight_gradient(&shape, x.values(), dy.values(), &mut dw);
        Dense::from_buffer(dw, shape.weight_dims()).tensor()
    }

    fn batch_norm_gradient(
        x: FlexTensor,
        dy: FlexTensor,
        vectors: NormVectors<Flex>,
        norm: Norm,
    ) -> (FlexTensor, FlexTensor, FlexTensor) {
        let (x, mut gradient) = (ImageTensor::new(x), ImageTensor::new(dy));
        let vectors = Vectors::new(vectors);
        let BatchNormGradients { weight, bias } = vectors.normalisation(norm.epsilon).backward(
            x.values(),
            norm.statistics,
            norm.activation,
            gradient.values_mut(),
        );
        (gradient.tensor(), Dense::from_vec(weight).tensor(), Dense::from_vec(bias).tensor())
    }

    fn batch_norm_residual_gradient(
        x: FlexTensor,
        dy: FlexTensor,
        y: FlexTensor,
        vectors: NormVectors<Flex>,
        norm: Norm,
    ) -> (FlexTensor, FlexTensor, FlexTensor, FlexTensor) {
        let (x, y, mut gradient) = (ImageTensor::new(x), ImageTensor::new(y), ImageTensor::new(dy));
        let vectors = Vectors::new(vectors);
        let mut dx = Buffer::take(x.values().len());
        let normalisation = vectors.normalisation(norm.epsilon);
        let Norm { statistics, activation, .. } = norm;
        let BatchNormGradients { weight, bias } = normalisation.backward_residual(
            x.values(),
            statistics,
            y.values(),
            activation,
            gradient.values_mut(),
            &mut dx,
        );
        let dx = ImageTensor::from_buffer(dx, x.dims());
        (
            dx.tensor(),
            Dense::from_vec(weight).tensor(),
            Dense::from_vec(bias).tensor(),
            gradient.tensor(),
        )
    }

    fn max_pool_gradient(
        dy: FlexTensor,
        chosen: FlexTensor,
        [height, width]: [usize; 2],
        pool: Pool,
    ) -> FlexTensor {
        let (dy, chosen) = (ImageTensor::new(dy), Bytes::new(chosen));
        let [batch, channels, _, _] = dy.dims();
        let dims = [batch, channels, height, width];
        let mut dx = Buffer::take(dims.iter().product());
        kernels::max_pool_gradient(&pool.shape(dims), dy.values(), chosen.values(), &mut dx);
        ImageTensor::from_buffer(dx, dims).tensor()
    }

    fn average_pool_gradient(
        dy: FlexTensor,
        [height, width]: [usize; 2],
        _dtype: DType,
    ) -> FlexTensor {
        let dy = Dense::new(dy);
        let (batch, channels) = (dy.shape()[0], dy.shape()[1]);
        let dims = [batch, channels, height, width];
        let mut dx = Buffer::take(dims.iter().product());
        kernels::average_pool_gradient(dy.values(), height * width, channels, &mut dx);
        ImageTensor::from_buffer(dx, dims).tensor()
    }
}

impl PlainOps for Flex {
    fn folded_conv2d(
        x: FlexTensor,
        conv: FlexTensor,
        vectors: NormVectors<Flex>,
        folded: Folded,
    ) -> FlexTensor {
        folded_conv2d(x, conv, vectors, None, folded)
    }

    fn folded_conv2d_residual(
        x: FlexTensor,
        conv: FlexTensor,
        vectors: NormVectors<Flex>,
        residual: FlexTensor,
        folded: Folded,
    ) -> FlexTensor {
        folded_conv2d(x, conv, vectors, Some(ImageTensor::new(residual)), folded)
    }

    fn sgd(
        weights: Tensors<Flex>,
        gradients: Tensors<Flex>,
        velocities: Tensors<Flex>,
        rates: Rates,
    ) -> (Tensors<Flex>, Tensors<Flex>) {
        let parameters = weights.0.into_iter().zip(gradients.0).zip(velocities.0);
        let moved = parameters.map(|((weight, gradient), velocity)| {
            let (mut weight, gradient, mut velocity) =
                (Dense::new(weight), Dense::new(gradient), Dense::new(velocity));
            step(rates).apply(weight.values_mut(), velocity.values_mut(), gradient.values());
            (weight.tensor(), velocity.tensor())
        });
        let (weights, velocities) = moved.unzip();
        (Tensors(weights), Tensors(velocities))
    }
}

fn step(rates: Rates) -> SgdStep {
    SgdStep {
        learning_rate: rates.learning_rate as f32,
        momentum: rates.momentum as f32,
        weight_decay: rates.weight_decay as f32,
    }
}

fn conv_shape(x: &ImageTensor, weight: &Dense, window: Window) -> ConvShape {
    let shape = window.conv(x.dims(), weight.shape()[0]);
    assert_eq!(
        weight.shape(),
        Shape::from(shape.weight_dims()),
        "the weight does not fit {} channels",
        shape.input
    );
    shape
}

fn convolve(
    shape: &ConvShape,
    x: &ImageTensor,
    weight: &[f32],
    added: Option<ImageTensor>,
    epilogue: Epilogue<'_>,
) -> ImageTensor {
    let dims = [shape.batch, shape.output, shape.out_height(), shape.out_width()];
    finish(shape, dims, added, epilogue, |epilogue, y| {
        kernels::conv_forward(shape, x.values(), weight, epilogue, y)
    })
}

fn conv_input_gradient(
    dy: FlexTensor,
    weight: FlexTensor,
    size: [usize; 2],
    around: Option<ImageTensor>,
    window: Window,
) -> FlexTensor {
    let (dy, weight) = (ImageTensor::new(dy), Dense::new(weight));
    let [batch, output, _, _] = dy.dims();
    let dims = [batch, weight.shape()[1] * window.groups, size[0], size[1]];
    let shape = window.conv(dims, output);
    let gradient = |epilogue: Epilogue<'_>, dx: &mut [f32]| {
        kernels::conv_input_gradient(&shape, dy.values(), weight.values(), epilogue, dx);
    };
    finish(&shape, dims, around, Epilogue::default(), gradient).tensor()
}

fn folded_conv2d(
    x: FlexTensor,
    conv: FlexTensor,
    vectors: NormVectors<Flex>,
    residual: Option<ImageTensor>,
    folded: Folded,
) -> FlexTensor {
    let (x, conv) = (ImageTensor::new(x), Dense::new(conv));
    let shape = conv_shape(&x, &conv, folded.window);
    let (weight, bias) =
        kernels::fold(conv.values(), &Vectors::new(vectors).normalisation(folded.epsilon));
    convolve(
        &shape,
        &x,
        &weight,
        residual,
        Epilogue { bias: Some(&bias), activation: folded.activation, ..Epilogue::default() },
    )
    .tensor()
}

/// What `compute` makes, of these dimensions, with `added` in it: in the memory of `added`, where
/// that is not shared and the kernel can add.
fn finish(
    shape: &ConvShape,
    dims: [usize; 4],
    added: Option<ImageTensor>,
    epilogue: Epilogue<'_>,
    compute: impl FnOnce(Epilogue<'_>, &mut [f32]),
) -> ImageTensor {
    assert!(
        added.as_ref().is_none_or(|added| added.dims() == dims),
        "what is added must have the shape of what it is added to"
    );
    match added {
        Some(mut images) if images.is_own() && shape.adds(InstructionSet::best()) => {
            compute(Epilogue { adds: true, ..epilogue }, images.values_mut());
            images
        }
        added => {
            let mut y = Buffer::take(dims.iter().product());
            compute(
                Epilogue { residual: added.as_ref().map(ImageTensor::values), ..epilogue },
                &mut y,
            );
            ImageTensor::from_buffer(y, dims)
        }
    }
}

/// The vectors of batch norm.
struct Vectors {
    weight: Dense,
    bias: Dense,
    mean: Dense,
    variance: Dense,
}

impl Vectors {
    fn new(vectors: NormVectors<Flex>) -> Self {
        let NormVectors { weight, bias, mean, variance } = vectors;
        let [weight, bias, mean, variance] = [weight, bias, mean, variance].map(Dense::new);
        Self { weight, bias, mean, variance }
    }

    fn normalisation(&self, epsilon: f64) -> Normalisation<'_> {
        Normalisation {
            mean: self.mean.values(),
            variance: self.variance.values(),
            weight: self.weight.values(),
            bias: self.bias.values(),
            epsilon,
        }
    }
}

fn batch_norm(
    x: &ImageTensor,
    residual: Option<&ImageTensor>,
    vectors: NormVectors<Flex>,
    momentum: f64,
    norm: Norm,
) -> BatchNormed<Flex> {
    let dims = x.dims();
    assert!(
        residual.is_none_or(|residual| residual.dims() == dims),
        "a residual must have the shape of what it is added to"
    );
    let given = Vectors::new(vectors);
    let mut y = Buffer::take(x.values().len());
    let (of, next_mean, next_variance) = match norm.statistics {
        StatisticsOf::Batch => {
            let Statistics { mean, variance } = Statistics::of(x.values(), dims[1]);
            let (mean, variance) = (Dense::from_vec(mean), Dense::from_vec(variance));
            let next_mean = follow(&given.mean, &mean, momentum, 1.0);
            let next_variance = follow(&given.variance, &variance, momentum, unbiased(dims));
            (Vectors { mean, variance, ..given }, next_mean, next_variance)
        }
        StatisticsOf::Past => {
            let (mean, variance) = (given.mean.clone().tensor(), given.variance.clone().tensor());
            (given, mean, variance)
        }
    };
    of.normalisation(norm.epsilon).forward(
        x.values(),
        residual.map(ImageTensor::values),
        norm.activation,
        &mut y,
    );
    let output = ImageTensor::from_buffer(y, dims).tensor();
    BatchNormed {
        output,
        mean: of.mean.tensor(),
        variance: of.variance.tensor(),
        next_mean,
        next_variance,
    }
}

/// Running statistics a share of the way to the batch's, which are taken times `factor`.
fn follow(running: &Dense, batch: &Dense, momentum: f64, factor: f64) -> FlexTensor {
    let (stay, follow) = ((1.0 - momentum) as f32, (momentum * factor) as f32);
    let pairs = running.values().iter().zip(batch.values());
    Dense::from_vec(pairs.map(|(running, batch)| running * stay + batch * follow).collect())
        .tensor()
}
