//! Dividing a tar into headers and the data of files.

use super::header::{BLOCK, Fault, Header, text};

/// The most bytes of a PAX header or a long name. Go has the same limit.
const MAX_EXTENSION: i64 = 1 << 20;

/// A reader of a tar in pieces of any size.
#[derive(Debug, Default)]
pub(super) struct Scanner {
    state: State,
    /// The bytes of an incomplete header, or of an extension of the next header.
    buffer: Vec<u8>,
    pax: Vec<u8>,
    long_name: Option<Vec<u8>>,
    long_link: Option<Vec<u8>>,
    offset: u64,
}

#[derive(Debug, Default, Clone, Copy)]
enum State {
    /// At a header, whose first bytes may be in the buffer.
    #[default]
    Header,
    /// In the data of an extension of this type, with the bytes left and the padding behind them.
    Extension { kind: u8, left: u64, padding: u64 },
    /// In the data of a file.
    Data { left: u64, padding: u64 },
    /// In bytes to skip.
    Padding { left: u64 },
    /// Behind the end of the archive.
    End,
}

/// The meaning of some bytes.
#[derive(Debug)]
pub(super) enum Piece {
    /// Bytes that are not the data of a file.
    Raw,
    /// The last bytes before the data of an entry.
    Begin(Box<Header>),
    /// Data of the entry.
    Data,
    /// The end of the entry, without bytes.
    End,
}

impl Scanner {
    /// Returns the number of bytes scanned.
    pub(super) fn offset(&self) -> u64 {
        self.offset
    }

    /// Returns the meaning of the first bytes of `bytes`, and their number. `bytes` is not empty.
    pub(super) fn next(&mut self, bytes: &[u8]) -> Result<(usize, Piece), Fault> {
        let (n, piece) = self.step(bytes)?;
        self.offset += n as u64;
        Ok((n, piece))
    }

    /// Checks that the archive may end here. The two blocks of zeros may be missing.
    pub(super) fn finish(&self) -> Result<(), Fault> {
        match self.state {
            State::End => Ok(()),
            State::Header if self.buffer.is_empty() => Ok(()),
            // Data of a file whose padding is missing.
            State::Padding { .. } => Ok(()),
            _ => Err("the tar ends early"),
        }
    }

    fn step(&mut self, bytes: &[u8]) -> Result<(usize, Piece), Fault> {
        let most = |left: u64| usize::try_from(left).map_or(bytes.len(), |left| left.min(bytes.len()));
        match &mut self.state {
            State::Header => {
                let n = most((BLOCK - self.buffer.len()) as u64);
                self.buffer.extend_from_slice(&bytes[..n]);
                let Some(block) = self.buffer.as_array::<BLOCK>().copied() else { return Ok((n, Piece::Raw)) };
                self.buffer.clear();
                Ok((n, self.header(&block)?))
            }
            State::Extension { kind, left, padding } => {
                let n = most(*left);
                self.buffer.extend_from_slice(&bytes[..n]);
                *left -= n as u64;
                if *left == 0 {
                    let (kind, padding) = (*kind, *padding);
                    let extension = std::mem::take(&mut self.buffer);
                    match kind {
                        b'x' => self.pax = extension,
                        b'L' => self.long_name = Some(text(&extension).to_vec()),
                        b'K' => self.long_link = Some(text(&extension).to_vec()),
                        _ => {}
                    }
                    self.state = State::after_data(padding);
                }
                Ok((n, Piece::Raw))
            }
            State::Data { left: 0, padding } => {
                self.state = State::after_data(*padding);
                Ok((0, Piece::End))
            }
            State::Data { left, .. } => {
                let n = most(*left);
                *left -= n as u64;
                Ok((n, Piece::Data))
            }
            State::Padding { left } => {
                let n = most(*left);
                *left -= n as u64;
                if *left == 0 {
                    self.state = State::Header;
                }
                Ok((n, Piece::Raw))
            }
            State::End => Ok((bytes.len(), Piece::Raw)),
        }
    }

    /// Returns true if [`Self::next`] returns a piece without bytes.
    pub(super) fn is_at_end_of_entry(&self) -> bool {
        matches!(self.state, State::Data { left: 0, .. })
    }

    fn header(&mut self, block: &[u8; BLOCK]) -> Result<Piece, Fault> {
        if block == &[0; BLOCK] {
            // Go reads no further than a second block of zeros, and fails if another block follows the first.
            self.state = State::End;
            return Ok(Piece::Raw);
        }
        let mut header = Header::parse(block)?;
        if matches!(header.kind, b'x' | b'g' | b'L' | b'K') {
            let size = size(header.size)?;
            if header.size > MAX_EXTENSION {
                return Err("a PAX header or a long name has more than 1 MiB");
            }
            self.state = match size {
                0 => State::Header,
                left => State::Extension { kind: header.kind, left, padding: padding(left) },
            };
            return Ok(Piece::Raw);
        }
        header.apply_pax(&std::mem::take(&mut self.pax))?;
        header.name = self.long_name.take().filter(|name| !name.is_empty()).unwrap_or(header.name);
        header.link = self.long_link.take().filter(|link| !link.is_empty()).unwrap_or(header.link);
        if header.kind == 0 {
            header.kind = if header.name.ends_with(b"/") { b'5' } else { b'0' };
        }
        let size = size(header.size)?;
        match header.kind {
            b'0' => self.state = State::Data { left: size, padding: padding(size) },
            b'1'..=b'6' if size == 0 => self.state = State::Data { left: 0, padding: 0 },
            b'1'..=b'6' => return Err("an entry that is no file has a size"),
            b'S' => return Err("it is a sparse file"),
            _ => return Err("it has a type that zstd:chunked does not have"),
        }
        Ok(Piece::Begin(Box::new(header)))
    }
}

impl State {
    fn after_data(padding: u64) -> Self {
        if padding == 0 { Self::Header } else { Self::Padding { left: padding } }
    }
}

fn size(size: i64) -> Result<u64, Fault> {
    u64::try_from(size).map_err(|_| "it has a negative size")
}

fn padding(size: u64) -> u64 {
    size.wrapping_neg() % BLOCK as u64
}
