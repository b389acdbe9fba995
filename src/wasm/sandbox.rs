//! One call in one fresh instance.

use std::sync::Arc;

use wasmtime::{
    Engine, Store,
    component::{Component, Linker},
};

use super::{
    bindings::v1,
    engine::deadline_ticks,
    limits::{Allowance, Limits},
    slots::Slots,
    trap::{ended, misfit, not_started},
};
use crate::error::Result;

/// What all transforms of a runtime share.
#[derive(Debug)]
pub(super) struct Host {
    pub(super) engine: Engine,
    pub(super) limits: Limits,
    pub(super) slots: Slots,
}

/// A component linked to nothing and checked once, so that a call only has to instantiate it.
pub(super) struct Sandbox {
    host: Arc<Host>,
    instances: v1::TransformPre<Allowance>,
}

impl Sandbox {
    /// Links the component, which imports nothing, and checks the types of its exports.
    pub(super) fn new(host: Arc<Host>, component: &Component) -> Result<Self> {
        let instances = Linker::new(&host.engine).instantiate_pre(component);
        let instances = instances
            .and_then(v1::TransformPre::new)
            .map_err(|error| misfit(&error))?;
        Ok(Self { host, instances })
    }

    pub(super) fn limits(&self) -> &Limits {
        &self.host.limits
    }

    /// Makes an instance, calls it and throws it away, under all limits; whatever the guest hands
    /// over has at most `output_bytes`.
    pub(super) fn call<R>(
        &self,
        output_bytes: u64,
        call: impl FnOnce(&v1::Transform, &mut Store<Allowance>) -> wasmtime::Result<R>,
    ) -> Result<R> {
        let limits = &self.host.limits;
        let _slot = self.host.slots.take();
        let mut store = Store::new(&self.host.engine, Allowance::new(limits));
        store.limiter(|allowance| allowance);
        store.set_epoch_deadline(deadline_ticks(limits));
        store.set_hostcall_fuel(usize::try_from(output_bytes).unwrap_or(usize::MAX));
        let instance = self.instances.instantiate(&mut store);
        let instance = instance.map_err(|error| not_started(&error, limits))?;
        call(&instance, &mut store).map_err(|error| ended(&error, limits, output_bytes))
    }
}
