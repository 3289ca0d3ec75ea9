//! `cargo xtask demo`: the main job of vmroot for two architectures, as commands that can be copied.
//!
//! Each command is printed as a line for a shell, then runs, and its output follows. The lines name the program and the
//! cache, so that each works by itself, from the same directory and as long as `target/demo` exists.

use std::{
    env,
    ffi::OsString,
    fs,
    io::{self, BufRead, BufReader, Write},
    path::{Path, PathBuf},
    process::{Command, Stdio},
    time::Instant,
};

use crate::{
    error::{Context, Error, Result},
    guest, process,
    setup::{self, Purpose},
    workspace,
};

/// The architectures of the demo.
const ARCHITECTURES: [&str; 2] = ["arm64", "amd64"];

/// The layout with the image that is taken if none is named.
const LAYOUT: &str = "testdata/demo";

/// The number of lines that are shown of a command's output.
const LINES: usize = 12;

/// The seconds after which the guest is stopped. QEMU needs most of them if it translates the guest's instructions.
const TIMEOUT: &str = "300";

const HELP: &str = "\
Pull, mount, read, export and boot an image for two architectures, with every command shown

Usage: cargo xtask demo [--boot] [REFERENCE] [-- OPTIONS OF VMROOT]

Arguments:
  [REFERENCE]  An image for arm64 and amd64, such as alpine:3.20 [default: that of testdata/, which needs no network]
  -- OPTIONS   Options for vmroot, such as --ca-file FILE or --authfile FILE

Options:
      --boot   Also boot a guest on the image; installs QEMU and fetches Debian's kernel
  -h, --help   Print help
";

/// The command line of the demo.
#[derive(Debug, Default, PartialEq, Eq)]
struct Options {
    boot: bool,
    help: bool,
    reference: Option<String>,
    vmroot: Vec<String>,
}

impl Options {
    fn parse(arguments: &[OsString]) -> Result<Self> {
        let mut options = Self::default();
        let mut words = arguments.iter().map(|word| word.to_str().context("an argument is not UTF-8"));
        while let Some(word) = words.next().transpose()? {
            match word {
                "--" => options.vmroot = words.by_ref().map(|word| word.map(str::to_owned)).collect::<Result<_>>()?,
                "--boot" => options.boot = true,
                "--help" | "-h" => options.help = true,
                word if word.starts_with('-') => {
                    return Err(Error::new(format!("{word}: no option of the demo; options of vmroot follow `--`")));
                }
                word if options.reference.is_none() => options.reference = Some(word.to_owned()),
                word => return Err(Error::new(format!("{word}: the demo takes one reference"))),
            }
        }
        Ok(options)
    }
}

/// Runs the demo.
///
/// # Errors
/// The arguments are wrong, the build fails, or a command fails.
pub fn run(arguments: &[OsString]) -> Result<()> {
    let options = Options::parse(arguments)?;
    if options.help {
        return io::stdout().write_all(HELP.as_bytes()).context("standard output");
    }
    let image = options.reference.as_deref().unwrap_or("the image of testdata/");
    eprintln!("demo: builds vmroot, and takes {image} through its main commands, for {}:", ARCHITECTURES.join(" and "));
    eprintln!("pull, inspect, ls, mount, export{}.", if options.boot { ", and boot" } else { "" });
    let program = workspace::target().join("release/vmroot");
    if !program.exists() {
        eprintln!("The first build takes some minutes.");
    }
    process::run(workspace::cargo().args(["build", "--release", "--package", "vmroot-cli"]))?;
    setup::prepare(Purpose::Demo);
    if options.boot {
        setup::prepare(Purpose::Boot);
        guest::fetch(host())?;
    }
    let directory = workspace::target().join("demo");
    if directory.exists() {
        // A demo that was interrupted may have left mounts. A directory without a mount is an error that does not matter.
        for architecture in ARCHITECTURES {
            let point = directory.join(architecture).join("mnt");
            let _ = process::capture(Command::new(&program).arg("umount").arg(point));
        }
        fs::remove_dir_all(&directory).context(format!("cannot empty {}", directory.display()))?;
    }
    let here = env::current_dir().context("the working directory")?;
    println!("\nLines after $ are commands. Each can be copied, and works in {}.", here.display());
    let demo = Demo { directory, program, options: &options };
    let mut failed = Vec::new();
    for architecture in ARCHITECTURES {
        // The image may lack one of the architectures.
        if let Err(error) = demo.show(architecture) {
            println!("failed: {error}");
            failed.push(architecture);
        }
    }
    if !failed.is_empty() {
        return Err(Error::new(format!("the demo failed for {}", failed.join(" and "))));
    }
    println!("\nEverything is in {}.", workspace::shown(&demo.directory).display());
    if let Some(reason) = setup::missing_fuse() {
        println!("Not shown: mounts, because this machine lacks {reason}.");
    }
    if !options.boot {
        println!("`cargo xtask demo --boot` also boots a guest on the image; it installs QEMU and fetches a kernel.");
    }
    Ok(())
}

struct Demo<'a> {
    directory: PathBuf,
    program: PathBuf,
    options: &'a Options,
}

impl Demo<'_> {
    fn show(&self, architecture: &str) -> Result<()> {
        println!("\n# {architecture}");
        let id = self.pull(architecture)?;
        // Without the architecture, vmroot notes each time that the image is not for this machine.
        let image = ["--arch", architecture, &id];
        step(self.vmroot(&["inspect"]).args(image))?;
        step(self.vmroot(&["ls", "--long"]).args(image).arg("/"))?;
        let own = self.directory.join(architecture);
        let point = workspace::shown(&own.join("mnt"));
        step(command("mkdir", &["-p"]).arg(&point))?;
        if setup::missing_fuse().is_none() {
            self.mount(image, &point)?;
        }
        for (format, name) in
            [("erofs", "root.erofs"), ("ext4", "root.ext4"), ("tar", "root.tar"), ("prebaked", "prebaked")]
        {
            let out = workspace::shown(&own.join(name));
            step(self.vmroot(&["export"]).args(image).arg(&out).args(["--format", format]))?;
        }
        pipeline(&format!("du -sh {}/*", process::quoted(workspace::shown(&own))))?;
        if self.options.boot && architecture == host() {
            self.boot(image)?;
        }
        Ok(())
    }

    /// Pulls the image, and returns the beginning of its id.
    fn pull(&self, architecture: &str) -> Result<String> {
        let layout = workspace::shown(&workspace::root().join(LAYOUT));
        let reference = self.options.reference.clone().unwrap_or_else(|| format!("oci:{}", layout.display()));
        let printed = step(&mut self.vmroot(&["pull", "--arch", architecture, &reference]))?;
        let id = printed.trim().trim_start_matches("sha256:").get(..12);
        Ok(id.context(format!("vmroot pull printed {printed:?}"))?.to_owned())
    }

    fn mount(&self, image: [&str; 3], point: &Path) -> Result<()> {
        step(self.vmroot(&["mount", "--detach"]).args(image).arg(point))?;
        let mounted = step(command("ls", &["-l"]).arg(point)).and_then(|_| {
            // Every byte. The kernel applies the image's permissions to users of the mount.
            pipeline(&format!("{} | wc -c", process::text(command("tar", &["-cf", "-", "-C"]).arg(point).arg("."))))
        });
        step(self.vmroot(&["umount"]).arg(point))?;
        mounted.map(|_| ())
    }

    fn boot(&self, image: [&str; 3]) -> Result<()> {
        let guest = guest::directory().join(host());
        let mut boot = self.vmroot(&["boot"]);
        boot.args(image).args(["--timeout", TIMEOUT, "--kernel"]).arg(workspace::shown(&guest::kernel(host())?));
        boot.arg("--modules").arg(workspace::shown(&guest.join("lib/modules"))).args(["--via", "erofs"]);
        if self.options.reference.is_some() {
            // The command of an unknown image may never end.
            boot.args(["--entrypoint", "/bin/echo", "--", "hello from a guest"]);
        }
        step(&mut boot).map(|_| ())
    }

    /// Returns a command of vmroot that works from the caller's directory.
    fn vmroot(&self, arguments: &[&str]) -> Command {
        let mut vmroot = Command::new(workspace::shown(&self.program));
        vmroot.arg("--cache").arg(workspace::shown(&self.directory.join("cache")));
        vmroot.args(&self.options.vmroot).args(arguments);
        vmroot
    }
}

fn command(program: &str, arguments: &[&str]) -> Command {
    let mut command = Command::new(program);
    command.args(arguments);
    command
}

/// Prints a command, runs it, and prints its output and its time. Returns its output.
fn step(command: &mut Command) -> Result<String> {
    println!("\n$ {}", process::text(command));
    shown(command)
}

/// Like [`step`], for a line that only a shell can run.
fn pipeline(line: &str) -> Result<String> {
    println!("\n$ {line}");
    shown(Command::new("sh").args(["-c", line]))
}

/// Prints the first lines of a command's output as they come, and then the command's time.
fn shown(command: &mut Command) -> Result<String> {
    let start = Instant::now();
    let failed = format!("cannot run {}", process::text(command));
    let mut child = command.stdin(Stdio::null()).stdout(Stdio::piped()).spawn().context(&failed)?;
    let mut printed = String::new();
    let mut lines = 0;
    for line in child.stdout.take().map(BufReader::new).into_iter().flat_map(BufReader::lines) {
        let line = line.context(&failed)?;
        lines += 1;
        if lines <= LINES {
            println!("{line}");
        }
        printed += &line;
        printed.push('\n');
    }
    let status = child.wait().context(&failed)?;
    if lines > LINES {
        println!("(and {} more lines)", lines - LINES);
    }
    process::check_status(command, status, "")?;
    match start.elapsed().as_secs_f64() {
        seconds if seconds < 1.0 => println!("# {:.0} ms", seconds * 1e3),
        seconds => println!("# {seconds:.1} s"),
    }
    Ok(printed)
}

/// Returns this machine's architecture as images name it.
fn host() -> &'static str {
    match env::consts::ARCH {
        "aarch64" => "arm64",
        _ => "amd64",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(words: &[&str]) -> Result<Options> {
        Options::parse(&words.iter().map(OsString::from).collect::<Vec<_>>())
    }

    #[test]
    fn options_of_vmroot_follow_two_hyphens() {
        let options = parse(&["--boot", "alpine:3.20", "--", "--creds", "a:b"]).unwrap();
        let vmroot = vec!["--creds".to_owned(), "a:b".to_owned()];
        assert_eq!(options, Options { boot: true, help: false, reference: Some("alpine:3.20".into()), vmroot });
        assert!(parse(&["--creds", "a:b"]).unwrap_err().to_string().contains("--creds"));
        assert!(parse(&["one", "two"]).is_err());
    }

    #[test]
    fn a_failed_command_is_named() {
        let error = step(&mut command("sh", &["-c", "exit 3"])).unwrap_err().to_string();
        assert!(error.contains("sh -c 'exit 3'"), "{error}");
    }
}
