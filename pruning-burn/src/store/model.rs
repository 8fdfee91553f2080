//! How a model is stored in a file, with its masks.

use crate::PruneError;
use crate::layers::{BEFORE, MASK, layers, paths, places};
use crate::mask::attach::{foldable, put, sound, uncovered};
use crate::mask::before::misfit;
use crate::mask::rebuild::covered;
use crate::store::contents::{Contents, Form, loaded, tensors_of};
use crate::store::file_header::MODEL;
#[cfg(feature = "sparse")]
use crate::store::{FileKind, compact};
use crate::store::{Integrity, Loaded, SNAPSHOT, Save, StoreError};
use burn::module::Module;
use burn::tensor::{DType, Device, Int};
use burn_pack::Tensor;
use pruning_core::mask::Bits;
use std::collections::BTreeMap;
use std::path::Path;

/// Saves a model with its masks. Burn's own `save_file` can save a finished model too, but writes no checksum.
impl<M: Module> Save for &M {
    type Report = ();

    fn save_to(self, file: &Path) -> Result<(), StoreError> {
        MODEL.save(model_contents(self, file)?, Form::Burnpack, file)
    }
}

/// The tensors of a model, masks among them.
pub(crate) fn model_contents<M: Module>(model: &M, file: &Path) -> Result<Contents, StoreError> {
    let failed = |reason: String| StoreError::Write { file: file.display().to_string(), reason };
    Ok(Contents::new(tensors_of(model).map_err(failed)?))
}

impl Loaded {
    /// Loads the model of the file into a freshly built module of the same sizes, with its masks.
    ///
    /// It also loads the model of a session or of a compact file, and a model that Burn saved.
    ///
    /// ```
    /// # use burn::{nn::LinearConfig, tensor::Device};
    /// # use {pruning_allocation as _, pruning_magnitude as _};
    /// use pruning_burn::prelude::*;
    /// # let (device, folder) = (Device::flex(), tempfile::tempdir()?);
    /// # let file = folder.path().join("model.bpk");
    /// let mut model = LinearConfig::new(20, 10).init(&device);
    /// Pruner::from_toml("sparsity = 0.9\ncriterion = \"magnitude\"", &Plugins::linked())?.prune(&mut model, None)?;
    /// save(&model, &file)?;
    ///
    /// let mut loaded = LinearConfig::new(20, 10).init(&device);
    /// load(&file)?.into_model(&mut loaded)?;
    /// assert_eq!(masks(&loaded), masks(&model));
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// # Errors
    /// The file holds no model, or one that does not fit the module. The model is unchanged.
    pub fn into_model<M: Module>(self, model: &mut M) -> Result<Integrity, StoreError> {
        let integrity = self.integrity();
        #[cfg(feature = "sparse")]
        if self.kind() == FileKind::CompactModel {
            *model = compact::read(self, model)?;
            return Ok(integrity);
        }
        self.of_kind(&MODEL)?;
        *model = read_model(model, self.contents.tensors, &self.file)?.model;
        Ok(integrity)
    }
}

/// What a file gave for a module.
pub(crate) struct Read<M> {
    pub(crate) model: M,
    /// The tensors of a session's snapshot, by the paths of their parameters.
    pub(crate) snapshot: Vec<(String, Tensor)>,
}

/// Puts the tensors of a file into a module: attaches the masks that the file has, then loads it all.
pub(crate) fn read_model<M: Module>(model: &M, tensors: Vec<Tensor>, file: &Path) -> Result<Read<M>, StoreError> {
    let name = || file.display().to_string();
    let mut snapshot = Vec::new();
    let mut record = Vec::with_capacity(tensors.len());
    let (mut masks, mut before) = (Vec::new(), BTreeMap::new());
    for tensor in tensors {
        if let Some(path) = tensor.name.strip_prefix(SNAPSHOT) {
            snapshot.push((path.to_string(), tensor));
        } else {
            if let Some(path) = tensor.name.strip_suffix(&format!(".{}", MASK.join("."))) {
                masks.push((path.to_string(), tensor.shape.num_elements()));
            }
            if let Some(path) = tensor.name.strip_suffix(&format!(".{}", BEFORE.join("."))) {
                before.insert(path.to_string(), tensor.shape.num_elements());
            }
            record.push(tensor);
        }
    }
    let unfit = |source: PruneError| StoreError::Prune { file: name(), source };
    let all = layers(model).map_err(|error| unfit(error.into()))?;
    let places = places(&all);
    let mut open = Vec::new();
    for (path, found) in masks {
        let index = match places.get(path.as_str()) {
            Some(&index) if all[index].path == path => index,
            Some(_) => continue,
            None => {
                let source = PruneError::UnknownParameter { path, paths: paths(&all) };
                return Err(StoreError::Prune { file: name(), source });
            }
        };
        let expected = all[index].layout.len();
        if found != expected {
            return Err(StoreError::MaskLength { file: name(), path, expected, found });
        }
        if let Some(carried) = all[index].foreign() {
            let source = PruneError::Reparameterized { path, name: carried.clone() };
            return Err(StoreError::Prune { file: name(), source });
        }
        if all[index].keep.is_none() {
            open.push((index, Bits::ones(expected)));
        }
    }
    // A mask takes the weights from before a reconstruction along only from the start.
    let masked = if before.is_empty() && all.iter().all(|layer| layer.before.is_none()) {
        put(model, &all, open).map_err(unfit)?
    } else {
        foldable(&all).map_err(unfit)?;
        let carrying = (0..all.len()).filter(|&i| all[i].keep.is_some()).map(|i| (i, Bits::ones(all[i].layout.len())));
        let words = |(path, len): (String, usize)| {
            (path, burn::tensor::Tensor::<1, Int>::zeros([len], (&Device::default(), DType::I32)))
        };
        let before = before.into_iter().map(words).collect();
        covered(uncovered(model, &all), &all, &open.into_iter().chain(carrying).collect(), &before)
    };
    let loaded = loaded(masked, record, file)?;
    sound(&loaded).map_err(unfit)?;
    let all = layers(&loaded).map_err(|error| unfit(error.into()))?;
    if let Some((path, expected, found)) = misfit(&loaded, &all) {
        return Err(StoreError::MaskLength { file: name(), path, expected, found });
    }
    Ok(Read { model: loaded, snapshot })
}
