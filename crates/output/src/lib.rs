//! How outputs reach the disk.
//!
//! [`OutputFile`] appears under its name whole or not at all. [`Copier`] moves bytes from file to file by shared blocks
//! where the file system can, and [`Holes`] finds what need not be moved. [`ImageFile`] is written past the page cache,
//! with the [`Jobs`] that [`workers`] share. [`Meter`] reports progress and stops an output
//! that its caller cancels. [`Omissions`] lists what a form left out of a root.

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
mod runs;
mod temporary;
pub mod workers;

pub use block_writer::BlockWriter;
pub use by_inode::OmissionsByInode;
pub use cancel::{Cancel, NOTICE};
pub use copy::Copier;
pub use error::{Error, Result};
pub use file::OutputFile;
pub use holes::{Holes, LastHoles};
pub use image_file::ImageFile;
pub use omissions::{Incomplete, LISTED_OMISSIONS, Omission, Omissions, Omitted, Why, named};
pub use progress::{Cancelled, Counter, Hook, Meter, Progress};
pub use runs::{Job, Jobs, MoveError, Run, Runs};
pub use temporary::{TEMPORARY_PREFIX, TemporaryDirectory, TemporaryFile, directory_of, sync_directory, write_whole};
