//! The time of an image's last use: the modification time of its record's file.

use std::fs;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use rustix::fs::{AtFlags, CWD, Timespec, Timestamps, UTIME_NOW, utimensat};
use vmroot_model::Digest;

use crate::catalogue::Snapshot;
use crate::{Record, Store};

/// The precision of the time, so that frequent uses cost nothing.
const PRECISION: Duration = Duration::from_secs(60);

impl Store {
    /// Records that an image is used now.
    pub(crate) fn touch(&self, record: &Record) {
        let path = self.cache.layout().image_record(&record.key());
        let Ok(metadata) = fs::metadata(&path) else { return };
        let is_recent = metadata.modified().is_ok_and(|at| at.elapsed().is_ok_and(|since| since < PRECISION));
        if is_recent {
            return;
        }
        let now = Timespec { tv_sec: 0, tv_nsec: UTIME_NOW };
        let times = Timestamps { last_access: now, last_modification: now };
        if let Err(error) = utimensat(CWD, &path, &times, AtFlags::empty()) {
            tracing::debug!(%error, path = %path.display(), "the use of an image cannot be recorded");
        }
    }

    /// Returns the time at which an image was last pulled, loaded, opened, saved or copied, by any of its names.
    pub(crate) fn last_used(&self, snapshot: &Snapshot, id: &Digest) -> SystemTime {
        let of_record = |record: &Record| {
            let path = self.cache.layout().image_record(&record.key());
            let pulled = UNIX_EPOCH + Duration::from_secs(record.pulled);
            fs::metadata(path).and_then(|metadata| metadata.modified()).unwrap_or(pulled)
        };
        let records = snapshot.by_id.get(id).into_iter().flatten();
        records.map(|record| of_record(record)).max().unwrap_or(UNIX_EPOCH)
    }
}
