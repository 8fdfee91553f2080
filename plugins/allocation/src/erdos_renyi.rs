use pruning_core::budget::{AllocationError, Allocator, LayerUnits, Share, in_proportion};
use pruning_core::plugin::Plugin;
use serde::{Deserialize, Serialize};

/// Density falls with the size of a layer, as in a sparse random graph.
///
/// Layer `l` with `n_out` output units and `n_in` input channels has density `eps (n_in + n_out) / (n_in n_out)`, with one `eps` for all
/// layers such that the total is met. A layer that would be more than full is dense, and `eps` is recomputed for the others.
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
/// let layers = [("fc1.weight", &scores, 20), ("fc2.weight", &few, 4)].map(|(path, scores, side)| {
///     LayerUnits::new(path, MatrixLayout::row_major(side, side), scores)
/// });
/// let erdos_renyi = plugins.build::<dyn Allocator>("erdos_renyi", Default::default())?;
/// // The densities 40 / 400 and 8 / 16 are in proportion to (20 + 20) / 400 and (4 + 4) / 16.
/// let amount = Amount::OfTotal(Sparsity::new(1.0 - 48.0 / 416.0)?);
/// assert_eq!(allocate(&*erdos_renyi, &layers, amount, Rounding::HalfEven)?, [40, 8]);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
///
/// # Compatible implementations
/// `erdos_renyi` of RigL, which rounds each layer by itself, so its total may be off by some weights; kernels do not count, see `erk`.
///
/// # Errors
/// None of its own.
///
/// # References
/// Decebal Constantin Mocanu et al., "Scalable training of artificial neural networks with adaptive sparse connectivity inspired by
/// network science", 2018, arXiv:1707.04780; Utku Evci et al., "Rigging the Lottery: Making All Tickets Winners", 2020,
/// arXiv:1911.11134, section 3.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
#[non_exhaustive]
pub struct ErdosRenyi {}

impl Plugin for ErdosRenyi {
    const NAME: &'static str = "erdos_renyi";
    const SUMMARY: &'static str = "Density falls with the size of a layer, as in a sparse random graph.";
    const REFERENCES: &'static [&'static str] =
        &["Mocanu et al. 2018, arXiv:1707.04780", "Evci et al. 2020, arXiv:1911.11134"];
}

impl Allocator for ErdosRenyi {
    fn allocate(&self, layers: &[LayerUnits<'_>], keep: usize) -> Result<Vec<usize>, AllocationError> {
        let density = |l: &LayerUnits<'_>| {
            let (n_out, n_in) = (l.layout.rows() as f64, l.layout.input_channels() as f64);
            (n_in + n_out) / (n_in * n_out).max(1.0)
        };
        let parts: Vec<_> = layers.iter().map(|l| Share::new(density(l) * l.units() as f64, l)).collect();
        in_proportion(&parts, keep)
    }
}

pruning_core::register_allocator!(ErdosRenyi);
