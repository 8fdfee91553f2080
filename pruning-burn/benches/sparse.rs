//! Linear layers with sparse weights beside Burn's own on Flex, one thread.
//!
//! `cargo bench -p pruning-burn --bench sparse -- [--json] [--quick]`
//!
//! Every round runs Burn's layer and the compiled one, one after the other; a ratio is taken within a round, and the figure is the median over
//! the rounds. A compiled layer is what [`SparseModel`] makes of the layer, with its bias, so that all that a user pays is in it. How the kernels
//! compare with the best dense product there is, not with Burn's, is in the bench of `pruning-core`.

use burn::module::Module;
use burn::nn::{Linear, LinearConfig};
use burn::tensor::{Device, Distribution, Tensor, TensorData};
use measure::{Random, median, seconds};
use pruning_burn::sparse::{Options, SparseModel};
use pruning_burn::trace::{Trace, Values};
use std::error::Error;
use std::process::ExitCode;

#[path = "../../pruning-core/sparse/benches/support/measure.rs"]
#[expect(dead_code, reason = "shared with benches that measure memory too")]
mod measure;

// The system's allocator gives large buffers back at once, and the page faults would be most of what is measured.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// Output units and fan-in.
const SHAPES: [(usize, usize); 5] = [(768, 768), (3072, 768), (768, 3072), (4096, 4096), (300, 784)];
const BATCHES: [usize; 4] = [1, 8, 32, 128];
const SPARSITIES: [f64; 6] = [0.5, 0.67, 0.8, 0.9, 0.95, 0.98];
const ROUNDS: usize = 15;

/// A layer of which this fraction of the weights is zero, at random places.
fn layer((rows, cols): (usize, usize), sparsity: f64, device: &Device) -> Linear {
    let mut random = Random(1);
    let threshold = (sparsity * u32::MAX as f64) as u64;
    let mut weights = random.weights(rows * cols, 0.02);
    weights.iter_mut().filter(|_| random.bits() >> 32 < threshold).for_each(|w| *w = 0.0);
    let mut layer = LinearConfig::new(cols, rows).init(device);
    layer.weight = layer.weight.map(|_| Tensor::from_data(TensorData::new(weights, [cols, rows]), device));
    layer.valid()
}

fn run() -> Result<(), Box<dyn Error>> {
    let (mut json, mut rounds) = (false, ROUNDS);
    for arg in std::env::args().skip(1) {
        match arg.as_str() {
            "--json" => json = true,
            "--quick" => rounds = 3,
            "--bench" => {}
            _ => return Err(format!("unknown argument {arg}: use --json, --quick").into()),
        }
    }
    let device = Device::flex();
    if !json {
        println!("{:<10} {:>5} {:>6} {:>8} {:>8}", "shape", "batch", "zeros", "vs Flex", "GFLOP/s");
    }
    for shape in SHAPES {
        for batch in BATCHES {
            let x = Tensor::<2>::random([batch, shape.1], Distribution::Default, &device);
            for sparsity in SPARSITIES {
                let layer = layer(shape, sparsity, &device);
                let trace = Trace::record(&layer, |layer, scope| {
                    let x = scope.input(&x);
                    scope.output(layer.forward(x));
                })?;
                let sparse = SparseModel::compile([&trace], &layer, &Options::every_product())?;
                let mut times = [Vec::new(), Vec::new()];
                let mut repeats = 1;
                for round in 0..=rounds {
                    let dense = seconds(|| (0..repeats).for_each(|_| drop(layer.forward(x.clone())))).0;
                    let (time, done) =
                        seconds(|| (0..repeats).try_for_each(|_| sparse.run(Values::new().with(x.clone())).map(drop)));
                    done?;
                    if round == 0 {
                        // The first finds the caches cold; it says how often a sample has to repeat.
                        repeats = (2e-3 / dense).ceil().clamp(1.0, 1000.0) as usize;
                    } else {
                        times[0].push(dense / time);
                        times[1].push(time / repeats as f64);
                    }
                }
                let [ratio, time] = times.map(|times| median(times.into_iter()));
                let nonzeros = (1.0 - sparsity) * (shape.0 * shape.1) as f64;
                let (rows, cols, gflops) = (shape.0, shape.1, 2.0 * nonzeros * batch as f64 / time / 1e9);
                if json {
                    println!(
                        r#"{{"bench": "sparse", "shape": "{rows}x{cols}", "batch": {batch}, "sparsity": {sparsity}, "dense": "flex", "format": "csr", "vs_dense": {ratio:.3}, "gflops": {gflops:.2}, "threads": 1}}"#
                    );
                } else {
                    println!("{:<10} {batch:>5} {sparsity:>6} {ratio:>8.2} {gflops:>8.1}", format!("{rows}x{cols}"));
                }
            }
        }
    }
    Ok(())
}

fn main() -> ExitCode {
    match run() {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("{error}");
            ExitCode::from(2)
        }
    }
}
