//! Volumes: further disks, which are mounted in the root.

use std::ffi::CStr;
use std::fs;
use std::path::Path;

use rustix::io::Errno;
use rustix::mount::MountFlags;
use vmroot_guest_config::StageVolume;

use crate::initramfs::mount_at;
use crate::{Error, Result, devices, temporary};

/// Directories that the init covers with a tmpfs, which would hide a volume below them. They are covered before the volume
/// is mounted.
const IN_MEMORY: [(&str, &CStr); 2] = [("/run", c"mode=0755"), ("/tmp", c"mode=1777")];

/// Mounts a disk, and makes its mount point if that is missing.
///
/// # Errors
/// [`Error::Volume`] with the mount point and the cause.
pub(crate) fn mount(volume: &StageVolume) -> Result<()> {
    let failed = |reason: String| Error::Volume { path: volume.path.clone(), reason };
    let path = Path::new(&volume.path);
    if !path.is_absolute() || path == Path::new("/") {
        return Err(failed("not an absolute path below the root".to_owned()));
    }
    let device = Path::new(&volume.device);
    devices::wait(device, devices::DEVICE_TIMEOUT).map_err(|error| failed(error.to_string()))?;
    for (place, data) in IN_MEMORY {
        if path.starts_with(place) {
            temporary::cover(Path::new(place), data)
                .map_err(|error| failed(format!("no tmpfs at {place}: {error}")))?;
        }
    }
    // An existing directory may be on a read-only root.
    if !path.is_dir() {
        fs::create_dir_all(path).map_err(|error| failed(format!("no mount point: {error}")))?;
    }
    let flags = if volume.read_only { MountFlags::RDONLY } else { MountFlags::empty() };
    mount_at(&volume.device, path, &volume.fstype, flags, "").map_err(|error| failed(reason(volume, &error)))
}

/// Returns the reason why a disk cannot be mounted, in the terms of the volume.
fn reason(volume: &StageVolume, error: &Error) -> String {
    let number = match error {
        Error::Mount { source, .. } => Errno::from_io_error(source),
        _ => None,
    };
    match number {
        // A journal is replayed by writing (fs/ext4/super.c).
        Some(Errno::ROFS) if volume.read_only => {
            format!("its {} was not unmounted cleanly, and a read-only disk cannot be repaired", volume.fstype)
        }
        Some(Errno::INVAL) => format!("its {} is damaged, or has features that this kernel lacks", volume.fstype),
        _ => error.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn errors_name_the_mount_point() {
        let volume = |path: &str, device: &str| StageVolume {
            device: device.to_owned(),
            path: path.to_owned(),
            fstype: "ext4".to_owned(),
            read_only: true,
        };
        for path in ["/", "data", ""] {
            let error = mount(&volume(path, "/dev/null")).unwrap_err().to_string();
            assert_eq!(error, format!("volume {path}: not an absolute path below the root"));
        }
        let source = std::io::Error::from(Errno::ROFS);
        let error = Error::Mount {
            fstype: "ext4".to_owned(),
            source_name: "/dev/vdb".to_owned(),
            target: "/data".into(),
            source,
        };
        let text = reason(&volume("/data", "/dev/vdb"), &error);
        assert!(text.starts_with("its ext4 was not unmounted cleanly"), "{text}");
    }
}
