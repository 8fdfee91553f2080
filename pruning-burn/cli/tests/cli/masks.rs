//! The masks of a file are those of the library on a module of the same weights.

use crate::support::{Net, json, raw, safetensors_file, tensors, text};
use burn::module::Module;
use burn::nn::{Linear, LinearConfig};
use burn::tensor::{DType, Device, Tensor, TensorData};
use pruning_burn::calibrate::Calibration;
use pruning_burn::prelude::*;
use pruning_burn::trace::Scope;
use std::fs;

/// Recipes on targets that have the same names in PyTorch and Burn.
const RECIPES: [&str; 12] = [
    "criterion = \"magnitude\"\nallocator = \"global\"\nsparsity = 0.5",
    "criterion = \"magnitude\"\nallocator = \"uniform\"\nsparsity = 0.7",
    "criterion = \"magnitude\"\nallocator = { name = \"global\", floor = 0.4 }\nsparsity = 0.5",
    "criterion = \"magnitude\"\nallocator = \"lamp\"\nsparsity = 0.6",
    "criterion = \"magnitude\"\nallocator = \"erk\"\nsparsity = 0.5",
    "criterion = \"magnitude\"\ngranularity = \"2:4\"",
    "criterion = \"magnitude\"\ngranularity = \"2:4 taps\"\n[target]\nexclude = [\"conv\"]",
    "criterion = \"magnitude\"\ngranularity = \"channel\"\nsparsity = 0.3",
    "criterion = \"magnitude\"\ngranularity = { kind = \"block\", rows = 1, cols = 4 }\nsparsity = 0.5",
    "criterion = \"magnitude\"\ncompare = \"row\"\nsparsity = 0.5",
    "criterion = { name = \"random\", seed = 3 }\nallocator = \"global\"\nsparsity = 0.5",
    "criterion = \"l2_relative\"\ncount = 99\n[target]\ninclude = [\"fc1\", \"embedding.weight\"]\n[[override]]\ntarget = \"embedding\"\nsparsity = 0.25",
];

#[test]
fn zeros_are_those_of_the_library_bit_for_bit() {
    let folder = tempfile::tempdir().unwrap();
    let [file, recipe, out] = ["in.safetensors", "recipe.toml", "out.safetensors"].map(|name| folder.path().join(name));
    for (seed, dtype) in [DType::F32, DType::F16, DType::BF16, DType::F64].into_iter().enumerate() {
        for text_of_recipe in RECIPES {
            let mut net = Net::new(1 + seed as u64, dtype);
            fs::write(&file, safetensors_file(&net.pytorch())).unwrap();
            fs::write(&recipe, text_of_recipe).unwrap();
            let told = json(&["prune", text(&file), "--recipe", text(&recipe), "-o", text(&out)]);

            let pruner = Pruner::from_toml(text_of_recipe, &pruning_plugins::all()).unwrap();
            let report = pruner.prune(&mut net, None).unwrap();
            finish(&mut net).unwrap();
            fs::write(&file, safetensors_file(&net.pytorch())).unwrap();
            assert_eq!(tensors(&out), tensors(&file), "{dtype:?}: {text_of_recipe}");
            assert_eq!(told["layout"], "pytorch");
            let kept: u64 =
                told["report"]["layers"].as_array().unwrap().iter().map(|l| l["kept"].as_u64().unwrap()).sum();
            assert_eq!(kept, report.kept() as u64, "{text_of_recipe}");
        }
    }
}

#[test]
fn only_targets_change_and_the_header_stays() {
    let folder = tempfile::tempdir().unwrap();
    let [file, out] = ["in.safetensors", "out.safetensors"].map(|name| folder.path().join(name));
    let bytes = safetensors_file(&Net::new(5, DType::F16).pytorch());
    fs::write(&file, &bytes).unwrap();
    json(&["prune", text(&file), "--sparsity", "0.9", "--exclude", "fc2", "-o", text(&out)]);
    let written = fs::read(&out).unwrap();
    let head = 8 + u64::from_le_bytes(bytes[..8].try_into().unwrap()) as usize;
    assert_eq!((written.len(), &written[..head]), (bytes.len(), &bytes[..head]));
    let (before, after) = (tensors(&file), tensors(&out));
    let changed: Vec<_> = before.keys().filter(|name| before[*name] != after[*name]).collect();
    assert_eq!(changed, ["conv.weight", "fc1.weight"]);
}

#[test]
fn the_layout_is_told_by_biases_and_set_by_a_flag() {
    let folder = tempfile::tempdir().unwrap();
    let [file, out] = ["in.safetensors", "out.safetensors"].map(|name| folder.path().join(name));
    // Two outputs of four inputs: 2:4 along the inputs keeps the two largest of each row.
    let values = [1.0, 2.0, 3.0, 4.0, 8.0, 7.0, 6.0, 5.0];
    let zeros = |shape: &[usize], bias: usize, granularity: &str, args: &[&str]| {
        let tensors_in = [raw("fc.weight", shape, &values), raw("fc.bias", &[bias], &vec![0.5; bias])];
        fs::write(&file, safetensors_file(&tensors_in)).unwrap();
        json(&[&["prune", text(&file), "--granularity", granularity, "-o", text(&out)], args].concat());
        let all = &tensors(&out)["fc.weight"];
        all.chunks(4).map(|v| f32::from_le_bytes(v.try_into().unwrap())).collect::<Vec<_>>()
    };
    assert_eq!(zeros(&[2, 4], 2, "2:4", &[]), [0.0, 0.0, 3.0, 4.0, 8.0, 7.0, 0.0, 0.0]);
    // The same numbers as four inputs of two outputs: 1, 3, 8, 6 and 2, 4, 7, 5.
    assert_eq!(zeros(&[4, 2], 2, "2:4", &[]), [0.0, 0.0, 0.0, 0.0, 8.0, 7.0, 6.0, 5.0]);
    assert_eq!(zeros(&[2, 4], 2, "2:4", &["--layout", "pytorch"]), [0.0, 0.0, 3.0, 4.0, 8.0, 7.0, 0.0, 0.0]);
    let other = ["--kind", "fc=Tensor", "--include", "fc.weight"];
    assert_eq!(zeros(&[4, 2], 2, "1:2", &other), [0.0, 2.0, 0.0, 4.0, 8.0, 0.0, 6.0, 0.0]);
}

#[test]
fn what_layers_see_comes_from_a_calibration() {
    let folder = tempfile::tempdir().unwrap();
    let [file, seen, out] = ["model.bpk", "seen.safetensors", "out.bpk"].map(|name| folder.path().join(name));
    let device = Device::flex();
    let numbers = |len: usize| (0..len).map(|i| ((i * 37 + 11) % 101) as f32 / 50.0 - 1.0).collect::<Vec<_>>();
    let model = LinearConfig::new(8, 6).init(&device);
    let model = Linear {
        weight: model.weight.map(|w| Tensor::from_data(TensorData::new(numbers(48), [8, 6]), &w.device())),
        ..model
    };
    let batches = [Tensor::<2>::from_data(TensorData::new(numbers(8 * 128), [128, 8]), &device)];
    for recipe in [
        "criterion = \"wanda\"",
        "criterion = \"magnitude\"\nreconstruct = \"obs\"",
        "criterion = \"wanda\"\nreconstruct = \"sparsegpt\"",
    ] {
        let recipe = format!("sparsity = 0.5\n{recipe}");
        let pruner = Pruner::from_toml(&recipe, &pruning_plugins::all()).unwrap();
        model.clone().save_file(&file).unwrap();
        let calibration =
            Calibration::collect(&model, pruner.needs(), &batches, |model: &Linear, batch, scope: &mut Scope| {
                let x = scope.input(batch);
                scope.output(model.forward(x));
            });
        let calibration = calibration.unwrap();
        save(&calibration, &seen).unwrap();
        fs::write(folder.path().join("recipe.toml"), &recipe).unwrap();
        json(&[
            "prune",
            text(&file),
            "--recipe",
            text(&folder.path().join("recipe.toml")),
            "--calibration",
            text(&seen),
            "-o",
            text(&out),
        ]);

        let mut expected = model.clone();
        pruner.prune(&mut expected, &CriterionInputs::from(&calibration)).unwrap();
        finish(&mut expected).unwrap();
        let mut loaded = LinearConfig::new(8, 6).init(&device);
        load(&out).unwrap().into_model(&mut loaded).unwrap();
        assert_eq!(loaded.weight.val().into_data(), expected.weight.val().into_data(), "{recipe}");
    }
}

#[test]
fn biases_that_contradict_each_other_are_told() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("in.safetensors");
    let of = |name: &str, bias: usize| {
        [raw(&format!("{name}.weight"), &[2, 4], &[1.0; 8]), raw(&format!("{name}.bias"), &[bias], &vec![1.0; bias])]
    };
    fs::write(&file, safetensors_file(&[of("a", 2), of("b", 4)].concat())).unwrap();
    let told = json(&["inspect", text(&file)]);
    let note = told["note"].as_str().unwrap();
    assert!(told["layout"] == "pytorch" && note.contains("a.weight") && note.contains("--layout"), "{note}");
    assert!(json(&["inspect", text(&file), "--layout", "burn"])["note"].is_null());
}

#[test]
fn every_type_is_reconstructed_in_its_own() {
    let folder = tempfile::tempdir().unwrap();
    let [file, seen, out] = ["model.bpk", "seen.safetensors", "out.bpk"].map(|name| folder.path().join(name));
    let device = Device::flex();
    // Numbers that every type holds.
    let numbers = |len: usize| (0..len).map(|i| ((i * 37 + 11) % 101) as f32 / 64.0 - 0.75).collect::<Vec<_>>();
    let weight = Tensor::<2>::from_data(TensorData::new(numbers(48), [8, 6]), &device);
    let batch = Tensor::<2>::from_data(TensorData::new(numbers(8 * 128), [128, 8]), &device);
    let recipe = folder.path().join("recipe.toml");
    fs::write(&recipe, "sparsity = 0.5\ncriterion = \"magnitude\"\nreconstruct = \"obs\"").unwrap();
    let pruner = Pruner::from_toml(&fs::read_to_string(&recipe).unwrap(), &pruning_plugins::all()).unwrap();
    let of = |dtype| {
        let model = LinearConfig::new(8, 6).with_bias(false).init(&device);
        Linear { weight: model.weight.map(|_| weight.clone().cast(dtype)), ..model }
    };
    let prune = |dtype| {
        // A model in halves is calibrated in single precision.
        let wide = if dtype == DType::F64 { DType::F64 } else { DType::F32 };
        let batches = [batch.clone().cast(wide)];
        let calibration =
            Calibration::collect(&of(wide), pruner.needs(), &batches, |model: &Linear, batch, scope: &mut Scope| {
                let x = scope.input(batch);
                scope.output(model.forward(x));
            });
        save(&calibration.unwrap(), &seen).unwrap();
        of(dtype).save_file(&file).unwrap();
        let args = ["prune", text(&file), "--recipe", text(&recipe), "--calibration", text(&seen), "-o", text(&out)];
        json(&args);
        let bytes = &tensors(&out)["weight"];
        let checkpoint = burn_prune::checkpoint::Checkpoint::open(&out).unwrap();
        let element = checkpoint.tensors()[checkpoint.place("weight").unwrap()].element().clone();
        burn_prune::checkpoint::floats(bytes, &element).unwrap()
    };
    let expected = prune(DType::F32);
    for (dtype, tolerance) in [(DType::F64, 1e-5), (DType::F16, 1e-2), (DType::BF16, 1e-1)] {
        let values = prune(dtype);
        let far = values.iter().zip(&expected).find(|(one, two)| (*one - *two).abs() > tolerance);
        assert_eq!((far, values.iter().filter(|v| **v == 0.0).count()), (None, 24), "{dtype:?}");
    }
}
