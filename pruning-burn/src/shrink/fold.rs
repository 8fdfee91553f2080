//! The constant contributions of removed units, moved into the next bias: [`fold`].

use crate::shrink::ShrinkError;
use crate::trace::{Analysis, ReplayBackend, ReplayError, Trace, Values};
use crate::walk::{self, Map, Position};
use burn::module::{Module, Param};
use burn::tensor::{Tensor, TensorData};
use burn_ir::{BaseOperationIr as Base, FloatOperationIr as Flt, ModuleOperationIr as Mod, NumericOperationIr as Num};
use burn_ir::{OperationIr, TensorId, TensorIr};
use pruning_core::graph::ShrinkPlan;
use std::collections::BTreeMap;

/// The result of [`fold`].
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Folded {
    /// The paths of the biases that changed.
    pub biases: Vec<String>,
    /// The weights with removed inputs whose contribution no bias can replace exactly, each with the reason.
    pub left: Vec<(String, String)>,
}

/// A layer that reads removed channels.
struct Reader {
    /// The index of the weight among the parameters of the trace.
    ///
    /// The axes are those of its channels, in the input `x` and in the weight.
    weight: usize,
    x: TensorIr,
    channel_axis: usize,
    weight_axis: usize,
    bias: Option<usize>,
    padded: bool,
    groups: usize,
}

/// Moves the constant contributions of removed units into the biases that follow, before [`apply`](super::apply()).
///
/// A unit whose weights are masked but whose bias is not still has the constant output `f(bias)`, and the layer that reads it
/// adds that times its weights. If that layer has a bias and no zero padding, the bias replaces this contribution exactly. The
/// output of a removed unit is measured: `inputs` run through the trace, and the output must be the same for all examples and
/// positions. If the plan's masks are attached by [`mask`](super::mask()), there is nothing to fold.
///
/// Cut the model afterwards. As long as its channels exist, their contribution counts twice.
///
/// ```
/// use burn::{nn::{Linear, LinearConfig}, tensor::{Device, Tensor}};
/// use burn::backend::Flex;
/// use burn::module::Param;
/// use pruning_burn::shrink::{self, Shrinker};
/// use pruning_burn::trace::{Scope, Trace, Values};
/// # use pruning_burn::{Pruner, plugin::Plugins};
/// # use {pruning_allocation as _, pruning_magnitude as _};
///
/// # let device = Device::flex();
/// let mut model = vec![LinearConfig::new(8, 16).init(&device), LinearConfig::new(16, 4).init(&device)];
/// # let x = Tensor::<2>::ones([1, 8], &device);
/// let forward = |model: &Vec<Linear>, scope: &mut Scope| {
///     let x = scope.input(&x);
///     scope.output(model[1].forward(model[0].forward(x)));
/// };
/// let trace = Trace::record(&model, forward)?;
/// # let recipe = "criterion = \"magnitude\"\ngranularity = \"channel\"\nsparsity = 0.5";
/// # let pruner = Pruner::from_toml(recipe, &Plugins::linked())?;
/// let plan = Shrinker::new(&pruner).plan(&model, &trace, None)?;
/// // The first layer has lost its weights, and its biases are 1.
/// model[0].weight = Param::from_tensor(Tensor::zeros([8, 16], &device));
/// model[0].bias = Some(Param::from_tensor(Tensor::ones([16], &device)));
/// let folded = shrink::fold::<Flex, _>(&plan, &trace, &mut model, Values::new().with(x.clone()))?;
/// assert_eq!(folded.biases, ["1.bias"]);
/// assert!(folded.left.is_empty());
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
///
/// # Errors
/// The inputs do not fit the trace. On an error the model does not change.
pub fn fold<B: ReplayBackend, M: Module>(
    plan: &ShrinkPlan,
    trace: &Trace,
    model: &mut M,
    inputs: Values,
) -> Result<Folded, ShrinkError> {
    let readers: Vec<_> = readers(trace).into_iter().filter(|r| removed(plan, trace, r).is_some()).collect();
    let taps: Vec<TensorId> = readers.iter().map(|r| r.x.id).collect();
    let found = trace.replay_with::<B, M>(model, inputs, &taps)?;
    let weights = crate::snapshot::Snapshot::of(&model.valid().materialize()).values;
    let mut folded = Folded::default();
    let mut add: BTreeMap<String, Vec<f32>> = BTreeMap::new();
    for (tap, reader) in readers.iter().enumerate() {
        let gone = removed(plan, trace, reader).unwrap_or_default();
        let param = &trace.params[reader.weight];
        let leave = |why: &str| (param.path().to_string(), why.to_string());
        let values = found.numbers(trace.outputs.len() + tap)?;
        let shape = reader.x.shape.as_slice();
        let Some(constants) = constants(&values, shape, reader.channel_axis, &gone) else {
            folded.left.push(leave("what is removed is not the same for all examples and positions"));
            continue;
        };
        if constants.iter().all(|&c| c == 0.0) {
            continue;
        }
        let why = match (reader.padded, reader.groups, reader.bias) {
            (true, ..) => Some("it pads with zeros, so the edges differ"),
            (_, groups, _) if groups > 1 => Some("it is grouped"),
            (_, _, None) => Some("it has no bias"),
            _ => None,
        };
        if let Some(why) = why {
            folded.left.push(leave(why));
            continue;
        }
        let Some(weight) = param.paths.iter().find_map(|p| weights.get(p)) else { continue };
        let weight: Vec<f32> = weight.value.clone().into_data().iter::<f32>().collect();
        let sums = contribution(&weight, &param.shape, reader.weight_axis, &gone, &constants);
        if let Some(bias) = reader.bias.map(|b| trace.params[b].path().to_string()) {
            let total = add.entry(bias).or_insert_with(|| vec![0.0; sums.len()]);
            total.iter_mut().zip(sums).for_each(|(t, s)| *t += s);
        }
    }
    folded.biases = add.keys().cloned().collect();
    *model = walk::map(model.clone(), &mut AddTo { add });
    Ok(folded)
}

/// Returns the positions that the plan removes from the input of a layer.
fn removed(plan: &ShrinkPlan, trace: &Trace, reader: &Reader) -> Option<Vec<usize>> {
    let param = &trace.params[reader.weight];
    let cut = param.paths.iter().find_map(|p| plan.parameters.get(p))?;
    let keep = cut.keep.get(&reader.weight_axis)?;
    let size = param.shape[reader.weight_axis];
    Some((0..size).filter(|p| keep.binary_search(p).is_err()).collect())
}

/// Returns the value of each removed channel, if each has a single one.
fn constants(values: &[f32], shape: &[usize], axis: usize, gone: &[usize]) -> Option<Vec<f32>> {
    let inner: usize = shape[axis + 1..].iter().product();
    let channels = shape[axis];
    let outer = values.len() / (inner * channels).max(1);
    let all = |c: usize| {
        (0..outer).flat_map(move |o| (0..inner).map(move |i| (o * channels + c) * inner + i)).map(|at| values[at])
    };
    gone.iter()
        .map(|&c| {
            let first = all(c).next()?;
            all(c).all(|v| v == first).then_some(first)
        })
        .collect()
}

/// Returns the sum over removed inputs of `constant * weight`, for each output.
fn contribution(weight: &[f32], shape: &[usize], axis: usize, gone: &[usize], constants: &[f32]) -> Vec<f32> {
    // Linear is [in, out]; convolutions are [out, in, kernel].
    let outputs = if axis == 0 { shape[1] } else { shape[0] };
    let kernel: usize = shape[2..].iter().product();
    let mut sums = vec![0.0_f64; outputs];
    for (&input, &constant) in gone.iter().zip(constants) {
        for (output, sum) in sums.iter_mut().enumerate() {
            let at = if axis == 0 { input * shape[1] + output } else { output * shape[1] + input };
            let taken: f64 = weight[at * kernel..(at + 1) * kernel].iter().map(|&w| f64::from(w)).sum();
            *sum += f64::from(constant) * taken;
        }
    }
    sums.into_iter().map(|s| s as f32).collect()
}

/// Returns the products with a parameter, each with the bias that follows it.
fn readers(trace: &Trace) -> Vec<Reader> {
    let Ok(analysis) = Analysis::costing(trace) else { return Vec::new() };
    let param = |t: &TensorIr| trace.param_of.get(&t.id).copied();
    let mut readers = Vec::new();
    for op in &trace.operations {
        macro_rules! conv {
            ($o:expr, $padded:expr) => {
                param(&$o.weight).map(|weight| Reader {
                    weight,
                    x: $o.x.clone(),
                    channel_axis: 1,
                    weight_axis: 1,
                    bias: $o.bias.as_ref().and_then(|b| param(b)),
                    padded: $padded,
                    groups: $o.options.groups,
                })
            };
        }
        let reader = match op {
            OperationIr::Module(Mod::Conv1d(o)) => conv!(o, o.options.padding.iter().any(|p| *p != (0, 0))),
            OperationIr::Module(Mod::Conv2d(o)) => conv!(o, o.options.padding.iter().any(|p| *p != (0, 0))),
            OperationIr::Module(Mod::Conv3d(o)) => conv!(o, o.options.padding.iter().any(|p| *p != 0)),
            OperationIr::Float(_, Flt::Matmul(o)) => param(&o.rhs).map(|weight| Reader {
                weight,
                x: o.lhs.clone(),
                channel_axis: o.lhs.shape.as_slice().len() - 1,
                weight_axis: 0,
                bias: bias_after(trace, &analysis, o.out.id),
                padded: false,
                groups: 1,
            }),
            _ => None,
        };
        readers.extend(reader);
    }
    readers
}

/// Returns the vector that is added to a product, seen through changes of shape.
fn bias_after(trace: &Trace, analysis: &Analysis<'_>, product: TensorId) -> Option<usize> {
    let mut at = product;
    for op in &trace.operations {
        match op {
            OperationIr::BaseFloat(Base::Reshape(o)) if o.input.id == at => at = o.out.id,
            OperationIr::NumericFloat(_, Num::Add(o)) if o.lhs.id == at || o.rhs.id == at => {
                let other = if o.lhs.id == at { &o.rhs } else { &o.lhs };
                let bias = analysis.weight_of(other.id).filter(|&p| trace.params[p].shape.len() == 1);
                return bias;
            }
            _ => {}
        }
    }
    None
}

struct AddTo {
    add: BTreeMap<String, Vec<f32>>,
}

impl Map for AddTo {
    fn map_float<const D: usize>(&mut self, at: &Position, param: Param<Tensor<D>>) -> Param<Tensor<D>> {
        match self.add.get(&at.path()) {
            None => param,
            Some(add) => param.map(|bias| {
                let trained = bias.is_require_grad();
                let (shape, dtype) = (bias.shape(), bias.dtype());
                let add = TensorData::new(add.clone(), shape);
                let add = Tensor::from_data(add, (&bias.device(), dtype));
                (bias.detach() + add).detach().set_require_grad(trained)
            }),
        }
    }
}

impl From<ReplayError> for ShrinkError {
    fn from(error: ReplayError) -> Self {
        Self::Replay(error)
    }
}
