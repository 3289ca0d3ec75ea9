//! Writes a layer as a tar in one of the dialects. Values that the dialect cannot store are written as PAX records.

use super::{Attributes, Content, Entry, Kind, Layer};
use crate::tar_builder::{Field, Header, Magic, PaxRecords, SparseForm, TarBuilder, typeflag};

/// A dialect of headers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Dialect {
    /// V7 headers: files have the type NUL, and directories are entries of that type with a trailing slash.
    V7,
    /// POSIX headers with the prefix field, and PAX records only for values that the header cannot store.
    Ustar,
    /// GNU headers with `L`, `K` and base-256, and PAX records only for xattrs and fractions of a second.
    Gnu,
    /// POSIX headers with PAX records for every field, and wrong values in the header's own fields.
    Pax,
}

impl Dialect {
    /// All dialects.
    pub const ALL: [Self; 4] = [Self::V7, Self::Ustar, Self::Gnu, Self::Pax];
}

/// A format of extended attributes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum XattrForm {
    /// `SCHILY.xattr.`, with raw values.
    Schily,
    /// `LIBARCHIVE.xattr.`, with base64 values.
    Libarchive,
    /// Both, as written by bsdtar.
    Both,
}

/// The encoding of a layer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Encoding {
    /// The dialect of the headers.
    pub dialect: Dialect,
    /// The format of sparse files.
    pub sparse: SparseForm,
    /// The format of extended attributes.
    pub xattrs: XattrForm,
}

impl Default for Encoding {
    fn default() -> Self {
        Self { dialect: Dialect::Ustar, sparse: SparseForm::Expanded, xattrs: XattrForm::Schily }
    }
}

impl Encoding {
    /// Returns the default encoding in this dialect.
    pub fn of(dialect: Dialect) -> Self {
        Self { dialect, ..Self::default() }
    }
}

impl Layer {
    /// Returns the tar, closed by two blocks of zeros.
    pub fn to_tar(&self, encoding: &Encoding) -> Vec<u8> {
        let mut tar = TarBuilder::new();
        for entry in &self.entries {
            append(&mut tar, entry, encoding);
        }
        tar.finish()
    }
}

/// Appends one entry.
fn append(tar: &mut TarBuilder, entry: &Entry, encoding: &Encoding) {
    let mut member = Member::new(entry, encoding.dialect);
    member.attributes(&entry.attributes, encoding.xattrs);
    match &entry.kind {
        Kind::File(content) if content.is_sparse() => member.sparse(tar, content, encoding.sparse, &entry.name),
        Kind::File(content) => member.finish(tar, &content.expand()),
        Kind::Symlink(target) | Kind::HardLink(target) => {
            member.link_name(target);
            member.finish(tar, b"");
        }
        Kind::CharDevice { major, minor } | Kind::BlockDevice { major, minor } => {
            member.device(*major, *minor);
            member.finish(tar, b"");
        }
        Kind::Directory | Kind::Fifo => member.finish(tar, b""),
    }
}

/// A header under construction, and the extended headers that precede it.
struct Member {
    dialect: Dialect,
    header: Header,
    records: PaxRecords,
    long_name: Option<Vec<u8>>,
    long_link: Option<Vec<u8>>,
}

impl Member {
    fn new(entry: &Entry, dialect: Dialect) -> Self {
        let magic = match dialect {
            // V7 had no devices, and readers use the device numbers of POSIX headers only.
            Dialect::V7 if !matches!(entry.kind, Kind::CharDevice { .. } | Kind::BlockDevice { .. }) => Magic::V7,
            Dialect::Gnu => Magic::Gnu,
            _ => Magic::Ustar,
        };
        let header = Header::new(magic, type_of(entry, dialect));
        let mut member = Self { dialect, header, records: PaxRecords::new(), long_name: None, long_link: None };
        if dialect == Dialect::V7 && entry.kind == Kind::Directory && !entry.name.ends_with(b"/") {
            member.name(&[&entry.name, &b"/"[..]].concat());
        } else {
            member.name(&entry.name);
        }
        member
    }

    fn name(&mut self, name: &[u8]) {
        let limit = Field::NAME.1;
        if self.dialect == Dialect::Pax {
            self.record("path", name);
            self.set(|header| header.name(b"name-is-in-the-records"));
        } else if name.len() <= limit {
            self.set(|header| header.name(name));
        } else if self.dialect == Dialect::Gnu {
            self.long_name = Some(name.to_vec());
            self.set(|header| header.name(name));
        } else if let (Dialect::Ustar, Some(slash)) = (self.dialect, prefix_end(name)) {
            self.set(|header| header.prefix(&name[..slash]).name(&name[slash + 1..]));
        } else {
            self.record("path", name);
            self.set(|header| header.name(name));
        }
    }

    fn link_name(&mut self, target: &[u8]) {
        if self.dialect == Dialect::Pax {
            self.record("linkpath", target);
            return self.set(|header| header.link_name(b"target-is-in-the-records"));
        }
        if target.len() > Field::LINK_NAME.1 {
            match self.dialect {
                Dialect::Gnu => self.long_link = Some(target.to_vec()),
                _ => self.record("linkpath", target),
            }
        }
        self.set(|header| header.link_name(target));
    }

    fn attributes(&mut self, attributes: &Attributes, form: XattrForm) {
        self.set(|header| header.mode(attributes.mode));
        self.number("uid", Field::UID, attributes.uid.into());
        self.number("gid", Field::GID, attributes.gid.into());
        let mtime = attributes.mtime;
        if mtime.nanoseconds == 0 {
            self.number("mtime", Field::MTIME, mtime.seconds);
        } else {
            // Readers that do not know the record use the whole second.
            self.set(|header| header.mtime(mtime.seconds.max(0)));
            self.records = std::mem::take(&mut self.records).time("mtime", mtime.seconds, mtime.nanoseconds);
        }
        for (name, value) in &attributes.xattrs {
            let mut records = std::mem::take(&mut self.records);
            if form != XattrForm::Schily {
                records = records.libarchive_xattr(name, value);
            }
            if form != XattrForm::Libarchive {
                records = records.schily_xattr(name, value);
            }
            self.records = records;
        }
    }

    /// Sets a number in the header or, depending on the dialect, in base-256 or in a record.
    fn number(&mut self, keyword: &str, field: Field, value: i64) {
        let fits = u64::try_from(value).is_ok_and(|value| value <= field.octal_max());
        match self.dialect {
            Dialect::Gnu => self.set(|header| header.number(field, value.into())),
            Dialect::V7 | Dialect::Ustar if fits => self.set(|header| header.number(field, value.into())),
            _ => {
                self.record(keyword, value.to_string().as_bytes());
                self.set(|header| header.number(field, 0o1234));
            }
        }
    }

    /// Sets the device numbers. They have no record, so numbers beyond seven octal digits are written in base-256.
    fn device(&mut self, major: u32, minor: u32) {
        self.set(|header| header.device(major, minor));
    }

    fn sparse(mut self, tar: &mut TarBuilder, content: &Content, form: SparseForm, name: &[u8]) {
        let (map, data) = content.sparse_map();
        if matches!(form, SparseForm::Pax00 | SparseForm::Pax01 | SparseForm::Pax10) {
            // GNU tar reads these records only with POSIX headers.
            self.set(|header| header.field(Field::MAGIC, b"ustar\x0000").field(Field::TYPEFLAG, &[typeflag::FILE]));
        }
        match form {
            SparseForm::Expanded => self.finish(tar, &content.expand()),
            SparseForm::OldGnu => {
                let plain =
                    self.header.field(Field::MAGIC, b"ustar  \0").field(Field::TYPEFLAG, &[typeflag::GNU_SPARSE]);
                // The GNU header has its sparse descriptors in the place of the POSIX prefix.
                let plain = match self.dialect {
                    Dialect::Ustar if name.len() > Field::NAME.1 => {
                        self.long_name = Some(name.to_vec());
                        plain.field(Field::PREFIX, b"").name(name)
                    }
                    _ => plain,
                };
                let (header, extensions) = map.old_gnu(plain.size(data.len() as u64));
                self.header = header;
                self.prelude(tar);
                tar.header(&self.header).raw(&extensions).data(&data);
            }
            SparseForm::Pax00 => {
                self.records = map.pax_00(self.records);
                self.finish(tar, &data);
            }
            SparseForm::Pax01 => {
                self.records = map.pax_01(self.records, name);
                self.stand_in();
                self.finish(tar, &data);
            }
            SparseForm::Pax10 => {
                let (records, front) = map.pax_10(self.records, name);
                self.records = records;
                self.stand_in();
                self.finish(tar, &[front, data].concat());
            }
        }
    }

    /// Sets a stand-in name. The real name is in `GNU.sparse.name`.
    fn stand_in(&mut self) {
        self.long_name = None;
        self.set(|header| header.prefix(b"").name(b"GNUSparseFile.0/stand-in"));
    }

    fn finish(mut self, tar: &mut TarBuilder, data: &[u8]) {
        if self.dialect == Dialect::Pax {
            self.record("size", data.len().to_string().as_bytes());
        }
        self.prelude(tar);
        tar.entry(self.header, data);
    }

    fn prelude(&self, tar: &mut TarBuilder) {
        if let Some(target) = &self.long_link {
            tar.gnu_long_link(target);
        }
        if let Some(name) = &self.long_name {
            tar.gnu_long_name(name);
        }
        if !self.records.is_empty() {
            tar.pax(&self.records);
        }
    }

    fn record(&mut self, keyword: &str, value: &[u8]) {
        self.records = std::mem::take(&mut self.records).record(keyword, value);
    }

    fn set(&mut self, change: impl FnOnce(Header) -> Header) {
        self.header = change(self.header.clone());
    }
}

fn type_of(entry: &Entry, dialect: Dialect) -> u8 {
    match &entry.kind {
        // With the old type, a slash at the end of the name would make the file a directory.
        Kind::File(_) if dialect == Dialect::V7 && !entry.name.ends_with(b"/") => typeflag::OLD_FILE,
        Kind::Directory if dialect == Dialect::V7 => typeflag::OLD_FILE,
        Kind::File(_) => typeflag::FILE,
        Kind::Directory => typeflag::DIRECTORY,
        Kind::Symlink(_) => typeflag::SYMLINK,
        Kind::HardLink(_) => typeflag::HARD_LINK,
        Kind::CharDevice { .. } => typeflag::CHAR_DEVICE,
        Kind::BlockDevice { .. } => typeflag::BLOCK_DEVICE,
        Kind::Fifo => typeflag::FIFO,
    }
}

/// Returns the position of the slash that separates prefix and name, if both parts fit.
fn prefix_end(name: &[u8]) -> Option<usize> {
    let fits = |slash: &usize| {
        (1..=Field::PREFIX.1).contains(slash) && (1..=Field::NAME.1).contains(&(name.len() - slash - 1))
    };
    (0..name.len()).filter(|at| name[*at] == b'/').find(fits)
}
