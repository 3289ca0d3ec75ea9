//! GnuPG with a home of its own.

use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

use tempfile::TempDir;

/// A home of GnuPG. Its agent ends when the home is dropped.
pub(crate) struct Gnupg {
    home: TempDir,
}

impl Gnupg {
    pub(crate) fn new() -> Self {
        let home = tempfile::Builder::new().prefix("gnupg").tempdir().unwrap();
        // Passphrases are derived in a moment instead of a second.
        std::fs::write(home.path().join("gpg-agent.conf"), "s2k-count 65536\n").unwrap();
        Self { home }
    }

    pub(crate) fn home(&self) -> &Path {
        self.home.path()
    }

    pub(crate) fn command(&self) -> Command {
        let mut command = Command::new("gpg");
        command.env("LC_ALL", "C").arg("--homedir").arg(self.home());
        command.args(["--batch", "--yes", "--no-tty", "--quiet", "--pinentry-mode", "loopback", "--passphrase", ""]);
        command
    }

    /// Runs gpg and returns its output, also if it fails.
    pub(crate) fn try_run(&self, arguments: &[&str], input: &[u8]) -> Output {
        run(self.command().args(arguments), input)
    }

    /// Runs gpg and returns its standard output.
    pub(crate) fn run(&self, arguments: &[&str], input: &[u8]) -> Vec<u8> {
        let output = self.try_run(arguments, input);
        assert!(output.status.success(), "gpg {arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
        output.stdout
    }

    /// Makes a key and returns its fingerprint.
    pub(crate) fn generate(&self, user: &str, algorithm: &str, options: &[&str]) -> String {
        let arguments = [options, &["--quick-generate-key", user, algorithm, "sign", "never"]].concat();
        self.run(&arguments, b"");
        self.fingerprint(user)
    }

    /// Returns the fingerprint of the primary key of a user.
    pub(crate) fn fingerprint(&self, user: &str) -> String {
        let listing = String::from_utf8(self.run(&["--with-colons", "--list-keys", user], b"")).unwrap();
        let line = listing.lines().find(|line| line.starts_with("fpr:")).unwrap();
        line.split(':').nth(9).unwrap().to_owned()
    }

    /// Returns the certificate of a user.
    pub(crate) fn export(&self, user: &str) -> Vec<u8> {
        self.run(&["--export", user], b"")
    }

    /// Signs and returns the message.
    pub(crate) fn sign(&self, user: &str, options: &[&str], content: &[u8]) -> Vec<u8> {
        self.run(&[options, &["--local-user", user, "--sign"]].concat(), content)
    }

    /// Imports the revocation certificate that was made with a key.
    pub(crate) fn revoke(&self, fingerprint: &str) {
        let path = self.home().join("openpgp-revocs.d").join(format!("{fingerprint}.rev"));
        let text = std::fs::read_to_string(path).unwrap().replace(":-----BEGIN", "-----BEGIN");
        self.run(&["--import"], text.as_bytes());
    }
}

impl Drop for Gnupg {
    fn drop(&mut self) {
        let _ = Command::new("gpgconf").arg("--homedir").arg(self.home()).args(["--kill", "all"]).output();
    }
}

fn run(command: &mut Command, input: &[u8]) -> Output {
    let mut child =
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().expect("gpg is installed");
    let mut stdin = child.stdin.take().unwrap();
    let input = input.to_vec();
    let writer = std::thread::spawn(move || {
        let _ = stdin.write_all(&input);
    });
    let output = child.wait_with_output().unwrap();
    writer.join().unwrap();
    output
}

/// What GnuPG says of a message as containers/image asks it: the content and the primary key's fingerprint, if there is
/// exactly one signature and it is good. `time` is in seconds since 1970.
pub(crate) fn verdict(ring: &[u8], message: &[u8], time: u64) -> Option<(Vec<u8>, String)> {
    let judge = Gnupg::new();
    judge.try_run(&["--import"], ring);
    let time = format!("{time}!");
    let path: PathBuf = judge.home().join("message");
    std::fs::write(&path, message).unwrap();
    let arguments = ["--faked-system-time", &time, "--trust-model", "always", "--status-fd", "2", "--output", "-"];
    let output = judge.try_run(&[&arguments[..], &["--decrypt", path.to_str().unwrap()]].concat(), b"");
    let status = String::from_utf8_lossy(&output.stderr).into_owned();
    let lines = |word: &str| -> Vec<String> {
        let prefix = format!("[GNUPG:] {word} ");
        status.lines().filter(|line| line.starts_with(&prefix)).map(str::to_owned).collect()
    };
    let bad = ["BADSIG", "ERRSIG", "EXPSIG", "EXPKEYSIG", "REVKEYSIG", "NODATA", "UNEXPECTED"];
    let good = lines("GOODSIG").len() == 1 && lines("VALIDSIG").len() == 1 && bad.iter().all(|it| lines(it).is_empty());
    let fingerprint = lines("VALIDSIG").first()?.rsplit(' ').next()?.to_owned();
    (good && output.status.success()).then_some((output.stdout, fingerprint))
}
