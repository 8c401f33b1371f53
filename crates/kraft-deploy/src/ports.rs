//! Published ports: `EXTERNAL:INTERNAL[/HANDLER[+HANDLER]…]`, or `PORT` for the same on both sides.
//!
//! The lone `443:8080` is what people mean by a web site: HTTPS, and plain HTTP pointed to it.

use kraft_cloud::resources::services::Service;

use kraft_engine::failure::Failure;

/// What the platform can do with a connection on its way.
const HANDLERS: [&str; 3] = ["tls", "http", "redirect"];

/// Understands all ports that were typed, and that belong together.
pub fn parse(typed: &[String]) -> Result<Vec<Service>, Failure> {
    let services: Vec<Service> = typed
        .iter()
        .map(|text| one(text))
        .collect::<Result<_, _>>()?;
    if let Some(service) = repeated(&services) {
        return Err(Failure::usage(format!(
            "the port {service} is published twice"
        )));
    }
    match services.as_slice() {
        [site] if site.port == 443 && site.handlers.is_empty() => {
            Ok(web_site(site.destination_port))
        }
        _ => Ok(services),
    }
}

/// Returns the ports of a web site: 443, and 80 that points to it.
pub fn web_site(inside: Option<u16>) -> Vec<Service> {
    let words = |words: [&str; 2]| words.map(str::to_owned).to_vec();
    vec![
        Service {
            port: 443,
            destination_port: inside,
            handlers: words(["http", "tls"]),
        },
        Service {
            port: 80,
            destination_port: Some(443),
            handlers: words(["http", "redirect"]),
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

fn one(text: &str) -> Result<Service, Failure> {
    let wrong = |why: String| {
        Failure::usage(format!("`--port {text}`: {why}"))
            .hint("write EXTERNAL:INTERNAL/HANDLERS, such as `443:8080/http+tls`")
    };
    let (ports, handlers) = match text.split_once('/') {
        Some((ports, handlers)) => (ports, Some(handlers)),
        None => (text, None),
    };
    let (outside, inside) = ports.split_once(':').unwrap_or((ports, ports));
    let port = |text: &str| match text.parse::<u16>() {
        Ok(port @ 1..) => Ok(port),
        _ => Err(wrong(format!("`{text}` is no port from 1 to 65535"))),
    };
    let mut known = Vec::new();
    for handler in handlers.into_iter().flat_map(|list| list.split('+')) {
        if !HANDLERS.contains(&handler) {
            return Err(wrong(format!(
                "`{handler}` is no handler: there are {}",
                HANDLERS.join(", ")
            )));
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

/// Returns a published port as it is typed: `443:8080/http+tls`.
pub fn shown(service: &Service) -> String {
    let inside = service.destination_port.unwrap_or(service.port);
    let handlers = if service.handlers.is_empty() {
        String::new()
    } else {
        format!("/{}", service.handlers.join("+"))
    };
    format!("{}:{inside}{handlers}", service.port)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parsed(typed: &[&str]) -> Vec<String> {
        let typed: Vec<String> = typed.iter().map(|&text| text.to_owned()).collect();
        parse(&typed).unwrap().iter().map(shown).collect()
    }

    #[test]
    fn a_lone_443_is_a_web_site_and_nothing_else_is() {
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
    fn the_order_of_handlers_is_free_and_none_counts_twice() {
        assert_eq!(parsed(&["443:80/tls+http+tls"]), ["443:80/tls+http"]);
    }

    #[test]
    fn what_is_no_port_is_refused() {
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
