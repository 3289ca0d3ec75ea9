//! `boot`: boots a guest on a root, or leaves the files and the command line to the user.

mod by_hand;
mod disks;
mod kernel;
mod own_init;

use std::fmt;
use std::fs;
use std::io::{self, IsTerminal};
use std::os::fd::AsFd;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use anyhow::Context as _;
use vmroot::boot::{
    Console, Guest, GuestExit, GuestOptions, InitMessages, Kernel, KvmRecord, ModuleTree, UserNetwork, Via, Vmm,
};
use vmroot::guest::Pid1;
use vmroot::output::{Hook, TEMPORARY_PREFIX, TemporaryDirectory, WriteProgress};
use vmroot::{Addition, ContainerFs, InodeId, Platform, RuntimeConfig, Top, guest};

use crate::args::{BootArguments, Form, GuestNetworkArguments, NetworkName};
use crate::context::{Context, OpenedRoot};
use crate::display::{Action, LONG, NewTask, Outcome};
use crate::exit::{Advised, AlreadyReported};
use crate::{environment, init, output, progress, remedy, signals};
use disks::GuestDisks;
use kernel::GuestKernel;

/// The directory of a guest's files in a temporary directory. Short, because the paths of sockets are limited.
const GUEST_DIRECTORY: &str = "g";

/// The directories that the guest's init mounts on, and their modes.
const MOUNTPOINTS: [(&str, u32); 5] =
    [("dev", 0o755), ("proc", 0o755), ("run", 0o755), ("sys", 0o755), ("tmp", 0o1777)];

/// The files over which an init mounts others, if they are empty.
const EMPTY_FILES: [&str; 3] = ["/etc/hosts", "/etc/resolv.conf", "/etc/machine-id"];

/// The value of `--init` for the image's own init, if its command is one.
const AUTO: &str = "auto";

/// Boots a guest, and exits with the code of its command.
pub(crate) fn boot(context: &Context, image: &str, options: &BootArguments) -> anyhow::Result<()> {
    let found = GuestKernel::open(context, image, options)?;
    if options.print || options.output.is_some() {
        return by_hand::build(context, image, options, &found);
    }
    let GuestKernel { kernel, modules, .. } = &found;
    let init = Init::new(options.init.as_deref(), kernel)?;
    options.top.check()?;
    let network = user_network(&options.network)?;
    let mut disks = GuestDisks::open(&options.disks)?;
    let (volumes, empty_upper) = (disks.volumes.clone(), disks.upper.clone());
    let name = Vmm::from(options.vmm).program(kernel.architecture);
    let program = environment::find_program(&name);
    let record = environment::runtime_directory().map(|directory| directory.join("kvm"));
    let interactive = io::stdin().is_terminal() && io::stdout().is_terminal();
    let terminal = environment::terminal_type().filter(|_| interactive).map(|name| format!("TERM={name}"));
    let append = terminal.as_deref().into_iter().chain([options.append.as_str()]).collect::<Vec<_>>().join(" ");
    let guest_options = GuestOptions {
        kvm_record: program.as_deref().zip(record.as_deref()).map(|(program, file)| KvmRecord { program, file }),
        append: append.trim(),
        verbose: context.verbose(),
        upper: empty_upper.as_ref(),
        volumes: &volumes,
        network: network.as_ref(),
        ..guest_options(options, kernel, modules.as_ref(), &init)
    };
    // Checked before the pull, so that invalid options do not cause one. The name is as long as that of the directory
    // below.
    let directory =
        context.scratch().join(format!("{TEMPORARY_PREFIX}{}-000", std::process::id())).join(GUEST_DIRECTORY);
    guest_options.check(&directory).map_err(vmroot::Error::from)?;

    if program.is_none() {
        return Err(vmroot::Error::from(vmroot::boot::Error::MissingProgram { program: name }).into());
    }
    let empty_directory = tempfile::tempdir()?;
    let (opened, pid1) = open_root(context, image, options, kernel, &init, interactive, empty_directory.path())?;
    let upper = disks.bind_upper(image, &opened)?;
    let OpenedRoot { root, _files, image: used, .. } = opened;
    // An open client prevents other processes from removing temporary directories of the cache.
    let client = used.as_ref().map_or_else(|| context.client(), |used| Ok(used.client.clone()))?;
    let scratch = TemporaryDirectory::create_in(client.scratch_dir()).map_err(vmroot::Error::from)?;
    // Not in the temporary directory itself: that is locked, and a virtio-fs device locks the directory of its socket.
    let directory = scratch.path().join(GUEST_DIRECTORY);
    fs::create_dir(&directory).with_context(|| directory.display().to_string())?;

    let (task, cancel) = (NewTask::new(Action::Prepare, "the guest").start(LONG), context.cancel());
    let hook = |progress: WriteProgress| progress::advance(Some(&task), &cancel, progress);
    let leaves = match options.verity && guest_options.via != Via::Squashfs {
        true => Some(client.leaves(&root)?),
        false => None,
    };
    let init_messages = messages_of(&init, pid1);
    let hook = Some(Hook::new(&hook));
    let guest_options = GuestOptions { hook, leaves: leaves.as_ref(), upper, init_messages, ..guest_options };
    let guest = Guest::prepare(&Arc::new(root), &directory, &guest_options).map_err(vmroot::Error::from)?;
    task.end(Outcome::Done);
    let stopper = guest.stopper();
    signals::end_by_itself();
    signals::on_signal(move |_| stopper.stop())?;
    if let Some(note) = guest.note() {
        output::print_note(&format!("without KVM, the guest is translated and slow: {note}"));
    }
    let (stdin, mut stdout) = (io::stdin(), output::stdout());
    let console = Console { input: Some(stdin.as_fd()), interactive, output: &mut stdout };
    let ended = guest.run(console).map_err(vmroot::Error::from)?;
    // Removes the temporary files before the result is printed.
    drop((scratch, _files, used));
    signals::check_time()?;
    report_end(&ended)
}

/// A kernel that does not exist.
#[derive(Debug)]
pub(crate) struct NoKernel(PathBuf);

impl fmt::Display for NoKernel {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: no such kernel", self.0.display())
    }
}

impl std::error::Error for NoKernel {}

/// Returns the network of the options.
fn user_network(options: &GuestNetworkArguments) -> anyhow::Result<Option<UserNetwork>> {
    if options.net == NetworkName::None {
        let given = [("--ip", options.ip.is_some()), ("--publish", !options.publish.is_empty())];
        return match given.into_iter().find(|(_, is_given)| *is_given) {
            Some((name, _)) => {
                Err(Advised::usage(format!("{name}: the guest has no network"), "add --net user").into())
            }
            None => Ok(None),
        };
    }
    let mut network = match &options.ip {
        Some(ip) => UserNetwork::new(ip.address, ip.prefix, ip.gateway).map_err(vmroot::Error::from).context("--ip")?,
        None => UserNetwork::default(),
    };
    network.publish.clone_from(&options.publish);
    Ok(Some(network))
}

/// Returns the messages of an init, which another one may replace.
fn messages_of(init: &Init, pid1: Option<Pid1>) -> InitMessages {
    if pid1 == Some(Pid1::Machine) { InitMessages::Start } else { init.messages() }
}

/// Opens an image's root with the init and its config on top. Also returns how the image's command is a first process.
fn open_root(
    context: &Context,
    image: &str,
    options: &BootArguments,
    kernel: &Kernel,
    init: &Init,
    interactive: bool,
    empty_directory: &Path,
) -> anyhow::Result<(OpenedRoot, Option<Pid1>)> {
    if let Some(platform) = context.requested_platform() {
        check_architecture(kernel, &platform.architecture)?;
    }
    let context = context.with_default_platform(Platform::linux(kernel.architecture.image_name())?);
    let opened = context.open(image)?;
    check_architecture(kernel, &opened.unresolved_config().architecture)?;
    let (top, pid1) = build_top(options, &opened, init, interactive, empty_directory)?;
    Ok((context.put_on_top(opened, &top)?, pid1))
}

fn guest_options<'a>(
    options: &BootArguments,
    kernel: &'a Kernel,
    modules: Option<&'a ModuleTree>,
    init: &'a Init,
) -> GuestOptions<'a> {
    let via = options.via.unwrap_or(Form::ErofsMeta).into();
    GuestOptions {
        modules,
        acceleration: options.accel.into(),
        memory: options.memory,
        cpus: options.cpus,
        init: init.path(via),
        init_messages: init.messages(),
        stage_one: init.stage_one(kernel),
        overlay: options.overlay,
        verity: options.verity,
        free: options.free,
        timeout: options.timeout,
        ..GuestOptions::new(via, kernel, options.vmm.into())
    }
}

fn report_end(ended: &GuestExit) -> anyhow::Result<()> {
    if let (Some(started), Some(executed)) = (ended.started, ended.executed) {
        tracing::info!("the guest's init began after {started:.3?}, its command after {executed:.3?}");
    }
    if let Some(error) = &ended.error {
        output::print_error(error);
        if let Some(hint) = remedy::of_report(error) {
            output::print_hint(&format!("hint: {hint}"));
        }
    }
    if ended.out_of_memory && ended.code != Some(0) {
        output::print_note("vmroot: the guest ran out of memory; --memory gives it more");
    }
    match ended.code {
        None | Some(0) => Ok(()),
        Some(code) => Err(AlreadyReported(code).into()),
    }
}

fn check_architecture(kernel: &Kernel, image: &str) -> anyhow::Result<()> {
    let image = Platform::linux(image).map_or_else(|_| image.to_owned(), |platform| platform.architecture);
    if image.is_empty() || image == kernel.architecture.image_name() {
        return Ok(());
    }
    let (path, kernel) = (kernel.path.clone(), kernel.architecture);
    Err(vmroot::Error::from(vmroot::boot::Error::WrongKernel { path, kernel, image }).into())
}

/// The program that the kernel starts in the root.
enum Init {
    /// The init that is built into this program.
    BuiltIn(&'static [u8]),
    /// The program of `--init`.
    Program(Vec<u8>),
    /// The script of `--init`, which the image's shell runs.
    Script(Vec<u8>),
    /// The image's own init.
    Image,
}

impl Init {
    fn new(named: Option<&Path>, kernel: &Kernel) -> anyhow::Result<Self> {
        match named {
            None => Self::built_in(kernel),
            Some(auto) if auto == Path::new(AUTO) => Self::built_in(kernel),
            Some(none) if none == Path::new("none") => Ok(Self::Image),
            Some(file) => {
                let bytes = init::read_program(file).with_context(|| file.display().to_string())?;
                if bytes.starts_with(b"#!") {
                    return Ok(Self::Script(bytes));
                }
                let checked = guest::check_program(&bytes, kernel.architecture.image_name());
                checked.map_err(vmroot::Error::from).with_context(|| file.display().to_string())?;
                Ok(Self::Program(bytes))
            }
        }
    }

    fn built_in(kernel: &Kernel) -> anyhow::Result<Self> {
        Ok(Self::BuiltIn(guest::init_for(kernel.architecture.image_name()).map_err(vmroot::Error::from)?))
    }

    fn bytes(&self) -> Option<&[u8]> {
        match self {
            Self::BuiltIn(bytes) => Some(bytes),
            Self::Program(bytes) | Self::Script(bytes) => Some(bytes),
            Self::Image => None,
        }
    }

    fn path(&self, via: Via) -> Option<&'static str> {
        match (self, via) {
            // A kernel starts /sbin/init of a disk by default, but /init of an initramfs.
            (Self::Image, Via::Cpio) => Some("/sbin/init"),
            (Self::Image, _) => None,
            _ => Some(guest::INIT),
        }
    }

    fn messages(&self) -> InitMessages {
        match self {
            Self::BuiltIn(_) | Self::Program(_) => InitMessages::Everything,
            Self::Script(_) => InitMessages::ExitCode,
            Self::Image => InitMessages::Nothing,
        }
    }

    /// Returns the init that loads modules: the built-in one, or else the program of `--init`.
    fn stage_one(&self, kernel: &Kernel) -> Option<&[u8]> {
        let named = match self {
            Self::Program(bytes) => Some(bytes.as_slice()),
            _ => None,
        };
        guest::init_for(kernel.architecture.image_name()).ok().or(named)
    }
}

/// Returns the top of the image: the layers and additions of the options, the init and its config, and the missing
/// mountpoints, which the guest cannot create in a read-only root. Also returns how the image's command is a first process.
fn build_top(
    options: &BootArguments,
    opened: &OpenedRoot,
    init: &Init,
    interactive: bool,
    empty_directory: &Path,
) -> anyhow::Result<(Top, Option<Pid1>)> {
    let (root, mut top) = (&opened.root, options.top.top());
    let mut pid1 = None;
    if let Some(bytes) = init.bytes() {
        let mut config = guest_config(options, opened.unresolved_config(), interactive)?;
        if options.init.as_deref() == Some(Path::new(AUTO)) {
            pid1 = own_init::role(root, &config.runtime);
            config.settings.pid1 = pid1;
        }
        top.additions.extend(guest::additions(bytes, &config));
        let has_servers = config.settings.network.is_some() || !config.settings.dns.is_empty();
        let is_needed = [true, has_servers, pid1 == Some(Pid1::Machine) && own_init::needs_machine_id(root)];
        let needed = EMPTY_FILES.into_iter().zip(is_needed).filter(|(_, is_needed)| *is_needed);
        let lacking = needed.filter(|(path, _)| root.resolve_link(path.as_bytes()).is_err());
        let empty = |path: &str| Addition::File { destination: path.into(), mode: 0o644, bytes: Vec::new() };
        top.additions.extend(lacking.map(|(path, _)| empty(path)));
    }
    let directory = |path: Vec<u8>, mode| Addition::Copy {
        source: empty_directory.join("."),
        destination: path,
        mode: Some(mode),
        owner: None,
    };
    top.additions.extend(missing_mountpoints(root).map(|(name, mode)| directory(format!("/{name}").into(), mode)));
    let volumes = options.disks.volumes.iter().map(|volume| volume.path.as_bytes());
    let missing = volumes.filter(|path| root.resolve_path(path).is_err());
    top.additions.extend(missing.map(|path| directory(path.to_vec(), 0o755)));
    Ok((top, pid1))
}

fn missing_mountpoints(root: &ContainerFs) -> impl Iterator<Item = (&'static str, u32)> {
    MOUNTPOINTS.into_iter().filter(|(name, _)| root.lookup(InodeId::ROOT, name.as_bytes()).is_err())
}

/// Returns how the init runs the command.
fn guest_config(
    options: &BootArguments,
    mut runtime: RuntimeConfig,
    interactive: bool,
) -> anyhow::Result<guest::Config> {
    if let Some(entrypoint) = &options.entrypoint {
        runtime.process.entrypoint = vec![entrypoint.clone()];
        runtime.process.cmd.clear();
    }
    if !options.command.is_empty() {
        runtime.process.cmd.clone_from(&options.command);
    }
    if runtime.command().is_empty() {
        let hint = "give a command after `--`, as in `vmroot boot IMAGE --kernel FILE -- /bin/sh`";
        return Err(Advised::usage("the image has no command", hint).into());
    }
    let mut config = guest::Config::new(runtime);
    config.settings.tty = Some(interactive);
    config.settings.hostname.clone_from(&options.network.hostname);
    config.settings.dns.clone_from(&options.network.dns);
    config.settings.network = user_network(&options.network)?.map(|network| network.guest());
    Ok(config)
}
