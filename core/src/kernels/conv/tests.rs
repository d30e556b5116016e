//! Convolutions against sums written out in double precision, on every instruction set of this machine.

use super::*;

/// Calls `visit` with the places in x, w and y of every product of a convolution.
fn every_product(shape: &ConvShape, mut visit: impl FnMut(usize, usize, usize)) {
    let &ConvShape { batch, height, width, input, output, kernel, stride, padding } = shape;
    let (out_height, out_width) = (shape.out_height(), shape.out_width());
    for pixel in 0..batch * out_height * out_width {
        let (image, row, column) = (pixel / out_width / out_height, pixel / out_width % out_height, pixel % out_width);
        for tap in 0..kernel * kernel {
            let (y, x) = (row * stride + tap / kernel, column * stride + tap % kernel);
            if y < padding || x < padding || y - padding >= height || x - padding >= width {
                continue;
            }
            let from = ((image * height + y - padding) * width + x - padding) * input;
            for i in 0..input {
                for o in 0..output {
                    visit(from + i, (o * input + i) * kernel * kernel + tap, pixel * output + o);
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

    fn shape(&mut self) -> ConvShape {
        const CHANNELS: [usize; 9] = [1, 3, 16, 17, 32, 48, 64, 65, 80];
        let kernel = [1, 3, 3, 7][self.below(4)];
        let padding = if self.below(5) == 0 { 0 } else { kernel / 2 };
        let least = kernel - (2 * padding).min(kernel - 1);
        ConvShape {
            batch: 1 + self.below(5),
            height: least + self.below(20),
            width: least + self.below(20),
            input: CHANNELS[self.below(9)],
            output: CHANNELS[self.below(9)],
            kernel,
            stride: 1 + self.below(2),
            padding,
        }
    }
}

/// The largest difference over the largest value.
fn error(found: &[f32], right: &[f64]) -> f64 {
    let largest = right.iter().fold(1e-30, |most: f64, value| most.max(value.abs()));
    let apart = |(a, b): (&f32, &f64)| if a.is_finite() { (f64::from(*a) - b).abs() } else { f64::INFINITY };
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
    let mut all = All { y: garbage(shape.output_len()), dx: garbage(shape.input_len()), dw: garbage(shape.weight_len()) };
    conv_forward_on(set, shape, x, w, Epilogue::default(), &mut all.y);
    conv_input_gradient_on(set, shape, dy, w, Epilogue::default(), &mut all.dx);
    conv_weight_gradient_on(set, shape, x, dy, &mut all.dw);
    all
}

#[test]
fn values_and_gradients_are_the_sums_on_every_instruction_set() {
    let mut numbers = Numbers(20_260_801);
    let rounds = if cfg!(miri) { 2 } else { 60 };
    for _ in 0..rounds {
        let shape = numbers.shape();
        let (x, w) = (numbers.floats(shape.input_len()), numbers.floats(shape.weight_len()));
        let dy = numbers.floats(shape.output_len());
        let right = [forward(&shape, &x, &w), input_gradient(&shape, &dy, &w), weight_gradient(&shape, &x, &dy)];
        for set in InstructionSet::available() {
            let found = all(set, &shape, &x, &w, &dy);
            // Winograd's transforms lose a digit.
            let allowed = if winograd::fits(set, &shape) { 2e-5 } else { 3e-6 };
            for (name, found, right) in [("y", &found.y, &right[0]), ("dx", &found.dx, &right[1]), ("dw", &found.dw, &right[2])] {
                let error = error(found, right);
                assert!(error < allowed, "{name} of {shape:?} on {set:?}: {error:e}");
            }
        }
    }
}

#[test]
fn transformed_tiles_may_reach_beyond_the_image() {
    let mut numbers = Numbers(7);
    for (batch, height, width) in [(32, 4, 4), (40, 1, 1), (32, 1, 5), (2, 17, 18), (3, 19, 14), (1, 32, 32)] {
        let shape = ConvShape { batch, height, width, input: 16, output: 32, kernel: 3, stride: 1, padding: 1 };
        let (x, w) = (numbers.floats(shape.input_len()), numbers.floats(shape.weight_len()));
        let dy = numbers.floats(shape.output_len());
        let right = [forward(&shape, &x, &w), input_gradient(&shape, &dy, &w), weight_gradient(&shape, &x, &dy)];
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

/// What is no number, or infinite, must be so exactly where the sums are.
#[test]
fn nan_and_infinity_go_where_the_sums_take_them() {
    let kind = |value: f64| if value.is_nan() { Some(0) } else { value.is_infinite().then(|| 1 + i32::from(value > 0.0)) };
    let mut numbers = Numbers(99);
    for shape in [
        ConvShape { batch: 3, height: 16, width: 12, input: 16, output: 16, kernel: 3, stride: 1, padding: 1 },
        ConvShape { batch: 2, height: 9, width: 8, input: 5, output: 20, kernel: 3, stride: 2, padding: 1 },
        ConvShape { batch: 2, height: 6, width: 6, input: 16, output: 32, kernel: 1, stride: 2, padding: 0 },
    ] {
        for wrong in [f32::NAN, f32::INFINITY, f32::NEG_INFINITY, f32::MAX] {
            let (mut x, w) = (numbers.floats(shape.input_len()), numbers.floats(shape.weight_len()));
            let mut dy = numbers.floats(shape.output_len());
            let (at_x, at_y) = (numbers.below(x.len()), numbers.below(dy.len()));
            x[at_x] = wrong;
            dy[at_y] = wrong;
            let right = [forward(&shape, &x, &w), input_gradient(&shape, &dy, &w), weight_gradient(&shape, &x, &dy)];
            for set in InstructionSet::available() {
                let found = all(set, &shape, &x, &w, &dy);
                for (found, right) in [&found.y, &found.dx, &found.dw].into_iter().zip(&right) {
                    for (found, right) in found.iter().zip(right) {
                        // In single precision a sum can be too large where in double it is not.
                        let right = f64::from(*right as f32);
                        assert_eq!(kind(f64::from(*found)), kind(right), "{found} for {right}, {shape:?} on {set:?}, {wrong}");
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
        ConvShape { batch: 7, height: 8, width: 8, input: 32, output: 48, kernel: 3, stride: 1, padding: 1 },
        ConvShape { batch: 9, height: 16, width: 16, input: 16, output: 32, kernel: 3, stride: 2, padding: 1 },
        ConvShape { batch: 5, height: 30, width: 30, input: 3, output: 16, kernel: 7, stride: 2, padding: 3 },
    ] {
        let (x, w) = (numbers.floats(shape.input_len()), numbers.floats(shape.weight_len()));
        let dy = numbers.floats(shape.output_len());
        let with = |threads: usize| {
            let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().expect("threads can be started");
            pool.install(|| all(InstructionSet::best(), &shape, &x, &w, &dy))
        };
        let bits = |values: &[f32]| values.iter().map(|value| value.to_bits()).collect::<Vec<_>>();
        let one = with(1);
        for threads in [2, 3, 8] {
            let more = with(threads);
            for (one, more) in [(&one.y, &more.y), (&one.dx, &more.dx), (&one.dw, &more.dw)] {
                assert!(bits(one) == bits(more), "{shape:?} with {threads} threads");
            }
        }
    }
}

#[test]
fn an_epilogue_is_what_would_be_done_afterwards() {
    let mut numbers = Numbers(11);
    for shape in [
        ConvShape { batch: 4, height: 12, width: 12, input: 16, output: 16, kernel: 3, stride: 1, padding: 1 },
        ConvShape { batch: 2, height: 7, width: 9, input: 3, output: 19, kernel: 3, stride: 2, padding: 1 },
        ConvShape { batch: 2, height: 5, width: 5, input: 1200, output: 8, kernel: 1, stride: 1, padding: 0 },
    ] {
        let (x, w) = (numbers.floats(shape.input_len()), numbers.floats(shape.weight_len()));
        let (bias, residual) = (numbers.floats(shape.output), numbers.floats(shape.output_len()));
        let plain = forward(&shape, &x, &w);
        for (bias, residual, relu) in
            [(None, None, true), (Some(&bias), None, false), (Some(&bias), Some(&residual), true), (None, Some(&residual), false)]
        {
            let right: Vec<f64> = plain
                .iter()
                .enumerate()
                .map(|(at, value)| {
                    value + bias.map_or(0.0, |b| f64::from(b[at % shape.output])) + residual.map_or(0.0, |r| f64::from(r[at]))
                })
                .map(|value| if relu { value.max(0.0) } else { value })
                .collect();
            for set in InstructionSet::available() {
                let mut y = garbage(shape.output_len());
                let epilogue = Epilogue { bias: bias.map(Vec::as_slice), residual: residual.map(Vec::as_slice), relu };
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
    let shape = ConvShape { batch: 1, height: 4, width: 4, input: 2, output: 2, kernel: 3, stride: 1, padding: 1 };
    conv_forward(&shape, &[0.0; 31], &[0.0; 36], Epilogue::default(), &mut [0.0; 32]);
}
