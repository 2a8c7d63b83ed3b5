//! `--metrics`: statistics for Prometheus.
//!
//! | module | what it does |
//! |---|---|
//! | `text` | the statistics in the text format |
//! | `http` | a responder for that one page |

mod http;
mod text;

use std::net::TcpListener;
use std::sync::Arc;

use crate::control::Subject;
use crate::listen::Serving;

/// Reads the value of `--metrics`.
///
/// # Errors
/// What is no HOST:PORT.
pub(crate) fn parse_address(text: &str) -> Result<String, String> {
    let wrong = || "expected HOST:PORT, such as 127.0.0.1:9100 or [::1]:9100".to_owned();
    let (host, port) = text.rsplit_once(':').ok_or_else(wrong)?;
    let bare_v6 = host.contains(':') && !(host.starts_with('[') && host.ends_with(']'));
    if host.is_empty() || bare_v6 {
        return Err(wrong());
    }
    port.parse::<u16>().map_err(|_| wrong())?;
    Ok(text.to_owned())
}

/// The page is served until this is dropped.
pub(crate) struct Metrics {
    _serving: Serving,
}

impl Metrics {
    /// Serves the page, where there is an address for it; says where on standard error if the
    /// system chose the port.
    ///
    /// # Errors
    /// One line: the address cannot be had.
    pub(crate) fn start(
        address: Option<&str>,
        subject: Arc<Subject>,
    ) -> Result<Option<Self>, String> {
        let Some(address) = address else {
            return Ok(None);
        };
        let failed =
            |error: std::io::Error| format!("--metrics {address}: {error}; choose another address");
        let listener = TcpListener::bind(address).map_err(failed)?;
        if address.ends_with(":0") {
            let bound = listener.local_addr().map_err(failed)?;
            crate::output::note(&format!("metrics at http://{bound}/metrics"));
        }
        let serving = Serving::start("metrics", listener, move |client| {
            http::serve(client, || text::page(&subject.status()));
        });
        Ok(Some(Self {
            _serving: serving.map_err(failed)?,
        }))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_have_host_and_port() {
        for good in ["127.0.0.1:9100", "localhost:0", "[::1]:9100"] {
            assert_eq!(parse_address(good).as_deref(), Ok(good));
        }
        for bad in [
            "",
            "9100",
            ":9100",
            "host",
            "host:",
            "host:99999",
            "::1:9100",
        ] {
            assert!(parse_address(bad).is_err(), "{bad}");
        }
    }
}
