//! Pages from files: raw 4096-byte pages, one after the other, as `compcache capture` writes them.

use std::fs::File;
use std::io::Read;
use std::path::{Path, PathBuf};

use super::{PAGE_SIZE, PageSet};

/// Reads all pages of all files, in this order.
///
/// # Errors
/// Where a file is missing, unreadable, empty or not a whole number of pages, or memory is short.
pub(crate) fn read(paths: &[PathBuf]) -> Result<PageSet, String> {
    let mut bytes = Vec::new();
    for path in paths {
        append(path, &mut bytes).map_err(|text| format!("{}: {text}", path.display()))?;
    }
    let source = match paths {
        [one] => format!("file {}", one.display()),
        [first, ..] => format!("{} files, {} first", paths.len(), first.display()),
        [] => "no file".to_owned(),
    };
    PageSet::new(source, bytes)
}

fn append(path: &Path, bytes: &mut Vec<u8>) -> Result<(), String> {
    let mut file = File::open(path).map_err(|error| match error.kind() {
        std::io::ErrorKind::NotFound => "no such file; `compcache capture` makes one".to_owned(),
        std::io::ErrorKind::PermissionDenied => {
            "cannot open: permission denied; run as its owner".to_owned()
        }
        _ => format!("cannot open: {error}"),
    })?;
    let metadata = file
        .metadata()
        .map_err(|error| format!("cannot read: {error}"))?;
    if metadata.is_dir() {
        return Err("is a directory; name the files in it".to_owned());
    }
    // Before reading gigabytes; a pipe has no length yet and is checked below.
    if metadata.is_file() {
        check_length(metadata.len())?;
        let length =
            usize::try_from(metadata.len()).map_err(|_| "too large for memory".to_owned())?;
        bytes
            .try_reserve_exact(length)
            .map_err(|_| format!("{length} bytes do not fit in memory"))?;
    }
    let read = file
        .read_to_end(bytes)
        .map_err(|error| format!("cannot read: {error}"))?;
    check_length(read as u64)
}

fn check_length(length: u64) -> Result<(), String> {
    match length {
        0 => Err("empty; it must hold raw 4096-byte pages".to_owned()),
        _ if !length.is_multiple_of(PAGE_SIZE as u64) => Err(format!(
            "{length} bytes are not a multiple of 4096 ({} too many); it must hold raw 4096-byte pages",
            length % PAGE_SIZE as u64
        )),
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn files_are_read_in_order() {
        let dir = tempfile::tempdir().unwrap();
        let paths = [dir.path().join("a"), dir.path().join("b")];
        std::fs::write(&paths[0], [1; 2 * PAGE_SIZE]).unwrap();
        std::fs::write(&paths[1], [2; PAGE_SIZE]).unwrap();
        let set = read(&paths).unwrap();
        let firsts: Vec<u8> = set.bytes().iter().step_by(PAGE_SIZE).copied().collect();
        assert_eq!(firsts, [1, 1, 2]);
    }

    #[test]
    fn every_bad_file_is_named_with_its_reason() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("bad");
        let text = |path: &PathBuf| read(std::slice::from_ref(path)).err().unwrap_or_default();
        assert!(text(&path).contains("bad: no such file"));
        std::fs::write(&path, "").unwrap();
        assert!(text(&path).contains("bad: empty"));
        std::fs::write(&path, [0; PAGE_SIZE + 5]).unwrap();
        assert!(text(&path).contains("(5 too many)"));
        assert!(text(&dir.path().to_owned()).contains("is a directory"));
    }
}
