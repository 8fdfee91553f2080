//! Time and memory of [`choose_masks`] on host slices, in units of RL: one streaming read of the same weights.
//!
//! `cargo bench -p pruning-core --bench select -- [--json] [--case NAME] [--rounds N]`
//!
//! Every round reads the weights once before the clocks start, so that the limit and the call find the same caches, then
//! times the limit and the call one after the other. Figures are medians over the rounds; a ratio is taken within a round.

use measure::{Counting, Options, Random, Round};
use pruning_core::budget::{
    AllocationError, Allocator, Amount, Candidate, ChooseRules, Chosen, LayerUnits, Rounding, Scope, Scores, Sparsity,
    choose_masks, share_highest,
};
use pruning_core::mask::Bits;
use pruning_core::score::{Along, ElementScores, Granularity, MatrixLayout, NormOrder, Order, Reduction, Units};
use std::alloc::System;
use std::process::ExitCode;

#[path = "../sparse/benches/support/measure.rs"]
mod measure;

#[global_allocator]
static ALLOCATOR: Counting<System> = Counting(System);

/// Each layer by itself, as the plugin `uniform` shares.
#[derive(Debug)]
struct Local;

impl Allocator for Local {
    fn scope(&self) -> Scope {
        Scope::Layer
    }

    fn allocate(&self, layers: &[LayerUnits<'_>], _: usize) -> Result<Vec<usize>, AllocationError> {
        Ok(layers.iter().map(|l| l.even).collect())
    }
}

/// One threshold for all layers, as the plugin `global` shares.
#[derive(Debug)]
struct Global;

impl Allocator for Global {
    fn allocate(&self, layers: &[LayerUnits<'_>], keep: usize) -> Result<Vec<usize>, AllocationError> {
        let scores: Vec<&Scores<'_>> = layers.iter().map(|l| l.scores).collect();
        let bounds: Vec<_> = layers.iter().map(|l| (l.least, l.alive())).collect();
        share_highest(&scores, &bounds, keep).ok_or_else(|| AllocationError::Unreachable {
            keep,
            least: bounds.iter().map(|b| b.0).sum(),
            most: bounds.iter().map(|b| b.1).sum(),
            allow_empty_helps: true,
        })
    }
}

/// The weights of one layer, with their path.
struct Layer {
    path: String,
    layout: MatrixLayout,
    weights: Vec<f32>,
}

impl Layer {
    fn new(random: &mut Random, path: String, layout: MatrixLayout, deviation: f64) -> Self {
        Self { path, layout, weights: random.weights(layout.len(), deviation) }
    }
}

/// A square Linear, columns one after the other as Burn stores it.
fn linear_4096() -> Vec<Layer> {
    vec![Layer::new(&mut Random(1), "linear.weight".into(), MatrixLayout::column_major(4096, 4096), 0.02)]
}

fn bert_base() -> Vec<Layer> {
    let mut random = Random(2);
    let shapes = measure::bert_base(&mut random).into_iter().enumerate();
    shapes
        .map(|(i, (out, fan_in, deviation))| {
            let layout = MatrixLayout::column_major(out, fan_in);
            Layer::new(&mut random, format!("layer.{}.{}.weight", i / 6, i % 6), layout, deviation)
        })
        .collect()
}

fn conv_512() -> Vec<Layer> {
    vec![Layer::new(&mut Random(3), "conv.weight".into(), MatrixLayout::new(1, 512, 512 * 9, 9), 0.02)]
}

/// What is measured. Names are an interface: the gate of the CI and the report read them.
struct Case {
    name: &'static str,
    layers: fn() -> Vec<Layer>,
    granularity: Granularity,
    sparsity: f64,
    allocator: &'static dyn Allocator,
    /// The most that the call may take, in RL.
    bar: f64,
}

const CASES: [Case; 6] = [
    Case {
        name: "local_4096_50",
        layers: linear_4096,
        granularity: Granularity::Element,
        sparsity: 0.5,
        allocator: &Local,
        bar: 5.0,
    },
    Case {
        name: "local_4096_90",
        layers: linear_4096,
        granularity: Granularity::Element,
        sparsity: 0.9,
        allocator: &Local,
        bar: 5.0,
    },
    Case {
        name: "global_bert_90",
        layers: bert_base,
        granularity: Granularity::Element,
        sparsity: 0.9,
        allocator: &Global,
        bar: 5.0,
    },
    Case {
        name: "nm_2_4_4096",
        layers: linear_4096,
        granularity: Granularity::Nm { n: 2, m: 4, along: Along::Inputs },
        sparsity: 0.5,
        allocator: &Local,
        bar: 3.0,
    },
    Case {
        name: "nm_2_4_conv512",
        layers: conv_512,
        granularity: Granularity::Nm { n: 2, m: 4, along: Along::Inputs },
        sparsity: 0.5,
        allocator: &Local,
        bar: 6.0,
    },
    Case {
        name: "channel_l2_conv512",
        layers: conv_512,
        granularity: Granularity::CHANNEL,
        sparsity: 0.5,
        allocator: &Local,
        bar: 3.0,
    },
];

/// A case with its weights in memory.
struct Loaded<'a> {
    case: &'a Case,
    layers: Vec<Layer>,
    rounds: Vec<Round>,
}

impl Loaded<'_> {
    fn weights(&self) -> usize {
        self.layers.iter().map(|l| l.weights.len()).sum()
    }

    fn bytes(&self) -> usize {
        self.weights() * size_of::<f32>()
    }

    fn round(&mut self) {
        let amount = Amount::OfTotal(Sparsity::new(self.case.sparsity).expect("the sparsities above are"));
        let rules = ChooseRules::new(amount).with_allocator(Some(self.case.allocator));
        let candidates: Vec<_> = self
            .layers
            .iter()
            .enumerate()
            .map(|(place, layer)| {
                let units = Units::of(self.case.granularity, layer.layout, ElementScores::new(&layer.weights));
                Candidate::new(&layer.path, layer.layout, units)
                    .with_layer("Linear", &[], place)
                    .with_ranking(Order::Absolute, Reduction::Norm(NormOrder::L2))
            })
            .collect();
        let weights: Vec<&[f32]> = self.layers.iter().map(|l| &l.weights[..]).collect();
        let (round, chosen) = Round::time(&weights, || choose_masks(&candidates, &rules));
        self.check(&chosen.expect("the weights are finite and the budget is within reach"));
        self.rounds.push(round);
    }

    /// As many are kept as asked, and the right ones.
    fn check(&self, chosen: &[Chosen]) {
        let remove = |units: usize| Rounding::HalfEven.count(self.case.sparsity, units);
        let units: usize = chosen.iter().map(|c| c.units).sum();
        let kept_units: usize = chosen.iter().map(|c| c.kept_units).sum();
        assert_eq!(kept_units, units - remove(units), "{}: units kept", self.case.name);
        let kept: usize = chosen.iter().map(|c| c.keep.count_ones()).sum();
        assert_eq!(kept * units, kept_units * self.weights(), "{}: weights kept", self.case.name);
        // Which ones takes long to tell, and is the same in every round.
        if self.rounds.is_empty() {
            chosen.iter().zip(&self.layers).for_each(|(chosen, layer)| self.check_layer(&chosen.keep, layer));
        }
    }

    fn check_layer(&self, keep: &Bits, layer: &Layer) {
        let (rows, inner) = (layer.layout.rows(), layer.layout.inner());
        match self.case.granularity {
            // Kept weights are never smaller than removed ones.
            Granularity::Element => {
                let (mut least, mut most) = (f32::INFINITY, 0.0f32);
                for (word, weights) in keep.words().iter().zip(layer.weights.chunks(64)) {
                    for (i, weight) in weights.iter().enumerate() {
                        if word >> i & 1 == 1 {
                            least = least.min(weight.abs());
                        } else {
                            most = most.max(weight.abs());
                        }
                    }
                }
                assert!(least >= most, "{}: {least} is kept and {most} is not", layer.path);
            }
            Granularity::Nm { n, m, .. } => {
                // Groups along the input channels, at each place of the kernel.
                let kernel = layer.layout.kernel();
                let groups = (0..layer.layout.cols()).filter(|col| (col / kernel).is_multiple_of(m));
                for (first, row) in groups.flat_map(|first| (0..rows).map(move |row| (first, row))) {
                    let kept = (0..m).filter(|j| keep.get(layer.layout.flat(row, first + j * kernel))).count();
                    assert_eq!(kept, n, "{}: kept of row {row}, columns {first} on", layer.path);
                }
            }
            _ => {
                for row in 0..rows {
                    let first = keep.get(row * inner);
                    assert!((1..inner).all(|i| keep.get(row * inner + i) == first), "{}: row {row}", layer.path);
                }
            }
        }
    }
}

fn run() -> Result<(), String> {
    let options = Options::read(&CASES.map(|c| c.name), 21)?;
    let cases = CASES.iter().filter(|c| options.wants(c.name));
    let mut loaded: Vec<_> = cases.map(|case| Loaded { case, layers: (case.layers)(), rounds: Vec::new() }).collect();
    for _ in 0..options.rounds {
        loaded.iter_mut().for_each(Loaded::round);
    }
    let rows: Vec<_> = loaded.iter().map(|l| (l.case.name, l.case.bar, l.bytes(), &l.rounds[..])).collect();
    measure::print(&options, 1, &rows);
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
