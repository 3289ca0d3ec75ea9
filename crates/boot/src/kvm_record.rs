//! How kernels fared under KVM: a file that saves a trial for each boot of a guest.

use std::fs::{self, File};
use std::io::Read;
use std::os::unix::fs::MetadataExt;
use std::path::Path;

use serde::{Deserialize, Serialize};

/// Names this boot of the host.
const BOOT_ID: &str = "/proc/sys/kernel/random/boot_id";
/// The most verdicts that are remembered; the oldest is forgotten.
const MAX_VERDICTS: usize = 64;
/// The longest record that is read, in bytes.
const MAX_RECORD: u64 = 1 << 20;

/// What a verdict is about: a kernel and the program of a monitor as they are now, on a host that has not booted anew.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Case {
    boot: String,
    kernel: Identity,
    program: Identity,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
struct Verdict {
    case: Case,
    /// Why KVM does not work; nothing where it does.
    reason: Option<String>,
}

/// What tells a file from another, and from itself after a change.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
struct Identity {
    path: String,
    device: u64,
    inode: u64,
    length: u64,
    modified: (i64, i64),
}

impl Case {
    /// Nothing where one of the files cannot be looked at.
    pub(crate) fn of(kernel: &Path, program: &Path) -> Option<Self> {
        let boot = fs::read_to_string(BOOT_ID).ok()?.trim().to_owned();
        Some(Self { boot, kernel: Identity::of(kernel)?, program: Identity::of(program)? })
    }

    /// Whether KVM works, or why not, if a record knows.
    pub(crate) fn verdict_in(&self, record: &Path) -> Option<Result<(), String>> {
        let verdict = read(record).into_iter().find(|verdict| verdict.case == *self)?;
        Some(verdict.reason.map_or(Ok(()), Err))
    }

    /// Adds its verdict to a record, which loses those of other boots. One that cannot be written is found again, and so
    /// is one that another process overwrites.
    pub(crate) fn add_to(self, record: &Path, kvm: &Result<(), String>) {
        let mut verdicts = read(record);
        verdicts.retain(|verdict| verdict.case.boot == self.boot);
        verdicts.drain(..(verdicts.len() + 1).saturating_sub(MAX_VERDICTS));
        verdicts.push(Verdict { case: self, reason: kvm.clone().err() });
        let Ok(document) = serde_json::to_vec(&verdicts) else { return };
        if let Some(parent) = record.parent() {
            let _ = fs::create_dir_all(parent);
        }
        // Another process finds the old one whole meanwhile.
        let partial = record.with_extension(std::process::id().to_string());
        if fs::write(&partial, document).and_then(|()| fs::rename(&partial, record)).is_err() {
            let _ = fs::remove_file(&partial);
        }
    }
}

/// The verdicts of a record; none where it is missing or is none.
fn read(record: &Path) -> Vec<Verdict> {
    let mut document = Vec::new();
    let read = File::open(record).and_then(|file| file.take(MAX_RECORD).read_to_end(&mut document));
    read.ok().and_then(|_| serde_json::from_slice(&document).ok()).unwrap_or_default()
}

impl Identity {
    fn of(path: &Path) -> Option<Self> {
        let whole = path.canonicalize().ok()?;
        let metadata = whole.metadata().ok()?;
        Some(Self {
            path: whole.to_string_lossy().into_owned(),
            device: metadata.dev(),
            inode: metadata.ino(),
            length: metadata.len(),
            modified: (metadata.mtime(), metadata.mtime_nsec()),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_record_keeps_the_newest_of_this_boot() {
        let directory = tempfile::tempdir().unwrap();
        let record = directory.path().join("made/kvm");
        let file = directory.path().join("file");
        fs::write(&file, "x").unwrap();
        let case = |number: i64| {
            let mut case = Case::of(&file, &file).unwrap();
            case.kernel.modified.0 = number;
            case
        };
        let fails = Err("it ends".to_owned());
        Case { boot: "another".to_owned(), ..case(-1) }.add_to(&record, &Ok(()));
        let count = MAX_VERDICTS as i64 + 1;
        (0..count).for_each(|number| case(number).add_to(&record, if number % 2 == 0 { &fails } else { &Ok(()) }));
        assert_eq!(case(0).verdict_in(&record), None);
        assert_eq!(case(1).verdict_in(&record), Some(Ok(())));
        assert_eq!(case(2).verdict_in(&record), Some(fails));
        assert_eq!(read(&record).len(), MAX_VERDICTS);
        assert_eq!(fs::read_dir(record.parent().unwrap()).unwrap().count(), 1);
        // What is no record, as an older version wrote it, counts as none and is replaced.
        fs::write(&record, "boot-id\nit hangs\n").unwrap();
        assert_eq!(case(1).verdict_in(&record), None);
        case(1).add_to(&record, &Ok(()));
        assert_eq!(case(1).verdict_in(&record), Some(Ok(())));
    }
}
