#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| isatapd_fuzz::failed::check(data));
