#![no_main]

libfuzzer_sys::fuzz_target!(|text: &str| {
    // The text as a value, in a file that is right without it.
    let value = serde_json::Value::from(text).to_string();
    let file = format!(
        "services: {{ web: {{ image: demo, hostname: {value}, environment: [{value}], deploy: {{ replicas: {value} }} }} }}"
    );
    skep_fuzz::run(&[&file], text);
});
