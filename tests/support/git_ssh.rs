//! A real sshd on loopback that gives git repositories out. Each connection gets an `sshd -i` of its own on a socket that
//! is listened on here, so that no port is guessed and nothing is waited for.
#![expect(clippy::unwrap_used, reason = "test support: what fails here fails the test")]

use std::fs;
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::os::fd::OwnedFd;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;

const SSHD: &str = "/usr/sbin/sshd";

/// The server, with a host key and one client key of its own. It ends when dropped.
pub struct SshServer {
    address: SocketAddr,
    folder: PathBuf,
    stopped: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl SshServer {
    /// Starts it on loopback; keys and configuration go to `folder`.
    pub fn start(folder: &Path) -> Self {
        Self::start_on(folder, "127.0.0.1")
    }

    /// Starts it on an address of this machine.
    pub fn start_on(folder: &Path, ip: &str) -> Self {
        assert!(Path::new(SSHD).exists(), "{SSHD} is missing; these tests need the package openssh-server");
        for name in ["host", "client", "stranger"] {
            let status = Command::new("ssh-keygen")
                .args(["-q", "-t", "ed25519", "-N", "", "-f"])
                .arg(folder.join(name))
                .stdin(Stdio::null())
                .status()
                .unwrap();
            assert!(status.success(), "ssh-keygen");
        }
        fs::copy(folder.join("client.pub"), folder.join("authorized")).unwrap();
        let listener = TcpListener::bind((ip, 0)).unwrap();
        let address = listener.local_addr().unwrap();
        let key = fs::read_to_string(folder.join("host.pub")).unwrap();
        fs::write(folder.join("known"), format!("[{ip}]:{} {key}", address.port())).unwrap();
        fs::write(folder.join("nobody"), "").unwrap();
        // The session needs the `git-upload-pack` of the git these tests run.
        let path = std::env::var("PATH").unwrap();
        let config = format!(
            "HostKey {0}/host\nAuthorizedKeysFile {0}/authorized\nPasswordAuthentication no\n\
             KbdInteractiveAuthentication no\nUsePAM no\nStrictModes no\nPermitRootLogin yes\nPidFile none\n\
             AcceptEnv GIT_PROTOCOL\nSetEnv PATH={path}\nLogLevel QUIET\n",
            folder.display()
        );
        fs::write(folder.join("config"), config).unwrap();
        // sshd wants this folder when it runs as root; it may be there.
        fs::create_dir_all("/run/sshd").ok();
        let stopped = Arc::new(AtomicBool::new(false));
        let thread = std::thread::spawn({
            let (stopped, config) = (Arc::clone(&stopped), folder.join("config"));
            move || {
                for connection in listener.incoming() {
                    if stopped.load(Ordering::SeqCst) {
                        return;
                    }
                    let Ok(connection) = connection else { continue };
                    let config = config.clone();
                    std::thread::spawn(move || {
                        let copy: OwnedFd = connection.try_clone().unwrap().into();
                        let mut child = Command::new(SSHD)
                            .args(["-i", "-e", "-f"])
                            .arg(config)
                            .stdin(Stdio::from(OwnedFd::from(connection)))
                            .stdout(Stdio::from(copy))
                            .stderr(Stdio::null())
                            .spawn()
                            .unwrap();
                        child.wait().unwrap();
                    });
                }
            }
        });
        Self { address, folder: folder.to_owned(), stopped, thread: Some(thread) }
    }

    /// The address of a repository for the user who runs the tests.
    pub fn url(&self, repository: &Path) -> String {
        self.url_by(&self.address.ip().to_string(), repository)
    }

    /// The same, with a name that is looked up to the address.
    pub fn url_by(&self, host: &str, repository: &Path) -> String {
        let user = Command::new("id").arg("-un").output().unwrap().stdout;
        let user = String::from_utf8(user).unwrap();
        format!("ssh://{}@{host}:{}{}", user.trim(), self.address.port(), repository.display())
    }

    /// The private key it lets in.
    pub fn key(&self) -> String {
        fs::read_to_string(self.folder.join("client")).unwrap()
    }

    /// The line of `known_hosts` that knows its key by a name.
    pub fn known_by(&self, host: &str) -> String {
        let key = fs::read_to_string(self.folder.join("host.pub")).unwrap();
        format!("[{host}]:{} {key}", self.address.port())
    }

    /// Options for ssh: this server's known key, and the key it lets in.
    pub fn arguments(&self) -> Vec<String> {
        self.arguments_with("client", "known")
    }

    /// Options for ssh with a key nobody knows.
    pub fn arguments_of_a_stranger(&self) -> Vec<String> {
        self.arguments_with("stranger", "known")
    }

    /// Options for ssh that does not know this server.
    pub fn arguments_without_known_hosts(&self) -> Vec<String> {
        self.arguments_with("client", "nobody")
    }

    fn arguments_with(&self, key: &str, known: &str) -> Vec<String> {
        let key = self.folder.join(key);
        fs::set_permissions(&key, fs::Permissions::from_mode(0o600)).unwrap();
        let known = self.folder.join(known);
        ["-F", "/dev/null", "-o", "IdentitiesOnly=yes", "-o", "IdentityAgent=none", "-i"]
            .map(str::to_owned)
            .into_iter()
            .chain([key.display().to_string(), "-o".to_owned()])
            .chain([format!("UserKnownHostsFile={}", known.display()), "-o".to_owned()])
            .chain(["GlobalKnownHostsFile=/dev/null".to_owned()])
            .collect()
    }
}

impl Drop for SshServer {
    fn drop(&mut self) {
        self.stopped.store(true, Ordering::SeqCst);
        TcpStream::connect(self.address).ok();
        if let Some(thread) = self.thread.take() {
            thread.join().unwrap();
        }
    }
}
