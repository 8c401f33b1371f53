//! Values of the `Authorization` header. They are marked sensitive, so that no log shows them.
//!
//! ```
//! use kraft_http::credential::{basic, bearer};
//!
//! let value = basic("anna", "secret")?;
//! assert_eq!(value, "Basic YW5uYTpzZWNyZXQ=");
//! assert!(value.is_sensitive());
//! assert!(bearer("two\nlines").is_err());
//! # Ok::<(), http::header::InvalidHeaderValue>(())
//! ```

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use http::HeaderValue;
use http::header::InvalidHeaderValue;

/// Returns the value for a user and a password (RFC 7617).
pub fn basic(user: &str, password: &str) -> Result<HeaderValue, InvalidHeaderValue> {
    sensitive(&format!(
        "Basic {}",
        STANDARD.encode(format!("{user}:{password}"))
    ))
}

/// Returns the value for a token (RFC 6750).
///
/// # Errors
/// If the token has line breaks or other control characters.
pub fn bearer(token: &str) -> Result<HeaderValue, InvalidHeaderValue> {
    sensitive(&format!("Bearer {token}"))
}

fn sensitive(text: &str) -> Result<HeaderValue, InvalidHeaderValue> {
    let mut value = HeaderValue::from_str(text)?;
    value.set_sensitive(true);
    Ok(value)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn credentials_are_sent_and_not_shown() {
        let value = basic("me", "s3cret").unwrap();
        assert_eq!(value, "Basic bWU6czNjcmV0");
        assert_eq!(format!("{value:?}"), "Sensitive");
        assert_eq!(bearer("t").unwrap(), "Bearer t");
        assert!(bearer("a\r\nX: y").is_err());
    }
}
