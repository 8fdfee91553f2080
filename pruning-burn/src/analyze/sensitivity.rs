//! How sensitive each layer is to pruning: a [`Scan`] prunes one layer at a time and evaluates the model.
//!
//! The method is that of Han et al. 2015, arXiv:1506.02626, section 3, and Li et al. 2016, arXiv:1608.08710, section 3.2. A [`Scan`] prunes
//! one layer of a copy by a pruner's criterion and granularity, lets your closure evaluate the copy, and goes on to the next sparsity and
//! the next layer. The result is a [`Sensitivity`], which prints as a table, is saved with serde, and makes a [`Suggestion`]: a sparsity
//! for each layer, as overrides of a recipe. Evaluate the mean loss of many examples, since an error rate is coarse. If the measurements
//! are too noisy to tell layers apart, the suggestion says so and leaves the sparsities to the recipe.
//!
//! ```
//! # use burn::{nn::{Linear, LinearConfig}, tensor::{Device, Tensor}};
//! # use {pruning_allocation as _, pruning_magnitude as _};
//! use pruning_burn::plugin::Plugins;
//! use pruning_burn::Pruner;
//! use pruning_burn::analyze::sensitivity::Scan;
//! let pruner = Pruner::from_toml("sparsity = 0.5\ncriterion = \"magnitude\"", &Plugins::linked())?;
//! # let device = Device::flex();
//! # let mut model = LinearConfig::new(20, 10).init(&device);
//! # let x = Tensor::<2>::ones([4, 20], &device);
//! # let y = model.forward(x.clone());
//! // A loss or an error, on images that were not trained on: lower is better.
//! let loss = |model: &Linear| (model.forward(x.clone()) - y.clone()).square().mean().into_scalar::<f64>();
//! let found = Scan::new(&pruner).with_sparsities([0.2, 0.4, 0.6, 0.8]).run(&model, loss)?;
//! println!("{found}");
//! let suggested = found.suggest_for(0.5)?;              // or `suggest(0.01)`: as much as a loss of 0.01 allows
//! println!("{}", suggested.to_toml());
//! assert_eq!(suggested.apply(&pruner).prune(&mut model, None)?.kept(), 100);
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! # Contract
//!
//! A scan prunes one layer of a copy at one sparsity and lets a closure evaluate it; each copy has running statistics of its own, so
//! neither order nor threads matter. The result is plain data with a fingerprint of the parameters (FNV-1a over their bytes) and the part
//! of the recipe that ranks units; [`Scan::resume`] refuses a result of another model or recipe. [`Sensitivity::suggest`] bounds the loss of
//! each layer and reads a curve as its highest value so far. [`Sensitivity::suggest_for`] minimizes the sum of all curves under a total of
//! weights (or of any other cost). For that a curve becomes the nearest one that rises (isotonic regression), with a parabola between
//! measurements, since the loss grows with the square of what is removed. Pieces of the convex hulls of all curves are taken by rising loss
//! for each unit of cost, pieces of one price evenly. Along hulls that is the exact minimum, and a higher total never gives a weight back.
//! Fewer weights cannot be better, so the falls of a curve up to its sparsity are noise. If the gain over uniform sparsities is below that
//! noise, the suggestion is [`Basis::Recipe`]: it has no layers, and the recipe's own allocator decides.

mod curve;
mod error;
mod scan;
mod suggest;

pub use error::SensitivityError;
pub use scan::{Progress, Scan};
pub use suggest::{Basis, SuggestError, SuggestedLayer, Suggestion};

use comfy_table::{CellAlignment, Table, presets};
use pruning_core::budget::Sparsity;
use pruning_core::score::Granularity;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use std::fmt;

/// The result of a scan, complete or partial, with layers in the order of the model.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Sensitivity {
    /// Evaluation of the model before the scan prunes it.
    pub dense: f64,
    /// Measurements of every layer that the recipe prunes.
    pub layers: Vec<LayerSensitivity>,
    /// Fingerprint of the model's parameters, which tells the results of different models apart.
    pub model: String,
    /// The part of the recipe that decides which units are removed: all but budget, allocator and schedule.
    pub recipe: Value,
}

/// The measurements of one layer, pruned alone.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct LayerSensitivity {
    /// Path of the parameter.
    pub path: String,
    /// Number of units, each of which is removed as a whole.
    pub units: usize,
    /// Number of elements.
    pub weights: usize,
    /// Granularity of the layer, if an override of the recipe sets another one than the recipe.
    pub granularity: Option<Granularity>,
    /// Measurements, by rising sparsity.
    pub points: Vec<SensitivityPoint>,
}

/// One measurement of a layer at one sparsity.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct SensitivityPoint {
    /// Fraction of the layer's units that was asked to be removed.
    pub sparsity: Sparsity,
    /// Evaluation of the model without these units.
    pub value: f64,
}

impl LayerSensitivity {
    /// Returns the measurement at a sparsity, if there is one.
    #[must_use]
    pub fn at(&self, sparsity: Sparsity) -> Option<f64> {
        // 0.1 + 0.2 is not 0.3.
        let same = |point: &&SensitivityPoint| (point.sparsity.value() - sparsity.value()).abs() < 1e-9;
        self.points.iter().find(same).map(|point| point.value)
    }
}

impl Sensitivity {
    /// Returns every sparsity that was measured in at least one layer, in rising order.
    #[must_use]
    pub fn sparsities(&self) -> Vec<Sparsity> {
        let mut all: Vec<_> = self.layers.iter().flat_map(|l| &l.points).map(|p| p.sparsity).collect();
        all.sort_by(|a, b| a.value().total_cmp(&b.value()));
        all.dedup_by(|a, b| (a.value() - b.value()).abs() < 1e-9);
        all
    }
}

impl fmt::Display for Sensitivity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let sparsities = self.sparsities();
        let mut table = Table::new();
        table.load_style(presets::UTF8_HORIZONTAL_ONLY);
        let percent = |s: &Sparsity| format!("{} %", (1e4 * s.value()).round() / 100.0);
        let head = ["layer".to_string(), "units".to_string()];
        table.set_header(head.into_iter().chain(sparsities.iter().map(percent)));
        for layer in &self.layers {
            let value = |s: &Sparsity| layer.at(*s).map_or_else(|| "-".to_string(), short);
            let row = [layer.path.clone(), layer.units.to_string()];
            table.add_row(row.into_iter().chain(sparsities.iter().map(value)));
        }
        for column in 1..sparsities.len() + 2 {
            if let Some(column) = table.column_mut(column) {
                column.set_cell_alignment(CellAlignment::Right);
            }
        }
        write!(f, "{table}\ndense {}; each layer pruned alone", short(self.dense))
    }
}

/// Four digits that count.
fn short(value: f64) -> String {
    let before = value.abs().max(1e-3).log10().floor();
    format!("{value:.*}", (3.0 - before).clamp(0.0, 6.0) as usize)
}
