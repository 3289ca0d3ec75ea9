//! Debian's `docker-registry` on loopback, over a directory that outlives it.

use std::{
    fs,
    net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream},
    path::Path,
    process::{Child, Command, Stdio},
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context, Result, bail};

const START_LIMIT: Duration = Duration::from_secs(10);

/// A running registry; dropping it ends the process and leaves its storage.
pub struct Registry {
    process: Child,
    address: SocketAddr,
}

impl Registry {
    /// Serves `directory/registry` over plain http on a free port.
    pub fn start(directory: &Path) -> Result<Self> {
        let address = free_address()?;
        let configuration = directory.join("registry.yml");
        let storage = directory.join("registry");
        fs::create_dir_all(&storage)?;
        fs::write(&configuration, configuration_text(&storage, address))?;
        let log = fs::File::create(directory.join("registry.log"))?;
        let process = Command::new("docker-registry")
            .arg("serve")
            .arg(&configuration)
            .stdin(Stdio::null())
            .stdout(log.try_clone()?)
            .stderr(log)
            .spawn()
            .context("cannot start docker-registry")?;
        let mut registry = Self { process, address };
        registry.wait_until_it_answers()?;
        Ok(registry)
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// The reference of an image in it, `127.0.0.1:PORT/NAME:latest`.
    pub fn reference(&self, name: &str) -> String {
        format!("{}/{name}:latest", self.address)
    }

    fn wait_until_it_answers(&mut self) -> Result<()> {
        let start = Instant::now();
        while TcpStream::connect(self.address).is_err() {
            if let Some(status) = self.process.try_wait()? {
                bail!("docker-registry ended at once: {status}");
            }
            if start.elapsed() > START_LIMIT {
                bail!("docker-registry does not listen on {} after {START_LIMIT:?}", self.address);
            }
            thread::sleep(Duration::from_millis(20));
        }
        Ok(())
    }
}

impl Drop for Registry {
    fn drop(&mut self) {
        // It may have ended by itself; there is nobody to tell.
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

/// An address that was free a moment ago: docker-registry does not say which port it got when asked for any.
fn free_address() -> Result<SocketAddr> {
    Ok(TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?.local_addr()?)
}

fn configuration_text(storage: &Path, address: SocketAddr) -> String {
    format!(
        "version: 0.1\n\
         log:\n  level: error\n  accesslog:\n    disabled: true\n\
         storage:\n  filesystem:\n    rootdirectory: {}\n\
         http:\n  addr: {address}\n",
        storage.display()
    )
}
