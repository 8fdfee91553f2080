//! Pruning of any Burn module, on any device, without a change to the module's code.
//!
//! Every pruning method answers four questions: *what* is removed together ([`Granularity`](score::Granularity)), *which* weights matter least
//! (a [`Criterion`](score::Criterion), and an [`Allocator`](budget::Allocator) that shares the budget out over the layers), *when* ([`Schedule`](schedule::Schedule)), and *from which
//! weights* training goes on ([`Initialization`](schedule::Initialization)). A recipe answers all four; a [`Pruner`] does it.
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
//! the base as well, since Burn hands it the parameter without its mask: export a copy that [`finish`](mask::finish) has been called on.
//!
//! ```
//! use burn::{nn::LinearConfig, tensor::Device};
//! use pruning_burn::plugin::Plugins;
//! use pruning_burn::Pruner;
//! use pruning_burn::mask::{finish, masks, undo};
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
//! let report = pruner.prune(&mut layer, None)?;        // train on from here, in your own loop
//! assert_eq!(report.kept(), 784);
//! assert_eq!(masks(&layer).get("weight").unwrap().kept(), 784);
//!
//! let mut dense = layer.clone();
//! undo(&mut dense)?;                             // the dense weights, bit for bit
//! finish(&mut layer)?;                           // or a plain module with zeros
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! # Features
//!
//! | feature | default | what it adds |
//! |---|---|---|
//! | `flex` | yes | weights on Burn's CPU backend are read in place instead of copied |
//! | `trace` | yes | `trace` and `shrink`: record a forward pass, count costs, remove channels and heads |
//! | `sparse` | yes | `sparse`, sparse layers in [`nn`], compact files in [`store`] |
//! | `rayon` | yes | products with sparse weights on all threads |
//! | `train` | no | `learner`: pruning inside Burn's `Learner` |
//! | `ndarray` | no | sparse layers in the memory of Burn's NdArray backend |
//! | `cube` | no | sparse layers as GPU kernels; needs one of Burn's features for a device, such as `wgpu` |
//! | `fusion` | no | the same where Burn fuses operations, as its default features do |
//! | `conformance` | no | the test kit for authors of criteria |

#![deny(unsafe_code)]

mod amounts;
pub mod analyze;
#[cfg(feature = "trace")]
pub mod calibrate;
#[cfg(feature = "conformance")]
pub mod conformance;
#[cfg(feature = "trace")]
mod device;
mod error;
mod fingerprint;
mod host;
mod layer_types;
mod layers;
#[cfg(feature = "train")]
pub mod learner;
pub mod mask;
pub mod nn;
mod optimizer_state;
pub mod prelude;
pub mod pruner;
pub mod reconstruct;
mod reports;
pub mod rounds;
pub mod score;
pub mod session;
#[cfg(feature = "trace")]
pub mod shrink;
mod snapshot;
#[cfg(feature = "sparse")]
pub mod sparse;
pub mod store;
mod targets;
#[cfg(feature = "trace")]
pub mod trace;
mod walk;

pub use error::PruneError;
pub use pruner::{Pruner, PrunerBuilder};
#[doc(hidden)]
pub use pruning_core;
pub use pruning_core::{
    budget, plugin, register_allocator, register_curve, register_reconstruction, report, schedule, shown,
};
pub use session::Session;

/// Recipes: what is pruned, how much, when, and from which weights training goes on.
pub mod recipe {
    use crate::score::Criterion;
    pub use pruning_core::recipe::{
        Budget, Found, GrowDraft, Match, Override, OverrideDraft, Pattern, PatternIndex, Problem, RecipeDraft,
        RecipeError, ScheduleDraft, Targets,
    };

    /// A recipe whose criterion scores the layers of Burn.
    pub type Recipe = pruning_core::recipe::Recipe<dyn Criterion>;
}
