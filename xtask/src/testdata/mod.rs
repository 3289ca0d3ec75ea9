//! `cargo xtask testdata`: the small images for the demo, the README and the tests.
//!
//! The result is the same on every machine: names, times and owners are set here, `Cargo.lock` fixes the compressors,
//! and Debian's two programs are checked against their digests.

mod busybox;
mod layers;
mod layout;
mod saved;

use std::{fs, path::PathBuf};

use anyhow::Result;
use serde_json::{Value, json};

use self::{
    busybox::Busybox,
    layout::{Blob, Compression, Layer, Layout},
};
use crate::{
    setup::{self, Purpose},
    workspace,
};

const CREATED: &str = "2026-01-01T00:00:00Z";
const MANIFEST: &str = "application/vnd.oci.image.manifest.v1+json";
const CONFIG: &str = "application/vnd.oci.image.config.v1+json";

/// Returns the directory of the OCI layout, whose image is named `demo`.
pub fn demo_layout() -> PathBuf {
    workspace::root().join("testdata/demo")
}

/// Builds the layout and the archive again.
pub fn remake() -> Result<()> {
    setup::prepare(Purpose::Testdata);
    fs::write(workspace::root().join("testdata/saved.tar.gz"), saved::archive())?;
    let directory = demo_layout();
    let busyboxes = [busybox::AMD64, busybox::ARM64].map(|debian| debian.fetch());
    if directory.exists() {
        fs::remove_dir_all(&directory)?;
    }
    let layout = Layout::create(&directory)?;
    let mut manifests = Vec::new();
    for busybox in busyboxes {
        let busybox = busybox?;
        let manifest = image(&layout, &busybox)?;
        manifests.push(manifest.descriptor(&json!({ "platform": busybox.platform })));
        manifests.push(attestation(&layout, &manifest)?);
    }
    layout.finish("demo", &manifests)?;
    eprintln!("made {}", directory.display());
    Ok(())
}

/// Writes the image of one architecture. One layer is its own, and three are common to both architectures.
fn image(layout: &Layout, busybox: &Busybox) -> Result<Blob> {
    let layers = [
        (layers::programs(busybox), Compression::Zstd, "busybox and its names"),
        (layers::base(), Compression::Gzip, "users, files of every kind"),
        (layers::changes(), Compression::Gzip, "whiteouts, replacements, capabilities"),
        (layers::links(), Compression::Zstd, "a directory made again, links that lead out"),
    ];
    let mut written = Vec::new();
    for (layer, compression, _) in &layers {
        written.push(layout.layer(layer, *compression)?);
    }
    let history = layers.iter().map(|(_, _, what)| json!({ "created": CREATED, "created_by": what }));
    let config = layout.json(CONFIG, &config(busybox, &written, history.collect()))?;
    layout.json(
        MANIFEST,
        &json!({
            "schemaVersion": 2,
            "mediaType": MANIFEST,
            "config": config.descriptor(&json!({})),
            "layers": written.iter().map(|layer| layer.blob.descriptor(&json!({}))).collect::<Vec<_>>(),
        }),
    )
}

fn config(busybox: &Busybox, layers: &[Layer], history: Vec<Value>) -> Value {
    let mut config = json!({
        "created": CREATED,
        "config": {
            "User": "demo:staff",
            "Env": ["PATH=/usr/local/bin:/usr/bin:/bin", "GREETING=hello from vmroot"],
            "Entrypoint": ["/bin/sh", "-c"],
            "Cmd": ["echo $GREETING"],
            "WorkingDir": "/home/demo",
            "ExposedPorts": { "8080/tcp": {} },
            "Volumes": { "/data": {} },
            "StopSignal": "SIGTERM",
            "Labels": { "org.opencontainers.image.title": "vmroot demo", "spaced label": "a b  c" },
        },
        "rootfs": {
            "type": "layers",
            "diff_ids": layers.iter().map(|layer| layer.diff_id.to_string()).collect::<Vec<_>>(),
        },
        "history": history,
    });
    if let (Some(config), Some(platform)) = (config.as_object_mut(), busybox.platform.as_object()) {
        config.extend(platform.clone());
    }
    config
}

/// Writes an attestation like BuildKit's beside an image. It must never be selected as an image.
fn attestation(layout: &Layout, image: &Blob) -> Result<Value> {
    let statement =
        layout.json("application/vnd.in-toto+json", &json!({ "_type": "https://in-toto.io/Statement/v0.1" }))?;
    let config = layout.json(CONFIG, &json!({ "architecture": "unknown", "os": "unknown" }))?;
    let manifest = layout.json(
        MANIFEST,
        &json!({
            "schemaVersion": 2,
            "mediaType": MANIFEST,
            "config": config.descriptor(&json!({})),
            "layers": [statement.descriptor(&json!({}))],
            "annotations": { "vmroot.attests": image.digest.to_string() },
        }),
    )?;
    Ok(manifest.descriptor(&json!({
        "platform": { "architecture": "unknown", "os": "unknown" },
        "annotations": {
            "vnd.docker.reference.digest": image.digest.to_string(),
            "vnd.docker.reference.type": "attestation-manifest",
        },
    })))
}
