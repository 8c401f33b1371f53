//! Published ports: `EXTERNAL:INTERNAL[/HANDLER[+HANDLER]…]`, or `PORT` for the same on both sides.
//!
//! A single `443:8080` without handlers is a web site: HTTPS, and plain HTTP that redirects to it.

use kraft_cloud::resources::services::Service;

/// What the platform can do with a connection.
const HANDLERS: [&str; 3] = ["tls", "http", "redirect"];

/// Why ports cannot be published.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// The text does not describe a port.
    #[error("`--port {text}`: {why}")]
    Syntax {
        /// The text.
        text: String,
        /// What is wrong with it.
        why: SyntaxError,
    },
    /// Two services use the same port.
    #[error("the port {0} is published twice")]
    Repeated(u16),
}

/// What is wrong with the text of a port.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SyntaxError {
    /// The number is not a port.
    #[error("`{0}` is not a valid port: expected 1-65535")]
    Port(String),
    /// The handler does not exist.
    #[error("`{0}` is not a valid handler: expected {expected}", expected = HANDLERS.join(", "))]
    Handler(String),
}

/// Parses the ports of one service.
///
/// ```
/// use kraft_deploy::ports;
///
/// let site = ports::parse(&["443:8080".to_owned()])?;
/// let texts: Vec<String> = site.iter().map(ports::format).collect();
/// assert_eq!(texts, ["443:8080/http+tls", "80:443/http+redirect"]);
/// # Ok::<(), ports::Error>(())
/// ```
///
/// # Errors
///
/// If a text is not a port, or a port is published twice.
pub fn parse(texts: &[String]) -> Result<Vec<Service>, Error> {
    let services: Vec<Service> = texts
        .iter()
        .map(|text| {
            one(text).map_err(|why| Error::Syntax {
                text: text.clone(),
                why,
            })
        })
        .collect::<Result<_, _>>()?;
    if let Some(port) = repeated(&services) {
        return Err(Error::Repeated(port));
    }
    match services.as_slice() {
        [site] if site.port == 443 && site.handlers.is_empty() => {
            Ok(web_site(site.destination_port))
        }
        _ => Ok(services),
    }
}

/// Returns the ports of a web site: 443, and 80 that redirects to it.
pub fn web_site(inside: Option<u16>) -> Vec<Service> {
    let handlers = |names: [&str; 2]| names.map(str::to_owned).to_vec();
    vec![
        Service {
            port: 443,
            destination_port: inside,
            handlers: handlers(["http", "tls"]),
        },
        Service {
            port: 80,
            destination_port: Some(443),
            handlers: handlers(["http", "redirect"]),
        },
    ]
}

fn repeated(services: &[Service]) -> Option<u16> {
    let mut seen = Vec::new();
    services.iter().map(|service| service.port).find(|port| {
        let again = seen.contains(port);
        seen.push(*port);
        again
    })
}

fn one(text: &str) -> Result<Service, SyntaxError> {
    let (ports, handlers) = match text.split_once('/') {
        Some((ports, handlers)) => (ports, Some(handlers)),
        None => (text, None),
    };
    let (outside, inside) = ports.split_once(':').unwrap_or((ports, ports));
    let port = |text: &str| match text.parse::<u16>() {
        Ok(port @ 1..) => Ok(port),
        _ => Err(SyntaxError::Port(text.to_owned())),
    };
    let mut known = Vec::new();
    for handler in handlers.into_iter().flat_map(|list| list.split('+')) {
        if !HANDLERS.contains(&handler) {
            return Err(SyntaxError::Handler(handler.to_owned()));
        }
        if !known.iter().any(|other| other == handler) {
            known.push(handler.to_owned());
        }
    }
    Ok(Service {
        port: port(outside)?,
        destination_port: Some(port(inside)?),
        handlers: known,
    })
}

/// Formats a published port in the syntax of [`parse`]: `443:8080/http+tls`.
#[must_use]
pub fn format(service: &Service) -> String {
    let inside = service.destination_port.unwrap_or(service.port);
    let handlers = if service.handlers.is_empty() {
        String::new()
    } else {
        std::format!("/{}", service.handlers.join("+"))
    };
    std::format!("{}:{inside}{handlers}", service.port)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parsed(texts: &[&str]) -> Vec<String> {
        let texts: Vec<String> = texts.iter().map(|&text| text.to_owned()).collect();
        parse(&texts).unwrap().iter().map(format).collect()
    }

    #[test]
    fn only_a_single_443_without_handlers_is_a_web_site() {
        assert_eq!(
            parsed(&["443:8080"]),
            ["443:8080/http+tls", "80:443/http+redirect"]
        );
        assert_eq!(
            parsed(&["443"]),
            ["443:443/http+tls", "80:443/http+redirect"]
        );
        assert_eq!(parsed(&["443:8080/tls"]), ["443:8080/tls"]);
        assert_eq!(
            parsed(&["443:8080", "6379:6379/tls"]),
            ["443:8080", "6379:6379/tls"]
        );
        assert_eq!(parsed(&["8080"]), ["8080:8080"]);
    }

    #[test]
    fn handlers_come_in_any_order_and_duplicates_are_dropped() {
        assert_eq!(parsed(&["443:80/tls+http+tls"]), ["443:80/tls+http"]);
    }

    #[test]
    fn invalid_ports_are_rejected() {
        for bad in [
            "",
            "0",
            "70000",
            "80:",
            ":80",
            "443:80/",
            "443:80/smtp",
            "1:2:3",
        ] {
            assert!(parse(&[bad.to_owned()]).is_err(), "{bad}");
        }
        let twice = ["80:1".to_owned(), "80:2".to_owned()];
        assert!(parse(&twice).is_err());
    }
}
