//! The computation of a module as a graph, recorded once from the user's own `forward`.
//!
//! A [`Trace`] knows every operation with its shapes, and knows which tensors are parameters. It tells the cost of each layer
//! ([`Trace::costs`]) and the channels that belong together ([`Trace::groups`]), and it replays the pass on real inputs
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
//!
//! # Contract
//!
//! [`Trace::record`] runs the user's forward on Burn's capture device. Parameters are replaced by empty tensors of their shape first, so
//! no weight is copied, and a trace belongs to a shape, not to weights. Replay registers the weights of a model and runs the operations
//! with `burn-router`'s interpreter on any backend. A trace is rewritten to other sizes along the labels of its axes, for a model that
//! lost channels and whose code cannot be told so.
//!
//! An operation without a rule keeps the axes of its operands, and the reason is its name. [`AxisRules`] adds a rule;
//! [`AxisRules::with_strict`] makes a missing rule an error. A rule that does not fit the shapes keeps its axes as well; it never panics.
//! Axes whose masked zeros would become infinite (`log`, a division by them) stay. Heads are the free axes along which activations are
//! multiplied with each other entry by entry; their size is the axis that this product sums over. A product determines the input and
//! output channels of a user's own parameter; without a product, the table of layer types does.

mod analysis;
mod arithmetic_rules;
mod compare;
mod costs;
mod layer_rules;
mod name;
mod normal;
mod record;
mod replay;
#[cfg(feature = "sparse")]
mod resize;
mod rules;
mod shape_rules;
mod weights;

pub(crate) use analysis::{Analysis, Heads};
pub(crate) use compare::{Departure, Prediction};
pub use costs::{Costs, OperationCost};
pub use pruning_core::graph::Rule;
pub(crate) use record::{Declared, Inputs as RunOn, Positions};
pub use record::{Identified, Scope, Trace, TraceError};
pub(crate) use replay::Tap;
pub use replay::{ReplayBackend, ReplayError, Values};
#[cfg(feature = "sparse")]
pub(crate) use resize::Unresizable;
pub use rules::{AxisRules, GroupError};
