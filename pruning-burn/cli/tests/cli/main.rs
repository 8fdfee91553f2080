//! The command on files of every container: what it writes, what it refuses, and what it leaves behind.

mod commands;
mod containers;
mod hostile;
mod masks;
mod numbers;
mod outputs;
mod process;
mod refused;
mod support;
