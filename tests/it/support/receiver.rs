//! A web server that alerts are posted to, and that answers as a test wants it to.
//!
//! It listens on a port of the system's choice and keeps every request; each connection has a
//! thread and carries one request. With TLS it shows the certificate of `localhost` in `tls/`.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::{Arc, Mutex, MutexGuard};

use rustls::crypto::ring;
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::{ServerConfig, ServerConnection, StreamOwned};
use serde_json::Value;

use super::sidecar::{LIMIT, wait_until};

/// What a request gets.
#[derive(Clone, Debug)]
pub enum Answer {
    /// An empty answer with this status.
    Status(u16),
    /// The request is to be made there.
    Elsewhere(String),
    /// Nothing, for as long as the other side waits.
    Never,
}

/// A request that came.
#[derive(Clone, Debug)]
pub struct Request {
    /// The request line and the headers.
    pub head: String,
    /// What was posted.
    pub body: Value,
}

/// A running server. Its port is closed when it is dropped.
pub struct Receiver {
    address: SocketAddr,
    shared: Arc<Shared>,
}

struct Shared {
    state: Mutex<State>,
    answer: Box<dyn Fn(usize) -> Answer + Send + Sync>,
    tls: Option<Arc<ServerConfig>>,
}

#[derive(Default)]
struct State {
    came: Vec<Request>,
    is_closed: bool,
}

impl Receiver {
    /// Answers 200 to all.
    pub fn start() -> Self {
        Self::answering(|_| Answer::Status(200))
    }

    /// Answers each request by its number, counted from 0.
    pub fn answering(answer: impl Fn(usize) -> Answer + Send + Sync + 'static) -> Self {
        Self::listen(Box::new(answer), None)
    }

    /// Answers 200 to all that trust the authority in `tls/ca.crt`.
    pub fn with_tls() -> Self {
        let chain = CertificateDer::from_pem_slice(include_bytes!("tls/server.crt"));
        let key = PrivateKeyDer::from_pem_slice(include_bytes!("tls/server.key"));
        let config = ServerConfig::builder_with_provider(Arc::new(ring::default_provider()))
            .with_safe_default_protocol_versions()
            .expect("ring knows all versions")
            .with_no_client_auth()
            .with_single_cert(vec![chain.expect("a certificate")], key.expect("a key"))
            .expect("they belong together");
        Self::listen(Box::new(|_| Answer::Status(200)), Some(Arc::new(config)))
    }

    fn listen(
        answer: Box<dyn Fn(usize) -> Answer + Send + Sync>,
        tls: Option<Arc<ServerConfig>>,
    ) -> Self {
        let listener = TcpListener::bind(("127.0.0.1", 0)).expect("bind the receiver");
        let address = listener.local_addr().expect("ask for the receiver's address");
        let shared = Arc::new(Shared { state: Mutex::default(), answer, tls });
        let accepting = Arc::clone(&shared);
        std::thread::spawn(move || accepting.accept(&listener));
        Self { address, shared }
    }

    /// `host:port` as a client names it.
    pub fn authority(&self) -> String {
        format!("localhost:{}", self.address.port())
    }

    /// What came so far.
    pub fn came(&self) -> Vec<Request> {
        self.shared.lock().came.clone()
    }

    /// The alerts that came so far, as `severity kind`.
    pub fn kinds(&self) -> Vec<String> {
        let shown = |request: &Request| {
            let word = |key: &str| request.body[key].as_str().unwrap_or("?").to_owned();
            format!("{} {}", word("severity"), word("kind"))
        };
        self.came().iter().map(shown).collect()
    }

    /// Waits for the first alert of a kind; fails the test if none comes.
    pub fn await_kind(&self, kind: &str) -> Value {
        let found = wait_until(LIMIT, || {
            let mut came = self.came().into_iter();
            came.find(|request| request.body["kind"] == kind).map(|request| request.body)
        });
        found.unwrap_or_else(|| panic!("no {kind} came, only {:?}", self.kinds()))
    }
}

impl Drop for Receiver {
    fn drop(&mut self) {
        self.shared.lock().is_closed = true;
        // Wakes the accepting thread, which then sees that it is closed.
        let _woken = TcpStream::connect(self.address);
    }
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().expect("no thread panics while it holds the lock")
    }

    fn accept(self: Arc<Self>, listener: &TcpListener) {
        for stream in listener.incoming() {
            if self.lock().is_closed {
                return;
            }
            let Ok(stream) = stream else { continue };
            let shared = Arc::clone(&self);
            std::thread::spawn(move || {
                // A client that goes away is its own affair.
                let _ended = match &shared.tls {
                    None => shared.serve(stream),
                    Some(config) => {
                        let session = ServerConnection::new(Arc::clone(config));
                        shared.serve(StreamOwned::new(session.expect("a configuration"), stream))
                    }
                };
            });
        }
    }

    fn serve(&self, mut stream: impl Read + Write) -> std::io::Result<()> {
        let Some(request) = read(&mut stream)? else { return Ok(()) };
        let number = {
            let mut state = self.lock();
            state.came.push(request);
            state.came.len() - 1
        };
        let more = match (self.answer)(number) {
            Answer::Status(status) => format!("{status} Told"),
            Answer::Elsewhere(url) => format!("302 Found\r\nLocation: {url}"),
            Answer::Never => return until_it_hangs_up(&mut stream),
        };
        write!(stream, "HTTP/1.1 {more}\r\nContent-Length: 0\r\nConnection: close\r\n\r\n")?;
        stream.flush()
    }
}

fn until_it_hangs_up(stream: &mut impl Read) -> std::io::Result<()> {
    let mut buffer = [0; 4096];
    while 0 < stream.read(&mut buffer)? {}
    Ok(())
}

/// One request with a body of a length that is said; `None` if the line ends before, or if what
/// comes is no such request.
fn read(stream: &mut impl Read) -> std::io::Result<Option<Request>> {
    let mut bytes = Vec::new();
    let mut buffer = [0; 4096];
    loop {
        if bytes.iter().zip(b"POST ").any(|(found, wanted)| found != wanted) {
            return Ok(None);
        }
        let text = String::from_utf8_lossy(&bytes);
        if let Some((head, body)) = text.split_once("\r\n\r\n") {
            let length = head.lines().find_map(|line| {
                let (name, value) = line.split_once(':')?;
                let is_length = name.eq_ignore_ascii_case("content-length");
                is_length.then(|| value.trim().parse::<usize>().expect("a number"))
            });
            if length.expect("alerts are posted with their length") <= body.len() {
                let body = serde_json::from_str(body).expect("alerts are JSON");
                return Ok(Some(Request { head: head.to_owned(), body }));
            }
        }
        match stream.read(&mut buffer)? {
            0 => return Ok(None),
            read => bytes.extend(&buffer[..read]),
        }
    }
}
