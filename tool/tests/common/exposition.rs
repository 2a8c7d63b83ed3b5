//! A strict reader of Prometheus's text format, version 0.0.4: what is not exactly as its
//! documentation wants it is an error.

use std::collections::{BTreeMap, BTreeSet};

/// A page of statistics.
#[derive(Default)]
pub(crate) struct Exposition {
    /// Names with their types, in TYPE lines.
    types: BTreeMap<String, String>,
    /// Samples by name and sorted labels.
    samples: BTreeMap<(String, Labels), f64>,
}

type Labels = Vec<(String, String)>;

impl Exposition {
    pub(crate) fn read(text: &str) -> Result<Self, String> {
        let mut page = Self::default();
        if !text.ends_with('\n') {
            return Err("the last line has no end".to_owned());
        }
        let mut helped = BTreeSet::new();
        // Lines of a family stand together.
        let mut family = String::new();
        for line in text.lines() {
            let wrong = |what: &str| format!("{what}: {line:?}");
            if let Some(rest) = line.strip_prefix("# HELP ") {
                let (name, help) = rest.split_once(' ').ok_or_else(|| wrong("no help"))?;
                if !is_name(name) || help.is_empty() || !helped.insert(name.to_owned()) {
                    return Err(wrong("bad or second HELP"));
                }
                name.clone_into(&mut family);
            } else if let Some(rest) = line.strip_prefix("# TYPE ") {
                let (name, kind) = rest.split_once(' ').ok_or_else(|| wrong("no type"))?;
                if name != family || !["gauge", "counter", "histogram"].contains(&kind) {
                    return Err(wrong("TYPE without its HELP, or unknown"));
                }
                if kind == "counter" && !name.ends_with("_total") {
                    return Err(wrong("a counter's name ends in _total"));
                }
                if page
                    .types
                    .insert(name.to_owned(), kind.to_owned())
                    .is_some()
                {
                    return Err(wrong("second TYPE"));
                }
            } else {
                page.sample(&family, line).map_err(|error| wrong(&error))?;
            }
        }
        page.check_histograms()?;
        Ok(page)
    }

    /// Names of families.
    pub(crate) fn families(&self) -> impl Iterator<Item = &str> {
        self.types.keys().map(String::as_str)
    }

    pub(crate) fn value(&self, name: &str, labels: &[(&str, &str)]) -> Option<f64> {
        let labels = labels.iter();
        let mut labels: Labels = labels.map(|&(k, v)| (k.to_owned(), v.to_owned())).collect();
        labels.sort();
        self.samples.get(&(name.to_owned(), labels)).copied()
    }

    fn sample(&mut self, family: &str, line: &str) -> Result<(), String> {
        let (name, rest) = line.split_once('{').ok_or("no labels")?;
        let (labels, value) = rest.rsplit_once("} ").ok_or("no value")?;
        let kind = self.types.get(family).ok_or("no TYPE")?;
        let suffixes: &[&str] = match kind.as_str() {
            "histogram" => &["_bucket", "_sum", "_count"],
            _ => &[""],
        };
        if !is_name(name) || !suffixes.iter().any(|end| name == format!("{family}{end}")) {
            return Err("not of the family before".to_owned());
        }
        let value: f64 = value.parse().map_err(|_| "no number")?;
        if !value.is_finite() || value < 0.0 {
            return Err("no count".to_owned());
        }
        let mut labels = read_labels(labels)?;
        labels.sort();
        match self.samples.insert((name.to_owned(), labels), value) {
            None => Ok(()),
            Some(_) => Err("second sample".to_owned()),
        }
    }

    /// Buckets grow with their ends, the last one has no end and is the count.
    fn check_histograms(&self) -> Result<(), String> {
        let histograms = self.types.iter().filter(|(_, kind)| *kind == "histogram");
        for (name, _) in histograms {
            let mut rows: BTreeMap<Labels, Vec<(f64, f64)>> = BTreeMap::new();
            for ((sample, labels), &value) in &self.samples {
                if *sample != format!("{name}_bucket") {
                    continue;
                }
                let (ends, others): (Labels, Labels) =
                    labels.iter().cloned().partition(|(key, _)| key == "le");
                let [(_, end)] = ends.as_slice() else {
                    return Err(format!("{name}: a bucket without le"));
                };
                let end = end.replace("+Inf", "inf").parse().map_err(|_| "le")?;
                rows.entry(others).or_default().push((end, value));
            }
            for (labels, mut buckets) in rows {
                buckets.sort_by(|a, b| a.0.total_cmp(&b.0));
                let count = self.samples.get(&(format!("{name}_count"), labels.clone()));
                let sum = self.samples.get(&(format!("{name}_sum"), labels.clone()));
                let last = buckets.last().filter(|last| last.0.is_infinite());
                let grows = buckets.windows(2).all(|two| two[0].1 <= two[1].1);
                if !grows || sum.is_none() || last.map(|last| last.1) != count.copied() {
                    return Err(format!("{name} {labels:?}: {buckets:?} {count:?} {sum:?}"));
                }
            }
        }
        Ok(())
    }
}

fn is_name(text: &str) -> bool {
    let first = |c: char| c.is_ascii_alphabetic() || c == '_' || c == ':';
    text.starts_with(first) && text.chars().all(|c| first(c) || c.is_ascii_digit())
}

/// `a="b",c="d"`, with `\\`, `\"` and `\n` in the values.
fn read_labels(mut text: &str) -> Result<Labels, String> {
    let mut labels = Labels::new();
    loop {
        let (key, rest) = text.split_once("=\"").ok_or("no label")?;
        if !is_name(key) || labels.iter().any(|(known, _)| known == key) {
            return Err(format!("bad or second label {key}"));
        }
        let mut value = String::new();
        let mut chars = rest.char_indices();
        let end = loop {
            match chars.next() {
                Some((at, '"')) => break at,
                Some((_, '\\')) => value.push(match chars.next() {
                    Some((_, 'n')) => '\n',
                    Some((_, c @ ('\\' | '"'))) => c,
                    _ => return Err("bad escape".to_owned()),
                }),
                Some((_, c)) => value.push(c),
                None => return Err("no end of a value".to_owned()),
            }
        };
        labels.push((key.to_owned(), value));
        match rest[end + 1..].strip_prefix(',') {
            Some(more) => text = more,
            None if rest.len() == end + 1 => return Ok(labels),
            None => return Err("something behind a value".to_owned()),
        }
    }
}
