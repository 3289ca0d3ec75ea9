//! Hints for errors of layers made of directories.

use vmroot::changes::Error;

pub(super) fn remedy(error: &Error) -> Option<String> {
    match error {
        Error::Unportable { advice, .. } => {
            Some(format!("changes of an overlay that was mounted with {advice} can be exported"))
        }
        Error::UnseenMarks(_) => Some(
            "run the command as root; --userxattr reads the marks of an overlay that was mounted with userxattr, as any \
             user"
                .to_owned(),
        ),
        Error::DiskInUse(_) => Some("end the guest first, or unmount the disk; a copy can be made then".to_owned()),
        Error::NoBase(_) => {
            Some("--base IMAGE names the image whose root was written to the disk; `commit` uses its own image".to_owned())
        }
        _ => None,
    }
}
