//! Which weights matter least: the [`Criterion`] plugin.

use burn::tensor::{Device, Tensor};
use pruning_core::{MatrixLayout, Order, PluginKind, Reduction};
use std::fmt::Debug;

/// Scores the weights of a layer; higher scores are kept. A plugin: see [`register_criterion`](crate::register_criterion).
///
/// Every layer is shown as a matrix, **rows = output units, columns = fan-in**, whatever its type and rank.
///
/// ```
/// use burn::tensor::Tensor;
/// use pruning_burn::{Criterion, CriterionError, LayerView, Plugin};
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
    /// A score for each weight, in the shape of the matrix, on the device of the layer.
    ///
    /// # Errors
    /// The layer is none that this criterion can score.
    fn score(&self, layer: &LayerView<'_>) -> Result<Tensor<2>, CriterionError>;

    /// How the scores rank. With [`Order::Absolute`] a criterion can hand over a tensor as it is, sign included.
    fn order(&self) -> Order {
        Order::Value
    }

    /// How the scores of a block or channel become one, unless the recipe says otherwise.
    fn reduction(&self) -> Reduction {
        Reduction::Sum
    }
}

impl PluginKind for dyn Criterion {
    const KIND: &'static str = "criterion";
}

/// Registers a [`Criterion`]: `register_criterion!(MyCriterion);` beside its definition.
#[macro_export]
macro_rules! register_criterion {
    ($plugin:ty) => {
        $crate::pruning_core::register_plugin!($plugin, dyn $crate::Criterion);
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

    /// The weights, `[output units, fan-in]`, as 32-bit floats without gradients; zero where they are pruned already.
    #[must_use]
    pub fn weight(&self) -> Tensor<2> {
        self.weight.clone()
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
    /// The scores have not the shape of the matrix.
    #[error("the criterion returned scores of shape {found:?} for a matrix of {expected:?}")]
    Shape {
        /// Rows and columns.
        expected: [usize; 2],
        /// What came back.
        found: [usize; 2],
    },
}
