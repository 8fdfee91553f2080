//! Conversions, sizes, and what is refused.

use crate::*;
use half::{bf16, f16};
use proptest::prelude::*;

/// A matrix with some of its elements zero, and now and then a minus zero, an infinity or a NaN.
pub(crate) fn matrix<T: Element>(rows: usize, cols: usize, density: u64, seed: u64) -> Dense<T> {
    let mut state = seed | 1;
    let mut random = move || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state
    };
    let mask = if T::BYTES == 4 { u32::MAX } else { 0xffff };
    let special = if T::BYTES == 4 { [0x8000_0000, 0x7f80_0000, 0x7fc1_2345] } else { [0x8000, 0x7f80, 0x7fff] };
    let values = (0..rows * cols).map(|_| {
        let bits = match random() % 100 {
            r if r >= density => 0,
            0 => special[random() as usize % 3],
            _ => random() as u32 & mask,
        };
        T::from_bits(bits).unwrap()
    });
    Dense::new(rows, cols, values.collect()).unwrap()
}

/// Zeros what an N:M pattern does not keep.
fn cut<T: Element>(dense: &Dense<T>, n: usize, m: usize, kernel: usize) -> Dense<T> {
    let mut values = dense.values().to_vec();
    for block in values.chunks_mut(m * kernel) {
        for first in 0..kernel {
            let mut kept = 0;
            for value in block[first..].iter_mut().step_by(kernel) {
                kept += usize::from(!value.is_zero());
                if kept > n {
                    *value = T::ZERO;
                }
            }
        }
    }
    Dense::new(dense.rows(), dense.cols(), values).unwrap()
}

fn round_trip<T: Element>(dense: &Dense<T>, format: Format) -> Sparse<T> {
    let sparse = Sparse::from_dense(dense, format).unwrap();
    assert_eq!(sparse.to_dense(), *dense, "{format:?}");
    assert_eq!(sparse.format(), format);
    assert_eq!(sparse.nonzeros(), dense.nonzeros());
    let stored = match &sparse {
        Sparse::Blocks(blocks) => blocks.indices().len(),
        _ => dense.nonzeros(),
    };
    assert_eq!(sparse.bytes() as u64, format.bytes(dense.rows(), dense.cols(), stored, T::BYTES), "{format:?}");
    let json = serde_json::to_string(&sparse).unwrap();
    assert_eq!(serde_json::from_str::<Sparse<T>>(&json).unwrap(), sparse);
    sparse
}

fn every_format<T: Element>(rows: usize, cols: usize, density: u64, seed: u64) {
    let dense = matrix::<T>(rows, cols, density, seed);
    for format in [Format::Dense, Format::Coo, Format::Csr16, Format::Csr32, Format::Bitmap] {
        round_trip(&dense, format);
    }
    for m in (2..=64).filter(|m| cols.is_multiple_of(*m)).take(4) {
        for n in [1, m.div_ceil(2), m] {
            round_trip(&cut(&dense, n, m, 1), Format::Packed { n, m, kernel: 1 });
        }
    }
    for (m, kernel) in
        [(2, 3), (4, 3), (4, 9), (3, 2)].into_iter().filter(|(m, kernel)| cols.is_multiple_of(m * kernel))
    {
        for n in [1, m - 1, m] {
            round_trip(&cut(&dense, n, m, kernel), Format::Packed { n, m, kernel });
        }
    }
    for height in (1..=4).filter(|h| rows.is_multiple_of(*h)) {
        for width in [1, 3, 4, 8].into_iter().filter(|w| cols.is_multiple_of(*w)) {
            round_trip(&dense, Format::Blocks { height, width });
        }
    }
    let format = smallest(&dense, 1);
    let sparse = round_trip(&dense, format);
    for other in [Format::Dense, Format::Coo, Format::Csr16, Format::Bitmap] {
        assert!(sparse.bytes() as u64 <= other.bytes(rows, cols, dense.nonzeros(), T::BYTES));
    }
}

/// Cases of the property: fewer where an interpreter runs them.
const CASES: u32 = if cfg!(miri) { 2 } else { 64 };

proptest! {
    #![proptest_config(ProptestConfig::with_cases(CASES))]
    #[test]
    fn conversions_are_exact_bit_for_bit(rows in 0usize..20, cols in 0usize..40, density in 0u64..=100, seed: u64) {
        every_format::<f32>(rows, cols, density, seed);
        every_format::<f16>(rows, cols, density, seed);
        every_format::<bf16>(rows, cols, density, seed);
    }
}

#[test]
fn conversions_are_exact_at_the_edges() {
    for (rows, cols) in [(0, 0), (0, 5), (5, 0), (1, 1), (3, 64), (7, 33)] {
        for density in [0, 100] {
            every_format::<f32>(rows, cols, density, 7);
            every_format::<bf16>(rows, cols, density, 7);
        }
    }
}

/// A matrix whose first `nonzeros` elements, column after column, are ones.
fn ones(rows: usize, cols: usize, nonzeros: usize) -> Dense<f32> {
    let mut values = vec![0.0; rows * cols];
    (0..nonzeros).for_each(|i| values[i % rows * cols + i / rows] = 1.0);
    Dense::new(rows, cols, values).unwrap()
}

fn bytes(dense: &Dense<f32>, format: Format) -> usize {
    Sparse::from_dense(dense, format).unwrap().bytes()
}

#[test]
#[cfg_attr(miri, ignore = "takes an interpreter hours, and runs no unsafe code")]
fn coordinates_are_smaller_than_dense_iff_more_than_two_thirds_are_zeros() {
    for (n, m) in [(6, 8), (7, 11), (30, 30)] {
        for k in 0..=n * m {
            let dense = ones(n, m, k);
            assert_eq!(bytes(&dense, Format::Coo) < bytes(&dense, Format::Dense), n * m > 3 * k, "{n} x {m}, {k}");
        }
    }
}

#[test]
#[cfg_attr(miri, ignore = "takes an interpreter hours, and runs no unsafe code")]
fn the_other_rules_hold_too() {
    for (n, m) in [(8, 16), (7, 11), (20, 48)] {
        for k in 0..=n * m {
            let dense = ones(n, m, k);
            let smaller = |format| bytes(&dense, format) < 4 * n * m;
            assert_eq!(smaller(Format::Csr16), 6 * k + 4 * (n + 1) < 4 * n * m);
            assert_eq!(smaller(Format::Csr32), 8 * k + 4 * (n + 1) < 4 * n * m);
            assert_eq!(smaller(Format::Bitmap), 4 * k + 2 * n * m.div_ceil(16) < 4 * n * m);
            if m % 16 == 0 {
                assert_eq!(smaller(Format::Bitmap), 32 * (n * m - k) > n * m, "more than one of 32 is zero");
            }
        }
    }
    // N:M in wide matrices, by the share of dense that the documentation gives.
    for ((n, m), share) in [((2, 4), 0.53125), ((1, 4), 0.265_625), ((4, 8), 0.546_875)] {
        let dense = Dense::new(4, 1024, vec![0.0f32; 4096]).unwrap();
        assert_eq!(bytes(&dense, Format::Packed { n, m, kernel: 1 }) as f64, share * 4.0 * 4096.0);
    }
    // Blocks of 4 x 4: more than one of 17, but for the row pointers.
    for blocks in 0..=170 {
        let bytes = Format::Blocks { height: 4, width: 4 }.bytes(4, 680, blocks, 4) - 8;
        assert_eq!(bytes < Format::Dense.bytes(4, 680, 0, 4), 17 * (170 - blocks) > 170, "{blocks}");
    }
}

#[test]
#[cfg_attr(miri, ignore = "takes an interpreter hours, and runs no unsafe code")]
fn the_smallest_format_is_chosen() {
    assert_eq!(smallest(&ones(16, 64, 16 * 64), 1), Format::Dense);
    assert_eq!(smallest(&Dense::new(8, 32, vec![0.0f32; 256]).unwrap(), 1), Format::Coo);
    // Scattered: one element of two, one of 32, and four of them in all.
    let every = |step: usize| Dense::new(32, 640, (0..32 * 640).map(|i| f32::from(u8::from(i % step == 0))).collect());
    assert_eq!(smallest(&every(33).unwrap(), 1), Format::Csr16);
    assert_eq!(smallest(&every(5000).unwrap(), 1), Format::Coo);
    assert_eq!(smallest(&every(3).unwrap(), 1), Format::Bitmap);
    // One of every four: consecutive columns, or input channels of a kernel of 2 x 2.
    for kernel in [1, 4] {
        let dense = cut(&ones(16, 64, 16 * 64), 1, 4, kernel);
        assert_eq!(smallest(&dense, 4), Format::Packed { n: 1, m: 4, kernel });
    }
    // The first 4 of 64 columns in every row.
    let dense = ones(16, 64, 16 * 4);
    assert_eq!(smallest(&dense, 1), Format::Blocks { height: 16, width: 16 }.min_of(&dense));
}

#[test]
fn the_fastest_format_goes_by_density_and_batch() {
    let full = ones(8, 32, 256);
    let few = ones(8, 32, 16);
    for batch in [1, 8, 128] {
        assert_eq!(fastest(&full, batch), Format::Dense);
        assert_eq!(fastest(&few, batch), Format::Csr16);
    }
}

impl Format {
    /// The blocks that win: checked by counting all of them.
    fn min_of(self, dense: &Dense<f32>) -> Self {
        let sizes = [4, 8, 16].map(|b| Self::Blocks { height: b, width: b });
        sizes.into_iter().min_by_key(|&f| bytes(dense, f)).unwrap()
    }
}

#[test]
fn bad_entries_are_refused_by_name() {
    use SparseError as E;
    let coo = |rows, cols, values| Coo::<f32>::new(2, 3, rows, cols, values).unwrap_err();
    assert_eq!(coo(vec![0], vec![3], vec![1.0]), E::OutOfRange { what: "column", entry: 0, index: 3, len: 3 });
    assert_eq!(coo(vec![2], vec![0], vec![1.0]), E::OutOfRange { what: "row", entry: 0, index: 2, len: 2 });
    assert_eq!(coo(vec![1, 0], vec![0, 1], vec![1.0; 2]), E::Unsorted { entry: 1, row: 0, col: 1 });
    assert_eq!(coo(vec![1, 1], vec![2, 2], vec![1.0; 2]), E::Duplicate { entry: 1, row: 1, col: 2 });
    assert_eq!(coo(vec![1], vec![2], vec![0.0]), E::StoredZero { entry: 0 });
    assert_eq!(coo(vec![1], vec![], vec![1.0]), E::Length { what: "column indices", expected: 1, actual: 0 });
    assert!(Coo::<f32>::new(2, 3, vec![1], vec![2], vec![-0.0]).is_ok());

    let csr = |starts, cols, values| Csr::<f32>::new(2, 3, starts, Indices::U16(cols), values).unwrap_err();
    assert_eq!(csr(vec![0, 1], vec![0], vec![1.0]), E::Length { what: "row starts", expected: 3, actual: 2 });
    assert_eq!(csr(vec![0, 2, 1], vec![0], vec![1.0]), E::Pointers { row: 0, start: 0, end: 2 });
    assert_eq!(csr(vec![1, 1, 1], vec![0], vec![1.0]), E::Pointers { row: 0, start: 1, end: 1 });
    assert_eq!(csr(vec![0, 1, 0], vec![], vec![]), E::Pointers { row: 0, start: 0, end: 1 });
    assert_eq!(csr(vec![0, 2, 2], vec![1, 1], vec![1.0; 2]), E::Duplicate { entry: 1, row: 0, col: 1 });
    assert_eq!(csr(vec![0, 2, 2], vec![1, 0], vec![1.0; 2]), E::Unsorted { entry: 1, row: 0, col: 0 });
    assert!(matches!(csr(vec![0, 1, 1], vec![7], vec![1.0]), E::OutOfRange { index: 7, .. }));
    assert!(Csr::<f32>::new(0, 3, vec![1], Indices::U16(vec![0]), vec![1.0]).is_err());
    assert!(Csr::<f32>::new(2, 3, vec![0, 1, 2], Indices::U16(vec![2, 0]), vec![1.0; 2]).is_ok());

    assert_eq!(Bitmap::<f32>::new(1, 3, vec![8], vec![1.0]).unwrap_err(), E::StrayBits { row: 0 });
    let error = Bitmap::<f32>::new(1, 3, vec![7], vec![1.0]).unwrap_err();
    assert_eq!(error, E::Length { what: "values", expected: 3, actual: 1 });
    assert_eq!(Bitmap::<f32>::new(1, 3, vec![3], vec![1.0, 0.0]).unwrap_err(), E::StoredZero { entry: 1 });

    let packed = |pattern, words, values| Packed::<f32>::new(1, 4, pattern, 1, words, values).unwrap_err();
    assert_eq!(packed((2, 4), vec![0b01_10], vec![1.0; 2]), E::Unsorted { entry: 1, row: 0, col: 1 });
    assert_eq!(packed((2, 4), vec![0b01_01], vec![1.0; 2]), E::Duplicate { entry: 1, row: 0, col: 1 });
    assert_eq!(packed((2, 4), vec![0b1_01_00], vec![1.0; 2]), E::StrayBits { row: 0 });
    assert_eq!(packed((5, 4), vec![0], vec![1.0; 5]), E::Pattern { n: 5, m: 4 });
    assert_eq!(packed((2, 3), vec![0], vec![1.0; 2]), E::DoesNotDivide { what: "columns", part: 3, whole: 4 });
    let error = Packed::<f32>::new(1, 3, (1, 3), 1, vec![3], vec![1.0]).unwrap_err();
    assert_eq!(error, E::OutOfRange { what: "position", entry: 0, index: 3, len: 3 });
    let packed = |cols, kernel| Packed::<f32>::new(1, cols, (1, 2), kernel, vec![0], vec![0.0; cols / 2]).unwrap_err();
    assert_eq!(packed(8, 0), E::Zero { what: "kernel" });
    assert_eq!(packed(8, 3), E::DoesNotDivide { what: "columns", part: 6, whole: 8 });
    assert!(matches!(packed(8, usize::MAX), E::DoesNotDivide { .. }));
    assert!(Packed::<f32>::new(5, 0, (1, 2), usize::MAX / 2, vec![], vec![]).is_ok_and(|p| p.pattern() == (1, 2)));
    let error = Packed::from_dense(&ones(1, 8, 7), (2, 4), 1).unwrap_err();
    assert_eq!(error, E::Group { row: 0, group: 0, nonzeros: 4, n: 2, m: 4 });
    assert_eq!(error.to_string(), "row 0, group 0 has 4 values, more than 2 of 4");

    let blocks = |starts, cols, values| Blocks::<f32>::new(2, 4, (2, 2), starts, cols, values).unwrap_err();
    assert_eq!(blocks(vec![0, 1], vec![0], vec![0.0; 4]), E::StoredZero { entry: 0 });
    assert!(matches!(blocks(vec![0, 1], vec![2], vec![1.0; 4]), E::OutOfRange { index: 2, .. }));
    assert_eq!(blocks(vec![0, 2], vec![1, 1], vec![1.0; 8]), E::Duplicate { entry: 1, row: 0, col: 1 });
    assert!(Blocks::<f32>::new(2, 4, (0, 2), vec![0], vec![], vec![]).is_err());
    assert!(Dense::<f32>::new(usize::MAX, 2, vec![]).is_err());
}

#[test]
fn what_is_read_is_checked() {
    let sparse = round_trip(&ones(2, 4, 3), Format::Csr16);
    let json = serde_json::to_string(&sparse).unwrap();
    assert!(json.contains(r#""u16":[0,1,0]"#), "{json}");
    let bad = json.replace(r#""u16":[0,1,0]"#, r#""u16":[0,9,0]"#);
    let error = serde_json::from_str::<Sparse<f32>>(&bad).unwrap_err().to_string();
    assert!(error.contains("entry 1: column 9 is past the end of 4"), "{error}");
    let half = r#"{"rows":1,"cols":1,"values":[65536]}"#;
    let error = serde_json::from_str::<Dense<f16>>(half).unwrap_err().to_string();
    assert!(error.contains("bits 0x10000 do not fit"), "{error}");
}
