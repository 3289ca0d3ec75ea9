//! A mount that stands: what serves it, and how it ends.

use std::ffi::OsStr;
use std::fs::DirBuilder;
use std::io;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use anyhow::Context as _;
use vmroot::fuse::{Mount, MountOptions, Unmounted};
use vmroot::kernel_mount::{self, Mounted, Upper, check_overlay, mount_erofs, mount_overlay};
use vmroot::output::{OmissionReason, Omissions, Omitted};
use vmroot::{Client, ContainerFs, InodeKind};

use crate::args::{Driver, MountArguments};
use crate::context::{Context, Opened};
use crate::output;

/// A root in the tree, or a writable view of it.
pub(super) enum Standing {
    /// The kernel has all it needs.
    Kernel(Mounted),
    /// Threads of this process serve it.
    Fuse {
        mount: Mount,
        /// The writable view: then the root itself is no longer in the tree, and ends with the view.
        view: Option<Mounted>,
        /// Keeps the root's files in the cache.
        _client: Option<Box<Client>>,
    },
}

/// What mounts a root where it is told to.
struct Mounter<'a> {
    image: &'a str,
    options: &'a MountArguments,
    /// For files without a name, and for places where nobody looks.
    scratch: PathBuf,
}

impl Standing {
    pub(super) fn new(
        context: &Context,
        image: &str,
        directory: &Path,
        options: &MountArguments,
    ) -> anyhow::Result<Self> {
        // A refusal costs no pull.
        check(directory, options)?;
        let opened = context.root_with(image, |config| options.init.add_to(options.top.top(), config))?;
        let scratch = context.cache().to_owned();
        // A prebaked directory is mounted without a cache.
        DirBuilder::new()
            .recursive(true)
            .mode(0o700)
            .create(&scratch)
            .with_context(|| scratch.display().to_string())?;
        let mounter = Mounter { image, options, scratch };
        match (&options.upper, &options.work) {
            (Some(upper), Some(work)) => mounter.writable(opened, Upper { upper, work }, directory),
            _ => mounter.root(opened, directory),
        }
    }

    /// Whether the mount needs this process.
    pub(super) fn needs_process(&self) -> bool {
        !matches!(self, Self::Kernel(_))
    }

    /// Takes the mount out of the tree; `false` while it is still in use.
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

    /// Waits until it is gone, by whomever.
    pub(super) fn wait(self) -> vmroot::Result<()> {
        match self {
            Self::Kernel(mounted) => Ok(mounted.wait()?),
            Self::Fuse { mount, .. } => Ok(mount.wait()?),
        }
    }
}

impl Mounter<'_> {
    /// Mounts the root where nobody looks, and a view of it on the directory.
    fn writable(&self, opened: Opened, upper: Upper<'_>, directory: &Path) -> anyhow::Result<Standing> {
        let marks = marks_of_overlays(&opened.root);
        let private = tempfile::Builder::new().prefix(".tmp-").tempdir_in(&self.scratch)?;
        let root = self.root(opened, private.path())?;
        let view = mount_overlay(private.path(), upper, directory, &self.kernel_options());
        // The view keeps what it needs of it.
        root.unmounter()()?;
        let view = view.map_err(vmroot::Error::from)?;
        output::omissions(&marks);
        Ok(match root {
            Standing::Fuse { mount, _client, .. } => Standing::Fuse { mount, view: Some(view), _client },
            Standing::Kernel(_) => Standing::Kernel(view),
        })
    }

    fn root(&self, opened: Opened, directory: &Path) -> anyhow::Result<Standing> {
        if self.options.driver != Driver::Fuse {
            let mounted = mount_erofs(&opened.root, &self.scratch, directory, &self.kernel_options());
            match mounted {
                Ok(mounted) => {
                    tracing::info!("mounted by the kernel, as EROFS");
                    return Ok(Standing::Kernel(mounted));
                }
                Err(error) if self.options.driver == Driver::Auto && error.is_about_the_way() => {
                    tracing::info!("mounting by FUSE: {error}");
                }
                Err(error) => return Err(vmroot::Error::from(error).into()),
            }
        }
        let defaults = MountOptions::default();
        let options = MountOptions {
            allow_other: self.options.allow_other,
            suid_dev: self.options.suid_dev,
            threads: self.options.threads.unwrap_or(defaults.threads),
            source: format!("vmroot:{}", self.image),
        };
        let mount = Mount::new(Arc::new(opened.root), directory, &options).map_err(vmroot::Error::from)?;
        Ok(Standing::Fuse { mount, view: None, _client: opened._client.map(Box::new) })
    }

    fn kernel_options(&self) -> kernel_mount::MountOptions {
        // FUSE shows everything.
        let strict = self.options.driver == Driver::Auto;
        kernel_mount::MountOptions { suid_dev: self.options.suid_dev, strict }
    }
}

/// Refuses a place that nothing can be mounted on, a view that this user may not mount, and files that are not there.
fn check(directory: &Path, options: &MountArguments) -> anyhow::Result<()> {
    options.top.check()?;
    options.init.check()?;
    if options.upper.is_some() {
        return Ok(check_overlay(directory).map_err(vmroot::Error::from)?);
    }
    let named = || directory.display().to_string();
    let metadata = directory.metadata().with_context(named)?;
    if !metadata.is_dir() {
        return Err(io::Error::from(io::ErrorKind::NotADirectory)).with_context(named);
    }
    Ok(())
}

/// What a writable view does not show as it is: overlayfs hides what it takes for a deletion, and its own xattrs.
fn marks_of_overlays(root: &ContainerFs) -> Omissions {
    let mut marks = Omissions::default();
    for entry in root.walk() {
        let path = || OsStr::from_bytes(&entry.path).into();
        let why = || OmissionReason::form("overlayfs has a meaning of its own for it");
        if entry.kind == InodeKind::Character && root.stat(entry.ino).device == (0, 0) {
            marks.add(path, Omitted::Device, why());
        }
        for (name, _) in root.xattrs(entry.ino).filter(|(name, _)| name.starts_with(b"trusted.overlay.")) {
            marks.add(path, Omitted::Xattr(name.into()), why());
        }
    }
    marks
}
