//! The end: the tunnel goes, or is left for the next start.

use log::info;
use nix::sys::wait::waitpid;

use crate::exit::{Exit, Fatal};
use crate::kernel::Link;
use crate::run::Daemon;

impl Daemon<'_> {
    /// Ends the child, and deletes the tunnel or leaves it.
    pub(crate) fn end(mut self) -> Result<(), Fatal> {
        self.with.notify.stopping();
        if let Some(mut child) = self.child.take() {
            child.kill();
            if self.keep {
                // It has the queue in hand, which the next start is to have.
                let _ = waitpid(child.pid(), None);
            }
        }
        if self.keep { self.leave() } else { self.tear_down() }
    }

    /// Leaves what there is. One of a predecessor that has not been taken over stays as it is.
    fn leave(&mut self) -> Result<(), Fatal> {
        if let Some(forwarding) = self.with.forwarding.take() {
            forwarding.leave();
        }
        let Some(tunnel) = self.tunnel.take() else { return Ok(()) };
        let name = tunnel.name().clone();
        let left = tunnel.leave();
        left.map_err(|error| Fatal::new(Exit::Os, format!("{name}: cannot be left: {error}")))?;
        info!("{name}: left for the next start");
        Ok(())
    }

    /// Deletes the tunnel, also one of a predecessor that has not been taken over yet.
    fn tear_down(&mut self) -> Result<(), Fatal> {
        let netlink = &mut self.with.netlink;
        let index = match self.tunnel.take() {
            Some(tunnel) => Ok(Some(tunnel.index())),
            None => netlink
                .find_link(&self.options.name)
                .map(|link| link.filter(Link::is_our_tunnel).map(|link| link.index)),
        };
        let deleted = index.and_then(|index| match index {
            Some(index) => netlink.delete_link(index).map(|()| true),
            None => Ok(false),
        });
        let deleted = deleted.map_err(|error| Fatal::new(Exit::Os, error.to_string()))?;
        if deleted {
            info!("{}: deleted", self.options.name);
        }
        Ok(())
    }
}
