//! zstd:chunked, the form of layers of which podman fetches only the files that it does not have.
//!
//! The data of each file is divided into chunks, each of which is one or more zstd frames. The headers between files
//! are frames, too. A table of contents and the data of tar-split follow in skippable frames. The format is that of
//! `pkg/chunked` of containers/storage, version 1.

mod chunker;
mod header;
mod metadata;
mod scan;
mod tar_split;

use std::collections::VecDeque;
use std::io::Read;
use std::mem;

use sha2::{Digest, Sha256};
use zstd::zstd_safe::{CCtx, CParameter, compress_bound};

use self::chunker::{Chunker, Chunks};
use self::header::{Fault, Header};
use self::metadata::{Entry, Frame, FrameError, digest_text, end};
use self::scan::{Piece, Scanner};
use self::tar_split::{Checksum, TarSplit};
use super::workers::{Work, Workers};
use super::zstd::failure;
use super::{Annotations, Plain, Result, Stop, send};
use crate::Error;
use crate::producer::Outlet;

type Sha256Digest = [u8; 32];

/// The least number of plain bytes that are passed to a thread, except at the end.
const PART: usize = 1 << 20;

/// The most plain bytes of a frame.
const MAX_FRAME: usize = 1 << 20;

/// The most chunks of one file. Their digests are in memory until the end of the file is known.
const MAX_CHUNKS: usize = 1 << 20;

/// Bytes to compress.
#[derive(Default)]
struct Part {
    bytes: Vec<u8>,
    /// The ends of the frames in `bytes`.
    ends: Vec<usize>,
}

struct Compressed {
    bytes: Vec<u8>,
    ends: Vec<usize>,
}

/// A chunk of a file.
struct Chunk {
    /// The number of its first frame.
    frame: u64,
    size: u64,
    digest: Sha256Digest,
    is_zeros: bool,
}

/// An entry whose data is complete.
struct Complete {
    header: Header,
    digest: Option<Sha256Digest>,
    chunks: Vec<Chunk>,
    /// The number of the frame after its last.
    end_frame: u64,
}

/// Compresses all plain bytes, which are a tar.
pub(super) fn compress<R: Read>(
    plain: &mut Plain<R>,
    outlet: &Outlet<Vec<u8>>,
    level: Option<u32>,
    threads: usize,
) -> Result<Annotations, Stop> {
    let level = level.map_or(zstd::DEFAULT_COMPRESSION_LEVEL, |level| level as i32); // at most 20
    let mut scanner = Scanner::default();
    let mut writer = Writer::new(outlet, level, threads)?;
    loop {
        let bytes = plain.fill()?;
        let n = bytes.len();
        if n == 0 {
            break;
        }
        writer.scan(&mut scanner, bytes)?;
        plain.consume(n);
    }
    scanner.finish().map_err(|reason| not_chunked(scanner.offset(), reason))?;
    writer.offset = scanner.offset();
    writer.finish()
}

fn not_chunked(offset: u64, reason: Fault) -> Error {
    Error::NotChunked { offset, reason }
}

/// A writer of a layer.
struct Writer<'a> {
    output: Output<'a>,
    tar_split: TarSplit,
    file: Option<File>,
    /// The offset in the tar, for errors.
    offset: u64,
}

/// A file whose data is read.
struct File {
    header: Header,
    chunker: Chunker,
    checksum: Checksum,
    hash: FileHash,
    chunks: Vec<Chunk>,
}

/// The hash of a file and of its current chunk. They are the same hash in the first chunk.
#[derive(Default)]
struct FileHash {
    chunk: Sha256,
    chunk_size: u64,
    file: Option<Sha256>,
}

impl<'a> Writer<'a> {
    fn new(outlet: &'a Outlet<Vec<u8>>, level: i32, threads: usize) -> Result<Self> {
        let output = Output::new(outlet, level, threads)?;
        Ok(Self { output, tar_split: TarSplit::new(level)?, file: None, offset: 0 })
    }

    fn scan(&mut self, scanner: &mut Scanner, mut bytes: &[u8]) -> Result<(), Stop> {
        while !bytes.is_empty() || scanner.is_at_end_of_entry() {
            self.offset = scanner.offset();
            let (n, piece) = scanner.next(bytes).map_err(|reason| not_chunked(self.offset, reason))?;
            let (now, rest) = bytes.split_at(n);
            bytes = rest;
            match piece {
                Piece::Raw => self.raw(now)?,
                Piece::Begin(header) => {
                    self.raw(now)?;
                    self.begin(*header);
                }
                Piece::Data => self.data(now)?,
                Piece::End => self.end_file()?,
            }
        }
        Ok(())
    }

    fn raw(&mut self, bytes: &[u8]) -> Result<(), Stop> {
        self.tar_split.raw(bytes).map_err(|error| stop(self.offset, error))?;
        self.output.add(bytes)
    }

    fn begin(&mut self, header: Header) {
        self.file = Some(File {
            header,
            chunker: Chunker::default(),
            checksum: Checksum::new(),
            hash: FileHash::default(),
            chunks: Vec::new(),
        });
    }

    fn data(&mut self, bytes: &[u8]) -> Result<(), Stop> {
        let Some(file) = &mut self.file else { return Ok(()) };
        file.checksum.update(bytes);
        let mut chunker = mem::take(&mut file.chunker);
        let mut chunks = FileChunks { file, output: &mut self.output, offset: self.offset };
        chunker.feed(bytes, &mut chunks)?;
        file.chunker = chunker;
        Ok(())
    }

    fn end_file(&mut self) -> Result<(), Stop> {
        let Some(mut file) = self.file.take() else { return Ok(()) };
        let chunker = mem::take(&mut file.chunker);
        chunker.finish(&mut FileChunks { file: &mut file, output: &mut self.output, offset: self.offset })?;
        let File { header, checksum, hash, chunks, .. } = file;
        let entry = Entry::new(&header).map_err(|reason| not_chunked(self.offset, reason))?;
        let size = header.size.cast_unsigned(); // not negative
        self.tar_split.file(entry.name, size, checksum).map_err(|error| stop(self.offset, error))?;
        let digest = match (&chunks[..], hash.file) {
            ([], _) => None,
            ([chunk], _) => Some(chunk.digest),
            (_, file) => file.map(|hash| hash.finalize().into()),
        };
        let end_frame = self.output.frame;
        self.output.entries.push_back(Complete { header, digest, chunks, end_frame });
        self.output.write_entries(self.offset)
    }

    fn finish(mut self) -> Result<Annotations, Stop> {
        self.output.end_frame()?;
        self.output.submit()?;
        while let Some(compressed) = self.output.workers.next()? {
            self.output.take(compressed)?;
        }
        self.output.write_entries(self.offset)?;
        let failed = |error| stop(self.offset, error);
        let tar_split = self.tar_split.finish().map_err(failed)?;
        let mut table = self.output.table;
        table.write(&format!("],\"tarSplitDigest\":\"{}\"}}", tar_split.digest())).map_err(failed)?;
        let (frames, annotations) = end(self.output.written, &table.finish()?, &tar_split);
        send(self.output.outlet, frames)?;
        Ok(annotations)
    }
}

fn stop(offset: u64, error: FrameError) -> Stop {
    Stop::Failed(match error {
        FrameError::Fault(reason) => not_chunked(offset, reason),
        FrameError::Io(error) => error.into(),
    })
}

/// The receiver of a file's chunks.
struct FileChunks<'a, 'b> {
    file: &'a mut File,
    output: &'a mut Output<'b>,
    offset: u64,
}

impl Chunks for FileChunks<'_, '_> {
    type Error = Stop;

    fn data(&mut self, bytes: &[u8]) -> Result<(), Stop> {
        if bytes.is_empty() {
            return Ok(());
        }
        let hash = &mut self.file.hash;
        if hash.chunk_size == 0 {
            self.output.end_frame()?;
            let chunk = Chunk { frame: self.output.frame, size: 0, digest: [0; 32], is_zeros: false };
            self.file.chunks.push(chunk);
        }
        hash.chunk_size += bytes.len() as u64;
        hash.chunk.update(bytes);
        if let Some(file) = &mut hash.file {
            file.update(bytes);
        }
        self.output.add(bytes)
    }

    fn end(&mut self, is_zeros: bool) -> Result<(), Stop> {
        let hash = &mut self.file.hash;
        let Some(chunk) = self.file.chunks.last_mut().filter(|_| hash.chunk_size > 0) else { return Ok(()) };
        let digest = mem::take(&mut hash.chunk);
        hash.file.get_or_insert_with(|| digest.clone());
        chunk.digest = digest.finalize().into();
        chunk.size = mem::take(&mut hash.chunk_size);
        chunk.is_zeros = is_zeros;
        if self.file.chunks.len() >= MAX_CHUNKS {
            return Err(not_chunked(self.offset, "it has more than 1,048,576 chunks").into());
        }
        self.output.end_frame()
    }
}

/// The frames, and the table of contents with their offsets.
struct Output<'a> {
    outlet: &'a Outlet<Vec<u8>>,
    workers: Workers<Part, Result<Compressed>>,
    part: Part,
    /// The number of the current frame.
    frame: u64,
    /// The offsets of frames in the output, from the number `first` on.
    offsets: VecDeque<u64>,
    first: u64,
    written: u64,
    table: Frame,
    is_empty: bool,
    /// The entries that are not in the table, because the offsets of their frames are not known.
    entries: VecDeque<Complete>,
}

impl<'a> Output<'a> {
    fn new(outlet: &'a Outlet<Vec<u8>>, level: i32, threads: usize) -> Result<Self> {
        let mut table = Frame::new(level)?;
        // It cannot exceed the limit.
        let _ = table.write("{\"version\":1,\"entries\":[");
        Ok(Self {
            outlet,
            workers: Workers::new(threads, move || new_worker(level)),
            part: Part::default(),
            frame: 0,
            offsets: VecDeque::from([0]),
            first: 0,
            written: 0,
            table,
            is_empty: true,
            entries: VecDeque::new(),
        })
    }

    /// Adds bytes to the current frame.
    fn add(&mut self, mut bytes: &[u8]) -> Result<(), Stop> {
        while !bytes.is_empty() {
            let room = MAX_FRAME - self.frame_size();
            let (now, rest) = bytes.split_at(bytes.len().min(room));
            self.part.bytes.extend_from_slice(now);
            bytes = rest;
            if now.len() == room {
                self.end_frame()?;
            }
        }
        Ok(())
    }

    fn frame_size(&self) -> usize {
        self.part.bytes.len() - self.part.ends.last().copied().unwrap_or(0)
    }

    /// Ends the current frame, unless it is empty.
    fn end_frame(&mut self) -> Result<(), Stop> {
        if self.frame_size() == 0 {
            return Ok(());
        }
        self.part.ends.push(self.part.bytes.len());
        self.frame += 1;
        if self.part.bytes.len() >= PART { self.submit() } else { Ok(()) }
    }

    /// Passes the part to a thread.
    fn submit(&mut self) -> Result<(), Stop> {
        match self.workers.add(mem::take(&mut self.part))? {
            Some(compressed) => self.take(compressed),
            None => Ok(()),
        }
    }

    /// Passes a compressed part to the reader.
    fn take(&mut self, compressed: Result<Compressed>) -> Result<(), Stop> {
        let Compressed { bytes, ends } = compressed?;
        self.offsets.extend(ends.iter().map(|end| self.written + *end as u64));
        self.written += bytes.len() as u64;
        while self.outlet.spent().is_some() {}
        send(self.outlet, bytes)
    }

    /// Writes the entries whose offsets are known to the table.
    fn write_entries(&mut self, offset: u64) -> Result<(), Stop> {
        while let Some(entry) =
            self.entries.pop_front_if(|entry| entry.end_frame < self.first + self.offsets.len() as u64)
        {
            self.write_entry(&entry).map_err(|error| stop(offset, error))?;
            // Later entries have no earlier frames.
            self.offsets.drain(..(entry.end_frame - self.first) as usize);
            self.first = entry.end_frame;
        }
        Ok(())
    }

    fn write_entry(&mut self, complete: &Complete) -> Result<(), FrameError> {
        let offset_of = |frame: u64| self.offsets.get((frame - self.first) as usize).map_or(0, |it| it.cast_signed());
        let Complete { header, digest, chunks, end_frame } = complete;
        let mut entry = Entry::new(header).map_err(FrameError::Fault)?;
        if let ([first, ..], Some(digest)) = (&chunks[..], digest) {
            entry.digest = digest_text(digest);
            entry.offset = offset_of(first.frame);
            entry.end_offset = offset_of(*end_frame);
        }
        let name = entry.name;
        let mut chunk_offset = 0;
        for (number, chunk) in chunks.iter().enumerate() {
            if number > 0 {
                self.table.push(&mut self.is_empty, &entry)?;
                entry = Entry::chunk(name, chunk_offset);
            }
            if chunks.len() > 1 {
                entry.offset = offset_of(chunk.frame);
                entry.chunk_size = chunk.size.cast_signed();
                entry.chunk_digest = digest_text(&chunk.digest);
                entry.chunk_type = if chunk.is_zeros { "zeros" } else { "" };
            }
            chunk_offset += chunk.size.cast_signed();
        }
        self.table.push(&mut self.is_empty, &entry)
    }
}

impl Frame {
    /// Writes an element of an array.
    fn push(&mut self, is_empty: &mut bool, entry: &Entry<'_>) -> Result<(), FrameError> {
        if !mem::take(is_empty) {
            self.write(",")?;
        }
        self.write_json(entry)
    }
}

fn new_worker(level: i32) -> Work<Part, Result<Compressed>> {
    let mut context = CCtx::create();
    let parameters = [CParameter::CompressionLevel(level), CParameter::ChecksumFlag(true)];
    let set = parameters.into_iter().try_for_each(|it| context.set_parameter(it).map(drop)).map_err(failure);
    let mut set = Some(set);
    Box::new(move |part| {
        if let Some(Err(error)) = set.take() {
            return Err(error);
        }
        compress_part(&mut context, &part)
    })
}

fn compress_part(context: &mut CCtx<'static>, part: &Part) -> Result<Compressed> {
    let mut bytes = Vec::with_capacity(part.bytes.len() / 2);
    let mut ends = Vec::with_capacity(part.ends.len());
    let mut start = 0;
    for end in &part.ends {
        let plain = &part.bytes[start..*end];
        let before = bytes.len();
        bytes.resize(before + compress_bound(plain.len()), 0);
        let size = context.compress2(&mut bytes[before..], plain).map_err(failure)?;
        bytes.truncate(before + size);
        ends.push(bytes.len());
        start = *end;
    }
    bytes.shrink_to_fit();
    Ok(Compressed { bytes, ends })
}
