//! What the tests share: devices by name, models, and the values of a model as plain numbers.

pub mod devices;
pub mod models;
pub mod shrinking;
pub mod values;
