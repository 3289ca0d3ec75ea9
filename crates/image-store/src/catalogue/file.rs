//! The catalogue as one file, which is read faster than thousands of records.
//!
//! The file is derived from the records, and is made again if it is missing, damaged or old. It is not synced, because
//! its checksum shows what a crash of the machine has lost. See `docs/formats/cache.md`.

use std::collections::{BTreeMap, HashMap};
use std::fs;
use std::io::Write;
use std::path::Path;
use std::sync::Arc;

use vmroot_cache::PUBLISHED_MODE;
use vmroot_model::{Descriptor, Digest, MediaType, Platform, Reference};
use vmroot_output::TemporaryFile;

use super::{Content, Files, Stamp, StoredFile, Version};
use crate::{LayerRecord, Record, Result, Store, metadata};

/// The beginning of the file. Another format has another one.
const MAGIC: &[u8; 8] = b"vmrcat01";
/// The number of records and metadata from which the file is written. Fewer are read as fast without it.
const MIN_FILES: usize = 64;

/// Kinds of entries.
const COMPACT: u8 = 0;
const RECORD: u8 = 1;
const METADATA: u8 = 2;

/// The content of the file.
pub(super) struct Kept {
    pub(super) stamp: Stamp,
    pub(super) files: Files,
}

impl Store {
    /// Reads the file. A missing, damaged or unknown one counts as empty.
    pub(super) fn read_catalogue(&self) -> Option<Kept> {
        let path = self.cache.layout().catalogue();
        let bytes = fs::read(&path).ok()?;
        let kept = decode(&bytes);
        if kept.is_none() {
            tracing::debug!(path = %path.display(), "the catalogue is damaged or of another version");
        }
        kept
    }

    /// Writes the file, if that is worthwhile. A failure is not an error: the records are complete without it.
    pub(super) fn keep_catalogue(&self, stamp: &Stamp, files: &Files) {
        if files.len() < MIN_FILES || stamp.journal.is_some() {
            return;
        }
        let Some(bytes) = encode(stamp, files) else { return };
        let write = || -> Result<()> {
            let file = TemporaryFile::create_in(&self.cache.layout().locks(), 0o600)?;
            file.file().write_all(&bytes).map_err(vmroot_output::Error::on("write", file.path()))?;
            file.set_mode(Some(PUBLISHED_MODE))?;
            Ok(file.rename(&self.cache.layout().catalogue())?)
        };
        if let Err(error) = write() {
            tracing::debug!(%error, "the catalogue cannot be written");
        }
    }
}

/// Encodes all files. Returns `None` if one of them must be read each time: it is damaged, or has an unusual name.
fn encode(stamp: &Stamp, files: &Files) -> Option<Vec<u8>> {
    let mut writer = Writer::default();
    for (name, file) in files {
        let (stem, _) = name.split_once('.')?;
        writer.body.extend(Digest::parse(&format!("sha256:{stem}")).ok()?.as_bytes());
        if file.version == Version::default() {
            return None;
        }
        writer.version(&file.version);
        match &file.content {
            Content::Record(record) if is_plain(record) => writer.compact(record),
            Content::Record(record) => writer.json(RECORD, &**record)?,
            Content::Metadata(metadata) => writer.json(METADATA, metadata)?,
            Content::Damaged(_) => return None,
        }
    }
    let mut head = Writer::default();
    head.number(stamp.inode);
    head.body.extend(stamp.modified.0.to_le_bytes());
    head.body.extend(stamp.modified.1.to_le_bytes());
    head.bytes(&stamp.generation);
    head.body.push(u8::from(stamp.is_settled));
    head.table(&writer.media_types, |media_type| Some(media_type.as_str().to_owned()))?;
    head.table(&writer.platforms, |platform| serde_json::to_string(platform).ok())?;
    head.count(files.len());
    let body = [head.body, writer.body].concat();
    Some([MAGIC.as_slice(), &crc32fast::hash(&body).to_le_bytes(), &body].concat())
}

fn decode(bytes: &[u8]) -> Option<Kept> {
    let body = bytes.strip_prefix(MAGIC)?;
    let (checksum, body) = body.split_first_chunk()?;
    if u32::from_le_bytes(*checksum) != crc32fast::hash(body) {
        return None;
    }
    let mut reader = Reader { rest: body };
    let stamp = Stamp {
        inode: reader.number()?,
        modified: (reader.signed()?, reader.signed()?),
        generation: reader.bytes()?.to_vec(),
        journal: None,
        is_settled: reader.byte()? != 0,
    };
    let media_types = reader.table(|text| Some(MediaType::new(text)))?;
    let platforms: Vec<Platform> = reader.table(|text| serde_json::from_str(text).ok())?;
    let count = reader.count()?;
    // Each file takes more than 32 bytes, so a wrong number does not allocate much.
    let mut files = Files::with_capacity(count.min(reader.rest.len() / 32));
    for _ in 0..count {
        let stem = Digest::from_sha256(*reader.array()?).hex();
        let version = reader.version()?;
        let (extension, content) = match reader.byte()? {
            COMPACT => (".json", Content::Record(Arc::new(reader.compact(&media_types, &platforms)?))),
            RECORD => (".json", Content::Record(Arc::new(serde_json::from_slice(reader.bytes()?).ok()?))),
            METADATA => {
                let name = format!("{stem}.meta");
                (".meta", Content::Metadata(metadata::parse(Path::new(&name), reader.bytes()?).ok()?))
            }
            _ => return None,
        };
        files.insert(stem + extension, Arc::new(StoredFile { version, content }));
    }
    reader.rest.is_empty().then_some(Kept { stamp, files })
}

/// Returns whether the compact form has all fields of a record.
fn is_plain(record: &Record) -> bool {
    let is_plain = |it: &Descriptor| *it == Descriptor::new(it.media_type.clone(), it.digest, it.size);
    record.signatures.is_none()
        && record.indexes.is_empty()
        && is_plain(&record.manifest)
        && is_plain(&record.config)
        && record.layers.iter().all(|layer| layer.urls.is_empty() && layer.encryption.is_empty())
}

/// Values that many records share, with their positions.
type Shared<T> = HashMap<T, u32>;

#[derive(Default)]
struct Writer {
    body: Vec<u8>,
    media_types: Shared<MediaType>,
    platforms: Shared<Platform>,
}

impl Writer {
    fn number(&mut self, number: u64) {
        self.body.extend(number.to_le_bytes());
    }

    fn small(&mut self, number: u32) {
        self.body.extend(number.to_le_bytes());
    }

    fn count(&mut self, count: usize) {
        self.small(u32::try_from(count).unwrap_or(u32::MAX));
    }

    fn bytes(&mut self, bytes: &[u8]) {
        self.count(bytes.len());
        self.body.extend(bytes);
    }

    fn optional(&mut self, text: Option<&str>) {
        self.body.push(u8::from(text.is_some()));
        if let Some(text) = text {
            self.bytes(text.as_bytes());
        }
    }

    fn digest(&mut self, digest: &Digest) {
        self.body.push(u8::try_from(digest.as_bytes().len()).unwrap_or(0));
        self.body.extend(digest.as_bytes());
    }

    fn version(&mut self, version: &Version) {
        self.number(version.inode);
        self.number(version.made.0);
        self.small(version.made.1);
        self.number(version.size);
    }

    fn media_type(&mut self, media_type: &MediaType) {
        let number = position(&mut self.media_types, media_type);
        self.small(number);
    }

    fn descriptor(&mut self, descriptor: &Descriptor) {
        self.media_type(&descriptor.media_type);
        self.digest(&descriptor.digest);
        self.number(descriptor.size);
    }

    fn json(&mut self, kind: u8, value: &impl serde::Serialize) -> Option<()> {
        self.body.push(kind);
        self.bytes(&serde_json::to_vec(value).ok()?);
        Some(())
    }

    /// Writes a record that [`is_plain`].
    fn compact(&mut self, record: &Record) {
        let Record {
            reference,
            platform,
            digest,
            manifest,
            config,
            layers,
            pulled,
            loaded_from,
            created,
            indexes: _,
            signatures: _,
            shared_cache: _,
        } = record;
        self.body.push(COMPACT);
        self.optional(reference.as_ref().map(ToString::to_string).as_deref());
        let platform = position(&mut self.platforms, platform);
        self.small(platform);
        self.digest(digest);
        self.descriptor(manifest);
        self.descriptor(config);
        self.count(layers.len());
        for LayerRecord { media_type, digest, diff_id, size, urls: _, encryption: _ } in layers {
            self.media_type(media_type);
            self.digest(digest);
            self.digest(diff_id);
            self.number(*size);
        }
        self.number(*pulled);
        self.optional(loaded_from.as_deref());
        self.optional(created.as_deref());
    }

    /// Writes shared values in the order of their positions.
    fn table<T>(&mut self, shared: &Shared<T>, text: impl Fn(&T) -> Option<String>) -> Option<()> {
        let mut values: Vec<(&u32, &T)> = shared.iter().map(|(value, position)| (position, value)).collect();
        values.sort_unstable_by_key(|(position, _)| **position);
        self.count(values.len());
        for (_, value) in values {
            self.bytes(text(value)?.as_bytes());
        }
        Some(())
    }
}

fn position<T: Clone + Eq + std::hash::Hash>(shared: &mut Shared<T>, value: &T) -> u32 {
    if let Some(position) = shared.get(value) {
        return *position;
    }
    let position = u32::try_from(shared.len()).unwrap_or(u32::MAX);
    shared.insert(value.clone(), position);
    position
}

struct Reader<'a> {
    rest: &'a [u8],
}

impl<'a> Reader<'a> {
    fn array<const N: usize>(&mut self) -> Option<&'a [u8; N]> {
        let (array, rest) = self.rest.split_first_chunk()?;
        self.rest = rest;
        Some(array)
    }

    fn byte(&mut self) -> Option<u8> {
        self.array::<1>().map(|[byte]| *byte)
    }

    fn number(&mut self) -> Option<u64> {
        self.array().copied().map(u64::from_le_bytes)
    }

    fn signed(&mut self) -> Option<i64> {
        self.array().copied().map(i64::from_le_bytes)
    }

    fn small(&mut self) -> Option<u32> {
        self.array().copied().map(u32::from_le_bytes)
    }

    fn count(&mut self) -> Option<usize> {
        usize::try_from(self.small()?).ok()
    }

    fn bytes(&mut self) -> Option<&'a [u8]> {
        let count = self.count()?;
        let (bytes, rest) = self.rest.split_at_checked(count)?;
        self.rest = rest;
        Some(bytes)
    }

    fn text(&mut self) -> Option<&'a str> {
        std::str::from_utf8(self.bytes()?).ok()
    }

    fn optional(&mut self) -> Option<Option<&'a str>> {
        if self.byte()? == 0 { Some(None) } else { self.text().map(Some) }
    }

    fn digest(&mut self) -> Option<Digest> {
        match self.byte()? {
            32 => self.array().copied().map(Digest::from_sha256),
            64 => self.array().copied().map(Digest::from_sha512),
            _ => None,
        }
    }

    fn version(&mut self) -> Option<Version> {
        let (inode, seconds, nanoseconds) = (self.number()?, self.number()?, self.small()?);
        Some(Version { inode, made: (seconds, nanoseconds), size: self.number()? })
    }

    fn shared<T: Clone>(&mut self, values: &[T]) -> Option<T> {
        values.get(self.count()?).cloned()
    }

    fn descriptor(&mut self, media_types: &[MediaType]) -> Option<Descriptor> {
        let (media_type, digest) = (self.shared(media_types)?, self.digest()?);
        Some(Descriptor::new(media_type, digest, self.number()?))
    }

    fn compact(&mut self, media_types: &[MediaType], platforms: &[Platform]) -> Option<Record> {
        let reference = match self.optional()? {
            Some(text) => Some(Reference::parse(text).ok()?),
            None => None,
        };
        let platform = self.shared(platforms)?;
        let digest = self.digest()?;
        let (manifest, config) = (self.descriptor(media_types)?, self.descriptor(media_types)?);
        let count = self.count()?;
        let mut layers = Vec::with_capacity(count.min(self.rest.len() / 64));
        for _ in 0..count {
            let media_type = self.shared(media_types)?;
            let (digest, diff_id, size) = (self.digest()?, self.digest()?, self.number()?);
            let (urls, encryption) = (Vec::new(), BTreeMap::new());
            layers.push(LayerRecord { media_type, digest, diff_id, size, urls, encryption });
        }
        let pulled = self.number()?;
        let (loaded_from, created) = (self.optional()?.map(str::to_owned), self.optional()?.map(str::to_owned));
        Some(Record {
            reference,
            platform,
            digest,
            manifest,
            config,
            layers,
            pulled,
            loaded_from,
            created,
            indexes: Vec::new(),
            signatures: None,
            shared_cache: None,
        })
    }

    fn table<T>(&mut self, parse: impl Fn(&'a str) -> Option<T>) -> Option<Vec<T>> {
        let count = self.count()?;
        let mut values = Vec::with_capacity(count.min(self.rest.len() / 4));
        for _ in 0..count {
            values.push(parse(self.text()?)?);
        }
        Some(values)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{NoProgress, StoreOptions};

    fn record(number: usize) -> Record {
        let of = |text: String| {
            let media_type = if number.is_multiple_of(2) { "a/b" } else { "c/d" };
            serde_json::to_value(Descriptor::of(MediaType::new(media_type), text.as_bytes())).unwrap()
        };
        let layer = serde_json::json!({
            "mediaType": "x/y",
            "digest": Digest::of(b"layer"),
            "diffId": Digest::of(b"tar"),
            "size": number,
            "urls": if number.is_multiple_of(5) { vec!["https://a.test/x"] } else { Vec::new() },
        });
        let record = serde_json::json!({
            "reference": (!number.is_multiple_of(7)).then(|| format!("a/b{number}:1")),
            "platform": { "os": "linux", "architecture": if number.is_multiple_of(3) { "arm64" } else { "amd64" } },
            "digest": Digest::of(number.to_string().as_bytes()),
            "manifest": of(format!("m{number}")),
            "config": of(format!("c{number}")),
            "layers": [layer],
            "pulled": number,
            "loadedFrom": number.is_multiple_of(4).then_some("an archive"),
            "created": number.is_multiple_of(2).then_some("2024-01-01T00:00:00Z"),
        });
        serde_json::from_value(record).unwrap()
    }

    fn open(directory: &Path) -> Store {
        Store::open(StoreOptions::new(directory)).unwrap()
    }

    /// Every other process reads the records from the catalogue, and sees each later change.
    #[test]
    fn a_catalogue_has_all_records() {
        let directory = tempfile::tempdir().unwrap();
        let store = open(directory.path());
        let records: Vec<Record> = (0..100).map(record).collect();
        store.write_records(&records, &NoProgress).unwrap();
        store.set_built_locally(records[1].id()).unwrap();
        let expected = store.images().unwrap();
        assert_eq!(expected.len(), 100);
        let catalogue = store.cache.layout().catalogue();
        // From the time when it shows all changes, the directory is old enough.
        std::thread::sleep(super::super::SETTLED_AFTER * 2);
        assert_eq!(open(directory.path()).images().unwrap(), expected);
        let kept = decode(&fs::read(&catalogue).unwrap()).unwrap();
        assert!(kept.stamp.is_settled && kept.files.len() == 101);
        let other = open(directory.path());
        assert!(other.is_built_locally(records[1].id()).unwrap());
        assert_eq!(other.images().unwrap(), expected);
        store.delete(records[2].id()).unwrap();
        assert_eq!(other.images().unwrap().len(), 99);
        assert_eq!(open(directory.path()).images().unwrap().len(), 99);
    }

    #[test]
    fn a_damaged_catalogue_is_made_again() {
        let directory = tempfile::tempdir().unwrap();
        let store = open(directory.path());
        let records: Vec<Record> = (0..100).map(record).collect();
        store.write_records(&records, &NoProgress).unwrap();
        std::thread::sleep(super::super::SETTLED_AFTER * 2);
        assert_eq!(open(directory.path()).images().unwrap().len(), 100);
        let catalogue = store.cache.layout().catalogue();
        let whole = fs::read(&catalogue).unwrap();
        assert!(decode(&whole).is_some());
        for at in (0..whole.len()).step_by(97) {
            let mut damaged = whole.clone();
            damaged[at] ^= 1;
            assert!(decode(&damaged).is_none(), "{at}");
            assert!(decode(&whole[..at]).is_none(), "{at}");
        }
        fs::remove_file(&catalogue).unwrap();
        fs::write(&catalogue, &whole[..whole.len() / 2]).unwrap();
        assert_eq!(open(directory.path()).images().unwrap().len(), 100);
        assert!(decode(&fs::read(&catalogue).unwrap()).is_some());
    }
}
