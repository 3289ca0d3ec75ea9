//! Mounts the tree of the bench image with vmroot, the kernel or fuse-overlayfs.

use std::{
    fs,
    os::unix::fs::MetadataExt,
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context, Result, bail};
use rustix::mount::{MountFlags, UnmountFlags};

use super::lab::Lab;
use crate::process;

const MOUNT_LIMIT: Duration = Duration::from_secs(30);

/// A mount, which is unmounted when dropped.
pub struct Mounted {
    directory: PathBuf,
    server: Option<Child>,
}

impl Mounted {
    /// Mounts the image by FUSE with vmroot.
    pub fn vmroot(lab: &Lab, scratch: &Path) -> Result<Self> {
        let reference = lab.registry().reference(super::image::BENCH);
        let mut mount = lab.vmroot(&lab.pulled()?);
        mount.args(["mount", "--driver", "fuse", &reference]);
        Self::serve(mount, scratch)
    }

    /// Mounts the image by the kernel with vmroot.
    pub fn by_kernel(lab: &Lab, scratch: &Path) -> Result<Self> {
        let reference = lab.registry().reference(super::image::BENCH);
        let directory = mount_point(scratch)?;
        let mut mount = lab.vmroot(&lab.pulled()?);
        process::run(mount.args(["mount", "--driver", "erofs", "--detach", &reference]).arg(&directory))?;
        Ok(Self { directory, server: None })
    }

    /// Mounts the unpacked layers with fuse-overlayfs.
    pub fn fuse_overlayfs(lab: &Lab, scratch: &Path) -> Result<Self> {
        let layers = lab.layer_trees()?;
        let lower: Vec<_> = layers.iter().rev().map(|layer| layer.display().to_string()).collect();
        let mut mount = Command::new("fuse-overlayfs");
        mount.args(["-f", "-o", &format!("lowerdir={}", lower.join(":"))]);
        Self::serve(mount, scratch)
    }

    /// Mounts an EROFS image with the kernel, directly from the file, or from a loop device on older kernels.
    pub fn erofs(lab: &Lab, scratch: &Path) -> Result<Self> {
        let (image, directory) = (lab.erofs()?, mount_point(scratch)?);
        if rustix::mount::mount(&image, &directory, "erofs", MountFlags::RDONLY, None).is_err() {
            process::run(Command::new("mount").args(["-t", "erofs", "-o", "loop,ro"]).arg(image).arg(&directory))?;
        }
        Ok(Self { directory, server: None })
    }

    /// Returns the mount point.
    pub fn directory(&self) -> &Path {
        &self.directory
    }

    /// Returns the largest resident set of the process that serves the mount, in bytes.
    pub fn server_memory(&self) -> Result<u64> {
        let server = self.server.as_ref().context("the kernel serves this mount")?;
        let status = fs::read_to_string(format!("/proc/{}/status", server.id()))?;
        let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).context("no VmHWM in status")?;
        let kibibytes: u64 = line.trim().trim_end_matches(" kB").parse()?;
        Ok(kibibytes * 1024)
    }

    /// Starts a program that serves a mount as long as it runs.
    fn serve(mut command: Command, scratch: &Path) -> Result<Self> {
        let directory = mount_point(scratch)?;
        let outside = fs::metadata(&directory)?.dev();
        let server = command.arg(&directory).stdin(Stdio::null()).stdout(Stdio::null()).spawn()?;
        let mut mounted = Self { directory, server: Some(server) };
        let start = Instant::now();
        while fs::metadata(&mounted.directory)?.dev() == outside {
            if let Some(status) = mounted.server.as_mut().and_then(|server| server.try_wait().transpose()) {
                bail!("the mount's server ended: {}", status?);
            }
            if start.elapsed() > MOUNT_LIMIT {
                bail!("no mount on {} after {MOUNT_LIMIT:?}", mounted.directory.display());
            }
            thread::sleep(Duration::from_millis(5));
        }
        Ok(mounted)
    }
}

impl Drop for Mounted {
    fn drop(&mut self) {
        // Errors are ignored: if mounting failed, there is nothing to unmount.
        let _ = rustix::mount::unmount(&self.directory, UnmountFlags::empty());
        if let Some(server) = &mut self.server {
            let _ = server.wait();
        }
    }
}

fn mount_point(scratch: &Path) -> Result<PathBuf> {
    let directory = scratch.join("mount");
    fs::create_dir(&directory)?;
    Ok(directory)
}
