use super::*;
use crate::arch::shown;
use crate::testing::{System, system};

/// A terminal whose output the test can read, with the process in its foreground.
fn pair(system: &System) -> (Rc<Terminal>, Rc<dyn File>) {
    let terminal = Terminal::new(Sink::Master(RefCell::default()), 0);
    terminal.master_open.set(true);
    terminal.attach(&system.process);
    let slave = Slave::open(terminal.clone());
    (terminal, slave)
}

fn read(file: &Rc<dyn File>, length: usize) -> Result<Vec<u8>> {
    let mut bytes = alloc::vec![0; length];
    let done = file.read(0, &mut Output::kernel(&mut bytes))?;
    bytes.truncate(done);
    Ok(bytes)
}

fn echoed(terminal: &Terminal) -> Vec<u8> {
    match &terminal.sink {
        Sink::Master(output) => output.borrow_mut().drain(..).collect(),
        Sink::Console => Vec::new(),
    }
}

#[test]
fn lines_are_edited_before_they_are_read() {
    let system = system();
    let (terminal, slave) = pair(&system);
    terminal.receive(b"helxx\x7f\x7flo");
    assert_eq!(read(&slave, 100), Err(Errno::AGAIN));
    terminal.receive(b"\r");
    assert_eq!(read(&slave, 100).unwrap(), b"hello\n");
    assert_eq!(echoed(&terminal), b"helxx\x08 \x08\x08 \x08lo\r\n");
    terminal.receive(b"one two  \x17three\n");
    assert_eq!(read(&slave, 100).unwrap(), b"one three\n");
    terminal.receive(b"all gone\x15kept\n\x7f");
    assert_eq!(read(&slave, 3).unwrap(), b"kep");
    assert_eq!(read(&slave, 100).unwrap(), b"t\n");
    terminal.receive(b"a\nb\n");
    assert_eq!(read(&slave, 100).unwrap(), b"a\n", "one line at a time");
    assert_eq!(read(&slave, 100).unwrap(), b"b\n");
}

#[test]
fn a_character_of_several_bytes_is_erased_as_one() {
    let system = system();
    let (terminal, slave) = pair(&system);
    terminal.receive("a\u{e4}\u{20ac}\x7f\x7fb\n".as_bytes());
    assert_eq!(read(&slave, 100).unwrap(), b"ab\n");
}

#[test]
fn the_end_of_file_character_ends_what_is_read() {
    let system = system();
    let (terminal, slave) = pair(&system);
    terminal.receive(b"\x04");
    assert_eq!(read(&slave, 10).unwrap(), b"");
    assert_eq!(read(&slave, 10), Err(Errno::AGAIN));
    terminal.receive(b"part\x04");
    assert_eq!(read(&slave, 10).unwrap(), b"part");
    assert_eq!(read(&slave, 10), Err(Errno::AGAIN));
    terminal.receive(b"line\n\x04");
    assert_eq!(read(&slave, 10).unwrap(), b"line\n");
    assert_eq!(read(&slave, 10).unwrap(), b"");
    terminal.receive(b"a\x04b\x04");
    assert_eq!(read(&slave, 10).unwrap(), b"a");
    assert_eq!(read(&slave, 10).unwrap(), b"b");
}

#[test]
fn characters_send_signals_to_the_foreground() {
    let system = system();
    let (terminal, slave) = pair(&system);
    for (byte, signal) in [(3, Signal::INT), (0x1c, Signal::QUIT), (0x1a, Signal::TSTP)] {
        terminal.receive(b"lost");
        terminal.receive(&[byte]);
        assert_ne!(system.process.pending.set() & signal.bit(), 0);
        system.process.pending.remove(u64::MAX);
    }
    assert!(echoed(&terminal).ends_with(b"lost^Z"));
    terminal.receive(b"new\n");
    assert_eq!(read(&slave, 10).unwrap(), b"new\n");
    let mut settings = terminal.settings.get();
    settings.local &= !SIGNALS;
    terminal.settings.set(settings);
    terminal.receive(b"\x03\n");
    assert_eq!(system.process.pending.set(), 0);
    assert_eq!(read(&slave, 10).unwrap(), b"\x03\n");
}

#[test]
fn without_lines_bytes_are_read_as_they_come() {
    let system = system();
    let (terminal, slave) = pair(&system);
    let mut settings = terminal.settings.get();
    settings.local &= !(CANONICAL | ECHO | SIGNALS);
    settings.input = 0;
    terminal.settings.set(settings);
    terminal.receive(b"a\x7f\r\x04\x03");
    assert_eq!(read(&slave, 100).unwrap(), b"a\x7f\r\x04\x03");
    assert_eq!(echoed(&terminal), b"");
    assert_eq!(read(&slave, 100), Err(Errno::AGAIN));
    settings.characters[MINIMUM] = 0;
    terminal.settings.set(settings);
    assert_eq!(read(&slave, 100).unwrap(), b"");
}

#[test]
fn input_that_nobody_reads_is_bounded() {
    let system = system();
    let (terminal, slave) = pair(&system);
    for _ in 0..10 {
        terminal.receive(&[b'x'; 3 * MOST_INPUT]);
        terminal.receive(b"\n\x04\x04");
    }
    assert!(terminal.line.borrow().len() <= MOST_INPUT + 1);
    assert!(terminal.input.borrow().len() <= 2 * MOST_INPUT);
    terminal.receive(&[4; 100_000]);
    assert!(terminal.ends.borrow().len() <= MOST_INPUT);
    // More than up to an end is read at once without lines.
    terminal.receive(b"\x03ab\x04cd\x04");
    let mut settings = terminal.settings.get();
    settings.local &= !CANONICAL;
    terminal.settings.set(settings);
    assert_eq!(read(&slave, 10).unwrap(), b"abcd");
    terminal.settings.set(Settings::new());
    system.process.pending.remove(u64::MAX);
    while read(&slave, 1000).is_ok() {}
    terminal.receive(b"after\n");
    assert_eq!(read(&slave, 10).unwrap(), b"after\n");
}

#[test]
fn the_other_side_hangs_up() {
    let system = system();
    let (terminal, slave) = pair(&system);
    let master: Rc<dyn File> = Rc::new(Master(terminal));
    assert_eq!(read(&master, 10), Err(Errno::AGAIN));
    slave.write(0, &mut Input::kernel(b"x\n")).unwrap();
    assert_eq!(read(&master, 10).unwrap(), b"x\r\n");
    drop(master);
    assert_eq!(read(&slave, 10).unwrap(), b"");
    assert_ne!(system.process.pending.set() & Signal::HUP.bit(), 0);
    system.process.pending.remove(u64::MAX);
    assert_eq!(slave.write(0, &mut Input::kernel(b"x")), Err(Errno::IO));
}

#[test]
fn the_console_shows_and_reads() {
    let _system = system();
    let console = Slave::open(console());
    console.write(0, &mut Input::kernel(b"a\nb")).unwrap();
    assert_eq!(shown(), b"a\r\nb");
    crate::arch::type_in(b"typed\r");
    poll_console();
    assert_eq!(read(&console, 10).unwrap(), b"typed\n");
}

#[test]
fn commands_in_the_input_of_the_console_are_obeyed() {
    let system = system();
    let terminal = console();
    terminal.attach(&system.process);
    let reader = Slave::open(terminal.clone());
    crate::arch::type_in(&[255, 250, 31, 0, 132, 0, 43, 255, 240]);
    poll_console();
    assert_eq!(terminal.size.get(), [43, 132, 0, 0]);

    // Not typed: no echo, no lines, no signals, and an end.
    let _ = shown();
    crate::arch::type_in(&[255, 254, 1, b'\r', 3, 255, 255, b'x', 255, 236]);
    poll_console();
    assert_eq!(read(&reader, 10).unwrap(), b"\r\x03\xffx");
    assert_eq!(read(&reader, 10).unwrap(), b"");
    assert_eq!(shown(), b"");
    assert_eq!(system.process.pending.set(), 0);
    // What is not read stays with the sender.
    let all: Vec<u8> = (0..MOST_SENT + 5000).map(|at| (at % 251) as u8).collect();
    crate::arch::type_in(&all);
    poll_console();
    assert_eq!(terminal.input.borrow().len(), MOST_SENT);
    let mut got = Vec::new();
    while let Ok(more) = read(&reader, 3000) {
        got.extend(more);
    }
    assert_eq!(got, all);
    terminal.is_typed.set(true);
    terminal.settings.set(Settings::new());
}

#[test]
fn pasted_text_waits_for_a_slow_program_and_ctrl_c_is_seen_behind_it() {
    let system = system();
    let terminal = console();
    terminal.attach(&system.process);
    let reader = Slave::open(terminal.clone());
    let line = [&[b'x'; 60][..], b"\r"].concat();
    for _ in 0..1000 {
        crate::arch::type_in(&line);
    }
    poll_console();
    let mut lines = 0;
    while lines < 1000 && read(&reader, 4096).unwrap().len() == 61 {
        lines += 1;
    }
    assert_eq!(lines, 1000);
    for _ in 0..20_000 {
        crate::arch::type_in(&line);
    }
    crate::arch::type_in(&[3]);
    poll_console();
    assert_ne!(system.process.pending.set() & Signal::INT.bit(), 0);
    system.process.pending.remove(u64::MAX);
    assert_eq!(read(&reader, 10), Err(Errno::AGAIN));
    let _ = shown();
}
