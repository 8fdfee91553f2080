//! Physical removal: what is left computes what the masked model computed.

mod activations;
mod bad_input;
mod channel_masks;
mod encoder;
mod experts;
mod fold;
mod heads;
mod layers;
mod mistakes;
mod models;
mod operations;
mod program;
mod random;
mod state;
mod trust;

use burn::tensor::Device;
use layers::{Deformed, GroupedUp, ZeroShortcut};
use models::*;
use pruning_burn::Pruner;
use pruning_burn::shrink;
use pruning_burn::trace::{Scope, Trace};
pub(crate) use pruning_tests::shrinking::{Shrinks, channels, pruner};

/// As far apart as sums in another order are.
fn shrinks<M: Shrinks>(recipe: &Pruner) -> (f64, f64) {
    pruning_tests::shrinking::shrinks::<M>(recipe, 1e-5)
}

macro_rules! models {
    ($($name:ident: $model:ty;)+) => {$(
        #[test]
        fn $name() {
            for sparsity in [0.2, 0.5, 0.8] {
                let (parameters, macs) = shrinks::<$model>(&channels(sparsity, ""));
                assert!(parameters < 1.0 && macs < 1.0, "{parameters} {macs}");
            }
        }
    )+};
}

models! {
    residual_channels_go_together: Residual;
    concatenated_and_flattened_channels_keep_their_places: Dense;
    grouped_depthwise_and_shuffled_channels_stay_in_step: Shuffle;
    norms_over_groups_lose_whole_groups: Norms;
    a_transposed_convolution_and_a_skip: UNet;
    attention_on_tied_embeddings_loses_parts_of_heads: Encoder;
    burns_encoder_loses_inner_channels: Stock;
    recurrent_layers_lose_hidden_channels: Recurrent;
    products_gates_and_rolls: Branches;
    a_transposed_convolution_in_groups_loses_inputs_of_each: GroupedUp;
    a_deformable_convolution_loses_inputs_and_outputs: Deformed;
    zeros_beside_channels_keep_their_places: ZeroShortcut;
}

#[test]
fn whole_heads_go_with_nothing_to_set() {
    let heads = |sparsity| {
        let recipe = "criterion = \"magnitude\"\ngranularity = { kind = \"head\", size = 3 }\n";
        pruner(&format!(
            "{recipe}sparsity = {sparsity}\n[target]\ninclude = [\"attention\"]\nexclude = [\"attention.out\"]"
        ))
    };
    let (_, half) = shrinks::<Encoder>(&heads(0.5));
    let (_, quarter) = shrinks::<Encoder>(&heads(0.25));
    assert!(half < quarter && quarter < 1.0);
}

#[test]
fn groups_print_what_goes_with_what() {
    let device = Device::flex();
    let model = Residual::new(&device);
    let trace = Trace::record(&model, |m: &Residual, s: &mut Scope| m.forward(s, &device)).unwrap();
    let groups = trace.groups(shrink::Factor::Inner, &pruning_burn::trace::AxisRules::new()).unwrap();
    insta::assert_snapshot!(groups);
}
