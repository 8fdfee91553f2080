//! Published experiments with pruning, small enough for two cores; the example `reproduce` runs them.
//!
//! Every experiment is a file with one function that trains what it needs and logs a row for each variant. Rows that a file
//! holds already are not run again, and each row is the same whether or not others were run before it.

#![forbid(unsafe_code)]

mod allocation;
mod chart;
mod criteria;
mod dynamic;
mod han;
mod log;
mod lottery;
mod oneshot;
mod quick;
mod regularization;
mod rewinding;
mod runner;
mod snip;
mod structured;
mod table;

pub use chart::draw;
pub use log::{Log, LogError, Row};
pub use quick::check;
pub use runner::{Run, Runner};
pub use table::{fill, grid, table};

use pruning_examples::Failed;

/// One published experiment.
#[derive(Clone, Copy, Debug)]
pub struct Experiment {
    /// Its name on the command line and in the rows.
    pub name: &'static str,
    /// What it is about, with its source.
    pub about: &'static str,
    /// Runs it for one seed.
    pub run: fn(&Run<'_>) -> Result<(), Failed>,
}

/// All of them, in the order in which they run.
pub const EXPERIMENTS: &[Experiment] = &[
    Experiment { name: "han", about: "12 times fewer weights without loss (Han et al. 2015)", run: han::lenet300 },
    Experiment { name: "han-lenet5", about: "the same for LeNet-5, which has convolutions", run: han::lenet5 },
    Experiment { name: "oneshot", about: "one-shot against iterative (Han et al. 2015)", run: oneshot::run },
    Experiment {
        name: "regularization",
        about: "L1 and L2 penalties in training (Han et al. 2015)",
        run: regularization::run,
    },
    Experiment { name: "criteria", about: "L1, L2 and random, of weights and of channels", run: criteria::run },
    Experiment { name: "allocation", about: "global, uniform, ERK and LAMP (Lee et al. 2021)", run: allocation::run },
    Experiment { name: "snip", about: "pruning before training (Lee et al. 2019)", run: snip::run },
    Experiment { name: "lottery", about: "winning tickets (Frankle & Carbin 2019)", run: lottery::run },
    Experiment { name: "rewinding", about: "fine-tuning and rewinding (Renda et al. 2020)", run: rewinding::run },
    Experiment { name: "structured", about: "half the channels of a small CNN, removed", run: structured::run },
    Experiment {
        name: "dynamic",
        about: "sparse from the start: static, SET and RigL (Evci et al. 2020)",
        run: dynamic::run,
    },
];
