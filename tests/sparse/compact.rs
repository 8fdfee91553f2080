//! Compact files: small, equal bit for bit, read by NumPy, and refused where they are damaged.

use burn::module::Module;
use burn::nn::conv::{Conv2d, Conv2dConfig, ConvTranspose2d, ConvTranspose2dConfig};
use burn::nn::{Linear, LinearConfig};
use burn::tensor::{Device, Tensor, TensorData};
use pruning_burn::mask::finish;
use pruning_burn::store::{Compact, Loaded, StoreError, load, save};
use pruning_sparse::Format;
use pruning_tests::models::{Mlp, Zoo, filled, numbers};
use pruning_tests::shrinking::pruner;
use pruning_tests::values::{base, same_bits, weights};
use std::collections::BTreeMap;
use std::path::Path;
use std::process::Command;

#[test]
fn every_layer_type_comes_back_bit_for_bit() {
    let device = Device::flex();
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("zoo.safetensors");
    for sparsity in [0.0, 0.5, 0.99] {
        let mut model = Zoo::new(&device, 7);
        pruner(&format!("criterion = \"magnitude\"\nsparsity = {sparsity}")).prune(&mut model, None).unwrap();
        finish(&mut model).unwrap();
        let report = save(Compact(&model), &file).unwrap();
        assert_eq!(report.file, std::fs::metadata(&file).unwrap().len());
        let mut loaded = Zoo::new(&device, 8);
        load(&file).and_then(|file| file.into_model(&mut loaded)).unwrap();
        let (found, expected) = (base(&loaded), base(&model));
        let apart: Vec<_> =
            expected.keys().filter(|path| !same_bits(&only(&found, path), &only(&expected, path))).collect();
        assert!(apart.is_empty() && found.len() == expected.len(), "{sparsity}: {apart:?}");
        assert!(report.tensors.iter().all(|t| t.bytes <= t.dense));
        assert_eq!(report.tensors.iter().any(|t| t.bytes < t.dense), sparsity > 0.0, "{report}");
    }
}

fn only(all: &BTreeMap<String, TensorData>, path: &str) -> BTreeMap<String, TensorData> {
    all.get(path).map(|data| (path.to_string(), data.clone())).into_iter().collect()
}

#[test]
fn masks_are_folded_in() {
    let device = Device::flex();
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("mlp.safetensors");
    let mut masked = Mlp::new(&device, 3);
    let mut session = pruner("criterion = \"magnitude\"\nsparsity = 0.9").start(&mut masked).unwrap();
    session.step(&mut masked, None).unwrap().unwrap();
    save(Compact(&masked), &file).unwrap();
    let mut finished = masked.clone();
    finish(&mut finished).unwrap();
    let mut loaded = Mlp::new(&device, 4);
    load(&file).and_then(|file| file.into_model(&mut loaded)).unwrap();
    assert!(same_bits(&base(&loaded), &base(&finished)));
}

/// The sizes of LeNet-300-100.
#[derive(Module, Debug)]
struct Lenet {
    fc1: Linear,
    fc2: Linear,
    fc3: Linear,
}

impl Lenet {
    fn new(device: &Device) -> Self {
        Self {
            fc1: LinearConfig::new(784, 300).init(device),
            fc2: LinearConfig::new(300, 100).init(device),
            fc3: LinearConfig::new(100, 10).init(device),
        }
    }
}

#[test]
fn a_twelfth_of_the_weights_takes_less_than_an_eighth_of_the_bytes() {
    let device = Device::flex();
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("lenet.safetensors");
    let mut model = Lenet::new(&device);
    let recipe = format!("criterion = \"magnitude\"\nallocator = \"global\"\nsparsity = {}", 1.0 - 1.0 / 12.0);
    pruner(&recipe).prune(&mut model, None).unwrap();
    let report = save(Compact(&model), &file).unwrap();
    assert_eq!(report.dense(), 4 * 266_610);
    assert!(report.ratio() <= 0.125, "{report}");
}

/// A linear layer of which the weights are these, `[d_in, d_out]`.
fn linear(values: Vec<f32>, shape: [usize; 2], device: &Device) -> Linear {
    let mut layer = LinearConfig::new(shape[0], shape[1]).with_bias(false).init(device);
    layer.weight = layer.weight.map(|_| Tensor::from_data(TensorData::new(values, shape), device));
    layer
}

/// A layer of which one of every four input channels is left at each place of the kernel.
fn one_of_four<M: Module>(layer: M, seed: u64) -> M {
    let mut layer = filled(layer, seed);
    pruner("criterion = \"magnitude\"\ngranularity = \"1:4\"").prune(&mut layer, None).unwrap();
    finish(&mut layer).unwrap();
    layer
}

/// One weight for each format.
#[derive(Module, Debug)]
struct Formats {
    coo: Linear,
    csr: Linear,
    wide: Linear,
    bitmap: Linear,
    packed: Linear,
    blocks: Linear,
    dense: Linear,
    conv: Conv2d,
    up: ConvTranspose2d,
}

impl Formats {
    fn new(device: &Device) -> Self {
        let filled = |shape: [usize; 2], keep: &dyn Fn(usize, usize) -> bool| {
            let mut values = numbers(shape[0] * shape[1], 5);
            // Output unit and fan-in.
            values.iter_mut().enumerate().for_each(|(i, v)| {
                if !keep(i % shape[1], i / shape[1]) {
                    *v = 0.0;
                }
            });
            linear(values, shape, device)
        };
        Self {
            coo: filled([40, 300], &|r, c| (r, c) == (3, 5) || (r, c) == (299, 39)),
            csr: filled([64, 20], &|r, c| (r * 64 + c) % 37 == 0),
            wide: filled([70_000, 3], &|r, c| (r * 70_000 + c) % 511 == 0),
            bitmap: filled([50, 21], &|r, c| (r * 7 + c * 3) % 5 < 3),
            packed: filled([64, 24], &|r, c| (r + c / 4 * 3) % 4 == c % 4),
            blocks: filled([64, 32], &|r, c| (r / 8 + c / 8) % 4 == 0),
            dense: filled([6, 5], &|_, _| true),
            conv: one_of_four(Conv2dConfig::new([8, 8], [3, 3]).init(device), 3),
            up: one_of_four(ConvTranspose2dConfig::new([8, 4], [3, 3]).init(device), 4),
        }
    }
}

#[test]
fn every_format_is_read_by_numpy() {
    let device = Device::flex();
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("formats.safetensors");
    let model = Formats::new(&device);
    let report = save(Compact(&model), &file).unwrap();
    let format = |path: &str| report.tensors.iter().find(|t| t.path == path).unwrap().format;
    assert_eq!(format("coo.weight"), Format::Coo);
    assert_eq!(format("csr.weight"), Format::Csr16);
    assert_eq!(format("wide.weight"), Format::Csr32);
    assert_eq!(format("bitmap.weight"), Format::Bitmap);
    assert_eq!(format("packed.weight"), Format::Packed { n: 1, m: 4, kernel: 1 });
    assert_eq!(format("conv.weight"), Format::Packed { n: 1, m: 4, kernel: 9 });
    assert_eq!(format("up.weight"), Format::Packed { n: 1, m: 4, kernel: 9 });
    assert_eq!(format("blocks.weight"), Format::Blocks { height: 8, width: 8 });
    assert_eq!(format("dense.weight"), Format::Dense);
    let mut loaded = Formats::new(&device);
    loaded.packed = linear(vec![1.0; 64 * 24], [64, 24], &device);
    (loaded.conv, loaded.up) = (filled(loaded.conv, 9), filled(loaded.up, 9));
    load(&file).and_then(|file| file.into_model(&mut loaded)).unwrap();
    assert!(same_bits(&base(&loaded), &base(&model)));

    let Some(python) = ["python3", "/usr/bin/python3"].into_iter().find(|python| {
        Command::new(python).args(["-c", "import numpy"]).output().is_ok_and(|out| out.status.success())
    }) else {
        eprintln!("there is no Python with NumPy here: the file is not read by it");
        return;
    };
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("../examples/read_compact.py");
    let check = r#"
import sys, runpy, numpy as np
model = runpy.run_path(sys.argv[1])["read"](sys.argv[2])
for name in sorted(model):
    v = np.ascontiguousarray(model[name].astype("<f4"))
    print(name, *v.shape, v.tobytes().hex())
"#;
    let out = Command::new(python).args(["-c", check]).arg(script).arg(&file).output().unwrap();
    assert!(out.status.success(), "{}", String::from_utf8_lossy(&out.stderr));
    let text = String::from_utf8(out.stdout).unwrap();
    let mut seen = 0;
    for line in text.lines() {
        let (path, rest) = line.split_once(' ').unwrap();
        let hex = rest.rsplit_once(' ').unwrap().1;
        let expected: String =
            weights(&model, path).iter().flat_map(|v| v.to_le_bytes()).map(|b| format!("{b:02x}")).collect();
        assert!(hex == expected, "{path} is not the same in Python");
        seen += 1;
    }
    // Each weight, and two biases.
    assert_eq!(seen, 11);
}

#[test]
fn files_that_are_no_compact_model_are_refused_and_the_model_stays() {
    let device = Device::flex();
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("mlp.safetensors");
    let mut model = Mlp::new(&device, 3);
    pruner("criterion = \"magnitude\"\nsparsity = 0.9").prune(&mut model, None).unwrap();
    save(Compact(&model), &file).unwrap();
    let bytes = std::fs::read(&file).unwrap();
    let mut target = Mlp::new(&device, 9);
    let before = base(&target);
    let other = folder.path().join("other.safetensors");
    let mut read = |bytes: &[u8]| {
        std::fs::write(&other, bytes).unwrap();
        let error = load(&other).and_then(|file| file.into_model(&mut target)).unwrap_err();
        assert!(same_bits(&base(&target), &before));
        error
    };
    for len in [0, 7, 100, bytes.len() - 1] {
        let error = read(&bytes[..len]);
        assert!(matches!(error, StoreError::Read { .. }), "{len}: {error}");
    }
    let header = 8 + u64::from_le_bytes(bytes[..8].try_into().unwrap()) as usize;
    for at in (header..bytes.len()).step_by(41) {
        let mut altered = bytes.clone();
        altered[at] ^= 64;
        let error = read(&altered);
        assert!(matches!(error, StoreError::Checksum { .. }), "{at}: {error}");
    }
    let text = String::from_utf8_lossy(&bytes[8..header]).into_owned();
    let with = |from: &str, to: &str| {
        assert!(text.contains(from), "{text}");
        let text = text.replace(from, to);
        [&(text.len() as u64).to_le_bytes(), text.as_bytes(), &bytes[header..]].concat()
    };
    // Whatever the header says is part of the checksum: the version, how tensors are stored, the names of the texts.
    for (from, to) in [
        ("model, version 1", "model, version 7"),
        ("\\\"transposed\\\":true", "\\\"transposed\\\":false"),
        ("pruning.compact", "pruning.another"),
        ("compact model", "another model"),
        ("pruning.file", "another.file"),
    ] {
        let error = read(&with(from, to));
        assert!(matches!(error, StoreError::Checksum { .. }), "{to}: {error}");
    }
    // A model of another kind.
    pruning_burn::store::save(&model, &file).unwrap();
    let error = load(&file).and_then(Loaded::into_sparse_model).unwrap_err();
    assert!(matches!(error, StoreError::Kind { expected: "sparse model", .. }), "{error}");
    std::fs::write(&file, &bytes).unwrap();

    let mut zoo = Zoo::new(&device, 1);
    let before = base(&zoo);
    let error = load(&file).and_then(|file| file.into_model(&mut zoo)).unwrap_err();
    assert!(matches!(error, StoreError::Misfit { .. }), "{error}");
    assert!(same_bits(&base(&zoo), &before));
    let nowhere = save(Compact(&model), folder.path().join("none/mlp.safetensors")).unwrap_err();
    assert!(matches!(nowhere, StoreError::Write { .. }), "{nowhere}");
}
