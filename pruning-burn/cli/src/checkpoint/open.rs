//! The opening of a checkpoint, whatever its container is: [`open`].

use crate::checkpoint::burnpack::Pack;
use crate::checkpoint::layer::{KINDS, Layout, Shapes, contradiction, kind, layout};
use crate::checkpoint::pytorch;
use crate::checkpoint::safetensors::Shard;
use crate::checkpoint::shards::{Shards, in_folder};
use crate::checkpoint::tensor::TensorEntry;
use crate::error::CommandError;
use burn_store::pytorch_reader;
use pruning_burn::recipe::Pattern;
use pruning_core::caught;
use std::collections::BTreeMap;
use std::fs::File;
use std::io::Read;
use std::path::{Path, PathBuf};

/// What the caller knows of a checkpoint better than its names and shapes tell it.
#[derive(Clone, Debug, Default)]
#[non_exhaustive]
pub struct Options {
    /// The layout of weights of linear layers; told by the file otherwise.
    pub layout: Option<Layout>,
    /// Patterns of tensors, with Burn's name for the type of their layer.
    pub kinds: Vec<(String, String)>,
}

impl Options {
    /// Sets the layout of weights of linear layers.
    #[must_use]
    pub fn with_layout(mut self, layout: Layout) -> Self {
        self.layout = Some(layout);
        self
    }

    /// Sets the type of the layer of all tensors that match a pattern, such as `h.*.c_attn` and `Linear`.
    #[must_use]
    pub fn with_kind(mut self, pattern: impl Into<String>, kind: impl Into<String>) -> Self {
        self.kinds.push((pattern.into(), kind.into()));
        self
    }
}

/// The files of a checkpoint.
#[derive(Debug)]
pub(crate) struct Source {
    file: PathBuf,
    pub(crate) container: Container,
    /// For each tensor the shard and the place in it, in safetensors.
    places: Vec<(usize, u64)>,
}

#[derive(Debug)]
pub(crate) enum Container {
    Safetensors(Box<Shard>),
    Shards(Shards),
    Pytorch(Vec<pytorch_reader::Tensor>),
    Burnpack(Pack),
}

impl Source {
    pub(crate) fn name(&self) -> &'static str {
        match &self.container {
            Container::Safetensors(_) => "safetensors",
            Container::Shards(_) => "sharded safetensors",
            Container::Pytorch(_) => "pytorch",
            Container::Burnpack(_) => "burnpack",
        }
    }

    pub(crate) fn file(&self) -> &Path {
        &self.file
    }

    /// The shards under an index.
    pub(crate) fn shards(&self) -> &[Shard] {
        if let Container::Shards(shards) = &self.container { &shards.shards } else { &[] }
    }

    /// The index of the shard of a tensor.
    pub(crate) fn shard_of(&self, index: usize) -> usize {
        self.places.get(index).map_or(0, |place| place.0)
    }

    /// The texts of the file.
    pub(crate) fn texts(&self) -> &BTreeMap<String, String> {
        static NONE: BTreeMap<String, String> = BTreeMap::new();
        match &self.container {
            Container::Safetensors(shard) => &shard.metadata,
            Container::Shards(shards) => shards.shards.first().map_or(&NONE, |shard| &shard.metadata),
            Container::Pytorch(_) => &NONE,
            Container::Burnpack(pack) => &pack.texts,
        }
    }

    pub(crate) fn read(&self, index: usize, tensor: &TensorEntry) -> Result<Vec<u8>, CommandError> {
        let in_shard = |shard: &Shard| {
            let bytes = shard.read(self.places[index].1, tensor.bytes);
            bytes.map_err(|error| CommandError::tensor(&shard.path, &tensor.name, error))
        };
        let failed = |reason: String| CommandError::tensor(&self.file, &tensor.name, reason);
        match &self.container {
            Container::Safetensors(shard) => in_shard(shard),
            Container::Shards(shards) => in_shard(&shards.shards[self.places[index].0]),
            Container::Pytorch(tensors) => {
                let read = caught(|| tensors[index].read()).map_err(failed)?;
                read.map_err(|error| failed(error.to_string()))
            }
            Container::Burnpack(pack) => caught(|| pack.tensors[index].read()).and_then(|read| read).map_err(failed),
        }
    }
}

/// The files, the tensors, the layout, and what a user should know.
pub(crate) type Opened = (Source, Vec<TensorEntry>, Layout, Option<String>);

/// Opens a checkpoint, and tells its layout and its layers.
pub(crate) fn open(path: &Path, options: &Options) -> Result<Opened, CommandError> {
    let file = if path.is_dir() { in_folder(path)? } else { path.to_path_buf() };
    let (container, mut tensors, places) = contents(&file)?;
    let source = Source { file, container, places };
    // Everything else multiplies the axes of a shape without a look.
    let overflows = |tensor: &&TensorEntry| {
        let mut axes = tensor.shape.iter().filter(|len| **len > 0);
        axes.try_fold(8usize, |all, &len| all.checked_mul(len)).is_none()
    };
    if let Some(tensor) = tensors.iter().find(overflows) {
        let reason = format!("its shape {:?} overflows", tensor.shape);
        return Err(CommandError::tensor(path, &tensor.name, reason));
    }
    if let Some(what) = source.texts().keys().find_map(|text| OURS.iter().find(|(ours, _)| ours == text)) {
        return Err(CommandError::file(path, what.1));
    }
    let told = || match source.container {
        Container::Burnpack(_) => Layout::Burn,
        _ => layout(&tensors, source.texts()).unwrap_or(Layout::Pytorch),
    };
    let layout = options.layout.unwrap_or_else(told);
    let doubt = options.layout.is_none() && !matches!(source.container, Container::Burnpack(_));
    let note = if doubt { contradiction(&tensors) } else { None };
    let shapes: Shapes<'_> = tensors.iter().map(|tensor| (tensor.name.as_str(), tensor.shape.as_slice())).collect();
    let mut kinds: Vec<String> = tensors.iter().map(|tensor| kind(&tensor.name, &shapes).to_string()).collect();
    for (pattern, kind) in &options.kinds {
        if !KINDS.contains(&kind.as_str()) {
            let (kind, all) = (pruning_burn::shown::name(kind), KINDS.join(", "));
            return Err(CommandError::Usage(format!(
                "--kind {pattern}={kind}: there is no such type; there are: {all}"
            )));
        }
        let matcher = Pattern::new(pattern);
        let matching: Vec<_> = (0..tensors.len()).filter(|&i| matcher.matches(&tensors[i].name).is_some()).collect();
        if matching.is_empty() {
            let (pattern, names) = (pruning_burn::shown::name(pattern), tensors.iter().map(|tensor| &tensor.name));
            let names = pruning_burn::shown::list(names);
            return Err(CommandError::file(path, format!("--kind {pattern} matches no tensor; there are: {names}")));
        }
        matching.into_iter().for_each(|i| kinds[i].clone_from(kind));
    }
    for (tensor, kind) in tensors.iter_mut().zip(kinds) {
        let weight = tensor.name == "weight" || tensor.name.ends_with(".weight");
        tensor.turned = layout == Layout::Pytorch && kind == "Linear" && weight && tensor.shape.len() == 2;
        tensor.kind = kind;
    }
    Ok((source, tensors, layout, note))
}

/// Files in safetensors format that are no checkpoints.
const OURS: [(&str, &str); 3] = [
    ("pruning.compact", "is a compact file; `burn-prune expand` makes a checkpoint of it"),
    ("pruning.sparse_model", "is a sparse model, which programs load with pruning-burn"),
    ("pruning.calibration", "is a calibration, which goes with --calibration"),
];

type Contents = (Container, Vec<TensorEntry>, Vec<(usize, u64)>);

/// What a file holds, by its first bytes and its name.
fn contents(file: &Path) -> Result<Contents, CommandError> {
    let mut first = Vec::new();
    // A pipe would wait for someone to write, and cannot be read twice.
    let found = std::fs::metadata(file).map_err(|error| CommandError::file(file, error))?;
    if !found.is_file() {
        return Err(CommandError::file(file, "is no file that can be read at any place"));
    }
    let read = File::open(file).and_then(|open| open.take(64).read_to_end(&mut first));
    read.map_err(|error| CommandError::file(file, error))?;
    let named = |end: &str| file.extension().is_some_and(|extension| extension.eq_ignore_ascii_case(end));
    if first.starts_with(b"version https://git-lfs") {
        return Err(CommandError::file(file, "is a pointer of Git LFS and not the file itself: run `git lfs pull`"));
    }
    if first.starts_with(&burn_pack::MAGIC_NUMBER.to_le_bytes()) {
        let (pack, tensors) = Pack::open(file)?;
        return Ok((Container::Burnpack(pack), tensors, Vec::new()));
    }
    if named("json") {
        let (shards, found) = Shards::open(file)?;
        let (tensors, places) = found.into_iter().unzip();
        return Ok((Container::Shards(shards), tensors, places));
    }
    let torch = first.starts_with(b"PK\x03\x04");
    let header = first.len() > 8 && first[8] == b'{' && first[5..8] == [0; 3];
    if header || (named("safetensors") && !torch) {
        let (shard, found) = Shard::open(file)?;
        let (tensors, places) = found.into_iter().map(|(tensor, start)| (tensor, (0, start))).unzip();
        return Ok((Container::Safetensors(Box::new(shard)), tensors, places));
    }
    let (tensors, entries) = pytorch::open(file)?;
    Ok((Container::Pytorch(tensors), entries, Vec::new()))
}
