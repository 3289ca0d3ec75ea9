//! A quick check that a tar contains images, to reject other files before anything is loaded.

use std::fs::File;
use std::io::{self, Read, Seek, SeekFrom};
use std::path::Path;

use serde::Deserialize;
use serde::de::IgnoredAny;
use vmroot_compress::{Compression, Decoder, Limits};
use vmroot_model::MANIFEST_LIMIT;

use crate::docker_archive::MANIFEST_JSON;
use crate::oci_layout::INDEX_JSON;
use crate::section::Section;
use crate::tar_members::{Member, scan};
use crate::{Error, Result};

/// Checks that a tar contains at least one image. The tar may be compressed.
///
/// `manifest.json` must list an image. If it is missing, `index.json` of an OCI archive must. Nothing is unpacked or
/// stored.
///
/// # Errors
/// - [`Error::OpenTar`]: the file cannot be opened.
/// - [`Error::ReadTar`]: the file is not a tar, cannot be read or decompressed, or has a list that is too long.
/// - [`Error::NoManifestInTar`]: there is neither list.
/// - [`Error::ParseManifest`]: the list is malformed.
/// - [`Error::NoImagesInTar`]: the list is empty.
pub fn validate_tar(path: &Path) -> Result<()> {
    let open = |source| Error::OpenTar { path: path.to_owned(), source };
    let read = |source| Error::ReadTar { path: path.to_owned(), source: Box::new(source) };
    let file = File::open(path).map_err(open)?;
    let metadata = file.metadata().map_err(open)?;
    let mut lists = ImageLists::default();
    let plain = metadata.is_file() && {
        let mut start = [0; Compression::SNIFF_LEN];
        let section = Section::new(file.try_clone().map_err(open)?.into(), 0, metadata.len());
        let len = section.peek(&mut start).map_err(Error::io("read", path)).map_err(read)?;
        Compression::sniff(&start[..len]) == Compression::None
    };
    if plain {
        lists.collect(path, file).map_err(read)?;
    } else {
        let decoder = Decoder::new(file, &Limits::default());
        let decoder = decoder.map_err(|source| read(Error::Decompress { path: path.to_owned(), source }))?;
        lists.collect(path, ForwardOnly { inner: decoder, position: 0 }).map_err(read)?;
    }
    lists.check(path)
}

/// The contents of the two members that can list images.
#[derive(Default)]
struct ImageLists {
    docker: Option<Vec<u8>>,
    oci: Option<Vec<u8>>,
}

#[derive(Deserialize)]
struct OciIndex {
    #[serde(default)]
    manifests: Option<Vec<IgnoredAny>>,
}

impl ImageLists {
    fn collect(&mut self, path: &Path, tar: impl Read + Seek) -> Result<()> {
        scan(path, tar, |name, member, body| {
            let list = match &*name {
                MANIFEST_JSON => &mut self.docker,
                INDEX_JSON => &mut self.oci,
                _ => return Ok(()),
            };
            let Member::File { len, .. } = member else { return Ok(()) };
            if len > MANIFEST_LIMIT {
                return Err(Error::member_too_large(path, &name, len, MANIFEST_LIMIT));
            }
            let mut bytes = Vec::new();
            body.read_to_end(&mut bytes).map_err(Error::io("read", path))?;
            *list = Some(bytes);
            Ok(())
        })
    }

    fn check(self, path: &Path) -> Result<()> {
        let parse = |member| {
            move |error: serde_json::Error| Error::ParseManifest {
                path: path.to_owned(),
                member,
                reason: error.to_string(),
            }
        };
        let images = match (self.docker, self.oci) {
            (Some(docker), _) => serde_json::from_slice::<Vec<IgnoredAny>>(&docker).map_err(parse(MANIFEST_JSON))?,
            (None, Some(oci)) => {
                let index = serde_json::from_slice::<OciIndex>(&oci).map_err(parse(INDEX_JSON))?;
                index.manifests.unwrap_or_default()
            }
            (None, None) => return Err(Error::NoManifestInTar { path: path.to_owned() }),
        };
        if images.is_empty() { Err(Error::NoImagesInTar { path: path.to_owned() }) } else { Ok(()) }
    }
}

/// A stream that supports skipping forward, the only kind of seeking that a scan uses.
struct ForwardOnly<R> {
    inner: R,
    position: u64,
}

impl<R: Read> Read for ForwardOnly<R> {
    fn read(&mut self, bytes: &mut [u8]) -> io::Result<usize> {
        let read = self.inner.read(bytes)?;
        self.position += read as u64;
        Ok(read)
    }
}

impl<R: Read> Seek for ForwardOnly<R> {
    fn seek(&mut self, to: SeekFrom) -> io::Result<u64> {
        let SeekFrom::Current(ahead @ 0..) = to else { return Err(io::ErrorKind::Unsupported.into()) };
        let ahead = ahead.unsigned_abs();
        if io::copy(&mut self.by_ref().take(ahead), &mut io::sink())? < ahead {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        Ok(self.position)
    }
}
