//! The files of calibrations: sums as arrays of doubles, in safetensors.

use crate::calibrate::Calibration;
use crate::calibrate::calibration::{COLLECTED, Inner, Reader};
use crate::calibrate::sums::Sums;
use crate::fingerprint::Fingerprint;
use crate::score::Needs;
use crate::store::contents::{Contents, Form};
use crate::store::file_header::CALIBRATION;
use crate::store::{Loaded, Save, StoreError};
use burn::tensor::{DType, TensorData};
use burn_pack::Tensor;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;

const METADATA: &str = "pruning.calibration";

#[derive(Serialize, Deserialize)]
struct About {
    needs: Vec<String>,
    batches: u64,
    model: Fingerprint,
    first: BTreeMap<String, String>,
    skipped: BTreeMap<String, String>,
    /// The arrays of an entry are `NUMBER.NAME`, by its number here.
    entries: Vec<Entry>,
}

#[derive(Serialize, Deserialize)]
struct Entry {
    readers: Vec<Reader>,
    rows: f64,
    examples: f64,
}

/// Saves a calibration as a safetensors file: the sums as `f64`, and what they are of in a text.
impl Save for &Calibration {
    type Report = ();

    fn save_to(self, file: &Path) -> Result<(), StoreError> {
        let failed = |reason: String| StoreError::Write { file: file.display().to_string(), reason };
        let (mut tensors, mut entries) = (Vec::new(), Vec::new());
        for (number, (readers, sums)) in self.inner.entries.iter().enumerate() {
            for (name, array) in &sums.arrays {
                let (bytes, shape, dtype) = TensorData::new(array.clone(), [array.len()]).into_parts();
                tensors.push(Tensor::new(format!("{number}.{name}"), dtype, shape, None, bytes));
            }
            entries.push(Entry { readers: readers.clone(), rows: sums.rows, examples: sums.examples });
        }
        let about = About {
            needs: self.inner.needs.iter().map(|need| need.name().to_string()).collect(),
            batches: self.inner.batches,
            model: self.inner.model.clone(),
            first: self.inner.first.clone(),
            skipped: self.inner.skipped.clone(),
            entries,
        };
        let about = serde_json::to_string(&about).map_err(|error| failed(error.to_string()))?;
        CALIBRATION.save(Contents::new(tensors).with(METADATA, about), Form::Safetensors, file)
    }
}

impl Loaded {
    /// Returns the calibration of the file.
    ///
    /// ```
    /// # use burn::{nn::{Linear, LinearConfig}, tensor::{Device, Tensor}};
    /// # use pruning_burn::{calibrate::Calibration, score::Need, store::{load, save}, trace::Scope};
    /// # let (device, folder) = (Device::flex(), tempfile::tempdir()?);
    /// # let file = folder.path().join("calibration.safetensors");
    /// # let model = LinearConfig::new(2, 3).init(&device);
    /// # let batches = [Tensor::<2>::ones([4, 2], &device)];
    /// let calibration = Calibration::collect(&model, Need::INPUT_GRAM, &batches, |model: &Linear, batch, scope: &mut Scope| {
    ///     let x = scope.input(batch);
    ///     scope.output(model.forward(x));
    /// })?;
    /// save(&calibration, &file)?;
    /// let loaded = load(&file)?.into_calibration()?;
    /// assert_eq!(loaded.values(Need::INPUT_GRAM, "weight"), calibration.values(Need::INPUT_GRAM, "weight"));
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// # Errors
    /// The file is of another kind, or what it holds is no calibration.
    pub fn into_calibration(self) -> Result<Calibration, StoreError> {
        self.of_kind(&CALIBRATION)?;
        let file = self.name();
        read(self.contents).map_err(|reason| StoreError::Read { file, reason })
    }
}

fn read(contents: Contents) -> Result<Calibration, String> {
    let about = contents.texts.get(METADATA).ok_or(format!("it has no text {METADATA}"))?;
    let about: About = serde_json::from_str(about).map_err(|error| error.to_string())?;
    let mut inner = Inner {
        needs: Needs::none(),
        batches: about.batches,
        model: about.model,
        entries: BTreeMap::new(),
        skipped: about.skipped,
        first: about.first,
    };
    for name in &about.needs {
        let known = COLLECTED.iter().find(|(need, _)| need.name() == name);
        let (need, _) = known.ok_or(format!("it holds {name:?}, which this version does not know"))?;
        inner.needs = inner.needs | *need;
    }
    let mut all: Vec<(Vec<Reader>, Sums)> = about
        .entries
        .into_iter()
        .map(|Entry { readers, rows, examples }| (readers, Sums { rows, examples, arrays: BTreeMap::new() }))
        .collect();
    for tensor in contents.tensors {
        let (name, dtype, shape, _, bytes) = tensor.into_parts().map_err(|error| error.to_string())?;
        let odd = || format!("{name} is no array of a calibration");
        let (number, array) = name.split_once('.').ok_or_else(odd)?;
        let entry = number.parse().ok().and_then(|number: usize| all.get_mut(number)).ok_or_else(odd)?;
        if dtype != DType::F64 {
            return Err(odd());
        }
        let values: Vec<f64> = TensorData::from_bytes(bytes, shape, dtype).iter::<f64>().collect();
        entry.1.arrays.insert(array.to_string(), values);
    }
    let sound = |(_, sums): &(Vec<Reader>, Sums)| sums.rows >= 0.0 && sums.examples >= 0.0 && sums.is_finite();
    if !all.iter().all(sound) {
        return Err("its sums are not finite, or its rows are below 0".to_string());
    }
    inner.entries.extend(all);
    Ok(Calibration { inner: Arc::new(inner) })
}
