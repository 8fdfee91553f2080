use pruning_core::budget::{AllocationError, Allocator, LayerUnits, Share, Sparsity, in_proportion};
use pruning_core::plugin::Plugin;
use pruning_core::recipe::Pattern;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// A sparsity for each pattern of layers; the others share what is left evenly.
///
/// # Shapes
/// One count for each layer.
///
/// # Config
/// - `layers`: a sparsity for each pattern of paths; default empty.
///
/// ```
/// # use pruning_core::plugin::Plugins;
/// use pruning_core::budget::{Allocator, Amount, LayerUnits, Rounding, Scores, Sparsity, allocate};
/// use pruning_core::score::{MatrixLayout, Order};
/// # let mut plugins = Plugins::empty();
/// # pruning_allocation::register(&mut plugins);
/// let large = Scores::new(&[8.0, 7.0, 6.0, 5.0], Order::Value)?;
/// let small = Scores::new(&[4.0, 3.0, 2.0, 1.0], Order::Value)?;
/// let layers = [("fc1.weight", &large), ("fc2.weight", &small)]
///     .map(|(path, scores)| LayerUnits::new(path, MatrixLayout::row_major(2, 2), scores));
/// let fixed = plugins.build::<dyn Allocator>("fixed", serde_json::json!({ "layers": { "fc1": 0.75 } }))?;
/// // The first layer keeps a quarter, and the second layer keeps the rest of the four units.
/// let amount = Amount::OfTotal(Sparsity::new(0.5)?);
/// assert_eq!(allocate(&*fixed, &layers, amount, Rounding::HalfEven)?, [1, 3]);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
///
/// # Compatible implementations
/// The per-layer sparsities of other toolkits. `[[override]]` of a recipe takes layers out of the shared budget; this allocator keeps the
/// total that the recipe asks for.
///
/// # Errors
/// A pattern matches no layer, two patterns match one layer, or the fixed layers exclude the total.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
#[non_exhaustive]
pub struct Fixed {
    /// The sparsity of each pattern.
    pub layers: BTreeMap<String, Sparsity>,
}

impl Plugin for Fixed {
    const NAME: &'static str = "fixed";
    const SUMMARY: &'static str = "A sparsity for each pattern of layers; the others share what is left evenly.";
}

impl Allocator for Fixed {
    fn allocate(&self, layers: &[LayerUnits<'_>], keep: usize) -> Result<Vec<usize>, AllocationError> {
        let mut fixed: Vec<Option<(&String, Sparsity)>> = vec![None; layers.len()];
        for (text, sparsity) in &self.layers {
            let pattern = Pattern::new(text);
            let mut idle = true;
            for (layer, fixed) in layers.iter().zip(&mut fixed).filter(|(l, _)| pattern.matches(l.path).is_some()) {
                idle = false;
                if let Some((first, _)) = fixed.replace((text, *sparsity)) {
                    let (path, first, second) = (layer.path.to_string(), first.clone(), text.clone());
                    return Err(AllocationError::TwoPatterns { path, first, second });
                }
            }
            if idle {
                let paths = layers.iter().map(|l| l.path.to_string()).collect();
                return Err(AllocationError::Unmatched { pattern: text.clone(), paths });
            }
        }
        let part = |(layer, fixed): (&LayerUnits<'_>, &Option<(&String, Sparsity)>)| {
            let mut part = Share::new(layer.units() as f64, layer);
            if let Some((_, sparsity)) = fixed {
                let count = (sparsity.density() * layer.units() as f64).round_ties_even() as usize;
                let count = count.clamp(part.least, part.most);
                (part.least, part.most) = (count, count);
            }
            part
        };
        in_proportion(&layers.iter().zip(&fixed).map(part).collect::<Vec<_>>(), keep)
    }
}

pruning_core::register_allocator!(Fixed);
