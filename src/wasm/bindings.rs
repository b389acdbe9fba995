//! The component ABI in Rust: one module for each published version of `wit/`, kept for ever.

use std::sync::atomic::{AtomicBool, Ordering};

use wasmtime::{
    Result, Store,
    component::{Component, ComponentExportIndex, Func, Instance, TypedFunc},
    format_err,
};

use crate::value::DataType;

/// `unskew:transform@1.0.0`.
pub(super) mod v1 {
    // Borrowing: an Arrow buffer is lowered straight from its slice.
    wasmtime::component::bindgen!({
        path: "wit/transform.wit",
        world: "transform",
        ownership: Borrowing { duplicate_if_necessary: true },
    });

    pub(crate) use exports::unskew::transform::functions::*;
}

/// The interface a transform exports, with its version.
pub(super) const INTERFACE: &str = "unskew:transform/functions@1.0.0";

type Described = (Vec<v1::Function>,);
type Applying<'a> = (u32, &'a [v1::ColumnParam<'a>], v1::Batch<'a>);
type Applied = (std::result::Result<v1::Outcome, v1::Failure>,);

/// Where a component has the functions of the interface. What `bindgen!` makes for this compares
/// their types with the component's in every instance, which is a tenth of a call of one row.
#[derive(Debug)]
pub(super) struct Exports {
    describe: ComponentExportIndex,
    apply: ComponentExportIndex,
    /// Whether they were compared: types are of the component, and so the same in all instances.
    fit: AtomicBool,
}

impl Exports {
    /// # Errors
    /// Where the component has none of these names.
    pub(super) fn of(component: &Component) -> Result<Self> {
        let interface = component.get_export_index(None, INTERFACE);
        let interface =
            interface.ok_or_else(|| format_err!("no exported instance named `{INTERFACE}`"))?;
        let function = |name| {
            component.get_export_index(Some(&interface), name).ok_or_else(|| {
                format_err!("instance export `{INTERFACE}` does not have export `{name}`")
            })
        };
        let (describe, apply) = (function("describe")?, function("apply")?);
        Ok(Self { describe, apply, fit: AtomicBool::new(false) })
    }

    /// The functions in an instance of the component.
    ///
    /// # Errors
    /// Where they are not of the types of the interface.
    pub(super) fn of_instance<T: 'static>(
        &self,
        store: &mut Store<T>,
        instance: Instance,
    ) -> Result<Functions<'_>> {
        if !self.fit.load(Ordering::Relaxed) {
            export(store, instance, &self.describe)?.typed::<(), Described>(&mut *store)?;
            let apply = export(store, instance, &self.apply)?;
            apply.typed::<Applying<'_>, Applied>(&mut *store)?;
            self.fit.store(true, Ordering::Relaxed);
        }
        Ok(Functions { exports: self, instance })
    }
}

fn export<T: 'static>(
    store: &mut Store<T>,
    instance: Instance,
    index: &ComponentExportIndex,
) -> Result<Func> {
    let function = instance.get_func(store, index);
    function.ok_or_else(|| format_err!("an export is not a function"))
}

/// The functions of an instance, which are of the types of the interface. Each is looked up when it
/// is called: most instances are called once.
#[derive(Debug)]
pub(super) struct Functions<'a> {
    exports: &'a Exports,
    instance: Instance,
}

impl Functions<'_> {
    pub(super) fn describe<T: 'static>(&self, store: &mut Store<T>) -> Result<Vec<v1::Function>> {
        let describe = export(store, self.instance, &self.exports.describe)?;
        // SAFETY: `Exports` has compared the types.
        let describe = unsafe { TypedFunc::<(), Described>::new_unchecked(describe) };
        let (functions,) = describe.call(store, ())?;
        Ok(functions)
    }

    pub(super) fn apply<T: 'static>(
        &self,
        store: &mut Store<T>,
        function: u32,
        params: &[v1::ColumnParam<'_>],
        batch: v1::Batch<'_>,
    ) -> Result<std::result::Result<v1::Outcome, v1::Failure>> {
        let apply = export(store, self.instance, &self.exports.apply)?;
        // SAFETY: `Exports` has compared the types.
        let apply = unsafe { TypedFunc::<Applying<'_>, Applied>::new_unchecked(apply) };
        let (outcome,) = apply.call(store, (function, params, batch))?;
        Ok(outcome)
    }
}

impl From<v1::DataType> for DataType {
    fn from(data_type: v1::DataType) -> Self {
        match data_type {
            v1::DataType::Boolean => Self::Boolean,
            v1::DataType::Int32 => Self::Int32,
            v1::DataType::Int64 => Self::Int64,
            v1::DataType::Float32 => Self::Float32,
            v1::DataType::Float64 => Self::Float64,
            v1::DataType::Utf8 => Self::Utf8,
            v1::DataType::Binary => Self::Binary,
            v1::DataType::Date => Self::Date,
            v1::DataType::Timestamp => Self::Timestamp,
            v1::DataType::ListInt64 => Self::ListInt64,
            v1::DataType::ListFloat32 => Self::ListFloat32,
            v1::DataType::ListFloat64 => Self::ListFloat64,
            v1::DataType::ListUtf8 => Self::ListUtf8,
        }
    }
}
