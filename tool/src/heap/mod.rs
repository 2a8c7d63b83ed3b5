//! A process with the kinds of data that real heaps hold, the same for the same seed.
//!
//! The command starts itself as a child with a hidden subcommand; the child
//! enters the [`arena`], builds structures in it until they take the number of
//! pages asked for, says so on its standard output and waits until its standard
//! input closes. The parent reads its pages meanwhile (`pages::generate`).
//!
//! The bytes depend on the seed, on the number of pages and on the build alone. So nothing in the
//! arena points out of it, no type in it has padding (which would hold whatever
//! the stack held), and no arithmetic depends on a library.

pub(crate) mod arena;
mod arrays;
mod bitmaps;
mod blocks;
mod code;
mod json;
mod maps;
pub(crate) mod rng;
mod strings;
mod text;
mod trees;

use std::io::{Read, Write};

use self::rng::Rng;
use self::text::Words;

const PAGE_SIZE: usize = 4096;

/// A kind of data: its share of the heap, in parts of a thousand, and what builds one unit of it (a few hundred KiB).
type Section = (u32, fn(&mut Rng, &Words));

const SECTIONS: [Section; 27] = [
    (75, trees::object_graph),
    (60, trees::ordered_map),
    (30, |rng, _| trees::number_tree(rng)),
    (55, trees::linked_list),
    (50, maps::sessions),
    (25, |rng, _| maps::counters(rng)),
    (50, maps::key_values),
    (55, strings::log_lines),
    (45, strings::short_strings),
    (25, strings::document),
    (30, strings::wide_text),
    (75, json::documents),
    (75, json::parsed),
    (55, |rng, _| arrays::integers(rng)),
    (95, |rng, _| arrays::records(rng)),
    (40, |rng, _| arrays::narrow_integers(rng)),
    (20, |rng, _| arrays::rounded_floats(rng)),
    (10, |rng, _| arrays::full_floats(rng)),
    (15, |rng, _| arrays::single_floats(rng)),
    (30, |rng, _| bitmaps::bits(rng)),
    (15, |rng, _| bitmaps::picture(rng)),
    (35, |rng, _| code::functions(rng)),
    (23, |rng, _| blocks::same_filled(rng)),
    (19, |rng, _| blocks::incompressible(rng)),
    (20, |rng, _| blocks::nearly_empty(rng)),
    (25, blocks::copies),
    (60, blocks::database_blocks),
];

/// Runs the child: builds `pages` pages from `seed`, reports on standard output, and waits for the
/// parent to finish reading.
///
/// The report is `ready BASE BYTES` with the part of the arena in use, or `failed REASON`.
///
/// # Errors
/// Where the parent is gone.
pub(crate) fn run_child(seed: u64, pages: usize) -> Result<(), String> {
    let target = pages * PAGE_SIZE;
    // Some pages of large buffers are never touched; those are not captured.
    let build_bytes = target + target / 32 + (4 << 20);
    // Room for the last unit, and for what growing vectors leave behind.
    let line = match arena::enter(build_bytes + (64 << 20)) {
        Ok(()) => {
            build(seed, build_bytes);
            format!("ready {} {}\n", arena::BASE, arena::used_bytes())
        }
        Err(reason) => format!("failed {reason}\n"),
    };
    let gone = |error| format!("the parent process is gone: {error}");
    let mut stdout = std::io::stdout();
    stdout
        .write_all(line.as_bytes())
        .and_then(|()| stdout.flush())
        .map_err(gone)?;
    std::io::stdin().read(&mut [0]).map_err(gone)?;
    Ok(())
}

/// Builds sections in turn, each time the one furthest behind its share.
fn build(seed: u64, target: usize) {
    let mut rng = Rng::new(seed);
    let words = Words::new(&mut rng);
    let total_share: u64 = SECTIONS.iter().map(|(share, _)| u64::from(*share)).sum();
    let mut taken = [0u64; SECTIONS.len()];
    // At the start all are equally behind; one unit of each may be more than the smallest heap, so the order varies.
    let mut used = arena::used_bytes() as u64;
    while used < target as u64 {
        let behind = |at: &usize| {
            let due = used * u64::from(SECTIONS[*at].0) / total_share;
            due as i64 - taken[*at] as i64
        };
        let at = (0..SECTIONS.len()).max_by_key(behind).unwrap_or(0);
        // Each unit has a generator of its own, so that a change to one section leaves the others' data alone.
        (SECTIONS[at].1)(&mut Rng::new(rng.next()), &words);
        let now = arena::used_bytes() as u64;
        // A unit that was served from freed chunks still counts as something: no section runs for ever.
        taken[at] += (now - used).max(PAGE_SIZE as u64);
        used = now;
    }
    std::mem::forget(words);
}
