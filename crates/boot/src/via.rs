//! The ways a guest gets its root, each made into what a machine takes.

use std::fmt;
use std::fs::File;
use std::io::{BufWriter, Write};
use std::path::{self, Path, PathBuf};
use std::sync::Arc;

use vmroot_container_fs::ContainerFs;
use vmroot_disk_image::{
    ErofsOptions, Ext4Options, SquashfsCompression, SquashfsOptions, VmdkAccess, check_vmdk_path, erofs_devices,
    write_erofs, write_erofs_meta, write_ext4, write_squashfs,
};
use vmroot_export::{CpioOptions, Hook, Omissions, export_cpio};
use vmroot_virtiofs::{VirtioFs, VirtioFsOptions, check_socket_path};

use crate::{Disk, DiskFormat, Error, Result, Share};

/// How a guest gets its root.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Via {
    /// An EROFS image, read-only.
    Erofs,
    /// EROFS metadata over the contents of the layers where they lie, read-only: nothing is copied.
    ErofsMeta,
    /// An ext4 image, writable.
    Ext4,
    /// A squashfs image, read-only, which `sqfstar` of squashfs-tools makes.
    Squashfs,
    /// An archive that the kernel unpacks into memory, writable.
    Cpio,
    /// A share that this process serves, read-only.
    Virtiofs,
}

/// Omissions that are named in warnings; further ones are counted.
const SHOWN: usize = 20;
/// The tag of the share.
const TAG: &str = "root";
/// Its queues: what one guest needs.
const QUEUES: usize = 1;

/// Names of what is made.
const IMAGE: &str = "root.img";
const HEAD: &str = "root.head";
const VMDK: &str = "root.vmdk";
const ARCHIVE: &str = "root.cpio";
const SOCKET: &str = "root.socket";

/// A root as a machine takes it. Planning one writes nothing, so that a machine is refused before anything is made.
#[derive(Debug)]
pub(crate) enum Medium {
    /// A file system on disks, the first of which is mounted.
    Disks(Vec<Disk>),
    /// An archive: the kernel's first root, and its last.
    Archive(PathBuf),
    /// A share.
    Share(Share),
}

/// Where a root goes in its form.
pub(crate) struct Place<'a> {
    /// Where files and sockets go.
    pub(crate) directory: &'a Path,
    /// Whether the machine takes disks that a VMDK puts together.
    pub(crate) takes_vmdk: bool,
}

/// How a root is made into its form.
pub(crate) struct Making<'a> {
    pub(crate) root: &'a Arc<ContainerFs>,
    pub(crate) place: &'a Place<'a>,
    /// Bytes that the guest can write to an image which it may write to.
    pub(crate) free: u64,
    pub(crate) hook: Option<Hook<'a>>,
}

impl Via {
    /// The type of its file system, as in mount(2); none for an archive.
    pub(crate) fn fstype(self) -> Option<&'static str> {
        match self {
            Self::Erofs | Self::ErofsMeta => Some("erofs"),
            Self::Ext4 => Some("ext4"),
            Self::Squashfs => Some("squashfs"),
            Self::Cpio => None,
            Self::Virtiofs => Some("virtiofs"),
        }
    }

    /// Whether the guest can write to it.
    pub(crate) fn is_writable(self) -> bool {
        match self {
            Self::Ext4 | Self::Cpio => true,
            Self::Erofs | Self::ErofsMeta | Self::Squashfs | Self::Virtiofs => false,
        }
    }

    /// What the machine will take of a root whose contents are in these files.
    ///
    /// # Errors
    /// [`Error::Image`] for files that a VMDK cannot name.
    pub(crate) fn plan(self, place: &Place<'_>, contents: &[PathBuf]) -> Result<Medium> {
        let disk = |path, format, writable| Disk { path, format, writable };
        let raw = |name: &str| disk(place.directory.join(name), DiskFormat::Raw, false);
        Ok(match self {
            Self::Erofs => Medium::Disks(vec![raw(IMAGE)]),
            Self::ErofsMeta if place.takes_vmdk => {
                for path in contents.iter().chain(&[place.directory.join(IMAGE), place.directory.join(HEAD)]) {
                    check_vmdk_path(path)?;
                }
                Medium::Disks(vec![disk(place.directory.join(VMDK), DiskFormat::Vmdk, false)])
            }
            Self::ErofsMeta => {
                let layers = contents.iter().map(|path| disk(path.clone(), DiskFormat::Raw, false));
                Medium::Disks([raw(IMAGE)].into_iter().chain(layers).collect())
            }
            Self::Ext4 => Medium::Disks(vec![disk(place.directory.join(IMAGE), DiskFormat::Raw, true)]),
            Self::Squashfs => Medium::Disks(vec![raw(IMAGE)]),
            Self::Cpio => Medium::Archive(place.directory.join(ARCHIVE)),
            Self::Virtiofs => {
                let socket = place.directory.join(SOCKET);
                check_socket_path(&socket)?;
                Medium::Share(Share { tag: TAG.to_owned(), socket, queues: QUEUES as u32 })
            }
        })
    }

    /// Makes what was planned; gives the device that is to serve a share.
    pub(crate) fn make(self, making: &Making<'_>) -> Result<Option<VirtioFs>> {
        match self {
            Self::Erofs => making.erofs()?,
            Self::ErofsMeta => making.erofs_meta()?,
            Self::Ext4 => making.ext4()?,
            Self::Squashfs => making.squashfs()?,
            Self::Cpio => making.archive()?,
            Self::Virtiofs => return making.share().map(Some),
        }
        Ok(None)
    }
}

/// The files that a root's contents are in, as a machine monitor is told of them.
pub(crate) fn contents(root: &ContainerFs) -> Result<Vec<PathBuf>> {
    // A descriptor takes paths from where it lies.
    erofs_devices(root).map(|file| path::absolute(&file.path).map_err(Error::io("find", &file.path))).collect()
}

impl Medium {
    /// The source that is mounted; none for an archive.
    pub(crate) fn source(&self) -> Option<String> {
        match self {
            Self::Disks(_) => Some(crate::machine::disk_name(0)),
            Self::Archive(_) => None,
            Self::Share(share) => Some(share.tag.clone()),
        }
    }

    /// Options of the mount.
    pub(crate) fn options(&self) -> String {
        let Self::Disks(disks) = self else { return String::new() };
        let more = (1..disks.len()).map(|number| format!("device={}", crate::machine::disk_name(number)));
        more.collect::<Vec<_>>().join(",")
    }
}

impl Making<'_> {
    fn erofs(&self) -> Result<()> {
        let file = self.file(IMAGE)?;
        let report = write_erofs(self.root, &file, &ErofsOptions { hook: self.hook, ..ErofsOptions::default() })?;
        warn_of(&report.omissions);
        Ok(())
    }

    /// One disk that a VMDK puts together, which guests from Linux 5.4 on mount; or else a disk for each layer (5.16).
    fn erofs_meta(&self) -> Result<()> {
        let image = self.file(IMAGE)?;
        let mut meta = write_erofs_meta(self.root, &image)?;
        warn_of(&meta.omissions);
        if !self.place.takes_vmdk {
            return Ok(());
        }
        for (device, path) in meta.devices.iter_mut().zip(contents(self.root)?) {
            device.path = path;
        }
        meta.write_head(&image, &self.file(HEAD)?)?;
        let [head, vmdk] = [HEAD, VMDK].map(|name| self.place.directory.join(name));
        let text = meta.vmdk(&head, VmdkAccess::ReadWrite)?;
        self.file(VMDK)?.write_all(&text).map_err(Error::io("write", &vmdk))
    }

    fn ext4(&self) -> Result<()> {
        let file = self.file(IMAGE)?;
        let options = Ext4Options { free: self.free, hook: self.hook, ..Ext4Options::default() };
        warn_of(&write_ext4(self.root, &file, &options)?.omissions);
        Ok(())
    }

    fn squashfs(&self) -> Result<()> {
        self.file(IMAGE)?;
        // It is read once or twice, so it is to be made soon.
        let compression = SquashfsCompression::Lz4;
        let options = SquashfsOptions { compression, hook: self.hook, ..SquashfsOptions::default() };
        warn_of(&write_squashfs(self.root, &self.place.directory.join(IMAGE), &options)?.omissions);
        Ok(())
    }

    fn archive(&self) -> Result<()> {
        let file = BufWriter::with_capacity(1 << 20, self.file(ARCHIVE)?);
        let options = CpioOptions { hook: self.hook, ..CpioOptions::default() };
        let (_, report) = export_cpio(self.root, file, &options)?;
        warn_of(&report.omissions);
        Ok(())
    }

    fn share(&self) -> Result<VirtioFs> {
        let options = VirtioFsOptions { queues: QUEUES, ..VirtioFsOptions::default() };
        Ok(VirtioFs::bind(Arc::clone(self.root), &self.place.directory.join(SOCKET), &options)?)
    }

    fn file(&self, name: &str) -> Result<File> {
        let path = self.place.directory.join(name);
        File::options().read(true).write(true).create_new(true).open(&path).map_err(Error::io("write", &path))
    }
}

/// Says what the guest does not see as it is in the image.
fn warn_of(omissions: &Omissions) {
    omissions.lines(SHOWN).iter().for_each(|line| tracing::warn!("{line}"));
}

impl fmt::Display for Via {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Erofs => "erofs",
            Self::ErofsMeta => "erofs-meta",
            Self::Ext4 => "ext4",
            Self::Squashfs => "squashfs",
            Self::Cpio => "cpio",
            Self::Virtiofs => "virtiofs",
        })
    }
}
