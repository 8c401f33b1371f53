//! A program that only runs as a monitor, for the tests of this crate. It has one more driver than
//! `kraft`: that of the tests.

#[path = "../tests/machines/script/driver.rs"]
mod driver;

fn main() -> std::process::ExitCode {
    let args = std::env::args_os().skip(1);
    let code = kraft_machine::monitor::main_with(driver::registry, args);
    std::process::ExitCode::from(u8::try_from(code).unwrap_or(1))
}
