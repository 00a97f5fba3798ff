//! Bytes as a file called `.yaml`.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| boma_fuzz::check("fuzz.yaml", bytes));
