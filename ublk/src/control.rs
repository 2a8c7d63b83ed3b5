//! [`Control`]: making, starting, stopping and deleting devices.

#![allow(unsafe_code)]

use crate::abi;
use core::fmt;
use io_uring::{IoUring, cqueue, opcode, squeue, types};
use rustix::fs::{Mode, OFlags, open};
use std::io;
use std::os::fd::{AsRawFd, OwnedFd};
use std::path::{Path, PathBuf};
use std::time::Duration;

/// Where commands go.
pub const CONTROL: &str = "/dev/ublk-control";
/// A command waits for requests that are under way, and those for nothing; a driver that does not
/// answer within this never will.
const COMMAND_TIME: Duration = Duration::from_secs(60);
const EINVAL: i32 = 22;
const EOPNOTSUPP: i32 = 95;

/// Why a device cannot be made or taken down.
#[derive(Debug)]
#[non_exhaustive]
pub enum UblkError {
    /// `/dev/ublk-control` cannot be used.
    Control(io::Error),
    /// The driver refuses a command.
    Command {
        /// Which, in the words of its documentation.
        command: &'static str,
        /// Why.
        error: io::Error,
    },
    /// A queue cannot be served.
    Queue(io::Error),
    /// Something uses the device: a swap area, a mount. It is still served.
    InUse {
        /// Which.
        device: PathBuf,
    },
}

impl fmt::Display for UblkError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Control(error) => write!(f, "{CONTROL}: {error}"),
            Self::Command { command, error } => write!(f, "ublk: {command}: {error}"),
            Self::Queue(error) => write!(f, "ublk: a queue cannot be served: {error}"),
            Self::InUse { device } => write!(f, "{} is in use", device.display()),
        }
    }
}

impl core::error::Error for UblkError {
    fn source(&self) -> Option<&(dyn core::error::Error + 'static)> {
        match self {
            Self::Control(error) | Self::Command { error, .. } | Self::Queue(error) => Some(error),
            Self::InUse { .. } => None,
        }
    }
}

/// Whether this kernel has the driver, and this user may use it.
#[must_use]
pub fn is_available() -> bool {
    open(CONTROL, OFlags::RDWR | OFlags::CLOEXEC, Mode::empty()).is_ok()
}

/// The control device, and the ring that its commands go through.
pub(crate) struct Control {
    ring: IoUring<squeue::Entry128, cqueue::Entry>,
    file: OwnedFd,
    /// Commands so far; the number of each is that of its answer.
    commands: u64,
}

impl Control {
    pub(crate) fn open() -> Result<Self, UblkError> {
        let file = open(CONTROL, OFlags::RDWR | OFlags::CLOEXEC, Mode::empty())
            .map_err(|error| UblkError::Control(error.into()))?;
        let ring = IoUring::builder().build(4).map_err(UblkError::Control)?;
        Ok(Self {
            ring,
            file,
            commands: 0,
        })
    }

    /// Makes a device; its number.
    pub(crate) fn add(&mut self, info: &mut [u8; abi::DEV_INFO_LEN]) -> Result<u32, UblkError> {
        self.call("ADD_DEV", abi::ADD_DEV, u32::MAX, Some(info), 0)?;
        Ok(abi::dev_info_id(info))
    }

    pub(crate) fn info(&mut self, device: u32) -> Result<[u8; abi::DEV_INFO_LEN], UblkError> {
        let mut info = [0; abi::DEV_INFO_LEN];
        self.call(
            "GET_DEV_INFO",
            abi::GET_DEV_INFO,
            device,
            Some(&mut info),
            0,
        )?;
        Ok(info)
    }

    pub(crate) fn set_params(
        &mut self,
        device: u32,
        params: &mut [u8; abi::PARAMS_LEN],
    ) -> Result<(), UblkError> {
        self.call("SET_PARAMS", abi::SET_PARAMS, device, Some(params), 0)
    }

    /// Waits until all queues fetch, then shows the block device.
    pub(crate) fn start(&mut self, device: u32) -> Result<(), UblkError> {
        let pid = u64::from(std::process::id());
        self.call("START_DEV", abi::START_DEV, device, None, pid)
    }

    pub(crate) fn start_recovery(&mut self, device: u32) -> Result<(), UblkError> {
        self.call(
            "START_USER_RECOVERY",
            abi::START_USER_RECOVERY,
            device,
            None,
            0,
        )
    }

    /// As [`start`](Self::start), for a device that another process has started.
    pub(crate) fn end_recovery(&mut self, device: u32) -> Result<(), UblkError> {
        let pid = u64::from(std::process::id());
        self.call(
            "END_USER_RECOVERY",
            abi::END_USER_RECOVERY,
            device,
            None,
            pid,
        )
    }

    /// Takes the block device away; queues get their tags back.
    pub(crate) fn stop(&mut self, device: u32) -> Result<(), UblkError> {
        self.call("STOP_DEV", abi::STOP_DEV, device, None, 0)
    }

    /// Waits until nobody has the queues open, then forgets the device.
    pub(crate) fn delete(&mut self, device: u32) -> Result<(), UblkError> {
        self.call("DEL_DEV", abi::DEL_DEV, device, None, 0)
    }

    fn call(
        &mut self,
        name: &'static str,
        command: u32,
        device: u32,
        mut buffer: Option<&mut [u8]>,
        data: u64,
    ) -> Result<(), UblkError> {
        let failed = |error| UblkError::Command {
            command: name,
            error,
        };
        let mut answer = self.command(command, device, buffer.as_deref_mut(), data);
        // Before Linux 6.4 commands had plain numbers, and these were none.
        if let Ok(code) = answer
            && (code == -EINVAL || code == -EOPNOTSUPP)
        {
            answer = self.command(abi::plain(command), device, buffer, data);
        }
        match answer.map_err(failed)? {
            code if code < 0 => Err(failed(io::Error::from_raw_os_error(-code))),
            _ => Ok(()),
        }
    }

    /// The driver's answer to one command.
    fn command(
        &mut self,
        command: u32,
        device: u32,
        buffer: Option<&mut [u8]>,
        data: u64,
    ) -> io::Result<i32> {
        let (address, len) = match buffer {
            Some(bytes) => (bytes.as_mut_ptr().addr() as u64, bytes.len() as u16),
            None => (0, 0),
        };
        self.commands += 1;
        let entry = opcode::UringCmd80::new(types::Fd(self.file.as_raw_fd()), command)
            .cmd(abi::ctrl_cmd(device, (address, len), data))
            .build()
            .user_data(self.commands);
        // SAFETY: (1) the file is open as long as the ring; (2) the driver reads and writes `len`
        // bytes at `address` only, which `buffer` borrows for this call, and does so before it
        // waits for anything: if the wait below ends early, the buffer is not touched any more.
        unsafe { self.ring.submission().push(&entry) }
            .map_err(|_| io::Error::from(io::ErrorKind::WouldBlock))?;
        let time = types::Timespec::from(COMMAND_TIME);
        let wait = types::SubmitArgs::new().timespec(&time);
        loop {
            match self.ring.submitter().submit_with_args(1, &wait) {
                Ok(_) => {}
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
            // Answers to commands that were given up come late, or never.
            for done in self.ring.completion() {
                if done.user_data() == self.commands {
                    return Ok(done.result());
                }
            }
        }
    }
}

/// `/dev/ublkbN`.
pub(crate) fn block_path(device: u32) -> PathBuf {
    PathBuf::from(format!("/dev/ublkb{device}"))
}

/// `/dev/ublkcN`.
pub(crate) fn queue_path(device: u32) -> PathBuf {
    PathBuf::from(format!("/dev/ublkc{device}"))
}

/// The number in `/dev/ublkbN`.
pub(crate) fn number_of(path: &Path) -> Option<u32> {
    path.to_str()?.strip_prefix("/dev/ublkb")?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_have_numbers() {
        assert_eq!(number_of(&block_path(7)), Some(7));
        for other in ["/dev/ublkc7", "/dev/ublkb", "/dev/ublkb7p1", "/dev/loop7"] {
            assert_eq!(number_of(Path::new(other)), None);
        }
        assert_eq!(queue_path(0), Path::new("/dev/ublkc0"));
    }
}
