//! The command `burn-prune`.

use std::io::{stderr, stdout};
use std::process::ExitCode;

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    burn_prune::interrupt::listen();
    ExitCode::from(burn_prune::run(std::env::args_os(), &mut stdout(), &mut stderr()))
}
