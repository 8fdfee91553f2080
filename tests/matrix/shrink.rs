//! Traces and smaller models on every device.

use crate::parameters::Cast;
use crate::pruner;
use burn::module::Module;
use burn::tensor::{Bool, DType, Device, Int, Tensor};
use pruning_burn::shrink;
use pruning_burn::shrink::{Fields, Shrinker, verify};
use pruning_burn::trace::{ReplayError, Scope, Trace, Values};
use pruning_tests::devices::replay;
use pruning_tests::models::{Cnn, Zoo, random};
use pruning_tests::values::{base, same_bits};

fn close(a: &[f32], b: &[f32]) -> bool {
    let largest = a.iter().fold(0.0_f32, |m, x| m.max(x.abs()));
    a.len() == b.len() && a.iter().zip(b).all(|(x, y)| (x - y).abs() <= 1e-5 * largest)
}

fn numbers<const D: usize>(tensor: Tensor<D>) -> Vec<f32> {
    tensor.into_data().iter::<f32>().collect()
}

pub(crate) fn every_float_type_is_replayed_and_another_is_named(device: &Device) {
    let single = Cnn::new(device, 4);
    let picture = random([2, 3, 8, 8], 1, device);
    let record = |model: &Cnn, x: &Tensor<4>| {
        let forward = |m: &Cnn, s: &mut Scope| {
            let x = s.input(x);
            s.output(m.forward(x));
        };
        Trace::record(model, forward).unwrap()
    };
    let recorded = record(&single, &picture);
    for dtype in [DType::F64, DType::F16, DType::BF16].into_iter().filter(|dtype| device.supports_dtype(*dtype)) {
        let model = single.clone().map(&mut Cast(dtype));
        let x = picture.clone().cast(dtype);
        let outputs = replay(&record(&model, &x), &model, Values::new().with(x.clone()));
        let got: Tensor<2> = outputs.get(0).unwrap();
        assert_eq!(got.dtype(), dtype);
        assert_eq!(numbers(got), numbers(model.forward(x.clone())), "{dtype:?}");
        if *device != Device::flex() {
            continue;
        }
        // A trace of other types.
        let named = |model: &Cnn, x: Tensor<4>| {
            recorded.replay::<burn::backend::Flex, Cnn>(model, Values::new().with(x)).unwrap_err()
        };
        let error = named(&model, picture.clone());
        assert!(matches!(&error, ReplayError::Type { expected, .. } if expected == "F32"), "{error}");
        assert!(matches!(named(&single, x), ReplayError::Input { index: 0, .. }));
    }
}

/// Layers of every type, with float, int and bool inputs, and an output of each kind.
pub(crate) fn replay_equals_forward(device: &Device) {
    let model = Zoo::new(device, 4);
    let before = base(&model);
    let x = |shape: [usize; 4]| random(shape, 2, device);
    let (picture, steps) = (x([2, 4, 5, 5]), x([2, 5, 8, 1]).reshape([2, 5, 8]));
    let ids = Tensor::<2, Int>::from_ints([[1, 3, 9], [0, 2, 2]], device);
    let keep = Tensor::<2, Bool>::from_data([[true, false, true], [false, true, true]], device);
    let forward = |m: &Zoo, picture: Tensor<4>, steps: Tensor<3>, ids: Tensor<2, Int>, keep: Tensor<2, Bool>| {
        let conv = m.up2.forward(m.conv2.forward(picture.clone()).narrow(1, 0, 4));
        let norms = m.group_norm.forward(m.batch_norm.forward(m.conv2.forward(picture)));
        let read = m.embedding.forward(ids.clone());
        let read = m.layer_norm.forward(read).mask_fill(keep.clone().unsqueeze_dim::<3>(2).repeat_dim(2, 8), 0.5);
        let (hidden, _) = m.lstm.forward(steps.clone(), None);
        let context = m.attention.forward(burn::nn::attention::MhaInput::self_attn(steps.clone())).context;
        (
            conv,
            norms,
            m.linear.forward(read),
            hidden,
            context,
            ids + 1,
            keep.bool_not(),
            m.conv1.forward(steps.narrow(1, 0, 4)),
        )
    };
    let trace = Trace::record(&model, |m: &Zoo, s: &mut Scope| {
        let (picture, steps) = (s.input(&picture), s.input(&steps));
        let (ids, keep) = (s.input(&ids), s.input(&keep));
        let (a, b, c, d, e, f, g, h) = forward(m, picture.clone(), steps, ids, keep);
        s.output(a);
        s.output(b.clone());
        s.output(c);
        s.output(d);
        s.output(e);
        s.output(f);
        s.output(g);
        s.output(h);
        // Once more, and an input as it is.
        s.output(b);
        s.output(picture);
    })
    .unwrap();
    assert!(same_bits(&base(&model), &before));
    let inputs = Values::new().with(picture.clone()).with(steps.clone()).with(ids.clone()).with(keep.clone());
    let found = replay(&trace, &model, inputs);
    let (a, b, c, d, e, f, g, h) = forward(&model, picture.clone(), steps, ids, keep);
    assert!(close(&numbers(found.get::<4, _>(0).unwrap()), &numbers(a)));
    assert!(close(&numbers(found.get::<4, _>(1).unwrap()), &numbers(b.clone())));
    assert!(close(&numbers(found.get::<3, _>(2).unwrap()), &numbers(c)));
    assert!(close(&numbers(found.get::<3, _>(3).unwrap()), &numbers(d)));
    assert!(close(&numbers(found.get::<3, _>(4).unwrap()), &numbers(e)));
    let ints = |t: Tensor<2, Int>| t.into_data().iter::<i64>().collect::<Vec<_>>();
    assert_eq!(ints(found.get(5).unwrap()), ints(f));
    let bools = |t: Tensor<2, Bool>| t.into_data().iter::<bool>().collect::<Vec<_>>();
    assert_eq!(bools(found.get(6).unwrap()), bools(g));
    assert!(close(&numbers(found.get::<3, _>(7).unwrap()), &numbers(h)));
    assert!(close(&numbers(found.get::<4, _>(8).unwrap()), &numbers(b)));
    assert_eq!(numbers(found.get::<4, _>(9).unwrap()), numbers(picture));
    assert!(found.get::<2, burn::tensor::Float>(10).is_err() && found.get::<3, burn::tensor::Float>(0).is_err());
}

/// An input that no one reads, and outputs that no operation makes.
pub(crate) fn what_is_handed_through_is_replayed(device: &Device) {
    let model = Cnn::new(device, 5);
    let x = Tensor::<1>::from_floats([1.0, 2.0], device);
    let trace = Trace::record(&model, |m: &Cnn, s: &mut Scope| {
        let (_unused, read) = (s.input(&Tensor::<1>::from_floats([9.0], &x.device())), s.input(&x));
        let constant = Tensor::<1>::from_floats([3.0, 4.0], s.device());
        s.output(m.norm.gamma.val());
        s.output(constant.clone());
        s.output(read + constant);
    })
    .unwrap();
    let inputs = Values::new().with(Tensor::<1>::from_floats([7.0], device)).with(x);
    let found = replay(&trace, &model, inputs);
    assert_eq!(numbers(found.get::<1, _>(0).unwrap()), numbers(model.norm.gamma.val()));
    assert_eq!(numbers(found.get::<1, _>(1).unwrap()), [3.0, 4.0]);
    assert_eq!(numbers(found.get::<1, _>(2).unwrap()), [4.0, 6.0]);
}

/// The same plan everywhere, and the smaller model computes what the masked one did.
pub(crate) fn smaller_models_compute_what_masked_ones_did(device: &Device) {
    let x = random([2, 3, 8, 8], 3, device);
    let forward = |m: &Cnn, s: &mut Scope| {
        let x = s.input(&x);
        s.output(m.forward(x));
    };
    let pruner = pruner("criterion = \"magnitude\"\ngranularity = \"channel\"\nsparsity = 0.5");
    let plan = |device: &Device| {
        let model = Cnn::new(device, 3);
        Shrinker::new(&pruner).plan(&model, &Trace::record(&model, forward).unwrap(), None).unwrap()
    };
    assert_eq!(plan(device), plan(&Device::flex()));
    let plan = plan(device);
    let mut model = Cnn::new(&device.clone().autodiff(), 3);
    let mut masked = model.clone();
    shrink::mask(&plan, &mut masked).unwrap();
    shrink::apply(&plan, &mut model, |_: &mut Cnn, _: &mut Fields| {}, forward).unwrap();
    let difference = verify(&masked, &model, forward).unwrap();
    assert!(difference.max_rel < 1e-5, "{difference:?}");
    // It is on its device, and trains.
    assert_eq!(model.conv1.weight.lazy_device(), masked.conv1.weight.lazy_device());
    let gradients = model.forward(Tensor::from_inner(x.clone())).sum().backward();
    assert_eq!(model.conv2.weight.val().grad(&gradients).unwrap().dims(), [4, 4, 3, 3]);
}
