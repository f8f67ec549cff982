//! How OKX writes things down: every reply is `code`, `msg` and a list, and what does not apply is `""`.

use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::value::RawValue;

use crate::error::VenueError;
use crate::venues::wire::read;

/// The records of a reply that is no error.
pub fn data(endpoint: &str, body: &str) -> Result<Vec<Box<RawValue>>, VenueError> {
    #[derive(Deserialize)]
    struct Reply {
        data: Vec<Box<RawValue>>,
    }
    Ok(read::<Reply>(endpoint, body)?.data)
}

/// The only record of a reply that is about one thing.
pub fn only<T: DeserializeOwned>(endpoint: &str, body: &str) -> Result<T, VenueError> {
    match data(endpoint, body)?.as_slice() {
        [one] => read(endpoint, one.get()),
        rows => Err(VenueError::unreadable(endpoint, format!("{} records in place of one", rows.len()))),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::Value;

    use super::*;
    use crate::venues::wire::{Dec, filled};

    #[test]
    fn what_does_not_apply_is_nothing_and_what_is_written_is_exact() {
        #[derive(Deserialize)]
        struct Row {
            #[serde(default, deserialize_with = "filled")]
            sz: Option<Dec>,
        }
        let sz = |text: &str| serde_json::from_str::<Row>(text).map(|row| row.sz.map(|sz| sz.0.to_string()));
        for nothing in ["{}", r#"{"sz":null}"#, r#"{"sz":""}"#] {
            assert_eq!(sz(nothing).unwrap(), None);
        }
        assert_eq!(sz(r#"{"sz":"-0.00000192834"}"#).unwrap().unwrap(), "-0.00000192834");
        assert_eq!(sz(r#"{"sz":0.1}"#).unwrap().unwrap(), "0.1");
        assert!(sz(r#"{"sz":"much"}"#).is_err());
    }

    #[test]
    fn a_reply_without_a_list_is_no_empty_list() {
        assert_eq!(data("x", r#"{"code":"0","data":[1,{}]}"#).unwrap().len(), 2);
        for body in [r#"{"code":"0"}"#, r#"{"code":"0","data":null}"#, r#"{"html":"maintenance"}"#, "[]"] {
            assert!(data("x", body).is_err(), "{body}");
        }
        assert!(only::<Value>("x", r#"{"data":[]}"#).is_err() && only::<Value>("x", r#"{"data":[1]}"#).is_ok());
    }
}
