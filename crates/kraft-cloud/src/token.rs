//! Token of an account: `base64(USER:SECRET)`, or an opaque text, sent as a bearer token.
//!
//! ```
//! use kraft_cloud::token::Token;
//!
//! // base64 of `robot$anna.users.kraftcloud:secret`
//! let token = Token::parse("cm9ib3QkYW5uYS51c2Vycy5rcmFmdGNsb3VkOnNlY3JldA==")?;
//! assert_eq!(token.account(), "anna");
//! assert_eq!(token.secret(), "secret");
//! assert!(!format!("{token:?}").contains("secret"));
//! # Ok::<(), kraft_cloud::token::TokenError>(())
//! ```

use std::fmt;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

/// Maximum length of a token, in bytes.
const LONGEST: usize = 8 << 10;

/// Token that authenticates an account. The secret is never shown: `Debug` prints the account only.
#[derive(Clone, PartialEq, Eq)]
pub struct Token {
    /// Empty if the token is opaque.
    user: String,
    /// The opaque token, if there is no user.
    secret: String,
}

/// Error from parsing a token. It does not contain the input, which may be a secret.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum TokenError {
    /// The input is empty.
    #[error("the token is empty")]
    Empty,
    /// The input has characters that no token has.
    #[error("the token has characters that a token cannot have")]
    Encoding,
    /// The decoded input is not `USER:SECRET`, or the input is too long.
    #[error("the token is not `USER:SECRET` in base64")]
    Shape,
}

impl Token {
    /// Parses a token in the form that the platform issues.
    pub fn parse(text: &str) -> Result<Self, TokenError> {
        let text = text.trim();
        if text.is_empty() {
            return Err(TokenError::Empty);
        }
        if text.len() > LONGEST {
            return Err(TokenError::Shape);
        }
        let pair = STANDARD.decode(text).ok();
        let pair = pair.and_then(|bytes| String::from_utf8(bytes).ok());
        if let Some((user, secret)) = pair.as_deref().and_then(|pair| pair.split_once(':')) {
            return Self::of(user, secret);
        }
        // The characters of bearer tokens: RFC 6750, section 2.1.
        let is_known = |byte: u8| byte.is_ascii_alphanumeric() || b"-._~+/=".contains(&byte);
        if !text.bytes().all(is_known) {
            return Err(TokenError::Encoding);
        }
        Ok(Self {
            user: String::new(),
            secret: text.to_owned(),
        })
    }

    /// Returns whether the token does not name its account, which only the control plane knows.
    pub fn is_opaque(&self) -> bool {
        self.user.is_empty()
    }

    /// Creates a token from its user and its secret, as a saved login stores them.
    pub fn of(user: &str, secret: &str) -> Result<Self, TokenError> {
        let odd =
            |half: &str| half.is_empty() || half.contains(|c: char| c == ':' || c.is_control());
        if odd(user) || odd(secret) {
            return Err(TokenError::Shape);
        }
        Ok(Self {
            user: user.to_owned(),
            secret: secret.to_owned(),
        })
    }

    /// Returns the user name for registries: `robot$NAME.users.kraftcloud`.
    pub fn user(&self) -> &str {
        &self.user
    }

    /// Returns the name of the account, which is also the first component of its images' names.
    pub fn account(&self) -> &str {
        let user = self.user.strip_prefix("robot$").unwrap_or(&self.user);
        user.strip_suffix(".users.kraftcloud").unwrap_or(user)
    }

    /// Returns the secret, which is the password for the registry.
    pub fn secret(&self) -> &str {
        &self.secret
    }

    /// Returns the value of the `Authorization` header.
    pub(crate) fn bearer(&self) -> String {
        format!("Bearer {}", self.text())
    }

    /// Returns the token in the form that the platform issued: a secret.
    pub fn text(&self) -> String {
        if self.is_opaque() {
            return self.secret.clone();
        }
        STANDARD.encode(format!("{}:{}", self.user, self.secret))
    }
}

impl fmt::Debug for Token {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Token({})", self.account())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_is_a_user_and_a_secret_and_shows_only_the_first() {
        let text = STANDARD.encode("robot$anna.users.kraftcloud:hush");
        let token = Token::parse(&text).unwrap();
        assert_eq!(token.account(), "anna");
        assert_eq!(token.user(), "robot$anna.users.kraftcloud");
        assert_eq!(token.bearer(), format!("Bearer {text}"));
        assert_eq!(format!("{token:?}"), "Token(anna)");
    }

    #[test]
    fn what_is_no_token_is_refused_without_being_repeated() {
        assert_eq!(Token::parse("hush!"), Err(TokenError::Encoding));
        assert_eq!(Token::parse(" \n"), Err(TokenError::Empty));
        let opaque = Token::parse("v2.local_abc-123").unwrap();
        assert_eq!(opaque.bearer(), "Bearer v2.local_abc-123");
        assert!(opaque.is_opaque() && opaque.account().is_empty());
        assert_eq!(format!("{opaque:?}"), "Token()");
        for pair in ["a:b:c", ":b", "a:", "a:b\n"] {
            let text = STANDARD.encode(pair);
            assert_eq!(Token::parse(&text), Err(TokenError::Shape), "{pair}");
        }
    }
}
