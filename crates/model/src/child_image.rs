//! Configs of child images: those of a parent with a further step, as `docker commit` makes them.

use std::time::SystemTime;

use serde_json::value::RawValue;

use crate::config::History;
use crate::error::DocumentKind;
use crate::json_text::{RawObject, raw, to_vec};
use crate::{ConfigChange, Digest, Error, ImageConfig, Platform, Result, RootFs, json, rfc3339};

/// The diff id of a layer without entries: a tar of 1024 zeros. Docker counts a step with this layer as one without a
/// layer.
pub const EMPTY_LAYER: &str = "sha256:5f70bf18a086007016e948b04aed3b82103a36bea41755b6cddfaf10ace3c6ef";

/// A step that makes a child image of a parent.
#[derive(Debug, Clone)]
pub struct ChildImage {
    /// The diff id of the new layer. `None` or [`EMPTY_LAYER`] for a step that changes no files.
    pub diff_id: Option<Digest>,
    /// The time of the step.
    pub created: SystemTime,
    /// The command of the step. May be empty.
    pub created_by: String,
    /// The author of the child image. May be empty.
    pub author: String,
    /// A comment on the step. May be empty.
    pub comment: String,
    /// The changes of the defaults for containers, in order.
    pub changes: Vec<ConfigChange>,
}

impl ChildImage {
    /// Creates a step at a time, without a layer, texts and changes.
    pub fn new(created: SystemTime) -> Self {
        let (created_by, author, comment) = Default::default();
        Self { diff_id: None, created, created_by, author, comment, changes: Vec::new() }
    }

    /// Returns the diff id of a layer with entries.
    fn layer(&self) -> Option<Digest> {
        self.diff_id.filter(|diff_id| diff_id.to_string() != EMPTY_LAYER)
    }
}

impl History {
    /// Creates the entry of a step. Empty texts are left out.
    pub fn new(created: SystemTime, author: &str, comment: &str, created_by: &str, is_empty: bool) -> Self {
        let text = |text: &str| Some(text.to_owned()).filter(|it| !it.is_empty());
        Self {
            created: Some(rfc3339(created)),
            created_by: text(created_by),
            author: text(author),
            comment: text(comment),
            empty_layer: is_empty,
        }
    }
}

impl ImageConfig {
    /// Parses the config of an image that a store shall hold. It is stricter than [`Self::parse`].
    ///
    /// # Errors
    /// - [`Error::NoRootFs`]: the config has no `rootfs`.
    /// - [`Error::TooMuchHistory`]: more steps of the history have a layer than there are layers.
    /// - The errors of [`Self::parse`].
    pub fn new_from_json(raw: Vec<u8>) -> Result<Self> {
        let config = Self::parse(raw)?;
        let object: RawObject = json::parse_object(config.raw(), DocumentKind::Config, config.digest())?;
        if object.get("rootfs").is_none_or(|value| value.get() == "null") {
            return Err(Error::NoRootFs { digest: *config.digest() });
        }
        let steps = config.history().iter().filter(|step| !step.empty_layer).count();
        let layers = config.diff_ids().len();
        if steps > layers {
            return Err(Error::TooMuchHistory { digest: *config.digest(), steps, layers });
        }
        Ok(config)
    }

    /// Creates the config of an image without layers, files and history, for [`Self::new_child_image`].
    pub fn scratch(platform: &Platform) -> Self {
        let mut object = RawObject::default();
        object.set("architecture", &platform.architecture);
        object.set("os", &platform.os);
        if let Some(variant) = &platform.variant {
            object.set("variant", variant);
        }
        object.set("config", &RawObject::default());
        set_diff_ids(&mut object, &[]);
        object.sort();
        Self::parse(to_vec(&object)).expect("the document was just written")
    }

    /// Returns the layers.
    pub fn root_fs(&self) -> RootFs {
        RootFs::of(self.diff_ids())
    }

    /// Returns the architecture, or that of this machine if the config has none.
    pub fn base_img_arch(&self) -> String {
        if self.architecture().is_empty() { Platform::host().architecture } else { self.architecture().to_owned() }
    }

    /// Returns the variant of the architecture as the config has it, and an empty text if it has none.
    pub fn base_img_variant(&self) -> &str {
        self.variant().unwrap_or_default()
    }

    /// Returns the operating system, or that of this machine if the config has none.
    pub fn operating_system(&self) -> String {
        if self.os().is_empty() { Platform::host().os } else { self.os().to_owned() }
    }

    /// Returns the defaults for running a container of the image. The same as [`Self::config`], by Docker's name.
    pub fn run_config(&self) -> &crate::ContainerConfig {
        self.config()
    }

    /// Checks that this machine runs programs of the operating system `os`. Case does not matter.
    ///
    /// # Errors
    /// [`Error::UnsupportedOs`] if it does not.
    pub fn check_os(os: &str) -> Result<()> {
        if os.eq_ignore_ascii_case(&Platform::host().os) {
            return Ok(());
        }
        Err(Error::UnsupportedOs { os: os.to_owned() })
    }

    /// Writes the config with its top-level members sorted by name, and without whitespace, as Docker writes configs.
    /// The members keep their own order and text.
    pub fn marshal(&self) -> Vec<u8> {
        let mut object = self.members();
        object.sort();
        to_vec(&object)
    }

    /// Returns the config of a child of this image: with the step's layer, its line of history, and its changes.
    ///
    /// Its author is the step's. All other members stay, known or not, except those that describe the container and the
    /// program that made the parent: `container`, `container_config`, `docker_version`, `id` and `parent`.
    ///
    /// # Errors
    /// - [`Error::InvalidChange`]: a change cannot be applied.
    /// - [`Error::DocumentTooLarge`] and [`Error::DocumentLimit`]: the child's config exceeds a limit.
    pub fn new_child_image(&self, child: &ChildImage) -> Result<Self> {
        let mut object = self.members();
        for name in ["container", "container_config", "docker_version", "id", "parent"] {
            object.remove(name);
        }
        object.set("created", &rfc3339(child.created));
        for (name, text) in [("author", &child.author), ("comment", &child.comment)] {
            match text.is_empty() {
                true => object.remove(name),
                false => object.set(name, text),
            }
        }
        let mut config: RawObject = object.parsed("config");
        ConfigChange::apply_all(&child.changes, &mut config)?;
        object.set("config", &config);
        let mut root = self.root_fs();
        child.layer().into_iter().for_each(|diff_id| root.append(diff_id));
        set_diff_ids(&mut object, root.diff_ids());
        let is_empty = child.layer().is_none();
        let step = History::new(child.created, &child.author, &child.comment, &child.created_by, is_empty);
        let mut history: Vec<Box<RawValue>> = object.parsed("history");
        history.retain(|step| step.get() != "null");
        history.push(raw(&step));
        object.set("history", &history);
        object.sort();
        Self::parse(to_vec(&object))
    }

    fn members(&self) -> RawObject {
        json::parse_object(self.raw(), DocumentKind::Config, self.digest()).expect("the bytes were parsed before")
    }
}

fn set_diff_ids(object: &mut RawObject, diff_ids: &[Digest]) {
    let mut root: RawObject = object.parsed("rootfs");
    root.set("type", "layers");
    root.set("diff_ids", diff_ids);
    object.set("rootfs", &root);
}

#[cfg(test)]
mod tests {
    use std::time::{Duration, UNIX_EPOCH};

    use super::*;

    fn parse(text: &str) -> ImageConfig {
        ImageConfig::new_from_json(text.as_bytes().to_vec()).unwrap()
    }

    fn step() -> ChildImage {
        ChildImage::new(UNIX_EPOCH + Duration::from_secs(1_700_000_000))
    }

    fn text(config: &ImageConfig) -> String {
        String::from_utf8(config.raw().to_vec()).unwrap()
    }

    #[test]
    fn configs_without_layers_or_with_too_much_history_are_refused() {
        let refused = |text: &str| ImageConfig::new_from_json(text.as_bytes().to_vec()).unwrap_err().to_string();
        assert!(refused("{}").contains("no RootFS key"), "{}", refused("{}"));
        assert!(refused(r#"{"rootfs":null}"#).contains("no RootFS key"));
        assert!(refused("abc").contains("not a JSON object"));
        let history = r#"{"rootfs":{"type":"layers"},"history":[{"created_by":"a"}]}"#;
        assert!(refused(history).contains("too many non-empty layers in History section"), "{}", refused(history));
        parse(r#"{"rootfs":{"type":"layers"},"history":[{"created_by":"a","empty_layer":true}]}"#);
        // Fewer steps than layers, and none, are allowed.
        let layer = Digest::of(b"x");
        parse(&format!(r#"{{"rootfs":{{"type":"layers","diff_ids":["{layer}"]}}}}"#));
    }

    #[test]
    fn bytes_are_kept() {
        let source = r#"{ "rootfs": {"type":"layers"},   "unknown": [1,2] }"#;
        assert_eq!(text(&parse(source)), source);
        assert_eq!(*parse(source).digest(), Digest::of(source.as_bytes()));
    }

    #[test]
    fn marshalled_members_are_sorted_and_nested_ones_keep_their_order() {
        let config =
            parse(r#"{"rootfs":{"type":"layers","diff_ids":[]}, "comment":"a","author":"b","architecture":"c"}"#);
        assert_eq!(
            String::from_utf8(config.marshal()).unwrap(),
            r#"{"architecture":"c","author":"b","comment":"a","rootfs":{"type":"layers","diff_ids":[]}}"#
        );
    }

    #[test]
    fn missing_platforms_are_those_of_this_machine() {
        let host = Platform::host();
        let config = parse(r#"{"rootfs":{}}"#);
        assert_eq!(config.base_img_arch(), host.architecture);
        assert_eq!(config.base_img_variant(), "");
        assert_eq!(config.operating_system(), host.os);
        assert!(config.platform().architecture.is_empty());
        let config = parse(r#"{"rootfs":{},"architecture":"arm","variant":"v6","os":"plan9"}"#);
        assert_eq!((config.base_img_arch().as_str(), config.base_img_variant()), ("arm", "v6"));
        assert_eq!(config.operating_system(), "plan9");
        assert!(ImageConfig::check_os("LINUX").is_ok());
        let error = ImageConfig::check_os(&config.operating_system()).unwrap_err();
        assert_eq!(error.to_string(), "operating system \"plan9\" is not supported on this machine");
    }

    #[test]
    fn a_child_has_one_more_layer_and_step() {
        let lower = Digest::of(b"lower");
        let parent = parse(&format!(
            r#"{{"architecture":"arm","os":"linux","variant":"v7","os.version":"1","author":"old","container":"c",
            "container_config":{{}},"future":{{"b":1,"a":2}},"config":{{"Env":["A=1"],"Odd":true}},
            "rootfs":{{"type":"layers","diff_ids":["{lower}"]}},"history":[null,{{"created_by":"one","odd":1}}]}}"#
        ));
        let upper = Digest::of(b"upper");
        let child = ChildImage {
            diff_id: Some(upper),
            created_by: "two".to_owned(),
            author: "me".to_owned(),
            comment: "why".to_owned(),
            ..step()
        };
        let image = parent.new_child_image(&child).unwrap();
        assert_eq!(
            text(&image),
            format!(
                r#"{{"architecture":"arm","author":"me","comment":"why","config":{{"Env":["A=1"],"Odd":true}},"created":"2023-11-14T22:13:20Z","future":{{"b":1,"a":2}},"history":[{{"created_by":"one","odd":1}},{{"created":"2023-11-14T22:13:20Z","created_by":"two","author":"me","comment":"why"}}],"os":"linux","os.version":"1","rootfs":{{"type":"layers","diff_ids":["{lower}","{upper}"]}},"variant":"v7"}}"#
            )
        );
        // The parent is unchanged.
        assert_eq!(parent.diff_ids(), [lower]);
        assert_eq!(parent.history().len(), 1);
    }

    #[test]
    fn a_step_without_files_has_no_layer() {
        let parent = ImageConfig::scratch(&Platform::linux("arm64").unwrap());
        for diff_id in [None, Some(Digest::parse(EMPTY_LAYER).unwrap())] {
            let image = parent.new_child_image(&ChildImage { diff_id, ..step() }).unwrap();
            assert_eq!(image.root_fs().chain_id(), None);
            assert!(image.history()[0].empty_layer);
            assert_eq!(image.author(), None);
        }
        assert_eq!(EMPTY_LAYER, Digest::of(&[0; 1024]).to_string());
    }
}
