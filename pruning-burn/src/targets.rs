//! The parameters that are pruned: patterns and overrides, applied to the layers of a model.

use crate::PruneError;
use crate::host;
use crate::layers::{Layer, names, paths, places};
use pruning_core::budget::{ChooseError, Sparsity};
use pruning_core::mask::Bits;
use pruning_core::recipe::{Match, Pattern, PatternIndex, Recipe, Targets};
use pruning_core::report::{SkipReason, Skipped};
use pruning_core::score::{Granularity, GranularityError};
use std::borrow::Cow;

/// A layer that a recipe prunes.
#[derive(Clone, Debug)]
pub(crate) struct Target {
    /// The index of the layer in the model.
    pub(crate) layer: usize,
    pub(crate) granularity: Granularity,
    /// A sparsity of its own, outside of the shared budget.
    pub(crate) own: Option<Sparsity>,
}

/// The layers of a model that a recipe prunes, and those that it does not, in the order of the model.
#[derive(Clone, Debug)]
pub(crate) struct Selection {
    pub(crate) targets: Vec<Target>,
    /// The targets that an override leaves dense. They carry no mask, but count in the asked and achieved sparsity.
    pub(crate) dense: Vec<Target>,
    pub(crate) skipped: Vec<Skipped>,
}

/// The decision of a recipe on a parameter.
enum Judged {
    Target(Granularity, Option<Sparsity>),
    Dense(Granularity),
    Skipped(SkipReason),
}

impl Selection {
    /// Applies the patterns of the recipe, without computing anything.
    pub(crate) fn new(recipe: &Recipe<impl ?Sized>, all: &[Layer]) -> Result<Self, PruneError> {
        let all = &named(&recipe.targets, all)?;
        let patterns = Patterns::new(&recipe.targets, all)?;
        let overrides = recipe.overrides.iter().map(|o| &o.target);
        let overrides = index("override", overrides, all)?;
        let mut selection = Self { targets: Vec::new(), dense: Vec::new(), skipped: Vec::new() };
        let mut used = vec![false; recipe.overrides.len()];
        let mut misfits = None;
        for (index, layer) in all.iter().enumerate() {
            let skipped = |reason| Skipped::new(&layer.path, reason);
            match judge(recipe, &patterns, &overrides, layer, &mut used)? {
                Judged::Target(granularity, own) => match granularity.check(&layer.layout) {
                    // A trace determines the size of heads that the recipe leaves open.
                    Ok(()) | Err(GranularityError::HeadSize) => {
                        selection.targets.push(Target { layer: index, granularity, own });
                    }
                    Err(source) if recipe.skip_unfit => {
                        selection.skipped.push(skipped(SkipReason::Unfit { why: source.to_string() }));
                        misfits.get_or_insert((layer, source));
                    }
                    Err(source) => return Err(misfit(layer, source)),
                },
                Judged::Dense(granularity) => {
                    selection.dense.push(Target { layer: index, granularity, own: Some(Sparsity::ZERO) });
                }
                Judged::Skipped(reason) => selection.skipped.push(skipped(reason)),
            }
        }
        if let Some((_, o)) = used.iter().zip(&recipe.overrides).find(|(used, _)| !**used) {
            return Err(PruneError::IdleOverride { pattern: o.target.to_string() });
        }
        match (selection.targets.first(), misfits, selection.dense.first()) {
            (Some(_), ..) => {}
            (None, Some((layer, source)), _) => return Err(misfit(layer, source)),
            (None, None, Some(dense)) => return Err(PruneError::AllDense { path: all[dense.layer].path.clone() }),
            (None, None, None) => return Err(PruneError::NoTarget),
        }
        Ok(selection)
    }
}

/// Returns the layer's granularity and own sparsity, or the reason why it is not a target.
fn judge(
    recipe: &Recipe<impl ?Sized>,
    patterns: &Patterns<'_>,
    overrides: &PatternIndex<'_>,
    layer: &Layer,
    used: &mut [bool],
) -> Result<Judged, PruneError> {
    if let Some(reason) = patterns.skip(layer).or_else(|| unfit(layer)) {
        return Ok(Judged::Skipped(reason));
    }
    if layer.buffer {
        // `*.running_mean` names a value that training overwrites.
        return Err(PruneError::Buffer { path: layer.path.clone() });
    }
    let mut own: Vec<_> = names(layer).flat_map(|name| overrides.matches(name)).map(|(i, _)| i).collect();
    own.sort_unstable();
    own.dedup();
    if let [first, second, ..] = own[..] {
        let [first, second] = [first, second].map(|i| recipe.overrides[i].target.to_string());
        return Err(PruneError::TwoOverrides { path: layer.path.clone(), first, second });
    }
    let first = own.first().map(|&i| (i, &recipe.overrides[i]));
    if let Some((i, _)) = first {
        used[i] = true;
    }
    let granularity = first.and_then(|(_, o)| o.granularity).unwrap_or(recipe.granularity);
    if first.is_some_and(|(_, o)| o.sparsity == Sparsity::ZERO) {
        // A layer that stays dense need not fit the granularity.
        let fits = granularity.check(&layer.layout).is_ok();
        return Ok(Judged::Dense(if fits { granularity } else { Granularity::Element }));
    }
    can_carry(layer, &layer.path, layer.foreign())?;
    Ok(Judged::Target(granularity, first.map(|(_, o)| o.sparsity)))
}

/// The patterns of [`Targets`], each of which matches a parameter.
pub(crate) struct Patterns<'a> {
    targets: &'a Targets,
    include: PatternIndex<'a>,
    exclude: PatternIndex<'a>,
}

impl<'a> Patterns<'a> {
    pub(crate) fn new(targets: &'a Targets, all: &[Layer]) -> Result<Self, PruneError> {
        let include = index("target.include", targets.include.iter(), all)?;
        Ok(Self { targets, include, exclude: index("target.exclude", targets.exclude.iter(), all)? })
    }

    /// Returns why a parameter is not a target; `None` for a target.
    pub(crate) fn skip(&self, layer: &Layer) -> Option<SkipReason> {
        if let Some((place, _)) = names(layer).find_map(|name| self.exclude.matches(name).into_iter().next()) {
            return Some(SkipReason::Excluded { pattern: self.targets.exclude[place].to_string() });
        }
        let included: Vec<_> = names(layer).flat_map(|name| self.include.matches(name)).collect();
        if included.iter().any(|(_, how)| layer.by_default || *how == Match::Named) {
            return None;
        }
        Some(match (layer.buffer, included.is_empty()) {
            (true, _) => SkipReason::RunningStatistic,
            (_, false) => SkipReason::NotDefault,
            (_, true) => SkipReason::NotIncluded,
        })
    }
}

/// The layers of a model with the other names that the targets give them among their paths.
pub(crate) fn named<'a>(targets: &Targets, all: &'a [Layer]) -> Result<Cow<'a, [Layer]>, PruneError> {
    if targets.names.is_empty() {
        return Ok(Cow::Borrowed(all));
    }
    let places = places(all);
    let mut idle = vec![true; targets.names.len()];
    let mut layers = all.to_vec();
    for (place, layer) in all.iter().enumerate() {
        for (given, name) in names(layer).flat_map(|path| targets.names_of(path)) {
            idle[given] = false;
            if let Some(&other) = places.get(name.as_str()).filter(|&&other| other != place) {
                let (path, other) = (layer.path.clone(), all[other].path.clone());
                return Err(PruneError::TakenName { name, path, other });
            }
            layers[place].aliases.push(name);
        }
    }
    match targets.names.iter().zip(idle).find(|(_, idle)| *idle) {
        Some(((name, path), _)) => {
            Err(PruneError::IdleName { name: name.clone(), path: path.clone(), paths: paths(all) })
        }
        None => Ok(Cow::Owned(layers)),
    }
}

/// Creates an index of patterns, or returns an error if a pattern matches no parameter.
fn index<'a>(
    role: &'static str,
    patterns: impl Iterator<Item = &'a Pattern> + Clone,
    all: &[Layer],
) -> Result<PatternIndex<'a>, PruneError> {
    let index = PatternIndex::new(patterns.clone());
    let mut idle = vec![true; patterns.clone().count()];
    all.iter().flat_map(names).flat_map(|name| index.matches(name)).for_each(|(place, _)| idle[place] = false);
    // The caller has a better error for the default pattern on a model without parameters.
    match patterns.zip(idle).find(|(_, idle)| *idle && !all.is_empty()) {
        Some((pattern, _)) => Err(PruneError::Unmatched { role, pattern: pattern.to_string(), paths: paths(all) }),
        None => Ok(index),
    }
}

/// Returns why a parameter cannot carry a mask, whatever the recipe says.
fn unfit(layer: &Layer) -> Option<SkipReason> {
    match layer {
        Layer { quantized: true, .. } => Some(SkipReason::Quantized),
        layer if layer.layout.is_empty() => Some(SkipReason::Empty),
        _ => None,
    }
}

/// Returns an error, under the caller's path, if a parameter cannot carry a mask or threshold, or `carried` is in the way.
pub(crate) fn can_carry(layer: &Layer, path: &str, carried: Option<&String>) -> Result<(), PruneError> {
    let path = path.to_string();
    match (carried, unfit(layer)) {
        (Some(name), _) => Err(PruneError::Reparameterized { path, name: name.clone() }),
        _ if layer.buffer => Err(PruneError::Buffer { path }),
        (None, Some(SkipReason::Quantized)) => Err(PruneError::Quantized { path }),
        (None, Some(_)) => Err(PruneError::Empty { path }),
        (None, None) => Ok(()),
    }
}

fn misfit(layer: &Layer, source: GranularityError) -> PruneError {
    ChooseError::Granularity { path: layer.path.clone(), source }.into()
}

/// Returns the elements that each target keeps so far; `None` for a target without a mask.
pub(crate) fn alive(all: &[Layer], selection: &Selection) -> Vec<Option<Bits>> {
    let mut carrying = Vec::new();
    let mut masks = Vec::new();
    for (place, target) in selection.targets.iter().enumerate() {
        let layer = &all[target.layer];
        if let Some(keep) = layer.keep.as_ref().filter(|keep| keep.dims()[0] == layer.layout.len()) {
            carrying.push(place);
            masks.push(keep.clone());
        }
    }
    let mut alive = vec![None; selection.targets.len()];
    for (place, bits) in carrying.into_iter().zip(host::bits(&masks)) {
        alive[place] = Some(bits);
    }
    alive
}
