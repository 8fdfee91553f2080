//! Time of each reconstruction for all layers of a transformer, on one thread.
//!
//! `cargo bench -p pruning-reconstruction --bench solves -- [--json] [--case NAME] [--only RECONSTRUCTION] [--sparsity X]`
//!
//! Layers of one shape take the same time, so each shape is solved once (after a warm-up) and counted as often as it occurs. Weights are
//! random, the mask removes the smallest of each row, and the Gram matrix is that of correlated inputs.

use pruning_core::mask::Bits;
use pruning_core::plugin::Plugins;
use pruning_core::reconstruct::{LayerProblem, Reconstruction, output_error, reconstruct};
use std::process::ExitCode;
use std::time::Instant;

/// What is measured: layers of `(rows, cols)`, how many of each, and the most seconds that `obs` may take.
struct Case {
    name: &'static str,
    layers: &'static [(usize, usize, usize)],
    bar: f64,
}

const CASES: [Case; 2] = [
    Case { name: "minilm", layers: &[(384, 384, 24), (1536, 384, 6), (384, 1536, 6)], bar: 10.0 },
    Case { name: "bert_base", layers: &[(768, 768, 48), (3072, 768, 12), (768, 3072, 12)], bar: 90.0 },
];

struct Options {
    json: bool,
    case: Option<String>,
    only: Option<String>,
    sparsity: f64,
}

impl Options {
    fn read() -> Result<Self, String> {
        let mut options = Self { json: false, case: None, only: None, sparsity: 0.7 };
        let mut args = std::env::args().skip(1);
        while let Some(arg) = args.next() {
            let mut value = || args.next().ok_or_else(|| format!("{arg} needs a value"));
            match arg.as_str() {
                "--json" => options.json = true,
                "--case" => options.case = Some(value()?),
                "--only" => options.only = Some(value()?),
                "--sparsity" => {
                    let text = value()?;
                    let sparsity = text.parse().ok().filter(|s| (0.0..1.0).contains(s));
                    options.sparsity = sparsity.ok_or_else(|| format!("--sparsity {text}: expected 0 to 1"))?;
                }
                "--bench" => {}
                _ => return Err(format!("unknown argument {arg}")),
            }
        }
        Ok(options)
    }
}

/// Numbers from -1 to 1 (splitmix64).
fn random(state: &mut u64) -> f64 {
    *state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
    let mut z = *state;
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    ((z ^ (z >> 31)) >> 11) as f64 / (1u64 << 52) as f64 - 1.0
}

/// The Gram matrix of inputs with 16 common causes, columns of different sizes.
fn gram(cols: usize, state: &mut u64) -> Vec<f64> {
    let causes: Vec<[f64; 16]> = (0..cols).map(|_| std::array::from_fn(|_| random(state))).collect();
    let sizes: Vec<f64> = (0..cols).map(|_| (1.5 * random(state)).exp()).collect();
    let entry = |i: usize, j: usize| {
        let common: f64 = causes[i].iter().zip(&causes[j]).map(|(a, b)| a * b).sum();
        (common + f64::from(u8::from(i == j))) * sizes[i] * sizes[j]
    };
    (0..cols * cols).map(|i| entry(i / cols, i % cols)).collect()
}

/// The seconds of one layer, and its output error relative to that of the mask alone.
fn measure(plugin: &dyn Reconstruction, rows: usize, cols: usize, sparsity: f64) -> Result<(f64, f64), String> {
    let mut state = (rows * 31 + cols) as u64;
    let gram = gram(cols, &mut state);
    let weight: Vec<f64> = (0..rows * cols).map(|_| random(&mut state)).collect();
    let mut keep = vec![true; rows * cols];
    for (keep, weight) in keep.chunks_exact_mut(cols).zip(weight.chunks_exact(cols)) {
        let mut order: Vec<_> = (0..cols).collect();
        order.sort_by(|&a, &b| weight[a].abs().total_cmp(&weight[b].abs()));
        order[..(sparsity * cols as f64) as usize].iter().for_each(|&c| keep[c] = false);
    }
    let masked: Vec<f64> = weight.iter().zip(&keep).map(|(w, &keep)| if keep { *w } else { 0.0 }).collect();
    let keep = Bits::from_bools(&keep);
    let layer = LayerProblem::new("weight", rows, cols, &weight, &keep, &gram);
    let start = Instant::now();
    let new = reconstruct(plugin, &layer).map_err(|error| error.to_string())?;
    let seconds = start.elapsed().as_secs_f64();
    let error = |new: &[f64]| output_error(&weight, new, &gram, rows, cols);
    Ok((seconds, error(&new.weight) / error(&masked)))
}

fn run() -> Result<(), String> {
    let options = Options::read()?;
    let mut plugins = Plugins::empty();
    pruning_reconstruction::register(&mut plugins);
    let wanted = |only: &Option<String>, name: &str| only.as_ref().is_none_or(|only| only == name);
    for case in CASES.iter().filter(|case| wanted(&options.case, case.name)) {
        for entry in plugins.iter().filter(|entry| wanted(&options.only, entry.name())) {
            let plugin =
                plugins.build::<dyn Reconstruction>(entry.name(), Default::default()).map_err(|e| e.to_string())?;
            // Pages in the code and raises the clock.
            measure(&*plugin, 64, 256, options.sparsity)?;
            let (mut total, mut error, mut shapes) = (0.0, 0.0f64, String::new());
            for &(rows, cols, count) in case.layers {
                let (seconds, left) = measure(&*plugin, rows, cols, options.sparsity)?;
                total += seconds * count as f64;
                error = error.max(left);
                shapes += &format!("  {count} x {rows}x{cols}: {seconds:.3} s each");
            }
            let (name, reconstruction, sparsity) = (case.name, entry.name(), options.sparsity);
            let bar = if reconstruction == "obs" { case.bar.to_string() } else { "null".to_string() };
            if options.json {
                println!(
                    r#"{{"bench": "solves", "case": "{name}", "reconstruction": "{reconstruction}", "sparsity": {sparsity}, "seconds": {total:.3}, "bar": {bar}, "error_ratio": {error:.4}, "threads": 1}}"#
                );
            } else {
                println!(
                    "{name:<10} {reconstruction:<14} {total:>8.2} s (bar {bar}), error at most {error:.3} of the mask's\n{shapes}"
                );
            }
        }
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
