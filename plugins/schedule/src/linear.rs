use pruning_core::budget::Sparsity;
use pruning_core::plugin::Plugin;
use pruning_core::schedule::Curve;
use serde::{Deserialize, Serialize};

/// Sparsity grows by the same amount at each step.
///
/// `s(t) = s_i + (s_f - s_i) t` from the initial sparsity `s_i` to the target `s_f`, with progress `t` in `[0, 1]`.
///
/// # Shapes
/// A number.
///
/// # Config
/// None.
///
/// ```
/// # use pruning_core::schedule::Curve;
/// # use pruning_core::plugin::Plugins;
/// # use pruning_core::budget::Sparsity;
/// # let mut plugins = Plugins::empty();
/// # pruning_schedule::register(&mut plugins);
/// let curve = plugins.build::<dyn Curve>("linear", Default::default())?;
/// let half_way = curve.sparsity(Sparsity::ZERO, Sparsity::new(0.75)?, 0.5);
/// assert_eq!(half_way, 0.375);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
///
/// # Compatible implementations
/// The linear interpolation that pruning toolkits commonly call `linear`.
///
/// # Errors
/// None.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
#[non_exhaustive]
pub struct Linear {}

impl Plugin for Linear {
    const NAME: &'static str = "linear";
    const SUMMARY: &'static str = "Sparsity grows by the same amount at each step.";
}

impl Curve for Linear {
    fn sparsity(&self, initial: Sparsity, target: Sparsity, progress: f64) -> f64 {
        let (from, to) = (initial.value(), target.value());
        // Written so that both ends are exact.
        from * (1.0 - progress) + to * progress
    }
}

pruning_core::register_curve!(Linear);
