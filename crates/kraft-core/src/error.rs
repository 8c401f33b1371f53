//! Errors as text: an error with its causes.

use std::error::Error;

/// Returns an error and all its causes on one line.
///
/// A cause that the message before it ends with is not repeated: some libraries include the cause
/// in their own message.
///
/// ```
/// use std::{fmt, io};
///
/// #[derive(Debug)]
/// struct Open(io::Error);
///
/// impl fmt::Display for Open {
///     fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
///         f.write_str("cannot open `x`")
///     }
/// }
///
/// impl std::error::Error for Open {
///     fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
///         Some(&self.0)
///     }
/// }
///
/// let error = Open(io::Error::other("it is locked"));
/// assert_eq!(kraft_core::error::chain(&error), "cannot open `x`: it is locked");
/// ```
pub fn chain(error: &dyn Error) -> String {
    let mut text = error.to_string();
    let mut next = error.source();
    while let Some(cause) = next {
        let cause_text = cause.to_string();
        if !text.ends_with(&cause_text) {
            text.push_str(": ");
            text.push_str(&cause_text);
        }
        next = cause.source();
    }
    text
}

#[cfg(test)]
mod tests {
    use std::fmt;

    use super::*;

    #[derive(Debug)]
    struct Link(&'static str, Option<Box<Link>>);

    impl fmt::Display for Link {
        fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            f.write_str(self.0)
        }
    }

    impl Error for Link {
        fn source(&self) -> Option<&(dyn Error + 'static)> {
            self.1.as_deref().map(|link| link as _)
        }
    }

    #[test]
    fn causes_follow_each_other_and_none_is_repeated() {
        for (messages, expected) in [
            (&["a"][..], "a"),
            (&["a", "b", "c"], "a: b: c"),
            (&["a: b", "b"], "a: b"),
            (&["a: b", "b", "c"], "a: b: c"),
            (&["a", "a b", "b"], "a: a b"),
        ] {
            let mut error: Option<Box<Link>> = None;
            for message in messages.iter().rev() {
                error = Some(Box::new(Link(message, error)));
            }
            assert_eq!(chain(&*error.unwrap()), expected, "{messages:?}");
        }
    }
}
