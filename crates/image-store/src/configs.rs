//! Configs of images, kept in memory after they were read and verified.

use std::collections::{HashMap, VecDeque};
use std::fs;
use std::io::{self, Read};
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};

use vmroot_cache::Cache;
use vmroot_model::{CONFIG_LIMIT, Digest, ImageConfig};

use crate::catalogue::Version;
use crate::{Error, Record, Result, Store};

/// The bytes of configs that are kept in memory. Parsed, they take several times as much. Those read first go first.
const KEPT_BYTES: usize = 16 << 20;

/// The configs of a store, which its clones share.
#[derive(Debug, Clone, Default)]
pub(crate) struct Configs {
    kept: Arc<Mutex<Kept>>,
}

#[derive(Debug, Default)]
struct Kept {
    configs: HashMap<Digest, (Version, Arc<ImageConfig>)>,
    /// The keys of `configs` in the order in which they were read.
    order: VecDeque<Digest>,
    bytes: usize,
}

impl Kept {
    fn insert(&mut self, version: Version, config: &Arc<ImageConfig>) {
        let (digest, length) = (*config.digest(), config.raw().len());
        if length > KEPT_BYTES {
            return;
        }
        self.remove(&digest);
        while self.bytes + length > KEPT_BYTES
            && let Some(first) = self.order.front().copied()
        {
            self.remove(&first);
        }
        self.bytes += length;
        self.order.push_back(digest);
        self.configs.insert(digest, (version, Arc::clone(config)));
    }

    fn remove(&mut self, digest: &Digest) {
        if let Some((_, config)) = self.configs.remove(digest) {
            self.bytes -= config.raw().len();
            self.order.retain(|other| other != digest);
        }
    }
}

impl Store {
    /// Returns the config of a record. It is read again only if its file has changed.
    ///
    /// # Errors
    /// [`Error::Damaged`] if the config is missing or damaged.
    pub(crate) fn config(&self, record: &Record) -> Result<Arc<ImageConfig>> {
        let digest = &record.config.digest;
        let mut configs = self.caches().filter_map(|cache| self.config_in(cache, digest));
        configs.next().ok_or_else(|| Error::damaged(self.cache.layout().blob(digest), *digest).of_image(record))
    }

    /// Returns a config if a cache has it undamaged.
    fn config_in(&self, cache: &Cache, digest: &Digest) -> Option<Arc<ImageConfig>> {
        let path = cache.layout().blob(digest);
        let version = Version::of_content(&fs::metadata(&path).ok()?);
        let kept = || self.configs.kept.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some((read, config)) = kept().configs.get(digest)
            && *read == version
        {
            return Some(Arc::clone(config));
        }
        let config = ImageConfig::parse(read_config(&path).ok()?).ok()?;
        if config.digest() != digest {
            return None;
        }
        let config = Arc::new(config);
        kept().insert(version, &config);
        Some(config)
    }
}

/// Reads a file of at most [`CONFIG_LIMIT`] bytes. The rest of a longer one is left out, and its digest is wrong.
fn read_config(path: &Path) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    fs::File::open(path)?.take(CONFIG_LIMIT).read_to_end(&mut bytes)?;
    Ok(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_configs_go_first() {
        let config = |number: usize| {
            let padding = "x".repeat(CONFIG_LIMIT as usize / 2);
            let text = format!(r#"{{"author":"{number}{padding}","rootfs":{{"type":"layers"}}}}"#);
            Arc::new(ImageConfig::parse(text.into_bytes()).unwrap())
        };
        let configs: Vec<_> = (0..12).map(config).collect();
        let mut kept = Kept::default();
        for config in &configs {
            kept.insert(Version::default(), config);
            assert!(kept.bytes <= KEPT_BYTES && kept.order.len() == kept.configs.len());
        }
        // Each is somewhat longer than an eighth of the limit.
        let present: Vec<bool> = configs.iter().map(|it| kept.configs.contains_key(it.digest())).collect();
        assert_eq!(present, [[false; 5].as_slice(), &[true; 7]].concat());
        kept.insert(Version::default(), &configs[11]);
        assert_eq!(kept.configs.len(), 7);
    }
}
