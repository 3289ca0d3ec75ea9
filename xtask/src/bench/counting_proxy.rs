//! A relay on loopback: counts the bytes that a registry sends, and can limit each connection.

use std::{
    io::{self, Read, Write},
    net::{Ipv4Addr, Shutdown, SocketAddr, TcpListener, TcpStream},
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    thread,
    time::{Duration, Instant},
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
        Self::listen(upstream, None)
    }

    /// The same, giving each connection this many bytes a second.
    pub fn limited(upstream: SocketAddr, rate: f64) -> Result<Self> {
        Self::listen(upstream, Some(rate))
    }

    fn listen(upstream: SocketAddr, rate: Option<f64>) -> Result<Self> {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?;
        let proxy = Self { address: listener.local_addr()?, bytes: Arc::default() };
        let bytes = Arc::clone(&proxy.bytes);
        thread::spawn(move || {
            for client in listener.incoming().flatten() {
                // A connection that cannot be relayed is closed; its client says so.
                let _ = relay(client, upstream, &bytes, rate);
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

fn relay(client: TcpStream, upstream: SocketAddr, bytes: &Arc<AtomicU64>, rate: Option<f64>) -> io::Result<()> {
    let server = TcpStream::connect(upstream)?;
    let (requests, answers, bytes) = (client.try_clone()?, server.try_clone()?, Arc::clone(bytes));
    thread::spawn(move || copy(requests, server, |_| ()));
    thread::spawn(move || {
        let mut pace = rate.map(Pace::new);
        copy(answers, client, |read| {
            bytes.fetch_add(read, Ordering::Relaxed);
            if let Some(pace) = &mut pace {
                pace.wait_for(read);
            }
        })
    });
    Ok(())
}

/// Keeps bytes to a rate; time in which none came is not made up for.
struct Pace {
    rate: f64,
    free: Instant,
}

impl Pace {
    fn new(rate: f64) -> Self {
        Self { rate, free: Instant::now() }
    }

    /// Waits until so many bytes more may go.
    fn wait_for(&mut self, bytes: u64) {
        let now = Instant::now();
        self.free = self.free.max(now) + Duration::from_secs_f64(bytes as f64 / self.rate);
        thread::sleep(self.free - now);
    }
}

fn copy(mut from: TcpStream, mut to: TcpStream, mut count: impl FnMut(u64)) -> io::Result<()> {
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
