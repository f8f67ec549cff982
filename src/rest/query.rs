//! Query strings, read to the letter. What is not percent-encoding, not UTF-8 or not a parameter of the
//! route is refused: a filter that is ignored would answer more than was asked.

use axum::http::Uri;
use codash_domain::text;

use super::error::ApiError;

/// Names and values as they were meant, in order. A name without `=` has an empty value.
pub fn pairs(uri: &Uri) -> Result<Vec<(String, String)>, ApiError> {
    let parts = uri.query().unwrap_or_default().split('&').filter(|part| !part.is_empty());
    parts
        .map(|part| {
            let (name, value) = part.split_once('=').unwrap_or((part, ""));
            let refused = |reason| ApiError::invalid_field(&shown(name), reason);
            Ok((decoded(name).map_err(refused)?, decoded(value).map_err(refused)?))
        })
        .collect()
}

fn decoded(text: &str) -> Result<String, &'static str> {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let Some((first, after)) = rest.split_first() {
        rest = after;
        match first {
            b'+' => bytes.push(b' '),
            b'%' => {
                let digits = rest.split_at_checked(2);
                let (byte, after) = digits
                    .and_then(|(digits, after)| Some((hex::decode(digits).ok()?, after)))
                    .ok_or("a percent sign must be followed by two hexadecimal digits: write it as %25")?;
                bytes.extend(byte);
                rest = after;
            }
            byte => bytes.push(*byte),
        }
    }
    let text = String::from_utf8(bytes).map_err(|_| "must be UTF-8, percent-encoded")?;
    if text.contains('\0') { Err("must not hold a NUL character") } else { Ok(text) }
}

/// A name that may not be readable.
fn shown(name: &str) -> String {
    text::clean(&decoded(name).unwrap_or_else(|_| name.to_owned()), 64)
}

/// Refuses the first name that the route does not know, with the nearest that it does.
pub fn only_known(pairs: &[(String, String)], known: &[&str]) -> Result<(), ApiError> {
    let Some((unknown, _)) = pairs.iter().find(|(name, _)| !known.contains(&name.as_str())) else { return Ok(()) };
    let unknown = text::clean(unknown, 64);
    let reason = match nearest(&unknown, known) {
        Some(name) => format!("is no parameter of this route: did you mean {name}?"),
        None if known.is_empty() => "is no parameter of this route: it takes none".to_owned(),
        None => format!("is no parameter of this route: it takes {}", known.join(", ")),
    };
    Err(ApiError::invalid_field(&unknown, reason))
}

/// The known name that takes the fewest changes of a letter, when at most half of it would change.
fn nearest<'a>(name: &str, known: &[&'a str]) -> Option<&'a str> {
    let plain = |text: &str| text.to_ascii_lowercase().replace(['_', '-'], "");
    let name = plain(name);
    let (changes, best) = known.iter().map(|k| (changes(&name, &plain(k)), *k)).min()?;
    (changes <= plain(best).chars().count() / 2).then_some(best)
}

/// How many letters to add, drop or swap to make one word the other.
fn changes(a: &str, b: &str) -> usize {
    let b: Vec<char> = b.chars().collect();
    let mut row: Vec<usize> = (0..=b.len()).collect();
    for (i, x) in a.chars().enumerate() {
        let mut diagonal = i;
        let mut left = i + 1;
        for (above, y) in row.iter_mut().skip(1).zip(&b) {
            let swapped = diagonal + usize::from(x != *y);
            diagonal = *above;
            left = swapped.min(left + 1).min(diagonal + 1);
            *above = left;
        }
        if let Some(first) = row.first_mut() {
            *first = i + 1;
        }
    }
    row.last().copied().unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(query: &str) -> Result<Vec<(String, String)>, ApiError> {
        pairs(&format!("/x?{query}").parse().unwrap())
    }

    #[test]
    fn names_and_values_are_decoded_exactly() {
        let pair = |name: &str, value: &str| (name.to_owned(), value.to_owned());
        assert_eq!(read("").unwrap(), []);
        assert_eq!(read("&&a=1&").unwrap(), [pair("a", "1")]);
        assert_eq!(read("a&b=&c=x=y").unwrap(), [pair("a", ""), pair("b", ""), pair("c", "x=y")]);
        assert_eq!(read("a+b=%2B+%C3%A9%e2%82%ac").unwrap(), [pair("a b", "+ é€")]);
        assert_eq!(read("a=1&a=2").unwrap(), [pair("a", "1"), pair("a", "2")]);
    }

    #[test]
    fn what_cannot_be_decoded_is_refused_with_its_name() {
        for (query, name) in [
            ("from=%", "from"),
            ("from=%4", "from"),
            ("from=%zz", "from"),
            ("from=%+1", "from"),
            ("to=%ff", "to"),
            ("to=%C3%28", "to"),
            ("to=%ED%A0%80", "to"),
            ("symbols=BTC%00", "symbols"),
            ("%ff=1", "%ff"),
        ] {
            let body = read(query).unwrap_err().envelope(None);
            assert_eq!(
                (&body["code"], &body["details"]["errors"][0]["path"]),
                (&"invalid_request".into(), &name.into())
            );
        }
    }

    #[test]
    fn an_unknown_parameter_is_answered_with_the_nearest_name() {
        let known = ["accountId", "accountIds", "from", "to", "limit", "symbols"];
        for (wrong, meant) in [
            ("account_id", Some("accountId")),
            ("accountid", Some("accountId")),
            ("symbol", Some("symbols")),
            ("form", Some("from")),
            ("Limit", Some("limit")),
            ("page", None),
            ("", None),
        ] {
            assert_eq!(nearest(wrong, &known), meant, "{wrong}");
        }
        assert_eq!((changes("kitten", "sitting"), changes("", "ab"), changes("ab", "")), (3, 2, 2));
    }
}
