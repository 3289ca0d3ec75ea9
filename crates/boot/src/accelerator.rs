//! Whether KVM works here.
//!
//! That `/dev/kvm` opens says little: under some nested hypervisors a guest that enters 64-bit mode hangs for ever, or the
//! monitor fails at once. So a machine with nothing but the kernel is started, and must come as far as any kernel does
//! that finds no root: to a panic, and its end.

use std::fs::File;
use std::path::PathBuf;
use std::time::Duration;

use crate::console::Console;
use crate::kvm_record::Case;
use crate::run::{Run, Stopper};
use crate::{Accelerator, Architecture, Error, Kernel, KvmRecord, Machine, Result, Says, Vmm};

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

/// Finds the accelerator for guests of one kernel.
#[derive(Debug)]
pub(crate) struct Trial<'a> {
    pub(crate) kernel: &'a Kernel,
    pub(crate) vmm: Vmm,
    /// Where it is remembered how the kernel fared under KVM.
    pub(crate) record: Option<KvmRecord<'a>>,
}

impl Trial<'_> {
    /// Refuses what is asked for where it cannot be, without a trial.
    pub(crate) fn check(&self, acceleration: Acceleration) -> Result<()> {
        let opened = if acceleration == Acceleration::Tcg { Ok(()) } else { self.open_kvm() };
        self.decide(acceleration, opened).map(drop)
    }

    /// Chooses, and says why not KVM where somebody may wonder.
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

    /// What is taken, by whether KVM works.
    fn decide(
        &self,
        acceleration: Acceleration,
        kvm: std::result::Result<(), String>,
    ) -> Result<(Accelerator, Option<String>)> {
        let can_translate = self.vmm.has(Accelerator::Tcg);
        match (acceleration, kvm) {
            (Acceleration::Tcg, _) if can_translate => Ok((Accelerator::Tcg, None)),
            (Acceleration::Tcg, _) => {
                Err(Error::Unsupported { vmm: self.vmm, what: "runs guests by KVM only".to_owned() })
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
        self.try_unless_remembered(|| self.boot_bare_kernel())
    }

    fn try_unless_remembered(&self, spoke: impl FnOnce() -> Result<bool>) -> Result<Verdict> {
        let case = self.record.and_then(|record| Some((Case::of(&self.kernel.path, record.program)?, record.file)));
        if let Some(verdict) = case.as_ref().and_then(|(case, file)| case.verdict_in(file)) {
            return Ok(Verdict { kvm: verdict, is_lasting: true });
        }
        let verdict = Verdict::of(spoke())?;
        if let (true, Some((case, file))) = (verdict.is_lasting, case) {
            case.add_to(file, &verdict.kvm);
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

/// What a trial has shown.
#[derive(Debug, PartialEq, Eq)]
struct Verdict {
    /// Whether KVM works, or why not.
    kvm: std::result::Result<(), String>,
    /// Whether another trial would show the same. One slow moment of the host, or a lack of memory, must not have guests
    /// translated until the host boots anew.
    is_lasting: bool,
}

impl Verdict {
    /// What comes of starting a kernel, which may have spoken.
    ///
    /// # Errors
    /// That of a monitor which did not start: it says nothing of KVM.
    fn of(spoke: Result<bool>) -> Result<Self> {
        let fails = |reason: String, is_lasting| Ok(Self { kvm: Err(reason), is_lasting });
        match spoke {
            Ok(true) => Ok(Self { kvm: Ok(()), is_lasting: true }),
            Ok(false) => fails("a kernel ends before it says anything".to_owned(), true),
            Err(Error::Timeout(time)) => {
                fails(format!("a kernel says nothing for {} s under it", time.as_secs_f64()), false)
            }
            Err(Error::Vmm { message, .. }) if !message.is_empty() => {
                let is_lasting = !message.to_ascii_lowercase().contains("memory");
                fails(message.lines().next().unwrap_or_default().to_owned(), is_lasting)
            }
            // It may have been killed because memory was short.
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
        let verdict = |spoke| {
            let Verdict { kvm, is_lasting } = Verdict::of(spoke).unwrap();
            (kvm.err().unwrap_or_default(), is_lasting)
        };
        let text = |reason: &str| reason.to_owned();
        assert_eq!(verdict(Ok(true)), (String::new(), true));
        assert_eq!(verdict(Ok(false)), (text("a kernel ends before it says anything"), true));
        assert_eq!(verdict(Err(Error::Timeout(MAX_SILENCE))), (text("a kernel says nothing for 3 s under it"), false));
        assert_eq!(verdict(Err(failed("no vCPU\nat all"))), (text("no vCPU"), true));
        let memory = "cannot set up guest memory: Cannot allocate memory";
        assert_eq!(verdict(Err(failed(memory))), (text(memory), false));
        assert_eq!(verdict(Err(failed(""))), (text("qemu failed: exit status: 1"), false));
        let missing = Error::MissingProgram { program: "qemu".to_owned() };
        assert!(matches!(Verdict::of(Err(missing)), Err(Error::MissingProgram { .. })));
    }

    /// One slow moment of the host: the first trial is silent, and the next is not. A verdict is that of one kernel and one
    /// QEMU, for as long as both files are the same.
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
        let trial = |kernel, spoke: Result<bool>| {
            let mut tried = false;
            let verdict = Trial { kernel, vmm: Vmm::Qemu, record }.try_unless_remembered(|| {
                tried = true;
                spoke
            });
            (verdict.unwrap().kvm.is_ok(), tried)
        };
        assert_eq!(trial(&kernel, Err(Error::Timeout(MAX_SILENCE))), (false, true));
        assert_eq!(trial(&kernel, Ok(true)), (true, true));
        assert_eq!(trial(&kernel, Ok(false)), (true, false));
        // Another kernel ends where this one does not.
        assert_eq!(trial(&other, Ok(false)), (false, true));
        assert_eq!(trial(&other, Ok(true)), (false, false));
        assert_eq!(trial(&kernel, Ok(false)), (true, false));
        // A new QEMU, and a new kernel of the same name.
        fs::write(&program, "a newer qemu").unwrap();
        assert_eq!(trial(&other, Ok(true)), (true, true));
        assert_eq!(trial(&kernel, Ok(true)), (true, true));
        fs::write(&kernel.path, "a newer kernel").unwrap();
        assert_eq!(trial(&kernel, Ok(false)), (false, true));
    }
}
