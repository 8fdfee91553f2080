//! What suggestions promise, on curves of any shape.

use proptest::prelude::*;
use pruning_burn::analyze::sensitivity::{Basis, Sensitivity, SuggestError, Suggestion};
use serde_json::json;

const SPARSITIES: [f64; 6] = [0.2, 0.5, 0.7, 0.9, 0.95, 0.99];

/// A result with these layers: their weights, and what they add at each sparsity.
fn found(layers: &[(usize, Vec<f64>)]) -> Sensitivity {
    let layer = |(i, (weights, added)): (usize, &(usize, Vec<f64>))| {
        let point = |(s, added): (&f64, &f64)| json!({ "sparsity": s, "value": 1.0 + added });
        json!({ "path": format!("fc{i}.weight"), "units": weights, "weights": weights, "granularity": null,
            "points": SPARSITIES.iter().zip(added).map(point).collect::<Vec<_>>() })
    };
    let layers: Vec<_> = layers.iter().enumerate().map(layer).collect();
    serde_json::from_value(json!({ "dense": 1.0, "layers": layers, "model": "", "recipe": null })).unwrap()
}

/// Rising and ever steeper: steps that only grow.
fn convex() -> impl Strategy<Value = Vec<(usize, Vec<f64>)>> {
    let steps = proptest::collection::vec(0.0..1.0f64, SPARSITIES.len());
    let curve = steps.prop_map(|mut steps| {
        steps.sort_by(f64::total_cmp);
        let (mut at, mut value) = (0.0, 0.0);
        let add = |(step, s): (f64, f64)| {
            value += step * (s - at);
            at = s;
            value
        };
        steps.into_iter().zip(SPARSITIES).map(add).collect()
    });
    proptest::collection::vec((1..100_000usize, curve), 1..8)
}

/// Of any shape: noisy, falling, collapsed.
fn any_curves() -> impl Strategy<Value = Vec<(usize, Vec<f64>)>> {
    let curve = proptest::collection::vec(-0.5..3.0f64, SPARSITIES.len());
    proptest::collection::vec((1..100_000usize, curve), 1..8)
}

fn sparsities(suggestion: &Suggestion) -> Vec<f64> {
    suggestion.layers.iter().map(|layer| layer.sparsity.value()).collect()
}

/// What the same sparsity everywhere adds, by measurements that rise.
fn uniform(layers: &[(usize, Vec<f64>)], at: usize) -> f64 {
    layers.iter().map(|(_, added)| added[at]).sum()
}

proptest! {
    #[test]
    fn a_total_is_met_and_no_layer_leaves_what_was_scanned(layers in any_curves(), total in 0.0..0.99f64) {
        let suggestion = found(&layers).suggest_for(total).unwrap();
        prop_assert!((suggestion.sparsity() - total).abs() < 1e-9, "{suggestion:?}");
        prop_assert!(sparsities(&suggestion).iter().all(|s| (0.0..=0.99 + 1e-12).contains(s)));
        prop_assert_eq!(suggestion.layers.is_empty(), suggestion.basis != Basis::Curves);
    }

    #[test]
    fn curves_that_get_steeper_decide(layers in convex(), at in 0..SPARSITIES.len()) {
        // They have no noise, and no layer is cheaper once it has collapsed.
        let suggestion = found(&layers).suggest_for(SPARSITIES[at]).unwrap();
        let (loss, even) = (suggestion.loss().unwrap(), uniform(&layers, at));
        prop_assert!(loss <= even + 1e-9 * even.max(1.0), "{} above {}", loss, even);
    }

    #[test]
    fn rising_curves_are_no_worse_than_uniform(layers in any_curves(), at in 0..SPARSITIES.len()) {
        let mut layers = layers;
        for (_, added) in &mut layers {
            added.iter_mut().for_each(|v| *v = v.max(0.0));
            added.sort_by(f64::total_cmp);
        }
        let (suggestion, even) = (found(&layers).suggest_for(SPARSITIES[at]).unwrap(), uniform(&layers, at));
        prop_assert!(suggestion.loss().is_none_or(|loss| loss <= even + 1e-9 * even.max(1.0)), "{:?}", suggestion);
    }

    #[test]
    fn a_higher_total_takes_no_less_of_any_layer(layers in convex(), a in 0.0..0.99f64, b in 0.0..0.99f64) {
        let found = found(&layers);
        let [low, high] = [a.min(b), a.max(b)].map(|total| sparsities(&found.suggest_for(total).unwrap()));
        prop_assert!(low.iter().zip(&high).all(|(low, high)| *low <= high + 1e-9), "{:?} {:?}", low, high);
    }

    #[test]
    fn what_decides_is_worth_more_than_its_noise(layers in any_curves(), total in 0.0..0.99f64) {
        if let Basis::Recipe { total: kept, gain, noise } = found(&layers).suggest_for(total).unwrap().basis {
            prop_assert!(gain < noise && noise >= 0.0 && kept.value() == total, "{} {}", gain, noise);
        }
    }

    #[test]
    fn the_order_of_layers_does_not_matter(layers in convex(), total in 0.0..0.99f64) {
        let forth = sparsities(&found(&layers).suggest_for(total).unwrap());
        let reversed: Vec<_> = layers.into_iter().rev().collect();
        let mut back = sparsities(&found(&reversed).suggest_for(total).unwrap());
        back.reverse();
        prop_assert!(forth.iter().zip(&back).all(|(a, b)| (a - b).abs() < 1e-9), "{:?} {:?}", forth, back);
    }

    #[test]
    fn a_bound_is_kept_by_every_layer(layers in any_curves(), bound in 0.0..3.0f64) {
        let suggestion = found(&layers).suggest(bound).unwrap();
        prop_assert!(suggestion.layers.iter().all(|layer| layer.loss <= bound));
    }
}

#[test]
fn beyond_what_was_scanned_is_an_error() {
    let error = found(&[(10, vec![0.1; SPARSITIES.len()])]).suggest_for(0.995).unwrap_err();
    assert!(matches!(error, SuggestError::Unreachable { .. }), "{error}");
}
