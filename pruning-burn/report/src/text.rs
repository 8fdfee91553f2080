//! Numbers and names as the page shows them.

use pruning_burn::shown;

/// A name of others, cut where it is long.
pub(crate) fn name(name: &str) -> String {
    shown::list([name])
}

/// A text of others, cut where it is long, without characters that turn what follows around.
pub(crate) fn cut(text: &str) -> String {
    const LENGTH: usize = 200;
    let turns = |c: char| matches!(c, '\u{200e}' | '\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}');
    let shown = |c: char| if c.is_control() || turns(c) { '\u{fffd}' } else { c };
    let cut: String = text.chars().take(LENGTH).map(shown).collect();
    if text.chars().nth(LENGTH).is_some() { format!("{cut}... ({} bytes)", text.len()) } else { cut }
}

/// A number with commas between thousands.
pub(crate) fn count(number: impl TryInto<u64>) -> String {
    let digits = number.try_into().unwrap_or(u64::MAX).to_string();
    let mut text = String::new();
    for (i, digit) in digits.chars().enumerate() {
        if i > 0 && (digits.len() - i).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

/// A number that is counted, with its noun.
pub(crate) fn counted(number: usize, one: &str, many: &str) -> String {
    format!("{} {}", count(number as u64), if number == 1 { one } else { many })
}

/// A fraction in percent.
pub(crate) fn percent(fraction: f64) -> String {
    if fraction.is_finite() { format!("{:.2} %", 100.0 * fraction) } else { number(fraction) }
}

/// A number with four digits that count.
pub(crate) fn number(value: f64) -> String {
    let size = value.abs();
    match size {
        _ if value.is_nan() => "NaN".to_string(),
        _ if value.is_infinite() => if value > 0.0 { "∞" } else { "−∞" }.to_string(),
        0.0 => "0".to_string(),
        _ if !(1e-4..1e7).contains(&size) => format!("{value:.2e}"),
        _ => {
            let digits = (3.0 - size.log10().floor()).clamp(0.0, 7.0) as usize;
            let text = format!("{value:.digits$}");
            // Zeros at the end say nothing here.
            let text = if digits > 0 { text.trim_end_matches('0').trim_end_matches('.') } else { &text };
            text.to_string()
        }
    }
}

/// A factor.
pub(crate) fn times(factor: f64) -> String {
    if factor.is_finite() { format!("{factor:.2}x") } else { number(factor) }
}

/// A number of bytes, in a unit that fits.
pub(crate) fn bytes(bytes: u64) -> String {
    let scaled = |unit: f64, name: &str| format!("{} {name}", number((1e3 * bytes as f64 / unit).round() / 1e3));
    match bytes {
        0..1_000 => format!("{bytes} B"),
        1_000..1_000_000 => scaled(1e3, "kB"),
        1_000_000..1_000_000_000 => scaled(1e6, "MB"),
        _ => scaled(1e9, "GB"),
    }
}

/// Seconds, in a unit that fits.
pub(crate) fn seconds(seconds: f64) -> String {
    match seconds {
        s if !s.is_finite() => number(s),
        s if s < 1e-3 => format!("{} µs", number(1e6 * s)),
        s if s < 1.0 => format!("{} ms", number(1e3 * s)),
        s => format!("{} s", number(s)),
    }
}

/// The sizes of a tensor.
pub(crate) fn shape(sizes: &[usize]) -> String {
    let mut text = sizes.iter().take(8).map(ToString::to_string).collect::<Vec<_>>().join(" x ");
    if sizes.len() > 8 {
        text += " x ...";
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_short_and_never_fail() {
        let cases = [(0.0, "0"), (0.9, "0.9"), (12.3456, "12.35"), (0.001234, "0.001234"), (1e-9, "1.00e-9")];
        cases.into_iter().for_each(|(value, text)| assert_eq!(number(value), text));
        let odd = [(f64::NAN, "NaN"), (f64::INFINITY, "∞"), (f64::NEG_INFINITY, "−∞"), (f64::MAX, "1.80e308")];
        odd.into_iter().for_each(|(value, text)| assert_eq!(number(value), text));
        assert_eq!((percent(f64::NAN).as_str(), times(f64::INFINITY).as_str()), ("NaN", "∞"));
        assert_eq!([0u64, 999, 1_000, 1_234_567].map(count), ["0", "999", "1,000", "1,234,567"]);
        assert_eq!([999, 1_500, 90_868_376].map(bytes), ["999 B", "1.5 kB", "90.87 MB"]);
        assert_eq!([2e-6, 0.0125, 3.0].map(seconds), ["2 µs", "12.5 ms", "3 s"]);
    }

    #[test]
    fn long_text_is_cut_between_characters() {
        let long = "\u{e4}".repeat(5_000);
        assert!(name(&long).len() < 300 && cut(&long).len() < 1_000);
        assert_eq!(cut("a\u{202e}b\nc"), "a\u{fffd}b\u{fffd}c");
        assert_eq!((name("fc1.weight"), name("").as_str()), ("fc1.weight".to_string(), "(empty)"));
    }
}
