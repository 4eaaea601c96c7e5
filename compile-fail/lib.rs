//! Misuse that does not compile: `tests/refused.rs` has the compiler try each program of `cases/`.
