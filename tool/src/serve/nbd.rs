//! The NBD server as a front end.

use std::sync::Arc;
use std::time::Duration;

use compcache_device::Device;
use compcache_nbd::{Config, Export, Server};

use super::frontend::Frontend;
use crate::cli::ServeArgs;
use crate::output;

/// How long clients have to take their last answers.
const GRACE: Duration = Duration::from_secs(5);

pub(crate) struct Nbd {
    config: Config,
    server: Option<Server>,
}

impl Nbd {
    /// # Errors
    /// An export name that the protocol does not allow.
    pub(crate) fn new(args: &ServeArgs) -> Result<Self, String> {
        let export = Export::new(args.export.as_str(), args.read_only)
            .map_err(|error| format!("{error}; name a shorter one"))?;
        let mut config = Config::new(args.nbd.clone(), export);
        config.connections_max = args.connections;
        Ok(Self {
            config,
            server: None,
        })
    }
}

impl Frontend for Nbd {
    fn start(&mut self, device: &Arc<Device>) -> Result<(), String> {
        let device = Arc::clone(device) as Arc<dyn compcache_device::BlockDevice>;
        let server =
            Server::start(device, self.config.clone()).map_err(|error| error.to_string())?;
        self.server = Some(server);
        Ok(())
    }

    fn places(&self) -> Vec<String> {
        let addresses = self.server.iter().flat_map(Server::addresses);
        addresses.map(|address| format!("nbd {address}")).collect()
    }

    fn clients(&self) -> usize {
        self.server.as_ref().map_or(0, Server::connections)
    }

    fn stop(&mut self) -> Result<(), String> {
        if let Some(mut server) = self.server.take() {
            let stopped = server.stop(GRACE);
            if stopped.cut > 0 {
                output::note(&format!(
                    "{} clients did not take their answers and were cut off",
                    stopped.cut
                ));
            }
        }
        Ok(())
    }
}
