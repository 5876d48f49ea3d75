//! A way between two servers that can be cut.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;

/// A way to a server that can be cut: what goes over it ends, and nothing new comes through.
pub(crate) struct Way {
    pub(crate) url: String,
    open: Arc<AtomicBool>,
    cuts: watch::Sender<u64>,
}

impl Way {
    /// On a thread of its own: a test that waits for a program holds nothing up.
    pub(crate) fn to(address: &str) -> Self {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        listener.set_nonblocking(true).unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let (open, cuts) = (Arc::new(AtomicBool::new(true)), watch::Sender::new(0));
        let (may, cut, address) = (open.clone(), cuts.clone(), address.to_owned());
        std::thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
            runtime.block_on(async { carry(TcpListener::from_std(listener).unwrap(), address, may, cut).await });
        });
        Self { url, open, cuts }
    }

    pub(crate) fn cut(&self) {
        self.open.store(false, Ordering::Release);
        self.cuts.send_modify(|cuts| *cuts += 1);
    }

    pub(crate) fn heal(&self) {
        self.open.store(true, Ordering::Release);
    }
}

async fn carry(listener: TcpListener, address: String, may: Arc<AtomicBool>, cuts: watch::Sender<u64>) {
    while let Ok((mut near, _)) = listener.accept().await {
        let (may, mut cut, address) = (may.clone(), cuts.subscribe(), address.clone());
        tokio::spawn(async move {
            if !may.load(Ordering::Acquire) {
                return;
            }
            let Ok(mut far) = TcpStream::connect(&address).await else { return };
            tokio::select! {
                _ = tokio::io::copy_bidirectional(&mut near, &mut far) => {}
                _ = cut.changed() => {}
            }
        });
    }
}
