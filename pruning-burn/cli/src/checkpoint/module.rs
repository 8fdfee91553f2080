//! A checkpoint as a Burn module: its float tensors are parameters, in Burn's layout, which are read when a visitor looks at them.
//!
//! What a mapper changed is held in memory from then on; everything else is read anew by each visitor. A visitor cannot fail, so a tensor
//! that cannot be read comes as NaN, which nothing ranks, and the error is kept for [`Checkpoint::sound`].

use crate::checkpoint::held::{Held, Make};
use crate::checkpoint::{Checkpoint, CommandError, Inner, turn};
use burn::module::{Devices, Module, ModuleMapper, ModuleVisitor, Param};
use burn::tensor::{DType, Device, Shape, Tensor, TensorData, bf16, f16};
use std::sync::{Arc, PoisonError};

/// A tensor of a checkpoint that is still in its file.
struct Unread<'a> {
    checkpoint: &'a Checkpoint,
    index: usize,
}

impl Make for Unread<'_> {
    fn lazy<const D: usize>(&self) -> Param<Tensor<D>> {
        let (tensor, index) = (&self.checkpoint.inner.tensors[self.index], self.index);
        let shape: Shape = tensor.burn_shape().into();
        let reader = Checkpoint { held: Default::default(), ..self.checkpoint.clone() };
        // Doubles are ranked as such: in single precision different ones tie, underflow or overflow.
        let double = tensor.element.name() == "F64";
        let init = move |device: &Device, _: bool| match double {
            true => Tensor::<D>::from_data(reader.data(index), (device, DType::F64)),
            false => Tensor::<D>::from_data(reader.data(index), device),
        };
        Param::uninitialized(tensor.id, init, self.checkpoint.device.clone(), false, shape)
    }
}

impl Checkpoint {
    /// Returns the parameter of a tensor; nothing for a tensor that is none.
    fn parameter(&self, index: usize) -> Option<Held> {
        if let Some(held) = self.held.get(&index) {
            return Some(held.clone());
        }
        let tensor = &self.inner.tensors[index];
        tensor.is_parameter().then(|| Held::lazy(tensor.shape.len().max(1), &Unread { checkpoint: self, index }))?
    }

    /// The values of a tensor in Burn's layout.
    fn data(&self, index: usize) -> TensorData {
        let tensor = &self.inner.tensors[index];
        let shape = tensor.burn_shape();
        let bytes = match self.read(index) {
            Ok(bytes) if tensor.turned => turn::turned(bytes, tensor.shape[0], tensor.shape[1]),
            Ok(bytes) => bytes,
            Err(error) => {
                let mut failed = self.inner.failed.lock().unwrap_or_else(PoisonError::into_inner);
                failed.get_or_insert(error);
                return TensorData::new(vec![f32::NAN; tensor.elements()], shape);
            }
        };
        fn all<const N: usize, F>(bytes: &[u8], read: impl Fn([u8; N]) -> F) -> Vec<F> {
            bytes.as_chunks::<N>().0.iter().map(|bytes| read(*bytes)).collect()
        }
        match tensor.element.name() {
            "F64" => TensorData::new(all(&bytes, f64::from_le_bytes), shape),
            "F16" => TensorData::new(all(&bytes, f16::from_le_bytes), shape),
            "BF16" => TensorData::new(all(&bytes, bf16::from_le_bytes), shape),
            _ => TensorData::new(all(&bytes, f32::from_le_bytes), shape),
        }
    }

    /// Returns the bytes of a tensor that a mapper changed, in the layout of the file; nothing for one that is as it was.
    pub(crate) fn changed(&self, index: usize) -> Option<Result<Vec<u8>, CommandError>> {
        let tensor = &self.inner.tensors[index];
        let data = self.held.get(&index)?.values().into_data();
        let failed = |error: String| CommandError::tensor(self.file(), &tensor.name, error);
        fn bytes<E: burn::tensor::Element, const N: usize>(
            data: TensorData,
            write: impl Fn(E) -> [u8; N],
        ) -> Result<Vec<u8>, String> {
            let data = data.convert::<E>();
            let all = data.as_slice::<E>().map_err(|error| format!("{error:?}"))?;
            Ok(all.iter().flat_map(|value| write(*value)).collect())
        }
        let bytes = match tensor.element.name() {
            "F64" => bytes(data, f64::to_le_bytes),
            "F16" => bytes(data, f16::to_le_bytes),
            "BF16" => bytes(data, bf16::to_le_bytes),
            _ => bytes(data, f32::to_le_bytes),
        };
        let turned = |bytes| if tensor.turned { turn::turned(bytes, tensor.shape[1], tensor.shape[0]) } else { bytes };
        Some(bytes.map(turned).map_err(failed))
    }

    fn each_held(mut self, change: impl Fn(Held) -> Held) -> Self {
        self.held = self.held.into_iter().map(|(index, held)| (index, change(held))).collect();
        self
    }

    fn inner(&self) -> Arc<Inner> {
        Arc::clone(&self.inner)
    }
}

/// The names of a path, the last of which lies in the layer.
fn containers<'a>(name: &'a str, layer: &'a str) -> impl DoubleEndedIterator<Item = (&'a str, &'a str)> {
    let last = name.split('.').count() - 1;
    let parts: Vec<_> = name
        .split('.')
        .enumerate()
        .map(|(i, part)| (part, if i == last { layer } else { "Struct:Checkpoint" }))
        .collect();
    parts.into_iter()
}

impl Module for Checkpoint {
    fn collect_devices(&self, mut devices: Devices) -> Devices {
        if !devices.contains(&self.device) {
            devices.push(self.device.clone());
        }
        devices
    }

    fn fork(self, device: &Device) -> Self {
        self.to_device(device)
    }

    fn to_device(mut self, device: &Device) -> Self {
        self.device = device.clone();
        self.each_held(|held| held.on_device(device))
    }

    fn train(self) -> Self {
        self
    }

    fn valid(&self) -> Self {
        self.clone()
    }

    fn materialize(self) -> Self {
        self.each_held(Held::materialize)
    }

    fn visit<V: ModuleVisitor>(&self, visitor: &mut V) {
        for (index, tensor) in self.inner.tensors.iter().enumerate() {
            let Some(parameter) = self.parameter(index) else { continue };
            let layer = format!("Struct:{}", tensor.kind);
            containers(&tensor.name, &layer).for_each(|(name, container)| visitor.enter_module(name, container));
            parameter.visit(visitor);
            containers(&tensor.name, &layer).rev().for_each(|(name, container)| visitor.exit_module(name, container));
        }
    }

    fn map<M: ModuleMapper>(mut self, mapper: &mut M) -> Self {
        let inner = self.inner();
        for (index, tensor) in inner.tensors.iter().enumerate() {
            let Some(parameter) = self.parameter(index) else { continue };
            let layer = format!("Struct:{}", tensor.kind);
            containers(&tensor.name, &layer).for_each(|(name, container)| mapper.enter_module(name, container));
            self.held.insert(index, parameter.map(mapper));
            containers(&tensor.name, &layer).rev().for_each(|(name, container)| mapper.exit_module(name, container));
        }
        self
    }
}
