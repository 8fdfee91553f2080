use pruning_core::budget::{AllocationError, Allocator, LayerUnits, Scores, share_highest};
use pruning_core::plugin::Plugin;
use serde::{Deserialize, Serialize};

/// The highest scores of the whole model stay, whatever layer they are in.
///
/// One threshold `t` holds for all layers: layer `l` keeps its units with a score above `t`, but at least the share `floor` and at
/// most the share `cap` of its units. Scores at the threshold go to layers in the order of their paths.
///
/// # Shapes
/// One count for each layer.
///
/// # Config
/// - `floor`: least density of a layer, in `[0, 1]`; default 0. One unit stays in any case, unless the recipe allows empty layers.
/// - `cap`: greatest density of a layer, in `[floor, 1]`; default 1.
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
/// let global = plugins.build::<dyn Allocator>("global", serde_json::json!({ "cap": 0.75 }))?;
/// // The four highest scores are those of the first layer, which may keep three of them.
/// let amount = Amount::OfTotal(Sparsity::new(0.5)?);
/// assert_eq!(allocate(&*global, &layers, amount, Rounding::HalfEven)?, [3, 1]);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
///
/// # Compatible implementations
/// `torch.nn.utils.prune.global_unstructured`, which has no floor and may empty a layer.
///
/// # Errors
/// `floor` and `cap` exclude the asked total.
///
/// # References
/// Namhoon Lee, Thalaiyasingam Ajanthan, Philip H. S. Torr, "SNIP: Single-shot Network Pruning based on Connection
/// Sensitivity", 2018, arXiv:1810.02340; the floor against collapse: Hidenori Tanaka et al., "Pruning neural networks without
/// any data by iteratively conserving synaptic flow", 2020, arXiv:2006.05467, section 4.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
#[non_exhaustive]
pub struct Global {
    /// The least density of a layer.
    pub floor: f64,
    /// The greatest density of a layer.
    pub cap: f64,
}

impl Default for Global {
    fn default() -> Self {
        Self { floor: 0.0, cap: 1.0 }
    }
}

impl Global {
    /// Creates the allocator with limits on the density of a layer.
    #[must_use]
    pub fn within(floor: f64, cap: f64) -> Self {
        Self { floor, cap }
    }
}

impl Plugin for Global {
    const NAME: &'static str = "global";
    const SUMMARY: &'static str = "The highest scores of the whole model stay, with a floor and a cap for each layer.";
    const REFERENCES: &'static [&'static str] =
        &["Lee et al. 2018, arXiv:1810.02340", "Tanaka et al. 2020, arXiv:2006.05467"];

    fn validate(&self) -> Result<(), String> {
        if !(0.0..=1.0).contains(&self.floor) {
            return Err(format!("floor {} must be a density in [0, 1]", self.floor));
        }
        if !(self.floor..=1.0).contains(&self.cap) {
            return Err(format!("cap {} must be a density in [floor, 1] = [{}, 1]", self.cap, self.floor));
        }
        Ok(())
    }
}

impl Allocator for Global {
    fn allocate(&self, layers: &[LayerUnits<'_>], keep: usize) -> Result<Vec<usize>, AllocationError> {
        let bounds: Vec<(usize, usize)> = layers
            .iter()
            .map(|l| {
                let units = l.units() as f64;
                let floor = ((self.floor * units).ceil() as usize).clamp(l.least, l.alive());
                let cap = ((self.cap * units).floor() as usize).clamp(floor, l.alive());
                (floor, cap)
            })
            .collect();
        let scores: Vec<&Scores<'_>> = layers.iter().map(|l| l.scores).collect();
        share_highest(&scores, &bounds, keep).ok_or_else(|| AllocationError::Unreachable {
            keep,
            least: bounds.iter().map(|b| b.0).sum(),
            most: bounds.iter().map(|b| b.1).sum(),
            allow_empty_helps: false,
        })
    }
}

pruning_core::register_allocator!(Global);
