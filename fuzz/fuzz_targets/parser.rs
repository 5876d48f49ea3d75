#![no_main]

libfuzzer_sys::fuzz_target!(|text: &str| {
    skep_fuzz::run(&[text], "A=1\n");
});
