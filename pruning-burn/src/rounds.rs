//! Rounds of training and pruning, as in the search for lottery tickets: [`IterativePruning`].
//!
//! It covers the search for lottery tickets (Frankle & Carbin 2019, arXiv:1803.03635, section 2) and iterative pruning of any kind (Han et
//! al. 2015, arXiv:1506.02626; Renda et al. 2020, arXiv:2003.02389). [`IterativePruning`] lets your closure train the model, prunes it,
//! restores its weights as the recipe says, and goes on with the next round. A round is one pruning of the recipe's schedule (or one
//! update of its growing) with the training after it; round 0 is the training before the first pruning. The steps of the schedule
//! between two prunings do not count here: your closure decides how long it trains.
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
//!     let mut optimizer = AdamConfig::new().init();            // a new one, since the weights were restored
//! #   for _ in 0..2 {
//!     // for each batch
//!     let loss = model.forward(x.clone()).square().mean();
//!     let gradients = GradientsParams::from_grads(loss.backward(), &model);
//!     model = optimizer.step(1e-3, model, gradients);
//! #   }
//!     Ok(model)
//! };
//! let evaluate = |model: &Linear| model.forward(x.clone()).square().mean().into_scalar::<f64>();
//! // If the program is killed and started again, this goes on after the last round in the folder.
//! let history = IterativePruning::new(&pruner).with_folder(folder).run(&mut model, train, evaluate)?;
//! println!("{history}");
//! assert_eq!(history.rounds.iter().map(|round| round.pruning.kept()).collect::<Vec<_>>(), [200, 160, 128, 102]);
//!
//! // The ticket of round 2: its masks on the first weights. And two controls, which are trained in the same way.
//! let mut ticket = new();
//! load(ticket_file(folder, 2))?.into_model(&mut ticket)?;
//! let (mut random, mut redrawn) = (ticket.clone(), ticket);
//! assert_eq!(redraw_masks(&mut random, 7)?.kept(), 128);        // as many weights of each layer, at random
//! assert_eq!(reinitialize(&mut redrawn, &new())?.kept(), 128);  // its masks on new weights
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! # Contract
//!
//! Only the first training tells at which step it is ([`Round::reached`]), for a recipe that rewinds to a step. In a folder, `rounds.json`
//! lists what is finished. Any other file is written before `rounds.json` and counts once it is listed there: the ticket before the
//! training, the trained model before the evaluation, so an evaluation that fails costs no training. The session has no file, since its
//! step follows from the number of rounds and its snapshot is `rewind.bpk`. A folder with another recipe, other parameters (paths and
//! shapes) or another format is refused. The weights of the first call count; a later call only provides a module to load into.

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

/// The results of all finished rounds, which print as a table.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct History {
    /// The recipe, with every default filled in.
    pub recipe: Value,
    /// The finished rounds, starting with round 0.
    pub rounds: Vec<RoundReport>,
}

/// The result of one round.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct RoundReport {
    /// Number of the round; 0 is the training before the first pruning.
    pub number: usize,
    /// Report of the pruning: what each layer has left, and what was asked.
    pub pruning: Report,
    /// Result of the evaluation after the training.
    pub evaluation: f64,
    /// Duration of the training, in seconds.
    pub seconds: f64,
}

impl RoundReport {
    /// Returns the sparsity of all pruned layers together.
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
