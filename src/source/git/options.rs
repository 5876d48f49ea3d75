//! What an installation allows, and its limits.

use std::path::PathBuf;
use std::time::Duration;

use crate::outbound::{Outbound, Reach};

/// How [`super::Git`] behaves. `GitOptions { root, ..GitOptions::default() }` is what `skep serve` starts with.
#[derive(Debug, Clone)]
pub struct GitOptions {
    /// Folder of the local copies, one bare repository for each address, called after the digest of it. Made when
    /// missing. Nobody else may write there.
    pub root: PathBuf,
    /// Whether `file://` addresses are allowed. They need the program `git`, and whoever may declare a stack can then
    /// read every repository this process can.
    pub allow_file: bool,
    /// Which addresses may be connected to, and who looks names up.
    pub outbound: Outbound,
    /// The longest a listing of refs may take, waiting for a place included.
    pub list_timeout: Duration,
    /// The longest a fetch may take, waiting for a place included.
    pub fetch_timeout: Duration,
    /// The longest a connection may take to be made (TCP and TLS; `ConnectTimeout` of ssh).
    pub connect_timeout: Duration,
    /// The longest an http(s) host may be silent in the middle of an answer.
    pub idle_timeout: Duration,
    /// Conversations with all hosts at the same time.
    pub conversations: usize,
    /// Conversations with one host at the same time, so that a slow one cannot take all places.
    pub conversations_per_host: usize,
    /// A listing younger than this is used again instead of asking the host. Zero: only callers that arrive while one is
    /// under way share it.
    pub reuse_listing: Duration,
    /// The most bytes a file may have.
    pub max_file: u64,
    /// The most bytes the packs of one repository may have.
    pub max_repository: u64,
    /// The most bytes a listing of refs may have.
    pub max_listing: u64,
    /// Every fetch that brings something adds a pack. With more than this many, a fresh copy takes the old one's place.
    pub max_packs: usize,
    /// The program for `file://`: a path, or a name looked up on PATH.
    pub git_program: PathBuf,
    /// The program for `ssh://`: a path, or a name looked up on PATH. It must understand the options of OpenSSH.
    pub ssh_program: PathBuf,
    /// Options for the ssh program, before all others (and so winning over them), for example
    /// `["-i", "/etc/skep/id_ed25519", "-o", "UserKnownHostsFile=/etc/skep/known_hosts"]`.
    pub ssh_arguments: Vec<String>,
}

impl Default for GitOptions {
    fn default() -> Self {
        Self {
            root: PathBuf::from("git"),
            allow_file: false,
            outbound: Outbound::new(Reach::Public),
            list_timeout: Duration::from_secs(60),
            fetch_timeout: Duration::from_secs(600),
            connect_timeout: Duration::from_secs(10),
            idle_timeout: Duration::from_secs(30),
            conversations: 8,
            conversations_per_host: 4,
            reuse_listing: Duration::from_millis(500),
            max_file: 8 << 20,
            max_repository: 2 << 30,
            max_listing: 64 << 20,
            max_packs: 100,
            git_program: PathBuf::from("git"),
            ssh_program: PathBuf::from("ssh"),
            ssh_arguments: Vec::new(),
        }
    }
}
