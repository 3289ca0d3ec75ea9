//! Records of mounts, for what the kernel's table does not show.
//!
//! A record is a file of the runtime directory, or of the cache if there is none. It belongs to one file system in one
//! mount namespace. Records whose mount has ended are removed whenever they are read.

use std::fs::{self, DirBuilder, OpenOptions};
use std::io::Read;
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use rustix::fs::OFlags;
use serde_json::{Value, json};
use vmroot::kernel_mount::MountAt;
use vmroot::output::write_atomically;

use super::process::{ServingProcess, namespace, process_in};
use crate::context::Context;
use crate::environment;

/// The largest record in bytes. A longer file is none.
const MAX_RECORD: u64 = 64 << 10;

/// A mount, as it was when it was made.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct MountRecord {
    /// The image's name on the command line.
    pub(crate) image: String,
    /// The image's id. `None` for a prebaked directory.
    pub(crate) id: Option<String>,
    pub(crate) platform: Option<String>,
    /// `erofs` or `fuse`, also below a writable view.
    pub(crate) driver: String,
    pub(crate) upper: Option<String>,
    pub(crate) work: Option<String>,
    pub(crate) since: SystemTime,
    /// The process that serves the mount.
    pub(crate) process: Option<ServingProcess>,
    /// The cache with the files of the image.
    pub(crate) cache: Option<String>,
}

/// The mount that a record is about.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Subject {
    /// The id of the boot of the machine: no mount survives a reboot.
    boot: String,
    /// The mount namespace, as `/proc/PID/ns/mnt` names it.
    namespace: String,
    device: String,
    form: String,
    source: String,
    mountpoint: String,
}

/// The records of mounts that this user can read.
#[derive(Debug, Default)]
pub(crate) struct Records {
    records: Vec<(Subject, MountRecord)>,
}

impl Records {
    /// Returns the records and the table of mounts. Removes the records of mounts that have ended.
    pub(crate) fn read(context: &Context) -> anyhow::Result<(Self, Vec<MountAt>)> {
        let mut files = Vec::new();
        for directory in directories(context) {
            let entries = fs::read_dir(&directory).into_iter().flatten().flatten();
            let paths = entries.map(|entry| entry.path());
            files.extend(paths.filter(|path| path.extension().is_some_and(|extension| extension == "json")));
        }
        let found: Vec<_> = files.into_iter().filter_map(|path| Some((read(&path)?, path))).collect();
        // After the records: the mount of a record that was read is in the table unless it has ended.
        let table = MountAt::all()?;
        let (boot, own) = (boot_id(), namespace(std::process::id(), "mnt").unwrap_or_default());
        let mut records = Vec::new();
        for ((subject, record), path) in found {
            let has_ended = subject.boot != boot
                || subject.namespace == own && !table.iter().any(|mount| subject.is_of_file_system(mount));
            if has_ended {
                // The error is ignored: another user may own the file.
                let _ = fs::remove_file(path);
            } else {
                records.push((subject, record));
            }
        }
        // A record of this namespace comes before one of a namespace that this one is a copy of.
        records.sort_by_key(|(subject, _)| subject.namespace != own);
        Ok((Self { records }, table))
    }

    /// Returns the record of a mount.
    pub(crate) fn of(&self, mount: &MountAt) -> Option<&MountRecord> {
        self.records.iter().find(|(subject, _)| subject.is_of_file_system(mount)).map(|(_, record)| record)
    }

    /// Returns a process in another mount namespace, if vmroot mounted something on the directory there.
    pub(crate) fn process_elsewhere(&self, directory: &Path) -> Option<u32> {
        let own = namespace(std::process::id(), "mnt")?;
        let there = |subject: &Subject| subject.namespace != own && Path::new(&subject.mountpoint) == directory;
        let mut subjects = self.records.iter().map(|(subject, _)| subject).filter(|subject| there(subject));
        subjects.find_map(|subject| process_in(&subject.namespace))
    }
}

impl MountRecord {
    /// Writes the record of a new mount, replacing that of an earlier one with the same number.
    pub(crate) fn write(&self, context: &Context, mount: &MountAt) -> anyhow::Result<()> {
        let subject = Subject {
            boot: boot_id(),
            namespace: namespace(std::process::id(), "mnt").unwrap_or_default(),
            device: mount.device.clone(),
            form: mount.form.to_string_lossy().into_owned(),
            source: mount.source.to_string_lossy().into_owned(),
            mountpoint: mount.mountpoint.to_string_lossy().into_owned(),
        };
        let directory = directories(context).swap_remove(0);
        DirBuilder::new().recursive(true).mode(0o700).create(&directory)?;
        let digits: String = subject.namespace.chars().filter(char::is_ascii_digit).collect();
        let path = directory.join(format!("{digits}-{}.json", subject.device.replace(':', "-")));
        let text = serde_json::to_vec(&self.to_json(&subject))?;
        Ok(write_atomically(&path, 0o600, &text)?)
    }

    fn to_json(&self, subject: &Subject) -> Value {
        json!({
            "boot": subject.boot,
            "namespace": subject.namespace,
            "device": subject.device,
            "form": subject.form,
            "source": subject.source,
            "mountpoint": subject.mountpoint,
            "image": self.image,
            "id": self.id,
            "platform": self.platform,
            "driver": self.driver,
            "upper": self.upper,
            "work": self.work,
            "since": self.since.duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs()),
            "process": self.process.as_ref().map(ServingProcess::to_json),
            "cache": self.cache,
        })
    }

    fn parse(value: &Value) -> Option<(Subject, Self)> {
        let text = |name: &str| Some(value[name].as_str()?.to_owned());
        let subject = Subject {
            boot: text("boot")?,
            namespace: text("namespace")?,
            device: text("device")?,
            form: text("form")?,
            source: text("source")?,
            mountpoint: text("mountpoint")?,
        };
        let record = Self {
            image: text("image")?,
            id: text("id"),
            platform: text("platform"),
            driver: text("driver")?,
            upper: text("upper"),
            work: text("work"),
            since: UNIX_EPOCH.checked_add(Duration::from_secs(value["since"].as_u64()?))?,
            process: ServingProcess::parse(&value["process"]),
            cache: text("cache"),
        };
        Some((subject, record))
    }
}

impl Subject {
    /// Returns whether a mount is one of the file system of this one, in any namespace.
    fn is_of_file_system(&self, mount: &MountAt) -> bool {
        self.device == mount.device
            && self.form == mount.form.to_string_lossy()
            && self.source == mount.source.to_string_lossy()
    }
}

/// Returns the directories of records. New ones are in the first.
fn directories(context: &Context) -> Vec<PathBuf> {
    let runtime = environment::runtime_directory();
    runtime.into_iter().chain([context.cache().to_owned()]).map(|directory| directory.join("mounts")).collect()
}

fn read(path: &Path) -> Option<(Subject, MountRecord)> {
    // Another user may own the cache, and may have put a pipe or a link there.
    let flags = (OFlags::NONBLOCK | OFlags::NOFOLLOW).bits();
    let file = OpenOptions::new().read(true).custom_flags(flags.cast_signed()).open(path).ok()?;
    let mut text = Vec::new();
    file.take(MAX_RECORD).read_to_end(&mut text).ok()?;
    MountRecord::parse(&serde_json::from_slice(&text).ok()?)
}

fn boot_id() -> String {
    fs::read_to_string("/proc/sys/kernel/random/boot_id").unwrap_or_default().trim_end().to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn records_are_read_as_they_were_written() {
        let [boot, namespace, device, form, source, mountpoint] =
            ["b", "mnt:[1]", "0:5", "erofs", "vmroot:a", "/m"].map(str::to_owned);
        let subject = Subject { boot, namespace, device, form, source, mountpoint };
        let record = MountRecord {
            image: "a".to_owned(),
            id: None,
            platform: Some("linux/amd64".to_owned()),
            driver: "fuse".to_owned(),
            upper: Some("/u".to_owned()),
            work: None,
            since: UNIX_EPOCH + Duration::from_secs(5),
            process: ServingProcess::current(),
            cache: None,
        };
        let value = record.to_json(&subject);
        assert_eq!(MountRecord::parse(&value), Some((subject, record)));
        for name in ["boot", "device", "image", "since"] {
            let mut value = value.clone();
            value[name] = Value::Null;
            assert_eq!(MountRecord::parse(&value), None, "{name}");
        }
        assert_eq!(MountRecord::parse(&json!([])), None);
        let mut value = value;
        value["since"] = u64::MAX.into();
        assert_eq!(MountRecord::parse(&value), None);
    }
}
