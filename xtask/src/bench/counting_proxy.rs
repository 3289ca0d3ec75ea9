//! A proxy on loopback that counts the bytes that a registry sends, and can limit the rate of each connection.

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

/// A proxy that runs until the process ends.
pub struct CountingProxy {
    address: SocketAddr,
    bytes: Arc<AtomicU64>,
}

impl CountingProxy {
    /// Starts a proxy that relays every connection to `upstream`.
    pub fn start(upstream: SocketAddr) -> Result<Self> {
        Self::listen(upstream, None)
    }

    /// Starts a proxy that limits each connection to `rate` bytes per second.
    pub fn limited(upstream: SocketAddr, rate: f64) -> Result<Self> {
        Self::listen(upstream, Some(rate))
    }

    fn listen(upstream: SocketAddr, rate: Option<f64>) -> Result<Self> {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?;
        let proxy = Self { address: listener.local_addr()?, bytes: Arc::default() };
        let bytes = Arc::clone(&proxy.bytes);
        thread::spawn(move || {
            for client in listener.incoming().flatten() {
                // Errors are ignored: the connection is closed, and its client reports that.
                let _ = relay(client, upstream, &bytes, rate);
            }
        });
        Ok(proxy)
    }

    /// Returns the address of the proxy.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Returns the number of bytes that the upstream has sent so far, including headers.
    pub fn bytes(&self) -> u64 {
        self.bytes.load(Ordering::Relaxed)
    }
}

fn relay(client: TcpStream, upstream: SocketAddr, bytes: &Arc<AtomicU64>, rate: Option<f64>) -> io::Result<()> {
    let server = TcpStream::connect(upstream)?;
    let (requests, answers, bytes) = (client.try_clone()?, server.try_clone()?, Arc::clone(bytes));
    thread::spawn(move || copy(requests, server, |_| ()));
    thread::spawn(move || {
        let mut limiter = rate.map(RateLimiter::new);
        copy(answers, client, |read| {
            bytes.fetch_add(read, Ordering::Relaxed);
            if let Some(limiter) = &mut limiter {
                limiter.wait_for(read);
            }
        })
    });
    Ok(())
}

/// Limits bytes to a rate. Idle time is not made up for.
struct RateLimiter {
    rate: f64,
    free: Instant,
}

impl RateLimiter {
    fn new(rate: f64) -> Self {
        Self { rate, free: Instant::now() }
    }

    /// Waits until this many more bytes may be sent.
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
