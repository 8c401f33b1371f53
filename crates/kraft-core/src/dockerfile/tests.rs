use super::expand::{self, ExpandError};
use super::patterns::{Glob, Patterns, clean};
use super::*;
use crate::problem::render;

fn read(text: &str) -> Dockerfile {
    parse(text)
        .unwrap_or_else(|problems| panic!("{}", render("Dockerfile", text, &problems, false)))
}

fn faults(text: &str) -> String {
    let problems = parse(text).unwrap_err();
    render("Dockerfile", text, &problems, false)
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
fn both_forms_of_a_command_are_told_apart() {
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
    assert_eq!(run.mounts[0].kind, MountKind::Secret);
    assert!(run.mounts[0].required);
    assert_eq!(run.mounts[1].target.as_deref(), Some("/c"));
    assert_eq!(run.command, Command::Shell("make".into()));
    let Instruction::Copy(copy) = &stage.steps[1].instruction else {
        panic!()
    };
    assert_eq!((copy.chmod.as_deref(), copy.link), (Some("755"), true));
}

#[test]
fn faults_have_a_place_and_advice() {
    let text = faults("FROM scratch\nCOPYY a b\nCOPY a\nENV X\nRUN --mont=x y\nCOPY <<E /x\n");
    for part in [
        "unknown instruction `COPYY`",
        "did you mean `COPY`?",
        "Dockerfile:2:1",
        "needs what is copied",
        "Dockerfile:3:6",
        "`X` has no value",
        "did you mean `--mount`?",
        "the here-document `E` never ends",
    ] {
        assert!(text.contains(part), "{part} is missing in\n{text}");
    }
    assert!(faults("RUN x\n").contains("stands before any `FROM`"));
    assert!(faults("# nothing\n").contains("has no `FROM`"));
}

#[test]
fn a_fault_in_a_continued_line_is_shown_where_it_stands() {
    let text = "FROM scratch\nLABEL a=b \\\n  oops\n";
    assert!(faults(text).contains("Dockerfile:3:3"), "{}", faults(text));
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
fn the_last_pattern_that_matches_decides() {
    let patterns = Patterns::of_ignore_file(
        "# talk\n*.o\n!keep.o\n/build\n**/tmp\ndocs/*\n!docs/README.md\n!/sub/build\n",
    );
    for (path, ignored) in [
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
    ] {
        assert_eq!(patterns.matches(path), ignored, "{path}");
    }
    assert!(patterns.may_except_below("docs"));
    assert!(!patterns.may_except_below("build"));
}

#[test]
fn globs_stop_at_slashes_unless_doubled() {
    for (pattern, text, expected) in [
        ("*", "a", true),
        ("*", "a/b", false),
        ("**", "a/b", true),
        ("**/x", "x", true),
        ("**/x", "a/b/x", true),
        ("**/x", "ax", false),
        ("a/**/b", "a/b", true),
        ("a/**", "a/b", true),
        ("a/**", "a", false),
        ("[a-c]?", "bz", true),
        ("[!a-c]", "b", false),
        (r"\*", "*", true),
        (r"\*", "a", false),
        ("[", "[", false),
    ] {
        assert_eq!(
            Glob::ignore(pattern).matches(text),
            expected,
            "{pattern} {text}"
        );
    }
    assert!(!Glob::path("**").matches("a/b"));
    // Time grows with pattern times text, whatever the stars.
    assert!(!Glob::ignore(&"*a".repeat(200)).matches(&"ab".repeat(2500)));
    assert!(Glob::ignore("a/*/c").could_match_below("a/b"));
    assert!(!Glob::ignore("a/*/c").could_match_below("b"));
}

#[test]
fn paths_are_cleaned_and_never_lead_above_the_root() {
    for (path, expected) in [
        ("./a//b/", "a/b"),
        ("/a/../../b", "b"),
        (".", ""),
        ("..", ""),
    ] {
        assert_eq!(clean(path), expected);
    }
}
