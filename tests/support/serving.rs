//! A `skep serve` process that a test has started.

use std::io::{BufRead, BufReader};
use std::process::Child;

/// Where it listens, once it says so. What it says later is read as well: a full pipe would hold it up.
pub fn address_of(child: &mut Child) -> String {
    let mut lines = BufReader::new(child.stderr.take().unwrap());
    let address = loop {
        let mut line = String::new();
        assert_ne!(lines.read_line(&mut line).unwrap(), 0, "it ended");
        if let Some(address) = line.trim().strip_prefix("skep: listening on ") {
            break address.to_owned();
        }
    };
    std::thread::spawn(move || std::io::copy(&mut lines, &mut std::io::sink()).ok());
    address
}
