//! A project of every kind that `kraft init` knows: created, built, run, and asked over its port.
//!
//! The base images of the Dockerfiles that `kraft init` writes come from a registry of the test. Each is made of
//! packages of Debian (`scripts/make-applications.sh bases`) and has the name of the image that it stands for.
//! Elixir is left out: its build downloads Hex, which no package has. C sources are built and run in the
//! suite `build`.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};

use kraft_e2e::dockerfiles::push_image;
use kraft_e2e::harness::{Bench, Outcome, skip};
use kraft_e2e::registry::{Registry, free_port, installed};

use crate::guest::{exists, root};

/// How long a build may take, and a machine until it answers.
const PATIENCE: Duration = Duration::from_mins(10);
/// The variables of every base image.
const ENV: &[&str] = &["PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"];
/// Those of one: what the image that it stands for does otherwise.
const MORE_ENV: &[(&str, &[&str])] = &[
    // On Alpine, programs are static.
    ("rust", &["RUSTFLAGS=-C target-feature=+crt-static"]),
    (
        "gradle",
        &["JAVA_HOME=/usr/lib/jvm/java-17-openjdk-amd64", "HOME=/root"],
    ),
    ("golang", &["HOME=/root"]),
];

/// Files of a project, and the port that the application listens on.
struct Project {
    files: &'static [(&'static str, &'static str)],
    port: u16,
}

/// Pulls the base images of a project's Dockerfile from a registry; returns whether all of them exist.
fn pull_bases(bench: &Bench, app: &Path) -> bool {
    let Ok(dockerfile) = fs::read_to_string(app.join("Dockerfile")) else {
        return true;
    };
    let mut bases: Vec<&str> = dockerfile
        .lines()
        .filter_map(|line| line.strip_prefix("FROM ")?.split(' ').next())
        .filter(|base| *base != "scratch")
        .collect();
    bases.sort_unstable();
    bases.dedup();
    let Some(registry) = Registry::plain() else {
        return false;
    };
    for base in bases {
        let (repository, _) = base.split_once(':').unwrap();
        let name = repository.rsplit('/').next().unwrap();
        let root_name = format!("base-{name}");
        if !exists("x86_64", &root_name) {
            return false;
        }
        let tar = bench.path().join("base.tar");
        let packed = Command::new("tar")
            .args(["--owner=0", "--group=0", "-C"])
            .args([&root("x86_64", &root_name).unwrap(), Path::new("-cf"), &tar])
            .arg(".")
            .status();
        assert!(packed.unwrap().success());
        let more = MORE_ENV.iter().find(|(of, _)| *of == name);
        let env = [ENV, more.map_or(&[], |(_, env)| env)].concat();
        let local = registry.name(&format!("base/{base}"));
        push_image(&registry, &tar, &local, &env);
        // A container image is pulled for a Dockerfile.
        let context = bench.path().join("base");
        fs::create_dir_all(&context).unwrap();
        fs::write(context.join("Dockerfile"), format!("FROM {local}\n")).unwrap();
        bench.ok(["rootfs", "build", "base/Dockerfile", "-o", "base.cpio"]);
        let public = if repository.contains('/') {
            ""
        } else {
            "library/"
        };
        bench.ok(["tag", &local, &format!("docker.io/{public}{base}")]);
    }
    true
}

/// Creates a project with files, and lets `kraft init` find out what it is; `None` (and said so) if
/// something is missing here.
fn created(project: &Project) -> Option<Bench> {
    if !exists("x86_64", "base-busybox") {
        return None;
    }
    if !installed("curl") {
        skip("curl is not installed: scripts/setup.sh demo");
        return None;
    }
    let bench = Bench::new()
        .env("KRAFTKIT_BUILDER", "kraft")
        .limit(PATIENCE);
    let app = bench.path().join("app");
    for (name, text) in project.files {
        let path = app.join(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, text).unwrap();
    }
    Some(bench)
}

/// Asks a server for its page until it answers.
fn page(bench: &Bench, port: u16) -> String {
    let url = format!("http://127.0.0.1:{port}/");
    let deadline = Instant::now() + PATIENCE;
    loop {
        let curl = [
            "--silent",
            "--fail",
            "--max-time",
            "60",
            "--noproxy",
            "*",
            &url,
        ];
        let answer = Command::new("curl").args(curl).output().unwrap();
        if answer.status.success() {
            return String::from_utf8(answer.stdout).unwrap();
        }
        if Instant::now() > deadline || bench.state("m") != "running" {
            panic!("no answer: {:?}", bench.kraft(["logs", "m"]));
        }
        std::thread::sleep(Duration::from_millis(200));
    }
}

/// Runs the project as `kraft init` says, and asks it.
fn runs(project: &Project) {
    let Some(bench) = created(project) else {
        return;
    };
    let init = bench.kraft(["init", "app"]).success();
    assert!(init.stdout.contains("app/Kraftfile"), "{init:?}");
    assert!(init.stderr.contains("`kraft run"), "{init:?}");
    if !pull_bases(&bench, &bench.path().join("app")) {
        return;
    }
    let port = free_port();
    let published = format!("127.0.0.1:{port}:{}", project.port);
    let begun = Instant::now();
    let run = ["run", "-d", "-n", "m", "-p", &published, "app"];
    let _ = offline(&bench, &run).success();
    let built = begun.elapsed();
    let page = page(&bench, port);
    assert!(page.contains("Hello from a project"), "{page}");
    eprintln!(
        "built in {} s, answered after {} s",
        built.as_secs(),
        (begun.elapsed() - built).as_secs()
    );
    bench.ok(["rm", "--force", "m"]);
}

/// Runs kraft without a network: what it needs is in the store.
fn offline(bench: &Bench, args: &[&str]) -> Outcome {
    let mut command = bench.command(args);
    Outcome::within(PATIENCE, command.env("KRAFTKIT_OFFLINE", "true"))
}

#[test]
#[ignore = "make projects"]
fn a_dockerfile() {
    runs(&Project {
        files: &[
            (
                "Dockerfile",
                "FROM busybox:1.37-musl\nCOPY www /www\nCMD [\"/bin/busybox\", \"httpd\", \"-f\", \"-p\", \"80\", \"-h\", \"/www\"]\n",
            ),
            ("www/index.html", "Hello from a project\n"),
        ],
        port: 80,
    });
}

#[test]
#[ignore = "make projects"]
fn a_compose_file() {
    let project = Project {
        files: &[
            (
                "web/Dockerfile",
                "FROM busybox:1.37-musl\nCOPY index.html /www/\nCMD [\"/bin/busybox\", \"httpd\", \"-f\", \"-p\", \"80\", \"-h\", \"/www\"]\n",
            ),
            ("web/index.html", "Hello from a project\n"),
        ],
        port: 80,
    };
    let Some(bench) = created(&project) else {
        return;
    };
    let app = bench.path().join("app");
    let port = free_port();
    let compose = format!(
        "services:\n  web:\n    build: ./web\n    container_name: m\n    ports: [\"127.0.0.1:{port}:80\"]\n"
    );
    fs::write(app.join("compose.yaml"), compose).unwrap();
    let init = bench.kraft(["init", "app"]).success();
    assert!(init.stderr.contains("`kraft compose up`"), "{init:?}");
    if !pull_bases(&bench, &app.join("web")) {
        return;
    }
    let file = app.join("compose.yaml");
    let file = file.to_str().unwrap();
    let _ = offline(&bench, &["compose", "-f", file, "up", "-d"]).success();
    assert!(page(&bench, port).contains("Hello from a project"));
    bench.ok(["compose", "-f", file, "down"]);
}

#[test]
#[ignore = "make projects"]
fn node() {
    runs(&Project {
        files: &[
            (
                "package.json",
                "{\"scripts\": {\"start\": \"node server.js\"}}",
            ),
            (
                "server.js",
                "require('http').createServer((_, answer) => answer.end('Hello from a project\\n')).listen(process.env.PORT);\n",
            ),
        ],
        port: 8080,
    });
}

#[test]
#[ignore = "make projects"]
fn python() {
    runs(&Project {
        files: &[
            ("requirements.txt", "# nothing\n"),
            (
                "app.py",
                "import http.server\n\n\nclass Hello(http.server.BaseHTTPRequestHandler):\n    def do_GET(self):\n        self.send_response(200)\n        self.end_headers()\n        self.wfile.write(b'Hello from a project\\n')\n\n\nif __name__ == '__main__':\n    http.server.HTTPServer(('', 5000), Hello).serve_forever()\n",
            ),
        ],
        port: 5000,
    });
}

#[test]
#[ignore = "make projects"]
fn go() {
    runs(&Project {
        files: &[
            ("go.mod", "module hello\n\ngo 1.19\n"),
            (
                "main.go",
                "package main\n\nimport (\n\t\"fmt\"\n\t\"net/http\"\n)\n\nfunc main() {\n\thttp.HandleFunc(\"/\", func(w http.ResponseWriter, _ *http.Request) { fmt.Fprintln(w, \"Hello from a project\") })\n\thttp.ListenAndServe(\":9090\", nil)\n}\n",
            ),
        ],
        port: 9090,
    });
}

#[test]
#[ignore = "make projects"]
fn rust() {
    runs(&Project {
        files: &[
            (
                "Cargo.toml",
                "[package]\nname = \"hello\"\nversion = \"0.1.0\"\nedition = \"2021\"\n",
            ),
            (
                "src/main.rs",
                "use std::io::{Read, Write};\n\nfn main() {\n    let listener = std::net::TcpListener::bind(\"0.0.0.0:4000\").unwrap();\n    for stream in listener.incoming() {\n        let mut stream = stream.unwrap();\n        let _ = stream.read(&mut [0; 4096]);\n        let _ = stream.write_all(b\"HTTP/1.0 200 OK\\r\\n\\r\\nHello from a project\\n\");\n    }\n}\n",
            ),
        ],
        port: 4000,
    });
}

#[test]
#[ignore = "make projects"]
fn php() {
    runs(&Project {
        files: &[
            ("composer.json", "{\"require\": {\"php\": \">=8\"}}"),
            ("index.php", "<?php echo \"Hello from a project\\n\";\n"),
        ],
        port: 8080,
    });
}

#[test]
#[ignore = "make projects"]
fn ruby() {
    runs(&Project {
        files: &[
            ("Gemfile", "source 'https://rubygems.org'\n"),
            (
                "app.rb",
                "require 'webrick'\n\nserver = WEBrick::HTTPServer.new(Port: 4567)\nserver.mount_proc('/') { |_, answer| answer.body = \"Hello from a project\\n\" }\nserver.start\n",
            ),
        ],
        port: 4567,
    });
}

#[test]
#[ignore = "make projects"]
fn java() {
    runs(&Project {
        files: &[
            (
                "build.gradle",
                "apply plugin: 'java'\njar { manifest { attributes 'Main-Class': 'Hello' } }\n",
            ),
            (
                "src/main/java/Hello.java",
                "import com.sun.net.httpserver.HttpServer;\nimport java.net.InetSocketAddress;\n\npublic class Hello {\n    public static void main(String[] arguments) throws Exception {\n        int port = Integer.parseInt(System.getenv(\"PORT\"));\n        HttpServer server = HttpServer.create(new InetSocketAddress(port), 0);\n        server.createContext(\"/\", exchange -> {\n            byte[] text = \"Hello from a project\\n\".getBytes();\n            exchange.sendResponseHeaders(200, text.length);\n            exchange.getResponseBody().write(text);\n            exchange.close();\n        });\n        server.start();\n    }\n}\n",
            ),
        ],
        port: 8080,
    });
}

#[test]
#[ignore = "make projects"]
fn deno() {
    runs(&Project {
        files: &[
            ("deno.json", "{}"),
            (
                "main.ts",
                "Deno.serve((_request: Request) => new Response(\"Hello from a project\\n\"));\n",
            ),
        ],
        port: 8000,
    });
}

#[test]
#[ignore = "make projects"]
fn a_web_site() {
    runs(&Project {
        files: &[("index.html", "<p>Hello from a project</p>\n")],
        port: 8080,
    });
}

/// Compiles a program with some flags, and runs it.
fn runs_program(flags: &[&str]) {
    let project = Project {
        files: &[(
            "../hello.c",
            "#include <netinet/in.h>\n#include <string.h>\n#include <sys/socket.h>\n#include <unistd.h>\n\nint main(void)\n{\n    static const char text[] = \"HTTP/1.0 200 OK\\r\\n\\r\\nHello from a project\\n\";\n    struct sockaddr_in address = { .sin_family = AF_INET, .sin_port = htons(8080) };\n    char request[4096];\n    int listener = socket(AF_INET, SOCK_STREAM, 0);\n    if (bind(listener, (struct sockaddr *)&address, sizeof address) || listen(listener, 8))\n        return 1;\n    for (;;) {\n        int client = accept(listener, 0, 0);\n        if (read(client, request, sizeof request) > 0)\n            write(client, text, strlen(text));\n        close(client);\n    }\n}\n",
        )],
        port: 8080,
    };
    let Some(bench) = created(&project) else {
        return;
    };
    if !installed("gcc") {
        skip("gcc is not installed: scripts/setup.sh test");
        return;
    }
    let app = bench.path().join("app");
    let program = app.join("hello");
    let compiled = Command::new("gcc")
        .args(flags)
        .arg("-o")
        .args([&program, &bench.path().join("hello.c")])
        .status();
    assert!(compiled.unwrap().success());
    fs::set_permissions(&program, fs::Permissions::from_mode(0o755)).unwrap();
    let init = bench.kraft(["init", "app"]).success();
    assert!(init.stderr.contains("`kraft run"), "{init:?}");
    let port = free_port();
    let published = format!("127.0.0.1:{port}:{}", project.port);
    let run = ["run", "-d", "-n", "m", "-p", &published, "app"];
    let _ = offline(&bench, &run).success();
    assert!(page(&bench, port).contains("Hello from a project"));
    bench.ok(["rm", "--force", "m"]);
}

#[test]
#[ignore = "make projects"]
fn a_program() {
    runs_program(&["-static"]);
}

#[test]
#[ignore = "make projects"]
fn a_program_with_the_libraries_of_this_host() {
    runs_program(&[]);
}
