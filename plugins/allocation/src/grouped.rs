use crate::groups;
use pruning_core::budget::{AllocationError, Allocator, LayerUnits, Share, in_proportion};
use pruning_core::plugin::{Configured, Plugin, Plugins};
use pruning_core::recipe::Pattern;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

/// The same sparsity in every group of layers; another allocator shares it out within each.
///
/// A layer is in the group of the first pattern that matches it; layers that no pattern matches form a group of their own.
///
/// # Shapes
/// One count for each layer.
///
/// # Config
/// - `by`: patterns of paths, one for each group; default empty, which makes one group.
/// - `inner`: the allocator within a group, by name or as a table with `name`; default `"global"`.
///
/// ```
/// # use pruning_core::plugin::Plugins;
/// use pruning_core::budget::{Allocator, Amount, LayerUnits, Rounding, Scores, Sparsity, allocate};
/// use pruning_core::score::{MatrixLayout, Order};
/// # let mut plugins = Plugins::empty();
/// # pruning_allocation::register(&mut plugins);
/// let large = Scores::new(&[8.0, 7.0, 6.0, 5.0], Order::Value)?;
/// let small = Scores::new(&[4.0, 3.0, 2.0, 1.0], Order::Value)?;
/// let layers = ["encoder.0", "encoder.1", "head.0", "head.1"].into_iter().zip([&large, &small, &small, &large]);
/// let layers: Vec<_> =
///     layers.map(|(path, scores)| LayerUnits::new(path, MatrixLayout::row_major(2, 2), scores)).collect();
/// let grouped = plugins.build::<dyn Allocator>("grouped", serde_json::json!({ "by": ["encoder"], "inner": "global" }))?;
/// // Each group keeps half of its eight units. Within the group, the highest scores stay.
/// let amount = Amount::OfTotal(Sparsity::new(0.5)?);
/// assert_eq!(allocate(&*grouped, &layers, amount, Rounding::HalfEven)?, [3, 1, 1, 3]);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
///
/// # Compatible implementations
/// None known.
///
/// # Errors
/// A pattern matches no layer, or `inner` cannot share out the budget of a group.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
#[non_exhaustive]
pub struct Grouped {
    /// The patterns of the groups, one for each.
    pub by: Vec<Pattern>,
    /// The allocator within a group.
    pub inner: Value,
    #[serde(skip)]
    allocator: Option<Configured<dyn Allocator>>,
}

impl Default for Grouped {
    fn default() -> Self {
        Self { by: Vec::new(), inner: json!("global"), allocator: None }
    }
}

impl Plugin for Grouped {
    const NAME: &'static str = "grouped";
    const SUMMARY: &'static str =
        "The same sparsity in every group of layers; another allocator shares it out within each.";

    fn resolve(&mut self, plugins: &Plugins) -> Result<(), String> {
        let inner = plugins.read(self.inner.clone()).map_err(|error| format!("inner: {error}"))?;
        self.allocator = Some(inner);
        Ok(())
    }
}

impl Allocator for Grouped {
    fn allocate(&self, layers: &[LayerUnits<'_>], keep: usize) -> Result<Vec<usize>, AllocationError> {
        let mut groups: Vec<Vec<usize>> = vec![Vec::new(); self.by.len() + 1];
        let of = groups::of(&self.by, layers)?.into_iter().enumerate();
        of.for_each(|(i, group)| groups[group.unwrap_or(self.by.len())].push(i));
        let part = |group: &Vec<usize>| Share {
            weight: group.iter().map(|&i| layers[i].units() as f64).sum(),
            least: group.iter().map(|&i| layers[i].least).sum(),
            most: group.iter().map(|&i| layers[i].alive()).sum(),
        };
        let shares = in_proportion(&groups.iter().map(part).collect::<Vec<_>>(), keep)?;
        let mut counts = vec![0; layers.len()];
        for (group, share) in groups.iter().zip(shares) {
            let within: Vec<_> = group.iter().map(|&i| layers[i]).collect();
            let found = match &self.allocator {
                Some(inner) => inner.allocate(&within, share)?,
                // Built by hand, without a registry that has the inner allocator.
                None => {
                    in_proportion(&within.iter().map(|l| Share::new(l.units() as f64, l)).collect::<Vec<_>>(), share)?
                }
            };
            group.iter().zip(found).for_each(|(&i, count)| counts[i] = count);
        }
        Ok(counts)
    }
}

pruning_core::register_allocator!(Grouped);
