//! What takes long: recompression, writing back, merging. In parts, between which requests of the
//! device get what they wait for; after each, the one who asked hears how far it is, and can end it by
//! going away.

use std::time::{Duration, Instant};

use compcache_device::{BackingError, BlockDevice, Device, PAGE_SIZE, Recompress, WriteBack};
use compress::Codec;

use super::attribute::{Attribute, invalid};
use super::change::{Change, Recompression, Setting};
use super::protocol::{Failure, FailureKind, Progress};
use super::subject::Subject;

/// How often it is told.
const EVERY: Duration = Duration::from_millis(200);

/// Who hears how far the work is.
pub(crate) struct Report<'a> {
    tell: Option<&'a mut dyn FnMut(Progress) -> bool>,
    last: Instant,
    ended: bool,
}

impl<'a> Report<'a> {
    /// Tells `tell`, which says false when nobody listens any more.
    pub(crate) fn to(tell: &'a mut dyn FnMut(Progress) -> bool) -> Self {
        Self {
            tell: Some(tell),
            last: Instant::now(),
            ended: false,
        }
    }

    /// Nobody.
    pub(crate) fn silent() -> Self {
        Self {
            tell: None,
            last: Instant::now(),
            ended: false,
        }
    }

    /// So much is done of so much, 0 where that is not known. False: end it.
    fn go_on(&mut self, done: u64, of: u64) -> bool {
        if self.last.elapsed() >= EVERY
            && let Some(tell) = &mut self.tell
        {
            self.ended |= !tell(Progress { done, of });
            self.last = Instant::now();
        }
        !self.ended
    }
}

/// Does what has to do with cold pages.
///
/// # Errors
/// Those of [`Attribute::set`], and [`FailureKind::Io`] where the backing store failed.
pub(super) fn do_it(
    attribute: Attribute,
    change: Change,
    subject: &Subject,
    report: &mut Report<'_>,
) -> Result<String, Failure> {
    let device = &*subject.device;
    let wrong = |message: String| invalid(attribute, &message);
    match change {
        Change::Idle(ms) => {
            let age = ms.map(|ms| age_of(ms, device)).transpose().map_err(wrong)?;
            let marked = device.cache().mark_idle(age);
            marked.map_err(|error| failed(attribute, error))?;
        }
        Change::Recompress(how) => return recompress(attribute, &how, device, report),
        Change::WriteBack(what) => return write_back(attribute, &what, device, report),
        Change::Merge => return merge(attribute, device, report),
        Change::WritebackLimit(pages) => {
            let (_, is_limited) = device.writeback_limit();
            device.set_writeback_limit(Some(pages), is_limited);
        }
        Change::WritebackLimitEnable(on) => device.set_writeback_limit(None, on),
        Change::Backing { path, size } => {
            let size = size.unwrap_or_else(|| device.backing_size_max());
            device.set_backing(&path, size).map_err(|error| {
                let kind = match error {
                    BackingError::HasStore => FailureKind::Busy,
                    BackingError::Open(_) => FailureKind::Invalid,
                    _ => FailureKind::Io,
                };
                Failure::new(kind, format!("{attribute}: {}: {error}", path.display()))
            })?;
        }
        Change::RecompAlgorithm { algo, priority } => {
            let found = rung(device, Some(&algo), priority).ok();
            let said = priority.is_some_and(|said| found == Some(said));
            if !said {
                let next = format!("start the device with --recompress {algo}");
                let message = format!(
                    "{attribute}: Device or resource busy (settled once the device is up; {next})"
                );
                return Err(Failure::new(FailureKind::Busy, message));
            }
        }
        Change::Policy(settings) => set_policy(&settings, device).map_err(wrong)?,
        _ => return Err(wrong("cannot be set".to_owned())),
    }
    Ok(String::new())
}

fn failed(attribute: Attribute, error: impl std::fmt::Display) -> Failure {
    Failure::new(FailureKind::Io, format!("{attribute}: {error}"))
}

/// The age of pages that were not used for so long, for sure. Ages are counted in turns of the policy's
/// clock; a page of age 1 may have been used just now.
fn age_of(ms: u64, device: &Device) -> Result<u8, String> {
    let turn = device.tiered().policy().turn_ms;
    if ms == 0 {
        return Ok(0);
    }
    if !device.tiered().has_thread() {
        return Err("ages are not counted while nothing is done by itself; use all".to_owned());
    }
    let age = ms.div_ceil(turn.max(1)).saturating_add(1);
    u8::try_from(age)
        .ok()
        .filter(|age| *age <= 3)
        .ok_or_else(|| {
            let most = turn * 2 / 1000;
            let next = ms.div_ceil(2000);
            format!(
                "ages are known up to {most} seconds; use all, or set policy turn={next} and wait"
            )
        })
}

/// The number of the denser codec that is meant; the first where none is named.
fn rung(device: &Device, algo: Option<&str>, priority: Option<usize>) -> Result<usize, String> {
    let ladder = device.cache().codec();
    let rungs = ladder.rungs();
    if rungs == 0 {
        return Err("the device has no denser codec; start it with --recompress zstd:6".to_owned());
    }
    let fits = |rung: &usize| {
        let name = ladder
            .rung(*rung)
            .map(|codec| codec.to_string())
            .unwrap_or_default();
        let family = name.split(':').next();
        algo.is_none_or(|algo| algo == name || Some(algo) == family)
    };
    let found = match priority {
        Some(rung) => (rung..=rung).find(|rung| *rung <= rungs && fits(rung)),
        None => (1..=rungs).find(fits),
    };
    found.ok_or_else(|| format!("no such codec; there are {ladder}, the first for new pages"))
}

fn recompress(
    attribute: Attribute,
    how: &Recompression,
    device: &Device,
    report: &mut Report<'_>,
) -> Result<String, Failure> {
    let found = rung(device, how.algo.as_deref(), how.priority);
    let rung = found.map_err(|message| invalid(attribute, &message))?;
    let pages = device.size() / PAGE_SIZE;
    let (mut from, mut tried, mut changed) = (0, 0, 0);
    while from < pages && report.go_on(from, pages) {
        let left = match how.max_pages {
            0 => 0,
            most if tried >= most => break,
            most => most - tried,
        };
        let how = Recompress {
            what: how.what,
            rung,
            threshold: how.threshold,
            max_pages: left,
        };
        let done = device.tiered().recompress_some(how, from);
        let (now, better, next) = done.map_err(|error| failed(attribute, error))?;
        tried += now;
        changed += better;
        from = next;
    }
    Ok(format!("pages_tried {tried}\npages_changed {changed}\n"))
}

fn write_back(
    attribute: Attribute,
    what: &[WriteBack],
    device: &Device,
    report: &mut Report<'_>,
) -> Result<String, Failure> {
    let pages = device.size() / PAGE_SIZE;
    for what in what {
        if let WriteBack::Pages(range) = what
            && range.end > pages
        {
            let message = format!("page {}: the device has {pages} pages", range.end - 1);
            return Err(invalid(attribute, &message));
        }
    }
    let before = device.stat().tiers;
    let done = |device: &Device| device.stat().tiers.written_back - before.written_back;
    let mut records = 0;
    for what in what {
        let written = device
            .tiered()
            .write_back(what, || report.go_on(done(device), 0));
        records += written.map_err(|error| failed(attribute, error))?;
    }
    let bytes = device.stat().tiers.backed_bytes;
    Ok(format!("records_written {records}\nbacked_bytes {bytes}\n"))
}

fn merge(
    attribute: Attribute,
    device: &Device,
    report: &mut Report<'_>,
) -> Result<String, Failure> {
    let mut changed = 0;
    let mut first = true;
    loop {
        let part = device.tiered().merge_some(first);
        let (now, more) = part.map_err(|error| failed(attribute, error))?;
        changed += now;
        first = false;
        if !more || !report.go_on(changed, 0) {
            return Ok(format!("pages_changed {changed}\n"));
        }
    }
}

fn set_policy(settings: &[Setting], device: &Device) -> Result<(), String> {
    let mut policy = device.tiered().policy();
    settings
        .iter()
        .for_each(|setting| setting.apply(&mut policy));
    let rungs = device.cache().codec().rungs();
    if policy.cold_rung.max(policy.cool_rung) > rungs {
        return Err(format!(
            "there are {rungs} denser codecs; start the device with more of them: --recompress"
        ));
    }
    if policy.patches && !policy.same {
        return Err("patches=1 needs same=1".to_owned());
    }
    let set = device.set_policy(policy);
    set.map_err(|error| format!("no thread for it: {error}"))
}
