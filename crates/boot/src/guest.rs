//! A guest, from a root to its end.

use std::fs::{self, File};
use std::io::BufWriter;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::thread;
use std::time::Duration;

use vmroot_container_fs::ContainerFs;
use vmroot_errors::with_causes;
use vmroot_output::Hook;
use vmroot_virtiofs::VirtioFs;

use crate::accelerator::Trial;
use crate::initramfs::{self, Stage, StageRoot, place_of};
use crate::run::Run;
use crate::via::{self, Making, Medium, Place};
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
    /// Where it is remembered whether KVM works; without it that is found out each time.
    pub kvm_record: Option<KvmRecord<'a>>,
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

/// Where it is remembered whether KVM works: for a kernel and a monitor as they are, until the host boots anew.
#[derive(Debug, Clone, Copy)]
pub struct KvmRecord<'a> {
    /// The program of the monitor, as a search of `PATH` finds it.
    pub program: &'a Path,
    /// The file.
    pub file: &'a Path,
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
    /// Makes everything that the machine needs in `directory`, which is empty and the caller's to remove. What can be
    /// refused is refused before anything is made.
    ///
    /// # Errors
    /// Those of [`GuestOptions::check`], [`Error::TooManyDisks`], and what making the form says.
    pub fn prepare(root: &Arc<ContainerFs>, directory: &Path, options: &GuestOptions<'_>) -> Result<Self> {
        let place = options.place(directory);
        let plan = options.plan(&place, &via::contents(root)?)?;
        let trial = Trial { kernel: options.kernel, vmm: options.vmm, record: options.kvm_record };
        let (accelerator, note) = trial.choose(options.acceleration)?;
        let Plan { medium, modules, stage, mut machine, config } = plan;
        machine.accelerator = accelerator;
        let making = Making { root, place: &place, free: options.free, hook: options.hook };
        let device = options.via.make(&making)?;
        stage.make(&modules)?;
        machine.memory = options.memory(&medium)?;
        check_host_memory(machine.memory)?;
        let command = options.vmm.command(&machine, &config)?;
        tracing::debug!("{} {:?}", command.program, command.arguments);
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
                Ok(Err(error)) if ended.is_err() => tracing::warn!("{}", with_causes(&error)),
                Ok(_) => {}
                Err(panic) => std::panic::resume_unwind(panic),
            }
            ended
        })
    }
}

/// What is made for a guest, and the machine that takes it.
struct Plan<'a> {
    medium: Medium,
    /// The modules to be loaded, in order.
    modules: Vec<Module>,
    stage: StageOne<'a>,
    machine: Machine,
    /// Where a file for the monitor goes.
    config: PathBuf,
}

/// What loads the modules and mounts the root.
enum StageOne<'a> {
    /// An archive with a program for it.
    Archive { path: PathBuf, stage: Stage, program: &'a [u8] },
    /// The kernel, which has everything built in.
    Kernel,
}

impl StageOne<'_> {
    fn make(&self, modules: &[Module]) -> Result<()> {
        let Self::Archive { path, stage, program } = self else { return Ok(()) };
        let file = File::create_new(path).map_err(Error::io("write", path))?;
        let written = initramfs::write(BufWriter::with_capacity(1 << 20, file), program, modules, stage)?;
        written.into_inner().map(drop).map_err(|error| Error::io("write", path)(error.into_error()))
    }
}

impl<'a> GuestOptions<'a> {
    /// Refuses what no root can be booted with, for a caller that has yet to get the root. `directory` is where
    /// [`Guest::prepare`] will work, or as long a path with bytes of the same kinds. Nothing is made.
    ///
    /// # Errors
    /// For a kernel without what the form needs: [`Error::MissingModule`], [`Error::NoStageOne`]; for machines that there
    /// are not: [`Error::NoKvm`], [`Error::Unsupported`], [`Error::CommandLine`], [`Error::Memory`],
    /// [`Error::HostMemory`], [`Error::MissingProgram`]; and [`Error::Share`] and [`Error::Image`] for paths.
    pub fn check(&self, directory: &Path) -> Result<()> {
        self.plan(&self.place(directory), &[]).map(drop)
    }

    fn place<'p>(&self, directory: &'p Path) -> Place<'p> {
        Place { directory, takes_vmdk: self.vmm == Vmm::Qemu }
    }

    /// Decides everything, and has the monitor's module refuse the machine. Nothing is made.
    fn plan(&self, place: &Place<'_>, contents: &[PathBuf]) -> Result<Plan<'a>> {
        let medium = self.via.plan(place, contents)?;
        let modules = self.modules()?;
        let stage = self.stage(&medium, &modules, place.directory)?;
        let initramfs = match (&stage, &medium) {
            (_, Medium::Archive(path)) | (StageOne::Archive { path, .. }, _) => Some(path.clone()),
            (StageOne::Kernel, _) => None,
        };
        let (disks, share) = match &medium {
            Medium::Disks(disks) => (disks.clone(), None),
            Medium::Share(share) => (Vec::new(), Some(share.clone())),
            Medium::Archive(_) => (Vec::new(), None),
        };
        let machine = Machine {
            // The trial says which, and the command's length and paths do not depend on it.
            accelerator: Accelerator::Kvm,
            architecture: self.kernel.architecture,
            memory: self.memory.unwrap_or(MEMORY),
            cpus: self.cpus,
            kernel: self.kernel.path.clone(),
            initramfs,
            command_line: self.command_line(&medium, &stage),
            disks,
            share,
        };
        let config = place.directory.join("machine.json");
        self.vmm.command(&machine, &config)?;
        check_host_memory(machine.memory)?;
        Trial { kernel: self.kernel, vmm: self.vmm, record: None }.check(self.acceleration)?;
        self.vmm.check_installed(&machine)?;
        Ok(Plan { medium, modules, stage, machine, config })
    }

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

    fn stage(&self, medium: &Medium, modules: &[Module], directory: &Path) -> Result<StageOne<'a>> {
        let (Some(fstype), Some(source)) = (self.via.fstype(), medium.source()) else { return Ok(StageOne::Kernel) };
        if modules.is_empty() && !self.has_overlay() {
            return Ok(StageOne::Kernel);
        }
        let Some(program) = self.stage_one else {
            let modules = modules.iter().map(|module| module.name.clone()).collect();
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
        Ok(StageOne::Archive { path: directory.join("initramfs.cpio"), stage, program })
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

    fn command_line(&self, medium: &Medium, stage: &StageOne<'_>) -> String {
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
            (_, StageOne::Archive { .. }) => {}
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

/// Refuses more memory than the host has, which the kernel gives to nobody unless it is set to
/// (Documentation/mm/overcommit-accounting.rst). A host that does not say what it has is not asked.
fn check_host_memory(asked: u64) -> Result<()> {
    let gives_anything = fs::read_to_string("/proc/sys/vm/overcommit_memory").is_ok_and(|mode| mode.trim() == "1");
    match fs::read_to_string("/proc/meminfo").ok().as_deref().and_then(memory_of) {
        Some(available) if asked > available && !gives_anything => Err(Error::HostMemory { asked, available }),
        _ => Ok(()),
    }
}

/// Memory and swap of the host in bytes.
fn memory_of(meminfo: &str) -> Option<u64> {
    let kibibytes = |name: &str| {
        let line = meminfo.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':'))?;
        line.trim().strip_suffix(" kB")?.parse::<u64>().ok()
    };
    kibibytes("MemTotal")?.checked_add(kibibytes("SwapTotal").unwrap_or(0))?.checked_mul(1024)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn memory_of_the_host() {
        let text = "MemTotal:        8000 kB\nMemFree:  1 kB\nSwapCached: 3 kB\nSwapTotal:       1000 kB\n";
        assert_eq!(memory_of(text), Some(9000 << 10));
        assert_eq!(memory_of("MemTotal: 8 kB\n"), Some(8 << 10));
        assert_eq!(memory_of("nothing"), None);
    }
}
