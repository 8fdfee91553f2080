//! Every kind of file that the library writes: what damage, concurrent writers and killed ones do to it.

#[path = "files/checksums.rs"]
mod checksums;
#[path = "files/damage.rs"]
mod damage;
#[path = "files/kinds.rs"]
mod kinds;
#[path = "files/writes.rs"]
mod writes;
