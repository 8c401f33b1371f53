use super::expand::{self, ExpandError};
use super::patterns::{Glob, Patterns, clean};
use super::*;
use crate::problem::render;

fn read(text: &str) -> Dockerfile {
    parse(text)
        .unwrap_or_else(|problems| panic!("{}", render("Dockerfile", text, &problems, false)))
}

fn problems(text: &str) -> String {
    let problems = parse(text).unwrap_err();
    render("Dockerfile", text, &problems, false)
}

/// Returns the options of a mount, with some variables set.
fn resolved(mount: &Mount) -> Result<MountOptions, Box<crate::problem::Problem>> {
    let variables = |name: &str| match name {
        "KIND" => Some("cache".to_owned()),
        "N" => Some("7".to_owned()),
        "YES" => Some("true".to_owned()),
        _ => None,
    };
    mount.options(&|word| expand::word(word, '\\', &variables))
}

/// Returns the only mount of a `RUN`.
fn mount(value: &str) -> Mount {
    let file = read(&format!("FROM scratch\nRUN --mount={value} true\n"));
    let Instruction::Run(run) = &file.stages[0].steps[0].instruction else {
        panic!()
    };
    run.mounts[0].clone()
}

fn run(text: &str) -> Run {
    let file = read(&format!("FROM scratch\n{text}"));
    match file.stages[0].steps[0].instruction.clone() {
        Instruction::Run(run) => run,
        other => panic!("{other:?}"),
    }
}

fn copy(text: &str) -> Copy {
    let file = read(&format!("FROM scratch\n{text}"));
    match file.stages[0].steps[0].instruction.clone() {
        Instruction::Copy(copy) | Instruction::Add(copy) => copy,
        other => panic!("{other:?}"),
    }
}

#[test]
fn lines_are_joined_and_comments_dropped() {
    let file = read(
        "# syntax=docker/dockerfile:1\n\nFROM scratch AS one\n  # talk\nENV A=1 \\\n  # more talk\n\n  B=\"two words\"\ncopy a \\\n b/ /x/\n",
    );
    assert_eq!(file.syntax.as_deref(), Some("docker/dockerfile:1"));
    let [stage] = file.stages.as_slice() else {
        panic!()
    };
    assert_eq!(stage.from.name.as_deref(), Some("one"));
    let [env, copy] = stage.steps.as_slice() else {
        panic!()
    };
    let Instruction::Env(pairs) = &env.instruction else {
        panic!()
    };
    let names: Vec<_> = pairs
        .iter()
        .map(|pair| (pair.name.as_str(), pair.value.as_deref()))
        .collect();
    assert_eq!(names, [("A", Some("1")), ("B", Some("\"two words\""))]);
    assert_eq!(copy.text, "copy a b/ /x/");
    let Instruction::Copy(copy) = &copy.instruction else {
        panic!()
    };
    assert_eq!(copy.sources.len(), 2);
    assert_eq!(copy.destination, "/x/");
}

#[test]
fn shell_and_exec_form_are_distinguished() {
    let file = read("FROM scratch\nCMD [\"/a\", \"b c\"]\nENTRYPOINT /a b\nCMD [not json]\n");
    let steps = &file.stages[0].steps;
    assert_eq!(
        steps[0].instruction,
        Instruction::Cmd(Command::Exec(vec!["/a".into(), "b c".into()]))
    );
    assert_eq!(
        steps[1].instruction,
        Instruction::Entrypoint(Command::Shell("/a b".into()))
    );
    assert_eq!(
        steps[2].instruction,
        Instruction::Cmd(Command::Shell("[not json]".into()))
    );
}

#[test]
fn here_documents_belong_to_their_instruction() {
    let file = read(
        "FROM scratch\nCOPY <<one <<-\"two\" /dir/\nhello $X\none\n\tworld $X\n\ttwo\nRUN <<EOF\necho hi\nEOF\nUSER 1\n",
    );
    let steps = &file.stages[0].steps;
    let Instruction::Copy(copy) = &steps[0].instruction else {
        panic!()
    };
    let [Source::Document(one), Source::Document(two)] = copy.sources.as_slice() else {
        panic!()
    };
    assert_eq!((one.text.as_str(), one.expands), ("hello $X\n", true));
    assert_eq!(
        (two.text.as_str(), two.expands, two.name.as_str()),
        ("world $X\n", false, "two")
    );
    let Instruction::Run(run) = &steps[1].instruction else {
        panic!()
    };
    assert_eq!(run.documents[0].text, "echo hi\n");
    assert_eq!(steps[2].instruction, Instruction::User("1".into()));
}

#[test]
fn flags_and_mounts_are_read() {
    let file = read(
        "FROM --platform=$BUILDPLATFORM busybox as b\nRUN --mount=type=secret,id=t,required --mount=type=cache,target=/c --network=none make\nCOPY --from=b --chmod=755 --chown=1:2 --link /a /b\n",
    );
    let stage = &file.stages[0];
    assert_eq!(stage.from.platform.as_deref(), Some("$BUILDPLATFORM"));
    let Instruction::Run(run) = &stage.steps[0].instruction else {
        panic!()
    };
    let options: Vec<MountOptions> = run.mounts.iter().map(|it| resolved(it).unwrap()).collect();
    assert_eq!(options[0].kind, MountKind::Secret);
    assert!(options[0].required);
    assert_eq!(options[1].target, "/c");
    assert_eq!(run.command, Command::Shell("make".into()));
    let Instruction::Copy(copy) = &stage.steps[1].instruction else {
        panic!()
    };
    assert_eq!((copy.chmod.as_deref(), copy.link), (Some("755"), true));
}

#[test]
fn errors_have_a_position_and_a_hint() {
    let text = problems("FROM scratch\nCOPYY a b\nCOPY a\nENV X\nRUN --mont=x y\nCOPY <<E /x\n");
    for part in [
        "unknown instruction `COPYY`",
        "did you mean `COPY`?",
        "Dockerfile:2:1",
        "needs a source and a destination",
        "Dockerfile:3:6",
        "`X` has no value",
        "did you mean `--mount`?",
        "the here-document `E` is unterminated",
    ] {
        assert!(text.contains(part), "{part} is missing in\n{text}");
    }
    assert!(problems("RUN x\n").contains("comes before the first `FROM`"));
    assert!(problems("# nothing\n").contains("has no `FROM`"));
}

#[test]
fn errors_in_continued_lines_have_the_right_position() {
    let text = "FROM scratch\nLABEL a=b \\\n  oops\n";
    assert!(
        problems(text).contains("Dockerfile:3:3"),
        "{}",
        problems(text)
    );
}

#[test]
fn stages_are_found_by_name_number_or_as_the_last() {
    let file = read("FROM scratch AS base\nFROM base\nFROM base AS Last\n");
    assert_eq!(file.stage(None), Some(2));
    assert_eq!(file.stage(Some("last")), Some(2));
    assert_eq!(file.stage(Some("1")), Some(1));
    assert_eq!(file.stage(Some("3")), None);
    assert_eq!(file.named_before(1, "last"), None);
}

#[test]
fn variables_expand_as_in_a_shell() {
    let variables = |name: &str| match name {
        "A" => Some("one".to_owned()),
        "EMPTY" => Some(String::new()),
        "FILE" => Some("lib/foo.tar.gz".to_owned()),
        _ => None,
    };
    let expand = |text: &str| expand::word(text, '\\', &variables);
    for (text, expected) in [
        ("$A", "one"),
        ("x${A}y$NONE.", "xoney."),
        (r"\$A", "$A"),
        ("'$A' \"$A\"", "$A one"),
        ("${NONE:-d$A}", "done"),
        ("${EMPTY:-d}${EMPTY-d}", "d"),
        ("${A:+yes}${NONE+no}", "yes"),
        ("${FILE#*/}", "foo.tar.gz"),
        ("${FILE%.*} ${FILE%%.*}", "lib/foo.tar lib/foo"),
        ("${FILE##*o}", ".tar.gz"),
        ("${FILE/o/0} ${FILE//o/0}", "lib/f0o.tar.gz lib/f00.tar.gz"),
        (r#""a\"b\n""#, r#"a"b\n"#),
        ("a$", "a$"),
    ] {
        assert_eq!(expand(text).as_deref(), Ok(expected), "{text}");
    }
    assert_eq!(expand("${A"), Err(ExpandError::Open("{")));
    assert_eq!(expand("\"x"), Err(ExpandError::Open("\"")));
    assert!(matches!(
        expand("${NONE:?say it}"),
        Err(ExpandError::Required { .. })
    ));
    assert!(matches!(expand("${A!}"), Err(ExpandError::Form(_))));
}

#[test]
fn only_a_single_escape_character_continues_a_line() {
    for (text, expected) in [
        ("RUN a \\\n  b\n", "a   b"),
        ("RUN a \\  \n\n# talk\nb\n", "a b"),
        ("RUN a \\\\\n", "a \\\\"),
        ("RUN a\\\r\nb\r\n", "ab"),
        ("\\\nRUN a\n", "a"),
    ] {
        let command = Command::Shell(expected.to_owned());
        assert_eq!(run(text).command, command, "{text:?}");
    }
    assert!(problems("FROM scratch\nRUN a \\\\\nb\n").contains("unknown instruction `B`"));
}

#[test]
fn directives_are_at_the_top_and_unique() {
    let escape = |text: &str| read(text).escape;
    assert_eq!(escape("# escape = `\nFROM scratch\n"), '`');
    assert_eq!(escape("# escape=\n# escape=`\nFROM scratch\n"), '\\');
    assert_eq!(escape("# talk\n# escape=`\nFROM scratch\n"), '\\');
    let text = problems("# escape=`\n# escape=`\nFROM scratch\n");
    assert!(text.contains("`escape` is specified twice"), "{text}");
}

#[test]
fn exec_form_contains_strings_only() {
    for list in ["[1]", "[\"a\", null]", "[[\"a\"]]"] {
        for instruction in ["CMD", "RUN", "COPY", "VOLUME", "HEALTHCHECK CMD"] {
            let text = problems(&format!("FROM scratch\n{instruction} {list}\n"));
            assert!(
                text.contains("is not a string"),
                "{instruction} {list}: {text}"
            );
        }
    }
    assert_eq!(run("RUN [a]\n").command, Command::Shell("[a]".to_owned()));
    assert_eq!(copy("COPY [\"a b\", \"/x\"]\n").destination, "/x");
}

#[test]
fn flags_lose_their_quotes_and_end_at_two_dashes() {
    let read = copy("COPY --chmod=\"7\"55 --exclude='a b' --exclude=c\\ d --from= -- --link /x\n");
    assert_eq!(read.chmod.as_deref(), Some("755"));
    assert_eq!(read.exclude, ["a b", "c d"]);
    assert_eq!((read.from, read.link), (None, false));
    assert!(matches!(&read.sources[..], [Source::Path { word, .. }] if word == "--link"));
    for (line, why) in [
        (
            "COPY --chmod=1 --chmod=2 a b",
            "`--chmod` is specified twice",
        ),
        ("COPY --link=1 a b", "`--link` is on or off"),
        ("COPY --chmod a b", "`--chmod` needs a value"),
        ("CMD --version", "unknown flag `--version`"),
        ("RUN --network=bridge x", "`bridge` is not a valid network"),
        ("HEALTHCHECK --retrys=1 CMD x", "did you mean `--retries`?"),
    ] {
        let text = problems(&format!("FROM scratch\n{line}\n"));
        assert!(text.contains(why), "{line}: {text}");
    }
}

#[test]
fn here_documents_are_announced_as_in_a_shell() {
    let names = |line: &str, body: &str| -> Vec<(String, bool)> {
        let run = run(&format!("RUN {line}\n{body}"));
        let named = run.documents.into_iter();
        named.map(|it| (it.name, it.expands)).collect()
    };
    let one = |name: &str, expands| vec![(name.to_owned(), expands)];
    for (line, body, expected) in [
        ("cat << E", "a\nE\n", one("E", true)),
        ("cat << 'E' > f", "a\nE\n", one("E", false)),
        ("cat <<-\"E\"", "a\n\t\tE\n", one("E", false)),
        ("cat <<\\E", "a\nE\n", one("E", true)),
        ("cat <<E;", "a\nE;\n", one("E;", true)),
        ("cat 3<< E", "E\n", one("E", true)),
        ("cat <<'A B'", "A B\n", one("A B", false)),
        ("cat <<<E", "", Vec::new()),
        ("echo '<<E'", "", Vec::new()),
        ("echo \"<< E", "", Vec::new()),
        ("x<<E", "", Vec::new()),
    ] {
        assert_eq!(names(line, body), expected, "{line}");
    }
    assert_eq!(names("a <<A << B", "1\nA\n2\nB\n").len(), 2);
    // The text is kept as it is; the shell removes the tabs.
    let read = run("RUN cat <<-E\r\n\ta\r\nE\r\n");
    assert_eq!(read.documents[0].text, "\ta\r\n");
    assert!(!read.is_document);
    let script = run("RUN <<-E\n\ta\n\tE\n");
    assert_eq!(
        (script.documents[0].text.as_str(), script.is_document),
        ("a\n", true)
    );
}

#[test]
fn here_documents_of_a_copy_may_share_a_name_and_have_blanks() {
    let read = copy("COPY << A <<-\"B\" c <<A /x/\nfirst\nA\n\tsecond\n\tB\n\tthird\nA\n");
    let texts: Vec<(&str, &str, bool)> = read
        .sources
        .iter()
        .map(|source| match source {
            Source::Document(it) => (it.name.as_str(), it.text.as_str(), it.expands),
            Source::Path { word, .. } => (word.as_str(), "", false),
        })
        .collect();
    let expected = [
        ("A", "\tthird\n", true),
        ("B", "second\n", false),
        ("c", "", false),
        ("A", "\tthird\n", true),
    ];
    assert_eq!(texts, expected);
    let text = problems("FROM scratch\nCOPY a <<E\nE\n");
    assert!(
        text.contains("destination cannot be a here-document"),
        "{text}"
    );
}

#[test]
fn onbuild_keeps_its_here_documents() {
    let file = read("FROM scratch\nONBUILD RUN cat <<E\na\nE\nUSER 1\n");
    let [onbuild, user] = file.stages[0].steps.as_slice() else {
        panic!()
    };
    let Instruction::Onbuild(text) = &onbuild.instruction else {
        panic!()
    };
    assert_eq!(text, "RUN cat <<E\na\nE");
    assert_eq!(user.instruction, Instruction::User("1".to_owned()));
    let Ok(Instruction::Run(run)) = Instruction::read(text) else {
        panic!()
    };
    assert_eq!(run.documents[0].text, "a\n");
    assert!(Instruction::read("USER 1\nUSER 2\n").is_err());
}

#[test]
fn every_field_of_a_mount_but_one_takes_variables() {
    let options = resolved(&mount(
        "type=${KIND},target=/c$N,uid=$N,gid=${N},mode=1$N$N$N,readonly=$YES,id=i$N,source=/s$N,\
         sharing=${S:-locked}",
    ));
    let expected = MountOptions {
        kind: MountKind::Cache,
        source: "/s7".to_owned(),
        target: "/c7".to_owned(),
        read_only: true,
        size: 0,
        id: "i7".to_owned(),
        sharing: Sharing::Locked,
        required: false,
        env: None,
        mode: Some(0o1777),
        uid: Some(7),
        gid: Some(7),
    };
    assert_eq!(options.unwrap(), expected);
    let secret = resolved(&mount("type=secret,id=s,required=$YES,env=E$N")).unwrap();
    assert_eq!((secret.required, secret.env.as_deref()), (true, Some("E7")));
    for (size, bytes) in [
        ("64k", 65536),
        ("1.5MiB", 3 << 19),
        ("10", 10),
        ("2B", 2),
        ("1g", 1 << 30),
    ] {
        let options = resolved(&mount(&format!("type=tmpfs,target=/t,size={size}"))).unwrap();
        assert_eq!(options.size, bytes, "{size}");
    }
    // A field in quotes may hold a comma.
    let quoted = resolved(&mount("'type=bind,\"target=/a,b\"'")).unwrap();
    assert_eq!((quoted.target.as_str(), quoted.read_only), ("/a,b", true));
}

#[test]
fn invalid_mounts_are_rejected_at_their_field() {
    for (value, why, column) in [
        (
            "type=tmpfs,target=/t,mode=0700",
            "a mount of type `tmpfs` has no `mode`",
            34,
        ),
        (
            "type=bind,target=/t,uid=1",
            "a mount of type `bind` has no `uid`",
            33,
        ),
        (
            "target=/t,size=1k",
            "a mount of type `bind` has no `size`",
            23,
        ),
        ("type=cache,target=/t,required", "has no `required`", 34),
        (
            "type=tmpfs,target=/t,sharing=locked",
            "has no `sharing`",
            34,
        ),
        (
            "type=secret,id=a,from=x",
            "a mount of type `secret` has no `from`",
            30,
        ),
        (
            "type=secret,id=a,source=b",
            "`source` and `id` of a secret are the same",
            30,
        ),
        ("type=secret", "does not name a secret", 5),
        ("type=cash", "`cash` is not a valid `type` of a mount", 13),
        ("type=cache,mode=9", "`9` is not a valid `mode`", 24),
        ("type=cache,uid=-1", "`-1` is not a valid `uid`", 24),
        ("type=cache,sharing=x", "`x` is not a valid `sharing`", 24),
        ("type=tmpfs,size=big", "`big` is not a valid `size`", 24),
        ("readonly=yes", "`yes` is not a valid `readonly`", 13),
        (
            "from=$X,target=/t",
            "`from` of a mount cannot contain variables",
            13,
        ),
        ("tagret=/t", "did you mean `target`?", 13),
        ("target", "`target` of a mount has no value", 13),
    ] {
        let text = problems(&format!("FROM scratch\nRUN --mount={value} true\n"));
        assert!(text.contains(why), "{value}: {text}");
        let place = format!("Dockerfile:2:{column}");
        assert!(text.contains(&place), "{value}: {place}: {text}");
    }
    // Fields with variables are validated after expansion only.
    let problem = resolved(&mount("type=$KIND,uid=x$N")).unwrap_err();
    assert_eq!(problem.message, "`x7` is not a valid `uid` of a mount");
    assert!(problem.span.is_some());
}

#[test]
fn a_document_loses_its_escapes_and_keeps_its_quotes() {
    let variables = |name: &str| (name == "V").then(|| "x".to_owned());
    let expand = |text: &str| expand::document(text, '\\', &variables).unwrap();
    assert_eq!(expand("a\\nb \\\\ \\$V \\`t\\` $V\n"), "anb \\ $V `t` x\n");
    assert_eq!(
        expand("'$V' \"$V\" it's <<EOF < <"),
        "'x' \"x\" it's <<EOF < <"
    );
    assert_eq!(expand("${V:-'}'}"), "x'}");
}

#[test]
fn parameters_of_a_shell_have_no_value() {
    let nothing = |_: &str| None;
    for text in [
        "$-", "$?", "$!", "$$", "$@", "$*", "$#", "$0", "$12", "${1}",
    ] {
        assert_eq!(
            expand::word(text, '\\', &nothing).as_deref(),
            Ok(""),
            "{text}"
        );
    }
    assert_eq!(expand::word("$1a$", '\\', &nothing).as_deref(), Ok("a$"));
}

#[test]
fn patterns_in_braces_support_stars_and_question_marks() {
    let variables = |name: &str| match name {
        "F" => Some("lib/foo.tar.gz".to_owned()),
        "S" => Some("a*b?c[d]".to_owned()),
        _ => None,
    };
    let expand = |text: &str| expand::word(text, '\\', &variables);
    for (text, expected) in [
        ("${F#l?b}", "/foo.tar.gz"),
        ("${F##*/}", "foo.tar.gz"),
        ("${F%%.*}", "lib/foo"),
        ("${F%.*}", "lib/foo.tar"),
        ("${F/\\//-}", "lib-foo.tar.gz"),
        ("${F//[o]/x}", "lib/foo.tar.gz"),
        ("${F//o/}", "lib/f.tar.gz"),
        ("${F/*/x}", "x"),
        ("${F//o/$1}", "lib/f.tar.gz"),
        ("${S#a\\*}", "b?c[d]"),
        ("${S%[d]}", "a*b?c"),
        ("${S/\\?/!}", "a*b!c[d]"),
        ("${U#x}${U/a/b}", ""),
    ] {
        assert_eq!(expand(text).as_deref(), Ok(expected), "{text}");
    }
    assert_eq!(expand("${F/o}"), Err(ExpandError::Open("{")));
    assert_eq!(
        expand("${F#\\d}"),
        Err(ExpandError::Pattern("\\d".to_owned()))
    );
    assert!(matches!(expand("${F:#l}"), Err(ExpandError::Form(_))));
    // Size, depth and time are bounded.
    let deep = "${U:-".repeat(100) + &"}".repeat(100);
    assert_eq!(expand(&deep), Err(ExpandError::Deep));
    let long = |_: &str| Some("a".repeat(1 << 19));
    assert_eq!(expand::word("$A$A$A", '\\', &long), Err(ExpandError::Long));
    let stars = format!("${{A#{}b}}", "*?".repeat(2000));
    assert_eq!(expand::word(&stars, '\\', &long), Err(ExpandError::Long));
}

fn ignored(text: &str) -> Patterns {
    Patterns::of_ignore_file(text).unwrap()
}

#[test]
fn the_last_pattern_that_matches_decides() {
    let patterns = ignored(
        "# talk\n*.o\n!keep.o\n/build\n**/tmp\ndocs/*\n!docs/README.md\n! /sub/build\n # no talk\n",
    );
    for (path, matched) in [
        ("a.o", true),
        ("keep.o", false),
        ("d/a.o", false),
        ("build", true),
        ("build/x/y", true),
        ("sub/build", false),
        ("tmp", true),
        ("a/b/tmp/c", true),
        ("docs", false),
        ("docs/a", true),
        ("docs/a/b", true),
        ("docs/README.md", false),
        ("# no talk", true),
    ] {
        assert_eq!(patterns.matches(path), matched, "{path}");
    }
    assert!(patterns.may_except_below("docs"));
    assert!(!patterns.may_except_below("build"));
    // A pattern that changed nothing for a directory is ignored below it.
    assert!(ignored("a/b\n!a\n").matches("a/b"));
    assert!(!ignored("a\n!a\n").matches("a/b"));
}

#[test]
fn patterns_are_those_of_docker() {
    for (pattern, text, expected) in [
        ("*", "a", true),
        ("**", "a/b", true),
        ("**/x", "x", true),
        ("**/x", "a/b/x", true),
        ("**/x", "ax", false),
        ("**x", "a/bx", true),
        ("a/**/b", "a/b", true),
        ("a/**", "a/b", true),
        ("a/**", "a", false),
        ("a**", "ab/c", true),
        ("[a-c]?", "bz", true),
        ("[^a-c]", "d", true),
        ("[!a]", "a", true),
        ("[!a]", "!", true),
        ("[!a]", "b", false),
        ("[[:alpha:]]", "q", true),
        ("[[:alpha:]]", "1", false),
        ("[[:^alpha:]]", "1", true),
        ("../d", "d", false),
        ("/d", "d", true),
        ("./d/", "d", true),
        ("x/../d", "d", true),
        (r"\*", "*", true),
        (r"\*", "a", false),
        ("a.b", "axb", false),
        ("é?", "éü", true),
    ] {
        assert_eq!(ignored(pattern).matches(text), expected, "{pattern} {text}");
    }
    for pattern in ["[", "[]", "[a-]", "[-a]", "a\\", "!", "[b-a]", "[[:alfa:]]"] {
        let problem = Patterns::of_ignore_file(&format!("ok\n{pattern}\n")).unwrap_err();
        let span = problem.span.unwrap();
        assert_eq!((span.start, span.end), (3, 3 + pattern.len()), "{pattern}");
        assert!(
            problem.message.contains("is not a valid pattern"),
            "{problem:?}"
        );
    }
}

#[test]
fn paths_of_a_copy_have_no_double_stars() {
    for (pattern, text, expected) in [
        ("**", "a/b", false),
        ("*/b", "a/b", true),
        ("[!a]", "!", true),
        ("[^a]", "b", true),
        ("a[*]", "a*", true),
        ("[[]z]", "[z]", true),
        ("[", "[", false),
        ("a[b-a]", "ab", false),
    ] {
        assert_eq!(
            Glob::path(pattern).matches(text),
            expected,
            "{pattern} {text}"
        );
    }
}

#[test]
fn matching_time_is_bounded() {
    let lines: Vec<String> = (0..200)
        .map(|number| format!("{}{number}", "*?".repeat(100)))
        .collect();
    let patterns = ignored(&lines.join("\n"));
    let matched =
        (0..400).filter(|number| patterns.matches(&format!("{}{number}", "ab".repeat(60))));
    // Those that end in a number below 200 and are long enough.
    assert_eq!(matched.count(), 400);
    assert!(!patterns.matches(&"ab".repeat(120)));
    assert!(!ignored(&"*a".repeat(200)).matches(&"ab".repeat(2500)));
    // A run is limited to the maximum length of a file name.
    assert!(!ignored(&"?".repeat(100_000)).matches("a"));
}

#[test]
fn directories_without_possible_matches_are_skipped() {
    let patterns = ignored("a/*/c\n!x/y/z\n");
    assert!(patterns.may_match_below("a"));
    assert!(patterns.may_match_below("a/b"));
    assert!(!patterns.may_match_below("b"));
    assert!(patterns.may_except_below("x/y"));
    assert!(!patterns.may_except_below("x/z"));
    assert!(!patterns.may_except_below("x/y/z"));
    assert!(ignored("!**/z").may_except_below("q/r"));
}

#[test]
fn paths_are_normalised_and_stay_below_the_root() {
    for (path, expected) in [
        ("./a//b/", "a/b"),
        ("/a/../../b", "b"),
        (".", ""),
        ("..", ""),
    ] {
        assert_eq!(clean(path), expected);
    }
}
