//! A connection beside a vector of bytes, and every way to be refused.

use super::*;
use crate::probe::{Answer, Ask, Client, Loopback, context_data, info_data, option_bytes};
use crate::wire::{option, option_reply};
use compcache_device::{Config, Device};
use std::io::{Read, Write};

const SIZE: u64 = 4 << 20;
const ENOSPC: u32 = 28;
const EINVAL: u32 = 22;
const EPERM: u32 = 1;

fn device() -> Arc<Device> {
    Arc::new(Device::new(Config::new(SIZE)).unwrap())
}

fn loopback(device: &Arc<Device>, read_only: bool) -> Loopback {
    let export = Arc::new(Export::new("disk", read_only).unwrap());
    let device = Arc::clone(device) as Arc<dyn BlockDevice>;
    let connection = Connection::with_buffers(device, export, 64 << 10);
    Loopback::new(connection, 64 << 10)
}

fn client(device: &Arc<Device>, structured: bool) -> Client<Loopback> {
    Client::connect(loopback(device, false), "disk", structured).unwrap()
}

fn ask(command: u16, flags: u16, offset: u64, len: u32) -> Ask {
    Ask {
        command,
        flags,
        offset,
        len,
    }
}

fn text(len: usize) -> Vec<u8> {
    (0..len as u32).map(|n| (n / 5 * 7) as u8).collect()
}

#[test]
fn what_is_written_is_read_in_all_sizes() {
    for structured in [false, true] {
        for chunk in [usize::MAX, 1000, 37] {
            let device = device();
            let mut client = client(&device, structured);
            client.stream.chunk = chunk;
            // In the buffers, just in them, not in them any more.
            for len in [512, 4096, 65_536 - 512, 65_536, 70_144, 1 << 20] {
                let data = text(len);
                for offset in [0, 512, 8192] {
                    let write = ask(command::WRITE, command_flag::FUA, offset, len as u32);
                    assert_eq!(client.call(write, &data).unwrap().error, 0);
                    let read = ask(command::READ, 0, offset, len as u32);
                    let answer = client.call(read, &[]).unwrap();
                    assert!(answer.error == 0 && answer.data == data);
                }
            }
            let whole = ask(command::READ, command_flag::DF, 0, 1 << 20);
            assert_eq!(client.call(whole, &[]).unwrap().data.len(), 1 << 20);
        }
    }
}

#[test]
fn pipelined_requests_are_all_answered() {
    let device = device();
    let mut client = client(&device, true);
    let reads: Vec<Ask> = (0..600)
        .map(|n| ask(command::READ, 0, n % 64 * 4096, 4096))
        .collect();
    for (cookie, &read) in reads.iter().enumerate() {
        client.send(read, cookie as u64, &[]).unwrap();
    }
    for (cookie, &read) in reads.iter().enumerate() {
        let answer = client.answer(read).unwrap();
        assert_eq!((answer.cookie, answer.error), (cookie as u64, 0));
    }
}

#[test]
fn refusals_leave_the_connection_usable() {
    for structured in [false, true] {
        let device = device();
        let mut client = client(&device, structured);
        let data = text(512);
        for (request, data, error) in [
            (ask(command::READ, 0, SIZE, 512), &[][..], EINVAL),
            (ask(command::READ, 0, 100, 512), &[], EINVAL),
            (ask(command::READ, 0, 0, u32::MAX - 511), &[], EINVAL),
            (ask(command::READ, 1 << 9, 0, 512), &[], EINVAL),
            (ask(command::WRITE, 0, SIZE, 512), &data, ENOSPC),
            (ask(command::WRITE, 0, SIZE - 512, 512), &data, 0),
            (ask(command::TRIM, 0, SIZE, 4096), &[], EINVAL),
            (
                ask(command::WRITE_ZEROES, 0, 0, u32::MAX - 511),
                &[],
                ENOSPC,
            ),
            (ask(command::CACHE, 0, 0, 4096), &[], 0),
            (ask(command::READ, 0, 0, 0), &[], 0),
            (ask(command::WRITE, 0, 0, 0), &[], 0),
            (ask(command::TRIM, 0, SIZE, 0), &[], 0),
            (ask(command::WRITE_ZEROES, 0, 0, 0), &[], 0),
            (ask(command::FLUSH, 0, 0, 0), &[], 0),
            (ask(command::BLOCK_STATUS, 0, 0, 0), &[], EINVAL),
            (ask(200, 0, 0, 0), &[], EINVAL),
        ] {
            let answer = client.call(request, data).unwrap();
            assert_eq!(answer.error, error, "{request:?}");
        }
    }
}

#[test]
fn a_write_that_is_too_large_is_read_over() {
    let device = device();
    let mut client = client(&device, false);
    let len = crate::DATA_MAX + 512;
    let write = ask(command::WRITE, 0, 0, len);
    client.send(write, 1, &[]).unwrap();
    for _ in 0..len / 512 {
        client.stream.write_all(&[0xaa; 512]).unwrap();
    }
    assert_eq!(client.answer(write).unwrap().error, EINVAL);
    let read = client.call(ask(command::READ, 0, 0, 512), &[]).unwrap();
    assert_eq!(read.data, [0; 512]);
}

#[test]
fn at_the_memory_limit_writes_fail_and_reads_go_on() {
    for structured in [false, true] {
        let device = device();
        let mut client = client(&device, structured);
        let mut noise = text(256 << 10);
        let mut state = 1u32;
        noise.iter_mut().for_each(|byte| {
            state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            *byte = (state >> 24) as u8;
        });
        device.set_mem_limit(64 << 10);
        let small = ask(command::WRITE, 0, 0, 8192);
        assert_eq!(client.call(small, &noise[..8192]).unwrap().error, 0);
        // In pieces, of which a later one fails.
        let large = ask(command::WRITE, 0, 1 << 20, 256 << 10);
        assert_eq!(client.call(large, &noise).unwrap().error, ENOSPC);
        let read = client.call(ask(command::READ, 0, 0, 8192), &[]).unwrap();
        assert!(read.data == noise[..8192]);
    }
}

#[test]
fn extents_are_told() {
    let device = device();
    let mut client = client(&device, true);
    client
        .call(ask(command::WRITE, 0, 8192, 4096), &text(4096))
        .unwrap();
    client
        .call(
            ask(command::WRITE_ZEROES, command_flag::NO_HOLE, 16_384, 4096),
            &[],
        )
        .unwrap();
    let status = |flags, client: &mut Client<Loopback>| {
        let request = ask(command::BLOCK_STATUS, flags, 0, 65_536);
        client.call(request, &[]).unwrap().extents
    };
    let expected = [(8192, 3), (4096, 0), (4096, 3), (4096, 0), (45_056, 3)];
    assert_eq!(status(0, &mut client), expected);
    assert_eq!(status(command_flag::REQ_ONE, &mut client), expected[..1]);
    client.call(ask(command::TRIM, 0, 0, 65_536), &[]).unwrap();
    assert_eq!(status(0, &mut client), [(65_536, 3)]);
    // More extents than a reply has room for: fewer are told.
    for page in (0..600).step_by(2) {
        let write = ask(command::WRITE, 0, page * 4096, 512);
        client.call(write, &text(512)).unwrap();
    }
    let request = ask(command::BLOCK_STATUS, 0, 0, 1 << 20);
    assert_eq!(
        client.call(request, &[]).unwrap().extents.len(),
        EXTENTS_MAX
    );
}

#[test]
fn a_read_only_export_is_not_written() {
    let device = device();
    let mut client = Client::connect(loopback(&device, true), "", false).unwrap();
    let data = text(4096);
    for (command, data) in [
        (command::WRITE, &data[..]),
        (command::TRIM, &[]),
        (command::WRITE_ZEROES, &[]),
    ] {
        let answer = client.call(ask(command, 0, 0, 4096), data).unwrap();
        assert_eq!(answer.error, EPERM);
    }
    assert_eq!(
        client
            .call(ask(command::READ, 0, 0, 4096), &[])
            .unwrap()
            .error,
        0
    );
}

#[test]
fn options_are_answered_or_refused() {
    let device = device();
    let mut client = Client::greet(loopback(&device, false)).unwrap();
    let last = |client: &mut Client<Loopback>, number, data: &[u8]| {
        client.option(number, data).unwrap().pop().unwrap().kind
    };
    let contexts = context_data("disk", &["base:"]);
    for (number, data, kind) in [
        (option::LIST, &b"x"[..], option_reply::ERR_INVALID),
        (option::INFO, b"", option_reply::ERR_INVALID),
        (
            option::INFO,
            &info_data("other", &[]),
            option_reply::ERR_UNKNOWN,
        ),
        (
            option::GO,
            &info_data("other", &[]),
            option_reply::ERR_UNKNOWN,
        ),
        (option::GO, &[0xff; 40], option_reply::ERR_INVALID),
        (
            option::LIST_META_CONTEXT,
            &contexts,
            option_reply::ERR_INVALID,
        ),
        (option::STRUCTURED_REPLY, b"x", option_reply::ERR_INVALID),
        (5, b"", option_reply::ERR_UNSUP),
        (11, b"", option_reply::ERR_UNSUP),
        (999, &[7; 100], option_reply::ERR_UNSUP),
        (999, &[7; OPTION_MAX + 1], option_reply::ERR_TOO_BIG),
        (option::STRUCTURED_REPLY, b"", option_reply::ACK),
        (option::SET_META_CONTEXT, &[0; 7], option_reply::ERR_INVALID),
        (
            option::SET_META_CONTEXT,
            &context_data("x", &[]),
            option_reply::ERR_UNKNOWN,
        ),
    ] {
        assert_eq!(last(&mut client, number, data), kind, "{number} {data:?}");
    }
    let listed = client.agree(option::LIST, b"").unwrap();
    assert_eq!(listed[0].data, b"\0\0\0\x04disk");
    for (queries, count) in [
        (&["base:"][..], 1),
        (&[], 1),
        (&["qemu:x"], 0),
        (&["base:allocation"; 3], 1),
    ] {
        let data = context_data("disk", queries);
        assert_eq!(
            client
                .agree(option::LIST_META_CONTEXT, &data)
                .unwrap()
                .len(),
            count
        );
    }
    for (queries, count) in [(&["base:"][..], 0), (&[], 0), (&["base:allocation"], 1)] {
        let data = context_data("", queries);
        assert_eq!(
            client.agree(option::SET_META_CONTEXT, &data).unwrap().len(),
            count
        );
    }
    let info = client
        .agree(option::INFO, &info_data("disk", &[1, 2, 3, 77]))
        .unwrap();
    assert_eq!(info.len(), 4);
    assert_eq!(
        info[0].data[..10],
        [&[0, 0][..], &SIZE.to_be_bytes()].concat()
    );
    let sizes = [&[0, 3][..], &[0, 0, 2, 0], &[0, 0, 16, 0], &[2, 0, 0, 0]].concat();
    assert_eq!(info[1].data, sizes);
    client.agree(option::ABORT, b"").unwrap();
    assert!(client.stream.is_closed());
}

#[test]
fn the_old_way_in_works_too() {
    let device = device();
    let mut stream = loopback(&device, false);
    let mut greeting = [0; 18];
    stream.read_exact(&mut greeting).unwrap();
    // Without NO_ZEROES: 124 of them follow.
    stream.write_all(&1u32.to_be_bytes()).unwrap();
    stream
        .write_all(&option_bytes(option::EXPORT_NAME, b"disk"))
        .unwrap();
    let mut reply = [0xff; 134];
    stream.read_exact(&mut reply).unwrap();
    assert_eq!(reply[..8], SIZE.to_be_bytes());
    assert!(reply[10..].iter().all(|&byte| byte == 0));

    let mut client = Client::greet(loopback(&device, false)).unwrap();
    let option = option_bytes(option::EXPORT_NAME, b"other");
    client.stream.write_all(&option).unwrap();
    assert!(client.stream.is_closed());
}

#[test]
fn garbage_closes_at_every_stage() {
    let device = device();
    let garbage = [0x5a; 64];
    let mut stream = loopback(&device, false);
    let _ = stream.write_all(&garbage);
    assert!(stream.is_closed());
    let mut greeted = Client::greet(loopback(&device, false)).unwrap();
    let _ = greeted.stream.write_all(&garbage);
    assert!(greeted.stream.is_closed());
    let mut connected = client(&device, true);
    let _ = connected.stream.write_all(&garbage);
    assert!(connected.stream.is_closed());
}

#[test]
fn a_handshake_ends_some_day() {
    let device = device();
    let mut many = Client::greet(loopback(&device, false)).unwrap();
    for _ in 0..256 {
        many.option(999, b"").unwrap();
    }
    assert!(many.option(999, b"").is_err() && many.stream.is_closed());
    let mut large = Client::greet(loopback(&device, false)).unwrap();
    let mut header = option_bytes(999, b"");
    header[12..].copy_from_slice(&u32::MAX.to_be_bytes());
    let _ = large.stream.write_all(&header);
    assert!(large.stream.is_closed());
}

#[test]
fn disc_closes_after_everything_before_it() {
    let device = device();
    let mut client = client(&device, false);
    let read = ask(command::READ, 0, 0, 512);
    client.send(read, 3, &[]).unwrap();
    client.send(ask(command::DISC, 0, 0, 0), 4, &[]).unwrap();
    let expected = Answer {
        cookie: 3,
        data: vec![0; 512],
        ..Answer::default()
    };
    assert_eq!(client.answer(read).unwrap(), expected);
    assert!(client.stream.is_closed());
}

#[test]
fn a_damaged_page_is_an_error_or_the_end() {
    /// A device whose second half cannot be read.
    struct Damaged(Device);

    impl BlockDevice for Damaged {
        fn size(&self) -> u64 {
            self.0.size()
        }
        fn read(&self, offset: u64, out: &mut [u8]) -> Result<(), Error> {
            match offset + out.len() as u64 > SIZE / 2 {
                true => Err(Error::Corrupt { offset: SIZE / 2 }),
                false => self.0.read(offset, out),
            }
        }
        fn write(&self, offset: u64, bytes: &[u8]) -> Result<(), Error> {
            self.0.write(offset, bytes)
        }
        fn discard(&self, offset: u64, len: u64) -> Result<(), Error> {
            self.0.discard(offset, len)
        }
        fn write_zeroes(&self, offset: u64, len: u64) -> Result<(), Error> {
            self.0.write_zeroes(offset, len)
        }
        fn flush(&self) -> Result<(), Error> {
            self.0.flush()
        }
        fn extent(&self, offset: u64, len: u64) -> Result<Extent, Error> {
            self.0.extent(offset, len)
        }
    }

    const EIO: u32 = 5;
    let half = SIZE / 2;
    for structured in [false, true] {
        let device = Arc::new(Damaged(Device::new(Config::new(SIZE)).unwrap()));
        let export = Arc::new(Export::new("", false).unwrap());
        let connection = Connection::with_buffers(device, export, 64 << 10);
        let stream = Loopback::new(connection, 64 << 10);
        let mut client = Client::connect(stream, "", structured).unwrap();
        let small = ask(command::READ, 0, half - 512, 1024);
        assert_eq!(client.call(small, &[]).unwrap().error, EIO);
        assert_eq!(
            client
                .call(ask(command::READ, 0, 0, 512), &[])
                .unwrap()
                .error,
            0
        );
        // The header of a simple reply has gone out before the damage is found.
        let large = client.call(ask(command::READ, 0, half - (1 << 20), 2 << 20), &[]);
        match structured {
            true => assert_eq!(large.unwrap().error, EIO),
            false => assert!(large.is_err() && client.stream.is_closed()),
        }
    }
}
