//! One update of dynamic sparse training: [`update`].

use crate::PruneError;
use crate::host;
use crate::host::Numbers;
use crate::layers::{Layer, layer_report, names};
use crate::mask::attach::{put, zeroed};
use crate::recipe::Recipe;
use crate::reports::report_of;
use crate::score::element_scores::{blamed, score};
use crate::score::needed::needed;
use crate::score::{CriterionInputs, Needs};
use crate::targets::{Selection, alive};
use burn::module::Module;
use pruning_core::budget::{ChooseError, ranks};
use pruning_core::mask::Bits;
use pruning_core::report::Report;
use pruning_core::schedule::{Grow, Update, swap};
use pruning_core::score::Order;
use std::collections::BTreeMap;

/// A model after an update.
pub(crate) struct Updated<M> {
    pub(crate) model: M,
    pub(crate) report: Report,
    /// The weights that came back, of each layer by its path.
    pub(crate) grown: BTreeMap<String, Bits>,
}

/// Drops the weights of each target that matter least, and grows as many others, which start at zero. The module is only read.
///
/// What is dropped and grown in one update keeps its value: it never was inactive, which is how the authors of RigL have it
/// (`reinit_when_same=False` in google-research/rigl).
pub(crate) fn update<M: Module>(
    model: &M,
    recipe: &Recipe,
    grow: &Grow<dyn crate::score::Criterion>,
    (all, selection): (&[Layer], &Selection),
    update: &Update,
    inputs: Option<&CriterionInputs>,
) -> Result<Updated<M>, PruneError> {
    needed(&recipe.criterion, inputs, model)?;
    open(grow, inputs, model)?;
    let alive = alive(all, selection);
    let dropping = score(model, &recipe.criterion, all, selection, &alive, inputs, update.number)?;
    let growing = score(model, &grow.criterion, all, selection, &alive, inputs, update.number)?;
    let growing_by = &grow.criterion;
    let orders = (recipe.criterion.order(), grow.criterion.order());
    let (mut masks, mut zeros, mut grown) = (Vec::new(), BTreeMap::new(), BTreeMap::new());
    let (mut updated, mut count_grown) = (Vec::new(), 0);
    for (place, target) in selection.targets.iter().enumerate() {
        let layer = &all[target.layer];
        let before = alive[place].clone().unwrap_or_else(|| Bits::ones(layer.layout.len()));
        let count = recipe.rounding.count(update.fraction, before.count_ones());
        // Scores of one layer: doubles are as good as their ranks.
        let ranked = |numbers: &Numbers, order| numbers.exact().and_then(|exact| ranks(&[exact], order).pop());
        let (drop, grow) = (&dropping[place].0, &growing[place].0);
        let doubles = (ranked(drop, orders.0), ranked(grow, orders.1));
        let drop = doubles.0.as_deref().map_or((drop.as_slice(), orders.0), |ranks| (ranks, Order::Value));
        let grow = doubles.1.as_deref().map_or((grow.as_slice(), orders.1), |ranks| (ranks, Order::Value));
        let keep = swap(&before, count, drop, grow).map_err(|source| {
            let dropped = drop.0.get(source.index).is_some_and(|score| !score.is_finite());
            let criterion = if dropped { &recipe.criterion } else { growing_by };
            blamed(criterion, ChooseError::NonFinite { path: layer.path.clone(), source })
        })?;
        let mut new = before.complement();
        new.intersect(&keep);
        if new.count_ones() > 0 {
            let stay = host::keep_on(&new.complement(), &layer_device(layer));
            zeros.extend(names(layer).map(|path| (path.clone(), stay.clone())));
        }
        count_grown += new.count_ones();
        updated.push((target.layer, layer_report(layer, target.granularity, keep.count_ones())));
        grown.insert(layer.path.clone(), new);
        masks.push((target.layer, keep));
    }
    let mut report = report_of(all, selection, updated);
    report.grown = Some(count_grown);
    report.step = Some(update.step);
    Ok(Updated { model: zeroed(put(model, all, masks)?, zeros), report, grown })
}

/// Where the mask of a layer is, and so its parameter.
fn layer_device(layer: &Layer) -> burn::tensor::Device {
    layer.keep.as_ref().map(|keep| keep.device().without_autodiff()).unwrap_or_default()
}

/// Checks that pruned weights have scores of their own.
fn open<M: Module>(
    grow: &Grow<dyn crate::score::Criterion>,
    inputs: Option<&CriterionInputs>,
    model: &M,
) -> Result<(), PruneError> {
    needed(&grow.criterion, inputs, model)?;
    let needs = inputs.map_or_else(Needs::none, |inputs| grow.criterion.needs().without(&inputs.dense));
    if needs.is_empty() {
        return Ok(());
    }
    Err(PruneError::MaskedInputs { criterion: grow.criterion.name().to_string(), needs })
}
