//! The line on the terminal while a device is served.

use std::time::Instant;

use compcache_device::{Device, Kind, Latency, Stat};
use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};

use crate::units;

/// Draws nothing unless standard error is a terminal; gone without a trace when dropped.
pub(crate) struct Status {
    bar: ProgressBar,
    last: Stat,
    at: Instant,
}

impl Status {
    pub(crate) fn new(device: &Device) -> Self {
        let bar = ProgressBar::with_draw_target(None, ProgressDrawTarget::stderr());
        if let Ok(style) = ProgressStyle::with_template("{wide_msg}") {
            bar.set_style(style);
        }
        Self {
            bar,
            last: device.stat(),
            at: Instant::now(),
        }
    }

    /// What the device holds, and what was done since the last call.
    pub(crate) fn draw(&mut self, device: &Device, clients: usize) {
        if self.bar.is_hidden() {
            return;
        }
        let (stat, now) = (device.stat(), Instant::now());
        let seconds = now.duration_since(self.at).as_secs_f64();
        self.bar
            .set_message(line(&stat, &self.last, seconds, clients));
        self.bar.tick();
        (self.last, self.at) = (stat, now);
    }
}

impl Drop for Status {
    fn drop(&mut self) {
        self.bar.finish_and_clear();
    }
}

fn line(stat: &Stat, last: &Stat, seconds: f64, clients: usize) -> String {
    let (stored, used) = (stat.mm.orig_data_size, stat.mm.mem_used_total);
    let ratio = match used {
        0 => String::new(),
        _ => format!(" ({:.2}x)", stored as f64 / used as f64),
    };
    let limit = match stat.mm.mem_limit {
        0 => String::new(),
        limit => format!(" of {}", units::bytes(limit)),
    };
    let reads = since(stat, last, Kind::Read);
    let writes = since(stat, last, Kind::Write);
    let a_second = |latency: &Latency| {
        let rate = latency.requests() as f64 / seconds.max(0.001);
        units::grouped(rate.round() as u64)
    };
    let slowest = |latency: &Latency| match latency.requests() {
        0 => String::new(),
        _ => {
            let p99 = units::nanoseconds(latency.quantile_ns(0.99) as f64);
            format!(" (p99 {p99})")
        }
    };
    format!(
        "{} in {}{limit}{ratio}, {clients} {}, {} reads/s{}, {} writes/s{}",
        units::bytes(stored),
        units::bytes(used),
        if clients == 1 { "client" } else { "clients" },
        a_second(&reads),
        slowest(&reads),
        a_second(&writes),
        slowest(&writes),
    )
}

fn since(stat: &Stat, last: &Stat, kind: Kind) -> Latency {
    let of = |stat: &Stat| stat.requests[kind as usize];
    of(stat).since(&of(last))
}

#[cfg(test)]
mod tests {
    use super::*;
    use compcache_device::{BlockDevice, Config};

    #[test]
    fn the_line_says_what_is_stored_and_done() {
        let device = Device::new(Config::new(1 << 20)).unwrap();
        let empty = device.stat();
        assert!(line(&empty, &empty, 1.0, 0).starts_with("0 B in 0 B, 0 clients, 0 reads/s"));
        device.set_mem_limit(1 << 19);
        let page: Vec<u8> = (0..4096u32).map(|n| ((n * n) >> 7) as u8).collect();
        device.write(0, &page).unwrap();
        let text = line(&device.stat(), &empty, 0.5, 1);
        assert!(
            text.starts_with("4.00 KiB in ") || text.starts_with("4 KiB in "),
            "{text}"
        );
        for part in [" of 512 KiB (", "1 client,", "0 reads/s, 2 writes/s (p99 "] {
            assert!(text.contains(part), "{text}");
        }
    }
}
