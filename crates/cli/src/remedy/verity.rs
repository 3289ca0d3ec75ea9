//! Hints for errors of hash trees.

use vmroot::verity::{Error, Fault};

pub(super) fn remedy(error: &Error) -> Option<String> {
    Some(match error {
        Error::PartialBlock { block, .. } => {
            format!("`truncate -s %{block} IMAGE` pads it with zeros; --append does so itself")
        }
        Error::NoSuperblock { .. } => {
            "--hash-offset names the byte at which the superblock begins, if it is not at the start".to_owned()
        }
        Error::RootHashLength { .. } | Error::Corrupt(Fault::Root) => {
            "the root hash is the line that `vmroot verity format` and `vmroot export --verity` print".to_owned()
        }
        Error::BlockSize { .. } => "4096 is the size that every kernel takes".to_owned(),
        _ => return None,
    })
}
