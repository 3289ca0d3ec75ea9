//! `--init`: an init on top of an image, for the guest's kernel to start.

use std::fs::File;
use std::io::Read;
use std::path::{Path, PathBuf};

use anyhow::Context as _;
use clap::Args;
use vmroot::{Platform, RuntimeConfig, Top, guest};

use crate::exit::TooLong;

/// The largest program that `--init` accepts, in bytes. The program is held in memory.
const MAX_INIT: u64 = 64 << 20;

/// The option that puts an init on top of an image.
#[derive(Debug, Clone, Default, Args)]
#[command(next_help_heading = "On top of the image")]
pub(crate) struct InitArguments {
    /// Put an init at /sbin/vmroot-init, and its config at /etc/vmroot/config.json; without FILE, vmroot's own init
    #[arg(long, value_name = "FILE", num_args = 0..=1, require_equals = true)]
    init: Option<Option<PathBuf>>,
}

impl InitArguments {
    /// Fails if the program cannot be read, before an image is fetched.
    pub(crate) fn check(&self) -> anyhow::Result<()> {
        match &self.init {
            Some(Some(file)) => read_program(file).map(drop).with_context(|| format!("--init={}", file.display())),
            _ => Ok(()),
        }
    }

    /// Adds the init and its config to the top of an image with this config. They come first, so that an addition of
    /// the user at the same path replaces them.
    pub(crate) fn add_to(&self, mut top: Top, config: &RuntimeConfig) -> anyhow::Result<Top> {
        if let Some(file) = &self.init {
            let init = load_program(file.as_deref(), &config.architecture)?;
            // The guest resolves the user itself: a layer on top may change /etc/passwd.
            let config = guest::Config::new(config.clone());
            top.additions.splice(..0, guest::additions(&init, &config));
        }
        Ok(top)
    }
}

/// Returns the init for guests of an architecture, as an image spells it: the one in `file`, or else the built-in one.
pub(crate) fn load_program(file: Option<&Path>, architecture: &str) -> anyhow::Result<Vec<u8>> {
    let platform = if architecture.is_empty() { Ok(Platform::host()) } else { Platform::linux(architecture) };
    let architecture = platform.map_or_else(|_| architecture.to_owned(), |platform| platform.architecture);
    let Some(file) = file else {
        return Ok(guest::init_for(&architecture).map_err(vmroot::Error::from)?.to_vec());
    };
    let read = || -> anyhow::Result<Vec<u8>> {
        let bytes = read_program(file)?;
        guest::check_program(&bytes, &architecture).map_err(vmroot::Error::from)?;
        Ok(bytes)
    };
    read().with_context(|| format!("--init={}", file.display()))
}

/// Reads an init from a file.
pub(crate) fn read_program(file: &Path) -> anyhow::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    File::open(file)?.take(MAX_INIT + 1).read_to_end(&mut bytes)?;
    if bytes.len() as u64 > MAX_INIT {
        return Err(TooLong { limit: MAX_INIT }.into());
    }
    Ok(bytes)
}
