//! What the benches share: a counting allocator, the machine's limit, medians, random weights, and how rows are printed.

use std::alloc::{GlobalAlloc, Layout};
use std::hint::black_box;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};
use std::time::Instant;

/// Counts the bytes on the heap, and the most there were. The program makes it its global allocator.
pub(crate) struct Counting<A>(pub(crate) A);

static BYTES: AtomicUsize = AtomicUsize::new(0);
static PEAK: AtomicUsize = AtomicUsize::new(0);

fn grown(bytes: usize) {
    PEAK.fetch_max(BYTES.fetch_add(bytes, Relaxed) + bytes, Relaxed);
}

// SAFETY: every method passes its arguments on to the allocator, unchanged, and returns what it returns.
unsafe impl<A: GlobalAlloc> GlobalAlloc for Counting<A> {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        grown(layout.size());
        // SAFETY: the caller's promise is the one that the allocator asks for.
        unsafe { self.0.alloc(layout) }
    }

    unsafe fn alloc_zeroed(&self, layout: Layout) -> *mut u8 {
        grown(layout.size());
        // SAFETY: as above.
        unsafe { self.0.alloc_zeroed(layout) }
    }

    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        BYTES.fetch_sub(layout.size(), Relaxed);
        // SAFETY: as above; `pointer` came from the allocator, since all of ours do.
        unsafe { self.0.dealloc(pointer, layout) }
    }

    unsafe fn realloc(&self, pointer: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        // Both blocks may exist for a moment: the peak is the upper bound.
        grown(size);
        BYTES.fetch_sub(layout.size(), Relaxed);
        // SAFETY: as above; `pointer` came from the allocator, since all of ours do.
        unsafe { self.0.realloc(pointer, layout, size) }
    }
}

/// A fixed sequence of random numbers (splitmix64).
pub(crate) struct Random(pub(crate) u64);

impl Random {
    pub(crate) fn bits(&mut self) -> u64 {
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

    /// Weights from a normal distribution.
    pub(crate) fn weights(&mut self, len: usize, deviation: f64) -> Vec<f32> {
        let mut weights = Vec::with_capacity(len);
        while weights.len() < len {
            let pair = self.normals().map(|v| (deviation * v) as f32);
            weights.extend_from_slice(&pair[..pair.len().min(len - weights.len())]);
        }
        weights
    }
}

/// Shapes `(out, in)` of the 72 matrices of BERT-base's encoder, and a deviation for each, within a factor of two, as
/// trained layers have.
pub(crate) fn bert_base(random: &mut Random) -> Vec<(usize, usize, f64)> {
    let shapes = [(768, 768), (768, 768), (768, 768), (768, 768), (3072, 768), (768, 3072)];
    let shapes = (0..12).flat_map(|_| shapes);
    shapes.map(|(out, fan_in)| (out, fan_in, 0.03 * (random.bits() as f64 / u64::MAX as f64).exp2())).collect()
}

/// One call and the limit, timed one after the other.
pub(crate) struct Round {
    limit: f64,
    call: f64,
    extra: usize,
}

impl Round {
    /// Reads the weights untimed, so that the limit and the call find the same caches; then times both.
    pub(crate) fn time<T>(weights: &[&[f32]], call: impl FnOnce() -> T) -> (Self, T) {
        read(weights);
        let limit = seconds(|| read(weights)).0;
        let before = BYTES.load(Relaxed);
        PEAK.store(before, Relaxed);
        let (call, result) = seconds(call);
        (Self { limit, call, extra: PEAK.load(Relaxed) - before }, result)
    }

    /// The call in RL.
    pub(crate) fn reads(&self) -> f64 {
        self.call / self.limit
    }
}

pub(crate) fn seconds<T>(f: impl FnOnce() -> T) -> (f64, T) {
    let start = Instant::now();
    let result = black_box(f());
    (start.elapsed().as_secs_f64(), result)
}

/// One streaming read: a sum in enough lanes that memory alone bounds it.
fn read(layers: &[&[f32]]) {
    pulp::Arch::new().dispatch(|| {
        for layer in layers {
            let mut lanes = [0.0f32; 64];
            for chunk in black_box(layer).as_chunks::<64>().0 {
                for i in 0..64 {
                    lanes[i] += chunk[i];
                }
            }
            black_box(lanes);
        }
    });
}

pub(crate) fn median(values: impl Iterator<Item = f64>) -> f64 {
    let mut values: Vec<_> = values.collect();
    values.sort_by(f64::total_cmp);
    let middle = values.len() / 2;
    if values.len().is_multiple_of(2) { (values[middle - 1] + values[middle]) / 2.0 } else { values[middle] }
}

pub(crate) struct Options {
    pub(crate) json: bool,
    pub(crate) case: Option<String>,
    pub(crate) rounds: usize,
}

impl Options {
    /// From the command line; `cargo bench` adds `--bench`.
    pub(crate) fn read(cases: &[&str], rounds: usize) -> Result<Self, String> {
        let mut options = Self { json: false, case: None, rounds };
        let mut args = std::env::args().skip(1);
        while let Some(arg) = args.next() {
            let mut value = || args.next().ok_or_else(|| format!("{arg} needs a value"));
            match arg.as_str() {
                "--json" => options.json = true,
                "--case" => options.case = Some(value()?),
                "--rounds" => {
                    let text = value()?;
                    let rounds = text.parse().ok().filter(|&n| n > 0);
                    options.rounds = rounds.ok_or_else(|| format!("--rounds {text}: expected a number above 0"))?;
                }
                "--bench" => {}
                _ => return Err(format!("unknown argument {arg}: use --json, --case NAME or --rounds N")),
            }
        }
        match &options.case {
            Some(name) if !cases.contains(&name.as_str()) => {
                Err(format!("unknown case {name}: use one of {}", cases.join(", ")))
            }
            _ => Ok(options),
        }
    }

    pub(crate) fn wants(&self, case: &str) -> bool {
        self.case.as_ref().is_none_or(|name| name == case)
    }
}

/// The most extra heap that a selection may take, in bytes of the weights.
const MEMORY_BAR: f64 = 0.5;

/// Prints a row for each case: its name, its bar in RL, bytes of its weights, its rounds.
pub(crate) fn print(options: &Options, threads: usize, rows: &[(&str, f64, usize, &[Round])]) {
    if !options.json {
        println!(
            "{:<22} {:>9} {:>9} {:>7} {:>5} {:>14} {:>5}",
            "case", "limit", "call", "RL", "bar", "extra/weights", "bar"
        );
    }
    for (name, bar, bytes, rounds) in rows {
        let limit = median(rounds.iter().map(|r| r.limit));
        let seconds = median(rounds.iter().map(|r| r.call));
        let rl = median(rounds.iter().map(Round::reads));
        let extra = median(rounds.iter().map(|r| r.extra as f64)) / *bytes as f64;
        if options.json {
            println!(
                r#"{{"bench": "select", "case": "{name}", "rl": {rl:.3}, "seconds": {seconds:.6}, "extra_bytes_ratio": {extra:.4}, "threads": {threads}}}"#
            );
        } else {
            let (limit_ms, call_ms, speed) = (1e3 * limit, 1e3 * seconds, *bytes as f64 / limit / 1e9);
            println!(
                "{name:<22} {limit_ms:>6.2} ms {call_ms:>6.2} ms {rl:>7.2} {bar:>5} {extra:>14.3} {MEMORY_BAR:>5}   limit at {speed:.1} GB/s"
            );
        }
    }
    if !options.json {
        println!("medians of {} interleaved rounds, {threads} thread(s)", options.rounds);
    }
}
