//! The mounts of vmroot in this mount namespace: the kernel's table, and the records that `mount` writes.
//!
//! The table alone decides which mounts exist, and which are vmroot's. A record adds what the table does not show.

mod process;
mod record;

use std::ffi::OsStr;
use std::path::{Path, PathBuf};

use serde_json::{Value, json};
use vmroot::kernel_mount::MountAt;

use crate::context::Context;
use crate::times;
pub(crate) use process::ServingProcess;
pub(crate) use record::{MountRecord, Records};

/// A mount of vmroot.
pub(crate) struct VmrootMount {
    at: MountAt,
    record: Option<MountRecord>,
}

impl VmrootMount {
    /// Returns all mounts of vmroot, in the order in which they were made.
    pub(crate) fn all(context: &Context) -> anyhow::Result<Vec<Self>> {
        let (records, table) = Records::read(context)?;
        let ours = table.into_iter().filter(MountAt::is_ours);
        Ok(ours.map(|at| Self { record: records.of(&at).cloned(), at }).collect())
    }

    /// Returns the mount that a directory shows; `None` if it is no mount of vmroot.
    pub(crate) fn at(context: &Context, directory: &Path) -> anyhow::Result<Option<Self>> {
        let (records, _) = Records::read(context)?;
        let ours = MountAt::find(directory)?.filter(MountAt::is_ours);
        Ok(ours.map(|at| Self { record: records.of(&at).cloned(), at }))
    }

    /// Returns the mountpoint.
    pub(crate) fn directory(&self) -> &Path {
        &self.at.mountpoint
    }

    /// Returns the image's name, as it was when it was mounted.
    pub(crate) fn image(&self) -> String {
        let of_table = || self.at.image().unwrap_or(&self.at.source).to_string_lossy().into_owned();
        self.record.as_ref().map_or_else(of_table, |record| record.image.clone())
    }

    /// Returns the driver below a writable view, or of the mount. `None` for a view without a record.
    pub(crate) fn driver(&self) -> Option<String> {
        match self.at.form.to_string_lossy().as_ref() {
            "erofs" => Some("erofs".to_owned()),
            "overlay" => self.record.as_ref().map(|record| record.driver.clone()),
            _ => Some("fuse".to_owned()),
        }
    }

    /// Returns the directory that keeps the changes of a writable view.
    pub(crate) fn upper(&self) -> Option<PathBuf> {
        let recorded = self.record.as_ref().and_then(|record| record.upper.clone());
        self.at.upper().map(|of_table| recorded.map_or(of_table, PathBuf::from))
    }

    fn work(&self) -> Option<PathBuf> {
        let recorded = self.record.as_ref().and_then(|record| record.work.clone());
        self.at.work().map(|of_table| recorded.map_or(of_table, PathBuf::from))
    }

    /// Returns the process that serves the mount, and whether it has ended. `None` for mounts by the kernel, and if the
    /// process is not known.
    pub(crate) fn process(&self) -> Option<(u32, bool)> {
        let process = self.record.as_ref()?.process.as_ref()?;
        process.has_ended().map(|has_ended| (process.pid, has_ended))
    }

    pub(crate) fn platform(&self) -> Option<&str> {
        self.record.as_ref()?.platform.as_deref()
    }

    /// Returns the time of the mount.
    pub(crate) fn since(&self) -> Option<String> {
        times::rfc3339_of(self.record.as_ref()?.since)
    }

    /// Returns the object of `mounts --json` and `mount --json`.
    pub(crate) fn to_json(&self) -> Value {
        let record = self.record.as_ref();
        let text = |path: Option<PathBuf>| path.map(|path| path.to_string_lossy().into_owned());
        json!({
            "directory": lossy(self.at.mountpoint.as_os_str()),
            "image": self.image(),
            "id": record.and_then(|record| record.id.as_ref()),
            "platform": self.platform(),
            "driver": self.driver(),
            "upper": text(self.upper()),
            "work": text(self.work()),
            "since": self.since(),
            "process": self.process().filter(|(_, has_ended)| !has_ended).map(|(pid, _)| pid),
            "served": self.process().is_none_or(|(_, has_ended)| !has_ended),
            "source": lossy(&self.at.source),
            "cache": record.and_then(|record| record.cache.as_ref()),
        })
    }
}

fn lossy(text: &OsStr) -> String {
    text.to_string_lossy().into_owned()
}
