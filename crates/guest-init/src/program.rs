//! Finds a command as a shell does, and reports why one cannot run.

use std::ffi::OsStr;
use std::fs::{self, File};
use std::io::{self, Read};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use rustix::fs::{Access, access};
use rustix::io::Errno;

use crate::{Error, Result};

/// The number of bytes that identify a file: the ELF header up to its machine, or an interpreter line.
const HEAD: u64 = 256;

/// The machines (ELF `e_machine`) whose programs this kernel may be able to run.
#[cfg(target_arch = "x86_64")]
const MACHINES: [u16; 2] = [62, 3]; // EM_X86_64, EM_386
#[cfg(target_arch = "aarch64")]
const MACHINES: [u16; 2] = [183, 40]; // EM_AARCH64, EM_ARM

/// Returns the file of `command`: itself if it has a slash, or else the first executable file of that name in the
/// directories of `path`.
///
/// # Errors
/// - [`Error::CommandNotFound`] if there is no such file.
/// - [`Error::CommandNotExecutable`] if it cannot be executed.
pub(crate) fn find(command: &OsStr, path: &str) -> Result<PathBuf> {
    let found = |file: PathBuf| check_format(command, &file).map(|()| file);
    if command.as_bytes().contains(&b'/') {
        return match access_error(Path::new(command)) {
            None => found(command.into()),
            Some(Errno::NOENT | Errno::NOTDIR) => Err(not_found(command, "no such file".to_owned())),
            Some(fault) => Err(not_executable(command, io::Error::from(fault).to_string())),
        };
    }
    let mut denied = None;
    for directory in path.split(':') {
        // An empty entry means the working directory, by tradition.
        let file = Path::new(if directory.is_empty() { "." } else { directory }).join(command);
        match access_error(&file) {
            None => return found(file),
            Some(Errno::NOENT | Errno::NOTDIR) => {}
            Some(fault) => denied = denied.or(Some((file, fault))),
        }
    }
    match denied {
        Some((file, fault)) if !command.is_empty() => {
            Err(not_executable(command, format!("{}: {}", file.display(), io::Error::from(fault))))
        }
        _ => Err(not_found(command, format!("not found in PATH ({path})"))),
    }
}

/// Returns the error for a command that the kernel refused to execute.
pub(crate) fn exec_error(command: &OsStr, file: &Path, error: &io::Error) -> Error {
    match error.raw_os_error().map(Errno::from_raw_os_error) {
        // The file itself exists, so its interpreter is missing.
        Some(Errno::NOENT) => match interpreter(file) {
            Some(interpreter) => not_found(command, format!("its interpreter {interpreter} is not here")),
            None => not_found(command, "its loader (the ELF interpreter that it names) is not here".to_owned()),
        },
        _ => not_executable(command, error.to_string()),
    }
}

/// Returns the reason why `file` cannot be executed, if there is one.
fn access_error(file: &Path) -> Option<Errno> {
    let errno = |error: io::Error| Errno::from_io_error(&error).unwrap_or(Errno::IO);
    match fs::metadata(file) {
        Err(error) => Some(errno(error)),
        Ok(metadata) if metadata.is_dir() => Some(Errno::ISDIR),
        Ok(metadata) if !metadata.is_file() => Some(Errno::ACCESS),
        Ok(_) => access(file, Access::EXEC_OK).err(),
    }
}

/// Rejects files that the kernel would reject. Libcs pass such files to a shell, but container engines do not.
fn check_format(command: &OsStr, file: &Path) -> Result<()> {
    // An executable file may be unreadable. Then the kernel decides.
    let Ok(head) = head(file) else { return Ok(()) };
    if head.starts_with(b"#!") {
        return Ok(());
    }
    if !head.starts_with(b"\x7fELF") {
        return Err(not_executable(command, "neither an ELF program nor a script with #!".to_owned()));
    }
    let machine = head.get(18..20).and_then(|bytes| bytes.try_into().ok()).map(u16::from_le_bytes);
    if machine.is_some_and(|machine| !MACHINES.contains(&machine)) {
        return Err(not_executable(command, "built for another kind of processor".to_owned()));
    }
    Ok(())
}

fn head(file: &Path) -> io::Result<Vec<u8>> {
    let mut head = Vec::new();
    File::open(file)?.take(HEAD).read_to_end(&mut head)?;
    Ok(head)
}

/// Returns the program in the first line of a script.
fn interpreter(file: &Path) -> Option<String> {
    let head = head(file).ok()?;
    let line = head.strip_prefix(b"#!")?.split(|&byte| byte == b'\n').next()?;
    String::from_utf8_lossy(line).split_whitespace().next().map(str::to_owned)
}

fn not_found(command: &OsStr, reason: String) -> Error {
    Error::CommandNotFound { command: command.to_string_lossy().into_owned(), reason }
}

fn not_executable(command: &OsStr, reason: String) -> Error {
    Error::CommandNotExecutable { command: command.to_string_lossy().into_owned(), reason }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    fn file(directory: &Path, name: &str, mode: u32, bytes: &[u8]) -> PathBuf {
        let path = directory.join(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(&path, bytes).unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(mode)).unwrap();
        path
    }

    fn code(found: Result<PathBuf>) -> i32 {
        found.unwrap_err().exit_code()
    }

    #[test]
    fn the_first_executable_file_in_path_is_found() {
        let directory = tempfile::tempdir().unwrap();
        let root = directory.path();
        fs::create_dir_all(root.join("a/tool")).unwrap();
        file(root, "b/tool", 0o644, b"#!/bin/sh\n");
        let tool = file(root, "c/tool", 0o755, b"#!/bin/sh\n");
        let path = ["none", "a", "b", "c"].map(|name| root.join(name).display().to_string()).join(":");
        assert_eq!(find(OsStr::new("tool"), &path).unwrap(), tool);
        assert_eq!(find(tool.as_os_str(), "").unwrap(), tool);
    }

    #[test]
    fn not_found_is_127_and_not_executable_is_126() {
        let directory = tempfile::tempdir().unwrap();
        let root = directory.path();
        let plain = file(root, "plain", 0o644, b"#!/bin/sh\n");
        let other = file(root, "other", 0o755, b"text");
        let path = root.display().to_string();
        for name in ["none", "", "/none", "./none", "/etc/passwd/none"] {
            assert_eq!(code(find(OsStr::new(name), &path)), 127, "{name}");
        }
        for name in ["plain", "other", "/", plain.to_str().unwrap(), other.to_str().unwrap(), "/dev/null"] {
            assert_eq!(code(find(OsStr::new(name), &path)), 126, "{name}");
        }
    }

    #[test]
    fn programs_of_other_processors_are_refused() {
        let directory = tempfile::tempdir().unwrap();
        let mut elf = vec![0; 64];
        elf[..4].copy_from_slice(b"\x7fELF");
        elf[18] = 243; // EM_RISCV
        let file = file(directory.path(), "elf", 0o755, &elf);
        let error = find(file.as_os_str(), "").unwrap_err();
        assert!(error.to_string().ends_with("another kind of processor"), "{error}");
    }

    #[test]
    fn a_missing_interpreter_is_named() {
        let directory = tempfile::tempdir().unwrap();
        let script = file(directory.path(), "script", 0o755, b"#! /bin/none -e\necho\n");
        let error = exec_error(OsStr::new("script"), &script, &Errno::NOENT.into());
        assert_eq!(error.to_string(), "script: its interpreter /bin/none is not here");
        assert_eq!(error.exit_code(), 127);
        assert_eq!(exec_error(OsStr::new("x"), &script, &Errno::NOEXEC.into()).exit_code(), 126);
    }
}
