//! One call in one fresh instance.

use std::sync::Arc;

use wasmtime::{
    Engine, Store,
    component::{Component, Linker},
};

use super::{
    bindings::v1,
    engine::{Counting, deadline_ticks},
    limits::{Allowance, Limits},
    slots::Slots,
    trap::{ended, misfit, not_started},
};
use crate::error::{Error, Result};

/// What all transforms of a runtime share.
#[derive(Debug)]
pub(super) struct Host {
    pub(super) engine: Engine,
    pub(super) limits: Limits,
    pub(super) slots: Slots,
    pub(super) counting: Counting,
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
        let instances =
            instances.and_then(v1::TransformPre::new).map_err(|error| misfit(&error))?;
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
    ) -> Result<Called<R>> {
        let limits = &self.host.limits;
        let _slot = self.host.slots.take();
        let mut store = self.store(output_bytes)?;
        let instance = self.instances.instantiate(&mut store);
        let instance = instance.map_err(|error| not_started(&error, limits))?;
        let answer = call(&instance, &mut store);
        let answer = answer.map_err(|error| ended(&error, limits, output_bytes))?;
        let left = match self.host.counting {
            Counting::Off => None,
            Counting::On => Some(store.get_fuel().map_err(|error| uncounted(&error))?),
        };
        let instructions = left.map(|left| u64::MAX - left);
        Ok(Called { answer, instructions })
    }

    fn store(&self, output_bytes: u64) -> Result<Store<Allowance>> {
        let limits = &self.host.limits;
        let mut store = Store::new(&self.host.engine, Allowance::new(limits));
        store.limiter(|allowance| allowance);
        store.set_epoch_deadline(deadline_ticks(limits));
        store.set_hostcall_fuel(usize::try_from(output_bytes).unwrap_or(usize::MAX));
        if self.host.counting == Counting::On {
            // No limit on instructions: the deadline is the limit, here as elsewhere.
            store.set_fuel(u64::MAX).map_err(|error| uncounted(&error))?;
        }
        Ok(store)
    }
}

fn uncounted(error: &wasmtime::Error) -> Error {
    Error::internal(format!("instructions cannot be counted: {error}"))
}

/// What a call gave.
pub(super) struct Called<R> {
    pub(super) answer: R,
    /// Where the engine counts them.
    pub(super) instructions: Option<u64>,
}
