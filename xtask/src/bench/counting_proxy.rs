//! Counts what a registry sends: a relay on loopback.

use std::{
    io::{self, Read, Write},
    net::{Ipv4Addr, Shutdown, SocketAddr, TcpListener, TcpStream},
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    thread,
};

use anyhow::Result;

/// A relay that runs until the process ends.
pub struct CountingProxy {
    address: SocketAddr,
    bytes: Arc<AtomicU64>,
}

impl CountingProxy {
    /// Relays every connection to `upstream`.
    pub fn start(upstream: SocketAddr) -> Result<Self> {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?;
        let proxy = Self { address: listener.local_addr()?, bytes: Arc::default() };
        let bytes = Arc::clone(&proxy.bytes);
        thread::spawn(move || {
            for client in listener.incoming().flatten() {
                // A connection that cannot be relayed is closed; its client says so.
                let _ = relay(client, upstream, &bytes);
            }
        });
        Ok(proxy)
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// What the upstream sent so far, headers included.
    pub fn bytes(&self) -> u64 {
        self.bytes.load(Ordering::Relaxed)
    }
}

fn relay(client: TcpStream, upstream: SocketAddr, bytes: &Arc<AtomicU64>) -> io::Result<()> {
    let server = TcpStream::connect(upstream)?;
    let (requests, answers, bytes) = (client.try_clone()?, server.try_clone()?, Arc::clone(bytes));
    thread::spawn(move || copy(requests, server, |_| ()));
    thread::spawn(move || copy(answers, client, |read| _ = bytes.fetch_add(read, Ordering::Relaxed)));
    Ok(())
}

fn copy(mut from: TcpStream, mut to: TcpStream, count: impl Fn(u64)) -> io::Result<()> {
    let mut buffer = [0; 64 << 10];
    loop {
        let read = from.read(&mut buffer)?;
        if read == 0 {
            return to.shutdown(Shutdown::Write);
        }
        count(read as u64);
        to.write_all(&buffer[..read])?;
    }
}
