//! A served device, and the clients of other projects.

use std::io::{BufRead, BufReader, Read};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::time::{Duration, Instant};

use compcache_nbd::probe::{Ask, Client, command};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use serde_json::Value;

use crate::common::{assert_succeeds, compcache, run};

/// How long a server may take to start or stop.
const PATIENCE: Duration = Duration::from_secs(30);

/// `compcache serve --nbd unix:SOCKET` with these arguments. Nothing outside the socket's directory is touched, and no
/// memory locked, unless they say so.
pub(crate) fn serve(socket: &Path, arguments: &[&str]) -> Command {
    let mut command = compcache();
    command
        .args(["serve", "--nbd", &format!("unix:{}", socket.display())])
        .args(arguments);
    for (name, value) in [("--mlock", "off"), ("--control", "none")] {
        if !arguments.contains(&name) {
            command.args([name, value]);
        }
    }
    command
}

/// `compcache serve` at a unix socket of its own; killed on drop if it was not stopped.
pub(crate) struct Served {
    child: Child,
    places: Vec<String>,
    pub(crate) dir: tempfile::TempDir,
}

impl Served {
    /// Serves with these arguments and `--nbd unix:DIR/s`.
    pub(crate) fn start(arguments: &[&str]) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let child = serve(&dir.path().join("s"), arguments)
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let mut served = Self {
            child,
            places: Vec::new(),
            dir,
        };
        let count = 1 + arguments
            .iter()
            .filter(|word| ["--nbd", "--vhost-user"].contains(*word))
            .count();
        let stdout = served.child.stdout.take().unwrap();
        let lines = BufReader::new(stdout).lines().take(count);
        served.places = lines.map(Result::unwrap).collect();
        assert_eq!(served.places.len(), count, "{}", served.stderr());
        served
    }

    pub(crate) fn socket(&self) -> PathBuf {
        self.dir.path().join("s")
    }

    /// A connection. A server that says nothing fails the test instead of holding it up.
    pub(crate) fn stream(&self) -> UnixStream {
        let stream = UnixStream::connect(self.socket()).unwrap();
        stream
            .set_read_timeout(Some(Duration::from_secs(20)))
            .unwrap();
        stream
    }

    /// A client that is past the handshake.
    pub(crate) fn connect(&self) -> Client<UnixStream> {
        Client::connect(self.stream(), "", true).unwrap()
    }

    pub(crate) fn uri(&self) -> String {
        format!("nbd+unix:///?socket={}", self.socket().display())
    }

    /// The `nth` place it said it listens at.
    pub(crate) fn place(&self, nth: usize) -> &str {
        self.places[nth].strip_prefix("nbd ").unwrap()
    }

    pub(crate) fn pid(&self) -> i32 {
        self.child.id().cast_signed()
    }

    /// Bytes of resident memory.
    pub(crate) fn resident(&self) -> u64 {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.pid())).unwrap();
        let line = status.lines().find(|line| line.starts_with("VmRSS:"));
        let kib: u64 = line
            .and_then(|line| line.split_whitespace().nth(1))
            .unwrap()
            .parse()
            .unwrap();
        kib << 10
    }

    fn stderr(&mut self) -> String {
        let mut text = String::new();
        if let Some(mut stderr) = self.child.stderr.take() {
            let _ = stderr.read_to_string(&mut text);
        }
        text
    }

    /// Sends a signal, waits for the end: status 0, nothing said, the socket gone.
    pub(crate) fn stop(mut self, signal: Signal) {
        kill(Pid::from_raw(self.pid()), signal).unwrap();
        let (status, stderr) = self.finish();
        assert_eq!(status, Some(0), "{stderr}");
        assert_eq!(stderr, "");
        assert!(!self.socket().exists(), "the socket is left");
    }

    /// Waits for the end: its status, and what it said on standard error.
    pub(crate) fn finish(&mut self) -> (Option<i32>, String) {
        let until = Instant::now() + PATIENCE;
        let status = loop {
            match self.child.try_wait().unwrap() {
                Some(status) => break status,
                None if Instant::now() > until => panic!("does not stop"),
                None => std::thread::sleep(Duration::from_millis(10)),
            }
        };
        (status.code(), self.stderr())
    }

    /// Ends it without a chance to clean up; the directory stays.
    pub(crate) fn kill(&mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }
}

impl Drop for Served {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// A served device and its control socket, which names it `test`.
pub(crate) struct Device {
    pub(crate) served: Served,
    pub(crate) control: PathBuf,
    _dir: tempfile::TempDir,
}

impl Device {
    pub(crate) fn start(arguments: &[&str]) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let control = dir.path().join("test.sock");
        let words = ["--control", control.to_str().unwrap()];
        Self {
            served: Served::start(&[&words, arguments].concat()),
            control,
            _dir: dir,
        }
    }

    /// What `ctl` with these arguments prints.
    #[track_caller]
    pub(crate) fn ctl(&self, arguments: &[&str]) -> String {
        assert_succeeds(&self.ctl_output(arguments))
    }

    pub(crate) fn ctl_output(&self, arguments: &[&str]) -> Output {
        let control = self.control.to_str().unwrap();
        run(&[&["ctl", control], arguments].concat())
    }
}

/// Writes at this offset, which must succeed.
#[track_caller]
pub(crate) fn write(client: &mut Client<UnixStream>, offset: u64, bytes: &[u8]) {
    let ask = Ask {
        command: command::WRITE,
        offset,
        len: bytes.len() as u32,
        ..Ask::default()
    };
    assert_eq!(client.call(ask, bytes).unwrap().error, 0);
}

/// Whether a client is installed; says loudly that a test is skipped if not, and fails in CI.
pub(crate) fn has(client: &str) -> bool {
    let paths = std::env::var_os("PATH").unwrap_or_default();
    if std::env::split_paths(&paths).any(|dir| dir.join(client).is_file()) {
        return true;
    }
    let ci = std::env::var("CI").is_ok_and(|value| value == "true");
    assert!(!ci, "{client} is not installed; CI skips nothing");
    eprintln!("!!!! SKIPPED: {client} is not installed");
    false
}

/// Runs a client, which must succeed; its standard output.
#[track_caller]
pub(crate) fn client(name: &str, arguments: &[&str]) -> String {
    let output = client_output(name, arguments);
    let (stdout, stderr) = (text(&output.stdout), text(&output.stderr));
    assert!(
        output.status.success(),
        "{name} {arguments:?}: {stdout}{stderr}"
    );
    stdout
}

pub(crate) fn client_output(name: &str, arguments: &[&str]) -> Output {
    Command::new(name).args(arguments).output().unwrap()
}

pub(crate) fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

/// A file of `len` bytes: text, noise, zeroes, one after the other.
pub(crate) fn mixed_file(path: &Path, len: usize) -> Vec<u8> {
    let mut state = 1u64;
    let mut bytes = Vec::with_capacity(len);
    while bytes.len() < len {
        let kind = state >> 62;
        for nth in 0..24_576u32 {
            state = state.wrapping_mul(0xd134_2543_de82_ef95).wrapping_add(1);
            bytes.push(match kind {
                0 => 0,
                1 => (state >> 56) as u8,
                _ => (nth / 11) as u8,
            });
        }
    }
    bytes.truncate(len);
    std::fs::write(path, &bytes).unwrap();
    bytes
}

/// Runs fio with these options; it must not report a single error.
pub(crate) fn fio(dir: &Path, options: &[&str]) -> Value {
    let output = dir.join("fio.json").display().to_string();
    let file = format!("--output={output}");
    let fixed = ["--output-format=json", &file, "--group_reporting"];
    let done = client_output("fio", &[&fixed, options].concat());
    let document = std::fs::read_to_string(&output).unwrap_or_default();
    // What it has to complain about it writes there, around the results.
    let said: Vec<&str> = document
        .lines()
        .filter(|line| !line.starts_with([' ', '{', '}']) || line.contains("\"error\""))
        .collect();
    assert!(
        done.status.success(),
        "fio {options:?}: {}: {}{}{}",
        done.status,
        text(&done.stdout),
        text(&done.stderr),
        said.join("\n")
    );
    let document: Value = serde_json::from_str(&document[document.find('{').unwrap()..]).unwrap();
    assert_eq!(document["jobs"][0]["error"], 0);
    document
}

/// Four jobs, 32 requests at once each, from a sector to 1 MiB, at a place of 128 MiB and more: all
/// that is written is read back and compared. Then once more, each block discarded before.
pub(crate) fn fio_verifies_mixed_sizes(dir: &Path, place: &[&str]) {
    for (kind, trims) in [("--rw=randwrite", false), ("--rw=randtrimwrite", true)] {
        let options = [
            "--name=mixed",
            kind,
            "--bssplit=512/25:1536/10:4k/35:20k/15:256k/10:1m/5",
            "--blockalign=512",
            "--iodepth=32",
            "--numjobs=4",
            // Each job has its own quarter: verifying somebody else's writes would find them.
            "--size=32M",
            "--offset_increment=32M",
            "--verify=crc32c",
            "--do_verify=1",
            "--verify_fatal=1",
            "--verify_state_save=0",
            "--buffer_compress_percentage=50",
            "--randrepeat=1",
        ];
        let done = fio(dir, &[place, &options].concat());
        let count = |what: &str| done["jobs"][0][what]["total_ios"].as_u64().unwrap();
        assert!(count("write") > 1000, "{kind}");
        assert_eq!(count("read"), count("write"), "{kind}");
        assert_eq!(count("trim") > 1000, trims, "{kind}");
    }
}
