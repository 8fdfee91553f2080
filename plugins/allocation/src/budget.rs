use pruning_core::budget::{AllocationError, Allocator, LayerUnits, Measure, share_highest};
use pruning_core::plugin::Plugin;
use serde::{Deserialize, Serialize};

/// A share of the parameters or multiply-accumulates, spent where a score buys most.
///
/// Units are ranked over the whole model by their score divided by what they measure, `score / cost`, the greedy rule for
/// knapsacks; the highest stay while the budget lasts. So a sparsity of 0.5 removes half of the parameters (or of the
/// multiply-accumulates) of the layers that share the budget, whatever units they are removed in.
///
/// # Shapes
/// One count for each layer. What they measure is at most the budget, and less than one unit below it.
///
/// # Config
/// - `of`: `"params"` (the default) or `"macs"`. MACs need a trace: `Pruner::with_trace`, or a `Shrinker`, which has one.
///
/// ```
/// # use pruning_core::plugin::Plugins;
/// use pruning_core::budget::{Allocator, Amount, LayerUnits, Rounding, Scores, Sparsity, allocate};
/// use pruning_core::score::{MatrixLayout, Order};
/// # let mut plugins = Plugins::empty();
/// # pruning_allocation::register(&mut plugins);
/// let large = Scores::new(&[8.0, 7.0, 6.0, 5.0], Order::Value)?;
/// let small = Scores::new(&[4.0, 3.0, 2.0, 1.9], Order::Value)?;
/// let layers = [("fc1.weight", &large, 4), ("fc2.weight", &small, 1)].map(|(path, scores, weights)| {
///     LayerUnits::new(path, MatrixLayout::row_major(4, weights), scores).with_unit_cost(weights, None)
/// });
/// let budget = plugins.build::<dyn Allocator>("budget", serde_json::json!({ "of": "params" }))?;
/// // Units of the first layer have four weights each. Half of the 20 weights: one unit of the first layer and the second layer; another
/// // unit of the first layer does not fit.
/// let amount = Amount::OfTotal(Sparsity::new(0.5)?);
/// assert_eq!(allocate(&*budget, &layers, amount, Rounding::HalfEven)?, [1, 4]);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
///
/// # Errors
/// The budget counts MACs, and those of a layer are not known.
///
/// # References
/// George B. Dantzig, "Discrete-Variable Extremum Problems", Operations Research 5(2), 1957: the greedy rule.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
#[non_exhaustive]
pub struct Budget {
    /// The quantity that is counted.
    pub of: Of,
}

/// The quantity that a budget counts.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Of {
    /// The weights of the units.
    #[default]
    Params,
    /// The multiply-accumulates of the units.
    Macs,
}

impl Budget {
    /// Creates a budget of multiply-accumulates.
    #[must_use]
    pub fn macs() -> Self {
        Self { of: Of::Macs }
    }
}

impl Plugin for Budget {
    const NAME: &'static str = "budget";
    const SUMMARY: &'static str = "A share of the parameters or multiply-accumulates, spent where a score buys most.";
    const REFERENCES: &'static [&'static str] = &["Dantzig 1957, Operations Research 5(2)"];
}

impl Allocator for Budget {
    fn measure(&self) -> Measure {
        match self.of {
            Of::Params => Measure::Weights,
            Of::Macs => Measure::Macs,
        }
    }

    fn allocate(&self, layers: &[LayerUnits<'_>], keep: usize) -> Result<Vec<usize>, AllocationError> {
        let costs: Vec<usize> = layers.iter().map(|l| l.cost(self.measure()).unwrap_or(1)).collect();
        let mut counts: Vec<usize> = layers.iter().map(|l| l.least).collect();
        // Where all units cost the same, the highest scores stay, and nothing needs to hold them together.
        if let Some(&cost) = costs.first().filter(|first| **first > 0 && costs.iter().all(|cost| cost == *first)) {
            let bounds: Vec<_> = layers.iter().map(|l| (l.least, l.alive())).collect();
            let units = (keep / cost).min(layers.iter().map(LayerUnits::alive).sum());
            let scores: Vec<_> = layers.iter().map(|l| l.scores).collect();
            return Ok(share_highest(&scores, &bounds, units).unwrap_or(counts));
        }
        let mut left = keep.saturating_sub(counts.iter().zip(&costs).map(|(n, c)| n * c).sum());
        // The units of each layer beyond the floor, the best first.
        let mut ranked: Vec<(f64, usize)> = Vec::new();
        for (l, layer) in layers.iter().enumerate() {
            let mut scores: Vec<f32> = layer.scores.alive_scores().collect();
            scores.sort_by(|a, b| b.total_cmp(a));
            let beyond = scores.into_iter().skip(layer.least);
            // A unit that costs nothing always stays.
            ranked.extend(beyond.map(|s| (f64::from(s) / costs[l] as f64, l)));
        }
        // Ties go by the path of the layer.
        ranked.sort_by(|a, b| b.0.total_cmp(&a.0).then(a.1.cmp(&b.1)));
        for (_, l) in ranked {
            // The first unit that does not fit ends the loop, so that less budget never keeps more of a layer.
            if costs[l] > left {
                break;
            }
            left -= costs[l];
            counts[l] += 1;
        }
        Ok(counts)
    }
}

pruning_core::register_allocator!(Budget);
