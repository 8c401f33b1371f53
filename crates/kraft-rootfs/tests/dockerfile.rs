//! Executes Dockerfiles: contents of the archive, and inputs of commands.

#![expect(
    clippy::unwrap_used,
    clippy::panic,
    clippy::disallowed_methods,
    reason = "a test that cannot go on has failed, and says where"
)]

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::error::Error as StdError;
use std::fs;
use std::io::Write as _;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::{Path, PathBuf};

use kraft_core::dockerfile::parse;
use kraft_core::dockerfile::patterns::Patterns;
use kraft_rootfs::archive::{Kind, Reader};
use kraft_rootfs::dockerfile::{
    Command, ExecuteError, Image, Images, Layers, MountSource, Network, Recipe, Root, RunError,
    Runner, Settings, execute,
};
use kraft_rootfs::{Layer, Options};
use tempfile::TempDir;

/// Records commands, and the contents of their mounts.
#[derive(Debug, Default)]
struct Recorder {
    commands: RefCell<Vec<Command>>,
    mounted: RefCell<Vec<String>>,
}

impl Runner for Recorder {
    fn run(&self, root: &Root, command: &Command, _: &mut dyn FnMut(&str)) -> Result<(), RunError> {
        let Root::Directory(root) = root else {
            return Err(RunError::NoOverlay("not here".to_owned()));
        };
        for mount in &command.mounts {
            let seen = match &mount.source {
                MountSource::Memory { size } => format!("memory {size}"),
                MountSource::Path(path) => match fs::read_to_string(path) {
                    Ok(text) => text,
                    Err(_) => names(path),
                },
            };
            self.mounted.borrow_mut().push(seen);
        }
        // What a command may leave behind that not even its owner may read.
        let word = command.words.last().map_or("", String::as_str);
        if word == "look" {
            let mode = fs::metadata(root.join("locked"))
                .unwrap()
                .permissions()
                .mode();
            self.mounted
                .borrow_mut()
                .push(format!("{:o}", mode & 0o777));
        }
        if word.starts_with("lock") {
            fs::create_dir(root.join("locked")).unwrap();
            fs::write(root.join("locked/file"), "inside").unwrap();
            for (path, mode) in [("locked/file", 0), ("locked", 0o111)] {
                let mode = fs::Permissions::from_mode(mode);
                fs::set_permissions(root.join(path), mode).unwrap();
            }
        }
        self.commands.borrow_mut().push(command.clone());
        if word.ends_with("fail") {
            let how = "failed".to_owned();
            return Err(RunError::Failed { how });
        }
        Ok(())
    }

    fn ids(&self) -> Option<&kraft_rootfs::IdMap> {
        None
    }

    fn network(&self) -> Network {
        Network::Host
    }
}

fn names(dir: &Path) -> String {
    let entries = fs::read_dir(dir).unwrap_or_else(|error| panic!("{}: {error}", dir.display()));
    let mut names: Vec<String> = entries
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect();
    names.sort();
    names.join(" ")
}

/// Images of one layer, or none.
#[derive(Debug, Default)]
struct Images1 {
    config: String,
    tar: Vec<u8>,
}

impl Images for Images1 {
    fn image(&self, name: &str, _: &str) -> Result<Image<'_>, Box<dyn StdError + Send + Sync>> {
        let mut layer = (!self.tar.is_empty()).then(|| Layer {
            name: PathBuf::from(name),
            tar: Box::new(self.tar.as_slice()),
        });
        Ok(Image {
            id: "sha256:0".to_owned(),
            config: self.config.clone().into_bytes(),
            layers: Box::new(move || layer.take()),
        })
    }
}

/// A context, and everything that a build of it needs.
struct Table {
    dir: TempDir,
    ignore: Vec<&'static str>,
    arguments: BTreeMap<String, String>,
    secrets: BTreeMap<String, Vec<u8>>,
    images: Images1,
    runner: Recorder,
}

impl Table {
    fn new(files: &[(&str, &str)]) -> Self {
        let table = Self {
            dir: tempfile::tempdir().unwrap(),
            ignore: Vec::new(),
            arguments: BTreeMap::new(),
            secrets: BTreeMap::new(),
            images: Images1::default(),
            runner: Recorder::default(),
        };
        for dir in ["context", "scratch", "caches"] {
            fs::create_dir(table.dir.path().join(dir)).unwrap();
        }
        for (path, text) in files {
            let path = table.context().join(path);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, text).unwrap();
        }
        table
    }

    fn context(&self) -> PathBuf {
        self.dir.path().join("context")
    }

    fn execute(&self, text: &str) -> Result<Settings, ExecuteError> {
        let dockerfile = parse(text).unwrap_or_else(|faults| panic!("{faults:?}"));
        let ignore = Patterns::new(self.ignore.iter().copied()).unwrap();
        let scratch = self.dir.path().join("scratch");
        let layers = Layers::open(&self.dir.path().join("layers")).unwrap();
        let recipe = Recipe {
            dockerfile: &dockerfile,
            context: &self.context(),
            ignore: &ignore,
            target: None,
            arguments: &self.arguments,
            architecture: "amd64",
            host: "amd64",
            images: &self.images,
            runner: Some(&self.runner),
            secrets: &self.secrets,
            scratch: &scratch,
            caches: &self.dir.path().join("caches"),
            layers: Some(&layers),
            reuse: true,
        };
        let options = Options {
            keep_owners: true,
            ..Options::default()
        };
        let built = execute(&recipe, &self.archive(), &options, &mut |_| {});
        // Nothing of a build stays behind.
        assert_eq!(names(&scratch), "");
        built.map(|executed| executed.settings)
    }

    fn archive(&self) -> PathBuf {
        self.dir.path().join("root.cpio")
    }

    /// Builds, and returns each entry in a line: its path, mode, owner, and what it holds.
    fn build(&self, text: &str) -> Vec<String> {
        if let Err(fault) = self.execute(text) {
            panic!("{fault:?}");
        }
        let mut reader = Reader::open(&self.archive()).unwrap();
        let mut found = Vec::new();
        while let Some(entry) = reader.next_entry().unwrap() {
            let mut content = Vec::new();
            reader.copy_content(&mut content).unwrap();
            let content = String::from_utf8_lossy(&content).into_owned();
            let path = String::from_utf8_lossy(&entry.path).into_owned();
            let what = match (entry.kind, &entry.target) {
                (Kind::Directory, _) => "/".to_owned(),
                (_, Some(target)) => format!("-> {}", String::from_utf8_lossy(target)),
                _ => content,
            };
            found.push(format!(
                "{path} {:o} {}:{} {what}",
                entry.permissions, entry.uid, entry.gid
            ));
        }
        found
    }

    /// Builds, and returns the paths.
    fn paths(&self, text: &str) -> Vec<String> {
        let lines = self.build(text).into_iter();
        lines
            .map(|line| line.split(' ').next().unwrap().to_owned())
            .collect()
    }

    fn fails(&self, text: &str) -> String {
        self.execute(text).unwrap_err().to_string()
    }
}

#[test]
fn the_shell_and_not_the_builder_expands_what_a_command_reads() {
    let table = Table::new(&[]);
    table.build(
        "FROM scratch\nENV SET=by-us\nRUN <<EOF\nx=1\necho $x $SET\nEOF\n\
         RUN cat <<ONE > /a && cat <<-'TWO'\n$SET\nONE\n\ttwo\nTWO\n\
         RUN <<EOF\n#!/usr/bin/env python3\nprint(1)\nEOF\n",
    );
    let commands = table.runner.commands.borrow();
    let words = |at: usize| commands[at].words.join("|");
    assert_eq!(words(0), "/bin/sh|-c|x=1\necho $x $SET\n");
    assert_eq!(
        words(1),
        "/bin/sh|-c|cat <<ONE > /a && cat <<-'TWO'\n$SET\nONE\n\ttwo\nTWO"
    );
    // A script that names its own interpreter is a program.
    assert_eq!(commands[2].mounts.len(), 1, "{:?}", commands[2]);
    assert_eq!(commands[2].words, [commands[2].mounts[0].target.clone()]);
    assert_eq!(
        *table.runner.mounted.borrow(),
        ["#!/usr/bin/env python3\nprint(1)\n"]
    );
}

#[test]
fn what_is_mounted_comes_from_the_context_also_through_links() {
    let table = Table::new(&[("dir/a", "in a"), ("dir/sub/b", "in b"), ("out", "")]);
    let context = table.context();
    fs::write(table.dir.path().join("private"), "of the host").unwrap();
    for (target, name) in [
        ("/dir", "absolute"),
        ("../../private", "up"),
        ("loop", "loop"),
    ] {
        symlink(target, context.join(name)).unwrap();
    }
    table.build(
        "FROM scratch\nARG D=dir\nRUN --mount=target=/c --mount=source=$D/a,target=/a \
         --mount=source=absolute/sub,target=/s true\n",
    );
    let seen = table.runner.mounted.take();
    assert_eq!(seen, ["absolute dir loop out up", "in a", "b"]);
    let mount =
        |source: &str| format!("FROM scratch\nRUN --mount=source={source},target=/x true\n");
    for (source, why) in [
        ("up", "there is no `up` to mount"),
        ("/etc/passwd", "there is no `/etc/passwd` to mount"),
        ("../../private", "there is no `../../private` to mount"),
        ("loop", "links on the way to `loop` form a loop"),
    ] {
        assert_eq!(table.fails(&mount(source)), why);
    }
    assert_eq!(table.runner.mounted.take(), Vec::<String>::new());
}

#[test]
fn secrets_are_files_or_variables_and_never_shown() {
    let mut table = Table::new(&[]);
    table.secrets.insert("key".into(), b"sesame".to_vec());
    let run = |mount: &str| format!("FROM scratch\nRUN --mount=type=secret,{mount} true\n");
    let told = |mount: &str| {
        table.build(&run(mount));
        let command = table.runner.commands.borrow_mut().pop().unwrap();
        assert!(!format!("{command:?}").contains("sesame"), "{command:?}");
        let at: Vec<String> = command
            .mounts
            .into_iter()
            .map(|mount| mount.target)
            .collect();
        (at.join(" "), command.environment.get("KEY").cloned())
    };
    let value = Some("sesame".to_owned());
    assert_eq!(told("id=key"), ("/run/secrets/key".into(), None));
    assert_eq!(told("target=/etc/key"), ("/etc/key".into(), None));
    assert_eq!(told("id=key,env=KEY"), (String::new(), value.clone()));
    assert_eq!(told("id=key,env=KEY,target=/k"), ("/k".into(), value));
    assert_eq!(told("id=other"), (String::new(), None));
    let why = "the secret `other` is not given";
    assert_eq!(table.fails(&run("id=other,required")), why);
}

#[test]
fn two_caches_are_not_one() {
    let table = Table::new(&[]);
    table.build(
        "FROM scratch\nRUN --mount=type=cache,target=/a/b --mount=type=cache,target=/a_b \
         --mount=type=cache,target=/x,id=/a/b true\n",
    );
    let commands = table.runner.commands.borrow();
    let sources: Vec<&MountSource> = commands[0]
        .mounts
        .iter()
        .map(|mount| &mount.source)
        .collect();
    assert_ne!(sources[0], sources[1]);
    assert_eq!(sources[0], sources[2]);
}

#[test]
fn a_pattern_may_match_nothing_and_a_name_may_not() {
    let table = Table::new(&[("package.json", "{}"), ("kept/a", "a"), ("kept/b", "b")]);
    let paths = table.paths("FROM scratch\nCOPY package.json lock* ./\nCOPY no?/* /x/\n");
    assert_eq!(paths, ["package.json"]);
    for missing in ["lock", "no/*", "kept/c"] {
        let why = table.fails(&format!("FROM scratch\nCOPY {missing} /\n"));
        assert_eq!(why, format!("there is no `{missing}` to copy"));
    }
}

/// A few files at several depths.
fn several() -> Table {
    let table = Table::new(&[
        ("a/b/c.txt", ""),
        ("a/b/d.o", ""),
        ("a/e/f.o", ""),
        ("a/x.o", ""),
        ("g", ""),
    ]);
    for (path, mode) in [("a", 0o750), ("a/b", 0o711), ("a/x.o", 0o640), ("g", 0o600)] {
        let mode = fs::Permissions::from_mode(mode);
        fs::set_permissions(table.context().join(path), mode).unwrap();
    }
    table
}

#[test]
fn exclude_is_relative_to_each_source_directory() {
    let table = several();
    let copied = |line: &str| {
        table
            .paths(&format!("FROM scratch\nCOPY {line}\n"))
            .join(" ")
    };
    for (line, expected) in [
        ("--exclude=*.o a /", "b b/c.txt b/d.o e e/f.o"),
        ("--exclude=**/*.o a /", "b b/c.txt e"),
        ("--exclude=a/*.o a /", "b b/c.txt b/d.o e e/f.o x.o"),
        ("--exclude=b --exclude=e/ a /", "x.o"),
        (
            "--exclude=b --exclude=!b/c.txt a /",
            "b b/c.txt e e/f.o x.o",
        ),
        ("--exclude=* --exclude=!e a /", "e e/f.o"),
        // Each directory that a wildcard names is a source.
        ("--exclude=*.o a/* /", "c.txt x.o"),
        // A file that is named is never excluded.
        ("--exclude=g g /", "g"),
        // Patterns hold no variables.
        ("--exclude=$NONE a/e /", "f.o"),
    ] {
        assert_eq!(copied(line), expected, "{line}");
    }
    let why = table.fails("FROM scratch\nCOPY --exclude=[ a /\n");
    assert_eq!(why, "`--exclude`: `[` is not a valid pattern");
}

#[test]
fn parents_come_along_up_to_a_dot() {
    let table = several();
    let copied = |line: &str| table.paths(&format!("FROM scratch\nCOPY --parents {line}\n"));
    for (line, expected) in [
        ("a/b/c.txt g /x/", "x x/a x/a/b x/a/b/c.txt x/g"),
        ("a/*/*.o /x", "x x/a x/a/b x/a/b/d.o x/a/e x/a/e/f.o"),
        ("a/./b/c.txt /x/", "x x/b x/b/c.txt"),
        ("./a/./*/*.o /x/", "x x/b x/b/d.o x/e x/e/f.o"),
        ("**/*.txt /x/", "x x/a x/a/b x/a/b/c.txt"),
        ("a/**/*.o /", "a a/b a/b/d.o a/e a/e/f.o a/x.o"),
        ("a/b /x/", "x x/a x/a/b x/a/b/c.txt x/a/b/d.o"),
        ("--exclude=**/*.o a /x/", "x x/a x/a/b x/a/b/c.txt x/a/e"),
        ("no* /x/", "x"),
    ] {
        assert_eq!(copied(line).join(" "), expected, "{line}");
    }
    for line in ["no /x/", "a/./no /x/", "no/./a /x/", "no/./* /x/"] {
        let text = format!("FROM scratch\nCOPY --parents {line}\n");
        let (source, _) = line.split_once(' ').unwrap();
        assert_eq!(
            table.fails(&text),
            format!("there is no `{source}` to copy")
        );
    }
    // Directories on the way are like those of the source, also those that are there.
    let lines = table.build("FROM scratch\nCOPY g /a/\nCOPY --parents a/b/c.txt /\n");
    assert_eq!(lines[..2], ["a 750 0:0 /", "a/b 711 0:0 /"]);
}

#[test]
fn a_made_directory_has_the_mode_that_is_asked_for() {
    let table = several();
    let lines = |line: &str| table.build(&format!("FROM scratch\nCOPY {line}\n"));
    let made = lines("--chmod=1700 a /x/y");
    assert_eq!(
        made[..3],
        ["x 700 0:0 /", "x/y 700 0:0 /", "x/y/b 1700 0:0 /"]
    );
    let made = lines("--chmod=777 --chown=1:2 g /x/y/");
    assert_eq!(made, ["x 777 1:2 /", "x/y 777 1:2 /", "x/y/g 777 1:2 "]);
    // Symbolic modes change what is copied.
    let made = lines("--chmod=go-rwx a /x");
    assert_eq!(made[..2], ["x 755 0:0 /", "x/b 700 0:0 /"]);
    // What is there stays as it is.
    let made = lines("g /x/\nCOPY --chmod=700 a/e /x");
    assert_eq!(made[..2], ["x 755 0:0 /", "x/f.o 700 0:0 "]);
    let why = table.fails("FROM scratch\nCOPY --chmod=u+q a /x\n");
    assert_eq!(why, "`--chmod=u+q` is not a valid mode");
}

#[test]
fn several_sources_need_a_directory_once_variables_are_expanded() {
    let table = several();
    let text = |line: &str| format!("FROM scratch\nENV TO=/q/ NAME=/q\n{line}\n");
    for line in [
        "COPY g a/x.o $TO",
        "COPY g a/x.o \"/q/\"",
        "COPY g a/x.o ${NONE:-/q/}",
        "COPY [\"g\", \"a/x.o\", \"/q/.\"]",
        "COPY a/e /q\nCOPY g a/x.o $NAME",
        "WORKDIR /q\nCOPY g a/x.o .",
        "WORKDIR /q\nCOPY g a/x.o $NONE",
    ] {
        let paths = table.paths(&text(line)).join(" ");
        assert!(
            paths.starts_with("q ") && paths.ends_with("q/g q/x.o"),
            "{line}: {paths}"
        );
    }
    // Directories become one.
    assert_eq!(table.paths(&text("COPY a/b a/e /q")).len(), 4);
    for line in [
        "COPY g a/x.o $NAME",
        "COPY a/b/* /q",
        "COPY g <<E /q\nE",
        "COPY <<E <<F /q\nE\nF",
    ] {
        let why = table.fails(&text(line));
        assert_eq!(
            why, "several files are copied to `/q`, which is not a directory",
            "{line}"
        );
    }
}

#[test]
fn names_of_a_copy_are_not_grouped_by_quotes() {
    let table = Table::new(&[("two words", "")]);
    let why = table.fails("FROM scratch\nCOPY \"two words\" /x/\n");
    assert_eq!(why, "`\"` is never closed");
    let lines = table.build("FROM scratch\nCOPY [\"two words\", \"/x/\"]\n");
    assert_eq!(lines[1], "x/two words 644 0:0 ");
}

#[test]
fn a_file_takes_the_place_of_a_link_and_never_of_a_directory() {
    let table = several();
    symlink("/elsewhere", table.context().join("a/link")).unwrap();
    let why = table.fails("FROM scratch\nCOPY a/e /x/g/\nCOPY g /x/\n");
    assert_eq!(why, "cannot copy a file to `x/g`: it is a directory");
    // The destination itself is followed, a link in it is replaced.
    let lines = table.build(
        "FROM scratch\nCOPY --parents a/link /\nCOPY g /a/link\nCOPY g /b/link\nCOPY a /b/\n",
    );
    let found: Vec<&str> = lines.iter().map(String::as_str).collect();
    for line in [
        "a/link 777 0:0 -> /elsewhere",
        "elsewhere 600 0:0 ",
        "b/link 777 0:0 -> /elsewhere",
    ] {
        assert!(found.contains(&line), "{line}: {found:?}");
    }
}

#[test]
fn link_takes_numbers_only_and_ignores_what_is_there() {
    let table = several();
    let paths = table.paths("FROM scratch\nCOPY g /real/\nCOPY --link g /real/h\n");
    assert_eq!(paths, ["real", "real/g", "real/h"]);
    let why = table.fails("FROM scratch\nCOPY --link --chown=1:web g /\n");
    assert!(why.contains("`--link` needs numbers"), "{why}");
}

#[test]
fn caches_begin_as_what_they_are_seeded_with() {
    let table = Table::new(&[("seeds/one", "1"), ("seeds/two", "2"), ("other", "")]);
    let run = |seed: &str, mount: &str| {
        let text = format!(
            "FROM scratch AS base\nCOPY {seed} /s/\nFROM scratch\nRUN --mount=type=cache,\
             target=/c,{mount} true\n"
        );
        table.build(&text);
        let command = table.runner.commands.borrow_mut().pop().unwrap();
        (
            table.runner.mounted.take().concat(),
            command.mounts[0].source.clone(),
        )
    };
    let (seen, first) = run("seeds", "from=base,source=/s");
    assert_eq!(seen, "one two");
    assert_eq!(run("seeds", "from=base").0, "s");
    // It outlives the build, and begins again where it would begin as something else.
    let MountSource::Path(path) = &first else {
        panic!("{first:?}");
    };
    fs::write(path.join("three"), "").unwrap();
    assert_eq!(run("seeds", "from=base,source=s").0, "one three two");
    assert_eq!(run("other", "from=base,source=/s").0, "other");
    let (seen, plain) = run("seeds", "id=/c");
    assert_eq!(seen, "");
    assert_ne!(plain, first);
    assert_ne!(run("seeds", "id=/c,mode=0700").1, plain);
    for (mount, why) in [
        ("from=base,source=/no", "there is no `/no` to mount"),
        ("source=/no", "there is no `/no` to mount"),
        ("from=base,source=/s/one", "`/s/one` is not a directory"),
    ] {
        let text = format!(
            "FROM scratch AS base\nCOPY seeds /s/\nFROM scratch\nRUN --mount=type=cache,\
             target=/c,{mount} true\n"
        );
        assert_eq!(table.fails(&text), why, "{mount}");
    }
    // Nothing that was begun stays behind.
    let caches = names(&table.dir.path().join("caches"));
    assert!(!caches.contains(".new-"), "{caches}");
}

#[test]
fn private_caches_are_not_shared_and_one_step_may_name_one_twice() {
    let table = Table::new(&[]);
    let mut step = 0;
    let mut mounts = |sharing: &str| {
        // A step that ran before is not run again.
        step += 1;
        let mount = format!("--mount=type=cache,id=i,sharing={sharing}");
        table.build(&format!(
            "FROM scratch\nRUN {mount},target=/a {mount},target=/b step {step}\n"
        ));
        let command = table.runner.commands.borrow_mut().pop().unwrap();
        command.mounts
    };
    let locked = mounts("locked");
    assert_eq!(locked[0].source, locked[1].source);
    let MountSource::Path(path) = &locked[0].source else {
        panic!("{locked:?}");
    };
    // Another build holds it.
    let held = kraft_sys::lock::Lock::exclusive(path).unwrap();
    let private = mounts("private");
    assert_ne!(private[0].source, locked[0].source);
    drop(held);
    assert_eq!(mounts("private")[0].source, locked[0].source);
    assert_eq!(mounts("shared")[0].source, locked[0].source);
}

#[test]
fn mounts_are_checked_when_their_variables_are_known() {
    let table = Table::new(&[("f", "")]);
    let text =
        |mount: &str| format!("FROM scratch\nARG N=7\nWORKDIR /w\nRUN --mount={mount} true\n");
    let target = |mount: &str| {
        table.build(&text(mount));
        let command = table.runner.commands.borrow_mut().pop().unwrap();
        let mount = &command.mounts[0];
        let size = match mount.source {
            MountSource::Memory { size } => Some(size),
            MountSource::Path(_) => None,
        };
        (mount.target.clone(), mount.read_only, size)
    };
    assert_eq!(
        target("type=tmpfs,target=t,size=${N}k"),
        ("/w/t".into(), false, Some(7168))
    );
    assert_eq!(
        target("type=tmpfs,target=/t/,ro"),
        ("/t".into(), true, Some(0))
    );
    assert_eq!(target("target=/f,source=f"), ("/f".into(), true, None));
    assert_eq!(target("target=/f,source=f,rw"), ("/f".into(), false, None));
    assert_eq!(
        target("type=cache,target=/c,readonly=true"),
        ("/c".into(), true, None)
    );
    for (mount, why) in [
        (
            "target=/",
            "a mount cannot be over all of the root: name a `target`",
        ),
        (
            "target=..",
            "a mount cannot be over all of the root: name a `target`",
        ),
        (
            "type=cache,target=/c,uid=x$N",
            "`x7` is not a valid `uid` of a mount",
        ),
        (
            "type=tmp$N,target=/c",
            "`tmp7` is not a valid `type` of a mount",
        ),
        ("target=/c,source=$NONE:", "there is no `:` to mount"),
    ] {
        assert_eq!(table.fails(&text(mount)), why, "{mount}");
    }
}

#[test]
fn what_an_image_leaves_to_others_is_done_first() {
    let mut table = Table::new(&[("a", "in a")]);
    table.images.config = r#"{"config":{"Env":["WHO=base"],"WorkingDir":"/srv/",
        "OnBuild":["COPY a .","COPY --from=other /made /from-$WHO","ENV DONE=yes"]}}"#
        .to_owned();
    let text = "FROM scratch AS other\nCOPY a /made\nFROM base\nCOPY a /$DONE\n";
    let settings = table.execute(text).unwrap();
    assert_eq!(settings.on_build, Vec::<String>::new());
    assert!(settings.env.contains(&"DONE=yes".to_owned()));
    assert_eq!(table.paths(text), ["from-base", "srv", "srv/a", "yes"]);
    // What it leaves may be wrong, and is shown at the line that builds on it.
    table.images.config = r#"{"config":{"OnBuild":["CPY a /"]}}"#.to_owned();
    let why = table.fails("FROM base\n");
    assert_eq!(why, "`ONBUILD CPY a /`: unknown instruction `CPY`");
}

#[test]
fn stages_know_the_arguments_of_the_stage_they_begin_with() {
    let mut table = Table::new(&[("a", "")]);
    let text = "ARG TOP=top\nFROM scratch AS one\nARG KIND=first\nARG TOP\n\
                FROM one AS two\nCOPY a /$KIND-$TOP\nFROM scratch\nCOPY --from=two / /\n\
                COPY a /x$KIND\n";
    assert_eq!(table.paths(text), ["first-top", "x"]);
    table.arguments.insert("KIND".into(), "given".into());
    assert_eq!(table.paths(text), ["given-top", "x"]);
}

#[test]
fn very_many_stages_are_no_danger() {
    let table = Table::new(&[]);
    let mut text = "FROM scratch AS s0\n".to_owned();
    for number in 1..3000 {
        text.extend([format!("FROM s{} AS s{number}\n", number - 1)]);
    }
    assert_eq!(table.paths(&text), Vec::<String>::new());
}

#[test]
fn owners_are_looked_up_where_the_stage_knows_them() {
    let table = Table::new(&[
        ("passwd", "root:x:0:0::/:\nweb:x:33:44::/:\n"),
        ("group", "mail:x:8:\n"),
    ]);
    let lines = table.build(
        "FROM scratch\nCOPY passwd group /etc/\nCOPY --chown=web group /a\n\
         COPY --chown=web:mail group /b\nCOPY --chown=5 group /c\nCOPY --chown=web:7 group /d\n",
    );
    let owners: Vec<&str> = lines
        .iter()
        .filter_map(|line| line.split(' ').nth(2))
        .collect();
    assert_eq!(owners[..4], ["33:44", "33:8", "5:5", "33:7"]);
    let why = table.fails("FROM scratch\nCOPY --chown=web group /\n");
    assert_eq!(why, "`/etc/passwd` has no entry `web`");
}

#[test]
fn directories_in_a_directory_become_like_those_copied_over_them() {
    let table = Table::new(&[("one/sub/a", ""), ("two/sub/b", "")]);
    for (path, mode) in [("one/sub", 0o700), ("two/sub", 0o711), ("two", 0o700)] {
        let mode = fs::Permissions::from_mode(mode);
        fs::set_permissions(table.context().join(path), mode).unwrap();
    }
    let lines = table.build("FROM scratch\nCOPY one /d\nCOPY two /d\n");
    assert_eq!(lines[..2], ["d 755 0:0 /", "d/sub 711 0:0 /"]);
    let why = table.fails("FROM scratch\nCOPY one/sub/a /d/sub\nCOPY two /d\n");
    assert_eq!(
        why,
        "cannot copy a directory to `d/sub`: it is not a directory"
    );
}

#[test]
fn what_a_command_locks_is_taken_over_locked() {
    let table = Table::new(&[]);
    let lines = table.build("FROM scratch\nRUN lock\nRUN look\nRUN true\n");
    assert_eq!(lines, ["locked 111 0:0 /", "locked/file 0 0:0 inside"]);
    // The next command finds it as the one before left it.
    assert_eq!(*table.runner.mounted.borrow(), ["111"]);
    let why = table.fails("FROM scratch\nRUN lock and fail\n");
    assert_eq!(why, "the command failed");
}

/// A tarball: a name that ends in `/` is a directory, a content that begins with `->` a link.
fn tarball(entries: &[(&str, &str)]) -> Vec<u8> {
    let mut builder = tar::Builder::new(Vec::new());
    for &(name, content) in entries {
        let mut header = tar::Header::new_gnu();
        header.set_mode(0o755);
        header.set_uid(3);
        if let Some(target) = content.strip_prefix("->") {
            header.set_entry_type(tar::EntryType::Symlink);
            header.set_size(0);
            builder.append_link(&mut header, name, target).unwrap();
            continue;
        }
        if name.ends_with('/') {
            header.set_entry_type(tar::EntryType::Directory);
        }
        header.set_size(content.len() as u64);
        builder
            .append_data(&mut header, name, content.as_bytes())
            .unwrap();
    }
    builder.into_inner().unwrap()
}

#[test]
fn add_unpacks_every_compression_and_copies_what_it_cannot_unpack() {
    let table = Table::new(&[]);
    let tar = tarball(&[("f", "abc")]);
    let put = |name: &str, bytes: &[u8]| fs::write(table.context().join(name), bytes).unwrap();
    put("a.tar", &tar);
    let mut gzip = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    gzip.write_all(&tar).unwrap();
    put("a.tgz", &gzip.finish().unwrap());
    let mut bzip2 = bzip2::write::BzEncoder::new(Vec::new(), bzip2::Compression::fast());
    bzip2.write_all(&tar).unwrap();
    put("a.tar.bz2", &bzip2.finish().unwrap());
    let mut xz = liblzma::write::XzEncoder::new(Vec::new(), 1);
    xz.write_all(&tar).unwrap();
    let xz = xz.finish().unwrap();
    put("a.tar.xz", &xz);
    put("a.tar.zst", &zstd::encode_all(tar.as_slice(), 1).unwrap());
    for name in ["a.tar", "a.tgz", "a.tar.bz2", "a.tar.xz", "a.tar.zst"] {
        let found = table.build(&format!("FROM scratch\nADD {name} /x/\n"));
        assert_eq!(found, ["x 755 0:0 /", "x/f 755 3:0 abc"], "{name}");
    }
    // Everything belongs to whom `--chown` names, and `--chmod` changes nothing.
    let found = table.build("FROM scratch\nADD --chown=5:6 --chmod=600 a.tar /x/\n");
    assert_eq!(found, ["x 755 5:6 /", "x/f 755 5:6 abc"]);
    // Neither is a tarball: a text that is compressed, and one that only begins so.
    let mut text = liblzma::write::XzEncoder::new(Vec::new(), 1);
    text.write_all(b"no tarball").unwrap();
    put("text.xz", &text.finish().unwrap());
    put("short.xz", &xz[..20]);
    put("b.bz2", b"BZh91AY&SY");
    let found = table.paths("FROM scratch\nADD text.xz short.xz b.bz2 /x/\n");
    assert_eq!(found, ["x", "x/b.bz2", "x/short.xz", "x/text.xz"]);
    // A tarball that is cut off is one, and damaged.
    put("cut.tar", &tar[..700]);
    assert!(table.execute("FROM scratch\nADD cut.tar /x/\n").is_err());
}

#[test]
fn add_goes_through_the_links_of_the_stage() {
    let mut table = Table::new(&[]);
    table.images.config = "{}".to_owned();
    for target in ["usr/lib", "/usr/lib", "/../usr/lib"] {
        let link = format!("->{target}");
        table.images.tar = tarball(&[("usr/lib/", ""), ("usr/lib/x", "x"), ("lib", &link)]);
        let archive = tarball(&[("lib/y", "y"), ("lib/sub/z", "z")]);
        fs::write(table.context().join("a.tar"), archive).unwrap();
        let found = table.paths("FROM base\nADD a.tar /\n");
        let expected = [
            "lib",
            "usr",
            "usr/lib",
            "usr/lib/sub",
            "usr/lib/sub/z",
            "usr/lib/x",
            "usr/lib/y",
        ];
        assert_eq!(found, expected, "{target}");
        // The destination, too, and from one `ADD` to the next.
        let found = table.paths("FROM base\nADD a.tar /lib/\nADD a.tar /lib\n");
        assert!(found.contains(&"usr/lib/lib/sub/z".to_owned()), "{found:?}");
    }
    // Whatever is no directory gives way, as with docker.
    table.images.tar = tarball(&[("usr/lib/x", "x"), ("lib", "->usr/lib"), ("d/e/f", "1")]);
    let archive = tarball(&[("lib/", ""), ("lib/y", "y"), ("d", "file")]);
    fs::write(table.context().join("a.tar"), archive).unwrap();
    let found = table.paths("FROM base\nADD a.tar /\n");
    assert_eq!(found, ["d", "lib", "lib/y", "usr", "usr/lib", "usr/lib/x"]);
}

#[test]
fn add_links_only_files_of_the_archive_and_of_the_stage() {
    let mut table = Table::new(&[("copied", "from the context")]);
    table.images.config = "{}".to_owned();
    table.images.tar = tarball(&[("base", "of the base")]);
    let mut builder = tar::Builder::new(Vec::new());
    let mut header = tar::Header::new_gnu();
    header.set_size(3);
    header.set_mode(0o644);
    builder.append_data(&mut header, "f", &b"abc"[..]).unwrap();
    for (name, target) in [("g", "f"), ("h", "base"), ("i", "copied")] {
        let mut header = tar::Header::new_gnu();
        header.set_entry_type(tar::EntryType::Link);
        header.set_size(0);
        builder.append_link(&mut header, name, target).unwrap();
    }
    let archive = builder.into_inner().unwrap();
    fs::write(table.context().join("a.tar"), archive).unwrap();
    let found = table.build("FROM base\nCOPY copied /\nADD a.tar /\n");
    let contents: Vec<String> = found
        .iter()
        .map(|line| line.splitn(4, ' ').nth(3).unwrap().to_owned())
        .collect();
    let expected = [
        "of the base",
        "from the context",
        "abc",
        "abc",
        "of the base",
        "from the context",
    ];
    assert_eq!(contents, expected);
}
