//! PEM texts of certificates and private keys.

use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use kraft_engine::context::Context;
use kraft_sys::fs;

/// Largest size of a PEM file, in bytes.
const LARGEST: u64 = 1 << 20;

/// Why there is no PEM text.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The file cannot be read.
    #[error(transparent)]
    File(#[from] fs::Error),
    /// The text has no block of the kind.
    #[error("{name} has no PEM block with a {kind}")]
    NoBlock {
        /// The file, or `the text`.
        name: String,
        /// The kind of the block.
        kind: String,
    },
}

/// Returns a chain of certificates: the input itself, or the content of the file that it names.
///
/// ```
/// let text = "-----BEGIN CERTIFICATE-----\n-----END CERTIFICATE-----\n";
/// assert_eq!(kraft_deploy::pem::certificates(text)?, text);
/// # Ok::<(), kraft_deploy::pem::Error>(())
/// ```
///
/// # Errors
///
/// If the file cannot be read, or the text has no certificate.
pub fn certificates(input: &str) -> Result<String, Error> {
    read(input, "CERTIFICATE")
}

/// Returns a private key, and warns if other users can read it.
///
/// # Errors
///
/// If the file cannot be read, or the text has no key.
pub fn key(ctx: &Context, input: &str) -> Result<String, Error> {
    if is_pem(input) {
        ctx.warn("every user of this host can read a private key on the command line: name a file instead");
    } else if std::fs::metadata(input).is_ok_and(|found| found.permissions().mode() & 0o077 != 0) {
        ctx.warn(&format!(
            "other users can read the private key `{input}`: `chmod 600 {input}`"
        ));
    }
    read(input, "KEY")
}

fn is_pem(text: &str) -> bool {
    text.trim_start().starts_with("-----BEGIN")
}

fn read(input: &str, kind: &str) -> Result<String, Error> {
    let (text, name) = if is_pem(input) {
        (input.to_owned(), "the text".to_owned())
    } else {
        let bytes = fs::read_file(Path::new(input), LARGEST)?;
        let text = String::from_utf8_lossy(&bytes).into_owned();
        (text, format!("`{input}`"))
    };
    let end = format!("{kind}-----");
    let begins = |line: &str| line.starts_with("-----BEGIN ") && line.trim_end().ends_with(&end);
    if text.lines().any(begins) {
        return Ok(text);
    }
    let kind = kind.to_lowercase();
    Err(Error::NoBlock { name, kind })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_text_or_a_file_has_a_block_of_the_kind() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("key.pem");
        let text = "-----BEGIN EC PRIVATE KEY-----\r\nx\r\n-----END EC PRIVATE KEY-----\r\n";
        fs::replace_file(&file, text.as_bytes()).unwrap();
        let file = file.display().to_string();
        assert_eq!(read(&file, "KEY").unwrap(), text);
        assert_eq!(read(text, "KEY").unwrap(), text);
        let error = |input: &str| certificates(input).unwrap_err().to_string();
        assert_eq!(error(text), "the text has no PEM block with a certificate");
        assert!(error(&file).ends_with("key.pem` has no PEM block with a certificate"));
        assert!(matches!(certificates("/missing"), Err(Error::File(_))));
    }
}
