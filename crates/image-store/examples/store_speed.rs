//! Measures operations of a store with many images, for `cargo xtask bench`: `store_speed generate|open|search CACHE`.
//!
//! `generate` writes a cache with 10,000 images of five layers each: 500 repositories with 20 tags. All repositories
//! share 50 bases, the tags of one share two layers, and four tags in a row share one more. `open` prints the seconds
//! from opening the store to its number of images, and `search` those of finding one image by a prefix of its id. Each
//! figure is the median of several rounds in one process.

use std::collections::HashMap;
use std::env;
use std::error::Error;
use std::fs::{self, File};
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::time::Instant;

use serde_json::{Value, json};
use vmroot_image_store::{Record, Store, StoreOptions};
use vmroot_layer_index::{BuildOptions, Index, build, merge};
use vmroot_model::{Digest, chain_ids};
use vmroot_testkit::image::{Image, ImageBuilder};
use vmroot_testkit::layer::{Encoding, Entry, Layer};

const REPOSITORIES: usize = 500;
const TAGS: usize = 20;
const BASES: usize = 50;
/// The number of tags in a row that share a fourth layer.
const RELEASES: usize = 4;
const FILES_PER_LAYER: usize = 3;
const ROUNDS: usize = 15;
/// The length of the prefix that is searched, as `vmroot images` prints ids.
const PREFIX: usize = 12;

type Result<T> = std::result::Result<T, Box<dyn Error>>;

fn main() -> Result<()> {
    let arguments: Vec<String> = env::args().skip(1).collect();
    let [figure, cache] = &arguments[..] else { return Err("usage: store_speed generate|open|search CACHE".into()) };
    let options = StoreOptions::new(cache);
    let seconds = match figure.as_str() {
        "generate" => return generate(Path::new(cache)),
        "open" => median(|| open(&options))?,
        "search" => {
            let store = Store::open(options)?;
            let ids = store.ids()?;
            let mut terms = ids.iter().map(|id| id.hex()[..PREFIX].to_owned()).step_by(ids.len() / ROUNDS);
            median(|| search(&store, &terms.next().ok_or("too few images")?))?
        }
        other => return Err(format!("{other}: expected generate, open or search").into()),
    };
    Ok(writeln!(io::stdout(), "{seconds}")?)
}

fn open(options: &StoreOptions) -> Result<f64> {
    let start = Instant::now();
    let count = Store::open(options.clone())?.len()?;
    let seconds = start.elapsed().as_secs_f64();
    if count == REPOSITORIES * TAGS { Ok(seconds) } else { Err(format!("{count} images").into()) }
}

fn search(store: &Store, term: &str) -> Result<f64> {
    let start = Instant::now();
    let found = store.search(term)?;
    let seconds = start.elapsed().as_secs_f64();
    if found.hex().starts_with(term) { Ok(seconds) } else { Err(format!("{term} is not {found}").into()) }
}

fn median(round: impl FnMut() -> Result<f64>) -> Result<f64> {
    let mut figures = std::iter::repeat_with(round).take(ROUNDS).collect::<Result<Vec<_>>>()?;
    figures.sort_by(f64::total_cmp);
    Ok(figures[ROUNDS / 2])
}

/// Writes the cache. Its files are complete, but not synced.
fn generate(directory: &Path) -> Result<()> {
    drop(Store::open(StoreOptions::new(directory))?);
    let mut cache = GeneratedCache { directory, layers: HashMap::new() };
    for repository in 0..REPOSITORIES {
        for tag in 0..TAGS {
            cache.add(repository, tag)?;
        }
    }
    Ok(())
}

struct GeneratedCache<'a> {
    directory: &'a Path,
    layers: HashMap<Digest, Index>,
}

impl GeneratedCache<'_> {
    fn add(&mut self, repository: usize, tag: usize) -> Result<()> {
        let image = image(repository, tag);
        for layer in &image.layers {
            if !self.layers.contains_key(&layer.diff_id) {
                let index = self.add_layer(&layer.tar)?;
                self.layers.insert(layer.diff_id, index);
            }
        }
        let diff_ids: Vec<Digest> = image.layers.iter().map(|layer| layer.diff_id).collect();
        let layers: Vec<&Index> = diff_ids.iter().map(|diff_id| &self.layers[diff_id]).collect();
        let chain_id = chain_ids(&diff_ids).last().copied().ok_or("an image has layers")?;
        let root = self.directory.join("roots/v1").join(format!("{}.idx", chain_id.hex()));
        merge(None, &layers, &chain_id, File::create(root)?)?;
        for (digest, bytes) in image.blobs() {
            self.add_blob(&digest, &bytes)?;
        }
        self.add_blob(&image.manifest.digest, &image.manifest.bytes)?;
        self.add_record(&image, &format!("registry.example/team-{}/service-{repository}:v{tag}", repository % BASES))
    }

    fn add_layer(&self, tar: &[u8]) -> Result<Index> {
        let path: PathBuf =
            build(tar, &self.directory.join("layers/v1"), &BuildOptions::default())?.publish_unsynced()?;
        Ok(Index::open(&path)?)
    }

    fn add_blob(&self, digest: &Digest, bytes: &[u8]) -> Result<()> {
        let path = self.directory.join("blobs/sha256").join(digest.hex());
        if path.exists() { Ok(()) } else { Ok(fs::write(path, bytes)?) }
    }

    /// Writes both copies of a record (docs/formats/cache.md).
    fn add_record(&self, image: &Image, name: &str) -> Result<()> {
        let manifest: Value = serde_json::from_slice(&image.manifest.bytes)?;
        let descriptors = manifest["layers"].as_array().ok_or("a manifest has layers")?.iter();
        let layers: Vec<Value> = descriptors
            .zip(&image.layers)
            .map(|(descriptor, layer)| {
                let mut layer_record = descriptor.clone();
                layer_record["diffId"] = json!(layer.diff_id);
                layer_record
            })
            .collect();
        let document = &image.manifest;
        let record: Record = serde_json::from_value(json!({
            "reference": name,
            "platform": { "os": "linux", "architecture": "amd64" },
            "digest": document.digest,
            "manifest": {
                "mediaType": document.media_type, "digest": document.digest, "size": document.bytes.len(),
            },
            "config": manifest["config"],
            "layers": layers,
            "pulled": 1_700_000_000,
            "created": "2024-01-02T03:04:05.678Z",
        }))?;
        let body = serde_json::to_string(&record)?;
        let sealed = format!(r#"{{"digest":"{}","record":{body}}}"#, Digest::of(body.as_bytes()));
        let stem = self.directory.join("images").join(Digest::of(format!("{name} linux/amd64").as_bytes()).hex());
        for extension in ["copy", "json"] {
            fs::write(stem.with_extension(extension), &sealed)?;
        }
        Ok(())
    }
}

fn image(repository: usize, tag: usize) -> Image {
    let names = [
        format!("base-{}", repository % BASES),
        format!("runtime-{repository}"),
        format!("packages-{repository}"),
        format!("release-{repository}-{}", tag / RELEASES),
        format!("service-{repository}-{tag}"),
    ];
    let layer = |name: &String| {
        let file = |number| Entry::file(format!("opt/{name}/file-{number}"), format!("{name} {number}\n"));
        Layer::new((0..FILES_PER_LAYER).map(file)).to_tar(&Encoding::default())
    };
    let environment: Vec<String> = names.iter().map(|name| format!("PATH_OF_{name}=/opt/{name}/file-0")).collect();
    let builder = ImageBuilder::new()
        .platform("linux/amd64")
        .setting("Env", environment)
        .setting("Entrypoint", vec![format!("/opt/{}/file-0", names[4])])
        .setting("Labels", json!({ "org.opencontainers.image.title": names[4] }));
    names.iter().fold(builder, |builder, name| builder.layer_tar(layer(name))).build()
}
