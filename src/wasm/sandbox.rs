//! One call in one fresh instance; and, for the publish check, several in one.

use std::sync::{Arc, OnceLock};

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

/// Input of which a call is large.
const LARGE: u64 = 32 << 10;

/// A component that only has to be instantiated for a call.
///
/// What a call has written to in its memory stays mapped for the next one in the same place of the
/// pool, and is cleared after that one, whatever it has written. A call of one row after one of
/// thousands took twice its time for that. So large calls have places of their own. The pool tells
/// them by the code, of which they get a copy.
pub(super) struct Sandbox {
    host: Arc<Host>,
    small: Linked,
    /// None where it could not be made, which is no reason not to call; made by the first that asks.
    large: OnceLock<Option<Linked>>,
}

/// A component linked to nothing and checked once.
struct Linked {
    instances: InstancePre<Allowance>,
    exports: Exports,
}

impl Linked {
    /// Links the component, which imports nothing, and finds its exports.
    fn new(engine: &Engine, component: &Component) -> wasmtime::Result<Self> {
        let instances = Linker::new(engine).instantiate_pre(component)?;
        Ok(Self { instances, exports: Exports::of(component)? })
    }

    /// The same component once more, under another name in the pool.
    fn copy(&self, engine: &Engine) -> wasmtime::Result<Self> {
        let code = self.instances.component().serialize()?;
        // SAFETY: it is what this engine runs already.
        Self::new(engine, &unsafe { Component::deserialize(engine, code) }?)
    }
}

impl Sandbox {
    /// Makes a component ready, which imports nothing.
    pub(super) fn new(host: Arc<Host>, component: &Component) -> Result<Self> {
        let small = Linked::new(&host.engine, component).map_err(|error| misfit(&error))?;
        Ok(Self { host, small, large: OnceLock::new() })
    }

    pub(super) fn limits(&self) -> &Limits {
        &self.host.limits
    }

    /// Makes an instance, calls it with so many bytes of input and throws it away, under these
    /// limits.
    pub(super) fn call<R>(
        &self,
        limits: &Limits,
        input_bytes: u64,
        call: impl FnOnce(&Functions<'_>, &mut Store<Allowance>) -> wasmtime::Result<R>,
    ) -> Result<Called<R>> {
        let linked = self.linked(input_bytes);
        self.instantiate(linked, limits)?.call(limits.output_bytes, call)
    }

    /// Makes an instance that has these limits; before that, it waits while too many others are
    /// there.
    pub(super) fn open<'a>(&'a self, limits: &'a Limits) -> Result<Opened<'a>> {
        self.instantiate(&self.small, limits)
    }

    fn linked(&self, input_bytes: u64) -> &Linked {
        if input_bytes < LARGE {
            return &self.small;
        }
        let copy = || self.small.copy(&self.host.engine).ok();
        self.large.get_or_init(copy).as_ref().unwrap_or(&self.small)
    }

    fn instantiate<'a>(&'a self, linked: &'a Linked, limits: &'a Limits) -> Result<Opened<'a>> {
        let host = &*self.host;
        let slot = host.slots.take();
        let mut store = Store::new(&host.engine, Allowance::new(limits));
        store.limiter(|allowance| allowance);
        host.allow(&mut store, limits.deadline)?;
        let instance = linked.instances.instantiate(&mut store);
        let functions = instance.and_then(|it| linked.exports.of_instance(&mut store, it));
        let functions = functions.map_err(|error| not_started(&error, limits))?;
        Ok(Opened { host, limits, functions, store, used: false, stopped: None, _slot: slot })
    }
}

/// An instance in its slot. That it is called a second time is for the publish check alone.
pub(super) struct Opened<'a> {
    host: &'a Host,
    limits: &'a Limits,
    functions: Functions<'a>,
    // Before the slot: the pool has the instance back when the slot is free.
    store: Store<Allowance>,
    used: bool,
    stopped: Option<Stop>,
    _slot: Slot<'a>,
}

impl Opened<'_> {
    /// Calls the instance. The first call has what its start left of time and instructions, any
    /// other as much as both.
    pub(super) fn call<R>(
        &mut self,
        output_bytes: u64,
        call: impl FnOnce(&Functions<'_>, &mut Store<Allowance>) -> wasmtime::Result<R>,
    ) -> Result<Called<R>> {
        if std::mem::replace(&mut self.used, true) {
            self.host.allow(&mut self.store, self.limits.deadline)?;
        }
        self.store.set_hostcall_fuel(usize::try_from(output_bytes).unwrap_or(usize::MAX));
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
    /// The time and the instructions that a guest may use from here on.
    fn allow(&self, store: &mut Store<Allowance>, deadline: Span) -> Result<()> {
        store.set_epoch_deadline(deadline_ticks(deadline));
        match self.mode {
            Mode::Standard => Ok(()),
            Mode::Strict { instructions } => {
                store.set_fuel(instructions).map_err(|error| uncounted(&error))
            }
        }
    }

    /// What it has used of its instructions since, where they are counted.
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

#[cfg(test)]
mod tests {
    use arrow::array::{ArrayRef, Int64Array};

    use super::*;
    use crate::{
        value::DataType,
        wasm::{
            Runtime,
            testing::{Guest, field, function},
        },
    };

    #[test]
    fn large_calls_have_places_of_their_own() {
        let fields = [field("x", DataType::Int64, true)];
        let guest = Guest::echo(&[function("echo", &fields, &fields)]);
        let runtime = Runtime::new(Limits::default(), None).unwrap();
        let echo = runtime.load(&guest.component()).unwrap();
        for (rows, is_apart) in [(1, false), (10_000, true), (1, true), (10_000, true)] {
            let column: ArrayRef = Arc::new(Int64Array::from_iter_values(0..rows));
            let outcome = echo.call(0, &[], std::slice::from_ref(&column), rows as usize);
            assert_eq!(outcome.unwrap().columns, [column]);
            assert_eq!(matches!(echo.sandbox.large.get(), Some(Some(_))), is_apart);
        }
    }
}
