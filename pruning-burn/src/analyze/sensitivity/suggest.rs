//! Choosing sparsities from measurements: [`Suggestion`].

use crate::Pruner;
use crate::analyze::sensitivity::curve::{Curve, spend};
use crate::analyze::sensitivity::{LayerSensitivity, Sensitivity};
use pruning_core::budget::Sparsity;
use pruning_core::recipe::{Budget, Override};
use pruning_core::schedule::{Rounds, Schedule};
use pruning_core::score::Granularity;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use std::fmt;

/// A sparsity for each layer, or the statement that the measurements are too noisy to choose one.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Suggestion {
    /// Whether the measurements or the recipe decide the sparsities.
    pub basis: Basis,
    /// The layers, in the order of the model. The list is empty if the recipe decides.
    pub layers: Vec<SuggestedLayer>,
}

/// What decides the sparsities of a [`Suggestion`]: the measurements or the recipe.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[non_exhaustive]
#[serde(rename_all = "snake_case")]
pub enum Basis {
    /// The measured curves decide.
    Curves,
    /// The recipe's own allocator decides, since the gain that the curves promise is within their noise.
    Recipe {
        /// Fraction of all weights that is removed.
        total: Sparsity,
        /// How much less the best sparsities of the layers add to the value than the same sparsity everywhere, by the curves.
        gain: f64,
        /// Uncertainty of the gain.
        noise: f64,
    },
}

/// The suggested sparsity of one layer.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct SuggestedLayer {
    /// Path of the parameter.
    pub path: String,
    /// Number of elements.
    pub weights: usize,
    /// Granularity of the layer, if it differs from that of the recipe.
    pub granularity: Option<Granularity>,
    /// Suggested sparsity.
    pub sparsity: Sparsity,
    /// Amount that the layer adds to the value of the dense model when it is pruned alone, by its curve.
    pub loss: f64,
}

/// An error that prevents a suggestion.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum SuggestError {
    /// The bound of the loss is negative or NaN.
    #[error("max_loss {value}: give a number of 0 or more, the amount that one layer may add to the dense value")]
    MaxLoss {
        /// The number.
        value: String,
    },
    /// A layer has no measurement.
    #[error("{path}: nothing was measured; scan the layer first (`Scan::resume` goes on with this result)")]
    NotScanned {
        /// The layer.
        path: String,
    },
    /// A measurement is NaN or infinite.
    #[error("{path}: the measurement at sparsity {sparsity} is {value}, not a finite number; scan anew")]
    NotFinite {
        /// The layer.
        path: String,
        /// The sparsity of the measurement.
        sparsity: Sparsity,
        /// The difference from the dense value.
        value: String,
    },
    /// The cost of a layer is negative or not finite, or all costs are zero.
    #[error("{path}: the cost {value} is not usable: give finite numbers of 0 or more, and at least one above 0")]
    Cost {
        /// The layer.
        path: String,
        /// The cost.
        value: String,
    },
    /// The result has no layers.
    #[error("the result has no layers; scan a model first")]
    NoLayer,
    /// The highest scanned sparsities do not reach the total.
    #[error(
        "total sparsity {asked} is out of reach: the highest sparsities that were scanned give {reached}; scan higher ones"
    )]
    Unreachable {
        /// The total that was asked for.
        asked: Sparsity,
        /// The highest possible total.
        reached: f64,
    },
    /// The total is outside `[0, 1)`.
    #[error(transparent)]
    Sparsity(#[from] pruning_core::budget::SparsityError),
}

impl Sensitivity {
    /// Suggests for each layer the largest sparsity whose value stays within `dense + max_loss`.
    ///
    /// Between two measurements the value is interpolated linearly. A curve counts as its highest value up to each sparsity, so nothing
    /// beyond a first bump is trusted. No layer gets more than the highest sparsity that was scanned. The [module](super) has an example.
    ///
    /// # Errors
    /// The bound is negative or NaN, or a layer has no measurement.
    pub fn suggest(&self, max_loss: f64) -> Result<Suggestion, SuggestError> {
        if max_loss.is_nan() || max_loss < 0.0 {
            return Err(SuggestError::MaxLoss { value: max_loss.to_string() });
        }
        self.some()?;
        let added = self.layers.iter().map(|layer| self.added(layer)).collect::<Result<Vec<_>, _>>()?;
        Ok(self.make(added.iter().map(|added| within(added, max_loss)).collect()))
    }

    /// Suggests the sparsities that remove a total at the least loss; the total is a fraction of all weights of these layers.
    ///
    /// The loss is the sum of what the layers add when each is pruned alone. The next weights are taken where they add least, so that
    /// at the end a further weight costs the same in every layer that is neither dense nor at the highest sparsity that was scanned. A curve
    /// counts as the nearest one that rises and gets steeper; between two measurements it is a parabola. The [module](super) has an example.
    ///
    /// Fewer weights cannot be better, so wherever a curve falls, that is noise: the evaluation saw too few examples. The noise of a layer
    /// is its greatest fall up to its sparsity, and the noise of the whole is the root of the sum of their squares. Unless these
    /// sparsities gain more than that over the same sparsity everywhere, the basis is [`Basis::Recipe`].
    ///
    /// # Errors
    /// The total is out of range, or the highest scanned sparsities do not reach it; a layer has no measurement, or one that is not finite.
    pub fn suggest_for(&self, total: f64) -> Result<Suggestion, SuggestError> {
        self.suggest_for_costs(total, |layer| layer.weights as f64)
    }

    /// Suggests sparsities like [`suggest_for`](Self::suggest_for), for a total of another cost than weights.
    ///
    /// `cost` gives the cost of a whole layer, such as its multiply-accumulates.
    ///
    /// # Errors
    /// Those of [`suggest_for`](Self::suggest_for); a cost is negative or not finite, or all costs are zero.
    pub fn suggest_for_costs(
        &self,
        total: f64,
        cost: impl Fn(&LayerSensitivity) -> f64,
    ) -> Result<Suggestion, SuggestError> {
        let asked = Sparsity::new(total)?;
        self.some()?;
        let curve = |layer: &LayerSensitivity| Ok(Curve::new(self.added(layer)?.into_iter()));
        let curves = self.layers.iter().map(curve).collect::<Result<Vec<_>, SuggestError>>()?;
        let costs: Vec<f64> = self.layers.iter().map(cost).collect();
        let all: f64 = costs.iter().sum();
        let some = all.is_finite() && all > 0.0;
        let bad = |cost: f64| !some || !cost.is_finite() || cost < 0.0;
        if let Some((layer, cost)) = self.layers.iter().zip(&costs).find(|(_, cost)| bad(**cost)) {
            return Err(SuggestError::Cost { path: layer.path.clone(), value: cost.to_string() });
        }
        let reached: f64 = curves.iter().zip(&costs).map(|(curve, cost)| curve.end() * cost).sum();
        let wanted = asked.value() * all;
        // Rounding of the sum must not put the highest sparsities themselves out of reach.
        if reached < wanted * (1.0 - 1e-9) {
            return Err(SuggestError::Unreachable { asked, reached: reached / all });
        }
        let found = spend(&curves, &costs, wanted);
        let least: f64 = curves.iter().zip(&found).map(|(curve, s)| curve.at(*s)).sum();
        let even: f64 = curves.iter().map(|curve| curve.at(asked.value())).sum();
        let noise = curves.iter().zip(&found).map(|(curve, s)| curve.noise(*s).powi(2)).sum::<f64>().sqrt();
        let gain = even - least;
        // Rounding alone makes no difference.
        if gain < noise - 1e-12 * even {
            return Ok(Suggestion { basis: Basis::Recipe { total: asked, gain, noise }, layers: Vec::new() });
        }
        Ok(self.make(found.iter().zip(&curves).map(|(s, curve)| (*s, curve.at(*s))).collect()))
    }

    fn some(&self) -> Result<(), SuggestError> {
        if self.layers.is_empty() { Err(SuggestError::NoLayer) } else { Ok(()) }
    }

    /// What a layer adds to the dense value, by rising sparsity.
    fn added(&self, layer: &LayerSensitivity) -> Result<Vec<(f64, f64)>, SuggestError> {
        let path = || layer.path.clone();
        if layer.points.is_empty() {
            return Err(SuggestError::NotScanned { path: path() });
        }
        let mut points: Vec<_> = layer.points.iter().map(|p| (p.sparsity, p.value - self.dense)).collect();
        points.sort_by(|a, b| a.0.value().total_cmp(&b.0.value()));
        if let Some((sparsity, added)) = points.iter().find(|(_, added)| !added.is_finite()) {
            return Err(SuggestError::NotFinite { path: path(), sparsity: *sparsity, value: added.to_string() });
        }
        Ok(points.into_iter().map(|(s, added)| (s.value(), added)).collect())
    }

    /// A suggestion of sparsities and what they add.
    fn make(&self, found: Vec<(f64, f64)>) -> Suggestion {
        let layer = |(layer, (sparsity, loss)): (&LayerSensitivity, (f64, f64))| SuggestedLayer {
            path: layer.path.clone(),
            weights: layer.weights,
            granularity: layer.granularity,
            // Between two sparsities, so always one.
            sparsity: Sparsity::new(sparsity).unwrap_or(Sparsity::ZERO),
            loss,
        };
        Suggestion { basis: Basis::Curves, layers: self.layers.iter().zip(found).map(layer).collect() }
    }
}

/// The sparsity at which the highest value so far leaves the limit, or the last one, and that value.
fn within(added: &[(f64, f64)], limit: f64) -> (f64, f64) {
    let mut from = (0.0, 0.0);
    for &(sparsity, added) in added {
        let to = (sparsity, added.max(from.1));
        if to.1 > limit {
            return (from.0 + (limit - from.1) / (to.1 - from.1) * (to.0 - from.0), limit);
        }
        from = to;
    }
    from
}

impl Suggestion {
    /// Returns the total sparsity: the fraction of all weights of these layers that is removed.
    ///
    /// If the recipe decides, it is the total that was asked for.
    #[must_use]
    pub fn sparsity(&self) -> f64 {
        if let Basis::Recipe { total, .. } = self.basis {
            return total.value();
        }
        let removed: f64 = self.layers.iter().map(|l| l.weights as f64 * l.sparsity.value()).sum();
        removed / self.layers.iter().map(|l| l.weights).sum::<usize>().max(1) as f64
    }

    /// Returns the sum of what the layers add to the dense value, each pruned alone, or `None` if the recipe decides.
    #[must_use]
    pub fn loss(&self) -> Option<f64> {
        matches!(self.basis, Basis::Curves).then(|| self.layers.iter().map(|layer| layer.loss).sum())
    }

    /// Returns the suggestion as text of a recipe: `[[override]]` tables, or a `sparsity` if the recipe decides.
    #[must_use]
    pub fn to_toml(&self) -> String {
        let table = |layer: &SuggestedLayer| {
            let mut table = json!({ "target": layer.path, "sparsity": layer.sparsity });
            if let Some(granularity) = layer.granularity {
                table["granularity"] = json!(granularity);
            }
            table
        };
        let value = match self.basis {
            Basis::Curves => json!({ "override": self.layers.iter().map(table).collect::<Vec<Value>>() }),
            Basis::Recipe { total, .. } => json!({ "sparsity": total }),
        };
        toml::to_string(&value).unwrap_or_else(|_| value.to_string())
    }

    /// Returns a copy of the pruner with these sparsities as overrides.
    ///
    /// Overrides that leave layers dense stay, and all others are replaced. If the recipe decides, only its sparsity changes, to the total.
    /// The schedule still counts: each layer reaches its own sparsity by it. A layer at sparsity 0 is left dense.
    #[must_use]
    pub fn apply(&self, pruner: &Pruner) -> Pruner {
        let mut recipe = pruner.recipe().clone();
        if matches!(self.basis, Basis::Curves) {
            recipe.overrides.retain(|o| o.sparsity == Sparsity::ZERO);
            recipe.overrides.extend(self.layers.iter().map(|layer| {
                let mut own = Override::new(&layer.path, layer.sparsity);
                own.granularity = layer.granularity;
                own
            }));
        }
        // With overrides no layer shares the budget; it tells the total. Rounds by a fraction make the budget themselves.
        let derived = matches!(recipe.schedule, Schedule::Iterative { rounds: Rounds::FractionTimes(..), .. });
        if !derived && let Ok(total) = Sparsity::new(self.sparsity()) {
            recipe.budget = Budget::Sparsity(total);
        }
        pruner.with_recipe(recipe)
    }
}

impl fmt::Display for Suggestion {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.basis {
            Basis::Curves => f.write_str(self.to_toml().trim_end()),
            Basis::Recipe { total, gain, noise } => write!(
                f,
                "the curves do not tell which layers to spare: {gain:.2e} less than the same sparsity everywhere is within their noise, \
                 {noise:.2e}; the allocator of the recipe decides at sparsity {total} (more examples make less noise)"
            ),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::analyze::sensitivity::SensitivityPoint;

    /// Layers of so many weights, with sparsities and values.
    type Measured<'a> = (usize, &'a [(f64, f64)]);

    fn found(layers: &[Measured<'_>]) -> Sensitivity {
        let point = |&(s, value): &(f64, f64)| SensitivityPoint { sparsity: Sparsity::new(s).unwrap(), value };
        let layer = |(i, &(weights, points)): (usize, &Measured<'_>)| LayerSensitivity {
            path: format!("fc{i}.weight"),
            units: weights,
            weights,
            granularity: None,
            points: points.iter().map(point).collect(),
        };
        let layers = layers.iter().enumerate().map(layer).collect();
        Sensitivity { dense: 1.0, layers, model: String::new(), recipe: Value::Null }
    }

    fn close(suggestion: &Suggestion, expected: &[f64]) {
        let got: Vec<_> = suggestion.layers.iter().map(|l| l.sparsity.value()).collect();
        assert_eq!(got.len(), expected.len());
        assert!(got.iter().zip(expected).all(|(a, b)| (a - b).abs() < 1e-9), "{got:?} {expected:?}");
    }

    #[test]
    fn the_largest_sparsity_within_the_bound_is_interpolated() {
        // A bump at 0.6 is not jumped over, and 0.9 is as far as was looked.
        let found = found(&[(100, &[(0.5, 1.1), (0.9, 1.5)]), (100, &[(0.3, 1.0), (0.6, 2.0), (0.9, 1.0)])]);
        close(&found.suggest(0.1).unwrap(), &[0.5, 0.33]);
        close(&found.suggest(0.3).unwrap(), &[0.7, 0.39]);
        close(&found.suggest(0.0).unwrap(), &[0.0, 0.3]);
        close(&found.suggest(9.0).unwrap(), &[0.9, 0.9]);
    }

    #[test]
    fn a_total_is_met_where_it_costs_least() {
        let found = found(&[(300, &[(0.5, 1.1), (0.9, 1.1)]), (100, &[(0.3, 1.0), (0.6, 2.0), (0.9, 2.0)])]);
        for total in [0.0, 0.01, 0.075, 0.3, 0.5, 0.6, 0.77, 0.9] {
            let suggestion = found.suggest_for(total).unwrap();
            assert_eq!(suggestion.basis, Basis::Curves);
            assert!((suggestion.sparsity() - total).abs() < 1e-9, "{total}: {suggestion:?}");
        }
        // What costs nothing goes first, then the layer that is cheaper by the weight.
        close(&found.suggest_for(0.075).unwrap(), &[0.0, 0.3]);
        close(&found.suggest_for(0.75).unwrap(), &[0.9, 0.3]);
        let error = found.suggest_for(0.95).unwrap_err();
        assert!(matches!(error, SuggestError::Unreachable { .. }), "{error}");
        assert!(error.to_string().contains("0.95") && error.to_string().contains("0.9;"), "{error}");
    }

    #[test]
    fn another_cost_spends_another_total() {
        let found = found(&[(100, &[(0.9, 1.4)]), (100, &[(0.9, 1.4)])]);
        let suggestion = found.suggest_for_costs(0.45, |l| if l.path == "fc0.weight" { 10.0 } else { 90.0 }).unwrap();
        let spent = |s: &Suggestion| 0.1 * s.layers[0].sparsity.value() + 0.9 * s.layers[1].sparsity.value();
        assert!((spent(&suggestion) - 0.45).abs() < 1e-9, "{suggestion:?}");
        assert!(suggestion.layers[0].sparsity.value() < suggestion.layers[1].sparsity.value(), "{suggestion:?}");
        for bad in [0.0, -1.0, f64::NAN, f64::INFINITY] {
            let error = found.suggest_for_costs(0.45, |_| bad).unwrap_err();
            assert!(matches!(&error, SuggestError::Cost { path, .. } if path == "fc0.weight"), "{error}");
        }
    }

    #[test]
    fn curves_within_their_noise_leave_it_to_the_recipe() {
        // Both fall by about as much as they differ.
        let noisy =
            found(&[(100, &[(0.3, 0.99), (0.6, 1.01), (0.9, 1.02)]), (100, &[(0.3, 1.01), (0.6, 1.0), (0.9, 1.03)])]);
        let suggestion = noisy.suggest_for(0.5).unwrap();
        let Basis::Recipe { total, gain, noise } = suggestion.basis else { panic!("{suggestion:?}") };
        assert!(total.value() == 0.5 && gain < noise && (noise - 0.0002f64.sqrt()).abs() < 1e-9, "{suggestion:?}");
        assert!(suggestion.layers.is_empty() && suggestion.loss().is_none() && suggestion.sparsity() == 0.5);
        assert_eq!(suggestion.to_toml(), "sparsity = 0.5\n");
        assert!(suggestion.to_string().contains("within their noise"), "{suggestion}");
        // The same noise, and a layer that matters.
        let clear =
            found(&[(100, &[(0.3, 0.99), (0.6, 1.01), (0.9, 1.02)]), (100, &[(0.3, 1.5), (0.6, 2.0), (0.9, 3.0)])]);
        let suggestion = clear.suggest_for(0.5).unwrap();
        assert!(suggestion.layers[0].sparsity.value() > 0.8, "{suggestion:?}");
    }

    #[test]
    fn a_layer_that_collapsed_is_no_noise() {
        // Beyond what is suggested, values fall by 1.
        let found =
            found(&[(100, &[(0.3, 1.0), (0.6, 1.1), (0.9, 1.2)]), (100, &[(0.3, 2.0), (0.6, 4.0), (0.9, 3.0)])]);
        assert_eq!(found.suggest_for(0.4).unwrap().basis, Basis::Curves);
    }

    #[test]
    fn bounds_and_results_that_say_nothing_are_errors() {
        let some = found(&[(10, &[(0.5, 1.1)])]);
        for bad in [-0.1, f64::NAN] {
            assert!(matches!(some.suggest(bad), Err(SuggestError::MaxLoss { .. })));
        }
        assert!(matches!(some.suggest_for(1.0), Err(SuggestError::Sparsity(_))));
        assert_eq!(found(&[]).suggest(0.1), Err(SuggestError::NoLayer));
        let path = "fc0.weight".to_string();
        assert_eq!(found(&[(10, &[])]).suggest_for(0.1), Err(SuggestError::NotScanned { path }));
        for bad in [f64::NAN, f64::INFINITY] {
            let found = found(&[(10, &[(0.5, bad)])]);
            for error in [found.suggest(0.1).unwrap_err(), found.suggest_for(0.1).unwrap_err()] {
                assert!(matches!(error, SuggestError::NotFinite { .. }), "{error}");
            }
        }
    }

    #[test]
    fn the_text_is_that_of_overrides() {
        let text = found(&[(10, &[(0.5, 1.0)]), (20, &[(0.25, 1.0)])]).suggest(0.0).unwrap().to_toml();
        let expected = "[[override]]\nsparsity = 0.5\ntarget = \"fc0.weight\"\n\n[[override]]\nsparsity = 0.25\n\
             target = \"fc1.weight\"\n";
        assert_eq!(text, expected);
    }
}
