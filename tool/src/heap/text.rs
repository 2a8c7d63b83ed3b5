//! Words, names and log lines with the statistics of text: few words often, many seldom.

use super::rng::Rng;

const ONSETS: [&str; 24] = [
    "b", "br", "c", "ch", "cl", "d", "f", "fl", "g", "gr", "h", "l", "m", "n", "p", "pr", "r", "s",
    "sh", "st", "t", "tr", "v", "w",
];
const NUCLEI: [&str; 12] = [
    "a", "e", "i", "o", "u", "ai", "ea", "ee", "io", "ou", "a", "e",
];
const CODAS: [&str; 16] = [
    "", "", "", "n", "r", "s", "t", "l", "m", "nd", "ng", "ck", "st", "rd", "x", "p",
];
/// What programs write into their logs, records and headers.
const TECHNICAL: [&str; 40] = [
    "error",
    "request",
    "response",
    "connection",
    "timeout",
    "session",
    "user",
    "account",
    "index",
    "cache",
    "update",
    "select",
    "status",
    "pending",
    "active",
    "closed",
    "message",
    "queue",
    "worker",
    "thread",
    "config",
    "default",
    "version",
    "service",
    "database",
    "table",
    "record",
    "order",
    "customer",
    "payment",
    "invoice",
    "product",
    "category",
    "region",
    "created",
    "modified",
    "description",
    "reference",
    "total",
    "currency",
];

/// A vocabulary. The later a word stands, the more seldom it is used.
pub(crate) struct Words {
    words: Vec<String>,
}

impl Words {
    pub(crate) fn new(rng: &mut Rng) -> Self {
        let mut words: Vec<String> = TECHNICAL.iter().map(|word| String::from(*word)).collect();
        while words.len() < 6000 {
            let mut word = String::new();
            for _ in 0..rng.range(1, 4) {
                word.push_str(rng.pick(&ONSETS));
                word.push_str(rng.pick(&NUCLEI));
            }
            word.push_str(rng.pick(&CODAS));
            words.push(word);
        }
        Words { words }
    }

    pub(crate) fn word(&self, rng: &mut Rng) -> &str {
        // The fifth power of a uniform number: close to Zipf's law over the middle ranks.
        let u = rng.unit();
        &self.words[(u * u * u * u * u * self.words.len() as f64) as usize]
    }

    pub(crate) fn sentence(&self, rng: &mut Rng, count: u64, into: &mut String) {
        for nth in 0..count {
            if nth > 0 {
                into.push(' ');
            }
            into.push_str(self.word(rng));
        }
    }

    /// `someword.other@third.example`
    pub(crate) fn address(&self, rng: &mut Rng) -> String {
        format!(
            "{}.{}{}@{}.example",
            self.word(rng),
            self.word(rng),
            rng.below(100),
            self.word(rng)
        )
    }

    /// A path of a file or a resource.
    pub(crate) fn path(&self, rng: &mut Rng) -> String {
        let mut path = String::from(rng.pick(&[
            "/var/lib",
            "/usr/share",
            "/srv/www",
            "/home/app",
            "/api/v2",
            "/api/v1",
        ]));
        for _ in 0..rng.range(1, 4) {
            path.push('/');
            path.push_str(self.word(rng));
        }
        path.push_str(rng.pick(&[
            ".html", ".json", ".rs", ".so.1", "", "/index", ".png", ".tmp",
        ]));
        path
    }

    /// One line of a server's log.
    pub(crate) fn log_line(&self, rng: &mut Rng, second: u64) -> String {
        let mut line = format!(
            "2025-03-{:02}T{:02}:{:02}:{:02}.{:06}Z {} [{}-{}] ",
            1 + second / 86_400 % 28,
            second / 3600 % 24,
            second / 60 % 60,
            second % 60,
            rng.below(1_000_000),
            rng.pick(&["INFO", "INFO", "INFO", "DEBUG", "WARN", "ERROR"]),
            rng.pick(&["worker", "http", "db", "scheduler"]),
            rng.below(32),
        );
        match rng.below(3) {
            0 => {
                let (path, status) = (self.path(rng), rng.pick(&[200, 200, 200, 304, 404, 500]));
                line.push_str(&format!(
                    "GET {path} {status} {} {}us",
                    rng.skewed(9000),
                    rng.skewed(2500)
                ));
            }
            1 => line.push_str(&format!(
                "trace={:016x} span={:08x} ",
                rng.next(),
                rng.next() as u32
            )),
            _ => {}
        }
        let words = rng.range(4, 14);
        self.sentence(rng, words, &mut line);
        line
    }
}
