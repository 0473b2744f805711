#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| isatapd_fuzz::codec_event::check(data));
