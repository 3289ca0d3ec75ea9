//! Uses by mounts that the kernel serves without a process.
//!
//! The kernel holds the mounted files open, so the mount stays readable in any case. But a collection would free no
//! space, and would take the image for an unused one.

use std::collections::HashMap;
use std::fs;
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::time::{Duration, UNIX_EPOCH};

use serde::{Deserialize, Serialize};
use vmroot_output::flock::Mode;
use vmroot_output::write_atomically;

use super::{MOUNT, Needs, Use, User, now, read_kernel_file};
use crate::cache::{Cache, remove_file};
use crate::{PUBLISHED_MODE, Result};

/// The file of a mount.
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
struct MountUse {
    mountpoint: PathBuf,
    /// The id of the boot of the machine: no mount survives a reboot.
    boot: String,
    /// The mount namespace, as `/proc/PID/ns/mnt` names it.
    namespace: String,
    /// The device, type and source of the mounted file system, as in proc_pid_mountinfo(5).
    file_system: [String; 3],
    /// In seconds since the Unix epoch.
    since: u64,
    needs: Needs,
}

impl Cache {
    /// Holds files as long as what is mounted at `mountpoint` now: until it is unmounted everywhere in the caller's mount
    /// namespace. Returns false if nothing is mounted there.
    ///
    /// The caller must hold the files meanwhile.
    ///
    /// # Errors
    /// - [`Error::Io`](crate::Error::Io): the mountpoint or the table of mounts cannot be read, or the use cannot be
    ///   written.
    pub fn hold_while_mounted(&self, mountpoint: &Path, needs: Needs) -> Result<bool> {
        let device = fs::metadata(mountpoint).map_err(vmroot_output::Error::on("stat", mountpoint))?.dev();
        let device = format!("{}:{}", rustix::fs::major(device), rustix::fs::minor(device));
        let table = Path::new("/proc/self/mountinfo");
        let lines = fs::read(table).map_err(vmroot_output::Error::on("read", table))?;
        let Some(file_system) = file_systems(&lines).into_iter().find(|[own, ..]| *own == device) else {
            return Ok(false);
        };
        let boot = boot_id().unwrap_or_default();
        let namespace = namespace_of("self").unwrap_or_default();
        let mountpoint = mountpoint.canonicalize().unwrap_or_else(|_| mountpoint.to_owned());
        let since = now();
        // The name replaces the file of an earlier mount with this number, which has ended.
        let name = format!("{}.{MOUNT}", file_system[0].replace(':', "-"));
        let bytes = serde_json::to_vec(&MountUse { mountpoint, boot, namespace, file_system, since, needs })
            .expect("a use has no keys but strings");
        let _lock = self.lock_uses(Mode::Shared)?;
        write_atomically(&self.layout().uses().join(name), PUBLISHED_MODE, &bytes)?;
        Ok(true)
    }
}

/// Reads the file of a mount. Removes it and returns `None` if the mount has ended.
pub(super) fn read(path: &Path, tables: &mut Tables) -> Result<Option<Use>> {
    let bytes = match fs::read(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        read => read.map_err(vmroot_output::Error::on("read", path))?,
    };
    // A file that is not of this form cannot be compared with the mounts. The kernel keeps the mounted files.
    let found = serde_json::from_slice::<MountUse>(&bytes).ok().filter(|found| tables.has(found));
    let Some(found) = found else {
        remove_file(path)?;
        return Ok(None);
    };
    Ok(Some(Use {
        user: User::Mount { mountpoint: found.mountpoint },
        since: UNIX_EPOCH + Duration::from_secs(found.since),
        needs: found.needs,
        everything: false,
        is_own: false,
    }))
}

/// The tables of mounts, each read once.
#[derive(Debug, Default)]
pub(super) struct Tables {
    /// The file systems of each namespace; `None` if the table cannot be read.
    of: HashMap<String, Option<Vec<[String; 3]>>>,
}

impl Tables {
    /// Returns whether a mount exists. If the tables cannot be read, it counts as existing.
    fn has(&mut self, mount: &MountUse) -> bool {
        let (Some(boot), Some(own)) = (boot_id(), namespace_of("self")) else { return true };
        if boot != mount.boot {
            return false;
        }
        let table = self.of.entry(mount.namespace.clone()).or_insert_with(|| {
            let process = if mount.namespace == own { "self".to_owned() } else { process_in(&mount.namespace)? };
            fs::read(format!("/proc/{process}/mountinfo")).ok().map(|lines| file_systems(&lines))
        });
        // A namespace without a process has ended.
        table.as_ref().is_some_and(|table| table.contains(&mount.file_system))
    }
}

/// Returns the id of a process in a mount namespace.
fn process_in(namespace: &str) -> Option<String> {
    let processes = fs::read_dir("/proc").ok()?.flatten();
    let mut ids = processes.filter_map(|entry| entry.file_name().into_string().ok());
    ids.find(|id| id.bytes().all(|byte| byte.is_ascii_digit()) && namespace_of(id).is_some_and(|it| it == namespace))
}

fn namespace_of(process: &str) -> Option<String> {
    fs::read_link(format!("/proc/{process}/ns/mnt")).ok()?.into_os_string().into_string().ok()
}

fn boot_id() -> Option<String> {
    read_kernel_file("/proc/sys/kernel/random/boot_id")
}

/// Returns the device, type and source of each line of a table. Escaped characters stay escaped.
fn file_systems(table: &[u8]) -> Vec<[String; 3]> {
    let parse = |line: &[u8]| {
        let line = String::from_utf8_lossy(line);
        let (mount, file_system) = line.split_once(" - ")?;
        let mut rest = file_system.split(' ');
        Some([mount.split(' ').nth(2)?.to_owned(), rest.next()?.to_owned(), rest.next()?.to_owned()])
    };
    table.split(|byte| *byte == b'\n').filter_map(parse).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Cache;

    #[test]
    fn lines_of_a_table_are_parsed() {
        let table = b"36 35 98:0 / /a\\040b rw shared:1 - erofs vmroot:demo ro\nshort\n\
                      37 35 0:52 / /mnt - rw - tmpfs none rw\n";
        let found = file_systems(table);
        assert_eq!(found[0], ["98:0", "erofs", "vmroot:demo"].map(str::to_owned));
        assert_eq!(found.len(), 2);
    }

    #[test]
    fn a_mount_holds_its_needs_until_it_has_ended() {
        let directory = tempfile::tempdir().unwrap();
        let cache = Cache::open(directory.path()).unwrap();
        let needs = Needs { layers: [vmroot_model::Digest::of(b"layer")].into(), ..Needs::default() };
        // The mount below the directory is some file system that stays mounted during the test.
        assert!(cache.hold_while_mounted(Path::new("/proc"), needs.clone()).unwrap());
        let uses = cache.uses(None).unwrap();
        assert_eq!((uses.len(), &uses[0].needs), (1, &needs));
        assert_eq!(uses[0].user, User::Mount { mountpoint: "/proc".into() });
        // The mounts of an earlier boot, and a file system that is not mounted.
        let path = fs::read_dir(cache.layout().uses()).unwrap().next().unwrap().unwrap().path();
        let text = fs::read_to_string(&path).unwrap();
        for (from, to) in [(boot_id().unwrap(), "earlier".to_owned()), ("\"proc\"".to_owned(), "\"other\"".to_owned())]
        {
            let _ = fs::remove_file(&path);
            fs::write(&path, text.replace(&from, &to)).unwrap();
            assert_eq!(cache.uses(None).unwrap(), []);
            assert!(!path.exists(), "{from}");
        }
    }
}
