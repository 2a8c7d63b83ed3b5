//! An NBD server with nothing behind it: reads change no byte, writes are thrown away. What a client
//! reaches here is the most it can reach of any device behind this server: `bench/nbd.sh` measures it.
//!
//!     cargo run --release -p compcache-nbd --example nothing -- unix:PATH MIB

use compcache_device::{Error, Extent, ExtentKind, check_range};
use compcache_nbd::{BlockDevice, Config, Export, Server};
use std::sync::Arc;

/// A device of so many bytes that keeps none of them.
struct Nothing(u64);

impl Nothing {
    fn check(&self, offset: u64, len: u64) -> Result<(), Error> {
        check_range(offset, len, self.0)
    }
}

impl BlockDevice for Nothing {
    fn size(&self) -> u64 {
        self.0
    }

    fn read(&self, offset: u64, out: &mut [u8]) -> Result<(), Error> {
        self.check(offset, out.len() as u64)
    }

    fn write(&self, offset: u64, bytes: &[u8]) -> Result<(), Error> {
        self.check(offset, bytes.len() as u64)
    }

    fn discard(&self, offset: u64, len: u64) -> Result<(), Error> {
        self.check(offset, len)
    }

    fn write_zeroes(&self, offset: u64, len: u64) -> Result<(), Error> {
        self.check(offset, len)
    }

    fn flush(&self) -> Result<(), Error> {
        Ok(())
    }

    fn extent(&self, offset: u64, len: u64) -> Result<Extent, Error> {
        self.check(offset, len)?;
        let kind = ExtentKind::Hole;
        Ok(Extent { len, kind })
    }
}

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let mut arguments = std::env::args().skip(1);
    let (Some(address), Some(mib)) = (arguments.next(), arguments.next()) else {
        return Err("usage: nothing unix:PATH|tcp:HOST:PORT MIB".into());
    };
    let size = mib.parse::<u32>().map(|mib| u64::from(mib) << 20)?;
    let config = Config::new(vec![address.parse()?], Export::new("", false)?);
    let _server = Server::start(Arc::new(Nothing(size)), config)?;
    // Until it is killed.
    loop {
        std::thread::park();
    }
}
