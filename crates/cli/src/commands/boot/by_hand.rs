//! `boot --print` and `boot --output`: the files of a machine, and its command line or a script, for the user to start.

mod server;

use std::ffi::{OsStr, OsString};
use std::fs::{self, Permissions};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use anyhow::Context as _;
use serde_json::{Value, json};
use tempfile::TempDir;
use vmroot::boot::{
    Acceleration, Accelerator, BuiltMachine, GuestOptions, InitMessages, Kernel, Share, Vmm, VmmCommand, quote,
};
use vmroot::guest::Pid1;
use vmroot::output::{Hook, TemporaryDirectory, WriteProgress};
use vmroot::{ContainerFs, Platform, guest};

use super::disks::GuestDisks;
use super::kernel::GuestKernel;
use super::{EMPTY_FILES, GUEST_DIRECTORY, Init, guest_options, open_root, user_network};
use crate::args::{BootArguments, Form};
use crate::context::{Context, OpenedRoot};
use crate::display::{self, Action, LONG, NewTask};
use crate::exit::Advised;
use crate::paths::{self, NewDirectory};
use crate::{environment, output, progress, signals};
use server::{GuestPlace, ServedRoot};

/// The kernel in the directory of `--output`.
const KERNEL: &str = "kernel";
/// The guest's config, for a reader; the root has it too.
const CONFIG: &str = "config.json";
/// The most bytes of the guest's config that are copied.
const MAX_CONFIG: u64 = 1 << 20;
/// The VMM's configuration file.
const MACHINE: &str = "machine.json";
/// The script.
const SCRIPT: &str = "run.sh";

/// Builds a machine, and prints its command line or writes a script.
pub(super) fn build(
    context: &Context,
    image: &str,
    options: &BootArguments,
    found: &GuestKernel,
) -> anyhow::Result<()> {
    check(options)?;
    let GuestKernel { kernel, modules, .. } = found;
    let init = Init::new(options.init.as_deref(), kernel)?;
    options.top.check()?;
    let via = options.via.unwrap_or(Form::Erofs);
    let network = user_network(&options.network)?;
    let mut disks = GuestDisks::open(&options.disks)?;
    let (volumes, empty_upper) = (disks.volumes.clone(), disks.upper.clone());
    let guest_options = GuestOptions {
        via: via.into(),
        init: init.path(via.into()),
        // Without the times that `boot` reads from the console.
        init_messages: init.messages().min(InitMessages::ExitCode),
        append: &options.append,
        verbose: context.verbose(),
        upper: empty_upper.as_ref(),
        volumes: &volumes,
        network: network.as_ref(),
        starts_here: false,
        ..guest_options(options, kernel, modules.as_ref(), &init)
    };
    // After a signal, the files that were made are removed.
    signals::end_by_itself();
    let place = Place::new(options)?;
    guest_options.check(&place.files()).map_err(vmroot::Error::from)?;
    let acceleration = choose_accelerator(&guest_options, options)?;
    let empty_directory = tempfile::tempdir()?;
    let (opened, pid1) = open_root(context, image, options, kernel, &init, true, empty_directory.path())?;
    let upper = disks.bind_upper(image, &opened)?;
    let architecture = opened.unresolved_config().architecture;
    let OpenedRoot { root, _files, image: _used, .. } = opened;

    let kernel = place.keep_kernel(found)?;
    let (task, cancel) = (NewTask::new(Action::Prepare, "the guest").start(LONG), context.cancel());
    let hook = |progress: WriteProgress| progress::advance(Some(&task), &cancel, progress);
    let hook = Some(Hook::new(&hook));
    // An init that replaces vmroot's writes no exit code.
    let init_messages = match pid1 {
        Some(Pid1::Machine) => InitMessages::Nothing,
        _ => guest_options.init_messages,
    };
    let guest_options = GuestOptions { kernel: &kernel, acceleration, hook, upper, init_messages, ..guest_options };
    let root = Arc::new(root);
    let built = BuiltMachine::build(&root, &place.files(), &guest_options).map_err(vmroot::Error::from)?;
    task.end(display::Outcome::Done);
    let config = read_config(&root)?;
    if let Some(config) = &config {
        place.write(CONFIG, config, 0o644)?;
    }
    let places = places(&root, options);
    let serve = |share: &Share| {
        let served = ServedRoot {
            image,
            platform: match context.requested_platform() {
                Some(platform) => platform.clone(),
                None => Platform::linux(kernel.architecture.image_name())?,
            },
            top: options.top.top(),
            init: &init,
            config: config.as_deref(),
            places: &places,
            socket: &share.socket,
        };
        anyhow::Ok((share.socket.clone(), served.command(context, &place.files())?))
    };
    let server = built.machine().share.as_ref().map(serve).transpose()?;
    let title = format!("Boots {image} (linux/{architecture}).");
    let result = Outcome { server, ..place.finish(&built, &title)? };
    let vmm = Vmm::from(options.vmm);
    if vmm == Vmm::Firecracker && !kernel.is_elf && kernel.architecture.image_name() == "amd64" {
        output::print_note(&format!(
            "firecracker starts only uncompressed kernels, and {} is compressed: `scripts/extract-vmlinux` of Linux \
             unpacks it",
            options.kernel.display()
        ));
    }
    if via == Form::Virtiofs {
        output::print_note(&format!(
            "the guest reads files of the cache: `vmroot lease create {image}` keeps them while it is off"
        ));
    }
    print(context, options, &result)
}

/// Fails for forms whose files do not outlive this process, or that cannot start on another machine.
fn check(options: &BootArguments) -> anyhow::Result<()> {
    if options.output.is_some() && (options.disks.upper.is_some() || !options.disks.volumes.is_empty()) {
        let message = "--output: the disks of --upper and --volume are files of this machine";
        return Err(Advised::usage(message, "--print prints a command line for this machine, which names them").into());
    }
    let text = match options.via {
        Some(Form::Disk) => "--via disk is served by this process",
        Some(Form::ErofsMeta) => "--via erofs-meta refers to files of the cache, some of which are temporary",
        Some(Form::Virtiofs) if options.output.is_some() => {
            "--via virtiofs needs vmroot and the cache on the other machine"
        }
        _ => return Ok(()),
    };
    let option = if options.output.is_some() { "--output" } else { "--print" };
    Err(Advised::usage(format!("{option}: {text}"), "--via erofs has everything in one image").into())
}

/// Chooses the accelerator for the printed command line, as `boot` does. A script chooses itself.
fn choose_accelerator(guest_options: &GuestOptions<'_>, options: &BootArguments) -> anyhow::Result<Acceleration> {
    let is_installed =
        environment::find_program(&guest_options.vmm.program(guest_options.kernel.architecture)).is_some();
    if !options.print || guest_options.acceleration != Acceleration::Auto || guest_options.vmm != Vmm::Qemu {
        return Ok(guest_options.acceleration);
    }
    if !is_installed {
        return Ok(Acceleration::Tcg);
    }
    let (accelerator, note) = guest_options.choose_accelerator().map_err(vmroot::Error::from)?;
    if let Some(note) = note {
        output::print_note(&format!("without KVM, the guest is translated and slow: {note}"));
    }
    Ok(match accelerator {
        Accelerator::Kvm => Acceleration::Kvm,
        Accelerator::Tcg => Acceleration::Tcg,
    })
}

/// Returns the config of a root's init. `None` for an image's own init.
fn read_config(root: &ContainerFs) -> anyhow::Result<Option<Vec<u8>>> {
    let Ok(found) = root.resolve_path(guest::CONFIG.as_bytes()) else { return Ok(None) };
    // The guest reads any config, but a copy of a long one has no reader.
    let mut bytes = vec![0; usize::try_from(root.stat(found.ino).size.min(MAX_CONFIG))?];
    let count = root.read_at(found.ino, 0, &mut bytes)?;
    bytes.truncate(count);
    Ok(Some(bytes))
}

/// Returns what the guest mounts over, beside the directories of the kernel's file systems. The directories of an image keep
/// their attributes when they are merged.
fn places(root: &ContainerFs, options: &BootArguments) -> Vec<GuestPlace> {
    let is_empty = |path: &&str| root.open(path).is_ok_and(|file| file.is_empty());
    let files = EMPTY_FILES.into_iter().filter(is_empty).map(GuestPlace::File);
    let volumes = options.disks.volumes.iter().map(|volume| GuestPlace::Directory(volume.path.clone()));
    files.chain(volumes).collect()
}

/// The directory of the files.
enum Place {
    /// The directory of `--output`. The files get their names when all are complete.
    // In this order, they are removed after an error.
    Output { directory: PathBuf, staging: TemporaryDirectory, new: NewDirectory },
    /// A new directory for temporary files, for `--print`.
    Temporary(TempDir),
}

/// The result: a machine, its files and its command.
struct Outcome {
    directory: PathBuf,
    /// The socket and the arguments of the `vmroot` that serves the root by virtio-fs.
    server: Option<(PathBuf, Vec<OsString>)>,
    command: VmmCommand,
    config: PathBuf,
    files: Vec<(String, u64)>,
}

impl Place {
    fn new(options: &BootArguments) -> anyhow::Result<Self> {
        let Some(directory) = &options.output else {
            let parent = environment::temporary_directory();
            let made = tempfile::Builder::new().prefix("vmroot-boot-").tempdir_in(&parent);
            return Ok(Self::Temporary(made.with_context(|| parent.display().to_string())?));
        };
        paths::check_empty_directory(directory)?;
        let new = NewDirectory::create(directory).with_context(|| directory.display().to_string())?;
        let directory = directory.canonicalize().with_context(|| directory.display().to_string())?;
        let staging = TemporaryDirectory::create_in(&directory).map_err(vmroot::Error::from)?;
        let files = staging.path().join(GUEST_DIRECTORY);
        fs::create_dir(&files).with_context(|| files.display().to_string())?;
        Ok(Self::Output { directory, staging, new })
    }

    /// Returns the directory in which files are built.
    fn files(&self) -> PathBuf {
        match self {
            Self::Output { staging, .. } => staging.path().join(GUEST_DIRECTORY),
            Self::Temporary(directory) => directory.path().to_owned(),
        }
    }

    /// Copies the kernel to the directory of `--output`, and a kernel of the image to any directory. Otherwise, makes its
    /// path absolute.
    fn keep_kernel(&self, found: &GuestKernel) -> anyhow::Result<Kernel> {
        let kernel = &found.kernel;
        let path = match self {
            Self::Temporary(_) if found.directory.is_none() => std::path::absolute(&kernel.path)?,
            _ => {
                let path = self.files().join(KERNEL);
                fs::copy(&kernel.path, &path).with_context(|| path.display().to_string())?;
                fs::set_permissions(&path, Permissions::from_mode(0o644))?;
                path
            }
        };
        Ok(Kernel { path, ..kernel.clone() })
    }

    fn write(&self, name: &str, bytes: &[u8], mode: u32) -> anyhow::Result<()> {
        let path = self.files().join(name);
        fs::write(&path, bytes).with_context(|| path.display().to_string())?;
        Ok(fs::set_permissions(&path, Permissions::from_mode(mode))?)
    }

    /// Writes the VMM's configuration and the script, and gives all files their names.
    fn finish(self, built: &BuiltMachine, title: &str) -> anyhow::Result<Outcome> {
        let files = self.files();
        let directory = match &self {
            Self::Output { directory, .. } => directory.clone(),
            Self::Temporary(_) => files.clone(),
        };
        let config = directory.join(MACHINE);
        let command = built.moved(&files, &directory).command(&config).map_err(vmroot::Error::from)?;
        if matches!(self, Self::Output { .. }) {
            let relative = built.moved(&files, Path::new(""));
            let own = relative.command(MACHINE.as_ref()).map_err(vmroot::Error::from)?;
            own.config.iter().try_for_each(|text| self.write(MACHINE, text.as_bytes(), 0o644))?;
            let script = relative.script(MACHINE.as_ref(), title).map_err(vmroot::Error::from)?;
            self.write(SCRIPT, &script, 0o755)?;
        } else if let Some(text) = &command.config {
            self.write(MACHINE, text.as_bytes(), 0o644)?;
        }
        let mut names: Vec<_> = fs::read_dir(&files)?.collect::<Result<Vec<_>, _>>()?;
        names.sort_by_key(fs::DirEntry::file_name);
        let length =
            |entry: &fs::DirEntry| Ok((entry.file_name().to_string_lossy().into_owned(), entry.metadata()?.len()));
        let listed = names.iter().map(length).collect::<std::io::Result<Vec<_>>>()?;
        match self {
            Self::Output { new, staging: _staging, .. } => {
                // The script comes last, as it is the one to start.
                names.sort_by_key(|entry| entry.file_name() == OsStr::new(SCRIPT));
                for entry in &names {
                    let target = directory.join(entry.file_name());
                    fs::rename(entry.path(), &target).with_context(|| target.display().to_string())?;
                }
                new.keep();
            }
            Self::Temporary(directory) => drop(directory.keep()),
        }
        Ok(Outcome { directory, server: None, command, config, files: listed })
    }
}

/// Returns a command line as a shell reads it.
fn line(program: &str, arguments: &[OsString]) -> Vec<u8> {
    let words = [OsStr::new(program)].into_iter();
    words.chain(arguments.iter().map(AsRef::as_ref)).map(quote).collect::<Vec<_>>().join(&b' ')
}

fn print(context: &Context, options: &BootArguments, outcome: &Outcome) -> anyhow::Result<()> {
    if context.json() {
        return Ok(output::print_json(&outcome.to_json(options))?);
    }
    if options.output.is_some() {
        output::print_note(&format!("{} boots the guest", outcome.directory.join(SCRIPT).display()));
    } else {
        output::print_note(&format!("the files are in {}, until you remove it", outcome.directory.display()));
    }
    if options.print {
        if let Some(text) = &outcome.command.config {
            output::print_line(format!("# {}:", outcome.config.display()))?;
            text.lines().try_for_each(|line| output::print_line(format!("# {line}")))?;
        }
        if let Some((socket, arguments)) = &outcome.server {
            output::print_line([line("vmroot", arguments), b" &".to_vec()].concat())?;
            output::print_line([b"until [ -S ", quote(socket).as_slice(), b" ]; do sleep 0.1; done"].concat())?;
        }
        output::print_line(line(&outcome.command.program, &outcome.command.arguments))?;
    }
    Ok(())
}

impl Outcome {
    fn to_json(&self, options: &BootArguments) -> Value {
        let lossy = |path: &Path| path.to_string_lossy().into_owned();
        let arguments = self.command.arguments.iter().map(|argument| argument.to_string_lossy());
        let server = self.server.as_ref();
        let server =
            server.map(|(_, arguments)| arguments.iter().map(|word| word.to_string_lossy()).collect::<Vec<_>>());
        let files = self.files.iter().map(|(name, bytes)| json!({ "name": name, "bytes": bytes }));
        let config = self.command.config.as_deref().and_then(|text| serde_json::from_str::<Value>(text).ok());
        json!({
            "vmm": Vmm::from(options.vmm).to_string(),
            "program": self.command.program,
            "arguments": arguments.collect::<Vec<_>>(),
            "config": config,
            "server": server,
            "directory": lossy(&self.directory),
            "files": files.collect::<Vec<_>>(),
            "script": options.output.as_ref().map(|_| lossy(&self.directory.join(SCRIPT))),
        })
    }
}
