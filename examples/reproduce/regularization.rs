//! Han et al. 2015, section 5 and figure 5: networks that were trained with an L1 penalty lose less when they are pruned without
//! retraining, those with an L2 penalty less when they are trained again.

use crate::runner::{DENSE, RETRAIN, Run, pruner};
use burn::module::{Module, ModuleVisitor, Param};
use burn::tensor::Tensor;
use pruning_examples::Failed;
use pruning_examples::lenet::Lenet300;
use pruning_examples::training::{Batch, Training, cross_entropy};
use serde_json::json;
use std::time::Instant;

/// What is added to the loss. The strongest, in steps of three, that costs the dense network of seed 1 no more than a tenth of a point of
/// validation error against the best of its kind; chosen before anything was pruned.
const PENALTIES: [(&str, Penalty); 2] = [("L1", Penalty::Absolute(3e-5)), ("L2", Penalty::Square(1e-3))];
const SPARSITIES: [f64; 4] = [0.5, 0.8, 0.9, 0.95];

/// A penalty on all weights, but for biases, and its strength.
#[derive(Clone, Copy, Debug)]
enum Penalty {
    /// `strength * sum |w|`
    Absolute(f64),
    /// `strength / 2 * sum w^2`
    Square(f64),
}

impl Penalty {
    fn of<M: Module>(self, model: &M) -> Option<Tensor<1>> {
        let mut sum = Sum { penalty: self, sum: None };
        model.visit(&mut sum);
        sum.sum
    }
}

struct Sum {
    penalty: Penalty,
    sum: Option<Tensor<1>>,
}

impl ModuleVisitor for Sum {
    fn visit_float<const D: usize>(&mut self, param: &Param<Tensor<D>>) {
        if D < 2 {
            return;
        }
        // What is pruned is zero here, and penalized no more.
        let weight = param.val();
        let part = match self.penalty {
            Penalty::Absolute(strength) => weight.abs().sum() * strength,
            Penalty::Square(strength) => (weight.clone() * weight).sum() * (0.5 * strength),
        };
        self.sum = Some(match self.sum.take() {
            Some(sum) => sum + part,
            None => part,
        });
    }
}

pub(crate) fn run(run: &Run<'_>) -> Result<(), Failed> {
    for (name, penalty) in PENALTIES {
        let [untrained, retrained] = [format!("{name} no retraining"), format!("{name} retrained")];
        let variant = |method: &str, sparsity: f64| format!("{method} {sparsity:.2}");
        let methods = SPARSITIES.iter().flat_map(|&s| [variant(&untrained, s), variant(&retrained, s)]);
        if methods.chain([variant(&untrained, 0.0)]).all(|name| !run.missing(&name)) {
            continue;
        }
        let loss = |model: &Lenet300, batch: &Batch| {
            let loss = cross_entropy(model, batch);
            match penalty.of(model) {
                Some(penalty) => loss + penalty,
                None => loss,
            }
        };
        let fit = |model: Lenet300, plan: Training| run.trainer(&plan, &mut run.random()).with_loss(loss).run(model);
        // The penalty takes the place of the decay.
        let start = Instant::now();
        let plan = Training { decay: 0.0, ..DENSE.with_epochs(run.epochs(DENSE.epochs, 3)) };
        let dense = fit(run.drawn(run.seed, Lenet300::new), plan);
        if run.missing(&variant(&untrained, 0.0)) {
            run.add(&variant(&untrained, 0.0), 0.0, &dense, start, json!({}))?;
        }
        let sparsities = if run.runner.quick { &SPARSITIES[2..3] } else { &SPARSITIES[..] };
        for &sparsity in sparsities {
            let recipe = format!("criterion = \"magnitude\"\nallocator = \"global\"\nsparsity = {sparsity}");
            let mut model = dense.clone();
            let start = Instant::now();
            let mut session = pruner(&recipe)?.start(&mut model)?;
            session.step(&mut model, None)?;
            if run.missing(&variant(&untrained, sparsity)) {
                run.add(&variant(&untrained, sparsity), sparsity, &model, start, json!({}))?;
            }
            if run.missing(&variant(&retrained, sparsity)) {
                let plan = Training { decay: 0.0, ..RETRAIN.with_epochs(run.epochs(RETRAIN.epochs, 1)) };
                let model = fit(model, plan);
                run.add(&variant(&retrained, sparsity), sparsity, &model, start, json!({}))?;
            }
        }
    }
    Ok(())
}
