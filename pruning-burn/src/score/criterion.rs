//! Which weights matter least: the [`Criterion`] plugin.

use crate::host::to_matrix;
use crate::score::{CriterionInputs, Need, NeedShape, Needs};
use burn::tensor::{Device, Tensor};
use pruning_core::caught;
use pruning_core::plugin::PluginKind;
use pruning_core::score::{MatrixLayout, NonFinite, Order, Reduction};
use std::fmt::Debug;

/// Scores the weights of a layer; higher scores are kept. A plugin: see [`register_criterion`](crate::register_criterion).
///
/// Every layer is shown as a matrix, **rows = output units, columns = fan-in**, whatever its type and rank.
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
    /// What it looks at besides the weights, inputs of its own crate among them. The pruner checks that all of it is there before any work.
    fn needs(&self) -> Needs {
        Needs::none()
    }

    /// A score for each weight, in the shape of the matrix, on the device of the layer.
    ///
    /// # Errors
    /// This criterion cannot score the layer.
    fn score(&self, layer: &LayerView<'_>) -> Result<Tensor<2>, CriterionError>;

    /// What all scores of the layer are multiplied by, above 0 and finite. A criterion that does no more than scale layers hands over
    /// the weights as they are, and saves a tensor as large.
    ///
    /// # Errors
    /// As [`score`](Self::score).
    fn factor(&self, _: &LayerView<'_>) -> Result<f64, CriterionError> {
        Ok(1.0)
    }

    /// How the scores rank. With [`Order::Absolute`] a criterion can hand over a tensor as it is, sign included.
    fn order(&self) -> Order {
        Order::Value
    }

    /// Whether the place of a weight in its matrix counts for its score: scores that are drawn at random, patterns within kernels, the
    /// first channels before the last. The conformance kit asks of all others that rows and columns may change places.
    fn positional(&self) -> bool {
        false
    }

    /// How the scores of a block or channel become one, unless the recipe says otherwise.
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
    /// Path of the parameter, as in `encoder.0.fc1.weight`.
    #[must_use]
    pub fn path(&self) -> &str {
        self.path
    }

    /// Type of the layer: `Linear`, `Conv2d`, ...
    #[must_use]
    pub fn kind(&self) -> &str {
        self.kind
    }

    /// The parameter's own shape.
    #[must_use]
    pub fn shape(&self) -> &[usize] {
        self.shape
    }

    /// How the matrix lies in the parameter.
    #[must_use]
    pub fn layout(&self) -> MatrixLayout {
        self.layout
    }

    /// The weights, `[output units, fan-in]`, as 32-bit floats without gradients, or as 64-bit ones where the parameter has those; zero where
    /// they are pruned already.
    #[must_use]
    pub fn weight(&self) -> Tensor<2> {
        self.weight.clone()
    }

    /// The gradient of the loss, in the shape of the weights; zero where it does not depend on them.
    ///
    /// # Errors
    /// It is not among the criterion's needs, or was not collected.
    pub fn gradient(&self) -> Result<Tensor<2>, CriterionError> {
        self.input(Need::GRADIENT)
    }

    /// The mean of the squared gradients of batches.
    ///
    /// # Errors
    /// As [`gradient`](Self::gradient).
    pub fn squared_gradient(&self) -> Result<Tensor<2>, CriterionError> {
        self.input(Need::SQUARED_GRADIENT)
    }

    /// The product of the Hessian with the gradient.
    ///
    /// # Errors
    /// As [`gradient`](Self::gradient).
    pub fn hessian_gradient(&self) -> Result<Tensor<2>, CriterionError> {
        self.input(Need::HESSIAN_GRADIENT)
    }

    /// The weights at an earlier time.
    ///
    /// # Errors
    /// As [`gradient`](Self::gradient).
    pub fn initial_weight(&self) -> Result<Tensor<2>, CriterionError> {
        self.input(Need::INITIAL_WEIGHT)
    }

    /// `-w g`, summed over steps of training.
    ///
    /// # Errors
    /// As [`gradient`](Self::gradient).
    pub fn movement(&self) -> Result<Tensor<2>, CriterionError> {
        self.input(Need::MOVEMENT)
    }

    /// The gradient of the summed outputs of the network of absolute weights.
    ///
    /// # Errors
    /// As [`gradient`](Self::gradient).
    pub fn flow(&self) -> Result<Tensor<2>, CriterionError> {
        self.input(Need::FLOW)
    }

    /// An input that the criterion declares, as a matrix that goes with that of the weights: `[rows, cols]` for
    /// [`NeedShape::Weight`], `[1, cols]` for [`NeedShape::Column`], `[rows, 1]` for [`NeedShape::Output`] and `[cols, cols]` for
    /// [`NeedShape::Columns`]. Products with the weights repeat a single row or column.
    ///
    /// # Errors
    /// As [`gradient`](Self::gradient).
    pub fn input(&self, need: Need) -> Result<Tensor<2>, CriterionError> {
        if !self.needs.contains(need) {
            return Err(CriterionError::Undeclared { input: need });
        }
        let held = self.inputs.and_then(|inputs| Some((inputs, inputs.shape(need)?)));
        let (inputs, held) = held.ok_or(CriterionError::Missing { input: need })?;
        if held != need.shape() {
            return Err(CriterionError::OtherShape { input: need, held });
        }
        let (values, shape) = inputs.get(need, self.path).ok_or(CriterionError::OtherModel { input: need })?;
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
        };
        let dtype = self.weight.dtype();
        Ok(if values.dtype() == dtype { values } else { values.cast(dtype) })
    }

    /// Number of the update of dynamic sparse training, from 1; 0 in a pruning. A criterion that draws its scores draws others
    /// in each update.
    #[must_use]
    pub fn update(&self) -> usize {
        self.update
    }

    /// Where the layer lives.
    #[must_use]
    pub fn device(&self) -> Device {
        self.weight.device()
    }
}

/// A layer that a criterion cannot score.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum CriterionError {
    /// The criterion says why.
    #[error("{reason}")]
    Unsuited {
        /// What the layer lacks.
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
        "the input {input} is missing: collect it into `CriterionInputs`, and hand it over by `prune_with`, `step_with`, `plan_with` or `with_inputs`"
    )]
    Missing {
        /// The input.
        input: Need,
    },
    /// An input of the same name was given in another shape.
    #[error("the input {input} is declared as {}, and what was given under this name is {held}", input.shape())]
    OtherShape {
        /// The input.
        input: Need,
        /// The shape of what was given.
        held: NeedShape,
    },
    /// An input has nothing for the parameter.
    #[error("the input {input} has nothing for this parameter: is it collected from this model?")]
    OtherModel {
        /// The input.
        input: Need,
    },
    /// An input is for a parameter of another shape.
    #[error("the input {input} has shape {found:?}, the parameter {expected:?}: is it collected from this model?")]
    InputShape {
        /// The input.
        input: Need,
        /// Shape of the parameter.
        expected: Box<[usize]>,
        /// Shape of the input.
        found: Box<[usize]>,
    },
    /// The factor of a layer would rank nothing.
    #[error("the criterion returned the factor {factor}, expected a number above 0")]
    Factor {
        /// The factor, as text.
        factor: String,
    },
    /// The criterion panicked.
    #[error("the criterion panicked: {message}")]
    Panicked {
        /// What it said.
        message: String,
    },
    /// A score is NaN or infinite.
    #[error(
        "score {value} at index {index} is not finite; repair the weights and inputs that it comes from, or exclude the layer"
    )]
    NonFinite {
        /// Index into the scores.
        index: usize,
        /// The score, as text.
        value: String,
    },
    /// The scores have not the shape of the matrix.
    #[error("the criterion returned scores of shape {found:?} for a matrix of {expected:?}")]
    Shape {
        /// Rows and columns.
        expected: [usize; 2],
        /// What came back.
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
