//! What is refused, and what is only told.

use super::{Net, PLAIN, correlated, pass, pruner};
use burn::module::Param;
use burn::nn::LinearConfig;
use burn::tensor::{Device, Tensor};
use pruning_burn::PruneError;
use pruning_burn::calibrate::Calibration;
use pruning_burn::report::Warning;
use pruning_burn::score::{CriterionInputs, Need};

fn obs() -> String {
    format!("{PLAIN}\nreconstruct = \"obs\"")
}

#[test]
fn a_calibration_that_is_missing_or_of_another_model() {
    let device = Device::flex();
    let model = Net::new(1, &device);
    let x = correlated(100, 12, &device);
    let pruner = pruner(&obs());
    let error = pruner.prune(&mut model.clone(), None).unwrap_err();
    assert!(matches!(error, PruneError::MissingGram { .. }), "{error}");
    let norms = Calibration::collect(&model, Need::INPUT_NORM, [&x], pass).unwrap();
    let error = pruner.prune(&mut model.clone(), &CriterionInputs::from(&norms)).unwrap_err();
    assert!(error.to_string().contains("input_gram"), "{error}");

    let calibration = Calibration::collect(&model, pruner.needs(), [&x], pass).unwrap();
    let inputs = CriterionInputs::from(&calibration);
    let mut other = Net::new(2, &device);
    let before = other.forward(x.clone()).into_data();
    assert_eq!(
        pruner.prune(&mut other, &inputs).unwrap_err(),
        PruneError::StaleCalibration { path: "fc1.bias".into() }
    );
    assert_eq!(other.forward(x.clone()).into_data(), before);
    let mut wide = Net { fc1: LinearConfig::new(12, 20).init(&device), fc2: LinearConfig::new(20, 6).init(&device) };
    let error = pruner.prune(&mut wide, &inputs).unwrap_err();
    assert!(matches!(error, PruneError::OtherCalibration { .. }), "{error}");
    // One weight has changed since.
    let mut changed = model.clone();
    changed.fc2.weight = Param::initialized(changed.fc2.weight.id, changed.fc2.weight.val() + 1e-6);
    let error = pruner.prune(&mut changed, &inputs).unwrap_err();
    assert_eq!(error, PruneError::StaleCalibration { path: "fc2.weight".into() });
    // The same model in another place is the same model.
    pruner.prune(&mut model.clone().fork_to(&device), &inputs).unwrap();
}

trait ForkTo {
    fn fork_to(self, device: &Device) -> Self;
}

impl ForkTo for Net {
    fn fork_to(self, device: &Device) -> Self {
        burn::module::Module::fork(self, device)
    }
}

#[test]
fn sequential_takes_batches() {
    let device = Device::flex();
    let mut model = Net::new(3, &device);
    let x = correlated(100, 12, &device);
    let pruner = pruner(&format!("{}\nsequential = true", obs()));
    let calibration = Calibration::collect(&model, pruner.needs(), [&x], pass).unwrap();
    let error = pruner.prune(&mut model, &CriterionInputs::from(&calibration)).unwrap_err();
    assert_eq!(error, PruneError::Sequential);
    let none: [&Tensor<2>; 0] = [];
    let error = pruner.prune_with(&mut model, none, pass).unwrap_err();
    assert!(error.to_string().contains("no batches"), "{error}");
}

#[test]
fn few_rows_and_dead_columns_are_told() {
    let device = Device::flex();
    let mut model = Net::new(4, &device);
    let x = correlated(40, 12, &device).slice_fill([0..40, 3..4], 0.0);
    let report = super::prune(&mut model, &obs(), &x).unwrap();
    let few = Warning::FewRows { paths: vec!["fc1.weight".into(), "fc2.weight".into()] };
    assert!(report.warnings.contains(&few), "{:?}", report.warnings);
    let dead = report.warnings.iter().find_map(|warning| match warning {
        Warning::DeadColumns { columns } => Some(columns.clone()),
        _ => None,
    });
    assert!(dead.unwrap().contains(&("fc1.weight".to_string(), 1)));
    assert!(report.to_string().contains("ten rows"), "{report}");
}

#[test]
fn recipes_that_contradict_themselves() {
    let refused = |text: &str| {
        let found = pruning_burn::Pruner::from_toml(text, &pruning_plugins::all()).unwrap_err();
        found.to_string()
    };
    let rewinds = refused(&format!("{}\ninitialization = \"rewind\"", obs()));
    assert!(rewinds.contains("sets the weights back"), "{rewinds}");
    assert!(refused(&format!("{PLAIN}\nsequential = true")).contains("sequential"));
    assert!(refused(&format!("{PLAIN}\nreconstruct = \"obz\"")).contains("obs"));
    assert!(refused(&format!("{PLAIN}\nreconstruct = {{ name = \"obs\", damp = -1.0 }}")).contains("damp"));
}

#[test]
fn a_weight_out_of_the_range_of_its_type_is_an_error() {
    use burn::nn::Linear;
    use burn::tensor::DType;
    let device = Device::flex();
    let mut model: Linear = LinearConfig::new(2, 1).with_bias(false).init(&device);
    let weight = Tensor::<2>::from_floats([[1000.0], [2000.0]], &device).cast(DType::F16);
    model.weight = Param::initialized(model.weight.id, weight);
    let first = Tensor::<1>::from_floats([1.0, 2.0, -1.0, 0.5], &device).reshape([4, 1]);
    let x = Tensor::cat(vec![first.clone() * 100.0, first], 1).cast(DType::F16);
    let pruner = pruner("count = 1\ncriterion = \"magnitude\"\nreconstruct = { name = \"obs\", damp = 1e-6 }");
    let pass = |model: &Linear, x: &Tensor<2>, scope: &mut pruning_burn::trace::Scope| {
        let x = scope.input(x);
        scope.output(model.forward(x));
    };
    let calibration = Calibration::collect(&model, pruner.needs(), [&x], pass).unwrap();
    let error = pruner.prune(&mut model, &CriterionInputs::from(&calibration)).unwrap_err();
    assert!(matches!(error, PruneError::Overflow { .. }), "{error}");
}

#[test]
fn a_layer_that_no_batch_comes_to_is_an_error_in_both_ways() {
    let device = Device::flex();
    let model = Net::new(5, &device);
    let x = correlated(100, 12, &device);
    let first = |model: &Net, x: &Tensor<2>, scope: &mut pruning_burn::trace::Scope| {
        let x = scope.input(x);
        scope.output(model.fc1.forward(x));
    };
    for recipe in [obs(), format!("{}\nsequential = true", obs())] {
        let mut pruned = model.clone();
        let error = pruner(&recipe).prune_with(&mut pruned, [&x], first).unwrap_err();
        assert!(error.to_string().contains("fc2.weight"), "{error}");
        assert!(pruning_burn::mask::masks(&pruned).is_empty());
    }
}
