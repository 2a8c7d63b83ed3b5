//! [`Lost`]: what stands for a device whose server was killed.

use compcache_device::{BlockDevice, Error, Extent, ExtentKind, check_range};

/// Fails every read and write, so that nobody takes zeroes for what was there.
#[derive(Debug)]
pub(crate) struct Lost;

impl BlockDevice for Lost {
    fn size(&self) -> u64 {
        u64::MAX
    }

    fn read(&self, offset: u64, _: &mut [u8]) -> Result<(), Error> {
        Err(Error::Corrupt { offset })
    }

    fn write(&self, offset: u64, _: &[u8]) -> Result<(), Error> {
        Err(Error::Corrupt { offset })
    }

    fn discard(&self, _: u64, _: u64) -> Result<(), Error> {
        Ok(())
    }

    fn write_zeroes(&self, offset: u64, _: u64) -> Result<(), Error> {
        Err(Error::Corrupt { offset })
    }

    fn flush(&self) -> Result<(), Error> {
        Ok(())
    }

    fn extent(&self, offset: u64, len: u64) -> Result<Extent, Error> {
        check_range(offset, len, self.size())?;
        let kind = ExtentKind::Data;
        Ok(Extent { len, kind })
    }
}
