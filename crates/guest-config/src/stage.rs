//! `/vmroot/stage.json`: the instructions for stage one, in an initramfs.

use std::path::Path;

use serde::{Deserialize, Serialize};

use crate::INIT;

/// The path of the instructions in the initramfs.
pub const STAGE: &str = "/vmroot/stage.json";

/// The directory of the modules in the initramfs.
pub const MODULES: &str = "/vmroot/modules";

/// The maximum size of the instructions in bytes.
pub const MAX_STAGE: u64 = 1 << 20;

/// The modules to load, the root to mount, and the program to start in it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Stage {
    /// The paths of the modules, in the order of loading.
    #[serde(default)]
    pub modules: Vec<String>,
    /// The root to mount.
    pub root: StageRoot,
    /// The path of the program to start in the root. By default [`INIT`].
    #[serde(default = "default_init")]
    pub init: String,
    /// Whether a tmpfs over the root takes the writes.
    #[serde(default)]
    pub overlay: bool,
    /// The disk that takes the writes to the root and keeps them. It takes precedence over `overlay`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub upper: Option<StageUpper>,
    /// Further disks, which are mounted in the root in this order.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub volumes: Vec<StageVolume>,
    /// The table of dm-verity, without the root hash, which is on the kernel's command line. The root is then mounted from
    /// the device of this table, in place of its source.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub verity: Option<StageVerity>,
}

/// A disk with the upper layer of an overlay over the root (`docs/formats/upper.md`).
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct StageUpper {
    /// The device, with an ext4 file system.
    pub device: String,
    /// The id of the image below, as the disk's record has it.
    pub image: String,
    /// The name by which the user called the image, for the record and for messages.
    #[serde(default)]
    pub name: String,
    /// Whether a disk over another image is used, and its record replaced.
    #[serde(default)]
    pub rebase: bool,
}

/// A disk that is mounted in the root.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct StageVolume {
    /// The device.
    pub device: String,
    /// The absolute path of the mount point. It is made if it is missing.
    pub path: String,
    /// The file system type, as for mount(2).
    pub fstype: String,
    /// Whether the disk is mounted read-only.
    #[serde(default)]
    pub read_only: bool,
}

/// The disks of a root that dm-verity verifies, and the parameters of their hash tree
/// (Documentation/admin-guide/device-mapper/verity.rst).
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct StageVerity {
    /// The disks with the root, which are joined in this order.
    pub data: Vec<StagePart>,
    /// The device with the hash tree. It can be a disk of the root, which the tree follows.
    pub tree: String,
    /// The number of the tree's first hash block on its device.
    pub hash_start: u64,
    /// The number of the root's blocks.
    pub data_blocks: u64,
    /// The size of the root's blocks in bytes.
    pub data_block_size: u32,
    /// The size of the tree's blocks in bytes.
    pub hash_block_size: u32,
    /// The hash algorithm, as the kernel names it.
    pub algorithm: String,
    /// The type of the tree: 0 or 1.
    pub hash_type: u32,
    /// The salt in hexadecimal digits, or `-`.
    pub salt: String,
}

/// A disk with a part of a root.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct StagePart {
    /// The device.
    pub device: String,
    /// The number of blocks that belong to the root, in the size of the root's blocks.
    pub blocks: u64,
}

/// The file system that becomes the root.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct StageRoot {
    /// The file system type, as for mount(2).
    pub fstype: String,
    /// A device, or the tag of a virtio-fs share.
    pub source: String,
    /// The mount options, as for mount(2).
    #[serde(default)]
    pub options: String,
    /// Whether the root is mounted read-only. By default `true`.
    #[serde(default = "default_read_only")]
    pub read_only: bool,
}

fn default_init() -> String {
    INIT.to_owned()
}

fn default_read_only() -> bool {
    true
}

impl StageRoot {
    /// Returns the devices of the root: the source, and those in the mount options of EROFS.
    pub fn devices(&self) -> impl Iterator<Item = &Path> {
        let more = self.options.split(',').filter_map(|option| option.strip_prefix("device="));
        [self.source.as_str()].into_iter().chain(more).filter(|device| device.starts_with("/dev/")).map(Path::new)
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;

    const PAGE: &str = include_str!("../../../docs/guest.md");

    /// Returns the names in the first column of the table in a section of the page.
    pub(crate) fn fields_of_page(heading: &str) -> Vec<&'static str> {
        let (_, section) = PAGE.split_once(&format!("{heading}\n")).unwrap();
        let (section, _) = section.split_once("\n## ").unwrap_or((section, ""));
        let cells = section.lines().filter_map(|line| line.strip_prefix("| `")?.split(" | ").next());
        cells.flat_map(|cell| cell.trim_end_matches('`').split("`, `")).collect()
    }

    fn parse(text: &str) -> serde_json::Result<Stage> {
        serde_json::from_str(text)
    }

    #[test]
    fn a_stage_that_is_written_is_read() {
        let root = StageRoot {
            fstype: "erofs".to_owned(),
            source: "/dev/vda".to_owned(),
            options: "device=/dev/vdb,acl,device=/dev/vdc".to_owned(),
            read_only: false,
        };
        let stage = Stage {
            modules: vec!["/m.ko".to_owned()],
            root,
            init: "/i".to_owned(),
            overlay: true,
            upper: None,
            volumes: Vec::new(),
            verity: None,
        };
        let text = serde_json::to_string(&stage).unwrap();
        assert_eq!(
            text,
            r#"{"modules":["/m.ko"],"root":{"fstype":"erofs","source":"/dev/vda","#.to_owned()
                + r#""options":"device=/dev/vdb,acl,device=/dev/vdc","readOnly":false},"init":"/i","overlay":true}"#
        );
        assert_eq!(parse(&text).unwrap(), stage);
        assert_eq!(stage.root.devices().collect::<Vec<_>>(), ["/dev/vda", "/dev/vdb", "/dev/vdc"].map(Path::new));
    }

    #[test]
    fn a_minimal_stage_is_read_only_and_waits_for_no_device() {
        let stage = parse(r#"{"root": {"fstype": "virtiofs", "source": "root"}}"#).unwrap();
        assert!(stage.root.read_only && !stage.overlay && stage.modules.is_empty());
        assert_eq!(stage.init, "/sbin/vmroot-init");
        assert_eq!(stage.root.devices().count(), 0);
    }

    #[test]
    fn a_stage_without_a_root_is_refused() {
        assert!(parse("{}").is_err());
        assert!(parse(r#"{"root": {"fstype": 1, "source": "x"}}"#).is_err());
    }

    #[test]
    fn the_page_lists_the_fields() {
        let stage = parse(
            r#"{"root": {"fstype": "erofs", "source": "/dev/vda"}, "verity": {"data": [], "tree": "/dev/vda",
                "hashStart": 1, "dataBlocks": 1, "dataBlockSize": 4096, "hashBlockSize": 4096, "algorithm": "sha256",
                "hashType": 1, "salt": "-"}, "upper": {"device": "/dev/vdb", "image": "sha256:ab"},
                "volumes": [{"device": "/dev/vdc", "path": "/data", "fstype": "ext4"}]}"#,
        )
        .unwrap();
        let value = serde_json::to_value(&stage).unwrap();
        let mut fields = Vec::new();
        for (name, value) in value.as_object().unwrap() {
            // Lists of objects have the fields of their elements. Those of `verity.data` are in its row.
            let element = (name == "volumes").then(|| value.get(0)).flatten();
            match element.unwrap_or(value).as_object() {
                Some(fields_of_root) => fields.extend(fields_of_root.keys().map(|field| format!("{name}.{field}"))),
                None => fields.push(name.clone()),
            }
        }
        let mut listed = fields_of_page("## In an initramfs");
        listed.sort_unstable();
        fields.sort_unstable();
        assert_eq!(fields, listed);
    }
}
