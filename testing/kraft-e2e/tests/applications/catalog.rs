//! What runs, and with how much memory: the table in docs/runtime.md is made of it.

use crate::clients;
use crate::guest::{Done, Guest, Server, ensure};

/// An application, with the memory that is enough for it.
#[derive(Debug)]
pub(crate) struct Application {
    pub(crate) name: &'static str,
    /// The name of its root filesystem.
    pub(crate) root: &'static str,
    /// Memory of the machine on x86_64 and on arm64 in MiB; 0 if it is not run there.
    pub(crate) memory: [u32; 2],
    /// The program and its arguments.
    pub(crate) program: &'static [&'static str],
    pub(crate) proof: Proof,
}

/// What shows that an application works.
#[derive(Debug)]
pub(crate) enum Proof {
    /// It prints this text and ends with this status.
    Prints(&'static str, i32),
    /// It serves a port, answers, and satisfies its clients.
    Serves(u16, fn(u16) -> bool, fn(&Server<'_>) -> Done),
    /// Its own steps.
    Steps(fn(&Guest, &[&str]) -> Done),
}

impl Application {
    /// Returns the one with a name.
    pub(crate) fn named(name: &str) -> &'static Self {
        ALL.iter().find(|one| one.name == name).unwrap()
    }

    /// Returns the memory that is enough on an architecture, in MiB.
    pub(crate) fn memory(&self, arch: &str) -> u32 {
        self.memory[usize::from(arch == "arm64")]
    }

    /// Runs it with its clients; `light` only until the first answer.
    pub(crate) fn prove(&self, guest: &Guest, light: bool) -> Done {
        match self.proof {
            Proof::Prints(text, status) => {
                let outcome = guest.run(&[], self.program)?;
                let printed = outcome
                    .stdout
                    .replace(&format!("kraft: exit status {status}\n"), "");
                ensure(printed == text && outcome.code == Some(status), || {
                    format!("status {:?}\n{printed}{}", outcome.code, outcome.stderr)
                })
            }
            Proof::Serves(port, ready, drive) => {
                let server = guest.serve(&[], self.program, port, ready)?;
                if light {
                    return Ok(());
                }
                drive(&server).map_err(|why| format!("{why}\n{}", server.console()))
            }
            Proof::Steps(steps) => steps(guest, self.program),
        }
    }
}

use Proof::{Prints, Serves, Steps};

/// All of them.
pub(crate) const ALL: &[Application] = &[
    Application {
        name: "busybox",
        root: "busybox",
        memory: [24, 24],
        program: &["/bin/busybox", "sh", "/srv/script.sh"],
        proof: Prints(
            "997 987 979 \njob ended with 7\ntrapped USR1\nline 1\nline 2\nline 3\nline 4\nline 5\n\
             4c6426ac7ef186464ecbb0d81cbfcb1e  -\n1\nover TCP\ntrapped EXIT\n",
            3,
        ),
    },
    Application {
        name: "bash",
        root: "bash",
        memory: [32, 48],
        program: &["/bin/bash", "/srv/script.sh"],
        proof: Prints(BASH, 3),
    },
    Application {
        name: "python-threads",
        root: "python",
        memory: [96, 96],
        program: &["/usr/bin/python3", "/srv/threads.py"],
        proof: Prints(PYTHON, 0),
    },
    Application {
        name: "python-http",
        root: "python",
        memory: [96, 96],
        program: &[
            "/usr/bin/python3",
            "-m",
            "http.server",
            "-d",
            "/etc",
            "8080",
        ],
        proof: Serves(8080, clients::http_answers, clients::files),
    },
    Application {
        name: "perl",
        root: "perl",
        memory: [96, 192],
        program: &["/usr/bin/perl", "/srv/script.pl"],
        proof: Prints(
            "children 10\ninterrupted by alarm\npiped 1,4,9,16,25,36,49,64,81\n\
             hash 0:1000 1:1000 2:1000 3:1000 4:1000 5:1000 6:1000\n",
            3,
        ),
    },
    Application {
        name: "perl-http",
        root: "perl",
        memory: [96, 192],
        program: &["/usr/bin/perl", "/srv/server.pl"],
        proof: Serves(8080, clients::http_answers, clients::perl),
    },
    Application {
        name: "lua",
        root: "lua",
        memory: [16, 16],
        program: &["/usr/bin/lua5.4", "/srv/server.lua"],
        proof: Serves(8080, clients::http_answers, clients::lua),
    },
    Application {
        name: "curl",
        root: "curl",
        memory: [48, 64],
        program: &["/usr/bin/curl", "-sS", "--max-time", "60"],
        proof: Steps(clients::curl),
    },
    Application {
        name: "go",
        root: "go",
        memory: [24, 24],
        program: &["/bin/server"],
        proof: Serves(8080, clients::http_answers, clients::go),
    },
    Application {
        name: "axum",
        root: "axum",
        memory: [16, 16],
        program: &["/bin/server"],
        proof: Serves(8080, clients::http_answers, clients::axum),
    },
    Application {
        name: "nginx",
        root: "nginx",
        memory: [32, 0],
        program: &["/usr/sbin/nginx"],
        proof: Serves(8080, clients::http_answers, clients::nginx),
    },
    Application {
        name: "haproxy",
        root: "haproxy",
        memory: [48, 0],
        program: &["/usr/sbin/haproxy", "-f", "/etc/haproxy.cfg"],
        proof: Serves(8080, clients::http_answers, clients::haproxy),
    },
    Application {
        name: "redis",
        root: "redis",
        memory: [48, 0],
        program: &["/usr/bin/redis-server", "/etc/redis.conf"],
        proof: Serves(6379, clients::redis_answers, clients::redis),
    },
    Application {
        name: "memcached",
        root: "memcached",
        memory: [24, 0],
        program: &[
            "/usr/bin/memcached",
            "-u",
            "nobody",
            "-l",
            "0.0.0.0",
            "-m",
            "16",
        ],
        proof: Serves(11211, clients::memcached_answers, clients::memcached),
    },
    Application {
        name: "sqlite",
        root: "sqlite",
        memory: [16, 0],
        program: &[
            "/usr/bin/sqlite3",
            "/tmp/test.db",
            ".read /srv/script.sql",
            ".read /srv/wal.sql",
        ],
        proof: Prints("delete\n0\n2000|2001000\n777\nok\nwal\n10\n0|8|8\n", 0),
    },
    Application {
        name: "sqlite-volume",
        root: "sqlite",
        memory: [32, 0],
        program: &["/usr/bin/sqlite3", "/data/test.db"],
        proof: Steps(clients::sqlite_volume),
    },
    Application {
        name: "postgresql",
        root: "postgresql",
        memory: [256, 0],
        program: &["/bin/sh", "/srv/start.sh"],
        proof: Serves(5432, clients::postgresql_answers, clients::postgresql),
    },
    Application {
        name: "node",
        root: "node",
        memory: [256, 0],
        program: &["/usr/bin/node", "/srv/server.js"],
        proof: Serves(8080, clients::http_answers, clients::node),
    },
    Application {
        name: "ruby",
        root: "ruby",
        memory: [64, 0],
        program: &["/usr/bin/ruby", "/srv/server.rb"],
        proof: Serves(8080, clients::http_answers, clients::ruby),
    },
    Application {
        name: "php",
        root: "php",
        memory: [96, 0],
        program: &["/usr/bin/php8.2", "-S", "0.0.0.0:8080", "/srv/index.php"],
        proof: Serves(8080, clients::http_answers, clients::php),
    },
    Application {
        name: "java",
        root: "java",
        memory: [384, 0],
        program: &[
            "/usr/lib/jvm/java-17-openjdk-amd64/bin/java",
            "-cp",
            "/srv",
            "HelloServer",
        ],
        proof: Serves(8080, clients::http_answers, clients::java),
    },
    Application {
        name: "gawk",
        root: "gawk",
        memory: [48, 0],
        program: &["/usr/bin/gawk", "-f", "/srv/script.awk"],
        proof: Prints("sum 338350\na<bbb>c<b>\napple\nfig\npear\n", 3),
    },
    Application {
        name: "tcl",
        root: "tcl",
        memory: [48, 0],
        program: &["/usr/bin/tclsh8.6", "/srv/script.tcl"],
        proof: Prints("answers 20\n", 3),
    },
    Application {
        name: "git",
        root: "git",
        memory: [128, 0],
        program: &["/bin/sh", "/srv/script.sh"],
        proof: Prints("xxxxxxx\n", 3),
    },
];

/// What testing/kraft-e2e/applications/bash prints.
pub(crate) const BASH: &str = "1 4 9 16 25 36 49 64 81\nstopped\nrunning\n\
    [1]+  Terminated              sleep 100\njob ended with 143\ntrapped USR1\n\
    through a coprocess\n6\nstatuses sum up to 210\nSIGCHLD came\nin a subshell\n\
    it ended with 9\ntimeout gives 124\ntrapped EXIT\n";

/// What testing/kraft-e2e/applications/python prints.
pub(crate) const PYTHON: &str = "threads 20000\nqueues 39800\nasyncio 50\npool 328350\n\
    processes 328350\nsubprocess 42\nsocketpair 1000\nsqlite 2\n";
