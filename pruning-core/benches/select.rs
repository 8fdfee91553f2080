//! Time and memory of [`choose`] on host slices, in units of RL: one streaming read of the same weights.
//!
//! `cargo bench -p pruning-core --bench select -- [--json] [--case NAME] [--rounds N]`
//!
//! Every round reads the weights once before the clocks start, so that the limit and the call find the same caches, then
//! times the limit and the call one after the other. Figures are medians over the rounds; a ratio is taken within a round.

use pruning_core::{
    AllocationError, Allocator, Amount, Bits, Candidate, Chosen, Granularity, LayerUnits, MatrixLayout, NormOrder,
    Order, Reduction, Rounding, Rules, Scope, Scores, Sparsity, choose, share_highest,
};
use std::alloc::{GlobalAlloc, Layout, System};
use std::hint::black_box;
use std::process::ExitCode;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};
use std::time::Instant;

/// Counts the bytes on the heap, and the most there were.
struct Counting;

static BYTES: AtomicUsize = AtomicUsize::new(0);
static PEAK: AtomicUsize = AtomicUsize::new(0);

fn grown(bytes: usize) {
    PEAK.fetch_max(BYTES.fetch_add(bytes, Relaxed) + bytes, Relaxed);
}

// SAFETY: every method passes its arguments on to `System`, unchanged, and returns what it returns.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        grown(layout.size());
        // SAFETY: the caller's promise is the one that `System` asks for.
        unsafe { System.alloc(layout) }
    }

    unsafe fn alloc_zeroed(&self, layout: Layout) -> *mut u8 {
        grown(layout.size());
        // SAFETY: as above.
        unsafe { System.alloc_zeroed(layout) }
    }

    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        BYTES.fetch_sub(layout.size(), Relaxed);
        // SAFETY: as above; `pointer` came from `System`, since all of ours do.
        unsafe { System.dealloc(pointer, layout) }
    }

    unsafe fn realloc(&self, pointer: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        // Both blocks may exist for a moment: the peak is the upper bound.
        grown(size);
        BYTES.fetch_sub(layout.size(), Relaxed);
        // SAFETY: as above; `pointer` came from `System`, since all of ours do.
        unsafe { System.realloc(pointer, layout, size) }
    }
}

#[global_allocator]
static COUNTING: Counting = Counting;

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

/// A fixed sequence of random numbers (splitmix64).
struct Random(u64);

impl Random {
    fn bits(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    /// Two numbers from the standard normal distribution (Box and Muller).
    fn normals(&mut self) -> [f64; 2] {
        let unit = |bits: u64| ((bits >> 11) + 1) as f64 / (1u64 << 53) as f64;
        let radius = (-2.0 * unit(self.bits()).ln()).sqrt();
        let (sin, cos) = (std::f64::consts::TAU * unit(self.bits())).sin_cos();
        [radius * cos, radius * sin]
    }

    fn layer(&mut self, path: String, layout: MatrixLayout, deviation: f64) -> Layer {
        let mut weights = Vec::with_capacity(layout.len());
        while weights.len() < layout.len() {
            let pair = self.normals().map(|v| (deviation * v) as f32);
            weights.extend_from_slice(&pair[..pair.len().min(layout.len() - weights.len())]);
        }
        Layer { path, layout, weights }
    }
}

/// A square Linear, columns one after the other as Burn stores it.
fn linear_4096() -> Vec<Layer> {
    vec![Random(1).layer("linear.weight".into(), MatrixLayout::column_major(4096, 4096), 0.02)]
}

/// The 72 matrices of BERT-base's encoder; each has a scale of its own, within a factor of two, as trained layers have.
fn bert_base() -> Vec<Layer> {
    let mut random = Random(2);
    let shapes = [(768, 768), (768, 768), (768, 768), (768, 768), (3072, 768), (768, 3072)];
    let shapes = (0..12).flat_map(|layer| shapes.iter().enumerate().map(move |(i, shape)| (layer, i, *shape)));
    shapes
        .map(|(layer, i, (rows, cols))| {
            let deviation = 0.03 * (random.bits() as f64 / u64::MAX as f64).exp2();
            random.layer(format!("layer.{layer}.{i}.weight"), MatrixLayout::column_major(rows, cols), deviation)
        })
        .collect()
}

fn conv_512() -> Vec<Layer> {
    vec![Random(3).layer("conv.weight".into(), MatrixLayout::new(1, 512, 512 * 9, 9), 0.02)]
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

const CASES: [Case; 5] = [
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
        granularity: Granularity::Nm { n: 2, m: 4 },
        sparsity: 0.5,
        allocator: &Local,
        bar: 3.0,
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

/// The most extra heap that a call may take, in bytes of the weights.
const MEMORY_BAR: f64 = 0.5;

/// A case with its weights in memory.
struct Loaded<'a> {
    case: &'a Case,
    layers: Vec<Layer>,
    rounds: Vec<Round>,
}

struct Round {
    limit: f64,
    call: f64,
    extra: usize,
}

impl Loaded<'_> {
    fn weights(&self) -> usize {
        self.layers.iter().map(|l| l.weights.len()).sum()
    }

    fn bytes(&self) -> usize {
        self.weights() * size_of::<f32>()
    }

    fn round(&mut self) {
        let rules = Rules {
            amount: Amount::OfTotal(Sparsity::new(self.case.sparsity).expect("the sparsities above are")),
            rounding: Rounding::HalfEven,
            allow_empty: false,
            allocator: Some(self.case.allocator),
        };
        let candidates: Vec<_> = self
            .layers
            .iter()
            .map(|layer| Candidate {
                path: &layer.path,
                layout: layer.layout,
                scores: &layer.weights,
                order: Order::Absolute,
                alive: None,
                granularity: self.case.granularity,
                reduction: Reduction::Norm(NormOrder::L2),
                own: None,
            })
            .collect();
        read(&self.layers);
        let limit = seconds(|| read(&self.layers)).0;
        let before = BYTES.load(Relaxed);
        PEAK.store(before, Relaxed);
        let (call, chosen) = seconds(|| choose(&candidates, &rules));
        let extra = PEAK.load(Relaxed) - before;
        self.check(&chosen.expect("the weights are finite and the budget is within reach"));
        self.rounds.push(Round { limit, call, extra });
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
            Granularity::Nm { n, m } => {
                for group in (0..layer.layout.cols()).step_by(m) {
                    for row in 0..rows {
                        let kept = (group..group + m).filter(|&col| keep.get(layer.layout.flat(row, col))).count();
                        assert_eq!(kept, n, "{}: kept of row {row}, columns {group} on", layer.path);
                    }
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

    fn figures(&self) -> Figures {
        Figures {
            limit: median(self.rounds.iter().map(|r| r.limit)),
            seconds: median(self.rounds.iter().map(|r| r.call)),
            rl: median(self.rounds.iter().map(|r| r.call / r.limit)),
            extra: median(self.rounds.iter().map(|r| r.extra as f64)) / self.bytes() as f64,
        }
    }
}

/// Medians over the rounds of a case.
struct Figures {
    limit: f64,
    seconds: f64,
    rl: f64,
    extra: f64,
}

fn seconds<T>(f: impl FnOnce() -> T) -> (f64, T) {
    let start = Instant::now();
    let result = black_box(f());
    (start.elapsed().as_secs_f64(), result)
}

/// One streaming read: a sum in enough lanes that memory alone bounds it.
fn read(layers: &[Layer]) {
    pulp::Arch::new().dispatch(|| {
        for layer in layers {
            let mut lanes = [0.0f32; 64];
            for chunk in black_box(&layer.weights[..]).as_chunks::<64>().0 {
                for i in 0..64 {
                    lanes[i] += chunk[i];
                }
            }
            black_box(lanes);
        }
    });
}

fn median(values: impl Iterator<Item = f64>) -> f64 {
    let mut values: Vec<_> = values.collect();
    values.sort_by(f64::total_cmp);
    let middle = values.len() / 2;
    if values.len().is_multiple_of(2) { (values[middle - 1] + values[middle]) / 2.0 } else { values[middle] }
}

struct Options {
    json: bool,
    case: Option<String>,
    rounds: usize,
}

fn options() -> Result<Options, String> {
    let mut options = Options { json: false, case: None, rounds: 21 };
    let mut args = std::env::args().skip(1);
    while let Some(arg) = args.next() {
        let mut value = || args.next().ok_or_else(|| format!("{arg} needs a value"));
        match arg.as_str() {
            "--json" => options.json = true,
            "--case" => options.case = Some(value()?),
            "--rounds" => {
                let text = value()?;
                options.rounds = text
                    .parse()
                    .ok()
                    .filter(|&n| n > 0)
                    .ok_or_else(|| format!("--rounds {text}: expected a number above 0"))?;
            }
            // What `cargo bench` passes.
            "--bench" => {}
            _ => return Err(format!("unknown argument {arg}: use --json, --case NAME or --rounds N")),
        }
    }
    Ok(options)
}

fn run(options: &Options) -> Result<(), String> {
    let cases: Vec<_> = CASES.iter().filter(|c| options.case.as_ref().is_none_or(|name| name == c.name)).collect();
    if let (true, Some(name)) = (cases.is_empty(), &options.case) {
        return Err(format!("unknown case {name}: use one of {}", CASES.map(|c| c.name).join(", ")));
    }
    let mut loaded: Vec<_> =
        cases.iter().map(|case| Loaded { case, layers: (case.layers)(), rounds: Vec::new() }).collect();
    for _ in 0..options.rounds {
        loaded.iter_mut().for_each(Loaded::round);
    }
    if !options.json {
        println!(
            "{:<20} {:>9} {:>9} {:>7} {:>5} {:>14} {:>5}",
            "case", "limit", "call", "RL", "bar", "extra/weights", "bar"
        );
    }
    for case in &loaded {
        let Figures { limit, seconds, rl, extra } = case.figures();
        let Case { name, bar, .. } = case.case;
        if options.json {
            println!(
                r#"{{"bench": "select", "case": "{name}", "rl": {rl:.3}, "seconds": {seconds:.6}, "extra_bytes_ratio": {extra:.4}, "threads": 1}}"#
            );
        } else {
            let (limit_ms, call_ms) = (1e3 * limit, 1e3 * seconds);
            println!(
                "{name:<20} {limit_ms:>6.2} ms {call_ms:>6.2} ms {rl:>7.2} {bar:>5} {extra:>14.3} {MEMORY_BAR:>5}"
            );
        }
    }
    if !options.json {
        let speeds: Vec<_> = loaded
            .iter()
            .map(|c| format!("{} {:.1}", c.case.name, c.bytes() as f64 / c.figures().limit / 1e9))
            .collect();
        println!("limit, one streaming read, in GB/s: {}", speeds.join(", "));
        println!("medians of {} interleaved rounds, 1 thread", options.rounds);
    }
    Ok(())
}

fn main() -> ExitCode {
    match options().and_then(|options| run(&options)) {
        Ok(()) => ExitCode::SUCCESS,
        Err(message) => {
            eprintln!("{message}");
            ExitCode::from(2)
        }
    }
}
