//! The plugin that scores weights: [`Criterion`].

use crate::host::to_matrix;
use crate::score::statistics::{Reads, Statistic};
use crate::score::{CriterionInputs, Need, NeedShape, Needs};
use burn::tensor::{Device, Tensor, TensorData};
use pruning_core::caught;
use pruning_core::plugin::PluginKind;
use pruning_core::score::{MatrixLayout, NonFinite, Order, Reduction};
use std::fmt::Debug;

/// A plugin that scores the weights of a layer; higher scores are kept.
///
/// Register it with [`register_criterion`](crate::register_criterion). A criterion sees every layer as a matrix, **rows = output units,
/// columns = fan-in**, whatever its type and rank.
///
/// ```
/// use burn::tensor::Tensor;
/// use pruning_burn::score::{Criterion, CriterionError, LayerView};
/// use pruning_burn::plugin::Plugin;
/// use serde::{Deserialize, Serialize};
///
/// /// Squared weights.
/// #[derive(Debug, Default, Serialize, Deserialize)]
/// #[serde(default, deny_unknown_fields)]
/// pub struct Square {}
///
/// impl Plugin for Square {
///     const NAME: &'static str = "acme.square";
///     const SUMMARY: &'static str = "The square of each weight.";
/// }
///
/// impl Criterion for Square {
///     fn score(&self, layer: &LayerView<'_>) -> Result<Tensor<2>, CriterionError> {
///         Ok(layer.weight().square())
///     }
/// }
///
/// pruning_burn::register_criterion!(Square);
/// ```
pub trait Criterion: Debug + Send + Sync {
    /// Returns the inputs that the criterion looks at besides the weights, also those of its own crate.
    ///
    /// The pruner checks that all of them are there before any work.
    fn needs(&self) -> Needs {
        Needs::none()
    }

    /// Returns a score for each weight, in the shape of the matrix, on the device of the layer.
    ///
    /// # Errors
    /// This criterion cannot score the layer.
    fn score(&self, layer: &LayerView<'_>) -> Result<Tensor<2>, CriterionError>;

    /// Returns the number by which all scores of the layer are multiplied; it is finite and above 0.
    ///
    /// A criterion that only scales layers can so return the weights unchanged, which saves a tensor of the same size.
    ///
    /// # Errors
    /// This criterion cannot score the layer.
    fn factor(&self, _: &LayerView<'_>) -> Result<f64, CriterionError> {
        Ok(1.0)
    }

    /// Returns the order by which the scores rank. With [`Order::Absolute`] a criterion can return a tensor with its sign.
    fn order(&self) -> Order {
        Order::Value
    }

    /// Returns whether the score of a weight depends on its place in the matrix.
    ///
    /// Examples are random scores, patterns within kernels, and scores that prefer the first channels. For all other criteria the
    /// conformance kit checks that scores follow their weights when rows or columns are permuted.
    fn positional(&self) -> bool {
        false
    }

    /// Returns the reduction that turns the scores of a block or channel into one, unless the recipe sets another.
    fn reduction(&self) -> Reduction {
        Reduction::Sum
    }
}

impl PluginKind for dyn Criterion {
    const KIND: &'static str = "criterion";

    fn declare(&self) {
        let _ = (self.needs(), self.order(), self.reduction(), self.positional());
    }
}

/// Registers a [`Criterion`]: `register_criterion!(MyCriterion);` beside its definition.
#[macro_export]
macro_rules! register_criterion {
    ($plugin:ty) => {
        $crate::pruning_core::register_plugin!($plugin, dyn $crate::score::Criterion);
    };
}

/// A layer as a criterion sees it.
#[derive(Clone, Debug)]
pub struct LayerView<'a> {
    pub(crate) path: &'a str,
    pub(crate) kind: &'a str,
    pub(crate) shape: &'a [usize],
    pub(crate) layout: MatrixLayout,
    pub(crate) weight: Tensor<2>,
    pub(crate) inputs: Option<&'a CriterionInputs>,
    pub(crate) needs: Needs,
    pub(crate) update: usize,
}

impl LayerView<'_> {
    /// Returns the path of the parameter, such as `encoder.0.fc1.weight`.
    #[must_use]
    pub fn path(&self) -> &str {
        self.path
    }

    /// Returns the type of the layer, such as `Linear` or `Conv2d`.
    #[must_use]
    pub fn kind(&self) -> &str {
        self.kind
    }

    /// Returns the shape of the parameter.
    #[must_use]
    pub fn shape(&self) -> &[usize] {
        self.shape
    }

    /// Returns the layout by which the matrix lies in the parameter.
    #[must_use]
    pub fn layout(&self) -> MatrixLayout {
        self.layout
    }

    /// Returns the weights as a matrix `[output units, fan-in]`, with zeros where they are pruned already.
    ///
    /// They are 32-bit floats without gradients, or 64-bit floats if the parameter has those.
    #[must_use]
    pub fn weight(&self) -> Tensor<2> {
        self.weight.clone()
    }

    /// Returns the gradient of the loss, in the shape of the weights. It is zero where the loss does not depend on them.
    ///
    /// # Errors
    /// The criterion does not declare the input in its needs, or the input was not collected.
    pub fn gradient(&self) -> Result<Tensor<2>, CriterionError> {
        self.input(Need::GRADIENT)
    }

    /// Returns the mean of the squared gradients of the batches.
    ///
    /// # Errors
    /// Those of [`gradient`](Self::gradient).
    pub fn squared_gradient(&self) -> Result<Tensor<2>, CriterionError> {
        self.input(Need::SQUARED_GRADIENT)
    }

    /// Returns the product of the Hessian with the gradient.
    ///
    /// # Errors
    /// Those of [`gradient`](Self::gradient).
    pub fn hessian_gradient(&self) -> Result<Tensor<2>, CriterionError> {
        self.input(Need::HESSIAN_GRADIENT)
    }

    /// Returns the weights at an earlier time.
    ///
    /// # Errors
    /// Those of [`gradient`](Self::gradient).
    pub fn initial_weight(&self) -> Result<Tensor<2>, CriterionError> {
        self.input(Need::INITIAL_WEIGHT)
    }

    /// Returns `-w g`, summed over steps of training.
    ///
    /// # Errors
    /// Those of [`gradient`](Self::gradient).
    pub fn movement(&self) -> Result<Tensor<2>, CriterionError> {
        self.input(Need::MOVEMENT)
    }

    /// Returns the gradient of the summed outputs of the network of absolute weights.
    ///
    /// # Errors
    /// Those of [`gradient`](Self::gradient).
    pub fn flow(&self) -> Result<Tensor<2>, CriterionError> {
        self.input(Need::FLOW)
    }

    /// Returns an input that the criterion declares, as a matrix that matches the weights.
    ///
    /// It is `[rows, cols]` for [`NeedShape::Weight`], `[1, cols]` for [`NeedShape::Column`], `[rows, 1]` for [`NeedShape::Output`],
    /// `[cols, cols]` for [`NeedShape::Columns`] and `[batches, cols]` for [`NeedShape::Batches`]. In a product with the weights a single
    /// row or column is repeated. A column input of a calibration is `[rows, cols]` in a convolution of several groups, and `[rows, 1]`
    /// where the parameter is stored the other way round.
    ///
    /// # Errors
    /// Those of [`gradient`](Self::gradient).
    pub fn input(&self, need: Need) -> Result<Tensor<2>, CriterionError> {
        if !self.needs.contains(need) {
            return Err(CriterionError::Undeclared { input: need });
        }
        let held = self.inputs.and_then(|inputs| Some((inputs, inputs.shape(need)?)));
        let (inputs, held) = held.ok_or(CriterionError::Missing { input: need })?;
        if held != need.shape() {
            return Err(CriterionError::OtherShape { input: need, held });
        }
        let Some((values, shape)) = inputs.get(need, self.path) else {
            return self.statistic(inputs, need);
        };
        if shape != self.shape {
            let (expected, found) = (self.shape.into(), shape.into());
            return Err(CriterionError::InputShape { input: need, expected, found });
        }
        let values = values.clone().to_device(&self.device());
        let (rows, cols) = (self.layout.rows(), self.layout.cols());
        let values = match held {
            NeedShape::Weight => to_matrix(values, &self.layout),
            NeedShape::Column => values.reshape([1, cols]),
            NeedShape::Output => values.reshape([rows, 1]),
            NeedShape::Columns => values.reshape([cols, cols]),
            NeedShape::Batches => {
                let batches = values.dims()[0] / cols.max(1);
                values.reshape([batches, cols])
            }
        };
        let dtype = self.weight.dtype();
        Ok(if values.dtype() == dtype { values } else { values.cast(dtype) })
    }

    /// An input that is computed for this parameter alone.
    fn statistic(&self, inputs: &CriterionInputs, need: Need) -> Result<Tensor<2>, CriterionError> {
        let Statistic { values, reads } = collected(inputs, need, self.path, &self.layout)?;
        let (rows, cols, len) = (self.layout.rows(), self.layout.cols(), values.len());
        let dtype = self.weight.dtype();
        let data = TensorData::new(values, [len]).convert_dtype(dtype);
        let values = Tensor::<1>::from_data(data, (&self.device(), dtype));
        Ok(match (need.shape(), reads) {
            (NeedShape::Column, Reads::Columns) => values.reshape([1, cols]),
            (NeedShape::Column, Reads::Rows) => values.reshape([rows, 1]),
            (NeedShape::Column, Reads::Groups(groups)) => {
                let own = rows / groups;
                values.reshape([groups, 1, cols]).repeat_dim(1, own).reshape([rows, cols])
            }
            (NeedShape::Output, _) => values.reshape([rows, 1]),
            (NeedShape::Columns, Reads::Columns) => values.reshape([cols, cols]),
            (NeedShape::Columns, _) => {
                let reason = "each group of its output units sees columns of its own".to_string();
                return Err(CriterionError::NotCollected { input: need, reason });
            }
            (NeedShape::Weight | NeedShape::Batches, _) => values.reshape([rows, cols]),
        })
    }

    /// Returns the number of the update of dynamic sparse training, counted from 1, or 0 in a pruning.
    ///
    /// A criterion with random scores draws other scores in each update.
    #[must_use]
    pub fn update(&self) -> usize {
        self.update
    }

    /// Returns the device of the layer.
    #[must_use]
    pub fn device(&self) -> Device {
        self.weight.device()
    }
}

/// An input of a parameter as a calibration collected it.
pub(crate) fn collected(
    inputs: &CriterionInputs,
    need: Need,
    path: &str,
    layout: &MatrixLayout,
) -> Result<Statistic, CriterionError> {
    let statistics = inputs.statistics().filter(|statistics| statistics.holds(need));
    let statistics = statistics.ok_or(CriterionError::OtherModel { input: need })?;
    let failed = |reason| CriterionError::NotCollected { input: need, reason };
    let statistic = statistics.of(need, path).map_err(failed)?;
    // What a file says need not be so.
    let fits = statistic.fits(need, layout);
    if fits { Ok(statistic) } else { Err(failed(format!("it has {} numbers of it", statistic.values.len()))) }
}

/// An error of a criterion that cannot score a layer.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum CriterionError {
    /// The layer does not suit the criterion.
    #[error("{reason}")]
    Unsuited {
        /// The reason that the criterion gives.
        reason: String,
    },
    /// The criterion asked for an input that is not among its needs.
    #[error("the criterion uses the input {input} and does not declare it: name it in `needs`")]
    Undeclared {
        /// The input.
        input: Need,
    },
    /// An input was not collected.
    #[error(
        "the input {input} is missing: collect it into `CriterionInputs`, and pass them to `prune`, `step`, `plan` or `with_inputs`"
    )]
    Missing {
        /// The input.
        input: Need,
    },
    /// An input of the same name was given in another shape.
    #[error("the input {input} is declared as {}, but it was given as {held}", input.shape())]
    OtherShape {
        /// The input.
        input: Need,
        /// The shape in which it was given.
        held: NeedShape,
    },
    /// An input has no values for the parameter.
    #[error("the input {input} has nothing for this parameter: collect it from this model")]
    OtherModel {
        /// The input.
        input: Need,
    },
    /// The calibration has no such input of this parameter.
    #[error("the calibration has no {input} of this parameter: {reason}; exclude it")]
    NotCollected {
        /// The input.
        input: Need,
        /// The reason.
        reason: String,
    },
    /// An input was collected from a parameter of another shape.
    #[error("the input {input} has shape {found:?}, the parameter {expected:?}: collect it from this model")]
    InputShape {
        /// The input.
        input: Need,
        /// Shape of the parameter.
        expected: Box<[usize]>,
        /// Shape of the input.
        found: Box<[usize]>,
    },
    /// The factor of a layer is not a finite number above 0.
    #[error("the criterion returned the factor {factor}, expected a finite number above 0")]
    Factor {
        /// The factor, as text.
        factor: String,
    },
    /// The criterion panicked.
    #[error("the criterion panicked: {message}")]
    Panicked {
        /// The message of the panic.
        message: String,
    },
    /// A score is NaN or infinite.
    #[error(
        "score {value} at index {index} is not finite; repair the weights and inputs that it is computed from, or exclude the layer"
    )]
    NonFinite {
        /// Index into the scores.
        index: usize,
        /// The score, as text.
        value: String,
    },
    /// The scores have another shape than the matrix.
    #[error("the criterion returned scores of shape {found:?} for a matrix of {expected:?}")]
    Shape {
        /// Rows and columns of the matrix.
        expected: [usize; 2],
        /// Rows and columns of the scores.
        found: [usize; 2],
    },
}

impl From<NonFinite> for CriterionError {
    fn from(NonFinite { index, value }: NonFinite) -> Self {
        Self::NonFinite { index, value: value.to_string() }
    }
}

/// What a criterion says of a layer, within its contract: scores in the shape of the matrix, and the factor of all of them.
pub(crate) fn scored(criterion: &dyn Criterion, layer: &LayerView<'_>) -> Result<(Tensor<2>, f32), CriterionError> {
    // A plugin of someone else's: its panic is an error like any other, and the model stays as it is.
    let scored = caught(|| Ok((criterion.score(layer)?, criterion.factor(layer)?)));
    let (scores, factor) = scored.unwrap_or_else(|message| Err(CriterionError::Panicked { message }))?;
    if !(factor > 0.0 && factor.is_finite()) {
        return Err(CriterionError::Factor { factor: factor.to_string() });
    }
    let (expected, found) = (layer.weight.dims(), scores.dims());
    if found != expected {
        return Err(CriterionError::Shape { expected, found });
    }
    // Within the range of 32-bit floats: a layer beyond it keeps its own ranking at least.
    Ok((scores, factor.clamp(f64::from(f32::MIN_POSITIVE), f64::from(f32::MAX)) as f32))
}
