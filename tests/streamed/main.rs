//! Models larger than memory: scores that are read again give what scores in memory give, in few reads.

mod file;
mod models;
mod scores;
