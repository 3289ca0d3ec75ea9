//! The files of disks that keep the writes to a root, of `boot` and `mount`.

use std::fs::{self, File};
use std::io::{self, Read};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use anyhow::Context as _;
use rustix::fs::OFlags;
use vmroot::boot::{DiskFileSystem, LockedDisk};
use vmroot::ext4::{CreateOptions, create_ext4};
use vmroot::guest::{MAX_UPPER_RECORD, UPPER, UPPER_RECORD, UPPER_WORK, UpperRecord};
use vmroot::output::TEMPORARY_PREFIX;

use crate::exit::Advised;

/// Opens and locks the disk of `--upper`. Returns `None` if it is missing.
pub(crate) fn open_upper(path: &Path) -> anyhow::Result<Option<LockedDisk>> {
    if matches!(path.try_exists(), Ok(false)) {
        crate::paths::check_file(path)?;
        return Ok(None);
    }
    if path.is_dir() {
        let message = format!("--upper {}: a directory, and a guest writes to a disk", path.display());
        return Err(Advised::usage(message, "name a file; it is made if it is missing").into());
    }
    let lock = LockedDisk::open(path, false).map_err(vmroot::Error::from)?;
    match DiskFileSystem::of(lock.file(), path).map_err(vmroot::Error::from)? {
        Some(DiskFileSystem::Ext4) => Ok(Some(lock)),
        found => {
            let found = found.map_or("no file system that vmroot knows", DiskFileSystem::name);
            let message = format!("--upper {}: has {found}, and not ext4", path.display());
            Err(Advised::new(message, "name a new file, which is then made; or make one with `mkfs.ext4 FILE`").into())
        }
    }
}

/// Makes and locks the disk of `--upper`, an empty ext4 of `size` bytes. Other users have no access to it.
pub(crate) fn create_upper(path: &Path, size: u64) -> anyhow::Result<LockedDisk> {
    let create = || -> anyhow::Result<LockedDisk> {
        let directory = path.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."));
        let file = tempfile::Builder::new().prefix(TEMPORARY_PREFIX).tempfile_in(directory)?;
        let options = CreateOptions { journal: true, ..CreateOptions::default() };
        create_ext4(file.as_file(), size, &options).map_err(vmroot::Error::from)?;
        file.as_file().sync_all()?;
        file.persist_noclobber(path).map_err(|error| error.error)?;
        Ok(LockedDisk::open(path, false).map_err(vmroot::Error::from)?)
    };
    create().with_context(|| format!("--upper {}", path.display()))
}

/// The directories of an upper layer on a mounted disk.
pub(crate) struct UpperDirectories {
    pub(crate) layer: PathBuf,
    pub(crate) work: PathBuf,
}

/// Checks the record of the image below a disk that is mounted at `place`, or writes it, as a guest does
/// (`docs/formats/upper.md`). The directories may be missing.
pub(crate) fn prepare_upper(place: &Path, name: &str, image: &str, rebase: bool) -> anyhow::Result<UpperDirectories> {
    let record = place.join(UPPER_RECORD);
    let here = UpperRecord { version: UpperRecord::VERSION, image: image.to_owned(), name: name.to_owned() };
    match read_record(&record)? {
        Some(on_disk) if on_disk.version != here.version => {
            anyhow::bail!("{UPPER_RECORD} has version {}, and this program knows {}", on_disk.version, here.version);
        }
        Some(on_disk) if on_disk.image != here.image && !rebase => {
            let message =
                format!("made over {} ({}), and this is {name} ({image})", on_disk.name.escape_debug(), on_disk.image);
            return Err(Advised::new(message, "--rebase uses it anyway").into());
        }
        Some(on_disk) if on_disk.image == here.image => {}
        _ => {
            let unfinished = place.join(format!("{UPPER_RECORD}.new"));
            // Not through a link that a guest has made.
            remove_if_there(&unfinished)?;
            let mut file = File::create_new(&unfinished)?;
            io::Write::write_all(&mut file, (serde_json::to_string_pretty(&here)? + "\n").as_bytes())?;
            file.sync_all()?;
            fs::rename(&unfinished, &record)?;
        }
    }
    let (layer, work) = (place.join(UPPER), place.join(UPPER_WORK));
    for directory in [&layer, &work] {
        if directory.symlink_metadata().is_ok_and(|metadata| !metadata.is_dir()) {
            anyhow::bail!("{}: not a directory", directory.strip_prefix(place).unwrap_or(directory).display());
        }
    }
    // The mark of a mount with `volatile` blocks the next mount.
    match fs::remove_dir_all(work.join("work/incompat/volatile")) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error.into()),
        _ => {}
    }
    Ok(UpperDirectories { layer, work })
}

fn read_record(path: &Path) -> anyhow::Result<Option<UpperRecord>> {
    let flags = (OFlags::NOFOLLOW | OFlags::NONBLOCK).bits().cast_signed();
    let file = match File::options().read(true).custom_flags(flags).open(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        file => file.context(UPPER_RECORD)?,
    };
    let mut text = Vec::new();
    file.take(MAX_UPPER_RECORD + 1).read_to_end(&mut text).context(UPPER_RECORD)?;
    if text.len() as u64 > MAX_UPPER_RECORD {
        anyhow::bail!("{UPPER_RECORD}: longer than {MAX_UPPER_RECORD} bytes");
    }
    Ok(Some(serde_json::from_slice(&text).context(UPPER_RECORD)?))
}

fn remove_if_there(path: &Path) -> io::Result<()> {
    match fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        _ => Ok(()),
    }
}
