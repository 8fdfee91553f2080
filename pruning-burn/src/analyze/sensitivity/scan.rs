//! Measuring the sensitivity of each layer: [`Scan`].

mod measure;
mod outputs;

use crate::analyze::sensitivity::{LayerSensitivity, Sensitivity, SensitivityError};
use crate::layers::{Layer, layers};
use crate::score::CriterionInputs;
use crate::score::needed::needed;
use crate::snapshot::{apart, fingerprint};
use crate::targets::{Selection, Target};
use crate::{PruneError, Pruner};
use burn::module::Module;
use pruning_core::budget::Sparsity;
use pruning_core::caught;
use serde_json::Value;
use std::fmt;

/// A scan, which prunes one layer at a time to several sparsities and evaluates the model each time.
///
/// The criterion, granularity, reduction, rounding and targets of the recipe count; its budget, allocator and schedule do not.
/// If the model carries masks, the weights that they remove stay pruned. The [module](super) has an example.
///
/// If the pruner has a trace (`Pruner::with_trace`), channels and heads are pruned in groups, with all weights that depend on them.
/// Channels that several layers share are measured once, at the first of these layers.
pub struct Scan<'a> {
    pruner: &'a Pruner,
    sparsities: Vec<f64>,
    threads: usize,
    inputs: Option<&'a CriterionInputs>,
    observer: Option<Observer<'a>>,
}

/// Units and weights.
type Size = (usize, usize);

type Observer<'a> = Box<dyn Fn(&Progress<'_>) + Send + Sync + 'a>;

/// The progress of a scan after one more measurement.
#[derive(Clone, Copy, Debug)]
#[non_exhaustive]
pub struct Progress<'a> {
    /// Number of measurements that this call has done.
    pub done: usize,
    /// Number of measurements that this call does in all.
    pub total: usize,
    /// Path of the layer that was measured last.
    pub path: &'a str,
    /// Sparsity of that layer.
    pub sparsity: Sparsity,
    /// Result of the evaluation.
    pub value: f64,
    /// All measurements so far. Save them, and [`Scan::resume`] goes on from there.
    pub result: &'a Sensitivity,
}

impl<'a> Scan<'a> {
    /// Creates a scan by the criterion and granularity of `pruner`, at 10 % to 90 % and 95, 98 and 99 %, on one thread.
    #[must_use]
    pub fn new(pruner: &'a Pruner) -> Self {
        let sparsities = vec![0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 0.95, 0.98, 0.99];
        Self { pruner, sparsities, threads: 1, inputs: None, observer: None }
    }

    /// Sets the sparsities, in `[0, 1)` and in any order.
    #[must_use]
    pub fn with_sparsities(mut self, sparsities: impl IntoIterator<Item = f64>) -> Self {
        self.sparsities = sparsities.into_iter().collect();
        self
    }

    /// Sets the number of threads that evaluate.
    ///
    /// The result does not depend on it, if the evaluation always gives the same value for the same model.
    #[must_use]
    pub fn with_threads(mut self, threads: usize) -> Self {
        self.threads = threads;
        self
    }

    /// Sets the inputs of a criterion that looks at more than the weights.
    #[must_use]
    pub fn with_inputs(mut self, inputs: &'a CriterionInputs) -> Self {
        self.inputs = Some(inputs);
        self
    }

    /// Calls `observer` after each measurement, one at a time.
    #[must_use]
    pub fn with_observer(mut self, observer: impl Fn(&Progress<'_>) + Send + Sync + 'a) -> Self {
        self.observer = Some(Box::new(observer));
        self
    }

    /// Measures every layer at every sparsity.
    ///
    /// `evaluate` gets a copy with its own running statistics, on the device of the model and in its mode, and returns a loss
    /// or an error rate: lower is better.
    ///
    /// # Errors
    /// There is no sparsity, one is out of range, the recipe does not fit the model, or an evaluation is not finite or panics. The last
    /// [`Progress`] holds the measurements until then.
    pub fn run<M: Module>(
        &self,
        model: &M,
        evaluate: impl Fn(&M) -> f64 + Send + Sync,
    ) -> Result<Sensitivity, SensitivityError> {
        let plan = self.plan(model)?;
        let copy = apart(model);
        let dense = caught(|| evaluate(&copy)).map_err(|message| SensitivityError::DensePanicked { message })?;
        if !dense.is_finite() {
            return Err(SensitivityError::DenseNotFinite { value: dense.to_string() });
        }
        let layers = plan.layers.clone();
        let mut result = Sensitivity { dense, layers, model: fingerprint(model), recipe: plan.recipe.clone() };
        self.fill(model, &plan, &mut result, &|base: &M, path: &str, s| self.measure(base, path, s, &evaluate))?;
        Ok(result)
    }

    /// Measures the points that a result lacks, and adds them to it.
    ///
    /// Points that it has stay, whatever their sparsity. After an error the result holds the measurements until then.
    ///
    /// ```
    /// # use burn::{nn::{Linear, LinearConfig}, tensor::Device};
    /// # use {pruning_allocation as _, pruning_magnitude as _};
    /// use pruning_burn::{analyze::sensitivity::Scan, prelude::*};
    /// let pruner = Pruner::from_toml("sparsity = 0.5\ncriterion = \"magnitude\"", &Plugins::linked())?;
    /// let model = LinearConfig::new(20, 10).init(&Device::flex());
    /// let lost = |model: &Linear| 200.0 - masks(model).get("weight").map_or(200, |mask| mask.kept()) as f64;
    /// let mut found = Scan::new(&pruner).with_sparsities([0.5]).run(&model, lost)?;
    /// Scan::new(&pruner).with_sparsities([0.5, 0.9]).resume(&model, &mut found, lost)?;
    /// assert_eq!(found.layers[0].points.iter().map(|point| point.value).collect::<Vec<_>>(), [100.0, 180.0]);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// # Errors
    /// Those of [`run`](Self::run); the result is that of another model or recipe. [`CriterionInputs`] are not compared.
    pub fn resume<M: Module>(
        &self,
        model: &M,
        result: &mut Sensitivity,
        evaluate: impl Fn(&M) -> f64 + Send + Sync,
    ) -> Result<(), SensitivityError> {
        let plan = self.plan(model)?;
        let key = |l: &LayerSensitivity| (l.path.clone(), l.units, l.weights, l.granularity);
        let differs = |a: &[LayerSensitivity], b: &[LayerSensitivity]| {
            a.iter().enumerate().find(|(i, l)| b.get(*i).map(key) != Some(key(l))).map(|(_, l)| l.path.clone())
        };
        let other = differs(&plan.layers, &result.layers).or_else(|| differs(&result.layers, &plan.layers));
        if let Some(path) = other {
            return Err(SensitivityError::OtherLayers { path });
        }
        if plan.recipe != result.recipe {
            let keys = ["criterion", "granularity", "reduction", "channel_score", "rounding", "allow_empty", "trace"];
            let key = keys.into_iter().find(|key| plan.recipe.get(key) != result.recipe.get(key));
            return Err(SensitivityError::OtherRecipe { key: key.unwrap_or("form").to_string() });
        }
        let (expected, found) = (fingerprint(model), result.model.clone());
        if expected != found {
            return Err(SensitivityError::OtherWeights { expected, found });
        }
        self.fill(model, &plan, result, &|base: &M, path: &str, s| self.measure(base, path, s, &evaluate))
    }

    /// Checks all that can be wrong before the first evaluation.
    fn plan<M: Module>(&self, model: &M) -> Result<Plan, SensitivityError> {
        let mut sparsities = self.sparsities.iter().map(|&s| Sparsity::new(s)).collect::<Result<Vec<_>, _>>()?;
        sparsities.sort_by(|a, b| a.value().total_cmp(&b.value()));
        sparsities.dedup_by(|a, b| (a.value() - b.value()).abs() < 1e-9);
        if sparsities.is_empty() {
            return Err(SensitivityError::NoSparsity);
        }
        if self.threads == 0 {
            return Err(SensitivityError::NoThread);
        }
        let recipe = self.pruner.recipe();
        let all = layers(model).map_err(PruneError::from)?;
        let selection = Selection::new(recipe, &all)?;
        needed(&recipe.criterion, self.inputs, model)?;
        let (sizes, traced) = self.sizes(&all, &selection)?;
        let layer = |(target, size): (&Target, Option<Size>)| {
            let granularity = (target.granularity != recipe.granularity).then_some(target.granularity);
            let (path, (units, weights)) = (all[target.layer].path.clone(), size?);
            Some(LayerSensitivity { path, units, weights, granularity, points: Vec::new() })
        };
        let layers = selection.targets.iter().zip(sizes).filter_map(layer).collect();
        let mut value = recipe.to_value();
        if let Some(map) = value.as_object_mut() {
            // Channels that go in groups are others than those of single layers.
            if traced {
                map.insert("trace".to_string(), true.into());
            }
            // What says how much and when; of overrides, what they say of units is in the layers.
            for key in ["sparsity", "count", "allocator", "schedule", "initialization", "override", "target"] {
                map.remove(key);
            }
        }
        Ok(Plan { sparsities, layers, recipe: value })
    }

    /// Units and weights of each target, and whether they come from a trace. There are none for a target whose channels cannot be removed,
    /// or are counted at another layer that shares them.
    fn sizes(&self, all: &[Layer], selection: &Selection) -> Result<(Vec<Option<Size>>, bool), PruneError> {
        let alone = |target: &Target| {
            let layout = &all[target.layer].layout;
            Some((target.granularity.units(layout), layout.len()))
        };
        #[cfg(feature = "trace")]
        if let Some(trace) =
            self.pruner.trace().filter(|_| selection.targets.iter().any(|t| t.granularity.is_structural()))
        {
            let counted = crate::pruner::channels::counted(trace, all, selection)?;
            let size = |target: &Target| match target.granularity.is_structural() {
                true => counted.get(&target.layer).map(|c| (c.units, c.weights)),
                false => alone(target),
            };
            return Ok((selection.targets.iter().map(size).collect(), true));
        }
        Ok((selection.targets.iter().map(alone).collect(), false))
    }
}

impl fmt::Debug for Scan<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut scan = f.debug_struct("Scan");
        scan.field("pruner", self.pruner).field("sparsities", &self.sparsities).field("threads", &self.threads);
        scan.finish_non_exhaustive()
    }
}

struct Plan {
    sparsities: Vec<Sparsity>,
    layers: Vec<LayerSensitivity>,
    recipe: Value,
}
