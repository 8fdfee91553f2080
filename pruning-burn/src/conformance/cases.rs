//! Layers that criteria are tried on.

use crate::score::{Need, NeedShape};
use burn::tensor::Device;

/// Layer types and shapes of their parameters: odd ones, a single element, a single row or column, kernels, a norm.
pub(super) const LAYERS: [(&str, &[usize]); 9] = [
    ("Linear", &[1, 1]),
    ("Linear", &[7, 3]),
    ("Linear", &[65, 33]),
    ("Linear", &[1, 129]),
    ("Linear", &[127, 1]),
    ("Conv2d", &[5, 3, 3, 3]),
    ("ConvTranspose2d", &[3, 5, 2, 2]),
    ("Conv1d", &[4, 1, 7]),
    ("BatchNorm", &[9]),
];
pub(super) const SEEDS: [u64; 2] = [1, 0x5eed];

/// The batches of an input that has values for each.
const BATCHES: usize = 3;

/// A layer with weights and inputs, and what to say of it.
#[derive(Clone)]
pub(super) struct Case {
    pub(super) kind: &'static str,
    pub(super) shape: Vec<usize>,
    pub(super) weights: Vec<f32>,
    /// What all inputs are; by default numbers that go with their weight, wherever that one is moved to.
    pub(super) inputs: Option<f32>,
    pub(super) about: String,
}

impl Case {
    /// Weights well apart from zero and from each other.
    pub(super) fn new(kind: &'static str, shape: &[usize], scale: f32, seed: u64) -> Self {
        let weights = numbers(shape.iter().product(), seed).iter().map(|v| v * scale).collect();
        let about = format!("{kind} {shape:?}, weights to {scale:e}, seed {seed:#x}");
        Self { kind, shape: shape.to_vec(), weights, inputs: None, about }
    }

    pub(super) fn path(&self) -> &'static str {
        if self.kind.contains("Norm") { "layer.gamma" } else { "layer.weight" }
    }

    /// The values of an input. Each number comes from the weights that it is for, so that it goes where they are moved to.
    pub(super) fn input(&self, need: Need) -> Vec<f32> {
        let layout = self.layout();
        let (rows, cols) = (layout.rows(), layout.cols());
        if let Some(all) = self.inputs {
            return vec![all; need.shape().of(&self.shape, &layout, BATCHES * cols).iter().product()];
        }
        let seed = need.name().bytes().fold(11, |seed: u64, byte| (seed * 31 + u64::from(byte)) % 251);
        let number = |key: u64| numbers(1, key << 8 | seed)[0];
        // Of a row or column, whatever the order of its weights.
        let sum =
            |weights: &mut dyn Iterator<Item = usize>| weights.map(|i| u64::from(self.weights[i].to_bits())).sum();
        let row = |row: usize| sum(&mut (0..cols).map(|col| layout.flat(row, col)));
        let col = |col: usize| sum(&mut (0..rows).map(|row| layout.flat(row, col)));
        match need.shape() {
            NeedShape::Weight => {
                let own = self.weights.iter().map(|weight| number(u64::from(weight.to_bits())));
                own.map(|number| if need == Need::SQUARED_GRADIENT { number * number } else { number }).collect()
            }
            NeedShape::Column => (0..cols).map(|c| number(col(c)).abs()).collect(),
            NeedShape::Batches => {
                (0..BATCHES as u64).flat_map(|b| (0..cols).map(move |c| number(col(c) + b))).collect()
            }
            NeedShape::Output => (0..rows).map(|r| number(row(r)).abs()).collect(),
            NeedShape::Columns => {
                let keys: Vec<u64> = (0..cols).map(col).collect();
                let pairs = (0..cols).flat_map(|one| (0..cols).map(move |other| (one, other)));
                let of = |(one, other): (usize, usize)| match one == other {
                    true => 1.0 + number(keys[one]).abs(),
                    false => number(keys[one] + keys[other]) / cols as f32,
                };
                pairs.map(of).collect()
            }
        }
    }

    pub(super) fn on(&self, device: &Device) -> String {
        format!("{} on {device:?}", self.about)
    }
}

/// Numbers in `(-1, 1)`, well apart from zero and from each other, the same everywhere.
fn numbers(len: usize, seed: u64) -> Vec<f32> {
    let mut state = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
    (0..len)
        .map(|_| {
            state ^= state << 13;
            state ^= state >> 7;
            state ^= state << 17;
            let magnitude = (state >> 41) as f32 / (1u64 << 23) as f32;
            if state & 1 == 0 { 0.01 + 0.99 * magnitude } else { -0.01 - 0.99 * magnitude }
        })
        .collect()
}

/// Weights of every scale, one after the other.
pub(super) fn scaled(scales: &[f32]) -> Vec<Case> {
    let each = |(kind, shape): (&'static str, &'static [usize])| {
        scales.iter().flat_map(move |&scale| SEEDS.map(|seed| Case::new(kind, shape, scale, seed)))
    };
    LAYERS.into_iter().flat_map(each).collect()
}

/// Weights and inputs with nothing between their least and their greatest, or nothing but zeros: what a sum, a maximum or a
/// deviation that is divided by makes NaN of.
pub(super) fn flat() -> Vec<Case> {
    type Fill = fn(usize, usize, f32) -> f32;
    let fills: [(&str, Fill); 7] = [
        ("weights all zero", |_, _, _| 0.0),
        ("weights all 0.5", |_, _, _| 0.5),
        ("weights all -0.5", |_, _, _| -0.5),
        ("a row of zeros", |row, _, weight| if row == 0 { 0.0 } else { weight }),
        ("a column of zeros", |_, col, weight| if col == 0 { 0.0 } else { weight }),
        ("one weight that is not zero", |row, col, weight| if row + col == 0 { weight } else { 0.0 }),
        ("any weights", |_, _, weight| weight),
    ];
    let mut cases = Vec::new();
    for (kind, shape) in LAYERS {
        for (about, fill) in fills {
            for inputs in [None, Some(0.0), Some(1.0)] {
                let mut case = Case::new(kind, shape, 1.0, SEEDS[0]);
                let layout = case.layout();
                for (row, col) in (0..layout.rows()).flat_map(|row| (0..layout.cols()).map(move |col| (row, col))) {
                    let weight = &mut case.weights[layout.flat(row, col)];
                    *weight = fill(row, col, *weight);
                }
                let given = inputs.map(|all| format!(", inputs all {all}")).unwrap_or_default();
                case.about = format!("{kind} {shape:?}, {about}{given}");
                case.inputs = inputs;
                cases.push(case);
            }
        }
    }
    cases
}

/// Every case whose answer must never change.
pub(super) fn all() -> Vec<Case> {
    let mut cases = scaled(&[1.0, 1e-30, 1e-15, 1e15, 0.0]);
    cases.extend(flat());
    cases
}
