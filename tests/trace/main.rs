//! Recording, replay, costs and groups.

use burn::backend::Flex;
use burn::module::Module;
use burn::nn::{Linear, LinearConfig};
use burn::tensor::activation::relu;
use burn::tensor::ops::PadMode;
use burn::tensor::{Bool, Device, IndexingUpdateOp, Int, Tensor};
use pruning_burn::shrink;
use pruning_burn::shrink::{Factor, Fields, ShrinkError, Shrinker, verify};
use pruning_burn::trace::{AxisRules, GroupError, ReplayError, Rule, Scope, Trace, TraceError, Values};
use pruning_tests::models::{Cnn, Mlp, filled, random};
use pruning_tests::shrinking::channels;
use pruning_tests::values::{base, same_bits};

#[test]
fn replay_equals_forward() {
    let device = Device::flex();
    let model = Cnn::new(&device, 3);
    let x = random([2, 3, 8, 8], 1, &device);
    let trace = Trace::record(&model, |m, s| {
        let x = s.input(&x);
        s.output(m.forward(x));
    })
    .unwrap();
    let y: Tensor<2> = trace.replay::<Flex, _>(&model, Values::new().with(x.clone())).unwrap().get(0).unwrap();
    assert_eq!(y.into_data(), model.forward(x).into_data());
}

/// Several inputs of every kind, and outputs in every way: used further, twice, and an input as it came.
fn mixed(m: &Mlp, x: Tensor<2>, mask: Tensor<2, Bool>, ids: Tensor<2, Int>) -> Mixed {
    let h = relu(m.fc1.forward(x.clone())).mask_fill(mask.clone(), 0.5);
    let y = m.fc2.forward(h) + ids.clone().float();
    (y.clone(), y.clone().exp() + 1.0, y, x, mask.clone().bool_not(), mask, ids + 3)
}

type Mixed = (Tensor<2>, Tensor<2>, Tensor<2>, Tensor<2>, Tensor<2, Bool>, Tensor<2, Bool>, Tensor<2, Int>);

#[test]
fn inputs_and_outputs_of_every_kind() {
    let device = Device::flex();
    let model = Mlp::new(&device, 4);
    let x = Mlp::input(2, &device);
    let mask = random([2, 16], 2, &device).greater_elem(0.5);
    let ids = Tensor::<2, Int>::from_ints([[0, 1, 2, 3, 4, 5, 6, 7], [7, 6, 5, 4, 3, 2, 1, 0]], &device);
    let trace = Trace::record(&model, |m, s| {
        let (x, mask, ids) = (s.input(&x), s.input(&mask), s.input(&ids));
        let (a, b, c, d, e, f, g) = mixed(m, x, mask, ids);
        s.output(a);
        s.output(b);
        s.output(c);
        s.output(d);
        s.output(e);
        s.output(f);
        s.output(g);
    })
    .unwrap();
    let values = Values::new().with(x.clone()).with(mask.clone()).with(ids.clone());
    let out = trace.replay::<Flex, _>(&model, values).unwrap();
    assert_eq!(out.len(), 7);
    let (a, b, c, d, e, f, g) = mixed(&model, x, mask, ids);
    for (index, expected) in [a, b, c, d].into_iter().enumerate() {
        assert_eq!(out.get::<2, burn::tensor::Float>(index).unwrap().into_data(), expected.into_data(), "{index}");
    }
    for (index, expected) in [e, f].into_iter().enumerate() {
        assert_eq!(out.get::<2, Bool>(4 + index).unwrap().into_data(), expected.into_data());
    }
    assert_eq!(out.get::<2, Int>(6).unwrap().into_data(), g.into_data());
    // Another rank, another kind, and one too many.
    assert_eq!(out.get::<3, burn::tensor::Float>(0).unwrap_err(), ReplayError::Output { index: 0 });
    assert_eq!(out.get::<2, Int>(0).unwrap_err(), ReplayError::Output { index: 0 });
    assert_eq!(out.get::<2, Int>(7).unwrap_err(), ReplayError::Output { index: 7 });
}

#[test]
fn a_forward_that_cannot_be_recorded_is_an_error_and_changes_nothing() {
    let device = Device::flex();
    let model = Cnn::new(&device, 5);
    let x = random([2, 3, 8, 8], 3, &device);
    let (before, y) = (base(&model), model.forward(x.clone()).into_data());

    let error = Trace::record(&model, |m: &Cnn, s: &mut Scope| {
        let y = m.forward(s.input(&x));
        let positive = y.clone().sum().into_scalar::<f32>() > 0.0;
        s.output(if positive { y } else { y.neg() });
    });
    let error = error.unwrap_err();
    assert!(matches!(&error, TraceError::Panicked { message } if !message.is_empty()), "{error}");
    assert!(error.to_string().contains("out of the traced function"), "{error}");

    let own = Trace::record(&model, |_: &Cnn, _: &mut Scope| panic!("no more"));
    assert_eq!(own.unwrap_err(), TraceError::Panicked { message: "no more".to_string() });

    let none = Trace::record(&model, |m: &Cnn, s: &mut Scope| drop(m.forward(s.input(&x))));
    assert_eq!(none.unwrap_err(), TraceError::NoOutput);

    let foreign = Trace::record(&model, |m: &Cnn, s: &mut Scope| {
        let y = m.forward(s.input(&x));
        s.output(y);
        s.output(Tensor::<1>::ones([1], &device));
    });
    assert_eq!(foreign.unwrap_err(), TraceError::Foreign { index: 1 });

    assert!(same_bits(&base(&model), &before));
    assert_eq!(model.forward(x.clone()).into_data(), y);
    let recorded = Trace::record(&model, |m: &Cnn, s: &mut Scope| {
        let y = m.forward(s.input(&x));
        s.output(y);
    });
    let out = recorded.unwrap().replay::<Flex, _>(&model, Values::new().with(x)).unwrap();
    assert_eq!(out.get::<2, burn::tensor::Float>(0).unwrap().into_data(), y);
}

#[test]
fn a_replay_that_does_not_fit_is_an_error() {
    let device = Device::flex();
    let model = Mlp::new(&device, 6);
    let x = Mlp::input(2, &device);
    let trace = Trace::record(&model, |m: &Mlp, s: &mut Scope| {
        let y = m.forward(s.input(&x));
        s.output(y);
    })
    .unwrap();
    let fails = |values: Values| trace.replay::<Flex, _>(&model, values).map(|_| ()).unwrap_err();
    assert_eq!(fails(Values::new()), ReplayError::Inputs { expected: 1, found: 0 });
    let two = Values::new().with(x.clone()).with(x.clone());
    assert_eq!(fails(two), ReplayError::Inputs { expected: 1, found: 2 });
    let larger = fails(Values::new().with(Mlp::input(3, &device)));
    assert!(matches!(&larger, ReplayError::Input { index: 0, .. }), "{larger}");
    assert!(larger.to_string().contains("[3, 12]") && larger.to_string().contains("[2, 12]"), "{larger}");
    let ints = fails(Values::new().with(Tensor::<2, Int>::zeros([2, 12], &device)));
    assert!(matches!(&ints, ReplayError::Input { index: 0, .. }), "{ints}");
    let flat = fails(Values::new().with(Tensor::<1>::zeros([24], &device)));
    assert!(matches!(&flat, ReplayError::Input { index: 0, .. }), "{flat}");

    let mut other = model.clone();
    other.fc2 = LinearConfig::new(16, 9).with_bias(false).init(&device);
    let error = trace.replay::<Flex, _>(&other, Values::new().with(x.clone())).map(|_| ()).unwrap_err();
    let path = "fc2.weight".to_string();
    assert_eq!(error, ReplayError::Parameter { path, expected: vec![16, 8], found: vec![16, 9] });
    let error = trace.replay::<Flex, _>(&model.fc1, Values::new().with(x)).map(|_| ()).unwrap_err();
    assert!(matches!(error, ReplayError::Parameter { found, .. } if found.is_empty()));
}

/// Adds up the entries of each channel along a sequence, by an operation that has no rule.
#[derive(Module, Debug)]
struct Scattering {
    first: Linear,
    last: Linear,
}

impl Scattering {
    fn added(&self, x: Tensor<3>) -> Tensor<3> {
        let x = self.first.forward(x);
        let start = Tensor::<3, Int>::zeros(x.dims(), &x.device());
        x.clone().scatter(1, start, x, IndexingUpdateOp::Add)
    }

    fn forward(&self, x: Tensor<3>) -> Tensor<3> {
        self.last.forward(self.added(x))
    }
}

#[test]
fn an_operation_without_a_rule_needs_one() {
    let device = Device::flex();
    let linear = |from, to| LinearConfig::new(from, to).init(&device);
    let model = filled(Scattering { first: linear(4, 10), last: linear(10, 3) }, 7);
    let x = random([2, 5, 4], 4, &device);
    let forward = |m: &Scattering, s: &mut Scope| {
        let y = m.forward(s.input(&x));
        s.output(y);
    };
    let trace = Trace::record(&model, forward).unwrap();
    let half = channels(0.5, "");

    // It keeps its channels, and says so.
    let error = Shrinker::new(&half).plan(&model, &trace, None).unwrap_err();
    let says = "no channels can be removed: first.weight: no rule says what `scatter` does to channels";
    assert_eq!(error.to_string(), says);

    let strict = AxisRules::new().with_strict();
    let error = Shrinker::new(&half).with_rules(strict.clone()).plan(&model, &trace, None).unwrap_err();
    let ShrinkError::Group(GroupError::NoRule { index, operation, near }) = &error else { panic!("{error}") };
    assert!(*index < trace.len() && near.starts_with("first."), "{error}");
    assert_eq!(operation, "scatter");
    assert_eq!(
        trace.groups(Factor::Inner, &strict).unwrap_err(),
        GroupError::NoRule { index: *index, operation: operation.clone(), near: near.clone() }
    );
    // Costs need no rule.
    assert_eq!(trace.costs().macs(), 2 * 5 * (4 * 10 + 10 * 3));

    // Channel by channel, and zeros stay zeros.
    let rules = strict.with(operation.clone(), Rule::Elementwise { keeps_zero: true });
    let plan = Shrinker::new(&half).with_rules(rules).plan(&model, &trace, None).unwrap();
    let (mut masked, mut smaller) = (model.clone(), model.clone());
    shrink::mask(&plan, &mut masked).unwrap();
    shrink::apply(&plan, &mut smaller, |_: &mut Scattering, _: &mut Fields| {}, forward).unwrap();
    assert_eq!(smaller.first.weight.dims(), [4, 5]);
    assert!(verify(&masked, &smaller, forward).unwrap().max_rel < 1e-6);

    let fixed = AxisRules::new().with(operation.clone(), Rule::Fixed);
    let error = Shrinker::new(&half).with_rules(fixed).plan(&model, &trace, None).unwrap_err();
    assert!(matches!(error, ShrinkError::NothingToRemove { .. }), "{error}");

    // Where channels are summed up without a weight, they can go if they are zero.
    let sum = Trace::record(&model, |m: &Scattering, s: &mut Scope| {
        let y = m.added(s.input(&x));
        s.output(y.sum_dim(2));
    })
    .unwrap();
    for (keeps_zero, groups) in [(true, 1), (false, 0)] {
        let rules = AxisRules::new().with(operation.clone(), Rule::Elementwise { keeps_zero });
        assert_eq!(sum.groups(Factor::Inner, &rules).unwrap().groups.len(), groups);
    }
}

#[test]
fn channels_padded_with_a_number_are_not_zero() {
    let device = Device::flex();
    let model = LinearConfig::new(4, 6).init(&device);
    let x = random([2, 5, 4], 5, &device);
    for (value, groups) in [(0.0, 1), (1.0, 0)] {
        let trace = Trace::record(&model, |m: &Linear, s: &mut Scope| {
            let y = m.forward(s.input(&x)).pad([(1, 1), (0, 0)], PadMode::Constant(value));
            s.output(y.sum_dim(2));
        })
        .unwrap();
        assert_eq!(trace.groups(Factor::Inner, &AxisRules::new()).unwrap().groups.len(), groups, "{value}");
    }
}

#[test]
fn a_cross_product_of_channels_keeps_them() {
    let device = Device::flex();
    let linear = |from, to| LinearConfig::new(from, to).init(&device);
    let model = filled(Scattering { first: linear(4, 6), last: linear(6, 3) }, 8);
    let x = random([2, 4], 6, &device);
    let trace = Trace::record(&model, |m: &Scattering, s: &mut Scope| {
        let y = m.last.forward(relu(m.first.forward(s.input(&x))));
        s.output(y.clone().cross(y.exp(), 1));
    })
    .unwrap();
    let error = trace.groups(Factor::Inner, &AxisRules::new().with_strict()).unwrap_err();
    assert!(matches!(&error, GroupError::NoRule { operation, .. } if operation == "cross"), "{error}");
    assert!(error.to_string().contains("after last."), "{error}");
    // Without a rule it keeps what it crosses, and nothing else.
    for rules in [AxisRules::new(), AxisRules::new().with_strict().with("cross", Rule::Fixed)] {
        let groups = trace.groups(Factor::Inner, &rules).unwrap();
        assert_eq!(groups.groups.len(), 1);
        assert_eq!(groups.groups[0].units.len(), 6);
    }
}

#[test]
fn a_rule_of_the_users_that_does_not_fit_keeps_its_operands() {
    let device = Device::flex();
    let linear = |from, to| LinearConfig::new(from, to).init(&device);
    let model = filled(Scattering { first: linear(4, 6), last: linear(6, 3) }, 9);
    let x = random([2, 5, 4], 7, &device);
    let trace = Trace::record(&model, |m: &Scattering, s: &mut Scope| {
        let x = m.first.forward(s.input(&x));
        // Indices and values are shorter than what they are scattered to.
        let value = x.clone().narrow(1, 0, 2).exp();
        let at = Tensor::<3, Int>::zeros(value.dims(), &x.device());
        s.output(m.last.forward(x.scatter(1, at, value, IndexingUpdateOp::Add)));
    })
    .unwrap();
    let rules = AxisRules::new().with("scatter", Rule::Elementwise { keeps_zero: true });
    let groups = trace.groups(Factor::Inner, &rules).unwrap();
    assert_eq!(groups.groups.len(), 1, "{groups}");
    let other = Trace::record(&model, |m: &Scattering, s: &mut Scope| {
        let x = m.first.forward(s.input(&x));
        let value = x.clone().narrow(2, 0, 2).exp();
        let at = Tensor::<3, Int>::zeros(value.dims(), &x.device());
        s.output(m.last.forward(x.scatter(2, at, value, IndexingUpdateOp::Add)));
    })
    .unwrap();
    let groups = other.groups(Factor::Inner, &rules).unwrap();
    assert!(groups.groups.is_empty(), "{groups}");
}
