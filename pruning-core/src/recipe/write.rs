//! Writing recipes as values and text.

use crate::budget::Compare;
use crate::recipe::{Budget, Recipe};
use crate::schedule::{Rounds, Schedule};
use serde_json::{Map, Value, json};

impl<K: ?Sized> Recipe<K> {
    /// Returns the recipe as a value, with every default filled in.
    #[must_use]
    pub fn to_value(&self) -> Value {
        let mut map = Map::new();
        let mut put = |key: &str, value: Value| map.insert(key.to_string(), value);
        let derived = matches!(self.schedule, Schedule::Iterative { rounds: Rounds::FractionTimes(..), .. });
        match self.budget {
            Budget::Sparsity(s) if !derived => drop(put("sparsity", json!(s))),
            Budget::Sparsity(_) => {}
            Budget::Count(n) => drop(put("count", json!(n))),
        }
        put("criterion", self.criterion.to_value());
        if let Some(allocator) = &self.allocator {
            put("allocator", allocator.to_value());
        }
        put("granularity", json!(self.granularity));
        // Recipes in files from before these keys are those without them.
        if self.compare != Compare::default() {
            put("compare", json!(self.compare));
        }
        if self.skip_unfit {
            put("skip_unfit", json!(true));
        }
        if let Some(reduction) = self.reduction {
            put("reduction", json!(reduction));
        }
        if self.is_structural() {
            put("channel_score", json!(self.channel_score));
        }
        put("rounding", json!(self.rounding));
        put("allow_empty", json!(self.allow_empty));
        if let Some(reconstruct) = &self.reconstruct {
            put("reconstruct", reconstruct.to_value());
        }
        if self.sequential {
            put("sequential", json!(true));
        }
        put("initialization", json!(self.initialization));
        if let Some(grow) = &self.grow {
            put(
                "grow",
                json!({
                    "criterion": grow.criterion.to_value(), "fraction": grow.fraction, "anneal": grow.anneal,
                    "every": grow.every, "end": grow.end,
                }),
            );
        }
        put("schedule", self.schedule.to_value());
        put("target", json!(self.targets));
        if !self.overrides.is_empty() {
            let each = self.overrides.iter().map(|o| {
                let mut value = json!({ "target": o.target, "sparsity": o.sparsity });
                if let Some(granularity) = o.granularity {
                    value["granularity"] = json!(granularity);
                }
                value
            });
            put("override", each.collect());
        }
        Value::Object(map)
    }

    /// Returns the recipe as TOML with every default filled in; reading it again gives the same recipe.
    #[must_use]
    pub fn to_toml(&self) -> String {
        toml::to_string(&self.to_value()).unwrap_or_else(|_| self.to_value().to_string())
    }
}

impl Schedule {
    /// Returns the schedule as a recipe gives it, with every default filled in.
    #[must_use]
    pub fn to_value(&self) -> Value {
        match self {
            Schedule::OneShot { at } => json!({ "kind": "one_shot", "at": at }),
            Schedule::Iterative { begin, every, rounds } => {
                let mut value = json!({ "kind": "iterative", "begin": begin, "every": every });
                if let Rounds::ToTarget(n) | Rounds::FractionTimes(_, n) = rounds {
                    value["rounds"] = json!(n);
                }
                if let Rounds::Fraction(f) | Rounds::FractionTimes(f, _) = rounds {
                    value["fraction"] = json!(f);
                }
                value
            }
            Schedule::Gradual { begin, end, every, initial, curve } => json!({
                "kind": "gradual", "begin": begin, "end": end, "every": every, "initial": initial, "curve": curve.to_value(),
            }),
        }
    }
}
