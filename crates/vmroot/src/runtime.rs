//! How to run an image: the `config.json` of a prebaked directory.

use std::collections::BTreeMap;
use std::path::Path;

use serde::{Deserialize, Serialize};
use vmroot_container_fs::ContainerFs;
use vmroot_guest_config::Process;
use vmroot_model::{Digest, ImageConfig};

use crate::{Error, Result};

/// How to run an image, and the layers of its root (`docs/formats/prebaked.md`).
///
/// ```
/// use vmroot::RuntimeConfig;
///
/// let config: RuntimeConfig = serde_json::from_str(r#"{"layers": [], "cmd": ["/bin/sh"]}"#).unwrap();
/// assert_eq!(config.command(), ["/bin/sh"]);
/// assert_eq!(config.to_json(), "{\n  \"layers\": [],\n  \"cmd\": [\n    \"/bin/sh\"\n  ]\n}\n");
/// ```
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct RuntimeConfig {
    /// The diff ids of the layers, lowest first. Their hexadecimal digits name the files of the directory.
    pub layers: Vec<Digest>,
    /// The process that the image runs.
    #[serde(flatten)]
    pub process: Process,
    /// The image's labels.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub labels: BTreeMap<String, String>,
    /// The architecture as the image names it; empty if the image names none.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub architecture: String,
}

impl RuntimeConfig {
    /// Returns how to run the image of a config, with its user resolved in its root.
    ///
    /// # Errors
    /// [`ErrorKind::NotFound`](crate::ErrorKind::NotFound): the root has no such user as the image names.
    pub fn new(config: &ImageConfig, root: &ContainerFs) -> Result<Self> {
        let mut runtime = Self::unresolved(config);
        runtime.resolve_user(root)?;
        Ok(runtime)
    }

    /// Returns how to run the image of a config, without the ids of its user. [`Self::resolve_user`] sets them once the
    /// root is complete, with any layers on top.
    pub fn unresolved(config: &ImageConfig) -> Self {
        let container = config.config();
        Self {
            layers: config.diff_ids().to_vec(),
            process: Process {
                env: container.env.clone(),
                entrypoint: container.entrypoint.clone(),
                cmd: container.cmd.clone(),
                working_dir: container.working_dir.clone(),
                user: container.user.clone(),
                uid: None,
                gid: None,
            },
            labels: container.labels.clone(),
            architecture: config.architecture().to_owned(),
        }
    }

    /// Resolves `user` in a root, and sets `uid` and `gid`. Does nothing if `uid` is set or `user` is empty.
    ///
    /// # Errors
    /// [`ErrorKind::NotFound`](crate::ErrorKind::NotFound): the root has no such user.
    pub fn resolve_user(&mut self, root: &ContainerFs) -> Result<()> {
        let process = &mut self.process;
        if !process.user.is_empty() && process.uid.is_none() {
            let ids = root.resolve_user(&process.user)?;
            process.uid = Some(ids.uid);
            process.gid = Some(ids.gid);
        }
        Ok(())
    }

    /// Returns the command to run: the entrypoint, followed by `cmd`.
    pub fn command(&self) -> Vec<&str> {
        self.process.entrypoint.iter().chain(&self.process.cmd).map(String::as_str).collect()
    }

    /// Returns the text of `config.json`: fields in the order of the structs, without empty ones, indented by two
    /// spaces.
    pub fn to_json(&self) -> String {
        serde_json::to_string_pretty(self).expect("all keys of a config are strings") + "\n"
    }

    /// Reads `config.json`.
    ///
    /// # Errors
    /// - [`ErrorKind::NotFound`](crate::ErrorKind::NotFound): the file does not exist.
    /// - [`ErrorKind::Integrity`](crate::ErrorKind::Integrity): the file is malformed.
    /// - The file cannot be read.
    pub fn read(path: &Path) -> Result<Self> {
        let text = std::fs::read(path).map_err(|source| Error::io(path, source))?;
        serde_json::from_slice(&text).map_err(|error| Error::invalid_config(path, error.to_string()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const PAGE: &str = include_str!("../../../docs/formats/prebaked.md");

    #[test]
    fn format_page_lists_the_fields_in_order() {
        let text = |text: &str| text.to_owned();
        let full = RuntimeConfig {
            layers: vec![Digest::of(b"")],
            process: Process {
                env: vec![text("A=1")],
                entrypoint: vec![text("/bin/sh")],
                cmd: vec![text("-c")],
                working_dir: text("/"),
                user: text("root"),
                uid: Some(0),
                gid: Some(0),
            },
            labels: BTreeMap::from([(text("a"), text("b"))]),
            architecture: text("amd64"),
        };
        let json = full.to_json();
        // Fields of nested objects are indented by more than two spaces.
        let fields = json.lines().filter_map(|line| line.strip_prefix("  \"")?.split('"').next());
        let (_, section) = PAGE.split_once("## `config.json`").unwrap();
        let (section, _) = section.split_once("\n## ").unwrap();
        let rows = section.lines().filter_map(|line| line.strip_prefix("| `")?.split('`').next());
        assert_eq!(fields.collect::<Vec<_>>(), rows.collect::<Vec<_>>());
    }

    #[test]
    fn example_of_the_format_page_is_reproduced() {
        let (_, example) = PAGE.split_once("```json\n").unwrap();
        let (example, _) = example.split_once("```").unwrap();
        assert_eq!(serde_json::from_str::<RuntimeConfig>(example).unwrap().to_json(), example);
    }
}
