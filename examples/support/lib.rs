//! What the examples share: MNIST, the networks, training one, devices by name, pictures, and what is printed.

#![forbid(unsafe_code)]

pub mod bert;
pub mod device;
pub mod digits;
pub mod gpt;
pub mod lenet;
pub mod lenet5;
pub mod made_up;
pub mod mnist;
pub mod output;
pub mod picture;
pub mod regimes_picture;
pub mod resnet;
pub mod sensitivity_picture;
pub mod sts;
pub mod text;
pub mod training;
pub mod variants;
pub mod vgg;

use std::error::Error;
use std::process::ExitCode;

/// Why a program stopped.
pub type Failed = Box<dyn Error + Send + Sync>;

/// What a program ends with: an error goes to standard error, with what it came from.
#[must_use]
pub fn exit(result: Result<(), Failed>) -> ExitCode {
    let Err(error) = result else { return ExitCode::SUCCESS };
    eprintln!("error: {error}");
    let mut cause = error.source();
    while let Some(error) = cause {
        eprintln!("  because: {error}");
        cause = error.source();
    }
    ExitCode::FAILURE
}
