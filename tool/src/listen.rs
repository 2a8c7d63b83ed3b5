//! Few small clients at once, beside the device: accepting, time limits, and a stop that waits for
//! nobody.
//!
//! ```text
//!   accept thread ── poll(listener, stop) ── a thread a client, at most CLIENTS_MAX
//!                                              └─ poll(stream, stop, what is left of its time)
//! ```

use std::io::{self, ErrorKind, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::os::fd::AsFd;
use std::os::unix::net::{UnixListener, UnixStream};
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};

/// Clients at once; the next ones wait in the socket's queue.
const CLIENTS_MAX: usize = 16;
/// Pause when the system has no room for another client.
const PAUSE: Duration = Duration::from_millis(100);

/// A socket that hands out streams.
pub(crate) trait Listen: AsFd + Send + 'static {
    /// What it hands out.
    type Stream: Read + Write + AsFd + Send + 'static;

    /// Makes [`next`](Self::next) return where there is no client: one that was seen may be gone.
    fn never_wait(&self) -> io::Result<()>;

    /// The next client, in a stream whose calls do not wait.
    fn next(&self) -> io::Result<Self::Stream>;
}

impl Listen for UnixListener {
    type Stream = UnixStream;

    fn never_wait(&self) -> io::Result<()> {
        self.set_nonblocking(true)
    }

    fn next(&self) -> io::Result<UnixStream> {
        let (stream, _) = self.accept()?;
        stream.set_nonblocking(true)?;
        Ok(stream)
    }
}

impl Listen for TcpListener {
    type Stream = TcpStream;

    fn never_wait(&self) -> io::Result<()> {
        self.set_nonblocking(true)
    }

    fn next(&self) -> io::Result<TcpStream> {
        let (stream, _) = self.accept()?;
        stream.set_nonblocking(true)?;
        Ok(stream)
    }
}

/// The threads behind a listener; dropping it ends them.
pub(crate) struct Serving {
    /// Closed to say stop: the other end hangs up.
    stop: Option<UnixStream>,
    thread: Option<JoinHandle<()>>,
}

impl Serving {
    /// Gives each client to `serve`, in a thread of its own.
    ///
    /// # Errors
    /// Where the system has no thread for it.
    pub(crate) fn start<L: Listen>(
        name: &str,
        listener: L,
        serve: impl Fn(Client<L::Stream>) + Send + Sync + 'static,
    ) -> io::Result<Self> {
        listener.never_wait()?;
        let (stop, stopped) = UnixStream::pair()?;
        let (stopped, serve) = (Arc::new(stopped), Arc::new(serve));
        let thread = std::thread::Builder::new()
            .name(name.to_owned())
            .spawn(move || {
                // A server of swap has a real-time priority, which is for requests to the device
                // and not for those about it. Its clients' threads inherit what is set here.
                let _ = compcache_sys::priority::as_others();
                accept_all(&listener, &stopped, &serve);
            })?;
        Ok(Self {
            stop: Some(stop),
            thread: Some(thread),
        })
    }
}

impl Drop for Serving {
    fn drop(&mut self) {
        self.stop = None;
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

fn accept_all<L: Listen>(
    listener: &L,
    stopped: &Arc<UnixStream>,
    serve: &Arc<impl Fn(Client<L::Stream>) + Send + Sync + 'static>,
) {
    let mut clients: Vec<JoinHandle<()>> = Vec::with_capacity(CLIENTS_MAX);
    loop {
        clients.retain(|client| !client.is_finished());
        // Who is too many waits in the queue, looked at again after a pause.
        let full = clients.len() >= CLIENTS_MAX;
        let ready = match full {
            true => wait(None::<&L>, PollFlags::empty(), stopped, Some(PAUSE)),
            false => wait(Some(listener), PollFlags::POLLIN, stopped, None),
        };
        match ready {
            Ok(true) => {}
            Ok(false) => continue,
            Err(_) => break,
        }
        let client = listener.next().and_then(|stream| {
            let (serve, stopped) = (Arc::clone(serve), Arc::clone(stopped));
            std::thread::Builder::new()
                .name("client".to_owned())
                .spawn(move || serve(Client { stream, stopped }))
        });
        match client {
            Ok(client) => clients.push(client),
            Err(error) if error.kind() == ErrorKind::WouldBlock => {}
            // Out of files, threads or memory: it may get better.
            Err(_) => std::thread::sleep(PAUSE),
        }
    }
    for client in clients {
        let _ = client.join();
    }
}

/// A connection whose every wait has an end.
pub(crate) struct Client<S> {
    stream: S,
    stopped: Arc<UnixStream>,
}

impl<S: Read + Write + AsFd> Client<S> {
    /// Some bytes; 0 at the end.
    ///
    /// # Errors
    /// [`ErrorKind::TimedOut`] at `until`, [`ErrorKind::Interrupted`] when the server stops.
    pub(crate) fn receive(&mut self, bytes: &mut [u8], until: Instant) -> io::Result<usize> {
        // Also where there is always something to read: a stop is seen.
        wait(
            None::<&S>,
            PollFlags::empty(),
            &self.stopped,
            Some(Duration::ZERO),
        )?;
        loop {
            match self.stream.read(bytes) {
                Err(error) if error.kind() == ErrorKind::WouldBlock => {
                    self.wait(PollFlags::POLLIN, until)?;
                }
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                result => return result,
            }
        }
    }

    /// All bytes.
    ///
    /// # Errors
    /// As [`receive`](Self::receive).
    pub(crate) fn send(&mut self, mut bytes: &[u8], until: Instant) -> io::Result<()> {
        while !bytes.is_empty() {
            match self.stream.write(bytes) {
                Ok(0) => return Err(ErrorKind::WriteZero.into()),
                Ok(count) => bytes = bytes.get(count..).unwrap_or_default(),
                Err(error) if error.kind() == ErrorKind::WouldBlock => {
                    self.wait(PollFlags::POLLOUT, until)?;
                }
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }

    fn wait(&self, what: PollFlags, until: Instant) -> io::Result<()> {
        let left = until.saturating_duration_since(Instant::now());
        if left.is_zero() {
            return Err(ErrorKind::TimedOut.into());
        }
        // Ready or not: the caller tries again, and comes here again.
        wait(Some(&self.stream), what, &self.stopped, Some(left)).map(|_| ())
    }
}

/// Waits: true when it is ready, false when the time is over.
///
/// # Errors
/// [`ErrorKind::Interrupted`] when the server stops.
fn wait(
    file: Option<&impl AsFd>,
    what: PollFlags,
    stopped: &UnixStream,
    time: Option<Duration>,
) -> io::Result<bool> {
    let mut watched = vec![PollFd::new(stopped.as_fd(), PollFlags::POLLIN)];
    watched.extend(file.map(|file| PollFd::new(file.as_fd(), what)));
    // Rounded up, so that what is left is never zero and never busy.
    let time = time.map_or(PollTimeout::NONE, |time| match time.is_zero() {
        true => PollTimeout::ZERO,
        false => {
            let time = time + Duration::from_millis(1);
            PollTimeout::try_from(time).unwrap_or(PollTimeout::MAX)
        }
    });
    match poll(&mut watched, time) {
        Ok(0) => return Ok(false),
        Ok(_) => {}
        Err(Errno::EINTR) => return Ok(false),
        Err(error) => return Err(error.into()),
    }
    let events = |nth: usize| watched.get(nth).and_then(PollFd::any).unwrap_or(false);
    match events(0) {
        true => Err(ErrorKind::Interrupted.into()),
        false => Ok(events(1)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn echo_server() -> (Serving, UnixListenerPath) {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("s");
        let listener = UnixListener::bind(&path).unwrap();
        let serving = Serving::start("echo", listener, |mut client: Client<UnixStream>| {
            let until = Instant::now() + Duration::from_secs(20);
            let mut bytes = [0; 16];
            while let Ok(count @ 1..) = client.receive(&mut bytes, until) {
                client.send(&bytes[..count], until).unwrap();
            }
        });
        (serving.unwrap(), UnixListenerPath { path, _dir: dir })
    }

    struct UnixListenerPath {
        path: std::path::PathBuf,
        _dir: tempfile::TempDir,
    }

    /// A client that always had something to say was listened to, and the stop was not.
    #[test]
    fn a_stop_is_seen_between_two_requests_of_a_busy_client() {
        let (stop, stopped) = UnixStream::pair().unwrap();
        let (mut far, near) = UnixStream::pair().unwrap();
        near.set_nonblocking(true).unwrap();
        let mut client = Client {
            stream: near,
            stopped: Arc::new(stopped),
        };
        far.write_all(&[1; 100]).unwrap();
        let until = Instant::now() + Duration::from_secs(20);
        let mut bytes = [0; 10];
        assert_eq!(client.receive(&mut bytes, until).unwrap(), 10);
        drop(stop);
        let error = client.receive(&mut bytes, until).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Interrupted);
    }

    /// A client that has gone by the time it is accepted may leave nobody to accept: the thread stood
    /// in accept(2) then, and whoever stopped the server waited for the thread.
    #[test]
    fn accepting_does_not_wait() {
        let dir = tempfile::tempdir().unwrap();
        let listener = UnixListener::bind(dir.path().join("s")).unwrap();
        listener.never_wait().unwrap();
        let nobody = listener.next().unwrap_err();
        assert_eq!(nobody.kind(), ErrorKind::WouldBlock);
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        listener.never_wait().unwrap();
        let nobody = listener.next().unwrap_err();
        assert_eq!(nobody.kind(), ErrorKind::WouldBlock);
    }

    #[test]
    fn clients_beyond_the_limit_wait_for_their_turn() {
        let (serving, at) = echo_server();
        let connect = || {
            let mut stream = UnixStream::connect(&at.path).unwrap();
            stream
                .set_read_timeout(Some(Duration::from_secs(20)))
                .unwrap();
            stream.write_all(b"x").unwrap();
            stream
        };
        let mut streams: Vec<UnixStream> = (0..CLIENTS_MAX).map(|_| connect()).collect();
        for stream in &mut streams {
            stream.read_exact(&mut [0]).unwrap();
        }
        let mut last = connect();
        last.set_read_timeout(Some(Duration::from_millis(300)))
            .unwrap();
        assert!(last.read_exact(&mut [0]).is_err());
        streams.pop();
        last.set_read_timeout(Some(Duration::from_secs(20)))
            .unwrap();
        last.read_exact(&mut [0]).unwrap();
        // Stopping does not wait for the time limits of those that are connected.
        let started = Instant::now();
        drop(serving);
        assert!(started.elapsed() < Duration::from_secs(5));
    }
}
