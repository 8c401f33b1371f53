//! An application of five services that a Compose file describes, as root and as an ordinary user:
//! their order, names, volume and restarts, and what is left of them.

use std::fs;

use kraft_e2e::harness::eventually;
use kraft_e2e::networks::{Place, get, traces};
use kraft_e2e::registry::free_port;
use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;

/// A part of the application, by its first argument, each with HTTP on port 8080:
/// `leaf NAME [FILE]` answers with its name and the number of lines in the file, to which `/add` adds
/// one; `front NAME HOST…` answers with its name and what the hosts answer; `once HOST PATH` requests
/// one path and ends; `worker HOST PATH` requests it and stays.
const PART: &str = r#"
#include <arpa/inet.h>
#include <netdb.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>
static int fetch(const char *host, const char *path, char *out, size_t size) {
    struct addrinfo hints = {.ai_family = AF_INET, .ai_socktype = SOCK_STREAM}, *found;
    char text[4096];
    int all = 0, got;
    if (getaddrinfo(host, "8080", &hints, &found)) return -1;
    int server = socket(AF_INET, SOCK_STREAM, 0);
    if (connect(server, found->ai_addr, found->ai_addrlen)) { close(server); return -1; }
    dprintf(server, "GET %s HTTP/1.0\r\n\r\n", path);
    while ((got = read(server, text + all, sizeof text - 1 - all)) > 0) all += got;
    close(server);
    text[all] = 0;
    char *body = strstr(text, "\r\n\r\n");
    snprintf(out, size, "%s", body ? body + 4 : "nothing");
    return body ? 0 : -1;
}
int main(int count, char **words) {
    setvbuf(stdout, 0, _IONBF, 0);
    char *kind = words[1], answer[4096];
    if (!strcmp(kind, "once") || !strcmp(kind, "worker")) {
        if (fetch(words[2], words[3], answer, sizeof answer)) { printf("no answer\n"); return 3; }
        printf("%s\n", answer);
        if (!strcmp(kind, "worker")) for (;;) pause();
        return 0;
    }
    int server = socket(AF_INET, SOCK_STREAM, 0), one = 1;
    setsockopt(server, SOL_SOCKET, SO_REUSEADDR, &one, sizeof one);
    struct sockaddr_in any = {.sin_family = AF_INET, .sin_port = htons(8080)};
    if (bind(server, (void *)&any, sizeof any) || listen(server, 8)) return 1;
    printf("%s listens\n", words[2]);
    for (;;) {
        char request[4096] = {0};
        int client = accept(server, 0, 0);
        if (read(client, request, sizeof request - 1) <= 0) { close(client); continue; }
        char *at = answer + sprintf(answer, "%s", words[2]);
        if (!strcmp(kind, "leaf") && count > 3) {
            FILE *file = fopen(words[3], strstr(request, "/add") ? "a+" : "r");
            int lines = 0, next;
            if (file && strstr(request, "/add")) { fputs("line\n", file); fflush(file); rewind(file); }
            while (file && (next = fgetc(file)) != EOF) lines += next == '\n';
            if (file) fclose(file);
            at += sprintf(at, " %d", lines);
        }
        for (int i = 3; !strcmp(kind, "front") && i < count; i++) {
            char inner[1024];
            int failed = fetch(words[i], "/", inner, sizeof inner);
            at += sprintf(at, " (%s)", failed ? "nothing" : inner);
        }
        dprintf(client, "HTTP/1.0 200 OK\r\n\r\n%s", answer);
        close(client);
    }
}
"#;

const DOCKERFILE: &str = "FROM scratch\nCOPY part /bin/part\nENTRYPOINT [\"/bin/part\"]\n";

/// Returns the files of the application; its web server is at a port of the host.
fn application(port: u16) -> String {
    format!(
        r#"
name: shop
x-part: &part
  build: .
  mem_limit: 64m
services:
  web:
    <<: *part
    command: front web api
    ports: ["127.0.0.1:{port}:8080"]
    depends_on: [api]
    restart: always
    cap_add: [NET_BIND_SERVICE]
  api:
    <<: *part
    command: [front, "${{API:-api}}", database, cache]
    hostname: backend
    depends_on:
      db: {{condition: service_healthy}}
      cache: {{condition: service_healthy}}
      first: {{condition: service_completed_successfully}}
    healthcheck: {{test: ["CMD", "wget", "-q", "http://localhost:8080/"], interval: 1s}}
  db:
    <<: *part
    command: [leaf, db, /data/log]
    volumes: [data:/data]
    networks: {{default: {{aliases: [database]}}}}
    healthcheck: {{test: "curl -f http://localhost:8080/ || exit 1", interval: 1s}}
  cache:
    <<: *part
    command: [leaf, cache, /run/secrets/lines]
    secrets: [lines]
    healthcheck: {{test: [CMD, nc, -z, localhost, "8080"], interval: 1s}}
  first:
    <<: *part
    command: [once, db, /add]
    depends_on: {{db: {{condition: service_healthy}}}}
volumes:
  data:
secrets:
  lines: {{file: ./lines.txt}}
"#
    )
}

/// Returns the machines of the project by their services: state, process and restarts.
fn machine(place: &Place, service: &str) -> Value {
    let rows = place.json(["compose", "ps", "--all", "-o", "json", service]);
    rows[0].clone()
}

fn five_services(ordinary: bool) {
    let Some(place) = Place::with(ordinary, &[("part", PART)]) else {
        return;
    };
    let before = traces();
    let port = free_port();
    let dir = place.bench.path();
    fs::write(dir.join("Dockerfile"), DOCKERFILE).unwrap();
    fs::write(dir.join("compose.yaml"), application(port)).unwrap();
    fs::write(dir.join("lines.txt"), "one\ntwo\n").unwrap();
    let up = place.kraft(["compose", "up", "--detach"]).success();
    assert_eq!(
        up.stdout,
        "shop-cache\nshop-db\nshop-first\nshop-api\nshop-web\n"
    );
    assert!(
        up.stderr.contains("no effect on unikernels: cap_add"),
        "{}",
        up.stderr
    );
    let answers = |expected: &str| {
        let mut last = None;
        eventually(expected, || {
            last = get(port);
            last.as_deref() == Some(expected)
        });
    };
    answers("web (api (db 1) (cache 2))");
    assert_eq!(machine(&place, "first")["exit_code"], 0);
    let logs = place.ok(["compose", "logs", "web", "db"]).replace('\r', "");
    assert_eq!(logs, "db  | db listens\nweb | web listens\n");
    // What has not changed stays as it is, what ended is started again.
    let web = machine(&place, "web");
    let again = place.kraft(["compose", "up", "--detach"]).success();
    assert!(!again.stderr.contains("creating"), "{}", again.stderr);
    assert_eq!(machine(&place, "web")["pid"], web["pid"]);
    // What has changed is created again, and only that.
    let mut changed = place.command(["compose", "up", "--detach", "api"]);
    let changed = changed.env("API", "new").output().unwrap();
    let stderr = String::from_utf8_lossy(&changed.stderr).into_owned();
    assert!(changed.status.success(), "{stderr}");
    assert!(stderr.contains("shop-api has changed"), "{stderr}");
    assert_eq!(machine(&place, "web")["pid"], web["pid"]);
    answers("web (new (db 3) (cache 2))");
    // A VMM that is killed comes back by its policy.
    let pid = i32::try_from(web["pid"].as_i64().unwrap()).unwrap();
    kill_process(Pid::from_raw(pid).unwrap(), Signal::KILL).unwrap();
    eventually("the web server is started again", || {
        let web = machine(&place, "web");
        web["restarts"].as_u64() > Some(0) && web["state"] == "running"
    });
    answers("web (new (db 3) (cache 2))");
    let down = place.ok(["compose", "down"]);
    assert!(
        down.ends_with("shop-db\nshop-cache\nshop_default\n"),
        "{down}"
    );
    // The volume is still there.
    place.ok(["compose", "up", "--detach", "--wait", "db"]);
    place.ok(["compose", "up", "--detach", "web"]);
    answers("web (api (db 4) (cache 2))");
    let down = place.ok(["compose", "down", "--volumes"]);
    assert!(down.ends_with("shop_default\nshop_data\n"), "{down}");
    assert_eq!(place.ok(["compose", "ls", "--all", "--quiet"]), "");
    place.nothing_is_left(&before);
}

#[test]
fn five_services_start_in_order_keep_their_data_and_come_back() {
    five_services(false);
}

#[test]
fn five_services_of_an_ordinary_user_start_in_order_keep_their_data_and_come_back() {
    five_services(true);
}

#[test]
fn up_returns_the_status_of_a_service_and_names_a_dependency_that_failed() {
    let Some(place) = Place::with(false, &[("part", PART)]) else {
        return;
    };
    let before = traces();
    let dir = place.bench.path();
    fs::write(dir.join("Dockerfile"), DOCKERFILE).unwrap();
    // There is no service `nobody`: the job ends with status 3.
    let file = "name: shop\nservices:\n  job: {build: ., command: once nobody /}\n  \
                web: {build: ., command: leaf web}\n  \
                late: {build: ., command: leaf late, profiles: [more], depends_on: \
                {job: {condition: service_completed_successfully}}}\n";
    fs::write(dir.join("compose.yaml"), file).unwrap();
    let up = place.kraft(["compose", "up", "--exit-code-from", "job"]);
    assert_eq!(up.code, Some(3), "{}", up.stderr);
    let printed = up.stdout.replace('\r', "");
    assert!(printed.contains("job | no answer\n"), "{printed}");
    assert_eq!(machine(&place, "web")["pid"], Value::Null);
    let late = place.kraft(["compose", "up", "--detach", "late"]);
    assert_eq!(late.code, Some(1), "{}", late.stderr);
    let why = "dependency failed to start: `job` exited with status 3";
    assert!(late.stderr.contains(why), "{}", late.stderr);
    assert_eq!(machine(&place, "late")["state"], "created");
    place.ok(["compose", "down"]);
    place.nothing_is_left(&before);
}
