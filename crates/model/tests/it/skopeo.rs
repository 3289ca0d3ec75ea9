//! `skopeo copy` between directories as the judge of conversions.

use std::collections::BTreeMap;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use serde_json::Value;
use tempfile::TempDir;
use vmroot_model::{
    AnyDocument, Converted, Descriptor, Digest, Document, ImageConfig, IndexFormat, Instance, LayerCompression,
    Manifest, ManifestFormat, MediaType, NewIndex, NewManifest, Platform, WrittenLayer, manifest_digest,
};
use vmroot_testkit::skip;

/// A config as Docker writes it, with all kinds of members. `os.version`, `ArgsEscaped` and a variant are missing:
/// skopeo 1.9 drops or moves them, newer ones do not.
const DOCKER_CONFIG: &str = r#"{"architecture":"amd64","author":"A <a@example.com>","comment":"c","config":{"Hostname":"h","Domainname":"","User":"1:2","AttachStdin":false,"ExposedPorts":{"80/tcp":{},"443/tcp":{}},"Tty":false,"Env":["PATH=/bin","X=<&>"],"Cmd":["sh"],"Healthcheck":{"Test":["CMD","true"],"Interval":1000000000},"Image":"sha256:i","Volumes":{"/v":{}},"WorkingDir":"/w","Entrypoint":["/e","--x"],"OnBuild":["RUN x"],"Labels":{"b":"2","a":"1"},"StopSignal":"SIGINT","Shell":["/bin/bash"]},"container":"0123","container_config":{"Cmd":["x"]},"created":"2024-01-02T03:04:05.120000000Z","docker_version":"20.10.1","history":[{"created":"2024-01-02T03:04:05.1Z","created_by":"ADD <x> & y"},{"created":"2024-01-02T03:04:05.20Z","created_by":"CMD","author":"B","comment":"k","empty_layer":true},{"created":"2024-01-02T03:04:06Z","created_by":"RUN z"},{"created":"2024-01-02T03:04:07Z","created_by":"LABEL","empty_layer":true}],"id":"x","os":"linux","rootfs":{"type":"layers","diff_ids":["DIFF0","DIFF1"]},"unknown":{"b":1,"a":[1.0]}}"#;

/// An image or list in a directory of skopeo's `dir:` transport.
struct Dir {
    path: TempDir,
}

impl Dir {
    fn new(manifest: &[u8], blobs: &[&[u8]]) -> Self {
        let path = TempDir::new().unwrap();
        std::fs::write(path.path().join("version"), "Directory Transport Version: 1.1\n").unwrap();
        std::fs::write(path.path().join("manifest.json"), manifest).unwrap();
        for blob in blobs {
            std::fs::write(path.path().join(Digest::of(blob).hex()), blob).unwrap();
        }
        Self { path }
    }

    fn with_instance(self, manifest: &[u8]) -> Self {
        let name = format!("{}.manifest.json", manifest_digest(manifest).unwrap().hex());
        std::fs::write(self.path.path().join(name), manifest).unwrap();
        self
    }

    /// Copies the image with skopeo.
    fn copied(&self, options: &[&str]) -> Self {
        let copy = Self { path: TempDir::new().unwrap() };
        let name = |path: &Path| format!("dir:{}", path.display());
        let output = Command::new("skopeo")
            .args(["--insecure-policy", "copy", "--quiet"])
            .args(options)
            .args([name(self.path.path()), name(copy.path.path())])
            .stdin(Stdio::null())
            .output()
            .unwrap();
        assert!(output.status.success(), "{options:?}: {}", String::from_utf8_lossy(&output.stderr));
        copy
    }

    /// Returns the digest of the manifest that skopeo copies from the list, or `None` if it finds none.
    fn chosen(&self, overrides: &[&str]) -> Option<Digest> {
        let copy = Self { path: TempDir::new().unwrap() };
        let name = |path: &Path| format!("dir:{}", path.display());
        let output = Command::new("skopeo")
            .arg("--insecure-policy")
            .args(overrides)
            .args(["copy", "--quiet", &name(self.path.path()), &name(copy.path.path())])
            .stdin(Stdio::null())
            .output()
            .unwrap();
        let message = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success() || message.contains("no image found"), "{overrides:?}: {message}");
        output.status.success().then(|| Digest::of(&copy.manifest_json()))
    }

    fn file(&self, name: &str) -> Vec<u8> {
        let path: PathBuf = self.path.path().join(name);
        std::fs::read(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
    }

    fn blob(&self, digest: &Digest) -> Vec<u8> {
        self.file(&digest.hex())
    }

    fn manifest_json(&self) -> Vec<u8> {
        self.file("manifest.json")
    }

    fn manifest(&self) -> Manifest {
        manifest(self.manifest_json())
    }
}

fn manifest(bytes: Vec<u8>) -> Manifest {
    match Document::parse(bytes, None).unwrap() {
        Document::Manifest(manifest) => manifest,
        Document::Index(_) => panic!("an index"),
    }
}

/// A layer, compressed with gzip, and its diff id.
fn gzip_layer(number: u8) -> (Vec<u8>, Digest) {
    let tar = vec![number; 1536];
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    encoder.write_all(&tar).unwrap();
    (encoder.finish().unwrap(), Digest::of(&tar))
}

/// A Docker image of two layers.
struct DockerImage {
    config: String,
    layers: [Vec<u8>; 2],
    diff_ids: [Digest; 2],
}

impl DockerImage {
    fn new() -> Self {
        let (layers, diff_ids): (Vec<_>, Vec<_>) = [1, 2].map(gzip_layer).into_iter().unzip();
        let config = DOCKER_CONFIG.replace("DIFF0", &diff_ids[0].to_string());
        let config = config.replace("DIFF1", &diff_ids[1].to_string());
        Self { config, layers: layers.try_into().unwrap(), diff_ids: diff_ids.try_into().unwrap() }
    }

    fn manifest(&self) -> Manifest {
        let config = Descriptor::of(MediaType::DOCKER_CONFIG, self.config.as_bytes());
        let layers = self.layers.iter().map(|it| Descriptor::of(MediaType::DOCKER_LAYER_GZIP, it));
        manifest(NewManifest::schema2(config, layers.collect()).to_bytes())
    }

    fn oci_manifest(&self) -> Manifest {
        let config = Descriptor::of(MediaType::OCI_CONFIG, self.config.as_bytes());
        let layers = self.layers.iter().map(|it| Descriptor::of(MediaType::OCI_LAYER_GZIP, it));
        let mut document = NewManifest::oci(config, layers.collect());
        document.layers[0].annotations = BTreeMap::from([("layer".to_owned(), "annotation".to_owned())]);
        document.annotations = BTreeMap::from([("a".to_owned(), "<b>".to_owned())]);
        manifest(document.to_bytes())
    }

    fn dir(&self, manifest: &Manifest) -> Dir {
        Dir::new(manifest.raw(), &[self.config.as_bytes(), &self.layers[0], &self.layers[1]])
    }

    fn unchanged(&self, manifest: &Manifest) -> Vec<WrittenLayer> {
        let layers = manifest.layers().iter().zip(self.diff_ids);
        layers.map(|(it, id)| WrittenLayer { diff_id: Some(id), ..WrittenLayer::unchanged(it) }).collect()
    }

    fn converted(&self, manifest: &Manifest, format: ManifestFormat) -> Converted {
        let layers = self.unchanged(manifest);
        match format {
            ManifestFormat::Schema1 => manifest.to_schema1(self.config.as_bytes(), &layers, None).unwrap(),
            _ => manifest.convert(format, self.config.as_bytes(), &layers).unwrap(),
        }
    }
}

fn assert_same_text(ours: &[u8], theirs: &[u8]) {
    assert_eq!(String::from_utf8_lossy(ours), String::from_utf8_lossy(theirs));
}

#[test]
fn docker_to_oci_equals_skopeo() {
    if skip::needs_program("skopeo") {
        return;
    }
    let image = DockerImage::new();
    let copy = image.dir(&image.manifest()).copied(&["--format", "oci"]);
    let converted = image.converted(&image.manifest(), ManifestFormat::Oci);
    assert_same_text(&converted.config.unwrap(), &copy.blob(&copy.manifest().config().digest));
    assert_same_text(&converted.manifest, &copy.manifest_json());
}

#[test]
fn oci_to_docker_equals_skopeo() {
    if skip::needs_program("skopeo") {
        return;
    }
    let image = DockerImage::new();
    let copy = image.dir(&image.oci_manifest()).copied(&["--format", "v2s2"]);
    let converted = image.converted(&image.oci_manifest(), ManifestFormat::Schema2);
    assert_eq!(converted.config, None);
    assert_same_text(&converted.manifest, &copy.manifest_json());
}

#[test]
fn schema_1_equals_skopeo_in_both_directions() {
    if skip::needs_program("skopeo") {
        return;
    }
    let image = DockerImage::new();
    for source in [image.manifest(), image.oci_manifest()] {
        let theirs = image.dir(&source).copied(&["--format", "v2s1"]);
        let ours = image.converted(&source, ManifestFormat::Schema1);
        // The keys of the signatures are random.
        let document = |bytes: &[u8]| {
            let mut value: Value = serde_json::from_slice(bytes).unwrap();
            assert!(value["signatures"].take().is_array());
            value.to_string()
        };
        assert_eq!(document(&ours.manifest), document(&theirs.manifest_json()));
        assert_eq!(manifest_digest(&ours.manifest).unwrap(), manifest_digest(&theirs.manifest_json()).unwrap());
        let [empty] = &ours.extra_blobs[..] else { panic!("{:?}", ours.extra_blobs) };
        assert_eq!(empty.bytes, theirs.blob(&empty.descriptor.digest));

        let blobs = [&image.layers[0][..], &image.layers[1], &empty.bytes];
        let signed = Dir::new(&ours.manifest, &blobs);
        let AnyDocument::Schema1(schema1) = AnyDocument::parse(ours.manifest.clone(), None).unwrap() else {
            panic!("no schema 1")
        };
        for (format, option) in [(ManifestFormat::Schema2, "v2s2"), (ManifestFormat::Oci, "oci")] {
            let theirs = signed.copied(&["--format", option]);
            let layers: Vec<WrittenLayer> = schema1
                .layers_in(format)
                .iter()
                .zip(image.unchanged(&source))
                .map(|(layer, written)| WrittenLayer { digest: *layer.digest(), ..written })
                .collect();
            let ours = schema1.convert(format, &layers).unwrap();
            assert_same_text(&ours.config.unwrap(), &theirs.blob(&theirs.manifest().config().digest));
            assert_same_text(&ours.manifest, &theirs.manifest_json());
        }
    }
}

#[test]
fn recompressed_layers_equal_skopeo() {
    if skip::needs_program("skopeo") {
        return;
    }
    let image = DockerImage::new();
    let as_written = |copy: &Manifest, compression| {
        let layers = copy.layers().iter();
        layers.map(|it| WrittenLayer::recompressed(it.digest, it.size, compression)).collect::<Vec<_>>()
    };
    let zstd = ["--dest-compress", "--dest-compress-format", "zstd", "--format", "oci"];
    for source in [image.manifest(), image.oci_manifest()] {
        let copy = image.dir(&source).copied(&zstd);
        let layers = as_written(&copy.manifest(), LayerCompression::Zstd);
        let converted = source.convert(ManifestFormat::Oci, image.config.as_bytes(), &layers).unwrap();
        assert_same_text(&converted.manifest, &copy.manifest_json());

        // And back to gzip. skopeo 1.9 cannot convert to schema 2 at the same time.
        let zstd = copy.manifest();
        let back = copy.copied(&["--dest-compress", "--dest-compress-format", "gzip"]);
        let layers = as_written(&back.manifest(), LayerCompression::Gzip);
        assert_same_text(&zstd.with_layers(&layers).unwrap().manifest, &back.manifest_json());
    }
    let source = image.manifest();
    let copy = image.dir(&source).copied(&["--dest-decompress"]);
    let layers = as_written(&copy.manifest(), LayerCompression::None);
    assert_same_text(&source.with_layers(&layers).unwrap().manifest, &copy.manifest_json());
}

#[test]
fn lists_equal_skopeo_in_both_directions() {
    if skip::needs_program("skopeo") {
        return;
    }
    let image = DockerImage::new();
    let pairs = [
        (image.manifest(), ManifestFormat::Oci, IndexFormat::Oci, "oci"),
        (image.oci_manifest(), ManifestFormat::Schema2, IndexFormat::DockerList, "v2s2"),
    ];
    for (instance, format, list_format, option) in pairs {
        let entry = |platform: &str| Descriptor {
            platform: Some(Platform::parse(platform).unwrap()),
            ..Descriptor::of(instance.media_type().clone(), instance.raw())
        };
        let mut list = NewIndex { manifests: vec![entry("linux/amd64"), entry("linux/arm/v7")], ..NewIndex::default() };
        let list = match list_format {
            IndexFormat::Oci => list.to_docker(),
            IndexFormat::DockerList => {
                list.annotations = BTreeMap::from([("k".to_owned(), "v".to_owned())]);
                list.manifests[0].annotations = BTreeMap::from([("k".to_owned(), "v".to_owned())]);
                list.to_oci()
            }
        };
        let source = Dir::new(&list, &[image.config.as_bytes(), &image.layers[0], &image.layers[1]]);
        let theirs = source.with_instance(instance.raw()).copied(&["--all", "--format", option]);

        let Document::Index(index) = Document::parse(list, None).unwrap() else { panic!("no index") };
        let converted = image.converted(&instance, format);
        let mut edit = index.edit();
        for position in 0..2 {
            let descriptor = Descriptor::of(converted.media_type.clone(), &converted.manifest);
            let Descriptor { digest, size, media_type, .. } = descriptor;
            edit.replace(position, Instance { digest, size, media_type, zstd: false });
        }
        let ours = edit.finish_as(list_format, &Platform::host()).unwrap();
        assert_same_text(&ours.bytes, &theirs.manifest_json());
    }
}

#[test]
fn skopeo_reads_the_config_that_remains() {
    if skip::needs_program("skopeo") {
        return;
    }
    let image = DockerImage::new();
    let converted = image.converted(&image.manifest(), ManifestFormat::Oci);
    let config = converted.config.unwrap();
    let dir = Dir::new(&converted.manifest, &[&config, &image.layers[0], &image.layers[1]]);
    let output = Command::new("skopeo")
        .args(["inspect", "--config", &format!("dir:{}", dir.path.path().display())])
        .stdin(Stdio::null())
        .output()
        .unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let theirs: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(theirs, serde_json::from_slice::<Value>(&config).unwrap());
    assert_eq!(ImageConfig::parse(config).unwrap().diff_ids(), image.diff_ids);
}

#[test]
fn the_chosen_instance_is_that_of_skopeo() {
    if skip::needs_program("skopeo") {
        return;
    }
    let image = DockerImage::new();
    let platforms = [
        "linux/amd64",
        "linux/amd64/v2",
        "linux/arm/v6",
        "linux/arm/v7",
        "linux/arm",
        "linux/arm64/v8",
        "linux/s390x",
        "windows/amd64",
        "",
    ];
    // Manifests that differ by an annotation.
    let manifests: Vec<Vec<u8>> = platforms
        .iter()
        .map(|platform| {
            let mut document = NewManifest::oci(
                Descriptor::of(MediaType::OCI_CONFIG, image.config.as_bytes()),
                vec![Descriptor::of(MediaType::OCI_LAYER_GZIP, &image.layers[0])],
            );
            document.annotations = BTreeMap::from([("platform".to_owned(), (*platform).to_owned())]);
            document.to_bytes()
        })
        .collect();
    let entries = platforms.iter().zip(&manifests).map(|(platform, manifest)| {
        let mut parts = platform.split('/').map(str::to_owned);
        let platform = Platform {
            os: parts.next().unwrap_or_default(),
            architecture: parts.next().unwrap_or_default(),
            variant: parts.next(),
            ..Platform::default()
        };
        let platform = Some(platform).filter(|it| !it.is_empty());
        Descriptor { platform, ..Descriptor::of(MediaType::OCI_MANIFEST, manifest) }
    });
    let list = NewIndex { manifests: entries.collect(), ..NewIndex::default() }.to_oci();
    let mut source = Dir::new(&list, &[image.config.as_bytes(), &image.layers[0]]);
    for manifest in &manifests {
        source = source.with_instance(manifest);
    }
    let Document::Index(index) = Document::parse(list, None).unwrap() else { panic!("no index") };
    for (os, architecture, variant) in [
        ("linux", "amd64", None),
        ("linux", "amd64", Some("v2")),
        ("linux", "amd64", Some("v3")),
        ("linux", "arm", None),
        ("linux", "arm", Some("v8")),
        ("linux", "arm", Some("v7")),
        ("linux", "arm", Some("v6")),
        ("linux", "arm", Some("v5")),
        ("linux", "arm64", None),
        ("linux", "arm64", Some("v8")),
        ("linux", "arm64", Some("v9")),
        ("linux", "s390x", None),
        ("windows", "amd64", None),
    ] {
        let mut options = vec!["--override-os", os, "--override-arch", architecture];
        options.extend(variant.map(|it| ["--override-variant", it]).into_iter().flatten());
        let theirs = source.chosen(&options);
        let wanted = Platform {
            os: os.to_owned(),
            architecture: architecture.to_owned(),
            variant: variant.map(str::to_owned),
            ..Platform::default()
        };
        let ours = index.choose_instance(&wanted, false).ok().map(|it| it.digest);
        assert_eq!(ours, theirs, "{os}/{architecture}/{variant:?}");
    }
}
