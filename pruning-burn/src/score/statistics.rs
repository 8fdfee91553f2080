//! Statistics of what layers see, for criteria and reconstructions: [`Statistics`].

use crate::fingerprint::Fingerprint;
use crate::score::{Need, NeedShape};
use pruning_core::score::MatrixLayout;
use std::fmt::Debug;

/// How the columns of what a layer sees meet the matrix of its weight.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, serde::Serialize, serde::Deserialize)]
pub(crate) enum Reads {
    /// Column `k` meets column `k` of the matrix.
    Columns,
    /// Each of so many groups of rows sees columns of its own, which follow those of the groups before.
    Groups(usize),
    /// Column `k` meets row `k` of the matrix: the parameter is stored the other way round.
    Rows,
}

/// An input of one parameter, from statistics.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Statistic {
    pub(crate) values: Vec<f64>,
    pub(crate) reads: Reads,
}

impl Statistic {
    /// Returns whether there are as many numbers as the matrix of a parameter asks for.
    pub(crate) fn fits(&self, need: Need, layout: &MatrixLayout) -> bool {
        let (rows, cols) = (layout.rows(), layout.cols());
        let (groups, seen) = match self.reads {
            Reads::Columns => (1, cols),
            Reads::Groups(groups) if groups > 0 && rows.is_multiple_of(groups) => (groups, cols),
            Reads::Groups(_) => return false,
            Reads::Rows => (1, rows),
        };
        let expected = match need.shape() {
            NeedShape::Column => groups * seen,
            NeedShape::Columns => groups * seen * seen,
            NeedShape::Output => rows,
            _ => layout.len(),
        };
        self.values.len() == expected
    }
}

/// Inputs of criteria that are computed when they are asked for, parameter by parameter.
pub(crate) trait Statistics: Debug + Send + Sync {
    /// Returns whether an input was collected.
    fn holds(&self, need: Need) -> bool;

    /// Returns an input of a parameter, or the reason why there is none.
    fn of(&self, need: Need, path: &str) -> Result<Statistic, String>;

    /// Returns the number of rows that the layer of a parameter saw.
    fn rows(&self, path: &str) -> Option<f64>;

    /// Returns what identifies the model that they were collected from.
    fn model(&self) -> &Fingerprint;
}
