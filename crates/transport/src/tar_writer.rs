//! Writing of tars with images.

use std::io::{self, Read, Write};

use tar::{EntryType, Header};

use crate::section::drain;

/// The size in bytes of a tar's blocks.
const BLOCK: usize = 512;

/// The longest name or link target in a header, in bytes. A longer one gets a member of its own before it.
const HEADER_NAME: usize = 100;

/// The name of the member before one with a long name, as GNU tar writes it.
const LONG_LINK: &[u8] = b"././@LongLink";

/// Writes the members of a tar, all of root and with given times. So equal images have equal tars.
///
/// A tar that is dropped has no end, so that a reader of a pipe notices a failed writer.
#[derive(Debug)]
pub struct TarWriter<W> {
    writer: W,
    /// The number of bytes written so far.
    position: u64,
    /// The time of the next members, in seconds since 1970.
    time: u64,
}

impl<W: Write> TarWriter<W> {
    /// Starts a tar whose members have this time, in seconds since 1970.
    pub fn new(writer: W, time: u64) -> Self {
        Self { writer, position: 0, time }
    }

    /// Sets the time of the members that follow, in seconds since 1970.
    pub fn set_time(&mut self, time: u64) {
        self.time = time;
    }

    /// Writes a directory with mode 0755. The name has no slash at its end.
    ///
    /// # Errors
    /// The writer's error.
    pub fn directory(&mut self, name: &str) -> io::Result<()> {
        self.header(&format!("{name}/"), EntryType::Directory, 0o755, 0, "")
    }

    /// Writes a symbolic link.
    ///
    /// # Errors
    /// The writer's error.
    pub fn symlink(&mut self, name: &str, target: &str) -> io::Result<()> {
        self.header(name, EntryType::Symlink, 0o777, 0, target)
    }

    /// Writes a file of `size` bytes.
    ///
    /// # Errors
    /// The writer's or the reader's error, or [`io::ErrorKind::InvalidData`] if the reader has another number of bytes.
    pub fn file(&mut self, name: &str, mode: u32, size: u64, reader: impl Read) -> io::Result<()> {
        self.header(name, EntryType::Regular, mode, size, "")?;
        let copied = self.copy(reader.take(size))?;
        if copied != size {
            let reason = format!("{name} has {copied} bytes, not {size}");
            return Err(io::Error::new(io::ErrorKind::InvalidData, reason));
        }
        self.pad(size)
    }

    /// Writes a file whose size is known at its end. `replace` gets the final header, and must write it at the offset in
    /// the tar that it gets too.
    ///
    /// # Errors
    /// The error of the writer, the reader or `replace`.
    pub fn file_of_unknown_size(
        &mut self,
        name: &str,
        mode: u32,
        reader: impl Read,
        replace: impl FnOnce(&[u8], u64) -> io::Result<()>,
    ) -> io::Result<()> {
        self.header(name, EntryType::Regular, mode, 0, "")?;
        let offset = self.position - BLOCK as u64;
        let size = self.copy(reader)?;
        self.pad(size)?;
        // The writer may still have the first header in a buffer.
        self.writer.flush()?;
        replace(final_header(name, EntryType::Regular, mode, size, self.time, "").as_bytes(), offset)
    }

    /// Ends the tar and returns the writer.
    ///
    /// # Errors
    /// The writer's error.
    pub fn finish(mut self) -> io::Result<W> {
        self.writer.write_all(&[0; 2 * BLOCK])?;
        self.writer.flush()?;
        Ok(self.writer)
    }

    fn header(&mut self, name: &str, entry_type: EntryType, mode: u32, size: u64, target: &str) -> io::Result<()> {
        if target.len() > HEADER_NAME {
            self.long(EntryType::GNULongLink, target)?;
        }
        if name.len() > HEADER_NAME {
            self.long(EntryType::GNULongName, name)?;
        }
        self.write(final_header(name, entry_type, mode, size, self.time, target).as_bytes())
    }

    fn write(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.writer.write_all(bytes)?;
        self.position += bytes.len() as u64;
        Ok(())
    }

    /// Writes all bytes of a reader, and returns their number.
    fn copy(&mut self, mut reader: impl Read) -> io::Result<u64> {
        let start = self.position;
        drain(&mut reader, |bytes| self.write(bytes))?;
        Ok(self.position - start)
    }

    /// Writes a member with a name that the next header has no room for.
    fn long(&mut self, entry_type: EntryType, text: &str) -> io::Result<()> {
        let size = text.len() as u64 + 1;
        let mut header = new_header(entry_type, 0o644, size, 0);
        header.as_old_mut().name[..LONG_LINK.len()].copy_from_slice(LONG_LINK);
        header.set_cksum();
        self.write(header.as_bytes())?;
        self.write(text.as_bytes())?;
        self.write(b"\0")?;
        self.pad(size)
    }

    fn pad(&mut self, size: u64) -> io::Result<()> {
        let rest = (size % BLOCK as u64) as usize;
        if rest == 0 { Ok(()) } else { self.write(&[0; BLOCK][rest..]) }
    }
}

/// Creates a header with a name. A longer name or target is in a member before it.
fn final_header(name: &str, entry_type: EntryType, mode: u32, size: u64, time: u64, target: &str) -> Header {
    let mut header = new_header(entry_type, mode, size, time);
    let fields = header.as_old_mut();
    fill(&mut fields.name, name);
    fill(&mut fields.linkname, target);
    header.set_cksum();
    header
}

/// Creates a header of root. Sizes over 8 GiB are in GNU's binary form.
fn new_header(entry_type: EntryType, mode: u32, size: u64, time: u64) -> Header {
    let mut header = Header::new_gnu();
    header.set_entry_type(entry_type);
    header.set_mode(mode);
    header.set_uid(0);
    header.set_gid(0);
    header.set_size(size);
    header.set_mtime(time);
    header
}

/// Copies the start of `text` into a field that is all zeros.
fn fill(field: &mut [u8], text: &str) {
    let len = text.len().min(field.len());
    field[..len].copy_from_slice(&text.as_bytes()[..len]);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn members_can_be_read_back() {
        let long = "d".repeat(141);
        let target = "../".to_owned() + &"t".repeat(128);
        let mut tar = TarWriter::new(Vec::new(), 1_700_000_000);
        tar.directory("blobs").unwrap();
        tar.file("exact", 0o444, 512, &[1; 512][..]).unwrap();
        tar.file(&long, 0o644, 3, &b"abc"[..]).unwrap();
        tar.symlink("link", &target).unwrap();
        let bytes = tar.finish().unwrap();
        assert_eq!(bytes.len() % BLOCK, 0);
        let mut archive = tar::Archive::new(&bytes[..]);
        let members: Vec<_> = archive
            .entries()
            .unwrap()
            .map(|entry| {
                let mut entry = entry.unwrap();
                let mut content = Vec::new();
                entry.read_to_end(&mut content).unwrap();
                assert_eq!(entry.header().mtime().unwrap(), 1_700_000_000);
                let link = entry.link_name_bytes().map(|it| String::from_utf8(it.into_owned()).unwrap());
                let name = String::from_utf8(entry.path_bytes().into_owned()).unwrap();
                (name, entry.header().mode().unwrap(), content, link)
            })
            .collect();
        assert_eq!(members[0], ("blobs/".to_owned(), 0o755, Vec::new(), None));
        assert_eq!(members[1], ("exact".to_owned(), 0o444, vec![1; 512], None));
        assert_eq!(members[2], (long, 0o644, b"abc".to_vec(), None));
        assert_eq!(members[3], ("link".to_owned(), 0o777, Vec::new(), Some(target)));
        assert_eq!(members.len(), 4);
    }

    #[test]
    fn a_member_has_the_size_of_its_header() {
        let mut tar = TarWriter::new(Vec::new(), 0);
        assert_eq!(tar.file("short", 0o644, 4, &b"abc"[..]).unwrap_err().kind(), io::ErrorKind::InvalidData);
        let mut tar = TarWriter::new(Vec::new(), 0);
        tar.file("long", 0o644, 2, &b"abc"[..]).unwrap();
        assert_eq!(&tar.finish().unwrap()[BLOCK..BLOCK + 3], b"ab\0");
    }

    #[test]
    fn a_size_may_be_known_at_the_end() {
        let (mut known, mut unknown) = (TarWriter::new(Vec::new(), 7), TarWriter::new(Vec::new(), 7));
        let mut replaced = None;
        for name in ["short", &"d".repeat(141)] {
            known.file(name, 0o644, 700, &[1; 700][..]).unwrap();
            let replace = |header: &[u8], offset: u64| {
                replaced = Some((header.to_vec(), offset as usize));
                Ok(())
            };
            unknown.file_of_unknown_size(name, 0o644, &[1; 700][..], replace).unwrap();
            let (header, offset) = replaced.take().unwrap();
            unknown.writer[offset..offset + BLOCK].copy_from_slice(&header);
        }
        assert!(known.finish().unwrap() == unknown.finish().unwrap());
    }

    #[test]
    fn a_file_can_be_larger_than_the_octal_field() {
        let header = new_header(EntryType::Regular, 0o644, 9 << 30, 0);
        assert_eq!(header.entry_size().unwrap(), 9 << 30);
    }
}
