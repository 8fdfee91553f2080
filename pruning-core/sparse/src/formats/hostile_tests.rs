//! Arrays that do not belong together: a typed error or a matrix that works, never a panic, never undefined behaviour.
//!
//! Each case takes the arrays of a valid matrix and breaks some of them, or leaves them as they are. What is accepted is multiplied with,
//! in every form and on every instruction set, so that an interpreter (Miri) or a sanitizer sees what the kernels make of it.

use crate::formats::tests::matrix;
use crate::*;
use half::{bf16, f16};
use proptest::prelude::*;

/// A sequence of random numbers.
struct Random(u64);

impl Random {
    fn below(&mut self, end: usize) -> usize {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) as usize % end.max(1)
    }

    /// A number that is nearly right, or far from it.
    fn number(&mut self, near: usize) -> usize {
        match self.below(8) {
            0 => usize::MAX,
            1 => u32::MAX as usize,
            2 => 0,
            3 => near.wrapping_add(1),
            4 => near.wrapping_sub(1),
            5 => self.below(70),
            _ => near,
        }
    }

    /// Breaks an array: one element more, less or other, or two of them exchanged.
    fn damage<T: Copy>(&mut self, array: &mut Vec<T>, other: impl Fn(&mut Self, T) -> T) {
        let len = array.len();
        let (a, b) = (self.below(len), self.below(len));
        match self.below(8) {
            0 if len > 0 => array.push(array[a]),
            1 if len > 0 => drop(array.remove(a)),
            2 if len > 0 => array.swap(a, b),
            3 if len > 0 => array[a] = other(self, array[a]),
            4 => array.truncate(a),
            _ => {}
        }
    }

    fn indices(&mut self, array: &mut Vec<u32>) {
        self.damage(array, |random, near| random.number(near as usize) as u32);
    }

    fn values<T: Element>(&mut self, array: &mut Vec<T>) {
        self.damage(array, |random, value| if random.below(2) == 0 { T::ZERO } else { value });
    }
}

/// Multiplies with a matrix that was accepted, and convolves with it.
fn works<T: Element>(sparse: &Sparse<T>) {
    let (rows, cols) = (sparse.rows(), sparse.cols());
    // What is stored bears out the size, so it fits into memory.
    assert!(rows < 100 && cols < 100, "{rows} x {cols}");
    let dense = sparse.to_dense();
    assert_eq!(dense.nonzeros(), sparse.nonzeros());
    let json = serde_json::to_string(sparse).unwrap();
    assert_eq!(serde_json::from_str::<Sparse<T>>(&json).unwrap(), *sparse);
    for level in Level::available() {
        for batch in [1, 5] {
            let mut plan = Plan::with_level(sparse, batch, level).unwrap();
            let mut y = vec![0.0; batch * rows];
            plan.run(&vec![1.0; batch * cols], batch, None, Activation::None, &mut y).unwrap();
        }
        let shape = ConvShape::new(cols, [3, 4], [1, 1]).with_padding([1, 0]);
        let mut plan = ConvPlan::with_level(sparse, &shape, 1, level, Some(Way::Direct)).unwrap();
        plan.run(&vec![1.0; 12 * cols], 1, None, Activation::Relu, &mut vec![0.0; 20 * rows]).unwrap();
    }
}

fn try_all<T: Element>(rows: usize, cols: usize, density: u64, seed: u64) {
    let dense = matrix::<T>(rows, cols, density, seed);
    let mut random = Random(seed);
    for format in [Format::Coo, Format::Csr16, Format::Csr32, Format::Bitmap] {
        let sparse = Sparse::from_dense(&dense, format).unwrap();
        try_one(&sparse, &mut random);
    }
    for (n, m, kernel) in [(2, 2, 1), (4, 4, 1), (3, 3, 1), (2, 2, 3), (3, 3, 2)] {
        if let Ok(packed) = Packed::from_dense(&dense, (n, m), kernel) {
            try_one(&Sparse::Packed(packed), &mut random);
        }
    }
    for block in [(1, 1), (2, 2), (3, 4)] {
        if let Ok(blocks) = Blocks::from_dense(&dense, block) {
            try_one(&Sparse::Blocks(blocks), &mut random);
        }
    }
    let mut values = dense.values().to_vec();
    random.values(&mut values);
    if let Ok(dense) = Dense::new(random.number(rows), random.number(cols), values) {
        works(&Sparse::Dense(dense));
    }
}

fn try_one<T: Element>(sparse: &Sparse<T>, random: &mut Random) {
    let (mut rows, mut cols) = (sparse.rows(), sparse.cols());
    if random.below(4) == 0 {
        (rows, cols) = (random.number(rows), random.number(cols));
    }
    let result = match sparse {
        Sparse::Coo(coo) => {
            let (mut a, mut b) = (coo.row_indices().to_vec(), coo.col_indices().to_vec());
            let mut values = coo.values().to_vec();
            random.indices(&mut a);
            random.indices(&mut b);
            random.values(&mut values);
            Coo::new(rows, cols, a, b, values).map(Sparse::Coo)
        }
        Sparse::Csr(csr) => {
            let (mut starts, mut values) = (csr.starts().to_vec(), csr.values().to_vec());
            let indices = match csr.indices() {
                Indices::U16(indices) => {
                    let mut indices = indices.clone();
                    random.damage(&mut indices, |random, near| random.number(near.into()) as u16);
                    Indices::U16(indices)
                }
                Indices::U32(indices) => {
                    let mut indices = indices.clone();
                    random.indices(&mut indices);
                    Indices::U32(indices)
                }
            };
            random.indices(&mut starts);
            random.values(&mut values);
            Csr::new(rows, cols, starts, indices, values).map(Sparse::Csr)
        }
        Sparse::Bitmap(bitmap) => {
            let (mut words, mut values) = (bitmap.words().to_vec(), bitmap.values().to_vec());
            random.damage(&mut words, |random, word| word ^ 1 << random.below(16));
            random.values(&mut values);
            Bitmap::new(rows, cols, words, values).map(Sparse::Bitmap)
        }
        Sparse::Packed(packed) => {
            let (mut positions, mut values) = (packed.positions().to_vec(), packed.values().to_vec());
            let (n, m) = packed.pattern();
            random.damage(&mut positions, |random, word| word ^ 1 << random.below(32));
            random.values(&mut values);
            let pattern = if random.below(4) == 0 { (random.number(n), random.number(m)) } else { (n, m) };
            let kernel = if random.below(4) == 0 { random.number(packed.kernel()) } else { packed.kernel() };
            Packed::new(rows, cols, pattern, kernel, positions, values).map(Sparse::Packed)
        }
        Sparse::Blocks(blocks) => {
            let (mut starts, mut indices) = (blocks.starts().to_vec(), blocks.indices().to_vec());
            let mut values = blocks.values().to_vec();
            let (height, width) = blocks.block();
            random.indices(&mut starts);
            random.indices(&mut indices);
            random.values(&mut values);
            let block =
                if random.below(4) == 0 { (random.number(height), random.number(width)) } else { (height, width) };
            Blocks::new(rows, cols, block, starts, indices, values).map(Sparse::Blocks)
        }
        Sparse::Dense(dense) => Dense::new(rows, cols, dense.values().to_vec()).map(Sparse::Dense),
    };
    match result {
        Ok(accepted) => works(&accepted),
        // An error can be printed, and says something.
        Err(error) => assert!(!error.to_string().is_empty()),
    }
    text(sparse, random);
}

/// Reads what was written, cut off or with one of its bytes changed.
fn text<T: Element>(sparse: &Sparse<T>, random: &mut Random) {
    let json = serde_json::to_string(sparse).unwrap();
    let cut = random.below(json.len());
    assert!(serde_json::from_str::<Sparse<T>>(&json[..cut]).is_err());
    let mut bytes = json.into_bytes();
    let at = random.below(bytes.len());
    bytes[at] = b"0123456789,[]-"[random.below(14)];
    if let Ok(accepted) = serde_json::from_slice::<Sparse<T>>(&bytes) {
        works(&accepted);
    }
}

/// A few bytes that ask for all the memory there is.
#[test]
fn sizes_that_nothing_bears_out_are_refused() {
    let forms = [
        r#"{"dense":{"rows":R,"cols":C,"values":[]}}"#,
        r#"{"coo":{"rows":R,"cols":C,"row_indices":[],"col_indices":[],"values":[]}}"#,
        r#"{"csr":{"rows":R,"cols":C,"starts":[0],"indices":{"u16":[]},"values":[]}}"#,
        r#"{"bitmap":{"rows":R,"cols":C,"words":[],"values":[]}}"#,
        r#"{"packed":{"rows":R,"cols":C,"n":2,"m":4,"positions":[],"values":[]}}"#,
        r#"{"blocks":{"rows":R,"cols":C,"height":R,"width":1,"starts":[0,0],"indices":[],"values":[]}}"#,
        r#"{"blocks":{"rows":R,"cols":C,"height":1,"width":1,"starts":[0],"indices":[],"values":[]}}"#,
    ];
    const MOST: u64 = u32::MAX as u64;
    let sizes =
        [(MOST, 0), (0, MOST), (MOST, 1), (1, MOST), (MOST, MOST), (1 << 24, 1 << 24), (u64::MAX, 2), (1 << 25, 0)];
    for form in forms {
        for (rows, cols) in sizes {
            let text = form.replace('R', &rows.to_string()).replace('C', &cols.to_string());
            assert!(serde_json::from_str::<Sparse<f32>>(&text).is_err(), "{text}");
        }
        // A small one without entries is fine, where the arrays say no more than that.
        let text = form.replace(['R', 'C'], "0").replace("\"height\":0", "\"height\":1").replace("[0,0]", "[0]");
        works(&serde_json::from_str::<Sparse<f32>>(&text).unwrap());
    }
}

#[test]
fn large_matrices_are_accepted_where_their_entries_bear_them_out() {
    let none = |cols: usize| Coo::<f32>::new(1 << 14, cols, Vec::new(), Vec::new(), Vec::new());
    assert!(none(1 << 14).is_ok(), "a layer of which nothing is left");
    assert!(matches!(none((1 << 14) + 1), Err(SparseError::TooLarge { what: "elements", limit: 0x1000_0000, .. })));
    // Twice as many elements, of which the first row holds entries.
    let row = |entries: usize| {
        Coo::new(1 << 12, 1 << 17, vec![0; entries], (0..entries as u32).collect(), vec![1.0f32; entries])
    };
    assert!(row(1 << 17).is_ok() && row((1 << 17) - 1).is_err());
}

/// Cases for each property: fewer where an interpreter runs them.
const CASES: u32 = if cfg!(miri) { 1 } else { 512 };

proptest! {
    #![proptest_config(ProptestConfig::with_cases(CASES))]
    #[test]
    fn arrays_that_do_not_fit_are_refused_or_harmless(
        rows in 0usize..7, cols in 0usize..13, density in 0u64..=100, seed: u64
    ) {
        try_all::<f32>(rows, cols, density, seed);
        try_all::<f16>(rows, cols, density, seed);
        try_all::<bf16>(rows, cols, density, seed);
    }

    #[test]
    fn sizes_that_do_not_fit_are_refused_or_harmless(seed: u64, rows in 0usize..4, cols in 0usize..10, batch in 0usize..3) {
        let mut random = Random(seed);
        let mut near = |size: usize| random.number(size);
        let shape = ConvShape::new(near(2), [near(5), near(6)], [near(2), near(1)])
            .with_sides([[near(1), near(0)], [near(0), near(1)]])
            .with_stride([near(1), near(2)])
            .with_dilation([near(1), near(1)])
            .with_groups(near(1));
        let batch = near(batch);
        for element in [1, 4] {
            let _ = Format::Packed { n: near(2), m: near(4), kernel: near(1) }.bytes(near(rows), near(cols), near(3), element);
            let _ = Format::Blocks { height: near(2), width: near(2) }.bytes(near(rows), near(cols), near(3), element);
        }
        // A matrix that fits, where there is one.
        let cols = if shape.fan_in() < 1 << 8 { shape.fan_in() } else { cols };
        let rows = if shape.groups < 1 << 6 { rows * shape.groups.max(1) } else { rows };
        if let (Ok(axes), true) = (shape.check(rows, cols, batch), cols < 1 << 8) {
            let sparse = Sparse::from_dense(&matrix::<f32>(rows, cols, 60, seed), Format::Csr16).unwrap();
            let sizes = [axes[0].padded.max(axes[0].output), axes[1].padded.max(axes[1].output), batch, shape.channels];
            if sizes.into_iter().all(|size| size < 1 << 7) {
                for way in [Way::Direct, Way::Product] {
                    let best = Level::available()[0];
                    let mut plan = ConvPlan::with_level(&sparse, &shape, batch, best, Some(way)).unwrap();
                    let x = vec![1.0; batch * shape.channels * shape.input[0] * shape.input[1]];
                    let mut y = vec![0.0; batch * plan.output().into_iter().product::<usize>()];
                    plan.run(&x, batch, None, Activation::None, &mut y).unwrap();
                }
            }
        }
    }
}
