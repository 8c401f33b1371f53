//! Answers to questions for names of a network. Pure.

use std::collections::BTreeMap;
use std::net::Ipv4Addr;

use simple_dns::rdata::{A, RData};
use simple_dns::{CLASS, Name, Packet, PacketFlag, QTYPE, RCODE, ResourceRecord, TYPE};

/// The names by which machines reach the host: kraft's and Docker's.
const HOST: [&str; 2] = ["host.kraft.internal", "host.docker.internal"];
/// The domain whose names are never asked of others (reserved by ICANN for private networks).
const PRIVATE: &str = "internal";
/// How long an answer is valid, in seconds: machines come and go.
const VALID: u32 = 5;

/// The names of a network.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Names {
    /// The names of the network and of others.
    domains: Vec<String>,
    addresses: BTreeMap<String, Vec<Ipv4Addr>>,
    /// Whether nothing else is asked of others.
    internal: bool,
}

/// What to do with a question.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Reply {
    /// Answer with these bytes.
    Answer(Vec<u8>),
    /// Ask the name servers of the host.
    Ask,
    /// It is no question.
    Ignore,
}

impl Names {
    /// Creates the names of a network with a domain; `host` is the address of the host there. No
    /// question leaves an internal network: it could carry data out.
    pub(super) fn new(domain: &str, host: Option<Ipv4Addr>, internal: bool) -> Self {
        let mut addresses = BTreeMap::new();
        if let Some(host) = host {
            addresses.extend(HOST.map(|name| (name.to_owned(), vec![host])));
        }
        Self {
            domains: vec![domain.to_ascii_lowercase()],
            addresses,
            internal,
        }
    }

    /// Adds a machine under one of its names: alone, in the domain of the network and in the private
    /// one.
    pub(super) fn add(&mut self, name: &str, address: Ipv4Addr) {
        let domain = self.domains.first().cloned().unwrap_or_default();
        self.add_in(&domain, name, address);
    }

    /// Adds a domain whose names are answered here.
    pub(super) fn add_domain(&mut self, domain: &str) {
        self.domains.push(domain.to_ascii_lowercase());
    }

    /// Adds a machine as [`add`](Self::add) does, with the domain of its network.
    pub(super) fn add_in(&mut self, domain: &str, name: &str, address: Ipv4Addr) {
        let name = name.to_ascii_lowercase();
        let whole = format!("{name}.{}", domain.to_ascii_lowercase());
        for name in [format!("{name}.{PRIVATE}"), whole, name] {
            let addresses = self.addresses.entry(name).or_default();
            if !addresses.contains(&address) {
                addresses.push(address);
            }
        }
    }

    /// Returns what to do with a packet. `turn` is counted up from question to question: of several
    /// addresses another one comes first each time.
    pub(super) fn reply(&self, packet: &[u8], turn: usize) -> Reply {
        let Ok(query) = Packet::parse(packet) else {
            return Reply::Ignore;
        };
        if query.has_flags(PacketFlag::RESPONSE) {
            return Reply::Ignore;
        }
        let Some(question) = query.questions.first() else {
            return Reply::Ignore;
        };
        let name = question.qname.to_string().to_ascii_lowercase();
        let name = name.trim_end_matches('.');
        match self.addresses.get(name) {
            Some(addresses) => {
                let wanted = matches!(question.qtype, QTYPE::ANY | QTYPE::TYPE(TYPE::A));
                let start = turn.checked_rem(addresses.len()).unwrap_or(0);
                let turned = addresses.iter().cycle().skip(start).take(addresses.len());
                let found = turned.copied().filter(|_| wanted).collect();
                answer(&query, &question.qname, found, RCODE::NoError)
            }
            None if self.is_ours(name) => {
                answer(&query, &question.qname, Vec::new(), RCODE::NameError)
            }
            None if self.internal => {
                answer(&query, &question.qname, Vec::new(), RCODE::ServerFailure)
            }
            None => Reply::Ask,
        }
    }

    /// Returns whether only this network knows the name.
    fn is_ours(&self, name: &str) -> bool {
        let below = |domain: &str| {
            let rest = name.strip_suffix(domain);
            rest.is_some_and(|rest| rest.is_empty() || rest.ends_with('.'))
        };
        !name.contains('.') || below(PRIVATE) || self.domains.iter().any(|domain| below(domain))
    }
}

fn answer(query: &Packet<'_>, name: &Name<'_>, found: Vec<Ipv4Addr>, code: RCODE) -> Reply {
    let mut reply = Packet::new_reply(query.id());
    reply.set_flags(
        PacketFlag::RESPONSE | PacketFlag::AUTHORITATIVE_ANSWER | PacketFlag::RECURSION_AVAILABLE,
    );
    if query.has_flags(PacketFlag::RECURSION_DESIRED) {
        reply.set_flags(PacketFlag::RECURSION_DESIRED);
    }
    *reply.rcode_mut() = code;
    reply.questions = query.questions.iter().take(1).cloned().collect();
    for address in found {
        let data = RData::A(A::from(address));
        let record = ResourceRecord::new(name.clone(), CLASS::IN, VALID, data);
        reply.answers.push(record);
    }
    match reply.build_bytes_vec_compressed() {
        Ok(bytes) => Reply::Answer(bytes),
        Err(_) => Reply::Ignore,
    }
}

/// Returns an answer that says that no name server could be asked; nothing if it was no question.
pub(super) fn failure(packet: &[u8]) -> Option<Vec<u8>> {
    let query = Packet::parse(packet).ok()?;
    let question = query.questions.first()?;
    match answer(&query, &question.qname, Vec::new(), RCODE::ServerFailure) {
        Reply::Answer(bytes) => Some(bytes),
        Reply::Ask | Reply::Ignore => None,
    }
}

/// Returns the name servers of a `resolv.conf` (`resolv.conf(5)`).
pub(super) fn servers(text: &str) -> Vec<std::net::IpAddr> {
    let lines = text.lines().filter_map(|line| {
        let mut words = line.split_whitespace();
        (words.next()? == "nameserver").then(|| words.next()?.parse().ok())?
    });
    lines.take(3).collect()
}

#[cfg(test)]
mod tests {
    use simple_dns::{QCLASS, Question};

    use super::*;

    fn names() -> Names {
        let mut names = Names::new("Net", Some(Ipv4Addr::new(10, 0, 2, 2)), false);
        names.add("Web", Ipv4Addr::new(172, 18, 0, 2));
        names.add("db", Ipv4Addr::new(172, 18, 0, 3));
        names.add("db", Ipv4Addr::new(172, 18, 0, 4));
        names
    }

    fn query(name: &str, qtype: TYPE) -> Vec<u8> {
        let mut packet = Packet::new_query(7);
        packet.set_flags(PacketFlag::RECURSION_DESIRED);
        let name = Name::new_unchecked(name);
        let question = Question::new(name, qtype.into(), QCLASS::CLASS(CLASS::IN), false);
        packet.questions.push(question);
        packet.build_bytes_vec().unwrap()
    }

    /// Returns the addresses of the answer, or what else is done.
    fn asked(name: &str, qtype: TYPE, turn: usize) -> String {
        match names().reply(&query(name, qtype), turn) {
            Reply::Ask => "ask".to_owned(),
            Reply::Ignore => "ignore".to_owned(),
            Reply::Answer(bytes) => {
                let packet = Packet::parse(&bytes).unwrap();
                assert_eq!(packet.id(), 7);
                assert!(packet.has_flags(PacketFlag::RESPONSE | PacketFlag::RECURSION_DESIRED));
                let addresses = packet.answers.iter().map(|answer| match &answer.rdata {
                    RData::A(a) => Ipv4Addr::from(a.address).to_string(),
                    other => panic!("{other:?}"),
                });
                let addresses: Vec<String> = addresses.collect();
                format!("{:?} {}", packet.rcode(), addresses.join(" "))
                    .trim()
                    .to_owned()
            }
        }
    }

    #[test]
    fn machines_and_the_host_have_names_and_other_names_are_asked_of_others() {
        for (name, qtype, expected) in [
            ("web", TYPE::A, "NoError 172.18.0.2"),
            ("WEB.nEt", TYPE::A, "NoError 172.18.0.2"),
            ("web.internal", TYPE::A, "NoError 172.18.0.2"),
            ("web", TYPE::AAAA, "NoError"),
            ("web", TYPE::MX, "NoError"),
            ("host.kraft.internal", TYPE::A, "NoError 10.0.2.2"),
            ("host.docker.internal", TYPE::A, "NoError 10.0.2.2"),
            ("nobody", TYPE::A, "NameError"),
            ("nobody.net", TYPE::A, "NameError"),
            ("web.web.net", TYPE::A, "NameError"),
            ("nobody.internal", TYPE::A, "NameError"),
            ("internal", TYPE::A, "NameError"),
            ("web.example", TYPE::A, "ask"),
            ("wet.planet", TYPE::A, "ask"),
            ("example.org", TYPE::AAAA, "ask"),
        ] {
            assert_eq!(asked(name, qtype, 0), expected, "{name}");
        }
        assert_eq!(asked("db", TYPE::A, 4), "NoError 172.18.0.3 172.18.0.4");
        assert_eq!(asked("db", TYPE::A, 5), "NoError 172.18.0.4 172.18.0.3");
    }

    #[test]
    fn names_of_other_networks_of_a_machine_have_their_own_domain() {
        let mut names = names();
        names.add_domain("Back");
        names.add_in("Back", "store", Ipv4Addr::new(172, 19, 0, 2));
        for (name, expected) in [
            ("store", Some("172.19.0.2")),
            ("store.back", Some("172.19.0.2")),
            ("store.net", None),
            ("nobody.back", None),
            ("web.net", Some("172.18.0.2")),
        ] {
            let Reply::Answer(bytes) = names.reply(&query(name, TYPE::A), 0) else {
                panic!("{name}");
            };
            let packet = Packet::parse(&bytes).unwrap();
            let first = packet.answers.first().map(|answer| match &answer.rdata {
                RData::A(a) => Ipv4Addr::from(a.address).to_string(),
                other => panic!("{other:?}"),
            });
            assert_eq!(first.as_deref(), expected, "{name}");
        }
    }

    #[test]
    fn no_question_leaves_an_internal_network() {
        let mut names = Names::new("net", None, true);
        names.add("web", Ipv4Addr::new(172, 18, 0, 2));
        for (name, expected) in [
            ("web", RCODE::NoError),
            ("nobody", RCODE::NameError),
            ("data.example.org", RCODE::ServerFailure),
        ] {
            let reply = names.reply(&query(name, TYPE::A), 0);
            let Reply::Answer(bytes) = reply else {
                panic!("{name}: {reply:?}");
            };
            assert_eq!(Packet::parse(&bytes).unwrap().rcode(), expected, "{name}");
        }
    }

    #[test]
    fn what_is_no_question_is_ignored() {
        let mut answer = Packet::new_reply(1);
        answer.set_flags(PacketFlag::RESPONSE);
        let answer = answer.build_bytes_vec().unwrap();
        let empty = Packet::new_query(1).build_bytes_vec().unwrap();
        for packet in [&b""[..], b"\xff", &[0xff; 512], &answer, &empty] {
            assert_eq!(names().reply(packet, 0), Reply::Ignore, "{packet:?}");
        }
        let failed = failure(&query("a.example", TYPE::A)).unwrap();
        let failed = Packet::parse(&failed).unwrap();
        assert_eq!(failed.rcode(), RCODE::ServerFailure);
        assert_eq!(failure(b"x"), None);
    }

    #[test]
    fn name_servers_are_read_as_the_host_reads_them() {
        let text = "# x\nsearch a\nnameserver 127.0.0.53\nnameserver  fe80::1%eth0\n\
            nameserver ::1 \nnameserver\nnameserver 1.1.1.1\nnameserver 8.8.8.8\n";
        let servers: Vec<String> = servers(text).iter().map(ToString::to_string).collect();
        assert_eq!(servers, ["127.0.0.53", "::1", "1.1.1.1"]);
    }
}
