//! Reconstructions against NumPy: see `vectors/reconstruction.py`.

use pruning_core::mask::Bits;
use pruning_core::reconstruct::{
    LayerProblem, Reconstructed, Reconstruction, ReconstructionError, output_error, reconstruct,
};
use pruning_plugins::all;
use serde::Deserialize;
use serde_json::{Value, json};
use std::collections::BTreeSet;

#[derive(Deserialize)]
struct Layer {
    inputs: Vec<Vec<f64>>,
    weight: Vec<Vec<f64>>,
    bias: Vec<f64>,
    scale: f64,
}

#[derive(Deserialize)]
struct Case {
    reconstruction: String,
    config: Value,
    keep: Vec<String>,
    alive: Option<Vec<String>>,
    pattern: Option<(usize, usize)>,
    chosen: Option<Vec<String>>,
    kept: Vec<f64>,
    bias: Option<Vec<f64>>,
}

fn bits(rows: &[String]) -> Bits {
    Bits::from_bools(&rows.concat().bytes().map(|b| b == b'1').collect::<Vec<_>>())
}

/// The layer with its statistics, and what NumPy found.
struct Answers {
    rows: usize,
    cols: usize,
    weight: Vec<f64>,
    bias: Vec<f64>,
    gram: Vec<f64>,
    mean: Vec<f64>,
    cases: Vec<Case>,
}

fn answers() -> Answers {
    let mut entries: Vec<Value> = serde_json::from_str(include_str!("../vectors/reconstruction.json")).unwrap();
    let layer: Layer = serde_json::from_value(entries.remove(0)).unwrap();
    let (rows, cols, samples) = (layer.weight.len(), layer.weight[0].len(), layer.inputs.len() as f64);
    let mut gram = vec![0.0; cols * cols];
    for x in &layer.inputs {
        (0..cols * cols).for_each(|i| gram[i] += x[i / cols] * x[i % cols]);
    }
    gram.iter_mut().for_each(|g| *g /= samples);
    Answers {
        rows,
        cols,
        weight: layer.weight.concat().iter().map(|w| w / layer.scale).collect(),
        bias: layer.bias.iter().map(|b| b / layer.scale).collect(),
        gram,
        mean: (0..cols).map(|c| layer.inputs.iter().map(|x| x[c]).sum::<f64>() / samples).collect(),
        cases: entries.into_iter().map(|entry| serde_json::from_value(entry).unwrap()).collect(),
    }
}

impl Answers {
    fn run(&self, case: &Case, config: &Value) -> Result<Reconstructed, ReconstructionError> {
        let (keep, alive) = (bits(&case.keep), case.alive.as_deref().map(bits));
        let layer = LayerProblem::new("fc.weight", self.rows, self.cols, &self.weight, &keep, &self.gram)
            .with_alive(alive.as_ref())
            .with_pattern(case.pattern)
            .with_mean(Some(&self.mean))
            .with_bias(Some(&self.bias));
        let plugin = all().build::<dyn Reconstruction>(&case.reconstruction, config.clone()).unwrap();
        reconstruct(&*plugin, &layer)
    }
}

#[track_caller]
fn assert_near(found: &[f64], expected: &[f64], about: &str) {
    assert_eq!(found.len(), expected.len(), "{about}");
    let largest = expected.iter().fold(1.0, |m: f64, v| m.max(v.abs()));
    let off = found.iter().zip(expected).map(|(f, e)| (f - e).abs()).fold(0.0, f64::max);
    assert!(off <= 1e-9 * largest, "{about}: off by {off} of {largest}");
}

#[test]
fn weights_masks_and_biases_are_those_of_numpy() {
    let answers = answers();
    for case in &answers.cases {
        let mut configs = vec![case.config.clone()];
        // Where the mask does not follow from the block, the block changes nothing.
        if case.config.get("block").is_none() && case.reconstruction != "least_squares" {
            configs.extend([1, 7, 128, 160, 1000].map(|block| {
                let mut config = case.config.clone();
                config["block"] = json!(block);
                config
            }));
        }
        for config in configs {
            let about = format!("{} {config} {:?}", case.reconstruction, case.pattern);
            let new = answers.run(case, &config).unwrap();
            assert_eq!(new.keep, case.chosen.as_deref().map(bits), "{about}");
            let keep = new.keep.unwrap_or_else(|| bits(&case.keep));
            let kept: Vec<_> = keep.iter_ones().map(|i| new.weight[i]).collect();
            assert_near(&kept, &case.kept, &about);
            assert_eq!(new.bias.is_some(), case.bias.is_some(), "{about}");
            assert_near(&new.bias.unwrap_or_default(), case.bias.as_deref().unwrap_or(&[]), &about);
        }
    }
    let tested: BTreeSet<_> = answers.cases.iter().map(|case| case.reconstruction.as_str()).collect();
    let plugins = all();
    let registered = plugins.of_kind::<dyn Reconstruction>().map(|entry| entry.name());
    let registered: BTreeSet<_> = registered.filter(|name| !name.contains('.')).collect();
    assert_eq!(tested, registered, "a reconstruction without answers: add its formula to vectors/reconstruction.py");
}

#[test]
fn exact_rows_leave_less_error_than_the_sweep() {
    let answers = answers();
    let obs = answers.cases.iter().find(|case| case.reconstruction == "obs").unwrap();
    let keep = bits(&obs.keep);
    let layer = LayerProblem::new("fc.weight", answers.rows, answers.cols, &answers.weight, &keep, &answers.gram);
    let [sweep, exact] = ["obs", "least_squares"].map(|name| {
        let plugin = all().build::<dyn Reconstruction>(name, Value::Null).unwrap();
        let new = reconstruct(&*plugin, &layer).unwrap().weight;
        output_error(&answers.weight, &new, &answers.gram, answers.rows, answers.cols)
    });
    assert!(exact < sweep, "{exact} {sweep}");
}

#[test]
fn a_factorization_that_fails_names_layer_column_and_damping() {
    // Two inputs that are the same.
    let (keep, gram) = (Bits::from_bools(&[false, true, true]), [1.0, 0.0, 0.0, 0.0, 4.0, 4.0, 0.0, 4.0, 4.0]);
    let layer = LayerProblem::new("encoder.fc.weight", 1, 3, &[1.0, 1.0, 1.0], &keep, &gram);
    for (name, column) in [("obs", 1), ("sparsegpt", 1), ("least_squares", 2)] {
        let plugin = all().build::<dyn Reconstruction>(name, json!({ "damp": 0.0 })).unwrap();
        let text = reconstruct(&*plugin, &layer).unwrap_err().to_string();
        let expected = format!(
            "encoder.fc.weight: its Gram matrix is not positive definite at input column {column} with damp = 0: raise `damp`, or calibrate \
             with more rows"
        );
        assert_eq!(text, expected);
        let plugin = all().build::<dyn Reconstruction>(name, Value::Null).unwrap();
        assert!(reconstruct(&*plugin, &layer).is_ok());
    }
}

#[test]
fn wrong_settings_are_refused() {
    for (name, config, problem) in [
        ("obs", json!({ "damp": -0.1 }), "damp -0.1 must be a finite number of at least 0"),
        ("obs", json!({ "block": 0 }), "block 0 must be at least 1"),
        ("sparsegpt", json!({ "damp": -1 }), "damp -1 must be a finite number of at least 0"),
        ("sparsegpt", json!({ "block": 0 }), "block 0 must be at least 1"),
        ("least_squares", json!({ "damp": -1 }), "damp -1 must be a finite number of at least 0"),
    ] {
        let text = all().build::<dyn Reconstruction>(name, config).unwrap_err().to_string();
        assert!(text.ends_with(problem), "{text}");
    }
}
