//! A registry, files and directories with images.

use std::fs;
use std::net::{TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::Duration;

use serde_json::json;
use vmroot_model::Digest;

use super::images::Sample;
use super::{Case, error_of, skopeo};
use crate::program::Program;

/// Debian's `docker-registry`, which is killed on drop.
pub(super) struct DockerRegistry {
    process: Child,
    pub(super) host: String,
}

impl DockerRegistry {
    pub(super) fn start(directory: &Path) -> Self {
        fs::create_dir(directory).unwrap();
        // The port stays free, because the system does not reuse ports that soon.
        let host = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().to_string();
        let config = format!(
            "version: 0.1\nlog: {{level: error}}\nstorage: {{filesystem: {{rootdirectory: {}}}}}\nhttp: {{addr: \
             {host}}}\nvalidation: {{manifests: {{urls: {{allow: [\".*\"]}}}}}}\n",
            directory.join("storage").display()
        );
        let path = directory.join("config.yml");
        fs::write(&path, config).unwrap();
        let log = fs::File::create(directory.join("log")).unwrap();
        let mut command = Command::new("docker-registry");
        command.arg("serve").arg(path).stdin(Stdio::null()).stdout(log.try_clone().unwrap()).stderr(log);
        let mut process = command.spawn().unwrap();
        while TcpStream::connect(&host).is_err() {
            assert!(process.try_wait().unwrap().is_none(), "docker-registry ended");
            thread::sleep(Duration::from_millis(10));
        }
        Self { process, host }
    }
}

impl Drop for DockerRegistry {
    fn drop(&mut self) {
        // It may have ended by itself.
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

/// An image in a place.
pub(super) struct Place {
    pub(super) transport: &'static str,
    /// The name with the transport.
    pub(super) name: String,
    /// The file or directory.
    pub(super) path: PathBuf,
}

/// The places of a test.
pub(super) struct Places<'a> {
    program: &'a Program,
    registry: &'a DockerRegistry,
}

impl<'a> Places<'a> {
    pub(super) const DESTINATIONS: [&'static str; 5] = ["docker", "oci", "oci-archive", "dir", "docker-archive"];

    pub(super) fn new(program: &'a Program, registry: &'a DockerRegistry) -> Self {
        for name in ["sources", "copies", "read"] {
            fs::create_dir(program.path(name)).unwrap();
        }
        Self { program, registry }
    }

    /// Returns a place that has no image yet.
    pub(super) fn new_place(&self, case: &Case<'_>, writer: &str) -> Place {
        self.place(case.destination, "copies", &format!("{writer}-{}", case.number))
    }

    /// Returns the directory for an image that is read back.
    pub(super) fn reading(&self, place: &Place) -> PathBuf {
        self.program.path("read").join(place.path.file_name().unwrap())
    }

    fn place(&self, transport: &'static str, directory: &str, name: &str) -> Place {
        let path = self.program.path(directory).join(format!("{name}.{transport}"));
        let shown = path.display();
        let name = match transport {
            "docker" => format!("docker://{}/{directory}/{name}:v1", self.registry.host),
            "docker-archive" => format!("{transport}:{shown}:example.com/image:v1"),
            "dir" => format!("dir:{shown}"),
            _ => format!("{transport}:{shown}:v1"),
        };
        Place { transport, name, path }
    }

    /// Writes a sample in each form that it can have. The bytes of its documents are the same in all forms but the
    /// Docker archive.
    pub(super) fn write(&self, sample: &Sample) -> Vec<Place> {
        let place = |transport| self.place(transport, "sources", sample.name);
        let directory = place("dir");
        write_directory(sample, &directory.path);
        let mut places = vec![];
        if !sample.is_docker() {
            let layout = place("oci");
            write_layout(sample, &layout.path);
            let archive = place("oci-archive");
            let tar = Command::new("tar").arg("-C").arg(&layout.path).arg("-cf").arg(&archive.path).arg(".").status();
            assert!(tar.unwrap().success());
            places.extend([layout, archive]);
        }
        let repository = place("docker");
        let copied = skopeo(&[
            "copy",
            "--all",
            "--preserve-digests",
            "--dest-tls-verify=false",
            &directory.name,
            &repository.name,
        ]);
        // The registry has nested lists from vmroot only.
        if copied.status.success() {
            places.push(repository);
        } else {
            assert_eq!(sample.name, "nested", "{}", error_of(&copied));
        }
        if sample.is_common && !sample.is_list && !sample.is_artifact {
            let archive = place("docker-archive");
            let copied = skopeo(&["copy", &directory.name, &archive.name]);
            assert!(copied.status.success(), "{}", error_of(&copied));
            places.push(archive);
        }
        places.push(directory);
        places
    }
}

/// Writes the directory of containers/image's `dir` transport.
fn write_directory(sample: &Sample, path: &Path) {
    fs::create_dir(path).unwrap();
    fs::write(path.join("version"), "Directory Transport Version: 1.1\n").unwrap();
    for (digest, bytes) in &sample.blobs {
        fs::write(path.join(digest.hex()), bytes).unwrap();
    }
    let (top, others) = sample.documents.split_last().unwrap();
    fs::write(path.join("manifest.json"), &top.bytes).unwrap();
    for other in others {
        fs::write(path.join(format!("{}.manifest.json", other.digest.hex())), &other.bytes).unwrap();
    }
}

fn write_layout(sample: &Sample, path: &Path) {
    let blobs = path.join("blobs/sha256");
    fs::create_dir_all(&blobs).unwrap();
    fs::write(path.join("oci-layout"), r#"{"imageLayoutVersion":"1.0.0"}"#).unwrap();
    let write = |digest: &Digest, bytes: &[u8]| fs::write(blobs.join(digest.hex()), bytes).unwrap();
    sample.blobs.iter().for_each(|(digest, bytes)| write(digest, bytes));
    sample.documents.iter().for_each(|document| write(&document.digest, &document.bytes));
    let top = sample.documents.last().unwrap();
    let index = json!({"schemaVersion": 2, "manifests": [{
        "mediaType": top.media_type, "digest": top.digest.to_string(), "size": top.bytes.len(),
        "annotations": {"org.opencontainers.image.ref.name": "v1"},
    }]});
    fs::write(path.join("index.json"), index.to_string()).unwrap();
}
