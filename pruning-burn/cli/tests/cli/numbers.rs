//! Values at the ends of their range, and what recipes make of them.

use crate::support::{Raw, fails, json, names, of_header, raw, run, safetensors_file, tensors, text};
use safetensors::tensor::Dtype;
use std::fs;
use std::path::{Path, PathBuf};

fn doubles(shape: &[usize], values: &[f64]) -> Raw {
    Raw("fc.weight".into(), Dtype::F64, shape.to_vec(), values.iter().flat_map(|v| v.to_le_bytes()).collect())
}

fn write(folder: &Path, name: &str, tensors: &[Raw]) -> PathBuf {
    let file = folder.join(name);
    fs::write(&file, safetensors_file(tensors)).unwrap();
    file
}

#[test]
fn doubles_are_ranked_as_doubles() {
    let folder = tempfile::tempdir().unwrap();
    let out = folder.path().join("out.safetensors");
    let close: Vec<f64> = (0..16).map(|i| 1.0 + f64::from(15 - i) * 1e-15).collect();
    for values in [vec![4e-60, 1e-60, 3e-60, 2e-60], vec![1e150, 3e150, -2e150, -4e150], close] {
        let rows = if values.len() == 16 { 4 } else { 2 };
        let file = write(folder.path(), "in.safetensors", &[doubles(&[rows, rows], &values)]);
        for allocator in ["uniform", "global"] {
            json(&["prune", text(&file), "--sparsity", "0.5", "--allocator", allocator, "-o", text(&out)]);
            let mut sorted: Vec<f64> = values.iter().map(|v| v.abs()).collect();
            sorted.sort_by(f64::total_cmp);
            let least = sorted[values.len() / 2];
            let kept = values.iter().map(|v| if v.abs() < least { 0.0 } else { *v });
            let expected: Vec<u8> = kept.flat_map(f64::to_le_bytes).collect();
            assert_eq!(tensors(&out)["fc.weight"], expected, "{allocator}: {values:?}");
        }
    }
}

#[test]
fn differences_that_are_no_numbers_are_told() {
    let folder = tempfile::tempdir().unwrap();
    let of = |name: &str, values: &[f32]| write(folder.path(), name, &[raw("a", &[2], values)]);
    let [one, two, three] =
        [("1", [1.0, 2.0]), ("2", [f32::NAN, 2.0]), ("3", [f32::NAN, 5.0])].map(|(name, values)| of(name, &values));
    let row = |one: &Path, two: &Path| json(&["diff", text(one), text(two)])["tensors"][0].clone();
    let told = row(&one, &two);
    assert_eq!((&told["largest"], &told["not_finite"]), (&serde_json::Value::Null, &serde_json::json!([0, 1])));
    assert!(run(&["diff", text(&one), text(&two)]).1.contains("not finite"));
    let told = row(&two, &three);
    assert_eq!((&told["largest"], &told["not_finite"]), (&3.0.into(), &serde_json::json!([1, 1])));
}

#[test]
fn shapes_that_overflow_are_errors() {
    let folder = tempfile::tempdir().unwrap();
    let [file, recipe, out] = ["in.safetensors", "recipe.toml", "out.safetensors"].map(|name| folder.path().join(name));
    fs::write(&recipe, "criterion = \"magnitude\"\nsparsity = 0.5").unwrap();
    let large = 1u64 << 62;
    for shape in [format!("[0,{large},{large}]"), format!("[{large},{large},0]"), format!("[{large},0,2]")] {
        let header = format!(r#"{{"a.weight":{{"dtype":"F32","shape":{shape},"data_offsets":[0,0]}}}}"#);
        fs::write(&file, of_header(&header, &[])).unwrap();
        for args in [
            vec!["prune", text(&file), "--sparsity", "0.5", "-o", text(&out)],
            vec!["check", text(&recipe), text(&file)],
            vec!["inspect", text(&file)],
        ] {
            assert!(fails(1, &args).contains("overflows"), "{args:?}");
        }
    }
}

#[test]
fn check_refuses_what_prune_refuses_and_tells_what_it_does() {
    let folder = tempfile::tempdir().unwrap();
    let [recipe, out] = ["recipe.toml", "out.safetensors"].map(|name| folder.path().join(name));
    let good: Vec<f32> = (1..=16).map(|i| i as f32).collect();
    let mut bad = good.clone();
    bad[3] = f32::NAN;
    let file = write(folder.path(), "in.safetensors", &[raw("fc.weight", &[4, 4], &good)]);
    let nan = write(folder.path(), "nan.safetensors", &[raw("fc.weight", &[4, 4], &bad)]);
    for (file, text_of_recipe) in [
        (&nan, "criterion = \"magnitude\"\nsparsity = 0.5"),
        (&file, "criterion = \"magnitude\"\nsparsity = 0.5\ngranularity = { kind = \"head\" }"),
        (&file, "criterion = \"bn_scale\"\nsparsity = 0.5\ngranularity = \"channel\""),
        (&file, "criterion = \"magnitude\"\nsparsity = 0.999\nallocator = { name = \"global\", floor = 0.4 }"),
    ] {
        fs::write(&recipe, text_of_recipe).unwrap();
        fails(1, &["prune", text(file), "--recipe", text(&recipe), "-o", text(&out)]);
        fails(1, &["check", text(&recipe), text(file)]);
        fails(1, &["inspect", text(file), "--recipe", text(&recipe)]);
    }
    fs::write(&recipe, "criterion = \"magnitude\"\nsparsity = 0.75\ninitialization = \"reinitialize\"").unwrap();
    let told = json(&["check", text(&recipe), text(&file)]);
    assert_eq!(told["ignored"], serde_json::json!(["initialization"]));
    assert_eq!(names(folder.path()), ["in.safetensors", "nan.safetensors", "recipe.toml"]);
    let pruned = json(&["prune", text(&file), "--recipe", text(&recipe), "-o", text(&out)]);
    assert_eq!(told["report"], pruned["report"]);
    assert_eq!((&told["report"]["layers"][0]["kept"], &pruned["ignored"][0]), (&4.into(), &"initialization".into()));
}

#[test]
fn zeros_that_were_there_are_told() {
    let folder = tempfile::tempdir().unwrap();
    let out = folder.path().join("out.safetensors");
    let file = write(folder.path(), "in.safetensors", &[raw("fc.weight", &[2, 3], &[0.0, 0.0, -0.0, 1.0, 2.0, 3.0])]);
    let zeros = |sparsity: &str| {
        let told = json(&["prune", text(&file), "--sparsity", sparsity, "-o", text(&out)]);
        told["zeros"]["fc.weight"].clone()
    };
    assert_eq!(zeros("0"), serde_json::json!([3, 3]));
    assert_eq!(zeros("0.7"), serde_json::json!([3, 4]));
}

#[test]
fn options_replace_keys_that_cannot_stand_beside_them() {
    let folder = tempfile::tempdir().unwrap();
    let [recipe, out] = ["recipe.toml", "out.safetensors"].map(|name| folder.path().join(name));
    let values: Vec<f32> = (1..=16).map(|i| i as f32).collect();
    let file = write(folder.path(), "in.safetensors", &[raw("fc.weight", &[4, 4], &values)]);
    let args = ["prune", text(&file), "--recipe", text(&recipe), "-o", text(&out)];
    fs::write(&recipe, "criterion = \"magnitude\"\ncount = 10").unwrap();
    let kept = |more: &[&str]| json(&[&args[..], more].concat())["report"]["layers"][0]["kept"].clone();
    assert_eq!(kept(&["--sparsity", "0.25"]), 12);
    assert_eq!(kept(&["--granularity", "2:4"]), 8);
    fs::write(&recipe, "criterion = \"magnitude\"\nsparsity = 0.9\nallocator = \"global\"").unwrap();
    assert_eq!(kept(&["--granularity", "2:4"]), 8);
    let error = fails(1, &[&args[..], &["--granularity", "2:4", "--sparsity", "0.9"]].concat());
    assert!(error.contains("recipe.toml with the options"), "{error}");
}
