//! Whether KVM works here.
//!
//! That `/dev/kvm` opens says little: under some nested hypervisors a guest that enters 64-bit mode hangs for ever, or the
//! monitor fails at once. So a machine with nothing but the kernel is started, and must come as far as any kernel does
//! that finds no root: to a panic, and its end.

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::time::Duration;

use crate::console::Console;
use crate::run::{Run, Stopper};
use crate::{Accelerator, Architecture, Error, Kernel, Machine, Result, Says, Vmm};

/// Who may execute the guest's instructions.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Acceleration {
    /// KVM where it works, TCG otherwise.
    #[default]
    Auto,
    /// KVM, or nothing.
    Kvm,
    /// TCG.
    Tcg,
}

/// How long a kernel may say nothing before it counts as hanging: a sound KVM has a first line in a fraction of this.
const MAX_SILENCE: Duration = Duration::from_secs(3);
/// Memory of the machine that is tried, in bytes.
const MEMORY: u64 = 256 << 20;
/// Names this boot of the host.
const BOOT_ID: &str = "/proc/sys/kernel/random/boot_id";

/// Finds the accelerator for guests of one kernel.
#[derive(Debug)]
pub(crate) struct Trial<'a> {
    pub(crate) kernel: &'a Kernel,
    pub(crate) vmm: Vmm,
    /// Where the verdict is kept until the host boots anew.
    pub(crate) verdict: Option<&'a Path>,
}

impl Trial<'_> {
    /// Chooses, and says why not KVM where somebody may wonder.
    pub(crate) fn choose(&self, acceleration: Acceleration) -> Result<(Accelerator, Option<String>)> {
        let kvm = match acceleration {
            Acceleration::Tcg => Err(String::new()),
            Acceleration::Auto | Acceleration::Kvm => match self.open_kvm() {
                Ok(()) if acceleration == Acceleration::Auto && self.vmm == Vmm::Qemu => self.try_kvm()?.works(),
                opened => opened,
            },
        };
        match (kvm, acceleration) {
            (Ok(()), _) => Ok((Accelerator::Kvm, None)),
            (Err(reason), Acceleration::Kvm) => Err(Error::NoKvm(reason)),
            (Err(_), Acceleration::Tcg) if !self.vmm.has(Accelerator::Tcg) => {
                Err(Error::Unsupported { vmm: self.vmm, what: "runs guests by KVM only".to_owned() })
            }
            (Err(reason), Acceleration::Auto) if !self.vmm.has(Accelerator::Tcg) => Err(Error::NoKvm(reason)),
            (Err(reason), _) => Ok((Accelerator::Tcg, Some(reason).filter(|reason| !reason.is_empty()))),
        }
    }

    fn open_kvm(&self) -> std::result::Result<(), String> {
        if !self.kernel.architecture.is_host() {
            return Err(format!("the guest is for {}", self.kernel.architecture));
        }
        let opened = File::options().read(true).write(true).open("/dev/kvm");
        opened.map(drop).map_err(|error| format!("/dev/kvm: {error}"))
    }

    fn try_kvm(&self) -> Result<Verdict> {
        let boot = fs::read_to_string(BOOT_ID).unwrap_or_default();
        if let Some(kept) = self.verdict.and_then(|path| Verdict::read(path, boot.trim())) {
            return Ok(kept);
        }
        let verdict = Verdict::of(self.boot_bare_kernel())?;
        if let Some(path) = self.verdict {
            verdict.keep(path, boot.trim());
        }
        Ok(verdict)
    }

    /// Whether the kernel came as far as to say anything.
    fn boot_bare_kernel(&self) -> Result<bool> {
        let architecture = self.kernel.architecture;
        let early = match architecture {
            Architecture::X86_64 => "earlyprintk=ttyS0",
            Architecture::Aarch64 => "earlycon",
        };
        let machine = Machine {
            accelerator: Accelerator::Kvm,
            architecture,
            memory: MEMORY,
            cpus: 1,
            kernel: self.kernel.path.clone(),
            initramfs: None,
            command_line: format!("console={} {early} panic=-1", self.vmm.console(architecture)),
            disks: Vec::new(),
            share: None,
        };
        let nowhere = PathBuf::new();
        let command = self.vmm.command(&machine, &nowhere)?;
        let stopper = Stopper::new()?;
        let run = Run {
            command: &command,
            config: &nowhere,
            timeout: None,
            silence: Some(MAX_SILENCE),
            stopper: &stopper,
            says: Says::Nothing,
        };
        let mut said = Vec::new();
        run.run(Console { input: None, interactive: false, output: &mut said })?;
        Ok(said.windows(BANNER.len()).any(|window| window == BANNER))
    }
}

/// What every kernel says first.
const BANNER: &[u8] = b"Linux version ";

/// Why KVM does not work; nothing where it does.
#[derive(Debug, PartialEq, Eq)]
struct Verdict(Option<String>);

impl Verdict {
    /// What comes of starting a kernel, which may have spoken.
    ///
    /// # Errors
    /// That of a monitor which did not start: it says nothing of KVM, and must not be remembered.
    fn of(spoke: Result<bool>) -> Result<Self> {
        Ok(Self(match spoke {
            Ok(true) => None,
            Ok(false) => Some("a kernel ends before it says anything".to_owned()),
            Err(Error::Timeout(_)) => Some("a kernel hangs under it".to_owned()),
            Err(Error::Vmm { message, .. }) if !message.is_empty() => message.lines().next().map(str::to_owned),
            Err(error @ Error::Vmm { .. }) => Some(error.to_string()),
            Err(error) => return Err(error),
        }))
    }

    fn works(self) -> std::result::Result<(), String> {
        self.0.map_or(Ok(()), Err)
    }

    /// `BOOT-ID` and a line, empty or the reason.
    fn read(path: &Path, boot: &str) -> Option<Self> {
        let text = fs::read_to_string(path).ok()?;
        let reason = text.strip_prefix(boot)?.strip_prefix('\n')?.trim_end();
        Some(Self((!reason.is_empty()).then(|| reason.to_owned())))
    }

    /// A verdict that cannot be kept is found again.
    fn keep(&self, path: &Path, boot: &str) {
        let reason = self.0.as_deref().unwrap_or_default();
        if let Some(parent) = path.parent() {
            let _ = fs::create_dir_all(parent);
        }
        let _ = fs::write(path, format!("{boot}\n{reason}\n"));
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::process::ExitStatusExt;
    use std::process::ExitStatus;

    use super::*;

    #[test]
    fn a_verdict_is_about_kvm_alone() {
        let failed = |message: &str| Error::Vmm {
            program: "qemu".to_owned(),
            status: ExitStatus::from_raw(1 << 8),
            message: message.to_owned(),
        };
        let reason = |spoke| Verdict::of(spoke).unwrap().works().unwrap_err();
        assert_eq!(Verdict::of(Ok(true)).unwrap(), Verdict(None));
        assert_eq!(reason(Ok(false)), "a kernel ends before it says anything");
        assert_eq!(reason(Err(Error::Timeout(MAX_SILENCE))), "a kernel hangs under it");
        assert_eq!(reason(Err(failed("no vCPU\nat all"))), "no vCPU");
        assert_eq!(reason(Err(failed(""))), "qemu failed: exit status: 1");
        let missing = Error::MissingProgram { program: "qemu".to_owned() };
        assert!(matches!(Verdict::of(Err(missing)), Err(Error::MissingProgram { .. })));
    }

    #[test]
    fn a_verdict_is_kept_for_one_boot() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("made/kvm");
        for verdict in [Verdict(None), Verdict(Some("it hangs".to_owned()))] {
            verdict.keep(&path, "this-boot");
            assert_eq!(Verdict::read(&path, "this-boot"), Some(verdict));
            assert_eq!(Verdict::read(&path, "another"), None);
        }
    }
}
