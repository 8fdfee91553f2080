//! What a layer under a mask puts out, beside what it did: [`relative_error`].

use crate::PruneError;
use crate::layers::Layer;
use crate::reconstruct::matrix::Matrices;
use crate::reconstruct::solve::{Problem, Read, solve};
use crate::score::Need;
use crate::score::needed::statistic;
use crate::walk;
use burn::module::Module;
use burn::tensor::{DType, Device, Tensor, TensorData};
use pruning_core::mask::Bits;

/// Returns the squared error of a layer's output over its squared output, on the inputs of a calibration.
///
/// The weights that stay are as they are, or as the reconstruction of the problem makes them. The model is only read, and not run.
pub(crate) fn relative_error<M: Module>(
    model: &M,
    (index, keep): &(usize, Bits),
    problem: &Problem<'_>,
) -> Result<f64, PruneError> {
    let layer: &Layer = &problem.all[*index];
    let inputs = problem.inputs.filter(|inputs| inputs.holds(Need::INPUT_GRAM));
    let missing =
        || PruneError::MissingInputs { criterion: "the output error".to_string(), needs: Need::INPUT_GRAM.into() };
    let inputs = inputs.ok_or_else(missing)?;
    let failed = |source| PruneError::Statistic { path: layer.path.clone(), source: Box::new(source) };
    let grams = statistic(inputs, Need::INPUT_GRAM, layer).map_err(failed)?;
    let mut read = Read::of([(layer.path.as_str(), *index)]);
    walk::visit(model, &mut read);
    let before = read.found.remove(index).unwrap_or_default();
    let mut solved = if problem.reconstruction.is_some() { solve(model, problem)? } else { Default::default() };
    let mut after = solved.values.remove(index).unwrap_or_else(|| before.clone());
    let keep = solved.masks.get(index).unwrap_or(keep);
    after.iter_mut().enumerate().filter(|(at, _)| !keep.get(*at)).for_each(|(_, weight)| *weight = 0.0);
    let matrices = Matrices::new(layer, grams.reads, (problem.granularity)(*index));
    let (mut lost, mut whole) = (0.0, 0.0);
    for group in 0..matrices.groups {
        let (old, new) = (matrices.numbers(group, &before), matrices.numbers(group, &after));
        let difference = old.iter().zip(&new).map(|(old, new)| old - new).collect();
        let gram = tensor(matrices.gram(group, &grams.values), [matrices.cols; 2]);
        let shape = [matrices.rows, matrices.cols];
        lost += energy(tensor(difference, shape), gram.clone());
        whole += energy(tensor(old, shape), gram);
    }
    Ok(if whole > 0.0 { (lost / whole).max(0.0) } else { 0.0 })
}

fn tensor(values: Vec<f64>, shape: [usize; 2]) -> Tensor<2> {
    Tensor::from_data(TensorData::new(values, shape).convert_dtype(DType::F32), (&Device::default(), DType::F32))
}

/// The trace of `W G W^T`.
fn energy(weight: Tensor<2>, gram: Tensor<2>) -> f64 {
    let rows = (weight.clone().matmul(gram) * weight).sum_dim(1);
    rows.into_data().iter::<f64>().sum()
}
