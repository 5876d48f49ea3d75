//! The binary: everything is in the library.
use std::path::PathBuf;
fn main() {
    skep::app::init_telemetry(skep::app::LogFormat::Text, &std::env::var("SKEP_LOG").unwrap_or("info".into()));
    let a: Vec<String> = std::env::args().collect();
    let r = skep::app::serve(skep::app::ServeOptions {
        listen: a[1].parse().unwrap(),
        data: PathBuf::from(&a[2]),
        docker: None,
        allow_private_addresses: true,
        allow_file_sources: true,
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
