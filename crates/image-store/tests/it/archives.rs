//! Saving and loading of generated images.

use std::fs;
use std::sync::Arc;

use tempfile::TempDir;
use vmroot_compress::Limits;
use vmroot_image_store::{
    Error, LoadOptions, LoadReport, NoProgress, Progress, SaveFormat, SaveOptions, Store, StoreOptions,
};
use vmroot_model::{Digest, Platform};
use vmroot_testkit::image::oci_layout::{self, Item};
use vmroot_testkit::image::{Compression, Format, Image, ImageBuilder, Index, IndexBuilder};
use vmroot_testkit::layer::{Entry, Layer};
use vmroot_testkit::sample::noise;
use vmroot_transport::{ArchiveLists, ArchiveOptions};

/// The number of generated archives.
const SEEDS: u64 = 40;

const PLATFORMS: [&str; 4] = ["linux/amd64", "linux/arm64/v8", "linux/arm/v7", "linux/s390x"];

/// A store in a directory of its own.
struct Cache {
    store: Store,
    directory: TempDir,
}

impl Cache {
    fn new() -> Self {
        let directory = tempfile::tempdir().unwrap();
        let store = Store::open(StoreOptions::new(directory.path().join("cache"))).unwrap();
        Self { store, directory }
    }

    fn load(&self, archives: &[&[u8]]) -> Result<LoadReport, Error> {
        let options =
            ArchiveOptions { spool: self.directory.path().to_owned(), limits: Limits::default(), reading: None };
        let open = |(number, bytes): (usize, &&[u8])| {
            let path = self.directory.path().join(format!("{number}.tar"));
            fs::write(&path, bytes).unwrap();
            ArchiveLists::open(&path, &options)
        };
        let archives: Vec<_> = archives.iter().enumerate().map(open).collect::<Result<_, _>>()?;
        let options = LoadOptions { all_platforms: true, ..LoadOptions::default() };
        self.store.load(&archives, &options, &progress())
    }

    fn save(&self, names: &[String], options: &SaveOptions) -> Vec<u8> {
        let mut bytes = Vec::new();
        self.store.save(names, options, &mut bytes, &progress()).unwrap();
        bytes
    }

    /// Returns the name, the platform, the id and the digest of each image.
    fn images(&self) -> Vec<(Option<String>, String, Digest, Digest)> {
        let images = self.store.images().unwrap().into_iter();
        let image = images.map(|record| {
            let name = record.reference.as_ref().map(ToString::to_string);
            (name, record.platform.to_string(), *record.id(), record.digest)
        });
        image.collect()
    }

    fn check(&self) {
        assert_eq!(self.store.verify(&progress()).unwrap().findings.len(), 0);
    }
}

fn progress() -> Arc<dyn Progress> {
    Arc::new(NoProgress)
}

/// Numbers that are the same in each run.
struct Random(u64);

impl Random {
    fn below(&mut self, end: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 % end as u64) as usize
    }

    fn of<T: Copy>(&mut self, values: &[T]) -> T {
        values[self.below(values.len())]
    }

    fn image(&mut self, platform: &str) -> Image {
        let format = self.of(&[Format::Oci, Format::Docker]);
        let mut builder = ImageBuilder::new().platform(platform).format(format);
        for _ in 0..self.below(5) {
            let compression = self.of(&[Compression::None, Compression::Gzip, Compression::Zstd]);
            // Few different layers, so that images share some, also within one image.
            let number = self.below(6) as u64;
            let file = Entry::file(format!("file-{number}"), noise(number, 3000));
            builder = builder.compression(compression).layer(&Layer::new([file]));
        }
        builder.setting("Env", vec![format!("NUMBER={}", self.below(1000))]).build()
    }

    fn index(&mut self, depth: usize) -> Index {
        let mut index = IndexBuilder::new();
        for platform in &PLATFORMS[..1 + self.below(PLATFORMS.len())] {
            index = index.image(self.image(platform));
            if self.below(3) == 0 {
                index = index.attestation();
            }
        }
        if depth > 0 && self.below(2) == 0 {
            index = index.index(self.index(depth - 1));
        }
        index.build()
    }
}

#[test]
fn generated_images_are_saved_loaded_and_saved_as_the_same_bytes() {
    for seed in 1..=SEEDS {
        let mut random = Random(seed);
        let indexes: Vec<Index> = (0..random.below(3)).map(|_| random.index(2)).collect();
        let images: Vec<Image> = (0..=random.below(3)).map(|_| random.image(PLATFORMS[0])).collect();
        let names: Vec<String> = (0..8).map(|number| format!("example.org/image-{number}:v{seed}")).collect();
        let tops = indexes.iter().map(Item::Index).chain(images.iter().map(Item::Image));
        let mut items = Vec::new();
        let mut wanted = Vec::new();
        for (number, item) in tops.enumerate() {
            match (random.below(4), item) {
                (0, Item::Image(image)) => {
                    items.push((item, None));
                    wanted.push(image.config_digest.to_string());
                }
                _ => {
                    items.push((item, Some(names[number].as_str())));
                    wanted.push(names[number].clone());
                }
            }
        }
        let first = Cache::new();
        first.load(&[&oci_layout::archive(&items)]).unwrap();
        first.check();
        for format in SaveFormat::ALL {
            let options = SaveOptions { format, platforms: Vec::new() };
            let saved = first.save(&wanted, &options);
            let second = Cache::new();
            second.load(&[&saved]).unwrap_or_else(|error| panic!("{seed} {format}: {error:?}"));
            second.check();
            assert!(second.save(&wanted, &options) == saved, "{seed} {format}");
            if format != SaveFormat::DockerArchiveV24 {
                assert_eq!(second.images(), first.images(), "{seed} {format}");
            }
        }
    }
}

#[test]
fn indexes_in_indexes_keep_their_digests() {
    let image = Random(1).image(PLATFORMS[0]);
    let mut index = IndexBuilder::new().image(image).build();
    let mut digests = vec![index.document.digest];
    for _ in 0..8 {
        index = IndexBuilder::new().index(index).build();
        digests.push(index.document.digest);
    }
    let first = Cache::new();
    first.load(&[&oci_layout::archive(&[(Item::Index(&index), Some("a:1"))])]).unwrap();
    first.store.collect().unwrap();
    let options = SaveOptions::default();
    let saved = first.save(&["a:1".to_owned()], &options);
    for digest in &digests {
        assert!(saved.windows(64).any(|bytes| bytes == digest.hex().as_bytes()), "{digest}");
    }
    let second = Cache::new();
    second.load(&[&saved]).unwrap();
    assert_eq!(second.images()[0].3, index.document.digest);
    assert!(second.save(&["a:1".to_owned()], &options) == saved);
    // One more level is refused, with the name of the limit.
    let deeper = IndexBuilder::new().index(index).build();
    let error = Cache::new().load(&[&oci_layout::archive(&[(Item::Index(&deeper), Some("a:1"))])]).unwrap_err();
    assert_eq!(error.limit().map(|limit| limit.name()), Some("NESTED_INDEXES"), "{error}");
}

#[test]
fn the_form_of_docker_24_has_one_platform_of_a_name() {
    let images: Vec<Image> = PLATFORMS.iter().map(|platform| Random(7).image(platform)).collect();
    let index = images.iter().cloned().fold(IndexBuilder::new(), IndexBuilder::image).build();
    let first = Cache::new();
    first.load(&[&oci_layout::archive(&[(Item::Index(&index), Some("a:1"))])]).unwrap();
    let names = ["a:1".to_owned()];
    let save = |platforms: &[&str]| {
        let platforms = platforms.iter().map(|platform| Platform::parse(platform).unwrap()).collect();
        let saved = first.save(&names, &SaveOptions { format: SaveFormat::DockerArchiveV24, platforms });
        let second = Cache::new();
        second.load(&[&saved]).unwrap();
        second.images().into_iter().map(|(name, _, id, _)| (name.is_some(), id)).collect::<Vec<_>>()
    };
    let host = Platform::host();
    let position = |image: &&Image| Platform::parse(&image.platform).unwrap().normalised() == host;
    if let Some(own) = images.iter().find(position) {
        assert_eq!(save(&[]), [(true, own.config_digest)]);
    }
    assert_eq!(save(&[PLATFORMS[3]]), [(true, images[3].config_digest)]);
    // Several that are asked for are all there.
    assert_eq!(save(&PLATFORMS[1..3]).len(), 2);
}

#[test]
fn all_archives_are_loaded_or_none() {
    let (good, bad) = (Random(1).image(PLATFORMS[0]), Random(2).image(PLATFORMS[0]));
    let good = oci_layout::archive(&[(Item::Image(&good), Some("good:1"))]);
    let whole = oci_layout::archive(&[(Item::Image(&bad), Some("bad:1"))]);
    for length in [0, 512, whole.len() / 2, whole.len() - 2048] {
        let cache = Cache::new();
        assert!(cache.load(&[&good, &whole[..length]]).is_err(), "{length}");
        assert_eq!(cache.images(), []);
    }
    let cache = Cache::new();
    assert_eq!(cache.load(&[&good, &whole]).unwrap().images.len(), 2);
}

#[test]
fn the_same_archive_is_loaded_twice_at_once() {
    let image = Random(3).image(PLATFORMS[0]);
    let archive = oci_layout::archive(&[(Item::Image(&image), Some("a:1"))]);
    let cache = Cache::new();
    let path = cache.directory.path().join("same.tar");
    fs::write(&path, &archive).unwrap();
    let load = || {
        let store = Store::open(StoreOptions::new(cache.store.directory())).unwrap();
        let options =
            ArchiveOptions { spool: cache.directory.path().to_owned(), limits: Limits::default(), reading: None };
        let lists = [ArchiveLists::open(&path, &options).unwrap()];
        let report = store.load(&lists, &LoadOptions::default(), &progress()).unwrap();
        assert_eq!(*report.images[0].image.id(), image.config_digest);
    };
    std::thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(load);
        }
    });
    assert_eq!(cache.images().len(), 1);
    cache.check();
}
