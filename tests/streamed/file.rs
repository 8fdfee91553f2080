//! A module whose parameters are made anew by each visit, as those of a file are: [`File`].

use burn::module::{Devices, Module, ModuleMapper, ModuleVisitor, Param, ParamId};
use burn::tensor::{DType, Device, Shape, Tensor, TensorData};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

/// A parameter of a file.
#[derive(Debug)]
pub(crate) struct Stored {
    pub(crate) name: &'static str,
    pub(crate) kind: &'static str,
    pub(crate) data: TensorData,
    pub(crate) reads: AtomicUsize,
    /// The number of the read that fails.
    pub(crate) fails: Option<usize>,
    id: ParamId,
}

impl Stored {
    /// A parameter of these values, rounded to a type.
    pub(crate) fn new(name: &'static str, shape: &[usize], values: Vec<f32>, dtype: DType) -> Self {
        let kind = if shape.len() == 4 { "Struct:Conv2d" } else { "Struct:Linear" };
        let data = TensorData::new(values, shape.to_vec()).convert_dtype(dtype);
        Self { name, kind, data, reads: AtomicUsize::new(0), fails: None, id: ParamId::new() }
    }
}

/// Parameters, each `weight` of a layer.
#[derive(Clone, Debug)]
pub(crate) struct File {
    pub(crate) all: Arc<Vec<Stored>>,
    device: Device,
}

impl File {
    pub(crate) fn new(all: Vec<Stored>) -> Self {
        Self { all: Arc::new(all), device: Device::flex() }
    }

    /// The most reads of a parameter since the last call.
    pub(crate) fn reads(&self) -> usize {
        self.all.iter().map(|stored| stored.reads.swap(0, Ordering::Relaxed)).max().unwrap_or(0)
    }

    fn param<const D: usize>(&self, place: usize) -> Param<Tensor<D>> {
        let stored = &self.all[place];
        let all = self.all.clone();
        let read = move |device: &Device, _: bool| {
            let stored = &all[place];
            let read = stored.reads.fetch_add(1, Ordering::Relaxed) + 1;
            assert!(stored.fails != Some(read), "read {read} fails");
            Tensor::from_data(stored.data.clone(), (device, stored.data.dtype()))
        };
        let shape = Shape::from(stored.data.shape().to_vec());
        Param::uninitialized(stored.id, read, self.device.clone(), false, shape)
    }
}

impl Module for File {
    fn collect_devices(&self, devices: Devices) -> Devices {
        devices
    }

    fn fork(self, _: &Device) -> Self {
        self
    }

    fn to_device(self, _: &Device) -> Self {
        self
    }

    fn train(self) -> Self {
        self
    }

    fn valid(&self) -> Self {
        self.clone()
    }

    fn materialize(self) -> Self {
        self
    }

    fn visit<V: ModuleVisitor>(&self, visitor: &mut V) {
        for (place, stored) in self.all.iter().enumerate() {
            visitor.enter_module(stored.name, stored.kind);
            visitor.enter_module("weight", "Param");
            match stored.data.shape().len() {
                4 => visitor.visit_float(&self.param::<4>(place)),
                2 => visitor.visit_float(&self.param::<2>(place)),
                rank => panic!("a weight of rank {rank}"),
            }
            visitor.exit_module("weight", "Param");
            visitor.exit_module(stored.name, stored.kind);
        }
    }

    /// Masks cannot be put on a file.
    fn map<M: ModuleMapper>(self, _: &mut M) -> Self {
        self
    }
}
