//! Commits of images: one more layer, or changes of the config.

use std::fs::{self, File};
use std::io::{self, PipeReader, PipeWriter, Read};
use std::path::{Path, PathBuf};
use std::thread::{self, JoinHandle};
use std::time::SystemTime;

use vmroot_changes::{Disk, LayerOptions, Marks, write_disk_layer, write_layer};
use vmroot_compress::Target;
use vmroot_image_store::{CommitRequest, Image, NewLayer};
use vmroot_model::{ChildImage, ConfigChange, Reference};
use vmroot_output::{Cancel, Hook, Report};

use super::Client;
use crate::Result;

/// The layer of a new image.
#[derive(Debug)]
#[non_exhaustive]
pub enum CommitLayer {
    /// None: only the config changes.
    Empty,
    /// A tar in any compression.
    Tar(PathBuf),
    /// A reader of a tar in any compression, with its name for messages.
    Reader(NewLayer),
    /// The upper directory of an overlay mount, or another directory with these marks, or an ext4 disk that a guest
    /// wrote. Of a disk with a whole root, the layer is the difference to the image. Sockets are left out.
    Upper(PathBuf, Marks),
}

/// Options of [`Client::commit`].
#[derive(Debug, Clone)]
pub struct CommitOptions {
    /// The names of the new image. If there are none, it has only its id.
    pub names: Vec<Reference>,
    /// The changes of the config, in order. See [`ConfigChange::parse`].
    pub changes: Vec<ConfigChange>,
    /// The author of the image.
    pub author: String,
    /// The comment on the step in the image's history.
    pub message: String,
    /// The command of the step in the image's history.
    pub created_by: String,
    /// The time of the commit. Equal layers, options and times give equal images.
    pub created: SystemTime,
    /// The compression of the layer. `None` keeps gzip and zstd as they are, and makes gzip of all others.
    pub compression: Option<Target>,
}

impl Default for CommitOptions {
    fn default() -> Self {
        Self {
            names: Vec::new(),
            changes: Vec::new(),
            author: String::new(),
            message: String::new(),
            created_by: String::new(),
            created: SystemTime::now(),
            compression: None,
        }
    }
}

impl Client {
    /// Makes a new image of one in the cache: with one more layer, a line in its history, and changes of its config. It
    /// can be mounted and copied at once.
    ///
    /// ```
    /// # let cache = tempfile::tempdir().unwrap();
    /// # let client = vmroot::Client::new(vmroot::ClientOptions::new(cache.path()))?;
    /// use vmroot::{ConfigChange, CommitLayer, CommitOptions, Reference};
    ///
    /// let demo = client.pull("oci:../../testdata/demo:demo")?;
    /// let options = CommitOptions {
    ///     names: vec![Reference::parse("demo:user")?],
    ///     changes: ConfigChange::parse("USER 1000\nENV EDITOR=vi")?,
    ///     ..CommitOptions::default()
    /// };
    /// let image = client.commit(&demo, CommitLayer::Empty, &options)?;
    /// assert_eq!(image.config().config().user, "1000");
    /// assert_eq!(image.config().diff_ids(), demo.config().diff_ids());
    /// assert_eq!(image.record().created.as_deref(), image.config().created());
    /// # Ok::<(), vmroot::Error>(())
    /// ```
    ///
    /// # Errors
    /// - [`ErrorKind::Usage`](crate::ErrorKind::Usage): a change is not possible.
    /// - [`ErrorKind::NotFound`](crate::ErrorKind::NotFound): the layer's file or directory does not exist.
    /// - [`ErrorKind::Integrity`](crate::ErrorKind::Integrity): the layer, or the image in the cache, is damaged.
    /// - [`ErrorKind::Limit`](crate::ErrorKind::Limit): the layer or the new config exceeds a limit.
    /// - [`ErrorKind::NoSpace`](crate::ErrorKind::NoSpace): the disk is full.
    pub fn commit(&self, image: &Image, layer: CommitLayer, options: &CommitOptions) -> Result<Image> {
        let layer = match layer {
            CommitLayer::Empty => None,
            CommitLayer::Reader(layer) => Some(layer),
            CommitLayer::Tar(path) => {
                let file = File::open(&path).map_err(vmroot_output::Error::on("open", &path))?;
                Some(NewLayer { name: path.display().to_string(), reader: Box::new(file) })
            }
            CommitLayer::Upper(directory, marks) if directory.is_dir() => {
                Some(upper_layer(directory, marks, self.cancel().clone())?)
            }
            CommitLayer::Upper(disk, _) => Some(self.disk_layer(image, &disk)?),
        };
        let step = ChildImage {
            created_by: options.created_by.clone(),
            author: options.author.clone(),
            comment: options.message.clone(),
            changes: options.changes.clone(),
            ..ChildImage::new(options.created)
        };
        let request = CommitRequest { references: options.names.clone(), step, compression: options.compression };
        Ok(self.store.commit_image(image, layer, request, &self.progress)?)
    }
}

impl Client {
    /// Returns a reader of the layer that the changes on a guest's disk make.
    fn disk_layer(&self, image: &Image, path: &Path) -> Result<NewLayer> {
        let disk = Disk::open(path)?;
        let base = match disk.has_upper()? {
            true => {
                check_record(&disk, image)?;
                None
            }
            false => Some(self.root(image)?),
        };
        let cancel = self.cancel().clone();
        layer_of(path, move |writer| {
            let hook = cancel.as_hook();
            write_disk_layer(&disk, base.as_ref(), writer, &options(Marks::Upper, Hook::new(&hook)))
        })
    }
}

/// Refuses a disk that belongs to another image: its changes are those to the files of that image.
fn check_record(disk: &Disk, image: &Image) -> Result<()> {
    let Some(record) = disk.record()? else { return Ok(()) };
    let record: serde_json::Value = serde_json::from_slice(&record).unwrap_or_default();
    match record.get("image").and_then(serde_json::Value::as_str) {
        Some(other) if other != image.id().to_string() => {
            Err(crate::Error::of_other_image(disk.path(), other, image.id().to_string()))
        }
        _ => Ok(()),
    }
}

/// Returns a reader of the layer that a directory makes.
fn upper_layer(directory: PathBuf, marks: Marks, cancel: Cancel) -> Result<NewLayer> {
    // The tar's reader reports later errors, as those of a layer.
    fs::read_dir(&directory).map_err(vmroot_output::Error::on("open", &directory))?;
    let name = directory.clone();
    layer_of(&name, move |writer| {
        let hook = cancel.as_hook();
        write_layer(&directory, writer, &options(marks, Hook::new(&hook)))
    })
}

/// Returns the options of a layer. An overlay takes the attributes of its root directory from its upper directory.
fn options(marks: Marks, hook: Hook<'_>) -> LayerOptions<'_> {
    LayerOptions { marks, with_root: true, hook: Some(hook), ..LayerOptions::default() }
}

/// Writes a tar on another thread, and returns a reader of it.
fn layer_of(
    name: &Path,
    write: impl FnOnce(&mut PipeWriter) -> vmroot_changes::Result<Report> + Send + 'static,
) -> Result<NewLayer> {
    let (reader, mut writer) = io::pipe().map_err(vmroot_output::Error::on("make a pipe for", name))?;
    let write = move || write(&mut writer).map(drop);
    let thread = thread::Builder::new().name("upper".to_owned()).spawn(write);
    let thread = thread.map_err(vmroot_output::Error::on("start a thread for", name))?;
    let reader = Box::new(UpperReader { reader, thread: Some(thread) });
    Ok(NewLayer { name: name.display().to_string(), reader })
}

/// Reads the tar of a directory. Its end is an error if the directory could not be read, since a tar that ends early may
/// look complete.
struct UpperReader {
    reader: PipeReader,
    thread: Option<JoinHandle<vmroot_changes::Result<()>>>,
}

impl Read for UpperReader {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let count = self.reader.read(buffer)?;
        if count == 0
            && !buffer.is_empty()
            && let Some(thread) = self.thread.take()
        {
            let written = thread.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic));
            written.map_err(io::Error::other)?;
        }
        Ok(count)
    }
}
