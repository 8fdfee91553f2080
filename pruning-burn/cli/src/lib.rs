//! What the command `burn-prune` does, as functions.
