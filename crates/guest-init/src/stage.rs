//! `/vmroot/stage.json`: the instructions for stage one.

use std::path::{Path, PathBuf};

use serde::Deserialize;

use crate::{Result, document};

/// The path in the initramfs.
const PATH: &str = "/vmroot/stage.json";

/// The maximum size in bytes.
const MAX_STAGE: u64 = 1 << 20;

/// The modules to load, the root to mount, and the program to start in it.
#[derive(Debug, PartialEq, Eq, Deserialize)]
pub(crate) struct Stage {
    /// The paths of the modules, in the order of loading.
    #[serde(default)]
    pub(crate) modules: Vec<PathBuf>,
    pub(crate) root: Root,
    /// The program to start in the root.
    #[serde(default = "default_init")]
    pub(crate) init: PathBuf,
    /// Whether a tmpfs over the root takes the writes.
    #[serde(default)]
    pub(crate) overlay: bool,
}

/// The file system that becomes the root.
#[derive(Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Root {
    pub(crate) fstype: String,
    /// A device, or the tag of a virtio-fs share.
    pub(crate) source: String,
    /// The mount options, as for mount(2).
    #[serde(default)]
    pub(crate) options: String,
    #[serde(default = "default_read_only")]
    pub(crate) read_only: bool,
}

fn default_init() -> PathBuf {
    PathBuf::from("/sbin/vmroot-init")
}

fn default_read_only() -> bool {
    true
}

/// Returns whether this is an initramfs with instructions for stage one.
pub(crate) fn is_present() -> bool {
    Path::new(PATH).exists()
}

impl Stage {
    /// Reads the instructions.
    ///
    /// # Errors
    /// [`Error::Io`](crate::Error::Io), [`Error::TooLong`](crate::Error::TooLong) or
    /// [`Error::Document`](crate::Error::Document) if the file cannot be read, is too large, or is malformed.
    pub(crate) fn read() -> Result<Self> {
        document::json(Path::new(PATH), MAX_STAGE)
    }
}

impl Root {
    /// Returns the devices of the root: the source, and those in the mount options of EROFS.
    pub(crate) fn devices(&self) -> impl Iterator<Item = &Path> {
        let more = self.options.split(',').filter_map(|option| option.strip_prefix("device="));
        [self.source.as_str()].into_iter().chain(more).filter(|device| device.starts_with("/dev/")).map(Path::new)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(text: &str) -> serde_json::Result<Stage> {
        serde_json::from_str(text)
    }

    #[test]
    fn a_full_stage() {
        let stage = parse(
            r#"{"modules": ["/vmroot/modules/erofs.ko"], "root": {"fstype": "erofs", "source": "/dev/vda",
                "options": "device=/dev/vdb,acl,device=/dev/vdc", "readOnly": false}, "init": "/i", "overlay": true}"#,
        );
        let stage = stage.unwrap();
        assert_eq!(stage.modules, [Path::new("/vmroot/modules/erofs.ko")]);
        assert_eq!(stage.root.devices().collect::<Vec<_>>(), ["/dev/vda", "/dev/vdb", "/dev/vdc"].map(Path::new));
        assert!(!stage.root.read_only && stage.overlay);
        assert_eq!(stage.init, Path::new("/i"));
    }

    #[test]
    fn a_minimal_stage_is_read_only_and_waits_for_no_device() {
        let stage = parse(r#"{"root": {"fstype": "virtiofs", "source": "root"}}"#).unwrap();
        assert!(stage.root.read_only && !stage.overlay && stage.modules.is_empty());
        assert_eq!(stage.init, Path::new("/sbin/vmroot-init"));
        assert_eq!(stage.root.devices().count(), 0);
    }

    #[test]
    fn a_stage_without_a_root_is_refused() {
        assert!(parse("{}").is_err());
        assert!(parse(r#"{"root": {"fstype": 1, "source": "x"}}"#).is_err());
    }
}
