//! A guest, from a root to its end.

use std::fs::File;
use std::io::BufWriter;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::thread;
use std::time::Duration;

use vmroot_container_fs::ContainerFs;
use vmroot_export::Hook;
use vmroot_virtiofs::VirtioFs;

use crate::accelerator::Trial;
use crate::initramfs::{self, Stage, StageRoot, place_of};
use crate::run::Run;
use crate::via::{Making, Medium};
use crate::vmm::Bus;
use crate::{
    Acceleration, Accelerator, Console, Ended, Error, Kernel, Machine, Module, ModuleTree, Result, Stopper, Via, Vmm,
    VmmCommand,
};

/// Memory of a guest for which nothing is said, in bytes.
const MEMORY: u64 = 512 << 20;
/// How much more there is for each byte of an archive: itself, what it is unpacked to, and as much again, for the root in
/// memory may take half of all.
const MEMORY_OF_ARCHIVE: u64 = 3;

/// How a guest is booted.
#[derive(Clone)]
pub struct GuestOptions<'a> {
    /// How it gets its root.
    pub via: Via,
    /// Its kernel.
    pub kernel: &'a Kernel,
    /// The kernel's modules; without them, everything that is needed has to be built in.
    pub modules: Option<&'a ModuleTree>,
    /// What runs it.
    pub vmm: Vmm,
    /// What executes its instructions.
    pub acceleration: Acceleration,
    /// A file that remembers whether KVM works, until the host boots anew.
    pub kvm_verdict: Option<&'a Path>,
    /// Its memory in bytes; without it, 512 MiB, and what an archive takes.
    pub memory: Option<u64>,
    /// Its processors.
    pub cpus: u32,
    /// More for the kernel's command line.
    pub append: &'a str,
    /// What is started in the root; without it, what the kernel looks for.
    pub init: Option<&'a str>,
    /// What that says on the console.
    pub says: Says,
    /// `vmroot-init` for the guest's architecture: the program that loads modules.
    pub stage_one: Option<&'a [u8]>,
    /// Whether what the guest writes goes to its memory, where the root is read-only.
    pub overlay: bool,
    /// Bytes that the guest can write to a disk image, where it may write to it.
    pub free: u64,
    /// Whether the console shows the kernel's messages.
    pub verbose: bool,
    /// How long the guest may run.
    pub timeout: Option<Duration>,
    /// Hears of progress while the root is made into its form, and may stop it.
    pub hook: Option<Hook<'a>>,
}

/// What a guest's init says on the console of itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Says {
    /// Nothing: when the guest is off, it has ended well.
    Nothing,
    /// A last line `[vmroot-init] exit code N`.
    ExitCode,
    /// That, and when it executes the command: it is `vmroot-init`. Input waits for that line, for before nobody reads.
    Everything,
}

/// A guest that is ready to run.
#[derive(Debug)]
pub struct Guest {
    command: VmmCommand,
    config: PathBuf,
    device: Option<VirtioFs>,
    says: Says,
    timeout: Option<Duration>,
    note: Option<String>,
}

impl Guest {
    /// Makes everything that the machine needs in `directory`, which is empty and the caller's to remove.
    ///
    /// # Errors
    /// For a kernel without what the form needs: [`Error::MissingModule`], [`Error::NoStageOne`]; for machines that there
    /// are not: [`Error::NoKvm`], [`Error::Unsupported`], [`Error::CommandLine`]; and what making the form says.
    pub fn prepare(root: &Arc<ContainerFs>, directory: &Path, options: &GuestOptions<'_>) -> Result<Self> {
        // What is quick to refuse comes before what takes long.
        let modules = options.modules()?;
        let trial = Trial { kernel: options.kernel, vmm: options.vmm, verdict: options.kvm_verdict };
        let (accelerator, note) = trial.choose(options.acceleration)?;
        let takes_vmdk = options.vmm == Vmm::Qemu;
        let medium =
            options.via.make(&Making { root, directory, takes_vmdk, free: options.free, hook: options.hook })?;
        let stage = options.stage(&medium, modules, directory)?;
        let machine = options.machine(&medium, stage, accelerator)?;
        let config = directory.join("machine.json");
        let command = options.vmm.command(&machine, &config)?;
        tracing::debug!("{} {:?}", command.program, command.arguments);
        let device = match medium {
            Medium::Share(_, device) => Some(*device),
            _ => None,
        };
        Ok(Self { command, config, device, says: options.says, timeout: options.timeout, note })
    }

    /// Why the guest is not executed by KVM, where that was hoped for.
    pub fn note(&self) -> Option<&str> {
        self.note.as_deref()
    }

    /// Runs the guest until it ends.
    ///
    /// # Errors
    /// [`Error::MissingProgram`] and [`Error::Vmm`] when there is no machine; [`Error::Init`] and [`Error::Ended`] when the
    /// guest has not run its command to the end; [`Error::Timeout`] and [`Error::Stopped`].
    pub fn run(self, console: Console<'_>, stopper: &Stopper) -> Result<Ended> {
        let Self { command, config, device, says, timeout, note: _ } = self;
        let run = Run { command: &command, config: &config, timeout, silence: None, stopper, says };
        let Some(device) = device else { return run.run(console) };
        let end = device.stopper();
        thread::scope(|scope| {
            let server = scope.spawn(|| device.serve());
            let ended = run.run(console);
            // A monitor that never connected has nobody to disconnect.
            end.stop();
            match server.join() {
                Ok(Err(error)) if ended.is_err() => tracing::warn!("{error}"),
                Ok(_) => {}
                Err(panic) => std::panic::resume_unwind(panic),
            }
            ended
        })
    }
}

/// What loads the modules and mounts the root.
enum StageOne {
    /// An archive with a program for it.
    Archive(PathBuf),
    /// The kernel, which has everything built in.
    Kernel,
}

impl GuestOptions<'_> {
    /// The modules to be loaded, in order.
    fn modules(&self) -> Result<Vec<Module>> {
        let (Some(tree), Some(fstype)) = (self.modules, self.via.fstype()) else { return Ok(Vec::new()) };
        let bus = match self.vmm.bus() {
            Bus::Pci => "virtio_pci",
            Bus::Mmio => "virtio_mmio",
        };
        let disk = (self.via != Via::Virtiofs).then_some("virtio_blk");
        let overlay = self.has_overlay().then_some("overlay");
        let names: Vec<&str> = [bus].into_iter().chain(disk).chain([fstype]).chain(overlay).collect();
        tree.resolve(&names)
    }

    fn has_overlay(&self) -> bool {
        self.overlay && !self.via.is_writable()
    }

    fn stage(&self, medium: &Medium, modules: Vec<Module>, directory: &Path) -> Result<StageOne> {
        let (Some(fstype), Some(source)) = (self.via.fstype(), medium.source()) else { return Ok(StageOne::Kernel) };
        if modules.is_empty() && !self.has_overlay() {
            return Ok(StageOne::Kernel);
        }
        let Some(program) = self.stage_one else {
            let modules = modules.into_iter().map(|module| module.name).collect();
            return Err(Error::NoStageOne { form: self.via, modules, architecture: self.kernel.architecture });
        };
        let stage = Stage {
            modules: modules.iter().map(place_of).collect(),
            root: StageRoot {
                fstype: fstype.to_owned(),
                source,
                options: medium.options(),
                read_only: !self.via.is_writable(),
            },
            init: self.init.unwrap_or("/sbin/init").to_owned(),
            overlay: self.has_overlay(),
        };
        let path = directory.join("initramfs.cpio");
        let file = File::create_new(&path).map_err(Error::io("write", &path))?;
        let written = initramfs::write(BufWriter::with_capacity(1 << 20, file), program, &modules, &stage)?;
        written.into_inner().map_err(|error| Error::io("write", &path)(error.into_error()))?;
        Ok(StageOne::Archive(path))
    }

    fn machine(&self, medium: &Medium, stage: StageOne, accelerator: Accelerator) -> Result<Machine> {
        let initramfs = match (&stage, medium) {
            (_, Medium::Archive(path)) | (StageOne::Archive(path), _) => Some(path.clone()),
            (StageOne::Kernel, _) => None,
        };
        let (disks, share) = match medium {
            Medium::Disks(disks) => (disks.clone(), None),
            Medium::Share(share, _) => (Vec::new(), Some(share.clone())),
            Medium::Archive(_) => (Vec::new(), None),
        };
        Ok(Machine {
            accelerator,
            architecture: self.kernel.architecture,
            memory: self.memory(medium)?,
            cpus: self.cpus,
            kernel: self.kernel.path.clone(),
            initramfs,
            command_line: self.command_line(medium, &stage),
            disks,
            share,
        })
    }

    fn memory(&self, medium: &Medium) -> Result<u64> {
        match (self.memory, medium) {
            (Some(memory), _) => Ok(memory),
            (None, Medium::Archive(path)) => {
                let length = path.metadata().map_err(Error::io("look at", path))?.len();
                Ok(MEMORY + MEMORY_OF_ARCHIVE * length)
            }
            (None, _) => Ok(MEMORY),
        }
    }

    fn command_line(&self, medium: &Medium, stage: &StageOne) -> String {
        let architecture = self.kernel.architecture;
        let mut words = vec![format!("console={}", self.vmm.console(architecture)), "panic=-1".to_owned()];
        if !self.verbose {
            // Only what comes of a panic.
            words.extend(["quiet".to_owned(), "loglevel=1".to_owned()]);
        }
        if self.says == Says::Everything {
            words.push("vmroot.trace".to_owned());
        }
        words.extend(self.vmm.kernel_arguments(architecture).iter().map(|word| (*word).to_owned()));
        match (medium, stage) {
            (Medium::Archive(_), _) => words.extend(self.init.map(|init| format!("rdinit={init}"))),
            // It starts the init that it was told of.
            (_, StageOne::Archive(_)) => {}
            (medium, StageOne::Kernel) => words.extend(self.root_arguments(medium)),
        }
        if !self.append.is_empty() {
            words.push(self.append.to_owned());
        }
        words.join(" ")
    }

    /// How the kernel itself is told what to mount and start.
    fn root_arguments(&self, medium: &Medium) -> Vec<String> {
        let mut words = Vec::new();
        words.extend(medium.source().map(|source| format!("root={source}")));
        words.extend(self.via.fstype().map(|fstype| format!("rootfstype={fstype}")));
        let options = medium.options();
        if !options.is_empty() {
            words.push(format!("rootflags={options}"));
        }
        words.push(if self.via.is_writable() { "rw" } else { "ro" }.to_owned());
        words.extend(self.init.map(|init| format!("init={init}")));
        words
    }
}
