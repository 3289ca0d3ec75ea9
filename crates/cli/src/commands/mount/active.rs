//! Active mounts: how they are served, and how they end.

use std::ffi::OsStr;
use std::fs::{self, DirBuilder};
use std::io;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::SystemTime;

use anyhow::Context as _;
use vmroot::container_fs::Device;
use vmroot::fuse::{Mount, Unmounted};
use vmroot::kernel_mount::{Mounted, Upper, mount_disk, mount_erofs, mount_overlay};
use vmroot::output::{OmissionReason, Omissions, Omitted, TemporaryDirectory};
use vmroot::{ContainerFs, InodeKind, MountOptions, Platform};

use super::place;
use crate::args::{Driver, MountArguments};
use crate::context::{Context, OpenedRoot, UsedImage};
use crate::mounts::{MountRecord, ServingProcess};
use crate::{disk_files, output, signals};

/// A mounted root, or a writable view of one.
pub(super) enum ActiveMount {
    /// A mount that the kernel serves without this process.
    Kernel(Mounted),
    /// A mount that threads of this process serve.
    Fuse {
        mount: Mount,
        /// The writable view. The root is then detached from the tree, and ends with the view.
        view: Option<Mounted>,
        /// Keeps the root's files in the cache.
        _image: Option<Box<UsedImage>>,
    },
}

/// Mounts a root with the options of the command.
struct Mounter<'a> {
    image: &'a str,
    options: &'a MountArguments,
    /// The directory for unnamed files and private mountpoints.
    scratch: PathBuf,
}

impl ActiveMount {
    /// Mounts an image's root, or a writable view of it. Also returns what other processes may know about the mount.
    pub(super) fn new(
        context: &Context,
        image: &str,
        directory: &Path,
        options: &MountArguments,
    ) -> anyhow::Result<(Self, MountRecord)> {
        let opened = context.root_with(image, |config| options.init.add_to(options.top.top(), config))?;
        if !options.force {
            place::check_nothing_hidden(directory)?;
        }
        let record = record(context, image, &opened, options)?;
        // A signal must not end the process while it mounts.
        signals::end_by_itself();
        let scratch = context.scratch().to_owned();
        // The cache may be missing: a prebaked directory is opened without one.
        DirBuilder::new()
            .recursive(true)
            .mode(0o700)
            .create(&scratch)
            .with_context(|| scratch.display().to_string())?;
        let mounter = Mounter { image, options, scratch };
        let mount = match (&options.upper, &options.work) {
            (Some(upper), Some(work)) => mounter.mount_view(opened, Upper { upper, work }, directory)?,
            (Some(disk), None) => mounter.mount_view_of_disk(opened, disk, directory)?,
            _ => mounter.mount_root(opened, directory)?,
        };
        let (driver, process) = match mount {
            Self::Kernel(_) => ("erofs".to_owned(), None),
            Self::Fuse { .. } => ("fuse".to_owned(), ServingProcess::current()),
        };
        Ok((mount, MountRecord { driver, process, ..record }))
    }

    /// Returns whether the mount needs this process.
    pub(super) fn needs_process(&self) -> bool {
        !matches!(self, Self::Kernel(_))
    }

    /// Returns a function that unmounts, and returns `false` if the mount is still in use.
    pub(super) fn unmounter(&self) -> Box<dyn Fn() -> vmroot::Result<bool> + Send + Sync> {
        match self {
            Self::Kernel(mounted) | Self::Fuse { view: Some(mounted), .. } => {
                let mounted = mounted.clone();
                Box::new(move || Ok(mounted.unmount().map(|()| true)?))
            }
            Self::Fuse { mount, .. } => {
                let unmounter = mount.unmounter();
                Box::new(move || Ok(unmounter.unmount()? == Unmounted::Gone))
            }
        }
    }

    /// Waits until the mount ends, by this process or by another.
    pub(super) fn wait(self) -> vmroot::Result<()> {
        match self {
            Self::Kernel(mounted) => Ok(mounted.wait()?),
            Self::Fuse { mount, .. } => Ok(mount.wait()?),
        }
    }
}

impl Mounter<'_> {
    /// Mounts the root on a private directory, and a writable view of it on `directory`.
    fn mount_view(&self, opened: OpenedRoot, upper: Upper<'_>, directory: &Path) -> anyhow::Result<ActiveMount> {
        let hidden = hidden_by_overlayfs(&opened.root);
        let used =
            opened.image.as_ref().map(|used| UsedImage { client: used.client.clone(), image: used.image.clone() });
        let private = TemporaryDirectory::create_in(&self.scratch).map_err(vmroot::Error::from)?;
        // Mount tables show this name.
        let lower = private.path().join("root");
        fs::create_dir(&lower).with_context(|| lower.display().to_string())?;
        let root = self.mount_root(opened, &lower)?;
        let view = mount_overlay(&lower, upper, directory, &self.mount_options());
        // The view keeps a reference to the root's file system.
        root.unmounter()()?;
        let view = view.map_err(vmroot::Error::from)?;
        output::print_omissions(&hidden);
        Ok(match root {
            ActiveMount::Fuse { mount, _image, .. } => ActiveMount::Fuse { mount, view: Some(view), _image },
            ActiveMount::Kernel(_) => {
                // The mount of the root is not in the table any more.
                used.iter().for_each(|used| used.hold_while_mounted(directory));
                ActiveMount::Kernel(view)
            }
        })
    }

    /// Mounts a writable view whose changes are on a disk.
    fn mount_view_of_disk(&self, opened: OpenedRoot, disk: &Path, directory: &Path) -> anyhow::Result<ActiveMount> {
        let size = self.options.upper_size;
        let lock = match (disk_files::open_upper(disk)?, size) {
            (Some(lock), _) => lock,
            (None, Some(size)) => disk_files::create_upper(disk, size)?,
            (None, None) => return Err(io::Error::from(io::ErrorKind::NotFound)).context(disk.display().to_string()),
        };
        let private = TemporaryDirectory::create_in(&self.scratch).map_err(vmroot::Error::from)?;
        let place = private.path().join("disk");
        fs::create_dir(&place).with_context(|| place.display().to_string())?;
        let named = || format!("--upper {}", disk.display());
        let mounted = mount_disk(lock.file(), &place, &self.mount_options());
        let mounted = mounted.map_err(vmroot::Error::from).with_context(named)?;
        let view = disk_files::prepare_upper(&place, self.image, &opened.base_id(), self.options.rebase)
            .with_context(named)
            .and_then(|upper| {
                let [upper, work] = [&upper.layer, &upper.work];
                self.mount_view(opened, Upper { upper, work }, directory)
            });
        // The view keeps a reference to the disk's file system, which has the lock.
        mounted.unmount().map_err(vmroot::Error::from)?;
        view
    }

    fn mount_root(&self, opened: OpenedRoot, directory: &Path) -> anyhow::Result<ActiveMount> {
        if self.options.driver != Driver::Fuse {
            let mounted = mount_erofs(&opened.root, &self.scratch, directory, &self.mount_options());
            match mounted {
                Ok(mounted) => {
                    tracing::info!("mounted by the kernel, as EROFS");
                    opened.image.iter().for_each(|used| used.hold_while_mounted(directory));
                    return Ok(ActiveMount::Kernel(mounted));
                }
                Err(error) if self.options.driver == Driver::Auto && error.allows_fallback() => {
                    tracing::info!("mounting by FUSE: {}", vmroot::with_causes(&error));
                }
                Err(error) => return Err(vmroot::Error::from(error).into()),
            }
        }
        let mount = Mount::new(Arc::new(opened.root), directory, &self.mount_options()).map_err(vmroot::Error::from)?;
        Ok(ActiveMount::Fuse { mount, view: None, _image: opened.image })
    }

    fn mount_options(&self) -> MountOptions {
        let defaults = MountOptions::default();
        MountOptions {
            suid_dev: self.options.suid_dev,
            allow_other: self.options.allow_other,
            threads: self.options.threads.unwrap_or(defaults.threads),
            source: format!("vmroot:{}", self.image),
            // With `auto`, fail where EROFS cannot show everything: FUSE can.
            strict: self.options.driver == Driver::Auto,
        }
    }
}

/// Returns what other processes may know about a mount, without its driver and its process.
fn record(
    context: &Context,
    image: &str,
    opened: &OpenedRoot,
    options: &MountArguments,
) -> anyhow::Result<MountRecord> {
    let text = |path: &Option<PathBuf>| {
        // Without `..`, which could lead through the mountpoint.
        let resolved = path.as_deref().map(place::resolve_missing).transpose()?;
        Ok::<_, io::Error>(resolved.map(|path| path.to_string_lossy().into_owned()))
    };
    let of_image = opened.image.as_ref().map(|used| used.image.record());
    let prebaked = || Platform::linux(&opened.unresolved_config().architecture).ok();
    let platform = of_image.map(|record| record.platform.clone()).or_else(prebaked);
    Ok(MountRecord {
        image: image.to_owned(),
        id: of_image.map(|record| record.config.digest.to_string()),
        platform: platform.map(|platform| platform.to_string()),
        driver: String::new(),
        upper: text(&options.upper)?,
        work: text(&options.work)?,
        since: SystemTime::now(),
        process: None,
        cache: of_image.map(|_| context.cache().to_string_lossy().into_owned()),
    })
}

/// Returns the files that a writable view does not show: overlayfs hides whiteouts and its own xattrs.
fn hidden_by_overlayfs(root: &ContainerFs) -> Omissions {
    let mut hidden = Omissions::default();
    for entry in root.walk() {
        let path = || OsStr::from_bytes(&entry.path).into();
        let why = || OmissionReason::form("overlayfs interprets it itself");
        if entry.kind == InodeKind::Character && root.stat(entry.ino).device == Device::default() {
            hidden.add(path, Omitted::Device, why());
        }
        for (name, _) in root.xattrs(entry.ino).filter(|(name, _)| name.starts_with(b"trusted.overlay.")) {
            hidden.add(path, Omitted::Xattr(name.into()), why());
        }
    }
    hidden
}
