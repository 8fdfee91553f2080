//! Networks of random structure: for every one and every plan, what is left computes what the masked one computed.

use burn::backend::Flex;
use burn::module::Module;
use burn::nn::conv::{Conv2d, Conv2dConfig};
use burn::nn::{BatchNorm, BatchNormConfig, Linear, LinearConfig, PaddingConfig2d};
use burn::tensor::activation::{relu, sigmoid, tanh};
use burn::tensor::{Device, Float, Tensor};
use proptest::prelude::*;
use pruning_burn::shrink;
use pruning_burn::shrink::{Fields, Shrinker, verify};
use pruning_burn::trace::{AxisRules, Scope, Trace, Values};
use pruning_tests::models::{filled, numbers};

/// A step from earlier tensors to a new one.
#[derive(Clone, Debug)]
enum Step {
    /// Convolution of an earlier tensor, with a norm or not.
    Conv { from: usize, channels: usize, norm: bool },
    /// Grouped convolution, in as many groups as its input allows of `groups`.
    Grouped { from: usize, groups: usize },
    /// A convolution to the channels of another tensor, which is added or multiplied.
    Join { from: usize, with: usize, product: bool },
    /// Concatenation.
    Concat { a: usize, b: usize },
    /// An activation; sigmoid leaves no zeros.
    Activation { from: usize, which: usize },
    /// Channels in two pieces, one of which gates the other.
    Gate { from: usize },
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        (0..99usize, 2..9usize, any::<bool>()).prop_map(|(from, channels, norm)| Step::Conv { from, channels, norm }),
        (0..99usize, 1..4usize).prop_map(|(from, groups)| Step::Grouped { from, groups }),
        (0..99usize, 0..99usize, any::<bool>()).prop_map(|(from, with, product)| Step::Join { from, with, product }),
        (0..99usize, 0..99usize).prop_map(|(a, b)| Step::Concat { a, b }),
        (0..99usize, 0..3usize).prop_map(|(from, which)| Step::Activation { from, which }),
        (0..99usize).prop_map(|from| Step::Gate { from }),
    ]
}

/// A network that follows a list of steps, which is no part of it.
#[derive(Module, Debug)]
pub(crate) struct Network {
    convs: Vec<Conv2d>,
    norms: Vec<BatchNorm>,
    head: Linear,
    #[module(skip)]
    steps: Vec<Step>,
}

impl Network {
    fn new(steps: &[Step], device: &Device) -> Self {
        let conv = |from, to, groups| {
            let config = Conv2dConfig::new([from, to], [3, 3]).with_padding(PaddingConfig2d::Same).with_groups(groups);
            config.init(device)
        };
        let mut channels = vec![6];
        let (mut convs, mut norms) = (vec![conv(2, 6, 1)], Vec::new());
        for step in steps {
            let at = |i: &usize| channels[i % channels.len()];
            channels.push(match step {
                Step::Conv { from, channels: to, norm } => {
                    convs.push(conv(at(from), *to, 1));
                    if *norm {
                        norms.push(BatchNormConfig::new(*to).init(device));
                    }
                    *to
                }
                Step::Grouped { from, groups } => {
                    let from = at(from);
                    let groups = (1..=*groups).rev().find(|g| from.is_multiple_of(*g)).unwrap_or(1);
                    convs.push(conv(from, from, groups));
                    from
                }
                Step::Join { from, with, .. } => {
                    convs.push(conv(at(from), at(with), 1));
                    at(with)
                }
                Step::Concat { a, b } => at(a) + at(b),
                Step::Activation { from, .. } => at(from),
                Step::Gate { from } => at(from) / 2,
            });
        }
        let last = *channels.last().unwrap();
        let model = Self { convs, norms, head: LinearConfig::new(last * 16, 3).init(device), steps: steps.to_vec() };
        filled(model, 11)
    }
}

fn picture(device: &Device) -> Tensor<4> {
    Tensor::<1>::from_floats(numbers(2 * 2 * 16, 3).as_slice(), device).reshape([2, 2, 4, 4])
}

pub(crate) fn forward(model: &Network, scope: &mut Scope, device: &Device) {
    let x = scope.input(&picture(device));
    let (mut convs, mut norms) = (model.convs.iter(), model.norms.iter());
    // Numbers stay of the order of one, or what is rounded would grow from layer to layer.
    let mut conv = |x: Tensor<4>| convs.next().unwrap().forward(x) * 0.1;
    let mut tensors = vec![conv(x)];
    for step in &model.steps {
        let at = |i: &usize| tensors[i % tensors.len()].clone();
        tensors.push(match step {
            Step::Conv { from, norm, .. } => {
                let y = conv(at(from));
                if *norm { norms.next().unwrap().forward(y) } else { y }
            }
            Step::Grouped { from, .. } => conv(at(from)),
            Step::Join { from, with, product: false } => conv(at(from)) + at(with),
            Step::Join { from, with, product: true } => conv(at(from)) * tanh(at(with)),
            Step::Concat { a, b } => Tensor::cat(vec![at(a), at(b)], 1),
            Step::Activation { from, which } => [relu, tanh, sigmoid][*which](at(from)),
            Step::Gate { from } => {
                let x = at(from);
                let pieces = x.chunk(2, 1);
                pieces[0].clone() * sigmoid(pieces[1].clone())
            }
        });
    }
    let last: Tensor<2> = tensors.pop().unwrap().flatten(1, 3);
    scope.output(model.head.forward(last));
}

/// Many channels, no structure.
pub(crate) fn wide(device: &Device) -> Network {
    let conv = |from, channels| Step::Conv { from, channels, norm: false };
    Network::new(&[conv(0, 96), conv(1, 128), conv(2, 96)], device)
}

/// Only even counts can be gated; every network is made so.
fn valid(steps: Vec<Step>) -> Vec<Step> {
    let mut channels = vec![6usize];
    let mut kept = Vec::new();
    for step in steps {
        let at = |i: &usize| channels[i % channels.len()];
        let next = match &step {
            Step::Conv { channels, .. } => *channels,
            Step::Grouped { from, .. } | Step::Activation { from, .. } => at(from),
            Step::Join { with, .. } => at(with),
            Step::Concat { a, b } => at(a) + at(b),
            Step::Gate { from } if at(from).is_multiple_of(2) && at(from) > 2 => at(from) / 2,
            Step::Gate { .. } => continue,
        };
        if next <= 24 {
            channels.push(next);
            kept.push(step);
        }
    }
    kept
}

/// A network, the sparsity of its plan, whether the budget is global, and whether input channels are named.
type Case = (Vec<Step>, f64, bool, bool);

/// Whether something was removed.
fn check((steps, sparsity, global, input): Case) -> Result<bool, TestCaseError> {
    let device = Device::flex();
    let model = Network::new(&steps, &device);
    let forward = |m: &Network, s: &mut Scope| forward(m, s, &device);
    let trace = Trace::record(&model, forward).unwrap();
    let axis = if input { "{ kind = \"channel\", axis = \"input\" }" } else { "\"channel\"" };
    let allocator = if global { "global" } else { "uniform" };
    let recipe =
        format!("criterion = \"magnitude\"\ngranularity = {axis}\nsparsity = {sparsity}\nallocator = \"{allocator}\"");
    let plan = match Shrinker::new(&crate::pruner(&recipe)).plan(&model, &trace, None) {
        Ok(plan) => plan,
        // All channels of a small network may be tied, or more asked than there is.
        Err(shrink::ShrinkError::NothingToRemove { .. } | shrink::ShrinkError::Allocation(_)) => return Ok(false),
        Err(error) => return Err(TestCaseError::fail(format!("{error}"))),
    };
    let (mut masked, mut smaller) = (model.clone(), model.clone());
    if !plan.is_empty() {
        shrink::mask(&plan, &mut masked).unwrap();
    }
    let set = |m: &mut Network, f: &mut Fields| {
        for (i, conv) in m.convs.iter_mut().enumerate() {
            f.set(&format!("convs.{i}.groups"), &mut conv.groups);
        }
    };
    shrink::apply(&plan, &mut smaller, set, forward).map_err(|e| TestCaseError::fail(format!("{e}\n{plan}")))?;
    let difference = verify(&masked, &smaller, forward).unwrap();
    prop_assert!(difference.max_rel < 1e-4, "{difference:?}\n{plan}");
    prop_assert!(plan.after.parameters <= plan.before.parameters);
    let (program, _) =
        shrink::apply_to_traces(&plan, [&trace], &model).map_err(|e| TestCaseError::fail(format!("{e}\n{plan}")))?;
    let values = || Values::new().with(picture(&device));
    let replayed = |model: &Network| trace.replay::<Flex, _>(model, values()).unwrap().get::<2, Float>(0).unwrap();
    let computed: Tensor<2> = program.run(values()).unwrap().get(0).unwrap();
    let most = replayed(&masked).abs().max().into_scalar::<f32>();
    let apart = (replayed(&masked) - computed.clone()).abs().max().into_scalar::<f32>();
    prop_assert!(apart <= 1e-4 * most, "{apart} of {most}\n{plan}");
    // What no code has to follow can go as well.
    let rules = AxisRules::new().without_code();
    if let Ok(plan) = Shrinker::new(&crate::pruner(&recipe)).with_rules(rules).plan(&model, &trace, None) {
        let program = shrink::apply_to_traces(&plan, [&trace], &model);
        let (program, _) = program.map_err(|e| TestCaseError::fail(format!("{e}\n{plan}")))?;
        let mut masked = model.clone();
        if !plan.is_empty() {
            shrink::mask(&plan, &mut masked).unwrap();
        }
        let computed: Tensor<2> = program.run(values()).unwrap().get(0).unwrap();
        let (apart, most) = (replayed(&masked) - computed, replayed(&masked).abs().max().into_scalar::<f32>());
        let apart = apart.abs().max().into_scalar::<f32>();
        prop_assert!(apart <= 1e-4 * most, "{apart} of {most}\n{plan}");
    }
    // The same numbers as those of the module that was cut.
    let of_module = Trace::record(&smaller, forward).unwrap().replay::<Flex, _>(&smaller, values()).unwrap();
    let apart = (of_module.get::<2, Float>(0).unwrap() - computed).abs().max().into_scalar::<f32>();
    prop_assert!(apart <= 1e-5 * most, "{apart} of {most}\n{plan}");
    Ok(!plan.is_empty())
}

#[test]
fn every_network_and_plan() {
    let config = ProptestConfig { cases: 64, failure_persistence: None, ..ProptestConfig::default() };
    let steps = prop::collection::vec(step(), 1..10).prop_map(valid);
    let removed = std::cell::Cell::new(0);
    let result = proptest::test_runner::TestRunner::new(config).run(
        &(steps, 0.05..0.9f64, any::<bool>(), any::<bool>()),
        |case| {
            removed.set(removed.get() + usize::from(check(case)?));
            Ok(())
        },
    );
    result.unwrap_or_else(|error| panic!("{error}"));
    // A property of nothing would hold as well.
    assert!(removed.get() > 40, "{} of 64 plans removed something", removed.get());
}

#[test]
fn what_is_named_here_is_used() {
    // The strategy makes every kind of step, or the property above would hold of less than it says.
    let mut runner = proptest::test_runner::TestRunner::deterministic();
    let mut seen = std::collections::BTreeSet::new();
    for _ in 0..200 {
        let step = proptest::strategy::ValueTree::current(&step().new_tree(&mut runner).unwrap());
        seen.insert(format!("{step:?}").split(' ').next().unwrap().to_string());
    }
    assert_eq!(seen.len(), 6, "{seen:?}");
}
