//! Pruning inside Burn's `Learner`.

use burn::data::dataloader::batcher::Batcher;
use burn::data::dataloader::{DataLoader, DataLoaderBuilder};
use burn::data::dataset::InMemDataset;
use burn::module::Module;
use burn::optim::lr_scheduler::constant::ConstantLr;
use burn::optim::{AdamConfig, GradientsAccumulator, GradientsParams};
use burn::tensor::{Device, Tensor, TensorData};
use burn_train::checkpoint::KeepLastNCheckpoints;
use burn_train::logger::InMemoryMetricLogger;
use burn_train::metric::LossMetric;
use burn_train::metric::store::{Aggregate, EventStoreClient, Split};
use burn_train::{
    EarlyStoppingStrategy, ExecutionStrategy, InferenceStep, Learner, MultiDeviceOptim, RegressionOutput,
    SupervisedTraining, TrainOutput, TrainStep,
};
use pruning_burn::learner::Pruned;
use pruning_burn::mask::{MaskSet, masks};
use pruning_burn::score::CriterionInputs;
use pruning_burn::{PruneError, Pruner, Session};
use pruning_tests::models::{Mlp, numbers};
use pruning_tests::values::{base, same_bits};
use std::fmt;
use std::path::Path;
use std::sync::{Arc, Mutex};

#[derive(Module, Debug)]
struct Net {
    mlp: Mlp,
    #[module(skip)]
    seen: Seen,
}

/// The masks and the loss of each step, whichever worker took it.
type Seen = Arc<Mutex<Vec<(MaskSet, f32)>>>;

impl Net {
    fn new(seed: u64) -> Self {
        Self { mlp: Mlp::new(&device(), seed), seen: Seen::default() }
    }

    fn output(&self, batch: &Batch) -> RegressionOutput {
        let output = self.mlp.forward(batch.x.clone());
        let loss = (output.clone() - batch.y.clone()).powi_scalar(2).mean();
        RegressionOutput::new(loss, output, batch.y.clone())
    }
}

#[derive(Clone, Debug)]
struct Batch {
    x: Tensor<2>,
    y: Tensor<2>,
}

#[derive(Clone)]
struct Examples;

impl Batcher<u64, Batch> for Examples {
    fn batch(&self, items: Vec<u64>, device: &Device) -> Batch {
        let rows = |width: usize, seed: u64| {
            let values: Vec<f32> = items.iter().flat_map(|item| numbers(width, 10 * item + seed)).collect();
            Tensor::from_data(TensorData::new(values, [items.len(), width]), device)
        };
        Batch { x: rows(12, 1), y: rows(8, 2) }
    }
}

impl TrainStep for Net {
    type Input = Batch;
    type Output = RegressionOutput;

    fn step(&self, batch: Batch) -> TrainOutput<RegressionOutput> {
        let output = self.output(&batch);
        self.seen.lock().unwrap().push((masks(self), output.loss.clone().into_scalar()));
        TrainOutput::new(self, output.loss.backward(), output)
    }
}

impl InferenceStep for Net {
    type Input = Batch;
    type Output = RegressionOutput;

    fn step(&self, batch: Batch) -> RegressionOutput {
        self.output(&batch)
    }
}

fn device() -> Device {
    Device::flex().autodiff()
}

/// Four batches an epoch, in order.
fn batches(device: &Device) -> Arc<dyn DataLoader<Batch>> {
    let loader = DataLoaderBuilder::new(Examples).batch_size(6).set_device(device.clone());
    loader.build(InMemDataset::new((0..24).collect()))
}

const RATE: f64 = 0.02;

fn pruner(recipe: &str) -> Pruner {
    Pruner::from_toml(recipe, &pruning_plugins::all()).unwrap()
}

fn wrapped(recipe: &str, seed: u64) -> Pruned<Net> {
    let mut net = Net::new(seed);
    let session = pruner(recipe).start(&mut net).unwrap();
    Pruned::new(net, session).unwrap()
}

fn training(folder: &Path, epochs: usize) -> SupervisedTraining<Pruned<Net>> {
    SupervisedTraining::new(folder, batches(&device()), batches(&Device::flex()))
        .num_epochs(epochs)
        .with_default_checkpointers()
        .with_checkpointing_strategy(KeepLastNCheckpoints::new(5))
        .with_metric_logger(InMemoryMetricLogger::new())
        .metric_train_numeric(LossMetric::new())
        .metric_valid_numeric(LossMetric::new())
        .with_application_logger(None)
}

fn learner(model: Pruned<Net>) -> Learner<Pruned<Net>> {
    Learner::new(model, AdamConfig::new().init(), ConstantLr::new(RATE))
}

/// The same in a loop of one's own.
fn own_loop(recipe: &str, epochs: usize) -> (Net, Session) {
    let mut model = Net::new(1);
    let mut session = pruner(recipe).start(&mut model).unwrap();
    let mut optimizer = AdamConfig::new().init();
    session.step(&mut model, None).unwrap();
    for _ in 0..epochs {
        for batch in batches(&device()).iter() {
            let loss = model.output(&batch.unwrap()).loss;
            let gradients = GradientsParams::from_grads(loss.backward(), &model);
            model = optimizer.step(RATE, model, gradients);
            if session.step(&mut model, None).unwrap().is_some() {
                optimizer = session.mask_optimizer(&model, &optimizer).unwrap();
            }
        }
    }
    (model, session)
}

const RECIPES: [&str; 4] = [
    "sparsity = 0.8\ncriterion = \"magnitude\"\nallocator = \"global\"\n\
     schedule = { kind = \"iterative\", begin = 1, every = 3, rounds = 3 }",
    "sparsity = 0.8\ncriterion = \"magnitude\"\nschedule = { kind = \"gradual\", begin = 2, end = 9, every = 2 }",
    "sparsity = 0.8\ncriterion = \"magnitude\"\ninitialization = { rewind = { step = 3 } }\n\
     schedule = { kind = \"iterative\", begin = 5, every = 5, rounds = 2 }",
    "sparsity = 0.8\ncriterion = \"magnitude\"\nallocator = \"erk\"\n\
     grow = { criterion = \"random\", every = 2, end = 12 }",
];

#[test]
fn a_learner_prunes_as_a_loop_of_ones_own_does() {
    for recipe in RECIPES {
        let folder = tempfile::tempdir().unwrap();
        let model = wrapped(recipe, 1);
        assert_eq!(base(&model).keys().collect::<Vec<_>>(), base(model.model()).keys().collect::<Vec<_>>());
        let result = training(folder.path(), 3).launch(learner(model));
        assert!(result.error.is_none() && result.interrupted.is_none());
        let (model, session) = result.model.into_parts().unwrap();
        let (expected, other) = own_loop(recipe, 3);
        assert_eq!((session.steps(), other.steps()), (13, 13));
        assert_eq!(masks(&model), masks(&expected), "{recipe}");
        assert!(same_bits(&base(&model), &base(&expected)), "{recipe}");
        assert!((masks(&model).sparsity() - 0.8).abs() < 0.01);
    }
}

#[test]
fn a_training_goes_on_from_a_checkpoint_in_the_middle_of_a_schedule() {
    let gradient = RECIPES[3].replace("random", "gradient");
    for recipe in RECIPES.into_iter().chain([gradient.as_str()]) {
        let whole = training(tempfile::tempdir().unwrap().path(), 3).launch(learner(wrapped(recipe, 1)));
        let (whole, _) = whole.model.into_parts().unwrap();
        for cut in [1, 2] {
            let folder = tempfile::tempdir().unwrap();
            training(folder.path(), cut).launch(learner(wrapped(recipe, 1)));
            // Another process would build it anew, with other weights.
            let resumed = training(folder.path(), 3).checkpoint(cut).launch(learner(wrapped(recipe, 99)));
            let (resumed, session) = resumed.model.into_parts().unwrap();
            assert_eq!(session.steps(), 13);
            assert_eq!(masks(&resumed), masks(&whole), "cut at {cut}\n{recipe}");
            assert!(same_bits(&base(&resumed), &base(&whole)), "cut at {cut}\n{recipe}");
        }
    }
}

/// One device that adds up the gradients of two batches in every step; with the losses of each step, the smaller one first.
fn accumulating_loop(recipe: &str, epochs: usize) -> (Net, Session, Vec<[f32; 2]>) {
    let halves = || [(0, 12), (12, 24)].map(|(from, to)| batches(&device()).slice(from, to));
    let mut model = Net::new(1);
    let mut session = pruner(recipe).start(&mut model).unwrap();
    let mut optimizer = AdamConfig::new().init();
    let mut losses = Vec::new();
    session.step(&mut model, None).unwrap();
    for _ in 0..epochs {
        let [first, second] = halves();
        for both in first.iter().zip(second.iter()) {
            let mut sum = GradientsAccumulator::new();
            let mut inputs = CriterionInputs::new();
            let batches = [both.0.unwrap(), both.1.unwrap()];
            if !session.needs().is_empty() {
                let loss = |model: &Net, batch: &Batch| model.output(batch).loss;
                inputs = inputs.with_dense_gradients(&model, session.needs(), &batches, loss).unwrap();
            }
            losses.push(sorted(batches.each_ref().map(|batch| model.output(batch).loss.into_scalar())));
            for batch in &batches {
                let gradients = GradientsParams::from_grads(model.output(batch).loss.backward(), &model);
                sum.accumulate(&model, gradients);
            }
            model = optimizer.step(RATE, model, sum.grads());
            if session.step(&mut model, &inputs).unwrap().is_some() {
                optimizer = session.mask_optimizer(&model, &optimizer).unwrap();
            }
        }
    }
    (model, session, losses)
}

fn sorted(mut pair: [f32; 2]) -> [f32; 2] {
    pair.sort_by(f32::total_cmp);
    pair
}

/// Two workers against one device that accumulates the batches of both.
fn two_workers_prune_as_one_device(workers: &[Device; 2]) {
    let gradient = RECIPES[3].replace("random", "gradient");
    for recipe in RECIPES.into_iter().chain([gradient.as_str()]) {
        let (model, session, losses) = accumulating_loop(recipe, 6);
        for optimizer in [MultiDeviceOptim::OptimMainDevice, MultiDeviceOptim::OptimSharded] {
            let case = format!("{optimizer:?} on {workers:?}\n{recipe}");
            let folder = tempfile::tempdir().unwrap();
            let strategy = ExecutionStrategy::multi(workers.to_vec(), optimizer);
            let start = wrapped(recipe, 1);
            let seen = start.model().seen.clone();
            let result = training(folder.path(), 6).with_training_strategy(strategy.into()).launch(learner(start));
            assert!(result.error.is_none() && result.interrupted.is_none(), "{case}");
            let (found, other) = result.model.into_parts().unwrap();
            assert_eq!((session.steps(), other.steps()), (13, 13));
            assert_eq!(masks(&found), masks(&model), "{case}");
            assert!(same_bits(&base(&found), &base(&model)), "{case}");
            assert!((masks(&found).sparsity() - 0.8).abs() < 0.01);
            // The workers take each step with the same masks.
            let seen = seen.lock().unwrap();
            assert!(seen.chunks(2).all(|pair| pair[0].0 == pair[1].0), "{case}");
            // Where the session looks at gradients, the workers' loss is that of the model without masks.
            if session.needs().is_empty() {
                let pairs = seen.chunks(2).map(|pair| sorted([pair[0].1, pair[1].1]));
                assert_eq!(pairs.collect::<Vec<_>>(), losses, "{case}");
            }
        }
    }
}

#[test]
fn two_workers_prune_as_one_device_that_accumulates_their_batches() {
    two_workers_prune_as_one_device(&[device(), device()]);
}

#[test]
fn a_sharded_optimizer_goes_on_from_a_checkpoint() {
    let recipe = RECIPES[1];
    let strategy = || {
        let devices = vec![device(), device()];
        ExecutionStrategy::multi(devices, MultiDeviceOptim::OptimSharded).into()
    };
    let run = |folder: &Path, epochs: usize| training(folder, epochs).with_training_strategy(strategy());
    let (whole, _, _) = accumulating_loop(recipe, 6);
    let folder = tempfile::tempdir().unwrap();
    run(folder.path(), 3).launch(learner(wrapped(recipe, 1)));
    let resumed = run(folder.path(), 6).checkpoint(3).launch(learner(wrapped(recipe, 99)));
    let (resumed, session) = resumed.model.into_parts().unwrap();
    assert_eq!(session.steps(), 13);
    assert_eq!(masks(&resumed), masks(&whole));
    assert!(same_bits(&base(&resumed), &base(&whole)));
}

#[test]
fn gradients_grow_weights_in_a_learner() {
    let recipe = RECIPES[3].replace("random", "gradient");
    let folder = tempfile::tempdir().unwrap();
    let start = wrapped(&recipe, 1);
    let before = masks(start.model());
    let (model, session) = training(folder.path(), 3).launch(learner(start)).model.into_parts().unwrap();
    let after = masks(&model);
    assert!(session.is_done());
    for ((path, a), (_, b)) in before.iter().zip(after.iter()) {
        assert_eq!(a.kept(), b.kept(), "{path}");
        assert_ne!(a, b, "{path}");
    }
}

/// Stops when the sparsity of an epoch is high enough.
#[derive(Clone)]
struct SparseEnough(f64);

impl EarlyStoppingStrategy for SparseEnough {
    fn should_stop(&mut self, epoch: usize, store: &EventStoreClient) -> bool {
        let sparsity = store.find_metric(&Arc::new("Sparsity".to_string()), epoch, Aggregate::Mean, &Split::Valid);
        sparsity.expect("the metric is registered") >= self.0
    }
}

#[test]
fn training_stops_early_by_the_metric_of_sparsity() {
    let folder = tempfile::tempdir().unwrap();
    let model = wrapped(RECIPES[0], 1);
    let metric = model.metric();
    let training = training(folder.path(), 9).metric_train_numeric(metric.clone()).metric_valid_numeric(metric);
    let result = training.early_stopping(SparseEnough(79.0)).launch(learner(model));
    let (model, session) = result.model.into_parts().unwrap();
    // The last round is at step 7, in the second epoch.
    assert_eq!(session.steps(), 9);
    assert!((masks(&model).sparsity() - 0.8).abs() < 0.01);
}

#[test]
fn a_step_that_fails_ends_the_training_and_is_told() {
    let recipe = "sparsity = 0.8\ncriterion = \"fisher\"\nschedule = { kind = \"one_shot\", at = 5 }";
    let folder = tempfile::tempdir().unwrap();
    let training = training(folder.path(), 3);
    let model = wrapped(recipe, 1).with_interrupter(training.interrupter());
    let result = training.launch(learner(model));
    assert!(result.interrupted.is_some_and(|i| i.reason.is_some_and(|reason| reason.contains("fisher"))));
    let error = result.model.into_parts().unwrap_err();
    assert!(matches!(&error, PruneError::MissingInputs { criterion, .. } if criterion == "fisher"), "{error}");
    // At the start it is an error at once.
    let mut net = Net::new(1);
    let session = pruner("sparsity = 0.8\ncriterion = \"fisher\"").start(&mut net).unwrap();
    assert!(matches!(Pruned::new(net, session), Err(PruneError::MissingInputs { .. })));
}

#[test]
fn records_without_a_session_or_of_another_recipe_are_refused() {
    let model = wrapped(RECIPES[0], 1);
    let record = model.model().clone().into_record();
    let error = wrapped(RECIPES[0], 2).try_load_record(record).unwrap_err().to_string();
    assert!(error.contains("the record holds no pruning session"), "{error}");
    let error = wrapped(RECIPES[1], 2).try_load_record(model.clone().into_record()).unwrap_err().to_string();
    assert!(error.contains("the session followed another recipe, which differs in: allocator, schedule"), "{error}");
    let loaded = wrapped(RECIPES[0], 2).try_load_record(model.clone().into_record()).unwrap();
    assert!(same_bits(&base(&loaded), &base(&model)));
}

impl fmt::Debug for Examples {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Examples")
    }
}
