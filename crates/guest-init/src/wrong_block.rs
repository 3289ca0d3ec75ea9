//! Wrong blocks of the root, which dm-verity reports in the kernel's log.
//!
//! The reader of a wrong block gets EIO, which says nothing about the cause. The log has the block, also of reads before
//! this program was started from the root.

use std::fs::OpenOptions;
use std::io::{self, Read};
use std::os::unix::fs::OpenOptionsExt;
use std::thread;

use rustix::fs::OFlags;

use crate::{Error, shutdown};

/// The log of the kernel. One read returns one record.
const LOG: &str = "/dev/kmsg";
/// The longest record in bytes (`PRINTK_MESSAGE_MAX` of kernel/printk/internal.h is 2048).
const MAX_RECORD: usize = 8192;
/// The largest priority with the facility 0, which only the kernel itself uses. Programs that write to the log cannot.
const LAST_OF_KERNEL: u32 = 7;

/// Returns the error for the first wrong block in the log, if there is one.
pub(crate) fn find() -> Option<Error> {
    search(OFlags::NONBLOCK)
}

/// Ends the guest at the first wrong block.
pub(crate) fn end_at_first(restart: bool) {
    let watch = move || {
        if let Some(error) = search(OFlags::empty()) {
            shutdown::end_after(&error, restart);
        }
    };
    // Without the thread, the block is reported at the end of the command.
    let _ = thread::Builder::new().name("wrong-block".to_owned()).spawn(watch);
}

/// Reads the log from its start. Without `NONBLOCK`, waits for further records.
fn search(flags: OFlags) -> Option<Error> {
    let mut log = OpenOptions::new().read(true).custom_flags(flags.bits() as i32).open(LOG).ok()?;
    let mut record = [0; MAX_RECORD];
    loop {
        match log.read(&mut record) {
            Ok(0) => return None,
            Ok(count) => {
                if let Some(block) = wrong_block(&String::from_utf8_lossy(&record[..count])) {
                    return Some(Error::WrongBlock(block));
                }
            }
            // EPIPE: records were overwritten before they were read. The next read returns the oldest one.
            Err(error) if matches!(error.kind(), io::ErrorKind::Interrupted | io::ErrorKind::BrokenPipe) => {}
            Err(_) => return None,
        }
    }
}

/// Returns the block in a record: `PRIORITY,SEQUENCE,TIME,FLAGS;device-mapper: verity: DEVICE: KIND block N is corrupted`.
fn wrong_block(record: &str) -> Option<String> {
    let (prefix, text) = record.split_once(';')?;
    let priority: u32 = prefix.split(',').next()?.parse().ok()?;
    let text = text.lines().next()?.strip_prefix("device-mapper: verity: ")?;
    let (_, fault) = text.split_once(": ")?;
    let (kind, number) = fault.strip_suffix(" is corrupted")?.split_once(" block ")?;
    let number: u64 = number.parse().ok()?;
    let name = if kind == "data" { "block" } else { "hash block" };
    (priority <= LAST_OF_KERNEL).then(|| format!("{name} {number}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn records_of_the_kernel_name_the_block() {
        let record = "3,345,1234567,-;device-mapper: verity: 254:0: data block 5 is corrupted\n SUBSYSTEM=block\n";
        assert_eq!(wrong_block(record).unwrap(), "block 5");
        let record = "3,345,1234567,-;device-mapper: verity: 254:0: metadata block 130 is corrupted\n";
        assert_eq!(wrong_block(record).unwrap(), "hash block 130");
    }

    #[test]
    fn records_of_programs_are_ignored() {
        let record = "11,345,1234567,-;device-mapper: verity: 254:0: data block 5 is corrupted\n";
        assert_eq!(wrong_block(record), None);
        for other in ["", "3,1,2,-;EXT4-fs: error", "3,1,2,-;device-mapper: verity: 254:0: reached maximum errors"] {
            assert_eq!(wrong_block(other), None, "{other}");
        }
    }
}
