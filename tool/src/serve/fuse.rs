//! The FUSE file, and the loop device over it, as a front end.

use std::os::fd::OwnedFd;
use std::path::PathBuf;
use std::sync::Arc;

use compcache_device::{BlockDevice, Device, SECTOR_SIZE};
use compcache_fuse::{Config, FILE_NAME, Place, Server, clear_stale};
use compcache_sys::loops::LoopDevice;

use super::frontend::{Frontend, claim};
use crate::cli::ServeArgs;
use crate::output;

pub(crate) struct Fuse {
    directory: PathBuf,
    config: Config,
    server: Option<Server>,
}

impl Fuse {
    /// None where the command line does not ask for it.
    pub(crate) fn new(args: &ServeArgs) -> Option<Self> {
        let directory = args.fuse.clone()?;
        let block_size = args.loop_device.then_some(SECTOR_SIZE as u32);
        let mut config = Config::new(Place::Directory(directory.clone()), block_size);
        config.read_only = args.read_only;
        Some(Self {
            config,
            directory,
            server: None,
        })
    }
}

impl Frontend for Fuse {
    fn start(&mut self, device: &Arc<Device>) -> Result<(), String> {
        if clear_stale(&self.directory).map_err(|error| error.to_string())? {
            let directory = self.directory.display();
            output::note(&format!(
                "{directory}: removed the mount of a server that is gone"
            ));
        }
        let device = Arc::clone(device) as Arc<dyn BlockDevice>;
        let server = Server::start(device, &self.config).map_err(|error| {
            format!("{error}; --fuse needs an empty directory and FUSE (modprobe fuse), --loop also root")
        })?;
        self.server = Some(server);
        Ok(())
    }

    fn places(&self) -> Vec<String> {
        let file = self.directory.join(FILE_NAME);
        let mut places = vec![format!("fuse {}", file.display())];
        let device = self.server.as_ref().and_then(Server::loop_device);
        places.extend(device.map(|device| format!("loop {}", device.path().display())));
        places
    }

    fn clients(&self) -> usize {
        self.server.as_ref().map_or(0, Server::users)
    }

    fn in_use(&self) -> Option<String> {
        self.hold().err()
    }

    fn hold(&self) -> Result<Option<OwnedFd>, String> {
        // Who has the file open is seen when it is unmounted.
        match self.server.as_ref().and_then(Server::loop_device) {
            Some(device) => claim(LoopDevice::path(device)),
            None => Ok(None),
        }
    }

    fn stop(&mut self) -> Result<(), String> {
        let Some(server) = &mut self.server else {
            return Ok(());
        };
        server.stop().map_err(|error| {
            let directory = self.directory.display();
            format!(
                "{error}; close what uses it ('fuser -vm {directory}' names it), then try again"
            )
        })
    }
}
