//! Sizes as functions of `ram`: the expressions of zram-generator.
//!
//! ```text
//!   or     and ( "||" and )*              power  unary ( "^" power )?
//!   and    cmp ( "&&" cmp )*              unary  ( "-" | "+" | "!" ) unary | value
//!   cmp    sum ( < <= == != >= > sum )*   value  number suffix? | name | name "(" args ")"
//!   sum    product ( +- product )*               | "(" or ")" | "[" or "]"
//!   product power ( */% power )*
//! ```
//!
//! The language is that of the crate fasteval, which zram-generator uses and nobody keeps any more
//! (0.2.4, 2020), with its suffixes (1K is 1000) and functions. Values are of 64-bit floating point.
//! Limits: 4096 bytes and 32 levels.

use std::collections::BTreeMap;
use std::fmt;

const LEN_MAX: usize = 4096;
const DEPTH_MAX: usize = 32;

/// Why an expression has no value.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum ExpressionError {
    /// Longer than 4096 bytes.
    TooLong,
    /// Deeper than 32 levels.
    TooDeep,
    /// Something else was expected here; what is left.
    Unexpected(String),
    /// It ends too early.
    End,
    /// Neither `ram` nor of a `set!`.
    UnknownName(String),
    /// Or a known one with a number of arguments that it does not take.
    UnknownFunction(String),
    /// Infinite, or no number.
    NotFinite,
}

impl fmt::Display for ExpressionError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::TooLong => write!(f, "an expression of more than {LEN_MAX} bytes"),
            Self::TooDeep => write!(f, "an expression of more than {DEPTH_MAX} levels"),
            Self::Unexpected(rest) => write!(
                f,
                "not understood at {rest:?}; expected something like min(ram / 2, 4096)"
            ),
            Self::End => f.write_str("ends too early; expected something like min(ram / 2, 4096)"),
            Self::UnknownName(name) => write!(f, "unknown name {name}; ram is known"),
            Self::UnknownFunction(name) => {
                write!(
                    f,
                    "unknown function {name}, or with too few or many arguments"
                )
            }
            Self::NotFinite => f.write_str("has no finite value"),
        }
    }
}

/// The value of an expression.
///
/// # Errors
/// [`ExpressionError`].
pub(crate) fn evaluate(text: &str, names: &BTreeMap<String, f64>) -> Result<f64, ExpressionError> {
    if text.len() > LEN_MAX {
        return Err(ExpressionError::TooLong);
    }
    let mut parser = Parser {
        rest: text.trim_start(),
        names,
        depth: 0,
    };
    let value = parser.binary(0)?;
    match (parser.rest.is_empty(), value.is_finite()) {
        (false, _) => Err(parser.unexpected()),
        (_, false) => Err(ExpressionError::NotFinite),
        (true, true) => Ok(value),
    }
}

/// Operators by level, the loosest first; longer ones before those they begin with.
const LEVELS: [&[&str]; 5] = [
    &["||"],
    &["&&"],
    &["<=", ">=", "==", "!=", "<", ">"],
    &["+", "-"],
    &["*", "/", "%"],
];

struct Parser<'a> {
    rest: &'a str,
    names: &'a BTreeMap<String, f64>,
    depth: usize,
}

type Value = Result<f64, ExpressionError>;

impl<'a> Parser<'a> {
    fn unexpected(&self) -> ExpressionError {
        match self.rest.is_empty() {
            true => ExpressionError::End,
            false => ExpressionError::Unexpected(self.rest.chars().take(20).collect()),
        }
    }

    fn take(&mut self, token: &str) -> bool {
        let Some(rest) = self.rest.strip_prefix(token) else {
            return false;
        };
        self.rest = rest.trim_start();
        true
    }

    /// The characters as long as they are `good`; what follows them is as it stands.
    fn take_while(&mut self, good: impl Fn(char) -> bool) -> &'a str {
        let end = self.rest.find(|c| !good(c)).unwrap_or(self.rest.len());
        let (taken, rest) = self.rest.split_at(end);
        self.rest = rest;
        taken
    }

    /// One level more; every way round goes through here.
    fn deeper(&mut self, inner: impl FnOnce(&mut Self) -> Value) -> Value {
        if self.depth >= DEPTH_MAX {
            return Err(ExpressionError::TooDeep);
        }
        self.depth += 1;
        let value = inner(self);
        self.depth -= 1;
        value
    }

    fn binary(&mut self, level: usize) -> Value {
        let Some(operators) = LEVELS.get(level) else {
            return self.power();
        };
        let mut left = self.binary(level + 1)?;
        while let Some(operator) = operators.iter().copied().find(|token| self.take(token)) {
            let right = self.binary(level + 1)?;
            left = apply(operator, left, right);
        }
        Ok(left)
    }

    fn power(&mut self) -> Value {
        let base = self.unary()?;
        match self.take("^") {
            true => self.deeper(|parser| Ok(base.powf(parser.power()?))),
            false => Ok(base),
        }
    }

    fn unary(&mut self) -> Value {
        if self.take("-") {
            return self.deeper(|parser| Ok(-parser.unary()?));
        }
        if self.take("+") {
            return self.deeper(Self::unary);
        }
        if self.take("!") {
            return self.deeper(|parser| Ok(truth(parser.unary()? == 0.0)));
        }
        self.value()
    }

    fn value(&mut self) -> Value {
        for (open, close) in [("(", ")"), ("[", "]")] {
            if self.take(open) {
                let value = self.deeper(|parser| parser.binary(0))?;
                return match self.take(close) {
                    true => Ok(value),
                    false => Err(self.unexpected()),
                };
            }
        }
        match self.rest.chars().next() {
            Some('0'..='9' | '.') => self.number(),
            Some(c) if c.is_alphabetic() || c == '_' => self.name(),
            _ => Err(self.unexpected()),
        }
    }

    /// Digits, a point, an exponent or a suffix: `1.5e3`, `1.5K`.
    fn number(&mut self) -> Value {
        let whole = self.rest;
        self.take_while(|c| c.is_ascii_digit() || c == '.');
        if self.rest.starts_with(['e', 'E']) {
            let before = self.rest;
            self.rest = self.rest.get(1..).unwrap_or_default();
            if self.rest.starts_with(['+', '-']) {
                self.rest = self.rest.get(1..).unwrap_or_default();
            }
            if self.take_while(|c| c.is_ascii_digit()).is_empty() {
                self.rest = before;
            }
        }
        let len = whole.len() - self.rest.len();
        let digits = whole.get(..len).unwrap_or_default();
        let number: f64 = digits
            .parse()
            .map_err(|_| ExpressionError::Unexpected(digits.to_owned()))?;
        let suffixes = [
            ("K", 1e3),
            ("k", 1e3),
            ("M", 1e6),
            ("G", 1e9),
            ("T", 1e12),
            ("m", 1e-3),
            ("u", 1e-6),
            ("µ", 1e-6),
            ("n", 1e-9),
            ("p", 1e-12),
        ];
        let factor = suffixes
            .iter()
            .find(|(suffix, _)| self.take(suffix))
            .map_or(1.0, |(_, factor)| *factor);
        self.rest = self.rest.trim_start();
        Ok(number * factor)
    }

    fn name(&mut self) -> Value {
        let name = self.take_while(|c| c.is_alphanumeric() || c == '_');
        self.rest = self.rest.trim_start();
        let arguments = match self.take("(") {
            true => self.arguments()?,
            false => Vec::new(),
        };
        // Also without parentheses, as zram-generator's manual has them.
        match (name, arguments.as_slice()) {
            ("e", []) if !self.names.contains_key(name) => Ok(std::f64::consts::E),
            ("pi" | "π", []) if !self.names.contains_key(name) => Ok(std::f64::consts::PI),
            (_, []) => {
                let found = self.names.get(name).copied();
                found.ok_or_else(|| ExpressionError::UnknownName(name.to_owned()))
            }
            (_, arguments) => call(name, arguments)
                .ok_or_else(|| ExpressionError::UnknownFunction(name.to_owned())),
        }
    }

    fn arguments(&mut self) -> Result<Vec<f64>, ExpressionError> {
        let mut arguments = Vec::new();
        if self.take(")") {
            return Ok(arguments);
        }
        loop {
            arguments.push(self.deeper(|parser| parser.binary(0))?);
            if self.take(")") {
                return Ok(arguments);
            }
            if !self.take(",") {
                return Err(self.unexpected());
            }
        }
    }
}

fn truth(is: bool) -> f64 {
    f64::from(u8::from(is))
}

#[allow(
    clippy::float_cmp,
    reason = "the language compares numbers as they are"
)]
fn apply(operator: &str, left: f64, right: f64) -> f64 {
    match operator {
        "+" => left + right,
        "-" => left - right,
        "*" => left * right,
        "/" => left / right,
        "%" => left % right,
        "<" => truth(left < right),
        "<=" => truth(left <= right),
        ">" => truth(left > right),
        ">=" => truth(left >= right),
        "==" => truth(left == right),
        "!=" => truth(left != right),
        // The value that decided, as in fasteval.
        "&&" if left == 0.0 => left,
        "||" if left != 0.0 => left,
        _ => right,
    }
}

fn call(name: &str, arguments: &[f64]) -> Option<f64> {
    Some(match (name, arguments) {
        ("min", all) => all.iter().copied().fold(f64::INFINITY, f64::min),
        ("max", all) => all.iter().copied().fold(f64::NEG_INFINITY, f64::max),
        ("int", [x]) => x.trunc(),
        ("ceil", [x]) => x.ceil(),
        ("floor", [x]) => x.floor(),
        ("round", [x]) => x.round(),
        ("round", [modulus, x]) => (x / modulus).round() * modulus,
        ("abs", [x]) => x.abs(),
        ("sign", [x]) => x.signum(),
        ("log", [x]) => x.log10(),
        ("log", [base, x]) => x.log(*base),
        ("sin", [x]) => x.sin(),
        ("cos", [x]) => x.cos(),
        ("tan", [x]) => x.tan(),
        ("asin", [x]) => x.asin(),
        ("acos", [x]) => x.acos(),
        ("atan", [x]) => x.atan(),
        ("sinh", [x]) => x.sinh(),
        ("cosh", [x]) => x.cosh(),
        ("tanh", [x]) => x.tanh(),
        ("asinh", [x]) => x.asinh(),
        ("acosh", [x]) => x.acosh(),
        ("atanh", [x]) => x.atanh(),
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn value(text: &str) -> Value {
        let names = BTreeMap::from([("ram".to_owned(), 8192.0), ("x_1".to_owned(), 3.0)]);
        evaluate(text, &names)
    }

    #[test]
    fn expressions_have_their_values() {
        for (text, expected) in [
            ("ram", 8192.0),
            ("ram / 2", 4096.0),
            ("min(ram / 2, 4096)", 4096.0),
            (
                "min(min(ram, 4096) + max(ram - 4096, 0) / 2, 32 * 1024)",
                6144.0,
            ),
            ("1 + 2 * 3", 7.0),
            ("10 - 4 - 3", 3.0),
            ("2 ^ 3 ^ 2", 512.0),
            ("[1 + 2] * 3", 9.0),
            ("-2 + +5", 3.0),
            ("7 % 4 * 2", 6.0),
            ("1.5K + 2k", 3500.0),
            ("1e3", 1000.0),
            ("1.5e+2", 150.0),
            (".5", 0.5),
            ("x_1*2", 6.0),
            ("(ram > 4096) * 100", 100.0),
            ("ram < 4096 && 5 || 7", 7.0),
            ("!0 + !7", 1.0),
            ("log(100K)", 5.0),
            ("log(2, 8)", 3.0),
            ("round(10, 17)", 20.0),
            ("int(e) + int(pi()) + int(π)", 8.0),
            ("max(1)", 1.0),
            ("  ram\t", 8192.0),
        ] {
            let found = value(text).unwrap();
            assert!((found - expected).abs() < 1e-9, "{text}: {found}");
        }
    }

    #[test]
    fn what_is_no_expression_is_refused() {
        for text in [
            "",
            " ",
            "1 +",
            "(1",
            "1)",
            "1 2",
            "ram ram",
            "min(",
            "min()",
            "min(1,)",
            "max(1 2)",
            "swap",
            "nope(1)",
            "sin(1, 2)",
            "1..2",
            ".",
            "1e",
            "$",
            "1/0",
            "0/0",
            "10^1000",
            "log(0-1)",
            "[1)",
            "=",
            "1 = 2",
        ] {
            assert!(value(text).is_err(), "{text}");
        }
        assert_eq!(value(&"(".repeat(100)), Err(ExpressionError::TooDeep));
        assert_eq!(value(&"-".repeat(100)), Err(ExpressionError::TooDeep));
        assert_eq!(value(&"2^".repeat(100)), Err(ExpressionError::TooDeep));
        assert_eq!(value(&"1".repeat(5000)), Err(ExpressionError::TooLong));
    }

    proptest! {
        #[test]
        fn no_text_is_a_panic(text in "[-+*/%^()\\[\\],.<>=!&|0-9a-zµπé ]{0,60}") {
            let _ = value(&text);
        }
    }
}
