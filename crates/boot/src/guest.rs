//! A guest: its options, preparation and run.

use std::fs::{self, File};
use std::io::BufWriter;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use vmroot_container_fs::ContainerFs;
use vmroot_guest_config::{Stage, StageRoot};
use vmroot_output::Hook;
use vmroot_verity::KeptLeaves;

use crate::accelerator::KvmTrial;
use crate::disks::UPPER_FSTYPE;
use crate::initramfs::{self, place_of};
use crate::machine::disk_name;
use crate::run::Run;
use crate::served::Served;
use crate::verity::{self, BuiltTree};
use crate::via::{self, BuiltMedium, Destination, Medium, MediumBuilder};
use crate::vmm::Bus;
use crate::{
    Acceleration, Accelerator, Console, Disk, DiskFormat, Error, GuestExit, Kernel, Machine, Module, ModuleTree,
    Result, Stopper, UpperDisk, UserNetwork, Via, Vmm, VmmCommand, Volume,
};

/// The default memory of a guest, in bytes.
const DEFAULT_MEMORY: u64 = 512 << 20;
/// Additional memory for each byte of an archive: one for the archive, one for its unpacked files, and one more because
/// the root file system in memory may take only half of the memory.
const ARCHIVE_MEMORY_FACTOR: u64 = 3;

/// The default free space of a writable disk image, in bytes.
const DEFAULT_FREE: u64 = 256 << 20;

/// Options of a guest. [`Self::new`] has the defaults.
#[derive(Debug, Clone)]
pub struct GuestOptions<'a> {
    /// The form in which the guest gets its root.
    pub via: Via,
    /// The guest's kernel.
    pub kernel: &'a Kernel,
    /// The kernel's modules. With `None`, the default, the kernel must have all drivers built in.
    pub modules: Option<&'a ModuleTree>,
    /// The VMM.
    pub vmm: Vmm,
    /// The way in which the guest's instructions are executed. The default is [`Acceleration::Auto`].
    pub acceleration: Acceleration,
    /// A record of whether KVM works. With `None`, the default, KVM is tried for each guest.
    pub kvm_record: Option<KvmRecord<'a>>,
    /// The memory in bytes. `None`, the default, is 512 MiB, plus three times the size of an archive.
    pub memory: Option<u64>,
    /// The number of virtual processors. The default is 1.
    pub cpus: u32,
    /// Further words for the kernel's command line. The default is none.
    pub append: &'a str,
    /// The program that is started in the root. With `None`, the default, the kernel searches for one.
    pub init: Option<&'a str>,
    /// The messages that the init writes to the console. The default is [`InitMessages::Nothing`].
    pub init_messages: InitMessages,
    /// `vmroot-init` for the guest's architecture, which loads the modules. The default is `None`.
    pub stage_one: Option<&'a [u8]>,
    /// Whether writes to a read-only root go to an overlay in the guest's memory. The default is false.
    pub overlay: bool,
    /// The disk that keeps the writes to a read-only root, in place of `overlay`. The default is `None`.
    pub upper: Option<&'a UpperDisk>,
    /// Disks that are mounted in the root. The default is none.
    pub volumes: &'a [Volume],
    /// The network of the guest. With `None`, the default, the guest has none.
    pub network: Option<&'a UserNetwork>,
    /// Whether the guest verifies each block of its root by dm-verity, with a root hash on the kernel's command line. The
    /// root is then read-only, and must be on a disk. The default is false.
    pub verity: bool,
    /// Digests of contents files that are known already, for the hash tree. With `None`, the default, all blocks are
    /// hashed.
    pub leaves: Option<&'a KeptLeaves>,
    /// The free space of a writable disk image, in bytes. The default is 256 MiB.
    pub free: u64,
    /// Whether this process starts the guest. If not, the VMM, KVM and the memory may be those of another machine, and
    /// are not checked. The default is true.
    pub starts_here: bool,
    /// Whether the console shows the kernel's messages. The default is false.
    pub verbose: bool,
    /// The time limit for the guest. `None`, the default, is none.
    pub timeout: Option<Duration>,
    /// Receives progress. `Break` cancels the export.
    pub hook: Option<Hook<'a>>,
}

/// The record of whether KVM works. An entry is valid for one kernel file and one VMM program until the host
/// reboots.
#[derive(Debug, Clone, Copy)]
pub struct KvmRecord<'a> {
    /// The VMM's program, as found in `PATH`.
    pub program: &'a Path,
    /// The file of the record.
    pub file: &'a Path,
}

/// The messages about itself that a guest's init writes to the console.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum InitMessages {
    /// No messages. The guest counts as successful once it is off.
    Nothing,
    /// A line when the command is executed, as written by `vmroot-init` before the command replaces it. The guest counts as
    /// successful once it is off.
    Start,
    /// A last line `[vmroot-init] exit code N`.
    ExitCode,
    /// The exit code, and a line when the command is executed, as written by `vmroot-init`. Input is held back until
    /// that line, because no program reads it earlier.
    Everything,
}

impl InitMessages {
    /// Returns whether there is a line when the command is executed.
    pub(crate) fn has_start(self) -> bool {
        matches!(self, Self::Start | Self::Everything)
    }
}

/// A guest that is ready to run.
#[derive(Debug)]
pub struct Guest {
    command: VmmCommand,
    vmm_config: PathBuf,
    served: Option<Served>,
    init_messages: InitMessages,
    timeout: Option<Duration>,
    note: Option<String>,
    stopper: Stopper,
}

impl Guest {
    /// Builds everything that the machine needs in `directory`, which must be empty and not locked by flock(2). The caller
    /// removes it. A directory in a cache stays only as long as a client of the cache is open.
    ///
    /// All checks of [`GuestOptions::check`] come first, before anything is built.
    ///
    /// # Errors
    /// - The errors of [`GuestOptions::check`].
    /// - [`Error::TooManyDisks`] if the root has more layers than the VMM takes disks.
    /// - The error of building the root's form.
    pub fn prepare(root: &Arc<ContainerFs>, directory: &Path, options: &GuestOptions<'_>) -> Result<Self> {
        let destination = options.destination(directory);
        let plan = options.plan(&destination, &via::contents(root)?)?;
        let (accelerator, note) = options.choose_accelerator()?;
        let vmm_config = plan.vmm_config.clone();
        let (mut machine, served) = options.build(root, &destination, plan)?;
        machine.accelerator = accelerator;
        check_host_memory(machine.memory)?;
        let command = options.vmm.command(&machine, &vmm_config)?;
        tracing::debug!("{} {:?}", command.program, command.arguments);
        let GuestOptions { init_messages, timeout, .. } = *options;
        Ok(Self { command, vmm_config, served, init_messages, timeout, note, stopper: Stopper::new()? })
    }

    /// Returns the reason why KVM is not used, if [`Acceleration::Auto`] fell back to TCG.
    pub fn note(&self) -> Option<&str> {
        self.note.as_deref()
    }

    /// Returns a handle that ends [`Self::run`] from any thread.
    pub fn stopper(&self) -> Stopper {
        self.stopper.clone()
    }

    /// Runs the guest until it ends.
    ///
    /// # Errors
    /// - [`Error::MissingProgram`] or [`Error::Vmm`] if the VMM cannot be started or fails.
    /// - [`Error::Init`] if the init could not start the command.
    /// - [`Error::Ended`] if the guest ended before its command did.
    /// - [`Error::Timeout`] if the time limit has passed.
    /// - [`Error::Cancelled`] if a [`Stopper`] or the user at the terminal ended the guest.
    pub fn run(self, console: Console<'_>) -> Result<GuestExit> {
        let Self { command, vmm_config, served, init_messages, timeout, note: _, stopper } = self;
        let run = Run {
            command: &command,
            vmm_config: &vmm_config,
            timeout,
            silence: None,
            stopper: &stopper,
            init_messages,
        };
        match served {
            Some(served) => served.during(|| run.run(console)),
            None => run.run(console),
        }
    }
}

/// The decisions about a guest: the parts to build and the machine.
pub(crate) struct Plan<'a> {
    medium: Medium,
    /// The modules to load, in order.
    modules: Vec<Module>,
    stage: StageOne<'a>,
    machine: Machine,
    /// The path for the VMM's configuration file.
    pub(crate) vmm_config: PathBuf,
}

/// The first stage, which loads the modules and mounts the root.
enum StageOne<'a> {
    /// An initramfs with `vmroot-init`.
    Archive { path: PathBuf, stage: Box<Stage>, program: &'a [u8] },
    /// The kernel itself, with all drivers built in.
    Kernel,
}

impl StageOne<'_> {
    fn make(&self, modules: &[Module]) -> Result<()> {
        let Self::Archive { path, stage, program } = self else { return Ok(()) };
        let file = File::create_new(path).map_err(Error::io("write", path))?;
        initramfs::write(&mut BufWriter::with_capacity(1 << 20, file), program, modules, stage)
    }
}

impl<'a> GuestOptions<'a> {
    /// Returns the default options for a guest.
    pub fn new(via: Via, kernel: &'a Kernel, vmm: Vmm) -> Self {
        Self {
            via,
            kernel,
            modules: None,
            vmm,
            acceleration: Acceleration::default(),
            kvm_record: None,
            memory: None,
            cpus: 1,
            append: "",
            init: None,
            init_messages: InitMessages::Nothing,
            stage_one: None,
            overlay: false,
            upper: None,
            volumes: &[],
            network: None,
            verity: false,
            leaves: None,
            free: DEFAULT_FREE,
            starts_here: true,
            verbose: false,
            timeout: None,
            hook: None,
        }
    }

    /// Checks everything that does not depend on the root, for a caller that has not fetched the root yet.
    ///
    /// `directory` is the one for [`Guest::prepare`], or a path of the same length and with the same kinds of bytes. No
    /// file is written.
    ///
    /// # Errors
    /// - [`Error::MissingModule`] if the kernel lacks a module for the form.
    /// - [`Error::NoStageOne`] if modules, an overlay or dm-verity are needed, but [`GuestOptions::stage_one`] is `None`.
    /// - [`Error::NoDisk`] if [`GuestOptions::verity`] is set and the form is not a disk.
    /// - [`Error::WritableRoot`] or [`Error::NoFirstStage`] if the form cannot be combined with a disk or a network.
    /// - [`Error::VolumeDriver`] if the kernel lacks the file system of a volume.
    /// - [`Error::NoKvm`] if KVM is required but not available.
    /// - [`Error::Unsupported`] if the VMM cannot run such a machine.
    /// - [`Error::Processors`] if the VMM cannot run so many processors.
    /// - [`Error::CommandLine`] if the kernel's command line is too long.
    /// - [`Error::Memory`] or [`Error::HostMemory`] if the guest has too little memory, or more than the host.
    /// - [`Error::MissingProgram`] if the VMM is not installed.
    /// - [`Error::Share`] or [`Error::Erofs`] if `directory` cannot be used for a socket or an image.
    pub fn check(&self, directory: &Path) -> Result<()> {
        self.plan(&self.destination(directory), &[]).map(drop)
    }

    /// Chooses between KVM and TCG on this machine, as [`Guest::prepare`] does. With [`Acceleration::Auto`], this starts
    /// QEMU with the kernel alone. Also returns the reason if TCG is a fallback.
    ///
    /// # Errors
    /// - [`Error::NoKvm`] if KVM is required but not available.
    /// - [`Error::Unsupported`] if the VMM has no TCG, and it is required.
    /// - [`Error::MissingProgram`] or [`Error::Vmm`] if QEMU cannot be started.
    pub fn choose_accelerator(&self) -> Result<(Accelerator, Option<String>)> {
        KvmTrial { kernel: self.kernel, vmm: self.vmm, record: self.kvm_record }.choose(self.acceleration)
    }

    /// Builds the planned files.
    pub(crate) fn build(
        &self,
        root: &Arc<ContainerFs>,
        destination: &Destination<'_>,
        plan: Plan<'_>,
    ) -> Result<(Machine, Option<Served>)> {
        let builder = MediumBuilder { root, destination, free: self.free, leaves: self.leaves, hook: self.hook };
        // Elsewhere, another process serves the root.
        let built = match self.via.is_served() && !self.starts_here {
            true => BuiltMedium::default(),
            false => self.via.build(&builder)?,
        };
        let (mut stage, mut machine) = (plan.stage, plan.machine);
        if let (Some(BuiltTree { root_hash, table }), StageOne::Archive { stage, .. }) = (built.tree, &mut stage) {
            stage.verity = Some(table);
            let known = verity::word(&root_hash.to_string());
            machine.command_line = machine.command_line.replacen(&verity::word(&verity::placeholder()), &known, 1);
        }
        stage.make(&plan.modules)?;
        machine.memory = self.memory(&plan.medium)?;
        Ok((machine, built.served))
    }

    pub(crate) fn destination<'p>(&self, directory: &'p Path) -> Destination<'p> {
        let is_qemu = self.vmm == Vmm::Qemu;
        Destination { directory, takes_vmdk: is_qemu, takes_vhost_user: is_qemu, verity: self.verity }
    }

    /// Decides on all parts and checks that the VMM can run the machine. Writes no files.
    pub(crate) fn plan(&self, destination: &Destination<'_>, contents: &[PathBuf]) -> Result<Plan<'a>> {
        let medium = self.via.plan(destination, contents)?;
        self.check_parts()?;
        let modules = self.modules()?;
        let stage = self.stage(&medium, &modules, destination.directory)?;
        let initramfs = match (&stage, &medium) {
            (_, Medium::Archive(path)) | (StageOne::Archive { path, .. }, _) => Some(path.clone()),
            (StageOne::Kernel, _) => None,
        };
        let (disks, share) = match &medium {
            Medium::Disks(disks) => (disks.clone(), None),
            Medium::Share(share) => (Vec::new(), Some(share.clone())),
            Medium::Archive(_) => (Vec::new(), None),
        };
        let disks = disks.into_iter().chain(self.further_disks()).collect();
        let machine = Machine {
            // The trial decides later. The length and paths of the command do not depend on it.
            accelerator: Accelerator::Kvm,
            architecture: self.kernel.architecture,
            memory: self.memory.unwrap_or(DEFAULT_MEMORY),
            cpus: self.cpus,
            kernel: self.kernel.path.clone(),
            initramfs,
            command_line: self.command_line(&medium, &stage),
            disks,
            share,
            network: self.network.cloned(),
        };
        let vmm_config = destination.directory.join("machine.json");
        self.vmm.command(&machine, &vmm_config)?;
        let trial = KvmTrial { kernel: self.kernel, vmm: self.vmm, record: None };
        if self.starts_here {
            check_host_memory(machine.memory)?;
            trial.check(self.acceleration)?;
            self.vmm.check_installed(&machine)?;
        } else {
            trial.check_elsewhere(self.acceleration)?;
        }
        Ok(Plan { medium, modules, stage, machine, vmm_config })
    }

    /// Returns the modules to load, in order.
    fn modules(&self) -> Result<Vec<Module>> {
        let (Some(tree), Some(fstype)) = (self.modules, self.via.fstype()) else { return Ok(Vec::new()) };
        let bus = match self.vmm.bus() {
            Bus::Pci => "virtio_pci",
            Bus::Mmio => "virtio_mmio",
        };
        let disk = (self.via != Via::Virtiofs).then_some("virtio_blk");
        let overlay = (self.has_overlay() || self.upper.is_some()).then_some("overlay");
        let upper = self.upper.map(|_| UPPER_FSTYPE);
        let network = self.network.map(|_| "virtio_net");
        let own_disks = (self.upper.is_some() || !self.volumes.is_empty()).then_some("virtio_blk");
        for volume in self.volumes {
            let failed = |source| Error::VolumeDriver { volume: volume.to_string(), source: Box::new(source) };
            tree.resolve(&[volume.file_system.driver()]).map_err(failed)?;
        }
        let volumes = self.volumes.iter().map(|volume| volume.file_system.driver());
        let hashes = verity::SHA256.into_iter().filter(|name| tree.has_file(name));
        let verity = hashes.chain([verity::DRIVER]).filter(|_| self.verity);
        let root = [bus].into_iter().chain(disk).chain(verity).chain([fstype]);
        let names: Vec<&str> =
            root.chain(own_disks).chain(upper).chain(overlay).chain(volumes).chain(network).collect();
        tree.resolve(&names)
    }

    /// Rejects a form of the root that cannot be combined with the disks and the network.
    fn check_parts(&self) -> Result<()> {
        let needs = [
            (self.upper.is_some(), "a disk for the writes"),
            (!self.volumes.is_empty(), "volumes"),
            (self.network.is_some(), "a network"),
        ];
        if self.via.fstype().is_none()
            && let Some((_, what)) = needs.into_iter().find(|(is_needed, _)| *is_needed)
        {
            return Err(Error::NoFirstStage { form: self.via, what });
        }
        if self.upper.is_some() && self.is_writable() {
            return Err(Error::WritableRoot { form: self.via });
        }
        Ok(())
    }

    /// Returns the disks after those of the root: the one with the writes, and the volumes.
    fn further_disks(&self) -> impl Iterator<Item = Disk> {
        let disk = |path: &Path, writable| Disk { path: path.to_owned(), format: DiskFormat::Raw, writable };
        let upper = self.upper.map(|upper| disk(&upper.path, true));
        upper.into_iter().chain(self.volumes.iter().map(move |volume| disk(&volume.disk, !volume.read_only)))
    }

    fn has_overlay(&self) -> bool {
        self.overlay && !self.is_writable()
    }

    /// Returns whether the guest can write to the root itself.
    fn is_writable(&self) -> bool {
        self.via.is_writable() && !self.verity
    }

    fn stage(&self, medium: &Medium, modules: &[Module], directory: &Path) -> Result<StageOne<'a>> {
        let (Some(fstype), Some(source)) = (self.via.fstype(), medium.source()) else { return Ok(StageOne::Kernel) };
        let mounts_more = self.has_overlay() || self.upper.is_some() || !self.volumes.is_empty();
        if modules.is_empty() && !mounts_more && !self.verity {
            return Ok(StageOne::Kernel);
        }
        let Some(program) = self.stage_one else {
            let modules = modules.iter().map(|module| module.name.clone()).collect();
            return Err(Error::NoStageOne { form: self.via, modules, architecture: self.kernel.architecture });
        };
        let first = match medium {
            Medium::Disks(disks) => disks.len(),
            Medium::Archive(_) | Medium::Share(_) => 0,
        };
        let mut names = (first..).map(disk_name);
        let mut next = || names.next().unwrap_or_default();
        let stage = Stage {
            modules: modules.iter().map(place_of).collect(),
            root: StageRoot {
                fstype: fstype.to_owned(),
                source,
                // The device of dm-verity joins all disks.
                options: if self.verity { String::new() } else { medium.options() },
                read_only: !self.is_writable(),
            },
            init: self.init.unwrap_or("/sbin/init").to_owned(),
            overlay: self.has_overlay() && self.upper.is_none(),
            upper: self.upper.map(|upper| upper.stage(next())),
            volumes: self.volumes.iter().map(|volume| volume.stage(next())).collect(),
            verity: None,
        };
        Ok(StageOne::Archive { path: directory.join("initramfs.cpio"), stage: Box::new(stage), program })
    }

    fn memory(&self, medium: &Medium) -> Result<u64> {
        match (self.memory, medium) {
            (Some(memory), _) => Ok(memory),
            (None, Medium::Archive(path)) => {
                let length = path.metadata().map_err(Error::io("look at", path))?.len();
                Ok(DEFAULT_MEMORY + ARCHIVE_MEMORY_FACTOR * length)
            }
            (None, _) => Ok(DEFAULT_MEMORY),
        }
    }

    fn command_line(&self, medium: &Medium, stage: &StageOne<'_>) -> String {
        let architecture = self.kernel.architecture;
        let mut words = vec![format!("console={}", self.vmm.console(architecture)), "panic=-1".to_owned()];
        if !self.verbose {
            // Only the messages of a panic.
            words.extend(["quiet".to_owned(), "loglevel=1".to_owned()]);
        }
        if self.init_messages.has_start() {
            words.push("vmroot.trace".to_owned());
        }
        if self.verity {
            words.push(verity::word(&verity::placeholder()));
        }
        words.extend(self.vmm.kernel_arguments(architecture).iter().map(|word| (*word).to_owned()));
        match (medium, stage) {
            (Medium::Archive(_), _) => words.extend(self.init.map(|init| format!("rdinit={init}"))),
            // `/vmroot/stage.json` in the archive names the init.
            (_, StageOne::Archive { .. }) => {}
            (medium, StageOne::Kernel) => words.extend(self.root_arguments(medium)),
        }
        if !self.append.is_empty() {
            words.push(self.append.to_owned());
        }
        words.join(" ")
    }

    /// Returns the kernel arguments that name the root and the init.
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

/// Rejects more memory than the host has.
///
/// Linux refuses such an allocation unless overcommitting is always allowed
/// (Documentation/mm/overcommit-accounting.rst). The check is skipped if the host's memory is unknown.
fn check_host_memory(requested: u64) -> Result<()> {
    let overcommits = fs::read_to_string("/proc/sys/vm/overcommit_memory").is_ok_and(|mode| mode.trim() == "1");
    match fs::read_to_string("/proc/meminfo").ok().as_deref().and_then(memory_of) {
        Some(available) if requested > available && !overcommits => Err(Error::HostMemory { requested, available }),
        _ => Ok(()),
    }
}

/// Returns the host's memory and swap in bytes.
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
