//! [`Frontend`]: a way to reach the device.

use std::sync::Arc;

use compcache_device::Device;

/// A way to reach the device: made from the command line, then started, and stopped once.
///
/// Whatever it sets up outside this process (sockets, devices, mounts) is gone after
/// [`stop`](Self::stop), and also if it is dropped without.
pub(crate) trait Frontend: Send {
    /// Starts to serve; returns when clients can connect.
    ///
    /// # Errors
    /// One line with the next step; nothing is left behind then.
    fn start(&mut self, device: &Arc<Device>) -> Result<(), String>;

    /// Where clients find it, a line each, once it has started: `nbd unix:/run/swap.sock`.
    fn places(&self) -> Vec<String>;

    /// Clients that use it now.
    fn clients(&self) -> usize;

    /// What keeps it from being stopped without loss, in one line with the next step: a file system
    /// that is mounted on it, an active swap area.
    fn in_use(&self) -> Option<String> {
        None
    }

    /// Stops to serve. Requests that were taken are answered.
    ///
    /// # Errors
    /// One line that says what is left, and how to remove it.
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

    /// Stops all, also where one fails.
    ///
    /// # Errors
    /// All failures, in one line.
    pub(crate) fn stop(mut self) -> Result<(), String> {
        let mut failures = Vec::new();
        while let Some(mut frontend) = self.0.pop() {
            failures.extend(frontend.stop().err());
        }
        match failures.is_empty() {
            true => Ok(()),
            false => Err(failures.join("; ")),
        }
    }
}

/// What to do about a block device that somebody has for himself, if somebody has.
#[cfg(any(feature = "fuse", feature = "ublk"))]
pub(crate) fn claimed(device: &std::path::Path) -> Option<String> {
    compcache_sys::loops::is_claimed(device).then(|| {
        let device = device.display();
        format!("{device} is in use; run 'swapoff {device}' or unmount it, then stop again")
    })
}
