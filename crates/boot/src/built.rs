//! Machines whose files are built, for a caller that starts the VMM itself.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use vmroot_container_fs::ContainerFs;

use crate::{Acceleration, Accelerator, GuestOptions, InitMessages, Machine, Result, Vmm, VmmCommand, script, via};

/// A machine and its files, ready for a VMM that the caller starts, here or on another machine.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BuiltMachine {
    vmm: Vmm,
    machine: Machine,
    acceleration: Acceleration,
    init_messages: InitMessages,
}

impl BuiltMachine {
    /// Builds the files of a machine in `directory`, which must be empty. [`GuestOptions::starts_here`] must be false.
    ///
    /// For [`Via::Virtiofs`](crate::Via::Virtiofs), the caller serves the root on the socket of
    /// [`Machine::share`](crate::Machine::share).
    ///
    /// With [`Acceleration::Auto`], the accelerator is KVM in [`Self::command`], and a choice of the other machine in
    /// [`Self::script`].
    ///
    /// # Errors
    /// The errors of [`Guest::prepare`](crate::Guest::prepare), without those about this machine.
    pub fn build(root: &Arc<ContainerFs>, directory: &Path, options: &GuestOptions<'_>) -> Result<Self> {
        let destination = options.destination(directory);
        let plan = options.plan(&destination, &via::contents(root)?)?;
        let (mut machine, _) = options.build(root, &destination, plan)?;
        machine.accelerator = match options.acceleration {
            Acceleration::Auto | Acceleration::Kvm => Accelerator::Kvm,
            Acceleration::Tcg => Accelerator::Tcg,
        };
        let GuestOptions { vmm, acceleration, init_messages, .. } = *options;
        Ok(Self { vmm, machine, acceleration, init_messages })
    }

    /// Returns the machine with the files of the directory `from` in the directory `to`. An empty `to` makes their paths
    /// relative.
    pub fn moved(&self, from: &Path, to: &Path) -> Self {
        Self { machine: self.machine.moved(from, to), ..self.clone() }
    }

    /// Returns the machine.
    pub fn machine(&self) -> &Machine {
        &self.machine
    }

    /// Returns the command that starts the machine. `config` is the path for the VMM's configuration file.
    ///
    /// # Errors
    /// The errors of [`Vmm::command`].
    pub fn command(&self, config: &Path) -> Result<VmmCommand> {
        self.vmm.command(&self.machine, config)
    }

    /// Returns the command with an accelerator.
    pub(crate) fn command_with(&self, accelerator: Accelerator, config: &Path) -> Result<VmmCommand> {
        self.vmm.command(&Machine { accelerator, ..self.machine.clone() }, config)
    }

    /// Returns a POSIX shell script that starts the machine from its own directory, and exits with the code of the
    /// guest's command. `config` is the path for the VMM's configuration file, and `title` a line about the guest.
    ///
    /// # Errors
    /// The errors of [`Vmm::command`].
    pub fn script(&self, config: &Path, title: &str) -> Result<Vec<u8>> {
        script::write(self, config, title)
    }

    /// Returns whether the other machine chooses the accelerator.
    pub(crate) fn is_automatic(&self) -> bool {
        self.acceleration == Acceleration::Auto && self.vmm.supports(Accelerator::Tcg)
    }

    /// Returns whether the init writes the exit code of its command to the console.
    pub(crate) fn reports_exit_code(&self) -> bool {
        self.init_messages >= InitMessages::ExitCode
    }

    /// Returns the files of the machine: kernel, initramfs and disks.
    pub fn files(&self) -> Vec<PathBuf> {
        let Machine { kernel, initramfs, disks, .. } = &self.machine;
        [kernel].into_iter().chain(initramfs).chain(disks.iter().map(|disk| &disk.path)).cloned().collect()
    }
}
