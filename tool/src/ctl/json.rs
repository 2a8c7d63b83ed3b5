//! An attribute as JSON: `{"mem_limit": 1073741824}`, `{"tiers": {"pages": 7, ...}}`.

use serde_json::{Map, Number, Value};

/// A document of one attribute's text.
///
/// # Errors
/// What serde says; no text makes it fail.
pub(crate) fn attribute(name: &str, text: &str) -> Result<String, String> {
    let document = Value::Object(Map::from_iter([(name.to_owned(), value(text))]));
    let text = serde_json::to_string_pretty(&document);
    text.map(|text| text + "\n")
        .map_err(|error| error.to_string())
}

/// Numbers, one or several; `name value` lines and `name=value` words as an object; else the text.
fn value(text: &str) -> Value {
    let words: Vec<&str> = text.split_ascii_whitespace().collect();
    let numbers: Option<Vec<Value>> = words.iter().map(|word| number(word)).collect();
    match (numbers, words.as_slice()) {
        (_, []) => return Value::Null,
        (Some(mut numbers), [_]) => return numbers.pop().unwrap_or_default(),
        (Some(numbers), _) => return Value::Array(numbers),
        _ => {}
    }
    let pair = |(key, value): (&str, &str)| Some((key.to_owned(), number(value)?));
    let lines = text.lines().map(|line| line.split_once(' ').and_then(pair));
    let words = words.iter().map(|word| word.split_once('=').and_then(pair));
    let object = lines
        .collect::<Option<Map<_, _>>>()
        .or_else(|| words.collect());
    object.map_or_else(|| text.trim_end().into(), Value::Object)
}

fn number(word: &str) -> Option<Value> {
    let whole = word.parse::<u64>().ok().map(Number::from);
    let part = || word.parse::<f64>().ok().and_then(Number::from_f64);
    whole.or_else(part).map(Value::Number)
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn texts_have_their_shape() {
        for (text, expected) in [
            ("1073741824\n", json!(1_073_741_824_u64)),
            ("       1        2        3\n", json!([1, 2, 3])),
            (
                "pages 7\neffective_ratio 2.500\n",
                json!({"pages": 7, "effective_ratio": 2.5}),
            ),
            (
                "turn=0.5 cold_age=2 same=1\n",
                json!({"turn": 0.5, "cold_age": 2, "same": 1}),
            ),
            ("[lz4] lz4hc zstd raw\n", json!("[lz4] lz4hc zstd raw")),
            ("none\n", json!("none")),
            ("", json!(null)),
        ] {
            assert_eq!(value(text), expected, "{text}");
        }
        assert_eq!(attribute("x", "1\n").unwrap(), "{\n  \"x\": 1\n}\n");
    }
}
