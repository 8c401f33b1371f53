//! Builds the guest's command-line parser for the host, as one function (`guest.c`).

fn main() {
    let mini = "../guests/mini";
    cc::Build::new()
        .files(["guest.c", "../guests/mini/cmdline.c", "../guests/mini/print.c", "../guests/mini/report.c"])
        .include(mini)
        .flag("-fno-builtin")
        .compile("guest");
    println!("cargo:rerun-if-changed=guest.c");
    println!("cargo:rerun-if-changed={mini}");
}
