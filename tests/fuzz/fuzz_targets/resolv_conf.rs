#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| isatapd_fuzz::resolv_conf::check(data));
