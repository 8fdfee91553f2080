//! What the tests share: devices by name, models, and the values of a model as plain numbers.

#![forbid(unsafe_code)]

pub mod devices;
pub mod foreign;
pub mod models;
pub mod shrinking;
pub mod values;

/// The Rust blocks of the README and of the pages under `docs`, as documentation tests.
#[cfg(doctest)]
mod pages {
    include!(concat!(env!("OUT_DIR"), "/pages.rs"));
}
