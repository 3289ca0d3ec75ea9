//! The choice between KVM and TCG.
//!
//! An open `/dev/kvm` does not mean that KVM works: under some nested hypervisors, a guest that enters 64-bit mode
//! hangs, or the VMM fails at once. Therefore a trial boots a machine that has only a kernel. If KVM works, the
//! kernel prints its banner, panics because it finds no root, and the machine ends.

use std::fs::File;
use std::path::PathBuf;
use std::time::Duration;

use crate::console::Console;
use crate::kernel::BANNER;
use crate::kvm_record::TrialKey;
use crate::run::{Run, Stopper};
use crate::{Accelerator, Architecture, Error, InitMessages, Kernel, KvmRecord, Machine, Result, Vmm};

/// The requested way to execute the guest's instructions.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Acceleration {
    /// KVM if it works, else TCG.
    #[default]
    Auto,
    /// KVM only. It is an error if KVM is not available.
    Kvm,
    /// TCG only.
    Tcg,
}

/// The maximum time without output before a kernel counts as hanging. With a working KVM, the first line appears in a
/// fraction of this time.
const MAX_SILENCE: Duration = Duration::from_secs(3);
/// The memory of the trial machine in bytes.
const TRIAL_MEMORY: u64 = 256 << 20;

/// Chooses the accelerator for guests with one kernel.
#[derive(Debug)]
pub(crate) struct KvmTrial<'a> {
    pub(crate) kernel: &'a Kernel,
    pub(crate) vmm: Vmm,
    /// The record of earlier trials.
    pub(crate) record: Option<KvmRecord<'a>>,
}

impl KvmTrial<'_> {
    /// Checks without a trial that the requested accelerator can be used.
    pub(crate) fn check(&self, acceleration: Acceleration) -> Result<()> {
        let opened = if acceleration == Acceleration::Tcg { Ok(()) } else { self.open_kvm() };
        self.decide(acceleration, opened).map(drop)
    }

    /// Checks that a VMM on some machine can have the requested accelerator.
    pub(crate) fn check_elsewhere(&self, acceleration: Acceleration) -> Result<()> {
        self.decide(acceleration, Ok(())).map(drop)
    }

    /// Chooses the accelerator. Also returns the reason if TCG is a fallback.
    pub(crate) fn choose(&self, acceleration: Acceleration) -> Result<(Accelerator, Option<String>)> {
        let kvm = match acceleration {
            Acceleration::Tcg => Ok(()),
            Acceleration::Auto | Acceleration::Kvm => match self.open_kvm() {
                Ok(()) if acceleration == Acceleration::Auto && self.vmm == Vmm::Qemu => self.try_kvm()?.kvm,
                opened => opened,
            },
        };
        self.decide(acceleration, kvm)
    }

    /// Returns the accelerator to use, given whether KVM works.
    fn decide(
        &self,
        acceleration: Acceleration,
        kvm: std::result::Result<(), String>,
    ) -> Result<(Accelerator, Option<String>)> {
        let can_translate = self.vmm.supports(Accelerator::Tcg);
        match (acceleration, kvm) {
            (Acceleration::Tcg, _) if can_translate => Ok((Accelerator::Tcg, None)),
            (Acceleration::Tcg, _) => {
                Err(Error::Unsupported { vmm: self.vmm, what: "runs guests only with KVM".to_owned() })
            }
            (_, Ok(())) => Ok((Accelerator::Kvm, None)),
            (Acceleration::Auto, Err(reason)) if can_translate => Ok((Accelerator::Tcg, Some(reason))),
            (_, Err(reason)) => Err(Error::NoKvm(reason)),
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
        self.try_unless_recorded(|| self.boot_bare_kernel())
    }

    fn try_unless_recorded(&self, printed_banner: impl FnOnce() -> Result<bool>) -> Result<Verdict> {
        let key = self.record.and_then(|record| Some((TrialKey::of(&self.kernel.path, record.program)?, record.file)));
        if let Some(verdict) = key.as_ref().and_then(|(key, file)| key.verdict_in(file)) {
            return Ok(Verdict { kvm: verdict, is_lasting: true });
        }
        let verdict = Verdict::of(printed_banner())?;
        if let (true, Some((key, file))) = (verdict.is_lasting, key) {
            key.add_to(file, &verdict.kvm);
        }
        Ok(verdict)
    }

    /// Boots the kernel alone, and returns whether it printed its banner.
    fn boot_bare_kernel(&self) -> Result<bool> {
        let architecture = self.kernel.architecture;
        let early = match architecture {
            Architecture::X86_64 => "earlyprintk=ttyS0",
            Architecture::Aarch64 => "earlycon",
        };
        let machine = Machine {
            accelerator: Accelerator::Kvm,
            architecture,
            memory: TRIAL_MEMORY,
            cpus: 1,
            kernel: self.kernel.path.clone(),
            initramfs: None,
            command_line: format!("console={} {early} panic=-1", self.vmm.console(architecture)),
            disks: Vec::new(),
            share: None,
            network: None,
        };
        let nowhere = PathBuf::new();
        let command = self.vmm.command(&machine, &nowhere)?;
        let stopper = Stopper::new()?;
        let run = Run {
            command: &command,
            vmm_config: &nowhere,
            timeout: None,
            silence: Some(MAX_SILENCE),
            stopper: &stopper,
            init_messages: InitMessages::Nothing,
        };
        let mut printed = Vec::new();
        run.run(Console { input: None, interactive: false, output: &mut printed })?;
        Ok(printed.windows(BANNER.len()).any(|window| window == BANNER))
    }
}

/// The result of a trial.
#[derive(Debug, PartialEq, Eq)]
struct Verdict {
    /// `Ok` if KVM works, else the reason why not.
    kvm: std::result::Result<(), String>,
    /// Whether a repetition would have the same result. A host that is slow or short of memory for a moment must not
    /// get TCG until it reboots.
    is_lasting: bool,
}

impl Verdict {
    /// Returns the verdict for the result of booting a kernel, which is whether the kernel printed its banner.
    ///
    /// # Errors
    /// The error of a VMM that did not start, since it does not depend on KVM.
    fn of(printed_banner: Result<bool>) -> Result<Self> {
        let fails = |reason: String, is_lasting| Ok(Self { kvm: Err(reason), is_lasting });
        match printed_banner {
            Ok(true) => Ok(Self { kvm: Ok(()), is_lasting: true }),
            Ok(false) => fails("a kernel ends without any output".to_owned(), true),
            Err(Error::Timeout(time)) => {
                fails(format!("a kernel has no output for {} s under KVM", time.as_secs_f64()), false)
            }
            Err(Error::Vmm { message, .. }) if !message.is_empty() => {
                let is_lasting = !message.to_ascii_lowercase().contains("memory");
                fails(message.lines().next().unwrap_or_default().to_owned(), is_lasting)
            }
            // The VMM may have been killed for lack of memory.
            Err(error @ Error::Vmm { .. }) => fails(error.to_string(), false),
            Err(error) => Err(error),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::fs;
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
        let verdict = |printed_banner| {
            let Verdict { kvm, is_lasting } = Verdict::of(printed_banner).unwrap();
            (kvm.err().unwrap_or_default(), is_lasting)
        };
        let text = |reason: &str| reason.to_owned();
        assert_eq!(verdict(Ok(true)), (String::new(), true));
        assert_eq!(verdict(Ok(false)), (text("a kernel ends without any output"), true));
        assert_eq!(
            verdict(Err(Error::Timeout(MAX_SILENCE))),
            (text("a kernel has no output for 3 s under KVM"), false)
        );
        assert_eq!(verdict(Err(failed("no vCPU\nat all"))), (text("no vCPU"), true));
        let memory = "cannot set up guest memory: Cannot allocate memory";
        assert_eq!(verdict(Err(failed(memory))), (text(memory), false));
        assert_eq!(verdict(Err(failed(""))), (text("qemu failed: exit status: 1"), false));
        let missing = Error::MissingProgram { program: "qemu".to_owned() };
        assert!(matches!(Verdict::of(Err(missing)), Err(Error::MissingProgram { .. })));
    }

    /// A timeout is not recorded, because the host may have been slow. A verdict holds for one kernel and one QEMU as
    /// long as both files stay the same.
    #[test]
    fn a_timeout_is_tried_again_and_a_verdict_is_not() {
        let directory = tempfile::tempdir().unwrap();
        let path = |name: &str| directory.path().join(name);
        for name in ["kernel", "other", "qemu"] {
            fs::write(path(name), name).unwrap();
        }
        let kernel =
            |name: &str| Kernel { path: path(name), architecture: Architecture::X86_64, version: None, is_elf: false };
        let (program, file, kernel, other) = (path("qemu"), path("made/kvm"), kernel("kernel"), kernel("other"));
        let record = Some(KvmRecord { program: &program, file: &file });
        let trial = |kernel, printed_banner: Result<bool>| {
            let mut tried = false;
            let verdict = KvmTrial { kernel, vmm: Vmm::Qemu, record }.try_unless_recorded(|| {
                tried = true;
                printed_banner
            });
            (verdict.unwrap().kvm.is_ok(), tried)
        };
        assert_eq!(trial(&kernel, Err(Error::Timeout(MAX_SILENCE))), (false, true));
        assert_eq!(trial(&kernel, Ok(true)), (true, true));
        assert_eq!(trial(&kernel, Ok(false)), (true, false));
        // Another kernel has another verdict.
        assert_eq!(trial(&other, Ok(false)), (false, true));
        assert_eq!(trial(&other, Ok(true)), (false, false));
        assert_eq!(trial(&kernel, Ok(false)), (true, false));
        // A changed QEMU or kernel file needs a new trial.
        fs::write(&program, "a newer qemu").unwrap();
        assert_eq!(trial(&other, Ok(true)), (true, true));
        assert_eq!(trial(&kernel, Ok(true)), (true, true));
        fs::write(&kernel.path, "a newer kernel").unwrap();
        assert_eq!(trial(&kernel, Ok(false)), (false, true));
    }
}
