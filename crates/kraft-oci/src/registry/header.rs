//! Headers that have a grammar of their own.

use std::collections::BTreeMap;

/// How a registry wants to be asked for authorization (RFC 9110, section 11.6.1).
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Challenge {
    /// With a user and a password (RFC 7617).
    Basic,
    /// With a token that this server gives (distribution: token authentication specification).
    Bearer {
        /// The URL of that server.
        realm: String,
        /// For whom the token is.
        service: Option<String>,
        /// What it is to allow.
        scope: Option<String>,
    },
}

/// Reads the challenges of a `WWW-Authenticate` header and returns the first that is understood,
/// a token before a password.
pub(super) fn challenge(text: &str) -> Option<Challenge> {
    let mut found = None;
    for (scheme, mut parameters) in challenges(text) {
        match scheme.to_ascii_lowercase().as_str() {
            "bearer" => {
                if let Some(realm) = parameters.remove("realm") {
                    return Some(Challenge::Bearer {
                        realm,
                        service: parameters.remove("service"),
                        scope: parameters.remove("scope"),
                    });
                }
            }
            "basic" => found = Some(Challenge::Basic),
            _ => {}
        }
    }
    found
}

/// Takes a list of challenges apart: `Scheme name=value, name="value", Scheme …`.
fn challenges(text: &str) -> Vec<(String, BTreeMap<String, String>)> {
    let mut all: Vec<(String, BTreeMap<String, String>)> = Vec::new();
    let mut rest = text.trim_start_matches([' ', ',', '\t']);
    while !rest.is_empty() {
        let end = rest.find([' ', '=', ',', '\t']).unwrap_or(rest.len());
        let (word, behind) = rest.split_at(end);
        let behind = behind.trim_start_matches([' ', '\t']);
        if let Some(value) = behind.strip_prefix('=') {
            let (value, behind) = parameter(value.trim_start_matches([' ', '\t']));
            if let Some((_, parameters)) = all.last_mut() {
                parameters.insert(word.to_ascii_lowercase(), value);
            }
            rest = behind;
        } else {
            if !word.is_empty() {
                all.push((word.to_owned(), BTreeMap::new()));
            }
            rest = behind;
        }
        rest = rest.trim_start_matches([' ', ',', '\t']);
    }
    all
}

/// Reads a value, quoted or not, and returns what follows it.
fn parameter(text: &str) -> (String, &str) {
    let Some(quoted) = text.strip_prefix('"') else {
        let end = text.find([',', ' ', '\t']).unwrap_or(text.len());
        let (value, rest) = text.split_at(end);
        return (value.to_owned(), rest);
    };
    let mut value = String::new();
    let mut chars = quoted.char_indices();
    while let Some((at, c)) = chars.next() {
        match c {
            '"' => return (value, quoted.get(at + 1..).unwrap_or_default()),
            '\\' => value.extend(chars.next().map(|(_, c)| c)),
            c => value.push(c),
        }
    }
    (value, "")
}

/// Returns the URL of a list's next page from a `Link` header (RFC 8288): `<URL>; rel="next"`.
pub(super) fn next_link(text: &str) -> Option<&str> {
    text.split(',').find_map(|link| {
        let (target, parameters) = link.trim().strip_prefix('<')?.split_once('>')?;
        let is_next = parameters
            .split(';')
            .any(|parameter| matches!(parameter.trim(), "rel=\"next\"" | "rel=next"));
        is_next.then_some(target)
    })
}

/// Reads the first byte of a `Content-Range` (RFC 9110, section 14.4): `bytes 5-9/10`.
pub(super) fn range_start(text: &str) -> Option<u64> {
    text.trim()
        .strip_prefix("bytes")?
        .trim_start()
        .split_once('-')?
        .0
        .parse()
        .ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn challenges_are_taken_apart() {
        let bearer = |realm: &str, service: Option<&str>, scope: Option<&str>| {
            Some(Challenge::Bearer {
                realm: realm.to_owned(),
                service: service.map(str::to_owned),
                scope: scope.map(str::to_owned),
            })
        };
        assert_eq!(
            challenge(r#"Bearer realm="https://a/t",service="a b",scope="repository:x:pull,push""#),
            bearer("https://a/t", Some("a b"), Some("repository:x:pull,push"))
        );
        assert_eq!(
            challenge(r#"Basic realm="r", bearer  realm = "x\"y" , error=invalid"#),
            bearer("x\"y", None, None)
        );
        assert_eq!(challenge("Basic realm=r"), Some(Challenge::Basic));
        assert_eq!(challenge("Basic"), Some(Challenge::Basic));
        for nothing in [
            "",
            "Negotiate",
            "Bearer service=x",
            ",,=,\"",
            "Bearer realm",
        ] {
            assert_eq!(challenge(nothing), None, "{nothing}");
        }
    }

    #[test]
    fn the_next_page_and_the_place_in_a_blob_are_found() {
        assert_eq!(
            next_link(r#"</a>; rel="prev", </v2/_catalog?last=b&n=2>; rel="next""#),
            Some("/v2/_catalog?last=b&n=2")
        );
        assert_eq!(next_link("</a>; rel=prev"), None);
        assert_eq!(range_start("bytes 5-9/10"), Some(5));
        assert_eq!(range_start("bytes */10"), None);
    }
}
