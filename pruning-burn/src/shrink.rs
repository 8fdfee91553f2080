//! The removal of channels and heads: plan, inspect, apply, verify.
//!
//! ```
//! use burn::{module::Module, nn::{Linear, LinearConfig}, tensor::{Device, Tensor, activation::relu}};
//! use pruning_burn::shrink;
//! use pruning_burn::shrink::{Fields, Shrinker, verify};
//! use pruning_burn::trace::{Scope, Trace};
//! use pruning_burn::plugin::Plugins;
//! use pruning_burn::Pruner;
//! # use {pruning_allocation as _, pruning_magnitude as _};
//!
//! #[derive(Module, Debug)]
//! struct Mlp { fc1: Linear, fc2: Linear }
//!
//! let device = Device::flex();
//! let mut model = Mlp { fc1: LinearConfig::new(8, 16).init(&device), fc2: LinearConfig::new(16, 4).init(&device) };
//! let x = Tensor::<2>::ones([1, 8], &device);
//! let forward = |model: &Mlp, scope: &mut Scope| {
//!     let x = scope.input(&x);
//!     scope.output(model.fc2.forward(relu(model.fc1.forward(x))));
//! };
//!
//! let trace = Trace::record(&model, forward)?;
//! let recipe = "criterion = \"magnitude\"\ngranularity = \"channel\"\nsparsity = 0.5";
//! let plan = Shrinker::new(&Pruner::from_toml(recipe, &Plugins::linked())?).plan(&model, &trace, None)?;
//! println!("{plan}");
//!
//! let mut masked = model.clone();
//! shrink::mask(&plan, &mut masked)?;                           // masks the same channels without removing them
//! let applied = shrink::apply(&plan, &mut model, |_: &mut Mlp, _: &mut Fields| {}, forward)?;
//! assert!(applied.equivalence.difference().is_some());         // checked with random biases and inputs
//! assert_eq!(model.fc1.weight.dims(), [8, 8]);
//! verify(&masked, &model, forward)?.within(1e-6)?;             // checked with real inputs
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! # Contract
//!
//! **Masked channels.** With a trace a channel means the same for `Pruner`, `Session`, `Scan` and [`mask`](mask()): a unit of a coupled
//! group, masked in every weight, bias, scale and shift on which it lies. Without a trace only the weight that makes the channel is
//! masked, and `Warning::Untraced` names what remains. Layers that share channels are counted at the first of them, and the lowest of
//! their overrides determines how much they lose. A layer that is left dense or excluded keeps the whole group. `channel_score` selects
//! whether the weights of the whole group score a unit, or only those of the targets that make it.
//!
//! **Plans.** [`ShrinkPlan`] is data: the kept positions by parameter and axis, the fields to set, the groups, the costs, the remaining
//! products, and the user's rules.
//!
//! **Proof.** [`apply`](apply()) cuts a copy (after `valid()`, since clones share running statistics), lets the caller set the fields,
//! and makes two checks before it replaces the model. The first check records the forward of the model and of the copy. It follows the
//! removed positions through the labels of the dense trace: the result must be exactly what the plan removes, without anything pinned.
//! That gives the size of every tensor. Both traces are then brought into a normal form (shapes stated at each use, no operation without
//! effect, linear layers folded). There every operation of the copy must be the dense one with the dense scalars and captured values, in
//! the predicted sizes. A function that sets fields must not change the ids and values of parameters, since the second check replaces
//! values: it runs the masked model and the copy on random inputs, with random biases, scales and statistics. If the masks change no
//! output, the check proves nothing, and the result says so.
//!
//! **Without the code.** [`apply_to_traces`] cuts the recorded passes instead of the module, for sizes that no caller can set. The labels of
//! each trace give the sizes of its tensors and the arguments of its operations; every operation is run once and its results must have the
//! predicted shapes. Then the masked model and the smaller passes are replayed as in the second check. The result is a
//! [`SparseModel`](crate::sparse::SparseModel), the one type for recorded passes with their weights.
//!
//! [`size_fields`] reads the numbers in the structs around each cut from the module's `Debug`. If a check fails, its error names those
//! that equal a changing size. They are guesses, so the plan does not ask for them.

mod apply;
mod choose;
mod confirm;
mod coupled;
mod cut;
mod equivalence;
mod error;
mod fields;
mod file;
mod fold;
mod groups;
mod heads;
pub(crate) mod mask;
mod optimizer;
mod owners;
mod parameters;
pub(crate) mod plan;
#[cfg(feature = "sparse")]
mod program;
mod rebuild;
mod size_fields;
mod verify;

pub use apply::{Applied, Checks, apply};
pub use choose::CostTarget;
pub use equivalence::Equivalence;
pub use error::ShrinkError;
pub use fields::Fields;
pub use fold::{Folded, fold};
pub use groups::{AxisOf, ChannelGroup, ChannelGroups};
pub use mask::mask;
pub use optimizer::cut_optimizer;
pub use plan::{RoundTo, Shrinker};
#[cfg(feature = "sparse")]
pub use program::apply_to_traces;
pub use pruning_core::graph::{Cut, Factor, FieldChange, GroupCut, PlanError, RemovalError, ShrinkPlan, Totals};
pub use rebuild::{Rebuilt, reconstruct};
pub use size_fields::{SizeField, size_fields};
pub use verify::{Difference, verify};
