//! Two moments of each device, and what lies between them.

use std::time::Duration;

use crate::control::{Client, Requests, Status, Tiers, devices, find};
use crate::output;

/// Devices that are watched.
pub(crate) struct Samples {
    devices: Vec<Device>,
    /// Whether devices that start later are taken in.
    all: bool,
}

/// A device at two moments.
pub(crate) struct Device {
    client: Option<Client>,
    pub(crate) now: Status,
    before: Status,
}

impl Samples {
    /// Connects to these devices, or to all that run.
    ///
    /// # Errors
    /// One line: a device that does not answer, or none at all.
    pub(crate) fn connect(names: &[String]) -> Result<Self, String> {
        let mut found = Vec::new();
        for name in names {
            let mut client = Client::connect(&find(name)?)?;
            found.push((client.status()?, client));
        }
        if names.is_empty() {
            let notes;
            (found, notes) = devices()?;
            notes.iter().for_each(|note| output::note(note));
        }
        if found.is_empty() {
            return Err("no device is running; start one with 'compcache serve'".to_owned());
        }
        let device = |(status, client): (Status, Client)| Device {
            client: Some(client),
            before: status.clone(),
            now: status,
        };
        Ok(Self {
            devices: found.into_iter().map(device).collect(),
            all: names.is_empty(),
        })
    }

    pub(crate) fn devices(&self) -> &[Device] {
        &self.devices
    }

    /// Looks again. Devices that have stopped are no longer shown, those that have started are if
    /// none were named.
    ///
    /// # Errors
    /// All have stopped.
    pub(crate) fn take(&mut self) -> Result<(), String> {
        self.devices.retain_mut(Device::take);
        if self.all {
            // Notes have no place on the screen.
            let (found, _) = devices()?;
            for (status, client) in found {
                if self
                    .devices
                    .iter()
                    .all(|known| known.now.name != status.name)
                {
                    self.devices.push(Device {
                        client: Some(client),
                        before: status.clone(),
                        now: status,
                    });
                }
            }
        }
        match self.devices.is_empty() {
            true => Err("the devices have stopped".to_owned()),
            false => Ok(()),
        }
    }

    #[cfg(test)]
    pub(crate) fn of(pairs: Vec<(Status, Status)>) -> Self {
        let device = |(before, now)| Device {
            client: None,
            before,
            now,
        };
        Self {
            devices: pairs.into_iter().map(device).collect(),
            all: false,
        }
    }
}

impl Device {
    /// False when it has stopped.
    fn take(&mut self) -> bool {
        let Some(Ok(status)) = self.client.as_mut().map(Client::status) else {
            return false;
        };
        self.before = std::mem::replace(&mut self.now, status);
        true
    }

    /// Time between the two.
    pub(crate) fn time(&self) -> Duration {
        Duration::from_nanos(self.now.uptime_ns.saturating_sub(self.before.uptime_ns))
    }

    /// What had become of cold pages at the first.
    pub(crate) fn tiers_before(&self) -> &Tiers {
        &self.before.tiers
    }

    /// Requests between the two, a kind after the other.
    pub(crate) fn requests(&self) -> Vec<Requests> {
        let none = Requests::default();
        let requests = self.now.requests.iter().map(|now| {
            let before = &self.before.requests;
            let before = before.iter().find(|before| before.kind == now.kind);
            now.since(before.unwrap_or(&none))
        });
        requests.collect()
    }

    /// Of a number between the two, for a second.
    pub(crate) fn rate(&self, count: u64) -> u64 {
        match self.time().as_secs_f64() {
            seconds if seconds > 0.0 => (count as f64 / seconds).round() as u64,
            _ => 0,
        }
    }
}
