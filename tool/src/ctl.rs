//! `ctl`: running devices in a table, as `zramctl` shows zram's, and their attributes.

mod args;
mod columns;
mod human;
mod json;
mod table;

pub(crate) use args::CtlArgs;

use std::path::Path;

use crate::control::{Client, Status, devices, find};
use crate::output;
use crate::progress::Progress;
use args::Do;
use columns::Column;

/// Shows, reads or sets.
///
/// # Errors
/// One line.
pub(crate) fn run(args: &CtlArgs) -> Result<(), String> {
    let Some(device) = &args.device else {
        let (found, notes) = devices()?;
        notes.iter().for_each(|note| output::note(note));
        let found = found.into_iter().map(|(status, _)| status);
        return show(args, &found.collect::<Vec<_>>());
    };
    let mut client = Client::connect(&find(device)?)?;
    match &args.what {
        None => show(args, &[client.status()?]),
        Some(Do::Read(attribute)) => {
            let name = attribute.to_string();
            let text = client.get(&name)?;
            output::print(&match args.json {
                true => json::attribute(&name, &text)?,
                false => text,
            })
        }
        Some(Do::Set(attribute, value)) => {
            let name = attribute.to_string();
            let bar = Progress::new();
            let done = client.set(&name, value, |at| match at.of {
                0 => bar.say(&format!("{name}: {} so far", at.done), 0.0),
                of => bar.say(&name, at.done as f64 / of as f64),
            });
            drop(bar);
            let text = done?;
            output::print(&match args.json {
                true => json::attribute(&name, &text)?,
                false => text,
            })
        }
    }
}

fn show(args: &CtlArgs, devices: &[Status]) -> Result<(), String> {
    let columns = args.columns();
    let mounts = Mounts::read();
    if args.json {
        return output::print(&table::json(&columns, devices, &mounts)?);
    }
    let rows: Vec<Vec<String>> = devices
        .iter()
        .map(|status| {
            let cell = |column: &Column| column.text(status, args.bytes, &mounts);
            columns.iter().map(cell).collect()
        })
        .collect();
    output::print(&match (rows.is_empty(), args.raw) {
        // As zramctl, which says nothing where there is nothing.
        (true, _) => String::new(),
        (_, true) => table::raw(&columns, &rows, !args.noheadings),
        (_, false) => table::aligned(&columns, &rows, !args.noheadings),
    })
}

/// Where block devices are mounted, or `[SWAP]`, as this process sees it.
#[derive(Default)]
pub(crate) struct Mounts(Vec<(String, String)>);

impl Mounts {
    fn read() -> Self {
        let text = |path: &str| std::fs::read_to_string(Path::new(path)).unwrap_or_default();
        Self::parse(&text("/proc/self/mounts"), &text("/proc/swaps"))
    }

    fn parse(mounts: &str, swaps: &str) -> Self {
        let swaps = swaps.lines().skip(1).filter_map(|line| {
            let device = line.split_whitespace().next()?;
            Some((device.to_owned(), "[SWAP]".to_owned()))
        });
        let mounts = mounts.lines().filter_map(|line| {
            let mut fields = line.split(' ');
            Some((fields.next()?.to_owned(), fields.next()?.to_owned()))
        });
        Self(swaps.chain(mounts).collect())
    }

    /// The place of a device that is reached by one of `places`, such as `ublk /dev/ublkb0`.
    fn of(&self, places: &[String]) -> Option<&str> {
        let mut words = places.iter().flat_map(|place| place.split_whitespace());
        words.find_map(|word| {
            let found = self.0.iter().find(|(device, _)| device == word);
            found.map(|(_, place)| place.as_str())
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn mounts_and_swap_are_found_by_device() {
        let mounts = "/dev/loop0 /mnt/a\\040b ext4 rw 0 0\nproc /proc proc rw 0 0\n";
        let swaps = "Filename\t\t\tType\n/dev/ublkb0          partition\t4\t0\t100\n";
        let mounts = Mounts::parse(mounts, swaps);
        let of = |place: &str| mounts.of(&[place.to_owned()]);
        assert_eq!(of("fuse /x/disk, loop /dev/loop0"), Some("/mnt/a\\040b"));
        assert_eq!(of("ublk /dev/ublkb0"), Some("[SWAP]"));
        assert_eq!(of("nbd unix:/run/x"), None);
    }
}
