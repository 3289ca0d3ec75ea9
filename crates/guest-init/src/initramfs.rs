//! Stage one, in an initramfs: loads modules, mounts the root and starts its init.

use std::convert::Infallible;
use std::ffi::{CString, OsString};
use std::fs::File;
use std::io;
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::Command;

use rustix::io::Errno;
use rustix::mount::{MountFlags, mount};
use rustix::system::finit_module;
use vmroot_guest_config::{MAX_STAGE, STAGE, Stage, StageRoot};

use crate::kernel::{self, CommandLine};
use crate::{
    Error, Result, console, devices, document, mount_point, mounts, overlay, shutdown, switch_root, verity, volumes,
    wrong_block,
};

/// The mount point of the root before the switch.
const ROOT: &str = "/root";
/// The mount point of the read-only root under an overlay.
const LOWER: &str = "/lower";

/// `MODULE_INIT_COMPRESSED_FILE` (linux/module.h): the kernel decompresses the module.
const COMPRESSED: i32 = 4;

/// Returns whether this is an initramfs with instructions for stage one.
pub(crate) fn has_instructions() -> bool {
    Path::new(STAGE).exists()
}

/// Follows `/vmroot/stage.json`, and executes the root's init with the same `arguments`.
pub(crate) fn run(arguments: &[OsString]) -> ! {
    let start = kernel::now();
    mounts::mount_essential();
    console::attach();
    let kernel = CommandLine::read();
    if kernel.trace {
        console::trace("stage", start);
    }
    let Err(error) = become_init(arguments, kernel.verity.as_deref());
    // The cause of an I/O error of the root.
    let error = kernel.verity.and_then(|_| wrong_block::find()).unwrap_or(error);
    shutdown::end_after(&error, kernel.reboot)
}

fn become_init(arguments: &[OsString], root_hash: Option<&str>) -> Result<Infallible> {
    let path = Path::new(STAGE);
    let mut stage: Stage = document::parse(path, &document::read(path, MAX_STAGE)?)?;
    stage.modules.iter().try_for_each(|module| load(Path::new(module)))?;
    if let Some(device) = verity::open(stage.verity.as_ref(), root_hash)? {
        stage.root.source = device.to_string_lossy().into_owned();
    }
    let root = Path::new(ROOT);
    if stage.overlay || stage.upper.is_some() {
        let lower = Path::new(LOWER);
        mount_root(&stage.root, lower)?;
        match &stage.upper {
            Some(upper) => overlay::mount_with_disk(upper, lower, root)?,
            None => overlay::mount_in_memory(lower, root)?,
        }
    } else {
        mount_root(&stage.root, root)?;
    }
    switch_root::switch(root)?;
    // In the root, where the links of the image lead to its own directories.
    stage.volumes.iter().try_for_each(volumes::mount)?;
    if root_hash.is_some() {
        read_wholly(Path::new(&stage.init))?;
    }
    let source = Command::new(&stage.init).args(arguments).exec();
    Err(Error::Io { path: stage.init.into(), source })
}

/// Reads a file from its start to its end. A wrong block of the init is an error here, where it can be reported. In the
/// running init, it would be the end of PID 1 and so a panic of the kernel.
fn read_wholly(path: &Path) -> Result<()> {
    let copied = File::open(path).and_then(|mut file| io::copy(&mut file, &mut io::sink()));
    copied.map(drop).map_err(|source| Error::Io { path: path.to_owned(), source })
}

/// Loads a module, unless it is loaded already.
fn load(path: &Path) -> Result<()> {
    let file = File::open(path).map_err(|source| Error::Io { path: path.to_owned(), source })?;
    let compressed =
        path.extension().is_some_and(|extension| ["gz", "xz", "zst"].iter().any(|&known| extension == known));
    match finit_module(&file, c"", if compressed { COMPRESSED } else { 0 }) {
        // ENODEV: a faster implementation of an algorithm, which this processor does not support.
        Ok(()) | Err(Errno::EXIST | Errno::NODEV) => Ok(()),
        Err(error) => Err(Error::Module { path: path.to_owned(), source: error.into() }),
    }
}

fn mount_root(root: &StageRoot, target: &Path) -> Result<()> {
    root.devices().try_for_each(|device| devices::wait(device, devices::DEVICE_TIMEOUT))?;
    let flags = if root.read_only { MountFlags::RDONLY } else { MountFlags::empty() };
    make_directory(target)?;
    // A tag has no device node to wait for. The kernel reports it as invalid until its device is found.
    let is_tag = root.devices().next().is_none();
    let attempt = || match mount_at(&root.source, target, &root.fstype, flags, &root.options) {
        Err(Error::Mount { source, .. }) if is_tag && source.kind() == io::ErrorKind::InvalidInput => None,
        outcome => Some(outcome),
    };
    let last = || mount_at(&root.source, target, &root.fstype, flags, &root.options);
    devices::retry(devices::DEVICE_TIMEOUT, attempt).unwrap_or_else(last)
}

pub(crate) fn mount_at(source: &str, target: &Path, fstype: &str, flags: MountFlags, options: &str) -> Result<()> {
    let failed = |error: io::Error| Error::Mount {
        fstype: fstype.to_owned(),
        source_name: source.to_owned(),
        target: target.to_owned(),
        source: error,
    };
    let options = CString::new(options).map_err(|error| failed(error.into()))?;
    mount(source, target, fstype, flags, options.as_c_str()).map_err(|error| failed(error.into()))
}

pub(crate) fn make_directory(directory: &Path) -> Result<()> {
    mount_point::make_directory(directory).map_err(|source| Error::Io { path: directory.to_owned(), source })
}
