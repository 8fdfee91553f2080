//! Models that run with sparse weights, and compact files.

mod compact;
mod model;
