//! Arithmetic over years of hours takes long for a thread that others wait for.

use tokio::runtime::{Handle, RuntimeFlavor};

/// Works while another thread takes over the requests of this one. Without another there is nobody to wait.
pub(crate) fn aside<T>(work: impl FnOnce() -> T) -> T {
    match Handle::try_current().map(|handle| handle.runtime_flavor()) {
        Ok(RuntimeFlavor::MultiThread) => tokio::task::block_in_place(work),
        _ => work(),
    }
}
