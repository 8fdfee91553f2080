use pruning_core::budget::Sparsity;
use pruning_core::plugin::Plugin;
use pruning_core::schedule::Curve;
use serde::{Deserialize, Serialize};

/// Each step removes the same fraction of what remains.
///
/// `1 - s(t) = (1 - s_i)^(1 - t) (1 - s_f)^t`: density falls geometrically from the initial sparsity `s_i` to the target `s_f`, with
/// progress `t` in `[0, 1]`.
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
/// let curve = plugins.build::<dyn Curve>("exponential", Default::default())?;
/// let half_way = curve.sparsity(Sparsity::ZERO, Sparsity::new(0.75)?, 0.5);
/// assert_eq!(half_way, 0.5);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
///
/// # Compatible implementations
/// An iterative schedule with `rounds` reaches the same sparsities.
///
/// # Errors
/// None.
///
/// # References
/// Jonathan Frankle, Michael Carbin, "The Lottery Ticket Hypothesis", 2018, arXiv:1803.03635, section 2, where each round
/// removes `p^(1/n)`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
#[non_exhaustive]
pub struct Exponential {}

impl Plugin for Exponential {
    const NAME: &'static str = "exponential";
    const SUMMARY: &'static str = "Each step removes the same fraction of what remains.";
    const REFERENCES: &'static [&'static str] = &["Frankle & Carbin 2018, arXiv:1803.03635"];
}

impl Curve for Exponential {
    fn sparsity(&self, initial: Sparsity, target: Sparsity, progress: f64) -> f64 {
        let (from, to) = (initial.value(), target.value());
        // Powers do not give the ends exactly.
        if progress <= 0.0 {
            from
        } else if progress >= 1.0 {
            to
        } else {
            1.0 - initial.density().powf(1.0 - progress) * target.density().powf(progress)
        }
    }
}

pruning_core::register_curve!(Exponential);
