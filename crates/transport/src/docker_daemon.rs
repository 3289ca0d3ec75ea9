//! `docker-daemon:` sources and destinations: the images of a Docker engine.
//!
//! An engine gives and takes images as docker save archives, over HTTP. It writes the list of images at the end of an
//! archive, so the archive is spooled before it is read. Before Docker 25 the archive has `layer.tar` files, since then
//! an OCI layout as well. An image is loaded from an archive that is sent while it is written. The archive's list is at
//! its end, so a copy that is cut off loads nothing.

mod client;
mod destination;
mod host;
mod progress;
mod tls;
mod upload;

use std::path::{Path, PathBuf};
use std::sync::Arc;

use vmroot_model::Reference;
use vmroot_output::Cancel;
use vmroot_registry::tls::TlsDetails;

use self::client::Engine;
use self::destination::DaemonDestination;
use crate::docker_archive::DockerArchive;
use crate::name::DaemonName;
use crate::spool::spool_plain;
use crate::tar_members::TarMembers;
use crate::{ArchiveOptions, DestinationOptions, Error, ImageDestination, ImageSelector, ImageSource, Result};

/// Options for the images of a Docker engine.
#[derive(Debug, Clone)]
pub struct DaemonOptions {
    /// The address of the engine, [`Self::DEFAULT_HOST`] by default:
    ///
    /// | form | connection |
    /// |---|---|
    /// | `unix:///PATH` | a socket |
    /// | `tcp://HOST[:PORT]`, `https://HOST[:PORT]` | TLS; the default port is 2376 |
    /// | `http://HOST[:PORT]` | without encryption; the default port is 2375 |
    pub host: String,
    /// The directory with `ca.pem`, `cert.pem` and `key.pem`, for TLS. `ca.pem` is trusted beside the system's
    /// authorities.
    pub cert_dir: Option<PathBuf>,
    /// Whether the engine's certificate is not verified.
    pub insecure: bool,
    /// The versions, cipher suites and key exchanges of TLS to use.
    pub tls: TlsDetails,
    /// The spool directory, and the limits on decompressing an archive.
    pub archive: ArchiveOptions,
    /// Cancels requests.
    pub cancel: Cancel,
}

impl DaemonOptions {
    /// The address of the machine's own engine.
    pub const DEFAULT_HOST: &str = "unix:///var/run/docker.sock";

    /// Creates the default options.
    pub fn new(archive: ArchiveOptions) -> Self {
        Self {
            host: Self::DEFAULT_HOST.to_owned(),
            cert_dir: None,
            insecure: false,
            tls: TlsDetails::default(),
            archive,
            cancel: Cancel::new(),
        }
    }
}

/// Opens an image of a Docker engine. Its archive is spooled in an unnamed file.
///
/// # Errors
/// - [`Error::InvalidName`]: the address of the engine is invalid.
/// - [`Error::DaemonUnreachable`]: the engine does not answer, or the connection broke.
/// - [`Error::DaemonRefused`]: the engine has no such image, or another error.
/// - [`Error::Certificates`]: a certificate or key cannot be used.
/// - [`Error::Cancelled`].
/// - Those of [`Archive::open`](crate::Archive::open) and [`Archive::source`](crate::Archive::source) for the archive.
pub fn open_daemon(name: &DaemonName, options: &DaemonOptions) -> Result<Box<dyn ImageSource>> {
    let engine = Engine::connect(options)?;
    let shown = format!("docker-daemon:{name}");
    let path = Path::new(&shown);
    let saved = engine.save(&name.to_string())?;
    let members = TarMembers::scan(path, spool_plain(path, saved, None, &options.archive)?)?;
    let archive = DockerArchive::open(Arc::new(members), options.archive.limits)?;
    let images = archive.images();
    // The archive has one image. An engine may list it once for each of its names.
    let selector = match name {
        DaemonName::Reference(reference) if images.len() > 1 => ImageSelector::Name(reference.familiar()),
        _ => ImageSelector::Only,
    };
    let image = crate::selector::select(path, &images, &selector)?;
    Ok(Box::new(archive.source(image.index)?.with_name(shown)))
}

/// Opens a Docker engine for writing an image. Checks that it answers.
///
/// `destination.spool` is the directory of the blobs that wait for the commit. `destination.additional_tags` are more
/// names of the image. The other options are ignored.
///
/// # Errors
/// - [`Error::InvalidName`]: the name has no tag, or the address of the engine is invalid.
/// - [`Error::DaemonUnreachable`], [`Error::DaemonRefused`], [`Error::Certificates`], [`Error::Cancelled`]: as for
///   [`open_daemon`].
/// - [`Error::Io`]: the spool cannot be created.
pub fn open_daemon_destination(
    name: &DaemonName,
    destination: &DestinationOptions,
    options: &DaemonOptions,
) -> Result<Box<dyn ImageDestination>> {
    let invalid =
        |reason: &str| Error::InvalidName { name: format!("docker-daemon:{name}"), reason: reason.to_owned() };
    let tag: &Reference = match name {
        DaemonName::Reference(reference) if reference.tag().is_some() => reference,
        _ => return Err(invalid("a destination is NAME:TAG")),
    };
    if destination.additional_tags.iter().any(|tag| tag.digest().is_some()) {
        return Err(invalid("an additional tag has no digest"));
    }
    let engine = Engine::connect(options)?;
    Ok(Box::new(DaemonDestination::open(engine, tag, destination)?))
}
