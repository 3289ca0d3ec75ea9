//! The records and metadata of all images, kept in memory.
//!
//! They are read from one file or by several threads at the first use, and again where a process has changed them. A
//! reader needs no lock: it reads again if a writer was at work, and sees a transaction that is not complete as if it
//! were.

mod file;
mod visible;

use std::cmp::Ordering;
use std::collections::{HashMap, HashSet};
use std::fs;
use std::io::{self, Read};
use std::num::NonZero;
use std::os::unix::fs::{FileExt, MetadataExt};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use vmroot_cache::LockName;
use vmroot_errors::with_causes;
use vmroot_model::Digest;

pub(crate) use self::visible::Visible;
use crate::journal::Transaction;
use crate::metadata::{self, Metadata};
use crate::record::parse;
use crate::{Error, Record, Result, Store};

/// The age from which the time of a directory shows every change. File systems round it to a tick of the kernel, which
/// is at most 10 ms, so a younger one can be that of two changes.
const SETTLED_AFTER: Duration = Duration::from_millis(100);

/// The number of attempts to read the records while no writer is at work.
const ATTEMPTS: u32 = 8;

/// The number of files from which several threads read them.
const PARALLEL_FILES: usize = 64;

/// The catalogue of a store, which its clones share.
#[derive(Debug, Clone, Default)]
pub(crate) struct Catalogue {
    state: Arc<Mutex<Option<State>>>,
}

#[derive(Debug)]
struct State {
    snapshot: Arc<Snapshot>,
    files: Files,
    stamp: Stamp,
}

/// The files of the directory by their names.
type Files = HashMap<String, Arc<StoredFile>>;

#[derive(Debug)]
struct StoredFile {
    version: Version,
    content: Content,
}

/// Identifies the content of a file that is replaced, and never written in place.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct Version {
    inode: u64,
    /// The time when the file was made. If the file system does not keep it, the time of the last change.
    made: (u64, u32),
    size: u64,
}

#[derive(Debug)]
enum Content {
    Record(Arc<Record>),
    Metadata(Metadata),
    Damaged(String),
}

/// The condition of the directory when it was read.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Stamp {
    inode: u64,
    modified: (i64, i64),
    generation: Vec<u8>,
    journal: Option<Vec<u8>>,
    /// Whether the time of the directory was old enough to show later changes.
    is_settled: bool,
}

/// The images of a store at one moment.
#[derive(Debug, Default)]
pub(crate) struct Snapshot {
    /// All records, ordered by name, platform and id.
    pub(crate) records: Vec<Arc<Record>>,
    /// The ids, ordered by their hex digits.
    pub(crate) ids: Vec<Digest>,
    pub(crate) by_id: HashMap<Digest, Vec<Arc<Record>>>,
    by_key: HashMap<String, Arc<Record>>,
    metadata: HashMap<Digest, Metadata>,
    children: HashMap<Digest, Vec<Digest>>,
    /// The damaged files and their faults.
    pub(crate) damaged: Vec<(PathBuf, String)>,
}

/// All files of the directory.
struct Scan {
    files: Files,
    stamp: Stamp,
    unfinished: Option<Transaction>,
}

impl Snapshot {
    fn new(directory: &Path, files: &Files, unfinished: Option<&Transaction>) -> Self {
        let mut snapshot = Self::default();
        let entry = |record: &Record| (record.file_name(), Arc::new(record.clone()));
        let written: HashMap<String, Arc<Record>> =
            unfinished.iter().flat_map(|it| it.write.iter().map(entry)).collect();
        let removed: HashSet<String> =
            unfinished.iter().flat_map(|it| it.remove.iter().map(Record::file_name)).collect();
        let mut entries: Vec<(&String, &Arc<Record>)> = written.iter().collect();
        for (name, file) in files {
            match &file.content {
                Content::Record(entry) if !removed.contains(name) && !written.contains_key(name) => {
                    entries.push((name, entry));
                }
                Content::Record(_) => {}
                Content::Metadata(metadata) => drop(snapshot.metadata.insert(metadata.id, metadata.clone())),
                Content::Damaged(_) if removed.contains(name) || written.contains_key(name) => {}
                Content::Damaged(reason) => snapshot.damaged.push((directory.join(name), reason.clone())),
            }
        }
        snapshot.damaged.sort();
        for (id, metadata) in unfinished.iter().flat_map(|it| &it.metadata) {
            match metadata {
                Some(metadata) => drop(snapshot.metadata.insert(*id, metadata.clone())),
                None => drop(snapshot.metadata.remove(id)),
            }
        }
        snapshot.fill(entries);
        snapshot
    }

    /// Adds the records with the names of their files, and finds the children. The metadata is there already.
    fn fill(&mut self, mut entries: Vec<(&String, &Arc<Record>)>) {
        entries.sort_unstable_by(|a, b| order(a.1, b.1));
        self.by_key.reserve(entries.len());
        self.by_id.reserve(entries.len());
        self.records.reserve(entries.len());
        for (name, record) in entries {
            self.by_key.insert(name.clone(), Arc::clone(record));
            self.by_id.entry(*record.id()).or_default().push(Arc::clone(record));
            self.records.push(Arc::clone(record));
        }
        self.ids.extend(self.by_id.keys());
        self.ids.sort_unstable_by(|a, b| a.as_bytes().cmp(b.as_bytes()));
        for (id, metadata) in &self.metadata {
            if let Some(parent) = metadata.parent
                && self.by_id.contains_key(id)
                && self.by_id.contains_key(&parent)
            {
                self.children.entry(parent).or_default().push(*id);
            }
        }
        self.children.values_mut().for_each(|ids| ids.sort_unstable());
    }

    /// Returns the record with the name, or else the id, and the platform of `record`.
    pub(crate) fn record_like(&self, record: &Record) -> Option<&Arc<Record>> {
        self.by_key.get(&record.file_name())
    }

    /// Returns the metadata of an image. An image without metadata has the default.
    pub(crate) fn metadata(&self, id: &Digest) -> Metadata {
        self.metadata.get(id).cloned().unwrap_or_else(|| Metadata::new(*id))
    }

    /// Returns the direct children of an image, sorted.
    pub(crate) fn children(&self, id: &Digest) -> &[Digest] {
        self.children.get(id).map_or(&[], Vec::as_slice)
    }

    /// Returns the ids that begin with `term`, with or without their algorithm. A complete id excludes longer ones.
    pub(crate) fn ids_with_prefix(&self, term: &str) -> Vec<Digest> {
        let (algorithm, prefix) = match term.split_once(':') {
            Some((algorithm, prefix)) => (Some(algorithm), prefix),
            None => (None, term),
        };
        if prefix.is_empty() {
            return Vec::new();
        }
        let start = self.ids.partition_point(|id| id.hex().as_str() < prefix);
        let fitting = self.ids[start..].iter().take_while(|id| id.hex().starts_with(prefix));
        let fitting: Vec<Digest> =
            fitting.filter(|id| algorithm.is_none_or(|it| it == id.algorithm().name())).copied().collect();
        match fitting.iter().find(|id| id.hex() == prefix) {
            Some(exact) => vec![*exact],
            None => fitting,
        }
    }
}

/// Orders records by name, platform and id. Those without a name are last.
fn order(a: &Record, b: &Record) -> Ordering {
    let by_name = match (&a.reference, &b.reference) {
        (Some(a), Some(b)) => a.cmp(b),
        (a, b) => b.is_some().cmp(&a.is_some()),
    };
    let by_platform = || a.platform.to_string().cmp(&b.platform.to_string());
    by_name.then_with(by_platform).then_with(|| a.id().cmp(b.id()))
}

impl Version {
    /// Returns the version of a record. Its file gets a new time of change each time the image is used, so that is not
    /// compared.
    fn of(metadata: &fs::Metadata) -> Self {
        Self::at(metadata, metadata.created().or_else(|_| metadata.modified()).unwrap_or(UNIX_EPOCH))
    }

    /// Returns the version of a file whose time of change means that it was written.
    pub(crate) fn of_content(metadata: &fs::Metadata) -> Self {
        Self::at(metadata, metadata.modified().unwrap_or(UNIX_EPOCH))
    }

    fn at(metadata: &fs::Metadata, time: SystemTime) -> Self {
        let since = time.duration_since(UNIX_EPOCH).unwrap_or_default();
        Self { inode: metadata.ino(), made: (since.as_secs(), since.subsec_nanos()), size: metadata.size() }
    }
}

impl Stamp {
    /// Returns whether nothing was written between the two stamps, as far as their times show.
    fn is_same(&self, later: &Self) -> bool {
        let parts = |stamp: &Self| (stamp.inode, stamp.modified);
        parts(self) == parts(later) && self.generation == later.generation && self.journal == later.journal
    }
}

/// Returns whether a time of a directory is so old that a later change gives it another one.
fn is_settled((seconds, nanoseconds): (i64, i64)) -> bool {
    let Ok(seconds) = u64::try_from(seconds) else { return true };
    let modified = UNIX_EPOCH + Duration::new(seconds, u32::try_from(nanoseconds).unwrap_or(0));
    // A time in the future is that of a wrong clock, and shows nothing.
    SystemTime::now().duration_since(modified).is_ok_and(|age| age >= SETTLED_AFTER)
}

impl Catalogue {
    fn state(&self) -> MutexGuard<'_, Option<State>> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Store {
    /// Returns the images of the store now.
    ///
    /// # Errors
    /// [`Error::Cache`] if the records cannot be listed or read.
    pub(crate) fn snapshot(&self) -> Result<Arc<Snapshot>> {
        self.snapshot_if(false)
    }

    /// Returns the images of the store now, with every record that is on disk, even if its writer was killed just then.
    ///
    /// # Errors
    /// As [`Self::snapshot`].
    pub(crate) fn current_snapshot(&self) -> Result<Arc<Snapshot>> {
        self.snapshot_if(true)
    }

    /// Returns the images as they are known, or reads them again if they may have changed. A strict caller does not rely
    /// on marks of changes, which a killed writer did not write.
    fn snapshot_if(&self, is_strict: bool) -> Result<Arc<Snapshot>> {
        if self.is_missing() {
            return Ok(Arc::default());
        }
        let mut state = self.catalogue.state();
        if let Some(state) = state.as_ref()
            && (state.stamp.is_settled || !is_strict)
            && self.is_fresh(&state.stamp)?
        {
            return Ok(Arc::clone(&state.snapshot));
        }
        let (known, is_first) = match state.take() {
            Some(state) => (state.files, false),
            None => match self.read_catalogue() {
                Some(kept) if self.is_fresh(&kept.stamp)? => {
                    let snapshot = Arc::new(Snapshot::new(&self.cache.layout().images(), &kept.files, None));
                    *state = Some(State { snapshot: Arc::clone(&snapshot), files: kept.files, stamp: kept.stamp });
                    return Ok(snapshot);
                }
                kept => (kept.map(|kept| kept.files).unwrap_or_default(), true),
            },
        };
        let scan = self.scan(&known)?;
        let is_known =
            |(name, file): &(&String, &Arc<StoredFile>)| known.get(*name).is_some_and(|it| Arc::ptr_eq(it, file));
        let is_new = is_first || scan.files.iter().filter(|file| !is_known(file)).count() >= PARALLEL_FILES;
        if is_new && scan.stamp.is_settled {
            self.keep_catalogue(&scan.stamp, &scan.files);
        }
        let snapshot = Arc::new(Snapshot::new(&self.cache.layout().images(), &scan.files, scan.unfinished.as_ref()));
        for (path, reason) in &snapshot.damaged {
            tracing::warn!("{}", with_causes(&Error::Record { path: path.clone(), reason: reason.clone() }));
        }
        *state = Some(State { snapshot: Arc::clone(&snapshot), files: scan.files, stamp: scan.stamp });
        Ok(snapshot)
    }

    /// Returns the condition of the directory now.
    fn stamp(&self) -> Result<Stamp> {
        let directory = self.cache.layout().images();
        let metadata = fs::metadata(&directory).map_err(vmroot_output::Error::on("stat", &directory))?;
        let modified = (metadata.mtime(), metadata.mtime_nsec());
        // The lock's file is empty or missing until the first change.
        let generation = fs::read(self.cache.layout().lock(&LockName::Images)).unwrap_or_default();
        let inode = metadata.ino();
        Ok(Stamp { inode, modified, generation, journal: self.read_journal()?, is_settled: is_settled(modified) })
    }

    fn is_fresh(&self, stamp: &Stamp) -> Result<bool> {
        let now = self.stamp()?;
        // Every writer changes the generation. What others do to the directory shows at the latest when it has settled.
        Ok(stamp.is_same(&now) && stamp.journal.is_none() && (stamp.is_settled || !now.is_settled))
    }

    /// Marks that the holder of the lock of the records has changed some.
    ///
    /// The mark is in the lock's file. If it cannot be written, the time of the directory still shows the change.
    fn mark_change(&self) {
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_nanos();
        let mark = format!("{:08x}{now:032x}", std::process::id());
        let path = self.cache.layout().lock(&LockName::Images);
        let written = fs::OpenOptions::new().write(true).open(&path).and_then(|it| it.write_all_at(mark.as_bytes(), 0));
        if let Err(error) = written {
            tracing::debug!(%error, path = %path.display(), "the change of image records cannot be marked");
        }
    }

    /// Runs a change of the records, and takes it over into the catalogue. The lock of the records must be held.
    pub(crate) fn change_records(&self, transaction: &Transaction, change: impl FnOnce() -> Result<()>) -> Result<()> {
        let mut state = self.catalogue.state();
        // Without a catalogue, or with an old one, the next reader reads the files.
        let current = match state.take() {
            Some(current) if self.is_fresh(&current.stamp)? => Some(current),
            _ => None,
        };
        let changed = change();
        self.mark_change();
        changed?;
        if let Some(mut current) = current {
            self.take_over(&mut current.files, transaction)?;
            let snapshot = Snapshot::new(&self.cache.layout().images(), &current.files, None);
            let stamp = Stamp { journal: None, is_settled: false, ..self.stamp()? };
            // The next process compares the files, but does not read them.
            if transaction.write.len() + transaction.remove.len() >= PARALLEL_FILES {
                self.keep_catalogue(&stamp, &current.files);
            }
            *state = Some(State { snapshot: Arc::new(snapshot), files: current.files, stamp });
        }
        Ok(())
    }

    fn take_over(&self, files: &mut Files, transaction: &Transaction) -> Result<()> {
        let directory = self.cache.layout().images();
        let mut set = |name: String, content: Option<Content>| -> Result<()> {
            let path = directory.join(&name);
            match content {
                None => drop(files.remove(&name)),
                Some(content) => {
                    let metadata = fs::symlink_metadata(&path).map_err(vmroot_output::Error::on("stat", &path))?;
                    files.insert(name, Arc::new(StoredFile { version: Version::of(&metadata), content }));
                }
            }
            Ok(())
        };
        for record in &transaction.write {
            set(record.file_name(), Some(Content::Record(Arc::new(record.clone()))))?;
        }
        for record in &transaction.remove {
            set(record.file_name(), None)?;
        }
        for (id, metadata) in &transaction.metadata {
            set(metadata::file_name(id), metadata.clone().map(Content::Metadata))?;
        }
        Ok(())
    }

    /// Reads the directory while no writer is at work, if there is such a moment. Files of `known` that have not changed
    /// are not read again.
    fn scan(&self, known: &Files) -> Result<Scan> {
        let mut before = self.stamp()?;
        let mut attempt = 0;
        loop {
            attempt += 1;
            let files = self.read_files(known)?;
            let after = self.stamp()?;
            // The restoration of a copy changes the directory as well.
            if before.is_same(&after) || attempt == ATTEMPTS {
                let unfinished = after.journal.as_deref().and_then(crate::journal::parse);
                // A transaction that began after the directory was read shows in the next call.
                let is_settled = before.is_settled && before.is_same(&after);
                return Ok(Scan { files, stamp: Stamp { is_settled, ..before }, unfinished });
            }
            before = after;
        }
    }

    fn read_files(&self, known: &Files) -> Result<Files> {
        let tasks = self.list_files()?;
        let read = |tasks: &[ToRead]| {
            let read = tasks.iter().map(|task| self.read_file(task, known));
            read.filter_map(Result::transpose).collect::<Result<Vec<_>>>()
        };
        let cores = thread::available_parallelism().map_or(1, NonZero::get);
        let threads = if tasks.len() < PARALLEL_FILES { 1 } else { cores.min(self.options.parallel.max(1)) };
        let (first, others) = tasks.split_at(tasks.len().div_ceil(threads));
        let parts = thread::scope(|scope| -> Result<Vec<_>> {
            let start = |part| {
                let thread = thread::Builder::new().name("records".to_owned()).spawn_scoped(scope, move || read(part));
                thread.map_err(|error| Error::Threads(error.to_string()))
            };
            let running = others.chunks(tasks.len().div_ceil(threads).max(1)).map(start).collect::<Result<Vec<_>>>()?;
            let mut parts = vec![read(first)?];
            for thread in running {
                parts.push(thread.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))?);
            }
            Ok(parts)
        })?;
        Ok(parts.into_iter().flatten().collect())
    }

    /// Lists the records, including those of which only the second copy exists, and the metadata.
    fn list_files(&self) -> Result<Vec<ToRead>> {
        let directory = self.cache.layout().images();
        let listed = || -> io::Result<Vec<String>> {
            let names = fs::read_dir(&directory)?.map(|entry| Ok(entry?.file_name().into_string().ok()));
            Ok(names.collect::<io::Result<Vec<_>>>()?.into_iter().flatten().collect())
        };
        let names = listed().map_err(vmroot_output::Error::on("list", &directory))?;
        let mut copies: HashSet<&str> = names.iter().filter_map(|name| name.strip_suffix(".copy")).collect();
        let mut files = Vec::with_capacity(names.len() / 2);
        for name in &names {
            if let Some(stem) = name.strip_suffix(".json") {
                files.push(ToRead { name: name.clone(), is_whole: copies.remove(stem) });
            } else if metadata::is_metadata(Path::new(name)) {
                files.push(ToRead { name: name.clone(), is_whole: true });
            }
        }
        files.extend(copies.into_iter().map(|stem| ToRead { name: format!("{stem}.json"), is_whole: false }));
        Ok(files)
    }

    fn read_file(&self, file: &ToRead, known: &Files) -> Result<Option<(String, Arc<StoredFile>)>> {
        let path = self.cache.layout().images().join(&file.name);
        if let Some(stored) = known.get(&file.name)
            && file.is_whole
            && !matches!(stored.content, Content::Damaged(_))
            && fs::symlink_metadata(&path).is_ok_and(|metadata| Version::of(&metadata) == stored.version)
        {
            return Ok(Some((file.name.clone(), Arc::clone(stored))));
        }
        let stored = |version, content| Ok(Some((file.name.clone(), Arc::new(StoredFile { version, content }))));
        let is_metadata = metadata::is_metadata(&path);
        if is_metadata || file.is_whole {
            let Some((version, bytes)) = read(&path)? else { return Ok(None) };
            match if is_metadata { metadata::parse(&path, &bytes).map(Content::Metadata) } else { parse_entry(&bytes) }
            {
                Ok(content) => return stored(version, content),
                Err(reason) if is_metadata => return stored(version, Content::Damaged(reason)),
                // The other copy may be valid.
                Err(_) => {}
            }
        }
        match self.read_record(&path) {
            Ok(Some(record)) => stored(Version::default(), Content::Record(Arc::new(record))),
            Ok(None) => Ok(None),
            Err(Error::Record { reason, .. }) => stored(Version::default(), Content::Damaged(reason)),
            Err(error) => Err(error),
        }
    }
}

/// A file of the directory to read.
struct ToRead {
    name: String,
    /// Whether a record has both copies.
    is_whole: bool,
}

fn parse_entry(bytes: &[u8]) -> std::result::Result<Content, String> {
    Ok(Content::Record(Arc::new(parse(bytes)?)))
}

fn read(path: &Path) -> Result<Option<(Version, Vec<u8>)>> {
    let read = || -> io::Result<(Version, Vec<u8>)> {
        let mut file = fs::File::open(path)?;
        let metadata = file.metadata()?;
        let mut bytes = Vec::with_capacity(usize::try_from(metadata.len()).unwrap_or(0) + 1);
        file.read_to_end(&mut bytes)?;
        Ok((Version::of(&metadata), bytes))
    };
    match read() {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        read => Ok(Some(read.map_err(vmroot_output::Error::on("read", path))?)),
    }
}
