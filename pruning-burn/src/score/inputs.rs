//! Inputs of criteria, collected on copies of the model: [`CriterionInputs`].

mod error;
mod gradients;
mod hessian;
mod own;
mod shift;

pub use error::InputError;

use crate::layers::layers;
use crate::mask::attach::opened;
use crate::score::statistics::Statistics;
use crate::score::{Need, NeedShape, Needs};
use crate::snapshot::{Snapshot, shapes};
use crate::walk;
use burn::module::Module;
use burn::optim::GradientsParams;
use burn::tensor::Tensor;
use gradients::{Averages, Gradients, averages};
use shift::{By, Shift};
use std::collections::BTreeMap;
use std::sync::Arc;

/// The inputs that criteria look at besides the weights, for every parameter of a model.
///
/// They are collected on copies: parameters, ids, running statistics and training flags of the model stay as they are (statistics of a
/// training step that Burn has not merged yet are merged, as `valid` does at the next validation). Gradients pass through attached masks,
/// so the gradient of a pruned weight is zero.
///
/// ```
/// # use burn::{nn::{Linear, LinearConfig}, tensor::{Device, Tensor}};
/// use pruning_burn::score::{CriterionInputs, Need, Needs};
/// let device = Device::flex().autodiff();
/// let model = LinearConfig::new(3, 2).init(&device);
/// let batches = [Tensor::<2>::ones([4, 3], &device), Tensor::<2>::ones([4, 3], &device) * 2];
/// let loss = |model: &Linear, batch: &Tensor<2>| model.forward(batch.clone()).square().mean();
/// let inputs = CriterionInputs::new().with_gradients(&model, Need::GRADIENT, &batches, loss)?;
/// assert!(inputs.holds(Need::GRADIENT));
/// # Ok::<(), pruning_burn::score::InputError>(())
/// ```
#[derive(Clone, Debug, Default)]
pub struct CriterionInputs {
    held: BTreeMap<&'static str, Held>,
    /// Inputs that are computed parameter by parameter.
    statistics: Option<Arc<dyn Statistics>>,
    /// The inputs that pruned weights have too.
    pub(crate) dense: Needs,
}

/// Values by the path of their parameter, each a list: in memory order if there is one for each weight, otherwise in the order of the matrix.
type Values = BTreeMap<String, Tensor<1>>;

/// One input, with the shapes of the parameters of the model that it was collected from.
#[derive(Clone, Debug)]
struct Held {
    need: Need,
    values: Values,
    shapes: BTreeMap<String, Vec<usize>>,
}

/// What a pass of gradients collects.
const GRADIENTS: [Need; 4] = [Need::GRADIENT, Need::SQUARED_GRADIENT, Need::HESSIAN_GRADIENT, Need::COLUMN_EFFECT];

impl CriterionInputs {
    /// Creates an empty set of inputs.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Returns whether all of `needs` have been collected.
    #[must_use]
    pub fn holds(&self, needs: impl Into<Needs>) -> bool {
        needs.into().iter().all(|need| self.shape(need) == Some(need.shape()))
    }

    /// The shape of what is held under the name of an input.
    pub(crate) fn shape(&self, need: Need) -> Option<NeedShape> {
        let collected = || self.statistics.as_ref().filter(|statistics| statistics.holds(need)).map(|_| need.shape());
        self.held.get(need.name()).map(|held| held.need.shape()).or_else(collected)
    }

    /// Adds inputs that are computed parameter by parameter.
    #[cfg(feature = "trace")]
    pub(crate) fn with_statistics(mut self, statistics: Arc<dyn Statistics>) -> Self {
        self.statistics = Some(statistics);
        self
    }

    /// The number of rows that a layer saw, if a calibration tells it.
    pub(crate) fn rows(&self, path: &str) -> Option<f64> {
        self.statistics()?.rows(path)
    }

    /// The inputs that are computed parameter by parameter.
    pub(crate) fn statistics(&self) -> Option<&dyn Statistics> {
        self.statistics.as_deref()
    }

    /// One input of one parameter with the shape of that, if it is a parameter of the model that the input was collected from.
    pub(crate) fn get(&self, need: Need, path: &str) -> Option<(&Tensor<1>, &[usize])> {
        let held = self.held.get(need.name())?;
        Some((held.values.get(path)?, held.shapes.get(path)?))
    }

    /// Adds an input that was collected from a model.
    pub(crate) fn put<M: Module>(&mut self, need: Need, model: &M, values: Values) {
        self.held.insert(need.name(), Held { need, values, shapes: shapes(model) });
    }

    /// Adds an input of a single parameter.
    #[cfg(feature = "conformance")]
    pub(crate) fn put_one(&mut self, need: Need, path: &str, shape: &[usize], values: Tensor<1>) {
        let (values, shapes) = ([(path.to_string(), values)].into(), [(path.to_string(), shape.to_vec())].into());
        self.held.insert(need.name(), Held { need, values, shapes });
    }

    /// Collects those inputs among `needs` that are computed from gradients of `loss` over `batches`.
    ///
    /// They are [`Need::GRADIENT`], [`Need::SQUARED_GRADIENT`], [`Need::COLUMN_EFFECT`] and [`Need::HESSIAN_GRADIENT`].
    ///
    /// The loss of a batch is a single number. For the empirical Fisher information, and for effects of single examples, give batches of
    /// one example.
    ///
    /// Burn has no second derivatives, so the Hessian product is computed from differences of gradients along the gradient itself, with
    /// steps so short that they cross no kink of a ReLU or a maximum. That takes about four passes over the batches, in double precision:
    /// the closure gets a model whose parameters are `f64`, and must cast the inputs of the model to the type of a weight. The result is
    /// checked on both sides of the weights, and an uncertainty of more than a thousandth of its norm is an error.
    ///
    /// ```
    /// # use burn::{nn::{Linear, LinearConfig}, tensor::{Device, Tensor}};
    /// # use pruning_burn::score::{CriterionInputs, Need, Needs};
    /// # let device = Device::flex().autodiff();
    /// # let model = LinearConfig::new(3, 2).init(&device);
    /// # let batches = [Tensor::<2>::ones([4, 3], &device)];
    /// let loss = |model: &Linear, batch: &Tensor<2>| {
    ///     let x = batch.clone().cast(model.weight.dtype());
    ///     model.forward(x).square().mean()
    /// };
    /// let inputs = CriterionInputs::new().with_gradients(&model, Need::HESSIAN_GRADIENT, &batches, loss)?;
    /// # Ok::<(), pruning_burn::score::InputError>(())
    /// ```
    ///
    /// # Errors
    /// There is no batch, the model is not on an autodiff device, the loss has no gradients, or the closure panics. For the Hessian product
    /// also: the device has no double precision, the loss does not follow the type of the model, or the product is uncertain.
    pub fn with_gradients<M: Module, B>(
        mut self,
        model: &M,
        needs: impl Into<Needs>,
        batches: &[B],
        loss: impl Fn(&M, &B) -> Tensor<1>,
    ) -> Result<Self, InputError> {
        let needs = needs.into();
        self.dense = self.dense.without(&needs);
        self.collect(&copy(model)?, &needs, batches, loss)?;
        Ok(self)
    }

    /// Collects gradients like [`with_gradients`](Self::with_gradients), for pruned weights too.
    ///
    /// They are gradients of the loss of the pruned network, as if the pruned weights were there with value zero. Growing by a gradient
    /// (RigL) ranks by them. [`Session`](crate::Session) has an example.
    ///
    /// # Errors
    /// Those of [`with_gradients`](Self::with_gradients).
    pub fn with_dense_gradients<M: Module, B>(
        mut self,
        model: &M,
        needs: impl Into<Needs>,
        batches: &[B],
        loss: impl Fn(&M, &B) -> Tensor<1>,
    ) -> Result<Self, InputError> {
        let needs = needs.into();
        self.collect(&opened(&copy(model)?), &needs, batches, loss)?;
        self.dense =
            GRADIENTS.into_iter().filter(|need| needs.contains(*need)).fold(self.dense, |dense, need| dense | need);
        Ok(self)
    }

    fn collect<M: Module, B>(
        &mut self,
        copy: &M,
        needs: &Needs,
        batches: &[B],
        loss: impl Fn(&M, &B) -> Tensor<1>,
    ) -> Result<(), InputError> {
        if needs.contains(Need::HESSIAN_GRADIENT) {
            self.put(Need::HESSIAN_GRADIENT, copy, hessian::product(copy, batches, &loss)?);
        }
        // The Hessian product alone needs no pass in single precision.
        if *needs == Need::HESSIAN_GRADIENT {
            return Ok(());
        }
        let Averages { gradient, squared, column_effect } = averages(copy, batches, &loss, needs)?;
        if needs.contains(Need::SQUARED_GRADIENT) {
            self.put(Need::SQUARED_GRADIENT, copy, squared);
        }
        if needs.contains(Need::COLUMN_EFFECT) {
            self.put(Need::COLUMN_EFFECT, copy, column_effect);
        }
        if needs.contains(Need::GRADIENT) {
            self.put(Need::GRADIENT, copy, gradient);
        }
        Ok(())
    }

    /// The gradient of one step of training, as if it had come through no mask.
    #[cfg(feature = "train")]
    pub(crate) fn of_step<M: Module>(mut self, model: &M, gradients: &GradientsParams) -> Self {
        let zeros: Values = weights(model).into_iter().map(|(p, v)| (p, v.zeros_like())).collect();
        let mut read = Gradients::new(gradients);
        read.values = zeros;
        walk::visit(model, &mut read);
        self.put(Need::GRADIENT, model, read.values);
        self.dense = Need::GRADIENT.into();
        self
    }

    /// Collects the flow of the network: the gradient of the summed `output` of a copy with absolute values for parameters.
    ///
    /// The closure passes an input of ones to the copy, and needs no data (Tanaka et al. 2020, arXiv:2006.05467, section 6). Layers behave
    /// as at inference: a batch norm uses its running statistics, since an input of ones has no useful ones, and nothing drops out.
    ///
    /// ```
    /// # use burn::{nn::{Linear, LinearConfig}, tensor::{Device, Tensor}};
    /// # use pruning_burn::score::{CriterionInputs, Need};
    /// let device = Device::flex().autodiff();
    /// let model = LinearConfig::new(3, 2).init(&device);
    /// let ones = Tensor::<2>::ones([1, 3], &device);
    /// let inputs = CriterionInputs::new().with_flow(&model, |model: &Linear| model.forward(ones.clone()))?;
    /// assert!(inputs.holds(Need::FLOW));
    /// # Ok::<(), pruning_burn::score::InputError>(())
    /// ```
    ///
    /// # Errors
    /// The model is not on an autodiff device, the output has no gradients, or the closure panics.
    pub fn with_flow<M: Module, const D: usize>(
        mut self,
        model: &M,
        output: impl Fn(&M) -> Tensor<D>,
    ) -> Result<Self, InputError> {
        let copy = walk::map(copy(model)?, &mut Shift::new(By::Absolute));
        let flow = averages(&copy, &[()], &|model: &M, (): &()| output(model).sum(), &Needs::none())?;
        self.put(Need::FLOW, model, flow.gradient);
        Ok(self)
    }

    /// Keeps the weights that `model` has now, for criteria that compare later weights with them.
    #[must_use]
    pub fn with_initial_weights<M: Module>(mut self, model: &M) -> Self {
        self.put(Need::INITIAL_WEIGHT, model, weights(model));
        self.dense = self.dense | Need::INITIAL_WEIGHT;
        self
    }

    /// Adds `-w g` of one step of training to the movement.
    ///
    /// Call it with the gradients of the step, before the optimizer takes them.
    ///
    /// ```
    /// # use burn::{nn::LinearConfig, optim::GradientsParams, tensor::{Device, Tensor}};
    /// # use pruning_burn::score::{CriterionInputs, Need};
    /// # let device = Device::flex().autodiff();
    /// # let model = LinearConfig::new(3, 2).init(&device);
    /// # let batches = [Tensor::<2>::ones([4, 3], &device)];
    /// let mut inputs = CriterionInputs::new();
    /// for batch in batches {
    ///     let loss = model.forward(batch).square().mean();
    ///     let gradients = GradientsParams::from_grads(loss.backward(), &model);
    ///     inputs.record_movement(&model, &gradients);
    ///     // optimizer.step(..)
    /// }
    /// assert!(inputs.holds(Need::MOVEMENT));
    /// ```
    pub fn record_movement<M: Module>(&mut self, model: &M, gradients: &GradientsParams) {
        let mut values = self.held.get(Need::MOVEMENT.name()).map_or_else(Values::new, |held| held.values.clone());
        let mut read = Gradients::new(gradients);
        walk::visit(model, &mut read);
        // Gradients of another model say nothing of this one: the movement is not collected then, and a pruning says that it is missing.
        if read.values.is_empty() {
            return;
        }
        for (path, weight) in weights(model) {
            // A parameter that the loss does not depend on does not move; its entry tells this model from another.
            let step = match read.values.remove(&path) {
                Some(gradient) => (weight * gradient).neg(),
                None => weight.zeros_like(),
            };
            let sum = match values.remove(&path) {
                Some(sum) => sum + step,
                None => step,
            };
            values.insert(path, sum);
        }
        self.put(Need::MOVEMENT, model, values);
    }
}

/// Every parameter as it is now.
fn weights<M: Module>(model: &M) -> Values {
    Snapshot::of(model).values.into_iter().map(|(path, stored)| (path, stored.value)).collect()
}

/// A copy to compute with: running statistics of its own, gradients for every parameter.
fn copy<M: Module>(model: &M) -> Result<M, InputError> {
    let all = layers(model)?;
    let off = all.iter().find(|l| !l.buffer && !l.quantized && !l.autodiff);
    if let Some(layer) = off {
        return Err(InputError::NoAutodiff { path: layer.path.clone() });
    }
    // Running statistics of a plain clone are shared with the original.
    Ok(walk::map(model.valid().train(), &mut Shift::new(By::Nothing)))
}
