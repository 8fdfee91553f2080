//! From measurements to sparsities: [`Suggestion`].

use super::{LayerSensitivity, Sensitivity};
use crate::Pruner;
use pruning_core::{Budget, Granularity, Override, Pattern, Rounds, Schedule, Sparsity};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

/// A sparsity for each layer.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Suggestion {
    /// What each layer alone may add to the value of the dense model.
    pub max_loss: f64,
    /// The layers, in the order of the model.
    pub layers: Vec<SuggestedLayer>,
}

/// One layer.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct SuggestedLayer {
    /// Its path.
    pub path: String,
    /// Its elements.
    pub weights: usize,
    /// What is removed together, if it is not what the recipe says.
    pub granularity: Option<Granularity>,
    /// Its sparsity.
    pub sparsity: Sparsity,
}

/// Why there is nothing to suggest.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum SuggestError {
    /// The bound is no bound.
    #[error(
        "max_loss {value} is no bound: give a number from 0 on, which is what one layer may add to the dense value"
    )]
    MaxLoss {
        /// The number.
        value: String,
    },
    /// A layer has no measurement.
    #[error("{path}: nothing was measured; scan it first (`Scan::resume` goes on with this result)")]
    NotScanned {
        /// The layer.
        path: String,
    },
    /// There are no layers.
    #[error("the result has no layers; scan a model first")]
    NoLayer,
    /// Even the highest sparsities are not enough.
    #[error(
        "total sparsity {asked} is out of reach: the highest sparsities that were scanned make {reached}; scan higher ones"
    )]
    Unreachable {
        /// The total that was asked for.
        asked: Sparsity,
        /// The highest possible.
        reached: f64,
    },
    /// The total is no sparsity.
    #[error(transparent)]
    Sparsity(#[from] pruning_core::SparsityError),
}

impl Sensitivity {
    /// For each layer the largest sparsity whose value stays within `dense + max_loss`.
    ///
    /// Between two measurements it is interpolated linearly. A curve counts as the highest value up to each sparsity, so nothing
    /// beyond a first bump is trusted. No more than the highest sparsity that was scanned is suggested.
    ///
    /// # Errors
    /// A negative bound or NaN, a layer without a measurement.
    pub fn suggest(&self, max_loss: f64) -> Result<Suggestion, SuggestError> {
        if max_loss.is_nan() || max_loss < 0.0 {
            return Err(SuggestError::MaxLoss { value: max_loss.to_string() });
        }
        let curves = self.curves()?;
        Ok(self.make(max_loss, curves.iter().map(|curve| within(curve, self.dense + max_loss))))
    }

    /// The same with the bound at which the whole is as sparse as asked: the fraction of all weights of these layers.
    ///
    /// # Errors
    /// A total out of range, or one that the highest scanned sparsities do not reach; a layer without a measurement.
    pub fn suggest_for(&self, total: f64) -> Result<Suggestion, SuggestError> {
        let asked = Sparsity::new(total)?;
        let curves = self.curves()?;
        let at = |loss: f64| -> Vec<f64> { curves.iter().map(|c| within(c, self.dense + loss)).collect() };
        let sum = |s: &[f64]| self.layers.iter().zip(s).map(|(l, s)| l.weights as f64 * s).sum::<f64>();
        let weights = self.layers.iter().map(|l| l.weights).sum::<usize>() as f64;
        let wanted = asked.value() * weights;
        let highest = curves.iter().filter_map(|c| c.last()).map(|(_, v)| v - self.dense).fold(0.0, f64::max);
        let (mut low, mut high) = (vec![0.0; curves.len()], at(f64::INFINITY));
        // Rounding of the sum must not put the highest sparsities themselves out of reach.
        if sum(&high) < wanted * (1.0 - 1e-9) {
            return Err(SuggestError::Unreachable { asked, reached: sum(&high) / weights });
        }
        let (mut from, mut to) = (0.0, highest);
        if sum(&at(0.0)) >= wanted {
            (high, to) = (at(0.0), 0.0);
        } else {
            low = at(0.0);
            // Halving a range of floats ends after so many steps.
            for _ in 0..200 {
                let middle = 0.5 * (from + to);
                let found = at(middle);
                if sum(&found) < wanted {
                    (low, from) = (found, middle);
                } else {
                    (high, to) = (found, middle);
                }
            }
        }
        // A curve that stays level makes the total jump: the rest of the way is the same fraction in every layer.
        let (below, above) = (sum(&low), sum(&high));
        let part = if above > below { ((wanted - below) / (above - below)).clamp(0.0, 1.0) } else { 1.0 };
        Ok(self.make(to, low.iter().zip(&high).map(|(low, high)| low + part * (high - low))))
    }

    fn curves(&self) -> Result<Vec<Vec<(f64, f64)>>, SuggestError> {
        if self.layers.is_empty() {
            return Err(SuggestError::NoLayer);
        }
        self.layers.iter().map(|layer| curve(layer, self.dense)).collect()
    }

    fn make(&self, max_loss: f64, sparsities: impl Iterator<Item = f64>) -> Suggestion {
        let layer = |(layer, sparsity): (&LayerSensitivity, f64)| SuggestedLayer {
            path: layer.path.clone(),
            weights: layer.weights,
            granularity: layer.granularity,
            // Between two sparsities, so always one.
            sparsity: Sparsity::new(sparsity).unwrap_or(Sparsity::ZERO),
        };
        Suggestion { max_loss, layers: self.layers.iter().zip(sparsities).map(layer).collect() }
    }
}

/// Sparsity and value from the dense model on, both rising.
fn curve(layer: &LayerSensitivity, dense: f64) -> Result<Vec<(f64, f64)>, SuggestError> {
    if layer.points.is_empty() {
        return Err(SuggestError::NotScanned { path: layer.path.clone() });
    }
    let mut points: Vec<_> = layer.points.iter().map(|p| (p.sparsity.value(), p.value)).collect();
    points.sort_by(|a, b| a.0.total_cmp(&b.0));
    points.insert(0, (0.0, dense));
    for i in 1..points.len() {
        points[i].1 = points[i].1.max(points[i - 1].1);
    }
    Ok(points)
}

/// The sparsity at which a curve leaves the limit, or its end.
fn within(curve: &[(f64, f64)], limit: f64) -> f64 {
    let beyond = curve.partition_point(|(_, value)| *value <= limit);
    let (s, v) = curve[beyond.saturating_sub(1)];
    match curve.get(beyond) {
        Some((to, above)) if beyond > 0 => s + (limit - v) / (above - v) * (to - s),
        _ => s,
    }
}

impl Suggestion {
    /// Fraction of all weights of these layers that goes.
    #[must_use]
    pub fn sparsity(&self) -> f64 {
        let removed: f64 = self.layers.iter().map(|l| l.weights as f64 * l.sparsity.value()).sum();
        removed / self.layers.iter().map(|l| l.weights).sum::<usize>().max(1) as f64
    }

    /// As `[[override]]` tables of a recipe.
    #[must_use]
    pub fn to_toml(&self) -> String {
        let table = |layer: &SuggestedLayer| {
            let mut table = json!({ "target": layer.path, "sparsity": layer.sparsity });
            if let Some(granularity) = layer.granularity {
                table["granularity"] = json!(granularity);
            }
            table
        };
        let value = json!({ "override": self.layers.iter().map(table).collect::<Vec<Value>>() });
        toml::to_string(&value).unwrap_or_else(|_| value.to_string())
    }

    /// The pruner with these sparsities as overrides. Overrides that leave layers dense stay, all others go.
    ///
    /// Its schedule still counts: each layer comes to its own sparsity by it. A layer at sparsity 0 is left dense.
    #[must_use]
    pub fn apply(&self, pruner: &Pruner) -> Pruner {
        let mut recipe = pruner.recipe().clone();
        recipe.overrides.retain(|o| o.sparsity == Sparsity::ZERO);
        recipe.overrides.extend(self.layers.iter().map(|layer| Override {
            target: Pattern::new(layer.path.clone()),
            sparsity: layer.sparsity,
            granularity: layer.granularity,
        }));
        // No layer shares the budget any more; it tells the total. Rounds by a fraction make the budget themselves.
        let derived = matches!(recipe.schedule, Schedule::Iterative { rounds: Rounds::FractionTimes(..), .. });
        if !derived && let Ok(total) = Sparsity::new(self.sparsity()) {
            recipe.budget = Budget::Sparsity(total);
        }
        recipe.into()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sensitivity::SensitivityPoint;

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
    fn a_total_is_met_even_where_curves_are_level() {
        let found = found(&[(300, &[(0.5, 1.1), (0.9, 1.1)]), (100, &[(0.3, 1.0), (0.6, 2.0), (0.9, 2.0)])]);
        for total in [0.0, 0.01, 0.075, 0.3, 0.5, 0.6, 0.77, 0.9] {
            let suggestion = found.suggest_for(total).unwrap();
            assert!((suggestion.sparsity() - total).abs() < 1e-9, "{total}: {suggestion:?}");
        }
        let error = found.suggest_for(0.95).unwrap_err();
        assert!(matches!(error, SuggestError::Unreachable { .. }), "{error}");
        assert!(error.to_string().contains("0.95") && error.to_string().contains("0.9;"), "{error}");
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
    }

    #[test]
    fn the_text_is_that_of_overrides() {
        let text = found(&[(10, &[(0.5, 1.0)]), (20, &[(0.25, 1.0)])]).suggest(0.0).unwrap().to_toml();
        let expected = "[[override]]\nsparsity = 0.5\ntarget = \"fc0.weight\"\n\n[[override]]\nsparsity = 0.25\n\
             target = \"fc1.weight\"\n";
        assert_eq!(text, expected);
    }
}
