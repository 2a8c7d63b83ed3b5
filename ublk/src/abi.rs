//! Numbers and layouts of the driver's interface (`linux/ublk_cmd.h`).
//!
//! Structures are built as bytes, little field by little field: they are few, and none is read
//! back but the descriptor.

/// `_IOC(direction, 'u', number, size)`: how commands are numbered from Linux 6.4 on.
const fn ioctl(direction: u32, number: u8, size: usize) -> u32 {
    direction << 30 | (size as u32) << 16 | (b'u' as u32) << 8 | number as u32
}

const READ: u32 = 2;
const READ_WRITE: u32 = 3;

/// Bytes of `ublksrv_ctrl_cmd`.
const CTRL_CMD_LEN: usize = 32;
/// Bytes of `ublksrv_io_cmd`.
const IO_CMD_LEN: usize = 16;
/// Bytes of `ublksrv_ctrl_dev_info`.
pub(crate) const DEV_INFO_LEN: usize = 64;
/// Bytes of `ublk_params`, the parts that newer kernels added left out.
pub(crate) const PARAMS_LEN: usize = 112;
/// Bytes of `ublksrv_io_desc`.
pub(crate) const DESCRIPTOR_LEN: usize = 24;
/// The descriptors of a queue lie this many times its number behind those of the first.
pub(crate) const QUEUE_DEPTH_MAX: usize = 4096;

pub(crate) const GET_DEV_INFO: u32 = ioctl(READ, 0x02, CTRL_CMD_LEN);
pub(crate) const ADD_DEV: u32 = ioctl(READ_WRITE, 0x04, CTRL_CMD_LEN);
pub(crate) const DEL_DEV: u32 = ioctl(READ_WRITE, 0x05, CTRL_CMD_LEN);
pub(crate) const START_DEV: u32 = ioctl(READ_WRITE, 0x06, CTRL_CMD_LEN);
pub(crate) const STOP_DEV: u32 = ioctl(READ_WRITE, 0x07, CTRL_CMD_LEN);
pub(crate) const SET_PARAMS: u32 = ioctl(READ_WRITE, 0x08, CTRL_CMD_LEN);
pub(crate) const START_USER_RECOVERY: u32 = ioctl(READ_WRITE, 0x10, CTRL_CMD_LEN);
pub(crate) const END_USER_RECOVERY: u32 = ioctl(READ_WRITE, 0x11, CTRL_CMD_LEN);

const FETCH_REQ: u32 = ioctl(READ_WRITE, 0x20, IO_CMD_LEN);
const COMMIT_AND_FETCH_REQ: u32 = ioctl(READ_WRITE, 0x21, IO_CMD_LEN);

/// A command as kernels before 6.4 number it.
pub(crate) const fn plain(command: u32) -> u32 {
    command & 0xff
}

/// Keep the block device when the server dies.
pub(crate) const F_USER_RECOVERY: u64 = 1 << 3;
/// And fail its requests instead of letting them wait (newer kernels; older ones ignore it).
pub(crate) const F_USER_RECOVERY_FAIL_IO: u64 = 1 << 9;

const PARAM_TYPE_BASIC: u32 = 1;
const PARAM_TYPE_DISCARD: u32 = 2;
const ATTR_READ_ONLY: u32 = 1;

/// What a request asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Operation {
    Read,
    Write,
    Flush,
    Discard,
    WriteZeroes,
    /// Of zoned devices, or newer than this.
    Unknown,
}

/// `ublksrv_io_desc`.
///
/// ```text
///   0        4            8              16        24
///   │ op_flags │ nr_sectors │ start_sector │ address │
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Descriptor {
    pub(crate) operation: Operation,
    /// Sectors of 512 bytes.
    pub(crate) sectors: u32,
    pub(crate) start_sector: u64,
}

impl Descriptor {
    pub(crate) const fn new(op_flags: u32, sectors: u32, start_sector: u64) -> Self {
        let operation = match op_flags & 0xff {
            0 => Operation::Read,
            1 => Operation::Write,
            2 => Operation::Flush,
            3 => Operation::Discard,
            5 => Operation::WriteZeroes,
            _ => Operation::Unknown,
        };
        Self {
            operation,
            sectors,
            start_sector,
        }
    }
}

/// Fields, one after the other.
struct Fields<const N: usize> {
    bytes: [u8; N],
    at: usize,
}

impl<const N: usize> Fields<N> {
    const fn new() -> Self {
        let bytes = [0; N];
        Self { bytes, at: 0 }
    }

    fn put(mut self, field: &[u8]) -> Self {
        let end = self.at + field.len();
        if let Some(room) = self.bytes.get_mut(self.at..end) {
            room.copy_from_slice(field);
        }
        self.at = end;
        self
    }

    fn u8(self, value: u8) -> Self {
        self.put(&[value])
    }

    fn u16(self, value: u16) -> Self {
        self.put(&value.to_ne_bytes())
    }

    fn u32(self, value: u32) -> Self {
        self.put(&value.to_ne_bytes())
    }

    fn u64(self, value: u64) -> Self {
        self.put(&value.to_ne_bytes())
    }
}

/// `ublksrv_ctrl_cmd`: a command to a device, with a buffer or a number.
pub(crate) fn ctrl_cmd(device: u32, buffer: (u64, u16), data: u64) -> [u8; 80] {
    let (address, len) = buffer;
    // Queue: none.
    let fields = Fields::<80>::new().u32(device).u16(u16::MAX).u16(len);
    fields.u64(address).u64(data).bytes
}

/// `ublksrv_ctrl_dev_info`.
pub(crate) fn dev_info(
    queues: u16,
    depth: u16,
    buffer_bytes: u32,
    flags: u64,
) -> [u8; DEV_INFO_LEN] {
    let fields = Fields::<DEV_INFO_LEN>::new().u16(queues).u16(depth);
    // State, which the driver knows better, and padding.
    let fields = fields.u16(0).u16(0).u32(buffer_bytes);
    // Any number that is free; the process is named at the start.
    fields.u32(u32::MAX).u32(0).u32(0).u64(flags).bytes
}

/// The number that the driver has chosen for a device.
pub(crate) fn dev_info_id(info: &[u8; DEV_INFO_LEN]) -> u32 {
    u32::from_ne_bytes([info[12], info[13], info[14], info[15]])
}

/// Queues, depth and bytes of a buffer of a device that is there.
pub(crate) fn dev_info_shape(info: &[u8; DEV_INFO_LEN]) -> (u16, u16, u32) {
    let u16_at = |at: usize| u16::from_ne_bytes([info[at], info[at + 1]]);
    let bytes = u32::from_ne_bytes([info[8], info[9], info[10], info[11]]);
    (u16_at(0), u16_at(2), bytes)
}

/// `ublk_params`: size and block sizes, discards.
pub(crate) fn params(
    size: u64,
    block_size: u32,
    io_bytes: u32,
    read_only: bool,
) -> [u8; PARAMS_LEN] {
    const PAGE_SHIFT: u8 = 12;
    let shift = block_size.trailing_zeros() as u8;
    let attributes = if read_only { ATTR_READ_ONLY } else { 0 };
    let header = Fields::<PARAMS_LEN>::new()
        .u32(PARAMS_LEN as u32)
        .u32(PARAM_TYPE_BASIC | PARAM_TYPE_DISCARD);
    // Logical, physical, optimal and smallest block.
    let basic = header
        .u32(attributes)
        .u8(shift)
        .u8(PAGE_SHIFT)
        .u8(PAGE_SHIFT)
        .u8(PAGE_SHIFT);
    // No chunks, no boundary that segments must not cross.
    let basic = basic.u32(io_bytes >> 9).u32(0).u64(size >> 9).u64(0);
    // Alignment, granularity, the most sectors of a discard and of a write of zeroes, segments.
    let most = u32::MAX >> 9;
    basic
        .u32(0)
        .u32(4096)
        .u32(most)
        .u32(most)
        .u16(1)
        .u16(0)
        .bytes
}

/// `ublksrv_io_cmd`: what goes to the driver for a tag.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum IoCommand {
    /// The first request, please.
    Fetch,
    /// The answer to the last request, bytes or a negative error number, and the next, please.
    CommitAndFetch(i32),
}

impl IoCommand {
    pub(crate) const fn opcode(self) -> u32 {
        match self {
            Self::Fetch => FETCH_REQ,
            Self::CommitAndFetch(_) => COMMIT_AND_FETCH_REQ,
        }
    }

    pub(crate) fn bytes(self, queue: u16, tag: u16, address: u64) -> [u8; IO_CMD_LEN] {
        let result = match self {
            Self::Fetch => -1,
            Self::CommitAndFetch(result) => result,
        };
        let fields = Fields::<IO_CMD_LEN>::new().u16(queue).u16(tag);
        fields.u32(result.cast_unsigned()).u64(address).bytes
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn commands_have_the_numbers_of_the_header() {
        // As a C program that includes `linux/ublk_cmd.h` prints them.
        assert_eq!(ADD_DEV, 0xc020_7504);
        assert_eq!(GET_DEV_INFO, 0x8020_7502);
        assert_eq!(START_USER_RECOVERY, 0xc020_7510);
        assert_eq!(FETCH_REQ, 0xc010_7520);
        assert_eq!(plain(COMMIT_AND_FETCH_REQ), 0x21);
    }

    #[test]
    fn structures_have_their_fields_in_place() {
        let command = ctrl_cmd(3, (0x1122, 64), 77);
        assert_eq!(command[0..4], 3u32.to_ne_bytes());
        assert_eq!(command[4..8], [0xff, 0xff, 64, 0]);
        assert_eq!(command[8..16], 0x1122u64.to_ne_bytes());
        assert_eq!(command[16..24], 77u64.to_ne_bytes());
        assert_eq!(command[24..], [0; 56]);

        let info = dev_info(2, 64, 65536, 8);
        assert_eq!(dev_info_shape(&info), (2, 64, 65536));
        assert_eq!(dev_info_id(&info), u32::MAX);
        assert_eq!(info[24..32], 8u64.to_ne_bytes());

        let params = params(1 << 30, 512, 65536, true);
        assert_eq!(params[0..8], [112, 0, 0, 0, 3, 0, 0, 0]);
        assert_eq!(params[8..16], [1, 0, 0, 0, 9, 12, 12, 12]);
        assert_eq!(params[16..20], 128u32.to_ne_bytes());
        assert_eq!(params[24..32], (1u64 << 21).to_ne_bytes());
        assert_eq!(params[44..48], 4096u32.to_ne_bytes());
        assert_eq!(params[56..60], [1, 0, 0, 0]);

        let commit = IoCommand::CommitAndFetch(-28).bytes(1, 5, 9);
        assert_eq!(commit[0..4], [1, 0, 5, 0]);
        assert_eq!(commit[4..8], (-28i32).to_ne_bytes());
        assert_eq!(commit[8..], 9u64.to_ne_bytes());
    }
}
