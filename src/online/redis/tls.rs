//! TLS of connections: by rustls, with the authorities of browsers or those of the settings.

use std::{io, sync::Arc};

use rustls::{
    ClientConfig, RootCertStore,
    crypto::ring,
    pki_types::{CertificateDer, PrivateKeyDer, ServerName, pem::PemObject as _},
};
use tokio::net::TcpStream;
use tokio_rustls::{TlsConnector, client::TlsStream};

use super::options::{Address, TlsOptions};

/// How connections are TLS: whom they trust, and what they show.
pub(super) struct Tls(TlsConnector);

impl Tls {
    /// The TLS of these options.
    ///
    /// # Errors
    /// What is wrong with a certificate or a key.
    pub(super) fn new(options: &TlsOptions) -> Result<Self, String> {
        let mut roots = RootCertStore::empty();
        match &options.authorities {
            None => roots.extend(webpki_roots::TLS_SERVER_ROOTS.iter().cloned()),
            Some(pem) => {
                for authority in certificates(pem)? {
                    roots.add(authority).map_err(|error| error.to_string())?;
                }
            }
        }
        // Two implementations of TLS's mathematics are linked: this one is meant.
        let config = ClientConfig::builder_with_provider(Arc::new(ring::default_provider()))
            .with_safe_default_protocol_versions()
            .map_err(|error| error.to_string())?
            .with_root_certificates(roots);
        let config = match &options.client {
            None => config.with_no_client_auth(),
            Some((certificate, key)) => {
                let key = PrivateKeyDer::from_pem_slice(key.reveal().as_bytes());
                let key = key.map_err(|error| format!("the private key: {error}"))?;
                let shown = config.with_client_auth_cert(certificates(certificate)?, key);
                shown.map_err(|error| error.to_string())?
            }
        };
        Ok(Self(TlsConnector::from(Arc::new(config))))
    }

    /// Makes a connection to this server TLS.
    pub(super) async fn connect(
        &self,
        address: &Address,
        stream: TcpStream,
    ) -> io::Result<TlsStream<TcpStream>> {
        let name = server_name(address).map_err(io::Error::other)?;
        self.0.connect(name, stream).await
    }
}

impl std::fmt::Debug for Tls {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Tls(…)")
    }
}

/// The certificates in a text in PEM, of which there is one at least.
fn certificates(pem: &str) -> Result<Vec<CertificateDer<'static>>, String> {
    let found = CertificateDer::pem_slice_iter(pem.as_bytes()).collect::<Result<Vec<_>, _>>();
    match found {
        Ok(found) if found.is_empty() => Err("there is no certificate in PEM".to_owned()),
        Ok(found) => Ok(found),
        Err(error) => Err(format!("a certificate: {error}")),
    }
}

/// The name that a server's certificate has to have.
pub(super) fn server_name(address: &Address) -> Result<ServerName<'static>, String> {
    ServerName::try_from(address.host.clone()).map_err(|error| format!("{address}: {error}"))
}
