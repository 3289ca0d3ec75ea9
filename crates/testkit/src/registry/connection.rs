//! Serves one connection: reads requests, and writes the answers with the faults of the rules.

use std::io::{self, BufReader, Read, Write};
use std::net::TcpStream;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::thread;

use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::{ServerConfig, ServerConnection, StreamOwned};

use super::message::{Request, Response};
use super::{Shared, routes};

const CERTIFICATE: &[u8] = include_bytes!("tls/server.pem");
const KEY: &[u8] = include_bytes!("tls/server.key");

/// The answer of a TLS registry to a client that uses plain HTTP.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PlainAnswer {
    /// `400 Bad Request` in plain HTTP, as from Go's servers.
    BadRequest,
    /// A TLS alert, as from OpenSSL.
    Alert,
    /// The connection is closed.
    Close,
}

#[derive(Clone)]
pub(super) struct Tls {
    config: Arc<ServerConfig>,
    answer: PlainAnswer,
}

impl Tls {
    pub(super) fn new(answer: PlainAnswer) -> Self {
        let certificate = CertificateDer::from_pem_slice(CERTIFICATE).expect("the certificate is a good one");
        let key = PrivateKeyDer::from_pem_slice(KEY).expect("the key is a good one");
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let config = ServerConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .expect("ring has the default protocol versions")
            .with_no_client_auth()
            .with_single_cert(vec![certificate], key)
            .expect("the key belongs to the certificate");
        Self { config: Arc::new(config), answer }
    }
}

/// Serves a connection until it ends.
pub(super) fn serve(mut stream: TcpStream, shared: &Shared, tls: Option<&Tls>) -> io::Result<()> {
    stream.set_nodelay(true)?;
    let Some(tls) = tls else { return converse(stream, shared) };
    const HANDSHAKE: u8 = 22;
    let mut first = [0];
    if stream.peek(&mut first)? == 1 && first[0] != HANDSHAKE {
        let answer: &[u8] = match tls.answer {
            PlainAnswer::BadRequest => {
                b"HTTP/1.0 400 Bad Request\r\n\r\nClient sent an HTTP request to an HTTPS server.\n"
            }
            PlainAnswer::Alert => &[21, 3, 1, 0, 2, 2, 70],
            PlainAnswer::Close => &[],
        };
        // The request is read first: closing a socket with unread bytes resets the connection and may discard the
        // answer.
        let mut request = [0; 4096];
        let _ = stream.read(&mut request)?;
        return stream.write_all(answer);
    }
    let session = ServerConnection::new(Arc::clone(&tls.config)).map_err(io::Error::other)?;
    converse(StreamOwned::new(session, stream), shared)
}

fn converse(stream: impl Read + Write, shared: &Shared) -> io::Result<()> {
    let mut reader = BufReader::new(stream);
    while let Some(request) = Request::read(&mut reader)? {
        let busy = shared.busy.fetch_add(1, Ordering::SeqCst) + 1;
        shared.max_busy.fetch_max(busy, Ordering::SeqCst);
        let head = request.clone();
        let sent = routes::answer(request, &mut reader, shared).and_then(|mut response| {
            response.head = head.method == "HEAD";
            let sent = send(&response, reader.get_mut())?;
            if response.wire.drain {
                // Closing a socket with unread bytes may discard the answer.
                head.read_body(&mut reader, u64::MAX, &mut io::sink());
            }
            Ok(sent && !response.wire.drain)
        });
        shared.busy.fetch_sub(1, Ordering::SeqCst);
        if !sent? {
            return Ok(());
        }
    }
    Ok(())
}

/// Writes an answer. Returns false if the connection ends with it.
fn send(response: &Response, stream: &mut impl Write) -> io::Result<bool> {
    let wire = &response.wire;
    thread::sleep(wire.delay);
    if let Some(raw) = &wire.raw {
        stream.write_all(raw)?;
        stream.flush()?;
        return Ok(false);
    }
    let mut head = format!("HTTP/1.1 {} As told\r\n", response.status);
    for (name, value) in &response.headers {
        head.push_str(&format!("{name}: {value}\r\n"));
    }
    if wire.chunked {
        head.push_str("Transfer-Encoding: chunked\r\n");
    } else if wire.no_length {
        head.push_str("Connection: close\r\n");
    } else if !response.has("Content-Length") {
        head.push_str(&format!("Content-Length: {}\r\n", response.range.1));
    }
    head.push_str("\r\n");
    stream.write_all(head.as_bytes())?;
    let complete = response.head || send_body(response, stream)?;
    stream.flush()?;
    Ok(complete && !wire.no_length && !wire.close && honest_length(response))
}

/// Returns whether the client can find the start of the next answer.
fn honest_length(response: &Response) -> bool {
    let said = response.headers.iter().find(|(name, _)| name.eq_ignore_ascii_case("Content-Length"));
    said.is_none_or(|(_, value)| *value == response.range.1.to_string())
}

/// Writes the body. Returns false if it was cut.
fn send_body(response: &Response, stream: &mut impl Write) -> io::Result<bool> {
    let wire = &response.wire;
    let (start, length) = response.range;
    let allowed = wire.cut_after.unwrap_or(length).min(length);
    let (piece, pause) = wire.slow.map_or((1 << 17, None), |(size, pause)| (size.max(1), Some(pause)));
    let mut reader = response.body.reader(start)?.take(allowed);
    let mut buffer = vec![0; piece];
    loop {
        let count = reader.read(&mut buffer)?;
        if count == 0 {
            break;
        }
        if wire.chunked {
            write!(stream, "{count:x}\r\n")?;
        }
        stream.write_all(&buffer[..count])?;
        if wire.chunked {
            stream.write_all(b"\r\n")?;
        }
        if let Some(pause) = pause {
            stream.flush()?;
            thread::sleep(pause);
        }
    }
    if wire.cut_after.is_some() {
        stream.flush()?;
        thread::sleep(wire.stall);
        return Ok(false);
    }
    if wire.chunked {
        stream.write_all(b"0\r\n\r\n")?;
    }
    Ok(true)
}
