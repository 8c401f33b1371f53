//! Unreachable servers: errors of images, catalogs, Git and the cloud name the cause and what to
//! check.

use std::net::TcpListener;

use crate::support::Home;

/// A port of this host at which no server listens.
fn closed_port() -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    listener.local_addr().unwrap().port()
}

/// A port at which a server accepts connections and closes them again, as one without TLS does.
fn rude_server() -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            use std::io::Write as _;
            let _ =
                stream.and_then(|mut stream| stream.write_all(b"HTTP/1.1 400 Bad Request\r\n\r\n"));
        }
    });
    port
}

fn hints(home: &Home, words: &[&str], metro: &str) -> String {
    let mut command = home.command(words);
    command
        .env("KRAFTKIT_HTTP_RETRIES", "0")
        .env("UKC_METRO", metro)
        .env("UKC_TOKEN", "dXNlcjp0b2tlbg==");
    let outcome = home.finish(&mut command).exits(4);
    assert_eq!(outcome.stdout, "");
    outcome.stderr
}

#[test]
fn an_unknown_host_name_and_a_closed_port_have_different_errors() {
    let home = Home::new();
    let port = closed_port();
    for (server, hint) in [
        (
            "nowhere.invalid".to_owned(),
            "check the spelling of the host name",
        ),
        (format!("localhost:{port}"), "no server listens there"),
    ] {
        let image = format!("{server}/x:1");
        let index = format!("https://{server}/index.yaml");
        let archive = format!("https://{server}/lib.tar.gz");
        let git = format!("https://{server}/lib.git");
        home.write(
            "archive/Kraftfile",
            format!("spec: v0.6\nunikraft: {{source: \"{archive}\"}}\ntargets: [qemu/x86_64]\n"),
        );
        home.write(
            "git/Kraftfile",
            format!("spec: v0.6\nunikraft: {{source: \"{git}\"}}\ntargets: [qemu/x86_64]\n"),
        );
        let metro = format!("https://{server}/v1");
        for words in [
            &["pkg", "pull", &image][..],
            &["pkg", "update", "--with-manifest", &index],
            &["fetch", "archive"],
            &["fetch", "git"],
            &["cloud", "instance", "list"],
        ] {
            let stderr = hints(&home, words, &metro);
            assert!(stderr.contains(hint), "{words:?}: {stderr}");
        }
    }
}

#[test]
fn the_error_of_a_server_without_tls_names_its_port() {
    let home = Home::new();
    let index = format!("https://localhost:{}/index.yaml", rude_server());
    let stderr = hints(&home, &["pkg", "update", "--with-manifest", &index], "fra");
    assert!(stderr.contains("may not speak TLS"), "{stderr}");
}
