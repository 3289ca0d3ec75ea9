//! `boot --print` and `boot --output`: guests that the user starts.

use std::fs;
use std::path::PathBuf;
use std::process::Command;

use serde_json::{Value, json};
use vmroot_testkit::guest::Guest;

use crate::program::{CommandOutput, Program};

/// The image of the README, with a busybox, a user and an entrypoint.
const IMAGE: &str = concat!("oci:", env!("CARGO_MANIFEST_DIR"), "/../../testdata/demo:demo");

struct HandTest {
    program: Program,
    guest: Guest,
    /// The directory for temporary files.
    temporary: PathBuf,
}

impl HandTest {
    /// Returns `None` if the test has to be skipped.
    #[track_caller]
    fn new() -> Option<Self> {
        let (guest, program) = (Guest::of("amd64")?, Program::new());
        let temporary = program.path("temporary files");
        fs::create_dir(&temporary).unwrap();
        Some(Self { program, guest, temporary })
    }

    fn run(&self, more: &[&str]) -> CommandOutput {
        let kernel = self.guest.kernel();
        let first = ["boot", IMAGE, "--kernel", kernel.to_str().unwrap()];
        let mut command = self.program.command(first.iter().chain(more));
        command.env("TMPDIR", &self.temporary).output().unwrap().into()
    }

    fn json(&self, more: &[&str]) -> Value {
        serde_json::from_str(&self.run(&[&["--json"], more].concat()).ok()).unwrap()
    }
}

/// Runs a shell command without an input, and returns its exit code and output.
fn shell(command: &mut Command) -> (Option<i32>, String) {
    let output = command.stdin(std::process::Stdio::null()).output().unwrap();
    // A guest's console ends its lines with CR LF.
    let text = String::from_utf8_lossy(&output.stdout).replace('\r', "");
    (output.status.code(), format!("{text}{}", String::from_utf8_lossy(&output.stderr)))
}

/// The directory is moved to another place, and the cache is removed.
#[test]
fn output_boots_without_the_cache() {
    let Some(test) = HandTest::new() else { return };
    let made = test.program.path("made");
    let script = "echo from outside; id -u; exit 7";
    let answer = test.run(&["--output", made.to_str().unwrap(), "--", script]);
    assert!(answer.stderr.contains("run.sh boots the guest"), "{answer}");
    assert_eq!(answer.ok(), "");
    let mut names: Vec<String> =
        fs::read_dir(&made).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
    names.sort();
    assert_eq!(names, ["config.json", "initramfs.cpio", "kernel", "root.img", "run.sh"]);
    let config: Value = serde_json::from_slice(&fs::read(made.join("config.json")).unwrap()).unwrap();
    assert_eq!(config["cmd"], json!([script]));
    // A name that a shell would split, in another directory than the working directory.
    let elsewhere = test.program.path("else where");
    fs::rename(&made, &elsewhere).unwrap();
    fs::remove_dir_all(test.program.cache()).unwrap();
    let (code, text) = shell(Command::new(elsewhere.join("run.sh")).env("ACCEL", "tcg").env("TMPDIR", &test.temporary));
    assert!(text.contains("from outside\n1000\n\n[vmroot-init] exit code 7\n") && code == Some(7), "{code:?}: {text}");
    assert_eq!(fs::read_dir(&test.temporary).unwrap().count(), 0, "the script leaves no files");
    // A VMM that is missing there.
    let (code, text) = shell(Command::new("/bin/sh").arg(elsewhere.join("run.sh")).env("PATH", "/no/programs"));
    assert_eq!(code, Some(1), "{text}");
}

#[test]
fn printed_line_boots_from_a_shell() {
    let Some(test) = HandTest::new() else { return };
    let answer = test.run(&["--print", "--accel=tcg", "--append", "quiet 'two words'", "--", "echo by hand; exit 3"]);
    let directory = answer.stderr.lines().find_map(|line| line.strip_prefix("the files are in ")).unwrap();
    let directory = PathBuf::from(directory.split(", until").next().unwrap());
    assert!(directory.starts_with(&test.temporary));
    let line = answer.ok();
    assert!(line.starts_with("qemu-system-x86_64 -nodefaults ") && line.lines().count() == 1, "{line}");
    // Files stay, also after other processes have used and collected the cache.
    test.program.ok(["gc"]);
    let (code, text) = shell(Command::new("sh").arg("-c").arg(&line));
    assert!(code == Some(0) && text.contains("by hand\n\n[vmroot-init] exit code 3\n"), "{text}");
    assert!(directory.join("root.img").exists());
}

#[test]
fn object_describes_the_machine() {
    let Some(test) = HandTest::new() else { return };
    let made = test.program.path("made");
    let options = ["--output", made.to_str().unwrap(), "--accel=tcg", "--via=cpio", "--print"];
    let object = test.json(&options);
    let made = made.canonicalize().unwrap();
    assert_eq!((&object["vmm"], &object["program"]), (&json!("qemu"), &json!("qemu-system-x86_64")));
    assert_eq!((&object["directory"], &object["config"]), (&json!(made), &Value::Null));
    assert_eq!(object["script"], json!(made.join("run.sh")));
    let arguments: Vec<&str> = object["arguments"].as_array().unwrap().iter().map(|it| it.as_str().unwrap()).collect();
    let after = |name: &str| arguments[arguments.iter().position(|it| *it == name).unwrap() + 1];
    assert_eq!(after("-kernel"), made.join("kernel").to_str().unwrap());
    assert_eq!(after("-initrd"), made.join("root.cpio").to_str().unwrap());
    assert_eq!((after("-machine"), after("-cpu")), ("pc,accel=tcg", "max"));
    for file in object["files"].as_array().unwrap() {
        let path = made.join(file["name"].as_str().unwrap());
        assert_eq!(file["bytes"], fs::metadata(path).unwrap().len(), "{file}");
    }
    // Without --accel, the script chooses.
    let script = fs::read_to_string(made.join("run.sh")).unwrap();
    assert!(!script.contains("ACCEL"), "{script}");
}

/// The lines start the server of the root too. What the user puts on top is there.
#[test]
fn printed_lines_serve_a_share() {
    let Some(test) = HandTest::new() else { return };
    let file = test.program.file("it's added", "from outside\n");
    let add = format!("--add={}:/etc/added:644:1000:1000", file.display());
    let answer =
        test.run(&["--print", "--accel=tcg", "--via=virtiofs", &add, "--", "cat /etc/added; ls -d /proc/self"]);
    let text = answer.ok();
    assert_eq!(text.lines().count(), 3, "{text}");
    let script = format!("vmroot() {{ '{}' \"$@\"; }}\n{text}", env!("CARGO_BIN_EXE_vmroot"));
    let (code, text) = shell(Command::new("sh").arg("-c").arg(&script).env_remove("VMROOT_CACHE"));
    assert!(code == Some(0) && text.contains("from outside\n/proc/self\n\n[vmroot-init] exit code 0\n"), "{text}");
}

/// The other VMMs need neither be installed nor have KVM here.
#[test]
fn other_monitors_are_described() {
    let Some(test) = HandTest::new() else { return };
    let made = test.program.path("firecracker");
    let answer = test.run(&["--vmm=firecracker", "--print", "--via=ext4", "--output", made.to_str().unwrap()]);
    assert!(answer.stderr.contains("firecracker starts only uncompressed kernels"), "{answer}");
    let text = answer.ok();
    let (comment, line) = text.trim_end().rsplit_once('\n').unwrap();
    let made = made.canonicalize().unwrap();
    assert_eq!(line, format!("firecracker --no-api --config-file {}", made.join("machine.json").display()));
    let comment: Vec<&str> = comment.lines().skip(1).map(|line| line.strip_prefix("# ").unwrap()).collect();
    let printed: Value = serde_json::from_str(&comment.join("\n")).unwrap();
    assert_eq!(printed["drives"][0]["path_on_host"], json!(made.join("root.img")));
    // In the directory, paths are relative.
    let kept: Value = serde_json::from_slice(&fs::read(made.join("machine.json")).unwrap()).unwrap();
    assert_eq!(kept["boot-source"]["kernel_image_path"], "kernel");
    assert_eq!(
        (&kept["drives"][0]["path_on_host"], &kept["drives"][0]["is_read_only"]),
        (&json!("root.img"), &json!(false))
    );
    let script = fs::read_to_string(made.join("run.sh")).unwrap();
    assert!(
        script.contains(
            "start() {\n    firecracker \"$@\" \\\n        --no-api \\\n        --config-file machine.json\n}"
        ),
        "{script}"
    );

    let object = test.json(&["--vmm=cloud-hypervisor", "--print", "--via=squashfs", "--cpus=2"]);
    let arguments = object["arguments"].as_array().unwrap();
    let directory = PathBuf::from(object["directory"].as_str().unwrap());
    let disk = format!("readonly=on,image_type=raw,path={}", directory.join("root.img").display());
    assert!(arguments.contains(&json!(disk)) && arguments.contains(&json!("boot=2")), "{object}");
    assert!(directory.join("root.img").exists() && object["script"].is_null(), "{object}");
}

#[test]
fn wrong_uses_leave_no_directory() {
    let Some(test) = HandTest::new() else { return };
    let made = test.program.path("made");
    let output = format!("--output={}", made.display());
    for (code, arguments, expected) in [
        (2, &[&output, "--via=virtiofs"][..], "--via erofs has everything"),
        (2, &["--print", "--via=erofs-meta"], "--via erofs has everything"),
        (2, &[&output, "--via=erofs-meta"], "--via erofs has everything"),
        (2, &[&output, "--timeout=1"], "--timeout"),
        (1, &[&output, "--vmm=firecracker", "--accel=tcg"], "firecracker runs guests only with KVM"),
        (1, &[&output, "--arch=arm64"], "but the image is for arm64"),
        (3, &[&output, "--modules=/no/modules"], "/no/modules"),
        (6, &[&output, "--cpus=256"], "qemu runs guests of 1 to 255 processors"),
    ] {
        let message = test.run(arguments).fails(code);
        assert!(message.contains(expected), "{arguments:?}: {message}");
        assert!(!made.exists(), "{arguments:?}");
    }
    assert_eq!(fs::read_dir(&test.temporary).unwrap().count(), 0);
    fs::create_dir(&made).unwrap();
    fs::write(made.join("precious"), "x").unwrap();
    let message = test.run(&[&output]).fails(1);
    assert!(message.contains(made.to_str().unwrap()) && message.contains("not empty"), "{message}");
    assert_eq!(fs::read_dir(&made).unwrap().count(), 1);
}

#[test]
fn missing_kernel_and_modules_are_explained() {
    let Some(test) = HandTest::new() else { return };
    let message = test.program.fails(2, ["boot", IMAGE]);
    assert!(message.contains("--kernel"), "{message}");
    let message = test.program.fails(3, ["boot", IMAGE, "--kernel=/no/kernel"]);
    assert!(message.contains("/no/kernel: no such kernel") && message.contains("linux-image-cloud-amd64"), "{message}");
    // A kernel without a directory of modules beside it.
    let alone = test.program.path("alone");
    fs::copy(test.guest.kernel(), &alone).unwrap();
    let boot = |more: &[&str]| -> CommandOutput {
        let arguments = ["boot", IMAGE, "--print", "--accel=tcg", "--kernel", alone.to_str().unwrap()];
        let mut command = test.program.command(arguments.iter().chain(more));
        command.env("TMPDIR", &test.temporary).output().unwrap().into()
    };
    let answer = boot(&["--via=erofs"]);
    assert!(answer.status.success(), "{answer}");
    let note = answer.stderr.lines().next().unwrap();
    assert!(note.starts_with("no modules of Linux ") && note.contains("--modules DIR names its modules"), "{note}");
    for more in [&["--via=erofs", "--modules=none"][..], &["--via=cpio"]] {
        let answer = boot(more);
        assert!(answer.status.success() && !answer.stderr.contains("no modules"), "{more:?}: {answer}");
    }
}
