//! What a process of the image needs to know: the `config.json` of a prebaked directory.

use std::collections::BTreeMap;
use std::path::Path;

use serde::{Deserialize, Serialize};
use vmroot_container_fs::ContainerFs;
use vmroot_model::{Digest, ImageConfig};

use crate::{Error, Result};

/// How to run what an image holds, and the layers it is made of (`docs/formats/prebaked.md`).
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
    /// The diff ids of the layers, lowest first; files are named after their hex digits.
    pub layers: Vec<Digest>,
    /// `NAME=value`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub env: Vec<String>,
    /// What is always run.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub entrypoint: Vec<String>,
    /// Its arguments, or what is run without an entrypoint.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub cmd: Vec<String>,
    /// The working directory.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub working_dir: String,
    /// The user as the image names it.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub user: String,
    /// The user's number in the image's `/etc/passwd`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub uid: Option<u32>,
    /// The group's number in the image's files.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub gid: Option<u32>,
    /// Free notes.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub labels: BTreeMap<String, String>,
    /// What it runs on, as the image names it.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub architecture: String,
}

impl RuntimeConfig {
    /// Takes from an image's config what running it needs, and resolves its user in its root.
    ///
    /// # Errors
    /// [`Error::Root`] when the image names a user that it has not.
    pub fn new(config: &ImageConfig, root: &ContainerFs) -> Result<Self> {
        let mut runtime = Self::unresolved(config);
        runtime.resolve_user(root)?;
        Ok(runtime)
    }

    /// The same, with the user as the image names it: for who puts something on top of the root first.
    pub fn unresolved(config: &ImageConfig) -> Self {
        let container = config.config();
        Self {
            layers: config.diff_ids().to_vec(),
            env: container.env.clone(),
            entrypoint: container.entrypoint.clone(),
            cmd: container.cmd.clone(),
            working_dir: container.working_dir.clone(),
            user: container.user.clone(),
            uid: None,
            gid: None,
            labels: container.labels.clone(),
            architecture: config.architecture().to_owned(),
        }
    }

    /// Sets `uid` and `gid` from `user`, unless they are known or there is no user.
    ///
    /// # Errors
    /// [`Error::Root`] when the root has no such user.
    pub fn resolve_user(&mut self, root: &ContainerFs) -> Result<()> {
        if !self.user.is_empty() && self.uid.is_none() {
            let ids = root.resolve_user(&self.user)?;
            self.uid = Some(ids.uid);
            self.gid = Some(ids.gid);
        }
        Ok(())
    }

    /// What to run: the entrypoint with the command as its arguments.
    pub fn command(&self) -> Vec<&str> {
        self.entrypoint.iter().chain(&self.cmd).map(String::as_str).collect()
    }

    /// The text of `config.json`: fields in order, empty ones left out, indented by two spaces.
    pub fn to_json(&self) -> String {
        serde_json::to_string_pretty(self).expect("a config has no keys but strings") + "\n"
    }

    /// Reads `config.json`.
    ///
    /// # Errors
    /// [`Error::Io`] and [`Error::InvalidConfig`], with the path.
    pub fn read(path: &Path) -> Result<Self> {
        let text = std::fs::read(path).map_err(|source| Error::Io { path: path.to_owned(), source })?;
        serde_json::from_slice(&text)
            .map_err(|error| Error::InvalidConfig { path: path.to_owned(), reason: error.to_string() })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const PAGE: &str = include_str!("../../../docs/formats/prebaked.md");

    #[test]
    fn the_document_has_the_fields_in_their_order() {
        let text = |text: &str| text.to_owned();
        let full = RuntimeConfig {
            layers: vec![Digest::of(b"")],
            env: vec![text("A=1")],
            entrypoint: vec![text("/bin/sh")],
            cmd: vec![text("-c")],
            working_dir: text("/"),
            user: text("root"),
            uid: Some(0),
            gid: Some(0),
            labels: BTreeMap::from([(text("a"), text("b"))]),
            architecture: text("amd64"),
        };
        let json = full.to_json();
        // Only the object's own fields are indented by two spaces.
        let fields = json.lines().filter_map(|line| line.strip_prefix("  \"")?.split('"').next());
        let (_, section) = PAGE.split_once("## `config.json`").unwrap();
        let (section, _) = section.split_once("\n## ").unwrap();
        let rows = section.lines().filter_map(|line| line.strip_prefix("| `")?.split('`').next());
        assert_eq!(fields.collect::<Vec<_>>(), rows.collect::<Vec<_>>());
    }

    #[test]
    fn the_document_s_example_is_written_as_it_stands() {
        let (_, example) = PAGE.split_once("```json\n").unwrap();
        let (example, _) = example.split_once("```").unwrap();
        assert_eq!(serde_json::from_str::<RuntimeConfig>(example).unwrap().to_json(), example);
    }
}
