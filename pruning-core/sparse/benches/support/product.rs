//! What the benches of products share: processor time, weights with zeros, break-even.

use crate::measure::Random;
use std::hint::black_box;

/// Seconds that a call takes: of the processor for one thread, since preemption by others does not count then; of the wall for more.
pub(crate) fn seconds<T>(threads: usize, f: impl FnOnce() -> T) -> (f64, T) {
    if threads > 1 {
        return crate::measure::seconds(f);
    }
    let start = processor_time();
    let result = black_box(f());
    (processor_time() - start, result)
}

/// Numbers of threads that products can run on: one, and with the feature `rayon` all of the machine.
pub(crate) fn threads() -> Vec<usize> {
    let all = std::thread::available_parallelism().map_or(1, usize::from);
    if cfg!(feature = "rayon") && all > 1 { vec![1, all] } else { vec![1] }
}

/// Calls a function in a pool of so many threads.
#[cfg(feature = "rayon")]
pub(crate) fn in_pool<T: Send>(threads: usize, f: impl FnOnce() -> T + Send) -> T {
    rayon::ThreadPoolBuilder::new().num_threads(threads).build().expect("threads can be started").install(f)
}

/// Calls a function in the one thread there is.
#[cfg(not(feature = "rayon"))]
pub(crate) fn in_pool<T>(_threads: usize, f: impl FnOnce() -> T) -> T {
    f()
}

/// Seconds that this process has had a processor.
#[cfg(all(target_os = "linux", target_pointer_width = "64"))]
fn processor_time() -> f64 {
    /// `timespec` of 64-bit Linux.
    #[repr(C)]
    struct Time {
        seconds: i64,
        nanoseconds: i64,
    }
    // SAFETY: the declaration is that of the C library, which the standard library links.
    unsafe extern "C" {
        safe fn clock_gettime(clock: i32, time: &mut Time) -> i32;
    }
    const CLOCK_PROCESS_CPUTIME_ID: i32 = 2;
    let mut time = Time { seconds: 0, nanoseconds: 0 };
    assert_eq!(clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &mut time), 0);
    time.seconds as f64 + 1e-9 * time.nanoseconds as f64
}

/// Elsewhere, time of the wall.
#[cfg(not(all(target_os = "linux", target_pointer_width = "64")))]
fn processor_time() -> f64 {
    static START: std::sync::OnceLock<std::time::Instant> = std::sync::OnceLock::new();
    START.get_or_init(std::time::Instant::now).elapsed().as_secs_f64()
}

/// What is zero.
#[derive(Clone, Copy, PartialEq)]
pub(crate) enum Pattern {
    /// This fraction, anywhere.
    Scattered(f64),
    /// Two of every four columns.
    TwoOfFour,
}

impl Pattern {
    pub(crate) fn sparsity(self) -> f64 {
        match self {
            Self::Scattered(sparsity) => sparsity,
            Self::TwoOfFour => 0.5,
        }
    }
}

pub(crate) fn list<T>(text: &str, item: impl Fn(&str) -> Option<T>) -> Result<Vec<T>, String> {
    text.split(',').map(|t| item(t).ok_or_else(|| format!("cannot read {t}"))).collect()
}

/// Weights with zeros.
pub(crate) fn weights(random: &mut Random, rows: usize, cols: usize, pattern: Pattern) -> Vec<f32> {
    let mut weights = random.weights(rows * cols, 0.02);
    match pattern {
        Pattern::Scattered(sparsity) => {
            let threshold = (sparsity * u32::MAX as f64) as u64;
            weights.iter_mut().filter(|_| random.bits() >> 32 < threshold).for_each(|w| *w = 0.0);
        }
        Pattern::TwoOfFour => {
            for group in weights.chunks_exact_mut(4) {
                let pairs = [[0, 1], [0, 2], [0, 3], [1, 2], [1, 3], [2, 3]];
                pairs[(random.bits() >> 32) as usize % 6].iter().for_each(|&i| group[i] = 0.0);
            }
        }
    }
    weights
}

/// The sparsity from which on a curve of `(sparsity, ratio)`, by ascending sparsity, stays above one, interpolated.
pub(crate) fn break_even(curve: &[(f64, f64)]) -> String {
    let Some(last) = curve.iter().rposition(|p| p.1 < 1.0) else {
        return curve.first().map_or_else(String::new, |p| format!("<= {}", p.0));
    };
    let ((s0, r0), Some(&(s1, r1))) = (curve[last], curve.get(last + 1)) else { return format!("> {}", curve[last].0) };
    format!("{:.2}", s0 + (s1 - s0) * (1.0 - r0) / (r1 - r0))
}
