//! A program that is nothing but a monitor: what `kraft` becomes by its hidden word. The tests of
//! this crate start it.

fn main() -> std::process::ExitCode {
    let code = kraft_machine::monitor::main(std::env::args_os().skip(1));
    std::process::ExitCode::from(u8::try_from(code).unwrap_or(1))
}
