//! Products with sparse matrices beside dense ones (the `gemm` crate, AVX-512 where there is one), on one thread and on all.
//!
//! `cargo bench -p pruning-core --features rayon --bench sparse -- [--json] [--shapes 768x768,..] [--batches 1,8,..]
//! [--sparsities 0.9,2:4,..] [--threads 1,2,..] [--rounds N]`
//!
//! Every round times the dense product and the sparse ones, one after the other; a ratio is taken within a round, and the figure is
//! the median over the rounds. The dense product is the fastest of three ways to call it: weights by rows from either side, and
//! weights by columns; it has as many threads. Time of one thread is that of the processor, not of the wall: preemption by
//! others does not count; time of more is that of the wall. A sample repeats a call until the dense one takes about two milliseconds.

use measure::{Random, median};
use product::{Pattern, in_pool, list, seconds, threads, weights};
use pruning_sparse::{Activation, Dense, Format, Plan, Sparse};
use std::process::ExitCode;

#[path = "support/measure.rs"]
#[allow(dead_code)]
mod measure;
#[path = "support/product.rs"]
#[allow(dead_code)]
mod product;

struct Options {
    json: bool,
    shapes: Vec<(usize, usize)>,
    batches: Vec<usize>,
    sparsities: Vec<Pattern>,
    threads: Vec<usize>,
    rounds: usize,
}

impl Options {
    fn read() -> Result<Self, String> {
        let mut options = Self {
            json: false,
            shapes: vec![(768, 768), (3072, 768), (768, 3072), (4096, 4096), (300, 784)],
            batches: vec![1, 8, 32, 128],
            sparsities: [0.5, 0.67, 0.8, 0.9, 0.95, 0.98].map(Pattern::Scattered).into_iter().collect(),
            threads: threads(),
            rounds: 15,
        };
        options.sparsities.push(Pattern::TwoOfFour);
        let mut args = std::env::args().skip(1);
        while let Some(arg) = args.next() {
            let mut value = || args.next().ok_or_else(|| format!("{arg} needs a value"));
            match arg.as_str() {
                "--json" => options.json = true,
                "--bench" => {}
                "--shapes" => {
                    let shape = |text: &str| {
                        let (rows, cols) = text.split_once('x')?;
                        Some((rows.parse().ok()?, cols.parse().ok()?))
                    };
                    options.shapes = list(&value()?, shape)?;
                }
                "--batches" => options.batches = list(&value()?, |text| text.parse().ok().filter(|&n| n > 0))?,
                "--sparsities" => {
                    options.sparsities = list(&value()?, |text| match text {
                        "2:4" => Some(Pattern::TwoOfFour),
                        _ => text.parse().ok().filter(|s| (0.0..1.0).contains(s)).map(Pattern::Scattered),
                    })?;
                }
                "--threads" => options.threads = list(&value()?, |text| text.parse().ok().filter(|&n| n > 0))?,
                "--rounds" => options.rounds = value()?.parse().ok().filter(|&n| n > 0).ok_or("--rounds: above 0")?,
                _ => {
                    return Err(format!(
                        "unknown argument {arg}: use --json, --shapes, --batches, --sparsities, --threads, --rounds"
                    ));
                }
            }
        }
        if !cfg!(feature = "rayon") && options.threads != [1] {
            return Err("--threads: more than one needs the feature rayon".into());
        }
        Ok(options)
    }
}

/// The dense product, in one of three ways.
struct Baseline<'a> {
    rows: usize,
    cols: usize,
    batch: usize,
    by_rows: &'a [f32],
    by_cols: &'a [f32],
    x: &'a [f32],
    threads: usize,
}

impl Baseline<'_> {
    fn run(&self, way: usize, y: &mut [f32]) {
        let (rows, cols, batch) = (self.rows, self.cols, self.batch);
        assert_eq!((self.by_rows.len(), self.by_cols.len()), (rows * cols, rows * cols));
        assert_eq!((self.x.len(), y.len()), (batch * cols, batch * rows));
        let (weights, along, across) = match way {
            0 | 1 => (self.by_rows.as_ptr(), 1, cols as isize),
            _ => (self.by_cols.as_ptr(), rows as isize, 1),
        };
        let threads = if self.threads > 1 { gemm::Parallelism::Rayon(self.threads) } else { gemm::Parallelism::None };
        let (y, x) = (y.as_mut_ptr(), self.x.as_ptr());
        let (n_rows, n_cols) = (rows as isize, cols as isize);
        // SAFETY: the lengths above are those of the strides: `Y^T = W X^T`, or `Y = X W^T`.
        unsafe {
            if way == 0 {
                gemm::gemm(
                    rows, batch, cols, y, n_rows, 1, false, weights, along, across, x, n_cols, 1, 0.0, 1.0, false,
                    false, false, threads,
                );
            } else {
                gemm::gemm(
                    batch, rows, cols, y, 1, n_rows, false, x, 1, n_cols, weights, across, along, 0.0, 1.0, false,
                    false, false, threads,
                );
            }
        }
    }
}

fn cell(
    options: &Options,
    (rows, cols): (usize, usize),
    batch: usize,
    pattern: Pattern,
    threads: usize,
) -> Vec<(f64, &'static str)> {
    let mut random = Random((rows * 31 + cols) as u64 + batch as u64);
    let by_rows = weights(&mut random, rows, cols, pattern);
    let mut by_cols = vec![0.0; rows * cols];
    (0..rows * cols).for_each(|i| by_cols[i % cols * rows + i / cols] = by_rows[i]);
    let x = random.weights(batch * cols, 1.0);
    let dense = Dense::new(rows, cols, by_rows.clone()).expect("as many as rows times columns");
    let mut formats = match pattern {
        Pattern::TwoOfFour => vec![("packed", Format::Packed { n: 2, m: 4, kernel: 1 })],
        Pattern::Scattered(_) => vec![("csr", Format::Csr16)],
    };
    if batch == 1 && pattern != Pattern::TwoOfFour {
        formats.push(("bitmap", Format::Bitmap));
    }
    let plan =
        |format| Sparse::from_dense(&dense, format).and_then(|s| Plan::new(&s, batch)).expect("a shape that fits");
    let mut plans: Vec<_> = formats.iter().map(|&(name, format)| (name, plan(format), Vec::new())).collect();

    let baseline = Baseline { rows, cols, batch, by_rows: &by_rows, by_cols: &by_cols, x: &x, threads };
    let (mut y, mut expected) = (vec![0.0; batch * rows], vec![0.0; batch * rows]);
    let mut time = |way: usize| {
        baseline.run(way, &mut expected);
        (0..3).map(|_| seconds(threads, || baseline.run(way, &mut expected)).0).fold(f64::INFINITY, f64::min)
    };
    let times = [0, 1, 2].map(&mut time);
    let way = (0..3).min_by(|&a, &b| times[a].total_cmp(&times[b])).unwrap_or(0);
    let repeats = (2e-3 / times[way]).ceil().clamp(1.0, 1000.0) as usize;
    let mut densities = Vec::new();
    for _ in 0..options.rounds {
        let dense = seconds(threads, || (0..repeats).for_each(|_| baseline.run(way, &mut expected))).0;
        densities.push(dense / repeats as f64);
        for (_, plan, ratios) in &mut plans {
            let run = |plan: &mut Plan, y: &mut [f32]| plan.run(&x, batch, None, Activation::None, y).expect("it fits");
            let once = seconds(threads, || run(plan, &mut y)).0;
            let times = (2e-3 / once).ceil().clamp(1.0, 1000.0) as usize;
            let sparse = seconds(threads, || (0..times).for_each(|_| run(plan, &mut y))).0 / times as f64;
            ratios.push((dense / repeats as f64 / sparse, sparse));
        }
    }
    for (name, plan, _) in &mut plans {
        plan.run(&x, batch, None, Activation::None, &mut y).expect("it fits");
        let worst = y.iter().zip(&expected).map(|(a, b)| (a - b).abs()).fold(0.0, f32::max);
        assert!(worst < 1e-3, "{name} differs from dense by {worst}");
    }
    let mut results = Vec::new();
    for (name, _, rounds) in &plans {
        let ratio = median(rounds.iter().map(|r| r.0));
        let time = median(rounds.iter().map(|r| r.1));
        let gflops = 2.0 * dense.nonzeros() as f64 * batch as f64 / time / 1e9;
        let sparsity = pattern.sparsity();
        if options.json {
            println!(
                r#"{{"bench": "sparse", "shape": "{rows}x{cols}", "batch": {batch}, "sparsity": {sparsity}, "format": "{name}", "vs_dense": {ratio:.3}, "gflops": {gflops:.2}, "threads": {threads}}}"#
            );
        } else {
            let dense_time = median(densities.iter().copied());
            let dense_speed = 2.0 * (rows * cols * batch) as f64 / dense_time / 1e9;
            println!(
                "{:<10} {batch:>5} {threads:>7} {sparsity:>6} {name:<8} {ratio:>8.2} {gflops:>7.1}   dense at {dense_speed:.1} (way {way})",
                format!("{rows}x{cols}"),
            );
        }
        results.push((ratio, *name));
    }
    results
}

fn run() -> Result<(), String> {
    let options = Options::read()?;
    if !options.json {
        println!(
            "{:<10} {:>5} {:>7} {:>6} {:<8} {:>8} {:>7}",
            "shape", "batch", "threads", "zeros", "format", "vs dense", "GFLOP/s"
        );
    }
    let (mut means, mut even) = (Vec::new(), Vec::new());
    for (&threads, &batch) in options.threads.iter().flat_map(|t| options.batches.iter().map(move |b| (t, b))) {
        let mut curves = vec![Vec::new(); options.shapes.len()];
        for &pattern in &options.sparsities {
            let mut logs = Vec::new();
            for (&shape, curve) in options.shapes.iter().zip(&mut curves) {
                let ratios = in_pool(threads, || cell(&options, shape, batch, pattern, threads));
                let best = ratios.into_iter().map(|r| r.0).fold(0.0, f64::max);
                if pattern != Pattern::TwoOfFour {
                    curve.push((pattern.sparsity(), best));
                }
                if shape != (300, 784) {
                    logs.push(best.ln());
                }
            }
            let mean = (logs.iter().sum::<f64>() / logs.len().max(1) as f64).exp();
            let name = if pattern == Pattern::TwoOfFour { "2:4".into() } else { pattern.sparsity().to_string() };
            means.push(format!("threads {threads}, batch {batch:>3}, {name:>4}: {mean:.2}"));
        }
        for ((rows, cols), curve) in options.shapes.iter().zip(&curves) {
            even.push(format!("threads {threads}, batch {batch:>3}, {rows}x{cols}: {}", product::break_even(curve)));
        }
    }
    if !options.json {
        println!("geometric means over the large shapes, best format:\n{}", means.join("\n"));
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
