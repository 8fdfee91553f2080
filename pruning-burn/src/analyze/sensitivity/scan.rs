//! Measuring: [`Scan`].

use crate::analyze::sensitivity::{LayerSensitivity, Sensitivity, SensitivityPoint};
use crate::layers::{Layer, layers};
use crate::mask::attach::put;
use crate::pruner::select::select_one;
use crate::score::CriterionInputs;
use crate::score::needed::needed;
use crate::snapshot::{apart, fingerprint};
use crate::targets::{Selection, Target};
use crate::{PruneError, Pruner};
use burn::module::Module;
use pruning_core::budget::{Sparsity, SparsityError};
use pruning_core::caught;
use serde_json::Value;
use std::fmt;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Mutex, PoisonError};

/// How to scan: by which pruner, at which sparsities, on how many threads.
///
/// Of the recipe the criterion counts, with granularity, reduction, rounding and targets; not its budget, allocator or schedule.
/// A model that carries masks already keeps what they removed pruned.
///
/// Channels and heads of a pruner with a trace (`Pruner::with_trace`) go in groups, with all that belongs to them; channels that several
/// layers share are measured once, at the first of them.
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

/// A scan under way, after one more measurement.
#[derive(Clone, Copy, Debug)]
#[non_exhaustive]
pub struct Progress<'a> {
    /// Measurements that this call has done.
    pub done: usize,
    /// Measurements that this call has to do.
    pub total: usize,
    /// The layer just measured.
    pub path: &'a str,
    /// Its sparsity.
    pub sparsity: Sparsity,
    /// What the evaluation gave.
    pub value: f64,
    /// All that is measured so far: save it, and [`Scan::resume`] carries on from there.
    pub result: &'a Sensitivity,
}

/// Why a scan stopped. The model is what it was.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum SensitivityError {
    /// There is nothing to measure.
    #[error("no sparsity to scan is given: give some in [0, 1), such as 0.5, 0.8, 0.9")]
    NoSparsity,
    /// A sparsity is out of range.
    #[error("with_sparsities: {0}")]
    Sparsity(#[from] SparsityError),
    /// There is nobody to measure.
    #[error("0 threads measure nothing: give 1 or more")]
    NoThread,
    /// The evaluation of the dense model gave no number.
    #[error("the evaluation of the model as it is gave {value}: it must give a finite number; lower is better")]
    DenseNotFinite {
        /// What it gave.
        value: String,
    },
    /// The evaluation of a pruned model gave no number.
    #[error(
        "{path}: the evaluation at sparsity {sparsity} gave {value}, not a finite number; cap the loss, or scan no sparsity as \
         high"
    )]
    NotFinite {
        /// The layer that was pruned.
        path: String,
        /// How far.
        sparsity: Sparsity,
        /// What the evaluation gave.
        value: String,
    },
    /// The evaluation of the dense model panicked.
    #[error("the evaluation of the model as it is panicked: {message}")]
    DensePanicked {
        /// What it said.
        message: String,
    },
    /// The evaluation of a pruned model panicked.
    #[error("{path}: the evaluation at sparsity {sparsity} panicked: {message}")]
    Panicked {
        /// The layer that was pruned.
        path: String,
        /// How far.
        sparsity: Sparsity,
        /// What it said.
        message: String,
    },
    /// The observer of the progress panicked.
    #[error("{path}: the observer panicked after the measurement at sparsity {sparsity}: {message}")]
    ObserverPanicked {
        /// The layer that was measured.
        path: String,
        /// How far it was pruned.
        sparsity: Sparsity,
        /// What it said.
        message: String,
    },
    /// The result to go on with has other layers.
    #[error("{path}: the result to resume from and the model differ in this layer or its units; scan anew")]
    OtherLayers {
        /// The first such layer.
        path: String,
    },
    /// The result to go on with was measured on other weights.
    #[error("the result to resume from is of a model with other weights ({found}, this one is {expected}); scan anew")]
    OtherWeights {
        /// Fingerprint of the model.
        expected: String,
        /// Fingerprint in the result.
        found: String,
    },
    /// The result to go on with was measured by another recipe.
    #[error("the result to resume from is of a recipe with another {key}; scan anew, or use that recipe")]
    OtherRecipe {
        /// What differs.
        key: String,
    },
    /// The recipe does not fit the model.
    #[error(transparent)]
    Prune(#[from] PruneError),
}

impl<'a> Scan<'a> {
    /// By the criterion and granularity of `pruner`, at 10 % to 90 % and 95, 98 and 99 %, on one thread.
    #[must_use]
    pub fn new(pruner: &'a Pruner) -> Self {
        let sparsities = vec![0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 0.95, 0.98, 0.99];
        Self { pruner, sparsities, threads: 1, inputs: None, observer: None }
    }

    /// At these sparsities, in `[0, 1)`, in any order.
    #[must_use]
    pub fn with_sparsities(mut self, sparsities: impl IntoIterator<Item = f64>) -> Self {
        self.sparsities = sparsities.into_iter().collect();
        self
    }

    /// Evaluates on so many threads. The result is the same for any number, if the evaluation is.
    #[must_use]
    pub fn with_threads(mut self, threads: usize) -> Self {
        self.threads = threads;
        self
    }

    /// For a criterion that looks at more than the weights.
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

    /// Measures everything.
    ///
    /// `evaluate` gets a copy with running statistics of its own, on the device of the model and in its mode, and returns a loss
    /// or an error: lower is better.
    ///
    /// # Errors
    /// No sparsity or one out of range, a recipe that does not fit the model, an evaluation that is not finite or panics. What was
    /// measured until then is in the last [`Progress`].
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
        self.fill(model, &plan, &mut result, &evaluate)?;
        Ok(result)
    }

    /// Measures what a result lacks. Points that it has, at whatever sparsity, stay as they are; on an error it keeps what was
    /// measured until then.
    ///
    /// # Errors
    /// As [`run`](Self::run); a result of another model, or by another recipe. [`CriterionInputs`] are not compared.
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
        self.fill(model, &plan, result, &evaluate)
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
        needed(&recipe.criterion, self.inputs)?;
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

    /// Units and weights of each target; none for one whose channels stay, or are counted at another layer that shares them. And
    /// whether a trace says so.
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

    fn fill<M: Module>(
        &self,
        model: &M,
        plan: &Plan,
        result: &mut Sensitivity,
        evaluate: &(impl Fn(&M) -> f64 + Send + Sync),
    ) -> Result<(), SensitivityError> {
        let lacks = |(i, s): &(usize, Sparsity)| result.layers[*i].at(*s).is_none();
        let pairs = (0..plan.layers.len()).flat_map(|i| plan.sparsities.iter().map(move |&s| (i, s)));
        let work: Vec<(usize, Sparsity)> = pairs.filter(lacks).collect();
        let (next, stop) = (AtomicUsize::new(0), AtomicBool::new(false));
        let shared = Mutex::new(Found { result, done: 0, error: None });
        let worker = |base: M| {
            while !stop.load(Ordering::Relaxed) {
                let number = next.fetch_add(1, Ordering::Relaxed);
                let Some(&(layer, sparsity)) = work.get(number) else { break };
                let measured = self.measure(&base, &plan.layers[layer].path, sparsity, evaluate);
                let mut found = shared.lock().unwrap_or_else(PoisonError::into_inner);
                let told = measured
                    .and_then(|value| self.tell(found.add(layer, sparsity, value), work.len(), layer, sparsity, value));
                match told {
                    Ok(()) => {}
                    Err(error) => {
                        stop.store(true, Ordering::Relaxed);
                        // Work is taken in order, so all that comes before the first error ends too: it is always the same one.
                        if found.error.as_ref().is_none_or(|(first, _)| number < *first) {
                            found.error = Some((number, error));
                        }
                    }
                }
            }
        };
        let threads = self.threads.min(work.len());
        if threads > 1 {
            std::thread::scope(|scope| {
                for _ in 0..threads {
                    let (worker, base) = (&worker, apart(model));
                    scope.spawn(move || worker(base));
                }
            });
        } else {
            worker(apart(model));
        }
        match shared.into_inner().unwrap_or_else(PoisonError::into_inner).error {
            Some((_, error)) => Err(error),
            None => Ok(()),
        }
    }

    fn tell(
        &self,
        found: &Found<'_>,
        total: usize,
        layer: usize,
        sparsity: Sparsity,
        value: f64,
    ) -> Result<(), SensitivityError> {
        let Some(observer) = &self.observer else { return Ok(()) };
        let path = &found.result.layers[layer].path;
        let progress = Progress { done: found.done, total, path, sparsity, value, result: found.result };
        caught(|| observer(&progress)).map_err(|message| {
            let path = path.clone();
            SensitivityError::ObserverPanicked { path, sparsity, message }
        })
    }

    /// One layer pruned alone.
    fn measure<M: Module>(
        &self,
        base: &M,
        path: &str,
        sparsity: Sparsity,
        evaluate: &impl Fn(&M) -> f64,
    ) -> Result<f64, SensitivityError> {
        let recipe = self.pruner.recipe();
        // Statistics of its own for each evaluation, so that one that updates them leaves the next alone.
        let copy = apart(base);
        let all = layers(&copy).map_err(PruneError::from)?;
        let selection = Selection::new(recipe, &all)?;
        // A copy has the targets of the model.
        let target = selection.targets.iter().position(|t| all[t.layer].path == path).unwrap_or(0);
        let masks = select_one(&copy, self.pruner, &all, selection, target, sparsity, self.inputs)?;
        let pruned = put(&copy, &all, masks)?;
        let value = caught(|| evaluate(&pruned)).map_err(|message| SensitivityError::Panicked {
            path: path.to_string(),
            sparsity,
            message,
        })?;
        if value.is_finite() {
            return Ok(value);
        }
        Err(SensitivityError::NotFinite { path: path.to_string(), sparsity, value: value.to_string() })
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

struct Found<'a> {
    result: &'a mut Sensitivity,
    done: usize,
    error: Option<(usize, SensitivityError)>,
}

impl Found<'_> {
    fn add(&mut self, layer: usize, sparsity: Sparsity, value: f64) -> &Self {
        self.done += 1;
        let points = &mut self.result.layers[layer].points;
        points.push(SensitivityPoint { sparsity, value });
        points.sort_by(|a, b| a.sparsity.value().total_cmp(&b.sparsity.value()));
        self
    }
}
