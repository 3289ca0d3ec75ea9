//! Building an index and contents from a tar or a directory.

use std::fs::{self, File};
use std::io::{self, BufReader, PipeWriter};
use std::path::Path;
use std::sync::Arc;
use std::thread;

use vmroot_compress::pipelined;
use vmroot_layer_index::{BuildOptions, BuiltLayer, build};
use vmroot_output::{Hook, Omissions};

use super::progress::CountedFile;
use super::{LayerBuilder, TopWarning};
use crate::layer::{LayerOptions, write_plain};
use crate::{Error, Result};

/// The default capacity of a pipe in bytes.
const PIPE: usize = 64 << 10;

impl LayerBuilder<'_> {
    /// Indexes a layer: a directory, or a tar in any compression.
    pub(super) fn build_layer(
        &self,
        path: &Path,
        omitted: &mut Omissions,
        warnings: &mut Vec<TopWarning>,
    ) -> Result<BuiltLayer> {
        let metadata = fs::metadata(path).map_err(vmroot_output::Error::on("read", path))?;
        let end = self.counter.bytes() + if metadata.is_file() { metadata.len() } else { 0 };
        let built = if metadata.is_dir() {
            self.build_directory(path, omitted, warnings)
        } else {
            self.build_tar(File::open(path).map_err(vmroot_output::Error::on("open", path))?)
        };
        // Bytes after the end of a tar's archive are not read.
        self.counter.set(self.counter.bytes().max(end));
        self.counter.report();
        built.map_err(Error::on_top(path.display().to_string()))
    }

    fn build_tar(&self, file: File) -> Result<BuiltLayer> {
        let file = CountedFile { file, counter: Arc::clone(self.counter) };
        let tar = pipelined(self.options.cancel.reader(file), &self.options.limits);
        build(tar, self.directory, &self.build_options()).map_err(|error| self.unless_cancelled(error.into()))
    }

    fn build_directory(
        &self,
        path: &Path,
        omitted: &mut Omissions,
        warnings: &mut Vec<TopWarning>,
    ) -> Result<BuiltLayer> {
        let callback = self.counter.hook(&self.options.cancel);
        // Sparse entries are fine, because only vmroot reads this tar.
        let options = LayerOptions {
            whiteout_files: true,
            sparse: true,
            hook: Some(Hook::new(&callback)),
            ..LayerOptions::default()
        };
        let (built, written) = self.build_from_writer(|mut writer| write_plain(path, &mut writer, &options))?;
        omitted.append(written.omissions);
        if written.unseen_marks {
            warnings.push(TopWarning::UnseenMarks { layer: path.to_owned() });
        }
        Ok(built)
    }

    /// Indexes a tar while another thread writes it to a pipe, so that it is never stored.
    pub(super) fn build_from_writer<R: Send>(
        &self,
        write: impl FnOnce(PipeWriter) -> Result<R> + Send,
    ) -> Result<(BuiltLayer, R)> {
        let (reader, writer) = io::pipe().map_err(vmroot_output::Error::on("make a pipe for", self.directory))?;
        let (built, written) = thread::scope(|scope| {
            let thread = scope.spawn(|| write(writer));
            let built = build(BufReader::with_capacity(PIPE, reader), self.directory, &self.build_options());
            (built, thread.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic)))
        });
        // The writer's error comes first, because a truncated tar may look complete. Only if the pipe was closed is the
        // reader's error the cause.
        match (built, written) {
            (Err(error), Err(Error::Export(vmroot_export::Error::Stream(_)))) | (Err(error), Ok(_)) => {
                Err(self.unless_cancelled(error.into()))
            }
            (_, Err(error)) => Err(self.unless_cancelled(error)),
            (Ok(built), Ok(report)) => Ok((built, report)),
        }
    }

    fn build_options(&self) -> BuildOptions {
        BuildOptions { expected: None, ..self.options.build.clone() }
    }

    fn unless_cancelled(&self, error: Error) -> Error {
        if self.options.cancel.is_cancelled() { Error::Cancelled } else { error }
    }
}
