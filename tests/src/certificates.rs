//! Certificates for TLS: a test's own authority and the certificates it has signed, as PEM files in a temporary folder.

use std::{
    fs,
    path::{Path, PathBuf},
};

use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, DnType, IsCa, KeyPair, date_time_ymd};

/// A certificate authority.
#[derive(Debug)]
pub struct Authority {
    issuer: CertifiedIssuer<'static, KeyPair>,
    folder: tempfile::TempDir,
}

/// A certificate and its key.
#[derive(Debug, Clone)]
pub struct Certificate {
    /// The PEM file of the certificate.
    pub certificate: PathBuf,
    /// The PEM file of its private key.
    pub key: PathBuf,
}

impl Authority {
    /// A new authority, which no program trusts yet.
    ///
    /// # Panics
    /// No folder can be created.
    #[must_use]
    pub fn new() -> Self {
        let mut params = CertificateParams::new(Vec::new()).expect("no name is a wrong one");
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        // A unique name: two authorities with the same name would be mistaken for each other.
        params.distinguished_name.push(DnType::CommonName, uuid::Uuid::new_v4().to_string());
        let issuer = CertifiedIssuer::self_signed(params, key()).expect("a certificate can be made");
        let folder = tempfile::tempdir().expect("a temporary folder can be made");
        fs::write(folder.path().join("ca.pem"), issuer.pem()).expect("our own folder can be written");
        Self { issuer, folder }
    }

    /// The PEM file of the authority's certificate.
    #[must_use]
    pub fn file(&self) -> PathBuf {
        self.folder.path().join("ca.pem")
    }

    /// A certificate for a host name, or for an address.
    #[must_use]
    pub fn certificate(&self, name: &str) -> Certificate {
        self.sign(name, |_| {})
    }

    /// A certificate that expired at the end of 2001.
    #[must_use]
    pub fn expired(&self, name: &str) -> Certificate {
        self.sign(name, |params| {
            (params.not_before, params.not_after) = (date_time_ymd(2001, 1, 1), date_time_ymd(2001, 12, 31));
        })
    }

    fn sign(&self, name: &str, change: impl FnOnce(&mut CertificateParams)) -> Certificate {
        let mut params = CertificateParams::new([name.to_owned()]).expect("a good name");
        params.distinguished_name.push(DnType::CommonName, name);
        change(&mut params);
        let key = key();
        let certificate = params.signed_by(&key, &self.issuer).expect("a certificate can be signed");
        let file = |kind: &str, text: String| write(self.folder.path(), &format!("{name}.{kind}.pem"), &text);
        Certificate { certificate: file("certificate", certificate.pem()), key: file("key", key.serialize_pem()) }
    }
}

impl Default for Authority {
    fn default() -> Self {
        Self::new()
    }
}

fn key() -> KeyPair {
    KeyPair::generate().expect("a key can be made")
}

fn write(folder: &Path, name: &str, text: &str) -> PathBuf {
    let path = folder.join(name);
    fs::write(&path, text).expect("our own folder can be written");
    path
}
