//! Builds the guest's command-line parser for the host, as one function (`guest.c`).

fn main() {
    let mini = "../guests/core/lib/mini";
    cc::Build::new()
        .files([
            "guest.c",
            "../guests/core/lib/mini/cmdline.c",
            "../guests/core/lib/mini/print.c",
            "../guests/core/lib/mini/report.c",
        ])
        .include(mini)
        .flag("-fno-builtin")
        .compile("guest");
    println!("cargo:rerun-if-changed=guest.c");
    println!("cargo:rerun-if-changed={mini}");
}
