//! What a build of a Dockerfile shows on a real terminal, and what it leaves there.

use kraft_e2e::dockerfiles::{OWN_BUILD, context};
use kraft_e2e::terminal::{Terminal, closing_line, is_moving, lines_of};

use crate::own_builder::with_base;

#[test]
fn a_build_shows_its_steps_and_leaves_one_line_at_every_width() {
    // Longer than a line, as commands of real Dockerfiles are.
    let long = "RUN echo a command that is much longer than what fits into one line of a terminal with sixty or with one hundred and twenty columns > /made && sleep 1\n";
    for columns in [60, 120] {
        let Some((bench, _registry)) = with_base(long) else {
            return;
        };
        let dockerfile = bench.path().join("context/Dockerfile");
        let text = std::fs::read_to_string(&dockerfile).unwrap();
        context(
            &bench,
            &[("Dockerfile", &format!("{text}COPY a /a\n")), ("a", "x")],
        );
        let words = [&OWN_BUILD[..], &["--build-network", "none"]].concat();
        let data = bench.path().join("data");
        let Some(terminal) = Terminal::open(&bench, bench.path(), columns, Some(&data), &words)
        else {
            return;
        };
        let screens = terminal.watch();
        let step = screens.iter().any(|screen| {
            screen
                .lines()
                .any(|line| is_moving(line) && line.contains("RUN echo"))
        });
        assert!(step, "no step was shown: {screens:#?}");
        let left = lines_of(screens.last().unwrap());
        let closing = closing_line(&left);
        assert!(closing.starts_with("wrote root.cpio, "), "{left:#?}");
        assert!(closing.contains(" MiB in "), "{left:#?}");
    }
}
