//! Compressed forms of layers that were copied before.

use std::collections::{HashMap, HashSet, VecDeque};
use std::fs::{File, OpenOptions};
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::sync::Mutex;

use vmroot_errors::with_causes;
use vmroot_model::{Digest, LayerCompression};
use vmroot_output::OutputFile;

use crate::ledger::lock;

/// The most forms that are kept. The oldest are forgotten first.
const LIMIT: usize = 8192;

/// The most bytes of the file that are read: its last ones. A line has about 160.
const READ_LIMIT: u64 = 4 << 20;

/// The most forms of one layer that a destination is asked for.
const CANDIDATES: usize = 3;

/// A compressed form of a layer.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(crate) struct Variant {
    /// The digest of the decompressed layer.
    pub(crate) plain: Digest,
    pub(crate) digest: Digest,
    /// The size in bytes.
    pub(crate) size: u64,
    /// gzip or zstd.
    pub(crate) compression: LayerCompression,
}

/// A file with the compressed forms of layers, so that a layer is not compressed and uploaded again if the destination
/// has a form of it (docs/formats/cache.md).
///
/// A form is recorded only after all its bytes were hashed, compressed and plain, by this program: what a document says
/// of them does not count. Any number of processes may use the file. An error of the file is not an error of the copy.
#[derive(Debug)]
pub struct LayerVariants {
    path: PathBuf,
    /// `None` until the file is read.
    known: Mutex<Option<Known>>,
}

/// The forms in the file.
#[derive(Debug, Default)]
struct Known {
    /// The oldest first.
    all: VecDeque<Variant>,
    present: HashSet<Variant>,
    /// The digests of decompressed layers by those of their compressed forms.
    plain: HashMap<Digest, Digest>,
    /// The number of lines in the file.
    lines: usize,
}

impl LayerVariants {
    /// Returns the forms in a file, which need not exist. Nothing is read before a layer is compressed.
    pub fn in_file(path: impl Into<PathBuf>) -> Self {
        Self { path: path.into(), known: Mutex::new(None) }
    }

    /// Returns forms of a layer with a compression, the last recorded first. `digest` is that of the plain layer, or of
    /// one of its forms.
    pub(crate) fn of(&self, digest: &Digest, compression: LayerCompression) -> Vec<Variant> {
        let mut known = lock(&self.known);
        let known = known.get_or_insert_with(|| Known::read(&self.path));
        let plain = known.plain.get(digest).unwrap_or(digest);
        let fits = |it: &&Variant| it.plain == *plain && it.compression == compression && it.digest != *digest;
        known.all.iter().rev().filter(fits).take(CANDIDATES).cloned().collect()
    }

    /// Records a form whose bytes were hashed.
    pub(crate) fn record(&self, variant: Variant) {
        let mut known = lock(&self.known);
        let known = known.get_or_insert_with(|| Known::read(&self.path));
        let line = variant.line();
        if !known.add(variant) {
            return;
        }
        known.lines += 1;
        let written = match known.lines > 2 * LIMIT {
            true => known.rewrite(&self.path),
            // A line is written by one call, so those of several processes do not mix.
            false => append(&self.path, &line),
        };
        if let Err(error) = written {
            tracing::debug!(error = with_causes(&error), path = %self.path.display(), "cannot record a layer");
        }
    }
}

fn append(path: &Path, line: &str) -> io::Result<()> {
    OpenOptions::new().append(true).create(true).mode(0o600).open(path)?.write_all(line.as_bytes())
}

impl Variant {
    fn line(&self) -> String {
        let Self { plain, digest, size, compression } = self;
        let name = if *compression == LayerCompression::Zstd { "zstd" } else { "gzip" };
        format!("{plain} {digest} {size} {name}\n")
    }

    fn parse(line: &str) -> Option<Self> {
        let mut words = line.split(' ');
        let plain = Digest::parse(words.next()?).ok()?;
        let digest = Digest::parse(words.next()?).ok()?;
        let size = words.next()?.parse().ok()?;
        let compression = match words.next()? {
            "gzip" => LayerCompression::Gzip,
            "zstd" => LayerCompression::Zstd,
            _ => return None,
        };
        (words.next().is_none() && plain != digest).then_some(Self { plain, digest, size, compression })
    }
}

impl Known {
    /// Reads a file. Without it, nothing is known. Lines that are no forms are ignored.
    fn read(path: &Path) -> Self {
        let mut known = Self::default();
        match read_end(path) {
            Ok(text) => {
                for line in text.lines() {
                    known.lines += 1;
                    if let Some(variant) = Variant::parse(line) {
                        known.add(variant);
                    }
                }
            }
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(error) => {
                tracing::debug!(error = with_causes(&error), path = %path.display(), "cannot read the known layers");
            }
        }
        known
    }

    /// Adds a form. Returns whether it is new.
    fn add(&mut self, variant: Variant) -> bool {
        if !self.present.insert(variant.clone()) {
            return false;
        }
        self.plain.insert(variant.digest, variant.plain);
        self.all.push_back(variant);
        if self.all.len() > LIMIT
            && let Some(oldest) = self.all.pop_front()
        {
            self.present.remove(&oldest);
            self.plain.remove(&oldest.digest);
        }
        true
    }

    /// Writes the file without the forgotten forms. A form that another process adds meanwhile is lost.
    fn rewrite(&mut self, path: &Path) -> io::Result<()> {
        let lines: String = self.all.iter().map(Variant::line).collect();
        let output = OutputFile::create(path).map_err(io::Error::other)?;
        output.file().write_all(lines.as_bytes())?;
        output.commit().map_err(io::Error::other)?;
        self.lines = self.all.len();
        Ok(())
    }
}

/// Reads the last lines of a file. The first may be a part of a line.
fn read_end(path: &Path) -> io::Result<String> {
    let mut file = File::open(path)?;
    let length = file.metadata()?.len();
    file.seek(SeekFrom::Start(length.saturating_sub(READ_LIMIT)))?;
    let mut bytes = Vec::new();
    file.take(READ_LIMIT).read_to_end(&mut bytes)?;
    Ok(String::from_utf8_lossy(&bytes).into_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn variant(number: usize, compression: LayerCompression) -> Variant {
        let plain = Digest::of(format!("plain {number}").as_bytes());
        let digest = Digest::of(format!("{number} {compression}").as_bytes());
        Variant { plain, digest, size: number as u64, compression }
    }

    #[test]
    fn forms_are_found_by_each_digest_of_their_layer() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("variants");
        let (gzip, zstd) = (variant(1, LayerCompression::Gzip), variant(1, LayerCompression::Zstd));
        let variants = LayerVariants::in_file(&path);
        assert_eq!(variants.of(&gzip.plain, LayerCompression::Gzip), []);
        for variant in [&gzip, &zstd, &gzip] {
            variants.record(variant.clone());
        }
        // Another process.
        for variants in [variants, LayerVariants::in_file(&path)] {
            assert_eq!(variants.of(&gzip.plain, LayerCompression::Gzip), std::slice::from_ref(&gzip));
            assert_eq!(variants.of(&gzip.digest, LayerCompression::Zstd), std::slice::from_ref(&zstd));
            assert_eq!(variants.of(&gzip.digest, LayerCompression::Gzip), [], "it is the form itself");
            assert_eq!(variants.of(&Digest::of(b"other"), LayerCompression::Gzip), []);
        }
        assert_eq!(std::fs::read_to_string(&path).unwrap().lines().count(), 2);
    }

    #[test]
    fn a_damaged_or_missing_file_is_no_error() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("variants");
        let gzip = variant(1, LayerCompression::Gzip);
        let plain = gzip.plain;
        let text = format!(
            "\n\u{0}x\nsha256:1 sha256:2 3 gzip\n{plain} {plain} 3 gzip\n{plain} {} x gzip\n{plain} {} 3 bzip2\n{}trailing",
            gzip.digest,
            gzip.digest,
            gzip.line()
        );
        std::fs::write(&path, [text.as_bytes(), b"\xff\xfe"].concat()).unwrap();
        assert_eq!(LayerVariants::in_file(&path).of(&plain, LayerCompression::Gzip), std::slice::from_ref(&gzip));
        // A directory is neither readable nor writable as a file.
        let variants = LayerVariants::in_file(directory.path());
        variants.record(gzip.clone());
        assert_eq!(variants.of(&plain, LayerCompression::Gzip), [gzip]);
    }

    #[test]
    fn old_forms_are_forgotten() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("variants");
        let variants = LayerVariants::in_file(&path);
        for number in 0..=2 * LIMIT {
            variants.record(variant(number, LayerCompression::Gzip));
        }
        assert_eq!(std::fs::read_to_string(&path).unwrap().lines().count(), LIMIT);
        let variants = LayerVariants::in_file(&path);
        assert_eq!(variants.of(&variant(0, LayerCompression::Gzip).plain, LayerCompression::Gzip), []);
        assert_eq!(variants.of(&variant(2 * LIMIT, LayerCompression::Gzip).plain, LayerCompression::Gzip).len(), 1);
    }
}
