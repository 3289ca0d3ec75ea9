//! Completion of command lines, as bash asks for it.

use std::fs;
use std::os::unix::fs::symlink;
use std::process::Command;

use vmroot_testkit::image::docker_archive::{self, Layout};
use vmroot_testkit::registry::Registry;
use vmroot_testkit::skip;

use crate::program::Program;
use crate::samples::image;

/// Completes each line, and prints the candidates between bars.
const SCRIPT: &str = r#"
source <(vmroot completions bash) || exit
while IFS= read -r line; do
    read -ra COMP_WORDS <&3
    [[ $line == *' ' ]] && COMP_WORDS+=('')
    COMP_LINE=$line COMP_POINT=${#line} COMP_CWORD=$((${#COMP_WORDS[@]} - 1))
    _vmroot_complete vmroot "${COMP_WORDS[COMP_CWORD]}" "${COMP_WORDS[COMP_CWORD - 1]}"
    (IFS='|'; printf '%s\n' "${COMPREPLY[*]}")
done
"#;

/// Splits a line as bash does: at blanks, and before and after separators.
fn words(line: &str) -> String {
    let mut words = String::new();
    for letter in line.chars() {
        let is_separator = |letter: char| letter == ':' || letter == '=';
        let follows_separator = words.chars().next_back().is_some_and(is_separator);
        let follows_blank = words.chars().next_back().is_none_or(|last| last == ' ');
        if is_separator(letter) != follows_separator && !follows_blank && letter != ' ' {
            words.push(' ');
        }
        words.push(letter);
    }
    words
}

/// Returns the candidates for each line. The program must print nothing to standard error.
fn complete(program: &Program, lines: &[&str]) -> Vec<Vec<String>> {
    let programs = program.path("bin");
    fs::create_dir_all(&programs).unwrap();
    let _ = symlink(env!("CARGO_BIN_EXE_vmroot"), programs.join("vmroot"));
    let (given, split) = (lines.join("\n") + "\n", lines.iter().map(|line| words(line) + "\n").collect::<String>());
    let lines_file = program.file("lines", given);
    let words_file = program.file("words", split);
    let script =
        program.file("script", format!("exec < {} 3< {}\n{SCRIPT}", lines_file.display(), words_file.display()));
    let path = format!("{}:{}", programs.display(), std::env::var("PATH").unwrap());
    let mut command = Command::new("bash");
    command.env_clear().env("PATH", path).env("HOME", program.path(".")).env("VMROOT_CACHE", program.cache());
    let output = command.current_dir(program.path(".")).arg(&script).output().unwrap();
    assert!(output.stderr.is_empty() && output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let text = String::from_utf8(output.stdout).unwrap();
    let candidates = |line: &str| line.split('|').filter(|it| !it.is_empty()).map(str::to_owned).collect();
    let found: Vec<Vec<String>> = text.lines().map(candidates).collect();
    assert_eq!(found.len(), lines.len(), "{text}");
    found
}

#[test]
fn bash_completes_what_the_cache_has() {
    if skip::needs_program("bash") {
        return;
    }
    let program = Program::new();
    let image = image("amd64");
    let archive = docker_archive::write(&[(&image, &["demo:v1", "demo:v2", "team/app:1"])], Layout::Docker25);
    let archive = program.file("demo.tar", archive);
    program.ok(["load".as_ref(), archive.as_os_str(), "--arch=amd64".as_ref()]);
    program.ok(["lease", "create", "--id", "build-7", "demo:v1", "--arch=amd64"]);
    let other = program.path("other").display().to_string();
    let digits = image.config_digest.hex();
    let own = format!("vmroot ls {}", &digits[..5]);
    let elsewhere = format!("vmroot --cache {other} ls dem");
    let after_cache = format!("vmroot --cache {} cat demo:v1 etc/m", program.cache().display());
    let cases: Vec<(&str, Vec<&str>)> = vec![
        ("vmroot ls dem", vec!["demo:v1", "demo:v2"]),
        ("vmroot ls demo:", vec!["v1", "v2"]),
        ("vmroot rm demo:v1 te", vec!["team/app:1"]),
        (&own, vec![&digits[..12]]),
        ("vmroot copy vmroot:demo:v", vec!["v1", "v2"]),
        ("vmroot copy oci-a", vec!["oci-archive:"]),
        ("vmroot ls docker-archive:dem", vec!["demo.tar"]),
        ("vmroot cat demo:v1 /et", vec!["/etc/"]),
        ("vmroot cat demo:v1 /etc/m", vec!["/etc/motd"]),
        ("vmroot cat demo:v1 /etc/motd usr/b", vec!["usr/bin/"]),
        ("vmroot ls -l demo:v1 bin/to", vec!["bin/tool"]),
        ("vmroot ls demo:v1 /etc /usr/b", vec!["/usr/bin/"]),
        (&after_cache, vec!["etc/motd"]),
        ("vmroot cp demo:v1:/etc/mo", vec!["/etc/motd"]),
        ("vmroot cp demo:v1:/etc/motd demo.t", vec!["demo.tar"]),
        ("vmroot lease release ", vec!["build-7"]),
        ("vmroot export demo:v1 out --format=erofs", vec!["erofs", "erofs-meta"]),
        ("vmroot gc --dang", vec!["--dangling"]),
        // Nothing is fetched, and what is absent completes nothing.
        ("vmroot cat localhost:1/none /", vec![]),
        ("vmroot cat demo:v1 /no/such/", vec![]),
        ("vmroot gc --plain", vec![]),
        (&elsewhere, vec![]),
        ("vmroot umount /no/su", vec![]),
    ];
    let lines: Vec<&str> = cases.iter().map(|(line, _)| *line).collect();
    for ((line, expected), found) in cases.iter().zip(complete(&program, &lines)) {
        let without_options: Vec<_> = found.iter().filter(|it| !it.starts_with('-') || line.contains(" --")).collect();
        assert_eq!(without_options, expected.iter().collect::<Vec<_>>(), "{line}");
    }
    assert!(!std::path::Path::new(&other).exists(), "a completion makes no cache");
}

#[test]
fn a_completion_of_a_damaged_or_missing_cache_is_silent() {
    if skip::needs_program("bash") {
        return;
    }
    let program = Program::new();
    assert!(complete(&program, &["vmroot ls demo", "vmroot lease release x", "vmroot cat demo:v1 /"])[0].is_empty());
    assert!(!program.cache().exists());
    fs::write(program.cache(), "not a directory").unwrap();
    assert!(complete(&program, &["vmroot ls demo"])[0].is_empty());
}

#[test]
fn every_shell_has_a_script() {
    let program = Program::new();
    for shell in ["bash", "zsh", "fish", "elvish", "powershell"] {
        let script = program.ok(["completions", shell]);
        assert!(script.contains("VMROOT_COMPLETE") && script.contains("vmroot"), "{shell}: {script}");
    }
    program.fails(2, ["completions", "tcsh"]);
}

/// The other shells name the words in the same way, and print a description beside each candidate.
#[test]
fn zsh_and_fish_show_the_platforms_of_an_image() {
    let program = Program::new();
    let archive = docker_archive::write(&[(&image("amd64"), &["demo:v1"])], Layout::Docker25);
    let archive = program.file("demo.tar", archive);
    program.ok(["load".as_ref(), archive.as_os_str(), "--arch=amd64".as_ref()]);
    for (shell, expected) in [("zsh", "demo\\:v1:linux/amd64"), ("fish", "demo:v1\tlinux/amd64")] {
        let mut command = program.command(["--", "vmroot", "ls", "dem"]);
        let output = command.env("VMROOT_COMPLETE", shell).env("_CLAP_COMPLETE_INDEX", "2").output().unwrap();
        assert!(output.stderr.is_empty(), "{shell}");
        assert_eq!(String::from_utf8(output.stdout).unwrap().trim_end(), expected, "{shell}");
    }
}

/// Each command that has the options of registries sends requests, and no other one does.
#[test]
fn commands_with_registry_options_send_requests() {
    const IMAGE: &str = "IMAGE";
    const HASH: &str = "0000000000000000000000000000000000000000000000000000000000000000";
    let arguments: &[(&str, &[&str])] = &[
        ("pull", &[IMAGE]),
        ("load", &["/dev/null"]),
        ("save", &[IMAGE]),
        ("commit", &[IMAGE, "--change=USER x"]),
        ("copy", &["docker://IMAGE", "dir:copy"]),
        ("sync", &["--src=docker", "--dest=dir", IMAGE, "copy"]),
        ("images", &[IMAGE]),
        ("inspect", &[IMAGE]),
        ("config", &[IMAGE]),
        ("history", &[IMAGE]),
        ("diff", &[IMAGE, IMAGE]),
        ("why", &[IMAGE, "/x"]),
        ("ls", &[IMAGE]),
        ("cat", &[IMAGE, "/x"]),
        ("stat", &[IMAGE, "/x"]),
        ("readlink", &[IMAGE, "/x"]),
        ("resolve", &[IMAGE, "/x"]),
        ("cp", &["IMAGE:/x", "copy"]),
        ("mount", &[IMAGE, "empty"]),
        ("umount", &["none"]),
        ("mounts", &[]),
        ("export", &[IMAGE, "out.tar"]),
        ("virtiofs", &[IMAGE, "--socket=socket"]),
        ("boot", &[IMAGE, "--kernel=kernel"]),
        ("tag", &[IMAGE, "other"]),
        ("untag", &[IMAGE]),
        ("rm", &[IMAGE]),
        ("gc", &[]),
        ("df", &[IMAGE]),
        ("lease create", &[IMAGE]),
        ("lease list", &[]),
        ("lease release", &["x"]),
        ("verify", &[]),
        ("login", &["HOST", "--username=x", "--password=y"]),
        ("logout", &["HOST"]),
        ("tags", &["REPOSITORY"]),
        ("list-tags", &["docker://REPOSITORY"]),
        ("repos", &["HOST"]),
        ("instances", &["REPOSITORY"]),
        ("digest", &[IMAGE]),
        ("referrers", &[IMAGE]),
        ("delete", &[IMAGE]),
        ("manifest-digest", &["/dev/null"]),
        ("registries explain", &[IMAGE]),
        ("policy explain", &[IMAGE, "--require-signed"]),
        ("policy check", &[IMAGE]),
        ("provenance", &[IMAGE]),
        ("sign", &[IMAGE, "--key=none"]),
        ("verify-signature", &[IMAGE, "--key=none"]),
        ("attest", &[IMAGE, "--key=none", "--predicate=none", "--type=spdxjson"]),
        ("attestations", &[IMAGE, "--key=none"]),
        ("standalone-sign", &["none", "x:1", "x", "-o", "signature"]),
        ("standalone-verify", &["none", "x:1", "x", "none"]),
        ("generate-sigstore-key", &["--output-prefix=none/key", "--passphrase-file=/dev/null"]),
        ("disk serve", &[IMAGE, "--nbd=none.socket"]),
        ("layer index", &["/dev/null"]),
        ("layer verify", &["/dev/null"]),
        ("layer dump", &["/dev/null"]),
        ("disk create", &["made.ext4", "--size=8M", "--from", IMAGE]),
        ("disk grow", &["/dev/null", "--size=8M"]),
        ("disk clone", &["/dev/null", "clone.ext4"]),
        ("disk info", &["/dev/null"]),
        ("disk ls", &["/dev/null"]),
        ("disk cat", &["/dev/null", "/x"]),
        ("verity format", &["/dev/null"]),
        ("verity verify", &[IMAGE, "disk", "disk.verity", HASH, "--format=ext4"]),
        ("verity dump", &["/dev/null"]),
        ("completions", &["bash"]),
        ("man", &["man"]),
    ];
    // `verify` sends requests for damaged blobs only, which other tests have. `registries explain` explains the options.
    // `boot` reads the kernel before all else, and the commands for signatures read the key.
    const WITHOUT_REQUEST: [&str; 8] =
        ["verify", "registries explain", "boot", "policy check", "sign", "verify-signature", "attest", "attestations"];
    let registry = Registry::start();
    let program = Program::new();
    fs::create_dir(program.path("empty")).unwrap();
    program.file("disk", [0; 4096]);
    program.ok(["verity", "format", &program.path("disk").display().to_string()]);
    let help = program.ok(["--help"]);
    let mut commands = 0;
    for line in help.lines().take_while(|line| *line != "Global options:").filter(|line| line.starts_with("  ")) {
        let name = line.trim_start().split("  ").next().unwrap();
        let Some((_, arguments)) = arguments.iter().find(|(known, _)| *known == name) else {
            panic!("this test has no arguments for {name}");
        };
        let verb: Vec<&str> = name.split(' ').collect();
        let has_options = program.ok(verb.iter().chain(&["--help"])).contains("--plain-http");
        let repository = format!("{}/none", registry.host());
        let fill = |word: &&str| {
            let word = word.replace("IMAGE", &format!("{repository}:1")).replace("HOST", &registry.host());
            word.replace("REPOSITORY", &repository)
        };
        let words = verb.iter().map(|word| (*word).to_owned()).chain(arguments.iter().map(fill));
        registry.clear_requests();
        let mut command = program.command(words.chain(has_options.then(|| "--retries=0".to_owned())));
        let answer: crate::program::CommandOutput = command.current_dir(program.path(".")).output().unwrap().into();
        assert_ne!(answer.status.code(), Some(2), "{name}: {answer}");
        let has_requested = !registry.requests().is_empty();
        assert_eq!(has_requested, has_options && !WITHOUT_REQUEST.contains(&name), "{name}: {answer}");
        commands += 1;
    }
    assert!(commands >= 47, "{commands}");
}
