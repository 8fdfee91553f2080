//! A network that follows a list of steps, and reads each size from where the step says.

use burn::module::Module;
use burn::nn::conv::{Conv1d, Conv1dConfig};
use burn::nn::{LayerNorm, LayerNormConfig, Linear, LinearConfig, PaddingConfig1d};
use burn::tensor::activation::{relu, sigmoid, softmax, tanh};
use burn::tensor::module::attention;
use burn::tensor::ops::AttentionModuleOptions;
use burn::tensor::{Bool, Device, Tensor, TensorData};
use proptest::prelude::*;
use pruning_burn::shrink::Fields;
use pruning_burn::trace::Scope;
use pruning_tests::models::{filled, numbers};

/// Where the code takes a size from.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Size {
    /// The tensor at hand.
    Live,
    /// What it was when the network was built, as a field or a constant has it.
    Stored,
}

#[derive(Clone, Debug)]
pub(crate) enum Step {
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
pub(crate) struct Network {
    linears: Vec<Linear>,
    norms: Vec<LayerNorm>,
    convs: Vec<Conv1d>,
    pub(crate) head: Linear,
    #[module(skip)]
    pub(crate) steps: Vec<(Step, usize)>,
    #[module(skip)]
    pub(crate) flat: Option<Size>,
}

pub(crate) const BATCH: usize = 2;
pub(crate) const LENGTH: usize = 4;

impl Network {
    pub(crate) fn new(steps: &[Step], flat: Option<Size>, device: &Device) -> Self {
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

    pub(crate) fn forward(&self, scope: &mut Scope, device: &Device) {
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

    pub(crate) fn set(&mut self, fields: &mut Fields) {
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

pub(crate) fn size() -> impl Strategy<Value = Size> {
    prop_oneof![3 => Just(Size::Live), 1 => Just(Size::Stored)]
}

pub(crate) fn step() -> impl Strategy<Value = Step> {
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
