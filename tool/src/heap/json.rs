//! JSON: text as it came over the network, and the tree a parser makes of it.

use super::rng::Rng;
use super::text::Words;

/// Appends one object of an interface's answer.
fn item(rng: &mut Rng, words: &Words, id: u64, into: &mut String) {
    let (word, address) = (words.word(rng), words.address(rng));
    into.push_str(&format!(
        "{{\"id\":{id},\"type\":\"{}\",\"name\":\"{word}\",\"email\":\"{address}\",\"price\":{}.{:02},\"quantity\":{},\"active\":{},",
        rng.pick(&["order", "customer", "product"]),
        rng.skewed(300),
        rng.below(100),
        rng.skewed(9),
        rng.one_in(2),
    ));
    if rng.one_in(3) {
        into.push_str(&format!(
            "\"uuid\":\"{:08x}-{:04x}-4{:03x}-{:012x}\",",
            rng.next() as u32,
            rng.next() as u16,
            rng.below(4096),
            rng.next() >> 16
        ));
    }
    into.push_str("\"tags\":[");
    for nth in 0..rng.below(5) {
        if nth > 0 {
            into.push(',');
        }
        into.push_str(&format!("\"{}\"", words.word(rng)));
    }
    into.push_str("],\"description\":\"");
    let count = rng.skewed(14);
    words.sentence(rng, count, into);
    into.push_str(&format!(
        "\",\"location\":{{\"lat\":{}.{:06},\"lon\":{}.{:06}}}}}",
        rng.below(90),
        rng.below(1_000_000),
        rng.below(180),
        rng.below(1_000_000)
    ));
}

/// Answers of a few kilobytes to a few hundred, as text.
pub(super) fn documents(rng: &mut Rng, words: &Words) {
    let mut id = rng.below(1 << 20);
    for _ in 0..12 {
        let mut text = String::from("{\"status\":\"ok\",\"items\":[");
        for nth in 0..1 + rng.skewed(120) {
            if nth > 0 {
                text.push(',');
            }
            id += 1 + rng.below(5);
            item(rng, words, id, &mut text);
        }
        text.push_str("]}");
        text.leak();
    }
}

/// A parsed value, every kind in the same shape and no padding.
#[repr(C)]
struct Value {
    kind: u64,
    number: f64,
    key: String,
    text: String,
    members: Vec<Value>,
}

fn scalar(kind: u64, key: &str, number: f64, text: String) -> Value {
    Value {
        kind,
        number,
        key: key.to_owned(),
        text,
        members: Vec::new(),
    }
}

/// Trees of parsed values.
pub(super) fn parsed(rng: &mut Rng, words: &Words) {
    let mut items = Vec::new();
    for id in 0..900 {
        let (name, email) = (words.word(rng).to_owned(), words.address(rng));
        let members = vec![
            scalar(1, "id", f64::from(id), String::new()),
            scalar(3, "name", 0.0, name),
            scalar(3, "email", 0.0, email),
            scalar(1, "price", rng.skewed(40_000) as f64 / 100.0, String::new()),
            scalar(2, "active", rng.below(2) as f64, String::new()),
        ];
        items.push(Value {
            kind: 5,
            number: 0.0,
            key: String::new(),
            text: String::new(),
            members,
        });
    }
    std::mem::forget(items);
}
