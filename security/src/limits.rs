//! Resource limits of the child, soft and hard alike.

use nix::sys::resource::{Resource, setrlimit};

use crate::failure::{At, Failure};

/// More than the child's whole state at every cap, a tenth of what hurts a small host.
const MEMORY: u64 = 32 << 20;

/// Sets all limits but that of [`no_more_threads`]; `descriptors` is how many the child may have open.
pub(crate) fn apply(descriptors: u64) -> Result<(), Failure> {
    let table = [
        (Resource::RLIMIT_FSIZE, 0, "setrlimit(RLIMIT_FSIZE)"),
        (Resource::RLIMIT_CORE, 0, "setrlimit(RLIMIT_CORE)"),
        (Resource::RLIMIT_MEMLOCK, 0, "setrlimit(RLIMIT_MEMLOCK)"),
        (Resource::RLIMIT_MSGQUEUE, 0, "setrlimit(RLIMIT_MSGQUEUE)"),
        (Resource::RLIMIT_SIGPENDING, 32, "setrlimit(RLIMIT_SIGPENDING)"),
        (Resource::RLIMIT_NOFILE, descriptors, "setrlimit(RLIMIT_NOFILE)"),
        (Resource::RLIMIT_DATA, MEMORY, "setrlimit(RLIMIT_DATA)"),
        (Resource::RLIMIT_AS, MEMORY, "setrlimit(RLIMIT_AS)"),
    ];
    for (resource, limit, step) in table {
        setrlimit(resource, limit, limit).at(step)?;
    }
    Ok(())
}

/// No thread or process can be made any more. The ids are those of the child already: at a change of
/// uid the kernel would look at this limit again.
pub(crate) fn no_more_threads() -> Result<(), Failure> {
    setrlimit(Resource::RLIMIT_NPROC, 0, 0).at("setrlimit(RLIMIT_NPROC)")
}
