//! What the examples share: MNIST, the networks, training them, devices by name, and pictures.

pub mod device;
pub mod lenet;
pub mod mnist;
pub mod picture;
pub mod resnet;
pub mod sensitivity_picture;
pub mod training;
pub mod vgg;
