//! Convolutions against sums written out in double precision, on every instruction set of this
//! machine.

use super::super::buffer::Buffer;
use super::*;
use crate::kernels::Activation;

/// As TensorFlow's SAME of an even side with stride 2.
const UNEVEN: Zeros = Zeros { rows: (0, 1), columns: (0, 1) };

/// Calls `visit` with the places in x, w and y of every product of a convolution.
fn every_product(shape: &ConvShape, mut visit: impl FnMut(usize, usize, usize)) {
    let &ConvShape { batch, height, width, input, output, kernel, stride, padding, groups } = shape;
    let (top, left) = (padding.rows.0, padding.columns.0);
    let (out_height, out_width) = (shape.out_height(), shape.out_width());
    for pixel in 0..batch * out_height * out_width {
        let (image, row, column) =
            (pixel / out_width / out_height, pixel / out_width % out_height, pixel % out_width);
        for tap in 0..kernel * kernel {
            let (y, x) = (row * stride + tap / kernel, column * stride + tap % kernel);
            if y < top || x < left || y - top >= height || x - left >= width {
                continue;
            }
            let from = ((image * height + y - top) * width + x - left) * input;
            let (inputs, outputs) = (input / groups, output / groups);
            for o in 0..output {
                for i in 0..inputs {
                    visit(
                        from + o / outputs * inputs + i,
                        (o * inputs + i) * kernel * kernel + tap,
                        pixel * output + o,
                    );
                }
            }
        }
    }
}

fn forward(shape: &ConvShape, x: &[f32], w: &[f32]) -> Vec<f64> {
    let mut y = vec![0.0; shape.output_len()];
    every_product(shape, |at_x, at_w, at_y| y[at_y] += f64::from(x[at_x]) * f64::from(w[at_w]));
    y
}

fn input_gradient(shape: &ConvShape, dy: &[f32], w: &[f32]) -> Vec<f64> {
    let mut dx = vec![0.0; shape.input_len()];
    every_product(shape, |at_x, at_w, at_y| dx[at_x] += f64::from(dy[at_y]) * f64::from(w[at_w]));
    dx
}

fn weight_gradient(shape: &ConvShape, x: &[f32], dy: &[f32]) -> Vec<f64> {
    let mut dw = vec![0.0; shape.weight_len()];
    every_product(shape, |at_x, at_w, at_y| dw[at_w] += f64::from(x[at_x]) * f64::from(dy[at_y]));
    dw
}

/// Numbers in −1..1 from a seed.
struct Numbers(u32);

impl Numbers {
    fn next(&mut self) -> u32 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 17;
        self.0 ^= self.0 << 5;
        self.0 >> 8
    }

    fn below(&mut self, end: usize) -> usize {
        self.next() as usize % end
    }

    fn floats(&mut self, count: usize) -> Vec<f32> {
        (0..count).map(|_| self.next() as f32 / (1 << 23) as f32 - 1.0).collect()
    }

    /// Of any sort: with all channels in one group, in a few, or each by itself.
    fn shape(&mut self) -> ConvShape {
        const CHANNELS: [usize; 9] = [1, 3, 16, 17, 32, 48, 64, 65, 80];
        let kernel = [1usize, 3, 3, 5, 7][self.below(5)];
        let zeros = |numbers: &mut Self| match numbers.below(4) {
            0 => (0, 0),
            1 => (kernel.saturating_sub(2) / 2, kernel / 2),
            _ => (kernel / 2, kernel / 2),
        };
        let padding = Zeros { rows: zeros(self), columns: zeros(self) };
        let least = |(before, after): (usize, usize)| kernel - (before + after).min(kernel - 1);
        let (input, output, groups) = match self.below(3) {
            0 => (CHANNELS[self.below(9)], CHANNELS[self.below(9)], 1),
            1 => {
                let [inputs, outputs] = [0, 1].map(|_| [1, 3, 4, 8, 16, 32][self.below(6)]);
                let groups = [2, 3, 4, 32][self.below(4)].min(128 / inputs.max(outputs));
                (inputs * groups, outputs * groups, groups)
            }
            _ => {
                let channels = CHANNELS[self.below(9)];
                (channels, channels, channels)
            }
        };
        ConvShape {
            batch: 1 + self.below(5),
            height: least(padding.rows) + self.below(20),
            width: least(padding.columns) + self.below(20),
            input,
            output,
            kernel,
            stride: [1, 1, 2, 2, 3][self.below(5)],
            padding,
            groups,
        }
    }
}

/// The largest difference over the largest value.
fn error(found: &[f32], right: &[f64]) -> f64 {
    let largest = right.iter().fold(1e-30, |most: f64, value| most.max(value.abs()));
    let apart = |(a, b): (&f32, &f64)| {
        if a.is_finite() { (f64::from(*a) - b).abs() } else { f64::INFINITY }
    };
    found.iter().zip(right).map(apart).fold(0.0, f64::max) / largest
}

/// Garbage, as a reused buffer holds.
fn garbage(len: usize) -> Vec<f32> {
    vec![f32::NAN; len]
}

struct All {
    y: Vec<f32>,
    dx: Vec<f32>,
    dw: Vec<f32>,
}

fn all(set: InstructionSet, shape: &ConvShape, x: &[f32], w: &[f32], dy: &[f32]) -> All {
    let mut all = All {
        y: garbage(shape.output_len()),
        dx: garbage(shape.input_len()),
        dw: garbage(shape.weight_len()),
    };
    conv_forward_on(set, shape, x, w, Epilogue::default(), &mut all.y);
    conv_input_gradient_on(set, shape, dy, w, Epilogue::default(), &mut all.dx);
    conv_weight_gradient_on(set, shape, x, dy, &mut all.dw);
    all
}

/// The shapes that whole vectors of narrow groups are made for.
#[test]
fn narrow_groups_are_the_sums_on_every_instruction_set() {
    let mut numbers = Numbers(7);
    let mut seen = 0;
    for (channels, group, height, width) in [
        (32, 4, 9, 13),
        (64, 8, 5, 8),
        (128, 4, 1, 1),
        (16, 8, 3, 2),
        (96, 8, 17, 30),
        (48, 4, 2, 9),
    ] {
        let padding = Zeros::around(1);
        let shape = ConvShape {
            batch: 3,
            height,
            width,
            input: channels,
            output: channels,
            kernel: 3,
            stride: 1,
            padding,
            groups: channels / group,
        };
        let (x, w, dy) = (
            numbers.floats(shape.input_len()),
            numbers.floats(shape.weight_len()),
            numbers.floats(shape.output_len()),
        );
        for set in InstructionSet::available() {
            seen += usize::from(grouped::fits_forward(set, &shape));
            let All { y, dx, dw } = all(set, &shape, &x, &w, &dy);
            for (what, found, right) in [
                ("y", y, forward(&shape, &x, &w)),
                ("dx", dx, input_gradient(&shape, &dy, &w)),
                ("dw", dw, weight_gradient(&shape, &x, &dy)),
            ] {
                let apart = error(&found, &right);
                assert!(apart < 5e-6, "{what} of {shape:?} with {set:?}: {apart:e}");
            }
        }
    }
    assert!(seen > 0);
}

/// With bias and residual, in the memory of the residual where that is possible, for batches of
/// several sizes by the same packed weight.
#[test]
fn packed_convolutions_do_what_others_do() {
    let mut numbers = Numbers(11);
    for (input, output, groups, kernel, stride) in [
        (16, 32, 1, 1, 1),
        (48, 48, 1, 3, 1),
        (64, 64, 16, 3, 1),
        (20, 35, 1, 3, 2),
        (3, 64, 1, 7, 2),
        (64, 128, 1, 1, 2),
        (32, 64, 32, 3, 2),
    ] {
        for set in InstructionSet::available() {
            let conv = FoldedConv {
                weight: numbers.floats(output * input / groups * kernel * kernel),
                bias: numbers.floats(output),
            };
            let packed = PackedConv::new(set, conv.clone(), [input, groups], [kernel, stride]);
            for (batch, height, width) in [(1, 7, 9), (9, 12, 8)] {
                let shape = ConvShape {
                    batch,
                    height,
                    width,
                    input,
                    output,
                    kernel,
                    stride,
                    padding: Zeros::around(kernel / 2),
                    groups,
                };
                let (x, residual) =
                    (numbers.floats(shape.input_len()), numbers.floats(shape.output_len()));
                let mut right = forward(&shape, &x, &conv.weight);
                for (index, value) in right.iter_mut().enumerate() {
                    *value = (*value
                        + f64::from(conv.bias[index % output])
                        + f64::from(residual[index]))
                    .max(0.0);
                }
                assert_eq!(
                    packed.out_size([height, width]),
                    [shape.out_height(), shape.out_width()]
                );
                let y = packed.forward(
                    &x,
                    [height, width],
                    Some(Buffer::copy_of(&residual)),
                    Activation::Relu,
                );
                let apart = error(&y, &right);
                assert!(apart < 2e-5, "{shape:?} with {set:?}: {apart:e}");
            }
        }
    }
}

/// A gradient that another is added to where that lies.
#[test]
fn outputs_are_added_to_where_they_lie() {
    let mut numbers = Numbers(13);
    for (input, output, kernel, stride) in [(64, 48, 1, 1), (20, 32, 3, 2), (16, 80, 1, 2)] {
        let padding = Zeros::around(kernel / 2);
        let shape = ConvShape {
            batch: 4,
            height: 9,
            width: 10,
            input,
            output,
            kernel,
            stride,
            padding,
            groups: 1,
        };
        let (w, dy, around) = (
            numbers.floats(shape.weight_len()),
            numbers.floats(shape.output_len()),
            numbers.floats(shape.input_len()),
        );
        let mut right = input_gradient(&shape, &dy, &w);
        right.iter_mut().zip(&around).for_each(|(value, around)| *value += f64::from(*around));
        for set in InstructionSet::available() {
            assert!(shape.adds(set));
            let mut dx = around.clone();
            conv_input_gradient_on(
                set,
                &shape,
                &dy,
                &w,
                Epilogue { adds: true, ..Epilogue::default() },
                &mut dx,
            );
            assert!(error(&dx, &right) < 3e-6, "{shape:?} with {set:?}");
        }
    }
}

#[test]
fn values_and_gradients_are_the_sums_on_every_instruction_set() {
    let mut numbers = Numbers(20_260_801);
    let rounds = if cfg!(miri) { 2 } else { 240 };
    for _ in 0..rounds {
        let shape = numbers.shape();
        let (x, w) = (numbers.floats(shape.input_len()), numbers.floats(shape.weight_len()));
        let dy = numbers.floats(shape.output_len());
        let right = [
            forward(&shape, &x, &w),
            input_gradient(&shape, &dy, &w),
            weight_gradient(&shape, &x, &dy),
        ];
        for set in InstructionSet::available() {
            let found = all(set, &shape, &x, &w, &dy);
            // Winograd's transforms lose a digit.
            let allowed = if winograd::fits(set, &shape) { 2e-5 } else { 3e-6 };
            for (name, found, right) in [
                ("y", &found.y, &right[0]),
                ("dx", &found.dx, &right[1]),
                ("dw", &found.dw, &right[2]),
            ] {
                let error = error(found, right);
                assert!(error < allowed, "{name} of {shape:?} on {set:?}: {error:e}");
            }
        }
    }
}

#[test]
fn transformed_tiles_may_reach_beyond_the_image() {
    let mut numbers = Numbers(7);
    for (batch, height, width) in
        [(32, 4, 4), (40, 1, 1), (32, 1, 5), (2, 17, 18), (3, 19, 14), (1, 32, 32)]
    {
        let shape = ConvShape {
            batch,
            height,
            width,
            input: 16,
            output: 32,
            kernel: 3,
            stride: 1,
            padding: Zeros::around(1),
            groups: 1,
        };
        let (x, w) = (numbers.floats(shape.input_len()), numbers.floats(shape.weight_len()));
        let dy = numbers.floats(shape.output_len());
        let right = [
            forward(&shape, &x, &w),
            input_gradient(&shape, &dy, &w),
            weight_gradient(&shape, &x, &dy),
        ];
        for set in InstructionSet::available() {
            assert!(winograd::fits(set, &shape), "{set:?}");
            let found = all(set, &shape, &x, &w, &dy);
            for (found, right) in [&found.y, &found.dx, &found.dw].into_iter().zip(&right) {
                let error = error(found, right);
                assert!(error < 2e-5, "{shape:?} on {set:?}: {error:e}");
            }
        }
    }
}

/// What is no number, or infinite, must be so exactly where the sums are. Groups that share a
/// vector share what is no number as well.
#[test]
fn nan_and_infinity_go_where_the_sums_take_them() {
    let kind = |value: f64| {
        if value.is_nan() {
            Some(0)
        } else {
            value.is_infinite().then(|| 1 + i32::from(value > 0.0))
        }
    };
    let mut numbers = Numbers(99);
    for shape in [
        ConvShape {
            batch: 3,
            height: 16,
            width: 12,
            input: 16,
            output: 16,
            kernel: 3,
            stride: 1,
            padding: Zeros::around(1),
            groups: 1,
        },
        ConvShape {
            batch: 2,
            height: 9,
            width: 8,
            input: 5,
            output: 20,
            kernel: 3,
            stride: 2,
            padding: Zeros::around(1),
            groups: 1,
        },
        ConvShape {
            batch: 2,
            height: 6,
            width: 6,
            input: 16,
            output: 32,
            kernel: 1,
            stride: 2,
            padding: Zeros::around(0),
            groups: 1,
        },
        ConvShape {
            batch: 2,
            height: 11,
            width: 9,
            input: 64,
            output: 64,
            kernel: 3,
            stride: 1,
            padding: Zeros::around(1),
            groups: 4,
        },
        ConvShape {
            batch: 2,
            height: 11,
            width: 9,
            input: 19,
            output: 19,
            kernel: 5,
            stride: 1,
            padding: Zeros::around(2),
            groups: 19,
        },
        ConvShape {
            batch: 2,
            height: 11,
            width: 9,
            input: 16,
            output: 16,
            kernel: 3,
            stride: 2,
            padding: UNEVEN,
            groups: 16,
        },
    ] {
        for wrong in [f32::NAN, f32::INFINITY, f32::NEG_INFINITY, f32::MAX] {
            let (mut x, w) =
                (numbers.floats(shape.input_len()), numbers.floats(shape.weight_len()));
            let mut dy = numbers.floats(shape.output_len());
            let (at_x, at_y) = (numbers.below(x.len()), numbers.below(dy.len()));
            x[at_x] = wrong;
            dy[at_y] = wrong;
            let right = [
                forward(&shape, &x, &w),
                input_gradient(&shape, &dy, &w),
                weight_gradient(&shape, &x, &dy),
            ];
            for set in InstructionSet::available() {
                let found = all(set, &shape, &x, &w, &dy);
                for (found, right) in [&found.y, &found.dx, &found.dw].into_iter().zip(&right) {
                    for (found, right) in found.iter().zip(right) {
                        // In single precision a sum can be too large where in double it is not.
                        let right = f64::from(*right as f32);
                        assert_eq!(
                            kind(f64::from(*found)),
                            kind(right),
                            "{found} for {right}, {shape:?} on {set:?}, {wrong}"
                        );
                    }
                }
            }
        }
    }
}

#[test]
fn the_number_of_threads_changes_no_bit() {
    let mut numbers = Numbers(5);
    for shape in [
        ConvShape {
            batch: 7,
            height: 8,
            width: 8,
            input: 32,
            output: 48,
            kernel: 3,
            stride: 1,
            padding: Zeros::around(1),
            groups: 1,
        },
        ConvShape {
            batch: 9,
            height: 16,
            width: 16,
            input: 16,
            output: 32,
            kernel: 3,
            stride: 2,
            padding: Zeros::around(1),
            groups: 1,
        },
        ConvShape {
            batch: 5,
            height: 30,
            width: 30,
            input: 3,
            output: 16,
            kernel: 7,
            stride: 2,
            padding: Zeros::around(3),
            groups: 1,
        },
        ConvShape {
            batch: 7,
            height: 8,
            width: 8,
            input: 128,
            output: 128,
            kernel: 3,
            stride: 1,
            padding: Zeros::around(1),
            groups: 32,
        },
        ConvShape {
            batch: 7,
            height: 9,
            width: 8,
            input: 64,
            output: 64,
            kernel: 3,
            stride: 2,
            padding: Zeros::around(1),
            groups: 8,
        },
        ConvShape {
            batch: 7,
            height: 20,
            width: 21,
            input: 37,
            output: 37,
            kernel: 5,
            stride: 1,
            padding: Zeros::around(2),
            groups: 37,
        },
        ConvShape {
            batch: 3,
            height: 41,
            width: 40,
            input: 32,
            output: 32,
            kernel: 3,
            stride: 2,
            padding: UNEVEN,
            groups: 32,
        },
    ] {
        let (x, w) = (numbers.floats(shape.input_len()), numbers.floats(shape.weight_len()));
        let dy = numbers.floats(shape.output_len());
        let (bias, residual) = (numbers.floats(shape.output), numbers.floats(shape.output_len()));
        let epilogue = Epilogue {
            bias: Some(&bias),
            residual: Some(&residual),
            adds: false,
            activation: Activation::Relu6,
        };
        let with = |threads: usize| {
            let pool = rayon::ThreadPoolBuilder::new()
                .num_threads(threads)
                .build()
                .expect("threads can be started");
            let mut finished = garbage(shape.output_len());
            let all = pool.install(|| {
                conv_forward_on(InstructionSet::best(), &shape, &x, &w, epilogue, &mut finished);
                all(InstructionSet::best(), &shape, &x, &w, &dy)
            });
            (all, finished)
        };
        let bits = |values: &[f32]| values.iter().map(|value| value.to_bits()).collect::<Vec<_>>();
        let (one, one_finished) = with(1);
        for threads in [2, 3, 8] {
            let (more, finished) = with(threads);
            for (one, more) in [
                (&one.y, &more.y),
                (&one.dx, &more.dx),
                (&one.dw, &more.dw),
                (&one_finished, &finished),
            ] {
                assert!(bits(one) == bits(more), "{shape:?} with {threads} threads");
            }
        }
    }
}

#[test]
fn an_epilogue_is_what_would_be_done_afterwards() {
    let mut numbers = Numbers(11);
    for shape in [
        ConvShape {
            batch: 4,
            height: 12,
            width: 12,
            input: 16,
            output: 16,
            kernel: 3,
            stride: 1,
            padding: Zeros::around(1),
            groups: 1,
        },
        ConvShape {
            batch: 2,
            height: 7,
            width: 9,
            input: 3,
            output: 19,
            kernel: 3,
            stride: 2,
            padding: Zeros::around(1),
            groups: 1,
        },
        ConvShape {
            batch: 2,
            height: 5,
            width: 5,
            input: 1200,
            output: 8,
            kernel: 1,
            stride: 1,
            padding: Zeros::around(0),
            groups: 1,
        },
        ConvShape {
            batch: 2,
            height: 12,
            width: 12,
            input: 32,
            output: 32,
            kernel: 3,
            stride: 1,
            padding: Zeros::around(1),
            groups: 4,
        },
        ConvShape {
            batch: 2,
            height: 12,
            width: 9,
            input: 21,
            output: 21,
            kernel: 3,
            stride: 1,
            padding: Zeros::around(1),
            groups: 21,
        },
    ] {
        let (x, mut w) = (numbers.floats(shape.input_len()), numbers.floats(shape.weight_len()));
        // Some sums pass 6.
        w.iter_mut().for_each(|w| *w *= 2.0);
        let (bias, residual) = (numbers.floats(shape.output), numbers.floats(shape.output_len()));
        let plain = forward(&shape, &x, &w);
        for (bias, residual, activation) in [
            (None, None, Activation::Relu),
            (Some(&bias), None, Activation::None),
            (Some(&bias), Some(&residual), Activation::Relu6),
            (None, Some(&residual), Activation::None),
        ] {
            let right: Vec<f64> = plain
                .iter()
                .enumerate()
                .map(|(at, value)| {
                    value
                        + bias.map_or(0.0, |b| f64::from(b[at % shape.output]))
                        + residual.map_or(0.0, |r| f64::from(r[at]))
                })
                .map(|value| match activation {
                    Activation::None => value,
                    Activation::Relu => value.max(0.0),
                    Activation::Relu6 => value.clamp(0.0, 6.0),
                })
                .collect();
            for set in InstructionSet::available() {
                let mut y = garbage(shape.output_len());
                let epilogue = Epilogue {
                    bias: bias.map(Vec::as_slice),
                    residual: residual.map(Vec::as_slice),
                    adds: false,
                    activation,
                };
                conv_forward_on(set, &shape, &x, &w, epilogue, &mut y);
                let error = error(&y, &right);
                assert!(error < 2e-5, "{shape:?} on {set:?}: {error:e}");
            }
        }
    }
}

#[test]
#[should_panic(expected = "assertion")]
fn lengths_that_do_not_fit_are_refused() {
    let shape = ConvShape {
        batch: 1,
        height: 4,
        width: 4,
        input: 2,
        output: 2,
        kernel: 3,
        stride: 1,
        padding: Zeros::around(1),
        groups: 1,
    };
    conv_forward(&shape, &[0.0; 31], &[0.0; 36], Epilogue::default(), &mut [0.0; 32]);
}
