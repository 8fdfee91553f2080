//! Convolutions with sparse weights beside dense ones, one thread: the input unrolled (im2col), and the `gemm` crate.
//!
//! `cargo bench -p pruning-core --bench convolution -- [--json] [--shapes 64x56x56-3-64,..] [--batches 1,8] [--sparsities 0.9,..]
//! [--rounds N] [--ways]`
//!
//! A shape is `CHANNELSxHEIGHTxWIDTH-KERNEL-OUTPUTS`, with stride 1 and padding that keeps the size. Every round times the dense convolution
//! and the sparse ones, one after the other; a ratio is taken within a round, and the figure is the median over the rounds. The dense one
//! is the fastest of two: weights on the left or on the right of the product. A kernel of 1 x 1 is not unrolled. Time is that of
//! the processor. `--ways` times both ways of a sparse convolution, whichever the plan would choose.

use measure::{Random, median};
use product::{Pattern, in_pool, list, seconds};
use pruning_sparse::{Activation, ConvPlan, ConvShape, Dense, Format, Level, Sparse, Way};
use std::process::ExitCode;

#[path = "support/measure.rs"]
#[allow(dead_code)]
mod measure;
#[path = "support/product.rs"]
#[allow(dead_code)]
mod product;

/// Channels, height, width, kernel, outputs.
#[derive(Clone, Copy, PartialEq)]
struct Layer([usize; 5]);

impl Layer {
    fn read(text: &str) -> Option<Self> {
        let (input, rest) = text.split_once('-')?;
        let (kernel, outputs) = rest.split_once('-')?;
        let mut sizes = input.split('x').map(str::parse);
        let mut size = || sizes.next()?.ok();
        Some(Self([size()?, size()?, size()?, kernel.parse().ok()?, outputs.parse().ok()?]))
    }

    fn name(&self) -> String {
        let [channels, height, width, kernel, outputs] = self.0;
        format!("{channels}x{height}x{width}-{kernel}-{outputs}")
    }
}

struct Options {
    json: bool,
    ways: bool,
    layers: Vec<Layer>,
    batches: Vec<usize>,
    sparsities: Vec<f64>,
    rounds: usize,
}

impl Options {
    fn read() -> Result<Self, String> {
        let layers = [
            [64, 56, 56, 3, 64],
            [128, 28, 28, 3, 128],
            [256, 14, 14, 3, 256],
            [512, 7, 7, 3, 512],
            [256, 56, 56, 1, 64],
        ];
        let mut options = Self {
            json: false,
            ways: false,
            layers: layers.map(Layer).to_vec(),
            batches: vec![1, 8],
            sparsities: vec![0.5, 0.67, 0.8, 0.9, 0.95],
            rounds: 9,
        };
        let mut args = std::env::args().skip(1);
        while let Some(arg) = args.next() {
            let mut value = || args.next().ok_or_else(|| format!("{arg} needs a value"));
            match arg.as_str() {
                "--json" => options.json = true,
                "--ways" => options.ways = true,
                "--bench" => {}
                "--shapes" => options.layers = list(&value()?, Layer::read)?,
                "--batches" => options.batches = list(&value()?, |text| text.parse().ok().filter(|&n| n > 0))?,
                "--sparsities" => {
                    options.sparsities = list(&value()?, |t| t.parse().ok().filter(|s| (0.0..1.0).contains(s)))?;
                }
                "--rounds" => options.rounds = value()?.parse().ok().filter(|&n| n > 0).ok_or("--rounds: above 0")?,
                _ => {
                    return Err(format!(
                        "unknown argument {arg}: use --json, --ways, --shapes, --batches, --sparsities, --rounds"
                    ));
                }
            }
        }
        Ok(options)
    }
}

/// The dense convolution of a batch, sample after sample.
struct Baseline<'a> {
    layer: Layer,
    weights: &'a [f32],
    x: &'a [f32],
    /// `[channels * kernel * kernel, height * width]`.
    unrolled: Vec<f32>,
}

impl Baseline<'_> {
    fn run(&mut self, way: usize, y: &mut [f32]) {
        let [channels, height, width, kernel, outputs] = self.layer.0;
        let (area, fan_in) = (height * width, channels * kernel * kernel);
        for (x, y) in self.x.chunks_exact(channels * area).zip(y.chunks_exact_mut(outputs * area)) {
            let columns = if kernel == 1 {
                x
            } else {
                unroll(x, [height, width], kernel, &mut self.unrolled);
                &self.unrolled
            };
            assert_eq!((columns.len(), self.weights.len()), (fan_in * area, outputs * fan_in));
            let (y, columns, weights, one) =
                (y.as_mut_ptr(), columns.as_ptr(), self.weights.as_ptr(), gemm::Parallelism::None);
            let (n_area, n_fan) = (area as isize, fan_in as isize);
            // SAFETY: the lengths above are those of the strides: `Y = W X`, or `Y^T = X^T W^T`.
            unsafe {
                if way == 0 {
                    gemm::gemm(
                        outputs, area, fan_in, y, 1, n_area, false, weights, 1, n_fan, columns, 1, n_area, 0.0, 1.0,
                        false, false, false, one,
                    );
                } else {
                    gemm::gemm(
                        area, outputs, fan_in, y, n_area, 1, false, columns, n_area, 1, weights, n_fan, 1, 0.0, 1.0,
                        false, false, false, one,
                    );
                }
            }
        }
    }
}

/// A line for each tap, with the zeros of padding.
fn unroll(x: &[f32], [height, width]: [usize; 2], kernel: usize, unrolled: &mut [f32]) {
    let pad = kernel / 2;
    for (channel, lines) in
        x.chunks_exact(height * width).zip(unrolled.chunks_exact_mut(kernel * kernel * height * width))
    {
        for (tap, line) in lines.chunks_exact_mut(height * width).enumerate() {
            let (i, j) = (tap / kernel, tap % kernel);
            for (row, to) in line.chunks_exact_mut(width).enumerate() {
                let Some(row) = (row + i).checked_sub(pad).filter(|&r| r < height) else {
                    to.fill(0.0);
                    continue;
                };
                let from = &channel[row * width..][..width];
                let (before, after) = (pad.saturating_sub(j).min(width), j.saturating_sub(pad).min(width));
                to[..before].fill(0.0);
                to[before..width - after].copy_from_slice(&from[after..width - before]);
                to[width - after..].fill(0.0);
            }
        }
    }
}

/// The ratio and the way of each sparse convolution.
fn cell(options: &Options, layer: Layer, batch: usize, sparsity: f64) -> Vec<f64> {
    let [channels, height, width, kernel, outputs] = layer.0;
    let mut random = Random((channels * 31 + height) as u64 + batch as u64);
    let (area, fan_in) = (height * width, channels * kernel * kernel);
    let weights = product::weights(&mut random, outputs, fan_in, Pattern::Scattered(sparsity));
    let x = random.weights(batch * channels * area, 1.0);
    let dense = Dense::new(outputs, fan_in, weights.clone()).expect("as many as rows times columns");
    let sparse = Sparse::from_dense(&dense, Format::Csr16).expect("a shape that fits");
    let shape = ConvShape::new(channels, [height, width], [kernel; 2]).with_padding([kernel / 2; 2]);
    let ways: &[_] = if options.ways {
        &[("direct", Some(Way::Direct)), ("product", Some(Way::Product))]
    } else {
        &[("best", None)]
    };
    let plan =
        |way| ConvPlan::with_level(&sparse, &shape, batch, Level::available()[0], way).expect("a shape that fits");
    let mut plans: Vec<_> = ways.iter().map(|&(name, way)| (name, plan(way), Vec::new())).collect();

    let unrolled = vec![0.0; if kernel == 1 { 0 } else { fan_in * area }];
    let mut baseline = Baseline { layer, weights: &weights, x: &x, unrolled };
    let (mut y, mut expected) = (vec![0.0; batch * outputs * area], vec![0.0; batch * outputs * area]);
    let times = [0, 1].map(|way| {
        baseline.run(way, &mut expected);
        (0..3).map(|_| seconds(1, || baseline.run(way, &mut expected)).0).fold(f64::INFINITY, f64::min)
    });
    let way = usize::from(times[1] < times[0]);
    let repeats = (2e-3 / times[way]).ceil().clamp(1.0, 1000.0) as usize;
    let mut dense_times = Vec::new();
    for _ in 0..options.rounds {
        let dense = seconds(1, || (0..repeats).for_each(|_| baseline.run(way, &mut expected))).0 / repeats as f64;
        dense_times.push(dense);
        for (_, plan, ratios) in &mut plans {
            let run =
                |plan: &mut ConvPlan, y: &mut [f32]| plan.run(&x, batch, None, Activation::None, y).expect("it fits");
            let once = seconds(1, || run(plan, &mut y)).0;
            let times = (2e-3 / once).ceil().clamp(1.0, 1000.0) as usize;
            let sparse = seconds(1, || (0..times).for_each(|_| run(plan, &mut y))).0 / times as f64;
            ratios.push((dense / sparse, sparse));
        }
    }
    let mut ratios = Vec::new();
    for (name, plan, rounds) in &mut plans {
        plan.run(&x, batch, None, Activation::None, &mut y).expect("it fits");
        let worst = y.iter().zip(&expected).map(|(a, b)| (a - b).abs()).fold(0.0, f32::max);
        assert!(worst < 1e-3, "{name} differs from dense by {worst}");
        let ratio = median(rounds.iter().map(|r| r.0));
        let time = median(rounds.iter().map(|r| r.1));
        let gflops = 2.0 * (dense.nonzeros() * batch * area) as f64 / time / 1e9;
        let shape = layer.name();
        if options.json {
            println!(
                r#"{{"bench": "convolution", "shape": "{shape}", "batch": {batch}, "sparsity": {sparsity}, "format": "{name}", "vs_dense": {ratio:.3}, "gflops": {gflops:.2}, "threads": 1}}"#
            );
        } else {
            let dense_speed =
                2.0 * (outputs * fan_in * area * batch) as f64 / median(dense_times.iter().copied()) / 1e9;
            println!(
                "{shape:<18} {batch:>5} {sparsity:>6} {name:<8} {ratio:>8.2} {gflops:>7.1}   dense at {dense_speed:.1} (way {way})"
            );
        }
        ratios.push(ratio);
    }
    ratios
}

fn run() -> Result<(), String> {
    let options = Options::read()?;
    if !options.json {
        println!("{:<18} {:>5} {:>6} {:<8} {:>8} {:>7}", "shape", "batch", "zeros", "way", "vs dense", "GFLOP/s");
    }
    let (mut means, mut even) = (Vec::new(), Vec::new());
    for &batch in &options.batches {
        let mut curves = vec![Vec::new(); options.layers.len()];
        for &sparsity in &options.sparsities {
            let mut logs = Vec::new();
            for (layer, curve) in options.layers.iter().zip(&mut curves) {
                let ratios = in_pool(1, || cell(&options, *layer, batch, sparsity));
                let best = ratios.into_iter().fold(0.0, f64::max);
                curve.push((sparsity, best));
                if layer.0[3] > 1 {
                    logs.push(best.ln());
                }
            }
            let mean = (logs.iter().sum::<f64>() / logs.len().max(1) as f64).exp();
            means.push(format!("batch {batch:>3}, {sparsity:>4}: {mean:.2}"));
        }
        for (layer, curve) in options.layers.iter().zip(&curves) {
            even.push(format!("batch {batch:>3}, {}: {}", layer.name(), product::break_even(curve)));
        }
    }
    if !options.json {
        println!("geometric means over the kernels above 1 x 1:\n{}", means.join("\n"));
        println!("sparsity from which on sparse is faster:\n{}", even.join("\n"));
    }
    Ok(())
}

fn main() -> ExitCode {
    match run() {
        Ok(()) => ExitCode::SUCCESS,
        Err(message) => {
            eprintln!("{message}");
            ExitCode::from(2)
        }
    }
}
