//! What the layers of a model see, as sums: [`Calibration`].

use crate::calibrate::CalibrationError;
use crate::calibrate::sums::{GRAM, RANKS, SIZES, SQUARES, SUMS, Sums, ZEROS};
use crate::fingerprint::{Difference, Fingerprint};
use crate::score::statistics::{Reads, Statistic, Statistics};
use crate::score::{CriterionInputs, Need, Needs};
use burn::module::Module;
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

/// The inputs that a calibration can collect, each with the sums that it is computed from.
pub(super) const COLLECTED: [(Need, &str); 6] = [
    (Need::INPUT_NORM, SQUARES),
    (Need::INPUT_MEAN, SUMS),
    (Need::INPUT_GRAM, GRAM),
    (Need::INPUT_ACTIVATION, SIZES),
    (Need::OUTPUT_ZEROS, ZEROS),
    (Need::OUTPUT_RANK, RANKS),
];

/// What the layers of a model see and put out, as sums over batches.
///
/// One calibration serves many recipes. Calibrations of the same model from other data [merge](Self::merge), also those of other processes
/// and machines, which [`save`](crate::store::save) and [`load`](crate::store::load) carry from one to the other. It knows the model that
/// it was collected from: pruning another one with it, or one whose weights have changed, is an error.
///
/// ```
/// use burn::{nn::{Linear, LinearConfig}, tensor::{Device, Tensor}};
/// use pruning_burn::calibrate::Calibration;
/// use pruning_burn::score::Need;
/// use pruning_burn::trace::Scope;
///
/// let device = Device::flex();
/// let model = LinearConfig::new(2, 3).init(&device);
/// let batches = [Tensor::<2>::from_floats([[3.0, 0.0]], &device), Tensor::<2>::from_floats([[4.0, 1.0]], &device)];
/// let calibration = Calibration::collect(&model, Need::INPUT_NORM | Need::INPUT_MEAN, &batches, |model, batch, scope| {
///     let x = scope.input(batch);
///     scope.output(model.forward(x));
/// })?;
/// assert_eq!(calibration.rows("weight"), Some(2.0));
/// assert_eq!(calibration.values(Need::INPUT_MEAN, "weight").unwrap(), [3.5, 0.5]);
/// # Ok::<(), pruning_burn::calibrate::CalibrationError>(())
/// ```
#[derive(Clone, Debug)]
pub struct Calibration {
    pub(super) inner: Arc<Inner>,
}

/// A parameter that sees an input, or that puts out what was seen, by its first path.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub(super) struct Reader {
    pub(super) path: String,
    /// `None` for outputs.
    pub(super) reads: Option<Reads>,
}

#[derive(Clone, Debug, Default)]
pub(super) struct Inner {
    pub(super) needs: Needs,
    pub(super) batches: u64,
    pub(super) model: Fingerprint,
    /// The sums of each input or output, by all that share it.
    pub(super) entries: BTreeMap<Vec<Reader>, Sums>,
    /// The parameters that nothing was collected for, or not all of it, each with the reason.
    pub(super) skipped: BTreeMap<String, String>,
    /// The first path of each path of a parameter.
    pub(super) first: BTreeMap<String, String>,
}

impl Calibration {
    /// Returns what was collected.
    #[must_use]
    pub fn needs(&self) -> &Needs {
        &self.inner.needs
    }

    /// Returns the number of batches.
    #[must_use]
    pub fn batches(&self) -> u64 {
        self.inner.batches
    }

    /// Returns the paths of the parameters whose inputs were seen, sorted.
    #[must_use]
    pub fn paths(&self) -> Vec<&str> {
        let readers = self.inner.entries.keys().flatten().filter(|reader| reader.reads.is_some());
        let paths: BTreeSet<&str> = readers.map(|reader| reader.path.as_str()).collect();
        paths.into_iter().collect()
    }

    /// Returns the parameters in products for which nothing can be collected, each with the reason.
    #[must_use]
    pub fn skipped(&self) -> &BTreeMap<String, String> {
        &self.inner.skipped
    }

    /// Returns the number of rows that the layer of a parameter saw: tokens, or windows of a convolution, without padding.
    #[must_use]
    pub fn rows(&self, path: &str) -> Option<f64> {
        Statistics::rows(&*self.inner, path)
    }

    /// Returns an input of a parameter: one number for each column, for each pair of columns, or for each output unit.
    ///
    /// A convolution of several groups has the numbers of each group after those of the group before.
    #[must_use]
    pub fn values(&self, need: Need, path: &str) -> Option<Vec<f64>> {
        Statistics::of(&*self.inner, need, path).ok().map(|statistic| statistic.values)
    }

    /// Adds what another calibration of the same model has seen.
    ///
    /// ```
    /// # use burn::{nn::{Linear, LinearConfig}, tensor::{Device, Tensor}};
    /// # use pruning_burn::{calibrate::Calibration, score::Need, trace::Scope};
    /// # let device = Device::flex();
    /// # let model = LinearConfig::new(2, 3).init(&device);
    /// # let batches = [Tensor::<2>::ones([4, 2], &device), Tensor::<2>::ones([4, 2], &device) * 3];
    /// # let forward = |model: &Linear, batch: &Tensor<2>, scope: &mut Scope| {
    /// #     let x = scope.input(batch);
    /// #     scope.output(model.forward(x));
    /// # };
    /// let first = Calibration::collect(&model, Need::INPUT_MEAN, &batches[..1], forward)?;
    /// let second = Calibration::collect(&model, Need::INPUT_MEAN, &batches[1..], forward)?;
    /// let both = first.merge(&second)?;
    /// assert_eq!(both.values(Need::INPUT_MEAN, "weight").unwrap(), [2.0, 2.0]);
    /// # Ok::<(), pruning_burn::calibrate::CalibrationError>(())
    /// ```
    ///
    /// # Errors
    /// They were collected from different models or weights, or do not hold the same inputs.
    pub fn merge(mut self, other: &Self) -> Result<Self, CalibrationError> {
        match self.inner.model.differs(&other.inner.model) {
            None => {}
            Some(Difference::Shape { path, expected, found }) => {
                return Err(CalibrationError::OtherModel { path, expected, found });
            }
            Some(Difference::Values { path }) => return Err(CalibrationError::Changed { path }),
        }
        let refused = |reason: String| Err(CalibrationError::Merge { reason });
        if self.inner.needs != other.inner.needs {
            return refused(format!("one holds {}, the other {}", self.inner.needs, other.inner.needs));
        }
        // What both saw must have the same form; a layer that one of them never ran is no obstacle.
        for (readers, theirs) in &other.inner.entries {
            let Some(ours) = self.inner.entries.get(readers) else { continue };
            let lengths = |sums: &Sums| sums.arrays.iter().map(|(name, a)| (name.clone(), a.len())).collect::<Vec<_>>();
            if lengths(ours) != lengths(theirs) {
                let paths: Vec<_> = readers.iter().map(|reader| reader.path.as_str()).collect();
                return refused(format!("{} saw inputs of different sizes", paths.join(", ")));
            }
        }
        let inner = Arc::make_mut(&mut self.inner);
        inner.batches += other.inner.batches;
        for (readers, theirs) in &other.inner.entries {
            inner.entries.entry(readers.clone()).or_default().add(theirs);
        }
        inner.skipped.extend(other.inner.skipped.clone());
        Ok(self)
    }

    /// Checks that the calibration was collected from this model, with these weights.
    ///
    /// # Errors
    /// The model has other parameters, or its weights have changed.
    pub fn check<M: Module>(&self, model: &M) -> Result<(), CalibrationError> {
        match self.inner.model.differs(&Fingerprint::of(model)) {
            None => Ok(()),
            Some(Difference::Shape { path, expected, found }) => {
                Err(CalibrationError::OtherModel { path, expected, found })
            }
            Some(Difference::Values { path }) => Err(CalibrationError::Changed { path }),
        }
    }
}

impl CriterionInputs {
    /// Adds all that a calibration collected. It replaces a calibration that was added before.
    ///
    /// ```
    /// # use burn::{nn::{Linear, LinearConfig}, tensor::{Device, Tensor}};
    /// # use pruning_burn::{calibrate::Calibration, score::{CriterionInputs, Need}, trace::Scope};
    /// # let device = Device::flex();
    /// # let model = LinearConfig::new(2, 3).init(&device);
    /// # let batches = [Tensor::<2>::ones([4, 2], &device)];
    /// let calibration = Calibration::collect(&model, Need::INPUT_NORM, &batches, |model: &Linear, batch, scope: &mut Scope| {
    ///     let x = scope.input(batch);
    ///     scope.output(model.forward(x));
    /// })?;
    /// let inputs = CriterionInputs::new().with_calibration(&calibration);
    /// assert!(inputs.holds(Need::INPUT_NORM));
    /// # Ok::<(), pruning_burn::calibrate::CalibrationError>(())
    /// ```
    #[must_use]
    pub fn with_calibration(self, calibration: &Calibration) -> Self {
        let inner: Arc<Inner> = calibration.inner.clone();
        self.with_statistics(inner)
    }
}

impl From<&Calibration> for CriterionInputs {
    fn from(calibration: &Calibration) -> Self {
        Self::new().with_calibration(calibration)
    }
}

impl Inner {
    /// The sums of all entries in which a parameter sees something, or puts something out.
    fn entries(&self, path: &str, outputs: bool) -> Option<(BTreeSet<Option<Reads>>, Sums)> {
        let path = self.first.get(path)?;
        let own = |readers: &Vec<Reader>| {
            readers.iter().find(|r| r.path == *path && r.reads.is_none() == outputs).map(|reader| reader.reads)
        };
        let found: Vec<_> = self.entries.iter().filter_map(|(readers, sums)| Some((own(readers)?, sums))).collect();
        let mut total = found.first().map(|_| Sums::default())?;
        found.iter().for_each(|(_, sums)| total.add(sums));
        Some((found.into_iter().map(|(reads, _)| reads).collect(), total))
    }
}

impl Statistics for Inner {
    fn holds(&self, need: Need) -> bool {
        self.needs.contains(need)
    }

    fn of(&self, need: Need, path: &str) -> Result<Statistic, String> {
        let outputs = [Need::OUTPUT_ZEROS, Need::OUTPUT_RANK].contains(&need);
        let first = self.first.get(path).ok_or("the model of the calibration has no such parameter")?;
        let never = || {
            let why = self.skipped.get(first).cloned();
            why.unwrap_or_else(|| "the forward computes no product with it".to_string())
        };
        let (reads, mut sums) = self.entries(path, outputs).ok_or_else(never)?;
        // In one batch along its columns and in another along its rows: the same weight, and another input.
        if reads.len() > 1 {
            return Err("it is read along both of its axes, whose sums differ".to_string());
        }
        let reads = reads.first().copied().flatten();
        let name = COLLECTED.iter().find(|(known, _)| *known == need).map(|(_, name)| *name);
        let mut values = name.and_then(|name| sums.arrays.remove(name)).ok_or_else(never)?;
        let over = match need {
            Need::OUTPUT_RANK => sums.examples,
            _ => sums.rows,
        };
        if over == 0.0 {
            return Err("none of the rows that it saw counts".to_string());
        }
        let mean = |sum: f64| sum / over.max(1.0);
        for value in &mut values {
            *value = match need {
                Need::INPUT_NORM => mean(*value).sqrt(),
                Need::INPUT_ACTIVATION => value.sqrt(),
                _ => mean(*value),
            };
        }
        Ok(Statistic { values, reads: reads.unwrap_or(Reads::Columns) })
    }

    fn rows(&self, path: &str) -> Option<f64> {
        self.entries(path, false).map(|(_, sums)| sums.rows)
    }

    fn model(&self) -> &Fingerprint {
        &self.model
    }
}
