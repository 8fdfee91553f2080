//! The check that a smaller model follows its plan: [`confirm`].

use crate::shrink::ShrinkError;
use crate::trace::{Analysis, AxisRules, Departure, Prediction, Scope, Trace, TraceError};
use burn::module::Module;
use pruning_core::graph::{Member, Removal, ShrinkPlan};

/// Records the forward of the model and of the smaller one, and compares them.
///
/// Every operation of the smaller pass must be that of the dense pass, with its scalars and captured values, in the sizes that
/// the plan predicts.
pub(crate) fn confirm<M: Module>(
    plan: &ShrinkPlan,
    dense: &M,
    smaller: &M,
    forward: &impl Fn(&M, &mut Scope),
) -> Result<Trace, ShrinkError> {
    let dense = Trace::record(dense, forward)?;
    let analysis = Analysis::new(&dense, &AxisRules::of(plan))?;
    let removal = removal(plan, &analysis)?;
    let found = Trace::record(smaller, forward).map_err(|error| match error {
        TraceError::Panicked { message } => ShrinkError::broken(message),
        other => other.into(),
    })?;
    if let Some(Departure { operation, near, predicted, found }) =
        Prediction::new(&analysis, &removal).departure(&found)
    {
        return Err(ShrinkError::Departs { operation, near, predicted, found, fields: Vec::new() });
    }
    costs(plan, &found)?;
    Ok(found)
}

/// Returns everything that is coupled with the removed positions. It must be exactly what the plan removes.
pub(crate) fn removal(plan: &ShrinkPlan, analysis: &Analysis<'_>) -> Result<Removal, ShrinkError> {
    let trace = analysis.trace;
    let used = || {
        let params = trace.params.iter().zip(&analysis.index);
        params.filter_map(|(traced, index)| Some((traced, (*index)?)))
    };
    for path in plan.parameters.keys() {
        if !used().any(|(traced, _)| traced.paths.contains(path)) {
            let reason = format!("it does not use {path}, which the plan cuts");
            return Err(ShrinkError::broken(reason));
        }
    }
    let mut gone: Vec<(Member, Vec<usize>)> = Vec::new();
    for (traced, param) in used() {
        let Some(cut) = traced.paths.iter().find_map(|p| plan.parameters.get(p)) else { continue };
        if cut.shape != traced.shape {
            let (path, expected, found) = (traced.path().to_string(), cut.shape.clone(), traced.shape.clone());
            return Err(ShrinkError::OtherModel { path, expected, found });
        }
        for (&axis, keep) in &cut.keep {
            let removed = (0..cut.shape[axis]).filter(|p| keep.binary_search(p).is_err());
            gone.push((Member { param, axis }, removed.collect()));
        }
    }
    let removal = analysis.graph.removal(gone.iter().map(|(member, positions)| (*member, positions.as_slice())))?;
    for (traced, param) in used() {
        let cut = traced.paths.iter().find_map(|p| plan.parameters.get(p));
        for (axis, dim) in analysis.graph.dims(param).iter().enumerate() {
            let planned = cut.and_then(|cut| cut.keep.get(&axis));
            let kept = removal.kept(dim);
            let agrees = planned.map_or(kept.len() == dim.len(), |planned| *planned == kept);
            if !agrees {
                return Err(ShrinkError::Uncoupled {
                    path: traced.path().to_string(),
                    axis,
                    planned: planned.map_or(dim.len(), Vec::len),
                    coupled: kept.len(),
                });
            }
        }
    }
    Ok(removal)
}

/// Returns an error unless the pass costs what the plan predicts.
fn costs(plan: &ShrinkPlan, found: &Trace) -> Result<(), ShrinkError> {
    let broken = |reason: String| Err(ShrinkError::broken(reason));
    let costs = found.costs();
    if costs.parameters != plan.after.parameters {
        return broken(format!("it has {} parameters instead of {}", costs.parameters, plan.after.parameters));
    }
    if costs.operations.len() != plan.products.len() {
        return broken(format!("{} products instead of {}", costs.operations.len(), plan.products.len()));
    }
    for (found, planned) in costs.operations.iter().zip(&plan.products) {
        let outputs = found.output.iter().map(|&s| s as u64).product::<u64>();
        if (found.macs, outputs) != (planned.macs, planned.outputs) {
            let weight = if planned.weight.is_empty() { &found.operation } else { &planned.weight };
            return broken(format!(
                "the product of {weight} has {outputs} results and {} MACs instead of {} and {}",
                found.macs, planned.outputs, planned.macs
            ));
        }
    }
    Ok(())
}
