//! A record of KVM trials, which saves a trial for each boot of a guest.

use std::fs::{self, File};
use std::io::Read;
use std::os::unix::fs::MetadataExt;
use std::path::Path;

use serde::{Deserialize, Serialize};

/// Contains an id of the host's current boot.
const BOOT_ID: &str = "/proc/sys/kernel/random/boot_id";
/// The maximum number of verdicts in a record. The oldest is dropped.
const MAX_VERDICTS: usize = 64;
/// The maximum size of a record in bytes.
const MAX_RECORD: u64 = 1 << 20;

/// The circumstances of a verdict: a kernel file, a VMM's program file, and the host's boot.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct TrialKey {
    boot: String,
    kernel: Identity,
    program: Identity,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
struct Verdict {
    case: TrialKey,
    /// The reason why KVM does not work; `None` if it works.
    reason: Option<String>,
}

/// The identity of a file's content, as far as its metadata shows.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
struct Identity {
    path: String,
    device: u64,
    inode: u64,
    length: u64,
    modified: (i64, i64),
}

impl TrialKey {
    /// Returns the key, or `None` if the metadata of one of the files cannot be read.
    pub(crate) fn of(kernel: &Path, program: &Path) -> Option<Self> {
        let boot = fs::read_to_string(BOOT_ID).ok()?.trim().to_owned();
        Some(Self { boot, kernel: Identity::of(kernel)?, program: Identity::of(program)? })
    }

    /// Returns the recorded verdict: `Ok` if KVM works, else the reason why not.
    pub(crate) fn verdict_in(&self, record: &Path) -> Option<Result<(), String>> {
        let verdict = read(record).into_iter().find(|verdict| verdict.case == *self)?;
        Some(verdict.reason.map_or(Ok(()), Err))
    }

    /// Adds a verdict to a record and drops those of other boots. Failures are ignored, as are concurrent changes by
    /// another process: a lost verdict only costs another trial.
    pub(crate) fn add_to(self, record: &Path, kvm: &Result<(), String>) {
        let mut verdicts = read(record);
        verdicts.retain(|verdict| verdict.case.boot == self.boot);
        verdicts.drain(..(verdicts.len() + 1).saturating_sub(MAX_VERDICTS));
        verdicts.push(Verdict { case: self, reason: kvm.clone().err() });
        let Ok(document) = serde_json::to_vec(&verdicts) else { return };
        if let Some(parent) = record.parent() {
            let _ = fs::create_dir_all(parent);
        }
        // Replaced by renaming, so that other processes always read a whole record.
        let partial = record.with_extension(std::process::id().to_string());
        if fs::write(&partial, document).and_then(|()| fs::rename(&partial, record)).is_err() {
            let _ = fs::remove_file(&partial);
        }
    }
}

/// Returns the verdicts of a record. A missing or invalid record has none.
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
        let key = |number: i64| {
            let mut key = TrialKey::of(&file, &file).unwrap();
            key.kernel.modified.0 = number;
            key
        };
        let fails = Err("it ends".to_owned());
        TrialKey { boot: "another".to_owned(), ..key(-1) }.add_to(&record, &Ok(()));
        let count = MAX_VERDICTS as i64 + 1;
        (0..count).for_each(|number| key(number).add_to(&record, if number % 2 == 0 { &fails } else { &Ok(()) }));
        assert_eq!(key(0).verdict_in(&record), None);
        assert_eq!(key(1).verdict_in(&record), Some(Ok(())));
        assert_eq!(key(2).verdict_in(&record), Some(fails));
        assert_eq!(read(&record).len(), MAX_VERDICTS);
        assert_eq!(fs::read_dir(record.parent().unwrap()).unwrap().count(), 1);
        // An invalid record, such as one of an older version, counts as empty and is replaced.
        fs::write(&record, "boot-id\nit hangs\n").unwrap();
        assert_eq!(key(1).verdict_in(&record), None);
        key(1).add_to(&record, &Ok(()));
        assert_eq!(key(1).verdict_in(&record), Some(Ok(())));
    }
}
