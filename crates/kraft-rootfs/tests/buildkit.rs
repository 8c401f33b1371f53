//! The Dockerfile language, its patterns and its copies, compared with the Go packages of BuildKit:
//! generated inputs go through both.
//!
//! Needs Go and its module proxy, and is skipped without them; `KRAFT_BUILDKIT=require` makes that
//! a failure. `KRAFT_SEED` makes other inputs.

#![expect(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::print_stderr,
    clippy::disallowed_methods,
    reason = "a test that cannot go on has failed, and says where"
)]
#![expect(
    clippy::format_push_string,
    clippy::similar_names,
    reason = "short is better than fast here"
)]

use std::collections::BTreeMap;
use std::error::Error as StdError;
use std::fs;
use std::io::{BufRead, BufReader, Write as _};
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, ChildStdout, Command as Process, Stdio};
use std::sync::OnceLock;

use kraft_core::dockerfile::patterns::{Glob, Patterns};
use kraft_core::dockerfile::{Command, Copy, Document, Instruction, Pair, Source, expand, parse};
use kraft_core::dockerfile::{MountKind, MountOptions, Sharing};
use kraft_rootfs::Options;
use kraft_rootfs::archive::{Kind, Reader};
use kraft_rootfs::dockerfile::{Image, Images, Recipe, execute};
use serde_json::{Value, json};

/// Variables of both sides.
const VARIABLES: [(&str, &str); 4] = [
    ("V", "x y"),
    ("EMPTY", ""),
    ("F", "lib/foo.tar.gz"),
    ("S", r"a*b?c\d[e]"),
];

/// The other side.
struct BuildKit {
    process: Child,
    input: ChildStdin,
    output: BufReader<ChildStdout>,
}

impl BuildKit {
    /// Builds and starts it; `None` where that is not possible.
    fn start() -> Option<Self> {
        static PROGRAM: OnceLock<Result<PathBuf, String>> = OnceLock::new();
        let program = match PROGRAM.get_or_init(build) {
            Ok(program) => program,
            Err(why) => {
                let required = std::env::var("KRAFT_BUILDKIT").is_ok_and(|it| it == "require");
                assert!(!required, "cannot build the Go program: {why}");
                eprintln!("skipped: cannot build the Go program: {why}");
                return None;
            }
        };
        let mut process = Process::new(program)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        Some(Self {
            input: process.stdin.take().unwrap(),
            output: BufReader::new(process.stdout.take().unwrap()),
            process,
        })
    }

    /// Asks for one thing.
    fn ask(&mut self, mut request: Value) -> Result<Value, String> {
        let variables = VARIABLES.map(|(name, value)| format!("{name}={value}"));
        request["Env"] = json!(variables);
        writeln!(self.input, "{request}").unwrap();
        let mut answer = String::new();
        self.output.read_line(&mut answer).unwrap();
        let mut answer: Value = serde_json::from_str(&answer).unwrap();
        match answer.get("error") {
            Some(error) => Err(error.as_str().unwrap().to_owned()),
            None => Ok(answer["value"].take()),
        }
    }
}

impl Drop for BuildKit {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

fn build() -> Result<PathBuf, String> {
    let program = Path::new(env!("CARGO_TARGET_TMPDIR")).join("buildkit");
    let built = Process::new("go")
        .args(["build", "-o"])
        .arg(&program)
        .arg(".")
        .current_dir(Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/buildkit"))
        .output()
        .map_err(|error| format!("go: {error}"))?;
    if built.status.success() {
        return Ok(program);
    }
    Err(String::from_utf8_lossy(&built.stderr).into_owned())
}

/// Returns a list of what inputs are made of.
fn corpus(name: &str) -> &'static [String] {
    static ALL: OnceLock<BTreeMap<String, Vec<String>>> = OnceLock::new();
    let all =
        ALL.get_or_init(|| serde_json::from_str(include_str!("buildkit/corpus.json")).unwrap());
    &all[name]
}

fn variable(name: &str) -> Option<String> {
    let known = VARIABLES.into_iter().find(|(known, _)| *known == name);
    known.map(|(_, value)| value.to_owned())
}

/// Numbers that are the same each time (xorshift).
struct Random(u64);

impl Random {
    fn new(test: u64) -> Self {
        let seed = std::env::var("KRAFT_SEED").ok();
        let seed = seed.and_then(|seed| seed.parse::<u64>().ok()).unwrap_or(1);
        Self(
            seed.wrapping_mul(0x9e37_79b9_7f4a_7c15)
                ^ (test + 1).wrapping_mul(0x2545_f491_4f6c_dd1d),
        )
    }

    fn below(&mut self, limit: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        usize::try_from(self.0 % limit as u64).unwrap()
    }

    fn one<'a>(&mut self, all: &[&'a str]) -> &'a str {
        all[self.below(all.len())]
    }

    /// Returns one of a list of the corpus.
    fn of(&mut self, name: &str) -> &'static str {
        let all = corpus(name);
        &all[self.below(all.len())]
    }

    /// Puts up to `most` of a list of the corpus together.
    fn some_of(&mut self, name: &str, most: usize) -> String {
        let count = self.below(most + 1);
        (0..count).map(|_| self.of(name)).collect()
    }
}

#[test]
fn words_and_documents_are_expanded_alike() {
    let Some(mut buildkit) = BuildKit::start() else {
        return;
    };
    let mut random = Random::new(1);
    let mut valid = 0;
    for round in 0..4000 {
        let word = random.some_of("fragments", 1 + round % 6);
        let escape = if round % 7 == 0 { '`' } else { '\\' };
        for op in ["word", "document"] {
            let request = json!({"Op": op, "Text": word, "Escape": escape.to_string()});
            let theirs = buildkit.ask(request);
            let ours = match op {
                "word" => expand::word(&word, escape, &variable),
                _ => expand::document(&word, escape, &variable),
            };
            match (&theirs, &ours) {
                (Ok(theirs), Ok(ours)) => {
                    assert_eq!(ours, theirs.as_str().unwrap(), "{op} {word:?}");
                }
                (Err(_), Err(_)) => {}
                _ => panic!("{op} {word:?}: {ours:?}, BuildKit: {theirs:?}"),
            }
            valid += usize::from(ours.is_ok());
        }
    }
    assert!(valid > 1000, "{valid}");
}

#[test]
fn instructions_are_read_alike() {
    let Some(mut buildkit) = BuildKit::start() else {
        return;
    };
    let mut random = Random::new(2);
    let mut valid = 0;
    for _ in 0..6000 {
        let text = dockerfile(&mut random);
        let theirs = buildkit.ask(json!({"Op": "parse", "Text": text}));
        let ours = read(&text);
        match (&theirs, &ours) {
            (Ok(theirs), Ok(ours)) => assert_eq!(&json!(ours), theirs, "{text}"),
            (Err(_), Err(_)) => {}
            // BuildKit runs the shell with nothing.
            (Ok(_), Err(why)) if why.contains("has no arguments") => {}
            _ => panic!("{text}\n{text:?}: {ours:?}, BuildKit: {theirs:?}"),
        }
        valid += usize::from(ours.is_ok());
    }
    assert!(valid > 1000, "{valid}");
}

/// Makes a Dockerfile of an instruction or two.
fn dockerfile(random: &mut Random) -> String {
    const NEWLINES: [&str; 4] = ["\n", "\n", "\n", "\r\n"];
    let mut text = String::new();
    text.push_str(random.of("directives"));
    text.push_str("FROM scratch\n");
    for _ in 0..=random.below(2) {
        text.push_str(&instruction(random));
        text.push('\n');
    }
    let newline = random.one(&NEWLINES);
    text.replace('\n', newline)
}

fn instruction(random: &mut Random) -> String {
    match random.below(10) {
        0..=3 => random.of("instructions").to_owned() + &random.some_of("parts", 6),
        4 | 5 => {
            let mut line = "COPY ".to_owned() + &random.some_of("flags", 2);
            line.push_str(random.one(&["a ", "a b ", "$V ", "[\"a b\", ", "\"a\" "]));
            line + &random.some_of("parts", 4)
        }
        6 => "RUN ".to_owned() + &mount(random),
        _ => documents(random),
    }
}

fn mount(random: &mut Random) -> String {
    let mut line = String::new();
    for _ in 0..=random.below(2) {
        line.push_str("--mount=");
        let count = 1 + random.below(4);
        let fields: Vec<&str> = (0..count).map(|_| random.of("mount fields")).collect();
        let fields = fields.join(",");
        if fields.contains(' ') || fields.contains('"') {
            line.push_str(&format!("'{fields}' "));
        } else {
            line.push_str(&format!("{fields} "));
        }
    }
    line + "true"
}

fn documents(random: &mut Random) -> String {
    let head = random.of("document heads");
    let copies = head.starts_with("COPY") || head.starts_with("ADD");
    let mut line = head.to_owned();
    let mut names = Vec::new();
    for _ in 0..=random.below(2) {
        let sign = random.of("signs");
        line.push_str(sign);
        if !copies && random.below(4) == 0 {
            line.push(' ');
        }
        line.push_str(random.one(&[" ", " ", " ", "  ", " > x "]));
        let name: String = sign
            .chars()
            .filter(|c| c.is_alphanumeric() || "$.;|>".contains(*c))
            .collect();
        names.push(name.trim_start_matches('3').to_owned());
    }
    // A blank before the name is kraft's alone in a COPY.
    if copies {
        line = line.replace("<< ", "").replace("<<- ", "");
        line.push_str(random.one(&["/x", "/x/", "<<E", "\"/q q\""]));
    } else {
        line.push_str(random.one(&["", "x", "| y", "<< E"]));
        names.push("E".to_owned());
    }
    line.push('\n');
    for name in names {
        line.push_str(&random.some_of("document lines", 4));
        line.push_str(random.one(&["", "", "", "\t"]));
        line.push_str(&name);
        line.push('\n');
    }
    line.push_str(random.one(&["", "", "E\n", "F\n"]));
    line
}

fn quoted(value: impl serde::Serialize) -> String {
    serde_json::to_string(&value).unwrap()
}

/// Reads a Dockerfile into lines as the other side writes them.
fn read(text: &str) -> Result<Vec<String>, String> {
    let file = parse(text).map_err(|problems| format!("{problems:?}"))?;
    let mut lines: Vec<String> = Vec::new();
    if !file.arguments.is_empty() {
        lines.push(format!("ARG {}", arguments(&file.arguments)));
    }
    for stage in &file.stages {
        let name = stage.from.name.clone().unwrap_or_default().to_lowercase();
        let platform = stage.from.platform.clone().unwrap_or_default();
        lines.push(format!(
            "FROM {}",
            quoted([&stage.from.image, &name, &platform])
        ));
        for step in &stage.steps {
            lines.push(line(&step.instruction, file.escape)?);
        }
    }
    Ok(lines)
}

fn arguments(pairs: &[Pair]) -> String {
    let pairs = pairs.iter().map(|pair| match &pair.value {
        Some(value) => format!("{}={}", quoted(&pair.name), quoted(value)),
        None => quoted(&pair.name),
    });
    pairs.collect::<Vec<_>>().join(" ")
}

fn command(command: &Command) -> String {
    match command {
        Command::Shell(line) => format!("shell=true {}", quoted([line])),
        Command::Exec(words) => format!("shell=false {}", quoted(words)),
    }
}

fn line(instruction: &Instruction, escape: char) -> Result<String, String> {
    Ok(match instruction {
        Instruction::Add(copy) => {
            let words = [&copy.chown, &copy.chmod].map(|word| word.clone().unwrap_or_default());
            format!("ADD {} {} {}", quoted(words), copy.link, sources(copy))
        }
        Instruction::Copy(copy) => {
            let words = [&copy.from, &copy.chown, &copy.chmod];
            let words = words.map(|word| word.clone().unwrap_or_default());
            let sources = sources(copy);
            format!(
                "COPY {} {} {} {sources}",
                quoted(words),
                copy.link,
                copy.parents
            )
        }
        Instruction::Arg(pairs) => format!("ARG {}", arguments(pairs)),
        Instruction::Env(pairs) => format!("ENV {}", arguments(pairs)),
        Instruction::Label(pairs) => format!("LABEL {}", arguments(pairs)),
        Instruction::Cmd(words) => format!("CMD {}", command(words)),
        Instruction::Entrypoint(words) => format!("ENTRYPOINT {}", command(words)),
        Instruction::Shell(words) => format!("SHELL {}", quoted(words)),
        Instruction::User(word) => format!("USER {}", quoted(word)),
        Instruction::Workdir(word) => format!("WORKDIR {}", quoted(word)),
        Instruction::Volume(words) => format!("VOLUME {}", quoted(words)),
        Instruction::StopSignal(word) => format!("STOPSIGNAL {}", quoted(word)),
        Instruction::Maintainer(word) => format!("MAINTAINER {}", quoted(word)),
        Instruction::Expose(words) => {
            let mut words = words.clone();
            words.sort();
            format!("EXPOSE {}", quoted(words))
        }
        Instruction::Onbuild(text) => format!("ONBUILD {}", quoted(text)),
        Instruction::Healthcheck(_) => "HEALTHCHECK".to_owned(),
        Instruction::Run(run) => {
            let mut told = format!("RUN {}", command(&run.command));
            for document in &run.documents {
                told.push_str(&format!(
                    " <<{} {}",
                    quoted(&document.name),
                    quoted(&document.text)
                ));
            }
            for mount in &run.mounts {
                let options = mount.options(&|word| expand::word(word, escape, &variable));
                let options = options.map_err(|problem| format!("{problem:?}"))?;
                told.push_str(&format!(" {}", mounted(mount.from.as_deref(), &options)));
            }
            told
        }
    })
}

fn sources(copy: &Copy) -> String {
    let paths = copy.sources.iter().filter_map(|source| match source {
        Source::Path { word, .. } => Some(word),
        Source::Document(_) => None,
    });
    let paths: Vec<&String> = paths.collect();
    let mut told = format!("{} {}", quoted(paths), quoted(&copy.destination));
    for source in &copy.sources {
        if let Source::Document(Document {
            name,
            text,
            expands,
            ..
        }) = source
        {
            told.push_str(&format!(" <<{} {} {expands}", quoted(name), quoted(text)));
        }
    }
    told + " " + &quoted(&copy.exclude)
}

fn mounted(from: Option<&str>, options: &MountOptions) -> String {
    let kind = match options.kind {
        MountKind::Bind => "bind",
        MountKind::Cache => "cache",
        MountKind::Tmpfs => "tmpfs",
        MountKind::Secret => "secret",
        MountKind::Ssh => "ssh",
    };
    let sharing = match options.sharing {
        Sharing::Shared => "shared",
        Sharing::Private => "private",
        Sharing::Locked => "locked",
    };
    let env = options.env.as_deref().unwrap_or("-");
    let words = [
        from.unwrap_or_default(),
        &options.source,
        &options.target,
        &options.id,
        env,
    ];
    let number = |number: Option<u32>| number.map_or("-".to_owned(), |number| number.to_string());
    format!(
        "[{kind} {} ro={} size={} {sharing} required={} mode={} uid={} gid={}]",
        quoted(words),
        options.read_only,
        options.size,
        options.required,
        number(options.mode),
        number(options.uid),
        number(options.gid)
    )
}

#[test]
fn patterns_match_alike() {
    let Some(mut buildkit) = BuildKit::start() else {
        return;
    };
    let mut random = Random::new(3);
    let (mut valid, mut matched) = (0, 0);
    for round in 0..6000 {
        let lines: Vec<String> = (0..=random.below(4))
            .map(|_| {
                let not = random.one(&["", "", "!"]);
                not.to_owned() + &random.some_of("patterns", 1 + round % 5)
            })
            .collect();
        let text = lines.join("\n");
        let theirs = buildkit.ask(json!({"Op": "ignore", "Text": text, "Paths": corpus("paths")}));
        let ours = Patterns::of_ignore_file(&text);
        match (&theirs, &ours) {
            (Ok(theirs), Ok(ours)) => {
                let ours: Vec<bool> = corpus("paths")
                    .iter()
                    .map(|path| ours.matches(path))
                    .collect();
                let theirs: Vec<bool> = serde_json::from_value(theirs.clone()).unwrap();
                for (path, (ours, theirs)) in corpus("paths").iter().zip(ours.iter().zip(theirs)) {
                    assert_eq!(*ours, theirs, "{text:?} {path:?}");
                }
                valid += 1;
                matched += ours.iter().filter(|it| **it).count();
            }
            (Err(_), Err(_)) => {}
            // BuildKit only sees that a pattern is not valid when it needs it.
            (Ok(_), Err(_)) => {
                let alone = lines.iter().any(|line| {
                    let text = line.trim_start_matches(['!', ' ']);
                    let request = json!({"Op": "ignore", "Text": text, "Paths": corpus("paths")});
                    buildkit.ask(request).is_err()
                });
                assert!(alone, "{text:?}: {ours:?}");
            }
            (Err(theirs), Ok(_)) => panic!("{text:?}: BuildKit: {theirs}"),
        }
        let pattern = random.some_of("patterns", 1 + round % 5);
        let theirs =
            buildkit.ask(json!({"Op": "match", "Text": pattern, "Paths": corpus("paths")}));
        let ours = Glob::path(&pattern);
        let ours: Vec<bool> = corpus("paths")
            .iter()
            .map(|path| ours.matches(path))
            .collect();
        // One that is not valid matches nothing.
        let theirs = theirs.unwrap_or_else(|_| json!(vec![false; corpus("paths").len()]));
        assert_eq!(json!(ours), theirs, "{pattern:?}");
    }
    assert!(valid > 1000 && matched > 1000, "{valid} {matched}");
}

/// There are none.
#[derive(Debug)]
struct NoImages;

impl Images for NoImages {
    fn image(&self, name: &str, _: &str) -> Result<Image<'_>, Box<dyn StdError + Send + Sync>> {
        Err(name.into())
    }
}

#[test]
fn files_are_copied_alike() {
    let Some(mut buildkit) = BuildKit::start() else {
        return;
    };
    let dir = tempfile::tempdir().unwrap();
    let context = dir.path().join("context");
    plant(&context);
    let mut random = Random::new(4);
    let mut valid = 0;
    for round in 0..1500 {
        let mut text = "FROM scratch\n".to_owned();
        for _ in 0..=random.below(3) {
            text.push_str(&copy(&mut random));
        }
        let into = dir.path().join(format!("theirs-{round}"));
        fs::create_dir(&into).unwrap();
        let request = json!({"Op": "copy", "Text": text, "Context": context, "Into": into});
        let theirs = buildkit.ask(request);
        let ours = copied(dir.path(), &context, &text);
        match (&theirs, &ours) {
            (Ok(_), Ok(ours)) => assert_eq!(*ours, listed(&into), "{text}"),
            (Err(_), Err(_)) => {}
            // Where BuildKit lets each file replace the one before.
            (Ok(_), Err(why)) if why.starts_with("several files are copied") => {}
            // Where BuildKit looks below a file for what is not copied.
            (Err(why), Ok(_)) if why.contains("lstat") && why.contains("not a directory") => {}
            _ => panic!("{text}: {ours:?}, BuildKit: {theirs:?}"),
        }
        valid += usize::from(ours.is_ok());
        fs::remove_dir_all(&into).unwrap();
    }
    assert!(valid > 500, "{valid}");
}

/// Makes files, directories and links of different modes.
fn plant(context: &Path) {
    for path in [
        "a.txt",
        "b.txt",
        "c",
        "d/a.txt",
        "d/x",
        "d/sub/a.txt",
        "d/sub/deep/x",
        "d/e/y.o",
        "e/sub/x",
        "e/f/g/h.o",
        "[z]/q",
        "m/n/o/p",
    ] {
        let full = context.join(path);
        fs::create_dir_all(full.parent().unwrap()).unwrap();
        fs::write(full, path).unwrap();
    }
    fs::create_dir(context.join("d/empty")).unwrap();
    for (link, target) in [
        ("link", "d"),
        ("file", "a.txt"),
        ("d/up", "../e"),
        ("broken", "no"),
        ("d/sub/l", "a.txt"),
    ] {
        symlink(target, context.join(link)).unwrap();
    }
    for (path, mode) in [
        ("a.txt", 0o600),
        ("b.txt", 0o755),
        ("d", 0o750),
        ("d/sub", 0o1777),
        ("d/sub/deep", 0o711),
        ("d/x", 0o4755),
        ("e", 0o700),
        ("m/n", 0o705),
        ("c", 0o440),
    ] {
        fs::set_permissions(context.join(path), fs::Permissions::from_mode(mode)).unwrap();
    }
    fs::hard_link(context.join("d/a.txt"), context.join("d/second")).unwrap();
}

fn copy(random: &mut Random) -> String {
    let flags = random.some_of("copy flags", 2);
    // A flag that is not a list may be there once.
    let mut seen = Vec::new();
    let flags: Vec<&str> = flags
        .split_inclusive(' ')
        .filter(|flag| {
            let name = flag.split(['=', ' ']).next().unwrap().to_owned();
            let is_new = name == "--exclude" || !seen.contains(&name);
            seen.push(name);
            is_new
        })
        .collect();
    let mut sources = random.of("sources").to_owned();
    if random.below(4) == 0 {
        sources.push_str(random.of("sources"));
    }
    if random.below(12) == 0 {
        sources.push_str("<<doc ");
        return format!(
            "COPY {}{sources}{}\ntext $V\ndoc\n",
            flags.concat(),
            random.of("destinations")
        );
    }
    format!(
        "COPY {}{sources}{}\n",
        flags.concat(),
        random.of("destinations")
    )
}

/// Executes a Dockerfile, and returns what is in the archive.
fn copied(dir: &Path, context: &Path, text: &str) -> Result<Vec<String>, String> {
    let variables = VARIABLES.map(|(name, value)| format!("ENV {name}='{value}'\n"));
    let text = text.replacen('\n', &format!("\n{}", variables.concat()), 1);
    let dockerfile = parse(&text).map_err(|problems| format!("{problems:?}"))?;
    let recipe = Recipe {
        dockerfile: &dockerfile,
        context,
        ignore: &Patterns::default(),
        target: None,
        arguments: &BTreeMap::new(),
        architecture: "amd64",
        host: "amd64",
        images: &NoImages,
        runner: None,
        layers: None,
        reuse: false,
        secrets: &BTreeMap::new(),
        scratch: dir,
        caches: dir,
    };
    let archive = dir.join("ours.cpio");
    execute(&recipe, &archive, &Options::default(), &mut |_| {})
        .map_err(|fault| fault.to_string())?;
    let mut reader = Reader::open(&archive).unwrap();
    let mut lines = Vec::new();
    while let Some(entry) = reader.next_entry().unwrap() {
        let mut content = Vec::new();
        reader.copy_content(&mut content).unwrap();
        let path = String::from_utf8(entry.path).unwrap();
        let mode = entry.permissions;
        lines.push(match (entry.kind, entry.target) {
            (Kind::Directory, _) => format!("{path} {mode:o} /"),
            (_, Some(target)) => format!("{path} -> {}", String::from_utf8(target).unwrap()),
            _ => format!("{path} {mode:o} {}", String::from_utf8(content).unwrap()),
        });
    }
    lines.sort();
    Ok(lines)
}

/// Returns what is below a directory.
fn listed(root: &Path) -> Vec<String> {
    let mut lines = Vec::new();
    let mut waiting = vec![PathBuf::new()];
    while let Some(below) = waiting.pop() {
        for entry in fs::read_dir(root.join(&below)).unwrap() {
            let entry = entry.unwrap();
            let below = below.join(entry.file_name());
            let metadata = entry.metadata().unwrap();
            let mode = metadata.permissions().mode() & 0o7777;
            let path = below.display();
            lines.push(if metadata.is_symlink() {
                let target = fs::read_link(entry.path()).unwrap();
                format!("{path} -> {}", target.display())
            } else if metadata.is_dir() {
                format!("{path} {mode:o} /")
            } else {
                let content = fs::read_to_string(entry.path()).unwrap();
                format!("{path} {mode:o} {content}")
            });
            if metadata.is_dir() {
                waiting.push(below);
            }
        }
    }
    lines.sort();
    lines
}
