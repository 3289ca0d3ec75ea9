//! Stage one, in an initramfs: from modules to the root's own init.

use std::convert::Infallible;
use std::ffi::{CString, OsString};
use std::fs::File;
use std::os::unix::fs::{MetadataExt, PermissionsExt, chown};
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::Command;
use std::{fs, io};

use rustix::io::Errno;
use rustix::mount::{MountFlags, mount};
use rustix::system::finit_module;

use crate::kernel::{self, CommandLine};
use crate::stage::{Root, Stage};
use crate::{Error, Result, console, devices, mounts, shutdown, switch_root};

/// Where the root is mounted before it is moved to.
const ROOT: &str = "/root";
/// Where the root is that a writable view lies upon.
const LOWER: &str = "/lower";
/// The tmpfs of a writable view.
const WRITABLE: &str = "/writable";

/// `MODULE_INIT_COMPRESSED_FILE` (linux/module.h): the kernel unpacks the module.
const COMPRESSED: i32 = 4;

/// Does what `/vmroot/stage.json` says, and becomes the root's init with the same `arguments`.
pub(crate) fn run(arguments: &[OsString]) -> ! {
    let start = kernel::now();
    mounts::first();
    console::attach();
    let kernel = CommandLine::read();
    if kernel.trace {
        console::moment("stage", start);
    }
    let Err(error) = become_init(arguments);
    console::error(&error);
    shutdown::end(error.exit_code(), kernel.reboot)
}

fn become_init(arguments: &[OsString]) -> Result<Infallible> {
    let stage = Stage::read()?;
    stage.modules.iter().try_for_each(|module| load(module))?;
    let root = Path::new(ROOT);
    if stage.overlay {
        mount_root(&stage.root, Path::new(LOWER))?;
        mount_overlay(root)?;
    } else {
        mount_root(&stage.root, root)?;
    }
    switch_root::switch(root)?;
    let source = Command::new(&stage.init).args(arguments).exec();
    Err(Error::Io { path: stage.init, source })
}

/// Loads a module, unless the kernel has it.
fn load(path: &Path) -> Result<()> {
    let file = File::open(path).map_err(|source| Error::Io { path: path.to_owned(), source })?;
    let compressed =
        path.extension().is_some_and(|extension| ["gz", "xz", "zst"].iter().any(|&known| extension == known));
    match finit_module(&file, c"", if compressed { COMPRESSED } else { 0 }) {
        Ok(()) | Err(Errno::EXIST) => Ok(()),
        Err(error) => Err(Error::Module { path: path.to_owned(), source: error.into() }),
    }
}

fn mount_root(root: &Root, target: &Path) -> Result<()> {
    root.devices().try_for_each(|device| devices::wait(device, devices::PATIENCE))?;
    let flags = if root.read_only { MountFlags::RDONLY } else { MountFlags::empty() };
    make(target)?;
    // A tag has no node to wait for: until its device is found, the kernel calls it invalid.
    let is_tag = root.devices().next().is_none();
    let attempt = || match mount_at(&root.source, target, &root.fstype, flags, &root.options) {
        Err(Error::Mount { source, .. }) if is_tag && source.kind() == io::ErrorKind::InvalidInput => None,
        outcome => Some(outcome),
    };
    let last = || mount_at(&root.source, target, &root.fstype, flags, &root.options);
    devices::retry(devices::PATIENCE, attempt).unwrap_or_else(last)
}

/// A tmpfs takes the changes. Its top has mode and owner of the root's, for that is what an overlay shows.
fn mount_overlay(target: &Path) -> Result<()> {
    let (lower, writable) = (Path::new(LOWER), Path::new(WRITABLE));
    make(writable)?;
    mount_at("tmpfs", writable, "tmpfs", MountFlags::empty(), "mode=0755")?;
    let (upper, work) = (writable.join("upper"), writable.join("work"));
    make(&upper)?;
    make(&work)?;
    let like = || -> io::Result<()> {
        let metadata = fs::metadata(lower)?;
        chown(&upper, Some(metadata.uid()), Some(metadata.gid()))?;
        fs::set_permissions(&upper, fs::Permissions::from_mode(metadata.mode() & 0o7777))?;
        File::open(&upper)?.set_times(fs::FileTimes::new().set_modified(metadata.modified()?))
    };
    like().map_err(|source| Error::Io { path: upper.clone(), source })?;
    make(target)?;
    let options = format!("lowerdir={LOWER},upperdir={},workdir={}", upper.display(), work.display());
    mount_at("overlay", target, "overlay", MountFlags::empty(), &options)
}

fn mount_at(source: &str, target: &Path, fstype: &str, flags: MountFlags, options: &str) -> Result<()> {
    let failed = |error: io::Error| Error::Mount {
        fstype: fstype.to_owned(),
        source_name: source.to_owned(),
        target: target.to_owned(),
        source: error,
    };
    let options = CString::new(options).map_err(|error| failed(error.into()))?;
    mount(source, target, fstype, flags, options.as_c_str()).map_err(|error| failed(error.into()))
}

fn make(directory: &Path) -> Result<()> {
    mounts::make_directory(directory).map_err(|source| Error::Io { path: directory.to_owned(), source })
}
