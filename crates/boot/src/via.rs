//! The forms in which a guest gets its root.

use std::fmt;
use std::fs::{self, File};
use std::io::{BufWriter, Write};
use std::path::{self, Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use vmroot_container_fs::ContainerFs;
use vmroot_disk_serve::{Device, FILE_NAME, VhostUserOptions, VhostUserServer, mount_file};
use vmroot_erofs::{
    ErofsMetaOptions, ErofsOptions, VmdkAccess, VmdkTail, check_vmdk_path, erofs_devices, write_erofs, write_erofs_meta,
};
use vmroot_export::{CpioOptions, SquashfsCompression, SquashfsOptions, write_cpio, write_squashfs};
use vmroot_ext4::{Ext4Options, write_ext4};
use vmroot_fuse_mount::MountOptions;
use vmroot_output::{Hook, Omissions, Run, RunsHook};
use vmroot_verity::{DEFAULT_BLOCK, KeptLeaves, KnownRange};
use vmroot_virtiofs::{LockWait, VirtioFs, VirtioFsOptions, check_socket_path};

use crate::served::Served;
use crate::verity::{self, BuiltTree, Devices};
use crate::{Disk, DiskFormat, Error, Result, Share};

/// The form in which a guest gets its root.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum Via {
    /// An EROFS image, read-only.
    Erofs,
    /// EROFS metadata that refers to the cached contents of the layers, read-only. The contents are not copied.
    ErofsMeta,
    /// One disk of EROFS metadata and the cached contents of the layers, which this process serves, read-only. Nothing is
    /// written. QEMU gets it over vhost-user, and other VMMs as a file in a FUSE mount.
    Disk,
    /// An ext4 image, writable.
    Ext4,
    /// A squashfs image made by `sqfstar` of squashfs-tools, read-only.
    Squashfs,
    /// A cpio archive that the kernel unpacks into memory, writable.
    Cpio,
    /// A virtio-fs share that this process serves, read-only.
    Virtiofs,
}

/// The number of omissions that are named in warnings. The others are only counted.
const MAX_NAMED_OMISSIONS: usize = 20;
/// The tag of the share.
const TAG: &str = "root";
/// The number of the share's queues. One is enough for one guest.
const QUEUES: usize = 1;
/// The most queues of a served disk.
pub(crate) const DISK_QUEUES: u32 = 4;

/// File names in the directory of a guest.
const IMAGE: &str = "root.img";
const HEAD: &str = "root.head";
const VMDK: &str = "root.vmdk";
const TREE: &str = "root.verity";
const ARCHIVE: &str = "root.cpio";
const SOCKET: &str = "root.socket";
const MOUNTPOINT: &str = "disk";

/// A root in the form that a machine takes. Planning one writes no files, so that an impossible machine is rejected
/// first.
#[derive(Debug)]
pub(crate) enum Medium {
    /// Disks, the first of which has the root file system.
    Disks(Vec<Disk>),
    /// An archive, which the kernel unpacks as the root.
    Archive(PathBuf),
    /// A virtio-fs share.
    Share(Share),
}

/// The destination of a root.
pub(crate) struct Destination<'a> {
    /// The directory for files and sockets.
    pub(crate) directory: &'a Path,
    /// Whether the machine takes VMDK disks.
    pub(crate) takes_vmdk: bool,
    /// Whether the machine takes disks of vhost-user daemons.
    pub(crate) takes_vhost_user: bool,
    /// Whether dm-verity verifies the root.
    pub(crate) verity: bool,
}

/// A root in its form.
#[derive(Default)]
pub(crate) struct BuiltMedium {
    /// The server of a share or a disk.
    pub(crate) served: Option<Served>,
    /// The hash tree, if [`Destination::verity`] is set.
    pub(crate) tree: Option<BuiltTree>,
}

/// Builds a root's form.
pub(crate) struct MediumBuilder<'a> {
    pub(crate) root: &'a Arc<ContainerFs>,
    pub(crate) destination: &'a Destination<'a>,
    /// Free space of a writable image, in bytes.
    pub(crate) free: u64,
    /// Digests of contents files that are known already.
    pub(crate) leaves: Option<&'a KeptLeaves>,
    pub(crate) hook: Option<Hook<'a>>,
}

impl Via {
    /// Returns the file system type, as for mount(2); `None` for an archive.
    pub(crate) fn fstype(self) -> Option<&'static str> {
        match self {
            Self::Erofs | Self::ErofsMeta | Self::Disk => Some("erofs"),
            Self::Ext4 => Some("ext4"),
            Self::Squashfs => Some("squashfs"),
            Self::Cpio => None,
            Self::Virtiofs => Some("virtiofs"),
        }
    }

    /// Returns whether the guest can write to the root.
    pub(crate) fn is_writable(self) -> bool {
        match self {
            Self::Ext4 | Self::Cpio => true,
            Self::Erofs | Self::ErofsMeta | Self::Disk | Self::Squashfs | Self::Virtiofs => false,
        }
    }

    /// Returns whether a process serves the root as long as the guest runs.
    pub(crate) fn is_served(self) -> bool {
        matches!(self, Self::Disk | Self::Virtiofs)
    }

    /// Returns the medium for a root whose contents are in these files.
    ///
    /// # Errors
    /// - [`Error::Erofs`] if a VMDK cannot refer to a file because of its path.
    /// - [`Error::Share`] if the socket's path is too long.
    /// - [`Error::NoDisk`] if dm-verity is to verify a root that is not on a disk.
    pub(crate) fn plan(self, destination: &Destination<'_>, contents: &[PathBuf]) -> Result<Medium> {
        let disk = |path, format, writable| Disk { path, format, writable };
        let raw = |name: &str| disk(destination.directory.join(name), DiskFormat::Raw, false);
        Ok(match self {
            Self::Cpio | Self::Virtiofs if destination.verity => return Err(Error::NoDisk { form: self }),
            Self::Erofs => Medium::Disks(vec![raw(IMAGE)]),
            Self::ErofsMeta if destination.takes_vmdk => {
                let own = [IMAGE, HEAD, TREE].map(|name| destination.directory.join(name));
                contents.iter().chain(&own).try_for_each(|path| check_vmdk_path(path))?;
                Medium::Disks(vec![disk(destination.directory.join(VMDK), DiskFormat::Vmdk, false)])
            }
            Self::ErofsMeta => {
                let layers = contents.iter().map(|path| disk(path.clone(), DiskFormat::Raw, false));
                // The head makes the joined disks one file system, without a device table.
                let first = if destination.verity { HEAD } else { IMAGE };
                let tree = destination.verity.then(|| raw(TREE));
                Medium::Disks([raw(first)].into_iter().chain(layers).chain(tree).collect())
            }
            Self::Ext4 => {
                let writable = !destination.verity;
                Medium::Disks(vec![disk(destination.directory.join(IMAGE), DiskFormat::Raw, writable)])
            }
            Self::Disk if destination.takes_vhost_user => {
                let socket = destination.directory.join(SOCKET);
                check_socket_path(&socket)?;
                Medium::Disks(vec![disk(socket, DiskFormat::VhostUser, false)])
            }
            Self::Disk => Medium::Disks(vec![disk(
                destination.directory.join(MOUNTPOINT).join(FILE_NAME),
                DiskFormat::Raw,
                false,
            )]),
            Self::Squashfs => Medium::Disks(vec![raw(IMAGE)]),
            Self::Cpio => Medium::Archive(destination.directory.join(ARCHIVE)),
            Self::Virtiofs => {
                let socket = destination.directory.join(SOCKET);
                check_socket_path(&socket)?;
                Medium::Share(Share { tag: TAG.to_owned(), socket, queues: QUEUES as u32 })
            }
        })
    }

    /// Builds the planned medium.
    pub(crate) fn build(self, builder: &MediumBuilder<'_>) -> Result<BuiltMedium> {
        let runs = Mutex::new(Vec::new());
        let keep_runs = |placed: &[Run]| runs.lock().unwrap_or_else(PoisonError::into_inner).extend_from_slice(placed);
        let hook = builder.destination.verity.then(|| RunsHook::new(&keep_runs));
        match self {
            Self::Erofs => builder.erofs(hook)?,
            Self::ErofsMeta => return Ok(BuiltMedium { tree: builder.erofs_meta()?, served: None }),
            Self::Disk => return builder.disk(),
            Self::Ext4 => builder.ext4(hook)?,
            Self::Squashfs => builder.squashfs()?,
            Self::Cpio => builder.archive()?,
            Self::Virtiofs => return Ok(BuiltMedium { served: Some(builder.share()?), tree: None }),
        }
        let image = builder.destination.directory.join(IMAGE);
        let runs = runs.into_inner().unwrap_or_else(PoisonError::into_inner);
        let append = || verity::append(&image, builder.known(&runs), builder.hook);
        let tree = builder.destination.verity.then(append).transpose()?;
        Ok(BuiltMedium { tree, served: None })
    }
}

/// Returns the absolute paths of the files that hold a root's contents.
pub(crate) fn contents(root: &ContainerFs) -> Result<Vec<PathBuf>> {
    // A VMDK descriptor resolves relative paths from its own directory.
    erofs_devices(root).map(|file| path::absolute(&file.path).map_err(Error::io("find", &file.path))).collect()
}

impl Medium {
    /// Returns the source to mount; `None` for an archive.
    pub(crate) fn source(&self) -> Option<String> {
        match self {
            Self::Disks(_) => Some(crate::machine::disk_name(0)),
            Self::Archive(_) => None,
            Self::Share(share) => Some(share.tag.clone()),
        }
    }

    /// Returns the mount options.
    pub(crate) fn options(&self) -> String {
        let Self::Disks(disks) = self else { return String::new() };
        let more = (1..disks.len()).map(|number| format!("device={}", crate::machine::disk_name(number)));
        more.collect::<Vec<_>>().join(",")
    }
}

impl MediumBuilder<'_> {
    /// Returns the ranges of an image whose digests are known, because it has these runs of the contents files.
    fn known(&self, runs: &[Run]) -> Vec<KnownRange<'_>> {
        let Some(leaves) = self.leaves else { return Vec::new() };
        let paths: Vec<&Path> = self.root.contents().map(|contents| contents.path.as_path()).collect();
        leaves.ranges(runs, &paths, DEFAULT_BLOCK)
    }

    fn erofs(&self, runs: Option<RunsHook<'_>>) -> Result<()> {
        let file = self.file(IMAGE)?;
        let options = ErofsOptions { runs, hook: self.hook, ..ErofsOptions::default() };
        let report = write_erofs(self.root, &file, &options)?;
        warn_about(&report.omissions);
        Ok(())
    }

    /// Builds one VMDK disk, which guests can mount from Linux 5.4 on, or else a disk for each layer (Linux 5.16).
    fn erofs_meta(&self) -> Result<Option<BuiltTree>> {
        let image = self.file(IMAGE)?;
        let mut meta = write_erofs_meta(self.root, &image, &ErofsMetaOptions::default())?;
        warn_about(&meta.report.omissions);
        let Destination { takes_vmdk, verity, .. } = *self.destination;
        if !takes_vmdk && !verity {
            return Ok(None);
        }
        let head_file = self.file(HEAD)?;
        meta.write_head(&image, &head_file)?;
        let [head, vmdk, tree_path] = [HEAD, VMDK, TREE].map(|name| self.destination.directory.join(name));
        let devices = Devices { root: self.root, meta: &meta, head: &head_file, leaves: self.leaves };
        let over_devices = || verity::over_devices(&devices, &tree_path, takes_vmdk, self.hook);
        let (tree, blocks) = verity.then(over_devices).transpose()?.unzip();
        if !takes_vmdk {
            return Ok(tree);
        }
        for (device, path) in meta.devices.iter_mut().zip(contents(self.root)?) {
            device.path = path;
        }
        let tail = blocks.map(|blocks| VmdkTail { path: tree_path, blocks });
        let text = meta.vmdk_with_tail(&head, tail.as_ref(), VmdkAccess::ReadWrite)?;
        self.file(VMDK)?.write_all(&text).map_err(Error::io("write", &vmdk))?;
        Ok(tree)
    }

    fn ext4(&self, runs: Option<RunsHook<'_>>) -> Result<()> {
        let file = self.file(IMAGE)?;
        let options = Ext4Options { free: self.free, runs, hook: self.hook, ..Ext4Options::default() };
        warn_about(&write_ext4(self.root, &file, &options)?.omissions);
        Ok(())
    }

    fn squashfs(&self) -> Result<()> {
        self.file(IMAGE)?;
        // The image is read only once or twice, so building it fast is more important than its size.
        let compression = SquashfsCompression::Lz4;
        let options = SquashfsOptions { compression, hook: self.hook, ..SquashfsOptions::default() };
        warn_about(&write_squashfs(self.root, &self.destination.directory.join(IMAGE), &options)?.omissions);
        Ok(())
    }

    fn archive(&self) -> Result<()> {
        let mut file = BufWriter::with_capacity(1 << 20, self.file(ARCHIVE)?);
        let options = CpioOptions { hook: self.hook, ..CpioOptions::default() };
        warn_about(&write_cpio(self.root, &mut file, &options)?.omissions);
        Ok(())
    }

    fn share(&self) -> Result<Served> {
        let options = VirtioFsOptions { queues: QUEUES, ..VirtioFsOptions::default() };
        let share = VirtioFs::bind(Arc::clone(self.root), &self.destination.directory.join(SOCKET), &options)?;
        Ok(Served::Share(share))
    }

    fn disk(&self) -> Result<BuiltMedium> {
        let (mut device, mut tree) = (Device::of_root(self.root)?, None);
        if self.destination.verity {
            let (verified, built) = device.with_verity(self.root, self.leaves, self.hook)?;
            (device, tree) = (verified, Some(verity::on_disk(&built)?));
        }
        let served = self.serve_disk(Arc::new(device))?;
        Ok(BuiltMedium { served: Some(served), tree })
    }

    fn serve_disk(&self, device: Arc<Device>) -> Result<Served> {
        if self.destination.takes_vhost_user {
            let socket = self.destination.directory.join(SOCKET);
            let options = VhostUserOptions { queues: DISK_QUEUES as usize };
            return Ok(Served::Disk(VhostUserServer::bind(device, &socket, &options, &LockWait::default())?));
        }
        let mountpoint = self.destination.directory.join(MOUNTPOINT);
        fs::create_dir(&mountpoint).map_err(Error::io("create", &mountpoint))?;
        Ok(Served::File(mount_file(device, &mountpoint, &MountOptions::default())?))
    }

    fn file(&self, name: &str) -> Result<File> {
        let path = self.destination.directory.join(name);
        File::options().read(true).write(true).create_new(true).open(&path).map_err(Error::io("write", &path))
    }
}

/// Warns of files and attributes that the guest sees differently than in the image.
fn warn_about(omissions: &Omissions) {
    omissions.lines(MAX_NAMED_OMISSIONS).iter().for_each(|line| tracing::warn!("{line}"));
}

impl fmt::Display for Via {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Erofs => "erofs",
            Self::ErofsMeta => "erofs-meta",
            Self::Disk => "disk",
            Self::Ext4 => "ext4",
            Self::Squashfs => "squashfs",
            Self::Cpio => "cpio",
            Self::Virtiofs => "virtiofs",
        })
    }
}
