//! The sandbox: the only part of the crate that knows how WebAssembly is run.
//!
//! A [`Runtime`] loads components and gives [`Transform`]s; a transform is called with Arrow
//! columns. What a guest could do, and what stands against it:
//!
//! - reach out of the sandbox: `component` refuses every import, and names it;
//! - answer differently elsewhere or another time: `engine` has the one list of settings, and
//!   every call has a fresh instance (`sandbox`);
//! - use too much: `limits`, the deadline in `engine`, the queue in `slots`; a process of its own
//!   to compile in, `compile`;
//! - end badly: `trap` says how, in words;
//! - lie about itself or answer nonsense: `description`, `columns`, `transform`;
//! - speak to people in our voice: `words`;
//! - have somebody else's machine code run as its own: `cache`;
//! - remember, or tell apart what is equal: nothing here lets it, and `trial` lets the publish
//!   check see whether it would.

mod bindings;
mod build;
mod cache;
mod columns;
mod compile;
mod component;
mod description;
mod engine;
#[cfg(test)]
mod hostile;
mod limits;
#[cfg(test)]
mod returned;
mod sandbox;
mod slots;
#[cfg(test)]
pub(crate) mod testing;
#[cfg(test)]
mod tests;
mod transform;
mod trap;
mod trial;
mod words;

use std::{
    collections::HashMap,
    path::{Path, PathBuf},
    sync::{
        Arc, Mutex, PoisonError, Weak,
        atomic::{AtomicU64, Ordering},
    },
};

use wasmtime::component::Component;

pub use build::{Built, build, crate_folder};
pub use compile::compile_from_stdin;
pub use component::{Outline, outline};
pub use engine::RuntimeProfile;
pub use limits::Limits;
pub use transform::{Nan, Outcome, RowError, Transform};
pub use trap::Stop;
pub use trial::Trial;

use crate::{digest::Digest, error::Result};
use cache::CodeCache;
use compile::Compiler;
use engine::Mode;
use sandbox::{Host, Sandbox};
use slots::Slots;

/// The first argument of a child process that compiles ([`Runtime::compiling_apart`]).
pub const COMPILE_COMMAND: &str = "compile-component";

/// The engine, the pool of instances and the compiled code. Clones share all of it.
#[derive(Debug, Clone)]
pub struct Runtime(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    host: Arc<Host>,
    profile: RuntimeProfile,
    cache: Option<CodeCache>,
    compiler: Compiler,
    loaded: Mutex<HashMap<Digest, Arc<Loaded>>>,
    compilations: AtomicU64,
}

/// The transform of a digest, while anybody holds it. The lock is held during compilation: who
/// comes second waits and finds the work done.
#[derive(Debug, Default)]
struct Loaded(Mutex<Weak<Transform>>);

impl Loaded {
    fn is_held(&self) -> bool {
        self.0.try_lock().is_ok_and(|transform| transform.strong_count() > 0)
    }
}

impl Runtime {
    /// Starts an engine with these limits. Compiled code is kept in the folder, if one is given;
    /// it is made where there is none.
    ///
    /// # Errors
    /// [`Kind::Invalid`](crate::error::Kind::Invalid) for impossible limits and for a folder that
    /// others can write to; [`Kind::Unavailable`](crate::error::Kind::Unavailable) when the system
    /// refuses the address space.
    pub fn new(limits: Limits, cache: Option<&Path>) -> Result<Self> {
        Self::start(limits, cache, Mode::Standard, Compiler::Here)
    }

    /// As [`new`](Self::new), for components from strangers: whatever is not in the cache is
    /// validated and compiled in a child process, which runs `program` with the arguments
    /// [`COMPILE_COMMAND`] and a job, and has to give the job to [`compile_from_stdin`].
    ///
    /// # Errors
    /// Those of [`new`](Self::new).
    pub fn compiling_apart(limits: Limits, cache: Option<&Path>, program: PathBuf) -> Result<Self> {
        Self::start(limits, cache, Mode::Standard, Compiler::Child(program))
    }

    /// The runtime beside this one for the publish check, with the same limits: every operation of
    /// a guest makes its NaN canonical, its instructions are counted
    /// ([`Outcome::instructions`]), and a call that takes more than so many is stopped. Of a
    /// function that is pure, the results are the same.
    ///
    /// # Errors
    /// Those of [`new`](Self::new).
    pub fn strict(&self, instructions: u64) -> Result<Self> {
        let mode = Mode::Strict { instructions };
        Self::start(self.limits().clone(), None, mode, self.0.compiler.clone())
    }

    fn start(limits: Limits, cache: Option<&Path>, mode: Mode, compiler: Compiler) -> Result<Self> {
        limits.check()?;
        let engine = engine::start(&limits, mode)?;
        let cache = cache
            .map(|folder| CodeCache::open(folder, &engine, limits.compiled_bytes))
            .transpose()?;
        let slots = Slots::new(limits.concurrent_calls);
        Ok(Self(Arc::new(Inner {
            host: Arc::new(Host { engine, limits, slots, mode }),
            profile: RuntimeProfile::of(mode)?,
            cache,
            compiler,
            loaded: Mutex::default(),
            compilations: AtomicU64::new(0),
        })))
    }

    /// What besides a component decides on its results.
    pub fn profile(&self) -> &RuntimeProfile {
        &self.0.profile
    }

    /// The limits of every call.
    pub fn limits(&self) -> &Limits {
        &self.0.host.limits
    }

    /// How many components were compiled here, and not found compiled.
    pub fn compilations(&self) -> u64 {
        self.0.compilations.load(Ordering::Relaxed)
    }

    /// Makes a transform of the bytes of a component. The same bytes give the same transform as
    /// long as anybody holds it, and are compiled once however many ask at a time.
    ///
    /// # Errors
    /// [`Kind::Invalid`](crate::error::Kind::Invalid) for bytes that are no transform,
    /// [`Kind::Limit`](crate::error::Kind::Limit) for too many of them, and
    /// [`Kind::Transform`](crate::error::Kind::Transform) when it cannot describe itself.
    pub fn load(&self, bytes: &[u8]) -> Result<Arc<Transform>> {
        component::check_size(bytes, self.limits())?;
        let digest = Digest::of(bytes);
        let loaded = self.loaded(digest);
        let mut loaded = loaded.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(transform) = loaded.upgrade() {
            return Ok(transform);
        }
        let component = self.compiled(digest, bytes)?;
        let sandbox = Sandbox::new(Arc::clone(&self.0.host), &component)?;
        let transform = Arc::new(Transform::new(digest, sandbox)?);
        *loaded = Arc::downgrade(&transform);
        Ok(transform)
    }

    /// The place of a digest; those that nobody holds any more are cleared away.
    fn loaded(&self, digest: Digest) -> Arc<Loaded> {
        let mut all = self.0.loaded.lock().unwrap_or_else(PoisonError::into_inner);
        all.retain(|_, loaded| Arc::strong_count(loaded) > 1 || loaded.is_held());
        Arc::clone(all.entry(digest).or_default())
    }

    fn compiled(&self, digest: Digest, bytes: &[u8]) -> Result<Component> {
        let Host { engine, limits, mode, .. } = &*self.0.host;
        let kept = self.0.cache.as_ref().and_then(|cache| cache.load(engine, digest));
        if let Some(component) = kept {
            return Ok(component);
        }
        self.0.compilations.fetch_add(1, Ordering::Relaxed);
        let component = self.0.compiler.compile(engine, limits, *mode, bytes)?;
        if let Some(cache) = &self.0.cache {
            cache.store(digest, &component);
        }
        Ok(component)
    }
}
