//! What a module computes, as a graph: recorded once from the user's own `forward`.
//!
//! A [`Trace`] knows every operation with its shapes, and which of its tensors are parameters. From it come the cost of
//! each layer ([`Trace::costs`]), the channels that belong together ([`Trace::groups`]), and a replay on real inputs
//! ([`Trace::replay`]).
//!
//! ```
//! use burn::{backend::Flex, nn::LinearConfig, tensor::{Device, Tensor}};
//! use pruning_burn::trace::{Trace, Values};
//!
//! let device = Device::flex();
//! let model = LinearConfig::new(4, 3).init(&device);
//! let x = Tensor::<2>::ones([2, 4], &device);
//! let trace = Trace::record(&model, |model, scope| {
//!     let x = scope.input(&x);
//!     scope.output(model.forward(x));
//! })?;
//! assert_eq!(trace.costs().macs(), 2 * 4 * 3);
//!
//! let outputs = trace.replay::<Flex, _>(&model, Values::new().with(x.clone()))?;
//! let y: Tensor<2> = outputs.get(0)?;
//! assert_eq!(y.into_data(), model.forward(x).into_data());
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

mod arithmetic_rules;
mod compare;
mod costs;
mod layer_rules;
mod name;
mod normal;
mod record;
mod replay;
mod rules;
mod shape_rules;

pub(crate) use compare::{Departure, Prediction};
pub use costs::{Costs, OperationCost};
pub use pruning_core::graph::Rule;
pub use record::{Identified, Scope, Trace, TraceError};
pub(crate) use record::{Inputs as RunOn, Traced};
pub use replay::{ReplayBackend, ReplayError, Values};
pub(crate) use rules::{Analysis, Heads};
pub use rules::{AxisRules, GroupError};
