//! The device by FUSE and loop.

use std::path::Path;
use std::sync::Arc;

use compcache_device::{BlockDevice, Device, PAGE_SIZE};
use compcache_fuse::{Config, Place, Server};
use compcache_sys::loops::LoopDevice;

use super::via::Attached;

struct Fuse(Server);

pub(super) fn attach(device: &Arc<Device>) -> Result<Box<dyn Attached>, String> {
    let device = Arc::clone(device) as Arc<dyn BlockDevice>;
    // The kernel swaps whole pages.
    let config = Config::new(Place::Hidden, Some(PAGE_SIZE as u32));
    let server = Server::start(device, &config)
        .map_err(|error| format!("{error}; see whether 'losetup -f' finds a free device"))?;
    Ok(Box::new(Fuse(server)))
}

impl Attached for Fuse {
    fn path(&self) -> &Path {
        self.0.loop_device().map_or(Path::new(""), LoopDevice::path)
    }

    fn stop(&mut self) -> Result<(), String> {
        self.0.stop().map_err(|error| error.to_string())
    }
}
