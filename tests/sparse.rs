//! Models that run with sparse weights, and compact files.

#[path = "sparse/compact.rs"]
mod compact;
#[path = "sparse/model.rs"]
mod model;
