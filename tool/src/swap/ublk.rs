//! The device by ublk.

use std::path::Path;
use std::sync::Arc;

use compcache_device::{BlockDevice, Device, PAGE_SIZE};
use compcache_ublk::{Config, Server};

use super::via::Attached;

struct Ublk(Server);

pub(super) fn attach(device: &Arc<Device>) -> Result<Box<dyn Attached>, String> {
    let device = Arc::clone(device) as Arc<dyn BlockDevice>;
    // The kernel swaps whole pages.
    let server = Server::start(device, Config::new(PAGE_SIZE as u32))
        .map_err(|error| format!("{error}; try --via fuse"))?;
    Ok(Box::new(Ublk(server)))
}

impl Attached for Ublk {
    fn path(&self) -> &Path {
        self.0.path()
    }

    fn stop(&mut self) -> Result<(), String> {
        self.0.stop().map_err(|error| error.to_string())
    }
}
