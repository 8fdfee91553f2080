//! Pruning of any Burn module, on any device, without a change to the module's code.
//!
//! Every pruning method answers four questions: *what* is removed together ([`Granularity`]), *which* weights matter least
//! (a [`Criterion`], and an [`Allocator`] that shares the budget out over the layers), *when* ([`Schedule`]), and *from which
//! weights* training goes on ([`Initialization`]). A recipe answers all four; a [`Pruner`] does it.
//!
//! ```text
//! recipe.toml --Plugins--> Pruner                        names found, everything checked, before any work
//! module --visit--> layers --criterion, on the device--> scores --one read--> host
//! scores --granularity--> unit scores --allocator--> counts --selection--> masks
//! module + masks --attach--> the same module type, masked --finish--> plain module, zeros in the weights
//!                                                         --undo----> the dense weights back
//! ```
//!
//! A mask is attached as a reparameterization of the parameter, so pruned weights are zero whatever the optimizer does,
//! and through `clone`, `fork`, `to_device`, `valid`, `train`, saving and loading. User code that reads a parameter by
//! dereferencing it instead of by `val()` sees the base without the mask; Burn's own layers all call `val()`. A `ModuleVisitor` sees
//! the base as well, since Burn hands it the parameter without its mask: export a copy that [`finish`] has been called on.
//!
//! ```
//! use burn::{nn::LinearConfig, tensor::Device};
//! use pruning_burn::{Plugins, Pruner, finish, masks, undo};
//! # use {pruning_allocation as _, pruning_magnitude as _};
//!
//! let recipe = r#"
//!     criterion = "magnitude"
//!     allocator = "uniform"
//!     sparsity = 0.9
//! "#;
//! let pruner = Pruner::from_toml(recipe, &Plugins::linked())?;
//!
//! let mut layer = LinearConfig::new(784, 10).init(&Device::flex());
//! let report = pruner.prune(&mut layer)?;        // train on from here, in your own loop
//! assert_eq!(report.kept(), 784);
//! assert_eq!(masks(&layer).get("weight").unwrap().kept(), 784);
//!
//! let mut dense = layer.clone();
//! undo(&mut dense)?;                             // the dense weights, bit for bit
//! finish(&mut layer)?;                           // or a plain module with zeros
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

mod attach;
#[cfg(feature = "conformance")]
pub mod conformance;
mod criterion;
pub mod distillation;
mod error;
mod grow;
mod host;
mod inputs;
mod layers;
pub mod learned;
mod mask;
mod moments;
mod needs;
pub mod nn;
mod pruner;
mod recalibrate;
pub mod rounds;
mod scores;
mod select;
pub mod sensitivity;
mod session;
#[cfg(feature = "trace")]
pub mod shrink;
mod snapshot;
#[cfg(feature = "sparse")]
pub mod sparse;
mod store;
#[cfg(feature = "trace")]
pub mod trace;
#[cfg(feature = "train")]
pub mod train;
#[cfg(feature = "sparse")]
mod workspaces;

pub use attach::{attach_masks, finish, masks, report, undo, update_masks};
pub use criterion::{Criterion, CriterionError, LayerView};
pub use error::PruneError;
pub use inputs::{InputError, Inputs};
pub use layers::SharedId;
pub use mask::PruningMask;
pub use moments::mask_optimizer;
pub use needs::Needs;
pub use pruner::{Pruner, PrunerBuilder, Recipe};
#[doc(hidden)]
pub use pruning_core;
pub use pruning_core::{
    AllocationError, Allocator, Along, Amount, Anneal, Axis, Bits, Budget, ChannelScore, ChooseError, Configured,
    Curve, CurveError, Entry, Event, Granularity, GranularityError, Grow, Initialization, LayerReport, LayerUnits,
    Mask, MaskError, MaskSet, Match, MatrixLayout, Measure, NonFinite, NormOrder, Order, Origin, Override, Pattern,
    Plugin, PluginKind, Plugins, Problem, RecipeError, Reduction, ReductionError, Register, RegistryError, Report,
    Rounding, Rounds, Schedule, Scope, Scores, Share, Skipped, Sparsity, SparsityError, Targets, Update, Warning,
    in_proportion, random_masks, reduce, register_allocator, register_curve, share_highest, shown,
};
pub use recalibrate::{RecalibrationError, recalibrate_batch_norm};
pub use scores::LayerScores;
pub use session::Session;
#[cfg(feature = "sparse")]
pub use store::{CompactReport, CompactTensor, load_compact, save_compact};
pub use store::{Integrity, StoreError, load, save};
