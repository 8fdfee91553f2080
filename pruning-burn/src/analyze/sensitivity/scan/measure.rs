//! The measurements of a scan, one after the other or on several threads.

use crate::PruneError;
use crate::analyze::sensitivity::scan::{Plan, Progress, Scan};
use crate::analyze::sensitivity::{Sensitivity, SensitivityError, SensitivityPoint};
use crate::layers::layers;
use crate::mask::attach::put;
use crate::pruner::select::select_one;
use crate::snapshot::apart;
use crate::targets::Selection;
use burn::module::Module;
use pruning_core::budget::Sparsity;
use pruning_core::caught;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Mutex, PoisonError};

impl Scan<'_> {
    /// Does all measurements that the result lacks, on the threads of the scan. `measure` gets a copy of the model.
    pub(super) fn fill<M: Module>(
        &self,
        model: &M,
        plan: &Plan,
        result: &mut Sensitivity,
        measure: &(impl Fn(&M, &str, Sparsity) -> Result<f64, SensitivityError> + Sync),
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
                let measured = measure(&base, &plan.layers[layer].path, sparsity);
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

    /// The value of the model with one layer pruned alone.
    pub(super) fn measure<M: Module>(
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

/// The measurements so far, and the first error.
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
