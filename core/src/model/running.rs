//! Running statistics.

use std::sync::{Mutex, PoisonError};

use burn::module::{
    Content, Module, ModuleDisplay, ModuleDisplayDefault, ModuleMapper, ModuleVisitor, Param,
    ParamId,
};
use burn::tensor::{Device, Tensor};

/// Values of a layer that move in a forward pass without being learnt, `[channels]`. burn's own
/// state for them averages over threads at every move, which costs a launch each.
#[derive(Debug)]
pub(super) struct Running {
    id: ParamId,
    value: Mutex<Tensor<1>>,
}

impl Running {
    /// From a tensor without autodiff.
    pub fn new(value: Tensor<1>) -> Self {
        Self::with_id(ParamId::new(), value)
    }

    fn with_id(id: ParamId, value: Tensor<1>) -> Self {
        Self { id, value: Mutex::new(value) }
    }

    pub fn value(&self) -> Tensor<1> {
        self.value.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    pub fn set(&self, value: Tensor<1>) {
        *self.value.lock().unwrap_or_else(PoisonError::into_inner) = value;
    }

    fn into_value(self) -> Tensor<1> {
        self.value.into_inner().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Clone for Running {
    fn clone(&self) -> Self {
        Self::with_id(self.id, self.value())
    }
}

impl ModuleDisplayDefault for Running {
    fn content(&self, content: Content) -> Option<Content> {
        content.add_formatted(&"Running").optional()
    }
}

impl ModuleDisplay for Running {}

impl Module for Running {
    fn visit<V: ModuleVisitor>(&self, visitor: &mut V) {
        visitor.visit_float(&Param::initialized(self.id, self.value()));
    }

    fn map<M: ModuleMapper>(self, mapper: &mut M) -> Self {
        let id = self.id;
        let mapped = mapper.map_float(Param::initialized(id, self.into_value()));
        // Not an optimiser's to move, whatever the mapper makes of it.
        Self::with_id(id, mapped.into_value().set_require_grad(false))
    }

    fn to_device(self, device: &Device) -> Self {
        let id = self.id;
        Self::with_id(id, self.into_value().to_device(device))
    }

    fn fork(self, device: &Device) -> Self {
        self.to_device(device)
    }

    fn collect_devices(&self, mut devices: Vec<Device>) -> Vec<Device> {
        let device = self.value().device();
        if !devices.contains(&device) {
            devices.push(device);
        }
        devices
    }

    fn materialize(self) -> Self {
        self
    }

    fn valid(&self) -> Self {
        Self::with_id(self.id, self.value().without_autodiff())
    }

    fn train(self) -> Self {
        let id = self.id;
        Self::with_id(id, Tensor::from_inner(self.into_value()))
    }
}
