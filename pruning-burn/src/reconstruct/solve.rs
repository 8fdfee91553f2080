//! The reconstruction of all layers of a model under masks: [`solve`].

use crate::PruneError;
use crate::host;
use crate::layers::{Layer, places};
use crate::reconstruct::matrix::Matrices;
use crate::score::needed::statistic;
use crate::score::statistics::{Reads, Statistic};
use crate::score::{CriterionInputs, Need, Needs};
use crate::walk::{self, Position, Visit};
use burn::module::{Module, Param};
use burn::tensor::{DType, Tensor, TensorData};
use pruning_core::mask::Bits;
use pruning_core::plugin::Configured;
use pruning_core::reconstruct::{LayerProblem, Reconstruction, dead_columns, reconstruct};
use pruning_core::report::Warning;
use pruning_core::score::Granularity;
use std::collections::BTreeMap;

/// Rows of a calibration for each column below which a warning is given.
const ROWS_A_COLUMN: f64 = 10.0;

/// What is to be reconstructed.
#[derive(Clone, Copy)]
pub(crate) struct Problem<'a> {
    pub(crate) reconstruction: Option<&'a Configured<dyn Reconstruction>>,
    pub(crate) all: &'a [Layer],
    /// The masks that are to be put on, by layer, in memory order.
    pub(crate) masks: &'a [(usize, Bits)],
    /// The granularity of each layer.
    pub(crate) granularity: &'a dyn Fn(usize) -> Granularity,
    pub(crate) inputs: Option<&'a CriterionInputs>,
}

/// New values for the parameters of a model.
#[derive(Debug, Default)]
pub(crate) struct Solved {
    /// Weights and biases by layer, in memory order.
    pub(crate) values: BTreeMap<usize, Vec<f64>>,
    /// The masks that the reconstruction chose, by layer, in memory order.
    pub(crate) masks: BTreeMap<usize, Bits>,
    pub(crate) warnings: Vec<Warning>,
}

/// Returns what a reconstruction looks at.
pub(crate) fn needs(reconstruction: &Configured<dyn Reconstruction>) -> Needs {
    let gram = Needs::from(Need::INPUT_GRAM);
    if reconstruction.corrects_bias() { gram | Need::INPUT_MEAN } else { gram }
}

/// Computes new values for every weight that the masks change. The model is only read.
pub(crate) fn solve<M: Module>(model: &M, problem: &Problem<'_>) -> Result<Solved, PruneError> {
    let Problem { reconstruction: Some(reconstruction), all, masks, .. } = *problem else {
        return Ok(Solved::default());
    };
    let needs = needs(reconstruction);
    let missing =
        || PruneError::MissingGram { reconstruction: reconstruction.name().to_string(), needs: needs.clone() };
    let inputs = problem.inputs.filter(|inputs| inputs.holds(&needs)).ok_or_else(missing)?;
    let concerned: Vec<_> =
        masks.iter().filter(|(i, keep)| concerns(&all[*i], keep, reconstruction.chooses())).collect();
    let biases = biases(all);
    let read = concerned.iter().flat_map(|(i, _)| [Some(*i), biases.get(i).copied()]).flatten();
    let mut read = Read::of(read.map(|i| (all[i].path.as_str(), i)));
    walk::visit(model, &mut read);
    let mut solved = Solved::default();
    let (mut few, mut dead) = (Vec::new(), Vec::new());
    for (i, keep) in concerned {
        let old = read.found.remove(i).unwrap_or_default();
        let bias = biases.get(i).and_then(|bias| Some((*bias, read.found.get(bias)?.clone())));
        let layer = OneLayer { layer: &all[*i], keep, old, bias, granularity: (problem.granularity)(*i) };
        let seen = layer.solve(reconstruction, inputs, (*i, &mut solved))?;
        if inputs.rows(&all[*i].path).is_some_and(|rows| rows < ROWS_A_COLUMN * seen.cols as f64) {
            few.push(all[*i].path.clone());
        }
        if seen.dead > 0 {
            dead.push((all[*i].path.clone(), seen.dead));
        }
    }
    if !few.is_empty() {
        solved.warnings.push(Warning::FewRows { paths: few });
    }
    if !dead.is_empty() {
        solved.warnings.push(Warning::DeadColumns { columns: dead });
    }
    for (&i, values) in &solved.values {
        let dtype = read.dtypes.get(&i).copied().unwrap_or(DType::F32);
        let stored = TensorData::new(values.clone(), [values.len()]).convert_dtype(dtype);
        if let Some((index, _)) = stored.iter::<f64>().enumerate().find(|(_, value)| !value.is_finite()) {
            let (path, value) = (all[i].path.clone(), values[index].to_string());
            return Err(PruneError::Overflow { path, index, value, dtype: format!("{dtype:?}") });
        }
    }
    Ok(solved)
}

/// A layer with its mask, its weights and the index and values of its bias.
struct OneLayer<'a> {
    layer: &'a Layer,
    keep: &'a Bits,
    old: Vec<f64>,
    bias: Option<(usize, Vec<f64>)>,
    granularity: Granularity,
}

/// What a layer saw.
struct Seen {
    cols: usize,
    /// Columns that were zero in all rows.
    dead: usize,
}

impl OneLayer<'_> {
    fn solve(
        mut self,
        reconstruction: &Configured<dyn Reconstruction>,
        inputs: &CriterionInputs,
        (index, solved): (usize, &mut Solved),
    ) -> Result<Seen, PruneError> {
        let layer = self.layer;
        let statistic = |need| {
            let failed = |source| PruneError::Statistic { path: layer.path.clone(), source: Box::new(source) };
            statistic(inputs, need, layer).map_err(failed)
        };
        let Statistic { values: grams, reads } = statistic(Need::INPUT_GRAM)?;
        let corrects = reconstruction.corrects_bias();
        let means = if corrects { Some(statistic(Need::INPUT_MEAN)?.values) } else { None };
        let matrices = Matrices::new(layer, reads, self.granularity);
        let alive = layer.keep.as_ref().map(|keep| host::bits(std::slice::from_ref(keep)).remove(0));
        let alive = alive.filter(|alive| alive.len() == layer.layout.len());
        // What the layer computes now: a weight that is pruned already is zero.
        if let Some(alive) = &alive {
            self.old.iter_mut().enumerate().filter(|(at, _)| !alive.get(*at)).for_each(|(_, weight)| *weight = 0.0);
        }
        let units = matrices.groups * matrices.rows;
        let bias = self.bias.take().filter(|(_, values)| corrects && reads != Reads::Rows && values.len() == units);
        let (mut weight, mut new_bias) = (self.old.clone(), bias.as_ref().map(|(_, values)| values.clone()));
        let (mut chosen, mut dead) = (vec![false; weight.len()], 0);
        for group in 0..matrices.groups {
            let (gram, numbers) = (matrices.gram(group, &grams), matrices.numbers(group, &self.old));
            let keep = matrices.bits(group, self.keep);
            let alive = alive.as_ref().map(|alive| matrices.bits(group, alive));
            let mean = means.as_ref().map(|means| matrices.columns(group, means));
            let rows = group * matrices.rows..(group + 1) * matrices.rows;
            dead += dead_columns(&gram, matrices.cols).len();
            let one = LayerProblem::new(&layer.path, matrices.rows, matrices.cols, &numbers, &keep, &gram)
                .with_alive(alive.as_ref())
                .with_mean(mean.as_deref())
                .with_bias(bias.as_ref().map(|(_, values)| &values[rows.clone()]))
                .with_pattern(pattern(self.granularity, &keep).filter(|_| reconstruction.chooses()));
            let failed = |source| PruneError::Reconstruction { source: Box::new(source) };
            let new = reconstruct(&**reconstruction, &one).map_err(failed)?;
            matrices.write(group, new.weight.iter().copied(), &mut weight);
            if let (Some(all), Some(own)) = (&mut new_bias, &new.bias) {
                all[rows].copy_from_slice(own);
            }
            if let Some(keep) = &new.keep {
                matrices.write(group, (0..keep.len()).map(|at| keep.get(at)), &mut chosen);
            }
        }
        if reconstruction.chooses() {
            solved.masks.insert(index, Bits::from_bools(&chosen));
        }
        solved.values.insert(index, weight);
        if let (Some((at, old)), Some(new)) = (bias, new_bias)
            && old != new
        {
            solved.values.insert(at, new);
        }
        Ok(Seen { cols: matrices.cols, dead })
    }
}

/// The bias beside each weight, by layer.
fn biases(all: &[Layer]) -> BTreeMap<usize, usize> {
    let places = places(all);
    let bias = |(i, layer): (usize, &Layer)| {
        let path = layer.path.strip_suffix("weight").map(|stem| format!("{stem}bias"))?;
        let bias = places.get(path.as_str()).copied().filter(|&bias| all[bias].shape.len() == 1)?;
        Some((i, bias))
    };
    all.iter().enumerate().filter_map(bias).collect()
}

/// Whether masking a parameter changes what its units put out, other than by removing units.
fn concerns(layer: &Layer, keep: &Bits, chooses: bool) -> bool {
    let layout = &layer.layout;
    if layer.shape.len() < 2 || layer.buffer || keep.count_ones() == keep.len() {
        return false;
    }
    // A unit that is neither whole nor gone.
    let partly = |row: usize| {
        let kept = (0..layout.cols()).filter(|&col| keep.get(layout.flat(row, col))).count();
        kept > 0 && kept < layout.cols()
    };
    chooses || (0..layout.rows()).any(partly)
}

/// The pattern of a chooser: as many of each group as the mask keeps.
fn pattern(granularity: Granularity, keep: &Bits) -> Option<(usize, usize)> {
    let Granularity::Nm { m, .. } = granularity else { return None };
    let kept = (0..keep.len() / m).map(|group| (group * m..(group + 1) * m).filter(|&i| keep.get(i)).count()).max()?;
    Some((kept, m))
}

/// Some parameters in double precision, in memory order.
pub(super) struct Read<'a> {
    wanted: BTreeMap<&'a str, usize>,
    pub(super) found: BTreeMap<usize, Vec<f64>>,
    dtypes: BTreeMap<usize, DType>,
}

impl<'a> Read<'a> {
    pub(super) fn of(wanted: impl IntoIterator<Item = (&'a str, usize)>) -> Self {
        Self { wanted: wanted.into_iter().collect(), found: BTreeMap::new(), dtypes: BTreeMap::new() }
    }
}

impl Visit for Read<'_> {
    fn visit_float<const D: usize>(&mut self, at: &Position, param: &Param<Tensor<D>>) {
        if at.carried().is_none()
            && let Some(&layer) = self.wanted.get(at.path().as_str())
        {
            self.dtypes.insert(layer, param.base().dtype());
            self.found.insert(layer, host::flat(param.base()).into_data().iter::<f64>().collect());
        }
    }
}
