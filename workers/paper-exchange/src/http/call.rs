//! One request, as it came.

use std::net::IpAddr;

use rust_decimal::Decimal;

use super::refused::Refused;
use crate::model::Millis;

/// One request. Query and body stay as they were sent: that is what was signed.
#[derive(Debug, Clone)]
pub struct Call {
    /// `GET`, `POST`, ...
    pub method: String,
    pub path: String,
    pub query: String,
    pub body: String,
    /// Of query and form, decoded, in the order sent.
    pub params: Vec<(String, String)>,
    pub api_key: Option<String>,
    pub ip: IpAddr,
}

impl Call {
    pub fn new(method: String, path: String, query: String, body: String, api_key: Option<String>, ip: IpAddr) -> Self {
        let params = [query.as_str(), body.as_str()].into_iter().flat_map(pairs).collect();
        Self { method, path, query, body, params, api_key, ip }
    }

    /// The text of a parameter; an empty one was not sent.
    pub fn text(&self, name: &str) -> Option<&str> {
        let (_, value) = self.params.iter().find(|(key, _)| key == name)?;
        Some(value.as_str()).filter(|value| !value.is_empty())
    }

    pub fn need(&self, name: &str) -> Result<&str, Refused> {
        self.text(name).ok_or_else(|| Refused::missing(name))
    }

    pub fn int(&self, name: &str) -> Result<Option<i64>, Refused> {
        self.text(name).map(|text| text.parse().map_err(|_| Refused::illegal(name))).transpose()
    }

    pub fn id(&self, name: &str) -> Result<Option<u64>, Refused> {
        self.text(name).map(|text| text.parse().map_err(|_| Refused::illegal(name))).transpose()
    }

    pub fn decimal(&self, name: &str) -> Result<Option<Decimal>, Refused> {
        let parse = |text: &str| {
            let number: Decimal = text.parse().map_err(|_| Refused::illegal(name))?;
            // As large as no order is: sums and products of such numbers still fit.
            (number.abs() < Decimal::from(1_000_000_000_000_i64))
                .then_some(number)
                .ok_or_else(|| Refused::illegal(name))
        };
        self.text(name).map(parse).transpose()
    }

    pub fn need_decimal(&self, name: &str) -> Result<Decimal, Refused> {
        self.decimal(name)?.ok_or_else(|| Refused::missing(name))
    }

    pub fn flag(&self, name: &str) -> Result<bool, Refused> {
        match self.text(name).map(str::to_ascii_lowercase).as_deref() {
            None | Some("false") => Ok(false),
            Some("true") => Ok(true),
            Some(_) => Err(Refused::illegal(name)),
        }
    }

    /// How many rows are asked for. More than the most is the most.
    pub fn limit(&self, default: usize, most: usize) -> Result<usize, Refused> {
        match self.int("limit")? {
            None => Ok(default),
            Some(limit) if limit > 0 => Ok(usize::try_from(limit).unwrap_or(most).min(most)),
            Some(_) => Err(Refused::new(-1130, "Data sent for parameter 'limit' is not valid.")),
        }
    }

    /// `startTime` and `endTime`.
    pub fn window(&self) -> Result<(Option<Millis>, Option<Millis>), Refused> {
        Ok((self.int("startTime")?, self.int("endTime")?))
    }

    /// The request without what changes from one sending to the next: its stamp, its signature, and
    /// the instants of its window, which hang on the clock.
    pub fn identity(&self, account: Option<&str>) -> String {
        const FLEETING: [&str; 5] = ["timestamp", "signature", "recvWindow", "startTime", "endTime"];
        let lasting = self.params.iter().filter(|(name, _)| !FLEETING.contains(&name.as_str()));
        let params: Vec<String> = lasting.map(|(name, value)| format!("{name}={value}")).collect();
        format!("{} {} {}?{}", account.unwrap_or("-"), self.method, self.path, params.join("&"))
    }
}

fn pairs(text: &str) -> impl Iterator<Item = (String, String)> {
    text.split('&').filter(|pair| !pair.is_empty()).map(|pair| {
        let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
        (decoded(name), decoded(value))
    })
}

/// Percent-decoding of forms; what is no valid escape stays as it is.
fn decoded(text: &str) -> String {
    let bytes = text.as_bytes();
    let mut out = Vec::with_capacity(bytes.len());
    let mut at = 0;
    while at < bytes.len() {
        let escape = (bytes[at] == b'%').then(|| bytes.get(at + 1..at + 3)).flatten();
        let byte = escape.and_then(|two| u8::from_str_radix(std::str::from_utf8(two).ok()?, 16).ok());
        match (byte, bytes[at]) {
            (Some(byte), _) => {
                out.push(byte);
                at += 2;
            }
            (None, b'+') => out.push(b' '),
            (None, other) => out.push(other),
        }
        at += 1;
    }
    String::from_utf8_lossy(&out).into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn call(query: &str, body: &str) -> Call {
        let ip = IpAddr::from([127, 0, 0, 1]);
        Call::new("GET".into(), "/x".into(), query.into(), body.into(), None, ip)
    }

    #[test]
    fn parameters_come_from_query_and_body_and_are_decoded() {
        let call = call("a=1&b=%7B+%2B%zz&empty=", "c=2.5&d=x");
        assert_eq!(call.text("b"), Some("{ +%zz"));
        assert_eq!(call.text("empty"), None);
        assert_eq!(call.int("a"), Ok(Some(1)));
        assert_eq!(call.need_decimal("c").unwrap().to_string(), "2.5");
        assert_eq!(call.int("d").unwrap_err().code, -1100);
        assert_eq!(call.need("nothing").unwrap_err().code, -1102);
    }

    #[test]
    fn the_identity_of_a_request_leaves_out_what_hangs_on_the_clock() {
        let one = call("symbol=X&startTime=1&timestamp=5&signature=aa", "");
        let other = call("symbol=X&startTime=2&timestamp=6&signature=bb", "");
        assert_eq!(one.identity(Some("acct-01")), other.identity(Some("acct-01")));
        assert_ne!(one.identity(Some("acct-01")), other.identity(None));
    }
}
