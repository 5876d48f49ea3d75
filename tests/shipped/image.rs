//! The image is the same whichever way it is made.

use crate::file;

#[test]
fn both_ways_to_make_the_image_end_alike() {
    let end = |path: &str| {
        let text = file(path);
        let (_, end) = text.split_once("\nENV ").unwrap_or_else(|| panic!("{path} sets no ENV"));
        end.lines().filter(|line| !line.starts_with('#')).map(str::to_owned).collect::<Vec<_>>()
    };
    assert_eq!(end("Dockerfile"), end("packaging/Dockerfile"));
}
