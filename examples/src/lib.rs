//! What the examples share: MNIST, the networks, training one, devices by name, pictures, and published experiments.

pub mod device;
pub mod lenet;
pub mod mnist;
pub mod picture;
pub mod reproduce;
pub mod resnet;
pub mod sensitivity_picture;
pub mod training;
pub mod vgg;
