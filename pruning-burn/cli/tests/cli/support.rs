//! Files and modules to prune, and calls of the command.

use burn::module::{Module, ModuleMapper, Param};
use burn::nn::conv::{Conv2d, Conv2dConfig};
use burn::nn::{
    BatchNorm, BatchNormConfig, Embedding, EmbeddingConfig, LayerNorm, LayerNormConfig, Linear, LinearConfig,
};
use burn::tensor::{DType, Device, Tensor, TensorData};
use burn_prune::checkpoint::Checkpoint;
use safetensors::tensor::{Dtype, TensorView};
use serde_json::Value;
use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

/// A tensor for a file: name, type, shape, bytes.
#[derive(Clone)]
pub(crate) struct Raw(pub(crate) String, pub(crate) Dtype, pub(crate) Vec<usize>, pub(crate) Vec<u8>);

pub(crate) fn raw(name: &str, shape: &[usize], values: &[f32]) -> Raw {
    Raw(name.into(), Dtype::F32, shape.to_vec(), values.iter().flat_map(|v| v.to_le_bytes()).collect())
}

/// A file in safetensors format.
pub(crate) fn safetensors_file(tensors: &[Raw]) -> Vec<u8> {
    let views = tensors
        .iter()
        .map(|Raw(name, dtype, shape, bytes)| (name, TensorView::new(*dtype, shape.clone(), bytes).unwrap()));
    let texts = [("format".to_string(), "pt".to_string()), ("note".to_string(), "kept".to_string())];
    safetensors::serialize(views, Some(texts.into())).unwrap()
}

/// A file of a header and data, whatever they are.
pub(crate) fn of_header(header: &str, data: &[u8]) -> Vec<u8> {
    [&(header.len() as u64).to_le_bytes()[..], header.as_bytes(), data].concat()
}

/// Runs the command, and returns its exit code, what it told and its errors.
pub(crate) fn run(args: &[&str]) -> (u8, String, String) {
    let (mut out, mut err) = (Vec::new(), Vec::new());
    let code = burn_prune::run([&["burn-prune"], args].concat(), &mut out, &mut err);
    (code, String::from_utf8(out).unwrap(), String::from_utf8(err).unwrap())
}

/// Runs the command, which must succeed, and returns its JSON.
#[track_caller]
pub(crate) fn json(args: &[&str]) -> Value {
    let (code, out, err) = run(&[args, &["--json"]].concat());
    assert_eq!(code, 0, "{args:?}: {err}");
    serde_json::from_str(&out).unwrap()
}

/// Runs the command, which must fail with this code, and returns its error.
#[track_caller]
pub(crate) fn fails(code: u8, args: &[&str]) -> String {
    let (found, out, err) = run(args);
    assert_eq!((found, out.as_str()), (code, ""), "{args:?}: {err}");
    err
}

pub(crate) fn text(path: &Path) -> &str {
    path.to_str().unwrap()
}

/// The names in a folder.
pub(crate) fn names(folder: &Path) -> Vec<String> {
    let mut names: Vec<_> =
        fs::read_dir(folder).unwrap().map(|f| f.unwrap().file_name().into_string().unwrap()).collect();
    names.sort();
    names
}

/// The bytes of all tensors of a checkpoint, by name.
pub(crate) fn tensors(file: &Path) -> BTreeMap<String, Vec<u8>> {
    let checkpoint = Checkpoint::open(file).unwrap();
    let read =
        |(i, t): (usize, &burn_prune::checkpoint::TensorEntry)| (t.name().to_string(), checkpoint.read(i).unwrap());
    checkpoint.tensors().iter().enumerate().map(read).collect()
}

/// Layers of every kind that a file tells apart.
#[derive(Module, Debug)]
pub(crate) struct Net {
    pub(crate) embedding: Embedding,
    pub(crate) conv: Conv2d,
    pub(crate) bn: BatchNorm,
    pub(crate) norm: LayerNorm,
    pub(crate) fc1: Linear,
    pub(crate) fc2: Linear,
}

impl Net {
    /// Weights of few distinct values, so that there are ties, in one type.
    pub(crate) fn new(seed: u64, dtype: DType) -> Self {
        let device = Device::flex();
        let net = Self {
            embedding: EmbeddingConfig::new(7, 6).init(&device),
            conv: Conv2dConfig::new([4, 6], [3, 3]).init(&device),
            bn: BatchNormConfig::new(6).init(&device),
            norm: LayerNormConfig::new(8).init(&device),
            fc1: LinearConfig::new(12, 20).init(&device),
            fc2: LinearConfig::new(20, 8).with_bias(false).init(&device),
        };
        net.map(&mut Fill { state: seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1, dtype })
    }

    /// The tensors of the module as PyTorch would have them.
    pub(crate) fn pytorch(&self) -> Vec<Raw> {
        let mut tensors = Vec::new();
        tensors.extend(both("embedding", &self.embedding.weight.val(), None));
        tensors.extend(both("conv", &self.conv.weight.val(), self.conv.bias.as_ref()));
        tensors.extend(both("bn", &self.bn.gamma.val(), Some(&self.bn.beta)));
        tensors.push(of("bn.running_mean", self.bn.running_mean.value()));
        tensors.push(of("bn.running_var", self.bn.running_var.value()));
        tensors.push(Raw("bn.num_batches_tracked".into(), Dtype::I64, vec![], 7i64.to_le_bytes().to_vec()));
        tensors.extend(both("norm", &self.norm.gamma.val(), self.norm.beta.as_ref()));
        tensors.extend(both("fc1", &self.fc1.weight.val().swap_dims(0, 1), self.fc1.bias.as_ref()));
        tensors.extend(both("fc2", &self.fc2.weight.val().swap_dims(0, 1), None));
        tensors
    }
}

fn both<const D: usize>(layer: &str, weight: &Tensor<D>, bias: Option<&Param<Tensor<1>>>) -> Vec<Raw> {
    let bias = bias.map(|bias| of(&format!("{layer}.bias"), bias.val()));
    std::iter::once(of(&format!("{layer}.weight"), weight.clone())).chain(bias).collect()
}

fn of<const D: usize>(name: &str, tensor: Tensor<D>) -> Raw {
    let shape = tensor.dims().to_vec();
    let data = tensor.into_data();
    let dtype = match data.dtype() {
        DType::F64 => Dtype::F64,
        DType::F16 => Dtype::F16,
        DType::BF16 => Dtype::BF16,
        _ => Dtype::F32,
    };
    Raw(name.into(), dtype, shape, data.as_bytes().to_vec())
}

struct Fill {
    state: u64,
    dtype: DType,
}

impl ModuleMapper for Fill {
    fn map_float<const D: usize>(&mut self, param: Param<Tensor<D>>) -> Param<Tensor<D>> {
        param.map(|weight| {
            let (shape, device) = (weight.shape(), weight.device());
            let mut next = || {
                self.state ^= self.state << 13;
                self.state ^= self.state >> 7;
                self.state ^= self.state << 17;
                // 23 distinct values, with zeros and opposite ones among them.
                ((self.state >> 33) % 23) as f32 * 0.125 - 1.375
            };
            let values: Vec<f32> = (0..shape.num_elements()).map(|_| next()).collect();
            Tensor::<D>::from_data(TensorData::new(values, shape), &device).cast(self.dtype)
        })
    }
}

/// A file of each container, in a folder of its own each.
pub(crate) fn containers(folder: &Path) -> Vec<PathBuf> {
    let make = |name: &str| {
        let folder = folder.join(name);
        fs::create_dir(&folder).unwrap();
        folder
    };
    let net = Net::new(3, DType::F32);
    let all = net.pytorch();
    let single = make("single").join("model.safetensors");
    fs::write(&single, safetensors_file(&all)).unwrap();

    let sharded = make("sharded");
    let mut map = serde_json::Map::new();
    for (number, part) in all.chunks(5).enumerate() {
        let name = format!("model-{number}.safetensors");
        fs::write(sharded.join(&name), safetensors_file(part)).unwrap();
        map.extend(part.iter().map(|Raw(tensor, ..)| (tensor.clone(), name.clone().into())));
    }
    let index = sharded.join("model.safetensors.index.json");
    let content = serde_json::json!({ "metadata": { "total_size": 1234 }, "weight_map": map });
    fs::write(&index, serde_json::to_vec_pretty(&content).unwrap()).unwrap();

    let vectors = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/vectors");
    let pt = |name: &str| {
        let file = make(name).join("model.pt");
        fs::copy(vectors.join(format!("{name}.pt")), &file).unwrap();
        file
    };
    let (zip, legacy) = (pt("tiny_zip"), pt("tiny_legacy"));

    let burnpack = make("burnpack").join("model.bpk");
    net.save_file(&burnpack).unwrap();
    vec![single, index, zip, legacy, burnpack]
}
