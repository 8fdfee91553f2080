//! Recorded passes that lose channels where the code of a module cannot: the program computes what the masked model does.

use crate::layers::ZeroShortcut;
use crate::models::{Branches, Encoder, Norms, Recurrent, Residual, Shuffle, Stock};
use crate::{channels, pruner};
use burn::backend::Flex;
use burn::module::Module;
use burn::nn::{Linear, LinearConfig};
use burn::tensor::activation::{relu, softmax};
use burn::tensor::{Device, Tensor, Tolerance};
use pruning_burn::Pruner;
use pruning_burn::mask::finish;
use pruning_burn::shrink::{self, Checks, Equivalence, Fields, ShrinkError, ShrinkPlan, Shrinker};
use pruning_burn::sparse::{Options, SparseModel, SparseModelError};
use pruning_burn::store::{FileKind, Loaded, StoreError, load, save};
use pruning_burn::trace::{AxisRules, Scope, Trace, Values};
use pruning_tests::foreign::MobileNet;
use pruning_tests::models::{Mlp, filled, numbers};
use pruning_tests::shrinking::Shrinks;
use pruning_tests::values::{base, same_bits};

fn recorded(model: &MobileNet, batch: usize) -> Trace {
    let x = MobileNet::input(batch, &Device::flex());
    Trace::record(model, |model, scope| forward(model, &x, scope)).unwrap()
}

fn forward(model: &MobileNet, x: &Tensor<4>, scope: &mut Scope) {
    let x = scope.input(x);
    scope.output(model.forward(x));
}

fn planned(model: &MobileNet, trace: &Trace) -> ShrinkPlan {
    Shrinker::new(&channels(0.5, "")).plan(model, trace, None).unwrap()
}

fn run<const D: usize>(program: &SparseModel, x: Tensor<D>) -> Tensor<2> {
    program.run(Values::new().with(x)).unwrap().get(0).unwrap()
}

fn close<const D: usize>(a: Tensor<D>, b: Tensor<D>) {
    a.into_data().assert_approx_eq::<f32>(&b.into_data(), Tolerance::relative(1e-4).set_absolute(1e-5));
}

#[test]
fn a_network_of_another_crate_with_private_groups_loses_channels() {
    let device = Device::flex();
    let model = MobileNet::new(&device, 3);
    let before = base(&model);
    let traces = [1, 5].map(|batch| recorded(&model, batch));
    let plan = planned(&model, &traces[0]);
    assert!(2 * plan.after.macs < plan.before.macs, "{plan}");
    let x = MobileNet::input(5, &device);

    // The module cannot be told.
    let unset = |_: &mut MobileNet, _: &mut Fields| {};
    let error = shrink::apply(&plan, &mut model.clone(), unset, |m, s| forward(m, &x, s)).unwrap_err();
    assert!(matches!(&error, ShrinkError::MissingSetter { fields } if fields.len() == 3), "{error}");
    let pretends = |_: &mut MobileNet, fields: &mut Fields| {
        for field in fields.open().to_vec() {
            fields.take(&field.path);
        }
    };
    let error = shrink::apply(&plan, &mut model.clone(), pretends, |m, s| forward(m, &x, s)).unwrap_err();
    assert!(matches!(error, ShrinkError::Broken { .. } | ShrinkError::Departs { .. }), "{error}");

    let (program, applied) = shrink::apply_to_traces(&plan, &traces, &model).unwrap();
    let difference = applied.equivalence.difference().unwrap();
    assert!(difference.outputs > 0 && difference.max_rel < 1e-5, "{difference:?}");
    assert!(same_bits(&base(&model), &before));
    let mut masked = model.clone();
    shrink::mask(&plan, &mut masked).unwrap();
    for batch in [5, 1] {
        let x = MobileNet::input(batch, &device);
        close(run(&program, x.clone()), masked.forward(x));
    }
    let error = program.run(Values::new().with(MobileNet::input(2, &device))).unwrap_err();
    assert!(matches!(&error, SparseModelError::Inputs { known, .. } if known.len() == 2), "{error}");
    // Depthwise convolutions have fewer channels, each in a group of its own.
    let depthwise = program.report().passes[0].layers.iter().find(|l| l.path.contains("depthwise")).unwrap();
    let cut = &plan.parameters[&depthwise.path];
    assert_eq!(depthwise.shape, [cut.keep[&0].len(), 9]);
    assert!(cut.keep[&0].len() < cut.shape[0]);
}

#[test]
fn the_program_is_saved_loaded_and_made_sparse_without_the_module() {
    let device = Device::flex();
    let mut model = MobileNet::new(&device, 4);
    let trace = recorded(&model, 2);
    let plan = planned(&model, &trace);
    // Channels go, and of the weights that stay most are zero.
    pruner("criterion = \"magnitude\"\nsparsity = 0.7").prune(&mut model, None).unwrap();
    finish(&mut model).unwrap();
    let (program, _) = shrink::apply_to_traces(&plan, [&trace], &model).unwrap();
    let x = MobileNet::input(2, &device);
    let expected = run(&program, x.clone());

    let folder = tempfile::tempdir().unwrap();
    let [small, sparse, again] = ["small", "sparse", "again"].map(|n| folder.path().join(format!("{n}.safetensors")));
    save(&program, &small).unwrap();
    let file = load(&small).unwrap();
    assert_eq!(file.kind(), FileKind::SparseModel);
    let loaded = file.into_sparse_model().unwrap();
    assert_eq!(run(&loaded, x.clone()).into_data(), expected.clone().into_data());
    assert_eq!(loaded.report(), program.report());

    let fast = loaded.recompile(&Options::every_product()).unwrap();
    let rows = |model: &SparseModel| {
        let layers = &model.report().passes[0].layers;
        layers.iter().map(|l| (l.path.clone(), l.shape, l.sparsity)).collect::<Vec<_>>()
    };
    assert!(fast.report().passes[0].layers.iter().all(|l| l.sparse));
    assert_eq!(rows(&fast), rows(&loaded));
    assert!(rows(&fast).iter().any(|(.., sparsity)| *sparsity > 0.4));
    close(run(&fast, x.clone()), expected.clone());
    save(&fast, &sparse).unwrap();
    let loaded = load(&sparse).and_then(Loaded::into_sparse_model).unwrap();
    assert_eq!(run(&loaded, x.clone()).into_data(), run(&fast, x.clone()).into_data());

    // And back, with the same weights.
    let dense = loaded.recompile(&Options::dense()).unwrap();
    assert_eq!(rows(&dense), rows(&program));
    assert_eq!(dense.operations(), program.operations());
    close(run(&dense, x), expected);
    save(&dense, &again).unwrap();

    // A file that was cut off or changed is told.
    let bytes = std::fs::read(&small).unwrap();
    for end in [0, 7, bytes.len() / 2, bytes.len() - 1] {
        std::fs::write(&again, &bytes[..end]).unwrap();
        assert!(load(&again).and_then(Loaded::into_sparse_model).is_err(), "{end} bytes");
    }
    let mut flipped = bytes.clone();
    let middle = flipped.len() / 2;
    flipped[middle] ^= 4;
    std::fs::write(&again, &flipped).unwrap();
    let error = load(&again).and_then(Loaded::into_sparse_model).unwrap_err();
    assert!(matches!(error, StoreError::Checksum { .. } | StoreError::Read { .. }), "{error}");
}

#[test]
fn sparse_products_of_every_form_become_dense_again() {
    let device = Device::flex();
    let model = filled(burn::nn::conv::Conv1dConfig::new(4, 6, 3).with_groups(2).init(&device), 5);
    let linear = Mlp::new(&device, 6);
    let signal = Tensor::<1>::from_floats(numbers(2 * 4 * 9, 3).as_slice(), &device).reshape([2, 4, 9]);
    let record = |batch: usize| {
        Trace::record(&linear, |m: &Mlp, s: &mut Scope| {
            let x = s.input(&Mlp::input(batch, &device).reshape([1, batch as i32, 12]));
            s.output(relu(m.fc2.forward(relu(m.fc1.forward(x)))));
        })
        .unwrap()
    };
    let sparse = SparseModel::compile(&[record(1), record(4)], &linear, &Options::every_product()).unwrap();
    let dense = sparse.recompile(&Options::dense()).unwrap();
    for batch in [1, 4] {
        let run = |model: &SparseModel| -> Tensor<3> {
            let x = Mlp::input(batch, &device).reshape([1, batch as i32, 12]);
            model.run(Values::new().with(x)).unwrap().get(0).unwrap()
        };
        close(run(&dense), run(&sparse));
    }
    // Two products with ReLUs, one of them with a bias.
    assert_eq!((sparse.operations(), dense.operations()), (vec![2, 2], vec![5, 5]));

    let trace = Trace::record(&model, |m: &burn::nn::conv::Conv1d, s: &mut Scope| {
        let x = s.input(&signal);
        s.output(m.forward(x));
    })
    .unwrap();
    let sparse = SparseModel::compile([&trace], &model, &Options::every_product()).unwrap();
    let dense = sparse.recompile(&Options::dense()).unwrap();
    let y: Tensor<3> = dense.run(Values::new().with(signal.clone())).unwrap().get(0).unwrap();
    close(y, model.forward(signal));
    assert_eq!(dense.report().passes[0].layers[0].path, "weight");
}

/// A mean whose divisor, and a scale whose root, the code computes from sizes; and a mask that it creates for its channels.
#[derive(Module, Debug)]
struct Written {
    a: Linear,
    b: Linear,
    gate: Linear,
    head: Linear,
}

impl Shrinks for Written {
    fn new(device: &Device) -> Self {
        let linear = |from, to| LinearConfig::new(from, to).init(device);
        filled(Self { a: linear(6, 8), b: linear(6, 8), gate: linear(1, 4), head: linear(5, 3) }, 12)
    }

    fn forward(&self, scope: &mut Scope, device: &Device) {
        let x = scope.input(&crate::models::sequence(device, 6));
        let (a, b) = (self.a.forward(x.clone()), relu(self.b.forward(x)));
        let [batch, length, width] = b.dims();
        let mean = b.clone().sum_dim(2) / width as f64;
        let gate = self.gate.forward(mean).sum_dim(2);
        let b = b + Tensor::zeros([batch, length, width], scope.device());
        let weights = softmax(a.matmul(b.transpose()) / (width as f64).sqrt(), 2);
        scope.output(self.head.forward(weights) * gate);
    }
}

#[test]
fn numbers_that_code_computes_from_sizes_stay_those_of_the_masked_model() {
    let device = Device::flex();
    let model = Written::new(&device);
    let forward = |m: &Written, s: &mut Scope| m.forward(s, &device);
    let trace = Trace::record(&model, forward).unwrap();
    let plan = Shrinker::new(&channels(0.5, "[target]\ninclude = [\"b\"]")).plan(&model, &trace, None).unwrap();
    let unset = |_: &mut Written, _: &mut Fields| {};
    let error = shrink::apply(&plan, &mut model.clone(), unset, forward).unwrap_err();
    assert!(matches!(error, ShrinkError::Departs { .. }), "{error}");

    let (program, applied) = shrink::apply_to_traces(&plan, [&trace], &model).unwrap();
    assert!(applied.equivalence.difference().unwrap().max_rel < 1e-5);
    let mut masked = model.clone();
    shrink::mask(&plan, &mut masked).unwrap();
    let values = || Values::new().with(crate::models::sequence(&device, 6));
    let y: Tensor<3> = program.run(values()).unwrap().get(0).unwrap();
    close(y, trace.replay::<Flex, _>(&masked, values()).unwrap().get(0).unwrap());
}

/// Plans without regard to the code; returns what is left of the parameters.
fn without_code<M: Shrinks>(recipe: &Pruner) -> f64 {
    let device = Device::flex();
    let model = M::new(&device);
    let forward = |m: &M, s: &mut Scope| m.forward(s, &device);
    let trace = Trace::record(&model, forward).unwrap();
    let shrinker = Shrinker::new(recipe).with_rules(AxisRules::new().without_code());
    let plan = shrinker.plan(&model, &trace, None).unwrap_or_else(|e| panic!("{e}"));
    let (_, applied) = shrink::apply_to_traces(&plan, [&trace], &model).unwrap_or_else(|e| panic!("{e}\n{plan}"));
    let found = applied.equivalence.difference().unwrap_or_else(|| panic!("{:?}", applied.equivalence));
    assert!(found.outputs > 0 && found.max_rel < 1e-5, "{found:?}\n{plan}");
    plan.after.parameters as f64 / plan.before.parameters as f64
}

#[test]
fn the_attention_of_burn_loses_heads_as_a_program() {
    let recipe = "criterion = \"magnitude\"\nsparsity = 0.5\ngranularity = { kind = \"head\", size = 4 }\n\
                  [target]\ninclude = [\"*.query\", \"*.key\", \"*.value\"]";
    let device = Device::flex();
    let model = Stock::new(&device);
    let trace = Trace::record(&model, |m: &Stock, s: &mut Scope| m.forward(s, &device)).unwrap();
    let error = Shrinker::new(&pruner(recipe)).plan(&model, &trace, None).unwrap_err().to_string();
    assert!(error.contains("heads * size == width"), "{error}");
    assert!(without_code::<Stock>(&pruner(recipe)) < 0.9);
}

#[test]
fn more_channels_go_where_no_code_has_to_follow() {
    let all = channels(0.5, "");
    // Without code, slices and created zeros hold nothing back.
    let (with_code, _) = pruning_tests::shrinking::shrinks::<ZeroShortcut>(&all, 1e-5);
    assert!(without_code::<ZeroShortcut>(&all) < with_code);
    for left in [
        without_code::<Recurrent>(&all),
        without_code::<Branches>(&all),
        without_code::<Shuffle>(&all),
        without_code::<Norms>(&all),
        without_code::<Encoder>(&all),
        without_code::<Residual>(&all),
    ] {
        assert!(left < 0.9, "{left}");
    }
}

#[test]
fn plans_of_other_models_and_traces_are_told() {
    let device = Device::flex();
    let model = MobileNet::new(&device, 3);
    let trace = recorded(&model, 1);
    let plan = planned(&model, &trace);
    let other = Mlp::new(&device, 1);
    let x = Mlp::input(1, &device);
    let of_other = Trace::record(&other, |m: &Mlp, s: &mut Scope| {
        let x = s.input(&x);
        s.output(m.forward(x));
    })
    .unwrap();
    let error = shrink::apply_to_traces(&plan, [&trace], &other).unwrap_err();
    assert!(matches!(error, ShrinkError::OtherModel { .. }), "{error}");
    let error = shrink::apply_to_traces(&plan, [&of_other], &model).unwrap_err();
    assert!(error.to_string().contains("does not use"), "{error}");
    let none: [&Trace; 0] = [];
    let error = shrink::apply_to_traces(&plan, none, &model).unwrap_err();
    assert_eq!(error, ShrinkError::Program(SparseModelError::NoPass));

    // A trace of the same paths in other sizes, and a plan that was changed by hand.
    let wide = vec![filled(LinearConfig::new(4, 8).init(&device), 1), filled(LinearConfig::new(8, 2).init(&device), 2)];
    let narrow =
        vec![filled(LinearConfig::new(4, 3).init(&device), 1), filled(LinearConfig::new(3, 2).init(&device), 2)];
    let trace = |model: &Vec<Linear>| {
        Trace::record(model, |m: &Vec<Linear>, s: &mut Scope| {
            let x = s.input(&Tensor::<2>::ones([1, 4], &device));
            s.output(m[1].forward(relu(m[0].forward(x))));
        })
        .unwrap()
    };
    let plan = Shrinker::new(&channels(0.5, "")).plan(&wide, &trace(&wide), None).unwrap();
    let error = shrink::apply_to_traces(&plan, [&trace(&narrow)], &wide).unwrap_err();
    assert!(matches!(error, ShrinkError::OtherModel { .. }), "{error}");
    let mut uncoupled = plan.clone();
    uncoupled.parameters.remove("1.weight");
    let error = shrink::apply_to_traces(&uncoupled, [&trace(&wide)], &wide).unwrap_err();
    assert!(matches!(error, ShrinkError::Uncoupled { .. }), "{error}");

    // What is masked besides the plan would be lost.
    let mut masked = wide.clone();
    pruner("criterion = \"magnitude\"\nsparsity = 0.5").prune(&mut masked, None).unwrap();
    let error = shrink::apply_to_traces(&plan, [&trace(&wide)], &masked).unwrap_err();
    assert!(matches!(error, ShrinkError::Masked { .. }), "{error}");
    // An empty plan removes nothing, and proves nothing.
    let empty = Shrinker::new(&channels(0.0, "")).plan(&wide, &trace(&wide), None).unwrap();
    let (_, applied) = shrink::apply_to_traces(&empty, [&trace(&wide)], &wide).unwrap();
    assert!(matches!(applied.equivalence, Equivalence::NotChecked { .. }));
    let (_, applied) = Checks::new().without_equivalence().apply_to_traces(&plan, [&trace(&wide)], &wide).unwrap();
    assert!(matches!(applied.equivalence, Equivalence::NotChecked { .. }));
    let strict = Checks::new().with_tolerance(-1.0).apply_to_traces(&plan, [&trace(&wide)], &wide).unwrap_err();
    assert!(matches!(strict, ShrinkError::Apart { .. }), "{strict}");
}
