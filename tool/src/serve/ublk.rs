//! ublk as a front end.

use std::os::fd::OwnedFd;
use std::sync::Arc;

use compcache_device::{BlockDevice, Device, SECTOR_SIZE};
use compcache_ublk::{Config, Server};

use super::frontend::{Frontend, claim};
use crate::cli::ServeArgs;

pub(crate) struct Ublk {
    config: Config,
    server: Option<Server>,
}

impl Ublk {
    /// None where the command line does not ask for it.
    pub(crate) fn new(args: &ServeArgs) -> Option<Self> {
        let mut config = Config::new(SECTOR_SIZE as u32);
        config.read_only = args.read_only;
        args.ublk.then_some(Self {
            config,
            server: None,
        })
    }
}

impl Frontend for Ublk {
    fn start(&mut self, device: &Arc<Device>) -> Result<(), String> {
        let device = Arc::clone(device) as Arc<dyn BlockDevice>;
        let server = Server::start(device, self.config).map_err(|error| {
            format!("{error}; --ublk needs root and Linux 6.0 or newer (modprobe ublk_drv)")
        })?;
        self.server = Some(server);
        Ok(())
    }

    fn places(&self) -> Vec<String> {
        let server = self.server.iter();
        server
            .map(|server| format!("ublk {}", server.path().display()))
            .collect()
    }

    fn clients(&self) -> usize {
        // Nobody counts who has the device open.
        0
    }

    fn in_use(&self) -> Option<String> {
        self.hold().err()
    }

    fn hold(&self) -> Result<Option<OwnedFd>, String> {
        match &self.server {
            Some(server) => claim(server.path()),
            None => Ok(None),
        }
    }

    fn stop(&mut self) -> Result<(), String> {
        let Some(server) = &mut self.server else {
            return Ok(());
        };
        server.stop().map_err(|error| error.to_string())
    }
}
