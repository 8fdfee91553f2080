//! One HTML page of what a pruning did: layers, scores, groups, costs, rounds, files.
//!
//! A [`Page`] has a section for each thing that it is given: a report, scores, a plan, costs, curves of sensitivity, rounds, a comparison,
//! a compact file, the times of a sparse model. The page is one file below 1 MB that needs no network, is light or dark as the reader's
//! system is, and fits a phone; its tables sort, and long ones are searched. For a report alone, [`ToHtml`] is enough.
//!
//! ```
//! # use burn::{nn::LinearConfig, tensor::Device};
//! use pruning_burn::prelude::*;
//! use pruning_report::{Page, ToHtml};
//! # let folder = tempfile::tempdir()?;
//! # let file = folder.path().join("page.html");
//! let pruner = Pruner::from_toml("criterion = \"magnitude\"\nsparsity = 0.9", &pruning_plugins::all())?;
//! let mut model = LinearConfig::new(20, 10).init(&Device::flex());
//! let scores = pruner.scores(&model, None)?;
//! let report = pruner.prune(&mut model, None)?;
//!
//! assert!(report.html().contains("90.00 %"));
//! Page::new("One layer").with_report(&report).with_scores(&scores).save(&file)?;
//! # assert!(std::fs::read_to_string(&file)?.contains("One layer"));
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! # Contract
//!
//! Whatever is given, the page is complete HTML below 1,000,000 bytes. A table or a list that is too long is cut, and says so; the table of
//! layers gets the room that the other sections leave. Text of others is escaped, names are cut as errors cut them
//! ([`shown`](pruning_burn::shown)), and no text of others stands in a script. Numbers that are not finite are shown as such and left out of
//! plots. The same input makes the same bytes.

#![forbid(unsafe_code)]

mod error;
mod given;
mod page;
mod parts;
mod plot;
mod sections;
mod text;

pub use error::PageError;
pub use page::{Page, ToHtml};
