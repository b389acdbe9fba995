//! One call in one fresh instance; and, for the publish check, several in one.

use std::sync::Arc;

use wasmtime::{
    Engine, Store,
    component::{Component, InstancePre, Linker},
};

use super::{
    bindings::{Exports, Functions},
    engine::{Mode, deadline_ticks},
    limits::{Allowance, Limits},
    slots::{Slot, Slots},
    trap::{Stop, ended, misfit, not_started},
};
use crate::{
    error::{Error, Result},
    time::Span,
};

/// What all transforms of a runtime share.
#[derive(Debug)]
pub(super) struct Host {
    pub(super) engine: Engine,
    pub(super) limits: Limits,
    pub(super) slots: Slots,
    pub(super) mode: Mode,
}

/// A component linked to nothing and checked once, so that a call only has to instantiate it.
pub(super) struct Sandbox {
    host: Arc<Host>,
    instances: InstancePre<Allowance>,
    exports: Exports,
}

impl Sandbox {
    /// Links the component, which imports nothing, and finds its exports.
    pub(super) fn new(host: Arc<Host>, component: &Component) -> Result<Self> {
        let instances = Linker::new(&host.engine).instantiate_pre(component);
        let instances = instances.map_err(|error| misfit(&error))?;
        let exports = Exports::of(component).map_err(|error| misfit(&error))?;
        Ok(Self { host, instances, exports })
    }

    pub(super) fn limits(&self) -> &Limits {
        &self.host.limits
    }

    /// Makes an instance, calls it and throws it away, under these limits.
    pub(super) fn call<R>(
        &self,
        limits: &Limits,
        call: impl FnOnce(&Functions<'_>, &mut Store<Allowance>) -> wasmtime::Result<R>,
    ) -> Result<Called<R>> {
        self.open(limits)?.call(limits.output_bytes, call)
    }

    /// Makes an instance that has these limits; before that, it waits while too many others are
    /// there.
    pub(super) fn open<'a>(&'a self, limits: &'a Limits) -> Result<Opened<'a>> {
        let host = &*self.host;
        let slot = host.slots.take();
        let mut store = Store::new(&host.engine, Allowance::new(limits));
        store.limiter(|allowance| allowance);
        host.allow(&mut store, limits.deadline, 0)?;
        let instance = self.instances.instantiate(&mut store);
        let functions = instance.and_then(|it| self.exports.of_instance(&mut store, it));
        let functions = functions.map_err(|error| not_started(&error, limits))?;
        Ok(Opened { host, limits, functions, store, stopped: None, _slot: slot })
    }
}

/// An instance in its slot. That it is called a second time is for the publish check alone.
pub(super) struct Opened<'a> {
    host: &'a Host,
    limits: &'a Limits,
    functions: Functions<'a>,
    // Before the slot: the pool has the instance back when the slot is free.
    store: Store<Allowance>,
    stopped: Option<Stop>,
    _slot: Slot<'a>,
}

impl Opened<'_> {
    /// Calls the instance, with time, instructions and room for the answer as for a first call.
    pub(super) fn call<R>(
        &mut self,
        output_bytes: u64,
        call: impl FnOnce(&Functions<'_>, &mut Store<Allowance>) -> wasmtime::Result<R>,
    ) -> Result<Called<R>> {
        self.host.allow(&mut self.store, self.limits.deadline, output_bytes)?;
        let answer = call(&self.functions, &mut self.store).map_err(|error| {
            self.stopped = Stop::of(&error);
            ended(&error, self.limits, output_bytes)
        })?;
        let instructions = self.host.instructions(&self.store)?;
        Ok(Called { answer, instructions, memory_bytes: self.store.data().memory_bytes() })
    }

    /// How its last call was stopped, if it was: no further call can be made then.
    pub(super) fn stopped(&self) -> Option<Stop> {
        self.stopped
    }
}

impl Host {
    /// What a guest may use from here on.
    fn allow(&self, store: &mut Store<Allowance>, deadline: Span, output_bytes: u64) -> Result<()> {
        store.set_epoch_deadline(deadline_ticks(deadline));
        store.set_hostcall_fuel(usize::try_from(output_bytes).unwrap_or(usize::MAX));
        match self.mode {
            Mode::Standard => Ok(()),
            Mode::Strict { instructions } => {
                store.set_fuel(instructions).map_err(|error| uncounted(&error))
            }
        }
    }

    /// What it has used of its instructions, where they are counted.
    fn instructions(&self, store: &Store<Allowance>) -> Result<Option<u64>> {
        match self.mode {
            Mode::Standard => Ok(None),
            Mode::Strict { instructions } => {
                let left = store.get_fuel().map_err(|error| uncounted(&error))?;
                Ok(Some(instructions - left))
            }
        }
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
    /// The memory of the instance, which only grows.
    pub(super) memory_bytes: u64,
}
