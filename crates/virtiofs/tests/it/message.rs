//! Builds and parses FUSE messages without the library under test (`linux/fuse.h`).

/// Opcodes.
pub(crate) const LOOKUP: u32 = 1;
pub(crate) const FORGET: u32 = 2;
pub(crate) const GETATTR: u32 = 3;
pub(crate) const SETATTR: u32 = 4;
pub(crate) const READLINK: u32 = 5;
pub(crate) const SYMLINK: u32 = 6;
pub(crate) const MKNOD: u32 = 8;
pub(crate) const MKDIR: u32 = 9;
pub(crate) const UNLINK: u32 = 10;
pub(crate) const RMDIR: u32 = 11;
pub(crate) const RENAME: u32 = 12;
pub(crate) const LINK: u32 = 13;
pub(crate) const OPEN: u32 = 14;
pub(crate) const READ: u32 = 15;
pub(crate) const WRITE: u32 = 16;
pub(crate) const STATFS: u32 = 17;
pub(crate) const SETXATTR: u32 = 21;
pub(crate) const GETXATTR: u32 = 22;
pub(crate) const LISTXATTR: u32 = 23;
pub(crate) const REMOVEXATTR: u32 = 24;
pub(crate) const INIT: u32 = 26;
pub(crate) const OPENDIR: u32 = 27;
pub(crate) const READDIR: u32 = 28;
pub(crate) const CREATE: u32 = 35;
pub(crate) const IOCTL: u32 = 39;
pub(crate) const BATCH_FORGET: u32 = 42;
pub(crate) const FALLOCATE: u32 = 43;
pub(crate) const READDIRPLUS: u32 = 44;

/// Bytes of the headers of a request and of a reply.
pub(crate) const REQUEST_HEADER: usize = 40;
pub(crate) const REPLY_HEADER: usize = 16;

/// The id that connects a reply to its request.
const UNIQUE: u64 = 0x1234_5678_9abc_def0;

/// Returns a request for an inode.
pub(crate) fn request(opcode: u32, node: u64, body: &[u8]) -> Vec<u8> {
    let mut bytes = ((REQUEST_HEADER + body.len()) as u32).to_le_bytes().to_vec();
    bytes.extend(opcode.to_le_bytes());
    bytes.extend(UNIQUE.to_le_bytes());
    bytes.extend(node.to_le_bytes());
    bytes.extend([0; 16]);
    bytes.extend(body);
    bytes
}

/// Returns a request body of 32-bit numbers.
pub(crate) fn words(words: &[u32]) -> Vec<u8> {
    words.iter().flat_map(|word| word.to_le_bytes()).collect()
}

/// Returns the body of a request to read a file or a directory.
pub(crate) fn read_body(offset: u64, size: u32) -> Vec<u8> {
    words(&[0, 0, offset as u32, (offset >> 32) as u32, size, 0, 0, 0, 0, 0])
}

/// Returns the body or the error number of a reply.
pub(crate) fn parse_reply(bytes: &[u8]) -> Result<&[u8], i32> {
    assert!(bytes.len() >= REPLY_HEADER, "{} bytes are not an answer", bytes.len());
    assert_eq!(number(bytes, 0, 4) as usize, bytes.len());
    assert_eq!(number(bytes, 8, 8), UNIQUE);
    match -(number(bytes, 4, 4) as u32).cast_signed() {
        0 => Ok(&bytes[REPLY_HEADER..]),
        error => Err(error),
    }
}

/// Returns the number at an offset of a message.
pub(crate) fn number(bytes: &[u8], at: usize, length: usize) -> u64 {
    let mut number = [0; 8];
    number[..length].copy_from_slice(&bytes[at..at + length]);
    u64::from_le_bytes(number)
}
