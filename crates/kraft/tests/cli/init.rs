//! New projects: detected sources, written files, and files that are never overwritten.

use crate::probe::elf;
use crate::support::Home;

/// Validates a project and returns it.
fn sound(home: &Home, dir: &str) -> serde_json::Value {
    let _ = home.kraft(&["check", dir]).exits(0);
    home.json(&["check", dir, "-o", "json"])
}

fn text(home: &Home, path: &str) -> String {
    std::fs::read_to_string(home.path().join(path)).unwrap()
}

#[test]
fn an_empty_directory_gets_a_first_program() {
    let home = Home::new();
    let outcome = home.kraft(&["init", "hello", "-t", "c"]).exits(0);
    insta::assert_snapshot!(outcome.stdout, @r"
    hello/main.c
    hello/Makefile.uk
    hello/.gitignore
    hello/Kraftfile
    ");
    assert!(outcome.stderr.contains("kraft build"), "{}", outcome.stderr);
    let project = sound(&home, "hello");
    assert_eq!(project["name"], "hello");
    assert_eq!(project["targets"][0]["platform"], "qemu");
    assert_eq!(text(&home, "hello/.gitignore"), ".unikraft\n.config.*\n");
}

#[test]
fn an_empty_directory_without_a_type_is_an_error_and_nothing_is_written() {
    let home = Home::new();
    let outcome = home.kraft(&["init", "empty"]).exits(3);
    assert!(outcome.stderr.contains("--type c"), "{}", outcome.stderr);
    assert!(!home.path().join("empty").exists());
    let _ = home
        .kraft(&["init", "empty", "--type", "dockerfile"])
        .exits(3);
    let _ = home.kraft(&["init", "empty", "--type", "binary"]).exits(3);
    assert!(!home.path().join("empty").exists());
}

#[test]
fn sources_are_found_in_directories_and_odd_names_are_reported() {
    let home = Home::new();
    for file in [
        "main.c",
        "src/grün.c",
        "src/deep/b.S",
        "src/my file.c",
        ".git/no.c",
        "tests/no.c",
    ] {
        home.write(&format!("My App/{file}"), "");
    }
    home.write("My App/include/a.h", "");
    let outcome = home.kraft(&["init", "My App"]).exits(0);
    assert!(
        outcome.stderr.contains("rename src/my file.c"),
        "{}",
        outcome.stderr
    );
    insta::assert_snapshot!(text(&home, "My App/Makefile.uk"), @r"
    $(eval $(call addlib,appmyapp))

    APPMYAPP_CINCLUDES-y += -I$(APPMYAPP_BASE)/include
    APPMYAPP_CXXINCLUDES-y += -I$(APPMYAPP_BASE)/include

    APPMYAPP_SRCS-y += $(APPMYAPP_BASE)/main.c
    APPMYAPP_SRCS-y += $(APPMYAPP_BASE)/src/deep/b.S
    APPMYAPP_SRCS-y += $(APPMYAPP_BASE)/src/grün.c
    ");
    assert_eq!(sound(&home, "My App")["name"], "myapp");
}

#[test]
fn the_command_is_that_of_the_dockerfile() {
    let home = Home::new();
    home.write(
        "web/Dockerfile",
        "FROM scratch\nCOPY a /a\nENTRYPOINT [\"/a\"]\nCMD [\"-x\", \"$HOME\"]\n",
    );
    home.write("web/main.c", "");
    let outcome = home
        .kraft(&["init", "web", "--name", "w", "--runtime", "base:7"])
        .exits(0);
    assert!(
        outcome
            .stderr
            .contains("the project is made from the Dockerfile"),
        "{}",
        outcome.stderr
    );
    let project = sound(&home, "web");
    assert_eq!(project["cmd"], serde_json::json!(["/a", "-x", "$HOME"]));
    assert_eq!(project["name"], "w");
    assert_eq!(project["runtime"]["version"], "7");
    assert!(text(&home, "web/.dockerignore").contains(".unikraft\n"));
    assert!(!home.path().join("web/Makefile.uk").exists());
}

#[test]
fn a_program_gets_a_root_filesystem_but_a_kernel_does_not() {
    let home = Home::new();
    home.write(
        "run/tool",
        elf(
            &[(".text", 6, b"code"), (".interp", 2, b"/lib/ld.so\0")],
            &[],
        ),
    );
    let outcome = home.kraft(&["init", "run"]).exits(0);
    assert!(outcome.stderr.contains("ldd tool"), "{}", outcome.stderr);
    assert_eq!(sound(&home, "run")["cmd"], serde_json::json!(["/tool"]));
    assert!(home.path().join("run/rootfs/tool").is_file());

    home.write("boot/k", elf(&[(".uk_inittab", 2, b"-")], &[]));
    let _ = home.kraft(&["init", "boot"]).exits(0);
    assert_eq!(sound(&home, "boot")["runtime"]["kernel"], "./k");
}

#[test]
fn existing_files_are_not_overwritten() {
    let home = Home::new();
    home.write("p/main.c", "mine");
    home.write("p/Makefile.uk", "mine");
    home.write("p/.gitignore", "*.o");
    home.write("p/kraft.yaml", "mine");
    let outcome = home.kraft(&["init", "p"]).exits(1);
    assert!(
        outcome.stderr.contains("kraft.yaml` already exists"),
        "{}",
        outcome.stderr
    );
    assert_eq!(text(&home, "p/.gitignore"), "*.o");

    let outcome = home.kraft(&["init", "p", "--force"]).exits(0);
    assert_eq!(outcome.stdout, "p/.gitignore\np/kraft.yaml\n");
    assert_eq!(text(&home, "p/main.c"), "mine");
    assert_eq!(text(&home, "p/Makefile.uk"), "mine");
    assert_eq!(text(&home, "p/.gitignore"), "*.o\n.unikraft\n.config.*\n");
    let _ = sound(&home, "p");
}

#[test]
fn an_invalid_name_is_an_error_before_anything_is_written() {
    let home = Home::new();
    let outcome = home
        .kraft(&["init", "p", "--type", "c", "--name", "a/b"])
        .exits(2);
    assert!(
        outcome.stderr.contains("must not contain `/`"),
        "{}",
        outcome.stderr
    );
    assert!(!home.path().join("p").exists());
}
