//! Health checks of a Compose file: a command that would run inside of a container, as what can be
//! tried from outside of a machine.

use crate::lifecycle::HealthProbe;
use crate::shell_words;

/// Returns what a command of a health check tries, if that is a connection to this machine.
///
/// Known are `curl` and `wget` with a URL, `nc`, `pg_isready`, `redis-cli ping`, `mysqladmin ping`,
/// `mongosh` and shells with one of these.
pub(super) fn probe(words: &[String]) -> Option<HealthProbe> {
    let (first, rest) = words.split_first()?;
    match (first.as_str(), rest) {
        ("CMD", command) => probe_of(command),
        ("CMD-SHELL", [line]) => of_line(line),
        _ => None,
    }
}

/// Understands a line for a shell: only its first command counts, as in `curl … || exit 1`.
pub(super) fn of_line(line: &str) -> Option<HealthProbe> {
    let first = line.split("||").next()?.split("&&").next()?;
    let first = first.split(['|', ';', '>']).next()?;
    probe_of(&shell_words::split(first).ok()?)
}

/// Understands the command of a health check, without the leading `CMD`: `curl -f http://localhost/`.
pub fn probe_of(words: &[String]) -> Option<HealthProbe> {
    let (program, args) = words.split_first()?;
    let name = program.rsplit('/').next()?;
    let tcp = |port| Some(HealthProbe::Tcp { port });
    match name {
        "sh" | "bash" | "ash" => match args {
            [flag, line] if flag == "-c" || flag == "-ec" => of_line(line),
            _ => None,
        },
        "curl" | "wget" => args.iter().find_map(|word| of_url(word)),
        "nc" | "ncat" | "netcat" => {
            let mut words = args.iter().filter(|word| !word.starts_with('-'));
            let host = words.next()?;
            let port = words.next()?.parse().ok()?;
            if is_here(host) { tcp(port) } else { None }
        }
        "pg_isready" => tcp(option(args, &["-p", "--port"]).unwrap_or(5432)),
        "redis-cli" | "valkey-cli" if says(args, "ping") => {
            tcp(option(args, &["-p"]).unwrap_or(6379))
        }
        "mysqladmin" | "mariadb-admin" if says(args, "ping") => {
            tcp(option(args, &["-P", "--port"]).unwrap_or(3306))
        }
        "healthcheck.sh" => tcp(3306),
        "mongosh" | "mongo" => tcp(option(args, &["--port"]).unwrap_or(27017)),
        _ => None,
    }
}

fn says(args: &[String], word: &str) -> bool {
    args.iter().any(|arg| arg.eq_ignore_ascii_case(word))
}

/// Returns the port that follows one of the flags, or is joined with it by `=`.
fn option(args: &[String], flags: &[&str]) -> Option<u16> {
    let mut args = args.iter();
    while let Some(arg) = args.next() {
        if flags.contains(&arg.as_str()) {
            return args.next()?.parse().ok();
        }
        let joined = flags.iter().find_map(|flag| arg.strip_prefix(flag));
        if let Some(value) = joined.and_then(|rest| rest.strip_prefix('=')) {
            return value.parse().ok();
        }
    }
    None
}

fn is_here(host: &str) -> bool {
    matches!(
        host,
        "localhost" | "127.0.0.1" | "0.0.0.0" | "::1" | "[::1]"
    )
}

/// Understands `http://localhost[:PORT][/PATH]`, and `localhost:PORT[/PATH]`.
fn of_url(word: &str) -> Option<HealthProbe> {
    let secure = word.starts_with("https://");
    let scheme = ["http://", "https://"];
    let bare = scheme.iter().find_map(|scheme| word.strip_prefix(scheme));
    let rest = bare.unwrap_or(word);
    let (authority, path) = match rest.find('/') {
        Some(slash) => rest.split_at(slash),
        None => (rest, "/"),
    };
    let (host, port) = match authority.rsplit_once(':') {
        Some((host, port)) => (host, port.parse().ok()?),
        None if bare.is_some() => (authority, if secure { 443 } else { 80 }),
        None => return None,
    };
    if !is_here(host) || port == 0 {
        return None;
    }
    if secure {
        // The certificate would be for another name.
        return Some(HealthProbe::Tcp { port });
    }
    HealthProbe::http(&format!("{port}{path}")).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shown(words: &[&str]) -> String {
        let words: Vec<String> = words.iter().map(ToString::to_string).collect();
        match probe(&words) {
            None => "nothing".to_owned(),
            Some(HealthProbe::Tcp { port }) => format!("tcp {port}"),
            Some(HealthProbe::Http { port, path }) => format!("http {port}{path}"),
        }
    }

    #[test]
    fn commands_that_connect_to_the_service_are_probes() {
        for (words, expected) in [
            (
                &["CMD", "curl", "-f", "http://localhost:8080/healthz"][..],
                "http 8080/healthz",
            ),
            (&["CMD", "curl", "-fsS", "http://127.0.0.1"], "http 80/"),
            (&["CMD", "curl", "-k", "https://localhost"], "tcp 443"),
            (&["CMD", "curl", "-f", "localhost:3000/a"], "http 3000/a"),
            (
                &["CMD-SHELL", "curl -f http://localhost/ || exit 1"],
                "http 80/",
            ),
            (
                &["CMD", "wget", "-q", "--spider", "http://localhost:9200"],
                "http 9200/",
            ),
            (
                &["CMD-SHELL", "wget -qO- http://localhost:80/ > /dev/null"],
                "http 80/",
            ),
            (&["CMD", "nc", "-z", "localhost", "5000"], "tcp 5000"),
            (&["CMD", "sh", "-c", "nc -z 127.0.0.1 53"], "tcp 53"),
            (&["CMD-SHELL", "pg_isready -U postgres"], "tcp 5432"),
            (&["CMD", "pg_isready", "-p", "5433"], "tcp 5433"),
            (&["CMD", "redis-cli", "ping"], "tcp 6379"),
            (&["CMD", "redis-cli", "--raw", "incr", "ping"], "tcp 6379"),
            (
                &["CMD-SHELL", "redis-cli -p 6380 ping | grep PONG"],
                "tcp 6380",
            ),
            (
                &["CMD", "mysqladmin", "ping", "-h", "localhost"],
                "tcp 3306",
            ),
            (&["CMD", "curl", "http://other:80/"], "nothing"),
            (&["CMD", "curl", "http://localhost:x/"], "nothing"),
            (&["CMD", "/bin/check"], "nothing"),
            (&["CMD-SHELL", "test -f /ready"], "nothing"),
            (&["CMD-SHELL", "'"], "nothing"),
            (&["CMD"], "nothing"),
            (&[], "nothing"),
        ] {
            assert_eq!(shown(words), expected, "{words:?}");
        }
    }
}
