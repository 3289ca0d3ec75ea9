//! Debian's `docker-registry` on loopback, with storage that is kept.

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

/// A running registry. Dropping it ends the process and keeps its storage.
pub struct Registry {
    process: Child,
    address: SocketAddr,
}

impl Registry {
    /// Serves `directory/registry` by plain HTTP on a free port.
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

    /// Returns the registry's address.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Returns the reference of an image: `127.0.0.1:PORT/NAME:latest`.
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
        // Errors are ignored: it may have ended by itself.
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

/// Returns a free address. docker-registry cannot choose a port itself, because it does not report the chosen one.
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
