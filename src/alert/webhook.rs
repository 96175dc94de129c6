//! An alert sent to a web server: a POST of its JSON.
//!
//! The URL comes from the configuration only and redirects are not followed, so nobody can turn
//! an alert elsewhere. Whether the answer is 2xx is all that is asked of it; its body is not read.
//! URL and headers are secrets (a URL often is the whole of one) and reach no log and no error:
//! [`Webhook::origin`] is what may be shown.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use rustls::crypto::ring;
use ureq::Agent;
use ureq::http::uri::Scheme;
use ureq::http::{HeaderName, HeaderValue, Uri};
use ureq::tls::{Certificate, RootCerts, TlsConfig};

/// To be connected, TLS aside.
const CONNECT_MAX: Duration = Duration::from_secs(5);

/// One try, from looking the name up to the answer's first line.
const TRY_MAX: Duration = Duration::from_secs(8);

/// Pauses before the second try and the third: a server that is restarted is back by then.
const PAUSES: [Duration; 2] = [Duration::from_secs(1), Duration::from_secs(3)];

/// The longest that one alert can take: three tries and the pauses.
pub(super) const LIMIT: Duration = Duration::from_secs(3 * 8 + 1 + 3);

/// Where alerts are posted to.
#[derive(Clone)]
pub(super) struct Webhook {
    uri: Uri,
    headers: Vec<(HeaderName, HeaderValue)>,
}

impl fmt::Debug for Webhook {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Webhook").field("origin", &self.origin()).finish_non_exhaustive()
    }
}

impl Webhook {
    /// Checks a URL and headers written as `Name: value`. Fails with words that show neither.
    pub fn new<'a>(
        url: &str,
        headers: impl IntoIterator<Item = &'a str>,
    ) -> Result<Self, &'static str> {
        let uri: Uri = url.parse().map_err(|_| "`webhook` is not a URL")?;
        let is_web = uri.scheme() == Some(&Scheme::HTTP) || uri.scheme() == Some(&Scheme::HTTPS);
        if !is_web || uri.host().is_none_or(str::is_empty) {
            return Err("`webhook` is not a URL that begins with http:// or https://");
        }
        let headers: Result<_, _> = headers.into_iter().map(header).collect();
        Ok(Self { uri, headers: headers? })
    }

    /// What may be shown: how and whom, without path, query and credentials.
    pub fn origin(&self) -> String {
        let scheme = self.uri.scheme_str().unwrap_or_default();
        let host = self.uri.host().unwrap_or_default();
        match self.uri.port() {
            Some(port) => format!("{scheme}://{host}:{port}"),
            None => format!("{scheme}://{host}"),
        }
    }

    /// Posts `body`, three times at most. Fails with what went wrong the last time, in words that
    /// show no secret. Takes [`LIMIT`] at most; dropped on the way, one try may go on behind it.
    pub async fn post(&self, body: &Arc<String>) -> Result<(), String> {
        let mut outcome = self.try_once(body).await;
        for pause in PAUSES {
            if outcome.is_ok() {
                break;
            }
            tokio::time::sleep(pause).await;
            outcome = self.try_once(body).await;
        }
        outcome
    }

    async fn try_once(&self, body: &Arc<String>) -> Result<(), String> {
        let (webhook, body) = (self.clone(), Arc::clone(body));
        let posted = move || webhook.post_once(&body, TRY_MAX);
        let posted = tokio::task::spawn_blocking(posted).await;
        posted.expect("posting returns its errors")
    }

    /// Blocks. Alerts are rare: nothing is kept between two of them, and the system's certificates
    /// are those of today.
    fn post_once(&self, body: &str, within: Duration) -> Result<(), String> {
        let mut certificates = Vec::new();
        if self.uri.scheme() == Some(&Scheme::HTTPS) {
            let found = rustls_native_certs::load_native_certs().certs;
            certificates = found.iter().map(|one| Certificate::from_der(one).to_owned()).collect();
            if certificates.is_empty() {
                return Err("the system has no trusted certificates".to_owned());
            }
        }
        let tls = TlsConfig::builder()
            .unversioned_rustls_crypto_provider(Arc::new(ring::default_provider()))
            .root_certs(RootCerts::from(certificates));
        let agent = Agent::config_builder()
            .tls_config(tls.build())
            .user_agent(concat!("lite2pg/", env!("CARGO_PKG_VERSION")))
            .max_redirects(0)
            .http_status_as_error(false)
            .max_idle_connections(0)
            .timeout_connect(Some(CONNECT_MAX))
            .timeout_global(Some(within))
            .build()
            .new_agent();
        let mut request = agent.post(self.uri.clone()).content_type("application/json");
        for (name, value) in &self.headers {
            request = request.header(name, value);
        }
        let status = request.send(body).map_err(|error| in_words(&error))?.status();
        if status.is_success() { Ok(()) } else { Err(format!("answered {}", status.as_u16())) }
    }
}

fn header(line: &str) -> Result<(HeaderName, HeaderValue), &'static str> {
    const PROBLEM: &str = "`webhook_headers` takes lines like \"Authorization: Bearer …\"";
    let (name, value) = line.split_once(':').ok_or(PROBLEM)?;
    let name = name.trim().parse().map_err(|_| PROBLEM)?;
    let mut value: HeaderValue = value.trim().parse().map_err(|_| PROBLEM)?;
    value.set_sensitive(true);
    Ok((name, value))
}

/// What went wrong, without the URL.
fn in_words(error: &ureq::Error) -> String {
    use ureq::Error;
    match error {
        Error::BadUri(_) | Error::RequireHttpsOnly(_) => "the URL is not understood".to_owned(),
        Error::ConnectProxyFailed(_) | Error::InvalidProxyUrl => {
            "the proxy of the environment does not let it through".to_owned()
        }
        Error::Timeout(what) => format!("no answer in time ({what})"),
        Error::Io(error) => error.to_string(),
        error => error.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_no_webhook_is_refused_without_being_shown() {
        for (url, headers) in [
            ("hunter2", &[][..]),
            ("ftp://example.org/hunter2", &[]),
            ("file:///hunter2", &[]),
            ("https:///hunter2", &[]),
            ("https://example.org/hunter2 and more", &[]),
            ("https://example.org", &["hunter2"]),
            ("https://example.org", &["my hunter2: x"]),
            ("https://example.org", &["Authorization: hunter2\r\nX: y"]),
            ("https://example.org", &[": hunter2"]),
        ] {
            let problem = Webhook::new(url, headers.iter().copied()).expect_err(url);
            assert!(!problem.contains("hunter2"), "{problem}");
        }
    }

    #[test]
    fn only_the_origin_is_ever_shown() {
        let url = "https://me:hunter2@hooks.example.org:8443/services/hunter2?token=hunter2";
        let webhook = Webhook::new(url, ["Authorization: Bearer hunter2"]).expect("it is right");
        assert_eq!(webhook.origin(), "https://hooks.example.org:8443");
        assert!(!format!("{webhook:?}").contains("hunter2"));
        let plain = Webhook::new("http://[::1]/x", []).expect("it is right");
        assert_eq!(plain.origin(), "http://[::1]");
    }

    /// A server that does `act` with its first connection, and what one post to it came to.
    fn post_to(act: impl FnOnce(std::net::TcpStream) + Send + 'static) -> Result<(), String> {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").expect("a port");
        let port = listener.local_addr().expect("an address").port();
        let server = std::thread::spawn(move || {
            let (stream, _) = listener.accept().expect("somebody comes");
            act(stream);
        });
        let webhook = Webhook::new(&format!("http://127.0.0.1:{port}/hunter2"), []);
        let webhook = webhook.expect("it is right");
        let begun = std::time::Instant::now();
        let outcome = webhook.post_once("{}", Duration::from_millis(500));
        assert!(begun.elapsed() < Duration::from_secs(20), "{outcome:?}");
        server.join().expect("the server ended");
        outcome
    }

    /// Reads what comes until nothing does.
    fn read_all(mut stream: &std::net::TcpStream) {
        use std::io::Read as _;
        let mut buffer = [0; 4096];
        while stream.read(&mut buffer).is_ok_and(|read| 0 < read) {}
    }

    #[test]
    fn a_server_that_takes_its_time_is_not_waited_for() {
        let silent = post_to(|stream| read_all(&stream));
        assert!(silent.as_ref().is_err_and(|error| error.starts_with("no answer in time")));
        let slow = post_to(|mut stream| {
            use std::io::Write as _;
            let mut answer = b"HTTP/1.1 200 OK\r\nX: ".iter().chain(std::iter::repeat(&b'x'));
            // Fails once the other side has had enough.
            while stream.write_all(&[*answer.next().expect("it has no end")]).is_ok() {
                std::thread::park_timeout(Duration::from_millis(20));
            }
        });
        assert!(slow.as_ref().is_err_and(|error| error.starts_with("no answer in time")));
    }

    #[test]
    fn the_body_of_an_answer_is_not_read() {
        let endless = post_to(|mut stream| {
            use std::io::Write as _;
            let head = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n";
            let mut outcome = stream.write_all(head);
            while outcome.is_ok() {
                outcome = stream.write_all(b"1\r\nx\r\n");
            }
        });
        assert_eq!(endless, Ok(()));
    }

    #[test]
    fn what_is_not_http_is_an_error_in_words() {
        use std::io::Write as _;
        let garbage = post_to(|mut stream| {
            stream.write_all(b"+OK POP3 server ready\r\n\r\n").expect("write");
            read_all(&stream);
        });
        assert!(garbage.is_err_and(|error| !error.contains("hunter2")));
        let closed = post_to(drop);
        assert!(closed.is_err_and(|error| !error.contains("hunter2")));
    }
}
