//! Each application with its clients, in a test of its own.

use crate::catalog::{ALL, Application};
use crate::guest::{Guest, exists, root};

fn runs(name: &str, arch: &str) {
    let application = Application::named(name);
    if !exists(arch, application.root) {
        return;
    }
    let root = root(arch, application.root).unwrap();
    let guest = Guest::new(&root, arch, application.memory(arch));
    if let Err(why) = application.prove(&guest, false) {
        panic!("{name} on {arch}: {why}");
    }
}

macro_rules! tests {
    ($arch:literal: $($test:ident = $name:literal),* $(,)?) => {
        $(
            #[test]
            #[ignore = "make applications"]
            fn $test() {
                runs($name, $arch);
            }
        )*

        /// The applications with a test.
        pub(super) const TESTED: &[&str] = &[$($name),*];
    };
}

mod x86_64 {
    use super::runs;

    tests! { "x86_64":
        busybox = "busybox", bash = "bash", python_threads = "python-threads",
        python_http = "python-http", perl = "perl", perl_http = "perl-http", lua = "lua",
        curl = "curl", go = "go", axum = "axum", nginx = "nginx", haproxy = "haproxy",
        redis = "redis", memcached = "memcached", sqlite = "sqlite",
        sqlite_on_a_volume = "sqlite-volume", postgresql = "postgresql", node = "node",
        ruby = "ruby", php = "php", java = "java", gawk = "gawk", tcl = "tcl", git = "git",
    }
}

mod arm64 {
    use super::runs;

    tests! { "arm64":
        busybox = "busybox", bash = "bash", python_threads = "python-threads",
        python_http = "python-http", perl = "perl", perl_http = "perl-http", lua = "lua",
        curl = "curl", go = "go", axum = "axum",
    }
}

#[test]
fn every_application_has_its_test() {
    for (arch, tested) in [("x86_64", x86_64::TESTED), ("arm64", arm64::TESTED)] {
        let run = ALL.iter().filter(|one| one.memory(arch) > 0);
        let names: Vec<_> = run.map(|one| one.name).collect();
        assert_eq!(names, tested, "{arch}");
    }
}
