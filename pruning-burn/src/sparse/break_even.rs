//! The sparsity from which on sparse products are faster, measured before pruning: [`break_even`].

use crate::sparse::SparseModelError;
use crate::sparse::autotune::{example, lap};
use crate::sparse::layer::{Layer, Prepared};
use crate::sparse::pass::Pass;
use crate::sparse::product::{Product, products};
use crate::sparse::program::Program;
use crate::sparse::race::{Duel, race};
use crate::trace::Trace;
use burn::module::Module;
use burn_ir::OperationIr;
use comfy_table::{Cell, CellAlignment, Table, presets};
use pruning_sparse::{Csr, Dense, Sparse};
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, HashSet};
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

/// The largest sparsity that is tried.
const MOST: f64 = 0.99;
/// The number of halvings of the range of sparsities, for a result within 1.5 %.
const STEPS: usize = 6;

/// The break-even of products of one shape.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct BreakEvenRow {
    /// The paths of the weights of this shape.
    pub paths: Vec<String>,
    /// The operation: `linear`, `conv1d` or `conv2d`.
    pub operation: String,
    /// The numbers of output units and of inputs for each (fan-in).
    pub shape: [usize; 2],
    /// The number of vectors (or images) that the weights are multiplied with in one run.
    pub batch: usize,
    /// The least sparsity at which the sparse product was as fast as the dense one; `None` if that is above 99 %.
    pub sparsity: Option<f64>,
}

/// Break-even sparsities of all products of a recorded pass, on this CPU.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct BreakEven {
    /// The rows, one for each shape, in the order in which the shapes first run.
    pub rows: Vec<BreakEvenRow>,
}

impl fmt::Display for BreakEven {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut table = Table::new();
        table.load_style(presets::UTF8_HORIZONTAL_ONLY);
        table.set_header(["weights", "operation", "shape", "batch", "faster from"]);
        let right = |text: String| Cell::new(text).set_alignment(CellAlignment::Right);
        for row in &self.rows {
            let weights = match row.paths.as_slice() {
                [first, _, ..] => format!("{first} and {} more", row.paths.len() - 1),
                all => all.concat(),
            };
            let sparsity = row.sparsity.map_or("never".to_string(), |s| format!("{:.0} %", 100.0 * s));
            table.add_row([
                Cell::new(weights),
                Cell::new(&row.operation),
                right(format!("{}x{}", row.shape[0], row.shape[1])),
                right(row.batch.to_string()),
                right(sparsity),
            ]);
        }
        write!(f, "{table}")
    }
}

/// Measures from which sparsity on each product of a recorded pass is faster with sparse weights.
///
/// Call it before pruning, to see whether sparse weights can be faster on this machine at all. Zeros are at random positions. Every shape
/// is timed alone, dense (by Burn) and sparse in turn, at sparsities that close in on the break-even. That takes at most about seven times
/// `budget` for each shape, and less if it is soon certain which is faster. The values of the weights do not matter, only their shapes.
///
/// ```
/// use burn::{nn::LinearConfig, tensor::{Device, Tensor}};
/// use pruning_burn::{sparse::break_even, trace::Trace};
/// use std::time::Duration;
///
/// let device = Device::flex();
/// let model = LinearConfig::new(64, 32).init(&device);
/// let x = Tensor::<2>::ones([8, 64], &device);
/// let trace = Trace::record(&model, |model, scope| {
///     let x = scope.input(&x);
///     scope.output(model.forward(x));
/// })?;
/// let row = &break_even(&trace, &model, Duration::from_millis(1))?.rows[0];
/// assert_eq!((row.shape, row.batch), ([32, 64], 8));
/// assert!(row.sparsity.is_none_or(|sparsity| sparsity <= 0.99));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
///
/// # Errors
/// The model is not the recorded one, or is not on Flex.
pub fn break_even<M: Module>(trace: &Trace, model: &M, budget: Duration) -> Result<BreakEven, SparseModelError> {
    let program = Program::new(trace, &model.valid().materialize())?;
    let mut rows: Vec<BreakEvenRow> = Vec::new();
    let mut known: BTreeMap<String, usize> = BTreeMap::new();
    for product in products(&program) {
        // The shape of the input and the window determine everything else.
        let key = format!("{:?} {:?} {:?} {}", product.kind, product.x.shape, product.activation, product.rows);
        if let Some(&row) = known.get(&key) {
            let paths = &mut rows[row].paths;
            if !paths.contains(&product.path) {
                paths.push(product.path.clone());
            }
            continue;
        }
        known.insert(key, rows.len());
        let sparsity = of_product(&program, &product, budget)?;
        let (shape, batch) = ([product.rows, product.cols], product.batch);
        rows.push(BreakEvenRow { paths: vec![product.path], operation: product.name.into(), shape, batch, sparsity });
    }
    Ok(BreakEven { rows })
}

fn of_product(program: &Program, product: &Product, budget: Duration) -> Result<Option<f64>, SparseModelError> {
    let alone = |operations: Vec<OperationIr>| {
        let used: HashSet<_> = operations.iter().flat_map(OperationIr::inputs).map(|t| t.id).collect();
        let constants = program.constants.iter().filter(|(id, _)| used.contains(id));
        let constants = constants.map(|(id, constant)| (*id, constant.clone())).collect();
        Program { operations, constants, inputs: vec![product.x.clone()], outputs: vec![product.out.clone()] }
    };
    let dense = alone(product.operations.iter().map(|&place| program.operations[place].clone()).collect());
    let inputs = example(&dense.inputs, -1.0);
    let dense = Pass::new(dense, Vec::new(), &[]);
    let weights = product.matrix(&program.constants[&product.weight]);
    let refuse = |source| SparseModelError::Weight { path: product.path.clone(), source };
    let weights = weights.map_err(refuse)?;
    let bias: Option<Arc<[f32]>> = product.bias.and_then(|id| program.constants[&id].floats()).map(Into::into);
    let pays = |sparsity: f64| -> Result<bool, SparseModelError> {
        let thinned = thinned(&weights, sparsity).map_err(refuse)?;
        let matrix = Arc::new(Sparse::Csr(Csr::from_dense(&thinned).map_err(refuse)?));
        let prepared = Arc::new(Prepared::new(matrix, &product.kind, product.batch).map_err(refuse)?);
        let id = "alone".to_string();
        let sparse = alone(vec![product.custom(id.clone())]);
        let sparse = Pass::new(sparse, vec![(id, Layer::new(product, prepared, bias.clone()))], &[]);
        let passes = [&dense, &sparse];
        let mut duel = Duel::default();
        let rounds = race(
            2,
            2,
            budget.as_secs_f64(),
            |pass| lap(passes[pass], &inputs, 0),
            |laps| {
                if let [Some(dense), Some(sparse)] = laps {
                    duel.add(sparse.whole, dense.whole);
                }
                duel.settled().is_some()
            },
        )?;
        let ratio = rounds.median([1, 0], |[sparse, dense]| sparse.whole / dense.whole);
        Ok(duel.settled().unwrap_or(ratio.is_some_and(|ratio| ratio <= 1.0)))
    };
    if !pays(MOST)? {
        return Ok(None);
    }
    let (mut low, mut high) = (0.0, MOST);
    for _ in 0..STEPS {
        let middle = 0.5 * (low + high);
        if pays(middle)? { high = middle } else { low = middle }
    }
    Ok(Some(high))
}

/// Returns a matrix of the same shape with this fraction of zeros, at random positions.
fn thinned(weights: &Dense<f32>, sparsity: f64) -> Result<Dense<f32>, pruning_sparse::SparseError> {
    let mut state = 0x9e37_79b9_7f4a_7c15u64;
    let value = |&weight: &f32| {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        let kept = (state >> 11) as f64 / (1u64 << 53) as f64 >= sparsity;
        match kept {
            true if weight == 0.0 => 1.0,
            true => weight,
            false => 0.0,
        }
    };
    Dense::new(weights.rows(), weights.cols(), weights.values().iter().map(value).collect())
}
