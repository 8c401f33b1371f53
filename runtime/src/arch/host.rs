//! A stand-in for a machine: memory of the process that tests or fuzzes the kernel.
