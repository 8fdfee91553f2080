//! All parameters of a module at one time, to rewind to and to compute with: [`Snapshot`] in memory, [`Kept`] there or on disk.

use crate::layers::first_layers;
use crate::store::StoreError;
use crate::store::contents::{Contents, Form};
use crate::store::file_header::Kind;
use crate::walk::{self, Map, Position, Visit};
use crate::{PruneError, host};
use burn::module::{Module, Param};
use burn::tensor::{Bool, Bytes, DType, Device, Tensor, TensorData};
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

const KIND: Kind = Kind { name: "snapshot", version: 1 };

/// Every float parameter by its path; running statistics are left out, since training keeps track of them anew.
#[derive(Clone, Debug, Default)]
pub(crate) struct Snapshot {
    pub(crate) values: BTreeMap<String, Stored>,
}

/// A parameter of any rank: its values in memory order, and its shape.
#[derive(Clone, Debug)]
pub(crate) struct Stored {
    pub(crate) value: Tensor<1>,
    pub(crate) shape: Vec<usize>,
}

impl Snapshot {
    pub(crate) fn of<M: Module>(module: &M) -> Self {
        let mut take = Take::default();
        walk::visit(module, &mut take);
        Self { values: take.values }
    }

    /// The module with these values: the same ids, masks and training flags.
    pub(crate) fn restore<M: Module>(&self, module: M) -> Result<M, PruneError> {
        fit(&module, self.values.iter().map(|(path, stored)| (path.as_str(), stored.shape.clone())).collect())?;
        restore(module, |path| self.values.get(path).map(|stored| Ok(stored.value.clone())))
    }

    /// The tensors of a file, each under `prefix` and its path, read from the device when the writer comes to it.
    pub(crate) fn pack(&self, prefix: &str) -> Vec<burn_pack::Tensor> {
        let pack = |(path, stored): (&String, &Stored)| {
            let Stored { value, shape } = stored.clone();
            let (dtype, len) = (value.dtype(), value.dims()[0]);
            let bytes = move || -> Result<Bytes, burn_pack::Error> { Ok(value.clone().into_data().into_parts().0) };
            burn_pack::Tensor::deferred(format!("{prefix}{path}"), dtype, shape, None, len * dtype.size(), bytes)
        };
        self.values.iter().map(pack).collect()
    }
}

/// A snapshot that a session keeps.
#[derive(Clone, Debug)]
pub(crate) enum Kept {
    Memory(Snapshot),
    File(PathBuf),
}

impl Kept {
    pub(crate) fn new(snapshot: Snapshot, file: Option<&Path>) -> Result<Self, PruneError> {
        let Some(file) = file else { return Ok(Self::Memory(snapshot)) };
        // Another kind of file is not replaced: it was named by mistake.
        if let Err(PruneError::Snapshot { source }) = open(file)
            && matches!(*source, StoreError::Kind { .. })
        {
            return Err(PruneError::Snapshot { source });
        }
        KIND.save(Contents::new(snapshot.pack("")), Form::Burnpack, file).map_err(unusable)?;
        Ok(Self::File(file.to_path_buf()))
    }

    pub(crate) fn restore<M: Module>(&self, module: M) -> Result<M, PruneError> {
        match self {
            Self::Memory(snapshot) => snapshot.restore(module),
            Self::File(file) => {
                let tensors = open(file)?;
                fit(&module, tensors.iter().map(|(p, t)| (p.as_str(), t.shape.as_slice().to_vec())).collect())?;
                let failed = |reason| unusable(StoreError::Read { file: file.display().to_string(), reason });
                let value = |path: &str| tensors.get(path).map(|tensor| read(tensor).map_err(failed));
                restore(module, value)
            }
        }
    }

    /// That the snapshot is there and belongs to a module.
    pub(crate) fn check<M: Module>(&self, module: &M) -> Result<(), PruneError> {
        let shapes: BTreeMap<String, Vec<usize>> = match self {
            Self::Memory(snapshot) => snapshot.values.iter().map(|(path, s)| (path.clone(), s.shape.clone())).collect(),
            Self::File(file) => open(file)?.into_iter().map(|(path, t)| (path, t.shape.as_slice().to_vec())).collect(),
        };
        fit(module, shapes.iter().map(|(path, shape)| (path.as_str(), shape.clone())).collect())
    }
}

fn unusable(source: StoreError) -> PruneError {
    PruneError::Snapshot { source: Box::new(source) }
}

/// The tensors of a file; their data stay there until they are asked for.
fn open(file: &Path) -> Result<BTreeMap<String, burn_pack::Tensor>, PruneError> {
    let tensors = KIND.open(file).map_err(unusable)?;
    Ok(tensors.into_iter().map(|tensor| (tensor.name.clone(), tensor)).collect())
}

fn read(tensor: &burn_pack::Tensor) -> Result<Tensor<1>, String> {
    // A copy in memory: the file may be gone before the numbers are first used.
    let bytes = Bytes::from_bytes_vec(tensor.to_bytes().map_err(|error| error.to_string())?.to_vec());
    let len = tensor.shape.num_elements();
    let data = TensorData::try_from_bytes(bytes, [len], tensor.dtype).map_err(|e| format!("{e:?}"))?;
    // In its own type: a device would make of it what it takes by default.
    Ok(Tensor::from_data(data, (&Device::default(), tensor.dtype)))
}

/// That a module has these parameters, of these shapes, and no others.
fn fit<M: Module>(module: &M, theirs: BTreeMap<&str, Vec<usize>>) -> Result<(), PruneError> {
    let ours = shapes(module);
    let missing = theirs.keys().find(|path| !ours.contains_key(**path)).map(ToString::to_string);
    // A list of numbers is what earlier versions made of every parameter.
    let fits = |theirs: &Vec<usize>, ours: &Vec<usize>| theirs == ours || *theirs == [ours.iter().product::<usize>()];
    let differs = |(path, ours): &(&String, &Vec<usize>)| !theirs.get(path.as_str()).is_some_and(|t| fits(t, ours));
    let other = ours.iter().find(differs).map(|(path, _)| path.clone());
    missing.or(other).map_or(Ok(()), |path| Err(PruneError::OtherModel { path }))
}

/// The shape of every parameter by its path; none is drawn for it.
pub(crate) fn shapes<M: Module>(module: &M) -> BTreeMap<String, Vec<usize>> {
    let mut shapes = Shapes::default();
    walk::visit(module, &mut shapes);
    shapes.found
}

fn restore<M: Module>(
    module: M,
    value: impl Fn(&str) -> Option<Result<Tensor<1>, PruneError>>,
) -> Result<M, PruneError> {
    let mut restore = Restore { value: &value, error: None };
    let module = walk::map(module, &mut restore);
    restore.error.map_or(Ok(module), Err)
}

/// Whether a parameter is one that training changes: no running statistic, and not packed into integers.
fn kept<const D: usize>(position: &Position, param: &Param<Tensor<D>>) -> bool {
    let quantized = param.is_initialized() && matches!(param.base().dtype(), DType::QFloat(_));
    !position.at_buffer() && !quantized
}

#[derive(Default)]
struct Take {
    values: BTreeMap<String, Stored>,
}

impl Visit for Take {
    fn visit_float<const D: usize>(&mut self, at: &Position, param: &Param<Tensor<D>>) {
        if kept(at, param) {
            let base = param.base();
            let shape = base.dims().to_vec();
            self.values.insert(at.path(), Stored { value: host::flat(base), shape });
        }
    }
}

#[derive(Default)]
struct Shapes {
    found: BTreeMap<String, Vec<usize>>,
}

impl Visit for Shapes {
    fn visit_float<const D: usize>(&mut self, at: &Position, param: &Param<Tensor<D>>) {
        if kept(at, param) {
            self.found.insert(at.path(), param.lazy_shape().iter().copied().collect());
        }
    }
}

struct Restore<'a, F> {
    value: &'a F,
    error: Option<PruneError>,
}

impl<F: Fn(&str) -> Option<Result<Tensor<1>, PruneError>>> Map for Restore<'_, F> {
    fn map_float<const D: usize>(&mut self, at: &Position, param: Param<Tensor<D>>) -> Param<Tensor<D>> {
        if at.at_buffer() || self.error.is_some() {
            return param;
        }
        match (self.value)(&at.path()) {
            None => param,
            Some(Err(error)) => {
                self.error = Some(error);
                param
            }
            Some(Ok(value)) => param.map(|old| {
                let value = value.to_device(&old.device().without_autodiff()).reshape(old.shape());
                if old.is_autodiff() {
                    Tensor::from_inner(value).set_require_grad(old.is_require_grad())
                } else {
                    value
                }
            }),
        }
    }
}

/// A copy with running statistics of its own, which a plain clone shares, and in the same mode.
pub(crate) fn apart<M: Module>(model: &M) -> M {
    let copy = model.valid();
    if first_layers(model).iter().any(|l| l.autodiff) { copy.train() } else { copy }
}

/// A number of all parameters, running statistics and masks: the same for the same bits at the same paths.
pub(crate) fn fingerprint<M: Module>(model: &M) -> String {
    let mut hash = Hash { state: 0xcbf2_9ce4_8422_2325 };
    walk::visit(&model.valid(), &mut hash);
    format!("{:016x}", hash.state)
}

/// FNV-1a, which stays the same from one version of Rust to the next.
struct Hash {
    state: u64,
}

impl Hash {
    fn add(&mut self, bytes: &[u8]) {
        for byte in bytes {
            self.state = (self.state ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3);
        }
    }
}

impl Visit for Hash {
    fn visit_float<const D: usize>(&mut self, at: &Position, param: &Param<Tensor<D>>) {
        let path = at.path();
        self.add(path.as_bytes());
        self.add(param.base().into_data().as_bytes());
    }

    fn visit_bool<const D: usize>(&mut self, at: &Position, param: &Param<Tensor<D, Bool>>) {
        let path = at.path();
        self.add(path.as_bytes());
        // Devices store booleans in different ways.
        let bytes: Vec<u8> = param.base().into_data().iter::<bool>().map(u8::from).collect();
        self.add(&bytes);
    }
}
