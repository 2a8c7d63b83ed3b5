//! HTTP/1.1 for one page: a request, an answer, the end of the connection.
//!
//! Limits: 8 KiB and 32 headers a request, 5 seconds for it, 10 for the answer; clients at once are
//! the listener's matter. Bodies are not read.

use std::io::{Read, Write};
use std::os::fd::AsFd;
use std::time::{Duration, Instant};

use crate::listen::Client;

const HEAD_MAX: usize = 8192;
const HEADERS_MAX: usize = 32;
const RECEIVE: Duration = Duration::from_secs(5);
const SEND: Duration = Duration::from_secs(10);

/// The version of the text format, as Prometheus's documentation wants it.
const TEXT: &str = "text/plain; version=0.0.4; charset=utf-8";

/// Answers one request.
pub(crate) fn serve<S: Read + Write + AsFd>(mut client: Client<S>, page: impl FnOnce() -> String) {
    let until = Instant::now() + RECEIVE;
    let mut head = Vec::with_capacity(HEAD_MAX);
    let answer = loop {
        match understand(&head) {
            Request::Complete(Ok(method)) => break ok(method, &page()),
            Request::Complete(Err(refusal)) => break refusal,
            Request::Partial if head.len() >= HEAD_MAX => {
                break refused("431 Request Header Fields Too Large", "");
            }
            Request::Partial => {}
        }
        let mut bytes = [0; 1024];
        let room = bytes.len().min(HEAD_MAX - head.len());
        let Some(room) = bytes.get_mut(..room) else {
            return;
        };
        match client.receive(room, until) {
            // Hung up, too slow, or the server stops: nobody to answer.
            Ok(0) | Err(_) => return,
            Ok(count) => head.extend(room.iter().take(count)),
        }
    };
    let _ = client.send(answer.as_bytes(), Instant::now() + SEND);
}

/// How the page is asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Method {
    Get,
    /// Without the body.
    Head,
}

enum Request {
    Partial,
    Complete(Result<Method, String>),
}

fn understand(head: &[u8]) -> Request {
    let mut headers = [httparse::EMPTY_HEADER; HEADERS_MAX];
    let mut request = httparse::Request::new(&mut headers);
    match request.parse(head) {
        Ok(httparse::Status::Partial) => Request::Partial,
        Ok(httparse::Status::Complete(_)) => Request::Complete(route(&request)),
        Err(httparse::Error::TooManyHeaders) => {
            Request::Complete(Err(refused("431 Request Header Fields Too Large", "")))
        }
        Err(_) => Request::Complete(Err(refused("400 Bad Request", ""))),
    }
}

fn route(request: &httparse::Request<'_, '_>) -> Result<Method, String> {
    let path = request.path.unwrap_or_default();
    let path = path.split('?').next().unwrap_or_default();
    match (request.method, path) {
        (Some("GET"), "/metrics") => Ok(Method::Get),
        (Some("HEAD"), "/metrics") => Ok(Method::Head),
        (_, "/metrics") => Err(refused("405 Method Not Allowed", "Allow: GET, HEAD\r\n")),
        _ => Err(refused("404 Not Found", "")),
    }
}

fn ok(method: Method, page: &str) -> String {
    let body = match method {
        Method::Get => page,
        Method::Head => "",
    };
    let len = page.len();
    format!(
        "HTTP/1.1 200 OK\r\nContent-Type: {TEXT}\r\nContent-Length: {len}\r\nConnection: close\r\n\r\n{body}"
    )
}

fn refused(status: &str, headers: &str) -> String {
    let body = format!("{status}; the statistics are at /metrics\n");
    let len = body.len();
    format!(
        "HTTP/1.1 {status}\r\nContent-Type: {TEXT}\r\n{headers}Content-Length: {len}\r\nConnection: close\r\n\r\n{body}"
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    fn answer(head: &str) -> Option<Result<Method, String>> {
        match understand(head.as_bytes()) {
            Request::Partial => None,
            Request::Complete(answer) => {
                Some(answer.map_err(|text| text.lines().next().unwrap_or_default()[9..].to_owned()))
            }
        }
    }

    #[test]
    fn one_page_is_served_and_everything_else_refused() {
        let get = |line: &str| answer(&format!("{line}\r\nHost: x\r\n\r\n"));
        assert_eq!(get("GET /metrics HTTP/1.1"), Some(Ok(Method::Get)));
        assert_eq!(get("GET /metrics?x=1 HTTP/1.0"), Some(Ok(Method::Get)));
        assert_eq!(get("HEAD /metrics HTTP/1.1"), Some(Ok(Method::Head)));
        for (line, status) in [
            ("POST /metrics HTTP/1.1", "405 Method Not Allowed"),
            ("GET / HTTP/1.1", "404 Not Found"),
            ("GET /metricsx HTTP/1.1", "404 Not Found"),
            ("GET /metrics HTTP/3", "400 Bad Request"),
            ("\0", "400 Bad Request"),
        ] {
            assert_eq!(get(line), Some(Err(status.to_owned())), "{line}");
        }
        let many = "x: y\r\n".repeat(HEADERS_MAX + 1);
        let refused = answer(&format!("GET /metrics HTTP/1.1\r\n{many}\r\n"));
        assert_eq!(
            refused,
            Some(Err("431 Request Header Fields Too Large".to_owned()))
        );
        assert_eq!(answer("GET /metrics HTTP/1.1\r\nHost:"), None);
        assert_eq!(answer(""), None);
    }

    #[test]
    fn lengths_are_those_of_the_body() {
        let text = ok(Method::Get, "abc\n");
        assert!(text.contains("Content-Length: 4\r\n") && text.ends_with("\r\n\r\nabc\n"));
        let text = ok(Method::Head, "abc\n");
        assert!(text.contains("Content-Length: 4\r\n") && text.ends_with("\r\n\r\n"));
    }
}
