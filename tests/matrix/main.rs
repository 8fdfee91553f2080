//! Properties that hold on every device: one trial for each property on each device of `PRUNING_DEVICES`.

mod after;
mod calibration;
mod closures;
mod criteria;
mod dynamic;
mod initialize;
mod inputs;
mod masks;
mod nm;
mod odd;
mod own_inputs;
mod parameters;
mod rounds;
mod sessions;
mod shrink;
mod soft_threshold;
mod sparse;
mod store;
mod survival;
mod vectors;

use libtest_mimic::Arguments;
use pruning_burn::Pruner;
use pruning_burn::recipe::RecipeError;
use pruning_tests::devices::{Property, trials};

/// A pruner by the text of its recipe.
fn pruner(recipe: &str) -> Pruner {
    try_pruner(recipe).unwrap_or_else(|error| panic!("{error}\n{recipe}"))
}

fn pruner_of(recipe: serde_json::Value) -> Pruner {
    let read = pruning_burn::recipe::Recipe::from_value(recipe.clone(), &pruning_plugins::all());
    read.map(Pruner::from).unwrap_or_else(|error| panic!("{error}\n{recipe}"))
}

fn try_pruner(recipe: &str) -> Result<Pruner, RecipeError> {
    Pruner::from_toml(recipe, &pruning_plugins::all())
}

macro_rules! properties {
    ($($module:ident: $($name:ident),+;)+) => {
        &[$($((concat!(stringify!($module), "::", stringify!($name)), $module::$name as Property),)+)+]
    };
}

fn main() {
    let properties: &[(&str, Property)] = properties! {
        vectors: rounding_is_that_of_torch, curves_are_their_formulas, l1_unstructured, ln_structured, global_l1,
            repeated_amounts_are_of_what_remains, custom_masks_are_intersected, gradients, importance_scores, n_of_m,
            remove_and_identity;
        nm: convolutions_are_cut_along_their_inputs, layers_that_m_does_not_divide_are_skipped_if_asked;
        criteria: every_criterion_is_its_formula, random_scores_are_uniform, scores_are_data_as_they_rank,
            activations_score_as_the_papers_say, heads_matter_by_a_factor_on_them, rows_stay_even_over_rounds,
            hessian_products_are_those_of_two_backward_passes, hessian_products_follow_the_model,
            a_loss_without_a_hessian_is_an_error;
        calibration: sums_are_those_of_the_host, pruning_by_what_is_seen_gives_the_masks_of_the_host,
            reconstructed_weights_come_back_on_their_device;
        masks: the_same_on_every_device, exact_counts_whatever_the_sizes, own_masks_attach_update_and_come_back,
            every_layer_type_is_cut_by_output_channel, every_layer_type_is_cut_by_input_channel,
            random_masks_depend_on_seed_and_path_alone, finish_leaves_plain_zeros, undo_restores_every_bit;
        survival: zeros_survive_optimizers_with_momentum_and_decay, zeros_survive_clone_fork_moves_and_modes,
            pruned_weights_get_no_gradient, outputs_are_those_of_the_zeroed_weights;
        parameters: lazy_parameters_stay_lazy, tied_parameters_are_one_target, frozen_parameters_stay_frozen,
            half_precision_parameters_are_pruned, doubles_are_ranked_in_double_precision,
            every_criterion_takes_every_float_type, a_parameter_with_lora_is_refused, biases_and_norms_when_named,
            running_statistics_are_refused, weights_that_are_not_finite_are_named;
        odd: quantized_weights_are_skipped_or_refused, parameters_without_elements_and_of_one_are_no_panic,
            masks_over_what_is_not_finite_are_refused, parameters_that_share_an_id_must_be_the_same,
            thresholds_begin_at_a_number, an_optimizer_of_another_model_is_refused, a_loss_without_the_model_is_an_error,
            inputs_of_another_shape_are_errors;
        closures: collecting_fails_with_the_message, scans_fail_with_the_message_on_any_number_of_threads,
            recalibration_fails_with_the_message, rounds_fail_with_the_message,
            allocators_and_curves_that_break_are_errors_that_name_them, labels_that_are_no_class_are_errors;
        sessions: iterative_schedule_keeps_its_promises, gradual_schedule_reaches_its_target,
            rewind_to_the_start_is_bit_exact, rewind_to_a_step_is_bit_exact, failed_steps_change_nothing,
            another_model_is_not_the_one_of_the_session, a_stranger_is_told_before_anything_is_kept, a_schedule_that_does_not_come_prunes_nothing_and_is_not_done,
            resumed_training_is_bit_identical;
        initialize: keeping_and_rewinding_the_rate_leave_every_bit, rewinding_sets_the_rate_back_with_the_weights,
            reinitializing_takes_new_weights_each_time, rewound_weights_keep_their_type, a_snapshot_in_a_file_is_bit_exact,
            snapshots_that_are_gone_or_of_another_model_are_errors, random_masks_of_the_same_density_attach;
        soft_threshold: soft_thresholds_are_those_of_the_paper, learned_masks_settle_into_masks_like_any_other,
            a_tied_parameter_has_one_threshold, thresholds_that_cannot_be_are_errors;
        rounds: rounds_go_on_from_a_folder_bit_for_bit, controls_of_a_ticket_stay_on_their_device;
        dynamic: updates_keep_every_count, gradient_growth_is_that_of_rigl, weights_come_back_without_velocity,
            gradients_through_masks_grow_nothing, resumed_dynamic_training_is_bit_identical;
        inputs: scores_are_those_of_the_papers, synflow_conserves_flow, movement_sums_over_steps,
            the_flow_takes_no_statistics_of_its_batch, collecting_changes_nothing,
            inputs_that_are_missing_or_cannot_be_are_errors, a_tied_parameter_has_one_gradient,
            every_combination_removes_what_is_asked, broken_criteria_are_errors_that_name_them;
        own_inputs: a_crate_from_outside_brings_inputs_of_its_own,
            inputs_of_ones_own_that_do_not_fit_are_errors_that_name_them;
        shrink: replay_equals_forward, every_float_type_is_replayed_and_another_is_named, what_is_handed_through_is_replayed, smaller_models_compute_what_masked_ones_did;
        after: sensitivities_are_those_of_one_layer_pruned_alone, recalibrated_statistics_are_averages_over_batches,
            distillation_is_that_of_torch;
        sparse: linear_layers_are_the_dense_ones, every_batch_and_rank_has_its_outputs, inputs_may_be_views_of_tensors,
            only_weights_meet_what_is_not_finite, formats_are_the_same_layer,
            masked_and_finished_layers_keep_the_same_weights, inputs_that_do_not_fit_are_errors,
            half_precision_comes_back_as_it_went_in, sparse_layers_are_fields_of_modules, gradients_reach_the_inputs,
            sparse_layers_are_traced_as_dense_ones, threads_share_layers, convolutions_are_the_dense_ones,
            convolutions_have_the_shapes_of_dense_ones, convolutions_take_any_format_and_views,
            inputs_that_do_not_fit_a_convolution_are_errors, convolutions_are_fields_of_modules,
            threads_share_convolutions;
        store: masked_models_load_into_fresh_ones, finished_models_load_in_plain_burn,
            running_statistics_are_saved_with_their_last_update, loaded_models_need_their_file_no_more,
            rewound_weights_need_their_file_no_more, files_that_do_not_fit_are_refused;
    };
    let arguments = Arguments::from_args();
    libtest_mimic::run(&arguments, trials(properties)).exit();
}
