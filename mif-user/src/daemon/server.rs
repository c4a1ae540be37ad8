//! The control socket.

use std::{
    fs, io,
    os::unix::fs::PermissionsExt as _,
    path::{Path, PathBuf},
    time::Duration,
};

use mif_core::time::Deadline;
use tokio::{
    io::{AsyncBufReadExt as _, AsyncReadExt as _, AsyncWriteExt as _, BufReader},
    net::{UnixListener, UnixStream},
    sync::{broadcast, mpsc, oneshot},
};
use tracing::debug;

use crate::{
    clock::{self, Timer},
    control::{Notice, Reply, Request},
};

/// The longest request read, octets: a policy with many long PvD ids fits, a program gone wild does not.
const REQUEST_MAX: u64 = 1 << 16;

/// How long nobody is let in when the daemon, or the host, is out of descriptors.
const OUT_OF_DESCRIPTORS: Duration = Duration::from_millis(100);

/// A request with the place for its answer.
pub struct Call {
    /// What is asked.
    pub request: Request,
    /// Where the answer goes.
    pub reply: oneshot::Sender<Reply>,
}

/// Listens on the socket, readable and writable for root alone.
///
/// # Errors
/// When the path cannot be bound.
pub fn listen(path: &Path) -> io::Result<UnixListener> {
    // A socket left by a daemon that was killed; the lock says that none is alive.
    match fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    let listener = UnixListener::bind(path)?;
    fs::set_permissions(path, fs::Permissions::from_mode(0o600))?;
    Ok(listener)
}

/// Removes the socket when the daemon ends.
pub struct Cleanup(pub PathBuf);

impl Drop for Cleanup {
    fn drop(&mut self) {
        // It may be gone already; the next daemon removes what is left.
        let _ = fs::remove_file(&self.0);
    }
}

/// Serves connections until the daemon ends. `pause` is a timer of its own, made while there were descriptors.
pub async fn serve(
    listener: UnixListener,
    calls: mpsc::Sender<Call>,
    notices: broadcast::Sender<Notice>,
    mut pause: Timer,
) {
    loop {
        match listener.accept().await {
            Ok((stream, _)) => {
                let (calls, notices) = (calls.clone(), notices.clone());
                tokio::spawn(async move {
                    if let Err(error) = converse(stream, calls, notices).await {
                        debug!("control connection: {error}");
                    }
                });
            }
            Err(error) => {
                debug!("control socket: {error}");
                // Who waits makes the socket readable all the time: let the others finish first.
                let end = Deadline::at(clock::now().after(OUT_OF_DESCRIPTORS));
                if let Err(error) = pause.wait_until(end).await {
                    debug!("control socket: {error}");
                    tokio::task::yield_now().await;
                }
            }
        }
    }
}

async fn converse(
    stream: UnixStream,
    calls: mpsc::Sender<Call>,
    notices: broadcast::Sender<Notice>,
) -> io::Result<()> {
    let (reader, mut writer) = stream.into_split();
    let mut reader = BufReader::new(reader.take(REQUEST_MAX));
    let mut line = String::new();
    reader.read_line(&mut line).await?;
    let request = match serde_json::from_str::<Request>(&line) {
        Ok(request) => request,
        Err(error) => {
            let refused = Reply::Refused(format!("the request is not understood: {error}"));
            return send(&mut writer, &refused).await;
        }
    };
    // Subscribed before the owner hears of it: whoever reads the answer misses nothing from then on.
    let subscription = matches!(request, Request::Watch).then(|| notices.subscribe());
    let (reply, answer) = oneshot::channel();
    let ended = || io::Error::from(io::ErrorKind::BrokenPipe);
    calls.send(Call { request, reply }).await.map_err(|_| ended())?;
    send(&mut writer, &answer.await.map_err(|_| ended())?).await?;
    let Some(mut subscription) = subscription else { return Ok(()) };
    loop {
        let mut octet = [0];
        tokio::select! {
            notice = subscription.recv() => match notice {
                Ok(notice) => send(&mut writer, &notice).await?,
                // A slow watcher loses the oldest notices rather than holding up the daemon.
                Err(broadcast::error::RecvError::Lagged(lost)) => debug!("a watcher lost {lost} notices"),
                Err(broadcast::error::RecvError::Closed) => return Ok(()),
            },
            // A watcher has nothing more to say: this is its end.
            _ = reader.read(&mut octet) => return Ok(()),
        }
    }
}

async fn send<T: serde::Serialize>(
    writer: &mut (impl tokio::io::AsyncWrite + Unpin),
    value: &T,
) -> io::Result<()> {
    let mut line = serde_json::to_vec(value)?;
    line.push(b'\n');
    writer.write_all(&line).await
}
