//! Inputs that a crate from outside brings, together with the criterion that looks at them.

use crate::pruner;
use burn::nn::LinearConfig;
use burn::tensor::{Device, Tensor, TensorData};
use pruning_burn::plugin::Plugin;
use pruning_burn::score::{Criterion, CriterionError, CriterionInputs, LayerView, Need, NeedShape, Needs};
use pruning_burn::{PruneError, register_criterion};
use pruning_tests::models::{Cnn, Mlp};
use pruning_tests::values::base;
use serde::{Deserialize, Serialize};

/// Of a crate from outside: what it looks at is not in this library.
#[derive(Debug, Default, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
struct Fed {}

const WEIGHT: Need = Need::new("test.own.weight", NeedShape::Weight);
const COLUMN: Need = Need::new("test.own.column", NeedShape::Column);
const OUTPUT: Need = Need::new("test.own.output", NeedShape::Output);
const COLUMNS: Need = Need::new("test.own.columns", NeedShape::Columns);
const BATCHES: Need = Need::new("test.own.batches", NeedShape::Batches);

impl Plugin for Fed {
    const NAME: &'static str = "test.own";
    const SUMMARY: &'static str = "Inputs of every shape, added up.";
}

impl Criterion for Fed {
    fn needs(&self) -> Needs {
        WEIGHT | COLUMN | OUTPUT | COLUMNS | BATCHES
    }

    fn score(&self, layer: &LayerView<'_>) -> Result<Tensor<2>, CriterionError> {
        let (rows, cols) = (layer.layout().rows(), layer.layout().cols());
        let dims = [WEIGHT, COLUMN, OUTPUT, COLUMNS, BATCHES].map(|need| layer.input(need).map(|input| input.dims()));
        assert_eq!(dims, [[rows, cols], [1, cols], [rows, 1], [cols, cols], [2, cols]].map(Ok));
        let first = layer.input(COLUMNS)?.slice([0..1, 0..cols]);
        let batches = layer.input(BATCHES)?.sum_dim(0);
        Ok(layer.weight() * 0.0 + layer.input(WEIGHT)? + layer.input(COLUMN)? + layer.input(OUTPUT)? + first + batches)
    }
}

register_criterion!(Fed);

/// Declares one of the names in another shape.
#[derive(Debug, Default, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
struct Odd {}

impl Plugin for Odd {
    const NAME: &'static str = "test.odd_needs";
    const SUMMARY: &'static str = "Declares an input of another plugin in another shape.";
}

impl Criterion for Odd {
    fn needs(&self) -> Needs {
        Need::new("test.own.column", NeedShape::Output).into()
    }

    fn score(&self, layer: &LayerView<'_>) -> Result<Tensor<2>, CriterionError> {
        Ok(layer.weight() * layer.input(COLUMN)?)
    }
}

register_criterion!(Odd);

fn list(values: &[f32], device: &Device) -> Tensor<1> {
    Tensor::from_data(TensorData::new(values.to_vec(), [values.len()]), device)
}

pub(crate) fn a_crate_from_outside_brings_inputs_of_its_own(device: &Device) {
    let mut layer = LinearConfig::new(3, 2).with_bias(false).init(device);
    // In memory `[3, 2]`, and as a matrix `[2, 3]`.
    let weight = Tensor::<2>::from_data([[0.0, 100.0], [200.0, 300.0], [400.0, 500.0]], device);
    let inputs = CriterionInputs::new()
        .with_input(WEIGHT, &layer, [("weight", weight)])
        .and_then(|inputs| inputs.with_input(COLUMN, &layer, [("weight", list(&[1.0, 2.0, 3.0], device))]))
        .and_then(|inputs| inputs.with_input(OUTPUT, &layer, [("weight", list(&[10.0, 20.0], device))]))
        .and_then(|inputs| {
            let columns = [0.25, 0.5, 0.75, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0];
            inputs.with_input(COLUMNS, &layer, [("weight", list(&columns, device).reshape([3, 3]))])
        })
        .and_then(|inputs| {
            let batches = [1000.0, 2000.0, 3000.0, 4000.0, 5000.0, 6000.0];
            inputs.with_input(BATCHES, &layer, [("weight", list(&batches, device).reshape([2, 3]))])
        })
        .unwrap();
    assert!(inputs.holds(Fed {}.needs()));
    let pruner = pruner("criterion = \"test.own\"\nsparsity = 0.5");
    let scores = pruner.scores(&layer, &inputs).unwrap();
    assert_eq!(scores[0].scores, [5011.25, 5121.25, 7212.5, 7322.5, 9413.75, 9523.75]);
    assert_eq!(pruner.prune(&mut layer, &inputs).unwrap().kept(), 3);
    let error = pruner.prune(&mut layer, None).unwrap_err().to_string();
    assert!(
        error.starts_with(
            "criterion test.own needs: test.own.batches, test.own.column, test.own.columns, test.own.output, test.own.weight"
        ),
        "{error}"
    );
    // For every parameter at once, in lists: those of a kernel too.
    let cnn = Cnn::new(device, 1);
    let all =
        ["conv1.weight", "head.weight"].map(|path| (path, list(&vec![1.0; base(&cnn)[path].num_elements()], device)));
    assert!(CriterionInputs::new().with_input(WEIGHT, &cnn, all).is_ok());
}

pub(crate) fn inputs_of_ones_own_that_do_not_fit_are_errors_that_name_them(device: &Device) {
    let mut layer = LinearConfig::new(3, 2).with_bias(false).init(device);
    let give = |need: Need, path: &str, values: &[f32]| {
        CriterionInputs::new().with_input(need, &layer, [(path, list(values, device))])
    };
    for (error, expected) in [
        (
            give(COLUMN, "weight", &[1.0, 2.0]).unwrap_err(),
            "weight: the values of the input test.own.column have shape [2], expected [3]",
        ),
        (
            give(OUTPUT, "weight", &[1.0; 3]).unwrap_err(),
            "weight: the values of the input test.own.output have shape [3], expected [2]",
        ),
        (
            give(COLUMNS, "weight", &[1.0; 3]).unwrap_err(),
            "weight: the values of the input test.own.columns have shape [3], expected [3, 3]",
        ),
        (
            give(BATCHES, "weight", &[1.0; 4]).unwrap_err(),
            "weight: the values of the input test.own.batches have shape [4], expected [1, 3]",
        ),
        (
            give(WEIGHT, "weight", &[1.0; 3]).unwrap_err(),
            "weight: the values of the input test.own.weight have shape [3], expected [3, 2]",
        ),
        (
            give(COLUMN, "fc9", &[1.0; 3]).unwrap_err(),
            "the input test.own.column: the model has no float parameter \"fc9\"; there are: weight",
        ),
        (
            give(COLUMN, "weight", &[1.0, f32::NAN, 2.0]).unwrap_err(),
            "weight: value 1 of the input test.own.column is not finite",
        ),
    ] {
        assert!(error.to_string().starts_with(expected), "{error}");
    }
    // Under one name, in the shape of another plugin.
    let given = give(COLUMN, "weight", &[1.0; 3]).unwrap();
    let odd = pruner("criterion = \"test.odd_needs\"\nsparsity = 0.5");
    let error = odd.prune(&mut layer, &given).unwrap_err();
    assert!(matches!(&error, PruneError::InputShape { held: NeedShape::Column, .. }), "{error}");
    assert_eq!(
        error.to_string(),
        "criterion test.odd_needs declares the input test.own.column as [rows], but it was given as [cols]"
    );
    let both = pruner("criterion = \"test.own\"\nsparsity = 0.5\ngrow = { criterion = \"test.odd_needs\", end = 900 }");
    let error = both.start(&mut layer).err().unwrap();
    assert!(matches!(&error, PruneError::InputsAtOdds { .. }), "{error}");
    assert!(error.to_string().contains("test.own.column is declared as [cols] and as [rows]"), "{error}");
    // What is used is what is declared, shape included.
    let outputs = CriterionInputs::new()
        .with_input(Need::new("test.own.column", NeedShape::Output), &layer, [("weight", list(&[1.0; 2], device))])
        .unwrap();
    let error = odd.prune(&mut layer, &outputs).unwrap_err().to_string();
    assert!(error.contains("uses the input test.own.column and does not declare it"), "{error}");
    // Of another parameter.
    let mut mlp = Mlp::new(device, 1);
    let error = pruner("criterion = \"test.own\"\nsparsity = 0.5").prune(&mut mlp, &given).unwrap_err();
    assert!(matches!(error, PruneError::MissingInputs { .. }));
}
