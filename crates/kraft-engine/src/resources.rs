//! What a process opens at most once, on first use: the async runtime, the registry client and the
//! image store.

use std::fmt;
use std::io;
use std::sync::{Arc, OnceLock};

use kraft_oci::registry::Registry;
use kraft_oci::store::Store;
use tokio::runtime::{Builder, Handle, Runtime};

/// Worker threads of the runtime: it waits for servers and computes little.
const WORKERS: usize = 2;

/// Threads for network requests cannot be started.
#[derive(Debug, thiserror::Error)]
#[error("cannot start threads")]
pub struct RuntimeError(#[source] io::Error);

/// Open resources, shared by all clones of a context.
#[derive(Default)]
pub(crate) struct Resources {
    runtime: OnceLock<Runtime>,
    registry: OnceLock<Registry>,
    store: OnceLock<Arc<dyn Store>>,
}

impl Resources {
    /// Returns a handle to the runtime.
    pub(crate) fn runtime(&self) -> Result<Handle, RuntimeError> {
        let runtime = get_or_try_init(&self.runtime, || {
            tracing::debug!(workers = WORKERS, "starting the async runtime");
            Builder::new_multi_thread()
                .worker_threads(WORKERS)
                .enable_all()
                .build()
                .map_err(RuntimeError)
        })?;
        Ok(runtime.handle().clone())
    }

    /// Returns the registry client.
    pub(crate) fn registry<E>(
        &self,
        open: impl FnOnce() -> Result<Registry, E>,
    ) -> Result<Registry, E> {
        get_or_try_init(&self.registry, open).cloned()
    }

    /// Returns the image store.
    pub(crate) fn store<E>(
        &self,
        open: impl FnOnce() -> Result<Arc<dyn Store>, E>,
    ) -> Result<Arc<dyn Store>, E> {
        get_or_try_init(&self.store, open).cloned()
    }
}

/// Returns the value of a cell, which is made if the cell is empty. Of two threads that make it at
/// the same time, the first one's value is kept.
fn get_or_try_init<T, E>(cell: &OnceLock<T>, make: impl FnOnce() -> Result<T, E>) -> Result<&T, E> {
    if let Some(value) = cell.get() {
        return Ok(value);
    }
    let value = make()?;
    Ok(cell.get_or_init(|| value))
}

impl Drop for Resources {
    fn drop(&mut self) {
        // The system's name resolution cannot be cancelled, and would be waited for.
        if let Some(runtime) = self.runtime.take() {
            runtime.shutdown_background();
        }
    }
}

impl fmt::Debug for Resources {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Resources").finish_non_exhaustive()
    }
}
