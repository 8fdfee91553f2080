//! What the commands tell, as text and as JSON.

use crate::support::{Raw, fails, json, of_header, raw, run, safetensors_file, text};
use safetensors::tensor::Dtype;
use std::fs;
use std::path::{Path, PathBuf};

fn file(folder: &Path, name: &str, fourth: f32) -> PathBuf {
    let path = folder.join(name);
    let tensors = [
        raw("fc.weight", &[2, 3], &[0.0, -1.0, 2.0, fourth, -0.0, 5.0]),
        raw("fc.bias", &[2], &[1.0, 1.0]),
        Raw("ids".into(), Dtype::I64, vec![1], 3i64.to_le_bytes().to_vec()),
    ];
    fs::write(&path, safetensors_file(&tensors)).unwrap();
    path
}

#[test]
fn inspect_tells_what_is_in_a_file() {
    let folder = tempfile::tempdir().unwrap();
    let path = file(folder.path(), "model.safetensors", 4.0);
    let told = json(&["inspect", text(&path)]);
    assert_eq!((&told["container"], &told["layout"]), (&"safetensors".into(), &"pytorch".into()));
    assert_eq!(told["total"], serde_json::json!({ "tensors": 3, "elements": 9, "zeros": 2, "bytes": 40 }));
    let of = |name: &str| told["tensors"].as_array().unwrap().iter().find(|t| t["name"] == name).unwrap().clone();
    let weight = of("fc.weight");
    assert_eq!(
        (&weight["type"], &weight["layer"], &weight["rule"]),
        (&"F32".into(), &"Linear".into(), &"by default".into())
    );
    assert_eq!((&weight["zeros"], &weight["min"], &weight["max"]), (&2.into(), &(-1.0).into(), &5.0.into()));
    assert_eq!(weight["l2"].as_f64().unwrap(), 46f64.sqrt());
    assert_eq!(of("fc.bias")["rule"], "if named");
    assert_eq!((&of("ids")["rule"], of("ids").get("zeros")), (&"never: its type".into(), None));
    let (_, shown, _) = run(&["inspect", text(&path)]);
    assert!(shown.contains("fc.weight") && shown.contains("2 x 3") && shown.contains('█'), "{shown}");

    let recipe = folder.path().join("recipe.toml");
    fs::write(
        &recipe,
        "criterion = \"magnitude\"\nsparsity = 0.5\n[target]\nexclude = [\"fc\"]\ninclude = [\"*.bias\"]",
    )
    .unwrap();
    let error = fails(1, &["inspect", text(&path), "--recipe", text(&recipe)]);
    assert!(error.contains("model.safetensors"), "{error}");
}

#[test]
fn diff_tells_what_changed() {
    let folder = tempfile::tempdir().unwrap();
    let [one, two] = [("one.safetensors", 4.0), ("two.safetensors", 0.0)].map(|(name, v)| file(folder.path(), name, v));
    let told = json(&["diff", text(&one), text(&two)]);
    assert_eq!(told["same"], 2);
    let weight = told["tensors"].as_array().unwrap().iter().find(|t| t["name"] == "fc.weight").unwrap().clone();
    let expected = serde_json::json!({
        "name": "fc.weight", "elements": 6, "changed": 1, "zeros": [2, 3], "pruned": 1, "regrown": 0, "largest": 4.0,
        "not_finite": [0, 0],
    });
    assert_eq!(weight, expected);
    let other = folder.path().join("other.safetensors");
    fs::write(&other, safetensors_file(&[raw("fc.weight", &[3, 2], &[0.0; 6]), raw("new", &[1], &[1.0])])).unwrap();
    let told = json(&["diff", text(&one), text(&other)]);
    assert_eq!(told["only_before"], serde_json::json!(["ids", "fc.bias"]));
    assert_eq!((&told["only_after"][0], &told["other_form"][0]["after"]), (&"new".into(), &"F32 3 x 2".into()));
}

#[test]
fn check_does_nothing_but_tell() {
    let folder = tempfile::tempdir().unwrap();
    let path = file(folder.path(), "model.safetensors", 4.0);
    let recipe = folder.path().join("recipe.toml");
    fs::write(&recipe, "criterion = \"wanda\"\nsparsity = 0.5").unwrap();
    let told = json(&["check", text(&recipe), text(&path)]);
    assert_eq!(told["needs"], serde_json::json!(["input_norm"]));
    assert_eq!(told["report"]["layers"][0]["path"], "fc.weight");
    assert_eq!(told["report"]["layers"][0]["shape"], serde_json::json!([3, 2]));
    assert!(told["recipe"].as_str().unwrap().contains("allocator"));
    fs::write(&recipe, "criterion = \"magnitud\"\nsparsity = 7").unwrap();
    let error = fails(1, &["check", text(&recipe), text(&path)]);
    assert!(error.contains("magnitude") && error.contains("sparsity") && error.contains("recipe.toml"), "{error}");
}

#[test]
fn short_forms_stand_for_a_recipe_and_change_one() {
    let folder = tempfile::tempdir().unwrap();
    let path = file(folder.path(), "model.safetensors", 4.0);
    let out = folder.path().join("out.safetensors");
    let args = ["prune", text(&path), "-o", text(&out), "--sparsity", "0.5"];
    let told = json(
        &[&args[..], &["--criterion", "{ name = \"magnitude\", p = 2 }", "--include", "fc", "--include", "*.bias"]]
            .concat(),
    );
    let recipe = told["recipe"].as_str().unwrap();
    assert!(recipe.contains("p = 2") && recipe.contains("*.bias"), "{recipe}");
    let file = folder.path().join("recipe.toml");
    fs::write(&file, "criterion = \"magnitude\"\nsparsity = 0.9\nallocator = \"global\"").unwrap();
    let told = json(&[&args[..], &["--recipe", text(&file)]].concat());
    assert_eq!(told["report"]["layers"][0]["kept"], 3);
    assert!(told["recipe"].as_str().unwrap().contains("global"));
    let error = fails(2, &[&args[..], &["--criterion", "{ name = "]].concat());
    assert!(error.contains("--criterion"), "{error}");
}

#[test]
fn types_that_are_not_pruned_are_copied_and_said() {
    let folder = tempfile::tempdir().unwrap();
    let [path, out] = ["in.safetensors", "out.safetensors"].map(|name| folder.path().join(name));
    let header = r#"{"a.weight":{"dtype":"F8_E4M3","shape":[2,2],"data_offsets":[0,4]},
        "b.weight":{"dtype":"I4","shape":[2,4],"data_offsets":[4,8]},
        "c.weight":{"dtype":"F32","shape":[1,2],"data_offsets":[8,16]}}"#;
    let data = [&[1, 2, 3, 4, 5, 6, 7, 8][..], &1f32.to_le_bytes(), &2f32.to_le_bytes()].concat();
    fs::write(&path, of_header(header, &data)).unwrap();
    let told = json(&["prune", text(&path), "--sparsity", "0.5", "-o", text(&out)]);
    assert_eq!(told["untouched"], serde_json::json!({ "F8_E4M3": ["a.weight"], "I4": ["b.weight"] }));
    let written = fs::read(&out).unwrap();
    let expected = of_header(header, &[&data[..8], &[0; 4], &data[12..]].concat());
    assert_eq!(written, expected);
    let (_, shown, _) = run(&["prune", text(&path), "--sparsity", "0.5", "-o", text(&out)]);
    assert!(shown.contains("of type F8_E4M3") && shown.contains("b.weight"), "{shown}");
}

#[test]
fn plugins_and_completions_are_listed() {
    let told = json(&["plugins"]);
    let all = told["plugins"].as_array().unwrap();
    assert!(all.iter().any(|plugin| plugin["name"] == "wanda" && plugin["kind"] == "criterion"));
    assert_eq!(all.len(), pruning_plugins::all().iter().count());
    for shell in ["bash", "zsh", "fish"] {
        let (code, script, _) = run(&["completions", shell]);
        assert!(code == 0 && script.contains("burn-prune") && script.contains("in-place"), "{shell}");
    }
    assert_eq!(run(&["--version"]).0, 0);
    assert_eq!(run(&["no-such-command"]).0, 2);
}

#[test]
fn report_makes_a_page_of_what_other_commands_told() {
    let folder = tempfile::tempdir().unwrap();
    let path = file(folder.path(), "model.safetensors", 4.0);
    let [out, told, page] = ["out.safetensors", "told.json", "page.html"].map(|name| folder.path().join(name));
    let pruned = json(&["prune", text(&path), "--sparsity", "0.5", "-o", text(&out)]);
    fs::write(&told, pruned.to_string()).unwrap();
    json(&["report", text(&told), "-o", text(&page)]);
    let plain = fs::read_to_string(&page).unwrap();
    assert!(plain.contains("fc.weight") && plain.contains("50.00 %"));
    json(&["report", text(&told), "--scores", "-o", text(&page)]);
    assert!(fs::read_to_string(&page).unwrap().len() > plain.len());
    let compact = json(&["compact", text(&out), "-o", text(&folder.path().join("compact.safetensors"))]);
    fs::write(&told, compact.to_string()).unwrap();
    json(&["report", text(&told), "-o", text(&page)]);
    assert!(fails(1, &["report", text(&told), "--scores", "-o", text(&page)]).contains("told.json"));
    assert!(fails(2, &["report", text(&told), "-o", text(&told)]).contains("input"));
    fs::write(&told, "{}").unwrap();
    assert!(fails(1, &["report", text(&told), "-o", text(&page)]).contains("nothing to show"));
}
