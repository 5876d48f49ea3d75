//! The binary: everything is in the library.
use std::path::PathBuf;
fn main() {
    skep::app::init_telemetry(skep::app::LogFormat::Text, &std::env::var("SKEP_LOG").unwrap_or("info".into()));
    let a: Vec<String> = std::env::args().collect();
    let v = |n: &str| a.iter().position(|x| x == n).map(|i| a[i + 1].clone());
    let f = |n: &str| a.iter().any(|x| x == n);
    let r = skep::app::serve(skep::app::ServeOptions {
        listen: v("--listen").unwrap().parse().unwrap(),
        data: PathBuf::from(v("--data").unwrap()),
        docker: v("--docker"),
        allow_private_addresses: f("--allow-private-addresses"),
        allow_file_sources: f("--allow-file-sources"),
        tls: None,
        insecure: false,
        metrics_public: true,
        graphiql: true,
    });
    if let Err(e) = r {
        eprintln!("{e}");
        std::process::exit(1)
    }
}
