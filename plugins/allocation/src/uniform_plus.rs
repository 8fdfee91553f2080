use pruning_core::budget::{AllocationError, Allocator, LayerUnits, Share, in_proportion};
use pruning_core::plugin::Plugin;
use serde::{Deserialize, Serialize};

/// The same sparsity in every layer, but the first convolution stays dense and the last layer keeps a fifth.
///
/// First and last are meant in the order of the model's fields. The other layers keep as many units less as these two keep more, so the
/// total is met.
///
/// # Shapes
/// One count for each layer.
///
/// # Config
/// - `last`: greatest sparsity of the last layer, in `[0, 1]`; default 0.8.
///
/// ```
/// # use pruning_core::plugin::Plugins;
/// use pruning_core::budget::{Allocator, Amount, LayerUnits, Rounding, Scores, Sparsity, allocate};
/// use pruning_core::score::{MatrixLayout, Order};
/// # let mut plugins = Plugins::empty();
/// # pruning_allocation::register(&mut plugins);
/// let large = Scores::new(&[8.0, 7.0, 6.0, 5.0], Order::Value)?;
/// let layers = [("conv.weight", "Conv2d"), ("fc1.weight", "Linear"), ("fc2.weight", "Linear")];
/// let layers: Vec<_> = layers.into_iter().enumerate().map(|(place, (path, kind))| {
///     LayerUnits::new(path, MatrixLayout::row_major(2, 2), &large).with_layer(kind, &[2, 2], place)
/// }).collect();
/// let uniform_plus = plugins.build::<dyn Allocator>("uniform_plus", serde_json::json!({ "last": 0.75 }))?;
/// // The first convolution stays dense; the last layer and the layer in between keep the rest evenly.
/// let amount = Amount::OfTotal(Sparsity::new(0.5)?);
/// assert_eq!(allocate(&*uniform_plus, &layers, amount, Rounding::HalfEven)?, [4, 1, 1]);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
///
/// # Compatible implementations
/// The rule of the paper, where the first layer of ResNet-50 is a convolution; a network without one has no first layer to spare.
///
/// # Errors
/// The first convolution and the last layer hold more than the asked total.
///
/// # References
/// Trevor Gale, Erich Elsen, Sara Hooker, "The State of Sparsity in Deep Neural Networks", 2019, arXiv:1902.09574, section 5.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
#[non_exhaustive]
pub struct UniformPlus {
    /// The greatest sparsity of the last layer.
    pub last: f64,
}

impl Default for UniformPlus {
    fn default() -> Self {
        Self { last: 0.8 }
    }
}

impl Plugin for UniformPlus {
    const NAME: &'static str = "uniform_plus";
    const SUMMARY: &'static str =
        "The same sparsity in every layer, but the first convolution stays dense and the last layer keeps a fifth.";
    const REFERENCES: &'static [&'static str] = &["Gale et al. 2019, arXiv:1902.09574"];

    fn validate(&self) -> Result<(), String> {
        let allowed = (0.0..=1.0).contains(&self.last);
        if allowed { Ok(()) } else { Err(format!("last {} must be a sparsity in [0, 1]", self.last)) }
    }
}

impl Allocator for UniformPlus {
    fn allocate(&self, layers: &[LayerUnits<'_>], keep: usize) -> Result<Vec<usize>, AllocationError> {
        let convolutions = layers.iter().filter(|l| l.kind.contains("Conv"));
        let first = convolutions.map(|l| l.place).min();
        let last = layers.iter().map(|l| l.place).max();
        let parts: Vec<_> = layers
            .iter()
            .map(|l| {
                let mut part = Share::new(l.units() as f64, l);
                if Some(l.place) == first {
                    part.least = part.most;
                } else if Some(l.place) == last {
                    let removed = (self.last * l.units() as f64).floor() as usize;
                    part.least = (l.units() - removed).clamp(part.least, part.most);
                }
                part
            })
            .collect();
        in_proportion(&parts, keep)
    }
}

pruning_core::register_allocator!(UniformPlus);
