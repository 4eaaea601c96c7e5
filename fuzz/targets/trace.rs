#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| ringmill_fuzz::trace::run(data));
