//! The command `burn-prune`.

fn main() {}
