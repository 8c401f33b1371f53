//! Which servers are trusted: those that an authority of the system vouches for; where the system has none, one of
//! Mozilla's, which are part of this program; and those of a file.
//!
//! Certificates of a file count as authorities, and each also as a server's certificate: a server that presents
//! exactly that certificate is trusted for the names in it. Small registries are often set up with
//! a self-signed one, which is an authority's and therefore not valid for a server (RFC 5280,
//! section 4.2.1.9).
//!
//! ```
//! use kraft_http::trust::certificates;
//!
//! let file = tempfile::NamedTempFile::new()?;
//! std::fs::write(file.path(), "not a certificate")?;
//! assert!(certificates(file.path()).is_err());
//! # Ok::<(), std::io::Error>(())
//! ```

use std::io;
use std::path::Path;
use std::sync::{Arc, OnceLock};

use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::client::verify_server_name;
use rustls::crypto::{CryptoProvider, aws_lc_rs, verify_tls12_signature, verify_tls13_signature};
use rustls::pki_types::pem::{self, PemObject};
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::server::ParsedCertificate;
use rustls::{
    CertificateError, ClientConfig, DigitallySignedStruct, Error, OtherError, SignatureScheme,
};
use rustls_platform_verifier::Verifier;

/// Why certificates cannot be used. The text does not name their file.
#[derive(Debug, thiserror::Error)]
pub enum TrustError {
    /// The file cannot be read.
    #[error(transparent)]
    Read(#[from] io::Error),
    /// The file is damaged.
    #[error(transparent)]
    Pem(#[from] pem::Error),
    /// The file holds no certificate.
    #[error("it holds no certificate")]
    Empty,
    /// The TLS library refuses them.
    #[error(transparent)]
    Tls(#[from] rustls::Error),
}

/// A PEM file is at most this long, in bytes.
const LARGEST_PEM: u64 = 4 << 20;

/// Reads the certificates of a PEM file.
///
/// # Errors
/// If it cannot be read, is damaged, or holds no certificate.
pub fn certificates(path: &Path) -> Result<Vec<CertificateDer<'static>>, TrustError> {
    let pem = kraft_sys::fs::read_file(path, LARGEST_PEM).map_err(|error| error.source)?;
    let certificates: Vec<_> = CertificateDer::pem_slice_iter(&pem).collect::<Result<_, _>>()?;
    if certificates.is_empty() {
        return Err(TrustError::Empty);
    }
    Ok(certificates)
}

/// Returns whether the system has authorities of its own.
///
/// ```
/// if !kraft_http::trust::system_has_authorities() {
///     println!("Mozilla's are used");
/// }
/// ```
pub fn system_has_authorities() -> bool {
    Verifier::new(provider()).is_ok()
}

fn provider() -> Arc<CryptoProvider> {
    Arc::new(aws_lc_rs::default_provider())
}

/// Returns the TLS configuration of a client that trusts these certificates and the system's, which are read at the
/// first connection.
/// `protocols` are the names of what is spoken inside, by preference (ALPN).
///
/// # Errors
/// If one of them cannot be an authority.
pub fn client_config(
    certificates: &[CertificateDer<'static>],
    protocols: &[&[u8]],
) -> Result<ClientConfig, TrustError> {
    let mut config = config(certificates)?;
    config.alpn_protocols = protocols.iter().map(|name| name.to_vec()).collect();
    Ok(config)
}

fn config(certificates: &[CertificateDer<'static>]) -> Result<ClientConfig, Error> {
    let provider = provider();
    let trust = Trust {
        provider: Arc::clone(&provider),
        usual: OnceLock::new(),
        certificates: certificates.to_vec(),
    };
    if !certificates.is_empty() {
        trust.usual()?;
    }
    Ok(ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()?
        .dangerous()
        .with_custom_certificate_verifier(Arc::new(trust))
        .with_no_client_auth())
}

/// Asks the usual verifier, and looks at the list only where that refuses a certificate because it is
/// an authority's.
#[derive(Debug)]
struct Trust {
    provider: Arc<CryptoProvider>,
    /// Reads a hundred files of the system: not for a plain connection.
    usual: OnceLock<Verifier>,
    certificates: Vec<CertificateDer<'static>>,
}

impl Trust {
    fn usual(&self) -> Result<&Verifier, Error> {
        if let Some(usual) = self.usual.get() {
            return Ok(usual);
        }
        let verifier = |roots| Verifier::new_with_extra_roots(roots, Arc::clone(&self.provider));
        let made = if self.certificates.is_empty() {
            // Fails if the system has none.
            verifier(Vec::new()).or_else(|_| verifier(self.with_bundled()))?
        } else if system_has_authorities() {
            verifier(self.certificates.clone())?
        } else {
            verifier(self.with_bundled())?
        };
        Ok(self.usual.get_or_init(|| made))
    }

    fn with_bundled(&self) -> Vec<CertificateDer<'static>> {
        tracing::debug!("the system has no authorities: Mozilla's are used");
        let bundled = webpki_root_certs::TLS_SERVER_ROOT_CERTS;
        self.certificates.iter().chain(bundled).cloned().collect()
    }
}

impl ServerCertVerifier for Trust {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        server_name: &ServerName<'_>,
        ocsp_response: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        let usual = self.usual()?.verify_server_cert(
            end_entity,
            intermediates,
            server_name,
            ocsp_response,
            now,
        );
        match usual {
            Err(error) if is_own_authority(&error) => {
                if !self.certificates.iter().any(|known| known == end_entity) {
                    return Err(error);
                }
                verify_server_name(&ParsedCertificate::try_from(end_entity)?, server_name)?;
                Ok(ServerCertVerified::assertion())
            }
            other => other,
        }
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        let algorithms = &self.provider.signature_verification_algorithms;
        verify_tls12_signature(message, cert, dss, algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        let algorithms = &self.provider.signature_verification_algorithms;
        verify_tls13_signature(message, cert, dss, algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        let algorithms = &self.provider.signature_verification_algorithms;
        algorithms.supported_schemes()
    }
}

/// Returns whether a certificate was only refused because it is that of an authority.
fn is_own_authority(error: &Error) -> bool {
    match error {
        Error::InvalidCertificate(CertificateError::Other(OtherError(cause))) => {
            cause.to_string().contains("CaUsedAsEndEntity")
        }
        _ => false,
    }
}
