//! Small files of pruned models, which other programs can read too: [`Compact`].

use crate::layers::{first_layers, names, places};
use crate::mask::attach::finish;
use crate::store::contents::{Contents, Form, loaded, tensors_of};
use crate::store::file_header::COMPACT;
use crate::store::sparse_arrays::{Parts, PartsError, bytes_of, matrix, parts, tensors, values_of};
use crate::store::{Loaded, Save, StoreError};
use burn::module::Module;
use burn::tensor::{Bytes, DType, Shape, bf16, f16};
use burn_pack::Tensor;
use comfy_table::{Cell, CellAlignment, Table, presets};
use pruning_core::score::MatrixLayout;
use pruning_sparse::{Dense, Element, Format, Sparse, smallest};
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, HashMap};
use std::fmt;
use std::path::Path;

const METADATA: &str = "pruning.compact";

/// Descriptions of the tensors in sparse formats.
#[derive(Debug, Serialize, Deserialize)]
struct Stored {
    tensors: BTreeMap<String, Entry>,
}

/// A tensor in a sparse format.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
struct Entry {
    format: Format,
    /// Shape of the tensor.
    shape: Vec<usize>,
    /// Size of the matrix, which holds all elements of the tensor in their order.
    rows: usize,
    cols: usize,
    /// Whether the tensor has the rows of the matrix along its second axis, as weights of linear layers and of transposed convolutions do.
    transposed: bool,
}

/// The report on one tensor of a compact file.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct CompactTensor {
    /// Name of the tensor.
    pub path: String,
    /// Format in which the tensor is stored.
    pub format: Format,
    /// Fraction of elements that are zero.
    pub sparsity: f64,
    /// Bytes of all elements, zeros included.
    pub dense: u64,
    /// Bytes that the tensor takes in the file.
    pub bytes: u64,
}

/// A report on the size of a compact file, tensor by tensor.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct CompactReport {
    /// All tensors, sorted by name.
    pub tensors: Vec<CompactTensor>,
    /// Bytes of the file.
    pub file: u64,
}

impl CompactReport {
    /// Returns the bytes that all tensors take with their zeros.
    #[must_use]
    pub fn dense(&self) -> u64 {
        self.tensors.iter().map(|t| t.dense).sum()
    }

    /// Returns the bytes of the file divided by the bytes of all tensors with their zeros.
    #[must_use]
    pub fn ratio(&self) -> f64 {
        self.file as f64 / self.dense().max(1) as f64
    }
}

impl fmt::Display for CompactReport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut table = Table::new();
        table.load_style(presets::UTF8_HORIZONTAL_ONLY);
        table.set_header(["tensor", "zeros", "format", "dense, bytes", "compact, bytes"]);
        let right = |text: String| Cell::new(text).set_alignment(CellAlignment::Right);
        for t in &self.tensors {
            let zeros = right(format!("{:.1} %", 100.0 * t.sparsity));
            let format = Cell::new(format!("{:?}", t.format).to_lowercase());
            table.add_row([Cell::new(&t.path), zeros, format, right(t.dense.to_string()), right(t.bytes.to_string())]);
        }
        writeln!(f, "{table}")?;
        write!(f, "{} bytes dense, a file of {} bytes ({:.3})", self.dense(), self.file, self.ratio())
    }
}

/// A wrapper by which [`save`](crate::store::save) writes a model in sparse formats: `save(Compact(&model), file)`.
///
/// The file is safetensors, and every float tensor of two or more dimensions has the format that takes the fewest bytes (see [`smallest`]).
/// Masks are folded in first.
///
/// ```
/// # use burn::{nn::LinearConfig, tensor::Device};
/// # use {pruning_allocation as _, pruning_magnitude as _};
/// use pruning_burn::{prelude::*, store::Compact};
/// # let (device, folder) = (Device::flex(), tempfile::tempdir()?);
/// # let file = folder.path().join("compact.safetensors");
/// let mut model = LinearConfig::new(200, 100).init(&device);
/// Pruner::from_toml("sparsity = 0.9\ncriterion = \"magnitude\"", &Plugins::linked())?.prune(&mut model, None)?;
/// let report = save(Compact(&model), &file)?;
/// assert!(report.ratio() < 0.2);
///
/// let mut loaded = LinearConfig::new(200, 100).init(&device);
/// load(&file)?.into_model(&mut loaded)?;
/// finish(&mut model)?;
/// assert_eq!(loaded.weight.val().into_data(), model.weight.val().into_data());
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
///
/// A tensor `p` that stays dense is stored under its name. The arrays of any other are `p.values` and
///
/// | format | arrays |
/// |---|---|
/// | `coo` | `p.rows`, `p.columns` |
/// | `csr16`, `csr32` | `p.starts` (of each row, and the number of values), `p.columns` |
/// | `bitmap` | `p.bits` `[rows, ceil(cols / 16)]`, column `c` is bit `c % 16` of word `c / 16` |
/// | `packed` | `p.positions`, each of `ceil(log2 m)` bits, the first in the lowest bits of a row's 32-bit words; `p.values` `[rows, n cols / m]`; group `g` has the columns `(g / kernel * m + position) * kernel + g % kernel` |
/// | `blocks` | `p.starts`, `p.columns` (of blocks), `p.values` `[blocks, height, width]` |
///
/// The metadata `pruning.compact` is JSON: under `tensors`, for each such tensor `format`, `shape`, `rows`, `cols`, and whether
/// it is the matrix `transposed` (weights of linear layers and transposed convolutions are, so that the fan-in is along the columns: a
/// tensor `[a, b, rest]` is then a matrix of `b` rows, each `[a, rest]`). The metadata `pruning.file` names the version, and the CRC-32 of the
/// file with zeros in place of its digits. `examples/read_compact.py` reads such files with NumPy.
///
/// Saving fails if a parameter carries a reparameterization of another kind, or the file cannot be written.
#[derive(Clone, Copy, Debug)]
pub struct Compact<'a, M>(pub &'a M);

impl<M: Module> Save for Compact<'_, M> {
    type Report = CompactReport;

    fn save_to(self, file: &Path) -> Result<CompactReport, StoreError> {
        write(self.0, file)
    }
}

fn write<M: Module>(model: &M, file: &Path) -> Result<CompactReport, StoreError> {
    let name = || file.display().to_string();
    let failed = |reason: String| StoreError::Write { file: name(), reason };
    let mut plain = model.clone();
    if let Some((layer, name)) = first_layers(model).iter().find_map(|l| Some((l.path.clone(), l.foreign()?.clone()))) {
        let source = crate::PruneError::Reparameterized { path: layer, name };
        return Err(StoreError::Prune { file: file.display().to_string(), source });
    }
    if first_layers(model).iter().any(|l| l.keep.is_some()) {
        finish(&mut plain).map_err(|source| StoreError::Prune { file: name(), source })?;
    }
    let record = tensors_of(&plain).map_err(failed)?;
    let all = first_layers(&plain);
    let layouts: HashMap<&String, MatrixLayout> =
        all.iter().flat_map(|l| names(l).map(|name| (name, l.layout))).collect();
    let mut compact = CompactTensors::new();
    for tensor in record {
        // A running statistic has no layer.
        let layout = layouts.get(&tensor.name).copied();
        compact.add(tensor, layout).map_err(failed)?;
    }
    compact.save_to(file)
}

/// Tensors of no module for a compact file, such as those of a checkpoint: `save(tensors, file)`.
///
/// ```
/// use burn::tensor::{Bytes, DType};
/// use pruning_burn::store::{CompactTensors, load, save};
/// # let folder = tempfile::tempdir()?;
/// # let file = folder.path().join("compact.safetensors");
/// let bytes = Bytes::from_bytes_vec(vec![0; 4 * 1000]);
/// let mut tensors = CompactTensors::new();
/// tensors.add(burn_pack::Tensor::new("zeros".to_string(), DType::F32, [10, 100], None, bytes.clone()), None)?;
/// let report = save(tensors.with_text("made by", "hand"), &file)?;
/// assert!(report.tensors[0].bytes < 100);
/// let (loaded, texts) = load(&file)?.into_tensors(1 << 20)?;
/// assert_eq!((loaded[0].to_bytes()?, texts["made by"].as_str()), (bytes, "hand"));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug, Default)]
pub struct CompactTensors {
    stored: Vec<Tensor>,
    entries: BTreeMap<String, Entry>,
    report: Vec<CompactTensor>,
    texts: BTreeMap<String, String>,
}

impl CompactTensors {
    /// Creates an empty list.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds a text to the file.
    #[must_use]
    pub fn with_text(mut self, name: &str, text: impl Into<String>) -> Self {
        self.texts.insert(name.to_string(), text.into());
        self
    }

    /// Adds a tensor, in the format that takes the fewest bytes for the matrix view of its layout; without one, its first axis counts as
    /// rows.
    ///
    /// # Errors
    /// The bytes of the tensor cannot be read; the error says why.
    pub fn add(&mut self, tensor: Tensor, layout: Option<MatrixLayout>) -> Result<(), String> {
        let (path, dtype, shape, _, bytes) = tensor.into_parts().map_err(|error| error.to_string())?;
        let (turned, kernel) = layout.map_or((false, 1), |l| (l.outer() > 1 && l.inner() == l.kernel(), l.kernel()));
        let found = match dtype {
            DType::F32 => compact::<f32>(&bytes, dtype, shape.as_slice(), turned, kernel),
            DType::F16 => compact::<f16>(&bytes, dtype, shape.as_slice(), turned, kernel),
            DType::BF16 => compact::<bf16>(&bytes, dtype, shape.as_slice(), turned, kernel),
            _ => None,
        };
        let dense = bytes.len() as u64;
        let (format, sparsity, size) = match found {
            Some((entry, sparsity, parts)) => {
                let size = parts.values().map(|(_, _, bytes)| bytes.len() as u64).sum();
                self.stored.extend(tensors(&path, parts));
                let format = entry.format;
                self.entries.insert(path.clone(), entry);
                (format, sparsity, size)
            }
            None => {
                self.stored.push(Tensor::new(path.clone(), dtype, shape, None, bytes));
                (Format::Dense, 0.0, dense)
            }
        };
        self.report.push(CompactTensor { path, format, sparsity, dense, bytes: size });
        Ok(())
    }
}

impl Save for CompactTensors {
    type Report = CompactReport;

    fn save_to(mut self, file: &Path) -> Result<CompactReport, StoreError> {
        let failed = |reason: String| StoreError::Write { file: file.display().to_string(), reason };
        self.report.sort_by(|a, b| a.path.cmp(&b.path));
        let text =
            serde_json::to_string(&Stored { tensors: self.entries }).map_err(|error| failed(error.to_string()))?;
        let mut contents = Contents::new(self.stored);
        contents.texts = self.texts;
        COMPACT.save(contents.with(METADATA, text), Form::Safetensors, file)?;
        let file = std::fs::metadata(file).map_err(|error| failed(error.to_string()))?.len();
        Ok(CompactReport { tensors: self.report, file })
    }
}

impl Loaded {
    /// Returns the tensors of a compact file with their zeros, by name, and its texts, for those who have no module to load it into.
    ///
    /// Sparse formats can say that a few bytes are any number of zeros, so the tensors may take at most `limit` bytes together.
    /// [`CompactTensors`] has an example.
    ///
    /// # Errors
    /// The file is of another kind, its arrays are no matrices, or the tensors would take more than `limit` bytes.
    pub fn into_tensors(self, limit: u64) -> Result<(Vec<Tensor>, BTreeMap<String, String>), StoreError> {
        self.of_kind(&COMPACT)?;
        let name = self.name();
        let Contents { tensors, texts } = self.contents;
        let (tensors, entries, mut arrays) = split(tensors, &texts, &name)?;
        // No element takes more than four bytes.
        let size = |entry: &Entry| entry.shape.iter().try_fold(4u64, |all, &len| all.checked_mul(len as u64));
        let all = entries.values().map(size).try_fold(0u64, |all, size| all.checked_add(size?));
        if all.is_none_or(|all| all > limit) {
            let reason = format!("its tensors would take more than {limit} bytes");
            return Err(StoreError::Read { file: name, reason });
        }
        let mut all = tensors;
        for (path, entry) in entries {
            all.push(restored(&path, &entry, arrays.remove(&path).unwrap_or_default(), &name)?);
        }
        all.sort_by(|a, b| a.name.cmp(&b.name));
        Ok((all, texts))
    }
}

/// Dense tensors, descriptions of the sparse ones, and the arrays of those.
type SplitContents = (Vec<Tensor>, BTreeMap<String, Entry>, BTreeMap<String, Parts>);

/// Tells the tensors of a compact file from the arrays of others.
fn split(stored: Vec<Tensor>, texts: &BTreeMap<String, String>, file: &str) -> Result<SplitContents, StoreError> {
    let damaged = |reason: String| StoreError::Read { file: file.to_string(), reason };
    let text = texts.get(METADATA).ok_or_else(|| damaged("it does not say how tensors are stored".to_string()))?;
    let content: Stored = serde_json::from_str(text).map_err(|error| damaged(error.to_string()))?;
    let (mut arrays, mut dense) = (BTreeMap::<String, Parts>::new(), Vec::new());
    for tensor in stored {
        let owner = tensor.name.rsplit_once('.').filter(|(path, _)| content.tensors.contains_key(*path));
        let Some((path, part)) = owner.map(|(path, part)| (path.to_string(), part.to_string())) else {
            dense.push(tensor);
            continue;
        };
        let (_, dtype, shape, _, bytes) = tensor.into_parts().map_err(|error| damaged(error.to_string()))?;
        arrays.entry(path).or_default().insert(part, (dtype, shape.as_slice().to_vec(), bytes.to_vec()));
    }
    Ok((dense, content.tensors, arrays))
}

/// A tensor with its zeros, of its arrays.
fn restored(path: &str, entry: &Entry, mut parts: Parts, file: &str) -> Result<Tensor, StoreError> {
    let dtype = parts.get("values").map_or(DType::F32, |v| v.0);
    let bytes = match dtype {
        DType::F16 => whole::<f16>(entry, dtype, &mut parts),
        DType::BF16 => whole::<bf16>(entry, dtype, &mut parts),
        _ => whole::<f32>(entry, DType::F32, &mut parts),
    };
    let bytes = bytes.map_err(|error| match error {
        PartsError::Part(reason) => StoreError::Read { file: file.to_string(), reason: format!("{path}: {reason}") },
        PartsError::Sparse(source) => StoreError::Sparse { file: file.to_string(), path: path.to_string(), source },
    })?;
    let shape = Shape::from(entry.shape.clone());
    Ok(Tensor::new(path.to_string(), dtype, shape, None, Bytes::from_bytes_vec(bytes)))
}

/// The module with the values of a compact file, bit for bit.
pub(super) fn read<M: Module>(file: Loaded, model: &M) -> Result<M, StoreError> {
    file.of_kind(&COMPACT)?;
    let Contents { tensors: stored, texts } = file.contents;
    let path_of_file = file.file.as_path();
    let name = path_of_file.display().to_string();
    let (mut record, entries, mut arrays) = split(stored, &texts, &name)?;
    let all = first_layers(model);
    let places = places(&all);
    for (path, entry) in &entries {
        // Before memory is taken for what the file says.
        let known = places.get(path.as_str()).map(|&place| &all[place]);
        if known.is_none_or(|l| l.shape != entry.shape) {
            let found = known.map_or("none".to_string(), |l| format!("{:?}", l.shape));
            let reason = format!("{path} has shape {:?} in the file, {found} in the module", entry.shape);
            return Err(StoreError::Misfit { file: name, reason });
        }
        record.push(restored(path, entry, arrays.remove(path).unwrap_or_default(), &name)?);
    }
    loaded(model.clone(), record, path_of_file)
}

/// A tensor in its smallest format, and its sparsity; none if that is dense.
fn compact<T: Element>(
    bytes: &[u8],
    dtype: DType,
    shape: &[usize],
    turned: bool,
    kernel: usize,
) -> Option<(Entry, f64, Parts)> {
    let [first, rest @ ..] = shape else { return None };
    let values = values_of::<T>(bytes);
    if rest.is_empty() || values.is_empty() {
        return None;
    }
    let (rows, cols, values) = if turned {
        (rest[0], values.len() / rest[0], turn(&values, *first, rest[0]))
    } else {
        (*first, rest.iter().product(), values)
    };
    let dense = Dense::new(rows, cols, values).ok()?;
    let format = smallest(&dense, kernel);
    if format == Format::Dense {
        return None;
    }
    let sparsity = 1.0 - dense.nonzeros() as f64 / (rows * cols) as f64;
    let arrays = parts(&Sparse::from_dense(&dense, format).ok()?, dtype);
    Some((Entry { format, shape: shape.to_vec(), rows, cols, transposed: turned }, sparsity, arrays))
}

/// The bytes of a tensor with its zeros.
fn whole<T: Element>(entry: &Entry, dtype: DType, parts: &mut Parts) -> Result<Vec<u8>, PartsError> {
    let len = entry.shape.iter().try_fold(1usize, |all, &len| all.checked_mul(len));
    if len.is_none() || len != entry.rows.checked_mul(entry.cols) {
        let (shape, rows, cols) = (&entry.shape, entry.rows, entry.cols);
        return Err(PartsError::Part(format!("a matrix of {rows} x {cols} for a tensor of shape {shape:?}")));
    }
    if entry.transposed && entry.shape.get(1) != Some(&entry.rows) {
        let (shape, rows) = (&entry.shape, entry.rows);
        return Err(PartsError::Part(format!("a transposed matrix of {rows} rows for a tensor of shape {shape:?}")));
    }
    let dense = matrix::<T>(entry.format, (entry.rows, entry.cols), dtype, parts)?.to_dense();
    let values = dense.values();
    let turned = entry.transposed.then(|| turn(values, entry.rows, entry.shape.first().copied().unwrap_or(1)));
    Ok(turned.map_or_else(|| bytes_of(values), |turned| bytes_of(&turned)))
}

/// `[rows, cols, rest]` as `[cols, rows, rest]`.
fn turn<T: Element>(values: &[T], rows: usize, cols: usize) -> Vec<T> {
    let rest = values.len() / (rows * cols).max(1);
    let run = |row: usize, col: usize| &values[(row * cols + col) * rest..][..rest];
    (0..cols).flat_map(|col| (0..rows).flat_map(move |row| run(row, col))).copied().collect()
}
