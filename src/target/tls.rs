//! TLS to PostgreSQL, with libpq's meaning of `sslmode`.
//!
//! rustls verifies the way browsers do; libpq has weaker modes and trusts a server's own
//! certificate when it is given as the root. The one idea: rustls' verifier decides, and each
//! mode says which of its refusals it lifts, so nothing weaker than asked for can slip through.
//! The `ring` provider is always named, because two providers in one program panic at run time.
//!
//! It never falls back to plain text; [`super::connect`] decides that by `sslmode`.

use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use rustls::client::WebPkiServerVerifier;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::{CryptoProvider, ring};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName, UnixTime};
use rustls::server::ParsedCertificate;
use rustls::{
    CertificateError, ClientConfig, DigitallySignedStruct, RootCertStore, SignatureScheme, version,
};
use tokio_postgres_rustls::MakeRustlsConnect;

use super::conninfo::{RootCert, SslMode, Tls};

/// Why TLS could not be prepared. The server has not been asked yet.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// A certificate or key file cannot be used.
    #[error("cannot use {what} {}: {problem}", path.display())]
    File {
        /// `root certificate`, `client certificate` or `client key`.
        what: &'static str,
        /// The file.
        path: PathBuf,
        /// Why not; never quotes the file.
        problem: String,
    },
    /// The operating system has no trusted authorities.
    #[error("the system has no trusted certificates")]
    NoSystemRoots,
    /// rustls refused the combination.
    #[error("TLS cannot be set up")]
    Setup {
        /// What rustls said.
        source: rustls::Error,
    },
}

/// Prepares TLS for the given parameters; reads the certificate files.
pub fn connector(tls: &Tls) -> Result<MakeRustlsConnect, Error> {
    let provider = Arc::new(ring::default_provider());
    let versions: &[&rustls::SupportedProtocolVersion] =
        if tls.is_13_only { &[&version::TLS13] } else { rustls::ALL_VERSIONS };
    let verifier = Arc::new(Verifier::new(tls, &provider)?);
    let builder = ClientConfig::builder_with_provider(provider)
        .with_protocol_versions(versions)
        .map_err(|source| Error::Setup { source })?
        .dangerous()
        .with_custom_certificate_verifier(verifier);
    let mut config = match &tls.client_cert {
        None => builder.with_no_client_auth(),
        Some((cert, key)) => {
            let chain = read_certificates("client certificate", cert)?;
            builder
                .with_client_auth_cert(chain, read_key(key)?)
                .map_err(|source| Error::Setup { source })?
        }
    };
    config.enable_sni = tls.sends_name;
    if tls.is_direct {
        // <https://www.postgresql.org/docs/current/protocol-flow.html>: required when TLS begins
        // without PostgreSQL's own question. Otherwise older servers and proxies do not expect it.
        config.alpn_protocols = vec![b"postgresql".to_vec()];
    }
    Ok(MakeRustlsConnect::new(config))
}

fn read_certificates(
    what: &'static str,
    path: &Path,
) -> Result<Vec<CertificateDer<'static>>, Error> {
    let bad = |problem: String| Error::File { what, path: path.to_path_buf(), problem };
    let certificates = CertificateDer::pem_file_iter(path)
        .and_then(Iterator::collect::<Result<Vec<_>, _>>)
        .map_err(|error| bad(error.to_string()))?;
    if certificates.is_empty() {
        return Err(bad("it holds no certificate".to_owned()));
    }
    Ok(certificates)
}

/// libpq's rule: a key that others can read is no secret, except root's own with mode 0640.
fn read_key(path: &Path) -> Result<PrivateKeyDer<'static>, Error> {
    use std::os::unix::fs::MetadataExt;
    let bad = |problem: String| Error::File { what: "client key", path: path.into(), problem };
    let found = std::fs::metadata(path).map_err(|error| bad(error.to_string()))?;
    let forbidden = if found.uid() == 0 { 0o027 } else { 0o077 };
    if found.mode() & forbidden != 0 {
        return Err(bad("others can read it; chmod 0600 it".to_owned()));
    }
    PrivateKeyDer::from_pem_file(path).map_err(|error| bad(error.to_string()))
}

/// What has to be true of the server's certificate.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Demand {
    /// Nothing: the line is encrypted, whoever is at its other end.
    Nothing,
    /// Signed by a trusted authority.
    Chain,
    /// Signed by a trusted authority, for this very host.
    ChainAndName,
}

struct Verifier {
    demand: Demand,
    /// Root certificates as given, for the server that presents one of them itself.
    pinned: Vec<CertificateDer<'static>>,
    /// Absent only where nothing is demanded.
    chain: Option<Arc<WebPkiServerVerifier>>,
    provider: Arc<CryptoProvider>,
}

impl fmt::Debug for Verifier {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Verifier").field("demand", &self.demand).finish_non_exhaustive()
    }
}

impl Verifier {
    fn new(tls: &Tls, provider: &Arc<CryptoProvider>) -> Result<Self, Error> {
        let demand = match (tls.mode, &tls.root_cert) {
            (SslMode::VerifyFull, _) => Demand::ChainAndName,
            // libpq: a root certificate that is there makes `require` behave as `verify-ca`.
            (SslMode::VerifyCa, _) | (SslMode::Require, Some(RootCert::File(_))) => Demand::Chain,
            (SslMode::Require | SslMode::Prefer | SslMode::Allow | SslMode::Disable, _) => {
                Demand::Nothing
            }
        };
        let provider = Arc::clone(provider);
        if demand == Demand::Nothing {
            return Ok(Self { demand, pinned: Vec::new(), chain: None, provider });
        }
        let (pinned, roots) = trusted(tls.root_cert.as_ref())?;
        let builder =
            WebPkiServerVerifier::builder_with_provider(Arc::new(roots), Arc::clone(&provider));
        let chain = builder
            .build()
            .map_err(|error| Error::Setup { source: rustls::Error::General(error.to_string()) })?;
        Ok(Self { demand, pinned, chain: Some(chain), provider })
    }
}

/// The certificates of the named file, or the system's where none is named. (libpq insists on
/// `~/.postgresql/root.crt` for the verifying modes; the system's are what hosted servers use.)
fn trusted(
    named: Option<&RootCert>,
) -> Result<(Vec<CertificateDer<'static>>, RootCertStore), Error> {
    let mut roots = RootCertStore::empty();
    match named {
        Some(RootCert::File(path)) => {
            let certificates = read_certificates("root certificate", path)?;
            let (added, _) = roots.add_parsable_certificates(certificates.clone());
            if added == 0 {
                let problem = "it holds no certificate that can be read".to_owned();
                return Err(Error::File { what: "root certificate", path: path.into(), problem });
            }
            Ok((certificates, roots))
        }
        Some(RootCert::System) | None => {
            roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
            if roots.is_empty() {
                return Err(Error::NoSystemRoots);
            }
            Ok((Vec::new(), roots))
        }
    }
}

impl ServerCertVerifier for Verifier {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        server_name: &ServerName<'_>,
        ocsp_response: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        let Some(chain) = &self.chain else { return Ok(ServerCertVerified::assertion()) };
        // PostgreSQL's manual shows how to make a self-signed certificate and hand it to clients
        // as their root. rustls refuses such a one as "CA used as end entity"; being the very
        // certificate that the user named is as good as any signature.
        if self.pinned.iter().any(|pinned| pinned.as_ref() == end_entity.as_ref()) {
            if self.demand == Demand::ChainAndName {
                let parsed = ParsedCertificate::try_from(end_entity)?;
                rustls::client::verify_server_name(&parsed, server_name)?;
            }
            return Ok(ServerCertVerified::assertion());
        }
        let verdict =
            chain.verify_server_cert(end_entity, intermediates, server_name, ocsp_response, now);
        match verdict {
            // The chain is examined before the name, so this refusal means that the chain is good.
            Err(rustls::Error::InvalidCertificate(
                CertificateError::NotValidForName | CertificateError::NotValidForNameContext { .. },
            )) if self.demand == Demand::Chain => Ok(ServerCertVerified::assertion()),
            verdict => verdict,
        }
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        let algorithms = &self.provider.signature_verification_algorithms;
        rustls::crypto::verify_tls12_signature(message, cert, dss, algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        let algorithms = &self.provider.signature_verification_algorithms;
        rustls::crypto::verify_tls13_signature(message, cert, dss, algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.provider.signature_verification_algorithms.supported_schemes()
    }
}
