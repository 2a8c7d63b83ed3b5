//! [`Frontend`]: a way to reach the device.

use std::os::fd::OwnedFd;
use std::sync::Arc;

use compcache_device::Device;

/// A way to reach the device: made from the command line, then started, and stopped.
///
/// Whatever it sets up outside this process (sockets, devices, mounts) is gone after
/// [`stop`](Self::stop), and also if it is dropped without.
pub(crate) trait Frontend: Send {
    /// Starts to serve; returns when clients can connect.
    ///
    /// # Errors
    /// One line with the next step; nothing is left behind then.
    fn start(&mut self, device: &Arc<Device>) -> Result<(), String>;

    /// Where clients find it, a line each, once it has started: `nbd unix:/run/disk.sock`.
    fn places(&self) -> Vec<String>;

    /// Clients that use it now.
    fn clients(&self) -> usize;

    /// What keeps it from being stopped without loss, in one line with the next step: a file system
    /// that is mounted on it, an active swap area.
    fn in_use(&self) -> Option<String> {
        None
    }

    /// Keeps others from beginning to use it as a whole (mount, swapon) while the answer lives.
    ///
    /// # Errors
    /// As [`in_use`](Self::in_use).
    fn hold(&self) -> Result<Option<OwnedFd>, String> {
        self.in_use().map_or(Ok(None), Err)
    }

    /// Stops to serve. Requests that were taken are answered.
    ///
    /// # Errors
    /// One line that says what is in the way, and what to do: it is still served, and this can be
    /// tried again.
    fn stop(&mut self) -> Result<(), String>;
}

/// The front ends that have started, in that order; stopped in the other.
#[derive(Default)]
pub(crate) struct Running(Vec<Box<dyn Frontend>>);

impl Running {
    /// Starts one more.
    ///
    /// # Errors
    /// The front end's own.
    pub(crate) fn start(
        &mut self,
        mut frontend: Box<dyn Frontend>,
        device: &Arc<Device>,
    ) -> Result<(), String> {
        frontend.start(device)?;
        self.0.push(frontend);
        Ok(())
    }

    /// All places, a line each.
    pub(crate) fn describe(&self) -> String {
        let places = self.0.iter().flat_map(|frontend| frontend.places());
        places.map(|place| place + "\n").collect()
    }

    pub(crate) fn clients(&self) -> usize {
        self.0.iter().map(|frontend| frontend.clients()).sum()
    }

    /// What keeps the first of them from being stopped without loss.
    pub(crate) fn in_use(&self) -> Option<String> {
        self.0.iter().find_map(|frontend| frontend.in_use())
    }

    /// Keeps others from beginning to use any of them as a whole.
    ///
    /// # Errors
    /// What uses the first of them.
    pub(crate) fn hold(&self) -> Result<Vec<OwnedFd>, String> {
        let held = self
            .0
            .iter()
            .filter_map(|frontend| frontend.hold().transpose());
        held.collect()
    }

    /// Stops one after the other, up to the first that cannot be stopped.
    ///
    /// # Errors
    /// That front end's own. It and those started before it are still served.
    pub(crate) fn stop(&mut self) -> Result<(), String> {
        while let Some(mut frontend) = self.0.pop() {
            if let Err(text) = frontend.stop() {
                self.0.push(frontend);
                return Err(text);
            }
        }
        Ok(())
    }
}

/// Claims a block device.
///
/// # Errors
/// What to do about it where somebody has it for himself.
#[cfg(any(feature = "fuse", feature = "ublk"))]
pub(crate) fn claim(device: &std::path::Path) -> Result<Option<OwnedFd>, String> {
    match compcache_sys::loops::claim(device) {
        Err(error) if error.kind() == std::io::ErrorKind::ResourceBusy => {
            let device = device.display();
            Err(format!(
                "{device} is in use; run 'swapoff {device}' or unmount it, then try again"
            ))
        }
        // No such disk any more: nobody has it.
        Err(error) if compcache_sys::loops::is_gone(&error) => Ok(None),
        Err(error) => Err(format!(
            "{}: {error}; nobody knows whether it is in use, try again",
            device.display()
        )),
        Ok(claim) => Ok(Some(claim)),
    }
}
