#![no_main]

libfuzzer_sys::fuzz_target!(|text: &str| {
    // Two files, and what they include or extend.
    let (one, two) = text.split_once("\n---\n").unwrap_or((text, "services: { web: { image: demo } }"));
    skep_fuzz::run(&[one, two], two);
});
