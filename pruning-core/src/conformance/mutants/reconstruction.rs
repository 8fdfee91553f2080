//! Reconstructions that are wrong on purpose.

use super::failures;
use crate::conformance::*;
use crate::mask::Bits;
use crate::plugin::Plugin;
use crate::reconstruct::{LayerProblem, Reconstructed, ReconstructionError};
use crate::register_reconstruction;
use serde::{Deserialize, Serialize};
use std::sync::OnceLock;
use std::sync::atomic::{AtomicUsize, Ordering};

type Solved = Result<Reconstructed, ReconstructionError>;

macro_rules! reconstruction {
    ($type:ident, $name:literal, $chooses:literal, $layer:ident => $new:expr) => {
        plugin!($type, $name);

        impl Reconstruction for $type {
            fn chooses(&self) -> bool {
                $chooses
            }

            fn reconstruct(&self, $layer: &LayerProblem<'_>) -> Solved {
                $new
            }
        }

        register_reconstruction!($type);
    };
}

fn masked(layer: &LayerProblem<'_>) -> Vec<f64> {
    layer.weight.iter().enumerate().map(|(i, w)| if layer.keep.get(i) { *w } else { 0.0 }).collect()
}

/// The product of two rows by a Gram matrix.
fn inner(one: &[f64], gram: &[f64], two: &[f64]) -> f64 {
    let line = |g: &[f64]| g.iter().zip(two).map(|(g, w)| g * w).sum::<f64>();
    one.iter().zip(gram.chunks(two.len())).map(|(w, g)| w * line(g)).sum()
}

/// Rows scaled so that their output is nearest, and then by `more` of the row and of what is left of its output.
fn scaled(layer: &LayerProblem<'_>, more: impl Fn(usize, f64) -> f64) -> Solved {
    let mut weight = masked(layer);
    let rows = weight.chunks_mut(layer.cols).zip(layer.weight.chunks(layer.cols));
    for (row, (new, old)) in rows.enumerate() {
        let (both, own) = (inner(old, layer.gram, new), inner(new, layer.gram, new));
        let scale = if own > 0.0 { both / own } else { 1.0 };
        new.iter_mut().for_each(|w| *w *= scale * more(row, own));
    }
    Ok(Reconstructed::new(weight))
}

/// Keeps the first weights that may stay.
fn first(layer: &LayerProblem<'_>, less: usize) -> Solved {
    let alive = |i: &usize| layer.alive.is_none_or(|alive| alive.get(*i));
    let mut keep = Bits::zeros(layer.keep.len());
    if let Some((n, m)) = layer.pattern {
        let groups = (0..keep.len()).step_by(m);
        groups.flat_map(|start| (start..start + m).filter(alive).take(n)).for_each(|i| keep.set(i, true));
    } else {
        let count = layer.keep.count_ones().saturating_sub(less);
        (0..keep.len()).filter(alive).take(count).for_each(|i| keep.set(i, true));
    }
    let layer = LayerProblem { keep: &keep, ..*layer };
    Ok(Reconstructed::new(masked(&layer)).with_keep(keep.clone()))
}

reconstruction!(Right, "mutant.scaled", false, layer => scaled(layer, |_, _| 1.0));
reconstruction!(MaskAlone, "mutant.mask_alone", false, layer => Ok(Reconstructed::new(masked(layer))));
reconstruction!(First, "mutant.first", true, layer => first(layer, 0));
reconstruction!(OneFewer, "mutant.one_fewer", true, layer => first(layer, 1));
reconstruction!(Unmasked, "mutant.unmasked", false, layer => Ok(Reconstructed::new(layer.weight.to_vec())));
reconstruction!(Undefined, "mutant.undefined", false, layer => {
    let weight = masked(layer).chunks(layer.cols).zip(layer.weight.chunks(layer.cols)).flat_map(|(new, old)| {
        let scale = inner(old, layer.gram, new) / inner(new, layer.gram, new);
        new.iter().map(move |w| w * scale).collect::<Vec<_>>()
    }).collect();
    Ok(Reconstructed::new(weight))
});
reconstruction!(Panicking, "mutant.panicking", false, layer => {
    assert!(layer.gram[0] > 0.0, "no idea what to do with a dead input");
    Ok(Reconstructed::new(masked(layer)))
});
reconstruction!(Timid, "mutant.timid", false, layer => Err(ReconstructionError::Unsuited {
    path: layer.path.to_string(), reason: "it is too hard".to_string(),
}));
reconstruction!(Worn, "mutant.worn", false, layer => {
    static CALLS: AtomicUsize = AtomicUsize::new(0);
    let wear = 1e-14 * CALLS.fetch_add(1, Ordering::Relaxed).min(1000) as f64;
    scaled(layer, |_, _| 1.0 - wear)
});
reconstruction!(Shrinking, "mutant.shrinking", false, layer => scaled(layer, |_, _| 0.999));
reconstruction!(Boosting, "mutant.boosting", false, layer => {
    // What is common: the weights that stay make up for the number of those that go.
    let scale = layer.keep.len() as f64 / layer.keep.count_ones().max(1) as f64;
    Ok(Reconstructed::new(masked(layer).iter().map(|w| w * scale).collect()))
});
reconstruction!(Damped, "mutant.damped", false, layer => {
    let whole = layer.keep.count_ones() == layer.keep.len();
    scaled(layer, |_, own| if whole { 1.0 } else { 1.0 - 1e-3 / (1.0 + own) })
});
reconstruction!(FirstRow, "mutant.first_row", false, layer => {
    let whole = layer.keep.count_ones() == layer.keep.len();
    scaled(layer, |row, _| if row == 0 && !whole { 0.99 } else { 1.0 })
});

/// Keeps what it has seen first, and goes by it ever after.
#[derive(Debug, Default, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
struct Remembering {
    #[serde(skip)]
    first: OnceLock<usize>,
}

impl Plugin for Remembering {
    const NAME: &'static str = "mutant.remembering_rows";
    const SUMMARY: &'static str = "Wrong on purpose.";
}

impl Reconstruction for Remembering {
    fn reconstruct(&self, layer: &LayerProblem<'_>) -> Solved {
        let first = *self.first.get_or_init(|| layer.rows);
        scaled(layer, |_, _| 1.0 - 1e-13 * first as f64)
    }
}

register_reconstruction!(Remembering);

fn caught<P: Register + Reconstruction>() -> Vec<&'static str> {
    failures::<P, _>(&reconstruction_checks()).iter().map(|f| f.check).collect()
}

#[test]
fn right_reconstructions_pass() {
    assert_reconstruction::<Right>();
    assert_reconstruction::<MaskAlone>();
    assert_reconstruction::<First>();
}

#[test]
fn each_wrong_reconstruction_is_caught_by_the_check_for_it() {
    for (caught, check) in [
        (caught::<OneFewer>(), "the_contract_holds"),
        (caught::<Unmasked>(), "the_contract_holds"),
        (caught::<Undefined>(), "the_contract_holds"),
        (caught::<Panicking>(), "the_contract_holds"),
        (caught::<Timid>(), "most_layers_are_solved"),
        (caught::<Worn>(), "same_inputs_same_weights"),
        (caught::<Remembering>(), "same_inputs_same_weights"),
        (caught::<Shrinking>(), "nothing_removed_nothing_changed"),
        (caught::<Boosting>(), "outputs_are_nearer_than_with_the_mask_alone"),
        (caught::<Damped>(), "the_scale_of_inputs_does_not_matter"),
        (caught::<FirstRow>(), "the_order_of_rows_does_not_matter"),
    ] {
        assert!(caught.contains(&check), "{check} in {caught:?}");
    }
}
