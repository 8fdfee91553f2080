//! A small network for digits, and the files that hold one as PyTorch names it.

use crate::mnist::{CLASSES, SIDE};
use crate::training::Classifier;
use burn::module::Module;
use burn::nn::conv::{Conv2d, Conv2dConfig};
use burn::nn::{BatchNorm, BatchNormConfig, Linear, LinearConfig};
use burn::tensor::activation::relu;
use burn::tensor::{Device, Tensor};
use burn_store::{
    ApplyResult, BurnToPyTorchAdapter, BurnpackStore, KeyRemapper, ModuleSnapshot, PyTorchToBurnAdapter, PytorchStore,
    SafetensorsStore,
};
use std::path::Path;

/// Two convolutions with a norm between them, and two linear layers.
#[derive(Module, Debug)]
pub struct Digits {
    conv1: Conv2d,
    norm: BatchNorm,
    conv2: Conv2d,
    fc1: Linear,
    fc2: Linear,
}

/// What the modules are called in the file of PyTorch, which counts the places in two `Sequential`, and here.
pub const NAMES: [(&str, &str); 5] = [
    ("features.0", "conv1"),
    ("features.1", "norm"),
    ("features.3", "conv2"),
    ("classifier.1", "fc1"),
    ("classifier.3", "fc2"),
];

/// Renames all parameters below each first name of the pairs to be below the second.
fn renaming<'a>(pairs: impl IntoIterator<Item = (&'a str, &'a str)>) -> KeyRemapper {
    let patterns = pairs.into_iter().map(|(from, to)| (format!("^{}\\.", from.replace('.', "\\.")), format!("{to}.")));
    KeyRemapper::from_pattern_iter(patterns).expect("dots are the only special characters")
}

impl Digits {
    /// With random weights.
    #[must_use]
    pub fn new(device: &Device) -> Self {
        Self {
            conv1: Conv2dConfig::new([1, 8], [5, 5]).with_stride([2, 2]).init(device),
            norm: BatchNormConfig::new(8).init(device),
            conv2: Conv2dConfig::new([8, 16], [3, 3]).with_stride([2, 2]).init(device),
            fc1: LinearConfig::new(400, 32).init(device),
            fc2: LinearConfig::new(32, CLASSES).init(device),
        }
    }

    /// Loads a file as its extension says: `safetensors`, or `pt`, `pth` and `bin` of PyTorch, with PyTorch's names and layout;
    /// `bpk` with those of Burn. Returns what became of each tensor too.
    ///
    /// # Errors
    /// The file cannot be read, or lacks a tensor, or has one of another shape.
    pub fn load(file: &Path, device: &Device) -> Result<(Self, ApplyResult), FileError> {
        let mut model = Self::new(device);
        let failed = |reason: String| FileError { file: file.display().to_string(), reason };
        let applied = match extension(file) {
            "safetensors" => {
                let store = SafetensorsStore::from_file(file).with_from_adapter(PyTorchToBurnAdapter);
                model.load_from(&mut store.remap(renaming(NAMES))).map_err(|error| failed(error.to_string()))?
            }
            "pt" | "pth" | "bin" => {
                let store = PytorchStore::from_file(file);
                model.load_from(&mut store.remap(renaming(NAMES))).map_err(|error| failed(error.to_string()))?
            }
            "bpk" => {
                let mut store = BurnpackStore::from_file(file);
                model.load_from(&mut store).map_err(|error| failed(error.to_string()))?
            }
            _ => return Err(failed("its name ends in none of .safetensors, .pt, .pth, .bin and .bpk".into())),
        };
        Ok((model, applied))
    }

    /// Saves the model as [`load`](Self::load) reads it; not as `.pt`, which nothing writes outside of Python.
    ///
    /// # Errors
    /// The file cannot be written, or its name ends in neither `.safetensors` nor `.bpk`.
    pub fn save(&self, file: &Path) -> Result<(), FileError> {
        let failed = |reason: String| FileError { file: file.display().to_string(), reason };
        match extension(file) {
            "safetensors" => {
                let back = renaming(NAMES.map(|(theirs, ours)| (ours, theirs)));
                let store = SafetensorsStore::from_file(file).with_to_adapter(BurnToPyTorchAdapter).remap(back);
                // `transformers` refuses files that do not say so.
                let mut store = store.metadata("format", "pt").overwrite(true);
                self.save_into(&mut store).map_err(|error| failed(error.to_string()))
            }
            "bpk" => {
                let mut store = BurnpackStore::from_file(file).overwrite(true);
                self.save_into(&mut store).map_err(|error| failed(error.to_string()))
            }
            _ => Err(failed("its name ends in neither .safetensors nor .bpk".into())),
        }
    }
}

fn extension(file: &Path) -> &str {
    file.extension().and_then(|extension| extension.to_str()).unwrap_or_default()
}

impl Classifier for Digits {
    fn forward(&self, images: Tensor<2>) -> Tensor<2> {
        let count = images.dims()[0];
        let x = images.reshape([count, 1, SIDE, SIDE]);
        let x = relu(self.norm.forward(self.conv1.forward(x)));
        let x = relu(self.conv2.forward(x));
        let x = relu(self.fc1.forward(x.flatten(1, 3)));
        self.fc2.forward(x)
    }
}

/// Why a file could not be loaded or saved.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{file}: {reason}")]
#[non_exhaustive]
pub struct FileError {
    /// The file.
    pub file: String,
    /// What the store says.
    pub reason: String,
}

#[cfg(test)]
mod tests {
    use super::*;
    use burn_store::ModuleStore;
    use pruning_burn::prelude::*;
    use std::collections::BTreeMap;
    use std::path::PathBuf;

    fn file(name: &str) -> PathBuf {
        Path::new(env!("CARGO_MANIFEST_DIR")).join("data/digits").join(name)
    }

    /// The tensors of a file as they are in it.
    fn raw(file: &Path) -> BTreeMap<String, (Vec<usize>, Vec<u8>)> {
        let mut store = SafetensorsStore::from_file(file);
        let tensors = store.get_all_tensors().unwrap();
        tensors.iter().map(|(n, t)| (n.clone(), (t.shape.to_vec(), t.to_bytes().unwrap().to_vec()))).collect()
    }

    fn values(bytes: &[u8]) -> Vec<f32> {
        bytes.chunks_exact(4).map(|four| f32::from_le_bytes(four.try_into().unwrap())).collect()
    }

    #[test]
    fn a_file_goes_back_to_the_layout_that_it_came_in() {
        let device = Device::flex();
        let folder = tempfile::tempdir().unwrap();
        let mut theirs = raw(&file("model.safetensors"));
        let (model, applied) = Digits::load(&file("model.safetensors"), &device).unwrap();
        assert_eq!(applied.applied.len(), 12);
        assert_eq!(applied.unused, ["norm.num_batches_tracked"]);
        let back = folder.path().join("back.safetensors");
        model.save(&back).unwrap();
        // A counter that no layer of Burn has, and that PyTorch does without.
        theirs.remove("features.1.num_batches_tracked").unwrap();
        assert_eq!(raw(&back), theirs);
        for other in ["model.pt", "model.bpk"] {
            let other = if other == "model.pt" { file(other) } else { folder.path().join(other) };
            if !other.exists() {
                model.save(&other).unwrap();
            }
            Digits::load(&other, &device).unwrap().0.save(&back).unwrap();
            assert_eq!(raw(&back), theirs, "{}", other.display());
        }
    }

    #[test]
    fn zeros_are_where_pytorch_has_the_pruned_weights() {
        let folder = tempfile::tempdir().unwrap();
        let (mut model, _) = Digits::load(&file("model.pt"), &Device::flex()).unwrap();
        let recipe =
            "criterion = \"magnitude\"\nsparsity = 0.5\ntarget = { include = [\"classifier.1\", \"features.3\"] }";
        let pruner = Pruner::from_toml(recipe, &pruning_plugins::all()).unwrap().with_names(NAMES);
        pruner.prune(&mut model, None).unwrap();
        finish(&mut model).unwrap();
        let pruned = folder.path().join("pruned.safetensors");
        model.save(&pruned).unwrap();
        let (before, after) = (raw(&file("model.safetensors")), raw(&pruned));
        for (name, (shape, bytes)) in &after {
            let (dense, bytes) = (&before[name], values(bytes));
            assert_eq!(*shape, dense.0);
            let dense = values(&dense.1);
            if !["classifier.1.weight", "features.3.weight"].contains(&name.as_str()) {
                assert_eq!(bytes, dense, "{name}");
                continue;
            }
            // Half of the weights go, those of the smallest absolute values.
            let mut sizes: Vec<f32> = dense.iter().map(|w| w.abs()).collect();
            sizes.sort_by(f32::total_cmp);
            let least = sizes[sizes.len() / 2];
            let expected: Vec<f32> = dense.iter().map(|&w| if w.abs() < least { 0.0 } else { w }).collect();
            assert_eq!(bytes, expected, "{name}");
        }
    }

    #[test]
    fn a_file_that_is_something_else_is_refused() {
        let device = Device::flex();
        let folder = tempfile::tempdir().unwrap();
        let named = |name: &str| folder.path().join(name);
        for name in ["a.safetensors", "a.pt", "a.bpk"] {
            std::fs::write(named(name), b"no checkpoint").unwrap();
            assert_eq!(Digits::load(&named(name), &device).unwrap_err().file, named(name).display().to_string());
            Digits::load(&named(&format!("missing-{name}")), &device).unwrap_err();
        }
        let error = Digits::load(&named("a.onnx"), &device).unwrap_err();
        assert!(error.reason.contains(".safetensors, .pt"), "{error}");
        let model = Digits::new(&device);
        assert!(model.save(&named("b.pt")).unwrap_err().reason.contains("neither .safetensors nor .bpk"));
        assert!(!named("b.pt").exists());
    }
}
