//! The choice of the products that become sparse, measured in place or by a rule.

use crate::sparse::SparseModelError;
use crate::sparse::decide::{Chosen, Decision, Times, decide};
use crate::sparse::layer::Layer;
use crate::sparse::options::{Choice, Options};
use crate::sparse::pass::Pass;
use crate::sparse::product::{Kind, Product, products};
use crate::sparse::program::{Program, kind};
use crate::sparse::race::Lap;
use crate::sparse::report::{LayerRow, PassReport, SparseReport, Verdict, Why};
use crate::sparse::weight_cache::{Weight, WeightCache};
use crate::trace::{ReplayBackend, Values};
use burn::backend::Flex;
use burn::backend::flex::FlexTensor;
use burn::tensor::{Bytes, TensorData};
use burn_ir::{OperationIr, TensorIr};
use pruning_sparse::{Format, Plan, fastest, smallest};
use std::time::Instant;

/// The least sparsity at which a weight is tried sparse. Below it no product was faster on any measured machine.
const LEAST: f64 = 0.3;

/// Returns the formats to try for a product; the first is the default.
fn formats(weight: &Weight, product: &Product, options: &Options) -> Vec<Format> {
    let by_rows = product.kind == Kind::Linear && product.batch < Plan::TILED;
    let csr = Format::csr(weight.dense.cols());
    match options.choice {
        Choice::Measured => {}
        Choice::Dense => return Vec::new(),
        Choice::All => return vec![csr],
        Choice::Rule => {
            // A convolution has many positions in each image.
            let batch = if product.kind == Kind::Linear { product.batch } else { Plan::TILED };
            let format = fastest(&weight.dense, batch);
            return if format == Format::Dense { Vec::new() } else { vec![format] };
        }
    }
    if weight.sparsity < LEAST {
        return Vec::new();
    }
    let smallest = smallest(&weight.dense, product.kernel());
    if !by_rows {
        return vec![if smallest == Format::Dense { csr } else { smallest }];
    }
    let mut formats = vec![csr, Format::Bitmap];
    if matches!(smallest, Format::Packed { .. }) {
        formats.push(smallest);
    }
    formats
}

/// A product, and the layers that could replace it.
struct Tried {
    product: Product,
    sparsity: f64,
    candidates: Vec<(Format, Layer)>,
}

/// Compiles every pass.
pub(super) fn compile(
    programs: Vec<Program>,
    options: &Options,
) -> Result<(Vec<Pass>, SparseReport), SparseModelError> {
    let mut weights = WeightCache::default();
    let found: Vec<Vec<Product>> = programs.iter().map(products).collect();
    for (program, products) in programs.iter().zip(&found) {
        products.iter().for_each(|product| weights.note(program, product));
    }
    let mut passes = Vec::new();
    let mut report = SparseReport::default();
    for (program, products) in programs.iter().zip(found) {
        let mut tried = Vec::new();
        for product in products {
            let (key, weight) = weights.weight(program, &product)?;
            let bias = weights.bias(program, &product);
            let mut candidates = Vec::new();
            for format in formats(&weight, &product, options) {
                let prepared = weights.prepare(&key, &weight, &product, format)?;
                candidates.push((format, Layer::new(&product, prepared, bias.clone())));
            }
            tried.push(Tried { product, sparsity: weight.sparsity, candidates });
        }
        let (pass, about) = match options.choice {
            Choice::Measured => measured(program, &tried, options)?,
            Choice::Rule => unmeasured(program, &tried, Why::Rule),
            Choice::All | Choice::Dense => unmeasured(program, &tried, Why::Asked),
        };
        passes.push(pass);
        report.passes.push(about);
    }
    Ok((passes, report))
}

/// Returns a pass in which layers, named by their numbers, replace some products.
fn rewritten(program: &Program, tried: &[Tried], chosen: &[Option<usize>]) -> Pass {
    let mut owner: Vec<Option<usize>> = vec![None; program.operations.len()];
    for (number, t) in tried.iter().enumerate() {
        t.product.operations.iter().for_each(|&place| owner[place] = Some(number));
    }
    let mut layers = Vec::new();
    let mut operations = Vec::new();
    let mut products = Vec::new();
    for (place, op) in program.operations.iter().enumerate() {
        let replaced = owner[place].and_then(|number| Some((number, chosen[number]?)));
        let Some((number, candidate)) = replaced else {
            operations.push(op.clone());
            products.push(owner[place]);
            continue;
        };
        let Tried { product, candidates, .. } = &tried[number];
        if product.operations.last() == Some(&place) {
            let id = format!("layer {number}");
            operations.push(product.custom(id.clone()));
            products.push(Some(number));
            layers.push((id, candidates[candidate].1.clone()));
        }
    }
    let mut program = Program { operations, ..program.clone() };
    program.forget_unused();
    Pass::new(program, layers, &products)
}

fn unmeasured(program: &Program, tried: &[Tried], why: Why) -> (Pass, PassReport) {
    let chosen: Vec<Option<usize>> = tried.iter().map(|t| (!t.candidates.is_empty()).then_some(0)).collect();
    let pass = rewritten(program, tried, &chosen);
    let rows = tried.iter().zip(&chosen).map(|(t, &chosen)| row(t, chosen, None, why)).collect();
    (pass, PassReport { inputs: shapes(program), layers: rows, ..PassReport::default() })
}

fn shapes(program: &Program) -> Vec<Vec<usize>> {
    program.inputs.iter().map(|t| t.shape.as_slice().to_vec()).collect()
}

fn row(tried: &Tried, chosen: Option<usize>, times: Option<&Times>, why: Why) -> LayerRow {
    let Tried { product, sparsity, candidates } = tried;
    let shown = chosen.or_else(|| times.and_then(Times::best)).and_then(|c| Some((c, candidates.get(c)?)));
    LayerRow {
        path: product.path.clone(),
        operation: product.name.to_string(),
        shape: [product.rows, product.cols],
        batch: product.batch,
        sparsity: *sparsity,
        sparse: chosen.is_some(),
        format: shown.map(|(_, (format, _))| *format),
        dense_bytes: 4 * (product.rows * product.cols) as u64,
        sparse_bytes: shown.map(|(_, (_, layer))| layer.weights.bytes() as u64),
        dense_seconds: times.map(|t| t.dense),
        sparse_seconds: shown.and_then(|(c, _)| Some(times?.candidates[c])).filter(|seconds| seconds.is_finite()),
        certain: times.map(|t| t.certain),
        why,
    }
}

fn measured(program: &Program, tried: &[Tried], options: &Options) -> Result<(Pass, PassReport), SparseModelError> {
    let inputs = example(&program.inputs, -1.0);
    let candidates: Vec<usize> = tried.iter().map(|t| t.candidates.len()).collect();
    // A pass keeps its interpreter and the memory of its last run.
    let mut passes: Vec<(Chosen, Pass)> = Vec::new();
    let Decision { chosen, times, verdict, rounds, dense_seconds, seconds } =
        decide(&candidates, options.budget.as_secs_f64(), |choice| {
            let known = passes.iter().position(|(known, _)| known == choice).unwrap_or_else(|| {
                passes.push((choice.to_vec(), rewritten(program, tried, choice)));
                passes.len() - 1
            });
            lap(&passes[known].1, &inputs, tried.len())
        })?;
    let slower = verdict == Some(Verdict::Slower);
    let rows = tried.iter().zip(&times).zip(&chosen).map(|((t, times), &chosen)| {
        let why = match (times, chosen) {
            (None, _) => Why::FewZeros,
            (_, None) => Why::Slower,
            (_, Some(_)) if slower => Why::WholeModelSlower,
            _ => Why::Faster,
        };
        row(t, chosen.filter(|_| !slower), times.as_ref(), why)
    });
    let about = PassReport {
        inputs: shapes(program),
        layers: rows.collect(),
        dense_seconds: Some(dense_seconds),
        seconds: Some(if slower { dense_seconds } else { seconds }),
        verdict,
        rounds,
    };
    let runs = if slower { vec![None; tried.len()] } else { chosen };
    let pass = passes.into_iter().find(|(choice, _)| *choice == runs).map(|(_, pass)| pass);
    Ok((pass.unwrap_or_else(|| rewritten(program, tried, &runs)), about))
}

/// Runs a pass once and measures the whole and each product.
pub(super) fn lap(pass: &Pass, inputs: &Values, products: usize) -> Result<Lap, SparseModelError> {
    let mut parts = vec![0.0; products];
    let start = Instant::now();
    pass.run_watched(inputs.clone(), |interpreter, op: OperationIr, product| {
        let start = Instant::now();
        interpreter.register_op(op);
        if let Some(product) = product {
            parts[product] += start.elapsed().as_secs_f64();
        }
    })?;
    Ok(Lap { whole: start.elapsed().as_secs_f64(), parts })
}

/// Returns inputs of these shapes: floats in `[least, 1)`, and indices of zero.
pub(crate) fn example(inputs: &[TensorIr], least: f32) -> Values {
    let mut values = Values::new();
    let mut state = 1u64;
    for ir in inputs {
        let (shape, len) = (ir.shape.clone(), ir.shape.num_elements());
        let data = if ir.dtype.is_float() {
            let number = || {
                state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
                least + (1.0 - least) * (state >> 40) as f32 / (1 << 24) as f32
            };
            let numbers: Vec<f32> = std::iter::repeat_with(number).take(len).collect();
            TensorData::new(numbers, shape).convert_dtype(ir.dtype)
        } else {
            TensorData::from_bytes(Bytes::from_bytes_vec(vec![0; len * ir.dtype.size()]), shape, ir.dtype)
        };
        let handle = kind(ir, FlexTensor::from_data(data));
        values.push(<Flex as ReplayBackend>::put(handle), ir.shape.as_slice().to_vec(), ir.dtype);
    }
    values
}
