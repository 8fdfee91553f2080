//! What may be written where: never over an input, and under a name that says what it is.

use crate::support::{Net, Raw, containers, fails, json, names, raw, safetensors_file, text};
use burn::tensor::{Bytes, DType};
use pruning_burn::store::{CompactTensors, save};
use safetensors::tensor::Dtype;
use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

/// All files of a folder.
fn contents(folder: &Path) -> BTreeMap<String, Vec<u8>> {
    names(folder).into_iter().map(|name| (name.clone(), fs::read(folder.join(&name)).unwrap())).collect()
}

#[test]
fn no_shard_of_the_input_is_written_over() {
    let folder = tempfile::tempdir().unwrap();
    let index = &containers(folder.path())[1];
    let sharded = index.parent().unwrap();
    let before = contents(sharded);
    let shard = sharded.join("model-1.safetensors");
    for input in [index.as_path(), sharded] {
        for output in [&shard, index] {
            for command in [&["compact"][..], &["masks", "extract"]] {
                let error = fails(2, &[command, &[text(input), "-o", text(output)]].concat());
                assert!(error.contains("is the input"), "{error}");
            }
        }
    }
    assert!(fails(2, &["prune", text(index), "--sparsity", "0.5", "-o", text(sharded)]).contains("--in-place"));
    assert_eq!(contents(sharded), before);
}

#[test]
fn nothing_else_that_is_read_is_written_over() {
    let folder = tempfile::tempdir().unwrap();
    let of = |name: &str| folder.path().join(name);
    let [model, masks, recipe] = ["model.safetensors", "masks.safetensors", "recipe"].map(of);
    fs::write(&model, safetensors_file(&Net::new(1, DType::F32).pytorch())).unwrap();
    fs::write(&recipe, "criterion = \"magnitude\"\nsparsity = 0.5").unwrap();
    json(&["masks", "extract", text(&model), "-o", text(&masks)]);
    let before = contents(folder.path());
    let prune = ["prune", text(&model), "--recipe", text(&recipe)];
    let refused = [
        [&prune[..], &["-o", text(&recipe)]].concat(),
        [&prune[..], &["--calibration", text(&masks), "-o", text(&masks)]].concat(),
        vec!["masks", "apply", text(&masks), text(&model), "-o", text(&masks)],
        vec!["masks", "apply", text(&model), text(&model), "--in-place"],
    ];
    for args in refused {
        // The file of masks in the last one is the model itself, which is no mask either.
        let code = if args.contains(&"--in-place") { 1 } else { 2 };
        fails(code, &args);
        assert_eq!(contents(folder.path()), before, "{args:?}");
    }
}

#[test]
fn the_shards_of_a_compact_file_do_not_replace_it() {
    let folder = tempfile::tempdir().unwrap();
    let index = &containers(folder.path())[1];
    let compact = folder.path().join("model-1.safetensors");
    json(&["compact", text(index), "-o", text(&compact)]);
    let before = fs::read(&compact).unwrap();
    assert!(fails(2, &["expand", text(&compact), "-o", text(folder.path())]).contains("is the input"));
    assert_eq!(fs::read(&compact).unwrap(), before);
}

#[test]
fn a_name_says_what_a_file_is() {
    let folder = tempfile::tempdir().unwrap();
    let files = containers(folder.path());
    let of = |name: &str| folder.path().join(name);
    let (single, pack) = (&files[0], &files[4]);
    let [small, packed] = ["small.safetensors", "packed.safetensors"].map(of);
    json(&["compact", text(single), "-o", text(&small)]);
    json(&["compact", text(pack), "-o", text(&packed)]);
    for (input, command, output, written) in [
        (single, "compact", "c.bpk", "safetensors"),
        (single, "compact", "c.pt", "safetensors"),
        (pack, "compact", "c.bpk", "safetensors"),
        (&small, "expand", "e.bpk", "safetensors"),
        (&small, "expand", "e.pth", "safetensors"),
        (&packed, "expand", "e.safetensors", "burnpack"),
    ] {
        let error = fails(2, &[command, text(input), "-o", text(&of(output))]);
        assert!(error.contains(&format!("is written as {written}")) && !of(output).exists(), "{error}");
    }
    fails(2, &["masks", "extract", text(single), "-o", text(&of("m.bpk"))]);
    json(&["expand", text(&packed), "-o", text(&of("e.bpk"))]);
}

#[test]
fn a_file_is_told_by_its_content() {
    let folder = tempfile::tempdir().unwrap();
    let files = containers(folder.path());
    for (file, name, container) in
        [(0, "a.bpk", "safetensors"), (2, "b.bpk", "pytorch"), (2, "c.safetensors", "pytorch")]
    {
        let other = folder.path().join(name);
        fs::copy(&files[file], &other).unwrap();
        assert_eq!(json(&["inspect", text(&other)])["container"], container);
    }
}

#[test]
fn compact_files_that_lie_about_their_files_are_errors() {
    let folder = tempfile::tempdir().unwrap();
    let [file, out] = ["c.safetensors", "out.safetensors"].map(|name| folder.path().join(name));
    let expand = |told: serde_json::Value| {
        let bytes = Bytes::from_bytes_vec(vec![0; 16]);
        let mut compact = CompactTensors::new().with_text("pruning.checkpoint", told.to_string());
        compact.add(burn_pack::Tensor::new("w".to_string(), DType::F32, [2, 2], None, bytes), None).unwrap();
        save(compact, &file).unwrap();
        let error = fails(1, &["expand", text(&file), "-o", text(&out)]);
        assert!(!out.exists() && error.contains("c.safetensors"), "{error}");
        error
    };
    let header = |dtype: &str, shape: [usize; 2]| {
        serde_json::json!({ "w": { "dtype": dtype, "shape": shape, "data_offsets": [0, 16] } }).to_string()
    };
    let good = header("F32", [2, 2]);
    let files = |files: &[(&str, &str)], index: Option<&str>| {
        let index = index.map(|name| (name, "{}"));
        serde_json::json!({ "container": "safetensors", "files": files, "index": index })
    };
    assert!(expand(files(&[], None)).contains("no file"));
    assert!(expand(files(&[("a", &good), ("b", &good)], None)).contains("no file"));
    assert!(expand(files(&[("a", &good), ("a", &good)], Some("i.json"))).contains("one name"));
    assert!(expand(files(&[("a", &good)], Some("a"))).contains("one name"));
    assert!(expand(files(&[("a", &header("F32", [4, 1]))], None)).contains("another type or shape"));
    assert!(expand(files(&[("a", &header("I32", [2, 2]))], None)).contains("another type or shape"));
}

#[test]
fn one_include_means_one_thing() {
    let folder = tempfile::tempdir().unwrap();
    let [file, out, none] =
        ["in.safetensors", "masks.safetensors", "none.safetensors"].map(|name| folder.path().join(name));
    fs::write(&file, safetensors_file(&Net::new(1, DType::F32).pytorch())).unwrap();
    let extract = ["masks", "extract", text(&file), "-o", text(&out)];
    let told = json(&[&extract[..], &["--include", "fc1"]].concat());
    assert_eq!((told["tensors"].as_array().unwrap().len(), &told["tensors"][0]["name"]), (1, &"fc1.weight".into()));
    let error = fails(1, &[&extract[..], &["--include", "fc1", "--include", "no.such"]].concat());
    assert!(error.contains("no.such"), "{error}");
    fs::write(&none, safetensors_file(&[])).unwrap();
    assert!(fails(1, &["masks", "apply", text(&none), text(&file), "--in-place"]).contains("holds no masks"));
    let ids = Raw("ids".into(), Dtype::I64, vec![1], vec![0; 8]);
    fs::write(&none, safetensors_file(&[ids, raw("a", &[1], &[1.0])])).unwrap();
    fails(1, &["masks", "extract", text(&none), "-o", text(&out)]);
}

#[test]
fn a_page_does_not_replace_what_it_tells_of() {
    let folder = tempfile::tempdir().unwrap();
    let [file, out, told] = ["in.safetensors", "out.safetensors", "told.json"].map(|name| folder.path().join(name));
    fs::write(&file, safetensors_file(&Net::new(1, DType::F32).pytorch())).unwrap();
    let pruned = json(&["prune", text(&file), "--sparsity", "0.5", "-o", text(&out)]);
    fs::write(&told, pruned.to_string()).unwrap();
    let before = contents(folder.path());
    for output in [&told, &file] {
        assert!(fails(2, &["report", text(&told), "--scores", "-o", text(output)]).contains("is the input"));
    }
    assert_eq!(contents(folder.path()), before);
}
