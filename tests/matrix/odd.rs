//! Parameters that cannot be pruned, or not as they are: skipped with a reason or a typed error, and the model is what it was.

use crate::pruner;
use burn::module::{Module, ModuleMapper, Param, ParamGroup, ParamId, Quantizer};
use burn::nn::{Linear, LinearConfig};
use burn::optim::{AdamConfig, GradientsParams, ModuleOptimizer, SgdConfig};
use burn::tensor::quantization::{Calibration, QuantValue};
use burn::tensor::{DType, Device, Int, Tensor, TensorData};
use pruning_burn::PruneError;
use pruning_burn::analyze::recalibrate_batch_norm;
use pruning_burn::mask::{Bits, Mask, MaskSet, attach, finish, masks, soft_threshold, undo, update};
use pruning_burn::recipe::Targets;
use pruning_burn::report::SkipReason;
use pruning_burn::score::{CriterionInputs, InputError, Need};
use pruning_burn::session::mask_optimizer;
use pruning_tests::models::{Mlp, Tied};
use pruning_tests::values::{base, same_bits, weights};

const HALF: &str = "criterion = \"magnitude\"\nsparsity = 0.5";

fn quantized(model: Mlp, device: &Device) -> Mlp {
    let scheme = device.settings().quantization.scheme.with_value(QuantValue::Q8S);
    let mut quantizer = Quantizer::new(Calibration::MinMax, scheme);
    model.quantize_weights_group(&mut quantizer, ParamGroup::from_paths(vec!["fc1.weight"]))
}

pub(crate) fn quantized_weights_are_skipped_or_refused(device: &Device) {
    let mut model = quantized(Mlp::new(device, 1), device);
    assert!(matches!(model.fc1.weight.base().dtype(), DType::QFloat(_)));
    let report = pruner(HALF).prune(&mut model, None).unwrap();
    assert_eq!(report.layers.iter().map(|l| l.path.as_str()).collect::<Vec<_>>(), ["fc2.weight"]);
    let reason = &report.skipped.iter().find(|s| s.path == "fc1.weight").unwrap().reason;
    assert_eq!(*reason, SkipReason::Quantized);
    assert_eq!(reason.to_string(), "its values are quantized: prune first, then quantize");
    undo(&mut model).unwrap();
    let named = pruner(&format!("{HALF}\ntarget = {{ include = [\"fc1.weight\"] }}"));
    assert_eq!(named.prune(&mut model, None).unwrap_err(), PruneError::NoTarget);
    let own = MaskSet::new([("fc1.weight".to_string(), Mask::dense([12, 16]).unwrap())]).unwrap();
    let error = attach(&mut model, &own).unwrap_err();
    assert_eq!(error, PruneError::Quantized { path: "fc1.weight".to_string() });
    let error = soft_threshold::learn(&mut model, &Targets::default(), -5.0).unwrap_err();
    assert_eq!(error, PruneError::Quantized { path: "fc1.weight".to_string() });
    assert!(masks(&model).is_empty());
    // A session with a snapshot leaves it alone.
    let rewinding = pruner(&format!("{HALF}\ninitialization = \"rewind\""));
    let mut session = rewinding.start(&mut model).unwrap();
    assert_eq!(session.step(&mut model, None).unwrap().unwrap().kept(), 64);
    finish(&mut model).unwrap();
    assert!(matches!(model.fc1.weight.base().dtype(), DType::QFloat(_)));
    // A masked model may be quantized; its session says what has become of the target.
    let mut masked = Mlp::new(device, 1);
    let mut session = pruner(HALF).start(&mut masked).unwrap();
    let mut masked = quantized(masked, device);
    let error = session.step(&mut masked, None).unwrap_err();
    assert_eq!(error, PruneError::TargetsChanged { path: "fc1.weight".to_string() });
}

/// Parameters of every odd size.
#[derive(Module, Debug)]
struct Odd {
    none: Linear,
    one: Param<Tensor<1>>,
    number: Param<Tensor<1, Int>>,
    layer: Linear,
}

impl Odd {
    fn new(device: &Device) -> Self {
        let linear = |i, o| LinearConfig::new(i, o).with_bias(false).init(device);
        let number = Param::initialized(ParamId::new(), Tensor::<1, Int>::from_data([7], device));
        Self {
            none: linear(0, 4),
            one: Param::from_tensor(Tensor::from_data([3.0], device)),
            number,
            layer: linear(4, 2),
        }
    }
}

pub(crate) fn parameters_without_elements_and_of_one_are_no_panic(device: &Device) {
    let mut model = Odd::new(device);
    let everything = pruner(&format!("{HALF}\ntarget = {{ include = [\"*.weight\", \"one\"] }}"));
    let report = everything.prune(&mut model, None).unwrap();
    assert_eq!(
        report.layers.iter().map(|l| (l.path.as_str(), l.kept)).collect::<Vec<_>>(),
        [("one", 1), ("layer.weight", 4)]
    );
    let reason = &report.skipped.iter().find(|s| s.path == "none.weight").unwrap().reason;
    assert_eq!(*reason, SkipReason::Empty);
    assert_eq!(reason.to_string(), "has no elements");
    let mask = |path: &str, shape: &[usize], bits: &[bool]| {
        MaskSet::new([(path.to_string(), Mask::new(shape, Bits::from_bools(bits)).unwrap())]).unwrap()
    };
    update(&mut model, &mask("one", &[1], &[false])).unwrap();
    assert_eq!(weights(&model, "one"), [0.0]);
    let before = base(&model);
    let error = attach(&mut model, &mask("none.weight", &[0, 4], &[])).unwrap_err();
    assert_eq!(error, PruneError::Empty { path: "none.weight".to_string() });
    let error = attach(&mut model, &mask("number", &[1], &[true])).unwrap_err();
    assert!(matches!(&error, PruneError::UnknownParameter { path, .. } if path == "number"), "{error}");
    assert!(same_bits(&base(&model), &before));
    finish(&mut model).unwrap();
    assert_eq!(weights(&model, "one"), [0.0]);
    let named = pruner(&format!("{HALF}\ntarget = {{ include = [\"number\"] }}"));
    assert!(matches!(named.prune(&mut model, None), Err(PruneError::Unmatched { .. })));
}

fn with_bad(device: &Device, bad: f32) -> Mlp {
    let mut model = Mlp::new(device, 5);
    model.fc1.weight = model.fc1.weight.map(|w| {
        let mut values: Vec<f32> = w.clone().into_data().iter::<f32>().collect();
        values[37] = bad;
        Tensor::from_data(TensorData::new(values, w.shape()), &w.device())
    });
    model
}

struct Zeros;

impl ModuleMapper for Zeros {
    fn map_float<const D: usize>(&mut self, param: Param<Tensor<D>>) -> Param<Tensor<D>> {
        param.map(|tensor| tensor.zeros_like())
    }
}

pub(crate) fn masks_over_what_is_not_finite_are_refused(device: &Device) {
    let only = |kept: bool| {
        let bits: Vec<bool> = (0..192).map(|i| (i == 37) == kept).collect();
        MaskSet::new([("fc1.weight".to_string(), Mask::new([12, 16], Bits::from_bools(&bits)).unwrap())]).unwrap()
    };
    for bad in [f32::NAN, f32::INFINITY, f32::NEG_INFINITY] {
        let refused = |error: PruneError| {
            let expected = format!("fc1.weight: the weight {bad} at index 37 cannot be masked");
            assert!(error.to_string().starts_with(&expected), "{error}");
        };
        let mut model = with_bad(device, bad);
        let before = base(&model);
        refused(attach(&mut model, &only(false)).unwrap_err());
        // Whatever the criterion looks at.
        let random = pruner("criterion = \"random\"\nsparsity = 0.99");
        refused(random.prune(&mut model, None).unwrap_err());
        assert!(masks(&model).is_empty() && same_bits(&base(&model), &before));
        // A weight that stays is the model's own affair.
        attach(&mut model, &only(true)).unwrap();
        refused(update(&mut model, &only(false)).unwrap_err());
        assert_eq!(masks(&model), only(true));
        assert!(same_bits(&base(&model), &before));
        // A session, whose weights went wrong on the way, and one that goes back to such weights.
        let rewinding = pruner("criterion = \"random\"\nsparsity = 0.99\ninitialization = \"rewind\"");
        let mut model = with_bad(device, bad);
        let mut session = rewinding.start(&mut model).unwrap();
        refused(session.step(&mut model, None).unwrap_err());
        let mut model = model.map(&mut Zeros);
        refused(session.step(&mut model, None).unwrap_err());
        assert_eq!((session.steps(), masks(&model).sparsity()), (0, 0.0));
    }
}

pub(crate) fn parameters_that_share_an_id_must_be_the_same(device: &Device) {
    let device = device.clone().autodiff();
    let tied = Tied::new(&device, 5);
    let mut model = tied.clone();
    model.second.weight = model.second.weight.map(|w| w * 2.0);
    assert_eq!(model.first.weight.id, model.second.weight.id);
    let before = base(&model);
    let named = |error: &dyn std::fmt::Display| {
        let expected = "first.weight and second.weight: have the same parameter id and different values";
        assert!(error.to_string().starts_with(expected), "{error}");
    };
    let half = pruner(HALF);
    named(&half.prune(&mut model, None).unwrap_err());
    named(&half.start(&mut model).unwrap_err());
    let mask = MaskSet::new([("first.weight".to_string(), Mask::dense([8, 8]).unwrap())]).unwrap();
    named(&attach(&mut model, &mask).unwrap_err());
    named(&soft_threshold::learn(&mut model, &Targets::default(), -5.0).unwrap_err());
    named(&mask_optimizer(&model, &SgdConfig::new().init()).err().unwrap());
    named(&pruning_burn::mask::report(&model).unwrap_err());
    named(&pruning_burn::analyze::sensitivity::Scan::new(&half).run(&model, |_| 0.0).unwrap_err());
    let loss = |m: &Tied, (): &()| {
        m.head.forward(m.first.forward(Tensor::<2>::ones([1, 8], &m.first.weight.lazy_device()))).sum()
    };
    named(&CriterionInputs::new().with_gradients(&model, Need::GRADIENT, &[()], loss).unwrap_err());
    named(&recalibrate_batch_norm(&mut model, &[()], |_, ()| ()).unwrap_err());
    assert!(same_bits(&base(&model), &before) && masks(&model).is_empty());
    // Masked before they went apart, as by an optimizer that updates the first of them alone.
    let mut model = tied.clone();
    let mut session = half.start(&mut model).unwrap();
    model.first.weight = model.first.weight.map(|w| w + 1.0);
    for error in
        [session.step(&mut model, None).unwrap_err(), finish(&mut model).unwrap_err(), undo(&mut model).unwrap_err()]
    {
        named(&error);
    }
    assert_eq!(session.steps(), 0);
    // Equal numbers in two places are one parameter, and so are clones with NaN in them.
    let mut model = tied.clone();
    model.second.weight = model.second.weight.map(|w| w * 1.0);
    half.prune(&mut model, None).unwrap();
    let mut model = tied;
    model.first.weight = model.first.weight.map(|w| w.zeros_like() / 0.0);
    model.second = model.first.clone();
    let error = half.prune(&mut model, None).unwrap_err();
    assert!(error.to_string().starts_with("first.weight: criterion magnitude: score NaN"), "{error}");
}

pub(crate) fn thresholds_begin_at_a_number(device: &Device) {
    let mut model = Mlp::new(device, 1);
    let before = base(&model);
    for s in [f64::NAN, f64::INFINITY, f64::NEG_INFINITY, 1e300] {
        let error = soft_threshold::learn(&mut model, &Targets::default(), s).unwrap_err();
        assert_eq!(error, PruneError::Threshold { value: s.to_string() });
    }
    assert!(same_bits(&base(&model), &before) && model.fc1.weight.adapter().is_none());
}

fn trained(device: &Device, seed: u64) -> (Mlp, ModuleOptimizer) {
    let (mut optimizer, model) = (AdamConfig::new().init(), Mlp::new(device, seed));
    let loss = model.forward(Mlp::input(6, device)).square().mean();
    let gradients = GradientsParams::from_grads(loss.backward(), &model);
    (optimizer.step(0.05, model, gradients), optimizer)
}

pub(crate) fn an_optimizer_of_another_model_is_refused(device: &Device) {
    let device = device.clone().autodiff();
    let ((mut model, own), (_, other)) = (trained(&device, 1), trained(&device, 2));
    pruner(HALF).prune(&mut model, None).unwrap();
    assert!(mask_optimizer(&model, &own).is_ok());
    // One that has no state yet belongs to any model.
    assert!(mask_optimizer(&model, &AdamConfig::new().init()).is_ok());
    let error = mask_optimizer(&model, &other).err().unwrap();
    assert!(matches!(error, PruneError::AnotherOptimizer { moments } if moments > 0), "{error}");
}

pub(crate) fn a_loss_without_the_model_is_an_error(device: &Device) {
    let device = device.clone().autodiff();
    let model = Mlp::new(&device, 1);
    let batches = [Mlp::input(3, &device)];
    let plain = device.clone().without_autodiff();
    let collect = |loss: &dyn Fn(&Mlp, &Tensor<2>) -> Tensor<1>| {
        CriterionInputs::new().with_gradients(&model, Need::GRADIENT, &batches, loss).unwrap_err()
    };
    let other = Mlp::new(&device, 2);
    assert_eq!(collect(&|_, _| Tensor::from_data([1.0], &plain)), InputError::NoGradient);
    assert_eq!(collect(&|_, _| Tensor::from_data([1.0], &device)), InputError::NoGradient);
    assert_eq!(collect(&|_, x| x.clone().mean()), InputError::NoGradient);
    assert_eq!(collect(&|_, x| other.forward(x.clone()).mean()), InputError::NoGradient);
    assert_eq!(collect(&|_, x| model.forward(x.clone()).mean()), InputError::NoGradient);
    let flow = CriterionInputs::new().with_flow(&model, |_| Tensor::<1>::from_data([1.0], &device)).unwrap_err();
    assert_eq!(flow, InputError::NoGradient);
}

pub(crate) fn inputs_of_another_shape_are_errors(device: &Device) {
    let device = device.clone().autodiff();
    let linear = |i, o| LinearConfig::new(i, o).with_bias(false).init(&device);
    let (wide, mut tall) = (linear(6, 4), linear(4, 6));
    let loss = |m: &Linear, x: &Tensor<2>| m.forward(x.clone()).square().mean();
    let inputs =
        CriterionInputs::new().with_gradients(&wide, Need::GRADIENT, &[Tensor::ones([2, 6], &device)], loss).unwrap();
    let taylor = pruner("criterion = \"taylor\"\nsparsity = 0.5");
    let error = taylor.prune(&mut tall, &inputs).unwrap_err().to_string();
    let expected = "weight: criterion taylor: the input gradient has shape [6, 4], the parameter [4, 6]";
    assert!(error.starts_with(expected), "{error}");
    assert!(masks(&tall).is_empty());
    taylor.prune(&mut wide.clone(), &inputs).unwrap();
    // New weights of another shape are another model's too.
    let again = pruner("criterion = \"magnitude\"\nsparsity = 0.5\ninitialization = \"reinitialize\"");
    let mut session = again.start(&mut tall).unwrap();
    session.start_from(&wide);
    let error = session.step(&mut tall, None).unwrap_err();
    assert_eq!(error, PruneError::OtherModel { path: "weight".to_string() });
}
