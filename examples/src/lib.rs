//! What the examples share: MNIST, the networks, training one, devices by name, and pictures.

pub mod device;
pub mod lenet;
pub mod mnist;
pub mod picture;
pub mod vgg;
