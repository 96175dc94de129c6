//! A line to PostgreSQL that can be cut at a chosen byte.
//!
//! A TCP proxy in front of a socket or a port, scripted by rules: *when* (so many bytes, or a
//! pattern, in one direction) and *what then* (cut before or after, delay, swallow). The most
//! telling moment of all is [`Rule::lose_commit_reply`]: PostgreSQL has committed and the client
//! will never know.
//!
//! Each connection has one thread per direction. It knows nothing of the protocol beyond the
//! patterns it is given; a pattern that is split between two reads is found all the same, and of
//! such a one the receiver gets only a beginning that it cannot act on.

use std::io::{self, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::os::unix::net::UnixStream;
use std::path::PathBuf;
use std::sync::{Arc, Condvar, Mutex, MutexGuard};
use std::time::{Duration, Instant};

/// PostgreSQL's answer to a COMMIT: `CommandComplete` with the tag COMMIT.
pub const COMMIT_REPLY: &[u8] = b"C\0\0\0\x0bCOMMIT\0";

/// Bytes per read. Small enough that a cut in mid-COPY has chunks before and after it.
const READ_BYTES: usize = 8 << 10;

/// Where the proxy connects to.
#[derive(Clone, Debug)]
pub enum Upstream {
    /// The socket itself, not its directory.
    Unix(PathBuf),
    /// An address.
    Tcp(SocketAddr),
}

/// Which way bytes travel.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Direction {
    /// From the client.
    ToServer,
    /// From PostgreSQL.
    ToClient,
}

/// When a rule acts.
#[derive(Clone, Debug)]
pub enum When {
    /// Once this many bytes have passed on one connection.
    Bytes(u64),
    /// When these bytes come by.
    Pattern(Vec<u8>),
    /// Once this many more bytes have passed after the pattern.
    BytesAfter(Vec<u8>, u64),
}

/// What a rule does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Act {
    /// Cuts both sides; the bytes that the rule waits for do not arrive.
    CutBefore,
    /// Lets those bytes arrive (a pattern to its last byte) and then cuts both sides.
    CutAfter,
    /// Holds what comes from here on back for this long, once.
    Delay(Duration),
    /// Keeps both sides open and lets nothing pass any more, in either direction.
    Blackhole,
}

/// One entry of the script. A rule acts once, on the first connection that it fits.
#[derive(Clone, Debug)]
pub struct Rule {
    /// Which bytes it looks at.
    pub direction: Direction,
    /// When it acts.
    pub when: When,
    /// What it does.
    pub act: Act,
}

impl Rule {
    /// PostgreSQL commits, and the line is cut before its answer arrives.
    pub fn lose_commit_reply() -> Self {
        let when = When::Pattern(COMMIT_REPLY.to_vec());
        Self { direction: Direction::ToClient, when, act: Act::CutBefore }
    }

    /// The line is cut before the simple query `sql` (written exactly so) reaches the server.
    pub fn lose_query(sql: &str) -> Self {
        let when = When::Pattern(query(sql));
        Self { direction: Direction::ToServer, when, act: Act::CutBefore }
    }

    /// The line is cut once `bytes` have followed the word that begins a COPY (written so).
    pub fn cut_in_copy(word: &str, bytes: u64) -> Self {
        let when = When::BytesAfter(word.as_bytes().to_vec(), bytes);
        Self { direction: Direction::ToServer, when, act: Act::CutBefore }
    }
}

/// A simple query as it travels: `Q`, length, text, NUL.
pub fn query(sql: &str) -> Vec<u8> {
    let len = u32::try_from(sql.len() + 5).expect("a query of a test is short");
    let mut message = vec![b'Q'];
    message.extend(len.to_be_bytes());
    message.extend(sql.as_bytes());
    message.push(0);
    message
}

/// What the proxy has seen.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    /// Connections accepted, those refused by [`Proxy::refuse`] included.
    pub connections: u64,
    /// Rules that have acted.
    pub fired: u64,
    /// Bytes passed on to the server.
    pub to_server: u64,
    /// Bytes passed on to the client.
    pub to_client: u64,
}

/// A running proxy. Dropping it cuts every connection and ends its threads.
pub struct Proxy {
    address: SocketAddr,
    shared: Arc<Shared>,
}

struct Shared {
    upstream: Upstream,
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Default)]
struct State {
    rules: Vec<Rule>,
    counts: Counts,
    lines: Vec<Arc<Line>>,
    is_refusing: bool,
    is_closed: bool,
}

/// One connection.
struct Line {
    client: TcpStream,
    server: Stream,
    is_swallowing: Mutex<bool>,
}

enum Stream {
    Unix(UnixStream),
    Tcp(TcpStream),
}

impl Proxy {
    /// Listens on a free port of the loopback interface.
    pub fn start(upstream: Upstream) -> Self {
        let listener = TcpListener::bind(("127.0.0.1", 0)).expect("bind the proxy");
        let address = listener.local_addr().expect("ask for the proxy's address");
        let state = Mutex::new(State::default());
        let shared = Arc::new(Shared { upstream, state, changed: Condvar::new() });
        let accepting = Arc::clone(&shared);
        std::thread::spawn(move || accepting.accept(&listener));
        Self { address, shared }
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// A URL through the proxy. Peer authentication then sees the test's own process.
    pub fn url(&self, user: &str, database: &str) -> String {
        format!("postgresql://{user}@{}/{database}?sslmode=disable", self.address)
    }

    /// Adds a rule to the script.
    pub fn add(&self, rule: Rule) {
        self.shared.lock().rules.push(rule);
    }

    /// Drops all rules that have not acted.
    pub fn clear(&self) {
        self.shared.lock().rules.clear();
    }

    /// From now on connections are (or are no longer) closed as soon as they are made.
    pub fn refuse(&self, is_refusing: bool) {
        self.shared.lock().is_refusing = is_refusing;
    }

    /// Cuts every connection there is.
    pub fn cut_all(&self) {
        self.shared.lock().lines.drain(..).for_each(|line| line.cut());
    }

    /// What has been seen so far.
    pub fn counts(&self) -> Counts {
        self.shared.lock().counts
    }

    /// Waits until `is_reached` holds, at most for `limit`; panics with the counts if it does not.
    pub fn wait_for(&self, limit: Duration, is_reached: impl Fn(&Counts) -> bool) -> Counts {
        let deadline = Instant::now() + limit;
        let mut state = self.shared.lock();
        while !is_reached(&state.counts) {
            let left = deadline.saturating_duration_since(Instant::now());
            if left.is_zero() {
                let counts = state.counts;
                // A panic under the lock would take every connection's thread with it.
                drop(state);
                panic!("the proxy waited in vain: {counts:?}");
            }
            let waited = self.shared.changed.wait_timeout(state, left);
            state = waited.expect("no thread panics while it holds the lock").0;
        }
        state.counts
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        self.shared.lock().is_closed = true;
        self.cut_all();
        // Wakes the accepting thread, which then sees that it is closed.
        let _woken = TcpStream::connect(self.address);
    }
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().expect("no thread panics while it holds the lock")
    }

    fn accept(self: Arc<Self>, listener: &TcpListener) {
        for client in listener.incoming() {
            let Ok(client) = client else { continue };
            let mut state = self.lock();
            if state.is_closed {
                return;
            }
            state.counts.connections += 1;
            self.changed.notify_all();
            if state.is_refusing {
                continue;
            }
            drop(state);
            // An upstream that is down looks to the client as it should: a closed connection.
            if let Ok(line) = self.open(client) {
                let line = Arc::new(line);
                self.lock().lines.push(Arc::clone(&line));
                for direction in [Direction::ToServer, Direction::ToClient] {
                    let (shared, line) = (Arc::clone(&self), Arc::clone(&line));
                    std::thread::spawn(move || {
                        // Either side's end, orderly or not, is the line's end.
                        let _ended = shared.pump(&line, direction);
                        line.cut();
                    });
                }
            }
        }
    }

    fn open(&self, client: TcpStream) -> io::Result<Line> {
        client.set_nodelay(true)?;
        let server = match &self.upstream {
            Upstream::Unix(path) => Stream::Unix(UnixStream::connect(path)?),
            Upstream::Tcp(address) => {
                let server = TcpStream::connect(address)?;
                server.set_nodelay(true)?;
                Stream::Tcp(server)
            }
        };
        Ok(Line { client, server, is_swallowing: Mutex::new(false) })
    }

    fn pump(&self, line: &Line, direction: Direction) -> io::Result<()> {
        let mut buffer = vec![0; READ_BYTES];
        let mut history = History::default();
        loop {
            let count = line.read(direction, &mut buffer)?;
            if count == 0 {
                return Ok(());
            }
            let bytes = &buffer[..count];
            let fired = self.fire(&mut history, direction, bytes);
            let passing = match fired {
                None => bytes,
                Some((Act::Delay(pause), _)) => {
                    std::thread::sleep(pause);
                    bytes
                }
                Some((Act::Blackhole, at)) => {
                    self.pass(line, direction, &bytes[..at.begin])?;
                    line.swallow();
                    &[]
                }
                Some((Act::CutBefore, at)) => {
                    return self.cut(line, direction, &bytes[..at.begin]);
                }
                Some((Act::CutAfter, at)) => {
                    return self.cut(line, direction, &bytes[..at.end]);
                }
            };
            history.extend(bytes);
            self.pass(line, direction, passing)?;
        }
    }

    fn cut(&self, line: &Line, direction: Direction, last: &[u8]) -> io::Result<()> {
        let passed = self.pass(line, direction, last);
        line.cut();
        self.note_fired();
        passed
    }

    fn pass(&self, line: &Line, direction: Direction, bytes: &[u8]) -> io::Result<()> {
        if bytes.is_empty() || line.is_swallowing() {
            return Ok(());
        }
        line.write(direction, bytes)?;
        let mut state = self.lock();
        let len = u64::try_from(bytes.len()).expect("a read fits");
        match direction {
            Direction::ToServer => state.counts.to_server += len,
            Direction::ToClient => state.counts.to_client += len,
        }
        self.changed.notify_all();
        Ok(())
    }

    /// Takes the first rule that acts on these bytes out of the script.
    fn fire(&self, history: &mut History, direction: Direction, bytes: &[u8]) -> Option<(Act, At)> {
        let mut state = self.lock();
        let fits = |rule: &Rule| {
            if rule.direction == direction { history.find(&rule.when, bytes) } else { None }
        };
        let (index, at) = state
            .rules
            .iter()
            .enumerate()
            .find_map(|(index, rule)| fits(rule).map(|at| (index, at)))?;
        let act = state.rules.remove(index).act;
        drop(state);
        // A cut counts once it is done, so that whoever waits for it finds the line dead.
        if matches!(act, Act::Delay(_) | Act::Blackhole) {
            self.note_fired();
        }
        Some((act, at))
    }

    fn note_fired(&self) {
        self.lock().counts.fired += 1;
        self.changed.notify_all();
    }
}

/// Where in the current read a rule acts.
struct At {
    begin: usize,
    end: usize,
}

/// All that has passed in one direction of one connection. Tests are short, so it is kept whole.
#[derive(Default)]
struct History {
    bytes: Vec<u8>,
}

impl History {
    fn extend(&mut self, bytes: &[u8]) {
        self.bytes.extend(bytes);
    }

    fn find(&self, when: &When, bytes: &[u8]) -> Option<At> {
        let whole: Vec<u8> = [self.bytes.as_slice(), bytes].concat();
        let position = |pattern: &[u8]| {
            let from = match when {
                // What had passed before the rule was added is not its business, save the
                // beginning of a pattern that ends in these bytes.
                When::Pattern(_) => self.bytes.len().saturating_sub(pattern.len() - 1),
                When::Bytes(_) | When::BytesAfter(..) => 0,
            };
            whole[from..]
                .windows(pattern.len())
                .position(|part| part == pattern)
                .map(|at| from + at)
        };
        let (begin, end) = match when {
            When::Bytes(count) => {
                let at = usize::try_from(*count).expect("a count of a test fits");
                (at, at)
            }
            When::Pattern(pattern) => position(pattern).map(|at| (at, at + pattern.len()))?,
            When::BytesAfter(pattern, count) => {
                let count = usize::try_from(*count).expect("a count of a test fits");
                position(pattern).map(|at| at + pattern.len() + count).map(|at| (at, at))?
            }
        };
        let is_here = self.bytes.len() < end && end <= whole.len();
        let known = self.bytes.len();
        is_here.then(|| At { begin: begin.saturating_sub(known), end: end - known })
    }
}

impl Line {
    fn read(&self, direction: Direction, buffer: &mut [u8]) -> io::Result<usize> {
        match (direction, &self.server) {
            (Direction::ToServer, _) => (&self.client).read(buffer),
            (Direction::ToClient, Stream::Unix(server)) => {
                let mut server: &UnixStream = server;
                server.read(buffer)
            }
            (Direction::ToClient, Stream::Tcp(server)) => {
                let mut server: &TcpStream = server;
                server.read(buffer)
            }
        }
    }

    fn write(&self, direction: Direction, bytes: &[u8]) -> io::Result<()> {
        match (direction, &self.server) {
            (Direction::ToClient, _) => (&self.client).write_all(bytes),
            (Direction::ToServer, Stream::Unix(server)) => {
                let mut server: &UnixStream = server;
                server.write_all(bytes)
            }
            (Direction::ToServer, Stream::Tcp(server)) => {
                let mut server: &TcpStream = server;
                server.write_all(bytes)
            }
        }
    }

    fn swallow(&self) {
        *self.is_swallowing.lock().expect("nothing panics under this lock") = true;
    }

    fn is_swallowing(&self) -> bool {
        *self.is_swallowing.lock().expect("nothing panics under this lock")
    }

    /// Ends both sides. A side that has ended already is as it should be.
    fn cut(&self) {
        let _client = self.client.shutdown(Shutdown::Both);
        let _server = match &self.server {
            Stream::Unix(server) => server.shutdown(Shutdown::Both),
            Stream::Tcp(server) => server.shutdown(Shutdown::Both),
        };
    }
}
