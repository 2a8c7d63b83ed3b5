//! The server's end of the control socket.

use std::os::unix::net::UnixStream;
use std::sync::Arc;
use std::time::{Duration, Instant};

use serde::Deserialize;

use super::attribute::Attribute;
use super::place::Place;
use super::protocol::{
    Answer, Failure, FailureKind, Outcome, Progress, REQUEST_MAX, Request, VERSION, What, to_line,
};
use super::subject::Subject;
use super::work::Report;
use super::{ControlArgs, Name, Wanted};
use crate::listen::{Client, Serving};
use crate::metrics::Metrics;
use crate::output;

/// A client that asks nothing for so long is disconnected.
const IDLE: Duration = Duration::from_secs(60);
/// Time for an answer to be taken.
const SEND: Duration = Duration::from_secs(5);

/// The control socket and the metrics of a running server; gone when dropped.
pub(crate) struct Control {
    // Dropped in this order: the socket's name goes last.
    _metrics: Option<Metrics>,
    _serving: Option<Serving>,
    _place: Option<Place>,
}

impl Control {
    /// Listens as the arguments say; `subject` makes the device known under its name.
    ///
    /// Where nothing was asked for and there is no place for a socket, there is none, and a note
    /// says so: the device is worth more.
    ///
    /// # Errors
    /// A place that was asked for and cannot be had, in one line.
    pub(crate) fn start(
        args: &ControlArgs,
        subject: impl FnOnce(Name) -> Subject,
    ) -> Result<Self, String> {
        let asked = args.name.is_some() || args.control.is_some();
        let wanted = match &args.control {
            Some(Wanted::Nowhere) => None,
            Some(Wanted::Path(path)) => Some(Some(path.as_path())),
            None => Some(None),
        };
        let claimed = wanted.map(|path| Place::claim(args.name.as_ref(), path));
        let claimed = match claimed.transpose() {
            Ok(claimed) => claimed,
            Err(error) if asked => return Err(error.to_string()),
            Err(error) => {
                output::note(&error.to_string());
                None
            }
        };
        let Some((name, place, listener)) = claimed else {
            let name = args.name.clone().map_or_else(|| "compcache0".parse(), Ok);
            let subject = Arc::new(subject(name?));
            return Ok(Self {
                _metrics: Metrics::start(args.metrics.as_deref(), subject)?,
                _serving: None,
                _place: None,
            });
        };
        let subject = Arc::new(subject(name));
        let metrics = Metrics::start(args.metrics.as_deref(), Arc::clone(&subject))?;
        let serving = Serving::start("control", listener, move |client| serve(client, &subject))
            .map_err(|error| format!("no thread for the control socket: {error}"))?;
        Ok(Self {
            _metrics: metrics,
            _serving: Some(serving),
            _place: Some(place),
        })
    }
}

fn serve(mut client: Client<UnixStream>, subject: &Subject) {
    // One request at a time; what follows it in the same segment waits here.
    let mut inbox: Vec<u8> = Vec::with_capacity(REQUEST_MAX);
    loop {
        let until = Instant::now() + IDLE;
        let end = loop {
            if let Some(end) = inbox.iter().position(|&byte| byte == b'\n') {
                break end;
            }
            if inbox.len() >= REQUEST_MAX {
                let message = format!("a request is one line of at most {REQUEST_MAX} bytes");
                let failure = Failure::new(FailureKind::Invalid, message);
                let _ = answer(&mut client, Outcome::Failure(failure));
                return;
            }
            let mut bytes = [0; 1024];
            let room = bytes.len().min(REQUEST_MAX - inbox.len());
            let Some(room) = bytes.get_mut(..room) else {
                return;
            };
            match client.receive(room, until) {
                Ok(0) | Err(_) => return,
                Ok(count) => inbox.extend(room.iter().take(count)),
            }
        };
        let line: Vec<u8> = inbox.drain(..=end).collect();
        let outcome = respond(&line, subject, &mut |progress| {
            answer(&mut client, Outcome::Progress(progress)).is_ok()
        });
        if answer(&mut client, outcome).is_err() {
            return;
        }
    }
}

fn answer(client: &mut Client<UnixStream>, result: Outcome) -> Result<(), ()> {
    let line = to_line(&Answer {
        version: VERSION,
        result,
    });
    let until = Instant::now() + SEND;
    client.send(&line.map_err(|_| ())?, until).map_err(|_| ())
}

/// The answer to a line. `tell` says how far it is; false means that nobody listens any more.
fn respond(line: &[u8], subject: &Subject, tell: &mut dyn FnMut(Progress) -> bool) -> Outcome {
    let result = understand(line).and_then(|what| match what {
        What::Status { .. } => Ok(Outcome::Status(Box::new(subject.status()))),
        What::Get { get } => attribute(&get)?.get(subject).map(Outcome::Text),
        What::Set {
            set,
            value,
            progress,
        } => {
            let mut report = match progress {
                true => Report::to(tell),
                false => Report::silent(),
            };
            let done = attribute(&set)?.set(&value, subject, &mut report);
            done.map(Outcome::Text)
        }
    });
    result.unwrap_or_else(Outcome::Failure)
}

fn understand(line: &[u8]) -> Result<What, Failure> {
    /// All that a request of another version is sure to have.
    #[derive(Deserialize)]
    struct AnyVersion {
        version: u32,
    }
    let invalid = |error: serde_json::Error| {
        Failure::new(FailureKind::Invalid, format!("not a request: {error}"))
    };
    let any: AnyVersion = serde_json::from_slice(line).map_err(invalid)?;
    if any.version != VERSION {
        let message = format!(
            "version {} was asked for; this server speaks {VERSION}",
            any.version
        );
        return Err(Failure::new(FailureKind::Version, message));
    }
    let request: Request = serde_json::from_slice(line).map_err(invalid)?;
    Ok(request.what)
}

fn attribute(name: &str) -> Result<Attribute, Failure> {
    name.parse()
        .map_err(|message| Failure::new(FailureKind::Invalid, format!("{name}: {message}")))
}
