//! Removing channels and heads for good: plan, inspect, apply, verify.
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
//! shrink::mask(&plan, &mut masked)?;                           // the same, with the channels still there
//! let applied = shrink::apply(&plan, &mut model, |_: &mut Mlp, _: &mut Fields| {}, forward)?;
//! assert!(applied.equivalence.difference().is_some());         // checked with random biases and inputs
//! assert_eq!(model.fc1.weight.dims(), [8, 8]);
//! verify(&masked, &model, forward)?.within(1e-6)?;             // and with real ones
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

mod apply;
pub(crate) mod channels;
mod choose;
mod confirm;
mod equivalence;
mod error;
mod fields;
mod file;
mod fold;
mod groups;
mod heads;
mod mask;
mod optimizer;
mod owners;
mod parameters;
mod plan;
mod score;
mod size_fields;
mod verify;

pub use apply::{Applied, Checks, apply};
pub use equivalence::Equivalence;
pub use error::ShrinkError;
pub use fields::Fields;
pub use fold::{Folded, fold};
pub use groups::{AxisOf, ChannelGroup, ChannelGroups};
pub use mask::mask;
pub use optimizer::cut_optimizer;
pub use plan::{CostTarget, RoundTo, Shrinker};
pub use pruning_core::graph::{Cut, Factor, FieldChange, GroupCut, PlanError, RemovalError, ShrinkPlan, Totals};
pub use size_fields::{SizeField, size_fields};
pub use verify::{Difference, verify};
