//! The root behind dm-verity, which verifies each block as it is read.

use std::path::{Path, PathBuf};

use vmroot_guest_config::{StagePart, StageVerity};

use crate::device_mapper::{Target, make_device};
use crate::{Error, Result, devices};

/// The name of the device that joins several disks.
const JOINED: &str = "vmroot-disks";
/// The name of the root's device.
const ROOT: &str = "vmroot-root";
/// The size of a sector in bytes.
const SECTOR: u64 = 512;

/// Opens the root's device with the root hash of the kernel's command line. Returns the path of the device to mount.
///
/// # Errors
/// - [`Error::RootHash`] if only one of the instructions and the command line is about a hash tree.
/// - [`Error::NoDevice`] if a disk does not appear.
/// - [`Error::DeviceMapper`] if the kernel refuses a device.
pub(crate) fn open(verity: Option<&StageVerity>, root_hash: Option<&str>) -> Result<Option<PathBuf>> {
    let (verity, root_hash) = match (verity, root_hash) {
        (None, None) => return Ok(None),
        (Some(verity), Some(root_hash)) if is_hash(root_hash) => (verity, root_hash),
        (Some(_), Some(_)) => return Err(Error::RootHash { lack: "vmroot.verity= is not a hash" }),
        (Some(_), None) => return Err(Error::RootHash { lack: "vmroot.verity= is missing" }),
        (None, Some(_)) => {
            return Err(Error::RootHash { lack: "vmroot.verity= is given, but the initramfs has no table" });
        }
    };
    let disks = verity.data.iter().map(|part| &part.device).chain([&verity.tree]);
    disks.map(Path::new).try_for_each(|disk| devices::wait(disk, devices::DEVICE_TIMEOUT))?;
    let block = u64::from(verity.data_block_size);
    let data = match verity.data.as_slice() {
        [only] => only.device.clone(),
        parts => make_device(JOINED, &parts.iter().map(|part| linear(part, block)).collect::<Vec<_>>())?
            .to_string_lossy()
            .into_owned(),
    };
    let target = Target {
        sectors: verity.data_blocks.saturating_mul(block) / SECTOR,
        driver: "verity",
        parameters: parameters(verity, &data, root_hash),
    };
    make_device(ROOT, &[target]).map(Some)
}

fn linear(part: &StagePart, block: u64) -> Target {
    let sectors = part.blocks.saturating_mul(block) / SECTOR;
    Target { sectors, driver: "linear", parameters: format!("{} 0", part.device) }
}

/// Returns the parameters of dm-verity. A wrong block is EIO, which is the default.
fn parameters(verity: &StageVerity, data: &str, root_hash: &str) -> String {
    let StageVerity {
        tree, hash_start, data_blocks, data_block_size, hash_block_size, algorithm, hash_type, salt, ..
    } = verity;
    format!(
        "{hash_type} {data} {tree} {data_block_size} {hash_block_size} {data_blocks} {hash_start} {algorithm} \
         {root_hash} {salt}"
    )
}

fn is_hash(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_hexdigit())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn verity() -> StageVerity {
        StageVerity {
            data: vec![StagePart { device: "/dev/vda".to_owned(), blocks: 8 }],
            tree: "/dev/vdb".to_owned(),
            hash_start: 1,
            data_blocks: 8,
            data_block_size: 4096,
            hash_block_size: 4096,
            algorithm: "sha256".to_owned(),
            hash_type: 1,
            salt: "-".to_owned(),
        }
    }

    #[test]
    fn parameters_are_those_of_the_kernel() {
        assert_eq!(parameters(&verity(), "/dev/vda", "ab"), "1 /dev/vda /dev/vdb 4096 4096 8 1 sha256 ab -");
    }

    #[test]
    fn a_root_hash_and_a_table_belong_together() {
        assert!(matches!(open(None, None), Ok(None)));
        let text = |verity: Option<&StageVerity>, hash| open(verity, hash).unwrap_err().to_string();
        assert!(text(Some(&verity()), None).contains("vmroot.verity= is missing"));
        assert!(text(None, Some("ab")).contains("the initramfs has no table"));
        assert!(text(Some(&verity()), Some("ab 1 ignore_corruption")).contains("is not a hash"));
    }
}
