//! Products with sparse weights: [`Plan`].

pub(crate) mod dot;
pub(crate) mod level;
pub(crate) mod output;
pub(crate) mod panels;
pub(crate) mod plan;
pub(crate) mod transpose;
pub(crate) mod workspace;

#[doc(hidden)]
pub use level::Level;
pub use output::Activation;
pub use plan::Plan;
pub use workspace::{Workspace, WorkspacePool};
