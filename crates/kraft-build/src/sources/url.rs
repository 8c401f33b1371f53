//! URLs as they may be shown, and which of them lead to this computer.

/// Returns a URL without what may be secret: password and query; and without characters that do
/// something to a terminal.
pub(super) fn shown(url: &str) -> String {
    let url = url.split(['?', '#']).next().unwrap_or(url);
    let text = match url.split_once("://") {
        Some((scheme, rest)) => {
            let end = rest.find('/').unwrap_or(rest.len());
            let (authority, path) = rest.split_at_checked(end).unwrap_or((rest, ""));
            let authority = match authority.rsplit_once('@') {
                Some((user, host)) if scheme.contains("ssh") => {
                    let user = user.split(':').next().unwrap_or(user);
                    format!("{user}@{host}")
                }
                Some((_, host)) => host.to_owned(),
                None => authority.to_owned(),
            };
            format!("{scheme}://{authority}{path}")
        }
        None => url.to_owned(),
    };
    text.chars().filter(|c| !c.is_control()).take(400).collect()
}

/// Whether a host is this computer, which no proxy leads to.
pub(super) fn is_this_computer(host: &str) -> bool {
    let host = host.trim_start_matches('[').trim_end_matches(']');
    host == "localhost"
        || host.ends_with(".localhost")
        || host
            .parse::<std::net::IpAddr>()
            .is_ok_and(|address| address.is_loopback())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn secrets_of_a_url_are_not_shown() {
        for (url, text) in [
            ("https://u:pw@h.example/x?token=1", "https://h.example/x"),
            ("ssh://git:pw@h/x", "ssh://git@h/x"),
            ("git@h:o/x", "git@h:o/x"),
            ("https://h", "https://h"),
            ("/a/b\u{1b}[31m", "/a/b[31m"),
        ] {
            assert_eq!(shown(url), text);
        }
    }

    #[test]
    fn this_computer_is_known_by_its_names() {
        for here in ["localhost", "a.localhost", "127.0.0.1", "[::1]"] {
            assert!(is_this_computer(here), "{here}");
        }
        for elsewhere in ["localhost.example", "10.0.0.1", ""] {
            assert!(!is_this_computer(elsewhere), "{elsewhere}");
        }
    }
}
