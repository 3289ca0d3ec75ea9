//! How outputs reach the disk.
//!
//! [`OutputFile`] appears under its name whole or not at all. [`Copier`] moves bytes from file to file by shared blocks
//! where the file system can, and [`Holes`] finds what need not be moved. [`Meter`] reports progress and stops an output
//! that its caller cancels. [`Omissions`] lists what a form left out of a root.

pub mod beneath;
mod copy;
mod error;
mod file;
mod holes;
mod omissions;
mod progress;

pub use copy::Copier;
pub use error::{Error, Result};
pub use file::OutputFile;
pub use holes::{Holes, LastHoles};
pub use omissions::{Incomplete, LISTED_OMISSIONS, Omission, Omissions, Omitted, Why, named};
pub use progress::{Counter, Hook, Meter, Progress};
