//! Compose projects without a machine that runs: exit codes, the files and the name of a project, and
//! what `config` prints.

use crate::support::Home;

/// Runs `kraft` offline, and returns its exit code and everything it printed.
fn offline(home: &Home, line: &str) -> (i32, String) {
    let words: Vec<&str> = line.split(' ').collect();
    let outcome = home.finish(home.command(&words).env("KRAFTKIT_OFFLINE", "true"));
    (
        outcome.code,
        format!("{}{}", outcome.stdout, outcome.stderr),
    )
}

#[test]
fn exit_codes_are_those_of_docker() {
    let home = Home::new();
    home.write("bad.yaml", "services: {web: {image: x, scale: many}}\n");
    home.write("name.yaml", "name: My Shop\nservices: {web: {image: x}}\n");
    home.write(
        "volume.yaml",
        "services: {web: {image: x, volumes: ['data:/data']}}\n",
    );
    home.write("pull.yaml", "services: {web: {image: nginx}}\n");
    home.write("build.yaml", "services: {web: {build: ./app}}\n");
    home.write("app/Dockerfile", "FROM scratch\nWRONG instruction\n");
    home.write(
        "include.yaml",
        "include: [absent.yaml]\nservices: {web: {image: x}}\n",
    );
    home.write(
        "extend.yaml",
        "services: {web: {extends: {file: absent.yaml, service: web}}}\n",
    );
    home.write("gone.yaml", "services: {web: {build: ./gone}}\n");
    for (line, code, why) in [
        ("compose up", 14, "there is no Compose file"),
        ("compose -f absent.yaml ps", 14, "absent.yaml"),
        (
            "compose -f include.yaml config",
            14,
            "cannot read `absent.yaml`",
        ),
        ("compose -f extend.yaml up", 14, "cannot read `absent.yaml`"),
        (
            "compose -f bad.yaml config",
            15,
            "`many`: it is not a number",
        ),
        (
            "compose -f name.yaml config",
            15,
            "`My Shop` is not a valid project name",
        ),
        (
            "compose -p Shop -f pull.yaml config",
            15,
            "`Shop` is not a valid project name",
        ),
        (
            "compose -f volume.yaml up",
            15,
            "the volume `data` is not declared",
        ),
        ("compose up --nothing", 16, "unexpected argument"),
        ("compose donw", 16, "unrecognized subcommand"),
        (
            "--log-level error compose up --scale web",
            16,
            "expected SERVICE=NUMBER",
        ),
        ("compose -f build.yaml up", 17, "`WRONG`"),
        ("compose -f build.yaml build", 17, "`WRONG`"),
        ("compose -f gone.yaml create", 17, "does not exist"),
        (
            "compose -f build.yaml up --no-build",
            3,
            "has no image that could be used",
        ),
        ("compose -f pull.yaml pull", 18, "no connection is opened"),
        ("compose -f pull.yaml up", 18, "no connection is opened"),
        // Everything else has the codes of kraft.
        (
            "compose -f pull.yaml up other",
            3,
            "no such service: `other`",
        ),
        (
            "compose -f pull.yaml exec web ls",
            7,
            "cannot start a program",
        ),
        ("cloud compose up", 3, "there is no Compose file"),
        ("ps --nothing", 2, "unexpected argument"),
    ] {
        let (found, text) = offline(&home, line);
        assert!(
            found == code && text.contains(why),
            "{line}: {found}: {text}"
        );
    }
    let (_, text) = offline(&home, "--log-type json compose up --nothing");
    assert!(text.contains(r#""code":"compose_usage""#), "{text}");
    let (_, text) = offline(&home, "--log-type json compose up");
    assert!(text.contains(r#""code":"compose_file""#), "{text}");
}

#[test]
fn the_files_of_a_project_are_found_by_their_names_and_variables() {
    let service = |name: &str| format!("services: {{{name}: {{image: x}}}}\n");
    for (files, env, expected) in [
        (&["compose.yaml"][..], &[][..], "compose.yaml"),
        (
            &["docker-compose.yml", "compose.yml"],
            &[],
            "docker-compose.yml",
        ),
        (
            &["compose.yaml", "compose.override.yaml"],
            &[],
            "compose.override.yaml compose.yaml",
        ),
        (
            &["compose.yaml", "docker-compose.override.yml"],
            &[],
            "compose.yaml docker-compose.override.yml",
        ),
        (
            &["a.yaml", "b.yaml", "compose.yaml"],
            &[("COMPOSE_FILE", "a.yaml:b.yaml")],
            "a.yaml b.yaml",
        ),
        (
            &["a.yaml", "b.yaml"],
            &[
                ("COMPOSE_FILE", "a.yaml;b.yaml"),
                ("COMPOSE_PATH_SEPARATOR", ";"),
            ],
            "a.yaml b.yaml",
        ),
    ] {
        for in_file in [false, true] {
            let home = Home::new();
            for file in files {
                home.write(file, service(&file.replace('.', "_")));
            }
            let mut command = home.command(&["compose", "config", "--services"]);
            if in_file {
                let lines = env.iter().map(|(name, value)| format!("{name}={value}\n"));
                home.write(".env", lines.collect::<String>());
            } else {
                command.envs(env.iter().copied());
            }
            let outcome = home.finish(&mut command);
            let mut found: Vec<&str> = outcome.stdout.lines().collect();
            found.sort_unstable();
            assert_eq!(
                found.join(" "),
                expected.replace('.', "_"),
                "{files:?} {}",
                outcome.stderr
            );
        }
    }
}

#[test]
fn config_prints_the_whole_or_a_part_to_stdout_or_a_file() {
    let home = Home::new();
    home.write(
        "compose.yaml",
        "name: shop\nservices:\n  web: {image: 'nginx:${TAG:-1}', profiles: [b, a]}\n  db: {image: redis, networks: [back]}\n\
         volumes: {data: }\nnetworks: {back: }\n",
    );
    for (flags, expected) in [
        ("--services", "db\n"),
        ("--images", "redis\n"),
        ("--volumes", "data\n"),
        ("--networks", "back\n"),
        ("--profiles", "a\nb\n"),
        ("-q", ""),
    ] {
        assert_eq!(home.ok(&["compose", "config", flags]), expected, "{flags}");
    }
    let all = home.ok(&["compose", "--profile", "*", "config", "--services"]);
    assert_eq!(all, "web\ndb\n");
    let hash = |word: &str| home.ok(&["compose", "config", "--hash", word]);
    assert!(hash("db").starts_with("db ") && hash("db").len() > 60);
    assert_eq!(hash("*").lines().count(), 2);
    let raw = home.ok(&["compose", "config", "--no-interpolate", "--format", "json"]);
    assert!(raw.contains("nginx:${TAG:-1}"), "{raw}");
    let whole = home.ok(&["compose", "config", "--format", "json"]);
    assert!(
        whole.contains(r#""image": "nginx:1""#) && whole.contains(r#""name": "shop""#),
        "{whole}"
    );
    assert_eq!(
        home.ok(&["compose", "config", "--format", "json", "-o", "out.json"]),
        ""
    );
    assert_eq!(
        std::fs::read_to_string(home.path().join("out.json")).unwrap(),
        whole
    );
}
