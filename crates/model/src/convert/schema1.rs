//! Newer formats to Docker's schema 1.

use serde::Serialize;

use crate::convert::from_schema1::signed_manifest;
use crate::convert::{Converted, ExtraBlob, Loss, ManifestFormat, WrittenLayer, layers, schema2};
use crate::json_text::{RawObject, to_vec};
use crate::schema1::EMPTY_LAYER;
use crate::{Descriptor, Digest, History, ImageConfig, Manifest, MediaType, Reference, Result, go_time};

const FORMAT: ManifestFormat = ManifestFormat::Schema1;

impl Manifest {
    /// Converts the manifest to Docker's schema 1, signed with a new key, with `layers` in place of its layers.
    ///
    /// Each step of the config's history becomes a layer. Those without files share one empty layer, which is among the
    /// extra blobs. `name` is the destination; registries refuse a manifest with another name.
    ///
    /// # Errors
    /// - [`Error::Conversion`](crate::Error::Conversion) for images that schema 2 cannot hold, and for a history that
    ///   is
    ///   empty or does not fit the layers.
    /// - [`Error::WrongConfig`](crate::Error::WrongConfig) if `config` is not the config of the manifest.
    /// - [`Error::Signing`](crate::Error::Signing) if the system has no random numbers.
    /// - The errors of [`ImageConfig::parse`].
    pub fn to_schema1(&self, config: &[u8], layers: &[WrittenLayer], name: Option<&Reference>) -> Result<Converted> {
        let parsed = self.parse_config(config)?;
        let mut losses = self.losses_in_docker(layers)?;
        losses.push(Loss::LayerTypes);
        self.check_history(&parsed)?;
        let steps = self.steps(&parsed, config, layers);
        let (path, tag) = name.map_or(("", ""), |it| (it.path(), it.tag().unwrap_or_default()));
        let texts = steps.iter().map(|it| (it.written, it.text.as_str())).collect();
        let manifest = signed_manifest(path, tag, parsed.architecture(), texts)?;
        let has_empty = parsed.history().iter().any(|it| it.empty_layer);
        let empty = ExtraBlob { descriptor: empty_layer(), bytes: EMPTY_LAYER.to_vec() };
        let extra_blobs = if has_empty { vec![empty] } else { Vec::new() };
        Ok(Converted { manifest, media_type: FORMAT.media_type(), config: None, extra_blobs, losses })
    }

    /// Refuses layers that Docker's formats refuse, and returns the losses of the others.
    fn losses_in_docker(&self, layers: &[WrittenLayer]) -> Result<Vec<Loss>> {
        if self.format() == ManifestFormat::Oci {
            return Ok(schema2::from_oci(self, layers)?.losses);
        }
        let mut losses = Vec::new();
        let written = layers::written(self, self.layers(), layers, FORMAT, &mut losses)?;
        layers::renamed(self, &written, FORMAT)?;
        Ok(losses)
    }

    fn check_history(&self, config: &ImageConfig) -> Result<()> {
        let history = config.history();
        if history.is_empty() {
            return Err(self.not_convertible(FORMAT, format!("its config {} has no history", config.digest())));
        }
        let with_files = history.iter().filter(|it| !it.empty_layer).count();
        if with_files != self.layers().len() {
            let (steps, layers) =
                (vmroot_errors::counted(with_files, "step"), vmroot_errors::counted(self.layers().len(), "layer"));
            let reason = format!("the history of its config has {steps} with files, but it has {layers}");
            return Err(self.not_convertible(FORMAT, reason));
        }
        Ok(())
    }

    /// Returns the steps of the history as those of schema 1. The newest has the config.
    fn steps(&self, parsed: &ImageConfig, config: &[u8], layers: &[WrittenLayer]) -> Vec<NewStep> {
        let mut with_files = self.layers().iter().zip(layers);
        let mut steps: Vec<NewStep> = Vec::with_capacity(parsed.history().len());
        let mut parent = String::new();
        for (number, entry) in parsed.history().iter().enumerate() {
            let empty = empty_layer().digest;
            let layer = if entry.empty_layer { None } else { with_files.next() };
            let (source, written) = layer.map_or((empty, empty), |(old, new)| (old.digest, new.digest));
            let is_newest = number + 1 == parsed.history().len();
            let more = if is_newest { std::str::from_utf8(config).ok() } else { None };
            let id = step_id(&source, &parent, more);
            let text = match is_newest {
                true => newest_step(config, &id, &parent, entry.empty_layer),
                false => to_vec(&OlderStep::new(entry, &id, &parent)),
            };
            // The writer of JSON writes UTF-8.
            steps.push(NewStep { written, text: String::from_utf8(text).unwrap_or_default() });
            parent = id;
        }
        steps
    }
}

/// A layer of the new manifest.
struct NewStep {
    written: Digest,
    text: String,
}

/// A step other than the newest.
#[derive(Serialize)]
struct OlderStep<'a> {
    id: &'a str,
    #[serde(skip_serializing_if = "str::is_empty")]
    parent: &'a str,
    #[serde(skip_serializing_if = "str::is_empty")]
    comment: &'a str,
    created: String,
    container_config: Command<'a>,
    #[serde(skip_serializing_if = "str::is_empty")]
    author: &'a str,
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    throwaway: bool,
}

#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
struct Command<'a> {
    cmd: [&'a str; 1],
}

impl<'a> OlderStep<'a> {
    fn new(entry: &'a History, id: &'a str, parent: &'a str) -> Self {
        Self {
            id,
            parent,
            comment: entry.comment.as_deref().unwrap_or_default(),
            created: go_time::or_zero(entry.created.as_deref()),
            container_config: Command { cmd: [entry.created_by.as_deref().unwrap_or_default()] },
            author: entry.author.as_deref().unwrap_or_default(),
            throwaway: entry.empty_layer,
        }
    }
}

/// Returns the newest step: the config without its history and diff ids, but with ids.
fn newest_step(config: &[u8], id: &str, parent: &str, throwaway: bool) -> Vec<u8> {
    // The config was parsed before.
    let mut step: RawObject = serde_json::from_slice(config).unwrap_or_default();
    step.remove("rootfs");
    step.remove("history");
    step.set("id", id);
    if !parent.is_empty() {
        step.set("parent", parent);
    }
    if throwaway {
        step.set("throwaway", &true);
    }
    step.sort();
    to_vec(&step)
}

/// Returns the id of a step as Docker computes it: from the layer, the parent and, for the newest step, the config.
fn step_id(layer: &Digest, parent: &str, config: Option<&str>) -> String {
    let mut text = format!("{} {parent}", layer.hex());
    if let Some(config) = config {
        text.push(' ');
        text.push_str(config);
    }
    Digest::of(text.as_bytes()).hex()
}

fn empty_layer() -> Descriptor {
    Descriptor::of(MediaType::DOCKER_LAYER_GZIP, &EMPTY_LAYER)
}
