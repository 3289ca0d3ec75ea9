//! `boot`.

use std::fs;
use std::io::{self, IsTerminal};
use std::os::fd::AsFd;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use anyhow::{Context as _, anyhow};
use vmroot::boot::{
    Console, Guest, GuestExit, GuestOptions, InitMessages, Kernel, KvmRecord, ModuleTree, Stopper, Via, Vmm,
};
use vmroot::output::Progress;
use vmroot::{Addition, ContainerFs, InodeId, Platform, RuntimeConfig, Top, guest};

use crate::args::BootArguments;
use crate::bars::{self, Bars};
use crate::context::{Context, Opened};
use crate::exit::{Silent, Usage};
use crate::{environment, init, output, signals};

/// Temporary directories of the cache are swept by it where this process could not remove them.
const TEMPORARY: &str = ".tmp-boot-";

/// Boots a guest, and exits as its command did.
pub(crate) fn boot(context: &Context, image: &str, options: &BootArguments) -> anyhow::Result<()> {
    let kernel = Kernel::open(&options.kernel).map_err(vmroot::Error::from)?;
    let modules = modules(options.modules.as_deref(), &kernel)?;
    let init = Init::new(options.init.as_deref(), &kernel)?;
    options.top.check()?;
    let vmm = Vmm::from(options.vmm);
    let name = vmm.program(kernel.architecture);
    let program = environment::program(&name);
    let record = environment::runtime_directory().map(|directory| directory.join("kvm"));
    let interactive = io::stdin().is_terminal() && io::stdout().is_terminal();
    let terminal = environment::terminal().filter(|_| interactive).map(|name| format!("TERM={name}"));
    let append = terminal.as_deref().into_iter().chain([options.append.as_str()]).collect::<Vec<_>>().join(" ");
    let guest_options = GuestOptions {
        via: options.via.into(),
        kernel: &kernel,
        modules: modules.as_ref(),
        vmm,
        acceleration: options.accel.into(),
        kvm_record: program.as_deref().zip(record.as_deref()).map(|(program, file)| KvmRecord { program, file }),
        memory: options.memory,
        cpus: options.cpus,
        append: append.trim(),
        init: init.path(options.via.into()),
        init_messages: init.messages(),
        stage_one: init.stage_one(&kernel),
        overlay: options.overlay,
        free: options.free,
        verbose: context.verbose(),
        timeout: options.timeout,
        hook: None,
    };
    // A refusal costs no pull.
    guest_options.check(&context.cache().join(format!("{TEMPORARY}XXXXXX"))).map_err(vmroot::Error::from)?;

    if program.is_none() {
        return Err(vmroot::Error::from(vmroot::boot::Error::MissingProgram { program: name }).into());
    }
    if let Some(platform) = context.wanted() {
        check_architecture(&kernel, &platform.architecture)?;
    }
    let context = context.for_platform(Platform::linux(kernel.architecture.image_name())?);
    let opened = context.open(image)?;
    check_architecture(&kernel, &opened.unresolved_config().architecture)?;
    let empty = tempfile::tempdir()?;
    let top = top(options, &opened, &init, interactive, empty.path())?;
    let Opened { root, _files, _client: client, .. } = context.put_on_top(opened, &top)?;
    // While it lives, nobody sweeps the cache.
    let client = client.map_or_else(|| context.client(), Ok)?;
    let scratch = tempfile::Builder::new().prefix(TEMPORARY).tempdir_in(client.cache_dir())?;

    let stopper = Stopper::new().map_err(vmroot::Error::from)?;
    let on_signal = stopper.clone();
    signals::on_signal(move |_| on_signal.stop())?;
    let (bar, cancel) = (Bars::single(context.quiet(), 0), context.cancel());
    let hook = |progress: Progress| bars::advance(&bar, &cancel, progress);
    let guest_options = GuestOptions { hook: Some(&hook), ..guest_options };
    let guest = Guest::prepare(&Arc::new(root), scratch.path(), &guest_options).map_err(vmroot::Error::from)?;
    bar.finish_and_clear();
    if let Some(note) = guest.note() {
        output::note(&format!("without KVM, the guest is translated and slow: {note}"));
    }
    let (stdin, mut stdout) = (io::stdin(), output::raw());
    let console = Console { input: Some(stdin.as_fd()), interactive, output: &mut stdout };
    let ended = guest.run(console, &stopper).map_err(vmroot::Error::from)?;
    // Before this process ends.
    drop((scratch, _files, client));
    report(&ended)
}

fn report(ended: &GuestExit) -> anyhow::Result<()> {
    if let (Some(started), Some(executed)) = (ended.started, ended.executed) {
        tracing::info!("the guest's init began after {started:.3?}, its command after {executed:.3?}");
    }
    if let Some(error) = &ended.error {
        output::error(error);
    }
    match ended.code {
        None | Some(0) => Ok(()),
        Some(code) => Err(Silent(code).into()),
    }
}

/// The modules that were named, or those of the kernel's version beside it or on this machine.
fn modules(named: Option<&Path>, kernel: &Kernel) -> anyhow::Result<Option<ModuleTree>> {
    let version = kernel.version.as_deref();
    if let Some(directory) = named {
        return Ok(Some(ModuleTree::open(directory, version).map_err(vmroot::Error::from)?));
    }
    let Some(version) = version else { return Ok(None) };
    let beside = fs::canonicalize(&kernel.path).ok().and_then(|path| Some(path.parent()?.parent()?.to_owned()));
    let roots = beside.into_iter().chain([PathBuf::from("/")]);
    let trees = roots.map(|root| root.join("lib/modules").join(version)).filter(|tree| tree.is_dir());
    let mut trees = trees.filter_map(|tree| ModuleTree::open(&tree, Some(version)).ok());
    Ok(trees.next().inspect(|tree| tracing::info!("modules of {}", tree.directory().display())))
}

fn check_architecture(kernel: &Kernel, image: &str) -> anyhow::Result<()> {
    let image = Platform::linux(image).map_or_else(|_| image.to_owned(), |platform| platform.architecture);
    if image.is_empty() || image == kernel.architecture.image_name() {
        return Ok(());
    }
    let (path, kernel) = (kernel.path.clone(), kernel.architecture);
    Err(vmroot::Error::from(vmroot::boot::Error::WrongKernel { path, kernel, image }).into())
}

/// What the kernel starts in the root.
enum Init {
    /// The one that is built into this program.
    Ours(&'static [u8]),
    /// One that was named.
    Named(Vec<u8>),
    /// A script that was named, which the image's own shell runs.
    Script(Vec<u8>),
    /// The image's.
    Image,
}

impl Init {
    fn new(named: Option<&Path>, kernel: &Kernel) -> anyhow::Result<Self> {
        match named {
            None => Ok(Self::Ours(guest::init_for(kernel.architecture.image_name()).map_err(vmroot::Error::from)?)),
            Some(none) if none == Path::new("none") => Ok(Self::Image),
            Some(file) => {
                let bytes = init::read(file).with_context(|| file.display().to_string())?;
                if bytes.starts_with(b"#!") {
                    return Ok(Self::Script(bytes));
                }
                let checked = guest::check_program(&bytes, kernel.architecture.image_name());
                checked.map_err(vmroot::Error::from).with_context(|| file.display().to_string())?;
                Ok(Self::Named(bytes))
            }
        }
    }

    fn bytes(&self) -> Option<&[u8]> {
        match self {
            Self::Ours(bytes) => Some(bytes),
            Self::Named(bytes) | Self::Script(bytes) => Some(bytes),
            Self::Image => None,
        }
    }

    fn path(&self, via: Via) -> Option<&'static str> {
        match (self, via) {
            // Where a kernel looks for a root's own init depends on how it got the root.
            (Self::Image, Via::Cpio) => Some("/sbin/init"),
            (Self::Image, _) => None,
            _ => Some(guest::INIT),
        }
    }

    fn messages(&self) -> InitMessages {
        match self {
            Self::Ours(_) | Self::Named(_) => InitMessages::Everything,
            Self::Script(_) => InitMessages::ExitCode,
            Self::Image => InitMessages::Nothing,
        }
    }

    /// What loads modules: ours, or one that was named in its place where there is none of ours.
    fn stage_one(&self, kernel: &Kernel) -> Option<&[u8]> {
        let named = match self {
            Self::Named(bytes) => Some(bytes.as_slice()),
            _ => None,
        };
        guest::init_for(kernel.architecture.image_name()).ok().or(named)
    }
}

/// What goes on top of the image: what was asked for, the init and its config, and places to mount on, for a root that
/// cannot be written to has to have them.
fn top(options: &BootArguments, opened: &Opened, init: &Init, interactive: bool, empty: &Path) -> anyhow::Result<Top> {
    let mut top = options.top.top();
    if let Some(bytes) = init.bytes() {
        let config = config(options, opened.unresolved_config(), interactive)?;
        top.additions.extend(guest::additions(bytes, &config));
    }
    top.additions.extend(missing_places(&opened.root).map(|(name, mode)| Addition::Copy {
        source: empty.join("."),
        destination: format!("/{name}").into_bytes(),
        mode: Some(mode),
        owner: None,
    }));
    Ok(top)
}

fn missing_places(root: &ContainerFs) -> impl Iterator<Item = (&'static str, u32)> {
    let places = [("dev", 0o755), ("proc", 0o755), ("run", 0o755), ("sys", 0o755), ("tmp", 0o1777)];
    places.into_iter().filter(|(name, _)| root.lookup(InodeId::ROOT, name.as_bytes()).is_err())
}

/// How the init runs the command.
fn config(options: &BootArguments, mut runtime: RuntimeConfig, interactive: bool) -> anyhow::Result<guest::Config> {
    if let Some(entrypoint) = &options.entrypoint {
        runtime.entrypoint = vec![entrypoint.clone()];
        runtime.cmd.clear();
    }
    if !options.command.is_empty() {
        runtime.cmd.clone_from(&options.command);
    }
    if runtime.command().is_empty() {
        return Err(anyhow!(Usage("the image has no command: give one after `--`".to_owned())));
    }
    Ok(guest::Config { tty: Some(interactive), ..guest::Config::new(runtime) })
}
