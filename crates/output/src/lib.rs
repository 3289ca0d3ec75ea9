//! Writing outputs to disk.
//!
//! [`OutputFile`] appears under its name only when it is complete. [`Copier`] copies between files, by shared blocks
//! where possible, and [`Holes`] finds the data to copy. [`ImageFile`] is written by direct I/O, with [`Jobs`] that the
//! threads of [`workers`] share. [`Meter`] reports progress and stops an output that is cancelled. [`Report`] is the
//! result of an export, and its [`Omissions`] list the parts of a root that the export leaves out.

pub mod beneath;
mod block_writer;
mod by_inode;
mod cancel;
mod copy;
mod error;
mod file;
pub mod flock;
mod holes;
mod image_file;
mod omissions;
mod progress;
mod report;
mod runs;
mod temporary;
pub mod workers;

pub use block_writer::BlockWriter;
pub use by_inode::OmissionsByInode;
pub use cancel::{CANCEL_LATENCY, Cancel, CancellableReader};
pub use copy::{Copier, is_source_failure};
pub use error::{Error, Result};
pub use file::OutputFile;
pub use holes::{Holes, LastHoles, SparseRead};
pub use image_file::ImageFile;
pub use omissions::{Incomplete, LISTED_OMISSIONS, Omission, OmissionReason, Omissions, Omitted, display_path};
pub use progress::{Cancelled, Counter, Hook, Meter, WriteProgress};
pub use report::Report;
pub use runs::{Job, Jobs, MoveError, Run, Runs, RunsHook};
pub use temporary::{
    NoTemporaryFiles, TEMPORARY_PREFIX, TemporaryDirectory, TemporaryFile, UnnamedFile, directory_of,
    remove_temporary_files, sync_directory, write_atomically,
};
