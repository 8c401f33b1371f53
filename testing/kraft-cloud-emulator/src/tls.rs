//! TLS of published ports: a certificate authority created for this emulator, and a certificate
//! that it signs for every known name that a client requests.

use std::sync::Arc;

use rcgen::{BasicConstraints, CertificateParams, DnType, IsCa, Issuer, KeyPair, KeyUsagePurpose};
use rustls::ServerConfig;
use rustls::crypto::aws_lc_rs;
use rustls::pki_types::PrivateKeyDer;
use rustls::server::{ClientHello, ResolvesServerCert};
use rustls::sign::CertifiedKey;
use tokio_rustls::TlsAcceptor;

/// A certificate authority.
#[derive(Clone)]
pub(crate) struct Authority {
    issuer: Arc<Issuer<'static, KeyPair>>,
    pem: String,
}

impl std::fmt::Debug for Authority {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Authority")
    }
}

impl Authority {
    /// Creates a certificate authority; `None` if that fails, such as without randomness from the
    /// system.
    pub(crate) fn new() -> Option<Self> {
        let mut params = CertificateParams::default();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
        let name = &mut params.distinguished_name;
        name.push(DnType::CommonName, "the emulated cloud");
        let key = KeyPair::generate().ok()?;
        let pem = params.self_signed(&key).ok()?.pem();
        Some(Self {
            issuer: Arc::new(Issuer::new(params, key)),
            pem,
        })
    }

    /// Returns the CA certificate that clients must trust, as PEM.
    pub(crate) fn pem(&self) -> &str {
        &self.pem
    }

    /// Returns an acceptor that terminates TLS for these names. It rejects clients that request
    /// another name or none.
    pub(crate) fn acceptor(
        &self,
        knows: impl Fn(&str) -> bool + Send + Sync + 'static,
    ) -> Option<TlsAcceptor> {
        let provider = Arc::new(aws_lc_rs::default_provider());
        let config = ServerConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .ok()?
            .with_no_client_auth()
            .with_cert_resolver(Arc::new(ByName {
                authority: self.clone(),
                knows: Box::new(knows),
            }));
        Some(TlsAcceptor::from(Arc::new(config)))
    }

    fn certificate(&self, name: &str) -> Option<CertifiedKey> {
        let key = KeyPair::generate().ok()?;
        let params = CertificateParams::new(vec![name.to_owned()]).ok()?;
        let signed = params.signed_by(&key, &*self.issuer).ok()?;
        let der = PrivateKeyDer::try_from(key.serialize_der()).ok()?;
        let key = aws_lc_rs::default_provider()
            .key_provider
            .load_private_key(der)
            .ok()?;
        Some(CertifiedKey::new(vec![signed.der().clone()], key))
    }
}

/// Resolves a certificate by the server name that the client sends (SNI; RFC 6066, section 3).
struct ByName {
    authority: Authority,
    knows: Box<dyn Fn(&str) -> bool + Send + Sync>,
}

impl std::fmt::Debug for ByName {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("ByName")
    }
}

impl ResolvesServerCert for ByName {
    fn resolve(&self, hello: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        let name = hello.server_name()?;
        let known = (self.knows)(name);
        known
            .then(|| self.authority.certificate(name))
            .flatten()
            .map(Arc::new)
    }
}
