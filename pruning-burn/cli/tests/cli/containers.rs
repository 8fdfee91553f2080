//! A file of each container goes through every command, and loads elsewhere.

use crate::support::{Net, containers, json, names, run, tensors, text};
use burn::module::Module;
use burn::tensor::DType;
use burn_prune::checkpoint::Checkpoint;
use burn_store::{ModuleSnapshot, PyTorchToBurnAdapter, SafetensorsStore};
use safetensors::SafeTensors;
use std::fs;
use std::path::{Path, PathBuf};

/// Where a command writes what it makes of a file.
fn output(input: &Path, folder: &Path, name: &str) -> PathBuf {
    match input.extension().unwrap().to_str().unwrap() {
        "json" => folder.join(name),
        "bpk" => folder.join(format!("{name}.bpk")),
        _ => folder.join(format!("{name}.safetensors")),
    }
}

#[test]
fn every_container_is_pruned_and_loads_in_burn_and_elsewhere() {
    let folder = tempfile::tempdir().unwrap();
    for input in containers(folder.path()) {
        let out = output(
            &input,
            folder.path(),
            &format!("of-{}", text(input.parent().unwrap().file_name().unwrap().as_ref())),
        );
        let told = json(&["prune", text(&input), "--sparsity", "0.5", "--allocator", "global", "-o", text(&out)]);
        let report = &told["report"]["layers"];
        let of = |key: &str| report.as_array().unwrap().iter().map(|layer| layer[key].as_u64().unwrap()).sum::<u64>();
        assert_eq!(of("kept") * 2, of("weights"), "{told}");
        let (before, after) = (tensors(&input), tensors(&out));
        assert!(before.keys().eq(after.keys()), "{input:?}");
        let pruned: Vec<&str> =
            report.as_array().unwrap().iter().map(|layer| layer["path"].as_str().unwrap()).collect();
        for name in before.keys() {
            assert_eq!(before[name] != after[name], pruned.contains(&name.as_str()), "{input:?}: {name}");
        }
        // Nothing but the output is there.
        assert!(!names(folder.path()).iter().any(|name| name.contains("unfinished")));
        let files: Vec<PathBuf> =
            if out.is_dir() { names(&out).iter().map(|name| out.join(name)).collect() } else { vec![out.clone()] };
        for file in files.iter().filter(|file| file.extension().is_some_and(|end| end == "safetensors")) {
            SafeTensors::deserialize(&fs::read(file).unwrap()).unwrap();
        }
        let mut net = Net::new(9, DType::F32);
        match told["container"].as_str().unwrap() {
            "burnpack" => net = net.load_file(&out),
            "safetensors" => {
                let mut store =
                    SafetensorsStore::from_file(&out).with_from_adapter(PyTorchToBurnAdapter).allow_partial(true);
                let result = net.load_from(&mut store).unwrap();
                assert!(result.missing.is_empty(), "{:?}", result.missing);
            }
            _ => continue,
        }
        let zeros = net.fc1.weight.val().into_data().iter::<f32>().filter(|v| *v == 0.0).count();
        assert_eq!(
            zeros as u64,
            240 - report.as_array().unwrap().iter().find(|l| l["path"] == "fc1.weight").unwrap()["kept"]
                .as_u64()
                .unwrap()
        );
    }
}

#[test]
fn shards_keep_their_index_and_their_names() {
    let folder = tempfile::tempdir().unwrap();
    let index = containers(folder.path()).remove(1);
    let out = folder.path().join("out");
    let told = json(&["prune", text(index.parent().unwrap()), "--sparsity", "0.5", "-o", text(&out)]);
    assert_eq!(told["container"], "sharded safetensors");
    assert_eq!(names(&out), names(index.parent().unwrap()));
    let name = index.file_name().unwrap();
    assert_eq!(fs::read(out.join(name)).unwrap(), fs::read(&index).unwrap());
    assert_eq!(told["output"], text(&out.join(name)));
    // In place, the same comes out.
    json(&["prune", text(&index), "--sparsity", "0.5", "--in-place"]);
    assert_eq!(tensors(&index), tensors(&out));
    assert_eq!(names(&out), names(index.parent().unwrap()));
}

#[test]
fn pytorch_files_of_both_formats_hold_what_was_written() {
    let folder = tempfile::tempdir().unwrap();
    let files = containers(folder.path());
    for file in &files[2..4] {
        let all = tensors(file);
        let names: Vec<_> = all.keys().map(String::as_str).collect();
        assert_eq!(names, ["fc.bias", "fc.weight", "half.weight", "norm.num_batches_tracked", "turned"]);
        let floats =
            |name: &str| all[name].chunks(4).map(|v| f32::from_le_bytes(v.try_into().unwrap())).collect::<Vec<_>>();
        assert_eq!(floats("fc.weight"), [-2.5, -1.5, -0.5, 0.5, 1.5, 2.5]);
        assert_eq!(floats("turned"), [-2.5, -0.5, 1.5, -1.5, 0.5, 2.5]);
        assert_eq!(floats("fc.bias"), [0.5, 1.5, 2.5]);
        assert_eq!(Checkpoint::open(file).unwrap().tensors()[3].shape(), [0; 0]);
    }
}

#[test]
fn a_compact_file_becomes_the_same_files_again() {
    let folder = tempfile::tempdir().unwrap();
    for input in containers(folder.path()) {
        let name = text(input.parent().unwrap().file_name().unwrap().as_ref()).to_string();
        let pruned = output(&input, folder.path(), &format!("pruned-{name}"));
        let compact = folder.path().join(format!("compact-{name}.safetensors"));
        let again = output(&input, folder.path(), &format!("again-{name}"));
        json(&["prune", text(&input), "--sparsity", "0.9", "-o", text(&pruned)]);
        let told = json(&["compact", text(&pruned), "-o", text(&compact)]);
        assert!(told["report"]["tensors"].as_array().unwrap().len() > 4, "{told}");
        json(&["expand", text(&compact), "-o", text(&again)]);
        let files = |path: &Path| -> Vec<(String, Vec<u8>)> {
            if path.is_dir() {
                names(path).into_iter().map(|n| (n.clone(), fs::read(path.join(n)).unwrap())).collect()
            } else {
                vec![(String::new(), fs::read(path).unwrap())]
            }
        };
        assert_eq!(files(&again), files(&pruned), "{name}");
        let (code, _, error) = run(&["inspect", text(&compact)]);
        assert!(code == 1 && error.contains("burn-prune expand"), "{error}");
    }
}

#[test]
fn masks_go_from_one_file_to_another() {
    let folder = tempfile::tempdir().unwrap();
    for input in containers(folder.path()) {
        let name = text(input.parent().unwrap().file_name().unwrap().as_ref()).to_string();
        let [pruned, applied] =
            ["pruned", "applied"].map(|step| output(&input, folder.path(), &format!("{step}-{name}")));
        let masks = folder.path().join(format!("masks-{name}.safetensors"));
        json(&["prune", text(&input), "--sparsity", "0.6", "-o", text(&pruned)]);
        let told = json(&["masks", "extract", text(&pruned), "-o", text(&masks)]);
        let extracted = fs::read(&masks).unwrap();
        let extracted = SafeTensors::deserialize(&extracted).unwrap();
        assert_eq!(extracted.len(), told["tensors"].as_array().unwrap().len());
        json(&["masks", "apply", text(&masks), text(&input), "-o", text(&applied)]);
        assert_eq!(tensors(&applied), tensors(&pruned), "{name}");
        // On a file that has them already, nothing changes.
        json(&["masks", "apply", text(&masks), text(&applied), "--in-place"]);
        assert_eq!(tensors(&applied), tensors(&pruned), "{name}");
    }
}

#[test]
fn views_of_one_storage_are_told() {
    let folder = tempfile::tempdir().unwrap();
    let files = containers(folder.path());
    let out = folder.path().join("out.safetensors");
    for file in &files[2..4] {
        let told = json(&["prune", text(file), "--sparsity", "0.5", "-o", text(&out)]);
        assert_eq!(told["same_numbers"], serde_json::json!([["fc.weight", "turned"]]));
    }
    let told = json(&["prune", text(&files[0]), "--sparsity", "0.5", "-o", text(&out)]);
    assert_eq!((&told["same_numbers"], &told["note"]), (&serde_json::json!([]), &serde_json::Value::Null));
}
