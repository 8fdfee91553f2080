//! What the examples share: MNIST, the network, training it, devices by name, and pictures.

pub mod device;
pub mod lenet;
pub mod mnist;
pub mod picture;
