use crate::pruner;
use burn::module::{Lora, Module, ModuleMapper, ModuleVisitor, Param, ParamGroup};
use burn::tensor::{DType, Device, Tensor, TensorData};
use pruning_burn::PruneError;
use pruning_burn::mask::{finish, masks, undo};
use pruning_burn::report::SkipReason;
use pruning_burn::score::{Criterion, CriterionInputs, Need};
use pruning_burn::shrink::Shrinker;
use pruning_burn::trace::{Scope, Trace};
use pruning_tests::models::{Cnn, Mlp, Tied, Zoo};
use pruning_tests::values::{base, calibrated, effective, same_bits, weights};

const HALF: &str = "criterion = \"magnitude\"\nsparsity = 0.5";

/// How many float parameters have their values.
fn drawn<M: Module>(model: &M) -> usize {
    struct Count(usize);

    impl ModuleVisitor for Count {
        fn visit_float<const D: usize>(&mut self, param: &Param<Tensor<D>>) {
            self.0 += usize::from(param.is_initialized());
        }
    }

    let mut count = Count(0);
    model.visit(&mut count);
    count.0
}

pub(crate) fn lazy_parameters_stay_lazy(device: &Device) {
    let mut model = Mlp::lazy(device);
    assert_eq!(drawn(&model), 0);
    let schedule = format!("{HALF}\nschedule = {{ kind = \"one_shot\", at = 2 }}");
    let mut session = pruner(&schedule).start(&mut model).unwrap();
    assert!(session.step(&mut model, None).unwrap().is_none());
    assert_eq!(masks(&model).sparsity(), 0.0);
    assert_eq!(drawn(&model), 0, "attaching and a step with nothing due draw no weights");
    session.step(&mut model, None).unwrap();
    let report = session.step(&mut model, None).unwrap().unwrap();
    assert_eq!(report.kept(), (192 + 128) / 2);
    let zeros = weights(&model, "fc1.weight").iter().filter(|w| **w == 0.0).count();
    assert_eq!(zeros, 96, "the weights that were scored are the weights that stay");
}

pub(crate) fn tied_parameters_are_one_target(device: &Device) {
    let mut model = Tied::new(device, 5);
    let dense = base(&model);
    let report = pruner(HALF).prune(&mut model, None).unwrap();
    let paths: Vec<_> = report.layers.iter().map(|l| (l.path.as_str(), l.aliases.as_slice())).collect();
    assert_eq!(paths, [("first.weight", &["second.weight".to_string()][..]), ("head.weight", &[])]);
    assert_eq!((report.weights(), report.kept()), (64 + 32, 48));
    // 4 of the bias of the head, and the tied 64 once.
    assert_eq!(report.parameters, 64 + 32 + 4);
    let (first, second) = (weights(&model, "first.weight"), weights(&model, "second.weight"));
    assert_eq!(first, second);
    assert_eq!(first.iter().filter(|w| **w == 0.0).count(), 32);
    // By its other name too.
    let mut named = Tied::new(device, 5);
    pruner(&format!("{HALF}\n[target]\ninclude = [\"second\"]")).prune(&mut named, None).unwrap();
    assert_eq!(weights(&named, "first.weight"), first);
    let mut undone = model.clone();
    undo(&mut undone).unwrap();
    assert!(same_bits(&base(&undone), &dense));
    finish(&mut model).unwrap();
    assert_eq!(model.first.weight.id, model.second.weight.id, "still one parameter");
    assert_eq!(weights(&model, "second.weight"), second);
}

pub(crate) fn frozen_parameters_stay_frozen(device: &Device) {
    let mut model = Mlp::new(&device.clone().autodiff(), 5);
    model.fc1 = model.fc1.freeze();
    let trained = |m: &Mlp| (m.fc1.weight.base().is_require_grad(), m.fc2.weight.base().is_require_grad());
    assert_eq!(trained(&model), (false, true));
    pruner(HALF).prune(&mut model, None).unwrap();
    assert_eq!(trained(&model), (false, true), "masked");
    let again = model.valid().train();
    assert_eq!(trained(&again), (false, true), "after validation");
    let mut undone = model.clone();
    undo(&mut undone).unwrap();
    assert_eq!(trained(&undone), (false, true), "undone");
    finish(&mut model).unwrap();
    assert_eq!(trained(&model), (false, true), "finished");
    assert_eq!(trained(&model.valid().train()), (false, true), "finished, after validation");
}

pub(crate) struct Cast(pub(crate) DType);

impl ModuleMapper for Cast {
    fn map_float<const D: usize>(&mut self, param: Param<Tensor<D>>) -> Param<Tensor<D>> {
        let dtype = self.0;
        param.map(|tensor| tensor.cast(dtype))
    }
}

pub(crate) fn half_precision_parameters_are_pruned(device: &Device) {
    for dtype in [DType::F16, DType::BF16, DType::F64] {
        // Where the device has them.
        if !device.supports_dtype(dtype) {
            continue;
        }
        let mut model = Mlp::new(device, 5).map(&mut Cast(dtype));
        let dense = base(&model);
        assert_eq!(dense["fc1.weight"].dtype(), dtype);
        let report = pruner(HALF).prune(&mut model, None).unwrap();
        assert_eq!(report.kept(), 160);
        let out = model.forward(Mlp::input(3, device).cast(dtype));
        assert_eq!(out.dtype(), dtype, "no layer changes the type");
        let mut undone = model.clone();
        undo(&mut undone).unwrap();
        assert!(same_bits(&base(&undone), &dense), "{dtype:?}");
        finish(&mut model).unwrap();
        assert_eq!(base(&model)["fc1.weight"].dtype(), dtype);
        assert_eq!(weights(&model, "fc1.weight").iter().filter(|w| **w == 0.0).count(), 96, "{dtype:?}");
    }
    assert!(device.supports_dtype(DType::F32));
}

pub(crate) fn doubles_are_ranked_in_double_precision(device: &Device) {
    if !device.supports_dtype(DType::F64) {
        return;
    }
    // All but equal, in an order that is not theirs.
    let number = |i: usize, layer: usize| 1.0 + ((i * 37 + layer * 11) % 192) as f64 * 1e-13 + layer as f64 * 5e-14;
    struct Near<F>(F, usize);
    impl<F: Fn(usize, usize) -> f64> ModuleMapper for Near<F> {
        fn map_float<const D: usize>(&mut self, param: Param<Tensor<D>>) -> Param<Tensor<D>> {
            let layer = self.1;
            self.1 += 1;
            param.map(|old| {
                let values: Vec<f64> = (0..old.shape().num_elements()).map(|i| (self.0)(i, layer)).collect();
                Tensor::from_data(TensorData::new(values, old.shape()), (&old.device(), DType::F64))
            })
        }
    }
    let near = Mlp::new(device, 1).map(&mut Near(number, 0));
    for allocator in ["uniform", "global"] {
        let mut model = near.clone();
        pruner(&format!("{HALF}\nallocator = \"{allocator}\"")).prune(&mut model, None).unwrap();
        let dense = base(&model);
        let (mut kept, mut gone) = (Vec::new(), Vec::new());
        for (path, mask) in masks(&model).iter() {
            let (mut least, mut most) = (f64::INFINITY, 0.0f64);
            for (i, value) in dense[path].iter::<f64>().enumerate() {
                if mask.bits().get(i) { least = least.min(value) } else { most = most.max(value) }
            }
            assert!(least > most, "{allocator} {path}: kept {least:.17}, gone {most:.17}");
            kept.push(least);
            gone.push(most);
        }
        if allocator == "global" {
            assert!(kept.iter().all(|k| gone.iter().all(|g| k > g)), "{kept:?} {gone:?}");
        }
    }
    // Channels of a traced model, by all the weights that make and read them.
    let x = Mlp::input(3, device).cast(DType::F64);
    let forward = |m: &Mlp, s: &mut Scope| {
        let x = s.input(&x);
        s.output(m.forward(x));
    };
    let trace = Trace::record(&near, forward).unwrap();
    let recipe = format!("{HALF}\nallocator = \"uniform\"\ngranularity = \"channel\"\nreduction = \"sum\"");
    let plan = Shrinker::new(&pruner(&recipe)).plan(&near, &trace, None).unwrap();
    let kept = &plan.parameters["fc1.weight"].keep[&1];
    let [fc1, fc2] = ["fc1.weight", "fc2.weight"].map(|path| base(&near)[path].iter::<f64>().collect::<Vec<_>>());
    let sum = |c: usize| (0..12).map(|i| fc1[16 * i + c]).chain((0..8).map(|j| fc2[8 * c + j])).sum::<f64>();
    let (stay, go): (Vec<usize>, Vec<usize>) = (0..16).partition(|c| kept.contains(c));
    assert!(stay.len() == 8 && stay.iter().all(|&s| go.iter().all(|&g| sum(s) > sum(g) - 1e-14)), "{stay:?} {go:?}");
    assert!((0..16).any(|c| sum(c) > sum(stay[0]) + 1e-13), "in single precision they are all the same");
}

pub(crate) fn every_criterion_takes_every_float_type(device: &Device) {
    let device = &device.clone().autodiff();
    for dtype in [DType::F16, DType::BF16, DType::F64].into_iter().filter(|dtype| device.supports_dtype(*dtype)) {
        // Leaves, which a cast alone does not leave: gradients reach them.
        let model = Mlp::new(device, 5).map(&mut Cast(dtype)).valid().train();
        let x = Mlp::input(3, device).cast(dtype);
        let needs = Need::GRADIENT | Need::SQUARED_GRADIENT | Need::COLUMN_EFFECT;
        let loss = |m: &Mlp, x: &Tensor<2>| m.forward(x.clone()).square().mean();
        let mut inputs = CriterionInputs::new()
            .with_gradients(&model, needs, std::slice::from_ref(&x), loss)
            .unwrap()
            .with_flow(&model, |m: &Mlp| m.forward(Tensor::<2>::ones([1, 12], device).cast(dtype)))
            .unwrap()
            .with_initial_weights(&model);
        let gradients = burn::optim::GradientsParams::from_grads(loss(&model, &x).backward(), &model);
        inputs.record_movement(&model, &gradients);
        let inputs = calibrated(inputs, &model, device);
        for criterion in pruning_plugins::all().of_kind::<dyn Criterion>() {
            // Of norms, of a Hessian in double precision alone, and a test's own.
            if ["bn_scale", "grasp"].contains(&criterion.name()) || criterion.name().contains('.') {
                continue;
            }
            for granularity in ["\"element\"", "\"channel\"", "\"2:4\""] {
                let sparsity = if granularity.contains(':') { "" } else { "sparsity = 0.5\n" };
                let recipe = format!("criterion = \"{}\"\n{sparsity}granularity = {granularity}", criterion.name());
                let report = pruner(&recipe).prune(&mut model.clone(), &inputs);
                assert_eq!(
                    report.unwrap_or_else(|e| panic!("{dtype:?} {recipe}: {e}")).kept(),
                    160,
                    "{dtype:?} {recipe}"
                );
            }
        }
    }
}

pub(crate) fn a_parameter_with_lora_is_refused(device: &Device) {
    let group = ParamGroup::from_paths(vec!["fc1.weight"]);
    let adapted =
        || Mlp::new(&device.clone().autodiff(), 5).apply_lora(Lora::new(2, 4.0).set_param_group(group.clone()));
    let mut model = adapted();
    let before = base(&model);
    for error in [pruner(HALF).prune(&mut model, None).unwrap_err(), pruner(HALF).start(&mut model).unwrap_err()] {
        assert!(matches!(&error, PruneError::Reparameterized { path, name } if path == "fc1.weight" && name == "lora"));
    }
    assert!(same_bits(&base(&model), &before));
    assert!(model.fc1.weight.adapter().is_some() && masks(&model).is_empty());

    // The rest can be pruned, but not finished: Burn would fold the adapter in too.
    let report = pruner(&format!("{HALF}\n[target]\nexclude = [\"fc1\"]")).prune(&mut model, None).unwrap();
    assert_eq!(report.layers.len(), 1);
    for error in [finish(&mut model).unwrap_err(), undo(&mut model).unwrap_err()] {
        assert!(matches!(error, PruneError::WouldFold { path, .. } if path == "fc1.weight"));
    }
    assert!(model.fc1.weight.adapter().is_some() && masks(&model).len() == 1);

    // Merged first, as the message says.
    let mut merged = adapted().materialize();
    pruner(HALF).prune(&mut merged, None).unwrap();
    finish(&mut merged).unwrap();
}

pub(crate) fn biases_and_norms_when_named(device: &Device) {
    let mut model = Cnn::new(device, 5);
    let recipe = format!("{HALF}\n[target]\ninclude = [\"conv1.bias\", \"*.gamma\", \"head\"]");
    let report = pruner(&recipe).prune(&mut model, None).unwrap();
    let paths: Vec<_> = report.layers.iter().map(|l| l.path.as_str()).collect();
    assert_eq!(paths, ["conv1.bias", "norm.gamma", "head.weight"]);
    assert_eq!(weights(&model, "norm.gamma").iter().filter(|w| **w == 0.0).count(), 4);
    assert_eq!(weights(&model, "conv1.bias").iter().filter(|w| **w == 0.0).count(), 4);
    // By default neither those nor embeddings are targets.
    let mut zoo = Zoo::new(device, 5);
    let report = pruner(HALF).prune(&mut zoo, None).unwrap();
    let wrong = ["bias", "gamma", "beta", "embedding", "running"];
    assert!(report.layers.iter().all(|l| !wrong.iter().any(|w| l.path.contains(w))), "{report}");
    assert_eq!(report.layers.len(), 7 + 4 + 8 + 2 + 1, "{report}");
}

pub(crate) fn running_statistics_are_refused(device: &Device) {
    let mut model = Cnn::new(device, 5);
    let before = effective(&model);
    let error =
        pruner(&format!("{HALF}\n[target]\ninclude = [\"norm.running_mean\"]")).prune(&mut model, None).unwrap_err();
    assert!(matches!(&error, PruneError::Buffer { path } if path == "norm.running_mean"), "{error}");
    let report = pruner(HALF).prune(&mut model, None).unwrap();
    assert!(report.skipped.iter().any(|s| s.path == "norm.running_var" && s.reason == SkipReason::RunningStatistic));
    undo(&mut model).unwrap();
    assert!(same_bits(&effective(&model), &before), "statistics are what they were");
}

pub(crate) fn weights_that_are_not_finite_are_named(device: &Device) {
    for bad in [f32::NAN, f32::INFINITY, f32::NEG_INFINITY] {
        for granularity in ["\"element\"", "\"2:4\"", "\"channel\""] {
            let mut model = Mlp::new(device, 5);
            model.fc1.weight = model.fc1.weight.map(|w| {
                let mut values: Vec<f32> = w.clone().into_data().iter::<f32>().collect();
                values[37] = bad;
                Tensor::from_data(TensorData::new(values, w.shape()), &w.device())
            });
            let budget = if granularity.contains(':') { "" } else { "sparsity = 0.5\n" };
            let recipe = format!("criterion = \"magnitude\"\n{budget}granularity = {granularity}");
            let error = pruner(&recipe).prune(&mut model, None).unwrap_err().to_string();
            assert!(error.starts_with("fc1.weight: criterion magnitude: score"), "{error}");
            assert!(error.contains("at index 37 is not finite"), "{error}");
            assert!(masks(&model).is_empty());
        }
    }
}
