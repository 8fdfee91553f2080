//! Products against a plain sum in double precision, on every instruction set of the machine.

use crate::*;
use half::f16;
use proptest::prelude::*;

/// Weights of a normal size, so that rounding can be bounded.
pub(crate) fn weights(rows: usize, cols: usize, density: u64, seed: u64) -> Dense<f32> {
    let pattern = crate::formats::tests::matrix::<f32>(rows, cols, density, seed);
    let mut state = seed;
    let values = pattern.values().iter().map(|v| if v.is_zero() { 0.0 } else { number(&mut state) });
    Dense::new(rows, cols, values.collect()).unwrap()
}

/// A number in `[-1, 1)`.
pub(crate) fn number(state: &mut u64) -> f32 {
    *state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
    (*state >> 40) as f32 / (1 << 23) as f32 - 1.0
}

fn formats(dense: &Dense<f32>) -> Vec<Format> {
    let mut formats = vec![Format::Dense, Format::Coo, Format::Csr16, Format::Csr32, Format::Bitmap];
    for m in (2..=64).filter(|m| dense.cols().is_multiple_of(*m)).take(2) {
        formats.push(Format::Packed { n: m, m, kernel: 1 });
    }
    if dense.cols().is_multiple_of(6) {
        formats.push(Format::Packed { n: 2, m: 2, kernel: 3 });
    }
    for (height, width) in [(1, 1), (2, 4), (3, 3)] {
        if dense.rows().is_multiple_of(height) && dense.cols().is_multiple_of(width) {
            formats.push(Format::Blocks { height, width });
        }
    }
    formats
}

/// Checks a product in every format and on every level; `batch` samples of a plan for `most`.
fn check(dense: &Dense<f32>, batch: usize, most: usize, with_bias: bool, activation: Activation) {
    let (rows, cols) = (dense.rows(), dense.cols());
    let mut state = 99;
    let x: Vec<f32> = (0..batch * cols).map(|_| number(&mut state)).collect();
    let bias: Vec<f32> = (0..rows).map(|_| number(&mut state)).collect();
    let mut expected = vec![(0.0, 0.0); batch * rows];
    for sample in 0..batch {
        for row in 0..rows {
            let first = if with_bias { f64::from(bias[row]) } else { 0.0 };
            let (sum, size) = &mut expected[sample * rows + row];
            (*sum, *size) = (first, first.abs());
            for (w, x) in dense.row(row).iter().zip(&x[sample * cols..]) {
                *sum += f64::from(*w) * f64::from(*x);
                *size += (f64::from(*w) * f64::from(*x)).abs();
            }
            if activation == Activation::Relu {
                *sum = sum.max(0.0);
            }
        }
    }
    for format in formats(dense) {
        let sparse = Sparse::from_dense(dense, format).unwrap();
        for level in Level::available() {
            let mut plan = Plan::with_level(&sparse, most, level).unwrap();
            let mut y = vec![f32::NAN; batch * rows];
            for _ in 0..2 {
                plan.run(&x, batch, with_bias.then_some(&bias[..]), activation, &mut y).unwrap();
            }
            for (i, (&y, &(sum, size))) in y.iter().zip(&expected).enumerate() {
                let bound = size * (cols + 2) as f64 * f64::from(f32::EPSILON);
                assert!(
                    (f64::from(y) - sum).abs() <= bound,
                    "{format:?} {level:?} {batch} of {most}, {i}: {y}, not {sum}"
                );
            }
        }
    }
}

/// Cases for each property: fewer where an interpreter runs them.
const CASES: u32 = if cfg!(miri) { 1 } else { 48 };

proptest! {
    #![proptest_config(ProptestConfig::with_cases(CASES))]
    #[test]
    fn products_are_those_of_a_plain_sum(
        rows in 0usize..40, cols in 0usize..90, density in 0u64..=100, seed: u64, batch in 0usize..70, spare in 0usize..5,
        with_bias: bool, relu: bool
    ) {
        let activation = if relu { Activation::Relu } else { Activation::None };
        check(&weights(rows, cols, density, seed), batch, batch + spare, with_bias, activation);
    }

    #[test]
    fn single_samples_too(rows in 0usize..70, cols in 0usize..90, density in 0u64..=100, seed: u64, batch in 1usize..4) {
        check(&weights(rows, cols, density, seed), batch, batch, true, Activation::Relu);
    }
}

#[test]
#[cfg_attr(miri, ignore = "takes an interpreter hours")]
fn several_chunks_and_panels_add_up() {
    for density in [0, 3, 50, 100] {
        let dense = weights(301, 1003, density, 5);
        for batch in [1, 8, 13, 33] {
            check(&dense, batch, batch, true, Activation::None);
        }
    }
}

#[test]
fn a_column_that_is_not_used_adds_nothing() {
    // Row 0 uses column 1, row 1 column 2; the input has an infinity in column 0 and a NaN in column 3.
    let mut values = vec![0.0f32; 2 * 20];
    (values[1], values[22]) = (2.0, 3.0);
    let dense = Dense::new(2, 20, values).unwrap();
    let mut line = [1.0f32; 20];
    (line[0], line[3]) = (f32::INFINITY, f32::NAN);
    for batch in [1, 8, 20, 40] {
        for format in formats(&dense).into_iter().filter(|f| *f != Format::Dense || batch > 3) {
            for level in Level::available() {
                let mut plan = Plan::with_level(&Sparse::from_dense(&dense, format).unwrap(), batch, level).unwrap();
                let mut y = vec![0.0; 2 * batch];
                plan.run(&line.repeat(batch), batch, None, Activation::None, &mut y).unwrap();
                assert_eq!(y, [2.0, 3.0].repeat(batch), "{format:?} {level:?}");
            }
        }
    }
}

#[test]
#[cfg_attr(all(miri, target_feature = "f16c"), ignore = "Miri has no F16C")]
fn half_precision_is_widened_and_a_nan_stays_one() {
    let weights = [1.5, f32::NAN, 0.0, -2.0].map(f16::from_f32);
    let sparse = Sparse::from_dense(&Dense::new(2, 2, weights.to_vec()).unwrap(), Format::Csr16).unwrap();
    for batch in [1, 8] {
        let mut y = vec![0.0; 2 * batch];
        let mut plan = Plan::new(&sparse, batch).unwrap();
        plan.run(&vec![1.0; 2 * batch], batch, None, Activation::Relu, &mut y).unwrap();
        assert!(y[0].is_nan());
        assert_eq!(y[1], 0.0);
    }
}

#[test]
fn slices_of_another_length_are_refused() {
    let sparse = Sparse::from_dense(&weights(2, 3, 100, 1), Format::Coo).unwrap();
    let mut plan = Plan::new(&sparse, 2).unwrap();
    let mut run = |x: usize, batch, bias: Option<&[f32]>, y: usize| {
        plan.run(&vec![0.0; x], batch, bias, Activation::None, &mut vec![0.0; y]).unwrap_err().to_string()
    };
    assert_eq!(run(9, 3, None, 6), "batch: 3 is above 2");
    assert_eq!(run(5, 2, None, 4), "inputs: expected 6, got 5");
    assert_eq!(run(6, 2, None, 5), "outputs: expected 4, got 5");
    assert_eq!(run(6, 2, Some(&[1.0]), 4), "biases: expected 2, got 1");
}

#[test]
fn a_batch_that_no_memory_holds_is_refused() {
    for format in [Format::Coo, Format::Bitmap] {
        let sparse = Sparse::from_dense(&weights(2, 3, 100, 1), format).unwrap();
        for batch in [usize::MAX, usize::MAX / 8, 1 << 60] {
            assert!(matches!(Plan::new(&sparse, batch), Err(SparseError::Memory { .. })), "{batch}");
        }
    }
}

/// The same bits whatever the number of threads.
#[cfg(feature = "rayon")]
#[test]
fn results_do_not_depend_on_the_number_of_threads() {
    let dense = weights(700, 300, 20, 3);
    let mut state = 1;
    for batch in [1, 8, 40] {
        let x: Vec<f32> = (0..batch * 300).map(|_| number(&mut state)).collect();
        let results = [1, 2, 5].map(|threads| {
            let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
            let mut plan = Plan::new(&Sparse::from_dense(&dense, Format::Bitmap).unwrap(), batch).unwrap();
            let mut y = vec![0.0; batch * 700];
            pool.install(|| plan.run(&x, batch, None, Activation::None, &mut y)).unwrap();
            y.iter().map(|v| v.to_bits()).collect::<Vec<_>>()
        });
        assert_eq!(results[0], results[1]);
        assert_eq!(results[0], results[2]);
    }
}
