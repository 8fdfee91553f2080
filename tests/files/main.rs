//! Every kind of file that the library writes: what damage, concurrent writers and killed ones do to it.

mod checksums;
mod damage;
mod kinds;
mod writes;
