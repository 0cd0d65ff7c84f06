//! TLS for clients and between nodes (rustls with ring). Clients prove themselves only if a CA for them is given; between
//! nodes both sides always do.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use rustls::crypto::ring;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::server::WebPkiClientVerifier;
use rustls::{ClientConfig, RootCertStore, ServerConfig};
use tokio_rustls::{TlsAcceptor, TlsConnector};

/// PEM files of one side.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct TlsFiles {
    /// The certificate chain, leaf first.
    pub cert: PathBuf,
    /// Its private key.
    pub key: PathBuf,
    /// The authorities that sign the other side's certificates.
    pub ca: Option<PathBuf>,
}

/// Why TLS cannot be set up.
#[derive(Debug, thiserror::Error)]
pub enum TlsError {
    /// A file cannot be read or holds nothing of use.
    #[error("cannot read {what} from {file}: {detail}", file = .file.display())]
    File {
        /// What was looked for.
        what: &'static str,
        /// Where.
        file: PathBuf,
        /// What is wrong.
        detail: String,
    },
    /// The parts do not fit together: a key of another certificate, an unusable algorithm.
    #[error("the TLS files do not work together: {0}")]
    Unusable(String),
    /// Nodes must prove themselves to each other, which needs the authority.
    #[error("TLS between nodes needs the CA that signs their certificates (peer_tls_ca)")]
    PeerCaMissing,
}

/// TLS between nodes.
#[derive(Clone)]
pub struct PeerTls {
    /// For connections that come in.
    pub acceptor: TlsAcceptor,
    /// For connections that go out.
    pub connector: TlsConnector,
}

impl std::fmt::Debug for PeerTls {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("PeerTls")
    }
}

fn unusable(error: impl std::fmt::Display) -> TlsError {
    TlsError::Unusable(error.to_string())
}

fn read_certificates(what: &'static str, file: &Path) -> Result<Vec<CertificateDer<'static>>, TlsError> {
    let refuse = |detail: String| TlsError::File { what, file: file.to_path_buf(), detail };
    let found = CertificateDer::pem_file_iter(file)
        .and_then(Iterator::collect::<Result<Vec<_>, _>>)
        .map_err(|error| refuse(error.to_string()))?;
    if found.is_empty() { Err(refuse("it holds no certificate".into())) } else { Ok(found) }
}

fn read_key(file: &Path) -> Result<PrivateKeyDer<'static>, TlsError> {
    PrivateKeyDer::from_pem_file(file).map_err(|error| TlsError::File {
        what: "the private key",
        file: file.to_path_buf(),
        detail: error.to_string(),
    })
}

fn read_roots(file: &Path) -> Result<Arc<RootCertStore>, TlsError> {
    let mut roots = RootCertStore::empty();
    for certificate in read_certificates("the CA certificate", file)? {
        roots.add(certificate).map_err(unusable)?;
    }
    Ok(Arc::new(roots))
}

fn server_config(files: &TlsFiles, alpn: &[&[u8]]) -> Result<ServerConfig, TlsError> {
    let provider = Arc::new(ring::default_provider());
    let builder = ServerConfig::builder_with_provider(Arc::clone(&provider))
        .with_safe_default_protocol_versions()
        .map_err(unusable)?;
    let builder = match &files.ca {
        None => builder.with_no_client_auth(),
        Some(ca) => {
            let verifier = WebPkiClientVerifier::builder_with_provider(read_roots(ca)?, provider);
            builder.with_client_cert_verifier(verifier.build().map_err(unusable)?)
        }
    };
    let chain = read_certificates("the certificate", &files.cert)?;
    let mut config = builder.with_single_cert(chain, read_key(&files.key)?).map_err(unusable)?;
    config.alpn_protocols = alpn.iter().map(|name| name.to_vec()).collect();
    Ok(config)
}

/// TLS for the client port: HTTP/2 and HTTP/1.1.
pub fn for_clients(files: &TlsFiles) -> Result<TlsAcceptor, TlsError> {
    Ok(TlsAcceptor::from(Arc::new(server_config(files, &[b"h2", b"http/1.1"])?)))
}

/// TLS for a port whose clients speak something else than HTTP.
pub fn for_others(files: &TlsFiles) -> Result<TlsAcceptor, TlsError> {
    Ok(TlsAcceptor::from(Arc::new(server_config(files, &[])?)))
}

/// TLS between nodes, mutual.
pub fn for_peers(files: &TlsFiles) -> Result<PeerTls, TlsError> {
    let ca = files.ca.as_ref().ok_or(TlsError::PeerCaMissing)?;
    let client = ClientConfig::builder_with_provider(Arc::new(ring::default_provider()))
        .with_safe_default_protocol_versions()
        .map_err(unusable)?
        .with_root_certificates(read_roots(ca)?)
        .with_client_auth_cert(read_certificates("the certificate", &files.cert)?, read_key(&files.key)?)
        .map_err(unusable)?;
    Ok(PeerTls {
        acceptor: TlsAcceptor::from(Arc::new(server_config(files, &[])?)),
        connector: TlsConnector::from(Arc::new(client)),
    })
}
