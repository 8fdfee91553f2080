//! Networks whose code reads sizes from tensors, fields and constants: what `apply` accepts computes what the dense module
//! computes with zeroed weights.
//!
//! `PRUNING_NETWORKS=10000 cargo test --release -p pruning-tests --test shrink -- trust` tries more of them.

use burn::module::{Module, ModuleMapper, Param};
use burn::nn::conv::{Conv1d, Conv1dConfig};
use burn::nn::{LayerNorm, LayerNormConfig, Linear, LinearConfig, PaddingConfig1d};
use burn::tensor::activation::{relu, sigmoid, softmax, tanh};
use burn::tensor::module::attention;
use burn::tensor::ops::AttentionModuleOptions;
use burn::tensor::{Bool, Device, Tensor, TensorData};
use proptest::prelude::*;
use pruning_burn::shrink::{self, Applied, Checks, Equivalence, Fields, ShrinkError, ShrinkPlan, Shrinker};
use pruning_burn::trace::{Scope, Trace};
use pruning_tests::models::{filled, numbers};
use pruning_tests::values::{base, same_bits};
use std::cell::Cell;

/// Where the code takes a size from.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Size {
    /// The tensor at hand.
    Live,
    /// What it was when the network was built, as a field or a constant has it.
    Stored,
}

#[derive(Clone, Debug)]
enum Step {
    Linear {
        to: usize,
    },
    Activation {
        which: usize,
    },
    /// Weighs by the mean, a sum divided by a size.
    Mean(Size),
    /// The root of the mean of squares, the same way.
    Rms(Size),
    /// Attention by hand or by Burn; number of heads or size of a head stored.
    Heads {
        heads: usize,
        by_size: bool,
        both: bool,
        scale: Size,
        fused: bool,
    },
    Roll {
        by: usize,
        size: Size,
    },
    Shuffle {
        groups: usize,
        by_size: bool,
    },
    /// A wider layer beside a shortcut with zeros on both sides.
    Widen {
        by: usize,
        size: Size,
    },
    /// Both halves, cut by hand and added.
    Halves(Size),
    /// The first half alone.
    Half(Size),
    Gate,
    Scale(Size),
    Constant(Size),
    Norm,
    Repeat,
    Flip,
    Pad,
    Sort,
    Accumulate,
    Depthwise {
        honest: bool,
    },
    GroupMean {
        groups: usize,
        by_size: bool,
    },
}

#[derive(Module, Debug)]
struct Network {
    linears: Vec<Linear>,
    norms: Vec<LayerNorm>,
    convs: Vec<Conv1d>,
    head: Linear,
    #[module(skip)]
    steps: Vec<(Step, usize)>,
    #[module(skip)]
    flat: Option<Size>,
}

const BATCH: usize = 2;
const LENGTH: usize = 4;

impl Network {
    fn new(steps: &[Step], flat: Option<Size>, device: &Device) -> Self {
        let linear = |from, to| LinearConfig::new(from, to).init(device);
        let (mut linears, mut norms, mut convs) = (vec![linear(3, 8)], Vec::new(), Vec::new());
        let mut width = 8;
        let mut kept = Vec::new();
        for step in steps {
            let next = match step {
                Step::Linear { to } => *to,
                Step::Heads { heads, .. } if width % heads != 0 => continue,
                Step::Shuffle { groups, .. } | Step::GroupMean { groups, .. } if width % groups != 0 => continue,
                Step::Halves(_) | Step::Half(_) | Step::Gate if width % 2 != 0 || width < 4 => continue,
                Step::Roll { by, .. } if *by >= width => continue,
                Step::Repeat if width > 12 => continue,
                Step::Halves(_) | Step::Half(_) | Step::Gate => width / 2,
                Step::Widen { by, .. } => width + 2 * by,
                Step::Repeat => 2 * width,
                Step::Pad => width + 2,
                Step::GroupMean { groups, .. } => *groups,
                _ => width,
            };
            match step {
                Step::Linear { .. } | Step::Widen { .. } => linears.push(linear(width, next)),
                Step::Heads { .. } => linears.extend((0..4).map(|_| linear(width, width))),
                Step::Norm => norms.push(LayerNormConfig::new(width).init(device)),
                Step::Depthwise { .. } => {
                    let config = Conv1dConfig::new(width, width, 3).with_groups(width);
                    convs.push(config.with_padding(PaddingConfig1d::Same).init(device));
                }
                _ => {}
            }
            kept.push((step.clone(), width));
            width = next;
        }
        let inputs = if flat.is_some() { width * LENGTH } else { width };
        kept.push((Step::Flip, width));
        filled(Self { linears, norms, convs, head: linear(inputs, 3), steps: kept, flat }, 5)
    }

    fn forward(&self, scope: &mut Scope, device: &Device) {
        let example = Tensor::<1>::from_floats(numbers(BATCH * LENGTH * 3, 3).as_slice(), device);
        let x = scope.input(&example.reshape([BATCH, LENGTH, 3]));
        let (mut linears, mut norms, mut convs) = (self.linears.iter(), self.norms.iter(), self.convs.iter());
        let mut linear = |x: Tensor<3>| linears.next().unwrap().forward(x) * 0.5;
        let mut x = linear(x);
        for (step, stored) in &self.steps {
            let live = x.dims()[2];
            let of = |size: &Size| if *size == Size::Live { live } else { *stored };
            x = match step {
                Step::Linear { .. } => linear(x),
                Step::Activation { which } => [relu, tanh, sigmoid][*which](x),
                Step::Mean(size) => x.clone() * (x.sum_dim(2) / of(size) as f32),
                Step::Rms(size) => {
                    let squares = x.clone().powi_scalar(2).sum_dim(2) / of(size) as f32;
                    x / (squares + 0.1).sqrt()
                }
                Step::Heads { heads, by_size, both, scale, fused } => {
                    let (q, k, v) = (linear(x.clone()), linear(x.clone()), linear(x.clone()));
                    let shape = |width: usize| match (by_size, both) {
                        (_, true) => (*heads, stored / heads),
                        (true, _) => (width / (stored / heads).max(1), stored / heads),
                        (false, _) => (*heads, width / heads),
                    };
                    let split = |x: Tensor<3>| {
                        let (heads, size) = shape(x.dims()[2]);
                        x.reshape([BATCH, LENGTH, heads, size]).swap_dims(1, 2)
                    };
                    let (_, size) = shape(q.dims()[2]);
                    let dk = if *scale == Size::Live { size } else { stored / heads.max(&1) };
                    let root = (dk.max(1) as f64).sqrt();
                    let mixed = if *fused {
                        let stored = *scale == Size::Stored;
                        let options =
                            AttentionModuleOptions { scale: stored.then_some(1.0 / root), ..Default::default() };
                        attention(split(q), split(k), split(v), None::<Tensor<4, Bool>>, None, options)
                    } else {
                        let scores = split(q).matmul(split(k).swap_dims(2, 3)) / root;
                        softmax(scores, 3).matmul(split(v))
                    };
                    let [_, heads, _, size] = mixed.dims();
                    let flat = mixed.swap_dims(1, 2).reshape([BATCH, LENGTH, heads * size]);
                    x + linear(flat)
                }
                Step::Roll { by, size } => {
                    let by = if *size == Size::Live { live / 2 } else { *by };
                    Tensor::cat(vec![x.clone().narrow(2, by, live - by), x.narrow(2, 0, by)], 2)
                }
                Step::Shuffle { groups, by_size } => {
                    let per = stored / groups;
                    let shape = if *by_size { [live / per, per] } else { [*groups, live / groups] };
                    x.reshape([BATCH, LENGTH, shape[0], shape[1]]).swap_dims(2, 3).reshape([BATCH, LENGTH, live])
                }
                Step::Widen { by, size } => {
                    let wide = linear(x.clone());
                    let by = if *size == Size::Live { (wide.dims()[2] - live) / 2 } else { *by };
                    let zeros = || Tensor::<3>::zeros([BATCH, LENGTH, by], &x.device());
                    wide + Tensor::cat(vec![zeros(), x.clone(), zeros()], 2)
                }
                Step::Halves(size) => {
                    let half = of(size) / 2;
                    x.clone().narrow(2, 0, half) + tanh(x.narrow(2, half, live - half))
                }
                Step::Half(size) => x.narrow(2, 0, of(size) / 2),
                Step::Gate => {
                    let pieces = x.chunk(2, 2);
                    pieces[0].clone() * sigmoid(pieces[1].clone())
                }
                Step::Scale(size) => x / (of(size) as f32).sqrt(),
                Step::Constant(size) => {
                    let values = numbers(of(size), 4);
                    let len = values.len();
                    x + Tensor::<1>::from_data(TensorData::new(values, [len]), scope.device()).reshape([1, 1, len])
                }
                Step::Norm => norms.next().unwrap().forward(x),
                Step::Repeat => x.repeat_dim(2, 2),
                Step::Flip => x.flip([2]),
                Step::Pad => x.pad([(0, 0), (1, 1)], 0.0),
                Step::Sort => x.sort(2),
                Step::Accumulate => x.cumsum(2),
                Step::Depthwise { .. } => convs.next().unwrap().forward(x.swap_dims(1, 2)).swap_dims(1, 2),
                Step::GroupMean { groups, by_size } => {
                    let per = stored / groups;
                    let shape = if *by_size { [live / per, per] } else { [*groups, live / groups] };
                    let means = x.reshape([BATCH, LENGTH, shape[0], shape[1]]).mean_dim(3);
                    means.reshape([BATCH, LENGTH, shape[0]])
                }
            };
        }
        let stored = self.steps.last().map_or(8, |(_, width)| *width);
        match self.flat {
            None => scope.output(self.head.forward(x)),
            Some(size) => {
                let width = if size == Size::Live { x.dims()[2] } else { stored };
                scope.output(self.head.forward(x.reshape([BATCH, LENGTH * width])));
            }
        }
    }

    fn set(&mut self, fields: &mut Fields) {
        let mut honest = self.steps.iter().filter_map(|(step, _)| match step {
            Step::Depthwise { honest } => Some(*honest),
            _ => None,
        });
        for (i, conv) in self.convs.iter_mut().enumerate() {
            let path = format!("convs.{i}.groups");
            if honest.next() == Some(true) {
                fields.set(&path, &mut conv.groups);
            } else {
                fields.take(&path);
            }
        }
    }
}

fn size() -> impl Strategy<Value = Size> {
    prop_oneof![3 => Just(Size::Live), 1 => Just(Size::Stored)]
}

fn step() -> impl Strategy<Value = Step> {
    let rare = || prop::bool::weighted(0.3);
    prop_oneof![
        4 => (2..12usize).prop_map(|to| Step::Linear { to }),
        2 => (0..3usize).prop_map(|which| Step::Activation { which }),
        1 => size().prop_map(Step::Mean),
        1 => size().prop_map(Step::Rms),
        2 => (1..5usize, any::<bool>(), rare(), size(), rare())
            .prop_map(|(heads, by_size, both, scale, fused)| Step::Heads { heads, by_size, both, scale, fused }),
        1 => (1..5usize, size()).prop_map(|(by, size)| Step::Roll { by, size }),
        1 => (1..5usize, any::<bool>()).prop_map(|(groups, by_size)| Step::Shuffle { groups, by_size }),
        1 => (1..4usize, size()).prop_map(|(by, size)| Step::Widen { by, size }),
        1 => size().prop_map(Step::Halves),
        1 => size().prop_map(Step::Half),
        1 => Just(Step::Gate),
        1 => size().prop_map(Step::Scale),
        1 => size().prop_map(Step::Constant),
        1 => Just(Step::Norm),
        1 => Just(Step::Repeat),
        1 => Just(Step::Flip),
        1 => Just(Step::Pad),
        1 => Just(Step::Sort),
        1 => Just(Step::Accumulate),
        1 => any::<bool>().prop_map(|honest| Step::Depthwise { honest }),
        1 => (1..5usize, any::<bool>()).prop_map(|(groups, by_size)| Step::GroupMean { groups, by_size }),
    ]
}

/// Zeroes what a plan removes, by the kept positions alone.
struct Zero<'a> {
    path: Vec<String>,
    plan: &'a ShrinkPlan,
}

impl ModuleMapper for Zero<'_> {
    fn enter_module(&mut self, name: &str, _: &str) {
        self.path.push(name.to_string());
    }

    fn exit_module(&mut self, _: &str, _: &str) {
        self.path.pop();
    }

    fn map_float<const D: usize>(&mut self, param: Param<Tensor<D>>) -> Param<Tensor<D>> {
        let Some(cut) = self.plan.parameters.get(&self.path.join(".")) else { return param };
        param.map(|tensor| {
            let shape = tensor.dims();
            let mut values: Vec<f32> = tensor.to_data().iter::<f32>().collect();
            for (at, value) in values.iter_mut().enumerate() {
                let mut rest = at;
                for axis in (0..D).rev() {
                    let position = rest % shape[axis];
                    rest /= shape[axis];
                    if cut.keep.get(&axis).is_some_and(|keep| !keep.contains(&position)) {
                        *value = 0.0;
                    }
                }
            }
            Tensor::from_data(TensorData::new(values, shape), &tensor.device())
        })
    }
}

/// The numbers that a module puts out.
fn run(model: &Network, device: &Device) -> Vec<f32> {
    let out = Cell::new(Vec::new());
    let trace = Trace::record(model, |m: &Network, s: &mut Scope| m.forward(s, device)).unwrap();
    let x = Tensor::<1>::from_floats(numbers(BATCH * LENGTH * 3, 21).as_slice(), device).reshape([BATCH, LENGTH, 3]);
    let values =
        trace.replay::<burn::backend::Flex, _>(model, pruning_burn::trace::Values::new().with::<3, _>(x)).unwrap();
    let numbers = match model.flat {
        None => values.get::<3, burn::tensor::Float>(0).unwrap().into_data(),
        Some(_) => values.get::<2, burn::tensor::Float>(0).unwrap().into_data(),
    };
    out.set(numbers.iter::<f32>().collect());
    out.into_inner()
}

#[derive(Clone, Copy, Debug, PartialEq)]
enum Outcome {
    /// There was no plan.
    Unplanned,
    Refused,
    Applied,
}

type Case = (Vec<Step>, Option<Size>, f64, bool);

fn check((steps, flat, sparsity, heads): Case) -> Result<Outcome, TestCaseError> {
    let device = Device::flex();
    let model = Network::new(&steps, flat, &device);
    let forward = |m: &Network, s: &mut Scope| m.forward(s, &device);
    let trace = Trace::record(&model, forward).unwrap();
    let size = model.steps.iter().find_map(|(step, width)| match step {
        Step::Heads { heads: n, .. } if heads => Some(width / n),
        _ => None,
    });
    let granularity = match size {
        Some(size) => format!("{{ kind = \"head\", size = {size} }}"),
        None => "\"channel\"".to_string(),
    };
    let recipe = format!(
        "criterion = \"magnitude\"\ngranularity = {granularity}\nsparsity = {sparsity}\n[target]\nexclude = [\"head\"]"
    );
    let plan = match Shrinker::new(&crate::pruner(&recipe)).plan(&model, &trace) {
        Ok(plan) if !plan.is_empty() => plan,
        Ok(_) => return Ok(Outcome::Unplanned),
        // Heads may not divide every layer, all channels may be tied.
        Err(_) => return Ok(Outcome::Unplanned),
    };
    let mut smaller = model.clone();
    let before = base(&model);
    let set = |m: &mut Network, f: &mut Fields| m.set(f);
    let applied = shrink::apply(&plan, &mut smaller, set, forward);
    if let Err(error) = applied {
        prop_assert!(same_bits(&base(&smaller), &before), "the model changed: {error}");
        let apart = matches!(error, ShrinkError::Apart { .. });
        prop_assert!(!apart, "only the numbers gave it away: {error}\n{plan}");
        return Ok(Outcome::Refused);
    }
    let zeroed = model.map(&mut Zero { path: Vec::new(), plan: &plan });
    let (expected, found) = (run(&zeroed, &device), run(&smaller, &device));
    prop_assert_eq!(expected.len(), found.len());
    if expected.iter().all(|x| x.is_finite()) {
        let largest = expected.iter().fold(1e-6_f32, |most, x| most.max(x.abs()));
        for (x, y) in expected.iter().zip(&found) {
            prop_assert!((x - y).abs() <= 1e-4 * largest, "{} is not {}\n{}", y, x, plan);
        }
    }
    Ok(Outcome::Applied)
}

#[test]
fn what_is_accepted_is_exact() {
    let cases = std::env::var("PRUNING_NETWORKS").ok().and_then(|n| n.parse().ok()).unwrap_or(300);
    let config = ProptestConfig { cases, failure_persistence: None, ..ProptestConfig::default() };
    let flat = prop_oneof![2 => Just(None), 1 => size().prop_map(Some)];
    let counts = [const { Cell::new(0_u32) }; 3];
    let networks = (prop::collection::vec(step(), 1..8), flat, 0.1..0.8f64, prop::bool::weighted(0.3));
    let mut runner = proptest::test_runner::TestRunner::new(config);
    let result = runner.run(&networks, |case| {
        let count = &counts[check(case)? as usize];
        count.set(count.get() + 1);
        Ok(())
    });
    result.unwrap_or_else(|error| panic!("{error}"));
    let [unplanned, refused, applied] = counts.map(Cell::into_inner);
    eprintln!("{applied} applied, {refused} refused, {unplanned} without a plan");
    // A property of nothing would hold as well.
    assert!(applied > cases / 6 && refused > cases / 20, "{applied} applied, {refused} refused of {cases}");
}

const CHANNEL: &str = "granularity = \"channel\"\n[target]\nexclude = [\"head\"]";

/// Shrinks a network of these steps by half, with the checks that are given.
fn halved(steps: &[Step], what: &str, checks: &Checks) -> Result<Applied, ShrinkError> {
    let device = Device::flex();
    let mut model = Network::new(steps, None, &device);
    let before = base(&model);
    let forward = |m: &Network, s: &mut Scope| m.forward(s, &device);
    let trace = Trace::record(&model, forward).unwrap();
    let recipe = format!("criterion = \"magnitude\"\nsparsity = 0.5\n{what}");
    let plan = Shrinker::new(&crate::pruner(&recipe)).plan(&model, &trace).unwrap();
    let set = |m: &mut Network, f: &mut Fields| m.set(f);
    let applied = shrink::apply_with(&plan, &mut model, set, forward, checks);
    assert_eq!(applied.is_err(), same_bits(&base(&model), &before));
    applied
}

#[test]
fn an_operation_with_another_size_is_named() {
    let heads = |fused, both| Step::Heads { heads: 2, by_size: false, both, scale: Size::Live, fused };
    let head = "granularity = { kind = \"head\", size = 6 }\n[target]\ninclude = [\"linears.2\", \"linears.3\", \"linears.4\"]";
    let channel = CHANNEL;
    let cases = [
        (heads(true, false), head, "swap_dims"),
        (Step::Mean(Size::Live), channel, "div_scalar"),
        (Step::Rms(Size::Live), channel, "div_scalar"),
        (Step::Scale(Size::Live), channel, "div_scalar"),
        (heads(false, false), channel, "div_scalar"),
    ];
    for (step, granularity, names) in cases {
        let steps = [Step::Linear { to: 12 }, step.clone(), Step::Linear { to: 5 }];
        // The operations give it away, whatever the numbers are.
        let applied = halved(&steps, granularity, &Checks::new().without_equivalence());
        let Err(error) = applied else { panic!("{step:?} was accepted") };
        let ShrinkError::Departs { operation, near, predicted, found, .. } = &error else {
            panic!("{step:?}: {error}")
        };
        assert!(operation.contains(names) || predicted.contains(names), "{step:?}: {error}");
        assert!(near.starts_with("linears.") && predicted != found, "{step:?}: {error}");
    }
}

#[test]
fn a_smaller_model_is_compared_by_its_numbers_as_well() {
    let steps = [Step::Linear { to: 12 }, Step::Activation { which: 0 }, Step::Linear { to: 6 }];
    let applied = halved(&steps, CHANNEL, &Checks::new()).unwrap();
    let found = applied.equivalence.difference().unwrap();
    assert!(found.outputs == BATCH * LENGTH * 3 && found.max_rel < 1e-5, "{found:?}");
    // No two sums of floats in another order are that close.
    let error = halved(&steps, CHANNEL, &Checks::new().tolerance(-1.0)).unwrap_err();
    assert!(matches!(error, ShrinkError::Apart { tolerance: -1.0, .. }), "{error}");
    let unchecked = halved(&steps, CHANNEL, &Checks::new().without_equivalence()).unwrap();
    assert!(matches!(unchecked.equivalence, Equivalence::NotChecked { .. }));
}

#[test]
fn a_plan_that_cuts_only_one_side_is_refused() {
    let device = Device::flex();
    let mut model = Network::new(&[Step::Linear { to: 12 }], None, &device);
    let forward = |m: &Network, s: &mut Scope| m.forward(s, &device);
    let trace = Trace::record(&model, forward).unwrap();
    let plan = Shrinker::new(&crate::channels(0.5, "")).plan(&model, &trace).unwrap();
    let before = base(&model);
    let nothing = |_: &mut Network, _: &mut Fields| {};

    let mut one_side = plan.clone();
    one_side.parameters.remove("linears.1.weight").unwrap();
    let error = shrink::apply(&one_side, &mut model, nothing, forward).unwrap_err();
    assert!(matches!(&error, ShrinkError::Uncoupled { path, .. } if path == "linears.1.weight"), "{error}");

    let mut outputs = plan.clone();
    outputs.parameters.get_mut("head.weight").unwrap().keep.insert(1, vec![0, 2]);
    let error = shrink::apply(&outputs, &mut model, nothing, forward).unwrap_err();
    let says =
        "the plan does not fit what the forward does: a position that goes along must stay: an output of the model";
    assert_eq!(error.to_string(), says);

    let panics = |_: &mut Network, _: &mut Fields| panic!("no such field");
    let error = shrink::apply(&plan, &mut model, panics, forward).unwrap_err();
    assert_eq!(error.to_string(), "the function that sets the fields panicked: no such field");
    assert!(same_bits(&base(&model), &before));
}
