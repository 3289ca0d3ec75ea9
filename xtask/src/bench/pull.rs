//! Measures pulls, from a reference to a usable root.

use std::{path::Path, process::Command};

use anyhow::{Context, Result, bail};

use super::{
    counting_proxy::CountingProxy,
    image,
    lab::Lab,
    race::{Comparison, Race},
    row::{Target, Unit},
};

/// The time of a pull with an empty cache.
pub const TIME: Race = Race {
    unit: Unit::Seconds,
    repeat: true,
    keep: false,
    ours: |lab, scratch| seconds(lab, &mut pull(lab, scratch, image::BENCH)),
    comparisons: &[
        Comparison {
            key: "pull-skopeo-umoci",
            title: "pull + index, against skopeo copy + umoci unpack",
            target: Target::TimesFaster(7.0),
            rival: Some(skopeo_umoci),
        },
        Comparison {
            key: "pull-buildah",
            title: "pull + index, against buildah pull (overlay storage)",
            target: Target::TimesFaster(7.0),
            rival: Some(buildah),
        },
        Comparison {
            key: "pull-microsandbox",
            title: "pull + index, against microsandbox-image 0.7.13",
            target: Target::TimesFaster(2.4),
            rival: Some(|lab, scratch| microsandbox(lab, scratch, image::BENCH)),
        },
        Comparison {
            key: "pull-floor",
            title: "pull + index, against inflate + SHA-256 + write on 2 cores",
            target: Target::TimesRival(1.15),
            rival: Some(|lab, scratch| floor(lab, scratch, image::BENCH)),
        },
    ],
};

/// Returns a race for pulls of an image of one kind, against the minimal work and against another library. It is a
/// macro because the turns of a race are functions without captures.
macro_rules! of_image {
    ($image:path, $key:literal, $title:literal, $work:literal) => {
        Race {
            unit: Unit::Seconds,
            repeat: true,
            keep: false,
            ours: |lab, scratch| seconds(lab, &mut pull(lab, scratch, $image)),
            comparisons: &[
                Comparison {
                    key: concat!("pull-", $key, "-floor"),
                    title: concat!("pull + index of ", $title, ", against ", $work, " + SHA-256 + write on 2 cores"),
                    target: Target::TimesRival(1.15),
                    rival: Some(|lab, scratch| floor(lab, scratch, $image)),
                },
                Comparison {
                    key: concat!("pull-", $key, "-microsandbox"),
                    title: concat!("pull + index of ", $title, ", against microsandbox-image 0.7.13"),
                    target: Target::TimesFaster(2.4),
                    rival: Some(|lab, scratch| microsandbox(lab, scratch, $image)),
                },
            ],
        }
    };
}

/// One layer, whose stream can only be decoded sequentially.
pub const ONE_LAYER: Race = of_image!(image::ONE_LAYER, "one-layer", "one layer", "inflate");

/// Many layers of the same size.
pub const EQUAL_LAYERS: Race = of_image!(image::EQUAL_LAYERS, "equal-layers", "40 equal layers", "inflate");

/// Layers that decode fast.
pub const ZSTD: Race = of_image!(image::ZSTD, "zstd", "zstd layers", "decompression");

/// The time of a pull from a registry that limits the rate of each connection.
pub const LIMITED: Race = Race {
    unit: Unit::Seconds,
    repeat: true,
    keep: false,
    ours: |lab, scratch| {
        let proxy = CountingProxy::limited(lab.registry().address(), CONNECTION_RATE)?;
        let reference = format!("{}/{}:latest", proxy.address(), image::NOISE);
        seconds(lab, lab.vmroot(&scratch.join("cache")).args(["pull", &reference]))
    },
    comparisons: &[Comparison {
        key: "pull-limited",
        title: "pull + index of one layer of 320 MiB at 40 MB/s a connection, against skopeo copy",
        target: Target::TimesFaster(2.5),
        rival: Some(limited_skopeo),
    }],
};

/// The rate of each connection to the registry of [`LIMITED`], in bytes per second.
const CONNECTION_RATE: f64 = 40e6;

/// The number of bytes transferred when the cache already has the layers of another image.
pub const SHARED: Race = Race {
    unit: Unit::Bytes,
    repeat: false,
    keep: false,
    ours: sibling_bytes,
    comparisons: &[Comparison {
        key: "pull-shared",
        title: "bytes fetched of an image that shares its base, against its new blobs",
        target: Target::TimesRival(1.02),
        rival: Some(|lab, _| sibling_size(lab)),
    }],
};

/// The largest resident set of a pull.
pub const MEMORY: Race = Race {
    unit: Unit::Bytes,
    repeat: true,
    keep: false,
    ours: |lab, scratch| peak_memory(lab, &mut pull(lab, scratch, image::BENCH)),
    comparisons: &[Comparison {
        key: "pull-memory",
        title: "peak memory of pull + index",
        target: Target::Under(MEMORY_LIMIT),
        rival: None,
    }],
};

/// The largest resident set of a pull of one layer that is larger than the memory limit.
pub const MEMORY_LARGE: Race = Race {
    unit: Unit::Bytes,
    repeat: false,
    keep: false,
    ours: |lab, scratch| peak_memory(lab, &mut pull(lab, scratch, image::LARGE)),
    comparisons: &[Comparison {
        key: "pull-memory-large",
        title: "peak memory of pull + index, one layer of 2 GiB",
        target: Target::Under(MEMORY_LIMIT),
        rival: None,
    }],
};

const MEMORY_LIMIT: f64 = 200.0 * 1024.0 * 1024.0;

fn pull(lab: &Lab, scratch: &Path, name: &str) -> Command {
    let mut pull = lab.vmroot(&scratch.join("cache"));
    pull.args(["pull", &lab.registry().reference(name)]);
    pull
}

fn limited_skopeo(lab: &Lab, scratch: &Path) -> Result<f64> {
    let proxy = CountingProxy::limited(lab.registry().address(), CONNECTION_RATE)?;
    let mut skopeo = Command::new("skopeo");
    skopeo.args(["copy", "--quiet", "--src-tls-verify=false"]);
    skopeo.arg(format!("docker://{}/{}:latest", proxy.address(), image::NOISE));
    seconds(lab, skopeo.arg(format!("oci:{}", scratch.join("layout").display())))
}

fn seconds(lab: &Lab, command: &mut Command) -> Result<f64> {
    Ok(lab.measure(command)?.wall.as_secs_f64())
}

fn peak_memory(lab: &Lab, command: &mut Command) -> Result<f64> {
    Ok(lab.measure(command)?.peak_memory as f64)
}

fn skopeo_umoci(lab: &Lab, scratch: &Path) -> Result<f64> {
    let layout = scratch.join("layout");
    let copied = seconds(lab, &mut lab.skopeo_copy(image::BENCH, &layout))?;
    Ok(copied + seconds(lab, &mut Lab::umoci_unpack(&layout, &scratch.join("bundle")))?)
}

/// Pulls with buildah and overlay storage. That is faster than vfs, which copies the whole tree for each layer.
fn buildah(lab: &Lab, scratch: &Path) -> Result<f64> {
    let mut buildah = Command::new("buildah");
    buildah.env("BUILDAH_ISOLATION", "chroot");
    buildah.arg("--root").arg(scratch.join("storage")).arg("--runroot").arg(scratch.join("run"));
    buildah.args(["--storage-driver", "overlay", "pull", "--quiet", "--tls-verify=false"]);
    buildah.arg(format!("docker://{}", lab.registry().reference(image::BENCH)));
    seconds(lab, &mut buildah)
}

fn microsandbox(lab: &Lab, scratch: &Path, name: &str) -> Result<f64> {
    let reference = lab.registry().reference(name);
    seconds(lab, lab.rival("microsandbox")?.arg(scratch.join("cache")).arg(reference))
}

/// Returns half of the time that one core takes for the minimal work.
fn floor(lab: &Lab, scratch: &Path, name: &str) -> Result<f64> {
    let printed = lab.output(lab.rival("floor")?.arg(scratch.join("contents")).args(lab.layer_blobs(name)?))?;
    let sum = printed.lines().find_map(|line| line.strip_prefix("sum ")).context("the floor printed no sum")?;
    Ok(sum.parse::<f64>()? / 2.0)
}

fn sibling_bytes(lab: &Lab, scratch: &Path) -> Result<f64> {
    lab.measure(&mut pull(lab, scratch, image::BENCH))?;
    let proxy = CountingProxy::start(lab.registry().address())?;
    let reference = format!("{}/{}:latest", proxy.address(), image::SIBLING);
    lab.measure(lab.vmroot(&scratch.join("cache")).args(["pull", &reference]))?;
    Ok(proxy.bytes() as f64)
}

/// Returns the size of the manifest, the config and the layer that the bench image lacks.
fn sibling_size(lab: &Lab) -> Result<f64> {
    let manifest = |name: &str| lab.manifest(name);
    let (bench, sibling) = (manifest(image::BENCH)?, manifest(image::SIBLING)?);
    let known = bench["layers"].as_array().context("the bench image has no layers")?;
    let layers = sibling["layers"].as_array().context("the sibling has no layers")?;
    if layers.iter().all(|layer| !known.contains(layer)) {
        bail!("the sibling shares no layer");
    }
    let new = layers.iter().filter(|layer| !known.contains(layer)).chain([&sibling["config"]]);
    let blobs: u64 = new.filter_map(|descriptor| descriptor["size"].as_u64()).sum();
    Ok((blobs + sibling.to_string().len() as u64) as f64)
}
