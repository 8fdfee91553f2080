//! Errors of collecting inputs: [`InputError`].

use crate::layers::SharedId;
use crate::score::Need;
use pruning_core::shown;

/// An error of collecting inputs.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum InputError {
    /// No batch was given.
    #[error("no batch was given: gradients need at least one")]
    NoBatch,
    /// The model is not on an autodiff device.
    #[error("{path}: is not on an autodiff device; build the model with `device.autodiff()`, or call `train()` on it")]
    NoAutodiff {
        /// A parameter.
        path: String,
    },
    /// The loss is not a single number.
    #[error("the loss of batch {batch} has {found} elements, expected 1: reduce it, as by `mean`")]
    NotScalar {
        /// Number of the batch, from 0.
        batch: usize,
        /// Elements of the loss.
        found: usize,
    },
    /// The loss is NaN or infinite.
    #[error("the loss of batch {batch} is not finite, so its gradients cannot rank weights")]
    NotFinite {
        /// Number of the batch, from 0.
        batch: usize,
    },
    /// The device has no double precision.
    #[error(
        "{path}: {device} has no double precision, which the Hessian-gradient product needs; collect the inputs from a copy on a device \
         that has it, such as `model.clone().to_device(&Device::flex().autodiff())`, and prune the model with them"
    )]
    NoDouble {
        /// A parameter.
        path: String,
        /// The device.
        device: String,
    },
    /// The loss has another type than the parameters.
    #[error(
        "batch {batch}: the loss does not follow the model into double precision, which the Hessian-gradient product needs ({found}); \
         cast the inputs of the model to the type of its weights, as by `x.cast(model.fc1.weight.dtype())`"
    )]
    NotDouble {
        /// Number of the batch, from 0.
        batch: usize,
        /// The type of the loss, or the error that the loss ended with.
        found: String,
    },
    /// The differences of gradients do not agree.
    #[error(
        "the Hessian-gradient product is uncertain by {apart} of its norm: the loss has kinks at the weights themselves (a ReLU of exactly \
         zero, as with zero biases on a constant background), has too many kinks nearby (give smaller batches), or differs from call to \
         call (dropout)"
    )]
    Uncertain {
        /// The norm of the uncertain part, relative to that of the product.
        apart: String,
    },
    /// The closure panicked.
    #[error("the closure panicked at batch {batch}: {message}")]
    Panicked {
        /// Number of the batch, from 0.
        batch: usize,
        /// The message of the panic.
        message: String,
    },
    /// An input was given for a parameter that the model does not have.
    #[error(
        "the input {input}: the model has no float parameter {}; there are: {}",
        shown::name(path),
        shown::list(paths)
    )]
    UnknownParameter {
        /// The input.
        input: Need,
        /// The path.
        path: String,
        /// Float parameters of the model.
        paths: Vec<String>,
    },
    /// The values of an input have another shape than it declares.
    #[error(
        "{path}: the values of the input {input} have shape {found:?}, expected {expected:?}, or as many values in one list"
    )]
    Shape {
        /// The input.
        input: Need,
        /// The parameter.
        path: String,
        /// The shape that the input declares.
        expected: Vec<usize>,
        /// The shape of the values.
        found: Vec<usize>,
    },
    /// A value of an input is NaN or infinite.
    #[error("{path}: value {index} of the input {input} is not finite, so it cannot rank weights")]
    Value {
        /// The input.
        input: Need,
        /// The parameter.
        path: String,
        /// Index of the value.
        index: usize,
    },
    /// Two different parameters share an id.
    #[error(transparent)]
    SharedId(#[from] SharedId),
    /// The loss does not depend on any parameter.
    #[error("no parameter has a gradient: let the closure compute the loss with the model that it is given")]
    NoGradient,
}
