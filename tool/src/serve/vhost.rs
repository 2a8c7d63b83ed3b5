//! vhost-user-blk as a front end: a server for each socket.

use std::sync::Arc;
use std::time::Duration;

use compcache_device::{BlockDevice, Device};
use compcache_vhost::{Config, Server};

use super::frontend::Frontend;
use crate::cli::ServeArgs;
use crate::output;

/// How long requests that are under way may take.
const GRACE: Duration = Duration::from_secs(5);

pub(crate) struct Vhost {
    configs: Vec<Config>,
    servers: Vec<Server>,
}

impl Vhost {
    /// None where the command line does not ask for it.
    pub(crate) fn new(args: &ServeArgs) -> Option<Self> {
        let config = |path| {
            let mut config = Config::new(path);
            config.read_only = args.read_only;
            config
        };
        let configs: Vec<Config> = args.vhost_user.iter().map(config).collect();
        (!configs.is_empty()).then_some(Self {
            configs,
            servers: Vec::new(),
        })
    }
}

impl Frontend for Vhost {
    fn start(&mut self, device: &Arc<Device>) -> Result<(), String> {
        for config in &self.configs {
            let device = Arc::clone(device) as Arc<dyn BlockDevice>;
            let server = Server::start(device, config.clone());
            self.servers
                .push(server.map_err(|error| error.to_string())?);
        }
        Ok(())
    }

    fn places(&self) -> Vec<String> {
        let servers = self.servers.iter();
        servers
            .map(|server| format!("vhost-user {}", server.path().display()))
            .collect()
    }

    fn clients(&self) -> usize {
        let connected = self.servers.iter().filter(|server| server.is_connected());
        connected.count()
    }

    fn in_use(&self) -> Option<String> {
        let server = self.servers.iter().find(|server| server.is_used())?;
        let path = server.path().display();
        Some(format!(
            "{path}: a virtual machine uses the disk; shut it down, then stop again"
        ))
    }

    fn stop(&mut self) -> Result<(), String> {
        for mut server in self.servers.drain(..) {
            if !server.stop(GRACE) {
                output::note(&format!(
                    "{}: requests were still under way and were cut off",
                    server.path().display()
                ));
            }
        }
        Ok(())
    }
}
