//! The files of sparse models.

use crate::sparse::layer::{Layer, Prepared};
use crate::sparse::model::SparseModel;
use crate::sparse::pass::Pass;
use crate::sparse::product::Kind;
use crate::sparse::program::{Constant, Key, Program, kind, primitive};
use crate::sparse::report::SparseReport;
use crate::store::contents::{Contents, Form};
use crate::store::file_header::SPARSE_MODEL;
use crate::store::sparse_arrays::{Parts, PartsError, matrix, parts, tensors};
use crate::store::{Loaded, Save, StoreError};
use burn::backend::flex::FlexTensor;
use burn::tensor::{Bytes, DType, Shape, TensorData};
use burn_ir::{OperationIr, TensorId, TensorIr};
use burn_pack::Tensor;
use pruning_sparse::{Activation, Format};
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, HashMap};
use std::path::Path;
use std::sync::Arc;

const METADATA: &str = "pruning.sparse_model";
/// The version of Burn whose operations are stored; those of another version may differ.
const BURN: &str = "0.22";
/// The tensor that holds the passes.
const PROGRAM: &str = "program";

#[derive(Serialize, Deserialize)]
struct About {
    burn: String,
}

/// The content of [`PROGRAM`], as CBOR, which unlike JSON has infinities.
#[derive(Serialize, Deserialize)]
struct Stored {
    passes: Vec<PassContent>,
    weights: Vec<WeightContent>,
    biases: usize,
    report: SparseReport,
}

#[derive(Serialize, Deserialize)]
struct PassContent {
    operations: Vec<OperationIr>,
    inputs: Vec<TensorIr>,
    outputs: Vec<TensorIr>,
    /// The constants, each with the number of its tensor.
    constants: Vec<(TensorIr, Option<String>, usize)>,
    layers: Vec<LayerContent>,
}

#[derive(Serialize, Deserialize)]
struct LayerContent {
    id: String,
    weights: usize,
    bias: Option<usize>,
    relu: bool,
    batch: usize,
    output: Vec<usize>,
}

#[derive(Serialize, Deserialize)]
struct WeightContent {
    format: Format,
    rows: usize,
    cols: usize,
    kind: Kind,
    batch: usize,
}

/// Numbers for shared values, each of which is stored once.
struct Numbered<T: ?Sized>(Vec<Arc<T>>);

impl<T: ?Sized> Numbered<T> {
    fn number(&mut self, item: &Arc<T>) -> usize {
        self.0.iter().position(|known| Arc::ptr_eq(known, item)).unwrap_or_else(|| {
            self.0.push(item.clone());
            self.0.len() - 1
        })
    }
}

/// Saves a sparse model with its weights as a safetensors file.
///
/// Weights of sparse products are stored in their formats, all others unchanged. Measured choices are stored too, so loading measures
/// nothing.
impl Save for &SparseModel {
    type Report = ();

    fn save_to(self, file: &Path) -> Result<(), StoreError> {
        let failed = |reason: String| StoreError::Write { file: file.display().to_string(), reason };
        let mut weights: Numbered<Prepared> = Numbered(Vec::new());
        let mut biases: Numbered<[f32]> = Numbered(Vec::new());
        let mut constants: Vec<(Key, Tensor)> = Vec::new();
        let mut passes = Vec::new();
        for pass in &self.passes {
            let mut layers = Vec::new();
            for (id, layer) in &pass.layers {
                layers.push(LayerContent {
                    id: id.clone(),
                    weights: weights.number(&layer.weights),
                    bias: layer.bias.as_ref().map(|bias| biases.number(bias)),
                    relu: layer.activation == Activation::Relu,
                    batch: layer.batch,
                    output: layer.output.clone(),
                });
            }
            let mut own = Vec::new();
            for constant in pass.program.constants.values() {
                let tensor = primitive(&constant.value);
                let key = Key::of(tensor);
                let number = constants.iter().position(|(known, _)| *known == key).unwrap_or_else(|| {
                    let number = constants.len();
                    let data = tensor.to_contiguous().into_data();
                    let name = format!("constant.{number}");
                    constants.push((key, tensor_of(name, data)));
                    number
                });
                own.push((constant.ir.clone(), constant.path.clone(), number));
            }
            passes.push(PassContent {
                operations: pass.program.operations.clone(),
                inputs: pass.program.inputs.clone(),
                outputs: pass.program.outputs.clone(),
                constants: own,
                layers,
            });
        }
        let mut stored: Vec<Tensor> = constants.into_iter().map(|(_, tensor)| tensor).collect();
        for (number, bias) in biases.0.iter().enumerate() {
            stored.push(tensor_of(format!("bias.{number}"), TensorData::new(bias.to_vec(), [bias.len()])));
        }
        let mut about = Vec::new();
        for (number, prepared) in weights.0.iter().enumerate() {
            let matrix = &prepared.matrix;
            stored.extend(tensors(&format!("weight.{number}"), parts(matrix.as_ref(), DType::F32)));
            about.push(WeightContent {
                format: matrix.format(),
                rows: matrix.rows(),
                cols: matrix.cols(),
                kind: prepared.kind.clone(),
                batch: prepared.batch,
            });
        }
        let content = Stored { passes, weights: about, biases: biases.0.len(), report: self.report.clone() };
        let mut program = Vec::new();
        ciborium::into_writer(&content, &mut program).map_err(|error| failed(error.to_string()))?;
        let len = program.len();
        stored.push(Tensor::new(
            PROGRAM.into(),
            DType::U8,
            Shape::from(vec![len]),
            None,
            Bytes::from_bytes_vec(program),
        ));
        let about = serde_json::to_string(&About { burn: BURN.into() }).map_err(|error| failed(error.to_string()))?;
        SPARSE_MODEL.save(Contents::new(stored).with(METADATA, about), Form::Safetensors, file)
    }
}

impl Loaded {
    /// Loads the sparse model of the file, without the module that it was compiled from.
    ///
    /// ```
    /// use burn::{nn::LinearConfig, tensor::{Device, Tensor}};
    /// use pruning_burn::sparse::{Options, SparseModel};
    /// use pruning_burn::store::{load, save};
    /// use pruning_burn::trace::{Trace, Values};
    ///
    /// let device = Device::flex();
    /// let model = LinearConfig::new(8, 4).init(&device);
    /// let x = Tensor::<2>::ones([1, 8], &device);
    /// let trace = Trace::record(&model, |model, scope| {
    ///     let x = scope.input(&x);
    ///     scope.output(model.forward(x));
    /// })?;
    /// let sparse = SparseModel::compile([&trace], &model, &Options::every_product())?;
    /// # let folder = tempfile::tempdir()?;
    /// # let file = folder.path().join("sparse.safetensors");
    /// save(&sparse, &file)?;
    /// let loaded = load(&file)?.into_sparse_model()?;
    /// let run = |model: &SparseModel| -> Result<_, Box<dyn std::error::Error>> {
    ///     Ok(model.run(Values::new().with(x.clone()))?.get::<2, burn::tensor::Float>(0)?.into_data())
    /// };
    /// assert_eq!(run(&loaded)?, run(&sparse)?);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// # Errors
    /// The file holds no sparse model, or its operations are those of another version of Burn.
    pub fn into_sparse_model(self) -> Result<SparseModel, StoreError> {
        self.of_kind(&SPARSE_MODEL)?;
        let Self { file, contents: Contents { tensors: stored, texts }, .. } = self;
        let name = || file.display().to_string();
        let damaged = |reason: String| StoreError::Read { file: name(), reason };
        let about = texts
            .get(METADATA)
            .ok_or_else(|| damaged("it does not say which version of Burn its operations are for".to_string()))?;
        let about: About = serde_json::from_str(about).map_err(|error| damaged(error.to_string()))?;
        if about.burn != BURN {
            let reason =
                format!("its operations are those of Burn {}, not {BURN}; compile the model again", about.burn);
            return Err(damaged(reason));
        }
        let mut by_name: BTreeMap<String, (DType, Vec<usize>, Vec<u8>)> = BTreeMap::new();
        for tensor in stored {
            let (name, dtype, shape, _, bytes) = tensor.into_parts().map_err(|error| damaged(error.to_string()))?;
            by_name.insert(name, (dtype, shape.as_slice().to_vec(), bytes.to_vec()));
        }
        let program = by_name.remove(PROGRAM).ok_or_else(|| damaged("there is no program".to_string()))?;
        let content: Stored =
            ciborium::from_reader(program.2.as_slice()).map_err(|error| damaged(error.to_string()))?;

        let mut weights = Vec::new();
        for (number, about) in content.weights.iter().enumerate() {
            let path = format!("weight.{number}");
            let prefix = format!("{path}.");
            let names: Vec<String> = by_name.keys().filter(|n| n.starts_with(&prefix)).cloned().collect();
            let mut arrays: Parts =
                names.into_iter().filter_map(|n| Some((n[prefix.len()..].to_string(), by_name.remove(&n)?))).collect();
            let found = matrix::<f32>(about.format, (about.rows, about.cols), DType::F32, &mut arrays);
            let found = found.map_err(|error| match error {
                PartsError::Part(reason) => damaged(format!("{path}: {reason}")),
                PartsError::Sparse(source) => StoreError::Sparse { file: name(), path: path.clone(), source },
            })?;
            let prepared = Prepared::new(Arc::new(found), &about.kind, about.batch);
            let refuse = |source| StoreError::Sparse { file: name(), path, source };
            weights.push(Arc::new(prepared.map_err(refuse)?));
        }
        let mut biases: Vec<Arc<[f32]>> = Vec::new();
        for number in 0..content.biases {
            let path = format!("bias.{number}");
            let (dtype, _, bytes) = by_name.remove(&path).ok_or_else(|| damaged(format!("there is no {path}")))?;
            if dtype != DType::F32 {
                return Err(damaged(format!("{path} is {dtype:?}")));
            }
            biases.push(crate::store::sparse_arrays::values_of::<f32>(&bytes).into());
        }
        let mut constants: HashMap<usize, FlexTensor> = HashMap::new();
        let mut passes = Vec::new();
        for pass in content.passes {
            let mut own = BTreeMap::new();
            for (ir, path, number) in pass.constants {
                let tensor = match constants.get(&number) {
                    Some(tensor) => tensor.clone(),
                    None => {
                        let path = format!("constant.{number}");
                        let (dtype, shape, bytes) =
                            by_name.get(&path).cloned().ok_or_else(|| damaged(format!("there is no {path}")))?;
                        let data =
                            TensorData::from_bytes(Bytes::from_bytes_vec(bytes), shape, stored_as(ir.dtype, dtype));
                        let tensor = FlexTensor::from_data(data);
                        constants.insert(number, tensor.clone());
                        tensor
                    }
                };
                if tensor.layout().shape().as_slice() != ir.shape.as_slice() {
                    return Err(damaged(format!("constant.{number} has another shape than where it is used")));
                }
                own.insert(ir.id, Constant { value: kind(&ir, tensor), ir, path });
            }
            let mut layers = Vec::new();
            for l in pass.layers {
                let absent = || damaged(format!("{} has no weights or bias", l.id));
                let weights: &Arc<Prepared> = weights.get(l.weights).ok_or_else(absent)?;
                let bias = match l.bias {
                    Some(number) => Some(biases.get(number).cloned().ok_or_else(absent)?),
                    None => None,
                };
                let activation = if l.relu { Activation::Relu } else { Activation::None };
                let layer = Layer { weights: weights.clone(), bias, activation, batch: l.batch, output: l.output };
                layers.push((l.id, layer));
            }
            let program =
                Program { operations: pass.operations, constants: own, inputs: pass.inputs, outputs: pass.outputs };
            check(&program, &layers).map_err(damaged)?;
            passes.push(Pass::new(program, layers, &[]));
        }
        Ok(SparseModel { passes, report: content.report })
    }
}

/// Returns an error unless every tensor is made before its use, and layers fit their tensors.
fn check(program: &Program, layers: &[(String, Layer)]) -> Result<(), String> {
    let mut there: HashMap<TensorId, &TensorIr> = program.inputs.iter().map(|t| (t.id, t)).collect();
    there.extend(program.constants.values().map(|c| (c.ir.id, &c.ir)));
    for op in &program.operations {
        for t in op.inputs() {
            let known = there.get(&t.id).is_some_and(|known| known.shape == t.shape && known.dtype == t.dtype);
            if !known {
                return Err(format!("{} is used before it is made, or as another shape", t.id));
            }
        }
        if let OperationIr::Custom(custom) = op {
            let layer = layers.iter().find(|(id, _)| *id == custom.id);
            let fits = layer.is_some_and(|(_, layer)| match (&custom.inputs[..], &custom.outputs[..]) {
                ([x], [out]) => {
                    let (input, output) = (x.shape.num_elements(), out.shape.num_elements());
                    let same = out.shape.as_slice() == layer.output && x.dtype == DType::F32 && out.dtype == DType::F32;
                    same && layer.fits(input, output)
                }
                _ => false,
            });
            if !fits {
                return Err(format!("{} does not fit what it is used on", custom.id));
            }
        }
        there.extend(op.outputs().map(|t| (t.id, t)));
    }
    match program.outputs.iter().find(|t| !there.contains_key(&t.id)) {
        Some(t) => Err(format!("output {} is never made", t.id)),
        None => Ok(()),
    }
}

/// Returns the type of a constant, since safetensors has one type for all bools.
fn stored_as(wanted: DType, found: DType) -> DType {
    if wanted.is_bool() && (found.is_bool() || found == DType::U8) { wanted } else { found }
}

fn tensor_of(name: String, data: TensorData) -> Tensor {
    let (bytes, shape, dtype) = data.into_parts();
    Tensor::new(name, dtype, shape, None, bytes)
}
