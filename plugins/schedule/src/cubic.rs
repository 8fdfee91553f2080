use pruning_core::budget::Sparsity;
use pruning_core::plugin::Plugin;
use pruning_core::schedule::Curve;
use serde::{Deserialize, Serialize};

/// Sparsity grows fast at first, and slowly towards the target.
///
/// `s(t) = s_f + (s_i - s_f) (1 - t)^3` from the initial sparsity `s_i` to the target `s_f`, with progress `t` in `[0, 1]`.
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
/// let curve = plugins.build::<dyn Curve>("cubic", Default::default())?;
/// let half_way = curve.sparsity(Sparsity::ZERO, Sparsity::new(0.75)?, 0.5);
/// assert_eq!(half_way, 0.75 - 0.75 / 8.0);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
///
/// # Compatible implementations
/// Equation 1 of the paper, and the polynomial decay of power 3 of the TensorFlow Model Optimization Toolkit.
///
/// # Errors
/// None.
///
/// # References
/// Michael Zhu, Suyog Gupta, "To prune, or not to prune: exploring the efficacy of pruning for model compression", 2017,
/// arXiv:1710.01878, section 3, equation 1.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
#[non_exhaustive]
pub struct Cubic {}

impl Plugin for Cubic {
    const NAME: &'static str = "cubic";
    const SUMMARY: &'static str = "Sparsity grows fast at first, and slowly towards the target.";
    const REFERENCES: &'static [&'static str] = &["Zhu & Gupta 2017, arXiv:1710.01878"];
}

impl Curve for Cubic {
    fn sparsity(&self, initial: Sparsity, target: Sparsity, progress: f64) -> f64 {
        let (from, to) = (initial.value(), target.value());
        let rest = (1.0 - progress).powi(3);
        // Written so that both ends are exact.
        from * rest + to * (1.0 - rest)
    }
}

pruning_core::register_curve!(Cubic);
