//! Numbers of the protocol (`doc/proto.md`, "Values").

/// The name of the export. The empty name stands for it, too.
pub const EXPORT_NAME: &str = "root";

/// The most bytes of a request for data, 32 MiB: the limit that clients assume by default.
pub const MAX_LENGTH: u32 = 32 << 20;

/// The most bytes of an option's data. An option with more ends the connection.
pub(super) const MAX_OPTION: u32 = 1 << 20;
/// The most bytes of a name.
pub(super) const MAX_NAME: usize = 4096;
/// The most bytes of data in one chunk of a reply. It is the memory of a request.
pub(super) const MAX_CHUNK: usize = 256 << 10;
/// The most descriptors in the reply to a block status request.
pub(super) const MAX_DESCRIPTORS: usize = 4096;
/// The preferred size of requests in bytes.
pub(super) const PREFERRED_BLOCK: u32 = 4096;

pub(super) const NBD_MAGIC: &[u8; 8] = b"NBDMAGIC";
pub(super) const OPTION_MAGIC: &[u8; 8] = b"IHAVEOPT";
pub(super) const OPTION_REPLY_MAGIC: u64 = 0x0003_e889_0455_65a9;
pub(super) const REQUEST_MAGIC: u32 = 0x2560_9513;
pub(super) const SIMPLE_REPLY_MAGIC: u32 = 0x6744_6698;
pub(super) const STRUCTURED_REPLY_MAGIC: u32 = 0x668e_33ef;

/// Flags of the handshake, of the server and of the client.
pub(super) const FIXED_NEWSTYLE: u16 = 1;
pub(super) const NO_ZEROES: u16 = 2;

/// Options of a client.
pub(super) mod option {
    pub(in crate::nbd) const EXPORT_NAME: u32 = 1;
    pub(in crate::nbd) const ABORT: u32 = 2;
    pub(in crate::nbd) const LIST: u32 = 3;
    pub(in crate::nbd) const INFO: u32 = 6;
    pub(in crate::nbd) const GO: u32 = 7;
    pub(in crate::nbd) const STRUCTURED_REPLY: u32 = 8;
    pub(in crate::nbd) const LIST_META_CONTEXT: u32 = 9;
    pub(in crate::nbd) const SET_META_CONTEXT: u32 = 10;
}

/// Types of replies to options.
pub(super) mod reply {
    pub(in crate::nbd) const ACK: u32 = 1;
    pub(in crate::nbd) const SERVER: u32 = 2;
    pub(in crate::nbd) const INFO: u32 = 3;
    pub(in crate::nbd) const META_CONTEXT: u32 = 4;
    pub(in crate::nbd) const UNSUPPORTED: u32 = (1 << 31) + 1;
    pub(in crate::nbd) const INVALID: u32 = (1 << 31) + 3;
    pub(in crate::nbd) const UNKNOWN: u32 = (1 << 31) + 6;
}

/// Types of information about an export.
pub(super) mod info {
    pub(in crate::nbd) const EXPORT: u16 = 0;
    pub(in crate::nbd) const NAME: u16 = 1;
    pub(in crate::nbd) const DESCRIPTION: u16 = 2;
    pub(in crate::nbd) const BLOCK_SIZE: u16 = 3;
}

/// Flags of an export.
pub(super) mod export {
    pub(in crate::nbd) const HAS_FLAGS: u16 = 1;
    pub(in crate::nbd) const READ_ONLY: u16 = 1 << 1;
    pub(in crate::nbd) const SEND_DF: u16 = 1 << 7;
    pub(in crate::nbd) const CAN_MULTI_CONN: u16 = 1 << 8;
    pub(in crate::nbd) const SEND_CACHE: u16 = 1 << 10;
}

/// Types of requests.
pub(super) mod command {
    pub(in crate::nbd) const READ: u16 = 0;
    pub(in crate::nbd) const WRITE: u16 = 1;
    pub(in crate::nbd) const DISCONNECT: u16 = 2;
    pub(in crate::nbd) const TRIM: u16 = 4;
    pub(in crate::nbd) const CACHE: u16 = 5;
    pub(in crate::nbd) const WRITE_ZEROES: u16 = 6;
    pub(in crate::nbd) const BLOCK_STATUS: u16 = 7;
}

/// Flags of requests.
pub(super) mod request {
    pub(in crate::nbd) const DF: u16 = 1 << 2;
    pub(in crate::nbd) const REQ_ONE: u16 = 1 << 3;
}

/// Types of chunks of structured replies.
pub(super) mod chunk {
    pub(in crate::nbd) const DONE: u16 = 1;
    pub(in crate::nbd) const NONE: u16 = 0;
    pub(in crate::nbd) const OFFSET_DATA: u16 = 1;
    pub(in crate::nbd) const OFFSET_HOLE: u16 = 2;
    pub(in crate::nbd) const BLOCK_STATUS: u16 = 5;
    pub(in crate::nbd) const ERROR: u16 = (1 << 15) + 1;
}

/// The one metadata context, and its flags.
pub(super) const CONTEXT: &str = "base:allocation";
pub(super) const CONTEXT_ID: u32 = 1;
pub(super) const STATE_HOLE: u32 = 1;
pub(super) const STATE_ZERO: u32 = 2;

/// Errors of requests.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u32)]
pub(super) enum NbdError {
    Permission = 1,
    Io = 5,
    Invalid = 22,
    Overflow = 75,
}
