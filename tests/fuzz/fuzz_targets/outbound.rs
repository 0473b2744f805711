#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| isatapd_fuzz::outbound::check(data));
