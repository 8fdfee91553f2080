//! How a budget is shared out over layers: the [`Allocator`] plugin and its contract.

use crate::budget::{Amount, LayerUnits, Measure, Rounding};
use crate::caught::{caught, printed};
use crate::plugin::PluginKind;
use crate::score::ScoreError;
use crate::shown;
use std::fmt::Debug;

/// A plugin that shares the kept units out over the layers: see [`register_allocator`](crate::register_allocator).
///
/// Within a layer the highest scores are kept in any case, so an allocator only decides how many. Its contract, which [`allocate`]
/// checks: it returns one count for each layer, within the layer's bounds, and the counts add up to the asked total. Counts depend on the
/// properties of the layers, and not on the order of the slice, which is sorted by path.
pub trait Allocator: Debug + Send + Sync {
    /// Returns where the asked fraction is rounded.
    fn scope(&self) -> Scope {
        Scope::Model
    }

    /// Returns what the budget is counted in.
    fn measure(&self) -> Measure {
        Measure::Units
    }

    /// Returns how many units each layer keeps. Together they measure `keep`, or less by less than one more unit would add.
    ///
    /// # Errors
    /// [`AllocationError::Unreachable`] when the allocator's own limits exclude that total.
    fn allocate(&self, layers: &[LayerUnits<'_>], keep: usize) -> Result<Vec<usize>, AllocationError>;
}

impl PluginKind for dyn Allocator {
    const KIND: &'static str = "allocator";

    fn declare(&self) {
        let _ = (self.scope(), self.measure());
    }
}

/// The place where a fraction of units becomes a count.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Scope {
    /// The fraction is rounded once, over the units of all layers.
    Model,
    /// The fraction is rounded in each layer by itself; the total is the sum of [`LayerUnits::even`].
    Layer,
}

/// An error for a budget that cannot be shared out.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum AllocationError {
    /// The count to remove exceeds the number of units that remain.
    #[error("{path}: asked to remove {count} units, and {alive} remain: lower the count")]
    CountTooLarge {
        /// The layer, or the list of layers.
        path: String,
        /// The number that was asked for.
        count: usize,
        /// The number of units that remain.
        alive: usize,
    },
    /// The limits of the layers exclude the total.
    #[error(
        "asked to keep {keep}, but the limits of the layers allow {least} to {most}: change the sparsity, \
         the floor or the cap{}", if *.allow_empty_helps { ", or set allow_empty" } else { "" }
    )]
    Unreachable {
        /// The number to keep that was asked for.
        keep: usize,
        /// The sum of the lower limits.
        least: usize,
        /// The sum of the upper limits.
        most: usize,
        /// Whether the lower limits come from the recipe, and not from the allocator.
        allow_empty_helps: bool,
    },
    /// The budget counts multiply-accumulates, and those of a layer are not known.
    #[error(
        "{path}: its multiply-accumulates are not known: trace the model, and give the trace to \
         `Pruner::with_trace`; exclude a layer that no product of the trace uses"
    )]
    NoCost {
        /// The path of the layer.
        path: String,
    },
    /// A pattern of the allocator's configuration matches none of the layers that share the budget.
    #[error(
        "allocator: pattern {} matches no layer that shares the budget; there are: {}",
        shown::name(pattern),
        shown::list(paths)
    )]
    Unmatched {
        /// The pattern.
        pattern: String,
        /// The paths of the layers.
        paths: Vec<String>,
    },
    /// Two patterns of the allocator's configuration match one layer.
    #[error(
        "{path}: the patterns {} and {} of the allocator both match; keep one of them",
        shown::name(first),
        shown::name(second)
    )]
    TwoPatterns {
        /// The path of the layer.
        path: String,
        /// The first pattern.
        first: String,
        /// The second pattern.
        second: String,
    },
    /// The weight of a share is negative or not finite.
    #[error(
        "the weight {weight} of share {share} must be a finite number of at least 0: divide by no sum or maximum that can be 0"
    )]
    Weight {
        /// The place of the share in the list, from 0.
        share: usize,
        /// The weight as text.
        weight: String,
    },
    /// The scores of a layer cannot be read, or cannot be ranked.
    #[error("{path}: {source}")]
    Scores {
        /// The path of the layer.
        path: String,
        /// The reason.
        source: ScoreError,
    },
    /// The allocator panicked.
    #[error("allocator {allocator} panicked: {message}")]
    Panicked {
        /// The allocator as its `Debug` prints it.
        allocator: String,
        /// The message of the panic.
        message: String,
    },
    /// The allocator broke its contract.
    #[error("allocator {allocator} broke its contract: {problem}")]
    Contract {
        /// The allocator as its `Debug` prints it.
        allocator: String,
        /// What is wrong with its counts.
        problem: String,
    },
}

/// Returns the total to keep for `amount` over `layers`, whose `even` shares follow the same rule; `costs` has the cost of a unit of each
/// layer.
fn total(
    scope: Scope,
    layers: &[LayerUnits<'_>],
    costs: &[usize],
    amount: Amount,
    rounding: Rounding,
) -> Result<usize, AllocationError> {
    // A count has no even shares: it is of the whole list.
    if scope == Scope::Layer && !matches!(amount, Amount::Count(_)) {
        return Ok(sum(layers, costs, |l| l.even));
    }
    let units = sum(layers, costs, |l| l.units());
    let alive = sum(layers, costs, |l| l.alive());
    amount.keep(units, alive, rounding).ok_or_else(|| AllocationError::CountTooLarge {
        path: shown::list(layers.iter().map(|l| l.path)),
        count: if let Amount::Count(count) = amount { count } else { 0 },
        alive,
    })
}

fn sum(layers: &[LayerUnits<'_>], costs: &[usize], units: fn(&LayerUnits<'_>) -> usize) -> usize {
    layers.iter().zip(costs).map(|(l, cost)| units(l) * cost).sum()
}

/// Runs an allocator and checks its contract. `layers` must be sorted by path.
///
/// ```
/// use pruning_core::budget::{AllocationError, Allocator, Amount, LayerUnits, Rounding, Scores, Sparsity, allocate};
/// use pruning_core::score::{MatrixLayout, Order};
///
/// #[derive(Debug)]
/// struct FirstLayers;
///
/// impl Allocator for FirstLayers {
///     fn allocate(&self, layers: &[LayerUnits<'_>], mut keep: usize) -> Result<Vec<usize>, AllocationError> {
///         let mut counts: Vec<usize> = layers.iter().map(|layer| layer.least).collect();
///         keep -= counts.iter().sum::<usize>();
///         for (count, layer) in counts.iter_mut().zip(layers) {
///             let more = keep.min(layer.alive() - layer.least);
///             (*count, keep) = (*count + more, keep - more);
///         }
///         Ok(counts)
///     }
/// }
///
/// let scores = Scores::new(&[0.4, 0.1, 0.3, 0.2], Order::Value)?;
/// let layers = ["fc1.weight", "fc2.weight"].map(|p| LayerUnits::new(p, MatrixLayout::row_major(2, 2), &scores));
/// let half = Amount::OfTotal(Sparsity::new(0.5)?);
/// assert_eq!(allocate(&FirstLayers, &layers, half, Rounding::HalfEven)?, [3, 1]);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
///
/// # Errors
/// The amount is out of reach, or the allocator broke its contract.
pub fn allocate(
    allocator: &dyn Allocator,
    layers: &[LayerUnits<'_>],
    amount: Amount,
    rounding: Rounding,
) -> Result<Vec<usize>, AllocationError> {
    // A plugin of somebody else's: its panic is an error like any other.
    let panicked = |message| AllocationError::Panicked { allocator: printed(allocator), message };
    let (scope, measure) = caught(|| (allocator.scope(), allocator.measure())).map_err(panicked)?;
    let cost = |l: &LayerUnits<'_>| l.cost(measure).ok_or_else(|| AllocationError::NoCost { path: l.path.to_string() });
    let costs = layers.iter().map(cost).collect::<Result<Vec<_>, _>>()?;
    let keep = total(scope, layers, &costs, amount, rounding)?;
    let least = sum(layers, &costs, |l| l.least);
    let most = sum(layers, &costs, |l| l.alive());
    if keep < least || keep > most {
        return Err(AllocationError::Unreachable { keep, least, most, allow_empty_helps: keep < least });
    }
    let counts = caught(|| allocator.allocate(layers, keep));
    // Allocators see no errors of readers, and their counts are worth nothing after one.
    if let Some((layer, source)) = layers.iter().find_map(|l| Some((l, l.scores.failure()?))) {
        return Err(AllocationError::Scores { path: layer.path.to_string(), source });
    }
    let counts = counts.map_err(panicked)??;
    let broken = |problem: String| AllocationError::Contract { allocator: printed(allocator), problem };
    if counts.len() != layers.len() {
        return Err(broken(format!("{} counts for {} layers", counts.len(), layers.len())));
    }
    if let Some((l, &count)) = layers.iter().zip(&counts).find(|(l, c)| !(l.least..=l.alive()).contains(c)) {
        return Err(broken(format!("{} keeps {count} units, outside {} to {}", l.path, l.least, l.alive())));
    }
    let kept: usize = counts.iter().zip(&costs).map(|(count, cost)| count * cost).sum();
    // Units are whole: what is left over is less than one that could still come back.
    let room = layers.iter().zip(&counts).zip(&costs).filter(|((l, count), _)| **count < l.alive());
    let spare = room.map(|(_, &cost)| cost).max().unwrap_or(1).max(1) - 1;
    if kept <= keep && kept + spare >= keep {
        return Ok(counts);
    }
    let what = match measure {
        Measure::Units => "units",
        Measure::Weights => "weights",
        Measure::Macs => "multiply-accumulates",
    };
    Err(broken(format!("it keeps {kept} {what} instead of {keep}")))
}

/// Registers an [`Allocator`](crate::budget::Allocator): write `register_allocator!(MyAllocator);` beside its definition.
#[macro_export]
macro_rules! register_allocator {
    ($plugin:ty) => {
        $crate::register_plugin!($plugin, dyn $crate::budget::Allocator);
    };
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::budget::{Scores, Sparsity};
    use crate::score::{MatrixLayout, Order};

    #[derive(Debug)]
    struct Panics;

    impl Allocator for Panics {
        fn allocate(&self, layers: &[LayerUnits<'_>], _: usize) -> Result<Vec<usize>, AllocationError> {
            panic!("no idea what {} is", layers[0].path)
        }
    }

    #[derive(Debug)]
    struct Says(Vec<usize>);

    impl Allocator for Says {
        fn allocate(&self, _: &[LayerUnits<'_>], _: usize) -> Result<Vec<usize>, AllocationError> {
            Ok(self.0.clone())
        }
    }

    #[test]
    fn a_broken_contract_is_an_error_that_says_how() {
        let scores = Scores::new(&[1.0, 2.0, 3.0, 4.0], Order::Value).unwrap();
        let layer = |path| LayerUnits {
            path,
            kind: "Linear",
            shape: &[2, 2],
            layout: MatrixLayout::row_major(2, 2),
            place: 0,
            scores: &scores,
            least: 1,
            even: 2,
            weights: 1,
            macs: None,
        };
        let layers = [layer("a"), layer("b")];
        let half = Amount::OfTotal(Sparsity::new(0.5).unwrap());
        let run = |counts: &[usize]| allocate(&Says(counts.to_vec()), &layers, half, Rounding::HalfEven);
        assert_eq!(run(&[1, 3]).unwrap(), [1, 3]);
        for (counts, problem) in [
            (&[4][..], "1 counts for 2 layers"),
            (&[0, 4], "a keeps 0 units, outside 1 to 4"),
            (&[1, 5], "b keeps 5 units, outside 1 to 4"),
            (&[1, 2], "it keeps 3 units instead of 4"),
        ] {
            assert!(run(counts).unwrap_err().to_string().ends_with(problem), "{counts:?}");
        }
        let error = allocate(&Panics, &layers, half, Rounding::HalfEven).unwrap_err();
        assert_eq!(error.to_string(), "allocator Panics panicked: no idea what a is");
        let error = allocate(&Says(vec![]), &layers, Amount::Count(9), Rounding::HalfEven).unwrap_err();
        assert_eq!(error.to_string(), "a, b: asked to remove 9 units, and 8 remain: lower the count");
        let error = allocate(&Says(vec![]), &layers, Amount::Count(7), Rounding::HalfEven).unwrap_err();
        assert!(matches!(error, AllocationError::Unreachable { keep: 1, least: 2, most: 8, .. }));
    }
}
