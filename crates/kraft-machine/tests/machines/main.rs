//! Machines that really run: the library, its monitor, QEMU and the repository's own guest, and a
//! driver for another VMM.

#[cfg(test)]
mod bench;
#[cfg(test)]
mod death;
#[cfg(test)]
mod life;
#[cfg(test)]
mod many;
#[cfg(test)]
mod restart;
#[cfg(test)]
mod script;
