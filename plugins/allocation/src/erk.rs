use pruning_core::budget::{AllocationError, Allocator, LayerUnits, Share, in_proportion};
use pruning_core::plugin::Plugin;
use serde::{Deserialize, Serialize};

/// Density falls with the size of a layer, its kernel included (Erdos-Renyi-Kernel).
///
/// A layer of shape `[n_out, n_in, h, w]` has density `eps (n_out + n_in + h + w) / (n_out n_in h w)`: the sum of its dimensions over
/// their product, with one `eps` for all layers such that the total is met. A layer that would be more than full is dense,
/// and `eps` is recomputed for the others.
///
/// # Shapes
/// One count for each layer.
///
/// # Config
/// None.
///
/// ```
/// # use pruning_core::plugin::Plugins;
/// use pruning_core::budget::{Allocator, Amount, LayerUnits, Rounding, Scores, Sparsity, allocate};
/// use pruning_core::score::{MatrixLayout, Order};
/// # let mut plugins = Plugins::empty();
/// # pruning_allocation::register(&mut plugins);
/// let scores = Scores::new(&[1.0; 400], Order::Value)?;
/// let few = Scores::new(&[1.0; 16], Order::Value)?;
/// let layer = |path, shape: &'static [usize; 2], scores| {
///     let [rows, cols] = *shape;
///     LayerUnits::new(path, MatrixLayout::row_major(rows, cols), scores).with_layer("Linear", shape, 0)
/// };
/// let layers = [layer("fc1.weight", &[20, 20], &scores), layer("fc2.weight", &[4, 4], &few)];
/// let erk = plugins.build::<dyn Allocator>("erk", Default::default())?;
/// // The densities 40 / 400 and 8 / 16 are in proportion to (20 + 20) / 400 and (4 + 4) / 16.
/// let amount = Amount::OfTotal(Sparsity::new(1.0 - 48.0 / 416.0)?);
/// assert_eq!(allocate(&*erk, &layers, amount, Rounding::HalfEven)?, [40, 8]);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
///
/// # Compatible implementations
/// `erdos_renyi_kernel` of RigL and `erk` of JaxPruner, which round each layer by itself, so their totals may be off by some weights.
///
/// # Errors
/// None of its own.
///
/// # References
/// Utku Evci, Trevor Gale, Jacob Menick, Pablo Samuel Castro, Erich Elsen, "Rigging the Lottery: Making All Tickets Winners", 2020,
/// arXiv:1911.11134, section 3.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
#[non_exhaustive]
pub struct Erk {}

impl Plugin for Erk {
    const NAME: &'static str = "erk";
    const SUMMARY: &'static str = "Density falls with the size of a layer, its kernel included (Erdos-Renyi-Kernel).";
    const REFERENCES: &'static [&'static str] = &["Evci et al. 2020, arXiv:1911.11134"];
}

impl Allocator for Erk {
    fn allocate(&self, layers: &[LayerUnits<'_>], keep: usize) -> Result<Vec<usize>, AllocationError> {
        let density = |l: &LayerUnits<'_>| {
            let (sum, product) = l.shape.iter().fold((0.0, 1.0), |(s, p), &d| (s + d as f64, p * d as f64));
            sum / f64::max(product, 1.0)
        };
        let parts: Vec<_> = layers.iter().map(|l| Share::new(density(l) * l.units() as f64, l)).collect();
        in_proportion(&parts, keep)
    }
}

pruning_core::register_allocator!(Erk);
