//! Rounds of training, pruning and setting the weights back: the search for lottery tickets (Frankle & Carbin 2019,
//! arXiv:1803.03635, section 2), and iterative pruning of any kind (Han et al. 2015, arXiv:1506.02626; Renda et al. 2020,
//! arXiv:2003.02389).
//!
//! [`IterativePruning`] trains the model in your closure, prunes it, sets its weights back as the recipe says, and goes on with the next round.
//! A round is a pruning of the recipe's schedule (or an update of its growing); round 0 is the training before the first one.
//! The steps that the schedule has in between are your training's, and nothing counts them.
//!
//! ```
//! # use burn::{module::Module, nn::{Linear, LinearConfig}, optim::{AdamConfig, GradientsParams}, tensor::{Device, Tensor}};
//! # use {pruning_allocation as _, pruning_magnitude as _};
//! use pruning_burn::rounds::{IterativePruning, Round, redraw_masks, reinitialize, ticket_file};
//! use pruning_burn::plugin::Plugins;
//! use pruning_burn::Pruner;
//! use pruning_burn::store::load;
//! let recipe = r#"
//!     criterion = "magnitude"
//!     initialization = "rewind"
//!     schedule = { kind = "iterative", rounds = 3, fraction = 0.2 }
//! "#;
//! let pruner = Pruner::from_toml(recipe, &Plugins::linked())?;
//! # let device = Device::flex().autodiff();
//! # let new = || LinearConfig::new(20, 10).init(&device);
//! # let mut model = new();
//! # let x = Tensor::<2>::ones([4, 20], &device);
//! # let folder = tempfile::tempdir()?;
//! # let folder = folder.path();
//! let train = |mut model: Linear, _: &mut Round| -> Result<Linear, std::convert::Infallible> {
//!     let mut optimizer = AdamConfig::new().init();            // a new one, since the weights were set back
//! #   for _ in 0..2 {
//!     // for each batch
//!     let loss = model.forward(x.clone()).square().mean();
//!     let gradients = GradientsParams::from_grads(loss.backward(), &model);
//!     model = optimizer.step(1e-3, model, gradients);
//! #   }
//!     Ok(model)
//! };
//! let evaluate = |model: &Linear| model.forward(x.clone()).square().mean().into_scalar::<f64>();
//! // Called again after it was killed, it goes on from the last round that is in the folder.
//! let history = IterativePruning::new(&pruner).with_folder(folder).run(&mut model, train, evaluate)?;
//! println!("{history}");
//! assert_eq!(history.rounds.len(), 4);
//!
//! // What round 2 began with: its masks on the first weights. And two controls, to train in the same way.
//! let mut ticket = new();
//! load(ticket_file(folder, 2))?.into_model(&mut ticket)?;
//! let (mut random, mut redrawn) = (ticket.clone(), ticket);
//! redraw_masks(&mut random, 7)?;                                // as many weights of each layer, at random
//! reinitialize(&mut redrawn, &new())?;                          // its masks on new weights
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! # Contract
//!
//! A round is one pruning (or update of growing) of the schedule, round 0 the training before it; steps in between are the training's, and
//! only the first training says where it is ([`Round::reached`]), for a recipe that rewinds to a step. In a folder, `rounds.json` says
//! what is finished; any other file counts from the moment it does, and is written before: the ticket before the training, the trained
//! model before the evaluation, which is why an evaluation that fails costs no training. The session is no file, since its step follows
//! from the number of rounds and its snapshot is `rewind.bpk`. A folder is refused whose recipe, parameters (paths and shapes) or format
//! differ. Weights of the first call count: a later one only brings a module to load into.

mod error;
mod folder;
mod iterate;
mod round;
mod ticket;

pub use error::RoundsError;
pub use folder::{model_file, ticket_file};
pub use iterate::IterativePruning;
pub use round::Round;
pub use ticket::{redraw_masks, reinitialize};

use comfy_table::{CellAlignment, Table, presets};
use pruning_core::report::Report;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use std::fmt;

/// What the rounds came to.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct History {
    /// The recipe, with every default filled in.
    pub recipe: Value,
    /// The rounds that are finished, from round 0.
    pub rounds: Vec<RoundReport>,
}

/// What one round came to.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct RoundReport {
    /// Its number; 0 is the training before the first pruning.
    pub number: usize,
    /// What each layer has left, and what the pruning was asked for.
    pub pruning: Report,
    /// What the evaluation gave after the training.
    pub evaluation: f64,
    /// What the training took.
    pub seconds: f64,
}

impl RoundReport {
    /// Sparsity of the pruned layers together.
    #[must_use]
    pub fn sparsity(&self) -> f64 {
        self.pruning.sparsity()
    }
}

impl fmt::Display for History {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut table = Table::new();
        table.load_style(presets::UTF8_HORIZONTAL_ONLY);
        table.set_header(["round", "kept", "kept %", "compression", "evaluation", "seconds"]);
        for round in &self.rounds {
            table.add_row([
                round.number.to_string(),
                round.pruning.kept().to_string(),
                format!("{:.2}", 100.0 * (1.0 - round.sparsity())),
                format!("{:.2}x", round.pruning.compression()),
                format!("{:.6}", round.evaluation),
                format!("{:.1}", round.seconds),
            ]);
        }
        for column in 0..6 {
            if let Some(column) = table.column_mut(column) {
                column.set_cell_alignment(CellAlignment::Right);
            }
        }
        write!(f, "{table}")
    }
}
